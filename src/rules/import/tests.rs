//! Every format that is read, in small texts, and the formats that are written, read back.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::Import;
use crate::base::error::{Error, Result};
use crate::base::time;
use crate::model::pairs::Pairs;
use crate::model::recording::*;
use crate::model::recording_text;
use crate::rules::export::{self, HarWriter};
use crate::rules::redact::Redactor;

pub(super) fn redactor(patterns: &[&str]) -> Redactor {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let (headers, query) = (words(&["Authorization"]), words(&["token"]));
    let rules = Redaction { headers, query, patterns: words(patterns), redact_value: "[REDACTED]".to_owned(), ..Redaction::default() };
    Redactor::new(&rules).unwrap()
}

/// Everything in a text, and the words about what is not.
pub(super) fn read_with(text: &str, redactor: &Redactor) -> Result<(Vec<Recording>, Vec<String>)> {
    let mut import = Import::of(text.as_bytes(), redactor, 1_705_314_600_000_000)?;
    let (mut all, mut left_out) = (Vec::new(), Vec::new());
    while let Some(plan) = import.next_plan() {
        let mut plan = plan?;
        let frames = std::iter::from_fn(|| plan.next_frame()).collect::<Result<_>>()?;
        left_out.append(&mut plan.left_out);
        all.push(Recording { head: plan.head.clone(), frames, tail: plan.finish() });
    }
    left_out.extend(import.left_out());
    Ok((all, left_out))
}

pub(super) fn read(text: &str) -> (Vec<Recording>, Vec<String>) {
    read_with(text, &redactor(&[])).unwrap()
}

pub(super) fn one(value: &Value) -> Recording {
    let (mut all, left_out) = read(&value.to_string());
    assert_eq!((all.len(), left_out), (1, Vec::<String>::new()));
    all.remove(0)
}

pub(super) fn error(value: &Value) -> String {
    let error = read_with(&value.to_string(), &redactor(&[])).unwrap_err();
    assert!(matches!(error, Error::Invalid { .. }), "{error}");
    error.to_string()
}

/// Direction, type, data and microseconds of each frame.
pub(super) fn messages(recording: &Recording) -> Vec<(Direction, FrameType, &str, u64)> {
    fn message(frame: &Frame) -> (Direction, FrameType, &str, u64) {
        let Frame::WebSocket(frame) = frame else { panic!("an event") };
        (frame.direction, frame.kind, frame.data.as_str(), frame.relative_us.unwrap())
    }
    recording.frames.iter().map(message).collect()
}

pub(super) type Event<'a> = (Option<&'a str>, Option<&'a str>, Option<&'a str>, u64);

/// Type, data, id and microseconds of each event.
pub(super) fn events(recording: &Recording) -> Vec<Event<'_>> {
    fn event(frame: &Frame) -> Event<'_> {
        let Frame::Sse(event) = frame else { panic!("a message") };
        (event.kind.as_deref(), event.data.as_deref(), event.id.as_deref(), event.relative_us.unwrap())
    }
    recording.frames.iter().map(event).collect()
}

use Direction::{ClientToServer as C2s, ServerToClient as S2c};
use FrameType::{Binary, Close, Ping, Text};

#[test]
fn the_documents_minimal_event_stream_is_read() {
    let text = json!({"protocol": "sse", "sse": {"events": [
        {"type": "message", "data": "Hello world", "id": "evt-001", "timestamp": "2024-01-15T10:30:00.100Z", "relativeMs": 100}]}});
    let recording = one(&text);
    assert_eq!(events(&recording), [(Some("message"), Some("Hello world"), Some("evt-001"), 100_000)]);
    assert_eq!((recording.head.start_time.as_str(), recording.head.name.as_str()), ("2024-01-15T10:30:00.000000Z", "sse /"));
    assert_eq!((recording.head.metadata.source, recording.head.metadata.path.as_str()), (Some(Source::Import), "/"));
    assert_eq!((recording.tail.status, recording.tail.duration, recording.tail.stats.event_count), (Status::Complete, Some(100), 1));
    let Frame::Sse(event) = &recording.frames[0] else { panic!() };
    assert_eq!(event.timestamp, "2024-01-15T10:30:00.100000Z");
}

