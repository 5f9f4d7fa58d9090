//! Templates in the messages of a WebSocket mock: `{{message}}`, `{{message.a.b}}`, `{{now}}`, `{{timestamp}}`, `{{uuid}}`. Whatever else
//! stands in braces stays as it is. What a client sent is put in as it is and never looked at for templates again.

use std::borrow::Cow;

use serde_json::Value;

use super::message_match::Said;
use super::performance::Moment;
use crate::base::{id, time};

/// What templates are filled with.
#[derive(Debug, Clone, Copy)]
pub struct Filling<'a> {
    /// The client's message that is answered; none before the first one.
    pub said: Option<&'a Said>,
    /// When.
    pub at: Moment,
}

/// What stands for a template.
enum Filled<'a> {
    Text(Cow<'a, str>),
    Value(Cow<'a, Value>),
    /// A path at which the message has nothing.
    Missing,
}

impl Filling<'_> {
    /// Fills a text; values that are no strings are written as JSON, and what is missing gives nothing.
    pub fn text<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("{{") {
            let (before, from) = rest.split_at(at);
            match self.template(from) {
                Some((value, len)) => {
                    filled.push_str(before);
                    push(&mut filled, &value);
                    rest = &from[len..];
                }
                // The second brace may begin a template: `{{{message}}}`.
                None => {
                    filled.push_str(&rest[..=at]);
                    rest = &from[1..];
                }
            }
        }
        if rest.len() == text.len() {
            return Cow::Borrowed(text);
        }
        filled.push_str(rest);
        Cow::Owned(filled)
    }

    /// Fills every string value of a JSON value. A string that is one template and nothing else becomes what stands for it, with its
    /// type: the message's value at a path (null where it has none), a number for `{{timestamp}}`.
    pub fn json(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => match self.template(text).filter(|(_, len)| *len == text.len()) {
                Some((Filled::Text(text), _)) => Value::String(text.into_owned()),
                Some((Filled::Value(value), _)) => value.into_owned(),
                Some((Filled::Missing, _)) => Value::Null,
                None => Value::String(self.text(text).into_owned()),
            },
            Value::Array(items) => items.iter().map(|item| self.json(item)).collect(),
            Value::Object(map) => Value::Object(map.iter().map(|(name, value)| (name.clone(), self.json(value))).collect()),
            other => other.clone(),
        }
    }

    /// The template at the front of `text`, with its length.
    fn template(&self, text: &str) -> Option<(Filled<'_>, usize)> {
        let inner = text.strip_prefix("{{")?;
        // No name has a brace, so that a text of braces alone is looked at once.
        let end = inner.find(['{', '}']).filter(|end| inner[*end..].starts_with("}}"))?;
        Some((self.filled(inner[..end].trim())?, end + 4))
    }

    fn filled(&self, name: &str) -> Option<Filled<'_>> {
        Some(match name {
            "message" => Filled::Text(self.said.map_or(Cow::Borrowed(""), Said::text)),
            "now" => Filled::Text(Cow::Owned(time::rfc3339(self.at.wall_us))),
            "timestamp" => Filled::Value(Cow::Owned((self.at.wall_us / 1_000_000).into())),
            "uuid" => Filled::Text(Cow::Owned(id::uuid_v4(self.at.random_u128()))),
            _ => {
                let path = name.strip_prefix("message.").filter(|path| path.split('.').all(|part| !part.is_empty()))?;
                self.said.and_then(|said| find(said.json()?, path)).map_or(Filled::Missing, |value| Filled::Value(Cow::Borrowed(value)))
            }
        })
    }
}

fn push(out: &mut String, value: &Filled<'_>) {
    match value {
        Filled::Text(text) => out.push_str(text),
        Filled::Value(value) => match value.as_ref() {
            Value::String(text) => out.push_str(text),
            other => out.push_str(&other.to_string()),
        },
        Filled::Missing => {}
    }
}

