//! Recordings in the making that get their names together: a directory of their own, below that of the recordings, until all are whole.
//! And the end of what killed processes left in the making. It never looks into a file.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};

use super::files::{self, Kind};
use super::lock::{self, DirLock, Holder};
use crate::base::error::{Error, Result};
use crate::base::id;

/// What the name of a directory begins with while files are made in it; the rest is a ULID.
const MAKING: &str = ".making-";
/// What it begins with once all of its files will get their names, whatever happens.
const READY: &str = ".ready-";

/// A directory for files in the making. It is locked, and goes away with this value, with all that has no name of its own yet.
#[derive(Debug)]
pub struct Staging {
    /// The directory of the recordings.
    dir: PathBuf,
    path: PathBuf,
    id: String,
    /// The open directory, and so its lock.
    _lock: File,
}

impl Staging {
    /// Makes one in `dir`, which must be there.
    ///
    /// # Errors
    /// The file system's.
    pub fn create(dir: &Path) -> Result<Self> {
        // Those who end leftovers have this lock: none of them takes the directory for one before it is held.
        let _turn = DirLock::acquire(dir)?;
        lock::hold_new(dir, || {
            let id = id::new();
            let path = dir.join(format!("{MAKING}{id}"));
            files::make_dir(&path)?;
            let file = File::open(&path).map_err(|error| Error::storage("open", &path, &error))?;
            let is_held = lock::hold(&file, &path)?;
            let staging = Self { dir: dir.to_owned(), path, id, _lock: file };
            Ok(is_held.then_some(staging))
        })
    }

    /// Where the file of a recording is until it gets its name.
    pub fn path_of(&self, id: &str) -> PathBuf {
        files::path_of(&self.path, id, Kind::Finished)
    }

    /// Gives these recordings, whose files are whole and synced, their names: all of them or none, also where the process is killed.
    ///
    /// # Errors
    /// The file system's; none has its name then.
    pub fn publish(mut self, _lock: &DirLock, ids: &[&str]) -> Result<()> {
        // One alone has its name or has not: nobody needs to go on with it.
        if ids.len() > 1 {
            files::sync_dir(&self.path)?;
            let ready = self.dir.join(format!("{READY}{}", self.id));
            // From here on who finds it goes on with what follows.
            let renamed = files::rename(&self.path, &ready);
            // Also where it has the name and that could not be made to last: what is told as failed goes away, whatever it is called.
            if renamed.is_ok() || !self.path.exists() {
                self.path = ready;
            }
            renamed?;
        }
        let mut moved = 0;
        let result = move_out(&self.path, &self.dir, ids, &mut moved);
        if result.is_err() {
            for id in &ids[..moved] {
                let (from, to) = (files::path_of(&self.dir, id, Kind::Finished), self.path_of(id));
                if let Err(error) = std::fs::rename(&from, &to) {
                    log::error!("{} is part of what failed, and stays: {error}", from.display());
                }
            }
        }
        result
    }
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.path) {
            log::debug!("{} stays until the next start: {error}", self.path.display());
        }
    }
}

/// Whether a name is of something in the making.
pub fn is_making(name: &str) -> bool {
    files::is_temp(name) || staging_id(name, MAKING).is_some() || staging_id(name, READY).is_some()
}

/// Whether something in the making was left by a process that was killed.
pub fn is_leftover(path: &Path) -> bool {
    // A link is not ours, wherever it leads.
    let is_ours = std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_file() || metadata.is_dir());
    is_ours
        && files::open_here(path, OpenOptions::new().read(true)).is_ok_and(|file| matches!(lock::holder(&file, path), Ok(Holder::Nobody)))
}

/// Ends what is left under a name that [`is_making`]: files that were to get their names get them, all others go away. Gives the bytes of these.
///
/// # Errors
/// The file system's; the next start tries again.
pub fn end_leftover(_lock: &DirLock, dir: &Path, name: &str) -> Result<u64> {
    let path = dir.join(name);
    if !is_leftover(&path) {
        return Ok(0);
    }
    let Some(_claimed) = lock::claim_leftover(&path)? else { return Ok(0) };
    if files::is_temp(name) {
        return end_temp(&path);
    }
    if staging_id(name, READY).is_some() {
        let ids: Vec<String> = files::scan(&path)?.into_iter().filter(|found| found.kind == Kind::Finished).map(|found| found.id).collect();
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        move_out(&path, dir, &ids, &mut 0)?;
    }
    let freed = files::scan(&path)?.iter().map(|found| found.stamp.size).sum();
    std::fs::remove_dir_all(&path).map_err(|error| Error::storage("remove", &path, &error))?;
    Ok(freed)
}

fn end_temp(path: &Path) -> Result<u64> {
    let ended = std::fs::symlink_metadata(path).and_then(|metadata| std::fs::remove_file(path).map(|()| metadata.len()));
    match ended {
        // Who made it, and lost it to us before it was locked, has taken it away.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(0),
        ended => ended.map_err(|error| Error::storage("remove", path, &error)),
    }
}

