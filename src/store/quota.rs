//! How full the directory is: measured now and then, own writes counted at once. It refuses; it never removes.
//! Who writes frames is told by what is counted; measuring a directory of many files takes its time, and is another thread's.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use super::files;
use crate::base::error::{Error, Result};
use crate::base::time::{self, Micros};
use crate::base::{limits, platform, sync, text};

/// The bytes of a directory and their limit, shared by the store and its journals.
#[derive(Debug)]
pub struct Quota {
    dir: PathBuf,
    max_bytes: u64,
    warn_percent: u64,
    /// Bytes of our own that were ever written.
    counted: AtomicU64,
    figure: Mutex<Figure>,
    /// Something was removed or changed since it was measured.
    is_stale: AtomicBool,
    /// The bytes in use when somebody was refused; 0: nobody was, or room was made since.
    refused_at: AtomicU64,
    /// The warning has been logged, and is still true.
    warned: AtomicBool,
}

/// What the last look at the directory gave.
#[derive(Debug, Clone, Copy, Default)]
struct Figure {
    bytes: u64,
    /// Those of our own that were counted when it began; later ones come on top, whether it has seen them or not.
    counted: u64,
    begun_us: Micros,
    /// When it ended, on the process's clock plus one; 0: there was none.
    ended_us: Micros,
}

/// Other processes write as well: after this time the directory is to be measured again.
const MEASURE_EVERY_US: u64 = 5_000_000;
/// And after this part of the room that was left has been taken: who else writes has taken some of it too.
const MEASURE_EVERY_PART: u64 = 32;
/// But not for less than this.
const MEASURE_EVERY_BYTES: u64 = 128 * limits::KIB;
/// Where nobody has measured meanwhile, who writes does it after this part, so that many processes exceed the limit by little;
const MEASURE_AT_PART: u64 = 16;
/// and not for less than this.
const MEASURE_AT_BYTES: u64 = 256 * limits::KIB;
/// A figure of this age refuses without another look: a full store refuses every client that comes.
const FRESH_US: u64 = 250_000;
/// Who asked for more than this part of the limit was refused for its size; that says nothing about the next one.
const ORDINARY_PART: u64 = 2;

impl Quota {
    /// The quota of a directory. Does no I/O.
    pub fn new(dir: PathBuf, max_bytes: u64, warn_percent: u64) -> Self {
        Self {
            dir,
            max_bytes,
            warn_percent,
            counted: AtomicU64::new(0),
            figure: Mutex::default(),
            is_stale: AtomicBool::new(false),
            refused_at: AtomicU64::new(0),
            warned: AtomicBool::new(false),
        }
    }

    /// The limit in bytes.
    pub fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    /// Refuses where `more` bytes of a recording, its first ones too, do not fit. It reads counters, but where it would refuse by an old figure, or
    /// where much was written and [`Quota::measure`] was not called though it [`Quota::is_due`].
    ///
    /// # Errors
    /// [`Error::StorageFull`].
    pub fn check_frames(&self, more: u64) -> Result<()> {
        self.check_frames_at(more, time::now_us())
    }

    fn check_frames_at(&self, more: u64, now: Micros) -> Result<()> {
        if sync::lock(&self.figure).ended_us == 0 || self.writes_much(more, MEASURE_AT_PART, MEASURE_AT_BYTES) {
            self.measure_at(now);
        }
        let refused = self.check_fresh(more, now);
        if refused.is_err() && more <= self.max_bytes / ORDINARY_PART {
            self.refused_at.store(self.used().max(1), Ordering::Relaxed);
        }
        refused
    }

    /// Refuses where `more` bytes of an import do not fit. What is too large for what is left keeps nobody else from it.
    ///
    /// # Errors
    /// [`Error::StorageFull`].
    pub fn check_import(&self, more: u64) -> Result<()> {
        if self.is_due() {
            self.measure();
        }
        self.check_fresh(more, time::now_us())
    }

