//! The n-th call on a disk fails, for each n: a command, or a server's short life, says so or succeeds, and harms nothing else.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::upstream;
use crate::support::disk_layer::{Disk, EIO, ENOSPC};
use crate::support::effort::{Dice, rounds};
use crate::support::http;
use crate::support::recordings::ws;
use crate::support::server::{Builder, text};
use crate::support::ws::Raw;
use crate::support::{Server, Upstream};

/// The recordings in a data directory by their file names, without files in the making.
fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let entries = std::fs::read_dir(dir).expect("a directory").flatten();
    let named = entries.map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()));
    let recordings = named.filter(|(name, _)| name.starts_with("rec_"));
    recordings.map(|(name, path)| (name, std::fs::read(path).expect("a file"))).collect()
}

/// What the n-th call becomes; `after` is whether all that follow fail as well.
fn rule(call: u64, (errno, after): (&str, bool)) -> String {
    format!("* {call} {} {errno} *\n", if after { u64::MAX } else { call })
}

const HAR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/har/chrome.har");

/// What a command does; `{}` is the recording that it is about. None of them may leave a thing half done.
const COMMANDS: &[&[&str]] = &[
    &["sr", "import", HAR],
    &["sr", "export", "{}", "-o", "out/x.json"],
    &["sr", "convert", "{}", "-o", "mock.yaml"],
    &["sr", "edit", "{}", "--name", "another name"],
    &["sr", "delete", "{}"],
    &["sr", "delete", "{}", "--permanent", "--force"],
    &["sr", "vacuum"],
    &["sr", "restore", "{}"],
    &["sr", "list"],
    &["sr", "stats"],
];

/// What is wrong from a call on: the error, and whether it stays.
const FAULTS: [(&str, bool); 4] = [(EIO, false), (EIO, true), (ENOSPC, false), (ENOSPC, true)];

#[test]
fn a_command_whose_nth_call_fails_says_so_and_leaves_nothing_half_done() {
    let Some(disk) = Disk::breakable() else { return };
    let mut dice = Dice::new("commands on a disk that fails");
    let (mut tried, mut failed) = (0, 0);
    let mut attempt = |command: &[&str], call, fault| {
        let outcome = try_command(&disk, command, call, fault);
        tried += u64::from(outcome.is_some());
        failed += u64::from(outcome == Some(false));
        outcome.is_some()
    };
    match rounds(30, 0) {
        // Every call of every command.
        0 => COMMANDS.iter().flat_map(|command| FAULTS.map(|fault| (command, fault))).for_each(|(command, fault)| {
            (1..).find(|call| !attempt(command, *call, fault));
        }),
        some => (0..some).for_each(|_| {
            let command: &&[&str] = dice.pick(COMMANDS);
            attempt(command, 1 + dice.below(20), *dice.pick(&FAULTS));
        }),
    }
    println!("commands on a disk that fails: {tried} calls failed, {failed} commands ended with an error");
}

/// Trap: a rename that was done, and whose directory then could not be synced.
#[test]
fn an_import_whose_names_cannot_be_made_to_last_leaves_nothing() {
    let Some(disk) = Disk::breakable() else { return };
    let dir = disk.place.data_dir();
    ws("/bystander").s2c(0, "left alone").save(&dir);
    disk.fail("fsync", EIO, "/data$");
    disk.place.run(&["sr", "import", HAR]).expect(1);
    assert!(!disk.hits().is_empty());
    assert_eq!(files(&dir).len(), 1, "{:?}", files(&dir).keys());
    disk.mend();
    disk.place.run(&["sr", "import", HAR]).ok();
    assert_eq!(files(&dir).len(), 3);
}

