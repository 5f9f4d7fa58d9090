//! Synchronized replay (SPEC 5): the client's messages drive it; matching, correlation, timeouts.

use serde_json::{Value, json};

use crate::support::Server;
use crate::support::recordings::{Made, ws};
use crate::support::server::text;
use crate::support::ws::{Client, Raw};

/// The sequence of the second seed document.
fn login() -> Made {
    ws("/ws")
        .s2c(1000, "Welcome message")
        .c2s(2000, "Client login")
        .s2c(3000, "Login success")
        .control("s2c", "ping", 3500, "beat")
        .c2s(4000, "Client request data")
        .s2c(5000, "Data response")
        .close("client", 6000, 1000, "")
}

fn replayed(made: &Made, mut options: Value) -> (Server, String, Raw) {
    let server = Server::start();
    let id = made.save(&server.place.data_dir());
    options["mode"] = json!("synchronized");
    let replay = server.replay(&id, &options);
    let client = Raw::open(server.mock, "/ws");
    (server, replay, client)
}

/// Plays one client message against one recorded one; the session's last status.
fn judged(recorded: &str, sent: &str, options: Value) -> Value {
    let (server, replay, mut client) = replayed(&ws("/ws").c2s(1000, recorded).s2c(2000, "ok"), options);
    client.run(&format!("send text {sent}"));
    server.wait(&replay, "ended")
}

#[test]
fn the_documents_example_plays_as_written() {
    let (server, replay, mut client) = replayed(&login(), json!({}));
    client.run("expect text Welcome message");
    let view = server.wait(&replay, "waiting");
    assert_eq!(
        (&view["status"], &view["currentFrame"], &view["totalFrames"], &view["framesSent"]),
        (&json!("waiting"), &json!(1), &json!(5), &json!(1))
    );
    for (option, value) in [("mode", json!("synchronized")), ("strictMatching", json!(false)), ("timeout", json!(30000))] {
        assert_eq!(view["config"][option], value, "{option}");
    }
    client.run("send text anything\nexpect text Login success");
    assert_eq!(server.wait(&replay, "waiting")["currentFrame"], 3);
    client.run("send text else\nexpect ping beat\nexpect text Data response");
    let view = server.wait(&replay, "complete");
    assert_eq!(
        (&view["status"], &view["currentFrame"], &view["framesSent"], &view["framesReceived"]),
        (&json!("complete"), &json!(5), &json!(3), &json!(2))
    );
}

#[test]
fn pings_ride_along_and_live_pings_are_answered_live() {
    let (_server, _replay, mut client) = replayed(&login(), json!({}));
    client.run("expect text Welcome message\nsend ping x\nexpect pong x\nsend text a\nexpect text Login success\nsend text b\nexpect ping beat\nexpect text Data response");
}

#[test]
fn early_messages_queue_and_late_ones_are_counted() {
    let (server, replay, mut client) = replayed(&login(), json!({}));
    client.run("send text one\nsend text two\nsend text three\nexpect text Welcome message\nexpect text Login success\nexpect ping beat\nexpect text Data response");
    assert_eq!(server.wait(&replay, "complete")["status"], "complete");
    let messages = crate::support::wait::eventually("three messages", || {
        Some(server.get(&format!("/replay/{replay}/messages")))
            .filter(|answer| answer["messages"].as_array().is_some_and(|all| all.len() == 3))
    });
    let steps: Vec<&Value> = messages["messages"].as_array().unwrap().iter().map(|message| &message["step"]).collect();
    assert_eq!(steps, [&json!(2), &json!(4), &Value::Null]);
    assert_eq!(server.view(&replay)["framesReceived"], 3);
}

/// Trap: strict matching that compares and ignores the result.
#[test]
fn strict_matching_ends_a_mismatch_with_1008() {
    let (server, replay, mut client) = replayed(&login(), json!({"strictMatching": true}));
    client.run("expect text Welcome message\nsend text Client login\nexpect text Login success\nsend text Client request date");
    let end = client.rest();
    assert!(end.len() == 2 && end[0] == "ping beat" || end.len() == 1, "{end:?}");
    assert!(end.last().unwrap().starts_with("close 1008 ") && end.last().unwrap().len() > 12, "{end:?}");
    let view = server.wait(&replay, "ended");
    assert_eq!(view["status"], "error");
    let error = &view["error"];
    assert_eq!((&error["code"], &error["step"]), (&json!("ErrMatchMismatch"), &json!(4)));
    assert_eq!((&error["expected"], &error["actual"]), (&json!("Client request data"), &json!("Client request date")));
    assert!(!text(&error["message"]).is_empty());
    let messages = server.get(&format!("/replay/{replay}/messages"));
    let matched: Vec<&Value> = messages["messages"].as_array().unwrap().iter().map(|message| &message["matched"]).collect();
    assert_eq!(matched, [&json!(true), &json!(false)]);
}

