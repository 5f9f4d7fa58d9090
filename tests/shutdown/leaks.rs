//! What many clients leave behind: no thread, no descriptor, no session, no file, and memory that does not grow.

use serde_json::{Value, json};

use crate::support::effort::{Dice, rounds};
use crate::support::http::{Conn, ask, request_head};
use crate::support::recordings::{sse, ws};
use crate::support::server::Place;
use crate::support::sse::Stream;
use crate::support::tls::{before, fixture};
use crate::support::upstream::{EVENT_STREAM, closed_port};
use crate::support::usage::Usage;
use crate::support::wait::eventually;
use crate::support::ws::{HANDSHAKE, Raw};
use crate::support::{Server, Upstream};

/// Ends a connection by a reset.
fn reset(conn: &Conn) {
    use nix::sys::socket::{setsockopt, sockopt};
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&conn.stream, sockopt::Linger, &linger).expect("an open socket");
}

/// A server with everything on it, and the recordings that are replayed.
struct Scene {
    server: Server,
    chat: String,
    events: String,
    played: u64,
}

impl Scene {
    fn new(upstream: &Upstream, secure: &Upstream) -> Self {
        let place = Place::new();
        let chat = ws("/chat").s2c(0, "hello").c2s(10, "one").s2c(20, "two").close("server", 30, 1000, "bye");
        let events = sse("/story").data(0, "one").data(10, "two").end("server", 20);
        let (chat, events) = (chat.save(&place.data_dir()), events.save(&place.data_dir()));
        let config = format!(
            "upstreams:
- {{path: /tls/*, url: 'https://localhost:{}'}}
- {{path: /gone, url: 'http://127.0.0.1:{}'}}
- {{path: /*, url: '{}'}}
mocks:
- {{id: talk, websocket: {{path: /mock/ws, echoMode: true}}}}
- {{id: show, matcher: {{path: /mock/sse}}, sse: {{events: [{{data: a}}, {{data: b, delay: 3600000}}]}}}}
- {{id: play, websocket: {{path: /mock/replay, replay: {{recording: {chat}, mode: pure}}}}}}
",
            before(secure.address).port(),
            closed_port(),
            upstream.url()
        );
        let builder = Server::builder().place(&place).config(&config).option("--record", "/rec/*");
        let server = builder.option("--upstream-ca", fixture("ca.pem").display()).start();
        Self { server, chat, events, played: 0 }
    }

    /// One client of one kind, from its coming to its going.
    fn cycle(&mut self, kind: u64) {
        self.played += 1;
        let (server, mock, number) = (&self.server, self.server.mock, self.played);
        let path = format!("/own/{number}");
        match kind {
            0 => {
                let mut client = Raw::open(mock, "/rec/ws");
                client.run("send text a\nexpect text a");
                client.close(1000, "");
                self.delete_recordings();
            }
            1 => {
                let mut client = Raw::open(mock, "/ws");
                client.run("send text a\nexpect text a");
                reset(&client.conn);
            }
            2 => {
                assert_eq!(Stream::open(mock, "/rec/events?end", &[]).rest_text(), "data: x\n\n");
                self.delete_recordings();
            }
            3 => drop(Stream::open(mock, "/events", &[]).expect("data: x\n\n")),
            4 => Raw::open(mock, "/mock/ws").run("send text a\nexpect text a\nsend close 1000"),
            5 => drop(Stream::open(mock, "/mock/sse", &[]).expect("data: a\n\n")),
            6 => {
                let id = server.replay(&self.events, &json!({"path": path}));
                assert_eq!(Stream::open(mock, &path, &[]).rest_text(), "data: one\n\ndata: two\n\n");
                assert_eq!(server.wait(&id, "ended")["status"], "complete");
            }
            7 => {
                let id = server.replay(&self.chat, &json!({"path": path, "mode": "triggered"}));
                reset(&Raw::open(mock, &path).conn);
                assert_eq!(server.wait(&id, "ended")["status"], "aborted");
            }
            8 => {
                let id = server.replay(&self.chat, &json!({"path": path, "mode": "triggered"}));
                let mut client = Raw::open(mock, &path);
                server.call("DELETE", &format!("/replay/{id}"), &Value::Null).expect(204);
                assert!(client.rest()[0].starts_with("close 1001"));
            }
            9 => {
                let id = server.replay(&self.chat, &json!({"path": path, "mode": "synchronized", "strictMatching": true}));
                let mut client = Raw::open(mock, &path);
                client.run("expect text hello\nsend text wrong");
                assert!(client.rest()[0].starts_with("close 1008"));
                assert_eq!(server.view(&id)["status"], "error");
            }
            10 => {
                let id = server.replay(&self.chat, &json!({"path": path, "mode": "synchronized", "timeout": 5}));
                let mut client = Raw::open(mock, &path);
                client.run("expect text hello");
                assert!(client.rest()[0].starts_with("close 1008"));
                assert_eq!(server.view(&id)["error"]["code"], "ErrMatchTimeout");
            }
            11 => {
                let id = server.replay(&self.chat, &json!({"path": path}));
                server.call("DELETE", &format!("/replay/{id}"), &Value::Null).expect(204);
            }
            12 => {
                let id = server.replay(&self.chat, &json!({"path": path, "mode": "triggered", "timeout": 5}));
                server.touch(&format!("/replay/{id}/advance")).expect(409);
                server.call("DELETE", &format!("/replay/{id}"), &Value::Null).expect(204);
            }
            13 => {
                let mut conn = Conn::open(server.admin);
                let path = format!("/stream-recordings/{}/frames?follow=true", self.chat);
                conn.send(request_head("GET", &path, &[], 0));
                assert_eq!(conn.head().status(), 200);
                reset(&conn);
            }
            14 => {
                let fields = [&HANDSHAKE[..2], &[("Sec-WebSocket-Version", "7"), ("Sec-WebSocket-Key", "x")]].concat();
                assert_eq!(ask(mock, "GET", "/mock/ws", &fields, b"").status(), 426);
            }
            15 => assert_eq!(ask(mock, "GET", "/gone", &[], b"").status(), 502),
            16 => {
                let mut client = Raw::open(mock, "/tls/ws");
                client.run("send text a\nexpect text a");
                if number.is_multiple_of(2) {
                    reset(&client.conn);
                } else {
                    client.close(1000, "");
                }
            }
            17 => Raw::open(mock, "/mock/replay").run("expect text hello\nexpect text two\nexpect close 1000 bye\nsend close 1000"),
            18 => {
                let added = server.post("/mocks", &json!({"matcher": {"path": path}, "response": {"body": "x"}})).expect(201).json();
                assert_eq!(ask(mock, "GET", &path, &[], b"").text(), "x");
                server.call("DELETE", &format!("/mocks/{}", added["id"].as_str().unwrap()), &Value::Null).expect(204);
            }
            19 => server.signal("HUP"),
            20 => {
                let made = ws("/imported").s2c(0, "x").close("server", 1, 1000, "").json().to_string();
                let answer = ask(server.admin, "POST", "/stream-recordings/import", &[], made.as_bytes()).expect(201).json();
                let id = answer["recordings"][0]["id"].as_str().unwrap().to_owned();
                server.call("DELETE", &format!("/stream-recordings/{id}"), &Value::Null).expect(204);
                assert_eq!(server.touch("/stream-recordings/vacuum").expect(200).json()["removed"], 1);
            }
            _ => {
                let mut conn = Conn::open(mock);
                conn.send("GET /half HTTP/1.1\r\n");
                reset(&conn);
            }
        }
    }

    /// Deletes what was recorded, once it is complete.
    fn delete_recordings(&self) {
        let rows = eventually("the recording's end", || {
            let page = self.server.get("/stream-recordings?path=/rec/*");
            let rows = page["recordings"].as_array()?.clone();
            (!rows.is_empty() && rows.iter().all(|row| row["status"] == "complete")).then_some(rows)
        });
        for row in rows {
            let path = format!("/stream-recordings/{}?permanent=true", row["id"].as_str().unwrap());
            self.server.call("DELETE", &path, &Value::Null).expect(204);
        }
    }
}

const KINDS: u64 = 22;

fn plain_upstream() -> Upstream {
    Upstream::http(|head, mut conn| {
        let ends = head.target().contains("end");
        if head.field("upgrade").is_some() {
            let mut raw = Raw::accept(conn, head, None);
            while let Some(frame) = raw.try_frame() {
                raw.send(frame.opcode(), frame.payload);
            }
            return;
        }
        conn.send(EVENT_STREAM);
        conn.send_chunk("data: x\n\n");
        if ends {
            conn.send("0\r\n\r\n");
        }
        conn.read_to_end();
    })
}

#[test]
fn many_clients_of_all_kinds_leave_nothing_behind() {
    let mut dice = Dice::new("leaks");
    let (upstream, secure) = (plain_upstream(), plain_upstream());
    let mut scene = Scene::new(&upstream, &secure);
    let pid = scene.server.pid;
    let fresh = Usage::of_started(&scene.server);
    let (warm, cycles) = (rounds(2 * KINDS, 1_500), rounds(300, 10_000));
    (0..warm).for_each(|number| scene.cycle(number % KINDS));
    let warmed = Usage::of(pid);
    let mut at_three_thousand = warmed;
    for number in 0..cycles {
        if number == 3_000 {
            at_three_thousand = Usage::of(pid);
        }
        scene.cycle(dice.below(KINDS));
    }
    let ended = Usage::of(pid);
    // The admin port's HTTP server keeps threads that were busy for some seconds.
    let quiet = Usage::back_to(pid, &fresh);
    println!(
        "leaks: fresh {fresh:?}, after {warm} cycles {warmed:?}, after {cycles} more {ended:?}, quiet {quiet:?}; at 3,000 {at_three_thousand:?}"
    );

    let server = &scene.server;
    assert_eq!(server.get("/replay")["total"], 0);
    assert_eq!(server.get("/stream-recordings/sessions")["sessions"], json!([]));
    assert!(server.get("/replay?all=true")["total"].as_u64().unwrap() <= mockd::base::limits::MAX_ENDED_REPLAYS as u64);
    let metrics = ask(server.admin, "GET", "/metrics", &[], b"").text();
    for gauge in ["mockd_streams 0", "mockd_recordings_running 0", "mockd_replays_active 0", "mockd_replays_pending 0", "mockd_mocks 3"] {
        assert!(metrics.contains(gauge), "{gauge}: {metrics}");
    }
    let mut names: Vec<String> =
        std::fs::read_dir(server.place.data_dir()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    let mut expected = [".index".to_owned(), format!("rec_{}.json", scene.chat), format!("rec_{}.json", scene.events)];
    expected.sort();
    assert_eq!(names, expected);
    let index = std::fs::metadata(server.place.data_dir().join(".index/index.jsonl")).map_or(0, |file| file.len());
    assert!(index < 8192, "{index} bytes of index for two recordings");
    // What a thread of a debug build touches, and a thousand ended sessions.
    assert!(ended.rss_kib < warmed.rss_kib + 32 * 1024, "{warmed:?} {ended:?}");
    if cycles >= 10_000 {
        assert!(ended.rss_kib < at_three_thousand.rss_kib + 8 * 1024, "{at_three_thousand:?} {ended:?}");
    }
}
