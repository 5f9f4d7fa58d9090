//! What a client of a converted mock gets is what was recorded, message by message and byte by byte, at the recorded times: generated
//! recordings are converted, the config is read as a server reads it, and the mock is played on a clock that jumps.

use std::path::Path;
use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::tests::Made;
use crate::model::config::read_into;
use crate::model::mock::{Mock, MockKind};
use crate::model::mock_http::{HttpPlays, SseMock};
use crate::model::mock_ws::{WsPlays, WsTalk};
use crate::model::recording::{Direction, Encoding, EndedBy, Frame, FrameType, SseEvent, StreamHead, StreamTail, WsFrame};
use crate::model::settings::Settings;
use crate::rules::events::EventShow;
use crate::rules::performance::{Act, Heard, Moment, Performance};
use crate::rules::player::Finale;
use crate::rules::scenario::Conversation;
use crate::wire::ws::{MessageReader, Side, opcode};

const START_US: u64 = 5_000_000;

/// Something that a side of a WebSocket did: when, and what.
type Said = (u64, FrameType, Vec<u8>);

fn at(now_us: u64) -> Moment {
    Moment { now_us: START_US + now_us, wall_us: 1, random: || 7 }
}

/// The mock that a server would make of a config.
fn mock_of(text: &str, format: &str) -> Mock {
    let mut settings = Settings::default();
    read_into(&mut settings, Path::new(&format!("c.{format}")), text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert_eq!(settings.mocks.len(), 1);
    settings.mocks.remove(0)
}

fn talk_of(mock: Mock) -> Arc<WsTalk> {
    match mock.kind {
        MockKind::WebSocket(mock) => match mock.plays {
            WsPlays::Talk(talk) => talk,
            WsPlays::Replay(_) => panic!("a replay"),
        },
        MockKind::Http(_) => panic!("no WebSocket"),
    }
}

fn stream_of(mock: Mock) -> (Option<String>, Arc<SseMock>) {
    match mock.kind {
        MockKind::Http(mock) => match mock.plays {
            HttpPlays::Events(events) => (mock.method, events),
            _ => panic!("no events"),
        },
        MockKind::WebSocket(_) => panic!("no event stream"),
    }
}

/// What the client sends: at its own times, or as soon as so many server messages have come.
enum Client {
    Timed(Vec<Said>),
    Reactive(Vec<(usize, FrameType, Vec<u8>)>),
}

/// Plays a conversation: what the server said and when, and how it ended.
fn converse(talk: Arc<WsTalk>, client: &Client) -> (Vec<Said>, Option<(u64, Finale)>) {
    let mut mock = Conversation::new(talk).unwrap();
    let (mut said, mut now_us, mut sent) = (Vec::new(), 0, 0);
    let mut reader = MessageReader::new(Side::Server, 1 << 20);
    mock.start(START_US);
    loop {
        let act = mock.next(at(now_us));
        let until_us = match act {
            Act::Write(bytes) => {
                let mut take = |message: crate::wire::ws::Message| {
                    let kind = if message.opcode == opcode::BINARY { FrameType::Binary } else { FrameType::Text };
                    assert!([opcode::TEXT, opcode::BINARY].contains(&message.opcode));
                    said.push((now_us, kind, message.payload));
                };
                reader.feed(&bytes, &mut take).unwrap();
                continue;
            }
            Act::End(finale) => return (said, Some((now_us, finale))),
            Act::Sleep { until_us } => Some(until_us - START_US),
            Act::Wait => None,
        };
        let next: Option<(u64, FrameType, &[u8])> = match client {
            Client::Timed(messages) => messages.get(sent).map(|(due_us, kind, payload)| (*due_us, *kind, payload.as_slice())),
            Client::Reactive(messages) => {
                let ready = messages.get(sent).filter(|(after, ..)| said.len() >= *after);
                ready.map(|(_, kind, payload)| (now_us, *kind, payload.as_slice()))
            }
        };
        match (next, until_us) {
            (Some((due_us, kind, payload)), until_us) if until_us.is_none_or(|until_us| due_us <= until_us) => {
                now_us = now_us.max(due_us);
                mock.hear(Heard::Message(kind, payload), at(now_us));
                sent += 1;
            }
            (_, Some(until_us)) => now_us = until_us,
            (_, None) => return (said, None),
        }
    }
}

/// Text that tempts a converter: odd spacing and order, templates, placeholders, every kind of character, nothing.
fn any_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[ -~\u{7f}-\u{a0}\u{2020}-\u{2030}\u{fef0}-\u{ffff}\n\r\t\u{0}]{0,20}",
        Just(String::new()),
        Just("{ \"b\" :1 ,\n \"a\":  [1.50, 1e3, {}] }".to_owned()),
        Just("{{message}} {{uuid}} {{now}} {{message.a}} $uuid $timestamp $random(1,2) $pick(a,b)".to_owned()),
        Just("{\"a\":1,\"a\":2,\"\\ud800\":\"\\u0000\"}".to_owned()),
        Just("null".to_owned()),
        Just("- a: b # c\n...\n---\n".to_owned()),
        proptest::num::f64::ANY.prop_map(|number| format!("{{\"n\":{number}}}")),
        "-?[0-9]{1,25}(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,3})?",
        any::<Vec<String>>().prop_map(|texts| json!(texts).to_string()),
    ]
}

