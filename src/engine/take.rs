//! A take: one recording in the recorder's hands. It turns stretches of tape into frame lines, redacted, and knows its tail.
//! It never touches a socket and never sleeps; its journal is the only file it writes.

use std::sync::Arc;

use super::losses::{Losses, Unfinished};
use super::tape::{End, Stretch, Tape};
use crate::base::error::{Error, Result};
use crate::base::limits;
use crate::base::time::{self, Micros, Origin};
use crate::model::recording::{
    Direction, Encoding, EndedBy, Frame, FrameType, Head, Protocol, SseEvent, Stats, Status, StreamHead, StreamTail, Tail, WsFrame, encode,
};
use crate::model::recording_text;
use crate::rules::redact::Redactor;
use crate::rules::redact_ends::{redact_head, redact_tail};
use crate::store::{Journal, Store};
use crate::wire::sse::{Block, EventStreamParser};
use crate::wire::ws::{self, Message, MessageReader, Side, opcode};

/// What a recording may grow to before it ends as complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bounds {
    /// Milliseconds from the origin.
    pub max_duration_ms: Option<u64>,
    /// Frames, as `frameCount` counts them.
    pub max_frames: Option<u64>,
}

enum Parser {
    WebSocket { client: MessageReader, server: MessageReader },
    Sse(Option<EventStreamParser>),
}

/// One recording being written.
pub struct Take {
    /// What passes.
    pub tape: Arc<Tape>,
    head: Head,
    origin: Origin,
    bounds: Bounds,
    redactor: Arc<Redactor>,
    parser: Parser,
    journal: Option<Journal>,
    /// The counts of what has been read, and of what is in the journal.
    seen: Stats,
    stats: Stats,
    frames: Vec<Frame>,
    lines: Vec<u8>,
    first: bool,
    /// The first close frame of either side.
    close: Option<(Option<u16>, String, Direction)>,
    /// What an event stream left behind its last blank line.
    rest: Vec<u8>,
    end: Option<(End, Micros)>,
    /// What was written at its end, and whether the disk took it.
    closed: Option<(Tail, Result<()>)>,
}

impl Take {
    /// A take of the connection that `head` describes; its journal is made by [`Take::begin`].
    pub fn new(tape: Arc<Tape>, head: Head, origin: Origin, bounds: Bounds, redactor: Arc<Redactor>, max_event_bytes: u64) -> Self {
        let parser = match head.protocol() {
            // The relay has checked the frames and their sizes already; what reaches the tape is right.
            Protocol::WebSocket => {
                Parser::WebSocket { client: MessageReader::new(Side::Client, u64::MAX), server: MessageReader::new(Side::Server, u64::MAX) }
            }
            Protocol::Sse => Parser::Sse(Some(EventStreamParser::new(max_event_bytes))),
        };
        Self {
            tape,
            head,
            origin,
            bounds,
            redactor,
            parser,
            journal: None,
            seen: Stats::default(),
            stats: Stats::default(),
            frames: Vec::new(),
            lines: Vec::new(),
            first: true,
            close: None,
            rest: Vec::new(),
            end: None,
            closed: None,
        }
    }

    /// Bytes in memory of what describes the connection, about.
    pub fn head_bytes(&self) -> usize {
        let body = match &self.head.stream {
            StreamHead::Sse { request, .. } => request.body.as_ref().map_or(0, String::len),
            StreamHead::WebSocket { .. } => 0,
        };
        limits::WAITING_TAKE_BYTES + body
    }

    /// Redacts the head and makes the journal.
    ///
    /// # Errors
    /// `Error::StorageFull`, `Error::Storage`.
    pub fn begin(&mut self, store: &Store) -> Result<()> {
        redact_head(&mut self.head, &self.redactor);
        let journal = store.create(&self.head)?;
        self.tape.publish(0, journal.len());
        self.tape.free_head();
        self.journal = Some(journal);
        Ok(())
    }

    /// Takes what is on the tape and writes it to the journal; `true` when the recording has ended.
    pub fn advance(&mut self, stretch: &mut Stretch) -> bool {
        self.tape.take(stretch);
        if self.end.is_none() {
            self.read_stretch(stretch);
        }
        if self.end.is_none() {
            self.check_duration();
        }
        if self.end.is_none()
            && let Some((end, stamp)) = stretch.end.take()
        {
            if let End::CutShort(reason) = &end {
                log::error!("the recording {} ends incomplete ({reason}), its traffic goes on", self.tape.id());
            }
            self.finish_parser();
            self.end = Some((end, stamp));
        }
        stretch.end = None;
        if let Err(error) = self.write_frames() {
            self.cut_short(&error);
        }
        self.end.is_some()
    }

    /// Writes the tail: from now on the recording is whole, also where this process ends before it got its name.
    pub fn close(&mut self) {
        let tail = self.tail();
        if let Some(journal) = &mut self.journal {
            let written = journal.close(&tail);
            self.closed = Some((tail, written));
        }
    }

