//! One recording on its way in: its head, then its frames one at a time, then its tail, each made as if mockd had recorded it:
//! times filled in, counted, redacted. Where the frames come from is the matter of the formats.

use std::fmt;
use std::iter::Peekable;

use serde_json::{Map, Value};

use super::Setting;
use crate::base::error::{Error, Result};
use crate::base::{text, time};
use crate::model::outline::place_of_frame;
use crate::model::recording::{
    Direction, Encoding, EndedBy, Frame, FrameType, Head, Protocol, Redaction, Source, Stats, Status, StreamHead, StreamTail, Tail,
    WsFrame, decode,
};
use crate::model::recording_check::check_status;
use crate::rules::redact::Redactor;
use crate::rules::redact_ends::{redact_head, redact_tail};

/// The frames of a format, in order; an error is the last.
pub(super) type Frames<'a> = Box<dyn Iterator<Item = Result<Frame>> + 'a>;

/// How errors name a frame by its number.
#[derive(Debug, Clone)]
pub(super) enum FramePlace {
    /// As one of the recording's own list.
    Own(Protocol),
    /// As one of the list with this name.
    List(String),
    /// As a line, the first of them being line 2.
    Line,
}

impl FramePlace {
    fn of(&self, at: usize) -> String {
        match self {
            Self::Own(protocol) => place_of_frame(*protocol, at),
            Self::List(name) => format!("{name}[{at}]"),
            Self::Line => format!("line {}", at + 2),
        }
    }
}

/// One recording: [`Plan::head`], then [`Plan::next_frame`] until there is none, then [`Plan::finish`].
pub struct Plan<'a> {
    /// The head, redacted; its id is to be given.
    pub head: Head,
    /// What of it is left out, in words.
    pub left_out: Vec<String>,
    tail: Tail,
    frames: Peekable<Frames<'a>>,
    place: FramePlace,
    /// The redaction in force, with the redact value that stands in the recording already.
    own_redactor: Option<Box<Redactor>>,
    redactor: &'a Redactor,
    start_us: u64,
    given: usize,
    last_us: u64,
    stats: Stats,
    /// The first close frame.
    close: Option<(Direction, Option<u16>, Option<String>)>,
}

impl fmt::Debug for Plan<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Plan").field("head", &self.head).field("tail", &self.tail).field("given", &self.given).finish_non_exhaustive()
    }
}

impl<'a> Plan<'a> {
    /// Settles the head.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a version or a time that is none, and for a status that no event stream has.
    pub(super) fn new(mut head: Head, tail: Tail, frames: Frames<'a>, place: FramePlace, setting: Setting<'a>) -> Result<Self> {
        if head.format_version != "1" && !head.format_version.starts_with("1.") {
            let shown = text::clean(&text::shorten(&head.format_version, 64)).into_owned();
            return Err(Error::invalid(
                "formatVersion",
                format!("{shown:?} is a format that this version of mockd does not know; it reads 1.0"),
            ));
        }
        check_status(&head)?;
        let left_out = leave_other_protocol(&mut head).into_iter().collect();
        let mut frames = frames.peekable();
        let start_us = match head.start_time.as_str() {
            "" => start_of(frames.peek(), &tail).unwrap_or(setting.now_us),
            given => read_time("startTime", given)?,
        };
        head.start_time = time::rfc3339(start_us);
        settle_head(&mut head);
        let theirs = head.metadata.redaction.take();
        let own_redactor = own_redactor(theirs.as_ref(), setting.redactor)?;
        let redactor = own_redactor.as_deref().unwrap_or(setting.redactor);
        redact_head(&mut head, redactor);
        redact_extra(&mut head.extra, redactor);
        redact_extra(&mut head.metadata.extra, redactor);
        head.metadata.redaction = Some(union(theirs.unwrap_or_default(), redactor.rules()));
        Ok(Self {
            head,
            left_out,
            tail,
            frames,
            place,
            own_redactor,
            redactor: setting.redactor,
            start_us,
            given: 0,
            last_us: 0,
            stats: Stats::default(),
            close: None,
        })
    }

