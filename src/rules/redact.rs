//! Redaction: what is replaced before anything is written. Rules in, texts in, texts out; what goes to upstream and client
//! never passes here.

use std::borrow::Cow;
use std::ops::Range;

use regex_lite::Regex;
use serde_json_path::JsonPath;

use super::json_span::{Document, Parsed, Token, scan, segments, splice, unescape};
use super::redact_hidden::{redact_links, redact_strings};
use super::redact_json::{MARK, hide_in_json, split_mark};
use crate::base::error::{Error, Result};
use crate::base::text::{clean, shorten};
use crate::model::pairs::Pairs;
use crate::model::recording::{Encoding, Frame, FrameType, Redaction, SseEvent, WsFrame, decode};
use crate::model::replay_options::check_json_path;
use crate::wire::url::percent_decode;

/// The rules, compiled.
#[derive(Debug)]
pub struct Redactor {
    rules: Redaction,
    /// Body keys that count at any depth.
    bare_keys: Vec<String>,
    paths: Vec<JsonPath>,
    patterns: Vec<Regex>,
    /// The redact value as a JSON string.
    literal: String,
}

impl Redactor {
    /// Compiles rules. Names of header fields and parameters compare without case; a body key that begins with `$` is a JSONPath (RFC 9535),
    /// any other is a key at any depth (compared after unescaping); patterns are regular expressions of regex-lite.
    ///
    /// # Errors
    /// `Error::Invalid` that names `recording.filterBodyKeys[2]` and the like, the value, and what is wrong with it.
    pub fn new(rules: &Redaction) -> Result<Self> {
        let mut bare_keys = Vec::new();
        let mut paths = Vec::new();
        for (index, key) in rules.body_keys.iter().enumerate() {
            if key.starts_with('$') {
                paths.push(check_json_path(&format!("recording.filterBodyKeys[{index}]"), key)?);
            } else {
                bare_keys.push(key.clone());
            }
        }
        let patterns = rules.patterns.iter().enumerate().map(|(index, pattern)| {
            Regex::new(pattern).map_err(|error| {
                let message = format!("{:?} is no regular expression: {error}", clean(&shorten(pattern, 64)));
                Error::invalid(format!("recording.filterPatterns[{index}]"), message)
            })
        });
        let patterns = patterns.collect::<Result<_>>()?;
        let literal = serde_json::Value::from(rules.redact_value.as_str()).to_string();
        Ok(Self { rules: rules.clone(), bare_keys, paths, patterns, literal })
    }

    /// The rules as a recording keeps them.
    pub fn rules(&self) -> &Redaction {
        &self.rules
    }

    /// Redacts header values in place: named ones wholly, of all others what the patterns find and the named parameters, users and
    /// passwords of URLs (`Referer`, `Location`). Of a redacted `Cookie` etc. the whole value goes.
    pub fn headers(&self, headers: &mut Pairs) {
        for (name, value) in headers.iter_mut() {
            self.header(name, value);
        }
    }

    /// Redacts one header value in place, as [`Redactor::headers`] does.
    pub fn header(&self, name: &str, value: &mut String) {
        self.pair(self.rules.headers.iter().any(|known| known.eq_ignore_ascii_case(name)), value);
        if let Some(redacted) = redact_links(value, &self.rules.redact_value, |name| self.names_parameter(name)) {
            *value = redacted;
        }
    }

    /// Redacts parameters in place: named ones wholly, all others by the patterns.
    pub fn query(&self, query: &mut Pairs) {
        for (name, value) in query.iter_mut() {
            self.pair(self.rules.query.iter().any(|known| known.eq_ignore_ascii_case(name)), value);
        }
        query.rename(|name| self.plain(name));
    }

    fn pair(&self, is_named: bool, value: &mut String) {
        if is_named {
            value.clone_from(&self.rules.redact_value);
        } else {
            self.plain_in_place(value);
        }
    }

