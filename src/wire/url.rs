//! URLs of upstreams, and queries. It takes texts apart and puts them together; it never resolves a name.

use crate::base::error::{Error, Result};
use crate::base::text;

/// Where an upstream is: `http`, `https`, `ws` or `wss` (the latter two mean the former two).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamUrl {
    /// `https` or `wss`.
    pub tls: bool,
    /// A name, an IPv4 address, or an IPv6 address without brackets.
    pub host: String,
    /// 80 or 443 where the URL gives none.
    pub port: u16,
    /// The path without a trailing slash; empty for none. A prefix of the forwarded path.
    pub path_prefix: String,
}

impl UpstreamUrl {
    /// Parses a URL.
    ///
    /// # Errors
    /// `Error::Invalid` at `place`: no or another scheme, no host, user and password, a query, a fragment, a bad port. Secrets in it are not quoted.
    pub fn parse(place: &str, text: &str) -> Result<Self> {
        let wrong = |message: String| Err(Error::invalid(place, message));
        let text = text.trim();
        let Some((scheme, rest)) = text.split_once("://") else {
            let wanted = "an upstream is a URL such as http://localhost:3000 (ws, wss, http or https)";
            // A word, a name or a path is quoted; what may hold a secret is not.
            let is_plain = text.len() <= 64 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"./:_-".contains(&b));
            return wrong(if is_plain { format!("{text:?} is no URL; {wanted}") } else { wanted.to_owned() });
        };
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" | "ws" => false,
            "https" | "wss" => true,
            // What stands before `://` may be anything that was typed, so only a short word is quoted.
            other if other.len() <= 10 && other.bytes().all(|b| b.is_ascii_alphanumeric()) => {
                return wrong(format!("the scheme {other:?} is none of http, https, ws, wss"));
            }
            _ => return wrong("the scheme is none of http, https, ws, wss".into()),
        };
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return wrong("user and password in a URL are not supported; send an Authorization header instead".into());
        }
        if tail.contains('#') {
            return wrong("an upstream has no fragment; leave out the part from '#' on".into());
        }
        if tail.contains('?') {
            return wrong("an upstream has no query; the query of each request is forwarded".into());
        }
        if !tail.bytes().all(|b| b.is_ascii_graphic()) {
            return wrong("the path of an upstream has spaces or other characters that a URL can't have; percent-encode them".into());
        }
        let (host, port) = match split_authority(authority) {
            Ok(parts) => parts,
            Err(message) => return wrong(message),
        };
        let port = port.unwrap_or(if tls { 443 } else { 80 });
        Ok(Self { tls, host, port, path_prefix: tail.trim_end_matches('/').to_owned() })
    }

    /// `host:port` as `Host` wants it: the port left out where it is the scheme's own, IPv6 in brackets.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        let own_port = if self.tls { 443 } else { 80 };
        if self.port == own_port { host } else { format!("{host}:{}", self.port) }
    }

    /// The URL of a request target at this upstream, with the scheme as a client of `websocket` or HTTP would write it.
    pub fn join(&self, target: &str, websocket: bool) -> String {
        let scheme = match (websocket, self.tls) {
            (true, true) => "wss",
            (true, false) => "ws",
            (false, true) => "https",
            (false, false) => "http",
        };
        format!("{scheme}://{}{}{target}", self.authority(), self.path_prefix)
    }
}

