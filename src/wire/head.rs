//! HTTP/1.1 heads (RFC 9112 §2 to §5), names, case, order and bytes of every field kept. It parses and writes; it never reads a socket,
//! and which head gets which answer is not decided here.

use std::mem::MaybeUninit;

use httparse::{Header, ParserConfig, Status};

use super::body::Framing;
pub use super::headers::Headers;
use crate::base::limits::MAX_HEADERS;

/// Why a message is refused, with the status that says so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Malformed {
    /// A client's: 400, 413, 417, 426, 431, 501 or 505. An upstream's: 502.
    pub status: u16,
    /// What is wrong.
    pub message: String,
}

impl Malformed {
    /// A refusal with this status.
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

/// A request's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHead {
    /// As sent.
    pub method: String,
    /// The request target as sent; an absolute form has been cut to path and query, and `Host` is what it named.
    pub target: String,
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub minor_version: u8,
    /// The fields.
    pub headers: Headers,
}

impl RequestHead {
    /// Parses a head from the front of `bytes`: `None` while it is not all there, else the head and its length.
    /// Refuses what smugglers use: bare LF or CR, obs-fold, space before the colon, no `Host` or two in HTTP/1.1. Where the target is a
    /// URL its host takes the place of `Host` (RFC 9112 §3.2.2).
    /// Empty lines before the head are skipped and count in its length (RFC 9112 §2.2).
    ///
    /// # Errors
    /// [`Malformed`] with 400, 431 (more than [`MAX_HEADERS`] fields), 501 (`CONNECT`) or 505.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Malformed> {
        with_room(|fields| Self::parse_into(bytes, fields)).unwrap_or_else(|error| Err(explain_request(error, bytes)))
    }

    fn parse_into<'b>(bytes: &'b [u8], fields: &mut Room<'b>) -> Parsed<Self> {
        let mut request = httparse::Request::new(&mut []);
        let length = match ParserConfig::default().parse_request_with_uninit_headers(&mut request, bytes, fields)? {
            Status::Complete(length) => length,
            // A bare LF is refused as soon as it is seen: a client that writes no CR would wait for ever.
            Status::Partial => return Ok(refuse_bare_lf(bytes).map(|()| None)),
        };
        Ok(Self::of_parsed(&request, &bytes[..length]).map(|head| Some((head, length))))
    }

    fn of_parsed(request: &httparse::Request<'_, '_>, bytes: &[u8]) -> Result<Self, Malformed> {
        refuse_bare_lf(bytes)?;
        let (Some(method), Some(target), Some(minor_version)) = (request.method, request.path, request.version) else {
            return Err(Malformed::new(400, "the request line is incomplete"));
        };
        let mut headers = collect(request.headers);
        check_host(&headers, minor_version)?;
        let (authority, target) = split_target(method, target)?;
        if let Some(authority) = authority {
            // RFC 9112 §3.2.2: what `Host` says counts no more. Who judges by it must see what the target says.
            headers.set("Host", authority);
            check_host(&headers, minor_version)?;
        }
        Ok(Self { method: method.to_owned(), target, minor_version, headers })
    }

    /// How long the body is (RFC 9112 §6.3). Both lengths, two lengths that differ, or a coding other than `chunked` at the end: refused.
    ///
    /// # Errors
    /// [`Malformed`] with 400; 501 for a further coding below `chunked`, which we would have to undo.
    pub fn framing(&self) -> Result<Framing, Malformed> {
        let length = content_length(&self.headers, 400)?;
        match is_chunked(&self.headers, self.minor_version, 400)? {
            true if length.is_some() => Err(Malformed::new(400, "Content-Length and Transfer-Encoding exclude each other")),
            true => Ok(Framing::Chunked),
            false => Ok(length.map_or(Framing::None, Framing::Length)),
        }
    }

    /// Whether the connection stays open after this exchange (RFC 9112 §9.3).
    pub fn keep_alive(&self) -> bool {
        !self.headers.has_token("Connection", "close") && (self.minor_version > 0 || self.headers.has_token("Connection", "keep-alive"))
    }

    /// The path as sent, without the query.
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target.as_str(), |(path, _)| path)
    }

    /// The query as sent, without the `?`.
    pub fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    /// Whether this asks for a WebSocket: GET, `Connection: upgrade`, `Upgrade: websocket`. In HTTP/1.0 nothing can be upgraded.
    pub fn is_websocket_upgrade(&self) -> bool {
        self.method == "GET"
            && self.minor_version > 0
            && self.headers.has_token("Connection", "upgrade")
            && self.headers.has_token("Upgrade", "websocket")
    }

    /// The head's bytes, the empty line included.
    pub fn write(&self, out: &mut Vec<u8>) {
        for part in [self.method.as_str(), " ", &self.target, version(self.minor_version, " HTTP/1.0\r\n", " HTTP/1.1\r\n")] {
            out.extend_from_slice(part.as_bytes());
        }
        self.headers.write(out);
    }
}