    /// A URL or request target with the values of named parameters replaced, without user and password, and patterns applied; also
    /// fit for logs.
    pub fn url(&self, url: &str) -> String {
        let (front, query) = url.split_once('?').map_or((url, None), |(front, query)| (front, Some(query)));
        let mut out = without_user(front).into_owned();
        if let Some(query) = query {
            let (query, fragment) = query.split_at(query.find('#').unwrap_or(query.len()));
            for (index, piece) in query.split('&').enumerate() {
                out.push(if index == 0 { '?' } else { '&' });
                match piece.split_once('=') {
                    Some((name, _)) if self.names_parameter(name) => {
                        out.push_str(name);
                        out.push('=');
                        out.push_str(&self.rules.redact_value);
                    }
                    Some((name, value)) => {
                        out.push_str(self.encoded(name));
                        out.push('=');
                        out.push_str(self.encoded(value));
                    }
                    None => out.push_str(self.encoded(piece)),
                }
            }
            out.push_str(fragment);
        }
        self.plain_in_place(&mut out);
        out
    }

    /// A part of a query as it stands, unless a pattern finds in its decoded form what it does not find in this one: then what it finds
    /// here would not be all.
    fn encoded<'a>(&'a self, part: &'a str) -> &'a str {
        let decodes_to_more = |part: &str| self.plain(&percent_decode(&part.replace('+', " "))).is_some();
        let hidden = part.contains(['%', '+']) && decodes_to_more(self.plain(part).as_deref().unwrap_or(part));
        if hidden { &self.rules.redact_value } else { part }
    }

    fn names_parameter(&self, encoded: &str) -> bool {
        let name =
            if encoded.contains(['%', '+']) { Cow::Owned(percent_decode(&encoded.replace('+', " "))) } else { Cow::Borrowed(encoded) };
        self.rules.query.iter().any(|known| known.eq_ignore_ascii_case(&name))
    }

    /// A text that may be JSON, also behind a byte order mark (text frame, SSE data, request body): body keys where it parses as JSON, then
    /// patterns, which leave JSON where it was. `None` where nothing changed.
    /// Every byte outside a redacted value stays as it was. Duplicate keys are all redacted. A JSON text that is too large, too deep
    /// or too full of duplicates to be asked for a JSONPath is redacted whole where there is one. A string whose own text is JSON is
    /// searched for bare keys as well, and what its escapes hide for patterns.
    pub fn text(&self, text: &str) -> Option<String> {
        let (mark, json) = split_mark(text);
        let by_key = self.body(json);
        let in_strings = self.strings(by_key.as_deref().unwrap_or(json)).or(by_key);
        let in_strings = in_strings.map(|json| format!("{mark}{json}"));
        self.patterns(in_strings.as_deref().unwrap_or(text)).or(in_strings)
    }