fn any_frame() -> impl Strategy<Value = (u64, Frame)> {
    let gap = prop_oneof![Just(0), 0u64..3_000, 0u64..100_000_000];
    let kind = prop_oneof![
        6 => Just(FrameType::Text),
        2 => Just(FrameType::Binary),
        1 => Just(FrameType::Ping),
        1 => Just(FrameType::Pong)
    ];
    (gap, any::<bool>(), kind, any_text(), any::<Vec<u8>>()).prop_map(|(gap_us, is_client, kind, text, bytes)| {
        let is_binary = kind == FrameType::Binary;
        let frame = WsFrame {
            direction: if is_client { Direction::ClientToServer } else { Direction::ServerToClient },
            kind,
            data: if is_binary { data_encoding::BASE64.encode(&bytes) } else { text },
            encoding: is_binary.then_some(Encoding::Base64),
            close_code: None,
            close_reason: None,
            timestamp: String::new(),
            relative_ms: None,
            relative_us: None,
            extra: Default::default(),
        };
        (gap_us, Frame::WebSocket(frame))
    })
}

/// Gives the frames their times.
fn stamped(frames: Vec<(u64, Frame)>) -> (u64, Vec<Frame>) {
    let mut now_us = 0;
    let stamp = |(gap_us, mut frame)| {
        now_us += gap_us;
        match &mut frame {
            Frame::WebSocket(frame) => frame.relative_us = Some(now_us),
            Frame::Sse(event) => event.relative_us = Some(now_us),
        }
        frame
    };
    let frames = frames.into_iter().map(stamp).collect();
    (now_us, frames)
}

fn any_websocket() -> impl Strategy<Value = Made> {
    let ending = prop_oneof![
        Just((None, None)),
        Just((Some(EndedBy::Client), Some(1000))),
        prop_oneof![Just(1000), Just(1005), Just(1006), Just(1011), Just(4999)].prop_map(|code| (Some(EndedBy::Server), Some(code))),
    ];
    (proptest::collection::vec(any_frame(), 0..14), ending, 0u64..5_000, "[ -~é]{0,30}").prop_map(|(frames, (by, code), gap_us, reason)| {
        let (now_us, frames) = stamped(frames);
        let mut made = Made::websocket(&[], by, None, now_us + gap_us);
        if let StreamTail::WebSocket { close_code, close_reason, .. } = &mut made.tail.stream {
            *close_code = code;
            *close_reason = Some(reason).filter(|_| code.is_some_and(|code| code != 1005 && code != 1006));
        }
        Made { frames, ..made }
    })
}

/// The data messages of one side, as they were recorded.
fn messages(made: &Made, wanted: Direction) -> Vec<Said> {
    let message = |frame: &Frame| match frame {
        Frame::WebSocket(frame) if frame.direction == wanted && matches!(frame.kind, FrameType::Text | FrameType::Binary) => {
            Some((frame.relative_us.unwrap(), frame.kind, frame.payload().unwrap()))
        }
        _ => None,
    };
    made.frames.iter().filter_map(message).collect()
}

