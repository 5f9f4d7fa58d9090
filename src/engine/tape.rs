//! The tape: what passed on one connection, as raw bytes with a stamp for each read, on its way from the threads that move
//! traffic to the recorder. Pushing is an append under an uncontended lock: no parsing, no disk, no system call.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use super::stretch::{Entry, Reads, Stretch};
use crate::base::error::Result;
use crate::base::time::{self, Micros, Origin};
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

/// The bytes that all recordings of a server have in memory together, on their tapes and behind them: at most [`limits::MAX_TAPES_BYTES`].
#[derive(Debug, Default)]
pub struct Held(AtomicUsize);

impl Held {
    /// Counts more; `false`, and nothing is counted, where that would be too many.
    fn add(&self, bytes: usize) -> bool {
        let is_room = self.0.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes) <= limits::MAX_TAPES_BYTES;
        if !is_room {
            self.free(bytes);
        }
        is_room
    }

    fn free(&self, bytes: usize) {
        self.0.fetch_sub(bytes, Ordering::Relaxed);
    }
}

#[derive(Debug, Default)]
struct Inner {
    reads: Reads,
    /// For each direction the stamp of a read that has not been pushed yet.
    in_flight: [Option<Micros>; 2],
    /// For each direction the last stamp that it was given.
    last_us: [Micros; 2],
    /// Nothing is stamped before this: the recorder may have taken all that is older.
    floor_us: Micros,
    /// How far the wall clock was ahead of the monotonic one when it was last asked.
    ahead_us: i64,
    end: Option<(End, Micros)>,
    /// What the recording's head counts for until its journal is made.
    head_bytes: usize,
    /// The recording is over: nobody takes anything any more.
    is_over: bool,
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
    held: Arc<Held>,
    /// Bytes behind the tape, of what the recorder is putting together. It alone sets this.
    joining_bytes: AtomicUsize,
    written: Mutex<Written>,
    progress: Condvar,
}

fn index(direction: Direction) -> usize {
    usize::from(direction == Direction::ServerToClient)
}

impl Tape {
    /// An empty tape of the recording `id`, beside no other.
    pub fn new(id: String) -> Self {
        Self::beside(id, &Arc::default())
    }

    /// An empty tape of the recording `id`, beside all those that `held` counts.
    pub fn beside(id: String, held: &Arc<Held>) -> Self {
        let written = Written { frames: 0, journal_bytes: 0, outcome: None, waiters: 0 };
        Self {
            id,
            open: AtomicBool::new(true),
            inner: Mutex::default(),
            held: Arc::clone(held),
            joining_bytes: AtomicUsize::new(0),
            written: Mutex::new(written),
            progress: Condvar::new(),
        }
    }

    /// The recording's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Whether pushes still count.
    pub fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// The stamp of bytes that have just been read: when they reached this machine, where that is known (`arrived_us`, by the wall clock),
    /// and else now, as where the wall clock has been set meanwhile or the machine has slept; `None` when the recording has ended. The stamps
    /// of a direction ascend, and none lies before what the recorder has taken. The recorder writes nothing newer before the bytes are
    /// pushed, so that the file is in the order of the stamps: a push must follow, if only of no bytes.
    pub fn stamp(&self, direction: Direction, arrived_us: Option<u64>) -> Option<Micros> {
        if !self.is_open() {
            return None;
        }
        let mut inner = sync::lock(&self.inner);
        if inner.end.is_some() {
            return None;
        }
        // Under the lock, so that the recorder takes nothing newer between.
        let stamp = match arrived_us {
            None => time::now_us(),
            Some(arrived_us) => {
                let was_ahead_us = inner.ahead_us;
                let is_steady = |now: &Origin| now.ahead_us().abs_diff(was_ahead_us) <= limits::CLOCK_STEADY_US;
                // Asked again: a thread that was stopped between the two clocks saw neither of them move.
                let now = Some(Origin::now()).filter(is_steady).unwrap_or_else(Origin::now);
                inner.ahead_us = now.ahead_us();
                if is_steady(&now) { now.stamp_of(arrived_us) } else { now.mono_us }
            }
        };
        let stamp = stamp.max(inner.last_us[index(direction)]).max(inner.floor_us);
        inner.last_us[index(direction)] = stamp;
        inner.in_flight[index(direction)] = Some(stamp);
        Some(stamp)
    }

