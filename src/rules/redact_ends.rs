//! Redaction of what stands around a recording's frames: its head and its tail. The rules and the frames are `redact.rs`'s.

use super::redact::Redactor;
use crate::model::recording::{Head, StreamHead, StreamTail, decode};

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
            if request.encoding.is_none()
                && let Some(redacted) = request.body.as_deref().and_then(redact)
            {
                request.body = Some(redacted);
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
            let readable = decode(text, *tail_encoding).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            if let Some(redacted) = redactor.tail(readable.as_deref().unwrap_or(text)) {
                *text = redacted;
                *tail_encoding = None;
            }
        }
        StreamTail::Sse { .. } => {}
    }
}
