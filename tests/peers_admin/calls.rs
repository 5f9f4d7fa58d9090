//! Calls with one meaning, and with more than one: the first are made once, as they stand; the others are refused and not made.

use serde_json::{Value, json};

use crate::peers_http::requests::expect_refusal;
use crate::peers_http::tables;
use crate::support::Server;
use crate::support::http::{Conn, ask};

/// The recording sessions that calls have opened.
fn sessions(server: &Server) -> Vec<String> {
    let sessions = server.get("/stream-recordings/sessions");
    let paths = sessions["sessions"].as_array().expect("a list").iter();
    paths.map(|session| session["path"].as_str().expect("a path").to_owned()).collect()
}

fn start(path: &str) -> String {
    json!({"protocol": "sse", "path": path}).to_string()
}

#[test]
fn heads_without_one_meaning_are_refused() {
    let server = Server::start();
    for (bytes, status, code) in tables::heads() {
        expect_refusal(server.admin, &bytes, status, code);
    }
    assert_eq!(server.get("/health")["status"], "ok");
}

/// The hidden request is a call: whoever takes another length than the gate would make it.
#[test]
fn bodies_framed_in_two_ways_are_refused_and_no_call_is_made() {
    let server = Server::start();
    let body = start("/hidden");
    let hidden = format!("POST /stream-recordings/start HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    for (bytes, status, code) in tables::framings() {
        let text = String::from_utf8(bytes).expect("text").replace("POST /x", "POST /stream-recordings/start");
        let with_call = text.replace("GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n", &hidden);
        expect_refusal(server.admin, with_call.as_bytes(), status, code);
    }
    assert_eq!(sessions(&server), Vec::<String>::new());
}

#[test]
fn a_call_whose_chunks_are_wrong_is_not_made() {
    let server = Server::start();
    let body = start("/hidden");
    for chunks in tables::chunks() {
        let head = "POST /stream-recordings/start HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
        let first = format!("{:x}\r\n{body}\r\n", body.len());
        expect_refusal(server.admin, &[head.as_bytes(), first.as_bytes(), &chunks].concat(), 400, "bad_request");
    }
    assert_eq!(sessions(&server), Vec::<String>::new());
}

/// A body that is cut off is no body, also where what came of it reads as JSON.
#[test]
fn a_call_whose_body_breaks_off_is_not_made() {
    let server = Server::start();
    let body = start("/hidden");
    let length = body.len();
    for (framing, wire) in [
        (format!("Content-Length: {}", length + 1), body.clone()),
        (format!("Content-Length: {}", length + 100_000), body.clone()),
        ("Transfer-Encoding: chunked".to_owned(), format!("{:x}\r\n{body}", length + 1)),
        ("Transfer-Encoding: chunked".to_owned(), format!("{:x}\r\n{body}", length + 100_000)),
        ("Transfer-Encoding: chunked".to_owned(), format!("{length:x}\r\n{body}")),
        ("Transfer-Encoding: chunked".to_owned(), format!("{length:x}\r\n{body}\r\n")),
        ("Transfer-Encoding: chunked".to_owned(), format!("{length:x}\r\n{body}\r\n0\r\n")),
        ("Transfer-Encoding: chunked".to_owned(), format!("{length:x}\r\n{body}\r\n0\r\nT: 1\r\n")),
    ] {
        let mut conn = Conn::open(server.admin);
        conn.send(format!("POST /stream-recordings/start HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n{wire}"));
        conn.shut_write();
        conn.answer("POST").expect_error(400, "bad_request", &["broke off"]);
        assert_eq!(conn.read_to_end(), b"");
    }
    assert_eq!(sessions(&server), Vec::<String>::new());
}

/// Framings that are odd and have one meaning: the call gets its whole body, and the next call begins where it ends.
#[test]
fn a_call_is_made_as_its_framing_says() {
    let server = Server::start();
    for (number, (framing, pieces)) in [
        ("Content-Length: LENGTH", "BODY"),
        ("Content-Length: LENGTH, LENGTH", "BODY"),
        ("Content-Length: LENGTH\r\nContent-Length: LENGTH", "BODY"),
        ("Content-Length: 00LENGTH", "BODY"),
        ("Connection: Content-Length\r\nContent-Length: LENGTH", "BODY"),
        ("Transfer-Encoding: chunked", "HEX\r\nBODY\r\n0\r\n\r\n"),
        ("Transfer-Encoding: ,Chunked", "HEX\r\nBODY\r\n0\r\n\r\n"),
        ("Transfer-Encoding: chunked", "000000HEX ; a=\"b\"\r\nBODY\r\n00;c\r\nTrailer: x\r\nContent-Length: 3\r\n\r\n"),
        ("Transfer-Encoding: chunked", "1\r\n \r\nHEX\r\nBODY\r\n1\r\n \r\n0\r\n\r\n"),
        ("Connection: Transfer-Encoding\r\nTransfer-Encoding: chunked", "HEX\r\nBODY\r\n0\r\n\r\n"),
        ("Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: LENGTH", "BODY"),
        ("Expect: 100-continue\r\nContent-Length: LENGTH", "BODY"),
    ]
    .into_iter()
    .enumerate()
    {
        let body = start(&format!("/{number}"));
        let fill = |text: &str| {
            text.replace("LENGTH", &body.len().to_string()).replace("HEX", &format!("{:x}", body.len())).replace("BODY", &body)
        };
        let mut conn = Conn::open(server.admin);
        let head = format!("POST /stream-recordings/start HTTP/1.1\r\nHost: localhost\r\n{}\r\n\r\n", fill(framing));
        conn.send(format!("{head}{}GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n", fill(pieces)));
        let answer = conn.answer("POST").expect(201).json();
        assert_eq!(answer["path"], format!("/{number}"), "{framing}");
        assert_eq!(conn.answer("GET").json()["status"], "ok", "{framing}");
    }
    assert_eq!(sessions(&server).len(), 12);
}

