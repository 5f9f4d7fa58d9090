//! Conversations as data for the player: scripts of times and inputs, and the turns that must come.

use std::sync::Arc;

use super::{Finale, Player, Turn};
use crate::base::limits;
use crate::model::recording::FrameType;
use crate::model::replay::{Advance, ReplayOptions, ReplayStatus};
use crate::rules::matching::Matcher;
use crate::rules::script::Script;
use crate::rules::script::samples::{event_stream, websocket};

/// A player of a script with options as the API takes them.
pub(super) fn player(script: &Arc<Script>, options: &str) -> Player {
    let options = ReplayOptions::from_json(&serde_json::from_str(options).unwrap()).unwrap();
    let matcher = Matcher::new(options.matching, &options.ignore, Vec::new()).unwrap();
    Player::new(Arc::clone(script), options, matcher).unwrap()
}

/// Wire bytes in words: frames as `hi`, pings as `<p>`; events by their data.
pub(super) fn words(script: &Script, bytes: &[u8]) -> String {
    if script.protocol == crate::model::recording::Protocol::Sse {
        return String::from_utf8_lossy(bytes).replace("\n\n", "|").replace('\n', "/");
    }
    let mut out = Vec::new();
    let mut rest = bytes;
    while let [first, len, tail @ ..] = rest {
        let text = String::from_utf8_lossy(&tail[..usize::from(*len)]);
        out.push(if *first == 0x89 { format!("<{text}>") } else { text.into_owned() });
        rest = &tail[usize::from(*len)..];
    }
    out.join(" ")
}

/// The next turn in words. What is to be written is confirmed at once.
pub(super) fn turn(player: &mut Player, script: &Script, now_us: u64) -> String {
    let late = |due_us: Option<u64>| due_us.map_or(String::new(), |due_us| format!(" due {due_us}"));
    let said = match player.next(now_us) {
        Turn::Write { range, due_us } => format!("write {}{}", words(script, &script.bytes[range]), late(due_us)),
        Turn::WriteOwned { bytes, due_us } => format!("owned {}{}", words(script, &bytes), late(due_us)),
        Turn::Sleep { until_us } => return format!("sleep {until_us}"),
        Turn::Wait => return "wait".to_owned(),
        Turn::End(Finale::Close { code, reason }) => {
            format!("close {} {reason}", code.map_or_else(|| "-".to_owned(), |code| code.to_string()))
        }
        Turn::End(Finale::Drop) => "drop".to_owned(),
        Turn::End(Finale::EndStream) => "end".to_owned(),
        Turn::End(Finale::Fail(error)) => format!("fail {} step {}", error.code, error.step),
    };
    player.written(now_us);
    said
}

/// Plays lines of `time input → turns`, where an input is one of `start`, `next`, `client x`, `binary x`, `pause`, `resume`, `advance n`,
/// `until x`, `abort`. After each the turns up to the first sleep or wait are compared, then status and counters.
pub(super) fn play(player: &mut Player, script: &Script, lines: &[(u64, &str, &[&str], &str)]) {
    for (now_us, input, turns, state) in lines {
        let (verb, rest) = input.split_once(' ').unwrap_or((input, ""));
        match verb {
            "start" => player.start(*now_us),
            "client" => player.client(FrameType::Text, rest.as_bytes(), *now_us),
            "binary" => player.client(FrameType::Binary, rest.as_bytes(), *now_us),
            "pause" => player.pause(*now_us).unwrap(),
            "resume" => player.resume(*now_us).unwrap(),
            "advance" => drop(player.advance(&Advance::Count(rest.parse().unwrap())).unwrap()),
            "until" => drop(player.advance(&Advance::Until(rest.to_owned())).unwrap()),
            "abort" => player.abort(*now_us),
            _ => {}
        }
        let mut said = Vec::new();
        loop {
            said.push(turn(player, script, *now_us));
            if said.last().is_some_and(|turn| turn == "wait" || turn.starts_with("sleep")) {
                break;
            }
        }
        assert_eq!(said, *turns, "at {now_us}, {input}");
        let counters =
            format!("{} {}/{} sent {}", player.status().word(), player.current_frame(), player.total_frames(), player.frames_sent());
        assert_eq!(counters, *state, "at {now_us}, {input}");
    }
}

pub(super) fn chat() -> Arc<Script> {
    Arc::new(websocket(
        &[
            (100, "s2c text welcome"),
            (150, "s2c ping p"),
            (200, "c2s text login"),
            (300, "s2c text ok"),
            (400, "c2s text get"),
            (500, "s2c text data"),
            (500, "s2c text more"),
            (550, "s2c ping q"),
            (600, "s2c close "),
        ],
        Some((4001, "bye", 700)),
    ))
}

