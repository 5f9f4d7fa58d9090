//! What passes in a run: frames whose text is the same in every process, and recordings made of such frames. It sends nothing.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use mockd::base::{id, time};
use mockd::model::recording::{
    Direction, EndedBy, FORMAT_VERSION, Frame, FrameType, Head, Metadata, Stats, Status, StreamHead, StreamTail, Tail, WsFrame,
};
use mockd::model::recording_text;
use mockd::wire::ws::{self, opcode};

use crate::Result;

/// 2024-01-15T10:30:00Z in microseconds since 1970.
const START_US: u64 = 1_705_314_600_000_000;

/// Letters that no JSON has to escape, different for each number.
pub fn text(size: usize, number: u64) -> String {
    const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";
    let mut state = number.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut out = String::with_capacity(size);
    while out.len() < size {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (0..10).for_each(|letter| out.push(char::from(LETTERS[(state >> (letter * 6 + 3)) as usize % 64])));
    }
    out.truncate(size);
    out
}

/// What a raw loop writes at a time.
pub const BLOCK_BYTES: usize = 65_536;

/// Texts that a stream repeats: at least so many that their frames fill 64 KiB.
pub fn texts(size: usize) -> Vec<String> {
    (0..(BLOCK_BYTES / (size + 2)).max(1) as u64).map(|number| text(size, number)).collect()
}

/// The wire bytes of a server's text frames, one after the other.
pub fn frames<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<u8> {
    let mut out = Vec::new();
    texts.into_iter().for_each(|text| ws::push_frame(&mut out, opcode::TEXT, text.as_bytes(), None));
    out
}

/// The wire bytes that a flood of frames of one size repeats.
pub fn block(size: usize) -> Vec<u8> {
    frames(texts(size).iter().map(String::as_str))
}

/// Says which frames a recording has: microseconds from its origin, who sent it, and its text.
pub type Said<'a> = (u64, Direction, &'a str);

fn head(path: &str) -> Head {
    Head {
        format_version: FORMAT_VERSION.to_owned(),
        id: id::new(),
        name: format!("made for {path}"),
        description: None,
        tags: Vec::new(),
        start_time: time::rfc3339(START_US),
        metadata: Metadata { path: path.to_owned(), method: Some("GET".to_owned()), ..Metadata::default() },
        stream: StreamHead::WebSocket { subprotocol: None },
        extra: serde_json::Map::new(),
    }
}

/// A frame of a recording.
pub fn frame((us, direction, text): Said<'_>) -> Frame {
    Frame::WebSocket(WsFrame {
        direction,
        kind: FrameType::Text,
        data: text.to_owned(),
        encoding: None,
        close_code: None,
        close_reason: None,
        timestamp: time::rfc3339(START_US + us),
        relative_ms: Some(us / 1000),
        relative_us: Some(us),
        extra: serde_json::Map::new(),
    })
}

/// A recording on disk.
#[derive(Debug, Clone)]
pub struct Made {
    /// Its id.
    pub id: String,
    /// Its file.
    pub file: PathBuf,
    /// The file's size.
    pub bytes: u64,
}

/// Writes a WebSocket recording that nobody ended; without `is_whole` it is a journal that a crash left behind.
pub fn record<'a>(dir: &Path, path: &str, is_whole: bool, said: impl IntoIterator<Item = Said<'a>>) -> Result<Made> {
    let head = head(path);
    let suffix = if is_whole { "json" } else { "journal" };
    let file = dir.join(format!("rec_{}.{suffix}", head.id));
    let mut out = BufWriter::with_capacity(1 << 20, std::fs::File::create(&file)?);
    let mut piece = recording_text::head_line(&head)?.into_bytes();
    let (mut stats, mut bytes, mut end_us, mut first) = (Stats::default(), 0, 0, true);
    for said in said {
        let frame = frame(said);
        stats.count(&frame);
        recording_text::push_frame_line(&mut piece, &frame, first)?;
        (first, end_us) = (false, said.0);
        out.write_all(&piece)?;
        bytes += piece.len() as u64;
        piece.clear();
    }
    if is_whole {
        let tail = Tail {
            status: Status::Complete,
            status_reason: None,
            end_time: Some(time::rfc3339(START_US + end_us)),
            duration: Some(end_us / 1000),
            stream: StreamTail::WebSocket {
                close_code: None,
                close_reason: None,
                closed_by: Some(EndedBy::Recorder),
                end_relative_us: Some(end_us),
            },
            stats,
        };
        let before = bytes + piece.len() as u64;
        piece.extend(recording_text::tail_line(&tail, before)?.into_bytes());
    }
    out.write_all(&piece)?;
    out.flush()?;
    bytes += piece.len() as u64;
    Ok(Made { id: head.id, file, bytes })
}

/// Writes a config with a replay mock for each path: `(path, recording, options)`.
pub fn mocks(file: &Path, mocks: &[(&str, &Made, serde_json::Value)]) -> Result<String> {
    let mocks: Vec<_> = mocks
        .iter()
        .map(|(path, made, options)| {
            let mut replay = options.clone();
            replay["recording"] = serde_json::json!(made.file);
            serde_json::json!({"websocket": {"path": path, "replay": replay}})
        })
        .collect();
    std::fs::write(file, serde_json::json!({"version": "1.0", "mocks": mocks}).to_string())?;
    Ok(file.display().to_string())
}