/// The same for each sync of the directory that holds the recordings, and of those beside them, alone: what failed is not there, and the
/// next command does not bring it back. One recording gets its name by a way of its own.
#[test]
fn an_import_in_which_a_sync_fails_does_not_come_back() {
    let Some(disk) = Disk::breakable() else { return };
    let dir = disk.place.data_dir();
    disk.place.file("one.json", &ws("/ws").s2c(0, "x").close("server", 1, 1000, "").json().to_string());
    std::fs::create_dir(&dir).expect("a directory");
    for file in ["one.json", HAR] {
        // Each begins with no recording, so that all do the same calls.
        let import = || {
            files(&dir).keys().for_each(|name| std::fs::remove_file(dir.join(name)).expect("a file"));
            disk.place.run(&["sr", "import", file])
        };
        import().ok();
        disk.fail("fsync", "slow:1", "/data");
        let before = disk.hits().len();
        import().ok();
        let syncs = disk.hits().split_off(before);
        assert!(!syncs.is_empty());
        for sync in syncs {
            let (call, before) = (sync.split(' ').next().expect("a number"), disk.hits().len());
            disk.rules(&format!("fsync {call} {call} {EIO} /data\n"));
            let output = import();
            assert_eq!((output.code, files(&dir).len(), disk.hits().len()), (1, 0, before + 1), "{sync}: {output:?}");
            disk.mend();
            disk.place.run(&["sr", "list"]).ok();
            assert_eq!(files(&dir).len(), 0, "{sync}: {:?}", files(&dir).keys());
        }
    }
}

/// Whether the command succeeded; `None` where it has fewer calls.
fn try_command(disk: &Disk, command: &[&str], call: u64, fault: (&str, bool)) -> Option<bool> {
    disk.mend();
    let dir = disk.place.data_dir();
    for leftover in ["data", "out", "mock.yaml"] {
        let path = disk.place.home().join(leftover);
        // Not every command makes each.
        drop(if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) });
    }
    ws("/bystander").s2c(0, "left alone").save(&dir);
    let id = ws("/ws").s2c(0, "the one that it is about").save(&dir);
    if command.contains(&"restore") || command.contains(&"vacuum") {
        disk.place.run(&["sr", "delete", &id]).ok();
    }
    let before = files(&dir);
    let args: Vec<&str> = command.iter().map(|word| if *word == "{}" { id.as_str() } else { word }).collect();
    let hits = disk.hits().len();
    disk.rules(&rule(call, fault));
    let output = disk.place.run(&args);
    disk.mend();
    if disk.hits().len() == hits {
        return None;
    }
    let what = || format!("{args:?}, call {:?} with {fault:?}: {} {} {}", disk.hits().last(), output.code, output.stdout, output.stderr);
    assert!(!output.stderr.contains("panicked") && matches!(output.code, 0 | 1), "{}", what());
    assert!(output.code == 0 || !output.stderr.trim().is_empty(), "an error says something: {}", what());
    let left = files(&dir);
    for (name, bytes) in before.iter().filter(|(name, _)| !name.contains(id.as_str())) {
        assert_eq!(left.get(name), Some(bytes), "another recording was harmed: {}", what());
    }
    for (name, bytes) in &left {
        assert!(mockd::model::recording_text::parse(bytes).is_ok(), "{name} is torn: {}", what());
    }
    if command.contains(&"import") {
        let made = left.len() - before.len();
        // Where the disk takes nothing more, names that were given can't be taken back; what has one is whole.
        let is_right = made == if output.code == 0 { 2 } else { 0 } || (output.code == 1 && fault.1);
        assert!(is_right, "{made} of 2 recordings: {}", what());
    }
    let about: Vec<&String> = left.keys().filter(|name| name.contains(id.as_str())).collect();
    let may_go = command.contains(&"--permanent") || command.contains(&"vacuum");
    assert!(about.len() == 1 || (may_go && about.is_empty()), "{about:?}: {}", what());
    for made in ["out/x.json", "mock.yaml"] {
        let path = disk.place.home().join(made);
        if output.code == 0 && command.contains(&made) {
            assert!(path.exists(), "{}", what());
        }
        if path.exists() && made.ends_with("json") {
            serde_json::from_slice::<Value>(&std::fs::read(path).unwrap()).unwrap_or_else(|error| panic!("{error}: {}", what()));
        }
    }
    let listed = disk.place.run(&["sr", "list", "--include-deleted", "--json"]).json();
    let then = files(&dir);
    assert_eq!(listed["total"], then.len(), "{listed}: {}", what());
    // What was ready, on a disk that took nothing more, not even its end, gets its names from the next command.
    assert!(then.len() == left.len() || (command.contains(&"import") && fault.1 && then.len() == before.len() + 2), "{}", what());
    Some(output.code == 0)
}

