//! A take: one recording in the recorder's hands. It turns stretches of tape into frame lines, redacted, and knows its tail.
//! It never touches a socket and never sleeps; its journal is the only file it writes.

use std::sync::Arc;

use super::lines::{Closing, Lines};
use super::losses::{Losses, Unfinished};
use super::stretch::{Run, Stretch};
use super::tape::{End, Tape};
use crate::base::error::{Error, Result};
use crate::base::limits;
use crate::base::time::{self, Micros, Origin};
use crate::model::recording::{Direction, EndedBy, Head, Protocol, Stats, Status, StreamHead, StreamTail, Tail, encode};
use crate::model::recording_text;
use crate::rules::redact::Redactor;
use crate::rules::redact_ends::{redact_head, redact_tail};
use crate::store::{Journal, Store};
use crate::wire::sse::EventStreamParser;
use crate::wire::ws::{MessageReader, Side};

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

impl Parser {
    /// Bytes of what is being put together.
    fn held_bytes(&self) -> usize {
        match self {
            Self::WebSocket { client, server } => client.held_bytes() + server.held_bytes(),
            Self::Sse(parser) => parser.as_ref().map_or(0, EventStreamParser::held_bytes),
        }
    }
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
    lines: Lines,
    /// The counts of what is in the journal.
    stats: Stats,
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
        let lines = Lines::new(origin, bounds, Arc::clone(&redactor));
        Self {
            tape,
            head,
            origin,
            bounds,
            redactor,
            parser,
            journal: None,
            lines,
            stats: Stats::default(),
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
        self.lines.swap_text(&mut stretch.text);
        if self.end.is_none() {
            self.read_stretch(stretch);
        }
        if self.end.is_none() {
            self.check_duration();
        }
        if self.end.is_none() && !self.tape.hold_joining(self.parser.held_bytes()) {
            self.end_now(End::CutShort("recorder_overrun"), time::now_us());
            log::error!("the recording {} ends incomplete (recorder_overrun), its traffic goes on", self.tape.id());
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
        self.write_lines();
        self.lines.swap_text(&mut stretch.text);
        if let Some(journal) = &self.journal {
            self.tape.publish(self.stats.frame_count, journal.len());
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
        let mut at = 0;
        while at < stretch.reads.entries.len() && self.end.is_none() {
            let run = stretch.run(at, limits::JOURNAL_PIECE_BYTES);
            self.read_run(&run);
            if self.end.is_none()
                && let Some(stamp_us) = self.lines.full_us()
            {
                self.end_now(End::Recorder, stamp_us);
            }
            if self.lines.text().len() >= limits::JOURNAL_PIECE_BYTES {
                self.write_lines();
            }
            at += run.entries.len();
        }
    }

    fn read_run(&mut self, run: &Run<'_>) {
        let lines = &mut self.lines;
        match &mut self.parser {
            Parser::WebSocket { client, server } => {
                let reader = if run.direction == Direction::ClientToServer { client } else { server };
                let mut stamps = run.stamps();
                let read = reader.lend(run.bytes, |lent| lines.add_message(run.direction, stamps.of(lent.end), lent.opcode, lent.payload));
                // The relay forwards only what its guard has passed, so the reader finds nothing that is wrong.
                if read.is_err() {
                    self.end_now(End::CutShort("recorder_error"), stamps.of(run.bytes.len()));
                }
            }
            Parser::Sse(Some(parser)) => {
                let mut rest = run.bytes;
                for entry in run.entries {
                    let (bytes, after) = rest.split_at(entry.len);
                    rest = after;
                    if parser.feed(bytes, &mut |block| lines.add_block(entry.stamp_us, block)).is_err() {
                        return self.end_now(End::CutShort("event_too_large"), entry.stamp_us);
                    }
                }
            }
            Parser::Sse(None) => {}
        }
    }

    /// Ends the tape where the recording's time is over. What came before and is still on its way is taken first: the end stands behind it.
    fn check_duration(&self) {
        let max_us = self.bounds.max_duration_ms.map(|max| max.saturating_mul(1000));
        if max_us.is_some_and(|max| self.origin.relative_us(time::now_us()) >= max) {
            self.tape.end(End::Recorder);
        }
    }

    fn end_now(&mut self, end: End, stamp_us: Micros) {
        self.tape.end(end.clone());
        self.end = Some((end, stamp_us));
    }

    /// Writes the lines of what has been read with one call; where that does not fit, those that do, and the recording ends.
    fn write_lines(&mut self) {
        let Some(journal) = &mut self.journal else { return self.lines.forget() };
        if self.lines.text().is_empty() {
            return;
        }
        let written = journal.append(self.lines.text());
        if written.is_ok() {
            self.stats = self.lines.seen();
        } else {
            for line in self.lines.text().split_inclusive(|byte| *byte == b'\n') {
                let Ok(frame) = recording_text::parse_frame_line(self.head.protocol(), line.trim_ascii_end()) else { break };
                if journal.append(line).is_err() {
                    break;
                }
                self.stats.count(&frame);
            }
        }
        self.lines.forget();
        if let Err(error) = written {
            self.cut_short(&error);
        }
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
        let (close_code, close_reason, closed_by) = match (end, self.lines.close()) {
            (End::ProtocolError(code, reason), _) => (Some(code), Some(reason), EndedBy::ProtocolError),
            (_, Some(Closing { code, reason, direction })) => {
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

#[cfg(test)]
mod tests {
    use super::super::stretch::KEPT_ROUNDS;
    use super::super::tape::Held;
    use super::*;
    use crate::base::id;
    use crate::model::recording::{FORMAT_VERSION, Metadata};
    use crate::wire::ws;

    fn take(store: &Store) -> Take {
        take_beside(store, &Arc::default())
    }

    fn take_beside(store: &Store, held: &Arc<Held>) -> Take {
        take_within(store, held, Bounds::default())
    }

    fn take_within(store: &Store, held: &Arc<Held>, bounds: Bounds) -> Take {
        let id = id::new();
        let origin = Origin::now();
        let head = Head {
            format_version: FORMAT_VERSION.to_owned(),
            name: id.clone(),
            id: id.clone(),
            description: None,
            tags: Vec::new(),
            start_time: time::rfc3339(origin.wall_us),
            metadata: Metadata::default(),
            stream: StreamHead::WebSocket { subprotocol: None },
            extra: serde_json::Map::new(),
        };
        let redactor = Arc::new(Redactor::new(&Default::default()).unwrap());
        let mut take = Take::new(Arc::new(Tape::beside(id, held)), head, origin, bounds, redactor, limits::MAX_EVENT_BYTES);
        take.begin(store).unwrap();
        take
    }

    fn push(take: &Take, text: &[u8]) {
        let mut frame = Vec::new();
        ws::push_frame(&mut frame, ws::opcode::TEXT, text, None);
        let stamp = take.tape.stamp(Direction::ServerToClient, None).unwrap();
        take.tape.push(Direction::ServerToClient, stamp, &frame);
    }

    /// Trap: the time was over while it was on its way, and it was left out.
    #[test]
    fn what_came_within_the_duration_is_kept_however_late_it_is_pushed() {
        const MAX_MS: u64 = 500;
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().to_owned(), u64::MAX, 100);
        let mut take = take_within(&store, &Arc::default(), Bounds { max_duration_ms: Some(MAX_MS), ..Bounds::default() });
        let (mut frame, mut stretch) = (Vec::new(), Stretch::default());
        ws::push_frame(&mut frame, ws::opcode::TEXT, b"in time", None);
        let stamp = take.tape.stamp(Direction::ServerToClient, None).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(MAX_MS));
        assert!(!take.advance(&mut stretch), "it is on its way");
        assert_eq!(take.tape.stamp(Direction::ClientToServer, None), None, "nothing more belongs to it");
        take.tape.push(Direction::ServerToClient, stamp, &frame);
        assert!(take.advance(&mut stretch));
        take.close();
        let (tail, _) = take.closed.take().unwrap();
        assert_eq!((tail.status, tail.stats.text_frames), (Status::Complete, 1));
        assert!(tail.stream.end_relative_us().is_some_and(|end| end >= MAX_MS * 1000));
    }

    /// Trap: what has left the tape and is not written was counted by nobody.
    #[test]
    fn an_unfinished_message_counts_until_its_end_comes() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().to_owned(), u64::MAX, 100);
        let held = Arc::default();
        let (mut take, other) = (take_beside(&store, &held), Tape::beside("other".into(), &held));
        assert!(other.hold_head(limits::MAX_TAPES_BYTES - 300));
        let mut frame = Vec::new();
        ws::push_frame(&mut frame, ws::opcode::BINARY, &[7; 200], None);
        let mut stretch = Stretch::default();
        // Each piece of the frame, and the room that is left behind it.
        for (piece, room) in [(&frame[..104], 200), (&frame[104..154], 150), (&frame[154..], 300)] {
            let stamp = take.tape.stamp(Direction::ServerToClient, None).unwrap();
            take.tape.push(Direction::ServerToClient, stamp, piece);
            assert!(!take.advance(&mut stretch));
            assert_eq!([room + 1, room].map(|bytes| other.hold_head(bytes)), [false, true]);
            other.free_head();
            assert!(other.hold_head(limits::MAX_TAPES_BYTES - 300));
        }
        assert_eq!(take.stats.binary_frames, 1);
    }

    /// Trap: where there is no room for it the recording goes on without an end to what it takes.
    #[test]
    fn a_message_for_which_there_is_no_room_ends_the_recording_only() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().to_owned(), u64::MAX, 100);
        let held = Arc::default();
        let (mut take, other) = (take_beside(&store, &held), Tape::beside("other".into(), &held));
        let mut frame = Vec::new();
        ws::push_frame(&mut frame, ws::opcode::BINARY, &[7; 200], None);
        take.read_run(&Run { direction: Direction::ServerToClient, bytes: &frame[..100], entries: &[] });
        assert!(other.hold_head(limits::MAX_TAPES_BYTES));
        assert!(take.advance(&mut Stretch::default()) && !take.tape.is_open());
        take.close();
        let (tail, written) = take.closed.take().unwrap();
        assert!(written.is_ok());
        assert_eq!((tail.status, tail.status_reason.as_deref()), (Status::Incomplete, Some("recorder_overrun")));
    }

