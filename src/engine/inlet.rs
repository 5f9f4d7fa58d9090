//! The reading end of a connection: a small buffer before a socket, and heads read from it within their limits.
//! It knows HTTP heads because both sides begin with one; what follows a head it hands out as bytes.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::read_buffer::ReadBuffer;
use crate::base::error::Error;
use crate::base::platform::Woken;
use crate::base::time::{self, Micros};
use crate::base::{limits, platform};
use crate::wire::head::{Malformed, RequestHead, ResponseHead};
use crate::wire::stream::Stream;

/// The limits of a head.
#[derive(Debug, Clone, Copy)]
pub struct HeadLimits {
    /// Bytes of a head.
    pub max_head_bytes: u64,
    /// Time for a head, from its first byte.
    pub head_timeout: Duration,
    /// Time to wait for its first byte.
    pub idle_timeout: Duration,
}

/// What came instead of a head.
#[derive(Debug)]
pub enum NoHead {
    /// The peer ended the connection, or was idle for too long: nothing to answer.
    Closed,
    /// It was malformed, too large or too slow.
    Refused(Malformed),
}

/// How long an upstream is waited for, over several responses where interim ones come first.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// The time that it has.
    pub limit: Duration,
    /// When that is over.
    pub until: Instant,
}

impl Patience {
    /// It begins now.
    pub fn new(limit: Duration) -> Self {
        Self { limit, until: Instant::now() + limit }
    }
}

/// A socket with the bytes that were read from it and not yet used.
#[derive(Debug)]
pub struct Inlet {
    /// The connection.
    pub stream: Arc<Stream>,
    /// The client has been told to go on with the body of its request.
    pub continued: bool,
    /// Apart, because an inlet travels by value, often with an error beside it.
    buffer: Box<ReadBuffer>,
    /// Bytes of the response heads that were read here.
    head_bytes: u32,
}

impl Inlet {
    /// An inlet with nothing read yet. The buffer is made at the first read.
    pub fn new(stream: Arc<Stream>) -> Self {
        Self { stream, continued: false, buffer: Box::default(), head_bytes: 0 }
    }

    /// What was read and not yet used.
    pub fn data(&self) -> &[u8] {
        self.buffer.data()
    }

    /// Uses the first `len` bytes of [`Inlet::data`].
    pub fn consume(&mut self, len: usize) {
        self.buffer.consume(len);
    }

