//! A WebSocket client that mockd itself serves, in a replay or a mock: the answer to its handshake with which its recording begins, and the
//! reader of its frames. Neither answers a message; the thread behind the inbox does.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::app::App;
use super::inbox::{Gate, Input};
use super::inlet::Inlet;
use super::line::Line;
use super::tape::{End, Tape};
use crate::base::limits;
use crate::base::time::Origin;
use crate::model::recording::{Direction, FrameType, Metadata, Protocol, StreamHead};
use crate::wire::handshake;
use crate::wire::stream::{Stream, Wait};
use crate::wire::ws::{self, Message, MessageReader, Side, opcode};

/// Bytes that a read takes of a client that has not sent more at once.
const SMALL_READ_BYTES: usize = 512;

/// A WebSocket whose 101 has been sent.
#[derive(Debug)]
pub struct WsClient {
    /// The way to the client.
    pub line: Line,
    /// What reads it.
    pub reader: WsReader,
    /// When the 101 had been sent.
    pub origin: Origin,
}

impl WsClient {
    /// Accepts a handshake that has been checked; `accept` is the answer to its key. Where the connection is recorded its recording
    /// begins, with `metadata`. `None` when the client has left.
    pub fn accept(app: &App, mut client: Inlet, accept: &str, subprotocol: Option<String>, metadata: Box<Metadata>) -> Option<Self> {
        let mut bytes = Vec::with_capacity(256);
        handshake::switching_protocols(accept, subprotocol.as_deref()).write(&mut bytes);
        let stall = Duration::from_millis(app.settings.stall_timeout_ms);
        let recordings = &app.recordings;
        let reserved = recordings.claim(Protocol::WebSocket, metadata);
        // Before the write: it wakes the client, which may take this very core, and the stream's times would begin late.
        let origin = Origin::now();
        let sent = client.stream.write_all(&bytes, Wait::Limit(stall));
        let tape = reserved.map(|reserved| recordings.begin(reserved, origin, StreamHead::WebSocket { subprotocol }));
        if sent.is_err() {
            tape.iter().for_each(|tape| tape.end(End::Side(Direction::ClientToServer)));
            return None;
        }
        let reader = WsReader {
            stream: Arc::clone(&client.stream),
            early: client.take_data(),
            tape: tape.clone(),
            max_message_bytes: app.settings.max_message_bytes,
            max_queued: app.settings.max_queued_messages,
        };
        Some(Self { line: Line::websocket(client.stream, stall, tape), reader, origin })
    }
}

/// Reads a WebSocket client's frames into an inbox.
#[derive(Debug)]
pub struct WsReader {
    stream: Arc<Stream>,
    /// What came with the handshake.
    early: Vec<u8>,
    tape: Option<Arc<Tape>>,
    max_message_bytes: u64,
    max_queued: u64,
}

impl WsReader {
    /// The same, for messages of at most so many bytes where that is less than the server's limit.
    pub fn up_to(mut self, max_message_bytes: Option<u64>) -> Self {
        self.max_message_bytes = max_message_bytes.unwrap_or(u64::MAX).min(self.max_message_bytes);
        self
    }

    /// Reads until the client closes, breaks the protocol or is gone.
    pub fn read(mut self, inbox: &Sender<Input>, gate: &Gate) {
        let mut reader = MessageReader::new(Side::Client, self.max_message_bytes);
        // The client of a replay says little: room for more than this is made where it says more.
        let mut buffer = vec![0; SMALL_READ_BYTES];
        let early = std::mem::take(&mut self.early);
        let mut bytes: &[u8] = &early;
        loop {
            if !bytes.is_empty() && !self.take_in(&mut reader, bytes, inbox, gate) {
                // After a close or a violation only the end of the connection is of interest.
                while matches!(self.stream.read(&mut buffer), Ok(1..)) {}
                break;
            }
            if bytes.len() == buffer.len() && buffer.len() < limits::READ_BYTES / 2 {
                buffer = vec![0; limits::READ_BYTES / 2];
            }
            bytes = match self.stream.read(&mut buffer) {
                Ok(read @ 1..) => &buffer[..read],
                Ok(_) | Err(_) => break,
            };
        }
        // The inbox's thread may have ended before; then nobody listens.
        drop(inbox.send(Input::Gone));
    }

