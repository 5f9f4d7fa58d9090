//! An HTTP archive on its way in: which of its entries are streams, and what their requests and responses make of a recording's head.
//! The messages of a WebSocket and the events of a stream have a file each.

use serde_json::value::RawValue;

use super::har_messages::read_messages;
use super::latin::read_right;
use super::plan::{FramePlace, Frames, Plan};
use super::times::from_ms;
use super::{Setting, har_events, own};
use crate::base::error::{Error, Result};
use crate::base::{text, time};
use crate::model::har::{ContentIn, EntryIn, NameValue, OwnIn, RequestIn, TimingsIn, WEBSOCKET};
use crate::model::pairs::Pairs;
use crate::model::raw::{Items, RawObject};
use crate::model::recording::{
    Encoding, FORMAT_VERSION, Head, Metadata, Protocol, Source, SseRequest, Stats, Status, StreamHead, StreamTail, Tail,
};
use crate::rules::json_span::unescape;
use crate::wire::url;

/// The entries of an archive.
#[derive(Debug)]
pub(super) struct Archive<'a> {
    items: Items<'a>,
    setting: Setting<'a>,
    /// Entries that are no streams, and the first of them in words.
    others: u64,
    named: Vec<String>,
}

/// Entries that are no streams and are named one by one; of the others the number is told.
const MAX_NAMED: usize = 3;
/// Bytes of an entry's URL in words.
const MAX_URL_BYTES: usize = 128;

impl<'a> Archive<'a> {
    /// The entries of a `log`.
    pub(super) fn of(mut log: RawObject<'a>, setting: Setting<'a>) -> Result<Self> {
        let list = log.take_text("entries").ok_or_else(|| Error::invalid("log.entries", "a HAR has a list of entries here"))?;
        Ok(Self { items: Items::of(list, "log.entries")?, setting, others: 0, named: Vec::new() })
    }

    /// The next entry that is a stream.
    pub(super) fn next_plan(&mut self) -> Option<Result<Plan<'a>>> {
        loop {
            let place = format!("log.entries[{}]", self.items.given());
            // The list has been checked to be JSON; any JSON is a text.
            let text = self.items.read::<&'a RawValue>()?.ok()?;
            match read_entry(text.get(), &place, self.setting) {
                Ok(Some(plan)) => return Some(Ok(plan)),
                Ok(None) => self.pass_over(text.get()),
                Err(error) if matches!(&error, Error::Invalid { place: at, .. } if at.starts_with("log.")) => return Some(Err(error)),
                Err(error) => return Some(Err(Error::invalid(place, error.to_string()))),
            }
        }
    }

    fn pass_over(&mut self, entry: &str) {
        self.others += 1;
        if self.named.len() < MAX_NAMED {
            let request = serde_json::from_str::<EntryIn<'_>>(entry).ok().and_then(|entry| entry.request).unwrap_or_default();
            let url = self.setting.redactor.url(request.url.as_deref().unwrap_or("no URL"));
            let words = format!("{} {}", request.method.as_deref().unwrap_or("GET"), text::shorten(&url, MAX_URL_BYTES));
            self.named.push(text::clean(&words).into_owned());
        }
    }

    /// The entries that are no streams, in words.
    pub(super) fn left_out(&self) -> Option<String> {
        let named = self.named.join(", ");
        let more = self.others - self.named.len() as u64;
        match (self.others, more) {
            (0, _) => None,
            (1, _) => Some(format!("an entry that is no WebSocket and no event stream: {named}")),
            (count, 0) => Some(format!("{count} entries that are no WebSocket and no event stream: {named}")),
            (count, _) => Some(format!("{count} entries that are no WebSocket and no event stream: {named} and {more} more")),
        }
    }
}

/// What an entry's streams have in common.
pub(super) struct Exchange<'a> {
    pub(super) place: String,
    pub(super) entry: EntryIn<'a>,
    /// Microseconds since 1970 when it began; where the archive does not say it, its first message's time.
    pub(super) start_us: Option<u64>,
}

impl<'a> Exchange<'a> {
    pub(super) fn wrong(&self, message: impl Into<String>) -> Error {
        Error::invalid(&self.place, message)
    }

