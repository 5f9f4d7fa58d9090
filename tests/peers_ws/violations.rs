//! A table of all that RFC 6455 forbids a sender of frames, played to every side: what the offender gets, what the one beyond the relay
//! gets, and what the recording says. The words of the reasons are mockd's own and compared exactly.

use serde_json::json;

use super::stage::{OWN, SIDES, Side, Stage};
use crate::support::effort::{Dice, rounds};
use crate::support::ws::{BINARY, CLOSE, MASK, PING, PONG, TEXT, close_payload, frame};

/// The limit of a message on this stage.
const MAX_MESSAGE_BYTES: usize = 1000;

/// What a peer does, and what follows.
struct Case {
    name: String,
    /// Its frames; the last may be the beginning of one.
    frames: Vec<Vec<u8>>,
    /// How many of them are in order.
    good: usize,
    /// The close code and reason that a relay sends both sides; none: it is the endpoints' matter, and passes.
    relayed: Option<(u16, &'static str)>,
    /// Those that a mock and a replay send.
    own: (u16, &'static str),
}

/// A breach of the framing: the last of these frames is wrong, for everybody.
fn framing(name: impl Into<String>, code: u16, reason: &'static str, frames: Vec<Vec<u8>>) -> Case {
    Case { name: name.into(), good: frames.len() - 1, frames, relayed: Some((code, reason)), own: (code, reason) }
}

/// Frames whose content is wrong: a relay does not look at it.
fn content(name: impl Into<String>, code: u16, reason: &'static str, frames: Vec<Vec<u8>>) -> Case {
    Case { name: name.into(), good: frames.len(), frames, relayed: None, own: (code, reason) }
}

/// All cases, for a peer that should mask its frames with `mask`.
fn cases(mask: Option<[u8; 4]>) -> Vec<Case> {
    let fr = |first: u8, payload: &[u8]| frame(first, mask, payload);
    // The beginning of a frame with a length written out.
    let flag = if mask.is_some() { 0x80 } else { 0 };
    let long = |first: u8, marker: u8, length: &[u8]| {
        let mut bytes = vec![first, flag | marker];
        bytes.extend_from_slice(length);
        bytes.extend(mask.iter().flatten());
        bytes
    };
    let mut all = Vec::new();

    let (wrong_mask, reason) = match mask {
        Some(_) => (None, "a client's frame is not masked"),
        None => (Some(MASK), "a server's frame is masked"),
    };
    for (name, first) in [("text", 0x80 | TEXT), ("ping", 0x80 | PING), ("close", 0x80 | CLOSE)] {
        all.push(framing(format!("mask-of-{name}"), 1002, reason, vec![frame(first, wrong_mask, b"")]));
    }
    for bits in 1..8 {
        let reason = "a frame has a reserved bit set";
        all.push(framing(format!("reserved-bits-{bits}"), 1002, reason, vec![fr(0x80 | bits << 4 | TEXT, b"x")]));
        all.push(framing(format!("reserved-bits-{bits}-of-a-close"), 1002, reason, vec![fr(0x80 | bits << 4 | CLOSE, b"")]));
    }
    for opcode in [3, 4, 5, 6, 7, 11, 12, 13, 14, 15] {
        let reason = "a frame has an unknown opcode";
        // Of the control opcodes a fragment is wrong as well; what is unknown is said first.
        all.push(framing(format!("opcode-{opcode}"), 1002, reason, vec![fr(0x80 | opcode, b"")]));
        all.push(framing(format!("opcode-{opcode}-within"), 1002, reason, vec![fr(TEXT, b"x"), fr(0x80 | opcode, b"")]));
        all.push(framing(format!("opcode-{opcode}-not-final"), 1002, reason, vec![fr(opcode, b"")]));
    }
    for (name, first) in [("final", 0x80), ("open", 0x00)] {
        let reason = "a continuation without a message to continue";
        all.push(framing(format!("continuation-{name}"), 1002, reason, vec![fr(first, b"x")]));
    }
    for (name, first) in [("text", 0x80 | TEXT), ("binary", 0x80 | BINARY), ("open-text", TEXT), ("open-binary", BINARY)] {
        let reason = "a new message within a fragmented one";
        all.push(framing(format!("{name}-within"), 1002, reason, vec![fr(TEXT, b"x"), fr(0x89, b"between"), fr(first, b"y")]));
    }
    for opcode in [CLOSE, PING, PONG] {
        all.push(framing(format!("fragment-of-{opcode}"), 1002, "a control frame is fragmented", vec![fr(opcode, b"")]));
        let reason = "a control frame has more than 125 bytes";
        all.push(framing(format!("long-{opcode}"), 1002, reason, vec![fr(0x80 | opcode, &[b'x'; 126])]));
        all.push(framing(format!("very-long-{opcode}"), 1002, reason, vec![long(0x80 | opcode, 127, &[0, 0, 0, 0, 0, 1, 0, 0])]));
    }
    all.push(framing("close-of-one-byte", 1002, "a close frame has one byte of payload", vec![fr(0x80 | CLOSE, b"\x03")]));
    for (name, marker, length) in [
        ("16-bits", 126, &[0, 0][..]),
        ("16-bits-for-125", 126, &[0, 125]),
        ("64-bits", 127, &[0; 8]),
        ("64-bits-for-65535", 127, &[0, 0, 0, 0, 0, 0, 0xff, 0xff]),
    ] {
        let reason = "a frame's length is not in its shortest form";
        all.push(framing(format!("length-in-{name}"), 1002, reason, vec![long(0x82, marker, length)]));
    }
    for (name, length) in [("alone", [0x80, 0, 0, 0, 0, 0, 0, 0]), ("of-all", [0xff; 8])] {
        all.push(framing(format!("highest-bit-{name}"), 1002, "a frame's length has its highest bit set", vec![long(0x82, 127, &length)]));
    }

    let too_large = "the message is too large";
    all.push(framing("too-large", 1009, too_large, vec![fr(0x82, &[7; MAX_MESSAGE_BYTES + 1])]));
    all.push(framing("too-large-announced", 1009, too_large, vec![long(0x82, 127, &[0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])]));
    let fragments = [fr(BINARY, &[7; 600]), fr(0, &[7; 300]), fr(0x89, &[b'p'; 125]), fr(0, &[7; 100]), fr(0x80, b"x")];
    all.push(framing("too-large-in-fragments", 1009, too_large, fragments.to_vec()));

    let codes = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 1999, 2000, 2999, 5000, 9999, 32_768, 65_535];
    for code in codes {
        let reason = "a close frame must not have this code";
        all.push(content(format!("close-{code}"), 1002, reason, vec![fr(0x80 | CLOSE, &close_payload(code, "bye"))]));
    }
    for (name, text) in [
        ("lone", &b"\xff"[..]),
        ("continuation-byte", b"\x80"),
        ("overlong", b"\xc0\xaf"),
        ("overlong-3", b"\xe0\x80\xaf"),
        ("surrogate", b"\xed\xa0\x80"),
        ("beyond-unicode", b"\xf4\x90\x80\x80"),
        ("cut", b"caf\xc3"),
        ("cut-4", b"\xf0\x9f\x98"),
    ] {
        let reason = "a text message must be UTF-8";
        all.push(content(format!("text-{name}"), 1007, reason, vec![fr(0x80 | TEXT, text)]));
        let (front, back) = text.split_at(text.len() / 2);
        all.push(content(format!("text-{name}-in-fragments"), 1007, reason, vec![fr(TEXT, front), fr(0, b""), fr(0x80, back)]));
        let close = [&close_payload(1000, "")[..], text].concat();
        all.push(content(format!("close-reason-{name}"), 1007, "a close reason must be UTF-8", vec![fr(0x80 | CLOSE, &close)]));
    }
    all
}

fn stage() -> Stage {
    Stage::with(|server| server.option("--max-message-bytes", MAX_MESSAGE_BYTES).flag("--record").flag("*"))
}

#[test]
fn every_breach_of_the_framing_ends_both_sides_of_a_relay_and_what_is_content_passes() {
    let mut stage = stage();
    for side in SIDES.into_iter().filter(|side| side.is_relay()) {
        for case in cases(side.mask()) {
            relay(&mut stage, side, &case);
        }
    }
    stage.check_log();
}

fn relay(stage: &mut Stage, side: Side, case: &Case) {
    let what = format!("{}/{}", side.folder(), case.name);
    let met = stage.meet(side, &case.name);
    let (mut peer, mut other) = (met.peer, met.other.unwrap());
    peer.conn.send(case.frames.concat());
    for sent in &case.frames[..case.good] {
        assert_eq!(other.frame().bytes, *sent, "{what}: it passes as it is");
    }
    match case.relayed {
        Some((code, reason)) => {
            for (who, raw) in [("offender", &mut peer), ("other", &mut other)] {
                assert_eq!(raw.rest(), [format!("close {code} {reason}")], "{what}: the {who}");
            }
        }
        None => {
            other.run("send close 4000 enough");
            assert_eq!(peer.words(1), ["close 4000 enough"], "{what}: the relay goes on");
            drop((peer, other));
        }
    }
    stage.check_bystander(&case.name);
}

#[test]
fn every_breach_ends_the_connection_of_a_mock_and_of_a_replay_with_its_code() {
    let mut stage = stage();
    for side in OWN {
        for case in cases(side.mask()) {
            let what = format!("{}/{}", side.folder(), case.name);
            let mut peer = stage.meet(side, &case.name).peer;
            peer.conn.send(case.frames.concat());
            let got: Vec<String> = peer.rest().into_iter().filter(|words| !words.starts_with("pong")).collect();
            assert_eq!(got, [format!("close {} {}", case.own.0, case.own.1)], "{what}");
            stage.check_bystander(&case.name);
        }
    }
    stage.check_log();
    let replays = stage.server.get("/replay?all=true");
    for view in replays["replays"].as_array().unwrap() {
        assert_eq!((&view["status"], &view["statusReason"]), (&json!("aborted"), &json!("protocol_error")), "{view}");
    }
}

/// What the recordings of a few of them say: all that was in order, and that the protocol was broken.
#[test]
fn a_recording_says_who_broke_the_protocol_and_keeps_what_was_in_order() {
    let stage = stage();
    let names = ["too-large-in-fragments", "opcode-3-within", "close-999", "text-cut", "close-reason-lone", "text-within", "mask-of-text"];
    for side in SIDES {
        for case in cases(side.mask()).into_iter().filter(|case| names.contains(&case.name.as_str())) {
            let what = format!("{}/{}", side.folder(), case.name);
            let mut met = stage.meet(side, &case.name);
            met.peer.conn.send(case.frames.concat());
            let broken = if side.is_relay() { case.relayed } else { Some(case.own) };
            if broken.is_none() {
                for _ in &case.frames {
                    met.other.as_mut().unwrap().frame();
                }
            } else {
                met.peer.rest();
            }
            drop(met);
            let recording = stage.recording(&what);
            assert_eq!((&recording["status"], &recording["statusReason"]), (&json!("complete"), &json!(null)), "{what}: {recording}");
            let websocket = &recording["websocket"];
            if let Some((code, reason)) = broken {
                let end = (&websocket["closedBy"], &websocket["closeCode"], &websocket["closeReason"]);
                assert_eq!(end, (&json!("protocolError"), &json!(code), &json!(reason)), "{what}");
            } else {
                assert_ne!(websocket["closedBy"], "protocolError", "{what}");
            }
            // Pings and pongs aside, what was heard of the peer before it went wrong.
            let direction = if side == Side::RelayUpstream { "s2c" } else { "c2s" };
            let frames = websocket["frames"].as_array().unwrap();
            let heard = frames.iter().filter(|frame| frame["direction"] == direction && frame["type"] != "ping").count();
            let whole = usize::from(case.name.starts_with("close-") || case.name == "text-cut");
            assert_eq!(heard, whole, "{what}: {websocket}");
        }
    }
    stage.check_log();
}

/// Every code there is under torture, some by chance otherwise.
#[test]
fn a_close_code_is_answered_if_an_endpoint_may_send_it() {
    let mut stage = stage();
    let mut dice = Dice::new("close codes");
    let all = rounds(60, 65_536);
    for number in 0..all {
        let code = if all == 65_536 { number as u16 } else { dice.below(5200) as u16 };
        let side = *dice.pick(&OWN);
        let mut peer = stage.meet(side, "code").peer;
        peer.send(CLOSE, close_payload(code, "bye"));
        let may = matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999);
        let expected = if may { format!("close {code} bye") } else { "close 1002 a close frame must not have this code".to_owned() };
        assert_eq!(peer.rest(), [expected], "{side:?} {code}");
    }
    stage.check_bystander("codes");
    stage.check_log();
    println!("close codes: {all} tried");
}
