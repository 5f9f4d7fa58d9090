//! (skeleton) An SSE mock's side of one connection: events on their time, keep-alives, the end.

use std::sync::Arc;

use super::performance::{Act, Heard, Moment, Performance};
use crate::model::mock_http::SseMock;

/// One client of an SSE mock.
#[derive(Debug)]
pub struct EventShow {
    mock: Arc<SseMock>,
}

impl EventShow {
    /// A stream that has not begun; it begins after the event of index `after`, if given.
    pub fn new(mock: Arc<SseMock>, after: Option<usize>) -> Self {
        let _ = after;
        Self { mock }
    }
}

impl Performance for EventShow {
    fn start(&mut self, _now_us: u64) {
        let _ = &self.mock;
        todo!()
    }

    fn next(&mut self, _at: Moment) -> Act {
        todo!()
    }

    fn hear(&mut self, _heard: Heard<'_>, _at: Moment) {}
}
