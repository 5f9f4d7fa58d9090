//! The body of a request on its way: how fast it must come, its forwarding to an upstream, and the copy that a recording keeps. What a
//! body means is not decided here, nor what is answered to one that is wrong.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::inlet::Inlet;
use crate::base::error::{Error, Result};
use crate::base::time::{self, Micros};
use crate::base::{limits, platform, sync};
use crate::wire::body::{self, BodyReader, Framing};
use crate::wire::stream::{Stream, Wait, has_stalled};

/// How fast a body must come. Its client may send nothing for `patience`; and no more time than that is lost to all its silences together,
/// but for what its bytes have earned at [`limits::MIN_BODY_BYTES_PER_MS`]. So one that sends a byte now and then ends as well.
#[derive(Debug)]
pub struct Arrival {
    patience: Duration,
    came: u64,
    waited: Duration,
}

impl Arrival {
    /// The arrival of a body that is about to begin.
    pub fn new(patience: Duration) -> Self {
        Self { patience, came: 0, waited: Duration::ZERO }
    }

    /// So many bytes of it have come.
    pub fn note(&mut self, bytes: usize) {
        self.came = self.came.saturating_add(bytes as u64);
    }

    /// How long the next byte may take.
    fn left(&self) -> Duration {
        let earned = Duration::from_millis(self.came / limits::MIN_BODY_BYTES_PER_MS);
        self.patience.saturating_add(earned).saturating_sub(self.waited).min(self.patience)
    }

    /// Waits for more of it; what poll has to say against the socket, the read says as well.
    ///
    /// # Errors
    /// [`Error::TimedOut`] where nothing comes in time.
    pub fn wait(&mut self, client: &Stream) -> Result<()> {
        if client.has_buffered() {
            return Ok(());
        }
        let (left, begun) = (self.left(), Instant::now());
        loop {
            let rest = left.saturating_sub(begun.elapsed());
            if platform::wait_readable(client.fd(), rest).unwrap_or(true) {
                self.waited += begun.elapsed();
                return Ok(());
            }
            // poll also returns early for a signal.
            if begun.elapsed() >= left {
                return Err(self.too_slow(left));
            }
        }
    }

    fn too_slow(&self, left: Duration) -> Error {
        let patience_ms = self.patience.as_millis();
        Error::TimedOut(if left == self.patience {
            format!("no byte of the request body arrived for {patience_ms} ms")
        } else {
            format!("the request body comes too slowly: {} bytes in {} ms", self.came, self.waited.saturating_add(left).as_millis())
        })
    }
}

/// What a recording keeps of the request's body.
#[derive(Debug, Default)]
pub struct Capture {
    /// Its first bytes.
    pub bytes: Vec<u8>,
    /// So many of them at most.
    pub limit: usize,
    /// There was more.
    pub truncated: bool,
    /// When the body had been read to its end.
    pub whole_us: Option<Micros>,
}

impl Capture {
    fn add(&mut self, data: &[u8]) {
        let room = self.limit.saturating_sub(self.bytes.len());
        self.truncated |= data.len() > room;
        self.bytes.extend_from_slice(&data[..data.len().min(room)]);
    }
}

/// How the forwarding of a request's body ended.
#[derive(Debug)]
pub enum Pumped {
    /// The client sent it to its end.
    Whole,
    /// The client ended its sending half before, in these words.
    BrokeOff(String),
    /// The client's connection broke before.
    ClientGone,
    /// Its framing is wrong.
    Malformed(String),
    /// It came too slowly, or the upstream took nothing more of it when the client had ended its side.
    Late(Error),
}

/// How a request's body is forwarded.
#[derive(Debug, Clone, Copy)]
pub struct Pump {
    /// How its end is known.
    pub framing: Framing,
    /// It goes out in chunks of ours, whatever its framing was.
    pub in_chunks: bool,
    /// How long the client may send no byte of it; `None`: as long as the upstream bears it.
    pub patience: Option<Duration>,
    /// How long the upstream may take no byte of it once the client has gone, or ended its sending half: see [`Wait::Relay`].
    pub stall: Duration,
}

