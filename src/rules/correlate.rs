//! `correlate`: values that a live client makes up take the place of the recorded ones in what the server says later.
//! It learns from pairs of recorded and live messages and rewrites texts; it knows no frame and no wire.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;
use serde_json_path::JsonPath;

use super::correlate_plan::{Edit, Plan};
use super::json_span::{Document, Parsed, Segment, segments};
use super::matching::canonical;
use super::script::Script;
use crate::base::error::Result;
use crate::model::replay_options::check_json_path;

/// A recorded string of so many characters is replaced wherever it stands alone; a shorter one may stand there by chance.
pub(super) const MIN_FREE_CHARS: usize = 8;
/// A live value that is larger is no id; keeping it for every message would cost memory.
const MAX_VALUE_BYTES: usize = 64 * 1024;
/// Places that are learnt at; a path that finds more in a message means no ids.
pub(super) const MAX_PLACES: usize = 1_000;

/// The paths, and what has been learnt at them.
#[derive(Debug)]
pub struct Correlator {
    names: Vec<String>,
    paths: Vec<JsonPath>,
    plan: Option<Arc<Plan>>,
    /// Live literals by the plan's slots, as far as they have been learnt.
    live: Vec<Option<Box<str>>>,
    /// The places that something was learnt at.
    learnt_at: HashSet<usize>,
}

impl Correlator {
    /// Compiles the paths.
    ///
    /// # Errors
    /// `Error::Invalid` at `correlate[n]` for a bad JSONPath.
    pub fn new(names: &[String]) -> Result<Self> {
        let paths = names.iter().enumerate().map(|(index, path)| check_json_path(&format!("correlate[{index}]"), path));
        let paths = paths.collect::<Result<_>>()?;
        Ok(Self { names: names.to_vec(), paths, plan: None, live: Vec::new(), learnt_at: HashSet::new() })
    }

    /// Whether nothing has been learnt, so that nothing will be rewritten.
    pub fn is_idle(&self) -> bool {
        self.learnt_at.is_empty()
    }

    /// Learns from a recorded message of a script (one of its client's, or its `request`) and the live one in its place.
    pub fn learn_of(&mut self, script: &Script, recorded: &str, live: &str) {
        if self.paths.is_empty() {
            return;
        }
        let plan = self.plan.take().unwrap_or_else(|| Plan::of(script, &self.names, &self.paths, recorded));
        self.learn(&plan, recorded, live);
        self.plan = Some(plan);
    }

    /// Makes the plan of some recorded messages, without a script.
    pub fn plan<'a>(&self, recorded: impl Iterator<Item = &'a str>) -> Plan {
        Plan::new(&self.names, &self.paths, recorded, None, 0)
    }

    /// Learns from a recorded message that the plan knows and the live one in its place. What is no JSON teaches nothing.
    pub fn learn(&mut self, plan: &Plan, recorded: &str, live: &str) {
        let (Parsed::Json(recorded), Parsed::Json(live)) = (Document::parse(recorded), Document::parse(live)) else { return };
        let (recorded_value, live_value) = (recorded.value(), live.value());
        let (recorded_nodes, live_nodes) = (recorded.last_at(plan.places()), live.last_at(plan.places()));
        for index in 0..self.paths.len() {
            let recorded_at = located(&self.paths[index], &recorded_value, MAX_PLACES);
            let live_at = located(&self.paths[index], &live_value, 2);
            // A path that finds one value in each message means these two, wherever they stand.
            let alone = if recorded_at.len() == 1 && live_at.len() == 1 { live.find(&live_at[0]).pop() } else { None };
            for place in &recorded_at {
                let Some(place) = plan.places().number(place) else { continue };
                let new = alone.or_else(|| live_nodes.get(&place).copied());
                let (Some(old), Some(new)) = (recorded_nodes.get(&place).copied(), new) else { continue };
                let new = live.literal(new);
                if new.len() > MAX_VALUE_BYTES {
                    continue;
                }
                if let Some(slot) = plan.string_slot(recorded.literal(old)) {
                    self.fill(slot, new);
                }
                if !self.learnt_at.contains(&place) && self.learnt_at.len() >= MAX_PLACES {
                    continue;
                }
                self.learnt_at.insert(place);
                if let Some(slot) = plan.value_slot(place, canonical(&recorded.value_at(old))) {
                    self.fill(slot, new);
                }
            }
        }
    }

    fn fill(&mut self, slot: usize, literal: &str) {
        if self.live.len() <= slot {
            self.live.resize(slot + 1, None);
        }
        self.live[slot] = Some(literal.into());
    }

    /// What may give way in an entry of the script that is learnt from; nothing before the first message.
    pub fn edits_of(&self, script: &Script, index: usize) -> &[Edit] {
        self.plan.as_ref().map_or(&[], |plan| plan.edits_of(script, index))
    }

    /// What gives way in a text now, in its order, and to what. Of places that overlap the outermost counts.
    pub(super) fn swaps<'a>(&'a self, edits: &'a [Edit]) -> impl Iterator<Item = (Range<usize>, &'a str)> {
        let mut done = 0;
        edits.iter().filter_map(move |edit| {
            let live = self.live.get(edit.slot)?.as_deref()?;
            if edit.span.start < done || (edit.is_key && !live.starts_with('"')) {
                return None;
            }
            done = edit.span.end;
            Some((edit.span.clone(), live))
        })
    }

    /// The length of a server's text with the live values; `None` where nothing changes.
    pub fn changed_len(&self, text: &[u8], edits: &[Edit]) -> Option<usize> {
        let (mut len, mut changed) = (text.len(), false);
        for (span, live) in self.swaps(edits) {
            len = len - span.len() + live.len();
            changed |= text[span] != *live.as_bytes();
        }
        changed.then_some(len)
    }

    /// Adds a server's text with the live values to `out`. Every other byte stays.
    pub fn push_changed(&self, out: &mut Vec<u8>, text: &[u8], edits: &[Edit]) {
        let mut done = 0;
        for (span, live) in self.swaps(edits) {
            out.extend_from_slice(&text[done..span.start]);
            out.extend_from_slice(live.as_bytes());
            done = span.end;
        }
        out.extend_from_slice(&text[done..]);
    }

    /// A server's text with the live values; `None` where nothing changes.
    pub fn rewrite(&self, text: &str, edits: &[Edit]) -> Option<String> {
        let mut out = Vec::with_capacity(self.changed_len(text.as_bytes(), edits)?);
        self.push_changed(&mut out, text.as_bytes(), edits);
        // Whole literals gave way to whole literals.
        String::from_utf8(out).ok()
    }
}

