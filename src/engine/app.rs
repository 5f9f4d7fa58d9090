//! The App owns everything that lives as long as the server; it is built once and passed by `Arc`. (skeleton)

use std::net::SocketAddr;
use std::sync::Arc;

use super::recordings::Recordings;
use super::replays::Replays;
use crate::model::settings::Settings;
use crate::store::Store;

/// The server's state.
#[derive(Debug)]
pub struct App {
    /// The settings in force.
    pub settings: Settings,
    /// The recordings on disk.
    pub store: Arc<Store>,
    /// Recording sessions.
    pub recordings: Recordings,
    /// Replay sessions.
    pub replays: Replays,
    /// Where the mock port really listens.
    pub mock_address: SocketAddr,
}

impl App {
    /// Counters for `/metrics`: name, help, value, by Prometheus' rules (`mockd_…_total` for counters).
    pub fn metrics(&self) -> Vec<(&'static str, &'static str, &'static str, u64)> {
        todo!()
    }

    /// Whether the server is ending; calls that wait look at it at least every second.
    pub fn is_ending(&self) -> bool {
        todo!()
    }
}
