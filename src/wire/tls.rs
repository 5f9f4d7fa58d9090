//! TLS to upstreams, full duplex for two threads. (skeleton)
//!
//! One rustls connection serves a reading and a writing thread. Ciphertext is read from the socket outside any lock; the connection's
//! lock is held only to turn ciphertext into plaintext and back, in memory; a second lock keeps the order of writes
//! to the socket. A thread that waits for the socket never holds the connection's lock.

use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use crate::base::error::Result;

/// How upstreams are verified; made once, shared.
#[derive(Debug, Clone)]
pub struct TlsSettings {}

impl TlsSettings {
    /// The webpki roots, `SSL_CERT_FILE` and /etc/ssl/certs/ca-certificates.crt where present, and `ca`, a PEM file.
    /// `insecure` skips verification. Roots are loaded when first needed, `ca` is read now.
    ///
    /// # Errors
    /// `Error::File` where `ca` can't be read or holds no certificate; `Error::Failed` in a build without the feature `tls`, when TLS is used.
    pub fn new(_ca: Option<&Path>, _insecure: bool) -> Result<Self> {
        todo!()
    }
    /// Makes a TLS connection of a TCP one, with `host` for SNI and verification (ALPN http/1.1), within `limit`.
    ///
    /// # Errors
    /// `Error::BadGateway` for what is not to be trusted, `Error::GatewayTimeout`.
    pub fn connect(&self, _host: &str, _tcp: TcpStream, _limit: Duration) -> Result<TlsStream> {
        todo!()
    }
}

/// A TLS connection for two threads.
#[derive(Debug)]
pub struct TlsStream {}
