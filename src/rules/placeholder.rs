//! Placeholders in the data of a mock's events: `$uuid`, `$timestamp`, `$random(a,b)`, `$pick(a,b,…)`. Text in, text out; what is
//! none of them stays as it is.

use serde_json::Value;

use super::performance::Moment;
use crate::base::id;

/// What stands for a placeholder.
#[derive(Debug, PartialEq)]
enum Filling<'a> {
    Number(i64),
    Made(String),
    Picked(&'a str),
}

/// Replaces the placeholders in a text.
pub(super) fn fill_text(text: &str, at: Moment) -> String {
    let mut out = String::with_capacity(text.len() + 32);
    let mut rest = text;
    while let Some(dollar) = rest.find('$') {
        out.push_str(&rest[..dollar]);
        rest = &rest[dollar..];
        match read(rest, at) {
            Some((filling, len)) => {
                match filling {
                    Filling::Number(number) => out.push_str(&number.to_string()),
                    Filling::Made(made) => out.push_str(&made),
                    Filling::Picked(picked) => out.push_str(picked),
                }
                rest = &rest[len..];
            }
            None => {
                out.push('$');
                rest = &rest[1..];
            }
        }
    }
    out.push_str(rest);
    out
}

/// Replaces the placeholders in every string value. One that is exactly one placeholder for a number becomes a number.
pub(super) fn fill_json(value: &mut Value, at: Moment) {
    match value {
        Value::String(text) if text.contains('$') => {
            *value = match read(text, at) {
                Some((Filling::Number(number), len)) if len == text.len() => number.into(),
                _ => fill_text(text, at).into(),
            };
        }
        Value::Array(items) => items.iter_mut().for_each(|item| fill_json(item, at)),
        Value::Object(members) => members.values_mut().for_each(|member| fill_json(member, at)),
        _ => {}
    }
}

/// The placeholder that `text` begins with, filled, and its length.
fn read(text: &str, at: Moment) -> Option<(Filling<'_>, usize)> {
    let name_len = text.bytes().skip(1).take_while(|b| b.is_ascii_alphanumeric() || *b == b'_').count() + 1;
    match &text[..name_len] {
        "$uuid" => Some((Filling::Made(id::uuid_v4(at.random_u128())), name_len)),
        "$timestamp" => Some((Filling::Number(i64::try_from(at.wall_us / 1_000_000).unwrap_or(i64::MAX)), name_len)),
        "$random" => {
            let (inside, len) = parenthesis(text, name_len)?;
            let (low, high) = inside.split_once(',')?;
            let number = at.random_between(low.trim().parse().ok()?, high.trim().parse().ok()?);
            Some((Filling::Number(number), len))
        }
        "$pick" => {
            let (inside, len) = parenthesis(text, name_len)?;
            let choices: Vec<&str> = inside.split(',').map(str::trim).collect();
            let chosen = at.random_between(0, i64::try_from(choices.len()).ok()? - 1);
            Some((Filling::Picked(choices[usize::try_from(chosen).ok()?]), len))
        }
        _ => None,
    }
}

/// What stands between the parenthesis at `start` and the next closing one, and the length up to behind that.
fn parenthesis(text: &str, start: usize) -> Option<(&str, usize)> {
    let inside = text[start..].strip_prefix('(')?;
    let len = inside.find(')')?;
    Some((&inside[..len], start + len + 2))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const AT: Moment = Moment { now_us: 5, wall_us: 1_705_314_600_999_999, random: || 0 };
    const UUID: &str = "00000000-0000-4000-8000-000000000000";

    #[test]
    fn placeholders_are_replaced_and_nothing_else_is() {
        for (text, filled) in [
            ("", ""),
            ("plain", "plain"),
            ("$timestamp", "1705314600"),
            ("a $timestamp, b", "a 1705314600, b"),
            ("$uuid", UUID),
            ("<$uuid>", &format!("<{UUID}>")),
            ("é$random(3,9)é", "é3é"),
            ("$random( -3 , +9 )", "-3"),
            ("$random(9,3)", "3"),
            ("$random(5,5)$random(6,6)", "56"),
            ("$pick(red, green,blue)", "red"),
            ("$pick(only)", "only"),
            ("$pick(ünï,b)", "ünï"),
            ("$$uuid", &format!("${UUID}")),
            // None of these is a placeholder.
            ("$", "$"),
            ("US$ 5 $5", "US$ 5 $5"),
            ("$uuids $uuid_x $timestamp2 $TIMESTAMP", "$uuids $uuid_x $timestamp2 $TIMESTAMP"),
            ("$random", "$random"),
            ("$random(1)", "$random(1)"),
            ("$random(1,2,3)", "$random(1,2,3)"),
            ("$random(1.5,2)", "$random(1.5,2)"),
            ("$random(1,2", "$random(1,2"),
            ("$random(99999999999999999999,2)", "$random(99999999999999999999,2)"),
            ("$random (1,2)", "$random (1,2)"),
            ("$pick", "$pick"),
            ("$pick(a", "$pick(a"),
            ("{{now}}", "{{now}}"),
        ] {
            assert_eq!(fill_text(text, AT), filled, "{text:?}");
        }
    }

    #[test]
    fn all_choices_come_up() {
        let last = Moment { random: || u64::MAX, ..AT };
        assert_eq!(fill_text("$pick(a,b, c )/$random(1,6)", last), "c/6");
        assert_eq!(fill_text("$uuid", last), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }

    #[test]
    fn in_json_a_lone_number_is_one() {
        let mut value = json!({
            "$uuid": "$uuid", "at": "$timestamp", "n": ["$random(2,2)", "n=$random(2,2)", "$pick(1,2)"], "x": 5, "y": null, "z": "$",
        });
        fill_json(&mut value, AT);
        let filled = json!({"$uuid": UUID, "at": 1_705_314_600, "n": [2, "n=2", "1"], "x": 5, "y": null, "z": "$"});
        assert_eq!(value, filled);
    }

    proptest! {
        #[test]
        fn text_without_a_dollar_stays(text in "[^$]{0,80}") {
            prop_assert_eq!(fill_text(&text, AT), text);
        }

        #[test]
        fn any_text_is_taken(text in "(\\$|uuid|timestamp|random|pick|\\(|\\)|,|-|[0-9é]|.){0,40}") {
            let filled = fill_text(&text, AT);
            prop_assert!(filled.len() <= text.len() * 8);
        }
    }
}
