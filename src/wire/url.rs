//! URLs of upstreams, and queries. (skeleton)

use crate::base::error::Result;

/// Where an upstream is: `http`, `https`, `ws` or `wss` (the latter two mean the former two).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamUrl {
    /// `https` or `wss`.
    pub tls: bool,
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// 80 or 443 where the URL gives none.
    pub port: u16,
    /// The path without a trailing slash; empty for none. A prefix of the forwarded path.
    pub path_prefix: String,
}

impl UpstreamUrl {
    /// Parses a URL.
    ///
    /// # Errors
    /// `Error::Invalid` at `place`: no or another scheme, no host, user and password, a query, a fragment, a bad port. Secrets in it are not quoted.
    pub fn parse(_place: &str, _text: &str) -> Result<Self> {
        todo!()
    }
    /// `host:port` as `Host` wants it: the port left out where it is the scheme's own, IPv6 in brackets.
    pub fn authority(&self) -> String {
        todo!()
    }
    /// The URL of a request target at this upstream, with the scheme as a client of `websocket` or HTTP would write it.
    pub fn join(&self, _target: &str, _websocket: bool) -> String {
        todo!()
    }
}

/// The parameters of a query as sent, percent-decoded (`+` is a space), in order; not UTF-8 is read lossily.
pub fn parameters(_query: &str) -> impl Iterator<Item = (String, String)> {
    std::iter::empty()
}

/// The target without every parameter whose decoded name is `name`; all other bytes stay as they are. The `?` goes with the last parameter.
pub fn without_parameter(_target: &str, _name: &str) -> String {
    todo!()
}

/// Percent-decodes (no `+`), lossily where it is not UTF-8.
pub fn percent_decode(_text: &str) -> String {
    todo!()
}

/// Percent-encodes everything but unreserved characters (RFC 3986 §2.3).
pub fn percent_encode(_text: &str) -> String {
    todo!()
}
