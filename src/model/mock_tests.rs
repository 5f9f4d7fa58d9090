//! Reading mocks: what every mock has, and the WebSocket part, in tables of small cases. The HTTP part has a file of its own.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::mock::{Mock, MockKind, MockSource};
use super::mock_ws::{Heartbeat, MatchText, Scenario, Step, WsContent, WsMatch, WsMatcher, WsMessage, WsMock, WsPlays, WsTalk};
use super::recording::FrameType;
use crate::base::limits;

/// Reads a mock that stands at `mocks[2]`.
pub(super) fn read(value: &Value) -> Result<Mock, String> {
    let source = MockSource { file: None, place: "mocks[2]".to_owned() };
    Mock::from_json(value, source).map_err(|error| error.to_string())
}

/// Checks what is said of each of some wrong mocks.
pub(super) fn check_errors(wrong: impl IntoIterator<Item = (Value, &'static str)>) {
    for (value, expected) in wrong {
        let error = read(&value).expect_err(&value.to_string());
        assert_eq!(error, format!("mocks[2]{expected}"), "{value}");
    }
}

fn ws(mut part: Value) -> Value {
    if let Value::Object(map) = &mut part
        && !map.contains_key("path")
    {
        map.insert("path".to_owned(), "/ws".into());
    }
    json!({"type": "websocket", "websocket": part})
}

fn part(value: Value) -> WsMock {
    match read(&ws(value.clone())).unwrap_or_else(|error| panic!("{value}: {error}")).kind {
        MockKind::WebSocket(mock) => mock,
        MockKind::Http(mock) => panic!("{mock:?}"),
    }
}

fn talk(value: Value) -> Arc<WsTalk> {
    match part(value).plays {
        WsPlays::Talk(talk) => talk,
        WsPlays::Replay(replay) => panic!("{replay:?}"),
    }
}

fn step(value: Value) -> Step {
    talk(json!({"scenario": {"steps": [value]}})).scenario.as_ref().unwrap().steps[0].clone()
}

fn matching(value: Value) -> WsMatch {
    talk(json!({"matchers": [{"match": value, "noResponse": true}]})).matchers[0].matches.clone()
}

fn says(content: WsContent) -> WsMessage {
    WsMessage { content, delay_us: 0, literal: false }
}

#[test]
fn the_type_is_given_or_follows_from_the_parts() {
    let http = json!({"matcher": {"path": "/x"}, "response": {}});
    for (value, is_websocket) in [
        (json!({"websocket": {"path": "/ws"}}), true),
        (json!({"type": "websocket", "websocket": {"path": "/ws"}}), true),
        (json!({"http": http}), false),
        (json!({"type": "http", "http": http}), false),
        (json!({"type": "http", "matcher": {"path": "/x"}, "response": {}}), false),
        (json!({"matcher": {"path": "/x"}, "sse": {"events": []}}), false),
        (json!({"replay": {"recording": "01ABCDEF"}}), false),
    ] {
        assert_eq!(matches!(read(&value).unwrap().kind, MockKind::WebSocket(_)), is_websocket, "{value}");
    }
    check_errors([
        (json!({}), ".type: this field must be given: one of websocket, http"),
        (json!({"type": 5}), ".type: this must be one of websocket, http, it is 5"),
        (
            json!({"type": "graphql"}),
            ".type: \"graphql\" is none of websocket, http: mockd mocks streams, which are WebSockets, and over HTTP event streams and plain responses",
        ),
        (
            json!({"type": "websoket"}),
            ".type: \"websoket\" is none of websocket, http (did you mean \"websocket\"?): mockd mocks streams, which are WebSockets, and over HTTP event streams and plain responses",
        ),
        (
            json!({"type": "sse"}),
            ".type: \"sse\" is none of websocket, http; an event stream is of type http, with \"sse\" in it: mockd mocks streams, which are WebSockets, and over HTTP event streams and plain responses",
        ),
        (json!({"type": "websocket"}), ".websocket: this field must be given"),
        (json!({"type": "websocket", "websocket": []}), ".websocket: this must be an object, it is an array"),
        (json!({"type": "websocket", "websocket": {"path": "/"}, "http": {}}), ".http: this is no part of a mock of type websocket"),
        (json!({"type": "http", "http": http, "websocket": {}}), ".websocket: this is no part of a mock of type http"),
        (
            json!({"type": "websocket", "websocket": {"path": "/"}, "replay": {}}),
            ".replay: the replay of a WebSocket mock stands in \"websocket\"",
        ),
        (json!({"type": "http", "http": http, "matcher": {}}), ".matcher: beside \"http\" this must stand in it: http.matcher"),
        (json!({"type": "http"}), ": an HTTP mock has one of sse, response, replay"),
        (json!("x"), ": this must be an object, it is \"x\""),
    ]);
}

#[test]
fn every_mock_has_an_id_and_may_have_words() {
    for id in ["a", "A.b_c-9", &"x".repeat(64)] {
        assert_eq!(read(&json!({"id": id, "websocket": {"path": "/ws"}})).unwrap().id, id);
    }
    assert!(!read(&json!({"enabled": false, "websocket": {"path": "/ws"}})).unwrap().enabled);
    let with = |name: &str, value: Value| json!({name: value, "websocket": {"path": "/ws"}});
    check_errors([
        (with("id", json!("")), ".id: \"\" must be 1 to 64 letters, digits, \".\", \"_\" or \"-\""),
        (with("id", json!("a/b")), ".id: \"a/b\" must be 1 to 64 letters, digits, \".\", \"_\" or \"-\""),
        (with("id", json!("é")), ".id: \"é\" must be 1 to 64 letters, digits, \".\", \"_\" or \"-\""),
        (with("id", json!(5)), ".id: this must be a string, it is 5"),
        (with("name", json!(5)), ".name: this must be a string, it is 5"),
        (with("description", json!([])), ".description: this must be a string, it is an array"),
        (with("enabled", json!("yes")), ".enabled: this must be true or false, it is \"yes\""),
        (with("enbled", json!(true)), ".enbled: there is no such field; did you mean \"enabled\"?"),
    ]);
}

#[test]
fn the_smallest_websocket_mock_echoes() {
    let mock = part(json!({}));
    assert_eq!((mock.path.as_deref(), mock.conditions.count(), mock.max_connections), (Some("/ws"), 0, None));
    let WsPlays::Talk(talk) = mock.plays else { panic!("a replay") };
    let expected = WsTalk {
        subprotocols: Vec::new(),
        require_subprotocol: false,
        max_message_bytes: None,
        idle_timeout_us: None,
        heartbeat: None,
        echo: true,
        matchers: Vec::new(),
        default_response: None,
        scenario: None,
    };
    assert_eq!(*talk, expected);
}

#[test]
fn echo_is_the_default_where_nothing_else_answers() {
    let steps = json!({"steps": [{"type": "wait", "duration": 1}]});
    for (value, echo) in [
        (json!({"matchers": []}), true),
        (json!({"matchers": [{"match": {"messageType": "text"}, "noResponse": true}]}), false),
        (json!({"defaultResponse": {"value": "x"}}), false),
        (json!({"scenario": steps}), false),
        (json!({"scenario": steps, "echoMode": true}), true),
        (json!({"echoMode": false}), false),
    ] {
        assert_eq!(talk(value.clone()).echo, echo, "{value}");
    }
}

#[test]
fn the_fields_of_a_websocket_mock_are_read() {
    let mock = part(json!({
        "path": "/ws/*", "matcher": {"headers": {"X-A": "*"}, "queryParams": {"room": "one two"}}, "maxConnections": 2,
        "subprotocols": ["chat.v1", "chat.v2"], "requireSubprotocol": true, "maxMessageSize": "64KiB", "idleTimeout": "1m30s",
        "heartbeat": {"interval": 250.5}
    }));
    assert_eq!(mock.conditions.headers, [("X-A".to_owned(), "*".to_owned())]);
    assert_eq!(mock.conditions.query_params, [("room".to_owned(), "one two".to_owned())]);
    assert_eq!((mock.max_connections, mock.conditions.count()), (Some(2), 2));
    let WsPlays::Talk(talk) = mock.plays else { panic!("a replay") };
    assert_eq!(talk.subprotocols, ["chat.v1", "chat.v2"]);
    assert!(talk.require_subprotocol);
    assert_eq!((talk.max_message_bytes, talk.idle_timeout_us), (Some(65_536), Some(90_000_000)));
    assert_eq!(talk.heartbeat, Some(Heartbeat { interval_us: 250_500, timeout_us: 10_000_000 }));
    let defaults = Heartbeat { interval_us: 30_000_000, timeout_us: 10_000_000 };
    assert_eq!(self::talk(json!({"heartbeat": {}})).heartbeat, Some(defaults));
    assert_eq!(self::talk(json!({"heartbeat": {"enabled": false, "interval": "5s"}})).heartbeat, None);
    assert_eq!(self::talk(json!({"idleTimeout": 0})).idle_timeout_us, None);
}

#[test]
fn wrong_websocket_fields_are_named() {
    let value = |part: Value| json!({"websocket": part});
    check_errors([
        (value(json!({})), ".websocket.path: this field must be given"),
        (value(json!({"pth": "/"})), ".websocket.pth: there is no such field; did you mean \"path\"?"),
        (value(json!({"path": "ws"})), ".websocket.path: \"ws\" must begin with \"/\""),
        (value(json!({"path": "/a*b"})), ".websocket.path: \"/a*b\" may have a \"*\" at its end only"),
        (ws(json!({"maxConnections": 0})), ".websocket.maxConnections: this must be a whole number of at least 1, it is 0"),
        (
            ws(json!({"maxMessageSize": "64MB"})),
            ".websocket.maxMessageSize: this must be a number of bytes from 1 to 1073741824, KiB, MiB and GiB allowed, it is \"64MB\"",
        ),
        (
            ws(json!({"idleTimeout": -1})),
            ".websocket.idleTimeout: this must be a number of milliseconds of at least 0 or a text such as \"500ms\", \"1.5s\", \"2m\" or \"1m30s\", at most 744 hours, it is -1",
        ),
        (ws(json!({"echoMode": 1})), ".websocket.echoMode: this must be true or false, it is 1"),
        (ws(json!({"subprotocols": "a"})), ".websocket.subprotocols: this must be an array of strings, it is \"a\""),
        (
            ws(json!({"subprotocols": ["a", "b c"]})),
            ".websocket.subprotocols[1]: \"b c\" is no name of a subprotocol: letters, digits and !#$%&'*+-.^_`|~ only",
        ),
        (ws(json!({"subprotocols": ["a", "a"]})), ".websocket.subprotocols[1]: \"a\" stands here twice"),
        (
            ws(json!({"requireSubprotocol": true})),
            ".websocket.requireSubprotocol: this needs \"subprotocols\": without them every handshake would be refused",
        ),
        (ws(json!({"heartbeat": true})), ".websocket.heartbeat: this must be an object, it is true"),
        (ws(json!({"heartbeat": {"interval": 0}})), ".websocket.heartbeat.interval: this must be at least a millisecond"),
        (ws(json!({"heartbeat": {"intervall": 1}})), ".websocket.heartbeat.intervall: there is no such field; did you mean \"interval\"?"),
        (ws(json!({"matcher": {"path": "/"}})), ".websocket.matcher.path: the path of a WebSocket mock stands in websocket.path"),
        (ws(json!({"matcher": {"method": "GET"}})), ".websocket.matcher.method: a WebSocket handshake is always a GET: leave this out"),
        (
            ws(json!({"matcher": {"bodyContains": ""}})),
            ".websocket.matcher.bodyContains: a WebSocket handshake has no body: leave this out",
        ),
        (ws(json!({"matcher": {"headers": {"a b": "x"}}})), ".websocket.matcher.headers: \"a b\" can be no name of a header field"),
        (
            ws(json!({"matcher": {"headers": {"a": "x\n"}}})),
            ".websocket.matcher.headers.a: \"x\\\\n\" has a line break or another control character, which no header field may have",
        ),
        (
            ws(json!({"matcher": {"queryParams": {"a": 1}}})),
            ".websocket.matcher.queryParams.a: this must be a string (\"*\" for any value), it is 1",
        ),
        (
            ws(json!({"matcher": {"queryParams": []}})),
            ".websocket.matcher.queryParams: this must be an object of names with strings, it is an array",
        ),
    ]);
}

#[test]
fn a_replay_stands_alone() {
    let mock = json!({"websocket": {"maxConnections": 3, "replay": {"recording": "chat.json", "mode": "triggered", "timeout": 5}}});
    let mock = read(&mock).unwrap();
    assert_eq!((mock.path(), mock.replay().map(|replay| replay.recording.as_str())), (None, Some("chat.json")));
    assert_eq!(mock.replay().map(|replay| replay.options.timeout_ms), Some(5));
    let with = |name: &str, value: Value| json!({"websocket": {"replay": {"recording": "x"}, name: value}});
    let alone = "this cannot stand beside \"replay\": the recording says what is sent";
    for (name, value) in [
        ("echoMode", json!(false)),
        ("matchers", json!([])),
        ("defaultResponse", json!({})),
        ("scenario", json!({})),
        ("subprotocols", json!([])),
        ("requireSubprotocol", json!(false)),
        ("heartbeat", json!({})),
        ("idleTimeout", json!(0)),
        ("maxMessageSize", json!(1)),
    ] {
        assert_eq!(read(&with(name, value)).unwrap_err(), format!("mocks[2].websocket.{name}: {alone}"));
    }
    let replay = |value: Value| json!({"websocket": {"replay": value}});
    check_errors([
        (replay(json!({})), ".websocket.replay.recording: this field must be given"),
        (
            replay(json!({"recording": ""})),
            ".websocket.replay.recording: this must be the id of a recording, or a file relative to the config",
        ),
        (
            replay(json!({"recording": "x", "path": "/"})),
            ".websocket.replay.path: a replay mock is on the path of its mock: give it there, or leave it out to have the recorded one",
        ),
        (replay(json!({"recordng": "x"})), ".websocket.replay.recordng: there is no such field; did you mean \"recording\"?"),
        (
            replay(json!({"recording": "x", "mode": "triggered", "timingScale": 2})),
            ".websocket.replay.timingScale: this is an option of pure mode; the mode here is triggered",
        ),
    ]);
}

#[test]
fn messages_are_matched_in_each_way() {
    let text = |text: &str| text.to_owned();
    let json = |path: Option<&str>, value| MatchText::Json { path: path.map(str::to_owned), value };
    for (value, expected, kind) in [
        (json!({"type": "exact", "value": ""}), MatchText::Exact(text("")), None),
        (json!({"type": "contains", "value": "a", "messageType": "text"}), MatchText::Contains(text("a")), Some(FrameType::Text)),
        (json!({"type": "prefix", "value": "a"}), MatchText::Prefix(text("a")), None),
        (json!({"type": "suffix", "value": "a"}), MatchText::Suffix(text("a")), None),
        (json!({"type": "regex", "value": "^a+$"}), MatchText::Regex(text("^a+$")), None),
        (json!({"type": "json", "value": {"a": 1}}), json(None, json!({"a": 1})), None),
        (json!({"type": "json", "value": null}), json(None, Value::Null), None),
        (json!({"type": "json", "path": "$.a", "value": "b"}), json(Some("$.a"), json!("b")), None),
        (json!({"messageType": "binary"}), MatchText::Any, Some(FrameType::Binary)),
        (json!({"type": "exact", "value": "AAE=", "messageType": "binary"}), MatchText::Exact(text("AAE=")), Some(FrameType::Binary)),
    ] {
        assert_eq!(matching(value.clone()), WsMatch { text: expected, message_type: kind }, "{value}");
    }
    let wrong = |value: Value| ws(json!({"matchers": [{"match": value, "noResponse": true}]}));
    let mut deep = json!(1);
    for _ in 0..65 {
        deep = json!([deep]);
    }
    check_errors([
        (
            wrong(json!({"type": "glob", "value": "a"})),
            ".websocket.matchers[0].match.type: \"glob\" is none of exact, contains, prefix, suffix, regex, json",
        ),
        (
            wrong(json!({})),
            ".websocket.matchers[0].match.type: this field must be given: one of exact, contains, prefix, suffix, regex, json",
        ),
        (
            wrong(json!({"messageType": "text", "value": "a"})),
            ".websocket.matchers[0].match.type: this field must be given: one of exact, contains, prefix, suffix, regex, json",
        ),
        (wrong(json!({"type": "exact"})), ".websocket.matchers[0].match.value: this field must be given"),
        (wrong(json!({"type": "exact", "value": 5})), ".websocket.matchers[0].match.value: this must be a string, it is 5"),
        (wrong(json!({"type": "json"})), ".websocket.matchers[0].match.value: this field must be given"),
        (wrong(json!({"type": "json", "value": deep})), ".websocket.matchers[0].match.value: this is nested deeper than 64 levels"),
        (wrong(json!({"type": "exact", "value": "a", "path": "$"})), ".websocket.matchers[0].match.path: this is for type \"json\""),
        (
            wrong(json!({"type": "contains", "value": "a", "messageType": "binary"})),
            ".websocket.matchers[0].match.messageType: \"contains\" looks at texts; a binary message is matched by \"exact\", with its base64, or by its messageType alone",
        ),
        (
            wrong(json!({"type": "exact", "value": "!", "messageType": "binary"})),
            ".websocket.matchers[0].match.value: \"!\" is no base64: character 1 is wrong",
        ),
        (
            wrong(json!({"type": "exact", "value": "a", "messageType": "ping"})),
            ".websocket.matchers[0].match.messageType: \"ping\" is none of text, binary",
        ),
        (
            wrong(json!({"type": "exact", "valu": "a"})),
            ".websocket.matchers[0].match.valu: there is no such field; did you mean \"value\"?",
        ),
    ]);
    let error = read(&wrong(json!({"type": "regex", "value": "("}))).unwrap_err();
    assert!(error.starts_with("mocks[2].websocket.matchers[0].match.value: \"(\" is no regular expression: "), "{error}");
    let error = read(&wrong(json!({"type": "json", "path": "a", "value": 1}))).unwrap_err();
    assert!(error.starts_with("mocks[2].websocket.matchers[0].match.path: \"a\" is no JSONPath (RFC 9535): "), "{error}");
}

#[test]
fn matchers_answer_or_say_that_they_do_not() {
    let any = json!({"messageType": "text"});
    let matcher = |mut value: Value| {
        value["match"] = any.clone();
        value
    };
    let read_one = |value: Value| talk(json!({"matchers": [matcher(value)]})).matchers[0].clone();
    let matches = WsMatch { text: MatchText::Any, message_type: Some(FrameType::Text) };
    assert_eq!(read_one(json!({"noResponse": true, "response": null})), WsMatcher { matches, response: None });
    for value in [json!({"response": {"value": "x"}, "delay": 5}), json!({"response": {"value": "x", "delay": 5}})] {
        assert_eq!(read_one(value).response.map(|response| response.delay_us), Some(5000));
    }
    let wrong = |value: Value| ws(json!({"matchers": [matcher(value)]}));
    check_errors([
        (ws(json!({"matchers": {}})), ".websocket.matchers: this must be a list, it is an object"),
        (ws(json!({"matchers": [{"noResponse": true}]})), ".websocket.matchers[0].match: this field must be given"),
        (wrong(json!({})), ".websocket.matchers[0].response: this field must be given, or \"noResponse\": true"),
        (wrong(json!({"noResponse": false})), ".websocket.matchers[0].response: this field must be given, or \"noResponse\": true"),
        (
            wrong(json!({"noResponse": true, "response": {"value": 1}})),
            ".websocket.matchers[0].noResponse: this cannot stand beside \"response\"; leave out one of the two",
        ),
        (
            wrong(json!({"noResponse": true, "delay": 1})),
            ".websocket.matchers[0].delay: where there is no response, nothing can be delayed",
        ),
        (
            wrong(json!({"delay": 1, "response": {"value": 1, "delay": 0}})),
            ".websocket.matchers[0].delay: the response has a delay of its own; leave out one of the two",
        ),
        (wrong(json!({"respons": {}})), ".websocket.matchers[0].respons: there is no such field; did you mean \"response\"?"),
    ]);
}

#[test]
fn messages_are_texts_json_or_bytes() {
    for (value, expected) in [
        (json!({"value": "a"}), says(WsContent::Text("a".into()))),
        (json!({"type": "text", "value": "a"}), says(WsContent::Text("a".into()))),
        (json!({"value": {"a": [1]}}), says(WsContent::Json(json!({"a": [1]})))),
        (json!({"value": null}), says(WsContent::Json(Value::Null))),
        (json!({"type": "json", "value": "a"}), says(WsContent::Json(json!("a")))),
        (json!({"type": "binary", "value": "AAE="}), says(WsContent::Binary(vec![0, 1]))),
        (
            json!({"value": "a", "delay": "1.5s", "literal": true}),
            WsMessage { content: WsContent::Text("a".into()), delay_us: 1_500_000, literal: true },
        ),
    ] {
        assert_eq!(step(json!({"type": "send", "message": value})), Step::Send(expected), "{value}");
    }
    let wrong = |value: Value| ws(json!({"defaultResponse": value}));
    check_errors([
        (wrong(json!("text")), ".websocket.defaultResponse: this must be an object, it is \"text\""),
        (wrong(json!({})), ".websocket.defaultResponse.value: this field must be given"),
        (
            wrong(json!({"type": "text", "value": 1})),
            ".websocket.defaultResponse.value: this must be a string; for JSON choose type \"json\", it is 1",
        ),
        (wrong(json!({"type": "binary", "value": 1})), ".websocket.defaultResponse.value: this must be a string in base64, it is 1"),
        (wrong(json!({"type": "binary", "value": "AAE"})), ".websocket.defaultResponse.value: \"AAE\" is no base64: character 1 is wrong"),
        (wrong(json!({"type": "ping", "value": ""})), ".websocket.defaultResponse.type: \"ping\" is none of text, json, binary"),
        (wrong(json!({"value": "", "dealy": 1})), ".websocket.defaultResponse.dealy: there is no such field; did you mean \"delay\"?"),
    ]);
}

#[test]
fn scenarios_have_steps() {
    let any = |timeout_us, optional| Step::Expect { matches: None, timeout_us, optional };
    let text = WsMatch { text: MatchText::Any, message_type: Some(FrameType::Text) };
    let close = |code, reason: &str, delay_us| Step::Close { code, reason: reason.to_owned(), delay_us };
    for (value, expected) in [
        (json!({"type": "expect"}), any(30_000_000, false)),
        (json!({"type": "expect", "timeout": 0, "optional": true}), any(0, true)),
        (
            json!({"type": "wait", "match": {"messageType": "text"}, "timeout": "5s"}),
            Step::Expect { matches: Some(text), timeout_us: 5_000_000, optional: false },
        ),
        (json!({"type": "wait", "duration": "2s"}), Step::Wait(2_000_000)),
        (json!({"type": "close"}), close(1000, "", 0)),
        (json!({"type": "close", "code": 4001, "reason": "bye", "delay": 3.5}), close(4001, "bye", 3500)),
        (json!({"type": "close", "code": 1005}), close(1005, "", 0)),
        (json!({"type": "close", "code": 1006}), close(1006, "", 0)),
        (json!({"type": "close", "reason": "x".repeat(123)}), close(1000, &"x".repeat(123), 0)),
    ] {
        assert_eq!(step(value.clone()), expected, "{value}");
    }
    let looped = talk(json!({"scenario": {"name": "n", "loop": true, "steps": [{"type": "wait", "duration": 1}]}}));
    assert_eq!(looped.scenario, Some(Scenario { name: Some("n".to_owned()), steps: vec![Step::Wait(1000)], repeats: true }));
}

#[test]
fn wrong_steps_are_named() {
    let scenario = |value: Value| ws(json!({"scenario": value}));
    let wrong = |value: Value| ws(json!({"scenario": {"steps": [{"type": "expect"}, value]}}));
    check_errors([
        (scenario(json!({})), ".websocket.scenario.steps: this field must be given"),
        (scenario(json!({"steps": []})), ".websocket.scenario.steps: a scenario has at least one step"),
        (scenario(json!({"steps": [], "repeat": true})), ".websocket.scenario.repeat: there is no such field; known: name, loop, steps"),
        (
            scenario(json!({"loop": true, "steps": [{"type": "send", "message": {"value": "x"}}, {"type": "wait", "duration": 0}]})),
            ".websocket.scenario.loop: a scenario that begins again needs a step that waits: an expect, or a delay or duration above 0",
        ),
        (wrong(json!({})), ".websocket.scenario.steps[1].type: this field must be given: one of send, expect, wait, close"),
        (
            wrong(json!({"type": "sned"})),
            ".websocket.scenario.steps[1].type: \"sned\" is none of send, expect, wait, close (did you mean \"send\"?)",
        ),
        (wrong(json!({"type": "send"})), ".websocket.scenario.steps[1].message: this field must be given"),
        (wrong(json!({"type": "send", "match": {}})), ".websocket.scenario.steps[1].match: there is no such field; known: type, message"),
        (
            wrong(json!({"type": "expect", "duration": 1})),
            ".websocket.scenario.steps[1].duration: there is no such field; known: type, match, timeout, optional",
        ),
        (
            wrong(json!({"type": "wait"})),
            ".websocket.scenario.steps[1].duration: this field must be given, or \"match\" to wait for a message",
        ),
        (
            wrong(json!({"type": "wait", "duration": 1, "optional": true})),
            ".websocket.scenario.steps[1].optional: this cannot stand beside \"duration\": a step waits for a time or for a message",
        ),
        (
            wrong(json!({"type": "close", "code": 1004})),
            ".websocket.scenario.steps[1].code: 1004 may not stand in a close frame; use 1000 to 1003, 1007 to 1014, or 3000 to 4999 (RFC 6455, section 7.4), 1005 for a frame without code, or 1006 to drop the connection",
        ),
        (
            wrong(json!({"type": "close", "code": 70000})),
            ".websocket.scenario.steps[1].code: this must be a whole number from 0 to 65535, it is 70000",
        ),
        (
            wrong(json!({"type": "close", "reason": "é".repeat(62)})),
            ".websocket.scenario.steps[1].reason: a close reason has at most 123 bytes (RFC 6455, section 5.5)",
        ),
        (
            wrong(json!({"type": "close", "code": 1006, "reason": "x"})),
            ".websocket.scenario.steps[1].reason: with code 1006 there is no reason: leave it out",
        ),
    ]);
}

#[test]
fn no_mock_takes_more_than_the_server() {
    let mock = read(&ws(json!({"maxMessageSize": 1001}))).unwrap();
    mock.check_limits(1001).unwrap();
    assert_eq!(
        mock.check_limits(1000).unwrap_err().to_string(),
        "mocks[2].websocket.maxMessageSize: 1001 bytes are more than the server takes: server.maxMessageBytes is 1000"
    );
}

#[test]
fn what_a_call_may_hold_fits_its_threads_stack() {
    let run = || {
        for (open, close) in [("[", "]"), ("{\"a\":", "}")] {
            let deep = format!("{}1{}", open.repeat(120), close.repeat(120));
            let value: Value =
                serde_json::from_str(&format!(r#"{{"websocket":{{"path":"/","defaultResponse":{{"value":{deep}}}}}}}"#)).unwrap();
            assert!(read(&value).unwrap_err().ends_with("this is nested deeper than 64 levels"));
        }
    };
    std::thread::Builder::new().stack_size(limits::STACK_BYTES).spawn(run).unwrap().join().unwrap();
}

/// Any JSON value, of the names and words that mocks have and of others.
pub(super) fn any_json() -> impl Strategy<Value = Value> {
    const WORDS: [&str; 44] = [
        "type",
        "websocket",
        "http",
        "path",
        "/ws",
        "matcher",
        "headers",
        "queryParams",
        "replay",
        "recording",
        "mode",
        "scenario",
        "steps",
        "send",
        "message",
        "value",
        "json",
        "binary",
        "AAE=",
        "expect",
        "match",
        "wait",
        "duration",
        "1.5s",
        "close",
        "code",
        "reason",
        "matchers",
        "response",
        "sse",
        "events",
        "data",
        "timing",
        "perEventDelays",
        "lifecycle",
        "termination",
        "resume",
        "template",
        "openai-chat",
        "templateParams",
        "tokens",
        "mocks",
        "heartbeat",
        "x\r\n\0",
    ];
    let word = prop_oneof![4 => prop::sample::select(WORDS.to_vec()).prop_map(str::to_owned), 1 => any::<String>()];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(|number| serde_json::Number::from_f64(number).map_or(Value::Null, Value::Number)),
        word.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(6, 64, 8, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::Array),
            prop::collection::vec((word.clone(), inner), 0..8).prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_value_makes_the_reader_panic(value in any_json(), part in any_json()) {
        for value in [value, json!({"websocket": part}), ws(json!({"scenario": {"steps": [part]}})), json!({"matcher": {"path": "/"}, "sse": part})] {
            if let Ok(mock) = read(&value) {
                // What is shown reads back as the same mock; an id that was made is given then.
                let again = read(&mock.shown.value()).unwrap();
                prop_assert_eq!((&again.id, &again.name, again.enabled), (&mock.id, &mock.name, mock.enabled));
                prop_assert_eq!((&again.kind, again.shown.value()), (&mock.kind, mock.shown.value()));
                // And as a text, whose long lists are read one by one.
                let source = MockSource { file: None, place: "mocks[2]".to_owned() };
                let text = value.to_string();
                let of_text = Mock::from_text(&text, &text, source).unwrap();
                prop_assert_eq!(&of_text.kind, &mock.kind);
                prop_assert_eq!(&of_text.shown.value()["enabled"], &mock.shown.value()["enabled"]);
            }
        }
    }
}
