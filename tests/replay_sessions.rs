//! Who gets which replay session, and the calls that steer one: claims, named sessions, limits, wait, inject, close, delete.

use serde_json::{Value, json};

use crate::support::recordings::{Made, ws};
use crate::support::server::text;
use crate::support::ws::{Client, Raw};
use crate::support::{Server, Upstream};

fn hello(word: &str) -> Made {
    ws("/ws").s2c(0, word).close("client", 3_600_000_000, 1000, "")
}

#[test]
fn the_oldest_pending_session_is_attached_first() {
    let server = Server::start();
    let dir = server.place.data_dir();
    let ids = [hello("one").save(&dir), hello("two").save(&dir)];
    let replays = ids.map(|id| server.replay(&id, &json!({})));
    let mut first = Client::open(server.mock, "/ws");
    assert_eq!(first.next(), "text one");
    let mut second = Client::open(server.mock, "/ws");
    assert_eq!(second.next(), "text two");
    for replay in replays {
        assert_eq!(server.wait(&replay, "complete")["status"], "complete");
    }
    Raw::try_open(server.mock, "/ws", &[]).expect_err("one session serves one connection").expect(404);
}

#[test]
fn a_pending_session_comes_before_the_upstream_and_only_for_its_own_path() {
    let upstream = Upstream::echo();
    let server = Server::before(&upstream);
    let id = hello("replayed").save(&server.place.data_dir());
    server.replay(&id, &json!({}));
    let mut other = Client::open(server.mock, "/ws/");
    other.text("echoed");
    assert_eq!(other.next(), "text echoed");
    assert_eq!(Client::open(server.mock, "/ws").next(), "text replayed");
    let mut after = Client::open(server.mock, "/ws");
    after.text("the session is taken");
    assert_eq!(after.next(), "text the session is taken");
}

#[test]
fn the_path_of_the_body_overrides_the_recorded_one() {
    let server = Server::start();
    let id = hello("moved").save(&server.place.data_dir());
    let created = server.post(&format!("/stream-recordings/{id}/replay"), &json!({"path": "/elsewhere"})).expect(201).json();
    assert_eq!(created["path"], "/elsewhere");
    Raw::try_open(server.mock, "/ws", &[]).expect_err("not there").expect(404);
    assert_eq!(Client::open(server.mock, "/elsewhere").next(), "text moved");
}

/// Trap: two tests in parallel on one server taking each other's sessions.
#[test]
fn parallel_tests_that_name_their_sessions_share_a_server() {
    let server = Server::start();
    let dir = server.place.data_dir();
    let named: Vec<(String, String)> = (0..8)
        .map(|number| {
            let word = format!("session {number}");
            let created = server.post(&format!("/stream-recordings/{}/replay", hello(&word).save(&dir)), &json!({})).expect(201).json();
            (word, text(&created["sessionUrl"]))
        })
        .collect();
    std::thread::scope(|scope| {
        for (number, (word, url)) in named.iter().rev().enumerate() {
            let server = &server;
            scope.spawn(move || {
                let target = url.split_once(&server.mock.to_string()).expect("the mock port's address").1;
                let got = if number % 2 == 0 {
                    Client::open(server.mock, target).next()
                } else {
                    let id = target.rsplit_once('=').expect("an id").1;
                    Raw::open_with(server.mock, "/ws", &[("X-Mockd-Replay", id)]).frame().words()
                };
                assert_eq!(got, format!("text {word}"));
            });
        }
    });
}

#[test]
fn a_named_session_is_never_passed_on() {
    let upstream = Upstream::echo();
    let server = Server::before(&upstream);
    let id = hello("x").save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({}));
    let ask = |path: &str| Raw::try_open(server.mock, path, &[]).expect_err("a refusal");
    ask("/ws?mockd-replay=01ARZ3NDEKTSV4RRFFQ69G5FAV").expect_error(404, "not_found", &["01ARZ3NDEKTSV4RRFFQ69G5FAV"]);
    ask(&format!("/other?mockd-replay={replay}")).expect(409);
    let _client = Raw::open(server.mock, &format!("/ws?mockd-replay={replay}"));
    ask(&format!("/ws?mockd-replay={replay}")).expect(409);
    assert!(upstream.is_unasked());
}

