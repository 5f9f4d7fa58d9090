//! Event streams (HTML standard §9.2.5, §9.2.6): blocks out of bytes, in any split, and their canonical form.
//! Which block counts as an event, and what a recording keeps of it, is not decided here.

use std::borrow::Cow;

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
    /// The value of the last `retry` field of ASCII digits only (one that no `u64` holds does not count).
    pub retry: Option<u64>,
    /// Comment lines joined by LF, each without its colon and one space after it.
    pub comment: Option<String>,
}

impl Block {
    /// The block as mockd writes it: comment, event, id, retry, data, each `field: value` with LF, then a blank line.
    pub fn canonical(&self) -> Vec<u8> {
        let text = [&self.comment, &self.event, &self.id, &self.data];
        let mut out = Vec::with_capacity(64 + text.into_iter().flatten().map(String::len).sum::<usize>());
        self.for_each_part(&mut |part| {
            out.extend_from_slice(part.as_bytes());
            true
        });
        out
    }

    /// Whether the received bytes are just the canonical form.
    pub fn is_canonical(&self) -> bool {
        let mut rest = self.raw.as_slice();
        let as_received = self.for_each_part(&mut |part| match rest.strip_prefix(part.as_bytes()) {
            Some(after) => {
                rest = after;
                true
            }
            None => false,
        });
        as_received && rest.is_empty()
    }

    /// Hands the canonical form to `take`, part by part, until it says no; gives whether it never did.
    fn for_each_part(&self, take: &mut dyn FnMut(&str) -> bool) -> bool {
        let mut lines = |field: &str, text: &Option<String>| {
            let mut values = text.iter().flat_map(|text| text.split('\n'));
            values.all(|value| take(field) && take(": ") && take(value) && take("\n"))
        };
        lines("", &self.comment)
            && lines("event", &self.event)
            && lines("id", &self.id)
            && lines("retry", &self.retry.map(|ms| ms.to_string()))
            && lines("data", &self.data)
            && take("\n")
    }

    /// Takes in one line, its end cut off.
    fn read_line(&mut self, line: &[u8]) {
        let (field, value) = match line.iter().position(|&b| b == b':') {
            Some(colon) => (&line[..colon], &line[colon + 1..]),
            None => (line, &[][..]),
        };
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match field {
            b"data" => join_line(&mut self.data, value),
            b"" => join_line(&mut self.comment, value),
            b"event" => self.event = Some(text(value)).filter(|name| !name.is_empty()),
            b"id" if !value.contains(&0) => self.id = Some(text(value)),
            b"retry" if value.iter().all(u8::is_ascii_digit) => {
                self.retry = std::str::from_utf8(value).ok().and_then(|digits| digits.parse().ok()).or(self.retry);
            }
            // Unknown fields are ignored; `raw` keeps them.
            _ => {}
        }
    }
}

fn text(value: &[u8]) -> String {
    readable(value).into_owned()
}

/// As `String::from_utf8_lossy`, which looks at one byte a step, where this looks at sixteen.
fn readable(value: &[u8]) -> Cow<'_, str> {
    std::str::from_utf8(value).map_or_else(|_| String::from_utf8_lossy(value), Cow::Borrowed)
}

fn join_line(lines: &mut Option<String>, value: &[u8]) {
    match lines {
        Some(before) => {
            before.push('\n');
            before.push_str(&readable(value));
        }
        None => *lines = Some(text(value)),
    }
}

/// The event is larger than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventTooLarge;

/// The parser. Its memory is one block.
#[derive(Debug)]
pub struct EventStreamParser {
    max_event_bytes: u64,
    /// The block that is being received; its `raw` holds what earlier calls brought.
    block: Block,
    /// Where in `raw` the line that is being received begins.
    line_start: usize,
    /// Whether the block has a line that is not blank.
    has_lines: bool,
    /// Whether the last byte of the call before was a CR, so that an LF belongs to it.
    after_cr: bool,
    /// Whether no line has ended yet: it may begin with a BOM.
    is_first_line: bool,
}

impl EventStreamParser {
    /// A parser at the beginning of a stream; a block of more than `max_event_bytes` is an error.
    pub fn new(max_event_bytes: u64) -> Self {
        let block = Block::default();
        Self { max_event_bytes, block, line_start: 0, has_lines: false, after_cr: false, is_first_line: true }
    }

