//! Sides of a relayed WebSocket that leave while the other takes nothing: one that comes back to its bytes gets them all, one that never
//! does holds nothing for ever.

use serde_json::json;

use super::stage::{Side, Stage};
use crate::support::stuck::{push_until_relay_sticks, reset};
use crate::support::wait::eventually;
use crate::support::ws::{BINARY, CLOSE, close_payload, frame};
use crate::support::{Conn, http};

/// How a side leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Leave {
    Close,
    Reset,
    HalfClose,
}

/// The header of a binary frame of more than 64 KiB.
fn header_of(length: usize, mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut header = vec![0x80 | BINARY, if mask.is_some() { 0xff } else { 0x7f }];
    header.extend((length as u64).to_be_bytes());
    header.extend(mask.into_iter().flatten());
    header
}

/// A relay waited for ever between a side that had gone and one that read nothing: its threads, its descriptors, and a recording that
/// never ended. An end in good order is seen where no bytes are stuck before it.
#[test]
fn a_relay_whose_sender_has_gone_and_whose_receiver_takes_nothing_ends() {
    let stage = Stage::with(|server| server.flag("--record").flag("*").option("--stall-timeout", 300));
    let before = stage.threads_and_descriptors();
    let (mut ended, mut met) = (Vec::new(), Vec::new());
    for side in [Side::RelayClient, Side::RelayUpstream] {
        for leave in [Leave::Close, Leave::Reset, Leave::HalfClose] {
            let path = format!("{leave:?}");
            met.push((side, leave, stage.meet(side, &path)));
            ended.push((side, path));
        }
    }
    // All at once: each takes its time until it is stuck. Those that are still there are kept, and do nothing further.
    let leaving = met.into_iter().map(|(side, leave, met)| {
        std::thread::spawn(move || {
            let (mut peer, other) = (met.peer.conn, met.other.expect("a relay has two sides"));
            // One frame that does not come to its end: it costs the recorder little.
            peer.send(header_of(64 << 20, side.mask()));
            push_until_relay_sticks(&mut peer, &[0; 65_536]);
            match leave {
                Leave::Close => drop(peer),
                Leave::Reset => reset(peer),
                Leave::HalfClose => {
                    peer.shut_write();
                    return (other, Some(peer));
                }
            }
            (other, None)
        })
    });
    let leaving = leaving.collect::<Vec<_>>();
    let silent = leaving.into_iter().map(|thread| thread.join().expect("it leaves")).collect::<Vec<_>>();
    for (side, path) in ended {
        let websocket = &stage.recording(&format!("{}/{path}", side.folder()))["websocket"];
        let by = if side == Side::RelayUpstream { "server" } else { "client" };
        assert_eq!((&websocket["closeCode"], &websocket["closedBy"]), (&json!(1006), &json!(by)), "{side:?} {path}");
    }
    // The bystander's is the only stream that is left.
    eventually("the end of all relays", || {
        let metrics = http::ask(stage.server.admin, "GET", "/metrics", &[], b"").text();
        metrics.contains("\nmockd_streams 1\n").then_some(())
    });
    stage.check_nothing_left(before);
    stage.check_log();
    drop(silent);
}

/// A receiver that took nothing for two seconds (a breakpoint, a machine that slept) was given up when its sender had left, in the middle of
/// a frame.
#[test]
fn a_receiver_that_pauses_when_its_sender_has_left_loses_nothing() {
    let stage = Stage::with(|server| server.option("--idle-timeout", 3_000));
    let leaving = [Side::RelayClient, Side::RelayUpstream].map(|side| {
        let met = stage.meet(side, "pause");
        std::thread::spawn(move || {
            let (mut peer, other) = (met.peer.conn, met.other.expect("a relay has two sides").conn);
            let message = frame(0x80 | BINARY, side.mask(), &[7; 65_000]);
            let close = frame(0x80 | CLOSE, side.mask(), &close_payload(1000, "bye"));
            let sent = push_until_relay_sticks(&mut peer, &message);
            let rest = [&message[sent % message.len()..], &close].concat();
            peer.send(&rest);
            (side, other, sent + rest.len(), close)
        })
    });
    // The senders leave, and the receivers take nothing for as long as the server bears a connection that is idle.
    let paused = leaving.map(|thread| thread.join().expect("it leaves"));
    assert_eq!(Conn::open(stage.server.mock).read_to_end(), b"");
    for (side, mut other, sent, close) in paused {
        let got = other.read_to_end();
        assert_eq!((got.len(), got.ends_with(&close)), (sent, true), "{side:?}");
    }
    stage.check_log();
}
