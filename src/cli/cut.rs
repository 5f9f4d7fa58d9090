//! Recordings of `mockd play` that were cut short: which they are, what is said of them, and how one that is recorded again takes the
//! place of the old file, which is kept. What is recorded and played is not decided here.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::context::tell;
use crate::base::error::{Error, Result};
use crate::base::text::clean;
use crate::engine::compiled::{Compiled, request_of};
use crate::engine::deck::Deck;
use crate::model::recording::{EndedBy, Head, Status, StreamTail, Tail, decode};
use crate::model::replay::ReplayOptions;
use crate::rules::likeness::Request;

/// A recording that a file holds.
#[derive(Debug)]
pub struct Found {
    /// The file.
    pub file: PathBuf,
    /// What is in it.
    pub compiled: Compiled,
    /// How it was cut short, if it was: `incomplete (storage_full)`.
    pub cut: Option<String>,
}

impl Found {
    /// What people know it by.
    pub fn label(&self) -> String {
        self.file.display().to_string()
    }

    /// Says that it was cut short, and what becomes of it; `missing`: what is missing is recorded.
    pub fn tell_of(&self, missing: bool) {
        let Some(how) = &self.cut else { return };
        if missing {
            tell(&format!("{}: {how}: it counts as missing, and is recorded again when it is asked for", self.file.display()));
        } else if how != ENDED {
            tell(&format!("{}: {how}: it is played as far as it goes", self.file.display()));
        }
    }
}

/// A whole recording of a stream that went on.
const ENDED: &str = "ended by the recorder";

/// How a recording with this tail was cut short, if it was.
pub fn cut_of(tail: &Tail) -> Option<String> {
    if tail.status == Status::Incomplete {
        return Some(format!("incomplete ({})", clean(tail.status_reason.as_deref().unwrap_or("no reason given"))));
    }
    (ended_by(tail) == Some(EndedBy::Recorder)).then(|| ENDED.to_owned())
}

/// Who ended the stream.
pub fn ended_by(tail: &Tail) -> Option<EndedBy> {
    match &tail.stream {
        StreamTail::WebSocket { closed_by, .. } => *closed_by,
        StreamTail::Sse { ended_by, .. } => *ended_by,
    }
}

/// The recordings that wait to be recorded again.
#[derive(Debug)]
pub struct Cut {
    deck: Deck,
    files: BTreeMap<String, PathBuf>,
    taken: BTreeSet<String>,
}

impl Cut {
    /// Those that were found, told apart by requests as `options` say.
    ///
    /// # Errors
    /// A bad JSONPath in the options.
    pub fn new(found: Vec<Found>, options: &ReplayOptions) -> Result<Self> {
        let files = found.iter().map(|found| (found.label(), found.file.clone())).collect();
        let recordings = found.into_iter().map(|found| (found.label(), found.compiled)).collect();
        Ok(Self { deck: Deck::new(recordings, options.clone(), true)?, files, taken: BTreeSet::new() })
    }

    /// The file in `dir` whose place a new recording takes, each once: that of the same request.
    pub fn file_of(&mut self, head: &Head, dir: &Path) -> Option<PathBuf> {
        let recorded = request_of(head);
        let body = recorded.and_then(|request| decode(request.body.as_deref()?, request.encoding)).unwrap_or_default();
        let method = recorded.map_or("GET", |request| request.method.as_str());
        let request = Request { protocol: head.protocol(), method, path: &head.metadata.path, query: &head.metadata.query, body: &body };
        // Those of one request come in turn.
        for _ in self.deck.cards() {
            let label = self.deck.choose(&request, None).map(|card| &self.deck.cards()[card].label)?;
            let file = self.files.get(label).filter(|file| file.parent() == Some(dir));
            if let Some(file) = file
                && self.taken.insert(label.clone())
            {
                return Some(file.clone());
            }
        }
        None
    }
}

/// Gives an old file a second name, which no run plays: `chat.json.cut`; gives the words that tell of it. There is one such file, that of
/// the longest attempt: they would pile up. The first name stays until something takes its place, so that a run that is killed meanwhile
/// loses nothing.
///
/// # Errors
/// The file system's; the file is where it was.
pub fn set_aside(file: &Path) -> Result<String> {
    let failed = |error: std::io::Error| Error::storage("rename", file, &error);
    let mut name = file.as_os_str().to_owned();
    name.push(".cut");
    let name = PathBuf::from(name);
    let size = std::fs::metadata(file).map_err(failed)?.len();
    match std::fs::metadata(&name) {
        Ok(before) if before.len() > size => return Ok(format!("the longer one that there was before is still {}", name.display())),
        Ok(_) => std::fs::remove_file(&name).map_err(failed)?,
        Err(_) => {}
    }
    // Some disks give no file two names.
    std::fs::hard_link(file, &name).or_else(|_| std::fs::rename(file, &name)).map_err(failed)?;
    Ok(format!("what there was is now {}", name.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_that_was_cut_short_the_longest_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let (file, cut) = (dir.path().join("chat.json"), dir.path().join("chat.json.cut"));
        for (attempt, kept, words) in
            [("one", "one", "now"), ("three", "three", "now"), ("two", "three", "still"), ("eight", "eight", "now")]
        {
            std::fs::write(dir.path().join("new"), attempt).unwrap();
            std::fs::rename(dir.path().join("new"), &file).unwrap();
            let told = set_aside(&file).unwrap();
            assert!(told.contains(words), "{told}");
            assert_eq!(
                (std::fs::read_to_string(&cut).unwrap(), std::fs::read_to_string(&file).unwrap()),
                (kept.to_owned(), attempt.to_owned())
            );
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }
}
