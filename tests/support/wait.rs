//! Waiting with a deadline that says what it waited for. It holds no condition of its own.

use std::process::{Child, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

/// How long a test waits for anything before it fails.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// Asks `condition` again and again until it gives something; every question should be a call that takes its time (an API call, a file read).
#[track_caller]
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + DEADLINE;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < end, "waited {DEADLINE:?} in vain for {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// The next thing from a channel.
#[track_caller]
pub fn next<T>(what: &str, channel: &Receiver<T>) -> T {
    match channel.recv_timeout(DEADLINE) {
        Ok(value) => value,
        Err(RecvTimeoutError::Timeout) => panic!("waited {DEADLINE:?} in vain for {what}"),
        Err(RecvTimeoutError::Disconnected) => panic!("{what} will never come: its sender is gone"),
    }
}

/// Waits for a process to end.
#[track_caller]
pub fn exit(what: &str, child: &mut Child) -> ExitStatus {
    eventually(&format!("the end of {what}"), || child.try_wait().expect("the child can be asked"))
}