    fn check_fresh(&self, more: u64, now: Micros) -> Result<()> {
        if self.fits(more) {
            return Ok(());
        }
        // Somebody may have made room; nobody is refused by an old figure.
        if self.is_stale.load(Ordering::Relaxed) || self.age_us(now) > FRESH_US {
            self.measure_at(now);
            if self.fits(more) {
                return Ok(());
            }
        }
        Err(self.full(more))
    }

    /// Whether the directory is to be measured: by a thread that nobody waits for.
    pub fn is_due(&self) -> bool {
        self.is_due_at(time::now_us())
    }

    fn is_due_at(&self, now: Micros) -> bool {
        let is_old = sync::lock(&self.figure).ended_us == 0 || self.age_us(now) > MEASURE_EVERY_US;
        is_old || self.is_stale.load(Ordering::Relaxed) || self.writes_much(0, MEASURE_EVERY_PART, MEASURE_EVERY_BYTES)
    }

    /// Microseconds since the directory was measured.
    fn age_us(&self, now: Micros) -> u64 {
        now.saturating_add(1).saturating_sub(sync::lock(&self.figure).ended_us)
    }

    /// Whether what was written since the directory was measured, and `more`, is this part of the room that was left, and these bytes.
    fn writes_much(&self, more: u64, part: u64, bytes: u64) -> bool {
        let figure = *sync::lock(&self.figure);
        let written = self.counted.load(Ordering::Relaxed).saturating_sub(figure.counted);
        let room = self.max_bytes.saturating_sub(figure.bytes + written);
        written.saturating_add(more) >= (room / part).max(bytes)
    }

    /// The bytes in use, as far as is known.
    fn used(&self) -> u64 {
        let figure = *sync::lock(&self.figure);
        figure.bytes + self.counted.load(Ordering::Relaxed).saturating_sub(figure.counted)
    }

