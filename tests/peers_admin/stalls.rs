//! Peers on the admin port that stand still, and so many of them that all its places are taken: each ends by its limit, and then others
//! are served.

use serde_json::json;

use crate::peers_http::crowds::settled;
use crate::peers_http::stalls::trickle;
use crate::support::http::{Conn, ask};
use crate::support::usage::Usage;
use crate::support::{Server, recordings, wait};

/// Connections on the admin port at once.
const PLACES: usize = 256;

#[test]
fn a_head_that_comes_byte_by_byte_is_408_and_empty_lines_earn_nothing() {
    let server = Server::builder().option("--head-timeout", 300).option("--idle-timeout", 300).start();
    let answer = trickle(server.admin, &[b"GET /health".as_slice(), &b"x".repeat(9_000)].concat());
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("300 ms"), "{answer}");
    assert_eq!(trickle(server.admin, b"\r\n"), "");
    assert_eq!(Conn::open(server.admin).read_to_end(), b"", "one that never asked");
}

/// A short body, a long one, an import, in any framing.
#[test]
fn a_call_whose_body_stands_still_is_408_and_is_not_made() {
    let server = Server::builder().option("--head-timeout", 300).start();
    let before = settled(&server);
    let begun = json!({"protocol": "sse", "path": "/x"}).to_string();
    for target in ["/stream-recordings/start", "/stream-recordings/import", "/nothing"] {
        for framing in
            ["Content-Length: 500", "Content-Length: 500000", "Transfer-Encoding: chunked", "Expect: 100-continue\r\nContent-Length: 500"]
        {
            let mut conn = Conn::open(server.admin);
            let chunk = if framing.starts_with('T') { format!("{:x}\r\n", begun.len()) } else { String::new() };
            conn.send(format!("POST {target} HTTP/1.1\r\nHost: localhost\r\n{framing}\r\n\r\n"));
            if framing.starts_with('E') {
                assert_eq!(conn.head().status(), 100);
            }
            conn.send(format!("{chunk}{begun}"));
            conn.answer("POST").expect_error(408, "timeout", &["request body", "300 ms"]);
            assert_eq!(conn.read_to_end(), b"");
        }
    }
    assert_eq!(server.get("/stream-recordings/sessions")["sessions"], json!([]));
    Usage::back_to(server.pid, &Usage { threads: before.threads + 2, ..before });
}

#[test]
fn an_import_that_comes_byte_by_byte_is_408() {
    let server = Server::builder().option("--head-timeout", 300).start();
    let mut conn = Conn::open(server.admin);
    conn.send("POST /stream-recordings/import HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n");
    conn.stream.set_read_timeout(Some(std::time::Duration::from_millis(20))).expect("a time-out");
    let mut buffer = [0; 4096];
    let answer = (0..5_000).find_map(|_| {
        drop(conn.write(b" "));
        conn.read(&mut buffer).ok()
    });
    let read = answer.expect("5,000 bytes were borne");
    assert!(buffer[..read].starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&buffer[..read]));
}

/// A body that is large and comes steadily has all the time that it takes: silences count, not the whole.
#[test]
fn an_import_that_takes_longer_than_a_silence_may_is_taken() {
    let server = Server::builder().option("--head-timeout", 500).start();
    let recording = recordings::sse("/x").data(0, &"x".repeat(400_000)).end("server", 1).json().to_string();
    let mut conn = Conn::open(server.admin);
    conn.send(format!("POST /stream-recordings/import HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n", recording.len()));
    for piece in recording.as_bytes().chunks(40_000) {
        conn.send(piece);
        // Waits for an answer that does not come yet.
        conn.stream.set_read_timeout(Some(std::time::Duration::from_millis(100))).expect("a time-out");
        assert!(std::io::Read::read(&mut conn.stream, &mut []).is_ok());
        std::thread::park_timeout(std::time::Duration::from_millis(100));
    }
    conn.stream.set_read_timeout(Some(wait::DEADLINE)).expect("a time-out");
    conn.answer("POST").expect(201);
}

