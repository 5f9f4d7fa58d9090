//! Redaction: what comes out is JSON where JSON went in, differs in redacted values alone, and no secret survives.

use std::sync::OnceLock;

use mockd::model::recording::{Frame, Redaction, SseEvent};
use mockd::rules::redact::Redactor;
use mockd::wire::sse::EventStreamParser;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::input::{Dice, text};

const VALUE: &str = "[REDACTED]";
/// Stands in every secret that is made here, and matches the pattern.
const SECRET: &str = "sk-51secret77";

fn redactor() -> &'static Redactor {
    static REDACTOR: OnceLock<Redactor> = OnceLock::new();
    REDACTOR.get_or_init(|| {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let rules = Redaction {
            headers: words(&["Authorization"]),
            query: words(&["token", "api_key"]),
            body_keys: words(&["password", "Aß", "$.user.token", "$..deep", "$.list[*].key", "$.list[0]['x y']", "$.user.list.key"]),
            patterns: words(&["sk-[a-z0-9]{8,}", "[0-9]{16}"]),
            redact_value: VALUE.to_owned(),
        };
        Redactor::new(&rules).expect("the rules compile")
    })
}

/// Any text.
pub fn redact(data: &[u8]) {
    let text = text(data);
    let redactor = redactor();
    let redacted = redactor.text(&text);
    let out = redacted.as_deref().unwrap_or(&text);
    assert!(redacted.as_ref().is_none_or(|out| *out != text));
    assert_eq!(redactor.text(out), None, "what has been redacted stays as it is: {out}");
    if let Some(tree) = Tree::parse(&text) {
        check_tree(&tree, &Tree::parse(out).expect("JSON stays JSON"), out);
    }
    for other in [redactor.plain(&text), redactor.cut_text(&text), redactor.tail(&text)].into_iter().flatten() {
        assert_eq!(redactor.plain(&other), None, "{other}");
    }
    let tail = redactor.tail(&text).unwrap_or_else(|| text.clone());
    assert_eq!(redactor.tail(&tail), None, "{tail}");
    let url = redactor.url(&text);
    assert_eq!(redactor.url(&url), url, "{text}");
    check_stream(data, redactor);
}

/// The rules without patterns, which would find what the keys have missed.
fn keys_only() -> &'static Redactor {
    static REDACTOR: OnceLock<Redactor> = OnceLock::new();
    REDACTOR.get_or_init(|| {
        let rules = Redaction { patterns: Vec::new(), ..redactor().rules().clone() };
        Redactor::new(&rules).expect("the rules compile")
    })
}

/// No event of a stream keeps what the rules find, its raw bytes included.
fn check_stream(data: &[u8], redactor: &Redactor) {
    let mut parser = EventStreamParser::new(u64::MAX);
    let fed = parser.feed(data, &mut |block| {
        let mut frame = Frame::Sse(SseEvent::of_block(block, 0, 0));
        redactor.frame(&mut frame);
        let once = frame.clone();
        redactor.frame(&mut frame);
        assert_eq!(frame, once);
        let Frame::Sse(event) = frame else { return };
        let texts = [&event.kind, &event.data, &event.id, &event.comment, &event.raw];
        assert!(texts.into_iter().flatten().all(|text| redactor.plain(text).is_none()), "{event:?}");
        assert!(event.data.is_none_or(|data| redactor.text(&data).is_none()));
    });
    assert!(fed.is_ok());
}

/// A JSON text with every member that it has, those that stand twice too.
#[derive(Debug)]
enum Tree<'a> {
    Leaf(&'a str),
    List(Vec<Tree<'a>>),
    Object(Vec<(String, &'a str, Tree<'a>)>),
}

impl<'a> Tree<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let raw: &'a RawValue = serde_json::from_str(text).ok()?;
        Self::read(raw.get(), 0)
    }

    fn read(text: &'a str, depth: usize) -> Option<Self> {
        if depth > 60 {
            return None;
        }
        Some(match text.as_bytes().first()? {
            b'{' => {
                let Members(members) = serde_json::from_str(text).ok()?;
                Self::Object(
                    members
                        .into_iter()
                        .map(|(name, raw)| Some((name, raw.get(), Self::read(raw.get(), depth + 1)?)))
                        .collect::<Option<_>>()?,
                )
            }
            b'[' => {
                let items: Vec<&'a RawValue> = serde_json::from_str(text).ok()?;
                Self::List(items.into_iter().map(|raw| Self::read(raw.get(), depth + 1)).collect::<Option<_>>()?)
            }
            _ => Self::Leaf(text),
        })
    }
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// Compares a text's tree with that of its redacted form: the values of secret keys are redacted, all others are as they were, but for
/// what patterns have found.
fn check_tree(before: &Tree<'_>, after: &Tree<'_>, out: &str) {
    if out == "\"[REDACTED]\"" {
        // Too large to be asked, or read in too many ways.
        return;
    }
    walk(before, after, &mut Vec::new());
}

