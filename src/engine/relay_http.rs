//! The HTTP relay: one request to an upstream and its response back, bytes passed on as they arrive. A response that is an
//! event stream may be recorded; any other passes unrecorded. WebSockets go to `relay_ws` once their handshake is through.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::flow::send_recorded;
use super::inlet::{Filled, Inlet};
use super::live::{Live, Running};
use super::recordings::Recordings;
use super::tape::{End, Tape};
use super::upload::{self, Capture, Pump, Pumped};
use crate::base::error::{Error, Result};
use crate::base::time::{self, Origin};
use crate::base::{limits, platform, sync};
use crate::model::pairs::Pairs;
use crate::model::recording::{Direction, Metadata, Protocol, SseRequest, StreamHead, encode};
use crate::wire::body::{self, BodyReader, Framing};
use crate::wire::head::{Headers, RequestHead, ResponseHead};
use crate::wire::stream::{Stream, Wait, has_stalled};

/// Whether the client's connection can carry another request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum After {
    /// It can.
    KeepAlive,
    /// It is to be closed.
    Close,
    /// It is to be reset: the end of a body that has no other mark than the end of the connection would pass for the whole of it.
    Reset,
}

/// What an exchange needs beside its two connections.
#[derive(Debug)]
pub struct Exchange<'a> {
    /// The running streams.
    pub live: &'a Live,
    /// Where an event stream is recorded, with what is known of the connection; `None`: not at all.
    pub record: Option<(&'a Recordings, Box<Metadata>)>,
    /// When the request had been read.
    pub origin: Origin,
    /// Bytes of a request body that a recording keeps.
    pub max_request_body_bytes: u64,
    /// Bytes of a response head.
    pub max_head_bytes: u64,
    /// The client has been told to go on with its body; `false` at first.
    pub continued: bool,
    /// The request's body goes out in chunks of ours, whatever its framing was.
    pub in_chunks: bool,
    /// How long the client may send no byte of its request's body, or take none of the response; `None`: that is the endpoints' matter.
    pub patience: Option<Patience>,
}

/// What is borne of a client.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Time without a byte of its request's body.
    pub body: Duration,
    /// Time in which it takes no byte of the response.
    pub stall: Duration,
}

/// How a response's body goes to the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pass {
    /// The very bytes, framing included.
    Raw,
    /// The data, up to the end of the connection.
    Data,
    /// The data in chunks of ours.
    Chunks,
}

/// The head as it goes to the upstream: the same fields in the same order and case, less what ends here.
pub fn upstream_head(head: &RequestHead, target: String, authority: Option<&str>, origin: Option<&str>, kept: &[&str]) -> RequestHead {
    let mut headers = head.headers.end_to_end(kept);
    for name in ["Accept-Encoding", "Sec-WebSocket-Extensions", "X-Mockd-Replay"] {
        headers.remove(name);
    }
    if let Some(authority) = authority {
        headers.set("Host", authority);
    }
    if let Some(origin) = origin {
        headers.set("Origin", origin);
    }
    if let Ok(framing) = head.framing() {
        say_length_once(&mut headers, framing);
    }
    RequestHead { method: head.method.clone(), target, minor_version: 1, headers }
}

/// Says a length that stood there twice, or with zeros in front, as every reader reads it (RFC 9112 §6.3).
fn say_length_once(headers: &mut Headers, framing: Framing) {
    if let Framing::Length(length) = framing {
        headers.set("Content-Length", length.to_string());
    }
}

