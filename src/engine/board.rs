//! A replay session as others see it: its figures, its messages, its client, and the way to its inbox. The session's thread writes it,
//! everybody reads it.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::compiled::Compiled;
use super::inbox::Input;
use super::lateness::Histogram;
use crate::base::error::Error;
use crate::base::time::{self, Origin};
use crate::base::{id, limits, platform, sync};
use crate::model::recording::{FrameType, Protocol};
use crate::model::replay::{ReplayMessage, ReplayOptions, ReplayStatus, ReplayView};
use crate::rules::player::Player;
use crate::wire::stream::Stream;

/// What changes.
#[derive(Debug)]
struct State {
    /// Until a client takes it. The board itself lives on with the ended ones, without the recording.
    pending: Option<(Box<Player>, Arc<Compiled>)>,
    /// From the claim until the client is gone; shut where the session does not end by itself.
    client: Option<Arc<Stream>>,
    /// From the attachment until the session takes no more calls.
    inbox: Option<Sender<Input>>,
    /// The session has said its last word; what is left is the client's going.
    leaving: bool,
    /// The session was told to end between the claim and the attachment.
    stop_asked: Option<&'static str>,
    view: ReplayView,
    /// How many times the status has become `waiting`.
    waits: u64,
    started: Option<Origin>,
    ended_us: Option<u64>,
    lateness: Histogram,
    messages: Vec<ReplayMessage>,
    message_bytes: usize,
    /// Messages are told apart by their number, so that none is kept after one that was not.
    messages_full: bool,
    /// How many threads wait for a change: waking nobody would cost a system call for each frame.
    waiters: usize,
}

/// How a session stands to those who wait for something of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Its status now.
    pub status: ReplayStatus,
    /// How many times the status has become `waiting`.
    pub waits: u64,
}

/// A session's public side.
#[derive(Debug)]
pub struct Board {
    id: String,
    path: String,
    options: ReplayOptions,
    protocol: Protocol,
    /// The method that the client must come with; a WebSocket has none.
    method: Option<String>,
    /// A replay mock made it for its client.
    of_mock: bool,
    state: Mutex<State>,
    change: Condvar,
}

impl Board {
    /// The board of a pending session.
    pub fn new(id: String, path: String, options: ReplayOptions, compiled: Arc<Compiled>, player: Box<Player>) -> Self {
        let mut board = Self::vacant(id, path, options, &compiled, &player);
        board.state.get_mut().unwrap_or_else(PoisonError::into_inner).pending = Some((player, compiled));
        board
    }

    /// The board of a session that a replay mock makes for a client who is there, and that client's seat at it.
    pub fn of_mock(mock: &str, path: &str, options: ReplayOptions, compiled: Arc<Compiled>, player: &Player, client: &Arc<Stream>) -> Seat {
        let mut board = Self::vacant(id::new(), path.to_owned(), options, &compiled, player);
        board.of_mock = true;
        let state = board.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        state.view.mock_id = Some(mock.to_owned());
        state.client = Some(Arc::clone(client));
        Seat { board: Arc::new(board), compiled }
    }

    /// A board that nobody can claim.
    fn vacant(id: String, path: String, options: ReplayOptions, compiled: &Compiled, player: &Player) -> Self {
        let (protocol, method) = (compiled.head.protocol(), compiled.request().map(|request| request.method.clone()));
        let view = ReplayView {
            id: id.clone(),
            mock_id: None,
            recording_id: compiled.head.id.clone(),
            status: ReplayStatus::Pending,
            status_reason: None,
            error: None,
            mode: options.mode,
            protocol,
            path: path.clone(),
            current_frame: 0,
            total_frames: player.total_frames(),
            frames_sent: 0,
            frames_received: 0,
            started_at: None,
            elapsed_ms: 0,
            lateness: Default::default(),
            // Written when it is asked for: it is larger than the options.
            config: Value::Null,
        };
        let state = State {
            pending: None,
            client: None,
            inbox: None,
            leaving: false,
            stop_asked: None,
            view,
            waits: 0,
            started: None,
            ended_us: None,
            lateness: Histogram::default(),
            messages: Vec::new(),
            message_bytes: 0,
            messages_full: false,
            waiters: 0,
        };
        Self { id, path, options, protocol, method, of_mock: false, state: Mutex::new(state), change: Condvar::new() }
    }

