//! What a process holds, as Linux tells it: threads, descriptors, resident memory. It judges nothing.

/// What a process holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    /// Its threads.
    pub threads: usize,
    /// Its open descriptors.
    pub descriptors: usize,
    /// KiB of memory that are resident.
    pub rss_kib: u64,
}

impl Usage {
    /// Asks about a process that runs.
    #[track_caller]
    pub fn of(pid: u32) -> Self {
        let entries = |what: &str| std::fs::read_dir(format!("/proc/{pid}/{what}")).expect("the process runs").count();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a resident size");
        let rss_kib = rss.trim().trim_end_matches("kB").trim().parse().expect("a number");
        Self { threads: entries("task"), descriptors: entries("fd"), rss_kib }
    }

    /// Whether neither threads nor descriptors are more than in `before`.
    pub fn is_within(&self, before: &Self) -> bool {
        self.threads <= before.threads && self.descriptors <= before.descriptors
    }
}
