//! Recordings of the original mockd, which is written in Go: other names for the same things, times in milliseconds, and for event
//! streams times that count from the first event.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::Setting;
use super::plan::{FramePlace, Frames, Plan, read_time};
use crate::base::error::{Error, Result};
use crate::base::time;
use crate::model::outline::{keep_unknown, list_of, place_of_frame, read_protocol};
use crate::model::pairs::Pairs;
use crate::model::raw::{Items, RawObject};
use crate::model::recording::{
    Direction, Encoding, FORMAT_VERSION, Frame, FrameType, Head, Metadata, Protocol, Source, SseEvent, SseRequest, Stats, Status,
    StreamHead, StreamTail, Tail, WsFrame, decode, encode,
};

/// Whether the fields are those of such a recording.
pub(super) fn is_one(fields: &RawObject<'_>) -> bool {
    (fields.has("version") || fields.has("syncStatus")) && !fields.has("formatVersion")
}

/// Reads one.
pub(super) fn read<'a>(mut fields: RawObject<'a>, setting: Setting<'a>) -> Result<Plan<'a>> {
    let protocol = read_protocol(&mut fields)?;
    let mut part = fields.take_object(protocol.word())?;
    let theirs: GoMetadata = fields.take("metadata")?.unwrap_or_default();
    let start_time: String = fields.take("startTime")?.unwrap_or_default();
    let start_us = if start_time.is_empty() { None } else { Some(read_time("startTime", &start_time)?) };
    let at =
        |text: Option<String>| text.and_then(|text| time::parse_rfc3339(&text)).zip(start_us).and_then(|(at, start)| at.checked_sub(start));
    let list = part.take_text(list_of(protocol));
    let (stream, end) = match protocol {
        Protocol::WebSocket => {
            part.take_text("connectedAt");
            let end_relative_us = at(part.take("disconnectedAt")?);
            let tail = StreamTail::WebSocket {
                close_code: part.take("closeCode")?,
                close_reason: part.take("closeReason")?,
                closed_by: None,
                end_relative_us,
            };
            (StreamHead::WebSocket { subprotocol: theirs.subprotocol.clone().filter(|name| !name.is_empty()) }, tail)
        }
        Protocol::Sse => {
            let method = theirs.method.clone().filter(|method| !method.is_empty()).unwrap_or_else(|| "GET".to_owned());
            let head = StreamHead::Sse {
                request: read_request(method, &mut part)?,
                response_status: part.take("responseStatus")?.filter(|status| *status > 0).unwrap_or(200),
                response_headers: part.take("responseHeaders")?.unwrap_or_default(),
                head_relative_us: None,
            };
            let end_relative_us = at(part.take("streamEndedAt")?);
            (head, StreamTail::Sse { tail: None, tail_encoding: None, ended_by: None, end_relative_us })
        }
    };
    let first_us = at(part.take("streamStartedAt")?).unwrap_or(0);
    let tail = Tail {
        status: fields.take("status")?.unwrap_or(Status::Complete),
        status_reason: None,
        end_time: fields.take("endTime")?,
        duration: fields.take::<i64>("duration")?.and_then(|ms| u64::try_from(ms).ok()).filter(|ms| *ms > 0),
        stream: end,
        stats: Stats::default(),
    };
    for derived in ["version", "stats", "id"] {
        fields.take_text(derived);
    }
    let mut head = Head {
        format_version: FORMAT_VERSION.to_owned(),
        id: String::new(),
        name: fields.take("name")?.unwrap_or_default(),
        description: fields.take("description")?,
        tags: fields.take("tags")?.unwrap_or_default(),
        start_time,
        metadata: theirs.into_ours(),
        stream,
        extra: Map::new(),
    };
    keep_unknown(&mut head, fields, part)?;
    let place = format!("{}.{}", protocol.word(), list_of(protocol));
    let items = list.map(|list| Items::of(list, &place)).transpose()?;
    let frames: Frames<'a> = Box::new(Entries { protocol, items, start_us, first_us });
    Plan::new(head, tail, frames, FramePlace::Own(protocol), setting)
}

