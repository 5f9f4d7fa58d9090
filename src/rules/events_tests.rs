//! Streams of mocks played on a clock that jumps: what is said when, and the bytes of it. No thread, no socket.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::model::mock_http::{SseLifecycle, SseTiming, Termination};
use crate::model::pairs::Pairs;

const START_US: u64 = 1_000_000;

fn event(data: &str) -> MockEvent {
    MockEvent { data: Some(EventData::Text(data.to_owned())), ..blank() }
}

fn blank() -> MockEvent {
    MockEvent { kind: None, data: None, id: None, retry: None, comment: None, delay_us: None, literal: false }
}

fn mock(events: Vec<MockEvent>) -> SseMock {
    let (timing, lifecycle) = (SseTiming::default(), SseLifecycle::default());
    SseMock { status: 200, headers: Pairs::default(), events, timing, lifecycle, resume: Default::default() }
}

fn letters(text: &str) -> Vec<MockEvent> {
    text.split(' ').map(event).collect()
}

fn ends(kind: TerminationKind, last_event: Option<MockEvent>, close_delay_us: u64) -> Termination {
    Termination { kind, last_event, close_delay_us }
}

/// Plays a stream on a clock that jumps, up to `until_us` after its start, which is late by `late_us` at every turn: what was said
/// and when, after the start. The data of events that leave together is joined by `+`.
fn play(mock: SseMock, after: Option<usize>, until_us: u64, late_us: u64) -> Vec<(u64, String)> {
    let mut show = EventShow::new(Arc::new(mock), after);
    show.start(START_US);
    let mut now_us = show.head_due_us().expect("an event stream has a head");
    let mut said = vec![(now_us - START_US, "head".to_owned())];
    while now_us <= START_US + until_us {
        let at = Moment { now_us: now_us + late_us, wall_us: 7_000_000, random: || u64::MAX / 2 };
        let words = match show.next(at) {
            Act::Write(bytes) => {
                let text = String::from_utf8(bytes).expect("text");
                let blocks: Vec<&str> = text.split_terminator("\n\n").map(|block| block.trim_start_matches("data: ")).collect();
                blocks.join("+")
            }
            Act::Sleep { until_us } => {
                assert!(until_us > at.now_us, "a sleep ends later");
                now_us = until_us;
                continue;
            }
            Act::Wait => {
                said.push((now_us - START_US, "wait".to_owned()));
                return said;
            }
            Act::End(finale) => format!("{finale:?}"),
        };
        let ended = words == "EndStream" || words == "Drop";
        said.push((now_us - START_US, words));
        if ended {
            assert_eq!(show.next(at), Act::Wait, "the end is the end");
            return said;
        }
    }
    said
}

#[track_caller]
fn assert_said(mock: SseMock, expected: &[(u64, &str)]) {
    let said = play(mock, None, 1_000_000, 0);
    assert_eq!(said.iter().map(|(us, words)| (*us, words.as_str())).collect::<Vec<_>>(), expected);
}

#[test]
fn delays_are_before_their_events_and_the_nearest_word_counts() {
    let head = (0, "head");
    assert_said(mock(vec![]), &[head, (0, "EndStream")]);
    assert_said(mock(letters("a b c")), &[head, (0, "a+b+c"), (0, "EndStream")]);
    let fixed = SseTiming { initial_delay_us: 50, fixed_delay_us: 100, ..SseTiming::default() };
    assert_said(SseMock { timing: fixed.clone(), ..mock(letters("a b")) }, &[(50, "head"), (150, "a"), (250, "b"), (250, "EndStream")]);
    let random = SseTiming { random_delay_us: Some((10, 20)), ..fixed };
    assert_said(SseMock { timing: random.clone(), ..mock(letters("a b")) }, &[(50, "head"), (65, "a"), (80, "b"), (80, "EndStream")]);
    let each = SseTiming { per_event_delays_us: vec![Some(1), None, Some(0)], ..random };
    let mut events = letters("a b c d e");
    events[0].delay_us = Some(7);
    events[4].delay_us = Some(1000);
    assert_said(
        SseMock { timing: each, ..mock(events) },
        &[(50, "head"), (57, "a"), (72, "b+c"), (87, "d"), (1087, "e"), (1087, "EndStream")],
    );
}

