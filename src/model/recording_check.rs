//! What is wrong with a recording that parses: times, order, base64. For files that people keep and edit; the store's own are made right.

use super::mock_http::is_bodiless;
use super::recording::{Frame, Head, StreamHead, StreamTail, Tail, decode};
use crate::base::error::{Error, Result};
use crate::base::time::parse_rfc3339;

/// A look at the frames of one recording, in their order.
#[derive(Debug, Default)]
pub struct FrameCheck {
    seen: u64,
    last_us: u64,
}

/// Checks what a recording begins with.
///
/// # Errors
/// [`Error::Invalid`] for a start time that is none, a path that no client asks for, or a status as [`check_status`] says.
pub fn check_head(head: &Head) -> Result<()> {
    if parse_rfc3339(&head.start_time).is_none() {
        return Err(Error::invalid("startTime", no_time(&head.start_time)));
    }
    if !head.metadata.path.starts_with('/') {
        return Err(Error::invalid("metadata.path", format!("this must begin with \"/\", it is {:?}", head.metadata.path)));
    }
    check_status(head)
}

/// Checks that the response of an event stream has a status that a response with a body can have.
///
/// # Errors
/// [`Error::Invalid`] at `sse.responseStatus`, with what is allowed.
pub fn check_status(head: &Head) -> Result<()> {
    match &head.stream {
        StreamHead::Sse { response_status: status, .. } if !(200..=599).contains(status) || is_bodiless(*status) => {
            let message = format!("no event stream has the status {status}; it is one of 200 to 599, without 204, 205, 304");
            Err(Error::invalid("sse.responseStatus", message))
        }
        _ => Ok(()),
    }
}

/// Checks what a recording ends with.
///
/// # Errors
/// [`Error::Invalid`] for an end time that is none, or bytes that are no base64.
pub fn check_tail(tail: &Tail) -> Result<()> {
    if let Some(time) = &tail.end_time
        && parse_rfc3339(time).is_none()
    {
        return Err(Error::invalid("endTime", no_time(time)));
    }
    if let StreamTail::Sse { tail: Some(text), tail_encoding, .. } = &tail.stream
        && decode(text, *tail_encoding).is_none()
    {
        return Err(Error::invalid("sse.tail", NO_BASE64));
    }
    Ok(())
}

const NO_BASE64: &str = "this says that it is base64, and is none";

fn no_time(text: &str) -> String {
    format!("{text:?} is no time as RFC 3339 writes it, such as 2024-01-15T10:30:00.000000Z")
}

