//! Frame lines as this program writes them, read without a look-up of any field: the fields stand in one order, with nothing between them.
//! What it takes means what serde makes of it; a line that is written in any other way is for serde, so nothing is refused here.

use super::recording::{Direction, Encoding, Frame, FrameType, Protocol, SseEvent, WsFrame};
use crate::base::text::literal_run;

/// A string of JSON as it stands in a line, known to be one.
#[derive(Debug, Clone, Copy)]
pub struct Text<'a> {
    /// With its quotes.
    literal: &'a str,
    /// The bytes of the text that it stands for.
    pub len: u64,
}

impl Text<'_> {
    /// The text; `None` never, but for a mistake of this file.
    fn to_text(self) -> Option<String> {
        if self.has_escapes() { serde_json::from_str(self.literal).ok() } else { Some(self.inner().to_owned()) }
    }

    fn has_escapes(&self) -> bool {
        // Each is longer than what it stands for.
        self.inner().len() as u64 != self.len
    }

    fn inner(&self) -> &str {
        self.literal.get(1..self.literal.len() - 1).unwrap_or_default()
    }
}

/// The line of a WebSocket frame.
#[derive(Debug)]
pub struct WsLine<'a> {
    /// Who sent it.
    pub direction: Direction,
    /// Its type.
    pub kind: FrameType,
    data: Text<'a>,
    encoding: Option<Encoding>,
    close_code: Option<u16>,
    close_reason: Option<Text<'a>>,
    timestamp: Text<'a>,
    relative_ms: Option<u64>,
    relative_us: Option<u64>,
}

impl<'a> WsLine<'a> {
    /// Reads a line without its comma and line feed; `None` where it is written in another way, or is no frame.
    pub fn read(line: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::of(line)?;
        let direction = fields.word("\"direction\":", &[("\"s2c\"", Direction::ServerToClient), ("\"c2s\"", Direction::ClientToServer)])?;
        let kinds = [
            ("\"text\"", FrameType::Text),
            ("\"binary\"", FrameType::Binary),
            ("\"ping\"", FrameType::Ping),
            ("\"pong\"", FrameType::Pong),
            ("\"close\"", FrameType::Close),
        ];
        let read = Self {
            direction,
            kind: fields.word("\"type\":", &kinds)?,
            data: fields.text("\"data\":")??,
            encoding: fields.encoding("\"encoding\":")?,
            close_code: match fields.number("\"closeCode\":")? {
                Some(code) => Some(u16::try_from(code).ok()?),
                None => None,
            },
            close_reason: fields.text("\"closeReason\":")?,
            timestamp: fields.text("\"timestamp\":")??,
            relative_ms: fields.number("\"relativeMs\":")?,
            relative_us: fields.number("\"relativeUs\":")?,
        };
        // Base64 has nothing to escape, so that its length is that of what stands there.
        let is_plain = read.encoding.is_none() && read.kind != FrameType::Binary;
        (fields.is_end() && (is_plain || !read.data.has_escapes())).then_some(read)
    }

    /// The payload's bytes.
    pub fn payload_len(&self) -> u64 {
        if self.encoding.is_none() && self.kind != FrameType::Binary {
            return self.data.len;
        }
        let padding = self.data.inner().bytes().rev().take_while(|byte| *byte == b'=').count() as u64;
        (self.data.len / 4 * 3).saturating_sub(padding)
    }

    /// When it came, in microseconds from the origin.
    pub fn due_us(&self) -> Option<u64> {
        due_us(self.relative_us, self.relative_ms)
    }

    fn into_frame(self) -> Option<WsFrame> {
        Some(WsFrame {
            direction: self.direction,
            kind: self.kind,
            data: self.data.to_text()?,
            encoding: self.encoding,
            close_code: self.close_code,
            close_reason: owned(self.close_reason)?,
            timestamp: self.timestamp.to_text()?,
            relative_ms: self.relative_ms,
            relative_us: self.relative_us,
            extra: serde_json::Map::new(),
        })
    }
}

/// The line of an entry of an event stream.
#[derive(Debug)]
pub struct SseLine<'a> {
    kind: Option<Text<'a>>,
    /// Its data; a block without has none.
    pub data: Option<Text<'a>>,
    id: Option<Text<'a>>,
    retry: Option<u64>,
    comment: Option<Text<'a>>,
    raw: Option<Text<'a>>,
    raw_encoding: Option<Encoding>,
    timestamp: Text<'a>,
    relative_ms: Option<u64>,
    relative_us: Option<u64>,
}

