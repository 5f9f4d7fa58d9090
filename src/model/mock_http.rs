//! The HTTP part of a mock: event streams and plain responses, as checked values. How they are played stands in `rules`.

use std::sync::Arc;

use serde_json::Value;

use super::fields::Fields;
use super::mock::{Conditions, ReplayMock};
use super::mock_http_fields;
pub use super::mock_http_fields::is_bodiless;
use super::pairs::Pairs;
use crate::base::error::Result;

/// `http` of a mock.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpMock {
    /// The method; HEAD goes with GET; `None` where its recording says it.
    pub method: Option<String>,
    /// The path or pattern; `None` where its recording says it.
    pub path: Option<String>,
    /// What else the request must have.
    pub conditions: Conditions,
    /// What a request gets.
    pub plays: HttpPlays,
}

/// What a request of an HTTP mock gets.
#[derive(Debug, Clone, PartialEq)]
pub enum HttpPlays {
    /// A recording of an event stream.
    Replay(ReplayMock),
    /// An event stream.
    Events(Arc<SseMock>),
    /// A response.
    Response(HttpResponse),
}

/// A plain response.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpResponse {
    /// 200 to 599.
    pub status: u16,
    /// Its header fields; `Content-Length` and hop-by-hop ones cannot be set.
    pub headers: Pairs,
    /// Its body.
    pub body: Vec<u8>,
    /// Microseconds to wait before it is sent.
    pub delay_us: u64,
}

/// An event stream.
#[derive(Debug, Clone, PartialEq)]
pub struct SseMock {
    /// 200 to 599.
    pub status: u16,
    /// The head's fields, `Content-Type` among them.
    pub headers: Pairs,
    /// Its events, in order.
    pub events: Vec<MockEvent>,
    /// When they are sent.
    pub timing: SseTiming,
    /// How long it lives and how it ends.
    pub lifecycle: SseLifecycle,
    /// How clients that reconnect go on.
    pub resume: Resume,
}

/// One event, or a block without data.
#[derive(Debug, Clone, PartialEq)]
pub struct MockEvent {
    /// Its type; `None`: none is named.
    pub kind: Option<String>,
    /// Its data.
    pub data: Option<EventData>,
    /// Its id.
    pub id: Option<String>,
    /// Milliseconds.
    pub retry: Option<u64>,
    /// Its comment.
    pub comment: Option<String>,
    /// Microseconds before it, in place of the stream's timing.
    pub delay_us: Option<u64>,
    /// Whether its data is sent as it stands, placeholders and all.
    pub literal: bool,
}

/// The data of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum EventData {
    /// A text.
    Text(String),
    /// JSON, written compactly.
    Json(Value),
    /// A chunk of a chat completion, made anew for each client: this token, and at the last one the finish reason.
    ChatChunk {
        /// The model's name.
        model: String,
        /// The token.
        token: String,
        /// Whether it is the first.
        first: bool,
        /// Set at the last one.
        finish_reason: Option<String>,
    },
}

/// When events are sent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SseTiming {
    /// Microseconds from the request to the head.
    pub initial_delay_us: u64,
    /// Microseconds before each event.
    pub fixed_delay_us: u64,
    /// Microseconds before each event, between the two, in place of the fixed ones.
    pub random_delay_us: Option<(u64, u64)>,
    /// Microseconds before the events of the same index.
    pub per_event_delays_us: Vec<Option<u64>>,
}

/// How long an event stream lives and how it ends.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SseLifecycle {
    /// Microseconds of silence after which a comment is sent.
    pub keepalive_us: Option<u64>,
    /// Microseconds from the head after which it is terminated.
    pub timeout_us: Option<u64>,
    /// Events with data after which it is terminated.
    pub max_events: Option<u64>,
    /// How it ends.
    pub termination: Termination,
}

/// How an event stream ends.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Termination {
    /// In which way.
    pub kind: TerminationKind,
    /// The last event: `finalEvent` of a graceful end, `errorEvent` of an error.
    pub last_event: Option<MockEvent>,
    /// Microseconds before the end.
    pub close_delay_us: u64,
}

/// In which way an event stream ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TerminationKind {
    /// The response ends.
    #[default]
    Graceful,
    /// The connection is dropped.
    Abrupt,
    /// The error event, then the connection is dropped.
    Error,
    /// It does not: the client ends it.
    KeepOpen,
}

/// How clients that reconnect go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Resume {
    /// Whether `Last-Event-ID` counts.
    pub enabled: bool,
    /// Only the last so many ids that were sent.
    pub buffer_size: Option<u64>,
    /// Only ids that were sent within so many microseconds.
    pub max_age_us: Option<u64>,
}

impl HttpMock {
    /// Reads `http` of a mock, or the same fields at its top level.
    ///
    /// # Errors
    /// [`crate::base::error::Error::Invalid`] that names place, value and what is allowed.
    pub fn from_fields(fields: &mut Fields<'_>) -> Result<Self> {
        mock_http_fields::read(fields)
    }

    /// What it replays, if that is what it does.
    pub fn replay(&self) -> Option<&ReplayMock> {
        match &self.plays {
            HttpPlays::Replay(replay) => Some(replay),
            HttpPlays::Events(_) | HttpPlays::Response(_) => None,
        }
    }
}
