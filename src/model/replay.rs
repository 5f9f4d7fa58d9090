//! Replay options, statuses and answers: the words of the replay API.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::recording::Protocol;
use crate::base::error::Result;

/// How a replay is driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// By the recorded times.
    #[default]
    Pure,
    /// By the client's messages.
    Synchronized,
    /// By calls of the admin API.
    Triggered,
}

/// How a client's message is compared with the recorded one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Matching {
    /// Not at all.
    #[default]
    Any,
    /// Same type, same bytes (`strictMatching`).
    Strict,
    /// Equal as JSON, but for the ignored paths.
    Json,
    /// Both text or both binary.
    Type,
}

/// What happens after the last step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnEnd {
    /// As it was recorded.
    #[default]
    Recorded,
    /// The connection ends at once: 1000, or the end of the stream.
    Close,
    /// The recorded ending is dropped.
    KeepOpen,
    /// It begins again after the recorded duration; pure mode only.
    Loop,
}

/// The options of a replay, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplayOptions {
    /// The mode.
    pub mode: Mode,
    /// Delays are multiplied by it; at least 0.
    pub timing_scale: f64,
    /// `initialDelay: none`: the first frame goes out at once.
    pub skip_initial_delay: bool,
    /// Longer silences are cut to this, in milliseconds, before scaling.
    pub max_gap_ms: Option<u64>,
    /// How client messages are compared.
    pub matching: Matching,
    /// JSONPaths left out of the comparison.
    pub ignore: Vec<String>,
    /// JSONPaths whose live values take the place of the recorded ones.
    pub correlate: Vec<String>,
    /// Milliseconds to wait; 0 for no limit.
    pub timeout_ms: u64,
    /// Synchronized: also wait the recorded delay between a client message and the answer.
    pub keep_timing: bool,
    /// Triggered: the first step goes out on connect.
    pub auto_advance_on_connect: bool,
    /// The path that the client comes to, where it is not the recorded one.
    pub path: Option<String>,
    /// What happens after the last step.
    pub on_end: OnEnd,
}

impl ReplayOptions {
    /// Every field that [`ReplayOptions::from_json`] takes.
    pub const FIELDS: [&'static str; 13] = [
        "mode", "timingScale", "initialDelay", "maxGap", "strictMatching", "match", "ignore", "correlate", "timeout", "keepTiming",
        "autoAdvanceOnConnect", "path", "onEnd",
    ];

    /// Reads the body of `POST /stream-recordings/{id}/replay`; `{}` gives the defaults.
    ///
    /// # Errors
    /// `Error::Invalid` for an unknown field, a wrong value, an option of another mode, `match` beside
    /// `strictMatching: true`, `ignore` without `match: "json"`, a bad JSONPath.
    pub fn from_json(_body: &Value) -> Result<Self> {
        todo!()
    }

    /// The options of the mode, as `config` shows them: `{"mode":"pure","timingScale":1.0}`; defaults of the mode's own
    /// options are shown, options that were not given and have no default are not.
    pub fn to_json(&self) -> Value {
        todo!()
    }
}

/// How a replay session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ReplayStatus {
    /// No client yet.
    Pending,
    /// Frames go out.
    Playing,
    /// It waits for a client message, or for `advance`.
    Waiting,
    /// The clock stands still.
    Paused,
    /// All steps passed.
    Complete,
    /// Stopped, or the client left early.
    Aborted,
    /// A mismatch or a timeout.
    Error,
}

impl ReplayStatus {
    /// Whether nothing more will happen.
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Complete | Self::Aborted | Self::Error)
    }

    /// The word in answers.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Playing => "playing",
            Self::Waiting => "waiting",
            Self::Paused => "paused",
            Self::Complete => "complete",
            Self::Aborted => "aborted",
            Self::Error => "error",
        }
    }
}

/// Why a replay is in `error`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplayError {
    /// `ErrMatchMismatch` or `ErrMatchTimeout`.
    pub code: String,
    /// What happened, in words.
    pub message: String,
    /// The step, counted from 1, at which it happened.
    pub step: u64,
    /// What was recorded, at most 4 KiB of it.
    pub expected: Option<String>,
    /// What came, at most 4 KiB of it.
    pub actual: Option<String>,
}

/// How late frames went out, in microseconds; null before the first timed frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Lateness {
    /// Half of the frames were not later than this.
    pub p50_us: Option<u64>,
    /// 99 of 100 frames were not later than this.
    pub p99_us: Option<u64>,
    /// No frame was later than this.
    pub max_us: Option<u64>,
}

