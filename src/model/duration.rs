//! Times as people write them in config files: a number of a unit that the field says, or a text with units of its own.

use serde_json::Value;

use crate::base::limits;

/// What a number without a unit counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Milliseconds.
    Ms,
    /// Seconds.
    Seconds,
}

/// Microseconds of each unit that a text may have, the longer names first where one begins like another.
const UNITS: [(&str, f64); 6] = [("ms", 1e3), ("us", 1.0), ("µs", 1.0), ("s", 1e6), ("m", 60e6), ("h", 3600e6)];

/// The most that a time may be, in microseconds.
const MAX_US: f64 = (limits::MAX_TIME_MS * 1000) as f64;

/// The microseconds that a value says; `None` for what is no time, is negative, or longer than [`limits::MAX_TIME_MS`].
pub fn read_us(value: &Value, unit: Unit) -> Option<u64> {
    let us = match (value, unit) {
        (Value::Number(number), Unit::Ms) => number.as_f64()? * 1e3,
        (Value::Number(number), Unit::Seconds) => number.as_f64()? * 1e6,
        (Value::String(text), _) => parse_us(text)?,
        _ => return None,
    };
    // What lies between two microseconds is the nearer one.
    (0.0..=MAX_US).contains(&us).then(|| us.round() as u64)
}

/// What is allowed, as errors say it.
pub fn allowed(unit: Unit) -> String {
    let unit = match unit {
        Unit::Ms => "milliseconds",
        Unit::Seconds => "seconds",
    };
    format!(
        "a number of {unit} of at least 0 or a text such as \"500ms\", \"1.5s\", \"2m\" or \"1m30s\", at most {} hours",
        MAX_US / 3600e6
    )
}

/// A text of numbers, each with its unit: `1.5s`, `1m30s`.
fn parse_us(text: &str) -> Option<f64> {
    let mut rest = text.trim();
    if rest.is_empty() {
        return None;
    }
    let mut sum = 0.0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let number: f64 = rest[..end].parse().ok()?;
        let (name, us) = UNITS.iter().find(|(name, _)| rest[end..].starts_with(name))?;
        sum += number * us;
        rest = &rest[end + name.len()..];
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_are_numbers_or_texts_with_units() {
        for (value, unit, us) in [
            (json!(0), Unit::Ms, Some(0)),
            (json!(100.25), Unit::Ms, Some(100_250)),
            (json!(0.0004), Unit::Ms, Some(0)),
            (json!(1.5), Unit::Seconds, Some(1_500_000)),
            (json!("500ms"), Unit::Ms, Some(500_000)),
            (json!("500ms"), Unit::Seconds, Some(500_000)),
            (json!("1.5s"), Unit::Ms, Some(1_500_000)),
            (json!(" 2m "), Unit::Ms, Some(120_000_000)),
            (json!("1h"), Unit::Ms, Some(3_600_000_000)),
            (json!("1m30s"), Unit::Ms, Some(90_000_000)),
            (json!("1h0.5m3ms"), Unit::Ms, Some(3_630_003_000)),
            (json!("20us"), Unit::Ms, Some(20)),
            (json!("20µs"), Unit::Ms, Some(20)),
            (json!(limits::MAX_TIME_MS), Unit::Ms, Some(limits::MAX_TIME_MS * 1000)),
            (json!(limits::MAX_TIME_MS + 1), Unit::Ms, None),
            (json!("745h"), Unit::Ms, None),
            (json!(-1), Unit::Ms, None),
            (json!("-1s"), Unit::Ms, None),
            (json!("5"), Unit::Ms, None),
            (json!("s"), Unit::Ms, None),
            (json!("1 s"), Unit::Ms, None),
            (json!("1..5s"), Unit::Ms, None),
            (json!("1d"), Unit::Ms, None),
            (json!("1é"), Unit::Ms, None),
            (json!(""), Unit::Ms, None),
            (json!(true), Unit::Ms, None),
            (json!([1]), Unit::Ms, None),
            (json!(1e300), Unit::Ms, None),
        ] {
            assert_eq!(read_us(&value, unit), us, "{value} {unit:?}");
        }
    }

    #[test]
    fn what_is_allowed_is_said_in_full() {
        assert_eq!(
            allowed(Unit::Ms),
            "a number of milliseconds of at least 0 or a text such as \"500ms\", \"1.5s\", \"2m\" or \"1m30s\", at most 744 hours"
        );
    }
}
