//! Recording sessions: opened and stopped by the admin API, matched by every connection that is established.
//! They know paths and names; frames go past them on tapes.

use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::losses::Lost;
use super::recorder::Recorder;
use super::recording_session::{Reserved, Session, empty_head};
use super::take::{Bounds, Take, reason_of};
use super::tape::{End, Held, Tape};
use crate::base::error::{Error, Result};
use crate::base::time::{self, Origin};
use crate::base::{id, limits, sync};
use crate::model::api::{SessionView, StartRequest, Started, Stopped, Summary};
use crate::model::recording::{Metadata, Protocol, Recording, Source, Status, StreamHead};
use crate::model::setting::EVERYTHING;
use crate::model::settings::Settings;
use crate::rules::pattern;
use crate::rules::redact::Redactor;
use crate::store::Store;
use crate::wire::url::UpstreamUrl;

/// What is recorded from the first request on, a recording each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The paths: that of `--record`.
    pub pattern: String,
    /// The session that they all belong to, where there is one. Then only what goes to an upstream is recorded.
    pub session: Option<String>,
}

impl Standing {
    /// What these settings ask for.
    pub fn of(settings: &Settings) -> Option<Self> {
        let session = settings.record_session.clone();
        let pattern = session.as_ref().map(|_| EVERYTHING.to_owned()).or_else(|| settings.record.clone());
        pattern.map(|pattern| Self { pattern, session })
    }

    fn takes(&self, metadata: &Metadata) -> bool {
        pattern::matches(&self.pattern, &metadata.path) && (self.session.is_none() || metadata.source == Some(Source::Proxy))
    }
}

/// All open recording sessions, and what `--record` asks for.
pub struct Recordings {
    store: Arc<Store>,
    recorder: Recorder,
    /// The bytes of all tapes.
    held: Arc<Held>,
    redactor: Arc<Redactor>,
    max_event_bytes: u64,
    always: Option<Standing>,
    open: Mutex<Open>,
    /// A session has its first connection, or has been stopped.
    change: Condvar,
}

#[derive(Default)]
struct Open {
    sessions: Vec<Session>,
    /// Sessions that have been stopped, until their files are complete: who ends the server waits for these too, and followers.
    stopped: Vec<Arc<Session>>,
    /// Recordings that belong to no session, while they run.
    loose: Vec<Arc<Tape>>,
    /// Set when the server ends: nothing new is recorded.
    closed: bool,
}

impl std::fmt::Debug for Recordings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recordings").field("always", &self.always).finish_non_exhaustive()
    }
}

impl Recordings {
    /// No session yet; `always` is what is recorded without one.
    pub fn new(store: Arc<Store>, recorder: Recorder, redactor: Arc<Redactor>, max_event_bytes: u64, always: Option<Standing>) -> Self {
        let held = Arc::default();
        Self { store, recorder, held, redactor, max_event_bytes, always, open: Mutex::default(), change: Condvar::new() }
    }

    /// Opens a session. `serves` says whether anything would serve a protocol on a path; where nothing would, the answer carries a warning.
    ///
    /// # Errors
    /// `already_recording`, a bad upstream URL, a data directory that can't be used, a full store.
    pub fn start(&self, request: StartRequest, serves: impl FnOnce(Protocol, &str) -> bool) -> Result<Started> {
        let upstream = request.upstream.as_deref().map(|url| UpstreamUrl::parse("upstream", url)).transpose()?.map(Arc::new);
        self.store.ensure_dir()?;
        let room = self.store.check_room()?;
        let unserved = upstream.is_none() && !serves(request.protocol, &request.path);
        let hint = unserved.then(|| {
            format!(
                "nothing serves {} yet: give \"upstream\" in this call, start with --upstream URL, or add an upstream or a mock to the config",
                request.path
            )
        });
        let mut open = sync::lock(&self.open);
        if let Some(other) = open.sessions.iter().find(|session| session.is_for(request.protocol, &request.path)) {
            let what = format!("{} {}", request.protocol.word(), request.path);
            return Err(Error::conflict("already_recording", format!("{what} is being recorded by session {}; stop it first", other.id)));
        }
        let session = Session::open(request, upstream);
        let started = Started {
            id: session.id.clone(),
            session_id: session.id.clone(),
            recording_id: session.id.clone(),
            protocol: session.request.protocol,
            path: session.request.path.clone(),
            name: session.name.clone(),
            status: Status::Recording,
            warning: [hint, room].into_iter().flatten().reduce(|all, next| format!("{all}; {next}")),
        };
        open.sessions.push(session);
        drop(open);
        // Nobody may take the log for a while, and all traffic asks for the lock.
        log::info!("session {} records {} {}", started.id, started.protocol.word(), self.redactor.url(&started.path));
        Ok(started)
    }

