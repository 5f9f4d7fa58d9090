//! The player: one state machine for all modes and both protocols; inputs in, turns out, the clock an argument.
//!
//! The session (a thread above) calls `next` until there is nothing to do, writes what it is told, says `written`, sleeps or
//! waits as told, and hands over inputs as they come. The player never blocks and never reads a clock.

mod dialogue;
mod ending;
mod sending;
mod turn;

use std::collections::VecDeque;
use std::sync::Arc;

use super::correlate::Correlator;
use super::matching::{self, Matcher};
use super::pace::{Mark, Pace};
use super::performance::Backlog;
use super::script::{Entry, ItemKind, Script};
use crate::base::error::{Error, Result};
use crate::base::text;
use crate::model::recording::{FrameType, Protocol};
use crate::model::replay::{Advance, Mode, OnEnd, ReplayError, ReplayOptions, ReplayStatus};

pub use turn::{Finale, Ticket, Turn};

/// A place in the script.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    /// The next entry.
    entry: usize,
    /// Steps passed.
    steps: u64,
    /// Where the clock of pure mode stands.
    mark: Mark,
}

/// What [`Player::written`] will confirm.
#[derive(Debug, Clone, Copy)]
enum Pending {
    /// Items up to this place.
    Items(Place),
    /// The bytes after the last blank line.
    Tail,
    /// The end; whether it is a step.
    End { is_step: bool },
}

/// A client message that waits for its turn.
#[derive(Debug)]
struct Early {
    index: u64,
    kind: FrameType,
    payload: Vec<u8>,
    at_us: u64,
}

/// A moment that the live and the recorded conversation share: what `keepTiming` counts from.
#[derive(Debug, Clone, Copy)]
struct Anchor {
    live_us: u64,
    recorded_us: u64,
}

/// The player of one session.
#[derive(Debug)]
pub struct Player {
    script: Arc<Script>,
    options: ReplayOptions,
    matcher: Matcher,
    correlator: Correlator,
    pace: Pace,
    status: ReplayStatus,
    place: Place,
    pending: Option<Pending>,
    tail_sent: bool,
    /// The connection is ended, or nobody is there any more.
    over: bool,
    first_round: bool,
    sent: u64,
    received: u64,
    /// Triggered: `current_frame` up to which tickets have been given out.
    promised: u64,
    /// Synchronized: what came before its turn; how many client messages the recording still has; since when one is waited for.
    early: VecDeque<Early>,
    early_bytes: usize,
    clients_left: u64,
    waiting_since_us: Option<u64>,
    anchor: Option<Anchor>,
    resumed_us: Option<u64>,
    judged: Vec<(u64, u64, Option<bool>)>,
    error: Option<ReplayError>,
    /// What the next rewritten bytes are put in, while one write follows another.
    spare: Vec<u8>,
}

impl Player {
    /// A player at the beginning. `matcher` compares client messages; `correlate` and the rest come from `options`.
    ///
    /// # Errors
    /// `Error::Invalid` for a bad JSONPath in `correlate`.
    pub fn new(script: Arc<Script>, options: ReplayOptions, matcher: Matcher) -> Result<Self> {
        let mut player = Self {
            correlator: Correlator::new(&options.correlate)?,
            pace: Pace::new(&options),
            clients_left: if options.mode == Mode::Synchronized { script.client_steps } else { 0 },
            matcher,
            status: ReplayStatus::Pending,
            place: Place::default(),
            pending: None,
            tail_sent: false,
            over: false,
            first_round: true,
            sent: 0,
            received: 0,
            promised: 0,
            early: VecDeque::new(),
            early_bytes: 0,
            waiting_since_us: None,
            anchor: None,
            resumed_us: None,
            judged: Vec::new(),
            error: None,
            spare: Vec::new(),
            script,
            options,
        };
        player.promise_first();
        Ok(player)
    }

    /// All steps, as `totalFrames` counts them for these options.
    pub fn total_frames(&self) -> u64 {
        let clients = if self.options.mode == Mode::Synchronized { self.script.client_steps } else { 0 };
        self.script.server_steps + clients + u64::from(self.ending_is_step())
    }

