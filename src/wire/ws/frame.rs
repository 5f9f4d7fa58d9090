//! One frame (RFC 6455 §5.2): its header read and judged, its bytes written, its payload masked, and the payload of a close frame.

use super::{Side, Violation, opcode};

/// The header of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub fin: bool,
    pub opcode: u8,
    /// The mask, where there is one; zeros change nothing.
    pub mask: [u8; 4],
    /// Bytes of the payload.
    pub payload_len: u64,
    /// Bytes of the header itself: 2 to [`MAX_HEADER_BYTES`].
    pub len: usize,
}

/// Bytes of the longest header.
pub(super) const MAX_HEADER_BYTES: usize = 14;

/// Payload bytes that a control frame may have (RFC 6455 §5.5).
const MAX_CONTROL_BYTES: u64 = 125;

impl Header {
    pub fn is_control(&self) -> bool {
        self.opcode >= opcode::CLOSE
    }
}

/// The order and size of a side's frames, one header after the other.
#[derive(Debug)]
pub(super) struct Rules {
    side: Side,
    max_message_bytes: u64,
    /// Payload bytes so far of the message whose last fragment is still to come.
    unfinished: Option<u64>,
}

impl Rules {
    pub fn new(side: Side, max_message_bytes: u64) -> Self {
        Self { side, max_message_bytes, unfinished: None }
    }

    /// Passes over the messages at the front of `bytes` that are one whole frame of text or binary with at most 125 bytes and right: how
    /// many bytes. Most frames are of this kind, and a read has hundreds of them: each costs a look at two bytes.
    pub fn skip_small(&self, bytes: &[u8]) -> usize {
        let (mask_bit, header_len) = match self.side {
            Side::Client => (0x80, 6),
            Side::Server => (0, 2),
        };
        let most = self.max_message_bytes.min(MAX_CONTROL_BYTES);
        let mut at = 0;
        if self.unfinished.is_some() {
            return at;
        }
        while let Some([first, second]) = bytes.get(at..at + 2) {
            // With the wrong mask bit, or a longer form, this is more than a small frame has.
            let payload_len = second ^ mask_bit;
            let end = at + header_len + usize::from(payload_len);
            if !matches!(first, 0x81 | 0x82) || u64::from(payload_len) > most || end > bytes.len() {
                break;
            }
            at = end;
        }
        at
    }

    /// Reads the header at the front of `bytes`, and judges it as the next one of its side; `None` while it is not all there.
    /// What is wrong is said as soon as the bytes that show it are there.
    pub fn read_header(&mut self, bytes: &[u8]) -> Result<Option<Header>, Violation> {
        let Some(&first) = bytes.first() else { return Ok(None) };
        let (fin, opcode) = (first & 0x80 != 0, first & 0x0f);
        self.check_first(first, fin, opcode)?;
        let Some(&second) = bytes.get(1) else { return Ok(None) };
        let (masked, short_len) = (second & 0x80 != 0, second & 0x7f);
        match (self.side, masked) {
            (Side::Client, false) => return Err(wrong("a client's frame is not masked")),
            (Side::Server, true) => return Err(wrong("a server's frame is masked")),
            _ => {}
        }
        if opcode >= opcode::CLOSE && u64::from(short_len) > MAX_CONTROL_BYTES {
            return Err(wrong("a control frame has more than 125 bytes"));
        }
        if opcode == opcode::CLOSE && short_len == 1 {
            return Err(wrong("a close frame has one byte of payload"));
        }
        let (payload_len, len_end) = match short_len {
            126 => match bytes.get(2..4).and_then(|len| len.try_into().ok()) {
                Some(len) => (u64::from(u16::from_be_bytes(len)), 4),
                None => return Ok(None),
            },
            127 => match bytes.get(2..10).and_then(|len| len.try_into().ok()) {
                Some(len) => (u64::from_be_bytes(len), 10),
                None => return Ok(None),
            },
            short => (u64::from(short), 2),
        };
        if payload_len >> 63 != 0 {
            return Err(wrong("a frame's length has its highest bit set"));
        }
        if (len_end == 4 && payload_len < 126) || (len_end == 10 && payload_len <= 0xffff) {
            return Err(wrong("a frame's length is not in its shortest form"));
        }
        let message_bytes = self.unfinished.unwrap_or_default().saturating_add(payload_len);
        if opcode < opcode::CLOSE && message_bytes > self.max_message_bytes {
            return Err(Violation { code: 1009, reason: "the message is too large" });
        }
        let len = len_end + if masked { 4 } else { 0 };
        let mask = match bytes.get(len_end..len).map(TryInto::try_into) {
            Some(Ok(mask)) => mask,
            Some(Err(_)) => [0; 4],
            None => return Ok(None),
        };
        if opcode < opcode::CLOSE {
            self.unfinished = (!fin).then_some(message_bytes);
        }
        Ok(Some(Header { fin, opcode, mask, payload_len, len }))
    }

