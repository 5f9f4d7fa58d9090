//! What holds for the player whatever the times and inputs.

use std::sync::Arc;

use proptest::prelude::*;

use super::Turn;
use super::tests::{chat, player};
use crate::model::recording::FrameType;
use crate::model::replay::{Advance, ReplayStatus};
use crate::rules::script::samples::websocket;

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
