//! The WebSocket relay of SPEC 1: the handshake is the upstream's, the bytes are the sender's, the end is as it happened.

use std::io::Write;
use std::sync::mpsc::channel;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::http::{Conn, request_head};
use crate::support::upstream::gate;
use crate::support::ws::{BINARY, CLOSE, Client, HANDSHAKE, MASK, PING, Raw, TEXT, close_payload, frame};
use crate::support::{Server, Upstream, wait};

#[test]
fn the_client_gets_the_subprotocol_that_the_upstream_chose() {
    let upstream = Upstream::websocket(Some("chat.v2"), |mut raw| raw.run("send text hello\nexpect close 1000\nsend close 1000"));
    let server = Server::before(&upstream);
    let mut client = Client::open_with(server.mock, "/ws/chat?room=1", Some("chat.v1, chat.v2"));
    assert_eq!(client.response.headers()["sec-websocket-protocol"], "chat.v2");
    assert_eq!(client.next(), "text hello");
    let head = upstream.head();
    assert_eq!(head.target(), "/ws/chat?room=1");
    assert_eq!(head.field("sec-websocket-protocol"), Some("chat.v1, chat.v2"));
}

#[test]
fn a_refusal_reaches_the_client_unchanged() {
    let upstream = Upstream::answering(
        "HTTP/1.1 401 Who Are You\r\nWWW-Authenticate: Bearer\r\nX-Reason: no token\r\nContent-Length: 9\r\n\r\ngo away.\n",
    );
    let server = Server::before(&upstream);
    let answer = Raw::try_open(server.mock, "/ws", &[]).expect_err("a refusal");
    assert_eq!(answer.head.start, "HTTP/1.1 401 Who Are You");
    assert_eq!(answer.head.field("www-authenticate"), Some("Bearer"));
    assert_eq!(answer.head.field("x-reason"), Some("no token"));
    assert_eq!(answer.text(), "go away.\n");
}

#[test]
fn the_request_reaches_the_upstream_as_it_was_but_for_the_named_headers() {
    let upstream = Upstream::websocket(None, |mut raw| raw.run("expect close 1000"));
    let server = Server::before(&upstream);
    let fields = [
        ("host", "app.example:4280"),
        ("X-First", "1"),
        ("x-SECOND", "a, b"),
        ("Origin", "http://app.example"),
        ("Accept-Encoding", "gzip"),
        ("Sec-WebSocket-Extensions", "permessage-deflate"),
        ("TE", "trailers"),
        ("Keep-Alive", "timeout=5"),
        ("Proxy-Connection", "keep-alive"),
        ("X-First", "2"),
        ("Cookie", "session=secret"),
    ];
    let mut client = Raw::open_with(server.mock, "/ws/%7Ea//b/?q=a%20b&q=c+d", &fields);
    let head = upstream.head();
    assert_eq!(head.start, "GET /ws/%7Ea//b/?q=a%20b&q=c+d HTTP/1.1");
    assert_eq!(head.field("host"), Some(upstream.address.to_string().as_str()));
    for dropped in ["Accept-Encoding", "Sec-WebSocket-Extensions", "TE", "Keep-Alive", "Proxy-Connection"] {
        assert_eq!(head.field(dropped), None, "{dropped}");
    }
    let kept: Vec<(&str, &str)> = head.fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let own = ["X-First", "x-SECOND", "Origin", "Cookie"];
    let kept: Vec<_> = kept.into_iter().filter(|(name, _)| own.contains(name)).collect();
    let sent = [("X-First", "1"), ("x-SECOND", "a, b"), ("Origin", "http://app.example"), ("X-First", "2"), ("Cookie", "session=secret")];
    assert_eq!(kept, sent);
    assert_eq!(head.field("sec-websocket-key"), Some("dGhlIHNhbXBsZSBub25jZQ=="));
    client.close(1000, "");
}

#[test]
fn headers_named_by_connection_are_dropped() {
    let upstream = Upstream::websocket(None, |mut raw| raw.run("expect close 1000"));
    let server = Server::before(&upstream);
    let mut conn = Conn::open(server.mock);
    let fields = [("Connection", "Upgrade, X-Hop"), ("X-Hop", "1"), ("X-Stays", "1")];
    conn.send(request_head("GET", "/ws", &[&HANDSHAKE[1..], &fields].concat(), 0));
    assert_eq!(conn.answer("GET").status(), 101);
    let head = upstream.head();
    assert_eq!(head.field("x-hop"), None);
    assert_eq!(head.field("x-stays"), Some("1"));
}

