//! JSON that is too large to be held as values: an object's fields and a list's items as the text that they are, read into a type
//! one at a time. It copies no text and knows no field.

use std::borrow::Cow;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::base::error::{Error, Result};

/// The fields of one JSON object, each still a text. A field that is `null` counts as absent.
#[derive(Debug, Default)]
pub struct RawObject<'a> {
    place: String,
    fields: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> RawObject<'a> {
    /// The fields of the object `text`, which stands at `place` (empty for the whole input). The text is checked to its end.
    ///
    /// # Errors
    /// [`Error::Invalid`]; for the whole input with line and column.
    pub fn parse(text: &'a str, place: &str) -> Result<Self> {
        match serde_json::from_str::<Fields<'a>>(text) {
            Ok(Fields(fields)) => Ok(Self { place: place.to_owned(), fields }),
            Err(error) if place.is_empty() => Err(Error::invalid("", error.to_string())),
            Err(error) => Err(Error::invalid(place, words(&error))),
        }
    }

    /// Whether the field is there.
    pub fn has(&self, name: &str) -> bool {
        self.fields.iter().any(|(known, value)| known == name && value.get() != "null")
    }

    /// Takes a field as text; where it stands twice, the last one.
    pub fn take_text(&mut self, name: &str) -> Option<&'a str> {
        let mut found = None;
        self.fields.retain(|(known, value)| {
            let is_it = known == name;
            if is_it {
                found = Some(value.get());
            }
            !is_it
        });
        found.filter(|text| *text != "null")
    }

    /// Takes a field as a type.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names it.
    pub fn take<T: Deserialize<'a>>(&mut self, name: &str) -> Result<Option<T>> {
        match self.take_text(name) {
            None => Ok(None),
            Some(text) => serde_json::from_str(text).map(Some).map_err(|error| Error::invalid(self.place_of(name), words(&error))),
        }
    }

    /// Takes a field that is an object; an absent one has no fields.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names it.
    pub fn take_object(&mut self, name: &str) -> Result<Self> {
        let place = self.place_of(name);
        match self.take_text(name) {
            None => Ok(Self { place, fields: Vec::new() }),
            Some(text) => Self::parse(text, &place),
        }
    }

    /// The place of a field, as errors say it.
    pub fn place_of(&self, name: &str) -> String {
        if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) }
    }

    /// What has not been taken, as values.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names a field nested too deep.
    pub fn rest(self) -> Result<Map<String, Value>> {
        let mut rest = Map::new();
        for (name, value) in &self.fields {
            let value = serde_json::from_str(value.get()).map_err(|error| Error::invalid(self.place_of(name), words(&error)))?;
            rest.insert(name.as_ref().to_owned(), value);
        }
        Ok(rest)
    }
}

/// The text of some bytes; a byte order mark, which RFC 8259 §8.1 lets a reader ignore, is left out.
///
/// # Errors
/// [`Error::Invalid`] that says where they are no UTF-8.
pub fn text_of(bytes: &[u8]) -> Result<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').unwrap_or(text)),
        Err(error) => Err(Error::invalid("", format!("byte {} is not UTF-8", error.valid_up_to()))),
    }
}

/// What serde says, without the position, which is not that of the whole input.
pub fn words(error: &serde_json::Error) -> String {
    let words = error.to_string();
    words.rsplit_once(" at line ").map_or(words.as_str(), |(words, _)| words).to_owned()
}

struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some((Name(name), value)) = map.next_entry()? {
                    fields.push((name, value));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Reader)
    }
}

/// The items of a JSON list, one at a time. The list must have been checked to be JSON, as a [`RawObject`] has done.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    rest: &'a str,
    given: usize,
}

impl<'a> Items<'a> {
    /// The items of `list`, which stands at `place`.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it is no list.
    pub fn of(list: &'a str, place: &str) -> Result<Self> {
        match list.trim_ascii_start().strip_prefix('[') {
            Some(rest) => Ok(Self { rest, given: 0 }),
            None => Err(Error::invalid(place, "this must be a list")),
        }
    }

    /// How many items have been given, the one that failed among them.
    pub fn given(&self) -> usize {
        self.given
    }

    /// The next item; after one that is not of the type there is none.
    pub fn read<T: Deserialize<'a>>(&mut self) -> Option<Result<T, String>> {
        let rest = self.rest.trim_ascii_start();
        let rest = rest.strip_prefix(',').unwrap_or(rest);
        if rest.is_empty() || rest.starts_with(']') {
            return None;
        }
        self.given += 1;
        let mut items = serde_json::Deserializer::from_str(rest).into_iter::<T>();
        let item = items.next()?;
        self.rest = match item {
            Ok(_) => &rest[items.byte_offset()..],
            Err(_) => "",
        };
        Some(item.map_err(|error| words(&error)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_taken_by_name_and_the_rest_is_kept() {
        let mut object = RawObject::parse(r#"{"a": 1, "b\n": [1, {"c": null}], "d": null, "a": 2, "e": {"f": "x"}}"#, "").unwrap();
        assert!(object.has("b\n") && !object.has("d") && !object.has("c"));
        assert_eq!(object.take::<u8>("a"), Ok(Some(2)));
        assert_eq!(object.take::<u8>("d"), Ok(None));
        assert_eq!(
            object.take_object("e").unwrap().take::<u8>("f").unwrap_err().to_string(),
            "e.f: invalid type: string \"x\", expected u8"
        );
        assert_eq!(Value::from(object.rest().unwrap()).to_string(), r#"{"b\n":[1,{"c":null}]}"#);
    }

    #[test]
    fn errors_of_the_whole_say_line_and_column_and_others_their_place() {
        let error = |text: &str, place: &str| RawObject::parse(text, place).unwrap_err().to_string();
        assert_eq!(error("{\"a\":\n 1,}", ""), "trailing comma at line 2 column 4");
        assert_eq!(error("[]", "log"), "log: invalid type: sequence, expected an object");
        assert!(error("{} {}", "").contains("trailing characters"));
    }

    #[test]
    fn items_are_given_one_at_a_time() {
        let texts = |list: &'static str| {
            let mut items = Items::of(list, "x").unwrap();
            std::iter::from_fn(|| items.read::<&RawValue>().map(|item| item.unwrap().get())).collect::<Vec<_>>()
        };
        assert_eq!(texts("[]"), Vec::<&str>::new());
        assert_eq!(texts("\n[ ]"), Vec::<&str>::new());
        assert_eq!(texts("[1 , {\"a\":[1,2]}\n,[],\"x,]\" ,null,-2.5e3]"), ["1", "{\"a\":[1,2]}", "[]", "\"x,]\"", "null", "-2.5e3"]);
        let mut items = Items::of("[{\"a\":1},7,{}]", "x").unwrap();
        assert!(items.read::<Map<String, Value>>().unwrap().is_ok());
        assert!(items.read::<Map<String, Value>>().unwrap().is_err());
        assert!(items.read::<Map<String, Value>>().is_none());
        assert_eq!(items.given(), 2);
        assert_eq!(Items::of("{}", "x.y").unwrap_err().to_string(), "x.y: this must be a list");
    }
}
