//! `mockd start`, `stop` and `status`: a server in the background, as a process of its own. It is `mockd serve` with the same flags;
//! what it writes about itself stands in the server's `pid_file.rs`.

use std::ffi::{OsStr, OsString};
use std::io::{Read, Seek, SeekFrom};
use std::net::TcpStream;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use serde_json::json;

use super::client::Client;
use super::context::Context;
use super::serve::checked_settings;
use crate::base::error::{Error, Result};
use crate::base::text::{clean, duration, shorten};
use crate::base::{files, id, limits, platform, sync, time};
use crate::model::settings::by_flag;
use crate::serve::pid_file::{self, Running};
use crate::serve::ready_line;
use crate::store::Store;

/// By this variable a server in the background knows its log, and so that it is one.
const LOG_VARIABLE: &str = "MOCKD_DETACHED_LOG";

/// The flag of the admin port's token.
const TOKEN_FLAG: &str = "admin-token";

/// What `serve` with the same flags has to be told where it runs in the background.
pub fn own_log(context: &Context<'_>) -> Option<PathBuf> {
    context.surroundings.variable(LOG_VARIABLE).map(PathBuf::from)
}

/// `start`, `serve --detach`
pub fn start(context: &mut Context<'_>) -> Result<()> {
    let settings = checked_settings(context)?;
    let dir = store(settings.data_dir.clone(), settings.max_bytes, settings.warn_percent)?.ensure_run_dir()?;
    let others = pid_file::running(&dir)?;
    if let Some(other) = others.iter().find(|other| other.admin_port == settings.admin_port) {
        return Err(pid_file::taken(other));
    }
    let log = std::path::absolute(dir.join(format!("{}.log", id::new()))).map_err(|error| Error::storage("find", &dir, &error))?;
    let mut child = spawn(context, &log)?;
    let running = match await_ready(&mut child, &dir, settings.admin_token) {
        Ok(running) => running,
        Err(why) => {
            // It may have ended by itself.
            drop(child.kill());
            drop(child.wait());
            return Err(not_started(&why, &dir, &log));
        }
    };
    if context.typed.has("json") {
        return context.out.line(&ready_line(&running.mock, &running.admin, running.pid));
    }
    show(context, &format!("Server started: pid {}", running.pid), &running, &[])
}

/// `stop`
pub fn stop(context: &mut Context<'_>) -> Result<()> {
    let (dir, running) = pick(context)?;
    platform::terminate(running.pid);
    if !pid_file::wait_end(&dir, running.admin_port, Duration::from_millis(limits::STOP_TIMEOUT_MS))? {
        return Err(Error::Failed(format!(
            "the server with pid {} has not ended within {}: it may still be writing recordings; look at {}, or end it with `kill -9 {}`",
            running.pid,
            duration(limits::STOP_TIMEOUT_MS),
            running.log.display(),
            running.pid
        )));
    }
    context.out.line(&format!("Server stopped: pid {}, admin port {}", running.pid, clean(&running.admin)))
}

/// `status`
pub fn status(context: &mut Context<'_>) -> Result<()> {
    let (dir, running) = pick(context)?;
    let started_us = time::parse_rfc3339(&running.start_time).unwrap_or_else(time::wall_us);
    let uptime_ms = time::wall_us().saturating_sub(started_us) / 1000;
    let data_dir = dir.parent().unwrap_or(&dir);
    let data_dir = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned()).display().to_string();
    if context.typed.has("json") {
        let Running { pid, mock, admin, start_time, log, .. } = &running;
        return context.out.json(&json!({
            "pid": pid, "mock": mock, "admin": admin, "startTime": start_time, "uptimeSeconds": uptime_ms / 1000, "dataDir": data_dir, "log": log
        }));
    }
    let more = [("Uptime", duration(uptime_ms)), ("Data dir", data_dir)];
    show(context, &format!("Server running: pid {}", running.pid), &running, &more)
}

