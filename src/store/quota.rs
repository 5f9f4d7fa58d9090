//! How full the directory is: measured now and then, own writes counted at once. It refuses; it never removes.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::files;
use crate::base::error::{Error, Result};
use crate::base::{limits, platform, text, time};

/// The bytes of a directory and their limit, shared by the store and its journals.
#[derive(Debug)]
pub struct Quota {
    dir: PathBuf,
    max_bytes: u64,
    warn_percent: u64,
    used_bytes: AtomicU64,
    /// Bytes of our own that were counted since the directory was measured.
    unmeasured: AtomicU64,
    /// When the directory was measured, on the process's clock plus one; 0: never.
    measured_us: AtomicU64,
    /// The bytes in use when somebody was refused; 0: nobody was, or room was made since.
    refused_at: AtomicU64,
    /// The warning has been logged, and is still true.
    warned: AtomicBool,
}

/// Other processes write as well: after this time the directory is measured again.
const MEASURE_EVERY_US: u64 = 5_000_000;
/// And after this part of the room that was left has been taken: who else writes has taken some of it too.
const MEASURE_EVERY_PART: u64 = 16;
/// But not for less than this.
const MEASURE_EVERY_BYTES: u64 = 256 * limits::KIB;

impl Quota {
    /// The quota of a directory. Does no I/O.
    pub fn new(dir: PathBuf, max_bytes: u64, warn_percent: u64) -> Self {
        Self {
            dir,
            max_bytes,
            warn_percent,
            used_bytes: AtomicU64::new(0),
            unmeasured: AtomicU64::new(0),
            measured_us: AtomicU64::new(0),
            refused_at: AtomicU64::new(0),
            warned: AtomicBool::new(false),
        }
    }

    /// The limit in bytes.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Refuses where `more` bytes do not fit.
    ///
    /// # Errors
    /// [`Error::StorageFull`].
    pub fn check(&self, more: u64) -> Result<()> {
        let measured = self.measured_us.load(Ordering::Relaxed);
        let unmeasured = self.unmeasured.load(Ordering::Relaxed);
        let room = self.max_bytes.saturating_sub(self.used_bytes.load(Ordering::Relaxed));
        let is_much = unmeasured >= (room / MEASURE_EVERY_PART).max(MEASURE_EVERY_BYTES);
        if measured == 0 || is_much || time::now_us().saturating_sub(measured) > MEASURE_EVERY_US {
            self.measure();
        }
        if self.fits(more) {
            return Ok(());
        }
        // Somebody may have made room; nobody is refused by an old figure.
        self.measure();
        if self.fits(more) {
            return Ok(());
        }
        self.refused_at.store(self.used_bytes.load(Ordering::Relaxed).max(1), Ordering::Relaxed);
        Err(self.full())
    }

    /// Counts bytes that were written.
    pub fn add(&self, bytes: u64) {
        self.unmeasured.fetch_add(bytes, Ordering::Relaxed);
        let used = self.used_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.warn_once(used);
    }

    /// Logs the warning when it becomes true.
    fn warn_once(&self, used_bytes: u64) {
        match self.warning(used_bytes) {
            None => self.warned.store(false, Ordering::Relaxed),
            Some(warning) => {
                if !self.warned.swap(true, Ordering::Relaxed) {
                    log::warn!("{warning}");
                }
            }
        }
    }

    /// The directory has changed otherwise: the next check measures it.
    pub fn forget(&self) {
        self.measured_us.store(0, Ordering::Relaxed);
    }

    /// Per cent in use, one decimal.
    pub fn percent(&self, used_bytes: u64) -> f64 {
        if self.max_bytes == 0 {
            return 100.0;
        }
        (used_bytes as f64 * 1000.0 / self.max_bytes as f64).round() / 10.0
    }

    /// What to say from `warnPercent` on.
    pub fn warning(&self, used_bytes: u64) -> Option<String> {
        let warns = u128::from(used_bytes) * 100 >= u128::from(self.max_bytes) * u128::from(self.warn_percent);
        warns.then(|| {
            let (percent, max) = (self.percent(used_bytes), text::size(self.max_bytes));
            format!("{percent:.1}% of {max} used; {MAKE_ROOM}")
        })
    }

