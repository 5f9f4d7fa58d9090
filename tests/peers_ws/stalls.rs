//! Peers that read nothing, or next to nothing, while the other side has much to say: what is held for them is bounded, the stream ends
//! as it should, and others are served on.

use std::net::Shutdown;
use std::time::Duration;

use serde_json::json;

use super::stage::{Side, Stage};
use crate::support::effort::rounds;
use crate::support::recordings::ws;
use crate::support::server::{Builder, Place};
use crate::support::stuck::push_until_stuck;
use crate::support::wait::eventually;
use crate::support::ws::{BINARY, MASK, Raw, frame};
use crate::support::{Conn, Server};

/// A generous figure for what one connection may hold: kernel buffers are not the server's, a tape or a write is.
const GENEROUS: u64 = 48 << 20;

/// A client that will read nothing, or next to nothing: its kernel takes little for it.
fn open_lazy(server: &Server, path: &str) -> Raw {
    let raw = Raw::open(server.mock, path);
    nix::sys::socket::setsockopt(&raw.conn.stream, nix::sys::socket::sockopt::RcvBuf, &16_384).expect("a buffer can be small");
    raw
}

/// A relay holds nothing for a side that does not read: the sender is stopped by its own full socket, both ways, and what was taken arrives.
#[test]
fn a_relay_stops_the_sender_where_the_other_side_reads_nothing() {
    let mut stage = Stage::with(|server| server.flag("--record").flag("*"));
    for (side, back) in [(Side::RelayClient, Some(MASK)), (Side::RelayUpstream, None)] {
        let before = stage.server_bytes();
        let mut met = stage.meet(side, "stuck");
        let mut other = met.other.take().unwrap();
        let bytes = frame(0x80 | BINARY, back, &[7; 65_000]);
        let most = 64 << 20;
        let sent = push_until_stuck(&mut met.peer.conn, &bytes, most);
        assert!(sent < most, "{side:?}: {sent} bytes were taken, and nobody read one");
        let grown = stage.server_bytes().saturating_sub(before);
        assert!(grown < GENEROUS, "{side:?}: {grown} bytes more are resident");
        stage.check_bystander("a stalled relay");
        met.peer.conn.stream.shutdown(Shutdown::Write).expect("the connection is open");
        // Nobody is there to finish the last frame: all that was taken arrives, then the end.
        let mut arrived = 0;
        let mut buffer = vec![0; 1 << 20];
        loop {
            match other.conn.read(&mut buffer) {
                Ok(0) | Err(_) => break,
                Ok(read) => arrived += read,
            }
        }
        assert_eq!(arrived, sent, "{side:?}");
        println!("stalled relay, {side:?}: {sent} bytes taken until the sender was stopped, {grown} bytes more resident");
    }
    stage.check_log();
}

/// A server whose mock sends without end, whose other mock echoes, and whose recordings are large.
fn talkative(set: impl FnOnce(Builder) -> Builder) -> Server {
    let place = Place::new();
    let mut made = ws("/x");
    for number in 0..120 {
        made = made.s2c(number, &"r".repeat(50_000));
    }
    place.file("large.json", &made.json().to_string());
    let endless = json!({"loop": true, "steps": [{"type": "send", "message": {"value": "x".repeat(50_000), "delay": "1us"}}]});
    let mocks = json!([
        {"type": "websocket", "websocket": {"path": "/endless", "scenario": endless}},
        {"type": "websocket", "websocket": {"path": "/echo", "echoMode": true}},
        {"type": "websocket", "websocket": {"path": "/bystander", "echoMode": true}},
        {"type": "websocket", "websocket": {"path": "/replay", "replay": {"recording": "large.json", "timingScale": 0}}},
    ]);
    let config = place.file("talk.json", &json!({"version": "1.0", "mocks": mocks}).to_string());
    set(Server::builder().place(&place).option("--config", config.display())).start()
}

