//! The recorder: one thread that drains all tapes every few milliseconds, and one that finishes files, so that no fsync
//! delays another recording's journal. Traffic never waits for either.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use super::take::{Losses, Lost, Take};
use super::tape::{End, Stretch, Tape};
use crate::base::error::{Error, Result};
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
        sync::spawn("recorder", move || record(&store, &begun, &finish, &of_recorder))?;
        sync::spawn("finisher", move || finish_takes(&to_finish, &count, &of_finisher))?;
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
            let tape = Arc::clone(&takes[at].tape);
            match guard(&tape, losses, || takes[at].advance(&mut stretch)) {
                Some(false) => at += 1,
                Some(true) => {
                    if let Err(lost) = finish.send(takes.swap_remove(at)) {
                        // The finisher died; better a slow recorder than a lost tail.
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
        // A burst must not keep its memory for ever.
        if stretch.bytes.capacity() > 4 * limits::MIB as usize {
            stretch = Stretch::default();
        }
    }
}

fn accept(store: &Store, mut take: Take, takes: &mut Vec<Take>, losses: &Losses) {
    let tape = Arc::clone(&take.tape);
    match guard(&tape, losses, || take.begin(store)) {
        Some(Ok(())) => takes.push(take),
        Some(Err(error)) => take.refuse(error, losses),
        None => {}
    }
}

fn finish_takes(takes: &Receiver<Take>, finished: &AtomicU64, losses: &Losses) {
    while let Ok(take) = takes.recv() {
        let tape = Arc::clone(&take.tape);
        if guard(&tape, losses, || take.finish(losses)).is_some() {
            finished.fetch_add(1, Ordering::Relaxed);
        }
    }
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
