//! When a directory was read, and whether its names can have changed since: its own stamp says so without a look at what is in it.
//! It reads no name and no file of a recording.

use std::path::Path;

use super::files::{self, Stamp};
use crate::base::time::{self, Micros};

/// A directory as it was just before its names were read.
#[derive(Debug, Clone, Copy)]
pub struct DirLook {
    stamp: Stamp,
    /// Whether the stamp was old enough to tell these names from any later ones.
    settled: bool,
    /// When the look began and how long it took, on the process's clock.
    begun_us: Micros,
    took_us: Micros,
}

/// A stamp is believed when it was made this long before it was looked at: more than a tick of any kernel's clock.
pub const SETTLED_NS: i64 = 50_000_000;
/// A file that somebody writes in place does not show in its directory's stamp: all are looked at anew after this time.
const LOOK_EVERY_US: u64 = 2_000_000;
/// And not before so many times as long as the last look took has passed, so that looking takes a bounded part of the time.
const LOOK_PAUSE: u64 = 10;

impl DirLook {
    /// Before the names are read; `None` where the directory is not there, or does not say.
    pub fn begin(dir: &Path) -> Option<Self> {
        let (begun_us, now_ns) = (time::now_us(), now_ns());
        let stamp = files::dir_stamp(dir)?;
        // Nobody can set a directory's ctime back; a clock that was set back itself makes it wait.
        let settled = stamp.mtime_ns.max(stamp.ctime_ns).saturating_add(SETTLED_NS) < now_ns;
        Some(Self { stamp, settled, begun_us, took_us: 0 })
    }

    /// After everything has been looked at.
    pub fn end(&mut self) {
        self.took_us = time::now_us().saturating_sub(self.begun_us);
    }

    /// Whether no name has come, gone or been given to another file since, and the time for the next look has not come.
    pub fn holds(&self, dir: &Path) -> bool {
        self.settled && !self.is_due(time::now_us()) && files::dir_stamp(dir) == Some(self.stamp)
    }

    fn is_due(&self, now_us: Micros) -> bool {
        let pause_us = LOOK_EVERY_US.max(self.took_us.saturating_mul(LOOK_PAUSE));
        now_us.saturating_sub(self.begun_us.saturating_add(self.took_us)) >= pause_us
    }
}

/// The wall clock as stamps count it.
pub fn now_ns() -> i64 {
    i64::try_from(time::wall_us()).unwrap_or(i64::MAX / 1000).saturating_mul(1000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Waits until a change of now has a stamp that is believed.
    fn settle() {
        std::thread::sleep(Duration::from_nanos(SETTLED_NS as u64) + Duration::from_millis(20));
    }

    #[test]
    fn a_look_holds_until_a_name_changes() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path();
        let file = dir.join("rec_01AAAAAA.json");
        type Change = fn(&Path);
        let changes: [(Change, bool); 6] = [
            (|file| std::fs::write(file, "made").unwrap(), false),
            (|file| std::fs::write(file, "written in place").unwrap(), true),
            (|file| std::fs::rename(file, file.with_extension("deleted")).unwrap(), false),
            (|file| std::fs::rename(file.with_extension("deleted"), file).unwrap(), false),
            (
                |file| {
                    std::fs::write(file.with_extension("tmp"), "other").unwrap();
                    std::fs::rename(file.with_extension("tmp"), file).unwrap();
                },
                false,
            ),
            (|file| std::fs::remove_file(file).unwrap(), false),
        ];
        for (at, (change, holds)) in changes.into_iter().enumerate() {
            settle();
            let look = DirLook::begin(dir).unwrap();
            assert!(look.settled && look.holds(dir), "{at}");
            change(&file);
            assert_eq!(look.holds(dir), holds, "{at}");
        }
    }

    #[test]
    fn a_look_within_the_tick_of_a_change_holds_for_nobody() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("x"), "").unwrap();
        assert!(!DirLook::begin(dir.path()).unwrap().holds(dir.path()));
        assert!(DirLook::begin(&dir.path().join("none")).is_none());
    }

    #[test]
    fn the_next_look_is_due_in_time_and_later_where_one_is_dear() {
        let dir = tempfile::tempdir().unwrap();
        let look = DirLook::begin(dir.path()).unwrap();
        for (took_us, ages) in [
            (0, [(0, false), (LOOK_EVERY_US - 1, false), (LOOK_EVERY_US, true)]),
            (500_000, [(LOOK_EVERY_US, false), (4_999_999, false), (5_000_000, true)]),
        ] {
            let look = DirLook { begun_us: 7, took_us, ..look };
            for (age_us, is_due) in ages {
                assert_eq!(look.is_due(7 + took_us + age_us), is_due, "{took_us} {age_us}");
            }
        }
    }
}
