//! Replay of event streams (SPEC 5): byte-identical, head and events on their times, requests compared, clients that reconnect.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::recordings::{Made, sse};
use crate::support::sse::Stream;
use crate::support::wait::eventually;
use crate::support::{Conn, Server, Upstream, http};

fn events() -> Made {
    sse("/events")
        .event(1000, json!({"comment": "hello"}))
        .event(2000, json!({"type": "message", "data": "one", "id": "1"}))
        .event(3000, json!({"type": "tick", "data": "two\nlines", "id": "2", "retry": 250}))
        .event(4000, json!({"retry": 100}))
        .event(5000, json!({"type": "message", "data": "é", "id": "3", "raw": "id:3\r\ndata:é\r\n\r\n"}))
        .end("server", 6000)
}

const EVENTS: &str =
    ": hello\n\nid: 1\ndata: one\n\nevent: tick\nid: 2\nretry: 250\ndata: two\ndata: lines\n\nretry: 100\n\nid:3\r\ndata:é\r\n\r\n";

#[test]
fn an_event_stream_replays_byte_for_byte() {
    let server = Server::start();
    let id = events()
        .set("/sse/responseHeaders", json!({"Content-Type": "text/event-stream; charset=utf-8", "X-Request-Id": "42", "Content-Length": "9", "Access-Control-Allow-Origin": "https://x", "Set-Cookie": "[REDACTED]", "Connection": "close"}))
        .set("/metadata/redaction", json!({"headers": ["Set-Cookie"], "query": [], "bodyKeys": [], "patterns": [], "redactValue": "[REDACTED]"}))
        .set("/sse/tail", json!("data: no blank line"))
        .save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({}));
    let mut stream = Stream::open(server.mock, "/events?x=1", &[("Origin", "http://localhost:3000")]);
    assert_eq!(stream.head.status(), 200);
    assert_eq!(stream.head.field("content-type"), Some("text/event-stream; charset=utf-8"));
    assert_eq!(stream.head.field("x-request-id"), Some("42"));
    for left_out in ["content-length", "set-cookie"] {
        assert_eq!(stream.head.field(left_out), None, "{left_out}");
    }
    assert_eq!(stream.head.field("access-control-allow-origin"), Some("http://localhost:3000"));
    assert_eq!(stream.head.field("access-control-allow-credentials"), Some("true"));
    assert_eq!(stream.rest_text(), format!("{EVENTS}data: no blank line"));
    let view = server.wait(&replay, "complete");
    assert_eq!((&view["totalFrames"], &view["framesSent"], &view["protocol"]), (&json!(3), &json!(3), &json!("sse")));
}

#[test]
fn what_was_recorded_through_the_relay_replays_byte_for_byte() {
    let upstream = Upstream::events(&[
        "\u{feff}: x\r\n\r\n",
        "data:a\r",
        "\ndata: b\n\n",
        "\n\nid\ndata: c\n\n",
        "data\n\n",
        ":\n\n",
        "event:e\nid:",
        "9\n\nevent: message\ndata: explicit\n\n",
        "event: no-data\n\nevent: a\nid: 3\n\n: c\nevent: x\n\n",
        "retry: 5\n",
        "data: tail",
    ]);
    let server = Server::before(&upstream);
    let id = server.record("sse", "/events");
    let live = Stream::open(server.mock, "/events", &[]).rest();
    server.stop(&id);
    for options in [json!({}), json!({"timingScale": 0}), json!({"mode": "synchronized"})] {
        server.replay(&id, &options);
        assert_eq!(String::from_utf8_lossy(&Stream::open(server.mock, "/events", &[]).rest()), String::from_utf8_lossy(&live), "{options}");
    }
}

#[test]
fn status_and_method_are_the_recorded_ones() {
    let server = Server::start();
    let id = sse("/v1/chat")
        .set("/metadata/method", json!("POST"))
        .set("/sse/request", json!({"method": "POST", "body": "{\"stream\":true}"}))
        .set("/sse/responseStatus", json!(201))
        .data(1000, "[DONE]")
        .end("server", 2000)
        .save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({}));
    http::ask(server.mock, "GET", "/v1/chat", &[], b"").expect(404);
    assert_eq!(server.view(&replay)["status"], "pending", "a GET is not the recorded method");
    let mut stream = Stream::ask(server.mock, "POST", "/v1/chat", &[], b"{\"other\":1}");
    assert_eq!((stream.head.status(), stream.rest_text().as_str()), (201, "data: [DONE]\n\n"));
}

