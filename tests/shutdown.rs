//! SIGTERM under load: whatever a client is doing, it hears of the end, its recording is whole, and the process is gone in time.

mod leaks;
mod signals;

use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Instant;

use serde_json::{Value, json};

use crate::support::effort::rounds;
use crate::support::http::{Conn, request_head};
use crate::support::recordings::{sse, ws};
use crate::support::server::Place;
use crate::support::sse::Stream;
use crate::support::upstream::{EVENT_STREAM, closed_port};
use crate::support::wait::eventually;
use crate::support::ws::{BINARY, Raw, frame};
use crate::support::{Server, Upstream};

/// A WebSocket that says hello and stays; an event stream of one event that stays; floods on `/flood`; silence on `/silent`.
fn lasting() -> Upstream {
    Upstream::http(|head, mut conn| {
        let path = head.target().to_owned();
        // However long the test takes to open the others.
        conn.stream.set_read_timeout(None).expect("an open socket");
        if path.starts_with("/silent") {
            drop(conn.try_head());
        } else if head.field("upgrade").is_some() {
            let mut raw = Raw::accept(conn, head, None);
            raw.send(1, "hello");
            let megabyte = frame(0x80 | BINARY, None, &vec![7; 1 << 20]);
            // Until the relay is gone, which is no fault here.
            while path.starts_with("/flood") && raw.conn.stream.write_all(&megabyte).is_ok() {}
            while raw.try_frame().is_some() {}
        } else {
            conn.send(EVENT_STREAM);
            conn.send_chunk("data: hello\n\n");
            conn.read_to_end();
        }
    })
}

/// A client that is to be told of the end.
enum Client {
    WebSocket(Raw),
    Events(Stream),
    /// Its connection ends; it has nothing more to hear.
    Plain(Conn),
}

impl Client {
    /// Checks that it hears of the end, after `unread` frames that it had not read.
    #[track_caller]
    fn hear_end(&mut self) {
        match self {
            Self::WebSocket(raw) => {
                let rest = raw.rest();
                assert!(rest.len() == 1 && rest[0].starts_with("close 1001"), "{rest:?}");
            }
            // Without its last chunk the reader panics.
            Self::Events(stream) => assert_eq!(stream.rest_text(), ""),
            Self::Plain(conn) => drop(conn.read_to_end()),
        }
    }
}

const MOCKS: &str = "mocks:
- {id: talk, websocket: {path: /mock/ws, scenario: {steps: [{type: send, message: {type: text, value: hello}}, {type: expect, timeout: 1h}]}}}
- {id: show, matcher: {path: /mock/sse}, sse: {events: [{data: hello}, {data: late, delay: 3600000}]}}
- {id: again, websocket: {path: /mock/replay, replay: {recording: RECORDING, mode: pure}}}
";

fn slow_ws(path: &str) -> crate::support::recordings::Made {
    ws(path).s2c(0, "hello").c2s(1000, "never").s2c(3_600_000_000, "late")
}

/// A server whose every stream is recorded, with everything on it that a client can be at.
fn busy_server(upstream: &Upstream) -> Server {
    let place = Place::new();
    let id = slow_ws("/played").save(&place.data_dir());
    Server::builder()
        .place(&place)
        .upstream(upstream.url())
        .flag("--record")
        .config(&MOCKS.replace("RECORDING", &id))
        .option("--max-pending-replays", 2000)
        .start()
}

fn open_ws(server: &Server, path: &str) -> Client {
    let mut raw = Raw::open(server.mock, path);
    assert_eq!(raw.frame().words(), "text hello");
    Client::WebSocket(raw)
}

fn open_events(server: &Server, path: &str) -> Client {
    let mut stream = Stream::open(server.mock, path, &[]);
    stream.expect("data: hello\n\n");
    Client::Events(stream)
}

/// A replay session in one of its states, with its client.
fn open_replay(server: &Server, id: &str, number: u64) -> Client {
    let mode = ["pure", "synchronized", "triggered", "pure"][number as usize % 4];
    let path = format!("/replay/{number}");
    let mut options = json!({"mode": mode, "path": path});
    if mode != "pure" {
        options["timeout"] = json!(0);
    }
    let session = server.replay(id, &options);
    let mut raw = Raw::open(server.mock, &path);
    if mode != "triggered" {
        assert_eq!(raw.frame().words(), "text hello");
    }
    if number % 4 == 3 {
        server.touch(&format!("/replay/{session}/pause")).expect(200);
    }
    Client::WebSocket(raw)
}

