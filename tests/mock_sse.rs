//! Event streams of mocks (SPEC 6): what goes out byte for byte, when, how it ends, and clients that come back.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::http::{Conn, ask, request_head};
use crate::support::server::Builder;
use crate::support::sse::Stream;
use crate::support::wait::eventually;
use crate::support::{Server, Upstream};

fn with_mocks(mocks: &Value) -> Builder {
    Server::builder().config(&json!({"version": "1.0", "mocks": mocks}).to_string())
}

/// A server with one mock of this `sse` at `/events`.
fn showing(sse: &Value) -> Server {
    with_mocks(&json!([{"type": "http", "http": {"matcher": {"path": "/events"}, "sse": sse}}])).start()
}

fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

/// All bytes of the response to a GET, chunk framing included, up to the end of the connection.
fn wire(server: &Server, path: &str) -> String {
    let mut conn = Conn::open(server.mock);
    conn.send(request_head("GET", path, &[], 0));
    String::from_utf8(conn.read_to_end()).expect("text")
}

#[test]
fn every_field_of_an_event_goes_out_in_one_form() {
    let server = showing(&json!({
        "statusCode": 201,
        "headers": {"X-Request-Id": "42", "X-Many": ["a", "b"], "Content-Type": "text/event-stream; charset=utf-8"},
        "events": [
            {"comment": "hello\nworld"},
            {"retry": 1500},
            {"type": "tick", "id": "é1", "retry": 250, "comment": "c", "data": "two\nlines\r\nand one"},
            {"data": {"z": 1, "a": [null, "x y", 1.0]}},
            {"data": ""},
            {"id": "", "data": " spaces kept "},
            {"id": "only"},
            {"data": ["$random(5,5)", "n $random(5,5)"], "literal": true},
            {"data": 5},
            {"type": "message", "data": "named"},
        ],
    }));
    let mut stream = Stream::open(server.mock, "/events?x=1", &[]);
    assert_eq!(stream.head.start, "HTTP/1.1 201 Created");
    let fields: Vec<(&str, &str)> = stream.head.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(
        fields,
        [
            ("X-Request-Id", "42"),
            ("X-Many", "a"),
            ("X-Many", "b"),
            ("Content-Type", "text/event-stream; charset=utf-8"),
            ("Transfer-Encoding", "chunked"),
            ("Connection", "close"),
        ]
    );
    let expected = ": hello\n: world\n\nretry: 1500\n\n: c\nevent: tick\nid: é1\nretry: 250\ndata: two\ndata: lines\ndata: and one\n\n\
        data: {\"z\":1,\"a\":[null,\"x y\",1.0]}\n\ndata: \n\nid: \ndata:  spaces kept \n\nid: only\n\n\
        data: [\"$random(5,5)\",\"n $random(5,5)\"]\n\ndata: 5\n\nevent: message\ndata: named\n\n";
    assert_eq!(stream.rest_text(), expected);
}

#[test]
fn events_come_on_their_time_and_never_before() {
    let server = showing(&json!({
        "events": [{"data": "a"}, {"data": "b", "delay": 30}, {"data": "c"}, {"data": "d"}, {"data": "e"}],
        "timing": {"initialDelay": 40, "randomDelay": {"min": 5, "max": 9.5}, "perEventDelays": [20, 500, null, 0]},
    }));
    let asked = Instant::now();
    let mut stream = Stream::open(server.mock, "/events", &[]);
    assert!(asked.elapsed() >= ms(40), "the head waits");
    for (data, at_ms) in [("a", 60), ("b", 90), ("c", 95), ("d", 95), ("e", 100)] {
        let came = stream.expect(&format!("data: {data}\n\n"));
        assert!(came - asked >= ms(at_ms), "{data} came after {:?}", came - asked);
    }
    assert_eq!(stream.rest_text(), "");
}

#[test]
fn events_that_are_due_together_leave_together() {
    let server = showing(&json!({"events": [{"data": "a"}, {"data": "b"}, {"data": "c"}]}));
    let text = wire(&server, "/events");
    let (_, body) = text.split_once("\r\n\r\n").expect("a head");
    assert_eq!(body, "1b\r\ndata: a\n\ndata: b\n\ndata: c\n\n\r\n0\r\n\r\n");
}

