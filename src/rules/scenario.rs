//! A WebSocket mock's side of one connection: scenario, matchers, default answer, echo, heartbeat, idle time-out. It decides what is
//! said and when; bytes and clock are its thread's.
//!
//! Everything that is due has a moment of its own, reckoned from the moment that it follows and never from when a write was done, so
//! that nothing drifts; what is due first happens first. Answers keep the order of the messages that they answer.

use std::collections::VecDeque;
use std::sync::Arc;

use super::message_match::{Matcher, Said};
use super::performance::{Act, Backlog, Heard, Moment, Performance};
use super::player::Finale;
use super::template::Filling;
use crate::base::error::Result;
use crate::base::limits;
use crate::model::mock_ws::{Step, WsContent, WsMatch, WsMessage, WsTalk};
use crate::model::recording::FrameType;
use crate::wire::ws::{self, opcode};

/// One connection to a WebSocket mock.
#[derive(Debug)]
pub struct Conversation {
    talk: Arc<WsTalk>,
    matchers: Vec<Matcher>,
    /// The step of the last expect: after it no message needs to wait for one.
    last_expect: Option<usize>,
    /// Where the scenario stands; none before the start and after its end.
    place: Option<Place>,
    /// When the scenario's last step so far was reached, or its end.
    reached_us: u64,
    /// Messages that wait for an expect.
    queue: VecDeque<Arc<Said>>,
    /// Answers that wait for their time, in the order of their messages.
    answers: VecDeque<Answer>,
    /// Bytes of the messages in both.
    queued_bytes: usize,
    /// Frames whose time has come.
    ready: Vec<u8>,
    /// How many answers are among them.
    ready_answers: usize,
    /// The last message that was dealt with.
    last_said: Option<Arc<Said>>,
    /// When the last data message passed, either way.
    last_data_us: u64,
    next_ping_us: u64,
    /// When the first ping went out that no pong has followed.
    unanswered_since_us: Option<u64>,
    ending: Option<Finale>,
}

/// A scenario's place.
#[derive(Debug)]
struct Place {
    step: usize,
    /// When it was reached: its delay and its time-out count from here.
    since_us: u64,
    /// What an expect asks for; none: anything.
    expected: Option<Matcher>,
    /// When this round of a loop began.
    round_us: u64,
    /// Whether an expect of this round has been met.
    met: bool,
}

/// A message that is to be answered.
#[derive(Debug)]
struct Answer {
    said: Arc<Said>,
    with: With,
    due_us: u64,
}

/// What a message is answered with.
#[derive(Debug, Clone, Copy)]
enum With {
    /// The response of a matcher.
    Matcher(usize),
    /// The default response.
    Default,
    /// Itself.
    Echo,
}

/// What becomes due. Of two at one moment the upper one happens first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    Answer,
    Step,
    /// A message waited for an expect that will not come.
    Unexpected,
    Ping,
    NoPong,
    Idle,
}

impl Conversation {
    /// A conversation that has not begun.
    ///
    /// # Errors
    /// A regular expression or JSONPath that does not compile; a mock that was read has none.
    pub fn new(talk: Arc<WsTalk>) -> Result<Self> {
        let matchers = talk.matchers.iter().map(|matcher| Matcher::new(&matcher.matches)).collect::<Result<_>>()?;
        let steps = talk.scenario.as_ref().map_or(&[][..], |scenario| &scenario.steps);
        let last_expect = steps.iter().rposition(|step| matches!(step, Step::Expect { .. }));
        Ok(Self {
            talk,
            matchers,
            last_expect,
            place: None,
            reached_us: 0,
            queue: VecDeque::new(),
            answers: VecDeque::new(),
            queued_bytes: 0,
            ready: Vec::new(),
            ready_answers: 0,
            last_said: None,
            last_data_us: 0,
            next_ping_us: 0,
            unanswered_since_us: None,
            ending: None,
        })
    }

    /// Lets everything happen that is due, what is due first first. A write's worth at a time: who reads slowly is not written ahead of.
    fn advance(&mut self, at: Moment) {
        while self.ending.is_none() && self.ready.len() < limits::MAX_WRITE_BYTES {
            match self.earliest() {
                Some((due_us, event)) if due_us <= at.now_us => self.happen(event, due_us, at),
                _ => return,
            }
        }
    }