#[test]
fn what_is_missing_is_made_and_what_is_unknown_is_kept() {
    let recording = one(&json!({"formatVersion": "1.0", "id": "01HXYZ123456", "protocol": "websocket", "status": "recording",
        "startTime": "2024-01-15T10:30:00Z", "deleted": true, "mine": {"a": 1}, "stats": {"frameCount": 9},
        "metadata": {"path": "/ws", "source": "proxy", "headers": {"Authorization": "secret"}, "query": {"token": "secret", "a": "b"}, "x": 1},
        "websocket": {"frames": [{"direction": "s2c", "type": "text", "data": "a", "relativeMs": 5, "y": 2},
            {"direction": "c2s", "type": "binary", "data": "AQ==", "relativeUs": 7001},
            {"direction": "c2s", "type": "close", "relativeMs": 9, "closeCode": 1001, "closeReason": "bye"}]}}));
    assert_eq!(messages(&recording), [(S2c, Text, "a", 5000), (C2s, Binary, "AQ==", 7001), (C2s, Close, "", 9000)]);
    let Frame::WebSocket(frame) = &recording.frames[1] else { panic!() };
    assert_eq!((frame.timestamp.as_str(), frame.relative_ms), ("2024-01-15T10:30:00.007001Z", Some(7)));
    assert_eq!(frame.encoding, Some(Encoding::Base64));
    let (head, tail) = (&recording.head, &recording.tail);
    assert_eq!(head.metadata.source, Some(Source::Proxy), "a recording of ours keeps its source");
    assert_eq!(
        (head.metadata.headers.first("authorization"), head.metadata.query.first("token")),
        (Some("[REDACTED]"), Some("[REDACTED]"))
    );
    assert_eq!((head.metadata.redaction.as_ref().unwrap().headers.len(), &head.metadata.extra["x"]), (1, &json!(1)));
    assert_eq!(Value::from(head.extra.clone()), json!({"mine": {"a": 1}}));
    assert_eq!(
        (tail.status, tail.status_reason.as_deref(), tail.stats.frame_count),
        (Status::Incomplete, Some("copied_while_recording"), 2)
    );
    let StreamTail::WebSocket { close_code, close_reason, closed_by, end_relative_us } = &tail.stream else { panic!() };
    assert_eq!(
        (*close_code, close_reason.as_deref(), *closed_by, *end_relative_us),
        (Some(1001), Some("bye"), Some(EndedBy::Client), Some(9000))
    );
}

#[test]
fn errors_name_what_is_wrong_and_where() {
    let frames = |frames: Value| json!({"protocol": "websocket", "websocket": {"frames": frames}});
    let good = json!({"direction": "s2c", "type": "text", "data": "a", "relativeMs": 5});
    for (text, words) in [
        (
            frames(json!([good, good, good, {"direction": "s2c", "type": "text", "data": "a"}])),
            "websocket.frames[3]: it has neither relativeUs nor relativeMs",
        ),
        (frames(json!([good, {"type": "text"}])), "websocket.frames[1]: missing field `direction`"),
        (frames(json!([good, 7])), "websocket.frames[1]: invalid type"),
        (
            frames(json!([{"direction": "s2c", "type": "binary", "data": "?", "relativeMs": 5}])),
            "websocket.frames[0]: its data is no base64",
        ),
        (frames(json!({})), "websocket.frames: this must be a list"),
        (json!({"protocol": "sse", "sse": {"events": [{"data": "x"}]}}), "sse.events[0]: it has neither"),
        (json!({"protocol": "grpc"}), "protocol: \"grpc\" is none of websocket, sse"),
        (json!({"hello": 1}), "protocol: this field must be given"),
        (json!({"protocol": "sse", "formatVersion": "2.0"}), "formatVersion: \"2.0\" is a format"),
        (json!({"protocol": "sse", "startTime": "today"}), "startTime: \"today\" is no time"),
        (json!({"log": {"entries": {}}}), "log.entries: this must be a list"),
        (json!({"log": {}}), "log.entries: a HAR has a list of entries here"),
    ] {
        let told = error(&text);
        assert!(told.starts_with(words), "{told}");
    }
    let text = |text: &str| read_with(text, &redactor(&[])).unwrap_err().to_string();
    assert_eq!(text(" \n"), "there is nothing to import: give a recording or a HAR");
    assert!(text("{\n \"protocol\": sse}").ends_with("at line 2 column 14"), "{}", text("{\n \"protocol\": sse}"));
    assert!(text("[]").starts_with("this is no JSON to import: invalid type: sequence, expected an object"));
    assert!(read_with(&format!("{}1{}", "{\"protocol\":".repeat(100_000), "}".repeat(100_000)), &redactor(&[])).is_err());
    assert!(Import::of(b"{\"a\":\"\xff\"}", &redactor(&[]), 0).unwrap_err().to_string().contains("byte 6 is not UTF-8"));
}

