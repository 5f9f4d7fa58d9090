//! A mock of a config: who it is for and what it answers with, as checked values. It decides nothing and opens no file;
//! the two protocols' parts stand in `mock_ws.rs` and `mock_http.rs`.

use std::path::PathBuf;

use serde_json::Value;

use super::fields::Fields;
use super::mock_http::HttpMock;
use super::mock_ws::WsMock;
use super::replay::ReplayOptions;
use crate::base::error::Result;

/// One mock.
#[derive(Debug, Clone, PartialEq)]
pub struct Mock {
    /// Its id: as given, or a ULID.
    pub id: String,
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// Whether it is served.
    pub enabled: bool,
    /// What it is.
    pub kind: MockKind,
    /// The mock as it was given, with `id` and `enabled`: what the API shows.
    pub shown: Value,
    /// Where it was written.
    pub source: MockSource,
}

/// Where a mock was written: late errors name it, and relative files are relative to it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MockSource {
    /// The config file; `None` for one that came over the API.
    pub file: Option<PathBuf>,
    /// Its place in that file (`mocks[2]`); empty over the API.
    pub place: String,
}

/// What a mock is.
#[derive(Debug, Clone, PartialEq)]
pub enum MockKind {
    /// `type: websocket`
    WebSocket(WsMock),
    /// `type: http`
    Http(HttpMock),
}

/// What a request must have, path and method aside.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Conditions {
    /// Header fields with their values; names are compared without case; `*` is any value.
    pub headers: Vec<(String, String)>,
    /// Query parameters with their values, percent-decoded; `*` is any value.
    pub query_params: Vec<(String, String)>,
    /// What stands somewhere in the body.
    pub body_contains: Option<String>,
}

/// `replay` in a mock: every connection gets a session of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct ReplayMock {
    /// An id, a prefix of one, or a file.
    pub recording: String,
    /// How it is played; without a path, which the mock has.
    pub options: ReplayOptions,
}

impl Mock {
    /// The words of `type`.
    pub const TYPES: [&'static str; 2] = ["websocket", "http"];

    /// Reads one mock. `source` says where it stands; places in errors begin with its place (`mocks[2].websocket.path`).
    ///
    /// # Errors
    /// [`crate::base::error::Error::Invalid`] that names place, value and what is allowed.
    pub fn from_json(value: &Value, source: MockSource) -> Result<Self> {
        let _ = (value, source);
        todo!()
    }

    /// The path or pattern that it is on; `None` where its recording says it.
    pub fn path(&self) -> Option<&str> {
        match &self.kind {
            MockKind::WebSocket(mock) => mock.path.as_deref(),
            MockKind::Http(mock) => mock.path.as_deref(),
        }
    }

    /// What its requests must have.
    pub fn conditions(&self) -> &Conditions {
        match &self.kind {
            MockKind::WebSocket(mock) => &mock.conditions,
            MockKind::Http(mock) => &mock.conditions,
        }
    }

    /// What it replays, if that is what it does.
    pub fn replay(&self) -> Option<&ReplayMock> {
        match &self.kind {
            MockKind::WebSocket(mock) => mock.replay(),
            MockKind::Http(mock) => mock.replay(),
        }
    }
}

impl Conditions {
    /// How many there are: of two mocks on one path the one with more is the more specific.
    pub fn count(&self) -> usize {
        self.headers.len() + self.query_params.len() + usize::from(self.body_contains.is_some())
    }
}

impl ReplayMock {
    /// Reads `replay` of a mock, which stands at `place`.
    ///
    /// # Errors
    /// As [`Mock::from_json`].
    pub fn from_fields(fields: Fields<'_>) -> Result<Self> {
        let _ = fields;
        todo!()
    }
}