    /// Microseconds from the beginning to the response's head, and to its end.
    pub(super) fn phases(&self) -> (u64, u64) {
        let none = TimingsIn::default();
        let timings = self.entry.timings.as_ref().unwrap_or(&none);
        let before = [timings.blocked, timings.dns, timings.connect, timings.send, timings.wait];
        let head_us = before.into_iter().map(from_ms).fold(0, u64::saturating_add);
        let end_us = head_us.saturating_add(from_ms(timings.receive));
        (head_us, end_us.max(from_ms(self.entry.time)))
    }

    /// Microseconds that the response's body took, where the archive says it.
    pub(super) fn receiving_us(&self) -> Option<u64> {
        Some(from_ms(self.entry.timings.as_ref()?.receive)).filter(|us| *us > 0)
    }

    /// The recording's head; `start_us` is its origin.
    pub(super) fn head(&self, start_us: u64, stream: StreamHead) -> Result<Head> {
        let none = RequestIn::default();
        let request = self.entry.request.as_ref().unwrap_or(&none);
        let url = request.url.as_deref().ok_or_else(|| self.wrong("its request has no url"))?;
        let (path, query) = split_url(url).ok_or_else(|| self.wrong("its request's url is no URL with a host"))?;
        let mut parameters = Pairs::default();
        url::parameters(query).for_each(|(name, value)| parameters.add_parameter(&name, value));
        Ok(Head {
            format_version: FORMAT_VERSION.to_owned(),
            id: String::new(),
            name: String::new(),
            description: None,
            tags: Vec::new(),
            start_time: time::rfc3339(start_us),
            metadata: Metadata {
                path: path.to_owned(),
                method: Some(request.method.clone().unwrap_or_else(|| "GET".to_owned())),
                headers: pairs(request.headers.as_deref(), &[]),
                query: parameters,
                source: Some(Source::Import),
                upstream: Some(url.split('#').next().unwrap_or(url).to_owned()),
                ..Metadata::default()
            },
            stream,
            extra: serde_json::Map::new(),
        })
    }

    /// The request of an event stream.
    pub(super) fn request(&self) -> Result<SseRequest> {
        let none = RequestIn::default();
        let request = self.entry.request.as_ref().unwrap_or(&none);
        let method = request.method.clone().unwrap_or_else(|| "GET".to_owned());
        let Some(data) = &request.post_data else { return Ok(SseRequest { method, ..SseRequest::default() }) };
        let (body, encoding) = match (&data.text, data.encoding.as_deref()) {
            (None, _) => (None, None),
            (Some(text), Some("base64")) => {
                let bytes = data_encoding::BASE64.decode(text.as_bytes()).map_err(|_| self.wrong("its request's postData is no base64"))?;
                let (body, encoding) = crate::model::recording::encode(&bytes);
                (Some(body), encoding)
            }
            (Some(text), _) => (Some(text.clone()), None::<Encoding>),
        };
        Ok(SseRequest { method, body: body.filter(|body| !body.is_empty()), encoding, truncated: false })
    }

    /// The response's header fields. Its text stands in the archive as the browser read it, so no coding is named.
    pub(super) fn response_headers(&self) -> Pairs {
        let headers = self.entry.response.as_ref().and_then(|response| response.headers.as_deref());
        pairs(headers, &["Content-Encoding"])
    }

    /// The response's status; a stream that was read had one, though not every archive says it. One that is none is told by
    /// [`Plan::new`].
    pub(super) fn status(&self) -> u16 {
        match self.entry.response.as_ref().and_then(|response| response.status) {
            None | Some(..=0) => 200,
            Some(status) => u16::try_from(status).unwrap_or(u16::MAX),
        }
    }
}

/// The tail of a stream about which nothing more is known.
pub(super) fn plain_tail(stream: StreamTail) -> Tail {
    Tail { status: Status::Complete, status_reason: None, end_time: None, duration: None, stream, stats: Stats::default() }
}

