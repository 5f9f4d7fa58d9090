//! What holds for `correlate` whatever the messages: a plan changes what a look at every value of every message would change.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::rules::json_span::{splice, unescape};

/// Learns and rewrites message by message, with nothing found out before.
#[derive(Default)]
struct Plain {
    sites: Vec<(Vec<Segment>, HashMap<String, String>)>,
    strings: HashMap<String, String>,
}

impl Plain {
    fn learn(&mut self, paths: &[JsonPath], recorded: &str, live: &str) {
        let (Parsed::Json(recorded), Parsed::Json(live)) = (Document::parse(recorded), Document::parse(live)) else { return };
        let (recorded_value, live_value) = (recorded.value(), live.value());
        for path in paths {
            let recorded_at = located(path, &recorded_value, MAX_PLACES);
            let live_at = located(path, &live_value, 2);
            for place in &recorded_at {
                let live_place = if recorded_at.len() == 1 && live_at.len() == 1 { &live_at[0] } else { place };
                let (Some(old), Some(new)) = (recorded.find(place).pop(), live.find(live_place).pop()) else { continue };
                let (old_literal, new) = (recorded.literal(old), live.literal(new).to_owned());
                if old_literal.starts_with('"') && unescape(old_literal).chars().count() >= MIN_FREE_CHARS {
                    self.strings.insert(unescape(old_literal).into_owned(), new.clone());
                }
                let old = canonical(&recorded.value_at(old));
                let at = self.sites.iter().position(|site| site.0 == *place).unwrap_or_else(|| {
                    self.sites.push((place.clone(), HashMap::new()));
                    self.sites.len() - 1
                });
                self.sites[at].1.insert(old, new);
            }
        }
    }

    fn free(&self, literal: &str) -> Option<&str> {
        self.strings.get(unescape(literal).as_ref()).filter(|_| literal.starts_with('"')).map(String::as_str)
    }

    fn rewrite(&self, text: &str) -> Option<String> {
        let Parsed::Json(document) = Document::parse(text) else { return None };
        let mut edits = Vec::new();
        for (place, live) in &self.sites {
            for node in document.find(place) {
                if let Some(live) = live.get(&canonical(&document.value_at(node))) {
                    edits.push((document.span(node), live.as_str()));
                }
            }
        }
        for node in 0..document.len() {
            edits.extend(self.free(document.literal(node)).map(|live| (document.span(node), live)));
            if let Some(span) = document.key_span(node)
                && let Some(live) = self.free(&text[span.clone()]).filter(|live| live.starts_with('"'))
            {
                edits.push((span, live));
            }
        }
        splice(text, edits)
    }
}

/// JSON of few words, so that messages have much in common; keys may stand twice.
fn message() -> impl Strategy<Value = String> {
    let word = || prop_oneof![Just("id"), Just("long-enough"), Just("long-enoug\\u0068"), Just("a"), Just("other-long-1")];
    let leaf = prop_oneof![
        (0..4u8).prop_map(|number| number.to_string()),
        Just("1.0".to_owned()),
        Just("null".to_owned()),
        word().prop_map(|word| format!("\"{word}\"")),
    ];
    leaf.prop_recursive(3, 12, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(|items| format!("[{}]", items.join(", "))),
            proptest::collection::vec((word(), inner), 0..4).prop_map(|members| {
                let members: Vec<String> = members.iter().map(|(key, value)| format!("\"{key}\": {value}")).collect();
                format!("{{{}}}", members.join(","))
            }),
        ]
    })
}

proptest! {
    #[test]
    fn a_plan_changes_what_a_look_at_everything_changes(
        messages in proptest::collection::vec((message(), message()), 1..5), texts in proptest::collection::vec(message(), 1..5),
        paths in 0usize..5,
    ) {
        let names = [&["$.id"][..], &["$..id", "$"], &["$.*"], &["$..*"], &["$['long-enough']", "$.a[0]"]][paths];
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut correlator = Correlator::new(&names).unwrap();
        let plan = correlator.plan(messages.iter().map(|(recorded, _)| recorded.as_str()));
        let mut plain = Plain::default();
        for (recorded, live) in &messages {
            correlator.learn(&plan, recorded, live);
            plain.learn(&correlator.paths, recorded, live);
            prop_assert_eq!(correlator.is_idle(), plain.sites.is_empty());
            for text in texts.iter().chain([recorded, live]) {
                prop_assert_eq!(correlator.rewrite(text, &plan.edits(text)), plain.rewrite(text), "{}", text);
            }
        }
    }
}
