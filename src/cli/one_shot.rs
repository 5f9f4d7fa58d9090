//! A server for as long as one command runs, or one thing takes: `mockd record` and `mockd play`. It opens the server, runs the command
//! beside it, and hears signals; what is recorded or played is theirs.

use std::ffi::OsString;
use std::io::ErrorKind;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::context::{Context, tell};
use super::serve::begin;
use crate::base::error::{Error, Result};
use crate::base::platform::{self, Stop};
use crate::base::text::{clean, shorten};
use crate::base::{limits, spawn, sync};
use crate::engine::deck::Deck;
use crate::model::settings::{Settings, by_flag};
use crate::serve::{Announce, Server};

/// The flag of what is logged.
const LOG_LEVEL: &str = "log-level";

/// What the command finds in its environment.
const VARIABLES: [&str; 3] = ["MOCKD_URL", "MOCKD_WS_URL", "MOCKD_ADMIN_URL"];

/// A server that is open.
#[derive(Debug)]
pub struct OneShot {
    /// The server.
    pub server: Server,
    announce: Announce,
    sender: Sender<Event>,
    events: Receiver<Event>,
    /// The command, while it runs.
    command: Option<u32>,
}

/// What the one who waits hears.
#[derive(Debug)]
enum Event {
    /// A signal that ends the run.
    Stop(Stop),
    /// The command has ended.
    Ended(std::io::Result<ExitStatus>),
}

/// Why the waiting is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The command has ended with this exit code.
    Command(u8),
    /// A signal came.
    Stopped(Stop),
    /// What was waited for has happened.
    Done,
}

/// What these settings become for a server of one command: it stands on loopback, steered from a free port, and has nothing that
/// config files give a lasting server. A free mock port is taken where a command is there to be told of it.
pub fn adapt(context: &Context<'_>, settings: Settings) -> Settings {
    let typed = context.typed;
    let has_command = !typed.trailing.is_empty();
    // What a server says of its beginning and end is no news here; what goes wrong is.
    let asked = || by_flag(LOG_LEVEL).is_some_and(|setting| context.surroundings.variable(setting.env).is_some());
    let is_default = settings.log_level == Settings::default().log_level && !typed.has(LOG_LEVEL) && !asked();
    Settings {
        port: if has_command && !typed.has("port") { 0 } else { settings.port },
        admin_port: 0,
        admin_host: Settings::default().admin_host,
        upstream: None,
        upstreams: Vec::new(),
        mocks: Vec::new(),
        record: None,
        demo: false,
        log_level: if is_default { "warn".to_owned() } else { settings.log_level.clone() },
        ..settings
    }
}

impl OneShot {
    /// Opens the server, which plays `deck`. From now on signals are heard by [`OneShot::wait`] alone; a second one ends the process at once.
    ///
    /// # Errors
    /// Those of [`Server::open`].
    pub fn open(context: &Context<'_>, settings: Settings, deck: Deck) -> Result<Self> {
        begin(&settings, false)?;
        let announce = Announce { ready_file: context.typed.text("ready-file").map(|name| context.path(name)), ..Announce::default() };
        announce.forget_killed();
        let server = Server::open_with(settings, deck)?;
        announce.say(&server)?;
        let (sender, events) = channel();
        let stops = sender.clone();
        sync::spawn("signals", move || {
            let first = platform::next_stop();
            // Nobody waits any more where the run is over.
            if stops.send(Event::Stop(first)).is_ok() {
                std::process::exit(signal_code(platform::next_stop().number).into());
            }
        })?;
        Ok(Self { server, announce, sender, events, command: None })
    }

