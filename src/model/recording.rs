//! A recording, format 1.0: its head, its frames, its tail. The three are apart because the file is written and read that way
//! (`recording_text.rs` has the text); nobody needs to hold all frames to know the rest.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::pairs::Pairs;
use crate::base::time::rfc3339;
use crate::wire::sse::Block;

/// The version that this program writes.
pub const FORMAT_VERSION: &str = "1.0";

/// Which protocol a recording, session or replay is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// RFC 6455.
    WebSocket,
    /// Event streams of the HTML standard, §9.2.
    Sse,
}

impl Protocol {
    /// The name of a recording that nobody named.
    pub fn made_name(self, path: &str) -> String {
        format!("{} {path}", self.word())
    }

    /// The word in files, bodies and flags.
    pub const fn word(self) -> &'static str {
        match self {
            Self::WebSocket => "websocket",
            Self::Sse => "sse",
        }
    }

    /// Every word that [`Protocol::from_word`] takes.
    pub const WORDS: [&'static str; 2] = ["websocket", "sse"];

    /// The protocol of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "websocket" => Some(Self::WebSocket),
            "sse" => Some(Self::Sse),
            _ => None,
        }
    }
}

/// How a recording stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// Still being written.
    Recording,
    /// Ended as it should.
    Complete,
    /// Cut short; `statusReason` says why.
    Incomplete,
    /// The file can't be parsed.
    Corrupted,
}

impl Status {
    /// The word in files, bodies and flags.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Recording => "recording",
            Self::Complete => "complete",
            Self::Incomplete => "incomplete",
            Self::Corrupted => "corrupted",
        }
    }

    /// Every word of a status.
    pub const WORDS: [&'static str; 4] = ["recording", "complete", "incomplete", "corrupted"];

    /// The status of a word.
    pub fn from_word(word: &str) -> Option<Self> {
        [Self::Recording, Self::Complete, Self::Incomplete, Self::Corrupted].into_iter().find(|status| status.word() == word)
    }
}

/// Who sent a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Direction {
    /// Client to server.
    #[serde(rename = "c2s")]
    ClientToServer,
    /// Server to client.
    #[serde(rename = "s2c")]
    ServerToClient,
}

/// The type of a WebSocket frame as recorded; fragments have been joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FrameType {
    /// A text message.
    Text,
    /// A binary message.
    Binary,
    /// A ping.
    Ping,
    /// A pong.
    Pong,
    /// A close frame.
    Close,
}

/// `encoding`, `rawEncoding`: how bytes that are not UTF-8 stand in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// RFC 4648 §4, with padding.
    Base64,
}

/// Who served what was recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// An upstream.
    Proxy,
    /// A mock of a config.
    Mock,
    /// A replay.
    Replay,
    /// An imported file.
    Import,
}

/// Who ended a WebSocket (`closedBy`) or an event stream (`endedBy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EndedBy {
    /// The client.
    Client,
    /// The server.
    Server,
    /// The recorder: stopped, a limit, a shutdown.
    Recorder,
    /// mockd, after an error in one side's framing.
    ProtocolError,
}

/// The rules that were in force when a recording was made; names, no values.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Redaction {
    /// Header names.
    pub headers: Vec<String>,
    /// Query parameter names.
    pub query: Vec<String>,
    /// Keys and JSONPaths in bodies.
    pub body_keys: Vec<String>,
    /// Regular expressions.
    pub patterns: Vec<String>,
    /// What stands where something was redacted.
    pub redact_value: String,
}

/// The connection that was recorded.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// The path as sent, without the query.
    pub path: String,
    /// The request method; `GET` for a WebSocket.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The request's header fields.
    pub headers: Pairs,
    /// The query, percent-decoded.
    pub query: Pairs,
    /// Who served it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<Source>,
    /// The recording session that it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// The URL at the upstream.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream: Option<String>,
    /// The client's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_ip: Option<String>,
    /// The redaction in force.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub redaction: Option<Redaction>,
    /// Fields of other programs.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

/// The request of an event stream.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct SseRequest {
    /// `GET`, `POST`, …
    pub method: String,
    /// The body; absent where there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Set where the body is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// Set where the body was larger than its limit.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub truncated: bool,
}

/// What is known of a stream when it begins.
#[derive(Debug, Clone, PartialEq)]
pub enum StreamHead {
    /// A WebSocket's.
    WebSocket {
        /// The subprotocol that the server chose.
        subprotocol: Option<String>,
    },
    /// An event stream's.
    Sse {
        /// The request.
        request: SseRequest,
        /// The response's status.
        response_status: u16,
        /// The response's header fields.
        response_headers: Pairs,
        /// Microseconds from the origin to the response head; absent in recordings of other programs.
        head_relative_us: Option<u64>,
    },
}

/// What a recording begins with.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// `formatVersion`.
    pub format_version: String,
    /// The ULID.
    pub id: String,
    /// The name that people gave, or a made one.
    pub name: String,
    /// Free text.
    pub description: Option<String>,
    /// Free words.
    pub tags: Vec<String>,
    /// RFC 3339: the origin of all relative times.
    pub start_time: String,
    /// The connection.
    pub metadata: Metadata,
    /// The protocol's part.
    pub stream: StreamHead,
    /// Fields of other programs.
    pub extra: Map<String, Value>,
}

