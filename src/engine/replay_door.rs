//! Where a client of the mock port meets its replay session: the handshake or the response head as recorded, the session's
//! thread, and the reader that feeds it what the client sends.

use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use super::app::App;
use super::board::Seat;
use super::inbox::{Gate, Input};
use super::inlet::Inlet;
use super::relay_http::{After, cut_text, pairs};
use super::session::{self, Line, Parts};
use super::tape::{End, Tape};
use super::{answer, cors};
use crate::base::error::{Error, Result};
use crate::base::time::{self, Origin};
use crate::base::{limits, platform, sync};
use crate::model::recording::{Direction, FrameType, Metadata, Protocol, SseRequest, StreamHead, decode, encode};
use crate::model::replay::{Matching, ReplayError};
use crate::rules::player::Player;
use crate::rules::response::kept_fields;
use crate::wire::body::{BodyReader, Framing};
use crate::wire::handshake;
use crate::wire::head::{Headers, RequestHead, ResponseHead};
use crate::wire::stream::Stream;
use crate::wire::ws::{self, Message, MessageReader, Side, opcode};

/// A client that has been given a session.
pub struct Met<'a> {
    /// The server.
    pub app: &'a Arc<App>,
    /// The session, which ends with this.
    pub seat: Seat,
    /// Its rules.
    pub player: Box<Player>,
    /// The client's request.
    pub head: &'a RequestHead,
    /// When it had been read.
    pub origin: Origin,
    /// What a recording of this replay would keep of the connection.
    pub metadata: Metadata,
}

impl Met<'_> {
    /// Replays to a WebSocket client whose handshake has been checked; `accept` is the answer to its key.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn run_websocket(self, mut client: Inlet, accept: &str) -> Result<()> {
        let recorded = match &self.seat.compiled.head.stream {
            StreamHead::WebSocket { subprotocol } => subprotocol.clone(),
            StreamHead::Sse { .. } => None,
        };
        let offered = handshake::offered_subprotocols(self.head);
        let subprotocol = recorded.filter(|recorded| offered.contains(recorded));
        let mut bytes = Vec::with_capacity(256);
        handshake::switching_protocols(accept, subprotocol.as_deref()).write(&mut bytes);
        let stall = Duration::from_millis(self.app.settings.stall_timeout_ms);
        let recordings = &self.app.recordings;
        let reserved = recordings.claim(Protocol::WebSocket, self.metadata);
        let sent = client.stream.write_all(&bytes, Some(stall));
        let origin = Origin::now();
        let tape = reserved.map(|reserved| recordings.begin(reserved, origin, StreamHead::WebSocket { subprotocol }));
        if sent.is_err() {
            tape.iter().for_each(|tape| tape.end(End::Side(Direction::ClientToServer)));
            return Ok(());
        }
        let early = client.take_data();
        let stream = Arc::clone(&client.stream);
        let reader = WsReader::new(self.app, Arc::clone(&stream), tape.clone());
        let line = Line { stream, stall, tape, head: None, chunked: false };
        start(self.seat, self.player, line, origin, |inbox, gate| reader.read(early, inbox, gate))
    }

    /// Replays to the client of an event stream. A request that does not match is answered 409.
    ///
    /// # Errors
    /// What is wrong with the request's body; the system gives no thread.
    pub fn run_event_stream(mut self, client: &mut Inlet) -> Result<After> {
        let settings = &self.app.settings;
        let max_bytes = usize::try_from(settings.max_request_body_bytes).unwrap_or(usize::MAX);
        // One more than a recording keeps, so that a longer body is seen to be longer.
        let kept_bytes = max_bytes.max(self.recorded_body_bytes()).saturating_add(1);
        let Some(mut body) = read_body(client, self.head, kept_bytes)? else {
            return Ok(After::Close);
        };
        if let Some(last) = self.head.headers.get("Last-Event-ID") {
            self.player.resume_after(last);
        }
        let compared = self.compare(&body);
        let compares = self.seat.board.options().matching != Matching::Any;
        self.seat.board.add_request(&body, compares.then_some(compared.is_ok()));
        if let Err(mismatch) = compared {
            self.seat.board.publish(&self.player, None);
            return Ok(self.refuse(client, &mismatch));
        }
        let (status, headers) = self.response();
        let chunked = self.head.minor_version == 1;
        let mut headers = headers;
        if chunked {
            headers.push("Transfer-Encoding", "chunked");
        }
        headers.push("Connection", "close");
        let mut bytes = Vec::with_capacity(512);
        ResponseHead { headers: headers.clone(), ..ResponseHead::new(status) }.write(&mut bytes);
        let truncated = body.len() > max_bytes;
        if truncated {
            cut_text(&mut body, max_bytes);
        }
        let (text, encoding) = encode(&body);
        // The times of this replay, not those of the recording that it plays.
        self.player.start(self.origin.mono_us);
        let head_us = self.player.head_due_us().unwrap_or_else(time::now_us);
        let stream_head = StreamHead::Sse {
            request: SseRequest { method: self.head.method.clone(), body: Some(text).filter(|text| !text.is_empty()), encoding, truncated },
            response_status: status,
            response_headers: pairs(&headers),
            head_relative_us: Some(self.origin.relative_us(head_us)),
        };
        let recordings = &self.app.recordings;
        let reserved = recordings.claim(Protocol::Sse, self.metadata);
        let tape = reserved.map(|reserved| recordings.begin(reserved, self.origin, stream_head));
        let from = Arc::clone(&client.stream);
        let half_closed = platform::has_half_closed(from.fd());
        let stall = Duration::from_millis(settings.stall_timeout_ms);
        let line = Line { stream: Arc::clone(&client.stream), stall, tape, head: Some(bytes), chunked };
        start(self.seat, self.player, line, self.origin, |inbox, _| {
            // Whatever the client still sends is not for this response; its end is what matters. One that had closed its
            // sending half with its request waits for the response.
            let mut buffer = [0; 1024];
            if half_closed {
                platform::wait_gone(from.fd());
            } else {
                while matches!(from.read(&mut buffer), Ok(1..)) {}
            }
            drop(inbox.send(Input::Gone));
        })?;
        Ok(After::Close)
    }

    /// At least the bytes of the recorded request's body.
    fn recorded_body_bytes(&self) -> usize {
        self.seat.compiled.request().and_then(|request| request.body.as_deref()).map_or(0, str::len)
    }

    fn compare(&mut self, body: &[u8]) -> std::result::Result<(), ReplayError> {
        let compiled = &self.seat.compiled;
        let request = compiled.request();
        let recorded = request.and_then(|request| request.body.as_deref().and_then(|body| decode(body, request.encoding)));
        let truncated = request.is_some_and(|request| request.truncated);
        self.player.request(recorded.as_deref(), truncated, body)
    }

    fn refuse(&self, client: &mut Inlet, mismatch: &ReplayError) -> After {
        let mut body = serde_json::to_value(mismatch).unwrap_or_default();
        body["error"] = serde_json::json!(mismatch.code);
        let body = format!("{body}\n");
        // The body has been read, so the connection can go on.
        let request = without_body(self.head);
        answer::send(client, &request, ResponseHead::new(409), Some(body.as_bytes()), self.app.settings.cors_origin.as_deref())
    }

    /// The recorded status and fields, less what belongs to the recorded connection alone.
    fn response(&self) -> (u16, Headers) {
        let mut headers = Headers::default();
        let mut status = 200;
        let head = &self.seat.compiled.head;
        if let StreamHead::Sse { response_status, response_headers, .. } = &head.stream {
            status = *response_status;
            headers = kept_fields(response_headers, head.metadata.redaction.as_ref());
        }
        if headers.get("Content-Type").is_none() {
            headers.push("Content-Type", "text/event-stream");
        }
        cors::allow(&mut headers, self.head, self.app.settings.cors_origin.as_deref());
        (status, headers)
    }
}

