//! A small HTTP/1.1 client for a server's admin port: calls with a JSON answer, and answers that stream. It knows no endpoint.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::base::error::{Error, Result};
use crate::base::{limits, text};
use crate::wire::body::BodyReader;
use crate::wire::head::{Headers, RequestHead, ResponseHead};
use crate::wire::stream::{Stream, Wait};
use crate::wire::tls::TlsSettings;
use crate::wire::url::UpstreamUrl;

/// How long a server may take to accept a connection, and to take a request.
const CONNECT_LIMIT: Duration = Duration::from_millis(limits::CONNECT_TIMEOUT_MS);

/// The client of one server.
#[derive(Debug)]
pub struct Client {
    url: UpstreamUrl,
    shown: String,
    token: Option<String>,
}

/// A whole answer; its status is one of success.
#[derive(Debug)]
pub struct Answer {
    body: Vec<u8>,
}

impl Client {
    /// A client of the server at `url`. It connects with each call.
    ///
    /// # Errors
    /// [`Error::Usage`] for what is no URL.
    pub fn new(url: &str, token: Option<String>) -> Result<Self> {
        let parsed = UpstreamUrl::parse("the server's URL", url).map_err(|error| {
            Error::Usage(format!("{error}; give one such as http://localhost:{} with --admin-url or MOCKD_ADMIN_URL", limits::ADMIN_PORT))
        })?;
        if token.as_ref().is_some_and(|token| token.chars().any(|c| c.is_control())) {
            return Err(Error::Usage("the admin token has a control character in it, which no header can carry".to_owned()));
        }
        Ok(Self { url: parsed, shown: url.to_owned(), token })
    }

    /// Makes a call and waits for its answer, however long that takes.
    ///
    /// # Errors
    /// [`Error::Unreachable`], or [`Error::Server`] with what the server says.
    pub fn call(&self, method: &str, target: &str, body: Option<&Value>) -> Result<Answer> {
        let mut exchange = self.send(method, target, body)?;
        let mut collected = Vec::new();
        while let Some(piece) = exchange.next_piece()? {
            collected.extend_from_slice(&piece);
            if collected.len() > limits::MAX_ANSWER_BYTES {
                return Err(Error::TooLarge { what: "answer of the server", limit: limits::MAX_ANSWER_BYTES as u64 });
            }
        }
        if exchange.is_success() { Ok(Answer { body: collected }) } else { Err(refusal(exchange.head.status, &collected, &self.shown)) }
    }

    /// Makes a GET call and hands over the answer's bytes as they come, until it ends or `sink` wants no more.
    ///
    /// # Errors
    /// As [`Client::call`], and those of `sink`.
    pub fn follow(&self, target: &str, sink: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        let mut exchange = self.send("GET", target, None)?;
        if !exchange.is_success() {
            let mut collected = Vec::new();
            while let Some(piece) = exchange.next_piece()?.filter(|_| collected.len() < limits::MAX_ANSWER_BYTES) {
                collected.extend_from_slice(&piece);
            }
            return Err(refusal(exchange.head.status, &collected, &self.shown));
        }
        while let Some(piece) = exchange.next_piece()? {
            sink(&piece)?;
        }
        Ok(())
    }

    fn send(&self, method: &str, target: &str, body: Option<&Value>) -> Result<Exchange<'_>> {
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut headers = Headers::default();
        headers.push("Host", self.url.authority());
        headers.push("Accept", "application/json, text/event-stream");
        headers.push("User-Agent", concat!("mockd/", env!("CARGO_PKG_VERSION")));
        headers.push("Connection", "close");
        if let Some(token) = &self.token {
            headers.push("Authorization", format!("Bearer {token}"));
        }
        if method != "GET" {
            headers.push("Content-Type", "application/json");
            headers.push("Content-Length", body.len().to_string());
        }
        let target = format!("{}{target}", self.url.path_prefix);
        let mut bytes = Vec::with_capacity(512 + body.len());
        RequestHead { method: method.to_owned(), target, minor_version: 1, headers }.write(&mut bytes);
        bytes.extend_from_slice(body.as_bytes());
        let stream = self.connect()?;
        let sent = stream.write_all(&bytes, Wait::Limit(CONNECT_LIMIT));
        // A server that refuses early may have closed already; its answer is still worth reading.
        let mut exchange =
            Exchange { stream, shown: &self.shown, buffer: Vec::new(), head: ResponseHead::new(200), body: None, ended: false };
        match (exchange.read_head(method), sent) {
            (Ok(()), _) => Ok(exchange),
            (Err(_), Err(error)) => Err(unreachable(&self.shown, &error.to_string())),
            (Err(error), Ok(())) => Err(error),
        }
    }

    fn connect(&self) -> Result<Stream> {
        let mut last = "the name has no address".to_owned();
        for address in self.addresses()? {
            match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
                Ok(tcp) if self.url.tls => {
                    let stream = TlsSettings::new(None, false)?.connect(&self.url.host, tcp, CONNECT_LIMIT)?;
                    return Ok(Stream::Tls(Box::new(stream)));
                }
                Ok(tcp) => {
                    tcp.set_nodelay(true).map_err(|error| unreachable(&self.shown, &error.to_string()))?;
                    return Ok(Stream::Tcp(tcp));
                }
                Err(error) => last = error.to_string(),
            }
        }
        Err(unreachable(&self.shown, &last))
    }

    /// The addresses of the host. `localhost` is loopback, also where no /etc/hosts says so.
    fn addresses(&self) -> Result<Vec<SocketAddr>> {
        let (host, port) = (self.url.host.as_str(), self.url.port);
        if host.eq_ignore_ascii_case("localhost") {
            let loopback = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
            return Ok(loopback.map(|address| SocketAddr::new(address, port)).to_vec());
        }
        let found = (host, port).to_socket_addrs().map_err(|error| unreachable(&self.shown, &error.to_string()))?;
        Ok(found.collect())
    }
}

