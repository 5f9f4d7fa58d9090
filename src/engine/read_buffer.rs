//! Bytes that were read from a connection and are not used yet, in a buffer that is as large as what comes at once asks for. It knows no
//! protocol and never waits by itself.

use std::io::Result;

use crate::base::arrivals::Arrivals;
use crate::base::limits;
use crate::wire::stream::Stream;

/// Small reads in a row after which the room for large ones is given back.
const SMALL_READS: u32 = 64;

/// What was read and not yet used, with room for the next read.
///
/// A read finds room for [`limits::READ_BYTES`], and for [`limits::LARGE_READ_BYTES`] after one that took all there was: then more is
/// waiting, and each further read and write costs more than what they carry. Thousands of connections that say little keep the small room.
#[derive(Debug, Default)]
pub struct ReadBuffer {
    /// What counts stands in `start..end`; the rest is room.
    bytes: Vec<u8>,
    start: usize,
    end: usize,
    large: bool,
    small_reads: u32,
    arrivals: Arrivals,
}

impl ReadBuffer {
    /// A buffer with bytes that were read elsewhere. The room is made at the first read.
    pub fn holding(bytes: Vec<u8>) -> Self {
        Self { end: bytes.len(), bytes, ..Self::default() }
    }

    /// What was read and not yet used.
    pub fn data(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    /// Uses the first `len` bytes of [`ReadBuffer::data`].
    pub fn consume(&mut self, len: usize) {
        self.start = (self.start + len).min(self.end);
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
            // Much was gathered, or came in a burst that is over; the connection may live long.
            if self.bytes.len() > self.room() {
                self.bytes = Vec::new();
            }
        }
    }

    /// Uses all of it, and gives back the bytes themselves.
    pub fn take(&mut self) -> Vec<u8> {
        let data = self.data().to_vec();
        *self = Self::default();
        data
    }

    /// From now on [`ReadBuffer::arrived_us`] knows what `stream`'s system does; this buffer reads no other.
    pub fn note_arrivals(&mut self, stream: &Stream) {
        self.arrivals = stream.note_arrivals();
    }

    /// When the last byte that was read reached this machine, in microseconds of the wall clock, where that is known.
    pub fn arrived_us(&self) -> Option<u64> {
        self.arrivals.wall_us()
    }

    /// Whether the next read finds room for much.
    pub fn is_large(&self) -> bool {
        self.large
    }

    /// Gives back the room for much: nothing comes any more.
    pub fn shrink(&mut self) {
        self.large = false;
        self.consume(0);
    }

    /// Reads once: how many bytes came, 0 at the end of the stream.
    ///
    /// # Errors
    /// As [`Stream::read`].
    pub fn fill(&mut self, stream: &Stream) -> Result<usize> {
        self.make_room();
        let read = stream.read_noted(&mut self.bytes[self.end..], &mut self.arrivals)?;
        self.note(read);
        Ok(read)
    }

    /// The same as [`Stream::read_ready`] reads: `None` where nothing of the stream came.
    ///
    /// # Errors
    /// As [`Stream::read`].
    pub fn fill_ready(&mut self, stream: &Stream) -> Result<Option<usize>> {
        self.make_room();
        let read = stream.read_ready(&mut self.bytes[self.end..], &mut self.arrivals)?;
        if let Some(read) = read {
            self.note(read);
        }
        Ok(read)
    }

    /// So many bytes have been read.
    fn note(&mut self, read: usize) {
        self.end += read;
        if self.end == self.bytes.len() {
            (self.large, self.small_reads) = (true, 0);
        } else if self.large {
            self.small_reads = if read > limits::READ_BYTES / 2 { 0 } else { self.small_reads + 1 };
            self.large = self.small_reads < SMALL_READS;
        }
    }

