//! Writes a recording in the formats of an export, from its file to wherever it goes: some KiB at a time, in as many passes over the
//! file as the format needs. What the formats look like is the rules' matter.

use std::io::Write;

use crate::base::error::{Error, Result};
use crate::base::limits::READ_BYTES;
use crate::model::recording::Frame;
use crate::rules::export::{self, Format, HarWriter};
use crate::store::RecordingFile;

/// Writes a recording.
///
/// # Errors
/// The file cannot be read, or `out` takes no more.
pub fn write(file: &RecordingFile, format: Format, out: &mut dyn Write) -> Result<()> {
    match format {
        Format::Json => file.write_to(out),
        Format::JsonLines => write_lines(file, out),
        Format::Har => write_har(file, out),
    }
}

/// What of a recording is not in its export, in words.
pub fn left_out(file: &RecordingFile, format: Format) -> Vec<String> {
    match format {
        // That is the recording's own file, which says how it stands.
        Format::Json => Vec::new(),
        Format::Har | Format::JsonLines => export::left_out(&file.tail),
    }
}

fn write_lines(file: &RecordingFile, out: &mut dyn Write) -> Result<()> {
    put(out, export::head_line(&file.head)?.as_bytes())?;
    each_frame(file, out, export::push_line)?;
    put(out, export::tail_line(file.head.protocol(), &file.tail)?.as_bytes())
}

fn write_har(file: &RecordingFile, out: &mut dyn Write) -> Result<()> {
    let mut writer = HarWriter::new(&file.head, &file.tail);
    for frame in file.frames()? {
        writer.survey(&frame?);
    }
    put(out, &writer.opening()?)?;
    if writer.has_content() {
        each_frame(file, out, |piece, frame| writer.push_content(piece, frame))?;
    }
    put(out, &writer.middle()?)?;
    if writer.has_blocks() {
        each_frame(file, out, |piece, frame| writer.push_block(piece, frame))?;
    }
    put(out, &writer.before_messages())?;
    each_frame(file, out, |piece, frame| writer.push_message(piece, frame))?;
    put(out, writer.closing())
}

/// Writes what `push` makes of every frame.
fn each_frame(file: &RecordingFile, out: &mut dyn Write, mut push: impl FnMut(&mut Vec<u8>, &Frame) -> Result<()>) -> Result<()> {
    let mut piece = Vec::with_capacity(2 * READ_BYTES);
    for frame in file.frames()? {
        push(&mut piece, &frame?)?;
        if piece.len() >= READ_BYTES {
            put(out, &piece)?;
            piece.clear();
            piece.shrink_to(4 * READ_BYTES);
        }
    }
    put(out, &piece)
}

fn put(out: &mut dyn Write, bytes: &[u8]) -> Result<()> {
    out.write_all(bytes).map_err(|error| Error::Failed(format!("the export cannot be written: {error}")))
}
