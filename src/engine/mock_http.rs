//! (skeleton) Where an HTTP client meets a mock: event streams and plain responses.

use std::sync::Arc;

use super::inlet::Inlet;
use super::mock_ws::Visit;
use super::relay_http::After;
use crate::base::error::Result;
use crate::model::mock_http::{HttpResponse, SseMock};

impl Visit<'_> {
    /// Shows the events of an SSE mock. The request's body may be read or not yet.
    ///
    /// # Errors
    /// What is wrong with the request's body; the system gives no thread.
    pub fn show_events(self, client: &mut Inlet, events: &Arc<SseMock>) -> Result<After> {
        let _ = (client, events);
        todo!()
    }

    /// Sends a plain response.
    ///
    /// # Errors
    /// As [`Visit::show_events`].
    pub fn respond(self, client: &mut Inlet, response: &HttpResponse) -> Result<After> {
        let _ = (client, response);
        todo!()
    }
}
