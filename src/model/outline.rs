//! A recording's text without its frames: head and tail read, the frames left as the text that they are, to be read one at a time.
//! Whoever wants a whole recording in memory asks `recording_text.rs`.

use serde_json::{Map, Value};

use super::raw::{Items, RawObject};
use super::recording::{
    FORMAT_VERSION, Frame, Head, Metadata, Protocol, SseEvent, SseRequest, Stats, Status, StreamHead, StreamTail, Tail, WsFrame,
};
use crate::base::error::{Error, Result};

/// A recording whose frames have not been read.
#[derive(Debug)]
pub struct Outline<'a> {
    /// Its head; `startTime` is empty where it has none.
    pub head: Head,
    /// Its tail; `complete` where it says nothing.
    pub tail: Tail,
    /// The list of its frames.
    frames: Option<&'a str>,
}

impl<'a> Outline<'a> {
    /// Reads a recording's text.
    ///
    /// # Errors
    /// [`Error::Invalid`] with line and column or the field's place. What is wrong with a frame is not seen here.
    pub fn parse(text: &'a str) -> Result<Self> {
        Self::of(RawObject::parse(text, "")?)
    }

    /// Reads the fields of a recording.
    ///
    /// # Errors
    /// As [`Outline::parse`].
    pub fn of(mut fields: RawObject<'a>) -> Result<Self> {
        let protocol = read_protocol(&mut fields)?;
        let mut part = fields.take_object(protocol.word())?;
        let metadata: Metadata = fields.take("metadata")?.unwrap_or_default();
        let frames = part.take_text(list_of(protocol));
        let tail = read_tail(protocol, &mut fields, &mut part)?;
        let stream = match protocol {
            Protocol::WebSocket => StreamHead::WebSocket { subprotocol: part.take("subprotocol")? },
            Protocol::Sse => {
                let method = || metadata.method.clone().unwrap_or_else(|| "GET".to_owned());
                StreamHead::Sse {
                    request: part.take("request")?.unwrap_or_else(|| SseRequest { method: method(), ..SseRequest::default() }),
                    response_status: part.take("responseStatus")?.unwrap_or(200),
                    response_headers: part.take("responseHeaders")?.unwrap_or_default(),
                    head_relative_us: part.take("headRelativeUs")?,
                }
            }
        };
        let mut head = Head {
            format_version: fields.take("formatVersion")?.unwrap_or_else(|| FORMAT_VERSION.to_owned()),
            id: fields.take("id")?.unwrap_or_default(),
            name: fields.take("name")?.unwrap_or_default(),
            description: fields.take("description")?,
            tags: fields.take("tags")?.unwrap_or_default(),
            start_time: fields.take("startTime")?.unwrap_or_default(),
            metadata,
            stream,
            extra: Map::new(),
        };
        keep_unknown(&mut head, fields, part)?;
        Ok(Self { head, tail, frames })
    }

    /// Whether it has a list of frames, of no matter how many.
    pub fn has_list(&self) -> bool {
        self.frames.is_some()
    }

    /// The frames, in order.
    ///
    /// # Errors
    /// [`Error::Invalid`] where they are no list.
    pub fn entries(&self) -> Result<Entries<'a>> {
        Entries::of(self.head.protocol(), self.frames)
    }
}

/// Keeps what is left of a recording's fields, and of its protocol's part, beside what its head has of them already. Fields of ours
/// are left out, which a last line of JSON Lines says once more, or another program's recording by chance: written down, they would be read in
/// place of its own.
///
/// # Errors
/// [`Error::Invalid`] that names a field nested too deep.
pub fn keep_unknown(head: &mut Head, fields: RawObject<'_>, part: RawObject<'_>) -> Result<()> {
    let protocol = head.protocol();
    let (own, own_of_part) = own_fields(protocol);
    head.extra.extend(fields.rest()?.into_iter().filter(|(name, _)| !own.contains(&name.as_str())));
    let unknown: Map<_, _> = part.rest()?.into_iter().filter(|(name, _)| !own_of_part.contains(&name.as_str())).collect();
    if !unknown.is_empty() {
        let known = head.extra.entry(protocol.word()).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(known) = known {
            known.extend(unknown);
        }
    }
    Ok(())
}

/// The fields of a recording, and those of its protocol's part.
fn own_fields(protocol: Protocol) -> (&'static [&'static str], &'static [&'static str]) {
    let own = &[
        "formatVersion",
        "id",
        "name",
        "description",
        "tags",
        "protocol",
        "startTime",
        "metadata",
        "status",
        "statusReason",
        "endTime",
        "duration",
        "stats",
    ];
    let of_part: &[&str] = match protocol {
        Protocol::WebSocket => &["subprotocol", "frames", "closeCode", "closeReason", "closedBy", "endRelativeUs"],
        Protocol::Sse => &[
            "request",
            "responseStatus",
            "responseHeaders",
            "headRelativeUs",
            "events",
            "tail",
            "tailEncoding",
            "endedBy",
            "endRelativeUs",
        ],
    };
    (own, of_part)
}

