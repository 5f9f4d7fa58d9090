//! The thread of a mock's connection: it hears the client through one inbox, asks the mock's side what to do, and alone writes to the
//! client. What is said stands in `rules` (whatever is a [`Performance`]); here are the clock, the inbox and the socket.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::time::{Duration, Instant};

use super::app::App;
use super::inbox::{Gate, Input, Taken};
use super::line::{Delivery, Line, Over, Progress};
use super::live::Running;
use crate::base::error::Result;
use crate::base::{id, limits, sync, time};
use crate::rules::performance::{Act, Heard, Moment, Performance};
use crate::wire::stream::Stream;
use crate::wire::ws::{self, opcode};

/// Performs to the client of `line` until the connection ends. A thread of its own performs; `read` runs on this one: it puts what the
/// client sends into the inbox, `Input::Gone` last. `started_us` (monotonic) is when the 101 had been sent, or the request read. The
/// connection stands among the live ones, so that a server that ends ends it properly: 1001, or the end of the stream.
///
/// # Errors
/// The system gives no thread.
pub fn perform(
    app: &App,
    mut performance: Box<dyn Performance>,
    line: Line,
    started_us: u64,
    read: impl FnOnce(&Sender<Input>, &Gate),
) -> Result<()> {
    let (inbox, heard) = channel();
    let gate = Arc::new(Gate::default());
    performance.start(started_us);
    let _entry = app.live.enter(Running::Mock(inbox.clone()));
    let stream = Arc::clone(line.stream());
    let stage = Stage { performance, line, inbox: heard, taken: Taken::new(Arc::clone(&gate)), between: Vec::new(), over: None };
    let thread = sync::spawn("mock", move || {
        // Made here: where the system gives no thread the connection is still to be told so.
        let _end = OnEnd(stream);
        stage.run();
    })?;
    read(&inbox, &gate);
    // The thread catches its own panics, so there is nothing in the result.
    drop(thread.join());
    Ok(())
}

/// Ends the connection with the thread, also with one that panics.
struct OnEnd(Arc<Stream>);

impl Drop for OnEnd {
    fn drop(&mut self) {
        self.0.shutdown();
    }
}

/// A connection under way.
struct Stage {
    performance: Box<dyn Performance>,
    line: Line,
    inbox: Receiver<Input>,
    /// What came out of the inbox, for the reader's limit.
    taken: Taken,
    /// Pongs that go out before anything else.
    between: Vec<u8>,
    over: Option<Over>,
}

impl Stage {
    fn run(mut self) {
        while self.over.is_none() {
            self.hear();
            if self.over.is_some() || !self.send_between() {
                continue;
            }
            match self.next() {
                Act::Write(bytes) => {
                    self.carry(self.line.deliver(&bytes));
                }
                Act::Sleep { until_us } => self.sleep(until_us),
                Act::Wait => self.listen(),
                Act::End(finale) => self.over = Some(Over::from(finale)),
            }
        }
        if matches!(self.over, Some(Over::ClientClosed(..))) {
            self.send_due();
        }
        self.leave();
    }

    /// Sends what is due already: a client that closes right after its last message gets the answer to that before its own close frame's.
    /// It has a second to take what was on its way, and one for the rest.
    fn send_due(&mut self) {
        if !self.line.finish_given_up() {
            // In the middle of a frame no other can follow.
            self.over = Some(Over::Gone);
            return;
        }
        let at = moment();
        let deadline = Instant::now() + Duration::from_millis(limits::CLOSE_GRACE_MS);
        while Instant::now() < deadline
            && let Act::Write(bytes) = self.performance.next(at)
        {
            let mut delivery = self.line.deliver(&bytes);
            loop {
                match delivery.go_on() {
                    Progress::Done => break,
                    Progress::Moving | Progress::Full if Instant::now() < deadline => {}
                    _ => return self.line.give_up(&delivery),
                }
            }
        }
    }

