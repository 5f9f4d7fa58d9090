//! How files are made, opened and replaced so that nobody else reads them, no link or pipe that stands in their place is followed, and
//! their names last. It knows no recording; the store does.

use std::fs::{DirBuilder, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::error::Error;
use super::{id, limits, text};

/// Writes a file so that nobody sees half of it: beside it first, then renamed.
///
/// # Errors
/// What the system says.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = Beside::create(path)?;
    (&beside.file).write_all(bytes)?;
    beside.publish()
}

/// A file in the making beside the one whose place it takes: `chat.json.0123456789abcdef.mockd.tmp`. It goes away with this value, unless
/// it was published. It is its owner's alone until then, and gets the owner, the group and the permissions of the file that it replaces, as far as this process may; where there is none it has
/// those that the umask gives. Nobody can have put a link there: the name cannot be guessed, and one that is taken is not used. It is locked: one that a killed process left is held by nobody, and goes away when its target is written the next time.
#[derive(Debug)]
pub struct Beside {
    /// The open file.
    pub file: File,
    path: PathBuf,
    target: PathBuf,
}

impl Beside {
    /// Makes one for `target`.
    ///
    /// # Errors
    /// What the system says.
    pub fn create(target: &Path) -> std::io::Result<Self> {
        remove_leftovers(target);
        // Another run that writes the same target may take it for a leftover, before it is locked.
        for _ in 0..TRIES {
            let path = target.with_file_name(format!("{}{:016x}{END}", begin(target), id::random_u64()));
            let mode = if plain_file(target).is_some() { 0o600 } else { 0o666 };
            let file = OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(&path)?;
            // Where there are no locks, nobody takes leftovers away.
            let is_held = file.try_lock().map_or_else(|error| !matches!(error, TryLockError::WouldBlock), |()| true);
            if is_held && std::fs::metadata(&path).is_ok_and(|named| file.metadata().is_ok_and(|own| own.ino() == named.ino())) {
                return Ok(Self { file, path, target: target.to_owned() });
            }
        }
        Err(std::io::Error::other("files beside it are taken away as soon as they are there"))
    }

    /// Gives it the name of its target, in place of what had it, and whose that was and its permissions.
    ///
    /// # Errors
    /// What the system says; what had the name is as it was.
    pub fn publish(self) -> std::io::Result<()> {
        if let Some(old) = plain_file(&self.target) {
            take_access(&self.file, &old)?;
        }
        std::fs::rename(&self.path, &self.target)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// The plain file that stands under a name; `None` where there is none.
fn plain_file(path: &Path) -> Option<Metadata> {
    std::fs::symlink_metadata(path).ok().filter(Metadata::is_file)
}

/// Gives a file the owner, the group and the permissions of another, as far as the system lets this process.
fn take_access(file: &File, old: &Metadata) -> std::io::Result<()> {
    let own = file.metadata()?;
    let mut mode = old.mode() & 0o777;
    if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
        // Only root can give a file away; who is in its group can keep that.
        let has_group = fchown(file, Some(old.uid()), Some(old.gid())).is_ok() || fchown(file, None, Some(old.gid())).is_ok();
        if !has_group {
            // What the group might do would be another group's.
            mode &= !0o070;
        }
    }
    if own.mode() & 0o777 == mode { Ok(()) } else { file.set_permissions(Permissions::from_mode(mode)) }
}

/// What follows 16 hexadecimal digits in the name of a file in the making.
const END: &str = ".mockd.tmp";
/// How often [`Beside::create`] tries.
const TRIES: usize = 100;

/// What the names of files in the making begin with, for one target.
fn begin(target: &Path) -> String {
    format!("{}.", target.file_name().unwrap_or_default().to_string_lossy())
}

/// Removes what killed processes left of their attempts to write `target`.
fn remove_leftovers(target: &Path) {
    let begin = begin(target);
    let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.strip_prefix(&begin)?.strip_suffix(END));
        let is_ours = number.is_some_and(|number| number.len() == 16 && number.bytes().all(|byte| byte.is_ascii_hexdigit()));
        // Held while it is removed, so that a write which has just made its file sees that it has lost it.
        if is_ours && let Some(_held) = claim_leftover(&entry.path()) {
            remove(&entry.path());
        }
    }
}

