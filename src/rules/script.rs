//! A recording compiled for replay: the wire bytes of everything the server sent in one buffer, and for each item its place and
//! its time. Made once, shared by all sessions of the recording. It knows no mode and no option; the player has those.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use super::correlate_plan::Plan;
use crate::base::error::{Error, Result};
use crate::model::recording::{
    Direction, EndedBy, Frame, FrameType, Head, Protocol, SseEvent, StreamHead, StreamTail, Tail, WsFrame, decode,
};
use crate::wire::sse::{Block, EventStreamParser};
use crate::wire::ws::{self, opcode};

/// What a server item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemKind {
    /// A data frame, or an event with data: a step.
    Step,
    /// A ping, or a block without data: it rides along with a step.
    Ride,
}

/// One entry of the conversation, in recorded order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Something that the server sent.
    Server {
        /// Step or ride.
        kind: ItemKind,
        /// Microseconds from the recording's origin; never less than that of the entry before.
        due_us: u64,
        /// Its wire bytes in [`Script::bytes`]; the items follow each other without a gap.
        wire: Range<usize>,
        /// Its payload; [`Script::payload`] looks it up.
        payload: Payload,
        /// Text or binary, for a WebSocket step; a ping; an event is a text.
        frame: FrameType,
        /// How many steps of the server come before it.
        steps_before: u64,
    },
    /// A data frame that the client sent (WebSocket only).
    Client {
        /// Microseconds from the recording's origin; never less than that of the entry before.
        due_us: u64,
        /// Text or binary.
        frame: FrameType,
        /// Its payload.
        payload: Vec<u8>,
        /// Where the next server item begins in [`Script::bytes`].
        wire_at: usize,
        /// The time of the last server item before it; 0 where there is none.
        sent_us: u64,
        /// How many steps of the server come before it.
        steps_before: u64,
    },
}

/// Where the payload of something that the server sent stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Payload {
    /// Within the wire bytes, in [`Script::bytes`].
    Wire(Range<usize>),
    /// In [`Script::texts`]: the data of an event whose wire bytes say it in several lines, or in a form of their own.
    Text(Range<usize>),
}

impl Entry {
    /// Microseconds from the recording's origin.
    pub fn due_us(&self) -> u64 {
        match self {
            Self::Server { due_us, .. } | Self::Client { due_us, .. } => *due_us,
        }
    }

    /// Where the server items up to and including this entry end in [`Script::bytes`].
    pub fn wire_end(&self) -> usize {
        match self {
            Self::Server { wire, .. } => wire.end,
            Self::Client { wire_at, .. } => *wire_at,
        }
    }

    /// The time of the last server item up to and including this entry. It never goes back from one entry to the next, whereas what
    /// rides comes behind a client's message that may be later than it.
    pub fn sent_us(&self) -> u64 {
        match self {
            Self::Server { due_us, .. } => *due_us,
            Self::Client { sent_us, .. } => *sent_us,
        }
    }

    /// How many steps of the server come before it.
    pub fn steps_before(&self) -> u64 {
        match self {
            Self::Server { steps_before, .. } | Self::Client { steps_before, .. } => *steps_before,
        }
    }

    /// Whether it is a step of the server.
    pub fn is_server_step(&self) -> bool {
        matches!(self, Self::Server { kind: ItemKind::Step, .. })
    }
}

/// How the recorded server ended the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It did not: the client is left to end it.
    None,
    /// A close frame (a step).
    Close {
        /// Its code; `None` for a frame without one.
        code: Option<u16>,
        /// Its reason.
        reason: String,
    },
    /// The TCP connection vanished (a step).
    Drop,
    /// The event stream ended, after its `tail` bytes (no step).
    EndStream,
}

impl Ending {
    /// Whether it counts as a step.
    pub fn is_step(&self) -> bool {
        matches!(self, Self::Close { .. } | Self::Drop)
    }
}

