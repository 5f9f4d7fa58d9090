//! Triggered replay (SPEC 5): advance by one, by count, until; what it waits for, what it answers, what it leaves alone.

use std::sync::mpsc::channel;

use serde_json::{Value, json};

use crate::support::recordings::{Made, ws};
use crate::support::ws::{Client, Raw};
use crate::support::{Server, wait};

fn five() -> Made {
    ws("/ws")
        .s2c(1000, "{\"type\":\"welcome\"}")
        .s2c(2000, "two")
        .control("s2c", "ping", 2500, "beat")
        .s2c(3000, "{\"type\":\"complete\"}")
        .binary("s2c", 4000, "AAH/")
        .c2s(4500, "client")
        .s2c(5000, "five")
        .close("client", 6000, 1000, "")
}

fn triggered(made: &Made, mut options: Value) -> (Server, String) {
    let server = Server::start();
    let id = made.save(&server.place.data_dir());
    options["mode"] = json!("triggered");
    let replay = server.replay(&id, &options);
    (server, replay)
}

fn advance(server: &Server, replay: &str, body: Value) -> Value {
    server.post(&format!("/replay/{replay}/advance"), &body).expect(200).json()
}

/// Trap: `advance` with no body refused.
#[test]
fn advance_without_a_body_sends_one_step() {
    let (server, replay) = triggered(&five(), json!({}));
    let mut client = Raw::open(server.mock, "/ws");
    let view = server.status(&replay, "waiting");
    for (option, value) in [("mode", json!("triggered")), ("timeout", json!(30000)), ("autoAdvanceOnConnect", json!(false))] {
        assert_eq!(view["config"][option], value, "{option}");
    }
    for (body, sent) in [(Value::Null, 1), (json!({}), 2)] {
        assert_eq!(
            advance(&server, &replay, body),
            json!({"framesSent": 1, "currentFrame": sent, "totalFrames": 5, "status": "waiting", "complete": false})
        );
    }
    client.run("expect text {\"type\":\"welcome\"}\nexpect text two\nsend ping x\nexpect pong x");
}

#[test]
fn advance_by_count_sends_what_is_left_if_less() {
    let (server, replay) = triggered(&five(), json!({}));
    let mut client = Raw::open(server.mock, "/ws");
    assert_eq!(advance(&server, &replay, json!({"count": 2}))["framesSent"], 2);
    let last = advance(&server, &replay, json!({"count": 50}));
    assert_eq!(last, json!({"framesSent": 3, "currentFrame": 5, "totalFrames": 5, "status": "complete", "complete": true}));
    let words = ["text {\"type\":\"welcome\"}", "text two", "ping beat", "text {\"type\":\"complete\"}", "binary 0001ff", "text five"];
    assert_eq!(client.words(6), words);
    let after = advance(&server, &replay, json!({}));
    assert_eq!((&after["framesSent"], &after["complete"]), (&json!(0), &json!(true)));
}

#[test]
fn advance_until_sends_up_to_and_including_the_content() {
    let (server, replay) = triggered(&five(), json!({}));
    let mut client = Raw::open(server.mock, "/ws");
    let answer = advance(&server, &replay, json!({"until": "{ \"type\" : \"complete\" }"}));
    assert_eq!((&answer["framesSent"], &answer["currentFrame"]), (&json!(3), &json!(3)));
    assert_eq!(client.words(4).last().unwrap(), "text {\"type\":\"complete\"}");
    let missing = server.post(&format!("/replay/{replay}/advance"), &json!({"until": "two"}));
    missing.expect_error(409, "until_not_found", &["two"]);
    assert_eq!(server.view(&replay)["currentFrame"], 3, "nothing was sent");
    assert_eq!(advance(&server, &replay, json!({"until": "AAH/"}))["framesSent"], 1);
    client.run("expect binary 0001ff");
}

#[test]
fn wrong_bodies_name_the_field() {
    let (server, replay) = triggered(&five(), json!({}));
    for (body, word) in [
        (json!({"count": 0}), "count"),
        (json!({"count": -1}), "count"),
        (json!({"count": "5"}), "count"),
        (json!({"cuont": 5}), "count"),
        (json!({"count": 1, "until": "x"}), "until"),
        (json!([]), "object"),
    ] {
        server.post(&format!("/replay/{replay}/advance"), &body).expect_error(400, "bad_request", &[word]);
    }
}

#[test]
fn auto_advance_sends_the_first_step_on_connect() {
    let (server, replay) = triggered(&five(), json!({"autoAdvanceOnConnect": true}));
    let mut client = Raw::open(server.mock, "/ws");
    client.run("expect text {\"type\":\"welcome\"}");
    assert_eq!(server.wait(&replay, "waiting")["currentFrame"], 1);
    assert_eq!(advance(&server, &replay, json!({}))["currentFrame"], 2);
    client.run("expect text two");
}

#[test]
fn advance_waits_for_a_client_and_says_when_none_came() {
    let (server, replay) = triggered(&five(), json!({"timeout": 200}));
    server.touch(&format!("/replay/{replay}/advance")).expect_error(409, "no_client", &[]);
    let (server, replay) = triggered(&five(), json!({}));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| advance(&server, &replay, json!({})));
        let mut client = Raw::open(server.mock, "/ws");
        client.run("expect text {\"type\":\"welcome\"}");
        assert_eq!(waiting.join().unwrap()["framesSent"], 1);
    });
}

