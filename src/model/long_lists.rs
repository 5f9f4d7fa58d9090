//! Lists of a JSON text that are read item by item, so that the steps of a large mock are never all in memory as JSON values.

use serde::de::{DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use super::syntax::{Strict, wrong_json};
use crate::base::error::{Error, Result};

/// The texts of some lists, by their places.
#[derive(Debug)]
pub struct LongLists<'t> {
    /// The file that they stand in.
    whole: &'t str,
    found: Vec<(String, &'t RawValue)>,
}

impl<'t> LongLists<'t> {
    /// None yet of the file with the text `whole`.
    pub fn none(whole: &'t str) -> Self {
        Self { whole, found: Vec::new() }
    }

    /// The text of the file.
    pub fn whole(&self) -> &'t str {
        self.whole
    }

    /// Takes in the list at a place.
    pub(super) fn push(&mut self, place: String, raw: &'t RawValue) {
        self.found.push((place, raw));
    }

    fn text(&self, place: &str) -> Option<&'t str> {
        self.found.iter().find(|(known, _)| known == place).map(|(_, raw)| raw.get())
    }

    /// The texts of the items of the list at a place; `None` where there is no such list.
    ///
    /// # Errors
    /// [`Error::Invalid`] with line and column in the file.
    pub fn texts(&self, place: &str) -> Result<Option<Vec<&'t str>>> {
        let Some(text) = self.text(place) else { return Ok(None) };
        let items: Vec<&RawValue> = serde_json::from_str(text).map_err(|error| wrong_json(self.whole, text, &error))?;
        Ok(Some(items.into_iter().map(RawValue::get).collect()))
    }

    /// Reads the list at a place: `read` takes one item after the other, each with its place. `None` where there is no such list.
    ///
    /// # Errors
    /// Those of `read`; [`Error::Invalid`] with line and column for an item that is no JSON.
    pub fn read<T>(&self, place: &str, read: impl Fn(&Value, String) -> Result<T>) -> Result<Option<Vec<T>>> {
        let Some(text) = self.text(place) else { return Ok(None) };
        let mut each = Each { place, read, items: Vec::new(), failed: None };
        let read = serde_json::Deserializer::from_str(text).deserialize_seq(&mut each);
        match (each.failed, read) {
            (Some(error), _) => Err(error),
            (None, Err(error)) => Err(wrong_json(self.whole, text, &error)),
            (None, Ok(())) => Ok(Some(each.items)),
        }
    }
}

/// Reads items.
struct Each<'p, T, F> {
    place: &'p str,
    read: F,
    items: Vec<T>,
    /// What `read` said of the item that it did not take.
    failed: Option<Error>,
}

impl<'de, T, F: Fn(&Value, String) -> Result<T>> Visitor<'de> for &mut Each<'_, T, F> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> std::result::Result<(), A::Error> {
        while let Some(value) = items.next_element_seed(Item)? {
            match (self.read)(&value, format!("{}[{}]", self.place, self.items.len())) {
                Ok(item) => self.items.push(item),
                Err(error) => {
                    self.failed = Some(error);
                    return Err(serde::de::Error::custom("an item is wrong"));
                }
            }
        }
        Ok(())
    }
}

/// One item, strictly.
struct Item;

impl<'de> DeserializeSeed<'de> for Item {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> std::result::Result<Value, D::Error> {
        Strict::all(&mut usize::MAX.clone()).deserialize(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::syntax::parse_json;

    const LONG: [&[&str]; 2] = [&["a", "list"], &["list"]];

    #[test]
    fn lists_stay_text_until_they_are_read() {
        let text = "{\"a\": {\"list\": [1, {\"b\": [2]}], \"other\": [3]},\n \"list\": [ ], \"b\": {\"list\": [4]}}";
        let (value, lists) = parse_json(text, text, "at", &LONG).unwrap();
        assert_eq!(value.to_string(), r#"{"a":{"list":[],"other":[3]},"list":[],"b":{"list":[4]}}"#);
        assert_eq!(lists.texts("at.a.list").unwrap(), Some(vec!["1", "{\"b\": [2]}"]));
        let read = |place: &str| lists.read(place, |value, place| Ok(format!("{place}={value}"))).unwrap();
        assert_eq!(read("at.a.list"), Some(vec!["at.a.list[0]=1".to_owned(), "at.a.list[1]={\"b\":[2]}".to_owned()]));
        assert_eq!((read("at.list"), read("at.b.list")), (Some(Vec::new()), None));
        for text in [r#"{"list":null}"#, r#"{"list":{"x":1}}"#, r#"{"a":5}"#, "[]"] {
            let (value, lists) = parse_json(text, text, "", &LONG).unwrap();
            assert_eq!((value.to_string().as_str(), lists.texts("list").unwrap()), (text, None));
        }
    }

    #[test]
    fn errors_say_where_in_the_file() {
        let text = "{\"a\":\n  {\"list\": [{},\n {\"b\":1,\"b\":2}]},\n\"list\": [5, {\"c\":1e999}]}";
        let (_, lists) = parse_json(text, text, "", &LONG).unwrap();
        let error = |place: &str| lists.read(place, |_, _| Ok(())).unwrap_err().to_string();
        assert_eq!(error("a.list"), "line 3 column 11: this is no JSON that mockd can read: \"b\" stands twice in one object");
        assert_eq!(error("list"), "line 4 column 22: this is no JSON that mockd can read: number out of range");
        let own = lists.read("list", |_, place| if place == "list[1]" { Err(Error::invalid(place, "no")) } else { Ok(()) });
        assert_eq!(own.unwrap_err().to_string(), "line 4 column 22: this is no JSON that mockd can read: number out of range");
        let own = lists.read("list", |_, place| Err::<(), _>(Error::invalid(place, "no"))).unwrap_err();
        assert_eq!(own, Error::invalid("list[0]", "no"));
    }
}
