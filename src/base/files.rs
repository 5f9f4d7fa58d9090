//! How files are made, opened and replaced so that nobody else reads them, and no link or pipe that stands in their place is followed.
//! It knows no recording; the store does.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::id;

/// Writes a file so that nobody sees half of it: beside it first, then renamed.
///
/// # Errors
/// What the system says.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let (beside, mut file) = create_beside(path)?;
    file.write_all(bytes).and_then(|()| std::fs::rename(&beside, path)).inspect_err(|_| remove(&beside))
}

/// Makes a new file beside `path`, for a text that will take its place, and gives its name. Nobody can have put a link there: the
/// name cannot be guessed, and one that is taken is an error.
///
/// # Errors
/// What the system says.
pub fn create_beside(path: &Path) -> std::io::Result<(PathBuf, File)> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{:016x}.tmp", id::random_u64()));
    let beside = path.with_file_name(name);
    let file = File::create_new(&beside)?;
    Ok((beside, file))
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

/// Opens what is a plain file, and nothing else by that name: a link would lead elsewhere, a pipe would be waited for.
///
/// # Errors
/// What the system says; `InvalidInput` for what is no plain file.
pub fn open_plain(path: &Path, options: &OpenOptions) -> std::io::Result<File> {
    let file = options.clone().custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK).open(path)?;
    if file.metadata()?.is_file() { Ok(file) } else { Err(std::io::Error::new(ErrorKind::InvalidInput, "this is no plain file")) }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
