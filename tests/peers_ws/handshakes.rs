//! Handshakes that break RFC 6455 §4, a client's and an upstream's: what is answered, that it has a bound in time, and that no byte of
//! one side is taken for something else by the other.

use std::sync::mpsc::channel;

use serde_json::json;

use crate::support::http::Conn;
use crate::support::one_shot::OneShot;
use crate::support::recordings::ws;
use crate::support::server::Place;
use crate::support::upstream::Upstream;
use crate::support::ws::{BINARY, MASK, Raw, TEXT, frame};
use crate::support::{Server, wait};

use super::stage::Stage;

const KEY: &str = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
const UPGRADE: &str = "Host: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";

/// What a mock and a replay answer to a handshake of these lines.
#[test]
fn a_client_whose_handshake_is_none_is_told_why() {
    let mut stage = Stage::with(|server| server);
    let version = "Sec-WebSocket-Version: 13\r\n";
    let many = format!("Sec-WebSocket-Protocol: {}\r\n", vec!["p"; 20_000].join(","));
    let huge = format!("Sec-WebSocket-Protocol: {}\r\n", "p".repeat(70_000));
    let cases: [(&str, String, u16); 20] = [
        ("no key", format!("GET @ HTTP/1.1\r\n{UPGRADE}{version}"), 400),
        ("an empty key", format!("GET @ HTTP/1.1\r\n{UPGRADE}{version}Sec-WebSocket-Key: \r\n"), 400),
        ("a short key", format!("GET @ HTTP/1.1\r\n{UPGRADE}{version}Sec-WebSocket-Key: c2hvcnQ=\r\n"), 400),
        ("a long key", format!("GET @ HTTP/1.1\r\n{UPGRADE}{version}Sec-WebSocket-Key: {}\r\n", "A".repeat(24)), 400),
        ("two keys", format!("GET @ HTTP/1.1\r\n{UPGRADE}{version}{KEY}{KEY}"), 400),
        ("no version", format!("GET @ HTTP/1.1\r\n{UPGRADE}{KEY}"), 426),
        ("version 8", format!("GET @ HTTP/1.1\r\n{UPGRADE}{KEY}Sec-WebSocket-Version: 8\r\n"), 426),
        ("two versions", format!("GET @ HTTP/1.1\r\n{UPGRADE}{KEY}{version}{version}"), 426),
        ("no number", format!("GET @ HTTP/1.1\r\n{UPGRADE}{KEY}Sec-WebSocket-Version: thirteen\r\n"), 426),
        ("a body", format!("GET @ HTTP/1.1\r\n{UPGRADE}{KEY}{version}Content-Length: 5\r\n"), 400),
        ("a chunked body", format!("GET @ HTTP/1.1\r\n{UPGRADE}{KEY}{version}Transfer-Encoding: chunked\r\n"), 400),
        ("two lengths", format!("GET @ HTTP/1.1\r\n{UPGRADE}{KEY}{version}Content-Length: 0\r\nContent-Length: 1\r\n"), 400),
        ("both framings", format!("GET @ HTTP/1.1\r\n{UPGRADE}{KEY}{version}Content-Length: 0\r\nTransfer-Encoding: chunked\r\n"), 400),
        ("no host", format!("GET @ HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{version}{KEY}{huge}"), 431),
        ("a huge list of subprotocols", format!("GET @ HTTP/1.1\r\n{UPGRADE}{KEY}{version}{huge}"), 431),
        ("many subprotocols", format!("GET @ HTTP/1.1\r\n{UPGRADE}{KEY}{version}{many}"), 101),
        ("a length of nothing", format!("GET @ HTTP/1.1\r\n{UPGRADE}{KEY}{version}Content-Length: 0\r\n"), 101),
        ("no such version of HTTP", format!("GET @ HTTP/9.9\r\n{UPGRADE}{KEY}{version}"), 0),
        ("a line folded", format!("GET @ HTTP/1.1\r\n{UPGRADE}{KEY}{version}X-Long: a\r\n b\r\n"), 400),
        ("bare LF", format!("GET @ HTTP/1.1\n{UPGRADE}{KEY}{version}").replace("\r\n", "\n"), 400),
    ];
    for path in ["/mock/x", "/triggered/x"] {
        for (what, head, status) in &cases {
            let mut conn = Conn::open(stage.server.mock);
            let end = if *what == "bare LF" { "\n" } else { "\r\n" };
            // What follows the head must never be answered as a request of its own.
            conn.send(format!("{}{end}", head.replace('@', path)));
            let answer = conn.answer("GET");
            match status {
                0 => assert!((400..=505).contains(&answer.status()), "{what} at {path}: {:?}", answer.head),
                status => assert_eq!(answer.status(), *status, "{what} at {path}: {:?} {}", answer.head, answer.text()),
            }
            if *status == 426 {
                assert_eq!(answer.head.field("sec-websocket-version"), Some("13"), "{what}");
            }
        }
    }
    stage.check_bystander("handshakes");
    stage.check_log();
}

