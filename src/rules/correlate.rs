//! `correlate`: values that a live client makes up take the place of the recorded ones in what the server says later.
//! It learns from pairs of recorded and live messages and rewrites texts; it knows no frame and no wire.

use std::collections::HashMap;

use serde_json_path::JsonPath;

use super::json_span::{Document, Parsed, Segment, segments, splice, unescape};
use super::matching::canonical;
use crate::base::error::Result;
use crate::model::replay_options::check_json_path;

/// A recorded string of so many characters is replaced wherever it stands alone; a shorter one may stand there by chance.
const MIN_FREE_CHARS: usize = 8;
/// A live value that is larger is no id; keeping it for every message would cost memory.
const MAX_VALUE_BYTES: usize = 64 * 1024;
/// Places that are learnt at; a path that finds more in a message means no ids.
const MAX_PLACES: usize = 1_000;

/// The paths, and what has been learnt at them.
#[derive(Debug)]
pub struct Correlator {
    paths: Vec<JsonPath>,
    sites: Vec<Site>,
    /// Recorded strings that count wherever they stand, with the live literal.
    strings: HashMap<String, String>,
}

/// What was learnt at one place: recorded values (in canonical form) with live literals.
#[derive(Debug)]
struct Site {
    place: Vec<Segment>,
    live: HashMap<String, String>,
}

impl Correlator {
    /// Compiles the paths.
    ///
    /// # Errors
    /// `Error::Invalid` at `correlate[n]` for a bad JSONPath.
    pub fn new(paths: &[String]) -> Result<Self> {
        let paths = paths.iter().enumerate().map(|(index, path)| check_json_path(&format!("correlate[{index}]"), path));
        Ok(Self { paths: paths.collect::<Result<_>>()?, sites: Vec::new(), strings: HashMap::new() })
    }

    /// Whether nothing has been learnt, so that nothing will be rewritten.
    pub fn is_idle(&self) -> bool {
        self.sites.is_empty()
    }

    /// Learns from a recorded message and the live one in its place. What is no JSON teaches nothing.
    pub fn learn(&mut self, recorded: &str, live: &str) {
        if self.paths.is_empty() {
            return;
        }
        let (Parsed::Json(recorded), Parsed::Json(live)) = (Document::parse(recorded), Document::parse(live)) else { return };
        let (recorded_value, live_value) = (recorded.value(), live.value());
        for path in &self.paths {
            let recorded_at: Vec<_> = path.query_located(&recorded_value).locations().map(segments).take(MAX_PLACES).collect();
            let live_at: Vec<_> = path.query_located(&live_value).locations().map(segments).take(2).collect();
            for place in &recorded_at {
                // A path that finds one value in each message means these two, wherever they stand.
                let alone = recorded_at.len() == 1 && live_at.len() == 1;
                let live_place = if alone { &live_at[0] } else { place };
                let (Some(old), Some(new)) = (recorded.find(place).pop(), live.find(live_place).pop()) else { continue };
                let new = live.literal(new);
                if new.len() > MAX_VALUE_BYTES {
                    continue;
                }
                let old_literal = recorded.literal(old);
                if old_literal.starts_with('"') {
                    let text = unescape(old_literal);
                    if text.chars().nth(MIN_FREE_CHARS - 1).is_some() {
                        self.strings.insert(text.into_owned(), new.to_owned());
                    }
                }
                let old = canonical(&recorded.value_at(old));
                let site = match self.sites.iter_mut().position(|site| site.place == *place) {
                    Some(index) => &mut self.sites[index],
                    None if self.sites.len() >= MAX_PLACES => continue,
                    None => {
                        self.sites.push(Site { place: place.clone(), live: HashMap::new() });
                        let last = self.sites.len() - 1;
                        &mut self.sites[last]
                    }
                };
                site.live.insert(old, new.to_owned());
            }
        }
    }

    /// A server's text with the live values; `None` where nothing changes. Every other byte stays.
    pub fn rewrite(&self, text: &str) -> Option<String> {
        if self.is_idle() {
            return None;
        }
        let Parsed::Json(document) = Document::parse(text) else { return None };
        let mut edits = Vec::new();
        for site in &self.sites {
            for node in document.find(&site.place) {
                if let Some(live) = site.live.get(&canonical(&document.value_at(node))) {
                    edits.push((document.span(node), live.as_str()));
                }
            }
        }
        if !self.strings.is_empty() {
            for node in 0..document.len() {
                if let Some(live) = self.free_string(document.literal(node)) {
                    edits.push((document.span(node), live));
                }
                let key = document.key_span(node);
                // A key stays a string: one that gave way to a number would be no JSON.
                if let Some((span, live)) = key.and_then(|span| Some((span.clone(), self.free_string(&text[span])?)))
                    && live.starts_with('"')
                {
                    edits.push((span, live));
                }
            }
        }
        splice(text, edits)
    }

    fn free_string(&self, literal: &str) -> Option<&str> {
        if !literal.starts_with('"') {
            return None;
        }
        self.strings.get(unescape(literal).as_ref()).map(String::as_str)
    }
}

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
            correlator.learn(recorded, live);
            assert_eq!(correlator.rewrite(text).as_deref(), rewritten, "{recorded} {live} {text}");
        }
    }

    #[test]
    fn later_messages_add_to_what_is_known() {
        let mut correlator = correlator(&["$.id"]);
        assert!(correlator.is_idle());
        correlator.learn(r#"{"id":1}"#, r#"{"id":2}"#);
        correlator.learn(r#"{"id":2}"#, r#"{"id":3}"#);
        assert_eq!(correlator.rewrite(r#"{"id":1}"#).as_deref(), Some(r#"{"id":2}"#), "a replaced value is not replaced again");
        assert_eq!(correlator.rewrite(r#"{"id":2}"#).as_deref(), Some(r#"{"id":3}"#));
        correlator.learn(r#"{"id":1}"#, r#"{"id":1}"#);
        assert_eq!(correlator.rewrite(r#"{"id":1}"#), None);
    }
}