    /// The next frame, redacted, with all its times.
    pub fn next_frame(&mut self) -> Option<Result<Frame>> {
        let frame = match self.frames.next()? {
            Ok(frame) => frame,
            Err(error) => return Some(Err(error)),
        };
        let at = self.given;
        self.given += 1;
        Some(self.settle(frame).map_err(|message| Error::invalid(self.place.of(at), message)))
    }

    fn settle(&mut self, mut frame: Frame) -> std::result::Result<Frame, String> {
        let due_us = frame.due_us().ok_or("it has neither relativeUs nor relativeMs, so that nobody knows when it came")?;
        self.last_us = self.last_us.max(due_us);
        let timestamp = time::rfc3339(self.start_us.saturating_add(due_us));
        let redactor = self.own_redactor.as_deref().unwrap_or(self.redactor);
        let extra = match &mut frame {
            Frame::WebSocket(frame) => {
                if frame.kind == FrameType::Binary {
                    frame.encoding = Some(Encoding::Base64);
                }
                if frame.encoding.is_some() && frame.payload().is_none() {
                    return Err("its data is no base64".to_owned());
                }
                (frame.relative_us, frame.relative_ms, frame.timestamp) = (Some(due_us), Some(due_us / 1000), timestamp);
                &mut frame.extra
            }
            Frame::Sse(event) => {
                if event.raw.as_ref().is_some_and(|raw| decode(raw, event.raw_encoding).is_none()) {
                    return Err("its raw is no base64".to_owned());
                }
                if event.data.is_some() {
                    event.kind.get_or_insert_with(|| "message".to_owned());
                }
                (event.relative_us, event.relative_ms, event.timestamp) = (Some(due_us), Some(due_us / 1000), timestamp);
                &mut event.extra
            }
        };
        redact_extra(extra, redactor);
        self.stats.count(&frame);
        redactor.frame(&mut frame);
        if let Frame::WebSocket(WsFrame { kind: FrameType::Close, direction, close_code, close_reason, .. }) = &frame {
            self.close.get_or_insert_with(|| (*direction, *close_code, close_reason.clone()));
        }
        Ok(frame)
    }

    /// The tail, when there is no further frame.
    pub fn finish(mut self) -> Tail {
        let mut tail = self.tail;
        tail.stats = self.stats;
        match tail.status {
            Status::Complete | Status::Incomplete => {}
            Status::Recording => settle_status(&mut tail, "copied_while_recording"),
            Status::Corrupted => settle_status(&mut tail, "corrupted"),
        }
        let end_time_us = tail.end_time.as_deref().and_then(time::parse_rfc3339);
        let told = end_time_us.and_then(|end| end.checked_sub(self.start_us)).or_else(|| tail.duration.map(|ms| ms.saturating_mul(1000)));
        let end = match &mut tail.stream {
            StreamTail::WebSocket { close_code, close_reason, closed_by, end_relative_us } => {
                if let Some((direction, code, reason)) = self.close.take()
                    && closed_by.is_none()
                {
                    *closed_by = Some(if direction == Direction::ClientToServer { EndedBy::Client } else { EndedBy::Server });
                    if close_code.is_none() {
                        *close_code = Some(code.unwrap_or(1005));
                        *close_reason = reason;
                    }
                }
                end_relative_us
            }
            StreamTail::Sse { end_relative_us, .. } => end_relative_us,
        };
        let end_us = *end.get_or_insert_with(|| told.unwrap_or(0).max(self.last_us));
        tail.end_time = Some(time::rfc3339(end_time_us.unwrap_or_else(|| self.start_us.saturating_add(end_us))));
        tail.duration.get_or_insert(end_us / 1000);
        redact_tail(&mut tail.stream, self.own_redactor.as_deref().unwrap_or(self.redactor));
        tail
    }
}

/// A moment of a recording in microseconds since 1970.
pub(super) fn read_time(place: &str, given: &str) -> Result<u64> {
    time::parse_rfc3339(given).ok_or_else(|| {
        let shown = text::clean(&text::shorten(given, 64)).into_owned();
        Error::invalid(place, format!("{shown:?} is no time as RFC 3339 writes it, such as 2024-01-15T10:30:00.100000Z"))
    })
}

