//! Floor 6: the doors: the mock port's accept loop and dispatch, the admin port's table of routes and its handlers.
//!
//! It relies on the engine for everything that lasts and on `wire` for bytes. It keeps no state of its own beyond the
//! requests that are under way, and it decides nothing about recordings or replays.

pub mod admin;
pub mod door;
pub mod gate;
pub mod mock;
pub mod server;

use std::io::Write;
use std::path::PathBuf;

pub use self::server::Server;
use crate::base::error::{Error, Result};
use crate::base::{files, platform, sync};
use crate::model::settings::Settings;

/// How a server says that it is ready.
#[derive(Debug, Clone, Default)]
pub struct Announce {
    /// Written atomically when both ports answer.
    pub ready_file: Option<PathBuf>,
    /// One line of JSON on stdout.
    pub json: bool,
}

/// Runs the server until SIGINT or SIGTERM; a second one ends it at once. Signals must be held already
/// ([`platform::hold_signals`]).
///
/// # Errors
/// Those of [`Server::open`]; a place that takes no announcement.
pub fn run(settings: Settings, announce: &Announce) -> Result<()> {
    let server = Server::open(settings)?;
    announce.say(&server)?;
    wait_for_end();
    // A second signal ends the process at once.
    sync::spawn("second signal", || {
        wait_for_end();
        std::process::exit(1);
    })?;
    server.end();
    if let Some(path) = &announce.ready_file {
        files::remove(path);
    }
    Ok(())
}

impl Announce {
    fn say(&self, server: &Server) -> Result<()> {
        let (mock, admin) = (server.mock, server.admin);
        let line = format!("{{\"mock\":\"http://{mock}\",\"admin\":\"http://{admin}\",\"pid\":{}}}\n", std::process::id());
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

fn wait_for_end() {
    while platform::next_signal() != platform::Signal::Stop {
        log::info!("SIGHUP: there is nothing to read again");
    }
}
