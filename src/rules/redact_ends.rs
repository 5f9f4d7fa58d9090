//! Redaction of what stands around a recording's frames: its head and its tail. The rules and the frames are `redact.rs`'s.

use super::redact::{Redactor, readable};
use crate::model::recording::{Head, StreamHead, StreamTail};

/// Redacts what a recording's head holds.
pub fn redact_head(head: &mut Head, redactor: &Redactor) {
    let plain = |text: &mut String| {
        if let Some(redacted) = redactor.plain(text) {
            *text = redacted;
        }
    };
    redactor.headers(&mut head.metadata.headers);
    redactor.query(&mut head.metadata.query);
    // A name that nobody gave is made of the path.
    plain(&mut head.name);
    head.description.as_mut().into_iter().chain(&mut head.tags).for_each(plain);
    plain(&mut head.metadata.path);
    if let Some(upstream) = &mut head.metadata.upstream {
        *upstream = redactor.url(upstream);
    }
    head.metadata.redaction = Some(redactor.rules().clone());
    match &mut head.stream {
        // The chosen subprotocol is one of those that the header lists.
        StreamHead::WebSocket { subprotocol } => {
            subprotocol.iter_mut().for_each(|chosen| redactor.header("Sec-WebSocket-Protocol", chosen));
        }
        StreamHead::Sse { request, response_headers, .. } => {
            redactor.headers(response_headers);
            let redact = |body: &str| if request.truncated { redactor.cut_text(body) } else { redactor.text(body) };
            // What is not UTF-8 stands in base64, where no rule would find anything.
            let readable = request.body.as_deref().map(|body| readable(body, request.encoding));
            if let Some(redacted) = readable.as_deref().and_then(redact) {
                request.body = Some(redacted);
                request.encoding = None;
            }
        }
    }
}

/// Redacts what a recording's tail holds: the close reason, and what an event stream left behind its last blank line.
pub fn redact_tail(tail: &mut StreamTail, redactor: &Redactor) {
    match tail {
        StreamTail::WebSocket { close_reason, .. } => {
            if let Some(redacted) = close_reason.as_deref().and_then(|reason| redactor.plain(reason)) {
                *close_reason = Some(redacted);
            }
        }
        StreamTail::Sse { tail: Some(text), tail_encoding, .. } => {
            if let Some(redacted) = redactor.tail(&readable(text, *tail_encoding)) {
                *text = redacted;
                *tail_encoding = None;
            }
        }
        StreamTail::Sse { .. } => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::recording::{Protocol, Redaction, SseRequest, encode};
    use crate::rules::script::samples;

    #[test]
    fn a_body_in_base64_keeps_no_secret() {
        let rules = Redaction { body_keys: vec!["password".to_owned()], redact_value: "***".to_owned(), ..Redaction::default() };
        let redactor = Redactor::new(&rules).unwrap();
        let redacted = |bytes: &[u8], truncated: bool| {
            let mut head = samples::head(Protocol::Sse, None);
            let (body, encoding) = encode(bytes);
            let StreamHead::Sse { request, .. } = &mut head.stream else { panic!("a WebSocket") };
            *request = SseRequest { method: "POST".to_owned(), body: Some(body), encoding, truncated };
            redact_head(&mut head, &redactor);
            let StreamHead::Sse { request, .. } = head.stream else { panic!("a WebSocket") };
            (request.body.unwrap(), request.encoding)
        };
        assert_eq!(redacted(b"{\"password\":\"hunter2\",\"x\":\"\xc3", true), ("***".to_owned(), None));
        assert_eq!(redacted(b"{\"password\":\"hunter2\",\"x\":\"\xe9\"}", false).0, "{\"password\":\"***\",\"x\":\"\u{fffd}\"}");
        let (binary, encoding) = encode(b"\x00\xff");
        assert_eq!(redacted(b"\x00\xff", true), (binary, encoding), "what hides nothing stays");
    }

    fn redactor(keys: &[&str]) -> Redactor {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let rules = Redaction {
            body_keys: words(keys),
            patterns: words(&["sk-[0-9]+"]),
            redact_value: "[REDACTED]".to_owned(),
            ..Redaction::default()
        };
        Redactor::new(&rules).unwrap()
    }

    #[test]
    fn a_cut_text_that_begins_as_json_goes_whole_where_there_are_keys() {
        for (keys, text, redacted) in [
            (&["password"][..], r#" {"password":"hun"#, Some("[REDACTED]")),
            (&["$.a"], r#"[{"b":1},"#, Some("[REDACTED]")),
            (&["password"], "password=hun", None),
            (&[], r#"{"password":"hun"#, None),
            (&[], "{\"a\":\"sk-1", Some("{\"a\":\"[REDACTED]")),
        ] {
            assert_eq!(redactor(keys).cut_text(text).as_deref(), redacted, "{text}");
        }
    }

    #[test]
    fn tails_are_redacted_line_by_line_and_joined() {
        for (tail, redacted) in [
            ("data: {\"password\":\"x\"}\n", Some("data: [REDACTED]\n")),
            ("id: 7\r\ndata:{\"pass", Some("id: 7\r\ndata: [REDACTED]")),
            ("data: {\ndata: \"password\": 1}\nid: 1", Some("data: [REDACTED]\ndata: [REDACTED]\nid: 1")),
            (": sk-1 here\n", Some(": [REDACTED]\n")),
            ("data: plain\n", None),
            ("data", None),
        ] {
            assert_eq!(redactor(&["password"]).tail(tail).as_deref(), redacted, "{tail}");
        }
    }
}