    /// Makes the file last and gives it its name. fsync takes its time: this runs on the finisher's thread. What could not be finished
    /// can be tried again.
    pub fn finish(self, losses: &Losses) -> Option<Unfinished> {
        let id = self.tape.id().to_owned();
        let (outcome, ending) = match (self.journal, self.closed) {
            (Some(journal), Some((tail, written))) => (written.and_then(|()| journal.finish()), Some(tail)),
            _ => (Err(Error::Failed(format!("the recording {id} could not be begun; the log says why"))), None),
        };
        let mut unfinished = None;
        if let Err(error) = &outcome {
            log::error!("the recording {id} could not be finished, which is tried again every second: {error}");
            // Before the outcome, so that whoever waits for that knows.
            losses.add(error);
            unfinished = ending.map(|tail| {
                let status_reason = tail.status_reason.clone().or_else(|| Some(reason_of(error).to_owned()));
                Unfinished { id, ending: Tail { status: Status::Incomplete, status_reason, ..tail } }
            });
        }
        self.tape.publish_outcome(outcome);
        unfinished
    }

    /// Gives up a take whose journal could not be made.
    pub fn refuse(self, error: Error, losses: &Losses) {
        losses.refuse(self.tape.id(), &error);
        self.tape.end(End::CutShort("storage_error"));
        self.tape.publish_outcome(Err(error));
    }

    fn read_stretch(&mut self, stretch: &Stretch) {
        for (entry, place) in stretch.entries.iter().zip(&stretch.places) {
            let bytes = &stretch.bytes[*place..place + entry.len];
            if let Err(reason) = self.read_bytes(entry.direction, entry.stamp_us, bytes) {
                self.end_now(End::CutShort(reason), entry.stamp_us);
            }
            if self.end.is_some() {
                return;
            }
        }
    }