#[test]
fn late_events_leave_at_once_and_nothing_drifts() {
    let timing = SseTiming { fixed_delay_us: 100, ..SseTiming::default() };
    let said = play(SseMock { timing, ..mock(letters("a b c d e f")) }, None, 10_000, 250);
    // Each turn is 250 µs late: what has become due meanwhile leaves with it, the rest at its own time.
    let expected = [(0, "head"), (0, "a+b"), (300, "c+d+e"), (600, "f"), (600, "EndStream")];
    assert_eq!(said.iter().map(|(us, words)| (*us, words.as_str())).collect::<Vec<_>>(), expected);
}

#[test]
fn a_stream_ends_as_its_termination_says() {
    use TerminationKind::{Abrupt, Error, Graceful, KeepOpen};
    let bye = MockEvent { kind: Some("bye".to_owned()), ..event("x") };
    let late_bye = MockEvent { delay_us: Some(5), ..event("bye") };
    for (termination, expected) in [
        (ends(Graceful, None, 30), &[(0, "head"), (10, "a"), (40, "EndStream")][..]),
        (ends(Graceful, Some(late_bye.clone()), 30), &[(0, "head"), (10, "a"), (15, "bye"), (45, "EndStream")]),
        (ends(Abrupt, None, 0), &[(0, "head"), (10, "a"), (10, "Drop")]),
        (ends(Abrupt, None, 30), &[(0, "head"), (10, "a"), (40, "Drop")]),
        (ends(Error, Some(bye), 30), &[(0, "head"), (10, "a+event: bye\ndata: x"), (40, "Drop")]),
        (ends(KeepOpen, None, 30), &[(0, "head"), (10, "a"), (10, "wait")]),
    ] {
        let timing = SseTiming { fixed_delay_us: 10, ..SseTiming::default() };
        let lifecycle = SseLifecycle { termination, ..SseLifecycle::default() };
        assert_said(SseMock { timing, lifecycle, ..mock(letters("a")) }, expected);
    }
}

#[test]
fn a_life_has_limits() {
    let timing = SseTiming { initial_delay_us: 5, fixed_delay_us: 10, ..SseTiming::default() };
    let lasting = |timeout_us, max_events, kind| {
        let termination = ends(kind, (kind == TerminationKind::Graceful).then(|| event("bye")), 1);
        let lifecycle = SseLifecycle { timeout_us, max_events, termination, ..SseLifecycle::default() };
        let events = vec![event("a"), MockEvent { comment: Some("c".to_owned()), ..blank() }, event("b"), event("d")];
        SseMock { timing: timing.clone(), lifecycle, ..mock(events) }
    };
    let graceful = TerminationKind::Graceful;
    // Blocks without data do not count.
    assert_said(lasting(None, Some(2), graceful), &[(5, "head"), (15, "a"), (25, ": c"), (35, "b+bye"), (36, "EndStream")]);
    assert_said(lasting(None, Some(0), graceful), &[(5, "head"), (5, "bye"), (6, "EndStream")]);
    assert_said(lasting(Some(14), None, graceful), &[(5, "head"), (15, "a"), (19, "bye"), (20, "EndStream")]);
    // What is due with the end of the time still leaves.
    assert_said(lasting(Some(20), None, graceful), &[(5, "head"), (15, "a"), (25, ": c+bye"), (26, "EndStream")]);
    assert_said(lasting(Some(0), None, graceful), &[(5, "head"), (5, "bye"), (6, "EndStream")]);
    // One that would stay open ends with its time.
    let open = TerminationKind::KeepOpen;
    assert_said(lasting(Some(50), Some(1), open), &[(5, "head"), (15, "a"), (55, "EndStream")]);
    assert_said(lasting(Some(14), None, open), &[(5, "head"), (15, "a"), (19, "EndStream")]);
}