    /// The session's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The path that its client comes to.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Its options.
    pub fn options(&self) -> &ReplayOptions {
        &self.options
    }

    /// The protocol that its client speaks.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The method that its client comes with.
    pub fn method(&self) -> &str {
        self.method.as_deref().unwrap_or("GET")
    }

    /// Its status.
    pub fn status(&self) -> ReplayStatus {
        self.standing().status
    }

    /// How it stands.
    pub fn standing(&self) -> Standing {
        sync::lock(&self.state).standing()
    }

    /// Whether a client of this protocol was there and the session has ended: who comes back to it is to stop asking.
    pub fn has_played(&self, protocol: Protocol) -> bool {
        let state = sync::lock(&self.state);
        self.protocol == protocol && state.view.status.is_ended() && state.started.is_some()
    }

    /// Whether it waits for a client.
    pub fn is_pending(&self) -> bool {
        sync::lock(&self.state).pending.is_some()
    }

    /// Whether it has ended, and its client is gone.
    pub fn is_over(&self) -> bool {
        let state = sync::lock(&self.state);
        state.view.status.is_ended() && state.client.is_none()
    }

    /// Whether a replay mock made it.
    pub fn is_of_mock(&self) -> bool {
        self.of_mock
    }

    /// Whether a client is there.
    pub fn is_connected(&self) -> bool {
        sync::lock(&self.state).client.is_some()
    }

    /// Whether its client is there no more, which the session may not have heard.
    pub fn has_departed(&self) -> bool {
        let client = sync::lock(&self.state).client.clone();
        client.is_some_and(|client| platform::has_half_closed(client.fd()))
    }

    /// Whether a client that asks like this is its client.
    pub fn is_for(&self, protocol: Protocol, path: &str, method: &str) -> bool {
        self.path == path && self.protocol == protocol && self.method.as_ref().is_none_or(|known| known.eq_ignore_ascii_case(method))
    }

    /// The answer of `GET /replay/{id}`.
    pub fn view(&self) -> ReplayView {
        self.view_of(&sync::lock(&self.state))
    }

    fn view_of(&self, state: &State) -> ReplayView {
        let mut view = state.view.clone();
        if let Some(started) = state.started {
            view.elapsed_ms = started.relative_us(state.ended_us.unwrap_or_else(time::now_us)) / 1000;
        }
        view.lateness = state.lateness.figures();
        view.config = self.options.to_json();
        view
    }

    /// What the client sent.
    pub fn messages(&self) -> Vec<ReplayMessage> {
        sync::lock(&self.state).messages.clone()
    }

    /// The error that a call is forbidden, naming mode and status.
    pub fn forbidden(&self, code: &'static str, what: &str) -> Error {
        let state = sync::lock(&self.state);
        let mode = serde_json::to_value(state.view.mode).unwrap_or_default();
        let mode = mode.as_str().unwrap_or_default().to_owned();
        Error::conflict(code, format!("{what}; this session's mode is {mode}, its status {}", state.view.status.word()))
    }

    /// Gives a pending session to a client; the caller is that client's thread.
    pub fn claim(self: &Arc<Self>, client: &Arc<Stream>) -> Option<(Seat, Box<Player>)> {
        let mut state = sync::lock(&self.state);
        let (player, compiled) = state.pending.take()?;
        state.client = Some(Arc::clone(client));
        Some((Seat { board: Arc::clone(self), compiled }, player))
    }

    /// The client's stream begins: calls reach the session by `inbox` from now on.
    pub fn attach(&self, inbox: Sender<Input>, started: Origin, player: &Player) {
        let mut state = sync::lock(&self.state);
        if let Some(reason) = state.stop_asked.take() {
            // The other end of this channel is still with the caller.
            drop(inbox.send(Input::Stop { reason }));
        }
        state.inbox = Some(inbox);
        state.started = Some(started);
        state.view.started_at = Some(time::rfc3339(started.wall_us));
        update(&mut state, player, None);
        self.wake(&state);
    }

    /// The session's figures have changed.
    pub fn publish(&self, player: &Player, reason: Option<&'static str>) {
        let mut state = sync::lock(&self.state);
        update(&mut state, player, reason);
        if state.view.status.is_ended() && state.ended_us.is_none() {
            state.ended_us = Some(time::now_us());
        }
        self.wake(&state);
    }