    /// SSE: the request's body, before `start`. Synchronized: compares it with the recorded one (`recorded`; `truncated` compares what there is)
    /// and feeds `correlate`.
    ///
    /// # Errors
    /// The mismatch; the player is in `error` then.
    pub fn request(&mut self, recorded: Option<&[u8]>, truncated: bool, body: &[u8]) -> std::result::Result<(), ReplayError> {
        self.received += u64::from(!body.is_empty());
        if self.options.mode != Mode::Synchronized {
            return Ok(());
        }
        let recorded = recorded.unwrap_or_default();
        if let Err(mismatch) = self.matcher.check_body(recorded, truncated, body) {
            let error = dialogue::mismatch_error(mismatch, 1);
            self.fail(error.clone());
            // The refusal is an answer of its own; there is no stream to end.
            self.over = true;
            return Err(error);
        }
        self.learn(recorded, body);
        Ok(())
    }

    /// SSE: everything up to and including the last event with this id has been sent before; the clock starts as if it had just gone out.
    /// An unknown id changes nothing. Before `start`.
    pub fn resume_after(&mut self, last_event_id: &str) {
        let known = self.script.ids.iter().rev().find(|(_, id)| id == last_event_id && !id.is_empty());
        let Some(entry) = known.map(|(entry, _)| *entry) else { return };
        let due_us = self.script.entries[entry].due_us();
        let passed = &self.script.entries[..=entry];
        let steps = passed.iter().filter(|entry| matches!(entry, Entry::Server { kind: ItemKind::Step, .. })).count() as u64;
        self.place = Place { entry: entry + 1, steps, mark: Mark::just_after(due_us) };
        self.resumed_us = Some(due_us);
        self.promised = steps;
        self.promise_first();
    }

    fn promise_first(&mut self) {
        if self.options.auto_advance_on_connect {
            self.promised = (self.promised + 1).min(self.total_frames());
        }
    }

    /// The clock starts: the 101 was sent, or the request was read. Status `playing`, or `waiting` in triggered mode.
    pub fn start(&mut self, now_us: u64) {
        if self.status != ReplayStatus::Pending {
            return;
        }
        self.status = ReplayStatus::Playing;
        self.pace.start(now_us);
        if self.script.protocol == Protocol::Sse {
            // The request is the client's message: `keepTiming` counts from it.
            self.anchor = Some(Anchor { live_us: now_us, recorded_us: self.resumed_us.unwrap_or(0) });
        }
        self.settle(now_us);
    }

    /// SSE: when the response head is due; `None`: at once. (Pure: `headRelativeUs` by `initialDelay`, `maxGap`, `timingScale`.)
    /// It moves with a pause, like everything else.
    pub fn head_due_us(&self) -> Option<u64> {
        let head_us = self.script.head_us.filter(|_| self.options.mode == Mode::Pure && self.resumed_us.is_none())?;
        let first_us = self.script.entries.first().map_or(self.script.end_us, Entry::due_us);
        Some(self.pace.head_due(head_us, first_us))
    }

    /// What to do now.
    pub fn next(&mut self, now_us: u64) -> Turn {
        let turn = self.decide(now_us);
        if matches!(turn, Turn::Sleep { .. } | Turn::Wait) {
            // A session that waits holds no more memory than it must.
            self.spare = Vec::new();
        }
        turn
    }

    fn decide(&mut self, now_us: u64) -> Turn {
        if self.over || self.pending.is_some() || matches!(self.status, ReplayStatus::Pending | ReplayStatus::Paused) {
            return Turn::Wait;
        }
        self.settle(now_us);
        if let Some(error) = self.error.clone() {
            return self.end(Finale::Fail(error), false);
        }
        if self.options.on_end == OnEnd::Close && self.options.mode == Mode::Pure && self.is_through() {
            // What trails the last step in its own time would hold up the end.
            return self.conclude(now_us);
        }
        if let Some(turn) = self.send(now_us) {
            return turn;
        }
        match self.script.entries.get(self.place.entry) {
            Some(Entry::Client { .. }) if self.options.mode == Mode::Synchronized => self.await_client(now_us),
            Some(_) => Turn::Wait,
            None => self.conclude(now_us),
        }
    }

