//! The registry of mocks: which there are, which one takes a request, and the recordings that replay mocks play.
//! What a mock says stands in `mock_ws.rs`, `mock_http.rs` and the replay door.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::Value;

use super::compiled::{self, Compiled, Origin};
use crate::base::error::{Error, Result};
use crate::base::{id, sync};
use crate::model::api;
use crate::model::mock::{Mock, MockKind};
use crate::model::recording::Protocol;
use crate::rules::choose::{self, Misfit, Taker};
use crate::rules::pattern;
use crate::rules::resume::SentIds;
use crate::store::Store;

pub use crate::rules::choose::Wanted;

/// A mock of the registry.
#[derive(Debug)]
pub struct LiveMock {
    /// The mock.
    pub mock: Mock,
    taker: Taker,
    /// Its connections now; a mock that takes its place when the config is read again counts on.
    connections: Arc<AtomicU64>,
    /// The ids of events that it has sent; one that is just the same when the config is read again remembers on.
    sent: Arc<Mutex<SentIds>>,
    /// What a replay mock plays.
    origin: Option<Origin>,
    compiled: OnceLock<Arc<Compiled>>,
    /// Held while the recording is read: who comes meanwhile waits, where reading it as often as clients come would take memory for each.
    reading: Mutex<()>,
    of_api: bool,
}

/// One connection of a mock, counted for as long as this lives.
#[derive(Debug)]
pub struct Guest(Arc<LiveMock>);