fn show(context: &mut Context<'_>, title: &str, running: &Running, more: &[(&str, String)]) -> Result<()> {
    context.out.line(title)?;
    let addresses = [("Mock port", running.mock.clone()), ("Admin port", running.admin.clone())];
    let log = [("Log", running.log.display().to_string())];
    for (name, value) in addresses.iter().chain(more).chain(&log) {
        context.out.line(&format!("  {:<12}{}", format!("{name}:"), clean(value)))?;
    }
    Ok(())
}

fn store(data_dir: Option<PathBuf>, max_bytes: u64, warn_percent: u64) -> Result<Store> {
    let data_dir = data_dir.ok_or_else(|| {
        Error::Failed("there is no place for pid files and recordings, since HOME is not set: name one with --data-dir".to_owned())
    })?;
    Ok(Store::new(data_dir, max_bytes, warn_percent))
}

/// The one server that is meant, and the directory of its pid file.
fn pick(context: &Context<'_>) -> Result<(PathBuf, Running)> {
    let settings = context.settings()?;
    let store = store(settings.data_dir, settings.max_bytes, settings.warn_percent)?;
    let dir = store.run_dir();
    let mut all = pid_file::running(&dir)?;
    // The default port picks nothing; neither does the wish for a free one.
    let typed = context.typed.text("admin-port").or_else(|| context.surroundings.variable("MOCKD_ADMIN_PORT"));
    let picked = typed.and_then(|port| port.parse::<u16>().ok()).filter(|port| *port != 0);
    let place = store.dir().display();
    if let Some(port) = picked {
        let found = all.into_iter().find(|one| one.admin_port == port);
        let none =
            || Error::Failed(format!("no server with the admin port {port} runs in the background for {place}; `mockd start` starts one"));
        return Ok((dir, found.ok_or_else(none)?));
    }
    match all.len() {
        0 => Err(Error::Failed(format!("no server runs in the background for {place}; `mockd start` starts one"))),
        1 => Ok((dir, all.remove(0))),
        count => {
            let list: Vec<String> = all.iter().map(|one| format!("{} (pid {})", one.admin_port, one.pid)).collect();
            Err(Error::Usage(format!("{count} servers run in the background, choose one with --admin-port: {}", list.join(", "))))
        }
    }
}

/// Starts this program again, as `serve` with the same arguments.
fn spawn(context: &Context<'_>, log: &Path) -> Result<Child> {
    let failed = |what: &str, error: std::io::Error| Error::Failed(format!("{what}: {error}"));
    let program = std::env::current_exe().map_err(|error| failed("the program's own file cannot be found", error))?;
    // Made for us alone; then opened so that what is written goes to its end, also after its front was cut off.
    let out = files::create_private(log).and_then(|_| std::fs::File::options().read(true).append(true).open(log));
    let out = out.map_err(|error| Error::storage("create", log, &error))?;
    let err = out.try_clone().map_err(|error| Error::storage("open", log, &error))?;
    let (args, token) = without_token(context.typed.raw.iter().skip(context.typed.command.path.len()));
    Command::new(program)
        .arg("serve")
        .args(args)
        .envs(by_flag(TOKEN_FLAG).zip(token).map(|(setting, token)| (setting.env, token)))
        .env(LOG_VARIABLE, log)
        .stdin(Stdio::null())
        .stdout(out)
        .stderr(err)
        .spawn()
        .map_err(|error| failed("the server cannot be started", error))
}

/// The arguments without the admin port's token, and the token: everybody on this machine can read the arguments of a process, and
/// those of a server in the background for a long time.
fn without_token<'a>(args: impl Iterator<Item = &'a OsString>) -> (Vec<&'a OsString>, Option<OsString>) {
    let (mut rest, mut token, mut is_next) = (Vec::new(), None, false);
    for arg in args {
        let value = arg.as_bytes().strip_prefix(b"--").and_then(|flag| flag.strip_prefix(TOKEN_FLAG.as_bytes()));
        match value {
            _ if is_next => {
                token = Some(arg.clone());
                is_next = false;
            }
            Some(b"") => is_next = true,
            Some([b'=', value @ ..]) => token = Some(OsStr::from_bytes(value).to_owned()),
            _ => rest.push(arg),
        }
    }
    (rest, token)
}

