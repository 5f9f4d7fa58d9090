//! The text of a file that a person wrote, JSON or YAML, as a value: strictly, so that nothing in it is lost without a word. Lists that
//! may be most of a large file stay text until they are read, item by item (`long_lists.rs`). It knows no field.

use std::fmt;
use std::path::Path;

use serde::de::{DeserializeSeed, Deserializer, EnumAccess, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Number, Value};

use super::long_lists::LongLists;
use super::yaml_depth;

use crate::base::error::{Error, Result};
use crate::base::{limits, text};

/// The text as a value: JSON where the file is called so or begins with a brace, else YAML. An empty file is an empty object.
/// Of JSON the lists at the places `long` are left as text.
///
/// # Errors
/// [`Error::File`] with line and column: for what is neither, for a name that stands twice in an object, and for YAML that JSON
/// has no words for (tags, infinite numbers) or whose aliases grow too large.
pub fn parse<'t>(path: &Path, text: &'t str, long: &[&'static [&'static str]]) -> Result<(Value, LongLists<'t>)> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let called = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"));
    let yaml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("yaml") || extension.eq_ignore_ascii_case("yml"));
    let start = text.trim_start();
    if start.is_empty() {
        return Ok((Value::Object(Map::new()), LongLists::none(text)));
    }
    let in_file = |error| match error {
        Error::Invalid { place, message } => Error::file(path, place, message),
        other => other,
    };
    if called || (!yaml && start.starts_with('{')) {
        return parse_json(text, text, "", long).map_err(in_file);
    }
    let value = parse_yaml(text).map_err(in_file)?;
    // A YAML file of comments alone is null.
    Ok((if value.is_null() { Value::Object(Map::new()) } else { value }, LongLists::none(text)))
}

/// The JSON text `part` of the file `whole`, whose value stands at `place`; the lists at the places `long` below it stay text.
///
/// # Errors
/// [`Error::Invalid`] with line and column in the file.
pub fn parse_json<'t>(whole: &'t str, part: &'t str, place: &str, long: &[&'static [&'static str]]) -> Result<(Value, LongLists<'t>)> {
    let mut lists = LongLists::none(whole);
    let mut source = serde_json::Deserializer::from_str(part);
    let strict = Strict { budget: &mut usize::MAX.clone(), long: long.to_vec(), place: place.to_owned(), lists: Some(&mut lists) };
    let value = strict.deserialize(&mut source).and_then(|value| source.end().map(|()| value));
    match value {
        Ok(value) => Ok((value, lists)),
        Err(error) => Err(wrong_json(whole, part, &error)),
    }
}

/// What a parser says of the text `part` of the file `whole`, with line and column in the file.
pub(super) fn wrong_json(whole: &str, part: &str, error: &serde_json::Error) -> Error {
    // The part is a slice of the whole, so that their addresses say where it begins.
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    let before = whole.get(..start).unwrap_or_default().as_bytes();
    let lines = before.iter().filter(|byte| **byte == b'\n').count();
    let columns = if error.line() > 1 { 0 } else { before.iter().rev().take_while(|byte| **byte != b'\n').count() };
    let words = error.to_string();
    let words = words.rsplit_once(" at line ").map_or(words.as_str(), |(words, _)| words);
    let place = format!("line {} column {}", lines + error.line(), columns + error.column());
    Error::invalid(place, format!("this is no JSON that mockd can read: {words}"))
}

/// Whether a JSON object that is read from `source` has a field of one of these names. It is read until the first one, and no
/// value is kept; what is no JSON object has none.
pub fn has_any_field(source: impl std::io::Read, names: &[&str]) -> bool {
    struct Look<'a>(&'a [&'a str], &'a mut bool);
    impl<'de> Visitor<'de> for Look<'_> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> std::result::Result<(), A::Error> {
            while let Some(name) = members.next_key::<String>()? {
                if self.0.contains(&name.as_str()) {
                    *self.1 = true;
                    return Ok(());
                }
                members.next_value::<IgnoredAny>()?;
            }
            Ok(())
        }
    }
    let mut found = false;
    let mut reader = serde_json::Deserializer::from_reader(std::io::BufReader::new(source));
    // The rest of an object that has one is not read, which is an error of the parser and none of ours.
    drop(reader.deserialize_map(Look(names, &mut found)));
    found
}

fn parse_yaml(text: &str) -> Result<Value> {
    yaml_depth::check(text)?;
    // Without aliases a value weighs no more than what it was written with, but for escapes that are longer than what they mean.
    let mut budget = text.len().saturating_mul(2).saturating_add(limits::MAX_YAML_ALIAS_BYTES);
    let value = Strict::all(&mut budget).deserialize(yaml_serde::Deserializer::from_str(text));
    value.map_err(|error: yaml_serde::Error| {
        let place = error.location().map_or_else(String::new, |at| format!("line {} column {}", at.line(), at.column()));
        let words = error.to_string();
        let words = words.split(" at line ").next().unwrap_or(&words);
        Error::invalid(place, format!("this is no YAML that mockd can read: {words}"))
    })
}

