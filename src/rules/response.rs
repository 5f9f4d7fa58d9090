//! What a replay, and a mock made of a recording, keep of the recorded response's header fields. What they add is not decided here.

use crate::model::pairs::Pairs;
use crate::model::recording::Redaction;
use crate::wire::head::Headers;

/// The recorded fields less what belongs to the recorded connection alone: its length, hop-by-hop fields, CORS fields, values
/// that were redacted, and those that no header can carry.
pub fn kept_fields(recorded: &Pairs, redaction: Option<&Redaction>) -> Headers {
    let mut headers = Headers::default();
    for (name, value) in recorded.iter() {
        let is_length = name.eq_ignore_ascii_case("Content-Length");
        if !(is_redacted(name, value, redaction) || is_length || is_cors_field(name) || value.contains(['\r', '\n', '\0'])) {
            headers.push(name, value);
        }
    }
    headers.end_to_end(&[])
}

/// Whether something in the value of this field was redacted. An empty redact value is told by the field's name alone.
pub fn is_redacted(name: &str, value: &str, redaction: Option<&Redaction>) -> bool {
    let is_named = |rules: &Redaction| rules.headers.iter().any(|known| known.eq_ignore_ascii_case(name));
    redaction.is_some_and(|rules| match rules.redact_value.as_str() {
        "" => value.is_empty() && is_named(rules),
        mark => value.contains(mark),
    })
}

/// Whether it is a field that the answer to each request's own origin takes the place of.
pub fn is_cors_field(name: &str) -> bool {
    const PREFIX: &str = "access-control-";
    name.len() > PREFIX.len() && name.is_char_boundary(PREFIX.len()) && name[..PREFIX.len()].eq_ignore_ascii_case(PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_belongs_to_the_recorded_connection_goes() {
        let mut recorded = Pairs::default();
        for (name, value) in [
            ("Content-Type", "text/event-stream"),
            ("content-length", "5"),
            ("Connection", "keep-alive, X-Hop"),
            ("X-Hop", "1"),
            ("Transfer-Encoding", "chunked"),
            ("access-control-Allow-Origin", "*"),
            ("Set-Cookie", "[REDACTED]"),
            ("X-Split", "a\r\nB: c"),
            ("X-Twice", "1"),
            ("x-twice", "2"),
        ] {
            recorded.add_header(name, value.to_owned());
        }
        let rules = Redaction { redact_value: "[REDACTED]".to_owned(), ..Redaction::default() };
        let kept = kept_fields(&recorded, Some(&rules));
        let kept: Vec<_> = kept.0.iter().map(|(name, value)| (name.as_str(), value.as_slice())).collect();
        assert_eq!(kept, [("Content-Type", &b"text/event-stream"[..]), ("X-Twice", b"1"), ("X-Twice", b"2")]);
        let all = kept_fields(&recorded, Some(&Redaction::default()));
        assert_eq!(all.get("Set-Cookie"), Some("[REDACTED]"), "an empty value hides nothing");
        recorded.add_header("X-Empty", String::new());
        recorded.add_header("X-Key", String::new());
        let blank = Redaction { headers: vec!["x-key".to_owned()], ..Redaction::default() };
        let all = kept_fields(&recorded, Some(&blank));
        assert_eq!((all.get("X-Empty"), all.get("X-Key")), (Some(""), None), "what was redacted to nothing goes too");
    }
}
