//! File locks: the one that writers of a directory take in turn, and the one that tells a running journal from a leftover.
//! What is in the making is locked as well.
//! Locks belong to an open file, so they end with their process, whatever ends it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::files;
use crate::base::error::{Error, Result};
use crate::base::{self, limits};

/// The right to change what is in a directory of recordings: delete, restore, edit, vacuum, recover. Ends when it is dropped.
#[derive(Debug)]
pub struct DirLock {
    _file: File,
}

impl DirLock {
    /// Waits for its turn among all processes, at most [`limits::DIR_LOCK_MS`]: one that stands still must not hold up all others.
    ///
    /// # Errors
    /// The directory cannot be written; another process keeps it.
    pub fn acquire(dir: &Path) -> Result<Self> {
        Self::acquire_within(dir, Duration::from_millis(limits::DIR_LOCK_MS))
    }

    fn acquire_within(dir: &Path, limit: Duration) -> Result<Self> {
        let file = open_lock(dir)?;
        base::files::lock_within(&file, &lock_path(dir), &format!("the recordings in {}", dir.display()), limit)?;
        Ok(Self { _file: file })
    }

    /// Takes it if nobody has it.
    ///
    /// # Errors
    /// The directory cannot be written.
    pub fn try_acquire(dir: &Path) -> Result<Option<Self>> {
        let file = open_lock(dir)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(Error::storage("lock", dir, &error)),
        }
    }
}

fn open_lock(dir: &Path) -> Result<File> {
    let sub = dir.join(files::INDEX_DIR);
    files::make_dir(&sub)?;
    let path = lock_path(dir);
    files::open_lock(&path).map_err(|error| Error::storage("open", &path, &error))
}

fn lock_path(dir: &Path) -> PathBuf {
    dir.join(files::INDEX_DIR).join("lock")
}

/// Who has a journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holder {
    /// A process writes it, or is recovering it.
    Writer,
    /// Nobody: a crash left it.
    Nobody,
    /// The name is no longer that file's: it has been finished or removed since it was opened.
    Renamed,
}

/// Who has the journal that `file` was opened from. A shared lock is asked for, so that two who ask do not take each other for the writer.
///
/// # Errors
/// What the file system says about the path.
pub fn holder(file: &File, path: &Path) -> Result<Holder> {
    match file.try_lock_shared() {
        Ok(()) => {
            let renamed = !names_file(path, file)?;
            if let Err(error) = file.unlock() {
                log::debug!("the lock of {} goes with its file: {error}", path.display());
            }
            Ok(if renamed { Holder::Renamed } else { Holder::Nobody })
        }
        Err(TryLockError::WouldBlock) => Ok(Holder::Writer),
        Err(TryLockError::Error(error)) => {
            // A file system without locks cannot say that nobody writes.
            log::debug!("{} counts as running: {error}", path.display());
            Ok(Holder::Writer)
        }
    }
}

/// Opens and locks a journal that nobody writes; `None` where somebody does, or where it has gone.
///
/// # Errors
/// What the file system says.
pub fn claim(path: &Path) -> Result<Option<File>> {
    claim_as(path, || files::open_plain(path, OpenOptions::new().read(true).write(true)))
}

/// The same for a file or directory in the making, which is not written any more.
///
/// # Errors
/// As [`claim`].
pub fn claim_leftover(path: &Path) -> Result<Option<File>> {
    claim_as(path, || files::open_here(path, OpenOptions::new().read(true)))
}

fn claim_as(path: &Path, open: impl Fn() -> std::io::Result<File>) -> Result<Option<File>> {
    // Those who only ask hold a shared lock for an instant: wait for them, not for a writer.
    for _ in 0..CLAIM_TRIES {
        let file = match open() {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::storage("open", path, &error)),
        };
        match file.try_lock() {
            Ok(()) => return Ok(names_file(path, &file)?.then_some(file)),
            Err(TryLockError::Error(error)) => return Err(Error::storage("lock", path, &error)),
            Err(TryLockError::WouldBlock) => match holder(&file, path)? {
                Holder::Nobody => std::thread::yield_now(),
                Holder::Writer | Holder::Renamed => return Ok(None),
            },
        }
    }
    Ok(None)
}

