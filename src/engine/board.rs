//! A replay session as others see it: its figures, its messages, and the way to its inbox. The session's thread writes it, everybody reads it.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::lateness::Histogram;
use super::replays::Compiled;
use super::session::Input;
use crate::base::error::Error;
use crate::base::time::{self, Origin};
use crate::base::{limits, sync};
use crate::model::recording::{FrameType, Protocol};
use crate::model::replay::{ReplayMessage, ReplayOptions, ReplayStatus, ReplayView};
use crate::rules::player::Player;

/// What changes.
#[derive(Debug)]
struct State {
    /// Until a client takes it.
    player: Option<Box<Player>>,
    /// While a client is there.
    inbox: Option<Sender<Input>>,
    /// Ends the thread's socket where it does not end by itself.
    cut: Option<Arc<crate::wire::stream::Stream>>,
    view: ReplayView,
    started: Option<Origin>,
    ended_us: Option<u64>,
    lateness: Histogram,
    messages: Vec<ReplayMessage>,
    message_bytes: usize,
    /// How many threads wait for a change: waking nobody would cost a system call for each frame.
    waiters: usize,
}

/// A session's public side.
#[derive(Debug)]
pub struct Board {
    id: String,
    path: String,
    options: ReplayOptions,
    compiled: Arc<Compiled>,
    state: Mutex<State>,
    change: Condvar,
}

impl Board {
    /// The board of a pending session.
    pub fn new(id: String, path: String, options: ReplayOptions, compiled: Arc<Compiled>, player: Player) -> Self {
        let view = ReplayView {
            id: id.clone(),
            recording_id: compiled.head.id.clone(),
            status: ReplayStatus::Pending,
            status_reason: None,
            error: None,
            mode: options.mode,
            protocol: compiled.head.protocol(),
            path: path.clone(),
            current_frame: 0,
            total_frames: player.total_frames(),
            frames_sent: 0,
            frames_received: 0,
            started_at: None,
            elapsed_ms: 0,
            lateness: Default::default(),
            config: options.to_json(),
        };
        let state = State {
            player: Some(Box::new(player)),
            inbox: None,
            cut: None,
            view,
            started: None,
            ended_us: None,
            lateness: Histogram::default(),
            messages: Vec::new(),
            message_bytes: 0,
            waiters: 0,
        };
        Self { id, path, options, compiled, state: Mutex::new(state), change: Condvar::new() }
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

    /// What it replays.
    pub fn compiled(&self) -> &Compiled {
        &self.compiled
    }

    /// How it stands.
    pub fn status(&self) -> ReplayStatus {
        sync::lock(&self.state).view.status
    }

    /// Whether a client is there.
    pub fn is_connected(&self) -> bool {
        sync::lock(&self.state).inbox.is_some()
    }

    /// Whether a client that asks like this is its client.
    pub fn is_for(&self, protocol: Protocol, path: &str, method: &str) -> bool {
        self.path == path
            && self.compiled.head.protocol() == protocol
            && self.compiled.request().is_none_or(|request| request.method.eq_ignore_ascii_case(method))
    }

    /// The answer of `GET /replay/{id}`.
    pub fn view(&self) -> ReplayView {
        let state = sync::lock(&self.state);
        let mut view = state.view.clone();
        if let Some(started) = state.started {
            view.elapsed_ms = started.relative_us(state.ended_us.unwrap_or_else(time::now_us)) / 1000;
        }
        view.lateness = state.lateness.figures();
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

    /// Takes the player of a pending session; the caller is its client's thread from now on.
    pub fn claim(&self) -> Option<Box<Player>> {
        sync::lock(&self.state).player.take()
    }

    /// The client has come: calls reach the session by `inbox` from now on.
    pub fn attach(&self, inbox: Sender<Input>, cut: Arc<crate::wire::stream::Stream>, started: Origin, player: &Player) {
        let mut state = sync::lock(&self.state);
        state.inbox = Some(inbox);
        state.cut = Some(cut);
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
        if state.messages.len() >= limits::MAX_KEPT_MESSAGES || state.message_bytes + payload.len() > limits::MAX_KEPT_MESSAGE_BYTES {
            return;
        }
        state.message_bytes += payload.len();
        let (data, kind) = match kind {
            FrameType::Binary => (data_encoding::BASE64.encode(payload), "binary"),
            _ => (String::from_utf8_lossy(payload).into_owned(), "text"),
        };
        state.messages.push(ReplayMessage { data, kind: kind.to_owned(), relative_us, step: None, matched: None });
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

    /// Hands an input to the session's thread.
    pub fn tell(&self, input: Input) -> Result<(), ()> {
        let state = sync::lock(&self.state);
        state.inbox.as_ref().ok_or(())?.send(input).map_err(|_| ())
    }

    /// Ends the session, and its client where there is one.
    pub fn stop(&self, reason: &'static str) {
        self.tell_stop(reason);
        self.wait_gone(Duration::from_millis(limits::CLOSE_GRACE_MS));
    }

    /// Asks the session to end; a pending one has ended when this returns.
    pub fn tell_stop(&self, reason: &'static str) {
        let mut state = sync::lock(&self.state);
        if let Some(mut player) = state.player.take() {
            player.abort(time::now_us());
            update(&mut state, &player, Some(reason));
            self.wake(&state);
        }
        if let Some(inbox) = &state.inbox {
            // A thread that has ended already needs no telling.
            drop(inbox.send(Input::Stop { reason }));
        }
    }

    /// Waits until the session's thread has ended; after `limit` its socket is shut, so that it does.
    pub fn wait_gone(&self, limit: Duration) {
        let deadline = Instant::now() + limit;
        let mut state = sync::lock(&self.state);
        while state.inbox.is_some() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                if let Some(stream) = &state.cut {
                    stream.shutdown();
                }
                return;
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

    /// The session's thread has ended.
    pub fn detach(&self) {
        let mut state = sync::lock(&self.state);
        state.inbox = None;
        state.cut = None;
        if !state.view.status.is_ended() {
            // Its thread panicked, or the client left between the claim and the attachment.
            state.view.status = ReplayStatus::Aborted;
            state.view.status_reason.get_or_insert_with(|| "client_left".to_owned());
        }
        if state.ended_us.is_none() {
            state.ended_us = Some(time::now_us());
        }
        self.wake(&state);
    }

    /// Waits until `reached` holds of the status, at most `limit`; whether it does.
    pub fn wait(&self, limit: Duration, reached: impl Fn(ReplayStatus) -> bool) -> bool {
        let deadline = Instant::now() + limit;
        let mut state = sync::lock(&self.state);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if reached(state.view.status) || left.is_zero() {
                return reached(state.view.status);
            }
            state = self.sleep(state, left);
        }
    }
}

fn update(state: &mut State, player: &Player, reason: Option<&'static str>) {
    let view = &mut state.view;
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
