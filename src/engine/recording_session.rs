//! One recording session: what was asked for, the tapes of its connections, and what its recordings are called. It asks no disk, and knows
//! no other session.

use std::sync::Arc;

use super::take::Bounds;
use super::tape::{Held, Tape};
use crate::base::id;
use crate::base::time::{self, Micros, Origin};
use crate::model::api::{StartRequest, Summary};
use crate::model::recording::{FORMAT_VERSION, Head, Metadata, Protocol, Recording, SseRequest, Status, StreamHead, StreamTail, Tail};
use crate::rules::pattern;
use crate::rules::redact::Redactor;
use crate::rules::redact_ends::redact_head;
use crate::wire::url::UpstreamUrl;

/// A recording that a connection has taken and that must be begun: whoever stops its session waits for it.
#[derive(Debug)]
pub struct Reserved {
    pub(super) tape: Arc<Tape>,
    pub(super) head: Box<Head>,
    pub(super) bounds: Bounds,
}

/// A session, from its start until its files are complete.
pub(super) struct Session {
    pub id: String,
    pub request: StartRequest,
    /// Its name, given or made.
    pub name: String,
    pub opened: Origin,
    /// Where what it records goes, if it says so.
    pub upstream: Option<Arc<UpstreamUrl>>,
    /// A tape for each connection, in their order.
    pub tapes: Vec<Arc<Tape>>,
    /// The paths of these, and when each came, in microseconds since the epoch.
    met: Vec<(String, Micros)>,
    /// It was stopped before it saw a connection.
    pub is_empty: bool,
}

impl Session {
    /// A session that begins now.
    pub fn open(request: StartRequest, upstream: Option<Arc<UpstreamUrl>>) -> Self {
        Self {
            id: id::new(),
            name: request.name.clone().unwrap_or_else(|| request.protocol.made_name(&request.path)),
            opened: Origin::now(),
            upstream,
            tapes: Vec::new(),
            met: Vec::new(),
            is_empty: false,
            request,
        }
    }

    /// Whether it is for just this.
    pub fn is_for(&self, protocol: Protocol, path: &str) -> bool {
        self.request.protocol == protocol && self.request.path == path
    }

    /// Whether it records a connection on this path.
    pub fn takes(&self, protocol: Protocol, path: &str) -> bool {
        self.request.protocol == protocol && pattern::matches(&self.request.path, path)
    }

    /// The recording of this session's next connection: the first takes the session's id.
    pub fn take_connection(&mut self, metadata: &mut Metadata, held: &Arc<Held>) -> Reserved {
        let number = self.tapes.len() + 1;
        let id = if number == 1 { self.id.clone() } else { id::new() };
        let tape = Arc::new(Tape::beside(id, held));
        self.tapes.push(Arc::clone(&tape));
        self.met.push((metadata.path.clone(), Origin::now().wall_us));
        metadata.session_id = Some(self.id.clone());
        let mut head = empty_head(tape.id(), numbered(self.name.clone(), number));
        head.description = self.request.description.clone();
        head.tags = self.request.tags.clone();
        Reserved { tape, head, bounds: Bounds { max_duration_ms: self.request.max_duration_ms, max_frames: self.request.max_frames } }
    }

    /// It is stopped, and saw nobody: a tape onto which nothing comes; its outcome says when the recording of no frames is on disk.
    pub fn stop_empty(&mut self) {
        self.is_empty = true;
        self.tapes.push(Arc::new(Tape::new(self.id.clone())));
    }

    /// What is known, without its file, of the recording of the connection at this place.
    pub fn unwritten(&self, at: usize, redactor: &Redactor) -> Summary {
        let mut head = self.empty_head(redactor, self.met.get(at));
        let (id, frames) = self.tapes.get(at).map_or((self.id.as_str(), 0), |tape| (tape.id(), tape.frames()));
        head.id = id.to_owned();
        head.name = numbered(head.name, at + 1);
        let tail = Tail {
            status: Status::Incomplete,
            status_reason: Some("storage_error".to_owned()),
            end_time: None,
            duration: None,
            stream: StreamTail::open(self.request.protocol),
            stats: Default::default(),
        };
        Summary { frame_count: frames, ..Summary::of(&head, &tail, 0, false) }
    }

    /// What a session without a connection has recorded.
    pub fn empty_recording(&self, status: Status, redactor: &Redactor) -> Recording {
        let protocol = self.request.protocol;
        let head = self.empty_head(redactor, None);
        let now = time::now_us();
        let ended = status != Status::Recording;
        let tail = Tail {
            status,
            status_reason: None,
            end_time: ended.then(|| time::rfc3339(self.opened.wall_at(now))),
            duration: ended.then(|| self.opened.relative_us(now) / 1000),
            stream: if ended { ended_by_recorder(protocol, self.opened.relative_us(now)) } else { StreamTail::open(protocol) },
            stats: Default::default(),
        };
        Recording { head: *head, frames: Vec::new(), tail }
    }

    /// The head of a recording of which nothing is known but the path that was `met` and when, or else what was asked for.
    fn empty_head(&self, redactor: &Redactor, met: Option<&(String, Micros)>) -> Box<Head> {
        let mut head = empty_head(&self.id, self.name.clone());
        let (path, wall_us) = met.map_or((&self.request.path, self.opened.wall_us), |(path, wall_us)| (path, *wall_us));
        head.description = self.request.description.clone();
        head.tags = self.request.tags.clone();
        head.start_time = time::rfc3339(wall_us);
        head.metadata = Metadata { path: path.clone(), session_id: Some(self.id.clone()), ..Metadata::default() };
        if self.request.protocol == Protocol::Sse {
            head.stream = StreamHead::Sse {
                request: SseRequest { method: "GET".to_owned(), ..SseRequest::default() },
                response_status: 200,
                response_headers: Default::default(),
                head_relative_us: None,
            };
        }
        redact_head(&mut head, redactor);
        head
    }
}

/// The name of a session's so-many'th recording.
fn numbered(name: String, number: usize) -> String {
    if number == 1 { name } else { format!("{name} #{number}") }
}

fn ended_by_recorder(protocol: Protocol, end_us: u64) -> StreamTail {
    use crate::model::recording::EndedBy::Recorder;
    match protocol {
        Protocol::WebSocket => {
            StreamTail::WebSocket { close_code: None, close_reason: None, closed_by: Some(Recorder), end_relative_us: Some(end_us) }
        }
        Protocol::Sse => StreamTail::Sse { tail: None, tail_encoding: None, ended_by: Some(Recorder), end_relative_us: Some(end_us) },
    }
}

/// The head of a recording that begins.
// Apart, so that a connection that is not recorded has no room for it on its stack.
#[inline(never)]
pub(super) fn empty_head(id: &str, name: String) -> Box<Head> {
    Box::new(Head {
        format_version: FORMAT_VERSION.to_owned(),
        id: id.to_owned(),
        name,
        description: None,
        tags: Vec::new(),
        start_time: String::new(),
        metadata: Metadata::default(),
        stream: StreamHead::WebSocket { subprotocol: None },
        extra: serde_json::Map::new(),
    })
}
