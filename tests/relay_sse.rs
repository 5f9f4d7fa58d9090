//! Event streams through the mock port: the bytes as they arrive, whatever the method, and what the recording makes of them.

use std::sync::mpsc::channel;

use serde_json::{Value, json};

use crate::support::sse::Stream;
use crate::support::upstream::{EVENT_STREAM, gate};
use crate::support::{Conn, Server, Upstream, wait};

/// Records one stream of these parts and gives what the client read, and the recording.
fn record(parts: &'static [&'static str]) -> (String, Value) {
    let upstream = Upstream::events(parts);
    let server = Server::before(&upstream);
    let id = server.record("sse", "/events");
    let mut stream = Stream::open(server.mock, "/events", &[]);
    let got = stream.rest_text();
    (got, server.finished(&id))
}

/// The fields of an event that are not about time.
fn untimed(event: &Value) -> Value {
    let mut event = event.clone();
    let object = event.as_object_mut().expect("an event");
    for name in ["timestamp", "relativeMs", "relativeUs"] {
        object.remove(name).unwrap_or_else(|| panic!("no {name}"));
    }
    event
}

fn events(recording: &Value) -> Vec<Value> {
    recording["sse"]["events"].as_array().expect("events").iter().map(untimed).collect()
}

/// Trap: a buffered writer, or a parser in the way, holds bytes back until the event is over.
#[test]
fn bytes_arrive_before_their_event_is_over() {
    let (go, gate) = gate();
    let upstream = Upstream::http(move |_, mut conn| {
        conn.send(EVENT_STREAM);
        for part in ["data: hel", "lo", "\n", "\n", ": comment"] {
            conn.send_chunk(part);
            assert!(gate.wait());
        }
        conn.send("0\r\n\r\n");
    });
    let server = Server::before(&upstream);
    let mut stream = Stream::open(server.mock, "/events", &[]);
    assert_eq!(stream.head.field("content-type"), Some("text/event-stream"));
    for part in ["data: hel", "lo", "\n", "\n", ": comment"] {
        stream.expect(part);
        go.send(()).unwrap();
    }
    assert_eq!(stream.rest_text(), "");
}

/// Trap: comments, retry, ids, CRLF or a space after the colon lost; a BOM; `é` garbled.
#[test]
fn odd_streams_pass_byte_for_byte_and_are_recorded_with_their_bytes() {
    let parts: &[&str] = &[
        "\u{feff}: hi\r\n\r\n",
        "id: 1\r\nevent: greet\r\ndata:no space\r\ndata:  two\r\n\r\n",
        "retry: 250\n\n",
        "data: caf",
        "é\n\n",
        "event: a\revent: b\rdata: cr\r\r",
        "data: tail without a blank line\n",
    ];
    let (got, recording) = record(parts);
    assert_eq!(got, parts.concat());
    let events = events(&recording);
    assert_eq!(events[0], json!({"comment": "hi", "raw": "\u{feff}: hi\r\n\r\n"}));
    assert_eq!(
        events[1],
        json!({"type": "greet", "data": "no space\n two", "id": "1", "raw": "id: 1\r\nevent: greet\r\ndata:no space\r\ndata:  two\r\n\r\n"})
    );
    assert_eq!(events[2], json!({"retry": 250}));
    assert_eq!(events[3], json!({"type": "message", "data": "café"}));
    assert_eq!(events[4], json!({"type": "b", "data": "cr", "raw": "event: a\revent: b\rdata: cr\r\r"}));
    assert_eq!(events.len(), 5);
    assert_eq!(recording["sse"]["tail"], "data: tail without a blank line\n");
    assert_eq!(recording["stats"]["eventCount"], 3);
    assert_eq!(recording["stats"]["frameCount"], 3);
    assert_eq!(recording["sse"]["endedBy"], "server");
}

#[test]
fn a_character_split_between_two_writes_stays_whole() {
    let upstream = Upstream::http(|_, mut conn| {
        conn.send(EVENT_STREAM);
        conn.send_chunk(b"data: caf\xc3");
        conn.send_chunk(b"\xa9\n\n");
        conn.send("0\r\n\r\n");
    });
    let server = Server::before(&upstream);
    let id = server.record("sse", "/events");
    assert_eq!(Stream::open(server.mock, "/events", &[]).rest_text(), "data: café\n\n");
    assert_eq!(server.finished(&id)["sse"]["events"][0]["data"], "café");
}

#[test]
fn canonical_blocks_have_no_raw() {
    let (_, recording) = record(&[": note\nevent: tick\nid: 7\nretry: 10\ndata: a\ndata: b\n\n", ":\n\n", "data: \n\n"]);
    let events = events(&recording);
    assert_eq!(events[0], json!({"type": "tick", "data": "a\nb", "id": "7", "retry": 10, "comment": "note"}));
    assert_eq!(events[2], json!({"type": "message", "data": ""}));
    assert_eq!(recording["stats"]["eventCount"], 2);
}

