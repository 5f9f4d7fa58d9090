//! A recording as an HTTP archive of one entry, HAR 1.2 with the fields that Chrome adds for streams. What neither has a field for
//! stands in `_mockd`, so that the archive comes back as the recording that it was.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Value, json};

use super::{head_line, tail_line};
use crate::base::error::{Error, Result};
use crate::base::time;
use crate::model::har::{EVENT_SOURCE, EventIn, VERSION, WEBSOCKET};
use crate::model::pairs::Pairs;
use crate::model::recording::{
    Direction, Frame, FrameType, Head, Protocol, SseEvent, SseRequest, StreamHead, StreamTail, Tail, WsFrame, decode,
};
use crate::rules::import::{event_of, frame_of};
use crate::wire::head::ResponseHead;
use crate::wire::url::percent_encode;
use crate::wire::ws::opcode;

/// Writes an archive in this order: every frame through [`HarWriter::survey`]; [`HarWriter::opening`]; where there is a body, every frame
/// through [`HarWriter::push_content`]; [`HarWriter::middle`]; where there are blocks, every frame through [`HarWriter::push_block`];
/// [`HarWriter::before_messages`]; every frame through [`HarWriter::push_message`]; [`HarWriter::closing`].
#[derive(Debug)]
pub struct HarWriter<'a> {
    head: &'a Head,
    tail: &'a Tail,
    start_us: u64,
    /// Bytes of the response's body.
    content_bytes: u64,
    /// The response's body is not UTF-8.
    content_is_binary: bool,
    /// Blocks without data.
    blocks: u64,
    last_us: u64,
    /// Bytes of the body that wait for their base64: fewer than three.
    carry: Vec<u8>,
    /// Frames given to the pass that is under way, and messages or blocks written by it.
    given: u64,
    written: u64,
    /// The last id that the stream gave, and the one that the last message told.
    last_id: String,
    told_id: String,
}

impl<'a> HarWriter<'a> {
    /// A writer for a recording with this head and tail.
    pub fn new(head: &'a Head, tail: &'a Tail) -> Self {
        let start_us = time::parse_rfc3339(&head.start_time).unwrap_or(0);
        Self {
            head,
            tail,
            start_us,
            content_bytes: 0,
            content_is_binary: false,
            blocks: 0,
            last_us: 0,
            carry: Vec::new(),
            given: 0,
            written: 0,
            last_id: String::new(),
            told_id: String::new(),
        }
    }

    /// Looks at a frame before anything is written.
    pub fn survey(&mut self, frame: &Frame) {
        self.last_us = self.last_us.max(frame.due_us().unwrap_or(0));
        if let Frame::Sse(event) = frame {
            let bytes = bytes_of(event);
            self.content_bytes += bytes.len() as u64;
            self.content_is_binary |= std::str::from_utf8(&bytes).is_err();
            self.blocks += u64::from(event.data.is_none());
        }
    }

    /// Whether the response has a body, for [`HarWriter::push_content`].
    pub fn has_content(&self) -> bool {
        self.content_bytes > 0
    }

    /// Whether there are blocks without data, for [`HarWriter::push_block`].
    pub fn has_blocks(&self) -> bool {
        self.blocks > 0
    }

