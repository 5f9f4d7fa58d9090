//! The way to one client: bytes out, as its protocol frames them and no faster than it takes them, their copy for the recording, and the
//! end of it. It decides nothing about what is sent or when; replay sessions and mocks do, each from the one thread that writes here.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use super::flow::send_recorded;
use super::inbox::Input;
use super::live_mock::Guest;
use super::tape::{End, Tape};
use crate::base::time::Micros;
use crate::base::{limits, platform, time};
use crate::model::recording::{Direction, Protocol};
use crate::rules::player::Finale;
use crate::wire::body;
use crate::wire::stream::{Stream, Wait};
use crate::wire::ws::{self, opcode};

/// The way to a client.
#[derive(Debug)]
pub struct Line {
    stream: Arc<Stream>,
    protocol: Protocol,
    stall: Duration,
    tape: Option<Arc<Tape>>,
    head: Option<PendingHead>,
    chunked: bool,
    /// The client's place among the connections of a mock, which is free for another once the end has been decided.
    guest: Option<Guest>,
    /// What was going out when the connection's end was decided: a frame or chunk that has begun must be finished before anything else.
    unfinished: Vec<u8>,
}

/// Gives the tape of an event stream whose response head goes out at this moment (monotonic), if it is to be recorded.
pub type BeginTape = Box<dyn FnOnce(Micros) -> Option<Arc<Tape>> + Send>;

/// A response head that is still to be sent. Only with it is an event stream established, so that its recording begins then: a client
/// that leaves before takes no recording session.
struct PendingHead {
    head: Vec<u8>,
    begin: BeginTape,
}

impl std::fmt::Debug for PendingHead {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PendingHead").field("head", &self.head.len()).finish_non_exhaustive()
    }
}

/// Why a connection ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Over {
    /// The client is gone.
    Gone,
    /// The client closed with this code and reason, which are sent back.
    ClientClosed(Option<u16>, String),
    /// The client broke the protocol, which is said with this code and reason.
    Broken(u16, &'static str),
    /// We end it: with a close frame of this code and reason, or the end of an event stream; `None` is a connection dropped without a word.
    Ours(Option<(Option<u16>, String)>),
}

impl From<Finale> for Over {
    fn from(finale: Finale) -> Self {
        Self::Ours(match finale {
            Finale::Close { code, reason } => Some((code, reason)),
            Finale::Drop => None,
            Finale::EndStream => Some((None, String::new())),
            // A reason has at most 123 bytes; the frame's maker cuts it.
            Finale::Fail(error) => Some((Some(1008), format!("{}: {}", error.code, error.message))),
        })
    }
}

impl Line {
    /// The way to the client of a WebSocket that has had its 101. It may take no byte for `stall`; what passes goes to `tape`.
    pub fn websocket(stream: Arc<Stream>, stall: Duration, tape: Option<Arc<Tape>>) -> Self {
        Self { stream, protocol: Protocol::WebSocket, stall, tape, head: None, chunked: false, guest: None, unfinished: Vec::new() }
    }

    /// The way to the client of an event stream, whose response `head` is still to be sent; `chunked` for HTTP/1.1. What passes goes
    /// to the tape that `begin` gives when the head goes out.
    pub fn event_stream(stream: Arc<Stream>, stall: Duration, head: Vec<u8>, chunked: bool, begin: BeginTape) -> Self {
        Self {
            stream,
            protocol: Protocol::Sse,
            stall,
            tape: None,
            head: Some(PendingHead { head, begin }),
            chunked,
            guest: None,
            unfinished: Vec::new(),
        }
    }

    /// The same, for a client that has a place among the connections of a mock.
    pub fn keeping(mut self, guest: Option<Guest>) -> Self {
        self.guest = guest;
        self
    }

    /// What it speaks.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The connection.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Whether the response head has not been sent.
    pub fn waits_for_head(&self) -> bool {
        self.head.is_some()
    }

