//! Pure replay of WebSocket recordings (SPEC 5): every frame, on its time, whatever the client says.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::recordings::{Made, put, ws};
use crate::support::server::text;
use crate::support::ws::{Client, Raw};
use crate::support::{Server, Upstream};

fn chat() -> Made {
    ws("/ws/chat")
        .set("/websocket/subprotocol", json!("chat.v1"))
        .s2c(0, "{\"type\":\"welcome\"}")
        .c2s(1000, "{\"type\":\"join\"}")
        .control("s2c", "ping", 2000, "beat")
        .control("c2s", "pong", 2500, "beat")
        .binary("s2c", 3000, "AAH/")
        .s2c(4000, "é")
        .close("server", 5000, 4000, "done")
}

const CHAT: [&str; 5] = ["text {\"type\":\"welcome\"}", "ping beat", "binary 0001ff", "text é", "close 4000 done"];

/// The first test of all. Trap: a replay API that answers 201 and never reaches a socket.
#[test]
fn a_replay_reaches_a_real_client_with_every_frame() {
    let server = Server::start();
    let id = chat().save(&server.place.data_dir());
    let mut created = server.post(&format!("/stream-recordings/{id}/replay"), &json!({"mode": "pure"})).expect(201).json();
    let config = created["config"].take();
    assert_eq!((&config["mode"], &config["timingScale"]), (&json!("pure"), &json!(1.0)));
    let replay = text(&created["id"]);
    let url = format!("ws://{}/ws/chat", server.mock);
    assert_eq!(
        created,
        json!({
            "id": replay, "replayId": replay, "sessionId": replay, "recordingId": id, "protocol": "websocket", "mode": "pure",
            "status": "pending", "path": "/ws/chat", "url": url, "sessionUrl": format!("{url}?mockd-replay={replay}"), "totalFrames": 4,
            "config": null
        })
    );
    let mut client = Client::open_with(server.mock, "/ws/chat?the=query&is=not+compared", Some("other, chat.v1"));
    assert_eq!(client.response.headers()["sec-websocket-protocol"], "chat.v1");
    assert_eq!(client.rest(), CHAT);
    let view = server.wait(&replay, "complete");
    assert_eq!(
        (&view["status"], &view["currentFrame"], &view["totalFrames"], &view["framesSent"]),
        (&json!("complete"), &json!(4), &json!(4), &json!(4))
    );
    assert_eq!(
        (&view["id"], &view["recordingId"], &view["mode"], &view["path"], &view["protocol"]),
        (&json!(replay), &json!(id), &json!("pure"), &json!("/ws/chat"), &json!("websocket"))
    );
    assert!(view["startedAt"].is_string() && view["elapsedMs"].is_u64() && view["lateness"]["maxUs"].is_u64(), "{view}");
}

#[test]
fn what_was_recorded_through_the_relay_replays_the_same() {
    let upstream = Upstream::websocket(Some("v1"), |mut raw| {
        raw.run("send text one\nsend ping p\nexpect pong p\nsend binary 00ff\nexpect text two\nsend text three\nsend close 4321 over\nexpect close 4321 over");
    });
    let server = Server::before(&upstream);
    let id = server.record("websocket", "/ws");
    let conversation = |server: &Server| {
        let mut client = Client::open_with(server.mock, "/ws", Some("v1"));
        let mut got = client.take(3);
        client.text("two");
        got.extend(client.rest());
        (got, client.response.headers().get("sec-websocket-protocol").cloned())
    };
    let live = conversation(&server);
    server.stop(&id);
    server.replay(&id, &json!({}));
    assert_eq!(conversation(&server), live);
    server.replay(&id, &json!({"timingScale": 0}));
    assert_eq!(conversation(&server), live);
}

#[test]
fn an_empty_body_means_the_defaults() {
    let server = Server::start();
    let id = chat().save(&server.place.data_dir());
    let created = server.touch(&format!("/stream-recordings/{id}/replay")).expect(201).json();
    assert_eq!((&created["mode"], &created["config"]["timingScale"]), (&json!("pure"), &json!(1.0)));
}

