//! Small files that are no recordings: one that says that a server is ready, an export, a socket. And what makes a name last.
//! Recordings are the store's.

use std::fs::{File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Writes a file so that nobody sees half of it: beside it first, then renamed.
///
/// # Errors
/// What the system says.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let beside = Beside::create(path)?;
    (&beside.file).write_all(bytes)?;
    beside.publish()
}

/// A file in the making beside the one whose place it takes: `chat.json.1234.mockd.tmp`. It goes away with this value, unless it was published.
/// It is locked: one that a killed process left is held by nobody, and goes away when its target is written the next time.
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
        let path = target.with_file_name(format!("{}{}{END}", begin(target), std::process::id()));
        // Another run that writes the same target may take it for a leftover, before it is locked.
        for _ in 0..TRIES {
            let file = OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
            // Where there are no locks, nobody takes leftovers away.
            let is_held = file.try_lock().map_or_else(|error| !matches!(error, std::fs::TryLockError::WouldBlock), |()| true);
            if is_held && std::fs::metadata(&path).is_ok_and(|named| file.metadata().is_ok_and(|own| own.ino() == named.ino())) {
                return Ok(Self { file, path, target: target.to_owned() });
            }
        }
        Err(std::io::Error::other(format!("{} is taken away as soon as it is there", path.display())))
    }

    /// Gives it the name of its target, in place of what had it.
    ///
    /// # Errors
    /// What the system says; what had the name is as it was.
    pub fn publish(self) -> std::io::Result<()> {
        std::fs::rename(&self.path, &self.target)
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// What follows the process's number in the name of a file in the making.
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
        let is_ours = number.is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
        if !is_ours || !entry.file_type().is_ok_and(|kind| kind.is_file()) {
            continue;
        }
        if File::open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            remove(&entry.path());
        }
    }
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
        let others = ["chat.json.3.tmp", "chat.json.1x.mockd.tmp", "other.json.1.mockd.tmp", "chat.json.2.mockd.tmp"];
        others.iter().chain(&["chat.json.1.mockd.tmp"]).for_each(|name| std::fs::write(dir.path().join(name), "").unwrap());
        let held = File::open(dir.path().join("chat.json.2.mockd.tmp")).unwrap();
        held.lock().unwrap();
        write_atomically(&target, b"new").unwrap();
        assert_eq!(
            names(dir.path()),
            ["chat.json", "chat.json.1x.mockd.tmp", "chat.json.2.mockd.tmp", "chat.json.3.tmp", "other.json.1.mockd.tmp"]
        );
    }
}
