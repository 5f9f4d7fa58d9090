//! Where an event stream's mock goes on for a client that comes back: which ids it has sent, and which of them still count.
//! It is bounded by the mock's events.

use crate::model::mock_http::SseMock;

/// When a mock has sent which of its ids, to whomever.
#[derive(Debug, Default)]
pub struct SentIds {
    /// For each event, in which turn and when it was sent last; 0 is no turn.
    last: Vec<(u64, u64)>,
    turns: u64,
}

impl SentIds {
    /// Notes the events of `mock` from `from` on and before `upto` as sent.
    pub fn note(&mut self, mock: &SseMock, from: usize, upto: usize, now_us: u64) {
        self.last.resize(mock.events.len(), (0, 0));
        for (event, last) in mock.events.iter().zip(&mut self.last).take(upto).skip(from) {
            if event.id.is_some() {
                self.turns += 1;
                *last = (self.turns, now_us);
            }
        }
    }

    /// The index of the event that a client had last, if its id counts.
    pub fn place_of(&self, mock: &SseMock, last_event_id: &str, now_us: u64) -> Option<usize> {
        let resume = mock.resume;
        if !resume.enabled || last_event_id.is_empty() {
            return None;
        }
        let index = mock.events.iter().rposition(|event| event.id.as_deref() == Some(last_event_id))?;
        let (turn, sent_us) = self.last.get(index).copied().unwrap_or_default();
        let is_young = resume.max_age_us.is_none_or(|max_us| turn > 0 && now_us.saturating_sub(sent_us) <= max_us);
        let is_kept = resume.buffer_size.is_none_or(|size| turn > 0 && self.sent_since(turn) < size);
        (is_young && is_kept).then_some(index)
    }

    /// How many other ids were sent after a turn.
    fn sent_since(&self, turn: u64) -> u64 {
        self.last.iter().filter(|(other, _)| *other > turn).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::mock_http::{EventData, MockEvent, Resume, SseLifecycle, SseTiming};
    use crate::model::pairs::Pairs;

    fn mock(ids: &str, resume: Resume) -> SseMock {
        let event = |id: &str| MockEvent {
            kind: None,
            data: Some(EventData::Text(String::new())),
            id: Some(id.to_owned()).filter(|id| id != "-"),
            retry: None,
            comment: None,
            delay_us: None,
            literal: false,
        };
        let events = ids.split(' ').map(event).collect();
        let (timing, lifecycle) = (SseTiming::default(), SseLifecycle::default());
        SseMock { status: 200, headers: Pairs::default(), events, timing, lifecycle, resume }
    }

    #[test]
    fn an_id_leads_to_its_last_event() {
        let on = Resume { enabled: true, ..Resume::default() };
        let sent = SentIds::default();
        for (resume, id, place) in [(on, "a", Some(0)), (on, "b", Some(3)), (on, "x", None), (on, "", None), (Resume::default(), "a", None)]
        {
            assert_eq!(sent.place_of(&mock("a - b b c", resume), id, 0), place, "{id:?}");
        }
    }

    #[test]
    fn only_what_was_sent_of_late_counts() {
        let young = mock("a b c d", Resume { enabled: true, max_age_us: Some(100), ..Resume::default() });
        let few = mock("a b - d", Resume { enabled: true, buffer_size: Some(2), ..Resume::default() });
        let mut sent = SentIds::default();
        for mock in [&young, &few] {
            assert_eq!(sent.place_of(mock, "a", 0), None, "nothing has been sent");
        }
        sent.note(&young, 0, 2, 1000);
        sent.note(&young, 2, 3, 1050);
        assert_eq!(["a", "b", "c", "d"].map(|id| sent.place_of(&young, id, 1101)), [None, None, Some(2), None]);
        let mut sent = SentIds::default();
        sent.note(&few, 0, 3, 0);
        assert_eq!(["a", "b", "d"].map(|id| sent.place_of(&few, id, u64::MAX)), [Some(0), Some(1), None]);
        sent.note(&few, 3, 4, 0);
        assert_eq!(["a", "b", "d"].map(|id| sent.place_of(&few, id, 0)), [None, Some(1), Some(3)]);
        // The same ids sent to another client push out none.
        sent.note(&few, 1, 4, 0);
        assert_eq!(["a", "b", "d"].map(|id| sent.place_of(&few, id, 0)), [None, Some(1), Some(3)]);
    }
}
