//! Locks and threads as this crate uses them. No policy: who owns what stands with the owner.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::error::{Error, Result};
use super::limits;

/// Locks `mutex`. A panic in another holder costs that thread alone: the data here is kept whole by short, total updates.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits on `condvar` for at most `limit`; spurious wake-ups happen, so the caller checks its condition again.
pub fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>, limit: Duration) -> MutexGuard<'a, T> {
    match condvar.wait_timeout(guard, limit) {
        Ok((guard, _)) => guard,
        Err(poisoned) => poisoned.into_inner().0,
    }
}

/// Starts a thread with a small stack. A panic in it is caught and logged: it costs what the thread served, no more.
///
/// # Errors
/// [`Error::TooMany`] where the system gives no thread.
pub fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> Result<std::thread::JoinHandle<()>> {
    let label = name.to_owned();
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(limits::STACK_BYTES)
        .spawn(move || {
            if std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).is_err() {
                log::error!("the thread {label} panicked; what it served has ended, the rest goes on");
            }
        })
        .map_err(|error| Error::TooMany(format!("the system gives no further thread for {name}: {error}")))
}

/// Does `work` for each item, on this thread and at most `threads - 1` beside it, and ends when all are done. For work that waits for the
/// disk: those that wait at once share what the disk does for them, so that a thousand do not take a thousand times as long as one.
/// Where the system gives no further thread it takes longer.
pub fn share_out<T: Send>(name: &str, items: Vec<T>, threads: usize, work: impl Fn(T) + Sync) {
    let others = items.len().min(threads).saturating_sub(1);
    let rest = Mutex::new(items.into_iter());
    let next = || lock(&rest).next();
    let work_on = || {
        while let Some(item) = next() {
            work(item);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..others {
            let thread = std::thread::Builder::new().name(name.to_owned()).stack_size(limits::STACK_BYTES);
            if let Err(error) = thread.spawn_scoped(scope, work_on) {
                log::debug!("no further thread for {name}: {error}");
                break;
            }
        }
        work_on();
    });
}

/// One place under a cap, for as long as it lives.
#[derive(Debug)]
pub struct Place {
    taken: Arc<AtomicU64>,
    /// How many places are taken with this one.
    pub number: u64,
}

impl Place {
    /// Takes one more, whatever the cap: the caller compares the number.
    pub fn take(taken: &Arc<AtomicU64>) -> Self {
        let number = taken.fetch_add(1, Ordering::Relaxed) + 1;
        Self { taken: Arc::clone(taken), number }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_out_is_done_once_each() {
        for (count, threads) in [(0, 4), (1, 4), (3, 1), (100, 4), (5, 0)] {
            let done = Mutex::new(Vec::new());
            share_out("test", (0..count).collect(), threads, |item: u64| lock(&done).push(item));
            let mut done = done.into_inner().unwrap();
            done.sort_unstable();
            assert_eq!(done, (0..count).collect::<Vec<_>>(), "{threads}");
        }
    }
}
