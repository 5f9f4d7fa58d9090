//! Requests with one meaning, and with more than one: what the upstream gets of each, byte for byte.

use super::tables;
use super::tap::{Heard, Tap};
use crate::support::http::Conn;
use crate::support::{Server, wait};

const AFTER: &[u8] = b"GET /after HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Sends what is to be refused, with a sound request behind it, and checks the refusal and that it is the last word.
#[track_caller]
pub fn expect_refusal(address: std::net::SocketAddr, bytes: &[u8], status: u16, code: &str) {
    let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    let mut conn = Conn::open(address);
    conn.send(bytes);
    // The refusal may be on its way already, and the connection ended.
    drop(std::io::Write::write_all(&mut conn.stream, AFTER));
    let answer = conn.answer("GET");
    assert_eq!((answer.status(), answer.json()["error"].as_str()), (status, Some(code)), "{shown:?}: {}", answer.text());
    assert_eq!(answer.head.field("connection"), Some("close"), "{shown:?}");
    assert_eq!(answer.head.field("content-type"), Some("application/json"), "{shown:?}");
    assert_eq!(String::from_utf8_lossy(&conn.read_to_end()), "", "{shown:?}");
}

#[test]
fn heads_without_one_meaning_are_refused_and_reach_nobody() {
    let tap = Tap::start();
    let server = Server::before(&tap.upstream);
    for (bytes, status, code) in tables::heads() {
        expect_refusal(server.mock, &bytes, status, code);
    }
    assert_eq!(tap.requests(), Vec::<Vec<u8>>::new());
    assert_eq!(Conn::open(server.mock).ask("GET", "/x", &[], b"").text(), "ok");
}

#[test]
fn bodies_framed_in_two_ways_are_refused_and_reach_nobody() {
    let tap = Tap::start();
    let server = Server::before(&tap.upstream);
    for (bytes, status, code) in tables::framings() {
        expect_refusal(server.mock, &bytes, status, code);
    }
    assert_eq!(tap.requests(), Vec::<Vec<u8>>::new());
}

#[test]
fn a_body_whose_chunks_are_wrong_is_no_whole_request_for_the_upstream() {
    let tap = Tap::start();
    let server = Server::before(&tap.upstream);
    for chunks in tables::chunks() {
        let head = b"POST /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
        expect_refusal(server.mock, &[head.as_slice(), &chunks].concat(), 400, "bad_request");
        let heard = tap.next();
        assert!(!heard.whole, "{:?} became {:?}", String::from_utf8_lossy(&chunks), String::from_utf8_lossy(&heard.bytes));
    }
    assert_eq!(tap.requests(), Vec::<Vec<u8>>::new());
}