/// One of every kind of client, and how many streams are recorded of it.
fn open_one(server: &Server, id: &str, number: u64) -> (Client, u64) {
    match number % 9 {
        0 | 1 => (open_ws(server, "/ws"), 1),
        2 | 3 => (open_events(server, "/events"), 1),
        4 => (open_ws(server, "/mock/ws"), 1),
        5 => (open_events(server, "/mock/sse"), 1),
        6 => (open_ws(server, "/mock/replay"), 1),
        7 => (open_replay(server, id, number / 9), 1),
        _ => {
            let mut conn = Conn::open(server.mock);
            if number.is_multiple_of(2) {
                conn.send("GET /slow HTTP/1.1\r\nHost: x");
            } else {
                conn.ask("OPTIONS", "/mock/sse", &[("Origin", "http://a"), ("Access-Control-Request-Method", "GET")], b"");
            }
            (Client::Plain(conn), 0)
        }
    }
}

/// The client of a replay that reads nothing, of more than the buffers between the two take.
fn open_stalled(server: &Server) -> Raw {
    let id = ws("/stalled").s2c(0, "FLOOD").save(&server.place.data_dir());
    let path = server.place.data_dir().join(format!("rec_{id}.json"));
    let text = std::fs::read_to_string(&path).expect("a file").replace("FLOOD", &"x".repeat(8 << 20));
    std::fs::write(&path, text).expect("the disk takes it");
    server.replay(&id, &json!({}));
    Raw::open(server.mock, "/stalled")
}

/// A call that waits; it gives what came of it, be it nothing.
fn call_in_background(server: &Server, method: &'static str, path: String, body: &'static str) -> JoinHandle<Option<u16>> {
    let mut conn = Conn::open(server.admin);
    conn.send(request_head(method, &path, &[], body.len()) + body);
    conn.stream.set_read_timeout(None).expect("an open socket");
    std::thread::spawn(move || conn.try_head().map(|head| head.status()))
}

#[test]
fn sigterm_ends_clients_of_all_kinds_and_completes_every_recording() {
    let opened = Instant::now();
    let upstream = lasting();
    let mut server = busy_server(&upstream);
    let id = slow_ws("/ws").save(&server.place.data_dir());
    let count = rounds(100, 1000);
    let (mut clients, recorded): (Vec<Client>, Vec<u64>) = (0..count).map(|number| open_one(&server, &id, number)).unzip();
    let recorded: u64 = recorded.iter().sum();

    // Calls that wait.
    let pending = server.replay(&id, &json!({"mode": "triggered", "path": "/nobody", "timeout": 0}));
    let calls = [
        call_in_background(&server, "POST", format!("/replay/{pending}/advance"), ""),
        call_in_background(&server, "GET", format!("/replay/{pending}?wait=complete&timeout=3600000"), ""),
    ];
    let mut half_import = Conn::open(server.admin);
    half_import.send("POST /stream-recordings/import HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{\"half");
    // Peers that hold something up: an upstream that is silent, clients that read nothing, one that is a session's own.
    let mut silent = Conn::open(server.mock);
    silent.send(request_head("GET", "/silent", crate::support::ws::HANDSHAKE, 0));
    let mut flooded = Raw::open(server.mock, "/flood");
    assert_eq!(flooded.frame().words(), "text hello");
    let stalled = open_stalled(&server);
    let session = server.record("websocket", "/followed");
    let mut followed = Raw::open(server.mock, "/followed");
    assert_eq!(followed.frame().words(), "text hello");
    let mut follower = Stream::open(server.admin, &format!("/stream-recordings/{session}/frames?follow=true"), &[]);
    assert!(follower.block().contains("hello"));
    let waiting = server.record("sse", "/nobody-comes");

    let streams = recorded + 3;
    println!("shutdown: {count} clients came within {:?}", opened.elapsed());
    eventually("every recording to have begun", || {
        (server.get("/stream-recordings?status=recording")["total"] == streams + 1).then_some(())
    });
    let begun = Instant::now();
    let status = server.terminate();
    let took = begun.elapsed();
    println!("shutdown: {count} connections of all kinds, {streams} recorded, ended in {took:?}");
    assert!(status.success(), "{status:?} {}", server.log());
    if rounds(0, 1) == 1 {
        assert!(took.as_millis() <= u128::from(mockd::base::limits::SHUTDOWN_MS), "{took:?}");
    }
    clients.iter_mut().for_each(Client::hear_end);
    Client::WebSocket(followed).hear_end();
    assert_eq!(follower.rest_text(), "");
    Client::Plain(half_import).hear_end();
    Client::Plain(silent).hear_end();
    for call in calls {
        let status = call.join().expect("the caller hears of the end");
        assert!(status.is_none_or(|status| matches!(status, 200 | 408 | 409)), "{status:?}");
    }
    drop((flooded, stalled));

    assert_complete(&server.place, streams, &waiting);
    assert_nothing_left(&server);
}