    /// Reads once more, waiting for it: how many bytes came, 0 at the end of the stream.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn fill(&mut self) -> std::io::Result<usize> {
        self.buffer.fill(&self.stream)
    }

    /// Whether a short body of `length` bytes is all here. What comes with the head, in a write of its own, is waited for.
    pub fn gather(&mut self, length: u64) -> bool {
        if length > limits::SHORT_BODY_BYTES {
            return false;
        }
        let deadline = Instant::now() + Duration::from_millis(limits::SHORT_BODY_WAIT_MS);
        while (self.data().len() as u64) < length {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !platform::wait_readable(self.stream.fd(), left).unwrap_or(false) || !matches!(self.fill(), Ok(1..)) {
                return false;
            }
        }
        true
    }

    /// The bytes that are left, with the stream: for a thread that reads on in its own way.
    pub fn take_data(&mut self) -> Vec<u8> {
        self.buffer.take()
    }

    /// Reads a request's head.
    ///
    /// # Errors
    /// [`NoHead`].
    pub fn read_request(&mut self, within: HeadLimits) -> Result<RequestHead, NoHead> {
        // An empty line before the request line is to be ignored (RFC 9112 §2.2). It is no first byte, and it earns no time.
        let idle = Instant::now();
        let mut began: Option<Instant> = None;
        loop {
            while self.data().starts_with(b"\r\n") {
                self.consume(2);
            }
            if !matches!(self.data(), b"" | b"\r") {
                began.get_or_insert_with(Instant::now);
                match RequestHead::parse(self.data()) {
                    Ok(Some((_, len))) if len as u64 > within.max_head_bytes => return Err(too_large(within)),
                    Ok(Some((head, len))) => {
                        self.consume(len);
                        self.continued = false;
                        return Ok(head);
                    }
                    Ok(None) if self.data().len() as u64 >= within.max_head_bytes => return Err(too_large(within)),
                    Ok(None) => {}
                    Err(malformed) => return Err(NoHead::Refused(malformed)),
                }
            }
            let left = match began {
                None => within.idle_timeout.saturating_sub(idle.elapsed()),
                Some(began) => within.head_timeout.saturating_sub(began.elapsed()),
            };
            if began.is_none() && left.is_zero() {
                return Err(NoHead::Closed);
            }
            let ready = platform::wait_readable(self.stream.fd(), left).unwrap_or(true);
            if !ready && began.is_some() && left.is_zero() {
                return Err(too_slow(within));
            }
            if ready && !matches!(self.fill(), Ok(1..)) {
                return Err(NoHead::Closed);
            }
        }
    }

    /// Reads an upstream's response head, interim ones included, while `peer` stays: `Ok(None)` when the peer has gone. A peer that
    /// closes its sending half within [`limits::HALF_CLOSE_US`] of its request, at `asked_us`, waits for the response all the same;
    /// without `asked_us` (a WebSocket needs that half) it has gone.
    /// All heads of a response together have `max_head_bytes`: interim ones could go on for ever.
    ///
    /// # Errors
    /// [`Error::BadGateway`], and [`Error::GatewayTimeout`] when `patience` is over (`None`: it may take its time).
    pub fn read_response(
        &mut self,
        peer: &Stream,
        asked_us: Option<Micros>,
        max_head_bytes: u64,
        patience: Option<Patience>,
    ) -> Result<Option<ResponseHead>, Error> {
        let mut half_close_counts = true;
        let deadline = patience.map(|patience| patience.until);
        let failed = |what: String| Error::BadGateway(format!("the upstream failed: {what}"));
        loop {
            match ResponseHead::parse(self.data()) {
                Ok(Some((head, len))) => {
                    self.consume(len);
                    self.head_bytes = self.head_bytes.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
                    if u64::from(self.head_bytes) > max_head_bytes {
                        return Err(failed("its response head is too large".to_owned()));
                    }
                    return Ok(Some(head));
                }
                Ok(None) if u64::from(self.head_bytes) + self.data().len() as u64 >= max_head_bytes => {
                    return Err(failed("its response head is too large".to_owned()));
                }
                Ok(None) => {}
                Err(malformed) => return Err(failed(format!("its response is no HTTP: {}", malformed.message))),
            }
            match self.wait_beside(peer, half_close_counts, deadline) {
                Woken::Readable => {}
                Woken::Gone
                    if half_close_counts
                        && asked_us.is_some_and(|asked_us| time::now_us().saturating_sub(asked_us) <= limits::HALF_CLOSE_US) =>
                {
                    half_close_counts = false;
                    continue;
                }
                Woken::Gone => return Ok(None),
                Woken::TimedOut => {
                    let limit_ms = patience.map_or(0, |patience| patience.limit.as_millis());
                    return Err(Error::GatewayTimeout(format!("the upstream did not answer the handshake within {limit_ms} ms")));
                }
            }
            match self.fill() {
                Ok(0) => return Err(failed("it closed the connection without a response".to_owned())),
                Ok(_) => {}
                Err(error) => return Err(failed(format!("the connection to it broke: {error}"))),
            }
        }
    }

    /// Waits until there is something to read, `peer` has gone (as [`platform::wait_either`] says), or `deadline` is over.
    pub fn wait_beside(&mut self, peer: &Stream, half_close_counts: bool, deadline: Option<Instant>) -> Woken {
        if self.stream.has_buffered() {
            return Woken::Readable;
        }
        loop {
            let quiet = if self.buffer.is_large() { Duration::from_millis(limits::QUIET_MS) } else { platform::FOREVER };
            let left = deadline.map_or(quiet, |deadline| deadline.saturating_duration_since(Instant::now()).min(quiet));
            match platform::wait_either(self.stream.fd(), peer.fd(), half_close_counts, left) {
                Ok(Woken::TimedOut) if deadline.is_none_or(|deadline| Instant::now() < deadline) => self.buffer.shrink(),
                Ok(woken) => return woken,
                // What is wrong shows when it is read.
                Err(_) => return Woken::Readable,
            }
        }
    }
}

fn too_large(within: HeadLimits) -> NoHead {
    let message = format!("the request head is larger than its limit of {} bytes", within.max_head_bytes);
    NoHead::Refused(Malformed { status: 431, message })
}

fn too_slow(within: HeadLimits) -> NoHead {
    let message = format!("the request head did not arrive within {} ms", within.head_timeout.as_millis());
    NoHead::Refused(Malformed { status: 408, message })
}
