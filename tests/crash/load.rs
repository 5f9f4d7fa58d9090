//! Traffic whose every frame is numbered and noted when it has passed: WebSockets that talk both ways at once, and event streams.
//! It knows nothing of recordings, and ends by itself when the server between its two halves is gone.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::http::{Conn, request_head};
use crate::support::upstream::EVENT_STREAM;
use crate::support::ws::{CLOSE, MASK, Raw, TEXT, close_payload, frame};
use crate::support::{Upstream, wait};

/// Which way a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// From the client: noted when the upstream has it.
    C2s,
    /// From the upstream: noted when the client has it.
    S2c,
}

/// When each frame had passed, by path and way; a frame's number is its place.
pub type Times = BTreeMap<(String, Way), Vec<Instant>>;

/// What has passed so far.
#[derive(Debug, Default, Clone)]
pub struct Passed(Arc<Mutex<Times>>);

impl Passed {
    fn note(&self, path: &str, way: Way) {
        let now = Instant::now();
        self.0.lock().expect("no holder panics").entry((path.to_owned(), way)).or_default().push(now);
    }

    /// All of it, now.
    pub fn take(&self) -> Times {
        self.0.lock().expect("no holder panics").clone()
    }

    /// What has passed until now, which grows no more.
    pub fn snapshot(&self) -> Self {
        Self(Arc::new(Mutex::new(self.take())))
    }

    /// How many frames have passed one way on a path.
    pub fn count(&self, path: &str, way: Way) -> usize {
        self.0.lock().expect("no holder panics").get(&(path.to_owned(), way)).map_or(0, Vec::len)
    }
}

/// The text of a frame: its number, and some length, now and then a large one, so that kills come in the middle of lines.
pub fn text(way: Way, number: usize) -> String {
    let length = if number % 29 == 28 { 9000 } else { number * 37 % 120 };
    format!("{way:?} {number} {}", "é\"x".repeat(length / 3))
}

/// An upstream and its clients.
#[derive(Debug)]
pub struct Load {
    pub upstream: Upstream,
    pub passed: Passed,
    /// The pause between two frames of one direction.
    pace: Duration,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// An upstream that talks on so many paths: WebSockets where one is asked for, event streams otherwise. The more of them, the slower.
    pub fn new(paths: usize) -> Self {
        let pace = Duration::from_millis(1 + paths as u64 / 8);
        let passed = Passed::default();
        let noted = passed.clone();
        let upstream = Upstream::http(move |head, conn| match head.field("upgrade") {
            Some(_) => talk(Raw::accept(conn, head, None), &noted, pace),
            None => stream(&conn, head.target(), pace),
        });
        Self { upstream, passed, pace, clients: Vec::new() }
    }

    /// A WebSocket client on a thread of its own.
    pub fn open_ws(&mut self, mock: SocketAddr, path: String) {
        let (passed, pace) = (self.passed.clone(), self.pace);
        self.clients.push(std::thread::spawn(move || {
            let Some(mut raw) = Raw::open_if_there(mock, &path) else { return };
            let writer = raw.conn.stream.try_clone().expect("a socket");
            let sending = std::thread::spawn(move || {
                send_numbered(&writer, pace, |number| frame(0x81, Some(MASK), text(Way::C2s, number).as_bytes()))
            });
            while raw.try_frame().is_some_and(|frame| frame.opcode() == TEXT) {
                passed.note(&path, Way::S2c);
            }
            // The sender ends with the connection.
            drop(raw.conn.stream.shutdown(std::net::Shutdown::Both));
            sending.join().expect("the sending half");
        }));
    }

    /// An event stream's client on a thread of its own.
    pub fn open_sse(&mut self, mock: SocketAddr, path: String) {
        let passed = self.passed.clone();
        self.clients.push(std::thread::spawn(move || {
            let Ok(socket) = TcpStream::connect(mock) else { return };
            let mut conn = Conn::over(socket);
            if conn.stream.write_all(request_head("GET", &path, &[], 0).as_bytes()).is_err() || conn.try_head().is_none() {
                return;
            }
            while conn.through(b"\n\n").is_some() {
                passed.note(&path, Way::S2c);
            }
        }));
    }

    /// Waits until something has passed on every path that was opened.
    pub fn await_all(&self, paths: &[String]) {
        let all = || paths.iter().all(|path| self.passed.count(path, Way::S2c) > 0);
        wait::eventually("a frame on every path", || all().then_some(()));
    }

    /// Waits for the end of all clients, whose server is gone.
    pub fn end(&mut self) {
        self.clients.drain(..).for_each(|client| client.join().expect("a client that ends by itself"));
    }
}

/// One short WebSocket that its client closes.
pub fn talk_and_close(mock: SocketAddr, path: &str) {
    let mut raw = Raw::open(mock, path);
    (0..3).for_each(|number| raw.send(TEXT, text(Way::C2s, number)));
    raw.close(1000, "done");
}

/// The upstream's half of a WebSocket.
fn talk(mut raw: Raw, passed: &Passed, pace: Duration) {
    let path = raw.head.target().to_owned();
    let writer = raw.conn.stream.try_clone().expect("a socket");
    let sending = std::thread::spawn(move || send_numbered(&writer, pace, |number| frame(0x81, None, text(Way::S2c, number).as_bytes())));
    while let Some(frame) = raw.try_frame() {
        if frame.opcode() == CLOSE {
            // The sender may be in the middle of a frame; then it is the end all the same.
            drop(raw.conn.stream.write_all(&crate::support::ws::frame(0x80 | CLOSE, None, &close_payload(1000, ""))));
            break;
        }
        passed.note(&path, Way::C2s);
    }
    drop(raw.conn.stream.shutdown(std::net::Shutdown::Both));
    drop(sending.join());
}

/// The upstream's half of an event stream.
fn stream(conn: &Conn, path: &str, pace: Duration) {
    if (&conn.stream).write_all(EVENT_STREAM.as_bytes()).is_ok() {
        let id = path.to_owned();
        send_numbered(&conn.stream, pace, |number| {
            let event = format!("id: {id}\ndata: {}\n\n", text(Way::S2c, number));
            format!("{:x}\r\n{event}\r\n", event.len()).into_bytes()
        });
    }
}

/// Sends numbered frames until nobody takes them.
fn send_numbered(mut to: &TcpStream, pace: Duration, bytes_of: impl Fn(usize) -> Vec<u8>) {
    for number in 0.. {
        if to.write_all(&bytes_of(number)).is_err() {
            return;
        }
        std::thread::park_timeout(pace);
    }
}
