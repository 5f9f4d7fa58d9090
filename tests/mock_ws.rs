//! WebSocket mocks of a config (SPEC 6): what a client gets of one that talks, byte for byte.

use std::sync::Barrier;

use serde_json::{Value, json};

use crate::support::Server;
use crate::support::server::text;
use crate::support::wait::eventually;
use crate::support::ws::{BINARY, Client, MASK, PING, PONG, Raw, TEXT, frame};

/// A server with one mock at /ws.
#[track_caller]
fn serve(websocket: &Value) -> Server {
    serve_all(&[("/ws", websocket)])
}

#[track_caller]
fn serve_all(mocks: &[(&str, &Value)]) -> Server {
    Server::builder().config(&config(mocks)).start()
}

/// A config with these WebSocket mocks. JSON is YAML.
fn config(mocks: &[(&str, &Value)]) -> String {
    let mock = |(path, websocket): &(&str, &Value)| {
        let mut websocket = (*websocket).clone();
        websocket["path"] = json!(path);
        json!({"type": "websocket", "websocket": websocket})
    };
    json!({"version": "1.0", "mocks": mocks.iter().map(mock).collect::<Vec<_>>()}).to_string()
}

#[test]
fn a_mock_echoes_where_it_has_nothing_else_to_say() {
    let server = serve_all(&[("/ws", &json!({})), ("/quiet", &json!({"echoMode": false}))]);
    let mut raw = Raw::open(server.mock, "/ws");
    raw.run(
        "send text hello {{message}}
         expect text hello {{message}}
         send binary 00ff
         expect binary 00ff
         send ping p
         expect pong p",
    );
    raw.send(TEXT, "");
    assert_eq!(raw.frame().words(), "text ");
    // Who closes at once gets the last answer first.
    raw.run("send text last\nsend close 1000 bye\nexpect text last\nexpect close 1000 bye\nend");
    Raw::open(server.mock, "/quiet").run("send text hello\nsend ping p\nexpect pong p\nsend close\nexpect close\nend");
}

