//! Strict reading of a JSON object: every field by name and type, and what nobody asked for is an error with the nearest known name.
//! One reader for API bodies and config files, so that both complain alike. It knows no field of its own.

use serde_json::{Map, Value};

use super::duration::{self, Unit};
use super::long_lists::LongLists;
use crate::base::error::{Error, Result};
use crate::base::{limits, text};

/// The fields of one JSON object, taken one by one; [`Fields::finish`] complains about the rest.
#[derive(Debug)]
pub struct Fields<'a> {
    place: String,
    map: &'a Map<String, Value>,
    known: Vec<&'static str>,
    /// Lists of the same text that are no values yet.
    lists: Option<&'a LongLists<'a>>,
}

impl<'a> Fields<'a> {
    /// The fields of `value`, which stands at `place` (empty for the whole body).
    ///
    /// # Errors
    /// [`Error::Invalid`] where it is no object.
    pub fn of(value: &'a Value, place: impl Into<String>) -> Result<Self> {
        let place = place.into();
        match value {
            Value::Object(map) => Ok(Self { place, map, known: Vec::new(), lists: None }),
            other => Err(Error::invalid(place, format!("this must be an object, it is {}", describe(other)))),
        }
    }

    /// The same, where some lists below are still text: [`Fields::items`] reads these.
    pub fn with_lists(self, lists: Option<&'a LongLists<'a>>) -> Self {
        Self { lists, ..self }
    }

    /// The place of the field `name`, as errors say it: `server.port`.
    pub fn place_of(&self, name: &str) -> String {
        if self.place.is_empty() { name.to_owned() } else { format!("{}.{name}", self.place) }
    }

    /// The place of the object itself; empty for the whole body.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The field as it stands, `null` too: for what may be any JSON value. Its depth is bounded, since what is done with it
    /// recurses.
    ///
    /// # Errors
    /// [`Error::Invalid`] for one that is nested too deep.
    pub fn any(&mut self, name: &'static str) -> Result<Option<&'a Value>> {
        self.known.push(name);
        match self.map.get(name) {
            Some(value) if !is_shallow(value, limits::MAX_JSON_DEPTH) => {
                Err(Error::invalid(self.place_of(name), format!("this is nested deeper than {} levels", limits::MAX_JSON_DEPTH)))
            }
            value => Ok(value),
        }
    }

    /// The field as it stands; `null` counts as absent.
    pub fn value(&mut self, name: &'static str) -> Option<&'a Value> {
        self.known.push(name);
        self.map.get(name).filter(|value| !value.is_null())
    }

    /// Whether the field is there.
    pub fn has(&self, name: &str) -> bool {
        self.map.get(name).is_some_and(|value| !value.is_null())
    }

    /// A string.
    ///
    /// # Errors
    /// [`Error::Invalid`] for another type.
    pub fn string(&mut self, name: &'static str) -> Result<Option<String>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(other) => Err(self.wrong(name, other, "a string")),
        }
    }

    /// A string that must be there.
    ///
    /// # Errors
    /// [`Error::Invalid`] for another type, or none.
    pub fn required_string(&mut self, name: &'static str) -> Result<String> {
        self.string(name)?.ok_or_else(|| self.missing(name))
    }

    /// One of some words.
    ///
    /// # Errors
    /// [`Error::Invalid`] for anything else, with the words.
    pub fn word(&mut self, name: &'static str, words: &[&'static str]) -> Result<Option<&'static str>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => match words.iter().find(|word| *word == text) {
                Some(word) => Ok(Some(word)),
                None => Err(Error::invalid(self.place_of(name), not_a_word(text, words))),
            },
            Some(other) => Err(self.wrong(name, other, &format!("one of {}", words.join(", ")))),
        }
    }

    /// A whole number in a range.
    ///
    /// # Errors
    /// [`Error::Invalid`] for anything else, with the range.
    pub fn integer(&mut self, name: &'static str, range: std::ops::RangeInclusive<u64>) -> Result<Option<u64>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        match value.as_u64().or_else(|| whole(value)).filter(|number| range.contains(number)) {
            Some(number) => Ok(Some(number)),
            None => {
                let allowed = match *range.end() {
                    u64::MAX => format!("a whole number of at least {}", range.start()),
                    end => format!("a whole number from {} to {end}", range.start()),
                };
                Err(self.wrong(name, value, &allowed))
            }
        }
    }

    /// A number of at least 0.
    ///
    /// # Errors
    /// [`Error::Invalid`] for anything else.
    pub fn number(&mut self, name: &'static str) -> Result<Option<f64>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        match value.as_f64().filter(|number| number.is_finite() && *number >= 0.0) {
            Some(number) => Ok(Some(number)),
            None => Err(self.wrong(name, value, "a number of at least 0")),
        }
    }

    /// `true` or `false`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for anything else.
    pub fn boolean(&mut self, name: &'static str) -> Result<Option<bool>> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(other) => Err(self.wrong(name, other, "true or false")),
        }
    }

    /// An array of strings.
    ///
    /// # Errors
    /// [`Error::Invalid`] for anything else.
    pub fn strings(&mut self, name: &'static str) -> Result<Option<Vec<String>>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let texts = value.as_array().and_then(|items| items.iter().map(|item| item.as_str().map(str::to_owned)).collect());
        match texts {
            Some(texts) => Ok(Some(texts)),
            None => Err(self.wrong(name, value, "an array of strings")),
        }
    }

    /// An object, to be read field by field.
    ///
    /// # Errors
    /// [`Error::Invalid`] for anything else.
    pub fn object(&mut self, name: &'static str) -> Result<Option<Fields<'a>>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        Ok(Some(Fields::of(value, self.place_of(name))?.with_lists(self.lists)))
    }

    /// An array whose items `read` takes, each with its place.
    ///
    /// # Errors
    /// [`Error::Invalid`] for anything else, and those of `read`.
    pub fn items<T>(&mut self, name: &'static str, read: impl Fn(&Value, String) -> Result<T>) -> Result<Option<Vec<T>>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        let Value::Array(items) = value else { return Err(self.wrong(name, value, "a list")) };
        let place = self.place_of(name);
        if let Some(items) = self.lists.and_then(|lists| lists.read(&place, &read).transpose()) {
            return items.map(Some);
        }
        items.iter().enumerate().map(|(index, item)| read(item, format!("{place}[{index}]"))).collect::<Result<_>>().map(Some)
    }

    /// A time in microseconds: a number of `unit`, or a text such as `1.5s`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for anything else, and for more than [`limits::MAX_TIME_MS`].
    pub fn duration_us(&mut self, name: &'static str, unit: Unit) -> Result<Option<u64>> {
        let Some(value) = self.value(name) else { return Ok(None) };
        match duration::read_us(value, unit) {
            Some(us) => Ok(Some(us)),
            None => Err(self.wrong(name, value, &duration::allowed(unit))),
        }
    }

    /// The error for a field that must be there.
    pub fn missing(&self, name: &str) -> Error {
        Error::invalid(self.place_of(name), "this field must be given")
    }

    /// The error for a field that is there and must not be; `why` says so.
    pub fn unwanted(&self, name: &str, why: &str) -> Error {
        Error::invalid(self.place_of(name), why)
    }

    /// The error for a value of the wrong type or range.
    pub fn wrong(&self, name: &str, value: &Value, allowed: &str) -> Error {
        wrong_at(self.place_of(name), value, allowed)
    }

    /// Complains about fields that are none of `names`: before anything is read, where a missing field is best explained by
    /// the misspelled one.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names the first one and the nearest known name.
    pub fn only(&self, names: &[&'static str]) -> Result<()> {
        let Some(unknown) = self.map.keys().find(|name| !names.contains(&name.as_str())) else { return Ok(()) };
        let hint = text::nearest(unknown, names.iter().copied())
            .map_or_else(|| format!("known: {}", names.join(", ")), |name| format!("did you mean {name:?}?"));
        Err(Error::invalid(self.place_of(&text::clean(&text::shorten(unknown, 64))), format!("there is no such field; {hint}")))
    }

    /// Complains about fields that were not asked for.
    ///
    /// # Errors
    /// As [`Fields::only`].
    pub fn finish(self) -> Result<()> {
        self.only(&self.known)
    }
}

