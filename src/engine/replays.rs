//! The registry of replay sessions: pending, running, and the last ended ones. It finds sessions and hands calls to them;
//! what a session does stands in `session.rs`, how it shows itself in `board.rs`.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use super::board::{Board, Seat, Standing};
use super::compiled::{self, Compiled};
use super::inbox::{Input, Reply};
use crate::base::error::{Error, Result};
use crate::base::{id, limits, sync, text};
use crate::model::recording::Protocol;
use crate::model::replay::{
    Advance, Advanced, CloseRequest, Injection, Mode, ReplayCreated, ReplayMessage, ReplayOptions, ReplayStatus, ReplayView, WaitFor,
};
use crate::rules::matching::Matcher;
use crate::rules::player::Player;
use crate::rules::redact::Redactor;
use crate::store::Store;
use crate::wire::stream::Stream;

/// Whether somebody still waits for the answer to a call.
pub type Wanted<'a> = &'a dyn Fn() -> bool;

/// How long a call waits before it asks again whether it is wanted.
const LOOK_UP: Duration = Duration::from_secs(1);

/// What a client of the mock port finds.
#[derive(Debug)]
pub enum Claim {
    /// A pending session, now its own.
    Session(Seat, Box<Player>),
    /// None, but one has ended on this path.
    Ended,
    /// None.
    Nothing,
}

/// A client's request, as far as claiming a session goes.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The protocol that it speaks.
    pub protocol: Protocol,
    /// The path as sent.
    pub path: &'a str,
    /// The method.
    pub method: &'a str,
    /// It names the last event that it has seen.
    pub resumes: bool,
    /// Its connection.
    pub client: &'a Arc<Stream>,
}

/// All replay sessions. Every id may be a prefix.
#[derive(Debug)]
pub struct Replays {
    store: Arc<Store>,
    redactor: Arc<Redactor>,
    mock_address: SocketAddr,
    max_pending: usize,
    boards: Mutex<BTreeMap<String, Arc<Board>>>,
    compiled: Mutex<HashMap<String, Weak<Compiled>>>,
}

impl Replays {
    /// No session yet.
    pub fn new(store: Arc<Store>, redactor: Arc<Redactor>, mock_address: SocketAddr, max_pending: u64) -> Self {
        let max_pending = usize::try_from(max_pending).unwrap_or(usize::MAX);
        Self { store, redactor, mock_address, max_pending, boards: Mutex::default(), compiled: Mutex::default() }
    }

    /// Makes a pending session for a recording (id or prefix).
    ///
    /// # Errors
    /// Not found (soft-deleted too), `still_recording`, `corrupted`, too many pending ones.
    pub fn create(&self, recording: &str, options: ReplayOptions) -> Result<ReplayCreated> {
        let compiled = self.compile(&self.store.resolve(recording)?)?;
        let player = self.player(&compiled, &options)?;
        let total_frames = player.total_frames();
        let path = options.path.clone().unwrap_or_else(|| compiled.head.metadata.path.clone());
        let recording_id = compiled.head.id.clone();
        let board = Arc::new(Board::new(id::new(), path.clone(), options, compiled, player));
        {
            let mut boards = sync::lock(&self.boards);
            forget_old(&mut boards);
            if boards.values().filter(|board| board.is_pending()).count() >= self.max_pending {
                return Err(Error::TooMany(format!(
                    "{} replay sessions wait for their clients already; connect to them, delete some, or raise --max-pending-replays",
                    self.max_pending
                )));
            }
            boards.insert(board.id().to_owned(), Arc::clone(&board));
        }
        let protocol = board.protocol();
        let scheme = if protocol == Protocol::WebSocket { "ws" } else { "http" };
        let url = format!("{scheme}://{}{path}", self.mock_address);
        Ok(ReplayCreated {
            id: board.id().to_owned(),
            replay_id: board.id().to_owned(),
            session_id: board.id().to_owned(),
            recording_id,
            protocol,
            mode: board.options().mode,
            status: ReplayStatus::Pending,
            session_url: format!("{url}?mockd-replay={}", board.id()),
            url,
            path,
            total_frames,
            config: board.options().to_json(),
        })
    }

