//! Where a client of the mock port meets its replay session: the handshake or the response head as recorded, the session's
//! thread, and the start of the reader that feeds it what the client sends.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use super::app::App;
use super::board::Seat;
use super::event_stream::{Opening, hear_end};
use super::inbox::{Gate, Input, Taken};
use super::inlet::Inlet;
use super::line::Line;
use super::live_mock::Guest;
use super::relay_http::After;
use super::session::{self, Parts};
use super::ws_client::WsClient;
use super::{answer, cors};
use crate::base::error::Result;
use crate::base::sync;
use crate::base::time::Origin;
use crate::model::recording::{Head, Metadata, StreamHead, decode};
use crate::model::replay::{Matching, ReplayError};
use crate::rules::player::Player;
use crate::rules::response::kept_fields;
use crate::wire::handshake;
use crate::wire::head::{RequestHead, ResponseHead};

/// A client that has been given a session.
pub struct Met<'a> {
    /// The server.
    pub app: &'a Arc<App>,
    /// The session, which ends with this.
    pub seat: Seat,
    /// Its rules.
    pub player: Box<Player>,
    /// The client's place among the connections of a replay mock.
    pub guest: Option<Guest>,
    /// The client's request.
    pub head: &'a RequestHead,
    /// When it had been read.
    pub origin: Origin,
    /// What a recording of this replay would keep of the connection.
    pub metadata: Box<Metadata>,
}

impl Met<'_> {
    /// Replays to a WebSocket client whose handshake has been checked; `accept` is the answer to its key.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn run_websocket(self, client: Inlet, accept: &str) -> Result<()> {
        let recorded = match &self.seat.compiled.head.stream {
            StreamHead::WebSocket { subprotocol } => subprotocol.clone(),
            StreamHead::Sse { .. } => None,
        };
        let offered = handshake::offered_subprotocols(self.head);
        let subprotocol = recorded.filter(|recorded| offered.contains(recorded));
        let Some(client) = WsClient::accept(self.app, client, accept, subprotocol, self.metadata) else { return Ok(()) };
        let (line, reader) = (client.line.keeping(self.guest), client.reader);
        start(self.app, self.seat, self.player, line, client.origin, |inbox, gate| reader.read(inbox, gate))
    }

    /// Replays to the client of an event stream. A request that does not match is answered 409.
    ///
    /// # Errors
    /// What is wrong with the request's body; the system gives no thread.
    pub fn run_event_stream(mut self, client: &mut Inlet) -> Result<After> {
        let settings = &self.app.settings;
        let max_bytes = usize::try_from(settings.max_request_body_bytes).unwrap_or(usize::MAX);
        // One more than a recording keeps, so that a longer body is seen to be longer.
        let kept_bytes = max_bytes.max(self.recorded_body_bytes()).saturating_add(1);
        let patience = Duration::from_millis(settings.head_timeout_ms);
        let Some(body) = client.read_body(self.head, kept_bytes, patience)? else {
            return Ok(After::Close);
        };
        if let Some(last) = self.head.headers.get("Last-Event-ID") {
            self.player.resume_after(last);
        }
        let compared = self.compare(&body);
        let compares = self.seat.board.options().matching != Matching::Any;
        self.seat.board.add_request(&body, compares.then_some(compared.is_ok()));
        if let Err(mismatch) = compared {
            self.seat.board.publish(&self.player, None);
            return Ok(self.refuse(client, &mismatch));
        }
        let ResponseHead { status, mut headers, .. } = recorded_head(&self.seat.compiled.head);
        cors::allow(&mut headers, self.head, self.app.settings.cors_origin.as_deref());
        let opening = Opening { app: self.app, head: self.head, origin: self.origin, metadata: self.metadata, body };
        client.rest();
        let line = opening.open(&client.stream, status, headers);
        start(self.app, self.seat, self.player, line, self.origin, hear_end(&client.stream))?;
        Ok(After::Close)
    }

    /// At least the bytes of the recorded request's body.
    fn recorded_body_bytes(&self) -> usize {
        self.seat.compiled.request().and_then(|request| request.body.as_deref()).map_or(0, str::len)
    }

    fn compare(&mut self, body: &[u8]) -> std::result::Result<(), ReplayError> {
        let compiled = &self.seat.compiled;
        let request = compiled.request();
        let recorded = request.and_then(|request| request.body.as_deref().and_then(|body| decode(body, request.encoding)));
        let truncated = request.is_some_and(|request| request.truncated);
        self.player.request(recorded.as_deref(), truncated, body)
    }

    // Apart, so that a session that plays has no room for it on its stack.
    #[inline(never)]
    fn refuse(&self, client: &mut Inlet, mismatch: &ReplayError) -> After {
        let mut body = serde_json::to_value(mismatch).unwrap_or_default();
        body["error"] = serde_json::json!(mismatch.code);
        let body = format!("{body}\n");
        // The body has been read, so the connection can go on.
        let request = without_body(self.head);
        answer::send(client, &request, ResponseHead::new(409), Some(body.as_bytes()), self.app.settings.cors_origin.as_deref())
    }
}

/// The head of an event stream as it was recorded, less what belongs to the recorded connection alone; CORS is not in it.
pub fn recorded_head(recorded: &Head) -> ResponseHead {
    let mut response = ResponseHead::new(200);
    if let StreamHead::Sse { response_status, response_headers, .. } = &recorded.stream {
        response.status = *response_status;
        response.headers = kept_fields(response_headers, recorded.metadata.redaction.as_ref());
    }
    if response.headers.get("Content-Type").is_none() {
        response.headers.push("Content-Type", "text/event-stream");
    }
    response
}

/// The request as if it had no body.
fn without_body(head: &RequestHead) -> RequestHead {
    let mut head = head.clone();
    head.headers.remove("Content-Length");
    head.headers.remove("Transfer-Encoding");
    head
}

/// Starts the session's thread and runs the reader on this one until the connection ends.
fn start(
    app: &App,
    seat: Seat,
    mut player: Box<Player>,
    line: Line,
    origin: Origin,
    read: impl FnOnce(&Sender<Input>, &Gate),
) -> Result<()> {
    let (inbox, heard) = channel();
    player.start(origin.mono_us);
    seat.board.attach(inbox.clone(), origin, &player);
    if app.is_ending() {
        // It may have come too late for the list of those that are told.
        seat.board.tell_stop("server_ended");
    }
    let gate = Arc::new(Gate::default());
    let parts = Parts {
        board: Arc::clone(&seat.board),
        script: Arc::clone(&seat.compiled.script),
        player,
        line,
        inbox: heard,
        taken: Taken::new(Arc::clone(&gate)),
    };
    let mut ear = Ear { inbox, heard_all: false };
    let thread = sync::spawn("replay", move || session::run(parts, origin.mono_us))?;
    read(&ear.inbox, &gate);
    ear.heard_all = true;
    // The thread catches its own panics; the seat tells the board of one.
    drop(thread.join());
    Ok(())
}

/// The reader's end of an inbox. One that panics says that the client has gone: the session would wait for it, as others have its inbox too.
struct Ear {
    inbox: Sender<Input>,
    heard_all: bool,
}

impl Drop for Ear {
    fn drop(&mut self) {
        if !self.heard_all {
            // A session that has ended needs to hear nothing.
            drop(self.inbox.send(Input::Gone));
        }
    }
}
