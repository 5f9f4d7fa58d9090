//! What the player does when all items are out: the recorded ending, another one, the next round of a loop, or nothing.

use super::{Finale, Pending, Place, Player, Turn};
use crate::model::recording::Protocol;
use crate::model::replay::{Mode, OnEnd};
use crate::rules::script::{Ending, Entry};

impl Player {
    /// All items are out: the ending, the next round, or nothing.
    pub(super) fn conclude(&mut self, now_us: u64) -> Turn {
        match (self.options.on_end, &self.script.ending, self.script.protocol) {
            (OnEnd::Loop, _, _) => self.loop_round(now_us),
            (OnEnd::KeepOpen, _, _) | (OnEnd::Recorded, Ending::None, _) => Turn::Wait,
            (OnEnd::Close, _, _) if !self.is_through() => Turn::Wait,
            (OnEnd::Close, _, Protocol::Sse) => self.end(Finale::EndStream, false),
            (OnEnd::Close, _, Protocol::WebSocket) => self.end(Finale::Close { code: Some(1000), reason: String::new() }, false),
            (OnEnd::Recorded, Ending::EndStream, _) => {
                if !self.is_through() {
                    return Turn::Wait;
                }
                let (due_us, _) = self.due(&self.place.mark, self.script.ending_us);
                if let Some(until_us) = due_us.filter(|due_us| *due_us > now_us) {
                    return Turn::Sleep { until_us };
                }
                if !self.tail_sent && !self.script.tail.is_empty() {
                    self.pending = Some(Pending::Tail);
                    return Turn::Write { range: self.script.tail.clone(), due_us: None };
                }
                self.end(Finale::EndStream, false)
            }
            (OnEnd::Recorded, ending @ (Ending::Close { .. } | Ending::Drop), _) => {
                if self.options.mode == Mode::Triggered && self.promised < self.total_frames() {
                    return Turn::Wait;
                }
                let (due_us, _) = self.due(&self.place.mark, self.script.ending_us);
                if let Some(until_us) = due_us.filter(|due_us| *due_us > now_us) {
                    return Turn::Sleep { until_us };
                }
                let finale = match ending {
                    Ending::Close { code, reason } => Finale::Close { code: *code, reason: reason.clone() },
                    _ => Finale::Drop,
                };
                self.end(finale, true)
            }
        }
    }

    /// Sleeps until the round is over, then begins the next one.
    fn loop_round(&mut self, now_us: u64) -> Turn {
        if !self.script.entries.iter().any(|entry| matches!(entry, Entry::Server { .. })) {
            return Turn::Wait;
        }
        let until_us = self.pace.round_end(&self.place.mark, self.script.end_us);
        if now_us < until_us {
            return Turn::Sleep { until_us };
        }
        self.pace.begin_round(&self.place.mark, self.script.end_us);
        self.place = Place::default();
        self.first_round = false;
        self.send(now_us).unwrap_or(Turn::Wait)
    }

    pub(super) fn end(&mut self, finale: Finale, is_step: bool) -> Turn {
        self.pending = Some(Pending::End { is_step });
        Turn::End(finale)
    }
}
