//! Peers on the mock port that stand still: in a head, in a body, in reading. Each ends by its limit, or with the other side of its
//! exchange; none takes memory while it stands, and others are served.

use std::net::SocketAddr;
use std::sync::mpsc::channel;

use super::crowds::settled;
use crate::support::http::{Conn, ask};
use crate::support::stuck::{push_until_relay_sticks, reset};
use crate::support::upstream::{EVENT_STREAM, gate};
use crate::support::usage::Usage;
use crate::support::{Server, Upstream, recordings, wait};

/// Sends `bytes` one by one, with a short breath between them, until the peer ends the connection; what it answered.
#[track_caller]
pub fn trickle(address: SocketAddr, bytes: &[u8]) -> String {
    let mut conn = Conn::open(address);
    conn.stream.set_read_timeout(Some(std::time::Duration::from_millis(10))).expect("a time-out");
    let (mut answer, mut buffer) = (Vec::new(), [0; 4096]);
    for byte in bytes.iter().cycle().take(100_000) {
        // Once the peer has ended its side, what it sent before is still there to be read.
        drop(conn.write(&[*byte]));
        match conn.read(&mut buffer) {
            Ok(0) => return String::from_utf8_lossy(&answer).into_owned(),
            Ok(read) => answer.extend_from_slice(&buffer[..read]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&answer)),
        }
    }
    panic!("100,000 bytes were borne, one after the other");
}

#[test]
fn a_head_that_comes_byte_by_byte_is_408_from_its_first_byte_on() {
    let server = Server::builder().option("--head-timeout", 300).start();
    for bytes in [&b"GET /"[..], b"GET / HTTP/1.1\r\nHost: h\r\nA: ", b"x"] {
        let answer = trickle(server.mock, &[bytes, &b"x".repeat(9_000)].concat());
        assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("300 ms"), "{answer}");
    }
    assert_eq!(ask(server.mock, "GET", "/x", &[], b"").status(), 404);
}

/// Empty lines before a request line are no head, and they buy no time either.
#[test]
fn empty_lines_do_not_keep_an_idle_connection() {
    let server = Server::builder().option("--idle-timeout", 300).option("--head-timeout", 20_000).start();
    assert_eq!(trickle(server.mock, b"\r\n"), "");
}

/// A byte now and then is no progress: all silences of a body together have a bound.
#[test]
fn a_body_that_comes_byte_by_byte_ends_the_request_of_a_mock() {
    let config = "mocks:\n  - type: http\n    matcher: {method: POST, path: /plain}\n    response: {body: hello}\n  \
                  - type: http\n    matcher: {method: POST, path: /events}\n    sse: {events: [{data: x}]}\n  \
                  - type: http\n    matcher: {method: POST, path: /by-body, bodyContains: needle}\n    response: {body: hello}\n";
    let server = Server::builder().option("--head-timeout", 300).config(config).start();
    for target in ["/plain", "/events", "/by-body"] {
        let mut head = format!("POST {target} HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n").into_bytes();
        head.extend(std::iter::repeat_n(b'x', 90_000));
        let mut conn = Conn::open(server.mock);
        conn.send(&head[..head.len() - 90_000]);
        conn.stream.set_read_timeout(Some(std::time::Duration::from_millis(20))).expect("a time-out");
        let mut buffer = [0; 4096];
        let answer = (0..5_000).find_map(|_| {
            drop(conn.write(b"x"));
            conn.read(&mut buffer).ok()
        });
        let read = answer.unwrap_or_else(|| panic!("{target}: 5,000 bytes were borne"));
        let text = String::from_utf8_lossy(&buffer[..read]).into_owned();
        assert!(text.starts_with("HTTP/1.1 408 ") && text.contains("request body"), "{target}: {text}");
    }
}

/// How long an upload may take is the upstream's matter; it ends with it. `length` chooses a short body or a long one.
#[test]
fn an_upload_that_stands_still_ends_with_its_upstream() {
    let (go, gate) = gate();
    let upstream = Upstream::http(move |head, mut conn| {
        gate.wait();
        if head.target() == "/answered" {
            conn.send("HTTP/1.1 408 Request Timeout\r\nContent-Length: 4\r\n\r\nslow");
        }
    });
    let server = Server::before(&upstream);
    for framing in ["Content-Length: 10", "Content-Length: 1000000", "Transfer-Encoding: chunked"] {
        for (target, status) in [("/answered", 408), ("/closed", 502)] {
            let mut conn = Conn::open(server.mock);
            conn.send(format!("POST {target} HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n5"));
            assert_eq!(upstream.head().target(), target);
            go.send(()).unwrap();
            assert_eq!(conn.answer("POST").status(), status, "{framing} {target}");
            assert_eq!(conn.read_to_end(), b"", "{framing} {target}");
        }
    }
}