    fn read_bytes(&mut self, direction: Direction, stamp_us: Micros, bytes: &[u8]) -> std::result::Result<(), &'static str> {
        let before = self.frames.len();
        let (origin, frames) = (self.origin, &mut self.frames);
        match &mut self.parser {
            Parser::WebSocket { client, server } => {
                let reader = if direction == Direction::ClientToServer { client } else { server };
                let read = reader.feed(bytes, &mut |message| frames.push(Frame::WebSocket(ws_frame(origin, direction, stamp_us, message))));
                // The relay forwards only what its guard has passed, so the reader finds nothing that is wrong.
                read.map_err(|_| "recorder_error")?;
            }
            Parser::Sse(Some(parser)) => {
                let read = parser.feed(bytes, &mut |block| frames.push(Frame::Sse(sse_event(origin, stamp_us, block))));
                read.map_err(|_| "event_too_large")?;
            }
            Parser::Sse(None) => return Ok(()),
        }
        self.count_frames(before, stamp_us);
        Ok(())
    }

    /// Counts the frames from index `before` on; at the session's bound the rest is left out.
    fn count_frames(&mut self, before: usize, stamp_us: Micros) {
        for at in before..self.frames.len() {
            let frame = &self.frames[at];
            let late = frame.due_us().zip(self.bounds.max_duration_ms).is_some_and(|(due, max)| due > max.saturating_mul(1000));
            if late {
                self.frames.truncate(at);
                self.end_now(End::Recorder, stamp_us);
                return;
            }
            self.seen.count(frame);
            if let Frame::WebSocket(WsFrame { kind: FrameType::Close, direction, close_code, close_reason, .. }) = frame
                && self.close.is_none()
            {
                self.close = Some((*close_code, close_reason.clone().unwrap_or_default(), *direction));
            }
            if self.bounds.max_frames.is_some_and(|max| self.seen.frame_count >= max) {
                self.frames.truncate(at + 1);
                self.end_now(End::Recorder, stamp_us);
                return;
            }
        }
    }

    fn check_duration(&mut self) {
        let now = time::now_us();
        let max_us = self.bounds.max_duration_ms.map(|max| max.saturating_mul(1000));
        if max_us.is_some_and(|max| self.origin.relative_us(now) >= max) {
            self.end_now(End::Recorder, now);
        }
    }

    fn end_now(&mut self, end: End, stamp_us: Micros) {
        self.tape.end(end.clone());
        self.end = Some((end, stamp_us));
    }

    /// Writes the frames that have been read, redacted, with one call; where that does not fit, those that do.
    fn write_frames(&mut self) -> Result<()> {
        let Some(journal) = &mut self.journal else { return Ok(()) };
        if self.frames.is_empty() {
            return Ok(());
        }
        self.lines.clear();
        for frame in &mut self.frames {
            self.redactor.frame(frame);
            recording_text::push_frame_line(&mut self.lines, frame, self.first)?;
            self.first = false;
        }
        let written = journal.append(&self.lines);
        if written.is_ok() {
            self.stats = self.seen;
        } else {
            for (line, frame) in self.lines.split_inclusive(|byte| *byte == b'\n').zip(&self.frames) {
                if journal.append(line).is_err() {
                    break;
                }
                self.stats.count(frame);
            }
        }
        self.frames.clear();
        self.tape.publish(self.stats.frame_count, journal.len());
        // One huge frame must not keep its memory for the rest of a long recording.
        if self.lines.capacity() > 4 * limits::MIB as usize {
            self.lines = Vec::new();
        }
        written
    }

    fn cut_short(&mut self, error: &Error) {
        let reason = reason_of(error);
        log::error!("the recording {} ends incomplete ({reason}), its traffic goes on: {error}", self.tape.id());
        self.end_now(End::CutShort(reason), time::now_us());
    }

    /// Hands over what an event stream left behind its last blank line: the tail keeps it.
    fn finish_parser(&mut self) {
        if let Parser::Sse(parser) = &mut self.parser
            && let Some(done) = parser.take()
        {
            self.rest = done.into_tail();
        }
    }

    fn tail(&mut self) -> Tail {
        let (end, stamp_us) = self.end.take().unwrap_or((End::Recorder, time::now_us()));
        let end_relative_us = self.origin.relative_us(stamp_us);
        let (status, status_reason) = match &end {
            End::CutShort(reason) => (Status::Incomplete, Some((*reason).to_owned())),
            _ => (Status::Complete, None),
        };
        let by = match &end {
            End::Side(Direction::ClientToServer) => EndedBy::Client,
            End::Side(Direction::ServerToClient) => EndedBy::Server,
            End::ProtocolError(..) => EndedBy::ProtocolError,
            End::Recorder | End::CutShort(_) => EndedBy::Recorder,
        };
        let mut stream = match self.head.protocol() {
            Protocol::WebSocket => self.ws_tail(end, by, end_relative_us),
            Protocol::Sse => self.event_stream_tail(by, end_relative_us),
        };
        redact_tail(&mut stream, &self.redactor);
        Tail {
            status,
            status_reason,
            end_time: Some(time::rfc3339(self.origin.wall_us.saturating_add(end_relative_us))),
            duration: Some(end_relative_us / 1000),
            stream,
            stats: self.stats,
        }
    }

    fn ws_tail(&self, end: End, by: EndedBy, end_relative_us: u64) -> StreamTail {
        let (close_code, close_reason, closed_by) = match (end, &self.close) {
            (End::ProtocolError(code, reason), _) => (Some(code), Some(reason), EndedBy::ProtocolError),
            (_, Some((code, reason, direction))) => {
                let by = if *direction == Direction::ClientToServer { EndedBy::Client } else { EndedBy::Server };
                (Some(code.unwrap_or(1005)), Some(reason.clone()), by)
            }
            (End::Side(_), None) => (Some(1006), None, by),
            (End::Recorder | End::CutShort(_), None) => (None, None, by),
        };
        StreamTail::WebSocket { close_code, close_reason, closed_by: Some(closed_by), end_relative_us: Some(end_relative_us) }
    }

    fn event_stream_tail(&self, by: EndedBy, end_relative_us: u64) -> StreamTail {
        let (text, tail_encoding) = encode(&self.rest);
        let tail = Some(text).filter(|tail| !tail.is_empty());
        StreamTail::Sse { tail, tail_encoding, ended_by: Some(by), end_relative_us: Some(end_relative_us) }
    }
}

/// The `statusReason` of a recording that the disk cut short.
pub fn reason_of(error: &Error) -> &'static str {
    if matches!(error, Error::StorageFull(_)) { "storage_full" } else { "storage_error" }
}

fn ws_frame(origin: Origin, direction: Direction, stamp_us: Micros, message: Message) -> WsFrame {
    let relative_us = origin.relative_us(stamp_us);
    let kind = match message.opcode {
        opcode::TEXT => FrameType::Text,
        opcode::BINARY => FrameType::Binary,
        opcode::PING => FrameType::Ping,
        opcode::PONG => FrameType::Pong,
        _ => FrameType::Close,
    };
    let (mut close_code, mut close_reason) = (None, None);
    let (data, encoding) = match kind {
        FrameType::Close => {
            let (code, reason) = ws::parse_close(&message.payload);
            close_code = code;
            close_reason = Some(reason).filter(|reason| !reason.is_empty());
            (String::new(), None)
        }
        FrameType::Binary => (data_encoding::BASE64.encode(&message.payload), Some(Encoding::Base64)),
        _ => match String::from_utf8(message.payload) {
            Ok(text) => (text, None),
            Err(error) => encode(error.as_bytes()),
        },
    };
    WsFrame {
        direction,
        kind,
        data,
        encoding,
        close_code,
        close_reason,
        timestamp: time::rfc3339(origin.wall_us.saturating_add(relative_us)),
        relative_ms: Some(relative_us / 1000),
        relative_us: Some(relative_us),
        extra: serde_json::Map::new(),
    }
}

fn sse_event(origin: Origin, stamp_us: Micros, block: Block) -> SseEvent {
    SseEvent::of_block(block, origin.wall_us, origin.relative_us(stamp_us))
}
