//! Watches frames that are forwarded as they came: it reads headers, skips payloads, and copies nothing.

use super::frame::Rules;
use super::{Side, Violation, opcode};

/// What a scan of bytes found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// So many bytes from the front are good to forward; an incomplete header at the end, or a violation, stays behind.
    pub good: usize,
    /// Whether a frame ends exactly with the good bytes.
    pub at_boundary: bool,
    /// Whether a close frame ended within the good bytes.
    pub closed: bool,
    /// What stands after the good bytes, if it is wrong.
    pub violation: Option<Violation>,
}

/// Watches one direction of a relay: reads headers only, skips payloads. Checks reserved bits and opcodes, masking, the
/// shortest length form, control frames (final, at most 125 bytes, a close payload not of one byte), the order of fragments, and the
/// size of a message (all its fragments together).
#[derive(Debug)]
pub struct FrameGuard {
    rules: Rules,
    /// Payload bytes of the frame at hand that are still to come.
    left: u64,
    /// Whether the frame at hand is a close frame.
    is_close: bool,
}

impl FrameGuard {
    /// A guard at the beginning of a side's frames.
    pub fn new(side: Side, max_message_bytes: u64) -> Self {
        Self { rules: Rules::new(side, max_message_bytes), left: 0, is_close: false }
    }

    /// Looks at bytes that follow the good ones of the call before. After a violation it must not be called again.
    /// What follows a close frame is judged like any other frame: both endpoints will see it, and decide.
    pub fn scan(&mut self, bytes: &[u8]) -> Scan {
        // A frame whose header is good belongs to the good bytes, so between two frames is where `left` is 0.
        let mut scan = Scan { good: 0, at_boundary: false, closed: false, violation: None };
        loop {
            if self.left > 0 {
                let rest = (bytes.len() - scan.good) as u64;
                let skipped = self.left.min(rest);
                scan.good += skipped as usize;
                self.left -= skipped;
                if self.left > 0 {
                    break;
                }
                scan.closed |= self.is_close;
            }
            scan.good += self.rules.skip_small(&bytes[scan.good..]);
            match self.rules.read_header(&bytes[scan.good..]) {
                Ok(Some(header)) => {
                    scan.good += header.len;
                    self.left = header.payload_len;
                    self.is_close = header.opcode == opcode::CLOSE;
                    scan.closed |= self.is_close && self.left == 0;
                }
                Ok(None) => break,
                Err(violation) => {
                    scan.violation = Some(violation);
                    break;
                }
            }
        }
        scan.at_boundary = self.left == 0;
        scan
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{close_payload, push_frame};
    use super::*;

    fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        push_frame(&mut out, opcode, payload, None);
        out
    }

    fn fragment(opcode: u8, payload: &[u8]) -> Vec<u8> {
        let mut out = frame(opcode, payload);
        out[0] &= 0x7f;
        out
    }

    /// How many whole frames stand at the front of good bytes.
    fn frames_in(side: Side, bytes: &[u8]) -> u32 {
        let mut rules = Rules::new(side, u64::MAX);
        let (mut at, mut frames) = (0, 0);
        while let Ok(Some(header)) = rules.read_header(&bytes[at..]) {
            at += header.len + header.payload_len as usize;
            if at > bytes.len() {
                break;
            }
            frames += 1;
        }
        frames
    }

    /// Scans bytes that arrive in pieces of `step`, as a relay does: good bytes, whole frames in them, close, violation.
    fn relay(bytes: &[u8], step: usize) -> (Vec<u8>, u32, bool, Option<u16>) {
        let mut guard = FrameGuard::new(Side::Server, 1000);
        let (mut waiting, mut forwarded, mut closed) = (Vec::new(), Vec::new(), false);
        for part in bytes.chunks(step) {
            waiting.extend_from_slice(part);
            let scan = guard.scan(&waiting);
            forwarded.extend(waiting.drain(..scan.good));
            closed |= scan.closed;
            if let Some(violation) = scan.violation {
                return (forwarded.clone(), frames_in(Side::Server, &forwarded), closed, Some(violation.code));
            }
            assert!(waiting.len() < super::super::frame::MAX_HEADER_BYTES);
        }
        (forwarded.clone(), frames_in(Side::Server, &forwarded), closed, None)
    }

