//! Where secrets stand inside of other texts: parameters of URLs in header values, and strings of JSON whose text has escapes, or JSON
//! of its own. It finds the places; what is a secret is said by the one who asks.

use super::json_span::{Token, scan, splice, unescape};

/// What ends a URL that stands in a header value, as in `Link: <https://h/x?a=1>; rel="next"`.
const END_OF_URL: [char; 6] = [' ', '\t', '"', '\'', '<', '>'];

/// `text` with `with` for the value of every parameter, in a query or a fragment, whose name `is_named`, and without the users and
/// passwords of its URLs. `None` where nothing changed.
pub fn redact_links(text: &str, with: &str, is_named: impl Fn(&str) -> bool) -> Option<String> {
    if !text.contains(['?', '#', '@']) {
        return None;
    }
    let mut edits = Vec::new();
    let mut start = 0;
    for word in text.split_inclusive(END_OF_URL) {
        let url = word.trim_end_matches(END_OF_URL);
        edits.extend(user_of(url).map(|span| (start + span.start..start + span.end, "")));
        let mut at = url.find(['?', '#']).unwrap_or(url.len());
        while at < url.len() {
            // Behind the sign that begins it, up to the next one.
            at += 1;
            let piece = &url[at..];
            let piece = &piece[..piece.find(['&', '#', '?']).unwrap_or(piece.len())];
            if let Some((name, value)) = piece.split_once('=')
                && is_named(name)
            {
                // A question mark is no end of a value.
                let value_at = at + name.len() + 1;
                let value_end = value_at + url[value_at..].find(['&', '#']).unwrap_or(url.len() - value_at);
                edits.push((start + value_at..start + value_end, with));
                at += name.len() + 1 + value.len();
            } else {
                at += piece.len();
            }
        }
        start += word.len();
    }
    if edits.is_empty() { None } else { splice(text, edits) }
}

/// Where a URL has its user and password, with the sign behind them.
fn user_of(url: &str) -> Option<std::ops::Range<usize>> {
    let start = url.find("://")? + 3;
    let authority = &url[start..];
    let authority = &authority[..authority.find(['/', '?', '#']).unwrap_or(authority.len())];
    Some(start..start + authority.rfind('@')? + 1)
}

/// `text` with other strings (keys and values) where `redact`, which gets what stands between the quotes and what that says, gives what
/// they shall say. Strings without an escape are what they say, so they are not asked about. `None` where nothing changed, and for what is
/// no JSON.
pub fn redact_strings(text: &str, redact: impl Fn(&str, &str) -> Option<String>) -> Option<String> {
    if !text.contains('\\') {
        return None;
    }
    let mut edits = Vec::new();
    let is_json = scan(text, |token| {
        let (key, value) = match token {
            Token::Open { key, .. } => (key, None),
            Token::Leaf { key, span } => (key, Some(span)),
            Token::Close { .. } => (None, None),
        };
        for span in [key, value].into_iter().flatten() {
            let literal = &text[span.clone()];
            if literal.starts_with('"')
                && literal.contains('\\')
                && let Some(redacted) = redact(&literal[1..literal.len() - 1], &unescape(literal))
            {
                edits.push((span, serde_json::Value::from(redacted).to_string()));
            }
        }
    });
    if !is_json || edits.is_empty() {
        return None;
    }
    splice(text, edits.iter().map(|(span, with)| (span.clone(), with.as_str())).collect())
}

#[cfg(test)]
mod tests {
    use super::super::redact::Redactor;
    use super::*;
    use crate::model::recording::Redaction;

    fn redactor() -> Redactor {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        Redactor::new(&Redaction {
            headers: words(&["Cookie"]),
            query: words(&["token"]),
            body_keys: words(&["password"]),
            patterns: words(&["sk-[a-z0-9]+"]),
            redact_value: "***".to_owned(),
        })
        .unwrap()
    }