/// A compiled recording.
#[derive(Debug)]
pub struct Script {
    /// Of which protocol.
    pub protocol: Protocol,
    /// Wire bytes of all server items, in order: unmasked WebSocket frames, or the event stream's own bytes (`raw`, or
    /// canonical); then the bytes of [`Script::tail`].
    pub bytes: Vec<u8>,
    /// The data of events that is not a part of their wire bytes, one after the other.
    pub texts: Vec<u8>,
    /// The conversation.
    pub entries: Vec<Entry>,
    /// How many of them are server steps.
    pub server_steps: u64,
    /// How many of them are client messages.
    pub client_steps: u64,
    /// Where these stand in [`Script::entries`].
    pub clients: Vec<usize>,
    /// Ids of events with their entries, in order.
    pub ids: Vec<(usize, String)>,
    /// How the server ended it.
    pub ending: Ending,
    /// Microseconds from the origin to the ending: that of the server's close frame where it is recorded, else [`Script::end_us`].
    pub ending_us: u64,
    /// In [`Script::bytes`]: what an event stream that the server ended sent after its last blank line.
    pub tail: Range<usize>,
    /// Microseconds from the origin to the end: `endRelativeUs`, else `duration`, else the last entry's time.
    pub end_us: u64,
    /// SSE: microseconds from the origin to the response head, where recorded.
    pub head_us: Option<u64>,
    /// What stands where the recorder has redacted a value.
    pub redact_value: Option<String>,
    /// What `correlate` may change in it, for the paths of the first session that does; made when that learns.
    pub(super) plan: OnceLock<Arc<Plan>>,
}

impl Script {
    /// The payload of an entry: of a message, or the event's data.
    pub fn payload<'a>(&'a self, entry: &'a Entry) -> &'a [u8] {
        match entry {
            Entry::Client { payload, .. } => payload,
            Entry::Server { payload: Payload::Wire(at), .. } => &self.bytes[at.clone()],
            Entry::Server { payload: Payload::Text(at), .. } => &self.texts[at.clone()],
        }
    }

    /// How many steps of the server come before the entry at an index, which may be the one past the last.
    pub fn steps_before(&self, index: usize) -> u64 {
        self.entries.get(index).map_or(self.server_steps, Entry::steps_before)
    }

    /// The wire bytes of a server entry, had its payload been `text`. An event comes out in canonical form.
    pub fn encode(&self, entry: &Entry, text: &str) -> Vec<u8> {
        let mut out = Vec::new();
        let Entry::Server { wire, .. } = entry else { return out };
        match self.protocol {
            Protocol::WebSocket => ws::push_frame(&mut out, opcode::TEXT, text.as_bytes(), None),
            Protocol::Sse => {
                let mut parser = EventStreamParser::new(u64::MAX);
                let parsed = parser.feed(&self.bytes[wire.clone()], &mut |mut block: Block| {
                    block.data = Some(text.to_owned());
                    out.extend_from_slice(&block.canonical());
                });
                // Without a limit nothing is too large; what is no whole block stays as it was recorded.
                if parsed.is_err() || out.is_empty() {
                    out = self.bytes[wire.clone()].to_vec();
                }
            }
        }
        out
    }
}

/// Compiles a recording frame by frame, so that nobody holds it whole in another form.
#[derive(Debug)]
pub struct ScriptBuilder {
    script: Script,
    /// Frames pushed so far: what errors call them.
    pushed: usize,
    last_us: u64,
    /// The time of the server's first close frame.
    close_us: Option<u64>,
}

impl ScriptBuilder {
    /// Begins with the recording's head.
    pub fn new(head: &Head) -> Self {
        let head_us = match &head.stream {
            StreamHead::Sse { head_relative_us, .. } => *head_relative_us,
            StreamHead::WebSocket { .. } => None,
        };
        let script = Script {
            protocol: head.protocol(),
            bytes: Vec::new(),
            texts: Vec::new(),
            entries: Vec::new(),
            server_steps: 0,
            client_steps: 0,
            clients: Vec::new(),
            ids: Vec::new(),
            ending: Ending::None,
            ending_us: 0,
            tail: 0..0,
            end_us: 0,
            head_us,
            redact_value: head.metadata.redaction.as_ref().map(|rules| rules.redact_value.clone()),
            plan: OnceLock::new(),
        };
        Self { script, pushed: 0, last_us: 0, close_us: None }
    }

