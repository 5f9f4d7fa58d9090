//! What signals ask of a server, heard by a thread of its own from before the ports are open until the process has gone. It ends no
//! stream and writes no file: who asks for the next signal does, and has [`limits::SHUTDOWN_MS`] for it.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use crate::base::error::Result;
use crate::base::platform::{self, Signal};
use crate::base::{limits, sync};

/// The signals that nobody has looked at yet.
#[derive(Debug, Default)]
pub struct Signals {
    asked: Mutex<Asked>,
    change: Condvar,
}

/// Signals of one kind that come before the first of them has been looked at ask for the same thing once.
#[derive(Debug, Default)]
struct Asked {
    reload: bool,
    stop: bool,
}

impl Signals {
    /// Hears them from now on; they must be held already. The first one that asks for the end starts a clock, at the end of which
    /// the process is gone, whatever keeps it; a second one ends it at once.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn hear() -> Result<Arc<Self>> {
        let signals = Arc::new(Self::default());
        let hearing = Arc::clone(&signals);
        sync::spawn("signals", move || {
            while platform::next_signal() == Signal::Reload {
                hearing.ask(|asked| asked.reload = true);
            }
            hearing.ask(|asked| asked.stop = true);
            if let Err(error) = sync::spawn("patience", run_out) {
                log::warn!("the end has no limit in time: {error}");
            }
            while platform::next_signal() == Signal::Reload {}
            std::process::exit(1);
        })?;
        Ok(signals)
    }

    /// Waits until the end is asked for.
    pub fn await_stop(&self) {
        self.wait(|asked| asked.stop.then_some(()));
    }

    /// Waits until the configuration is to be read again; `false` when the end has been asked for, which comes before that.
    pub fn await_reload(&self) -> bool {
        self.wait(|asked| (asked.stop || std::mem::take(&mut asked.reload)).then_some(!asked.stop))
    }

    fn wait<T>(&self, look: impl Fn(&mut Asked) -> Option<T>) -> T {
        let mut asked = sync::lock(&self.asked);
        loop {
            if let Some(seen) = look(&mut asked) {
                return seen;
            }
            asked = sync::wait(&self.change, asked, Duration::from_secs(3600));
        }
    }

    /// Whether the end has been asked for.
    pub fn is_stopping(&self) -> bool {
        sync::lock(&self.asked).stop
    }

    fn ask(&self, what: impl FnOnce(&mut Asked)) {
        what(&mut sync::lock(&self.asked));
        self.change.notify_all();
    }
}

/// Ends the process when its time is up. What has not been finished is recovered by the next start.
fn run_out() {
    std::thread::sleep(Duration::from_millis(limits::SHUTDOWN_MS));
    log::error!("the end took too long; what is not on disk yet is recovered by the next start");
    std::process::exit(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_of_a_kind_are_one_and_the_end_comes_first() {
        let signals = Signals::default();
        (0..3).for_each(|_| signals.ask(|asked| asked.reload = true));
        assert!(signals.await_reload() && !signals.is_stopping() && !sync::lock(&signals.asked).reload);
        signals.ask(|asked| asked.reload = true);
        signals.ask(|asked| asked.stop = true);
        signals.await_stop();
        assert!(!signals.await_reload() && !signals.await_reload() && signals.is_stopping());
    }
}