#[test]
fn a_go_recording_is_read() {
    let recording = one(
        &json!({"id": "01HXYZ", "version": "1.0", "protocol": "websocket", "name": "go", "updatedAt": "x", "syncStatus": "local",
        "status": "complete", "startTime": "2024-01-15T12:30:00.000000123+02:00", "endTime": "2024-01-15T12:30:01+02:00", "duration": 1000,
        "metadata": {"method": "GET", "path": "/ws", "host": "h", "headers": {"A": "b"}, "queryParams": {"q": "1"}, "clientIp": "1.2.3.4", "source": "manual", "subprotocol": "chat"},
        "websocket": {"connectedAt": "2024-01-15T12:30:00+02:00", "closeCode": 1000, "closeReason": "", "frames": [
            {"seq": 1, "ts": "2024-01-15T12:30:00.1005+02:00", "rel": 100, "dir": "s2c", "type": "text", "data": "a", "encoding": "utf8", "size": 1},
            {"seq": 2, "rel": 200, "dir": "c2s", "type": "binary", "data": "AQI=", "encoding": "base64", "size": 2, "z": 1},
            {"seq": 3, "ts": "0001-01-01T00:00:00Z", "rel": 300, "dir": "s2c", "type": "close", "data": "bye", "encoding": "utf8", "closeCode": 1000, "closeReason": "bye"}]},
        "stats": {"frameCount": 3}}),
    );
    assert_eq!(messages(&recording), [(S2c, Text, "a", 100_500), (C2s, Binary, "AQI=", 200_000), (S2c, Close, "", 300_000)]);
    let head = &recording.head;
    assert_eq!((head.start_time.as_str(), head.metadata.source), ("2024-01-15T10:30:00.000000Z", Some(Source::Import)));
    assert_eq!(
        (head.metadata.query.first("q"), &head.metadata.extra["host"], &head.extra["syncStatus"]),
        (Some("1"), &json!("h"), &json!("local"))
    );
    assert_eq!(head.stream, StreamHead::WebSocket { subprotocol: Some("chat".to_owned()) });
    let StreamTail::WebSocket { closed_by, end_relative_us, .. } = recording.tail.stream else { panic!() };
    assert_eq!((closed_by, end_relative_us), (Some(EndedBy::Server), Some(1_000_000)));

    let recording = one(
        &json!({"version": "1.0", "protocol": "sse", "startTime": "2024-01-15T10:30:00Z", "metadata": {"path": "/e", "source": "mock", "method": "POST"},
        "sse": {"requestBody": "{}", "responseStatus": 0, "streamStartedAt": "2024-01-15T10:30:00.5Z", "responseHeaders": {"Content-Type": "text/event-stream"}, "events": [
            {"seq": 1, "ts": "2024-01-15T10:30:00.5Z", "rel": 0, "event": "tick", "data": "1", "id": "i", "size": 1},
            {"seq": 2, "rel": 250, "data": "", "comment": "ping"},
            {"seq": 3, "rel": 300, "data": "2", "retry": 5}]}}),
    );
    assert_eq!(
        events(&recording),
        [(Some("tick"), Some("1"), Some("i"), 500_000), (None, None, None, 750_000), (Some("message"), Some("2"), None, 800_000)]
    );
    let StreamHead::Sse { request, response_status, .. } = &recording.head.stream else { panic!() };
    assert_eq!((request.method.as_str(), request.body.as_deref(), *response_status), ("POST", Some("{}"), 200));
    let told =
        error(&json!({"version": "1.0", "protocol": "websocket", "websocket": {"frames": [{"dir": "s2c", "type": "text", "data": "x"}]}}));
    assert!(told.starts_with("websocket.frames[0]: it has neither"), "{told}");
}