    /// Adds the next frame.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the frame: no time, bad base64, of another protocol.
    pub fn push(&mut self, frame: &Frame) -> Result<()> {
        let due_us = frame.due_us().ok_or_else(|| self.wrong("it has neither relativeUs nor relativeMs"))?;
        // A file that people wrote may have times that go back; order is what counts then.
        self.last_us = self.last_us.max(due_us);
        match (frame, self.script.protocol) {
            (Frame::WebSocket(frame), Protocol::WebSocket) => self.push_message(frame)?,
            (Frame::Sse(event), Protocol::Sse) => self.push_event(event)?,
            _ => return Err(self.wrong("it is of another protocol than the recording")),
        }
        self.pushed += 1;
        Ok(())
    }

    fn push_message(&mut self, frame: &WsFrame) -> Result<()> {
        use Direction::{ClientToServer, ServerToClient};
        let due_us = self.last_us;
        let (kind, code) = match (frame.direction, frame.kind) {
            (ServerToClient, FrameType::Text) => (ItemKind::Step, opcode::TEXT),
            (ServerToClient, FrameType::Binary) => (ItemKind::Step, opcode::BINARY),
            (ServerToClient, FrameType::Ping) => (ItemKind::Ride, opcode::PING),
            (ServerToClient, FrameType::Close) => {
                self.close_us.get_or_insert(due_us);
                return Ok(());
            }
            (ClientToServer, FrameType::Text | FrameType::Binary) => {
                let payload = frame.payload().ok_or_else(|| self.wrong("its data is no base64"))?;
                self.script.client_steps += 1;
                // What rides goes with the step that follows it, and a client's step passes when its message has come.
                let riding =
                    self.script.entries.iter().rev().take_while(|entry| matches!(entry, Entry::Server { kind: ItemKind::Ride, .. }));
                let at = self.script.entries.len() - riding.count();
                let (passed, riding) = self.script.entries.split_at(at);
                let wire_at = match riding.first() {
                    Some(Entry::Server { wire, .. }) => wire.start,
                    _ => self.script.bytes.len(),
                };
                let sent_us = passed.last().map_or(0, Entry::sent_us);
                let steps_before = self.script.server_steps;
                let client = Entry::Client { due_us, frame: frame.kind, payload, wire_at, sent_us, steps_before };
                self.script.clients.push(at);
                self.script.entries.insert(at, client);
                return Ok(());
            }
            // Pongs and a client's pings and close are answered, or not, by what the live client does.
            (_, FrameType::Pong) | (ClientToServer, FrameType::Ping | FrameType::Close) => return Ok(()),
        };
        let start = self.script.bytes.len();
        let payload_len = match frame.encoding {
            None if frame.kind != FrameType::Binary => {
                ws::push_frame(&mut self.script.bytes, code, frame.data.as_bytes(), None);
                frame.data.len()
            }
            _ => {
                let payload = frame.payload().ok_or_else(|| self.wrong("its data is no base64"))?;
                ws::push_frame(&mut self.script.bytes, code, &payload, None);
                payload.len()
            }
        };
        let end = self.script.bytes.len();
        self.push_item(kind, start..end, Payload::Wire(end - payload_len..end), frame.kind);
        Ok(())
    }

