//! A recorded WebSocket as the steps of a scenario, frame by frame. It holds the last message at most.

use super::left_out::LeftOut;
use super::writer::{Shape, Writer};
use super::{Clock, Redacted};
use crate::base::error::{Error, Result};
use crate::base::limits::{EXPECT_TIMEOUT_MS, MAX_TIME_MS};
use crate::model::convert_options::{ConfigFormat, ConvertOptions};
use crate::model::recording::{Direction, EndedBy, Frame, FrameType, StreamTail, Tail, WsFrame};
use crate::rules::json_span::{Document, Parsed};
use crate::rules::matching::first_difference;
use crate::wire::ws::{close_payload, is_sendable_close_code, parse_close};

/// The steps as they are written.
pub(super) struct Steps<'a> {
    options: &'a ConvertOptions,
    name: &'a str,
    redacted: Redacted<'a>,
    clock: Clock,
    /// The server message that was written last, if nothing followed it.
    previous: Option<(FrameType, String)>,
    /// When the server's close frame came.
    close_us: Option<u64>,
    /// Whether a client's close frame came.
    has_begun: bool,
    pushed: u64,
}

impl<'a> Steps<'a> {
    pub(super) fn new(options: &'a ConvertOptions, name: &'a str, redacted: Redacted<'a>) -> Self {
        let clock = Clock::new(options.simplify, 0);
        Self { options, name, redacted, clock, previous: None, close_us: None, has_begun: false, pushed: 0 }
    }

    /// Writes the step of a frame, if it has one.
    ///
    /// # Errors
    /// [`Error::Invalid`] naming the frame: no time, bad base64, of another protocol.
    pub(super) fn push(&mut self, frame: &Frame, out: &mut Writer, left_out: &mut LeftOut) -> Result<()> {
        let due_us = frame.due_us().ok_or_else(|| self.wrong("it has neither relativeUs nor relativeMs"))?;
        self.clock.see(due_us);
        let Frame::WebSocket(frame) = frame else { return Err(self.wrong("it is of another protocol than the recording")) };
        match (frame.direction, frame.kind) {
            (_, FrameType::Ping) => left_out.pings += 1,
            (_, FrameType::Pong) => left_out.pongs += 1,
            (Direction::ServerToClient, FrameType::Close) => {
                self.close_us.get_or_insert(self.clock.now_us());
            }
            // Who began to close stands in the tail.
            (Direction::ClientToServer, FrameType::Close) => {}
            (Direction::ServerToClient, FrameType::Text | FrameType::Binary) => self.push_send(frame, out, left_out)?,
            (Direction::ClientToServer, FrameType::Text | FrameType::Binary) => self.push_expect(frame, out, left_out)?,
        }
        self.pushed += 1;
        Ok(())
    }

    fn push_send(&mut self, frame: &WsFrame, out: &mut Writer, left_out: &mut LeftOut) -> Result<()> {
        if frame.kind == FrameType::Binary || frame.encoding.is_some() {
            // Only whether it can be decoded: it is written as it stands.
            frame.payload().ok_or_else(|| self.wrong("its data is no base64"))?;
        }
        if frame.kind == FrameType::Text && frame.encoding.is_some() {
            left_out.server_garbage += 1;
            return Ok(());
        }
        if self.options.deduplicate_messages {
            if self.previous.as_ref().is_some_and(|(kind, data)| *kind == frame.kind && *data == frame.data) {
                return Ok(());
            }
            self.previous = Some((frame.kind, frame.data.clone()));
        }
        let delay_us = self.clock.step(left_out);
        self.begin_step(out, "send");
        out.key("message");
        out.open(Shape::FlowMap);
        out.key("type");
        out.word(if frame.kind == FrameType::Binary { "binary" } else { "text" });
        out.key("value");
        out.string(&frame.data);
        out.key("delay");
        out.ms(delay_us);
        if frame.kind == FrameType::Text {
            out.key("literal");
            out.raw("true");
        }
        out.close();
        out.close();
        Ok(())
    }

