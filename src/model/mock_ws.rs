//! The WebSocket part of a mock: matchers, messages and the scenario, as checked values. How they are played stands in `rules`.

use std::sync::Arc;

use serde_json::Value;

use super::fields::Fields;
use super::mock::{Conditions, ReplayMock};
use super::mock_ws_fields;
use super::recording::FrameType;
use crate::base::error::Result;

/// `websocket` of a mock.
#[derive(Debug, Clone, PartialEq)]
pub struct WsMock {
    /// The path or pattern; `None` where its recording says it.
    pub path: Option<String>,
    /// What the handshake must have.
    pub conditions: Conditions,
    /// Connections at once; over it 503.
    pub max_connections: Option<u64>,
    /// What a connection gets.
    pub plays: WsPlays,
}

/// What a connection of a WebSocket mock gets.
#[derive(Debug, Clone, PartialEq)]
pub enum WsPlays {
    /// A recording.
    Replay(ReplayMock),
    /// Answers and a scenario.
    Talk(Arc<WsTalk>),
}

/// Answers and a scenario.
#[derive(Debug, Clone, PartialEq)]
pub struct WsTalk {
    /// The server's subprotocols, in its order of preference.
    pub subprotocols: Vec<String>,
    /// Whether a handshake that shares none is refused with 400.
    pub require_subprotocol: bool,
    /// Bytes of a client's message; `None`: the server's limit.
    pub max_message_bytes: Option<u64>,
    /// Microseconds without a data message in either direction, then 1001.
    pub idle_timeout_us: Option<u64>,
    /// Pings.
    pub heartbeat: Option<Heartbeat>,
    /// Whether a message that nothing else takes is sent back.
    pub echo: bool,
    /// Tried in order; the first that matches answers.
    pub matchers: Vec<WsMatcher>,
    /// The answer where no matcher matches.
    pub default_response: Option<WsMessage>,
    /// What is played from the handshake on.
    pub scenario: Option<Scenario>,
}

/// Pings that must be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heartbeat {
    /// Microseconds between two pings.
    pub interval_us: u64,
    /// Microseconds within which the pong must come.
    pub timeout_us: u64,
}

/// A message that is answered.
#[derive(Debug, Clone, PartialEq)]
pub struct WsMatcher {
    /// Which.
    pub matches: WsMatch,
    /// The answer; `None`: none.
    pub response: Option<WsMessage>,
}

/// Which messages match.
#[derive(Debug, Clone, PartialEq)]
pub struct WsMatch {
    /// What the message must be.
    pub text: MatchText,
    /// Text or binary only.
    pub message_type: Option<FrameType>,
}

/// What a message must be.
#[derive(Debug, Clone, PartialEq)]
pub enum MatchText {
    /// Anything.
    Any,
    /// This; a binary message is compared by its base64.
    Exact(String),
    /// This somewhere.
    Contains(String),
    /// This at its beginning.
    Prefix(String),
    /// This at its end.
    Suffix(String),
    /// A text in which this regular expression finds something; it compiles.
    Regex(String),
    /// JSON: equal to `value`, the whole of it or what stands at `path` (a JSONPath that parses).
    Json {
        /// RFC 9535.
        path: Option<String>,
        /// What must stand there.
        value: Value,
    },
}

/// A message to send.
#[derive(Debug, Clone, PartialEq)]
pub struct WsMessage {
    /// What it says.
    pub content: WsContent,
    /// Microseconds to wait before it is sent.
    pub delay_us: u64,
    /// Whether its text is sent as it stands, templates and all.
    pub literal: bool,
}

/// What a message says.
#[derive(Debug, Clone, PartialEq)]
pub enum WsContent {
    /// A text.
    Text(String),
    /// JSON, written compactly.
    Json(Value),
    /// Bytes.
    Binary(Vec<u8>),
}

/// Steps from the handshake on.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// What it is called.
    pub name: Option<String>,
    /// At least one.
    pub steps: Vec<Step>,
    /// Whether it begins again after its last step; then at least one step waits.
    pub repeats: bool,
}

/// One step of a scenario.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Send a message, after its delay.
    Send(WsMessage),
    /// Wait for a message of the client.
    Expect {
        /// Which; `None`: any.
        matches: Option<WsMatch>,
        /// Microseconds to wait; 0: for ever.
        timeout_us: u64,
        /// Whether to go on when the time is up.
        optional: bool,
    },
    /// Do nothing for so many microseconds.
    Wait(u64),
    /// End the connection.
    Close {
        /// The close code; 1005: a frame without one; 1006: the TCP connection is dropped.
        code: u16,
        /// At most 123 bytes.
        reason: String,
        /// Microseconds to wait before.
        delay_us: u64,
    },
}

impl WsMock {
    /// Reads `websocket` of a mock.
    ///
    /// # Errors
    /// [`crate::base::error::Error::Invalid`] that names place, value and what is allowed.
    pub fn from_fields(fields: Fields<'_>) -> Result<Self> {
        mock_ws_fields::read(fields)
    }

    /// What it replays, if that is what it does.
    pub fn replay(&self) -> Option<&ReplayMock> {
        match &self.plays {
            WsPlays::Replay(replay) => Some(replay),
            WsPlays::Talk(_) => None,
        }
    }
}
