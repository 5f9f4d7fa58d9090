//! How like a recording's request a live one is: by place (protocol, method, path), by its query, by its body. The live request is
//! redacted by the recording's own rules first, for that is how the recorded one was written. Which recording is played is not decided here.

use super::matching::Matcher;
use super::redact::Redactor;
use crate::model::pairs::Pairs;
use crate::model::recording::{Head, Protocol, StreamHead, decode};

/// A live request.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The protocol that it speaks; any HTTP request counts as an event stream's.
    pub protocol: Protocol,
    /// Its method; a WebSocket's counts for nothing.
    pub method: &'a str,
    /// Its path as sent.
    pub path: &'a str,
    /// Its query, decoded.
    pub query: &'a Pairs,
    /// The front of its body.
    pub body: &'a [u8],
}

/// How like it is; the greater the better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likeness {
    /// Protocol, method and path are those of the recording.
    Place,
    /// The query is, too.
    Query,
    /// Body and all.
    Same,
}

/// How like the recorded request of `head` this one is; `None` for one of another place. `matcher` compares the bodies.
pub fn likeness(head: &Head, request: &Request<'_>, rules: Option<&Redactor>, matcher: &Matcher) -> Option<Likeness> {
    if !is_at(head, request.protocol, request.method, request.path, rules) {
        return None;
    }
    let mut query = request.query.clone();
    if let Some(rules) = rules {
        rules.query(&mut query);
    }
    if sorted(&query) != sorted(&head.metadata.query) {
        return Some(Likeness::Place);
    }
    let StreamHead::Sse { request: recorded, .. } = &head.stream else { return Some(Likeness::Same) };
    let body = recorded.body.as_deref().and_then(|body| decode(body, recorded.encoding)).unwrap_or_default();
    let is_same = matcher.check_body(&body, recorded.truncated, request.body).is_ok();
    Some(if is_same { Likeness::Same } else { Likeness::Query })
}

/// Whether a request of this protocol, method and path is at the recording's place.
pub fn is_at(head: &Head, protocol: Protocol, method: &str, path: &str, rules: Option<&Redactor>) -> bool {
    let is_method = match &head.stream {
        StreamHead::WebSocket { .. } => true,
        StreamHead::Sse { request, .. } => request.method.eq_ignore_ascii_case(method),
    };
    let recorded = head.metadata.path.as_str();
    let is_path = || recorded == path || rules.and_then(|rules| rules.plain(path)).is_some_and(|redacted| redacted == recorded);
    head.protocol() == protocol && is_method && is_path()
}

/// Parameters by name; those of one name stay in their order, which may mean something.
fn sorted(query: &Pairs) -> Vec<(&str, &str)> {
    let mut all: Vec<(&str, &str)> = query.iter().collect();
    all.sort_by_key(|(name, _)| *name);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::recording::{Redaction, SseRequest};
    use crate::model::replay::Matching;
    use crate::rules::script::samples;

    fn query(pairs: &[(&str, &str)]) -> Pairs {
        let mut query = Pairs::default();
        pairs.iter().for_each(|(name, value)| query.add_parameter(name, (*value).to_owned()));
        query
    }

    fn post(parameters: &[(&str, &str)], body: &str) -> Head {
        let mut head = samples::head(Protocol::Sse, None);
        head.metadata.path = "/v1".to_owned();
        head.metadata.query = query(parameters);
        if let StreamHead::Sse { request, .. } = &mut head.stream {
            *request = SseRequest { method: "POST".to_owned(), body: Some(body.to_owned()), ..SseRequest::default() };
        }
        head
    }

    #[test]
    fn requests_are_told_apart_by_method_path_query_and_body() {
        let rules = Redaction {
            query: vec!["token".to_owned()],
            body_keys: vec!["pin".to_owned()],
            patterns: vec!["[0-9]{4}".to_owned()],
            redact_value: "[REDACTED]".to_owned(),
            ..Redaction::default()
        };
        let rules = Redactor::new(&rules).unwrap();
        let matcher = Matcher::new(Matching::Json, &[], Vec::new()).unwrap();
        let head = post(&[("a", "1"), ("token", "[REDACTED]")], "{\"q\":\"x\"}");
        let of = |method: &str, path: &str, parameters: &[(&str, &str)], body: &str| {
            let query = query(parameters);
            let request = Request { protocol: Protocol::Sse, method, path, query: &query, body: body.as_bytes() };
            likeness(&head, &request, Some(&rules), &matcher)
        };
        let full = [("token", "secret"), ("a", "1")];
        for (found, expected) in [
            (of("POST", "/v1", &full, "{ \"q\": \"x\" }"), Some(Likeness::Same)),
            (of("post", "/v1", &full, "{\"q\":\"x\"}"), Some(Likeness::Same)),
            (of("POST", "/v1", &full, "{\"q\":\"y\"}"), Some(Likeness::Query)),
            (of("POST", "/v1", &full, ""), Some(Likeness::Query)),
            (of("POST", "/v1", &[("a", "1")], "{\"q\":\"x\"}"), Some(Likeness::Place)),
            (of("GET", "/v1", &full, "{\"q\":\"x\"}"), None),
            (of("POST", "/v2", &full, "{\"q\":\"x\"}"), None),
        ] {
            assert_eq!(found, expected);
        }
        let mut redacted = post(&[], "");
        redacted.metadata.path = "/users/[REDACTED]".to_owned();
        assert!(is_at(&redacted, Protocol::Sse, "POST", "/users/1234", Some(&rules)));
        assert!(!is_at(&redacted, Protocol::Sse, "POST", "/users/12", Some(&rules)));
        assert!(!is_at(&redacted, Protocol::WebSocket, "POST", "/users/1234", Some(&rules)));
    }
}
