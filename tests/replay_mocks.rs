//! Replay mocks: a recording in a config is played to every client that comes, from its start, any number at once.

use std::path::PathBuf;
use std::sync::{Arc, Barrier};
use std::thread;

use serde_json::{Value, json};

use crate::support::recordings::{Made, sse, ws};
use crate::support::server::{Place, text};
use crate::support::sse::Stream;
use crate::support::ws::{Client, Raw};
use crate::support::{Server, Upstream, http};

/// A place with a folder `conf` that has recordings in `conf/fixtures` and a config of these mocks.
fn fixtures(recordings: &[(&str, &Made)], mocks: Value) -> (Place, PathBuf) {
    let place = Place::new();
    let folder = place.home().join("conf/fixtures");
    std::fs::create_dir_all(&folder).expect("a folder");
    for (name, made) in recordings {
        std::fs::write(folder.join(name), serde_json::to_vec_pretty(&made.json()).expect("JSON")).expect("a file");
    }
    let config = place.file("conf/mocks.json", &json!({"version": "1.0", "mocks": mocks}).to_string());
    (place, config)
}

/// A server with these recordings and mocks.
fn serving(recordings: &[(&str, &Made)], mocks: Value) -> Server {
    let (place, config) = fixtures(recordings, mocks);
    Server::builder().place(&place).option("--config", config.display()).start()
}

fn replays(server: &Server, query: &str) -> Vec<Value> {
    server.get(&format!("/replay{query}"))["replays"].as_array().expect("a list").clone()
}

fn chat() -> Made {
    ws("/ws/chat").s2c(0, "{\"a\": 1}").binary("s2c", 1000, "AAEC").s2c(2000, "bye").close("server", 3000, 1000, "done")
}

#[test]
fn every_connection_plays_from_the_start() {
    let server = serving(&[("chat.json", &chat())], json!([{"id": "chat", "websocket": {"replay": {"recording": "fixtures/chat.json"}}}]));
    for _ in 0..3 {
        let said = Client::open(server.mock, "/ws/chat").rest();
        assert_eq!(said, ["text {\"a\": 1}", "binary 000102", "text bye", "close 1000 done"]);
    }
    let sessions = replays(&server, "?all=true");
    assert_eq!(sessions.len(), 3);
    for view in &sessions {
        let view = server.wait(&text(&view["id"]), "ended");
        assert_eq!(
            (text(&view["status"]), text(&view["mockId"]), text(&view["path"])),
            ("complete".into(), "chat".into(), "/ws/chat".into())
        );
    }
    Raw::try_open(server.mock, "/ws/chat/", &[]).expect_err("another path").expect(404);
}

#[test]
fn a_hundred_at_once_share_one_recording() {
    let stream = sse("/events").data(1000, "one").data(2000, "two").end("server", 3000);
    let server = serving(
        &[("chat.json", &chat()), ("events.json", &stream)],
        json!([{"websocket": {"replay": {"recording": "fixtures/chat.json"}}}, {"http": {"replay": {"recording": "fixtures/events.json"}}}]),
    );
    let (start, mock) = (Arc::new(Barrier::new(100)), server.mock);
    let clients: Vec<_> = (0..100)
        .map(|number| {
            let start = Arc::clone(&start);
            thread::spawn(move || {
                start.wait();
                if number % 2 == 0 {
                    assert_eq!(Client::open(mock, "/ws/chat").rest().len(), 4);
                } else {
                    assert_eq!(Stream::open(mock, "/events", &[]).rest_text(), "data: one\n\ndata: two\n\n");
                }
            })
        })
        .collect();
    clients.into_iter().for_each(|client| client.join().expect("a client that got all"));
    assert_eq!(replays(&server, "?all=true").len(), 100);
}

