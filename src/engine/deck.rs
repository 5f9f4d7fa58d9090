//! The recordings of a `play` run, laid out: which one a request gets, a session for each client, and what became of them. A server
//! that plays nothing has an empty deck. It opens no file and prints nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};

use super::board::Board;
use super::compiled::Compiled;
use crate::base::error::Result;
use crate::base::{limits, sync};
use crate::model::recording::{Protocol, StreamHead};
use crate::model::replay::{Matching, Mode, ReplayOptions, ReplayStatus, ReplayView};
use crate::rules::likeness::{Likeness, Request, is_at, likeness};
use crate::rules::matching::Matcher;

/// A recording that is played.
#[derive(Debug)]
pub struct Card {
    /// What people know it by: its file.
    pub label: String,
    /// The recording.
    pub compiled: Arc<Compiled>,
    matcher: Matcher,
}

/// All that are played, in the order of their start times.
#[derive(Debug, Default)]
pub struct Deck {
    cards: Vec<Card>,
    options: ReplayOptions,
    /// Only a request that is the recorded one in method, path, query and body gets a recording.
    exact: bool,
    /// How often each set of recordings that fit a request equally has been asked.
    turns: Mutex<HashMap<Vec<usize>, usize>>,
    tally: Mutex<Tally>,
}

/// What became of the clients.
#[derive(Debug, Default)]
struct Tally {
    /// Sessions that have not been judged, by their cards.
    running: Vec<(usize, Arc<Board>)>,
    verdict: Verdict,
}

/// What a run has seen.
#[derive(Debug, Clone, Default)]
pub struct Verdict {
    /// Replays that clients came to.
    pub played: u64,
    /// Synchronized replays that were not played as recorded, and to their end.
    pub failed: u64,
    /// The first [`limits::MAX_FAULTS`] of them.
    pub faults: Vec<Fault>,
    /// The first [`limits::MAX_FAULTS`] methods and paths that nothing was there for, and how often each was asked for.
    pub unserved: BTreeMap<String, u64>,
}

/// A replay that was not as recorded.
#[derive(Debug, Clone)]
pub struct Fault {
    /// The recording's [`Card::label`].
    pub label: String,
    /// How the session ended.
    pub view: ReplayView,
}

impl Deck {
    /// Lays out recordings with their labels. With `exact` none is played to a request that is not the recorded one.
    ///
    /// # Errors
    /// A bad JSONPath in the options.
    pub fn new(recordings: Vec<(String, Compiled)>, options: ReplayOptions, exact: bool) -> Result<Self> {
        // Bodies tell recordings apart whatever is compared later; as JSON where nothing stricter is asked for.
        let matching = if options.matching == Matching::Strict { Matching::Strict } else { Matching::Json };
        let deal = |(label, compiled): (String, Compiled)| {
            let matcher = Matcher::new(matching, &options.ignore, compiled.redactor.iter().cloned().collect())?;
            Ok(Card { label, compiled: Arc::new(compiled), matcher })
        };
        let mut cards = recordings.into_iter().map(deal).collect::<Result<Vec<Card>>>()?;
        cards.sort_by(|one, other| {
            let key = |card: &Card| (card.compiled.head.start_time.clone(), card.label.clone());
            key(one).cmp(&key(other))
        });
        Ok(Self { cards, options, exact, turns: Mutex::default(), tally: Mutex::default() })
    }

    /// The recordings.
    pub fn cards(&self) -> &[Card] {
        &self.cards
    }

    /// How they are played.
    pub fn options(&self) -> &ReplayOptions {
        &self.options
    }

    /// The first recording at this place; where there is one, a request's query and body are worth a look.
    pub fn first_at(&self, protocol: Protocol, method: &str, path: &str) -> Option<&Card> {
        self.cards.iter().find(|card| is_at(&card.compiled.head, protocol, method, path, card.compiled.redactor.as_deref()))
    }

    /// The recording that this request gets: of those that are most like it each in turn, or for a client that comes back after the
    /// event `last_event_id` the one that has that.
    pub fn choose(&self, request: &Request<'_>, last_event_id: Option<&str>) -> Option<usize> {
        let like = |card: &Card| likeness(&card.compiled.head, request, card.compiled.redactor.as_deref(), &card.matcher);
        let found: Vec<(usize, Likeness)> = self.cards.iter().enumerate().filter_map(|(at, card)| Some((at, like(card)?))).collect();
        let best = found.iter().map(|(_, likeness)| *likeness).max()?;
        if self.exact && best != Likeness::Same {
            return None;
        }
        let fitting: Vec<usize> = found.into_iter().filter(|(_, likeness)| *likeness == best).map(|(at, _)| at).collect();
        let has_event = |at: &&usize| {
            let ids = &self.cards[**at].compiled.script.ids;
            last_event_id.is_some_and(|last| !last.is_empty() && ids.iter().any(|(_, id)| id == last))
        };
        if let Some(at) = fitting.iter().find(has_event) {
            return Some(*at);
        }
        let mut turns = sync::lock(&self.turns);
        let turn = turns.entry(fitting.clone()).or_default();
        *turn += 1;
        fitting.get((*turn - 1) % fitting.len()).copied()
    }

