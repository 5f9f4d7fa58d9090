//! Tables of heads: what is read, what is refused, what is written. (Tests of `head.rs`.)

use proptest::prelude::*;

use super::*;

fn request(text: &[u8]) -> RequestHead {
    let (head, length) = RequestHead::parse(text).expect("a sound head").expect("a whole head");
    assert_eq!(length, text.len());
    head
}

fn refused(text: &[u8]) -> u16 {
    RequestHead::parse(text).expect_err(&String::from_utf8_lossy(text)).status
}

fn with_fields(fields: &str) -> RequestHead {
    request(format!("POST / HTTP/1.1\r\nHost: h\r\n{fields}\r\n").as_bytes())
}

fn response(text: &str) -> ResponseHead {
    ResponseHead::parse(text.as_bytes()).expect("a sound head").expect("a whole head").0
}

#[test]
fn a_head_is_kept_as_it_came() {
    let text = b"get /a?b=c&d HTTP/1.1\r\nHOST: x:1\r\nx-Odd:  \xe9\xff a\t\r\nEmpty:\r\nX-odd: 2\r\n\r\n";
    let head = request(text);
    assert_eq!((head.method.as_str(), head.path(), head.query(), head.minor_version), ("get", "/a", Some("b=c&d"), 1));
    assert_eq!(head.headers.0[1], ("x-Odd".to_owned(), b"\xe9\xff a".to_vec()));
    let mut out = Vec::new();
    head.write(&mut out);
    assert_eq!(out, b"get /a?b=c&d HTTP/1.1\r\nHOST: x:1\r\nx-Odd: \xe9\xff a\r\nEmpty: \r\nX-odd: 2\r\n\r\n");
}

#[test]
fn every_prefix_of_a_head_is_incomplete() {
    let text = b"\r\nGET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\r\n";
    for end in 0..text.len() {
        assert_eq!(RequestHead::parse(&text[..end]), Ok(None), "{end}");
    }
    assert!(RequestHead::parse(text).is_ok_and(|head| head.is_some_and(|(_, length)| length == text.len())));
    let text = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
    for end in 0..text.len() {
        assert_eq!(ResponseHead::parse(&text[..end]), Ok(None), "{end}");
    }
}

