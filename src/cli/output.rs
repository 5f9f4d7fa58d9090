//! What commands print: one buffered writer to stdout, quiet when its reader has gone. It knows no recording and no command.

use std::io::{BufWriter, ErrorKind, IsTerminal, Write};

use serde::Serialize;

use crate::base::error::{Error, Result};
use crate::base::text::steers;

/// The way to stdout. Errors of writing are kept apart from all others, because a reader that has gone (`| head`) is none.
pub struct Output<'a> {
    inner: BufWriter<Box<dyn Write + 'a>>,
    closed: bool,
    /// Whether a person sees it, and what is not text may steer the screen.
    terminal: bool,
}

impl<'a> Output<'a> {
    /// An output to `inner`.
    pub fn new(inner: impl Write + 'a) -> Self {
        Self { inner: BufWriter::with_capacity(64 * 1024, Box::new(inner)), closed: false, terminal: false }
    }

    /// An output to stdout.
    pub fn to_stdout() -> Self {
        Self { terminal: std::io::stdout().is_terminal(), ..Self::new(std::io::stdout()) }
    }

    /// Whether the reader has gone; what a command fails with after that is nobody's business.
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    /// Prints a line.
    ///
    /// # Errors
    /// [`Error::Failed`] where stdout takes nothing.
    pub fn line(&mut self, text: &str) -> Result<()> {
        let result = self.write_all(text.as_bytes()).and_then(|()| self.write_all(b"\n"));
        result.map_err(failed)
    }

    /// Prints a value as one line of JSON.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn json(&mut self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string(value).map_err(|error| Error::Failed(format!("this cannot be said in JSON: {error}")))?;
        self.json_text(&text)
    }

    /// Prints JSON that is there, as one line; on a terminal as a [`Document`].
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn json_text(&mut self, text: &str) -> Result<()> {
        let mut document = self.document();
        let result = document.write_all(text.as_bytes()).and_then(|()| document.write_all(b"\n"));
        result.map_err(failed)
    }

    /// The way of a whole document (a recording, a config) to stdout.
    pub fn document(&mut self) -> Document<'_, 'a> {
        Document { out: self, unread: Vec::new() }
    }

    /// Hands everything over now.
    ///
    /// # Errors
    /// As [`Output::line`].
    pub fn finish(&mut self) -> Result<()> {
        self.flush().map_err(failed)
    }

    fn note<T>(&mut self, result: std::io::Result<T>) -> std::io::Result<T> {
        if result.as_ref().is_err_and(|error| error.kind() == ErrorKind::BrokenPipe) {
            self.closed = true;
        }
        result
    }
}

impl Write for Output<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let result = self.inner.write(bytes);
        self.note(result)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        let result = self.inner.flush();
        self.note(result)
    }
}

/// A document of JSON, or of YAML with its texts in double quotes, on its way to stdout. Through a pipe it goes byte for byte. On a
/// terminal every character that would steer it becomes `\uXXXX`, which means the same to whoever reads the document.
pub struct Document<'o, 'a> {
    out: &'o mut Output<'a>,
    /// The first bytes of a character whose last ones have not come yet.
    unread: Vec<u8>,
}

impl Write for Document<'_, '_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if !self.out.terminal {
            return self.out.write(bytes);
        }
        self.unread.extend_from_slice(bytes);
        let unread = std::mem::take(&mut self.unread);
        let mut shown = String::with_capacity(unread.len());
        let mut chunks = unread.utf8_chunks().peekable();
        while let Some(chunk) = chunks.next() {
            chunk.valid().chars().for_each(|c| push_shown(&mut shown, c));
            let is_begun = chunks.peek().is_none() && std::str::from_utf8(chunk.invalid()).is_err_and(|error| error.error_len().is_none());
            if is_begun {
                self.unread = chunk.invalid().to_vec();
            } else if !chunk.invalid().is_empty() {
                // A lone byte of 0x80 to 0x9f is a control character to some terminals.
                shown.push(char::REPLACEMENT_CHARACTER);
            }
        }
        self.out.write_all(shown.as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

fn push_shown(shown: &mut String, c: char) {
    if steers(c) && !matches!(c, '\n' | '\t') {
        // All of them are of the first plane, so that four digits are enough.
        shown.push_str(&format!("\\u{:04x}", u32::from(c)));
    } else {
        shown.push(c);
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::Failed(format!("stdout cannot be written: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gone;
    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn output_piped_into_head_is_known_as_such() {
        let mut out = Output::new(Gone);
        out.line("a line").unwrap();
        assert!(!out.is_closed());
        out.finish().unwrap_err();
        assert!(out.is_closed());
    }

    #[test]
    fn a_document_steers_no_terminal_and_means_the_same() {
        let text = "{\"a\":\"\u{9b}2J\u{7f}é\u{202e}\u{61c}€😀\",\n\t\"b\":1}".as_bytes();
        let shown = |terminal: bool, step: usize, text: &[u8]| {
            let mut bytes = Vec::new();
            let mut out = Output { terminal, ..Output::new(&mut bytes) };
            let mut document = out.document();
            text.chunks(step).for_each(|piece| document.write_all(piece).unwrap());
            out.finish().unwrap();
            drop(out);
            bytes
        };
        for step in 1..9 {
            assert_eq!(shown(false, step, text), text);
            let escaped = shown(true, step, text);
            assert_eq!(escaped, "{\"a\":\"\\u009b2J\\u007fé\\u202e\\u061c€😀\",\n\t\"b\":1}".as_bytes(), "{step}");
            let value = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap();
            assert_eq!(value(&escaped), value(text));
            assert_eq!(shown(true, step, b"\x1b[2J \x9b2J\r"), "\\u001b[2J \u{fffd}2J\\u000d".as_bytes(), "what is no JSON");
        }
    }

    #[test]
    fn lines_and_json_end_with_one_newline() {
        let mut bytes = Vec::new();
        let mut out = Output::new(&mut bytes);
        out.line("a").unwrap();
        out.json(&serde_json::json!({"b": 1})).unwrap();
        out.finish().unwrap();
        drop(out);
        assert_eq!(bytes, b"a\n{\"b\":1}\n");
    }
}