    #[test]
    fn parameters_of_urls_in_a_header_are_found() {
        let redacted = |text: &str| redact_links(text, "***", |name| name == "token" || name == "key");
        for (text, wanted) in [
            ("https://h/x?token=s", Some("https://h/x?token=***")),
            ("/x?a=1&token=s&b=2", Some("/x?a=1&token=***&b=2")),
            ("/x?token=s&key=t#token=u&z=1", Some("/x?token=***&key=***#token=***&z=1")),
            ("https://h/cb#a=1&key=s", Some("https://h/cb#a=1&key=***")),
            (
                "<https://h/?key=s>; rel=\"next\", <https://h/?page=2&key=t>; rel=\"last\"",
                Some("<https://h/?key=***>; rel=\"next\", <https://h/?page=2&key=***>; rel=\"last\""),
            ),
            ("0; url=/x?token=s", Some("0; url=/x?token=***")),
            ("/x?token=a?b=c&d=e", Some("/x?token=***&d=e")),
            ("/x?a=1?token=s", Some("/x?a=1?token=***")),
            ("/x?token=", Some("/x?token=***")),
            ("https://me:p@ss@h/x@y", Some("https://h/x@y")),
            ("wss://me@h?token=s", Some("wss://h?token=***")),
            ("/x?token", None),
            ("token=s", None),
            ("a&token=s", None),
            ("me@example.com", None),
            ("?", None),
            ("#?&&=é=", None),
            ("text/html;q=0.9, */*", None),
        ] {
            assert_eq!(redacted(text).as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn strings_with_escapes_are_asked_about() {
        let redacted = |text: &str| redact_strings(text, |_, said| said.contains("ab").then(|| said.replace("ab", "\"")));
        for (text, wanted) in [
            (r#" {"\u0061b" : ["x\u0061b","ab", 1]} "#, Some(r#" {"\"" : ["x\"","ab", 1]} "#)),
            (r#""\u0061b""#, Some(r#""\"""#)),
            (r#"{"\u0061b":{"c":1}}"#, Some(r#"{"\"":{"c":1}}"#)),
            (r#"{"a\n":"b\n"}"#, None),
            (r#"{"\u0061b":"#, None),
            (r#"\u0061b"#, None),
        ] {
            assert_eq!(redacted(text).as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn json_in_a_string_of_json_is_searched_for_keys() {
        for (text, wanted) in [
            (r#"{"a":"{\"password\":\"x\"}","b":"\n"}"#, Some(r#"{"a":"{\"password\":\"***\"}","b":"\n"}"#)),
            (r#"{"a":" [{\"pass\u0077ord\":[1]}]"}"#, Some(r#"{"a":" [{\"password\":\"***\"}]"}"#)),
            (r#"["{\"a\":\"{\\\"password\\\":1}\"}"]"#, Some(r#"["{\"a\":\"{\\\"password\\\":\\\"***\\\"}\"}"]"#)),
            (r#"{"a":"{\"passwort\":1}"}"#, None),
            (r#"{"a":"{\"password\":1"}"#, None),
            (r#"{"a":"see {\"password\":1}"}"#, None),
        ] {
            assert_eq!(redactor().text(text).as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn patterns_see_what_a_string_says() {
        for (text, wanted) in [
            (r#"{"a":"\u0073k-12"}"#, Some(r#"{"a":"***"}"#)),
            (r#"{"a":"sk-1\u0032 \/ b"}"#, Some(r#"{"a":"*** / b"}"#)),
            (r#"{"\u0073k-1":1}"#, Some(r#"{"***":1}"#)),
            // Where the pattern finds the same in the text, every other byte stays.
            (r#"{"a":"sk-1 \u0032 \/"}"#, Some(r#"{"a":"*** \u0032 \/"}"#)),
            (r#"{"a":"x\u0032"}"#, None),
        ] {
            assert_eq!(redactor().text(text).as_deref(), wanted, "{text}");
        }
    }

    #[test]
    fn bytes_are_searched_where_they_are_text() {
        for (bytes, wanted) in [
            (&b"{\"password\":1}"[..], Some(&b"{\"password\":\"***\"}"[..])),
            (b"\x00\xffsk-12\xc3\x00sk-3", Some(b"\x00\xff***\xc3\x00***")),
            (b"\xff{\"password\":1}", None),
            (b"\x00\x01", None),
        ] {
            assert_eq!(redactor().bytes(bytes).as_deref(), wanted, "{bytes:?}");
        }
        let none = Redactor::new(&Redaction { redact_value: "***".to_owned(), ..Redaction::default() }).unwrap();
        assert_eq!(none.bytes(b"{\"password\":\"sk-1\"}"), None);
    }

    #[test]
    fn json_behind_a_byte_order_mark_is_searched_for_keys() {
        for (text, wanted) in [
            ("\u{feff}{\"password\":\"x\"}", Some("\u{feff}{\"password\":\"***\"}")),
            ("\u{feff}\u{feff}[{\"password\":1}]", Some("\u{feff}\u{feff}[{\"password\":\"***\"}]")),
            ("\u{feff}{\"a\":\"{\\\"password\\\":1}\"}", Some("\u{feff}{\"a\":\"{\\\"password\\\":\\\"***\\\"}\"}")),
            ("{\"a\":\"\\ufeff{\\\"password\\\":1}\"}", Some("{\"a\":\"\u{feff}{\\\"password\\\":\\\"***\\\"}\"}")),
            ("\u{feff}sk-12", Some("\u{feff}***")),
            ("\u{feff}{\"a\":1}", None),
        ] {
            assert_eq!(redactor().text(text).as_deref(), wanted, "{text}");
        }
        assert_eq!(redactor().cut_text("\u{feff} {\"password\":\"x").as_deref(), Some("***"));
        assert_eq!(redactor().tail("data: \u{feff}{\"password\":\"x\"}").as_deref(), Some("data: ***"));
        assert_eq!(redactor().tail("\u{feff}data: {\ndata: \"password\":1}").as_deref(), Some("\u{feff}data: ***\ndata: ***"));
    }

    #[test]
    fn header_values_lose_secrets_of_their_urls() {
        for (name, value, wanted) in [
            ("Referer", "http://me:p@h/?%74oken=s&a=sk-1", "http://h/?%74oken=***&a=***"),
            ("Location", "/cb#Token=s", "/cb#Token=***"),
            ("cookie", "token=s", "***"),
            ("Accept", "a/b;q=0.1, */*?x", "a/b;q=0.1, */*?x"),
        ] {
            let mut redacted = value.to_owned();
            redactor().header(name, &mut redacted);
            assert_eq!(redacted, wanted, "{name}: {value}");
        }
    }

    /// Each level of strings in strings has twice the escapes of the one around it.
    #[test]
    fn strings_in_strings_end() {
        let text = (0..14).fold(r#"{"password":1}"#.to_owned(), |text, _| format!("[{}]", serde_json::Value::from(text)));
        let length = text.len();
        let run = move || assert!(redactor().text(&text).is_some_and(|redacted| redacted.contains("***")), "{length} bytes");
        crate::base::sync::spawn("strings", run).unwrap().join().unwrap();
        let blank = format!("[\"{}\"]", r"\u007b".repeat(200_000));
        assert_eq!(redactor().text(&blank), None);
    }
}
