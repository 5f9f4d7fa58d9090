//! Import: a text of some format becomes recordings as mockd keeps them, one frame at a time; nothing is held whole but the text itself.
//! Each format has a file below; here stands which one a text is in, and what all of them have in common: times, counts, redaction.
//! It makes no id and reads no clock.

mod go;
mod har;
mod har_events;
mod har_messages;
mod latin;
mod own;
mod plan;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_details;
mod times;

pub use har_events::event_of;
pub use har_messages::frame_of;
pub use plan::Plan;

use crate::base::error::{Error, Result};
use crate::model::raw::{self, RawObject};
use crate::rules::redact::Redactor;

/// The recordings in a text.
#[derive(Debug)]
pub struct Import<'a> {
    kind: Kind<'a>,
}

#[derive(Debug)]
enum Kind<'a> {
    /// One recording, of ours or of the Go program; `None` when it has been given.
    One(Option<Box<Plan<'a>>>),
    /// An HTTP archive.
    Archive(har::Archive<'a>),
}

/// What the formats need to know beside the text.
#[derive(Debug, Clone, Copy)]
struct Setting<'a> {
    /// The redaction in force.
    redactor: &'a Redactor,
    /// The wall clock, for a recording that says no time at all.
    now_us: u64,
}

impl<'a> Import<'a> {
    /// Looks into a text: a recording (ours, its JSON Lines, or of the Go program), or an HTTP archive. `now_us` is the wall clock.
    ///
    /// # Errors
    /// [`Error::Invalid`] that says what is wrong and where.
    pub fn of(bytes: &'a [u8], redactor: &'a Redactor, now_us: u64) -> Result<Self> {
        let setting = Setting { redactor, now_us };
        let text = raw::text_of(bytes)?;
        if text.trim_ascii().is_empty() {
            return Err(Error::invalid("", "there is nothing to import: give a recording or a HAR"));
        }
        if let Some(first) = own::first_line(text) {
            return Ok(Self { kind: Kind::One(Some(Box::new(own::read_lines(first, text, setting)?))) });
        }
        let mut fields = RawObject::parse(text, "").map_err(|error| Error::invalid("", format!("this is no JSON to import: {error}")))?;
        if fields.has("log") {
            let log = fields.take_object("log")?;
            return Ok(Self { kind: Kind::Archive(har::Archive::of(log, setting)?) });
        }
        let plan = if go::is_one(&fields) { go::read(fields, setting)? } else { own::read(fields, setting)? };
        Ok(Self { kind: Kind::One(Some(Box::new(plan))) })
    }

    /// Whether what is wrong with one recording leaves the others as they are.
    pub fn is_archive(&self) -> bool {
        matches!(self.kind, Kind::Archive(_))
    }

    /// The next recording.
    pub fn next_plan(&mut self) -> Option<Result<Plan<'a>>> {
        match &mut self.kind {
            Kind::One(plan) => plan.take().map(|plan| Ok(*plan)),
            Kind::Archive(archive) => archive.next_plan(),
        }
    }

    /// The entries that are no streams, in words: told when all recordings have been given.
    pub fn left_out(&self) -> Option<String> {
        match &self.kind {
            Kind::One(_) => None,
            Kind::Archive(archive) => archive.left_out(),
        }
    }
}