    /// Ends a session (id or prefix) and waits until its files are complete. Connections go on, unrecorded.
    ///
    /// # Errors
    /// `not_recording` for one that has been stopped; not found; what the disk says.
    pub fn stop(&self, prefix: &str) -> Result<Stopped> {
        match self.take_session(prefix) {
            Ok(session) => {
                let stopped = self.finish_session(&session, Duration::from_millis(limits::SHUTDOWN_MS * 12));
                sync::lock(&self.open).forget_finished();
                stopped
            }
            Err(Error::NotFound { .. }) => Err(self.not_a_session(prefix)),
            Err(other) => Err(other),
        }
    }

    /// The open ones.
    pub fn sessions(&self) -> Vec<SessionView> {
        let open = sync::lock(&self.open);
        let plain = |text: &str| self.redactor.plain(text).unwrap_or_else(|| text.to_owned());
        let view = |session: &Session| SessionView {
            id: session.id.clone(),
            protocol: session.request.protocol,
            path: plain(&session.request.path),
            name: plain(&session.name),
            start_time: time::rfc3339(session.opened.wall_us),
            connections: session.tapes.iter().filter(|tape| tape.is_open()).count() as u64,
            frames: session.tapes.iter().map(|tape| tape.frames()).sum(),
            recordings: session.tapes.iter().map(|tape| tape.id().to_owned()).collect(),
        };
        open.sessions.iter().map(view).collect()
    }

    /// Waits until the journal of a recording (full id) has grown past `seen` bytes or has ended, at most `limit`; gives its size and whether it still runs.
    pub fn wait_growth(&self, id: &str, seen: u64, limit: Duration) -> (u64, bool) {
        let tape = {
            let open = sync::lock(&self.open);
            open.tapes().find(|tape| tape.id() == id).cloned()
        };
        tape.map_or((seen, false), |tape| tape.wait_growth(seen, limit))
    }

    /// The recording (id or prefix) of a session whose first file is still to come, as it stands: of no frames. Who looks for a recording
    /// asks here before the store: a file that is made between the two looks is found by the second.
    ///
    /// # Errors
    /// Not found, ambiguous.
    pub fn waiting(&self, prefix: &str) -> Result<Recording> {
        let open = sync::lock(&self.open);
        let id = id::resolve("recording", prefix, open.waiting().map(|session| session.id.as_str()))?;
        match open.waiting().find(|session| session.id == id) {
            Some(session) => Ok(session.empty_recording(Status::Recording, &self.redactor)),
            None => Err(Error::NotFound { kind: "recording", id }),
        }
    }

    /// The recordings of all sessions whose first files are still to come, for a list.
    pub fn all_waiting(&self) -> Vec<Summary> {
        let open = sync::lock(&self.open);
        let recordings = open.waiting().map(|session| session.empty_recording(Status::Recording, &self.redactor));
        recordings.map(|recording| Summary::of(&recording.head, &recording.tail, 0, false)).collect()
    }

