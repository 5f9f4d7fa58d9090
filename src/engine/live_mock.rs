//! A mock of the registry: its words, its connections, and the recording that it plays if it is a replay mock. Which mock takes a
//! request is not decided here.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use super::compiled::{self, Compiled, Origin};
use crate::base::error::{Error, Result};
use crate::base::sync;
use crate::model::api;
use crate::model::mock::{Mock, MockKind};
use crate::model::recording::Protocol;
use crate::rules::choose::Taker;
use crate::rules::pattern;
use crate::rules::resume::SentIds;
use crate::store::Store;

/// A mock of the registry.
#[derive(Debug)]
pub struct LiveMock {
    /// The mock.
    pub mock: Mock,
    pub(super) taker: Taker,
    /// Its connections now; a mock that takes its place when the config is read again counts on.
    pub(super) connections: Arc<AtomicU64>,
    /// The ids of events that it has sent; one that is just the same when the config is read again remembers on.
    pub(super) sent: Arc<Mutex<SentIds>>,
    /// What a replay mock plays.
    origin: Option<Origin>,
    compiled: OnceLock<Arc<Compiled>>,
    /// Held while the recording is read: who comes meanwhile waits, where reading it as often as clients come would take memory for each.
    reading: Mutex<()>,
    /// It came over the API; a config that is loaded leaves it.
    pub(super) of_api: bool,
}

/// A place among the connections of a mock, taken for as long as this lives.
#[derive(Debug)]
pub struct Guest(Arc<LiveMock>);

impl LiveMock {
    /// A mock with what its recording says, if it replays one. No mock takes larger messages than the server.
    ///
    /// # Errors
    /// A recording that is not there, can't be parsed or is of another protocol, at its place in the config; over the API one that is
    /// named by a file.
    pub fn new(mock: Mock, of_api: bool, store: &Store, max_message_bytes: u64) -> Result<Self> {
        mock.check_limits(max_message_bytes).map_err(|error| in_file(&mock, error))?;
        let (protocol, method) = match &mock.kind {
            MockKind::WebSocket(_) => (Protocol::WebSocket, None),
            MockKind::Http(mock) => (Protocol::Sse, mock.method.clone()),
        };
        let path = mock.path().unwrap_or_default().to_owned();
        let mut taker = Taker { protocol, path, method, conditions: mock.conditions().clone() };
        let origin = match mock.replay() {
            None => None,
            Some(replay) => {
                let origin = origin_of(&mock, &replay.recording, of_api, store)?;
                let file = origin.open(store).map_err(|error| in_place(&mock, error))?;
                check_protocol(&mock, file.head.protocol()).map_err(|message| wrong_at(&mock, &recording_field(&mock), message))?;
                if taker.path.is_empty() {
                    taker.path.clone_from(&file.head.metadata.path);
                    if api::check_path("path", &taker.path).is_err() {
                        let message = "the recording has no path that a mock can be on; give the mock one".to_owned();
                        return Err(wrong_at(&mock, &recording_field(&mock), message));
                    }
                }
                if taker.protocol == Protocol::Sse && taker.method.is_none() {
                    taker.method = compiled::request_of(&file.head).map(|request| request.method.clone());
                }
                Some(origin)
            }
        };
        Ok(Self {
            mock,
            taker,
            connections: Arc::default(),
            sent: Arc::default(),
            origin,
            compiled: OnceLock::new(),
            reading: Mutex::default(),
            of_api,
        })
    }

