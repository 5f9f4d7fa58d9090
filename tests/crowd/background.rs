//! Servers in the background that start and stop in parallel, and pid files that are of nobody.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::support::effort::rounds;
use crate::support::recordings::put;
use crate::support::server::{Output, Place, text};
use crate::support::upstream::closed_port;

/// Runs commands at once and gives what each said.
fn at_once(place: &Place, commands: &[Vec<String>]) -> Vec<Output> {
    std::thread::scope(|scope| {
        let run = |args: &Vec<String>| {
            let args: Vec<&str> = args.iter().map(String::as_str).collect();
            place.run(&args)
        };
        let running: Vec<_> = commands.iter().map(|args| scope.spawn(move || run(args))).collect();
        running.into_iter().map(|one| one.join().expect("a command ends")).collect()
    })
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn admin_port(ready: &Value) -> String {
    text(&ready["admin"]).rsplit(':').next().expect("a port").to_owned()
}

/// Servers that a failed test would leave.
struct Ending(Place);

impl Drop for Ending {
    fn drop(&mut self) {
        for entry in std::fs::read_dir(self.0.data_dir().join(".run")).into_iter().flatten().flatten() {
            if let Some(port) = entry.file_name().to_str().and_then(|name| name.strip_suffix(".json")) {
                drop(self.0.command(&["stop", "--admin-port", port]).output());
            }
        }
    }
}

#[test]
fn of_starts_on_one_port_one_wins_and_the_others_say_why() {
    let place = Place::new();
    let _ending = Ending(place.clone());
    for _ in 0..rounds(2, 40) {
        let port = closed_port();
        let start = words(&format!("start --port 0 --admin-port {port} --json"));
        let said = at_once(&place, &vec![start; 4]);
        let won: Vec<&Output> = said.iter().filter(|output| output.code == 0).collect();
        assert_eq!(won.len(), 1, "{said:?}");
        for lost in said.iter().filter(|output| output.code != 0) {
            let why = ["runs in the background already", "cannot listen on"];
            assert!(lost.code == 1 && why.iter().any(|why| lost.stderr.contains(why)), "{lost:?}");
        }
        let status = place.run(&["status", "--json"]).json();
        let ready: Value = serde_json::from_str(&won[0].stdout).unwrap();
        assert_eq!(status["pid"], ready["pid"]);
        // Stopped by all at once: somebody does it, and who comes too late says so.
        let said = at_once(&place, &vec![words("stop"); 3]);
        assert!(said.iter().any(|output| output.code == 0), "{said:?}");
        for output in &said {
            assert!(output.code == 0 || output.stderr.contains("no server runs"), "{output:?}");
        }
        place.run(&["status"]).expect_error(1, &["no server runs"]);
    }
}

#[test]
fn starts_on_many_ports_all_win() {
    let place = Place::new();
    let _ending = Ending(place.clone());
    for _ in 0..rounds(1, 20) {
        let count = rounds(3, 8) as usize;
        let said = at_once(&place, &vec![words("start --port 0 --admin-port 0 --json"); count]);
        let ready: Vec<Value> = said.into_iter().map(Output::json).collect();
        let ports: BTreeSet<String> = ready.iter().map(admin_port).collect();
        assert_eq!(ports.len(), count);
        let stops: Vec<Vec<String>> = ports.iter().map(|port| words(&format!("stop --admin-port {port}"))).collect();
        at_once(&place, &stops).into_iter().for_each(|output| drop(output.ok()));
        place.run(&["status"]).expect_error(1, &["no server runs"]);
    }
    let logs = std::fs::read_dir(place.data_dir().join(".run")).unwrap().count();
    assert!(logs <= mockd::base::limits::MAX_OLD_LOGS + 8 + 1, "{logs} files");
}

#[test]
fn a_pid_file_of_nobody_stops_nobody() {
    let place = Place::new();
    // The number is that of this very test: another process has the pid by now.
    let running = json!({
        "pid": std::process::id(), "mock": "http://127.0.0.1:1", "admin": "http://127.0.0.1:2", "adminPort": 2,
        "startTime": "2024-01-15T10:30:00.000000Z", "log": "/nowhere"
    });
    let run = place.data_dir().join(".run");
    for text in [running.to_string(), String::new(), "{".to_owned(), "[]".repeat(100_000)] {
        put(&run, "2.json", text.as_bytes());
        place.run(&["stop"]).expect_error(1, &["no server runs in the background"]);
        assert!(!run.join("2.json").exists());
        put(&run, "2.json", text.as_bytes());
        place.run(&["status", "--admin-port", "2"]).expect_error(1, &["no server"]);
    }
    // One that a process holds and that is none of ours is said to be that, and left alone.
    put(&run, "2.json", b"{");
    let held = std::fs::File::open(run.join("2.json")).unwrap();
    held.lock().unwrap();
    place.run(&["stop"]).expect_error(1, &["2.json", "no pid file of mockd"]);
}