/// The request as if it had no body.
fn without_body(head: &RequestHead) -> RequestHead {
    let mut head = head.clone();
    head.headers.remove("Content-Length");
    head.headers.remove("Transfer-Encoding");
    head
}

/// Reads a request's body to its end and gives its first `kept_bytes`; `None` when the client leaves in the middle of it.
///
/// # Errors
/// [`Error::Invalid`] for malformed framing.
fn read_body(client: &mut Inlet, head: &RequestHead, kept_bytes: usize) -> Result<Option<Vec<u8>>> {
    let framing = head.framing().map_err(|malformed| Error::invalid("", malformed.message))?;
    let mut reader = BodyReader::new(framing);
    let mut body = Vec::new();
    if framing != Framing::None && head.headers.has_token("Expect", "100-continue") && client.data().is_empty() {
        let go_on = client.stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n", Some(Duration::from_millis(limits::STALL_TIMEOUT_MS)));
        if go_on.is_err() {
            return Ok(None);
        }
    }
    while !reader.is_done() {
        if client.data().is_empty() && !matches!(client.fill(), Ok(1..)) {
            return Ok(None);
        }
        let piece = reader.next(client.data()).map_err(|malformed| Error::invalid("", malformed.message))?;
        body.extend_from_slice(&piece.data[..piece.data.len().min(kept_bytes - body.len())]);
        let consumed = piece.consumed;
        client.consume(consumed);
    }
    Ok(Some(body))
}

/// Starts the session's thread and runs the reader on this one until the connection ends.
fn start(seat: Seat, mut player: Box<Player>, line: Line, origin: Origin, read: impl FnOnce(&Sender<Input>, &Gate)) -> Result<()> {
    let (inbox, heard) = channel();
    player.start(origin.mono_us);
    seat.board.attach(inbox.clone(), origin, &player);
    let gate = Arc::new(Gate::default());
    let parts = Parts {
        board: Arc::clone(&seat.board),
        script: Arc::clone(&seat.compiled.script),
        player,
        line,
        inbox: heard,
        gate: Arc::clone(&gate),
    };
    let thread = sync::spawn("replay", move || session::run(parts, origin.mono_us))?;
    read(&inbox, &gate);
    // The thread catches its own panics; the seat tells the board of one.
    drop(thread.join());
    Ok(())
}

/// Reads a WebSocket client's frames into a session's inbox.
struct WsReader {
    stream: Arc<Stream>,
    tape: Option<Arc<Tape>>,
    max_message_bytes: u64,
    max_queued: u64,
}

impl WsReader {
    fn new(app: &App, stream: Arc<Stream>, tape: Option<Arc<Tape>>) -> Self {
        let settings = &app.settings;
        Self { stream, tape, max_message_bytes: settings.max_message_bytes, max_queued: settings.max_queued_messages }
    }

    /// Reads until the client closes, breaks the protocol or is gone. `early` came with the handshake.
    fn read(&self, early: Vec<u8>, inbox: &Sender<Input>, gate: &Gate) {
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
                    // The session may have ended before; then nobody listens.
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
            if let Input::Message(FrameType::Close, _) = input {
                continue;
            }
            // A session that is gone drops its end of the inbox; its connection is shut then, so that a read fails.
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
        // An unasked pong needs no answer (RFC 6455 §5.5.3); it is skipped above.
        _ => Input::Message(FrameType::Close, Vec::new()),
    }
}