    /// Everything up to the response's text.
    ///
    /// # Errors
    /// What serde says; none for a recording that this crate made.
    pub fn opening(&mut self) -> Result<Vec<u8>> {
        let rest = self.rest();
        self.content_bytes += rest.len() as u64;
        self.content_is_binary |= std::str::from_utf8(&rest).is_err();
        let is_stream = self.head.protocol() == Protocol::Sse;
        let (status, headers, mime_type) = match &self.head.stream {
            StreamHead::WebSocket { subprotocol } => (101, handshake_headers(subprotocol.as_deref()), "x-unknown"),
            StreamHead::Sse { response_status, response_headers, .. } => (*response_status, fields(response_headers), "text/event-stream"),
        };
        let mut content = json!({"size": self.content_bytes, "mimeType": mime_type});
        if self.content_is_binary {
            content["encoding"] = "base64".into();
        }
        let response = json!({
            "status": status, "statusText": ResponseHead::new(status).reason, "httpVersion": "HTTP/1.1", "cookies": [],
            "headers": headers, "redirectURL": "", "headersSize": -1, "bodySize": if is_stream { self.content_bytes } else { 0 },
            "content": content,
        });
        let response = response.to_string();
        let creator = json!({"name": "mockd", "version": env!("CARGO_PKG_VERSION")});
        let mut text = format!(
            "{{\"log\":{{\"version\":\"{VERSION}\",\"creator\":{creator},\"entries\":[\n{{\"startedDateTime\":{},\"time\":{},\"request\":{},\"response\":{}",
            json!(self.head.start_time),
            ms(self.end_us()),
            self.request(),
            response.strip_suffix("}}").unwrap_or(&response),
        );
        if is_stream {
            text.push_str(",\"text\":\"");
        }
        Ok(text.into_bytes())
    }

    /// Appends the bytes of an event stream's entry to the response's text.
    ///
    /// # Errors
    /// As [`HarWriter::opening`].
    pub fn push_content(&mut self, out: &mut Vec<u8>, frame: &Frame) -> Result<()> {
        match frame {
            Frame::Sse(event) => self.push_bytes(out, &bytes_of(event)),
            Frame::WebSocket(_) => Ok(()),
        }
    }

