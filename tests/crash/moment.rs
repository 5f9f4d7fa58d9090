//! The moment of a kill: how it is waited for, how late this machine wakes who waits, and so how old a frame must be to be on disk.

use std::time::{Duration, Instant};

/// What SPEC promises of a frame's age on an idle machine, and on a busy one.
const LAG: Duration = Duration::from_millis(50);
const BUSY_LAG: Duration = Duration::from_millis(500);
/// A thread that is woken this much too late says that the machine is busy.
const LATE: Duration = Duration::from_millis(10);
/// Threads for each processor up to which a busy machine keeps what is promised of one.
const CROWDED: f64 = 8.0;
const STEP: Duration = Duration::from_millis(2);

/// How late the test's own thread was woken while it waited for a kill.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    pub worst: Duration,
    busy: bool,
    /// Threads that want to run, for each processor, averaged over the last minute.
    load: f64,
}

impl Machine {
    /// Busy is a machine that woke this very thread late, or that has more to run than processors: then the recorder's thread waits its
    /// turn as well, whatever this one was given.
    pub fn is_busy(self) -> bool {
        self.busy
    }

    /// How old a frame must be to be on disk. Where more than so many threads wait for each processor, a thread's turn comes later still.
    pub fn lag(self) -> Duration {
        if self.busy { BUSY_LAG.mul_f64((self.load / CROWDED).max(1.0)) } else { LAG }
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
    let load = load();
    Machine { worst, busy: worst > LATE || load > 1.0, load }
}

fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let all: f64 = text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
    all / std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64)
}
