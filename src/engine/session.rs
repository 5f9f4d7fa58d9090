//! A replay session's thread: it hears everything through one inbox, asks the player what to do, and alone writes to its client.
//! The rules stand in `rules/player.rs`; here are the clock and the inbox; the socket is a [`Line`]'s.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use std::time::Duration;

use super::board::Board;
use super::inbox::{Input, Reply, Taken};
use super::line::{Delivery, Line, Over, Progress};
use crate::base::error::Result;
use crate::base::{limits, time};
use crate::model::recording::FrameType;
use crate::model::replay::{Advanced, Injection, ReplayStatus};
use crate::rules::player::{Finale, Player, Ticket, Turn};
use crate::rules::script::Script;
use crate::wire::stream::Stream;
use crate::wire::ws::{self, opcode};

/// What goes out: bytes of the shared script by their place, or bytes of this session's own.
enum Bytes {
    Script(std::ops::Range<usize>),
    Own(Vec<u8>),
}

/// What a session is made of.
#[derive(Debug)]
pub struct Parts {
    /// Its public side.
    pub board: Arc<Board>,
    /// What its player plays.
    pub script: Arc<Script>,
    /// Its rules.
    pub player: Box<Player>,
    /// Its client.
    pub line: Line,
    /// Its ear.
    pub inbox: Receiver<Input>,
    /// What came out of that, for the reader's limit.
    pub taken: Taken,
}

/// A session under way.
struct Session {
    parts: Parts,
    /// Monotonic time of the start, for the times of messages.
    started_us: u64,
    /// Advances whose steps are not all written.
    tickets: VecDeque<(Ticket, Sender<Result<Advanced>>)>,
    /// Control frames and injections that go out before the next step.
    between: Vec<u8>,
    /// Injections that are answered when `between` is out.
    injected: Vec<Reply>,
    over: Option<Over>,
    /// What the board shows, so that it is locked only where something is new.
    shown: Option<Shown>,
}

/// What the board shows of a player: its status, whether it is in error, steps passed, steps sent, messages received.
type Shown = (ReplayStatus, bool, u64, u64, u64);

/// Runs a session whose client has come, until its connection ends. The player has been started.
pub fn run(parts: Parts, started_us: u64) {
    let _end = OnEnd { board: Arc::clone(&parts.board), stream: Arc::clone(parts.line.stream()) };
    let (tickets, between, injected) = (VecDeque::new(), Vec::new(), Vec::new());
    let mut session = Session { parts, started_us, tickets, between, injected, over: None, shown: None };
    session.play();
    session.leave();
}

/// Ends the connection with the thread, also with one that panics.
struct OnEnd {
    board: Arc<Board>,
    stream: Arc<Stream>,
}

impl Drop for OnEnd {
    fn drop(&mut self) {
        self.stream.shutdown();
        self.board.detach();
    }
}

impl Session {
    fn play(&mut self) {
        while self.over.is_none() {
            self.hear();
            if self.over.is_some() || !self.send_between() || !self.send_head() {
                continue;
            }
            let now = time::now_us();
            let turn = if self.waits_for_head() { self.head_turn() } else { self.parts.player.next(now) };
            match turn {
                Turn::Write { range, due_us } => self.write_steps(Bytes::Script(range), due_us),
                Turn::WriteOwned { bytes, due_us } => self.write_steps(Bytes::Own(bytes), due_us),
                Turn::Sleep { until_us } => self.sleep(until_us),
                Turn::Wait => self.listen(),
                Turn::End(finale) => self.end(finale),
            }
        }
    }

    /// Takes in what is in the inbox, without waiting. What comes after the end is dropped in [`Line::await_client`].
    fn hear(&mut self) {
        while self.over.is_none() {
            match self.parts.inbox.try_recv() {
                Ok(input) => self.take_in(input),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => {
                    self.over = Some(Over::Gone);
                }
            }
        }
        self.publish(None);
    }

    /// Waits for the inbox until `until_us`.
    fn sleep(&mut self, until_us: u64) {
        self.publish(None);
        let left = until_us.saturating_sub(time::now_us());
        if left == 0 {
            return;
        }
        match self.parts.inbox.recv_timeout(Duration::from_micros(left)) {
            Ok(input) => self.take_in(input),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.over = Some(Over::Gone),
        }
    }

