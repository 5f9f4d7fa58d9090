//! A recovery that runs beside everything else: who asks what there is waits for its end, nobody else does. It starts no thread.

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use super::Store;
use crate::base::error::Result;
use crate::base::sync;

/// Whether a recovery is still to end.
#[derive(Debug, Default)]
pub struct Pending {
    is_pending: Mutex<bool>,
    change: Condvar,
}

impl Pending {
    /// Waits until none is.
    pub fn wait(&self) {
        while !self.wait_at_most(Duration::from_secs(3600)) {}
    }

    /// The same, at most `limit`; whether none is.
    pub fn wait_at_most(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        let mut is_pending = sync::lock(&self.is_pending);
        while *is_pending {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            is_pending = sync::wait(&self.change, is_pending, left);
        }
        true
    }

    fn set(&self, is_pending: bool) {
        *sync::lock(&self.is_pending) = is_pending;
        self.change.notify_all();
    }
}

/// The recovery of a store that is to run, of which there is one at a time; it has ended when this value goes away, whether it ran or not.
#[derive(Debug)]
pub struct Recovery {
    store: Arc<Store>,
}

impl Recovery {
    /// From now on lists of `store` wait for it.
    pub fn begin(store: Arc<Store>) -> Self {
        store.pending().set(true);
        Self { store }
    }

    /// Runs it; gives the ids of what was recovered.
    ///
    /// # Errors
    /// As [`Store::recover`].
    pub fn run(self) -> Result<Vec<String>> {
        self.store.recover()
    }
}

impl Drop for Recovery {
    fn drop(&mut self) {
        self.store.pending().set(false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::api::ListQuery;
    use crate::model::recording::Status;
    use crate::store::testing::sample;

    #[test]
    fn a_list_waits_for_the_recovery_and_finds_what_it_made() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::new(dir.path().to_owned(), 1 << 20, 80));
        drop(store.create(&sample("01AAAAAA", 0).head).unwrap());
        let recovery = Recovery::begin(Arc::clone(&store));
        std::thread::scope(|scope| {
            let asking: Vec<_> = (0..3).map(|_| scope.spawn(|| store.list(&ListQuery::default()).unwrap())).collect();
            let resolving = scope.spawn(|| store.resolve("01AAAA").unwrap());
            std::thread::sleep(Duration::from_millis(50));
            assert!(!resolving.is_finished() && asking.iter().all(|asking| !asking.is_finished()));
            assert_eq!(recovery.run().unwrap(), ["01AAAAAA"]);
            for asking in asking {
                let page = asking.join().unwrap();
                assert_eq!((page.total, page.recordings[0].status), (1, Status::Incomplete));
            }
            assert_eq!(resolving.join().unwrap(), "01AAAAAA");
        });
    }

    #[test]
    fn a_recovery_that_never_ran_keeps_nobody_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::new(dir.path().to_owned(), 1 << 20, 80));
        drop(Recovery::begin(Arc::clone(&store)));
        assert_eq!(store.list(&ListQuery::default()).unwrap().total, 0);
    }

    #[test]
    fn who_announces_waits_for_the_recovery_and_not_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Store::new(dir.path().to_owned(), 1 << 20, 80));
        assert!(store.await_recovery(Duration::ZERO), "there is none");
        drop(store.create(&sample("01AAAAAA", 0).head).unwrap());
        assert!(store.glimpses_leftovers());
        let recovery = Recovery::begin(Arc::clone(&store));
        assert!(!store.await_recovery(Duration::from_millis(1)), "it hangs");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| {
                let has_ended = store.await_recovery(Duration::from_secs(60));
                (has_ended, dir.path().join("rec_01AAAAAA.json").exists())
            });
            assert_eq!(recovery.run().unwrap(), ["01AAAAAA"]);
            assert_eq!(waiting.join().unwrap(), (true, true));
        });
        assert!(!store.glimpses_leftovers());
    }
}