#[test]
fn the_parameter_is_stripped_from_what_is_recorded() {
    let server = Server::start();
    let id = hello("x").save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({}));
    let recording = server.record("websocket", "/ws");
    let mut client = Raw::open(server.mock, &format!("/ws?a=1&mockd-replay={replay}&b=2"));
    client.run("expect text x\nsend close 1000\nexpect close 1000");
    assert_eq!(server.finished(&recording)["metadata"]["query"], json!({"a": "1", "b": "2"}));
}

#[test]
fn sessions_are_listed_and_kept_after_their_end() {
    let server = Server::start();
    let id = hello("x").save(&server.place.data_dir());
    assert_eq!(server.get("/replay"), json!({"replays": [], "total": 0}));
    let (one, two) = (server.replay(&id, &json!({})), server.replay(&id, &json!({"mode": "triggered"})));
    let ids =
        |path: &str| -> Vec<String> { server.get(path)["replays"].as_array().unwrap().iter().map(|view| text(&view["id"])).collect() };
    assert_eq!(ids("/replay"), [one.clone(), two.clone()]);
    server.call("DELETE", &format!("/replay/{one}"), &Value::Null).expect(204);
    assert_eq!(ids("/replay"), [two.as_str()]);
    assert_eq!(ids("/replay?all=true"), [one.clone(), two]);
    assert_eq!(server.view(&one)["status"], "aborted");
    server.call("DELETE", &format!("/replay/{one}"), &Value::Null).expect(204);
    server.call("GET", "/replay/01ARZ3NDEKTSV4RRFFQ69G5FAV", &Value::Null).expect_error(404, "not_found", &[]);
}

#[test]
fn a_deleted_pending_session_takes_no_client() {
    let server = Server::start();
    let id = hello("x").save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({}));
    server.call("DELETE", &format!("/replay/{replay}"), &Value::Null).expect(204);
    Raw::try_open(server.mock, "/ws", &[]).expect_err("nothing there").expect(404);
}

#[test]
fn delete_gives_the_client_1001() {
    let server = Server::start();
    let id = ws("/ws").s2c(0, "x").s2c(3_600_000_000, "never").save(&server.place.data_dir());
    for options in [json!({}), json!({"mode": "synchronized"}), json!({"mode": "triggered", "autoAdvanceOnConnect": true})] {
        let replay = server.replay(&id, &options);
        let mut client = Raw::open(server.mock, "/ws");
        client.run("expect text x");
        server.call("DELETE", &format!("/replay/{replay}"), &Value::Null).expect(204);
        let end = client.rest();
        assert!(end.last().is_some_and(|words| words.starts_with("close 1001")), "{options}: {end:?}");
        let expected = if options["mode"] == "synchronized" { "complete" } else { "aborted" };
        let view = server.wait(&replay, "ended");
        // The synchronized one sends all it has at once; it may have been complete before the call.
        assert!(view["status"] == expected || view["status"] == "aborted", "{options}: {view}");
    }
}

#[test]
fn elapsed_time_is_frozen_at_the_end_and_null_before_a_client() {
    let server = Server::start();
    let id = ws("/ws").s2c(0, "x").close("server", 1000, 1000, "").save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({}));
    let pending = server.view(&replay);
    assert_eq!((&pending["startedAt"], &pending["elapsedMs"], &pending["status"]), (&Value::Null, &json!(0), &json!("pending")));
    assert_eq!(pending["lateness"], json!({"p50Us": null, "p99Us": null, "maxUs": null}));
    Client::open(server.mock, "/ws").rest();
    let ended = server.wait(&replay, "complete");
    assert_eq!(server.view(&replay)["elapsedMs"], ended["elapsedMs"]);
}

