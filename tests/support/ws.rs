//! WebSockets for tests: a raw one, either side's, whose every byte the test sees and that follows a script, and tungstenite's client.
//!
//! A script is lines of `send` and `expect`: `send text hello`, `expect close 1000 bye`, `send ping x`, `expect binary 0001ff` (hex), `drop`.

use std::net::{SocketAddr, TcpStream};

use tungstenite::client::IntoClientRequest;
use tungstenite::protocol::WebSocket;
use tungstenite::{Message, handshake::client::Response};

use super::http::{Answer, Conn, Head, request_head};
use super::wait::DEADLINE;

/// Opcodes of RFC 6455 §5.2.
pub const TEXT: u8 = 1;
/// A binary frame.
pub const BINARY: u8 = 2;
/// A close frame.
pub const CLOSE: u8 = 8;
/// A ping.
pub const PING: u8 = 9;
/// A pong.
pub const PONG: u8 = 10;
/// The mask of every frame that a raw client sends, so that its bytes can be compared.
pub const MASK: [u8; 4] = [0x11, 0x22, 0x33, 0x44];

/// One frame as it stood on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// FIN, reserved bits and opcode.
    pub first: u8,
    /// Its mask.
    pub mask: Option<[u8; 4]>,
    /// Its payload, unmasked.
    pub payload: Vec<u8>,
    /// All its bytes.
    pub bytes: Vec<u8>,
}

impl Frame {
    /// The opcode.
    pub fn opcode(&self) -> u8 {
        self.first & 0x0f
    }

    /// The payload as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.payload).into_owned()
    }

    /// What a script would call it: `text hello`, `close 1000 bye`.
    pub fn words(&self) -> String {
        match self.opcode() {
            TEXT => format!("text {}", self.text()),
            BINARY => format!("binary {}", hex(&self.payload)),
            PING => format!("ping {}", self.text()),
            PONG => format!("pong {}", self.text()),
            CLOSE if self.payload.len() < 2 => "close".to_owned(),
            CLOSE => {
                let code = u16::from_be_bytes([self.payload[0], self.payload[1]]);
                format!("close {code} {}", String::from_utf8_lossy(&self.payload[2..])).trim_end().to_owned()
            }
            other => format!("opcode {other} {}", self.text()),
        }
    }
}

/// The bytes of a frame.
pub fn frame(first: u8, mask: Option<[u8; 4]>, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let flag = if mask.is_some() { 0x80 } else { 0 };
    match payload.len() {
        length @ 0..=125 => bytes.push(flag | length as u8),
        length @ 126..=0xffff => {
            bytes.push(flag | 126);
            bytes.extend((length as u16).to_be_bytes());
        }
        length => {
            bytes.push(flag | 127);
            bytes.extend((length as u64).to_be_bytes());
        }
    }
    let mask = mask.inspect(|mask| bytes.extend(mask)).unwrap_or([0; 4]);
    bytes.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    bytes
}

/// The payload of a close frame.
pub fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes()[..], reason.as_bytes()].concat()
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The bytes of hexadecimal digits.
pub fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[at * 2..at * 2 + 2], 16).expect("hexadecimal digits")).collect()
}

/// A WebSocket on the level of frames.
#[derive(Debug)]
pub struct Raw {
    /// The connection.
    pub conn: Conn,
    /// The handshake that the other side sent.
    pub head: Head,
    mask: Option<[u8; 4]>,
}

