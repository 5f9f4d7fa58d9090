//! Two servers and many commands on one directory, thrown by dice: the index never disagrees with the files, nothing vanishes that
//! nobody deleted, nothing fails without a reason that is true, and nobody waits for ever.

mod background;
mod index;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::effort::{Dice, number, rounds};
use crate::support::http::Answer;
use crate::support::recordings::{sse, ws};
use crate::support::server::{Output, Place};
use crate::support::ws::Raw;
use crate::support::{Server, Upstream};

/// What is known of a recording whatever the others do.
#[derive(Debug, Default)]
struct Ledger {
    /// Complete ones that nobody touches: they are in every list, once, as they are.
    kept: BTreeSet<String>,
    /// Those that anybody may delete, restore, edit.
    prey: Vec<String>,
}

impl Ledger {
    fn note(&mut self, id: String, keep: bool) {
        if keep {
            self.kept.insert(id);
        } else {
            self.prey.push(id);
        }
    }
}

struct Crowd {
    place: Place,
    servers: [RwLock<Server>; 2],
    ledger: Mutex<Ledger>,
    done: AtomicBool,
    commands: AtomicU64,
    kills: AtomicU64,
}

const LIST: &[&str] = &["sr", "list", "--json", "--include-deleted"];

impl Crowd {
    fn new(upstream: &Upstream) -> Self {
        let place = Place::new();
        place.file("chat.json", &ws("/file").s2c(0, "x").s2c(1, "y").close("server", 2, 1000, "").json().to_string());
        let serve = || Server::builder().place(&place).upstream(upstream.url()).start();
        let servers = [serve(), serve()].map(RwLock::new);
        let mut ledger = Ledger::default();
        for count in 0..30 {
            let id = (0..count).fold(ws("/made"), |made, at| made.s2c(at, "x")).close("server", 99, 1000, "").save(&place.data_dir());
            ledger.note(id, count < 20);
        }
        ledger.prey.push(sse("/made").data(0, "x").end("server", 1).save_pretty(&place.data_dir()));
        Self {
            place,
            servers,
            ledger: Mutex::new(ledger),
            done: AtomicBool::new(false),
            commands: AtomicU64::new(0),
            kills: AtomicU64::new(0),
        }
    }

    fn run(&self, args: &[&str]) -> Output {
        self.commands.fetch_add(1, Ordering::Relaxed);
        self.place.run(args)
    }

    fn prey(&self, dice: &mut Dice) -> String {
        let ledger = self.ledger.lock().unwrap();
        dice.pick(&ledger.prey).clone()
    }

    /// One turn of one of the crowd.
    fn turn(&self, dice: &mut Dice) {
        let id = self.prey(dice);
        match dice.below(16) {
            0 => self.check_command(&["sr", "delete", &id], &["no recording", "not found", "still"]),
            1 => self.check_command(&["sr", "restore", &id], &["no recording", "not deleted"]),
            2 => self.check_command(&["sr", "edit", &id, "--name", &format!("name {}", dice.below(1000))], &["no recording"]),
            3 => self.check_command(&["sr", "show", &id, "--json"], &["no recording"]),
            4 => self.check_command(&["sr", "export", &id], &["no recording"]),
            5 if dice.once_in(4) => self.check_command(&["sr", "delete", &id, "--permanent", "--force"], &["no recording", "still"]),
            6 if dice.once_in(4) => self.check_command(&["sr", "vacuum"], &[]),
            7 => self.import(dice),
            8 | 9 => self.check_list(&self.run(LIST).json()),
            10 => drop(self.run(&["sr", "stats", "--json"]).json()),
            11 | 12 => self.record(dice),
            13 => self.call(dice, "DELETE", &format!("/stream-recordings/{id}"), &[204, 404, 409]),
            14 => self.call(dice, "POST", &format!("/stream-recordings/{id}/restore"), &[200, 404, 409]),
            _ => {
                let server = self.servers[dice.below(2) as usize].read().unwrap();
                self.check_list(&server.get("/stream-recordings?includeDeleted=true"));
            }
        }
    }

    fn check_command(&self, args: &[&str], reasons: &[&str]) {
        let output = self.run(args);
        let is_true = output.code == 1 && reasons.iter().any(|reason| output.stderr.contains(reason));
        assert!(output.code == 0 || is_true, "{output:?}");
    }

    fn call(&self, dice: &mut Dice, method: &str, path: &str, statuses: &[u16]) {
        let server = self.servers[dice.below(2) as usize].read().unwrap();
        let answer: Answer = server.call(method, path, &Value::Null);
        assert!(statuses.contains(&answer.status()), "{method} {path}: {} {}", answer.status(), answer.text());
    }

    fn import(&self, dice: &mut Dice) {
        let answer = self.run(&["sr", "import", "chat.json", "--json"]).json();
        let id = answer["recordings"][0]["id"].as_str().unwrap().to_owned();
        self.ledger.lock().unwrap().note(id, dice.once_in(2));
    }

