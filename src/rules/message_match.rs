//! What a client said to a mock, and whether it is what a matcher or an expect of a scenario asks for. What follows from it is decided
//! by the conversation.

use std::borrow::Cow;
use std::sync::OnceLock;

use regex_lite::Regex;
use serde_json::Value;
use serde_json_path::JsonPath;

use super::matching;
use crate::base::error::{Error, Result};
use crate::model::mock_ws::{MatchText, WsMatch};
use crate::model::recording::FrameType;
use crate::model::replay_options::check_json_path;

/// A data message of a client. It is parsed as JSON when somebody first asks, however many matchers look at it.
#[derive(Debug)]
pub struct Said {
    kind: FrameType,
    payload: Vec<u8>,
    json: OnceLock<Option<Value>>,
}

impl Said {
    /// A message of `kind` (`Text` or `Binary`).
    pub fn new(kind: FrameType, payload: &[u8]) -> Self {
        Self { kind, payload: payload.to_vec(), json: OnceLock::new() }
    }

    /// Text or binary.
    pub fn kind(&self) -> FrameType {
        self.kind
    }

    /// Its bytes.
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// Its text; a binary message's base64.
    pub fn text(&self) -> Cow<'_, str> {
        match self.plain() {
            Some(text) => Cow::Borrowed(text),
            None => Cow::Owned(data_encoding::BASE64.encode(&self.payload)),
        }
    }

    /// The value of a text message that is JSON; none where it is nested or large beyond what is compared.
    pub fn json(&self) -> Option<&Value> {
        self.json.get_or_init(|| matching::parse(self.plain()?.as_bytes())).as_ref()
    }

    /// The text of a text message.
    fn plain(&self) -> Option<&str> {
        std::str::from_utf8(&self.payload).ok().filter(|_| self.kind == FrameType::Text)
    }

    /// Whether a binary message's base64 is `base64`.
    fn is_base64(&self, base64: &str) -> bool {
        // The length first: a long message need not be encoded to see that it is another.
        data_encoding::BASE64.encode_len(self.payload.len()) == base64.len() && self.text() == base64
    }
}

/// What a message is compared with, compiled.
#[derive(Debug)]
pub struct Matcher {
    message_type: Option<FrameType>,
    test: Test,
}

#[derive(Debug)]
enum Test {
    Any,
    Nothing,
    Exact(String),
    Contains(String),
    Prefix(String),
    Suffix(String),
    Regex(Regex),
    Json(Option<JsonPath>, Value),
}

impl Matcher {
    /// Compiles it.
    ///
    /// # Errors
    /// [`Error::Invalid`] at `value` or `path` for a regular expression or a JSONPath that is none.
    pub fn new(rule: &WsMatch) -> Result<Self> {
        let test = match &rule.text {
            MatchText::Any => Test::Any,
            MatchText::Exact(value) => Test::Exact(value.clone()),
            MatchText::Contains(value) => Test::Contains(value.clone()),
            MatchText::Prefix(value) => Test::Prefix(value.clone()),
            MatchText::Suffix(value) => Test::Suffix(value.clone()),
            MatchText::Regex(value) => {
                Test::Regex(Regex::new(value).map_err(|error| Error::invalid("value", format!("this is no regular expression: {error}")))?)
            }
            MatchText::Json { path, value } => {
                let path = path.as_ref().map(|path| check_json_path("path", path)).transpose()?;
                Test::Json(path, value.clone())
            }
        };
        Ok(Self { message_type: rule.message_type, test })
    }

    /// What no message is.
    pub fn nothing() -> Self {
        Self { message_type: None, test: Test::Nothing }
    }

