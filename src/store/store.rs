//! The store: one directory of recordings behind one lock. (skeleton)

use std::path::{Path, PathBuf};

use super::{Journal, RecordingFile};
use crate::base::error::Result;
use crate::model::api::{Edit, ListPage, ListQuery, StoreStats, Summary, Vacuumed};
use crate::model::recording::{Head, Recording};

/// A directory of recordings.
#[derive(Debug)]
pub struct Store {}

impl Store {
    /// The store at `dir`, which need not exist. Does no I/O.
    pub fn new(_dir: PathBuf, _max_bytes: u64, _warn_percent: u64) -> Self { todo!() }
    /// Its directory.
    pub fn dir(&self) -> &Path { todo!() }
    /// Makes the directory (0700) where it is missing, and checks that it can be written.
    pub fn ensure_dir(&self) -> Result<()> { todo!() }
    /// Turns every journal that a crash left (no process holds its lock) into an `incomplete` recording (statusReason `crashed`); gives their ids.
    /// A journal without a whole head line is removed only if it is empty; else it is renamed to a `.json` that lists as `corrupted`.
    pub fn recover(&self) -> Result<Vec<String>> { todo!() }
    /// Begins a journal for `head`. Checks the quota.
    ///
    /// # Errors
    /// `Error::StorageFull`, `Error::Storage`.
    pub fn create(&self, _head: &Head) -> Result<Journal> { todo!() }
    /// Whether there is room: `Error::StorageFull` at the limit; `Ok(Some(warning))` past `warnPercent`.
    pub fn check_room(&self) -> Result<Option<String>> { todo!() }
    /// Writes a whole recording (import); its id must be new.
    pub fn save(&self, _recording: &Recording) -> Result<Summary> { todo!() }
    /// A page of the list. Reads no frames.
    pub fn list(&self, _query: &ListQuery) -> Result<ListPage> { todo!() }
    /// The full id of a prefix, soft-deleted and running ones included.
    pub fn resolve(&self, _prefix: &str) -> Result<String> { todo!() }
    /// The summary of a full id.
    pub fn summary(&self, _id: &str) -> Result<Summary> { todo!() }
    /// Opens a recording by its full id, soft-deleted and running ones included.
    pub fn open(&self, _id: &str) -> Result<RecordingFile> { todo!() }
    /// Deletes softly. `Error::Conflict` `still_recording` for a running one, `Error::NotFound` for one that is soft-deleted already.
    pub fn delete(&self, _id: &str) -> Result<()> { todo!() }
    /// Deletes for ever, soft-deleted ones too. `Error::Conflict` `still_recording` for a running one.
    pub fn delete_permanently(&self, _id: &str) -> Result<()> { todo!() }
    /// Undoes a soft delete; `Error::Conflict` `not_deleted` for one that is not.
    pub fn restore(&self, _id: &str) -> Result<Summary> { todo!() }
    /// Changes name, description, tags; rewrites the file atomically. `Error::Conflict` `still_recording` for a running one.
    pub fn edit(&self, _id: &str, _edit: &Edit) -> Result<Summary> { todo!() }
    /// Removes all soft-deleted ones.
    pub fn vacuum(&self) -> Result<Vacuumed> { todo!() }
    /// Counts and bytes.
    pub fn stats(&self) -> Result<StoreStats> { todo!() }
}
