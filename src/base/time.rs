//! Time as numbers: microseconds since an origin. One monotonic clock for the process, and the wall clock as RFC 3339 text.
//! Only the floors with threads read a clock; the rules get `now` as an argument.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Microseconds on the process's monotonic clock.
pub type Micros = u64;

/// Where the process's monotonic clock began.
fn origin() -> Instant {
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    *ORIGIN.get_or_init(Instant::now)
}

/// Microseconds since the process first asked, from a monotonic clock.
pub fn now_us() -> Micros {
    Micros::try_from(origin().elapsed().as_micros()).unwrap_or(Micros::MAX)
}

/// The wall clock in microseconds since 1970-01-01T00:00:00Z.
pub fn wall_us() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// A connection's origin on both clocks, taken at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// On the monotonic clock.
    pub mono_us: Micros,
    /// On the wall clock.
    pub wall_us: u64,
}

impl Origin {
    /// The origin that is now.
    pub fn now() -> Self {
        // In this order, so that a thread that is stopped between takes an arrival for later than it was, and not for sooner.
        let wall_us = wall_us();
        Self { mono_us: now_us(), wall_us }
    }

    /// How far the wall clock is ahead of the monotonic one. It changes where the wall clock is set, and where the machine has slept.
    pub fn ahead_us(&self) -> i64 {
        self.wall_us.wrapping_sub(self.mono_us).cast_signed()
    }

    /// The monotonic stamp of a moment that the wall clock had before this one; a moment that seems to lie ahead is this one.
    pub fn stamp_of(&self, moment_wall_us: u64) -> Micros {
        self.mono_us.saturating_sub(self.wall_us.saturating_sub(moment_wall_us))
    }

    /// Microseconds from this origin to a monotonic stamp; 0 for a stamp before it.
    pub fn relative_us(&self, stamp_us: Micros) -> u64 {
        stamp_us.saturating_sub(self.mono_us)
    }

    /// The wall clock at a monotonic stamp, by this origin.
    pub fn wall_at(&self, stamp_us: Micros) -> u64 {
        self.wall_us.saturating_add(self.relative_us(stamp_us))
    }
}

/// RFC 3339 in UTC with six digits of a second: `2024-01-15T10:30:00.100000Z`.
pub fn rfc3339(wall_us: u64) -> String {
    humantime::format_rfc3339_micros(UNIX_EPOCH + Duration::from_micros(wall_us.min(MAX_WALL_US))).to_string()
}

/// RFC 3339 texts, as [`rfc3339`] gives them, of moments that mostly lie in one second: what stands before the fraction is kept.
#[derive(Debug, Clone, Default)]
pub struct Seconds {
    /// The second at hand, and its text up to the point.
    known: Option<(u64, String)>,
}

impl Seconds {
    /// Appends the text of a moment to `out`.
    pub fn push_rfc3339(&mut self, out: &mut Vec<u8>, wall_us: u64) {
        let wall_us = wall_us.min(MAX_WALL_US);
        let second = wall_us / 1_000_000;
        let known = self.known.take().filter(|(known, _)| *known == second);
        let (_, text) = self.known.insert(known.unwrap_or_else(|| {
            let mut text = rfc3339(second * 1_000_000);
            text.truncate(text.len() - "000000Z".len());
            (second, text)
        }));
        out.extend_from_slice(text.as_bytes());
        let mut digits = *b"000000Z";
        let mut rest = wall_us % 1_000_000;
        for digit in digits[..6].iter_mut().rev() {
            *digit += (rest % 10) as u8;
            rest /= 10;
        }
        out.extend_from_slice(&digits);
    }
}

/// The last microsecond of the year 9999, which RFC 3339 can still say.
const MAX_WALL_US: u64 = 253_402_300_799_999_999;

