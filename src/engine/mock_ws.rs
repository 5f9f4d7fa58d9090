//! (skeleton) Where a WebSocket client meets a mock that talks: the handshake, the conversation's thread, and its reader.

use std::sync::Arc;

use super::app::App;
use super::inlet::Inlet;
use super::mocks::Guest;
use super::relay_http::After;
use crate::base::error::Result;
use crate::base::time::Origin;
use crate::model::mock_ws::WsTalk;
use crate::model::recording::Metadata;
use crate::wire::head::RequestHead;

/// A client that a mock has taken in.
#[derive(Debug)]
pub struct Visit<'a> {
    /// The server.
    pub app: &'a Arc<App>,
    /// Its place among the mock's connections.
    pub guest: Guest,
    /// The client's request.
    pub head: &'a RequestHead,
    /// When it had been read.
    pub origin: Origin,
    /// What a recording would keep of the connection.
    pub metadata: Metadata,
}

impl Visit<'_> {
    /// Talks to a WebSocket client whose handshake has been checked; `accept` is the answer to its key. The connection comes back
    /// where the handshake was refused with a response.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn talk(self, client: Inlet, accept: &str, talk: &Arc<WsTalk>) -> Result<Option<(Inlet, After)>> {
        let _ = (client, accept, talk);
        todo!()
    }
}