#[test]
fn wait_answers_when_it_is_so_or_408_with_the_status() {
    let server = Server::start();
    let id = hello("x").save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({}));
    let timed_out = server.call("GET", &format!("/replay/{replay}?wait=complete&timeout=50"), &Value::Null).expect(408);
    assert_eq!((&timed_out.json()["id"], &timed_out.json()["status"]), (&json!(replay), &json!("pending")));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| server.wait(&replay, "complete"));
        let mut client = Client::open(server.mock, "/ws");
        assert_eq!(client.next(), "text x");
        assert_eq!(waiting.join().unwrap()["status"], "complete");
    });
    let wrong = server.call("GET", &format!("/replay/{replay}?wait=forever"), &Value::Null);
    wrong.expect_error(400, "bad_request", &["wait", "forever", "complete"]);
}

#[test]
fn inject_sends_between_steps_and_is_not_counted() {
    let server = Server::start();
    let id = ws("/ws").s2c(0, "one").s2c(1000, "two").save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({"mode": "triggered", "autoAdvanceOnConnect": true}));
    let path = format!("/replay/{replay}/inject");
    server.post(&path, &json!({"type": "text", "data": "early"})).expect(409);
    let mut client = Raw::open(server.mock, "/ws");
    client.run("expect text one");
    for (body, words) in [
        (json!({"type": "text", "data": "hé"}), "text hé"),
        (json!({"type": "binary", "data": "AAH/"}), "binary 0001ff"),
        (json!({"type": "ping", "data": "p"}), "ping p"),
    ] {
        assert_eq!(server.post(&path, &body).expect(200).json()["framesSent"], 1);
        client.run(&format!("expect {words}"));
    }
    for (body, word) in [
        (json!({"type": "close"}), "type"),
        (json!({"type": "binary", "data": "%"}), "data"),
        (json!({"type": "text"}), "data"),
        (json!({"type": "text", "data": "x", "dat": 1}), "dat"),
    ] {
        server.post(&path, &body).expect_error(400, "bad_request", &[word]);
    }
    server.touch(&format!("/replay/{replay}/advance")).expect(200);
    client.run("expect text two");
}

#[test]
fn close_drops_the_client_as_asked() {
    let server = Server::start();
    let id = ws("/ws").s2c(0, "x").s2c(3_600_000_000, "never").save(&server.place.data_dir());
    for (body, end) in [
        (json!({"code": 4000, "reason": "enough"}), vec!["close 4000 enough"]),
        (json!({}), vec!["close 1000"]),
        (json!({"abrupt": true}), vec![]),
    ] {
        let replay = server.replay(&id, &json!({}));
        let mut client = Raw::open(server.mock, "/ws");
        client.run("expect text x");
        let view = server.post(&format!("/replay/{replay}/close"), &body).expect(200).json();
        assert_eq!((&view["status"], &view["statusReason"]), (&json!("aborted"), &json!("closed_by_api")), "{body}");
        assert_eq!(client.rest(), end, "{body}");
    }
    let replay = server.replay(&id, &json!({}));
    for (body, word) in [
        (json!({"code": 1005}), "code"),
        (json!({"code": 99}), "code"),
        (json!({"reason": "x".repeat(124)}), "reason"),
        (json!({"code": 1000, "abrupt": true}), "abrupt"),
    ] {
        server.post(&format!("/replay/{replay}/close"), &body).expect_error(400, "bad_request", &[word]);
    }
}

#[test]
fn past_the_limit_of_pending_sessions_it_is_429() {
    let server = Server::builder().config("server:\n  maxPendingReplays: 2\n").start();
    let id = hello("x").save(&server.place.data_dir());
    let first = server.replay(&id, &json!({}));
    server.replay(&id, &json!({}));
    server.post(&format!("/stream-recordings/{id}/replay"), &json!({})).expect(429);
    server.call("DELETE", &format!("/replay/{first}"), &Value::Null).expect(204);
    server.replay(&id, &json!({}));
}

