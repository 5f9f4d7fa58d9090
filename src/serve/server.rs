//! A server as a value: both ports open, until it is ended. It waits for no signal and says nothing; who opens it does.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::door::{self, Port};
use super::gate::Gate;
use super::mock::MockPort;
use crate::base::error::{Error, Result};
use crate::base::{limits, platform, sync};
use crate::engine::app::App;
use crate::engine::deck::Deck;
use crate::engine::demo;
use crate::engine::mocks::Mocks;
use crate::model::settings::Settings;
use crate::store::{Recovery, Store};

/// A server that listens on both ports. Dropping it ends nothing: [`Server::end`] does.
pub struct Server {
    /// Where clients on this machine reach the mock port.
    pub mock: SocketAddr,
    /// Where clients on this machine reach the admin port.
    pub admin: SocketAddr,
    /// What it does.
    pub app: Arc<App>,
    gate: Arc<Gate>,
}

impl Server {
    /// Opens both ports. What a crash left in the data directory is turned into recordings beside that, and before anybody is told of it;
    /// clients are served meanwhile, and this returns when it is done, or after [`limits::RECOVERY_PATIENCE_MS`].
    ///
    /// # Errors
    /// A setting that is wrong, a mock whose recording is not there, a port that is taken, an admin port open to others without a token.
    pub fn open(settings: Settings) -> Result<Self> {
        Self::open_with(settings, Deck::default())
    }

    /// The same, with recordings to play.
    ///
    /// # Errors
    /// As [`Server::open`].
    pub fn open_with(mut settings: Settings, deck: Deck) -> Result<Self> {
        let data_dir = settings.data_dir.clone().ok_or_else(no_data_dir)?;
        check_admin_host(&settings)?;
        let open_files = platform::raise_open_files();
        let max_connections = settings.max_connections.min(platform::connection_cap(open_files));
        let store = Arc::new(Store::new(data_dir, settings.max_bytes, settings.warn_percent));
        // Lists, and mocks that replay a recording, wait for it from now on. It reads a large store, and a large journal: where it need not
        // run yet, both ports are open first.
        let mut recovery = Some(Recovery::begin(Arc::clone(&store)));
        if !settings.mocks.is_empty() {
            recover_beside(recovery.take())?;
        }
        let mocks = Mocks::new(Arc::clone(&store), settings.max_message_bytes);
        mocks.load(std::mem::take(&mut settings.mocks))?;
        let mock_port = Port::bind(&settings.host, settings.port, "--port")?;
        let admin_port = Port::bind(&settings.admin_host, settings.admin_port, "--admin-port")?;
        let (mock, admin) = (reachable(mock_port.address), reachable(admin_port.address));
        let demo = if settings.demo { Some(demo::start()?) } else { None };
        let app = Arc::new(App::new(settings, store, mocks, deck, mock, demo, max_connections)?);
        let gate = Arc::new(Gate::open(Arc::clone(&app), platform::admin_connection_cap(open_files))?);
        door::open("admin port", admin_port, &gate, &Arc::default())?;
        door::open("mock port", mock_port, &Arc::new(MockPort::new(Arc::clone(&app))), &app.open_connections)?;
        log::info!("mock port http://{mock}, admin port http://{admin}, at most {max_connections} connections");
        if let Some(demo) = demo {
            log::info!("the demo upstream at {demo} has /ws/chat, /events and POST /v1/chat/completions");
        }
        // Who starts a server after a crash, and hears that it is ready, looks for the recording's file.
        let is_awaited = app.store.glimpses_leftovers();
        recover_beside(recovery)?;
        if is_awaited && !app.store.await_recovery(Duration::from_millis(limits::RECOVERY_PATIENCE_MS)) {
            log::warn!("recordings that a crash left behind are still being recovered; lists wait for them");
        }
        Ok(Self { mock, admin, app, gate })
    }

    /// Finishes all recordings, ends all streams, and gives their last bytes a moment to leave before the process takes their
    /// sockets with it.
    pub fn end(&self) {
        log::info!("ending: recordings are finished, streams are closed");
        self.app.end();
        self.gate.close();
        self.app.await_end(Duration::from_millis(limits::CLOSE_GRACE_MS));
    }
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("mock", &self.mock).field("admin", &self.admin).finish_non_exhaustive()
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

/// Runs a recovery, where it has not been run, on a thread of its own.
fn recover_beside(recovery: Option<Recovery>) -> Result<()> {
    let Some(recovery) = recovery else { return Ok(()) };
    sync::spawn("recovery", move || match recovery.run() {
        Ok(ids) => ids.iter().for_each(|id| log::warn!("recovered the recording {id} that a crash had left behind")),
        Err(error) => log::warn!("recordings that a crash left behind could not be recovered: {error}"),
    })?;
    Ok(())
}

/// Where clients on this machine reach a port that listens everywhere.
fn reachable(address: SocketAddr) -> SocketAddr {
    match address {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => SocketAddr::from(([127, 0, 0, 1], v4.port())),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, v6.port())),
        other => other,
    }
}
