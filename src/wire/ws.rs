//! WebSocket frames (RFC 6455 §5): headers, the sequence rules of a side, messages, encoding. (skeleton)

/// The opcodes of RFC 6455 §5.2.
#[allow(missing_docs)]
pub mod opcode {
    pub const CONTINUATION: u8 = 0;
    pub const TEXT: u8 = 1;
    pub const BINARY: u8 = 2;
    pub const CLOSE: u8 = 8;
    pub const PING: u8 = 9;
    pub const PONG: u8 = 10;
}

/// Which side's frames are read: a client's are masked, a server's are not (RFC 6455 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Frames that a client sent.
    Client,
    /// Frames that a server sent.
    Server,
}

/// What a side did wrong, with the close code that says so: 1002, or 1009 for a message that is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Violation {
    /// 1002 or 1009.
    pub code: u16,
    /// In a few words, fit for a close reason.
    pub reason: &'static str,
}

/// What a scan of bytes found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scan {
    /// So many bytes from the front are good to forward; an incomplete header at the end, or a violation, stays behind.
    pub good: usize,
    /// Whether a frame ends exactly with the good bytes.
    pub at_boundary: bool,
    /// How many frames ended within the good bytes.
    pub frames_ended: u32,
    /// Whether a close frame ended within the good bytes.
    pub closed: bool,
    /// What stands after the good bytes, if it is wrong.
    pub violation: Option<Violation>,
}

/// Watches one direction of a relay: reads headers only, skips payloads. Checks reserved bits and opcodes, masking, the
/// shortest length form, control frames (final, at most 125 bytes, a close payload not of one byte), the order of fragments, and the
/// size of a message (all its fragments together).
#[derive(Debug)]
pub struct FrameGuard {}

impl FrameGuard {
    /// A guard at the beginning of a side's frames.
    pub fn new(_side: Side, _max_message_bytes: u64) -> Self { todo!() }
    /// Looks at bytes that follow the good ones of the call before. After a violation it must not be called again.
    pub fn scan(&mut self, _bytes: &[u8]) -> Scan { todo!() }
}

/// A message (its fragments joined) or a control frame, unmasked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// TEXT, BINARY, CLOSE, PING or PONG.
    pub opcode: u8,
    /// The payload; a text's bytes need not be UTF-8.
    pub payload: Vec<u8>,
}

/// Joins one side's frames into messages, with the checks of [`FrameGuard`].
#[derive(Debug)]
pub struct MessageReader {}

impl MessageReader {
    /// A reader at the beginning of a side's frames.
    pub fn new(_side: Side, _max_message_bytes: u64) -> Self { todo!() }
    /// Takes bytes in any split and hands over every message that they end, in order, the ones before a violation included.
    /// It buffers what it needs itself. Memory for a payload grows with what arrives, not with what a header announces.
    pub fn feed(&mut self, _bytes: &[u8], _sink: &mut dyn FnMut(Message)) -> Result<(), Violation> { todo!() }
}

/// Appends one final frame to `out`, masked where `mask` is given.
pub fn push_frame(_out: &mut Vec<u8>, _opcode: u8, _payload: &[u8], _mask: Option<[u8; 4]>) { todo!() }

/// The payload of a close frame: the code and as much of `reason` as fits (123 bytes, whole characters). `None`: empty.
pub fn close_payload(_code: Option<u16>, _reason: &str) -> Vec<u8> { todo!() }

/// Code and reason of a close frame's payload; a reason that is not UTF-8 is read lossily.
pub fn parse_close(_payload: &[u8]) -> (Option<u16>, String) { todo!() }

/// Whether an endpoint may send this code in a close frame (RFC 6455 §7.4).
pub fn is_sendable_close_code(_code: u16) -> bool { todo!() }
