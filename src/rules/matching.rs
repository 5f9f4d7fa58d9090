//! Whether a client's message is the one that was recorded, and the one meaning of "equal as JSON": objects have no order, numbers
//! count by value (1 and 1.0 are equal). It never decides what follows from a mismatch.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Number, Value};
use serde_json_path::JsonPath;

use super::json_span::{Document, Parsed, Segment, segments};
use super::redact::Redactor;
use crate::base::error::Result;
use crate::base::{limits, text};
use crate::model::recording::FrameType;
use crate::model::replay::Matching;
use crate::model::replay_options::check_json_path;

/// A comparison, compiled.
#[derive(Debug)]
pub struct Matcher {
    matching: Matching,
    ignore: Vec<JsonPath>,
    redactors: Vec<Arc<Redactor>>,
}

impl Matcher {
    /// Compiles it. `redactors`: the recording's rules and the server's own, applied to the client's message before it is compared.
    /// They are applied to the recorded one too, which changes nothing where it has been redacted by them, and lets rules that
    /// came later not stand in the way.
    ///
    /// # Errors
    /// `Error::Invalid` at `ignore[n]` for a bad JSONPath.
    pub fn new(matching: Matching, ignore: &[String], redactors: Vec<Arc<Redactor>>) -> Result<Self> {
        let paths = ignore.iter().enumerate().map(|(index, path)| check_json_path(&format!("ignore[{index}]"), path));
        Ok(Self { matching, ignore: paths.collect::<Result<_>>()?, redactors })
    }

    /// Whether the message of `kind` and `payload` is the expected one.
    ///
    /// # Errors
    /// The mismatch, with both as texts (binary as base64), each at most 4 KiB.
    pub fn check(&self, expected: (FrameType, &[u8]), actual: (FrameType, &[u8])) -> std::result::Result<(), Mismatch> {
        let differs = match self.matching {
            Matching::Any => return Ok(()),
            _ if expected.0 != actual.0 => format!("a {} message was expected, a {} message came", word(expected.0), word(actual.0)),
            Matching::Type => return Ok(()),
            _ if expected.1 == actual.1 => return Ok(()),
            Matching::Strict | Matching::Json => {
                let (one, other) = (self.redact(expected.0, expected.1), self.redact(actual.0, actual.1));
                match self.difference(&one, &other) {
                    None => return Ok(()),
                    Some(difference) => format!("the client's message is not the recorded one: {difference}"),
                }
            }
        };
        Err(Mismatch { message: differs, expected: self.show(expected.0, expected.1), actual: self.show(actual.0, actual.1) })
    }

    /// Whether a request's body is the expected one. A body that is UTF-8 is a text. Of a `truncated` recording there is only the front to compare.
    ///
    /// # Errors
    /// As [`Matcher::check`].
    pub fn check_body(&self, expected: &[u8], truncated: bool, actual: &[u8]) -> std::result::Result<(), Mismatch> {
        let (expected_kind, actual_kind) = (body_kind(expected), body_kind(actual));
        if truncated && matches!(self.matching, Matching::Strict | Matching::Json) {
            let front = self.redact(expected_kind, expected);
            if actual.starts_with(expected) || self.redact(actual_kind, actual).starts_with(&front) {
                return Ok(());
            }
        }
        self.check((expected_kind, expected), (actual_kind, actual))
    }

    /// A message as errors show it: redacted, binary as base64, at most 4 KiB.
    pub fn show(&self, kind: FrameType, payload: &[u8]) -> String {
        const MAX: usize = limits::MAX_ERROR_TEXT_BYTES;
        let redacted = self.redact(kind, payload);
        if kind == FrameType::Binary {
            // More than fits is enough to see that there was more.
            let front = &redacted[..redacted.len().min(MAX)];
            return text::shorten(&data_encoding::BASE64.encode(front), MAX).into_owned();
        }
        text::shorten(&String::from_utf8_lossy(&redacted), MAX).into_owned()
    }

