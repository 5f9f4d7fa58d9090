//! Replay options, statuses and answers: the words of the replay API.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fields::Fields;
use super::recording::{self, FrameType, Protocol, SseEvent};
use crate::base::error::{Error, Result};
use crate::base::limits;
use crate::wire::ws::is_sendable_close_code;

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
    /// The replay mock that made it, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mock_id: Option<String>,
    /// What it replays.
    pub recording_id: String,
    /// How it stands.
    pub status: ReplayStatus,
    /// Why it ended as it did.
    pub status_reason: Option<String>,
    /// The mismatch or timeout.
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
    pub fn from_json(body: &Value) -> Result<Self> {
        let mut fields = Fields::of(body, "")?;
        let (count, until) = (fields.integer("count", 1..=u64::MAX)?, fields.string("until")?);
        fields.finish()?;
        match (count, until) {
            (Some(_), Some(_)) => Err(Error::invalid("until", "give count or until, not both")),
            (count, None) => Ok(Self::Count(count.unwrap_or(1))),
            (None, Some(until)) => Ok(Self::Until(until)),
        }
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
        kind: FrameType,
        /// Its payload.
        payload: Vec<u8>,
    },
    /// An event: `{type, data, id, retry, comment}`, data as text.
    Event(Box<SseEvent>),
}

impl Injection {
    /// Reads the body for a session of `protocol`.
    ///
    /// # Errors
    /// `Error::Invalid` for unknown fields, no data, bad base64, a control frame of more than 125 bytes, an event type with a line end.
    pub fn from_json(protocol: Protocol, body: &Value) -> Result<Self> {
        let mut fields = Fields::of(body, "")?;
        let injection = match protocol {
            Protocol::WebSocket => read_frame(&mut fields)?,
            Protocol::Sse => read_event(&mut fields)?,
        };
        fields.finish()?;
        Ok(injection)
    }
}

/// A WebSocket frame; without a `type` it is a text.
fn read_frame(fields: &mut Fields<'_>) -> Result<Injection> {
    let kind = match fields.word("type", &["text", "binary", "ping", "pong"])? {
        Some("binary") => FrameType::Binary,
        Some("ping") => FrameType::Ping,
        Some("pong") => FrameType::Pong,
        _ => FrameType::Text,
    };
    let data = match kind {
        // A ping without a payload is the usual one.
        FrameType::Ping | FrameType::Pong => fields.string("data")?.unwrap_or_default(),
        _ => fields.required_string("data")?,
    };
    let payload = match kind {
        FrameType::Binary => recording::decode(&data, Some(recording::Encoding::Base64))
            .ok_or_else(|| Error::invalid("data", "the data of a binary frame must be base64 (RFC 4648, with padding)"))?,
        _ => data.into_bytes(),
    };
    if matches!(kind, FrameType::Ping | FrameType::Pong) && payload.len() > 125 {
        return Err(Error::invalid("data", "a ping or pong carries at most 125 bytes (RFC 6455, section 5.5)"));
    }
    Ok(Injection::Frame { kind, payload })
}

/// An event; without a `type` it is a `message`. What has no data must have something else to say.
fn read_event(fields: &mut Fields<'_>) -> Result<Injection> {
    let kind = fields.string("type")?.filter(|kind| !kind.is_empty());
    // Every line end that a reader knows becomes LF, which the canonical form splits lines at.
    let lines = |text: String| text.replace("\r\n", "\n").replace('\r', "\n");
    let data = fields.string("data")?.map(lines);
    let id = fields.string("id")?;
    let retry = fields.integer("retry", 0..=u64::MAX)?;
    let comment = fields.string("comment")?.map(lines);
    for (name, text) in [("type", &kind), ("id", &id)] {
        if text.as_ref().is_some_and(|text| text.contains(['\r', '\n', '\0'])) {
            return Err(Error::invalid(name, "this must be one line without NUL"));
        }
    }
    if data.is_none() && (kind.is_some() || (id.is_none() && retry.is_none() && comment.is_none())) {
        return Err(Error::invalid("data", "this field must be given"));
    }
    let kind = data.as_ref().map(|_| kind.unwrap_or_else(|| "message".to_owned()));
    Ok(Injection::Event(Box::new(SseEvent { kind, data, id, retry, comment, ..SseEvent::default() })))
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
    pub fn from_json(body: &Value) -> Result<Self> {
        let mut fields = Fields::of(body, "")?;
        let code = fields.integer("code", 0..=u64::from(u16::MAX))?.and_then(|code| u16::try_from(code).ok());
        let reason = fields.string("reason")?;
        let abrupt = fields.boolean("abrupt")?.unwrap_or(false);
        fields.finish()?;
        if abrupt && (code.is_some() || reason.is_some()) {
            return Err(Error::invalid("abrupt", "a dropped connection has neither code nor reason; leave them out"));
        }
        let (code, reason) = (code.unwrap_or(1000), reason.unwrap_or_default());
        if !is_sendable_close_code(code) {
            return Err(Error::invalid("code", format!("{code} may not stand in a close frame; use {CLOSE_CODES}")));
        }
        check_close_reason("reason", &reason)?;
        Ok(Self { code, reason, abrupt })
    }
}