    /// Frames went out so late.
    pub fn add_lateness(&self, us: u64) {
        sync::lock(&self.state).lateness.add(us);
    }

    /// Keeps a message of the client, within bounds.
    pub fn add_message(&self, kind: FrameType, payload: &[u8], relative_us: u64) {
        let mut state = sync::lock(&self.state);
        // A small message takes more room than its payload.
        let bytes = payload.len() + size_of::<ReplayMessage>();
        state.messages_full |=
            state.messages.len() >= limits::MAX_KEPT_MESSAGES || state.message_bytes + bytes > limits::MAX_KEPT_MESSAGE_BYTES;
        if state.messages_full {
            return;
        }
        state.message_bytes += bytes;
        let (data, kind) = match kind {
            FrameType::Binary => (data_encoding::BASE64.encode(payload), "binary"),
            _ => (String::from_utf8_lossy(payload).into_owned(), "text"),
        };
        state.messages.push(ReplayMessage { data, kind: kind.to_owned(), relative_us, step: None, matched: None });
    }

    /// Keeps the body of an event stream's request, which is its client's message.
    pub fn add_request(&self, body: &[u8], matched: Option<bool>) {
        if body.is_empty() {
            return;
        }
        let kind = if std::str::from_utf8(body).is_ok() { FrameType::Text } else { FrameType::Binary };
        self.add_message(kind, body, 0);
        if let Some(message) = sync::lock(&self.state).messages.first_mut() {
            message.matched = matched;
        }
    }

    /// Bytes of the messages that are kept.
    pub fn message_bytes(&self) -> usize {
        sync::lock(&self.state).message_bytes
    }

    /// Keeps the messages no longer.
    pub fn forget_messages(&self) {
        let mut state = sync::lock(&self.state);
        state.messages = Vec::new();
        state.message_bytes = 0;
    }

    /// What became of client messages.
    pub fn judge(&self, judged: &[(u64, u64, Option<bool>)]) {
        let mut state = sync::lock(&self.state);
        for (index, step, matched) in judged {
            if let Some(message) = usize::try_from(*index).ok().and_then(|at| state.messages.get_mut(at)) {
                message.step = Some(*step);
                message.matched = *matched;
            }
        }
    }

    /// Hands an input to the session's thread; `false` where no client is there.
    pub fn tell(&self, input: Input) -> bool {
        sync::lock(&self.state).inbox.as_ref().is_some_and(|inbox| inbox.send(input).is_ok())
    }

    /// Asks the session to end; a pending one has ended when this returns.
    pub fn tell_stop(&self, reason: &'static str) {
        let mut state = sync::lock(&self.state);
        if let Some((mut player, _)) = state.pending.take() {
            player.abort(time::now_us());
            update(&mut state, &player, Some(reason));
            self.wake(&state);
        }
        match &state.inbox {
            // A thread that has ended already needs no telling.
            Some(inbox) => drop(inbox.send(Input::Stop { reason })),
            None if state.client.is_some() => state.stop_asked = Some(reason),
            None => {}
        }
    }

    /// Shuts the socket of a client that is still there, which ends its session.
    pub fn cut(&self) {
        let client = sync::lock(&self.state).client.clone();
        if let Some(client) = client {
            client.shutdown();
        }
    }

    /// Waits until the session has said its last word to its client; whether it has.
    pub fn wait_leaving(&self, deadline: Instant) -> bool {
        let mut state = sync::lock(&self.state);
        loop {
            let leaving = state.leaving || state.client.is_none();
            let left = deadline.saturating_duration_since(Instant::now());
            if leaving || left.is_zero() {
                return leaving;
            }
            state = self.sleep(state, left);
        }
    }

    fn wake(&self, state: &State) {
        if state.waiters > 0 {
            self.change.notify_all();
        }
    }

    fn sleep<'a>(&'a self, mut state: MutexGuard<'a, State>, limit: Duration) -> MutexGuard<'a, State> {
        state.waiters += 1;
        let mut state = sync::wait(&self.change, state, limit);
        state.waiters -= 1;
        state
    }

    /// The session has said its last word; calls find how it ended from now on.
    pub fn leave(&self) {
        let mut state = sync::lock(&self.state);
        state.inbox = None;
        state.leaving = true;
        self.wake(&state);
    }