    /// Measures now, for a recording that is to begin: refuses where it would not get far, or where another was refused and
    /// nobody has made room since; gives the warning from `warnPercent` on.
    ///
    /// # Errors
    /// [`Error::StorageFull`].
    pub fn check_now(&self) -> Result<Option<String>> {
        self.measure();
        let used = self.used_bytes.load(Ordering::Relaxed);
        let refused_at = self.refused_at.load(Ordering::Relaxed);
        if refused_at > 0 && used >= refused_at {
            return Err(self.full());
        }
        self.refused_at.store(0, Ordering::Relaxed);
        self.check(limits::ROOM_TO_BEGIN_BYTES.min(self.max_bytes / 10).max(1))?;
        if platform::free_bytes(&self.dir).is_some_and(|free| free < limits::ROOM_TO_BEGIN_BYTES) {
            let message =
                format!("the disk below {} is full; free some space, or choose another place with --data-dir", self.dir.display());
            return Err(Error::StorageFull(message));
        }
        Ok(self.warning(used))
    }

    fn fits(&self, more: u64) -> bool {
        let used = self.used_bytes.load(Ordering::Relaxed);
        used < self.max_bytes && more <= self.max_bytes - used
    }

    fn full(&self) -> Error {
        let used = self.used_bytes.load(Ordering::Relaxed);
        Error::StorageFull(format!(
            "the recordings use {} of recording.maxBytes ({}): {MAKE_ROOM}",
            text::size(used),
            text::size(self.max_bytes)
        ))
    }

    fn measure(&self) {
        let at = time::now_us();
        self.unmeasured.store(0, Ordering::Relaxed);
        match files::scan(&self.dir) {
            Ok(found) => {
                let used = found.iter().map(|found| found.stamp.size).sum();
                self.used_bytes.store(used, Ordering::Relaxed);
                self.warn_once(used);
            }
            // What is wrong with the directory is said by the write that follows.
            Err(error) => log::debug!("the recordings' size stays as it was: {error}"),
        }
        self.measured_us.store(at.saturating_add(1), Ordering::Relaxed);
    }
}

/// What to do about a full store.
const MAKE_ROOM: &str = "run `mockd stream-recordings vacuum`, delete recordings, or raise recording.maxBytes";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_limit_holds_for_all_files_together() {
        let dir = tempfile::tempdir().unwrap();
        let quota = Quota::new(dir.path().to_owned(), 100, 80);
        assert_eq!(quota.check(100), Ok(()));
        std::fs::write(dir.path().join("rec_01AAAA.json"), [0; 30]).unwrap();
        std::fs::write(dir.path().join("rec_01BBBB.json.deleted"), [0; 20]).unwrap();
        std::fs::write(dir.path().join("rec_01CCCC.journal"), [0; 10]).unwrap();
        std::fs::write(dir.path().join("other"), [0; 1000]).unwrap();
        quota.forget();
        assert_eq!(quota.check(40), Ok(()));
        let Err(Error::StorageFull(message)) = quota.check(41) else { panic!() };
        assert!(message.contains("vacuum") && message.contains("recording.maxBytes"), "{message}");
        quota.add(39);
        assert_eq!(quota.check(1), Ok(()));
        quota.add(1);
        assert_eq!(quota.warning(100).unwrap().split(';').next(), Some("100.0% of 100 B used"));
        // Refused by what is counted, it looks again: what was counted and never written does not count.
        assert_eq!(quota.check(1), Ok(()));
    }

    #[test]
    fn the_warning_begins_at_its_percentage() {
        let quota = Quota::new(PathBuf::new(), 524_288_000, 80);
        assert_eq!(quota.warning(419_430_399), None);
        assert!(quota.warning(419_430_400).unwrap().starts_with("80.0% of 500.0 MB used; "));
        assert!(quota.warning(458_752_000).unwrap().starts_with("87.5% of 500.0 MB used; "));
        assert_eq!(quota.percent(524_288), 0.1);
        assert_eq!(Quota::new(PathBuf::new(), 0, 80).percent(0), 100.0);
    }
}
