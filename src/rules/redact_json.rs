//! Patterns in JSON: what they find is hidden so that JSON is left, whatever stands for it. It finds places in tokens; what is a secret is
//! said by `redact.rs`.

use std::ops::Range;

use super::json_span::{Token, scan, splice};

/// The byte order mark, which some writers put before a text; it is no part of JSON (RFC 8259 §8.1).
pub const MARK: char = '\u{feff}';

/// The marks that a text begins with, and what is behind them.
pub fn split_mark(text: &str) -> (&str, &str) {
    text.split_at(text.len() - text.trim_start_matches(MARK).len())
}

/// `text` without what `matches` (in order, apart from each other) have found. Inside of a string, be it a key or a value, what stands
/// between the quotes of `literal`, a JSON string, takes its place, and of an escape that a match has a part of. A number, a word, and a
/// string whose quotes a match has become `literal` whole, each that a match touches. Brackets, commas, colons and blanks are no secret,
/// and stay. `None` for what is no JSON, `Some(None)` where nothing changed.
pub fn hide_in_json(text: &str, matches: &[Range<usize>], literal: &str) -> Option<Option<String>> {
    let mut edits: Vec<(Range<usize>, &str)> = Vec::new();
    // The first match that does not end before the token at hand.
    let mut first = 0;
    let is_json = scan(text, |token| {
        let (key, value) = match token {
            Token::Open { key, .. } => (key, None),
            Token::Leaf { key, span } => (key, Some(span)),
            Token::Close { .. } => (None, None),
        };
        for span in [key, value].into_iter().flatten() {
            while matches.get(first).is_some_and(|found| found.end <= span.start) {
                first += 1;
            }
            let touching = matches[first..].iter().take_while(|found| found.start < span.end).count();
            hide_in_token(text.as_bytes(), span, &matches[first..first + touching], literal, &mut edits);
        }
    });
    is_json.then(|| if edits.is_empty() { None } else { splice(text, edits) })
}

/// The same for one token and the matches that touch it.
fn hide_in_token<'l>(
    text: &[u8],
    span: Range<usize>,
    matches: &[Range<usize>],
    literal: &'l str,
    edits: &mut Vec<(Range<usize>, &'l str)>,
) {
    if matches.is_empty() {
        return;
    }
    if text[span.start] != b'"' || matches.iter().any(|found| found.start <= span.start || found.end >= span.end) {
        return edits.push((span, literal));
    }
    let inside = &literal[1..literal.len() - 1];
    // Behind the last piece that was looked at, never within one.
    let mut at = span.start + 1;
    let begun = edits.len();
    for found in matches {
        let mut hidden = found.clone();
        while at < found.end {
            let end = at + piece_len(&text[at..span.end - 1]);
            if end > found.start {
                hidden = hidden.start.min(at)..hidden.end.max(end);
            }
            at = end;
        }
        match edits[begun..].last_mut() {
            // Both have a part of one escape.
            Some((before, _)) if before.end > hidden.start => before.end = before.end.max(hidden.end),
            _ => edits.push((hidden, inside)),
        }
    }
}

