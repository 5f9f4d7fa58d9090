//! A server in the background: `start`, `serve --detach`, `stop`, `status`, and the pid files that they agree by.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::server::{Place, text};
use crate::support::wait::eventually;
use crate::support::ws::Raw;
use crate::support::{Upstream, http};

/// Servers in the background of a place; they end with their test.
struct Background {
    place: Place,
}

impl Background {
    fn new() -> Self {
        Self { place: Place::new() }
    }

    /// Starts one on free ports and gives the line that it was announced by.
    #[track_caller]
    fn start(&self, args: &[&str]) -> Value {
        self.place.run(&[args, &["--port", "0", "--admin-port", "0", "--json"]].concat()).json()
    }

    fn signal(&self, name: &str, pid: &Value) {
        assert!(Command::new("kill").arg(format!("-{name}")).arg(pid.to_string()).status().unwrap().success());
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // By their pid files, never by a number that may be another process's by now. Where the test went well none is left.
        for entry in std::fs::read_dir(self.place.data_dir().join(".run")).into_iter().flatten().flatten() {
            if let Some(port) = entry.file_name().to_str().and_then(|name| name.strip_suffix(".json")) {
                drop(self.place.command(&["stop", "--admin-port", port]).output());
            }
        }
    }
}

fn address(ready: &Value, port: &str) -> SocketAddr {
    text(&ready[port]).strip_prefix("http://").unwrap().parse().unwrap()
}

fn port(ready: &Value) -> String {
    address(ready, "admin").port().to_string()
}

#[test]
fn start_status_stop() {
    let background = Background::new();
    let ready = background.start(&["start", "--ready-file", "ready.json"]);
    let place = background.place.clone();
    let written: Value = serde_json::from_slice(&std::fs::read(place.home().join("ready.json")).unwrap()).unwrap();
    assert_eq!(written, ready);
    assert_eq!(http::ask(address(&ready, "admin"), "GET", "/health", &[], b"").expect(200).json()["status"], "ok");
    http::ask(address(&ready, "mock"), "GET", "/nothing", &[], b"").expect(404);

    let status = place.run(&["status", "--json"]).json();
    for field in ["pid", "mock", "admin"] {
        assert_eq!(status[field], ready[field]);
    }
    assert_eq!(text(&status["dataDir"]), place.data_dir().display().to_string());
    let log = text(&status["log"]);
    assert_eq!(std::fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600);
    let page = place.run(&["status"]).ok();
    for words in [format!("Server running: pid {}", ready["pid"]), text(&ready["mock"]), text(&ready["admin"]), "Uptime:".to_owned(), log] {
        assert!(page.contains(&words), "{words:?} is not in {page}");
    }
    assert_eq!(place.run(&["sr", "stats", "--json"]).json()["usedBytes"], 0, "pid files and logs are no recordings");

    let stopped = place.run(&["stop"]).ok();
    assert_eq!(stopped, format!("Server stopped: pid {}, admin port {}\n", ready["pid"], text(&ready["admin"])));
    assert!(!place.home().join("ready.json").exists());
    for command in ["status", "stop"] {
        place.run(&[command]).expect_error(1, &["no server runs in the background", "mockd start"]);
    }
    place.run(&["stop", "--admin-port", &port(&ready)]).expect_error(1, &[&port(&ready)]);
}

#[test]
fn serve_detach_is_start() {
    let background = Background::new();
    let ready = background.start(&["serve", "--detach"]);
    assert_eq!(background.place.run(&["status", "--json"]).json()["pid"], ready["pid"]);
    background.place.run(&["stop"]).ok();
    let said = background.place.run(&["start", "--port", "0", "--admin-port", "0"]).ok();
    assert!(said.starts_with("Server started: pid ") && said.contains("Mock port:  http://127.0.0.1:"), "{said}");
    background.place.run(&["stop"]).ok();
}

#[test]
fn of_several_one_is_picked() {
    let background = Background::new();
    let (one, other) = (background.start(&["start"]), background.start(&["start"]));
    let place = background.place.clone();
    for command in ["status", "stop"] {
        place
            .run(&[command])
            .expect_error(2, &["--admin-port", &port(&one), &port(&other), &one["pid"].to_string(), &other["pid"].to_string()]);
    }
    assert_eq!(place.run(&["status", "--json", "--admin-port", &port(&other)]).json()["pid"], other["pid"]);
    assert_eq!(place.clone().env("MOCKD_ADMIN_PORT", &port(&one)).run(&["status", "--json"]).json()["pid"], one["pid"]);
    place.run(&["start", "--port", "0", "--admin-port", &port(&one)]).expect_error(1, &["runs in the background already", "mockd stop"]);
    place.run(&["stop", "--admin-port", &port(&one)]).ok();
    assert_eq!(place.run(&["status", "--json"]).json()["pid"], other["pid"]);
    place.run(&["stop"]).ok();
}

#[test]
fn what_a_kill_leaves_is_no_server() {
    let background = Background::new();
    let ready = background.start(&["start"]);
    let file = background.place.data_dir().join(".run").join(format!("{}.json", port(&ready)));
    assert!(file.exists());
    background.signal("KILL", &ready["pid"]);
    eventually("the end of the server", || (background.place.run(&["status"]).code == 1).then_some(()));
    assert!(!file.exists());
    // The port is free again.
    let again = background.place.run(&["start", "--port", "0", "--admin-port", &port(&ready), "--json"]).json();
    assert_eq!(port(&again), port(&ready));
    background.place.run(&["stop"]).ok();
}

