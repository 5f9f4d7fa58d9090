//! The player: one state machine for all modes and both protocols; inputs in, turns out, the clock an argument. (skeleton)
//!
//! The session (a thread above) calls `next` until there is nothing to do, writes what it is told, says `written`, sleeps or
//! waits as told, and hands over inputs as they come. The player never blocks and never reads a clock.

use std::ops::Range;
use std::sync::Arc;

use super::matching::Matcher;
use super::script::Script;
use crate::base::error::Result;
use crate::model::recording::FrameType;
use crate::model::replay::{Advance, ReplayError, ReplayOptions, ReplayStatus};

/// What the session does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Write these bytes of the shared script, all of them, then call [`Player::written`]. Frames due together are one write, of at most `limits::MAX_WRITE_BYTES` unless one frame is larger.
    Write {
        /// In [`Script::bytes`].
        range: Range<usize>,
        /// When the first of them was due (session clock); `None` where no time was set for it: what lateness is measured against.
        due_us: Option<u64>,
    },
    /// Write these bytes (correlated, rewritten), then call [`Player::written`].
    WriteOwned {
        /// The wire bytes.
        bytes: Vec<u8>,
        /// As above.
        due_us: Option<u64>,
    },
    /// Nothing to do before this time (same clock as `now_us`), unless an input comes.
    Sleep {
        /// Until then.
        until_us: u64,
    },
    /// Nothing to do until an input comes.
    Wait,
    /// End the connection like this, then call [`Player::written`] (it may be a step). After it `next` gives `Wait`.
    End(Finale),
}

/// How a session ends its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finale {
    /// A close frame; the client's answer and the end of TCP are the session's matter.
    Close {
        /// `None`: a close frame without a code.
        code: Option<u16>,
        /// The reason.
        reason: String,
    },
    /// The TCP connection is dropped.
    Drop,
    /// The event stream ends.
    EndStream,
    /// A mismatch or a timeout: status `error`. WebSocket: close 1008 with a reason. (An SSE stream that is under way ends.)
    Fail(ReplayError),
}

/// Steps that an `advance` will have passed when it is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// `current_frame` when this call's own steps begin.
    pub from: u64,
    /// `current_frame` when they are all sent; equal to `from` where nothing is left.
    pub upto: u64,
}

/// The player of one session.
#[derive(Debug)]
pub struct Player {}

impl Player {
    /// A player at the beginning. `matcher` compares client messages; `correlate` and the rest come from `options`.
    ///
    /// # Errors
    /// `Error::Invalid` for a bad JSONPath in `correlate`.
    pub fn new(_script: Arc<Script>, _options: ReplayOptions, _matcher: Matcher) -> Result<Self> { todo!() }
    /// All steps, as `totalFrames` counts them for these options.
    pub fn total_frames(&self) -> u64 { todo!() }
    /// SSE: the request's body, before `start`. Synchronized: compares it with the recorded one (`recorded`; `truncated` compares what there is)
    /// and feeds `correlate`.
    ///
    /// # Errors
    /// The mismatch; the player is in `error` then.
    pub fn request(&mut self, _recorded: Option<&[u8]>, _truncated: bool, _body: &[u8]) -> std::result::Result<(), ReplayError> { todo!() }
    /// SSE: everything up to and including the last event with this id has been sent before; the clock starts as if it had just gone out.
    /// An unknown id changes nothing. Before `start`.
    pub fn resume_after(&mut self, _last_event_id: &str) { todo!() }
    /// The clock starts: the 101 was sent, or the request was read. Status `playing`, or `waiting` in triggered mode.
    pub fn start(&mut self, _now_us: u64) { todo!() }
    /// SSE: when the response head is due; `None`: at once. (Pure: `headRelativeUs` by `initialDelay`, `maxGap`, `timingScale`.)
    pub fn head_due_us(&self) -> Option<u64> { todo!() }
    /// What to do now.
    pub fn next(&mut self, _now_us: u64) -> Turn { todo!() }
    /// The bytes of the last `Write`, or the last `End`, are out: counters and status move.
    pub fn written(&mut self, _now_us: u64) { todo!() }
    /// A data message of the client (`Text` or `Binary`) came. Gives the step (from 1) that it was for and whether it matched, where that is known at once;
    /// early messages queue inside and are judged later, in `next`, which is why [`Player::take_judged`] exists.
    pub fn client(&mut self, _kind: FrameType, _payload: &[u8], _now_us: u64) { todo!() }
    /// Judgements since the last call: `(index of the client message counted from 0, step from 1, matched)`; `matched` is `None` where nothing was compared.
    pub fn take_judged(&mut self) -> Vec<(u64, u64, Option<bool>)> { todo!() }
    /// How many client messages wait to be judged.
    pub fn queued(&self) -> usize { todo!() }
    /// Stops the clock (pure mode; elsewhere `Error::Conflict` `wrong_mode`; ended: `replay_ended`). Paused already: nothing.
    pub fn pause(&mut self, _now_us: u64) -> Result<()> { todo!() }
    /// Lets it go on where it stopped. Errors as [`Player::pause`].
    pub fn resume(&mut self, _now_us: u64) -> Result<()> { todo!() }
    /// Queues steps (triggered mode; elsewhere `Error::Conflict` `wrong_mode`; aborted or in error: `replay_ended`; complete: an empty ticket).
    ///
    /// # Errors
    /// `Error::Conflict` `until_not_found`.
    pub fn advance(&mut self, _advance: &Advance) -> Result<Ticket> { todo!() }
    /// The client is gone, or the session was stopped: what is not ended is `aborted` now.
    pub fn abort(&mut self, _now_us: u64) { todo!() }
    /// How it stands.
    pub fn status(&self) -> ReplayStatus { todo!() }
    /// The error of status `error`.
    pub fn error(&self) -> Option<&ReplayError> { todo!() }
    /// Steps passed (in a loop: of this round).
    pub fn current_frame(&self) -> u64 { todo!() }
    /// Steps sent.
    pub fn frames_sent(&self) -> u64 { todo!() }
    /// Client data messages.
    pub fn frames_received(&self) -> u64 { todo!() }
}
