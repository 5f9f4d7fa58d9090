//! Who may use the admin port: pure rules on `Host`, `Origin`, `Authorization` and the token. It knows no route and no socket.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::base::error::{Error, Result};
use crate::base::text;

/// What a request says about itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Asked<'a> {
    /// `Host`, or the authority of an absolute target.
    pub host: Option<&'a str>,
    /// `Origin`.
    pub origin: Option<&'a str>,
    /// `Authorization`.
    pub authorization: Option<&'a str>,
}

/// What is answered to it.
#[derive(Debug, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// The origin that CORS headers echo, on errors too; `None` where there was none or a foreign one.
    pub origin: Option<&'a str>,
    /// Why it may not.
    pub refused: Option<Error>,
}

/// Judges a request. `open` is set for what needs no token: `GET /`, `GET /health` and preflights, which carry none.
pub fn judge<'a>(asked: Asked<'a>, token: Option<&str>, open: bool) -> Verdict<'a> {
    let origin = match judge_origin(asked.origin) {
        Ok(origin) => origin,
        Err(error) => return Verdict { origin: None, refused: Some(error) },
    };
    let refused = match token {
        // A page that rebound its own name to 127.0.0.1 sends that name as Host; a token it does not have.
        None => (!asked.host.is_some_and(is_loopback_authority)).then(|| foreign_host(asked.host)),
        Some(_) if open => None,
        Some(token) => (!asked.authorization.and_then(bearer).is_some_and(|given| equal(given, token))).then_some(Error::Unauthorized),
    };
    Verdict { origin, refused }
}

/// Judges an `Origin` by itself; gives the one that CORS headers echo, `None` where the request has none.
///
/// # Errors
/// [`Error::Forbidden`] for a foreign one.
pub fn judge_origin(origin: Option<&str>) -> Result<Option<&str>> {
    match origin {
        Some(origin) if !is_loopback_origin(origin) => {
            let shown = text::shorten(origin, 64);
            Err(Error::Forbidden(format!(
                "pages of the origin {shown:?} may not use this port; only those of localhost and other loopback hosts may"
            )))
        }
        allowed => Ok(allowed),
    }
}

fn foreign_host(host: Option<&str>) -> Error {
    Error::Forbidden(match host {
        None => "a request to this port needs a Host field that names localhost or a loopback address".to_owned(),
        Some(host) => format!(
            "the host {:?} is no loopback name; use localhost or 127.0.0.1, or set an admin token (--admin-token) to allow any name",
            text::shorten(host, 64)
        ),
    })
}

/// Whether an `Origin` is one scheme, `://`, and a loopback host with any port. `null` is not.
fn is_loopback_origin(origin: &str) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let well_formed = |scheme: &str| scheme.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'));
    scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && well_formed(scheme) && is_loopback_authority(authority)
}

/// Whether `host` or `host:port` names this machine: `localhost` and what is below it (RFC 6761 §6.3), 127.0.0.0/8, `[::1]`.
fn is_loopback_authority(authority: &str) -> bool {
    if let Some(rest) = authority.strip_prefix('[') {
        let Some((address, port)) = rest.split_once(']') else { return false };
        let loopback = address.parse::<Ipv6Addr>().is_ok_and(|address| address.to_canonical().is_loopback());
        return loopback && (port.is_empty() || port.strip_prefix(':').is_some_and(is_port));
    }
    let (host, port) = authority.split_once(':').unwrap_or((authority, ""));
    if !port.is_empty() && !is_port(port) {
        return false;
    }
    if let Ok(address) = host.parse::<Ipv4Addr>() {
        return address.is_loopback();
    }
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    match host.strip_suffix("localhost") {
        Some("") => true,
        Some(below) => {
            let labels = below.strip_suffix('.').unwrap_or("");
            !labels.is_empty() && labels.split('.').all(is_label)
        }
        None => false,
    }
}

fn is_label(label: &str) -> bool {
    !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|b| b.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

/// The token of `Authorization: Bearer <token>`; the scheme's case does not matter (RFC 9110 §11.1).
fn bearer(authorization: &str) -> Option<&str> {
    let (scheme, token) = authorization.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim_start())
}

