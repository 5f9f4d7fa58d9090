//! What commands print: one buffered writer to stdout, quiet when its reader has gone. It knows no recording and no command.

use std::io::{BufWriter, ErrorKind, Write};

use serde::Serialize;

use crate::base::error::{Error, Result};

/// The way to stdout. Errors of writing are kept apart from all others, because a reader that has gone (`| head`) is none.
pub struct Output<'a> {
    inner: BufWriter<Box<dyn Write + 'a>>,
    closed: bool,
}

impl<'a> Output<'a> {
    /// An output to `inner`.
    pub fn new(inner: impl Write + 'a) -> Self {
        Self { inner: BufWriter::with_capacity(64 * 1024, Box::new(inner)), closed: false }
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
        self.line(&text)
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