/// A response's head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResponseHead {
    /// 0 for HTTP/1.0, 1 for HTTP/1.1.
    pub minor_version: u8,
    /// The status code.
    pub status: u16,
    /// The reason phrase as sent (lossily where it is not UTF-8).
    pub reason: String,
    /// The fields.
    pub headers: Headers,
}

impl ResponseHead {
    /// A head of ours, HTTP/1.1, with the standard reason phrase of `status` and no field.
    pub fn new(status: u16) -> Self {
        Self { minor_version: 1, status, reason: reason(status).to_owned(), headers: Headers::default() }
    }

    /// Parses a head from the front of `bytes`: `None` while it is not all there, else the head and its length. 1xx included.
    /// Bare LF is let through here: what an upstream writes is written anew before it goes on.
    ///
    /// # Errors
    /// [`Malformed`] with 502.
    pub fn parse(bytes: &[u8]) -> Result<Option<(Self, usize)>, Malformed> {
        let malformed = |error| Err(Malformed::new(502, format!("the response head is malformed: {error}")));
        with_room(|fields| Self::parse_into(bytes, fields)).unwrap_or_else(malformed)
    }

    fn parse_into<'b>(bytes: &'b [u8], fields: &mut Room<'b>) -> Parsed<Self> {
        let mut response = httparse::Response::new(&mut []);
        Ok(match ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, fields)? {
            Status::Complete(length) => Self::of_parsed(&response, bytes).map(|head| Some((head, length))),
            Status::Partial => Ok(None),
        })
    }

    fn of_parsed(response: &httparse::Response<'_, '_>, bytes: &[u8]) -> Result<Self, Malformed> {
        let (Some(minor_version), Some(status)) = (response.version, response.code) else {
            return Err(Malformed::new(502, "the status line is incomplete"));
        };
        if status < 100 {
            return Err(Malformed::new(502, format!("{status:03} is no status code")));
        }
        let reason = match response.reason {
            Some(reason) if !reason.is_empty() => reason.to_owned(),
            _ => foreign_reason(bytes),
        };
        Ok(Self { minor_version, status, reason, headers: collect(response.headers) })
    }

    /// How long the body of an answer to `request_method` is (RFC 9112 §6.3).
    ///
    /// # Errors
    /// [`Malformed`] with 502 for what [`RequestHead::framing`] refuses.
    pub fn framing(&self, request_method: &str) -> Result<Framing, Malformed> {
        let tunnel = request_method == "CONNECT" && (200..300).contains(&self.status);
        if request_method == "HEAD" || tunnel || matches!(self.status, 100..=199 | 204 | 304) {
            return Ok(Framing::None);
        }
        let length = content_length(&self.headers, 502)?;
        match is_chunked(&self.headers, self.minor_version, 502)? {
            true if length.is_some() => Err(Malformed::new(502, "Content-Length and Transfer-Encoding exclude each other")),
            true => Ok(Framing::Chunked),
            false => Ok(length.map_or(Framing::UntilClose, Framing::Length)),
        }
    }

    /// Whether `Content-Type` is `text/event-stream`, parameters aside.
    pub fn is_event_stream(&self) -> bool {
        let media_type = self.headers.all("Content-Type").next().and_then(|value| value.split(|&b| b == b';').next());
        media_type.is_some_and(|text| text.trim_ascii().eq_ignore_ascii_case(b"text/event-stream"))
    }

    /// The head's bytes, the empty line included.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(version(self.minor_version, "HTTP/1.0 ", "HTTP/1.1 ").as_bytes());
        out.extend_from_slice(format!("{:03} ", self.status).as_bytes());
        out.extend(self.reason.bytes().map(|b| if b.is_ascii_control() && b != b'\t' { b' ' } else { b }));
        out.extend_from_slice(b"\r\n");
        self.headers.write(out);
    }
}

