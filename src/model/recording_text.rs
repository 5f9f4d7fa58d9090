//! The text of a recording file: a head line, one frame a line, a tail line; together one JSON object.
//!
//! ```text
//! {"formatVersion":"1.0","id":…,"metadata":{…},"websocket":{"subprotocol":null,"frames":[
//! {"direction":"s2c",…}
//! ,{"direction":"c2s",…}
//! ],"closeCode":1000,…},"status":"complete",…,"stats":{…}}
//! ```
//!
//! A journal is the same without the tail line, so finishing appends it and recovering cuts a torn line first.

use serde::Serialize;
use serde_json::{Map, Value};

use super::frame_line;
use super::frame_writer;
use super::outline::Outline;
use super::pairs::Pairs;
use super::raw;
use super::recording::{
    Encoding, EndedBy, Frame, Head, Metadata, Protocol, Recording, SseRequest, Stats, Status, StreamHead, StreamTail, Tail,
};
use crate::base::error::{Error, Result};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HeadOut<'a> {
    format_version: &'a str,
    id: &'a str,
    name: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    description: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    tags: &'a [String],
    protocol: Protocol,
    start_time: &'a str,
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
    metadata: &'a Metadata,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SseHeadOut<'a> {
    request: &'a SseRequest,
    response_status: u16,
    response_headers: &'a Pairs,
    #[serde(skip_serializing_if = "Option::is_none")]
    head_relative_us: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WsTailOut<'a> {
    close_code: Option<u16>,
    close_reason: Option<&'a str>,
    closed_by: Option<EndedBy>,
    end_relative_us: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SseTailOut<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    tail: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tail_encoding: Option<Encoding>,
    ended_by: Option<EndedBy>,
    end_relative_us: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TailOut<'a> {
    status: Status,
    #[serde(skip_serializing_if = "Option::is_none")]
    status_reason: Option<&'a str>,
    end_time: Option<&'a str>,
    duration: Option<u64>,
    stats: Stats,
}

/// The head line with its line feed: everything up to the opening bracket of the frames.
///
/// # Errors
/// What serde says; none for a head that this crate made.
pub fn head_line(head: &Head) -> Result<String> {
    // Unknown fields of the protocol's own part stand in `extra` under its name; they are written where they were found.
    let word = head.protocol().word();
    let (mut others, mut of_part) = (None, None);
    if let Some(Value::Object(fields)) = head.extra.get(word) {
        of_part = Some(fields);
        others = Some(head.extra.iter().filter(|(name, _)| *name != word).map(|(name, value)| (name.clone(), value.clone())).collect());
    }
    let mut text = json(&HeadOut {
        format_version: &head.format_version,
        id: &head.id,
        name: &head.name,
        description: head.description.as_deref(),
        tags: &head.tags,
        protocol: head.protocol(),
        start_time: &head.start_time,
        extra: others.as_ref().unwrap_or(&head.extra),
        metadata: &head.metadata,
    })?;
    text.pop();
    let unknown = match of_part {
        Some(fields) if !fields.is_empty() => format!(",{}", json(fields)?.trim_start_matches('{').strip_suffix('}').unwrap_or_default()),
        _ => String::new(),
    };
    match &head.stream {
        StreamHead::WebSocket { subprotocol } => {
            text.push_str(",\"websocket\":{\"subprotocol\":");
            text.push_str(&json(subprotocol)?);
            text.push_str(&unknown);
            text.push_str(",\"frames\":[\n");
        }
        StreamHead::Sse { request, response_status, response_headers, head_relative_us } => {
            let part =
                json(&SseHeadOut { request, response_status: *response_status, response_headers, head_relative_us: *head_relative_us })?;
            text.push_str(",\"sse\":");
            text.push_str(part.strip_suffix('}').unwrap_or(&part));
            text.push_str(&unknown);
            text.push_str(",\"events\":[\n");
        }
    }
    Ok(text)
}

/// Appends a frame's line to `out`; every line but the first begins with a comma.
///
/// # Errors
/// What serde says; none for a frame that this crate made.
pub fn push_frame_line(out: &mut Vec<u8>, frame: &Frame, first: bool) -> Result<()> {
    if !first {
        out.push(b',');
    }
    if !frame_writer::push_frame(out, frame) {
        serde_json::to_writer(&mut *out, frame).map_err(unwritable)?;
    }
    out.push(b'\n');
    Ok(())
}

