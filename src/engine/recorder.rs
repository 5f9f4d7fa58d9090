//! The recorder: one thread that drains all tapes every few milliseconds, one before it that makes files and one behind it that finishes
//! them, with others where many end at once, and one that looks how full the directory is, so that nothing that a disk takes its time for
//! delays another recording's journal. Traffic never waits for any of them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, TrySendError, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::losses::{Losses, Lost, Unfinished};
use super::stretch::Stretch;
use super::take::Take;
use super::tape::{End, Tape};
use crate::base::error::{Error, Result};
use crate::base::{limits, sync, text};
use crate::store::Store;

/// The way into the recorder's thread.
#[derive(Debug)]
pub struct Recorder {
    begin: Sender<Take>,
    finished: Arc<AtomicU64>,
    losses: Arc<Losses>,
}

impl Recorder {
    /// Starts the four threads. `is_needed_soon`: recordings begin with the first connection, so that the directory is measured now.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(store: Arc<Store>, is_needed_soon: bool) -> Result<Self> {
        let (begin, to_begin) = channel();
        let (hand_on, begun) = channel();
        let (finish, to_finish) = channel();
        let finished = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&finished);
        let losses = Arc::new(Losses::default());
        let (of_beginner, of_recorder, of_finisher) = (Arc::clone(&losses), Arc::clone(&losses), Arc::clone(&losses));
        let (measure, to_measure) = sync_channel(1);
        let [recorders_store, finishers_store, measurers_store] = [(); 3].map(|()| Arc::clone(&store));
        sync::spawn("beginner", move || begin_takes(&store, &to_begin, &hand_on, &of_beginner))?;
        sync::spawn("recorder", move || record(&recorders_store, &measure, &begun, &finish, &of_recorder))?;
        sync::spawn("finisher", move || finish_takes(&finishers_store, &to_finish, &count, &of_finisher))?;
        sync::spawn("measurer", move || measure_when_asked(&measurers_store, is_needed_soon, &to_measure))?;
        Ok(Self { begin, finished, losses })
    }

    /// Hands a new recording over; its journal is made by a thread of the recorder's.
    pub fn begin(&self, take: Take) {
        if !take.tape.hold_head(take.head_bytes()) {
            let held = text::size(limits::MAX_TAPES_BYTES as u64);
            let message = format!("recordings have {held} in memory that the disk has not taken yet: it is too slow, or hangs");
            return take.refuse(Error::Failed(message), &self.losses);
        }
        // The thread ends with the process alone; if it died, the tape says so by its bound.
        if self.begin.send(take).is_err() {
            log::error!("the recorder is gone: nothing more is recorded, traffic goes on");
        }
    }

    /// How many recordings have been finished.
    pub fn finished(&self) -> u64 {
        self.finished.load(Ordering::Relaxed)
    }

    /// The recordings that could not be begun or kept.
    pub fn lost(&self) -> Lost {
        self.losses.lost()
    }
}

/// Makes the journals of new recordings, one after another: of a crowd that comes at once each waits for those before it, and nobody else does.
fn begin_takes(store: &Store, new: &Receiver<Take>, hand_on: &Sender<Take>, losses: &Losses) {
    while let Ok(mut take) = new.recv() {
        let tape = Arc::clone(&take.tape);
        match guard(&tape, losses, || take.begin(store)) {
            Some(Ok(())) => losses.begin(),
            Some(Err(error)) => {
                take.refuse(error, losses);
                continue;
            }
            None => continue,
        }
        if let Err(lost) = hand_on.send(take) {
            // The recorder died; what passed until now is kept.
            let mut take = lost.0;
            take.close();
            drop(take.finish(losses));
        }
    }
}

