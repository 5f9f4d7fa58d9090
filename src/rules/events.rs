//! An SSE mock's side of one connection: events on their time, keep-alives, the end. Every deadline counts from the one before it
//! and not from when that was met, so that nothing drifts.

use std::sync::Arc;

use super::chat::Chat;
use super::performance::{Act, Heard, Moment, Performance};
use super::placeholder::{fill_json, fill_text};
use super::player::Finale;
use crate::base::limits;
use crate::model::mock_http::{EventData, MockEvent, SseMock, TerminationKind};
use crate::wire::sse::Block;

/// The comment that breaks a silence.
const KEEP_ALIVE: &[u8] = b": keepalive\n\n";

/// One client of an SSE mock.
#[derive(Debug)]
pub struct EventShow {
    mock: Arc<SseMock>,
    /// The next event.
    next: usize,
    /// The first one comes after an event that the client had before.
    resumed: bool,
    /// Events with data that were sent here.
    sent: u64,
    phase: Phase,
    /// When the head is due: the beginning of the stream.
    head_us: u64,
    /// When the event before was due, or the head.
    base_us: u64,
    /// When the next event is due, where that has been decided.
    due_us: Option<u64>,
    /// When bytes went out last.
    wrote_us: u64,
    /// What the chunks of a completion share.
    chat: Option<Chat>,
}

/// How far a stream is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Events go out.
    Events,
    /// The last event of the termination is due then.
    LastWord { due_us: u64 },
    /// The end is due then.
    Close { due_us: u64 },
    /// All is said; the client ends it, or the time-out.
    Open,
    /// It has ended.
    Over,
}

/// What is due next, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Event,
    LastWord,
    Close,
    TimeOut,
}

impl EventShow {
    /// A stream that has not begun; it begins after the event of index `after`, if given.
    pub fn new(mock: Arc<SseMock>, after: Option<usize>) -> Self {
        Self {
            mock,
            next: after.map_or(0, |after| after + 1),
            resumed: after.is_some(),
            sent: 0,
            phase: Phase::Events,
            head_us: 0,
            base_us: 0,
            due_us: None,
            wrote_us: 0,
            chat: None,
        }
    }

    /// The index of the first event that has not been handed out.
    pub fn position(&self) -> usize {
        self.next
    }

    /// What is due next. Of two that are due together the event goes first.
    fn step(&mut self, at: Moment) -> Option<(Step, u64)> {
        if self.phase == Phase::Events {
            let max_events = self.mock.lifecycle.max_events;
            if self.next >= self.mock.events.len() || max_events.is_some_and(|max| self.sent >= max) {
                self.terminate(self.base_us);
            }
        }
        let own = match self.phase {
            Phase::Events => Some((Step::Event, self.event_due_us(at))),
            Phase::LastWord { due_us } => Some((Step::LastWord, due_us)),
            Phase::Close { due_us } => Some((Step::Close, due_us)),
            Phase::Open | Phase::Over => None,
        };
        let lives = matches!(self.phase, Phase::Events | Phase::Open);
        let time_out = self.mock.lifecycle.timeout_us.filter(|_| lives).map(|us| (Step::TimeOut, self.head_us.saturating_add(us)));
        [own, time_out].into_iter().flatten().min_by_key(|(_, due_us)| *due_us)
    }

    /// When the next event is due; decided once, as chance may have a say.
    fn event_due_us(&mut self, at: Moment) -> u64 {
        if let Some(due_us) = self.due_us {
            return due_us;
        }
        let timing = &self.mock.timing;
        let own = self.mock.events[self.next].delay_us;
        let delay_us =
            own.or(timing.per_event_delays_us.get(self.next).copied().flatten()).unwrap_or_else(|| match timing.random_delay_us {
                Some((min_us, max_us)) => {
                    let end = |us| i64::try_from(us).unwrap_or(i64::MAX);
                    at.random_between(end(min_us), end(max_us)).unsigned_abs()
                }
                None => timing.fixed_delay_us,
            });
        *self.due_us.insert(self.base_us.saturating_add(delay_us))
    }

    /// All events are out, or enough of them, or the time is up at `now_us`.
    fn terminate(&mut self, now_us: u64) {
        self.base_us = now_us;
        self.due_us = None;
        let termination = &self.mock.lifecycle.termination;
        self.phase = match &termination.last_event {
            Some(event) => Phase::LastWord { due_us: now_us.saturating_add(event.delay_us.unwrap_or(0)) },
            None => self.closing(now_us),
        };
    }

