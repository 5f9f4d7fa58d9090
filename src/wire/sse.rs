//! Event streams (HTML standard §9.2.5, §9.2.6): blocks out of bytes, in any split, and their canonical form. (skeleton)

/// One block of an event stream: what stands between two blank lines, the closing blank line included.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Block {
    /// The received bytes, the blank line included; a BOM at the beginning of the stream belongs to the first block.
    pub raw: Vec<u8>,
    /// The value of the last `event` field, if not empty.
    pub event: Option<String>,
    /// The `data` lines joined by LF; `None` where there was no `data` field.
    pub data: Option<String>,
    /// The value of the last `id` field without NUL in it (an empty one counts).
    pub id: Option<String>,
    /// The value of the last `retry` field of ASCII digits only.
    pub retry: Option<u64>,
    /// Comment lines joined by LF, each without its colon and one space after it.
    pub comment: Option<String>,
}

impl Block {
    /// The block as mockd writes it: comment, event, id, retry, data, each `field: value` with LF, then a blank line.
    pub fn canonical(&self) -> Vec<u8> { todo!() }
    /// Whether the received bytes are just the canonical form.
    pub fn is_canonical(&self) -> bool { todo!() }
}

/// The event is larger than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTooLarge;

/// The parser. Its memory is one block.
#[derive(Debug)]
pub struct EventStreamParser {}

impl EventStreamParser {
    /// A parser at the beginning of a stream; a block of more than `max_event_bytes` is an error.
    pub fn new(_max_event_bytes: u64) -> Self { todo!() }
    /// Takes bytes and hands over every block that they end. Lines end with CR, LF or CRLF; a CRLF split between two
    /// calls is one line end (a block that ended with the CR gets the LF into its `raw` of... see below), a multi-byte
    /// character split between two calls stays whole. A block is handed over as soon as its blank line has ended: where that
    /// blank line ends with CR at the end of `bytes`, the block is handed over at once and a following LF, if it comes first
    /// in the next call, is the first byte of the next block's `raw` (the concatenation of all `raw` and the tail is always the stream).
    /// Blank lines with nothing before them belong to the following block's `raw`, or to the tail.
    pub fn feed(&mut self, _bytes: &[u8], _sink: &mut dyn FnMut(Block)) -> Result<(), EventTooLarge> { todo!() }
    /// What came after the last blank line.
    pub fn into_tail(self) -> Vec<u8> { todo!() }
}