#[test]
fn silence_is_broken() {
    let alive = (100, ": keepalive");
    let lifecycle = SseLifecycle { keepalive_us: Some(100), ..SseLifecycle::default() };
    let timing = SseTiming { per_event_delays_us: vec![Some(250), Some(70), Some(110)], ..SseTiming::default() };
    assert_said(
        SseMock { timing, lifecycle: lifecycle.clone(), ..mock(letters("a b c")) },
        &[(0, "head"), alive, (200, ": keepalive"), (250, "a"), (320, "b"), (420, ": keepalive"), (430, "c"), (430, "EndStream")],
    );
    let kept_open = SseLifecycle { termination: ends(TerminationKind::KeepOpen, None, 0), timeout_us: Some(250), ..lifecycle.clone() };
    assert_said(SseMock { lifecycle: kept_open, ..mock(vec![]) }, &[(0, "head"), alive, (200, ": keepalive"), (250, "EndStream")]);
    let closing = SseLifecycle { termination: ends(TerminationKind::Graceful, None, 150), ..lifecycle };
    assert_said(SseMock { lifecycle: closing, ..mock(vec![]) }, &[(0, "head"), alive, (150, "EndStream")]);
}

#[test]
fn an_event_that_is_due_with_the_time_out_goes_out_before_the_end() {
    for (kind, end) in
        [(TerminationKind::KeepOpen, "EndStream"), (TerminationKind::Graceful, "EndStream"), (TerminationKind::Abrupt, "Drop")]
    {
        let lifecycle = SseLifecycle { termination: ends(kind, None, 0), timeout_us: Some(20), ..SseLifecycle::default() };
        let timing = SseTiming { fixed_delay_us: 10, ..SseTiming::default() };
        let show = SseMock { timing, lifecycle, ..mock(letters("a b c")) };
        assert_said(show.clone(), &[(0, "head"), (10, "a"), (20, "b"), (20, end)]);
        // A thread that is late finds all of it due at once.
        let late: Vec<_> = play(show, None, 1_000, 50).into_iter().map(|(_, words)| words).collect();
        assert_eq!(late, ["head", "a+b", end]);
    }
}

#[test]
fn who_comes_back_goes_on_after_the_event_that_came_last() {
    let timing = SseTiming { initial_delay_us: 500, per_event_delays_us: vec![Some(100), Some(200), Some(300)], ..SseTiming::default() };
    let mock = SseMock { timing, ..mock(letters("a b c")) };
    let expected = [(0, "head".to_owned()), (200, "b".to_owned()), (500, "c".to_owned()), (500, "EndStream".to_owned())];
    assert_eq!(play(mock.clone(), Some(0), 9_999, 0), expected);
    assert_eq!(play(mock, Some(2), 9_999, 0), [(0, "head".to_owned()), (0, "EndStream".to_owned())]);
}

fn written(events: Vec<MockEvent>) -> String {
    let mut show = EventShow::new(Arc::new(mock(events)), None);
    show.start(0);
    let mut text = String::new();
    while let Act::Write(bytes) = show.next(Moment { now_us: 0, wall_us: 7_900_000, random: || 1 }) {
        text.push_str(std::str::from_utf8(&bytes).expect("text"));
    }
    text
}

#[test]
fn events_are_written_in_one_form() {
    let full = MockEvent {
        kind: Some("update".to_owned()),
        id: Some("7".to_owned()),
        retry: Some(1500),
        comment: Some("one\ntwo".to_owned()),
        ..event("a\nb\n\nc")
    };
    assert_eq!(written(vec![full]), ": one\n: two\nevent: update\nid: 7\nretry: 1500\ndata: a\ndata: b\ndata: \ndata: c\n\n");
    assert_eq!(written(vec![event(""), MockEvent { retry: Some(5), ..blank() }]), "data: \n\nretry: 5\n\n");
}