    /// Waits for the inbox.
    fn listen(&mut self) {
        self.publish(None);
        match self.parts.inbox.recv() {
            Ok(input) => self.take_in(input),
            Err(_) => self.over = Some(Over::Gone),
        }
    }

    fn take_in(&mut self, input: Input) {
        let now = time::now_us();
        self.parts.taken.add(&input);
        let player = &mut self.parts.player;
        match input {
            Input::Message(kind, payload) => {
                self.parts.board.add_message(kind, &payload, now.saturating_sub(self.started_us));
                player.client(kind, &payload, now);
            }
            // A client that pings and takes nothing may be owed no more than this (RFC 6455 §5.5.3 lets pongs be left out).
            Input::Ping(payload) if self.between.len() < limits::READ_BYTES => {
                ws::push_frame(&mut self.between, opcode::PONG, &payload, None);
            }
            // An unasked pong needs no answer (RFC 6455 §5.5.3).
            Input::Ping(_) | Input::Pong => {}
            Input::ClientClose(code, reason) => self.over = Some(Over::ClientClosed(code, reason)),
            Input::Violation(code, reason) => {
                self.abort("protocol_error");
                self.over = Some(Over::Broken(code, reason));
            }
            Input::Gone => self.over = Some(Over::Gone),
            Input::Advance { advance, reply } => match player.advance(&advance) {
                Ok(ticket) => {
                    self.tickets.push_back((ticket, reply));
                    self.answer_tickets();
                }
                Err(error) => answer(&reply, Err(error)),
            },
            Input::Pause { reply } => {
                let paused = player.pause(now);
                self.publish(None);
                answer(&reply, paused);
            }
            Input::Resume { reply } => {
                let resumed = player.resume(now);
                self.publish(None);
                answer(&reply, resumed);
            }
            Input::Inject { injection, reply } => {
                self.push_injection(&injection);
                self.injected.push(reply);
            }
            Input::Close { request, reply } => {
                player.abort(now);
                self.publish(Some("closed_by_api"));
                self.over = Some(Over::Ours((!request.abrupt).then_some((Some(request.code), request.reason))));
                answer(&reply, Ok(()));
            }
            Input::Stop { reason } => {
                self.abort(reason);
                self.over = Some(Over::Ours(Some((Some(1001), "the replay was stopped".to_owned()))));
            }
        }
    }

    /// Ends what has not ended; an end that was reached before keeps its word, and needs no reason.
    fn abort(&mut self, reason: &'static str) {
        self.parts.player.abort(time::now_us());
        self.publish((self.parts.player.status() == ReplayStatus::Aborted).then_some(reason));
    }

    fn push_injection(&mut self, injection: &Injection) {
        match injection {
            Injection::Frame { kind, payload } => {
                let opcode = match kind {
                    FrameType::Binary => opcode::BINARY,
                    FrameType::Ping => opcode::PING,
                    FrameType::Pong => opcode::PONG,
                    FrameType::Text | FrameType::Close => opcode::TEXT,
                };
                ws::push_frame(&mut self.between, opcode, payload, None);
            }
            Injection::Event(event) => self.between.extend(event.canonical()),
        }
    }

    /// Sends control frames and injections; `false` when the session is over.
    fn send_between(&mut self) -> bool {
        if self.between.is_empty() {
            return true;
        }
        if self.waits_for_head() && !self.send_head_now() {
            return false;
        }
        let bytes = std::mem::take(&mut self.between);
        let written = self.write(&Bytes::Own(bytes), false);
        if written {
            self.injected.drain(..).for_each(|reply| answer(&reply, Ok(())));
        }
        written
    }

    fn waits_for_head(&self) -> bool {
        self.parts.line.waits_for_head()
    }

    /// SSE: sends the response head when it is due; `false` when the session is over.
    fn send_head(&mut self) -> bool {
        let due = self.parts.player.head_due_us();
        if !self.waits_for_head() || self.parts.player.status() == ReplayStatus::Paused || due.is_some_and(|due| time::now_us() < due) {
            return true;
        }
        self.send_head_now()
    }

    fn send_head_now(&mut self) -> bool {
        match self.parts.line.deliver_head() {
            Some(head) => self.carry(head, true),
            None => true,
        }
    }