/// Trap: every delay moved by one because a comment was dropped; the time to the head lost.
#[test]
fn head_and_events_keep_their_times() {
    let server = Server::start();
    let id = sse("/events")
        .set("/sse/headRelativeUs", json!(200_000))
        .event(400_000, json!({"comment": "keep-alive"}))
        .data(700_000, "first")
        .end("server", 900_000)
        .save(&server.place.data_dir());
    server.replay(&id, &json!({}));
    let begin = std::time::Instant::now();
    let mut stream = Stream::open(server.mock, "/events", &[]);
    assert!(begin.elapsed() >= Duration::from_millis(200), "the head at {:?}", begin.elapsed());
    for (text, due_ms) in [(": keep-alive\n\n", 400), ("data: first\n\n", 700)] {
        let at = stream.expect(text) - begin;
        assert!(at >= Duration::from_millis(due_ms), "{text:?} at {at:?}");
    }
    assert_eq!(stream.rest_text(), "");
    assert!(begin.elapsed() >= Duration::from_millis(900), "the end at {:?}", begin.elapsed());
}

/// What is recorded is what passed, whoever served it.
#[test]
fn a_recorded_replay_has_its_own_time_to_the_head() {
    let server = Server::start();
    let id = sse("/events").set("/sse/headRelativeUs", json!(200_000)).data(200_000, "x").end("server", 200_000);
    let id = id.save(&server.place.data_dir());
    let head_us = |options: &Value| {
        let recorded = server.record("sse", "/events");
        server.replay(&id, options);
        let mut stream = Stream::open(server.mock, "/events", &[]);
        assert_eq!(stream.rest_text(), "data: x\n\n");
        server.stop(&recorded);
        server.recording(&recorded)["sse"]["headRelativeUs"].as_u64().unwrap()
    };
    assert!(head_us(&json!({"timingScale": 0.5})) >= 100_000, "when it went out, not before it was due");
    assert!(head_us(&json!({"mode": "synchronized"})) < 200_000, "the head goes out at once");
}

#[test]
fn in_other_modes_the_head_goes_out_at_once_and_comments_ride_along() {
    let server = Server::start();
    let id = events().set("/sse/headRelativeUs", json!(3_600_000_000_u64)).save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({"mode": "triggered"}));
    let mut stream = Stream::open(server.mock, "/events", &[]);
    let advance = |body: Value| server.post(&format!("/replay/{replay}/advance"), &body).expect(200).json();
    assert_eq!(advance(json!({}))["framesSent"], 1);
    stream.expect(": hello\n\nid: 1\ndata: one\n\n");
    assert_eq!(advance(json!({"until": "two\nlines"}))["currentFrame"], 2);
    stream.expect("event: tick\nid: 2\nretry: 250\ndata: two\ndata: lines\n\n");
    assert_eq!(
        advance(json!({"count": 9})),
        json!({"framesSent": 1, "currentFrame": 3, "totalFrames": 3, "status": "complete", "complete": true})
    );
    assert_eq!(stream.rest_text(), "retry: 100\n\nid:3\r\ndata:é\r\n\r\n");
}

#[test]
fn a_stream_that_the_client_left_stays_open() {
    let server = Server::start();
    let id = sse("/events").data(0, "one").end("client", 1000).save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({}));
    let mut stream = Stream::open(server.mock, "/events", &[]);
    stream.expect("data: one\n\n");
    assert_eq!(server.wait(&replay, "complete")["status"], "complete");
    server.call("DELETE", &format!("/replay/{replay}"), &Value::Null).expect(204);
    assert_eq!(stream.rest_text(), "");
}

#[test]
fn on_end_close_ends_the_stream_at_once() {
    let server = Server::start();
    let id = sse("/events").data(0, "one").end("server", 3_600_000_000).save(&server.place.data_dir());
    server.replay(&id, &json!({"onEnd": "close"}));
    assert_eq!(Stream::open(server.mock, "/events", &[]).rest_text(), "data: one\n\n");
    server.replay(&id, &json!({"onEnd": "loop", "maxGap": 10}));
    Stream::open(server.mock, "/events", &[]).expect("data: one\n\ndata: one\n\ndata: one\n\n");
}