/// Compares in a time that depends on the length of `given` alone, which its sender knows: every byte of it is looked at, whichever is the
/// first to differ, and neither where that is nor how long the token is changes the steps. An empty token fits nothing.
fn equal(given: &str, token: &str) -> bool {
    let (given, token) = (given.as_bytes(), token.as_bytes());
    if token.is_empty() {
        return false;
    }
    let mut different = u8::from(given.len() != token.len());
    for (at, byte) in given.iter().enumerate() {
        different |= std::hint::black_box(byte ^ token[at % token.len()]);
    }
    std::hint::black_box(different) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(host: Option<&str>, origin: Option<&str>, authorization: Option<&str>, token: Option<&str>, open: bool) -> u16 {
        let verdict = judge(Asked { host, origin, authorization }, token, open);
        verdict.refused.map_or(200, |error| error.status())
    }

    #[test]
    fn without_a_token_the_host_must_be_a_loopback_name() {
        for host in [
            "localhost",
            "localhost:4290",
            "LOCALHOST:80",
            "localhost.",
            "app.localhost:3000",
            "a.b-c.localhost",
            "127.0.0.1",
            "127.0.0.1:4290",
            "127.8.9.10:1",
            "[::1]",
            "[::1]:4290",
            "[0:0:0:0:0:0:0:1]:80",
            "[::ffff:127.0.0.1]:80",
            "localhost:",
        ] {
            assert_eq!(status(Some(host), None, None, None, false), 200, "{host}");
            assert_eq!(status(Some(host), None, None, None, true), 200, "{host}");
        }
        for host in [
            "",
            "example.com",
            "example.com:4290",
            "localhost.example.com",
            "notlocalhost",
            ".localhost",
            "a..localhost",
            "127.0.0.1.nip.io",
            "0.0.0.0:4290",
            "10.0.0.1",
            "[::2]:80",
            "[::1",
            "[::1]80",
            "[::1]:x",
            "localhost:99999",
            "localhost:x",
            "user@localhost",
            "127.1",
            "localhost:+80",
            "evil/localhost",
            "a b.localhost",
            "::1",
        ] {
            assert_eq!(status(Some(host), None, None, None, false), 403, "{host}");
            assert_eq!(status(Some(host), None, None, None, true), 403, "{host}");
        }
        assert_eq!(status(None, None, None, None, true), 403);
    }

    #[test]
    fn only_loopback_origins_are_served_and_echoed() {
        for origin in [
            "http://localhost",
            "http://localhost:5173",
            "https://127.0.0.1:8443",
            "http://[::1]:3000",
            "http://app.localhost",
            "tauri://localhost",
        ] {
            for token in [None, Some("secret")] {
                let asked = Asked { host: Some("localhost:4290"), origin: Some(origin), authorization: Some("Bearer secret") };
                assert_eq!(judge(asked, token, false), Verdict { origin: Some(origin), refused: None }, "{origin}");
            }
        }
        for origin in [
            "null",
            "",
            "http://example.com",
            "http://localhost.example.com",
            "http://localhost@example.com",
            "http://localhost/",
            "file://",
            "localhost",
            "://localhost",
            "1x://localhost",
            "http://localhost:80:80",
            "http://evil.com?http://localhost",
            "http://localhost, http://localhost",
        ] {
            for token in [None, Some("secret")] {
                let asked = Asked { host: Some("localhost:4290"), origin: Some(origin), authorization: Some("Bearer secret") };
                let verdict = judge(asked, token, true);
                assert_eq!((verdict.origin, verdict.refused.map(|error| error.status())), (None, Some(403)), "{origin}");
            }
        }
    }

    #[test]
    fn with_a_token_every_closed_call_needs_it_and_any_host_will_do() {
        let token = Some("s3cret");
        let host = Some("ci.example.com:4290");
        for (authorization, wanted) in [
            (Some("Bearer s3cret"), 200),
            (Some("bearer s3cret"), 200),
            (Some("Bearer   s3cret "), 200),
            (None, 401),
            (Some(""), 401),
            (Some("Bearer"), 401),
            (Some("Bearer "), 401),
            (Some("Bearer s3cre"), 401),
            (Some("Bearer s3crets"), 401),
            (Some("Bearer s3crets3cret"), 401),
            (Some("Bearer S3cret"), 401),
            (Some("Basic s3cret"), 401),
            (Some("s3cret"), 401),
        ] {
            assert_eq!(status(host, None, authorization, token, false), wanted, "{authorization:?}");
            assert_eq!(status(host, None, authorization, token, true), 200, "{authorization:?}");
        }
        assert_eq!(status(None, None, Some("Bearer s3cret"), token, false), 200);
    }

    #[test]
    fn a_refusal_for_want_of_a_token_still_echoes_the_origin() {
        let asked = Asked { host: Some("localhost"), origin: Some("http://localhost:3000"), authorization: None };
        let verdict = judge(asked, Some("x"), false);
        assert_eq!((verdict.origin, verdict.refused), (Some("http://localhost:3000"), Some(Error::Unauthorized)));
    }

    proptest::proptest! {
        /// Whatever is put together of what tricks are made of, what is let in is a loopback name to everybody who could read it.
        #[test]
        fn what_is_let_in_is_loopback_to_every_reader(
            pieces in proptest::collection::vec(proptest::sample::select(vec![
                "localhost", "LocalHost", "127.0.0.1", "127.", "1", "[::1]", "[::ffff:127.0.0.1]", "[", "]", "evil.com", "evil", ".", ":",
                "80", "@", "#", "/", "\\", "?", " ", ",", "%2e", "\u{0}", "\u{3002}", "-", "_", "0.0.0.0", "null",
            ]), 0..6)
        ) {
            let text = pieces.concat();
            if is_loopback_authority(&text) {
                let plain = |b: u8| b.is_ascii_alphanumeric() || b".:[]-_".contains(&b);
                proptest::prop_assert!(text.bytes().all(plain), "{}", text);
                let host = if text.starts_with('[') { text.split_inclusive(']').next() } else { text.split(':').next() };
                let host = host.unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
                let address = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>().map(|address| address.to_canonical().is_loopback());
                let is_name = host == "localhost" || host.ends_with(".localhost");
                proptest::prop_assert!(address.unwrap_or(is_name), "{}", text);
            }
            proptest::prop_assert_eq!(is_loopback_origin(&format!("http://{text}")), is_loopback_authority(&text));
        }

        /// With few letters and lengths, so that prefixes, repetitions and equal ones are common.
        #[test]
        fn only_equal_tokens_are_equal(given in "[ab]{0,6}", token in "[ab]{0,6}") {
            proptest::prop_assert_eq!(equal(&given, &token), !token.is_empty() && given == token);
        }
    }

    #[test]
    fn tokens_are_compared_whole() {
        for (given, token, wanted) in [
            ("a", "a", true),
            ("", "", false),
            ("", "a", false),
            ("a", "", false),
            ("aa", "a", false),
            ("a", "aa", false),
            ("abab", "ab", false),
            ("é", "é", true),
        ] {
            assert_eq!(equal(given, token), wanted, "{given:?} {token:?}");
        }
    }
}
