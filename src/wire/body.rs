//! Message bodies (RFC 9112 §6 and §7): where one ends, and what its data is, while the bytes pass by. It copies nothing and keeps nothing.

use super::head::Malformed;
use crate::base::limits::KIB;

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
pub struct BodyReader {
    state: State,
}

/// Bytes that the extension of one chunk, or all trailers together, may have.
const MAX_EXTRA_BYTES: u32 = 16 * KIB as u32;
/// Hex digits of a chunk's size: those of a `u64`.
const MAX_SIZE_DIGITS: u8 = 16;

/// What is expected next. The states of the chunked coding are those of RFC 9112 §7.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Data up to the end of the connection.
    Endless,
    /// So many bytes of data, then the end.
    Data(u64),
    /// Digits of a chunk's size.
    Size { size: u64, digits: u8 },
    /// Space after a chunk's size, before `;` or the end of the line.
    Space { size: u64, extra: u32 },
    /// An extension, so many bytes of it seen.
    Extension { size: u64, extra: u32 },
    /// The LF of a size line.
    SizeLf { size: u64 },
    /// So many bytes of a chunk's data.
    Chunk(u64),
    /// The CR after a chunk's data.
    ChunkCr,
    /// The LF after a chunk's data.
    ChunkLf,
    /// The beginning of a trailer line, or the CR of the empty one; so many bytes of trailers seen.
    TrailerStart { extra: u32 },
    /// Within a trailer line.
    Trailer { extra: u32 },
    /// The LF of a trailer line.
    TrailerLf { extra: u32 },
    /// The LF of the empty line.
    LastLf,
    /// The body has ended.
    Done,
}

impl BodyReader {
    /// A reader for a body that is about to begin.
    pub fn new(framing: Framing) -> Self {
        let state = match framing {
            Framing::None | Framing::Length(0) => State::Done,
            Framing::Length(length) => State::Data(length),
            Framing::Chunked => State::Size { size: 0, digits: 0 },
            Framing::UntilClose => State::Endless,
        };
        Self { state }
    }

    /// Whether the body has ended.
    pub fn is_done(&self) -> bool {
        self.state == State::Done
    }

    /// Takes the front of `bytes`; call it again with the rest while it consumes some and is not done. Consumes all of
    /// `bytes` in the end, unless the body ends before. `UntilClose` is never done by itself.
    /// Chunk sizes: hex digits only, at most 16; chunk extensions and trailers are bounded (16 KiB) and consumed.
    ///
    /// # Errors
    /// [`Malformed`] with 400 where the chunked coding is broken; data that came before has been handed over.
    pub fn next<'a>(&mut self, bytes: &'a [u8]) -> Result<Piece<'a>, Malformed> {
        let before = self.skip_framing(bytes)?;
        let data = self.take_data(&bytes[before..]);
        let mut consumed = before + data.len();
        // The framing after the data goes with it, so that the end of a body is known in the call that sees it. An
        // error in it is left for the next call: the data before it is sound.
        let kept = self.state;
        match self.skip_framing(&bytes[consumed..]) {
            Ok(after) => consumed += after,
            Err(_) if !data.is_empty() => self.state = kept,
            Err(error) => return Err(error),
        }
        Ok(Piece { consumed, data, done: self.is_done() })
    }

    /// The data at the front of `bytes`, if data is what stands there.
    fn take_data<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let (State::Data(left) | State::Chunk(left)) = self.state else {
            return if self.state == State::Endless { bytes } else { &[] };
        };
        let data = &bytes[..usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()))];
        let left = left - data.len() as u64;
        self.state = match self.state {
            State::Data(_) if left == 0 => State::Done,
            State::Data(_) => State::Data(left),
            _ if left == 0 => State::ChunkCr,
            _ => State::Chunk(left),
        };
        data
    }

    /// Consumes framing up to the next data or the end.
    fn skip_framing(&mut self, bytes: &[u8]) -> Result<usize, Malformed> {
        for (at, &byte) in bytes.iter().enumerate() {
            if matches!(self.state, State::Endless | State::Data(_) | State::Chunk(_) | State::Done) {
                return Ok(at);
            }
            self.state = self.state.after(byte)?;
        }
        Ok(bytes.len())
    }
}