/// Found by fuzzing: such a file was written with fields that stand twice, and could not be read again.
#[test]
fn a_go_recording_with_fields_of_ours_is_written_once() {
    let recording = one(
        &json!({"version": "1.0", "protocol": "websocket", "startTime": "2024-01-15T10:30:00Z", "statusReason": "r", "mine": 4,
        "metadata": {"path": "/ws", "query": {"a": "1"}, "redaction": {"headers": []}, "sessionId": "s", "upstream": "u", "mine": 2},
        "websocket": {"closedBy": "server", "subprotocol": "v1", "endRelativeUs": 9, "mine": 5, "frames": [{"rel": 1, "dir": "s2c", "type": "text", "data": "x", "direction": "c2s", "relativeUs": 7, "timestamp": "t", "mine": 3}]}}),
    );
    let mut text = recording_text::head_line(&recording.head).unwrap().into_bytes();
    recording_text::push_frame_line(&mut text, &recording.frames[0], true).unwrap();
    text.extend(recording_text::tail_line(&recording.tail, text.len() as u64).unwrap().into_bytes());
    let again = recording_text::parse(&text).unwrap();
    assert_eq!((&again.head, &again.frames, &again.tail.stream), (&recording.head, &recording.frames, &recording.tail.stream));
    assert_eq!(recording.head.metadata.extra, json!({"mine": 2}).as_object().unwrap().clone());
    assert_eq!(Value::from(recording.head.extra), json!({"mine": 4, "websocket": {"mine": 5}}));
}

#[test]
fn json_lines_say_their_line_and_may_lack_their_tail() {
    let head = json!({"protocol": "websocket", "startTime": "2024-01-15T10:30:00Z", "metadata": {"path": "/ws"}, "websocket": {"subprotocol": "a"}});
    let frame = |more: Value| {
        let mut frame = json!({"direction": "s2c", "type": "text", "data": "x"});
        frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        frame
    };
    let good = frame(json!({"relativeMs": 3}));
    let (all, _) = read(&format!("\n{head}\r\n{good}\n\n{good}\n"));
    assert_eq!(
        (all[0].frames.len(), all[0].tail.status, all[0].tail.status_reason.as_deref()),
        (2, Status::Incomplete, Some("tail_missing"))
    );
    let (all, _) = read(&format!("{head}\n{{\"websocket\":{{\"closeCode\":1000}},\"status\":\"complete\"}}"));
    assert!(matches!((all[0].frames.len(), &all[0].tail.stream), (0, StreamTail::WebSocket { close_code: Some(1000), .. })));
    for (lines, words) in [
        (format!("{head}\n{good}\n{{\"direction\":"), "line 3: EOF while parsing"),
        (format!("{head}\n{good}\n{}\n{good}", frame(json!({}))), "line 3: it has neither"),
        (format!("{head}\n{good}\n7\n{good}"), "line 3: "),
        (format!("{{\"a\":1}}\n{good}"), "line 1: protocol: this field must be given"),
        (format!("{head}\n{good}\n{{\"stats\":5}}"), "line 3: stats: "),
    ] {
        let told = read_with(&lines, &redactor(&[])).unwrap_err().to_string();
        assert!(told.starts_with(words), "{told}");
    }
}