fn ending(made: &Made) -> Option<(u64, Finale)> {
    let StreamTail::WebSocket { close_code, close_reason, closed_by: Some(EndedBy::Server), end_relative_us } = &made.tail.stream else {
        return None;
    };
    let finale = match close_code {
        Some(1006) => Finale::Drop,
        Some(1005) | None => Finale::Close { code: None, reason: String::new() },
        code => Finale::Close { code: *code, reason: close_reason.clone().unwrap_or_default() },
    };
    Some((end_relative_us.unwrap(), finale))
}

fn any_event() -> impl Strategy<Value = (u64, Frame)> {
    // What a parser of event streams can hand over: no CR anywhere, names on one line.
    let line = || any_text().prop_map(|text| text.replace(['\r', '\n', '\0'], " "));
    let lines = || any_text().prop_map(|text| text.replace('\r', "\n"));
    let fields = (
        proptest::option::of(prop_oneof![Just("message".to_owned()), line().prop_filter("an empty type is none", |kind| !kind.is_empty())]),
        proptest::option::weighted(0.8, lines()),
        proptest::option::of(line()),
        proptest::option::of(any::<u64>()),
        proptest::option::of(lines()),
    );
    (prop_oneof![Just(0), 0u64..100_000_000], fields).prop_map(|(gap_us, (kind, data, id, retry, comment))| {
        let kind = data.as_ref().map(|_| kind.unwrap_or_else(|| "message".to_owned()));
        let comment = comment.or_else(|| (data.is_none() && id.is_none() && retry.is_none()).then(String::new));
        (gap_us, Frame::Sse(SseEvent { kind, data, id, retry, comment, ..SseEvent::default() }))
    })
}

fn any_stream() -> impl Strategy<Value = Made> {
    let head = (0u64..1_000_000, "(GET|POST|PUT)", 200u16..600, proptest::collection::vec(("X-[A-Za-z]{1,8}", "[!-~]{0,12}"), 0..5));
    let ended_by = proptest::option::of(prop_oneof![Just(EndedBy::Server), Just(EndedBy::Client)]);
    (head, proptest::collection::vec(any_event(), 0..14), ended_by, 0u64..5_000).prop_map(|(head, mut frames, by, gap_us)| {
        let (head_us, method, status, fields) = head;
        if let Some((gap_us, _)) = frames.first_mut() {
            *gap_us += head_us;
        }
        let (now_us, frames) = stamped(frames);
        let mut made = Made::sse(Some(head_us), frames, by, now_us.max(head_us) + gap_us);
        if let StreamHead::Sse { request, response_status, response_headers, .. } = &mut made.head.stream {
            request.method = method;
            *response_status = if crate::model::mock_http::is_bodiless(status) { 200 } else { status };
            fields.into_iter().for_each(|(name, value)| response_headers.add_header(&name, value));
        }
        made
    })
}

/// Plays an event stream: what was sent, when, and when it ended.
fn show(mock: Arc<SseMock>) -> (Vec<(u64, Vec<u8>)>, Option<u64>) {
    let mut show = EventShow::new(mock, None);
    show.start(START_US);
    let mut now_us = show.head_due_us().unwrap() - START_US;
    let mut sent = vec![(now_us, Vec::new())];
    loop {
        match show.next(at(now_us)) {
            Act::Write(bytes) => sent.push((now_us, bytes)),
            Act::Sleep { until_us } => now_us = until_us - START_US,
            Act::Wait => return (sent, None),
            Act::End(finale) => {
                assert_eq!(finale, Finale::EndStream);
                return (sent, Some(now_us));
            }
        }
    }
}