#[test]
fn the_host_of_a_url_is_judged_as_the_host_field_is() {
    let server = Server::start();
    for (target, host, status) in [
        ("/replay", "localhost", 200),
        ("/replay", "evil.example", 403),
        ("http://localhost/replay", "localhost", 200),
        ("http://evil.example/replay", "localhost", 403),
        ("http://localhost/replay", "evil.example", 200),
    ] {
        let mut conn = Conn::open(server.admin);
        conn.send(format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
        assert_eq!(conn.answer("GET").status(), status, "{target} {host}");
    }
}

#[test]
fn what_the_inner_server_would_stumble_over_is_refused_before_it() {
    let server = Server::start();
    for (fields, status, code) in [
        ("X-A: \u{e9}\r\n", 400, "bad_request"),
        ("Expect: something\r\nContent-Length: 2\r\n", 417, "bad_request"),
        ("Content-Length: 2000000\r\n", 413, "too_large"),
        ("Content-Length: 18446744073709551615\r\n", 413, "too_large"),
    ] {
        let bytes = format!("POST /stream-recordings/start HTTP/1.1\r\nHost: localhost\r\n{fields}\r\n");
        expect_refusal(server.admin, bytes.as_bytes(), status, code);
    }
    let mut conn = Conn::open(server.admin);
    conn.send("POST /stream-recordings/start HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n");
    let piece = vec![b' '; 64 * 1024];
    // More than is allowed; what is refused in the middle may be cut off there.
    for _ in 0..17 {
        let chunk = [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat();
        if std::io::Write::write_all(&mut conn.stream, &chunk).is_err() {
            break;
        }
    }
    conn.answer("POST").expect_error(413, "too_large", &["1048576"]);
}

/// Trap: cookies of localhost are those of all its ports, and another program's may be of any bytes.
#[test]
fn a_cookie_of_another_port_locks_no_browser_out() {
    let server = Server::start();
    for path in ["/", "/health", "/stream-recordings"] {
        ask(server.admin, "GET", path, &[("Cookie", "name=\u{e9}"), ("cookie", "a=1")], b"").expect(200);
    }
    let other = ask(server.admin, "GET", "/health", &[("Cookie", "name=\u{e9}"), ("X-Other", "\u{e9}")], b"");
    other.expect_error(400, "bad_request", &["the header field X-Other of an admin call must be ASCII"]);
}

#[test]
fn pipelined_calls_are_answered_in_order() {
    let server = Server::start();
    let mut bytes = Vec::new();
    for number in 0..20 {
        let body = start(&format!("/{number}"));
        bytes.extend_from_slice(
            format!("POST /stream-recordings/start HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}\r\n", body.len())
                .as_bytes(),
        );
        bytes.extend_from_slice(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n");
    }
    let mut conn = Conn::open(server.admin);
    conn.send(&bytes);
    for number in 0..20 {
        assert_eq!(conn.answer("POST").expect(201).json()["path"], format!("/{number}"));
        assert_eq!(conn.answer("GET").json()["status"], "ok");
    }
}

#[test]
fn a_caller_that_breaks_off_at_any_byte_costs_its_own_connection_only() {
    let server = Server::start();
    let body = start("/broken");
    let call = format!(
        "POST /stream-recordings/start HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n",
        body.len()
    );
    for end in 0..call.len() {
        let mut conn = Conn::open(server.admin);
        conn.send(&call[..end]);
        if end % 2 == 0 {
            conn.shut_write();
            let rest = conn.read_to_end();
            assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400 "), "{end}: {}", String::from_utf8_lossy(&rest));
        } else {
            mockd::base::platform::reset_at_close(&conn.stream).expect("a socket");
        }
    }
    assert_eq!(sessions(&server), Vec::<String>::new());
    assert_eq!(server.call("GET", "/replay", &Value::Null).status(), 200);
    assert!(!server.log().contains("panicked") && !server.log().contains("ERROR"), "{}", server.log());
}