#[test]
fn strict_matching_compares_type_and_bytes() {
    let strict = || json!({"strictMatching": true});
    assert_eq!(judged("same", "same", strict())["status"], "complete");
    assert_eq!(judged("{\"a\":1}", "{\"a\": 1}", strict())["status"], "error");
    let (server, replay, mut client) = replayed(&ws("/ws").binary("c2s", 0, "AP8=").s2c(1, "ok"), strict());
    client.run("send binary 00ff\nexpect text ok");
    assert_eq!(server.wait(&replay, "ended")["status"], "complete");
    let (server, replay, mut client) = replayed(&ws("/ws").c2s(0, "ab").s2c(1, "ok"), strict());
    client.run("send binary 6162");
    assert_eq!(server.wait(&replay, "ended")["error"]["code"], "ErrMatchMismatch");
}

#[test]
fn matching_between_strict_and_none() {
    for (recorded, sent, options, status) in [
        (r#"{"a":1,"b":[1,2]}"#, r#"{ "b": [1, 2], "a": 1.0 }"#, json!({"match": "json"}), "complete"),
        (r#"{"a":1}"#, r#"{"a":2}"#, json!({"match": "json"}), "error"),
        (r#"{"a":1}"#, "not JSON", json!({"match": "json"}), "error"),
        (r#"{"id":"x1","a":1}"#, r#"{"id":"y2","a":1}"#, json!({"match": "json", "ignore": ["$.id"]}), "complete"),
        (r#"{"id":"x1","a":1}"#, r#"{"id":"y2","a":2}"#, json!({"match": "json", "ignore": ["$.id"]}), "error"),
        (r#"{"l":[{"t":1},{"t":2}]}"#, r#"{"l":[{"t":8},{"t":9}]}"#, json!({"match": "json", "ignore": ["$.l[*].t"]}), "complete"),
        ("any text", "another text", json!({"match": "type"}), "complete"),
    ] {
        let view = judged(recorded, sent, options.clone());
        assert_eq!(view["status"], status, "{recorded} {sent} {options}: {view}");
    }
    let (server, replay, mut client) = replayed(&ws("/ws").c2s(0, "text").s2c(1, "ok"), json!({"match": "type"}));
    client.run("send binary 00");
    assert_eq!(server.wait(&replay, "ended")["error"]["code"], "ErrMatchMismatch");
}

#[test]
fn long_texts_in_an_error_are_cut_at_4_kib() {
    let long = "é".repeat(10_000);
    let view = judged(&long, &format!("{long}!"), json!({"strictMatching": true}));
    for field in ["expected", "actual"] {
        let length = text(&view["error"][field]).len();
        assert!(length <= 4096 && length > 4000, "{field}: {length}");
    }
}

#[test]
fn a_timeout_is_an_error_that_says_so() {
    let (server, replay, mut client) = replayed(&login(), json!({"timeout": 200}));
    client.run("expect text Welcome message");
    let end = client.rest();
    assert!(end.len() == 1 && end[0].starts_with("close 1008 "), "{end:?}");
    let view = server.wait(&replay, "ended");
    assert_eq!((&view["status"], &view["error"]["code"], &view["error"]["step"]), (&json!("error"), &json!("ErrMatchTimeout"), &json!(2)));
    assert_eq!(view["error"]["expected"], "Client login");
}

#[test]
fn a_timeout_of_0_waits_for_ever() {
    let (server, replay, mut client) = replayed(&login(), json!({"timeout": 0}));
    client.run("expect text Welcome message");
    let answer = server.call("GET", &format!("/replay/{replay}?wait=ended&timeout=300"), &Value::Null).expect(408);
    assert_eq!(answer.json()["status"], "waiting");
    client.run("send text x\nexpect text Login success");
}

#[test]
fn the_recorded_close_is_a_step_too() {
    let (server, replay, mut client) = replayed(&ws("/ws").c2s(1000, "bye").close("server", 2000, 4002, "you said bye"), json!({}));
    client.run("send text bye\nexpect close 4002 you said bye\nsend close 4002 you said bye\nend");
    let view = server.wait(&replay, "complete");
    assert_eq!((&view["totalFrames"], &view["currentFrame"], &view["framesSent"]), (&json!(2), &json!(2), &json!(1)));
}

#[test]
fn correlate_puts_the_live_value_in_the_place_of_the_recorded_one() {
    let made = ws("/ws")
        .c2s(1000, r#"{"id":"sub-recorded-1","type":"subscribe"}"#)
        .s2c(2000, r#"{"id":"sub-recorded-1","type":"next","payload":{"of":"sub-recorded-1","text":"not sub-recorded-1 within"}}"#)
        .c2s(3000, r#"{"id":7,"method":"add"}"#)
        .s2c(4000, r#"{"jsonrpc":"2.0", "id":7, "result":7}"#)
        .s2c(5000, "no JSON: sub-recorded-1")
        .close("client", 6000, 1000, "");
    let (_server, _replay, mut client) = replayed(&made, json!({"correlate": ["$.id"]}));
    client.run(r#"send text {"id":"live","type":"subscribe"}"#);
    assert_eq!(client.frame().text(), r#"{"id":"live","type":"next","payload":{"of":"live","text":"not sub-recorded-1 within"}}"#);
    client.run(r#"send text {"id":12,"method":"add"}"#);
    assert_eq!(client.frame().text(), r#"{"jsonrpc":"2.0", "id":12, "result":7}"#);
    assert_eq!(client.frame().text(), "no JSON: sub-recorded-1");
}

#[test]
fn keep_timing_waits_the_recorded_delay_before_the_answer() {
    let made = ws("/ws").c2s(10_000_000, "ask").s2c(10_400_000, "answer").close("client", 11_000_000, 1000, "");
    let (_server, _replay, mut client) = replayed(&made, json!({"keepTiming": true}));
    let begin = std::time::Instant::now();
    client.run("send text ask\nexpect text answer");
    let took = begin.elapsed();
    assert!(took >= std::time::Duration::from_millis(400) && took.as_secs() < 9, "{took:?}");
}

#[test]
fn a_client_that_leaves_while_it_is_waited_for_aborts() {
    let (server, replay, mut client) = replayed(&login(), json!({}));
    client.run("expect text Welcome message\ndrop");
    assert_eq!(server.wait(&replay, "ended")["status"], "aborted");
}

#[test]
fn a_real_client_is_told_of_the_mismatch() {
    let server = Server::start();
    let id = login().save(&server.place.data_dir());
    server.replay(&id, &json!({"mode": "synchronized", "strictMatching": true}));
    let mut client = Client::open(server.mock, "/ws");
    assert_eq!(client.next(), "text Welcome message");
    client.text("wrong");
    assert!(client.rest().last().unwrap().starts_with("close 1008 "));
}

#[test]
fn fragments_of_the_client_are_one_message() {
    let (server, replay, mut client) = replayed(&ws("/ws").c2s(0, "in three parts").s2c(1, "ok"), json!({"strictMatching": true}));
    use crate::support::ws::{MASK, frame};
    let parts = [
        frame(0x01, Some(MASK), b"in "),
        frame(0x89, Some(MASK), b"?"),
        frame(0x00, Some(MASK), b"three "),
        frame(0x80, Some(MASK), b"parts"),
    ];
    client.conn.send(parts.concat());
    client.run("expect pong ?\nexpect text ok");
    assert_eq!(server.wait(&replay, "complete")["status"], "complete");
}

/// A message queue that is full stops the reading, and loses nothing.
#[test]
fn more_early_messages_than_the_queue_holds_are_all_judged() {
    let server = Server::builder().config("server:\n  maxQueuedMessages: 5\n").start();
    let mut made = ws("/ws");
    for number in 0..100_u64 {
        made = made.c2s(number * 10_000, &number.to_string()).s2c(number * 10_000 + 5_000, &number.to_string());
    }
    let id = made.save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({"mode": "synchronized", "strictMatching": true, "keepTiming": true}));
    let mut client = Raw::open(server.mock, "/ws");
    for number in 0..100 {
        client.run(&format!("send text {number}"));
    }
    for number in 0..100 {
        client.run(&format!("expect text {number}"));
    }
    assert_eq!(server.wait(&replay, "complete")["framesReceived"], 100);
}