impl<'a> SseLine<'a> {
    /// Reads a line without its comma and line feed; `None` where it is written in another way, or is no entry.
    pub fn read(line: &'a [u8]) -> Option<Self> {
        let mut fields = Fields::of(line)?;
        let read = Self {
            kind: fields.text("\"type\":")?,
            data: fields.text("\"data\":")?,
            id: fields.text("\"id\":")?,
            retry: fields.number("\"retry\":")?,
            comment: fields.text("\"comment\":")?,
            raw: fields.text("\"raw\":")?,
            raw_encoding: fields.encoding("\"rawEncoding\":")?,
            timestamp: fields.text("\"timestamp\":")??,
            relative_ms: fields.number("\"relativeMs\":")?,
            relative_us: fields.number("\"relativeUs\":")?,
        };
        fields.is_end().then_some(read)
    }

    /// When it came, in microseconds from the origin.
    pub fn due_us(&self) -> Option<u64> {
        due_us(self.relative_us, self.relative_ms)
    }

    fn into_event(self) -> Option<SseEvent> {
        Some(SseEvent {
            kind: owned(self.kind)?,
            data: owned(self.data)?,
            id: owned(self.id)?,
            retry: self.retry,
            comment: owned(self.comment)?,
            raw: owned(self.raw)?,
            raw_encoding: self.raw_encoding,
            timestamp: self.timestamp.to_text()?,
            relative_ms: self.relative_ms,
            relative_us: self.relative_us,
            extra: serde_json::Map::new(),
        })
    }
}

/// Reads a frame from its line, without its comma and line feed; `None` where it is written in another way, or is no frame.
pub fn read_frame(protocol: Protocol, line: &[u8]) -> Option<Frame> {
    match protocol {
        Protocol::WebSocket => WsLine::read(line)?.into_frame().map(Frame::WebSocket),
        Protocol::Sse => SseLine::read(line)?.into_event().map(Frame::Sse),
    }
}

fn due_us(us: Option<u64>, ms: Option<u64>) -> Option<u64> {
    us.or_else(|| ms.map(|ms| ms.saturating_mul(1000)))
}

/// The outer `None` is a mistake of this file.
fn owned(text: Option<Text<'_>>) -> Option<Option<String>> {
    match text {
        Some(text) => text.to_text().map(Some),
        None => Some(None),
    }
}

/// The fields of one object, in the order in which they are asked for.
struct Fields<'a> {
    line: &'a str,
    at: usize,
    is_first: bool,
}

impl<'a> Fields<'a> {
    fn of(line: &'a [u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?;
        line.starts_with('{').then_some(Self { line, at: 1, is_first: true })
    }

    fn rest(&self) -> &'a [u8] {
        &self.line.as_bytes()[self.at..]
    }

    /// Goes past a field's name where it is the next one. It is inlined, so that names are compared as numbers.
    #[inline]
    fn has(&mut self, name: &str) -> bool {
        let comma = usize::from(!self.is_first);
        let rest = self.rest();
        let is_next =
            (self.is_first || rest.first() == Some(&b',')) && rest.get(comma..).is_some_and(|rest| rest.starts_with(name.as_bytes()));
        if is_next {
            self.at += comma + name.len();
            self.is_first = false;
        }
        is_next
    }

    fn is_end(&self) -> bool {
        self.rest() == b"}"
    }

    /// One of some words, which must be there.
    #[inline]
    fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)]) -> Option<T> {
        if !self.has(name) {
            return None;
        }
        let rest = self.rest();
        let (word, value) = words.iter().find(|(word, _)| rest.starts_with(word.as_bytes()))?;
        self.at += word.len();
        Some(*value)
    }

    #[inline]
    fn encoding(&mut self, name: &str) -> Option<Option<Encoding>> {
        if !self.has(name) {
            return Some(None);
        }
        let word = "\"base64\"";
        let is_it = self.rest().starts_with(word.as_bytes());
        self.at += word.len();
        is_it.then_some(Some(Encoding::Base64))
    }

    /// A whole number, if its field is there.
    #[inline]
    fn number(&mut self, name: &str) -> Option<Option<u64>> {
        if !self.has(name) {
            return Some(None);
        }
        let rest = self.rest();
        let (mut number, mut digits): (u64, usize) = (0, 0);
        while let Some(digit) = rest.get(digits).filter(|byte| byte.is_ascii_digit()) {
            number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
            digits += 1;
        }
        if digits == 0 || (digits > 1 && rest[0] == b'0') {
            return None;
        }
        self.at += digits;
        Some(Some(number))
    }

    /// A string, if its field is there.
    #[inline]
    fn text(&mut self, name: &str) -> Option<Option<Text<'a>>> {
        if !self.has(name) {
            return Some(None);
        }
        let rest = self.rest();
        if rest.first() != Some(&b'"') {
            return None;
        }
        let (mut at, mut len) = (1, 0);
        loop {
            let run = literal_run(&rest[at..]);
            (at, len) = (at + run, len + run as u64);
            match rest.get(at)? {
                b'"' => break,
                b'\\' => {
                    let (bytes, step) = escape(&rest[at..])?;
                    (at, len) = (at + step, len + bytes);
                }
                _ => return None,
            }
        }
        let literal = self.line.get(self.at..self.at + at + 1)?;
        self.at += at + 1;
        Some(Some(Text { literal, len }))
    }
}