#[test]
fn a_request_that_does_not_match_is_409_with_the_error() {
    let server = Server::start();
    let id = sse("/chat")
        .set("/metadata/method", json!("POST"))
        .set("/sse/request", json!({"method": "POST", "body": "{\"q\":1,\"id\":\"a\"}"}))
        .data(0, "ok")
        .end("server", 10)
        .save(&server.place.data_dir());
    for (options, body, status) in [
        (json!({"strictMatching": true}), r#"{"q":1,"id":"a"}"#, 200),
        (json!({"strictMatching": true}), r#"{"q":1, "id":"a"}"#, 409),
        (json!({"match": "json", "ignore": ["$.id"]}), r#"{"id":"b","q":1}"#, 200),
        (json!({"match": "json"}), r#"{"id":"b","q":1}"#, 409),
        (json!({}), "anything", 200),
    ] {
        let mut options = options;
        options["mode"] = json!("synchronized");
        let replay = server.replay(&id, &options);
        let answer = http::ask(server.mock, "POST", "/chat", &[], body.as_bytes()).expect(status);
        if status == 409 {
            assert!(answer.text().contains("ErrMatchMismatch"), "{}", answer.text());
            let view = server.wait(&replay, "ended");
            assert_eq!((&view["status"], &view["error"]["actual"]), (&json!("error"), &json!(body)));
        } else {
            assert_eq!(answer.text(), "data: ok\n\n");
        }
        let matched = if options.get("strictMatching").or(options.get("match")).is_some() { json!(status == 200) } else { Value::Null };
        let expected = json!([{"data": body, "type": "text", "relativeUs": 0, "step": null, "matched": matched}]);
        assert_eq!(server.get(&format!("/replay/{replay}/messages"))["messages"], expected, "the request is the client's message");
        assert_eq!(server.wait(&replay, "ended")["framesReceived"], 1);
    }
}

#[test]
fn a_body_larger_than_a_recording_keeps_is_replayed_to() {
    let server = Server::builder().option("--max-request-body-bytes", 8).start();
    let made = |truncated: bool| {
        let request = json!({"method": "POST", "body": "01234567", "truncated": truncated});
        sse("/chat").set("/metadata/method", json!("POST")).set("/sse/request", request).data(0, "ok").end("server", 10)
    };
    let (cut, whole) = (made(true).save(&server.place.data_dir()), made(false).save(&server.place.data_dir()));
    for (id, options, status) in [
        (&whole, json!({}), 200),
        (&whole, json!({"mode": "synchronized"}), 200),
        (&whole, json!({"mode": "synchronized", "strictMatching": true}), 409),
        (&cut, json!({"mode": "synchronized", "strictMatching": true}), 200),
        (&cut, json!({"mode": "synchronized", "match": "json"}), 200),
    ] {
        server.replay(id, &options);
        let replays = server.record("sse", "/chat");
        http::ask(server.mock, "POST", "/chat", &[], b"0123456789").expect(status);
        server.stop(&replays);
        if status == 200 {
            let request = &server.recording(&replays)["sse"]["request"];
            assert_eq!((&request["body"], &request["truncated"]), (&json!("01234567"), &json!(true)), "{options}");
        }
    }
}

#[test]
fn pause_and_inject_work_on_a_stream() {
    let server = Server::start();
    let id = sse("/events").data(0, "one").data(3_600_000_000, "two").end("server", 3_600_000_000).save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({}));
    let mut stream = Stream::open(server.mock, "/events", &[]);
    stream.expect("data: one\n\n");
    assert_eq!(server.touch(&format!("/replay/{replay}/pause")).expect(200).json()["status"], "paused");
    let injected = server.post(&format!("/replay/{replay}/inject"), &json!({"type": "note", "data": "a\nb", "id": "9"})).expect(200).json();
    assert_eq!(injected["framesSent"], 1);
    stream.expect("event: note\nid: 9\ndata: a\ndata: b\n\n");
    server.post(&format!("/replay/{replay}/close"), &json!({})).expect(200);
    assert_eq!(stream.rest_text(), "");
}

#[test]
fn a_reconnecting_client_is_sent_what_follows_its_last_event() {
    let server = Server::start();
    let id = events().save(&server.place.data_dir());
    let all = EVENTS;
    let after_two = &EVENTS[EVENTS.find("retry: 100").unwrap()..];
    for (last, rest) in [("2", after_two), ("unknown", all)] {
        let replay = server.replay(&id, &json!({}));
        assert_eq!(Stream::open(server.mock, "/events", &[("Last-Event-ID", last)]).rest_text(), rest, "{last}");
        let view = server.wait(&replay, "complete");
        assert_eq!((&view["status"], &view["currentFrame"]), (&json!("complete"), &json!(3)));
    }
}

#[test]
fn the_clock_of_a_reconnection_starts_at_its_last_event() {
    let server = Server::start();
    let hour = 3_600_000_000;
    let id = sse("/events")
        .event(hour, json!({"type": "message", "data": "one", "id": "1"}))
        .event(hour + 300_000, json!({"type": "message", "data": "two", "id": "2"}))
        .end("server", hour + 300_000)
        .save(&server.place.data_dir());
    server.replay(&id, &json!({}));
    let begin = std::time::Instant::now();
    assert_eq!(Stream::open(server.mock, "/events", &[("Last-Event-ID", "1")]).rest_text(), "id: 2\ndata: two\n\n");
    assert!(begin.elapsed() >= Duration::from_millis(300), "{:?}", begin.elapsed());
}

#[test]
fn an_ended_replay_answers_a_reconnection_with_204() {
    let upstream = Upstream::events(&["data: from the upstream\n\n"]);
    let server = Server::before(&upstream);
    let id = events().save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({"timingScale": 0}));
    Stream::open(server.mock, "/events", &[]).rest();
    server.wait(&replay, "complete");
    let last = [("Last-Event-ID", "3")];
    http::ask(server.mock, "GET", "/events", &last, b"").expect(204);
    http::ask(server.mock, "GET", &format!("/events?mockd-replay={replay}"), &last, b"").expect(204);
    assert!(upstream.is_unasked());
    assert_eq!(
        Stream::open(server.mock, "/events", &[]).rest_text(),
        "data: from the upstream\n\n",
        "without Last-Event-ID it is a new stream"
    );
    http::ask(server.mock, "GET", "/elsewhere", &last, b"").expect(200);
}

#[test]
fn a_client_that_leaves_early_aborts_its_session() {
    let server = Server::start();
    let id = sse("/events").data(0, "one").data(3_600_000_000, "two").end("server", 3_600_000_000).save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({}));
    let mut stream = Stream::open(server.mock, "/events", &[]);
    stream.expect("data: one\n\n");
    drop(stream);
    assert_eq!(server.wait(&replay, "ended")["status"], "aborted");
}

#[test]
fn a_preflight_for_a_replay_is_answered() {
    let server = Server::start();
    let id = sse("/chat").set("/metadata/method", json!("POST")).data(0, "ok").end("server", 10).save(&server.place.data_dir());
    server.replay(&id, &json!({}));
    let fields =
        [("Origin", "http://app.example"), ("Access-Control-Request-Method", "POST"), ("Access-Control-Request-Headers", "content-type")];
    let answer = http::ask(server.mock, "OPTIONS", "/chat", &fields, b"");
    assert!(matches!(answer.status(), 200 | 204), "{:?}", answer.head);
    assert_eq!(answer.head.field("access-control-allow-origin"), Some("http://app.example"));
    let said = |name: &str| answer.head.fields.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name)).count();
    assert_eq!(
        (said("access-control-allow-origin"), said("access-control-allow-credentials"), said("vary")),
        (1, 1, 1),
        "{:?}",
        answer.head
    );
    assert!(answer.head.field("access-control-allow-methods").is_some_and(|methods| methods.contains("POST")), "{:?}", answer.head);
    assert!(
        answer.head.field("access-control-allow-headers").is_some_and(|names| names.to_lowercase().contains("content-type")),
        "{:?}",
        answer.head
    );
}