#[test]
fn a_subprotocol_that_the_client_does_not_offer_is_left_out() {
    let server = Server::start();
    let id = chat().save(&server.place.data_dir());
    for offered in [None, Some("other")] {
        server.replay(&id, &json!({"timingScale": 0}));
        let mut client =
            Raw::open_with(server.mock, "/ws/chat", &offered.map(|offered| [("Sec-WebSocket-Protocol", offered)]).unwrap_or([("X", "")]));
        assert_eq!(client.head.field("sec-websocket-protocol"), None);
        client.run("expect text {\"type\":\"welcome\"}");
    }
}

/// How long the frames of a replay took, from the client's handshake on.
fn duration(made: &Made, options: Value) -> (Duration, Value) {
    let server = Server::start();
    let id = made.save(&server.place.data_dir());
    let replay = server.replay(&id, &options);
    let begin = Instant::now();
    let mut client = Client::open(server.mock, "/ws");
    client.rest();
    (begin.elapsed(), server.wait(&replay, "complete"))
}

fn timed() -> Made {
    ws("/ws").s2c(500_000, "a").s2c(600_000, "b").s2c(1_000_000, "c").close("server", 1_000_000, 1000, "")
}

/// Traps: `timingScale` 0.5 that slows down; the first delay dropped.
#[test]
fn timing_scale_half_is_twice_as_fast_and_the_first_delay_counts() {
    let (half, _) = duration(&timed(), json!({"timingScale": 0.5}));
    assert!(half >= Duration::from_millis(500), "{half:?}");
    let (whole, _) = duration(&timed(), json!({}));
    assert!(whole >= Duration::from_millis(1000), "{whole:?}");
    let (double, _) = duration(&timed(), json!({"timingScale": 2}));
    assert!(double >= Duration::from_millis(2000), "{double:?}");
    assert!(half < double, "{half:?} {double:?}");
}

#[test]
fn timing_scale_0_sends_as_fast_as_the_client_reads() {
    let hour = 3_600_000_000;
    let (took, view) =
        duration(&ws("/ws").s2c(hour, "a").s2c(2 * hour, "b").close("server", 3 * hour, 1000, ""), json!({"timingScale": 0}));
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert_eq!(view["framesSent"], 3);
}

#[test]
fn initial_delay_none_shifts_all_times() {
    let hour = 3_600_000_000;
    let made = ws("/ws").s2c(hour, "a").s2c(hour + 300_000, "b").close("server", hour + 300_000, 1000, "");
    let (took, _) = duration(&made, json!({"initialDelay": "none"}));
    assert!(took >= Duration::from_millis(300) && took < Duration::from_secs(8), "{took:?}");
}

#[test]
fn max_gap_cuts_silences_before_scaling() {
    let hour = 3_600_000_000;
    let made = ws("/ws").s2c(hour, "a").s2c(2 * hour, "b").s2c(2 * hour + 100_000, "c").close("server", 3 * hour, 1000, "");
    let (took, _) = duration(&made, json!({"maxGap": 200, "timingScale": 2}));
    // (200 + 200 + 100 + 200) ms × 2
    assert!(took >= Duration::from_millis(1400) && took < Duration::from_secs(9), "{took:?}");
}

/// Traps: delays summed from sleeps, so that they drift; delays cut to whole milliseconds.
#[test]
fn two_hundred_frames_do_not_drift() {
    let mut made = ws("/ws");
    for number in 0..200_u64 {
        made = made.s2c(number * 2_500 + 900, &number.to_string());
    }
    let last = 199 * 2_500 + 900;
    let (took, view) = duration(&made.close("server", last, 1000, ""), json!({}));
    assert!(took >= Duration::from_micros(last), "{took:?}");
    // Half of the frames may be late on a busy machine, but lateness that adds up (0.1 ms a frame or more) shows at once.
    let p50 = view["lateness"]["p50Us"].as_u64().expect("a figure");
    assert!(p50 < 1_000_000, "{view}");
    assert!(view["lateness"]["p50Us"].as_u64() <= view["lateness"]["p99Us"].as_u64());
    assert!(view["lateness"]["p99Us"].as_u64() <= view["lateness"]["maxUs"].as_u64());
}