/// It was told that nothing serves the path, though a session waited there; it still does after it.
#[test]
fn a_handshake_that_must_fail_is_refused_where_a_session_or_a_recording_waits() {
    let server = Server::start();
    let id = ws("/session").s2c(0, "hello").save(&server.place.data_dir());
    let session = server.replay(&id, &json!({}));
    let place = Place::new();
    place.file("played.json", &ws("/played").s2c(0, "hello").json().to_string());
    let played = OneShot::with_command(&place, &["play", "played.json"], 0);
    let version = "Sec-WebSocket-Version: 13\r\n";
    for (mock, path) in [(server.mock, "/session"), (played.mock, "/played")] {
        for (fields, status) in [
            (KEY.to_owned(), 426),
            (format!("{KEY}Sec-WebSocket-Version: 8\r\n"), 426),
            (version.to_owned(), 400),
            (format!("{version}Sec-WebSocket-Key: abc\r\n"), 400),
            (format!("{version}{KEY}{KEY}"), 400),
        ] {
            let mut conn = Conn::open(mock);
            conn.send(format!("GET {path} HTTP/1.1\r\n{UPGRADE}{fields}\r\n"));
            let answer = conn.answer("GET").expect_error(status, "bad_handshake", &[]);
            assert_eq!(answer.head.field("sec-websocket-version"), (status == 426).then_some("13"), "{path}: {fields}");
        }
        Raw::open(mock, path).run("expect text hello");
    }
    assert_ne!(server.view(&session)["status"], "pending");
}

/// What is no handshake at all is a plain request, which a WebSocket mock does not take and the upstream answers for itself.
#[test]
fn what_asks_for_no_websocket_is_a_plain_request() {
    let upstream = Upstream::answering("HTTP/1.1 418 No Coffee\r\nContent-Length: 0\r\n\r\n");
    let server = Server::before(&upstream);
    for head in [
        format!("POST /x HTTP/1.1\r\n{UPGRADE}{KEY}Sec-WebSocket-Version: 13\r\n"),
        format!("GET /x HTTP/1.0\r\n{UPGRADE}{KEY}Sec-WebSocket-Version: 13\r\n"),
        format!("GET /x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\n{KEY}Sec-WebSocket-Version: 13\r\n"),
        format!("GET /x HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n{KEY}Sec-WebSocket-Version: 13\r\n"),
    ] {
        let mut conn = Conn::open(server.mock);
        conn.send(format!("{head}\r\n"));
        assert_eq!(conn.answer("GET").status(), 418, "{head}");
        // An upgrade is hop by hop: it is not asked of the upstream where it is none of ours.
        let seen = upstream.head();
        assert_eq!((seen.field("upgrade"), seen.field("connection").filter(|value| value.contains("pgrade"))), (None, None), "{head}");
    }
}