    /// Bytes of the block that it is putting together: as they came, and what they say so far.
    pub fn held_bytes(&self) -> usize {
        let Block { raw, event, data, id, comment, .. } = &self.block;
        raw.len() + [event, data, id, comment].into_iter().flatten().map(String::len).sum::<usize>()
    }

    /// Takes bytes and hands over every block that they end. Lines end with CR, LF or CRLF; a CRLF split between two
    /// calls is one line end, a multi-byte character split between two calls stays whole. A block is handed over as
    /// soon as its blank line has ended: where that blank line ends with CR at the end of `bytes`, the block is handed
    /// over at once and a following LF, if it comes first in the next call, is the first byte of the next block's `raw`
    /// (the concatenation of all `raw` and the tail is always the stream).
    /// Blank lines with nothing before them belong to the following block's `raw`, or to the tail.
    ///
    /// # Errors
    /// [`EventTooLarge`]; the blocks before it have been handed over, and the parser is of no use any more.
    pub fn feed(&mut self, bytes: &[u8], sink: &mut dyn FnMut(Block)) -> Result<(), EventTooLarge> {
        let mut at = 0;
        // What stands in `bytes` from here on is not in `raw` yet.
        let mut unkept = 0;
        if self.after_cr && bytes.first() == Some(&b'\n') {
            self.keep(&bytes[..1])?;
            (at, unkept) = (1, 1);
            self.line_start = self.block.raw.len();
        }
        if !bytes.is_empty() {
            self.after_cr = false;
        }
        // A line that began in an earlier call is put together in `raw`; any other is read where it stands.
        let mut is_continued = self.line_start < self.block.raw.len();
        while let Some(length) = find_line_end(&bytes[at..]) {
            let end = at + length;
            let next = match bytes[end..] {
                [b'\r', b'\n', ..] => end + 2,
                _ => end + 1,
            };
            self.after_cr = next == bytes.len() && bytes[end] == b'\r' && next == end + 1;
            let is_blank = if is_continued {
                self.keep(&bytes[unkept..end])?;
                unkept = end;
                let raw = std::mem::take(&mut self.block.raw);
                let is_blank = self.read_line(&raw[self.line_start..]);
                self.block.raw = raw;
                is_blank
            } else {
                self.read_line(&bytes[at..end])
            };
            is_continued = false;
            at = next;
            if is_blank && self.has_lines {
                self.keep(&bytes[unkept..next])?;
                unkept = next;
                self.has_lines = false;
                sink(std::mem::take(&mut self.block));
            }
        }
        self.keep(&bytes[unkept..])?;
        if !is_continued {
            self.line_start = self.block.raw.len() - (bytes.len() - at);
        }
        Ok(())
    }

    /// What came after the last blank line.
    pub fn into_tail(self) -> Vec<u8> {
        self.block.raw
    }

    /// Reads a line, its end cut off; gives whether it is blank.
    fn read_line(&mut self, line: &[u8]) -> bool {
        let is_first = std::mem::take(&mut self.is_first_line);
        let line = if is_first { line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line) } else { line };
        if !line.is_empty() {
            self.has_lines = true;
            self.block.read_line(line);
        }
        line.is_empty()
    }

    fn keep(&mut self, bytes: &[u8]) -> Result<(), EventTooLarge> {
        if (self.block.raw.len() + bytes.len()) as u64 > self.max_event_bytes {
            return Err(EventTooLarge);
        }
        self.block.raw.extend_from_slice(bytes);
        Ok(())
    }
}

/// Where the first CR or LF is. Looks at 32 bytes a step, which the compiler turns into a few vector instructions.
fn find_line_end(bytes: &[u8]) -> Option<usize> {
    let is_end = |b: &u8| *b == b'\n' || *b == b'\r';
    let (steps, _) = bytes.as_chunks::<32>();
    let clear = steps.iter().take_while(|step| !step.iter().fold(false, |found, b| found | is_end(b))).count();
    bytes[clear * 32..].iter().position(is_end).map(|at| clear * 32 + at)
}

#[cfg(test)]
#[path = "sse_tests.rs"]
mod tests;