    fn redact<'a>(&self, kind: FrameType, payload: &'a [u8]) -> Cow<'a, [u8]> {
        if kind == FrameType::Text && std::str::from_utf8(payload).is_err() {
            return Cow::Borrowed(payload);
        }
        let mut redacted: Option<Vec<u8>> = None;
        for redactor in &self.redactors {
            redacted = redactor.bytes(redacted.as_deref().unwrap_or(payload)).or(redacted);
        }
        redacted.map_or(Cow::Borrowed(payload), Cow::Owned)
    }

    /// What differs, in words. What is no JSON is compared by its bytes, under `match: "json"` too.
    fn difference(&self, expected: &[u8], actual: &[u8]) -> Option<String> {
        if self.matching == Matching::Json
            && let (Some(mut one), Some(mut other)) = (parse(expected), parse(actual))
        {
            for path in &self.ignore {
                remove(&mut one, path);
                remove(&mut other, path);
            }
            return first_difference(&one, &other).map(|path| format!("they differ at {path}"));
        }
        if expected == actual {
            return None;
        }
        let at = expected.iter().zip(actual).take_while(|(one, other)| one == other).count();
        Some(format!("they differ at byte {at} (recorded: {} bytes, client: {} bytes)", expected.len(), actual.len()))
    }
}

/// A message that was not the expected one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mismatch {
    /// What differs, in words: the type, or the first JSON path that differs.
    pub message: String,
    /// The recorded message.
    pub expected: String,
    /// The client's, redacted.
    pub actual: String,
}

/// What an `advance` with `until` looks for: equal as text, or as JSON; a binary message by its base64.
#[derive(Debug)]
pub struct Wanted<'a> {
    text: &'a str,
    json: Option<Value>,
}

impl<'a> Wanted<'a> {
    /// Looks for `text`.
    pub fn new(text: &'a str) -> Self {
        Self { text, json: parse(text.as_bytes()) }
    }

    /// Whether this message is it.
    pub fn equals(&self, kind: FrameType, payload: &[u8]) -> bool {
        if kind == FrameType::Binary {
            return data_encoding::BASE64.encode_len(payload.len()) == self.text.len()
                && data_encoding::BASE64.encode(payload) == self.text;
        }
        let equals_json = |wanted: &Value| parse(payload).is_some_and(|value| first_difference(wanted, &value).is_none());
        payload == self.text.as_bytes() || self.json.as_ref().is_some_and(equals_json)
    }
}

/// The value of a JSON text; `None` for what is none, or too large to be compared.
pub fn parse(payload: &[u8]) -> Option<Value> {
    match Document::parse(std::str::from_utf8(payload).ok()?) {
        Parsed::Json(document) => Some(document.value()),
        Parsed::NotJson | Parsed::TooLarge => None,
    }
}

/// The first path at which two values are not equal as JSON; `None` where they are.
pub fn first_difference(one: &Value, other: &Value) -> Option<String> {
    let mut path = String::from("$");
    differ(one, other, &mut path).then_some(path)
}

/// Whether they differ; `path` grows to where.
fn differ(one: &Value, other: &Value, path: &mut String) -> bool {
    let len = path.len();
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            let missing = |name: &&String| !one.contains_key(*name);
            for (name, value) in one {
                push_name(path, name);
                if other.get(name).is_none_or(|other| differ(value, other, path)) {
                    return true;
                }
                path.truncate(len);
            }
            other.keys().find(missing).inspect(|name| push_name(path, name)).is_some()
        }
        (Value::Array(one), Value::Array(other)) => {
            for (index, (one, other)) in one.iter().zip(other).enumerate() {
                path.push_str(&format!("[{index}]"));
                if differ(one, other, path) {
                    return true;
                }
                path.truncate(len);
            }
            if one.len() != other.len() {
                path.push_str(&format!("[{}]", one.len().min(other.len())));
            }
            one.len() != other.len()
        }
        (Value::Number(one), Value::Number(other)) => number_text(one) != number_text(other),
        _ => one != other,
    }
}

fn push_name(path: &mut String, name: &str) {
    if !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        path.push('.');
        path.push_str(name);
    } else {
        path.push_str(&format!("['{}']", text::shorten(name, 64)));
    }
}

/// A text that two values share if and only if they are equal as JSON.
pub fn canonical(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_by(|one, other| one.0.cmp(other.0));
            let members: Vec<_> = members.into_iter().map(|(name, value)| format!("{name:?}:{}", canonical(value))).collect();
            format!("{{{}}}", members.join(","))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(canonical).collect::<Vec<_>>().join(",")),
        Value::Number(number) => number_text(number),
        Value::String(text) => format!("{text:?}"),
        Value::Bool(_) | Value::Null => value.to_string(),
    }
}

