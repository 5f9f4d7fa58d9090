//! One pass over the frames of a journal: which lines are whole, what they count to, when the last one was. It keeps no frame.

use std::fs::File;
use std::ops::Range;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::lines::LineReader;
use crate::model::recording::{Direction, Encoding, FrameType, Protocol, Stats};
use crate::model::recording_text;

/// What a pass over a journal found.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The counts of all whole frames.
    pub stats: Stats,
    /// When the last frame was, in microseconds from the origin.
    pub last_us: Option<u64>,
    /// The parts of the file that hold whole frame lines; more than one where something else stands between them.
    pub parts: Vec<Range<u64>>,
    /// Where a tail line begins: the recording was finished but for its name.
    pub tail_at: Option<u64>,
}

impl Scan {
    /// Where the last whole frame line ends; `head_end` where there is none.
    pub fn end(&self, head_end: u64) -> u64 {
        self.parts.last().map_or(head_end, |part| part.end)
    }
}

/// Reads the frame lines between two positions.
///
/// # Errors
/// What reading says; a line that is no frame is left out.
pub fn scan_frames(file: &File, protocol: Protocol, head_end: u64, end: u64) -> std::io::Result<Scan> {
    let mut scan = Scan::default();
    let mut reader = LineReader::new(file, head_end, end);
    let mut start = head_end;
    while let Some(line) = reader.next_line()? {
        let is_tail = line.starts_with(b"],");
        let is_frame = !is_tail && count_line(&mut scan, protocol, line);
        let has_comma = line.starts_with(b",");
        let line_end = reader.position();
        if is_tail {
            scan.tail_at = Some(start);
        } else if is_frame {
            // A tail line is the last one; what has frames after it is none.
            scan.tail_at = None;
            // All lines but the first have a comma before them: one that has not, or has one too many, begins a part.
            match scan.parts.last_mut() {
                Some(part) if part.end == start && has_comma => part.end = line_end,
                None if has_comma => scan.parts.push(start + 1..line_end),
                _ => scan.parts.push(start..line_end),
            }
        }
        start = line_end;
    }
    if start != end {
        scan.tail_at = None;
    }
    Ok(scan)
}

/// Counts a line; `false` where it is no frame, which is for nobody else to find out.
fn count_line(scan: &mut Scan, protocol: Protocol, line: &[u8]) -> bool {
    let line = line.strip_prefix(b",").unwrap_or(line);
    let counted = match protocol {
        // A list of the right values would pass for an object here, and for none elsewhere.
        _ if !line.starts_with(b"{") => None,
        Protocol::WebSocket => count_frame(&mut scan.stats, line),
        Protocol::Sse => count_event(&mut scan.stats, line),
    };
    let due_us = match counted {
        Some((us, ms)) => us.or_else(|| ms.map(|ms| ms.saturating_mul(1000))),
        // Not as this program writes it: then it is read as whoever opens the recording will read it.
        None => match recording_text::parse_frame_line(protocol, line) {
            Ok(frame) => {
                scan.stats.count(&frame);
                frame.due_us()
            }
            Err(_) => return false,
        },
    };
    scan.last_us = due_us.or(scan.last_us);
    true
}

/// `relativeUs` and `relativeMs`.
type Times = (Option<u64>, Option<u64>);

/// Counts a WebSocket frame as this program writes it.
fn count_frame(stats: &mut Stats, line: &[u8]) -> Option<Times> {
    let frame = serde_json::from_slice::<LightFrame<'_>>(line).ok()?;
    let encoding = frame.encoding.or((frame.kind == FrameType::Binary).then_some(Encoding::Base64));
    let len = payload_len(frame.data, encoding)?;
    are_texts(&[frame.timestamp, frame.close_reason])?;
    stats.count_message(frame.kind, frame.direction, len);
    Some((frame.relative_us, frame.relative_ms))
}

/// Counts an entry of an event stream as this program writes it.
fn count_event(stats: &mut Stats, line: &[u8]) -> Option<Times> {
    let event = serde_json::from_slice::<LightEvent<'_>>(line).ok()?;
    are_texts(&[event.kind, event.id, event.comment, event.raw, event.timestamp])?;
    if let Some(data) = event.data {
        stats.count_event(text_len(data)?);
    }
    Some((event.relative_us, event.relative_ms))
}

fn are_texts(values: &[Option<&RawValue>]) -> Option<()> {
    values.iter().flatten().all(|value| text_len(value).is_some()).then_some(())
}

