//! Where a WebSocket client meets a mock that talks: the choice of a subprotocol, the handshake, the conversation's thread, and the
//! reader. What is said stands in `rules/scenario.rs`.

use std::sync::Arc;

use super::app::App;
use super::inlet::Inlet;
use super::mocks::Guest;
use super::relay_http::After;
use super::ws_client::WsClient;
use super::{answer, performance};
use crate::base::error::{Error, Result};
use crate::base::text;
use crate::base::time::Origin;
use crate::model::mock_ws::WsTalk;
use crate::model::recording::Metadata;
use crate::rules::scenario::Conversation;
use crate::wire::handshake;
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
    pub metadata: Box<Metadata>,
}

impl Visit<'_> {
    /// Talks to a WebSocket client whose handshake has been checked; `accept` is the answer to its key. The connection comes back
    /// where the handshake was refused with a response.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn talk(self, mut client: Inlet, accept: &str, talk: &Arc<WsTalk>) -> Result<Option<(Inlet, After)>> {
        let offered = handshake::offered_subprotocols(self.head);
        let subprotocol = talk.subprotocols.iter().find(|name| offered.contains(name)).cloned();
        if subprotocol.is_none() && talk.require_subprotocol {
            let error = no_shared_subprotocol(&talk.subprotocols, &offered);
            let after = answer::refuse(&mut client, self.head, &error, self.app.settings.cors_origin.as_deref());
            return Ok(Some((client, after)));
        }
        let conversation = Conversation::new(Arc::clone(talk))?;
        let Some(client) = WsClient::accept(self.app, client, accept, subprotocol, self.metadata) else { return Ok(None) };
        let reader = client.reader.up_to(talk.max_message_bytes);
        let line = client.line.keeping(Some(self.guest));
        performance::perform(self.app, Box::new(conversation), line, client.origin.mono_us, |inbox, gate| reader.read(inbox, gate))?;
        Ok(None)
    }
}

fn no_shared_subprotocol(known: &[String], offered: &[String]) -> Error {
    let offers = if offered.is_empty() { "the client offers none".to_owned() } else { format!("the client offers {}", shown(offered)) };
    Error::invalid("Sec-WebSocket-Protocol", format!("this mock speaks {} only; {offers}", shown(known)))
}

/// Names as an answer shows them: what a client sent, cut and without control characters.
fn shown(names: &[String]) -> String {
    let names = names.join(", ");
    text::clean(&text::shorten(&names, 256)).into_owned()
}
