//! Ids: ULIDs, made and checked. An id from outside is checked here before it is compared with anything or becomes part of a file name.

use std::hash::{BuildHasher, RandomState};
use std::sync::Mutex;

use super::error::{Error, Result};
use super::limits::MIN_ID_PREFIX;
use super::{sync, time};

/// The last id made, so that ids of one millisecond sort in the order in which they were made.
static LAST: Mutex<ulid::Ulid> = Mutex::new(ulid::Ulid::nil());

/// A new ULID of 26 characters, greater than any that this process made before.
pub fn new() -> String {
    let fresh = ulid::Ulid::from_parts(time::wall_us() / 1000, random_u128());
    let mut last = sync::lock(&LAST);
    let next = if fresh > *last { fresh } else { last.increment().unwrap_or(fresh) };
    *last = next;
    next.to_string()
}

/// 64 bits that nobody guesses by chance. The standard library seeds its hash maps from the system, also where
/// there is no `/dev/urandom`; that is enough for ids and frame masks, and no key is ever made of it.
pub fn random_u64() -> u64 {
    RandomState::new().hash_one(time::now_us())
}

/// A version 4 UUID (RFC 9562 §5.4) of these random bits, in lower case.
pub fn uuid_v4(random: u128) -> String {
    let bits = (random & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

fn random_u128() -> u128 {
    (u128::from(random_u64()) << 64) | u128::from(random_u64())
}

/// Checks that `text` can be an id or a prefix of one: 6 to 64 letters, digits, `-` or `_`.
///
/// # Errors
/// [`Error::Invalid`] that says what an id looks like.
pub fn check_prefix(text: &str) -> Result<()> {
    if text.len() < MIN_ID_PREFIX {
        return Err(Error::invalid("id", format!("{text:?} is too short: give at least {MIN_ID_PREFIX} characters of the id")));
    }
    if text.len() > 64 || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_') {
        return Err(Error::invalid("id", "an id has letters, digits, '-' and '_' only"));
    }
    Ok(())
}

/// Checks that `text` can be an id that a person gave, or a prefix of one: 1 to 64 letters, digits, `.`, `_` or `-`.
///
/// # Errors
/// [`Error::Invalid`] that says what such an id looks like.
pub fn check_given(text: &str) -> Result<()> {
    if !(1..=64).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)) {
        return Err(Error::invalid("id", "an id has 1 to 64 letters, digits, '.', '_' and '-'"));
    }
    Ok(())
}

/// The one id among `ids`, which people gave, that `text` means: itself, of whatever length, or as [`resolve`] says.
///
/// # Errors
/// [`Error::NotFound`], [`Error::Ambiguous`].
pub fn resolve_given<'a>(kind: &'static str, text: &str, ids: impl Iterator<Item = &'a str> + Clone) -> Result<String> {
    match ids.clone().find(|id| *id == text) {
        Some(id) => Ok(id.to_owned()),
        None => pick(kind, text, ids),
    }
}

/// The one id among `ids` that `prefix` means: itself, or the only one that it begins (ASCII case ignored).
///
/// # Errors
/// [`Error::Invalid`] for what can be no id, [`Error::NotFound`], [`Error::Ambiguous`].
pub fn resolve<'a>(kind: &'static str, prefix: &str, ids: impl Iterator<Item = &'a str>) -> Result<String> {
    // Too short to mean one, it means none; what can be no id at all is malformed.
    if prefix.len() >= MIN_ID_PREFIX {
        check_prefix(prefix)?;
    }
    pick(kind, prefix, ids)
}

fn pick<'a>(kind: &'static str, prefix: &str, ids: impl Iterator<Item = &'a str>) -> Result<String> {
    if prefix.len() < MIN_ID_PREFIX {
        return Err(Error::NotFound { kind, id: prefix.to_owned() });
    }
    let mut candidates = Vec::new();
    for id in ids {
        if id.eq_ignore_ascii_case(prefix) {
            return Ok(id.to_owned());
        }
        if id.len() > prefix.len() && id.is_char_boundary(prefix.len()) && id[..prefix.len()].eq_ignore_ascii_case(prefix) {
            candidates.push(id.to_owned());
        }
    }
    match candidates.len() {
        0 => Err(Error::NotFound { kind, id: prefix.to_owned() }),
        1 => Ok(candidates.remove(0)),
        _ => {
            candidates.sort();
            Err(Error::Ambiguous { prefix: prefix.to_owned(), candidates })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_ids_ascend() {
        let ids: Vec<String> = (0..1000).map(|_| new()).collect();
        assert!(ids.windows(2).all(|pair| pair[0] < pair[1]));
        assert!(ids.iter().all(|id| id.len() == 26));
    }

    #[test]
    fn ids_that_people_gave_resolve_whole_at_any_length() {
        let ids = ["a", "chat", "chat.v1", "chat.v1-old", "Chat"];
        let of = |text: &str| resolve_given("mock", text, ids.into_iter());
        for id in ids {
            assert_eq!(of(id).as_deref(), Ok(id));
        }
        assert_eq!(of("chat.v1-").as_deref(), Ok("chat.v1-old"));
        assert_eq!(of("CHAT.V1").as_deref(), Ok("chat.v1"));
        assert!(matches!(of("chat."), Err(Error::NotFound { .. })));
        assert!(matches!(of("chat.v"), Err(Error::Ambiguous { .. })));
        for good in ["a", "a.b_c-D9"] {
            assert_eq!(check_given(good), Ok(()));
        }
        for bad in ["", "a b", "a/b", "ä", &"x".repeat(65)] {
            assert!(check_given(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_uuid_says_its_version_and_variant() {
        for (random, uuid) in [
            (0, "00000000-0000-4000-8000-000000000000"),
            (u128::MAX, "ffffffff-ffff-4fff-bfff-ffffffffffff"),
            (0x0123_4567_89ab_cdef_0123_4567_89ab_cdef, "01234567-89ab-4def-8123-456789abcdef"),
        ] {
            assert_eq!(uuid_v4(random), uuid);
        }
    }

    #[test]
    fn prefixes_resolve_to_one_id() {
        let ids = ["01HXYZ123456789ABCDEF", "01HXYZ123456789ABCDEG", "01HABC0000"];
        let of = |prefix: &str| resolve("recording", prefix, ids.iter().copied());
        assert_eq!(of("01HABC").as_deref(), Ok("01HABC0000"));
        assert_eq!(of("01habc0").as_deref(), Ok("01HABC0000"));
        assert_eq!(of("01HXYZ123456789ABCDEF").as_deref(), Ok("01HXYZ123456789ABCDEF"));
        assert!(matches!(of("01HXYZ12"), Err(Error::Ambiguous { candidates, .. }) if candidates.len() == 2));
        assert!(matches!(of("01HQQQ"), Err(Error::NotFound { .. })));
        for short in ["01HXY", ""] {
            assert!(matches!(of(short), Err(Error::NotFound { .. })), "{short:?}");
        }
        for bad in ["../../etc/passwd", "01HXYZ/../x", "01HXYZ\0"] {
            assert!(matches!(of(bad), Err(Error::Invalid { .. })), "{bad:?}");
        }
    }
}
