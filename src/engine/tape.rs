//! The tape: what passed on one connection, as raw bytes with a stamp for each read, on its way from the threads that move
//! traffic to the recorder. Pushing is an append under an uncontended lock: no parsing, no disk, no system call.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::base::error::Result;
use crate::base::time::{self, Micros};
use crate::base::{limits, sync};
use crate::model::api::Summary;
use crate::model::recording::Direction;

/// Why a recording ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// A side ended the stream: by a close frame, by the end of the response, or by vanishing.
    Side(Direction),
    /// One side's framing was wrong; the code and reason that both were sent.
    ProtocolError(u16, String),
    /// The recorder ends it, complete: it was stopped, a limit of its session was reached, the server ends.
    Recorder,
    /// The recorder ends it, cut short, for this reason (`recorder_overrun`, `storage_full`, `storage_error`).
    CutShort(&'static str),
}

/// The bytes of one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Which way they went.
    pub direction: Direction,
    /// When they had been read.
    pub stamp_us: Micros,
    /// How many they are.
    pub len: usize,
}

/// What the recorder takes off a tape in one round.
#[derive(Debug, Default)]
pub struct Stretch {
    /// The reads, in the order of their stamps.
    pub entries: Vec<Entry>,
    /// For each entry its place in `bytes`.
    pub places: Vec<usize>,
    /// The bytes of all entries.
    pub bytes: Vec<u8>,
    /// Set when this is the last stretch.
    pub end: Option<(End, Micros)>,
}

impl Stretch {
    /// The entries from index `at` on that went one way and whose bytes stand together; no further ones from `enough` bytes on.
    pub fn run(&self, at: usize, enough: usize) -> Run<'_> {
        let (direction, start) = (self.entries[at].direction, self.places[at]);
        let (mut count, mut end) = (0, start);
        for (entry, place) in self.entries[at..].iter().zip(&self.places[at..]) {
            if entry.direction != direction || *place != end || (count > 0 && end - start >= enough) {
                break;
            }
            count += 1;
            end += entry.len;
        }
        Run { direction, entries: &self.entries[at..at + count], bytes: &self.bytes[start..end] }
    }
}

/// Reads of one direction that followed each other.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// Which way they went.
    pub direction: Direction,
    /// The reads, at least one.
    pub entries: &'a [Entry],
    /// The bytes of all of them.
    pub bytes: &'a [u8],
}

impl<'a> Run<'a> {
    /// What tells the stamps of its bytes.
    pub fn stamps(&self) -> Stamps<'a> {
        let (entry, rest) = self.entries.split_first().map_or((None, self.entries), |(entry, rest)| (Some(entry), rest));
        Stamps { rest, end: entry.map_or(0, |entry| entry.len), stamp_us: entry.map_or(0, |entry| entry.stamp_us) }
    }
}

/// The stamps of a run's bytes, asked for from the front to the back.
#[derive(Debug)]
pub struct Stamps<'a> {
    rest: &'a [Entry],
    /// Where the entry at hand ends.
    end: usize,
    stamp_us: Micros,
}

impl Stamps<'_> {
    /// When the byte before the place `end` had been read.
    pub fn of(&mut self, end: usize) -> Micros {
        while end > self.end
            && let Some((entry, rest)) = self.rest.split_first()
        {
            (self.rest, self.end, self.stamp_us) = (rest, self.end + entry.len, entry.stamp_us);
        }
        self.stamp_us
    }
}

#[derive(Debug, Default)]
struct Inner {
    entries: Vec<Entry>,
    bytes: Vec<u8>,
    /// For each direction the stamp of a read that has not been pushed yet.
    in_flight: [Option<Micros>; 2],
    end: Option<(End, Micros)>,
}

/// How far the recording on disk is.
#[derive(Debug, Clone)]
struct Written {
    frames: u64,
    journal_bytes: u64,
    outcome: Option<Result<Summary>>,
    /// How many threads wait for progress.
    waiters: usize,
}

/// One recording's tape, shared by the threads of a connection and the recorder.
#[derive(Debug)]
pub struct Tape {
    id: String,
    open: AtomicBool,
    inner: Mutex<Inner>,
    written: Mutex<Written>,
    progress: Condvar,
}

