//! A recording as replays share it. It holds what was compiled; who compiles and keeps it is the registry.

use std::sync::Arc;

use crate::model::recording::{Head, SseRequest, StreamHead};
use crate::rules::redact::Redactor;
use crate::rules::script::Script;

/// A recording compiled for replay, shared by all its sessions.
#[derive(Debug)]
pub struct Compiled {
    /// What the recording begins with.
    pub head: Head,
    /// What its server sends.
    pub script: Arc<Script>,
    /// The redaction that was in force when it was made.
    pub redactor: Option<Arc<Redactor>>,
}

impl Compiled {
    /// The request of an event stream.
    pub fn request(&self) -> Option<&SseRequest> {
        match &self.head.stream {
            StreamHead::Sse { request, .. } => Some(request),
            StreamHead::WebSocket { .. } => None,
        }
    }
}