impl Exchange<'_> {
    /// Sends the request that `head` began to `upstream` as `outgoing` and relays the response.
    ///
    /// # Errors
    /// What is wrong with the request or the upstream, while nothing has been sent to the client yet.
    pub fn run(&mut self, client: &mut Inlet, head: &RequestHead, outgoing: &RequestHead, upstream: Stream) -> Result<After> {
        let framing = head.framing().map_err(|malformed| Error::invalid("", malformed.message))?;
        let upstream = Arc::new(upstream);
        let mut bytes = Vec::with_capacity(1024);
        outgoing.write(&mut bytes);
        let stall = self.live.stall;
        upstream.write_all(&bytes, Wait::Relay { source: &client.stream, stall }).map_err(|error| upload::failed(&error, stall))?;
        let limit = if self.record.is_some() { usize::try_from(self.max_request_body_bytes).unwrap_or(usize::MAX) } else { 0 };
        let whole = matches!(framing, Framing::None | Framing::Length(0));
        let capture = Mutex::new(Capture { limit, whole_us: whole.then_some(self.origin.mono_us), ..Capture::default() });
        let stream = Arc::clone(&client.stream);
        let expects = head.headers.has_token("Expect", "100-continue");
        // Not every upstream answers an expectation, and a client that waits for an answer would wait in vain.
        // Told to go on by us, it does; the upstream's own word is left out then.
        if client.say_continue(head).is_err() {
            return Ok(After::Close);
        }
        self.continued = client.continued;
        let pump = Pump { framing, in_chunks: self.in_chunks, patience: self.patience.map(|patience| patience.body), stall };
        match framing {
            Framing::None => Ok(self.relay_response(&stream, head, &upstream, &capture)?.unwrap_or(After::Close)),
            // A short body that is here goes out before the response is waited for; no second thread.
            Framing::Length(length) if !expects && client.gather(length) => match pump.run(client, &upstream, &capture) {
                Pumped::Whole => Ok(self.relay_response(&stream, head, &upstream, &capture)?.unwrap_or(After::Close)),
                Pumped::BrokeOff(message) | Pumped::Malformed(message) => Err(Error::invalid("", message)),
                Pumped::Late(late) => Err(late),
                Pumped::ClientGone => Ok(After::Close),
            },
            _ => std::thread::scope(|scope| {
                let (up, kept) = (&upstream, &capture);
                let (tell, told) = channel();
                // The receiver outlives the thread.
                let pump = move || drop(tell.send(pump.run(client, up, kept)));
                let thread = std::thread::Builder::new().name("request body".to_owned()).stack_size(limits::STACK_BYTES);
                thread
                    .spawn_scoped(scope, pump)
                    .map_err(|error| Error::TooMany(format!("the system gives no further thread for a request body: {error}")))?;
                let after = self.relay_response(&stream, head, &upstream, &capture);
                let whole = sync::lock(&capture).whole_us.is_some();
                if !whole {
                    // The response is through before the body, whose rest nobody wants. It is read all the same, for a second:
                    // a close with unread bytes would be a reset, which overtakes the response.
                    upstream.shutdown();
                    if matches!(after, Ok(Some(_))) {
                        stream.shutdown_write();
                    }
                }
                let pumped = told.recv_timeout(Duration::from_millis(limits::CLOSE_GRACE_MS));
                match (pumped, after) {
                    (Ok(Pumped::Whole), after) if whole => Ok(after?.unwrap_or(After::Close)),
                    // Nothing has been sent to the client. One that has only ended its sending half takes the answer; to one that
                    // has gone it does no harm.
                    (Ok(Pumped::BrokeOff(message)), Err(_) | Ok(None)) | (Ok(Pumped::Malformed(message)), Err(_)) => {
                        Err(Error::invalid("", message))
                    }
                    (Ok(Pumped::Late(late)), Err(_)) => Err(late),
                    (pumped, after) => {
                        if pumped.is_err() {
                            upstream.shutdown();
                            stream.shutdown_read();
                        }
                        after.map(|after| if after == Some(After::Reset) { After::Reset } else { After::Close })
                    }
                }
            }),
        }
    }

    /// Reads the response's heads and relays the last one with its body. `None`: the client left before there was one.
    fn relay_response(
        &mut self,
        client: &Arc<Stream>,
        head: &RequestHead,
        upstream: &Arc<Stream>,
        capture: &Mutex<Capture>,
    ) -> Result<Option<After>> {
        let mut inlet = Inlet::new(Arc::clone(upstream));
        let whole_us = || sync::lock(capture).whole_us;
        let response = loop {
            let Some(response) = inlet.read_response(client, Some(&whole_us), self.max_head_bytes, None)? else {
                return Ok(None);
            };
            match response.status {
                101 => return Err(Error::BadGateway("the upstream switched protocols although nobody asked for it".to_owned())),
                100 if self.continued => {}
                100..200 if head.minor_version == 1 => {
                    let mut bytes = Vec::new();
                    let mut headers = response.headers.end_to_end(&[]);
                    // An interim response has no body and must not say how long it is (RFC 9110 §8.6).
                    headers.remove("Content-Length");
                    ResponseHead { headers, ..response }.write(&mut bytes);
                    if client.write_all(&bytes, self.wait(upstream)).is_err() {
                        return Ok(Some(After::Close));
                    }
                }
                100..200 => {}
                _ => break response,
            }
        };
        self.relay_final(client, head, inlet, response, capture).map(Some)
    }

    /// Relays a response whose head has been read.
    ///
    /// # Errors
    /// Its framing is malformed.
    pub fn relay_final_of(&mut self, client: &Arc<Stream>, head: &RequestHead, inlet: Inlet, response: ResponseHead) -> Result<After> {
        self.relay_final(client, head, inlet, response, &Mutex::default())
    }

    fn relay_final(
        &mut self,
        client: &Arc<Stream>,
        head: &RequestHead,
        mut inlet: Inlet,
        response: ResponseHead,
        capture: &Mutex<Capture>,
    ) -> Result<After> {
        let framing = response.framing(&head.method).map_err(|malformed| Error::BadGateway(malformed.message))?;
        let is_stream = response.is_event_stream() && framing != Framing::None;
        let head_us = time::now_us();
        let pass = match (framing, head.minor_version) {
            (Framing::Chunked, 0) => Pass::Data,
            (Framing::Chunked | Framing::UntilClose, 1) if is_stream => Pass::Chunks,
            _ => Pass::Raw,
        };
        let keeps =
            head.keep_alive() && head.minor_version == 1 && pass != Pass::Data && (pass, framing) != (Pass::Raw, Framing::UntilClose);
        let kept: &[&str] = if pass == Pass::Raw { &["Transfer-Encoding"] } else { &[] };
        let mut headers = response.headers.end_to_end(kept);
        say_length_once(&mut headers, framing);
        if framing == Framing::None {
            forget_body(&mut headers, response.status);
        }
        if pass != Pass::Raw {
            // Trailers go with the upstream's own chunks.
            headers.remove("Trailer");
        }
        if pass == Pass::Chunks {
            headers.set("Transfer-Encoding", "chunked");
        }
        if !keeps {
            headers.set("Connection", "close");
        }
        let mut bytes = Vec::with_capacity(1024);
        ResponseHead { minor_version: 1, headers, status: response.status, reason: response.reason.clone() }.write(&mut bytes);
        let tape = if is_stream { self.begin_recording(head, &response, head_us, capture) } else { None };
        let _ending = Ending(tape.as_deref());
        let half_closed = platform::has_half_closed(client.fd());
        let _entry = self.live.enter(Running::Response(Arc::clone(&inlet.stream)));
        let source = Arc::clone(&inlet.stream);
        let wait = self.wait(&source);
        if client.write_all(&bytes, wait).is_err() {
            end_tape(tape.as_deref(), Direction::ClientToServer);
            return Ok(After::Close);
        }
        // Who leaves an event stream is found out at once, and not by the next event; who had closed its sending half before waits for it.
        let watched = is_stream && !half_closed;
        let ended = relay_body(client, &mut inlet, framing, Passing { pass, watched, wait }, tape.as_deref());
        match ended {
            BodyEnd::Complete => {}
            // The server ends: what it cut off at the upstream ends properly for the client.
            BodyEnd::Broken if self.live.is_ending() && pass == Pass::Chunks => {
                if let Err(error) = client.write_all(body::LAST_CHUNK, wait) {
                    log::debug!("an event stream could not be ended: {error}");
                }
            }
            BodyEnd::Broken | BodyEnd::GivenUp | BodyEnd::ClientGone => {}
        }
        let side = if ended == BodyEnd::ClientGone { Direction::ClientToServer } else { Direction::ServerToClient };
        end_tape(tape.as_deref(), side);
        Ok(match ended {
            BodyEnd::Complete if keeps => After::KeepAlive,
            // The end of the server ends an event stream whose only mark of it is the end of the connection.
            BodyEnd::Broken if is_stream && self.live.is_ending() => After::Close,
            BodyEnd::Broken | BodyEnd::GivenUp if pass == Pass::Data || framing == Framing::UntilClose && pass == Pass::Raw => After::Reset,
            _ => After::Close,
        })
    }

    /// How the client is waited for while it takes nothing of what `upstream` sends.
    fn wait<'a>(&self, upstream: &'a Stream) -> Wait<'a> {
        self.patience.map_or(Wait::Relay { source: upstream, stall: self.live.stall }, |patience| Wait::Limit(patience.stall))
    }

    /// The tape for an event stream that begins, if it is to be recorded.
    fn begin_recording(
        &mut self,
        head: &RequestHead,
        response: &ResponseHead,
        head_us: u64,
        capture: &Mutex<Capture>,
    ) -> Option<Arc<Tape>> {
        let (recordings, metadata) = self.record.take()?;
        let reserved = recordings.claim(Protocol::Sse, metadata)?;
        let (mut bytes, truncated) = {
            let mut capture = sync::lock(capture);
            // What comes after the response's head is not kept.
            capture.limit = 0;
            (std::mem::take(&mut capture.bytes), capture.truncated || capture.whole_us.is_none())
        };
        if truncated {
            let len = bytes.len();
            cut_text(&mut bytes, len);
        }
        let (body, encoding) = encode(&bytes);
        let stream = StreamHead::Sse {
            request: SseRequest { method: head.method.clone(), body: Some(body).filter(|body| !body.is_empty()), encoding, truncated },
            response_status: response.status,
            response_headers: pairs(&response.headers),
            head_relative_us: Some(self.origin.relative_us(head_us)),
        };
        Some(recordings.begin(reserved, self.origin, stream))
    }
}

