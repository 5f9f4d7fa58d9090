//! Frames joined into messages: fragments put together, payloads unmasked. For those who must know what was said.

use super::frame::{Header, MAX_HEADER_BYTES, Rules, apply_mask};
use super::{Side, Violation, opcode};

/// A message (its fragments joined) or a control frame, unmasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// TEXT, BINARY, CLOSE, PING or PONG.
    pub opcode: u8,
    /// The payload; a text's bytes need not be UTF-8.
    pub payload: Vec<u8>,
}

/// A [`Message`] whose payload is still where it was received or joined.
#[derive(Debug, Clone, Copy)]
pub struct Lent<'a> {
    /// As in [`Message`].
    pub opcode: u8,
    /// As in [`Message`].
    pub payload: &'a [u8],
    /// How many bytes of those that the reader was fed there are up to the end of this message.
    pub end: usize,
}

/// What a buffer may have taken and still be kept for the next message.
const MAX_KEPT_BYTES: usize = 64 * 1024;

/// Joins one side's frames into messages, with the checks of [`super::FrameGuard`].
#[derive(Debug)]
pub struct MessageReader {
    rules: Rules,
    /// The beginning of a header whose rest is still to come.
    partial: [u8; MAX_HEADER_BYTES],
    partial_len: usize,
    /// The frame at hand, and how many bytes of its payload are still to come.
    current: Option<(Header, u64)>,
    /// The opcode of the data message at hand.
    opcode: u8,
    /// Its payload so far; the last fragment may still be masked.
    data: Vec<u8>,
    /// Payload of the control frame at hand, which may stand between two fragments.
    control: Vec<u8>,
    /// Where a message is unmasked that came in one piece.
    unmasked: Vec<u8>,
    /// See [`MessageReader::sound_len`].
    sound: usize,
}

impl MessageReader {
    /// A reader at the beginning of a side's frames.
    pub fn new(side: Side, max_message_bytes: u64) -> Self {
        Self {
            rules: Rules::new(side, max_message_bytes),
            partial: [0; MAX_HEADER_BYTES],
            partial_len: 0,
            current: None,
            opcode: opcode::TEXT,
            data: Vec::new(),
            control: Vec::new(),
            unmasked: Vec::new(),
            sound: 0,
        }
    }

    /// Bytes of messages that it is putting together.
    pub fn held_bytes(&self) -> usize {
        self.data.len() + self.control.len()
    }