    fn push_event(&mut self, event: &SseEvent) -> Result<()> {
        let start = self.script.bytes.len();
        match &event.raw {
            Some(raw) => {
                let raw = decode(raw, event.raw_encoding).ok_or_else(|| self.wrong("its raw is no base64"))?;
                self.script.bytes.extend_from_slice(&raw);
            }
            None => self.script.bytes.extend_from_slice(&event.canonical()),
        }
        if let Some(id) = &event.id {
            self.script.ids.push((self.script.entries.len(), id.clone()));
        }
        let wire = start..self.script.bytes.len();
        let kind = if event.data.is_some() { ItemKind::Step } else { ItemKind::Ride };
        let data = event.data.as_deref().unwrap_or_default();
        // The canonical form ends with its data, so that a single line of it need not be kept twice.
        let payload = if event.raw.is_none() && !data.contains('\n') && self.script.bytes[wire.clone()].ends_with(b"\n\n") {
            let end = wire.end - 2;
            Payload::Wire(end.saturating_sub(data.len())..end)
        } else {
            let at = self.script.texts.len();
            self.script.texts.extend_from_slice(data.as_bytes());
            Payload::Text(at..self.script.texts.len())
        };
        self.push_item(kind, wire, payload, FrameType::Text);
        Ok(())
    }

    fn push_item(&mut self, kind: ItemKind, wire: Range<usize>, payload: Payload, frame: FrameType) {
        let steps_before = self.script.server_steps;
        self.script.server_steps += u64::from(kind == ItemKind::Step);
        self.script.entries.push(Entry::Server { kind, due_us: self.last_us, wire, payload, frame, steps_before });
    }

    fn wrong(&self, message: &str) -> Error {
        let list = match self.script.protocol {
            Protocol::WebSocket => "frames",
            Protocol::Sse => "events",
        };
        Error::invalid(format!("{list}[{}]", self.pushed), message)
    }

    /// Ends it with the recording's tail.
    pub fn finish(self, tail: &Tail) -> Script {
        let Self { mut script, last_us, close_us, .. } = self;
        let end_us = tail.stream.end_relative_us().or_else(|| tail.duration.map(|ms| ms.saturating_mul(1000)));
        script.end_us = end_us.unwrap_or(last_us).max(last_us);
        script.ending = match &tail.stream {
            StreamTail::WebSocket { close_code, close_reason, closed_by: Some(EndedBy::Server), .. } => match close_code {
                Some(1006) => Ending::Drop,
                Some(1005) | None => Ending::Close { code: None, reason: String::new() },
                Some(code) => Ending::Close { code: Some(*code), reason: close_reason.clone().unwrap_or_default() },
            },
            StreamTail::Sse { ended_by: Some(EndedBy::Server), .. } => Ending::EndStream,
            StreamTail::WebSocket { .. } | StreamTail::Sse { .. } => Ending::None,
        };
        script.ending_us = match script.ending {
            Ending::Close { .. } => close_us.unwrap_or(script.end_us).max(script.entries.last().map_or(0, Entry::due_us)),
            _ => script.end_us,
        };
        let start = script.bytes.len();
        if let (Ending::EndStream, StreamTail::Sse { tail: Some(text), tail_encoding, .. }) = (&script.ending, &tail.stream) {
            // A tail that claims to be base64 and is not has no bytes that could be sent.
            script.bytes.extend_from_slice(&decode(text, *tail_encoding).unwrap_or_default());
        }
        script.tail = start..script.bytes.len();
        script.bytes.shrink_to_fit();
        script.texts.shrink_to_fit();
        script
    }
}

#[cfg(test)]
pub(crate) mod samples {
    //! Recordings in a line each, for the tests of this floor.

    use super::*;
    use crate::model::recording::{Encoding, Metadata, SseRequest, Stats, Status};

    /// The head of a recording.
    pub(crate) fn head(protocol: Protocol, head_us: Option<u64>) -> Head {
        let stream = match protocol {
            Protocol::WebSocket => StreamHead::WebSocket { subprotocol: None },
            Protocol::Sse => StreamHead::Sse {
                request: SseRequest::default(),
                response_status: 200,
                response_headers: Default::default(),
                head_relative_us: head_us,
            },
        };
        Head {
            format_version: "1.0".to_owned(),
            id: "01".to_owned(),
            name: "sample".to_owned(),
            description: None,
            tags: Vec::new(),
            start_time: "2024-01-15T10:30:00Z".to_owned(),
            metadata: Metadata::default(),
            stream,
            extra: Default::default(),
        }
    }

