//! The text that a conversion writes, byte by byte. What a client of it gets is tested in `properties.rs`.

use serde_json::{Value, json};

use super::*;
use crate::model::recording::{EndedBy, Protocol, Redaction, SseEvent, Status, StreamTail, WsFrame};
use crate::rules::script::samples::{event, head, message, tail};

/// A recording in memory, as the store hands it over.
#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) head: Head,
    pub(super) frames: Vec<Frame>,
    pub(super) tail: Tail,
}

impl Made {
    pub(super) fn websocket(lines: &[(u64, &str)], closed_by: Option<EndedBy>, close: Option<(u16, &str)>, end_us: u64) -> Self {
        let stream = StreamTail::WebSocket {
            close_code: close.map(|close| close.0),
            close_reason: close.map(|close| close.1.to_owned()),
            closed_by,
            end_relative_us: Some(end_us),
        };
        let mut head = head(Protocol::WebSocket, None);
        head.id = "01HXYZ123456789ABCDEF".to_owned();
        head.metadata.path = "/ws/chat".to_owned();
        Self { head, frames: lines.iter().map(|(at_us, line)| message(*at_us, line)).collect(), tail: tail(stream) }
    }

    pub(super) fn sse(head_us: Option<u64>, events: Vec<Frame>, ended_by: Option<EndedBy>, end_us: u64) -> Self {
        let stream = StreamTail::Sse { tail: None, tail_encoding: None, ended_by, end_relative_us: Some(end_us) };
        let mut head = head(Protocol::Sse, head_us);
        head.id = "01HXYZ123456789ABCDEF".to_owned();
        head.metadata.path = "/events".to_owned();
        Self { head, frames: events, tail: tail(stream) }
    }

    pub(super) fn convert(&self, options: &str) -> Result<(String, Vec<String>)> {
        let frames = || -> Result<Frames<'_>> { Ok(Box::new(self.frames.iter().cloned().map(Ok))) };
        let recorded = Recorded { head: &self.head, tail: &self.tail, frames: &frames };
        let options = ConvertOptions::from_json(&serde_json::from_str(options).unwrap())?;
        let mut text = String::new();
        let converted = convert(&recorded, &options, &mut |piece| {
            text.push_str(piece);
            Ok(())
        })?;
        assert_eq!(converted.bytes, text.len() as u64);
        Ok((text, converted.left_out.lines()))
    }

    /// The steps of the scenario, or the `sse` part.
    fn part(&self, options: &str) -> Value {
        let text = self.convert(options).unwrap().0;
        let mut mock = serde_json::from_str::<Value>(&text).unwrap()["mocks"][0].take();
        if mock["type"] == "http" { mock["http"]["sse"].take() } else { mock["websocket"]["scenario"]["steps"].take() }
    }
}

fn chat() -> Made {
    let lines = [
        (100_250, r#"s2c text {"a": 1}"#),
        (200_000, r#"c2s text { "type" : "join" }"#),
        (200_100, "s2c ping p"),
        (200_200, "c2s pong p"),
        (250_000, "s2c binary AAE="),
        (300_000, "c2s text hello"),
        (400_000, "c2s binary AAE="),
        (403_500, "s2c close "),
    ];
    let mut made = Made::websocket(&lines, Some(EndedBy::Server), Some((1000, "bye")), 410_000);
    made.head.stream = StreamHead::WebSocket { subprotocol: Some("chat.v1".to_owned()) };
    made
}

#[test]
fn a_websocket_becomes_a_scenario_with_a_line_for_each_step() {
    let (text, left_out) = chat().convert("{}").unwrap();
    let wanted = r#"{"version":"1.0","mocks":[
{"id":"01HXYZ123456789ABCDEF","name":"sample","type":"websocket","enabled":true,"websocket":{"path":"/ws/chat","subprotocols":["chat.v1"],"scenario":{"name":"sample","steps":[
{"type":"send","message":{"type":"text","value":"{\"a\": 1}","delay":100.25,"literal":true}},
{"type":"expect","match":{"type":"json","value":{"type":"join"},"messageType":"text"}},
{"type":"send","message":{"type":"binary","value":"AAE=","delay":50}},
{"type":"expect","match":{"type":"exact","value":"hello","messageType":"text"}},
{"type":"expect","match":{"messageType":"binary"}},
{"type":"close","code":1000,"reason":"bye","delay":3.5}]}}}]}
"#;
    assert_eq!(text, wanted);
    assert_eq!(left_out, ["1 ping", "1 pong"]);
}