    /// The bytes of the last `Write`, or the last `End`, are out: counters and status move.
    pub fn written(&mut self, now_us: u64) {
        match self.pending.take() {
            None => return,
            Some(Pending::Items(place)) => {
                self.sent += place.steps - self.place.steps;
                self.place = place;
            }
            Some(Pending::Tail) => self.tail_sent = true,
            Some(Pending::End { is_step }) => {
                self.over = true;
                self.sent += u64::from(is_step);
                self.place.steps += u64::from(is_step);
            }
        }
        self.settle(now_us);
    }

    /// The buffer of a [`Turn::WriteOwned`] that is out, for the next one.
    pub fn give_back(&mut self, bytes: Vec<u8>) {
        self.spare = bytes;
    }

    /// A data message of the client (`Text` or `Binary`) came. Early messages queue inside and are judged when their turn comes:
    /// [`Player::take_judged`] tells. Those past the last expected one are counted and ignored.
    pub fn client(&mut self, kind: FrameType, payload: &[u8], now_us: u64) {
        let index = self.received;
        self.received += 1;
        if self.status.is_ended() || self.early.len() as u64 >= self.clients_left {
            return;
        }
        self.early_bytes += payload.len();
        self.early.push_back(Early { index, kind, payload: payload.to_vec(), at_us: now_us });
        self.settle(now_us);
    }

    /// Judgements since the last call: `(index of the client message counted from 0, step from 1, matched)`; `matched` is `None` where nothing was compared.
    pub fn take_judged(&mut self) -> Vec<(u64, u64, Option<bool>)> {
        std::mem::take(&mut self.judged)
    }

    /// The client messages that wait to be judged.
    pub fn queued(&self) -> Backlog {
        Backlog { messages: self.early.len(), bytes: self.early_bytes }
    }

    /// Stops the clock (pure mode; elsewhere `Error::Conflict` `wrong_mode`; pending: `replay_pending`; ended: `replay_ended`). Paused already: nothing.
    pub fn pause(&mut self, now_us: u64) -> Result<()> {
        self.check_call("pause", Mode::Pure)?;
        self.check_running("pause")?;
        self.pace.pause(now_us);
        self.status = ReplayStatus::Paused;
        Ok(())
    }

    /// Lets it go on where it stopped. Errors as [`Player::pause`].
    pub fn resume(&mut self, now_us: u64) -> Result<()> {
        self.check_call("resume", Mode::Pure)?;
        self.check_running("resume")?;
        self.pace.resume(now_us);
        if self.status == ReplayStatus::Paused {
            // A write under way goes on; what it changes is settled when it is out.
            self.status = ReplayStatus::Playing;
        }
        self.settle(now_us);
        Ok(())
    }

    /// Queues steps (triggered mode; elsewhere `Error::Conflict` `wrong_mode`; aborted or in error: `replay_ended`; complete: an empty ticket).
    ///
    /// # Errors
    /// `Error::Conflict` `until_not_found`.
    pub fn advance(&mut self, advance: &Advance) -> Result<Ticket> {
        self.check_call("advance", Mode::Triggered)?;
        if matches!(self.status, ReplayStatus::Aborted | ReplayStatus::Error) {
            return Err(Error::conflict("replay_ended", self.state("advance needs a replay that runs")));
        }
        let from = self.promised;
        let upto = match advance {
            _ if self.is_complete() => from,
            Advance::Count(count) => from.saturating_add(*count).min(self.total_frames()),
            Advance::Until(wanted) => self.find(wanted).ok_or_else(|| {
                let shown = text::shorten(wanted, 128);
                let message = format!(
                    "until: no unsent step has data equal to {shown:?}; nothing was sent. The recording's frames show what there is"
                );
                Error::conflict("until_not_found", message)
            })?,
        };
        self.promised = upto;
        if self.status == ReplayStatus::Waiting && upto > self.place.steps {
            self.status = ReplayStatus::Playing;
        }
        Ok(Ticket { from, upto })
    }