#[test]
fn origin_is_what_the_upstream_entry_sets() {
    let upstream = Upstream::websocket(None, |mut raw| raw.run("expect close 1000"));
    let config = format!("upstreams:\n  - path: /ws/*\n    url: {}/base\n    origin: https://allowed.example\n", upstream.url());
    let server = Server::builder().config(&config).start();
    let mut client = Raw::open_with(server.mock, "/ws/chat?x=1", &[("Origin", "http://localhost:3000")]);
    let head = upstream.head();
    assert_eq!(head.field("origin"), Some("https://allowed.example"));
    assert_eq!(head.target(), "/base/ws/chat?x=1");
    client.close(1000, "");
}

#[test]
fn fragments_and_masks_pass_byte_for_byte() {
    let (sender, seen) = channel();
    let upstream = Upstream::websocket(None, move |mut raw| {
        for _ in 0..5 {
            sender.send(raw.frame().bytes).expect("the test runs");
        }
        raw.conn
            .send([frame(0x01, None, b"one "), frame(0x89, None, b"p"), frame(0x00, None, b"two "), frame(0x80, None, b"three")].concat());
        raw.run("expect close 1000\nsend close 1000");
    });
    let server = Server::before(&upstream);
    let mut client = Raw::open(server.mock, "/ws");
    let long = vec![0xa5; 70_000];
    let frames = [
        frame(0x02, Some([9, 8, 7, 6]), b"\x00\x01"),
        frame(0x8a, Some([0, 0, 0, 0]), b"within"),
        frame(0x00, Some([1, 2, 3, 4]), b""),
        frame(0x80, Some([255, 0, 255, 0]), &[7; 300]),
        frame(0x82, Some(MASK), &long),
    ];
    client.conn.send(frames.concat());
    for sent in frames {
        assert_eq!(wait::next("a frame at the upstream", &seen), sent);
    }
    let got: Vec<Vec<u8>> = (0..4).map(|_| client.frame().bytes).collect();
    assert_eq!(got, [frame(0x01, None, b"one "), frame(0x89, None, b"p"), frame(0x00, None, b"two "), frame(0x80, None, b"three")]);
    client.close(1000, "");
}

#[test]
fn a_frame_split_into_single_bytes_passes() {
    let upstream = Upstream::script("expect text split\nsend text got it\nexpect close 1000\nsend close 1000");
    let server = Server::before(&upstream);
    let mut client = Raw::open(server.mock, "/ws");
    for byte in frame(0x81, Some(MASK), b"split") {
        client.conn.stream.write_all(&[byte]).unwrap();
    }
    client.run("expect text got it\nsend close 1000\nexpect close 1000");
}

#[test]
fn the_relay_answers_no_ping_and_no_close_itself() {
    let (go, gate) = gate();
    let upstream = Upstream::websocket(None, move |mut raw| {
        raw.run("expect ping are you there");
        assert!(gate.wait());
        raw.run(
            "send text before the pong\nsend pong yes\nsend ping and you\nexpect pong I am\nexpect close 4001 bye\nsend close 4002 and bye",
        );
    });
    let server = Server::before(&upstream);
    let mut client = Raw::open(server.mock, "/ws");
    client.run("send ping are you there");
    go.send(()).unwrap();
    client.run("expect text before the pong\nexpect pong yes\nexpect ping and you\nsend pong I am\nsend close 4001 bye\nexpect close 4002 and bye\nend");
}

#[test]
fn an_empty_close_frame_stays_empty() {
    let upstream = Upstream::script("send close\nexpect close");
    let server = Server::before(&upstream);
    let id = server.record("websocket", "/ws");
    Raw::open(server.mock, "/ws").run("expect close\nsend close\nend");
    let websocket = &server.finished(&id)["websocket"];
    assert_eq!((&websocket["closeCode"], &websocket["closedBy"]), (&json!(1005), &json!("server")));
}

#[test]
fn frames_written_just_before_a_close_arrive() {
    let upstream = Upstream::websocket(None, |mut raw| {
        let burst: Vec<u8> = (0..500).flat_map(|number| frame(0x81, None, format!("last {number}").as_bytes())).collect();
        raw.conn.send([burst, frame(0x88, None, &close_payload(1000, "done"))].concat());
        raw.conn.shut_write();
        raw.rest();
    });
    let server = Server::before(&upstream);
    let id = server.record("websocket", "/ws");
    let mut client = Client::open(server.mock, "/ws");
    let got = client.rest();
    let expected: Vec<String> = (0..500).map(|number| format!("text last {number}")).chain(["close 1000 done".to_owned()]).collect();
    assert_eq!(got, expected);
    assert_eq!(server.stop(&id)["recording"]["frameCount"], 500);
}

