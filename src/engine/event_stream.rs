//! The opening of an event stream that mockd itself sends, a replay's or a mock's: the response head, what a recording keeps of both
//! sides when that goes out, and the ear for the client's end. Which events follow, and when, is not decided here.

use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;

use super::app::App;
use super::inbox::{Gate, Input};
use super::line::Line;
use super::relay_http::{cut_text, pairs};
use crate::base::platform;
use crate::base::time::Origin;
use crate::model::recording::{Metadata, Protocol, SseRequest, StreamHead, encode};
use crate::wire::head::{Headers, RequestHead, ResponseHead};
use crate::wire::stream::Stream;

/// An event stream that is about to begin.
pub struct Opening<'a> {
    /// The server.
    pub app: &'a Arc<App>,
    /// The client's request.
    pub head: &'a RequestHead,
    /// When it had been read.
    pub origin: Origin,
    /// What a recording keeps of the connection.
    pub metadata: Box<Metadata>,
    /// The request's body; one byte more than a recording keeps shows that it is longer.
    pub body: Vec<u8>,
}

impl Opening<'_> {
    /// The way to the client, with a response head of this status and these fields that is still to be sent. Where the stream is
    /// recorded its recording begins with that.
    pub fn open(mut self, client: &Arc<Stream>, status: u16, mut headers: Headers) -> Line {
        let chunked = self.head.minor_version == 1;
        if chunked {
            headers.push("Transfer-Encoding", "chunked");
        }
        headers.push("Connection", "close");
        let response_headers = pairs(&headers);
        let mut bytes = Vec::with_capacity(512);
        ResponseHead { headers, ..ResponseHead::new(status) }.write(&mut bytes);
        let settings = &self.app.settings;
        let max_bytes = usize::try_from(settings.max_request_body_bytes).unwrap_or(usize::MAX);
        let truncated = self.body.len() > max_bytes;
        if truncated {
            cut_text(&mut self.body, max_bytes);
        }
        let (text, encoding) = encode(&self.body);
        let method = self.head.method.clone();
        let request = SseRequest { method, body: Some(text).filter(|text| !text.is_empty()), encoding, truncated };
        let stall = Duration::from_millis(settings.stall_timeout_ms);
        let (app, origin, metadata) = (Arc::clone(self.app), self.origin, self.metadata);
        let begin = move |head_us| {
            let reserved = app.recordings.claim(Protocol::Sse, metadata)?;
            let head_relative_us = Some(origin.relative_us(head_us));
            let stream = StreamHead::Sse { request, response_status: status, response_headers, head_relative_us };
            Some(app.recordings.begin(reserved, origin, stream))
        };
        Line::event_stream(Arc::clone(client), stall, bytes, chunked, Box::new(begin))
    }
}

/// Reads on for the client's end, which is all that matters of it: whatever else it sends is not for this response. One that had
/// closed its sending half with its request waits for the response.
pub fn hear_end(client: &Arc<Stream>) -> impl FnOnce(&Sender<Input>, &Gate) + use<> {
    let client = Arc::clone(client);
    let half_closed = platform::has_half_closed(client.fd());
    move |inbox, _| {
        let mut buffer = [0; 256];
        if half_closed {
            platform::wait_gone(client.fd());
        } else {
            while matches!(client.read(&mut buffer), Ok(1..)) {}
        }
        // The stream may have ended before; then nobody listens.
        drop(inbox.send(Input::Gone));
    }
}