/// Whether `frameCount` counts the frame of a line that [`push_frame_line`] wrote, told by how the line begins: close entries and
/// blocks without data are not counted, and a block without data has no type.
pub fn is_counted(line: &[u8]) -> bool {
    let line = line.strip_prefix(b",").unwrap_or(line);
    match line.strip_prefix(b"{\"direction\":\"") {
        Some(rest) => !rest.get(3..).is_some_and(|rest| rest.starts_with(b"\",\"type\":\"close\"")),
        None => line.starts_with(b"{\"type\":"),
    }
}

/// The tail line with its line feed. `bytes_before` is the size of head and frames, so that `fileSizeBytes` is the file's true size.
///
/// # Errors
/// What serde says; none for a tail that this crate made.
pub fn tail_line(tail: &Tail, bytes_before: u64) -> Result<String> {
    let mut size = bytes_before;
    loop {
        let line = tail_line_of_size(tail, size)?;
        let actual = bytes_before + line.len() as u64;
        if actual == size {
            return Ok(line);
        }
        size = actual;
    }
}

/// The tail line with its line feed, saying this size.
///
/// # Errors
/// As [`tail_line`].
pub fn tail_line_of_size(tail: &Tail, file_size_bytes: u64) -> Result<String> {
    let part = match &tail.stream {
        StreamTail::WebSocket { close_code, close_reason, closed_by, end_relative_us } => json(&WsTailOut {
            close_code: *close_code,
            close_reason: close_reason.as_deref(),
            closed_by: *closed_by,
            end_relative_us: *end_relative_us,
        })?,
        StreamTail::Sse { tail, tail_encoding, ended_by, end_relative_us } => json(&SseTailOut {
            tail: tail.as_deref(),
            tail_encoding: *tail_encoding,
            ended_by: *ended_by,
            end_relative_us: *end_relative_us,
        })?,
    };
    let rest = json(&TailOut {
        status: tail.status,
        status_reason: tail.status_reason.as_deref(),
        end_time: tail.end_time.as_deref(),
        duration: tail.duration,
        stats: Stats { file_size_bytes, ..tail.stats },
    })?;
    Ok(format!("],{},{}\n", part.trim_start_matches('{'), rest.trim_start_matches('{')))
}

fn json(value: &impl Serialize) -> Result<String> {
    serde_json::to_string(value).map_err(unwritable)
}

fn unwritable(error: serde_json::Error) -> Error {
    Error::Failed(format!("a recording cannot be written as JSON: {error}"))
}

/// Reads a whole recording; unknown fields are kept in `extra`, missing ones have their defaults.
/// A head line followed by a tail line is such a text too, of no frames.
///
/// # Errors
/// [`Error::Invalid`] that says what is wrong, with line and column or the field's place.
pub fn parse(text: &[u8]) -> Result<Recording> {
    read_all(text).map_err(|error| Error::invalid("", format!("this is no recording: {error}")))
}

/// Reads a head line followed by a tail line: the recording whose frames stand between the two. That they do is a part of what the
/// head says: it must have a list of frames that begins where it ends.
///
/// # Errors
/// As [`parse`].
pub fn parse_ends(text: &[u8]) -> Result<(Head, Tail)> {
    let recording = parse(text)?;
    if raw::text_of(text).and_then(Outline::parse).is_ok_and(|outline| outline.has_list()) {
        return Ok((recording.head, recording.tail));
    }
    let list = super::outline::list_of(recording.head.protocol());
    Err(Error::invalid("", format!("this is no recording: {}.{list} is not where the frames are", recording.head.protocol().word())))
}

fn read_all(text: &[u8]) -> Result<Recording> {
    let outline = Outline::parse(raw::text_of(text)?)?;
    if outline.head.start_time.is_empty() {
        return Err(Error::invalid("startTime", "this field must be given"));
    }
    let frames = outline.entries()?.collect::<Result<_>>()?;
    Ok(Recording { head: outline.head, frames, tail: outline.tail })
}

