//! The event stream of an entry in an HTTP archive: its text, Chrome's `_eventSourceMessages`, or both, which tell what came and when.

use std::collections::VecDeque;

use serde_json::value::RawValue;

use super::Setting;
use super::har::{Exchange, content_bytes, plain_tail};
use super::plan::{FramePlace, Frames, Plan};
use super::times::{Moment, moment, seconds};
use crate::base::error::{Error, Result};
use crate::base::limits::READ_BYTES;
use crate::base::time;
use crate::model::har::{EVENT_SOURCE, EntryIn, EventIn};
use crate::model::raw::{Items, words};
use crate::model::recording::{EndedBy, Frame, SseEvent, StreamHead, StreamTail, encode};
use crate::wire::sse::{Block, EventStreamParser};

/// Whether an entry is an event stream.
pub(super) fn is_event_stream(entry: &EntryIn<'_>) -> bool {
    let is_type = |value: &str| value.split(';').next().unwrap_or("").trim().eq_ignore_ascii_case("text/event-stream");
    let response = entry.response.as_ref();
    let mime = response.and_then(|response| response.content.as_ref()).and_then(|content| content.mime_type.as_deref());
    let headers = response.and_then(|response| response.headers.as_deref()).unwrap_or_default();
    let named = headers.iter().any(|field| field.name.eq_ignore_ascii_case("Content-Type") && is_type(&field.value));
    entry.events.is_some() || entry.resource_type.as_deref() == Some(EVENT_SOURCE) || mime.is_some_and(is_type) || named
}

/// Reads the event stream of an entry.
pub(super) fn read_events<'a>(exchange: &Exchange<'a>, setting: Setting<'a>) -> Result<Plan<'a>> {
    let place = format!("{}._eventSourceMessages", exchange.place);
    let list = exchange.entry.events.map_or("[]", RawValue::get);
    let items = Items::of(if list == "null" { "[]" } else { list }, &place)?;
    let messages = Messages::survey(items.clone(), &place)?;
    let content = exchange.entry.response.as_ref().and_then(|response| response.content.as_ref());
    let text = match content {
        Some(content) => content_bytes(content, &exchange.place)?.filter(|bytes| !bytes.is_empty() || messages.count == 0),
        None => None,
    };
    if text.is_none() && messages.count == 0 {
        let elsewhere = content.and_then(|content| content.file.as_deref()).is_some();
        return Err(exchange.wrong(if elsewhere {
            "its text is in another file: save the HAR with its contents embedded"
        } else {
            "its text is not in the HAR: there is no response.content.text, and no _eventSourceMessages"
        }));
    }
    let start_us = match (exchange.start_us, messages.first) {
        (Some(start), Some(first)) => start.min(first.wall_us(start)),
        (Some(start), None) => start,
        (None, Some(Moment::Wall(first))) => first,
        (None, _) => setting.now_us,
    };
    let first_us = messages.first.map_or(u64::MAX, |first| first.wall_us(start_us) - start_us);
    let (head_us, end_us) = exchange.phases();
    let head_us = head_us.min(first_us);
    let stream = StreamHead::Sse {
        request: exchange.request()?,
        response_status: exchange.status(),
        response_headers: exchange.response_headers(),
        head_relative_us: Some(head_us),
    };
    let head = exchange.head(start_us, stream)?;
    let aborted = exchange.entry.response.as_ref().and_then(|response| response.error.as_deref()).is_some_and(|error| !error.is_empty());
    let ended_by = match (aborted, end_us) {
        (true, _) => Some(EndedBy::Client),
        // A stream that was still open when the archive was saved has no end.
        (false, 0) if text.is_none() => None,
        (false, _) => Some(EndedBy::Server),
    };
    let mut rest = Vec::new();
    let frames: Frames<'a> = match text {
        Some(bytes) => {
            let survey = survey_text(&bytes, (messages.count > 0).then(|| items.clone()));
            rest = survey.tail;
            if messages.count == 0 {
                let length_us = exchange.receiving_us().unwrap_or(end_us.saturating_sub(head_us));
                Box::new(spread(Blocks::of(bytes), survey.blocks, head_us, length_us, start_us))
            } else if survey.agrees {
                Box::new(timed(Blocks::of(bytes), items, start_us, head_us))
            } else {
                rest.clear();
                Box::new(foreign_events(items, place.clone(), start_us))
            }
        }
        None => Box::new(foreign_events(items, place.clone(), start_us)),
    };
    let (tail, tail_encoding) = encode(&rest);
    let stream = StreamTail::Sse { tail: Some(tail).filter(|tail| !tail.is_empty()), tail_encoding, ended_by, end_relative_us: None };
    let mut tail = plain_tail(stream);
    tail.end_time = (end_us > 0).then(|| time::rfc3339(exchange.start_us.unwrap_or(start_us).saturating_add(end_us).max(start_us)));
    Plan::new(head, tail, frames, FramePlace::List(place), setting)
}