fn index(direction: Direction) -> usize {
    usize::from(direction == Direction::ServerToClient)
}

impl Tape {
    /// An empty tape of the recording `id`.
    pub fn new(id: String) -> Self {
        let written = Written { frames: 0, journal_bytes: 0, outcome: None, waiters: 0 };
        Self { id, open: AtomicBool::new(true), inner: Mutex::default(), written: Mutex::new(written), progress: Condvar::new() }
    }

    /// The recording's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether pushes still count.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// The stamp of bytes that have just been read; `None` when the recording has ended. The recorder writes nothing
    /// newer before they are pushed, so that the file is in the order of the stamps: a push must follow, if only of no bytes.
    pub fn stamp(&self, direction: Direction) -> Option<Micros> {
        if !self.is_open() {
            return None;
        }
        let mut inner = sync::lock(&self.inner);
        if inner.end.is_some() {
            return None;
        }
        // The stamp is taken under the lock, so that stamps ascend in the order in which they are given.
        let now = time::now_us();
        inner.in_flight[index(direction)] = Some(now);
        Some(now)
    }

    /// Appends bytes under the stamp that they were given.
    pub fn push(&self, direction: Direction, stamp_us: Micros, bytes: &[u8]) {
        let mut inner = sync::lock(&self.inner);
        inner.in_flight[index(direction)] = None;
        // What was stamped before the end belongs to the recording, also where it is pushed after it.
        if inner.end.as_ref().is_some_and(|(end, _)| matches!(end, End::CutShort(_))) || bytes.is_empty() {
            return;
        }
        if inner.bytes.len() + bytes.len() > limits::MAX_TAPE_BYTES {
            inner.end = Some((End::CutShort("recorder_overrun"), stamp_us));
            self.open.store(false, Ordering::Relaxed);
            return;
        }
        inner.bytes.extend_from_slice(bytes);
        inner.entries.push(Entry { direction, stamp_us, len: bytes.len() });
    }

    /// Ends the recording now; the first call counts.
    pub fn end(&self, end: End) {
        let mut inner = sync::lock(&self.inner);
        if inner.end.is_none() {
            inner.end = Some((end, time::now_us()));
        }
        self.open.store(false, Ordering::Relaxed);
    }

    /// Takes what may be written: everything up to the oldest read that is still in flight. The end comes when nothing is left.
    pub fn take(&self, stretch: &mut Stretch) {
        stretch.entries.clear();
        stretch.places.clear();
        stretch.bytes.clear();
        let mut inner = sync::lock(&self.inner);
        // An idle tape keeps its own small buffers, and the large ones stay with those that fill them; one that fills its no more gives it up.
        if !inner.entries.is_empty() || inner.bytes.capacity() > limits::KEPT_TAPE_BYTES {
            std::mem::swap(&mut inner.entries, &mut stretch.entries);
            std::mem::swap(&mut inner.bytes, &mut stretch.bytes);
        }
        match inner.in_flight.iter().flatten().min().copied() {
            None => stretch.end = inner.end.take(),
            Some(horizon) => put_back(&mut inner, horizon, stretch),
        }
        drop(inner);
        if stretch.places.is_empty() {
            let mut place = 0;
            for entry in &stretch.entries {
                stretch.places.push(place);
                place += entry.len;
            }
        }
        sort_by_stamp(stretch);
    }

    /// Says how far the file is; followers wake up.
    pub fn publish(&self, frames: u64, journal_bytes: u64) {
        let mut written = sync::lock(&self.written);
        written.frames = frames;
        written.journal_bytes = journal_bytes;
        if written.waiters > 0 {
            self.progress.notify_all();
        }
    }

    /// Says that the file is finished, or why it could not be.
    pub fn publish_outcome(&self, outcome: Result<Summary>) {
        sync::lock(&self.written).outcome = Some(outcome);
        self.progress.notify_all();
    }

    /// Frames written so far.
    pub fn frames(&self) -> u64 {
        sync::lock(&self.written).frames
    }

    /// Whether the file is finished.
    pub fn is_finished(&self) -> bool {
        sync::lock(&self.written).outcome.is_some()
    }

