//! Plain HTTP through the mock port: methods, queries and bodies both ways, connections kept alive, and what mockd itself answers.

use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::json;

use crate::support::http::{Conn, ask, request_head};
use crate::support::upstream::{closed_port, gate};
use crate::support::ws::Raw;
use crate::support::{Server, Upstream, wait};

/// An upstream that answers with what it got: method, target and body.
fn mirror() -> Upstream {
    Upstream::http(|head, mut conn| {
        let mut next = Some(head);
        while let Some(head) = next {
            let body = String::from_utf8_lossy(&conn.body(&head)).into_owned();
            let text = format!("{} {} [{body}]", head.method(), head.target());
            let payload = if head.method() == "HEAD" { "" } else { &text };
            conn.send(format!("HTTP/1.1 200 Fine\r\nX-Upstream: Yes\r\nContent-Length: {}\r\n\r\n{payload}", text.len()));
            next = conn.try_head();
        }
    })
}

#[test]
fn methods_queries_and_bodies_go_through_on_one_connection() {
    let upstream = mirror();
    let server = Server::before(&upstream);
    let mut conn = Conn::open(server.mock);
    for (method, target, body) in [
        ("GET", "/", ""),
        ("GET", "/a%2Fb/?x=1&x=2&y=%C3%A9", ""),
        ("POST", "/items", "{\"name\":\"é\"}"),
        ("PUT", "/items/1", "text"),
        ("PATCH", "/items/1?dry", "x"),
        ("DELETE", "/items/1", ""),
        ("OPTIONS", "/items", ""),
        ("PURGE", "/items", ""),
    ] {
        let answer = conn.ask(method, target, &[("X-Test", "1")], body.as_bytes());
        assert_eq!(answer.head.start, "HTTP/1.1 200 Fine");
        assert_eq!(answer.head.field("x-upstream"), Some("Yes"));
        assert_eq!(answer.text(), format!("{method} {target} [{body}]"));
    }
}

#[test]
fn head_has_the_length_and_no_body() {
    let upstream = mirror();
    let server = Server::before(&upstream);
    let mut conn = Conn::open(server.mock);
    let answer = conn.ask("HEAD", "/x", &[], b"");
    assert_eq!(answer.head.field("content-length"), Some("10"));
    assert_eq!(conn.ask("GET", "/x", &[], b"").text(), "GET /x []");
}

#[test]
fn chunked_bodies_stream_both_ways() {
    let (go, gate) = gate();
    let (sender, seen) = channel();
    let upstream = Upstream::http(move |head, mut conn| {
        let mut framing = Conn::framing(&head);
        let mut part = conn.some_body(&mut framing);
        while !part.is_empty() {
            sender.send(String::from_utf8(part).unwrap()).expect("the test runs");
            part = conn.some_body(&mut framing);
        }
        conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        conn.send_chunk("first");
        assert!(gate.wait());
        conn.send_chunk(" second");
        conn.send("0\r\n\r\n");
    });
    let server = Server::before(&upstream);
    let mut conn = Conn::open(server.mock);
    conn.send(request_head("POST", "/upload", &[("Transfer-Encoding", "chunked")], 0));
    conn.send_chunk("one");
    assert_eq!(wait::next("the first part", &seen), "one");
    conn.send_chunk("two");
    assert_eq!(wait::next("the second part", &seen), "two");
    conn.send("0\r\n\r\n");
    let head = conn.head();
    let mut framing = Conn::framing(&head);
    assert_eq!(conn.some_body(&mut framing), b"first");
    go.send(()).unwrap();
    assert_eq!(conn.some_body(&mut framing), b" second");
    assert!(conn.some_body(&mut framing).is_empty());
}

#[test]
fn a_body_that_ends_with_the_connection_reaches_the_client_whole() {
    let upstream = Upstream::http(|_, mut conn| conn.send("HTTP/1.0 200 OK\r\n\r\nto the very end"));
    let server = Server::before(&upstream);
    let mut conn = Conn::open(server.mock);
    assert_eq!(conn.ask("GET", "/old", &[], b"").text(), "to the very end");
}

#[test]
fn expect_100_continue_is_served() {
    let upstream = Upstream::http(|head, mut conn| {
        assert_eq!(head.field("expect"), Some("100-continue"));
        conn.send("HTTP/1.1 100 Continue\r\n\r\n");
        let body = conn.body(&head);
        conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()));
        conn.send(body);
    });
    let server = Server::before(&upstream);
    let mut conn = Conn::open(server.mock);
    conn.send(request_head("POST", "/big", &[("Expect", "100-continue"), ("Content-Length", "4")], 0));
    assert_eq!(conn.head().status(), 100);
    conn.send("body");
    assert_eq!(conn.answer("POST").text(), "body");
}