#[test]
fn an_id_with_nul_is_ignored_and_retry_takes_digits_only() {
    let (_, recording) = record(&["id: a\0b\nretry: 1x\ndata: x\n\n"]);
    let event = &events(&recording)[0];
    assert_eq!((event.get("id"), event.get("retry"), &event["data"]), (None, None, &json!("x")));
    assert_eq!(event["raw"], "id: a\0b\nretry: 1x\ndata: x\n\n");
}

#[test]
fn bytes_that_are_no_utf8_are_kept_as_base64() {
    let upstream = Upstream::http(|_, mut conn| {
        conn.send(EVENT_STREAM);
        conn.send_chunk(b"data: \xff\n\n");
        conn.send("0\r\n\r\n");
    });
    let server = Server::before(&upstream);
    let id = server.record("sse", "/events");
    assert_eq!(Stream::open(server.mock, "/events", &[]).rest(), b"data: \xff\n\n");
    let event = untimed(&server.finished(&id)["sse"]["events"][0]);
    assert_eq!((&event["raw"], &event["rawEncoding"]), (&json!("ZGF0YTog/woK"), &json!("base64")));
}

#[test]
fn a_post_with_a_body_is_a_stream_too() {
    let (sender, seen) = channel();
    let upstream = Upstream::http(move |head, mut conn| {
        sender.send((head.method().to_owned(), conn.body(&head))).expect("the test runs");
        conn.send("HTTP/1.1 201 Streaming\r\nContent-Type: text/event-stream; charset=utf-8\r\nX-Request-Id: 42\r\n\r\ndata: one\n\ndata: [DONE]\n\n");
    });
    let server = Server::before(&upstream);
    let id = server.record("sse", "/v1/chat/completions");
    let body = r#"{"stream":true,"messages":[]}"#;
    let mut stream = Stream::ask(server.mock, "POST", "/v1/chat/completions", &[("Content-Type", "application/json")], body.as_bytes());
    assert_eq!(stream.head.start, "HTTP/1.1 201 Streaming");
    assert_eq!(stream.rest_text(), "data: one\n\ndata: [DONE]\n\n");
    assert_eq!(wait::next("the request", &seen), ("POST".to_owned(), body.as_bytes().to_vec()));
    let recording = server.finished(&id);
    let sse = &recording["sse"];
    assert_eq!(sse["request"], json!({"method": "POST", "body": body}));
    assert_eq!(sse["responseStatus"], 201);
    assert_eq!(sse["responseHeaders"]["Content-Type"], "text/event-stream; charset=utf-8");
    assert_eq!(sse["responseHeaders"]["X-Request-Id"], "42");
    assert_eq!(recording["metadata"]["method"], "POST");
}

#[test]
fn the_time_to_the_head_and_to_the_first_event_are_both_kept() {
    let (go, gate) = gate();
    let upstream = Upstream::http(move |_, mut conn| {
        assert!(gate.wait());
        conn.send(EVENT_STREAM);
        assert!(gate.wait());
        conn.send_chunk("data: first\n\n");
        conn.send("0\r\n\r\n");
    });
    let server = Server::before(&upstream);
    let id = server.record("sse", "/events");
    let asked = Stream::send(server.mock, "GET", "/events", &[], b"");
    upstream.head();
    go.send(()).unwrap();
    let mut stream = asked.open_head();
    go.send(()).unwrap();
    stream.expect("data: first\n\n");
    let recording = server.finished(&id);
    let head = recording["sse"]["headRelativeUs"].as_u64().expect("the head's time");
    let first = recording["sse"]["events"][0]["relativeUs"].as_u64().expect("the event's time");
    let end = recording["sse"]["endRelativeUs"].as_u64().expect("the end's time");
    assert!(0 < head && head <= first && first <= end, "{head} {first} {end}");
    assert_eq!(recording["sse"]["events"][0]["relativeMs"].as_u64(), Some(first / 1000));
}

#[test]
fn a_client_that_leaves_ends_the_stream_at_the_upstream() {
    let (sender, seen) = channel();
    let upstream = Upstream::http(move |_, mut conn: Conn| {
        conn.send(EVENT_STREAM);
        conn.send_chunk("data: one\n\n");
        conn.read_to_end();
        sender.send(()).expect("the test runs");
    });
    let server = Server::before(&upstream);
    let id = server.record("sse", "/events");
    let mut stream = Stream::open(server.mock, "/events", &[]);
    stream.expect("data: one\n\n");
    drop(stream);
    wait::next("the end at the upstream", &seen);
    let recording = server.finished(&id);
    assert_eq!((&recording["sse"]["endedBy"], &recording["status"]), (&json!("client"), &json!("complete")));
}

#[test]
fn accept_encoding_is_not_passed_on() {
    let upstream = Upstream::events(&["data: x\n\n"]);
    let server = Server::before(&upstream);
    Stream::open(server.mock, "/events", &[("Accept-Encoding", "gzip, br"), ("Last-Event-ID", "7")]).rest();
    let head = upstream.head();
    assert_eq!(head.field("accept-encoding"), None);
    assert_eq!(head.field("last-event-id"), Some("7"));
    assert_eq!(head.field("accept"), Some("text/event-stream"));
}

