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

    /// Asks about a server that has just started, once all that it starts with is there. Its admin port's HTTP server makes the threads
    /// that it keeps (four, without a name of their own, like the main thread and the one that accepts) some time after the ready line.
    #[track_caller]
    pub fn of_started(server: &super::Server) -> Self {
        let mut last = None;
        super::wait::eventually("the server's own threads", || {
            super::http::ask(server.admin, "GET", "/health", &[], b"").expect(200);
            let now = Self::of(server.pid);
            let held = |usage: &Self| (usage.threads, usage.descriptors);
            let settled = last.replace(now).is_some_and(|last| held(&last) == held(&now));
            (settled && Self::thread_names(server.pid).get("mockd").is_some_and(|count| *count >= 6)).then_some(now)
        })
    }

    /// Waits until a process that runs holds no more threads and descriptors than `before`; tells what it holds then.
    #[track_caller]
    pub fn back_to(pid: u32, before: &Self) -> Self {
        let mut last = None;
        let end = std::time::Instant::now() + 2 * super::wait::DEADLINE;
        while std::time::Instant::now() < end {
            let now = Self::of(pid);
            if now.is_within(before) {
                return now;
            }
            last = Some(now);
            std::thread::park_timeout(std::time::Duration::from_millis(10));
        }
        panic!("waited in vain for {before:?} to come back; there is {last:?}: {:?}", Self::thread_names(pid))
    }

    /// The names of its threads, each once, with how many have it.
    pub fn thread_names(pid: u32) -> std::collections::BTreeMap<String, usize> {
        let mut names = std::collections::BTreeMap::new();
        for entry in std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let name = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            *names.entry(name.trim().to_owned()).or_insert(0) += 1;
        }
        names
    }

    /// Whether neither threads nor descriptors are more than in `before`.
    pub fn is_within(&self, before: &Self) -> bool {
        self.threads <= before.threads && self.descriptors <= before.descriptors
    }
}
