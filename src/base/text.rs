//! Words for people: sizes, durations, the nearest known name, and text made safe for a terminal.
//! It formats; it never prints.

use std::borrow::Cow;

/// A size as tables print it: 1 KB is 1024 bytes, one decimal from there on (`512 B`, `8.2 KB`, `1.5 MB`).
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 4] = ["KB", "MB", "GB", "TB"];
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A duration in milliseconds as tables print it: `850ms`, `12.3s`, `2m05s`, `1h02m`.
pub fn duration(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms}ms"),
        1_000..60_000 => format!("{}.{}s", ms / 1000, ms % 1000 / 100),
        60_000..3_600_000 => format!("{}m{:02}s", ms / 60_000, ms / 1000 % 60),
        _ => format!("{}h{:02}m", ms / 3_600_000, ms / 60_000 % 60),
    }
}

/// How many bytes of a JSON string stand before what is no part of it as it is: a quote, a backslash, a control character.
pub fn literal_run(bytes: &[u8]) -> usize {
    run_len(bytes, ends_literal)
}

/// How many bytes there are before the first that is no printable ASCII, or is a quote or a backslash.
pub fn plain_run(bytes: &[u8]) -> usize {
    run_len(bytes, |word| ends_literal(word) | equal(word, 0x7f) | word & HIGH)
}

/// The highest bit of each byte of a word.
const HIGH: u64 = repeat(0x80);

const fn repeat(byte: u8) -> u64 {
    u64::from_le_bytes([byte; 8])
}

/// Eight bytes at a time: `marks` sets the highest bit of bytes of a word, the lowest of which is right.
#[inline]
fn run_len(bytes: &[u8], marks: impl Fn(u64) -> u64) -> usize {
    let (words, rest) = bytes.as_chunks::<8>();
    for (at, word) in words.iter().enumerate() {
        let marked = marks(u64::from_le_bytes(*word));
        if marked != 0 {
            return at * 8 + marked.trailing_zeros() as usize / 8;
        }
    }
    // What fills the last word up is no end.
    let mut last = [b' '; 8];
    last[..rest.len()].copy_from_slice(rest);
    words.len() * 8 + (marks(u64::from_le_bytes(last)).trailing_zeros() as usize / 8).min(rest.len())
}

fn ends_literal(word: u64) -> u64 {
    below_space(word) | equal(word, b'"') | equal(word, b'\\')
}

/// Marks bytes that are `byte`. A borrow can mark a byte in vain, and only above one that is marked rightly.
fn equal(word: u64, byte: u8) -> u64 {
    let differences = word ^ repeat(byte);
    differences.wrapping_sub(repeat(1)) & !differences & HIGH
}

fn below_space(word: u64) -> u64 {
    word.wrapping_sub(repeat(b' ')) & !word & HIGH
}

/// `text` with every control character written as an escape, so that recorded bytes cannot steer a terminal.
pub fn clean(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| if steers(c) { c.escape_default().to_string() } else { c.to_string() }).collect())
}

/// Whether a terminal does something else with a character than to show it: controls of both sets (ESC, and CSI as U+009B), line and
/// paragraph ends, and what turns the direction of writing.
pub fn steers(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// At most `max` bytes of `text`, cut at a character, with `…` where something was cut.
pub fn shorten(text: &str, max: usize) -> Cow<'_, str> {
    if text.len() <= max {
        return Cow::Borrowed(text);
    }
    let mut end = max.saturating_sub('…'.len_utf8());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    Cow::Owned(format!("{}…", &text[..end]))
}

/// The known name that is nearest to `typed`, if one is near enough to be meant.
pub fn nearest<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (typed.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|name| (distance(&typed.to_ascii_lowercase(), &name.to_ascii_lowercase()), name))
        .filter(|(distance, name)| *distance <= limit || (typed.len() >= 3 && name.starts_with(typed)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// ` (did you mean "x"?)`, or nothing.
pub fn did_you_mean<'a>(typed: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    nearest(typed, known).map_or_else(String::new, |name| format!(" (did you mean {name:?}?)"))
}

/// The edit distance of two words, a swap of neighbours counting as one.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(64).collect(), b.chars().take(64).collect());
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let substituted = previous[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = substituted.min(previous[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut previous, row);
    }
    previous[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_at_the_first_other_byte() {
        for len in [0, 1, 7, 8, 9, 15, 16, 40] {
            for filler in [b'x', b' ', b'!', b'#', b'[', b']', b'~'] {
                let plain = vec![filler; len];
                assert_eq!((literal_run(&plain), plain_run(&plain)), (len, len));
                for at in 0..len {
                    for byte in 0..=255 {
                        let mut bytes = plain.clone();
                        bytes[at] = byte;
                        let ends = byte < b' ' || byte == b'"' || byte == b'\\';
                        assert_eq!(literal_run(&bytes), if ends { at } else { len }, "{byte} at {at} of {len}");
                        assert_eq!(plain_run(&bytes), if ends || byte > b'~' { at } else { len }, "{byte} at {at} of {len}");
                        // The byte above a marked one.
                        if let Some(next) = bytes.get_mut(at + 1) {
                            *next = byte.wrapping_add(1);
                            assert!(!ends || literal_run(&bytes) == at);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn sizes_read_as_in_the_documents() {
        for (bytes, text) in
            [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KB"), (8432, "8.2 KB"), (1_572_864, "1.5 MB"), (1_048_575, "1.0 MB")]
        {
            assert_eq!(size(bytes), text);
        }
    }

    #[test]
    fn durations_read_as_in_the_documents() {
        for (ms, text) in [(0, "0ms"), (850, "850ms"), (12_345, "12.3s"), (59_999, "59.9s"), (125_000, "2m05s"), (3_720_000, "1h02m")] {
            assert_eq!(duration(ms), text);
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(clean("plain é"), "plain é");
        assert_eq!(clean("a\x1b[31mb\nc"), "a\\u{1b}[31mb\\nc");
        assert_eq!(clean("a\u{202e}b"), "a\\u{202e}b");
        assert_eq!(clean("\u{9b}2J\u{7f}\u{61c}\u{2028}"), "\\u{9b}2J\\u{7f}\\u{61c}\\u{2028}");
    }

    #[test]
    fn shortening_keeps_characters_whole() {
        assert_eq!(shorten("short", 10), "short");
        assert_eq!(shorten("ééééé", 8), "éé…");
    }

    #[test]
    fn the_nearest_name_is_found() {
        let known = ["protocol", "path", "name", "timingScale"];
        assert_eq!(nearest("protcol", known), Some("protocol"));
        assert_eq!(nearest("timingscale", known), Some("timingScale"));
        assert_eq!(nearest("pth", known), Some("path"));
        assert_eq!(nearest("quux", known), None);
    }
}