/// One side's body is the other side's frames: the request never gets to the upstream.
#[test]
fn a_handshake_with_a_body_is_refused_and_not_forwarded() {
    let upstream = Upstream::websocket(None, |mut raw| drop(raw.rest()));
    let server = Server::before(&upstream);
    let hidden = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";
    for framing in [format!("Content-Length: {}\r\n\r\n{hidden}", hidden.len()), "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n".to_owned()] {
        let mut conn = Conn::open(server.mock);
        conn.send(format!("GET /x HTTP/1.1\r\n{UPGRADE}{KEY}Sec-WebSocket-Version: 13\r\n{framing}"));
        let answer = conn.answer("GET");
        assert_eq!(answer.status(), 400, "{:?}", answer.head);
        assert!(answer.text().contains("a WebSocket handshake has no body"), "{}", answer.text());
        assert_eq!(conn.read_to_end(), b"", "nothing after it is a request");
    }
    assert!(upstream.is_unasked());
}

/// A client may not do so, but what it wrote comes after the handshake all the same, and in order.
#[test]
fn frames_that_come_with_the_handshake_are_not_lost() {
    let stage = Stage::with(|server| server);
    let early = [frame(0x80 | TEXT, Some(MASK), b"early"), frame(0x80 | BINARY, Some(MASK), &[7; 30_000])].concat();
    for path in ["/mock/early", "/client/early"] {
        let mut conn = Conn::open(stage.server.mock);
        let head = format!("GET {path} HTTP/1.1\r\n{UPGRADE}{KEY}Sec-WebSocket-Version: 13\r\n\r\n");
        conn.send([head.as_bytes(), &early].concat());
        if path.starts_with("/client") {
            assert_eq!(stage.upstream_end().conn.exact(early.len()), early);
            assert_eq!(conn.answer("GET").status(), 101);
        } else {
            assert_eq!(conn.answer("GET").status(), 101);
            let echoed = [frame(0x80 | TEXT, None, b"early"), frame(0x80 | BINARY, None, &[7; 30_000])].concat();
            assert_eq!(conn.exact(echoed.len()), echoed);
        }
    }
}

