//! Reading the HTTP part of mocks, in tables of small cases.

use std::sync::Arc;

use serde_json::{Value, json};

use super::mock::{Conditions, MockKind};
use super::mock_http::{
    EventData, HttpMock, HttpPlays, HttpResponse, MockEvent, Resume, SseLifecycle, SseMock, SseTiming, Termination, TerminationKind,
};
use super::mock_tests::{check_errors, read};
use super::pairs::Pairs;

fn part(value: Value) -> HttpMock {
    match read(&value).unwrap_or_else(|error| panic!("{value}: {error}")).kind {
        MockKind::Http(mock) => mock,
        MockKind::WebSocket(mock) => panic!("{mock:?}"),
    }
}

fn with_sse(value: Value) -> Value {
    json!({"type": "http", "http": {"matcher": {"path": "/e"}, "sse": value}})
}

fn sse(value: Value) -> Arc<SseMock> {
    match part(with_sse(value)).plays {
        HttpPlays::Events(mock) => mock,
        other => panic!("{other:?}"),
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Pairs {
    let mut headers = Pairs::default();
    pairs.iter().for_each(|(name, value)| headers.add_header(name, (*value).to_owned()));
    headers
}

fn event(data: &str) -> MockEvent {
    let data = Some(EventData::Text(data.to_owned()));
    MockEvent { kind: None, data, id: None, retry: None, comment: None, delay_us: None, literal: false }
}

#[test]
fn the_parts_stand_in_http_or_at_the_top() {
    let parts =
        json!({"matcher": {"method": "post", "path": "/x/*", "bodyContains": "a", "headers": {"X": "1"}}, "response": {"body": "hi"}});
    let mut top = parts.clone();
    top["name"] = json!("n");
    let mock = part(json!({"http": parts}));
    assert_eq!(mock, part(top));
    let conditions =
        Conditions { headers: vec![("X".to_owned(), "1".to_owned())], body_contains: Some("a".to_owned()), ..Conditions::default() };
    let response = HttpResponse { status: 200, headers: Pairs::default(), body: b"hi".to_vec(), delay_us: 0 };
    let expected =
        HttpMock { method: Some("POST".to_owned()), path: Some("/x/*".to_owned()), conditions, plays: HttpPlays::Response(response) };
    assert_eq!(mock, expected);
    assert_eq!(part(with_sse(json!({"events": []}))).method.as_deref(), Some("GET"));
    let replay = part(json!({"http": {"replay": {"recording": "abcdef"}}}));
    assert_eq!((replay.method, replay.path), (None, None));
    let replay = part(json!({"http": {"matcher": {"path": "/p"}, "replay": {"recording": "abcdef"}}}));
    assert_eq!((replay.method, replay.path.as_deref()), (None, Some("/p")));
}

#[test]
fn wrong_matchers_are_named() {
    let with = |matcher: Value| json!({"http": {"matcher": matcher, "response": {}}});
    check_errors([
        (json!({"http": {"response": {}}}), ".http.matcher.path: this field must be given"),
        (with(json!({})), ".http.matcher.path: this field must be given"),
        (with(json!({"path": "/a?b"})), ".http.matcher.path: \"/a?b\" must be a path alone, without query, fragment or blanks"),
        (with(json!({"path": "/", "method": "GE T"})), ".http.matcher.method: \"GE T\" can be no method of a request"),
        (with(json!({"path": "/", "bodyContains": 1})), ".http.matcher.bodyContains: this must be a string, it is 1"),
        (with(json!({"path": "/", "query": {}})), ".http.matcher.query: there is no such field; did you mean \"queryParams\"?"),
        (json!({"http": {"matcher": {"path": "/"}}}), ".http: an HTTP mock has one of sse, response, replay"),
        (
            json!({"http": {"matcher": {"path": "/"}, "sse": {}, "response": {}}}),
            ".http.response: this cannot stand beside \"sse\"; leave out one of the two",
        ),
        (json!({"http": {"mtcher": {}}}), ".http.mtcher: there is no such field; did you mean \"matcher\"?"),
        (json!({"matcher": {"path": "/"}, "respnse": {}}), ".respnse: there is no such field; did you mean \"response\"?"),
        (
            json!({"http": {"replay": {"recording": "x", "path": "/y"}}}),
            ".http.replay.path: a replay mock is on the path of its mock: give it there, or leave it out to have the recorded one",
        ),
    ]);
}

#[test]
fn responses_are_read() {
    let response = |value: Value| match part(json!({"matcher": {"path": "/"}, "response": value})).plays {
        HttpPlays::Response(response) => response,
        other => panic!("{other:?}"),
    };
    let of = |status, headers: &[(&str, &str)], body: &str, delay_us| HttpResponse {
        status,
        headers: pairs(headers),
        body: body.as_bytes().to_vec(),
        delay_us,
    };
    for (value, expected) in [
        (json!({}), of(200, &[], "", 0)),
        (json!({"statusCode": 404, "body": "é", "delayMs": 1.5}), of(404, &[], "é", 1500)),
        (json!({"body": {"b": 1, "a": [null]}}), of(200, &[("Content-Type", "application/json")], r#"{"b":1,"a":[null]}"#, 0)),
        (json!({"headers": {"content-type": "x/y"}, "body": [1]}), of(200, &[("content-type", "x/y")], "[1]", 0)),
        (json!({"body": false}), of(200, &[("Content-Type", "application/json")], "false", 0)),
        (json!({"headers": {"Set-Cookie": ["a=1", "b=2"]}}), of(200, &[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")], "", 0)),
        (json!({"statusCode": 204, "body": ""}), of(204, &[], "", 0)),
    ] {
        assert_eq!(response(value.clone()), expected, "{value}");
    }
    let with = |response: Value| json!({"matcher": {"path": "/"}, "response": response});
    let ours = "mockd sets this field itself, as the connection and the body ask for: leave it out";
    for name in ["Content-Length", "connection", "Transfer-Encoding", "Upgrade", "Keep-Alive"] {
        assert_eq!(read(&with(json!({"headers": {name: "1"}}))).unwrap_err(), format!("mocks[2].response.headers.{name}: {ours}"));
    }
    check_errors([
        (with(json!({"statusCode": 101})), ".response.statusCode: this must be a whole number from 200 to 599, it is 101"),
        (with(json!({"statusCode": 304, "body": "x"})), ".response.body: a response with status 304 has no body: leave it out"),
        (with(json!({"headers": {"X": 1}})), ".response.headers.X: this must be a string or a list of strings, it is 1"),
        (with(json!({"headers": {"X": ["a", 1]}})), ".response.headers.X: this must be a string or a list of strings, it is 1"),
        (with(json!({"headers": {"": "1"}})), ".response.headers: \"\" can be no name of a header field"),
        (
            with(json!({"headers": {"X": "a\r\nB: c"}})),
            ".response.headers.X: \"a\\\\r\\\\nB: c\" has a line break or another control character, which no header field may have",
        ),
        (
            with(json!({"headers": []})),
            ".response.headers: this must be an object of names with strings or lists of strings, it is an array",
        ),
        (with(json!({"delay": 1})), ".response.delay: there is no such field; did you mean \"delayMs\"?"),
    ]);
}

#[test]
fn event_streams_are_read() {
    let mock = sse(json!({
        "statusCode": 201,
        "headers": {"cache-control": "no-store", "X-A": "1"},
        "events": [
            {"data": "a\r\nb\rc"},
            {"type": "tick", "data": {"n": 1}, "id": "7", "retry": 1500, "comment": "c", "delay": 2.5, "literal": true},
            {"comment": "alive"}, {"id": ""}, {"retry": 0}, {"type": "", "data": "", "id": 5}
        ],
        "timing": {"initialDelay": 10, "fixedDelay": "1s", "perEventDelays": [1, null, 0.5]},
        "lifecycle": {
            "keepaliveInterval": 15, "timeout": 0.25, "maxEvents": 3,
            "termination": {"type": "error", "errorEvent": {"type": "error", "data": "x"}, "closeDelay": 7}
        },
        "resume": {"bufferSize": 10, "maxAge": 60}
    }));
    let block = MockEvent { data: None, ..event("") };
    let events = vec![
        event("a\nb\nc"),
        MockEvent {
            kind: Some("tick".into()),
            data: Some(EventData::Json(json!({"n": 1}))),
            id: Some("7".into()),
            retry: Some(1500),
            comment: Some("c".into()),
            delay_us: Some(2500),
            literal: true,
        },
        MockEvent { comment: Some("alive".into()), ..block.clone() },
        MockEvent { id: Some(String::new()), ..block.clone() },
        MockEvent { retry: Some(0), ..block },
        MockEvent { id: Some("5".into()), ..event("") },
    ];
    let expected = SseMock {
        status: 201,
        headers: pairs(&[("cache-control", "no-store"), ("X-A", "1"), ("Content-Type", "text/event-stream")]),
        events,
        timing: SseTiming {
            initial_delay_us: 10_000,
            fixed_delay_us: 1_000_000,
            random_delay_us: None,
            per_event_delays_us: vec![Some(1000), None, Some(500)],
        },
        lifecycle: SseLifecycle {
            keepalive_us: Some(15_000_000),
            timeout_us: Some(250_000),
            max_events: Some(3),
            termination: Termination {
                kind: TerminationKind::Error,
                last_event: Some(MockEvent { kind: Some("error".into()), ..event("x") }),
                close_delay_us: 7000,
            },
        },
        resume: Resume { enabled: true, buffer_size: Some(10), max_age_us: Some(60_000_000) },
    };
    assert_eq!(*mock, expected);
    let smallest = sse(json!({"events": []}));
    assert_eq!(smallest.headers, pairs(&[("Content-Type", "text/event-stream"), ("Cache-Control", "no-cache")]));
    assert_eq!((smallest.status, &smallest.timing, &smallest.lifecycle), (200, &SseTiming::default(), &SseLifecycle::default()));
}

#[test]
fn streams_end_and_resume_in_each_way() {
    for (value, kind) in [
        (json!({}), TerminationKind::Graceful),
        (json!({"type": "graceful", "finalEvent": {"data": "end"}}), TerminationKind::Graceful),
        (json!({"type": "abrupt", "closeDelay": 1}), TerminationKind::Abrupt),
        (json!({"type": "error"}), TerminationKind::Error),
        (json!({"type": "keepOpen"}), TerminationKind::KeepOpen),
    ] {
        assert_eq!(sse(json!({"events": [], "lifecycle": {"termination": value}})).lifecycle.termination.kind, kind, "{value}");
    }
    let of = |enabled| Resume { enabled, ..Resume::default() };
    for (value, resume) in [
        (json!(true), of(true)),
        (json!(false), of(false)),
        (json!(null), of(false)),
        (json!({}), of(true)),
        (json!({"enabled": false}), of(false)),
    ] {
        assert_eq!(sse(json!({"events": [], "resume": value})).resume, resume, "{value}");
    }
    let random = sse(json!({"events": [], "timing": {"randomDelay": {"min": 1, "max": "2s"}}})).timing.random_delay_us;
    assert_eq!(random, Some((1000, 2_000_000)));
    let none = sse(json!({"events": [], "lifecycle": {"keepaliveInterval": 0, "timeout": 0}})).lifecycle.clone();
    assert_eq!(none, SseLifecycle::default());
}

#[test]
fn wrong_streams_are_named() {
    let with = |name: &str, value: Value| with_sse(json!({"events": [{"data": "x"}], name: value}));
    let event = |value: Value| with_sse(json!({"events": [{"data": "x"}, value]}));
    let at_most = "a number of milliseconds of at least 0 or a text such as \"500ms\", \"1.5s\", \"2m\" or \"1m30s\", at most 744 hours";
    for (value, place, shown) in [
        (with("timing", json!({"initialDelay": "soon"})), "timing.initialDelay", "\"soon\""),
        (with("timing", json!({"perEventDelays": ["x"]})), "timing.perEventDelays[0]", "\"x\""),
        (event(json!({"data": "", "delay": -1})), "events[1].delay", "-1"),
    ] {
        assert_eq!(read(&value).unwrap_err(), format!("mocks[2].http.sse.{place}: this must be {at_most}, it is {shown}"));
    }
    check_errors([
        (with_sse(json!({})), ".http.sse.events: this field must be given"),
        (with_sse(json!({"events": {}})), ".http.sse.events: this must be a list, it is an object"),
        (with_sse(json!({"event": []})), ".http.sse.event: there is no such field; did you mean \"events\"?"),
        (
            with("statusCode", json!(204)),
            ".http.sse.statusCode: a response with status 204 has no body for events: use \"response\" in place of \"sse\"",
        ),
        (with("statusCode", json!(600)), ".http.sse.statusCode: this must be a whole number from 200 to 599, it is 600"),
        (event(json!({})), ".http.sse.events[1].data: this field must be given, or id, retry or comment"),
        (event(json!({"type": "x"})), ".http.sse.events[1].data: an event with a type needs data: readers drop it without"),
        (event(json!({"type": "a\nb", "data": ""})), ".http.sse.events[1].type: \"a\\\\nb\" must be one line, without NUL"),
        (event(json!({"id": "a\0", "data": ""})), ".http.sse.events[1].id: \"a\\\\u{0}\" must be one line, without NUL"),
        (event(json!({"retry": "5s", "data": ""})), ".http.sse.events[1].retry: this must be a whole number of at least 0, it is \"5s\""),
        (event(json!({"comment": 1})), ".http.sse.events[1].comment: this must be a string, it is 1"),
        (
            event(json!({"event": "x", "data": ""})),
            ".http.sse.events[1].event: there is no such field; known: type, data, id, retry, comment, delay, literal",
        ),
        (
            with("timing", json!({"fixedDelay": 1, "randomDelay": {"min": 1, "max": 2}})),
            ".http.sse.timing.randomDelay: this cannot stand beside \"fixedDelay\"; leave out one of the two",
        ),
        (
            with("timing", json!({"randomDelay": {"min": 2, "max": 1}})),
            ".http.sse.timing.randomDelay.min: this must not be more than \"max\"",
        ),
        (with("timing", json!({"randomDelay": {"min": 2}})), ".http.sse.timing.randomDelay.max: this field must be given"),
        (
            with("timing", json!({"perEventDelays": [1, 2]})),
            ".http.sse.timing.perEventDelays: there are 2 delays for 1 events: leave out those at the end",
        ),
        (
            with("timing", json!({"delay": 1})),
            ".http.sse.timing.delay: there is no such field; known: initialDelay, fixedDelay, randomDelay, perEventDelays",
        ),
        (with("lifecycle", json!({"maxEvents": 0})), ".http.sse.lifecycle.maxEvents: this must be a whole number of at least 1, it is 0"),
        (
            with("lifecycle", json!({"keepaliveInterval": 0.0001})),
            ".http.sse.lifecycle.keepaliveInterval: this must be at least a millisecond, or 0 for none",
        ),
        (
            with("lifecycle", json!({"timeout": true})),
            ".http.sse.lifecycle.timeout: this must be a number of seconds of at least 0 or a text such as \"500ms\", \"1.5s\", \"2m\" or \"1m30s\", at most 744 hours, it is true",
        ),
        (
            with("lifecycle", json!({"termination": {"type": "grace"}})),
            ".http.sse.lifecycle.termination.type: \"grace\" is none of graceful, abrupt, error, keepOpen (did you mean \"graceful\"?)",
        ),
        (
            with("lifecycle", json!({"termination": {"type": "abrupt", "finalEvent": {"data": ""}}})),
            ".http.sse.lifecycle.termination.finalEvent: this is for a termination of type \"graceful\"",
        ),
        (
            with("lifecycle", json!({"termination": {"errorEvent": {"data": ""}}})),
            ".http.sse.lifecycle.termination.errorEvent: this is for a termination of type \"error\"",
        ),
        (
            with("lifecycle", json!({"termination": {"type": "keepOpen", "closeDelay": 1}})),
            ".http.sse.lifecycle.termination.closeDelay: a stream that is kept open has no end to wait for",
        ),
        (with("resume", json!("yes")), ".http.sse.resume: this must be an object, it is \"yes\""),
        (with("resume", json!({"bufferSize": 0})), ".http.sse.resume.bufferSize: this must be a whole number of at least 1, it is 0"),
        (with("template", json!("openai-chat")), ".http.sse.events: this cannot stand beside \"template\"; leave out one of the two"),
        (with("templateParams", json!({})), ".http.sse.templateParams: this needs \"template\""),
    ]);
}

#[test]
fn a_chat_completion_is_made_of_its_tokens() {
    let chunk = |token: &str, first, finish: Option<&str>| MockEvent {
        data: Some(EventData::ChatChunk { model: "m".into(), token: token.into(), first, finish_reason: finish.map(str::to_owned) }),
        ..event("")
    };
    let done = MockEvent { delay_us: Some(0), literal: true, ..event("[DONE]") };
    let mock = sse(json!({"template": "openai-chat", "templateParams": {"tokens": ["a", "b"], "model": "m"}}));
    assert_eq!(mock.events, [chunk("a", true, None), chunk("b", false, Some("stop")), done]);
    assert_eq!(mock.timing.fixed_delay_us, 50_000);
    let params = json!({"tokens": ["a"], "model": "m", "finishReason": "length", "includeDone": false, "delayPerToken": 5});
    let mock = sse(json!({"template": "openai-chat", "templateParams": params}));
    assert_eq!(mock.events, [chunk("a", true, Some("length"))]);
    assert_eq!(mock.timing.fixed_delay_us, 5000);
    let timing = json!({"randomDelay": {"min": 1, "max": 2}});
    let mock = sse(json!({"template": "openai-chat", "templateParams": {"tokens": ["a"]}, "timing": timing}));
    assert_eq!((mock.timing.fixed_delay_us, mock.timing.random_delay_us), (0, Some((1000, 2000))));
    let with = |params: Value| with_sse(json!({"template": "openai-chat", "templateParams": params}));
    check_errors([
        (with_sse(json!({"template": "openai"})), ".http.sse.template: \"openai\" is none of openai-chat (did you mean \"openai-chat\"?)"),
        (with_sse(json!({"template": "openai-chat"})), ".http.sse.templateParams.tokens: this field must be given"),
        (with(json!({})), ".http.sse.templateParams.tokens: this field must be given"),
        (with(json!({"tokens": []})), ".http.sse.templateParams.tokens: this must be a list of at least one string"),
        (with(json!({"tokens": "a"})), ".http.sse.templateParams.tokens: this must be an array of strings, it is \"a\""),
        (with(json!({"tokens": ["a"], "modl": "x"})), ".http.sse.templateParams.modl: there is no such field; did you mean \"model\"?"),
        (
            with_sse(
                json!({"template": "openai-chat", "templateParams": {"tokens": ["a"], "delayPerToken": 1}, "timing": {"fixedDelay": 1}}),
            ),
            ".http.sse.templateParams.delayPerToken: this cannot stand beside a fixedDelay or randomDelay in \"timing\"; leave out one of the two",
        ),
    ]);
}