/// What a server is asked to do in its short life.
fn live(server: &Server, bystander: &str) -> Vec<(String, u16)> {
    let mut answers = Vec::new();
    let mut ask = |method: &str, path: &str, body: &[u8]| {
        let answer = http::ask(server.admin, method, &format!("/stream-recordings{path}"), &[], body);
        answers.push((format!("{method} {path}"), answer.status()));
        if answer.status() >= 400 {
            let error = answer.json();
            assert!(!text(&error["error"]).is_empty() && !text(&error["message"]).is_empty(), "{error}");
        }
        answer
    };
    let started = ask("POST", "/start", br#"{"protocol": "websocket", "path": "/ws"}"#);
    let mut client = Raw::open(server.mock, "/ws");
    client.run("send text one\nexpect text one\nsend text two\nexpect text two");
    if started.status() == 201 {
        let id = text(&started.json()["id"]);
        ask("POST", &format!("/{id}/stop"), b"");
        ask("PATCH", &format!("/{id}"), br#"{"name": "another"}"#);
        ask("DELETE", &format!("/{id}"), b"");
        ask("POST", &format!("/{id}/restore"), b"");
        ask("DELETE", &format!("/{id}"), b"");
    }
    ask("POST", "/vacuum", b"");
    ask("POST", "/import", &std::fs::read(HAR).expect("a fixture"));
    ask("GET", "", b"");
    ask("GET", "/stats", b"");
    let exported = http::ask(server.admin, "POST", &format!("/stream-recordings/{bystander}/export"), &[], b"");
    assert!(matches!(exported.status(), 200 | 404 | 409 | 500 | 507), "{}", exported.text());
    client.run("send text three\nexpect text three");
    answers
}

#[test]
fn a_server_whose_nth_call_fails_goes_on_and_is_well_when_the_disk_is() {
    let mut dice = Dice::new("a server on a disk that fails");
    let (upstream, _tick) = upstream();
    let (mut lives, mut hit, mut refused) = (0, 0, 0);
    let mut attempt = |call, fault| {
        let Some((was_hit, errors)) = try_life(&upstream, call, fault) else { return };
        (lives, hit, refused) = (lives + 1, hit + u64::from(was_hit), refused + errors);
    };
    match rounds(4, 0) {
        0 => FAULTS.iter().for_each(|fault| (1..=MAX_CALLS).for_each(|call| attempt(call, *fault))),
        some => (0..some).for_each(|_| attempt(1 + dice.below(MAX_CALLS), *dice.pick(&FAULTS))),
    }
    println!("a server on a disk that fails: {lives} lives, in {hit} of them a call failed, {refused} requests were refused");
}

/// More calls than a life has below the data directory.
const MAX_CALLS: u64 = 140;

/// Whether a call failed, and how many requests were refused for it.
fn try_life(upstream: &Upstream, call: u64, fault: (&str, bool)) -> Option<(bool, usize)> {
    let disk = Disk::breakable()?;
    let dir = disk.place.data_dir();
    let bystander = ws("/bystander").s2c(0, "left alone").save(&dir);
    let before = files(&dir);
    disk.rules(&rule(call, fault).replace("*\n", "/data\n"));
    let mut server = Builder::default().place(&disk.place).upstream(upstream.url()).start();
    let answers = live(&server, &bystander);
    disk.mend();
    let hits = disk.hits();
    let log = server.log();
    let what = || format!("{:?} with {fault:?}: {answers:?}\n{log}", hits.first());
    assert!(!log.contains("panicked") && log.lines().count() < 60, "{}", what());
    assert!(before.iter().all(|(name, bytes)| files(&dir).get(name) == Some(bytes)), "another recording was harmed: {}", what());
    super::records_again(&server);
    let listed = server.get("/stream-recordings?includeDeleted=true");
    let summaries = listed["recordings"].as_array().expect("a list");
    assert!(summaries.iter().all(|summary| summary["status"] != "corrupted"), "{listed} {}", what());
    assert!(server.terminate().success(), "{}", what());
    disk.place.run(&["sr", "list", "--include-deleted", "--json"]).ok();
    assert!(files(&dir).keys().all(|name| !name.ends_with(".journal")), "{:?} {}", files(&dir).keys(), what());
    Some((!hits.is_empty(), answers.iter().filter(|(_, status)| *status >= 400).count()))
}