    fn push_expect(&mut self, frame: &WsFrame, out: &mut Writer, left_out: &mut LeftOut) -> Result<()> {
        if !self.options.include_client_messages {
            return Ok(());
        }
        self.previous = None;
        let gap_us = self.clock.wait();
        self.begin_step(out, "expect");
        out.key("match");
        out.open(Shape::FlowMap);
        if frame.kind == FrameType::Text {
            if frame.encoding.is_some() {
                left_out.client_garbage += 1;
            } else if self.redacted.is_in(&frame.data) {
                left_out.redacted_messages += 1;
            } else {
                push_content(&frame.data, out);
            }
        }
        out.key("messageType");
        out.word(if frame.kind == FrameType::Binary { "binary" } else { "text" });
        out.close();
        // A client that takes as long as the recorded one, and as long again, is not cut off.
        let timeout_ms = gap_us.div_ceil(1000).saturating_mul(2).min(MAX_TIME_MS);
        if timeout_ms > EXPECT_TIMEOUT_MS {
            out.key("timeout");
            out.raw(&timeout_ms.to_string());
        }
        out.close();
        Ok(())
    }

    /// Ends the scenario and the mock's part.
    pub(super) fn finish(&mut self, tail: &Tail, out: &mut Writer, left_out: &mut LeftOut) {
        if let StreamTail::WebSocket { close_code, close_reason, closed_by, end_relative_us } = &tail.stream {
            match closed_by {
                Some(EndedBy::Server) => {
                    let end_us = end_relative_us.or_else(|| tail.duration.map(|ms| ms.saturating_mul(1000)));
                    let vanished = *close_code == Some(1006);
                    self.clock.see(self.close_us.filter(|_| !vanished).or(end_us).unwrap_or(0));
                    self.push_close(*close_code, close_reason.as_deref().unwrap_or_default(), out, left_out);
                }
                Some(EndedBy::Client) => left_out.client_close = true,
                Some(EndedBy::ProtocolError) => left_out.protocol_error = true,
                Some(EndedBy::Recorder) | None => {}
            }
        }
        if self.has_begun {
            out.close();
            out.close();
        } else {
            // Without a scenario it would echo, which the recorded server did not.
            out.key("echoMode");
            out.raw("false");
        }
    }

    fn push_close(&mut self, code: Option<u16>, reason: &str, out: &mut Writer, left_out: &mut LeftOut) {
        let code = match code {
            None | Some(1005) => 1005,
            Some(1006) => 1006,
            Some(code) if is_sendable_close_code(code) => code,
            Some(code) => {
                left_out.close_code = Some(code);
                1005
            }
        };
        let delay_us = self.clock.step(left_out);
        self.begin_step(out, "close");
        out.key("code");
        out.raw(&code.to_string());
        let (_, fitting) = parse_close(&close_payload(Some(code), reason));
        if !fitting.is_empty() && is_sendable_close_code(code) {
            left_out.close_reason = fitting != reason;
            out.key("reason");
            out.string(&fitting);
        }
        out.key("delay");
        out.ms(delay_us);
        out.close();
    }

    fn begin_step(&mut self, out: &mut Writer, kind: &str) {
        if !self.has_begun {
            self.has_begun = true;
            out.key("scenario");
            out.open(Shape::BlockMap);
            out.key("name");
            out.string(self.name);
            out.key("steps");
            out.open(Shape::BlockList);
        }
        out.item();
        out.open(Shape::FlowMap);
        out.key("type");
        out.word(kind);
    }

    fn wrong(&self, message: &str) -> Error {
        Error::invalid(format!("frames[{}]", self.pushed), message)
    }
}

/// What a client's text must be: equal as JSON where it is JSON, else equal.
fn push_content(text: &str, out: &mut Writer) {
    out.key("type");
    let document = match Document::parse(text) {
        Parsed::Json(document) => Some(document),
        Parsed::NotJson | Parsed::TooLarge => None,
    };
    // Some values do not survive being written and read: a float whose last digit is lost in reading, a key that serde_json keeps
    // for itself. Such a message is expected as it is.
    let value = document.map(|document| document.value()).filter(|value| {
        let mut written = Writer::new(ConfigFormat::Json);
        written.value(value);
        serde_json::from_str(written.text()).is_ok_and(|reread| first_difference(value, &reread).is_none())
    });
    match value {
        Some(value) => {
            out.word("json");
            out.key("value");
            out.value(&value);
        }
        None => {
            out.word("exact");
            out.key("value");
            out.string(text);
        }
    }
}