/// At a mock that talks without end, at one that echoes a flood, and at a replay of 6 MB.
#[test]
fn a_client_that_takes_nothing_is_dropped_and_others_are_served() {
    let server = talkative(|server| server.option("--stall-timeout", 300));
    let id = server.record("websocket", "/endless");
    let mut bystander = Raw::open(server.mock, "/bystander");
    for (others, path) in ["/endless", "/echo", "/replay"].into_iter().enumerate() {
        let mut stalled = open_lazy(&server, path);
        if path == "/echo" {
            // Once it has been dropped what it sends is read to nowhere for a moment, so that nothing is said by how much it could send.
            let before = resident(&server);
            push_until_stuck(&mut stalled.conn, &frame(0x80 | BINARY, Some(MASK), &[7; 65_000]), 32 << 20);
            let grown = resident(&server).saturating_sub(before);
            assert!(grown < GENEROUS, "{grown} bytes more are resident");
        }
        // It is dropped without a word, though it does nothing.
        eventually(&format!("the end of {path}"), || (count_dropped(&server) == others + 1).then_some(()));
        bystander.run("send text on\nexpect text on");
    }
    let websocket = &server.finished(&id)["websocket"];
    assert_eq!((&websocket["closedBy"], &websocket["closeCode"]), (&json!("server"), &json!(1006)));
    assert!(!server.log().contains("panicked"));
}

/// How many clients of mocks and replays were dropped because they took nothing.
fn count_dropped(server: &Server) -> usize {
    let views = server.get("/replay?all=true")["replays"].as_array().cloned().unwrap_or_default();
    let replays = views.iter().filter(|view| view["statusReason"] == "client_stalled").count();
    server.log().matches("took no byte").count() + replays
}

/// The queue of a session was bounded by the number of messages alone: a thousand of the largest size.
#[test]
fn messages_that_wait_are_bounded_in_bytes_as_well() {
    /// Messages of a mebibyte, more than may wait.
    const ENOUGH: u64 = 20;
    let place = Place::new();
    let mut made = ws("/x").s2c(0, "hello");
    for number in 0..ENOUGH {
        made = made.s2c(1000 + number, "w").c2s(1000 + number, "x");
    }
    place.file("talk.json", &made.json().to_string());
    let scenario = json!({"steps": [{"type": "wait", "duration": "1h"}, {"type": "expect"}]});
    let mocks = json!([
        {"type": "websocket", "websocket": {"path": "/waits", "scenario": scenario}},
        {"type": "websocket", "websocket": {"path": "/delays", "defaultResponse": {"value": "late", "delay": "1h"}}},
        {"type": "websocket", "websocket": {"path": "/replay", "replay": {"recording": "talk.json", "mode": "synchronized"}}},
        {"type": "websocket", "websocket": {"path": "/echo", "echoMode": true}},
    ]);
    let config = place.file("wait.json", &json!({"version": "1.0", "mocks": mocks}).to_string());
    let server = Server::builder().place(&place).option("--config", config.display()).option("--stall-timeout", 60_000).start();
    let mut bystander = Raw::open(server.mock, "/echo");
    let mut open = Vec::new();
    for path in ["/waits", "/delays"] {
        let before = resident(&server);
        let mut raw = Raw::open(server.mock, path);
        let bytes = frame(0x80 | BINARY, Some(MASK), &[7; 1 << 20]);
        let most = rounds(64, 1000) as usize * bytes.len();
        let sent = push_until_stuck(&mut raw.conn, &bytes, most);
        assert!(sent < most, "{path}: {sent} bytes were taken");
        let grown = resident(&server).saturating_sub(before);
        assert!(grown < GENEROUS, "{path}: {grown} bytes more are resident");
        bystander.run("send text on\nexpect text on");
        println!("{path}: {sent} bytes taken until reading stopped, {grown} bytes more resident");
        open.push(raw);
    }
    // Where they are dealt with reading goes on, and none is lost.
    let mut raw = Raw::open(server.mock, "/replay");
    raw.run("expect text hello\nexpect text w");
    let mut writer = Conn::over(raw.conn.stream.try_clone().expect("a second handle"));
    let sending = std::thread::spawn(move || (0..ENOUGH).for_each(|_| writer.send(frame(0x80 | BINARY, Some(MASK), &[7; 1 << 20]))));
    for _ in 1..ENOUGH {
        raw.run("expect text w");
    }
    sending.join().expect("all are taken");
    drop(open);
}

