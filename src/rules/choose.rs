//! Which mock takes a request: its path, its method, its conditions, and which of several is the most specific. It looks at what
//! it is given and knows no mock by name.

use super::pattern;
use crate::model::mock::Conditions;
use crate::model::recording::Protocol;
use crate::wire::head::RequestHead;
use crate::wire::url;

/// A request, as far as choosing a mock goes.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The protocol that it speaks; any HTTP request counts as an event stream's.
    pub protocol: Protocol,
    /// Its path as sent.
    pub path: &'a str,
    /// Its head.
    pub head: &'a RequestHead,
    /// The front of its body; `None` where nobody asked for it yet.
    pub body: Option<&'a [u8]>,
}

/// What a mock takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taker {
    /// The protocol.
    pub protocol: Protocol,
    /// The path or pattern.
    pub path: String,
    /// The method; HEAD goes with GET. A WebSocket has none.
    pub method: Option<String>,
    /// What else the request must have.
    pub conditions: Conditions,
}

/// Why a mock does not take a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfit<'a> {
    /// It is on another path.
    Path,
    /// It speaks the other protocol.
    Protocol,
    /// It is for this method.
    Method(&'a str),
    /// It wants this header field with another value, or at all.
    Header(&'a str),
    /// It wants this query parameter with another value, or at all.
    Query(&'a str),
    /// It wants something in the body that has not been read yet.
    BodyUnread,
    /// It wants something in the body that is not there.
    Body,
}

/// A condition of this value is met by any.
const ANY: &str = "*";

impl Taker {
    /// What is in the way of taking a request, the first of it; `None`: nothing.
    pub fn misfit(&self, wanted: Wanted<'_>) -> Option<Misfit<'_>> {
        if !pattern::matches(&self.path, wanted.path) {
            return Some(Misfit::Path);
        }
        if self.protocol != wanted.protocol {
            return Some(Misfit::Protocol);
        }
        if let Some(method) = self.method.as_deref().filter(|_| !self.is_for_method(&wanted.head.method)) {
            return Some(Misfit::Method(method));
        }
        let Conditions { headers, query_params, body_contains } = &self.conditions;
        let has_field = |name: &str, value: &str| wanted.head.headers.all(name).any(|sent| value == ANY || sent == value.as_bytes());
        if let Some((name, _)) = headers.iter().find(|(name, value)| !has_field(name, value)) {
            return Some(Misfit::Header(name));
        }
        let query = wanted.head.query().unwrap_or_default();
        let has_parameter = |name: &str, value: &str| url::parameters(query).any(|(n, sent)| n == name && (value == ANY || sent == value));
        if let Some((name, _)) = query_params.iter().find(|(name, value)| !has_parameter(name, value)) {
            return Some(Misfit::Query(name));
        }
        match (body_contains, wanted.body) {
            (None, _) => None,
            (Some(_), None) => Some(Misfit::BodyUnread),
            (Some(text), Some(body)) => (!String::from_utf8_lossy(body).contains(text.as_str())).then_some(Misfit::Body),
        }
    }

    /// Whether it takes requests of this method.
    pub fn is_for_method(&self, method: &str) -> bool {
        let is = |own: &String| own.eq_ignore_ascii_case(method) || (method == "HEAD" && own.eq_ignore_ascii_case("GET"));
        self.method.as_ref().is_none_or(is)
    }

    /// How specific it is; of two that take a request the greater one does.
    fn rank(&self) -> (bool, usize, usize) {
        let (exact, len) = pattern::rank(&self.path);
        (exact, len, self.conditions.count())
    }
}

/// The index of the one that takes a request: the most specific path, then the most conditions, then the first.
pub fn choose<'a>(takers: impl IntoIterator<Item = &'a Taker>, wanted: Wanted<'_>) -> Option<usize> {
    let mut best: Option<(usize, (bool, usize, usize))> = None;
    for (index, taker) in takers.into_iter().enumerate() {
        let rank = taker.rank();
        if best.is_none_or(|(_, known)| rank > known) && taker.misfit(wanted).is_none() {
            best = Some((index, rank));
        }
    }
    best.map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn taker(path: &str, method: &str, headers: &[(&str, &str)], query: &[(&str, &str)], body: Option<&str>) -> Taker {
        let conditions = Conditions { headers: pairs(headers), query_params: pairs(query), body_contains: body.map(str::to_owned) };
        Taker { protocol: Protocol::Sse, path: path.to_owned(), method: Some(method.to_owned()), conditions }
    }

    fn head(method: &str, target: &str) -> RequestHead {
        let text = format!("{method} {target} HTTP/1.1\r\nHost: a\r\nX-Tenant: one\r\nX-Tenant: two\r\n\r\n");
        RequestHead::parse(text.as_bytes()).unwrap().unwrap().0
    }

    fn wanted<'a>(head: &'a RequestHead, body: Option<&'a [u8]>) -> Wanted<'a> {
        Wanted { protocol: Protocol::Sse, path: head.path(), head, body }
    }

    #[test]
    fn everything_that_a_mock_names_must_be_there() {
        let get = head("GET", "/a?room=red%20fish&x=&x=2");
        let none: &[(&str, &str)] = &[];
        for (taker, expected) in [
            (taker("/a", "GET", none, none, None), None),
            (taker("/*", "GET", none, none, None), None),
            (taker("/b", "GET", none, none, None), Some("Path")),
            (taker("/A", "GET", none, none, None), Some("Path")),
            (taker("/a", "get", none, none, None), None),
            (taker("/a", "POST", none, none, None), Some("Method(\"POST\")")),
            (taker("/a", "GET", &[("x-tenant", "one")], none, None), None),
            (taker("/a", "GET", &[("X-Tenant", "two")], none, None), None),
            (taker("/a", "GET", &[("X-Tenant", "Two")], none, None), Some("Header(\"X-Tenant\")")),
            (taker("/a", "GET", &[("X-Tenant", "*")], none, None), None),
            (taker("/a", "GET", &[("X-Other", "*")], none, None), Some("Header(\"X-Other\")")),
            (taker("/a", "GET", none, &[("room", "red fish")], None), None),
            (taker("/a", "GET", none, &[("room", "red")], None), Some("Query(\"room\")")),
            (taker("/a", "GET", none, &[("x", ""), ("x", "2")], None), None),
            (taker("/a", "GET", none, &[("X", "*")], None), Some("Query(\"X\")")),
            (taker("/a", "GET", none, none, Some("cat")), None),
            (taker("/a", "GET", none, none, Some("dog")), Some("Body")),
        ] {
            let misfit = taker.misfit(wanted(&get, Some(b"\xff concatenated"))).map(|misfit| format!("{misfit:?}"));
            assert_eq!(misfit.as_deref(), expected, "{taker:?}");
        }
    }

    #[test]
    fn a_body_is_asked_for_when_all_else_fits() {
        let (get, post) = (head("GET", "/a"), head("POST", "/a"));
        let reads = taker("/a", "POST", &[], &[], Some("x"));
        assert_eq!(reads.misfit(wanted(&post, None)), Some(Misfit::BodyUnread));
        assert_eq!(reads.misfit(wanted(&get, None)), Some(Misfit::Method("POST")));
    }

    #[test]
    fn head_goes_with_get() {
        let asks = head("HEAD", "/a");
        for (method, taken) in [("GET", true), ("HEAD", true), ("POST", false)] {
            assert_eq!(taker("/a", method, &[], &[], None).misfit(wanted(&asks, None)).is_none(), taken, "{method}");
        }
        assert!(!taker("/a", "HEAD", &[], &[], None).is_for_method("GET"));
    }

    #[test]
    fn the_other_protocol_is_not_taken() {
        let get = head("GET", "/a");
        let socket = Wanted { protocol: Protocol::WebSocket, ..wanted(&get, None) };
        assert_eq!(taker("/a", "GET", &[], &[], None).misfit(socket), Some(Misfit::Protocol));
    }

    #[test]
    fn the_most_specific_path_wins_then_more_conditions_then_the_first() {
        let any = |path: &str| taker(path, "GET", &[], &[], None);
        let room = |path: &str| taker(path, "GET", &[], &[("room", "1")], None);
        let get = head("GET", "/a/b?room=1");
        for (takers, expected) in [
            (vec![any("/*"), any("/a/*"), any("/a/b")], Some(2)),
            (vec![room("/*"), any("/a/*")], Some(1)),
            (vec![any("/a/b"), room("/a/b"), room("/a/b")], Some(1)),
            (vec![any("/a/b"), any("/a/b")], Some(0)),
            (vec![taker("/a/b", "POST", &[], &[], None), any("/*")], Some(1)),
            (vec![taker("/a/b", "GET", &[], &[("room", "2")], None), any("/*"), any("/*")], Some(1)),
            (vec![any("/b")], None),
            (vec![], None),
        ] {
            assert_eq!(choose(&takers, wanted(&get, None)), expected, "{takers:?}");
        }
    }
}