/// What a first look at the messages tells.
struct Messages {
    count: u64,
    first: Option<Moment>,
}

impl Messages {
    fn survey(mut items: Items<'_>, place: &str) -> Result<Self> {
        let mut survey = Self { count: 0, first: None };
        while let Some(event) = items.read::<EventIn<'_>>() {
            let at = items.given() - 1;
            let event = event.map_err(|error| Error::invalid(format!("{place}[{at}]"), error))?;
            let when = event.time.and_then(|time| moment(time.get()));
            let when = when.ok_or_else(|| Error::invalid(format!("{place}[{at}]"), "it has no time"))?;
            survey.first.get_or_insert(when);
            survey.count += 1;
        }
        Ok(survey)
    }
}

/// What a first look at a stream's text tells.
struct TextSurvey {
    blocks: u64,
    /// The bytes after the last blank line.
    tail: Vec<u8>,
    /// Its events are those of the messages.
    agrees: bool,
}

fn survey_text(bytes: &[u8], mut items: Option<Items<'_>>) -> TextSurvey {
    let mut parser = EventStreamParser::new(u64::MAX);
    let (mut blocks, mut agrees) = (0, true);
    let fed = bytes.chunks(READ_BYTES).try_for_each(|piece| {
        parser.feed(piece, &mut |block| {
            blocks += 1;
            if let (Some(data), Some(items)) = (&block.data, &mut items) {
                let told = items.read::<EventIn<'_>>().and_then(std::result::Result::ok).and_then(|event| event.data);
                agrees &= told.as_deref() == Some(data);
            }
        })
    });
    agrees &= fed.is_ok() && items.is_none_or(|mut items| items.read::<&RawValue>().is_none());
    TextSurvey { blocks, tail: parser.into_tail(), agrees }
}

/// The blocks of a text, parsed as they are asked for.
struct Blocks {
    bytes: Vec<u8>,
    at: usize,
    parser: EventStreamParser,
    ready: VecDeque<Block>,
}

impl Blocks {
    fn of(bytes: Vec<u8>) -> Self {
        Self { bytes, at: 0, parser: EventStreamParser::new(u64::MAX), ready: VecDeque::new() }
    }
}

impl Iterator for Blocks {
    type Item = Block;

    fn next(&mut self) -> Option<Block> {
        while self.ready.is_empty() && self.at < self.bytes.len() {
            let end = (self.at + READ_BYTES).min(self.bytes.len());
            let ready = &mut self.ready;
            let fed = self.parser.feed(&self.bytes[self.at..end], &mut |block| ready.push_back(block));
            // Without a limit nothing is too large.
            self.at = if fed.is_ok() { end } else { self.bytes.len() };
        }
        self.ready.pop_front()
    }
}

/// A text's blocks, spread evenly over the microseconds behind the head.
fn spread(blocks: Blocks, count: u64, head_us: u64, length_us: u64, start_us: u64) -> impl Iterator<Item = Result<Frame>> {
    let gaps = u128::from(count.saturating_sub(1).max(1));
    let length = u128::from(length_us);
    blocks.enumerate().map(move |(index, block)| {
        // No more than `length_us`, so it fits.
        let after = u64::try_from(length * index as u128 / gaps).unwrap_or(u64::MAX);
        Ok(Frame::Sse(SseEvent::of_block(block, start_us, head_us.saturating_add(after))))
    })
}

