//! What stands in for TLS in a build without it: settings that refuse to connect, and a connection that cannot exist.

use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use crate::base::arrivals::Arrivals;
use crate::base::error::{Error, Result};

/// How upstreams would be verified.
#[derive(Debug, Clone)]
pub struct TlsSettings {}

impl TlsSettings {
    /// Settings of any kind; nothing is read, since nothing can be verified.
    ///
    /// # Errors
    /// None in this build.
    pub fn new(_ca: Option<&Path>, _insecure: bool) -> Result<Self> {
        Ok(Self {})
    }

    /// Refuses.
    ///
    /// # Errors
    /// Always `Error::Failed`.
    pub fn connect(&self, host: &str, _tcp: TcpStream, _limit: Duration) -> Result<TlsStream> {
        Err(Error::Failed(format!("{host} cannot be reached by https or wss: this build has no TLS; build it with `--features tls`")))
    }
}

/// A TLS connection: there is none in this build.
#[derive(Debug)]
pub enum TlsStream {}

impl TlsStream {
    pub(crate) fn read(&self, _buffer: &mut [u8], _arrival: &mut Arrivals) -> std::io::Result<usize> {
        match *self {}
    }

    pub(crate) fn read_ready(&self, _buffer: &mut [u8], _arrival: &mut Arrivals) -> std::io::Result<Option<usize>> {
        match *self {}
    }

    pub(crate) fn has_buffered(&self) -> bool {
        match *self {}
    }

    pub(crate) fn write_now(&self, _bytes: &[u8]) -> std::io::Result<usize> {
        match *self {}
    }

    pub(crate) fn write_all(&self, _bytes: &[u8], _wait: crate::wire::stream::Wait<'_>) -> std::io::Result<()> {
        match *self {}
    }

    pub(crate) fn shutdown_write(&self) {
        match *self {}
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        match *self {}
    }
}
