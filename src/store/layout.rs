//! How a recording's text lies in its file: in our lines (a head, the frames, a tail), or as somebody else wrote it.
//! Head and tail are read without the frames; a foreign text is read whole.

use std::fs::File;

use super::lines;
use crate::base::error::{Error, Result};
use crate::base::limits::{KIB, MAX_STORE_BYTES};
use crate::model::recording::{Head, Recording, Stats, Status, Tail};
use crate::model::recording_text;

/// A file in our lines.
#[derive(Debug)]
pub struct Ends {
    /// What the head line says.
    pub head: Head,
    /// What the tail line says.
    pub tail: Tail,
    /// Where the frames begin.
    pub head_end: u64,
    /// Where the tail line begins.
    pub tail_at: u64,
}

/// What a file turned out to be.
#[derive(Debug)]
pub enum Content {
    /// In our lines.
    Lines(Box<Ends>),
    /// A recording that somebody else wrote or reformatted.
    Whole(Box<Recording>),
    /// No recording; the text says why.
    Corrupted(String),
}

/// The first read of a file: most recordings' head, and small ones whole.
const FIRST_READ_BYTES: u64 = 8 * KIB;
/// A head has a request body in it, a tail may have an unfinished event: settings bound both. Longer lines are not looked for.
const MAX_LINE_BYTES: u64 = MAX_STORE_BYTES;

/// Looks into a file that is no journal.
///
/// # Errors
/// What reading says; what stands in the file is never an error.
pub fn read_content(file: &File, size: u64) -> std::io::Result<Content> {
    if size == 0 {
        return Ok(Content::Corrupted("the file is empty".to_owned()));
    }
    if let Some(mut ends) = read_ends(file, size)? {
        settle(&mut ends.tail);
        return Ok(Content::Lines(Box::new(ends)));
    }
    // No text of JSON has such a byte: where a disk lost the content, or a file was made large and never written, it is not read whole.
    if lines::read_part(file, 0, size.min(FIRST_READ_BYTES))?.contains(&0) {
        return Ok(Content::Corrupted("the file begins with bytes of no text".to_owned()));
    }
    if size > MAX_STORE_BYTES {
        return Ok(Content::Corrupted(format!("the file has not the lines of mockd, and its {size} bytes are too many to read at once")));
    }
    let text = lines::read_part(file, 0, size)?;
    Ok(match recording_text::parse(&text) {
        Ok(mut recording) => {
            if recording.tail.stats == Stats::default() {
                recording.frames.iter().for_each(|frame| recording.tail.stats.count(frame));
            }
            recording.tail.stats.file_size_bytes = size;
            settle(&mut recording.tail);
            Content::Whole(Box::new(recording))
        }
        Err(error) => Content::Corrupted(error.to_string()),
    })
}

/// A file that is no journal is being recorded by nobody: one that says so was copied from an answer while it was.
fn settle(tail: &mut Tail) {
    if tail.status == Status::Recording {
        tail.status = Status::Incomplete;
        tail.status_reason = Some("copied_while_recording".to_owned());
    }
}

/// Head and tail of a file in our lines; `None` for any other.
fn read_ends(file: &File, size: u64) -> std::io::Result<Option<Ends>> {
    let Some(mut text) = read_head_line(file, size)? else { return Ok(None) };
    // A head that says nothing by itself may still have a meaning with what follows: a field that stands again there overrides it. Then its
    // frames are what the whole text says they are, or nothing.
    if parse_head_line(&text).is_err() {
        return Ok(None);
    }
    let head_end = text.len() as u64;
    let Some(tail_line) = read_last_line(file, head_end, size)? else { return Ok(None) };
    if !tail_line.starts_with(b"],") {
        return Ok(None);
    }
    let tail_at = size - tail_line.len() as u64;
    text.extend(tail_line);
    // The two lines alone are a recording of no frames; if they are not, the whole text has to say what is wrong.
    Ok(recording_text::parse_ends(&text).ok().map(|(head, tail)| Ends { head, tail, head_end, tail_at }))
}

/// The head line of a file in our lines, with its line feed; `None` for any other.
pub fn read_head_line(file: &File, size: u64) -> std::io::Result<Option<Vec<u8>>> {
    let limit = size.min(MAX_LINE_BYTES);
    let mut text = lines::read_part(file, 0, limit.min(FIRST_READ_BYTES))?;
    let mut searched = 0;
    loop {
        if let Some(at) = text[searched..].iter().position(|byte| *byte == b'\n') {
            text.truncate(searched + at + 1);
            let ours = text.ends_with(b"\"frames\":[\n") || text.ends_with(b"\"events\":[\n");
            return Ok(ours.then_some(text));
        }
        if text[searched..].contains(&0) {
            return Ok(None);
        }
        searched = text.len();
        let end = limit.min(searched as u64 * 4);
        let more = lines::read_part(file, searched as u64, end)?;
        if more.is_empty() {
            return Ok(None);
        }
        text.extend(more);
    }
}