    /// Waits until the journal is longer than `seen` or finished, at most `limit`; gives its size and whether it still runs.
    pub fn wait_growth(&self, seen: u64, limit: Duration) -> (u64, bool) {
        let deadline = Instant::now() + limit;
        let mut written = sync::lock(&self.written);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if written.journal_bytes > seen || written.outcome.is_some() || left.is_zero() {
                return (written.journal_bytes, written.outcome.is_none());
            }
            written = self.wait_progress(written, left);
        }
    }

    fn wait_progress<'a>(&'a self, mut written: MutexGuard<'a, Written>, limit: Duration) -> MutexGuard<'a, Written> {
        written.waiters += 1;
        let mut written = sync::wait(&self.progress, written, limit);
        written.waiters -= 1;
        written
    }

    /// Waits until the file is finished, at most `limit`; `None` when the time is up.
    pub fn wait_outcome(&self, limit: Duration) -> Option<Result<Summary>> {
        let deadline = Instant::now() + limit;
        let mut written = sync::lock(&self.written);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if written.outcome.is_some() || left.is_zero() {
                return written.outcome.clone();
            }
            written = self.wait_progress(written, left);
        }
    }
}

/// Puts the entries that are newer than `horizon` back on the tape. They are few: a read is in flight for as long as a write that waits for
/// nobody. All others are not touched, as the traffic waits meanwhile.
fn put_back(inner: &mut Inner, horizon: Micros, stretch: &mut Stretch) {
    if stretch.entries.iter().all(|entry| entry.stamp_us <= horizon) {
        return;
    }
    let Stretch { entries, places, bytes, .. } = stretch;
    let mut end = 0;
    entries.retain(|entry| {
        let place = end;
        end += entry.len;
        if entry.stamp_us <= horizon {
            places.push(place);
            return true;
        }
        inner.bytes.extend_from_slice(&bytes[place..end]);
        inner.entries.push(*entry);
        false
    });
}