    /// Trap: a crowd of connections each of which had one large message long ago.
    #[test]
    fn the_memory_for_lines_is_shared_by_all_recordings_and_given_back() {
        const BURST: usize = 1 << 20;
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().to_owned(), u64::MAX, 100);
        let mut takes = [take(&store), take(&store)];
        let mut stretch = Stretch::default();
        let mut round = |texts: [&[u8]; 2]| {
            let mut filled = 0;
            for (take, text) in takes.iter_mut().zip(texts) {
                push(take, text);
                assert!(!take.advance(&mut stretch));
                filled = filled.max(stretch.reads.bytes.len());
                let mut kept = Vec::new();
                take.lines.swap_text(&mut kept);
                assert_eq!(kept.capacity(), 0);
            }
            stretch.end_round(filled);
            (stretch.text.capacity() >= BURST, stretch.is_large())
        };
        assert_eq!(round([&[b'x'; BURST], b"little"]), (true, true));
        assert_eq!(round([b"little", b"little"]), (true, true), "the next burst may come soon");
        let left = (0..2 * KEPT_ROUNDS).map(|_| round([b"little", b"little"])).last();
        assert_eq!(left, Some((false, false)));
        for take in &takes {
            let text = std::fs::read_to_string(dir.path().join(format!("rec_{}.journal", take.tape.id()))).unwrap();
            assert_eq!(text.lines().count() as u32, 1 + 2 + 2 * KEPT_ROUNDS);
        }
    }
}