    /// What becomes due next, and when.
    fn earliest(&self) -> Option<(u64, Event)> {
        let heartbeat = self.talk.heartbeat;
        let of = |event: Event, due_us: Option<u64>| due_us.map(|due_us| (due_us, event));
        let events = [
            of(Event::Answer, self.answers.front().map(|answer| answer.due_us)),
            of(Event::Step, self.step_due_us()),
            of(Event::Unexpected, (!self.queue.is_empty() && !self.expects_more()).then_some(self.reached_us)),
            of(Event::Ping, heartbeat.map(|_| self.next_ping_us)),
            of(Event::NoPong, heartbeat.and_then(|beat| Some(self.unanswered_since_us?.saturating_add(beat.timeout_us)))),
            of(Event::Idle, self.talk.idle_timeout_us.map(|idle_us| self.last_data_us.saturating_add(idle_us))),
        ];
        events.into_iter().flatten().min()
    }

    /// When the scenario goes on by itself.
    fn step_due_us(&self) -> Option<u64> {
        let place = self.place.as_ref()?;
        let wait_us = match self.step(place)? {
            Step::Send(message) => message.delay_us,
            Step::Wait(duration_us) => *duration_us,
            Step::Close { delay_us, .. } => *delay_us,
            Step::Expect { .. } if !self.queue.is_empty() => 0,
            Step::Expect { timeout_us: 0, .. } => return None,
            Step::Expect { timeout_us, .. } => *timeout_us,
        };
        Some(place.since_us.saturating_add(wait_us))
    }

    fn step(&self, place: &Place) -> Option<&Step> {
        self.talk.scenario.as_ref()?.steps.get(place.step)
    }

    fn happen(&mut self, event: Event, due_us: u64, at: Moment) {
        match event {
            Event::Answer => self.answer(at),
            Event::Step => self.play(due_us, at),
            Event::Unexpected => {
                if let Some(said) = self.unqueue() {
                    self.fall_back(said, due_us);
                }
            }
            Event::Ping => self.ping(due_us, at),
            Event::NoPong => self.ending = Some(overdue(NO_PONG)),
            Event::Idle => self.ending = Some(overdue(IDLE)),
        }
    }

    /// Sends the first answer.
    fn answer(&mut self, at: Moment) {
        let Some(Answer { said, with, .. }) = self.answers.pop_front() else { return };
        self.queued_bytes -= said.payload().len();
        self.ready_answers += 1;
        let talk = Arc::clone(&self.talk);
        let message = match with {
            With::Matcher(index) => talk.matchers.get(index).and_then(|matcher| matcher.response.as_ref()),
            With::Default => talk.default_response.as_ref(),
            With::Echo => {
                let opcode = if said.kind() == FrameType::Binary { opcode::BINARY } else { opcode::TEXT };
                return self.push_data(opcode, said.payload(), at);
            }
        };
        if let Some(message) = message {
            self.send(message, Some(&said), at);
        }
    }

    /// Passes the step at hand, which is due.
    fn play(&mut self, due_us: u64, at: Moment) {
        let talk = Arc::clone(&self.talk);
        let (Some(scenario), Some(place)) = (&talk.scenario, &self.place) else { return };
        let number = place.step + 1;
        match scenario.steps.get(place.step) {
            Some(Step::Send(message)) => {
                let said = self.last_said.clone();
                self.send(message, said.as_deref(), at);
                self.move_on(due_us);
            }
            Some(Step::Close { code: 1006, .. }) => self.ending = Some(Finale::Drop),
            Some(Step::Close { code: 1005, .. }) => self.ending = Some(Finale::Close { code: None, reason: String::new() }),
            Some(Step::Close { code, reason, .. }) => self.end(*code, reason.clone()),
            Some(Step::Expect { timeout_us, optional, .. }) => match self.unqueue() {
                Some(said) => {
                    if !self.meet(&said, due_us) {
                        self.fall_back(said, due_us);
                    }
                }
                None if *optional => self.move_on(due_us),
                None => {
                    let timeout_ms = *timeout_us as f64 / 1000.0;
                    self.end(1008, format!("ErrMatchTimeout: step {number}: no message that it expects came within {timeout_ms} ms"));
                }
            },
            Some(Step::Wait(_)) | None => self.move_on(due_us),
        }
    }

