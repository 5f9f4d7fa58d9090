//! The moment of a kill: how it is waited for, how late this machine wakes who waits, and so how old a frame must be to be on disk.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// What SPEC promises of a frame's age on an idle machine, and on a busy one.
const LAG: Duration = Duration::from_millis(50);
const BUSY_LAG: Duration = Duration::from_millis(500);
/// A thread that is woken this much too late, or gets its turn so much later, says that the machine is busy.
const LATE: Duration = Duration::from_millis(10);
/// Threads for each processor up to which a busy machine keeps what is promised of one.
const CROWDED: f64 = 8.0;
const STEP: Duration = Duration::from_millis(2);

/// How well the machine kept time while a kill was waited for.
#[derive(Debug, Clone, Copy)]
pub struct Machine {
    /// How late the test's own thread was woken at worst.
    pub worst: Duration,
    /// How long a thread of the process that is killed waited for a processor in all, the one that waited longest.
    queued: Duration,
    busy: bool,
    /// Threads that want to run, for each processor, averaged over the last minute.
    load: f64,
}

impl Machine {
    /// Busy is a machine that woke this very thread late, that let a thread of the killed process wait for a processor, as a crowd of
    /// clients that come at once does, or that has had more to run than processors for a minute.
    pub fn is_busy(self) -> bool {
        self.busy
    }

    /// How old a frame must be to be on disk. Where more than so many threads wait for each processor, a thread's turn comes later still.
    pub fn lag(self) -> Duration {
        if self.busy { BUSY_LAG.mul_f64((self.load / CROWDED).max(1.0)) } else { LAG }
    }
}

/// Waits for the moment to kill a process, and measures how well the machine keeps time.
pub fn wait_to_kill(pid: u32, limit: Duration) -> Machine {
    let before = queued(pid);
    let worst = wait(limit);
    let since = |(thread, time): (u64, Duration)| time.saturating_sub(before.get(&thread).copied().unwrap_or_default());
    let queued = queued(pid).into_iter().map(since).max().unwrap_or_default();
    let load = load();
    Machine { worst, queued, busy: worst.max(queued) > LATE || load > 1.0, load }
}

/// Waits, and tells how late this thread was woken at worst.
pub fn wait(limit: Duration) -> Duration {
    let end = Instant::now() + limit;
    let mut worst = Duration::ZERO;
    while Instant::now() < end {
        let due = (Instant::now() + STEP).min(end);
        while Instant::now() < due {
            std::thread::park_timeout(due.saturating_duration_since(Instant::now()));
        }
        worst = worst.max(due.elapsed());
    }
    worst
}

/// How long each thread of a process has been ready to run while others ran. Nothing where the kernel does not count it.
fn queued(pid: u32) -> BTreeMap<u64, Duration> {
    let time = |entry: std::fs::DirEntry| {
        let thread = entry.file_name().to_str()?.parse().ok()?;
        let text = std::fs::read_to_string(entry.path().join("schedstat")).ok()?;
        Some((thread, Duration::from_nanos(text.split(' ').nth(1)?.parse().ok()?)))
    };
    std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten().filter_map(time).collect()
}

fn load() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let all: f64 = text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
    all / std::thread::available_parallelism().map_or(1.0, |count| count.get() as f64)
}