impl State {
    /// The state after one byte of framing.
    fn after(self, byte: u8) -> Result<Self, Malformed> {
        let broken = |what: &str| Err(Malformed::new(400, format!("the chunked body is broken: {what}")));
        Ok(match (self, byte) {
            (Self::Size { size, digits }, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                if digits == MAX_SIZE_DIGITS {
                    return broken("a chunk's size has more than 16 digits");
                }
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                Self::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Self::Size { digits: 0, .. }, _) => return broken("a chunk has no size in hex digits"),
            (Self::Size { size, .. } | Self::Space { size, .. } | Self::Extension { size, .. }, b'\r') => Self::SizeLf { size },
            (Self::Size { size, .. }, b' ' | b'\t') => Self::Space { size, extra: 1 },
            (Self::Size { size, .. }, b';') => Self::Extension { size, extra: 1 },
            (Self::Space { size, extra }, b' ' | b'\t') => Self::Space { size, extra: extra + 1 },
            (Self::Space { size, extra }, b';') => Self::Extension { size, extra: extra + 1 },
            (Self::Extension { size, extra }, _) if is_text(byte) => Self::Extension { size, extra: extra + 1 },
            (Self::SizeLf { size: 0 }, b'\n') => Self::TrailerStart { extra: 0 },
            (Self::SizeLf { size }, b'\n') => Self::Chunk(size),
            (Self::ChunkCr, b'\r') => Self::ChunkLf,
            (Self::ChunkLf, b'\n') => Self::Size { size: 0, digits: 0 },
            (Self::TrailerStart { .. }, b'\r') => Self::LastLf,
            (Self::Trailer { extra }, b'\r') => Self::TrailerLf { extra: extra + 1 },
            (Self::TrailerStart { extra } | Self::Trailer { extra }, _) if is_text(byte) => Self::Trailer { extra: extra + 1 },
            (Self::TrailerLf { extra }, b'\n') => Self::TrailerStart { extra },
            (Self::LastLf, b'\n') => Self::Done,
            (Self::ChunkCr | Self::ChunkLf, _) => return broken("a chunk is longer than its size says"),
            (Self::Size { .. } | Self::Space { .. }, _) => return broken("a chunk's size has other characters than hex digits"),
            _ => return broken("a line has a control character, or does not end with CR LF"),
        })
        .and_then(|next| match next {
            Self::Space { extra, .. } | Self::Extension { extra, .. } | Self::Trailer { extra } if extra > MAX_EXTRA_BYTES => {
                broken("its extensions or trailers are too long")
            }
            _ => Ok(next),
        })
    }
}

fn is_text(byte: u8) -> bool {
    byte == b'\t' || !byte.is_ascii_control()
}