/// Trap: a pause lost because nobody was listening at that instant.
#[test]
fn no_frame_leaves_after_pause_has_answered_and_resume_goes_on() {
    let server = Server::start();
    let mut made = ws("/ws");
    for number in 0..400_u64 {
        made = made.s2c(number * 1_000, &number.to_string());
    }
    let id = made.close("server", 400_000, 1000, "").save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({}));
    let mut client = Client::open(server.mock, "/ws");
    assert_eq!(client.next(), "text 0");
    let paused = server.touch(&format!("/replay/{replay}/pause")).expect(200).json();
    assert_eq!(paused["status"], "paused");
    assert_eq!(server.touch(&format!("/replay/{replay}/pause")).expect(200).json()["status"], "paused", "pausing twice is fine");
    let sent = paused["framesSent"].as_u64().unwrap();
    (1..sent).for_each(|number| assert_eq!(client.next(), format!("text {number}")));
    // An injected frame shows that the session is alive and that nothing else has left meanwhile.
    let injected = server.post(&format!("/replay/{replay}/inject"), &json!({"type": "text", "data": "between"})).expect(200).json();
    assert_eq!(injected["framesSent"], sent);
    assert_eq!(client.next(), "text between");
    assert_eq!(server.view(&replay)["framesSent"], sent);
    let resumed = server.touch(&format!("/replay/{replay}/resume")).expect(200).json();
    assert_ne!(resumed["status"], "paused");
    server.touch(&format!("/replay/{replay}/resume")).expect(200);
    let rest = client.rest();
    assert_eq!(rest.len() as u64, 400 - sent + 1);
    assert_eq!(rest.last().map(String::as_str), Some("close 1000"));
    assert_eq!(server.wait(&replay, "complete")["framesSent"], 401);
}

#[test]
fn pause_and_resume_are_refused_while_pending_and_after_the_end() {
    let server = Server::start();
    let id = chat().save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({"timingScale": 0}));
    for call in ["pause", "resume"] {
        let answer = server.touch(&format!("/replay/{replay}/{call}")).expect(409);
        assert!(text(&answer.json()["message"]).contains("pending"), "{}", answer.text());
    }
    Client::open(server.mock, "/ws/chat").rest();
    server.wait(&replay, "complete");
    for call in ["pause", "resume"] {
        let answer = server.touch(&format!("/replay/{replay}/{call}")).expect(409);
        assert!(text(&answer.json()["message"]).contains("complete"), "{}", answer.text());
    }
}

#[test]
fn a_server_that_vanished_vanishes_again() {
    let server = Server::start();
    let id = ws("/ws").s2c(0, "hello").vanished(1000).save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({}));
    let mut client = Raw::open(server.mock, "/ws");
    client.run("expect text hello\nend");
    let view = server.wait(&replay, "complete");
    assert_eq!((&view["status"], &view["totalFrames"], &view["framesSent"]), (&json!("complete"), &json!(2), &json!(2)));
}

#[test]
fn a_connection_that_the_client_ended_is_left_to_the_client() {
    let server = Server::start();
    let id = ws("/ws").s2c(0, "hello").close("client", 1000, 1000, "").save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({}));
    let mut client = Raw::open(server.mock, "/ws");
    client.run("expect text hello");
    assert_eq!(server.wait(&replay, "complete")["totalFrames"], 1);
    client.run("send ping still there\nexpect pong still there\nsend close 1000\nexpect close 1000\nend");
    assert_eq!(server.view(&replay)["status"], "complete");
}

#[test]
fn client_messages_are_counted_and_ignored() {
    let server = Server::start();
    let id = chat().save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({"onEnd": "keepOpen"}));
    let mut client = Raw::open(server.mock, "/ws/chat");
    client.run("send text whatever\nsend binary 00ff\nsend ping live");
    let mut got = client.words(5);
    got.sort();
    let mut expected: Vec<String> = CHAT[..4].iter().map(|words| (*words).to_owned()).chain(["pong live".to_owned()]).collect();
    expected.sort();
    assert_eq!(got, expected, "a live ping is answered live");
    let view = server.wait(&replay, "complete");
    assert_eq!(view["framesReceived"], 2);
    let messages = server.get(&format!("/replay/{replay}/messages"));
    let seen: Vec<(&str, &str)> = messages["messages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|message| (message["type"].as_str().unwrap(), message["data"].as_str().unwrap()))
        .collect();
    assert_eq!(seen, [("text", "whatever"), ("binary", "AP8=")]);
}