/// The tail of a recording of `protocol`, from its fields and those of the protocol's part.
///
/// # Errors
/// [`Error::Invalid`] that names the field.
pub fn read_tail(protocol: Protocol, fields: &mut RawObject<'_>, part: &mut RawObject<'_>) -> Result<Tail> {
    let stream = match protocol {
        Protocol::WebSocket => StreamTail::WebSocket {
            close_code: part.take("closeCode")?,
            close_reason: part.take("closeReason")?,
            closed_by: part.take("closedBy")?,
            end_relative_us: part.take("endRelativeUs")?,
        },
        Protocol::Sse => StreamTail::Sse {
            tail: part.take("tail")?,
            tail_encoding: part.take("tailEncoding")?,
            ended_by: part.take("endedBy")?,
            end_relative_us: part.take("endRelativeUs")?,
        },
    };
    Ok(Tail {
        status: fields.take("status")?.unwrap_or(Status::Complete),
        status_reason: fields.take("statusReason")?,
        end_time: fields.take("endTime")?,
        duration: fields.take("duration")?,
        stream,
        stats: fields.take::<Stats>("stats")?.unwrap_or_default(),
    })
}

/// The field `protocol`.
///
/// # Errors
/// [`Error::Invalid`] where it is absent or unknown.
pub fn read_protocol(fields: &mut RawObject<'_>) -> Result<Protocol> {
    let allowed = Protocol::WORDS.join(", ");
    match fields.take::<String>("protocol")? {
        None => Err(Error::invalid("protocol", format!("this field must be given: one of {allowed}"))),
        Some(word) => {
            Protocol::from_word(&word).ok_or_else(|| Error::invalid("protocol", super::fields::not_a_word(&word, &Protocol::WORDS)))
        }
    }
}

/// What the list of a protocol's frames is called.
pub const fn list_of(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::WebSocket => "frames",
        Protocol::Sse => "events",
    }
}

/// The frames of a recording's text, one at a time.
#[derive(Debug, Clone)]
pub struct Entries<'a> {
    protocol: Protocol,
    items: Option<Items<'a>>,
}

impl<'a> Entries<'a> {
    /// The entries of a list of frames; none where there is no list.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it is no list.
    pub fn of(protocol: Protocol, list: Option<&'a str>) -> Result<Self> {
        let place = format!("{}.{}", protocol.word(), list_of(protocol));
        Ok(Self { protocol, items: list.map(|list| Items::of(list, &place)).transpose()? })
    }
}

impl Iterator for Entries<'_> {
    type Item = Result<Frame>;

    fn next(&mut self) -> Option<Result<Frame>> {
        let items = self.items.as_mut()?;
        let at = items.given();
        let frame = match self.protocol {
            Protocol::WebSocket => items.read::<WsFrame>()?.map(Frame::WebSocket),
            Protocol::Sse => items.read::<SseEvent>()?.map(Frame::Sse),
        };
        Some(frame.map_err(|message| Error::invalid(place_of_frame(self.protocol, at), message)))
    }
}

/// How errors name a frame: `websocket.frames[3]`.
pub fn place_of_frame(protocol: Protocol, at: usize) -> String {
    format!("{}.{}[{at}]", protocol.word(), list_of(protocol))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::recording_text;

    const TEXT: &str = r#"{"stats":{}, "protocol":"websocket","mine":1,"websocket":{"frames":[
        {"direction":"s2c","type":"text","data":"a","relativeMs":1,"yours":[2]},
        {"direction":"c2s","type":"close"}],"closeCode":1000,"theirs":{"x":null}},"startTime":"2024-01-15T10:30:00Z"}"#;

    #[test]
    fn fields_of_any_order_are_read_and_unknown_ones_are_kept_in_their_place() {
        let outline = Outline::parse(TEXT).unwrap();
        assert_eq!(outline.tail.stream.end_relative_us(), None);
        assert_eq!(outline.entries().unwrap().filter(Result::is_ok).count(), 2);
        let line = recording_text::head_line(&outline.head).unwrap();
        assert!(line.ends_with("\"websocket\":{\"subprotocol\":null,\"theirs\":{\"x\":null},\"frames\":[\n"), "{line}");
        assert!(line.contains("\"mine\":1") && line.matches("\"websocket\":{").count() == 1, "{line}");
        let recording = recording_text::parse(TEXT.as_bytes()).unwrap();
        assert_eq!(recording.head, outline.head);
        let Frame::WebSocket(frame) = &recording.frames[0] else { panic!() };
        assert_eq!(frame.extra["yours"], serde_json::json!([2]));
    }

    #[test]
    fn errors_name_their_place() {
        for (from, to, words) in [
            ("\"direction\":\"c2s\",", "", "websocket.frames[1]: missing field `direction`"),
            ("\"closeCode\":1000", "\"closeCode\":\"x\"", "websocket.closeCode: invalid type: string \"x\", expected u16"),
            ("\"protocol\":\"websocket\"", "\"protocol\":\"http\"", "protocol: \"http\" is none of websocket, sse"),
            ("\"protocol\":\"websocket\",", "", "protocol: this field must be given"),
            ("\"mine\":1", "\"mine\":", "expected value at line 1 column 44"),
            ("\"startTime\":\"2024-01-15T10:30:00Z\"", "\"x\":1", "startTime: this field must be given"),
        ] {
            let error = recording_text::parse(TEXT.replace(from, to).as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("this is no recording: ") && error.contains(words), "{error}");
        }
    }
}