    #[test]
    fn sequences_are_judged() {
        let text = frame(opcode::TEXT, b"hello");
        let close = frame(opcode::CLOSE, &close_payload(Some(1000), "bye"));
        for (frames, good, ended, closed, code) in [
            (vec![text.clone(), frame(opcode::PING, b""), close.clone()], 3, 3, true, None),
            (
                vec![fragment(opcode::TEXT, b"a"), frame(opcode::PONG, b"p"), fragment(0, b""), frame(0, b"c"), text.clone()],
                5,
                5,
                false,
                None,
            ),
            (vec![text.clone(), frame(0, b"x")], 1, 1, false, Some(1002)),
            (vec![fragment(opcode::TEXT, b"a"), text.clone()], 1, 1, false, Some(1002)),
            (vec![fragment(opcode::TEXT, b"a"), fragment(opcode::BINARY, b"b")], 1, 1, false, Some(1002)),
            (vec![text.clone(), fragment(opcode::PING, b"")], 1, 1, false, Some(1002)),
            (vec![frame(opcode::BINARY, &[0; 1000]), text.clone()], 2, 2, false, None),
            (vec![frame(opcode::BINARY, &[0; 1001])], 0, 0, false, Some(1009)),
            (vec![fragment(opcode::BINARY, &[0; 600]), frame(0, &[0; 400])], 2, 2, false, None),
            (vec![fragment(opcode::BINARY, &[0; 600]), text[..0].to_vec(), frame(0, &[0; 401])], 1, 1, false, Some(1009)),
            (vec![close, text], 2, 2, true, None),
        ] {
            let bytes = frames.concat();
            let good: usize = frames.iter().filter(|frame| !frame.is_empty()).take(good).map(Vec::len).sum();
            for step in [1, 2, 3, 7, bytes.len()] {
                assert_eq!(relay(&bytes, step), (bytes[..good].to_vec(), ended, closed, code), "by {step}");
            }
        }
    }

    #[test]
    fn boundaries_are_known() {
        let bytes = [frame(opcode::TEXT, b"hello"), frame(opcode::TEXT, b"you")].concat();
        for (end, good, at_boundary) in
            [(0, 0, true), (1, 0, true), (2, 2, false), (6, 6, false), (7, 7, true), (8, 7, true), (9, 9, false), (12, 12, true)]
        {
            let scan = FrameGuard::new(Side::Server, 1000).scan(&bytes[..end]);
            assert_eq!((scan.good, scan.at_boundary), (good, at_boundary), "{end}");
        }
    }

    #[test]
    fn small_messages_are_passed_over_only_where_they_are_right() {
        let masked = |first: u8, payload: &[u8]| {
            let mut out = Vec::new();
            push_frame(&mut out, first & 0x0f, payload, Some([1, 2, 3, 4]));
            out[0] = first;
            out
        };
        let sound = [masked(0x81, &[7; 125]), masked(0x82, b"")].concat();
        for (frames, max, good, ended, code) in [
            (vec![sound.clone(), masked(0x82, b"x")], 125, sound.len() + 7, 3, None),
            (vec![masked(0x82, b""), sound.clone()], 124, 6, 1, Some(1009)),
            (vec![sound.clone(), frame(opcode::TEXT, b"x")], 125, sound.len(), 2, Some(1002)),
            (vec![sound.clone(), masked(0xc1, b"x")], 125, sound.len(), 2, Some(1002)),
            (vec![sound.clone(), masked(0x01, b"x"), masked(0x81, b"x")], 125, sound.len() + 7, 3, Some(1002)),
            (vec![sound.clone(), masked(0x81, &[7; 126])], 200, sound.len() + 8 + 126, 3, None),
            (vec![sound.clone(), masked(0x81, b"cut")[..7].to_vec()], 125, sound.len() + 7, 2, None),
            (vec![sound.clone(), masked(0x81, b"cut")[..5].to_vec()], 125, sound.len(), 2, None),
            (vec![sound.clone(), vec![0x81]], 125, sound.len(), 2, None),
        ] {
            let bytes = frames.concat();
            let scan = FrameGuard::new(Side::Client, max).scan(&bytes);
            let whole = frames_in(Side::Client, &bytes[..scan.good]);
            assert_eq!((scan.good, whole, scan.violation.map(|violation| violation.code)), (good, ended, code), "{frames:x?}");
        }
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same(bytes in proptest::collection::vec(prop_oneof![Just(0x81u8), Just(0), Just(1), Just(2), Just(0x89), Just(126), any::<u8>()], 0..60), step in 1usize..9) {
            prop_assert_eq!(relay(&bytes, step), relay(&bytes, bytes.len().max(1)));
        }
    }
}