/// The last line of a file, with its line feed if it has one; `None` where it would begin before `floor`.
fn read_last_line(file: &File, floor: u64, size: u64) -> std::io::Result<Option<Vec<u8>>> {
    let mut want = FIRST_READ_BYTES;
    loop {
        let start = size.saturating_sub(want).max(floor);
        let mut text = lines::read_part(file, start, size)?;
        let body = text.strip_suffix(b"\n").unwrap_or(&text);
        if let Some(at) = body.iter().rposition(|byte| *byte == b'\n') {
            return Ok(Some(text.split_off(at + 1)));
        }
        if start == floor {
            return Ok(Some(text).filter(|text| !text.is_empty()));
        }
        if want >= MAX_LINE_BYTES {
            return Ok(None);
        }
        want *= 8;
    }
}

/// What the head line of a journal says.
///
/// # Errors
/// [`Error::Invalid`] that says what is wrong with it.
pub fn parse_head_line(line: &[u8]) -> Result<Head> {
    let mut text = line.to_vec();
    text.extend(b"]}}");
    recording_text::parse_ends(&text).map(|(head, _)| head)
}

/// The text of a whole recording in our lines, piece by piece.
///
/// # Errors
/// What `write` says.
pub fn write_recording(recording: &Recording, mut write: impl FnMut(&[u8]) -> Result<()>) -> Result<()> {
    let mut piece = recording_text::head_line(&recording.head)?.into_bytes();
    let mut written = 0;
    for (index, frame) in recording.frames.iter().enumerate() {
        recording_text::push_frame_line(&mut piece, frame, index == 0)?;
        if piece.len() >= lines::CHUNK_BYTES {
            write(&piece)?;
            written += piece.len() as u64;
            piece.clear();
        }
    }
    let before = written + piece.len() as u64;
    piece.extend(recording_text::tail_line(&recording.tail, before)?.into_bytes());
    write(&piece)
}

/// The error for asking a corrupted file for what is in it.
pub fn corrupted_error(path: &std::path::Path, reason: &str) -> Error {
    let message = format!("{} can't be parsed: {reason}; mend the file, or delete the recording", path.display());
    Error::conflict("corrupted", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{file_of, sample, text_of};

    fn content(text: &[u8]) -> Content {
        read_content(&file_of(text), text.len() as u64).unwrap()
    }

    #[test]
    fn head_and_tail_are_read_without_the_frames() {
        for frames in [0, 1, 3, 2000] {
            let recording = sample("01HXYZ123456", frames);
            let text = text_of(&recording);
            let Content::Lines(ends) = content(&text) else { panic!("{frames}") };
            assert_eq!((ends.head, ends.tail.status), (recording.head, recording.tail.status));
            assert_eq!(ends.tail.stats.file_size_bytes, text.len() as u64);
            assert!(text[ends.tail_at as usize..].starts_with(b"],"));
            assert_eq!(text[ends.head_end as usize - 1], b'\n');
        }
    }

    #[test]
    fn heads_and_tails_of_any_length_are_read() {
        for len in [1000, FIRST_READ_BYTES as usize, 5 * FIRST_READ_BYTES as usize, 40 * FIRST_READ_BYTES as usize] {
            let mut recording = sample("01HXYZ123456", 3);
            recording.head.description = Some("d".repeat(len));
            recording.tail.status_reason = Some("r".repeat(len));
            let Content::Lines(ends) = content(&text_of(&recording)) else { panic!("{len}") };
            assert_eq!((ends.head, ends.tail.status_reason), (recording.head, recording.tail.status_reason));
        }
    }

    #[test]
    fn a_reformatted_file_is_parsed_whole() {
        let text = text_of(&sample("01HXYZ123456", 3));
        let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
        for foreign in [serde_json::to_vec_pretty(&value).unwrap(), serde_json::to_vec(&value).unwrap()] {
            let Content::Whole(recording) = content(&foreign) else { panic!() };
            assert_eq!(recording.frames.len(), 3);
            assert_eq!(recording.tail.stats.file_size_bytes, foreign.len() as u64);
        }
    }

    #[test]
    fn a_head_that_only_its_tail_makes_right_is_read_whole() {
        let text = String::from_utf8(text_of(&sample("01HXYZ123456", 3))).unwrap();
        let damaged = text.replacen("\"metadata\":", "\"duration\":", 1);
        let Content::Whole(recording) = content(damaged.as_bytes()) else { panic!() };
        assert_eq!(recording.frames.len(), 3);
        let torn = damaged.replacen("\"direction\":", "\"direction:", 1);
        assert!(matches!(content(torn.as_bytes()), Content::Corrupted(_)));
    }

    #[test]
    fn what_cannot_be_parsed_says_why() {
        let text = text_of(&sample("01HXYZ123456", 3));
        for bad in [&b""[..], b"not json", b"{}", b"\n\n\n", &text[..text.len() / 2], &text[..text.len() - 4], &[0; 5000]] {
            let Content::Corrupted(reason) = content(bad) else { panic!("{bad:?}") };
            assert!(!reason.is_empty());
        }
    }
}