#[test]
fn placeholders_are_made_for_each_client() {
    let server = showing(&json!({"events": [
        {"data": "$uuid"},
        {"data": {"id": "$uuid", "at": "$timestamp", "n": "$random(1,6)", "c": "$pick(red, green)", "t": "t=$timestamp"}},
        {"data": "$uuid $timestamp $pick(x)", "literal": true},
        {"data": "5 $ and $nothing"},
    ]}));
    let mut streams = [Stream::open(server.mock, "/events", &[]), Stream::open(server.mock, "/events", &[])];
    let blocks = |stream: &mut Stream| [stream.block(), stream.block()].map(|text| text.trim()["data: ".len()..].to_owned());
    let [[first, json], [second, _]] = streams.each_mut().map(blocks);
    for uuid in [&first, &second] {
        let bytes = uuid.as_bytes();
        assert_eq!((bytes.len(), bytes[14], bytes[8]), (36, b'4', b'-'), "{uuid}");
    }
    assert_ne!(first, second, "each client has its own");
    let json: Value = serde_json::from_str(&json).expect("JSON");
    let now_s = mockd::base::time::wall_us() / 1_000_000;
    assert!(json["at"].as_u64().is_some_and(|at| at <= now_s && at + 60 > now_s), "a number: {json}");
    assert!(json["n"].as_u64().is_some_and(|n| (1..=6).contains(&n)), "{json}");
    assert!(["red", "green"].contains(&json["c"].as_str().expect("a string")), "{json}");
    assert!(json["t"].as_str().expect("a string").starts_with("t=1"), "{json}");
    for stream in &mut streams {
        assert_eq!(stream.rest_text(), "data: $uuid $timestamp $pick(x)\n\ndata: 5 $ and $nothing\n\n");
    }
}