/// `GET /replay/{id}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayView {
    /// The session's ULID.
    pub id: String,
    /// What it replays.
    pub recording_id: String,
    /// How it stands.
    pub status: ReplayStatus,
    /// Why it ended as it did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status_reason: Option<String>,
    /// The mismatch or timeout.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ReplayError>,
    /// How it is driven.
    pub mode: Mode,
    /// Of which protocol.
    pub protocol: Protocol,
    /// The path that its client comes to.
    pub path: String,
    /// Steps passed.
    pub current_frame: u64,
    /// All steps.
    pub total_frames: u64,
    /// Steps sent.
    pub frames_sent: u64,
    /// Client messages.
    pub frames_received: u64,
    /// RFC 3339: when the client attached.
    pub started_at: Option<String>,
    /// Milliseconds since then, frozen at the end.
    pub elapsed_ms: u64,
    /// How faithful the timing was.
    pub lateness: Lateness,
    /// The options.
    pub config: Value,
}

/// One client message of `GET /replay/{id}/messages`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayMessage {
    /// The text, or base64 of a binary message.
    pub data: String,
    /// `text` or `binary`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Microseconds since the client attached.
    pub relative_us: u64,
    /// The step, counted from 1, that it was for; null where none was.
    pub step: Option<u64>,
    /// Whether it matched; null where nothing was compared.
    pub matched: Option<bool>,
}

/// The body of `POST /replay/{id}/advance`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Advance {
    /// So many steps, or what is left.
    Count(u64),
    /// All unsent steps up to and including the first whose data equals this.
    Until(String),
}

impl Advance {
    /// Reads the body; `{}` means one step.
    ///
    /// # Errors
    /// `Error::Invalid` for an unknown field, both fields at once, a count below 1.
    pub fn from_json(_body: &Value) -> Result<Self> {
        todo!()
    }
}

/// The answer of `POST /replay/{id}/advance`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Advanced {
    /// Steps that this call sent.
    pub frames_sent: u64,
    /// Steps passed.
    pub current_frame: u64,
    /// All steps.
    pub total_frames: u64,
    /// How it stands.
    pub status: ReplayStatus,
    /// Whether it is complete.
    pub complete: bool,
}

/// The body of `POST /replay/{id}/inject`.
#[derive(Debug, Clone, PartialEq)]
pub enum Injection {
    /// A WebSocket frame: `{type: text|binary|ping|pong, data}`, binary as base64.
    Frame {
        /// Its type; never `close`.
        kind: super::recording::FrameType,
        /// Its payload.
        payload: Vec<u8>,
    },
    /// An event: `{type, data, id, retry, comment}`, data as text.
    Event(super::recording::SseEvent),
}

impl Injection {
    /// Reads the body for a session of `protocol`.
    ///
    /// # Errors
    /// `Error::Invalid` for unknown fields, no data, bad base64, a control frame of more than 125 bytes, an event type with a line end.
    pub fn from_json(_protocol: Protocol, _body: &Value) -> Result<Self> {
        todo!()
    }
}

/// The body of `POST /replay/{id}/close`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CloseRequest {
    /// The close code; 1000 by default.
    pub code: u16,
    /// The reason, at most 123 bytes.
    pub reason: String,
    /// Drop the TCP connection instead.
    pub abrupt: bool,
}

impl CloseRequest {
    /// Reads the body; `{}` is a close with 1000.
    ///
    /// # Errors
    /// `Error::Invalid` for unknown fields, a code that an endpoint may not send, a reason that is too long, `code` beside `abrupt: true`.
    pub fn from_json(_body: &Value) -> Result<Self> {
        todo!()
    }
}

/// What `GET /replay/{id}?wait=` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitFor {
    /// Status `waiting` (or ended).
    Waiting,
    /// Status `complete` (or ended).
    Complete,
    /// Any end.
    Ended,
}

/// The answer of `POST /stream-recordings/{id}/replay`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayCreated {
    /// The session's ULID.
    pub id: String,
    /// The same.
    pub replay_id: String,
    /// The same.
    pub session_id: String,
    /// What it replays.
    pub recording_id: String,
    /// Of which protocol.
    pub protocol: Protocol,
    /// How it is driven.
    pub mode: Mode,
    /// `pending`.
    pub status: ReplayStatus,
    /// The path that its client comes to.
    pub path: String,
    /// That path at the mock port.
    pub url: String,
    /// The same with `?mockd-replay=<id>`.
    pub session_url: String,
    /// All steps.
    pub total_frames: u64,
    /// The options.
    pub config: Value,
}