/// Room for a head's fields.
type Room<'b> = [MaybeUninit<Header<'b>>];

/// A head and its length, or why not; outside, what the parser says of bytes that are no head, or have more fields than it had room for.
type Parsed<T> = Result<Result<Option<(T, usize)>, Malformed>, httparse::Error>;

/// Parses with room for as many fields as most heads have, then with room for [`MAX_HEADERS`]. Those on the stack would keep 128 KiB of
/// every connection's stack in memory.
fn with_room<'b, T>(parse: impl Fn(&mut Room<'b>) -> Parsed<T>) -> Parsed<T> {
    const FEW: usize = 64;
    match parse(&mut [const { MaybeUninit::uninit() }; FEW]) {
        Err(httparse::Error::TooManyHeaders) => parse(&mut vec![MaybeUninit::uninit(); MAX_HEADERS]),
        parsed => parsed,
    }
}

fn version(minor: u8, zero: &'static str, one: &'static str) -> &'static str {
    if minor == 0 { zero } else { one }
}

fn collect(fields: &[Header<'_>]) -> Headers {
    Headers(fields.iter().map(|field| (field.name.to_owned(), field.value.to_vec())).collect())
}

/// A line may end with LF alone for a lenient reader; where two readers differ in that, a request can hide in another.
fn refuse_bare_lf(bytes: &[u8]) -> Result<(), Malformed> {
    let mut before = 0;
    for &byte in bytes {
        if byte == b'\n' && before != b'\r' {
            return Err(Malformed::new(400, "a line of the request head ends without CR"));
        }
        before = byte;
    }
    Ok(())
}

fn explain_request(error: httparse::Error, bytes: &[u8]) -> Malformed {
    let first_line = bytes.trim_ascii_start().split(|&b| b == b'\n').next().unwrap_or_default();
    match error {
        httparse::Error::TooManyHeaders => Malformed::new(431, format!("more than {MAX_HEADERS} header fields")),
        httparse::Error::Version if names_other_version(first_line) => Malformed::new(505, "only HTTP/1.0 and HTTP/1.1 are spoken here"),
        // The first bytes of a TLS handshake record.
        httparse::Error::Token if bytes.starts_with(&[0x16, 0x03]) => {
            Malformed::new(400, "this port speaks plain HTTP; use http:// or ws:// instead of https:// or wss://")
        }
        _ => Malformed::new(400, format!("the request head is malformed: {error}")),
    }
}

/// Whether a request line ends as one of another version does, `HTTP/2.0` say, and is not wrong in other ways.
fn names_other_version(line: &[u8]) -> bool {
    let words: Vec<&[u8]> = line.trim_ascii_end().split(|&b| b == b' ').collect();
    matches!(words.as_slice(), [_, _, [b'H', b'T', b'T', b'P', b'/', major, b'.', minor]] if major.is_ascii_digit() && minor.is_ascii_digit())
}

/// RFC 9112 §3.2: one `Host` in HTTP/1.1, and nowhere two.
fn check_host(headers: &Headers, minor_version: u8) -> Result<(), Malformed> {
    let mut hosts = headers.all("Host");
    match (hosts.next(), hosts.next()) {
        (None, _) if minor_version > 0 => Err(Malformed::new(400, "the request has no Host field")),
        (_, Some(_)) => Err(Malformed::new(400, "the request has more than one Host field")),
        (Some(host), None) if !host.iter().all(|b| b.is_ascii_alphanumeric() || b"-._~!$&'()*+;=%:[]".contains(b)) => {
            Err(Malformed::new(400, "the Host field is no host name"))
        }
        _ => Ok(()),
    }
}

/// The target in origin form, and the authority that an absolute form had before it (RFC 9112 §3.2); `*` stays for OPTIONS.
fn split_target<'a>(method: &str, target: &'a str) -> Result<(Option<&'a str>, String), Malformed> {
    if !target.is_ascii() {
        return Err(Malformed::new(400, "the request target has bytes that are not ASCII; percent-encode them"));
    }
    // One reader ends the path there, another takes it for a character of it.
    if target.contains('#') {
        return Err(Malformed::new(400, "the request target has a fragment; leave out the # and what follows, or write %23"));
    }
    if method == "CONNECT" {
        return Err(Malformed::new(501, "this is no proxy for CONNECT"));
    }
    if target.starts_with('/') || (target == "*" && method == "OPTIONS") {
        return Ok((None, target.to_owned()));
    }
    let absolute = target
        .split_once("://")
        .filter(|(scheme, _)| ["http", "https", "ws", "wss"].iter().any(|known| scheme.eq_ignore_ascii_case(known)));
    let Some((_, rest)) = absolute else {
        return Err(Malformed::new(400, "the request target is neither a path nor a URL"));
    };
    let (authority, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if authority.is_empty() {
        return Err(Malformed::new(400, "the request target is a URL without a host"));
    }
    let target = match rest.as_bytes().first() {
        Some(b'/') => rest.to_owned(),
        Some(_) => format!("/{rest}"),
        None if method == "OPTIONS" => "*".to_owned(),
        None => "/".to_owned(),
    };
    Ok((Some(authority), target))
}

/// The one length that all `Content-Length` fields and list members agree on.
fn content_length(headers: &Headers, status: u16) -> Result<Option<u64>, Malformed> {
    let mut length = None;
    for value in headers.all("Content-Length") {
        for member in value.split(|&b| b == b',') {
            let digits = std::str::from_utf8(member.trim_ascii()).unwrap_or_default();
            // `parse` alone would take a plus sign.
            let number = digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse::<u64>().ok()).flatten();
            match (number, length) {
                (None, _) => return Err(Malformed::new(status, "Content-Length is no number of bytes")),
                (Some(new), Some(old)) if new != old => return Err(Malformed::new(status, "two values of Content-Length differ")),
                (Some(new), _) => length = Some(new),
            }
        }
    }
    Ok(length)
}

