//! Recordings on their way into files of a project: they are made in a store of their own beside these files, with all that a store does,
//! and get their names when they are whole. It opens no server.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::context::tell;
use super::record::describe;
use crate::base::error::{Error, Result};
use crate::base::text::clean;
use crate::base::{files, id};
use crate::engine::losses::Lost;
use crate::model::api::{ListQuery, Summary};
use crate::model::recording::Status;
use crate::store::Store;

/// A private store beside the files that its recordings will be. It goes away with this value, unless something in it could not be moved.
#[derive(Debug)]
pub struct Drafts {
    dir: PathBuf,
    keep: bool,
    /// The open directory, locked: whoever finds it knows that somebody lives here.
    _lock: File,
}

/// What the names of these stores begin with; the rest is a ULID.
const BEGIN: &str = ".mockd-";

impl Drafts {
    /// Makes it in `dir`, which is made where it is missing. What a run that was killed has left there becomes files first.
    ///
    /// # Errors
    /// The directory cannot be made, or takes no file.
    pub fn make(dir: &Path) -> Result<Self> {
        let shown = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
        files::make_folders(shown).map_err(|error| Error::Failed(format!("the directory {} cannot be made: {error}", shown.display())))?;
        rescue_all(shown, dir);
        let failed = |error: &dyn std::fmt::Display| Error::Failed(format!("nothing can be written in {}: {error}", shown.display()));
        loop {
            let own = dir.join(format!("{BEGIN}{}", id::new()));
            Store::new(own.clone(), u64::MAX, 100).ensure_dir().map_err(|error| failed(&error))?;
            let lock = File::open(&own).map_err(|error| failed(&error))?;
            if let Err(error) = lock.lock_shared() {
                log::debug!("{} has no lock: {error}", own.display());
            }
            // Another run may have taken it for a leftover before it was locked.
            let inode = lock.metadata().map_err(|error| failed(&error))?.ino();
            if std::fs::metadata(&own).is_ok_and(|metadata| metadata.ino() == inode) {
                return Ok(Self { dir: own, keep: false, _lock: lock });
            }
        }
    }

    /// The store's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Moves all recordings to the files that `name` gives for them, in the order in which their connections came.
    ///
    /// # Errors
    /// One that could not be moved: it and those after it stay, and the error says where.
    pub fn publish(&mut self, store: &Store, mut name: impl FnMut(&Summary) -> Result<PathBuf>) -> Result<Vec<(Summary, PathBuf)>> {
        let moved = move_all(store, &mut name);
        moved.map_err(|error| {
            self.keep = true;
            Error::Failed(format!("{error}; what was recorded is in {}", self.dir.display()))
        })
    }
}

/// Makes files of what killed runs have left in `dir`; what cannot be rescued is named.
fn rescue_all(shown: &Path, dir: &Path) {
    let Ok(entries) = std::fs::read_dir(shown) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let is_store =
            name.to_str().and_then(|name| name.strip_prefix(BEGIN)).is_some_and(|id| id::check_prefix(id).is_ok() && id.len() == 26);
        if !is_store || !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        let left = dir.join(&name);
        if let Err(error) = rescue(&left, dir) {
            let left = left.display();
            tell(&format!("{left} is left of a run that was killed: {error}; mockd stream-recordings list --data-dir {left} lists it"));
        }
    }
}

/// Makes files of what is in one such store, and removes it, unless somebody lives there.
fn rescue(left: &Path, dir: &Path) -> Result<()> {
    let failed = |error: std::io::Error| Error::storage("open", left, &error);
    let lock = File::open(left).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => return Ok(()),
        Err(std::fs::TryLockError::Error(error)) => return Err(failed(error)),
    }
    let store = Store::new(left.to_owned(), u64::MAX, 100);
    store.recover()?;
    for summary in in_order(store.list(&ListQuery::default())?.recordings) {
        let file = dir.join(format!("recovered-{}.json", &summary.id[..10.min(summary.id.len())]));
        let target = (1..).map(|number| numbered(&file, number)).find(|file| !file.exists()).unwrap_or(file);
        store.move_out(&summary.id, &target)?;
        tell(&format!("{}: {}, left of a run that was killed", target.display(), describe(&summary)));
    }
    std::fs::remove_dir_all(left).map_err(|error| Error::storage("remove", left, &error))
}

fn move_all(store: &Store, name: &mut impl FnMut(&Summary) -> Result<PathBuf>) -> Result<Vec<(Summary, PathBuf)>> {
    let mut moved = Vec::new();
    for summary in in_order(store.list(&ListQuery::default())?.recordings) {
        let target = name(&summary)?;
        store.move_out(&summary.id, &target)?;
        moved.push((summary, target));
    }
    Ok(moved)
}

impl Drop for Drafts {
    fn drop(&mut self) {
        if !self.keep
            && let Err(error) = std::fs::remove_dir_all(&self.dir)
        {
            tell(&format!("{} stays: {error}", self.dir.display()));
        }
    }
}

/// Checks that all that was to be recorded is kept, and whole.
///
/// # Errors
/// How many recordings are not, and why the first one is not.
pub fn check_kept(lost: &Lost, kept: &[Summary]) -> Result<()> {
    let many = |count: u64| if count == 1 { "1 recording".to_owned() } else { format!("{count} recordings") };
    let mut words = Vec::new();
    if lost.count > 0 {
        words.push(format!("{} could not be kept: {}", many(lost.count), clean(&lost.reason)));
    }
    let cut: Vec<&Summary> = kept.iter().filter(|summary| summary.status == Status::Incomplete).collect();
    if let Some(first) = cut.first() {
        let verb = if cut.len() == 1 { "is" } else { "are" };
        let reason = first.status_reason.as_deref().unwrap_or("cut short");
        words.push(format!("{} {verb} incomplete ({})", many(cut.len() as u64), clean(reason)));
    }
    if words.is_empty() { Ok(()) } else { Err(Error::Failed(words.join("; "))) }
}

/// Recordings in the order in which their connections came: that of their ids.
pub fn in_order(mut recordings: Vec<Summary>) -> Vec<Summary> {
    recordings.sort_by(|one, other| one.id.cmp(&other.id));
    recordings
}

/// The file of the `number`th recording: `chat.json`, `chat-2.json`.
pub fn numbered(file: &Path, number: usize) -> PathBuf {
    if number == 1 {
        return file.to_owned();
    }
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let name = match file.extension() {
        Some(extension) => format!("{stem}-{number}.{}", extension.to_string_lossy()),
        None => format!("{stem}-{number}"),
    };
    file.with_file_name(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_numbered_from_the_second_on() {
        for (file, number, expected) in [
            ("chat.json", 1, "chat.json"),
            ("chat.json", 2, "chat-2.json"),
            ("a/b.c/chat.v1.json", 12, "a/b.c/chat.v1-12.json"),
            ("chat", 3, "chat-3"),
        ] {
            assert_eq!(numbered(Path::new(file), number), Path::new(expected));
        }
    }

    #[test]
    fn a_store_of_drafts_goes_away() {
        let dir = tempfile::tempdir().unwrap();
        let drafts = Drafts::make(dir.path()).unwrap();
        assert!(drafts.dir().is_dir());
        drop(drafts);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        drop(Drafts::make(&dir.path().join("a/b")).unwrap());
        std::fs::write(dir.path().join("file"), "").unwrap();
        Drafts::make(&dir.path().join("file/x")).unwrap_err();
    }
}