#[test]
fn a_recording_of_the_store_is_named_by_its_id_or_a_prefix() {
    let place = Place::new();
    let id = chat().save(&place.data_dir());
    for name in [&id[..], &id[..20], &id.to_lowercase()] {
        let config = json!({"mocks": [{"type": "websocket", "websocket": {"path": "/other", "replay": {"recording": name}}}]});
        let server = Server::builder().place(&place).config(&config.to_string()).start();
        assert_eq!(Client::open(server.mock, "/other").rest().len(), 4, "{name}");
        let view = replays(&server, "?all=true").remove(0);
        assert_eq!((&view["recordingId"], &view["path"]), (&json!(id), &json!("/other")));
    }
}

#[test]
fn handshake_and_head_are_as_recorded() {
    let chat = chat().set("/websocket/subprotocol", json!("chat.v1"));
    let stream = sse("/v1/chat")
        .set("/metadata/method", json!("POST"))
        .set("/sse/request", json!({"method": "POST", "body": "{}"}))
        .set("/sse/responseStatus", json!(201))
        .set("/sse/responseHeaders", json!({"Content-Type": "text/event-stream", "X-Model": "m1"}))
        .data(0, "[DONE]")
        .end("server", 0);
    let server = serving(
        &[("chat.json", &chat), ("llm.json", &stream)],
        json!([{"websocket": {"replay": {"recording": "fixtures/chat.json"}}}, {"http": {"replay": {"recording": "fixtures/llm.json"}}}]),
    );
    let client = Client::open_with(server.mock, "/ws/chat", Some("chat.v2, chat.v1"));
    assert_eq!(client.response.headers()["Sec-WebSocket-Protocol"], "chat.v1");
    let without = Client::open(server.mock, "/ws/chat");
    assert!(without.response.headers().get("Sec-WebSocket-Protocol").is_none());
    let mut stream = Stream::ask(server.mock, "POST", "/v1/chat", &[], b"{\"any\":1}");
    assert_eq!((stream.head.status(), stream.head.field("X-Model")), (201, Some("m1")));
    assert_eq!(stream.rest_text(), "data: [DONE]\n\n");
    http::ask(server.mock, "GET", "/v1/chat", &[], b"").expect_error(404, "not_found", &["is on this path and is for POST"]);
}

#[test]
fn a_triggered_session_is_found_and_advanced() {
    let recording = ws("/ws").s2c(0, "one").s2c(1000, "two").s2c(2000, "three").close("client", 9000, 1000, "");
    let server = serving(
        &[("r.json", &recording)],
        json!([{"id": "steps", "websocket": {"replay": {"recording": "fixtures/r.json", "mode": "triggered"}}}]),
    );
    let (mut first, mut second) = (Client::open(server.mock, "/ws"), Client::open(server.mock, "/ws"));
    let sessions = crate::support::wait::eventually("both sessions", || Some(replays(&server, "")).filter(|views| views.len() == 2));
    assert!(sessions.iter().all(|view| view["mockId"] == "steps" && view["mode"] == "triggered"), "{sessions:?}");
    let ids: Vec<String> = sessions.iter().map(|view| text(&view["id"])).collect();
    // Oldest first, so the second of the list is the second client.
    let advanced = server.post(&format!("/replay/{}/advance", ids[1]), &json!({"count": 2})).expect(200).json();
    assert_eq!(advanced["framesSent"], 2);
    assert_eq!(second.take(2), ["text one", "text two"]);
    server.touch(&format!("/replay/{}/advance", ids[0])).expect(200);
    assert_eq!(first.next(), "text one");
    server.call("DELETE", &format!("/replay/{}", ids[0]), &Value::Null).expect(204);
    assert!(first.next().starts_with("close 1001"));
    server.touch(&format!("/replay/{}/advance", ids[1])).expect(200);
    assert_eq!(second.next(), "text three");
}

