//! What both kinds of mocks are made of, read and checked: conditions, header fields, `replay`, and the texts that go out on the wire.

use serde_json::Value;

use super::api::check_path;
use super::fields::{Fields, shown};
use super::mock::{Conditions, ReplayMock};
use super::pairs::Pairs;
use super::replay::ReplayOptions;
use crate::base::error::{Error, Result};
use crate::base::text;
use crate::wire::headers::{is_hop_by_hop, is_token};

/// `headers` and `queryParams` of a matcher.
pub fn read_conditions(fields: &mut Fields<'_>) -> Result<Conditions> {
    let headers = read_named(fields, "headers")?;
    for (name, value) in &headers {
        check_header_name(&fields.place_of("headers"), name)?;
        check_header_value(&format!("{}.{name}", fields.place_of("headers")), value)?;
    }
    Ok(Conditions { headers, query_params: read_named(fields, "queryParams")?, body_contains: None })
}

/// An object of texts.
fn read_named(fields: &mut Fields<'_>, name: &'static str) -> Result<Vec<(String, String)>> {
    let Some(value) = fields.value(name) else { return Ok(Vec::new()) };
    let Value::Object(map) = value else { return Err(fields.wrong(name, value, "an object of names with strings")) };
    let inner = Fields::of(value, fields.place_of(name))?;
    let read = |(name, value): (&String, &Value)| match value {
        Value::String(text) => Ok((name.clone(), text.clone())),
        other => Err(inner.wrong(&quoted(name), other, "a string (\"*\" for any value)")),
    };
    map.iter().map(read).collect()
}

/// `headers` of a response: names with a text or several.
pub fn read_headers(fields: &mut Fields<'_>) -> Result<Pairs> {
    let Some(value) = fields.value("headers") else { return Ok(Pairs::default()) };
    let Value::Object(map) = value else {
        return Err(fields.wrong("headers", value, "an object of names with strings or lists of strings"));
    };
    let inner = Fields::of(value, fields.place_of("headers"))?;
    let mut headers = Pairs::default();
    for (name, value) in map {
        check_header_name(inner.place(), name)?;
        let place = inner.place_of(name);
        if is_hop_by_hop(name) || name.eq_ignore_ascii_case("content-length") {
            return Err(Error::invalid(place, "mockd sets this field itself, as the connection and the body ask for: leave it out"));
        }
        let one = std::slice::from_ref(value);
        for value in value.as_array().map_or(one, Vec::as_slice) {
            let Value::String(text) = value else { return Err(inner.wrong(name, value, "a string or a list of strings")) };
            check_header_value(&place, text)?;
            headers.add_header(name, text.clone());
        }
    }
    Ok(headers)
}

fn check_header_name(place: &str, name: &str) -> Result<()> {
    if is_token(name.as_bytes()) {
        return Ok(());
    }
    Err(Error::invalid(place, format!("{:?} can be no name of a header field", quoted(name))))
}

/// RFC 9110 §5.5: no line breaks, no other control bytes.
fn check_header_value(place: &str, value: &str) -> Result<()> {
    if value.bytes().any(|byte| byte.is_ascii_control() && byte != b'\t') {
        return Err(Error::invalid(
            place,
            format!("{:?} has a line break or another control character, which no header field may have", quoted(value)),
        ));
    }
    Ok(())
}

/// A path or pattern.
pub fn read_path(fields: &mut Fields<'_>) -> Result<Option<String>> {
    let path = fields.string("path")?;
    if let Some(path) = &path {
        check_path(&fields.place_of("path"), path)?;
    }
    Ok(path)
}

/// A text on one line, as the type and the id of an event are; without NUL, which readers of event streams take for a mistake.
pub fn check_line(place: &str, text: &str) -> Result<()> {
    if text.contains(['\r', '\n', '\0']) {
        return Err(Error::invalid(place, format!("{:?} must be one line, without NUL", quoted(text))));
    }
    Ok(())
}

/// `replay` of a mock.
pub fn read_replay(mut fields: Fields<'_>) -> Result<ReplayMock> {
    let options = ReplayOptions::FIELDS.into_iter().filter(|name| *name != "path");
    let names: Vec<_> = std::iter::once("recording").chain(options).collect();
    if fields.has("path") {
        return Err(
            fields.unwanted("path", "a replay mock is on the path of its mock: give it there, or leave it out to have the recorded one")
        );
    }
    fields.only(&names)?;
    let recording = fields.required_string("recording")?;
    if recording.is_empty() || recording.contains('\0') {
        return Err(fields.unwanted("recording", "this must be the id of a recording, or a file relative to the config"));
    }
    Ok(ReplayMock { recording, options: ReplayOptions::from_fields(&mut fields)? })
}

/// A text as errors show it.
pub fn quoted(text: &str) -> String {
    text::clean(&shown(text)).into_owned()
}

/// Checks a regular expression.
pub fn check_regex(place: &str, pattern: &str) -> Result<()> {
    match regex_lite::Regex::new(pattern) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(Error::invalid(place, format!("{:?} is no regular expression: {}", quoted(pattern), text::clean(&error.to_string()))))
        }
    }
}