/// Reads RFC 3339 (an offset other than `Z` included) into microseconds since 1970; `None` for anything else.
pub fn parse_rfc3339(text: &str) -> Option<u64> {
    let (main, offset_s) = split_offset(text)?;
    let at = humantime::parse_rfc3339_weak(&format!("{main}Z")).ok()?;
    let since = at.duration_since(UNIX_EPOCH).ok()?;
    let us = i64::try_from(since.as_micros()).ok()?.checked_sub(offset_s.checked_mul(1_000_000)?)?;
    u64::try_from(us).ok()
}

/// Splits `…Z` or `…+hh:mm` into the local part and the offset in seconds.
fn split_offset(text: &str) -> Option<(&str, i64)> {
    if let Some(main) = text.strip_suffix(['Z', 'z']) {
        return Some((main, 0));
    }
    let at = text.len().checked_sub(6)?;
    let (main, offset) = (text.get(..at)?, text.get(at..)?);
    let sign = match offset.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let (hours, minutes) = offset.get(1..)?.split_once(':')?;
    let two_digits = |text: &str, most: i64| {
        let is_plain = text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit());
        text.parse::<i64>().ok().filter(|number| is_plain && *number <= most)
    };
    Some((main, sign * (two_digits(hours, 23)? * 3600 + two_digits(minutes, 59)? * 60)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_of_the_wall_clock_has_a_monotonic_stamp() {
        let now = Origin { mono_us: 1_000, wall_us: 1_705_314_600_100_000 };
        for (ago_us, stamp) in [(0, 1_000), (1, 999), (1_000, 0), (1_001, 0), (-1, 1_000), (i64::MIN, 1_000)] {
            assert_eq!(now.stamp_of(now.wall_us.saturating_sub_signed(ago_us)), stamp, "{ago_us}");
        }
        assert_eq!(now.ahead_us(), 1_705_314_600_099_000);
        assert_eq!(Origin { mono_us: 5, wall_us: 0 }.ahead_us(), -5);
    }

    #[test]
    fn rfc3339_has_six_digits_and_reads_back() {
        for (us, text) in [
            (0, "1970-01-01T00:00:00.000000Z"),
            (1_705_314_600_100_000, "2024-01-15T10:30:00.100000Z"),
            (1_705_314_600_000_001, "2024-01-15T10:30:00.000001Z"),
        ] {
            assert_eq!(rfc3339(us), text);
            assert_eq!(parse_rfc3339(text), Some(us));
        }
    }

    #[test]
    fn texts_that_are_made_one_after_the_other_are_the_same() {
        let mut seconds = Seconds::default();
        for us in [0, 1, 999_999, 1_000_000, 1_705_314_600_100_000, 1_705_314_600_012_345, 1_705_314_599_999_999, MAX_WALL_US, u64::MAX] {
            let mut out = b"at ".to_vec();
            seconds.push_rfc3339(&mut out, us);
            assert_eq!(String::from_utf8(out), Ok(format!("at {}", rfc3339(us))));
        }
    }

    #[test]
    fn rfc3339_reads_offsets_and_short_fractions() {
        assert_eq!(parse_rfc3339("2024-01-15T12:30:00.1+02:00"), Some(1_705_314_600_100_000));
        assert_eq!(parse_rfc3339("2024-01-15T10:30:00Z"), Some(1_705_314_600_000_000));
        assert_eq!(parse_rfc3339("2016-12-31T23:59:60.5-00:00"), parse_rfc3339("2016-12-31T23:59:59.5Z"), "a leap second");
        assert_eq!(parse_rfc3339("1970-01-01T01:00:00+01:00"), Some(0));
        for bad in [
            "",
            "yesterday",
            "2024-01-15",
            "2024-01-15T10:30:00+2",
            "2024-01-15T10:30:00++1:00",
            "2024-01-15T10:30:00+1:-30",
            "2024-01-15T10:30:00+24:00",
            "2024-01-15T10:30:00+01:60",
            "1970-01-01T00:30:00+01:00",
        ] {
            assert_eq!(parse_rfc3339(bad), None, "{bad}");
        }
    }
}