impl FrameCheck {
    /// How many frames have been looked at.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// Looks at the next frame.
    ///
    /// # Errors
    /// [`Error::Invalid`] at its place (`websocket.frames[3].data`), for the first thing that is wrong with it.
    pub fn check(&mut self, frame: &Frame) -> Result<()> {
        let (list, timestamp, us, ms) = match frame {
            Frame::WebSocket(frame) => ("websocket.frames", &frame.timestamp, frame.relative_us, frame.relative_ms),
            Frame::Sse(event) => ("sse.events", &event.timestamp, event.relative_us, event.relative_ms),
        };
        let index = self.seen;
        self.seen += 1;
        let wrong = |field: &str, message: String| Err(Error::invalid(format!("{list}[{index}].{field}"), message));
        let Some(due_us) = frame.due_us() else {
            return wrong("relativeUs", "this field must be given, or relativeMs: it says when the frame came".to_owned());
        };
        if let (Some(us), Some(ms)) = (us, ms)
            && us / 1000 != ms
        {
            return wrong("relativeMs", format!("{ms} is not what relativeUs says, which counts: {us}; change both, or leave one out"));
        }
        // What came before stays what the next one is compared with, so that one wrong time is told once.
        let before_us = self.last_us;
        self.last_us = due_us.max(before_us);
        if due_us < before_us {
            return wrong("relativeUs", format!("{due_us} µs is before the frame in front of it, which came at {before_us} µs"));
        }
        if !timestamp.is_empty() && parse_rfc3339(timestamp).is_none() {
            return wrong("timestamp", no_time(timestamp));
        }
        match frame {
            Frame::WebSocket(frame) if frame.payload().is_none() => wrong("data", NO_BASE64.to_owned()),
            Frame::Sse(event) if event.raw.as_ref().is_some_and(|raw| decode(raw, event.raw_encoding).is_none()) => {
                wrong("raw", NO_BASE64.to_owned())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::recording_text::parse;
    use serde_json::{Value, json};

    fn problems(recording: &Value) -> Vec<String> {
        let recording = parse(recording.to_string().as_bytes()).unwrap();
        let mut check = FrameCheck::default();
        let ends = [check_head(&recording.head), check_tail(&recording.tail)];
        let all = ends.into_iter().chain(recording.frames.iter().map(|frame| check.check(frame)));
        all.filter_map(Result::err).map(|error| error.to_string()).collect()
    }

    #[test]
    fn an_event_stream_has_a_status_that_a_body_goes_with() {
        for (status, fine) in
            [(0, false), (99, false), (101, false), (199, false), (200, true), (204, false), (205, false), (206, true), (304, false)]
                .into_iter()
                .chain([(404, true), (599, true), (600, false), (1000, false), (65535, false)])
        {
            let text = json!({"protocol": "sse", "startTime": "2024-01-15T10:30:00Z", "sse": {"responseStatus": status}}).to_string();
            assert_eq!(check_status(&parse(text.as_bytes()).unwrap().head).is_ok(), fine, "{status}");
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let ws = |frames: Value| json!({"protocol": "websocket", "startTime": "2024-01-15T10:30:00Z", "metadata": {"path": "/ws"}, "websocket": {"frames": frames}});
        let frame = |fields: Value| {
            let mut frame = json!({"direction": "s2c", "type": "text", "data": "x"});
            frame.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
            frame
        };
        let sse = |events: Value| json!({"protocol": "sse", "startTime": "2024-01-15T10:30:00Z", "metadata": {"path": "/e"}, "sse": {"events": events}});
        let with = |name: &str, value: Value| {
            let mut recording = ws(json!([]));
            recording[name] = value;
            recording
        };
        let fine = frame(json!({"relativeUs": 1500, "relativeMs": 1, "timestamp": "2024-01-15T10:30:00.001500Z"}));
        let late = frame(json!({"relativeMs": 5}));
        for (recording, expected) in [
            (ws(json!([fine, late])), vec![]),
            (sse(json!([{"data": "x", "relativeMs": 0, "raw": "AAE=", "rawEncoding": "base64"}])), vec![]),
            (
                with("startTime", json!("yesterday")),
                vec!["startTime: \"yesterday\" is no time as RFC 3339 writes it, such as 2024-01-15T10:30:00.000000Z"],
            ),
            (with("endTime", json!("x")), vec!["endTime: \"x\" is no time as RFC 3339 writes it, such as 2024-01-15T10:30:00.000000Z"]),
            (
                json!({"protocol": "sse", "startTime": "2024-01-15T10:30:00Z", "metadata": {"path": "/e"}, "sse": {"responseStatus": 1000}}),
                vec!["sse.responseStatus: no event stream has the status 1000; it is one of 200 to 599, without 204, 205, 304"],
            ),
            (with("metadata", json!({})), vec!["metadata.path: this must begin with \"/\", it is \"\""]),
            (
                ws(json!([fine, frame(json!({})), frame(json!({"relativeUs": 2, "relativeMs": 1}))])),
                vec![
                    "websocket.frames[1].relativeUs: this field must be given, or relativeMs: it says when the frame came",
                    "websocket.frames[2].relativeMs: 1 is not what relativeUs says, which counts: 2; change both, or leave one out",
                ],
            ),
            (
                ws(json!([late, fine, late])),
                vec!["websocket.frames[1].relativeUs: 1500 µs is before the frame in front of it, which came at 5000 µs"],
            ),
            (
                ws(json!([frame(json!({"type": "binary", "relativeMs": 0}))])),
                vec!["websocket.frames[0].data: this says that it is base64, and is none"],
            ),
            (
                sse(
                    json!([{"data": "x", "relativeMs": 0, "timestamp": "5"}, {"data": "x", "relativeMs": 0, "raw": "!", "rawEncoding": "base64"}]),
                ),
                vec![
                    "sse.events[0].timestamp: \"5\" is no time as RFC 3339 writes it, such as 2024-01-15T10:30:00.000000Z",
                    "sse.events[1].raw: this says that it is base64, and is none",
                ],
            ),
        ] {
            assert_eq!(problems(&recording), expected, "{recording}");
        }
    }
}
