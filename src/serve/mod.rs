//! Floor 6: the doors: the mock port's accept loop and dispatch, the admin port's table of routes and its handlers.
//!
//! It relies on the engine for everything that lasts and on `wire` for bytes. It keeps no state of its own beyond the
//! requests that are under way, and it decides nothing about recordings or replays.

pub mod admin;
pub mod callers;
pub mod door;
pub mod gate;
pub mod mock;
pub mod pid_file;
pub mod server;
mod signals;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use self::pid_file::PidFile;
pub use self::server::Server;
use self::signals::Signals;
use crate::base::error::{Error, Result};
use crate::base::{files, limits, platform, sync};
use crate::engine::app::App;
use crate::model::settings::Settings;

/// How a server says that it is ready.
#[derive(Debug, Clone, Default)]
pub struct Announce {
    /// Written atomically when both ports answer.
    pub ready_file: Option<PathBuf>,
    /// One line of JSON on stdout.
    pub json: bool,
    /// The log of a server in the background: a pid file is kept beside it.
    pub log: Option<PathBuf>,
}

/// Runs the server until SIGINT or SIGTERM; a second one ends it at once. At SIGHUP `reload`, on a thread of its own, gives the settings that the files, the
/// environment and the flags ask for now, and the mocks among them are served from then on. Signals must be held already
/// ([`crate::base::platform::hold_signals`]).
///
/// # Errors
/// Those of [`Server::open`]; a place that takes no announcement.
pub fn run(settings: Settings, announce: &Announce, reload: impl Fn() -> Result<Settings> + Send + 'static) -> Result<()> {
    // From the first moment on: what keeps the start waiting, a lock or a pipe, must not keep the end waiting as well.
    let signals = Signals::hear()?;
    announce.forget_killed();
    let server = Server::open(settings)?;
    // It goes away last: who waits for the end waits for that.
    let _pid_file = announce.log.as_deref().map(|log| PidFile::publish(&server, log)).transpose()?;
    if !signals.is_stopping() {
        announce.say(&server)?;
    }
    // A file that hangs (a pipe, a share that is gone) must not hold up the end.
    let (app, reloads) = (Arc::clone(&server.app), Arc::clone(&signals));
    sync::spawn("reload", move || {
        while reloads.await_reload() {
            match reload().and_then(|settings| take_over(&app, settings)) {
                Ok(()) => log::info!("SIGHUP: the config has been read again; mocks that are served: {}", app.mocks.served()),
                Err(error) => log::error!("SIGHUP: the mocks stay as they were: {error}"),
            }
        }
    })?;
    signals.await_stop();
    // Nobody is to come any more; and a second signal leaves no file that says otherwise.
    announce.withdraw(&server);
    server.end();
    // Nothing is left but a pid file. A disk that hangs keeps it, and must not keep the process.
    sync::spawn("last resort", || {
        std::thread::sleep(Duration::from_millis(limits::CLOSE_GRACE_MS));
        log::warn!("the disk hangs: the pid file may stay");
        std::process::exit(0);
    })?;
    Ok(())
}

/// Serves the mocks of settings that were read again. All other settings are those of the start; what has changed is told.
fn take_over(app: &App, mut settings: Settings) -> Result<()> {
    app.mocks.load(std::mem::take(&mut settings.mocks))?;
    let changed = settings.changes(&app.settings);
    if !changed.is_empty() {
        log::warn!("SIGHUP: only mocks are read again; restart mockd for {} to count", changed.join(", "));
    }
    Ok(())
}

impl Announce {
    /// Says it.
    ///
    /// # Errors
    /// The file or stdout takes nothing.
    pub fn say(&self, server: &Server) -> Result<()> {
        let line = line_of(server);
        if let Some(path) = &self.ready_file {
            files::write_atomically(path, line.as_bytes())
                .map_err(|error| Error::Failed(format!("cannot write {}: {error}; give another file to --ready-file", path.display())))?;
        }
        if self.json {
            let mut out = std::io::stdout().lock();
            out.write_all(line.as_bytes())
                .and_then(|()| out.flush())
                .map_err(|error| Error::Failed(format!("cannot write to stdout: {error}")))?;
        }
        Ok(())
    }
}

impl Announce {
    /// Takes the file away where it is of a server that was killed: who waits for it must not find where that one was.
    pub fn forget_killed(&self) {
        // This process has not written it yet: its number there is that of a killed one, as in a container that was started again.
        let is_of_killed = |said: &Said| said.pid == std::process::id() || !platform::is_alive(said.pid);
        self.remove_if(|text| serde_json::from_slice(text).is_ok_and(|said| is_of_killed(&said)));
    }

    /// Takes the file away: the server has ended. One that another server has written over it meanwhile is that server's.
    pub fn withdraw(&self, server: &Server) {
        // By the whole line: in containers several servers have the same number.
        self.remove_if(|text| text == line_of(server).as_bytes());
    }

    /// Removes the file if its text is meant.
    fn remove_if(&self, is_meant: impl Fn(&[u8]) -> bool) {
        let Some(path) = &self.ready_file else { return };
        let is_small = std::fs::metadata(path).is_ok_and(|known| known.is_file() && known.len() <= limits::MAX_RUN_FILE_BYTES);
        // What cannot be read is not ours to remove.
        if is_small && std::fs::read(path).is_ok_and(|text| is_meant(&text)) {
            files::remove(path);
        }
    }
}

/// What is said of a server.
fn line_of(server: &Server) -> String {
    ready_line(&format!("http://{}", server.mock), &format!("http://{}", server.admin), std::process::id()) + "\n"
}

/// Of the line that says where a server is what tells whether it lives.
#[derive(serde::Deserialize)]
struct Said {
    pid: u32,
}

/// The line of JSON that says where a server is.
pub fn ready_line(mock: &str, admin: &str, pid: u32) -> String {
    format!("{{\"mock\":\"{mock}\",\"admin\":\"{admin}\",\"pid\":{pid}}}")
}