    /// Makes a session of a replay mock for a client that is there: its own from the beginning, never pending. `path` is the one that
    /// the client came to.
    ///
    /// # Errors
    /// A JSONPath in the options; those of a mock that was read are right.
    // What is built here passes over the stack in pieces of hundreds of bytes, which would else lie in the frame below the session for as
    // long as it lasts.
    #[inline(never)]
    pub fn open(
        &self,
        mock: &str,
        path: &str,
        compiled: Arc<Compiled>,
        options: ReplayOptions,
        client: &Arc<Stream>,
    ) -> Result<(Seat, Box<Player>)> {
        let player = self.player(&compiled, &options)?;
        let seat = Board::of_mock(mock, path, options, compiled, &player, client);
        let mut boards = sync::lock(&self.boards);
        forget_old(&mut boards);
        boards.insert(seat.board.id().to_owned(), Arc::clone(&seat.board));
        Ok((seat, player))
    }

    /// Active sessions, or all; oldest first.
    pub fn list(&self, all: bool) -> Vec<ReplayView> {
        let boards = self.kept();
        boards.iter().map(|board| board.view()).filter(|view| all || !view.status.is_ended()).collect()
    }

    /// One session.
    ///
    /// # Errors
    /// Not found, ambiguous.
    pub fn view(&self, prefix: &str) -> Result<ReplayView> {
        Ok(self.find(prefix)?.view())
    }

    /// The protocol of a session, which its injections are read by.
    ///
    /// # Errors
    /// Not found, ambiguous.
    pub fn protocol(&self, prefix: &str) -> Result<Protocol> {
        Ok(self.find(prefix)?.protocol())
    }

    /// Waits until the session is as asked: `Ok(Ok(view))`; or `Ok(Err(view))` when the time is up, or when the session has
    /// ended otherwise and never will be, so that nobody takes it for what was asked. One that is no longer wanted ends within a second.
    ///
    /// # Errors
    /// Not found, ambiguous.
    pub fn wait(
        &self,
        prefix: &str,
        until: WaitFor,
        limit: Duration,
        wanted: Wanted<'_>,
    ) -> Result<std::result::Result<ReplayView, ReplayView>> {
        let board = self.find(prefix)?;
        let (is_so, view) = await_asked(&board, until, limit, wanted);
        Ok(if is_so { Ok(view) } else { Err(view) })
    }

    /// What the client sent.
    ///
    /// # Errors
    /// Not found, ambiguous.
    pub fn messages(&self, prefix: &str) -> Result<Vec<ReplayMessage>> {
        Ok(self.find(prefix)?.messages())
    }

    /// Sends steps; answers when they are written. May wait up to the session's timeout, and for as long as it is wanted.
    ///
    /// # Errors
    /// `wrong_mode`, `no_client`, `client_stalled`, `until_not_found`, `replay_ended`.
    pub fn advance(&self, prefix: &str, advance: &Advance, wanted: Wanted<'_>) -> Result<Advanced> {
        let board = self.find(prefix)?;
        if board.options().mode != Mode::Triggered {
            return Err(board.forbidden("wrong_mode", "advance works in triggered mode"));
        }
        let limit = match board.options().timeout_ms {
            0 => Duration::from_secs(u64::from(u32::MAX)),
            ms => Duration::from_millis(ms),
        };
        await_verdict(&board, limit, wanted, |standing| (standing.status != ReplayStatus::Pending).then_some(()));
        // What nobody waits for is not sent.
        if !wanted() {
            return Err(nobody_waits());
        }
        if board.status() == ReplayStatus::Pending {
            let message = format!("no client came to {} within {} ms; connect one, then advance", board.path(), limit.as_millis());
            return Err(Error::conflict("no_client", message));
        }
        let (reply, answer) = channel();
        if board.tell(Input::Advance { advance: advance.clone(), reply }) {
            match await_reply(&answer, limit, wanted)? {
                Ok(answer) => return answer,
                Err(RecvTimeoutError::Timeout) => {
                    let message = format!("the client did not take the bytes within {} ms", limit.as_millis());
                    return Err(Error::conflict("client_stalled", message));
                }
                Err(RecvTimeoutError::Disconnected) => {}
            }
        }
        // The session's thread has ended: what it left says how.
        let view = board.view();
        if view.status == ReplayStatus::Complete {
            let (current_frame, total_frames) = (view.current_frame, view.total_frames);
            return Ok(Advanced { frames_sent: 0, current_frame, total_frames, status: view.status, complete: true });
        }
        Err(board.forbidden("replay_ended", "nothing more is sent"))
    }