    /// The client is gone, or the session was stopped: what is not ended is `aborted` now.
    pub fn abort(&mut self, _now_us: u64) {
        self.over = true;
        if !self.status.is_ended() {
            self.status = ReplayStatus::Aborted;
        }
    }

    /// How it stands.
    pub fn status(&self) -> ReplayStatus {
        self.status
    }

    /// The error of status `error`.
    pub fn error(&self) -> Option<&ReplayError> {
        self.error.as_ref()
    }

    /// Steps passed (in a loop: of this round).
    pub fn current_frame(&self) -> u64 {
        self.place.steps
    }

    /// Steps sent.
    pub fn frames_sent(&self) -> u64 {
        self.sent
    }

    /// Client data messages.
    pub fn frames_received(&self) -> u64 {
        self.received
    }

    fn ending_is_step(&self) -> bool {
        self.options.on_end == OnEnd::Recorded && self.script.ending.is_step()
    }

    /// Whether every step has been passed.
    fn is_through(&self) -> bool {
        self.place.steps >= self.total_frames()
    }

    fn is_complete(&self) -> bool {
        self.status == ReplayStatus::Complete
    }

    /// Judges early messages whose turn has come, then says how things stand.
    fn settle(&mut self, now_us: u64) {
        if matches!(self.status, ReplayStatus::Pending) || self.status.is_ended() || self.pending.is_some() {
            return;
        }
        let expects = loop {
            let expects =
                self.options.mode == Mode::Synchronized && matches!(self.script.entries.get(self.place.entry), Some(Entry::Client { .. }));
            let Some(early) = expects.then(|| self.early.pop_front()).flatten() else { break expects };
            self.early_bytes -= early.payload.len();
            self.judge(&early);
            if self.error.is_some() {
                return;
            }
        };
        if !expects {
            self.waiting_since_us = None;
        } else if self.waiting_since_us.is_none() {
            self.waiting_since_us = Some(now_us);
        }
        self.status = if self.is_through() && self.options.on_end != OnEnd::Loop {
            ReplayStatus::Complete
        } else if self.pace.is_paused() {
            ReplayStatus::Paused
        } else if expects || (self.options.mode == Mode::Triggered && self.promised <= self.place.steps) {
            ReplayStatus::Waiting
        } else {
            ReplayStatus::Playing
        };
    }

    /// `current_frame` after the first unpromised step whose data equals `text`. The ending has no data.
    fn find(&self, text: &str) -> Option<u64> {
        let wanted = matching::Wanted::new(text);
        let steps = self.script.entries.iter().filter(|entry| matches!(entry, Entry::Server { kind: ItemKind::Step, .. }));
        let skipped = usize::try_from(self.promised).unwrap_or(usize::MAX);
        let found = steps.skip(skipped).position(|entry| match entry {
            Entry::Server { frame, .. } => wanted.equals(*frame, self.script.payload(entry)),
            Entry::Client { .. } => false,
        })?;
        Some(self.promised + found as u64 + 1)
    }

    /// The status word in a sentence of a refused call.
    fn state(&self, what: &str) -> String {
        format!("{what}; this session is {}, status {}", self.options.mode.word(), self.status.word())
    }

    fn check_call(&self, call: &str, mode: Mode) -> Result<()> {
        if self.options.mode == mode {
            return Ok(());
        }
        Err(Error::conflict("wrong_mode", self.state(&format!("{call} works in {} mode", mode.word()))))
    }

    fn check_running(&self, call: &str) -> Result<()> {
        let code = match self.status {
            ReplayStatus::Pending => "replay_pending",
            ended if ended.is_ended() => "replay_ended",
            _ => return Ok(()),
        };
        Err(Error::conflict(code, self.state(&format!("{call} works while a replay plays"))))
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_live;
