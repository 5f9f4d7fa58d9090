//! WebSocket frames (RFC 6455 §5): headers, the sequence rules of a side, messages, encoding.
//! It answers nothing and closes nothing; what a violation leads to is decided above.

mod frame;
mod guard;
mod message;

pub use frame::{close_payload, frame_len, is_sendable_close_code, parse_close, push_frame};
pub use guard::{FrameGuard, Scan};
pub use message::{Lent, Message, MessageReader};

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
