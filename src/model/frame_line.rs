//! The JSON of a frame, written by hand: the bytes that serde gives for it, for a fraction of the work, as a recorder writes one for
//! each frame that passes. It holds no state but times, and decides nothing: what is to be redacted comes redacted.

use super::recording::{Direction, Encoding, Frame, FrameType, SseEvent, WsFrame};
use crate::base::time::Seconds;

/// A message of a WebSocket as it passed.
#[derive(Debug, Clone, Copy)]
pub struct Passed<'a> {
    /// Who sent it.
    pub direction: Direction,
    /// Its type.
    pub kind: FrameType,
    /// The payload's bytes; of a close frame nothing.
    pub payload: &'a [u8],
    /// Of a close frame that has one.
    pub close_code: Option<u16>,
    /// Of a close frame that has one.
    pub close_reason: Option<&'a str>,
    /// Microseconds from the origin.
    pub relative_us: u64,
}

/// Writes when frames passed. Those of one read have one stamp, and those of one second most of its text.
#[derive(Debug)]
pub struct Times {
    start_us: u64,
    seconds: Seconds,
    /// The stamp at hand.
    relative_us: Option<u64>,
    /// What a frame of that stamp ends with.
    text: Vec<u8>,
}

impl Times {
    /// Times from an origin at `start_us` on the wall clock.
    pub fn new(start_us: u64) -> Self {
        Self { start_us, seconds: Seconds::default(), relative_us: None, text: Vec::new() }
    }

    /// The fields `timestamp`, `relativeMs` and `relativeUs`, and the bracket behind them.
    fn end(&mut self, relative_us: u64) -> &[u8] {
        if self.relative_us != Some(relative_us) {
            self.text.clear();
            self.text.extend_from_slice(b"\"timestamp\":\"");
            self.seconds.push_rfc3339(&mut self.text, self.start_us.saturating_add(relative_us));
            self.text.push(b'"');
            // Milliseconds are what the last three digits of microseconds leave.
            let mut buffer = [0; MAX_DIGITS];
            let us = digits(relative_us, &mut buffer);
            let ms = us.split_last_chunk::<3>().map_or(&b""[..], |(ms, _)| ms);
            push_name(&mut self.text, "relativeMs");
            self.text.extend_from_slice(if ms.is_empty() { b"0" } else { ms });
            push_name(&mut self.text, "relativeUs");
            self.text.extend_from_slice(us);
            self.text.push(b'}');
            self.relative_us = Some(relative_us);
        }
        &self.text
    }
}

/// Appends the JSON of a message. What is no text, or says that it is and is not UTF-8, stands in base64.
pub fn push_passed(out: &mut Vec<u8>, passed: &Passed<'_>, times: &mut Times) {
    push_beginning(out, passed.direction, passed.kind);
    if passed.kind == FrameType::Binary {
        push_base64(out, passed.payload);
    } else if is_plain(passed.payload) {
        out.extend_from_slice(passed.payload);
        out.push(b'"');
    } else {
        match std::str::from_utf8(passed.payload) {
            Ok(text) => push_rest_of_string(out, text),
            Err(_) => push_base64(out, passed.payload),
        }
    }
    push_close(out, passed.close_code, passed.close_reason);
    out.push(b',');
    out.extend_from_slice(times.end(passed.relative_us));
}

/// Appends the JSON of a frame; `false`, and nothing appended, where it has fields that this module does not know.
pub fn push_frame(out: &mut Vec<u8>, frame: &Frame) -> bool {
    match frame {
        Frame::WebSocket(frame) if frame.extra.is_empty() => push_message(out, frame),
        Frame::Sse(event) if event.extra.is_empty() => push_event(out, event),
        Frame::WebSocket(_) | Frame::Sse(_) => return false,
    }
    true
}

