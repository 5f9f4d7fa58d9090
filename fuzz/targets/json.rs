//! JSON texts: read with their places, asked by paths, compared, corrected, redacted.

use mockd::base::limits;
use mockd::model::replay_options::check_json_path;
use mockd::rules::correlate::Correlator;
use mockd::rules::diff::{self, Line};
use mockd::rules::json_span::{Document, Parsed, segments};
use mockd::rules::matching::{canonical, first_difference};
use serde_json::Value;

use super::input::{lines, text};

/// A JSON text and the places of its values.
pub fn json(data: &[u8]) {
    let text = text(data);
    let known: Option<Value> = serde_json::from_str(&text).ok();
    let document = match Document::parse(&text) {
        Parsed::NotJson => return assert!(known.is_none(), "another reader takes it"),
        Parsed::TooLarge => return,
        Parsed::Json(document) => document,
    };
    let value = document.value();
    if let Some(known) = &known {
        assert_eq!(&value, known);
    }
    for node in 0..document.len() {
        assert!(!document.span(node).is_empty());
        match Document::parse(document.literal(node)) {
            Parsed::Json(part) => assert_eq!(part.value(), document.value_at(node)),
            other => panic!("a value's literal is {other:?}"),
        }
    }
    for reading in document.readings().unwrap_or_default() {
        assert_eq!(first_difference(&reading, &reading), None);
    }
    let written = value.to_string();
    if let Parsed::Json(again) = Document::parse(&written) {
        let again = again.value();
        assert_eq!(first_difference(&value, &again).is_none(), canonical(&value) == canonical(&again));
    }
}

/// A JSONPath (the first line) over a JSON text (the rest).
pub fn json_path(data: &[u8]) {
    let [path, text] = lines(data);
    let Ok(compiled) = check_json_path("path", &path) else { return };
    assert!(path.len() <= limits::MAX_JSON_PATH_BYTES);
    let Parsed::Json(document) = Document::parse(&text) else { return };
    let value = document.value();
    let found = compiled.query_located(&value);
    for node in found.iter() {
        let places = document.find(&segments(node.location()));
        assert!(
            places.iter().any(|place| document.value_at(*place) == *node.node())
                || document.readings().is_none_or(|readings| readings.len() > 1)
        );
    }
    assert_eq!(found.len(), compiled.query(&value).len());
}

/// Correlation: paths (separated by `;`), a recorded and a live message, a text of the server.
pub fn correlate(data: &[u8]) {
    let [paths, recorded, live, text] = lines(data);
    let paths: Vec<String> = paths.split(';').map(str::to_owned).collect();
    let Ok(mut correlator) = Correlator::new(&paths) else { return };
    let plan = correlator.plan(std::iter::once(recorded.as_ref()));
    assert!(correlator.is_idle() && correlator.rewrite(&text, &plan.edits(&text)).is_none());
    correlator.learn(&plan, &recorded, &live);
    for text in [&text, &recorded, &live] {
        if let Some(rewritten) = correlator.rewrite(text, &plan.edits(text)) {
            assert!(is_json(text) && is_json(&rewritten), "{text} became {rewritten}");
            assert!(!correlator.is_idle() && rewritten != **text);
        }
    }
}

/// The difference of two texts: each of them can be read from it.
pub fn diff(data: &[u8]) {
    let (one, other) = data.split_at(data.iter().position(|byte| *byte == 0).unwrap_or(data.len()));
    let (one, other) = (text(one), text(other));
    let lines = diff::lines(&one, &other);
    let of = |wanted: fn(&Line) -> Option<&String>| lines.iter().filter_map(wanted).cloned().collect::<Vec<_>>();
    let expected = of(|line| match line {
        Line::Both(text) | Line::Expected(text) => Some(text),
        Line::Actual(_) => None,
    });
    let actual = of(|line| match line {
        Line::Both(text) | Line::Actual(text) => Some(text),
        Line::Expected(_) => None,
    });
    for (text, shown) in [(&one, expected), (&other, actual)] {
        let value = |text: &str| serde_json::from_str::<Value>(text).ok();
        let is_same = text.lines().eq(&shown) || value(text).is_some_and(|known| Some(known) == value(&shown.join("\n")));
        assert!(is_same, "{text:?} is shown as {shown:?}");
    }
}

fn is_json(text: &str) -> bool {
    !matches!(Document::parse(text), Parsed::NotJson)
}
