//! A small HTTP/1.1 client and the reading side of a scripted server, by hand, so that every byte is in the test's own sight.
//! It follows no redirect, decodes no content, and knows nothing of mockd.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};

use serde_json::Value;

use super::wait::DEADLINE;

/// A start line and its fields, as they came.
#[derive(Debug, Clone)]
pub struct Head {
    /// `GET /x HTTP/1.1` or `HTTP/1.1 200 OK`.
    pub start: String,
    /// Names and values in order and case.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// The first value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Every value of a field.
    pub fn fields<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.fields.iter().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// The second word of the start line: a request's target.
    pub fn target(&self) -> &str {
        self.start.split(' ').nth(1).unwrap_or("")
    }

    /// The first word of the start line: a request's method.
    pub fn method(&self) -> &str {
        self.start.split(' ').next().unwrap_or("")
    }

    /// A response's status.
    #[track_caller]
    pub fn status(&self) -> u16 {
        self.target().parse().unwrap_or_else(|_| panic!("no status in {:?}", self.start))
    }

    fn parse(bytes: &[u8]) -> Self {
        let text = String::from_utf8_lossy(bytes).into_owned();
        let mut lines = text.split("\r\n").filter(|line| !line.is_empty());
        let start = lines.next().unwrap_or("").to_owned();
        let fields = lines.map(|line| line.split_once(':').map_or((line, ""), |(name, value)| (name, value.trim())));
        Self { start, fields: fields.map(|(name, value)| (name.to_owned(), value.to_owned())).collect() }
    }
}

/// A whole response.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its head.
    pub head: Head,
    /// Its body, without chunk framing.
    pub body: Vec<u8>,
}

impl Answer {
    /// Its status.
    #[track_caller]
    pub fn status(&self) -> u16 {
        self.head.status()
    }

    /// Its body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Its body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}) in {} {:?}", self.head.start, self.text()))
    }

    /// The same answer, if it has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status(), status, "{}", self.text());
        self
    }

    /// Checks status, code and that the message has these words.
    #[track_caller]
    pub fn expect_error(self, status: u16, code: &str, words: &[&str]) -> Self {
        let answer = self.expect(status);
        let json = answer.json();
        assert_eq!(json["error"], code, "{json}");
        let message = json["message"].as_str().unwrap_or_else(|| panic!("no message in {json}"));
        for word in words {
            assert!(message.contains(word), "{word:?} is not in {message:?}");
        }
        answer
    }
}

/// How far a body has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// Chunked; so many bytes of the chunk are left, `None` where a size line comes next.
    Chunked(Option<u64>),
    /// To the end of the connection.
    ToEnd,
    /// All there.
    Done,
}