/// The close codes that a frame may have, in words.
pub const CLOSE_CODES: &str = "1000 to 1003, 1007 to 1014, or 3000 to 4999 (RFC 6455, section 7.4)";

/// Checks the reason of a close frame.
///
/// # Errors
/// [`Error::Invalid`] at `place` for one that no frame holds.
pub fn check_close_reason(place: &str, reason: &str) -> Result<()> {
    if reason.len() <= limits::MAX_CLOSE_REASON_BYTES {
        return Ok(());
    }
    let most = limits::MAX_CLOSE_REASON_BYTES;
    Err(Error::invalid(place, format!("a close reason has at most {most} bytes (RFC 6455, section 5.5)")))
}

/// What `GET /replay/{id}?wait=` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitFor {
    /// Status `waiting`.
    Waiting,
    /// Status `complete`.
    Complete,
    /// Any end.
    Ended,
}

impl WaitFor {
    /// Whether a session of this status is as asked; `has_waited` says whether its status has become `waiting` since the question, which
    /// a client that answers at once ends sooner than anybody can look.
    pub fn holds(self, status: ReplayStatus, has_waited: bool) -> bool {
        match self {
            Self::Waiting => status == ReplayStatus::Waiting || has_waited,
            Self::Complete => status == ReplayStatus::Complete,
            Self::Ended => status.is_ended(),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn json(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn advance_with_no_body_is_one_step() {
        assert_eq!(Advance::from_json(&json("{}")), Ok(Advance::Count(1)));
        assert_eq!(Advance::from_json(&json(r#"{"count":5}"#)), Ok(Advance::Count(5)));
        assert_eq!(Advance::from_json(&json(r#"{"until":"{}"}"#)), Ok(Advance::Until("{}".to_owned())));
        for bad in [r#"{"count":0}"#, r#"{"count":1,"until":"x"}"#, r#"{"steps":1}"#, r#"{"count":"1"}"#, "[]"] {
            assert!(Advance::from_json(&json(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn injections_are_read_by_their_protocol() {
        let frame = |kind, payload: &[u8]| Injection::Frame { kind, payload: payload.to_vec() };
        for (body, read) in [
            (r#"{"data":"x"}"#, frame(FrameType::Text, b"x")),
            (r#"{"type":"binary","data":"AAE="}"#, frame(FrameType::Binary, &[0, 1])),
            (r#"{"type":"ping"}"#, frame(FrameType::Ping, b"")),
        ] {
            assert_eq!(Injection::from_json(Protocol::WebSocket, &json(body)), Ok(read), "{body}");
        }
        for bad in [r#"{"type":"text"}"#, r#"{"type":"close","data":""}"#, r#"{"type":"binary","data":"?"}"#, r#"{"data":"x","id":"1"}"#] {
            assert!(Injection::from_json(Protocol::WebSocket, &json(bad)).is_err(), "{bad}");
        }
        let long = format!(r#"{{"type":"pong","data":"{}"}}"#, "x".repeat(126));
        assert!(Injection::from_json(Protocol::WebSocket, &json(&long)).is_err());

        let Ok(Injection::Event(event)) = Injection::from_json(Protocol::Sse, &json(r#"{"data":"a\r\nb\rc","id":"7"}"#)) else { panic!() };
        assert_eq!((event.kind.as_deref(), event.data.as_deref(), event.id.as_deref()), (Some("message"), Some("a\nb\nc"), Some("7")));
        assert!(Injection::from_json(Protocol::Sse, &json(r#"{"comment":"still here"}"#)).is_ok());
        for bad in ["{}", r#"{"type":"x"}"#, r#"{"type":"a\nb","data":""}"#, r#"{"data":"x","id":"\u0000"}"#, r#"{"data":1}"#] {
            assert!(Injection::from_json(Protocol::Sse, &json(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_close_has_a_code_that_may_be_sent_or_is_abrupt() {
        let close = |code, reason: &str, abrupt| Ok(CloseRequest { code, reason: reason.to_owned(), abrupt });
        assert_eq!(CloseRequest::from_json(&json("{}")), close(1000, "", false));
        assert_eq!(CloseRequest::from_json(&json(r#"{"code":4001,"reason":"bye"}"#)), close(4001, "bye", false));
        assert_eq!(CloseRequest::from_json(&json(r#"{"abrupt":true}"#)), close(1000, "", true));
        let long = format!(r#"{{"reason":"{}"}}"#, "x".repeat(124));
        for bad in [r#"{"code":1005}"#, r#"{"code":70000}"#, r#"{"code":1001,"abrupt":true}"#, r#"{"abrupt":true,"reason":"x"}"#, &long] {
            assert!(CloseRequest::from_json(&json(bad)).is_err(), "{bad}");
        }
    }
}
