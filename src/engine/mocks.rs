//! (skeleton) The registry of mocks: which there are, which one takes a request, and the recordings that replay mocks play.
//! What a mock says stands in `mock_ws.rs`, `mock_http.rs` and the replay door.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;

use super::compiled::Compiled;
use crate::base::error::Result;
use crate::model::mock::Mock;
use crate::model::recording::Protocol;
use crate::wire::head::RequestHead;

/// A mock that is served.
#[derive(Debug)]
pub struct LiveMock {
    /// The mock.
    pub mock: Mock,
    /// Its connections now.
    connections: AtomicU64,
}

/// A request, as far as choosing a mock goes.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The protocol that it speaks; any HTTP request counts as an event stream's.
    pub protocol: Protocol,
    /// Its path as sent.
    pub path: &'a str,
    /// Its head.
    pub head: &'a RequestHead,
    /// The front of its body; `None` where nobody asked for it yet.
    pub body: Option<&'a [u8]>,
}

/// One connection of a mock, counted for as long as this lives.
#[derive(Debug)]
pub struct Guest(Arc<LiveMock>);

impl LiveMock {
    /// Takes in one more connection; `None` where `maxConnections` are there.
    pub fn admit(self: &Arc<Self>) -> Option<Guest> {
        todo!()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

/// All mocks.
#[derive(Debug, Default)]
pub struct Mocks {
    live: Mutex<Arc<Vec<Arc<LiveMock>>>>,
}

impl Mocks {
    /// Puts the mocks of the config in place of those that the config had before; those of the API stay.
    ///
    /// # Errors
    /// A recording that is not there, can't be parsed or is of another protocol; then all stays as it was.
    pub fn load(&self, mocks: Vec<Mock>) -> Result<()> {
        let _ = (mocks, &self.live);
        todo!()
    }

    /// Adds one over the API; what it answers is the mock as the API shows it.
    ///
    /// # Errors
    /// `already_exists`; as [`Mocks::load`]; a recording named by a file.
    pub fn add(&self, mock: Mock) -> Result<Value> {
        let _ = mock;
        todo!()
    }

    /// All, in their order, as the API shows them.
    pub fn list(&self) -> Vec<Value> {
        todo!()
    }

    /// One, by its id or a unique prefix of at least 6 characters.
    ///
    /// # Errors
    /// Not found, ambiguous.
    pub fn view(&self, id: &str) -> Result<Value> {
        let _ = id;
        todo!()
    }

    /// Takes one away; connections that it has go on.
    ///
    /// # Errors
    /// As [`Mocks::view`].
    pub fn remove(&self, id: &str) -> Result<()> {
        let _ = id;
        todo!()
    }

    /// The mock that takes a request: the most specific path, then the most conditions, then the order.
    pub fn find(&self, wanted: Wanted<'_>) -> Option<Arc<LiveMock>> {
        let _ = wanted;
        todo!()
    }

    /// Whether a mock that could take this request looks at its body.
    pub fn reads_body(&self, wanted: Wanted<'_>) -> bool {
        let _ = wanted;
        todo!()
    }

    /// Whether a mock is on this path, or on one that this pattern takes.
    pub fn serves(&self, path: &str) -> bool {
        let _ = path;
        todo!()
    }

    /// What a replay mock plays; read at its first connection and kept.
    ///
    /// # Errors
    /// The recording is gone or has been broken since the mock was loaded.
    pub fn compiled(&self, mock: &LiveMock) -> Result<Arc<Compiled>> {
        let _ = mock;
        todo!()
    }
}