#[test]
fn data_is_made_for_each_client() {
    let json = |value| MockEvent { data: Some(EventData::Json(value)), ..blank() };
    let value = json!({"z": "$timestamp", "a": ["$random(3,3)", "at $timestamp"]});
    let literal = MockEvent { literal: true, ..event("$uuid $timestamp") };
    assert_eq!(written(vec![event("now $timestamp"), literal]), "data: now 7\n\ndata: $uuid $timestamp\n\n");
    assert_eq!(written(vec![json(value.clone())]), "data: {\"z\":7,\"a\":[3,\"at 7\"]}\n\n");
    assert_eq!(
        written(vec![MockEvent { literal: true, ..json(value) }]),
        "data: {\"z\":\"$timestamp\",\"a\":[\"$random(3,3)\",\"at $timestamp\"]}\n\n"
    );
}

#[test]
fn a_chat_has_one_id() {
    let chunk = |token: &str, first, finish: Option<&str>| MockEvent {
        data: Some(EventData::ChatChunk {
            model: "gpt-4".to_owned(),
            token: token.to_owned(),
            first,
            finish_reason: finish.map(str::to_owned),
        }),
        ..blank()
    };
    let text = written(vec![chunk("Hi", true, None), chunk(" $uuid", false, Some("stop")), event("[DONE]")]);
    let front = "data: {\"id\":\"chatcmpl-00000000000000010000000000000001\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"gpt-4\",\"choices\":[{\"index\":0,\"delta\":";
    let expected = format!(
        "{front}{{\"role\":\"assistant\",\"content\":\"Hi\"}},\"finish_reason\":null}}]}}\n\n{front}{{\"content\":\" $uuid\"}},\"finish_reason\":\"stop\"}}]}}\n\ndata: [DONE]\n\n"
    );
    assert_eq!(text, expected);
}

#[test]
fn a_long_burst_leaves_in_parts() {
    let events: Vec<MockEvent> = (0..10).map(|_| event(&"x".repeat(limits::MAX_WRITE_BYTES / 3))).collect();
    let mut show = EventShow::new(Arc::new(mock(events)), None);
    show.start(0);
    let at = Moment { now_us: 0, wall_us: 0, random: || 0 };
    let mut writes = 0;
    while let Act::Write(bytes) = show.next(at) {
        assert!(bytes.len() <= limits::MAX_WRITE_BYTES * 4 / 3 + 99);
        writes += 1;
    }
    assert_eq!((writes, show.position()), (4, 10));
}

proptest! {
    /// Whatever the delays and however late the thread: every event once, in order, never before its time.
    #[test]
    fn every_event_in_order_and_never_early(delays in proptest::collection::vec(0u64..2_000, 0..20), late_us in 0u64..3_000, keepalive_us in proptest::option::of(0u64..900)) {
        let events: Vec<MockEvent> = delays.iter().enumerate().map(|(n, us)| MockEvent { delay_us: Some(*us), ..event(&n.to_string()) }).collect();
        let lifecycle = SseLifecycle { keepalive_us, ..SseLifecycle::default() };
        let said = play(SseMock { lifecycle, ..mock(events) }, None, u64::MAX / 2, late_us);
        let mut due_us = delays.iter().scan(0, |sum, us| { *sum += us; Some(*sum) });
        let mut number = 0;
        for (at_us, words) in &said[1..said.len() - 1] {
            for word in words.split('+').filter(|word| *word != ": keepalive") {
                prop_assert_eq!(word, number.to_string());
                prop_assert!(at_us + late_us >= due_us.next().unwrap_or(u64::MAX));
                number += 1;
            }
        }
        prop_assert_eq!(number, delays.len());
        prop_assert_eq!(said.last().map(|(_, words)| words.as_str()), Some("EndStream"));
    }
}