fn walk<'t>(before: &'t Tree<'_>, after: &Tree<'_>, path: &mut Vec<Step<'t>>) {
    if is_secret(path) {
        let is_redacted = matches!(after, Tree::Leaf("\"[REDACTED]\""));
        return assert!(is_redacted, "{path:?} is {after:?}");
    }
    match (before, after) {
        (Tree::Leaf(before), Tree::Leaf(after)) => assert!(before == after || after.contains(VALUE), "{before} became {after}"),
        (Tree::List(before), Tree::List(after)) => {
            assert_eq!(before.len(), after.len());
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                path.push(Step::Index(index));
                walk(before, after, path);
                path.pop();
            }
        }
        (Tree::Object(before), Tree::Object(after)) => {
            assert_eq!(before.len(), after.len());
            for ((name, _, before), (other, _, after)) in before.iter().zip(after) {
                assert!(name == other || other.contains(VALUE), "{name} became {other}");
                path.push(Step::Name(name));
                walk(before, after, path);
                path.pop();
            }
        }
        _ => panic!("{path:?}: {before:?} became {after:?}"),
    }
}

#[derive(Debug)]
enum Step<'t> {
    Name(&'t str),
    Index(usize),
}

/// Whether the rules of [`redactor`] mean the value at a path.
fn is_secret(path: &[Step<'_>]) -> bool {
    use Step::{Index, Name};
    matches!(
        path,
        [.., Name("password" | "Aß" | "deep")]
            | [Name("user"), Name("token")]
            | [Name("user"), Name("list"), Name("key")]
            | [Name("list"), Index(_), Name("key")]
            | [Name("list"), Index(0), Name("x y")]
    )
}

/// JSON made from the input, with secrets at secret places alone; also as an event stream.
pub fn redact_made(data: &[u8]) {
    let mut maker = Maker { data, dice: Dice::of(data), out: String::new() };
    maker.value(0, &mut Vec::new());
    let text = maker.out;
    assert!(serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok(), "{text}");
    for redactor in [redactor(), keys_only()] {
        let out = redactor.text(&text).unwrap_or_else(|| text.clone());
        assert!(serde_json::from_str::<serde::de::IgnoredAny>(&out).is_ok(), "{text} became {out}");
        assert!(!out.contains(SECRET), "{text} became {out}");
        let stream: String = text.split('\n').map(|line| format!("data: {line}\n")).collect::<String>() + "\n";
        let mut parser = EventStreamParser::new(u64::MAX);
        let fed = parser.feed(stream.as_bytes(), &mut |block| {
            let mut frame = Frame::Sse(SseEvent::of_block(block, 0, 0));
            redactor.frame(&mut frame);
            assert!(!format!("{frame:?}").contains(SECRET), "{text} became {frame:?}");
        });
        assert!(fed.is_ok());
    }
}

/// Writes JSON that the bytes of an input choose.
struct Maker<'a> {
    data: &'a [u8],
    dice: Dice,
    out: String,
}

impl Maker<'_> {
    /// A choice below `end`.
    fn choose(&mut self, end: usize) -> usize {
        match self.data {
            [first, rest @ ..] => {
                self.data = rest;
                usize::from(*first) % end
            }
            [] => 0,
        }
    }

    fn blank(&mut self) {
        let blank = ["", "", "", " ", "\n", "\t \r\n"][self.choose(6)];
        self.out.push_str(blank);
    }

    /// A string literal, some of its characters escaped.
    fn string(&mut self, text: &str) {
        self.out.push('"');
        for character in text.chars() {
            if self.dice.below(4) == 0 {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    self.out.push_str(&format!("\\u{unit:04x}"));
                }
            } else {
                self.out.push(character);
            }
        }
        self.out.push('"');
    }

    fn value(&mut self, depth: usize, path: &mut Vec<Step<'static>>) {
        self.blank();
        let secret = is_secret(path) || (0..path.len()).any(|upto| is_secret(&path[..upto]));
        match self.choose(if depth > 8 || self.data.is_empty() { 3 } else { 8 }) {
            0 => {
                let word = ["null", "true", "-1.5e3", "0"][self.dice.below(4)];
                self.out.push_str(word);
            }
            1 | 2 if secret => {
                // As it is: an escaped one would not be found by a search for it.
                self.out.push_str(&format!("\"{SECRET}\""));
            }
            1 | 2 => {
                let text = ["", "ok", "é😀", "[REDACTED]"][self.dice.below(4)];
                self.string(text);
            }
            3 | 4 => {
                self.out.push('[');
                for index in 0..self.choose(4) {
                    if index > 0 {
                        self.out.push(',');
                    }
                    path.push(Step::Index(index));
                    self.value(depth + 1, path);
                    path.pop();
                }
                self.out.push(']');
            }
            _ => {
                self.out.push('{');
                for index in 0..self.choose(5) {
                    if index > 0 {
                        self.out.push(',');
                    }
                    self.blank();
                    let name = ["password", "Aß", "user", "token", "list", "key", "deep", "x y", "other"][self.choose(9)];
                    self.string(name);
                    self.blank();
                    self.out.push(':');
                    path.push(Step::Name(name));
                    self.value(depth + 1, path);
                    path.pop();
                }
                self.out.push('}');
            }
        }
        self.blank();
    }
}
