//! The Unix socket between the gate and `tiny_http`, in a directory that nobody else can enter.

use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tiny_http::Server;

use crate::base::error::{Error, Result};
use crate::base::{files, id};

/// `tiny_http` on its socket. The socket and its directory go away with it.
pub struct AdminSocket {
    /// Where requests come from. It stands first: dropped, it ends its own thread by connecting to the path once more.
    pub server: Arc<Server>,
    /// What the gate connects to.
    pub path: PathBuf,
    /// Dropped last.
    _directory: Directory,
}

impl Drop for AdminSocket {
    fn drop(&mut self) {
        self.server.unblock();
    }
}

/// A directory with a socket in it, removed when dropped.
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        // tiny_http removes its socket itself, unless somebody still holds the server.
        files::remove(&self.0.join(SOCKET_NAME));
        if let Err(error) = std::fs::remove_dir(&self.0) {
            log::debug!("{}: {error}", self.0.display());
        }
    }
}

const SOCKET_NAME: &str = "admin.sock";
const PREFIX: &str = "mockd-";
const STALE_AFTER: Duration = Duration::from_secs(60);

/// Binds a socket in a fresh directory of mode 0700 below the first of `parents` that takes one.
///
/// # Errors
/// [`Error::Failed`] that says why none of them does.
pub fn bind(parents: &[PathBuf]) -> Result<AdminSocket> {
    let mut reasons = Vec::new();
    for parent in parents {
        match bind_below(parent) {
            Ok(socket) => {
                remove_stale(parent);
                return Ok(socket);
            }
            Err(reason) => reasons.push(format!("{}: {reason}", parent.display())),
        }
    }
    Err(Error::Failed(format!(
        "no place for the admin port's inner socket ({}); set TMPDIR to a directory that can be written",
        reasons.join("; ")
    )))
}

/// Removes the sockets that servers left below `parent` when they were killed: nobody answers there.
fn remove_stale(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    // A link of such a name, in a place that all may write to, would lead to somebody's directory.
    let is_dir = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    for entry in entries.flatten().filter(|entry| is_ours(&entry.file_name()) && is_dir(entry)) {
        // One that is younger may be about to listen.
        let age = entry.metadata().and_then(|data| data.modified()).ok().and_then(|modified| modified.elapsed().ok());
        let socket = entry.path().join(SOCKET_NAME);
        if age.is_some_and(|age| age > STALE_AFTER) && is_dead(&UnixStream::connect(&socket)) {
            drop(Directory(entry.path()));
        }
    }
}

/// Whether nobody can be listening. Any other failure may be ours (no descriptor left, no permission): the socket stays.
fn is_dead(connected: &std::io::Result<UnixStream>) -> bool {
    matches!(connected, Err(error) if matches!(error.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound))
}

fn is_ours(name: &std::ffi::OsStr) -> bool {
    name.to_str().and_then(|name| name.strip_prefix(PREFIX)).is_some_and(|id| id.len() == 26 && id::check_prefix(id).is_ok())
}

fn bind_below(parent: &Path) -> std::result::Result<AdminSocket, String> {
    // A fresh name and a plain mkdir: one that exists already, made by somebody else, is an error and not a door.
    let directory = parent.join(format!("{PREFIX}{}", id::new()));
    files::create_private_dir(&directory).map_err(|error| error.to_string())?;
    let directory = Directory(directory);
    let path = directory.0.join(SOCKET_NAME);
    let server = Server::http_unix(&path).map_err(|error| error.to_string())?;
    Ok(AdminSocket { server: Arc::new(server), path, _directory: directory })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn the_socket_stands_in_a_private_directory_and_goes_away() {
        let parent = tempfile::tempdir().unwrap();
        let socket = bind(&[parent.path().join("missing"), parent.path().to_owned()]).unwrap();
        let directory = socket.path.parent().unwrap().to_owned();
        assert_eq!(std::fs::metadata(&directory).unwrap().permissions().mode() & 0o777, 0o700);
        std::os::unix::net::UnixStream::connect(&socket.path).unwrap();
        drop(socket);
        assert!(!directory.exists());
    }

    #[test]
    fn where_no_place_will_do_the_reasons_are_told() {
        let parent = tempfile::tempdir().unwrap();
        let long = parent.path().join("x".repeat(120));
        std::fs::create_dir(&long).unwrap();
        let error = bind(&[parent.path().join("missing"), long.clone()]).err().unwrap().to_string();
        assert!(error.contains("missing: No such file") && error.contains("set TMPDIR"), "{error}");
        assert_eq!(std::fs::read_dir(&long).unwrap().count(), 0);
    }

    #[test]
    fn only_a_socket_that_nobody_listens_on_is_dead() {
        let failed = |kind: ErrorKind| is_dead(&Err(kind.into()));
        assert!(failed(ErrorKind::ConnectionRefused) && failed(ErrorKind::NotFound));
        let too_many_open_files = is_dead(&Err(std::io::Error::from_raw_os_error(24)));
        assert!(!too_many_open_files && !failed(ErrorKind::PermissionDenied) && !failed(ErrorKind::Interrupted));
    }

    #[test]
    fn what_a_killed_server_left_is_removed_and_what_lives_stays() {
        let parent = tempfile::tempdir().unwrap();
        let made = |name: String| {
            let directory = parent.path().join(name);
            std::fs::create_dir(&directory).unwrap();
            directory
        };
        let linked = parent.path().join(format!("mockd-{}", id::new()));
        let elsewhere = made("elsewhere".into());
        std::fs::write(elsewhere.join(SOCKET_NAME), "").unwrap();
        std::os::unix::fs::symlink(&elsewhere, &linked).unwrap();
        let old = std::time::SystemTime::now() - 2 * STALE_AFTER;
        let age = |directory: &Path| std::fs::File::open(directory).unwrap().set_modified(old).unwrap();
        let (epoch, no_follow) = (nix::sys::time::TimeSpec::new(0, 0), nix::sys::stat::UtimensatFlags::NoFollowSymlink);
        nix::sys::stat::utimensat(nix::fcntl::AT_FDCWD, &linked, &epoch, &epoch, no_follow).unwrap();
        let (dead, young, foreign) =
            (made(format!("mockd-{}", id::new())), made(format!("mockd-{}", id::new())), made("mockd-mine".into()));
        drop(std::os::unix::net::UnixListener::bind(dead.join(SOCKET_NAME)).unwrap());
        let living = bind(&[parent.path().to_owned()]).unwrap();
        let living_directory = living.path.parent().unwrap();
        [&*dead, &*foreign, living_directory].into_iter().for_each(age);
        let next = bind(&[parent.path().to_owned()]).unwrap();
        assert!(elsewhere.join(SOCKET_NAME).exists(), "what a link leads to is nobody's leftover");
        assert!(!dead.exists() && young.exists() && foreign.exists() && living.path.exists() && next.path.exists());
    }
}