/// Opens and locks a file in the making that nobody writes.
fn claim_leftover(path: &Path) -> Option<File> {
    let file = open_plain(path, OpenOptions::new().read(true)).ok()?;
    file.try_lock().is_ok().then_some(file)
}

/// Makes the name of a file or folder last: syncs the folder that it is in. fsync(2) of a file is not enough for its name.
///
/// # Errors
/// As [`sync_folder`].
pub fn sync_name(path: &Path) -> std::io::Result<()> {
    sync_folder(path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new(".")))
}

/// Makes the names in a folder last. One that may be written and not be read can't be synced, nor can any on some file systems: that
/// is no error, for there is nothing that could be done instead.
///
/// # Errors
/// What the system says.
pub fn sync_folder(folder: &Path) -> std::io::Result<()> {
    use std::io::ErrorKind::{InvalidInput, PermissionDenied, Unsupported};
    match File::open(folder).and_then(|folder| folder.sync_all()) {
        Err(error) if matches!(error.kind(), PermissionDenied | InvalidInput | Unsupported) => {
            log::debug!("{} can't be synced: {error}", folder.display());
            Ok(())
        }
        result => result,
    }
}

/// Makes a folder and those above it where they are missing, each to last.
///
/// # Errors
/// What the system says.
pub fn make_folders(folder: &Path) -> std::io::Result<()> {
    if folder.as_os_str().is_empty() || folder.is_dir() {
        return Ok(());
    }
    folder.parent().map_or(Ok(()), make_folders)?;
    // Another process may be quicker.
    std::fs::create_dir_all(folder).and_then(|()| sync_name(folder))
}

/// Removes a file that may be gone already.
pub fn remove(path: &Path) {
    if let Err(error) = std::fs::remove_file(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        log::debug!("{} stays: {error}", path.display());
    }
}

/// Makes a new file, 0600 whatever the umask.
///
/// # Errors
/// What the system says.
pub fn create_private(path: &Path) -> std::io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    Ok(file)
}

/// Makes a new directory, 0700 whatever the umask.
///
/// # Errors
/// What the system says: it is there already.
pub fn create_private_dir(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().mode(0o700).create(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o700))
}

/// Opens a file for its lock alone, and makes it, 0600 whatever the umask, where it is not there.
///
/// # Errors
/// What the system says.
pub fn open_lock(path: &Path) -> std::io::Result<File> {
    match create_private(path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => open_plain(path, OpenOptions::new().read(true).write(true)),
        made => made,
    }
}

/// Locks a file that was opened from `path`, and waits for that at most `limit`: a process that stands still must not hold up all others.
///
/// # Errors
/// [`Error::Storage`] for what the system says; [`Error::Failed`] where another process keeps it, which names `what` it keeps.
pub fn lock_within(file: &File, path: &Path, what: &str, limit: Duration) -> Result<(), Error> {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(1);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(()),
            Err(TryLockError::Error(error)) => return Err(Error::storage("lock", path, &error)),
            Err(TryLockError::WouldBlock) => {}
        }
        if Instant::now() >= deadline {
            return Err(Error::Failed(format!(
                "another process has kept {what} locked for {}: `fuser {}` says which; end it, and try again",
                text::duration(limit.as_millis().try_into().unwrap_or(u64::MAX)),
                path.display()
            )));
        }
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(limits::LOOK_AGAIN_MS));
    }
}

/// Opens what stands under a name, a directory too: no link is followed, no pipe waited for.
///
/// # Errors
/// What the system says.
pub fn open_here(path: &Path, options: &OpenOptions) -> std::io::Result<File> {
    options.clone().custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK).open(path)
}