/// Whether nothing in `value` is nested deeper than `levels`.
fn is_shallow(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(items) => levels > 0 && items.iter().all(|item| is_shallow(item, levels - 1)),
        Value::Object(map) => levels > 0 && map.values().all(|item| is_shallow(item, levels - 1)),
        _ => true,
    }
}

/// The error for a value at `place` that is of the wrong type or range.
pub(crate) fn wrong_at(place: String, value: &Value, allowed: &str) -> Error {
    Error::invalid(place, format!("this must be {allowed}, it is {}", describe(value)))
}

/// What is wrong with a word that is none of `words`.
pub fn not_a_word(text: &str, words: &[&str]) -> String {
    format!("{:?} is none of {}{}", shown(text), words.join(", "), text::did_you_mean(text, words.iter().copied()))
}

/// A text as errors quote it.
pub(crate) fn shown(text: &str) -> std::borrow::Cow<'_, str> {
    text::shorten(text, 64)
}

/// A number such as `5.0`, which is whole although JSON writes it with a fraction.
pub(crate) fn whole(value: &Value) -> Option<u64> {
    value.as_f64().filter(|number| number.fract() == 0.0 && (0.0..=9_007_199_254_740_992.0).contains(number)).map(|number| number as u64)
}

/// A value as errors quote it.
pub(crate) fn describe(value: &Value) -> String {
    match value {
        Value::Object(_) => "an object".to_owned(),
        Value::Array(_) => "an array".to_owned(),
        other => text::clean(&text::shorten(&other.to_string(), 64)).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(result: Result<impl std::fmt::Debug>) -> String {
        result.unwrap_err().to_string()
    }

    #[test]
    fn errors_name_field_value_and_what_is_allowed() {
        let value: Value = serde_json::from_str(r#"{"mode":"pur","timeout":-1,"strict":"yes","tags":[1],"x":1}"#).unwrap();
        let mut fields = Fields::of(&value, "").unwrap();
        assert_eq!(error(fields.word("mode", &["pure", "triggered"])), "mode: \"pur\" is none of pure, triggered (did you mean \"pure\"?)");
        assert_eq!(error(fields.integer("timeout", 0..=u64::MAX)), "timeout: this must be a whole number of at least 0, it is -1");
        assert_eq!(error(fields.boolean("strict")), "strict: this must be true or false, it is \"yes\"");
        assert_eq!(error(fields.strings("tags")), "tags: this must be an array of strings, it is an array");
        assert_eq!(error(fields.required_string("path")), "path: this field must be given");
        assert_eq!(error(fields.finish()), "x: there is no such field; known: mode, timeout, strict, tags, path");
    }

    #[test]
    fn an_unknown_field_is_told_its_nearest_name() {
        let value: Value = serde_json::from_str(r#"{"protcol":"sse"}"#).unwrap();
        let mut fields = Fields::of(&value, "mocks[2]").unwrap();
        assert_eq!(fields.string("protocol").unwrap(), None);
        assert_eq!(error(fields.finish()), "mocks[2].protcol: there is no such field; did you mean \"protocol\"?");
    }
}
