//! One connection, plain or TLS, that two threads may use at once: one reads, one writes, both through `&self`.
//! It moves bytes and knows no protocol above them.

use std::io::{Error, ErrorKind, Result};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::tls::TlsStream;
use crate::base::arrivals::Arrivals;
use crate::base::platform;

/// How long a writer waits for a peer that takes no byte. Every byte that it takes begins the wait anew.
#[derive(Clone, Copy)]
pub enum Wait<'a> {
    /// As long as it takes.
    Endless,
    /// This long.
    Limit(Duration),
    /// A relay's, of every protocol and in both directions. As long as `source`, whose bytes these are, is there, the peer may take its
    /// time: that is back pressure. Once `source` is seen to have gone (it has ended its sending half, or its connection is broken),
    /// nobody else would end the wait: what is left still goes to a peer that takes bytes, however slowly, and one that takes none for
    /// `stall`, counted from then, is given up. (TCP shows an end only where there is room for all that stands before it, a reset at once.)
    Relay {
        /// Where the bytes come from.
        source: &'a Stream,
        /// What a peer has once the source has gone.
        stall: Duration,
    },
}

/// Whether a write failed because its [`Wait`] was over. The system's own time-out is none of these: it is that of a peer that vanished
/// from the network.
pub fn has_stalled(error: &Error) -> bool {
    error.kind() == ErrorKind::TimedOut && error.raw_os_error().is_none()
}

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
    ///
    /// # Errors
    /// What the system says; for TLS also `InvalidData`, where what came is no TLS that can be trusted.
    pub fn read(&self, buffer: &mut [u8]) -> Result<usize> {
        self.read_noted(buffer, &mut Arrivals::default())
    }

    /// The same, and `arrivals`, which [`Stream::note_arrivals`] gave, tells when the last of these bytes had come (for TLS: their ciphertext).
    ///
    /// # Errors
    /// As [`Stream::read`].
    pub fn read_noted(&self, buffer: &mut [u8], arrivals: &mut Arrivals) -> Result<usize> {
        match self {
            Self::Tcp(socket) => arrivals.read(socket, buffer),
            Self::Tls(tls) => tls.read(buffer, arrivals),
            Self::Unix(socket) => arrivals.read(socket, buffer),
        }
    }

    /// The same for who has waited for the socket: one look at it, so that no second wait hides in the first. `None` where what came is no
    /// byte of the stream (TLS: a part of a record, or words of its own, as a server's tickets are): the socket is to be waited for again.
    ///
    /// # Errors
    /// As [`Stream::read`].
    pub fn read_ready(&self, buffer: &mut [u8], arrivals: &mut Arrivals) -> Result<Option<usize>> {
        match self {
            Self::Tcp(socket) => arrivals.read(socket, buffer).map(Some),
            Self::Tls(tls) => tls.read_ready(buffer, arrivals),
            Self::Unix(socket) => arrivals.read(socket, buffer).map(Some),
        }
    }

    /// Asks the system to note when what comes from now on arrives.
    pub fn note_arrivals(&self) -> Arrivals {
        match self {
            Self::Tcp(socket) => Arrivals::at(socket),
            Self::Tls(tls) => Arrivals::at(tls.socket()),
            Self::Unix(_) => Arrivals::default(),
        }
    }

    /// Whether a read is answered without asking the socket, which may have nothing more to say (TLS: by decrypted bytes, or by the end of
    /// the stream, which may come along with its last bytes).
    pub fn has_buffered(&self) -> bool {
        match self {
            Self::Tcp(_) | Self::Unix(_) => false,
            Self::Tls(tls) => tls.has_buffered(),
        }
    }

    /// Writes without waiting: how many of `bytes` were taken; 0 where none are taken now. For TLS: all of them or none
    /// (records that the socket did not take are kept and go out before any later byte). So a writer that has nothing
    /// to send next calls [`Stream::write_all`] with the rest, even where the rest is empty: that sends what was kept.
    ///
    /// # Errors
    /// The peer is gone.
    pub fn write_now(&self, bytes: &[u8]) -> Result<usize> {
        match self {
            Self::Tcp(socket) => platform::send_now(socket, bytes),
            Self::Tls(tls) => tls.write_now(bytes),
            Self::Unix(socket) => platform::send_now(socket, bytes),
        }
    }

    /// Writes all of `bytes`, and what [`Stream::write_now`] kept; `TimedOut` where the peer takes no byte and `wait` is over.
    ///
    /// # Errors
    /// The peer is gone, or has stalled.
    #[inline]
    pub fn write_all(&self, bytes: &[u8], wait: Wait<'_>) -> Result<()> {
        // Where [`Stream::write_now`] took all this is the whole call.
        if bytes.is_empty() && !matches!(self, Self::Tls(_)) { Ok(()) } else { self.write_waiting(bytes, wait) }
    }

    fn write_waiting(&self, bytes: &[u8], wait: Wait<'_>) -> Result<()> {
        match self {
            Self::Tcp(socket) => send_all(bytes, wait, socket.as_fd(), |rest| platform::send_now(socket, rest)),
            Self::Tls(tls) => tls.write_all(bytes, wait),
            Self::Unix(socket) => send_all(bytes, wait, socket.as_fd(), |rest| platform::send_now(socket, rest)),
        }
    }

    /// Limits how long a read may wait; `None`: for ever.
    ///
    /// # Errors
    /// What the system says; a limit of zero is `InvalidInput`.
    pub fn set_read_timeout(&self, limit: Option<Duration>) -> Result<()> {
        match self {
            Self::Tcp(socket) => socket.set_read_timeout(limit),
            Self::Tls(tls) => tls.socket().set_read_timeout(limit),
            Self::Unix(socket) => socket.set_read_timeout(limit),
        }
    }

    /// Says that nothing more will be written (TLS: close_notify first); reading goes on.
    pub fn shutdown_write(&self) {
        match self {
            Self::Tls(tls) => tls.shutdown_write(),
            _ => self.shut(Shutdown::Write),
        }
    }

    /// Says that nothing more will be read; wakes a thread that waits in `read`.
    pub fn shutdown_read(&self) {
        self.shut(Shutdown::Read);
    }

    /// Ends both directions at once; wakes threads that wait in `read` or `write_all`.
    pub fn shutdown(&self) {
        self.shut(Shutdown::Both);
    }

    /// Makes the close of the connection, with its last reference, a reset: what was not sent is dropped, and the peer knows that it did
    /// not get all.
    ///
    /// # Errors
    /// What the system says. A Unix socket knows no reset.
    pub fn reset_at_close(&self) -> Result<()> {
        match self {
            Self::Tcp(socket) => platform::reset_at_close(socket),
            Self::Tls(tls) => platform::reset_at_close(tls.socket()),
            Self::Unix(_) => Ok(()),
        }
    }

    /// The socket, to wait for.
    pub fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Tls(tls) => tls.socket().as_fd(),
            Self::Unix(socket) => socket.as_fd(),
        }
    }

    fn shut(&self, how: Shutdown) {
        let result = match self {
            Self::Tcp(socket) => socket.shutdown(how),
            Self::Tls(tls) => tls.socket().shutdown(how),
            Self::Unix(socket) => socket.shutdown(how),
        };
        // A connection that has ended already is what was wanted.
        drop(result);
    }
}