impl Raw {
    /// Opens a client; the answer where it was refused.
    #[track_caller]
    pub fn try_open(address: SocketAddr, path: &str, fields: &[(&str, &str)]) -> Result<Self, Answer> {
        let mut conn = Conn::open(address);
        conn.send(request_head("GET", path, &[HANDSHAKE, fields].concat(), 0));
        let answer = conn.answer("GET");
        if answer.status() != 101 {
            return Err(answer);
        }
        assert_eq!(answer.head.field("sec-websocket-accept"), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{:?}", answer.head);
        Ok(Self { conn, head: answer.head, mask: Some(MASK) })
    }

    /// Opens a client of a server that may go away at any moment: `None` where it has.
    pub fn open_if_there(address: SocketAddr, path: &str) -> Option<Self> {
        let mut conn = Conn::over(TcpStream::connect(address).ok()?);
        std::io::Write::write_all(&mut conn.stream, request_head("GET", path, HANDSHAKE, 0).as_bytes()).ok()?;
        let head = conn.try_head().filter(|head| head.status() == 101)?;
        Some(Self { conn, head, mask: Some(MASK) })
    }

    /// Opens a client.
    #[track_caller]
    pub fn open(address: SocketAddr, path: &str) -> Self {
        Self::open_with(address, path, &[])
    }

    /// Opens a client with further fields in its handshake.
    #[track_caller]
    pub fn open_with(address: SocketAddr, path: &str, fields: &[(&str, &str)]) -> Self {
        Self::try_open(address, path, fields).unwrap_or_else(|answer| panic!("refused: {:?} {}", answer.head, answer.text()))
    }

    /// Accepts a client whose request has been read.
    pub fn accept(mut conn: Conn, head: Head, subprotocol: Option<&str>) -> Self {
        let key = head.field("sec-websocket-key").expect("a key in the handshake");
        let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
        let mut answer =
            format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n");
        if let Some(subprotocol) = subprotocol {
            answer.push_str(&format!("Sec-WebSocket-Protocol: {subprotocol}\r\n"));
        }
        conn.send(answer + "\r\n");
        Self { conn, head, mask: None }
    }

    /// Sends one final frame.
    #[track_caller]
    pub fn send(&mut self, opcode: u8, payload: impl AsRef<[u8]>) {
        self.conn.send(frame(0x80 | opcode, self.mask, payload.as_ref()));
    }

    /// The next frame; `None` where TCP ends first.
    #[track_caller]
    pub fn try_frame(&mut self) -> Option<Frame> {
        let mut bytes = self.conn.try_exact(2)?;
        let length = match bytes[1] & 0x7f {
            126 => take(&mut self.conn, &mut bytes, 2)?,
            127 => take(&mut self.conn, &mut bytes, 8)?,
            short => u64::from(short),
        };
        let mask = if bytes[1] & 0x80 == 0 {
            None
        } else {
            let mask = self.conn.try_exact(4)?;
            bytes.extend(&mask);
            Some([mask[0], mask[1], mask[2], mask[3]])
        };
        let masked = self.conn.try_exact(usize::try_from(length).expect("a length that fits"))?;
        bytes.extend(&masked);
        let key = mask.unwrap_or([0; 4]);
        let payload = masked.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key).collect();
        Some(Frame { first: bytes[0], mask, payload, bytes })
    }

    /// The next frame.
    #[track_caller]
    pub fn frame(&mut self) -> Frame {
        self.try_frame().expect("a frame before the connection ends")
    }

    /// Checks that TCP ends here, without a further byte.
    #[track_caller]
    pub fn expect_end(&mut self) {
        let rest = self.conn.read_to_end();
        assert!(rest.is_empty(), "further bytes: {rest:02x?}");
    }

