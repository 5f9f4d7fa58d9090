//! Small files that are no recordings: one that says that a server is ready, a socket. And what makes a name last. Recordings are the
//! store's.

use std::fs::{File, OpenOptions, Permissions};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Writes a file so that nobody sees half of it: beside it first, then renamed.
///
/// # Errors
/// What the system says.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = path.with_file_name(name);
    std::fs::write(&beside, bytes).and_then(|()| std::fs::rename(&beside, path)).inspect_err(|_| remove(&beside))
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