    /// The recording begins: nothing that is stamped from here on came before `first_us`, its origin or the head of its response.
    pub fn begin(&self, origin: Origin, first_us: Micros) {
        let mut inner = sync::lock(&self.inner);
        inner.floor_us = inner.floor_us.max(first_us);
        inner.ahead_us = origin.ahead_us();
    }

    /// Appends bytes under the stamp that they were given.
    pub fn push(&self, direction: Direction, stamp_us: Micros, bytes: &[u8]) {
        let mut inner = sync::lock(&self.inner);
        inner.in_flight[index(direction)] = None;
        // What was stamped before the end belongs to the recording, also where it is pushed after it.
        if inner.end.as_ref().is_some_and(|(end, _)| matches!(end, End::CutShort(_))) || bytes.is_empty() {
            return;
        }
        if inner.is_over {
            return;
        }
        if inner.reads.bytes.len() + bytes.len() > limits::MAX_TAPE_BYTES || !self.held.add(bytes.len()) {
            inner.end = Some((End::CutShort("recorder_overrun"), time::now_us()));
            self.open.store(false, Ordering::Relaxed);
            return;
        }
        inner.reads.bytes.extend_from_slice(bytes);
        inner.reads.entries.push(Entry { direction, stamp_us, len: bytes.len() });
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
        stretch.clear();
        let mut inner = sync::lock(&self.inner);
        let horizon = inner.in_flight.iter().flatten().min().copied();
        let newest = inner.last_us.into_iter().max().unwrap_or(0);
        inner.floor_us = inner.floor_us.max(horizon.unwrap_or(newest));
        let filled = inner.reads.bytes.len();
        let is_over = inner.reads.see_round();
        if filled > 0 {
            // Of many tapes that share a stretch, those on which nothing passes do not get the memory of those on which much does.
            std::mem::swap(&mut inner.reads, &mut stretch.reads);
            stretch.find_places();
        }
        if let Some(horizon) = horizon {
            put_back(&mut inner, horizon, stretch);
        }
        if horizon.is_none() {
            stretch.end = inner.end.take();
        }
        // What was put back is still held.
        let taken = filled - inner.reads.bytes.len();
        // What has just been taken gives its memory back when it has been written.
        let unused = if is_over && filled == 0 { std::mem::take(&mut inner.reads) } else { Reads::default() };
        drop(inner);
        self.held.free(taken);
        // Not under the lock: the system takes its time.
        drop(unused);
        stretch.sort_by_stamp();
    }

    /// Counts the bytes of a head whose recording waits to begin; `false` where there is no room for it.
    pub fn hold_head(&self, bytes: usize) -> bool {
        let is_room = self.held.add(bytes);
        if is_room {
            sync::lock(&self.inner).head_bytes += bytes;
        }
        is_room
    }

    /// Counts the bytes of a message or event that is being put together, which are off the tape, in place of those that were counted
    /// before; `false` where there is no room for more, which are not counted then.
    pub fn hold_joining(&self, bytes: usize) -> bool {
        let before = self.joining_bytes.load(Ordering::Relaxed);
        if bytes == before {
            return true;
        }
        if bytes > before && !self.held.add(bytes - before) {
            return false;
        }
        self.joining_bytes.store(bytes, Ordering::Relaxed);
        self.held.free(before.saturating_sub(bytes));
        true
    }