    /// Bytes that are no text as such (binary frames): as [`Redactor::text`] where they are UTF-8 all the same, else by the patterns where
    /// they are. `None` where nothing changed.
    pub fn bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        if let Ok(text) = std::str::from_utf8(bytes) {
            return self.text(text).map(String::into_bytes);
        }
        let (mut out, mut changed) = (Vec::new(), false);
        for chunk in bytes.utf8_chunks().filter(|_| !self.patterns.is_empty()) {
            let redacted = self.plain(chunk.valid());
            changed |= redacted.is_some();
            out.extend_from_slice(redacted.as_deref().unwrap_or(chunk.valid()).as_bytes());
            out.extend_from_slice(chunk.invalid());
        }
        changed.then_some(out)
    }

    /// A text whose end is missing (a truncated body): one that begins as JSON cannot be searched for keys, so it goes whole
    /// where there are any. `None` where nothing changed.
    pub fn cut_text(&self, text: &str) -> Option<String> {
        let has_keys = !(self.bare_keys.is_empty() && self.paths.is_empty());
        if has_keys && is_open_json(text) { Some(self.rules.redact_value.clone()) } else { self.text(text) }
    }

    /// What an event stream left behind its last blank line: its lines' values as those of events, alone and joined, which
    /// may be cut off. `None` where nothing changed.
    pub fn tail(&self, tail: &str) -> Option<String> {
        let is_secret = |value: &str| self.cut_text(value.trim_start()).is_some();
        let data: Vec<&str> = tail.split(['\r', '\n']).filter_map(|line| split_mark(line).1.strip_prefix("data:")).collect();
        let data_is_secret = is_secret(&data.join("\n"));
        let mut out = String::with_capacity(tail.len());
        for line in tail.split_inclusive(['\r', '\n']) {
            let content = line.trim_end_matches(['\r', '\n']);
            let (field, value) = content.split_at(content.find(':').map_or(0, |colon| colon + 1));
            if (data_is_secret && split_mark(field).1 == "data:") || is_secret(value) {
                out.push_str(field);
                out.push(' ');
                out.push_str(&self.rules.redact_value);
                out.push_str(&line[content.len()..]);
            } else {
                out.push_str(line);
            }
        }
        self.plain_in_place(&mut out);
        (out != tail).then_some(out)
    }

    /// A text that is no JSON (path, close reason, subprotocol, comment, id, event type): patterns alone. `None` where nothing changed.
    pub fn plain(&self, text: &str) -> Option<String> {
        self.each_pattern(text, |before, found| self.hide(before, found))
    }

    /// As [`Redactor::plain`]; JSON is JSON afterwards.
    fn patterns(&self, text: &str) -> Option<String> {
        self.each_pattern(text, |before, found| {
            let (mark, json) = split_mark(before);
            let at = |place: usize| place.saturating_sub(mark.len());
            let in_json: Vec<_> = found.iter().map(|found| at(found.start)..at(found.end)).collect();
            match hide_in_json(json, &in_json, &self.literal) {
                Some(hidden) => hidden.map(|json| format!("{mark}{json}")),
                None => self.hide(before, found),
            }
        })
    }

    /// What `hide` makes of the text for each pattern that finds something in it.
    fn each_pattern(&self, text: &str, hide: impl Fn(&str, &[Range<usize>]) -> Option<String>) -> Option<String> {
        let mut redacted: Option<String> = None;
        for pattern in &self.patterns {
            let before = redacted.as_deref().unwrap_or(text);
            // A match of nothing has nothing to hide.
            let mut found: Vec<_> = pattern.find_iter(before).map(|found| found.range()).filter(|found| !found.is_empty()).collect();
            if !found.is_empty() {
                self.spare_hidden(before, &mut found);
            }
            if !found.is_empty() {
                redacted = hide(before, &found).or(redacted);
            }
        }
        redacted
    }

    /// Leaves out what is found in a value that is redacted already: redacting once more, as matching does with what was recorded, would
    /// make something else of it.
    fn spare_hidden(&self, text: &str, found: &mut Vec<Range<usize>>) {
        let as_literal = &self.literal[1..self.literal.len() - 1];
        for value in [self.rules.redact_value.as_str(), as_literal].into_iter().filter(|value| !value.is_empty()) {
            let mut hidden = text.match_indices(value).map(|(start, _)| start + value.len()).peekable();
            found.retain(|found| {
                // Both come in order.
                while hidden.next_if(|end| *end < found.end).is_some() {}
                hidden.peek().is_none_or(|end| found.start + value.len() < *end)
            });
        }
    }

    fn hide(&self, text: &str, found: &[Range<usize>]) -> Option<String> {
        splice(text, found.iter().map(|found| (found.clone(), self.rules.redact_value.as_str())).collect())
    }

    fn plain_in_place(&self, text: &mut String) -> bool {
        match self.plain(text) {
            Some(redacted) => {
                *text = redacted;
                true
            }
            None => false,
        }
    }

    fn body(&self, text: &str) -> Option<String> {
        let mut spans = self.bare_spans(text)?;
        if !self.paths.is_empty() {
            match Document::parse(text) {
                Parsed::NotJson => return None,
                Parsed::TooLarge => return splice(text, vec![(0..text.len(), &self.literal)]),
                Parsed::Json(document) => {
                    let Some(readings) = document.readings() else { return splice(text, vec![(0..text.len(), &self.literal)]) };
                    for value in readings {
                        let found = self.paths.iter().map(|path| path.query_located(&value));
                        let places: Vec<_> = found.flat_map(|found| found.locations().map(segments).collect::<Vec<_>>()).collect();
                        spans.extend(document.find_all(places.into_iter()).into_iter().map(|node| document.span(node)));
                    }
                }
            }
        }
        if spans.is_empty() {
            return None;
        }
        splice(text, spans.into_iter().map(|span| (span, self.literal.as_str())).collect())
    }

    /// JSON with strings redacted that have escapes, in which nothing is found as they stand. Strings in strings are no endless matter: each
    /// has half as many escapes at most.
    fn strings(&self, text: &str) -> Option<String> {
        if self.bare_keys.is_empty() && self.patterns.is_empty() {
            return None;
        }
        redact_strings(text, |literal, said| {
            if !is_open_json(said) {
                return self.unless_shown(literal, self.plain(said));
            }
            let (mark, json) = split_mark(said);
            let spans = self.bare_spans(json).unwrap_or_default();
            let by_key = splice(json, spans.into_iter().map(|span| (span, self.literal.as_str())).collect());
            let inner = self.strings(by_key.as_deref().unwrap_or(json)).or(by_key).map(|json| format!("{mark}{json}"));
            self.unless_shown(literal, self.patterns(inner.as_deref().unwrap_or(said))).or(inner)
        })
    }

    /// What patterns found in what a string says, unless they find the same in the string as it stands: that is hidden later, and
    /// changes less.
    fn unless_shown(&self, literal: &str, found: Option<String>) -> Option<String> {
        let shown = |found: &String| self.patterns(&format!("\"{literal}\"")).is_some_and(|quoted| unescape(&quoted) == *found);
        found.filter(|found| !shown(found))
    }

    /// Where the values of bare keys stand, whatever the nesting; `None` for what is no JSON.
    fn bare_spans(&self, text: &str) -> Option<Vec<Range<usize>>> {
        // A key without an escape stands in the text as it is: a cheap look spares most texts the scan.
        let maybe = text.contains('\\') || self.bare_keys.iter().any(|key| text.contains(key.as_str()));
        if self.bare_keys.is_empty() || !maybe {
            return Some(Vec::new());
        }
        let is_secret = |key: Option<Range<usize>>| {
            key.is_some_and(|key| {
                let key = unescape(&text[key]);
                self.bare_keys.iter().any(|known| *known == key)
            })
        };
        let mut spans: Vec<Range<usize>> = Vec::new();
        // Inside of a value that goes as a whole: its beginning, and how many brackets are open in it.
        let mut inside: Option<(usize, usize)> = None;
        let is_json = scan(text, |token| match (token, &mut inside) {
            (Token::Open { .. }, Some((_, open))) => *open += 1,
            (Token::Close { end }, Some((start, open))) => {
                *open -= 1;
                if *open == 0 {
                    spans.push(*start..end);
                    inside = None;
                }
            }
            (Token::Open { key, start, .. }, None) => inside = is_secret(key).then_some((start, 1)),
            (Token::Leaf { key, span }, None) if is_secret(key.clone()) => spans.push(span),
            _ => {}
        });
        is_json.then_some(spans)
    }

    /// Redacts a frame in place: text payloads by [`Redactor::text`], binary ones by [`Redactor::bytes`], close reasons, ping/pong texts, event types, ids, comments
    /// by [`Redactor::plain`]; an event that changed loses its `raw`; an event with `raw` in which a secret survives outside the parsed fields loses it too.
    pub fn frame(&self, frame: &mut Frame) {
        match frame {
            Frame::WebSocket(frame) => self.message(frame),
            Frame::Sse(event) => self.event(event),
        }
    }

    /// The payload of a message as [`Redactor::frame`] leaves it: bytes of a text where it was no binary one. `None` where nothing changed.
    pub fn payload(&self, kind: FrameType, payload: &[u8]) -> Option<Vec<u8>> {
        if !self.has_body_rules() {
            return None;
        }
        match kind {
            FrameType::Binary => self.bytes(payload),
            // A text that is not UTF-8 would stand in base64, where no rule would find anything.
            FrameType::Text => self.text(&String::from_utf8_lossy(payload)).map(String::into_bytes),
            FrameType::Ping | FrameType::Pong | FrameType::Close => self.plain(&String::from_utf8_lossy(payload)).map(String::into_bytes),
        }
    }

    /// Whether a rule could find anything in a body at all.
    fn has_body_rules(&self) -> bool {
        !(self.bare_keys.is_empty() && self.paths.is_empty() && self.patterns.is_empty())
    }

    fn message(&self, frame: &mut WsFrame) {
        if let Some(reason) = &mut frame.close_reason {
            self.plain_in_place(reason);
        }
        if frame.kind == FrameType::Binary {
            if let Some(redacted) = self.decoded(frame).and_then(|bytes| self.bytes(&bytes)) {
                (frame.data, frame.encoding) = (data_encoding::BASE64.encode(&redacted), Some(Encoding::Base64));
            }
            return;
        }
        // A text that is not UTF-8 stands in base64, where no rule would find anything.
        let readable = readable(&frame.data, frame.encoding);
        let redacted = if frame.kind == FrameType::Text { self.text(&readable) } else { self.plain(&readable) };
        if let Some(redacted) = redacted {
            frame.data = redacted;
            frame.encoding = None;
        }
    }

    /// The payload of a binary frame; `None` too where there is no rule that could find anything in it.
    fn decoded(&self, frame: &WsFrame) -> Option<Vec<u8>> {
        self.has_body_rules().then(|| decode(&frame.data, frame.encoding)).flatten()
    }

    /// As [`Redactor::frame`], of an event.
    pub fn event(&self, event: &mut SseEvent) {
        let mut changed = false;
        if let Some(redacted) = event.data.as_ref().and_then(|data| self.text(data)) {
            event.data = Some(redacted);
            changed = true;
        }
        for text in [&mut event.kind, &mut event.id, &mut event.comment].into_iter().flatten() {
            changed |= self.plain_in_place(text);
        }
        if event.raw.as_ref().is_some_and(|raw| changed || self.survives(&readable(raw, event.raw_encoding))) {
            event.raw = None;
            event.raw_encoding = None;
        }
    }

    /// Whether received bytes hold a secret, in fields that a reader ignores (unknown ones, all but the last `id`) too.
    fn survives(&self, raw: &str) -> bool {
        let value = |line: &str| line.split_once(':').map_or(String::new(), |(_, value)| value.trim_start().to_owned());
        self.plain(raw).is_some() || raw.split(['\r', '\n']).any(|line| self.text(&value(line)).is_some())
    }
}