/// What stands at `a.b.0`: members by their names, elements by their indices.
fn find<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(value, |value, part| match value {
        Value::Object(map) => map.get(part),
        Value::Array(items) => items.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::limits;
    use crate::model::recording::FrameType;
    use proptest::prelude::*;
    use serde_json::json;

    fn moment() -> Moment {
        Moment { now_us: 5, wall_us: 1_705_314_600_100_000, random: || 0x0123_4567_89ab_cdef }
    }

    fn fill(said: Option<&Said>, text: &str) -> String {
        Filling { said, at: moment() }.text(text).into_owned()
    }

    #[test]
    fn texts_are_filled() {
        let said = Said::new(FrameType::Text, br#"{"a":{"b":"x","n":1.5,"l":[10,{"k":null}]},"0":true,"t":"{{uuid}}"}"#);
        for (text, expected) in [
            ("plain", "plain"),
            ("", ""),
            ("{{message.a.b}}", "x"),
            ("<{{ message.a.b }}|{{message.a.n}}>", "<x|1.5>"),
            ("{{message.a.l}}", r#"[10,{"k":null}]"#),
            ("{{message.a.l.0}} {{message.a.l.1.k}}", "10 null"),
            ("{{message.0}}", "true"),
            ("[{{message.no.such}}][{{message.a.l.9}}][{{message.a.b.c}}]", "[][][]"),
            ("{{now}} {{timestamp}}", "2024-01-15T10:30:00.100000Z 1705314600"),
            ("{{uuid}}", "01234567-89ab-4def-8123-456789abcdef"),
            (
                "{{other}} {{}} {{ }} {{message.}} {{message..a}} {{Message}}",
                "{{other}} {{}} {{ }} {{message.}} {{message..a}} {{Message}}",
            ),
            ("{{{message.a.b}}} {message.a.b} {{message.a.b}", "{x} {message.a.b} {{message.a.b}"),
            ("{{ {{message.a.b}} }}", "{{ x }}"),
            ("{{message.t}}", "{{uuid}}"),
            ("é{{message.a.b}}é", "éxé"),
        ] {
            assert_eq!(fill(Some(&said), text), expected, "{text}");
        }
    }

    #[test]
    fn the_message_is_its_text() {
        let text = "{{message}}|{{message.a}}";
        assert_eq!(fill(Some(&Said::new(FrameType::Text, b"not {{json}}")), text), "not {{json}}|");
        assert_eq!(fill(Some(&Said::new(FrameType::Binary, b"\0\x01")), text), "AAE=|");
        assert_eq!(fill(None, text), "|");
    }

    #[test]
    fn json_keeps_types_where_a_template_stands_alone() {
        let said = Said::new(FrameType::Text, br#"{"id":7,"user":{"name":"A"},"none":null,"s":"t"}"#);
        let filling = Filling { said: Some(&said), at: moment() };
        for (value, expected) in [
            (json!("{{message.id}}"), json!(7)),
            (json!("{{ message.user }}"), json!({"name": "A"})),
            (json!("{{message.none}}"), json!(null)),
            (json!("{{message.no}}"), json!(null)),
            (json!("{{message.s}}"), json!("t")),
            (json!("{{timestamp}}"), json!(1_705_314_600)),
            (json!("at {{timestamp}}"), json!("at 1705314600")),
            (json!("{{message.id}}{{message.id}}"), json!("77")),
            (json!("{{message.no}}!"), json!("!")),
            (json!({"{{message.id}}": ["x", {"re": "{{message.id}}"}], "n": 1}), json!({"{{message.id}}": ["x", {"re": 7}], "n": 1})),
            (json!("{{message}}"), json!(r#"{"id":7,"user":{"name":"A"},"none":null,"s":"t"}"#)),
            (json!(null), json!(null)),
        ] {
            assert_eq!(filling.json(&value), expected, "{value}");
        }
    }

    #[test]
    fn each_uuid_is_its_own() {
        let filling = Filling { said: None, at: Moment { random: crate::base::id::random_u64, ..moment() } };
        let text = filling.text("{{uuid}} {{uuid}}").into_owned();
        let (one, other) = text.split_once(' ').unwrap();
        assert_ne!(one, other);
        assert_eq!((one.len(), &one[14..15], "89ab".contains(&one[19..20])), (36, "4", true));
    }

    #[test]
    fn deep_values_fit_a_small_stack() {
        let run = || {
            let deep = format!("{}1{}", "[".repeat(limits::MAX_JSON_DEPTH), "]".repeat(limits::MAX_JSON_DEPTH));
            let said = Said::new(FrameType::Text, format!(r#"{{"a":{}}}"#, &deep[1..deep.len() - 1]).as_bytes());
            let value = (0..120).fold(json!("{{message.a}}"), |value, _| json!([value]));
            let filled = Filling { said: Some(&said), at: moment() }.json(&value).to_string();
            assert_eq!(filled.len(), 2 * 120 + deep.len() - 2);
        };
        std::thread::Builder::new().stack_size(limits::STACK_BYTES).spawn(run).unwrap().join().unwrap();
    }

    proptest! {
        #[test]
        fn what_is_no_template_stays(text in "[{} a-z.]{0,40}") {
            let known = ["message", "now", "timestamp", "uuid"].iter().any(|name| text.contains(name));
            prop_assert!(known || fill(None, &text) == text);
        }

        #[test]
        fn what_a_client_sends_is_put_in_as_it_is(sent in ".{0,30}") {
            prop_assert_eq!(fill(Some(&Said::new(FrameType::Text, sent.as_bytes())), "<{{message}}>"), format!("<{sent}>"));
        }
    }
}
