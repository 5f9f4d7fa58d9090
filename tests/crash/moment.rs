//! The moment of a kill: how it is waited for, how late this machine wakes who waits, and so how old a frame must be to be on disk.

use std::time::{Duration, Instant};

/// What SPEC promises of a frame's age on an idle machine, and on a busy one.
const LAG: Duration = Duration::from_millis(50);
const BUSY_LAG: Duration = Duration::from_millis(500);
/// A thread that is woken this much too late says that the machine is busy.
const LATE: Duration = Duration::from_millis(10);
const STEP: Duration = Duration::from_millis(2);

/// How late the test's own thread was woken while it waited for a kill.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    pub worst: Duration,
    busy: bool,
}

impl Machine {
    /// Busy is a machine that woke this very thread late, or that has more to run than processors: then the recorder's thread waits its
    /// turn as well, whatever this one was given.
    pub fn is_busy(self) -> bool {
        self.busy
    }

    /// How old a frame must be to be on disk.
    pub fn lag(self) -> Duration {
        if self.busy { BUSY_LAG } else { LAG }
    }
}

/// Waits, and measures how well the machine keeps time.
pub fn wait(limit: Duration) -> Machine {
    let end = Instant::now() + limit;
    let mut worst = Duration::ZERO;
    while Instant::now() < end {
        let due = (Instant::now() + STEP).min(end);
        while Instant::now() < due {
            std::thread::park_timeout(due.saturating_duration_since(Instant::now()));
        }
        worst = worst.max(due.elapsed());
    }
    Machine { worst, busy: worst > LATE || is_loaded() }
}

/// Whether more threads want to run than there are processors, averaged over the last minute.
fn is_loaded() -> bool {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load: f64 = text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
    load > std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64)
}