pub(super) fn entry(more: Value) -> Value {
    let mut entry = json!({"startedDateTime": "2024-01-15T10:30:00.000Z", "time": 400,
        "request": {"method": "GET", "url": "wss://example.org/ws/chat?room=a%20b&token=s", "headers": [{"name": "X", "value": "1"}, {"name": "x", "value": "2"}, {"name": ":path", "value": "/"}]},
        "response": {"status": 101, "headers": [{"name": "sec-websocket-protocol", "value": "v1"}], "content": {"size": 0, "mimeType": "x-unknown"}},
        "timings": {"blocked": -1, "send": 1, "wait": 99, "receive": 300}});
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    entry
}

pub(super) fn har(entries: Value) -> Value {
    json!({"log": {"version": "1.2", "creator": {"name": "x", "version": "1"}, "entries": entries}})
}

#[test]
fn messages_of_chrome_are_read_in_seconds_and_milliseconds() {
    for (scale, url) in [(1.0, "wss://example.org/ws/chat?room=a%20b&token=s"), (1000.0, "https://example.org/ws/chat?room=a%20b&token=s")]
    {
        let at = |seconds: f64| (1_705_314_600.0 + seconds) * scale;
        let mut entry = entry(json!({"_webSocketMessages": [
            {"type": "receive", "time": at(0.1), "opcode": 1, "data": "hi"}, {"type": "send", "time": at(0.25), "opcode": 2, "data": "AQI="},
            {"type": "receive", "time": at(0.3), "opcode": 9, "data": "p"}, {"type": "error", "time": at(0.35), "opcode": -1, "data": "gone"},
            {"type": "receive", "time": at(0.375), "opcode": 8, "data": "A+hieWU="}]}));
        entry["request"]["url"] = json!(url);
        let (all, left_out) = read(&har(json!([entry])).to_string());
        assert_eq!(
            messages(&all[0]),
            [(S2c, Text, "hi", 100_000), (C2s, Binary, "AQI=", 250_000), (S2c, Ping, "p", 300_000), (S2c, Close, "", 375_000)]
        );
        assert_eq!(left_out, ["log.entries[0]._webSocketMessages: 1 error message that the browser added, which are no frames"]);
        let (head, tail) = (&all[0].head, &all[0].tail);
        assert_eq!(
            (head.metadata.path.as_str(), head.metadata.query.first("room"), head.metadata.query.first("token")),
            ("/ws/chat", Some("a b"), Some("[REDACTED]"))
        );
        assert_eq!(head.metadata.headers.iter().collect::<Vec<_>>(), [("X", "1"), ("X", "2")]);
        assert_eq!((&head.stream, head.metadata.source), (&StreamHead::WebSocket { subprotocol: Some("v1".into()) }, Some(Source::Import)));
        let StreamTail::WebSocket { close_code, close_reason, closed_by, end_relative_us } = &tail.stream else { panic!() };
        assert_eq!(
            (*close_code, close_reason.as_deref(), *closed_by, *end_relative_us),
            (Some(1000), Some("bye"), Some(EndedBy::Server), Some(400_000))
        );
    }
}

#[test]
fn messages_whose_times_were_omitted_keep_their_order() {
    let entry = entry(
        json!({"_webSocketMessages": [{"type": "send", "time": -1, "opcode": 1, "data": "a"}, {"type": "receive", "time": -1, "data": "b"}]}),
    );
    let (all, left_out) = read(&har(json!([entry])).to_string());
    assert_eq!(messages(&all[0]), [(C2s, Text, "a", 0), (S2c, Text, "b", 0)]);
    assert_eq!(left_out, ["log.entries[0]._webSocketMessages: the times of 2 messages, which this HAR was told to omit"]);
}

pub(super) fn stream(more: Value) -> Value {
    let mut entry = entry(more);
    entry["request"]["url"] = json!("https://example.org/v1/chat");
    entry["request"]["method"] = json!("POST");
    entry["request"]["postData"] = json!({"mimeType": "application/json", "text": "{}"});
    entry["response"]["status"] = json!(200);
    entry["response"]["headers"] =
        json!([{"name": "content-encoding", "value": "br"}, {"name": "content-type", "value": "text/event-stream; charset=utf-8"}]);
    entry
}

