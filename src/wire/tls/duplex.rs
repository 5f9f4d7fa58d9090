//! One TLS connection for two threads. Ciphertext is read from the socket outside the connection's lock; that lock is held only to turn
//! ciphertext into plaintext and back, in memory. No policy of trust stands here, nor a protocol above TLS.
//!
//! Three locks, always taken in this order, none of them held by a thread that another direction could wait for:
//!
//! 1. `reading`, which only readers take, and hold while they wait for the socket;
//! 2. `writing`, the order of ciphertext on its way out, held for a send that does not wait;
//! 3. `connection`, the state of rustls, held for work in memory.
//!
//! A writer that waits for the socket holds none of them. So a reader can always decrypt, and can always hand
//! what rustls wants to say (an alert, a key update) to the writing side, whatever the other thread waits for.

use std::io::{BufRead, Error, ErrorKind, Result, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustls::Connection;

use crate::base::arrivals::Arrivals;
use crate::base::limits::{CLOSE_GRACE_MS, KIB, READ_BYTES};
use crate::base::{platform, sync};
use crate::wire::stream::{Patience, Wait};

/// Plaintext that [`TlsStream::write_all`] encrypts at a time: it bounds the ciphertext that is kept.
const WRITE_BYTES: usize = 64 * KIB as usize;

/// A TLS connection for two threads.
#[derive(Debug)]
pub struct TlsStream {
    socket: TcpStream,
    /// Taken first.
    reading: Mutex<Reading>,
    /// Taken second.
    writing: Mutex<Writing>,
    /// Taken last.
    connection: Mutex<Connection>,
    /// Whether a read is answered by what `reading` holds; apart from it, because a waiting reader holds its lock.
    has_buffered: AtomicBool,
}

/// The readers' side.
#[derive(Debug)]
struct Reading {
    /// Where ciphertext is read into.
    ciphertext: Box<[u8]>,
    /// Decrypted, and not yet asked for: `plaintext[given..]`.
    plaintext: Vec<u8>,
    given: usize,
    /// No more plaintext will come.
    ended: bool,
    /// What was wrong after the plaintext that is here.
    failure: Option<Error>,
}

impl Reading {
    /// Whether a read is answered without the socket: by plaintext, or by the end that stands behind it.
    fn answers(&self) -> bool {
        self.given < self.plaintext.len() || self.ended || self.failure.is_some()
    }
}

/// Ciphertext on its way out: `pending[sent..]` is what the socket has not taken yet.
#[derive(Debug, Default)]
struct Writing {
    pending: Vec<u8>,
    sent: usize,
}

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum HandshakeError {
    /// TLS itself, the certificate above all.
    Tls(rustls::Error),
    /// The time was over.
    TimedOut,
    /// The peer closed the connection.
    Ended,
    /// The system.
    Io(Error),
}

impl From<Error> for HandshakeError {
    fn from(error: Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::TimedOut,
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => Self::Ended,
            _ => Self::Io(error),
        }
    }
}