#[test]
fn on_end_changes_how_it_ends() {
    let server = Server::start();
    let ended = chat().save(&server.place.data_dir());
    let open = ws("/ws/chat").s2c(0, "hello").close("client", 60_000_000, 1000, "").save(&server.place.data_dir());
    server.replay(&ended, &json!({"onEnd": "close", "timingScale": 0}));
    assert_eq!(Client::open(server.mock, "/ws/chat").rest(), [&CHAT[..4], &["close 1000"]].concat());
    server.replay(&open, &json!({"onEnd": "close"}));
    assert_eq!(Client::open(server.mock, "/ws/chat").rest(), ["text hello", "close 1000"]);
    let replay = server.replay(&ended, &json!({"onEnd": "keepOpen", "timingScale": 0}));
    let mut client = Raw::open(server.mock, "/ws/chat");
    assert_eq!(client.words(4), CHAT[..4]);
    assert_eq!(server.wait(&replay, "complete")["totalFrames"], 3);
    client.run("send ping open\nexpect pong open");
}

#[test]
fn a_loop_begins_again_and_is_never_complete() {
    let server = Server::start();
    let id = ws("/ws").s2c(0, "a").s2c(1000, "b").close("server", 2000, 1000, "").save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({"onEnd": "loop"}));
    let mut client = Client::open(server.mock, "/ws");
    assert_eq!(client.take(7), ["text a", "text b", "text a", "text b", "text a", "text b", "text a"]);
    assert_eq!(server.view(&replay)["status"], "playing");
    server.call("DELETE", &format!("/replay/{replay}"), &Value::Null).expect(204);
    assert!(client.rest().last().unwrap().starts_with("close 1001"));
}

#[test]
fn a_pretty_printed_recording_with_milliseconds_only_replays() {
    let server = Server::start();
    let mut json = chat().json();
    for frame in json["websocket"]["frames"].as_array_mut().unwrap() {
        frame.as_object_mut().unwrap().remove("relativeUs");
    }
    let id = text(&json["id"]);
    crate::support::recordings::put(
        &server.place.data_dir(),
        &format!("rec_{id}.json"),
        serde_json::to_string_pretty(&json).unwrap().as_bytes(),
    );
    server.replay(&id, &json!({}));
    assert_eq!(Client::open(server.mock, "/ws/chat").rest(), CHAT);
}

#[test]
fn a_large_recording_replays_whole() {
    let server = Server::start();
    let mut made = ws("/ws");
    for number in 0..3000_u64 {
        made = made.s2c(number, &format!("{number} {}", "x".repeat(1000)));
    }
    let id = made.close("server", 3000, 1000, "").save(&server.place.data_dir());
    server.replay(&id, &json!({}));
    let got = Client::open(server.mock, "/ws").rest();
    assert_eq!(got.len(), 3001);
    assert!(got[..3000].iter().enumerate().all(|(number, words)| words.starts_with(&format!("text {number} x"))));
}

#[test]
fn a_client_that_leaves_early_aborts() {
    let server = Server::start();
    let id = ws("/ws").s2c(0, "a").s2c(3_600_000_000, "b").close("server", 3_600_000_000, 1000, "").save(&server.place.data_dir());
    for leaving in ["drop", "send close 1000\nexpect close 1000"] {
        let replay = server.replay(&id, &json!({}));
        let mut client = Raw::open(server.mock, "/ws");
        client.run("expect text a");
        client.run(leaving);
        let view = server.wait(&replay, "ended");
        assert_eq!((&view["status"], &view["framesSent"]), (&json!("aborted"), &json!(1)), "{leaving}");
    }
}

/// As people write a recording by hand: binary is base64, said or not.
#[test]
fn binary_without_an_encoding_is_base64() {
    let server = Server::start();
    let mut file = ws("/ws").binary("s2c", 0, "AAEC/w==").json();
    file["websocket"]["frames"][0].as_object_mut().unwrap().remove("encoding").expect("an encoding");
    let id = text(&file["id"]);
    put(&server.place.data_dir(), &format!("rec_{id}.json"), file.to_string().as_bytes());
    server.replay(&id, &json!({}));
    Raw::open(server.mock, "/ws").run("expect binary 000102ff");
}
