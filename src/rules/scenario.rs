//! (skeleton) A WebSocket mock's side of one connection: scenario, matchers, default answer, echo, heartbeat, idle time-out.

use std::sync::Arc;

use super::performance::{Act, Heard, Moment, Performance};
use crate::base::error::Result;
use crate::model::mock_ws::WsTalk;

/// One connection to a WebSocket mock.
#[derive(Debug)]
pub struct Conversation {
    talk: Arc<WsTalk>,
}

impl Conversation {
    /// A conversation that has not begun.
    ///
    /// # Errors
    /// A regular expression or JSONPath that does not compile; a mock that was read has none.
    pub fn new(talk: Arc<WsTalk>) -> Result<Self> {
        Ok(Self { talk })
    }
}

impl Performance for Conversation {
    fn start(&mut self, _now_us: u64) {
        let _ = &self.talk;
        todo!()
    }

    fn next(&mut self, _at: Moment) -> Act {
        todo!()
    }

    fn hear(&mut self, _heard: Heard<'_>, _at: Moment) {
        todo!()
    }
}
