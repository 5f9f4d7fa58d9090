//! Conversations as scripts: `time >> what the client says`, `time << what it gets`, times in milliseconds from the handshake. Frames that
//! leave in one write stand on one line.

use serde_json::{Value, json};

use super::*;
use crate::model::mock::{Mock, MockKind, MockSource};
use crate::model::mock_ws::WsPlays;
use crate::wire::ws::{Message, MessageReader, Side};

fn talk(websocket: &Value) -> Arc<WsTalk> {
    let mut websocket = websocket.clone();
    websocket["path"] = json!("/ws");
    let mock = Mock::from_json(&json!({"type": "websocket", "websocket": websocket}), MockSource::default()).unwrap();
    match mock.kind {
        MockKind::WebSocket(mock) => match mock.plays {
            WsPlays::Talk(talk) => talk,
            WsPlays::Replay(_) => panic!("a replay"),
        },
        MockKind::Http(_) => panic!("no WebSocket"),
    }
}

/// Where the monotonic clock stands when the conversation begins.
const START_US: u64 = 1_000_000;

fn at(now_us: u64) -> Moment {
    Moment { now_us, wall_us: 1_705_314_600_000_000 + now_us - START_US, random: || 0 }
}

fn words(bytes: &[u8]) -> String {
    let mut all = Vec::new();
    let mut sink = |message: Message| {
        let text = String::from_utf8_lossy(&message.payload).into_owned();
        all.push(match message.opcode {
            opcode::TEXT => format!("text {text}").trim_end().to_owned(),
            opcode::BINARY => format!("binary {}", data_encoding::BASE64.encode(&message.payload)),
            _ => "ping".to_owned(),
        });
    };
    MessageReader::new(Side::Server, u64::MAX).feed(bytes, &mut sink).unwrap();
    all.join(" | ")
}

/// Plays a script's `>>` lines to a mock and gives the whole script as it really went. A line `time stop` ends it.
fn play(websocket: &Value, script: &str) -> String {
    let mut conversation = Conversation::new(talk(websocket)).unwrap();
    let lines: Vec<(u64, &str)> = script
        .lines()
        .map(|line| line.trim().split_once(' ').unwrap())
        .filter(|(_, what)| what.starts_with(">>") || *what == "stop")
        .map(|(ms, what)| (START_US + (ms.parse::<f64>().unwrap() * 1000.0) as u64, what))
        .collect();
    let mut inputs = lines.into_iter().peekable();
    let mut out = Vec::new();
    let mut now_us = START_US;
    let shown = |now_us: u64| (now_us - START_US) as f64 / 1000.0;
    conversation.start(now_us);
    loop {
        let wakes_us = match conversation.next(at(now_us)) {
            Act::Write(bytes) => {
                out.push(format!("{} << {}", shown(now_us), words(&bytes)));
                continue;
            }
            Act::End(finale) => {
                out.push(match finale {
                    Finale::Close { code, reason } => {
                        let code = code.map_or("-".to_owned(), |code| code.to_string());
                        format!("{} close {code} {reason}", shown(now_us)).trim_end().to_owned()
                    }
                    other => format!("{} {other:?}", shown(now_us)),
                });
                return out.join("\n");
            }
            Act::Sleep { until_us } => until_us,
            Act::Wait => u64::MAX,
        };
        assert!(wakes_us > now_us, "a conversation that does nothing must sleep");
        match inputs.next_if(|(when_us, _)| *when_us <= wakes_us) {
            Some((when_us, "stop")) => {
                out.push(format!("{} stop", shown(when_us)));
                return out.join("\n");
            }
            Some((when_us, what)) => {
                now_us = when_us.max(now_us);
                out.push(format!("{} {what}", shown(now_us)));
                let (kind, rest) = what[3..].split_once(' ').unwrap_or((&what[3..], ""));
                match kind {
                    "text" => conversation.hear(Heard::Message(FrameType::Text, rest.as_bytes()), at(now_us)),
                    "binary" => {
                        let bytes = data_encoding::BASE64.decode(rest.as_bytes()).unwrap();
                        conversation.hear(Heard::Message(FrameType::Binary, &bytes), at(now_us));
                    }
                    "pong" => conversation.hear(Heard::Pong, at(now_us)),
                    other => panic!("{other}"),
                }
            }
            None if wakes_us == u64::MAX => {
                out.push(format!("wait, {} queued", conversation.queued().messages));
                return out.join("\n");
            }
            None => now_us = wakes_us,
        }
    }
}

