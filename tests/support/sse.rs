//! An event stream's client that keeps the bytes, without chunk framing, and when they came. It parses no event.

use std::net::SocketAddr;
use std::time::Instant;

use super::http::{Conn, Framing, Head, request_head};

/// An open event stream.
#[derive(Debug)]
pub struct Stream {
    /// The response's head.
    pub head: Head,
    conn: Conn,
    framing: Framing,
    unread: Vec<u8>,
}

impl Stream {
    /// Opens the stream at `path` with GET and these further fields.
    #[track_caller]
    pub fn open(address: SocketAddr, path: &str, fields: &[(&str, &str)]) -> Self {
        Self::ask(address, "GET", path, fields, b"")
    }

    /// Opens a stream with any request. Whatever the status, the head is there to be looked at.
    #[track_caller]
    pub fn ask(address: SocketAddr, method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Self {
        Self::send(address, method, path, fields, body).open_head()
    }

    /// Sends the request and reads nothing yet; [`Unopened::open_head`] goes on.
    #[track_caller]
    pub fn send(address: SocketAddr, method: &str, path: &str, fields: &[(&str, &str)], body: &[u8]) -> Unopened {
        let mut conn = Conn::open(address);
        let fields = [&[("Accept", "text/event-stream")], fields].concat();
        conn.send([request_head(method, path, &fields, body.len()).as_bytes(), body].concat());
        Unopened { conn }
    }

    /// The next `text.len()` bytes, which must be `text`; gives the time at which the last of them was read.
    #[track_caller]
    pub fn expect(&mut self, text: &str) -> Instant {
        let got = self.exactly(text.len());
        assert_eq!(String::from_utf8_lossy(&got), text);
        Instant::now()
    }

    /// The next so many bytes.
    #[track_caller]
    pub fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.unread.len() < count {
            let some = self.conn.some_body(&mut self.framing);
            assert!(!some.is_empty(), "the stream ended after {:?}", String::from_utf8_lossy(&self.unread));
            self.unread.extend(some);
        }
        self.unread.drain(..count).collect()
    }

    /// The next block: up to and including `\n\n`.
    #[track_caller]
    pub fn block(&mut self) -> String {
        loop {
            if let Some(at) = self.unread.windows(2).position(|pair| pair == b"\n\n") {
                let block: Vec<u8> = self.unread.drain(..at + 2).collect();
                return String::from_utf8_lossy(&block).into_owned();
            }
            let some = self.conn.some_body(&mut self.framing);
            assert!(!some.is_empty(), "the stream ended after {:?}", String::from_utf8_lossy(&self.unread));
            self.unread.extend(some);
        }
    }

    /// Everything up to the end of the stream.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<u8> {
        loop {
            let some = self.conn.some_body(&mut self.framing);
            if some.is_empty() {
                return std::mem::take(&mut self.unread);
            }
            self.unread.extend(some);
        }
    }

    /// Everything up to the end of the stream, as text.
    #[track_caller]
    pub fn rest_text(&mut self) -> String {
        String::from_utf8_lossy(&self.rest()).into_owned()
    }
}

/// A request whose response has not been looked at.
#[derive(Debug)]
pub struct Unopened {
    conn: Conn,
}

impl Unopened {
    /// Reads the response's head.
    #[track_caller]
    pub fn open_head(mut self) -> Stream {
        let head = self.conn.head();
        let framing = if head.status() == 204 { Framing::Done } else { Conn::framing(&head) };
        Stream { head, conn: self.conn, framing, unread: Vec::new() }
    }
}
