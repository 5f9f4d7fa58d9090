//! HTTP/1.1 heads (RFC 9112 §2 to §5), names, case, order and bytes of every field kept. (skeleton)

use super::body::Framing;

/// Why a message is refused, with the status that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// 400, 413, 417, 431, 501 or 505.
    pub status: u16,
    /// What is wrong.
    pub message: String,
}

/// Header fields in the order and case in which they came. Values are bytes: RFC 9110 §5.5 allows more than ASCII.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers(pub Vec<(String, Vec<u8>)>);

impl Headers {
    /// The first value of a field, as text if it is UTF-8. Names are compared without case.
    pub fn get(&self, _name: &str) -> Option<&str> { todo!() }
    /// Every value of a field.
    pub fn all<'a>(&'a self, _name: &'a str) -> impl Iterator<Item = &'a [u8]> { self.0.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(_name)).map(|(_, v)| v.as_slice()) }
    /// Whether the comma-separated list of a field (all its lines together) has a member, compared without case.
    pub fn has_token(&self, _name: &str, _token: &str) -> bool { todo!() }
    /// Adds a field at the end.
    pub fn push(&mut self, _name: &str, _value: impl Into<Vec<u8>>) { todo!() }
    /// Puts a field in the place of the first of its name (further ones go), or at the end.
    pub fn set(&mut self, _name: &str, _value: impl Into<Vec<u8>>) { todo!() }
    /// Removes every field of this name.
    pub fn remove(&mut self, _name: &str) { todo!() }
    /// Removes the hop-by-hop fields: those of RFC 9110 §7.6.1 and those that `Connection` names.
    pub fn remove_hop_by_hop(&mut self) { todo!() }
}

/// A request's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// As sent.
    pub method: String,
    /// The request target as sent; an absolute form has been cut to path and query.
    pub target: String,
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub minor_version: u8,
    /// The fields.
    pub headers: Headers,
}

impl RequestHead {
    /// Parses a head from the front of `bytes`: `None` while it is not all there, else the head and its length.
    /// Refuses what smugglers use: bare LF or CR, obs-fold, space before the colon, no `Host` or two in HTTP/1.1.
    pub fn parse(_bytes: &[u8]) -> Result<Option<(Self, usize)>, Malformed> { todo!() }
    /// How long the body is (RFC 9112 §6.3). Both lengths, two lengths that differ, or a coding other than `chunked` at the end: refused.
    pub fn framing(&self) -> Result<Framing, Malformed> { todo!() }
    /// Whether the connection stays open after this exchange (RFC 9112 §9.3).
    pub fn keep_alive(&self) -> bool { todo!() }
    /// The path as sent, without the query.
    pub fn path(&self) -> &str { todo!() }
    /// The query as sent, without the `?`.
    pub fn query(&self) -> Option<&str> { todo!() }
    /// Whether this asks for a WebSocket: GET, `Connection: upgrade`, `Upgrade: websocket`.
    pub fn is_websocket_upgrade(&self) -> bool { todo!() }
    /// The head's bytes, the empty line included.
    pub fn write(&self, _out: &mut Vec<u8>) { todo!() }
}

/// A response's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub minor_version: u8,
    /// The status code.
    pub status: u16,
    /// The reason phrase as sent.
    pub reason: String,
    /// The fields.
    pub headers: Headers,
}

impl ResponseHead {
    /// A head of ours, HTTP/1.1, with the standard reason phrase of `status` and no field.
    pub fn new(_status: u16) -> Self { todo!() }
    /// Parses a head from the front of `bytes`: `None` while it is not all there, else the head and its length. 1xx included.
    pub fn parse(_bytes: &[u8]) -> Result<Option<(Self, usize)>, Malformed> { todo!() }
    /// How long the body of an answer to `request_method` is (RFC 9112 §6.3).
    pub fn framing(&self, _request_method: &str) -> Result<Framing, Malformed> { todo!() }
    /// Whether `Content-Type` is `text/event-stream`, parameters aside.
    pub fn is_event_stream(&self) -> bool { todo!() }
    /// The head's bytes, the empty line included.
    pub fn write(&self, _out: &mut Vec<u8>) { todo!() }
}