    /// Starts the command, with the server's addresses in its environment.
    ///
    /// # Errors
    /// [`Error::NotStarted`].
    pub fn start(&mut self, command: &[OsString]) -> Result<()> {
        let Some((program, args)) = command.split_first() else { return Ok(()) };
        let (mock, admin) = (self.server.mock, self.server.admin);
        let values = [format!("http://{mock}"), format!("ws://{mock}"), format!("http://{admin}")];
        let variables: Vec<(&str, String)> = VARIABLES.into_iter().zip(values).collect();
        let child = spawn::spawn_unheld(program, args, &variables).map_err(|error| not_started(program, &error))?;
        self.command = Some(child.id());
        let ended = self.sender.clone();
        sync::spawn("command", move || {
            let status = child.wait();
            if ended.send(Event::Ended(status)).is_err() {
                log::debug!("the command ended after the run");
            }
        })?;
        Ok(())
    }

    /// Waits for the end of the command, for a signal, or until `done` holds, which is looked at again and again.
    pub fn wait(&mut self, done: Option<&dyn Fn() -> bool>) -> Ending {
        loop {
            let event = match done {
                None => self.events.recv().map_err(|_| RecvTimeoutError::Disconnected),
                Some(_) => self.events.recv_timeout(Duration::from_millis(limits::LOOK_AGAIN_MS)),
            };
            match event {
                Ok(Event::Stop(stop)) => return Ending::Stopped(stop),
                Ok(Event::Ended(status)) => return Ending::Command(self.ended(status)),
                Err(_) if done.is_some_and(|done| done()) => return Ending::Done,
                Err(_) => {}
            }
        }
    }

    /// Hands a signal on to the command, unless it has it from the terminal already, and gives it some time to end; its exit code, or
    /// that of the signal.
    pub fn pass_on(&mut self, stop: Stop) -> u8 {
        let Some(pid) = self.command else { return signal_code(stop.number) };
        // One that has ended meanwhile has no pid any more; another process may have it.
        if let Ok(Event::Ended(status)) = self.events.try_recv() {
            return self.ended(status);
        }
        if !stop.from_terminal {
            platform::send_signal(pid, stop.number);
        }
        let deadline = Instant::now() + Duration::from_millis(limits::SHUTDOWN_MS);
        loop {
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::Ended(status)) => return self.ended(status),
                Ok(Event::Stop(_)) => {}
                Err(_) => {
                    tell(&format!("the command (pid {pid}) goes on after the signal, without mockd"));
                    return signal_code(stop.number);
                }
            }
        }
    }

    /// Waits for a moment until the clients that ended with the command have been served: their last words, and even their first, may
    /// be on their way.
    pub fn await_clients(&self) {
        self.server.app.await_clients();
    }

    /// Ends the server.
    pub fn end(&self) {
        self.server.end();
        self.announce.withdraw(&self.server);
    }

    fn ended(&mut self, status: std::io::Result<ExitStatus>) -> u8 {
        self.command = None;
        match status {
            Ok(status) => exit_code(status),
            Err(error) => {
                tell(&format!("how the command ended is not known: {error}"));
                1
            }
        }
    }
}

/// The exit code of a command as shells have it: its own, or 128 and the number of the signal that ended it.
fn exit_code(status: ExitStatus) -> u8 {
    let own = status.code().and_then(|code| u8::try_from(code).ok());
    own.unwrap_or_else(|| status.signal().map_or(1, signal_code))
}

fn signal_code(number: i32) -> u8 {
    u8::try_from(number).map_or(255, |number| number.saturating_add(128))
}

fn not_started(program: &OsString, error: &std::io::Error) -> Error {
    let exit_code = if error.kind() == ErrorKind::NotFound { 127 } else { 126 };
    let program = program.to_string_lossy();
    Error::NotStarted { exit_code, message: format!("the command {:?} cannot be run: {error}", clean(&shorten(&program, 200))) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_those_of_shells() {
        for (raw, code) in [(0, 0), (0x0100, 1), (0x2a00, 42), (0xff00, 255), (15, 143), (9, 137), (2, 130)] {
            assert_eq!(exit_code(ExitStatus::from_raw(raw)), code, "{raw:#x}");
        }
        assert_eq!(signal_code(15), 143);
    }
}