/// Reads one frame line, with or without its leading comma.
///
/// # Errors
/// [`Error::Invalid`] that says what is wrong with it.
pub fn parse_frame_line(protocol: Protocol, line: &[u8]) -> Result<Frame> {
    let line = line.strip_prefix(b",").unwrap_or(line);
    if let Some(frame) = frame_line::read_frame(protocol, line) {
        return Ok(frame);
    }
    let frame = match protocol {
        Protocol::WebSocket => serde_json::from_slice(line).map(Frame::WebSocket),
        Protocol::Sse => serde_json::from_slice(line).map(Frame::Sse),
    };
    frame.map_err(|error| Error::invalid("frame", format!("this is no frame of a recording: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::recording::{FORMAT_VERSION, SseEvent, WsFrame};

    fn sample() -> Recording {
        let frame = |relative_us: u64, data: &str| {
            Frame::WebSocket(WsFrame {
                direction: super::super::recording::Direction::ServerToClient,
                kind: super::super::recording::FrameType::Text,
                data: data.to_owned(),
                encoding: None,
                close_code: None,
                close_reason: None,
                timestamp: crate::base::time::rfc3339(relative_us),
                relative_ms: Some(relative_us / 1000),
                relative_us: Some(relative_us),
                extra: Map::new(),
            })
        };
        let frames = vec![frame(100_000, "{\"type\":\"welcome\"}"), frame(250_001, "é\n")];
        let mut stats = Stats::default();
        frames.iter().for_each(|frame| stats.count(frame));
        Recording {
            head: Head {
                format_version: FORMAT_VERSION.to_owned(),
                id: "01HXYZ123456789ABCDEF".to_owned(),
                name: "chat".to_owned(),
                description: None,
                tags: vec!["a".to_owned()],
                start_time: crate::base::time::rfc3339(0),
                metadata: Metadata { path: "/ws/chat".to_owned(), ..Metadata::default() },
                stream: StreamHead::WebSocket { subprotocol: Some("chat.v1".to_owned()) },
                extra: Map::new(),
            },
            frames,
            tail: Tail {
                status: Status::Complete,
                status_reason: None,
                end_time: Some(crate::base::time::rfc3339(1_000_000)),
                duration: Some(1000),
                stream: StreamTail::WebSocket {
                    close_code: Some(1000),
                    close_reason: Some("Normal closure".to_owned()),
                    closed_by: Some(EndedBy::Server),
                    end_relative_us: Some(1_000_000),
                },
                stats,
            },
        }
    }

    #[test]
    fn a_recording_reads_back_and_knows_its_size() {
        let mut recording = sample();
        let mut text = head_line(&recording.head).unwrap().into_bytes();
        for (index, frame) in recording.frames.iter().enumerate() {
            push_frame_line(&mut text, frame, index == 0).unwrap();
        }
        text.extend(tail_line(&recording.tail, text.len() as u64).unwrap().into_bytes());
        recording.tail.stats.file_size_bytes = text.len() as u64;
        assert_eq!(parse(&text).unwrap(), recording);
    }

    /// Trap: numbers that are read in a hurry are another one's neighbours, and drift with each edit.
    #[test]
    fn numbers_of_unknown_fields_stay_as_they_are() {
        for number in ["5044444444444444444444444444444444400", "0.1", "1e-320", "123456789.12345678", "18446744073709551615", "-9.5e300"] {
            let mut recording = sample();
            recording.head.extra.insert("x-rate".to_owned(), serde_json::from_str(number).unwrap());
            let mut text = head_line(&recording.head).unwrap().into_bytes();
            text.extend(tail_line(&recording.tail, text.len() as u64).unwrap().into_bytes());
            let again = parse(&text).unwrap().head;
            assert_eq!(again.extra, recording.head.extra, "{number}");
            assert_eq!(head_line(&again).unwrap(), head_line(&recording.head).unwrap());
        }
    }

    #[test]
    fn what_counts_is_told_by_the_beginning_of_a_line() {
        let mut close = sample().frames.remove(0);
        if let Frame::WebSocket(frame) = &mut close {
            frame.kind = super::super::recording::FrameType::Close;
        }
        let event = SseEvent { kind: Some("message".to_owned()), data: Some(String::new()), ..SseEvent::default() };
        let comment = SseEvent { comment: Some("type".to_owned()), ..SseEvent::default() };
        for (frame, counted) in [(sample().frames.remove(0), true), (close, false), (Frame::Sse(event), true), (Frame::Sse(comment), false)]
        {
            let mut stats = Stats::default();
            stats.count(&frame);
            for first in [true, false] {
                let mut line = Vec::new();
                push_frame_line(&mut line, &frame, first).unwrap();
                assert_eq!((is_counted(&line), stats.frame_count == 1), (counted, counted), "{line:?}");
            }
        }
    }

    #[test]
    fn the_size_is_true_whatever_its_number_of_digits() {
        let tail = sample().tail;
        for before in (0..1200).chain(99_500..100_200) {
            let line = tail_line(&tail, before).unwrap();
            let expected = format!("\"fileSizeBytes\":{}}}}}\n", before + line.len() as u64);
            assert!(line.ends_with(&expected), "{before}: {line}");
        }
    }
}