/// Sends all of `bytes` with `send`, which takes what it can without waiting, and waits for the socket in between.
pub(super) fn send_all(bytes: &[u8], wait: Wait<'_>, socket: BorrowedFd<'_>, send: impl Fn(&[u8]) -> Result<usize>) -> Result<()> {
    let mut rest = bytes;
    let mut patience = Patience::new(wait);
    while !rest.is_empty() {
        match send(rest)? {
            0 => patience.wait(socket)?,
            sent => {
                rest = &rest[sent..];
                patience.renew();
            }
        }
    }
    Ok(())
}

/// A writer's patience with a peer that takes no byte, from the first wait on.
pub(super) struct Patience<'a> {
    wait: Wait<'a>,
    /// Since when it has waited, where that has a limit.
    since: Option<Instant>,
    /// There is nothing more to be seen of the source of a [`Wait::Relay`].
    is_source_gone: bool,
}

impl<'a> Patience<'a> {
    pub fn new(wait: Wait<'a>) -> Self {
        Self { wait, since: None, is_source_gone: false }
    }

    /// The peer has taken a byte.
    pub fn renew(&mut self) {
        self.since = None;
    }

    /// Waits until there is a reason to write again; `TimedOut` where patience is over. Whether the socket takes bytes is found out by
    /// writing: poll also returns for a signal, and calls a socket full whose peer has taken less than a third of what it holds. So the
    /// end of a limit is such a reason too, and only the wait after it is the one too many.
    pub fn wait(&mut self, socket: BorrowedFd<'_>) -> Result<()> {
        let limit = match self.wait {
            Wait::Endless => return platform::wait_writable(socket, platform::FOREVER).map(|_| ()),
            Wait::Relay { source, .. } if !self.is_source_gone => {
                self.is_source_gone = platform::wait_writable_beside(socket, source.fd())?;
                return Ok(());
            }
            Wait::Limit(limit) | Wait::Relay { stall: limit, .. } => limit,
        };
        let waited = self.since.get_or_insert_with(Instant::now).elapsed();
        if waited >= limit {
            return Err(Error::new(ErrorKind::TimedOut, "the peer takes no bytes"));
        }
        platform::wait_writable(socket, limit.saturating_sub(waited)).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::mpsc::{RecvTimeoutError, channel};

    use super::*;

    fn tcp_pair() -> (Stream, Stream) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let near = TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let (far, _) = listener.accept().expect("a connection");
        (Stream::Tcp(near), Stream::Tcp(far))
    }