/// Reads an entry; `None` for one that is no stream.
fn read_entry<'a>(text: &'a str, place: &str, setting: Setting<'a>) -> Result<Option<Plan<'a>>> {
    let entry: EntryIn<'a> = serde_json::from_str(text).map_err(|error| Error::invalid(place, crate::model::raw::words(&error)))?;
    if let Some(own) = entry.own.filter(|own| own.get() != "null") {
        let own: OwnIn<'a> =
            serde_json::from_str(own.get()).map_err(|error| Error::invalid(format!("{place}._mockd"), crate::model::raw::words(&error)))?;
        return read_own(&entry, &own, place, setting).map(Some);
    }
    let start_us = entry.started_date_time.as_deref().and_then(time::parse_rfc3339);
    let is_websocket = entry.messages.is_some() || entry.resource_type.as_deref() == Some(WEBSOCKET);
    let is_stream = har_events::is_event_stream(&entry);
    let exchange = Exchange { place: place.to_owned(), entry, start_us };
    match (is_websocket, is_stream) {
        (true, _) => read_messages(&exchange, setting).map(Some),
        (false, true) => har_events::read_events(&exchange, setting).map(Some),
        (false, false) => Ok(None),
    }
}

/// Reads an entry that this program wrote: its messages, and the rest of the recording beside them.
fn read_own<'a>(entry: &EntryIn<'a>, own: &OwnIn<'a>, place: &str, setting: Setting<'a>) -> Result<Plan<'a>> {
    let part = |name: &str| format!("{place}._mockd.{name}");
    let (mut head, _) = own::read_head(RawObject::parse(own.head.get(), &part("head"))?)?;
    let protocol = head.protocol();
    let tail = own::read_last(&mut head, RawObject::parse(own.tail.get(), &part("tail"))?)?;
    let (list, name) = match protocol {
        Protocol::WebSocket => (entry.messages, "_webSocketMessages"),
        Protocol::Sse => (entry.events, "_eventSourceMessages"),
    };
    let place_of_list = format!("{place}.{name}");
    let items = Items::of(list.map_or("[]", RawValue::get), &place_of_list)?;
    let start_us = time::parse_rfc3339(&head.start_time).unwrap_or(0);
    let frames: Frames<'a> = match protocol {
        Protocol::WebSocket => super::har_messages::own_frames(items, place_of_list.clone(), start_us),
        Protocol::Sse => {
            let blocks = Items::of(own.blocks.map_or("[]", RawValue::get), &part("blocks"))?;
            har_events::own_frames(items, blocks, place.to_owned(), start_us)
        }
    };
    Plan::new(head, tail, frames, FramePlace::List(place_of_list), setting)
}

/// Path and query of a URL with a host.
fn split_url(url: &str) -> Option<(&str, &str)> {
    let (_, rest) = url.split_once("://")?;
    let rest = rest.split('#').next().unwrap_or(rest);
    let target = &rest[rest.find(['/', '?']).unwrap_or(rest.len())..];
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    Some((if path.is_empty() { "/" } else { path }, query))
}

/// Header fields but for `left_out` and for the pseudo-fields of HTTP/2 (RFC 9113 §8.3), which begin with a colon. Chrome's protocol
/// gives a field that came several times as lines of one value; no value has a line end of its own.
fn pairs(headers: Option<&[NameValue]>, left_out: &[&str]) -> Pairs {
    let mut pairs = Pairs::default();
    for NameValue { name, value } in headers.unwrap_or_default() {
        if !name.starts_with(':') && !name.is_empty() && !left_out.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            value
                .split(['\r', '\n'])
                .filter(|line| !line.is_empty() || value.is_empty())
                .for_each(|line| pairs.add_header(name, line.to_owned()));
        }
    }
    pairs
}

/// The bytes of a response's body; `None` where the archive has none.
///
/// # Errors
/// [`Error::Invalid`] at `place`.
pub(super) fn content_bytes(content: &ContentIn<'_>, place: &str) -> Result<Option<Vec<u8>>> {
    let Some(text) = content.text.filter(|text| text.get() != "null") else { return Ok(None) };
    let wrong = |message: String| Error::invalid(format!("{place}.response.content.text"), message);
    if !text.get().starts_with('"') {
        return Err(wrong("this must be a string".to_owned()));
    }
    match content.encoding.as_deref() {
        Some("base64") => data_encoding::BASE64
            .decode(unescape(text.get()).as_bytes())
            .map(Some)
            .map_err(|error| wrong(format!("this is no base64: {error}"))),
        None | Some("" | "utf-8" | "utf8" | "text") => Ok(Some(read_right(|| unescape(text.get()).into_owned()).into_bytes())),
        Some(other) => Err(wrong(format!("its encoding {:?} is not known; base64 is", text::shorten(other, 64)))),
    }
}