    /// Offers a message to the expect at hand; whether it was met, and the scenario went on from `met_us`.
    fn meet(&mut self, said: &Arc<Said>, met_us: u64) -> bool {
        let Some(place) = &mut self.place else { return false };
        let meets = place.expected.as_ref().is_none_or(|matcher| matcher.matches(said));
        if meets {
            place.met = true;
            self.last_said = Some(Arc::clone(said));
            self.move_on(met_us);
        }
        meets
    }

    /// Goes to the next step, which is reached at `since_us`.
    fn move_on(&mut self, since_us: u64) {
        let Some(place) = &self.place else { return };
        let talk = Arc::clone(&self.talk);
        let Some(scenario) = &talk.scenario else { return };
        let (mut step, mut round_us, mut met) = (place.step + 1, place.round_us, place.met);
        self.reached_us = since_us;
        if step >= scenario.steps.len() {
            // A round that took no time and no message would go round for ever.
            if !scenario.repeats || (since_us == round_us && !met) {
                self.place = None;
                return;
            }
            (step, round_us, met) = (0, since_us, false);
        }
        self.go_to(Place { step, since_us, expected: None, round_us, met });
    }

    fn go_to(&mut self, mut place: Place) {
        if let Some(Step::Expect { matches: Some(rule), .. }) = self.step(&place) {
            place.expected = Some(expected(rule));
        }
        self.place = Some(place);
    }

    /// Whether the scenario is at an expect or has one to come.
    fn expects_more(&self) -> bool {
        let repeats = self.talk.scenario.as_ref().is_some_and(|scenario| scenario.repeats);
        match (&self.place, self.last_expect) {
            (Some(place), Some(last)) => repeats || place.step <= last,
            _ => false,
        }
    }

    fn is_at_expect(&self) -> bool {
        self.place.as_ref().is_some_and(|place| matches!(self.step(place), Some(Step::Expect { .. })))
    }

    fn take_in(&mut self, said: Arc<Said>, at: Moment) {
        let at_expect = self.is_at_expect();
        // What waits was first, also where there was no time yet to look at it.
        if at_expect && self.queue.is_empty() && self.meet(&said, at.now_us) {
            return;
        }
        if let Some(index) = self.matchers.iter().position(|matcher| matcher.matches(&said)) {
            self.last_said = Some(Arc::clone(&said));
            let response = self.talk.matchers.get(index).and_then(|matcher| matcher.response.as_ref());
            if let Some(delay_us) = response.map(|message| message.delay_us) {
                self.push_answer(Answer { said, with: With::Matcher(index), due_us: at.now_us.saturating_add(delay_us) });
            }
        } else if !self.queue.is_empty() || (self.expects_more() && !at_expect) {
            self.queued_bytes += said.payload().len();
            self.queue.push_back(said);
        } else {
            self.fall_back(said, at.now_us);
        }
    }

    /// What happens to a message that neither an expect nor a matcher took, as is known from `since_us` on: what the scenario does
    /// from then on comes after its answer.
    fn fall_back(&mut self, said: Arc<Said>, since_us: u64) {
        self.last_said = Some(Arc::clone(&said));
        let (with, delay_us) = match &self.talk.default_response {
            Some(message) => (With::Default, message.delay_us),
            None if self.talk.echo => (With::Echo, 0),
            None => return,
        };
        self.push_answer(Answer { said, with, due_us: since_us.saturating_add(delay_us) });
    }

    fn push_answer(&mut self, answer: Answer) {
        self.queued_bytes += answer.said.payload().len();
        self.answers.push_back(answer);
    }

    /// The first message that waits for an expect, which waits no more.
    fn unqueue(&mut self) -> Option<Arc<Said>> {
        let said = self.queue.pop_front()?;
        self.queued_bytes -= said.payload().len();
        Some(said)
    }

    fn send(&mut self, message: &WsMessage, said: Option<&Said>, at: Moment) {
        let filling = Filling { said, at };
        match &message.content {
            WsContent::Text(text) if message.literal => self.push_data(opcode::TEXT, text.as_bytes(), at),
            WsContent::Text(text) => self.push_data(opcode::TEXT, filling.text(text).as_bytes(), at),
            WsContent::Json(value) if message.literal => self.push_data(opcode::TEXT, value.to_string().as_bytes(), at),
            WsContent::Json(value) => self.push_data(opcode::TEXT, filling.json(value).to_string().as_bytes(), at),
            WsContent::Binary(bytes) => self.push_data(opcode::BINARY, bytes, at),
        }
    }