impl Answer {
    /// The body as text, without blanks at its ends.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.body.trim_ascii()).into_owned()
    }

    /// The body as a value.
    ///
    /// # Errors
    /// [`Error::Failed`] for what this version does not understand.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Error::Failed(format!("the answer of the server is not what this version of mockd expects: {error}")))
    }
}

/// One request that was sent, and its answer as it is read.
struct Exchange<'a> {
    stream: Stream,
    shown: &'a str,
    buffer: Vec<u8>,
    head: ResponseHead,
    body: Option<BodyReader>,
    ended: bool,
}

impl Exchange<'_> {
    fn is_success(&self) -> bool {
        (200..300).contains(&self.head.status)
    }

    fn read_head(&mut self, method: &str) -> Result<()> {
        loop {
            match ResponseHead::parse(&self.buffer).map_err(|malformed| self.stranger(&malformed.message))? {
                Some((head, length)) => {
                    self.buffer.drain(..length);
                    if (100..200).contains(&head.status) {
                        continue;
                    }
                    let framing = head.framing(method).map_err(|malformed| self.stranger(&malformed.message))?;
                    self.body = Some(BodyReader::new(framing));
                    self.head = head;
                    return Ok(());
                }
                None if self.buffer.len() as u64 > limits::MAX_HEAD_BYTES => return Err(self.stranger("its head is too large")),
                None => {
                    if self.read()? == 0 {
                        return Err(unreachable(self.shown, "it closed the connection without an answer"));
                    }
                }
            }
        }
    }

    /// The next bytes of the body; `None` at its end.
    fn next_piece(&mut self) -> Result<Option<Vec<u8>>> {
        loop {
            let mut collected = Vec::new();
            let Some(reader) = self.body.as_mut() else { return Ok(None) };
            let mut used = 0;
            let mut broken = None;
            while !reader.is_done() && used < self.buffer.len() {
                match reader.next(&self.buffer[used..]) {
                    Ok(piece) => {
                        collected.extend_from_slice(piece.data);
                        used += piece.consumed;
                        if piece.consumed == 0 {
                            break;
                        }
                    }
                    Err(malformed) => {
                        broken = Some(malformed.message);
                        break;
                    }
                }
            }
            let done = reader.is_done();
            self.buffer.drain(..used);
            if let Some(message) = broken {
                return Err(self.stranger(&message));
            }
            if !collected.is_empty() {
                return Ok(Some(collected));
            }
            if done || self.ended {
                return Ok(None);
            }
            if self.read()? == 0 {
                self.ended = true;
                // Without a length the end of the connection is the end of the body.
                if self.head.headers.get("Content-Length").is_some() || self.head.headers.has_token("Transfer-Encoding", "chunked") {
                    return Err(Error::Unreachable(format!("the server at {} went away in the middle of its answer", self.shown)));
                }
            }
        }
    }

    fn read(&mut self) -> Result<usize> {
        let mut chunk = [0; limits::READ_BYTES];
        loop {
            match self.stream.read(&mut chunk) {
                Ok(length) => {
                    self.buffer.extend_from_slice(&chunk[..length]);
                    return Ok(length);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(unreachable(self.shown, &error.to_string())),
            }
        }
    }

    fn stranger(&self, what: &str) -> Error {
        Error::Unreachable(format!("what answers at {} is no mockd admin port: {what}; name another with --admin-url", self.shown))
    }
}

fn unreachable(shown: &str, why: &str) -> Error {
    Error::Unreachable(format!("no mockd server answers at {shown} ({why}); start it with `mockd serve`, or name another with --admin-url"))
}