impl TlsStream {
    /// Brings the handshake to its end, within `limit` as a whole.
    pub(super) fn handshake(mut connection: Connection, socket: TcpStream, limit: Duration) -> std::result::Result<Self, HandshakeError> {
        // What is written is bounded by the writers: a write is taken whole or not at all.
        connection.set_buffer_limit(None);
        // A limit beyond what the clock can say is none.
        let until = Instant::now().checked_add(limit);
        loop {
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(HandshakeError::TimedOut);
            }
            socket.set_read_timeout(left)?;
            socket.set_write_timeout(left)?;
            while connection.wants_write() {
                retry(|| connection.write_tls(&mut &socket))?;
            }
            if !connection.is_handshaking() {
                break;
            }
            if retry(|| connection.read_tls(&mut &socket))? == 0 {
                return Err(HandshakeError::Ended);
            }
            if let Err(error) = connection.process_new_packets() {
                // The peer is told why, if it still listens.
                drop(connection.write_tls(&mut &socket));
                return Err(HandshakeError::Tls(error));
            }
        }
        socket.set_read_timeout(None)?;
        socket.set_write_timeout(None)?;
        // Data may have come along with the last flight of the handshake.
        let mut plaintext = Vec::new();
        let ended = drain(&mut connection, &mut Target { buffer: &mut [], filled: 0, overflow: &mut plaintext })?;
        Ok(Self {
            socket,
            has_buffered: AtomicBool::new(ended || !plaintext.is_empty()),
            reading: Mutex::new(Reading { ciphertext: vec![0; READ_BYTES].into(), plaintext, given: 0, ended, failure: None }),
            writing: Mutex::default(),
            connection: Mutex::new(connection),
        })
    }

    pub(crate) fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub(crate) fn has_buffered(&self) -> bool {
        self.has_buffered.load(Ordering::Acquire)
    }

    pub(crate) fn read(&self, buffer: &mut [u8], arrivals: &mut Arrivals) -> Result<usize> {
        let mut reading = sync::lock(&self.reading);
        loop {
            if let Some(read) = self.read_once(&mut reading, buffer, arrivals)? {
                return Ok(read);
            }
        }
    }

    pub(crate) fn read_ready(&self, buffer: &mut [u8], arrivals: &mut Arrivals) -> Result<Option<usize>> {
        self.read_once(&mut sync::lock(&self.reading), buffer, arrivals)
    }

    /// Reads with one look at the socket, or none. `None`: what came is no plaintext, but a part of a record, or words of TLS itself.
    fn read_once(&self, reading: &mut Reading, buffer: &mut [u8], arrivals: &mut Arrivals) -> Result<Option<usize>> {
        if reading.given < reading.plaintext.len() {
            let rest = &reading.plaintext[reading.given..];
            let length = rest.len().min(buffer.len());
            buffer[..length].copy_from_slice(&rest[..length]);
            reading.given += length;
            self.has_buffered.store(reading.answers(), Ordering::Release);
            return Ok(Some(length));
        }
        if let Some(failure) = reading.failure.take() {
            return Err(failure);
        }
        if reading.ended || buffer.is_empty() {
            return Ok(Some(0));
        }
        let received = arrivals.read(&self.socket, &mut reading.ciphertext)?;
        reading.plaintext.clear();
        reading.given = 0;
        let mut target = Target { buffer, filled: 0, overflow: &mut reading.plaintext };
        let (result, wants_write) = if received == 0 {
            (Ok(true), false)
        } else {
            let mut connection = sync::lock(&self.connection);
            let result = decrypt(&mut connection, &reading.ciphertext[..received], &mut target);
            (result, connection.wants_write())
        };
        let filled = target.filled;
        if wants_write {
            // Only an answer of TLS itself: where it cannot be sent, the next write says why.
            drop(self.flush(&mut sync::lock(&self.writing)));
        }
        // The plaintext before an error is sound, so it is handed over first.
        reading.ended = *result.as_ref().unwrap_or(&true);
        reading.failure = result.err();
        self.has_buffered.store(reading.answers(), Ordering::Release);
        match (filled, reading.failure.take()) {
            (0, Some(failure)) => Err(failure),
            (0, None) => Ok(reading.ended.then_some(0)),
            (_, failure) => {
                reading.failure = failure;
                Ok(Some(filled))
            }
        }
    }

    pub(crate) fn write_now(&self, bytes: &[u8]) -> Result<usize> {
        let mut writing = sync::lock(&self.writing);
        // Nothing new is encrypted while something waits, so what waits never grows beyond one write.
        if !self.flush(&mut writing)? || bytes.is_empty() {
            return Ok(0);
        }
        sync::lock(&self.connection).writer().write_all(bytes)?;
        self.flush(&mut writing)?;
        Ok(bytes.len())
    }

    pub(crate) fn write_all(&self, bytes: &[u8], wait: Wait<'_>) -> Result<()> {
        for part in bytes.chunks(WRITE_BYTES) {
            let mut progress = Progress::new(wait);
            while self.write_now(part)? < part.len() {
                progress.wait(self)?;
            }
        }
        let mut progress = Progress::new(wait);
        loop {
            if self.flush(&mut sync::lock(&self.writing))? {
                return Ok(());
            }
            progress.wait(self)?;
        }
    }

    pub(crate) fn shutdown_write(&self) {
        sync::lock(&self.connection).send_close_notify();
        // What was written goes out first, if the peer takes it soon; a peer that does not take it is not waited for.
        if let Err(error) = self.write_all(&[], Wait::Limit(Duration::from_millis(CLOSE_GRACE_MS))) {
            log::debug!("a TLS connection ends without close_notify: {error}");
        }
        // A connection that has ended already is what was wanted.
        drop(self.socket.shutdown(Shutdown::Write));
    }

    /// Sends what waits, and what rustls has to say, without waiting; gives whether all of it went out.
    fn flush(&self, writing: &mut Writing) -> Result<bool> {
        loop {
            while writing.sent < writing.pending.len() {
                match platform::send_now(&self.socket, &writing.pending[writing.sent..])? {
                    0 => return Ok(false),
                    sent => writing.sent += sent,
                }
            }
            writing.pending.clear();
            writing.sent = 0;
            let mut connection = sync::lock(&self.connection);
            if !connection.wants_write() {
                return Ok(true);
            }
            while connection.wants_write() {
                connection.write_tls(&mut writing.pending)?;
            }
        }
    }
}

