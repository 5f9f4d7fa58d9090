//! A process beside this one that hears the signals which this one holds. What it is and when it ends is its caller's matter.

use std::ffi::{CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use nix::spawn::{PosixSpawnAttr, PosixSpawnFileActions, PosixSpawnFlags, posix_spawnp};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitStatus, waitpid};

/// Starts a program, looked for in `PATH`, with these arguments and this environment beside its own, that hears the signals that this
/// process holds: by itself it would inherit the hold. Nothing is let go here meanwhile, so a signal at this very moment is heard as any other.
///
/// # Errors
/// What the system says; `InvalidInput` for a word with a NUL in it.
pub fn spawn_unheld(program: &OsStr, args: &[OsString], variables: &[(&str, String)]) -> std::io::Result<Spawned> {
    let word = |word: &OsStr| CString::new(word.as_bytes()).map_err(|_| std::io::Error::from(std::io::ErrorKind::InvalidInput));
    let own = std::env::vars_os().filter(|(name, _)| !variables.iter().any(|(other, _)| name == other));
    let given = variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value)));
    let environment = own.chain(given).map(|(name, value)| {
        let mut pair = name;
        pair.push("=");
        pair.push(value);
        word(&pair)
    });
    let environment = environment.collect::<std::io::Result<Vec<CString>>>()?;
    let words = std::iter::once(program).chain(args.iter().map(OsString::as_os_str));
    let words = words.map(word).collect::<std::io::Result<Vec<CString>>>()?;
    let mut attributes = PosixSpawnAttr::init()?;
    attributes.set_flags(PosixSpawnFlags::POSIX_SPAWN_SETSIGMASK | PosixSpawnFlags::POSIX_SPAWN_SETSIGDEF)?;
    attributes.set_sigmask(&SigSet::empty())?;
    // This process ignores it, as every program of this language does; others count on it.
    attributes.set_sigdefault(&SigSet::from(Signal::SIGPIPE))?;
    let pid = posix_spawnp(&words[0], &PosixSpawnFileActions::init()?, &attributes, &words, &environment)?;
    Ok(Spawned(pid))
}

/// A process of [`spawn_unheld`].
#[derive(Debug)]
pub struct Spawned(nix::unistd::Pid);

impl Spawned {
    /// Its number.
    pub fn id(&self) -> u32 {
        self.0.as_raw().unsigned_abs()
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// What the system says.
    pub fn wait(self) -> std::io::Result<ExitStatus> {
        loop {
            match waitpid(self.0, None) {
                Ok(WaitStatus::Exited(_, code)) => return Ok(ExitStatus::from_raw((code & 0xff) << 8)),
                Ok(WaitStatus::Signaled(_, signal, _)) => return Ok(ExitStatus::from_raw(signal as i32)),
                Ok(_) | Err(nix::errno::Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: &str) -> ExitStatus {
        let args = ["-c", script].map(OsString::from);
        spawn_unheld(OsStr::new("sh"), &args, &[("MOCKD_SPAWNED", "a b".to_owned())]).unwrap().wait().unwrap()
    }

    #[test]
    fn a_process_has_its_words_its_variables_and_an_end() {
        assert_eq!(run("test \"$MOCKD_SPAWNED\" = 'a b' && test -n \"$PATH\" && exit 42").code(), Some(42));
        assert_eq!(run("kill -TERM $$").signal(), Some(15));
        let kind = |program: &str, args: &[OsString]| spawn_unheld(OsStr::new(program), args, &[]).unwrap_err().kind();
        assert_eq!(kind("no-such-program-anywhere", &[]), std::io::ErrorKind::NotFound);
        assert_eq!(kind("/", &[]), std::io::ErrorKind::PermissionDenied);
        assert_eq!(kind("sh", &["a\0b".into()]), std::io::ErrorKind::InvalidInput);
    }

    #[test]
    fn it_hears_what_its_parent_holds_and_ends_by_a_broken_pipe() {
        std::thread::spawn(|| {
            SigSet::from(Signal::SIGTERM).thread_block().unwrap();
            assert_eq!(run("kill -TERM $$; exit 1").signal(), Some(15));
            assert_eq!(run("kill -PIPE $$; exit 1").signal(), Some(13));
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_signal_at_the_moment_of_starting_a_process_ended_this_one() {
        std::thread::spawn(|| {
            let held = SigSet::from(Signal::SIGTERM);
            held.thread_block().unwrap();
            // For this thread: it waits to be heard.
            nix::sys::signal::raise(Signal::SIGTERM).unwrap();
            assert_eq!(run("exit 3").code(), Some(3));
            assert_eq!(held.wait().unwrap(), Signal::SIGTERM);
        })
        .join()
        .unwrap();
    }
}