/// Cuts what a recording keeps of a body. A character that the limit cuts in two goes too: half of it would make a text unreadable
/// for redaction.
pub fn cut_text(bytes: &mut Vec<u8>, max_bytes: usize) {
    bytes.truncate(max_bytes);
    if let Err(cut) = std::str::from_utf8(bytes)
        && cut.error_len().is_none()
    {
        bytes.truncate(cut.valid_up_to());
    }
}

/// Removes what a response without a body must not say of one (RFC 9110 §8.6, RFC 9112 §6.1): a reader might wait for it. A 304, and the
/// answer to HEAD, may say how that to GET is framed, in one way.
fn forget_body(headers: &mut Headers, status: u16) {
    if status == 204 {
        headers.remove("Transfer-Encoding");
        headers.remove("Content-Length");
    } else if headers.all("Transfer-Encoding").next().is_some() {
        headers.remove("Content-Length");
    }
}

/// Ends a recording whose relay panicked; otherwise it has been ended before, and everything pushed.
struct Ending<'a>(Option<&'a Tape>);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        if let Some(tape) = self.0 {
            tape.push(Direction::ServerToClient, 0, b"");
            tape.end(End::CutShort("relay_failed"));
        }
    }
}

fn end_tape(tape: Option<&Tape>, side: Direction) {
    if let Some(tape) = tape {
        tape.end(End::Side(side));
    }
}