impl Head {
    /// The protocol.
    pub fn protocol(&self) -> Protocol {
        match self.stream {
            StreamHead::WebSocket { .. } => Protocol::WebSocket,
            StreamHead::Sse { .. } => Protocol::Sse,
        }
    }
}

/// What is known of a stream when it has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamTail {
    /// A WebSocket's.
    WebSocket {
        /// The code of the close frame; 1005 without one in it, 1006 without a frame, 1002 after a protocol error.
        close_code: Option<u16>,
        /// The close frame's reason.
        close_reason: Option<String>,
        /// Who ended it; `None` while it runs.
        closed_by: Option<EndedBy>,
        /// Microseconds from the origin to the end.
        end_relative_us: Option<u64>,
    },
    /// An event stream's.
    Sse {
        /// Bytes after the last blank line.
        tail: Option<String>,
        /// Set where `tail` is not UTF-8.
        tail_encoding: Option<Encoding>,
        /// Who ended it; `None` while it runs.
        ended_by: Option<EndedBy>,
        /// Microseconds from the origin to the end.
        end_relative_us: Option<u64>,
    },
}

impl StreamTail {
    /// The tail of a stream that has not ended.
    pub fn open(protocol: Protocol) -> Self {
        match protocol {
            Protocol::WebSocket => Self::WebSocket { close_code: None, close_reason: None, closed_by: None, end_relative_us: None },
            Protocol::Sse => Self::Sse { tail: None, tail_encoding: None, ended_by: None, end_relative_us: None },
        }
    }

    /// Microseconds from the origin to the end, where it is known.
    pub fn end_relative_us(&self) -> Option<u64> {
        match self {
            Self::WebSocket { end_relative_us, .. } | Self::Sse { end_relative_us, .. } => *end_relative_us,
        }
    }
}

/// The counts of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Stats {
    /// Text, binary, ping and pong frames, or events with data.
    pub frame_count: u64,
    /// Text frames.
    pub text_frames: u64,
    /// Binary frames.
    pub binary_frames: u64,
    /// Pings and pongs.
    pub ping_pongs: u64,
    /// Events with data.
    pub event_count: u64,
    /// Payload of the server's data frames, in bytes.
    pub bytes_sent: u64,
    /// Payload of the client's data frames, in bytes.
    pub bytes_received: u64,
    /// The file's size.
    pub file_size_bytes: u64,
}

impl Stats {
    /// Counts one frame.
    pub fn count(&mut self, frame: &Frame) {
        match frame {
            Frame::WebSocket(frame) => self.count_message(frame.kind, frame.direction, frame.payload_len()),
            Frame::Sse(event) => {
                if let Some(data) = &event.data {
                    self.count_event(data.len() as u64);
                }
            }
        }
    }

    /// Counts one event that has data, of so many bytes.
    pub fn count_event(&mut self, data_len: u64) {
        self.frame_count += 1;
        self.event_count += 1;
        self.bytes_sent += data_len;
    }

    /// Counts one message or control frame of a WebSocket.
    pub fn count_message(&mut self, kind: FrameType, direction: Direction, payload_len: u64) {
        let payload = match kind {
            FrameType::Close => return,
            FrameType::Text => {
                self.text_frames += 1;
                payload_len
            }
            FrameType::Binary => {
                self.binary_frames += 1;
                payload_len
            }
            FrameType::Ping | FrameType::Pong => {
                self.ping_pongs += 1;
                0
            }
        };
        self.frame_count += 1;
        match direction {
            Direction::ServerToClient => self.bytes_sent += payload,
            Direction::ClientToServer => self.bytes_received += payload,
        }
    }
}

/// What a recording ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tail {
    /// How it stands.
    pub status: Status,
    /// Why it is incomplete: `storage_full` (the quota, or the disk), `storage_error` (the disk refused, or gave an error),
    /// `recorder_overrun` (the disk was slower than the traffic for too long), `event_too_large`, `recorder_error`, `crashed` (its
    /// writer did not end it), `copied_while_recording`.
    pub status_reason: Option<String>,
    /// RFC 3339.
    pub end_time: Option<String>,
    /// Milliseconds from the origin to the end.
    pub duration: Option<u64>,
    /// The protocol's part.
    pub stream: StreamTail,
    /// The counts.
    pub stats: Stats,
}

