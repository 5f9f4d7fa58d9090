//! The Unix socket between the gate and `tiny_http`, in a directory that nobody else can enter.

use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

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

/// Binds a socket in a fresh directory of mode 0700 below the first of `parents` that takes one.
///
/// # Errors
/// [`Error::Failed`] that says why none of them does.
pub fn bind(parents: &[PathBuf]) -> Result<AdminSocket> {
    let mut reasons = Vec::new();
    for parent in parents {
        match bind_below(parent) {
            Ok(socket) => return Ok(socket),
            Err(reason) => reasons.push(format!("{}: {reason}", parent.display())),
        }
    }
    Err(Error::Failed(format!(
        "no place for the admin port's inner socket ({}); set TMPDIR to a directory that can be written",
        reasons.join("; ")
    )))
}

fn bind_below(parent: &Path) -> std::result::Result<AdminSocket, String> {
    // A fresh name and a plain mkdir: one that exists already, made by somebody else, is an error and not a door.
    let directory = parent.join(format!("mockd-{}", id::new()));
    std::fs::DirBuilder::new().mode(0o700).create(&directory).map_err(|error| error.to_string())?;
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
}
