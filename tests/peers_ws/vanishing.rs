//! Ends in the middle of something: a reset or a half-closed socket within a head, a frame, a message, a closing handshake. The other
//! side hears of it, the recording says 1006, and nothing is left behind.

use std::net::Shutdown;

use serde_json::json;

use super::stage::{SIDES, Side, Stage};
use crate::support::Conn;
use crate::support::stuck::reset;
use crate::support::ws::{CLOSE, Raw, TEXT, close_payload, frame};

/// What a peer has said when it vanishes: its bytes, how many at their end are a header that is not all there (which a relay keeps to
/// itself), and how many whole messages they are.
fn last_words(mask: Option<[u8; 4]>) -> Vec<(&'static str, Vec<u8>, usize, usize)> {
    let text = frame(0x80 | TEXT, mask, b"whole");
    let then = |more: &[u8]| [&text, more].concat();
    // Four bytes of a close frame are its header without a mask, or half of it with one.
    let (close, cut) = (frame(0x80 | CLOSE, mask, &close_payload(1000, "bye")), if mask.is_some() { 4 } else { 0 });
    vec![
        ("nothing", Vec::new(), 0, 0),
        ("message", text.clone(), 0, 1),
        ("half-a-frame", then(&text[..text.len() - 2]), 0, 1),
        ("half-a-header", then(&frame(0x82, mask, &[7; 300])[..3]), 3, 1),
        ("half-a-message", then(&frame(TEXT, mask, b"to be")), 0, 1),
        ("half-a-close", then(&close[..4]), cut, 1),
    ]
}

#[test]
fn a_peer_that_vanishes_in_the_middle_of_something_is_told_of_and_recorded_as_1006() {
    let mut stage = Stage::with(|server| server.flag("--record").flag("*"));
    let before = stage.threads_and_descriptors();
    let mut expected = Vec::new();
    for side in SIDES {
        for (name, bytes, kept, messages) in last_words(side.mask()) {
            for resets in [false, true] {
                let path = format!("{name}-{resets}");
                let mut met = stage.meet(side, &path);
                met.peer.conn.send(&bytes);
                match &mut met.other {
                    // It has all that was sent before the end comes, which a reset would overtake.
                    Some(other) => {
                        let passes = &bytes[..bytes.len() - kept];
                        assert_eq!(other.conn.exact(passes.len()), passes, "{side:?} {path}");
                    }
                    // The mock has said so.
                    None if side == Side::Mock && messages > 0 => met.peer.run("expect text whole"),
                    None => {}
                }
                if resets {
                    reset(met.peer.conn)
                } else {
                    drop(met.peer)
                }
                if let Some(mut other) = met.other {
                    assert_eq!(other.try_frame(), None, "{side:?} {path}: it ends as it did, without a close frame");
                }
                expected.push((side, path, messages));
            }
        }
    }
    stage.check_bystander("all that vanished");
    for (side, path, messages) in expected {
        let recording = stage.recording(&format!("{}/{path}", side.folder()));
        let websocket = &recording["websocket"];
        let by = if side == Side::RelayUpstream { "server" } else { "client" };
        assert_eq!((&recording["status"], &websocket["closeCode"]), (&json!("complete"), &json!(1006)), "{side:?} {path}: {recording}");
        assert_eq!(websocket["closedBy"], by, "{side:?} {path}");
        let direction = if by == "client" { "c2s" } else { "s2c" };
        let heard = websocket["frames"].as_array().unwrap().iter().filter(|frame| frame["direction"] == direction).count();
        // A reset may overtake what was sent to mockd itself and not read yet.
        assert!(heard == messages || (!side.is_relay() && side != Side::Mock && heard <= messages), "{side:?} {path}: {websocket}");
    }
    stage.check_nothing_left(before);
    stage.check_log();
}

/// A half-closed socket is a WebSocket's end: without a closing handshake nothing more can follow from there.
#[test]
fn a_half_closed_socket_is_the_end_of_a_websocket() {
    let mut stage = Stage::with(|server| server.flag("--record").flag("*"));
    let before = stage.threads_and_descriptors();
    for side in SIDES {
        let mut met = stage.meet(side, "half");
        met.peer.send(TEXT, "last");
        met.peer.conn.stream.shutdown(Shutdown::Write).expect("the connection is open");
        if let Some(mut other) = met.other.take() {
            other.run("expect text last\nend");
        }
        // Echoes and replayed frames aside, its own reading half ends too.
        met.peer.rest();
        let websocket = &stage.recording(&format!("{}/half", side.folder()))["websocket"];
        assert_eq!(websocket["closeCode"], 1006, "{side:?} {websocket}");
    }
    stage.check_nothing_left(before);
    stage.check_bystander("half-closed ones");
    stage.check_log();
}

/// A closing handshake that one side resets in the middle has ended with the close frame that did pass.
#[test]
fn a_reset_after_a_close_frame_keeps_its_code() {
    let stage = Stage::with(|server| server.flag("--record").flag("*"));
    for (side, by) in [(Side::RelayClient, "client"), (Side::RelayUpstream, "server"), (Side::Mock, "client")] {
        let mut met = stage.meet(side, "closing");
        met.peer.send(CLOSE, close_payload(4321, "and away"));
        match &mut met.other {
            Some(other) => other.run("expect close 4321 and away"),
            None => met.peer.run("expect close 4321 and away"),
        }
        reset(met.peer.conn);
        if let Some(other) = &mut met.other {
            other.expect_end();
        }
        let websocket = &stage.recording(&format!("{}/closing", side.folder()))["websocket"];
        let end = (&websocket["closeCode"], &websocket["closeReason"], &websocket["closedBy"]);
        assert_eq!(end, (&json!(4321), &json!("and away"), &json!(by)), "{side:?}");
    }
    stage.check_log();
}

/// Heads that end before they are whole, on either side of a mock port that has other clients.
#[test]
fn a_handshake_that_is_reset_leaves_nothing() {
    let mut stage = Stage::with(|server| server);
    let before = stage.threads_and_descriptors();
    let head = "GET /mock/x HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    for at in (1..=head.len()).step_by(11) {
        for path in ["/mock/x", "/client/x", "/pure/x"] {
            let mut conn = Conn::open(stage.server.mock);
            conn.send(&head.replace("/mock/x", path)[..at]);
            if at % 2 == 0 { reset(conn) } else { drop(conn) }
        }
    }
    // Those of the relay that were whole have reached the upstream, which hears of their end.
    let mut last = Conn::open(stage.server.mock);
    last.send(head.replace("/mock/x", "/client/last"));
    loop {
        let mut raw: Raw = stage.upstream_end();
        if raw.head.target() == "/client/last" {
            drop(last);
            assert_eq!(raw.try_frame(), None);
            break;
        }
        assert_eq!(raw.try_frame(), None, "it is told of the end");
    }
    stage.check_nothing_left(before);
    stage.check_bystander("resets");
    stage.check_log();
}
