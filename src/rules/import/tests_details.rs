//! What other programs do differently, and what is easily lost or kept by mistake: one test for each such detail.

use serde_json::json;

use super::tests::{entry, error, events, har, one, read, read_with, redactor, stream};
use crate::model::recording::{Frame, StreamHead};

#[test]
fn a_text_is_spread_over_the_time_of_receiving_only() {
    let mut entry = stream(json!({}));
    entry["time"] = json!(9000.0);
    entry["timings"] = json!({"blocked": -1, "send": 0, "wait": 100, "receive": 300});
    entry["response"]["content"] = json!({"mimeType": "text/event-stream", "text": "data: a\n\ndata: b\n\n"});
    let at: Vec<u64> = events(&one(&har(json!([entry])))).iter().map(|event| event.3).collect();
    assert_eq!(at, [100_000, 400_000]);
    entry["timings"]["receive"] = json!(-1);
    let at: Vec<u64> = events(&one(&har(json!([entry])))).iter().map(|event| event.3).collect();
    assert_eq!(at, [100_000, 9_000_000], "what does not say how long it received took the whole time");
}

#[test]
fn stamps_of_frames_are_utc_and_agree_with_their_times() {
    let recording = one(&json!({"protocol": "websocket", "startTime": "2024-01-15T12:30:00+02:00", "metadata": {"path": "/ws"},
        "websocket": {"frames": [
            {"direction": "s2c", "type": "text", "data": "a", "relativeMs": 100, "timestamp": "2024-01-15T12:30:00.1+02:00"},
            {"direction": "s2c", "type": "text", "data": "b", "relativeMs": 7, "relativeUs": 200_500, "timestamp": "<b>"}]}}));
    let times = recording.frames.iter().map(|frame| match frame {
        Frame::WebSocket(frame) => (frame.timestamp.as_str(), frame.relative_ms),
        Frame::Sse(_) => panic!("an event"),
    });
    assert_eq!(times.collect::<Vec<_>>(), [("2024-01-15T10:30:00.100000Z", Some(100)), ("2024-01-15T10:30:00.200500Z", Some(200))]);
}

#[test]
fn users_and_passwords_of_urls_are_kept_by_no_format() {
    let own = json!({"protocol": "sse", "metadata": {"path": "/e", "upstream": "https://me:hunter2@h/e?token=hunter2&a=b"}});
    let mut entry = stream(json!({"_eventSourceMessages": [{"time": 1_705_314_600, "data": "a"}]}));
    entry["request"]["url"] = json!("https://me:hunter2@h/e?token=hunter2&a=b#x");
    for (text, upstream) in [(own, "https://h/e?token=[REDACTED]&a=b"), (har(json!([entry])), "https://h/e?token=[REDACTED]&a=b")] {
        let recording = one(&text);
        assert_eq!(recording.head.metadata.upstream.as_deref(), Some(upstream));
        assert!(!format!("{recording:?}").contains("hunter2"));
    }
}

#[test]
fn a_bad_message_is_named_by_its_place_in_the_list() {
    let messages = json!([{"type": "error", "time": 1_705_314_600, "opcode": -1, "data": "x"},
        {"type": "receive", "time": 1_705_314_600, "opcode": 2, "data": "?"}]);
    let told = read_frames_error(&har(json!([entry(json!({"_webSocketMessages": messages}))])).to_string());
    assert_eq!(told, "log.entries[0]._webSocketMessages[1]: its data is no base64");
    let own = json!({"head": {"protocol": "sse", "sse": {}}, "tail": {"sse": {}}, "blocks": [[0, {"comment": "a", "relativeUs": 1}], 7]});
    let told = read_frames_error(&har(json!([entry(json!({"_mockd": own}))])).to_string());
    assert!(told.starts_with("log.entries[0]._mockd.blocks[1]: "), "{told}");
}

#[test]
fn unknown_fields_of_the_last_line_are_kept() {
    let head = json!({"protocol": "websocket", "mine": 1, "metadata": {"path": "/ws"}, "websocket": {"theirs": 2}});
    let tail = json!({"websocket": {"closeCode": 1000, "more": 3}, "status": "complete", "yours": [4]});
    let (all, _) = read(&format!("{head}\n{tail}\n"));
    let extra = serde_json::Value::from(all[0].head.extra.clone());
    assert_eq!(extra, json!({"mine": 1, "websocket": {"theirs": 2, "more": 3}, "yours": [4]}));
}

/// They were written into the head beside its own, and read in place of them: the recording had another id than its file.
#[test]
fn fields_of_the_head_in_the_last_line_became_a_second_head() {
    let head = json!({"protocol": "websocket", "id": "a", "websocket": {"subprotocol": "v1", "mine": 1}});
    let part = json!({"closeCode": 1000, "subprotocol": "v2", "frames": 7});
    let tail = json!({"status": "complete", "id": "b", "name": "c", "startTime": 1, "tags": 1, "formatVersion": 2, "websocket": part});
    let (all, _) = read(&format!("{head}\n{tail}\n"));
    assert_eq!(serde_json::Value::from(all[0].head.extra.clone()), json!({"websocket": {"mine": 1}}));
    let head = json!({"protocol": "sse", "sse": {"request": {"method": "POST"}}});
    let tail =
        json!({"status": "complete", "sse": {"request": {}, "responseStatus": 1, "responseHeaders": 2, "events": 3, "headRelativeUs": 4}});
    let (all, _) = read(&format!("{head}\n{tail}\n"));
    assert_eq!(serde_json::Value::from(all[0].head.extra.clone()), json!({}));
}

#[test]
fn redaction_rules_that_no_replay_could_use_are_refused() {
    let told = error(&json!({"protocol": "sse", "metadata": {"path": "/e", "redaction": {"patterns": ["("]}}}));
    assert!(told.starts_with("metadata.redaction.patterns[0]: \"(\" is no regular expression"), "{told}");
    let told = error(&json!({"protocol": "sse", "metadata": {"path": "/e", "redaction": {"bodyKeys": ["a", "$.["]}}}));
    assert!(told.starts_with("metadata.redaction.bodyKeys[1]: \"$.[\" is no JSONPath"), "{told}");
}

#[test]
fn a_header_field_of_several_lines_came_several_times() {
    let mut entry = stream(json!({"_eventSourceMessages": [{"time": 1_705_314_600, "data": "a"}]}));
    entry["response"]["headers"] =
        json!([{"name": "Vary", "value": "A\nB"}, {"name": "X", "value": "1\r\nEvil: 2"}, {"name": "Y", "value": ""}]);
    let recording = one(&har(json!([entry])));
    let StreamHead::Sse { response_headers, .. } = &recording.head.stream else { panic!("a WebSocket") };
    assert_eq!(response_headers.iter().collect::<Vec<_>>(), [("Vary", "A"), ("Vary", "B"), ("X", "1"), ("X", "Evil: 2"), ("Y", "")]);
}

fn read_frames_error(text: &str) -> String {
    read_with(text, &redactor(&[])).unwrap_err().to_string()
}