    /// Every frame up to the end of TCP, in a script's words.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.try_frame()).map(|frame| frame.words()).collect()
    }

    /// The next `count` frames in a script's words.
    #[track_caller]
    pub fn words(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.frame().words()).collect()
    }

    /// Closes with a code and waits for the answer and the end of TCP.
    #[track_caller]
    pub fn close(&mut self, code: u16, reason: &str) {
        self.send(CLOSE, close_payload(code, reason));
        while self.try_frame().is_some_and(|frame| frame.opcode() != CLOSE) {}
    }

    /// Follows a script.
    #[track_caller]
    pub fn run(&mut self, script: &str) {
        for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (verb, words) = line.split_once(' ').unwrap_or((line, ""));
            match verb {
                "send" => self.send_words(words),
                "expect" => assert_eq!(self.frame().words(), words, "in the script's line {line:?}"),
                "drop" => self.conn.stream.shutdown(std::net::Shutdown::Both).expect("the connection is open"),
                "end" => self.expect_end(),
                other => panic!("no such verb: {other}"),
            }
        }
    }

    #[track_caller]
    fn send_words(&mut self, words: &str) {
        let (kind, rest) = words.split_once(' ').unwrap_or((words, ""));
        match kind {
            "text" => self.send(TEXT, rest),
            "binary" => self.send(BINARY, unhex(rest)),
            "ping" => self.send(PING, rest),
            "pong" => self.send(PONG, rest),
            "close" if rest.is_empty() => self.send(CLOSE, ""),
            "close" => {
                let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
                self.send(CLOSE, close_payload(code.parse().expect("a close code"), reason));
            }
            other => panic!("no such frame: {other}"),
        }
    }
}

/// The handshake's own fields; the key is the one of RFC 6455 §1.3.
pub const HANDSHAKE: &[(&str, &str)] = &[
    ("Connection", "Upgrade"),
    ("Upgrade", "websocket"),
    ("Sec-WebSocket-Version", "13"),
    ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
];

#[track_caller]
fn take(conn: &mut Conn, bytes: &mut Vec<u8>, count: usize) -> Option<u64> {
    let more = conn.try_exact(count)?;
    bytes.extend(&more);
    Some(more.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}

/// tungstenite's client: it answers pings and closes by itself, as real clients do.
#[derive(Debug)]
pub struct Client {
    /// The socket.
    pub socket: WebSocket<TcpStream>,
    /// The answer to the handshake.
    pub response: Response,
}

impl Client {
    /// Connects.
    #[track_caller]
    pub fn open(address: SocketAddr, path: &str) -> Self {
        Self::open_with(address, path, None)
    }

    /// Connects and offers subprotocols.
    #[track_caller]
    pub fn open_with(address: SocketAddr, path: &str, subprotocols: Option<&str>) -> Self {
        let mut request = format!("ws://{address}{path}").into_client_request().expect("a request");
        if let Some(subprotocols) = subprotocols {
            request.headers_mut().insert("Sec-WebSocket-Protocol", subprotocols.parse().expect("a field's value"));
        }
        let stream = Conn::open(address).stream;
        let (socket, response) = tungstenite::client(request, stream).unwrap_or_else(|error| panic!("no WebSocket at {path}: {error}"));
        Self { socket, response }
    }

    /// Sends a text.
    #[track_caller]
    pub fn text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).expect("the server takes a text");
    }

    /// The next message, control frames included, in a script's words; `gone` where TCP ended without a close frame.
    #[track_caller]
    pub fn next(&mut self) -> String {
        match self.socket.read() {
            Ok(Message::Text(text)) => format!("text {text}"),
            Ok(Message::Binary(bytes)) => format!("binary {}", hex(&bytes)),
            Ok(Message::Ping(bytes)) => format!("ping {}", String::from_utf8_lossy(&bytes)),
            Ok(Message::Pong(bytes)) => format!("pong {}", String::from_utf8_lossy(&bytes)),
            Ok(Message::Close(None)) => "close".to_owned(),
            Ok(Message::Close(Some(frame))) => format!("close {} {}", u16::from(frame.code), frame.reason).trim_end().to_owned(),
            Ok(Message::Frame(_)) => unreachable!("tungstenite gives no raw frame when it reads"),
            Err(tungstenite::Error::Io(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("waited {DEADLINE:?} in vain for a message")
            }
            Err(_) => "gone".to_owned(),
        }
    }

    /// The next `count` messages.
    #[track_caller]
    pub fn take(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.next()).collect()
    }

    /// All messages up to the end; the last is `close …` or `gone`.
    #[track_caller]
    pub fn rest(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            all.push(self.next());
            if all.last().is_some_and(|words| words.starts_with("close") || words == "gone") {
                return all;
            }
        }
    }
}