/// A number by its value: whole ones without a fraction, however they were written.
fn number_text(number: &Number) -> String {
    match number.as_f64() {
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < 1e30 => (float as i128).to_string(),
        _ => number.to_string(),
    }
}

/// Takes what stands at a path out of a value.
fn remove(value: &mut Value, path: &JsonPath) {
    let mut places: Vec<Vec<Segment>> = path.query_located(value).locations().map(segments).collect();
    // From the back, so that no index moves under a place that is still to come.
    places.sort_by(|one, other| other.cmp(one));
    places.dedup();
    for place in places {
        let Some((last, parents)) = place.split_last() else {
            *value = Value::Null;
            return;
        };
        let parent = parents.iter().try_fold(&mut *value, |value, segment| match segment {
            Segment::Name(name) => value.get_mut(name),
            Segment::Index(index) => value.get_mut(index),
        });
        match (parent, last) {
            (Some(Value::Object(map)), Segment::Name(name)) => drop(map.shift_remove(name)),
            (Some(Value::Array(items)), Segment::Index(index)) if *index < items.len() => drop(items.remove(*index)),
            _ => {}
        }
    }
}

fn word(kind: FrameType) -> &'static str {
    if kind == FrameType::Binary { "binary" } else { "text" }
}

/// A body that was cut in the middle of a character is a text all the same.
fn body_kind(body: &[u8]) -> FrameType {
    match std::str::from_utf8(body) {
        Err(error) if error.error_len().is_some() => FrameType::Binary,
        _ => FrameType::Text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::recording::Redaction;
    use FrameType::{Binary, Text};

    fn matcher(matching: Matching, ignore: &[&str]) -> Matcher {
        let ignore: Vec<_> = ignore.iter().map(|path| (*path).to_owned()).collect();
        Matcher::new(matching, &ignore, Vec::new()).unwrap()
    }

    fn value(text: &str) -> Value {
        parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn each_way_of_matching_takes_what_it_should() {
        for (matching, expected, actual, matched) in [
            (Matching::Any, (Text, "a"), (Binary, "b"), true),
            (Matching::Type, (Text, "a"), (Text, "b"), true),
            (Matching::Type, (Text, "a"), (Binary, "a"), false),
            (Matching::Strict, (Text, "a"), (Text, "a"), true),
            // The trap: strict matching that compares and ignores the result.
            (Matching::Strict, (Text, "a"), (Text, "b"), false),
            (Matching::Strict, (Text, "a"), (Binary, "a"), false),
            (Matching::Strict, (Text, r#"{"a":1}"#), (Text, r#"{ "a":1}"#), false),
            (Matching::Json, (Text, r#"{"a":1,"b":[2]}"#), (Text, r#"{"b": [2.0], "a":1}"#), true),
            (Matching::Json, (Text, r#"{"a":1}"#), (Text, r#"{"a":2}"#), false),
            (Matching::Json, (Text, r#"{"a":1}"#), (Binary, r#"{"a":1}"#), false),
            (Matching::Json, (Text, "plain"), (Text, "plain"), true),
            (Matching::Json, (Text, "plain"), (Text, "other"), false),
            (Matching::Json, (Text, "1"), (Text, "one"), false),
        ] {
            let found = matcher(matching, &[]).check((expected.0, expected.1.as_bytes()), (actual.0, actual.1.as_bytes()));
            assert_eq!(found.is_ok(), matched, "{matching:?} {expected:?} {actual:?}");
        }
    }

    #[test]
    fn ignored_paths_are_left_out_of_both() {
        let matcher = matcher(Matching::Json, &["$.id", "$.items[*].at", "$.list[0,2]", "$..at"]);
        let check = |one: &str, other: &str| matcher.check((Text, one.as_bytes()), (Text, other.as_bytes()));
        assert_eq!(check(r#"{"id":1,"x":2}"#, r#"{"x":2}"#), Ok(()));
        assert_eq!(check(r#"{"items":[{"at":1,"v":1},{"v":2}]}"#, r#"{"items":[{"v":1},{"at":[2],"v":2}]}"#), Ok(()));
        assert_eq!(check(r#"{"list":[1,2,3,4]}"#, r#"{"list":[9,2,9,4]}"#), Ok(()));
        let mismatch = check(r#"{"id":1,"x":{"y z":[1,2]}}"#, r#"{"id":2,"x":{"y z":[1,3]}}"#).unwrap_err();
        assert_eq!(mismatch.message, "the client's message is not the recorded one: they differ at $.x['y z'][1]");
        assert_eq!(mismatch.actual, r#"{"id":2,"x":{"y z":[1,3]}}"#);
    }

    #[test]
    fn equality_as_json_is_by_value() {
        for (one, other, equal) in [
            ("1", "1.0", true),
            ("100", "1e2", true),
            ("0", "-0.0", true),
            ("0.1", "0.10", true),
            ("9007199254740993", "9007199254740992", false),
            ("1", "\"1\"", false),
            ("null", "{}", false),
            (r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#, true),
            (r#"{"a":1}"#, r#"{"a":1,"b":null}"#, false),
            ("[1,2]", "[2,1]", false),
            ("[1]", "[1,1]", false),
            (r#""\u00e9""#, r#""é""#, true),
        ] {
            let (one, other) = (value(one), value(other));
            assert_eq!(first_difference(&one, &other).is_none(), equal, "{one} {other}");
            assert_eq!(canonical(&one) == canonical(&other), equal, "{one} {other}");
        }
    }

    #[test]
    fn strict_matching_can_match_a_redacted_recording() {
        let rules = Redaction { body_keys: vec!["password".into()], redact_value: "[REDACTED]".into(), ..Redaction::default() };
        let redactor = Arc::new(Redactor::new(&rules).unwrap());
        let later = Redaction { patterns: vec!["sk-[0-9]+".into()], redact_value: "***".into(), ..Redaction::default() };
        let later = Arc::new(Redactor::new(&later).unwrap());
        let matcher = Matcher::new(Matching::Strict, &[], vec![redactor, later]).unwrap();
        let recorded = br#"{"password": "[REDACTED]", "key": "sk-1"}"#;
        assert_eq!(matcher.check((Text, recorded), (Text, br#"{"password": "hunter2", "key": "sk-2"}"#)), Ok(()));
        let mismatch = matcher.check((Text, recorded), (Text, br#"{"password":"hunter2"}"#)).unwrap_err();
        assert_eq!(mismatch.actual, r#"{"password":"[REDACTED]"}"#, "an error never shows the secret");
    }

    #[test]
    fn errors_are_cut_and_binary_is_base64() {
        let matcher = matcher(Matching::Strict, &[]);
        let mismatch = matcher.check((Binary, &[0, 1]), (Text, "é".repeat(4000).as_bytes())).unwrap_err();
        assert_eq!((mismatch.expected.as_str(), mismatch.message.as_str()), ("AAE=", "a binary message was expected, a text message came"));
        assert!(mismatch.actual.len() <= 4096 && mismatch.actual.ends_with('…'));
        assert!(matcher.show(Binary, &[0; 10_000]).len() <= 4096);
    }

    #[test]
    fn a_truncated_body_is_compared_as_far_as_it_goes() {
        let strict = matcher(Matching::Strict, &[]);
        assert_eq!(strict.check_body(b"abc", true, b"abcdef"), Ok(()));
        assert!(strict.check_body(b"abc", true, b"abX").is_err());
        assert!(strict.check_body(b"abc", false, b"abcdef").is_err());
        assert_eq!(matcher(Matching::Json, &[]).check_body(br#"{"a":1,"b":2}"#, false, br#"{"b":2,"a":1}"#), Ok(()));
    }

    #[test]
    fn until_takes_text_json_and_base64() {
        let equals = |wanted: &str, kind, payload: &[u8]| Wanted::new(wanted).equals(kind, payload);
        assert!(equals("plain", Text, b"plain"));
        assert!(equals(r#"{"type":"complete","n":1}"#, Text, br#"{"n":1.0, "type":"complete"}"#));
        assert!(equals("AAE=", Binary, &[0, 1]));
        assert!(!equals("AAE=", Text, &[0, 1]));
        assert!(!equals("plain", Text, b"plain "));
    }
}
