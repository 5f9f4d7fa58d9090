//! A recorded event stream as an `sse` mock: the delays in one walk over the events, the events in a second one. It holds the last
//! event at most.

use std::borrow::Cow;

use super::left_out::LeftOut;
use super::writer::{Shape, Writer};
use super::{Clock, Recorded};
use crate::base::error::{Error, Result};
use crate::model::convert_options::ConvertOptions;
use crate::model::mock_http::is_bodiless;
use crate::model::pairs::Pairs;
use crate::model::recording::{EndedBy, Frame, Redaction, SseEvent, StreamTail, Tail, decode};
use crate::rules::response::{is_redacted, kept_fields};
use crate::wire::headers::is_token;

/// The response that an event stream began with.
pub(super) struct Response<'a> {
    pub(super) status: u16,
    pub(super) headers: &'a Pairs,
    pub(super) head_us: Option<u64>,
}

/// Writes the object behind `sse`. `flush` takes what has been written, again and again.
///
/// # Errors
/// [`Error::Invalid`] naming the event: no time, of another protocol; those of reading and of `flush`.
pub(super) fn write_stream(
    recorded: &Recorded<'_>,
    response: &Response<'_>,
    options: &ConvertOptions,
    out: &mut Writer,
    left_out: &mut LeftOut,
    flush: &mut dyn FnMut(&mut Writer) -> Result<()>,
) -> Result<()> {
    out.open(Shape::BlockMap);
    write_head(response, recorded.head.metadata.redaction.as_ref(), out, left_out);

    out.key("timing");
    out.open(Shape::BlockMap);
    let mut start = Clock::new(options.simplify, 0);
    start.see(response.head_us.unwrap_or(0));
    out.key("initialDelay");
    out.ms(start.step(left_out));
    out.key("perEventDelays");
    out.open(Shape::FlowList);
    let mut events = Events::new(options, response);
    for frame in (recorded.frames)()? {
        if events.push(&frame?)?.is_some() {
            let delay_us = events.clock.step(left_out);
            out.item();
            out.ms(delay_us);
            flush(out)?;
        }
    }
    out.close();
    out.close();
    let mut clock = events.clock;

    out.key("events");
    out.open(Shape::BlockList);
    let mut events = Events::new(options, response);
    for frame in (recorded.frames)()? {
        let frame = frame?;
        left_out.raw_events += u64::from(matches!(&frame, Frame::Sse(event) if event.raw.is_some()));
        if let Some(event) = events.push(&frame)? {
            write_event(event, out, left_out);
            flush(out)?;
        }
    }
    out.close();

    write_end(recorded.tail, &mut clock, out, left_out);
    out.key("resume");
    out.open(Shape::BlockMap);
    out.key("enabled");
    out.raw("true");
    out.close();
    out.close();
    Ok(())
}

/// Status and header fields.
fn write_head(response: &Response<'_>, redaction: Option<&Redaction>, out: &mut Writer, left_out: &mut LeftOut) {
    let status = if (200..600).contains(&response.status) && !is_bodiless(response.status) {
        response.status
    } else {
        left_out.status = Some(response.status);
        200
    };
    out.key("statusCode");
    out.raw(&status.to_string());
    for (name, value) in response.headers.iter() {
        if is_redacted(name, value, redaction) {
            left_out.redacted_fields += 1;
        } else if value.contains(['\r', '\n', '\0']) {
            // Not even kept for a replay.
            left_out.unfit_fields += 1;
        }
    }
    let mut fields: Vec<(&str, Vec<String>)> = Vec::new();
    let kept = kept_fields(response.headers, redaction);
    for (name, value) in &kept.0 {
        let value = String::from_utf8_lossy(value).into_owned();
        if !is_token(name.as_bytes()) || value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
            left_out.unfit_fields += 1;
            continue;
        }
        match fields.iter_mut().find(|(known, _)| known.eq_ignore_ascii_case(name)) {
            Some((_, values)) => values.push(value),
            None => fields.push((name, vec![value])),
        }
    }
    out.key("headers");
    out.open(Shape::BlockMap);
    for (name, values) in fields {
        out.any_key(name);
        match values.as_slice() {
            [one] => out.string(one),
            several => {
                out.open(Shape::FlowList);
                for value in several {
                    out.item();
                    out.string(value);
                }
                out.close();
            }
        }
    }
    out.close();
}