/// Whether a text begins as an object or array, whole or not.
fn is_open_json(text: &str) -> bool {
    text.trim_start_matches(|c: char| c.is_whitespace() || c == MARK).starts_with(['{', '['])
}

/// What stands before the query of a URL, without the user and password before its host.
fn without_user(front: &str) -> Cow<'_, str> {
    let is_scheme = |word: &str| word.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.'));
    let parts = front.split_once("://").filter(|(scheme, _)| is_scheme(scheme)).and_then(|(scheme, rest)| {
        let (authority, path) = rest.split_at(rest.find(['/', '#']).unwrap_or(rest.len()));
        Some((scheme, authority.rsplit_once('@')?.1, path))
    });
    parts.map_or(Cow::Borrowed(front), |(scheme, host, path)| Cow::Owned(format!("{scheme}://{host}{path}")))
}

/// A text as a reader sees it, whatever it is kept in; what says that it is base64 and is not, as it stands.
pub(super) fn readable(text: &str, encoding: Option<Encoding>) -> Cow<'_, str> {
    let decoded = encoding.and_then(|_| decode(text, encoding));
    decoded.map_or(Cow::Borrowed(text), |bytes| Cow::Owned(String::from_utf8_lossy(&bytes).into_owned()))
}

#[cfg(test)]
#[path = "redact_tests.rs"]
mod tests;