#[test]
fn a_server_that_vanishes_is_passed_on_as_just_that() {
    let upstream = Upstream::script("send text hello\ndrop");
    let server = Server::before(&upstream);
    let id = server.record("websocket", "/ws");
    let mut client = Raw::open(server.mock, "/ws");
    client.run("expect text hello\nend");
    let recording = server.finished(&id);
    assert_eq!(recording["websocket"]["closeCode"], 1006);
    assert_eq!(recording["websocket"]["closedBy"], "server");
    assert_eq!(recording["status"], "complete");
}

#[test]
fn a_client_that_vanishes_is_passed_on_as_just_that() {
    let (sender, seen) = channel();
    let upstream = Upstream::websocket(None, move |mut raw| {
        raw.run("send text hello");
        sender.send(raw.rest()).expect("the test runs");
    });
    let server = Server::before(&upstream);
    let id = server.record("websocket", "/ws");
    let mut client = Raw::open(server.mock, "/ws");
    client.run("expect text hello\ndrop");
    assert_eq!(wait::next("the end at the upstream", &seen), Vec::<String>::new());
    let recording = server.finished(&id);
    assert_eq!(recording["websocket"]["closeCode"], 1006);
    assert_eq!(recording["websocket"]["closedBy"], "client");
}

/// What a protocol error of the client (`true`) or the server gives the other side, the offender, and the recording.
fn protocol_error(by_client: bool, bytes: &'static [u8]) -> (Vec<String>, Vec<String>, Value) {
    let (sender, seen) = channel();
    let upstream = Upstream::websocket(None, move |mut raw| {
        raw.run("send text before\nexpect text ready");
        if !by_client {
            raw.conn.send(bytes);
        }
        sender.send(raw.rest()).expect("the test runs");
    });
    let server = Server::before(&upstream);
    let id = server.record("websocket", "/ws");
    let mut client = Raw::open(server.mock, "/ws");
    client.run("expect text before\nsend text ready");
    if by_client {
        client.conn.send(bytes);
    }
    let at_client = client.rest();
    let at_upstream = wait::next("the end at the upstream", &seen);
    (at_client, at_upstream, server.finished(&id))
}

#[test]
fn a_protocol_error_gets_1002_sent_to_both_sides() {
    let cases: [(&str, bool, &[u8]); 6] = [
        ("a reserved opcode", false, b"\x83\x00"),
        ("a reserved bit", false, b"\xc1\x01x"),
        ("a mask from the server", false, b"\x81\x81\x01\x02\x03\x04x"),
        ("no mask from the client", true, b"\x81\x01x"),
        ("a fragmented ping", true, b"\x09\x80\x01\x02\x03\x04"),
        ("a continuation of nothing", true, b"\x80\x80\x01\x02\x03\x04"),
    ];
    for (what, by_client, bytes) in cases {
        let (at_client, at_upstream, recording) = protocol_error(by_client, bytes);
        for (side, got) in [("client", at_client), ("upstream", at_upstream)] {
            assert!(got.len() == 1 && got[0].starts_with("close 1002"), "{what}: the {side} got {got:?}");
        }
        assert_eq!(recording["websocket"]["closedBy"], "protocolError", "{what}");
        assert_eq!(recording["websocket"]["closeCode"], 1002, "{what}");
        assert_eq!(recording["stats"]["frameCount"], 2, "{what}");
    }
}

#[test]
fn text_that_is_no_utf8_is_the_endpoints_matter() {
    let upstream = Upstream::websocket(None, |mut raw| {
        assert_eq!(raw.frame().payload, b"\xff\xfe");
        raw.send(TEXT, b"\xc3");
        raw.run("expect close 1000\nsend close 1000");
    });
    let server = Server::before(&upstream);
    let id = server.record("websocket", "/ws");
    let mut client = Raw::open(server.mock, "/ws");
    client.send(TEXT, b"\xff\xfe");
    assert_eq!(client.frame().payload, b"\xc3");
    client.run("send close 1000\nexpect close 1000");
    let frames = &server.finished(&id)["websocket"]["frames"];
    assert_eq!((&frames[0]["type"], &frames[0]["encoding"], &frames[0]["data"]), (&json!("text"), &json!("base64"), &json!("//4=")));
    assert_eq!((&frames[1]["type"], &frames[1]["encoding"], &frames[1]["data"]), (&json!("text"), &json!("base64"), &json!("ww==")));
}