/// Trap: `advance` holding a lock so that every other call hangs.
#[test]
fn other_calls_are_not_held_up_by_a_waiting_advance() {
    let (server, replay) = triggered(&five(), json!({}));
    std::thread::scope(|scope| {
        let (sender, answered) = channel();
        let (server, replay) = (&server, &replay);
        for _ in 0..3 {
            let sender = sender.clone();
            scope.spawn(move || sender.send(advance(server, replay, json!({}))).expect("the test runs"));
        }
        for path in ["/replay", "/stream-recordings", "/stream-recordings/stats", "/stream-recordings/sessions", "/health"] {
            server.get(path);
        }
        assert_eq!(server.view(replay)["status"], "pending");
        assert!(answered.try_recv().is_err(), "the advances still wait for a client");
        let mut client = Raw::open(server.mock, "/ws");
        let mut frames: Vec<u64> = (0..3).map(|_| wait::next("an advance", &answered)["currentFrame"].as_u64().unwrap()).collect();
        frames.sort_unstable();
        assert_eq!(frames, [1, 2, 3], "concurrent advances queue");
        client.words(4);
    });
}

#[test]
fn the_recorded_ending_is_a_step() {
    let (server, replay) = triggered(&ws("/ws").s2c(0, "one").close("server", 1000, 4000, "over"), json!({}));
    let mut client = Raw::open(server.mock, "/ws");
    assert_eq!(advance(&server, &replay, json!({}))["status"], "waiting");
    let last = advance(&server, &replay, json!({}));
    assert_eq!(last, json!({"framesSent": 1, "currentFrame": 2, "totalFrames": 2, "status": "complete", "complete": true}));
    client.run("expect text one\nexpect close 4000 over\nsend close 4000 over\nend");
    let (server, replay) = triggered(&ws("/ws").s2c(0, "one").vanished(1000), json!({}));
    let mut client = Raw::open(server.mock, "/ws");
    assert_eq!(advance(&server, &replay, json!({"count": 2}))["complete"], true);
    client.run("expect text one\nend");
}

#[test]
fn a_ping_after_the_last_step_rides_with_it() {
    let made = ws("/ws").s2c(0, "last").control("s2c", "ping", 1000, "after").close("client", 2000, 1000, "");
    let (server, replay) = triggered(&made, json!({}));
    let mut client = Raw::open(server.mock, "/ws");
    assert_eq!(advance(&server, &replay, json!({}))["complete"], true);
    client.run("expect text last\nexpect ping after");
}

#[test]
fn a_session_that_ended_otherwise_cannot_be_advanced() {
    let (server, replay) = triggered(&five(), json!({}));
    let mut client = Raw::open(server.mock, "/ws");
    advance(&server, &replay, json!({}));
    client.run("expect text {\"type\":\"welcome\"}\ndrop");
    assert_eq!(server.wait(&replay, "ended")["status"], "aborted");
    server.touch(&format!("/replay/{replay}/advance")).expect_error(409, "replay_ended", &["aborted"]);
}

#[test]
fn an_advance_that_waits_ends_when_the_session_is_deleted() {
    let (server, replay) = triggered(&five(), json!({}));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| server.touch(&format!("/replay/{replay}/advance")));
        server.call("DELETE", &format!("/replay/{replay}"), &Value::Null).expect(204);
        waiting.join().unwrap().expect(409);
    });
}

#[test]
fn client_messages_are_kept_for_assertions_between_steps() {
    let (server, replay) = triggered(&five(), json!({}));
    let mut client = Client::open(server.mock, "/ws");
    advance(&server, &replay, json!({}));
    assert_eq!(client.next(), "text {\"type\":\"welcome\"}");
    client.text("{\"type\":\"join\"}");
    let messages = wait::eventually("the client's message", || {
        Some(server.get(&format!("/replay/{replay}/messages"))).filter(|answer| answer["messages"] != json!([]))
    });
    let message = &messages["messages"][0];
    assert_eq!((&message["data"], &message["type"]), (&json!("{\"type\":\"join\"}"), &json!("text")));
    assert!(message["relativeUs"].is_u64(), "{message}");
}

#[test]
fn calls_of_another_mode_are_refused_with_both_named() {
    let (server, replay) = triggered(&five(), json!({}));
    let _client = Raw::open(server.mock, "/ws");
    server.status(&replay, "waiting");
    for call in ["pause", "resume"] {
        let answer = server.touch(&format!("/replay/{replay}/{call}")).expect(409);
        let message = answer.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains("triggered") && message.contains("pure"), "{message}");
    }
    let id = five().save(&server.place.data_dir());
    let pure = server.replay(&id, &json!({}));
    let answer = server.touch(&format!("/replay/{pure}/advance")).expect(409);
    let message = answer.json()["message"].as_str().unwrap().to_owned();
    assert!(message.contains("triggered") && message.contains("pure"), "{message}");
}