    /// Takes bytes in any split and hands over every message that they end, in order, the ones before a violation included.
    /// It buffers what it needs itself. Memory for a payload grows with what arrives, not with what a header announces.
    ///
    /// # Errors
    /// The [`Violation`]; the reader is of no use after it.
    pub fn feed(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Message)) -> Result<(), Violation> {
        self.lend(bytes, |lent| sink(Message { opcode: lent.opcode, payload: lent.payload.to_vec() }))
    }

    /// As [`MessageReader::feed`], but the payloads stay where they are: a message that came in one piece is not copied together.
    ///
    /// # Errors
    /// As [`MessageReader::feed`].
    pub fn lend(&mut self, bytes: &[u8], mut sink: impl FnMut(Lent<'_>)) -> Result<(), Violation> {
        let mut rest = bytes;
        self.sound = 0;
        loop {
            if let Some((header, left)) = self.current {
                let (taken, after) = rest.split_at(usize::try_from(left).map_or(rest.len(), |left| left.min(rest.len())));
                let buffer = if header.is_control() { &mut self.control } else { &mut self.data };
                buffer.extend_from_slice(taken);
                rest = after;
                let left = left - taken.len() as u64;
                if left > 0 {
                    self.current = Some((header, left));
                    break;
                }
                self.current = None;
                self.end_frame(header, bytes.len() - rest.len(), &mut sink);
            }
            // Of a header that is wrong nothing counts, of one that is not all there what there is.
            self.sound = bytes.len() - rest.len();
            let Some(header) = self.next_header(&mut rest)? else { break };
            if header.fin
                && header.opcode != opcode::CONTINUATION
                && let Some((payload, after)) = usize::try_from(header.payload_len).ok().and_then(|len| rest.split_at_checked(len))
            {
                rest = after;
                self.lend_whole(header, payload, bytes.len() - rest.len(), &mut sink);
                continue;
            }
            if matches!(header.opcode, opcode::TEXT | opcode::BINARY) {
                self.opcode = header.opcode;
            }
            self.current = Some((header, header.payload_len));
        }
        self.sound = bytes.len();
        Ok(())
    }

    /// How many bytes of the last [`MessageReader::feed`] were in order: all, or those before the frame that was wrong.
    pub fn sound_len(&self) -> usize {
        self.sound
    }

    /// The next header, from the bytes kept of it and those at the front of `rest`.
    fn next_header(&mut self, rest: &mut &[u8]) -> Result<Option<Header>, Violation> {
        let kept = self.partial_len;
        if kept == 0
            && let Some(header) = self.rules.read_header(rest)?
        {
            *rest = &rest[header.len..];
            return Ok(Some(header));
        }
        let added = rest.len().min(MAX_HEADER_BYTES - kept);
        self.partial[kept..kept + added].copy_from_slice(&rest[..added]);
        self.partial_len = kept + added;
        match self.rules.read_header(&self.partial[..self.partial_len])? {
            Some(header) => {
                self.partial_len = 0;
                *rest = &rest[header.len - kept..];
                Ok(Some(header))
            }
            // A header has at most as many bytes as fit, so all that came has been kept.
            None => {
                *rest = &[];
                Ok(None)
            }
        }
    }

    /// A message that is one frame, all of which is there.
    fn lend_whole(&mut self, header: Header, payload: &[u8], end: usize, sink: &mut impl FnMut(Lent<'_>)) {
        if header.mask == [0; 4] {
            return sink(Lent { opcode: header.opcode, payload, end });
        }
        self.unmasked.clear();
        self.unmasked.extend_from_slice(payload);
        apply_mask(&mut self.unmasked, header.mask);
        sink(Lent { opcode: header.opcode, payload: &self.unmasked, end });
        drop_large(&mut self.unmasked);
    }

    fn end_frame(&mut self, header: Header, end: usize, sink: &mut impl FnMut(Lent<'_>)) {
        let (buffer, opcode) = if header.is_control() { (&mut self.control, header.opcode) } else { (&mut self.data, self.opcode) };
        // The frame's payload stands at the end of the buffer, all of it: a frame is never longer than what arrived.
        let start = buffer.len().saturating_sub(usize::try_from(header.payload_len).unwrap_or(usize::MAX));
        if header.mask != [0; 4] {
            apply_mask(&mut buffer[start..], header.mask);
        }
        if header.fin {
            sink(Lent { opcode, payload: buffer, end });
            buffer.clear();
            drop_large(buffer);
        }
    }
}

/// One huge message must not keep its memory for the rest of a long connection.
fn drop_large(buffer: &mut Vec<u8>) {
    if buffer.capacity() > MAX_KEPT_BYTES {
        *buffer = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::push_frame;
    use super::*;

    const MASK: Option<[u8; 4]> = Some([9, 0, 200, 77]);

    fn read(side: Side, bytes: &[u8], step: usize) -> (Vec<Message>, Option<u16>) {
        let mut reader = MessageReader::new(side, 100_000);
        let mut messages = Vec::new();
        for part in bytes.chunks(step.max(1)) {
            let read = reader.feed(part, &mut |message| messages.push(message));
            if let Err(violation) = read {
                return (messages, Some(violation.code));
            }
            assert_eq!(reader.sound_len(), part.len());
        }
        (messages, None)
    }

    fn message(opcode: u8, payload: &[u8]) -> Message {
        Message { opcode, payload: payload.to_vec() }
    }

    #[test]
    fn fragments_are_joined_around_control_frames() {
        let mut bytes = Vec::new();
        for (first, opcode, payload) in
            [(0x01, 0, "one "), (0x89, 0, "ping"), (0x00, 0, ""), (0x00, 0, "two "), (0x88, 0, ""), (0x80, 0, "three")]
        {
            let start = bytes.len();
            push_frame(&mut bytes, opcode, payload.as_bytes(), MASK);
            bytes[start] = first;
        }
        let expected = [message(opcode::PING, b"ping"), message(opcode::CLOSE, b""), message(opcode::TEXT, b"one two three")];
        for step in 1..bytes.len() {
            assert_eq!(read(Side::Client, &bytes, step), (expected.to_vec(), None), "by {step}");
        }
    }

    #[test]
    fn messages_before_a_violation_are_handed_over() {
        let mut bytes = Vec::new();
        push_frame(&mut bytes, opcode::TEXT, b"good", None);
        bytes.extend_from_slice(&[0x80, 0]);
        for step in 1..=bytes.len() {
            assert_eq!(read(Side::Server, &bytes, step), (vec![message(opcode::TEXT, b"good")], Some(1002)));
        }
    }

    #[test]
    fn what_is_wrong_is_told_from_the_bytes_before_it() {
        let good = [0x81, 2, b'h', b'i', 0x89, 0];
        let bytes = [&good[..], &[0x83, 0, 1, 2, 3]].concat();
        for step in [1, 2, 3, 4, 5, 6, 7, bytes.len()] {
            let mut reader = MessageReader::new(Side::Server, 100);
            let mut sound = 0;
            for part in bytes.chunks(step) {
                let read = reader.feed(part, &mut |_| {});
                sound += reader.sound_len();
                if read.is_err() {
                    break;
                }
            }
            assert_eq!(sound, good.len(), "by {step}");
        }
    }

    #[test]
    fn the_end_of_a_message_is_told() {
        let mut bytes = Vec::new();
        let mut ends = Vec::new();
        for (first, payload) in [(0x81, "one"), (0x01, "t"), (0x89, ""), (0x80, "wo"), (0x81, ""), (0x82, "three")] {
            let start = bytes.len();
            push_frame(&mut bytes, 0, payload.as_bytes(), MASK);
            bytes[start] = first;
            ends.extend((first & 0x80 != 0).then_some(bytes.len()));
        }
        for step in 1..=bytes.len() {
            let mut reader = MessageReader::new(Side::Client, 100);
            let (mut told, mut before) = (Vec::new(), 0);
            for part in bytes.chunks(step) {
                reader.lend(part, |lent| told.push(before + lent.end)).expect("all is right");
                before += part.len();
            }
            assert_eq!(told, ends, "by {step}");
        }
    }

    #[test]
    fn an_announced_payload_takes_no_memory() {
        let mut reader = MessageReader::new(Side::Server, u64::MAX);
        reader.feed(&[0x82, 127, 0x40, 0, 0, 0, 0, 0, 0, 0, 1, 2], &mut |_| panic!("no message")).expect("sound so far");
        assert!(reader.data.capacity() < 1000);
    }

    proptest! {
        #[test]
        fn frames_read_back_in_any_split(
            messages in proptest::collection::vec((prop_oneof![Just(1u8), Just(2), Just(9), Just(10)], proptest::collection::vec(any::<u8>(), 0..300)), 0..6),
            large in 0usize..70_000,
            mask in any::<Option<[u8; 4]>>(),
            step in 1usize..500,
        ) {
            let mut expected: Vec<Message> = messages.into_iter().map(|(opcode, mut payload)| {
                payload.truncate(if opcode > 8 { 125 } else { 300 });
                Message { opcode, payload }
            }).collect();
            expected.push(message(opcode::BINARY, &vec![5; large]));
            let mut bytes = Vec::new();
            for message in &expected {
                push_frame(&mut bytes, message.opcode, &message.payload, mask);
            }
            let side = if mask.is_some() { Side::Client } else { Side::Server };
            prop_assert_eq!(read(side, &bytes, step), (expected, None));
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100), step in 1usize..20) {
            for side in [Side::Client, Side::Server] {
                prop_assert_eq!(read(side, &bytes, step), read(side, &bytes, bytes.len()));
            }
        }
    }
}
