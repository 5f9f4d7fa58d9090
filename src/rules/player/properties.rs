//! What holds for the player whatever the times and inputs.

use std::sync::Arc;

use proptest::prelude::*;

use super::tests::{chat, player};
use super::{Mode, Pending, Place, Player, Turn};
use crate::base::limits;
use crate::model::recording::FrameType;
use crate::model::replay::{Advance, ReplayStatus};
use crate::rules::script::samples::websocket;
use crate::rules::script::{Entry, ItemKind};

/// What goes out in one write, found by a walk from entry to entry: where it ends, and the place behind it. `None` where nothing may go out.
fn walked(player: &Player, now_us: u64) -> Option<(usize, Place)> {
    let (script, mode) = (&player.script, player.options.mode);
    let allowed = if mode == Mode::Triggered { player.promised.saturating_sub(player.place.steps) } else { u64::MAX };
    let (mut place, mut start, mut end) = (player.place, None, 0);
    while let Some(entry) = script.entries.get(place.entry) {
        let Entry::Server { kind, due_us, wire, .. } = entry else {
            if mode == Mode::Synchronized {
                break;
            }
            place.entry += 1;
            continue;
        };
        let nothing_follows = place.steps >= script.server_steps && !player.ending_is_step();
        if mode == Mode::Triggered && place.steps - player.place.steps >= allowed && !(*kind == ItemKind::Ride && nothing_follows) {
            break;
        }
        let (due_us, mark) = player.due(&place.mark, *due_us);
        if due_us.is_some_and(|due_us| due_us > now_us) || start.is_some_and(|start| wire.end - start > limits::MAX_WRITE_BYTES) {
            break;
        }
        start.get_or_insert(wire.start);
        end = wire.end;
        place.steps += u64::from(*kind == ItemKind::Step);
        place.entry += 1;
        place.mark = mark;
    }
    start.map(|_| (end, place))
}

