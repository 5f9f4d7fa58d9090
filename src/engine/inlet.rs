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

/// What became of a read beside a peer: see [`Inlet::fill_beside`].
#[derive(Debug)]
pub enum Filled {
    /// The read's own result: how many bytes came, 0 at the end of the stream, or how the connection broke.
    Read(std::io::Result<usize>),
    /// The peer has gone.
    Gone,
    /// Nothing came in time.
    TimedOut,
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

    /// Asks the system to note when what comes from now on arrives.
    pub fn note_arrivals(&mut self) {
        self.buffer.note_arrivals(&self.stream);
    }

    /// When the last byte that was read reached this machine, in microseconds of the wall clock, where that is known.
    pub fn arrived_us(&self) -> Option<u64> {
        self.buffer.arrived_us()
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

    /// Gives the buffer's room back, where nothing stands in it: a stream begins, and nothing is read here for as long as it lasts.
    pub fn rest(&mut self) {
        if self.data().is_empty() {
            drop(self.take_data());
        }
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
                // What stands behind the limit is not looked at, however much was read at once.
                match RequestHead::parse(front(self.data(), within.max_head_bytes)) {
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
    /// closes its sending half within [`limits::HALF_CLOSE_US`] of the end of its request waits for the response all the same, and so
    /// does one whose request is not whole yet; `whole_us` says when it was. Without `whole_us` (a WebSocket needs that half) it has gone.
    /// All heads of a response together have `max_head_bytes`: interim ones could go on for ever.
    ///
    /// # Errors
    /// [`Error::BadGateway`], and [`Error::GatewayTimeout`] when `patience` is over (`None`: it may take its time).
    pub fn read_response(
        &mut self,
        peer: &Stream,
        whole_us: Option<&dyn Fn() -> Option<Micros>>,
        max_head_bytes: u64,
        patience: Option<Patience>,
    ) -> Result<Option<ResponseHead>, Error> {
        let mut half_close_counts = true;
        // While more of the request is to come, that end may stand behind it.
        let mut comes = false;
        let deadline = patience.map(|patience| patience.until);
        let failed = |what: String| Error::BadGateway(format!("the upstream failed: {what}"));
        loop {
            match ResponseHead::parse(front(self.data(), max_head_bytes.saturating_sub(self.head_bytes.into()))) {
                Ok(Some((head, len))) => {
                    self.consume(len);
                    self.head_bytes = self.head_bytes.saturating_add(u32::try_from(len).unwrap_or(u32::MAX));
                    return Ok(Some(head));
                }
                Ok(None) if u64::from(self.head_bytes) + self.data().len() as u64 >= max_head_bytes => {
                    return Err(failed("its response head is too large".to_owned()));
                }
                Ok(None) => {}
                Err(malformed) => return Err(failed(format!("its response is no HTTP: {}", malformed.message))),
            }
            let asked_us = whole_us.map(|whole_us| whole_us());
            let filled = if asked_us == Some(None) {
                comes = true;
                let moment = Instant::now() + Duration::from_micros(limits::HALF_CLOSE_US);
                self.fill_beside(peer, false, Some(deadline.map_or(moment, |deadline| deadline.min(moment))))
            } else {
                if std::mem::take(&mut comes) {
                    // However late this thread looks: that end came with the end of the request.
                    half_close_counts = !platform::has_half_closed(peer.fd());
                }
                self.fill_beside(peer, half_close_counts, deadline)
            };
            match filled {
                Filled::Read(Ok(0)) => return Err(failed("it closed the connection without a response".to_owned())),
                Filled::Read(Ok(_)) => {}
                Filled::Read(Err(error)) => return Err(failed(format!("the connection to it broke: {error}"))),
                Filled::TimedOut if deadline.is_none_or(|deadline| Instant::now() < deadline) => continue,
                Filled::Gone
                    if half_close_counts
                        && asked_us.flatten().is_some_and(|asked| time::now_us().saturating_sub(asked) <= limits::HALF_CLOSE_US) =>
                {
                    half_close_counts = false;
                    continue;
                }
                Filled::Gone => return Ok(None),
                Filled::TimedOut => {
                    let limit_ms = patience.map_or(0, |patience| patience.limit.as_millis());
                    return Err(Error::GatewayTimeout(format!("the upstream did not answer the handshake within {limit_ms} ms")));
                }
            }
        }
    }

    /// Reads once more, unless `peer` goes (as [`platform::wait_either`] says), or `deadline` is over, before anything comes. A socket that
    /// can be read is not always a stream that can: see [`Stream::read_ready`].
    pub fn fill_beside(&mut self, peer: &Stream, half_close_counts: bool, deadline: Option<Instant>) -> Filled {
        if self.stream.has_buffered() {
            return Filled::Read(self.fill());
        }
        loop {
            let quiet = if self.buffer.is_large() { Duration::from_millis(limits::QUIET_MS) } else { platform::FOREVER };
            let left = deadline.map_or(quiet, |deadline| deadline.saturating_duration_since(Instant::now()).min(quiet));
            match platform::wait_either(self.stream.fd(), peer.fd(), half_close_counts, left) {
                Ok(Woken::TimedOut) if deadline.is_none_or(|deadline| Instant::now() < deadline) => self.buffer.shrink(),
                Ok(Woken::TimedOut) => return Filled::TimedOut,
                Ok(Woken::Gone) => return Filled::Gone,
                // What is wrong shows when it is read.
                Ok(Woken::Readable) | Err(_) => match self.buffer.fill_ready(&self.stream) {
                    Ok(None) => {}
                    Ok(Some(read)) => return Filled::Read(Ok(read)),
                    Err(error) => return Filled::Read(Err(error)),
                },
            }
        }
    }
}

/// The first bytes, at most `limit`.
fn front(data: &[u8], limit: u64) -> &[u8] {
    &data[..data.len().min(usize::try_from(limit).unwrap_or(usize::MAX))]
}

fn too_large(within: HeadLimits) -> NoHead {
    let message = format!("the request head is larger than its limit of {} bytes", within.max_head_bytes);
    NoHead::Refused(Malformed { status: 431, message })
}

fn too_slow(within: HeadLimits) -> NoHead {
    let message = format!("the request head did not arrive within {} ms", within.head_timeout.as_millis());
    NoHead::Refused(Malformed { status: 408, message })
}
