//! The log: one line an event on stderr, as text or as JSON. What is logged is cleaned for a terminal; secrets are kept out by those who log.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::str::FromStr;
use std::sync::Mutex;
use std::time::Duration;

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::error::{Error, Result};
use super::{limits, platform, sync, text, time};

/// How a log line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// `2024-01-15T10:30:00.100000Z INFO  message`
    #[default]
    Text,
    /// `{"time":…,"level":"info","message":…}`
    Json,
}

struct Sink {
    format: Format,
    out: Mutex<Out>,
}

/// Where the lines go, one after the other.
struct Out {
    /// Lines that nobody took.
    missing: u64,
    /// The log is a file of our own, which is kept within this.
    max_bytes: Option<u64>,
}

/// Sends the log to stderr from now on; a file of our own (`is_own_file`) is kept within [`limits::MAX_LOG_BYTES`].
///
/// # Errors
/// [`Error::Invalid`] for a level that is none of `off`, `error`, `warn`, `info`, `debug`, `trace`.
pub fn start(level: &str, format: Format, is_own_file: bool) -> Result<()> {
    let level = LevelFilter::from_str(level)
        .map_err(|_| Error::invalid("logLevel", format!("{level:?} is none of off, error, warn, info, debug, trace")))?;
    let out = Mutex::new(Out { missing: 0, max_bytes: is_own_file.then_some(limits::MAX_LOG_BYTES) });
    if log::set_boxed_logger(Box::new(Sink { format, out })).is_ok() {
        log::set_max_level(level);
    }
    Ok(())
}

impl Log for Sink {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The libraries below us say at debug what we say ourselves, with peers' bytes in it.
        metadata.target().starts_with("mockd") || metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let now = time::rfc3339(time::wall_us());
        let message = record.args().to_string();
        let message = text::clean(&message);
        let line = self.format.line(&now, record.level(), &message);
        sync::lock(&self.out).write(self.format, &line);
    }

    fn flush(&self) {}
}

impl Format {
    fn line(self, now: &str, level: Level, message: &str) -> String {
        match self {
            Self::Text => format!("{now} {level:<5} {message}\n"),
            Self::Json => {
                let level = level.as_str().to_ascii_lowercase();
                format!("{}\n", serde_json::json!({"time": now, "level": level, "message": message}))
            }
        }
    }
}

impl Out {
    /// Writes a line, or counts it where nobody takes it: a pipe that nobody reads must not stop the server.
    fn write(&mut self, format: Format, line: &str) {
        if self.missing > 0 && self.is_taken() {
            let message = format!("nobody took the log for a while: {} lines are missing here", self.missing);
            self.missing = 0;
            self.write_taken(&format.line(&time::rfc3339(time::wall_us()), Level::Warn, &message));
        }
        if self.missing > 0 || !self.write_taken(line) {
            self.missing += 1;
        }
        if let Some(max_bytes) = self.max_bytes
            && let Err(error) = std::io::stderr().as_fd().try_clone_to_owned().and_then(|log| cut_front(&mut File::from(log), max_bytes))
        {
            // It is our own file no more, or the disk is broken; what is left is to say so.
            self.max_bytes = None;
            self.write(format, &format.line(&time::rfc3339(time::wall_us()), Level::Warn, &format!("the log has no bound now: {error}")));
        }
    }

    /// Writes in pieces that a pipe takes whole or not at all.
    fn write_taken(&self, line: &str) -> bool {
        // A log that cannot be written has nobody left to tell.
        line.as_bytes().chunks(limits::LOG_PIECE_BYTES).all(|piece| self.is_taken() && std::io::stderr().write_all(piece).is_ok())
    }

    /// Whether somebody takes a piece; waited for only where it has been taken so far.
    fn is_taken(&self) -> bool {
        let patience = if self.missing == 0 { limits::LOG_PATIENCE_MS } else { 0 };
        platform::wait_writable(std::io::stderr().as_fd(), Duration::from_millis(patience)).unwrap_or(true)
    }
}

/// Keeps the second half of a log that has grown past its bound, from its first whole line on.
fn cut_front(file: &mut File, max_bytes: u64) -> std::io::Result<()> {
    let size = file.metadata()?.len();
    if size <= max_bytes {
        return Ok(());
    }
    let mut kept = vec![0; usize::try_from(max_bytes / 2).unwrap_or(0)];
    let from = size - kept.len() as u64;
    file.read_exact_at(&mut kept, from)?;
    let whole = kept.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    file.set_len(0)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&kept[whole..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_past_its_bound_keeps_its_newer_half_from_a_whole_line_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let mut file = File::options().create(true).read(true).append(true).open(&path).unwrap();
        let (mut longest, mut written) = (0, 0);
        for number in 0..1000 {
            let line = format!("line {number}\n");
            written += line.len();
            file.write_all(line.as_bytes()).unwrap();
            cut_front(&mut file, 500).unwrap();
            longest = longest.max(file.metadata().unwrap().len());
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert!(longest <= 500 && written > 5000);
        let newest: Vec<String> = (1000 - lines.len()..1000).map(|number| format!("line {number}")).collect();
        assert!(lines.len() > 15 && lines == newest, "{text}");
    }

    #[test]
    fn lines_look_as_their_format_says() {
        let now = "2024-01-15T10:30:00.000000Z";
        assert_eq!(Format::Text.line(now, Level::Warn, "a \"b\""), format!("{now} WARN  a \"b\"\n"));
        let json = format!("{{\"time\":\"{now}\",\"level\":\"warn\",\"message\":\"a \\\"b\\\"\"}}\n");
        assert_eq!(
            serde_json::from_str::<serde_json::Value>(&Format::Json.line(now, Level::Warn, "a \"b\"")).unwrap(),
            serde_json::from_str::<serde_json::Value>(&json).unwrap()
        );
    }
}