/// Two directions push in the order in which their writes end, not in the order of their stamps.
fn sort_by_stamp(stretch: &mut Stretch) {
    if stretch.entries.is_sorted_by_key(|entry| entry.stamp_us) {
        return;
    }
    let mut order: Vec<usize> = (0..stretch.entries.len()).collect();
    order.sort_by_key(|at| stretch.entries[*at].stamp_us);
    stretch.places = order.iter().map(|at| stretch.places[*at]).collect();
    stretch.entries = order.iter().map(|at| stretch.entries[*at]).collect();
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{ClientToServer, ServerToClient};

    fn taken(tape: &Tape) -> (Vec<(Direction, String)>, Option<End>) {
        let mut stretch = Stretch::default();
        tape.take(&mut stretch);
        let texts = stretch.entries.iter().zip(&stretch.places);
        let texts = texts.map(|(entry, at)| (entry.direction, String::from_utf8_lossy(&stretch.bytes[*at..at + entry.len]).into_owned()));
        (texts.collect(), stretch.end.map(|(end, _)| end))
    }

    #[test]
    fn nothing_newer_than_a_read_in_flight_is_taken() {
        let tape = Tape::new("id".into());
        let first = tape.stamp(ClientToServer).unwrap();
        let second = tape.stamp(ServerToClient).unwrap();
        tape.push(ServerToClient, second.max(first + 1), b"later");
        tape.end(End::Recorder);
        assert_eq!(taken(&tape), (vec![], None), "the first read is still on its way");
        tape.push(ClientToServer, first, b"sooner");
        let expected = vec![(ClientToServer, "sooner".into()), (ServerToClient, "later".into())];
        assert_eq!(taken(&tape), (expected, Some(End::Recorder)));
    }

    #[test]
    fn what_is_newer_than_a_read_in_flight_stays_in_its_order() {
        let tape = Tape::new("id".into());
        let mut stretch = Stretch::default();
        for text in ["one", "two", "three"] {
            let stamp = tape.stamp(ServerToClient).unwrap();
            tape.push(ServerToClient, stamp, text.as_bytes());
        }
        let in_flight = tape.stamp(ClientToServer).unwrap();
        for (later, text) in [(1, "four"), (2, "five")] {
            tape.push(ServerToClient, in_flight + later, text.as_bytes());
        }
        tape.take(&mut stretch);
        assert_eq!((stretch.entries.len(), stretch.places.as_slice()), (3, &[0, 3, 6][..]));
        tape.push(ServerToClient, in_flight + 2, b"six");
        tape.push(ClientToServer, in_flight, b"at last");
        tape.take(&mut stretch);
        let texts = stretch.entries.iter().zip(&stretch.places).map(|(entry, at)| &stretch.bytes[*at..at + entry.len]);
        assert_eq!(texts.collect::<Vec<_>>(), [&b"at last"[..], b"four", b"five", b"six"]);
    }

    #[test]
    fn a_tape_that_is_idle_after_a_burst_gives_up_its_memory() {
        let tape = Tape::new("id".into());
        let mut stretch = Stretch::default();
        let push = |bytes: &[u8]| tape.push(ServerToClient, tape.stamp(ServerToClient).unwrap(), bytes);
        push(&vec![0; 2 * limits::KEPT_TAPE_BYTES]);
        tape.take(&mut stretch);
        assert_eq!(stretch.bytes.len(), 2 * limits::KEPT_TAPE_BYTES);
        // The buffer went back onto the tape, and comes off it again though nothing was pushed.
        push(b"a");
        tape.take(&mut stretch);
        assert!(stretch.bytes.capacity() < limits::KEPT_TAPE_BYTES);
        tape.take(&mut stretch);
        assert!(stretch.entries.is_empty() && stretch.bytes.capacity() >= limits::KEPT_TAPE_BYTES);
    }

    #[test]
    fn runs_are_of_one_direction_and_know_the_stamp_of_each_byte() {
        let entry = |direction, stamp_us, len| Entry { direction, stamp_us, len };
        let entries = vec![
            entry(ServerToClient, 10, 3),
            entry(ServerToClient, 20, 2),
            entry(ClientToServer, 30, 1),
            entry(ServerToClient, 40, 4),
            entry(ServerToClient, 50, 1),
        ];
        // The last two were pushed the other way round.
        let stretch = Stretch { entries, places: vec![0, 3, 5, 7, 6], bytes: b"abcdefghijk".to_vec(), end: None };
        let run = |at, enough| {
            let run = stretch.run(at, enough);
            (run.direction, run.entries.len(), String::from_utf8_lossy(run.bytes).into_owned())
        };
        assert_eq!(run(0, 100), (ServerToClient, 2, "abcde".into()));
        assert_eq!(run(0, 3), (ServerToClient, 1, "abc".into()));
        assert_eq!(run(1, 0), (ServerToClient, 1, "de".into()));
        assert_eq!(run(2, 100), (ClientToServer, 1, "f".into()));
        assert_eq!(run(3, 100), (ServerToClient, 1, "hijk".into()));
        assert_eq!(run(4, 100), (ServerToClient, 1, "g".into()));
        let mut stamps = stretch.run(0, 100).stamps();
        assert_eq!([1, 3, 4, 5].map(|end| stamps.of(end)), [10, 10, 20, 20]);
    }

    #[test]
    fn a_tape_past_its_bound_ends_the_recording_only() {
        let tape = Tape::new("id".into());
        let chunk = vec![0; limits::MAX_TAPE_BYTES / 2 + 1];
        for _ in 0..2 {
            let stamp = tape.stamp(ServerToClient).unwrap();
            tape.push(ServerToClient, stamp, &chunk);
        }
        assert!(!tape.is_open());
        assert_eq!(tape.stamp(ServerToClient), None);
        let (entries, end) = taken(&tape);
        assert_eq!((entries.len(), end), (1, Some(End::CutShort("recorder_overrun"))));
    }

    #[test]
    fn a_stop_keeps_what_was_stamped_before_it() {
        let tape = Tape::new("id".into());
        let stamp = tape.stamp(ServerToClient).unwrap();
        tape.end(End::Recorder);
        assert_eq!(taken(&tape), (vec![], None));
        tape.push(ServerToClient, stamp, b"last");
        assert_eq!(taken(&tape), (vec![(ServerToClient, "last".into())], Some(End::Recorder)));
    }
}
