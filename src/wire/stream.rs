//! One connection, plain or TLS, that two threads may use at once: one reads, one writes, both through `&self`. (skeleton)

use std::net::TcpStream;
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::tls::TlsStream;

/// A connection.
#[derive(Debug)]
pub enum Stream {
    /// TCP.
    Tcp(TcpStream),
    /// TLS over TCP.
    Tls(Box<TlsStream>),
    /// A Unix socket: the admin port's inner server.
    Unix(UnixStream),
}

impl Stream {
    /// Reads what is there, waiting for the first byte: `Ok(0)` at the end (for TLS: with or without close_notify).
    /// A read timeout gives `WouldBlock`.
    pub fn read(&self, _buffer: &mut [u8]) -> std::io::Result<usize> {
        todo!()
    }
    /// Whether bytes can be read without asking the socket (TLS: decrypted ones).
    pub fn has_buffered(&self) -> bool {
        todo!()
    }
    /// Writes without waiting: how many of `bytes` were taken; 0 where none are taken now. For TLS: all of them or none
    /// (records that the socket did not take are kept and go out before any later byte).
    pub fn write_now(&self, _bytes: &[u8]) -> std::io::Result<usize> {
        todo!()
    }
    /// Writes all of `bytes`, waiting as long as it takes; `TimedOut` where the peer takes no byte for `stall`.
    pub fn write_all(&self, _bytes: &[u8], _stall: Option<Duration>) -> std::io::Result<()> {
        todo!()
    }
    /// Limits how long a read may wait; `None`: for ever.
    pub fn set_read_timeout(&self, _limit: Option<Duration>) -> std::io::Result<()> {
        todo!()
    }
    /// Says that nothing more will be written (TLS: close_notify first); reading goes on.
    pub fn shutdown_write(&self) {
        todo!()
    }
    /// Ends both directions at once; wakes threads that wait in `read` or `write_all`.
    pub fn shutdown(&self) {
        todo!()
    }
    /// Makes the coming close a reset (SO_LINGER 0), as of a peer that vanished, then ends both directions.
    pub fn abort(&self) {
        todo!()
    }
    /// The socket, to wait for.
    pub fn fd(&self) -> BorrowedFd<'_> {
        todo!()
    }
}