/// The error that an answer without success stands for.
fn refusal(status: u16, body: &[u8], shown: &str) -> Error {
    let value: Value = serde_json::from_slice(body).unwrap_or(Value::Null);
    let field = |name: &str| value.get(name).and_then(Value::as_str).map(str::to_owned);
    match (field("error"), field("message")) {
        (Some(code), Some(message)) => Error::Server { status, code, message },
        _ if status == 408 => {
            let state = field("status").unwrap_or_else(|| "not ready".to_owned());
            Error::TimedOut(format!("what was waited for did not come; the status is {}", text::clean(&state)))
        }
        _ => Error::Unreachable(format!(
            "what answers at {shown} with status {status} is no mockd admin port; name another with --admin-url"
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// A server that takes one request and writes `answer`; it gives the request.
    fn serve_once(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://localhost:{}", listener.local_addr().unwrap().port());
        let thread = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut chunk = [0; 1024];
            while !request.ends_with(b"\r\n\r\n") && !request.ends_with(b"}") {
                let length = socket.read(&mut chunk).unwrap();
                assert!(length > 0);
                request.extend_from_slice(&chunk[..length]);
            }
            socket.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        });
        (url, thread)
    }

    #[test]
    fn a_call_sends_token_and_body_and_reads_chunks() {
        let (url, server) = serve_once(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"a\"\r\n3\r\n:1}\r\n0\r\n\r\n",
        );
        let client = Client::new(&url, Some("secret".to_owned())).unwrap();
        let answer = client.call("POST", "/replay/x/advance", Some(&serde_json::json!({"count": 2}))).unwrap();
        assert_eq!(answer.text(), "{\"a\":1}");
        let request = server.join().unwrap();
        assert!(request.starts_with("POST /replay/x/advance HTTP/1.1\r\nHost: localhost:"), "{request}");
        assert!(request.contains("\r\nAuthorization: Bearer secret\r\n"), "{request}");
        assert!(request.contains("\r\nContent-Length: 11\r\n"), "{request}");
        assert!(request.ends_with("\r\n\r\n{\"count\":2}"), "{request}");
    }

    #[test]
    fn an_answer_ends_with_its_length_or_the_connection() {
        for answer in ["HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.1 200 OK\r\n\r\nok\n", "HTTP/1.0 200 OK\r\n\r\nok"] {
            let (url, server) = serve_once(answer);
            assert_eq!(Client::new(&url, None).unwrap().call("GET", "/", None).unwrap().text(), "ok");
            server.join().unwrap();
        }
        let (url, server) = serve_once("HTTP/1.1 204 No Content\r\n\r\n");
        assert_eq!(Client::new(&url, None).unwrap().call("DELETE", "/replay/x", None).unwrap().text(), "");
        server.join().unwrap();
    }

    #[test]
    fn errors_of_the_server_keep_their_words() {
        let error = |answer| {
            let (url, server) = serve_once(answer);
            let error = Client::new(&url, None).unwrap().call("GET", "/", None).unwrap_err();
            server.join().unwrap();
            error
        };
        assert_eq!(
            error("HTTP/1.1 409 Conflict\r\nContent-Length: 45\r\n\r\n{\"error\":\"replay_ended\",\"message\":\"it ended\"} "),
            Error::Server { status: 409, code: "replay_ended".to_owned(), message: "it ended".to_owned() }
        );
        assert_eq!(
            error("HTTP/1.1 408 Request Timeout\r\nContent-Length: 20\r\n\r\n{\"status\":\"waiting\"}"),
            Error::TimedOut("what was waited for did not come; the status is waiting".to_owned())
        );
        for answer in ["HTTP/1.1 404 Not Found\r\n\r\nnothing here", "SSH-2.0-OpenSSH\r\n\r\n"] {
            assert!(error(answer).to_string().contains("is no mockd admin port"), "{answer}");
        }
        for answer in ["", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"] {
            assert!(matches!(error(answer), Error::Unreachable(_)), "{answer}");
        }
    }

    #[test]
    fn a_server_that_is_not_there_is_told_with_what_to_do() {
        // A port that was free a moment ago.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let error = Client::new(&format!("http://127.0.0.1:{port}"), None).unwrap().call("GET", "/", None).unwrap_err();
        let words = error.to_string();
        assert!(words.starts_with(&format!("no mockd server answers at http://127.0.0.1:{port} (")), "{words}");
        assert!(words.ends_with("start it with `mockd serve`, or name another with --admin-url"), "{words}");
        assert_eq!(error.exit_code(), 1);
    }

    #[test]
    fn a_stream_is_handed_over_as_it_comes() {
        let (url, server) = serve_once("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: 1\n\ndata: 2\n\n");
        let mut seen = Vec::new();
        let client = Client::new(&url, None).unwrap();
        client
            .follow("/stream-recordings/x/frames?follow=true", &mut |bytes| {
                seen.extend_from_slice(bytes);
                Ok(())
            })
            .unwrap();
        assert_eq!(seen, b"data: 1\n\ndata: 2\n\n");
        server.join().unwrap();
    }

    #[test]
    fn what_is_no_url_is_wrong_usage() {
        for url in ["", "localhost:4290", "ftp://x", "http://user:secret@host"] {
            let error = Client::new(url, None).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{url}");
            assert!(!error.to_string().contains("secret"));
        }
        Client::new("http://localhost", Some("a\nb".to_owned())).unwrap_err();
    }
}