/// Bytes that were sent at one moment, as one.
fn joined(pieces: impl IntoIterator<Item = (u64, Vec<u8>)>) -> Vec<(u64, Vec<u8>)> {
    let mut joined: Vec<(u64, Vec<u8>)> = Vec::new();
    for (due_us, bytes) in pieces {
        match joined.last_mut() {
            Some((last_us, last)) if *last_us == due_us => last.extend(bytes),
            _ => joined.push((due_us, bytes)),
        }
    }
    joined
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_client_that_says_what_was_said_gets_what_was_sent_when_it_was_sent(made in any_websocket(), format in "(json|yaml)") {
        let text = made.convert(&json!({"format": format}).to_string()).unwrap().0;
        let client = Client::Timed(messages(&made, Direction::ClientToServer));
        let (said, ended) = converse(talk_of(mock_of(&text, &format)), &client);
        prop_assert_eq!(said, messages(&made, Direction::ServerToClient));
        prop_assert_eq!(ended, ending(&made));
    }

    #[test]
    fn without_client_messages_the_server_speaks_for_itself(made in any_websocket(), talks in any::<bool>()) {
        let text = made.convert(r#"{"includeClientMessages":false}"#).unwrap().0;
        let client = Client::Timed(if talks { messages(&made, Direction::ClientToServer) } else { Vec::new() });
        let (said, ended) = converse(talk_of(mock_of(&text, "json")), &client);
        prop_assert_eq!(said, messages(&made, Direction::ServerToClient));
        prop_assert_eq!(ended, ending(&made));
    }

    #[test]
    fn simpler_timing_changes_no_message(made in any_websocket(), deduplicates in any::<bool>()) {
        let options = json!({"simplifyTiming": true, "maxDelay": 100, "deduplicateMessages": deduplicates});
        let text = made.convert(&options.to_string()).unwrap().0;
        let (mut wanted, mut asked): (Vec<Said>, _) = (Vec::new(), Vec::new());
        let mut follows = false;
        for frame in &made.frames {
            let Frame::WebSocket(frame) = frame else { unreachable!() };
            let (kind, payload) = (frame.kind, frame.payload().unwrap());
            match (frame.direction, kind) {
                (_, FrameType::Ping | FrameType::Pong | FrameType::Close) => {}
                (Direction::ClientToServer, _) => {
                    asked.push((wanted.len(), kind, payload));
                    follows = false;
                }
                (Direction::ServerToClient, _) => {
                    let repeats = follows && wanted.last().is_some_and(|last| (last.1, &last.2) == (kind, &payload));
                    if !(deduplicates && repeats) {
                        wanted.push((0, kind, payload));
                    }
                    follows = true;
                }
            }
        }
        let most_us = 100_000 * (wanted.len() as u64 + 1);
        let (said, ended) = converse(talk_of(mock_of(&text, "json")), &Client::Reactive(asked));
        prop_assert!(said.iter().all(|said| said.0 <= most_us));
        let said: Vec<Said> = said.into_iter().map(|(_, kind, payload)| (0, kind, payload)).collect();
        prop_assert_eq!(said, wanted);
        prop_assert_eq!(ended.map(|ended| ended.1), ending(&made).map(|ended| ended.1));
    }

    #[test]
    fn an_event_stream_sends_the_recorded_bytes_when_they_were_sent(made in any_stream(), format in "(json|yaml)") {
        let (text, left_out) = made.convert(&json!({"format": format}).to_string()).unwrap();
        prop_assert_eq!(left_out, Vec::<String>::new());
        let (method, mock) = stream_of(mock_of(&text, &format));
        let StreamHead::Sse { request, response_status, response_headers, head_relative_us } = &made.head.stream else { unreachable!() };
        prop_assert_eq!(method.as_ref(), Some(&request.method));
        prop_assert_eq!(mock.status, *response_status);
        for (name, value) in response_headers.iter() {
            prop_assert!(mock.headers.iter().any(|field| field == (name, value)), "{name}: {value}");
        }
        let (sent, ended) = show(mock);
        let recorded = made.frames.iter().map(|frame| match frame {
            Frame::Sse(event) => (event.relative_us.unwrap(), event.canonical()),
            Frame::WebSocket(_) => unreachable!(),
        });
        let head = (head_relative_us.unwrap(), Vec::new());
        prop_assert_eq!(joined(sent), joined(std::iter::once(head).chain(recorded)));
        let wanted = match &made.tail.stream {
            StreamTail::Sse { ended_by: Some(EndedBy::Server), end_relative_us, .. } => *end_relative_us,
            _ => None,
        };
        prop_assert_eq!(ended, wanted);
    }
}