/// A WebSocket frame whose texts are not taken apart. It has no more fields and no other types than what is written; `null` is no text.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LightFrame<'a> {
    direction: Direction,
    #[serde(rename = "type")]
    kind: FrameType,
    #[serde(default, borrow, deserialize_with = "given")]
    data: Option<&'a RawValue>,
    #[serde(default)]
    encoding: Option<Encoding>,
    #[serde(default, rename = "closeCode")]
    _close_code: Option<u16>,
    #[serde(default, borrow, deserialize_with = "given")]
    close_reason: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "given")]
    timestamp: Option<&'a RawValue>,
    #[serde(default)]
    relative_ms: Option<u64>,
    #[serde(default)]
    relative_us: Option<u64>,
}

/// The same of an entry of an event stream.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LightEvent<'a> {
    #[serde(default, rename = "type", borrow, deserialize_with = "given")]
    kind: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "given")]
    data: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "given")]
    id: Option<&'a RawValue>,
    #[serde(default, rename = "retry")]
    _retry: Option<u64>,
    #[serde(default, borrow, deserialize_with = "given")]
    comment: Option<&'a RawValue>,
    #[serde(default, borrow, deserialize_with = "given")]
    raw: Option<&'a RawValue>,
    #[serde(default, rename = "rawEncoding")]
    _raw_encoding: Option<Encoding>,
    #[serde(default, borrow, deserialize_with = "given")]
    timestamp: Option<&'a RawValue>,
    #[serde(default)]
    relative_ms: Option<u64>,
    #[serde(default)]
    relative_us: Option<u64>,
}

/// A value as its text, `null` included.
fn given<'de: 'a, 'a, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'a RawValue>, D::Error> {
    <&RawValue>::deserialize(deserializer).map(Some)
}

/// The bytes that a JSON string stands for, without making it: taking its escapes apart would cost more than all the rest.
/// `None` for what is no string, or has half a surrogate pair in it.
fn text_len(raw: &RawValue) -> Option<u64> {
    let text = raw.get().strip_prefix('"')?.strip_suffix('"')?.as_bytes();
    if !text.contains(&b'\\') {
        return Some(text.len() as u64);
    }
    let (mut len, mut at) = (0, 0);
    while at < text.len() {
        if text[at] != b'\\' {
            (len, at) = (len + 1, at + 1);
        } else if text.get(at + 1) != Some(&b'u') {
            (len, at) = (len + 1, at + 2);
        } else {
            let (bytes, step) = match code_unit(text, at)? {
                0..0x80 => (1, 6),
                0x80..0x800 => (2, 6),
                0xd800..0xdc00 if matches!(code_unit(text, at + 6), Some(0xdc00..0xe000)) => (4, 12),
                0xd800..0xe000 => return None,
                _ => (3, 6),
            };
            (len, at) = (len + bytes, at + step);
        }
    }
    Some(len)
}

