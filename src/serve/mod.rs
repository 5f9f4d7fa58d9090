//! Floor 6: the doors: the mock port's accept loop and dispatch, the admin port's table of routes and its handlers.
//!
//! It relies on the engine for everything that lasts and on `wire` for bytes. It keeps no state of its own beyond the
//! requests that are under way, and it decides nothing about recordings or replays.

pub mod admin;
pub mod door;
pub mod gate;
pub mod mock;

use std::io::Write;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use self::door::Port;
use self::gate::Gate;
use self::mock::MockPort;
use crate::base::error::{Error, Result};
use crate::base::{files, limits, platform, sync};
use crate::engine::app::App;
use crate::engine::demo;
use crate::engine::mocks::Mocks;
use crate::model::settings::Settings;
use crate::store::Store;

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
/// A setting that is wrong, a port that is taken, an admin port open to others without a token.
pub fn run(settings: Settings, announce: &Announce) -> Result<()> {
    let data_dir = settings.data_dir.clone().ok_or_else(no_data_dir)?;
    check_admin_host(&settings)?;
    let open_files = platform::raise_open_files();
    let max_connections = settings.max_connections.min(platform::connection_cap(open_files));
    let store = Arc::new(Store::new(data_dir, settings.max_bytes, settings.warn_percent));
    recover(&store);
    let mocks = Mocks::new(Arc::clone(&store));
    let mock_port = Port::bind(&settings.host, settings.port, "--port")?;
    let admin_port = Port::bind(&settings.admin_host, settings.admin_port, "--admin-port")?;
    let (mock_address, admin_address) = (reachable(mock_port.address), reachable(admin_port.address));
    let demo = if settings.demo { Some(demo::start()?) } else { None };
    let app = Arc::new(App::new(settings, store, mocks, mock_address, demo, max_connections)?);
    let gate = Arc::new(Gate::open(Arc::clone(&app))?);
    door::open("admin port", admin_port, &gate, &Arc::default())?;
    door::open("mock port", mock_port, &Arc::new(MockPort::new(Arc::clone(&app))), &app.open_connections)?;
    log::info!("mock port http://{mock_address}, admin port http://{admin_address}, at most {max_connections} connections");
    if let Some(demo) = demo {
        log::info!("the demo upstream at {demo} has /ws/chat, /events and POST /v1/chat/completions");
    }
    announce.say(mock_address, admin_address)?;
    wait_for_end();
    // A second signal ends the process at once.
    sync::spawn("second signal", || {
        wait_for_end();
        std::process::exit(1);
    })?;
    log::info!("ending: recordings are finished, streams are closed");
    app.end();
    gate.close();
    if let Some(path) = &announce.ready_file {
        files::remove(path);
    }
    // Close frames get a moment to leave before the process takes their sockets with it.
    app.await_end(Duration::from_millis(limits::CLOSE_GRACE_MS));
    Ok(())
}

impl Announce {
    fn say(&self, mock: SocketAddr, admin: SocketAddr) -> Result<()> {
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

fn no_data_dir() -> Error {
    Error::Usage("there is no home directory to keep recordings in: choose a place with --data-dir or MOCKD_DATA_DIR".to_owned())
}

/// An admin port that others can reach needs a token.
fn check_admin_host(settings: &Settings) -> Result<()> {
    let host = settings.admin_host.trim_start_matches('[').trim_end_matches(']');
    let is_loopback = host.eq_ignore_ascii_case("localhost") || host.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !is_loopback && settings.admin_token.as_deref().unwrap_or_default().is_empty() {
        return Err(Error::Usage(format!(
            "--admin-host {host} opens the admin port to others: set a token with --admin-token or MOCKD_ADMIN_TOKEN"
        )));
    }
    Ok(())
}

fn recover(store: &Store) {
    match store.recover() {
        Ok(ids) => ids.iter().for_each(|id| log::warn!("recovered the recording {id} that a crash had left behind")),
        Err(error) => log::warn!("recordings that a crash left behind could not be recovered: {error}"),
    }
}

/// Where clients on this machine reach a port that listens everywhere.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], v4.port())),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, v6.port())),
        other => other,
    }
}

fn wait_for_end() {
    while platform::next_signal() != platform::Signal::Stop {
        log::info!("SIGHUP: there is nothing to read again");
    }
}