/// Checks every recording that the server made: complete, ended by the recorder, with its frame.
#[track_caller]
fn assert_complete(place: &Place, streams: u64, waiting: &str) {
    let page = place.run(&["sr", "list", "--json"]).json();
    let made: Vec<&Value> =
        page["recordings"].as_array().unwrap().iter().filter(|one| !one["name"].to_string().contains("made for")).collect();
    assert_eq!(made.len() as u64, streams + 1);
    for summary in made {
        assert_eq!(summary["status"], "complete", "{summary}");
        let path = place.data_dir().join(format!("rec_{}.json", summary["id"].as_str().unwrap()));
        let whole: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let by = whole.pointer("/websocket/closedBy").or(whole.pointer("/sse/endedBy"));
        assert_eq!(by, Some(&json!("recorder")), "{summary}");
        let mode_of_no_frame = whole["metadata"]["source"] == "replay" || summary["id"] == waiting || summary["path"] == "/stalled";
        assert!(summary["frameCount"].as_u64() >= Some(u64::from(!mode_of_no_frame)), "{summary}");
    }
}

/// Checks that neither files in the making nor the inner socket nor the announcement is left, and that the ports are free.
#[track_caller]
fn assert_nothing_left(server: &Server) {
    let names = |folder: &std::path::Path| -> Vec<String> {
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    };
    let left: Vec<String> =
        names(&server.place.data_dir()).into_iter().filter(|name| !name.ends_with(".json") && name != ".index").collect();
    assert_eq!(left, [""; 0]);
    assert!(!names(server.place.home()).iter().any(|name| name.starts_with("mockd-") || name == "ready.json"));
    for address in [server.mock, server.admin] {
        assert_free(address);
    }
}

#[track_caller]
fn assert_free(address: SocketAddr) {
    // What std binds may be bound although connections of before linger.
    assert!(TcpListener::bind(address).is_ok(), "{address} is still taken");
}

#[test]
fn a_second_signal_ends_a_slow_end_at_once() {
    let upstream = lasting();
    let mut server = busy_server(&upstream);
    let _stalled = open_stalled(&server);
    server.signal("TERM");
    eventually("the first signal to be heard", || server.log().contains("ending:").then_some(()));
    server.signal("TERM");
    // Where this thread was slow, the server may have come to its own end.
    let status = server.exit();
    assert!(matches!(status.code(), Some(0 | 1)), "{status:?}");
    assert!(!server.place.home().join("ready.json").exists());
    assert_free(server.mock);
    let page = server.place.run(&["sr", "list", "--json", "--path", "/stalled"]).json();
    assert_eq!(page["total"], 2, "what was not finished is recovered: {page}");
}

#[test]
fn streams_that_come_while_the_server_ends_are_ended_as_well() {
    let upstream = lasting();
    let mut server = busy_server(&upstream);
    let _held = open_ws(&server, "/mock/ws");
    let address = server.mock;
    let comers: Vec<_> = (0..8)
        .map(|number| {
            std::thread::spawn(move || {
                let mut ended = 0;
                // Until nobody listens any more.
                while let Ok(stream) = std::net::TcpStream::connect(address) {
                    let mut conn = Conn::over(stream);
                    let path = ["/ws", "/mock/ws", "/mock/replay", "/events"][number % 4];
                    let fields = if number % 4 == 3 { &[][..] } else { crate::support::ws::HANDSHAKE };
                    if conn.stream.write_all(request_head("GET", path, fields, 0).as_bytes()).is_ok() {
                        // Its end comes, whether it got an answer or none.
                        conn.read_to_end();
                    }
                    ended += 1;
                }
                ended
            })
        })
        .collect();
    let status = server.terminate();
    let ended: u64 = comers.into_iter().map(|comer| comer.join().expect("every client hears of the end")).sum();
    println!("shutdown: {ended} clients came while the server ended");
    assert!(status.success(), "{status:?}");
    let page = server.place.run(&["sr", "list", "--json"]).json();
    let broken: Vec<&Value> = page["recordings"].as_array().unwrap().iter().filter(|one| one["status"] != "complete").collect();
    assert!(broken.is_empty(), "{broken:?}");
}

#[test]
fn an_upstream_that_is_not_there_holds_nobody_up() {
    let mut server = Server::builder().upstream(format!("http://127.0.0.1:{}", closed_port())).flag("--record").start();
    let id = sse("/s").data(0, "x").save(&server.place.data_dir());
    server.replay(&id, &json!({}));
    assert_eq!(Conn::open(server.mock).ask("GET", "/x", &[], b"").status(), 502);
    assert!(server.terminate().success());
    assert_nothing_left(&server);
}

/// Trap: to such a client the end of the connection is the end of the stream, and it was reset.
#[test]
fn an_event_stream_over_http_1_0_ends_without_a_reset() {
    let upstream = lasting();
    let mut server = Server::before(&upstream);
    let mut client = Conn::open(server.mock);
    client.send("GET /events HTTP/1.0\r\n\r\n");
    assert_eq!(client.head().status(), 200);
    assert_eq!(client.exact(13), b"data: hello\n\n");
    assert!(server.terminate().success());
    assert_eq!(client.read(&mut [0; 9]).expect("the end, and no reset"), 0);
}
