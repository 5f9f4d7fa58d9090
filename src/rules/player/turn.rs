//! What the player says to its session: turns, the ways to end a connection, and the tickets of `advance`. Words only, no rule.

use std::ops::Range;

use crate::model::replay::ReplayError;

/// What the session does next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Turn {
    /// Write these bytes of the shared script, all of them, then call [`super::Player::written`]. Frames due together are one write, of at most `limits::MAX_WRITE_BYTES` unless one frame is larger.
    Write {
        /// In [`Script::bytes`](crate::rules::script::Script::bytes).
        range: Range<usize>,
        /// When the first of them was due (session clock); `None` where no time was set for it: what lateness is measured against.
        due_us: Option<u64>,
    },
    /// Write these bytes (correlated, rewritten), then call [`super::Player::written`].
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
    /// End the connection like this, then call [`super::Player::written`] (it may be a step). After it `next` gives `Wait`.
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
