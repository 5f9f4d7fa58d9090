//! What the player sends next, and how much of it in one write: everything that is due, as far as a write goes. Where nothing is changed on
//! the way it is a range of the script's own bytes, whose end is searched for and not walked to. It waits for nobody and ends nothing.

use std::ops::Range;

use super::{Mark, Pending, Place, Player, Turn};
use crate::base::limits;
use crate::model::recording::Protocol;
use crate::model::replay::Mode;
use crate::rules::correlate_plan::Edit;
use crate::rules::script::Entry;
use crate::wire::ws::{self, opcode};

/// A step with live values in it.
enum Rewritten<'a> {
    /// A message: its recorded text, what may give way in it, and the length that comes of that.
    Message { text: &'a [u8], edits: &'a [Edit], payload_len: usize },
    /// An event's bytes.
    Event(Vec<u8>),
}

impl Rewritten<'_> {
    /// Bytes on the wire.
    fn len(&self) -> usize {
        match self {
            Self::Message { payload_len, .. } => ws::frame_len(*payload_len, false),
            Self::Event(bytes) => bytes.len(),
        }
    }
}

impl Player {
    /// The next write, or the sleep before it; `None` where no item may go out now.
    pub(super) fn send(&mut self, now_us: u64) -> Option<Turn> {
        if self.options.mode != Mode::Synchronized {
            // What the client said is nobody's turn.
            let ahead = self.script.entries.get(self.place.entry..).unwrap_or_default();
            self.place.entry += ahead.iter().take_while(|entry| matches!(entry, Entry::Client { .. })).count();
        }
        let first = self.script.entries.get(self.place.entry).filter(|entry| self.may_go(entry))?;
        let Entry::Server { due_us, wire, .. } = first else { return None };
        let (due_us, mark) = self.due(&self.place.mark, *due_us);
        if let Some(until_us) = due_us.filter(|due_us| *due_us > now_us) {
            return Some(Turn::Sleep { until_us });
        }
        let start = self.first_byte(wire);
        let due_us = due_us.filter(|_| self.options.mode != Mode::Pure || self.pace.is_timed());
        let (place, owned) = if self.correlator.is_idle() {
            (self.stretch(start, mark, now_us), None)
        } else {
            let bytes = std::mem::take(&mut self.spare);
            self.rewritten_stretch(start, mark, now_us, bytes)
        };
        let range = start..self.script.entries[place.entry - 1].wire_end();
        self.pending = Some(Pending::Items(place));
        Some(match owned {
            Some(bytes) => Turn::WriteOwned { bytes, due_us },
            None => Turn::Write { range, due_us },
        })
    }

    /// The place behind all that goes out in one write with the next item, whose bytes begin at `start` and whose mark is `mark`.
    fn stretch(&self, start: usize, mut mark: Mark, now_us: u64) -> Place {
        let entries = &self.script.entries[..self.next_client()];
        let mut end = self.place.entry + 1;
        if self.options.mode != Mode::Pure || self.pace.is_straight() {
            let more = front(&entries[end..], |entry| self.goes_along(entry, start, &mark, now_us).is_some());
            if more > 0 {
                end += more;
                (_, mark) = self.due(&mark, entries[end - 1].sent_us());
            }
        } else {
            while let Some(after) = entries.get(end).and_then(|entry| self.goes_along(entry, start, &mark, now_us)) {
                (end, mark) = (end + 1, after);
            }
        }
        self.place_at(end, mark)
    }

    /// The entry that stops every write: that of the client message whose turn it is, where one is waited for.
    fn next_client(&self) -> usize {
        let clients = if self.options.mode == Mode::Synchronized { self.script.clients.as_slice() } else { &[] };
        let passed = clients.partition_point(|entry| *entry < self.place.entry);
        clients.get(passed).copied().unwrap_or(self.script.entries.len())
    }

    /// The place before an entry up to which items go out.
    fn place_at(&self, entry: usize, mark: Mark) -> Place {
        let steps = self.script.steps_before(entry) - self.script.steps_before(self.place.entry);
        Place { entry, steps: self.place.steps + steps, mark }
    }

    /// Whether an entry may go out together with what follows the byte at `start`: the mark after it. Of several entries a front of
    /// them may, with the same `mark`, wherever the clock is straight.
    fn goes_along(&self, entry: &Entry, start: usize, mark: &Mark, now_us: u64) -> Option<Mark> {
        if entry.wire_end() - start > limits::MAX_WRITE_BYTES || !self.may_go(entry) {
            return None;
        }
        let (due_us, after) = self.due(mark, entry.sent_us());
        due_us.is_none_or(|due_us| due_us <= now_us).then_some(after)
    }

    /// Triggered: whether it has been asked for. What rides goes with the step that follows it, or with the last one.
    fn may_go(&self, entry: &Entry) -> bool {
        if self.options.mode != Mode::Triggered || entry.steps_before() < self.promised {
            return true;
        }
        let steps = self.script.server_steps;
        let nothing_follows = entry.steps_before() >= steps && self.promised >= steps && !self.ending_is_step();
        nothing_follows && !entry.is_server_step()
    }