fn write_event(event: &SseEvent, out: &mut Writer, left_out: &mut LeftOut) {
    // `message` is what a stream that names none has.
    let kind = event.kind.as_deref().filter(|kind| *kind != "message" && event.data.is_some());
    let (kind, id) = (kind.map(one_line), event.id.as_deref().map(one_line));
    left_out.cut_names += u64::from([&kind, &id].into_iter().flatten().any(|name| matches!(name, Cow::Owned(_))));
    out.item();
    out.open(Shape::FlowMap);
    for (name, text) in
        [("type", kind.as_deref()), ("data", event.data.as_deref()), ("id", id.as_deref()), ("comment", event.comment.as_deref())]
    {
        if let Some(text) = text {
            out.key(name);
            out.string(text);
        }
    }
    if let Some(retry) = event.retry {
        out.key("retry");
        out.raw(&retry.to_string());
    }
    if event.data.is_some() {
        out.key("literal");
        out.raw("true");
    }
    out.close();
}

/// A type or an id as a mock takes it: on one line, without NUL.
fn one_line(text: &str) -> Cow<'_, str> {
    if text.contains(['\r', '\n', '\0']) { Cow::Owned(text.replace(['\r', '\n', '\0'], "")) } else { Cow::Borrowed(text) }
}

/// How the stream ends.
fn write_end(tail: &Tail, clock: &mut Clock, out: &mut Writer, left_out: &mut LeftOut) {
    let StreamTail::Sse { tail: rest, tail_encoding, ended_by, end_relative_us } = &tail.stream else { return };
    left_out.tail_bytes = rest.as_deref().and_then(|rest| decode(rest, *tail_encoding)).map_or(0, |bytes| bytes.len());
    out.key("lifecycle");
    out.open(Shape::BlockMap);
    out.key("termination");
    out.open(Shape::FlowMap);
    out.key("type");
    if *ended_by == Some(EndedBy::Server) {
        let end_us = end_relative_us.or_else(|| tail.duration.map(|ms| ms.saturating_mul(1000)));
        clock.see(end_us.unwrap_or(0));
        out.word("graceful");
        out.key("closeDelay");
        out.ms(clock.step(left_out));
    } else {
        out.word("keepOpen");
    }
    out.close();
    out.close();
}

/// A walk over the events that a mock sends.
struct Events {
    deduplicates: bool,
    clock: Clock,
    /// The event that was kept last.
    previous: Option<SseEvent>,
    pushed: u64,
}

impl Events {
    fn new(options: &ConvertOptions, response: &Response<'_>) -> Self {
        let clock = Clock::new(options.simplify, response.head_us.unwrap_or(0));
        Self { deduplicates: options.deduplicate_messages, clock, previous: None, pushed: 0 }
    }

    /// The event of a frame, if the mock sends it.
    fn push<'f>(&mut self, frame: &'f Frame) -> Result<Option<&'f SseEvent>> {
        let wrong = |message: &str| Error::invalid(format!("events[{}]", self.pushed), message);
        let due_us = frame.due_us().ok_or_else(|| wrong("it has neither relativeUs nor relativeMs"))?;
        let Frame::Sse(event) = frame else { return Err(wrong("it is of another protocol than the recording")) };
        self.clock.see(due_us);
        self.pushed += 1;
        // A block of fields that nobody knows says nothing.
        if event.data.is_none() && event.id.is_none() && event.retry.is_none() && event.comment.is_none() {
            return Ok(None);
        }
        if self.deduplicates {
            if self.previous.as_ref().is_some_and(|previous| is_same(previous, event)) {
                return Ok(None);
            }
            self.previous = Some(event.clone());
        }
        Ok(Some(event))
    }
}

/// Whether two events say the same.
fn is_same(one: &SseEvent, other: &SseEvent) -> bool {
    (&one.kind, &one.data, &one.id, one.retry, &one.comment) == (&other.kind, &other.data, &other.id, other.retry, &other.comment)
}
