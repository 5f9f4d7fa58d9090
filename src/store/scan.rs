//! One pass over the frames of a journal: which lines are whole, what they count to, when the last one was. It keeps no frame.

use std::fs::File;
use std::ops::Range;

use super::lines::LineReader;
use crate::model::frame_line::{SseLine, WsLine};
use crate::model::recording::{Protocol, Stats};
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
    let due_us = match count_own(&mut scan.stats, protocol, line) {
        Some(due_us) => due_us,
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

/// Counts a line that is as this program writes it, without making its texts; gives its time.
fn count_own(stats: &mut Stats, protocol: Protocol, line: &[u8]) -> Option<Option<u64>> {
    match protocol {
        Protocol::WebSocket => {
            let frame = WsLine::read(line)?;
            stats.count_message(frame.kind, frame.direction, frame.payload_len());
            Some(frame.due_us())
        }
        Protocol::Sse => {
            let event = SseLine::read(line)?;
            if let Some(data) = event.data {
                stats.count_event(data.len);
            }
            Some(event.due_us())
        }
    }
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
}