/// Appends `data` as one chunk (RFC 9112 §7.1); empty data appends nothing.
pub fn push_chunk(out: &mut Vec<u8>, data: &[u8]) {
    if data.is_empty() {
        return;
    }
    let digits = (usize::BITS - data.len().leading_zeros()).div_ceil(4);
    out.reserve(data.len() + digits as usize + 4);
    for place in (0..digits).rev() {
        out.push(b"0123456789abcdef"[data.len() >> (place * 4) & 15]);
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// The bytes that end a chunked body without trailers.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Reads `bytes` in pieces of `step`: the data, the bytes consumed, and whether the body ended.
    fn read(framing: Framing, bytes: &[u8], step: usize) -> Result<(Vec<u8>, usize, bool), Malformed> {
        let mut reader = BodyReader::new(framing);
        let (mut data, mut consumed) = (Vec::new(), 0);
        for part in bytes.chunks(step) {
            let mut part = part;
            while !part.is_empty() && !reader.is_done() {
                let piece = reader.next(part)?;
                assert!(piece.consumed > 0 && piece.done == reader.is_done());
                data.extend_from_slice(piece.data);
                consumed += piece.consumed;
                part = &part[piece.consumed..];
            }
        }
        Ok((data, consumed, reader.is_done()))
    }

    #[test]
    fn bodies_end_where_they_should() {
        for (framing, text, data, consumed, done) in [
            (Framing::None, "GET", "", 0, true),
            (Framing::Length(0), "GET", "", 0, true),
            (Framing::Length(3), "abcGET", "abc", 3, true),
            (Framing::Length(9), "abc", "abc", 3, false),
            (Framing::Length(u64::MAX), "abc", "abc", 3, false),
            (Framing::UntilClose, "abc", "abc", 3, false),
            (Framing::Chunked, "3\r\nabc\r\n0\r\n\r\nGET", "abc", 13, true),
            (Framing::Chunked, "3;a=\"b\"\r\nabc\r\n00A \t;x\r\n0123456789\r\n0\r\nT: 1\r\nU: 2\r\n\r\nGET", "abc0123456789", 52, true),
            (Framing::Chunked, "3\r\nab", "ab", 5, false),
            (Framing::Chunked, "ffffffffffffffff\r\nab", "ab", 20, false),
            (Framing::Chunked, "0\r\n\r\n", "", 5, true),
        ] {
            for step in 1..=text.len() {
                assert_eq!(read(framing, text.as_bytes(), step), Ok((data.as_bytes().to_vec(), consumed, done)), "{text:?} by {step}");
            }
        }
    }

    #[test]
    fn broken_chunks_are_refused() {
        let long = format!("3;{}\r\n", "x".repeat(20_000));
        let trailers = format!("0\r\n{}", "T: abcdefgh\r\n".repeat(2_000));
        for text in [
            "\r\n",
            "g\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            " 1\r\n",
            "1 1\r\n",
            "1\nabc",
            "1\rx",
            "3\r\nabcd\r\n",
            "3\r\nabc\n",
            "3\r\nabc\rx",
            "3\r\nabc\r\n;x",
            "00000000000000001\r\n",
            "3;a\nb\r\n",
            "3;\0\r\n",
            "0\r\nT: 1\n\r\n",
            "0\r\nT\0",
            &long,
            &trailers,
        ] {
            for step in [1, 2, 3, 7, text.len()] {
                assert_eq!(read(Framing::Chunked, text.as_bytes(), step).map_err(|error| error.status), Err(400), "{text:.40?}");
            }
        }
    }

    #[test]
    fn data_before_an_error_is_handed_over() {
        let mut reader = BodyReader::new(Framing::Chunked);
        let text = b"3\r\nabcX";
        let piece = reader.next(text).expect("the data is sound");
        assert_eq!((piece.data, piece.consumed), (&b"abc"[..], 6));
        assert!(reader.next(&text[6..]).is_err());
    }

    #[test]
    fn the_end_is_known_with_the_last_data() {
        let piece = BodyReader::new(Framing::Chunked).next(b"3\r\nabc\r\n0\r\n\r\nnext").expect("sound");
        assert_eq!((piece.data, piece.consumed, piece.done), (&b"abc"[..], 13, true));
    }

    proptest! {
        #[test]
        fn chunks_read_back_in_any_split(parts in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..300), 0..6), step in 1usize..50) {
            let mut wire = Vec::new();
            for part in &parts {
                push_chunk(&mut wire, part);
            }
            wire.extend_from_slice(LAST_CHUNK);
            let length = wire.len();
            wire.extend_from_slice(b"GET / HTTP/1.1");
            prop_assert_eq!(read(Framing::Chunked, &wire, step), Ok((parts.concat(), length, true)));
        }

        #[test]
        fn any_bytes_in_any_split_give_the_same(bytes in "[0-3a;\r\n xT]{0,60}", step in 1usize..9) {
            let whole = read(Framing::Chunked, bytes.as_bytes(), bytes.len().max(1));
            prop_assert_eq!(read(Framing::Chunked, bytes.as_bytes(), step), whole);
        }
    }
}