/// Moves the files of recordings into `dir`, for good; counts those that are there.
fn move_out(from: &Path, dir: &Path, ids: &[&str], moved: &mut usize) -> Result<()> {
    for id in ids {
        let file = files::path_of(from, id, Kind::Finished);
        std::fs::rename(&file, files::path_of(dir, id, Kind::Finished)).map_err(|error| Error::storage("rename", &file, &error))?;
        *moved += 1;
    }
    files::sync_dir(dir)?;
    if ids.len() == 1 {
        // What has its old name again after power went away is a leftover in the making, and goes.
        return Ok(());
    }
    // Their old names must not come back after power went away: one that was deleted since would come back with it.
    files::sync_dir(from)
}

fn staging_id<'a>(name: &'a str, begin: &str) -> Option<&'a str> {
    name.strip_prefix(begin).filter(|id| id.len() == 26 && id::check_prefix(id).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.retain(|name| name != files::INDEX_DIR);
        names.sort();
        names
    }

    fn sweep(dir: &Path) -> u64 {
        let lock = DirLock::acquire(dir).unwrap();
        names(dir).iter().filter(|name| is_making(name)).map(|name| end_leftover(&lock, dir, name).unwrap()).sum()
    }

    /// What a kill leaves of a value: the lock goes, the files stay.
    fn kill(staging: Staging) {
        let (mut staging, kept) = (staging, tempfile::tempdir().unwrap());
        let path = std::mem::replace(&mut staging.path, kept.path().join("none"));
        drop(staging);
        assert!(path.exists());
    }

    #[test]
    fn what_is_held_is_no_leftover() {
        let dir = tempfile::tempdir().unwrap();
        let staging = Staging::create(dir.path()).unwrap();
        let temp = files::TempFile::create(dir.path(), "01AAAAAA").unwrap();
        std::fs::write(staging.path_of("01BBBBBB"), "12345").unwrap();
        assert_eq!((sweep(dir.path()), names(dir.path()).len()), (0, 2));
        kill(staging);
        drop(temp);
        std::fs::write(dir.path().join(".rec_01AAAAAA.0123456789abcdef.tmp"), "123").unwrap();
        assert_eq!((sweep(dir.path()), names(dir.path())), (8, Vec::new()));
    }

    /// Trap: between the end of its lock and that of its name a file was taken for a leftover, and had gone when that was removed.
    #[test]
    fn a_file_in_the_making_that_goes_away_is_no_leftover() {
        let dir = tempfile::tempdir().unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                (0..20_000).for_each(|_| drop(files::TempFile::create(dir.path(), "01AAAAAA").unwrap()));
                done.store(true, std::sync::atomic::Ordering::Relaxed);
            });
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                sweep(dir.path());
            }
        });
        assert_eq!(names(dir.path()), Vec::<String>::new());
    }

    #[test]
    fn what_was_ready_gets_its_names() {
        let dir = tempfile::tempdir().unwrap();
        let mut staging = Staging::create(dir.path()).unwrap();
        for id in ["01AAAAAA", "01BBBBBB"] {
            std::fs::write(staging.path_of(id), id).unwrap();
        }
        let ready = dir.path().join(format!("{READY}{}", staging.id));
        std::fs::rename(&staging.path, &ready).unwrap();
        staging.path = ready;
        // Killed between the two.
        std::fs::rename(staging.path_of("01AAAAAA"), dir.path().join("rec_01AAAAAA.json")).unwrap();
        kill(staging);
        assert_eq!((sweep(dir.path()), names(dir.path())), (0, vec!["rec_01AAAAAA.json".to_owned(), "rec_01BBBBBB.json".to_owned()]));
    }

    #[test]
    fn where_one_cannot_get_its_name_none_does() {
        let dir = tempfile::tempdir().unwrap();
        let staging = Staging::create(dir.path()).unwrap();
        let lock = DirLock::acquire(dir.path()).unwrap();
        for id in ["01AAAAAA", "01BBBBBB"] {
            std::fs::write(staging.path_of(id), id).unwrap();
        }
        std::fs::create_dir(dir.path().join("rec_01BBBBBB.json")).unwrap();
        assert!(matches!(staging.publish(&lock, &["01AAAAAA", "01BBBBBB"]), Err(Error::Storage { .. })));
        assert_eq!(names(dir.path()), ["rec_01BBBBBB.json"]);
    }

    #[test]
    fn other_names_are_not_touched() {
        let ulid = id::new();
        for (name, expected) in [
            (format!("{MAKING}{ulid}"), true),
            (format!("{READY}{ulid}"), true),
            (format!("{READY}{}", &ulid[..20]), false),
            (format!("x{MAKING}{ulid}"), false),
            (".making-of".to_owned(), false),
            (".rec_notes.tmp".to_owned(), false),
        ] {
            assert_eq!(is_making(&name), expected, "{name}");
        }
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("mine")).unwrap();
        std::os::unix::fs::symlink(dir.path().join("mine"), dir.path().join(format!("{MAKING}{ulid}"))).unwrap();
        assert_eq!((sweep(dir.path()), names(dir.path()).len()), (0, 2));
    }
}