/// An EventSource that comes back is told to stop by a stream that it had, and not by one that nobody ever had.
#[test]
fn a_session_that_had_no_client_tells_nobody_to_stop() {
    let upstream = Upstream::events(&["data: live\n\n"]);
    let server = Server::before(&upstream);
    let id = sse("/events").data(0, "x").end("server", 1).save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({}));
    server.call("DELETE", &format!("/replay/{replay}"), &Value::Null).expect(204);
    assert_eq!(http::ask(server.mock, "GET", "/events", &[("Last-Event-ID", "1")], b"").text(), "data: live\n\n");
}

/// `printf … | nc -N` closes its sending half with its request.
#[test]
fn a_client_that_half_closes_gets_its_replay() {
    let server = Server::start();
    let id = sse("/events").data(0, "x").data(20_000, "y").end("server", 30_000).save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({}));
    let mut client = Conn::open(server.mock);
    client.send("GET /events HTTP/1.0\r\n\r\n");
    client.shut_write();
    let answer = client.read_to_end();
    let answer = String::from_utf8_lossy(&answer);
    if answer.starts_with("HTTP/1.1 200 ") && answer.ends_with("\r\n\r\ndata: x\n\ndata: y\n\n") {
        return;
    }
    // Where a busy machine shows the end of the request later than the request, it is the end of the client, also before the head.
    eventually(&format!("the session's end after {answer:?}"), || (server.view(&replay)["status"] == "aborted").then_some(()));
}
