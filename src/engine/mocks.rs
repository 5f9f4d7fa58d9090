//! The registry of mocks: which there are, and which one takes a request. What one of them keeps beside its words stands in
//! `live_mock.rs`; what a mock says, in `mock_ws.rs`, `mock_http.rs` and the replay door.

use std::sync::{Arc, Mutex};

use super::compiled::Compiled;
use super::live_mock::wrong_at;
use crate::base::error::{Error, Result};
use crate::base::{id, sync};
use crate::model::mock::{Mock, Shown};
use crate::model::pairs::Pairs;
use crate::model::recording::Protocol;
use crate::rules::choose::{self, Misfit};
use crate::rules::pattern;
use crate::rules::response::is_cors_field;
use crate::store::Store;

pub use super::live_mock::{Guest, LiveMock};
pub use crate::rules::choose::Wanted;

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

    /// Puts the mocks of the config in place of those that the config had before; those of the API stay. What a mock had counted and
    /// sent is kept by the one with its id.
    ///
    /// # Errors
    /// A recording that is not there, can't be parsed or is of another protocol; an id that is taken; then all stays as it was.
    pub fn load(&self, mocks: Vec<Mock>) -> Result<()> {
        let mut fresh = mocks.into_iter().map(|mock| self.prepare(mock, false)).collect::<Result<Vec<_>>>()?;
        let mut live = sync::lock(&self.live);
        keep_made_ids(&mut fresh, &live);
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
    pub fn add(&self, mock: Mock) -> Result<Shown> {
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
    pub fn list(&self) -> Vec<Shown> {
        self.all().iter().map(|live| live.mock.shown.clone()).collect()
    }

    /// One, by its id or a unique prefix of at least 6 characters.
    ///
    /// # Errors
    /// Not found, ambiguous.
    pub fn view(&self, id: &str) -> Result<Shown> {
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

    /// Whether a mock that gives streams of this protocol is on this path, or on one that this pattern takes.
    pub fn serves(&self, protocol: Protocol, path: &str) -> bool {
        served(&self.all()).any(|live| {
            let streams = live.taker.protocol == protocol && live.mock.is_stream();
            streams && pattern::overlap(&live.taker.path, path)
        })
    }

    /// The CORS fields that the first mock on this path which takes this method gives itself.
    pub fn own_cors(&self, path: &str, method: &str) -> Vec<(String, String)> {
        let all = self.all();
        let first = served(&all).find(|live| live.answers(path, Some(method)));
        let own = first.and_then(|live| live.mock.response_headers()).into_iter().flat_map(Pairs::iter);
        own.filter(|(name, _)| is_cors_field(name)).map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// Whether a mock of plain HTTP is on this path, for this method if one is given.
    pub fn answers(&self, path: &str, method: Option<&str>) -> bool {
        served(&self.all()).any(|live| live.answers(path, method))
    }

    /// Why the mocks on the path of a request that none of them took did not, in words for the one who asked; `None` where there is none.
    pub fn why_not(&self, wanted: Wanted<'_>) -> Option<String> {
        let all = self.all();
        let misfits = all.iter().rev().map(|live| (live, live.taker.misfit(wanted)));
        let on_path = misfits.filter(|(_, misfit)| *misfit != Some(Misfit::Path));
        let (live, misfit) = on_path.max_by_key(|(live, misfit)| (live.mock.enabled, closeness(*misfit)))?;
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
        Some(format!("the mock {:?} is on this path and {why}", live.called()))
    }

    /// How many are served.
    pub fn served(&self) -> u64 {
        served(&self.all()).count() as u64
    }

    /// What a replay mock plays, as [`LiveMock::compiled`].
    ///
    /// # Errors
    /// The recording is gone or has been broken since the mock was loaded.
    pub fn compiled(&self, live: &LiveMock) -> Result<Arc<Compiled>> {
        live.compiled(&self.store)
    }

    /// Reads every recording that a mock of the config replays to its end, and keeps none.
    ///
    /// # Errors
    /// One that cannot be read or parsed, said at its place in the config.
    pub fn check_recordings(&self) -> Result<()> {
        self.all().iter().try_for_each(|live| live.check_recording(&self.store))
    }

    fn all(&self) -> Arc<Vec<Arc<LiveMock>>> {
        Arc::clone(&sync::lock(&self.live))
    }

    fn prepare(&self, mock: Mock, of_api: bool) -> Result<LiveMock> {
        LiveMock::new(mock, of_api, &self.store, self.max_message_bytes)
    }
}

/// A mock that was given no id keeps the one that was made for it, as long as nothing else about it changes.
fn keep_made_ids(fresh: &mut [LiveMock], known: &[Arc<LiveMock>]) {
    let mut known: Vec<_> = known.iter().filter(|old| !old.of_api).collect();
    for new in fresh {
        if let Some(at) = known.iter().position(|old| new.mock.is_written_like(&old.mock)) {
            new.mock.keep_id_of(&known.remove(at).mock);
        }
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

#[cfg(test)]
#[path = "mocks_tests.rs"]
mod tests;
