//! Message bodies (RFC 9112 §6 and §7): where one ends, and what its data is, while the bytes pass by. (skeleton)

use super::head::Malformed;

/// How the end of a body is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// There is none.
    None,
    /// So many bytes.
    Length(u64),
    /// Chunked coding.
    Chunked,
    /// Up to the end of the connection.
    UntilClose,
}

/// What the front of some bytes was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// So many bytes of the input belong to the body (framing included).
    pub consumed: usize,
    /// The data in them, without framing.
    pub data: &'a [u8],
    /// Whether the body has ended with them.
    pub done: bool,
}

/// Follows a body through its bytes, in any split.
#[derive(Debug)]
pub struct BodyReader {}

impl BodyReader {
    /// A reader for a body that is about to begin.
    pub fn new(_framing: Framing) -> Self { todo!() }
    /// Whether the body has ended.
    pub fn is_done(&self) -> bool { todo!() }
    /// Takes the front of `bytes`; call it again with the rest while it consumes some and is not done. Consumes all of
    /// `bytes` in the end, unless the body ends before. `UntilClose` is never done by itself.
    /// Chunk sizes: hex digits only, at most 16; chunk extensions and trailers are bounded (16 KiB) and consumed.
    pub fn next<'a>(&mut self, _bytes: &'a [u8]) -> Result<Piece<'a>, Malformed> { todo!() }
}

/// Appends `data` as one chunk (RFC 9112 §7.1); empty data appends nothing.
pub fn push_chunk(_out: &mut Vec<u8>, _data: &[u8]) { todo!() }

/// The bytes that end a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";
