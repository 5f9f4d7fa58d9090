//! Recordings and files for the tests of this floor.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::files::{self, Kind};
use super::layout;
use crate::base::time;
use crate::model::recording::*;

fn recording(id: &str, stream: StreamHead, tail: StreamTail, frames: Vec<Frame>) -> Recording {
    let mut stats = Stats::default();
    frames.iter().for_each(|frame| stats.count(frame));
    Recording {
        head: Head {
            format_version: FORMAT_VERSION.to_owned(),
            id: id.to_owned(),
            name: format!("chat-{id}"),
            description: None,
            tags: vec!["a".to_owned()],
            start_time: time::rfc3339(1_705_314_600_000_000),
            metadata: Metadata { path: "/ws/chat".to_owned(), session_id: Some(id.to_owned()), ..Metadata::default() },
            stream,
            extra: serde_json::Map::new(),
        },
        frames,
        tail: Tail {
            status: Status::Complete,
            status_reason: None,
            end_time: Some(time::rfc3339(1_705_314_601_000_000)),
            duration: Some(1000),
            stream: tail,
            stats,
        },
    }
}

/// A frame of every kind in turn.
pub fn frame(number: usize) -> Frame {
    let us = number as u64 * 1001;
    let (kind, data, encoding) = match number % 5 {
        0 | 1 => (FrameType::Text, format!("{{\"n\":{number},\"é\":\"line\\n]}},\"}}"), None),
        2 => (FrameType::Binary, data_encoding::BASE64.encode(&[0xff; 7][..number % 7]), Some(Encoding::Base64)),
        3 => (FrameType::Ping, "p".to_owned(), None),
        _ => (FrameType::Close, String::new(), None),
    };
    Frame::WebSocket(WsFrame {
        direction: if number.is_multiple_of(2) { Direction::ServerToClient } else { Direction::ClientToServer },
        kind,
        data,
        encoding,
        close_code: None,
        close_reason: None,
        timestamp: time::rfc3339(1_705_314_600_000_000 + us),
        relative_ms: Some(us / 1000),
        relative_us: Some(us),
        extra: serde_json::Map::new(),
    })
}

/// A WebSocket recording of some frames.
pub fn sample(id: &str, frames: usize) -> Recording {
    let tail = StreamTail::WebSocket {
        close_code: Some(1000),
        close_reason: Some("bye".to_owned()),
        closed_by: Some(EndedBy::Server),
        end_relative_us: Some(1_000_000),
    };
    recording(id, StreamHead::WebSocket { subprotocol: Some("v1".to_owned()) }, tail, (0..frames).map(frame).collect())
}

/// An event stream of some blocks, every third without data.
pub fn sse_sample(id: &str, events: usize) -> Recording {
    let event = |number: usize| {
        let us = number as u64 * 777;
        Frame::Sse(SseEvent {
            kind: (number % 3 != 2).then(|| "message".to_owned()),
            data: (number % 3 != 2).then(|| format!("token {number}\nmore")),
            comment: (number % 3 == 2).then(|| "keep-alive".to_owned()),
            timestamp: time::rfc3339(1_705_314_600_000_000 + us),
            relative_ms: Some(us / 1000),
            relative_us: Some(us),
            ..SseEvent::default()
        })
    };
    let head = StreamHead::Sse {
        request: SseRequest { method: "GET".to_owned(), ..SseRequest::default() },
        response_status: 200,
        response_headers: crate::model::pairs::Pairs::default(),
        head_relative_us: Some(5),
    };
    let tail = StreamTail::Sse { tail: None, tail_encoding: None, ended_by: Some(EndedBy::Server), end_relative_us: Some(1_000_000) };
    let mut made = recording(id, head, tail, (0..events).map(event).collect());
    made.head.metadata.path = "/events".to_owned();
    made
}

/// The text of a recording in our lines.
pub fn text_of(recording: &Recording) -> Vec<u8> {
    let mut text = Vec::new();
    layout::write_recording(recording, |piece| {
        text.extend(piece);
        Ok(())
    })
    .unwrap();
    text
}

/// A file with this content and no name.
pub fn file_of(text: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text).unwrap();
    file
}

/// Puts a recording into a directory, as a finished one.
pub fn put(dir: &Path, recording: &Recording) -> PathBuf {
    let path = files::path_of(dir, &recording.head.id, Kind::Finished);
    std::fs::write(&path, text_of(recording)).unwrap();
    path
}

/// Makes a file look as if it had been written an hour ago.
pub fn age(path: &Path) {
    let file = File::options().write(true).open(path).unwrap();
    file.set_modified(SystemTime::now() - Duration::from_secs(2 * 3600)).unwrap();
}