#[test]
fn what_smugglers_use_is_refused() {
    for (text, status) in [
        ("GET / HTTP/1.1\nHost: x\n\n", 400),
        ("GET / HTTP/1.1\n", 400),
        ("\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\nA: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nA: b\rC: d\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n Host: x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nA: b\0\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nA: \x7f\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nnothing\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: x y\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: u@x\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\nA: b\r\n\r\n", 400),
        ("GET  / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("G(T / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET /é HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET ftp://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET http:///x HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET http:// HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET http://u@x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET /x#y HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET /x  HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        ("GET /x y HTTP/2.0\r\nHost: x\r\n\r\n", 400),
        ("GET /\r\nHost: x\r\n\r\n", 400),
        ("GET / HTTPS\r\nHost: x\r\n\r\n", 400),
        ("CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 501),
        ("GET / HTTP/1.2\r\nHost: x\r\n\r\n", 505),
        ("GET / HTTP/2.0\r\nHost: x\r\n\r\n", 505),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
        ("\x16\x03\x01\x02\0", 400),
    ] {
        assert_eq!(refused(text.as_bytes()), status, "{text:?}");
    }
}

/// Heads of more fields than there is room for at first are read like all others, in any split, and so is what is wrong with them.
#[test]
fn a_head_of_many_fields_is_as_any_other() {
    for count in [1, 63, 64, 65, 66, 500] {
        let fields: String = (0..count).map(|at| format!("A{at}: {at}\r\n")).collect();
        let text = format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}\r\n");
        let head = request(text.as_bytes());
        assert_eq!(head.headers.0.len(), count + 1, "{count}");
        assert_eq!(head.headers.0[count], (format!("A{}", count - 1), (count - 1).to_string().into_bytes()), "{count}");
        assert_eq!(RequestHead::parse(&text.as_bytes()[..text.len() - 1]), Ok(None), "{count}");
        assert_eq!(refused(format!("GET / HTTP/1.1\r\n{fields}\r\n").as_bytes()), 400, "{count} and no Host");
        assert_eq!(refused(format!("GET / HTTP/1.1\r\nHost: x\r\n{fields}a b: c\r\n\r\n").as_bytes()), 400, "{count} and a bad name");
        let text = format!("HTTP/1.1 200 OK\r\n{fields}\r\n");
        assert_eq!(response(&text).headers.0.len(), count, "{count}");
        assert_eq!(ResponseHead::parse(&text.as_bytes()[..text.len() - 1]), Ok(None), "{count}");
    }
}

#[test]
fn too_many_fields_are_431() {
    let head = |count: usize| format!("GET / HTTP/1.1\r\nHost: x\r\n{}\r\n", "A: b\r\n".repeat(count - 1));
    assert_eq!(request(head(MAX_HEADERS).as_bytes()).headers.0.len(), MAX_HEADERS);
    assert_eq!(refused(head(MAX_HEADERS + 1).as_bytes()), 431);
}

#[test]
fn targets_become_path_and_query() {
    for (method, target, expected) in [
        ("GET", "/a/b?c", "/a/b?c"),
        ("GET", "//a", "//a"),
        ("GET", "/?", "/?"),
        ("GET", "http://h:1/a?b", "/a?b"),
        ("GET", "WS://h", "/"),
        ("GET", "https://h?a=/b", "/?a=/b"),
        ("OPTIONS", "*", "*"),
        ("OPTIONS", "http://h", "*"),
        ("GET", "/http://h/x", "/http://h/x"),
    ] {
        assert_eq!(request(format!("{method} {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).target, expected);
    }
}

#[test]
fn the_host_of_an_absolute_target_counts() {
    for (target, host, expected) in
        [("http://a:1/x", "h", "a:1"), ("ws://[::1]?x", "h:2", "[::1]"), ("/http://a/", "h", "h"), ("http://a", "", "a")]
    {
        let head = request(format!("GET {target} HTTP/1.1\r\nX: 1\r\nHost: {host}\r\n\r\n").as_bytes());
        assert_eq!(head.headers.all("Host").collect::<Vec<_>>(), [expected.as_bytes()], "{target}");
    }
    for target in ["http://me@h/", "http://h#@x/", "http://h\\@x/", "http:///x"] {
        assert_eq!(refused(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()), 400, "{target}");
    }
    let old = request(b"GET http://a HTTP/1.0\r\n\r\n");
    assert_eq!(old.headers.get("Host"), Some("a"));
}

#[test]
fn request_bodies_are_framed() {
    for (fields, expected) in [
        ("", Ok(Framing::None)),
        ("Content-Length: 0\r\n", Ok(Framing::Length(0))),
        ("content-length: 42\r\n", Ok(Framing::Length(42))),
        ("Content-Length: 7\r\nContent-Length: 7\r\n", Ok(Framing::Length(7))),
        ("Content-Length: 7, 7\r\n", Ok(Framing::Length(7))),
        ("Transfer-Encoding: Chunked\r\n", Ok(Framing::Chunked)),
        ("Transfer-Encoding: ,chunked\r\n", Ok(Framing::Chunked)),
        ("Content-Length: 7\r\nContent-Length: 8\r\n", Err(400)),
        ("Content-Length: 7,\r\n", Err(400)),
        ("Content-Length: +7\r\n", Err(400)),
        ("Content-Length: -7\r\n", Err(400)),
        ("Content-Length: 0x7\r\n", Err(400)),
        ("Content-Length: 7 7\r\n", Err(400)),
        ("Content-Length:\r\n", Err(400)),
        ("Content-Length: 99999999999999999999\r\n", Err(400)),
        ("Content-Length: 7\r\nTransfer-Encoding: chunked\r\n", Err(400)),
        ("Transfer-Encoding: chunked, chunked\r\n", Err(400)),
        ("Transfer-Encoding: chunked, gzip\r\n", Err(400)),
        ("Transfer-Encoding: identity\r\n", Err(400)),
        ("Transfer-Encoding: xchunked\r\n", Err(400)),
        ("Transfer-Encoding:\r\n", Err(400)),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", Err(501)),
    ] {
        assert_eq!(with_fields(fields).framing().map_err(|error| error.status), expected, "{fields:?}");
    }
    assert_eq!(request(b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n").framing().map_err(|e| e.status), Err(400));
}

#[test]
fn connections_are_kept_or_not() {
    for (text, kept) in [
        ("GET / HTTP/1.1\r\nHost: h\r\n\r\n", true),
        ("GET / HTTP/1.1\r\nHost: h\r\nConnection: x, Close\r\n\r\n", false),
        ("GET / HTTP/1.0\r\n\r\n", false),
        ("GET / HTTP/1.0\r\nConnection: Keep-Alive\r\n\r\n", true),
    ] {
        assert_eq!(request(text.as_bytes()).keep_alive(), kept, "{text:?}");
    }
}

#[test]
fn websocket_upgrades_are_known() {
    let head = |line: &str, connection: &str, upgrade: &str| {
        request(format!("{line}\r\nHost: h\r\nConnection: {connection}\r\nUpgrade: {upgrade}\r\n\r\n").as_bytes()).is_websocket_upgrade()
    };
    assert!(head("GET / HTTP/1.1", "keep-alive, Upgrade", "WebSocket"));
    assert!(!head("POST / HTTP/1.1", "Upgrade", "websocket"));
    assert!(!head("GET / HTTP/1.0", "Upgrade", "websocket"));
    assert!(!head("GET / HTTP/1.1", "close", "websocket"));
    assert!(!head("GET / HTTP/1.1", "Upgrade", "h2c"));
}

#[test]
fn responses_are_kept_as_they_came() {
    for (text, status, reason) in [
        ("HTTP/1.1 200 OK\r\n\r\n", 200, "OK"),
        ("HTTP/1.0 404 Not  here\r\nA: b\r\n\r\n", 404, "Not  here"),
        ("HTTP/1.1 299 é\r\n\r\n", 299, "é"),
        ("HTTP/1.1 204\r\n\r\n", 204, ""),
        ("HTTP/1.1 204 \r\n\r\n", 204, ""),
        ("HTTP/1.1 100 Continue\r\n\r\n", 100, "Continue"),
        ("HTTP/1.1 200 OK\nA: b\n\n", 200, "OK"),
    ] {
        let head = response(text);
        assert_eq!((head.status, head.reason.as_str()), (status, reason), "{text:?}");
    }
    for bad in [
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 042 OK\r\n\r\n",
        "HTTP/2 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n\r\n",
    ] {
        assert_eq!(ResponseHead::parse(bad.as_bytes()).map_err(|error| error.status), Err(502), "{bad:?}");
    }
    let mut out = Vec::new();
    let mut head = ResponseHead::new(503);
    head.headers.push("Retry-After", "1");
    head.write(&mut out);
    assert_eq!(out, b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n\r\n");
}

#[test]
fn response_bodies_are_framed() {
    for (method, text, expected) in [
        ("GET", "HTTP/1.1 200 OK\r\n\r\n", Ok(Framing::UntilClose)),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", Ok(Framing::Length(3))),
        ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", Ok(Framing::Chunked)),
        ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", Ok(Framing::None)),
        ("GET", "HTTP/1.1 204 No\r\nContent-Length: 3\r\n\r\n", Ok(Framing::None)),
        ("GET", "HTTP/1.1 304 No\r\nContent-Length: 3\r\n\r\n", Ok(Framing::None)),
        ("GET", "HTTP/1.1 101 Up\r\n\r\n", Ok(Framing::None)),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", Err(502)),
        ("GET", "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", Err(502)),
        ("GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", Err(502)),
    ] {
        assert_eq!(response(text).framing(method).map_err(|error| error.status), expected, "{method} {text:?}");
    }
}

#[test]
fn event_streams_are_known_by_their_type() {
    for (value, is) in [
        ("text/event-stream", true),
        ("Text/Event-Stream; charset=utf-8", true),
        ("text/event-stream;x", true),
        ("text/event-stream-x", false),
        ("application/json", false),
    ] {
        assert_eq!(response(&format!("HTTP/1.1 200 OK\r\nContent-Type: {value}\r\n\r\n")).is_event_stream(), is, "{value}");
    }
    assert!(!response("HTTP/1.1 200 OK\r\n\r\n").is_event_stream());
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for prefix in [&b""[..], b"GET / HTTP/1.1\r\nHost: x\r\n", b"HTTP/1.1 200 "] {
            let text = [prefix, &bytes].concat();
            if let Ok(Some((head, length))) = RequestHead::parse(&text) {
                prop_assert!(length <= text.len());
                drop(head.framing());
            }
            if let Ok(Some((head, length))) = ResponseHead::parse(&text) {
                prop_assert!(length <= text.len());
                drop(head.framing("GET"));
            }
        }
    }

    #[test]
    fn what_is_written_reads_back(target in "/[a-z0-9?&=%/]{0,20}", fields in proptest::collection::vec(("[A-Za-z-]{1,8}", "([!-~]([ -~]{0,10}[!-~])?)?"), 0..8)) {
        let mut headers = Headers::default();
        headers.push("Host", "h");
        for (name, value) in fields.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host")) {
            headers.push(name, value.as_str());
        }
        let head = RequestHead { method: "GET".into(), target, minor_version: 1, headers };
        let mut out = Vec::new();
        head.write(&mut out);
        let length = out.len();
        prop_assert_eq!(RequestHead::parse(&out), Ok(Some((head, length))));
    }
}
