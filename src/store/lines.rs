//! Whole lines of a part of a file, read by position. It knows nothing of what stands in them.

use std::fs::File;
use std::io::BufRead;
use std::os::unix::fs::FileExt;

use crate::base::limits::KIB;

/// Bytes that one read takes from a file.
pub const CHUNK_BYTES: usize = 64 * KIB as usize;

/// Reads the lines between two positions of a file, whatever else reads or appends to it.
#[derive(Debug)]
pub struct LineReader<'a> {
    file: &'a File,
    /// Where the next read begins.
    read_at: u64,
    /// Where reading ends.
    end: u64,
    buffer: Vec<u8>,
    /// The bytes of `buffer` that have been handed out.
    taken: usize,
    /// The bytes of `buffer` that have no line feed.
    searched: usize,
}

impl<'a> LineReader<'a> {
    /// The lines from `start` to `end`.
    pub fn new(file: &'a File, start: u64, end: u64) -> Self {
        Self { file, read_at: start, end, buffer: Vec::new(), taken: 0, searched: 0 }
    }

    /// The position after the last line that was handed out.
    pub fn position(&self) -> u64 {
        self.read_at - (self.buffer.len() - self.taken) as u64
    }

    /// The next line without its line feed; `None` at the end, also where bytes without a line feed are left.
    ///
    /// # Errors
    /// What reading says.
    pub fn next_line(&mut self) -> std::io::Result<Option<&[u8]>> {
        loop {
            let mut rest = &self.buffer[self.searched..];
            let skipped = rest.skip_until(b'\n')?;
            let end = self.searched + skipped;
            if skipped > 0 && self.buffer[end - 1] == b'\n' {
                let start = self.taken;
                self.taken = end;
                self.searched = end;
                return Ok(Some(&self.buffer[start..end - 1]));
            }
            self.searched = self.buffer.len();
            if !self.fill()? {
                return Ok(None);
            }
        }
    }

    /// Reads on; `false` at the end.
    fn fill(&mut self) -> std::io::Result<bool> {
        self.buffer.drain(..self.taken);
        self.searched -= self.taken;
        self.taken = 0;
        // No line of JSON has such a byte. What a disk lost may be of any length: of a line that is none its beginning is enough.
        if self.buffer.contains(&0) {
            self.buffer.clear();
            self.buffer.push(0);
            self.searched = 1;
        }
        let old = self.buffer.len();
        // A long line doubles the reads, so that its bytes are moved and searched a bounded number of times.
        let want = (self.end - self.read_at).min(CHUNK_BYTES.max(old) as u64) as usize;
        if want == 0 {
            return Ok(false);
        }
        self.buffer.resize(old + want, 0);
        let read = read_some(self.file, &mut self.buffer[old..], self.read_at)?;
        self.buffer.truncate(old + read);
        self.read_at += read as u64;
        Ok(read > 0)
    }
}

/// One positional read; interruptions are no end.
fn read_some(file: &File, buffer: &mut [u8], at: u64) -> std::io::Result<usize> {
    loop {
        match file.read_at(buffer, at) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// The bytes between two positions; fewer where the file has become shorter.
///
/// # Errors
/// What reading says.
pub fn read_part(file: &File, start: u64, end: u64) -> std::io::Result<Vec<u8>> {
    let mut part = vec![0; usize::try_from(end.saturating_sub(start)).map_err(|_| std::io::ErrorKind::OutOfMemory)?];
    let mut filled = 0;
    while filled < part.len() {
        match read_some(file, &mut part[filled..], start + filled as u64)? {
            0 => break,
            read => filled += read,
        }
    }
    part.truncate(filled);
    Ok(part)
}

/// Copies the bytes between two positions.
///
/// # Errors
/// What reading or `out` says; `UnexpectedEof` where the file has become shorter.
pub fn copy_part(file: &File, start: u64, end: u64, out: &mut dyn std::io::Write) -> std::io::Result<()> {
    let mut buffer = vec![0; CHUNK_BYTES.min(usize::try_from(end.saturating_sub(start)).unwrap_or(CHUNK_BYTES))];
    let mut at = start;
    while at < end {
        let want = (end - at).min(buffer.len() as u64) as usize;
        let read = read_some(file, &mut buffer[..want], at)?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        out.write_all(&buffer[..read])?;
        at += read as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file_of(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn lines_of_every_length_are_read_whole() {
        let lines: Vec<Vec<u8>> =
            [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 0, 5 * CHUNK_BYTES + 7, 3].iter().map(|len| vec![b'x'; *len]).collect();
        let mut bytes = lines.join(&b'\n');
        bytes.extend(b"\ntorn");
        let file = file_of(&bytes);
        let mut reader = LineReader::new(&file, 0, bytes.len() as u64);
        for line in &lines {
            assert_eq!(reader.next_line().unwrap().unwrap(), line);
        }
        assert_eq!(reader.next_line().unwrap(), None);
        assert_eq!(reader.position(), bytes.len() as u64 - 4);
    }

    #[test]
    fn a_part_ends_where_it_was_told_to() {
        let file = file_of(b"head\na\nb\nc\n");
        let mut reader = LineReader::new(&file, 5, 9);
        assert_eq!(reader.next_line().unwrap(), Some(&b"a"[..]));
        assert_eq!(reader.position(), 7);
        assert_eq!(reader.next_line().unwrap(), Some(&b"b"[..]));
        assert_eq!(reader.next_line().unwrap(), None);
        assert_eq!(read_part(&file, 5, 100).unwrap(), b"a\nb\nc\n");
        assert!(copy_part(&file, 5, 100, &mut Vec::new()).is_err());
    }
}