/// Reads a value. The depth is bounded by both parsers.
pub(super) struct Strict<'a, 'de> {
    /// How many bytes of values and texts may still come.
    budget: &'a mut usize,
    /// Where long lists stand, as names from here on; none in most values.
    long: Vec<&'static [&'static str]>,
    /// The place of what is read, while there are long lists below it.
    place: String,
    /// Takes them.
    lists: Option<&'a mut LongLists<'de>>,
}

impl<'a> Strict<'a, '_> {
    /// Reads all of a value.
    pub(super) fn all(budget: &'a mut usize) -> Self {
        Self { budget, long: Vec::new(), place: String::new(), lists: None }
    }

    fn spend<E: serde::de::Error>(&mut self, bytes: usize) -> std::result::Result<(), E> {
        *self.budget = self.budget.checked_sub(bytes).ok_or_else(|| {
            let most = limits::MAX_YAML_ALIAS_BYTES / limits::MIB as usize;
            E::custom(format!("its aliases add more than {most} MiB to it"))
        })?;
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_, 'de> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> std::result::Result<Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_, 'de> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has")
    }

    fn visit_unit<E: serde::de::Error>(mut self) -> std::result::Result<Value, E> {
        self.spend(1)?;
        Ok(Value::Null)
    }

    fn visit_none<E: serde::de::Error>(self) -> std::result::Result<Value, E> {
        self.visit_unit()
    }

    fn visit_bool<E: serde::de::Error>(mut self, value: bool) -> std::result::Result<Value, E> {
        self.spend(1)?;
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: serde::de::Error>(mut self, value: i64) -> std::result::Result<Value, E> {
        self.spend(1)?;
        Ok(Value::from(value))
    }

    fn visit_u64<E: serde::de::Error>(mut self, value: u64) -> std::result::Result<Value, E> {
        self.spend(1)?;
        Ok(Value::from(value))
    }

    // Whole numbers that are too large become what JSON makes of them.
    fn visit_i128<E: serde::de::Error>(self, value: i128) -> std::result::Result<Value, E> {
        self.visit_f64(value as f64)
    }

    fn visit_u128<E: serde::de::Error>(self, value: u128) -> std::result::Result<Value, E> {
        self.visit_f64(value as f64)
    }

    fn visit_f64<E: serde::de::Error>(mut self, value: f64) -> std::result::Result<Value, E> {
        self.spend(1)?;
        Number::from_f64(value).map(Value::Number).ok_or_else(|| E::custom(format!("{value} is no number that JSON has")))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> std::result::Result<Value, E> {
        self.visit_string(value.to_owned())
    }

    fn visit_string<E: serde::de::Error>(mut self, value: String) -> std::result::Result<Value, E> {
        self.spend(1 + value.len())?;
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> std::result::Result<Value, A::Error> {
        self.spend(1)?;
        let mut values = Vec::new();
        while let Some(value) = items.next_element_seed(Strict::all(self.budget))? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> std::result::Result<Value, A::Error> {
        self.spend(1)?;
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            self.spend(name.len())?;
            if map.contains_key(&name) {
                return Err(A::Error::custom(format!("{:?} stands twice in one object", text::clean(&text::shorten(&name, 64)))));
            }
            let value = self.read_member(&name, &mut members)?;
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> std::result::Result<Value, A::Error> {
        let (tag, _) = tagged.variant::<String>()?;
        Err(A::Error::custom(format!("the tag \"!{}\" means nothing here", text::clean(&text::shorten(&tag, 64)))))
    }
}

impl<'de> Strict<'_, 'de> {
    /// The value of a member. A long list becomes an empty one, and its text is kept.
    fn read_member<A: MapAccess<'de>>(&mut self, name: &str, members: &mut A) -> std::result::Result<Value, A::Error> {
        let below = |names: &&'static [&'static str]| names.split_first().filter(|(first, _)| **first == name).map(|(_, rest)| rest);
        let long: Vec<_> = self.long.iter().filter_map(below).collect();
        let (false, Some(lists)) = (long.is_empty(), self.lists.as_deref_mut()) else {
            return members.next_value_seed(Strict::all(self.budget));
        };
        let place = if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) };
        if !long.iter().any(|rest| rest.is_empty()) {
            return members.next_value_seed(Strict { budget: self.budget, long, place, lists: Some(lists) });
        }
        let raw: &'de RawValue = members.next_value()?;
        if raw.get().starts_with('[') {
            lists.push(place, raw);
            return Ok(Value::Array(Vec::new()));
        }
        // It is wrong, or nothing; who reads the field says so.
        serde_json::from_str(raw.get()).map_err(A::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn yaml(text: &str) -> Result<Value> {
        parse(Path::new("c.yaml"), text, &[]).map(|(value, _)| value)
    }

    #[test]
    fn yaml_means_what_json_would() {
        for (text, json) in [
            ("a: 1", r#"{"a":1}"#),
            ("a: 1.0", r#"{"a":1.0}"#),
            ("a: -5", r#"{"a":-5}"#),
            ("a: 007", r#"{"a":"007"}"#),
            ("a: 1_000", r#"{"a":"1_000"}"#),
            ("a: yes", r#"{"a":"yes"}"#),
            ("a: true", r#"{"a":true}"#),
            ("a: ~", r#"{"a":null}"#),
            ("a:", r#"{"a":null}"#),
            ("a: 2024-01-15", r#"{"a":"2024-01-15"}"#),
            ("a: 2024-01-15T10:30:00Z", r#"{"a":"2024-01-15T10:30:00Z"}"#),
            ("a: 12:30", r#"{"a":"12:30"}"#),
            ("1: a", r#"{"1":"a"}"#),
            ("a: 340282366920938463463374607431768211455", r#"{"a":3.402823669209385e+38}"#),
            ("a: |\n  x\n  y\n", r#"{"a":"x\ny\n"}"#),
            ("a: &x [1]\nb: *x", r#"{"a":[1],"b":[1]}"#),
            ("# nothing\n", "{}"),
            ("", "{}"),
            ("\u{feff}{a: 1}", r#"{"a":1}"#),
        ] {
            assert_eq!(yaml(text).unwrap().to_string(), json, "{text}");
        }
    }

    #[test]
    fn what_would_be_lost_is_an_error() {
        for (name, text, expected) in [
            ("c.yaml", "a: 1\na: 2", "c.yaml: line 1 column 1: this is no YAML that mockd can read: \"a\" stands twice in one object"),
            (
                "c.yaml",
                "b:\n  a: 1\n  a: 2",
                "c.yaml: line 2 column 3: this is no YAML that mockd can read: b: \"a\" stands twice in one object",
            ),
            (
                "c.json",
                r#"{"a":1,"a":1}"#,
                "c.json: line 1 column 10: this is no JSON that mockd can read: \"a\" stands twice in one object",
            ),
            ("c.yaml", "a: .inf", "c.yaml: line 1 column 4: this is no YAML that mockd can read: a: inf is no number that JSON has"),
            (
                "c.yaml",
                "a: !secret x",
                "c.yaml: line 1 column 4: this is no YAML that mockd can read: a: the tag \"!secret\" means nothing here",
            ),
            ("c.json", "{} {}", "c.json: line 1 column 4: this is no JSON that mockd can read: trailing characters"),
        ] {
            assert_eq!(parse(Path::new(name), text, &[]).unwrap_err().to_string(), expected);
        }
        for hostile in ["a: &a [*a]", "? [1]\n: 2", "\t- x", "--- 1\n--- 2", "a: *none", "a: 'x"] {
            yaml(hostile).unwrap_err();
        }
    }

    #[test]
    fn fields_are_found_without_reading_all() {
        for (text, found) in [
            (r#"{"a":[1,{"b":2}],"b":"#, true),
            (r#"{"b":1}"#, true),
            (r#"{"a":{"b":1}}"#, false),
            ("b: 1", false),
            ("[1]", false),
            ("", false),
        ] {
            assert_eq!(has_any_field(text.as_bytes(), &["b", "c"]), found, "{text}");
        }
    }

    #[test]
    fn depth_and_aliases_are_bounded() {
        yaml(&"[".repeat(10_000)).unwrap_err();
        parse(Path::new("c.json"), &"[".repeat(10_000), &[]).unwrap_err();
        let mut laughs = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
        for level in 1..12 {
            let items = vec![format!("*a{}", level - 1); 9].join(", ");
            laughs.push_str(&format!("a{level}: &a{level} [{items}]\n"));
        }
        yaml(&laughs).unwrap_err();
        // Few aliases of one long text.
        let long = format!("a: &a {}\nb: [{}]", "x".repeat(100_000), vec!["*a"; 1000].join(", "));
        let error = yaml(&long).unwrap_err().to_string();
        assert!(error.ends_with("its aliases add more than 8 MiB to it"), "{error}");
        // As many values as their text has room for are no aliases.
        yaml(&format!("[{}]", vec!["a"; 100_000].join(","))).unwrap();
    }
}
