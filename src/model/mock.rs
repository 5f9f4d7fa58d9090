//! A mock of a config: who it is for and what it answers with, as checked values. It decides nothing and opens no file;
//! the two protocols' parts stand in `mock_ws.rs` and `mock_http.rs`.

use std::path::PathBuf;

use serde_json::Value;

use super::fields::Fields;
use super::long_lists::LongLists;
use super::mock_http::{HttpMock, HttpPlays};
use super::mock_parts::{quoted, read_replay};
use super::mock_ws::{WsMock, WsPlays};
use super::pairs::Pairs;
use super::replay::ReplayOptions;
use super::syntax;
use crate::base::error::{Error, Result};
use crate::base::{id, text};

pub use super::shown_mock::Shown;

/// One mock.
#[derive(Debug, Clone, PartialEq)]
pub struct Mock {
    /// Its id: as given, or a ULID.
    pub id: String,
    /// Whether it was given no id, so that one was made.
    pub is_id_made: bool,
    /// Its name, if it was given one.
    pub name: Option<String>,
    /// Whether it is served.
    pub enabled: bool,
    /// What it is.
    pub kind: MockKind,
    /// The mock as it was given, with `id` and `enabled`: what the API shows.
    pub shown: Shown,
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
    /// [`Error::Invalid`] that names place, value and what is allowed.
    pub fn from_json(value: &Value, source: MockSource) -> Result<Self> {
        Self::from_value(value.clone(), source)
    }

    /// As [`Mock::from_json`], for a value that nobody else needs.
    ///
    /// # Errors
    /// As [`Mock::from_json`].
    pub fn from_value(mut value: Value, source: MockSource) -> Result<Self> {
        let mut parts = Parts::read(&value, &source.place, None)?;
        if let Value::Object(map) = &mut value {
            // A null counts as absent; what takes its place is put in below.
            for name in ["id", "enabled"] {
                if map.get(name).is_some_and(Value::is_null) {
                    map.shift_remove(name);
                }
            }
        }
        let missing = parts.missing(&value);
        Ok(parts.into_mock(Shown::with(&missing, &value.to_string()), source))
    }

    /// As [`Mock::from_json`], for the JSON text `text` of the file `whole`. Steps and events go through memory one by one.
    ///
    /// # Errors
    /// As [`Mock::from_json`]; for what is no JSON, with line and column in the file.
    pub fn from_text(whole: &str, text: &str, source: MockSource) -> Result<Self> {
        let (value, lists) = syntax::parse_json(whole, text, &source.place, &LONG_LISTS)?;
        if ["id", "enabled"].iter().any(|name| value.get(name).is_some_and(Value::is_null)) {
            return Self::from_value(syntax::parse_json(whole, text, &source.place, &[])?.0, source);
        }
        let mut parts = Parts::read(&value, &source.place, Some(&lists))?;
        let missing = parts.missing(&value);
        Ok(parts.into_mock(Shown::with(&missing, text), source))
    }

    /// Checks what depends on the server's settings: no mock takes larger messages than the server.
    ///
    /// # Errors
    /// [`Error::Invalid`] at the place of the field.
    pub fn check_limits(&self, max_message_bytes: u64) -> Result<()> {
        let MockKind::WebSocket(WsMock { plays: WsPlays::Talk(talk), .. }) = &self.kind else { return Ok(()) };
        match talk.max_message_bytes {
            Some(bytes) if bytes > max_message_bytes => {
                let dot = if self.source.place.is_empty() { "" } else { "." };
                let words = format!("{bytes} bytes are more than the server takes: server.maxMessageBytes is {max_message_bytes}");
                Err(Error::invalid(format!("{}{dot}websocket.maxMessageSize", self.source.place), words))
            }
            _ => Ok(()),
        }
    }

    /// Whether this one and `known` stand in one file, word for word the same and without an id: then they are one mock.
    pub fn is_written_like(&self, known: &Self) -> bool {
        let is_anonymous = self.is_id_made && known.is_id_made;
        is_anonymous && self.source.file == known.source.file && self.shown.without_made_id() == known.shown.without_made_id()
    }