/// The number that `\\uXXXX` at a position says; `None` where there is none.
fn code_unit(text: &[u8], at: usize) -> Option<u16> {
    let digits = text.get(at..at + 6)?.strip_prefix(b"\\u")?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

/// The bytes of a payload: as many as its text has, or as its base64 says.
fn payload_len(raw: Option<&RawValue>, encoding: Option<Encoding>) -> Option<u64> {
    let Some(raw) = raw else { return Some(0) };
    let len = text_len(raw)?;
    Some(match encoding {
        None => len,
        Some(Encoding::Base64) => {
            let padding = raw.get().bytes().rev().skip(1).take(2).take_while(|byte| *byte == b'=').count();
            (len / 4 * 3).saturating_sub(padding as u64)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::recording::Frame;
    use crate::store::testing::{file_of, sample, sse_sample};

    fn journal(head: &str, frames: &[Frame]) -> Vec<u8> {
        let mut text = head.as_bytes().to_vec();
        for (index, frame) in frames.iter().enumerate() {
            recording_text::push_frame_line(&mut text, frame, index == 0).unwrap();
        }
        text
    }

    #[test]
    fn a_pass_counts_what_the_frames_count() {
        for recording in [sample("01HXYZ123456", 9), sse_sample("01HXYZ123456", 9)] {
            let text = journal("head\n", &recording.frames);
            let scan = scan_frames(&file_of(&text), recording.head.protocol(), 5, text.len() as u64).unwrap();
            let mut stats = Stats::default();
            recording.frames.iter().for_each(|frame| stats.count(frame));
            assert_eq!(scan.stats, stats);
            assert_eq!(scan.last_us, recording.frames.last().unwrap().due_us());
            assert_eq!((scan.parts.len(), &scan.parts[0]), (1, &(5..text.len() as u64)));
            assert_eq!((scan.tail_at, scan.end(5)), (None, text.len() as u64));
        }
    }

    #[test]
    fn a_line_that_no_reader_takes_is_no_frame() {
        let frame = |rest: &str| format!("{{\"direction\":\"s2c\",\"type\":\"text\"{rest}}}\n");
        let count = |protocol: Protocol, line: &[u8]| {
            let scan = scan_frames(&file_of(line), protocol, 0, line.len() as u64).unwrap();
            let read = recording_text::parse_frame_line(protocol, line.trim_ascii_end());
            let shown = String::from_utf8_lossy(line).into_owned();
            assert_eq!(!scan.parts.is_empty(), read.is_ok(), "{shown}");
            let mut stats = Stats::default();
            read.iter().for_each(|frame| stats.count(frame));
            assert_eq!((scan.stats, scan.last_us), (stats, read.ok().and_then(|frame| frame.due_us())), "{shown}");
        };
        for rest in [
            "",
            ",\"data\":null",
            ",\"data\":\"\\ud800\"",
            ",\"timestamp\":5",
            ",\"timestamp\":null",
            ",\"closeReason\":null",
            ",\"closeReason\":[]",
            ",\"closeCode\":70000",
            ",\"relativeUs\":-1",
            ",\"relativeUs\":5,\"relativeUs\":6",
            ",\"relativeMs\":5,\"other\":{\"a\":1}",
            ",\"other\":1e999",
            ",\"oth\\u0065r\":\"\\udc00\"",
            ",\"data\":\"AAEC\",\"encoding\":\"base64\"",
        ] {
            count(Protocol::WebSocket, frame(rest).as_bytes());
        }
        count(Protocol::WebSocket, b"{\"direction\":\"c2s\",\"type\":\"binary\",\"data\":\"AAEC\"}\n");
        count(Protocol::WebSocket, b"{\"direction\":\"c2s\",\"type\":\"text\",\"data\":\"\xff\"}\n");
        for event in [
            "{}",
            "[]",
            "{\"data\":null,\"id\":null}",
            "{\"data\":\"a\",\"retry\":-1}",
            "{\"raw\":7}",
            "{\"comment\":\"c\",\"timestamp\":null}",
        ] {
            count(Protocol::Sse, format!("{event}\n").as_bytes());
        }
    }

    #[test]
    fn lines_that_are_no_frames_are_left_out() {
        let frames = sample("01HXYZ123456", 2).frames;
        let good = journal("", &frames);
        let mut text = good.clone();
        text.extend(b"\0\0\0\0\n");
        text.extend(journal("", &frames[..1]));
        text.extend(b",{\"direction\":\"s2c\",\"type\":\"te");
        let scan = scan_frames(&file_of(&text), Protocol::WebSocket, 0, text.len() as u64).unwrap();
        assert_eq!(scan.parts.len(), 2);
        assert_eq!(scan.parts[0], 0..good.len() as u64);
        assert_eq!(scan.stats.frame_count, 3);
    }

    #[test]
    fn a_tail_counts_where_it_is_the_last_line_and_whole() {
        let recording = sample("01HXYZ123456", 2);
        let mut text = journal("", &recording.frames);
        let at = text.len() as u64;
        text.extend(recording_text::tail_line(&recording.tail, at).unwrap().into_bytes());
        let whole = scan_frames(&file_of(&text), Protocol::WebSocket, 0, text.len() as u64).unwrap();
        assert_eq!((whole.tail_at, whole.end(0)), (Some(at), at));
        text.pop();
        let torn = scan_frames(&file_of(&text), Protocol::WebSocket, 0, text.len() as u64).unwrap();
        assert_eq!((torn.tail_at, torn.end(0)), (None, at));
    }

    #[test]
    fn the_length_of_a_text_is_known_without_its_escapes() {
        for text in ["", "plain", "é€😀", "\"quoted\"\\\n\t\u{1}", "\u{7f}\u{80}\u{7ff}\u{800}\u{ffff}"] {
            let escaped: String = text.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
            for json in [serde_json::to_string(text).unwrap(), format!("\"{escaped}\"")] {
                let raw: &RawValue = serde_json::from_str(&json).unwrap();
                assert_eq!(text_len(raw), Some(text.len() as u64), "{json}");
            }
        }
        for json in ["7", "null", "[\"x\"]", "\"\\ud800\"", "\"\\udc00\\ud800\"", "\"\\ud800\\u0041\""] {
            assert_eq!(text_len(serde_json::from_str(json).unwrap()), None, "{json}");
        }
    }
}