fn push_message(out: &mut Vec<u8>, frame: &WsFrame) {
    push_beginning(out, frame.direction, frame.kind);
    push_rest_of_string(out, &frame.data);
    match frame.encoding {
        Some(Encoding::Base64) => out.extend_from_slice(BASE64),
        None => {}
    }
    push_close(out, frame.close_code, frame.close_reason.as_deref());
    push_times(out, &frame.timestamp, frame.relative_ms, frame.relative_us);
}

/// Appends the JSON of an event without fields of other programs.
pub fn push_event(out: &mut Vec<u8>, event: &SseEvent) {
    let start = out.len();
    for (name, text) in [("type", &event.kind), ("data", &event.data), ("id", &event.id)] {
        push_text(out, name, text.as_deref());
    }
    if let Some(retry) = event.retry {
        push_number(out, "retry", retry);
    }
    push_text(out, "comment", event.comment.as_deref());
    push_text(out, "raw", event.raw.as_deref());
    match event.raw_encoding {
        Some(Encoding::Base64) => out.extend_from_slice(b",\"rawEncoding\":\"base64\""),
        None => {}
    }
    push_times(out, &event.timestamp, event.relative_ms, event.relative_us);
    // The first field has a comma before it too.
    out[start] = b'{';
}

const BASE64: &[u8] = b",\"encoding\":\"base64\"";

/// Everything before the payload, its quotation mark included.
fn push_beginning(out: &mut Vec<u8>, direction: Direction, kind: FrameType) {
    out.extend_from_slice(match direction {
        Direction::ClientToServer => b"{\"direction\":\"c2s\",\"type\":\"",
        Direction::ServerToClient => b"{\"direction\":\"s2c\",\"type\":\"",
    });
    out.extend_from_slice(match kind {
        FrameType::Text => b"text\",\"data\":\"",
        FrameType::Binary => b"binary\",\"data\":\"",
        FrameType::Ping => b"ping\",\"data\":\"",
        FrameType::Pong => b"pong\",\"data\":\"",
        FrameType::Close => b"close\",\"data\":\"",
    });
}

fn push_close(out: &mut Vec<u8>, code: Option<u16>, reason: Option<&str>) {
    if let Some(code) = code {
        push_number(out, "closeCode", code.into());
    }
    push_text(out, "closeReason", reason);
}

fn push_times(out: &mut Vec<u8>, timestamp: &str, relative_ms: Option<u64>, relative_us: Option<u64>) {
    push_text(out, "timestamp", Some(timestamp));
    for (name, number) in [("relativeMs", relative_ms), ("relativeUs", relative_us)] {
        if let Some(number) = number {
            push_number(out, name, number);
        }
    }
    out.push(b'}');
}

/// A comma, a name and its colon.
fn push_name(out: &mut Vec<u8>, name: &str) {
    out.extend_from_slice(b",\"");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn push_text(out: &mut Vec<u8>, name: &str, text: Option<&str>) {
    if let Some(text) = text {
        push_name(out, name);
        out.push(b'"');
        push_rest_of_string(out, text);
    }
}

fn push_number(out: &mut Vec<u8>, name: &str, number: u64) {
    push_name(out, name);
    out.extend_from_slice(digits(number, &mut [0; MAX_DIGITS]));
}

/// Digits of the largest number.
const MAX_DIGITS: usize = 20;

/// A number in decimal, at the end of `buffer`.
fn digits(number: u64, buffer: &mut [u8; MAX_DIGITS]) -> &[u8] {
    let mut start = MAX_DIGITS;
    let mut rest = number;
    loop {
        start -= 1;
        buffer[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            return &buffer[start..];
        }
    }
}

/// The payload in base64, the quotation mark behind it, and the field that says so.
fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + data_encoding::BASE64.encode_len(bytes.len()), 0);
    data_encoding::BASE64.encode_mut(bytes, &mut out[start..]);
    out.push(b'"');
    out.extend_from_slice(BASE64);
}