#[test]
fn a_client_that_takes_no_bytes_loses_its_session() {
    let server = Server::builder().config("server:\n  stallTimeout: 2000\n").start();
    let mut made = ws("/ws");
    let long = "x".repeat(60_000);
    for number in 0..600 {
        made = made.s2c(number, &long);
    }
    let id = made.save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({}));
    let client = Raw::open(server.mock, "/ws");
    let view = server.wait(&replay, "ended");
    assert_eq!((&view["status"], &view["statusReason"]), (&json!("aborted"), &json!("client_stalled")));
    drop(client);
}

#[test]
fn options_that_do_not_belong_are_400() {
    let server = Server::start();
    let id = hello("x").save(&server.place.data_dir());
    for (body, words) in [
        (json!({"mode": "pur"}), ["mode", "pure"]),
        (json!({"timingscale": 1}), ["timingscale", "timingScale"]),
        (json!({"timingScale": -1}), ["timingScale", "-1"]),
        (json!({"timingScale": "fast"}), ["timingScale", "fast"]),
        (json!({"strictMatching": true}), ["strictMatching", "synchronized"]),
        (json!({"mode": "synchronized", "timingScale": 1}), ["timingScale", "pure"]),
        (json!({"mode": "triggered", "keepTiming": true}), ["keepTiming", "synchronized"]),
        (json!({"mode": "pure", "timeout": 5}), ["timeout", "synchronized"]),
        (json!({"mode": "synchronized", "autoAdvanceOnConnect": true}), ["autoAdvanceOnConnect", "triggered"]),
        (json!({"mode": "synchronized", "strictMatching": true, "match": "json"}), ["match", "strictMatching"]),
        (json!({"mode": "synchronized", "ignore": ["$.id"]}), ["ignore", "json"]),
        (json!({"mode": "synchronized", "match": "json", "ignore": ["$.["]}), ["ignore[0]", "$.["]),
        (json!({"mode": "synchronized", "correlate": ["id"]}), ["correlate[0]", "id"]),
        (json!({"mode": "triggered", "onEnd": "loop"}), ["onEnd", "pure"]),
        (json!({"path": "no/slash"}), ["path", "/"]),
        (json!({"initialDelay": "some"}), ["initialDelay", "none"]),
        (json!({"maxGap": -5}), ["maxGap", "-5"]),
    ] {
        server.post(&format!("/stream-recordings/{id}/replay"), &body).expect_error(400, "bad_request", &words);
    }
    assert_eq!(server.get("/replay")["total"], 0);
    server.post("/stream-recordings/01ARZ3NDEKTSV4RRFFQ69G5FAV/replay", &json!({})).expect_error(404, "not_found", &[]);
}

#[test]
fn the_protocol_must_be_the_recordings() {
    let server = Server::start();
    let id = hello("x").save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({}));
    crate::support::http::ask(server.mock, "GET", "/ws", &[], b"").expect(404);
    assert_eq!(server.view(&replay)["status"], "pending");
}

#[test]
fn many_sessions_play_at_once() {
    let server = Server::start();
    let id = ws("/ws").s2c(0, "a").s2c(50_000, "b").close("server", 60_000, 1000, "").save(&server.place.data_dir());
    let replays: Vec<String> = (0..50).map(|_| server.replay(&id, &json!({}))).collect();
    let mut clients: Vec<Client> = replays.iter().map(|replay| Client::open(server.mock, &format!("/ws?mockd-replay={replay}"))).collect();
    for client in &mut clients {
        assert_eq!(client.rest(), ["text a", "text b", "close 1000"]);
    }
    for replay in &replays {
        assert_eq!(server.wait(replay, "complete")["framesSent"], 3);
    }
}
