//! The recorder: one thread that drains all tapes every few milliseconds, and one that finishes files, so that no fsync
//! delays another recording's journal. Traffic never waits for either.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::losses::{Losses, Lost, Unfinished};
use super::take::Take;
use super::tape::Stretch;
use crate::base::error::Result;
use crate::base::{limits, sync};
use crate::store::Store;

/// The way into the recorder's thread.
#[derive(Debug)]
pub struct Recorder {
    begin: Sender<Take>,
    finished: Arc<AtomicU64>,
    losses: Arc<Losses>,
}

impl Recorder {
    /// Starts both threads.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(store: Arc<Store>) -> Result<Self> {
        let (begin, begun) = channel();
        let (finish, to_finish) = channel();
        let finished = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&finished);
        let losses = Arc::new(Losses::default());
        let (of_recorder, of_finisher) = (Arc::clone(&losses), Arc::clone(&losses));
        let finishers_store = Arc::clone(&store);
        sync::spawn("recorder", move || record(&store, &begun, &finish, &of_recorder))?;
        sync::spawn("finisher", move || finish_takes(&finishers_store, &to_finish, &count, &of_finisher))?;
        Ok(Self { begin, finished, losses })
    }

    /// Hands a new recording over; its journal is made by the recorder's thread.
    pub fn begin(&self, take: Take) {
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

fn record(store: &Store, begun: &Receiver<Take>, finish: &Sender<Take>, losses: &Losses) {
    let tick = Duration::from_millis(limits::RECORDER_TICK_MS);
    let mut takes: Vec<Take> = Vec::new();
    let mut stretch = Stretch::default();
    loop {
        let next = if takes.is_empty() { begun.recv().map_err(|_| RecvTimeoutError::Disconnected) } else { begun.recv_timeout(tick) };
        match next {
            Ok(take) => {
                accept(store, take, &mut takes, losses);
                while let Ok(take) = begun.try_recv() {
                    accept(store, take, &mut takes, losses);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) if takes.is_empty() => return,
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(tick),
        }
        let mut at = 0;
        while at < takes.len() {
            if !takes[at].advance(&mut stretch) {
                at += 1;
                continue;
            }
            let mut take = takes.swap_remove(at);
            take.close();
            if let Err(lost) = finish.send(take) {
                // The finisher died; better a slow recorder than a lost recording.
                lost.0.finish(losses);
            }
        }
        // A burst must not keep its memory for ever.
        if stretch.bytes.capacity() > 4 * limits::MIB as usize {
            stretch = Stretch::default();
        }
    }
}

fn accept(store: &Store, mut take: Take, takes: &mut Vec<Take>, losses: &Losses) {
    match take.begin(store) {
        Ok(()) => {
            losses.begin();
            takes.push(take);
        }
        Err(error) => take.refuse(error, losses),
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
                unfinished.extend(take.finish(losses).filter(|_| unfinished.len() < limits::MAX_UNFINISHED));
                finished.fetch_add(1, Ordering::Relaxed);
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
