//! Names in a directory of recordings, and the calls that make, sync and find files there. It never looks into a file.

use std::collections::HashSet;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::lock;
use crate::base::error::{Error, Result};
pub use crate::base::files::{create_private, create_private_dir, open_here, open_lock, open_plain};
use crate::base::{self, id};

/// The sub-directory for the index and the lock: writing there leaves the recordings' directory as it is.
pub const INDEX_DIR: &str = ".index";

/// The sub-directory for the pid files and logs of servers in the background, which count as no recordings.
pub const RUN_DIR: &str = ".run";

/// Which of a recording's three names a file has. The order says which one counts where there are several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `rec_<id>.json`
    Finished,
    /// `rec_<id>.json.deleted`
    Deleted,
    /// `rec_<id>.journal`
    Journal,
}

impl Kind {
    /// All three, the one that counts first.
    pub const ALL: [Self; 3] = [Self::Finished, Self::Deleted, Self::Journal];

    /// What follows `rec_<id>`.
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Finished => ".json",
            Self::Deleted => ".json.deleted",
            Self::Journal => ".journal",
        }
    }
}

/// A file of a recording, as the directory shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The recording's id.
    pub id: String,
    /// Which of its names.
    pub kind: Kind,
    /// What identifies the content without a look into it.
    pub stamp: Stamp,
}

/// Size, times and number of a file: where all four are as before, its content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// Nanoseconds since 1970 of the last write, or what somebody has set it to.
    pub mtime_ns: i64,
    /// Nanoseconds since 1970 of the last change of anything, which nobody can set back.
    pub ctime_ns: i64,
    /// The inode.
    pub inode: u64,
}