/// Waits until both ports of the child answer.
///
/// # Errors
/// Why they never will, or not in time.
fn await_ready(child: &mut Child, dir: &Path, token: Option<String>) -> Result<Running, String> {
    let deadline = Instant::now() + Duration::from_millis(limits::START_TIMEOUT_MS);
    loop {
        let ended = child.try_wait().map_err(|error| error.to_string())?;
        let found = pid_file::running(dir).map_err(|error| error.to_string())?.into_iter().find(|one| one.pid == child.id());
        if let Some(running) = found
            && answers(&running, token.clone(), deadline)
        {
            return Ok(running);
        }
        if ended.is_some() {
            return Err("it ended before it was ready".to_owned());
        }
        if Instant::now() >= deadline {
            return Err(format!("it did not answer on both ports within {}", duration(limits::START_TIMEOUT_MS)));
        }
        std::thread::sleep(Duration::from_millis(limits::LOOK_AGAIN_MS));
    }
}

/// Whether both ports answer before the deadline.
fn answers(running: &Running, token: Option<String>, deadline: Instant) -> bool {
    let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
    let mock = running.mock.strip_prefix("http://").and_then(|address| address.parse().ok());
    if mock.is_none_or(|address| TcpStream::connect_timeout(&address, left).is_err()) {
        return false;
    }
    // The client waits for an answer however long it takes; that must not hold up this process.
    let (sender, answer) = channel();
    let admin = running.admin.clone();
    let asked = sync::spawn("health", move || {
        let health = Client::new(&admin, token).and_then(|client| client.call("GET", "/health", None));
        if sender.send(health.is_ok()).is_err() {
            log::debug!("the answer of the admin port came too late");
        }
    });
    asked.is_ok() && answer.recv_timeout(left).unwrap_or(false)
}

/// The error of a server that did not start, with the last words of its log, which is kept under one name.
fn not_started(why: &str, dir: &Path, log: &Path) -> Error {
    let words = last_line(log).map_or_else(String::new, |line| format!(": {}", clean(&shorten(&line, 1024))));
    let kept = dir.join("failed.log");
    let kept = if std::fs::rename(log, &kept).is_ok() { kept } else { log.to_owned() };
    Error::Failed(format!("the server was not started, {why}{words}; its log is {}", kept.display()))
}

/// The last line of a file that says something, less the name that errors begin with.
fn last_line(path: &Path) -> Option<String> {
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(limits::LAST_WORDS_BYTES))).ok()?;
    let mut bytes = Vec::new();
    file.take(limits::LAST_WORDS_BYTES).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().map(str::trim).rfind(|line| !line.is_empty())?;
    Some(line.strip_prefix("mockd: ").unwrap_or(line).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_taken_out_of_the_arguments() {
        for (args, rest, token) in [
            (vec!["--port", "0"], vec!["--port", "0"], None),
            (vec!["--admin-token", "a", "--json"], vec!["--json"], Some("a")),
            (vec!["--json", "--admin-token=a=b"], vec!["--json"], Some("a=b")),
            (vec!["--admin-token", "--json"], vec![], Some("--json")),
            (vec!["--admin-token="], vec![], Some("")),
        ] {
            let typed: Vec<OsString> = args.iter().map(OsString::from).collect();
            let (left, found) = without_token(typed.iter());
            assert_eq!(
                (left, found.as_deref()),
                (rest.iter().map(OsString::from).collect::<Vec<_>>().iter().collect(), token.map(OsStr::new))
            );
        }
    }
}