#[test]
fn matchers_answer_each_in_its_way() {
    let server = serve(&json!({
        "matchers": [
            {"match": {"type": "exact", "value": "ping"}, "response": {"value": "pong"}},
            {"match": {"type": "contains", "value": "needle"}, "response": {"value": "found"}},
            {"match": {"type": "prefix", "value": "/"}, "response": {"value": "a command"}},
            {"match": {"type": "suffix", "value": "?"}, "response": {"value": "a question", "delay": "5ms"}},
            {"match": {"type": "regex", "value": "^[0-9]+$"}, "response": {"value": "a number"}},
            {"match": {"type": "json", "path": "$.type", "value": "join"}, "response": {"type": "json", "value": {"ok": true, "user": "{{message.user}}"}}},
            {"match": {"type": "json", "value": {"a": [1, 2]}}, "response": {"type": "binary", "value": "AAH/"}},
            {"match": {"type": "exact", "value": "hush"}, "noResponse": true},
            {"match": {"messageType": "binary"}, "response": {"value": "binary {{message}}"}}
        ],
        "defaultResponse": {"type": "json", "value": {"z": 1, "a": "{{message}}"}}
    }));
    Raw::open(server.mock, "/ws").run(
        "send text ping
         expect text pong
         send text hayneedlehay
         expect text found
         send text /join
         expect text a command
         send text what?
         expect text a question
         send text 42
         expect text a number
         send text {\"user\": {\"id\": 7}, \"type\": \"join\"}
         expect text {\"ok\":true,\"user\":{\"id\":7}}
         send text {\"a\": [1.0, 2]}
         expect binary 0001ff
         send text hush
         send binary 0001
         expect text binary AAE=
         send text else
         expect text {\"z\":1,\"a\":\"else\"}
         send close 1000
         expect close 1000
         end",
    );
}

#[test]
fn a_scenario_plays_as_written() {
    let server = serve(&json!({
        "matchers": [{"match": {"type": "exact", "value": "help"}, "response": {"value": "say join"}}],
        "scenario": {"name": "chat", "steps": [
            {"type": "send", "message": {"type": "json", "value": {"type": "welcome", "n": 1.0}}},
            {"type": "send", "message": {"type": "text", "value": "{\"a\":  1}", "literal": true, "delay": 1.5}},
            {"type": "send", "message": {"type": "binary", "value": "AAE="}},
            {"type": "expect", "match": {"type": "json", "value": {"type": "join"}, "messageType": "text"}},
            {"type": "wait", "duration": "2ms"},
            {"type": "send", "message": {"value": "hello {{message.type}}, {{message}}"}},
            {"type": "expect", "match": {"messageType": "binary"}, "timeout": "10s"},
            {"type": "expect", "match": {"type": "exact", "value": "never"}, "timeout": 20, "optional": true},
            {"type": "send", "message": {"value": "{{message}} is {{message.type}} literal", "literal": true}},
            {"type": "wait", "match": {"type": "prefix", "value": "bye"}},
            {"type": "close", "code": 4001, "reason": "done", "delay": 1}
        ]}
    }));
    for _ in 0..2 {
        let mut raw = Raw::open(server.mock, "/ws");
        raw.run(
            "expect text {\"type\":\"welcome\",\"n\":1.0}
             expect text {\"a\":  1}
             expect binary 0001
             send text help
             expect text say join
             send text { \"type\" : \"join\" }
             expect text hello join, { \"type\" : \"join\" }
             send binary ff
             expect text {{message}} is {{message.type}} literal
             send text bye now
             expect close 4001 done
             send close 4001 done
             end",
        );
    }
}

#[test]
fn early_messages_wait_for_their_expects_and_a_loop_goes_round() {
    let server = serve(&json!({"scenario": {"loop": true, "steps": [
        {"type": "wait", "duration": 20},
        {"type": "expect", "match": {"type": "prefix", "value": "a"}},
        {"type": "send", "message": {"value": "1 {{message}}"}},
        {"type": "expect"},
        {"type": "send", "message": {"value": "2 {{message}}"}}
    ]}}));
    let mut raw = Raw::open(server.mock, "/ws");
    raw.run(
        "send text a1\nsend text b1\nsend text a2\nsend text b2\nexpect text 1 a1\nexpect text 2 b1\nexpect text 1 a2\nexpect text 2 b2",
    );
    raw.run("send close\nexpect close\nend");
}

#[test]
fn an_expect_that_nothing_met_closes_with_1008() {
    let server = serve(&json!({"scenario": {"steps": [
        {"type": "send", "message": {"value": "hi"}},
        {"type": "expect", "match": {"type": "exact", "value": "x"}, "timeout": "30ms"}
    ]}}));
    Raw::open(server.mock, "/ws").run(
        "expect text hi
         send text y
         expect close 1008 ErrMatchTimeout: step 2: no message that it expects came within 30 ms
         send close 1008
         end",
    );
}

#[test]
fn there_are_three_ways_to_close() {
    let of = |step: Value| json!({"scenario": {"steps": [{"type": "send", "message": {"value": "last"}}, step]}});
    let server = serve_all(&[
        ("/plain", &of(json!({"type": "close"}))),
        ("/none", &of(json!({"type": "close", "code": 1005}))),
        ("/drop", &of(json!({"type": "close", "code": 1006, "delay": "1ms"}))),
    ]);
    Raw::open(server.mock, "/plain").run("expect text last\nexpect close 1000\nsend close 1000\nend");
    Raw::open(server.mock, "/none").run("expect text last\nexpect close\nsend close\nend");
    Raw::open(server.mock, "/drop").run("expect text last\nend");
    // A client that knows nothing of frames sees the same.
    assert_eq!(Client::open(server.mock, "/plain").rest(), ["text last", "close 1000"]);
    assert_eq!(Client::open(server.mock, "/drop").rest(), ["text last", "gone"]);
}

#[test]
fn answers_with_delays_keep_their_order() {
    let server = serve(&json!({
        "echoMode": true, "matchers": [{"match": {"type": "exact", "value": "slow"}, "response": {"value": "done"}, "delay": "200ms"}]
    }));
    let mut raw = Raw::open(server.mock, "/ws");
    raw.conn
        .send([(TEXT, "slow"), (TEXT, "fast"), (PING, "p")].map(|(kind, text)| frame(0x80 | kind, Some(MASK), text.as_bytes())).concat());
    raw.run("expect pong p\nexpect text done\nexpect text fast");
}

#[test]
fn the_servers_preference_chooses_the_subprotocol() {
    let server = serve_all(&[
        ("/ws", &json!({"subprotocols": ["b", "a"]})),
        ("/strict", &json!({"subprotocols": ["b", "a"], "requireSubprotocol": true})),
    ]);
    let chosen = |path: &str, offered: &str| {
        let raw = Raw::open_with(server.mock, path, &[("Sec-WebSocket-Protocol", offered)]);
        raw.head.field("sec-websocket-protocol").map(str::to_owned)
    };
    for path in ["/ws", "/strict"] {
        assert_eq!(chosen(path, "a, b").as_deref(), Some("b"));
        assert_eq!(chosen(path, "x, a").as_deref(), Some("a"));
    }
    assert_eq!(chosen("/ws", "x"), None);
    assert_eq!(Raw::open(server.mock, "/ws").head.field("sec-websocket-protocol"), None);
    let refused = Raw::try_open(server.mock, "/strict", &[("Sec-WebSocket-Protocol", "x, y")]).unwrap_err();
    refused.expect_error(400, "bad_request", &["Sec-WebSocket-Protocol: this mock speaks b, a only; the client offers x, y"]);
    let refused = Raw::try_open(server.mock, "/strict", &[]).unwrap_err();
    refused.expect_error(400, "bad_request", &["the client offers none"]);
}

#[test]
fn a_mock_has_room_for_so_many_connections() {
    let server = serve(&json!({"maxConnections": 2}));
    let mut first = Raw::open(server.mock, "/ws");
    let second = Raw::open(server.mock, "/ws");
    first.run("send text a\nexpect text a");
    let refused = Raw::try_open(server.mock, "/ws", &[]).unwrap_err();
    assert_eq!(refused.head.field("retry-after"), Some("1"));
    refused.expect_error(503, "too_many_connections", &["2"]);
    // Who vanishes has gone when the server has heard of it.
    drop(second);
    let mut third = eventually("a free place", || Raw::try_open(server.mock, "/ws", &[]).ok());
    third.run("send text c\nexpect text c");
    first.run("send text b\nexpect text b");
}

#[test]
fn a_place_is_free_for_who_comes_back_at_once_after_the_close() {
    let bye = json!([{"type": "expect", "match": {"type": "exact", "value": "go"}}, {"type": "close", "reason": "went"}]);
    let server = serve(&json!({"maxConnections": 1, "echoMode": true, "scenario": {"steps": bye}}));
    for _ in 0..20 {
        let mut closes = Raw::open(server.mock, "/ws");
        closes.run("send text a\nexpect text a\nsend close 1000\nexpect close 1000");
        // The connection of the first is not even closed when the second one comes.
        let mut is_closed = Raw::open(server.mock, "/ws");
        is_closed.run("send text go\nexpect close 1000 went");
        Raw::open(server.mock, "/ws").run("send close\nexpect close");
    }
}

#[test]
fn a_message_has_a_largest_size_of_its_own() {
    let server = serve_all(&[("/small", &json!({"maxMessageSize": 4})), ("/ws", &json!({}))]);
    let mut raw = Raw::open(server.mock, "/small");
    raw.run("send text 1234\nexpect text 1234\nsend text 12345\nexpect close 1009 the message is too large\nend");
    // All fragments together.
    let mut raw = Raw::open(server.mock, "/small");
    raw.conn.send([frame(TEXT, Some(MASK), b"123"), frame(0x80, Some(MASK), b"45")].concat());
    raw.run("expect close 1009 the message is too large\nend");
    Raw::open(server.mock, "/ws").run("send text 12345\nexpect text 12345");
}

#[test]
fn a_client_that_breaks_the_protocol_is_told_so() {
    let server = serve(&json!({}));
    let mut raw = Raw::open(server.mock, "/ws");
    raw.conn.send(frame(0x80 | TEXT, Some(MASK), b"\xff"));
    raw.run("expect close 1007 a text message must be UTF-8\nend");
    let mut raw = Raw::open(server.mock, "/ws");
    raw.conn.send(frame(0x80 | TEXT, None, b"bare"));
    raw.run("expect close 1002 a client's frame is not masked\nend");
}

#[test]
fn fragments_make_one_message() {
    let server = serve(&json!({}));
    let mut raw = Raw::open(server.mock, "/ws");
    let parts = [(TEXT, "one "), (0, "two "), (0x89, "p"), (0x80, "three")];
    raw.conn.send(parts.map(|(first, payload)| frame(first, Some(MASK), payload.as_bytes())).concat());
    raw.run("expect pong p\nexpect text one two three");
    // Byte by byte.
    for byte in frame(0x80 | BINARY, Some(MASK), &[1, 2, 3]) {
        raw.conn.send([byte]);
    }
    raw.run("expect binary 010203");
    let large = "x".repeat(200_000);
    raw.send(TEXT, &large);
    assert_eq!(raw.frame().text(), large);
}

#[test]
fn silence_ends_a_connection_with_1001() {
    let server = serve(&json!({"idleTimeout": "500ms"}));
    let mut raw = Raw::open(server.mock, "/ws");
    raw.run(
        "send text a\nexpect text a\nsend ping is no data\nexpect pong is no data\nexpect close 1001 idle timeout\nsend close 1001\nend",
    );
}

#[test]
fn a_heart_that_stops_ends_a_connection_with_1001() {
    let server = serve_all(&[
        ("/ws", &json!({"heartbeat": {"interval": "10ms", "timeout": "5s"}})),
        ("/strict", &json!({"heartbeat": {"interval": "10ms", "timeout": "10ms"}})),
    ]);
    let mut raw = Raw::open(server.mock, "/ws");
    for _ in 0..3 {
        assert_eq!(raw.frame().words(), "ping ");
        raw.send(PONG, "");
    }
    let mut raw = Raw::open(server.mock, "/strict");
    let rest = raw.rest();
    assert_eq!(rest.last().map(String::as_str), Some("close 1001 heartbeat timeout"), "{rest:?}");
    assert!(rest.len() > 1 && rest[..rest.len() - 1].iter().all(|words| words == "ping "), "{rest:?}");
}

#[test]
fn templates_are_filled_for_each_message() {
    let server = serve(&json!({"matchers": [
        {"match": {"type": "exact", "value": "id"}, "response": {"value": "{{uuid}} {{uuid}}"}},
        {"match": {"type": "exact", "value": "time"}, "response": {"type": "json", "value": ["{{timestamp}}", "{{now}}", "{{ timestamp }}!"]}}
    ], "defaultResponse": {"value": "{{message.a.1}}|{{message.no}}|{{nothing}}|{{message}}"}}));
    let mut raw = Raw::open(server.mock, "/ws");
    raw.send(TEXT, "id");
    let ids = raw.frame().text();
    let (one, other) = ids.split_once(' ').unwrap();
    assert!(one != other && [one, other].iter().all(|id| id.len() == 36 && &id[14..15] == "4"), "{ids}");
    raw.send(TEXT, "time");
    let times: Value = serde_json::from_slice(&raw.frame().payload).unwrap();
    let seconds = times[0].as_u64().unwrap();
    assert_eq!(times[2], format!("{seconds}!"));
    assert_eq!(mockd::base::time::parse_rfc3339(times[1].as_str().unwrap()).map(|us| us / 1_000_000), Some(seconds));
    raw.run(
        "send text {\"a\":[0,{\"b\":\"{{uuid}}\"}]}
         expect text {\"b\":\"{{uuid}}\"}||{{nothing}}|{\"a\":[0,{\"b\":\"{{uuid}}\"}]}
         send text {{now}}
         expect text ||{{nothing}}|{{now}}",
    );
}

#[test]
fn a_mocks_connection_is_recorded_like_any_other() {
    let server = serve(&json!({"subprotocols": ["v1"], "scenario": {"steps": [
        {"type": "send", "message": {"value": "welcome"}},
        {"type": "expect"},
        {"type": "send", "message": {"type": "binary", "value": "AAE="}},
        {"type": "close", "code": 4000, "reason": "over"}
    ]}}));
    let id = server.record("websocket", "/ws");
    let mut raw = Raw::open_with(server.mock, "/ws?room=1", &[("Sec-WebSocket-Protocol", "v1")]);
    raw.run("expect text welcome\nsend text hi\nexpect binary 0001\nexpect close 4000 over\nsend close 4000 over\nend");
    let recording = server.finished(&id);
    assert_eq!((&recording["status"], &recording["metadata"]["source"]), (&json!("complete"), &json!("mock")));
    assert_eq!(recording["metadata"]["query"], json!({"room": "1"}));
    let websocket = &recording["websocket"];
    assert_eq!(
        (&websocket["subprotocol"], &websocket["closeCode"], &websocket["closedBy"]),
        (&json!("v1"), &json!(4000), &json!("server"))
    );
    let frames = websocket["frames"].as_array().unwrap().iter();
    let frames: Vec<_> = frames.map(|frame| (text(&frame["direction"]), text(&frame["type"]), frame["data"].clone())).take(3).collect();
    let expected = [("s2c", "text", "welcome"), ("c2s", "text", "hi"), ("s2c", "binary", "AAE=")];
    let expected: Vec<_> = expected.map(|(direction, kind, data)| (direction.to_owned(), kind.to_owned(), json!(data))).into();
    assert_eq!(frames, expected);
}

#[test]
fn a_server_that_ends_says_goodbye_and_finishes_the_recording() {
    let mut server = serve_all(&[
        ("/ws", &json!({})),
        (
            "/busy",
            &json!({"scenario": {"loop": true, "steps": [
                {"type": "send", "message": {"value": "tick", "delay": "1ms"}}
            ]}}),
        ),
    ]);
    let id = server.record("websocket", "/ws");
    let mut raw = Raw::open(server.mock, "/ws");
    let mut busy = Raw::open(server.mock, "/busy");
    raw.run("send text a\nexpect text a");
    busy.run("expect text tick");
    server.signal("TERM");
    raw.run("expect close 1001 the server is going away\nsend close 1001");
    assert_eq!(busy.rest().last().map(String::as_str), Some("close 1001 the server is going away"));
    assert!(server.exit().success());
    let server = server.again();
    let recording = server.recording(&id);
    assert_eq!((&recording["status"], &recording["websocket"]["closedBy"]), (&json!("complete"), &json!("recorder")));
}

/// Trap: a thread that writes to a client which reads nothing hears neither its inbox nor the end of its patience.
#[test]
fn a_client_that_takes_nothing_loses_its_connection() {
    let config = config(&[(
        "/ws",
        &json!({"scenario": {"loop": true, "steps": [
            {"type": "send", "message": {"value": "x".repeat(100_000), "delay": "1ms"}}
        ]}}),
    )]);
    let server = Server::builder().config(&config).option("--stall-timeout", "200").start();
    let mut raw = Raw::open(server.mock, "/ws");
    eventually("the log of a stalled client", || server.log().contains("took no byte").then_some(()));
    while raw.try_frame().is_some() {}
}

#[test]
fn messages_that_wait_hold_up_the_reader_and_none_is_lost() {
    let config = config(&[(
        "/ws",
        &json!({"scenario": {"loop": true, "steps": [
        {"type": "wait", "duration": "20ms"},
        {"type": "expect", "match": {"type": "exact", "value": "last"}},
        {"type": "close"}
    ]}, "defaultResponse": {"value": "{{message}}"}}),
    )]);
    let server = Server::builder().config(&config).option("--max-queued-messages", 10).start();
    let mut raw = Raw::open(server.mock, "/ws");
    for number in 0..500 {
        raw.send(TEXT, number.to_string());
    }
    raw.send(TEXT, "last");
    let mut expected: Vec<String> = (0..500).map(|number| format!("text {number}")).collect();
    expected.push("close 1000".to_owned());
    assert_eq!(raw.rest(), expected);
}

#[test]
fn two_hundred_clients_talk_to_one_mock_at_once() {
    let server = serve(&json!({"scenario": {"steps": [
        {"type": "send", "message": {"value": "welcome"}},
        {"type": "expect", "match": {"type": "prefix", "value": "client"}},
        {"type": "send", "message": {"value": "hello {{message}}", "delay": "5ms"}},
        {"type": "close", "code": 3000}
    ]}}));
    let all_there = Barrier::new(200);
    std::thread::scope(|scope| {
        for number in 0..200 {
            let (server, all_there) = (&server, &all_there);
            scope.spawn(move || {
                let mut raw = Raw::open(server.mock, "/ws");
                raw.run("expect text welcome");
                all_there.wait();
                raw.run(&format!("send text client {number}\nexpect text hello client {number}\nexpect close 3000\nsend close 3000\nend"));
            });
        }
    });
}

#[test]
fn live_connections_of_a_mock_go_on_when_it_is_deleted() {
    let server = Server::start();
    let made = server.post("/mocks", &json!({"type": "websocket", "websocket": {"path": "/ws"}})).expect(201).json();
    let mut raw = Raw::open(server.mock, "/ws");
    raw.run("send text a\nexpect text a");
    server.call("DELETE", &format!("/mocks/{}", text(&made["id"])), &Value::Null).expect(204);
    raw.run("send text b\nexpect text b\nsend close 1000\nexpect close 1000\nend");
    assert_eq!(Raw::try_open(server.mock, "/ws", &[]).unwrap_err().status(), 404);
}

#[test]
fn a_close_frame_that_nobody_may_send_is_a_breach_of_the_protocol() {
    let server = serve(&json!({}));
    for (payload, answer) in [
        (&b"\x00\x00"[..], 1002),
        (b"\x03\xe7", 1002),
        (b"\x03\xec", 1002),
        (b"\x03\xed", 1002),
        (b"\x03\xee", 1002),
        (b"\x03\xf7", 1002),
        (b"\x13\x88", 1002),
        (b"\x03", 1002),
        (b"\x03\xe8\xff", 1007),
        (b"\x03\xe8ok", 1000),
        (b"\x0b\xb8", 3000),
    ] {
        let mut client = Raw::open(server.mock, "/ws");
        client.send(8, payload);
        assert_eq!(client.frame().payload[..2], u16::to_be_bytes(answer), "{payload:?}");
    }
}