/// A writer's patience, which begins anew whenever the peer has taken a byte.
struct Progress<'a> {
    patience: Patience<'a>,
    left: usize,
}

impl<'a> Progress<'a> {
    fn new(wait: Wait<'a>) -> Self {
        Self { patience: Patience::new(wait), left: usize::MAX }
    }

    fn wait(&mut self, stream: &TlsStream) -> Result<()> {
        let left = {
            let writing = sync::lock(&stream.writing);
            writing.pending.len() - writing.sent
        };
        if left != self.left {
            self.left = left;
            self.patience.renew();
        }
        self.patience.wait(stream.socket.as_fd())
    }
}

/// Where plaintext goes: into a reader's buffer, and what does not fit into a second one.
struct Target<'a> {
    buffer: &'a mut [u8],
    filled: usize,
    overflow: &'a mut Vec<u8>,
}

impl Target<'_> {
    fn push(&mut self, bytes: &[u8]) {
        let room = &mut self.buffer[self.filled..];
        let (fitting, rest) = bytes.split_at(bytes.len().min(room.len()));
        room[..fitting.len()].copy_from_slice(fitting);
        self.filled += fitting.len();
        self.overflow.extend_from_slice(rest);
    }
}

/// Decrypts all of `ciphertext`; gives whether the peer has ended its side.
fn decrypt(connection: &mut Connection, ciphertext: &[u8], target: &mut Target<'_>) -> Result<bool> {
    let mut rest = ciphertext;
    let mut ended = false;
    while !rest.is_empty() && !ended {
        // rustls takes a part at a time, and none while its own plaintext is full: so that is emptied each time.
        if connection.read_tls(&mut rest)? == 0 {
            break;
        }
        let processed = connection.process_new_packets();
        ended = drain(connection, target)?;
        processed.map_err(|error| Error::new(ErrorKind::InvalidData, error))?;
    }
    Ok(ended)
}

/// Takes the plaintext out of rustls; gives whether the peer has ended its side.
fn drain(connection: &mut Connection, target: &mut Target<'_>) -> Result<bool> {
    let mut reader = connection.reader();
    loop {
        let length = match reader.fill_buf() {
            Ok([]) => return Ok(true),
            Ok(plaintext) => {
                target.push(plaintext);
                plaintext.len()
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error),
        };
        reader.consume(length);
    }
}

/// Begins a call of the system again where a signal broke it off.
fn retry(mut call: impl FnMut() -> Result<usize>) -> Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}