    /// Waits until the first file of a session (full id) is there, at most `limit`; whether it is still to come. `false` also where there
    /// will be none: its disk refused it, or nobody knows the session any more.
    pub fn wait_begun(&self, id: &str, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut open = sync::lock(&self.open);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(session) = open.all_sessions().find(|session| session.id == id) else { return false };
            if let Some(tape) = session.tapes.first().cloned() {
                drop(open);
                return tape.wait_growth(0, left) == (0, true);
            }
            if left.is_zero() {
                return true;
            }
            open = sync::wait(&self.change, open, left);
        }
    }

    /// Whether a stream of this protocol on this path would be recorded if it were established now.
    pub fn wants(&self, protocol: Protocol, path: &str) -> bool {
        self.always.as_ref().is_some_and(|always| pattern::matches(&always.pattern, path))
            || sync::lock(&self.open).sessions.iter().any(|session| session.takes(protocol, path))
    }

    /// The upstream that an open session gives for a path, with the session's pattern; one of the asked protocol before another's.
    pub fn upstream_for(&self, protocol: Protocol, path: &str) -> Option<(String, Arc<UpstreamUrl>)> {
        let open = sync::lock(&self.open);
        let best = |of_protocol: bool| {
            let given = open.sessions.iter().filter(|session| session.upstream.is_some());
            let given: Vec<&Session> = given.filter(|session| (session.request.protocol == protocol) == of_protocol).collect();
            let at = pattern::most_specific(given.iter().map(|session| session.request.path.as_str()), path)?;
            let session = given.get(at)?;
            Some((session.request.path.clone(), session.upstream.clone()?))
        };
        best(true).or_else(|| best(false))
    }

    /// Whether an open session brings an upstream for this path, or for one that this pattern takes.
    pub fn bring_upstream(&self, path: &str) -> bool {
        sync::lock(&self.open).sessions.iter().any(|session| session.upstream.is_some() && pattern::overlap(&session.request.path, path))
    }

    /// The recording that a connection with this metadata (not yet redacted) gets, if it is to be recorded. It is taken before the client
    /// hears that the connection is established, so that a `stop` right after that does not miss it.
    pub fn claim(&self, protocol: Protocol, mut metadata: Box<Metadata>) -> Option<Reserved> {
        let path = metadata.path.clone();
        let mut open = sync::lock(&self.open);
        if open.closed {
            return None;
        }
        let candidates: Vec<usize> = (0..open.sessions.len()).filter(|at| open.sessions[*at].takes(protocol, &path)).collect();
        let best = pattern::most_specific(candidates.iter().map(|at| open.sessions[*at].request.path.as_str()), &path);
        let mut reserved = match (best.map(|best| &mut open.sessions[candidates[best]]), &self.always) {
            (Some(session), _) => session.take_connection(&mut metadata, &self.held),
            (None, Some(always)) if always.takes(&metadata) => {
                metadata.session_id.clone_from(&always.session);
                let tape = Arc::new(Tape::beside(id::new(), &self.held));
                open.forget_finished();
                open.loose.push(Arc::clone(&tape));
                let head = empty_head(tape.id(), protocol.made_name(&path));
                Reserved { tape, head, bounds: Bounds::default() }
            }
            (None, _) => return None,
        };
        self.change.notify_all();
        reserved.head.metadata = *metadata;
        Some(reserved)
    }

    /// Begins a recording: `origin` is when the 101 was sent, or the request read. Gives the tape to push what passes to.
    pub fn begin(&self, reserved: Reserved, origin: Origin, stream: StreamHead) -> Arc<Tape> {
        let Reserved { tape, mut head, bounds } = reserved;
        head.start_time = time::rfc3339(origin.wall_us);
        let head_us = if let StreamHead::Sse { head_relative_us, .. } = &stream { head_relative_us.unwrap_or(0) } else { 0 };
        tape.begin(origin, origin.mono_us.saturating_add(head_us));
        head.stream = stream;
        let take = Take::new(Arc::clone(&tape), *head, origin, bounds, Arc::clone(&self.redactor), self.max_event_bytes);
        self.recorder.begin(take);
        tape
    }

    /// Ends every recording as complete and waits for their files, at most `limit`.
    pub fn finish_all(&self, limit: Duration) {
        self.end_all().finish(Instant::now() + limit);
    }

    /// Ends every recording as complete; nothing more is recorded.
    pub fn end_all(&self) -> Ended {
        let (sessions, tapes) = {
            let mut open = sync::lock(&self.open);
            open.closed = true;
            open.forget_finished();
            let sessions: Vec<Arc<Session>> = std::mem::take(&mut open.sessions).into_iter().map(Arc::new).collect();
            // They stay known until they are finished, for those who follow or stop them.
            open.stopped.extend(sessions.iter().filter(|session| !session.tapes.is_empty()).cloned());
            let tapes: Vec<Arc<Tape>> = open.tapes().cloned().collect();
            (sessions, tapes)
        };
        self.change.notify_all();
        let empty = sessions.iter().filter(|session| session.tapes.is_empty());
        let saved = self.save_all_empty(empty.map(|session| session.empty_recording(Status::Complete, &self.redactor)).collect());
        tapes.iter().for_each(|tape| tape.end(End::Recorder));
        Ended { tapes, saved }
    }

    /// Writes recordings of no frames on a thread of its own, for a disk may hang; what is given ends when they are written.
    fn save_all_empty(&self, recordings: Vec<Recording>) -> Receiver<()> {
        let (sender, saved) = channel();
        let store = Arc::clone(&self.store);
        let save = move || {
            for recording in recordings {
                if let Err(error) = store.keep_empty(&recording.head, &recording.tail) {
                    log::error!("the empty recording {} could not be written: {error}", recording.head.id);
                }
            }
            drop(sender);
        };
        if let Err(error) = sync::spawn("empty recordings", save) {
            log::error!("recordings of no frames are not written: {error}");
        }
        saved
    }

    /// How many recordings have been finished since the start.
    pub fn finished(&self) -> u64 {
        self.recorder.finished()
    }

    /// The recordings that could not be begun or kept since the start.
    pub fn lost(&self) -> Lost {
        self.recorder.lost()
    }

    /// How many connections are being recorded.
    pub fn running(&self) -> u64 {
        sync::lock(&self.open).tapes().filter(|tape| tape.is_open()).count() as u64
    }

    /// Stops a session: nothing more is recorded for it. It stays known until its files are complete.
    fn take_session(&self, prefix: &str) -> Result<Arc<Session>> {
        let mut open = sync::lock(&self.open);
        let id = id::resolve("recording session", prefix, open.sessions.iter().map(|session| session.id.as_str()))?;
        let at = open.sessions.iter().position(|session| session.id == id);
        let mut session = at.map(|at| open.sessions.remove(at)).ok_or(Error::NotFound { kind: "recording session", id })?;
        if session.tapes.is_empty() {
            session.stop_empty();
        }
        session.tapes.iter().for_each(|tape| tape.end(End::Recorder));
        let session = Arc::new(session);
        open.stopped.push(Arc::clone(&session));
        self.change.notify_all();
        Ok(session)
    }

    /// Why `prefix` is no open session. It asks the disk, so it holds no lock that a connection could wait for.
    fn not_a_session(&self, prefix: &str) -> Error {
        let is_meant = |tape: &&Arc<Tape>| tape.id().eq_ignore_ascii_case(prefix);
        let (stopping, running) = {
            let mut open = sync::lock(&self.open);
            open.forget_finished();
            // What is none of these may be on the disk: that answer counts.
            let stopping = id::resolve("recording session", prefix, open.stopped.iter().map(|session| session.id.as_str())).ok();
            (stopping, open.tapes().find(is_meant).map(|tape| tape.id().to_owned()))
        };
        if let Some(id) = stopping {
            return Error::conflict("not_recording", format!("{id} is being stopped; its file is not complete yet"));
        }
        if let Some(id) = running {
            return Error::NotFound { kind: "recording session", id };
        }
        match self.store.resolve(prefix).and_then(|id| self.store.summary(&id)) {
            Ok(summary) if summary.session_id.as_deref().is_none_or(|session| session == summary.id) => {
                let message = match summary.status {
                    Status::Recording => format!("{} is being recorded by another server: stop it there", summary.id),
                    status => format!("{} is not being recorded; its status is {}", summary.id, status.word()),
                };
                Error::conflict("not_recording", message)
            }
            Ok(summary) => Error::NotFound { kind: "recording session", id: summary.id },
            Err(error) => error,
        }
    }

    /// Waits for the files of a session that has been stopped, for each at most `limit` after the one before it; once that was in vain the disk
    /// hangs, and is asked for nothing more.
    fn finish_session(&self, session: &Session, limit: Duration) -> Result<Stopped> {
        if session.is_empty {
            let saved = self.save_empty(session);
            session.tapes.iter().for_each(|tape| tape.publish_outcome(saved.clone()));
        }
        let mut recordings: Vec<Summary> = Vec::new();
        let (mut kept, mut failure, mut limit) = (0, None, limit);
        for (at, tape) in session.tapes.iter().enumerate() {
            let stored = |id: &str| if limit.is_zero() { None } else { self.store.summary(id).ok() };
            match tape.wait_outcome(limit) {
                // It may have been edited, or deleted, since.
                Some(Ok(summary)) => {
                    kept += 1;
                    recordings.push(stored(&summary.id).unwrap_or(summary));
                }
                // It must not hide the others, nor be hidden by them: where its journal is there, that is finished when the disk is well.
                Some(Err(error)) => {
                    let known = stored(tape.id()).unwrap_or_else(|| session.unwritten(at, &self.redactor));
                    let status_reason = Some(reason_of(&error).to_owned());
                    recordings.push(Summary { status: Status::Incomplete, status_reason, ..known });
                    failure = Some(error);
                }
                None => {
                    let message = format!("the recording {} is not on disk yet: the disk is too slow; look at it later", tape.id());
                    if !limit.is_zero() {
                        log::error!("{message}");
                    }
                    recordings.push(session.unwritten(at, &self.redactor));
                    failure = Some(Error::Failed(message));
                    limit = Duration::ZERO;
                }
            }
        }
        match (recordings.first().cloned(), failure) {
            (Some(recording), _) if kept > 0 => Ok(Stopped { recording, recordings }),
            (_, failure) => Err(failure.unwrap_or_else(|| Error::Failed(format!("session {} left no recording", session.id)))),
        }
    }

    /// A session that saw no connection: one complete recording of no frames.
    fn save_empty(&self, session: &Session) -> Result<Summary> {
        let recording = session.empty_recording(Status::Complete, &self.redactor);
        self.store.keep_empty(&recording.head, &recording.tail)
    }
}

