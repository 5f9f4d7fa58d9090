//! Floods of what the standard allows: pings, pongs, empty fragments, single bytes, frames after the close. Each goes on as long as the
//! peer likes, in memory that does not grow with it, and others are served meanwhile.

use super::stage::{OWN, SIDES, Side, Stage};
use crate::support::Conn;
use crate::support::effort::rounds;
use crate::support::ws::{CLOSE, PING, PONG, TEXT, close_payload, frame};

/// Growth that a flood may cause at most, whatever its length.
const GENEROUS: u64 = 48 << 20;

/// A million under torture.
fn count() -> usize {
    rounds(5_000, 1_000_000) as usize
}

/// A flood of `unit` from the peer's side; what mockd answers is read meanwhile, as a client does that is not there to stall.
fn flood(stage: &mut Stage, side: Side, name: &str, first: &[u8], unit: &[u8], last: &[u8], expected: &str) {
    let before = stage.server_bytes();
    let met = stage.meet(side, name);
    let (mut peer, other) = (met.peer, met.other);
    let chunk = unit.repeat(500);
    let bytes: Vec<u8> = [first, &chunk.repeat(count() / 500), last].concat();
    let mut writer = Conn::over(peer.conn.stream.try_clone().expect("a second handle"));
    let sending = std::thread::spawn(move || bytes.chunks(64 * 1024).for_each(|part| writer.send(part)));
    let watched = other.as_ref().map_or(expected, |_| expected);
    let mut reader = other.unwrap_or_else(|| {
        // The peer itself hears the answers.
        std::mem::replace(&mut peer, stage.meet(Side::Mock, "unused").peer)
    });
    let mut frames = 0_u64;
    loop {
        let frame = reader.frame();
        frames += 1;
        if frame.words() == watched {
            break;
        }
    }
    sending.join().expect("all of it is taken");
    stage.check_bystander(name);
    let grown = stage.server_bytes().saturating_sub(before);
    assert!(grown < GENEROUS, "{side:?} {name}: {grown} bytes more are resident");
    println!("{name} at {side:?}: {} units, {frames} frames on the other side, {grown} bytes more resident", count());
}

#[test]
fn pings_and_pongs_without_end_are_answered_or_passed_in_bounded_memory() {
    let mut stage = Stage::with(|server| server);
    for side in SIDES {
        for opcode in [PING, PONG] {
            let unit = frame(0x80 | opcode, side.mask(), b"p");
            // A last ping whose payload is known: a relay passes it, mockd itself answers it.
            let (last, expected) = match side.is_relay() {
                true => (frame(0x80 | PING, side.mask(), b"last"), "ping last"),
                // Who takes no pongs may be owed some; this one comes when all before it have been taken in.
                false => (frame(0x80 | CLOSE, side.mask(), &close_payload(1000, "last")), "close 1000 last"),
            };
            flood(&mut stage, side, &format!("opcode-{opcode}"), b"", &unit, &last, expected);
        }
    }
    stage.check_log();
}

#[test]
fn empty_fragments_without_end_are_one_message() {
    let mut stage = Stage::with(|server| server);
    for side in SIDES {
        let first = frame(TEXT, side.mask(), b"be");
        let unit = frame(0, side.mask(), b"");
        let tail = frame(0x80, side.mask(), b"gun");
        let last = [tail, frame(0x80 | CLOSE, side.mask(), &close_payload(1000, "last"))].concat();
        flood(&mut stage, side, "fragments", &first, &unit, &last, "close 1000 last");
    }
    // The mock echoes it whole.
    let mut peer = stage.meet(Side::Mock, "whole").peer;
    let mask = Side::Mock.mask();
    peer.conn.send([frame(TEXT, mask, b"be"), frame(0, mask, b"").repeat(5000), frame(0x80, mask, b"gun")].concat());
    assert_eq!(peer.words(1), ["text begun"]);
    stage.check_log();
}

/// Pings to a client that takes nothing are answered no more than what it is owed fits a buffer.
#[test]
fn pongs_that_nobody_takes_are_not_kept() {
    let mut stage = Stage::with(|server| server.option("--stall-timeout", 600_000));
    for side in OWN {
        let before = stage.server_bytes();
        let mut peer = stage.meet(side, "pings").peer;
        let unit = frame(0x80 | PING, side.mask(), &[b'p'; 125]).repeat(500);
        // More pongs than the socket holds; whether all pings are taken is the server's matter.
        peer.conn.stream.set_write_timeout(Some(std::time::Duration::from_millis(300))).expect("a time-out can be set");
        let taken = (0..rounds(100, 3000)).take_while(|_| std::io::Write::write_all(&mut peer.conn.stream, &unit).is_ok()).count();
        let grown = stage.server_bytes().saturating_sub(before);
        assert!(grown < GENEROUS, "{side:?}: {grown} bytes more are resident");
        stage.check_bystander("pings");
        println!("unread pongs at {side:?}: {} pings taken, {grown} bytes more resident", taken * 500);
    }
    stage.check_log();
}

/// Nothing after a close frame is heard, however much there is of it; a relay passes it on, for both endpoints to see.
#[test]
fn what_comes_after_a_close_is_not_heard() {
    let mut stage = Stage::with(|server| server);
    for side in OWN {
        let mut peer = stage.meet(side, "after").peer;
        let mask = side.mask();
        let close = frame(0x80 | CLOSE, mask, &close_payload(3000, "enough"));
        let after =
            [frame(0x80 | TEXT, mask, b"more"), frame(0x80 | PING, mask, b"?"), frame(0x80 | CLOSE, mask, b""), vec![0xff; 9]].concat();
        peer.conn.send([close, after].concat());
        assert_eq!(peer.rest(), ["close 3000 enough"], "{side:?}");
        stage.check_bystander("a close");
    }
    let met = stage.meet(Side::RelayClient, "after");
    let (mut peer, mut other) = (met.peer, met.other.unwrap());
    peer.run("send close 3000 enough\nsend text more");
    other.run("expect close 3000 enough\nexpect text more\nsend text still\nsend close 3000 enough\nsend text even now");
    peer.run("expect text still\nexpect close 3000 enough\nexpect text even now");
    // Both have closed: after a second nobody is waited for.
    peer.expect_end();
    other.expect_end();
    stage.check_log();
}

/// A close frame of mockd's own that nobody answers is waited for a second; so is the end of TCP.
#[test]
fn a_close_that_is_never_answered_ends_all_the_same() {
    let mut stage = Stage::with(|server| server.flag("--record").flag("*"));
    let before = stage.threads_and_descriptors();
    let mut kept = Vec::new();
    for side in OWN {
        let mut peer = stage.meet(side, "unanswered").peer;
        peer.send(3, "");
        peer.run("expect close 1002 a frame has an unknown opcode\nend");
        // It does nothing further, and keeps its end open.
        kept.push(peer);
    }
    stage.check_nothing_left(before);
    stage.check_bystander("an unanswered close");
    drop(kept);
}
