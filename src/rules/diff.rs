//! The difference of two texts in lines, for people. JSON is compared as its pretty-printed text with sorted keys. It colours and prints nothing.

use serde_json::Value;

use crate::base::limits;

/// A line of a difference.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// In both.
    Both(String),
    /// In the expected text only.
    Expected(String),
    /// In the actual text only.
    Actual(String),
}

/// The lines of both texts: what is in one only stands where it would be in the other. Where both are equal as JSON and not as texts,
/// the texts themselves are compared.
pub fn lines(expected: &str, actual: &str) -> Vec<Line> {
    match (pretty(expected), pretty(actual)) {
        (Some(one), Some(other)) if one != other => compare(&one, &other),
        _ => compare(expected, actual),
    }
}

/// A JSON object or array on lines of its own, its keys in order; `None` for anything else.
fn pretty(text: &str) -> Option<String> {
    let mut value: Value = serde_json::from_str(text).ok()?;
    if !(value.is_object() || value.is_array()) {
        return None;
    }
    value.sort_all_objects();
    serde_json::to_string_pretty(&value).ok()
}

/// The longest common subsequence of lines, and what is around it.
fn compare(expected: &str, actual: &str) -> Vec<Line> {
    let (one, other): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), actual.lines().collect());
    let front = one.iter().zip(&other).take_while(|(a, b)| a == b).count();
    let back = one[front..].iter().rev().zip(other[front..].iter().rev()).take_while(|(a, b)| a == b).count();
    let (left, right) = (&one[front..one.len() - back], &other[front..other.len() - back]);
    let both = |lines: &[&str]| lines.iter().map(|line| Line::Both((*line).to_owned())).collect::<Vec<_>>();
    let mut all = both(&one[..front]);
    all.extend(between(left, right));
    all.extend(both(&one[one.len() - back..]));
    all
}

/// The lines of two parts that begin and end differently.
fn between(left: &[&str], right: &[&str]) -> Vec<Line> {
    let (expected, actual) = (|line: &&str| Line::Expected((*line).to_owned()), |line: &&str| Line::Actual((*line).to_owned()));
    if left.len().saturating_mul(right.len()) > limits::MAX_DIFF_CELLS {
        return left.iter().map(expected).chain(right.iter().map(actual)).collect();
    }
    // common[i][j]: how many lines left[i..] and right[j..] have in common.
    let width = right.len() + 1;
    let mut common = vec![0u32; (left.len() + 1) * width];
    for i in (0..left.len()).rev() {
        for j in (0..right.len()).rev() {
            common[i * width + j] = if left[i] == right[j] {
                common[(i + 1) * width + j + 1] + 1
            } else {
                common[(i + 1) * width + j].max(common[i * width + j + 1])
            };
        }
    }
    let (mut i, mut j, mut all) = (0, 0, Vec::new());
    while i < left.len() || j < right.len() {
        if i < left.len() && j < right.len() && left[i] == right[j] {
            all.push(Line::Both(left[i].to_owned()));
            (i, j) = (i + 1, j + 1);
        } else if i < left.len() && (j == right.len() || common[(i + 1) * width + j] >= common[i * width + j + 1]) {
            all.push(expected(&left[i]));
            i += 1;
        } else {
            all.push(actual(&right[j]));
            j += 1;
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(expected: &str, actual: &str) -> String {
        let line = |line: &Line| match line {
            Line::Both(text) => format!(" {text}"),
            Line::Expected(text) => format!("-{text}"),
            Line::Actual(text) => format!("+{text}"),
        };
        lines(expected, actual).iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn what_differs_stands_beside_what_does_not() {
        for (expected, actual, shown) in [
            ("a", "a", " a"),
            ("a", "b", "-a\n+b"),
            ("", "b", "+b"),
            ("a\nb\nc", "a\nc", " a\n-b\n c"),
            ("a\nx\nb\ny\nc", "a\nb\nz\nc", " a\n-x\n b\n-y\n+z\n c"),
            ("{\"b\":1,\"a\":[1,2]}", "{\"a\":[1],\"b\":1}", " {\n   \"a\": [\n-    1,\n-    2\n+    1\n   ],\n   \"b\": 1\n }"),
            // Equal as JSON: the texts are what differs.
            ("{\"b\":1,\"a\":2}", "{\"a\":2,\"b\":1}", "-{\"b\":1,\"a\":2}\n+{\"a\":2,\"b\":1}"),
            ("1", "2", "-1\n+2"),
            ("{\"a\":1}", "no json", "-{\"a\":1}\n+no json"),
        ] {
            assert_eq!(text(expected, actual), shown, "{expected} {actual}");
        }
    }

    proptest! {
        #[test]
        fn both_texts_can_be_read_out_of_it(one in "[ab\n]{0,30}", other in "[ab\n]{0,30}") {
            let all = lines(&one, &other);
            let side = |skipped: fn(&Line) -> bool| {
                all.iter().filter(|line| !skipped(line)).map(|line| match line {
                    Line::Both(text) | Line::Expected(text) | Line::Actual(text) => text.as_str(),
                }).collect::<Vec<_>>()
            };
            prop_assert_eq!(side(|line| matches!(line, Line::Actual(_))), one.lines().collect::<Vec<_>>());
            prop_assert_eq!(side(|line| matches!(line, Line::Expected(_))), other.lines().collect::<Vec<_>>());
        }
    }
}
