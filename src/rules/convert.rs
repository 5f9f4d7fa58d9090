//! A recording becomes a config with one mock: its text, piece by piece. It holds no more than a piece and a frame, and reads no file:
//! where the frames come from is an argument, and they are walked over as often as the text's order asks for.
//!
//! Every delay counts from the step before: from the 101 or the response head for the first one, from the moment that a client's
//! message came for what follows it, else from the server message before. A mock keeps such delays as one row of deadlines, so that
//! its client gets every message at the recorded time after its own messages. A step that is left out adds its gap to the next one.

mod left_out;
mod sse;
mod websocket;
mod writer;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

pub use self::left_out::LeftOut;
use self::writer::{Shape, Writer};
use super::json_span::{Token, scan, unescape};
use crate::base::error::{Error, Result};
use crate::base::limits::MAX_TIME_MS;
use crate::base::text::{clean, shorten};
use crate::model::api::check_path;
use crate::model::config::VERSION;
use crate::model::convert_options::{ConvertOptions, Simplify};
use crate::model::recording::{Frame, Head, Redaction, StreamHead, Tail};
use crate::wire::headers::is_token;

/// Bytes of text that are gathered before they are handed over.
const PIECE_BYTES: usize = 32 * 1024;
/// Characters of a mock's id.
const MAX_ID_CHARS: usize = 64;

/// The frames of a recording, in order.
pub type Frames<'a> = Box<dyn Iterator<Item = Result<Frame>> + 'a>;

/// A recording that has ended.
pub struct Recorded<'a> {
    /// What it begins with.
    pub head: &'a Head,
    /// What it ends with.
    pub tail: &'a Tail,
    /// Begins a walk over its frames.
    pub frames: &'a dyn Fn() -> Result<Frames<'a>>,
}

/// What a conversion made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// What the mock does not have of the recording.
    pub left_out: LeftOut,
    /// Bytes of the config.
    pub bytes: u64,
}

/// Converts a recording and hands the config's text to `sink`, piece by piece. The same recording and options give the same bytes.
///
/// # Errors
/// [`Error::Invalid`] for a recording without a path that a mock can have, and for a bad frame, naming it; those of reading a frame;
/// those of `sink`.
pub fn convert(recorded: &Recorded<'_>, options: &ConvertOptions, sink: &mut dyn FnMut(&str) -> Result<()>) -> Result<Converted> {
    let head = recorded.head;
    let mut left_out = LeftOut::default();
    left_out.look_at(recorded.tail);
    let redacted = Redacted::new(head.metadata.redaction.as_ref());
    let path = mock_path(head, options)?;
    left_out.redacted_path = options.endpoint_path.is_none() && redacted.marks(path);
    let name = mock_name(head, options);
    let mut bytes = 0;
    let mut flush = |out: &mut Writer, at_least: usize| {
        if out.text().len() < at_least {
            return Ok(());
        }
        bytes += out.text().len() as u64;
        sink(out.text())?;
        out.clear();
        Ok(())
    };

    let mut out = Writer::new(options.format);
    open_mock(head, options, name, &mut out);
    match &head.stream {
        StreamHead::WebSocket { subprotocol } => {
            out.key("websocket");
            out.open(Shape::BlockMap);
            out.key("path");
            out.string(path);
            write_subprotocol(subprotocol.as_deref(), &mut out, &mut left_out);
            let mut steps = websocket::Steps::new(options, name, redacted);
            for frame in (recorded.frames)()? {
                steps.push(&frame?, &mut out, &mut left_out)?;
                flush(&mut out, PIECE_BYTES)?;
            }
            steps.finish(recorded.tail, &mut out, &mut left_out);
        }
        StreamHead::Sse { request, response_status, response_headers, head_relative_us } => {
            out.key("http");
            out.open(Shape::BlockMap);
            out.key("matcher");
            out.open(Shape::BlockMap);
            out.key("method");
            let method = Some(request.method.as_str()).filter(|method| !method.is_empty()).or(head.metadata.method.as_deref());
            out.string(checked_method(method.unwrap_or("GET"))?);
            out.key("path");
            out.string(path);
            out.close();
            out.key("sse");
            let response = sse::Response { status: *response_status, headers: response_headers, head_us: *head_relative_us };
            sse::write_stream(recorded, &response, options, &mut out, &mut left_out, &mut |out| flush(out, PIECE_BYTES))?;
        }
    }
    // The protocol's part, the mock, the list and the whole.
    (0..4).for_each(|_| out.close());
    flush(&mut out, 0)?;
    Ok(Converted { left_out, bytes })
}

/// The name of the mock: the one asked for, or the recording's.
pub fn mock_name<'a>(head: &'a Head, options: &'a ConvertOptions) -> &'a str {
    options.mock_name.as_deref().unwrap_or(&head.name)
}