#[track_caller]
fn check(websocket: Value, script: &str) {
    let expected: Vec<&str> = script.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let expected = expected.join("\n");
    assert_eq!(play(&websocket, &expected), expected, "{websocket}");
}

#[test]
fn a_mock_that_says_nothing_else_echoes() {
    check(
        json!({}),
        "5 >> text hi {{uuid}}
         5 << text hi {{uuid}}
         6 >> binary AAE=
         6 << binary AAE=
         7 >> text
         7 << text
         wait, 0 queued",
    );
    check(json!({"echoMode": false}), "5 >> text hi\nwait, 0 queued");
}

#[test]
fn what_an_expect_does_not_take_is_answered_before_the_scenario_goes_on() {
    let expects = |name: &str| json!({"type": "expect", "match": {"type": "exact", "value": name}});
    let sends = |text: &str| json!({"type": "send", "message": {"value": text}});
    let steps = json!([{"type": "wait", "duration": 200}, expects("a"), sends("A"), {"type": "close", "code": 4000}]);
    check(
        json!({"defaultResponse": {"value": "D {{message}}"}, "scenario": {"steps": steps}}),
        "1 >> text x
         1 >> text a
         1 >> text z
         200 << text D x | text A
         200 close 4000",
    );
    let first = json!({"type": "send", "message": {"value": "1", "delay": 300}});
    let steps = json!([first, expects("a"), sends("A"), expects("b"), sends("B")]);
    check(
        json!({"defaultResponse": {"value": "D {{message}}"}, "scenario": {"steps": steps}}),
        "1 >> text b
         1 >> text a
         1 >> text zz
         1 >> text b
         300 << text 1 | text D b | text A | text D zz | text B
         wait, 0 queued",
    );
}