    /// Takes the id that was made for `known`, which it is written like.
    pub fn keep_id_of(&mut self, known: &Self) {
        self.id.clone_from(&known.id);
        self.shown = known.shown.clone();
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

    /// Whether it gives streams: all do but plain responses.
    pub fn is_stream(&self) -> bool {
        !matches!(&self.kind, MockKind::Http(HttpMock { plays: HttpPlays::Response(_), .. }))
    }

    /// The response fields that it gives itself, where it answers HTTP requests.
    pub fn response_headers(&self) -> Option<&Pairs> {
        match &self.kind {
            MockKind::Http(HttpMock { plays: HttpPlays::Events(events), .. }) => Some(&events.headers),
            MockKind::Http(HttpMock { plays: HttpPlays::Response(response), .. }) => Some(&response.headers),
            MockKind::Http(_) | MockKind::WebSocket(_) => None,
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
    /// Reads `replay` of a mock.
    ///
    /// # Errors
    /// As [`Mock::from_json`].
    pub fn from_fields(fields: Fields<'_>) -> Result<Self> {
        read_replay(fields)
    }
}

/// Where the lists stand that make a mock large.
const LONG_LISTS: [&[&str]; 3] = [&["websocket", "scenario", "steps"], &["http", "sse", "events"], &["sse", "events"]];

/// What is read of a mock.
struct Parts {
    id: Option<String>,
    is_id_made: bool,
    name: Option<String>,
    enabled: Option<bool>,
    kind: MockKind,
}

impl Parts {
    fn read<'a>(value: &'a Value, place: &str, lists: Option<&'a LongLists<'a>>) -> Result<Self> {
        let mut fields = Fields::of(value, place)?.with_lists(lists);
        let kind = read_type(&mut fields)?;
        let id = fields.string("id")?;
        if let Some(id) = &id {
            check_id(&fields.place_of("id"), id)?;
        }
        let name = fields.string("name")?;
        fields.string("description")?;
        let enabled = fields.boolean("enabled")?;
        let kind = match kind {
            Type::WebSocket => {
                let inner = fields.object("websocket")?.ok_or_else(|| fields.missing("websocket"));
                fields.finish()?;
                MockKind::WebSocket(WsMock::from_fields(inner?)?)
            }
            Type::Http => MockKind::Http(read_http(fields)?),
        };
        Ok(Self { is_id_made: id.is_none(), id, name, enabled, kind })
    }

    /// The members that a mock is shown with and `value` has not, each with a comma after it. An id is made where there is none.
    fn missing(&mut self, value: &Value) -> String {
        let id = self.id.get_or_insert_with(id::new);
        let mut missing = String::new();
        if value.get("id").is_none() {
            missing.push_str(&format!("\"id\":\"{id}\","));
        }
        if value.get("enabled").is_none() {
            missing.push_str("\"enabled\":true,");
        }
        missing
    }

    fn into_mock(self, shown: Shown, source: MockSource) -> Mock {
        let Self { id, is_id_made, name, enabled, kind } = self;
        Mock { id: id.unwrap_or_default(), is_id_made, name, enabled: enabled.unwrap_or(true), kind, shown, source }
    }
}

/// The two types.
enum Type {
    WebSocket,
    Http,
}

/// The parts of an HTTP mock, which stand in `http` or, the older form, beside `type`.
const HTTP_PARTS: [&str; 4] = ["matcher", "sse", "response", "replay"];

/// What a mock is, by `type` or by the parts that it has.
fn read_type(fields: &mut Fields<'_>) -> Result<Type> {
    let given = fields.value("type");
    let is_http = fields.has("http") || HTTP_PARTS.iter().any(|part| fields.has(part));
    let found = match given {
        Some(Value::String(word)) if word == "websocket" => Type::WebSocket,
        Some(Value::String(word)) if word == "http" => Type::Http,
        Some(Value::String(word)) => return Err(Error::invalid(fields.place_of("type"), no_such_type(word))),
        Some(other) => return Err(fields.wrong("type", other, &format!("one of {}", Mock::TYPES.join(", ")))),
        None if fields.has("websocket") => Type::WebSocket,
        None if is_http => Type::Http,
        None => {
            // A misspelled part explains why nothing says what it is.
            let known: Vec<_> = COMMON.iter().chain(&HTTP_PARTS).chain(&["websocket"]).copied().collect();
            fields.only(&known)?;
            return Err(Error::invalid(fields.place_of("type"), format!("this field must be given: one of {}", Mock::TYPES.join(", "))));
        }
    };
    let (here, foreign) = match found {
        Type::WebSocket => ("websocket", ["http"].iter().chain(&HTTP_PARTS).find(|part| fields.has(part)).copied()),
        Type::Http => ("http", Some("websocket").filter(|part| fields.has(part))),
    };
    match foreign {
        None => Ok(found),
        Some("replay") => Err(fields.unwanted("replay", "the replay of a WebSocket mock stands in \"websocket\"")),
        Some(part) => Err(fields.unwanted(part, &format!("this is no part of a mock of type {here}"))),
    }
}

/// What is said of a type that there is not.
fn no_such_type(word: &str) -> String {
    let hint = match word {
        "sse" => "; an event stream is of type http, with \"sse\" in it".to_owned(),
        _ => text::did_you_mean(word, Mock::TYPES),
    };
    format!(
        "{:?} is none of {}{hint}: mockd mocks streams, which are WebSockets, and over HTTP event streams and plain responses",
        quoted(word),
        Mock::TYPES.join(", ")
    )
}

fn read_http(mut fields: Fields<'_>) -> Result<HttpMock> {
    let Some(mut inner) = fields.object("http")? else {
        let mock = HttpMock::from_fields(&mut fields);
        // An unknown field is told first: it explains a missing one.
        let known: Vec<_> = COMMON.iter().chain(&HTTP_PARTS).copied().collect();
        fields.only(&known)?;
        return mock;
    };
    if let Some(part) = HTTP_PARTS.iter().find(|part| fields.has(part)) {
        return Err(fields.unwanted(part, &format!("beside \"http\" this must stand in it: http.{part}")));
    }
    fields.finish()?;
    inner.only(&HTTP_PARTS)?;
    HttpMock::from_fields(&mut inner)
}

/// The fields that every mock has.
const COMMON: [&str; 6] = ["id", "name", "description", "enabled", "type", "http"];

/// 1 to 64 characters that need no care in a URL, a shell or a file name.
fn check_id(place: &str, id: &str) -> Result<()> {
    let fine = (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if fine {
        Ok(())
    } else {
        Err(Error::invalid(place, format!("{:?} must be 1 to 64 letters, digits, \".\", \"_\" or \"-\"", quoted(id))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mock_is_shown_as_given_with_id_and_enabled() {
        let value = serde_json::json!({"websocket": {"path": "/ws"}, "name": "chat"});
        let mock = Mock::from_json(&value, MockSource::default()).unwrap();
        assert_eq!(mock.id.len(), 26);
        assert_eq!(mock.shown.text(), format!(r#"{{"id":"{}","enabled":true,"websocket":{{"path":"/ws"}},"name":"chat"}}"#, mock.id));
        assert_eq!((mock.path(), mock.name.as_deref(), mock.enabled), (Some("/ws"), Some("chat"), true));
    }
}