#[test]
fn a_message_past_its_limit_closes_with_1009() {
    let upstream = Upstream::websocket(None, |mut raw| drop(raw.rest()));
    let server = Server::builder().upstream(upstream.url()).config("server:\n  maxMessageBytes: 1000\n").start();
    let mut client = Raw::open(server.mock, "/ws");
    client.send(BINARY, [1; 1000]);
    client.send(BINARY, [1; 1001]);
    let got = client.rest();
    assert!(got.len() == 1 && got[0].starts_with("close 1009"), "{got:?}");
}

#[test]
fn both_directions_flow_at_once() {
    const FRAMES: usize = 400;
    let upstream = Upstream::websocket(None, |mut raw| {
        let mut writer = Conn::over(raw.conn.stream.try_clone().unwrap());
        let writing = std::thread::spawn(move || (0..FRAMES).for_each(|_| writer.send(frame(0x82, None, &[7; 16_000]))));
        for _ in 0..FRAMES {
            assert_eq!(raw.frame().payload.len(), 16_000);
        }
        writing.join().unwrap();
        raw.run("send close 1000 all there\nexpect close 1000 all there");
    });
    let server = Server::before(&upstream);
    let mut client = Raw::open(server.mock, "/ws");
    let mut writer = Conn::over(client.conn.stream.try_clone().unwrap());
    let writing = std::thread::spawn(move || (0..FRAMES).for_each(|_| writer.send(frame(0x82, Some(MASK), &[9; 16_000]))));
    for _ in 0..FRAMES {
        assert_eq!(client.frame().payload.len(), 16_000);
    }
    writing.join().unwrap();
    client.run("expect close 1000 all there\nsend close 1000 all there\nend");
}

/// Trap: without TCP_NODELAY on both legs a small message waits 40 ms for an acknowledgement.
#[test]
fn small_messages_do_not_wait_for_nagle() {
    let upstream = Upstream::websocket(None, |mut raw| {
        while let Some(frame) = raw.try_frame().filter(|frame| frame.opcode() != CLOSE) {
            // Two writes to one frame: the second is what Nagle would hold back.
            let reply = super::support::ws::frame(0x81, None, &frame.payload);
            raw.conn.send(&reply[..1]);
            raw.conn.send(&reply[1..]);
        }
    });
    let server = Server::before(&upstream);
    let mut client = Raw::open(server.mock, "/ws");
    let begin = std::time::Instant::now();
    for number in 0..100 {
        let bytes = frame(0x81, Some(MASK), format!("{number}").as_bytes());
        client.conn.send(&bytes[..1]);
        client.conn.send(&bytes[1..]);
        assert_eq!(client.frame().text(), number.to_string());
    }
    // 100 round trips that each waited for a delayed acknowledgement (40 ms, on either leg) take 4 s or more.
    assert!(begin.elapsed() < Duration::from_secs(3), "{:?}", begin.elapsed());
}

#[test]
fn pings_and_pongs_are_seen_by_the_recording() {
    let upstream = Upstream::script("send ping a\nexpect pong a\nexpect ping b\nsend pong b\nexpect close 1000 x\nsend close 1000 x");
    let server = Server::before(&upstream);
    let id = server.record("websocket", "/ws");
    let mut client = Raw::open(server.mock, "/ws");
    client.run("expect ping a\nsend pong a");
    client.send(PING, "b");
    client.run("expect pong b\nsend close 1000 x\nexpect close 1000 x");
    let recording = server.finished(&id);
    assert_eq!(recording["stats"]["pingPongs"], 4);
    let kinds: Vec<&str> =
        recording["websocket"]["frames"].as_array().unwrap().iter().map(|frame| frame["type"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["ping", "pong", "ping", "pong", "close", "close"]);
}

/// The WebSocket has ended with the second close frame, whatever becomes of TCP.
#[test]
fn a_recording_ends_with_the_closing_handshake_and_not_with_tcp() {
    let (go, gate) = gate();
    let upstream = Upstream::websocket(None, move |mut raw| {
        raw.run("send close 4000 over\nexpect close 4000 over");
        gate.wait();
    });
    let server = Server::before(&upstream);
    let id = server.record("websocket", "/ws");
    let mut client = Raw::open(server.mock, "/ws");
    client.run("expect close 4000 over\nsend close 4000 over");
    let recording = server.finished(&id);
    assert_eq!((&recording["websocket"]["closeCode"], &recording["websocket"]["closedBy"]), (&json!(4000), &json!("server")));
    assert_eq!(recording["websocket"]["frames"].as_array().map(Vec::len), Some(2));
    // Nobody ends TCP: after a second it is ended for them.
    client.expect_end();
    drop(go);
}
