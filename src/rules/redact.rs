//! Redaction: what is replaced before anything is written. Rules in, texts in, texts out; what goes to upstream and client
//! never passes here.

use std::borrow::Cow;
use std::ops::Range;

use regex_lite::Regex;
use serde_json_path::JsonPath;

use super::json_span::{Document, Parsed, Token, scan, segments, splice, unescape};
use super::redact_hidden::{redact_links, redact_strings};
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

    /// A text that may be JSON (text frame, SSE data, request body): body keys where it parses as JSON, then patterns. `None` where nothing changed.
    /// Every byte outside a redacted value stays as it was. Duplicate keys are all redacted. A JSON text that is too large, too deep
    /// or too full of duplicates to be asked for a JSONPath is redacted whole where there is one. A string whose own text is JSON is
    /// searched for bare keys as well, and what its escapes hide for patterns.
    pub fn text(&self, text: &str) -> Option<String> {
        let by_key = self.body(text);
        let in_strings = self.strings(by_key.as_deref().unwrap_or(text)).or(by_key);
        self.plain(in_strings.as_deref().unwrap_or(text)).or(in_strings)
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
        if has_keys && text.trim_start().starts_with(['{', '[']) { Some(self.rules.redact_value.clone()) } else { self.text(text) }
    }

    /// What an event stream left behind its last blank line: its lines' values as those of events, alone and joined, which
    /// may be cut off. `None` where nothing changed.
    pub fn tail(&self, tail: &str) -> Option<String> {
        let is_secret = |value: &str| self.cut_text(value.trim_start()).is_some();
        let data: Vec<&str> = tail.split(['\r', '\n']).filter_map(|line| line.strip_prefix("data:")).collect();
        let data_is_secret = is_secret(&data.join("\n"));
        let mut out = String::with_capacity(tail.len());
        for line in tail.split_inclusive(['\r', '\n']) {
            let content = line.trim_end_matches(['\r', '\n']);
            let (field, value) = content.split_at(content.find(':').map_or(0, |colon| colon + 1));
            if (data_is_secret && field == "data:") || is_secret(value) {
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
        let mut redacted: Option<String> = None;
        for pattern in &self.patterns {
            let before = redacted.as_deref().unwrap_or(text);
            // A match of nothing has nothing to hide.
            let matches = pattern.find_iter(before).filter(|found| !found.range().is_empty());
            let edits = matches.map(|found| (found.range(), self.rules.redact_value.as_str())).collect::<Vec<_>>();
            if !edits.is_empty() {
                redacted = splice(before, edits).or(redacted);
            }
        }
        redacted
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
            let is_json = said.trim_start().starts_with(['{', '[']);
            let spans = is_json.then(|| self.bare_spans(said)).flatten().unwrap_or_default();
            let by_key = splice(said, spans.into_iter().map(|span| (span, self.literal.as_str())).collect());
            let inner = if is_json { self.strings(by_key.as_deref().unwrap_or(said)).or(by_key) } else { by_key };
            // What the patterns find in the text as it stands is found later, and changes less.
            let shown = |raw: String| unescape(&format!("\"{raw}\"")).into_owned();
            let found = self.plain(inner.as_deref().unwrap_or(said));
            found.filter(|found| self.plain(literal).map(shown).as_ref() != Some(found)).or(inner)
        })
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
mod tests {
    use super::*;
    use crate::rules::script::samples::message;
    use proptest::prelude::*;

    fn redactor(body_keys: &[&str], patterns: &[&str]) -> Redactor {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let rules = Redaction {
            headers: words(&["Authorization", "Cookie"]),
            query: words(&["token", "api key"]),
            body_keys: words(body_keys),
            patterns: words(patterns),
            redact_value: "[REDACTED]".to_owned(),
        };
        Redactor::new(&rules).unwrap()
    }

    #[test]
    fn a_cut_text_that_begins_as_json_goes_whole_where_there_are_keys() {
        for (keys, text, redacted) in [
            (&["password"][..], r#" {"password":"hun"#, Some("[REDACTED]")),
            (&["$.a"], r#"[{"b":1},"#, Some("[REDACTED]")),
            (&["password"], "password=hun", None),
            (&[], r#"{"password":"hun"#, None),
            (&[], "{\"a\":\"sk-1", Some("{\"a\":\"[REDACTED]")),
        ] {
            assert_eq!(redactor(keys, &["sk-[0-9]+"]).cut_text(text).as_deref(), redacted, "{text}");
        }
    }

    #[test]
    fn tails_are_redacted_line_by_line_and_joined() {
        for (tail, redacted) in [
            ("data: {\"password\":\"x\"}\n", Some("data: [REDACTED]\n")),
            ("id: 7\r\ndata:{\"pass", Some("id: 7\r\ndata: [REDACTED]")),
            ("data: {\ndata: \"password\": 1}\nid: 1", Some("data: [REDACTED]\ndata: [REDACTED]\nid: 1")),
            (": sk-1 here\n", Some(": [REDACTED]\n")),
            ("data: plain\n", None),
            ("data", None),
        ] {
            assert_eq!(redactor(&["password"], &["sk-[0-9]+"]).tail(tail).as_deref(), redacted, "{tail}");
        }
    }

    #[test]
    fn body_keys_are_redacted_and_every_other_byte_stays() {
        for (keys, text, redacted) in [
            (&["password"][..], r#"{ "password" : "x" , "n":1.0 }"#, Some(r#"{ "password" : "[REDACTED]" , "n":1.0 }"#)),
            (&["password"], r#"[{"a":{"password":{"deep":[1]}}},2]"#, Some(r#"[{"a":{"password":"[REDACTED]"}},2]"#)),
            (&["password"], r#"{"pass\u0077ord":1,"password":2}"#, Some(r#"{"pass\u0077ord":"[REDACTED]","password":"[REDACTED]"}"#)),
            (&["password"], r#"{"Password":1}"#, None),
            (&["password"], r#"{"a":"password"}"#, None),
            (&["password"], r#"{"password":"x""#, None),
            (&["password"], "password=x", None),
            (
                &["password"],
                r#"{"password":{"password":1},"b":{"password":null}}"#,
                Some(r#"{"password":"[REDACTED]","b":{"password":"[REDACTED]"}}"#),
            ),
            (&["$.user.pin"], r#"{"pin":1,"user":{"pin":2}}"#, Some(r#"{"pin":1,"user":{"pin":"[REDACTED]"}}"#)),
            (
                &["$.user.pin"],
                r#"{"user":{"pin":1,"pin":2},"user":{"pin":3}}"#,
                Some(r#"{"user":{"pin":"[REDACTED]","pin":"[REDACTED]"},"user":{"pin":"[REDACTED]"}}"#),
            ),
            (&["$.user.pin"], r#"{"user":{"pin":1},"user":2}"#, Some(r#"{"user":{"pin":"[REDACTED]"},"user":2}"#)),
            (
                &["$.cards[*].no", "cvc"],
                r#"{"cards":[{"no":1},{"no":2,"cvc":3}]}"#,
                Some(r#"{"cards":[{"no":"[REDACTED]"},{"no":"[REDACTED]","cvc":"[REDACTED]"}]}"#),
            ),
            (&["$"], r#" [1] "#, Some(r#" "[REDACTED]" "#)),
            (&["password"], r#"{"password":"[REDACTED]"}"#, None),
        ] {
            assert_eq!(redactor(keys, &[]).text(text).as_deref(), redacted, "{keys:?} {text}");
        }
    }

    #[test]
    fn deep_texts_are_redacted_on_a_small_stack() {
        let run = || {
            let deep = |value: &str| format!("{}{value}{}", r#"{"a":["#.repeat(100_000), "]}".repeat(100_000));
            let secret = deep(r#"{"password":"hunter2"}"#);
            assert_eq!(redactor(&["password"], &[]).text(&secret), Some(deep(r#"{"password":"[REDACTED]"}"#)));
            assert_eq!(redactor(&["$.x.password"], &[]).text(&secret).as_deref(), Some(r#""[REDACTED]""#));
        };
        std::thread::Builder::new().stack_size(crate::base::limits::STACK_BYTES).spawn(run).unwrap().join().unwrap();
    }

    #[test]
    fn patterns_apply_to_any_text() {
        let redactor = redactor(&["password"], &["sk-[a-z0-9]+", "x*"]);
        assert_eq!(redactor.plain("a sk-1 b sk-2").as_deref(), Some("a [REDACTED] b [REDACTED]"));
        assert_eq!(redactor.plain("nothing"), None, "a match of nothing changes nothing");
        assert_eq!(redactor.text(r#"{"password":1,"k":"sk-9"}"#).as_deref(), Some(r#"{"password":"[REDACTED]","k":"[REDACTED]"}"#));
    }

    #[test]
    fn a_secret_behind_percent_signs_is_hidden_beside_one_that_stands_open() {
        let redactor = redactor(&[], &["sk-[0-9]+"]);
        for (url, redacted) in
            [("/x?a=sk-1,%73k-2&b=%73k-3", "/x?a=[REDACTED]&b=[REDACTED]"), ("/x?a=sk-1%20b&sk-1+%73k-2", "/x?a=[REDACTED]%20b&[REDACTED]")]
        {
            assert_eq!(redactor.url(url), redacted, "{url}");
        }
    }

    #[test]
    fn a_path_through_several_keys_that_stand_twice_is_redacted() {
        let redactor = redactor(&["$.a.b.c"], &[]);
        let text = |text: &str| redactor.text(text).unwrap_or_else(|| text.to_owned());
        assert_eq!(text(r#"{"a":{"b":{},"b":{"c":1},"b":{}},"a":{}}"#), r#"{"a":{"b":{},"b":{"c":"[REDACTED]"},"b":{}},"a":{}}"#);
        let many = format!(r#"{{{}"a":{{"b":{{"c":1}}}},"a":0}}"#, r#""a":0,"#.repeat(20));
        assert_eq!(text(&many), "\"[REDACTED]\"", "read in more ways than are looked at, it goes whole");
    }

    #[test]
    fn headers_parameters_and_urls() {
        let redactor = redactor(&[], &["sk-[0-9]+"]);
        let mut headers = Pairs::default();
        for (name, value) in [("authorization", "Bearer x"), ("Accept", "a"), ("cookie", "a=1; b=2"), ("Cookie", "c"), ("X", "a sk-1")] {
            headers.add_header(name, value.to_owned());
        }
        redactor.headers(&mut headers);
        let values: Vec<_> = headers.iter().map(|(_, value)| value).collect();
        assert_eq!(values, ["[REDACTED]", "a", "[REDACTED]", "[REDACTED]", "a [REDACTED]"]);
        let mut query = Pairs::default();
        query.add_parameter("token", "t".to_owned());
        query.add_parameter("Token", "t".to_owned());
        redactor.query(&mut query);
        assert_eq!(query.iter().map(|(_, value)| value).collect::<Vec<_>>(), ["[REDACTED]", "[REDACTED]"]);
        for (url, redacted) in [
            ("/x", "/x"),
            ("wss://h/x?a=1&token=secret&b#f", "wss://h/x?a=1&token=[REDACTED]&b#f"),
            ("/x?token&token=&tokens=1", "/x?token&token=[REDACTED]&tokens=1"),
            ("/sk-12?a=sk-3", "/[REDACTED]?a=[REDACTED]"),
            ("wss://me:p%40ss@h:1/x@y?a=b@c", "wss://h:1/x@y?a=b@c"),
            ("http://me@h?a", "http://h?a"),
            ("/to/http://me@h/", "/to/http://me@h/"),
        ] {
            assert_eq!(redactor.url(url), redacted, "{url}");
        }
    }

    #[test]
    fn percent_encoded_names_are_found() {
        assert_eq!(redactor(&[], &[]).url("/x?%74oken=s&api+key=s"), "/x?%74oken=[REDACTED]&api+key=[REDACTED]");
    }

    #[test]
    fn frames_lose_their_secrets() {
        let redactor = redactor(&["password"], &["sk-[0-9]+"]);
        let redact = |line: &str| {
            let mut frame = message(1, line);
            let Frame::WebSocket(before) = frame.clone() else { panic!() };
            redactor.frame(&mut frame);
            let Frame::WebSocket(frame) = frame else { panic!() };
            let payload = before.payload().unwrap();
            assert_eq!(redactor.payload(before.kind, &payload).or(Some(payload)), frame.payload(), "what passes is redacted as its frame");
            (frame.data, frame.encoding)
        };
        assert_eq!(redact(r#"c2s text {"password":1}"#), (r#"{"password":"[REDACTED]"}"#.to_owned(), None));
        assert_eq!(redact("s2c ping sk-1"), ("[REDACTED]".to_owned(), None));
        assert_eq!(redact("s2c binary AAE=").0, "AAE=");
        assert_eq!(redact("s2c binary /3NrLTE=").0, data_encoding::BASE64.encode(b"\xff[REDACTED]"));
        let mut invalid = message(1, "s2c text ");
        if let Frame::WebSocket(frame) = &mut invalid {
            (frame.data, frame.encoding) = (data_encoding::BASE64.encode(b"\xff sk-1"), Some(Encoding::Base64));
            frame.close_reason = Some("sk-1".to_owned());
        }
        redactor.frame(&mut invalid);
        let Frame::WebSocket(frame) = invalid else { panic!() };
        assert_eq!((frame.data.as_str(), frame.encoding, frame.close_reason.as_deref()), ("\u{fffd} [REDACTED]", None, Some("[REDACTED]")));
    }

    #[test]
    fn a_redacted_event_loses_its_raw() {
        let redactor = redactor(&["password"], &["sk-[0-9]+"]);
        for (data, raw, kept) in [
            ("x", "data:x\n\n", true),
            (r#"{"password":1}"#, "data:{\"password\":1}\n\n", false),
            ("x", "data:x\nid: sk-1\nid: 2\n\n", false),
            ("x", "data:x\r\nfoo: {\"password\":\"y\"}\r\n\r\n", false),
        ] {
            let mut event = SseEvent { data: Some(data.to_owned()), raw: Some(raw.to_owned()), ..SseEvent::default() };
            redactor.event(&mut event);
            assert_eq!(event.raw.is_some(), kept, "{raw}");
            assert!(!event.data.unwrap().contains('1'));
        }
    }

    #[test]
    fn bad_rules_are_named() {
        let rules = |body_keys: &[&str], patterns: &[&str]| Redaction {
            body_keys: body_keys.iter().map(|key| (*key).to_owned()).collect(),
            patterns: patterns.iter().map(|pattern| (*pattern).to_owned()).collect(),
            ..Redaction::default()
        };
        let error = |rules: Redaction| Redactor::new(&rules).unwrap_err().to_string();
        assert!(error(rules(&["ok", "$.["], &[])).starts_with("recording.filterBodyKeys[1]: \"$.[\" is no JSONPath"));
        assert!(error(rules(&[], &["("])).starts_with("recording.filterPatterns[0]: \"(\" is no regular expression"));
    }

    proptest! {
        #[test]
        fn no_secret_survives_and_json_stays_json(
            before in "[a-z]{0,4}", secret in "[A-Z]{12}", shape in 0..4usize, depth in 0..40usize, blanks in "[ \n]{0,2}",
        ) {
            let value = match shape { 0 => format!("\"{secret}\""), 1 => format!("[\"{secret}\"]"), 2 => format!("{{\"a\":\"{secret}\"}}"), _ => format!("[[],{{\"token\":\"{secret}\"}}]") };
            let text = format!("{}{{\"{before}\":1,\"token\"{blanks}:{blanks}{value}}}{}", r#"{"a":["#.repeat(depth), "]}".repeat(depth));
            for keys in [["token"], ["$..token"]] {
                let redacted = redactor(&keys, &[]).text(&text).unwrap();
                prop_assert!(!redacted.contains(&secret), "{}", redacted);
                prop_assert!(scan(&redacted, |_| {}), "{}", redacted);
            }
        }
    }
}
