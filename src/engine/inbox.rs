//! What a replay session or a mock's connection hears, and the gate that keeps its reader from running ahead. Words and a counter;
//! the threads stand in `session.rs` and `performance.rs`.

use std::sync::mpsc::Sender;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use crate::base::error::Result;
use crate::base::sync;
use crate::model::recording::FrameType;
use crate::model::replay::{Advance, Advanced, CloseRequest, Injection};

/// Where the answer to a steering call goes.
pub type Reply = Sender<Result<()>>;

/// All that a session hears; a mock's connection hears its client and `Stop`.
#[derive(Debug)]
pub enum Input {
    /// A data message of the client.
    Message(FrameType, Vec<u8>),
    /// The client asks for a pong.
    Ping(Vec<u8>),
    /// The client answered a ping, or said so unasked.
    Pong,
    /// The client's close frame: its code and reason.
    ClientClose(Option<u16>, String),
    /// The client broke the protocol: this code and reason are due.
    Violation(u16, &'static str),
    /// The client's connection has ended.
    Gone,
    /// Send steps.
    Advance {
        /// Which.
        advance: Advance,
        /// Answered when they are written.
        reply: Sender<Result<Advanced>>,
    },
    /// Stop the clock.
    Pause {
        /// Answered when no frame leaves any more.
        reply: Reply,
    },
    /// Let it go on.
    Resume {
        /// Answered when it does.
        reply: Reply,
    },
    /// Send something between two steps.
    Inject {
        /// What.
        injection: Injection,
        /// Answered when it is on its way.
        reply: Reply,
    },
    /// Drop the client.
    Close {
        /// How.
        request: CloseRequest,
        /// Answered when it is done.
        reply: Reply,
    },
    /// End the session.
    Stop {
        /// Why, as `statusReason` says it.
        reason: &'static str,
    },
}

/// Lets the reader wait while too many client messages are queued.
#[derive(Debug, Default)]
pub struct Gate {
    queued: Mutex<u64>,
    change: Condvar,
}

impl Gate {
    /// One more is queued; waits first while there are `max` or more. `false` when `gone` says that nobody takes them any more.
    pub fn enter(&self, max: u64, gone: impl Fn() -> bool) -> bool {
        let mut queued = sync::lock(&self.queued);
        while *queued >= max {
            if gone() {
                return false;
            }
            queued = sync::wait(&self.change, queued, Duration::from_millis(200));
        }
        *queued += 1;
        true
    }

    /// So many have been dealt with.
    pub fn leave(&self, count: u64) {
        if count > 0 {
            let mut queued = sync::lock(&self.queued);
            *queued = queued.saturating_sub(count);
            self.change.notify_one();
        }
    }
}