fn resident(server: &Server) -> u64 {
    super::stage::resident_bytes(server.pid)
}

/// Trap: a write that waits for its client used to hold up the time-outs of a mock until the client had stalled.
#[test]
fn the_time_outs_of_a_mock_run_while_its_client_takes_nothing() {
    let send = json!({"loop": true, "steps": [{"type": "send", "message": {"value": "x".repeat(100_000), "delay": "1us"}}]});
    let mocks = json!([
        {"type": "websocket", "websocket": {"path": "/idle", "scenario": send, "idleTimeout": "200ms"}},
        {"type": "websocket", "websocket": {"path": "/beat", "scenario": send, "heartbeat": {"enabled": true, "interval": "100ms", "timeout": "100ms"}}},
    ]);
    let config = json!({"version": "1.0", "mocks": mocks}).to_string();
    // Nothing but the mock's own time-outs ends this within the test's.
    let server = Server::builder().config(&config).option("--stall-timeout", 600_000).flag("--record").flag("*").start();
    for path in ["/idle", "/beat"] {
        let _raw = open_lazy(&server, path);
        let list = format!("/stream-recordings?path={path}&status=complete");
        eventually(&format!("the end of {path}"), || server.get(&list)["recordings"].get(0).map(drop));
    }
}

/// One whose pong stands behind what we do not read is not silent.
#[test]
fn a_client_that_our_own_full_queue_silences_is_not_timed_out() {
    let talk = json!({
        "path": "/ws", "matchers": [{"match": {"type": "prefix", "value": "m"}, "response": {"value": "r", "delay": "1500ms"}}],
        "heartbeat": {"enabled": true, "interval": "300ms", "timeout": "1s"}
    });
    let config = json!({"version": "1.0", "mocks": [{"type": "websocket", "websocket": talk}]}).to_string();
    let server = Server::builder().config(&config).option("--max-queued-messages", 2).start();
    let mut raw = Raw::open(server.mock, "/ws");
    // Two are queued at a time, each pair for longer than a pong may take: the pongs stand behind the others.
    for _ in 0..4 {
        raw.send(1, "m");
    }
    let mut answers = 0;
    while answers < 4 {
        let frame = raw.frame();
        match frame.words().as_str() {
            "text r" => answers += 1,
            words if words.starts_with("ping") => raw.send(10, &frame.payload),
            words => panic!("{words} after {answers} answers"),
        }
    }
}

/// One byte now and then: TCP opens its window by large steps only, so that such a client takes nothing most of the time.
#[test]
fn a_client_that_takes_a_byte_now_and_then_holds_up_nobody() {
    let server = talkative(|server| server.option("--stall-timeout", 400));
    let mut bystander = Raw::open(server.mock, "/echo");
    let mut slow: Vec<Raw> = ["/endless", "/replay"].iter().map(|path| open_lazy(&server, path)).collect();
    let before = resident(&server);
    eventually("the end of both", || {
        for raw in &mut slow {
            raw.conn.stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a time-out can be set");
            // What it had been sent is still there after the end.
            drop(raw.conn.read(&mut [0]));
        }
        bystander.run("send text on\nexpect text on");
        (count_dropped(&server) == 2).then_some(())
    });
    assert!(resident(&server).saturating_sub(before) < GENEROUS);
}
