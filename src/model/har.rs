//! The words of an HTTP archive, HAR 1.2, with the fields that Chrome adds for streams, as far as a recording is made of them; and
//! what mockd adds itself in `_mockd`. What the words mean is decided in `rules`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// The version that is written.
pub const VERSION: &str = "1.2";

/// `_resourceType` of a WebSocket.
pub const WEBSOCKET: &str = "websocket";
/// `_resourceType` of an event stream.
pub const EVENT_SOURCE: &str = "eventsource";

/// A name with a value: a header field, a parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameValue {
    /// The name.
    #[serde(default)]
    pub name: String,
    /// The value.
    #[serde(default)]
    pub value: String,
}

/// One entry as it is read. What is large stays text until it is wanted.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EntryIn<'a> {
    /// RFC 3339: when the request began.
    #[serde(default)]
    pub started_date_time: Option<String>,
    /// Milliseconds of the whole exchange.
    #[serde(default)]
    pub time: Option<f64>,
    /// The request.
    #[serde(default)]
    pub request: Option<RequestIn>,
    /// The response.
    #[serde(borrow, default)]
    pub response: Option<ResponseIn<'a>>,
    /// Milliseconds of its parts.
    #[serde(default)]
    pub timings: Option<TimingsIn>,
    /// `websocket`, `eventsource`, `fetch`, …
    #[serde(rename = "_resourceType", default)]
    pub resource_type: Option<String>,
    /// A list of [`MessageIn`].
    #[serde(rename = "_webSocketMessages", borrow, default)]
    pub messages: Option<&'a RawValue>,
    /// A list of [`EventIn`].
    #[serde(rename = "_eventSourceMessages", borrow, default)]
    pub events: Option<&'a RawValue>,
    /// What this program adds: see [`OwnIn`].
    #[serde(rename = "_mockd", borrow, default)]
    pub own: Option<&'a RawValue>,
}

/// The request of an entry.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestIn {
    /// `GET`, `POST`, …
    pub method: Option<String>,
    /// With scheme and host.
    pub url: Option<String>,
    /// In order.
    pub headers: Option<Vec<NameValue>>,
    /// The body.
    pub post_data: Option<PostDataIn>,
}

/// The body of a request.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PostDataIn {
    /// The body as text.
    pub text: Option<String>,
    /// `base64`, where a program says so.
    #[serde(alias = "_encoding")]
    pub encoding: Option<String>,
}

/// The response of an entry.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ResponseIn<'a> {
    /// The status; 0 where none came.
    pub status: Option<i64>,
    /// In order.
    pub headers: Option<Vec<NameValue>>,
    /// The body.
    #[serde(borrow)]
    pub content: Option<ContentIn<'a>>,
    /// Chrome's word for how it failed: `net::ERR_ABORTED`.
    #[serde(rename = "_error")]
    pub error: Option<String>,
}

/// The body of a response.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ContentIn<'a> {
    /// `text/event-stream`, …
    pub mime_type: Option<String>,
    /// The body, a JSON string.
    #[serde(borrow)]
    pub text: Option<&'a RawValue>,
    /// `base64`, or nothing.
    pub encoding: Option<String>,
    /// Another file that has the body, as Playwright writes it.
    #[serde(rename = "_file")]
    pub file: Option<String>,
}

/// Milliseconds of an exchange's parts; -1 for what did not happen.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct TimingsIn {
    /// In a queue.
    pub blocked: Option<f64>,
    /// For the name.
    pub dns: Option<f64>,
    /// For the connection, TLS included.
    pub connect: Option<f64>,
    /// For the request.
    pub send: Option<f64>,
    /// To the first byte of the response.
    pub wait: Option<f64>,
    /// To its last byte.
    pub receive: Option<f64>,
}

/// One of `_webSocketMessages`.
#[derive(Debug, Deserialize)]
pub struct MessageIn<'a> {
    /// `send`, `receive`, or Chrome's `error`.
    #[serde(rename = "type", borrow, default)]
    pub kind: Option<Cow<'a, str>>,
    /// A number; its unit is told by its size.
    #[serde(borrow, default)]
    pub time: Option<&'a RawValue>,
    /// RFC 6455 §5.2; 1 where there is none.
    #[serde(default)]
    pub opcode: Option<i64>,
    /// Text, or base64.
    #[serde(borrow, default)]
    pub data: Option<Cow<'a, str>>,
    /// The close code, as some programs write it.
    #[serde(default)]
    pub code: Option<u16>,
    /// The frame as a recording has it, where the fields above do not tell it; without `data` where that is the same.
    #[serde(rename = "_mockd", borrow, default)]
    pub own: Option<&'a RawValue>,
}

/// One of `_eventSourceMessages`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventIn<'a> {
    /// A number; its unit is told by its size.
    #[serde(borrow, default)]
    pub time: Option<&'a RawValue>,
    /// The event's type.
    #[serde(default)]
    pub event_name: Option<String>,
    /// The last id that the stream gave, this event's or an earlier one's.
    #[serde(default)]
    pub event_id: Option<String>,
    /// The data.
    #[serde(default)]
    pub data: Option<String>,
    /// The event as a recording has it, without its data, where the fields above do not tell it.
    #[serde(rename = "_mockd", borrow, default)]
    pub own: Option<&'a RawValue>,
}

/// `_mockd` of an entry: what of a recording neither the standard nor Chrome has a field for.
#[derive(Debug, Deserialize)]
pub struct OwnIn<'a> {
    /// The recording's fields but for its frames, as they stand in the first line of JSON Lines.
    #[serde(borrow)]
    pub head: &'a RawValue,
    /// Those of the last line.
    #[serde(borrow)]
    pub tail: &'a RawValue,
    /// The blocks without data of an event stream, each with its place among all entries: `[[3,{…}],…]`.
    #[serde(borrow, default)]
    pub blocks: Option<&'a RawValue>,
}
