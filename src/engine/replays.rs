//! Replay sessions: the registry. (skeleton)

use std::time::Duration;

use crate::base::error::Result;
use crate::model::recording::Protocol;
use crate::model::replay::{Advance, Advanced, CloseRequest, Injection, ReplayCreated, ReplayMessage, ReplayOptions, ReplayView, WaitFor};

/// All replay sessions: pending, running, and the last ended ones. Every id may be a prefix.
#[derive(Debug)]
pub struct Replays {}

impl Replays {
    /// Makes a pending session for a recording (id or prefix).
    pub fn create(&self, _recording: &str, _options: ReplayOptions) -> Result<ReplayCreated> { todo!() }
    /// Active sessions, or all; oldest first.
    pub fn list(&self, _all: bool) -> Vec<ReplayView> { todo!() }
    /// One session.
    pub fn view(&self, _prefix: &str) -> Result<ReplayView> { todo!() }
    /// The protocol of a session, which its injections are read by.
    pub fn protocol(&self, _prefix: &str) -> Result<Protocol> { todo!() }
    /// Waits until the session is as asked: `Ok(Ok(view))`, or `Ok(Err(view))` when the time is up.
    pub fn wait(&self, _prefix: &str, _until: WaitFor, _limit: Duration) -> Result<std::result::Result<ReplayView, ReplayView>> { todo!() }
    /// What the client sent.
    pub fn messages(&self, _prefix: &str) -> Result<Vec<ReplayMessage>> { todo!() }
    /// Sends steps; answers when they are written. May wait up to the session's timeout.
    pub fn advance(&self, _prefix: &str, _advance: &Advance) -> Result<Advanced> { todo!() }
    /// Stops the clock.
    pub fn pause(&self, _prefix: &str) -> Result<ReplayView> { todo!() }
    /// Lets it go on.
    pub fn resume(&self, _prefix: &str) -> Result<ReplayView> { todo!() }
    /// Sends something between two steps.
    pub fn inject(&self, _prefix: &str, _injection: Injection) -> Result<ReplayView> { todo!() }
    /// Drops the client now.
    pub fn close(&self, _prefix: &str, _request: CloseRequest) -> Result<ReplayView> { todo!() }
    /// Ends the session.
    pub fn stop(&self, _prefix: &str) -> Result<()> { todo!() }
}
