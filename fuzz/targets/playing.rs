//! Replays: a script made from the input, played by inputs made from it. Every byte goes out once, in order, and nothing is counted twice.

use std::sync::Arc;

use mockd::model::recording::{Frame, FrameType};
use mockd::model::recording_text;
use mockd::model::replay::{Advance, Matching, Mode, OnEnd, ReplayOptions, ReplayStatus};
use mockd::rules::matching::Matcher;
use mockd::rules::player::{Player, Turn};
use mockd::rules::script::{Script, ScriptBuilder};
use serde_json::{Value, json};

/// The bytes of an input as choices; zeros when there are no more.
struct Choices<'a>(&'a [u8]);

impl Choices<'_> {
    fn below(&mut self, end: u64) -> u64 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        u64::from(*first) % end
    }

    /// A time of any size.
    fn time(&mut self) -> u64 {
        match self.below(16) {
            0 => u64::MAX - self.below(3),
            1 => 1 << (self.below(64)),
            more => more * self.below(256) * 50,
        }
    }
}

fn script(choices: &mut Choices<'_>) -> Option<Script> {
    let is_ws = choices.below(2) == 0;
    let mut at_us = 0u64;
    let frames: Vec<Value> = (0..choices.below(12))
        .map(|number| {
            at_us = if choices.below(12) == 0 { choices.time() } else { at_us.saturating_add(choices.below(200)) };
            if is_ws {
                let kind = ["text", "text", "binary", "ping", "pong", "close"][choices.below(6) as usize];
                let direction = ["s2c", "c2s", "s2c"][choices.below(3) as usize];
                json!({"direction": direction, "type": kind, "data": if kind == "binary" { "AAEC" } else { ["a", "{\"id\":\"abcdefgh\"}", "ok"][choices.below(3) as usize] }, "relativeUs": at_us})
            } else if choices.below(4) == 0 {
                json!({"comment": "keep-alive", "relativeUs": at_us})
            } else {
                json!({"type": "message", "data": format!("token\n{number}"), "id": number.to_string(), "relativeUs": at_us})
            }
        })
        .collect();
    let text = if is_ws {
        let code = [1000, 1005, 1006, 4000][choices.below(4) as usize];
        let by = ["server", "client"][choices.below(2) as usize];
        json!({"id": "x", "protocol": "websocket", "startTime": "2024-01-15T10:30:00Z", "websocket": {"frames": frames, "closeCode": code, "closedBy": by, "endRelativeUs": at_us.saturating_add(choices.below(99))}})
    } else {
        let by = ["server", "client"][choices.below(2) as usize];
        json!({"id": "x", "protocol": "sse", "startTime": "2024-01-15T10:30:00Z", "sse": {"events": frames, "headRelativeUs": choices.time(), "endedBy": by, "tail": "data: rest"}})
    };
    let recording = recording_text::parse(text.to_string().as_bytes()).expect("what is made here is a recording");
    let mut builder = ScriptBuilder::new(&recording.head);
    for frame in &recording.frames {
        builder.push(frame).expect("a frame with a time is taken");
        if let Frame::WebSocket(frame) = frame {
            assert!(frame.payload().is_some());
        }
    }
    Some(builder.finish(&recording.tail))
}

fn options(choices: &mut Choices<'_>) -> ReplayOptions {
    let mode = [Mode::Pure, Mode::Synchronized, Mode::Triggered][choices.below(3) as usize];
    let mut options = ReplayOptions { mode, ..ReplayOptions::default() };
    match mode {
        Mode::Pure => {
            options.timing_scale = [1.0, 0.0, 0.5, 1e-9, 1e300, 3.7][choices.below(6) as usize];
            options.skip_initial_delay = choices.below(2) == 1;
            options.max_gap_ms = [None, Some(0), Some(1), Some(u64::MAX)][choices.below(4) as usize];
            options.on_end = [OnEnd::Recorded, OnEnd::Close, OnEnd::KeepOpen, OnEnd::Loop][choices.below(4) as usize];
        }
        Mode::Synchronized => {
            options.matching = [Matching::Any, Matching::Strict, Matching::Json, Matching::Type][choices.below(4) as usize];
            options.correlate = if choices.below(2) == 0 { vec!["$.id".to_owned()] } else { Vec::new() };
            options.timeout_ms = [0, 1, 30_000, u64::MAX][choices.below(4) as usize];
            options.keep_timing = choices.below(2) == 1;
        }
        Mode::Triggered => options.auto_advance_on_connect = choices.below(2) == 1,
    }
    options
}