/// The same, left to the client to end.
pub(super) fn open_chat() -> Arc<Script> {
    Arc::new(websocket(&[(100, "s2c text a"), (200, "c2s text x"), (300, "s2c text b"), (400, "s2c ping p")], None))
}

pub(super) fn events() -> Arc<Script> {
    Arc::new(event_stream(50, &[(100, "a", "1"), (200, "", ""), (300, "b", "2"), (400, "", "")], Some((500, "data: c"))))
}

#[test]
fn pure_keeps_the_recorded_times() {
    let script = chat();
    play(
        &mut player(&script, "{}"),
        &script,
        &[
            (1000, "next", &["wait"], "pending 0/5 sent 0"),
            (1000, "start", &["sleep 1100"], "playing 0/5 sent 0"),
            (1100, "next", &["write welcome due 1100", "sleep 1150"], "playing 1/5 sent 1"),
            (1120, "client anything", &["sleep 1150"], "playing 1/5 sent 1"),
            (1155, "next", &["write <p> due 1150", "sleep 1300"], "playing 1/5 sent 1"),
            (1300, "next", &["write ok due 1300", "sleep 1500"], "playing 2/5 sent 2"),
            (1501, "next", &["write data more due 1500", "sleep 1550"], "playing 4/5 sent 4"),
            (1550, "next", &["write <q> due 1550", "sleep 1600"], "playing 4/5 sent 4"),
            (1600, "next", &["close 4001 bye", "wait"], "complete 5/5 sent 5"),
            (1700, "abort", &["wait"], "complete 5/5 sent 5"),
        ],
    );
}

#[test]
fn a_late_call_sends_all_that_is_due_in_one_write() {
    let script = open_chat();
    let mut late = player(&script, "{}");
    play(
        &mut late,
        &script,
        &[(0, "start", &["sleep 100"], "playing 0/2 sent 0"), (900, "next", &["write a b <p> due 100", "wait"], "complete 2/2 sent 2")],
    );
    assert_eq!(late.frames_received(), 0);
}

