//! Valid conversations, changed by chance: bytes flipped, cut, doubled, swapped, in pieces of any size, with an end at any moment. mockd
//! stays alive and whole; what it answers to each is for the tables in the other files.

use std::io::{Read, Write};

use super::stage::{SIDES, Side, Stage};
use crate::support::effort::{Dice, rounds};
use crate::support::ws::{BINARY, CLOSE, PING, PONG, Raw, TEXT, close_payload, frame};

/// A conversation in order: fragments, control frames between them, all lengths, a close now and then.
fn conversation(dice: &mut Dice, mask: Option<[u8; 4]>) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..=dice.below(6) {
        let length = *dice.pick(&[0_usize, 1, 5, 125, 126, 300, 4000, 70_000]);
        let payload = vec![b'a' + dice.below(26) as u8; length];
        let small = &payload[..length.min(125)];
        match dice.below(6) {
            0 => bytes.extend(frame(0x80 | BINARY, mask, &payload)),
            1 => bytes.extend(frame(0x80 | PING, mask, small)),
            2 => bytes.extend(frame(0x80 | PONG, mask, small)),
            3 => {
                let (front, back) = payload.split_at(length / 2);
                let parts = [frame(TEXT, mask, front), frame(0x80 | PING, mask, b"within"), frame(0x80, mask, back)];
                bytes.extend(parts.concat());
            }
            _ => bytes.extend(frame(0x80 | TEXT, mask, &payload)),
        }
    }
    if dice.once_in(3) {
        bytes.extend(frame(0x80 | CLOSE, mask, &close_payload(1000 + dice.below(20) as u16, "bye")));
    }
    bytes
}

/// The same with up to four things wrong; some stay as they are.
fn mutate(dice: &mut Dice, mut bytes: Vec<u8>) -> Vec<u8> {
    for _ in 0..dice.below(5) {
        if bytes.is_empty() {
            break;
        }
        // Headers stand at the front of frames, most of them near the front of all.
        let end = if dice.once_in(2) { bytes.len().min(20) } else { bytes.len() };
        let at = dice.below(end as u64) as usize;
        let until = at + dice.below((bytes.len() - at) as u64 + 1) as usize;
        match dice.below(6) {
            0 => bytes[at] ^= 1 << dice.below(8),
            1 => bytes[at] = dice.bits() as u8,
            2 => bytes.truncate(at),
            3 => drop(bytes.drain(at..until.min(at + 40))),
            4 => {
                let again = bytes[at..until.min(at + 200)].to_vec();
                bytes.splice(at..at, again);
            }
            _ => bytes.insert(at, dice.bits() as u8),
        }
    }
    bytes
}

/// Sends them in pieces, reads what comes in between, and ends one way or another. Nothing here is a failure: peers may end at any moment.
fn play(dice: &mut Dice, raw: &mut Raw, bytes: &[u8]) {
    let stream = &mut raw.conn.stream;
    stream.set_write_timeout(Some(std::time::Duration::from_millis(500))).expect("a time-out can be set");
    stream.set_nonblocking(false).expect("it can block");
    let mut rest = bytes;
    let mut scratch = [0; 32 * 1024];
    while !rest.is_empty() {
        let most = *dice.pick(&[1_u64, 7, 100, 5000, 100_000]);
        let length = (1 + dice.below(most)).min(rest.len() as u64) as usize;
        if stream.write_all(&rest[..length]).is_err() {
            return;
        }
        rest = &rest[length..];
        stream.set_nonblocking(true).expect("it need not block");
        // Whatever there is by now.
        drop(stream.read(&mut scratch).map(|_| ()));
        stream.set_nonblocking(false).expect("it can block");
    }
    match dice.below(3) {
        0 => drop(stream.shutdown(std::net::Shutdown::Write).map_err(|_| ())),
        1 => drop(stream.write_all(&frame(0x80 | CLOSE, Some([0; 4]), b"")).map_err(|_| ())),
        _ => {}
    }
}

#[test]
fn conversations_changed_by_chance_leave_a_server_that_is_alive_and_clean() {
    let mut stage = Stage::with(|server| server.flag("--record").flag("*").option("--max-message-bytes", 100_000));
    let before = stage.threads_and_descriptors();
    let mut dice = Dice::new("mutations");
    let all = rounds(200, 20_000);
    for number in 0..all {
        let side = *dice.pick(&SIDES);
        let met = stage.meet(side, "mutation");
        let (mut peer, mut other) = (met.peer, met.other);
        let good = conversation(&mut dice, side.mask());
        let bytes = mutate(&mut dice, good);
        play(&mut dice, &mut peer, &bytes);
        if let Some(other) = &mut other {
            let opposite = if side == Side::RelayClient { Side::RelayUpstream } else { Side::RelayClient };
            let good = conversation(&mut dice, opposite.mask());
            let bytes = mutate(&mut dice, good);
            play(&mut dice, other, &bytes);
        }
        if number % 50 == 0 {
            stage.check_bystander("some mutations");
        }
    }
    stage.check_bystander("all mutations");
    stage.check_nothing_left(before);
    stage.check_log();
    // What was recorded of them can be read.
    let listed = stage.server.get("/stream-recordings")["recordings"].as_array().unwrap().clone();
    for summary in listed.iter().take(50) {
        assert_ne!(summary["status"], "corrupted", "{summary}");
        assert_ne!(summary["statusReason"], "recorder_error", "{summary}");
        stage.server.recording(summary["id"].as_str().unwrap());
    }
    println!(
        "mutations: {all} tried, {} recorded, threads and descriptors before {before:?}, after {:?}",
        listed.len(),
        stage.threads_and_descriptors()
    );
}