    /// A tail.
    pub(crate) fn tail(stream: StreamTail) -> Tail {
        Tail { status: Status::Complete, status_reason: None, end_time: None, duration: None, stream, stats: Stats::default() }
    }

    /// A WebSocket frame out of `s2c text hello`, at a time in microseconds. `binary` takes base64.
    pub(crate) fn message(at_us: u64, line: &str) -> Frame {
        let mut words = line.splitn(3, ' ');
        let direction = if words.next() == Some("s2c") { Direction::ServerToClient } else { Direction::ClientToServer };
        let kind = match words.next() {
            Some("binary") => FrameType::Binary,
            Some("ping") => FrameType::Ping,
            Some("pong") => FrameType::Pong,
            Some("close") => FrameType::Close,
            _ => FrameType::Text,
        };
        Frame::WebSocket(WsFrame {
            direction,
            kind,
            data: words.next().unwrap_or_default().to_owned(),
            encoding: (kind == FrameType::Binary).then_some(Encoding::Base64),
            close_code: None,
            close_reason: None,
            timestamp: String::new(),
            relative_ms: None,
            relative_us: Some(at_us),
            extra: Default::default(),
        })
    }

    /// An event with data and perhaps an id; without either a comment.
    pub(crate) fn event(at_us: u64, data: &str, id: &str) -> Frame {
        let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        let comment = if data.is_empty() && id.is_empty() { Some("ping".to_owned()) } else { None };
        let kind = some(data).map(|_| "message".to_owned());
        Frame::Sse(SseEvent { kind, data: some(data), id: some(id), comment, relative_us: Some(at_us), ..SseEvent::default() })
    }

    /// A WebSocket script; `close`: how the server ended it, and when.
    pub(crate) fn websocket(lines: &[(u64, &str)], close: Option<(u16, &str, u64)>) -> Script {
        let mut builder = ScriptBuilder::new(&head(Protocol::WebSocket, None));
        for (at_us, line) in lines {
            builder.push(&message(*at_us, line)).unwrap();
        }
        builder.finish(&tail(StreamTail::WebSocket {
            close_code: close.map(|close| close.0),
            close_reason: close.map(|close| close.1.to_owned()),
            closed_by: close.map(|_| EndedBy::Server),
            end_relative_us: close.map(|close| close.2),
        }))
    }

