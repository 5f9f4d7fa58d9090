//! Tables of JSON texts and the places of their values. (Tests of `json_span.rs`.)

use super::*;
use proptest::prelude::*;

fn document(text: &str) -> Document<'_> {
    match Document::parse(text) {
        Parsed::Json(document) => document,
        other => panic!("{text}: {other:?}"),
    }
}

#[test]
fn json_is_told_from_what_is_none() {
    for good in ["1", "-0.5e+3", " {} ", "[]", r#"{"a":[1,{"b":null}],"c":"\u00e9\"\\"}"#, "\"\\ud800\"", "[true,false]", "\"é\""] {
        assert!(scan(good, |_| {}), "{good}");
    }
    for bad in [
        "",
        " ",
        "{",
        "[1,]",
        r#"{"a":}"#,
        r#"{"a"1}"#,
        r#"{a:1}"#,
        "01",
        "1.",
        "-",
        "\"\n\"",
        "\"\\x\"",
        "\"\\u12\"",
        "tru",
        "1 2",
        "[}",
        "]",
        "{]",
    ] {
        assert!(!scan(bad, |_| {}), "{bad}");
    }
}

#[test]
fn literals_are_unescaped() {
    for (literal, text) in [
        (r#""plain é""#, "plain é"),
        (r#""a\u0041b""#, "aAb"),
        (r#""\"\\\/\b\f\n\r\t""#, "\"\\/\u{8}\u{c}\n\r\t"),
        (r#""\ud83d\ude00!""#, "😀!"),
        (r#""\ud83dx""#, "\u{fffd}x"),
    ] {
        assert_eq!(unescape(literal), text, "{literal}");
    }
}

#[test]
fn values_are_found_at_their_paths() {
    let text = r#"{ "a" : [ 1 , {"b":"x"} ], "\u0061": {"0":2}, "c": {} }"#;
    let document = document(text);
    let at = |path: &[Segment]| document.find(path).into_iter().map(|node| document.literal(node)).collect::<Vec<_>>();
    let name = |name: &str| Segment::Name(name.to_owned());
    assert_eq!(at(&[name("a")]), [r#"[ 1 , {"b":"x"} ]"#, r#"{"0":2}"#], "both of a repeated key");
    assert_eq!(at(&[name("a"), Segment::Index(1), name("b")]), [r#""x""#]);
    assert_eq!(at(&[name("a"), Segment::Index(0)]), ["1"], "an object has no elements");
    assert_eq!(at(&[name("c"), name("d")]), [""; 0]);
    assert_eq!(at(&[]), [text]);
    assert_eq!(document.value(), serde_json::from_str::<Value>(text).unwrap());
    assert_eq!(document.readings().map(|readings| readings.len()), Some(2));
}

#[test]
fn every_reading_of_keys_that_stand_twice_is_given() {
    let readings = |text: &str| document(text).readings().map(|all| all.iter().map(Value::to_string).collect::<Vec<_>>());
    assert_eq!(readings(r#"{"a":1}"#), Some(vec![r#"{"a":1}"#.to_owned()]));
    let all = [r#"{"a":{}}"#, r#"{"a":{"b":3}}"#, r#"{"a":{"b":2}}"#, r#"{"a":{"b":1}}"#].map(str::to_owned).to_vec();
    assert_eq!(readings(r#"{"a":{"b":1,"b":2,"b":3},"a":{}}"#), Some(all));
    let all = [r#"[{"a":2},{"b":4}]"#, r#"[{"a":1},{"b":4}]"#, r#"[{"a":2},{"b":3}]"#, r#"[{"a":1},{"b":3}]"#].map(str::to_owned).to_vec();
    assert_eq!(readings(r#"[{"a":1,"\u0061":2},{"b":3,"b":4}]"#), Some(all));
    let many = format!("{{{}}}", vec![r#""a":1"#; 17].join(","));
    assert_eq!(readings(&many), None);
    assert_eq!(document(&many).value().to_string(), r#"{"a":1}"#);
}

#[test]
fn many_values_that_stand_deep_are_too_large() {
    let text = |depth: usize, values: usize| format!("{}{}1{}", "[".repeat(depth), "1,".repeat(values), "]".repeat(depth));
    assert!(matches!(Document::parse(&text(60, 150_000)), Parsed::TooLarge), "each would have a path of 60 steps");
    assert!(matches!(Document::parse(&text(6, 150_000)), Parsed::Json(_)));
    assert!(matches!(Document::parse(&text(60, 1_000)), Parsed::Json(_)));
}

#[test]
fn outermost_edits_win() {
    assert_eq!(splice("abcdef", vec![(2..3, "X"), (1..4, "-"), (5..6, "Y")]), Some("a-eY".to_owned()));
    assert_eq!(splice("abc", vec![(1..2, "b")]), None);
}

#[test]
fn deep_nesting_fits_a_small_stack() {
    let run = || {
        let deep = format!("{}1{}", "[".repeat(1_000_000), "]".repeat(1_000_000));
        assert!(scan(&deep, |_| {}));
        assert!(matches!(Document::parse(&deep), Parsed::TooLarge));
        let fits = format!("{}1{}", r#"{"a":"#.repeat(limits::MAX_JSON_DEPTH), "}".repeat(limits::MAX_JSON_DEPTH));
        let value = document(&fits).value();
        let path = serde_json_path::JsonPath::parse("$..a").unwrap();
        assert_eq!(path.query_located(&value).len(), limits::MAX_JSON_DEPTH);
        let path = serde_json_path::JsonPath::parse("$..[?@..[?@..a]]").unwrap();
        assert!(!path.query_located(&value).is_empty());
    };
    std::thread::Builder::new().stack_size(limits::STACK_BYTES).spawn(run).unwrap().join().unwrap();
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf =
        prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), any::<i64>().prop_map(Value::from), ".*".prop_map(Value::from)];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((".{0,4}", inner), 0..5).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn reads_what_serde_reads(value in any_json(), pretty in any::<bool>()) {
        let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
        prop_assert_eq!(document(&text).value(), value);
    }

    #[test]
    fn takes_and_refuses_what_serde_does(text in r#"[\[\]{}",:0-9.eE+\\unltrfas -]{0,12}"#) {
        let parsed = serde_json::from_str::<&serde_json::value::RawValue>(&text);
        prop_assert_eq!(scan(&text, |_| {}), parsed.is_ok(), "{:?}", parsed.err());
    }
}
