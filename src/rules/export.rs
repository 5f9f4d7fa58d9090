//! Export: the formats that a recording is written in beside its own, piece by piece: JSON Lines here, HTTP archives below.
//! It is given the frames one at a time, and holds none of them.

mod har;

pub use har::HarWriter;

use crate::base::error::{Error, Result};
use crate::base::text;
use crate::model::fields::not_a_word;
use crate::model::recording::{Frame, Head, Protocol, Status, Tail};
use crate::model::{outline, recording_text};

/// A format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// The recording's own file.
    Json,
    /// HAR 1.2.
    Har,
    /// The head, a frame a line, the tail.
    JsonLines,
}

impl Format {
    /// Every word of a format.
    pub const WORDS: [&'static str; 3] = ["json", "har", "jsonl"];

    /// The format of a word.
    ///
    /// # Errors
    /// [`Error::Invalid`] at `format`, with the words.
    pub fn from_word(word: &str) -> Result<Self> {
        match word {
            "json" => Ok(Self::Json),
            "har" => Ok(Self::Har),
            "jsonl" => Ok(Self::JsonLines),
            other => Err(Error::invalid("format", text::clean(&not_a_word(other, &Self::WORDS)))),
        }
    }

    /// What a file's name ends in, behind a dot.
    pub const fn extension(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Har => "har",
            Self::JsonLines => "jsonl",
        }
    }

    /// `Content-Type`. A HAR is JSON, and no type of its own is registered.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json | Self::Har => "application/json",
            Self::JsonLines => "application/jsonl",
        }
    }
}

/// What of a recording is not in its export, in words. All that a recording holds has a place in every format; what is missing is
/// what has not been recorded yet.
pub fn left_out(tail: &Tail) -> Vec<String> {
    let mut left_out = Vec::new();
    if tail.status == Status::Recording {
        left_out.push("what passes from now on: the recording is still running".to_owned());
    }
    left_out
}

/// The first of JSON Lines, with its line feed: the recording but for frames and tail.
///
/// # Errors
/// What serde says; none for a head that this crate made.
pub fn head_line(head: &Head) -> Result<String> {
    let line = recording_text::head_line(head)?;
    let list = format!(",\"{}\":[\n", outline::list_of(head.protocol()));
    Ok(format!("{}}}}}\n", line.strip_suffix(&list).unwrap_or(&line)))
}

/// Appends a frame's line.
///
/// # Errors
/// As [`head_line`].
pub fn push_line(out: &mut Vec<u8>, frame: &Frame) -> Result<()> {
    recording_text::push_frame_line(out, frame, true)
}

/// The last of JSON Lines, with its line feed: how the recording ended, and its counts.
///
/// # Errors
/// As [`head_line`].
pub fn tail_line(protocol: Protocol, tail: &Tail) -> Result<String> {
    let line = recording_text::tail_line_of_size(tail, tail.stats.file_size_bytes)?;
    Ok(format!("{{\"{}\":{{{}", protocol.word(), line.strip_prefix("],").unwrap_or(&line)))
}