impl Pump {
    /// Forwards the body. An upstream that takes no more may have answered before: the rest is read for nobody.
    pub fn run(self, client: &mut Inlet, upstream: &Stream, capture: &Mutex<Capture>) -> Pumped {
        let mut reader = BodyReader::new(self.framing);
        let mut arrival = self.patience.map(Arrival::new);
        let mut chunks = Vec::new();
        let source = Arc::clone(&client.stream);
        let wait = Wait::Relay { source: &source, stall: self.stall };
        let mut wanted = true;
        let mut came = 0;
        while !reader.is_done() {
            if client.data().is_empty() {
                if let Some(Err(late)) = arrival.as_mut().map(|arrival| arrival.wait(&client.stream)) {
                    upstream.shutdown();
                    return Pumped::Late(late);
                }
                match client.fill() {
                    Ok(read @ 1..) => arrival.iter_mut().for_each(|arrival| arrival.note(read)),
                    filled => {
                        upstream.shutdown();
                        return if filled.is_ok() { Pumped::BrokeOff(broke_off(self.framing, came)) } else { Pumped::ClientGone };
                    }
                }
            }
            let mut used = 0;
            chunks.clear();
            while used < client.data().len() && !reader.is_done() {
                match reader.next(&client.data()[used..]) {
                    Ok(piece) => {
                        came += piece.data.len();
                        sync::lock(capture).add(piece.data);
                        if self.in_chunks {
                            body::push_chunk(&mut chunks, piece.data);
                        }
                        used += piece.consumed;
                    }
                    Err(malformed) => {
                        upstream.shutdown();
                        return Pumped::Malformed(malformed.message);
                    }
                }
            }
            if reader.is_done() {
                sync::lock(capture).whole_us = Some(time::now_us());
            }
            if self.in_chunks && reader.is_done() {
                chunks.extend_from_slice(body::LAST_CHUNK);
            }
            let bytes = if self.in_chunks { chunks.as_slice() } else { &client.data()[..used] };
            match if wanted { upstream.write_all(bytes, wait) } else { Ok(()) } {
                Ok(()) => {}
                Err(error) if has_stalled(&error) => {
                    upstream.shutdown();
                    return Pumped::Late(failed(&error, self.stall));
                }
                Err(_) => wanted = false,
            }
            client.consume(used);
        }
        Pumped::Whole
    }
}

/// Why a request does not reach its upstream, which may take no byte for `stall` once the client has ended its side.
pub fn failed(error: &std::io::Error, stall: Duration) -> Error {
    if has_stalled(error) {
        Error::GatewayTimeout(format!("the upstream took no byte of the request for {} ms", stall.as_millis()))
    } else {
        Error::BadGateway(format!("the connection to the upstream broke: {error}"))
    }
}

/// What is wrong with a body of which so many bytes came.
fn broke_off(framing: Framing, came: usize) -> String {
    match framing {
        Framing::Length(length) => format!("the body broke off: {came} of {length} bytes came"),
        _ => format!("the body broke off: {came} bytes came, and no last chunk"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silences_are_counted_together_and_bytes_earn_time() {
        let second = Duration::from_secs(1);
        for (came, waited_ms, left_ms) in [
            (0, 0, 10_000),
            (0, 4_000, 6_000),
            (0, 10_000, 0),
            (10, 10_000, 10),
            (4_000, 10_000, 4_000),
            (1_000_000, 10_000, 10_000),
            (1_000_000, 1_005_000, 5_000),
            (u64::MAX, 3_600_000, 10_000),
        ] {
            let arrival = Arrival { patience: 10 * second, came, waited: Duration::from_millis(waited_ms) };
            assert_eq!(arrival.left(), Duration::from_millis(left_ms), "{came} bytes, {waited_ms} ms");
        }
    }
}
