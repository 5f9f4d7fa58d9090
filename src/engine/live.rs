//! The streams that run right now, so that a server that ends can end each of them properly.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};

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
#[derive(Debug, Default)]
pub struct Live {
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
    /// Puts a stream on the list for as long as the entry lives.
    pub fn enter(&self, stream: Running) -> Entry<'_> {
        let number = self.last.fetch_add(1, Ordering::Relaxed);
        sync::lock(&self.running).insert(number, stream);
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
        self.ending.store(true, Ordering::Relaxed);
        let running: Vec<Running> = sync::lock(&self.running).values().cloned().collect();
        for stream in running {
            match stream {
                Running::WebSocket(relay) => relay.close_both(1001, "the server is going away"),
                Running::Response(upstream) => upstream.shutdown(),
                // A thread that has gone has ended its connection.
                Running::Mock(inbox) => drop(inbox.send(Input::Stop { reason: "server_ended" })),
            }
        }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        sync::lock(&self.live.running).remove(&self.number);
    }
}