    /// Opens a session on one of the servers, talks, and stops it.
    fn record(&self, dice: &mut Dice) {
        let server = self.servers[dice.below(2) as usize].read().unwrap();
        let path = format!("/ws/{}", dice.bits());
        let id = server.record("websocket", &path);
        let messages = dice.below(20);
        if messages > 0 {
            let mut client = Raw::open(server.mock, &path);
            (0..messages).for_each(|_| client.run("send text a\nexpect text a"));
        }
        if dice.once_in(2) {
            self.check_list(&server.get("/stream-recordings?includeDeleted=true"));
        }
        let stopped = server.stop(&id);
        assert_eq!((&stopped["recording"]["status"], &stopped["recording"]["frameCount"]), (&json!("complete"), &json!(2 * messages)));
        self.ledger.lock().unwrap().note(id, dice.once_in(2));
    }

    /// Checks a list against what was known before it was asked for. The ledger only grows.
    fn check_list(&self, page: &Value) {
        let rows = page["recordings"].as_array().expect("rows");
        let mut seen: BTreeMap<&str, &Value> = BTreeMap::new();
        for row in rows {
            let id = row["id"].as_str().expect("an id");
            assert!(seen.insert(id, row).is_none(), "{id} stands twice");
            assert_ne!(row["status"], "corrupted", "{row}");
        }
        assert_eq!(page["total"], rows.len());
    }

    /// The same for what must be in it.
    fn check_kept(&self, kept: &BTreeSet<String>, page: &Value) {
        let rows: BTreeMap<&str, &Value> =
            page["recordings"].as_array().expect("rows").iter().map(|row| (row["id"].as_str().expect("an id"), row)).collect();
        for id in kept {
            let row = rows.get(id.as_str()).unwrap_or_else(|| panic!("{id} is not in the list, and nobody deleted it"));
            assert_eq!((&row["status"], &row["deleted"]), (&json!("complete"), &json!(false)), "{row}");
        }
    }

    /// Looks at lists of all kinds again and again.
    fn watch(&self) {
        while !self.done.load(Ordering::Relaxed) {
            for server in &self.servers {
                let kept = self.ledger.lock().unwrap().kept.clone();
                let page = server.read().unwrap().get("/stream-recordings?includeDeleted=true");
                self.check_list(&page);
                self.check_kept(&kept, &page);
            }
            let kept = self.ledger.lock().unwrap().kept.clone();
            self.check_kept(&kept, &self.run(LIST).json());
        }
    }

    /// Ends a server as a crash does, with a recording on it, and starts another in its place.
    fn kill(&self, which: usize) {
        let mut server = self.servers[which].write().unwrap();
        let id = server.record("websocket", "/killed");
        let mut client = Raw::open(server.mock, "/killed");
        client.run("send text a\nexpect text a");
        server.begun(&id);
        server.kill9();
        *server = server.again();
        self.kills.fetch_add(1, Ordering::Relaxed);
    }
}

/// What the files of a directory say, read by nothing of mockd's: for each id its status, counts, size and whether it is deleted.
fn read_files(dir: &Path) -> BTreeMap<String, Value> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(rest) = name.strip_prefix("rec_") else {
            assert!(name == ".index" || name == ".run", "a file is left: {name}");
            continue;
        };
        let (id, deleted) = match (rest.strip_suffix(".json"), rest.strip_suffix(".json.deleted")) {
            (Some(id), _) => (id, false),
            (None, Some(id)) => (id, true),
            (None, None) => panic!("a journal is left: {name}"),
        };
        let bytes = std::fs::read(dir.join(&name)).unwrap();
        let file: Value = serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(file["id"], id);
        let row = json!({
            "status": file["status"], "name": file["name"], "frameCount": file["stats"]["frameCount"], "fileSizeBytes": bytes.len(),
            "deleted": deleted, "startTime": file["startTime"], "protocol": file["protocol"]
        });
        assert!(all.insert(id.to_owned(), row).is_none(), "{id} has two files");
    }
    all
}

/// Checks that a list and its figures say what the files say.
#[track_caller]
fn assert_agree(files: &BTreeMap<String, Value>, page: &Value, stats: &Value) {
    let rows = page["recordings"].as_array().unwrap();
    assert_eq!(rows.len(), files.len());
    for row in rows {
        let file = &files[row["id"].as_str().unwrap()];
        for (field, value) in file.as_object().unwrap() {
            assert_eq!(&row[field], value, "{field} of {row}");
        }
    }
    let count = |test: &dyn Fn(&Value) -> bool| files.values().filter(|file| test(file)).count();
    let bytes = |test: &dyn Fn(&Value) -> bool| -> u64 {
        files.values().filter(|file| test(file)).map(|file| file["fileSizeBytes"].as_u64().unwrap()).sum()
    };
    let deleted = |file: &Value| file["deleted"] == true;
    assert_eq!(stats["usedBytes"], bytes(&|_| true));
    assert_eq!((&stats["deletedCount"], &stats["deletedBytes"]), (&json!(count(&deleted)), &json!(bytes(&deleted))));
    assert_eq!(stats["recordingCount"], count(&|file| !deleted(file)));
    assert_eq!(stats["websocketCount"], count(&|file| !deleted(file) && file["protocol"] == "websocket"));
    assert_eq!(stats["sseCount"], count(&|file| !deleted(file) && file["protocol"] == "sse"));
}

