//! Keeps the recordings of a text that was brought: all of them, or none. What the text means is the rules' matter, where the
//! recordings are kept the store's.

use crate::base::error::{Error, Result};
use crate::base::{id, time};
use crate::model::api::Imported;
use crate::rules::import::{Import, Plan};
use crate::rules::redact::Redactor;
use crate::store::{Batch, Store};

/// What is left out and named one by one; of the rest the number is told.
const MAX_NAMED: usize = 100;

/// Imports a text. A stream of an archive that cannot be read is left out and named, unless there is no other.
///
/// # Errors
/// [`Error::Invalid`] that says what is wrong with the text and where; [`Error::StorageFull`], [`Error::Storage`].
pub fn import(store: &Store, redactor: &Redactor, text: &[u8]) -> Result<Imported> {
    let mut import = Import::of(text, redactor, time::wall_us())?;
    let mut batch = store.batch();
    let mut left_out = LeftOut::default();
    let mut first_error = None;
    while let Some(plan) = import.next_plan() {
        match plan.and_then(|plan| keep(&mut batch, plan)) {
            Ok(notes) => notes.into_iter().for_each(|note| left_out.add(note)),
            Err(error @ Error::Invalid { .. }) if import.is_archive() => {
                left_out.add(words_of(&error));
                first_error.get_or_insert(error);
            }
            Err(error) => return Err(error),
        }
    }
    let others = import.left_out();
    if batch.is_empty() {
        return Err(first_error.unwrap_or_else(|| match others {
            None => Error::invalid("log.entries", "this HAR has no entries"),
            Some(others) => Error::invalid("log.entries", format!("there is no stream in this HAR, only {others}")),
        }));
    }
    others.into_iter().for_each(|others| left_out.add(others));
    Ok(Imported { recordings: batch.publish()?, left_out: left_out.into_words() })
}

/// Writes one recording; gives what of it is left out.
fn keep(batch: &mut Batch, mut plan: Plan<'_>) -> Result<Vec<String>> {
    plan.head.id = id::new();
    let left_out = std::mem::take(&mut plan.left_out);
    batch.begin(&plan.head)?;
    while let Some(frame) = plan.next_frame() {
        batch.push(&frame?)?;
    }
    batch.finish(&plan.finish())?;
    Ok(left_out)
}

/// Why an entry of an archive is left out: the entry first, since all of it is, whatever part of it is wrong.
fn words_of(error: &Error) -> String {
    match error {
        Error::Invalid { place, message } => match place.split_once("].") {
            Some((entry, part)) => format!("{entry}]: left out: {part}: {message}"),
            None => error.to_string(),
        },
        other => other.to_string(),
    }
}

#[derive(Default)]
struct LeftOut {
    named: Vec<String>,
    more: u64,
}

impl LeftOut {
    fn add(&mut self, words: String) {
        if self.named.len() < MAX_NAMED {
            self.named.push(words);
        } else {
            self.more += 1;
        }
    }

    fn into_words(mut self) -> Vec<String> {
        if self.more > 0 {
            self.named.push(format!("and {} more of the kind", self.more));
        }
        self.named
    }
}