    fn check_first(&self, first: u8, fin: bool, opcode: u8) -> Result<(), Violation> {
        if first & 0x70 != 0 {
            // Extensions are never agreed on: the handshake goes on without them.
            return Err(wrong("a frame has a reserved bit set"));
        }
        match (opcode, self.unfinished) {
            (opcode::CONTINUATION, None) => Err(wrong("a continuation without a message to continue")),
            (opcode::TEXT | opcode::BINARY, Some(_)) => Err(wrong("a new message within a fragmented one")),
            (opcode::CLOSE | opcode::PING | opcode::PONG, _) if !fin => Err(wrong("a control frame is fragmented")),
            (opcode::CONTINUATION | opcode::TEXT | opcode::BINARY | opcode::CLOSE | opcode::PING | opcode::PONG, _) => Ok(()),
            _ => Err(wrong("a frame has an unknown opcode")),
        }
    }
}

fn wrong(reason: &'static str) -> Violation {
    Violation { code: 1002, reason }
}

/// Masks or unmasks a payload in place (RFC 6455 §5.3), eight bytes a step.
pub(super) fn apply_mask(payload: &mut [u8], mask: [u8; 4]) {
    let [a, b, c, d] = mask;
    let key = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ key).to_ne_bytes();
    }
    // Fewer than eight are left, so the key need not begin again.
    for (byte, key) in rest.iter_mut().zip(key.to_ne_bytes()) {
        *byte ^= key;
    }
}

/// Bytes of a frame with a payload of so many bytes, masked or not.
pub fn frame_len(payload_len: usize, masked: bool) -> usize {
    let len_bytes = match payload_len {
        0..126 => 0,
        126..=0xffff => 2,
        _ => 8,
    };
    2 + len_bytes + if masked { 4 } else { 0 } + payload_len
}

/// Appends one final frame to `out`, masked where `mask` is given.
pub fn push_frame(out: &mut Vec<u8>, opcode: u8, payload: &[u8], mask: Option<[u8; 4]>) {
    out.reserve(frame_len(payload.len(), mask.is_some()));
    push_head(out, opcode, payload.len(), mask);
    let start = out.len();
    out.extend_from_slice(payload);
    if let Some(mask) = mask {
        apply_mask(&mut out[start..], mask);
    }
}

/// Appends the header of a whole frame whose payload has so many bytes.
pub fn push_head(out: &mut Vec<u8>, opcode: u8, payload_len: usize, mask: Option<[u8; 4]>) {
    out.push(0x80 | opcode);
    let mask_bit = if mask.is_some() { 0x80 } else { 0 };
    let len = payload_len as u64;
    let [.., high, low] = len.to_be_bytes();
    match len {
        0..126 => out.push(mask_bit | low),
        126..=0xffff => out.extend_from_slice(&[mask_bit | 126, high, low]),
        _ => {
            out.push(mask_bit | 127);
            out.extend_from_slice(&len.to_be_bytes());
        }
    }
    out.extend_from_slice(mask.as_ref().map_or(&[], |mask| mask));
}

/// The payload of a close frame: the code and as much of `reason` as fits (123 bytes, whole characters). `None`: empty.
pub fn close_payload(code: Option<u16>, reason: &str) -> Vec<u8> {
    let Some(code) = code else { return Vec::new() };
    let mut end = reason.len().min(MAX_CONTROL_BYTES as usize - 2);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    [&code.to_be_bytes(), &reason.as_bytes()[..end]].concat()
}

/// Code and reason of a close frame's payload; a reason that is not UTF-8 is read lossily.
pub fn parse_close(payload: &[u8]) -> (Option<u16>, String) {
    match payload.split_first_chunk() {
        Some((code, reason)) => (Some(u16::from_be_bytes(*code)), String::from_utf8_lossy(reason).into_owned()),
        None => (None, String::new()),
    }
}