/// An upstream's answers, the status that the client gets, and words of the body.
#[test]
fn an_upstream_whose_handshake_is_none_is_not_relayed() {
    const ACCEPT: &str = "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    let good = format!("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{ACCEPT}");
    let cases: Vec<(&str, String, u16, &str)> = vec![
        ("a wrong key", good.replace("s3pP", "S3pP") + "\r\n", 502, "a wrong Sec-WebSocket-Accept"),
        ("no key", good.replace(ACCEPT, "") + "\r\n", 502, "a wrong Sec-WebSocket-Accept"),
        ("two keys", format!("{good}{ACCEPT}\r\n"), 502, "a wrong Sec-WebSocket-Accept"),
        ("no upgrade", good.replace("Upgrade: websocket\r\n", "") + "\r\n", 502, "no Upgrade: websocket"),
        ("another upgrade", good.replace(": websocket", ": h2c") + "\r\n", 502, "no Upgrade: websocket"),
        ("no connection", good.replace("Connection: Upgrade\r\n", "") + "\r\n", 502, "no Connection: Upgrade"),
        ("a plain answer", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi".into(), 200, "hi"),
        ("a redirect", "HTTP/1.1 302 Found\r\nLocation: /y\r\nContent-Length: 0\r\n\r\n".into(), 302, ""),
        ("garbage", "\x01\x02\x03 what is this?\r\n\r\n".into(), 502, "its response is no HTTP"),
        ("frames at once", "\u{1}\u{5}hello".into(), 502, "its response is no HTTP"),
        ("nothing", String::new(), 502, "closed the connection without a response"),
        ("half a head", good.clone(), 502, "closed the connection without a response"),
        ("a head that is too long", format!("{good}X: {}\r\n\r\n", "x".repeat(70_000)), 502, "its response head is too large"),
        ("interim answers first", format!("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n{good}\r\n"), 101, ""),
        ("an extension that nobody offered", format!("{good}Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"), 101, ""),
        ("a subprotocol that nobody offered", format!("{good}Sec-WebSocket-Protocol: surprise\r\n\r\n"), 101, ""),
    ];
    for (what, bytes, status, words) in cases {
        let upstream = Upstream::http(move |_, mut conn| {
            conn.send(&bytes);
            conn.shut_write();
            drop(conn.read_to_end());
        });
        let server = Server::builder().upstream(upstream.url()).option("--connect-timeout", 20_000).start();
        let id = server.record("websocket", "/x");
        match Raw::try_open(server.mock, "/x", &[]) {
            Ok(mut raw) => {
                assert_eq!(status, 101, "{what}");
                // Extensions are never agreed on (frames that use one would break the protocol); what subprotocol was meant is the
                // client's matter.
                assert_eq!(raw.head.field("sec-websocket-extensions"), None, "{what}");
                let chosen = raw.head.field("sec-websocket-protocol");
                assert_eq!(chosen, what.starts_with("a subprotocol").then_some("surprise"), "{what}");
                raw.expect_end();
            }
            Err(answer) => {
                assert_eq!(answer.status(), status, "{what}: {:?} {}", answer.head, answer.text());
                assert!(answer.text().contains(words), "{what}: {}", answer.text());
                let stopped = server.stop(&id);
                assert_eq!(stopped["recording"]["frameCount"], 0, "{what}: a refusal leaves the session waiting");
            }
        }
        assert!(!server.log().contains("panicked"));
    }
}

/// Each of them would wait for ever if it could.
#[test]
fn an_upstream_that_does_not_come_to_the_end_of_its_handshake_is_given_up() {
    /// What it sends first, and then again and again.
    const SLOW: [(&str, &str, &str); 4] = [
        ("nothing", "", ""),
        ("half a head", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: web", ""),
        ("a head that never ends", "HTTP/1.1 101 Switching Protocols\r\n", "X"),
        ("interim answers without end", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 102 Processing\r\n\r\n"),
    ];
    for (what, first, again) in SLOW {
        let (sender, ended) = channel();
        let upstream = Upstream::http(move |_, mut conn| {
            conn.send(first);
            conn.stream.set_read_timeout(Some(std::time::Duration::from_millis(20))).expect("a time-out");
            // As long as mockd stays: a read that is over in time says that it has gone.
            let mut one = [0];
            while matches!(conn.read(&mut one), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock) {
                if std::io::Write::write_all(&mut conn.stream, again.as_bytes()).is_err() {
                    break;
                }
            }
            sender.send(()).expect("the test waits");
        });
        let server = Server::builder().upstream(upstream.url()).option("--connect-timeout", 200).start();
        let answer = Raw::try_open(server.mock, "/x", &[]).expect_err(what);
        answer.expect_error(504, "gateway_timeout", &["did not answer the handshake within 200 ms"]);
        wait::next("the end at the upstream", &ended);
    }
}

/// A client that leaves while the upstream thinks about its handshake is not waited for.
#[test]
fn a_client_that_leaves_in_mid_handshake_ends_it_at_the_upstream() {
    let (sender, seen) = channel();
    let upstream = Upstream::http(move |_, mut conn| {
        sender.send("asked").expect("the test waits");
        drop(conn.read_to_end());
        sender.send("left").expect("the test waits");
    });
    let server = Server::builder().upstream(upstream.url()).option("--connect-timeout", 60_000).start();
    let mut conn = Conn::open(server.mock);
    conn.send(format!("GET /x HTTP/1.1\r\n{UPGRADE}{KEY}Sec-WebSocket-Version: 13\r\n\r\n"));
    assert_eq!(wait::next("the request", &seen), "asked");
    drop(conn);
    assert_eq!(wait::next("its end", &seen), "left");
}
