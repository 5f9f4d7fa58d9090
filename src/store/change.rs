//! What changes recordings that are there: delete, restore, edit, vacuum. Each waits for its turn among all processes;
//! a running recording is refused, a leftover is recovered first.

use super::files::{self, Found, Kind};
use super::lock::DirLock;
use super::{Store, making, recovery, rewrite, summary};
use crate::base::error::{Error, Result};
use crate::model::api::{Edit, Summary, Vacuumed};

impl Store {
    /// Deletes softly. `Error::Conflict` `still_recording` for a running one, `Error::NotFound` for one that is soft-deleted already.
    ///
    /// # Errors
    /// As said, and the file system's.
    pub fn delete(&self, id: &str) -> Result<()> {
        let (_lock, found) = self.settle(id)?;
        if found.kind == Kind::Deleted {
            return Err(not_found(id));
        }
        self.rename(id, Kind::Finished, Kind::Deleted)
    }

    /// Deletes for ever, soft-deleted ones too. `Error::Conflict` `still_recording` for a running one.
    ///
    /// # Errors
    /// As said, `Error::NotFound`, and the file system's.
    pub fn delete_permanently(&self, id: &str) -> Result<()> {
        let (_lock, found) = self.settle(id)?;
        let path = files::path_of(self.dir(), id, found.kind);
        std::fs::remove_file(&path).map_err(|error| Error::storage("delete", &path, &error))?;
        self.quota().forget();
        files::sync_dir(self.dir())
    }

    /// Moves a recording out of the store, to a file on the same disk; what has that name is replaced. It is on the disk when this
    /// returns. `Error::Conflict` `still_recording` for a running one.
    ///
    /// # Errors
    /// As said, `Error::NotFound`, and the file system's.
    pub fn move_out(&self, id: &str, target: &std::path::Path) -> Result<()> {
        let (_lock, found) = self.settle(id)?;
        let moved = files::rename(&files::path_of(self.dir(), id, found.kind), target);
        // It may have gone, and not for good.
        self.quota().forget();
        moved
    }

    /// Undoes a soft delete; `Error::Conflict` `not_deleted` for one that is not.
    ///
    /// # Errors
    /// As said, `Error::NotFound`, and the file system's.
    pub fn restore(&self, id: &str) -> Result<Summary> {
        let not_deleted = || Error::conflict("not_deleted", format!("the recording {id} is not deleted: there is nothing to restore"));
        match files::locate(self.dir(), id)? {
            None => return Err(not_found(id)),
            Some(found) if found.kind != Kind::Deleted => return Err(not_deleted()),
            Some(_) => {}
        }
        let (lock, found) = self.settle(id)?;
        if found.kind != Kind::Deleted {
            return Err(not_deleted());
        }
        self.rename(id, Kind::Deleted, Kind::Finished)?;
        drop(lock);
        self.summary(id)
    }

    /// Changes name, description, tags; rewrites the file atomically. `Error::Conflict` `still_recording` for a running one.
    ///
    /// # Errors
    /// As said, `Error::NotFound` (soft-deleted ones too), `Error::Conflict` `corrupted`, and the file system's.
    pub fn edit(&self, id: &str, edit: &Edit) -> Result<Summary> {
        let (lock, found) = self.settle(id)?;
        let file = summary::open(self.dir(), &found)?.filter(|_| found.kind == Kind::Finished).ok_or_else(|| not_found(id))?;
        rewrite::edit_file(self.dir(), &found, &file, edit)?;
        self.quota().forget();
        drop(lock);
        self.summary(id)
    }

    /// Removes all soft-deleted ones, and what a crash left of files in the making.
    ///
    /// # Errors
    /// The file system's.
    pub fn vacuum(&self) -> Result<Vacuumed> {
        self.vacuum_telling(&mut |_, _| {})
    }

    /// [`Store::vacuum`] that tells how far it is: after each recording the bytes of that one, and those of all that will go.
    ///
    /// # Errors
    /// As [`Store::vacuum`].
    pub fn vacuum_telling(&self, tell: &mut dyn FnMut(u64, u64)) -> Result<Vacuumed> {
        if !self.dir().is_dir() {
            return Ok(Vacuumed { removed: 0, freed_bytes: 0 });
        }
        let lock = DirLock::acquire(self.dir())?;
        let vacuumed = self.remove_deleted(&lock, tell);
        // Also where it failed: half of them may have gone.
        self.quota().forget();
        vacuumed
    }

    fn remove_deleted(&self, lock: &DirLock, tell: &mut dyn FnMut(u64, u64)) -> Result<Vacuumed> {
        let mut vacuumed = Vacuumed { removed: 0, freed_bytes: 0 };
        let doomed: Vec<Found> = files::scan(self.dir())?.into_iter().filter(|found| found.kind == Kind::Deleted).collect();
        let total = doomed.iter().map(|found| found.stamp.size).sum();
        for found in doomed {
            let path = files::path_of(self.dir(), &found.id, Kind::Deleted);
            std::fs::remove_file(&path).map_err(|error| Error::storage("delete", &path, &error))?;
            vacuumed.removed += 1;
            vacuumed.freed_bytes += found.stamp.size;
            tell(found.stamp.size, total);
        }
        for entry in files::entries(self.dir())?.flatten() {
            if let Some(name) = entry.file_name().to_str().filter(|name| making::is_making(name)) {
                vacuumed.freed_bytes += making::end_leftover(lock, self.dir(), name)?;
            }
        }
        files::sync_dir(self.dir())?;
        Ok(vacuumed)
    }

    /// Takes the lock and finds a recording that nobody writes; a leftover becomes one first.
    fn settle(&self, id: &str) -> Result<(DirLock, Found)> {
        // Before the lock: asking for what is not there makes no file.
        if files::locate(self.dir(), id)?.is_none() {
            return Err(not_found(id));
        }
        let lock = DirLock::acquire(self.dir())?;
        let mut found = files::locate(self.dir(), id)?.ok_or_else(|| not_found(id))?;
        if found.kind == Kind::Journal {
            recovery::recover_one(&lock, self.dir(), id, None)?;
            self.lasting().ensure(self.dir())?;
            found = files::locate(self.dir(), id)?.ok_or_else(|| not_found(id))?;
        }
        if found.kind == Kind::Journal {
            let message = format!("{id} is still being recorded: end it with `mockd stream-recordings stop {id}` first");
            return Err(Error::conflict("still_recording", message));
        }
        Ok((lock, found))
    }

    fn rename(&self, id: &str, from: Kind, to: Kind) -> Result<()> {
        files::rename(&files::path_of(self.dir(), id, from), &files::path_of(self.dir(), id, to))
    }
}

/// The error for an id that no recording has.
pub fn not_found(id: &str) -> Error {
    Error::NotFound { kind: "recording", id: id.to_owned() }
}