#[test]
fn a_reader_that_takes_nothing_loses_its_answer_and_its_place() {
    let server = Server::builder().option("--stall-timeout", 1_000).start();
    let id = recordings::sse("/x").data(0, &"x".repeat(8 << 20)).end("server", 1).save(&server.place.data_dir());
    let before = settled(&server);
    let calls = [
        format!("GET /stream-recordings/{id}"),
        format!("GET /stream-recordings/{id}/frames"),
        format!("POST /stream-recordings/{id}/export"),
    ];
    let mut clients: Vec<Conn> = calls
        .iter()
        .map(|call| {
            let mut conn = Conn::open(server.admin);
            conn.send(format!("{call} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
            conn
        })
        .collect();
    wait::eventually("all calls to begin", || (Usage::of(server.pid).descriptors >= before.descriptors + 2 * calls.len()).then_some(()));
    Usage::back_to(server.pid, &Usage { threads: before.threads + 2, ..before });
    for conn in &mut clients {
        let rest = conn.read_to_end();
        assert!(
            rest.starts_with(b"HTTP/1.1 200 OK\r\n") && rest.len() < 8 << 20 && !rest.ends_with(b"\r\n0\r\n\r\n"),
            "{} bytes",
            rest.len()
        );
    }
    assert!(Usage::of(server.pid).rss_kib < before.rss_kib + 200 * 1024);
}

#[test]
fn all_places_taken_by_slow_callers_are_free_again_after_their_time() {
    let server = Server::builder().option("--head-timeout", 1_500).option("--idle-timeout", 1_500).start();
    let slow: Vec<Conn> = (0..PLACES)
        .map(|number| {
            let mut conn = Conn::open(server.admin);
            match number % 3 {
                0 => {}
                1 => conn.send("GET /health HTTP/1.1\r\nHo"),
                _ => conn.send("POST /stream-recordings/import HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{"),
            }
            conn
        })
        .collect();
    // Its request is written before the refusal is read.
    let answer = wait::eventually("a refusal", || {
        let answer = Conn::open(server.admin).ask("POST", "/stream-recordings/start", &[], &[b' '; 3_000]);
        (answer.status() == 503).then_some(answer)
    });
    assert!(answer.head.field("retry-after").is_some() && answer.json()["error"] == "too_many_connections", "{answer:?}");
    wait::eventually("a place", || (ask(server.admin, "GET", "/health", &[], b"").status() == 200).then_some(()));
    drop(slow);
}

/// A recording's replay that waits for its client without end.
fn pending(server: &Server) -> String {
    let id = recordings::ws("/nobody").s2c(0, "x").close("server", 1, 1000, "").save(&server.place.data_dir());
    server.replay(&id, &json!({"mode": "triggered", "timeout": 0}))
}

fn begin_calls(server: &Server, count: usize, call: &str) -> Vec<Conn> {
    let begin = |_| {
        let mut conn = Conn::open(server.admin);
        conn.send(format!("{call} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
        conn
    };
    (0..count).map(begin).collect()
}

/// With a reset: who only ends its sending half right behind its request waits for the answer.
fn leave(callers: Vec<Conn>) {
    callers.iter().for_each(|conn| mockd::base::platform::reset_at_close(&conn.stream).expect("a socket"));
}

/// Trap: calls that went on for nobody, each with a thread, descriptors and one of the places of all calls, the one that would have
/// ended their session among those that found none.
#[test]
fn a_call_that_waits_ends_when_its_caller_has_left() {
    let server = Server::start();
    let replay = pending(&server);
    let id = server.record("websocket", "/nobody-either");
    let under_way = || Usage::thread_names(server.pid).get("admin call").copied().unwrap_or(0);
    let mut callers = begin_calls(&server, 20, &format!("POST /replay/{replay}/advance"));
    callers.extend(begin_calls(&server, 20, &format!("GET /replay/{replay}?wait=ended&timeout=3600000")));
    callers.extend(begin_calls(&server, 20, &format!("GET /stream-recordings/{id}/frames?follow=true")));
    wait::eventually("all calls to begin", || (under_way() == 60).then_some(()));
    let mut staying = begin_calls(&server, 1, &format!("GET /replay/{replay}?wait=ended&timeout=3600000"));
    leave(callers);
    wait::eventually("their end", || (under_way() == 1).then_some(()));
    server.call("DELETE", &format!("/replay/{replay}"), &serde_json::Value::Null).expect(204);
    assert_eq!(staying[0].answer("GET").expect(200).json()["status"], "aborted");
}

/// Trap: one connection that the HTTP server behind the gate could not accept closed its listener for ever.
#[test]
fn a_server_of_few_descriptors_keeps_its_admin_port() {
    let server = Server::builder().open_files(400).start();
    let replay = pending(&server);
    let log = wait::eventually("the cap", || Some(server.log()).filter(|log| log.contains(" connections")));
    assert!(log.contains("at most 33 connections"), "{log}");
    let callers = begin_calls(&server, 130, &format!("GET /replay/{replay}?wait=ended&timeout=3600000"));
    wait::eventually("a refusal", || (ask(server.admin, "GET", "/health", &[], b"").status() == 503).then_some(()));
    let clients: Vec<Conn> = (0..33).map(|_| Conn::open(server.mock)).collect();
    leave(callers);
    wait::eventually("a place", || (ask(server.admin, "GET", "/health", &[], b"").status() == 200).then_some(()));
    assert!(!server.log().contains("inner"), "{}", server.log());
    drop(clients);
}

/// A flood of connections past the limit is no flood of the log; and what is told of a limit is the port's own.
#[test]
fn the_limit_of_the_admin_port_is_told_once_and_in_its_own_words() {
    let server = Server::builder().open_files(400).start();
    Usage::of_started(&server);
    let threads = || Usage::thread_names(server.pid).get("admin port").copied();
    let listening = wait::eventually("the end of the first calls", || threads().filter(|count| *count <= 2));
    let warnings = || server.log().matches("the admin port is at its limit").count();
    for round in 1..=2 {
        // Each has been served, so that each has its place.
        let places: Vec<Conn> = (0..25)
            .map(|_| {
                let mut conn = Conn::open(server.admin);
                conn.ask("GET", "/health", &[], b"").expect(200);
                conn
            })
            .collect();
        for _ in 0..5 {
            let answer = Conn::open(server.admin).ask("GET", "/health", &[], b"");
            assert!(!answer.text().contains("--max-connections"), "{}", answer.text());
            answer.expect_error(503, "too_many_connections", &["admin port", "25 connections"]);
        }
        wait::eventually("the warning", || (warnings() == round).then_some(()));
        drop(places);
        wait::eventually("a place", || (ask(server.admin, "GET", "/health", &[], b"").status() == 200).then_some(()));
        wait::eventually("all places", || (threads() == Some(listening)).then_some(()));
    }
    assert_eq!(warnings(), 2);
}