/// The first places that a path finds.
pub(super) fn located(path: &JsonPath, value: &Value, most: usize) -> Vec<Vec<Segment>> {
    path.query_located(value).locations().map(segments).take(most).collect()
}

#[cfg(test)]
mod properties;

#[cfg(test)]
mod tests {
    use super::*;

    fn correlator(paths: &[&str]) -> Correlator {
        Correlator::new(&paths.iter().map(|path| (*path).to_owned()).collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn live_values_take_the_place_of_recorded_ones() {
        for (paths, recorded, live, text, rewritten) in [
            // JSON-RPC: a number at the same path, and only there.
            (&["$.id"][..], r#"{"id":1}"#, r#"{"id":7}"#, r#"{"id": 1.0, "result":{"id":1}}"#, Some(r#"{"id": 7, "result":{"id":1}}"#)),
            (&["$.id"], r#"{"id":1}"#, r#"{"id":"seven"}"#, r#"{"id":1}"#, Some(r#"{"id":"seven"}"#)),
            (&["$.id"], r#"{"id":1}"#, r#"{"id":7}"#, r#"{"id":2}"#, None),
            (&["$.id"], r#"{"id":1}"#, r#"{"id":7}"#, "1", None),
            // GraphQL: a long string wherever it stands as a whole, keys and escapes included.
            (
                &["$.id"],
                r#"{"id":"abcd-1234"}"#,
                r#"{"id":"live"}"#,
                r#"{"payload":{"sub":"abcd-123\u0034","abcd-1234":[ "abcd-1234" ]},"text":"of abcd-1234"}"#,
                Some(r#"{"payload":{"sub":"live","live":[ "live" ]},"text":"of abcd-1234"}"#),
            ),
            (&["$.id"], r#"{"id":"short"}"#, r#"{"id":"live"}"#, r#"{"id":"short","x":"short"}"#, Some(r#"{"id":"live","x":"short"}"#)),
            (&["$..ref"], r#"{"a":{"ref":1}}"#, r#"{"b":{"ref":2}}"#, r#"{"a":{"ref":1}}"#, Some(r#"{"a":{"ref":2}}"#)),
            (&["$.ids[*]"], r#"{"ids":[1,2]}"#, r#"{"ids":[2,3]}"#, r#"{"ids":[1,2]}"#, Some(r#"{"ids":[2,3]}"#)),
            (&["$.id"], "plain", r#"{"id":7}"#, r#"{"id":1}"#, None),
            (&["$.id"], r#"{"id":1}"#, r#"{"other":7}"#, r#"{"id":1}"#, None),
        ] {
            let mut correlator = correlator(paths);
            let plan = correlator.plan(std::iter::once(recorded));
            correlator.learn(&plan, recorded, live);
            assert_eq!(correlator.rewrite(text, &plan.edits(text)).as_deref(), rewritten, "{recorded} {live} {text}");
        }
    }

    #[test]
    fn later_messages_add_to_what_is_known() {
        let mut correlator = correlator(&["$.id"]);
        assert!(correlator.is_idle());
        let plan = correlator.plan([r#"{"id":1}"#, r#"{"id":2}"#].into_iter());
        let rewrite = |correlator: &Correlator, text: &str| correlator.rewrite(text, &plan.edits(text));
        correlator.learn(&plan, r#"{"id":1}"#, r#"{"id":2}"#);
        correlator.learn(&plan, r#"{"id":2}"#, r#"{"id":3}"#);
        assert_eq!(rewrite(&correlator, r#"{"id":1}"#).as_deref(), Some(r#"{"id":2}"#), "a replaced value is not replaced again");
        assert_eq!(rewrite(&correlator, r#"{"id":2}"#).as_deref(), Some(r#"{"id":3}"#));
        correlator.learn(&plan, r#"{"id":1}"#, r#"{"id":1}"#);
        assert_eq!(rewrite(&correlator, r#"{"id":1}"#), None);
    }

    #[test]
    fn what_stood_for_redacted_values_was_taken_for_an_id() {
        let mut correlator = correlator(&["$.id"]);
        let recorded = r#"{"id":"[REDACTED]"}"#;
        let plan = Plan::new(&correlator.names, &correlator.paths, std::iter::once(recorded), Some("[REDACTED]".to_owned()), 0);
        correlator.learn(&plan, recorded, r#"{"id":"live-1"}"#);
        let text = r#"{"id":"[REDACTED]","email":"[REDACTED]"}"#;
        let rewritten = correlator.rewrite(text, &plan.edits(text));
        assert_eq!(rewritten.as_deref(), Some(r#"{"id":"live-1","email":"[REDACTED]"}"#));
    }
}