    /// Begins to send the response head, if it has not been sent.
    pub fn deliver_head(&mut self) -> Option<Delivery<'static>> {
        let head = self.take_head()?;
        Some(Delivery { is_head: true, ..self.begin(Cow::Owned(head), None) })
    }

    /// The response head, if it has not been sent; the recording begins before the client hears of the stream.
    fn take_head(&mut self) -> Option<Vec<u8>> {
        let PendingHead { head, begin } = self.head.take()?;
        self.tape = begin(time::now_us());
        Some(head)
    }

    /// Begins to send bytes of the stream: whole frames of a WebSocket, or bytes of an event stream.
    pub fn deliver<'a>(&self, bytes: &'a [u8]) -> Delivery<'a> {
        let stamped =
            self.tape.as_ref().and_then(|tape| tape.stamp(Direction::ServerToClient, None).map(|stamp| (Arc::clone(tape), stamp, bytes)));
        if self.chunked {
            let mut chunk = Vec::with_capacity(bytes.len() + 16);
            body::push_chunk(&mut chunk, bytes);
            return self.begin(Cow::Owned(chunk), stamped);
        }
        self.begin(Cow::Borrowed(bytes), stamped)
    }

    fn begin<'a>(&self, wire: Cow<'a, [u8]>, record: Option<Taped<'a>>) -> Delivery<'a> {
        Delivery { stream: Arc::clone(&self.stream), stall: self.stall, wire, sent: 0, record, is_head: false, moved_us: time::now_us() }
    }

    /// Gives a delivery up because the connection's end was decided; [`Line::leave`] finishes what has begun, and a response head,
    /// without which nothing can follow.
    pub fn give_up(&mut self, delivery: &Delivery<'_>) {
        if delivery.sent > 0 || delivery.is_head {
            self.unfinished = delivery.wire[delivery.sent..].to_vec();
        }
    }

    /// Finishes what was given up, so that more can follow; `false` where the client does not take it within a second, and nothing can.
    pub fn finish_given_up(&mut self) -> bool {
        let rest = std::mem::take(&mut self.unfinished);
        self.finish(&rest)
    }

    /// Says goodbye as it was decided, after `between` (control frames that were still due), and ends the recording. Gives whether a
    /// delivery that had been given up was finished first. A client that takes no byte is given a second.
    pub fn leave(&mut self, over: &Over, between: Vec<u8>) -> bool {
        let end = match over {
            Over::Gone | Over::ClientClosed(..) => End::Side(Direction::ClientToServer),
            Over::Broken(code, reason) => End::ProtocolError(*code, (*reason).to_owned()),
            Over::Ours(_) => End::Side(Direction::ServerToClient),
        };
        // Before the client hears of the end: one that comes back at once finds its place free.
        drop(self.guest.take());
        let may_say_goodbye = !matches!(over, Over::Gone | Over::Ours(None));
        let head = if may_say_goodbye { self.take_head() } else { None };
        // Before an event stream's client sees the end, so that a stop that follows it finds a recording that has ended. And a breach of
        // the protocol is the end itself; our word on it is no part of the conversation, as at the relay.
        if self.protocol == Protocol::Sse || matches!(over, Over::Broken(..)) {
            self.end_tape(end.clone());
        }
        let rest = std::mem::take(&mut self.unfinished);
        let says_goodbye = may_say_goodbye && self.finish(&rest);
        match (over, self.protocol) {
            _ if !says_goodbye => {}
            (Over::ClientClosed(code, reason), _) => self.send_close(between, *code, reason),
            (Over::Broken(code, reason), _) => self.send_close(between, Some(*code), reason),
            (Over::Ours(Some((code, reason))), Protocol::WebSocket) => self.send_close(between, *code, reason),
            (Over::Ours(Some(_)), Protocol::Sse) => self.end_event_stream(head),
            (Over::Gone | Over::Ours(None), _) => {}
        }
        // A close frame that has just been sent belongs to the recording of a WebSocket.
        self.end_tape(end);
        says_goodbye && !rest.is_empty()
    }

    /// Ends our side of the connection and waits up to a second for the client's close frame and the end of its own. What else is heard is
    /// dropped, which tells those who ask that they came too late.
    pub fn await_client(&self, over: &Over, inbox: &Receiver<Input>) {
        self.stream.shutdown_write();
        if *over == Over::Gone {
            return;
        }
        let deadline = Instant::now() + Duration::from_millis(limits::CLOSE_GRACE_MS);
        loop {
            match inbox.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Input::Gone) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    fn end_tape(&self, end: End) {
        if let Some(tape) = &self.tape {
            tape.end(end);
        }
    }

    /// Finishes the write in the middle of which the end was decided; `false` where the client does not take the rest of it.
    fn finish(&self, rest: &[u8]) -> bool {
        rest.is_empty() || self.stream.write_all(rest, Wait::Limit(Duration::from_millis(limits::CLOSE_GRACE_MS))).is_ok()
    }

    fn send_close(&self, between: Vec<u8>, code: Option<u16>, reason: &str) {
        let mut frames = between;
        ws::push_frame(&mut frames, opcode::CLOSE, &ws::close_payload(code, reason), None);
        self.write_last(&frames);
    }

    fn end_event_stream(&self, head: Option<Vec<u8>>) {
        if let Some(head) = head {
            self.write_last(&head);
        }
        if self.chunked {
            self.write_last(body::LAST_CHUNK);
        }
    }

    /// Writes what ends a connection.
    fn write_last(&self, bytes: &[u8]) {
        let stamp = self.tape.as_ref().and_then(|tape| tape.stamp(Direction::ServerToClient, None));
        let sent = send_recorded(&self.stream, bytes, Wait::Limit(Duration::from_millis(limits::CLOSE_GRACE_MS)), || {
            if let (Some(tape), Some(stamp)) = (&self.tape, stamp) {
                tape.push(Direction::ServerToClient, stamp, if self.protocol == Protocol::WebSocket { bytes } else { b"" });
            }
        });
        if let Err(error) = sent {
            log::debug!("a client did not take the end of its stream: {error}");
        }
    }
}