impl LiveMock {
    /// Takes in one more connection; `None` where `maxConnections` are there.
    pub fn admit(self: &Arc<Self>) -> Option<Guest> {
        let most = self.max_connections().unwrap_or(u64::MAX);
        let counted = self.connections.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| (count < most).then_some(count + 1));
        counted.is_ok().then(|| Guest(Arc::clone(self)))
    }

    /// The ids of events that it has sent, for clients that come back.
    pub fn sent(&self) -> &Arc<Mutex<SentIds>> {
        &self.sent
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

/// All mocks, those of the config first.
#[derive(Debug)]
pub struct Mocks {
    store: Arc<Store>,
    max_message_bytes: u64,
    live: Mutex<Arc<Vec<Arc<LiveMock>>>>,
}

impl Mocks {
    /// No mock yet. `store` has the recordings that replay mocks name by id; no mock takes larger messages than the server.
    pub fn new(store: Arc<Store>, max_message_bytes: u64) -> Self {
        Self { store, max_message_bytes, live: Mutex::default() }
    }

    /// Puts the mocks of the config in place of those that the config had before; those of the API stay.
    ///
    /// # Errors
    /// A recording that is not there, can't be parsed or is of another protocol; an id that is taken; then all stays as it was.
    pub fn load(&self, mocks: Vec<Mock>) -> Result<()> {
        let mut fresh = mocks.into_iter().map(|mock| self.prepare(mock, false)).collect::<Result<Vec<_>>>()?;
        let mut live = sync::lock(&self.live);
        for index in 0..fresh.len() {
            let id = &fresh[index].mock.id;
            let is_taken = fresh[..index].iter().any(|other| other.mock.id == *id);
            if is_taken || live.iter().any(|other| other.of_api && other.mock.id == *id) {
                let who = if is_taken { "another mock of the config" } else { "a mock that came over the API" };
                return Err(wrong_at(
                    &fresh[index].mock,
                    "id",
                    format!("{who} has the id {id:?}; give one of them another, or delete one"),
                ));
            }
        }
        for new in &mut fresh {
            if let Some(old) = live.iter().find(|old| old.mock.id == new.mock.id) {
                new.connections = Arc::clone(&old.connections);
                if new.mock.kind == old.mock.kind {
                    new.sent = Arc::clone(&old.sent);
                }
            }
        }
        let mut all: Vec<Arc<LiveMock>> = fresh.into_iter().map(Arc::new).collect();
        all.extend(live.iter().filter(|mock| mock.of_api).cloned());
        *live = Arc::new(all);
        Ok(())
    }

    /// Adds one over the API; what it answers is the mock as the API shows it.
    ///
    /// # Errors
    /// `already_exists`; as [`Mocks::load`]; a recording named by a file.
    pub fn add(&self, mock: Mock) -> Result<Value> {
        self.put(mock, false).map(|live| live.mock.shown.clone())
    }

    /// As [`Mocks::add`], in place of a mock with the same id that came over the API before.
    ///
    /// # Errors
    /// As [`Mocks::add`]; `already_exists` where the config has a mock with this id.
    pub fn replace(&self, mock: Mock) -> Result<()> {
        self.put(mock, true).map(drop)
    }

    fn put(&self, mock: Mock, replaces: bool) -> Result<Arc<LiveMock>> {
        let fresh = Arc::new(self.prepare(mock, true)?);
        let mut live = sync::lock(&self.live);
        let mut all = live.as_ref().clone();
        match all.iter().position(|other| other.mock.id == fresh.mock.id) {
            None => all.push(Arc::clone(&fresh)),
            Some(index) if replaces && all[index].of_api => all[index] = Arc::clone(&fresh),
            Some(index) => {
                let whose = if all[index].of_api { "a mock" } else { "a mock of the config" };
                let id = &fresh.mock.id;
                let message = format!("{whose} has the id {id:?} already; delete it first, or give this one another id");
                return Err(Error::conflict("already_exists", message));
            }
        }
        *live = Arc::new(all);
        Ok(fresh)
    }

    /// All, in their order, as the API shows them.
    pub fn list(&self) -> Vec<Value> {
        self.all().iter().map(|live| live.mock.shown.clone()).collect()
    }

    /// One, by its id or a unique prefix of at least 6 characters.
    ///
    /// # Errors
    /// Not found, ambiguous.
    pub fn view(&self, id: &str) -> Result<Value> {
        let all = self.all();
        Ok(all[index_of(&all, id)?].mock.shown.clone())
    }

    /// Takes one away; connections that it has go on.
    ///
    /// # Errors
    /// As [`Mocks::view`].
    pub fn remove(&self, id: &str) -> Result<()> {
        let mut live = sync::lock(&self.live);
        let index = index_of(&live, id)?;
        let mut all = live.as_ref().clone();
        all.remove(index);
        *live = Arc::new(all);
        Ok(())
    }

    /// The mock that takes a request: the most specific path, then the most conditions, then the order.
    pub fn find(&self, wanted: Wanted<'_>) -> Option<Arc<LiveMock>> {
        let all = self.all();
        let served: Vec<&Arc<LiveMock>> = served(&all).collect();
        choose::choose(served.iter().map(|live| &live.taker), wanted).map(|index| Arc::clone(served[index]))
    }

    /// Whether a mock that could take this request looks at its body.
    pub fn reads_body(&self, wanted: Wanted<'_>) -> bool {
        served(&self.all()).any(|live| live.taker.misfit(wanted) == Some(Misfit::BodyUnread))
    }

    /// Whether a mock is on this path, or on one that this pattern takes.
    pub fn serves(&self, path: &str) -> bool {
        served(&self.all()).any(|live| pattern::overlap(&live.taker.path, path))
    }

    /// Whether a mock of plain HTTP is on this path, for this method if one is given.
    pub fn answers(&self, path: &str, method: Option<&str>) -> bool {
        served(&self.all()).any(|live| {
            let taker = &live.taker;
            taker.protocol == Protocol::Sse
                && pattern::matches(&taker.path, path)
                && method.is_none_or(|method| taker.is_for_method(method))
        })
    }

    /// Why the mocks on the path of a request that none of them took did not, in words for the one who asked; `None` where there is none.
    pub fn why_not(&self, wanted: Wanted<'_>) -> Option<String> {
        let all = self.all();
        let on_path =
            all.iter().rev().filter_map(|live| Some((live, live.taker.misfit(wanted)))).filter(|(_, misfit)| *misfit != Some(Misfit::Path));
        let (live, misfit) = on_path.max_by_key(|(live, misfit)| (live.mock.enabled, closeness(*misfit)))?;
        let name = live.mock.name.as_deref().unwrap_or(&live.mock.id);
        let why = match misfit {
            _ if !live.mock.enabled => "is not enabled".to_owned(),
            None | Some(Misfit::Path) => return None,
            Some(Misfit::Protocol) if live.taker.protocol == Protocol::WebSocket => "is for WebSocket handshakes".to_owned(),
            Some(Misfit::Protocol) => "is for plain HTTP requests, not for WebSocket handshakes".to_owned(),
            Some(Misfit::Method(method)) => format!("is for {method}"),
            Some(Misfit::Header(name)) => format!("wants the header {name} with the value that it names"),
            Some(Misfit::Query(name)) => format!("wants the query parameter {name} with the value that it names"),
            Some(Misfit::Body | Misfit::BodyUnread) => "wants another text in the body".to_owned(),
        };
        Some(format!("the mock {name:?} is on this path and {why}"))
    }

    /// How many are served.
    pub fn served(&self) -> u64 {
        served(&self.all()).count() as u64
    }

    /// What a replay mock plays; read at its first connection and kept while the mock is there, also where the file goes away.
    ///
    /// # Errors
    /// The recording is gone or has been broken since the mock was loaded; the next connection tries again.
    pub fn compiled(&self, live: &LiveMock) -> Result<Arc<Compiled>> {
        if let Some(compiled) = live.compiled.get() {
            return Ok(Arc::clone(compiled));
        }
        let _turn = sync::lock(&live.reading);
        if let Some(compiled) = live.compiled.get() {
            return Ok(Arc::clone(compiled));
        }
        let Some(origin) = &live.origin else { return Err(Error::Failed("this mock replays nothing".to_owned())) };
        let gone = |error: Error| {
            let message = format!("the mock {:?} cannot play its recording any more: {error}", live.mock.id);
            log::error!("{message}");
            let is_missing = matches!(&error, Error::NotFound { .. }) || matches!(origin, Origin::File(path) if !path.exists());
            if is_missing { Error::NoRoute(message) } else { Error::Failed(message) }
        };
        let file = origin.open(&self.store).map_err(gone)?;
        check_protocol(&live.mock, file.head.protocol()).map_err(|message| gone(Error::Failed(message)))?;
        let read = Compiled::read(&file).map_err(gone)?;
        Ok(Arc::clone(live.compiled.get_or_init(|| Arc::new(read))))
    }

    fn all(&self) -> Arc<Vec<Arc<LiveMock>>> {
        Arc::clone(&sync::lock(&self.live))
    }

    /// A mock with what its recording says, if it replays one.
    fn prepare(&self, mock: Mock, of_api: bool) -> Result<LiveMock> {
        mock.check_limits(self.max_message_bytes).map_err(|error| in_file(&mock, error))?;
        let (protocol, method) = match &mock.kind {
            MockKind::WebSocket(_) => (Protocol::WebSocket, None),
            MockKind::Http(mock) => (Protocol::Sse, mock.method.clone()),
        };
        let path = mock.path().unwrap_or_default().to_owned();
        let mut taker = Taker { protocol, path, method, conditions: mock.conditions().clone() };
        let origin = match mock.replay() {
            None => None,
            Some(replay) => {
                let origin = self.origin_of(&mock, &replay.recording, of_api)?;
                let file = origin.open(&self.store).map_err(|error| in_place(&mock, error))?;
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
        Ok(LiveMock {
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

    /// Where the recording of a replay mock is: a config may name a file.
    fn origin_of(&self, mock: &Mock, recording: &str, of_api: bool) -> Result<Origin> {
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
        self.store.resolve(recording).map(Origin::Stored).map_err(|error| in_place(mock, error))
    }
}

/// Those that are enabled.
fn served(all: &[Arc<LiveMock>]) -> impl Iterator<Item = &Arc<LiveMock>> {
    all.iter().filter(|live| live.mock.enabled)
}

/// The place in the list of the one that an id, or a prefix of one, means.
fn index_of(all: &[Arc<LiveMock>], id: &str) -> Result<usize> {
    let id = id::resolve_given("mock", id, all.iter().map(|live| live.mock.id.as_str()))?;
    all.iter().position(|live| live.mock.id == id).ok_or(Error::NotFound { kind: "mock", id })
}

/// How much of a request fits a mock that does not take it.
fn closeness(misfit: Option<Misfit<'_>>) -> u8 {
    match misfit {
        Some(Misfit::Path) => 0,
        Some(Misfit::Protocol) => 1,
        Some(Misfit::Method(_)) => 2,
        Some(Misfit::Header(_) | Misfit::Query(_)) => 3,
        Some(Misfit::BodyUnread | Misfit::Body) => 4,
        None => 5,
    }
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
        MockKind::Http(_) if mock.shown.get("http").is_some() => "http.",
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

fn wrong_at(mock: &Mock, field: &str, message: String) -> Error {
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

#[cfg(test)]
#[path = "mocks_tests.rs"]
mod tests;