/// Opens what is a plain file, and nothing else by that name: a link would lead elsewhere, a pipe would be waited for.
///
/// # Errors
/// What the system says; `InvalidInput` for what is no plain file.
pub fn open_plain(path: &Path, options: &OpenOptions) -> std::io::Result<File> {
    let file = open_here(path, options)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(std::io::Error::new(ErrorKind::InvalidInput, "this is no plain file")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_is_replaced_at_once_or_not_at_all() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("chat.json");
        write_atomically(&target, b"old").unwrap();
        let beside = Beside::create(&target).unwrap();
        (&beside.file).write_all(b"half").unwrap();
        assert_eq!((std::fs::read(&target).unwrap(), names(dir.path()).len()), (b"old".to_vec(), 2));
        drop(beside);
        assert_eq!(names(dir.path()), ["chat.json"]);
    }

    #[test]
    fn what_a_killed_process_left_goes_away_with_the_next_write() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("chat.json");
        let left = "chat.json.0123456789abcdef.mockd.tmp";
        let held = "chat.json.2123456789abcdef.mockd.tmp";
        let mut others =
            [held, "chat.json.3123456789abcdef.tmp", "chat.json.x123456789abcdef.mockd.tmp", "other.json.0123456789abcdef.mockd.tmp"];
        others.iter().chain(&[left]).for_each(|name| std::fs::write(dir.path().join(name), "").unwrap());
        let held = File::open(dir.path().join(held)).unwrap();
        held.lock().unwrap();
        write_atomically(&target, b"new").unwrap();
        others.sort_unstable();
        assert_eq!(names(dir.path()), [&["chat.json"], &others[..]].concat());
    }

    #[test]
    fn only_a_plain_file_is_opened_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("file"), "x").unwrap();
        std::fs::hard_link(at("file"), at("hard")).unwrap();
        std::os::unix::fs::symlink(at("file"), at("link")).unwrap();
        std::fs::create_dir(at("folder")).unwrap();
        nix::unistd::mkfifo(&at("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        drop(std::os::unix::net::UnixListener::bind(at("socket")).unwrap());
        for (name, is_opened) in [("file", true), ("hard", true), ("link", false), ("folder", false), ("pipe", false), ("socket", false)] {
            assert_eq!(open_plain(&at(name), OpenOptions::new().read(true)).is_ok(), is_opened, "{name}");
            assert_eq!(open_lock(&at(name)).is_ok(), is_opened, "{name}");
        }
        drop(open_lock(&at("lock")).unwrap());
        create_private_dir(&at("private")).unwrap();
        create_private_dir(&at("private")).unwrap_err();
        for (name, mode) in [("lock", 0o600), ("private", 0o700)] {
            assert_eq!(std::fs::metadata(at(name)).unwrap().permissions().mode() & 0o777, mode, "{name}");
        }
    }

    #[test]
    fn what_was_there_is_replaced_and_nothing_stays_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let (elsewhere, path) = (dir.path().join("elsewhere"), dir.path().join("ready.json"));
        std::fs::write(&elsewhere, "kept").unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        write_atomically(&path, b"new").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"new");
        assert_eq!(std::fs::read(&elsewhere).unwrap(), b"kept", "a link is replaced, not followed");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    /// Trap: who looked for leftovers let go of a file before it removed it, and took that of a write that had just begun.
    #[test]
    fn a_leftover_is_held_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("chat.json.0123456789abcdef.mockd.tmp");
        let begun = File::create_new(&path).unwrap();
        let claimed = claim_leftover(&path).unwrap();
        assert!(begun.try_lock().is_err(), "the write that has begun sees that it lost its file");
        assert!(claim_leftover(&path).is_none(), "it is one other's to remove");
        drop(claimed);
        begun.lock().unwrap();
        assert!(claim_leftover(&path).is_none(), "it is written");
    }
}