/// One connection with its read-ahead; either side's.
#[derive(Debug)]
pub struct Conn {
    /// The socket, with read and write time-outs.
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl Conn {
    /// Connects.
    #[track_caller]
    pub fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap_or_else(|error| panic!("no connection to {address}: {error}")))
    }

    /// Over a socket that is there.
    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(DEADLINE)).expect("a read time-out can be set");
        stream.set_write_timeout(Some(DEADLINE)).expect("a write time-out can be set");
        stream.set_nodelay(true).expect("no delay can be set");
        Self { stream, buffer: Vec::new() }
    }

    /// Writes all of it.
    #[track_caller]
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).expect("the peer takes bytes");
    }

    /// Writes one chunk (RFC 9112 §7.1).
    #[track_caller]
    pub fn send_chunk(&mut self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
        chunk.extend_from_slice(bytes);
        chunk.extend_from_slice(b"\r\n");
        self.send(chunk);
    }

    /// One read of the socket, beside the buffer. The system does not begin a call with a time-out again after the machine or the process
    /// has been stopped for a while (signal(7)); this does.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        again(|| self.stream.read(bytes))
    }

    /// The same for a look at what is there, which stays there.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn peek(&self, bytes: &mut [u8]) -> std::io::Result<usize> {
        again(|| self.stream.peek(bytes))
    }

    /// The same for one write.
    ///
    /// # Errors
    /// Those of the socket.
    pub fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        again(|| self.stream.write(bytes))
    }

    /// Reads more into the buffer: how much, 0 at the end. A reset counts as the end.
    #[track_caller]
    fn fill(&mut self) -> usize {
        let mut bytes = [0; 16 * 1024];
        match self.read(&mut bytes) {
            Ok(read) => {
                self.buffer.extend_from_slice(&bytes[..read]);
                read
            }
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                panic!("waited {DEADLINE:?} in vain for bytes; unread so far: {:?}", String::from_utf8_lossy(&self.buffer))
            }
            Err(_) => 0,
        }
    }

    /// Reads exactly so many bytes.
    #[track_caller]
    pub fn exact(&mut self, count: usize) -> Vec<u8> {
        self.try_exact(count).unwrap_or_else(|| panic!("the connection ended before {count} bytes"))
    }

    /// Reads exactly so many bytes; `None` where the connection ends first.
    #[track_caller]
    pub fn try_exact(&mut self, count: usize) -> Option<Vec<u8>> {
        while self.buffer.len() < count {
            if self.fill() == 0 {
                return None;
            }
        }
        Some(self.buffer.drain(..count).collect())
    }

    /// Reads up to and including `mark`; `None` where the connection ends first.
    #[track_caller]
    pub fn through(&mut self, mark: &[u8]) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.buffer.windows(mark.len()).position(|window| window == mark) {
                return Some(self.buffer.drain(..at + mark.len()).collect());
            }
            if self.fill() == 0 {
                return None;
            }
        }
    }

    /// Reads to the end of the connection.
    #[track_caller]
    pub fn read_to_end(&mut self) -> Vec<u8> {
        while self.fill() > 0 {}
        std::mem::take(&mut self.buffer)
    }

    /// Ends the writing direction.
    pub fn shut_write(&self) {
        self.stream.shutdown(Shutdown::Write).expect("the connection is open");
    }

    /// Reads a head; `None` where the connection ends first.
    #[track_caller]
    pub fn try_head(&mut self) -> Option<Head> {
        self.through(b"\r\n\r\n").map(|bytes| Head::parse(&bytes))
    }

    /// Reads a head.
    #[track_caller]
    pub fn head(&mut self) -> Head {
        match self.try_head() {
            Some(head) => head,
            None => panic!("the connection ended before a head; it gave {:?}", String::from_utf8_lossy(&self.buffer)),
        }
    }

    /// How the body after `head` is framed.
    pub fn framing(head: &Head) -> Framing {
        if head.field("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
            return Framing::Chunked(None);
        }
        match head.field("content-length") {
            Some(length) => Framing::Length(length.parse().expect("a length")),
            None if head.start.starts_with("HTTP/") => Framing::ToEnd,
            None => Framing::Done,
        }
    }

    /// What of a body has arrived, at least one byte; empty when the body is all there.
    #[track_caller]
    pub fn some_body(&mut self, framing: &mut Framing) -> Vec<u8> {
        loop {
            let want = match framing {
                Framing::Done => return Vec::new(),
                Framing::Length(0) => {
                    *framing = Framing::Done;
                    return Vec::new();
                }
                Framing::Chunked(None) => {
                    let line = self.through(b"\r\n").expect("a chunk's size before the connection ends");
                    let text = String::from_utf8_lossy(&line);
                    let size = u64::from_str_radix(text.trim().split(';').next().unwrap_or(""), 16);
                    let size = size.unwrap_or_else(|_| panic!("no chunk size: {text:?}"));
                    if size == 0 {
                        while self.through(b"\r\n").expect("the end of the trailer") != b"\r\n" {}
                        *framing = Framing::Done;
                        return Vec::new();
                    }
                    *framing = Framing::Chunked(Some(size));
                    continue;
                }
                Framing::Chunked(Some(0)) => {
                    assert_eq!(self.exact(2), b"\r\n", "a chunk ends with CRLF");
                    *framing = Framing::Chunked(None);
                    continue;
                }
                Framing::Length(left) | Framing::Chunked(Some(left)) => *left,
                Framing::ToEnd => u64::MAX,
            };
            if self.buffer.is_empty() && self.fill() == 0 {
                assert_eq!(*framing, Framing::ToEnd, "the connection ended within a body");
                *framing = Framing::Done;
                return Vec::new();
            }
            let take = usize::try_from(want).unwrap_or(usize::MAX).min(self.buffer.len());
            match framing {
                Framing::Length(left) | Framing::Chunked(Some(left)) => *left -= take as u64,
                _ => {}
            }
            return self.buffer.drain(..take).collect();
        }
    }

    /// The whole body after `head`.
    #[track_caller]
    pub fn body(&mut self, head: &Head) -> Vec<u8> {
        let mut framing = Self::framing(head);
        let mut body = Vec::new();
        loop {
            let some = self.some_body(&mut framing);
            if some.is_empty() {
                return body;
            }
            body.extend(some);
        }
    }

    /// A whole final response to a request of `method`; interim ones (1xx, 101 aside) are passed over.
    #[track_caller]
    pub fn answer(&mut self, method: &str) -> Answer {
        let mut head = self.head();
        while head.status() == 100 {
            head = self.head();
        }
        let bodiless = method == "HEAD" || matches!(head.status(), 101 | 204 | 304);
        let body = if bodiless { Vec::new() } else { self.body(&head) };
        Answer { head, body }
    }

    /// Sends a request with a `Host`, the given fields and (where it is not empty) a body, and reads its answer.
    #[track_caller]
    pub fn ask(&mut self, method: &str, target: &str, fields: &[(&str, &str)], body: &[u8]) -> Answer {
        let head = request_head(method, target, fields, body.len());
        self.send([head.as_bytes(), body].concat());
        self.answer(method)
    }
}

fn again(mut call: impl FnMut() -> std::io::Result<usize>) -> std::io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// A request's head; `Host: localhost` and the length of the body are added where `fields` do not have them.
pub fn request_head(method: &str, target: &str, fields: &[(&str, &str)], length: usize) -> String {
    let has = |name: &str| fields.iter().any(|(known, _)| known.eq_ignore_ascii_case(name));
    let mut head = format!("{method} {target} HTTP/1.1\r\n");
    if !has("Host") {
        head.push_str("Host: localhost\r\n");
    }
    for (name, value) in fields {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    if length > 0 && !has("Content-Length") && !has("Transfer-Encoding") {
        head.push_str(&format!("Content-Length: {length}\r\n"));
    }
    head + "\r\n"
}

/// One request on a connection of its own.
#[track_caller]
pub fn ask(address: SocketAddr, method: &str, target: &str, fields: &[(&str, &str)], body: &[u8]) -> Answer {
    let fields = [fields, &[("Connection", "close")]].concat();
    Conn::open(address).ask(method, target, &fields, body)
}

/// One request to a server that may go away at any moment: the status of its answer, `None` where there came none.
pub fn status_if_there(address: SocketAddr, method: &str, target: &str, body: &[u8]) -> Option<u16> {
    let mut conn = Conn::over(TcpStream::connect(address).ok()?);
    let head = request_head(method, target, &[("Connection", "close")], body.len());
    conn.stream.write_all(&[head.as_bytes(), body].concat()).ok()?;
    conn.try_head().map(|head| head.status())
}
