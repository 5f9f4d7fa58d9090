//! The player's synchronized side: client messages are judged in their turn, waited for, and teach `correlate`.
//! It sends nothing; what goes out is decided in `player.rs`.

use std::sync::Arc;

use super::{Anchor, Early, Finale, Player, Turn};
use crate::model::recording::FrameType;
use crate::model::replay::{Matching, ReplayError, ReplayStatus};
use crate::rules::matching;
use crate::rules::script::Entry;

impl Player {
    /// Compares a client message with the step whose turn it is.
    pub(super) fn judge(&mut self, early: &Early) {
        let script = Arc::clone(&self.script);
        let Some(Entry::Client { due_us, frame, payload, .. }) = script.entries.get(self.place.entry) else { return };
        let step = self.place.steps + 1;
        self.clients_left -= 1;
        self.waiting_since_us = None;
        let compares = self.options.matching != Matching::Any;
        match self.matcher.check((*frame, payload), (early.kind, &early.payload)) {
            Ok(()) => {
                self.judged.push((early.index, step, compares.then_some(true)));
                self.place.entry += 1;
                self.place.steps = step;
                self.anchor = Some(Anchor { live_us: early.at_us, recorded_us: *due_us });
                if (*frame, early.kind) == (FrameType::Text, FrameType::Text) {
                    self.learn(payload, &early.payload);
                }
            }
            Err(mismatch) => {
                self.judged.push((early.index, step, Some(false)));
                self.fail(mismatch_error(mismatch, step));
            }
        }
    }

    pub(super) fn learn(&mut self, recorded: &[u8], live: &[u8]) {
        if let (Ok(recorded), Ok(live)) = (std::str::from_utf8(recorded), std::str::from_utf8(live)) {
            self.correlator.learn_of(&self.script, recorded, live);
        }
    }

    pub(super) fn fail(&mut self, error: ReplayError) {
        self.status = ReplayStatus::Error;
        self.error = Some(error);
        self.early.clear();
        self.early_bytes = 0;
    }

    /// Waits for the client message whose turn it is, or fails when its time is up.
    pub(super) fn await_client(&mut self, now_us: u64) -> Turn {
        let (timeout_ms, since_us) = (self.options.timeout_ms, self.waiting_since_us.unwrap_or(now_us));
        if timeout_ms == 0 {
            return Turn::Wait;
        }
        let until_us = since_us.saturating_add(timeout_ms.saturating_mul(1000));
        if now_us < until_us {
            return Turn::Sleep { until_us };
        }
        let step = self.place.steps + 1;
        let expected = match self.script.entries.get(self.place.entry) {
            Some(Entry::Client { frame, payload, .. }) => Some(self.matcher.show(*frame, payload)),
            _ => None,
        };
        let message = format!("step {step}: no client message came within {timeout_ms} ms");
        let error = ReplayError { code: "ErrMatchTimeout".to_owned(), message, step, expected, actual: None };
        self.fail(error.clone());
        self.end(Finale::Fail(error), false)
    }
}

/// The error of a message that was not the expected one.
pub(super) fn mismatch_error(mismatch: matching::Mismatch, step: u64) -> ReplayError {
    ReplayError {
        code: "ErrMatchMismatch".to_owned(),
        message: format!("step {step}: {}", mismatch.message),
        step,
        expected: Some(mismatch.expected),
        actual: Some(mismatch.actual),
    }
}