    /// An event stream's script: events of time, data and id; ended by the server at `end_us`, after `tail_text`.
    pub(crate) fn event_stream(head_us: u64, events: &[(u64, &str, &str)], end: Option<(u64, &str)>) -> Script {
        let mut builder = ScriptBuilder::new(&head(Protocol::Sse, Some(head_us)));
        for (at_us, data, id) in events {
            builder.push(&event(*at_us, data, id)).unwrap();
        }
        builder.finish(&tail(StreamTail::Sse {
            tail: end.map(|end| end.1.to_owned()),
            tail_encoding: None,
            ended_by: end.map(|_| EndedBy::Server),
            end_relative_us: end.map(|end| end.0),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::samples::{event_stream, head, message, tail, websocket};
    use super::*;

    #[test]
    fn a_conversation_becomes_wire_bytes_and_entries() {
        let script = websocket(
            &[(5, "s2c text hi"), (7, "c2s text yo"), (8, "s2c ping p"), (8, "c2s pong p"), (6, "s2c binary AAE="), (9, "c2s close ")],
            None,
        );
        assert_eq!(script.bytes, b"\x81\x02hi\x89\x01p\x82\x02\x00\x01");
        assert_eq!((script.server_steps, script.client_steps, &script.ending), (2, 1, &Ending::None));
        let payloads: Vec<_> = script.entries.iter().map(|entry| (entry.due_us(), script.payload(entry))).collect();
        assert_eq!(payloads, [(5, &b"hi"[..]), (7, b"yo"), (8, b"p"), (8, b"\x00\x01")], "times never go back");
        assert_eq!(script.end_us, 9, "without an end the last frame's time counts");
    }

    #[test]
    fn who_closed_and_how_is_the_ending() {
        let end = |code, by| {
            let stream =
                StreamTail::WebSocket { close_code: code, close_reason: Some("r".into()), closed_by: by, end_relative_us: Some(9) };
            ScriptBuilder::new(&head(Protocol::WebSocket, None)).finish(&tail(stream)).ending
        };
        let reason = "r".to_owned();
        for (code, by, ending) in [
            (Some(4001), Some(EndedBy::Server), Ending::Close { code: Some(4001), reason }),
            (Some(1005), Some(EndedBy::Server), Ending::Close { code: None, reason: String::new() }),
            (Some(1006), Some(EndedBy::Server), Ending::Drop),
            (Some(1000), Some(EndedBy::Client), Ending::None),
            (Some(1006), Some(EndedBy::Client), Ending::None),
            (Some(1002), Some(EndedBy::ProtocolError), Ending::None),
            (None, Some(EndedBy::Recorder), Ending::None),
            (None, None, Ending::None),
        ] {
            assert_eq!(end(code, by), ending, "{code:?} {by:?}");
        }
        assert_eq!(websocket(&[(3, "s2c text a"), (5, "s2c close ")], Some((1000, "", 90))).ending_us, 5, "the close frame's own time");
        assert_eq!(websocket(&[(3, "s2c text a")], Some((1006, "", 90))).ending_us, 90);
    }

    #[test]
    fn events_are_raw_or_canonical_and_the_tail_follows() {
        let mut builder = ScriptBuilder::new(&head(Protocol::Sse, Some(40)));
        let raw = Some("data:a\r\n\r\n".to_owned());
        let kind = Some("message".to_owned());
        let first = SseEvent { kind: kind.clone(), data: Some("a".into()), raw, relative_ms: Some(2), ..SseEvent::default() };
        let second = SseEvent { kind, data: Some("b\nc".into()), id: Some("7".into()), relative_us: Some(2500), ..SseEvent::default() };
        let lone = SseEvent { retry: Some(10), relative_us: Some(2600), ..SseEvent::default() };
        for event in [first, second, lone] {
            builder.push(&Frame::Sse(event)).unwrap();
        }
        let stream = StreamTail::Sse {
            tail: Some("data: to".into()),
            tail_encoding: None,
            ended_by: Some(EndedBy::Server),
            end_relative_us: Some(3000),
        };
        let script = builder.finish(&tail(stream));
        assert_eq!(script.bytes, b"data:a\r\n\r\nid: 7\ndata: b\ndata: c\n\nretry: 10\n\ndata: to");
        assert_eq!(&script.bytes[script.tail.clone()], b"data: to");
        assert_eq!((script.head_us, script.end_us, &script.ending), (Some(40), 3000, &Ending::EndStream));
        assert_eq!((script.server_steps, script.ids.as_slice()), (2, &[(1, "7".to_owned())][..]));
        assert_eq!(script.payload(&script.entries[1]), b"b\nc");
        let open = event_stream(0, &[(1, "a", "")], None);
        assert_eq!((open.ending, open.tail.len()), (Ending::None, 0));
    }

    #[test]
    fn a_bad_frame_is_named() {
        let mut builder = ScriptBuilder::new(&head(Protocol::WebSocket, None));
        builder.push(&message(1, "s2c text a")).unwrap();
        let error = builder.push(&message(1, "s2c binary ?")).unwrap_err().to_string();
        assert_eq!(error, "frames[1]: its data is no base64");
        let Frame::WebSocket(mut timeless) = message(1, "c2s text a") else { panic!() };
        timeless.relative_us = None;
        let error = builder.push(&Frame::WebSocket(timeless)).unwrap_err().to_string();
        assert_eq!(error, "frames[1]: it has neither relativeUs nor relativeMs");
    }
}
