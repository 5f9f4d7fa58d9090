//! What of a script may give way to a live client's values: known from the recording alone, so that it is found once for all sessions.
//! Values that could be learnt have a number each, their slot; what stands in a session's slots is that session's matter.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use serde_json_path::JsonPath;

use super::correlate::{MAX_PLACES, MIN_FREE_CHARS, located};
use super::json_places::Places;
use super::json_span::{Document, Parsed, unescape};
use super::matching::canonical;
use super::script::{Entry, ItemKind, Script};
use crate::model::recording::{FrameType, Protocol};

/// A value of a server's text, or a key, that gives way when its slot is taken.
#[derive(Debug, PartialEq, Eq)]
pub struct Edit {
    /// Where it stands in the text.
    pub span: Range<usize>,
    /// Whose live value takes its place.
    pub slot: usize,
    /// A key stays a string: one that gave way to a number would be no JSON.
    pub is_key: bool,
}

/// The recorded values at some paths, and where they stand in the server's texts.
#[derive(Debug)]
pub struct Plan {
    paths: Vec<String>,
    places: Places,
    /// Slots by place and value (in canonical form).
    values: HashMap<(usize, String), usize>,
    /// Slots of strings that count wherever they stand.
    strings: HashMap<String, usize>,
    /// What stands for values that were redacted, of which no two need be the same: it counts nowhere but at its place.
    redact_value: Option<String>,
    slots: usize,
    /// Of each entry of the script, found when it is first asked for.
    edits: Box<[OnceLock<Box<[Edit]>>]>,
}

impl Plan {
    /// The plan of a script: that of the first session that asks is kept by the script and shared with all that have the same paths.
    /// `request` is the recorded body of an event stream's request, which a script has one of.
    pub fn of(script: &Script, names: &[String], paths: &[JsonPath], request: &str) -> Arc<Self> {
        let make = || {
            let clients = script.clients.iter().filter_map(|index| match script.entries.get(*index) {
                Some(Entry::Client { frame: FrameType::Text, payload, .. }) => std::str::from_utf8(payload).ok(),
                _ => None,
            });
            let request = Some(request).filter(|_| script.protocol == Protocol::Sse);
            Arc::new(Self::new(names, paths, clients.chain(request), script.redact_value.clone(), script.entries.len()))
        };
        let kept = script.plan.get_or_init(make);
        if kept.paths == names { Arc::clone(kept) } else { make() }
    }

    /// The plan of some recorded messages, for a script of so many entries. `redact_value` is what stands for redacted values in them.
    pub fn new<'a>(
        names: &[String],
        paths: &[JsonPath],
        recorded: impl Iterator<Item = &'a str>,
        redact_value: Option<String>,
        entries: usize,
    ) -> Self {
        let mut plan = Self {
            paths: names.to_vec(),
            places: Places::default(),
            values: HashMap::new(),
            strings: HashMap::new(),
            redact_value,
            slots: 0,
            edits: std::iter::repeat_with(OnceLock::new).take(entries).collect(),
        };
        recorded.for_each(|message| plan.add(paths, message));
        plan
    }

    fn add(&mut self, paths: &[JsonPath], message: &str) {
        let Parsed::Json(document) = Document::parse(message) else { return };
        let value = document.value();
        let places: Vec<usize> =
            paths.iter().flat_map(|path| located(path, &value, MAX_PLACES)).map(|place| self.places.add(&place)).collect();
        let nodes = document.last_at(&self.places);
        for place in places {
            let Some(node) = nodes.get(&place).copied() else { continue };
            let mut next = || {
                self.slots += 1;
                self.slots - 1
            };
            self.values.entry((place, canonical(&document.value_at(node)))).or_insert_with(&mut next);
            if let Some(text) = free_string(document.literal(node)).filter(|text| self.redact_value.as_ref() != Some(text)) {
                self.strings.entry(text).or_insert_with(&mut next);
            }
        }
    }

    /// The places.
    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    /// The slot of a value (in canonical form) at a place.
    pub(super) fn value_slot(&self, place: usize, canonical: String) -> Option<usize> {
        self.values.get(&(place, canonical)).copied()
    }

    /// The slot of a string literal that counts wherever it stands.
    pub(super) fn string_slot(&self, literal: &str) -> Option<usize> {
        if !literal.starts_with('"') {
            return None;
        }
        self.strings.get(unescape(literal).as_ref()).copied()
    }

    /// What may give way in the text of an entry, the outermost before what it contains.
    pub fn edits_of(&self, script: &Script, index: usize) -> &[Edit] {
        let Some(edits) = self.edits.get(index) else { return &[] };
        edits.get_or_init(|| match script.entries.get(index) {
            Some(entry @ Entry::Server { kind: ItemKind::Step, frame: FrameType::Text, .. }) => {
                std::str::from_utf8(script.payload(entry)).map_or_else(|_| Box::default(), |text| self.edits(text).into_boxed_slice())
            }
            _ => Box::default(),
        })
    }

    /// The same of any text. What is no JSON has nothing.
    pub fn edits(&self, text: &str) -> Vec<Edit> {
        let mut edits = Vec::new();
        let Parsed::Json(document) = Document::parse(text) else { return edits };
        document.visit(&self.places, &mut |place, node| {
            if let Some(slot) = self.value_slot(place, canonical(&document.value_at(node))) {
                edits.push(Edit { span: document.span(node), slot, is_key: false });
            }
            true
        });
        if !self.strings.is_empty() {
            for node in 0..document.len() {
                if let Some(slot) = self.string_slot(document.literal(node)) {
                    edits.push(Edit { span: document.span(node), slot, is_key: false });
                }
                if let Some(span) = document.key_span(node)
                    && let Some(slot) = self.string_slot(&text[span.clone()])
                {
                    edits.push(Edit { span, slot, is_key: true });
                }
            }
        }
        // Of two of one span that of the place stays before that of the string.
        edits.sort_by_key(|edit| (edit.span.start, Reverse(edit.span.end)));
        edits
    }
}

/// What a string literal says, if that is long enough to count wherever it stands.
fn free_string(literal: &str) -> Option<String> {
    let text = literal.starts_with('"').then(|| unescape(literal))?;
    text.chars().nth(MIN_FREE_CHARS - 1)?;
    Some(text.into_owned())
}