/// Whether an endpoint may send this code in a close frame (RFC 6455 §7.4): the defined ones, those registered since (1012 to 1014),
/// and the ranges of libraries and applications.
pub fn is_sendable_close_code(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(side: Side, bytes: &[u8]) -> Result<Option<Header>, u16> {
        Rules::new(side, 1 << 20).read_header(bytes).map_err(|violation| violation.code)
    }

    #[test]
    fn headers_have_three_lengths() {
        for (payload_len, len) in [(0, 2), (125, 2), (126, 4), (65_535, 4), (65_536, 10), (100_000, 10)] {
            let mut frame = Vec::new();
            push_frame(&mut frame, opcode::BINARY, &vec![7; payload_len], None);
            assert_eq!(frame.len(), frame_len(payload_len, false));
            let expected = Header { fin: true, opcode: opcode::BINARY, mask: [0; 4], payload_len: payload_len as u64, len };
            assert_eq!(read(Side::Server, &frame), Ok(Some(expected)));
            frame.clear();
            push_frame(&mut frame, opcode::BINARY, &vec![7; payload_len], Some([1, 2, 3, 4]));
            assert_eq!(frame.len(), frame_len(payload_len, true));
            assert_eq!(read(Side::Client, &frame), Ok(Some(Header { mask: [1, 2, 3, 4], len: len + 4, ..expected })));
            for end in 0..len + 4 {
                assert_eq!(read(Side::Client, &frame[..end]), Ok(None));
            }
        }
    }

    #[test]
    fn wrong_headers_are_refused_at_once() {
        for (bytes, code) in [
            (&[0xc1][..], 1002),
            (&[0xa1], 1002),
            (&[0x91], 1002),
            (&[0x83], 1002),
            (&[0x87], 1002),
            (&[0x8b], 1002),
            (&[0x8f], 1002),
            (&[0x80], 1002),
            (&[0x00], 1002),
            (&[0x08], 1002),
            (&[0x09], 1002),
            (&[0x81, 0x80], 1002),
            (&[0x89, 126], 1002),
            (&[0x89, 127], 1002),
            (&[0x88, 1], 1002),
            (&[0x81, 126, 0, 125], 1002),
            (&[0x81, 127, 0, 0, 0, 0, 0, 0, 0xff, 0xff], 1002),
            (&[0x81, 127, 0x80, 0, 0, 0, 0, 0, 0, 0], 1002),
            (&[0x81, 127, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], 1009),
            (&[0x81, 127, 0, 0, 0, 0, 0, 0x10, 0, 1], 1009),
        ] {
            assert_eq!(read(Side::Server, bytes), Err(code), "{bytes:x?}");
        }
        assert_eq!(read(Side::Client, &[0x81, 0]), Err(1002));
    }

    #[test]
    fn masks_are_their_own_inverse() {
        for length in 0..40 {
            let plain: Vec<u8> = (0..length).collect();
            let mut masked = plain.clone();
            apply_mask(&mut masked, [1, 2, 3, 250]);
            assert!(masked.iter().enumerate().all(|(at, byte)| byte ^ [1, 2, 3, 250][at % 4] == at as u8));
            apply_mask(&mut masked, [1, 2, 3, 250]);
            assert_eq!(masked, plain);
        }
    }

    #[test]
    fn close_payloads_fit_and_read_back() {
        let long = "é".repeat(100);
        for (code, reason, bytes, kept) in [
            (None, "ignored", 0, ""),
            (Some(1000), "", 2, ""),
            (Some(4999), "bye", 5, "bye"),
            (Some(1001), long.as_str(), 124, &long[..122]),
        ] {
            let payload = close_payload(code, reason);
            assert_eq!(payload.len(), bytes);
            assert_eq!(parse_close(&payload), (code, kept.to_owned()));
        }
        assert_eq!(parse_close(&[3]), (None, String::new()));
        assert_eq!(parse_close(&[3, 232, 255]), (Some(1000), "\u{fffd}".to_owned()));
    }

    #[test]
    fn reserved_close_codes_are_not_sent() {
        for (code, sendable) in
            [(0, false), (999, false), (1000, true), (1003, true), (1004, false), (1005, false), (1006, false), (1007, true), (1014, true)]
        {
            assert_eq!(is_sendable_close_code(code), sendable, "{code}");
        }
        for (code, sendable) in [(1015, false), (1016, false), (2999, false), (3000, true), (4999, true), (5000, false), (65_535, false)] {
            assert_eq!(is_sendable_close_code(code), sendable, "{code}");
        }
    }
}