/// Header fields as a recording keeps them; bytes that are not UTF-8 are read lossily.
pub fn pairs(headers: &Headers) -> Pairs {
    let mut pairs = Pairs::default();
    for (name, value) in &headers.0 {
        pairs.add_header(name, String::from_utf8_lossy(value).into_owned());
    }
    pairs
}

/// How the relay of a body ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BodyEnd {
    /// The whole body went to the client.
    Complete,
    /// The upstream broke off.
    Broken,
    /// The upstream had gone, and the client took nothing of what was left.
    GivenUp,
    /// The client left.
    ClientGone,
}

/// How a body is passed on.
#[derive(Clone, Copy)]
struct Passing<'a> {
    pass: Pass,
    /// The client is seen to leave while nothing comes.
    watched: bool,
    /// How it is waited for while it takes nothing.
    wait: Wait<'a>,
}

/// Passes a body on as it arrives; an event stream's data goes to the tape after the client has it.
fn relay_body(client: &Stream, upstream: &mut Inlet, framing: Framing, how: Passing<'_>, tape: Option<&Tape>) -> BodyEnd {
    let Passing { pass, watched, wait } = how;
    const DIRECTION: Direction = Direction::ServerToClient;
    if tape.is_some() {
        upstream.note_arrivals();
    }
    let mut reader = BodyReader::new(framing);
    let (mut out, mut data) = (Vec::new(), Vec::new());
    loop {
        if upstream.data().is_empty() && !reader.is_done() {
            match upstream.fill_beside(client, watched, None) {
                Filled::Read(Ok(1..)) => {}
                Filled::Gone => return BodyEnd::ClientGone,
                // An end that the framing does not know is the end of a body up to the close, and else a break.
                Filled::Read(Ok(_)) if framing == Framing::UntilClose => {
                    end_tape(tape, DIRECTION);
                    break;
                }
                Filled::Read(_) | Filled::TimedOut => return BodyEnd::Broken,
            }
        }
        let stamp = tape.and_then(|tape| tape.stamp(DIRECTION, upstream.arrived_us()));
        let mut used = 0;
        out.clear();
        data.clear();
        let mut wrong = None;
        while used < upstream.data().len() && !reader.is_done() {
            match reader.next(&upstream.data()[used..]) {
                Ok(piece) => {
                    used += piece.consumed;
                    if tape.is_some() || pass != Pass::Raw {
                        data.extend_from_slice(piece.data);
                    }
                }
                Err(malformed) => {
                    wrong = Some(malformed);
                    break;
                }
            }
        }
        let bytes: &[u8] = match pass {
            Pass::Raw => &upstream.data()[..used],
            Pass::Data => &data,
            Pass::Chunks => {
                body::push_chunk(&mut out, &data);
                &out
            }
        };
        if reader.is_done() {
            // Before the client sees the end, so that a stop that follows it finds a recording that the server ended.
            // What is stamped already still belongs to it.
            end_tape(tape, DIRECTION);
        }
        let sent = send_recorded(client, bytes, wait, || {
            if let (Some(tape), Some(stamp)) = (tape, stamp) {
                tape.push(DIRECTION, stamp, &data);
            }
        });
        if let Err(error) = sent {
            return unsent(&error, wait);
        }
        upstream.consume(used);
        if let Some(malformed) = wrong {
            log::info!("an upstream's body is malformed: {}", malformed.message);
            return BodyEnd::Broken;
        }
        if reader.is_done() {
            break;
        }
    }
    if pass == Pass::Chunks
        && let Err(error) = client.write_all(body::LAST_CHUNK, wait)
    {
        return unsent(&error, wait);
    }
    BodyEnd::Complete
}

/// Who ended a body that could not be written: of a relay that gives its client up the upstream had gone before.
fn unsent(error: &std::io::Error, wait: Wait<'_>) -> BodyEnd {
    if has_stalled(error) && matches!(wait, Wait::Relay { .. }) { BodyEnd::GivenUp } else { BodyEnd::ClientGone }
}
