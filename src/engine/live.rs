//! The streams that run right now, so that a server that ends can end each of them properly; and how long a relayed one may outlive its
//! source. What passes in them is not known here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::inbox::Input;
use super::relay_ws::Relay;
use crate::base::sync;
use crate::wire::stream::Stream;

/// A running stream, as far as ending it goes.
#[derive(Debug, Clone)]
pub enum Running {
    /// A relayed WebSocket: both sides get a close frame.
    WebSocket(Arc<Relay>),
    /// A relayed response: its upstream is shut, and its thread ends the client's side.
    Response(Arc<Stream>),
    /// A mock's connection: its thread hears that it ends.
    Mock(Sender<Input>),
}

/// All running streams.
#[derive(Debug)]
pub struct Live {
    /// How long the receiver of a relayed one may take no byte once the source has gone: see [`Wait::Relay`](crate::wire::stream::Wait).
    pub stall: Duration,
    running: Mutex<HashMap<u64, Running>>,
    last: AtomicU64,
    ending: AtomicBool,
}

/// Takes its stream off the list when it is dropped.
#[derive(Debug)]
pub struct Entry<'a> {
    live: &'a Live,
    number: u64,
}

impl Live {
    /// No stream yet.
    pub fn new(stall: Duration) -> Self {
        Self { stall, running: Mutex::default(), last: AtomicU64::new(0), ending: AtomicBool::new(false) }
    }

    /// Puts a stream on the list for as long as the entry lives. One that comes when the server ends already is ended like the others.
    pub fn enter(&self, stream: Running) -> Entry<'_> {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        // Who is told is decided under the lock: a stream is on the list that `end_all` takes, or sees here that it has been taken.
        let late = {
            let mut running = sync::lock(&self.running);
            let late = self.is_ending().then(|| stream.clone());
            running.insert(number, stream);
            late
        };
        if let Some(stream) = late {
            stream.end();
        }
        Entry { live: self, number }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        sync::lock(&self.running).len() as u64
    }

    /// Whether the server ends.
    pub fn is_ending(&self) -> bool {
        self.ending.load(Ordering::Relaxed)
    }

    /// Ends all: close frames with 1001, the end of event streams.
    pub fn end_all(&self) {
        let running: Vec<Running> = {
            let running = sync::lock(&self.running);
            self.ending.store(true, Ordering::Relaxed);
            running.values().cloned().collect()
        };
        running.iter().for_each(Running::end);
    }
}

impl Running {
    fn end(&self) {
        match self {
            Self::WebSocket(relay) => relay.close_both(1001, "the server is going away"),
            Self::Response(upstream) => upstream.shutdown(),
            // A thread that has gone has ended its connection.
            Self::Mock(inbox) => drop(inbox.send(Input::Stop { reason: "server_ended" })),
        }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        sync::lock(&self.live.running).remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;

    use super::*;

    #[test]
    fn a_stream_that_comes_when_the_server_ends_is_ended_like_the_others() {
        let live = Live::new(Duration::from_secs(60));
        let (early, heard_early) = channel();
        let (late, heard_late) = channel();
        let _early = live.enter(Running::Mock(early));
        assert!(heard_early.try_recv().is_err());
        live.end_all();
        let _late = live.enter(Running::Mock(late));
        for heard in [heard_early, heard_late] {
            assert!(matches!(heard.try_recv(), Ok(Input::Stop { reason: "server_ended" })));
            assert!(heard.try_recv().is_err(), "it is told once");
        }
        assert_eq!(live.count(), 2);
    }
}