    /// A client has got a session of this recording.
    pub fn begin(&self, card: usize, board: &Arc<Board>) {
        let mut tally = sync::lock(&self.tally);
        tally.verdict.played += 1;
        tally.running.push((card, Arc::clone(board)));
    }

    /// The client of a session is gone.
    pub fn conclude(&self, board: &Board) {
        let mut tally = sync::lock(&self.tally);
        let Some(at) = tally.running.iter().position(|(_, known)| known.id() == board.id()) else { return };
        let (card, board) = tally.running.swap_remove(at);
        tally.verdict.judge(&self.cards[card].label, &board);
    }

    /// Nothing was there for a request.
    pub fn miss(&self, method: &str, path: &str) {
        let unserved = &mut sync::lock(&self.tally).verdict.unserved;
        let what = format!("{method} {path}");
        if unserved.len() < limits::MAX_FAULTS || unserved.contains_key(&what) {
            *unserved.entry(what).or_default() += 1;
        }
    }

    /// What became of all clients; those that are still there are judged as they stand.
    pub fn verdict(&self) -> Verdict {
        let mut tally = sync::lock(&self.tally);
        let mut running = std::mem::take(&mut tally.running);
        running.sort_by(|(_, one), (_, other)| one.id().cmp(other.id()));
        for (card, board) in running {
            tally.verdict.judge(&self.cards[card].label, &board);
        }
        tally.verdict.clone()
    }

    /// What there is, for a request that found nothing: `websocket /ws, sse POST /v1`, at most a few.
    pub fn list(&self) -> String {
        let mut names: Vec<String> = self.cards.iter().map(Card::place).collect();
        names.sort();
        names.dedup();
        let more = names.len().saturating_sub(5);
        names.truncate(5);
        if more > 0 {
            names.push(format!("{more} more"));
        }
        names.join(", ")
    }
}

impl Card {
    /// Where it is played: `websocket /ws`, `sse POST /v1`.
    pub fn place(&self) -> String {
        let head = &self.compiled.head;
        match &head.stream {
            StreamHead::WebSocket { .. } => format!("websocket {}", head.metadata.path),
            StreamHead::Sse { request, .. } => format!("sse {} {}", request.method, head.metadata.path),
        }
    }
}

impl Verdict {
    fn judge(&mut self, label: &str, board: &Board) {
        let view = board.view();
        if view.mode != Mode::Synchronized || view.status == ReplayStatus::Complete {
            return;
        }
        self.failed += 1;
        if self.faults.len() < limits::MAX_FAULTS {
            self.faults.push(Fault { label: label.to_owned(), view });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::pairs::Pairs;
    use crate::model::recording::{SseRequest, StreamTail};
    use crate::rules::script::{ScriptBuilder, samples};

    fn sse(start: &str, body: &str) -> (String, Compiled) {
        let mut head = samples::head(Protocol::Sse, None);
        head.start_time = start.to_owned();
        head.metadata.path = "/v1".to_owned();
        if let StreamHead::Sse { request, .. } = &mut head.stream {
            *request = SseRequest { method: "POST".to_owned(), body: Some(body.to_owned()), ..SseRequest::default() };
        }
        let script = ScriptBuilder::new(&head).finish(&samples::tail(StreamTail::open(Protocol::Sse)));
        (format!("{start}.json"), Compiled { head, script: Arc::new(script), redactor: None })
    }

    fn asked(deck: &Deck, body: &str) -> Option<String> {
        let query = Pairs::default();
        let request = Request { protocol: Protocol::Sse, method: "POST", path: "/v1", query: &query, body: body.as_bytes() };
        deck.choose(&request, None).map(|at| deck.cards()[at].label.trim_end_matches(".json").to_owned())
    }

    #[test]
    fn equal_requests_get_successive_recordings_in_the_order_of_their_start() {
        let recordings = || vec![sse("3", "a"), sse("1", "a"), sse("2", "b")];
        let deck = Deck::new(recordings(), ReplayOptions::default(), false).unwrap();
        let got: Vec<_> = ["a", "b", "a", "b", "a"].iter().map(|body| asked(&deck, body).unwrap()).collect();
        assert_eq!(got, ["1", "2", "3", "2", "1"]);
        let got: Vec<_> = (0..4).map(|_| asked(&deck, "other").unwrap()).collect();
        assert_eq!(got, ["1", "2", "3", "1"]);
        let deck = Deck::new(recordings(), ReplayOptions::default(), true).unwrap();
        assert_eq!((asked(&deck, "other"), asked(&deck, "b").as_deref()), (None, Some("2")));
        assert_eq!(deck.list(), "sse POST /v1");
    }
}