#[test]
fn a_synchronized_session_compares_and_keeps_what_the_client_sent() {
    let recording = ws("/ws").c2s(0, "{\"id\":1}").s2c(1000, "yes").close("client", 2000, 1000, "");
    let server = serving(
        &[("r.json", &recording)],
        json!([{"websocket": {"replay": {"recording": "fixtures/r.json", "mode": "synchronized", "match": "json"}}}]),
    );
    let mut good = Client::open(server.mock, "/ws");
    good.text("{ \"id\": 1 }");
    assert_eq!(good.next(), "text yes");
    let mut bad = Client::open(server.mock, "/ws");
    bad.text("{\"id\":2}");
    assert!(bad.next().starts_with("close 1008"));
    let views = replays(&server, "?all=true");
    assert_eq!(server.wait(&text(&views[0]["id"]), "ended")["status"], "complete");
    let failed = server.wait(&text(&views[1]["id"]), "ended");
    assert_eq!((&failed["status"], &failed["error"]["code"]), (&json!("error"), &json!("ErrMatchMismatch")));
    let messages = server.get(&format!("/replay/{}/messages", text(&views[1]["id"])));
    assert_eq!(messages["messages"][0]["data"], "{\"id\":2}");
}

#[test]
fn several_on_one_path_are_told_apart_by_their_matcher() {
    let answer = |word: &str| {
        sse("/v1/chat")
            .set("/metadata/method", json!("POST"))
            .set("/sse/request", json!({"method": "POST", "body": format!("{{\"q\":\"{word}\"}}")}))
            .data(0, word)
            .end("server", 0)
    };
    let mock = |name: &str, matcher: Value| json!({"http": {"matcher": matcher, "replay": {"recording": format!("fixtures/{name}.json")}}});
    let server = serving(
        &[("any.json", &answer("any")), ("cats.json", &answer("cats")), ("dogs.json", &answer("dogs")), ("v2.json", &answer("v2"))],
        json!([
            mock("any", json!({"method": "POST", "path": "/v1/*"})),
            mock("cats", json!({"bodyContains": "cats"})),
            mock("dogs", json!({"bodyContains": "dogs"})),
            mock("v2", json!({"queryParams": {"v": "2"}, "bodyContains": "cats"})),
        ]),
    );
    for (target, body, expected) in [
        ("/v1/chat", "{\"messages\":[{\"content\":\"about cats\"}]}", "cats"),
        ("/v1/chat", "about dogs", "dogs"),
        ("/v1/chat", "about cows", "any"),
        ("/v1/chat", "", "any"),
        ("/v1/chat?v=2", "cats", "v2"),
        ("/v1/chat?v=%32&v=3", "cats", "v2"),
        ("/v1/chat?v=3", "cats", "cats"),
        ("/v1/other", "cats", "any"),
    ] {
        let said = Stream::ask(server.mock, "POST", target, &[], body.as_bytes()).rest_text();
        assert_eq!(said, format!("data: {expected}\n\n"), "{target} {body}");
    }
    // Chunked, and behind an expectation.
    let mut conn = http::Conn::open(server.mock);
    conn.send("POST /v1/chat HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(conn.head().status(), 100);
    conn.send("2\r\nab\r\n3\r\ndog\r\n1\r\ns\r\n0\r\n\r\n");
    assert_eq!(conn.answer("POST").text(), "data: dogs\n\n");
}

#[test]
fn a_body_that_a_mock_looked_at_still_reaches_the_upstream() {
    let upstream = Upstream::http(|head, mut conn| {
        let body = conn.body(&head);
        conn.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{}", body.len(), String::from_utf8_lossy(&body)));
    });
    let recording = sse("/v1/chat").data(0, "mocked").end("server", 0);
    let mock = json!([{"http": {"matcher": {"method": "POST", "bodyContains": "stream"}, "replay": {"recording": "fixtures/r.json"}}}]);
    let (place, config) = fixtures(&[("r.json", &recording)], mock);
    let server = Server::builder().place(&place).option("--config", config.display()).upstream(upstream.url()).start();
    assert_eq!(Stream::ask(server.mock, "POST", "/v1/chat", &[], b"stream").rest_text(), "data: mocked\n\n");
    let mut conn = http::Conn::open(server.mock);
    for _ in 0..2 {
        assert_eq!(conn.ask("POST", "/v1/chat", &[], b"another body").text(), "another body");
    }
}

#[test]
fn an_event_source_that_comes_again_goes_on_behind_its_last_event() {
    let event = |id: &str, data: &str| json!({"type": "message", "data": data, "id": id});
    let recording =
        sse("/events").event(1000, event("1", "one")).event(2000, event("2", "two")).event(3000, event("3", "three")).end("server", 4000);
    let server = serving(&[("r.json", &recording)], json!([{"http": {"replay": {"recording": "fixtures/r.json"}}}]));
    let all = "id: 1\ndata: one\n\nid: 2\ndata: two\n\nid: 3\ndata: three\n\n";
    assert_eq!(Stream::open(server.mock, "/events", &[]).rest_text(), all);
    // Its session has ended; that stops nobody, as it would without the mock.
    for (last, rest) in [("1", "id: 2\ndata: two\n\nid: 3\ndata: three\n\n"), ("3", ""), ("unknown", all)] {
        assert_eq!(Stream::open(server.mock, "/events", &[("Last-Event-ID", last)]).rest_text(), rest, "{last}");
    }
    let mut early = Stream::open(server.mock, "/events", &[]);
    early.expect("id: 1\ndata: one\n\n");
    drop(early);
    let again = Stream::open(server.mock, "/events", &[("Last-Event-ID", "2")]).rest_text();
    assert_eq!(again, "id: 3\ndata: three\n\n");

    // A session of the API that has ended on that path does stop them.
    let stored = recording.save(&server.place.data_dir());
    let replay = server.replay(&stored, &json!({}));
    assert_eq!(Stream::open(server.mock, "/events", &[]).rest_text(), all);
    server.wait(&replay, "complete");
    let answer = http::ask(server.mock, "GET", "/events", &[("Last-Event-ID", "1")], b"");
    assert_eq!((answer.status(), answer.text().as_str()), (204, ""));
    assert_eq!(Stream::open(server.mock, "/events", &[]).rest_text(), all, "without a last event the mock goes on");
}

#[test]
fn pending_sessions_come_before_mocks_and_named_ones_never_reach_them() {
    let server = serving(
        &[("r.json", &ws("/ws").s2c(0, "from the mock").close("client", 9000, 1000, ""))],
        json!([{"websocket": {"replay": {"recording": "fixtures/r.json"}}}]),
    );
    let stored = ws("/ws").s2c(0, "from the session").close("client", 9000, 1000, "").save(&server.place.data_dir());
    let replay = server.replay(&stored, &json!({}));
    assert_eq!(Client::open(server.mock, "/ws").next(), "text from the session");
    assert_eq!(Client::open(server.mock, "/ws").next(), "text from the mock");
    let refused = |target: &str| Raw::try_open(server.mock, target, &[]).expect_err("no session");
    refused(&format!("/ws?mockd-replay={replay}")).expect_error(409, "not_pending", &[]);
    refused("/ws?mockd-replay=01ARZ3NDEKTSV4RRFFQ69G5FAV").expect_error(404, "not_found", &[]);
    // A mock's session is never pending.
    let of_mock = replays(&server, "?all=true").iter().find(|view| view["mockId"].is_string()).map(|view| text(&view["id"])).expect("one");
    refused(&format!("/ws?mockd-replay={of_mock}")).expect_error(409, "not_pending", &[]);
    assert!(server.call("GET", "/metrics", &Value::Null).text().contains("\nmockd_replays_pending 0\n"));
}

#[test]
fn a_replay_mock_is_recorded_as_a_replay() {
    let server = serving(&[("chat.json", &chat())], json!([{"websocket": {"replay": {"recording": "fixtures/chat.json"}}}]));
    let started = server.post("/stream-recordings/start", &json!({"protocol": "websocket", "path": "/ws/chat"})).expect(201).json();
    assert!(started.get("warning").is_none(), "{started}");
    let id = text(&started["id"]);
    assert_eq!(Client::open(server.mock, "/ws/chat").rest().len(), 4);
    let recorded = server.finished(&id);
    assert_eq!((&recorded["metadata"]["source"], &recorded["websocket"]["closeReason"]), (&json!("replay"), &json!("done")));
    let nobody = server.post("/stream-recordings/start", &json!({"protocol": "websocket", "path": "/ws/other"})).expect(201).json();
    assert!(nobody["warning"].is_string(), "{nobody}");
}

#[test]
fn connections_over_the_limit_are_sent_away() {
    let recording = ws("/ws").s2c(0, "hello").close("client", 3_600_000_000, 1000, "");
    let server = serving(
        &[("r.json", &recording)],
        json!([{"id": "few", "websocket": {"maxConnections": 2, "replay": {"recording": "fixtures/r.json"}}}]),
    );
    let mut two = [Client::open(server.mock, "/ws"), Client::open(server.mock, "/ws")];
    let refused = Raw::try_open(server.mock, "/ws", &[]).expect_err("a third");
    assert_eq!(refused.head.field("Retry-After"), Some("1"));
    refused.expect_error(503, "too_many_connections", &["\"few\"", "2 connections", "maxConnections"]);
    assert_eq!(two[0].next(), "text hello");
    let [one, _other] = two;
    drop(one);
    crate::support::wait::eventually("a place", || Raw::try_open(server.mock, "/ws", &[]).ok());
}

#[test]
fn a_recording_that_cannot_be_played_is_told_before_a_port_is_opened() {
    let place = Place::new();
    let folder = place.home().join("conf");
    std::fs::create_dir_all(&folder).expect("a folder");
    for (name, content) in [("broken.json", "{\"protocol\":"), ("list.json", "[1]"), ("events.json", &sse("/e").json().to_string())] {
        std::fs::write(folder.join(name), content).expect("a file");
    }
    std::fs::write(folder.join("nowhere.json"), sse("").json().to_string()).expect("a file");
    let corrupted = "01ARZ3NDEKTSV4RRFFQ69G5FAV";
    crate::support::recordings::put(&place.data_dir(), &format!("rec_{corrupted}.json"), b"no recording");
    let deleted = chat().save(&place.data_dir());
    place.run(&["sr", "delete", &deleted, "--force"]).ok();
    let ws = |recording: &str| json!({"websocket": {"replay": {"recording": recording}}});
    let http = |recording: &str| json!({"http": {"replay": {"recording": recording}}});
    for (mock, place_of, words) in [
        (ws("missing.json"), "websocket.replay.recording", vec!["missing.json", "cannot be read"]),
        (ws("./"), "websocket.replay.recording", vec!["no file of a recording"]),
        (ws("broken.json"), "websocket.replay.recording", vec!["broken.json", "EOF"]),
        (ws("list.json"), "websocket.replay.recording", vec!["list.json"]),
        (ws("events.json"), "websocket.replay.recording", vec!["event stream", "type http"]),
        (http("nowhere.json"), "http.replay.recording", vec!["no path", "give the mock one"]),
        (json!({"replay": {"recording": "missing.json"}, "type": "http"}), "replay.recording", vec!["missing.json"]),
        (http("01ZZZZZZZZZZZZ"), "http.replay.recording", vec!["no recording has the id \"01ZZZZZZZZZZZZ\""]),
        (http("chat"), "http.replay.recording", vec!["\"chat\" is too short", "nor is there a file ", "conf/chat"]),
        (ws(corrupted), "websocket.replay.recording", vec![corrupted, "can't be parsed"]),
        (ws(&deleted), "websocket.replay.recording", vec!["no recording has the id"]),
    ] {
        let config = place.file("conf/c.json", &json!({"mocks": [{"http": {"matcher": {"path": "/"}, "response": {}}}, mock]}).to_string());
        let refused = Server::builder().place(&place).option("--config", config.display()).refused();
        let place_of = format!("conf/c.json: mocks[1].{place_of}: ");
        refused.expect_error(1, &[&[place_of.as_str()], &words[..]].concat());
    }
}

#[test]
fn a_file_that_goes_away_or_breaks_later_costs_only_those_who_come_too_late() {
    let server = serving(
        &[("kept.json", &chat()), ("gone.json", &chat()), ("broken.json", &chat())],
        json!([
            {"id": "kept", "websocket": {"path": "/kept", "replay": {"recording": "fixtures/kept.json"}}},
            {"id": "gone", "websocket": {"path": "/gone", "replay": {"recording": "fixtures/gone.json"}}},
            {"id": "broken", "websocket": {"path": "/broken", "replay": {"recording": "fixtures/broken.json"}}},
        ]),
    );
    let folder = server.place.home().join("conf/fixtures");
    assert_eq!(Client::open(server.mock, "/kept").rest().len(), 4);
    for name in ["kept.json", "gone.json"] {
        std::fs::remove_file(folder.join(name)).expect("the file is there");
    }
    std::fs::write(folder.join("broken.json"), "{").expect("a file");
    assert_eq!(Client::open(server.mock, "/kept").rest().len(), 4, "it was read at its first connection");
    let refused = |path: &str| Raw::try_open(server.mock, path, &[]).expect_err("nothing to play");
    refused("/gone").expect_error(404, "not_found", &["\"gone\"", "gone.json", "cannot be read"]);
    refused("/broken").expect_error(500, "internal_error", &["\"broken\"", "broken.json"]);
    // Errors are not kept.
    std::fs::write(folder.join("broken.json"), chat().json().to_string()).expect("a file");
    assert_eq!(Client::open(server.mock, "/broken").rest().len(), 4);
}

#[test]
fn pages_of_other_origins_may_use_a_replay_mock() {
    let recording = sse("/events").set("/metadata/method", json!("POST")).set("/sse/request", json!({"method": "POST"}));
    let recording = recording.data(0, "x");
    let upstream = Upstream::answering("HTTP/1.1 418 I\r\nContent-Length: 0\r\n\r\n");
    let (place, config) = fixtures(&[("r.json", &recording)], json!([{"http": {"replay": {"recording": "fixtures/r.json"}}}]));
    let server = Server::builder().place(&place).option("--config", config.display()).upstream(upstream.url()).start();
    let preflight = |method: &str| {
        let fields = [("Origin", "http://app.test"), ("Access-Control-Request-Method", method)];
        http::ask(server.mock, "OPTIONS", "/events", &fields, b"")
    };
    let answer = preflight("POST").expect(204);
    assert_eq!(answer.head.field("Access-Control-Allow-Origin"), Some("http://app.test"));
    assert_eq!(answer.head.field("Access-Control-Allow-Methods"), Some("POST"));
    preflight("DELETE").expect(418);
    let mut stream = Stream::ask(server.mock, "POST", "/events", &[("Origin", "http://app.test")], b"");
    assert_eq!(stream.head.field("Access-Control-Allow-Credentials"), Some("true"));
    // Its session is no reason to answer for the upstream.
    stream.expect("data: x\n\n");
    preflight("DELETE").expect(418);
}

#[test]
fn head_asks_for_the_head_and_plays_nothing() {
    let recording = sse("/events").set("/sse/responseHeaders", json!({"Content-Type": "text/event-stream", "X-A": "1"})).data(0, "x");
    let server = serving(&[("r.json", &recording)], json!([{"http": {"replay": {"recording": "fixtures/r.json"}}}]));
    let answer = http::ask(server.mock, "HEAD", "/events", &[], b"");
    assert_eq!((answer.status(), answer.head.field("X-A"), answer.body.len()), (200, Some("1"), 0));
    assert!(replays(&server, "?all=true").is_empty());
}