    /// When an item that follows `mark` is due, where a time is set for it.
    pub(super) fn due(&self, mark: &Mark, recorded_us: u64) -> (Option<u64>, Mark) {
        match (self.options.mode, self.anchor) {
            (Mode::Pure, _) => {
                let (due_us, mark) = self.pace.due(mark, recorded_us);
                (Some(due_us), mark)
            }
            (Mode::Synchronized, Some(anchor)) if self.options.keep_timing => {
                (Some(anchor.live_us.saturating_add(recorded_us.saturating_sub(anchor.recorded_us))), *mark)
            }
            _ => (None, *mark),
        }
    }

    /// Where the bytes of an item begin that is the first of a write. A byte order mark stands at the beginning of a stream only; in later
    /// rounds it would spoil a field's name.
    fn first_byte(&self, wire: &Range<usize>) -> usize {
        let again = !self.first_round && wire.start == 0 && self.script.protocol == Protocol::Sse;
        let skipped = if again && self.script.bytes[wire.clone()].starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
        wire.start + skipped
    }

    /// As [`Player::stretch`], with what `correlate` changes, in the buffer `bytes`; `None` where it changes nothing.
    fn rewritten_stretch(&self, start: usize, mark: Mark, now_us: u64, mut bytes: Vec<u8>) -> (Place, Option<Vec<u8>>) {
        let script = &self.script;
        let (first, stop) = (self.place.entry, self.next_client());
        bytes.clear();
        // What stays is copied when something that changes follows it: `kept` is where that began.
        let (mut end, mut kept, mut changes) = (first, start, false);
        for (index, entry) in script.entries[..stop].iter().enumerate().skip(first) {
            let Entry::Server { wire, .. } = entry else { break };
            if self.due(&mark, entry.sent_us()).0.is_some_and(|due_us| due_us > now_us) {
                break;
            }
            let rewritten = self.rewrite(index, entry);
            let (begin, len) = (wire.start.max(start), rewritten.as_ref().map_or(wire.len(), Rewritten::len));
            if index > first && bytes.len() + (begin - kept) + len > limits::MAX_WRITE_BYTES {
                break;
            }
            if let Some(rewritten) = rewritten {
                changes = true;
                match rewritten {
                    // A frame of the same size has the same header.
                    Rewritten::Message { text, edits, payload_len } if payload_len == text.len() => {
                        let text_at = wire.end - text.len();
                        for (span, live) in self.correlator.swaps(edits) {
                            bytes.extend_from_slice(&script.bytes[kept..text_at + span.start]);
                            bytes.extend_from_slice(live.as_bytes());
                            kept = text_at + span.end;
                        }
                    }
                    Rewritten::Message { text, edits, payload_len } => {
                        bytes.extend_from_slice(&script.bytes[kept..begin]);
                        ws::push_head(&mut bytes, opcode::TEXT, payload_len, None);
                        self.correlator.push_changed(&mut bytes, text, edits);
                        kept = wire.end;
                    }
                    Rewritten::Event(event) => {
                        bytes.extend_from_slice(&script.bytes[kept..begin]);
                        bytes.extend_from_slice(&event);
                        kept = wire.end;
                    }
                }
            }
            end = index + 1;
        }
        if !changes {
            return (self.place_at(end, mark), None);
        }
        bytes.extend_from_slice(&script.bytes[kept..script.entries[end - 1].wire_end()]);
        (self.place_at(end, mark), Some(bytes))
    }

    /// What `correlate` makes of an entry, where it changes it.
    fn rewrite(&self, index: usize, entry: &Entry) -> Option<Rewritten<'_>> {
        let edits = self.correlator.edits_of(&self.script, index);
        if edits.is_empty() {
            return None;
        }
        let text = self.script.payload(&self.script.entries[index]);
        let payload_len = self.correlator.changed_len(text, edits)?;
        if self.script.protocol == Protocol::WebSocket {
            return Some(Rewritten::Message { text, edits, payload_len });
        }
        let text = self.correlator.rewrite(std::str::from_utf8(text).ok()?, edits)?;
        Some(Rewritten::Event(self.script.encode(entry, &text)))
    }
}

/// How many of the first entries `holds` is true for, where it is for a front of them. It is found in as many steps as its length has
/// digits: one entry that is due costs two looks, thousands cost some thirty.
fn front(entries: &[Entry], holds: impl Fn(&Entry) -> bool) -> usize {
    let (mut known, mut stride) = (0, 1);
    while entries.get(known + stride - 1).is_some_and(&holds) {
        known += stride;
        stride *= 2;
    }
    let open = &entries[known..entries.len().min(known + stride - 1)];
    known + open.partition_point(holds)
}
