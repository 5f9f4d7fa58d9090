//! Conversations with a live client or live calls: synchronized and triggered mode, as data.

use std::sync::Arc;

use super::Ticket;
use super::tests::{chat, events, open_chat, play, player};
use crate::model::recording::FrameType;
use crate::model::replay::{Advance, ReplayStatus};
use crate::rules::script::samples::{event_stream, websocket};

#[test]
fn synchronized_waits_for_each_client_message() {
    let script = chat();
    let mut player = player(&script, r#"{"mode":"synchronized","timeout":5}"#);
    play(
        &mut player,
        &script,
        &[
            (0, "start", &["write welcome", "sleep 5000"], "waiting 1/7 sent 1"),
            (4000, "client anything", &["write <p> ok", "sleep 9000"], "waiting 3/7 sent 2"),
            (9000, "next", &["fail ErrMatchTimeout step 4", "wait"], "error 3/7 sent 2"),
            (9001, "client late", &["wait"], "error 3/7 sent 2"),
            (9002, "abort", &["wait"], "error 3/7 sent 2"),
        ],
    );
    let error = player.error().unwrap();
    assert_eq!(error.message, "step 4: no client message came within 5 ms");
    assert_eq!((error.expected.as_deref(), error.actual.as_deref()), (Some("get"), None));
    assert_eq!(player.frames_received(), 2);
    assert_eq!(player.take_judged(), [(0, 2, None)]);
}

#[test]
fn early_messages_queue_and_extra_ones_are_ignored() {
    let script = chat();
    let mut player = player(&script, r#"{"mode":"synchronized","strictMatching":true,"timeout":0}"#);
    for text in ["login", "get", "extra"] {
        player.client(FrameType::Text, text.as_bytes(), 0);
    }
    assert_eq!((player.queued().messages, player.frames_received()), (2, 3));
    let turns: &[&str] = &["write welcome", "write <p> ok", "write data more <q>", "close 4001 bye", "wait"];
    play(&mut player, &script, &[(0, "start", turns, "complete 7/7 sent 5")]);
    assert_eq!(player.take_judged(), [(0, 2, Some(true)), (1, 4, Some(true))]);
    assert_eq!(player.take_judged(), []);
}

#[test]
fn a_mismatch_ends_the_replay() {
    let script = chat();
    let mut player = player(&script, r#"{"mode":"synchronized","strictMatching":true,"timeout":0}"#);
    play(
        &mut player,
        &script,
        &[
            (0, "start", &["write welcome", "wait"], "waiting 1/7 sent 1"),
            (1, "client Login", &["fail ErrMatchMismatch step 2", "wait"], "error 1/7 sent 1"),
        ],
    );
    let error = player.error().unwrap();
    assert_eq!((error.expected.as_deref(), error.actual.as_deref()), (Some("login"), Some("Login")));
    assert_eq!(player.take_judged(), [(0, 2, Some(false))]);
}

#[test]
fn a_type_can_be_all_that_must_match() {
    let script = open_chat();
    for (input, turns, state) in [
        ("client y", &["write b <p>", "wait"][..], "complete 3/3 sent 2"),
        ("binary x", &["fail ErrMatchMismatch step 2", "wait"], "error 1/3 sent 1"),
    ] {
        let mut player = player(&script, r#"{"mode":"synchronized","match":"type","timeout":0}"#);
        play(&mut player, &script, &[(0, "start", &["write a", "wait"], "waiting 1/3 sent 1"), (1, input, turns, state)]);
    }
}

#[test]
fn kept_timing_counts_from_the_client_message() {
    let script = chat();
    play(
        &mut player(&script, r#"{"mode":"synchronized","keepTiming":true,"timeout":0}"#),
        &script,
        &[
            (0, "start", &["write welcome", "wait"], "waiting 1/7 sent 1"),
            (5000, "client x", &["write <p> due 5000", "sleep 5100"], "playing 2/7 sent 1"),
            (5090, "client y", &["sleep 5100"], "playing 2/7 sent 1"),
            (5101, "next", &["write ok due 5100", "sleep 5190"], "playing 4/7 sent 2"),
            (5190, "next", &["write data more due 5190", "sleep 5240"], "playing 6/7 sent 4"),
            (5240, "next", &["write <q> due 5240", "sleep 5290"], "playing 6/7 sent 4"),
            (5290, "next", &["close 4001 bye", "wait"], "complete 7/7 sent 5"),
        ],
    );
}

#[test]
fn a_last_step_of_the_client_completes() {
    let script = Arc::new(websocket(&[(1, "s2c text a"), (2, "c2s text x"), (3, "s2c ping p")], None));
    play(
        &mut player(&script, r#"{"mode":"synchronized","timeout":0,"onEnd":"close"}"#),
        &script,
        &[
            (0, "start", &["write a", "wait"], "waiting 1/2 sent 1"),
            (1, "client x", &["write <p>", "close 1000 ", "wait"], "complete 2/2 sent 1"),
        ],
    );
}

#[test]
fn correlated_values_go_into_later_frames() {
    let script = Arc::new(websocket(
        &[(1, r#"c2s text {"id":1}"#), (2, "s2c text plain"), (3, r#"s2c text {"id":1}"#), (4, "s2c ping p"), (5, r#"s2c text {"id":2}"#)],
        None,
    ));
    play(
        &mut player(&script, r#"{"mode":"synchronized","correlate":["$.id"],"timeout":0}"#),
        &script,
        &[
            (0, "start", &["wait"], "waiting 0/4 sent 0"),
            (1, r#"client {"id":42}"#, &[r#"owned plain {"id":42} <p> {"id":2}"#, "wait"], "complete 4/4 sent 3"),
        ],
    );
    let script = Arc::new(event_stream(0, &[(1, r#"{"id":"request-1"}"#, "7")], Some((2, ""))));
    let mut player = player(&script, r#"{"mode":"synchronized","correlate":["$.id"]}"#);
    player.request(Some(br#"{"id":"request-1"}"#), false, br#"{"id":"r2"}"#).unwrap();
    play(&mut player, &script, &[(0, "start", &[r#"owned id: 7/data: {"id":"r2"}|"#, "end", "wait"], "complete 1/1 sent 1")]);
}

#[test]
fn triggered_sends_what_it_is_told() {
    let script = chat();
    let mut player = player(&script, r#"{"mode":"triggered"}"#);
    play(
        &mut player,
        &script,
        &[
            (0, "start", &["wait"], "waiting 0/5 sent 0"),
            (1, "client x", &["wait"], "waiting 0/5 sent 0"),
            (2, "advance 1", &["write welcome", "wait"], "waiting 1/5 sent 1"),
            (3, "until data", &["write <p> ok data", "wait"], "waiting 3/5 sent 3"),
            (4, "advance 1", &["write more", "wait"], "waiting 4/5 sent 4"),
            (5, "advance 9", &["write <q>", "close 4001 bye", "wait"], "complete 5/5 sent 5"),
        ],
    );
    assert_eq!(player.advance(&Advance::Count(1)), Ok(Ticket { from: 5, upto: 5 }));
    assert_eq!(player.advance(&Advance::Until("x".to_owned())), Ok(Ticket { from: 5, upto: 5 }));
}

#[test]
fn a_ping_after_the_last_step_goes_with_it() {
    let script = open_chat();
    play(
        &mut player(&script, r#"{"mode":"triggered","autoAdvanceOnConnect":true}"#),
        &script,
        &[(0, "start", &["write a", "wait"], "waiting 1/2 sent 1"), (1, "advance 1", &["write b <p>", "wait"], "complete 2/2 sent 2")],
    );
    let script = events();
    play(
        &mut player(&script, r#"{"mode":"triggered"}"#),
        &script,
        &[
            (0, "start", &["wait"], "waiting 0/2 sent 0"),
            (1, "advance 1", &["write id: 1/data: a|", "wait"], "waiting 1/2 sent 1"),
            (2, "advance 1", &["write : ping|id: 2/data: b|: ping|", "write data: c", "end", "wait"], "complete 2/2 sent 2"),
        ],
    );
}

#[test]
fn concurrent_advances_queue() {
    let script = chat();
    let mut player = player(&script, r#"{"mode":"triggered"}"#);
    player.start(0);
    let until = |text: &str| Advance::Until(text.to_owned());
    assert_eq!(player.advance(&Advance::Count(1)), Ok(Ticket { from: 0, upto: 1 }));
    assert_eq!(player.status(), ReplayStatus::Playing);
    assert_eq!(player.advance(&until("data")), Ok(Ticket { from: 1, upto: 3 }));
    let error = player.advance(&until("ok")).unwrap_err();
    assert_eq!(error.code(), "until_not_found", "it is promised to an earlier call");
    assert_eq!(player.advance(&until("bye")).unwrap_err().code(), "until_not_found", "the ending has no data");
    assert_eq!(player.advance(&Advance::Count(u64::MAX)), Ok(Ticket { from: 3, upto: 5 }));
    assert_eq!(player.advance(&Advance::Count(1)), Ok(Ticket { from: 5, upto: 5 }));
    let turns: &[&str] = &["write welcome <p> ok data more <q>", "close 4001 bye", "wait"];
    play(&mut player, &script, &[(0, "next", turns, "complete 5/5 sent 5")]);
}

#[test]
fn calls_that_do_not_fit_name_mode_and_status() {
    let script = chat();
    let mut pure = player(&script, "{}");
    let refused =
        |result: crate::base::error::Result<()>| result.map_err(|error| (error.code().to_owned(), error.to_string())).unwrap_err();
    let pair = |code: &str, message: &str| (code.to_owned(), message.to_owned());
    let pending = pair("replay_pending", "pause works while a replay plays; this session is pure, status pending");
    assert_eq!(refused(pure.pause(0)), pending);
    pure.start(0);
    let wrong = pair("wrong_mode", "advance works in triggered mode; this session is pure, status playing");
    assert_eq!(refused(pure.advance(&Advance::Count(1)).map(drop)), wrong);
    pure.abort(0);
    assert_eq!(refused(pure.resume(0)), pair("replay_ended", "resume works while a replay plays; this session is pure, status aborted"));
    let mut triggered = player(&script, r#"{"mode":"triggered"}"#);
    assert_eq!(refused(triggered.pause(0)).0, "wrong_mode");
    triggered.abort(0);
    assert_eq!(refused(triggered.advance(&Advance::Count(1)).map(drop)).0, "replay_ended");
}

#[test]
fn a_vanished_server_vanishes_again() {
    let script = Arc::new(websocket(&[(1, "s2c text a")], Some((1006, "", 9))));
    play(
        &mut player(&script, "{}"),
        &script,
        &[(0, "start", &["sleep 1"], "playing 0/2 sent 0"), (9, "next", &["write a due 1", "drop", "wait"], "complete 2/2 sent 2")],
    );
    play(
        &mut player(&script, r#"{"mode":"triggered"}"#),
        &script,
        &[(0, "start", &["wait"], "waiting 0/2 sent 0"), (1, "advance 2", &["write a", "drop", "wait"], "complete 2/2 sent 2")],
    );
}
