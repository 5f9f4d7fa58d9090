//! An upstream that keeps the very bytes of each connection and answers what the reference takes for a request. It knows nothing of mockd.

use std::sync::mpsc::{Receiver, channel};

use super::reference::{self, Reading};
use crate::support::{Conn, Upstream, wait};

/// What came on one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// The bytes up to the end of the first request, or of the connection.
    pub bytes: Vec<u8>,
    /// They are one request, and nothing else.
    pub whole: bool,
}

/// An upstream that tells what it hears.
#[derive(Debug)]
pub struct Tap {
    /// The upstream.
    pub upstream: Upstream,
    heard: Receiver<Heard>,
}

impl Tap {
    /// An upstream that answers each request with `answer` and closes. It tells of a request before it answers it.
    pub fn answering(answer: &'static str) -> Self {
        let (tell, heard) = channel();
        let upstream = Upstream::raw(move |mut conn| {
            let heard = hear(&mut conn);
            let whole = heard.whole;
            // The test may have ended; then nobody listens.
            drop(tell.send(heard));
            if whole {
                conn.send(answer);
            }
        });
        Self { upstream, heard }
    }

    /// The same with an answer of two bytes.
    pub fn start() -> Self {
        Self::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    }

    /// The next connection's bytes.
    #[track_caller]
    pub fn next(&self) -> Heard {
        wait::next("a connection at the upstream", &self.heard)
    }

    /// The whole requests that were heard up to now and not yet asked about. One that has been answered is among them.
    pub fn requests(&self) -> Vec<Vec<u8>> {
        self.heard.try_iter().filter(|heard| heard.whole).map(|heard| heard.bytes).collect()
    }
}

fn hear(conn: &mut Conn) -> Heard {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 16 * 1024]);
    loop {
        let cut = match reference::request(&bytes) {
            Reading::Whole(_, length) => return Heard { whole: length == bytes.len(), bytes },
            Reading::Cut => true,
            Reading::Wrong => false,
        };
        match conn.read(&mut buffer) {
            Ok(read @ 1..) if cut => bytes.extend_from_slice(&buffer[..read]),
            _ => return Heard { bytes, whole: false },
        }
    }
}