fn record(store: &Store, measure: &SyncSender<()>, begun: &Receiver<Take>, finish: &Sender<Take>, losses: &Losses) {
    let tick = Duration::from_millis(limits::RECORDER_TICK_MS);
    let mut takes: Vec<Take> = Vec::new();
    let mut stretch = Stretch::default();
    loop {
        let is_idle = takes.is_empty() && !stretch.is_large();
        let next = if is_idle { begun.recv().map_err(|_| RecvTimeoutError::Disconnected) } else { begun.recv_timeout(tick) };
        match next {
            Ok(take) => {
                takes.push(take);
                takes.extend(begun.try_iter());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if takes.is_empty() => return,
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(tick),
        }
        let (mut at, mut filled) = (0, 0);
        while at < takes.len() {
            let tape = Arc::clone(&takes[at].tape);
            let advanced = guard(&tape, losses, || takes[at].advance(&mut stretch));
            filled = filled.max(stretch.reads.bytes.len());
            match advanced {
                Some(false) => at += 1,
                Some(true) => {
                    let mut take = takes.swap_remove(at);
                    take.close();
                    if let Err(lost) = finish.send(take) {
                        // The finisher died; better a slow recorder than a lost recording.
                        lost.0.finish(losses);
                    }
                }
                None => {
                    // Its journal stays as it is, for the next start to recover.
                    drop(takes.swap_remove(at));
                    stretch = Stretch::default();
                }
            }
        }
        if store.is_measuring_due() {
            // Where it has been asked already there is nothing to do.
            if let Err(TrySendError::Disconnected(())) = measure.try_send(()) {
                log::debug!("the measurer is gone: journals look themselves where much was written");
            }
        }
        stretch.end_round(filled);
    }
}

/// Looks how full the directory is whenever the recorder asks: many files take their time, and the recorder has none. `at_once`: also at the
/// start, so that the first recording need not; one of a session need not anyway, as who opens a session looks.
fn measure_when_asked(store: &Store, at_once: bool, asked: &Receiver<()>) {
    if at_once {
        store.measure();
    }
    while asked.recv().is_ok() {
        let begun = Instant::now();
        store.measure();
        // Where files come and go it is asked all the time: it takes half a core, and more only where a look takes longer than the rest.
        std::thread::sleep(begun.elapsed().min(Duration::from_millis(limits::MEASURE_REST_MS)));
    }
}

fn finish_takes(store: &Store, takes: &Receiver<Take>, finished: &AtomicU64, losses: &Losses) {
    let pause = Duration::from_millis(limits::FINISH_AGAIN_MS);
    let mut unfinished: Vec<Unfinished> = Vec::new();
    let mut tried = Instant::now();
    loop {
        let next = if unfinished.is_empty() { takes.recv().map_err(|_| RecvTimeoutError::Disconnected) } else { takes.recv_timeout(pause) };
        match next {
            Ok(take) => {
                unfinished.append(&mut finish_all(std::iter::once(take).chain(takes.try_iter()).collect(), finished, losses));
                unfinished.truncate(limits::MAX_UNFINISHED);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if tried.elapsed() >= pause {
            unfinished.retain(|one| !one.finish(store));
            tried = Instant::now();
        }
    }
}

/// Finishes takes that have ended together, and gives those that the disk did not take.
fn finish_all(takes: Vec<Take>, finished: &AtomicU64, losses: &Losses) -> Vec<Unfinished> {
    let unfinished = Mutex::new(Vec::new());
    sync::share_out("finisher", takes, limits::MAX_FINISHERS, |take| {
        let tape = Arc::clone(&take.tape);
        if let Some(again) = guard(&tape, losses, || take.finish(losses)) {
            sync::lock(&unfinished).extend(again);
            finished.fetch_add(1, Ordering::Relaxed);
        }
    });
    std::mem::take(&mut *sync::lock(&unfinished))
}

/// Does a step of a recording. Where it panics this recording ends, and whoever waits for its file hears of it; the others go on.
fn guard<T>(tape: &Tape, losses: &Losses, step: impl FnOnce() -> T) -> Option<T> {
    let done = catch_unwind(AssertUnwindSafe(step));
    if done.is_err() {
        let error = Error::Failed(format!("the recorder panicked over the recording {}; the log says where", tape.id()));
        log::error!("{error}: what is written of it is recovered at the next start, its traffic goes on");
        losses.add(&error);
        tape.end(End::CutShort("recorder_error"));
        tape.publish_outcome(Err(error));
    }
    done.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_directory_is_measured_before_the_first_recording_begins() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::new(dir.path().to_owned(), 1 << 20, 80));
        assert!(store.is_measuring_due());
        let _recorder = Recorder::start(Arc::clone(&store), true).unwrap();
        let deadline = Instant::now() + Duration::from_secs(60);
        while store.is_measuring_due() {
            assert!(Instant::now() < deadline, "nobody measures");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_panic_costs_one_recording() {
        let (tape, losses) = (Tape::new("id".into()), Losses::default());
        assert_eq!(guard(&tape, &losses, || 7), Some(7));
        assert!(tape.is_open() && losses.lost().count == 0);
        assert_eq!(guard::<()>(&tape, &losses, || panic!("on purpose")), None);
        assert!(!tape.is_open() && losses.lost().count == 1);
        let outcome = tape.wait_outcome(Duration::ZERO).expect("whoever waits is told");
        assert!(outcome.unwrap_err().to_string().contains("panicked over the recording id"));
    }
}