    /// Counts bytes that were written.
    pub fn add(&self, bytes: u64) {
        self.counted.fetch_add(bytes, Ordering::Relaxed);
        self.warn_once(self.used());
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

    /// The directory has changed otherwise: a thread that nobody waits for is to measure it; the next import, and who would be refused, do it
    /// themselves.
    pub fn forget(&self) {
        self.is_stale.store(true, Ordering::Relaxed);
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
        let used = self.used();
        let refused_at = self.refused_at.load(Ordering::Relaxed);
        if refused_at > 0 && used >= refused_at {
            return Err(self.full_because("what a recording had next did not fit, and no room was made since: "));
        }
        self.refused_at.store(0, Ordering::Relaxed);
        self.check_frames(limits::ROOM_TO_BEGIN_BYTES.min(self.max_bytes / 10).max(1))?;
        if platform::free_bytes(&self.dir).is_some_and(|free| free < limits::ROOM_TO_BEGIN_BYTES) {
            let message =
                format!("the disk below {} is full; free some space, or choose another place with --data-dir", self.dir.display());
            return Err(Error::StorageFull(message));
        }
        Ok(self.warning(used))
    }

    fn fits(&self, more: u64) -> bool {
        let used = self.used();
        used < self.max_bytes && more <= self.max_bytes - used
    }

    /// Why `more` bytes do not fit.
    fn full(&self, more: u64) -> Error {
        self.full_because(&format!("{} more do not fit: ", text::size(more)))
    }

    fn full_because(&self, what: &str) -> Error {
        let (used, max) = (text::size(self.used()), text::size(self.max_bytes));
        Error::StorageFull(format!("{what}the recordings use {used} of recording.maxBytes ({max}): {MAKE_ROOM}"))
    }

    /// Looks at every file. It takes its time, and more where there are many.
    pub fn measure(&self) {
        self.measure_at(time::now_us());
    }

    fn measure_at(&self, now: Micros) {
        let begun = Instant::now();
        self.is_stale.store(false, Ordering::Relaxed);
        let counted = self.counted.load(Ordering::Relaxed);
        let found = files::scan(&self.dir);
        // From its end on: a look that takes long is not followed by the next one.
        let took = u64::try_from(begun.elapsed().as_micros()).unwrap_or(u64::MAX);
        let ended_us = now.saturating_add(took).saturating_add(1);
        let bytes = match found {
            Ok(found) => Some(found.iter().map(|found| found.stamp.size).sum()),
            // What is wrong with the directory is said by the write that follows.
            Err(error) => {
                log::debug!("the recordings' size stays as it was: {error}");
                None
            }
        };
        let mut figure = sync::lock(&self.figure);
        // Of two who look at once, the one who began later has seen more.
        if now >= figure.begun_us {
            // A look that found nothing counts as one too: the next is due as late as after any other.
            let bytes = bytes.unwrap_or_else(|| figure.bytes + counted.saturating_sub(figure.counted));
            *figure = Figure { bytes, counted, begun_us: now, ended_us };
        }
        drop(figure);
        self.warn_once(self.used());
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
        assert_eq!(quota.check_frames(100), Ok(()));
        std::fs::write(dir.path().join("rec_01AAAA.json"), [0; 30]).unwrap();
        std::fs::write(dir.path().join("rec_01BBBB.json.deleted"), [0; 20]).unwrap();
        std::fs::write(dir.path().join("rec_01CCCC.journal"), [0; 10]).unwrap();
        std::fs::write(dir.path().join("other"), [0; 1000]).unwrap();
        quota.forget();
        assert_eq!(quota.check_import(40), Ok(()));
        let Err(Error::StorageFull(message)) = quota.check_import(41) else { panic!() };
        assert!(message.contains("vacuum") && message.contains("recording.maxBytes"), "{message}");
        quota.add(39);
        assert_eq!(quota.check_frames(1), Ok(()));
        quota.add(1);
        assert_eq!(quota.warning(100).unwrap().split(';').next(), Some("100.0% of 100 B used"));
        // Refused by what is counted, it looks again where that may be old: what was counted and never written does not count.
        quota.forget();
        assert_eq!(quota.check_frames(1), Ok(()));
    }

    fn full_of(result: Result<()>) -> bool {
        matches!(result, Err(Error::StorageFull(_)))
    }

    /// Trap: a directory of many files, and a client that is refused each millisecond.
    #[test]
    fn refusals_that_follow_each_other_do_not_measure_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("rec_01AAAAAA.json");
        std::fs::write(&file, [0; 100]).unwrap();
        let quota = Quota::new(dir.path().to_owned(), 100, 80);
        assert!(full_of(quota.check_frames_at(1, 1_000_000)));
        std::fs::remove_file(&file).unwrap();
        assert!(full_of(quota.check_frames_at(1, 1_000_000 + FRESH_US)), "a figure of a moment ago refuses");
        assert_eq!(quota.check_frames_at(1, 60_000_000), Ok(()), "an old one does not");
        std::fs::write(&file, [0; 100]).unwrap();
        let quota = Quota::new(dir.path().to_owned(), 100, 80);
        assert!(full_of(quota.check_frames(1)));
        std::fs::remove_file(&file).unwrap();
        quota.forget();
        assert_eq!(quota.check_frames(1), Ok(()), "nor one from before room was made");
    }