/// One recorded WebSocket message or control frame.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WsFrame {
    /// Who sent it.
    pub direction: Direction,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: FrameType,
    /// The payload: text, or base64 where `encoding` says so. Empty for a close frame.
    #[serde(default)]
    pub data: String,
    /// Set for binary, and for what is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// Of a close frame; absent where it had none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close_code: Option<u16>,
    /// Of a close frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub close_reason: Option<String>,
    /// RFC 3339: `startTime` + `relativeUs`.
    #[serde(default)]
    pub timestamp: String,
    /// Milliseconds from the origin, rounded down.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative_ms: Option<u64>,
    /// Microseconds from the origin.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relative_us: Option<u64>,
    /// Fields of other programs.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl WsFrame {
    /// How `data` is to be read: binary is base64 also where a file that people wrote does not say so.
    fn data_encoding(&self) -> Option<Encoding> {
        self.encoding.or((self.kind == FrameType::Binary).then_some(Encoding::Base64))
    }

    /// The payload's bytes; bytes that must be base64 and are not give `None`.
    pub fn payload(&self) -> Option<Vec<u8>> {
        decode(&self.data, self.data_encoding())
    }

    /// The payload's length in bytes.
    pub fn payload_len(&self) -> u64 {
        match self.data_encoding() {
            None => self.data.len() as u64,
            Some(Encoding::Base64) => {
                let padding = self.data.bytes().rev().take_while(|b| *b == b'=').count() as u64;
                (self.data.len() as u64 / 4 * 3).saturating_sub(padding)
            }
        }
    }
}

/// One recorded block of an event stream: an event, or (without `type` and `data`) a keep-alive comment, a lone `retry`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SseEvent {
    /// The event's type; `message` where the stream named none.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The data, lines joined by LF.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The `id` field of this block.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The `retry` field in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<u64>,
    /// Comment lines, joined by LF.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
    /// The received bytes, where the canonical form would give others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw: Option<String>,
    /// Set where `raw` is not UTF-8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub raw_encoding: Option<Encoding>,
    /// RFC 3339.
    pub timestamp: String,
    /// Milliseconds from the origin, rounded down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relative_ms: Option<u64>,
    /// Microseconds from the origin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub relative_us: Option<u64>,
    /// Fields of other programs.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl SseEvent {
    /// The entry of a block that came `relative_us` after the origin, which was at `start_us` on the wall clock. What is written back
    /// from an entry says no event of type `message`, and none without data; where the stream did, its bytes are kept.
    pub fn of_block(block: Block, start_us: u64, relative_us: u64) -> Self {
        let kind = block.data.is_some().then(|| block.event.clone().unwrap_or_else(|| "message".to_owned()));
        let written = Block { event: kind.clone().filter(|kind| kind != "message"), ..block };
        let raw = (!written.is_canonical()).then(|| encode(&written.raw));
        let (raw, raw_encoding) = raw.map_or((None, None), |(text, encoding)| (Some(text), encoding));
        Self {
            kind,
            data: written.data,
            id: written.id,
            retry: written.retry,
            comment: written.comment,
            raw,
            raw_encoding,
            timestamp: rfc3339(start_us.saturating_add(relative_us)),
            relative_ms: Some(relative_us / 1000),
            relative_us: Some(relative_us),
            extra: Map::new(),
        }
    }

    /// The event as mockd writes it. The type `message` is what a stream that names none has; one that names it has `raw`.
    pub fn canonical(&self) -> Vec<u8> {
        let block = Block {
            raw: Vec::new(),
            event: self.kind.clone().filter(|kind| kind != "message"),
            data: self.data.clone(),
            id: self.id.clone(),
            retry: self.retry,
            comment: self.comment.clone(),
        };
        block.canonical()
    }
}

/// One entry of `frames` or `events`.
#[derive(Debug, Clone, PartialEq)]
pub enum Frame {
    /// Of a WebSocket.
    WebSocket(WsFrame),
    /// Of an event stream.
    Sse(SseEvent),
}

impl Frame {
    /// Microseconds from the origin: `relativeUs`, or `relativeMs` where only that is there.
    pub fn due_us(&self) -> Option<u64> {
        let (us, ms) = match self {
            Self::WebSocket(frame) => (frame.relative_us, frame.relative_ms),
            Self::Sse(event) => (event.relative_us, event.relative_ms),
        };
        us.or_else(|| ms.map(|ms| ms.saturating_mul(1000)))
    }
}

impl Serialize for Frame {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::WebSocket(frame) => frame.serialize(serializer),
            Self::Sse(event) => event.serialize(serializer),
        }
    }
}

/// A whole recording in memory: for import, conversion and tests.
#[derive(Debug, Clone, PartialEq)]
pub struct Recording {
    /// Its head.
    pub head: Head,
    /// Its frames, in the order of their stamps.
    pub frames: Vec<Frame>,
    /// Its tail.
    pub tail: Tail,
}

/// `bytes` as JSON carries them: text where they are UTF-8, else base64.
pub fn encode(bytes: &[u8]) -> (String, Option<Encoding>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (data_encoding::BASE64.encode(bytes), Some(Encoding::Base64)),
    }
}

/// The bytes that [`encode`] was given; `None` for what is no base64 but says so.
pub fn decode(text: &str, encoding: Option<Encoding>) -> Option<Vec<u8>> {
    match encoding {
        None => Some(text.as_bytes().to_vec()),
        Some(Encoding::Base64) => data_encoding::BASE64.decode(text.as_bytes()).ok(),
    }
}