/// Locks what has just been made under `path`; `false` where somebody took it for a leftover before it was locked.
///
/// # Errors
/// What the file system says.
pub fn hold(file: &File, path: &Path) -> Result<bool> {
    match file.try_lock() {
        Ok(()) => names_file(path, file),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(Error::storage("lock", path, &error)),
    }
}

/// Calls `make`, which makes something in `dir` and [`hold`]s it, until nobody comes between the two.
///
/// # Errors
/// Those of `make`; [`Error::Failed`] where somebody always does.
pub fn hold_new<T>(dir: &Path, mut make: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    for _ in 0..CLAIM_TRIES {
        if let Some(made) = make()? {
            return Ok(made);
        }
    }
    Err(Error::Failed(format!("files in the making are taken away from {} as soon as they are there", dir.display())))
}

/// How often [`claim`] finds somebody asking before it leaves the file to the next start, and how often [`hold_new`] tries.
const CLAIM_TRIES: usize = 1000;

/// Whether `path` still names the file that was opened.
fn names_file(path: &Path, file: &File) -> Result<bool> {
    let opened = file.metadata().map_err(|error| Error::storage("read", path, &error))?;
    match std::fs::symlink_metadata(path) {
        Ok(named) => Ok(named.ino() == opened.ino() && named.dev() == opened.dev()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::storage("read", path, &error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_that_is_never_given_back_is_waited_for_within_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let held = DirLock::acquire(dir.path()).unwrap();
        let error = DirLock::acquire_within(dir.path(), Duration::from_millis(20)).unwrap_err().to_string();
        assert!(error.contains("locked for 20ms") && error.contains("fuser"), "{error}");
        drop(held);
        DirLock::acquire_within(dir.path(), Duration::from_millis(20)).unwrap();
    }

    #[test]
    fn a_journal_is_running_while_its_lock_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rec_01HXYZ123456.journal");
        let writer = files::create_private(&path).unwrap();
        writer.try_lock().unwrap();
        let reader = File::open(&path).unwrap();
        assert_eq!(holder(&reader, &path).unwrap(), Holder::Writer);
        assert!(claim(&path).unwrap().is_none());
        drop(writer);
        let other = File::open(&path).unwrap();
        assert_eq!(holder(&reader, &path).unwrap(), Holder::Nobody);
        assert_eq!(holder(&other, &path).unwrap(), Holder::Nobody);
        let claimed = claim(&path).unwrap().unwrap();
        assert_eq!(holder(&reader, &path).unwrap(), Holder::Writer);
        drop(claimed);
        std::fs::rename(&path, dir.path().join("rec_01HXYZ123456.json")).unwrap();
        assert_eq!(holder(&reader, &path).unwrap(), Holder::Renamed);
        assert!(claim(&path).unwrap().is_none());
    }

    #[test]
    fn two_who_ask_do_not_take_each_other_for_the_writer() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("rec_01HXYZ123456.journal");
        drop(files::create_private(&path).unwrap());
        let asking = File::open(&path).unwrap();
        asking.lock_shared().unwrap();
        assert_eq!(holder(&File::open(&path).unwrap(), &path).unwrap(), Holder::Nobody);
    }

    #[test]
    fn writers_of_a_directory_take_turns() {
        let dir = tempfile::tempdir().unwrap();
        let first = DirLock::acquire(dir.path()).unwrap();
        assert!(DirLock::try_acquire(dir.path()).unwrap().is_none());
        drop(first);
        assert!(DirLock::try_acquire(dir.path()).unwrap().is_some());
    }
}