#[test]
fn a_signal_of_its_own_ends_it_cleanly() {
    let background = Background::new();
    let ready = background.start(&["start"]);
    background.signal("TERM", &ready["pid"]);
    eventually("the end of the server", || (background.place.run(&["status"]).code == 1).then_some(()));
    assert!(!background.place.data_dir().join(".run").join(format!("{}.json", port(&ready))).exists());
}

#[test]
fn recordings_are_finished_by_stop() {
    let upstream = Upstream::echo();
    let background = Background::new();
    let ready = background.start(&["start", "--record", "--upstream", &upstream.url()]);
    let mut client = Raw::open(address(&ready, "mock"), "/ws");
    client.run("send text hi\nexpect text hi");
    background.place.run(&["stop"]).ok();
    assert!(client.rest()[0].starts_with("close 1001"));
    let page = background.place.run(&["sr", "list", "--json"]).json();
    assert_eq!((&page["total"], &page["recordings"][0]["status"]), (&json!(1), &json!("complete")));
}

#[test]
fn what_cannot_start_says_why() {
    let taken = Upstream::echo();
    let place = Place::new();
    let port = taken.address.port().to_string();
    place.run(&["start", "--port", &port, "--admin-port", "0"]).expect_error(1, &["cannot listen on", &port, "--port", "failed.log"]);
    place.run(&["start", "--port", "99999"]).expect_error(2, &["--port"]);
    place.run(&["start", "--admin-host", "0.0.0.0"]).expect_error(2, &["MOCKD_ADMIN_TOKEN"]);
    place.run(&["status"]).expect_error(1, &["no server"]);
    std::fs::write(place.home().join("file"), "").unwrap();
    place.run(&["start", "--data-dir", "file/x", "--port", "0", "--admin-port", "0"]).expect_error(1, &["--data-dir"]);
}

#[test]
fn a_token_on_the_command_line_is_not_in_the_servers_arguments_or_files() {
    let background = Background::new();
    let ready = background.start(&["start", "--admin-token", "very-secret"]);
    http::ask(address(&ready, "admin"), "GET", "/replay", &[], b"").expect(401);
    http::ask(address(&ready, "admin"), "GET", "/replay", &[("Authorization", "Bearer very-secret")], b"").expect(200);
    let mut files: Vec<_> =
        std::fs::read_dir(background.place.data_dir().join(".run")).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(files.len() >= 2, "{files:?}");
    #[cfg(target_os = "linux")]
    files.push(format!("/proc/{}/cmdline", ready["pid"]).into());
    for file in files {
        let text = String::from_utf8_lossy(&std::fs::read(&file).unwrap()).into_owned();
        assert!(!text.contains("very-secret"), "{}: {text}", file.display());
    }
    background.place.run(&["stop"]).ok();
}

#[test]
fn a_token_in_the_environment_is_enough() {
    let mut background = Background::new();
    background.place = background.place.clone().env("MOCKD_ADMIN_TOKEN", "secret");
    let ready = background.start(&["start"]);
    http::ask(address(&ready, "admin"), "GET", "/replay", &[], b"").expect(401);
    background.place.run(&["stop"]).ok();
}

#[test]
fn a_server_that_ends_leaves_the_ready_file_of_another() {
    let background = Background::new();
    let ready = |server: &Value| (server["pid"].clone(), port(server));
    let one = background.start(&["start", "--ready-file", "ready.json"]);
    let other = background.start(&["start", "--ready-file", "ready.json"]);
    let place = background.place.clone();
    let said = || serde_json::from_slice::<Value>(&std::fs::read(place.home().join("ready.json")).unwrap()).unwrap();
    place.run(&["stop", "--admin-port", &port(&one)]).ok();
    assert_eq!(ready(&said()), ready(&other));
    place.run(&["stop"]).ok();
    assert!(!place.home().join("ready.json").exists());
}

/// Trap: commands that waited without a word for a process that has the lock and stands still.
#[test]
fn who_keeps_the_lock_of_the_pid_files_holds_up_no_look_and_is_named_by_start() {
    let background = Background::new();
    let place = background.place.clone();
    let (killed, running) = (background.start(&["start"]), background.start(&["start"]));
    background.signal("KILL", &killed["pid"]);
    let path = place.data_dir().join(".run/lock");
    let kept = std::fs::File::options().write(true).open(&path).unwrap();
    kept.lock().unwrap();
    eventually("the end of the killed server", || (place.run(&["status"]).code == 0).then_some(()));
    assert_eq!(place.run(&["status", "--json"]).json()["pid"], running["pid"]);
    place.run(&["start", "--port", "0", "--admin-port", "0"]).expect_error(1, &["fuser", ".run/lock", "failed.log"]);
    place.run(&["stop"]).ok();
    place.run(&["status"]).expect_error(1, &["no server runs in the background"]);
    drop(kept);
    place.run(&["status"]).expect_error(1, &["no server runs in the background"]);
    assert!(!place.data_dir().join(".run").join(format!("{}.json", port(&killed))).exists(), "who has its turn tidies up");
}