    /// What to do now: the head when it is due, then as the performance says.
    fn next(&mut self) -> Act {
        if self.line.waits_for_head() {
            if let Some(until_us) = self.performance.head_due_us().filter(|due_us| time::now_us() < *due_us) {
                return Act::Sleep { until_us };
            }
            if let Some(head) = self.line.deliver_head()
                && !self.carry(head)
            {
                return Act::Sleep { until_us: 0 };
            }
        }
        self.mind_reader();
        let act = self.performance.next(moment());
        self.taken.settle(self.performance.queued());
        act
    }

    /// What the reader is kept from hearing is no silence of the client's.
    fn mind_reader(&mut self) {
        if self.taken.holds_reader() {
            self.performance.hear(Heard::Held, moment());
        }
    }

    /// Takes in what is in the inbox, without waiting.
    fn hear(&mut self) {
        while self.over.is_none() {
            match self.inbox.try_recv() {
                Ok(input) => self.take_in(input),
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => self.over = Some(Over::Gone),
            }
        }
        self.taken.settle(self.performance.queued());
    }

    /// Waits for the inbox until `until_us`.
    fn sleep(&mut self, until_us: u64) {
        let left = until_us.saturating_sub(time::now_us());
        if left == 0 {
            return;
        }
        match self.inbox.recv_timeout(Duration::from_micros(left)) {
            Ok(input) => self.take_in(input),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => self.over = Some(Over::Gone),
        }
    }

    /// Waits for the inbox.
    fn listen(&mut self) {
        match self.inbox.recv() {
            Ok(input) => self.take_in(input),
            Err(_) => self.over = Some(Over::Gone),
        }
    }

    fn take_in(&mut self, input: Input) {
        self.taken.add(&input);
        match input {
            Input::Message(kind, payload) => self.performance.hear(Heard::Message(kind, &payload), moment()),
            Input::Pong => self.performance.hear(Heard::Pong, moment()),
            // A client that pings and takes nothing may be owed no more than this (RFC 6455 §5.5.3 lets pongs be left out).
            Input::Ping(payload) if self.between.len() < limits::READ_BYTES => {
                ws::push_frame(&mut self.between, opcode::PONG, &payload, None);
            }
            Input::Ping(_) => {}
            Input::ClientClose(code, reason) => self.over = Some(Over::ClientClosed(code, reason)),
            Input::Violation(code, reason) => self.over = Some(Over::Broken(code, reason)),
            Input::Gone => self.over = Some(Over::Gone),
            Input::Stop { .. } => self.over = Some(Over::Ours(Some((Some(1001), "the server is going away".to_owned())))),
            // These calls are for replay sessions, and nobody else has this inbox; an answer that is dropped says so.
            Input::Advance { .. } | Input::Pause { .. } | Input::Resume { .. } | Input::Inject { .. } | Input::Close { .. } => {}
        }
    }

    /// Sends pongs; `false` when the connection is over.
    fn send_between(&mut self) -> bool {
        if self.between.is_empty() {
            return true;
        }
        let bytes = std::mem::take(&mut self.between);
        self.carry(self.line.deliver(&bytes))
    }

    /// Writes all of a delivery, hearing the inbox where the client does not take it at once; `false` when the connection is over.
    fn carry(&mut self, mut delivery: Delivery<'_>) -> bool {
        loop {
            match delivery.go_on() {
                Progress::Done => return true,
                Progress::Moving | Progress::Full => {
                    self.hear();
                    self.mind_reader();
                    if self.over.is_none() {
                        self.over = self.performance.expire(moment(), delivery.moved_us()).map(Over::from);
                    }
                }
                Progress::Gone => self.over = Some(Over::Gone),
                Progress::Stalled => {
                    log::info!("the client of a mock took no byte for as long as it may, and is dropped");
                    self.over = Some(Over::Ours(None));
                }
            }
            if self.over.is_some() {
                self.line.give_up(&delivery);
                return false;
            }
        }
    }

    fn leave(mut self) {
        let over = self.over.take().unwrap_or(Over::Gone);
        self.line.leave(&over, std::mem::take(&mut self.between));
        self.line.await_client(&over, &self.inbox);
    }
}

/// Now, with chance.
fn moment() -> Moment {
    Moment { now_us: time::now_us(), wall_us: time::wall_us(), random: id::random_u64 }
}

#[cfg(test)]
#[path = "performance_tests.rs"]
mod tests;
