//! The lines of a recording while it is made: each message and event that passed, redacted, as the text of its frame, and what all of them
//! add up to. It touches no file and no clock; when lines are written, and when a recording ends, is for the take to say.

use std::sync::Arc;

use super::take::Bounds;
use crate::base::time::{Micros, Origin};
use crate::model::frame_writer::{Passed, Times, push_event, push_passed};
use crate::model::recording::{Direction, FrameType, SseEvent, Stats};
use crate::rules::redact::Redactor;
use crate::wire::sse::Block;
use crate::wire::ws::{self, opcode};

/// The lines that are not in the journal yet, and the counts of all.
pub(super) struct Lines {
    origin: Origin,
    bounds: Bounds,
    redactor: Arc<Redactor>,
    times: Times,
    text: Vec<u8>,
    first: bool,
    seen: Stats,
    close: Option<Closing>,
    full_us: Option<Micros>,
}

/// What a side's close frame said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Closing {
    /// The code, if it had one.
    pub code: Option<u16>,
    /// The reason, not redacted; empty where it had none.
    pub reason: String,
    /// Who sent it.
    pub direction: Direction,
}

impl Lines {
    /// No lines yet.
    pub fn new(origin: Origin, bounds: Bounds, redactor: Arc<Redactor>) -> Self {
        let times = Times::new(origin.wall_us);
        let (text, seen) = (Vec::new(), Stats::default());
        Self { origin, bounds, redactor, times, text, first: true, seen, close: None, full_us: None }
    }

    /// The counts of all lines so far, also of those that have been forgotten.
    pub fn seen(&self) -> Stats {
        self.seen
    }

    /// The first close frame of either side.
    pub fn close(&self) -> Option<&Closing> {
        self.close.as_ref()
    }

    /// The stamp of what reached the session's bound: from there on everything is left out.
    pub fn full_us(&self) -> Option<Micros> {
        self.full_us
    }

    /// The lines since the last [`Lines::forget`].
    pub fn text(&self) -> &[u8] {
        &self.text
    }

    /// Forgets the lines, which have been written.
    pub fn forget(&mut self) {
        self.text.clear();
    }

    /// Gives what there is room for lines in for another: all recordings share one, and in between none has any.
    pub fn swap_text(&mut self, text: &mut Vec<u8>) {
        std::mem::swap(&mut self.text, text);
    }

    /// Adds a message or control frame.
    pub fn add_message(&mut self, direction: Direction, stamp_us: Micros, opcode: u8, payload: &[u8]) {
        let relative_us = self.origin.relative_us(stamp_us);
        if self.is_over(relative_us, stamp_us) {
            return;
        }
        let kind = match opcode {
            opcode::TEXT => FrameType::Text,
            opcode::BINARY => FrameType::Binary,
            opcode::PING => FrameType::Ping,
            opcode::PONG => FrameType::Pong,
            _ => FrameType::Close,
        };
        self.seen.count_message(kind, direction, payload.len() as u64);
        let mut passed = Passed { direction, kind, payload, close_code: None, close_reason: None, relative_us };
        self.begin_line();
        if kind == FrameType::Close {
            let (code, reason) = ws::parse_close(payload);
            let redacted = self.redactor.plain(&reason);
            let said = redacted.as_deref().unwrap_or(&reason);
            passed = Passed { payload: &[], close_code: code, close_reason: Some(said).filter(|_| !reason.is_empty()), ..passed };
            push_passed(&mut self.text, &passed, &mut self.times);
            self.close.get_or_insert(Closing { code, reason, direction });
        } else {
            let redacted = self.redactor.payload(kind, payload);
            passed.payload = redacted.as_deref().unwrap_or(payload);
            push_passed(&mut self.text, &passed, &mut self.times);
        }
        self.text.push(b'\n');
        self.end_frame(stamp_us);
    }

    /// Adds a block of an event stream.
    pub fn add_block(&mut self, stamp_us: Micros, block: Block) {
        let relative_us = self.origin.relative_us(stamp_us);
        if self.is_over(relative_us, stamp_us) {
            return;
        }
        let mut event = SseEvent::of_block(block, self.origin.wall_us, relative_us);
        if let Some(data) = &event.data {
            self.seen.count_event(data.len() as u64);
        }
        self.redactor.event(&mut event);
        self.begin_line();
        push_event(&mut self.text, &event);
        self.text.push(b'\n');
        self.end_frame(stamp_us);
    }

    /// Whether what comes now is left out: it is later than the session's bound, or another was.
    fn is_over(&mut self, relative_us: u64, stamp_us: Micros) -> bool {
        if self.bounds.max_duration_ms.is_some_and(|max| relative_us > max.saturating_mul(1000)) {
            self.full_us.get_or_insert(stamp_us);
        }
        self.full_us.is_some()
    }

    fn begin_line(&mut self) {
        if !std::mem::take(&mut self.first) {
            self.text.push(b',');
        }
    }

    fn end_frame(&mut self, stamp_us: Micros) {
        if self.bounds.max_frames.is_some_and(|max| self.seen.frame_count >= max) {
            self.full_us.get_or_insert(stamp_us);
        }
    }
}