    /// Stops the clock.
    ///
    /// # Errors
    /// `wrong_mode`, `not_playing` while pending, `replay_ended`.
    pub fn pause(&self, prefix: &str, wanted: Wanted<'_>) -> Result<ReplayView> {
        self.steer(prefix, Some("pause works in pure mode"), wanted, |reply| Input::Pause { reply })
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// As [`Replays::pause`].
    pub fn resume(&self, prefix: &str, wanted: Wanted<'_>) -> Result<ReplayView> {
        self.steer(prefix, Some("resume works in pure mode"), wanted, |reply| Input::Resume { reply })
    }

    /// Sends something between two steps.
    ///
    /// # Errors
    /// `not_playing` while pending, `replay_ended` where no client is there any more.
    pub fn inject(&self, prefix: &str, injection: Injection, wanted: Wanted<'_>) -> Result<ReplayView> {
        self.steer(prefix, None, wanted, |reply| Input::Inject { injection, reply })
    }

    /// Drops the client now.
    ///
    /// # Errors
    /// As [`Replays::inject`].
    pub fn close(&self, prefix: &str, request: CloseRequest, wanted: Wanted<'_>) -> Result<ReplayView> {
        self.steer(prefix, None, wanted, |reply| Input::Close { request, reply })
    }

    /// Ends the session; its client gets 1001, or its event stream ends. An ended one stays as it is.
    ///
    /// # Errors
    /// Not found, ambiguous.
    pub fn stop(&self, prefix: &str) -> Result<()> {
        stop(&[self.find(prefix)?], "stopped");
        Ok(())
    }

    /// Ends all sessions.
    pub fn stop_all(&self) {
        let boards: Vec<Arc<Board>> = sync::lock(&self.boards).values().cloned().collect();
        stop(&boards, "server_ended");
    }

    /// The oldest pending session for a client, if there is one.
    pub fn claim(&self, asked: Asked<'_>) -> Claim {
        let boards = sync::lock(&self.boards);
        let mut ended = false;
        for board in boards.values() {
            if board.is_for(asked.protocol, asked.path, asked.method)
                && let Some((seat, player)) = board.claim(asked.client)
            {
                return Claim::Session(seat, player);
            }
            // An EventSource asks again by GET, also where the stream that ended was one of a POST.
            // A replay mock takes up its own clients again.
            ended |= asked.resumes && !board.is_of_mock() && board.path() == asked.path && board.has_played(asked.protocol);
        }
        if ended { Claim::Ended } else { Claim::Nothing }
    }

    /// The session that a client names.
    ///
    /// # Errors
    /// Not found; `not_pending`, `wrong_path`, `wrong_protocol`.
    pub fn claim_named(&self, prefix: &str, asked: Asked<'_>) -> Result<Claim> {
        let board = self.find(prefix).map_err(|error| match error {
            // What cannot be an id is the id of no session.
            Error::Invalid { .. } => Error::NotFound { kind: "replay", id: text::shorten(prefix, 64).into_owned() },
            other => other,
        })?;
        if board.path() != asked.path {
            let message = format!("the replay session {} is on {}, not on {}", board.id(), board.path(), asked.path);
            return Err(Error::conflict("wrong_path", message));
        }
        if asked.resumes && board.has_played(asked.protocol) {
            return Ok(Claim::Ended);
        }
        if !board.is_for(asked.protocol, asked.path, asked.method) {
            let message = format!("the replay session {} is for {} by {}", board.id(), board.protocol().word(), board.method());
            return Err(Error::conflict("wrong_protocol", message));
        }
        match board.claim(asked.client) {
            Some((seat, player)) => Ok(Claim::Session(seat, player)),
            None => Err(board.forbidden("not_pending", "it takes no further client")),
        }
    }

    /// Whether a pending session of this protocol is on this path, or on one that this pattern takes.
    pub fn serves(&self, protocol: Protocol, path: &str) -> bool {
        let boards = sync::lock(&self.boards);
        boards
            .values()
            .any(|board| board.is_pending() && board.protocol() == protocol && crate::rules::pattern::matches(path, board.path()))
    }

    /// Whether a pending session takes a client that asks for this path by this method.
    pub fn awaits(&self, protocol: Protocol, path: &str, method: &str) -> bool {
        sync::lock(&self.boards).values().any(|board| board.is_pending() && board.is_for(protocol, path, method))
    }

    /// Whether a session is on this path, one of a replay mock aside: one that has not ended, or (`ended`) any.
    pub fn is_on(&self, path: &str, ended: bool) -> bool {
        let is_meant = |board: &Arc<Board>| board.path() == path && !board.is_of_mock() && (ended || !board.status().is_ended());
        sync::lock(&self.boards).values().any(is_meant)
    }

    /// How many sessions have clients.
    pub fn active(&self) -> u64 {
        sync::lock(&self.boards).values().filter(|board| board.is_connected()).count() as u64
    }

    /// Whether a client has closed its side of a session that has not ended.
    pub fn has_departed(&self) -> bool {
        self.kept().iter().any(|board| board.has_departed())
    }

    /// How many sessions wait for a client.
    pub fn pending(&self) -> u64 {
        sync::lock(&self.boards).values().filter(|board| board.is_pending()).count() as u64
    }

    /// All that are there; of the ended ones the last only.
    fn kept(&self) -> Vec<Arc<Board>> {
        let mut boards = sync::lock(&self.boards);
        forget_old(&mut boards);
        boards.values().cloned().collect()
    }

    fn find(&self, prefix: &str) -> Result<Arc<Board>> {
        let boards = sync::lock(&self.boards);
        let id = id::resolve("replay", prefix, boards.keys().map(String::as_str))?;
        boards.get(&id).cloned().ok_or(Error::NotFound { kind: "replay", id })
    }

    /// Hands an input to a session that has a client, and waits for its answer.
    fn steer(&self, prefix: &str, pure_only: Option<&str>, wanted: Wanted<'_>, input: impl FnOnce(Reply) -> Input) -> Result<ReplayView> {
        let board = self.find(prefix)?;
        if let Some(what) = pure_only.filter(|_| board.options().mode != Mode::Pure) {
            return Err(board.forbidden("wrong_mode", what));
        }
        if board.status() == ReplayStatus::Pending {
            return Err(board.forbidden("not_playing", "no client has come yet"));
        }
        let (reply, answer) = channel();
        if !board.tell(input(reply)) {
            return Err(board.forbidden("replay_ended", "its client is gone"));
        }
        match await_reply(&answer, Duration::MAX, wanted)? {
            Ok(answer) => answer.map(|()| board.view()),
            Err(_) => Err(board.forbidden("replay_ended", "its client is gone")),
        }
    }

    fn player(&self, compiled: &Compiled, options: &ReplayOptions) -> Result<Box<Player>> {
        let mut redactors: Vec<Arc<Redactor>> = compiled.redactor.iter().cloned().collect();
        redactors.push(Arc::clone(&self.redactor));
        let matcher = Matcher::new(options.matching, &options.ignore, redactors)?;
        Ok(Box::new(Player::new(Arc::clone(&compiled.script), options.clone(), matcher)?))
    }

    fn compile(&self, id: &str) -> Result<Arc<Compiled>> {
        compiled::check_replayable(&self.store, id)?;
        if let Some(known) = sync::lock(&self.compiled).get(id).and_then(Weak::upgrade) {
            return Ok(known);
        }
        let compiled = Arc::new(Compiled::read(&self.store.open(id)?)?);
        let mut known = sync::lock(&self.compiled);
        known.retain(|_, weak| weak.strong_count() > 0);
        known.insert(id.to_owned(), Arc::downgrade(&compiled));
        Ok(compiled)
    }
}

/// Waits until a session is as asked, or has ended otherwise; whether it is, and how it stands at that moment.
fn await_asked(board: &Board, until: WaitFor, limit: Duration, wanted: Wanted<'_>) -> (bool, ReplayView) {
    let before = board.standing().waits;
    let judge = |standing: Standing| {
        let holds = until.holds(standing.status, standing.waits > before);
        (holds || standing.status.is_ended()).then_some(holds)
    };
    let (verdict, view) = await_verdict(board, limit, wanted, judge);
    (verdict == Some(true), view)
}

/// Waits as [`Board::wait`] does, and for as long as somebody wants to know.
fn await_verdict<T>(board: &Board, limit: Duration, wanted: Wanted<'_>, judge: impl Fn(Standing) -> Option<T>) -> (Option<T>, ReplayView) {
    let begun = Instant::now();
    loop {
        let left = limit.saturating_sub(begun.elapsed());
        let (verdict, view) = board.wait(left.min(LOOK_UP), &judge);
        if verdict.is_some() || left <= LOOK_UP || !wanted() {
            return (verdict, view);
        }
    }
}

/// Waits for a session's answer, at most `limit`.
///
/// # Errors
/// Nobody wants it any more.
fn await_reply<T>(answer: &Receiver<T>, limit: Duration, wanted: Wanted<'_>) -> Result<std::result::Result<T, RecvTimeoutError>> {
    let begun = Instant::now();
    loop {
        let left = limit.saturating_sub(begun.elapsed());
        match answer.recv_timeout(left.min(LOOK_UP)) {
            Err(RecvTimeoutError::Timeout) if !wanted() => return Err(nobody_waits()),
            Err(RecvTimeoutError::Timeout) if left > LOOK_UP => {}
            answered => return Ok(answered),
        }
    }
}

/// For a log at most: the caller has left, or the server ends.
fn nobody_waits() -> Error {
    Error::conflict("replay_ended", "nobody waits for this call any more, or the server is ending".to_owned())
}

/// Ends sessions together: each may say goodbye to its client, and is cut off where that takes too long.
fn stop(boards: &[Arc<Board>], reason: &'static str) {
    let grace = || Instant::now() + Duration::from_millis(limits::CLOSE_GRACE_MS);
    for board in boards {
        board.tell_stop(reason);
    }
    let deadline = grace();
    let late: Vec<_> = boards.iter().filter(|board| !board.wait_leaving(deadline)).collect();
    for board in &late {
        board.cut();
    }
    let deadline = grace();
    for board in late {
        board.wait_leaving(deadline);
    }
}

/// Keeps the last ended sessions only, and of their clients' messages the last that fit the bound over all of them.
fn forget_old(boards: &mut BTreeMap<String, Arc<Board>>) {
    let ended: Vec<Arc<Board>> = boards.values().filter(|board| board.is_over()).cloned().collect();
    let (gone, kept) = ended.split_at(ended.len().saturating_sub(limits::MAX_ENDED_REPLAYS));
    for board in gone {
        boards.remove(board.id());
    }
    let mut bytes = 0;
    for board in kept.iter().rev() {
        bytes += board.message_bytes();
        if bytes > limits::MAX_ENDED_MESSAGE_BYTES {
            board.forget_messages();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::board::samples;
    use super::*;
    use crate::model::recording::FrameType;

    /// Trap: a client that answers at once ends the waiting before the call, which has been woken, looks again.
    #[test]
    fn a_waiting_that_is_over_at_once_is_not_missed() {
        let options = ReplayOptions { mode: Mode::Synchronized, ..ReplayOptions::default() };
        for (ends, status) in [(false, ReplayStatus::Playing), (true, ReplayStatus::Aborted)] {
            let (board, compiled) = samples::board(&[(0, "c2s text a"), (1, "s2c text b")], &options);
            // It happens between two looks at the session.
            let meanwhile = || {
                let mut player = samples::player(&compiled, &options);
                player.start(0);
                board.publish(&player, None);
                player.client(FrameType::Text, b"a", 1);
                board.publish(&player, None);
                if ends {
                    board.tell_stop("stopped");
                }
                true
            };
            let (is_so, view) = await_asked(&board, WaitFor::Waiting, 5 * LOOK_UP, &meanwhile);
            assert_eq!((is_so, view.status), (true, status));
        }
    }

    #[test]
    fn a_waiting_before_the_call_is_none_that_it_waits_for() {
        let options = ReplayOptions { mode: Mode::Synchronized, ..ReplayOptions::default() };
        let (board, compiled) = samples::board(&[(0, "c2s text a"), (1, "s2c text b")], &options);
        let mut player = samples::player(&compiled, &options);
        let asked = || {
            let (is_so, view) = await_asked(&board, WaitFor::Waiting, Duration::ZERO, &|| true);
            (is_so, view.status)
        };
        assert_eq!(asked(), (false, ReplayStatus::Pending));
        player.start(0);
        board.publish(&player, None);
        assert_eq!(asked(), (true, ReplayStatus::Waiting));
        player.client(FrameType::Text, b"a", 1);
        board.publish(&player, None);
        assert_eq!(asked(), (false, ReplayStatus::Playing));
    }
}