#[test]
fn an_upload_that_stands_still_ends_at_the_upstream_when_its_client_leaves() {
    let (tell, end) = channel();
    let upstream = Upstream::http(move |_, mut conn| {
        conn.read_to_end();
        tell.send(()).expect("the test runs");
    });
    let server = Server::before(&upstream);
    for framing in ["Content-Length: 10", "Content-Length: 1000000", "Transfer-Encoding: chunked"] {
        let mut conn = Conn::open(server.mock);
        conn.send(format!("POST /x HTTP/1.1\r\nHost: h\r\n{framing}\r\n\r\n5"));
        upstream.head();
        drop(conn);
        wait::next("the end of the request", &end);
    }
}

/// Bytes that a peer takes before it is stopped, above all buffers of two sockets and those between.
const GENEROUS: u64 = 64 << 20;

/// A relay is as fast as its client: what that does not read the upstream keeps.
#[test]
fn a_client_that_reads_nothing_holds_its_upstream_up_and_takes_no_memory() {
    let (tell, stopped) = channel();
    let upstream = Upstream::http(move |head, mut conn| {
        let piece = [b"data: ".as_slice(), &[b'x'; 65_520], b"\n\n"].concat();
        let (start, chunked) = match head.target() {
            "/events" => (EVENT_STREAM, true),
            _ => ("HTTP/1.1 200 OK\r\nContent-Length: 1000000000000\r\n\r\n", false),
        };
        conn.send(start);
        let frame = if chunked { [format!("{:x}\r\n", piece.len()).as_bytes(), &piece, b"\r\n"].concat() } else { piece };
        conn.stream.set_write_timeout(Some(std::time::Duration::from_millis(300))).expect("a time-out");
        let mut pushed = 0u64;
        while let Ok(written) = conn.write(&frame) {
            pushed += written as u64;
            if pushed > GENEROUS {
                break;
            }
        }
        tell.send(pushed).expect("the test runs");
        conn.read_to_end();
        tell.send(0).expect("the test runs");
    });
    let server = Server::before(&upstream);
    let before = Usage::of(server.pid);
    for target in ["/events", "/plain"] {
        let mut conn = Conn::open(server.mock);
        conn.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let pushed = wait::next("the upstream to be held up", &stopped);
        assert!(pushed < GENEROUS, "{target}: {pushed} bytes were taken for a client that reads none");
        assert_eq!(ask(server.admin, "GET", "/health", &[], b"").status(), 200);
        let grown = Usage::of(server.pid).rss_kib.saturating_sub(before.rss_kib);
        assert!(grown < 32 * 1024, "{target}: {grown} KiB more");
        drop(conn);
        wait::next("the end of the stream at the upstream", &stopped);
    }
}

/// Replays, mocks and plain answers give a client that takes nothing the time that `--stall-timeout` says.
#[test]
fn a_client_that_reads_nothing_loses_its_replay_mock_or_answer() {
    let body = "x".repeat(8 << 20);
    let mocks = serde_json::json!({"mocks": [
        {"type": "http", "matcher": {"path": "/plain"}, "response": {"body": body}},
        {"type": "http", "matcher": {"path": "/events"}, "sse": {"events": [{"data": body}]}},
    ]});
    let place = crate::support::server::Place::new();
    let config = place.file("large.json", &mocks.to_string());
    let server = Server::builder().place(&place).option("--config", config.display()).option("--stall-timeout", 300).start();
    let id = recordings::sse("/replay").data(0, &body).end("server", 1).save(&server.place.data_dir());
    let replay = server.replay(&id, &serde_json::json!({"timingScale": 0}));
    let before = settled(&server);
    let clients = ["/plain", "/events", "/replay"].map(|target| {
        let mut conn = Conn::open(server.mock);
        conn.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        conn
    });
    let status = server.wait(&replay, "ended");
    assert_eq!((&status["status"], &status["statusReason"]), (&"aborted".into(), &"client_stalled".into()), "{status}");
    wait::eventually("the end of all three", || {
        server.call("GET", "/metrics", &serde_json::Value::Null).text().contains("\nmockd_connections 0\n").then_some(())
    });
    for mut conn in clients {
        let rest = conn.read_to_end();
        assert!(rest.len() < body.len(), "{} bytes", rest.len());
    }
    Usage::back_to(server.pid, &before);
}