impl Drop for Line {
    /// A recording ends with its line. The first end of a tape counts: this is one of a thread that failed before [`Line::leave`].
    fn drop(&mut self) {
        if let Some(tape) = &self.tape {
            // What was to go out and was never pushed must not keep the recording open.
            tape.push(Direction::ServerToClient, 0, b"");
            tape.end(End::CutShort("server_failed"));
        }
    }
}

/// Bytes for the tape, with the stamp that they were given.
type Taped<'a> = (Arc<Tape>, Micros, &'a [u8]);

/// Bytes on their way to the client.
#[derive(Debug)]
pub struct Delivery<'a> {
    stream: Arc<Stream>,
    stall: Duration,
    wire: Cow<'a, [u8]>,
    sent: usize,
    record: Option<Taped<'a>>,
    is_head: bool,
    moved_us: Micros,
}

/// How a delivery stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// All of it is out.
    Done,
    /// The client takes bytes: hear what else there is, then go on.
    Moving,
    /// The client took none for a moment: hear what else there is, then go on.
    Full,
    /// The client is gone.
    Gone,
    /// The client has taken no byte for as long as it may.
    Stalled,
}

/// How long one step of a delivery waits for room.
const MOMENT: Duration = Duration::from_millis(20);

impl Delivery<'_> {
    /// Writes what the client takes, then waits a moment for it to take more. To be called until it is over.
    pub fn go_on(&mut self) -> Progress {
        let taken = self.stream.write_now(&self.wire[self.sent..]);
        if let Some((tape, stamp, bytes)) = self.record.take() {
            tape.push(Direction::ServerToClient, stamp, bytes);
        }
        match taken {
            Err(_) => return Progress::Gone,
            Ok(0) => {}
            Ok(taken) => {
                self.sent += taken;
                self.moved_us = time::now_us();
            }
        }
        if self.sent == self.wire.len() {
            return Progress::Done;
        }
        if Duration::from_micros(time::now_us().saturating_sub(self.moved_us)) >= self.stall {
            return Progress::Stalled;
        }
        match platform::wait_writable(self.stream.fd(), MOMENT) {
            Ok(true) => Progress::Moving,
            Ok(false) => Progress::Full,
            Err(_) => Progress::Gone,
        }
    }

    /// The wait so far was not the client's doing.
    pub fn forgive(&mut self) {
        self.moved_us = time::now_us();
    }

    /// When the client last took a byte, or the delivery began.
    pub fn moved_us(&self) -> Micros {
        self.moved_us
    }
}

#[cfg(test)]
#[path = "line_tests.rs"]
mod tests;