/// Host and port of `host`, `host:port`, `[v6]` or `[v6]:port`.
fn split_authority(authority: &str) -> std::result::Result<(String, Option<u16>), String> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, after) = rest.split_once(']').ok_or("the IPv6 address lacks its closing bracket")?;
            if host.parse::<std::net::Ipv6Addr>().is_err() {
                return Err("what stands in brackets is no IPv6 address".into());
            }
            let port = match after.strip_prefix(':') {
                None if !after.is_empty() => return Err("after the IPv6 address only :PORT may follow".into()),
                port => port,
            };
            (host, port)
        }
        None => match authority.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err("an IPv6 address needs brackets: http://[::1]:3000".into()),
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    if host.is_empty() {
        return Err("the URL has no host".into());
    }
    if !authority.starts_with('[') && !host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_')) {
        return Err("a host has letters, digits, '-', '.' and '_' only".into());
    }
    let port = match port {
        // `http://host:/` means the scheme's own port (RFC 3986 §3.2.3).
        None | Some("") => None,
        Some(digits) => match digits.parse::<u16>() {
            Ok(port) if port > 0 && digits.bytes().all(|b| b.is_ascii_digit()) => Some(port),
            _ => return Err(format!("the port {:?} is no number from 1 to 65535", text::shorten(digits, 20))),
        },
    };
    Ok((host.to_ascii_lowercase(), port))
}

/// The parameters of a query as sent, percent-decoded (`+` is a space), in order; not UTF-8 is read lossily.
pub fn parameters(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|part| !part.is_empty()).map(|part| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        (decode(name, true), decode(value, true))
    })
}

/// The target without every parameter whose decoded name is `name`; all other bytes stay as they are. The `?` goes with the last parameter.
pub fn without_parameter(target: &str, name: &str) -> String {
    let Some((path, query)) = target.split_once('?') else { return target.to_owned() };
    let is_meant = |part: &&str| decode(part.split_once('=').map_or(*part, |(name, _)| name), true) == name;
    if !query.split('&').any(|part| is_meant(&part)) {
        return target.to_owned();
    }
    let left: Vec<&str> = query.split('&').filter(|part| !is_meant(part)).collect();
    if left.is_empty() { path.to_owned() } else { format!("{path}?{}", left.join("&")) }
}

/// Percent-decodes (no `+`), lossily where it is not UTF-8.
pub fn percent_decode(text: &str) -> String {
    decode(text, false)
}

/// Percent-encodes everything but unreserved characters (RFC 3986 §2.3).
pub fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            for digit in [byte >> 4, byte & 15] {
                out.push(char::from(b"0123456789ABCDEF"[usize::from(digit)]));
            }
            // The sign goes before its two digits.
            out.insert(out.len() - 2, '%');
        }
    }
    out
}