    /// Whether the message is what it asks for.
    pub fn matches(&self, said: &Said) -> bool {
        if self.message_type.is_some_and(|kind| kind != said.kind) {
            return false;
        }
        match (&self.test, said.plain()) {
            (Test::Any, _) => true,
            (Test::Exact(value), Some(text)) => text == value,
            (Test::Exact(value), None) => said.is_base64(value),
            (Test::Nothing, _) | (_, None) => false,
            (Test::Contains(value), Some(text)) => text.contains(value),
            (Test::Prefix(value), Some(text)) => text.starts_with(value),
            (Test::Suffix(value), Some(text)) => text.ends_with(value),
            (Test::Regex(regex), Some(text)) => regex.is_match(text),
            (Test::Json(path, value), Some(_)) => {
                let equals = |other: &Value| matching::first_difference(value, other).is_none();
                said.json().is_some_and(|json| match path {
                    Some(path) => path.query(json).iter().any(|node| equals(node)),
                    None => equals(json),
                })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn matches(text: MatchText, message_type: Option<FrameType>, kind: FrameType, payload: &[u8]) -> bool {
        Matcher::new(&WsMatch { text, message_type }).unwrap().matches(&Said::new(kind, payload))
    }

    fn json(path: Option<&str>, value: Value) -> MatchText {
        MatchText::Json { path: path.map(str::to_owned), value }
    }

    #[test]
    fn texts_match_as_each_kind_says() {
        use MatchText::{Any, Contains, Exact, Prefix, Regex, Suffix};
        for (text, said, expected) in [
            (Any, "x", true),
            (Exact("ping".into()), "ping", true),
            (Exact("ping".into()), "ping ", false),
            (Exact("ping".into()), "Ping", false),
            (Exact(String::new()), "", true),
            (Contains("in".into()), "ping", true),
            (Contains("on".into()), "ping", false),
            (Prefix("pi".into()), "ping", true),
            (Prefix("ng".into()), "ping", false),
            (Suffix("ng".into()), "ping", true),
            (Suffix("pi".into()), "ping", false),
            (Regex("^p.n+g$".into()), "pinng", true),
            (Regex("[0-9]{2}".into()), "a 42 b", true),
            (Regex("^[0-9]$".into()), "a 4", false),
            (Regex("é".into()), "café", true),
            (json(None, json!({"a": 1, "b": [2]})), r#" {"b": [2.0], "a": 1} "#, true),
            (json(None, json!({"a": 1})), r#"{"a":1,"b":2}"#, false),
            (json(None, json!("x")), r#""x""#, true),
            (json(None, json!("x")), "x", false),
            (json(None, Value::Null), "null", true),
            (json(Some("$.type"), json!("join")), r#"{"type":"join","room":1}"#, true),
            (json(Some("$.type"), json!("join")), r#"{"type":"leave"}"#, false),
            (json(Some("$.type"), json!("join")), r#"["join"]"#, false),
            (json(Some("$.type"), Value::Null), r#"{"type":null}"#, true),
            (json(Some("$.type"), Value::Null), "{}", false),
            (json(Some("$.items[*].id"), json!(2)), r#"{"items":[{"id":1},{"id":2.0}]}"#, true),
            (json(Some("$..id"), json!({"n": 1})), r#"{"a":{"id":{"n":1}}}"#, true),
            (json(Some("$"), json!([1])), "[1]", true),
        ] {
            assert_eq!(matches(text.clone(), None, FrameType::Text, said.as_bytes()), expected, "{text:?} {said:?}");
        }
    }

    #[test]
    fn binary_messages_are_compared_by_their_base64_alone() {
        let binary = |text| matches(text, None, FrameType::Binary, b"\0\x01");
        assert!(binary(MatchText::Any) && binary(MatchText::Exact("AAE=".into())));
        assert!(!binary(MatchText::Exact("AAE".into())) && !binary(MatchText::Contains("A".into())));
        assert!(!matches(json(None, json!(1)), None, FrameType::Binary, b"1"));
        assert!(!matches(MatchText::Prefix("a".into()), None, FrameType::Binary, b"abc"));
        assert!(!matches(MatchText::Exact("AAE=".into()), None, FrameType::Text, b"\0\x01"), "a text is no base64");
    }

    #[test]
    fn the_type_of_a_message_can_be_asked_for() {
        use FrameType::{Binary, Text};
        for (asked, kind, expected) in [(Text, Text, true), (Text, Binary, false), (Binary, Binary, true), (Binary, Text, false)] {
            assert_eq!(matches(MatchText::Any, Some(asked), kind, b"x"), expected);
        }
        assert!(!matches(MatchText::Exact("x".into()), Some(Binary), Text, b"x"));
    }

    #[test]
    fn what_does_not_compile_says_where() {
        let of = |text| Matcher::new(&WsMatch { text, message_type: None }).unwrap_err().to_string();
        assert!(of(MatchText::Regex("(".into())).starts_with("value: this is no regular expression"));
        assert!(of(json(Some("type"), json!(1))).starts_with("path: \"type\" is no JSONPath"));
    }

    fn any_text() -> impl Strategy<Value = MatchText> {
        prop_oneof![
            Just(MatchText::Any),
            ".{0,6}".prop_map(MatchText::Exact),
            ".{0,6}".prop_map(MatchText::Contains),
            ".{0,6}".prop_map(MatchText::Prefix),
            ".{0,6}".prop_map(MatchText::Suffix),
            "[a-z.*?(\\[]{0,6}".prop_map(MatchText::Regex),
            (proptest::option::of("\\$[.a-c*\\[\\]0-9]{0,6}"), any::<i64>())
                .prop_map(|(path, number)| MatchText::Json { path, value: number.into() }),
        ]
    }

    proptest! {
        #[test]
        fn no_message_panics(text in any_text(), binary in any::<bool>(), payload in proptest::collection::vec(any::<u8>(), 0..40)) {
            let kind = if binary { FrameType::Binary } else { FrameType::Text };
            if let Ok(matcher) = Matcher::new(&WsMatch { text, message_type: None }) {
                matcher.matches(&Said::new(kind, &payload));
            }
        }

        #[test]
        fn a_message_is_what_it_is(text in ".{0,20}", binary in any::<bool>()) {
            let said = Said::new(if binary { FrameType::Binary } else { FrameType::Text }, text.as_bytes());
            let exact = WsMatch { text: MatchText::Exact(said.text().into_owned()), message_type: None };
            prop_assert!(Matcher::new(&exact).unwrap().matches(&said));
            for part in [MatchText::Contains(text.clone()), MatchText::Prefix(text.clone()), MatchText::Suffix(text)] {
                prop_assert_eq!(Matcher::new(&WsMatch { text: part, message_type: None }).unwrap().matches(&said), !binary);
            }
        }
    }
}