    /// Everything between the response's text and the blocks.
    ///
    /// # Errors
    /// As [`HarWriter::opening`].
    pub fn middle(&mut self) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        let is_stream = self.head.protocol() == Protocol::Sse;
        if is_stream {
            self.push_bytes(&mut out, &self.rest())?;
            out.extend(data_encoding::BASE64.encode(&std::mem::take(&mut self.carry)).into_bytes());
            out.push(b'"');
        }
        let end_us = self.end_us();
        let head_us = match &self.head.stream {
            StreamHead::WebSocket { .. } => 0,
            StreamHead::Sse { head_relative_us, .. } => head_relative_us.unwrap_or(0).min(end_us),
        };
        let timings = format!(
            "{{\"blocked\":-1,\"dns\":-1,\"connect\":-1,\"send\":0,\"wait\":{},\"receive\":{},\"ssl\":-1}}",
            ms(head_us),
            ms(end_us - head_us)
        );
        let kind = if is_stream { EVENT_SOURCE } else { WEBSOCKET };
        let (head, tail) = (head_line(self.head)?, tail_line(self.head.protocol(), self.tail)?);
        out.extend(
            format!(
                "}}}},\"cache\":{{}},\"timings\":{timings},\"_resourceType\":\"{kind}\",\"_mockd\":{{\"head\":{},\"tail\":{},\"blocks\":[",
                head.trim_end(),
                tail.trim_end()
            )
            .into_bytes(),
        );
        self.begin_pass();
        Ok(out)
    }

    /// Appends an entry without data, with its place among all entries.
    ///
    /// # Errors
    /// As [`HarWriter::opening`].
    pub fn push_block(&mut self, out: &mut Vec<u8>, frame: &Frame) -> Result<()> {
        let at = self.given;
        self.given += 1;
        if let Frame::Sse(event) = frame
            && event.data.is_none()
        {
            self.push_separator(out);
            push_json(out, &(at, event))?;
        }
        Ok(())
    }

    /// Everything between the blocks and the messages.
    pub fn before_messages(&mut self) -> Vec<u8> {
        self.begin_pass();
        let name = if self.head.protocol() == Protocol::Sse { "_eventSourceMessages" } else { "_webSocketMessages" };
        format!("]}},\"{name}\":[").into_bytes()
    }

    /// Appends the message of a frame; a block without data has none.
    ///
    /// # Errors
    /// As [`HarWriter::opening`].
    pub fn push_message(&mut self, out: &mut Vec<u8>, frame: &Frame) -> Result<()> {
        let due_us = frame.due_us().unwrap_or(0);
        let at_us = self.start_us.saturating_add(due_us);
        let time = format!("{}.{:06}", at_us / 1_000_000, at_us % 1_000_000);
        match frame {
            Frame::WebSocket(frame) => {
                self.push_separator(out);
                push_ws_message(out, frame, &time, due_us, self.start_us)
            }
            Frame::Sse(SseEvent { data: None, id, .. }) => {
                self.note_id(id.as_deref());
                Ok(())
            }
            Frame::Sse(event) => {
                self.push_separator(out);
                self.push_event(out, event, &time, due_us)
            }
        }
    }

    /// The end.
    pub fn closing(&self) -> &'static [u8] {
        b"\n]}\n]}}\n"
    }

    fn begin_pass(&mut self) {
        (self.given, self.written) = (0, 0);
    }

    fn push_separator(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.written == 0 { b"\n" } else { b",\n" });
        self.written += 1;
    }

    fn push_event(&mut self, out: &mut Vec<u8>, event: &SseEvent, time: &str, due_us: u64) -> Result<()> {
        self.note_id(event.id.as_deref());
        // What a reader makes of the fields of this message and the one before.
        let told = EventIn {
            time: None,
            event_name: event.kind.clone(),
            event_id: Some(self.last_id.clone()),
            data: event.data.clone(),
            own: None,
        };
        let is_told = event_of(told, &mut self.told_id, due_us, self.start_us) == *event;
        let kind = event.kind.as_deref().unwrap_or("message");
        let text = format!("{{\"time\":{time},\"eventName\":{},\"eventId\":{},\"data\":", json!(kind), json!(self.last_id));
        out.extend(text.into_bytes());
        push_json(out, &event.data)?;
        if !is_told {
            out.extend_from_slice(b",\"_mockd\":");
            push_json(out, &SseEvent { data: None, ..event.clone() })?;
        }
        out.push(b'}');
        Ok(())
    }

    fn note_id(&mut self, id: Option<&str>) {
        if let Some(id) = id {
            id.clone_into(&mut self.last_id);
        }
    }

    /// What an event stream left behind its last blank line.
    fn rest(&self) -> Vec<u8> {
        match &self.tail.stream {
            StreamTail::Sse { tail: Some(text), tail_encoding, .. } => decode(text, *tail_encoding).unwrap_or_default(),
            StreamTail::Sse { .. } | StreamTail::WebSocket { .. } => Vec::new(),
        }
    }

    /// Appends bytes of the body, as the insides of a JSON string.
    fn push_bytes(&mut self, out: &mut Vec<u8>, bytes: &[u8]) -> Result<()> {
        if !self.content_is_binary {
            let start = out.len();
            push_json(out, &String::from_utf8_lossy(bytes))?;
            out.pop();
            out.remove(start);
            return Ok(());
        }
        self.carry.extend_from_slice(bytes);
        let rest = self.carry.split_off(self.carry.len() / 3 * 3);
        out.extend(data_encoding::BASE64.encode(&self.carry).into_bytes());
        self.carry = rest;
        Ok(())
    }

    fn end_us(&self) -> u64 {
        let told = self.tail.stream.end_relative_us().or_else(|| self.tail.duration.map(|ms| ms.saturating_mul(1000)));
        told.unwrap_or(0).max(self.last_us)
    }

    fn request(&self) -> Value {
        let metadata = &self.head.metadata;
        let host = metadata.headers.first("Host").filter(|host| !host.is_empty() && host.bytes().all(|b| b.is_ascii_graphic()));
        let (scheme, request) = match &self.head.stream {
            StreamHead::WebSocket { .. } => ("ws", None),
            StreamHead::Sse { request, .. } => ("http", Some(request)),
        };
        let query: Vec<String> =
            metadata.query.iter().map(|(name, value)| format!("{}={}", percent_encode(name), percent_encode(value))).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        let url = format!("{scheme}://{}{}{mark}{}", host.unwrap_or("localhost"), metadata.path, query.join("&"));
        let method = request.map(|request| request.method.as_str()).or(metadata.method.as_deref()).unwrap_or("GET");
        let body = request.and_then(|request| Some((request, request.body.as_deref()?)));
        let size = body.and_then(|(request, body)| decode(body, request.encoding)).map_or(0, |bytes| bytes.len());
        let mut value = json!({
            "method": method, "url": url, "httpVersion": "HTTP/1.1", "cookies": [], "headers": fields(&metadata.headers),
            "queryString": fields(&metadata.query), "headersSize": -1, "bodySize": size,
        });
        if let Some((SseRequest { encoding, .. }, body)) = body {
            let kind = metadata.headers.first("Content-Type").unwrap_or("application/octet-stream");
            value["postData"] = json!({"mimeType": kind, "text": body});
            if encoding.is_some() {
                value["postData"]["_encoding"] = "base64".into();
            }
        }
        value
    }
}

