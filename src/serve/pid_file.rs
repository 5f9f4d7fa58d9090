//! The pid files of servers in the background, one per admin port, below the data directory. A server keeps its own locked, so that a
//! file that a crash or a reboot left is told from a live one, whoever has its pid now. Nothing here starts or ends a process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::Server;
use crate::base::error::{Error, Result};
use crate::base::{files, id, limits, time};

/// What a pid file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Running {
    /// The process.
    pub pid: u32,
    /// The URL of its mock port.
    pub mock: String,
    /// The URL of its admin port.
    pub admin: String,
    /// The admin port, which names the file.
    pub admin_port: u16,
    /// When it was ready, RFC 3339.
    pub start_time: String,
    /// Where it logs.
    pub log: PathBuf,
}

/// The pid file of this process; it goes away with this value.
#[derive(Debug)]
pub struct PidFile {
    /// Open, and so locked.
    _file: File,
    path: PathBuf,
}

impl PidFile {
    /// Writes the pid file of this server beside its log, which gets the port's name.
    ///
    /// # Errors
    /// The directory takes no file; a live server has the same admin port on another address; another process keeps the directory locked.
    pub fn publish(server: &Server, log: &Path) -> Result<Self> {
        let dir = log.parent().unwrap_or(Path::new("."));
        let admin_port = server.admin.port();
        let path = path_of(dir, admin_port);
        let _turn = take_turn(dir, Duration::from_millis(limits::RUN_LOCK_MS))?;
        if let Some(other) = read_live(&path)? {
            return Err(taken(&other));
        }
        let own_log = dir.join(format!("{admin_port}.log"));
        std::fs::rename(log, &own_log).map_err(|error| Error::storage("rename", log, &error))?;
        let running = Running {
            pid: std::process::id(),
            mock: format!("http://{}", server.mock),
            admin: format!("http://{}", server.admin),
            admin_port,
            start_time: time::rfc3339(time::wall_us()),
            log: own_log,
        };
        let text = serde_json::to_vec(&running).map_err(|error| Error::Failed(format!("this cannot be said in JSON: {error}")))?;
        remove_unfinished(dir);
        let beside = dir.join(format!("{UNFINISHED}{admin_port}.{}.tmp", running.pid));
        let mut file = files::create_private(&beside).map_err(|error| Error::storage("create", &beside, &error))?;
        let named = file.lock().and_then(|()| file.write_all(&text)).and_then(|()| std::fs::rename(&beside, &path));
        named.map_err(|error| {
            files::remove(&beside);
            Error::storage("write", &path, &error)
        })?;
        forget_logs(dir, limits::MAX_OLD_LOGS);
        Ok(Self { _file: file, path })
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        files::remove(&self.path);
    }
}

/// The servers that run in the background with this directory of pid files, by their admin ports. Files that are of no live one are removed, if
/// nobody else is at work there: a look waits for no lock.
///
/// # Errors
/// The directory is there and cannot be read.
pub fn running(dir: &Path) -> Result<Vec<Running>> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(Vec::new()),
        Err(error) => return Err(Error::storage("read", dir, &error)),
    };
    let mut all = Vec::new();
    for entry in entries.flatten() {
        let name = entry.file_name();
        let port = name.to_str().and_then(|name| name.strip_suffix(".json")).and_then(|port| port.parse::<u16>().ok());
        let Some(port) = port else { continue };
        match read_live(&path_of(dir, port))? {
            Some(one) => all.push(one),
            None => remove_stale(dir, port),
        }
    }
    all.sort_by_key(|one| one.admin_port);
    Ok(all)
}

/// Waits until the server of this admin port has ended, at most `limit`; whether it has. Its file is gone then, or goes with the next look.
///
/// # Errors
/// The directory cannot be read.
pub fn wait_end(dir: &Path, admin_port: u16, limit: Duration) -> Result<bool> {
    let deadline = Instant::now() + limit;
    while read_live(&path_of(dir, admin_port))?.is_some() {
        if Instant::now() >= deadline {
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(limits::LOOK_AGAIN_MS));
    }
    remove_stale(dir, admin_port);
    Ok(true)
}

/// The error that a server runs already.
pub fn taken(running: &Running) -> Error {
    Error::Failed(format!(
        "a server runs in the background already: pid {}, admin port {}; end it with `mockd stop --admin-port {}`, or choose another --admin-port",
        running.pid, running.admin, running.admin_port
    ))
}

fn path_of(dir: &Path, admin_port: u16) -> PathBuf {
    dir.join(format!("{admin_port}.json"))
}

/// What the name of a pid file in the making begins with.
const UNFINISHED: &str = ".";

/// Removes pid files in the making: under the lock of the directory, in which alone they are made, they are those of killed servers.
fn remove_unfinished(dir: &Path) {
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        if name.to_str().is_some_and(|name| name.starts_with(UNFINISHED) && name.ends_with(".tmp")) {
            files::remove(&entry.path());
        }
    }
}