/// Percent-decodes; an escape that is none stays as it is.
fn decode(text: &str, plus_is_space: bool) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        let digit = |at: usize| after.get(at).and_then(|b| char::from(*b).to_digit(16));
        match (byte, digit(0), digit(1)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                rest = &after[2..];
            }
            (b'+', ..) if plus_is_space => out.push(b' '),
            _ => out.push(*byte),
        }
    }
    String::from_utf8(out).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn upstreams_are_read() {
        for (text, tls, host, port, prefix, authority) in [
            ("http://localhost:3000", false, "localhost", 3000, "", "localhost:3000"),
            ("HTTPS://Api.Example.com", true, "api.example.com", 443, "", "api.example.com"),
            ("ws://h:80/", false, "h", 80, "", "h"),
            ("wss://h:8443/a/b/", true, "h", 8443, "/a/b", "h:8443"),
            ("http://h:443/x%20y//", false, "h", 443, "/x%20y", "h:443"),
            ("ws://[::1]:8080/prefix/", false, "::1", 8080, "/prefix", "[::1]:8080"),
            ("https://[2001:db8::2]", true, "2001:db8::2", 443, "", "[2001:db8::2]"),
            (" http://127.0.0.1:/ ", false, "127.0.0.1", 80, "", "127.0.0.1"),
        ] {
            let url = UpstreamUrl::parse("upstream", text).expect(text);
            assert_eq!((url.tls, url.host.as_str(), url.port, url.path_prefix.as_str()), (tls, host, port, prefix), "{text}");
            assert_eq!(url.authority(), authority, "{text}");
        }
    }

    #[test]
    fn wrong_upstreams_are_refused_without_their_secrets() {
        for text in [
            "",
            "localhost:3000",
            "ftp://h",
            "secret-token-of-mine://h",
            "http://",
            "http:///path",
            "http://:80",
            "http://user:secret@h",
            "http://secret@h/",
            "http://h?key=secret",
            "http://h/a?key=secret",
            "http://h/#secret",
            "http://h:0",
            "http://h:65536",
            "http://h:+1",
            "http://h:x",
            "http://::1",
            "http://[::1",
            "http://[::1]x",
            "http://[h]",
            "http://h h",
            "http://h/a b",
            "http://h\r\nX: y",
        ] {
            let error = UpstreamUrl::parse("upstream", text).expect_err(text);
            assert!(matches!(&error, Error::Invalid { place, message } if place == "upstream" && !message.contains("secret")), "{error:?}");
        }
    }

    #[test]
    fn what_is_no_url_is_quoted_unless_it_may_hold_a_secret() {
        for (text, begin) in [
            ("nope", "\"nope\" is no URL; an upstream is a URL such as http://"),
            (" localhost:3000/x ", "\"localhost:3000/x\" is no URL; an upstream"),
            ("", "\"\" is no URL; an upstream"),
            ("user:pass@h", "an upstream is a URL such as"),
            ("h?key=k", "an upstream is a URL such as"),
        ] {
            let error = UpstreamUrl::parse("upstream", text).expect_err(text).to_string();
            assert!(error.starts_with(&format!("upstream: {begin}")), "{error}");
        }
    }

    #[test]
    fn targets_are_joined() {
        let url = |text: &str| UpstreamUrl::parse("", text).expect(text);
        assert_eq!(url("wss://h/a/").join("/b?c", false), "https://h/a/b?c");
        assert_eq!(url("http://h:81").join("/b?c", true), "ws://h:81/b?c");
        assert_eq!(url("https://[::1]").join("/", true), "wss://[::1]/");
    }

    #[test]
    fn queries_are_taken_apart() {
        for (query, expected) in [
            ("", vec![]),
            ("a=1&b=2&a=3", vec![("a", "1"), ("b", "2"), ("a", "3")]),
            ("a&=&b=c=d&&", vec![("a", ""), ("", ""), ("b", "c=d")]),
            ("a+b=c%20d%2B&%C3%A9=%ff%zz%", vec![("a b", "c d+"), ("é", "\u{fffd}%zz%")]),
        ] {
            let found: Vec<(String, String)> = parameters(query).collect();
            let expected: Vec<(String, String)> = expected.into_iter().map(|(a, b)| (a.to_owned(), b.to_owned())).collect();
            assert_eq!(found, expected, "{query}");
        }
    }

    #[test]
    fn parameters_are_cut_out() {
        for (target, expected) in [
            ("/a", "/a"),
            ("/a?", "/a?"),
            ("/a?k", "/a"),
            ("/a?k=1", "/a"),
            ("/a?k=1&k=2", "/a"),
            ("/a?x=%20+&k=1&&y", "/a?x=%20+&&y"),
            ("/a?%6b=1&kk=2", "/a?kk=2"),
            ("/k?x=k", "/k?x=k"),
        ] {
            assert_eq!(without_parameter(target, "k"), expected, "{target}");
        }
    }

    #[test]
    fn percent_signs_are_written_and_read() {
        assert_eq!(percent_encode("a b/é~"), "a%20b%2F%C3%A9~");
        assert_eq!(percent_decode("a+b%2fc%"), "a+b/c%");
    }

    proptest! {
        #[test]
        fn encoding_reads_back(text in any::<String>()) {
            prop_assert_eq!(percent_decode(&percent_encode(&text)), text);
        }

        #[test]
        fn no_text_panics(text in any::<String>()) {
            drop(UpstreamUrl::parse("", &format!("http://{text}")));
            prop_assert!(parameters(&text).count() <= text.len());
            without_parameter(&text, &text);
        }
    }
}