#[test]
fn event_streams_are_read_from_messages_from_text_and_from_both() {
    let told = json!([{"time": 1_705_314_600.15, "eventName": "message", "eventId": "1", "data": "a"}, {"time": 1_705_314_600.3, "eventName": "tick", "eventId": "1", "data": "b"}]);
    let text = "id: 1\ndata: a\n\n: keep\n\nevent: tick\ndata: b\n\ndata: cut";
    let recording = one(&har(json!([stream(json!({"_eventSourceMessages": told}))])));
    assert_eq!(events(&recording), [(Some("message"), Some("a"), Some("1"), 150_000), (Some("tick"), Some("b"), None, 300_000)]);
    let mut both = stream(json!({"_eventSourceMessages": told}));
    both["response"]["content"] = json!({"mimeType": "text/event-stream", "text": text});
    let recording = one(&har(json!([both])));
    assert_eq!(
        events(&recording),
        [(Some("message"), Some("a"), Some("1"), 150_000), (None, None, None, 300_000), (Some("tick"), Some("b"), None, 300_000)]
    );
    both["_eventSourceMessages"][1]["data"] = json!("other");
    assert_eq!(events(&one(&har(json!([both])))).len(), 2, "where they disagree the messages count");
    for (text, encoding) in [(text.to_owned(), Value::Null), (data_encoding::BASE64.encode(text.as_bytes()), json!("base64"))] {
        let mut entry = stream(json!({}));
        entry["response"]["content"] = json!({"mimeType": "text/event-stream", "text": text, "encoding": encoding});
        let recording = one(&har(json!([entry])));
        assert_eq!(
            events(&recording),
            [(Some("message"), Some("a"), Some("1"), 100_000), (None, None, None, 250_000), (Some("tick"), Some("b"), None, 400_000)]
        );
        let StreamTail::Sse { tail, ended_by, end_relative_us, .. } = &recording.tail.stream else { panic!() };
        assert_eq!((tail.as_deref(), *ended_by, *end_relative_us), (Some("data: cut"), Some(EndedBy::Server), Some(400_000)));
        let StreamHead::Sse { request, response_status, response_headers, head_relative_us } = &recording.head.stream else { panic!() };
        assert_eq!(
            (request.method.as_str(), request.body.as_deref(), *response_status, *head_relative_us),
            ("POST", Some("{}"), 200, Some(100_000))
        );
        assert_eq!((response_headers.first("Content-Encoding"), response_headers.first("Content-Type").is_some()), (None, true));
    }
}

#[test]
fn what_is_no_stream_is_named_once_and_broken_streams_one_by_one() {
    let plain =
        |url: &str| json!({"request": {"method": "GET", "url": url}, "response": {"status": 200, "content": {"mimeType": "text/html"}}});
    let good = entry(json!({"_webSocketMessages": []}));
    let (all, left_out) = read(
        &har(json!([plain("http://user:pw@a/1?token=s"), good, plain("http://a/2"), plain("http://a/3"), plain("http://a/4")])).to_string(),
    );
    assert_eq!((all.len(), all[0].frames.len()), (1, 0));
    assert_eq!(
        left_out,
        ["4 entries that are no WebSocket and no event stream: GET http://a/1?token=[REDACTED], GET http://a/2, GET http://a/3 and 1 more"]
    );
    for (entry, words) in [
        (entry(json!({"_resourceType": "websocket"})), "log.entries[0]: it is a WebSocket without its messages"),
        (
            entry(json!({"_webSocketMessages": [{"type": "send", "opcode": 1, "data": "x"}]})),
            "log.entries[0]._webSocketMessages[0]: it has no time",
        ),
        (
            entry(json!({"_webSocketMessages": [{"type": "up", "time": 1, "data": "x"}]})),
            "log.entries[0]._webSocketMessages[0]: its type is none",
        ),
        (
            entry(json!({"_webSocketMessages": [{"type": "send", "time": -2, "data": "x"}]})),
            "log.entries[0]._webSocketMessages[0]: it has no time",
        ),
        (entry(json!({"_webSocketMessages": 5})), "log.entries[0]._webSocketMessages: this must be a list"),
        (entry(json!({"_resourceType": "eventsource"})), "log.entries[0]: its text is not in the HAR"),
        (entry(json!({"_eventSourceMessages": [{"data": "x"}]})), "log.entries[0]._eventSourceMessages[0]: it has no time"),
        (entry(json!({"_webSocketMessages": [], "request": {}})), "log.entries[0]: its request has no url"),
        (entry(json!({"time": "x"})), "log.entries[0]: invalid type"),
    ] {
        let told = error(&har(json!([entry])));
        assert!(told.starts_with(words), "{told}");
    }
}