/// A replay.
pub fn player(data: &[u8]) {
    let mut choices = Choices(data);
    let Some(script) = script(&mut choices) else { return };
    let script = Arc::new(script);
    let options = options(&mut choices);
    let matcher = Matcher::new(options.matching, &options.ignore, Vec::new()).expect("no paths are ignored");
    let mut player = Player::new(Arc::clone(&script), options.clone(), matcher).expect("these options compile");
    let is_resumed = choices.below(4) == 0;
    if is_resumed {
        player.resume_after(&choices.below(14).to_string());
    }
    let mut now_us = if choices.below(8) == 0 { choices.time() } else { 1000 };
    player.start(now_us);
    let _head_due = player.head_due_us();
    let loops = options.on_end == OnEnd::Loop;
    let mut out = None;
    let (mut promised, mut steps) = (0, player.current_frame());
    for _ in 0..80 {
        for turn in 0..200 {
            match player.next(now_us) {
                Turn::Write { range, .. } => {
                    assert!(range.start <= range.end && range.end <= script.bytes.len());
                    // What goes out follows what went out before, or begins a round.
                    let follows = out.is_none_or(|out| range.start == out || (loops && range.start <= 3));
                    assert!(follows || options.mode == Mode::Synchronized, "{range:?} after {out:?}");
                    out = Some(range.end);
                    player.written(now_us);
                }
                Turn::WriteOwned { bytes, .. } => {
                    assert!(!bytes.is_empty());
                    player.written(now_us);
                }
                Turn::Sleep { until_us } => {
                    assert!(until_us > now_us, "it sleeps until {until_us} at {now_us}");
                    if choices.below(3) > 0 && until_us < u64::MAX / 2 {
                        now_us = until_us;
                        continue;
                    }
                    break;
                }
                Turn::Wait => break,
                Turn::End(_) => {
                    player.written(now_us);
                    assert!(matches!(player.next(now_us), Turn::Wait), "nothing follows the end");
                    break;
                }
            }
            assert!(turn < 199 || loops, "it spins");
        }
        assert!(player.current_frame() >= steps || loops, "a step is passed once");
        steps = player.current_frame();
        assert!(loops || steps <= player.total_frames());
        assert!(loops || player.frames_sent() <= player.total_frames());
        if player.status() == ReplayStatus::Complete {
            assert_eq!(player.current_frame(), player.total_frames());
        }
        if choices.0.is_empty() {
            return;
        }
        now_us = now_us.saturating_add(choices.below(250));
        match choices.below(8) {
            0 => drop(player.pause(now_us)),
            1 => drop(player.resume(now_us)),
            2 => {
                if let Ok(ticket) = player.advance(&Advance::Count(choices.below(4).max(1))) {
                    assert!(ticket.from <= ticket.upto && ticket.from >= promised && ticket.upto <= player.total_frames());
                    promised = ticket.upto;
                }
            }
            3 => {
                if let Ok(ticket) = player.advance(&Advance::Until(["a", "ok", "AAEC", "token\n3"][choices.below(4) as usize].to_owned())) {
                    promised = ticket.upto;
                }
            }
            4 if choices.below(16) == 0 => player.abort(now_us),
            _ => {
                let said = [&b"a"[..], b"ok", b"{\"id\":\"ABCDEFGH\"}", b"\xff"][choices.below(4) as usize];
                player.client(if choices.below(4) == 0 { FrameType::Binary } else { FrameType::Text }, said, now_us);
            }
        }
        player.take_judged();
    }
}