/// A text's blocks with the times of the messages; a block without data comes with the event that follows it.
fn timed<'a>(mut blocks: Blocks, mut items: Items<'a>, start_us: u64, head_us: u64) -> impl Iterator<Item = Result<Frame>> + 'a {
    let mut waiting: VecDeque<Block> = VecDeque::new();
    let mut last_us = head_us;
    let mut due = 0;
    std::iter::from_fn(move || {
        while due == 0 {
            let Some(block) = blocks.next() else {
                due = waiting.len();
                break;
            };
            let is_event = block.data.is_some();
            waiting.push_back(block);
            if is_event {
                let event = items.read::<EventIn<'a>>().and_then(std::result::Result::ok);
                let when = event.and_then(|event| moment(event.time?.get()));
                last_us = when.map_or(last_us, |when| when.wall_us(start_us).saturating_sub(start_us));
                due = waiting.len();
            }
        }
        due = due.saturating_sub(1);
        waiting.pop_front().map(|block| Ok(Frame::Sse(SseEvent::of_block(block, start_us, last_us))))
    })
}

/// The events of messages alone.
fn foreign_events(mut items: Items<'_>, place: String, start_us: u64) -> impl Iterator<Item = Result<Frame>> {
    let mut last_id = String::new();
    std::iter::from_fn(move || {
        let at = items.given();
        let event = items.read::<EventIn<'_>>()?;
        let event = event.and_then(|event| {
            let when = event.time.and_then(|time| moment(time.get())).ok_or("it has no time")?;
            Ok(event_of(event, &mut last_id, when.wall_us(start_us).saturating_sub(start_us), start_us))
        });
        Some(event.map(Frame::Sse).map_err(|message| Error::invalid(format!("{place}[{at}]"), message)))
    })
}

/// The event that the fields of a message tell; `last_id` is the id of the one before, which an event without an id repeats.
pub fn event_of(event: EventIn<'_>, last_id: &mut String, relative_us: u64, start_us: u64) -> SseEvent {
    let id = event.event_id.unwrap_or_default();
    let own_id = (!id.is_empty() && id != *last_id).then(|| id.clone());
    *last_id = id;
    SseEvent {
        kind: Some(event.event_name.filter(|name| !name.is_empty()).unwrap_or_else(|| "message".to_owned())),
        data: Some(event.data.unwrap_or_default()),
        id: own_id,
        timestamp: time::rfc3339(start_us.saturating_add(relative_us)),
        relative_ms: Some(relative_us / 1000),
        relative_us: Some(relative_us),
        ..SseEvent::default()
    }
}

/// The entries of messages and blocks that this program wrote, in the archive's entry at `place`.
pub(super) fn own_frames<'a>(mut items: Items<'a>, mut blocks: Items<'a>, place: String, start_us: u64) -> Frames<'a> {
    let mut last_id = String::new();
    let mut next_block = None;
    let mut given = 0;
    Box::new(std::iter::from_fn(move || {
        if next_block.is_none() {
            next_block = blocks.read::<(u64, SseEvent)>();
        }
        let ends = || items.clone().read::<&RawValue>().is_none();
        let frame = match next_block.take() {
            Some(Ok((at, block))) if at <= given || ends() => Ok(block),
            Some(Err(message)) => Err(Error::invalid(format!("{place}._mockd.blocks[{}]", blocks.given() - 1), message)),
            later => {
                next_block = later;
                let at = items.given();
                own_event(items.read()?, &mut last_id, start_us)
                    .map_err(|message| Error::invalid(format!("{place}._eventSourceMessages[{at}]"), message))
            }
        };
        given += 1;
        Some(frame.map(Frame::Sse))
    }))
}

fn own_event(
    event: std::result::Result<EventIn<'_>, String>,
    last_id: &mut String,
    start_us: u64,
) -> std::result::Result<SseEvent, String> {
    let event = event?;
    if let Some(own) = event.own {
        let mut known: SseEvent = serde_json::from_str(own.get()).map_err(|error| words(&error))?;
        known.data = event.data;
        *last_id = event.event_id.unwrap_or_default();
        return Ok(known);
    }
    let at = event.time.map(RawValue::get).and_then(seconds).ok_or("it has no time")?;
    Ok(event_of(event, last_id, at.saturating_sub(start_us), start_us))
}