#[test]
fn an_upstream_may_refuse_before_the_body() {
    let upstream = Upstream::http(|_, mut conn| conn.send("HTTP/1.1 413 No\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig"));
    let server = Server::before(&upstream);
    let mut conn = Conn::open(server.mock);
    conn.send(request_head("POST", "/big", &[("Expect", "100-continue"), ("Content-Length", "4")], 0));
    let answer = conn.answer("POST");
    assert_eq!((answer.status(), answer.text().as_str()), (413, "big"));
}

#[test]
fn a_client_that_expects_and_does_not_wait_is_served_by_an_upstream_that_says_no_100() {
    let upstream = mirror();
    let server = Server::before(&upstream);
    let mut conn = Conn::open(server.mock);
    conn.send(request_head("POST", "/big", &[("Expect", "100-continue"), ("Content-Length", "4")], 0) + "body");
    assert_eq!(conn.answer("POST").text(), "POST /big [body]");
}

/// Trap: an upstream that refuses an upload after its head, and a client that reads only when it has sent all.
#[test]
fn an_early_response_reaches_a_client_that_is_still_sending() {
    for length in [60_000, 8_000_000] {
        let upstream = Upstream::http(|_, mut conn| {
            conn.send("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
        });
        let server = Server::before(&upstream);
        let answer = ask(server.mock, "POST", "/up", &[], &vec![b'x'; length]);
        assert_eq!((answer.status(), answer.text().as_str()), (413, "no"), "{length}");
    }
}

#[test]
fn an_upstream_that_leaves_during_an_upload_is_502() {
    for length in [60_000, 8_000_000] {
        let upstream = Upstream::http(|_, _| {});
        let server = Server::before(&upstream);
        ask(server.mock, "POST", "/up", &[], &vec![b'x'; length]).expect_error(502, "bad_gateway", &["upstream"]);
    }
}

#[test]
fn a_body_whose_chunks_are_wrong_is_400() {
    let upstream = mirror();
    let server = Server::before(&upstream);
    let mut conn = Conn::open(server.mock);
    conn.send("POST /up HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcX");
    conn.answer("POST").expect_error(400, "bad_request", &["chunk"]);
}

#[test]
fn a_client_of_http_1_0_is_served_without_chunks() {
    let upstream = Upstream::http(|_, mut conn| conn.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nold!\r\n0\r\n\r\n"));
    let server = Server::before(&upstream);
    let mut conn = Conn::open(server.mock);
    conn.send("GET /old HTTP/1.0\r\n\r\n");
    let head = conn.head();
    assert_eq!(head.status(), 200);
    assert_eq!(head.field("transfer-encoding"), None);
    assert_eq!(conn.read_to_end(), b"old!");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream = mirror();
    let server = Server::before(&upstream);
    let mut conn = Conn::open(server.mock);
    conn.send([request_head("GET", "/1", &[], 0), request_head("GET", "/2", &[], 0)].concat());
    assert_eq!(conn.answer("GET").text(), "GET /1 []");
    assert_eq!(conn.answer("GET").text(), "GET /2 []");
}

#[test]
fn connection_close_is_heeded() {
    let upstream = mirror();
    let server = Server::before(&upstream);
    let mut conn = Conn::open(server.mock);
    assert_eq!(conn.ask("GET", "/1", &[("Connection", "close")], b"").text(), "GET /1 []");
    assert!(conn.read_to_end().is_empty());
}

#[test]
fn a_plain_response_is_not_recorded() {
    let upstream = mirror();
    let server = Server::before(&upstream);
    let id = server.record("sse", "/x");
    assert_eq!(ask(server.mock, "GET", "/x", &[], b"").status(), 200);
    assert_eq!(server.stop(&id)["recording"]["frameCount"], 0);
    assert_eq!(server.get("/stream-recordings")["total"], 1);
}

/// A body whose length is taken from it would be read as the next request.
#[test]
fn connection_cannot_take_the_length_from_a_body() {
    let upstream = mirror();
    let server = Server::before(&upstream);
    let hidden = "GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n";
    let fields = [("Connection", "content-length, x-gone"), ("X-Gone", "1")];
    let answer = ask(server.mock, "POST", "/seen", &fields, hidden.as_bytes());
    assert_eq!(answer.text(), format!("POST /seen [{hidden}]"));
    assert_eq!(upstream.head().field("x-gone"), None);
}

#[test]
fn nothing_there_is_404_and_says_how_to_add_something() {
    let server = Server::start();
    let answer = ask(server.mock, "GET", "/nothing?x=1", &[], b"").expect_error(404, "not_found", &["/nothing", "--upstream"]);
    assert_eq!(answer.head.field("content-type"), Some("application/json"));
    let refused = Raw::try_open(server.mock, "/ws", &[]).expect_err("a refusal");
    refused.expect_error(404, "not_found", &["/ws", "--upstream"]);
}

#[test]
fn an_upstream_that_is_not_there_is_502() {
    let server = Server::builder().upstream(format!("http://127.0.0.1:{}", closed_port())).start();
    ask(server.mock, "GET", "/x", &[], b"").expect_error(502, "bad_gateway", &["127.0.0.1"]);
    Raw::try_open(server.mock, "/ws", &[]).expect_err("a refusal").expect_error(502, "bad_gateway", &["127.0.0.1"]);
}

#[test]
fn localhost_is_loopback_for_an_upstream() {
    let upstream = mirror();
    let server = Server::builder().upstream(format!("ws://localhost:{}", upstream.address.port())).start();
    assert_eq!(ask(server.mock, "GET", "/x", &[], b"").text(), "GET /x []");
    assert_eq!(upstream.head().field("host"), Some(format!("localhost:{}", upstream.address.port()).as_str()));
}

#[test]
fn a_head_past_its_limit_is_431() {
    let server = Server::start();
    let long = "x".repeat(70_000);
    let answer = ask(server.mock, "GET", "/x", &[("X-Long", &long)], b"");
    assert_eq!(answer.status(), 431);
    assert!(answer.json()["message"].as_str().unwrap().contains("65536"), "{}", answer.text());
}

#[test]
fn a_head_that_takes_too_long_is_408() {
    let server = Server::builder().config("server:\n  headTimeout: 300\n").start();
    let mut conn = Conn::open(server.mock);
    conn.send("GET /x HTTP/1.1\r\nHost: local");
    assert_eq!(conn.answer("GET").status(), 408);
    assert!(conn.read_to_end().is_empty());
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let upstream = mirror();
    let server = Server::builder().upstream(upstream.url()).option("--idle-timeout", 100).start();
    let mut conn = Conn::open(server.mock);
    assert_eq!(conn.ask("GET", "/", &[], b"").status(), 200);
    assert_eq!(conn.read_to_end(), b"");
    assert_eq!(Conn::open(server.mock).read_to_end(), b"", "one that never asked");
}

#[test]
fn a_connection_past_the_limit_is_503_with_retry_after() {
    let server = Server::builder().option("--max-connections", 2).start();
    let mut first = Conn::open(server.mock);
    let mut second = Conn::open(server.mock);
    assert_eq!(first.ask("GET", "/1", &[], b"").status(), 404);
    assert_eq!(second.ask("GET", "/2", &[], b"").status(), 404);
    let answer = Conn::open(server.mock).ask("GET", "/3", &[], b"");
    assert_eq!(answer.status(), 503);
    assert!(answer.head.field("retry-after").is_some_and(|after| after.parse::<u32>().is_ok()), "{:?}", answer.head);
    answer.expect_error(503, "too_many_connections", &["raise --max-connections"]);
    drop(first);
    wait::eventually("a free place", || {
        let answer = Conn::open(server.mock).ask("GET", "/4", &[], b"");
        (answer.status() == 404).then_some(())
    });
}

#[test]
fn malformed_requests_are_refused_and_nothing_is_passed_on() {
    let upstream = mirror();
    let server = Server::before(&upstream);
    for bytes in [
        "GARBAGE\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX : y\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\n folded\r\n\r\n",
    ] {
        let mut conn = Conn::open(server.mock);
        conn.send(bytes);
        assert_eq!(conn.answer("GET").status(), 400, "{bytes:?}");
    }
    assert!(upstream.is_unasked());
}

#[test]
fn the_upstream_of_a_session_serves_its_path_until_it_ends() {
    let upstream = mirror();
    let server = Server::start();
    let body = json!({"protocol": "sse", "path": "/only/*", "upstream": format!("{}/v2", upstream.url())});
    let started = server.post("/stream-recordings/start", &body).expect(201).json();
    assert_eq!(started["warning"], serde_json::Value::Null);
    assert_eq!(ask(server.mock, "GET", "/only/this?q", &[], b"").text(), "GET /v2/only/this?q []");
    assert_eq!(ask(server.mock, "GET", "/other", &[], b"").status(), 404);
    server.stop(started["id"].as_str().unwrap());
    assert_eq!(ask(server.mock, "GET", "/only/this", &[], b"").status(), 404);
}

#[test]
fn the_most_specific_upstream_wins_then_the_order() {
    let (one, two, three) = (Upstream::answering(ok("one")), Upstream::answering(ok("two")), Upstream::answering(ok("three")));
    let config = format!(
        "upstreams:\n  - {{path: /*, url: {}}}\n  - {{path: /a/*, url: {}}}\n  - {{path: /a/b, url: {}}}\n  - {{path: /a/*, url: {}}}\n",
        one.url(),
        two.url(),
        three.url(),
        one.url()
    );
    let server = Server::builder().config(&config).start();
    for (path, who) in [("/x", "one"), ("/a/x", "two"), ("/a/b", "three"), ("/a/b/", "two"), ("/A/b", "one"), ("/a", "one")] {
        assert_eq!(ask(server.mock, "GET", path, &[], b"").text(), who, "{path}");
    }
}

fn ok(text: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}", text.len())
}

#[test]
fn an_idle_connection_is_closed_after_its_time() {
    let upstream = mirror();
    let server = Server::builder().upstream(upstream.url()).config("server:\n  idleTimeout: 200\n").start();
    let mut conn = Conn::open(server.mock);
    assert_eq!(conn.ask("GET", "/1", &[], b"").status(), 200);
    assert!(conn.read_to_end().is_empty());
}

#[test]
fn an_upstream_that_never_answers_the_websocket_handshake_is_504() {
    let (_go, gate) = gate();
    let upstream = Upstream::http(move |_, _conn| {
        gate.wait();
    });
    let server = Server::builder().upstream(upstream.url()).config("server:\n  connectTimeout: 300\n").start();
    Raw::try_open(server.mock, "/ws", &[]).expect_err("a refusal").expect_error(504, "gateway_timeout", &["upstream", "300 ms"]);
}

/// `printf … | nc -N` closes its sending half with its request.
#[test]
fn a_client_that_half_closes_gets_its_response() {
    let upstream = Upstream::http(|head, mut conn| {
        if head.target() == "/events" {
            conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n");
        } else {
            conn.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi");
        }
    });
    let server = Server::before(&upstream);
    for (target, body) in [("/plain", "hi"), ("/events", "data: x\n\n")] {
        let mut client = Conn::open(server.mock);
        client.send(format!("GET {target} HTTP/1.0\r\n\r\n"));
        client.shut_write();
        assert_eq!(client.head().status(), 200, "{target}");
        assert_eq!(String::from_utf8_lossy(&client.read_to_end()), body, "{target}");
    }
}

/// Trap: the time within which such an end counts as that of the request was counted from its head.
#[test]
fn a_client_that_half_closes_after_a_slow_body_gets_its_response() {
    let (came, coming) = channel();
    let upstream = Upstream::http(move |head, mut conn| {
        let mut framing = Conn::framing(&head);
        let mut length = 0;
        loop {
            let data = conn.some_body(&mut framing);
            if data.is_empty() {
                break;
            }
            length += data.len();
            came.send(()).expect("the test runs");
        }
        let answer = format!("{length} bytes");
        conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{answer}", answer.len()));
    });
    let server = Server::before(&upstream);
    let mut client = Conn::open(server.mock);
    client.send("POST /upload HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n");
    let begun = std::time::Instant::now();
    let mut length = 0;
    while begun.elapsed() < 3 * Duration::from_micros(mockd::base::limits::HALF_CLOSE_US) {
        client.send_chunk("xx");
        length += 2;
        wait::next("a piece of the body at the upstream", &coming);
    }
    client.send_chunk([b'y'; 100_000]);
    client.send("0\r\n\r\n");
    client.shut_write();
    assert_eq!(client.answer("POST").expect(200).text(), format!("{} bytes", length + 100_000));
}

#[test]
fn options_for_the_whole_server_goes_to_the_upstream() {
    let upstream = mirror();
    let server = Server::before(&upstream);
    let mut client = Conn::open(server.mock);
    client.send("OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
    assert_eq!(client.answer("OPTIONS").text(), "OPTIONS * []");
}

/// A call that is cancelled before it is answered is cancelled at the upstream, and takes no recording's id.
#[test]
fn a_client_that_leaves_before_the_response_ends_its_request() {
    let (asked, request) = channel();
    let (left, end) = channel();
    let upstream = Upstream::http(move |_, mut conn| {
        asked.send(()).expect("the test runs");
        conn.read_to_end();
        left.send(()).expect("the test runs");
    });
    let server = Server::before(&upstream);
    server.record("sse", "/chat");
    let mut client = Conn::open(server.mock);
    client.send("POST /chat HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\n{}");
    wait::next("the request", &request);
    // Longer than a half-close that comes with a request takes.
    assert!(end.recv_timeout(Duration::from_millis(100)).is_err());
    drop(client);
    wait::next("the end of the request at the upstream", &end);
    assert_eq!(server.get("/stream-recordings/sessions")["sessions"][0]["recordings"], json!([]));
}