/// A recording in each format, as it is exported.
fn exports(recording: &Recording) -> [(&'static str, String); 3] {
    let mut json = recording_text::head_line(&recording.head).unwrap().into_bytes();
    let mut lines = export::head_line(&recording.head).unwrap().into_bytes();
    for (index, frame) in recording.frames.iter().enumerate() {
        recording_text::push_frame_line(&mut json, frame, index == 0).unwrap();
        export::push_line(&mut lines, frame).unwrap();
    }
    json.extend(recording_text::tail_line(&recording.tail, json.len() as u64).unwrap().into_bytes());
    lines.extend(export::tail_line(recording.head.protocol(), &recording.tail).unwrap().into_bytes());
    let mut writer = HarWriter::new(&recording.head, &recording.tail);
    let frames = &recording.frames;
    frames.iter().for_each(|frame| writer.survey(frame));
    let mut har = writer.opening().unwrap();
    frames.iter().for_each(|frame| writer.push_content(&mut har, frame).unwrap());
    har.extend(writer.middle().unwrap());
    frames.iter().for_each(|frame| writer.push_block(&mut har, frame).unwrap());
    har.extend(writer.before_messages());
    frames.iter().for_each(|frame| writer.push_message(&mut har, frame).unwrap());
    har.extend_from_slice(writer.closing());
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    [("json", text(json)), ("jsonl", text(lines)), ("har", text(har))]
}

fn text_strategy() -> impl Strategy<Value = String> {
    prop_oneof![any::<String>(), "[a-c{}\":,\\\\\n\r\u{0}é ]{0,12}".prop_map(String::from), Just("A+hieWU=".to_owned())]
}

fn some<T: Clone + std::fmt::Debug + 'static>(strategy: impl Strategy<Value = T> + 'static) -> BoxedStrategy<Option<T>> {
    prop_oneof![Just(None), strategy.prop_map(Some)].boxed()
}

const START_US: u64 = 1_705_314_600_123_456;

fn ws_frame() -> impl Strategy<Value = Frame> {
    let kinds = prop_oneof![Just(Text), Just(Binary), Just(Ping), Just(FrameType::Pong), Just(Close)];
    (
        any::<bool>(),
        kinds,
        proptest::collection::vec(any::<u8>(), 0..20),
        text_strategy(),
        some(0u16..5000),
        some(text_strategy()),
        0u64..9_000_000,
        any::<bool>(),
    )
        .prop_map(|(up, kind, bytes, text, code, reason, us, is_text)| {
            let (data, encoding) = match kind {
                Close => (String::new(), None),
                Binary => (data_encoding::BASE64.encode(&bytes), Some(Encoding::Base64)),
                _ if is_text => (text, None),
                _ => encode(&bytes),
            };
            Frame::WebSocket(WsFrame {
                direction: if up { C2s } else { S2c },
                kind,
                data,
                encoding,
                close_code: code.filter(|_| kind == Close),
                close_reason: reason.filter(|_| kind == Close),
                timestamp: time::rfc3339(START_US + us),
                relative_ms: Some(us / 1000),
                relative_us: Some(us),
                extra: if us % 7 == 0 { json!({"x": [us]}).as_object().unwrap().clone() } else { Default::default() },
            })
        })
}

