//! One pass over the frames of a journal: which lines are whole, what they count to, when the last one was. It keeps no frame.

use std::fs::File;
use std::ops::Range;

use serde::Deserialize;
use serde::de::{Deserializer, Error as _, Visitor};

use super::lines::LineReader;
use crate::model::recording::{Direction, Encoding, FrameType, Protocol, Stats};

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
        let line_end = reader.position();
        if is_tail {
            scan.tail_at = Some(start);
        } else if is_frame {
            // A tail line is the last one; what has frames after it is none.
            scan.tail_at = None;
            match scan.parts.last_mut() {
                Some(part) if part.end == start => part.end = line_end,
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

fn count_line(scan: &mut Scan, protocol: Protocol, line: &[u8]) -> bool {
    let line = line.strip_prefix(b",").unwrap_or(line);
    let (us, ms) = match protocol {
        Protocol::WebSocket => {
            let Ok(frame) = serde_json::from_slice::<LightFrame>(line) else { return false };
            scan.stats.count_message(frame.kind, frame.direction, frame.data.payload_len(frame.encoding));
            (frame.relative_us, frame.relative_ms)
        }
        Protocol::Sse => {
            let Ok(event) = serde_json::from_slice::<LightEvent>(line) else { return false };
            if let Some(data) = event.data {
                scan.stats.count_event(data.len);
            }
            (event.relative_us, event.relative_ms)
        }
    };
    scan.last_us = us.or_else(|| ms.map(|ms| ms.saturating_mul(1000))).or(scan.last_us);
    true
}

/// Of a WebSocket frame what is counted.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LightFrame {
    direction: Direction,
    #[serde(rename = "type")]
    kind: FrameType,
    #[serde(default)]
    data: TextSize,
    #[serde(default)]
    encoding: Option<Encoding>,
    #[serde(default)]
    relative_ms: Option<u64>,
    #[serde(default)]
    relative_us: Option<u64>,
}

/// Of an event what is counted.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LightEvent {
    #[serde(default)]
    data: Option<TextSize>,
    #[serde(default)]
    relative_ms: Option<u64>,
    #[serde(default)]
    relative_us: Option<u64>,
}

/// The size of a string, read without a copy of it.
#[derive(Default, Clone, Copy)]
struct TextSize {
    len: u64,
    /// `=` at its end, at most two.
    padding: u64,
}

impl TextSize {
    fn payload_len(self, encoding: Option<Encoding>) -> u64 {
        match encoding {
            None => self.len,
            Some(Encoding::Base64) => (self.len / 4 * 3).saturating_sub(self.padding),
        }
    }
}

impl<'de> Deserialize<'de> for TextSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = TextSize;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a string")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<TextSize, E> {
                let padding = text.bytes().rev().take(2).take_while(|byte| *byte == b'=').count();
                let size = |count: usize| u64::try_from(count).map_err(E::custom);
                Ok(TextSize { len: size(text.len())?, padding: size(padding)? })
            }
        }
        deserializer.deserialize_str(Reader).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::recording::Frame;
    use crate::model::recording_text;
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
}