proptest! {
    /// Pure playback: all bytes, in order, none before its time, whatever the times at which it is asked.
    #[test]
    fn pure_playback_is_whole_in_order_and_never_early(
        gaps in proptest::collection::vec(0u64..5_000, 1..40), polls in proptest::collection::vec(0u64..3_000, 0..200), scale in 0u64..30,
        pause in 0usize..100,
    ) {
        let mut at_us = 0;
        let texts: Vec<(u64, String)> = gaps.iter().enumerate().map(|(k, gap)| {
            at_us += gap;
            (at_us, format!("s2c {} {k}", if k % 5 == 4 { "ping" } else { "text" }))
        }).collect();
        let lines: Vec<(u64, &str)> = texts.iter().map(|(at_us, line)| (*at_us, line.as_str())).collect();
        let script = Arc::new(websocket(&lines, None));
        let scale = scale as f64 / 10.0;
        let mut player = player(&script, &format!(r#"{{"timingScale":{scale}}}"#));
        player.start(0);
        let (mut out, mut now_us, mut paused_us) = (Vec::new(), 0, 0);
        for (index, poll) in polls.iter().chain(std::iter::once(&1_000_000_000)).enumerate() {
            now_us += poll;
            if index == pause && player.pause(now_us).is_ok() {
                prop_assert_eq!(player.next(now_us + 500), Turn::Wait);
                now_us += 1_000;
                paused_us = 1_000;
                player.resume(now_us).unwrap();
            }
            while let Turn::Write { range, .. } = player.next(now_us) {
                prop_assert_eq!(range.start, out.len());
                out.extend_from_slice(&script.bytes[range]);
                player.written(now_us);
            }
            for entry in &script.entries {
                if let crate::rules::script::Entry::Server { due_us, wire, .. } = entry {
                    let due_us = (*due_us as f64 * scale).round() as u64;
                    // What was due before the pause went out before it; the rest moves with it.
                    if now_us >= due_us + paused_us {
                        prop_assert!(wire.end <= out.len(), "late");
                    }
                    if now_us < due_us {
                        prop_assert!(wire.start >= out.len(), "early");
                    }
                }
            }
        }
        prop_assert_eq!(out, script.bytes.clone());
        prop_assert_eq!(player.status(), ReplayStatus::Complete);
    }

    /// A write ends where a walk over all entries would end it, and the clock stands where that would leave it.
    #[test]
    fn a_write_is_what_a_walk_over_its_entries_gives(
        lines in proptest::collection::vec((0u64..300, 0usize..8), 1..60), polls in proptest::collection::vec(0u64..2_000, 1..60),
        options in 0usize..8, ends in any::<bool>(),
    ) {
        let large = format!("s2c text {}", "x".repeat(limits::MAX_WRITE_BYTES * 2 / 5));
        let said = ["s2c text a", "s2c text b", "s2c ping p", "s2c ping q", "c2s text x", "c2s text y", "s2c binary AAE=", &large];
        let mut at_us = 0;
        let lines: Vec<(u64, &str)> = lines.iter().map(|(gap, line)| {
            // Some at one time, some after a silence.
            at_us += if *gap < 100 { 0 } else { *gap };
            (at_us, said[*line])
        }).collect();
        let script = Arc::new(websocket(&lines, ends.then_some((1000, "", at_us + 50))));
        let options = [
            "{}", r#"{"timingScale":0}"#, r#"{"timingScale":0.5,"initialDelay":"none"}"#, r#"{"maxGap":0}"#,
            r#"{"timingScale":0,"maxGap":0,"onEnd":"loop"}"#, r#"{"mode":"triggered"}"#, r#"{"mode":"synchronized"}"#,
            r#"{"mode":"synchronized","keepTiming":true}"#,
        ][options];
        let mut player = player(&script, options);
        player.start(0);
        let mut now_us = 0;
        for poll in polls {
            now_us += poll;
            for _ in 0..100 {
                let expected = walked(&player, now_us);
                match player.next(now_us) {
                    Turn::Write { range, .. } => {
                        let Some(Pending::Items(behind)) = player.pending else { panic!() };
                        // In a loop the walk may have stood at the end of a round.
                        if let Some((end, place)) = expected {
                            let due = |mark| player.due(mark, at_us + 1_000);
                            prop_assert_eq!((range.end, behind.steps), (end, place.steps));
                            prop_assert_eq!(due(&behind.mark), due(&place.mark), "{}", options);
                        }
                        player.written(now_us);
                    }
                    Turn::End(_) => player.written(now_us),
                    Turn::Sleep { .. } | Turn::Wait => {
                        prop_assert!(expected.is_none());
                        break;
                    }
                    Turn::WriteOwned { .. } => prop_assert!(false),
                }
            }
            match poll % 5 {
                0 => drop(player.advance(&Advance::Count(poll % 7 + 1))),
                1 | 2 => player.client(FrameType::Text, b"x", now_us),
                3 if player.pause(now_us).is_ok() => player.resume(now_us + 100).unwrap(),
                _ => {}
            }
        }
    }

    /// A session that correlates is sent what its frames are one by one, whatever goes out in one write, and writes are no larger than they may be.
    #[test]
    fn live_values_change_their_frames_and_no_other_byte(lines in proptest::collection::vec(0usize..7, 1..40), live in 0usize..3) {
        let live = ["LIVE-VALUE", "live", "a longer live value"][live];
        let large = |id: &str| format!("{{\"id\":\"{id}\",\"data\":\"{}\"}}", "x".repeat(limits::MAX_WRITE_BYTES * 2 / 5));
        let told = |line: usize, id: &str| match line {
            0 => format!("s2c text {{\"id\":\"{id}\"}}"),
            1 => format!("s2c text [\"{id}\", {{\"{id}\":\"of RECORDED-1\"}}]"),
            2 => "s2c text plain".to_owned(),
            3 => "s2c ping p".to_owned(),
            4 => "s2c binary AAE=".to_owned(),
            5 => format!("s2c text {}", large(id)),
            _ => "s2c text {\"id\":\"RECORDED-2\"}".to_owned(),
        };
        let texts: Vec<String> = std::iter::once("c2s text {\"id\":\"RECORDED-1\"}".to_owned()).chain(lines.iter().map(|line| told(*line, "RECORDED-1"))).collect();
        let said: Vec<String> = lines.iter().map(|line| told(*line, live)).collect();
        let timed = |texts: &[String]| websocket(&texts.iter().map(|text| (0, text.as_str())).collect::<Vec<_>>(), None);
        let script = Arc::new(timed(&texts));
        for _ in 0..2 {
            let mut player = player(&script, r#"{"mode":"synchronized","correlate":["$.id"]}"#);
            player.start(0);
            player.client(FrameType::Text, format!("{{\"id\":\"{live}\"}}").as_bytes(), 0);
            let mut out = Vec::new();
            loop {
                let (before, steps) = (out.len(), player.current_frame());
                match player.next(0) {
                    Turn::Write { range, .. } => out.extend_from_slice(&script.bytes[range]),
                    Turn::WriteOwned { bytes, .. } => {
                        out.extend_from_slice(&bytes);
                        player.give_back(bytes);
                    }
                    _ => break,
                }
                player.written(0);
                prop_assert!(out.len() - before <= limits::MAX_WRITE_BYTES || player.current_frame() == steps + 1);
            }
            prop_assert!(out == timed(&said).bytes);
            prop_assert_eq!(player.status(), ReplayStatus::Complete);
        }
    }

    /// No sequence of inputs makes it panic, spin, or lose its count.
    #[test]
    fn any_inputs_keep_the_player_whole(mode in 0..3usize, inputs in proptest::collection::vec((0u8..9, 0u64..400), 0..60)) {
        let script = chat();
        let mode = ["pure", "synchronized", "triggered"][mode];
        let mut player = player(&script, &format!(r#"{{"mode":"{mode}"}}"#));
        let mut now_us = 0;
        for (input, wait_us) in inputs {
            now_us += wait_us;
            match input {
                0 | 1 => player.start(now_us),
                2 => drop(player.pause(now_us)),
                3 => drop(player.resume(now_us)),
                4 => drop(player.advance(&Advance::Count(wait_us % 3 + 1))),
                5 => drop(player.advance(&Advance::Until("ok".to_owned()))),
                6 if wait_us > 390 => player.abort(now_us),
                _ => player.client(FrameType::Text, b"x", now_us),
            }
            for _ in 0..20 {
                if matches!(player.next(now_us), Turn::Sleep { .. } | Turn::Wait) {
                    break;
                }
                player.written(now_us);
            }
            let idle = matches!(player.next(now_us), Turn::Sleep { .. } | Turn::Wait);
            prop_assert!(idle);
            prop_assert!(player.current_frame() <= player.total_frames());
            prop_assert!(player.frames_sent() <= player.current_frame());
            prop_assert_eq!(player.status() == ReplayStatus::Complete, player.current_frame() == player.total_frames());
        }
    }
}