    fn push_data(&mut self, opcode: u8, payload: &[u8], at: Moment) {
        ws::push_frame(&mut self.ready, opcode, payload, None);
        self.last_data_us = at.now_us;
    }

    /// Pings, and leaves out those that are overdue: one answer says as much as many.
    fn ping(&mut self, due_us: u64, at: Moment) {
        ws::push_frame(&mut self.ready, opcode::PING, b"", None);
        self.unanswered_since_us.get_or_insert(at.now_us);
        let interval_us = self.talk.heartbeat.map_or(1, |beat| beat.interval_us.max(1));
        let late_us = at.now_us.saturating_sub(due_us) % interval_us;
        self.next_ping_us = (at.now_us - late_us).saturating_add(interval_us);
    }

    fn end(&mut self, code: u16, reason: String) {
        self.ending = Some(Finale::Close { code: Some(code), reason });
    }
}

/// Why a connection ends when a ping was not answered, and when nobody said anything.
const NO_PONG: &str = "heartbeat timeout";
const IDLE: &str = "idle timeout";

/// The end of a connection whose time is over.
fn overdue(reason: &str) -> Finale {
    Finale::Close { code: Some(1001), reason: reason.to_owned() }
}

/// What an expect asks for, compiled when it is reached: a converted recording may have as many as it has messages.
fn expected(rule: &WsMatch) -> Matcher {
    Matcher::new(rule).unwrap_or_else(|_| Matcher::nothing())
}

impl Performance for Conversation {
    fn start(&mut self, now_us: u64) {
        self.last_data_us = now_us;
        self.next_ping_us = now_us.saturating_add(self.talk.heartbeat.map_or(0, |beat| beat.interval_us));
        if self.talk.scenario.is_some() {
            self.go_to(Place { step: 0, since_us: now_us, expected: None, round_us: now_us, met: false });
        }
    }

    fn next(&mut self, at: Moment) -> Act {
        self.advance(at);
        if !self.ready.is_empty() {
            self.ready_answers = 0;
            return Act::Write(std::mem::take(&mut self.ready));
        }
        if let Some(finale) = &self.ending {
            return Act::End(finale.clone());
        }
        match self.earliest() {
            Some((until_us, _)) => Act::Sleep { until_us },
            None => Act::Wait,
        }
    }

    fn hear(&mut self, heard: Heard<'_>, at: Moment) {
        let (kind, payload) = match heard {
            Heard::Message(kind, payload) => (kind, payload),
            Heard::Pong => {
                self.unanswered_since_us = None;
                return;
            }
            // Its pong may be among what is left unread, and more data is.
            Heard::Held => {
                self.unanswered_since_us = self.unanswered_since_us.map(|_| at.now_us);
                self.last_data_us = at.now_us;
                return;
            }
        };
        self.last_data_us = at.now_us;
        // What was due before it was said comes before it.
        self.advance(at);
        if self.ending.is_none() {
            self.take_in(Arc::new(Said::new(kind, payload)), at);
            self.advance(at);
        }
    }

    fn queued(&self) -> Backlog {
        Backlog { messages: self.queue.len() + self.answers.len() + self.ready_answers, bytes: self.queued_bytes }
    }

    fn expire(&self, at: Moment, moved_us: u64) -> Option<Finale> {
        let is_over = |since_us: u64, limit_us: u64| since_us.saturating_add(limit_us) <= at.now_us;
        // A ping that is due cannot go out; who takes bytes all the same is there.
        let unanswered_us = self.unanswered_since_us.unwrap_or_else(|| self.next_ping_us.max(moved_us));
        if self.talk.heartbeat.is_some_and(|beat| is_over(unanswered_us, beat.timeout_us)) {
            return Some(overdue(NO_PONG));
        }
        let last_data_us = self.last_data_us.max(moved_us);
        self.talk.idle_timeout_us.is_some_and(|idle_us| is_over(last_data_us, idle_us)).then(|| overdue(IDLE))
    }
}

#[cfg(test)]
mod tests;