/// The origin of a recording that does not say it: by its first frame, or by its end.
fn start_of(first: Option<&Result<Frame>>, tail: &Tail) -> Option<u64> {
    let by_frame = first.and_then(|frame| frame.as_ref().ok()).and_then(|frame| {
        let timestamp = match frame {
            Frame::WebSocket(frame) => &frame.timestamp,
            Frame::Sse(event) => &event.timestamp,
        };
        time::parse_rfc3339(timestamp)?.checked_sub(frame.due_us()?)
    });
    by_frame.or_else(|| time::parse_rfc3339(tail.end_time.as_deref()?)?.checked_sub(tail.duration?.saturating_mul(1000)))
}

/// Fills in what a recording always has.
fn settle_head(head: &mut Head) {
    // Whether it is deleted is the store's matter.
    for gone in ["deleted", "deletedAt"] {
        head.extra.shift_remove(gone);
    }
    let protocol = head.protocol();
    let metadata = &mut head.metadata;
    metadata.source.get_or_insert(Source::Import);
    if !metadata.path.starts_with('/') {
        metadata.path.insert(0, '/');
    }
    if let StreamHead::Sse { request, .. } = &mut head.stream
        && request.method.is_empty()
    {
        request.method = metadata.method.clone().unwrap_or_else(|| "GET".to_owned());
    }
    if head.name.is_empty() {
        head.name = protocol.made_name(&metadata.path);
    }
}

/// Removes what a recording has of the protocol that is not its own; in words, where there is anything.
fn leave_other_protocol(head: &mut Head) -> Option<String> {
    let own = head.protocol().word();
    let other = Protocol::WORDS.into_iter().find(|word| *word != own)?;
    head.extra.shift_remove(other).filter(|part| !part.is_null())?;
    Some(format!("{other}: left out: the recording's protocol is {own}, and a recording has one"))
}

/// The redaction in force with another redact value: a recording has one, and it may stand in it already.
fn own_redactor(theirs: Option<&Redaction>, ours: &Redactor) -> Result<Option<Box<Redactor>>> {
    if let Some(theirs) = theirs {
        // A replay would compile them, long after whoever brought them has gone.
        Redactor::new(theirs).map_err(|error| match error {
            Error::Invalid { place, message } => {
                let place = place.replace("recording.filterBodyKeys", "bodyKeys").replace("recording.filterPatterns", "patterns");
                Error::invalid(format!("metadata.redaction.{place}"), message)
            }
            other => other,
        })?;
    }
    let value = theirs.map(|theirs| theirs.redact_value.as_str()).unwrap_or_default();
    if value.is_empty() || value == ours.rules().redact_value {
        return Ok(None);
    }
    Ok(Some(Box::new(Redactor::new(&Redaction { redact_value: value.to_owned(), ..ours.rules().clone() })?)))
}

/// The rules of both: what either redacted is redacted.
fn union(mut theirs: Redaction, ours: &Redaction) -> Redaction {
    let add = |theirs: &mut Vec<String>, ours: &[String], same: fn(&str, &str) -> bool| {
        for rule in ours {
            if !theirs.iter().any(|known| same(known, rule)) {
                theirs.push(rule.clone());
            }
        }
    };
    let equal = |a: &str, b: &str| a == b;
    add(&mut theirs.headers, &ours.headers, str::eq_ignore_ascii_case);
    add(&mut theirs.query, &ours.query, equal);
    add(&mut theirs.body_keys, &ours.body_keys, equal);
    add(&mut theirs.patterns, &ours.patterns, equal);
    theirs.redact_value.clone_from(&ours.redact_value);
    theirs
}

/// Redacts fields of other programs, as a JSON text.
fn redact_extra(extra: &mut Map<String, Value>, redactor: &Redactor) {
    if extra.is_empty() {
        return;
    }
    let text = Value::Object(std::mem::take(extra)).to_string();
    let redacted = redactor.text(&text);
    // A pattern may have broken the JSON; then nothing of it is kept.
    if let Ok(Value::Object(kept)) = serde_json::from_str(redacted.as_deref().unwrap_or(&text)) {
        *extra = kept;
    }
}

fn settle_status(tail: &mut Tail, reason: &str) {
    tail.status = Status::Incomplete;
    tail.status_reason.get_or_insert_with(|| reason.to_owned());
}
