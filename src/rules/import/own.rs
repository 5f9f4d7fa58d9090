//! Recordings in mockd's own format: one JSON object, or JSON Lines (the head, a frame a line, the tail).

use super::Setting;
use super::plan::{FramePlace, Frames, Plan};
use crate::base::error::{Error, Result};
use crate::model::outline::{Outline, keep_unknown, read_tail};
use crate::model::raw::RawObject;
use crate::model::recording::{Head, Protocol, Status, StreamTail, Tail};
use crate::model::recording_text;

/// Reads a recording.
pub(super) fn read<'a>(fields: RawObject<'a>, setting: Setting<'a>) -> Result<Plan<'a>> {
    let outline = Outline::of(fields)?;
    let place = FramePlace::Own(outline.head.protocol());
    let entries = outline.entries()?;
    Plan::new(outline.head, outline.tail, Box::new(entries), place, setting)
}

/// The first line of a text that is JSON Lines: a whole object, with more behind it.
pub(super) fn first_line(text: &str) -> Option<&str> {
    let text = text.trim_ascii_start();
    let (first, rest) = text.split_once('\n')?;
    let has_more = !rest.trim_ascii().is_empty();
    (has_more && first.trim_ascii_end().ends_with('}') && RawObject::parse(first, "").is_ok()).then_some(first)
}

/// Reads JSON Lines.
pub(super) fn read_lines<'a>(first: &'a str, text: &'a str, setting: Setting<'a>) -> Result<Plan<'a>> {
    let at_line = |number: usize, error: Error| Error::invalid(format!("line {number}"), error.to_string());
    let fields = RawObject::parse(first, "").map_err(|error| at_line(1, error))?;
    let (mut head, open) = read_head(fields).map_err(|error| at_line(1, error))?;
    let protocol = head.protocol();
    let body = text.trim_ascii_start()[first.len()..].trim_ascii();
    let (frames, last) = body.rsplit_once('\n').unwrap_or(("", body));
    let number = frames.bytes().filter(|byte| *byte == b'\n').count() + if frames.is_empty() { 2 } else { 3 };
    let tail = match RawObject::parse(last, "") {
        Ok(fields) if is_tail(&fields, protocol) => Some(read_last(&mut head, fields).map_err(|error| at_line(number, error))?),
        Ok(_) => None,
        Err(error) => return Err(at_line(number, error)),
    };
    let frames = if tail.is_some() { frames } else { body };
    let tail = tail.unwrap_or(Tail { status: Status::Incomplete, status_reason: Some("tail_missing".to_owned()), ..open });
    let lines = frames.lines().filter(|line| !line.trim_ascii().is_empty());
    let frames: Frames<'a> =
        Box::new(lines.enumerate().map(move |(index, line)| {
            recording_text::parse_frame_line(protocol, line.as_bytes()).map_err(|error| at_line(index + 2, error))
        }));
    Plan::new(head, tail, frames, FramePlace::Line, setting)
}

/// Reads the head of a recording whose frames stand elsewhere, and the tail of one that has not ended.
pub(super) fn read_head(fields: RawObject<'_>) -> Result<(Head, Tail)> {
    let Outline { head, tail, .. } = Outline::of(fields)?;
    let stream = StreamTail::open(head.protocol());
    Ok((head, Tail { stream, ..tail }))
}

/// Reads the tail of a recording whose frames stand elsewhere; what it has of other programs goes to the head.
pub(super) fn read_last(head: &mut Head, mut fields: RawObject<'_>) -> Result<Tail> {
    let mut part = fields.take_object(head.protocol().word())?;
    let tail = read_tail(head.protocol(), &mut fields, &mut part)?;
    keep_unknown(head, fields, part)?;
    Ok(tail)
}

fn is_tail(fields: &RawObject<'_>, protocol: Protocol) -> bool {
    fields.has("stats") || fields.has(protocol.word())
}
