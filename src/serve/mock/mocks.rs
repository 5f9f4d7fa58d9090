//! Where a request of the mock port meets a mock: which one takes it, whether it has room, and what it does: talk, show, respond, replay.

use std::time::Duration;

use serde_json::json;

use super::{Outcome, Request};
use crate::base::error::Result;
use crate::base::limits;
use crate::engine::answer;
use crate::engine::board::Seat;
use crate::engine::inlet::Inlet;
use crate::engine::mock_ws::Visit;
use crate::engine::mocks::{Guest, LiveMock};
use crate::engine::relay_http::After;
use crate::engine::replay_door::{self, Met};
use crate::model::mock::{MockKind, ReplayMock};
use crate::model::mock_http::HttpPlays;
use crate::model::mock_ws::WsPlays;
use crate::model::recording::Source;
use crate::rules::player::Player;
use crate::wire::head::ResponseHead;

impl Request<'_> {
    /// The mock that takes the request serves it; where there is none an upstream does. `accept` answers a handshake's key.
    pub(super) fn meet_mock(&self, mut client: Inlet, accept: Option<&str>) -> Outcome {
        let body = match self.body_for_mocks(&mut client) {
            Ok(Some(body)) => body,
            Ok(None) => return Ok(Some((client, After::Close))),
            Err(error) => return Err((client, error)),
        };
        let Some(live) = self.app.mocks.find(self.wanted(Some(&body))) else { return self.forward(client) };
        drop(body);
        let Some(guest) = live.admit() else {
            let after = self.turn_away(&mut client, &live);
            return Ok(Some((client, after)));
        };
        match (&live.mock.kind, accept) {
            (MockKind::WebSocket(mock), Some(accept)) => match &mock.plays {
                WsPlays::Talk(talk) => Ok(self.visit(guest).talk(client, accept, talk).unwrap_or_else(|error| {
                    log::error!("the mock {:?} could not begin: {error}", live.called());
                    None
                })),
                WsPlays::Replay(replay) => self.play(client, &live, guest, replay, Some(accept)),
            },
            (MockKind::Http(mock), None) => {
                let shown = match &mock.plays {
                    HttpPlays::Events(events) => self.visit(guest).show_events(&mut client, events),
                    HttpPlays::Response(response) => self.visit(guest).respond(&mut client, response),
                    HttpPlays::Replay(replay) => return self.play(client, &live, guest, replay, None),
                };
                match shown {
                    Ok(after) => Ok(Some((client, after))),
                    Err(error) => Err((client, error)),
                }
            }
            // A mock takes requests of its own protocol only.
            _ => self.forward(client),
        }
    }

    /// The front of the body where a mock asks for it, else nothing; `None` when the client has left.
    fn body_for_mocks(&self, client: &mut Inlet) -> Result<Option<Vec<u8>>> {
        if !self.app.mocks.reads_body(self.wanted(None)) {
            return Ok(Some(Vec::new()));
        }
        client.peek_body(self.head, limits::MAX_MATCHED_BODY_BYTES, Duration::from_millis(self.app.settings.head_timeout_ms))
    }

    fn visit(&self, guest: Guest) -> Visit<'_> {
        let metadata = self.metadata(Source::Mock, None);
        Visit { app: self.app, guest, head: self.head, origin: self.origin, metadata }
    }

    /// A session of its own for the client of a replay mock.
    fn play(&self, mut client: Inlet, live: &LiveMock, guest: Guest, replay: &ReplayMock, accept: Option<&str>) -> Outcome {
        if self.head.method == "HEAD" {
            return match self.show_head(&mut client, live) {
                Ok(after) => Ok(Some((client, after))),
                Err(error) => Err((client, error)),
            };
        }
        match self.take_seat(&client, live, replay) {
            Ok((seat, player)) => {
                let metadata = self.metadata(Source::Replay, None);
                let met = Met { app: self.app, seat, player, guest: Some(guest), head: self.head, origin: self.origin, metadata };
                self.replay(client, met, accept)
            }
            Err(error) => Err((client, error)),
        }
    }

    // Apart, so that a session that plays has no room for it on its stack.
    #[inline(never)]
    fn take_seat(&self, client: &Inlet, live: &LiveMock, replay: &ReplayMock) -> Result<(Seat, Box<Player>)> {
        let compiled = self.app.mocks.compiled(live)?;
        self.app.replays.open(&live.mock.id, self.path, compiled, replay.options.clone(), &client.stream)
    }

    /// Answers a HEAD with the recorded head; nothing is played.
    #[inline(never)]
    fn show_head(&self, client: &mut Inlet, live: &LiveMock) -> Result<After> {
        let head = replay_door::recorded_head(&self.app.mocks.compiled(live)?.head);
        Ok(answer::send(client, self.head, head, None, self.cors_origin()))
    }

    /// The answer to one client more than `maxConnections`.
    fn turn_away(&self, client: &mut Inlet, live: &LiveMock) -> After {
        let most = live.max_connections().unwrap_or_default();
        let message =
            format!("the mock {:?} has its {most} connections; try again when one has ended, or raise its maxConnections", live.called());
        let body = format!("{}\n", json!({"error": "too_many_connections", "message": message}));
        let mut response = ResponseHead::new(503);
        response.headers.push("Retry-After", "1");
        answer::send(client, self.head, response, Some(body.as_bytes()), self.cors_origin())
    }
}