/// Bytes of an escape, the two of a surrogate pair together; 1 for what is none.
fn piece_len(text: &[u8]) -> usize {
    let unit = |at: usize, letters: &[u8]| {
        let rest = text.get(at..at + 6).unwrap_or_default();
        rest.starts_with(b"\\u") && rest[2].eq_ignore_ascii_case(&b'd') && letters.contains(&rest[3].to_ascii_lowercase())
    };
    match text {
        [b'\\', b'u', ..] if unit(0, b"89ab") && unit(6, b"cdef") => 12,
        [b'\\', b'u', ..] => text.len().min(6),
        [b'\\', _, ..] => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::redact::Redactor;
    use crate::model::recording::Redaction;

    fn redactor(patterns: &[&str], redact_value: &str) -> Redactor {
        let patterns = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        Redactor::new(&Redaction { patterns, redact_value: redact_value.to_owned(), ..Redaction::default() }).unwrap()
    }

    #[test]
    fn what_a_pattern_finds_in_json_leaves_json() {
        for (pattern, text, wanted) in [
            ("[0-9]{13,16}", r#"{"card":4111111111111111,"n":1}"#, r#"{"card":"[R]","n":1}"#),
            ("[0-9]{13,16}", r#"{"card":"no 4111111111111111!","n":1}"#, r#"{"card":"no [R]!","n":1}"#),
            ("[0-9]{13,16}", r#"[-41111111111111112.5, 1]"#, r#"["[R]", 1]"#),
            ("[0-9]{13,16}", "4111111111111111", r#""[R]""#),
            ("[0-9]{13,16}", "\u{feff} [4111111111111111]", "\u{feff} [\"[R]\"]"),
            ("[0-9]{13,16}", "4111111111111111 4111111111111111", "[R] [R]"),
            ("[0-9]{13,16}", "{\"card\":4111111111111111", "{\"card\":[R]"),
            ("tru", r#"{"true":true}"#, r#"{"[R]e":"[R]"}"#),
            (r#""pin": *[0-9]+"#, r#"{"a":1,"pin": 77,"n":1}"#, r#"{"a":1,"[R]": "[R]","n":1}"#),
            (r#""sk-[0-9]+""#, r#"["sk-1","x sk-1"]"#, r#"["[R]","x sk-1"]"#),
            ("a.*b", r#"{"xa":[1,{"c":null}],"by":2}"#, r#"{"[R]":["[R]",{"[R]":"[R]"}],"[R]":2}"#),
            ("[{},]", r#"{"a":[1,2]}"#, r#"{"a":[1,2]}"#),
            ("nsk", r#"["a\nsk-1"]"#, r#"["a[R]-1"]"#),
            ("u00", r#"["\u0041\u0042","u00"]"#, r#"["[R][R]","[R]"]"#),
            ("u00|4", r#"["\u0041x"]"#, r#"["[R]x"]"#),
            ("d83d|de01", r#"["\ud83d\ude00 \ud83D\ude01"]"#, r#"["[R] [R]"]"#),
            ("é", r#"["éé"]"#, r#"["[R][R]"]"#),
            (r"4\d{3}", r#"{"a":"{\"n\":4111,\"s\":\"4111\"}"}"#, r#"{"a":"{\"n\":\"[R]\",\"s\":\"[R]\"}"}"#),
        ] {
            let redacted = redactor(&[pattern], "[R]").text(text);
            assert_eq!(redacted.as_deref().unwrap_or(text), wanted, "{pattern} in {text}");
            assert_eq!(redactor(&[pattern], "[R]").text(wanted), None, "{pattern}");
        }
    }

    #[test]
    fn a_redact_value_with_a_quote_leaves_json() {
        let redacted = |text: &str| redactor(&["sk-[0-9]+"], "a\"b\\").text(text).unwrap();
        assert_eq!(redacted(r#"{"k":"my sk-1 is","sk-2":[]}"#), r#"{"k":"my a\"b\\ is","a\"b\\":[]}"#);
        assert_eq!(redacted(r#"{"k":"\u0073k-1 \n"}"#), r#"{"k":"a\"b\\ \n"}"#);
        assert_eq!(redacted("my sk-1 is"), "my a\"b\\ is");
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            any::<bool>().prop_map(serde_json::Value::from),
            any::<i64>().prop_map(serde_json::Value::from),
            "[a-c0-2\"\\\\\n😀{}:,\u{1}]{0,8}".prop_map(serde_json::Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(serde_json::Value::from),
                prop::collection::btree_map("[a-c0-2\"\n]{0,4}", inner, 0..4)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn json_stays_json_whatever_the_pattern(
            value in json(), pretty in any::<bool>(),
            patterns in prop::collection::vec("[a-c0-2u\":,.n]{1,3}[+*]?", 1..3), redact_value in "[a\"\\\\*]{0,3}",
        ) {
            let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) }.unwrap();
            let patterns: Vec<&str> = patterns.iter().map(String::as_str).collect();
            if let Some(redacted) = redactor(&patterns, &redact_value).text(&text) {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&redacted).is_ok(), "{text} became {redacted}");
            }
        }
    }
}
