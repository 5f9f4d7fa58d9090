//! What the disk did not take: recordings that could not be begun, and those that wait to be finished when it is well. It counts and tells;
//! it holds no frame.

use std::sync::Mutex;

use crate::base::error::Error;
use crate::base::sync;
use crate::model::recording::Tail;
use crate::store::Store;

/// Recordings that could not be begun or kept, which nobody is told of but by the log.
#[derive(Debug, Default)]
pub struct Losses(Mutex<Tally>);

#[derive(Debug, Default)]
struct Tally {
    lost: Lost,
    /// The kind of error for which the last recording that was told of could not be begun, and how many were not told of since.
    refused: Option<(String, u64)>,
}

/// How many recordings are lost, and why the first one is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lost {
    /// How many.
    pub count: u64,
    /// The error of the first.
    pub reason: String,
}

impl Losses {
    /// Counts one more.
    pub fn add(&self, error: &Error) {
        sync::lock(&self.0).lost.add(error);
    }

    /// Counts one that could not be begun. The log tells of the first: a disk that is full fails for every client that comes.
    pub fn refuse(&self, id: &str, error: &Error) {
        let mut tally = sync::lock(&self.0);
        tally.lost.add(error);
        match &mut tally.refused {
            Some((code, untold)) if code == error.code() => *untold += 1,
            refused => {
                *refused = Some((error.code().to_owned(), 0));
                drop(tally);
                log::error!("the recording {id} could not be begun: {error}; further ones are not told of until one can be begun");
            }
        }
    }

    /// A recording has been begun: what kept others from it is over.
    pub fn begin(&self) {
        let refused = sync::lock(&self.0).refused.take();
        if let Some((_, untold)) = refused {
            log::info!("recordings can be begun again; since the last line about it {untold} more could not");
        }
    }

    /// Those until now.
    pub fn lost(&self) -> Lost {
        sync::lock(&self.0).lost.clone()
    }
}

impl Lost {
    fn add(&mut self, error: &Error) {
        self.count += 1;
        if self.count == 1 {
            self.reason = error.to_string();
        }
    }
}

/// A recording that the disk did not take to its end: its journal is there, its ending is known here alone.
#[derive(Debug)]
pub struct Unfinished {
    /// The recording.
    pub id: String,
    /// How it ended.
    pub ending: Tail,
}

impl Unfinished {
    /// Tries once more; whether it is over, one way or the other.
    pub fn finish(&self, store: &Store) -> bool {
        match store.finish_late(&self.id, &self.ending) {
            Ok(true) => log::info!("the recording {} has been finished after all", self.id),
            Ok(false) => log::debug!("somebody else finished the recording {}, or removed it", self.id),
            Err(error) => {
                log::debug!("the recording {} still can't be finished: {error}", self.id);
                return false;
            }
        }
        true
    }
}
