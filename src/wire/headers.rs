//! Header fields (RFC 9110 §5): names, case, order and bytes as they came. What a field means for a message stands in `head.rs`.

/// Header fields in the order and case in which they came. Values are bytes: RFC 9110 §5.5 allows more than ASCII.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers(pub Vec<(String, Vec<u8>)>);

/// The fields that end at the next hop (RFC 9110 §7.6.1), besides those that `Connection` names.
const HOP_BY_HOP: [&str; 6] = ["Connection", "Proxy-Connection", "Keep-Alive", "TE", "Transfer-Encoding", "Upgrade"];

impl Headers {
    /// The first value of a field, as text if it is UTF-8. Names are compared without case.
    pub fn get(&self, name: &str) -> Option<&str> {
        let (_, value) = self.0.iter().find(|(n, _)| n.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(value).ok()
    }

    /// Every value of a field.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter(move |(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, v)| v.as_slice())
    }

    /// The members of the comma-separated list of a field, all its lines together, without spaces around them; empty ones are skipped.
    pub fn list<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        self.all(name).flat_map(|value| value.split(|&b| b == b',')).map(<[u8]>::trim_ascii).filter(|member| !member.is_empty())
    }

    /// Whether the comma-separated list of a field (all its lines together) has a member, compared without case.
    pub fn has_token(&self, name: &str, token: &str) -> bool {
        self.list(name).any(|member| member.eq_ignore_ascii_case(token.as_bytes()))
    }

    /// Adds a field at the end.
    pub fn push(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        self.0.push((name.to_owned(), value.into()));
    }

    /// Puts a field in the place of the first of its name (further ones go), or at the end.
    pub fn set(&mut self, name: &str, value: impl Into<Vec<u8>>) {
        let Some(at) = self.0.iter().position(|(n, _)| n.eq_ignore_ascii_case(name)) else { return self.push(name, value) };
        self.0[at] = (name.to_owned(), value.into());
        let mut place = 0;
        self.0.retain(|(n, _)| {
            place += 1;
            place <= at + 1 || !n.eq_ignore_ascii_case(name)
        });
    }

    /// Removes every field of this name.
    pub fn remove(&mut self, name: &str) {
        self.0.retain(|(n, _)| !n.eq_ignore_ascii_case(name));
    }

    /// The fields without the hop-by-hop ones: those of RFC 9110 §7.6.1 and those that `Connection` names; `kept` ones stay.
    /// `Host` and `Content-Length` stay even where `Connection` names them: the message would mean something else without them.
    pub fn end_to_end(&self, kept: &[&str]) -> Self {
        let stays = |name: &str| {
            let is = |other: &&str| name.eq_ignore_ascii_case(other);
            let stays = ["Host", "Content-Length"].iter().chain(kept).any(is);
            stays || !(is_hop_by_hop(name) || self.has_token("Connection", name))
        };
        Self(self.0.iter().filter(|(name, _)| stays(name)).cloned().collect())
    }

    /// Appends the fields and the empty line. What a parser of ours never gives, but a file of recorded fields may hold,
    /// does no harm: a name that is no token is left out, a control byte in a value becomes a space (RFC 9110 §5.5).
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        for (name, value) in &self.0 {
            if !is_token(name.as_bytes()) {
                continue;
            }
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            let start = out.len();
            out.extend_from_slice(value);
            for byte in &mut out[start..] {
                if byte.is_ascii_control() && *byte != b'\t' {
                    *byte = b' ';
                }
            }
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Whether a field of this name ends at the next hop (RFC 9110 §7.6.1), whatever `Connection` says.
pub fn is_hop_by_hop(name: &str) -> bool {
    HOP_BY_HOP.iter().any(|known| known.eq_ignore_ascii_case(name))
}

/// Whether `text` is a token (RFC 9110 §5.6.2).
pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(fields: &[(&str, &str)]) -> Headers {
        Headers(fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect())
    }

    #[test]
    fn fields_are_found_without_case() {
        let all = headers(&[("Accept", "a"), ("X-One", "1"), ("accept", "b, C ,,")]);
        assert_eq!(all.get("ACCEPT"), Some("a"));
        assert_eq!(all.get("none"), None);
        assert_eq!(all.all("accept").collect::<Vec<_>>(), [b"a".as_slice(), b"b, C ,,"]);
        assert_eq!(all.list("accept").collect::<Vec<_>>(), [b"a", b"b", b"C"]);
        assert!(all.has_token("Accept", "c") && all.has_token("Accept", "A") && !all.has_token("Accept", "b,"));
        assert_eq!(Headers(vec![("X".into(), vec![0xff])]).get("x"), None);
    }

    #[test]
    fn setting_keeps_the_place_of_the_first() {
        let mut all = headers(&[("A", "1"), ("Host", "x"), ("B", "2"), ("host", "y")]);
        all.set("Host", "z");
        all.set("C", "3");
        assert_eq!(all, headers(&[("A", "1"), ("Host", "z"), ("B", "2"), ("C", "3")]));
        all.remove("HOST");
        assert_eq!(all, headers(&[("A", "1"), ("B", "2"), ("C", "3")]));
    }

    #[test]
    fn hop_by_hop_fields_go() {
        let all = headers(&[
            ("Host", "x"),
            ("Connection", "keep-alive, X-Mine, Host, content-length"),
            ("Keep-Alive", "5"),
            ("te", "trailers"),
            ("x-mine", "1"),
            ("Upgrade", "h2c"),
            ("Transfer-Encoding", "chunked"),
            ("Content-Length", "3"),
            ("Proxy-Connection", "close"),
            ("Proxy-Authenticate", "Basic"),
            ("X-Other", "2"),
        ]);
        let end_to_end = [("Host", "x"), ("Content-Length", "3"), ("Proxy-Authenticate", "Basic"), ("X-Other", "2")];
        assert_eq!(all.end_to_end(&[]), headers(&end_to_end));
        assert_eq!(all.end_to_end(&["upgrade"]).get("Upgrade"), Some("h2c"));
    }

    #[test]
    fn written_fields_cannot_split_a_message() {
        let mut out = Vec::new();
        headers(&[("A", "1\r\nB: 2"), ("C D", "3"), ("", "4"), ("E\r\n", "5"), ("F", "a\tb\0")]).write(&mut out);
        assert_eq!(out, b"A: 1  B: 2\r\nF: a\tb \r\n\r\n");
    }
}