/// What the client writes, and what the upstream gets; `HOST` stands for the upstream's authority.
#[test]
fn what_mockd_reads_as_one_request_is_what_the_upstream_gets() {
    let hidden = "GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let framed = |fields: &str, body: &str| format!("POST /x HTTP/1.1\r\nHost: h\r\n{fields}\r\n\r\n{body}");
    let sent = |fields: &str, body: &str| format!("POST /x HTTP/1.1\r\nHost: HOST\r\n{fields}\r\n\r\n{body}");
    let get = |target: &str| format!("GET {target} HTTP/1.1\r\nHost: HOST\r\n\r\n");
    let length = hidden.len();
    let table = [
        ("\r\n\r\n\r\nGET /x HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), get("/x")),
        ("GET http://example.com/x?y HTTP/1.1\r\nHost: other\r\n\r\n".to_owned(), get("/x?y")),
        ("GET HTTP://example.com HTTP/1.1\r\nHost: other\r\n\r\n".to_owned(), get("/")),
        ("GET /a/../%2e%2e//b;c?d=/%00 HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), get("/a/../%2e%2e//b;c?d=/%00")),
        ("GET /x HTTP/1.1\r\nHost:h\r\n\r\n".to_owned(), get("/x")),
        ("GET /x HTTP/1.1\r\nHost: \t h \t\r\n\r\n".to_owned(), get("/x")),
        ("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), "OPTIONS * HTTP/1.1\r\nHost: HOST\r\n\r\n".to_owned()),
        ("BREW-IT! /x HTTP/1.1\r\nHost: h\r\n\r\n".to_owned(), "BREW-IT! /x HTTP/1.1\r\nHost: HOST\r\n\r\n".to_owned()),
        (
            "GET /x HTTP/1.1\r\nHost: h\r\nA: \u{e9}\r\nA:\r\n\r\n".to_owned(),
            "GET /x HTTP/1.1\r\nHost: HOST\r\nA: \u{e9}\r\nA: \r\n\r\n".to_owned(),
        ),
        (framed("Content-Length: 5", "hello"), sent("Content-Length: 5", "hello")),
        (framed("Content-Length: 0", ""), sent("Content-Length: 0", "")),
        (framed("Content-Length: 5\r\nA: b\r\ncontent-length: 5", "hello"), sent("Content-Length: 5\r\nA: b", "hello")),
        (framed("Content-Length: 5, 5", "hello"), sent("Content-Length: 5", "hello")),
        (framed("Content-Length: 005", "hello"), sent("Content-Length: 5", "hello")),
        (framed("Connection: Content-Length\r\nContent-Length: 5", "hello"), sent("Content-Length: 5", "hello")),
        (
            framed("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked", "0\r\n\r\n"),
            sent("Transfer-Encoding: chunked", "0\r\n\r\n"),
        ),
        (framed(&format!("Content-Length: {length}"), hidden), sent(&format!("Content-Length: {length}"), hidden)),
        (framed("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n"), sent("Transfer-Encoding: chunked", "5\r\nhello\r\n0\r\n\r\n")),
        (framed("Transfer-Encoding: \t,CHUNKED,", "0\r\n\r\n"), sent("Transfer-Encoding: chunked", "0\r\n\r\n")),
        (
            framed("Transfer-Encoding: chunked", &format!("{length:X}\r\n{hidden}\r\n0\r\n\r\n")),
            sent("Transfer-Encoding: chunked", &format!("{length:X}\r\n{hidden}\r\n0\r\n\r\n")),
        ),
        (
            framed(
                "Transfer-Encoding: chunked",
                "0000000000000005;a=b;c=\"d;\\\"e\"\r\nhello\r\n000\r\nContent-Length: 9\r\nHost: x\r\n\r\n",
            ),
            sent(
                "Transfer-Encoding: chunked",
                "0000000000000005;a=b;c=\"d;\\\"e\"\r\nhello\r\n000\r\nContent-Length: 9\r\nHost: x\r\n\r\n",
            ),
        ),
        (
            "GET /x HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nok".to_owned(),
            "GET /x HTTP/1.1\r\nHost: HOST\r\nContent-Length: 2\r\n\r\nok".to_owned(),
        ),
    ];
    let tap = Tap::start();
    let server = Server::before(&tap.upstream);
    let authority = tap.upstream.address.to_string();
    for (bytes, wanted) in table {
        let mut conn = Conn::open(server.mock);
        conn.send([bytes.as_bytes(), AFTER].concat());
        assert_eq!((conn.answer("GET").status(), conn.answer("GET").status()), (200, 200), "{bytes:?}");
        let wanted = Heard { bytes: wanted.replace("HOST", &authority).into_bytes(), whole: true };
        let heard = tap.next();
        assert_eq!(String::from_utf8_lossy(&heard.bytes), String::from_utf8_lossy(&wanted.bytes), "{bytes:?}");
        assert_eq!(heard, wanted, "{bytes:?}");
        assert_eq!(tap.next().bytes, get("/after").replace("HOST", &authority).into_bytes(), "{bytes:?}");
    }
}

#[test]
fn a_client_of_http_1_0_is_answered_once() {
    let tap = Tap::start();
    let server = Server::before(&tap.upstream);
    for fields in ["", "Connection: keep-alive\r\n", "Host: h\r\n"] {
        let mut conn = Conn::open(server.mock);
        conn.send([format!("GET /x HTTP/1.0\r\n{fields}\r\n").as_bytes(), AFTER].concat());
        let answer = conn.answer("GET");
        assert_eq!((answer.text().as_str(), answer.head.field("connection")), ("ok", Some("close")), "{fields:?}");
        assert_eq!(conn.read_to_end(), b"", "{fields:?}");
    }
    assert_eq!(tap.requests().len(), 3);
}

/// A body behind a handshake would be frames for one reader, a body for another, the next request for a third.
#[test]
fn a_websocket_handshake_with_a_body_is_refused_and_its_body_is_no_request() {
    let tap = Tap::answering("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n");
    let server = Server::before(&tap.upstream);
    let upgrade = "GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let hidden = "GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let length = hidden.len();
    for (framing, body) in [
        (format!("Content-Length: {length}"), hidden.to_owned()),
        ("Transfer-Encoding: chunked".to_owned(), format!("{length:x}\r\n{hidden}\r\n0\r\n\r\n")),
    ] {
        expect_refusal(server.mock, format!("{upgrade}{framing}\r\n\r\n{body}").as_bytes(), 400, "bad_request");
    }
    assert_eq!(tap.requests(), Vec::<Vec<u8>>::new());
    // Without one, what follows a refused handshake is a request.
    let mut conn = Conn::open(server.mock);
    conn.send(format!("{upgrade}\r\n{hidden}"));
    assert_eq!((conn.answer("GET").status(), conn.answer("GET").status()), (403, 403));
    assert_eq!(tap.requests().len(), 2);
}

#[test]
fn pipelined_requests_are_answered_in_order_and_none_is_lost() {
    let tap = Tap::start();
    let server = Server::before(&tap.upstream);
    let mut bytes = Vec::new();
    for number in 0..40 {
        bytes.extend_from_slice(format!("POST /{number} HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc\r\n").as_bytes());
        bytes.extend_from_slice(format!("GET /{number} HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n").as_bytes());
    }
    let mut conn = Conn::open(server.mock);
    conn.send(&bytes);
    for number in 0..80 {
        assert_eq!(conn.answer("GET").text(), "ok", "answer {number}");
    }
    let targets: Vec<String> =
        tap.requests().iter().map(|bytes| String::from_utf8_lossy(bytes).split(' ').nth(1).unwrap().to_owned()).collect();
    let wanted: Vec<String> = (0..80).map(|at| format!("/{}", at / 2)).collect();
    assert_eq!(targets, wanted);
}

/// A request behind one whose answer is a stream waits for the end of that, or goes with the connection.
#[test]
fn a_request_behind_an_event_stream_is_answered_after_it_or_not_at_all() {
    let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n";
    let chunked: &'static str =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ndata: x\n\n\r\n0\r\n\r\n";
    let tap = Tap::answering(chunked);
    let server = Server::builder()
        .upstream(tap.upstream.url())
        .config("mocks:\n  - type: http\n    matcher: {path: /mock}\n    sse: {events: [{data: x}]}\n")
        .start();
    let mut conn = Conn::open(server.mock);
    conn.send([b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n".as_slice(), AFTER].concat());
    for _ in 0..2 {
        let answer = conn.answer("GET");
        assert!(answer.head.start.starts_with(&head[..12]), "{:?}", answer.head);
        assert_eq!(answer.text(), "data: x\n\n");
    }
    let mut conn = Conn::open(server.mock);
    conn.send([b"GET /mock HTTP/1.1\r\nHost: h\r\n\r\n".as_slice(), AFTER].concat());
    let answer = conn.answer("GET");
    assert_eq!((answer.text().as_str(), answer.head.field("connection")), ("data: x\n\n", Some("close")));
    assert_eq!(conn.read_to_end(), b"");
    assert_eq!(tap.requests().len(), 2, "the stream's and the one behind it");
}

#[test]
fn a_peer_that_breaks_off_at_any_byte_costs_its_own_connection_only() {
    let tap = Tap::start();
    let server = Server::before(&tap.upstream);
    let bytes = b"POST /x HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\nT: 1\r\n\r\n";
    for end in 0..bytes.len() {
        let mut conn = Conn::open(server.mock);
        conn.send(&bytes[..end]);
        if end % 2 == 0 {
            // With the end of its sending half; an answer is either none or a refusal.
            conn.shut_write();
            let rest = conn.read_to_end();
            assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400 "), "{end}: {}", String::from_utf8_lossy(&rest));
        } else {
            // With a reset, where the server has sent something that nobody read; with the end of both halves else.
            drop(conn);
        }
    }
    assert_eq!(tap.requests(), Vec::<Vec<u8>>::new());
    let mut conn = Conn::open(server.mock);
    conn.send(bytes);
    assert_eq!(conn.answer("POST").text(), "ok");
    wait::eventually("one connection", || {
        let open = server.call("GET", "/metrics", &serde_json::Value::Null).text();
        open.contains("\nmockd_connections 1\n").then_some(())
    });
}
