//! The reader of a WebSocket client: frames in, inputs of its session's or mock's inbox out. It answers nothing; the inbox's thread does.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use super::app::App;
use super::inbox::{Gate, Input};
use super::tape::Tape;
use crate::base::limits;
use crate::model::recording::{Direction, FrameType};
use crate::wire::stream::Stream;
use crate::wire::ws::{self, Message, MessageReader, Side, opcode};

/// Reads a WebSocket client's frames into an inbox.
#[derive(Debug)]
pub struct WsReader {
    stream: Arc<Stream>,
    tape: Option<Arc<Tape>>,
    max_message_bytes: u64,
    max_queued: u64,
}

impl WsReader {
    /// A reader under the server's limits.
    pub fn new(app: &App, stream: Arc<Stream>, tape: Option<Arc<Tape>>) -> Self {
        let settings = &app.settings;
        Self { stream, tape, max_message_bytes: settings.max_message_bytes, max_queued: settings.max_queued_messages }
    }

    /// The same, for messages of at most so many bytes where that is less.
    pub fn up_to(mut self, max_message_bytes: Option<u64>) -> Self {
        self.max_message_bytes = max_message_bytes.unwrap_or(u64::MAX).min(self.max_message_bytes);
        self
    }

    /// Reads until the client closes, breaks the protocol or is gone. `early` came with the handshake.
    pub fn read(&self, early: Vec<u8>, inbox: &Sender<Input>, gate: &Gate) {
        let mut reader = MessageReader::new(Side::Client, self.max_message_bytes);
        let mut buffer = vec![0; limits::READ_BYTES / 2];
        let mut bytes: &[u8] = &early;
        loop {
            if !bytes.is_empty() && !self.take_in(&mut reader, bytes, inbox, gate) {
                // After a close or a violation only the end of the connection is of interest.
                while matches!(self.stream.read(&mut buffer), Ok(1..)) {}
                drop(inbox.send(Input::Gone));
                return;
            }
            bytes = match self.stream.read(&mut buffer) {
                Ok(read @ 1..) => &buffer[..read],
                Ok(_) | Err(_) => {
                    // The inbox's thread may have ended before; then nobody listens.
                    drop(inbox.send(Input::Gone));
                    return;
                }
            };
        }
    }

    /// Hands over what `bytes` end; `false` when nothing after it matters.
    fn take_in(&self, reader: &mut MessageReader, bytes: &[u8], inbox: &Sender<Input>, gate: &Gate) -> bool {
        if let Some(tape) = &self.tape
            && let Some(stamp) = tape.stamp(Direction::ClientToServer)
        {
            tape.push(Direction::ClientToServer, stamp, bytes);
        }
        let mut inputs = Vec::new();
        let read = reader.feed(bytes, &mut |message| inputs.push(input_of(message)));
        if let Err(violation) = read {
            inputs.push(Input::Violation(violation.code, violation.reason));
        }
        for input in inputs {
            let last = matches!(input, Input::ClientClose(..) | Input::Violation(..));
            // A thread that is gone drops its end of the inbox; its connection is shut then, so that a read fails.
            if matches!(input, Input::Message(..)) && !gate.enter(self.max_queued, || self.is_shut()) {
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

fn input_of(message: Message) -> Input {
    match message.opcode {
        opcode::TEXT if std::str::from_utf8(&message.payload).is_err() => Input::Violation(1007, "a text message must be UTF-8"),
        opcode::TEXT => Input::Message(FrameType::Text, message.payload),
        opcode::BINARY => Input::Message(FrameType::Binary, message.payload),
        opcode::PING => Input::Ping(message.payload),
        opcode::CLOSE => {
            let (code, reason) = ws::parse_close(&message.payload);
            Input::ClientClose(code, reason)
        }
        // The reader knows no further opcode.
        _ => Input::Pong,
    }
}
