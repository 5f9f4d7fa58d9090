//! Redaction: what is replaced before anything is written. (skeleton)

use crate::base::error::Result;
use crate::model::pairs::Pairs;
use crate::model::recording::{Frame, Redaction};

/// The rules, compiled.
#[derive(Debug)]
pub struct Redactor {}

impl Redactor {
    /// Compiles rules. Header names compare without case; query names with; a body key that begins with `$` is a JSONPath (RFC 9535),
    /// any other is a key at any depth (compared after unescaping); patterns are regular expressions of regex-lite.
    ///
    /// # Errors
    /// `Error::Invalid` that names `recording.filterBodyKeys[2]` and the like, the value, and what is wrong with it.
    pub fn new(_rules: &Redaction) -> Result<Self> { todo!() }
    /// The rules as a recording keeps them.
    pub fn rules(&self) -> &Redaction { todo!() }
    /// Redacts header values in place: named ones wholly, all others by the patterns. Of a redacted `Cookie` etc. the whole value goes.
    pub fn headers(&self, _headers: &mut Pairs) { todo!() }
    /// Redacts parameters in place: named ones wholly, all others by the patterns.
    pub fn query(&self, _query: &mut Pairs) { todo!() }
    /// A URL or request target with the values of named parameters replaced, and patterns applied; also fit for logs.
    pub fn url(&self, _url: &str) -> String { todo!() }
    /// A text that may be JSON (text frame, SSE data, request body): body keys where it parses as JSON, then patterns. `None` where nothing changed.
    /// Every byte outside a redacted value stays as it was. Duplicate keys are all redacted.
    pub fn text(&self, _text: &str) -> Option<String> { todo!() }
    /// A text that is no JSON (path, close reason, subprotocol, comment, id, event type): patterns alone. `None` where nothing changed.
    pub fn plain(&self, _text: &str) -> Option<String> { todo!() }
    /// Redacts a frame in place: text payloads by [`Redactor::text`], close reasons, ping/pong texts, event types, ids, comments
    /// by [`Redactor::plain`]; an event that changed loses its `raw`; an event with `raw` in which a secret survives outside the parsed fields loses it too.
    pub fn frame(&self, _frame: &mut Frame) { todo!() }
}