fn read_request(method: String, part: &mut RawObject<'_>) -> Result<SseRequest> {
    let text: Option<String> = part.take("requestBody")?;
    let base64: Option<String> = part.take("requestBodyB64")?;
    let (body, encoding) = match (text.filter(|text| !text.is_empty()), base64.filter(|text| !text.is_empty())) {
        (Some(text), _) => (Some(text), None),
        (None, Some(base64)) => {
            let bytes = decode(&base64, Some(Encoding::Base64))
                .ok_or_else(|| Error::invalid(part.place_of("requestBodyB64"), "this is no base64"))?;
            let (text, encoding) = encode(&bytes);
            (Some(text), encoding)
        }
        (None, None) => (None, None),
    };
    Ok(SseRequest { method, body, encoding, truncated: false })
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct GoMetadata {
    method: Option<String>,
    path: String,
    headers: Pairs,
    query_params: Pairs,
    client_ip: Option<String>,
    /// Theirs has other words than ours; what comes from there is an import.
    #[allow(dead_code)]
    source: Option<String>,
    subprotocol: Option<String>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

impl GoMetadata {
    fn into_ours(self) -> Metadata {
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        Metadata {
            path: self.path,
            method: some(self.method),
            headers: self.headers,
            query: self.query_params,
            source: Some(Source::Import),
            client_ip: some(self.client_ip),
            extra: without(self.extra, &["query", "sessionId", "upstream", "redaction"]),
            ..Metadata::default()
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct GoFrame {
    #[serde(default)]
    ts: Option<String>,
    #[serde(default)]
    rel: Option<i64>,
    dir: Direction,
    #[serde(rename = "type")]
    kind: FrameType,
    #[serde(default)]
    data: String,
    #[serde(default)]
    encoding: Option<String>,
    #[serde(default)]
    close_code: Option<u16>,
    #[serde(default)]
    close_reason: Option<String>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

#[derive(Deserialize)]
struct GoEvent {
    #[serde(default)]
    ts: Option<String>,
    #[serde(default)]
    rel: Option<i64>,
    #[serde(default)]
    event: Option<String>,
    #[serde(default)]
    data: Option<String>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    retry: Option<u64>,
    #[serde(default)]
    comment: Option<String>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

/// The frames of the list, one at a time.
struct Entries<'a> {
    protocol: Protocol,
    items: Option<Items<'a>>,
    start_us: Option<u64>,
    /// Microseconds from the origin to the first event, which the times of events count from.
    first_us: u64,
}

impl Iterator for Entries<'_> {
    type Item = Result<Frame>;

    fn next(&mut self) -> Option<Result<Frame>> {
        let items = self.items.as_mut()?;
        let at = items.given();
        let frame = match self.protocol {
            Protocol::WebSocket => items.read::<GoFrame>()?.and_then(|frame| self.frame(frame)),
            Protocol::Sse => items.read::<GoEvent>()?.map(|event| self.event(event)),
        };
        Some(frame.map_err(|message| Error::invalid(place_of_frame(self.protocol, at), message)))
    }
}

impl Entries<'_> {
    /// Microseconds from the origin by the wall clock's stamp. A zero time of Go is before 1970 and none.
    fn by_stamp(&self, ts: Option<&str>) -> Option<u64> {
        time::parse_rfc3339(ts?)?.checked_sub(self.start_us?)
    }

    fn frame(&self, frame: GoFrame) -> std::result::Result<Frame, String> {
        let told_ms = frame.rel.map(|ms| u64::try_from(ms).unwrap_or(0));
        // The stamp is finer; where it says something else it was another clock.
        let by_stamp = self.by_stamp(frame.ts.as_deref()).filter(|us| told_ms.is_none_or(|ms| us / 1000 == ms));
        let relative_us = by_stamp.or_else(|| told_ms.map(|ms| ms.saturating_mul(1000)));
        let is_close = frame.kind == FrameType::Close;
        let encoding = match frame.encoding.as_deref() {
            Some("base64") if !is_close => Some(Encoding::Base64),
            None | Some("" | "utf8" | "base64") => None,
            Some(other) => return Err(format!("its encoding {:?} is none of utf8, base64", crate::base::text::shorten(other, 64))),
        };
        Ok(Frame::WebSocket(WsFrame {
            direction: frame.dir,
            kind: frame.kind,
            // A close frame's data repeats its reason.
            data: if is_close { String::new() } else { frame.data },
            encoding,
            close_code: frame.close_code,
            close_reason: frame.close_reason.filter(|reason| !reason.is_empty()),
            timestamp: String::new(),
            relative_ms: None,
            relative_us,
            extra: without(frame.extra, &["seq", "size", "direction", "timestamp", "relativeMs", "relativeUs"]),
        }))
    }

    fn event(&self, event: GoEvent) -> Frame {
        let some = |text: Option<String>| text.filter(|text| !text.is_empty());
        let told_us = event.rel.map(|ms| u64::try_from(ms).unwrap_or(0).saturating_mul(1000).saturating_add(self.first_us));
        let (kind, id, comment, data) = (some(event.event), some(event.id), some(event.comment), event.data.unwrap_or_default());
        // Theirs always has data: a lone comment or `retry` has the empty one, and it is no event.
        let is_event = !data.is_empty() || kind.is_some() || id.is_some() || (comment.is_none() && event.retry.is_none());
        Frame::Sse(SseEvent {
            kind: is_event.then(|| kind.unwrap_or_else(|| "message".to_owned())),
            data: is_event.then_some(data),
            id,
            retry: event.retry,
            comment,
            relative_us: self.by_stamp(event.ts.as_deref()).or(told_us),
            extra: without(event.extra, &["seq", "size", "type", "raw", "rawEncoding", "timestamp", "relativeMs", "relativeUs"]),
            ..SseEvent::default()
        })
    }
}

/// What is kept of the fields that are none of theirs: not those that say nothing of their own, nor those by which ours call something
/// else, which would stand there twice.
fn without(mut extra: Map<String, Value>, names: &[&str]) -> Map<String, Value> {
    extra.retain(|name, _| !names.contains(&name.as_str()));
    extra
}