    /// What to do while the head is not due.
    fn head_turn(&self) -> Turn {
        match self.parts.player.head_due_us() {
            Some(until_us) if self.parts.player.status() != ReplayStatus::Paused => Turn::Sleep { until_us },
            _ => Turn::Wait,
        }
    }

    fn write_steps(&mut self, bytes: Bytes, due_us: Option<u64>) {
        let late_us = due_us.map(|due_us| time::now_us().saturating_sub(due_us));
        let written = self.write(&bytes, true);
        // Behind the write, which nothing is to hold up.
        if let Some(late_us) = late_us {
            self.parts.board.add_lateness(late_us);
        }
        if written {
            self.parts.player.written(time::now_us());
            if let Bytes::Own(own) = bytes {
                self.parts.player.give_back(own);
            }
            self.publish(None);
            self.answer_tickets();
        }
    }

    /// Answers every advance whose steps are all written.
    fn answer_tickets(&mut self) {
        let player = &self.parts.player;
        while let Some((ticket, _)) = self.tickets.front() {
            if player.current_frame() < ticket.upto {
                return;
            }
            let frames_sent = ticket.upto - ticket.from;
            if let Some((ticket, reply)) = self.tickets.pop_front() {
                let total_frames = player.total_frames();
                let status = match player.status() {
                    // One write may serve several calls; only the last of them saw the end.
                    ReplayStatus::Complete if ticket.upto < total_frames => ReplayStatus::Playing,
                    status => status,
                };
                let complete = status == ReplayStatus::Complete;
                let advanced = Advanced { frames_sent, current_frame: ticket.upto, total_frames, status, complete };
                answer(&reply, Ok(advanced));
            }
        }
    }

    /// Ends the connection as the player says.
    fn end(&mut self, finale: Finale) {
        self.parts.player.written(time::now_us());
        self.over = Some(Over::from(finale));
    }

    /// Says goodbye as it was decided, and waits a moment for the client's.
    fn leave(&mut self) {
        let over = self.over.take().unwrap_or(Over::Gone);
        if self.parts.line.leave(&over, std::mem::take(&mut self.between)) {
            self.parts.player.written(time::now_us());
        }
        self.abort("client_left");
        self.answer_tickets();
        // Whoever asked for more finds on the board how it ended.
        self.parts.board.leave();
        self.tickets.clear();
        self.injected.clear();
        self.parts.line.await_client(&over, &self.parts.inbox);
    }

    /// Writes bytes of the stream; `false` when the session is over. While paused, steps wait.
    fn write(&mut self, bytes: &Bytes, steps: bool) -> bool {
        let script = Arc::clone(&self.parts.script);
        let bytes = match bytes {
            Bytes::Script(range) => script.bytes.get(range.clone()).unwrap_or_default(),
            Bytes::Own(own) => own,
        };
        self.carry(self.parts.line.deliver(bytes), steps)
    }

    /// Writes all of a delivery, hearing the inbox where the client does not take it at once.
    fn carry(&mut self, mut delivery: Delivery<'_>, steps: bool) -> bool {
        loop {
            match delivery.go_on() {
                Progress::Done => return true,
                Progress::Moving | Progress::Full => self.hear(),
                Progress::Gone => self.over = Some(Over::Gone),
                Progress::Stalled => {
                    self.abort("client_stalled");
                    self.over = Some(Over::Ours(None));
                }
            }
            while steps && self.over.is_none() && self.parts.player.status() == ReplayStatus::Paused {
                self.listen();
                delivery.forgive();
            }
            if self.over.is_some() {
                self.parts.line.give_up(&delivery);
                return false;
            }
        }
    }

    /// Shows the figures on the board.
    fn publish(&mut self, reason: Option<&'static str>) {
        let judged = self.parts.player.take_judged();
        if !judged.is_empty() {
            self.parts.board.judge(&judged);
        }
        self.parts.taken.settle(self.parts.player.queued());
        let player = &self.parts.player;
        let now = (player.status(), player.error().is_some(), player.current_frame(), player.frames_sent(), player.frames_received());
        if reason.is_some() || self.shown != Some(now) {
            self.shown = Some(now);
            self.parts.board.publish(player, reason);
        }
    }
}

/// Answers a call; a caller that has gone needs none.
fn answer<T>(reply: &Sender<T>, value: T) {
    drop(reply.send(value));
}
