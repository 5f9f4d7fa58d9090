//! Times as foreign files write them: numbers whose unit is told by their size, read digit by digit, since a float would lose microseconds.

use crate::base::time;

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Microseconds since 1970.
    Wall(u64),
    /// Microseconds since the beginning of the exchange.
    After(u64),
}

impl Moment {
    /// Microseconds since 1970 of a moment of an exchange that began at `start_us`.
    pub fn wall_us(self, start_us: u64) -> u64 {
        match self {
            Self::Wall(us) => us,
            Self::After(us) => start_us.saturating_add(us),
        }
    }
}

/// Below this a number is no moment since 1970 but a time since the beginning (in seconds).
const FIRST_EPOCH_S: u64 = 100_000_000;
/// From here on a number is in milliseconds: in seconds it would be after the year 5000.
const FIRST_MS: u64 = 100_000_000_000;
/// From here on a number is in microseconds.
const FIRST_US: u64 = 100_000_000_000_000;

/// A JSON number of seconds, milliseconds or microseconds, or an RFC 3339 text; `None` for anything else, below zero included.
pub fn moment(json: &str) -> Option<Moment> {
    if let Some(text) = json.strip_prefix('"') {
        return time::parse_rfc3339(text.strip_suffix('"')?).map(Moment::Wall);
    }
    let whole = scaled(json, 0, false)?;
    match whole {
        0..FIRST_EPOCH_S => scaled(json, 6, true).map(Moment::After),
        FIRST_EPOCH_S..FIRST_MS => scaled(json, 6, true).map(Moment::Wall),
        FIRST_MS..FIRST_US => scaled(json, 3, true).map(Moment::Wall),
        FIRST_US.. => scaled(json, 0, true).map(Moment::Wall),
    }
}

/// A JSON number of seconds since 1970, whatever its size, in microseconds.
pub fn seconds(json: &str) -> Option<u64> {
    scaled(json, 6, true)
}

/// A number times ten to the power of `places`, cut or rounded to a whole one; `None` for one below zero or too large.
fn scaled(json: &str, places: usize, rounds: bool) -> Option<u64> {
    if json.contains(['e', 'E']) {
        let value = json.parse::<f64>().ok()? * 10f64.powi(places as i32);
        let value = if rounds { value.round() } else { value.floor() };
        return (0.0..1.8e19).contains(&value).then_some(value as u64);
    }
    let (whole, fraction) = json.split_once('.').unwrap_or((json, ""));
    let digit = |at: usize| fraction.as_bytes().get(at).map_or(0, |digit| u64::from(digit.wrapping_sub(b'0')));
    let mut value: u64 = if whole == "-0" && fraction.bytes().all(|b| b == b'0') { 0 } else { whole.parse().ok()? };
    for at in 0..places {
        value = value.checked_mul(10)?.checked_add(digit(at))?;
    }
    if rounds && digit(places) >= 5 { value.checked_add(1) } else { Some(value) }
}

/// Milliseconds as archives have them, in microseconds; -1 and nonsense count as 0.
pub fn from_ms(ms: Option<f64>) -> u64 {
    let us = ms.unwrap_or(0.0) * 1000.0;
    if us.is_finite() && us > 0.0 && us < 1e18 { us.round() as u64 } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_told_by_size() {
        for (json, wanted) in [
            ("1705314600.123456", Some(Moment::Wall(1_705_314_600_123_456))),
            ("1705314600.1234567", Some(Moment::Wall(1_705_314_600_123_457))),
            ("1705314600", Some(Moment::Wall(1_705_314_600_000_000))),
            ("1705314600123.456", Some(Moment::Wall(1_705_314_600_123_456))),
            ("1705314600123", Some(Moment::Wall(1_705_314_600_123_000))),
            ("1705314600123456", Some(Moment::Wall(1_705_314_600_123_456))),
            ("1.705314600123e9", Some(Moment::Wall(1_705_314_600_123_000))),
            ("\"2024-01-15T10:30:00.5Z\"", Some(Moment::Wall(1_705_314_600_500_000))),
            ("0", Some(Moment::After(0))),
            ("-0.0", Some(Moment::After(0))),
            ("1.5", Some(Moment::After(1_500_000))),
            ("-1", None),
            ("null", None),
            ("true", None),
            ("\"soon\"", None),
            ("99999999999999999999", None),
        ] {
            assert_eq!(moment(json), wanted, "{json}");
        }
        assert_eq!((from_ms(Some(1.5)), from_ms(Some(-1.0)), from_ms(Some(f64::INFINITY)), from_ms(None)), (1500, 0, 0, 0));
    }

    proptest! {
        #[test]
        fn microseconds_are_kept(us in 0u64..253_402_300_799_999_999) {
            prop_assert_eq!(seconds(&format!("{}.{:06}", us / 1_000_000, us % 1_000_000)), Some(us));
        }

        #[test]
        fn no_number_panics(json in "-?[0-9]{1,25}(\\.[0-9]{1,9})?([eE][-+]?[0-9]{1,3})?") {
            moment(&json);
        }
    }
}
