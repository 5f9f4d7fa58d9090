//! What a replay session or a mock's connection hears, and the gate that keeps its reader from running ahead. Words and counters;
//! the threads stand in `session.rs` and `performance.rs`.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::base::error::Result;
use crate::base::{limits, sync};
use crate::model::recording::FrameType;
use crate::model::replay::{Advance, Advanced, CloseRequest, Injection};
use crate::rules::performance::Backlog;

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

/// Lets the reader wait while too much of what the client sent is queued: messages by their number and their bytes, from the inbox to
/// the moment when they have been dealt with; pings and pongs as long as they are in the inbox.
#[derive(Debug, Default)]
pub struct Gate {
    load: Mutex<Load>,
    change: Condvar,
}

#[derive(Debug, Default)]
struct Load {
    messages: u64,
    bytes: u64,
    controls: u64,
    /// The reader waits.
    holds: bool,
}

impl Load {
    /// Whether `input` has room. A message finds room where no other is, whatever its size.
    fn has_room_for(&self, input: &Input, max_messages: u64) -> bool {
        match input {
            Input::Message(_, payload) => {
                let fits = self.bytes.saturating_add(payload.len() as u64) <= limits::MAX_QUEUED_BYTES;
                self.messages < max_messages && (fits || self.bytes == 0)
            }
            Input::Ping(_) | Input::Pong => self.controls < limits::MAX_QUEUED_CONTROLS,
            // Whatever else a reader says is said once.
            _ => true,
        }
    }
}

impl Gate {
    /// One more input goes into the inbox; waits first until it has room. `false` when `gone` says that nobody hears it any more.
    pub fn enter(&self, input: &Input, max_messages: u64, gone: impl Fn() -> bool) -> bool {
        let mut load = sync::lock(&self.load);
        while !load.has_room_for(input, max_messages) {
            if gone() {
                return false;
            }
            load.holds = true;
            load = sync::wait(&self.change, load, Duration::from_millis(200));
        }
        load.holds = false;
        match input {
            Input::Message(_, payload) => {
                load.messages += 1;
                load.bytes += payload.len() as u64;
            }
            Input::Ping(_) | Input::Pong => load.controls += 1,
            _ => {}
        }
        true
    }

    /// Whether the reader waits, so that nothing more of the client is heard.
    pub fn holds(&self) -> bool {
        sync::lock(&self.load).holds
    }

    /// So much is queued no more.
    fn leave(&self, messages: u64, bytes: u64, controls: u64) {
        if messages > 0 || controls > 0 {
            let mut load = sync::lock(&self.load);
            load.messages = load.messages.saturating_sub(messages);
            load.bytes = load.bytes.saturating_sub(bytes);
            load.controls = load.controls.saturating_sub(controls);
            if load.holds {
                self.change.notify_one();
            }
        }
    }
}

/// What has come out of an inbox, and how much of it has been dealt with; the gate hears of that.
#[derive(Debug)]
pub struct Taken {
    gate: Arc<Gate>,
    /// Messages and their bytes that came out, and those that have been dealt with.
    came: (u64, u64),
    done: (u64, u64),
}

impl Taken {
    /// Nothing has come out yet.
    pub fn new(gate: Arc<Gate>) -> Self {
        Self { gate, came: (0, 0), done: (0, 0) }
    }

    /// This came out.
    pub fn add(&mut self, input: &Input) {
        match input {
            Input::Message(_, payload) => self.came = (self.came.0 + 1, self.came.1 + payload.len() as u64),
            Input::Ping(_) | Input::Pong => self.gate.leave(0, 0, 1),
            _ => {}
        }
    }

    /// All messages but those of `backlog` have been dealt with: the reader may go on.
    pub fn settle(&mut self, backlog: Backlog) {
        let messages = self.came.0.saturating_sub(backlog.messages as u64).max(self.done.0);
        let bytes = self.came.1.saturating_sub(backlog.bytes as u64).max(self.done.1);
        self.gate.leave(messages - self.done.0, bytes - self.done.1, 0);
        self.done = (messages, bytes);
    }

    /// Whether the reader waits, as [`Gate::holds`].
    pub fn holds_reader(&self) -> bool {
        self.gate.holds()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(len: usize) -> Input {
        Input::Message(FrameType::Binary, vec![0; len])
    }

    /// Whether the gate lets it pass without a wait.
    fn passes(gate: &Gate, input: &Input) -> bool {
        gate.enter(input, 3, || true)
    }

    #[test]
    fn a_queue_is_bounded_by_number_and_by_bytes() {
        let most = limits::MAX_QUEUED_BYTES as usize;
        // The sizes of messages; how many of them pass.
        for (sizes, passed) in
            [(vec![0, 0, 0, 0], 3), (vec![most, 0, 1], 2), (vec![most + 1, 0], 1), (vec![0, most + 1, 1], 2), (vec![1, most, most], 1)]
        {
            let gate = Arc::new(Gate::default());
            let mut taken = Taken::new(Arc::clone(&gate));
            let inputs: Vec<Input> = sizes.iter().map(|len| message(*len)).collect();
            let let_in = inputs.iter().take_while(|input| passes(&gate, input)).count();
            assert_eq!(let_in, passed, "{sizes:?}");
            assert!(passes(&gate, &Input::Pong) && passes(&gate, &Input::Gone), "they have room of their own");
            inputs[..let_in].iter().for_each(|input| taken.add(input));
            taken.settle(Backlog { messages: let_in, bytes: sizes[..let_in].iter().sum() });
            assert!(!passes(&gate, &inputs[let_in]), "{sizes:?}: all of it still waits");
            taken.settle(Backlog::default());
            assert!(passes(&gate, &inputs[let_in]), "{sizes:?}");
        }
    }

    #[test]
    fn pings_are_bounded_as_long_as_nobody_hears_them() {
        let gate = Arc::new(Gate::default());
        let mut taken = Taken::new(Arc::clone(&gate));
        let ping = Input::Ping(Vec::new());
        let let_in = (0..).take_while(|_| passes(&gate, &ping)).count();
        assert_eq!(let_in as u64, limits::MAX_QUEUED_CONTROLS);
        taken.add(&ping);
        assert!(passes(&gate, &Input::Pong) && !passes(&gate, &Input::Pong));
    }

    #[test]
    fn a_reader_that_waits_is_let_go_on_and_says_so() {
        let gate = Arc::new(Gate::default());
        let mut taken = Taken::new(Arc::clone(&gate));
        assert!(gate.enter(&message(1), 1, || false));
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| gate.enter(&message(1), 1, || false));
            while !taken.holds_reader() {
                std::thread::yield_now();
            }
            taken.add(&message(1));
            taken.settle(Backlog::default());
            assert!(waiting.join().unwrap());
        });
        assert!(!gate.holds());
    }
}
