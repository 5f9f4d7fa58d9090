//! The moments between two states of a replay session: a client that has been given a session and is not there yet, an end in the
//! middle of a frame, calls that cross.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::Server;
use crate::support::http::{self, Conn};
use crate::support::recordings::{Made, sse, ws};
use crate::support::wait::eventually;
use crate::support::ws::Raw;

fn posted() -> Made {
    sse("/chat").set("/sse/request", json!({"method": "POST", "body": "0123456789"})).data(0, "x").data(3_600_000_000, "never")
}

#[test]
fn a_session_can_be_deleted_while_its_clients_request_is_on_its_way() {
    let server = Server::start();
    let replay = server.replay(&posted().save(&server.place.data_dir()), &json!({}));
    let mut client = Conn::open(server.mock);
    client.send("POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n012");
    eventually("the session has its client", || {
        let metrics = server.call("GET", "/metrics", &Value::Null).expect(200).text();
        metrics.contains("\nmockd_replays_active 1\n").then_some(())
    });
    server.call("DELETE", &format!("/replay/{replay}"), &Value::Null).expect(204);
    let view = server.view(&replay);
    assert_eq!((&view["status"], &view["statusReason"]), (&json!("aborted"), &json!("stopped")));
    assert_eq!(client.read_to_end(), b"", "the client's connection has ended");
}

#[test]
fn a_client_that_leaves_in_its_request_ends_its_session() {
    let server = Server::start();
    let id = posted().save(&server.place.data_dir());
    for (request, status) in [
        ("POST /chat HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\n012", None),
        ("POST /chat HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", Some(400)),
    ] {
        let replay = server.replay(&id, &json!({}));
        let mut client = Conn::open(server.mock);
        client.send(request);
        client.shut_write();
        assert_eq!(client.try_head().map(|head| head.status()), status, "{request}");
        let view = server.wait(&replay, "ended");
        assert_eq!((&view["status"], &view["statusReason"]), (&json!("aborted"), &json!("client_left")), "{request}");
    }
}

#[test]
fn a_request_longer_than_a_recording_keeps_is_replayed_all_the_same() {
    let server = Server::builder().option("--max-request-body-bytes", 10).start();
    let dir = server.place.data_dir();
    let cut = sse("/chat").set("/sse/request", json!({"method": "POST", "body": "0123456789", "truncated": true}));
    let id = cut.data(0, "x").end("server", 1000).save(&dir);
    for options in [json!({}), json!({"mode": "synchronized", "strictMatching": true})] {
        server.replay(&id, &options);
        let recording = server.record("sse", "/chat");
        let answer = http::ask(server.mock, "POST", "/chat", &[], b"0123456789 and more").expect(200);
        assert_eq!(answer.text(), "data: x\n\n", "{options}");
        server.stop(&recording);
        let request = &server.recording(&recording)["sse"]["request"];
        assert_eq!((&request["body"], &request["truncated"]), (&json!("0123456789"), &json!(true)));
    }
    server.replay(&id, &json!({"mode": "synchronized", "strictMatching": true}));
    http::ask(server.mock, "POST", "/chat", &[], b"0123X56789 and more").expect(409);
}

/// A close frame within another frame would be read as a part of its payload.
#[test]
fn an_end_in_the_middle_of_a_frame_leaves_the_frame_whole() {
    let server = Server::start();
    let id = ws("/ws").s2c(0, &"x".repeat(16 << 20)).s2c(3_600_000_000, "never").save(&server.place.data_dir());
    for (method, call, body, end) in
        [("POST", "/close", json!({"code": 4000, "reason": "enough"}), "close 4000 enough"), ("DELETE", "", Value::Null, "close 1001")]
    {
        let replay = server.replay(&id, &json!({}));
        let mut client = Raw::open(server.mock, "/ws");
        // Some of the frame has come; all of it does not fit into the sockets between the two.
        assert_eq!(client.conn.peek(&mut [0]).expect("a byte"), 1);
        std::thread::scope(|scope| {
            scope.spawn(|| server.call(method, &format!("/replay/{replay}{call}"), &body));
            server.status(&replay, "aborted");
            let frame = client.frame();
            assert_eq!((frame.opcode(), frame.payload.len()), (1, 16 << 20), "{call}");
            assert!(client.frame().words().starts_with(end), "{call}");
        });
        assert_eq!(server.wait(&replay, "ended")["framesSent"], 1, "{call}");
    }
}

#[test]
fn a_wait_for_what_will_never_be_is_408_at_once() {
    let server = Server::start();
    let id = ws("/ws").s2c(0, "x").s2c(3_600_000_000, "never").save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({}));
    server.call("DELETE", &format!("/replay/{replay}"), &Value::Null).expect(204);
    let since = Instant::now();
    for word in ["complete", "waiting"] {
        let answer = server.call("GET", &format!("/replay/{replay}?wait={word}&timeout=60000"), &Value::Null).expect(408);
        assert_eq!(answer.json()["status"], "aborted", "{word}");
    }
    assert!(since.elapsed() < Duration::from_secs(10));
    server.call("GET", &format!("/replay/{replay}?wait=ended"), &Value::Null).expect(200);
}

