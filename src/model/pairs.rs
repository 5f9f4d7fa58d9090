//! Named values in order, as header fields and query parameters are: in JSON an object, a repeated name having an array as its value.

use serde::de::{MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Names with their values, in the order of the first appearance of each name.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Pairs(Vec<(String, Vec<String>)>);

impl Pairs {
    /// Adds a value; a name that is there already (as compared by `same`) gets one more.
    fn add(&mut self, name: &str, value: String, same: fn(&str, &str) -> bool) {
        match self.0.iter_mut().find(|(known, _)| same(known, name)) {
            Some((_, values)) => values.push(value),
            None => self.0.push((name.to_owned(), vec![value])),
        }
    }

    /// Adds a header field; names are compared without case (RFC 9110 §5.1).
    pub fn add_header(&mut self, name: &str, value: String) {
        self.add(name, value, str::eq_ignore_ascii_case);
    }

    /// Adds a query parameter; names are compared with case.
    pub fn add_parameter(&mut self, name: &str, value: String) {
        self.add(name, value, |a, b| a == b);
    }

    /// Removes a name, compared without case.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(known, _)| !known.eq_ignore_ascii_case(name));
    }

    /// The first value of a name, compared without case.
    pub fn first(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).and_then(|(_, values)| values.first()).map(String::as_str)
    }

    /// Every name with each of its values.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().flat_map(|(name, values)| values.iter().map(move |value| (name.as_str(), value.as_str())))
    }

    /// Every name with each of its values, to be changed in place.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut String)> {
        self.0.iter_mut().flat_map(|(name, values)| values.iter_mut().map(|value| (name.as_str(), value)))
    }

    /// Gives names another form where `form` has one.
    pub fn rename(&mut self, form: impl Fn(&str) -> Option<String>) {
        for (name, _) in &mut self.0 {
            if let Some(other) = form(name) {
                *name = other;
            }
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Pairs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, values) in &self.0 {
            match values.as_slice() {
                [one] => map.serialize_entry(name, one)?,
                several => map.serialize_entry(name, several)?,
            }
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum OneOrMore {
            One(String),
            More(Vec<String>),
        }

        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Pairs;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object of strings or arrays of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, OneOrMore>()? {
                    let values = match value {
                        OneOrMore::One(one) => vec![one],
                        OneOrMore::More(more) => more,
                    };
                    pairs.push((name, values));
                }
                Ok(Pairs(pairs))
            }

            fn visit_unit<E>(self) -> Result<Pairs, E> {
                Ok(Pairs::default())
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_names_become_arrays() {
        let mut pairs = Pairs::default();
        pairs.add_header("Accept", "a".into());
        pairs.add_header("X", "1".into());
        pairs.add_header("accept", "b".into());
        let text = serde_json::to_string(&pairs).unwrap();
        assert_eq!(text, r#"{"Accept":["a","b"],"X":"1"}"#);
        assert_eq!(serde_json::from_str::<Pairs>(&text).unwrap(), pairs);
    }
}