    /// What follows the last byte, which was due at `base_us`.
    fn closing(&self, base_us: u64) -> Phase {
        match &self.mock.lifecycle.termination {
            termination if termination.kind == TerminationKind::KeepOpen => Phase::Open,
            termination => Phase::Close { due_us: base_us.saturating_add(termination.close_delay_us) },
        }
    }

    /// The time of the stream's life is up. One that would stay open for ever ends then.
    fn time_out(&mut self, due_us: u64) {
        if self.mock.lifecycle.termination.kind == TerminationKind::KeepOpen {
            self.phase = Phase::Close { due_us };
        } else {
            self.terminate(due_us);
        }
    }

    /// Appends what is said at a step that was due at `due_us`.
    fn say(&mut self, step: Step, due_us: u64, at: Moment, out: &mut Vec<u8>) {
        let mock = Arc::clone(&self.mock);
        let event = match step {
            Step::Event => mock.events.get(self.next),
            _ => mock.lifecycle.termination.last_event.as_ref(),
        };
        if let Some(event) = event {
            out.extend(self.write(event, at));
        }
        if step == Step::Event {
            self.sent += u64::from(event.is_some_and(|event| event.data.is_some()));
            self.next += 1;
            self.base_us = due_us;
            self.due_us = None;
        } else {
            self.phase = self.closing(due_us);
        }
    }

    /// One event as it goes out.
    fn write(&mut self, event: &MockEvent, at: Moment) -> Vec<u8> {
        let data = event.data.as_ref().map(|data| match data {
            EventData::Text(text) if event.literal => text.clone(),
            EventData::Text(text) => fill_text(text, at),
            EventData::Json(value) if event.literal => value.to_string(),
            EventData::Json(value) => {
                let mut value = value.clone();
                fill_json(&mut value, at);
                value.to_string()
            }
            EventData::ChatChunk { model, token, first, finish_reason } => {
                let chat = self.chat.get_or_insert_with(|| Chat::new(at));
                chat.chunk(model, *first, Some(token), finish_reason.as_deref())
            }
        });
        let block = Block {
            event: event.kind.clone(),
            data,
            id: event.id.clone(),
            retry: event.retry,
            comment: event.comment.clone(),
            ..Block::default()
        };
        block.canonical()
    }

    /// Nothing is due: breaks a silence that is long enough, or sleeps.
    fn rest(&mut self, due_us: Option<u64>, at: Moment) -> Act {
        let keepalive_us = self.mock.lifecycle.keepalive_us.filter(|us| *us > 0 && self.phase != Phase::Over);
        let silent_us = keepalive_us.map(|us| self.wrote_us.max(self.head_us).saturating_add(us));
        if silent_us.is_some_and(|silent_us| silent_us <= at.now_us) {
            self.wrote_us = at.now_us;
            return Act::Write(KEEP_ALIVE.to_vec());
        }
        match [due_us, silent_us].into_iter().flatten().min() {
            Some(until_us) => Act::Sleep { until_us },
            None => Act::Wait,
        }
    }
}

impl Performance for EventShow {
    fn start(&mut self, now_us: u64) {
        // Who comes back has had the head before: the clock is that of the event that it had last.
        let delay_us = if self.resumed { 0 } else { self.mock.timing.initial_delay_us };
        self.head_us = now_us.saturating_add(delay_us);
        self.base_us = self.head_us;
        self.wrote_us = self.head_us;
    }

    fn head_due_us(&self) -> Option<u64> {
        Some(self.head_us)
    }

    fn next(&mut self, at: Moment) -> Act {
        let mut out = Vec::new();
        // One write for all that is due; a long one in parts, so that the client's end is heard in between.
        while out.len() < limits::MAX_WRITE_BYTES {
            let step = self.step(at);
            match step {
                Some((Step::TimeOut, due_us)) if due_us <= at.now_us => self.time_out(due_us),
                Some((Step::Close, due_us)) if due_us <= at.now_us && out.is_empty() => {
                    self.phase = Phase::Over;
                    return Act::End(match self.mock.lifecycle.termination.kind {
                        TerminationKind::Graceful | TerminationKind::KeepOpen => Finale::EndStream,
                        TerminationKind::Abrupt | TerminationKind::Error => Finale::Drop,
                    });
                }
                Some((step @ (Step::Event | Step::LastWord), due_us)) if due_us <= at.now_us => self.say(step, due_us, at, &mut out),
                _ if !out.is_empty() => break,
                _ => return self.rest(step.map(|(_, due_us)| due_us), at),
            }
        }
        self.wrote_us = at.now_us;
        Act::Write(out)
    }

    fn hear(&mut self, _heard: Heard<'_>, _at: Moment) {}
}

#[cfg(test)]
#[path = "events_tests.rs"]
mod tests;
