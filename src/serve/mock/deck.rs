//! Where a request of the mock port meets the recordings of a `play` run. Which one it gets is the deck's matter.

use std::sync::Arc;
use std::time::Duration;

use super::{Outcome, Request};
use crate::base::error::{Error, Result};
use crate::engine::answer;
use crate::engine::inlet::Inlet;
use crate::engine::relay_http::After;
use crate::engine::replay_door::{Met, recorded_head};
use crate::model::recording::Source;
use crate::rules::likeness;

impl Request<'_> {
    /// The recording that is for this request is played in a session of its own; where there is none, the client is given back.
    pub(super) fn meet_deck(&self, mut client: Inlet, accept: Option<&str>) -> std::result::Result<Outcome, Inlet> {
        let deck = &self.app.deck;
        if self.head.method == "HEAD" {
            // What it asks for is the head of a GET; nothing is played.
            let Some(card) = deck.first_at(self.protocol(), "GET", self.path) else { return Err(client) };
            let after = answer::send(&mut client, self.head, recorded_head(&card.compiled.head), None, self.cors_origin());
            return Ok(Ok(Some((client, after))));
        }
        if deck.first_at(self.protocol(), &self.head.method, self.path).is_none() {
            return Err(client);
        }
        let card = match self.choose_card(&mut client) {
            Ok(Some(Some(card))) => card,
            Ok(Some(None)) => return Err(client),
            Ok(None) => return Ok(Ok(Some((client, After::Close)))),
            Err(error) => return Ok(Err((client, error))),
        };
        let (label, compiled) = (&deck.cards()[card].label, Arc::clone(&deck.cards()[card].compiled));
        let opened = self.app.replays.open(label, self.path, compiled, deck.options().clone(), &client.stream);
        let (seat, player) = match opened {
            Ok(opened) => opened,
            Err(error) => return Ok(Err((client, error))),
        };
        let board = Arc::clone(&seat.board);
        deck.begin(card, &board);
        let metadata = self.metadata(Source::Replay, None);
        let met = Met { app: self.app, seat, player, guest: None, head: self.head, origin: self.origin, metadata };
        let outcome = self.replay(client, met, accept);
        deck.conclude(&board);
        Ok(outcome)
    }

    /// The card of this request, if there is one; `None` outside where the client has left in the middle of its body.
    fn choose_card(&self, client: &mut Inlet) -> Result<Option<Option<usize>>> {
        let settings = &self.app.settings;
        let max_bytes = usize::try_from(settings.max_request_body_bytes).unwrap_or(usize::MAX);
        let Some(body) = client.peek_body(self.head, max_bytes, Duration::from_millis(settings.head_timeout_ms))? else { return Ok(None) };
        let query = self.metadata(Source::Replay, None).query;
        let request =
            likeness::Request { protocol: self.protocol(), method: &self.head.method, path: self.path, query: &query, body: &body };
        Ok(Some(self.app.deck.choose(&request, self.head.headers.get("Last-Event-ID"))))
    }

    /// Why nothing is there for a request of a `play` run.
    pub(super) fn not_in_deck(&self) -> Option<Error> {
        let deck = &self.app.deck;
        if deck.cards().is_empty() {
            return None;
        }
        deck.miss(&self.head.method, self.path);
        Some(Error::NoRoute(format!(
            "no recording of this run is for {} {}; it plays {}; record what is missing with `mockd record`, or with \
             --record-missing --upstream URL",
            self.head.method,
            self.path,
            deck.list()
        )))
    }
}