    /// The recording has begun.
    pub fn free_head(&self) {
        self.held.free(std::mem::take(&mut sync::lock(&self.inner).head_bytes));
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

    /// Says that the file is finished, or why it could not be. What is left on the tape goes: its connection may live long.
    pub fn publish_outcome(&self, outcome: Result<Summary>) {
        {
            let mut inner = sync::lock(&self.inner);
            inner.is_over = true;
            self.free_all(&mut inner);
        }
        sync::lock(&self.written).outcome = Some(outcome);
        self.progress.notify_all();
    }

    fn free_all(&self, inner: &mut Inner) {
        let joining_bytes = self.joining_bytes.swap(0, Ordering::Relaxed);
        self.held.free(inner.reads.bytes.len() + std::mem::take(&mut inner.head_bytes) + joining_bytes);
        inner.reads = Reads::default();
    }

    /// Whether its journal has been made: then what is in it survives the end of this process.
    pub fn has_journal(&self) -> bool {
        sync::lock(&self.written).journal_bytes > 0
    }

    /// Whether its file is still to come: no journal has been made, and nobody has said that there will be none.
    pub fn awaits_file(&self) -> bool {
        let written = sync::lock(&self.written);
        written.journal_bytes == 0 && written.outcome.is_none()
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

impl Drop for Tape {
    fn drop(&mut self) {
        let mut inner = std::mem::take(&mut *sync::lock(&self.inner));
        self.free_all(&mut inner);
    }
}

/// Puts the few entries that are newer than `horizon` back. Their bytes stay in the stretch as well, where no entry names them.
fn put_back(inner: &mut Inner, horizon: Micros, stretch: &mut Stretch) {
    if stretch.reads.entries.iter().all(|entry| entry.stamp_us <= horizon) {
        return;
    }
    let mut older = 0;
    for at in 0..stretch.reads.entries.len() {
        let (entry, place) = (stretch.reads.entries[at], stretch.places[at]);
        if entry.stamp_us > horizon {
            inner.reads.bytes.extend_from_slice(&stretch.reads.bytes[place..place + entry.len]);
            inner.reads.entries.push(entry);
        } else {
            (stretch.reads.entries[older], stretch.places[older]) = (entry, place);
            older += 1;
        }
    }
    stretch.reads.entries.truncate(older);
    stretch.places.truncate(older);
}

#[cfg(test)]
mod tests {
    use super::super::stretch::KEPT_ROUNDS;
    use super::*;
    use Direction::{ClientToServer, ServerToClient};

    fn taken(tape: &Tape) -> (Vec<(Direction, String)>, Option<End>) {
        let mut stretch = Stretch::default();
        tape.take(&mut stretch);
        let texts = stretch.reads.entries.iter().zip(&stretch.places);
        let texts =
            texts.map(|(entry, at)| (entry.direction, String::from_utf8_lossy(&stretch.reads.bytes[*at..at + entry.len]).into_owned()));
        (texts.collect(), stretch.end.map(|(end, _)| end))
    }

    #[test]
    fn nothing_newer_than_a_read_in_flight_is_taken() {
        let tape = Tape::new("id".into());
        let first = tape.stamp(ClientToServer, None).unwrap();
        let second = tape.stamp(ServerToClient, None).unwrap();
        tape.push(ServerToClient, second.max(first + 1), b"later");
        tape.end(End::Recorder);
        assert_eq!(taken(&tape), (vec![], None), "the first read is still on its way");
        tape.push(ClientToServer, first, b"sooner");
        let expected = vec![(ClientToServer, "sooner".into()), (ServerToClient, "later".into())];
        assert_eq!(taken(&tape), (expected, Some(End::Recorder)));
    }

    #[test]
    fn all_that_is_older_than_a_read_in_flight_is_taken() {
        let tape = Tape::new("id".into());
        for text in [b"one", b"two"] {
            let stamp = tape.stamp(ServerToClient, None).unwrap();
            tape.push(ServerToClient, stamp, text);
        }
        let stamp = tape.stamp(ClientToServer, None).unwrap();
        tape.end(End::Recorder);
        assert_eq!(taken(&tape), (vec![(ServerToClient, "one".into()), (ServerToClient, "two".into())], None));
        tape.push(ClientToServer, stamp, b"last");
        assert_eq!(taken(&tape), (vec![(ClientToServer, "last".into())], Some(End::Recorder)));
    }

    #[test]
    fn stamps_are_those_of_arrivals_and_never_before_what_was_taken() {
        let tape = Tape::new("id".into());
        let origin = Origin::now();
        tape.begin(origin, origin.mono_us);
        let stamp = |direction, arrived_us| tape.stamp(direction, arrived_us).expect("a stamp");
        // The scheduler may come between two clocks.
        let about = |stamp: u64, expected: u64| assert!(stamp.abs_diff(expected) < 15_000, "{stamp} {expected}");
        assert_eq!(stamp(ServerToClient, Some(0)), origin.mono_us, "nothing came before the recording began");
        std::thread::sleep(Duration::from_millis(30));
        let came = Origin::now();
        std::thread::sleep(Duration::from_millis(30));
        let read = stamp(ClientToServer, None);
        about(stamp(ServerToClient, Some(came.wall_us)), came.mono_us);
        for direction in [ClientToServer, ServerToClient] {
            tape.push(direction, read, b"");
        }
        tape.take(&mut Stretch::default());
        assert_eq!(stamp(ServerToClient, Some(came.wall_us)), read, "what is newer has been taken");
        let ahead = stamp(ServerToClient, Some(came.wall_us + 3_600_000_000));
        assert!((read..=time::now_us()).contains(&ahead));
        assert_eq!(stamp(ServerToClient, Some(came.wall_us)), ahead, "a direction's stamps ascend");
    }

    #[test]
    fn a_wall_clock_that_was_set_stamps_by_the_other_one() {
        for set_us in [-3_600_000_000, 3_600_000_000] {
            let tape = Tape::new("id".into());
            let now = Origin::now();
            tape.begin(Origin { wall_us: now.wall_us.saturating_add_signed(set_us), ..now }, 0);
            let came = Origin::now();
            std::thread::sleep(Duration::from_millis(30));
            let stamp = tape.stamp(ServerToClient, Some(came.wall_us)).expect("a stamp");
            assert!(stamp > came.mono_us + 15_000, "{stamp} {came:?}");
            // Once it is known what became of it arrivals count again.
            let came = Origin::now();
            std::thread::sleep(Duration::from_millis(30));
            let stamp = tape.stamp(ServerToClient, Some(came.wall_us)).expect("a stamp");
            assert!(stamp < came.mono_us + 15_000, "{stamp} {came:?}");
        }
    }

    #[test]
    fn the_memory_of_a_burst_stays_with_it_for_a_while() {
        const BURST: usize = 1 << 20;
        let (busy, idle) = (Tape::new("busy".into()), Tape::new("idle".into()));
        let mut stretch = Stretch::default();
        let mut round = |bytes: &[u8]| {
            let stamp = busy.stamp(ServerToClient, None).unwrap();
            busy.push(ServerToClient, stamp, bytes);
            busy.take(&mut stretch);
            let filled = stretch.reads.bytes.len();
            idle.take(&mut stretch);
            stretch.end_round(filled);
            let [busy, idle] = [&busy, &idle].map(|tape| sync::lock(&tape.inner).reads.bytes.capacity() >= BURST);
            (busy, idle, stretch.reads.bytes.capacity() >= BURST)
        };
        assert_eq!(round(&[7; BURST]), (false, false, true));
        assert_eq!(round(&[7; BURST]), (true, false, true));
        assert_eq!(round(b"little"), (true, false, true));
        for _ in 0..KEPT_ROUNDS {
            round(b"little");
        }
        assert_eq!(round(b""), (false, false, false));
    }

    /// Trap: buffers change places at every take, so that each place sees a small one now and then.
    #[test]
    fn the_memory_of_a_burst_is_given_back_while_traffic_goes_on() {
        const BURST: usize = 1 << 20;
        let tapes = ["one", "other"].map(|id| Tape::new(id.into()));
        let mut stretch = Stretch::default();
        let push = |tape: &Tape, bytes: &[u8]| {
            let stamp = tape.stamp(ServerToClient, None).unwrap();
            tape.push(ServerToClient, stamp, bytes);
        };
        let mut round = || {
            tapes.iter().for_each(|tape| {
                push(tape, b"little");
                tape.take(&mut stretch);
            });
            stretch.end_round(b"little".len());
            tapes.iter().map(|tape| sync::lock(&tape.inner).reads.capacity()).sum::<usize>() + stretch.reads.capacity()
        };
        // Of large reads, and of very small ones: their entries are larger than they.
        for (count, len) in [(1, BURST), (BURST, 1)] {
            (0..count).for_each(|_| push(&tapes[0], &[7; BURST][..len]));
            assert!(round() > BURST);
            let left = (0..2 * KEPT_ROUNDS).map(|_| round()).last().unwrap_or_default();
            assert!(left < BURST / 8, "{left}");
        }
    }

    #[test]
    fn what_is_newer_than_a_read_in_flight_stays_in_its_order() {
        let tape = Tape::new("id".into());
        let mut stretch = Stretch::default();
        for text in ["one", "two", "three"] {
            let stamp = tape.stamp(ServerToClient, None).unwrap();
            tape.push(ServerToClient, stamp, text.as_bytes());
        }
        let in_flight = tape.stamp(ClientToServer, None).unwrap();
        for (later, text) in [(1, "four"), (2, "five")] {
            tape.push(ServerToClient, in_flight + later, text.as_bytes());
        }
        tape.take(&mut stretch);
        assert_eq!((stretch.reads.entries.len(), stretch.places.as_slice()), (3, &[0, 3, 6][..]));
        tape.push(ServerToClient, in_flight + 2, b"six");
        tape.push(ClientToServer, in_flight, b"at last");
        tape.take(&mut stretch);
        let texts = stretch.reads.entries.iter().zip(&stretch.places).map(|(entry, at)| &stretch.reads.bytes[*at..at + entry.len]);
        assert_eq!(texts.collect::<Vec<_>>(), [&b"at last"[..], b"four", b"five", b"six"]);
    }

    #[test]
    fn a_tape_past_its_bound_ends_the_recording_only() {
        let tape = Tape::new("id".into());
        let chunk = vec![0; limits::MAX_TAPE_BYTES / 2 + 1];
        for _ in 0..2 {
            let stamp = tape.stamp(ServerToClient, None).unwrap();
            tape.push(ServerToClient, stamp, &chunk);
        }
        assert!(!tape.is_open());
        assert_eq!(tape.stamp(ServerToClient, None), None);
        let (entries, end) = taken(&tape);
        assert_eq!((entries.len(), end), (1, Some(End::CutShort("recorder_overrun"))));
    }

    /// Trap: a disk that hangs while a crowd of short streams comes, none of which is large.
    #[test]
    fn all_tapes_together_have_a_bound() {
        let held = Arc::default();
        let tapes: Vec<Tape> = (0..3).map(|number| Tape::beside(format!("id{number}"), &held)).collect();
        let push = |tape: &Tape, bytes: usize| {
            let stamp = tape.stamp(ServerToClient, None).unwrap();
            tape.push(ServerToClient, stamp, &vec![0; bytes]);
        };
        assert!(tapes[0].hold_head(limits::MAX_TAPES_BYTES - 100));
        push(&tapes[1], 60);
        push(&tapes[2], 41);
        assert_eq!(taken(&tapes[2]), (vec![], Some(End::CutShort("recorder_overrun"))));
        assert!(!tapes[2].hold_head(41));
        // What is written makes room, and so does a recording that begins, or ends.
        push(&tapes[1], 40);
        taken(&tapes[1]);
        assert!(tapes[1].hold_head(100));
        tapes[1].publish_outcome(Err(crate::base::error::Error::Failed("refused".into())));
        tapes[0].free_head();
        assert_eq!(held.0.load(Ordering::Relaxed), 0);
        push(&tapes[0], 7);
        drop(tapes);
        assert_eq!(held.0.load(Ordering::Relaxed), 0);
    }

    /// Trap: a message of which much has come, and never its end.
    #[test]
    fn what_is_being_put_together_has_its_room_within_the_bound() {
        let held = Arc::default();
        let [one, other] = ["one", "other"].map(|id| Tape::beside(id.into(), &held));
        assert!(other.hold_head(limits::MAX_TAPES_BYTES - 100));
        assert!(one.hold_joining(60) && one.hold_joining(100));
        assert!(!other.hold_head(1) && !one.hold_joining(101), "there is no room for more");
        assert!(one.hold_joining(30) && other.hold_head(70) && !other.hold_head(1), "what is whole is written");
        one.publish_outcome(Err(crate::base::error::Error::Failed("over".into())));
        assert!(other.hold_head(30));
        drop([one, other]);
        assert_eq!(held.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_recording_that_is_over_keeps_no_bytes_of_a_connection_that_goes_on() {
        let tape = Tape::new("id".into());
        let stamps = [ServerToClient, ClientToServer].map(|direction| tape.stamp(direction, None).unwrap());
        tape.push(ServerToClient, stamps[0], b"before");
        tape.publish_outcome(Err(crate::base::error::Error::Failed("refused".into())));
        tape.push(ClientToServer, stamps[1], b"after");
        assert_eq!(taken(&tape), (vec![], None));
    }

    #[test]
    fn a_stop_keeps_what_was_stamped_before_it() {
        let tape = Tape::new("id".into());
        let stamp = tape.stamp(ServerToClient, None).unwrap();
        tape.end(End::Recorder);
        assert_eq!(taken(&tape), (vec![], None));
        tape.push(ServerToClient, stamp, b"last");
        assert_eq!(taken(&tape), (vec![(ServerToClient, "last".into())], Some(End::Recorder)));
    }
}