    /// Hands over what `bytes` end; `false` when nothing after it matters.
    fn take_in(&self, reader: &mut MessageReader, bytes: &[u8], inbox: &Sender<Input>, gate: &Gate) -> bool {
        let stamped = self.tape.as_ref().and_then(|tape| Some((tape, tape.stamp(Direction::ClientToServer, None)?)));
        let mut inputs = Vec::new();
        let read = reader.feed(bytes, &mut |message| inputs.push(input_of(message)));
        if let Err(violation) = read {
            inputs.push(Input::Violation(violation.code, violation.reason));
        }
        if let Some((tape, stamp)) = stamped {
            // A recording has frames only; how the connection ended is for the thread behind the inbox to say.
            tape.push(Direction::ClientToServer, stamp, &bytes[..reader.sound_len()]);
        }
        for input in inputs {
            let last = matches!(input, Input::ClientClose(..) | Input::Violation(..));
            // A thread that is gone drops its end of the inbox; its connection is shut then, so that a read fails.
            if !gate.enter(&input, self.max_queued, || self.is_shut()) {
                return false;
            }
            if inbox.send(input).is_err() || last {
                return false;
            }
        }
        true
    }

    /// Whether our side of the connection has been shut down.
    fn is_shut(&self) -> bool {
        self.stream.write_now(&[]).is_err()
    }
}

impl Drop for WsReader {
    /// What was read and never pushed, for a panic, must not keep the recording open.
    fn drop(&mut self) {
        if let Some(tape) = &self.tape {
            tape.push(Direction::ClientToServer, 0, b"");
        }
    }
}

/// A close frame; one that no endpoint may send is answered like any breach of the protocol (RFC 6455 §7.4, §5.5.1).
fn closing(payload: &[u8]) -> Input {
    let (code, reason) = ws::parse_close(payload);
    if code.is_some_and(|code| !ws::is_sendable_close_code(code)) {
        return Input::Violation(1002, "a close frame must not have this code");
    }
    match payload.get(2..).map(std::str::from_utf8) {
        Some(Err(_)) => Input::Violation(1007, "a close reason must be UTF-8"),
        _ => Input::ClientClose(code, reason),
    }
}

fn input_of(message: Message) -> Input {
    match message.opcode {
        opcode::TEXT if std::str::from_utf8(&message.payload).is_err() => Input::Violation(1007, "a text message must be UTF-8"),
        opcode::TEXT => Input::Message(FrameType::Text, message.payload),
        opcode::BINARY => Input::Message(FrameType::Binary, message.payload),
        opcode::PING => Input::Ping(message.payload),
        opcode::CLOSE => closing(&message.payload),
        // The reader knows no further opcode.
        _ => Input::Pong,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Trap: a panic between a stamp and its push left the recording unfinished for ever.
    #[test]
    fn a_read_that_is_never_pushed_does_not_keep_the_recording_open() {
        let stream = Arc::new(Stream::Unix(std::os::unix::net::UnixStream::pair().unwrap().0));
        let tape = Arc::new(Tape::new("id".into()));
        let reader = WsReader { stream, early: Vec::new(), tape: Some(Arc::clone(&tape)), max_message_bytes: 1, max_queued: 1 };
        tape.stamp(Direction::ClientToServer, None).unwrap();
        drop(reader);
        tape.end(End::Recorder);
        let mut stretch = crate::engine::stretch::Stretch::default();
        tape.take(&mut stretch);
        assert!(matches!(stretch.end, Some((End::Recorder, _))));
    }
}