    /// Takes in one more connection; `None` where `maxConnections` are there.
    pub fn admit(self: &Arc<Self>) -> Option<Guest> {
        let most = self.max_connections().unwrap_or(u64::MAX);
        let counted = self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < most).then_some(count + 1));
        counted.is_ok().then(|| Guest(Arc::clone(self)))
    }

    /// What messages call it.
    pub fn called(&self) -> &str {
        self.mock.name.as_deref().unwrap_or(&self.mock.id)
    }

    /// The ids of events that it has sent, for clients that come back.
    pub fn sent(&self) -> &Arc<Mutex<SentIds>> {
        &self.sent
    }

    /// What a replay mock plays; read at its first connection and kept while the mock is there, also where the file goes away.
    ///
    /// # Errors
    /// The recording is gone or has been broken since the mock was loaded; the next connection tries again.
    pub fn compiled(&self, store: &Store) -> Result<Arc<Compiled>> {
        if let Some(compiled) = self.compiled.get() {
            return Ok(Arc::clone(compiled));
        }
        // Logged when the lock has been given back: nobody may take the log for a while, and others wait for their turn.
        self.compile(store).inspect_err(|error| log::error!("{error}"))
    }

    fn compile(&self, store: &Store) -> Result<Arc<Compiled>> {
        let _turn = sync::lock(&self.reading);
        if let Some(compiled) = self.compiled.get() {
            return Ok(Arc::clone(compiled));
        }
        let Some(origin) = &self.origin else { return Err(Error::Failed("this mock replays nothing".to_owned())) };
        let gone = |error: Error| {
            let message = format!("the mock {:?} cannot play its recording any more: {error}", self.called());
            let is_missing = matches!(&error, Error::NotFound { .. }) || matches!(origin, Origin::File(path) if !path.exists());
            if is_missing { Error::NoRoute(message) } else { Error::Failed(message) }
        };
        let file = origin.open(store).map_err(gone)?;
        check_protocol(&self.mock, file.head.protocol()).map_err(|message| gone(Error::Failed(message)))?;
        let read = Compiled::read(&file).map_err(gone)?;
        Ok(Arc::clone(self.compiled.get_or_init(|| Arc::new(read))))
    }

    /// Reads the recording of a replay mock to its end, and keeps nothing of it.
    ///
    /// # Errors
    /// It cannot be read or parsed, said at its place in the config.
    pub fn check_recording(&self, store: &Store) -> Result<()> {
        let Some(origin) = &self.origin else { return Ok(()) };
        let read = || origin.open(store)?.frames()?.try_for_each(|frame| frame.map(drop));
        read().map_err(|error| in_place(&self.mock, error))
    }

    /// Whether it answers plain HTTP requests on this path, by this method if one is given.
    pub(super) fn answers(&self, path: &str, method: Option<&str>) -> bool {
        let taker = &self.taker;
        taker.protocol == Protocol::Sse && pattern::matches(&taker.path, path) && method.is_none_or(|method| taker.is_for_method(method))
    }

    /// Connections at once.
    pub fn max_connections(&self) -> Option<u64> {
        match &self.mock.kind {
            MockKind::WebSocket(mock) => mock.max_connections,
            MockKind::Http(_) => None,
        }
    }
}

impl Guest {
    /// The mock that has taken it in.
    pub fn mock(&self) -> &LiveMock {
        &self.0
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where the recording of a replay mock is: a config may name a file.
fn origin_of(mock: &Mock, recording: &str, of_api: bool, store: &Store) -> Result<Origin> {
    let directory = mock.source.file.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
    let path: PathBuf = directory.join(recording);
    let is_called_file = recording.contains('/') || recording.ends_with(".json");
    if of_api && is_called_file {
        let message = "over the API a recording is named by its id; a file can be named in a config only".to_owned();
        return Err(wrong_at(mock, &recording_field(mock), message));
    }
    if !of_api && (is_called_file || path.is_file()) {
        return Ok(Origin::File(path));
    }
    store.resolve(recording).map(Origin::Stored).map_err(|error| match in_place(mock, error) {
        Error::File { path: config, place, message } => {
            Error::file(config, place, format!("{message}; nor is there a file {}", path.display()))
        }
        error => error,
    })
}

fn check_protocol(mock: &Mock, recorded: Protocol) -> std::result::Result<(), String> {
    match (&mock.kind, recorded) {
        (MockKind::WebSocket(_), Protocol::WebSocket) | (MockKind::Http(_), Protocol::Sse) => Ok(()),
        (MockKind::WebSocket(_), Protocol::Sse) => {
            Err("this recording is one of an event stream; a mock of type http can replay it".to_owned())
        }
        (MockKind::Http(_), Protocol::WebSocket) => {
            Err("this recording is one of a WebSocket; a mock of type websocket can replay it".to_owned())
        }
    }
}

/// Where the recording's name stands in a mock.
fn recording_field(mock: &Mock) -> String {
    let parent = match &mock.kind {
        MockKind::WebSocket(_) => "websocket.",
        MockKind::Http(_) if mock.shown.value().get("http").is_some() => "http.",
        MockKind::Http(_) => "",
    };
    format!("{parent}replay.recording")
}

/// What is wrong with a mock's recording, said at its place. What only the recording's state forbids stays a conflict.
fn in_place(mock: &Mock, error: Error) -> Error {
    match error {
        Error::Conflict { code, message } if mock.source.file.is_none() => Error::Conflict { code, message },
        // The place of an id that is malformed is the field that holds it.
        Error::Invalid { message, .. } => wrong_at(mock, &recording_field(mock), message),
        error => wrong_at(mock, &recording_field(mock), error.to_string()),
    }
}

/// An error at a field of a mock.
pub(super) fn wrong_at(mock: &Mock, field: &str, message: String) -> Error {
    let place = if mock.source.place.is_empty() { field.to_owned() } else { format!("{}.{field}", mock.source.place) };
    in_file(mock, Error::invalid(place, message))
}

/// An error at a place, with the file that a mock was written in.
fn in_file(mock: &Mock, error: Error) -> Error {
    match (&mock.source.file, error) {
        (Some(path), Error::Invalid { place, message }) => Error::file(path, place, message),
        (_, error) => error,
    }
}