/// The bytes of an event stream's entry, as they passed.
fn bytes_of(event: &SseEvent) -> Vec<u8> {
    match &event.raw {
        // What says that it is base64 and is not has no bytes; its fields do.
        Some(raw) => decode(raw, event.raw_encoding).unwrap_or_else(|| event.canonical()),
        None => event.canonical(),
    }
}

fn push_ws_message(out: &mut Vec<u8>, frame: &WsFrame, time: &str, due_us: u64, start_us: u64) -> Result<()> {
    let kind = if frame.direction == Direction::ClientToServer { "send" } else { "receive" };
    let code = match frame.kind {
        FrameType::Text => opcode::TEXT,
        FrameType::Binary => opcode::BINARY,
        FrameType::Ping => opcode::PING,
        FrameType::Pong => opcode::PONG,
        FrameType::Close => opcode::CLOSE,
    };
    let data = match (frame.kind, frame.encoding) {
        (FrameType::Close, _) => Cow::Owned(close_data(frame)),
        (FrameType::Binary, _) | (_, None) => Cow::Borrowed(frame.data.as_str()),
        // Chrome shows such a text as it can; its bytes stand in `_mockd`.
        (_, Some(_)) => Cow::Owned(String::from_utf8_lossy(&frame.payload().unwrap_or_default()).into_owned()),
    };
    out.extend(format!("{{\"type\":\"{kind}\",\"time\":{time},\"opcode\":{code},\"data\":").into_bytes());
    push_json(out, &data)?;
    if frame_of(frame.direction, frame.kind, &data, due_us, start_us) != *frame {
        out.extend_from_slice(b",\"_mockd\":");
        let mut own = frame.clone();
        if own.data == data {
            own.data = String::new();
        }
        push_json(out, &own)?;
    }
    out.push(b'}');
    Ok(())
}

/// The payload of a close frame (RFC 6455 §5.5.1) in base64; empty for one without a code.
fn close_data(frame: &WsFrame) -> String {
    let Some(code) = frame.close_code else { return String::new() };
    let mut payload = code.to_be_bytes().to_vec();
    payload.extend_from_slice(frame.close_reason.as_deref().unwrap_or_default().as_bytes());
    data_encoding::BASE64.encode(&payload)
}

fn push_json(out: &mut Vec<u8>, value: &impl Serialize) -> Result<()> {
    serde_json::to_writer(out, value).map_err(|error| Error::Failed(format!("a HAR cannot be written: {error}")))
}

fn fields(pairs: &Pairs) -> Value {
    pairs.iter().map(|(name, value)| json!({"name": name, "value": value})).collect()
}

/// What a server answers a handshake with, as far as a recording knows it.
fn handshake_headers(subprotocol: Option<&str>) -> Value {
    let mut pairs = Pairs::default();
    pairs.add_header("Upgrade", "websocket".to_owned());
    pairs.add_header("Connection", "Upgrade".to_owned());
    if let Some(subprotocol) = subprotocol {
        pairs.add_header("Sec-WebSocket-Protocol", subprotocol.to_owned());
    }
    fields(&pairs)
}

/// Microseconds as the milliseconds of an archive, a JSON number.
fn ms(us: u64) -> String {
    format!("{}.{:03}", us / 1000, us % 1000)
}