/// The id of the mock: the recording's, so that a conversion can be repeated; with the path where another one was asked for, so that
/// mocks of one recording on several paths can stand beside each other.
pub fn mock_id(head: &Head, options: &ConvertOptions) -> String {
    let mut id = head.id.clone();
    if let Some(path) = options.endpoint_path.as_deref().filter(|path| *path != head.metadata.path) {
        for c in path.chars() {
            match c {
                'A'..='Z' | 'a'..='z' | '0'..='9' | '.' | '_' => id.push(c),
                '*' => id.push_str("any"),
                _ => id.push('-'),
            }
        }
    }
    id.retain(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'));
    id.truncate(MAX_ID_CHARS);
    id
}

fn mock_path<'a>(head: &'a Head, options: &'a ConvertOptions) -> Result<&'a str> {
    let Some(path) = &options.endpoint_path else {
        let path = &head.metadata.path;
        return check_path("metadata.path", path).map(|()| path.as_str()).map_err(|error| match error {
            Error::Invalid { place, message } => Error::invalid(place, format!("{message}; choose the mock's path with endpointPath")),
            other => other,
        });
    };
    Ok(path)
}

fn checked_method(method: &str) -> Result<&str> {
    if is_token(method.as_bytes()) {
        return Ok(method);
    }
    Err(Error::invalid("sse.request.method", format!("{:?} can be no method of a request", clean(&shorten(method, 64)))))
}

/// Everything up to the protocol's part.
fn open_mock(head: &Head, options: &ConvertOptions, name: &str, out: &mut Writer) {
    out.open(Shape::BlockMap);
    out.key("version");
    out.string(VERSION);
    out.key("mocks");
    out.open(Shape::BlockList);
    out.item();
    out.open(Shape::BlockMap);
    out.key("id");
    out.string(&mock_id(head, options));
    out.key("name");
    out.string(name);
    if let Some(description) = &head.description {
        out.key("description");
        out.string(description);
    }
    out.key("type");
    out.word(match head.stream {
        StreamHead::WebSocket { .. } => "websocket",
        StreamHead::Sse { .. } => "http",
    });
    out.key("enabled");
    out.raw("true");
}

fn write_subprotocol(subprotocol: Option<&str>, out: &mut Writer, left_out: &mut LeftOut) {
    match subprotocol {
        Some(name) if is_token(name.as_bytes()) => {
            out.key("subprotocols");
            out.open(Shape::FlowList);
            out.item();
            out.string(name);
            out.close();
        }
        Some(_) => left_out.subprotocol = true,
        None => {}
    }
}

/// The clock of a conversion: how far the recording and its mock have come.
#[derive(Debug)]
struct Clock {
    simplify: Option<Simplify>,
    /// The latest time seen; it never goes back.
    now_us: u64,
    /// When the last step was that was written.
    step_us: u64,
}

impl Clock {
    /// A clock whose first step counts from `start_us`.
    fn new(simplify: Option<Simplify>, start_us: u64) -> Self {
        Self { simplify, now_us: start_us, step_us: start_us }
    }

    /// A frame of this time. A file that people wrote may have times that go back; order is what counts then.
    fn see(&mut self, due_us: u64) {
        self.now_us = self.now_us.max(due_us);
    }

    fn now_us(&self) -> u64 {
        self.now_us
    }

    /// A step of the server: its delay in microseconds, simplified if that was asked for.
    fn step(&mut self, left_out: &mut LeftOut) -> u64 {
        let gap_us = self.wait();
        let delay_us = self.simplify.map_or(gap_us, |simplify| simplify.apply(gap_us));
        left_out.delays += u64::from(delay_us > MAX_TIME_MS * 1000);
        delay_us.min(MAX_TIME_MS * 1000)
    }

    /// A step of the client: the microseconds that it took.
    fn wait(&mut self) -> u64 {
        let gap_us = self.now_us - self.step_us;
        self.step_us = self.now_us;
        gap_us
    }
}

/// What tells a text in which something was redacted.
#[derive(Debug, Clone, Copy)]
struct Redacted<'a>(Option<&'a Redaction>);

impl<'a> Redacted<'a> {
    fn new(rules: Option<&'a Redaction>) -> Self {
        Self(rules)
    }

    /// Whether something in a client's text was redacted, or may have been: an empty redact value leaves no mark.
    fn is_in(self, text: &str) -> bool {
        let leaves_none = |rules: &&Redaction| rules.redact_value.is_empty();
        self.0
            .filter(leaves_none)
            .map_or_else(|| self.marks(text), |rules| !rules.patterns.is_empty() || (!rules.body_keys.is_empty() && text.contains("\"\"")))
    }

    /// Whether the redact value is in a text, in a string of JSON also where it is written with escapes.
    fn marks(self, text: &str) -> bool {
        let Some(value) = self.0.map(|rules| rules.redact_value.as_str()).filter(|value| !value.is_empty()) else { return false };
        if text.contains(value) {
            return true;
        }
        let mut found = false;
        if text.contains('\\') {
            let mut look = |literal: &str| found |= unescape(literal).contains(value);
            scan(text, |token| match token {
                Token::Open { key, .. } => key.into_iter().for_each(|key| look(&text[key])),
                Token::Leaf { key, span } => key.into_iter().chain([span]).for_each(|span| look(&text[span])),
                Token::Close { .. } => {}
            });
        }
        found
    }
}