/// A string without the quotation mark before it (RFC 8259 §7): escapes where they must be, as serde_json writes them.
fn push_rest_of_string(out: &mut Vec<u8>, text: &str) {
    let (steps, rest) = text.as_bytes().as_chunks::<STEP>();
    let mut clear = 0;
    for (at, step) in steps.iter().enumerate() {
        if holds(step, is_escaped) {
            out.extend_from_slice(steps[clear..at].as_flattened());
            push_escaped(out, step);
            clear = at + 1;
        }
    }
    out.extend_from_slice(steps[clear..].as_flattened());
    push_escaped(out, rest);
    out.push(b'"');
}

/// Bytes that are looked at together, which the compiler turns into a few vector instructions.
const STEP: usize = 16;

/// At most [`STEP`] bytes of a string. In JSON every few bytes are a quotation mark: no branch is taken for those, and nothing copied by the piece.
fn push_escaped(out: &mut Vec<u8>, bytes: &[u8]) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let mut buffer = [0; 6 * STEP];
    let mut len = 0;
    for &byte in bytes {
        let escape = ESCAPES[usize::from(byte)];
        buffer[len] = b'\\';
        len += usize::from(escape != 0);
        buffer[len] = if escape == 0 { byte } else { escape };
        len += 1;
        if escape == b'u' {
            buffer[len..len + 4].copy_from_slice(&[b'0', b'0', HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]]);
            len += 4;
        }
    }
    out.extend_from_slice(&buffer[..len]);
}

/// What stands behind the backslash for each byte that has one; 0 for the others.
const ESCAPES: [u8; 256] = {
    let mut escapes = [0; 256];
    let mut byte = 0;
    while byte < 0x20 {
        escapes[byte] = b'u';
        byte += 1;
    }
    escapes[0x08] = b'b';
    escapes[0x09] = b't';
    escapes[0x0a] = b'n';
    escapes[0x0c] = b'f';
    escapes[0x0d] = b'r';
    escapes[b'"' as usize] = b'"';
    escapes[b'\\' as usize] = b'\\';
    escapes
};

fn is_escaped(byte: u8) -> bool {
    (byte < 0x20) | (byte == b'"') | (byte == b'\\')
}

/// Whether bytes are ASCII of which nothing is escaped. As signed numbers, those that are not are the small ones.
fn is_plain(bytes: &[u8]) -> bool {
    let is_other = |byte: u8| (byte.cast_signed() < 0x20) | (byte == b'"') | (byte == b'\\');
    let (large, rest) = bytes.as_chunks::<{ 4 * STEP }>();
    let (small, rest) = rest.as_chunks::<STEP>();
    !(large.iter().any(|step| holds(step, is_other))
        || small.iter().any(|step| holds(step, is_other))
        || rest.iter().any(|byte| is_other(*byte)))
}

