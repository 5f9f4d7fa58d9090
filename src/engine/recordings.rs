//! Recording sessions: opened and stopped by the admin API, matched by every connection that is established. (skeleton)

use std::time::Duration;

use crate::base::error::Result;
use crate::model::api::{SessionView, StartRequest, Started, Stopped};

/// All open recording sessions.
#[derive(Debug)]
pub struct Recordings {}

impl Recordings {
    /// Opens a session.
    pub fn start(&self, _request: StartRequest) -> Result<Started> { todo!() }
    /// Ends a session (id or prefix) and waits until its files are complete.
    pub fn stop(&self, _prefix: &str) -> Result<Stopped> { todo!() }
    /// The open ones.
    pub fn sessions(&self) -> Vec<SessionView> { todo!() }
    /// Waits until the journal of a recording (full id) has grown past `seen` bytes or has ended, at most `limit`; gives its size and whether it still runs.
    pub fn wait_growth(&self, _id: &str, _seen: u64, _limit: Duration) -> (u64, bool) { todo!() }
}