#[test]
fn a_chat_completion_streams_its_tokens() {
    let server = with_mocks(&json!([
        {"http": {"matcher": {"method": "POST", "path": "/v1/chat/completions", "bodyContains": "\"stream\":true"},
                  "sse": {"template": "openai-chat", "templateParams": {"tokens": ["Hel", "lo \"$uuid\""], "model": "gpt-4o", "delayPerToken": 15}}}},
        {"http": {"matcher": {"method": "POST", "path": "/short"},
                  "sse": {"template": "openai-chat", "templateParams": {"tokens": ["x"], "finishReason": "length", "includeDone": false, "delayPerToken": 0}}}},
    ]))
    .start();
    let body = b"{\"model\":\"gpt-4o\",\"stream\":true}";
    let asked = Instant::now();
    let text = Stream::ask(server.mock, "POST", "/v1/chat/completions", &[], body).rest_text();
    assert!(asked.elapsed() >= ms(30), "two tokens");
    let lines: Vec<&str> = text.split_terminator("\n\n").map(|block| block.strip_prefix("data: ").expect("data")).collect();
    let chunks: Vec<Value> = lines[..2].iter().map(|line| serde_json::from_str(line).expect("a chunk")).collect();
    let (id, created) = (&chunks[0]["id"], &chunks[0]["created"]);
    assert!(id.as_str().is_some_and(|id| id.starts_with("chatcmpl-")) && created.is_u64(), "{text}");
    let chunk = |delta: Value, finish: Value| {
        json!({"id": id, "object": "chat.completion.chunk", "created": created, "model": "gpt-4o",
               "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
    };
    let expected =
        [chunk(json!({"role": "assistant", "content": "Hel"}), Value::Null), chunk(json!({"content": "lo \"$uuid\""}), json!("stop"))];
    assert_eq!((chunks.as_slice(), &lines[2..]), (&expected[..], &["[DONE]"][..]));
    ask(server.mock, "POST", "/v1/chat/completions", &[], b"{\"stream\":false}").expect(404);
    let short = Stream::ask(server.mock, "POST", "/short", &[], b"").rest_text();
    assert!(short.contains("\"content\":\"x\"},\"finish_reason\":\"length\"") && !short.contains("[DONE]"), "{short}");
}

#[test]
fn a_stream_ends_as_it_is_told() {
    let of = |name: &str, lifecycle: Value| json!({"http": {"matcher": {"path": format!("/{name}")}, "sse": {"events": [{"data": "a"}, {"data": "b"}], "lifecycle": lifecycle}}});
    let bye = json!({"type": "bye", "data": {"code": "$random(7,7)"}, "delay": 20});
    let server = with_mocks(&json!([
        of("graceful", json!({"termination": {"type": "graceful", "finalEvent": bye, "closeDelay": 25}})),
        of("abrupt", json!({"termination": {"type": "abrupt", "closeDelay": 25}})),
        of("error", json!({"termination": {"type": "error", "errorEvent": bye, "closeDelay": 5}})),
        of("few", json!({"maxEvents": 1, "termination": {"type": "graceful", "finalEvent": {"data": "that's all"}}})),
    ]))
    .start();
    let data = "12\r\ndata: a\n\ndata: b\n\n\r\n";
    let said = "1d\r\nevent: bye\ndata: {\"code\":7}\n\n\r\n";
    for (path, least_ms, body) in [
        ("/graceful", 45, format!("{data}{said}0\r\n\r\n")),
        // No last chunk: the client sees that the stream was cut.
        ("/abrupt", 25, data.to_owned()),
        ("/error", 25, format!("{data}{said}")),
        ("/few", 0, "1b\r\ndata: a\n\ndata: that's all\n\n\r\n0\r\n\r\n".to_owned()),
    ] {
        let asked = Instant::now();
        let text = wire(&server, path);
        assert_eq!(text.split_once("\r\n\r\n").expect("a head").1, body, "{path}");
        assert!(asked.elapsed() >= ms(least_ms), "{path}");
    }
}

#[test]
fn a_stream_lives_as_long_as_it_may_and_breaks_its_silence() {
    let alive = ": keepalive\n\n";
    let server = with_mocks(&json!([
        {"matcher": {"path": "/open"}, "sse": {"events": [{"data": "a"}], "lifecycle": {"keepaliveInterval": 0.02, "termination": {"type": "keepOpen"}}}},
        {"matcher": {"path": "/timed"}, "sse": {"events": [{"data": "late", "delay": 60_000}],
            "lifecycle": {"keepaliveInterval": 0.03, "timeout": 0.1, "termination": {"finalEvent": {"data": "time is up"}}}}},
    ]))
    .start();
    let mut stream = Stream::open(server.mock, "/open", &[]);
    let first = stream.expect("data: a\n\n");
    for _ in 0..3 {
        stream.expect(alive);
    }
    assert!(first.elapsed() >= ms(50), "three silences, the first of which began before its event was read");
    drop(stream);
    let asked = Instant::now();
    let text = Stream::open(server.mock, "/timed", &[]).rest_text();
    assert!(asked.elapsed() >= ms(100));
    let silence = text.strip_suffix("data: time is up\n\n").unwrap_or_else(|| panic!("{text}"));
    assert!(silence.starts_with(alive) && silence.replace(alive, "").is_empty(), "{text}");
    eventually("the end of the stream that its client left", || {
        server.call("GET", "/metrics", &Value::Null).text().contains("\nmockd_connections 0\n").then_some(())
    });
}

#[test]
fn a_client_that_comes_back_goes_on_where_it_was() {
    let events =
        json!([{"data": "one", "id": "1"}, {"comment": "between"}, {"data": "two", "id": "2", "delay": 30}, {"data": "three", "id": "3"}]);
    let of = |name: &str, resume: Value| {
        let sse = json!({"events": events, "timing": {"initialDelay": 1}, "resume": resume});
        json!({"http": {"matcher": {"path": format!("/{name}")}, "sse": sse}})
    };
    let server = with_mocks(&json!([
        of("any", json!(true)),
        of("off", json!({"enabled": false})),
        of("few", json!({"enabled": true, "bufferSize": 2})),
        of("young", json!({"maxAge": 0.2})),
    ]))
    .start();
    let get = |path: &str, last: &str| Stream::open(server.mock, path, &[("Last-Event-ID", last)]).rest_text();
    let (one, two, three) = ("id: 1\ndata: one\n\n: between\n\n", "id: 2\ndata: two\n\n", "id: 3\ndata: three\n\n");
    let all = format!("{one}{two}{three}");
    let asked = Instant::now();
    assert_eq!(get("/any", "1"), format!(": between\n\n{two}{three}"));
    assert!(asked.elapsed() >= ms(30), "the clock goes on from that event");
    assert_eq!(get("/any", "2"), three);
    assert_eq!(get("/any", "3"), "");
    for (path, last) in [("/any", "unknown"), ("/any", ""), ("/off", "1"), ("/few", "3"), ("/young", "1")] {
        assert_eq!(get(path, last), all, "{path} {last:?}");
    }
    // Its mock has sent 1, 2 and 3 now, and keeps the last two.
    assert_eq!((get("/few", "2").as_str(), get("/few", "1")), (three, all.clone()));
    eventually("an id that is too old", || (get("/young", "3") == all).then_some(()));
    // A machine that is slow enough lets it grow too old again; then it has just been sent.
    eventually("an id that is young", || (get("/young", "2") == three).then_some(()));
}

#[test]
fn head_and_statuses_without_a_body_have_the_head_alone() {
    let server = with_mocks(&json!([
        {"http": {"matcher": {"path": "/events"}, "sse": {"headers": {"X-A": "1"}, "events": [{"data": "a"}], "timing": {"initialDelay": 20}}}},
        {"http": {"matcher": {"path": "/stop"}, "response": {"statusCode": 204}}},
        {"http": {"matcher": {"path": "/busy"}, "sse": {"statusCode": 503, "headers": {"Retry-After": "3"}, "events": [{"data": "busy"}]}}},
    ]))
    .start();
    let mut conn = Conn::open(server.mock);
    let asked = Instant::now();
    let head = conn.ask("HEAD", "/events", &[], b"").expect(200).head;
    assert!(asked.elapsed() >= ms(20));
    assert_eq!((head.field("content-type"), head.field("x-a"), head.field("content-length")), (Some("text/event-stream"), Some("1"), None));
    // The connection goes on.
    let stop = conn.ask("GET", "/stop", &[], b"").expect(204).head;
    assert_eq!((stop.field("transfer-encoding"), stop.field("content-length")), (None, None));
    let mut busy = Stream::open(server.mock, "/busy", &[]);
    assert_eq!((busy.head.status(), busy.head.field("retry-after")), (503, Some("3")));
    assert_eq!(busy.rest_text(), "data: busy\n\n");
}

#[test]
fn http_1_0_clients_get_the_bare_stream() {
    let server = showing(&json!({"events": [{"data": "a"}, {"data": "b", "delay": 5}]}));
    let mut conn = Conn::open(server.mock);
    conn.send("GET /events HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    let text = String::from_utf8(conn.read_to_end()).expect("text");
    let (head, body) = text.split_once("\r\n\r\n").expect("a head");
    assert!(!head.contains("chunked") && head.contains("Connection: close"), "{head}");
    assert_eq!(body, "data: a\n\ndata: b\n\n");
}

#[test]
fn pages_of_any_origin_may_read_unless_it_is_narrowed_or_the_mock_says_otherwise() {
    let mocks = json!([
        {"http": {"matcher": {"path": "/plain"}, "sse": {"events": [{"data": "a"}]}}},
        {"http": {"matcher": {"path": "/own"}, "sse": {"headers": {"access-control-allow-origin": "https://only.test"}, "events": [{"data": "a"}]}}},
    ]);
    let cors = |server: &Server, path: &str| {
        let stream = Stream::open(server.mock, path, &[("Origin", "http://app.test")]);
        let all = |name| stream.head.fields(name).map(str::to_owned).collect::<Vec<_>>();
        (all("access-control-allow-origin"), all("access-control-allow-credentials"))
    };
    let strings = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let server = with_mocks(&mocks).start();
    assert_eq!(cors(&server, "/plain"), (strings(&["http://app.test"]), strings(&["true"])));
    assert_eq!(cors(&server, "/own"), (strings(&["https://only.test"]), strings(&[])));
    let preflight = [("Origin", "http://app.test"), ("Access-Control-Request-Method", "GET"), ("Access-Control-Request-Headers", "x-a")];
    for (path, origin) in [("/plain", "http://app.test"), ("/own", "https://only.test")] {
        let head = ask(server.mock, "OPTIONS", path, &preflight, b"").expect(204).head;
        assert_eq!(head.field("access-control-allow-origin"), Some(origin), "{path}");
        assert_eq!((head.field("access-control-allow-methods"), head.field("access-control-allow-headers")), (Some("GET"), Some("x-a")));
    }
    let narrowed = with_mocks(&mocks).option("--cors-origin", "https://other.test").start();
    assert_eq!(cors(&narrowed, "/plain"), (strings(&[]), strings(&[])));
    assert_eq!(cors(&narrowed, "/own").0, strings(&["https://only.test"]));
}

#[test]
fn a_client_that_leaves_before_the_head_takes_no_recording_session() {
    let server = showing(&json!({"events": [{"data": "never"}], "timing": {"initialDelay": "1h"}}));
    let id = server.record("sse", "/events");
    let streams = |count: u32| {
        let line = format!("\nmockd_streams {count}\n");
        eventually(&line, || server.call("GET", "/metrics", &Value::Null).text().contains(&line).then_some(()));
    };
    let mut client = Conn::open(server.mock);
    client.send(request_head("GET", "/events", &[], 0));
    streams(1);
    assert_eq!(server.get("/stream-recordings/sessions")["sessions"][0]["recordings"], json!([]), "no stream is established");
    drop(client);
    streams(0);
    assert_eq!(server.get("/stream-recordings/sessions")["sessions"][0]["recordings"], json!([]));
    assert_eq!(server.stop(&id)["recording"]["frameCount"], 0);
}

#[test]
fn what_a_mock_sent_is_recorded_and_replays_equal() {
    let server = with_mocks(&json!([{"http": {"matcher": {"method": "POST", "path": "/events"}, "sse": {
        "statusCode": 202, "headers": {"X-A": "1"},
        "events": [{"comment": "c"}, {"data": "$uuid", "id": "1"}, {"type": "t", "data": "b\nc", "retry": 9, "delay": 12}],
        "timing": {"initialDelay": 10},
    }}}]))
    .start();
    let id = server.record("sse", "/events");
    let mut live = Stream::ask(server.mock, "POST", "/events", &[("Authorization", "Bearer x")], b"{\"q\":1}");
    let bytes = live.rest();
    // The client saw the end: so has the recording.
    let stopped = server.stop(&id);
    assert_eq!((&stopped["recording"]["status"], &stopped["recording"]["frameCount"]), (&json!("complete"), &json!(2)));
    let recording = server.recording(&id);
    let (sse, metadata) = (&recording["sse"], &recording["metadata"]);
    assert_eq!((&metadata["source"], &metadata["method"], &sse["endedBy"]), (&json!("mock"), &json!("POST"), &json!("server")));
    assert_eq!((&sse["request"]["body"], &sse["responseStatus"]), (&json!("{\"q\":1}"), &json!(202)));
    assert!(sse["headRelativeUs"].as_u64().is_some_and(|us| us >= 10_000), "{sse}");
    assert!(sse["events"][2]["relativeUs"].as_u64().is_some_and(|us| us >= 22_000), "{sse}");
    assert!(sse["events"].as_array().expect("events").iter().all(|event| event["raw"].is_null()), "what a mock writes is canonical");
    server.replay(&id, &json!({}));
    let mut again = Stream::ask(server.mock, "POST", "/events", &[], b"");
    assert_eq!((again.head.status(), again.head.field("x-a")), (202, Some("1")));
    assert_eq!(again.rest(), bytes);
}

#[test]
fn two_hundred_clients_at_once_each_have_the_whole_stream() {
    let events: Vec<Value> = (0..20).map(|n| json!({"data": format!("event {n}"), "id": n.to_string(), "delay": 3})).collect();
    let server = showing(&json!({"events": events, "resume": {"bufferSize": 5}}));
    let streams: Vec<_> = (0..200).map(|_| Stream::send(server.mock, "GET", "/events", &[], b"")).collect();
    let expected: String = (0..20).map(|n| format!("id: {n}\ndata: event {n}\n\n")).collect();
    for stream in streams {
        assert_eq!(stream.open_head().rest_text(), expected);
    }
    assert_eq!(Stream::open(server.mock, "/events", &[("Last-Event-ID", "18")]).rest_text(), "id: 19\ndata: event 19\n\n");
}

#[test]
fn a_server_that_ends_ends_its_streams() {
    let mut server = showing(&json!({"events": [{"data": "a"}], "lifecycle": {"termination": {"type": "keepOpen"}}}));
    let id = server.record("sse", "/events");
    let mut stream = Stream::open(server.mock, "/events", &[]);
    stream.expect("data: a\n\n");
    server.begun(&id);
    server.signal("TERM");
    // With the last chunk: this would panic where the connection was cut.
    assert_eq!(stream.rest_text(), "");
    assert!(server.exit().success());
    let recording = server.again().recording(&id);
    assert_eq!((&recording["status"], &recording["sse"]["endedBy"]), (&json!("complete"), &json!("recorder")));
}

#[test]
fn a_mock_comes_before_an_upstream_and_after_a_replay() {
    let upstream = Upstream::events(&["data: upstream\n\n"]);
    let server =
        with_mocks(&json!([{"http": {"matcher": {"path": "/events", "queryParams": {"m": "*"}}, "sse": {"events": [{"data": "mock"}]}}}]))
            .upstream(upstream.url())
            .start();
    assert_eq!(Stream::open(server.mock, "/events?m=1", &[]).rest_text(), "data: mock\n\n");
    let id = server.record("sse", "/events");
    assert_eq!(Stream::open(server.mock, "/events", &[]).rest_text(), "data: upstream\n\n");
    server.stop(&id);
    server.replay(&id, &json!({"timingScale": 0}));
    assert_eq!(Stream::open(server.mock, "/events?m=1", &[]).rest_text(), "data: upstream\n\n");
    assert_eq!(Stream::open(server.mock, "/events?m=1", &[]).rest_text(), "data: mock\n\n");
}
