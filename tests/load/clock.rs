//! Time and cores: the clocks that all processes of a run share, waiting for a moment, staying on one core. It measures nothing itself.

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::sys::time::TimeSpec;
// Under a name of its own: the loads wait for moments, and nothing in `tests` sleeps in the hope that something has happened.
use nix::time::{ClockId, ClockNanosleepFlags, clock_gettime, clock_nanosleep as wait_on};
use nix::unistd::Pid;

use crate::Result;

fn nanos(time: TimeSpec) -> u64 {
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}

fn read(clock: ClockId) -> u64 {
    clock_gettime(clock).map_or(0, nanos)
}

/// Nanoseconds of CLOCK_MONOTONIC, which is the same in every process.
pub fn now_ns() -> u64 {
    read(ClockId::CLOCK_MONOTONIC)
}

/// Nanoseconds since 1970.
pub fn wall_ns() -> u64 {
    read(ClockId::CLOCK_REALTIME)
}

/// CPU nanoseconds that a process has used so far, all its threads together, user and system.
pub fn cpu_ns(pid: u32) -> Result<u64> {
    let clock = ClockId::pid_cpu_clock_id(Pid::from_raw(i32::try_from(pid)?))?;
    Ok(nanos(clock_gettime(clock)?))
}

/// Counts, from its making on, what of the cores' time processes got, and what a host kept from them that runs this machine as a virtual one.
pub struct Cores(u64, u64);

impl Cores {
    /// Begins to count.
    pub fn now() -> Self {
        let stat = std::fs::read_to_string("/proc/stat").unwrap_or_default();
        let ticks: Vec<u64> = stat.lines().next().unwrap_or("").split(' ').filter_map(|word| word.parse().ok()).collect();
        // user, nice, system, idle, iowait, irq, softirq, steal: proc_stat(5).
        let of = |names: &[usize]| names.iter().filter_map(|at| ticks.get(*at)).sum();
        Self(of(&[0, 1, 2, 5, 6]), of(&[7]))
    }

    /// Of the time in which something wanted a core, the host's share, in per cent.
    pub fn stolen(&self) -> f64 {
        let Self(used, stolen) = Self::now();
        let (used, stolen) = (used.saturating_sub(self.0), stolen.saturating_sub(self.1));
        if stolen == 0 { 0.0 } else { 100.0 * stolen as f64 / (used + stolen) as f64 }
    }
}

/// Waits until CLOCK_MONOTONIC shows `at_ns`; a moment that is over is no wait.
pub fn wait_until(at_ns: u64) {
    let at = TimeSpec::new((at_ns / 1_000_000_000) as i64, (at_ns % 1_000_000_000) as i64);
    // A signal may end a wait early; the rest is waited for again.
    while wait_on(ClockId::CLOCK_MONOTONIC, ClockNanosleepFlags::TIMER_ABSTIME, &at).is_err() {}
}

/// Lets things settle for so long: pages are written back, dying threads go.
pub fn settle(ms: u64) {
    wait_until(now_ns() + ms * 1_000_000);
}

/// Wakes this thread and those it starts with 1 ns of slack, not 50 µs.
pub fn sharpen() -> Result<()> {
    Ok(nix::sys::prctl::set_timerslack(1)?)
}

/// Keeps this process, and what it starts, on one core.
pub fn pin(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)?;
    Ok(sched_setaffinity(Pid::from_raw(0), &set)?)
}

/// The last core that this process may use: the first one serves most interrupts.
pub fn last_core() -> usize {
    let allowed = sched_getaffinity(Pid::from_raw(0));
    let is_allowed = |core: &usize| allowed.as_ref().is_ok_and(|set| set.is_set(*core).unwrap_or(false));
    (0..CpuSet::count()).rev().find(is_allowed).unwrap_or(0)
}
