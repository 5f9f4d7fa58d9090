//! Cases of redaction: what goes, what stays, and where.

use super::*;
use crate::rules::script::samples::message;
use proptest::prelude::*;

fn redactor(body_keys: &[&str], patterns: &[&str]) -> Redactor {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let rules = Redaction {
        headers: words(&["Authorization", "Cookie"]),
        query: words(&["token", "api key"]),
        body_keys: words(body_keys),
        patterns: words(patterns),
        redact_value: "[REDACTED]".to_owned(),
    };
    Redactor::new(&rules).unwrap()
}

#[test]
fn body_keys_are_redacted_and_every_other_byte_stays() {
    for (keys, text, redacted) in [
        (&["password"][..], r#"{ "password" : "x" , "n":1.0 }"#, Some(r#"{ "password" : "[REDACTED]" , "n":1.0 }"#)),
        (&["password"], r#"[{"a":{"password":{"deep":[1]}}},2]"#, Some(r#"[{"a":{"password":"[REDACTED]"}},2]"#)),
        (&["password"], r#"{"pass\u0077ord":1,"password":2}"#, Some(r#"{"pass\u0077ord":"[REDACTED]","password":"[REDACTED]"}"#)),
        (&["password"], r#"{"Password":1}"#, None),
        (&["password"], r#"{"a":"password"}"#, None),
        (&["password"], r#"{"password":"x""#, None),
        (&["password"], "password=x", None),
        (
            &["password"],
            r#"{"password":{"password":1},"b":{"password":null}}"#,
            Some(r#"{"password":"[REDACTED]","b":{"password":"[REDACTED]"}}"#),
        ),
        (&["$.user.pin"], r#"{"pin":1,"user":{"pin":2}}"#, Some(r#"{"pin":1,"user":{"pin":"[REDACTED]"}}"#)),
        (
            &["$.user.pin"],
            r#"{"user":{"pin":1,"pin":2},"user":{"pin":3}}"#,
            Some(r#"{"user":{"pin":"[REDACTED]","pin":"[REDACTED]"},"user":{"pin":"[REDACTED]"}}"#),
        ),
        (&["$.user.pin"], r#"{"user":{"pin":1},"user":2}"#, Some(r#"{"user":{"pin":"[REDACTED]"},"user":2}"#)),
        (
            &["$.cards[*].no", "cvc"],
            r#"{"cards":[{"no":1},{"no":2,"cvc":3}]}"#,
            Some(r#"{"cards":[{"no":"[REDACTED]"},{"no":"[REDACTED]","cvc":"[REDACTED]"}]}"#),
        ),
        (&["$"], r#" [1] "#, Some(r#" "[REDACTED]" "#)),
        (&["password"], r#"{"password":"[REDACTED]"}"#, None),
    ] {
        assert_eq!(redactor(keys, &[]).text(text).as_deref(), redacted, "{keys:?} {text}");
    }
}

#[test]
fn deep_texts_are_redacted_on_a_small_stack() {
    let run = || {
        let deep = |value: &str| format!("{}{value}{}", r#"{"a":["#.repeat(100_000), "]}".repeat(100_000));
        let secret = deep(r#"{"password":"hunter2"}"#);
        assert_eq!(redactor(&["password"], &[]).text(&secret), Some(deep(r#"{"password":"[REDACTED]"}"#)));
        assert_eq!(redactor(&["$.x.password"], &[]).text(&secret).as_deref(), Some(r#""[REDACTED]""#));
    };
    std::thread::Builder::new().stack_size(crate::base::limits::STACK_BYTES).spawn(run).unwrap().join().unwrap();
}

#[test]
fn patterns_apply_to_any_text() {
    let redactor = redactor(&["password"], &["sk-[a-z0-9]+", "x*"]);
    assert_eq!(redactor.plain("a sk-1 b sk-2").as_deref(), Some("a [REDACTED] b [REDACTED]"));
    assert_eq!(redactor.plain("nothing"), None, "a match of nothing changes nothing");
    assert_eq!(redactor.text(r#"{"password":1,"k":"sk-9"}"#).as_deref(), Some(r#"{"password":"[REDACTED]","k":"[REDACTED]"}"#));
}

/// Matching redacts what was redacted when it was recorded: a replay of the very same client failed where a pattern found the value.
#[test]
fn redacting_twice_made_something_else_of_it() {
    for (patterns, text, redacted) in [
        (&["[A-Z]{8,}"][..], "login ABCDEFGHIJ", "login [REDACTED]"),
        (&["[A-Z]{8,}"], r#"{"t":"ABCDEFGHIJ","u":["[REDACTED]"]}"#, r#"{"t":"[REDACTED]","u":["[REDACTED]"]}"#),
        (&["[A-Za-z0-9]{8,}"], "a1b2c3d4 [REDACTED] e5f6g7h8", "[REDACTED] [REDACTED] [REDACTED]"),
        (&[".+"], "secret", "[REDACTED]"),
        (&["[A-Z]+"], "AB REDACTED [REDACTED]C [REDACTED", "[REDACTED] [REDACTED] [REDACTED][REDACTED] [[REDACTED]"),
        (&["sk-[0-9]+", "[A-Z]{8,}"], "sk-1 sk-2", "[REDACTED] [REDACTED]"),
        (&[r"\[REDACTED\]-[0-9]+", "R"], "[REDACTED]-77 R", "[REDACTED] [REDACTED]"),
    ] {
        let redactor = redactor(&[], patterns);
        assert_eq!(redactor.text(text).as_deref(), Some(redacted), "{patterns:?} {text}");
        assert_eq!(redactor.text(redacted).as_deref().unwrap_or(redacted), redacted, "{patterns:?} {redacted}");
    }
}

#[test]
fn a_secret_behind_percent_signs_is_hidden_beside_one_that_stands_open() {
    let redactor = redactor(&[], &["sk-[0-9]+"]);
    for (url, redacted) in
        [("/x?a=sk-1,%73k-2&b=%73k-3", "/x?a=[REDACTED]&b=[REDACTED]"), ("/x?a=sk-1%20b&sk-1+%73k-2", "/x?a=[REDACTED]%20b&[REDACTED]")]
    {
        assert_eq!(redactor.url(url), redacted, "{url}");
    }
}

#[test]
fn a_path_through_several_keys_that_stand_twice_is_redacted() {
    let redactor = redactor(&["$.a.b.c"], &[]);
    let text = |text: &str| redactor.text(text).unwrap_or_else(|| text.to_owned());
    assert_eq!(text(r#"{"a":{"b":{},"b":{"c":1},"b":{}},"a":{}}"#), r#"{"a":{"b":{},"b":{"c":"[REDACTED]"},"b":{}},"a":{}}"#);
    let many = format!(r#"{{{}"a":{{"b":{{"c":1}}}},"a":0}}"#, r#""a":0,"#.repeat(20));
    assert_eq!(text(&many), "\"[REDACTED]\"", "read in more ways than are looked at, it goes whole");
}

#[test]
fn headers_parameters_and_urls() {
    let redactor = redactor(&[], &["sk-[0-9]+"]);
    let mut headers = Pairs::default();
    for (name, value) in [("authorization", "Bearer x"), ("Accept", "a"), ("cookie", "a=1; b=2"), ("Cookie", "c"), ("X", "a sk-1")] {
        headers.add_header(name, value.to_owned());
    }
    redactor.headers(&mut headers);
    let values: Vec<_> = headers.iter().map(|(_, value)| value).collect();
    assert_eq!(values, ["[REDACTED]", "a", "[REDACTED]", "[REDACTED]", "a [REDACTED]"]);
    let mut query = Pairs::default();
    query.add_parameter("token", "t".to_owned());
    query.add_parameter("Token", "t".to_owned());
    redactor.query(&mut query);
    assert_eq!(query.iter().map(|(_, value)| value).collect::<Vec<_>>(), ["[REDACTED]", "[REDACTED]"]);
    for (url, redacted) in [
        ("/x", "/x"),
        ("wss://h/x?a=1&token=secret&b#f", "wss://h/x?a=1&token=[REDACTED]&b#f"),
        ("/x?token&token=&tokens=1", "/x?token&token=[REDACTED]&tokens=1"),
        ("/sk-12?a=sk-3", "/[REDACTED]?a=[REDACTED]"),
        ("wss://me:p%40ss@h:1/x@y?a=b@c", "wss://h:1/x@y?a=b@c"),
        ("http://me@h?a", "http://h?a"),
        ("/to/http://me@h/", "/to/http://me@h/"),
    ] {
        assert_eq!(redactor.url(url), redacted, "{url}");
    }
}

#[test]
fn percent_encoded_names_are_found() {
    assert_eq!(redactor(&[], &[]).url("/x?%74oken=s&api+key=s"), "/x?%74oken=[REDACTED]&api+key=[REDACTED]");
}

#[test]
fn frames_lose_their_secrets() {
    let redactor = redactor(&["password"], &["sk-[0-9]+"]);
    let redact = |line: &str| {
        let mut frame = message(1, line);
        let Frame::WebSocket(before) = frame.clone() else { panic!() };
        redactor.frame(&mut frame);
        let Frame::WebSocket(frame) = frame else { panic!() };
        let payload = before.payload().unwrap();
        assert_eq!(redactor.payload(before.kind, &payload).or(Some(payload)), frame.payload(), "what passes is redacted as its frame");
        (frame.data, frame.encoding)
    };
    assert_eq!(redact(r#"c2s text {"password":1}"#), (r#"{"password":"[REDACTED]"}"#.to_owned(), None));
    assert_eq!(redact("s2c ping sk-1"), ("[REDACTED]".to_owned(), None));
    assert_eq!(redact("s2c binary AAE=").0, "AAE=");
    assert_eq!(redact("s2c binary /3NrLTE=").0, data_encoding::BASE64.encode(b"\xff[REDACTED]"));
    let mut invalid = message(1, "s2c text ");
    if let Frame::WebSocket(frame) = &mut invalid {
        (frame.data, frame.encoding) = (data_encoding::BASE64.encode(b"\xff sk-1"), Some(Encoding::Base64));
        frame.close_reason = Some("sk-1".to_owned());
    }
    redactor.frame(&mut invalid);
    let Frame::WebSocket(frame) = invalid else { panic!() };
    assert_eq!((frame.data.as_str(), frame.encoding, frame.close_reason.as_deref()), ("\u{fffd} [REDACTED]", None, Some("[REDACTED]")));
}

#[test]
fn a_redacted_event_loses_its_raw() {
    let redactor = redactor(&["password"], &["sk-[0-9]+"]);
    for (data, raw, kept) in [
        ("x", "data:x\n\n", true),
        (r#"{"password":1}"#, "data:{\"password\":1}\n\n", false),
        ("x", "data:x\nid: sk-1\nid: 2\n\n", false),
        ("x", "data:x\r\nfoo: {\"password\":\"y\"}\r\n\r\n", false),
    ] {
        let mut event = SseEvent { data: Some(data.to_owned()), raw: Some(raw.to_owned()), ..SseEvent::default() };
        redactor.event(&mut event);
        assert_eq!(event.raw.is_some(), kept, "{raw}");
        assert!(!event.data.unwrap().contains('1'));
    }
}

#[test]
fn bad_rules_are_named() {
    let rules = |body_keys: &[&str], patterns: &[&str]| Redaction {
        body_keys: body_keys.iter().map(|key| (*key).to_owned()).collect(),
        patterns: patterns.iter().map(|pattern| (*pattern).to_owned()).collect(),
        ..Redaction::default()
    };
    let error = |rules: Redaction| Redactor::new(&rules).unwrap_err().to_string();
    assert!(error(rules(&["ok", "$.["], &[])).starts_with("recording.filterBodyKeys[1]: \"$.[\" is no JSONPath"));
    assert!(error(rules(&[], &["("])).starts_with("recording.filterPatterns[0]: \"(\" is no regular expression"));
}

proptest! {
    #[test]
    fn no_secret_survives_and_json_stays_json(
        before in "[a-z]{0,4}", secret in "[A-Z]{12}", shape in 0..4usize, depth in 0..40usize, blanks in "[ \n]{0,2}",
    ) {
        let value = match shape { 0 => format!("\"{secret}\""), 1 => format!("[\"{secret}\"]"), 2 => format!("{{\"a\":\"{secret}\"}}"), _ => format!("[[],{{\"token\":\"{secret}\"}}]") };
        let text = format!("{}{{\"{before}\":1,\"token\"{blanks}:{blanks}{value}}}{}", r#"{"a":["#.repeat(depth), "]}".repeat(depth));
        for keys in [["token"], ["$..token"]] {
            let redacted = redactor(&keys, &[]).text(&text).unwrap();
            prop_assert!(!redacted.contains(&secret), "{}", redacted);
            prop_assert!(scan(&redacted, |_| {}), "{}", redacted);
        }
    }
}