/// The bytes that an escape stands for, and how long it is itself; `None` for what is none, and for half a surrogate pair.
fn escape(text: &[u8]) -> Option<(u64, usize)> {
    match text.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some((1, 2)),
        b'u' => match code_unit(text)? {
            0..0x80 => Some((1, 6)),
            0x80..0x800 => Some((2, 6)),
            0xd800..0xdc00 => matches!(code_unit(&text[6..]), Some(0xdc00..0xe000)).then_some((4, 12)),
            0xdc00..0xe000 => None,
            _ => Some((3, 6)),
        },
        _ => None,
    }
}

/// The number that `\uXXXX` says; `None` where there is none.
fn code_unit(text: &[u8]) -> Option<u16> {
    let digits = text.get(..6)?.strip_prefix(b"\\u")?;
    digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)? as u16))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn by_serde(protocol: Protocol, line: &[u8]) -> Option<Frame> {
        match protocol {
            Protocol::WebSocket => serde_json::from_slice(line).ok().map(Frame::WebSocket),
            Protocol::Sse => serde_json::from_slice(line).ok().map(Frame::Sse),
        }
    }

    /// What is taken means what serde makes of it, and what serde refuses is not taken.
    fn assert_same(protocol: Protocol, line: &[u8]) -> bool {
        let read = read_frame(protocol, line);
        if let Some(frame) = &read {
            let shown = String::from_utf8_lossy(line);
            assert_eq!(Some(frame), by_serde(protocol, line).as_ref(), "{shown}");
            let (due_us, len) = match (protocol, frame) {
                (Protocol::WebSocket, Frame::WebSocket(frame)) => {
                    let light = WsLine::read(line).unwrap();
                    assert_eq!(light.payload_len(), frame.payload_len(), "{shown}");
                    (light.due_us(), None)
                }
                (_, Frame::Sse(event)) => {
                    let light = SseLine::read(line).unwrap();
                    (light.due_us(), Some((light.data.map(|data| data.len), event.data.as_ref().map(|data| data.len() as u64))))
                }
                _ => unreachable!(),
            };
            assert_eq!(due_us, frame.due_us(), "{shown}");
            assert!(len.is_none_or(|(light, whole)| light == whole), "{shown}");
        }
        read.is_some()
    }

    fn text() -> impl Strategy<Value = String> {
        prop_oneof!["[ -~]{0,80}", any::<String>(), "[\"\\\\\n\t\u{0}-\u{1f}\u{7f}-\u{ff}\u{ffff}é€😀]{0,40}"]
    }

    fn ws_frame() -> impl Strategy<Value = WsFrame> {
        let kinds = vec![FrameType::Text, FrameType::Binary, FrameType::Ping, FrameType::Pong, FrameType::Close];
        let times = (any::<Option<u64>>(), any::<Option<u64>>());
        let ends = (any::<Option<u16>>(), proptest::option::of(text()));
        (any::<(bool, bool)>(), proptest::sample::select(kinds), text(), ends, text(), times).prop_map(
            |((is_client, is_encoded), kind, data, (close_code, close_reason), timestamp, (relative_ms, relative_us))| WsFrame {
                direction: if is_client { Direction::ClientToServer } else { Direction::ServerToClient },
                kind,
                data: if is_encoded || kind == FrameType::Binary { data_encoding::BASE64.encode(data.as_bytes()) } else { data },
                encoding: is_encoded.then_some(Encoding::Base64),
                close_code,
                close_reason,
                timestamp,
                relative_ms,
                relative_us,
                extra: serde_json::Map::new(),
            },
        )
    }

    fn event() -> impl Strategy<Value = SseEvent> {
        let some = || proptest::option::of(text());
        let numbers = (any::<Option<u64>>(), any::<Option<u64>>(), any::<Option<u64>>());
        (some(), some(), some(), some(), some(), any::<bool>(), text(), numbers).prop_map(
            |(kind, data, id, comment, raw, is_encoded, timestamp, (retry, relative_ms, relative_us))| SseEvent {
                kind,
                data,
                id,
                retry,
                comment,
                raw,
                raw_encoding: is_encoded.then_some(Encoding::Base64),
                timestamp,
                relative_ms,
                relative_us,
                extra: serde_json::Map::new(),
            },
        )
    }

    proptest! {
        #[test]
        fn every_frame_as_it_is_written_is_taken_and_means_the_same(frame in ws_frame(), event in event()) {
            prop_assert!(assert_same(Protocol::WebSocket, &serde_json::to_vec(&frame).unwrap()));
            prop_assert!(assert_same(Protocol::Sse, &serde_json::to_vec(&event).unwrap()));
        }

        #[test]
        fn a_damaged_line_means_what_serde_says(frame in ws_frame(), event in event(), at: u16, byte: u8, change in 0..4) {
            let lines = [(Protocol::WebSocket, serde_json::to_vec(&frame).unwrap()), (Protocol::Sse, serde_json::to_vec(&event).unwrap())];
            for (protocol, mut line) in lines {
                let at = usize::from(at) % line.len();
                match change {
                    0 => line[at] = byte,
                    1 => line.truncate(at),
                    2 => drop(line.remove(at)),
                    _ => line.insert(at, byte),
                }
                assert_same(protocol, &line);
            }
        }
    }

    #[test]
    fn what_is_written_in_another_way_is_for_serde() {
        let line = |rest: &str| format!("{{\"direction\":\"s2c\",\"type\":\"text\"{rest}}}");
        for (rest, taken) in [
            (",\"data\":\"x\",\"timestamp\":\"\"", true),
            (",\"data\":\"\\ud83d\\ude00\",\"timestamp\":\"\",\"relativeUs\":0", true),
            (",\"data\":\"\\ud83d\",\"timestamp\":\"\"", false),
            (",\"data\":\"\\ude00\\ud83d\",\"timestamp\":\"\"", false),
            (",\"data\":\"\\ud83d\\u0041\",\"timestamp\":\"\"", false),
            (",\"data\":\"\\u+123\",\"timestamp\":\"\"", false),
            (",\"data\":\"\\x\",\"timestamp\":\"\"", false),
            (",\"data\":\"a\tb\",\"timestamp\":\"\"", false),
            (",\"data\":\"x\"", false),
            (",\"data\":null,\"timestamp\":\"\"", false),
            (",\"data\":\"x\", \"timestamp\":\"\"", false),
            (",\"timestamp\":\"\",\"data\":\"x\"", false),
            (",\"data\":\"x\",\"timestamp\":\"\",\"relativeUs\":01", false),
            (",\"data\":\"x\",\"timestamp\":\"\",\"relativeUs\":1.0", false),
            (",\"data\":\"x\",\"timestamp\":\"\",\"relativeUs\":-1", false),
            (",\"data\":\"x\",\"timestamp\":\"\",\"relativeUs\":18446744073709551616", false),
            (",\"data\":\"x\",\"timestamp\":\"\",\"relativeUs\":null", false),
            (",\"data\":\"x\",\"closeCode\":70000,\"timestamp\":\"\"", false),
            (",\"data\":\"x\",\"timestamp\":\"\",\"relativeUs\":1,\"other\":1", false),
            (",\"data\":\"AA=\\u003d\",\"encoding\":\"base64\",\"timestamp\":\"\"", false),
            (",\"data\":\"x\",\"data\":\"y\",\"timestamp\":\"\"", false),
        ] {
            assert_eq!(assert_same(Protocol::WebSocket, line(rest).as_bytes()), taken, "{rest}");
        }
        for (event, taken) in [("{\"timestamp\":\"\"}", true), ("{}", false), ("[]", false), ("{,\"timestamp\":\"\"}", false), ("", false)]
        {
            assert_eq!(assert_same(Protocol::Sse, event.as_bytes()), taken, "{event}");
        }
    }
}