/// Removes the oldest logs of servers that have ended, all but `kept`: each free port leaves one, and each start that was killed before
/// its server had a port one with an id. Under the lock of the directory.
fn forget_logs(dir: &Path, kept: usize) {
    let stem_of = |path: &Path| path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned);
    let is_old = |path: &Path| {
        // A log whose age nobody can say stays.
        let modified = path.metadata().and_then(|metadata| metadata.modified()).ok();
        let age = modified.and_then(|at| SystemTime::now().duration_since(at).ok());
        age.is_some_and(|age| age > Duration::from_millis(2 * limits::START_TIMEOUT_MS))
    };
    let paths = std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let logs = paths.filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    let ended = logs.filter(|log| {
        let Some(stem) = stem_of(log) else { return false };
        match stem.parse::<u16>() {
            Ok(port) => !path_of(dir, port).exists(),
            // Its server may be about to get its port.
            Err(_) => stem.len() == 26 && id::check_prefix(&stem).is_ok() && is_old(log),
        }
    });
    // One that has gone meanwhile needs nobody.
    let mut ended: Vec<(SystemTime, PathBuf)> = ended.filter_map(|log| Some((log.metadata().ok()?.modified().ok()?, log))).collect();
    ended.sort();
    let surplus = ended.len().saturating_sub(kept);
    ended.iter().take(surplus).for_each(|(_, log)| files::remove(log));
}

/// What a pid file says, if its server lives.
fn read_live(path: &Path) -> Result<Option<Running>> {
    let failed = |error: std::io::Error| Error::storage("read", path, &error);
    let file = match files::open_plain(path, OpenOptions::new().read(true)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        // What is no plain file is nobody's pid file.
        Err(_) if std::fs::symlink_metadata(path).is_ok_and(|metadata| !metadata.is_file()) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    // Shared, so that two who look at once do not take each other for the server.
    match file.try_lock_shared() {
        Ok(()) => return Ok(None),
        Err(TryLockError::WouldBlock) => {}
        Err(TryLockError::Error(error)) => return Err(failed(error)),
    }
    let mut text = Vec::new();
    file.take(limits::MAX_RUN_FILE_BYTES).read_to_end(&mut text).map_err(failed)?;
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| Error::Failed(format!("{} is held by a process, but is no pid file of mockd: {error}; remove it", path.display())))
}

/// Removes a file that no live server holds; under the lock of the directory, so that it is not that of a server that has just begun.
/// What cannot be removed now stays for the next look: it is of no server all the same.
fn remove_stale(dir: &Path, admin_port: u16) {
    let path = path_of(dir, admin_port);
    if !path.exists() {
        return;
    }
    match take_turn(dir, Duration::ZERO).and_then(|turn| Ok((turn, read_live(&path)?))) {
        Ok((_turn, None)) => files::remove(&path),
        Ok((_, Some(_))) => {}
        Err(error) => log::debug!("{} stays for now: {error}", path.display()),
    }
}

/// The right to give and take away names in the directory, waited for at most `limit`; ends when it is dropped.
fn take_turn(dir: &Path, limit: Duration) -> Result<File> {
    let path = dir.join("lock");
    let file = files::open_lock(&path).map_err(|error| Error::storage("open", &path, &error))?;
    files::lock_within(&file, &path, &format!("the pid files in {}", dir.display()), limit)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(dir: &Path, port: u16) -> File {
        let running = Running {
            pid: 1,
            mock: "http://127.0.0.1:1".to_owned(),
            admin: format!("http://127.0.0.1:{port}"),
            admin_port: port,
            start_time: time::rfc3339(0),
            log: dir.join("x.log"),
        };
        let mut file = files::create_private(&path_of(dir, port)).unwrap();
        file.write_all(&serde_json::to_vec(&running).unwrap()).unwrap();
        file
    }

    #[test]
    fn logs_of_ended_servers_do_not_pile_up() {
        let dir = tempfile::tempdir().unwrap();
        for port in 1..=9_u16 {
            let log = std::fs::File::create(dir.path().join(format!("{port}.log"))).unwrap();
            log.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(100 - u64::from(port))).unwrap();
        }
        let others = ["failed.log", "01M80GBE0R8GEBRHYPBDT3Q0GT.log", "9.json", "lock"];
        others.iter().for_each(|name| std::fs::write(dir.path().join(name), "").unwrap());
        // One whose server is about to begin, above, and one whose start was killed.
        let killed = std::fs::File::create(dir.path().join("01M80GBE0R8GEBRHYPBDT3Q0GS.log")).unwrap();
        killed.set_modified(SystemTime::UNIX_EPOCH).unwrap();
        forget_logs(dir.path(), 3);
        assert!(!dir.path().join("01M80GBE0R8GEBRHYPBDT3Q0GS.log").exists());
        let left = |name: &str| dir.path().join(name).exists();
        let ports: Vec<u16> = (1..=9).filter(|port| left(&format!("{port}.log"))).collect();
        assert_eq!(ports, [1, 2, 3, 9], "the newest, and that of a server that runs");
        assert!(others.iter().all(|name| left(name)));
    }

    #[test]
    fn a_file_that_nobody_holds_is_of_no_server_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(running(&dir.path().join("none")).unwrap(), []);
        let (held, left) = (write(dir.path(), 7002), write(dir.path(), 7001));
        held.lock().unwrap();
        drop(left);
        std::fs::write(dir.path().join("notes.json"), "{}").unwrap();
        std::fs::write(dir.path().join("7003.json"), "torn").unwrap();
        let ports = |dir: &Path| running(dir).unwrap().iter().map(|one| one.admin_port).collect::<Vec<_>>();
        assert_eq!(ports(dir.path()), [7002]);
        assert!(!path_of(dir.path(), 7001).exists() && !path_of(dir.path(), 7003).exists());
        assert!(!wait_end(dir.path(), 7002, Duration::ZERO).unwrap());
        drop(held);
        assert!(wait_end(dir.path(), 7002, Duration::ZERO).unwrap());
        assert_eq!(ports(dir.path()), [0u16; 0]);
        assert!(!path_of(dir.path(), 7002).exists() && dir.path().join("notes.json").exists());
    }
}