#[test]
fn a_ping_after_the_last_step_keeps_its_own_time_in_pure_mode() {
    let script = open_chat();
    play(
        &mut player(&script, r#"{"initialDelay":"none"}"#),
        &script,
        &[
            (7, "start", &["write a due 7", "sleep 207"], "playing 1/2 sent 1"),
            (207, "next", &["write b due 207", "sleep 307"], "complete 2/2 sent 2"),
            (307, "next", &["write <p> due 307", "wait"], "complete 2/2 sent 2"),
        ],
    );
}

#[test]
fn a_scale_of_zero_sends_everything_at_once() {
    let script = chat();
    let turns: &[&str] = &["write welcome <p> ok data more <q>", "close 4001 bye", "wait"];
    play(&mut player(&script, r#"{"timingScale":0}"#), &script, &[(5, "start", turns, "complete 5/5 sent 5")]);
}

#[test]
fn long_silences_are_cut_the_one_before_the_ending_too() {
    let script = Arc::new(websocket(&[(9_000_000, "s2c text a"), (9_500_000, "s2c text b")], Some((1005, "", 60_000_000))));
    play(
        &mut player(&script, r#"{"maxGap":1000}"#),
        &script,
        &[
            (0, "start", &["sleep 1000000"], "playing 0/3 sent 0"),
            (1_000_000, "next", &["write a due 1000000", "sleep 1500000"], "playing 1/3 sent 1"),
            (1_500_000, "next", &["write b due 1500000", "sleep 2500000"], "playing 2/3 sent 2"),
            (2_500_000, "next", &["close - ", "wait"], "complete 3/3 sent 3"),
        ],
    );
}

#[test]
fn a_pause_stops_the_clock() {
    let script = open_chat();
    play(
        &mut player(&script, "{}"),
        &script,
        &[
            (0, "start", &["sleep 100"], "playing 0/2 sent 0"),
            (100, "next", &["write a due 100", "sleep 300"], "playing 1/2 sent 1"),
            (150, "pause", &["wait"], "paused 1/2 sent 1"),
            (900, "pause", &["wait"], "paused 1/2 sent 1"),
            (1150, "resume", &["sleep 1300"], "playing 1/2 sent 1"),
            (1150, "resume", &["sleep 1300"], "playing 1/2 sent 1"),
            (1300, "next", &["write b due 1300", "sleep 1400"], "complete 2/2 sent 2"),
        ],
    );
}

#[test]
fn a_pause_in_the_middle_of_a_write_ends_with_resume() {
    let script = open_chat();
    let mut player = player(&script, "{}");
    player.start(0);
    assert!(matches!(player.next(100), Turn::Write { .. }));
    player.pause(150).unwrap();
    assert_eq!(player.status(), ReplayStatus::Paused);
    player.resume(250).unwrap();
    assert_eq!(player.status(), ReplayStatus::Playing);
    player.written(260);
    assert_eq!((player.status(), player.frames_sent()), (ReplayStatus::Playing, 1));
    assert_eq!(player.next(260), Turn::Sleep { until_us: 400 });
}

#[test]
fn what_happens_after_the_last_step_can_be_chosen() {
    for (options, turns, state) in [
        (r#"{"timingScale":0,"onEnd":"close"}"#, &["write welcome <p> ok data more <q>", "close 1000 ", "wait"][..], "complete 4/4 sent 4"),
        (r#"{"timingScale":0,"onEnd":"keepOpen"}"#, &["write welcome <p> ok data more <q>", "wait"], "complete 4/4 sent 4"),
    ] {
        let script = chat();
        play(&mut player(&script, options), &script, &[(5, "start", turns, state)]);
    }
    let script = open_chat();
    play(
        &mut player(&script, r#"{"onEnd":"close"}"#),
        &script,
        &[
            (0, "start", &["sleep 100"], "playing 0/2 sent 0"),
            (100, "next", &["write a due 100", "sleep 300"], "playing 1/2 sent 1"),
            (300, "next", &["write b due 300", "close 1000 ", "wait"], "complete 2/2 sent 2"),
        ],
    );
}

#[test]
fn a_loop_begins_again_after_the_recorded_duration() {
    let script = Arc::new(websocket(&[(100, "s2c text a"), (5_000, "s2c text b")], Some((1000, "", 10_000))));
    play(
        &mut player(&script, r#"{"onEnd":"loop","timingScale":0.5}"#),
        &script,
        &[
            (1000, "start", &["sleep 1050"], "playing 0/2 sent 0"),
            (3500, "next", &["write a b due 1050", "sleep 6000"], "playing 2/2 sent 2"),
            (6000, "next", &["sleep 6050"], "playing 0/2 sent 2"),
            (6050, "next", &["write a due 6050", "sleep 8500"], "playing 1/2 sent 3"),
            (11_060, "next", &["write b due 8500", "write a due 11050", "sleep 13500"], "playing 1/2 sent 5"),
        ],
    );
}

#[test]
fn a_loop_of_no_length_does_not_spin() {
    let script = Arc::new(websocket(&[(0, "s2c text a")], None));
    play(
        &mut player(&script, r#"{"onEnd":"loop","timingScale":0}"#),
        &script,
        &[(0, "start", &["write a", "sleep 1000"], "playing 1/1 sent 1"), (1000, "next", &["write a", "sleep 2000"], "playing 1/1 sent 2")],
    );
    let silent = Arc::new(websocket(&[], None));
    play(&mut player(&silent, r#"{"onEnd":"loop"}"#), &silent, &[(0, "start", &["wait"], "playing 0/0 sent 0")]);
}

#[test]
fn a_looped_stream_has_one_byte_order_mark() {
    let mut script = event_stream(0, &[(0, "a", "")], None);
    script.bytes.splice(0..0, *b"\xef\xbb\xbf");
    if let crate::rules::script::Entry::Server { wire, .. } = &mut script.entries[0] {
        wire.end += 3;
    }
    let script = Arc::new(script);
    let mut looped = player(&script, r#"{"onEnd":"loop"}"#);
    play(
        &mut looped,
        &script,
        &[
            (0, "start", &["write \u{feff}data: a| due 0", "sleep 1000"], "playing 1/1 sent 1"),
            (1000, "next", &["write data: a| due 1000", "sleep 2000"], "playing 1/1 sent 2"),
        ],
    );
}

#[test]
fn a_recording_without_steps_is_complete_at_once() {
    let script = Arc::new(websocket(&[], None));
    for mode in ["pure", "synchronized", "triggered"] {
        let options = format!(r#"{{"mode":"{mode}"}}"#);
        play(&mut player(&script, &options), &script, &[(0, "start", &["wait"], "complete 0/0 sent 0")]);
    }
}

#[test]
fn an_event_stream_ends_when_it_ended() {
    let script = events();
    let mut pure = player(&script, "{}");
    play(
        &mut pure,
        &script,
        &[
            (0, "start", &["sleep 100"], "playing 0/2 sent 0"),
            (100, "next", &["write id: 1/data: a| due 100", "sleep 200"], "playing 1/2 sent 1"),
            (350, "next", &["write : ping|id: 2/data: b| due 200", "sleep 400"], "complete 2/2 sent 2"),
            (400, "next", &["write : ping| due 400", "sleep 500"], "complete 2/2 sent 2"),
            (500, "next", &["write data: c", "end", "wait"], "complete 2/2 sent 2"),
        ],
    );
    assert_eq!(pure.head_due_us(), Some(50));
    for (options, due_us) in [
        (r#"{"timingScale":2}"#, Some(100)),
        (r#"{"initialDelay":"none"}"#, Some(0)),
        (r#"{"maxGap":0}"#, Some(0)),
        (r#"{"mode":"synchronized"}"#, None),
        (r#"{"mode":"triggered"}"#, None),
    ] {
        assert_eq!(player(&script, options).head_due_us(), due_us, "{options}");
    }
}

#[test]
fn an_event_stream_goes_at_once_when_the_request_matches() {
    let script = events();
    let all: &[&str] = &["write id: 1/data: a|: ping|id: 2/data: b|: ping|", "write data: c", "end", "wait"];
    let mut strict = player(&script, r#"{"mode":"synchronized","strictMatching":true}"#);
    assert_eq!(strict.request(Some(b"body"), false, b"body"), Ok(()));
    play(&mut strict, &script, &[(0, "start", all, "complete 2/2 sent 2")]);

    let mut strict = player(&script, r#"{"mode":"synchronized","strictMatching":true}"#);
    let error = strict.request(Some(b"body"), false, b"other").unwrap_err();
    assert_eq!(
        (error.code.as_str(), error.expected.as_deref(), error.actual.as_deref()),
        ("ErrMatchMismatch", Some("body"), Some("other"))
    );
    play(&mut strict, &script, &[(0, "start", &["wait"], "error 0/2 sent 0")]);

    let mut timed = player(&script, r#"{"mode":"synchronized","keepTiming":true}"#);
    play(
        &mut timed,
        &script,
        &[
            (10, "start", &["sleep 110"], "playing 0/2 sent 0"),
            (310, "next", &["write id: 1/data: a|: ping|id: 2/data: b| due 110", "sleep 410"], "complete 2/2 sent 2"),
            (510, "next", &["write : ping| due 410", "write data: c", "end", "wait"], "complete 2/2 sent 2"),
        ],
    );
}

#[test]
fn a_client_that_comes_back_gets_what_follows() {
    let script = events();
    let mut pure = player(&script, "{}");
    pure.resume_after("1");
    assert_eq!(pure.head_due_us(), None);
    play(
        &mut pure,
        &script,
        &[
            (1000, "start", &["sleep 1100"], "playing 1/2 sent 0"),
            (1100, "next", &["write : ping| due 1100", "sleep 1200"], "playing 1/2 sent 0"),
            (1200, "next", &["write id: 2/data: b| due 1200", "sleep 1300"], "complete 2/2 sent 1"),
        ],
    );
    let mut unknown = player(&script, "{}");
    unknown.resume_after("9");
    play(&mut unknown, &script, &[(0, "start", &["sleep 100"], "playing 0/2 sent 0")]);
    let mut triggered = player(&script, r#"{"mode":"triggered","autoAdvanceOnConnect":true}"#);
    triggered.resume_after("1");
    let rest: &[&str] = &["write : ping|id: 2/data: b|: ping|", "write data: c", "end", "wait"];
    play(&mut triggered, &script, &[(0, "start", rest, "complete 2/2 sent 1")]);
}

#[test]
fn large_writes_are_cut_between_frames() {
    let big = format!("s2c text {}", "x".repeat(limits::MAX_WRITE_BYTES * 2 / 5));
    let huge = format!("s2c text {}", "x".repeat(limits::MAX_WRITE_BYTES * 2));
    let script = Arc::new(websocket(&[(0, &big), (0, &big), (0, &big), (0, &huge), (0, "s2c text end")], None));
    let mut player = player(&script, "{}");
    player.start(0);
    let mut steps = Vec::new();
    while let Turn::Write { range, .. } = player.next(0) {
        player.written(0);
        steps.push((range.len() > limits::MAX_WRITE_BYTES, player.current_frame()));
    }
    assert_eq!(steps, [(false, 2), (false, 3), (true, 4), (false, 5)]);
}
