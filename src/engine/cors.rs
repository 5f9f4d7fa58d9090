//! CORS for what mockd itself answers on the mock port: the request's origin is echoed, with credentials allowed, unless a setting narrows it.

use crate::wire::head::{Headers, RequestHead, ResponseHead};

/// Adds the fields that let the request's page read the response, unless the response says itself which pages may.
pub fn allow(headers: &mut Headers, request: &RequestHead, only: Option<&str>) {
    let Some(origin) = request.headers.get("Origin") else { return };
    if headers.get("Access-Control-Allow-Origin").is_some() {
        return;
    }
    headers.push("Vary", "Origin");
    if only.is_none_or(|only| only == "*" || only.trim_end_matches('/').eq_ignore_ascii_case(origin)) {
        headers.push("Access-Control-Allow-Origin", origin);
        if headers.get("Access-Control-Allow-Credentials").is_none() {
            headers.push("Access-Control-Allow-Credentials", "true");
        }
    }
}

/// Whether the request asks for permission of another one.
pub fn is_preflight(request: &RequestHead) -> bool {
    request.method == "OPTIONS" && request.headers.get("Origin").is_some() && request.headers.get("Access-Control-Request-Method").is_some()
}

/// The answer to a preflight, with the fields that the one who serves the request gives itself (`own`); the origin is added like to
/// every answer, by [`allow`].
pub fn preflight(request: &RequestHead, own: &[(String, String)]) -> ResponseHead {
    let mut response = ResponseHead::new(204);
    own.iter().for_each(|(name, value)| response.headers.push(name, value.as_str()));
    for (asked, allowed) in [
        ("Access-Control-Request-Method", "Access-Control-Allow-Methods"),
        ("Access-Control-Request-Headers", "Access-Control-Allow-Headers"),
    ] {
        if let Some(value) = request.headers.get(asked).filter(|_| response.headers.get(allowed).is_none()) {
            response.headers.push(allowed, value);
        }
    }
    if response.headers.get("Access-Control-Max-Age").is_none() {
        response.headers.push("Access-Control-Max-Age", "600");
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(origin: &str) -> RequestHead {
        let headers = Headers(vec![("Origin".to_owned(), origin.as_bytes().to_vec())]);
        RequestHead { method: "GET".to_owned(), target: "/".to_owned(), minor_version: 1, headers }
    }

    fn allowed(origin: &str, only: Option<&str>) -> Option<String> {
        let mut headers = Headers::default();
        allow(&mut headers, &request(origin), only);
        headers.get("Access-Control-Allow-Origin").map(str::to_owned)
    }

    #[test]
    fn the_origin_is_echoed_unless_narrowed() {
        assert_eq!(allowed("http://a.test", None).as_deref(), Some("http://a.test"));
        assert_eq!(allowed("http://a.test", Some("http://a.test")).as_deref(), Some("http://a.test"));
        assert_eq!(allowed("http://b.test", Some("http://a.test")), None);
        assert_eq!(allowed("null", None).as_deref(), Some("null"));
    }
}