/// Whether any byte is one of those: looks at all of them, without a branch.
fn holds<const N: usize>(bytes: &[u8; N], is_one: impl Fn(u8) -> bool) -> bool {
    bytes.iter().fold(false, |found, byte| found | is_one(*byte))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::super::recording::encode;
    use super::*;
    use crate::base::time::rfc3339;

    const KINDS: [FrameType; 5] = [FrameType::Text, FrameType::Binary, FrameType::Ping, FrameType::Pong, FrameType::Close];

    /// Texts with what has to be escaped, and long runs of what has not.
    fn text() -> impl Strategy<Value = String> {
        let part = prop_oneof!["[ -~]{0,40}", "[\\x00-\\x20\"\\\\/\\x7f]{0,6}", "\\PC{0,5}", Just("é\u{2028}𝄞".to_owned())];
        proptest::collection::vec(part, 0..6).prop_map(|parts| parts.concat())
    }

    fn maybe<S: Strategy>(strategy: S) -> impl Strategy<Value = Option<S::Value>>
    where
        S::Value: Clone,
    {
        (any::<bool>(), strategy).prop_map(|(is_there, value)| is_there.then_some(value))
    }

    fn direction() -> impl Strategy<Value = Direction> {
        any::<bool>().prop_map(|up| if up { Direction::ClientToServer } else { Direction::ServerToClient })
    }

    fn kind() -> impl Strategy<Value = FrameType> {
        (0..KINDS.len()).prop_map(|index| KINDS[index])
    }

    fn encoding() -> impl Strategy<Value = Option<Encoding>> {
        any::<bool>().prop_map(|is_there| is_there.then_some(Encoding::Base64))
    }

    fn assert_as_serde(frame: &Frame) {
        let mut line = b"before".to_vec();
        assert!(push_frame(&mut line, frame));
        assert_eq!(String::from_utf8(line).unwrap(), format!("before{}", serde_json::to_string(frame).unwrap()));
    }

    #[test]
    fn every_byte_of_ascii_is_written_as_serde_does() {
        for byte in 0..128u8 {
            for before in [0, 1, 15, 16, 17, 40] {
                let text = format!("{}{}{}", "a".repeat(before), char::from(byte), "z".repeat(3));
                let mut out = vec![b'"'];
                push_rest_of_string(&mut out, &text);
                assert_eq!(String::from_utf8(out).unwrap(), Value::from(text).to_string());
            }
        }
    }

    #[test]
    fn fields_of_others_are_left_to_serde() {
        let extra: Map<String, Value> = [("x".to_owned(), Value::Null)].into_iter().collect();
        let mut out = Vec::new();
        assert!(!push_frame(&mut out, &Frame::Sse(SseEvent { extra, ..SseEvent::default() })));
        assert!(out.is_empty());
    }

    proptest! {
        #[test]
        fn a_message_is_written_as_serde_does(
            (direction, kind, data, encoding) in (direction(), kind(), text(), encoding()),
            (close_code, close_reason) in (maybe(any::<u16>()), maybe(text())),
            (timestamp, relative_ms, relative_us) in (text(), maybe(any::<u64>()), maybe(0u64..2000)),
        ) {
            let extra = Map::new();
            let frame = WsFrame { direction, kind, data, encoding, close_code, close_reason, timestamp, relative_ms, relative_us, extra };
            assert_as_serde(&Frame::WebSocket(frame));
        }

        #[test]
        fn an_event_is_written_as_serde_does(
            (kind, data, id, comment, raw) in (maybe(text()), maybe(text()), maybe(text()), maybe(text()), maybe(text())),
            (retry, raw_encoding) in (maybe(any::<u64>()), encoding()),
            (timestamp, relative_ms, relative_us) in (text(), maybe(any::<u64>()), maybe(0u64..2000)),
        ) {
            let extra = Map::new();
            let event = SseEvent { kind, data, id, retry, comment, raw, raw_encoding, timestamp, relative_ms, relative_us, extra };
            assert_as_serde(&Frame::Sse(event));
        }

        #[test]
        fn what_passed_is_written_as_its_frame(
            messages in proptest::collection::vec((direction(), kind(), text(), maybe(any::<u8>()), 0u64..3_000_000), 1..5),
            (close_code, close_reason) in (maybe(any::<u16>()), maybe(text())),
        ) {
            const START_US: u64 = 1_705_314_600_100_000;
            let mut times = Times::new(START_US);
            for (direction, kind, text, odd, relative_us) in messages {
                let payload: Vec<u8> = text.into_bytes().into_iter().chain(odd).collect();
                let passed = Passed { direction, kind, payload: &payload, close_code, close_reason: close_reason.as_deref(), relative_us };
                let (data, encoding) = match kind {
                    FrameType::Binary => (data_encoding::BASE64.encode(&payload), Some(Encoding::Base64)),
                    _ => encode(&payload),
                };
                let frame = Frame::WebSocket(WsFrame {
                    direction, kind, data, encoding, close_code,
                    close_reason: close_reason.clone(),
                    timestamp: rfc3339(START_US + relative_us),
                    relative_ms: Some(relative_us / 1000),
                    relative_us: Some(relative_us),
                    extra: Map::new(),
                });
                let mut line = Vec::new();
                push_passed(&mut line, &passed, &mut times);
                prop_assert_eq!(String::from_utf8(line).unwrap(), serde_json::to_string(&frame).unwrap());
            }
        }
    }
}