#[test]
fn an_event_past_its_limit_ends_the_recording_and_not_the_stream() {
    let upstream = Upstream::events(&["data: small\n\n", "data: 0123456789012345678901234567890123456789\n\n", "data: last\n\n"]);
    let server = Server::builder().upstream(upstream.url()).option("--max-event-bytes", 40).start();
    let id = server.record("sse", "/events");
    assert!(Stream::open(server.mock, "/events", &[]).rest_text().ends_with("data: last\n\n"));
    let recording = server.finished(&id);
    assert_eq!((&recording["status"], &recording["statusReason"]), (&json!("incomplete"), &json!("event_too_large")));
    assert_eq!(events(&recording).len(), 1);
}

#[test]
fn the_head_of_a_stream_alone_is_no_stream() {
    let upstream = Upstream::answering("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
    let server = Server::before(&upstream);
    let id = server.record("sse", "/events");
    let answer = crate::support::http::ask(server.mock, "HEAD", "/events", &[], b"");
    assert_eq!((answer.status(), answer.body.len()), (200, 0));
    assert_eq!(server.stop(&id)["recording"]["frameCount"], 0);
    assert_eq!(server.recording(&id)["metadata"].get("clientIp"), None, "no connection took the session");
}

#[test]
fn a_stream_without_chunks_ends_with_its_connection() {
    let upstream = Upstream::http(|_, mut conn| conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n"));
    let server = Server::before(&upstream);
    assert_eq!(Stream::open(server.mock, "/events", &[]).rest_text(), "data: x\n\n");
}

#[test]
fn an_event_that_arrived_before_the_wait_is_stamped_when_its_last_byte_came() {
    let (_, recording) = record(&["data: a\n\n", "data: b\n\n", "data: c\n\n"]);
    let times: Vec<u64> =
        recording["sse"]["events"].as_array().unwrap().iter().map(|event| event["relativeUs"].as_u64().expect("a time")).collect();
    assert!(times.is_sorted(), "{times:?}");
}

#[test]
fn a_request_body_past_its_limit_is_forwarded_and_marked_truncated() {
    let (sender, seen) = channel();
    let upstream = Upstream::http(move |head, mut conn| {
        sender.send(conn.body(&head).len()).expect("the test runs");
        conn.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\ndata: x\n\n");
    });
    let limit = 64 * 1024;
    let server = Server::builder().upstream(upstream.url()).option("--max-request-body-bytes", limit).start();
    let id = server.record("sse", "/upload");
    let body = vec![b'a'; limit + 1000];
    assert_eq!(Stream::ask(server.mock, "POST", "/upload", &[], &body).rest_text(), "data: x\n\n");
    assert_eq!(wait::next("the body", &seen), body.len());
    let request = &server.finished(&id)["sse"]["request"];
    assert_eq!((&request["truncated"], request["body"].as_str().map(str::len)), (&json!(true), Some(limit)));
}

#[test]
fn an_upstream_that_breaks_off_leaves_what_came() {
    let upstream = Upstream::http(|_, mut conn| {
        conn.send(EVENT_STREAM);
        conn.send_chunk("data: one\n\ndata: tw");
    });
    let server = Server::before(&upstream);
    let id = server.record("sse", "/events");
    let mut stream = Stream::open(server.mock, "/events", &[]);
    stream.expect("data: one\n\ndata: tw");
    let recording = server.finished(&id);
    assert_eq!((&recording["sse"]["endedBy"], &recording["sse"]["tail"]), (&json!("server"), &json!("data: tw")));
    assert_eq!(recording["stats"]["eventCount"], 1);
}

#[test]
fn a_client_of_http_1_0_gets_the_stream_and_the_recording_is_the_same() {
    let upstream = Upstream::events(&["data: one\n\n", "data: two\n\n"]);
    let server = Server::before(&upstream);
    let id = server.record("sse", "/events");
    let mut conn = Conn::open(server.mock);
    conn.send("GET /events HTTP/1.0\r\n\r\n");
    assert_eq!(conn.head().field("transfer-encoding"), None);
    assert_eq!(conn.read_to_end(), b"data: one\n\ndata: two\n\n");
    assert_eq!(server.finished(&id)["stats"]["eventCount"], 2);
}

#[test]
fn two_streams_of_a_session_get_a_recording_each() {
    let upstream = Upstream::events(&["data: x\n\n"]);
    let server = Server::before(&upstream);
    let id = server.record("sse", "/events");
    (0..2).for_each(|_| drop(Stream::open(server.mock, "/events", &[]).rest()));
    let stopped = server.stop(&id);
    let names: Vec<&str> = stopped["recordings"].as_array().unwrap().iter().map(|summary| summary["name"].as_str().unwrap()).collect();
    assert!(names.len() == 2 && names[1] == format!("{} #2", names[0]), "{names:?}");
}