#[test]
fn two_servers_and_many_commands_agree_with_the_files() {
    let seconds = number("MOCKD_CROWD_SECONDS").unwrap_or_else(|| rounds(5, 600));
    let mut dice = Dice::new("crowd");
    let upstream = Upstream::echo();
    let crowd = Arc::new(Crowd::new(&upstream));
    let end = Instant::now() + Duration::from_secs(seconds);
    std::thread::scope(|scope| {
        let (crowd, seeds): (&Crowd, Vec<u64>) = (&crowd, (0..rounds(3, 10)).map(|_| dice.bits()).collect());
        let watcher = scope.spawn(|| crowd.watch());
        let workers: Vec<_> = seeds
            .into_iter()
            .map(|seed| {
                scope.spawn(move || {
                    let mut dice = Dice::of(seed);
                    while Instant::now() < end && !crowd.done.load(Ordering::Relaxed) {
                        crowd.turn(&mut dice);
                    }
                })
            })
            .collect();
        let mut which = 0;
        while Instant::now() < end && !workers.iter().any(std::thread::ScopedJoinHandle::is_finished) {
            // At any moment: between two throws lies what a start takes, and a little more.
            std::thread::park_timeout(Duration::from_millis(200 + dice.below(1500)));
            crowd.kill(which);
            which = 1 - which;
        }
        let ended: Vec<_> = workers.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        crowd.done.store(true, Ordering::Relaxed);
        watcher.join().expect("every list was right");
        assert!(ended.iter().all(Result::is_ok), "every turn was right");
    });

    // A killed server's recordings have been recovered; nothing runs.
    let list = || crowd.run(LIST).json();
    let (page, stats) = (list(), crowd.run(&["sr", "stats", "--json"]).json());
    let files = read_files(&crowd.place.data_dir());
    assert_agree(&files, &page, &stats);
    for server in &crowd.servers {
        let server = server.read().unwrap();
        assert_agree(&files, &server.get("/stream-recordings?includeDeleted=true"), &server.get("/stream-recordings/stats"));
    }
    let kept = crowd.ledger.lock().unwrap().kept.clone();
    crowd.check_kept(&kept, &page);
    let killed = files.values().filter(|file| file["status"] == "incomplete").count();
    let (commands, kills) = (crowd.commands.load(Ordering::Relaxed), crowd.kills.load(Ordering::Relaxed));
    println!("crowd: {seconds} s, {commands} commands, {kills} servers killed, {} recordings, {killed} of them cut short", files.len());
    assert_eq!(killed as u64, kills, "one of each killed server, and none of another");
}

#[test]
fn together_they_exceed_the_limit_by_little() {
    const MAX_BYTES: u64 = 6 << 20;
    let upstream = Upstream::websocket(None, |mut raw| {
        let text = "x".repeat(16 * 1024);
        while raw.try_frame().is_some_and(|frame| frame.opcode() != 8) {
            raw.send(1, &text);
        }
    });
    let place = Place::new();
    place.file("mockd.yaml", &format!("recording: {{maxBytes: {MAX_BYTES}}}\n"));
    let serve = || Server::builder().place(&place).upstream(upstream.url()).flag("--record").start();
    let servers = [serve(), serve()];
    let big = (0..8).fold(ws("/file"), |made, at| made.s2c(at, &"y".repeat(64 * 1024)));
    place.file("big.json", &big.close("server", 9, 1000, "").json().to_string());
    std::thread::scope(|scope| {
        for at in 0..4 {
            let mock = servers[at % 2].mock;
            scope.spawn(move || {
                let mut client = Raw::open(mock, "/ws");
                // Twice what fits; the traffic goes on whatever the disk takes.
                for _ in 0..200 {
                    client.send(1, "more");
                    client.frame();
                }
                client.close(1000, "");
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..4 {
                    let output = place.run(&["sr", "import", "big.json"]);
                    assert!(output.code == 0 || output.stderr.contains("recording.maxBytes"), "{output:?}");
                }
            });
        }
    });
    let used = servers[0].get("/stream-recordings/stats")["usedBytes"].as_u64().unwrap();
    println!("crowd: {used} bytes used of {MAX_BYTES}");
    assert!(used <= MAX_BYTES + (1 << 20), "{used}");
    let full = servers[0].get("/stream-recordings?status=incomplete");
    assert!(full["recordings"].as_array().unwrap().iter().all(|row| row["statusReason"] == "storage_full"), "{full}");
}