#[test]
fn an_end_that_was_reached_stays_without_a_reason() {
    let server = Server::start();
    let id = ws("/ws").s2c(0, "x").save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({}));
    let mut client = Raw::open(server.mock, "/ws");
    client.run("expect text x");
    server.wait(&replay, "complete");
    server.call("DELETE", &format!("/replay/{replay}"), &Value::Null).expect(204);
    assert!(client.frame().words().starts_with("close 1001"));
    let view = server.view(&replay);
    assert_eq!((&view["status"], &view["statusReason"]), (&json!("complete"), &Value::Null));
}

#[test]
fn a_name_that_can_be_no_id_is_unknown() {
    let server = Server::start();
    for name in ["x", "", "../../x", "%2e%2e%2f"] {
        let answer = Raw::try_open(server.mock, &format!("/ws?mockd-replay={name}"), &[]).expect_err("a refusal");
        answer.expect_error(404, "not_found", &["replay"]);
    }
}

#[test]
fn a_handshake_that_fails_uses_up_no_session() {
    let server = Server::start();
    let id = ws("/ws").s2c(0, "x").save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({}));
    let fields = [("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", "short")];
    http::ask(server.mock, "GET", &format!("/ws?mockd-replay={replay}"), &fields, b"").expect(400);
    http::ask(server.mock, "GET", "/ws", &fields, b"").expect(400);
    // A path is no pattern.
    for elsewhere in ["/elsewhere", "/*"] {
        http::ask(server.mock, "GET", elsewhere, &fields, b"").expect(404);
    }
    assert_eq!(server.view(&replay)["status"], "pending");
    Raw::open(server.mock, &format!("/ws?mockd-replay={replay}")).run("expect text x");
}

#[test]
fn concurrent_advances_queue() {
    let server = Server::start();
    let mut made = ws("/ws");
    for number in 0..8 {
        made = made.s2c(number, &number.to_string());
    }
    let replay = server.replay(&made.save(&server.place.data_dir()), &json!({"mode": "triggered"}));
    let path = format!("/replay/{replay}/advance");
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..8).map(|_| scope.spawn(|| server.touch(&path).expect(200).json())).collect();
        let mut client = Raw::open(server.mock, "/ws");
        for number in 0..8 {
            client.run(&format!("expect text {number}"));
        }
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    assert!(answers.iter().all(|answer| answer["framesSent"] == 1), "{answers:?}");
    let mut frames: Vec<u64> = answers.iter().filter_map(|answer| answer["currentFrame"].as_u64()).collect();
    frames.sort();
    assert_eq!(frames, [1, 2, 3, 4, 5, 6, 7, 8]);
    let complete: Vec<_> = answers.iter().filter(|answer| answer["complete"] == true).collect();
    assert_eq!(complete.len(), 1, "{answers:?}");
    assert_eq!((&complete[0]["currentFrame"], &complete[0]["status"]), (&json!(8), &json!("complete")));
}

#[test]
fn the_last_thousand_ended_sessions_are_kept() {
    let server = Server::start();
    let id = ws("/ws").s2c(0, "x").save(&server.place.data_dir());
    let mut calls = Conn::open(server.admin);
    let replays: Vec<String> = (0..1003)
        .map(|_| {
            let created = calls.ask("POST", &format!("/stream-recordings/{id}/replay"), &[], b"{}").expect(201).json();
            let replay = crate::support::server::text(&created["id"]);
            calls.ask("DELETE", &format!("/replay/{replay}"), &[], b"").expect(204);
            replay
        })
        .collect();
    let kept = server.get("/replay?all=true");
    assert_eq!((&kept["total"], &kept["replays"][0]["id"]), (&json!(1000), &json!(replays[3])));
    server.call("GET", &format!("/replay/{}", replays[2]), &Value::Null).expect(404);
}

#[test]
fn an_advance_whose_bytes_nobody_takes_says_so() {
    let server = Server::start();
    let id = ws("/ws").s2c(0, &"x".repeat(16 << 20)).s2c(1, "y").save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({"mode": "triggered", "timeout": 300}));
    let mut client = Raw::open(server.mock, "/ws");
    let path = format!("/replay/{replay}/advance");
    server.touch(&path).expect_error(409, "client_stalled", &["300 ms"]);
    assert_eq!(server.view(&replay)["framesSent"], 0);
    assert_eq!(client.frame().payload.len(), 16 << 20);
    assert_eq!(server.touch(&path).expect(200).json()["currentFrame"], 2);
    client.run("expect text y");
}

#[test]
fn no_byte_leaves_after_pause_has_answered_in_the_middle_of_a_frame() {
    let server = Server::start();
    let id = ws("/ws").s2c(0, &"x".repeat(16 << 20)).save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({}));
    let mut client = Raw::open(server.mock, "/ws");
    assert_eq!(client.conn.peek(&mut [0]).expect("a byte"), 1);
    server.touch(&format!("/replay/{replay}/pause")).expect(200);
    // What is between the two is read; then nothing more comes, although there is room.
    client.conn.stream.set_read_timeout(Some(Duration::from_millis(300))).expect("a time-out");
    let mut read = 0;
    let mut buffer = vec![0; 1 << 20];
    while let Ok(length) = client.conn.read(&mut buffer) {
        assert_ne!(length, 0, "the connection stays");
        read += length;
    }
    assert!(read < 16 << 20, "{read} bytes");
    assert_eq!(server.touch(&format!("/replay/{replay}/resume")).expect(200).json()["status"], "playing");
    while server.view(&replay)["status"] != "complete" {
        assert_ne!(client.conn.read(&mut buffer).expect("the rest"), 0);
    }
}