    /// Trap: the recorder's thread, which every recording waits for.
    #[test]
    fn frames_are_let_in_by_what_is_counted_and_who_measures_is_asked() {
        let dir = tempfile::tempdir().unwrap();
        let quota = Quota::new(dir.path().to_owned(), 10 * limits::MIB, 80);
        assert!(quota.is_due_at(0));
        assert_eq!(quota.check_frames_at(1, 0), Ok(()));
        assert!(!quota.is_due_at(0));
        std::fs::write(dir.path().join("rec_01AAAAAA.json"), vec![0; 10 << 20]).unwrap();
        assert!(quota.is_due_at(2 * MEASURE_EVERY_US));
        assert_eq!(quota.check_frames_at(1, 2 * MEASURE_EVERY_US), Ok(()), "it reads counters");
        quota.measure_at(2 * MEASURE_EVERY_US);
        assert!(full_of(quota.check_frames_at(1, 2 * MEASURE_EVERY_US)));
        std::fs::write(dir.path().join("rec_01AAAAAA.json"), "").unwrap();
        quota.measure_at(2 * MEASURE_EVERY_US);
        quota.add(10 * limits::MIB / MEASURE_EVERY_PART);
        assert!(quota.is_due_at(2 * MEASURE_EVERY_US), "by a part of the room");
        // Nobody has measured: then who writes does.
        quota.add(2 * limits::MIB);
        assert_eq!(quota.check_frames_at(1, 2 * MEASURE_EVERY_US), Ok(()));
        assert_eq!(quota.check_frames_at(10 * limits::MIB - 1, 2 * MEASURE_EVERY_US), Ok(()), "what was counted and never written");
        assert!(!quota.is_due_at(2 * MEASURE_EVERY_US));
    }

    #[test]
    fn what_was_too_large_is_said_and_stops_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let quota = Quota::new(dir.path().to_owned(), limits::MIB, 80);
        for refused in [quota.check_import(2 * limits::MIB), quota.check_import(limits::MIB + 1), quota.check_frames(2 * limits::MIB)] {
            let Err(Error::StorageFull(message)) = refused else { panic!() };
            assert!(message.contains("MB more do not fit: the recordings use 0 B of recording.maxBytes (1.0 MB)"), "{message}");
            assert_eq!(quota.check_now(), Ok(None));
        }
        std::fs::write(dir.path().join("rec_01AAAAAA.json"), vec![0; (1 << 20) - 5000]).unwrap();
        assert!(quota.check_now().is_ok());
        assert!(full_of(quota.check_frames(5001)));
        let refused = quota.check_now().unwrap_err().to_string();
        assert!(refused.contains("what a recording had next did not fit, and no room was made since: the recordings use"), "{refused}");
    }

    #[test]
    fn where_large_frames_were_refused_nobody_begins_until_there_is_room() {
        for (max_bytes, frame, is_full) in [
            (1_000_000, 60_000, true),
            (1_000_000, 70_000, true),
            (1_000_000, 200_000, true),
            (1_000_000, 400_000, true),
            (1_000_000, 600_000, false),
            (100 * limits::MIB, 20 * limits::MIB, true),
            (100 * limits::MIB, 60 * limits::MIB, false),
            (10_000, 4_000, true),
            (10_000, 6_000, false),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("rec_01AAAAAA.json");
            let used = max_bytes - frame / 2;
            std::fs::File::create(&path).unwrap().set_len(used).unwrap();
            let quota = Quota::new(dir.path().to_owned(), max_bytes, 100);
            assert!(full_of(quota.check_frames(frame)));
            assert_eq!(quota.check_now().is_err(), is_full, "{frame} of {max_bytes}");
            std::fs::File::create(&path).unwrap().set_len(used - 1).unwrap();
            assert!(quota.check_now().is_ok(), "room was made");
        }
    }

    #[test]
    fn a_directory_that_cannot_be_read_is_not_looked_at_again_and_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("recordings");
        std::fs::create_dir(&path).unwrap();
        let quota = Quota::new(path.clone(), 10 * limits::MIB, 80);
        std::fs::write(path.join("rec_01AAAAAA.json"), [0; 1000]).unwrap();
        quota.measure_at(0);
        std::fs::remove_dir_all(&path).unwrap();
        std::fs::write(&path, "no directory").unwrap();
        assert!(files::scan(&path).is_err());
        for round in 1..4 {
            quota.add(limits::MIB);
            assert!(quota.is_due_at(round));
            quota.measure_at(round);
            assert!(!quota.is_due_at(round), "it asks for the next look at once");
            assert_eq!(quota.used(), 1000 + round * limits::MIB, "what was known still counts");
        }
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