fn sse_event() -> impl Strategy<Value = Frame> {
    let raw = proptest::collection::vec(any::<u8>(), 0..12);
    (some(text_strategy()), some(text_strategy()), some("[1-3]?"), some(0u64..9), some(text_strategy()), some(raw), 0u64..9_000_000)
        .prop_map(|(kind, data, id, retry, comment, raw, us)| {
            let raw = raw.map(|bytes| encode(&bytes));
            let (raw, raw_encoding) = raw.map_or((None, None), |(text, encoding)| (Some(text), encoding));
            Frame::Sse(SseEvent {
                kind: data.is_some().then(|| kind.unwrap_or_else(|| "message".to_owned())),
                data,
                id,
                retry,
                comment,
                raw,
                raw_encoding,
                timestamp: time::rfc3339(START_US + us),
                relative_ms: Some(us / 1000),
                relative_us: Some(us),
                extra: Default::default(),
            })
        })
}

fn recording() -> impl Strategy<Value = Recording> {
    let ws = proptest::collection::vec(ws_frame(), 0..6).prop_map(|frames| (Protocol::WebSocket, frames));
    let sse = proptest::collection::vec(sse_event(), 0..6).prop_map(|frames| (Protocol::Sse, frames));
    (prop_oneof![ws, sse], text_strategy(), some(text_strategy()), some(1000u16..1012), any::<bool>(), some(text_strategy())).prop_map(
        |((protocol, frames), text, reason, code, complete, tail)| {
            let end = Some(9_000_001);
            let (stream, ending) = match protocol {
                Protocol::WebSocket => (
                    StreamHead::WebSocket { subprotocol: reason.clone() },
                    StreamTail::WebSocket {
                        close_code: code,
                        close_reason: reason,
                        closed_by: Some(EndedBy::Server),
                        end_relative_us: end,
                    },
                ),
                Protocol::Sse => (
                    StreamHead::Sse {
                        request: SseRequest { method: "POST".into(), body: Some(text.clone()), encoding: None, truncated: complete },
                        response_status: 200,
                        response_headers: Pairs::default(),
                        head_relative_us: Some(77),
                    },
                    StreamTail::Sse { tail, tail_encoding: None, ended_by: Some(EndedBy::Client), end_relative_us: end },
                ),
            };
            let mut stats = Stats::default();
            frames.iter().for_each(|frame| stats.count(frame));
            let mut query = Pairs::default();
            query.add_parameter(&text, text.clone());
            Recording {
                head: Head {
                    format_version: FORMAT_VERSION.into(),
                    id: String::new(),
                    name: format!("n{text}"),
                    description: Some(text.clone()),
                    tags: vec![text.clone()],
                    start_time: time::rfc3339(START_US),
                    metadata: Metadata {
                        path: format!("/{text}"),
                        query,
                        source: Some(Source::Replay),
                        session_id: Some("s".into()),
                        redaction: Some(redactor(&[]).rules().clone()),
                        ..Metadata::default()
                    },
                    stream,
                    extra: json!({"mine": text}).as_object().unwrap().clone(),
                },
                frames,
                tail: Tail {
                    status: if complete { Status::Complete } else { Status::Incomplete },
                    status_reason: (!complete).then(|| "crashed".to_owned()),
                    end_time: Some(time::rfc3339(START_US + 9_000_001)),
                    duration: Some(9000),
                    stream: ending,
                    stats,
                },
            }
        },
    )
}

proptest! {
    #[test]
    fn nothing_is_lost_by_an_export_and_an_import(recording in recording()) {
        for (format, text) in exports(&recording) {
            serde_json::from_str::<Value>(&text).map_or_else(|error| assert!(format == "jsonl", "{error}: {text}"), drop);
            let (all, left_out) = read(&text);
            prop_assert_eq!((all.len(), left_out.len()), (1, 0));
            prop_assert_eq!(&all[0], &recording, "{}: {}", format, text);
        }
    }

    #[test]
    fn no_text_panics(text in "[\\[{}\\]\",: a-f0-9.\n-]{0,60}") {
        drop(read_with(&text, &redactor(&["x"])));
        drop(read_with(&format!("{{\"log\":{{\"entries\":[{text}]}}}}"), &redactor(&[])));
        drop(read_with(&format!("{{\"protocol\":\"sse\",\"sse\":{{\"events\":[{text}]}}}}"), &redactor(&[])));
    }
}
