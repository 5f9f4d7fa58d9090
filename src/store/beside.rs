//! A recovery that runs beside everything else: who asks what there is waits for its end, nobody else does. It starts no thread.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::Store;
use crate::base::error::Result;
use crate::base::sync;

/// Whether a recovery is still to end.
#[derive(Debug, Default)]
pub struct Pending {
    recoveries: Mutex<u64>,
    change: Condvar,
}

impl Pending {
    /// Waits until none is.
    pub fn wait(&self) {
        let mut recoveries = sync::lock(&self.recoveries);
        while *recoveries > 0 {
            recoveries = sync::wait(&self.change, recoveries, Duration::from_secs(3600));
        }
    }

    fn add(&self) {
        *sync::lock(&self.recoveries) += 1;
    }

    fn end(&self) {
        *sync::lock(&self.recoveries) -= 1;
        self.change.notify_all();
    }
}

/// A recovery that is to run; it has ended when this value goes away, whether it ran or not.
#[derive(Debug)]
pub struct Recovery {
    store: Arc<Store>,
}

impl Recovery {
    /// From now on lists of `store` wait for it.
    pub fn begin(store: Arc<Store>) -> Self {
        store.pending().add();
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
        self.store.pending().end();
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
}