/// Unread bytes behind the last request would make the close a reset, which throws away what of the answer is still to be sent.
#[test]
fn bytes_behind_the_last_request_do_not_cost_the_end_of_its_answer() {
    let body = "x".repeat(3_000_000);
    let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let upstream = Upstream::http(move |head, mut conn| {
        conn.body(&head);
        conn.send(&answer);
    });
    let server = Server::before(&upstream);
    for version in ["1.0", "1.1"] {
        let mut conn = Conn::open(server.mock);
        let behind = "y".repeat(100_000);
        conn.send(format!("POST /x HTTP/{version}\r\nHost: h\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok\r\n"));
        conn.send(behind);
        let head = conn.head();
        assert_eq!(conn.body(&head).len(), body.len(), "{version}");
        assert_eq!(conn.read_to_end(), b"", "{version}");
    }
}

/// An upstream whose connections, with their requests read, are in the test's hands, and a server before it that gives up soon.
fn before_idle_upstream() -> (Upstream, std::sync::mpsc::Receiver<Conn>, Server) {
    let (tell, conns) = channel();
    let upstream = Upstream::http(move |head, mut conn| match head.target() {
        // What `settled` asks for.
        "/nothing/here" => conn.send("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"),
        _ => drop(tell.send(conn)),
    });
    let server = Server::builder().upstream(upstream.url()).option("--stall-timeout", 300).flag("--record").flag("*").start();
    (upstream, conns, server)
}

#[track_caller]
fn await_no_streams(server: &Server) {
    wait::eventually("the end of all streams", || {
        let metrics = ask(server.admin, "GET", "/metrics", &[], b"").text();
        (metrics.contains("\nmockd_streams 0\n") && metrics.contains("\nmockd_connections 0\n")).then_some(())
    });
}

/// The relay waited for ever between an upstream that had gone and a client that read nothing: its thread, its descriptors, and a recording
/// that never ended.
#[test]
fn a_response_whose_upstream_has_gone_and_whose_client_takes_nothing_ends() {
    let (_upstream, conns, server) = before_idle_upstream();
    let before = settled(&server);
    let mut silent = Vec::new();
    for (target, resets) in [("/events/reset", true), ("/events/closed", false), ("/plain/reset", true), ("/plain/closed", false)] {
        let mut client = Conn::open(server.mock);
        client.send(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n"));
        let mut conn = wait::next("the request", &conns);
        if target.starts_with("/events") {
            conn.send(format!("{EVENT_STREAM}4000000\r\n: one comment without an end"));
        } else {
            conn.send("HTTP/1.1 200 OK\r\n\r\n");
        }
        push_until_relay_sticks(&mut conn, &[b'x'; 65_536]);
        if resets {
            reset(conn);
        }
        silent.push(client);
    }
    await_no_streams(&server);
    for target in ["/events/reset", "/events/closed"] {
        let list = format!("/stream-recordings?path={target}&status=complete");
        let id = wait::eventually(target, || server.get(&list)["recordings"][0]["id"].as_str().map(str::to_owned));
        let recording = server.recording(&id);
        assert_eq!(recording["sse"]["endedBy"], "server", "{target}");
    }
    drop(silent);
    Usage::back_to(server.pid, &before);
}

/// The same the other way: a client that has gone, and an upstream that reads nothing. Who has only ended its sending half is told.
#[test]
fn an_upload_whose_client_has_gone_and_whose_upstream_takes_nothing_ends() {
    let (_upstream, conns, server) = before_idle_upstream();
    let before = settled(&server);
    let mut silent = Vec::new();
    for leave in ["reset", "close", "half"] {
        let mut client = Conn::open(server.mock);
        client.send(format!("POST /{leave} HTTP/1.1\r\nHost: h\r\nContent-Length: 67108864\r\n\r\n"));
        let conn = wait::next("the request", &conns);
        push_until_relay_sticks(&mut client, &[b'x'; 65_536]);
        match leave {
            "reset" => reset(client),
            "close" => drop(client),
            _ => {
                client.shut_write();
                client.answer("POST").expect_error(504, "gateway_timeout", &["300 ms"]);
            }
        }
        silent.push(conn);
    }
    await_no_streams(&server);
    drop(silent);
    Usage::back_to(server.pid, &before);
}