impl Stamp {
    /// The stamp of a file.
    pub fn of(metadata: &std::fs::Metadata) -> Self {
        let ns = |seconds: i64, more: i64| seconds.saturating_mul(1_000_000_000).saturating_add(more);
        Self {
            size: metadata.len(),
            mtime_ns: ns(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: ns(metadata.ctime(), metadata.ctime_nsec()),
            inode: metadata.ino(),
        }
    }
}

/// Where the file of a recording is. The id must have been checked.
pub fn path_of(dir: &Path, id: &str, kind: Kind) -> PathBuf {
    dir.join(format!("rec_{id}{}", kind.suffix()))
}

/// The id and kind that a file name says; `None` for files that are not ours.
pub fn parse_name(name: &str) -> Option<(&str, Kind)> {
    let rest = name.strip_prefix("rec_")?;
    let (id, kind) = Kind::ALL.into_iter().find_map(|kind| Some((rest.strip_suffix(kind.suffix())?, kind)))?;
    id::check_prefix(id).is_ok().then_some((id, kind))
}

/// A name that no reader looks at, for a file in the making.
pub fn temp_path(dir: &Path, id: &str) -> PathBuf {
    dir.join(format!(".rec_{id}.{:016x}.tmp", id::random_u64()))
}

/// Whether a name is one of [`temp_path`].
pub fn is_temp(name: &str) -> bool {
    let Some(rest) = name.strip_prefix(".rec_").and_then(|rest| rest.strip_suffix(".tmp")) else { return false };
    rest.split_once('.')
        .is_some_and(|(id, random)| id::check_prefix(id).is_ok() && random.len() == 16 && random.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// The entry of a recording's file; `None` where there is none, or something that is no plain file.
pub fn stat(dir: &Path, id: &str, kind: Kind) -> Result<Option<Found>> {
    let path = path_of(dir, id, kind);
    match std::fs::symlink_metadata(&path) {
        Ok(metadata) if metadata.is_file() => Ok(Some(Found { id: id.to_owned(), kind, stamp: Stamp::of(&metadata) })),
        Ok(_) => Ok(None),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(error) => Err(Error::storage("read", &path, &error)),
    }
}

/// The stamp of the directory itself, which changes with the names in it; `None` where it is not there.
pub fn dir_stamp(dir: &Path) -> Option<Stamp> {
    // What is wrong with it is said by who reads it.
    std::fs::metadata(dir).ok().map(|metadata| Stamp::of(&metadata))
}

/// The file that an id stands for.
pub fn locate(dir: &Path, id: &str) -> Result<Option<Found>> {
    // What cannot be an id must not become part of a path.
    if id::check_prefix(id).is_err() {
        return Ok(None);
    }
    // A journal may become a recording between two looks: then the second round finds it.
    for _ in 0..2 {
        for kind in Kind::ALL {
            if let Some(found) = stat(dir, id, kind)? {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

/// All files of recordings, with their stamps, in the directory's order, those that moved last. A directory that is not there has none.
/// What has several names of one recording, or gets another while the directory is read, is there once, under the one that counts. Two
/// files of one recording are both there: both take their room.
pub fn scan(dir: &Path) -> Result<Vec<Found>> {
    let mut all: Vec<Found> = Vec::new();
    let mut seen: HashSet<(u64, String)> = HashSet::new();
    let mut moved: HashSet<String> = HashSet::new();
    for entry in entries(dir)? {
        let entry = entry.map_err(|error| Error::storage("read", dir, &error))?;
        let name = entry.file_name();
        let Some((id, kind)) = name.to_str().and_then(parse_name) else { continue };
        let found = match entry.metadata() {
            Ok(metadata) if metadata.is_file() => Found { id: id.to_owned(), kind, stamp: Stamp::of(&metadata) },
            Ok(_) => continue,
            // It has another name by now, or it is gone.
            Err(_) => {
                moved.insert(id.to_owned());
                continue;
            }
        };
        if seen.insert((found.stamp.inode, found.id.clone())) {
            all.push(found);
        } else {
            moved.insert(found.id);
        }
    }
    if moved.is_empty() {
        return Ok(all);
    }
    let (before, mut all): (Vec<Found>, Vec<Found>) = all.into_iter().partition(|found| moved.contains(&found.id));
    for id in moved {
        let now = locate_all(dir, &id)?;
        // One whose name changes faster than anybody looks is there all the same.
        let is_lost = now.is_empty();
        all.extend(now);
        all.extend(before.iter().filter(|found| is_lost && found.id == id).cloned());
    }
    Ok(all)
}

/// The files that an id stands for, each once, the one that counts first.
fn locate_all(dir: &Path, id: &str) -> Result<Vec<Found>> {
    let mut all: Vec<Found> = Vec::new();
    // As in `locate`: what moves between two looks is found by the second round.
    for _ in 0..2 {
        for kind in Kind::ALL {
            if let Some(found) = stat(dir, id, kind)?
                && all.iter().all(|known| known.stamp.inode != found.stamp.inode)
            {
                all.push(found);
            }
        }
        if !all.is_empty() {
            break;
        }
    }
    Ok(all)
}

/// The ids and kinds in a directory, by their names alone.
pub fn names(dir: &Path) -> Result<Vec<(String, Kind)>> {
    let mut all = Vec::new();
    for entry in entries(dir)? {
        let entry = entry.map_err(|error| Error::storage("read", dir, &error))?;
        if let Some((id, kind)) = entry.file_name().to_str().and_then(parse_name) {
            all.push((id.to_owned(), kind));
        }
    }
    Ok(all)
}

/// The entries of a directory; none where it is not there.
pub fn entries(dir: &Path) -> Result<impl Iterator<Item = std::io::Result<std::fs::DirEntry>> + use<>> {
    match std::fs::read_dir(dir) {
        Ok(entries) => Ok(Some(entries).into_iter().flatten()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None.into_iter().flatten()),
        Err(error) => Err(Error::storage("read", dir, &error)),
    }
}

/// Makes a directory and those above it where they are missing, 0700 each whatever the umask, for good; one that is there stays as it is.
pub fn make_dir(dir: &Path) -> Result<()> {
    if make_dir_soon(dir)? { sync_made(dir) } else { Ok(()) }
}

/// As [`make_dir`], without waiting for the disk; `true` where it was missing: then [`sync_made`] has to follow.
pub fn make_dir_soon(dir: &Path) -> Result<bool> {
    if dir.is_dir() {
        return Ok(false);
    }
    if let Some(parent) = dir.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        make_dir_soon(parent)?;
    }
    match create_private_dir(dir) {
        Ok(()) => Ok(true),
        // Another process was quicker.
        Err(error) if error.kind() == ErrorKind::AlreadyExists && dir.is_dir() => Ok(true),
        Err(error) => Err(Error::storage("create", dir, &error)),
    }
}

/// Makes a directory that was missing last, and those above it, which may have been missing too: recordings that are synced are lost all
/// the same where the directory that they are in is.
pub fn sync_made(dir: &Path) -> Result<()> {
    let made = dir.ancestors().filter(|dir| dir.file_name().is_some());
    made.take(MADE_LEVELS).try_for_each(|dir| base::files::sync_name(dir).map_err(|error| Error::storage("create", dir, &error)))
}

/// How many directories one above the other may have been missing; those above these were there long before.
const MADE_LEVELS: usize = 8;

/// Whether a directory of recordings and those above it are on the disk for good. Who makes them for a journal does not wait for that; who
/// finishes the first recording in them does, whichever that is.
#[derive(Debug, Default)]
pub struct Lasting {
    /// How often they were made anew.
    made: AtomicU64,
    /// That number plus one when they were synced last; 0: never.
    synced: AtomicU64,
}

impl Lasting {
    /// They have been made anew.
    pub fn forget(&self) {
        self.made.fetch_add(1, Ordering::Relaxed);
    }

    /// Has them last, once; nothing is done where the directory has gone.
    ///
    /// # Errors
    /// As [`sync_made`].
    pub fn ensure(&self, dir: &Path) -> Result<()> {
        let made = self.made.load(Ordering::Relaxed) + 1;
        if self.synced.load(Ordering::Relaxed) != made && dir.is_dir() {
            sync_made(dir)?;
            self.synced.store(made, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// Makes renames in a directory last.
pub fn sync_dir(dir: &Path) -> Result<()> {
    base::files::sync_folder(dir).map_err(|error| Error::storage("sync", dir, &error))
}

/// Renames within a directory, for good.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    std::fs::rename(from, to).map_err(|error| Error::storage("rename", from, &error))?;
    base::files::sync_name(to).map_err(|error| Error::storage("sync", to, &error))
}

/// A file in the making: it goes away with this value unless it got its name.
#[derive(Debug)]
pub struct TempFile {
    /// Before the file, and with it its lock, so that nobody takes what goes away for a leftover.
    name: TempName,
    /// The open file, for reading and writing.
    pub file: File,
}

/// The name of a file in the making, which goes away with this value.
#[derive(Debug)]
struct TempName {
    path: PathBuf,
    named: bool,
}

impl TempFile {
    /// Makes one in `dir`, which must be there. It is locked: one that nobody holds was left by a process that was killed.
    pub fn create(dir: &Path, id: &str) -> Result<Self> {
        lock::hold_new(dir, || {
            let path = temp_path(dir, id);
            let file = create_private(&path).map_err(|error| Error::storage("create", &path, &error))?;
            let temp = Self { file, name: TempName { path, named: false } };
            Ok(lock::hold(&temp.file, temp.path())?.then_some(temp))
        })
    }

    /// Where it is now.
    pub fn path(&self) -> &Path {
        &self.name.path
    }

    /// Syncs the content, gives it its name in place of what had it, and syncs the directory.
    pub fn publish(mut self, target: &Path) -> Result<()> {
        self.file.sync_all().map_err(|error| Error::storage("sync", self.path(), &error))?;
        rename(self.path(), target)?;
        self.name.named = true;
        Ok(())
    }

    /// Gives it its name without syncing anything, and hands out the open file.
    pub fn name(mut self, target: &Path) -> Result<File> {
        std::fs::rename(self.path(), target).map_err(|error| Error::storage("rename", self.path(), &error))?;
        self.name.named = true;
        Ok(self.file)
    }
}

impl Drop for TempName {
    fn drop(&mut self) {
        if !self.named
            && let Err(error) = std::fs::remove_file(&self.path)
        {
            log::debug!("{} stays until the next start: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn names_of_recordings_are_told_from_others() {
        for (name, expected) in [
            ("rec_01HXYZ123456.json", Some(("01HXYZ123456", Kind::Finished))),
            ("rec_01HXYZ123456.json.deleted", Some(("01HXYZ123456", Kind::Deleted))),
            ("rec_01HXYZ123456.journal", Some(("01HXYZ123456", Kind::Journal))),
            ("rec_01HXY.json", None),
            ("rec_.json", None),
            ("rec_01HXYZ.123456.json", None),
            ("rec_01HXYZ 123456.json", None),
            ("01HXYZ123456.json", None),
            ("rec_01HXYZ123456.json.bak", None),
            (".rec_01HXYZ123456.0123456789abcdef.tmp", None),
        ] {
            assert_eq!(parse_name(name), expected, "{name}");
        }
        let temp = temp_path(Path::new(""), "01HXYZ123456");
        assert!(is_temp(temp.to_str().unwrap()));
        for other in
            [".rec_x.tmp", ".rec_01HXYZ123456.tmp", "rec_01HXYZ123456.0123456789abcdef.tmp", ".rec_01HXYZ123456.0123456789abcdeg.tmp"]
        {
            assert!(!is_temp(other), "{other}");
        }
    }

    #[test]
    fn what_can_be_no_id_is_not_looked_for() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("rec_secret.json"), "{}").unwrap();
        assert_eq!(locate(&dir.path().join("x"), "../rec_secret").unwrap(), None);
        assert!(locate(dir.path(), "secret").unwrap().is_some());
    }

    #[test]
    fn directories_that_are_missing_are_made_private() {
        let root = tempfile::tempdir().unwrap();
        let deep = root.path().join("a/b");
        make_dir(&deep).unwrap();
        make_dir(&deep).unwrap();
        for dir in [root.path().join("a"), deep] {
            assert_eq!(std::fs::metadata(dir).unwrap().permissions().mode() & 0o777, 0o700);
        }
        std::fs::write(root.path().join("file"), "").unwrap();
        assert!(matches!(make_dir(&root.path().join("file/x")), Err(Error::Storage { .. })));
    }

    #[test]
    fn a_file_in_the_making_goes_away_unless_it_got_its_name() {
        let dir = tempfile::tempdir().unwrap();
        drop(TempFile::create(dir.path(), "01HXYZ123456").unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        let target = path_of(dir.path(), "01HXYZ123456", Kind::Finished);
        TempFile::create(dir.path(), "01HXYZ123456").unwrap().publish(&target).unwrap();
        assert_eq!(std::fs::metadata(target).unwrap().permissions().mode() & 0o777, 0o600);
    }

    /// Somebody has made hard links by hand, or the directory shows a file that is renamed meanwhile under both names.
    #[test]
    fn a_file_with_several_names_of_one_recording_is_there_once() {
        use Kind::{Deleted, Finished, Journal};
        let sets: [&[Kind]; 4] = [&[Finished, Deleted], &[Finished, Journal], &[Deleted, Journal], &Kind::ALL];
        for kinds in sets {
            for is_beside in [false, true] {
                let dir = tempfile::tempdir().unwrap();
                let at = |id: &str, kind: Kind| path_of(dir.path(), id, kind);
                let first = at("01HXYZ123456", kinds[0]);
                std::fs::write(&first, "12345").unwrap();
                for kind in &kinds[1..] {
                    std::fs::hard_link(&first, at("01HXYZ123456", *kind)).unwrap();
                }
                // The same file under another id is another recording, whatever links there are.
                std::fs::hard_link(&first, at("01HXYZ999999", Finished)).unwrap();
                let mut expected = vec![("01HXYZ123456", kinds[0], 5), ("01HXYZ999999", Finished, 5)];
                // So is another file under the same id: both take their bytes, and who lists takes the kind that counts.
                if is_beside && let Some(other) = Kind::ALL.into_iter().find(|kind| !kinds.contains(kind)) {
                    std::fs::write(at("01HXYZ123456", other), "123").unwrap();
                    expected.push(("01HXYZ123456", other, 3));
                }
                let all = scan(dir.path()).unwrap();
                let mut found: Vec<_> = all.iter().map(|found| (found.id.as_str(), found.kind, found.stamp.size)).collect();
                found.sort_unstable();
                expected.sort_unstable();
                assert_eq!(found, expected, "{kinds:?}");
            }
        }
    }
}