/// Recordings that have ended and whose files may not be complete.
pub struct Ended {
    tapes: Vec<Arc<Tape>>,
    /// Ends when the recordings of the sessions that saw no connection are written.
    saved: Receiver<()>,
}

impl Ended {
    /// Waits until the files are complete, or for the deadline.
    pub fn await_finished(&self, deadline: Instant) {
        for tape in &self.tapes {
            drop(tape.wait_outcome(deadline.saturating_duration_since(Instant::now())));
        }
    }

    /// The same, also for those of the sessions that saw no connection, and says which files are missing.
    pub fn finish(self, deadline: Instant) {
        self.await_finished(deadline);
        let late = self.tapes.iter().filter(|tape| !tape.is_finished());
        let (begun, waiting): (Vec<_>, Vec<_>) = late.partition(|tape| tape.has_journal());
        if let [first, ..] = &begun[..] {
            log::warn!("{} recordings are not on disk yet, {} among them; the next start recovers them", begun.len(), first.id());
        }
        if let [first, ..] = &waiting[..] {
            log::error!("the disk is too slow: {} recordings could not be begun and are lost, {} among them", waiting.len(), first.id());
        }
        if self.saved.recv_timeout(deadline.saturating_duration_since(Instant::now())) == Err(RecvTimeoutError::Timeout) {
            log::warn!("the disk is too slow: recordings of no frames are not written");
        }
    }
}

impl Open {
    /// The open sessions, and those that have been stopped and are not complete.
    fn all_sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.iter().chain(self.stopped.iter().map(|session| &**session))
    }

    /// The sessions whose first files are still to come.
    fn waiting(&self) -> impl Iterator<Item = &Session> {
        self.all_sessions().filter(|session| session.tapes.first().is_none_or(|tape| tape.awaits_file()))
    }

    fn tapes(&self) -> impl Iterator<Item = &Arc<Tape>> {
        self.all_sessions().flat_map(|session| &session.tapes).chain(&self.loose)
    }

    /// Lets go of what ended and is on disk.
    fn forget_finished(&mut self) {
        self.loose.retain(|tape| !tape.is_finished());
        self.stopped.retain(|session| session.tapes.iter().any(|tape| !tape.is_finished()));
    }
}

#[cfg(test)]
#[path = "recordings_tests.rs"]
mod tests;