#[test]
fn yaml_says_the_same_in_blocks() {
    let (text, _) = chat().convert(r#"{"format":"yaml","mockName":"a: \"b\""}"#).unwrap();
    let wanted = r#"version: "1.0"
mocks:
  - id: "01HXYZ123456789ABCDEF"
    name: "a: \"b\""
    type: websocket
    enabled: true
    websocket:
      path: "/ws/chat"
      subprotocols: ["chat.v1"]
      scenario:
        name: "a: \"b\""
        steps:
          - {type: send, message: {type: text, value: "{\"a\": 1}", delay: 100.25, literal: true}}
          - {type: expect, match: {type: json, value: {"type": "join"}, messageType: text}}
          - {type: send, message: {type: binary, value: "AAE=", delay: 50}}
          - {type: expect, match: {type: exact, value: "hello", messageType: text}}
          - {type: expect, match: {messageType: binary}}
          - {type: close, code: 1000, reason: "bye", delay: 3.5}
"#;
    assert_eq!(text, wanted);
    let json: Value = serde_json::from_str(&chat().convert(r#"{"mockName":"a: \"b\""}"#).unwrap().0).unwrap();
    assert_eq!(yaml_serde::from_str::<Value>(&text).unwrap(), json);
}

fn events() -> Made {
    let named = SseEvent {
        kind: Some("tick".to_owned()),
        data: Some("a\nb".to_owned()),
        id: Some("7".to_owned()),
        retry: Some(100),
        comment: Some("c".to_owned()),
        raw: Some(":c\r\n…".to_owned()),
        relative_us: Some(60_000),
        ..SseEvent::default()
    };
    let unknown = SseEvent { raw: Some("foo: bar\n\n".to_owned()), relative_us: Some(61_000), ..SseEvent::default() };
    let frames = vec![event(50_500, "$uuid", ""), Frame::Sse(named), Frame::Sse(unknown), event(70_000, "", "")];
    let mut made = Made::sse(Some(40_000), frames, Some(EndedBy::Server), 70_001);
    if let StreamHead::Sse { request, response_status, response_headers, .. } = &mut made.head.stream {
        request.method = "POST".to_owned();
        *response_status = 201;
        for (name, value) in [("Content-Type", "text/event-stream"), ("X-Two", "1"), ("X-Two", "2"), ("X-Secret", "***")] {
            response_headers.add_header(name, value.to_owned());
        }
    }
    made.head.metadata.redaction = Some(Redaction { redact_value: "***".to_owned(), ..Redaction::default() });
    if let StreamTail::Sse { tail, .. } = &mut made.tail.stream {
        *tail = Some("data: to".to_owned());
    }
    made
}

#[test]
fn an_event_stream_becomes_events_with_their_delays() {
    let (text, left_out) = events().convert("{}").unwrap();
    let wanted = r#"{"version":"1.0","mocks":[
{"id":"01HXYZ123456789ABCDEF","name":"sample","type":"http","enabled":true,"http":{"matcher":{"method":"POST","path":"/events"},"sse":{"statusCode":201,"headers":{"Content-Type":"text/event-stream","X-Two":["1","2"]},"timing":{"initialDelay":40,"perEventDelays":[10.5,9.5,10]},"events":[
{"data":"$uuid","literal":true},
{"type":"tick","data":"a\nb","id":"7","comment":"c","retry":100,"literal":true},
{"comment":"ping"}],"lifecycle":{"termination":{"type":"graceful","closeDelay":0.001}},"resume":{"enabled":true}}}}]}
"#;
    assert_eq!(text, wanted);
    let words = [
        "the line ends, field order or unknown fields of 2 events (what they say is kept)",
        "8 bytes after the last event",
        "1 redacted response header field",
    ];
    assert_eq!(left_out, words);
    let yaml = events().convert(r#"{"format":"yaml"}"#).unwrap().0;
    assert_eq!(yaml_serde::from_str::<Value>(&yaml).unwrap(), serde_json::from_str::<Value>(&text).unwrap());
}

#[test]
fn how_it_ended_is_how_it_ends() {
    use EndedBy::{Client, ProtocolError, Recorder, Server};
    let close = |by, close| {
        let (text, left_out) = Made::websocket(&[(5, "s2c text a")], by, close, 2_000).convert("{}").unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        (value["mocks"][0]["websocket"]["scenario"]["steps"][1].clone(), left_out)
    };
    let long = "é".repeat(70);
    let (cut, none): (String, Vec<String>) = ("é".repeat(61), Vec::new());
    assert_eq!(close(Some(Server), Some((1006, "x"))), (json!({"type": "close", "code": 1006, "delay": 1.995}), none.clone()));
    assert_eq!(close(Some(Server), None), (json!({"type": "close", "code": 1005, "delay": 1.995}), none.clone()));
    assert_eq!(close(Some(Server), Some((4000, ""))).0, json!({"type": "close", "code": 4000, "delay": 1.995}));
    let (step, words) = close(Some(Server), Some((1000, &long)));
    assert_eq!((step["reason"].as_str(), words.len()), (Some(cut.as_str()), 1));
    let (step, words) = close(Some(Server), Some((2000, "r")));
    assert_eq!((step, words.len()), (json!({"type": "close", "code": 1005, "delay": 1.995}), 1));
    assert_eq!(close(Some(Client), Some((1000, ""))), (Value::Null, vec!["the client's close".to_owned()]));
    assert_eq!(close(Some(ProtocolError), Some((1002, ""))).1, ["the end of the connection by a protocol error"]);
    assert_eq!(close(Some(Recorder), None), (Value::Null, none.clone()));
    assert_eq!(close(None, None), (Value::Null, none));

    for by in [Some(Client), Some(Recorder), None] {
        let part = Made::sse(Some(0), vec![event(1, "a", "")], by, 9).part("{}");
        assert_eq!(part["lifecycle"]["termination"], json!({"type": "keepOpen"}), "{by:?}");
    }
}

#[test]
fn a_recording_of_nothing_is_a_mock_that_says_nothing() {
    let (text, _) = Made::websocket(&[(1, "s2c ping a")], None, None, 9).convert("{}").unwrap();
    assert!(text.ends_with("\"websocket\":{\"path\":\"/ws/chat\",\"echoMode\":false}}]}\n"), "{text}");
    let (text, _) = Made::websocket(&[], None, None, 9).convert(r#"{"format":"yaml"}"#).unwrap();
    assert!(text.ends_with("\n      path: \"/ws/chat\"\n      echoMode: false\n"), "{text}");
    let (text, _) = Made::sse(None, vec![], None, 0).convert(r#"{"format":"yaml"}"#).unwrap();
    let sse = yaml_serde::from_str::<Value>(&text).unwrap()["mocks"][0]["http"]["sse"].take();
    assert_eq!(
        (&sse["events"], &sse["timing"], &sse["headers"]),
        (&json!([]), &json!({"initialDelay": 0, "perEventDelays": []}), &json!({}))
    );
}

#[test]
fn what_was_redacted_is_expected_by_its_type() {
    let lines = [
        (1, r#"c2s text {"p":"a\"b","q":1}"#),
        (2, r#"c2s text say a"b now"#),
        (3, r#"c2s text {"p":"a\u0022b"}"#),
        (4, r#"c2s text {"a\"b":1}"#),
        (5, r#"c2s text {"p":"ab\\"}"#),
        (6, "s2c text a\"b"),
    ];
    let mut made = Made::websocket(&lines, None, None, 9);
    made.head.metadata.redaction = Some(Redaction { redact_value: "a\"b".to_owned(), ..Redaction::default() });
    let steps = made.part("{}");
    let any = json!({"type": "expect", "match": {"messageType": "text"}});
    assert_eq!(steps.as_array().unwrap()[..4], [any.clone(), any.clone(), any.clone(), any]);
    assert_eq!(steps[4]["match"]["value"], json!({"p": "ab\\"}));
    assert_eq!(steps[5]["message"]["value"], "a\"b", "a server message is sent as it was recorded");
    let words = made.convert("{}").unwrap().1;
    assert_eq!(words, ["the content of 4 client messages with redacted values (any message of the same type will do)"]);
    made.head.metadata.redaction = Some(Redaction::default());
    assert_eq!(made.convert("{}").unwrap().1, Vec::<String>::new(), "an empty value hides nothing");
}

#[test]
fn what_was_redacted_to_nothing_is_not_expected_either() {
    let lines = [(1, r#"c2s text {"password":"","q":1}"#), (2, r#"c2s text {"q":2}"#), (3, "c2s text key  now")];
    let mut made = Made::websocket(&lines, None, None, 9);
    let words = |word: &str| vec![word.to_owned()];
    let kinds = |made: &Made| made.part("{}").as_array().unwrap().iter().map(|step| step["match"]["type"].clone()).collect::<Vec<_>>();
    made.head.metadata.redaction = Some(Redaction { body_keys: words("password"), ..Redaction::default() });
    assert_eq!(kinds(&made), [Value::Null, json!("json"), json!("exact")]);
    made.head.metadata.redaction = Some(Redaction { patterns: words("sk-[0-9]+"), ..Redaction::default() });
    assert_eq!(kinds(&made), [Value::Null, Value::Null, Value::Null], "nobody knows where a match stood");
}

#[test]
fn what_json_cannot_carry_through_a_file_is_expected_as_it_is() {
    let deep = format!("{}1{}", "[".repeat(80), "]".repeat(80));
    for (text, kind) in [
        (r#"{"a":[1,2.5,"x",null]}"#, "json"),
        ("12", "json"),
        ("null", "json"),
        ("\"text\"", "json"),
        ("1e400", "json"),
        ("{\"a\":1e22}", "json"),
        ("", "exact"),
        ("nul", "exact"),
        ("{a:1}", "exact"),
        (r#"{"$serde_json::private::RawValue":"1"}"#, "exact"),
        (deep.as_str(), "exact"),
    ] {
        for format in ["json", "yaml"] {
            let made = Made::websocket(&[(1, &format!("c2s text {text}"))], None, None, 9);
            let config = made.convert(&json!({"format": format}).to_string()).unwrap().0;
            let config: Value =
                if format == "json" { serde_json::from_str(&config).unwrap() } else { yaml_serde::from_str(&config).unwrap() };
            let matches = &config["mocks"][0]["websocket"]["scenario"]["steps"][0]["match"];
            assert_eq!(matches["type"], kind, "{text}");
            if kind == "json" {
                let live = crate::rules::matching::parse(text.as_bytes()).unwrap();
                assert_eq!(crate::rules::matching::first_difference(&matches["value"], &live), None, "{text}");
            } else {
                assert_eq!(matches["value"], text);
            }
        }
    }
}

#[test]
fn a_text_that_is_no_utf_8_is_named() {
    let garbage = |at_us, direction| {
        let Frame::WebSocket(frame) = message(at_us, direction) else { panic!() };
        Frame::WebSocket(WsFrame { data: "/w==".to_owned(), encoding: Some(crate::model::recording::Encoding::Base64), ..frame })
    };
    let mut made = Made::websocket(&[], None, None, 9);
    made.frames = vec![garbage(1_000, "s2c text "), garbage(2_000, "c2s text "), message(3_000, "s2c text b")];
    let steps = made.part("{}");
    assert_eq!(steps[0], json!({"type": "expect", "match": {"messageType": "text"}}));
    assert_eq!((&steps[1]["message"]["value"], steps.as_array().unwrap().len()), (&json!("b"), 2));
    assert_eq!(made.convert("{}").unwrap().1.len(), 2);
}

fn delays(steps: &Value) -> Vec<f64> {
    steps.as_array().unwrap().iter().filter_map(|step| step["message"]["delay"].as_f64().or(step["delay"].as_f64())).collect()
}

#[test]
fn delays_count_from_the_step_before_and_can_be_simplified() {
    let lines = [
        (5_000, "s2c text a"),
        (9_000, "s2c ping p"),
        (25_000, "s2c text b"),
        (10_000_000, "c2s text q"),
        (10_002_000, "s2c text c"),
        (20_000_000, "s2c text d"),
    ];
    let made = Made::websocket(&lines, Some(EndedBy::Server), Some((1000, "")), 20_000_001);
    assert_eq!(delays(&made.part("{}")), [5.0, 20.0, 2.0, 9998.0, 0.001]);
    assert_eq!(delays(&made.part(r#"{"includeClientMessages":false}"#)), [5.0, 20.0, 9977.0, 9998.0, 0.001]);
    assert_eq!(delays(&made.part(r#"{"simplifyTiming":true}"#)), [0.0, 20.0, 0.0, 5000.0, 0.0]);
    assert_eq!(delays(&made.part(r#"{"simplifyTiming":true,"minDelay":3,"maxDelay":10}"#)), [5.0, 10.0, 0.0, 10.0, 0.0]);
    assert_eq!(made.part("{}")[2]["timeout"], Value::Null, "30 s are enough for 10");

    let part = events().part(r#"{"simplifyTiming":true,"maxDelay":20}"#);
    assert_eq!(part["timing"], json!({"initialDelay": 20, "perEventDelays": [10.5, 0, 10]}));
    assert_eq!(part["lifecycle"]["termination"]["closeDelay"], 0);
}

#[test]
fn a_slow_client_has_twice_its_time_and_no_wait_is_longer_than_a_month() {
    let month_us = MAX_TIME_MS * 1000;
    let lines =
        [(1_000, "s2c text a"), (20_001_500, "c2s text q"), (20_001_500 + month_us + 7, "c2s text r"), (3 * month_us, "s2c text b")];
    let made = Made::websocket(&lines, None, None, 0);
    let steps = made.part("{}");
    assert_eq!((&steps[1]["timeout"], &steps[2]["timeout"]), (&json!(40002), &json!(MAX_TIME_MS)));
    assert_eq!(steps[3]["message"]["delay"], MAX_TIME_MS);
    assert_eq!(made.convert("{}").unwrap().1, ["what is longer than 31 days of 1 delay"]);
}

#[test]
fn repeated_server_messages_become_one() {
    let lines = [
        (1_000, "s2c text a"),
        (2_000, "s2c text a"),
        (3_000, "s2c ping p"),
        (4_000, "s2c text a"),
        (5_000, "s2c binary AAE="),
        (6_000, "s2c text AAE="),
        (7_000, "c2s text q"),
        (8_000, "s2c text AAE="),
    ];
    let made = Made::websocket(&lines, Some(EndedBy::Server), Some((1000, "")), 9_000);
    let values = |options: &str| -> Vec<String> {
        let steps = made.part(options);
        steps.as_array().unwrap().iter().filter_map(|step| step["message"]["value"].as_str().map(str::to_owned)).collect()
    };
    assert_eq!(values("{}").len(), 6);
    assert_eq!(values(r#"{"deduplicateMessages":true}"#), ["a", "AAE=", "AAE=", "AAE="]);
    assert_eq!(delays(&made.part(r#"{"deduplicateMessages":true}"#)), [1.0, 4.0, 1.0, 1.0, 1.0]);
    let without_client = r#"{"deduplicateMessages":true,"includeClientMessages":false}"#;
    assert_eq!((values(without_client).len(), delays(&made.part(without_client))), (3, vec![1.0, 4.0, 1.0, 3.0]));

    let events = vec![event(1_000, "a", ""), event(2_000, "a", ""), event(3_000, "a", "1"), event(4_000, "a", "1"), event(5_000, "", "")];
    let part = Made::sse(Some(500), events, Some(EndedBy::Server), 6_000).part(r#"{"deduplicateMessages":true}"#);
    assert_eq!(part["events"].as_array().unwrap().len(), 3);
    assert_eq!(part["timing"]["perEventDelays"], json!([0.5, 2, 2]));
}

#[test]
fn path_name_and_id_follow_the_options() {
    let mut made = chat();
    made.head.description = Some("d".to_owned());
    let mock = |made: &Made, options| serde_json::from_str::<Value>(&made.convert(options).unwrap().0).unwrap()["mocks"][0].take();
    let other = mock(&made, r#"{"endpointPath":"/v2/*","mockName":"m"}"#);
    assert_eq!((&other["id"], &other["name"], &other["description"]), (&json!("01HXYZ123456789ABCDEF-v2-any"), &json!("m"), &json!("d")));
    assert_eq!((&other["websocket"]["path"], &other["websocket"]["scenario"]["name"]), (&json!("/v2/*"), &json!("m")));
    assert_eq!(mock(&made, r#"{"endpointPath":"/ws/chat"}"#)["id"], "01HXYZ123456789ABCDEF");
    let long = mock(&made, &json!({"endpointPath": format!("/{}", "é".repeat(100))}).to_string());
    assert_eq!(long["id"].as_str().map(str::len), Some(64));

    made.head.metadata.path = "ws".to_owned();
    let error = made.convert("{}").unwrap_err().to_string();
    assert_eq!(error, "metadata.path: \"ws\" must begin with \"/\"; choose the mock's path with endpointPath");
    made.head.metadata.path = "/ws/***".to_owned();
    made.head.metadata.redaction = Some(Redaction { redact_value: "redacted".to_owned(), ..Redaction::default() });
    assert!(made.convert("{}").is_err());
    made.head.metadata.path = "/ws/redacted".to_owned();
    assert!(made.convert("{}").unwrap().1.contains(&"a redacted part of the path (choose another with endpointPath)".to_owned()));
    assert_eq!(made.convert(r#"{"endpointPath":"/x"}"#).unwrap().1.len(), 2);
}

#[test]
fn incomplete_recordings_go_as_far_as_they_do_and_bad_frames_are_named() {
    let mut made = Made::websocket(&[(1, "s2c text a")], None, None, 9);
    made.tail.status = Status::Incomplete;
    made.tail.status_reason = Some("crashed".to_owned());
    assert_eq!(made.convert("{}").unwrap().1, ["the end, since the recording is incomplete (crashed)"]);
    made.frames.push(message(2, "s2c binary ?"));
    assert_eq!(made.convert("{}").unwrap_err().to_string(), "frames[1]: its data is no base64");
    made.frames[1] = event(2, "a", "");
    assert_eq!(made.convert("{}").unwrap_err().to_string(), "frames[1]: it is of another protocol than the recording");
    let mut stream = Made::sse(None, vec![event(1, "a", "")], None, 9);
    stream.frames.push(Frame::Sse(SseEvent::default()));
    assert_eq!(stream.convert("{}").unwrap_err().to_string(), "events[1]: it has neither relativeUs nor relativeMs");
}

#[test]
fn what_no_mock_takes_is_named_and_the_config_loads() {
    let named = SseEvent {
        kind: Some("a\0b".to_owned()),
        data: Some("d".to_owned()),
        id: Some("1\n2".to_owned()),
        relative_us: Some(1),
        ..SseEvent::default()
    };
    let mut made = Made::sse(None, vec![Frame::Sse(named)], None, 9);
    if let StreamHead::Sse { request, response_status, response_headers, .. } = &mut made.head.stream {
        request.method = "GET".to_owned();
        *response_status = 204;
        for (name, value) in [("X-Fine", "a\tb"), ("X-Bell", "\u{7}"), ("No Name", "1"), ("X-Split", "a\r\nB: c")] {
            response_headers.add_header(name, value.to_owned());
        }
    }
    let (text, left_out) = made.convert("{}").unwrap();
    let words = [
        "the response's status 204, which no mock can have (it has 200)",
        "3 response header fields that no response can have",
        "line ends and NULs in the type or id of 1 event",
    ];
    assert_eq!(left_out, words);
    let mut settings = crate::model::settings::Settings::default();
    crate::model::config::read_into(&mut settings, std::path::Path::new("c.json"), &text).unwrap();
    let part = made.part("{}");
    assert_eq!(
        (&part["events"][0]["type"], &part["events"][0]["id"], &part["headers"]),
        (&json!("ab"), &json!("12"), &json!({"X-Fine": "a\tb"}))
    );
    if let StreamHead::Sse { request, .. } = &mut made.head.stream {
        request.method = "GE T".to_owned();
    }
    assert_eq!(made.convert("{}").unwrap_err().to_string(), "sse.request.method: \"GE T\" can be no method of a request");
}