    /// The client is gone, and the session has ended with it.
    pub fn detach(&self) {
        let mut state = sync::lock(&self.state);
        state.inbox = None;
        state.client = None;
        if !state.view.status.is_ended() {
            // Its thread panicked, or it ended between the claim and the attachment.
            let reason = state.stop_asked.unwrap_or("client_left");
            state.view.status = ReplayStatus::Aborted;
            state.view.status_reason.get_or_insert_with(|| reason.to_owned());
        }
        if state.ended_us.is_none() {
            state.ended_us = Some(time::now_us());
        }
        self.wake(&state);
    }

    /// Waits until `judge` comes to a verdict on how the session stands, at most `limit`; gives the verdict, if there is one, and the view
    /// of that moment.
    pub fn wait<T>(&self, limit: Duration, judge: impl Fn(Standing) -> Option<T>) -> (Option<T>, ReplayView) {
        let deadline = Instant::now() + limit;
        let mut state = sync::lock(&self.state);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let verdict = judge(state.standing());
            if verdict.is_some() || left.is_zero() {
                return (verdict, self.view_of(&state));
            }
            state = self.sleep(state, left);
        }
    }
}

/// A session that a client has claimed. Dropping it ends the session, whatever became of the client.
#[derive(Debug)]
pub struct Seat {
    /// The session.
    pub board: Arc<Board>,
    /// What it replays.
    pub compiled: Arc<Compiled>,
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.board.detach();
    }
}

impl State {
    fn standing(&self) -> Standing {
        Standing { status: self.view.status, waits: self.waits }
    }
}

fn update(state: &mut State, player: &Player, reason: Option<&'static str>) {
    let view = &mut state.view;
    state.waits += u64::from(view.status != ReplayStatus::Waiting && player.status() == ReplayStatus::Waiting);
    view.status = player.status();
    view.current_frame = player.current_frame();
    view.frames_sent = player.frames_sent();
    view.frames_received = player.frames_received();
    if view.error.is_none() {
        view.error = player.error().cloned();
    }
    if let Some(reason) = reason {
        view.status_reason.get_or_insert_with(|| reason.to_owned());
    }
}

#[cfg(test)]
pub(super) mod samples {
    //! Sessions for the tests of this floor.

    use super::*;
    use crate::rules::matching::Matcher;
    use crate::rules::script::samples;

    /// A pending session of a recording with these frames.
    pub fn board(lines: &[(u64, &str)], options: &ReplayOptions) -> (Board, Arc<Compiled>) {
        let script = Arc::new(samples::websocket(lines, None));
        let compiled = Arc::new(Compiled { head: samples::head(Protocol::WebSocket, None), script, redactor: None });
        let player = Box::new(player(&compiled, options));
        (Board::new("01".to_owned(), "/ws".to_owned(), options.clone(), Arc::clone(&compiled), player), compiled)
    }

    /// A player of its recording.
    pub fn player(compiled: &Compiled, options: &ReplayOptions) -> Player {
        let matcher = Matcher::new(options.matching, &[], Vec::new()).unwrap();
        Player::new(Arc::clone(&compiled.script), options.clone(), matcher).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn board() -> (Board, Arc<Compiled>) {
        samples::board(&[], &ReplayOptions::default())
    }

    #[test]
    fn an_ended_session_holds_no_recording() {
        let (board, compiled) = board();
        assert_eq!((Arc::strong_count(&compiled), Arc::strong_count(&compiled.script)), (2, 2));
        board.tell_stop("stopped");
        assert_eq!(board.status(), ReplayStatus::Aborted);
        assert_eq!((Arc::strong_count(&compiled), Arc::strong_count(&compiled.script)), (1, 1));
    }

    #[test]
    fn messages_are_kept_within_their_bound_and_forgotten_whole() {
        let (board, _) = board();
        let payload = vec![b'x'; limits::MAX_KEPT_MESSAGE_BYTES / 4];
        (0..5).for_each(|_| board.add_message(FrameType::Text, &payload, 0));
        board.add_message(FrameType::Text, b"after one that did not fit", 0);
        assert_eq!(board.messages().len(), 3);
        assert!((3 * payload.len()..=limits::MAX_KEPT_MESSAGE_BYTES).contains(&board.message_bytes()));
        board.forget_messages();
        assert_eq!((board.messages().len(), board.message_bytes()), (0, 0));
    }
}