/// Whether the body is chunked, and nothing but that: we never asked for another coding with `TE`.
fn is_chunked(headers: &Headers, minor_version: u8, status: u16) -> Result<bool, Malformed> {
    if headers.all("Transfer-Encoding").next().is_none() {
        return Ok(false);
    }
    if minor_version == 0 {
        return Err(Malformed::new(status, "HTTP/1.0 has no Transfer-Encoding"));
    }
    let codings: Vec<&[u8]> = headers.list("Transfer-Encoding").collect();
    let count = codings.iter().filter(|coding| coding.eq_ignore_ascii_case(b"chunked")).count();
    match codings.last() {
        Some(last) if last.eq_ignore_ascii_case(b"chunked") && count == 1 => {
            if codings.len() == 1 {
                return Ok(true);
            }
            let status = if status == 400 { 501 } else { status };
            Err(Malformed::new(status, "Transfer-Encoding has a coding other than chunked"))
        }
        _ => Err(Malformed::new(status, "Transfer-Encoding does not end with one chunked")),
    }
}

/// The reason phrase of a head that parses; httparse gives none for bytes beyond ASCII.
fn foreign_reason(bytes: &[u8]) -> String {
    let line = bytes.trim_ascii_start().split(|&b| b == b'\n').next().unwrap_or_default();
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    String::from_utf8_lossy(line.get("HTTP/1.1 200 ".len()..).unwrap_or_default()).into_owned()
}

/// The standard reason phrases (RFC 9110 §15) of what is answered here; any other status goes without one.
fn reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        418 => "I'm a teapot",
        422 => "Unprocessable Content",
        426 => "Upgrade Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        _ => "",
    }
}

#[cfg(test)]
#[path = "head_tests.rs"]
mod tests;
