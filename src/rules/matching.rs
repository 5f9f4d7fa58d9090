//! Whether a client's message is the one that was recorded. (skeleton)

use super::redact::Redactor;
use crate::base::error::Result;
use crate::model::recording::FrameType;
use crate::model::replay::Matching;

/// A comparison, compiled.
#[derive(Debug)]
pub struct Matcher {}

impl Matcher {
    /// Compiles it. `redactors`: the recording's rules and the server's own, applied to the client's message before it is compared.
    ///
    /// # Errors
    /// `Error::Invalid` at `ignore[n]` for a bad JSONPath.
    pub fn new(_matching: Matching, _ignore: &[String], _redactors: Vec<std::sync::Arc<Redactor>>) -> Result<Self> { todo!() }
    /// Whether the message of `kind` and `payload` is the expected one. `Err` has both as texts (binary as base64), each at most 4 KiB.
    pub fn check(&self, _expected: (FrameType, &[u8]), _actual: (FrameType, &[u8])) -> std::result::Result<(), Mismatch> { todo!() }
}

/// A message that was not the expected one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// What differs, in words: the type, or the first JSON path that differs.
    pub message: String,
    /// The recorded message.
    pub expected: String,
    /// The client's, redacted.
    pub actual: String,
}