#[test]
fn the_first_matcher_that_matches_answers() {
    let matchers = json!([
        {"match": {"type": "exact", "value": "ping"}, "response": {"value": "pong"}},
        {"match": {"type": "contains", "value": "quiet"}, "noResponse": true},
        {"match": {"type": "prefix", "value": "p"}, "response": {"value": "p: {{message}}"}},
        {"match": {"type": "json", "path": "$.type", "value": "join"}, "response": {"type": "json", "value": {"ok": true, "room": "{{message.room}}"}}},
        {"match": {"messageType": "binary"}, "response": {"type": "binary", "value": "/w=="}}
    ]);
    let script = "1 >> text ping
         1 << text pong
         2 >> text pquiet
         3 >> text plain
         3 << text p: plain
         4 >> text {\"room\":7,\"type\":\"join\"}
         4 << text {\"ok\":true,\"room\":7}
         5 >> binary AA==
         5 << binary /w==
         6 >> text other";
    check(json!({"matchers": matchers}), &format!("{script}\nwait, 0 queued"));
    check(
        json!({"matchers": matchers, "defaultResponse": {"value": "what? {{message}}"}}),
        &format!("{script}\n6 << text what? other\nwait, 0 queued"),
    );
    check(json!({"matchers": matchers, "echoMode": true}), &format!("{script}\n6 << text other\nwait, 0 queued"));
}

#[test]
fn answers_keep_the_order_of_their_messages_and_wait_side_by_side() {
    check(
        json!({"matchers": [{"match": {"type": "exact", "value": "slow"}, "response": {"value": "s"}, "delay": 100}], "echoMode": true}),
        "0 >> text slow
         10 >> text fast
         20 >> text slow
         30 >> text fast
         100 << text s | text fast
         120 << text s | text fast
         wait, 0 queued",
    );
}

#[test]
fn a_scenario_plays_on_its_time() {
    check(
        json!({"scenario": {"steps": [
            {"type": "send", "message": {"value": "a"}},
            {"type": "send", "message": {"value": {"b": 1, "a": [2]}}},
            {"type": "send", "message": {"type": "binary", "value": "AAE=", "delay": 1.5}},
            {"type": "wait", "duration": "10ms"},
            {"type": "send", "message": {"value": "c", "delay": 0.25}},
            {"type": "send", "message": {"value": "d"}},
            {"type": "close", "code": 4001, "reason": "bye", "delay": 5}
        ]}}),
        "0 << text a | text {\"b\":1,\"a\":[2]}
         1.5 << binary AAE=
         3 >> text ignored
         11.75 << text c | text d
         16.75 close 4001 bye",
    );
}

#[test]
fn there_are_three_ways_to_close() {
    for (step, end) in [
        (json!({"type": "close"}), "0 close 1000"),
        (json!({"type": "close", "code": 1005}), "0 close -"),
        (json!({"type": "close", "code": 1006}), "0 Drop"),
    ] {
        check(json!({"scenario": {"steps": [step]}}), end);
    }
}

#[test]
fn an_expect_waits_for_its_message_and_its_followers_count_from_it() {
    check(
        json!({"scenario": {"steps": [
            {"type": "expect", "match": {"type": "json", "value": {"type": "join"}}},
            {"type": "send", "message": {"value": "hello {{message}}", "delay": 10}},
            {"type": "wait", "match": {"type": "exact", "value": "go"}, "timeout": 0},
            {"type": "send", "message": {"value": "done"}}
        ]}}),
        "3 >> text other
         5 >> text {\"type\": \"join\"}
         15 << text hello {\"type\": \"join\"}
         100000000 >> text go
         100000000 << text done
         wait, 0 queued",
    );
}

#[test]
fn early_messages_wait_for_their_expects() {
    let steps = json!([
        {"type": "send", "message": {"value": "1", "delay": 10}},
        {"type": "expect", "match": {"type": "exact", "value": "a"}},
        {"type": "send", "message": {"value": "2 {{message}}"}},
        {"type": "expect", "match": {"type": "exact", "value": "b"}},
        {"type": "send", "message": {"value": "3 {{message}}"}}
    ]);
    check(
        json!({"scenario": {"steps": steps}}),
        "1 >> text a
         2 >> text b
         10 << text 1 | text 2 a | text 3 b
         wait, 0 queued",
    );
    // What does not meet an expect goes on to the default answer when its turn has come.
    check(
        json!({"scenario": {"steps": steps}, "defaultResponse": {"value": "? {{message}}"}}),
        "1 >> text x
         2 >> text a
         3 >> text y
         4 >> text b
         5 >> text z
         10 << text 1 | text ? x | text 2 a | text ? y | text 3 b | text ? z
         11 >> text late
         11 << text ? late
         wait, 0 queued",
    );
    // Matchers are asked at once.
    check(
        json!({"scenario": {"steps": steps}, "matchers": [{"match": {"type": "exact", "value": "b"}, "response": {"value": "m"}}]}),
        "1 >> text a
         2 >> text b
         2 << text m
         10 << text 1 | text 2 a
         11 >> text b
         11 << text 3 b
         12 >> text b
         12 << text m
         wait, 0 queued",
    );
}

#[test]
fn an_expect_has_a_time_limit() {
    let expect = |optional: bool| {
        json!({"scenario": {"steps": [
            {"type": "wait", "duration": 5},
            {"type": "expect", "match": {"type": "exact", "value": "a"}, "timeout": "2.5ms", "optional": optional},
            {"type": "send", "message": {"value": "next", "delay": 1}}
        ]}})
    };
    check(
        expect(false),
        "6 >> text b
         7.5 close 1008 ErrMatchTimeout: step 2: no message that it expects came within 2.5 ms",
    );
    check(
        expect(true),
        "6 >> text b
         8.5 << text next
         wait, 0 queued",
    );
    check(
        expect(true),
        "7 >> text a
         8 << text next
         wait, 0 queued",
    );
    check(
        json!({"scenario": {"steps": [{"type": "expect"}]}}),
        "30000 close 1008 ErrMatchTimeout: step 1: no message that it expects came within 30000 ms",
    );
}

#[test]
fn a_scenario_may_begin_again() {
    check(
        json!({"scenario": {"loop": true, "steps": [
            {"type": "send", "message": {"value": "tick"}},
            {"type": "wait", "duration": 10}
        ]}}),
        "0 << text tick
         10 << text tick
         20 << text tick
         25 stop",
    );
    check(
        json!({"scenario": {"loop": true, "steps": [
            {"type": "expect"},
            {"type": "send", "message": {"value": "re {{message}}"}}
        ]}}),
        "1 >> text a
         1 << text re a
         2 >> text b
         2 << text re b
         30002 close 1008 ErrMatchTimeout: step 1: no message that it expects came within 30000 ms",
    );
}

/// Trap: a loop that a thread which comes late must catch up with, and that would fill its memory.
#[test]
fn a_loop_that_is_behind_is_written_in_parts() {
    let mut conversation = Conversation::new(talk(&json!({"scenario": {"loop": true, "steps": [
        {"type": "send", "message": {"value": "x".repeat(1000), "delay": 0.001}}
    ]}})))
    .unwrap();
    conversation.start(START_US);
    for _ in 0..3 {
        let Act::Write(bytes) = conversation.next(at(START_US + 3_600_000_000)) else { panic!("nothing to write") };
        assert!(bytes.len() < limits::MAX_WRITE_BYTES + 2000);
    }
}

#[test]
fn a_round_that_takes_no_time_and_no_message_is_the_last() {
    let steps = vec![Step::Wait(0)];
    let scenario = crate::model::mock_ws::Scenario { name: None, steps, repeats: true };
    let mut talk = (*talk(&json!({}))).clone();
    talk.scenario = Some(scenario);
    let mut conversation = Conversation::new(Arc::new(talk)).unwrap();
    conversation.start(START_US);
    assert_eq!(conversation.next(at(START_US)), Act::Wait);
}

#[test]
fn silence_has_a_limit() {
    check(
        json!({"idleTimeout": 100}),
        "50 >> text a
         50 << text a
         60 >> pong
         150 close 1001 idle timeout",
    );
    check(
        json!({"idleTimeout": 100, "scenario": {"steps": [{"type": "send", "message": {"value": "a", "delay": 80}}]}}),
        "80 << text a
         180 close 1001 idle timeout",
    );
}

#[test]
fn a_heart_must_beat() {
    check(
        json!({"heartbeat": {"interval": 100, "timeout": 30}}),
        "100 << ping
         120 >> pong
         200 << ping
         230 close 1001 heartbeat timeout",
    );
    // A pong answers all pings before it (RFC 6455 §5.5.3), and a data message answers none.
    check(
        json!({"heartbeat": {"interval": 100, "timeout": 250}}),
        "100 << ping
         200 << ping
         300 << ping
         310 >> pong
         400 << ping
         500 << ping
         510 >> text x
         510 << text x
         600 << ping
         650 close 1001 heartbeat timeout",
    );
    check(json!({"heartbeat": {"enabled": false, "interval": 1}}), "100 >> text x\n100 << text x\nwait, 0 queued");
}

#[test]
fn pings_that_are_overdue_are_left_out() {
    let mut conversation = Conversation::new(talk(&json!({"heartbeat": {"interval": 100, "timeout": 1000}}))).unwrap();
    conversation.start(START_US);
    let Act::Write(bytes) = conversation.next(at(START_US + 350_000)) else { panic!("no ping") };
    assert_eq!(words(&bytes), "ping");
    assert_eq!(conversation.next(at(START_US + 350_000)), Act::Sleep { until_us: START_US + 400_000 });
}

#[test]
fn a_pong_that_is_there_counts_however_late_it_is_looked_at() {
    let mut conversation = Conversation::new(talk(&json!({"heartbeat": {"interval": 100, "timeout": 10}}))).unwrap();
    conversation.start(START_US);
    assert!(matches!(conversation.next(at(START_US + 100_000)), Act::Write(_)));
    conversation.hear(Heard::Pong, at(START_US + 150_000));
    assert_eq!(conversation.next(at(START_US + 150_000)), Act::Sleep { until_us: START_US + 200_000 });
}

#[test]
fn templates_are_filled_when_a_message_leaves() {
    check(
        json!({"scenario": {"steps": [
            {"type": "send", "message": {"value": "<{{message}}> {{timestamp}}", "delay": 1000}},
            {"type": "send", "message": {"value": "{{message}} {{now}}", "literal": true}},
            {"type": "send", "message": {"value": {"t": "{{timestamp}}", "m": "{{message.x}}"}, "literal": true}},
            {"type": "expect"},
            {"type": "send", "message": {"value": {"t": "{{timestamp}}", "m": "{{message.x}}", "all": "{{message}}"}}},
            {"type": "expect"},
            {"type": "send", "message": {"value": "<{{message}}> <{{message.x}}>"}}
        ]}}),
        "1000 << text <> 1705314601 | text {{message}} {{now}} | text {\"t\":\"{{timestamp}}\",\"m\":\"{{message.x}}\"}
         2000 >> text {\"x\":[1,\"{{uuid}}\"]}
         2000 << text {\"t\":1705314602,\"m\":[1,\"{{uuid}}\"],\"all\":\"{\\\"x\\\":[1,\\\"{{uuid}}\\\"]}\"}
         3000 >> binary AAE=
         3000 << text <AAE=> <>
         wait, 0 queued",
    );
}

#[test]
fn what_waits_in_it_is_counted() {
    let mut conversation = Conversation::new(talk(&json!({
        "matchers": [{"match": {"type": "prefix", "value": "d"}, "response": {"value": "r"}, "delay": 10}],
        "scenario": {"steps": [{"type": "wait", "duration": 5}, {"type": "expect"}, {"type": "expect"}]}
    })))
    .unwrap();
    conversation.start(START_US);
    for (text, queued) in [("a", 1), ("d", 2), ("b", 3)] {
        conversation.hear(Heard::Message(FrameType::Text, text.as_bytes()), at(START_US));
        assert_eq!(conversation.queued().messages, queued);
    }
    assert_eq!(conversation.next(at(START_US + 5000)), Act::Sleep { until_us: START_US + 10_000 });
    assert_eq!(conversation.queued().messages, 1, "both expects are met");
    conversation.hear(Heard::Message(FrameType::Text, b"x"), at(START_US + 10_000));
    assert_eq!(conversation.queued().messages, 1, "an answer counts until it is on its way");
    assert!(matches!(conversation.next(at(START_US + 10_000)), Act::Write(_)));
    assert_eq!(conversation.queued().messages, 0);
}

/// A mock with something of everything.
fn busy() -> Value {
    json!({
        "idleTimeout": 500, "heartbeat": {"interval": 40, "timeout": 300},
        "matchers": [
            {"match": {"type": "regex", "value": "^m+$"}, "response": {"value": "m {{message}}", "delay": 7}},
            {"match": {"type": "json", "path": "$..a", "value": 1}, "noResponse": true}
        ],
        "defaultResponse": {"value": {"got": "{{message.a}}"}, "delay": 3},
        "scenario": {"loop": true, "steps": [
            {"type": "send", "message": {"value": "s", "delay": 5}},
            {"type": "expect", "match": {"type": "contains", "value": "x"}, "timeout": 20, "optional": true},
            {"type": "expect", "match": {"messageType": "binary"}, "timeout": 200},
            {"type": "wait", "duration": 11}
        ]}
    })
}

proptest::proptest! {
    /// Whatever is said and whenever, it always knows what to do next, the clock goes on, and nothing stays behind unseen.
    #[test]
    fn any_conversation_goes_on_or_ends(said in proptest::collection::vec((0u64..60, 0usize..6), 0..60)) {
        let mut conversation = Conversation::new(talk(&busy())).unwrap();
        let mut now_us = START_US;
        let mut heard = 0;
        conversation.start(now_us);
        'script: for (wait_ms, what) in said {
            let until_us = now_us + wait_ms * 1000;
            for turn in 0.. {
                proptest::prop_assert!(turn < 1000, "it spins");
                match conversation.next(at(now_us)) {
                    Act::Write(bytes) => proptest::prop_assert!(!bytes.is_empty()),
                    Act::Sleep { until_us: wakes_us } if wakes_us < until_us => {
                        proptest::prop_assert!(wakes_us > now_us);
                        now_us = wakes_us;
                    }
                    Act::Sleep { .. } | Act::Wait => break,
                    Act::End(_) => break 'script,
                }
            }
            now_us = until_us;
            heard += usize::from(what > 0);
            match what {
                0 => conversation.hear(Heard::Pong, at(now_us)),
                1 => conversation.hear(Heard::Message(FrameType::Binary, &[0, 255]), at(now_us)),
                what => {
                    let text = ["mmm", "x", r#"{"a":1}"#, r#"{"a":[2]}"#][what - 2];
                    conversation.hear(Heard::Message(FrameType::Text, text.as_bytes()), at(now_us));
                }
            }
            proptest::prop_assert!(conversation.queued().messages <= heard);
        }
    }
}
