//! A recording compiled for replay: the wire bytes of everything the server sent in one buffer, and for each item its place and
//! its time. Made once, shared by all sessions of the recording. (skeleton)

use std::ops::Range;

use crate::base::error::Result;
use crate::model::recording::{Frame, FrameType, Head, Protocol, Tail};

/// What a server item is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ItemKind {
    /// A data frame, or an event with data: a step.
    Step,
    /// A ping, or a block without data: it rides along with a step.
    Ride,
}

/// One entry of the conversation, in recorded order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// Something that the server sent.
    Server {
        /// Step or ride.
        kind: ItemKind,
        /// Microseconds from the recording's origin.
        due_us: u64,
        /// Its wire bytes in [`Script::bytes`].
        wire: Range<usize>,
        /// Its payload (or the event's data) in [`Script::bytes`] or [`Script::texts`]; the implementer decides.
        payload: Range<usize>,
        /// Text or binary, for a WebSocket step.
        frame: FrameType,
    },
    /// A data frame that the client sent (WebSocket only).
    Client {
        /// Microseconds from the recording's origin.
        due_us: u64,
        /// Text or binary.
        frame: FrameType,
        /// Its payload.
        payload: Vec<u8>,
    },
}

/// How the recorded server ended the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ending {
    /// It did not: the client is left to end it.
    None,
    /// A close frame (a step).
    Close {
        /// Its code; `None` for a frame without one.
        code: Option<u16>,
        /// Its reason.
        reason: String,
    },
    /// The TCP connection vanished (a step).
    Drop,
    /// The event stream ended, after its `tail` bytes (no step).
    EndStream,
}

/// A compiled recording.
#[derive(Debug, PartialEq, Eq)]
pub struct Script {
    /// Of which protocol.
    pub protocol: Protocol,
    /// Wire bytes of all server items, in order: unmasked WebSocket frames, or the event stream's own bytes (`raw`, or canonical).
    pub bytes: Vec<u8>,
    /// The conversation.
    pub entries: Vec<Entry>,
    /// How the server ended it.
    pub ending: Ending,
    /// Microseconds from the origin to the end: `endRelativeUs`, else `duration`, else the last entry's time.
    pub end_us: u64,
    /// SSE: microseconds from the origin to the response head, where recorded.
    pub head_us: Option<u64>,
}

/// Compiles a recording frame by frame, so that nobody holds it whole in another form.
#[derive(Debug)]
pub struct ScriptBuilder {}

impl ScriptBuilder {
    /// Begins with the recording's head.
    pub fn new(_head: &Head) -> Self { todo!() }
    /// Adds the next frame.
    ///
    /// # Errors
    /// `Error::Invalid` naming the frame: no time, bad base64.
    pub fn push(&mut self, _frame: &Frame) -> Result<()> { todo!() }
    /// Ends it with the recording's tail.
    pub fn finish(self, _tail: &Tail) -> Script { todo!() }
}
