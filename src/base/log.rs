//! The log: one line an event on stderr, as text or as JSON. What is logged is cleaned for a terminal; secrets are kept out by those who log.

use std::io::Write;
use std::str::FromStr;

use log::{Level, LevelFilter, Log, Metadata, Record};

use super::error::{Error, Result};
use super::{text, time};

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
}

/// Sends the log to stderr from now on.
///
/// # Errors
/// [`Error::Invalid`] for a level that is none of `off`, `error`, `warn`, `info`, `debug`, `trace`.
pub fn start(level: &str, format: Format) -> Result<()> {
    let level = LevelFilter::from_str(level)
        .map_err(|_| Error::invalid("logLevel", format!("{level:?} is none of off, error, warn, info, debug, trace")))?;
    if log::set_boxed_logger(Box::new(Sink { format })).is_ok() {
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
        let line = match self.format {
            Format::Text => format!("{now} {:<5} {message}\n", record.level()),
            Format::Json => {
                let level = record.level().as_str().to_ascii_lowercase();
                format!("{}\n", serde_json::json!({"time": now, "level": level, "message": message}))
            }
        };
        // A log that cannot be written has nobody left to tell.
        drop(std::io::stderr().write_all(line.as_bytes()));
    }

    fn flush(&self) {}
}