    /// Makes room behind the data.
    fn make_room(&mut self) {
        let room = self.room();
        // A few bytes of a header that is not all there do not make a read small.
        let enough = room - room / 8;
        if self.bytes.len() - self.end < enough && self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        if self.end == 0 && self.bytes.len() < room {
            // Zeros from the system are no pages yet: those come with what is read.
            self.bytes = Vec::new();
            self.bytes = vec![0; room];
        } else if self.bytes.len() - self.end < enough {
            self.bytes.resize(self.end + room, 0);
        }
    }

    fn room(&self) -> usize {
        if self.large { limits::LARGE_READ_BYTES } else { limits::READ_BYTES }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use proptest::prelude::*;

    use super::*;

    fn pair() -> (UnixStream, Stream) {
        let (near, far) = UnixStream::pair().expect("a pair");
        (near, Stream::Unix(far))
    }

    #[test]
    fn the_room_grows_with_what_comes_and_shrinks_with_it() {
        let (mut near, far) = pair();
        let mut buffer = ReadBuffer::default();
        let mut read = |buffer: &mut ReadBuffer, len: usize| {
            near.write_all(&vec![7; len]).expect("room");
            let read = buffer.fill(&far).expect("bytes");
            buffer.consume(read);
            (read, buffer.is_large(), buffer.bytes.len())
        };
        assert_eq!(read(&mut buffer, 100), (100, false, limits::READ_BYTES));
        assert_eq!(read(&mut buffer, limits::READ_BYTES), (limits::READ_BYTES, true, limits::READ_BYTES));
        assert_eq!(read(&mut buffer, limits::READ_BYTES + 8), (limits::READ_BYTES + 8, true, limits::LARGE_READ_BYTES));
        for _ in 1..SMALL_READS {
            assert_eq!(read(&mut buffer, 100), (100, true, limits::LARGE_READ_BYTES));
        }
        assert_eq!(read(&mut buffer, 100), (100, false, 0), "given back at once");
        assert_eq!(read(&mut buffer, 100), (100, false, limits::READ_BYTES));
        assert!(read(&mut buffer, limits::READ_BYTES).1);
        buffer.shrink();
        assert!(!buffer.is_large());
    }

    #[test]
    fn what_is_gathered_stays_whole_and_leaves_no_room_behind() {
        let (mut near, far) = pair();
        let mut buffer = ReadBuffer::holding(b"early".to_vec());
        let sent: Vec<u8> = (0..200_000u32).map(|at| (at % 251) as u8).collect();
        let writer = std::thread::spawn({
            let sent = sent.clone();
            move || near.write_all(&sent).expect("room")
        });
        while buffer.data().len() < 5 + sent.len() {
            assert!(buffer.fill(&far).expect("bytes") > 0);
        }
        writer.join().expect("no panic");
        assert_eq!(buffer.data(), [b"early", sent.as_slice()].concat());
        buffer.consume(buffer.data().len());
        assert_eq!((buffer.data().len(), buffer.bytes.len()), (0, 0));
    }

    proptest! {
        #[test]
        fn bytes_come_out_as_they_went_in(steps in proptest::collection::vec((1usize..40_000, 0usize..90_000), 1..20)) {
            let (mut near, far) = pair();
            let mut buffer = ReadBuffer::default();
            let (mut sent, mut used) = (Vec::new(), Vec::new());
            for (write, consume) in steps {
                let part: Vec<u8> = (0..write).map(|at| ((sent.len() + at) % 251) as u8).collect();
                near.write_all(&part).expect("room");
                sent.extend_from_slice(&part);
                buffer.fill(&far).expect("bytes");
                let consume = consume.min(buffer.data().len());
                used.extend_from_slice(&buffer.data()[..consume]);
                buffer.consume(consume);
            }
            drop(near);
            while buffer.fill(&far).expect("bytes") > 0 {}
            used.extend(buffer.take());
            prop_assert_eq!(used, sent);
            prop_assert!(buffer.data().is_empty());
        }
    }
}