    fn unix_pair() -> (Stream, Stream) {
        let (near, far) = UnixStream::pair().expect("a pair");
        (Stream::Unix(near), Stream::Unix(far))
    }

    fn read_to_end(stream: &Stream) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            match stream.read(&mut buffer).expect("a sound connection") {
                0 => return all,
                length => all.extend_from_slice(&buffer[..length]),
            }
        }
    }

    #[test]
    fn bytes_pass_both_ways() {
        for (near, far) in [tcp_pair(), unix_pair()] {
            assert_eq!(near.write_now(b"ping").expect("room"), 4);
            let mut buffer = [0; 9];
            assert_eq!(far.read(&mut buffer).expect("bytes"), 4);
            assert!(!far.has_buffered());
            far.write_all(b"pong", Wait::Endless).expect("room");
            far.shutdown_write();
            assert_eq!(read_to_end(&near), b"pong");
            near.write_all(b"still open", Wait::Endless).expect("room");
            near.shutdown();
            assert_eq!(read_to_end(&far), b"still open");
            assert!(near.write_now(b"x").is_err());
        }
    }

    #[test]
    fn a_read_timeout_is_would_block() {
        let (near, _far) = tcp_pair();
        near.set_read_timeout(Some(Duration::from_millis(1))).expect("a limit");
        assert_eq!(near.read(&mut [0; 9]).map_err(|error| error.kind()), Err(ErrorKind::WouldBlock));
    }

    #[test]
    fn a_peer_that_takes_nothing_is_given_up() {
        for (near, _far) in [tcp_pair(), unix_pair()] {
            let result = near.write_all(&vec![0; 64 << 20], Wait::Limit(Duration::from_millis(20)));
            assert_eq!(result.map_err(|error| error.kind()), Err(ErrorKind::TimedOut));
            assert_eq!(near.write_now(b"x").expect("a full socket is no error"), 0);
        }
    }

    #[test]
    fn a_relay_waits_for_a_slow_peer_as_long_as_its_source_is_there() {
        for resets in [false, true] {
            for (near, _far) in [tcp_pair(), unix_pair()] {
                let (source, sender) = tcp_pair();
                let (tell, told) = channel();
                std::thread::scope(|scope| {
                    let wait = Wait::Relay { source: &source, stall: Duration::from_millis(1) };
                    scope.spawn(move || tell.send(near.write_all(&vec![0; 64 << 20], wait).map_err(|error| has_stalled(&error))));
                    sender.write_all(b"more", Wait::Endless).expect("room");
                    assert_eq!(told.recv_timeout(Duration::from_millis(100)), Err(RecvTimeoutError::Timeout));
                    if resets {
                        sender.reset_at_close().expect("an open socket");
                    }
                    drop(sender);
                    assert_eq!(told.recv(), Ok(Err(true)), "resets: {resets}");
                });
            }
        }
    }

    #[test]
    fn a_peer_that_takes_bytes_however_slowly_is_never_given_up() {
        let (near, _far) = unix_pair();
        while near.write_now(&[0; 4096]).expect("room") > 0 {}
        let (source, gone) = unix_pair();
        drop(gone);
        let stall = Duration::from_millis(2);
        // What is taken at each try, each but the first after all of the time. The end of the source costs a relay one more.
        let slow = [0, 1, 0, 1, 0, 1, 0, 0];
        for (wait, taken) in [(Wait::Limit(stall), slow.to_vec()), (Wait::Relay { source: &source, stall }, [&[0], &slow[..]].concat())] {
            let tries = std::cell::Cell::new(0);
            let result = send_all(&[0; 9], wait, near.fd(), |_| Ok(taken[tries.replace(tries.get() + 1)]));
            assert_eq!((result.map_err(|error| has_stalled(&error)), tries.get()), (Err(true), taken.len()));
        }
    }

    #[test]
    fn a_peer_that_vanished_has_not_stalled() {
        let vanished = Error::from_raw_os_error(nix::libc::ETIMEDOUT);
        assert_eq!((vanished.kind(), has_stalled(&vanished)), (ErrorKind::TimedOut, false));
    }

    #[test]
    fn shutdown_wakes_a_reader_and_a_writer() {
        let (near, _far) = tcp_pair();
        while near.write_now(&[0; 65_536]).expect("room") > 0 {}
        std::thread::scope(|scope| {
            let reader = scope.spawn(|| near.read(&mut [0; 9]));
            let writer = scope.spawn(|| near.write_all(&vec![0; 16 << 20], Wait::Endless));
            near.shutdown();
            assert_eq!(reader.join().expect("no panic").expect("an end"), 0);
            assert!(writer.join().expect("no panic").is_err());
        });
    }
}
