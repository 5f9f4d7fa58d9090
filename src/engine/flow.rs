//! Two moves of bytes that several streams share: sending what is recorded, and reading to nowhere before a close.

use std::io::Result;
use std::time::{Duration, Instant};

use crate::base::arrivals::Arrivals;
use crate::base::platform;
use crate::wire::stream::{Stream, Wait, has_stalled};

/// Writes, then records; where the peer takes no bytes now, records before it waits.
///
/// # Errors
/// The peer is gone, or (`TimedOut`) takes no byte and `wait` is over.
pub fn send_recorded(peer: &Stream, bytes: &[u8], wait: Wait<'_>, record: impl FnOnce()) -> Result<()> {
    let taken = peer.write_now(bytes);
    record();
    // Also where nothing is left: TLS may have taken all of it and still hold ciphertext that the socket refused.
    peer.write_all(&bytes[taken?..], wait).inspect_err(|error| {
        if has_stalled(error) {
            log::info!("a stream is cut off: its receiver took no byte for as long as it may");
        }
    })
}

/// Reads what still comes from a peer and throws it away, until its end or for `limit`.
pub fn discard(source: &Stream, limit: Duration) {
    let deadline = Instant::now() + limit;
    let mut buffer = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() || !(source.has_buffered() || matches!(platform::wait_readable(source.fd(), left), Ok(true))) {
            return;
        }
        if !matches!(source.read_ready(&mut buffer, &mut Arrivals::default()), Ok(None | Some(1..))) {
            return;
        }
    }
}
