//! Power that goes away: what was synced is all there is, and a completed recording is whole.
//!
//! A server and commands live a short life on a watched disk (`life.rs`). For each moment of it, what a disk may hold after power went
//! away at that moment is laid out (`model.rs`), and the real binary works on it: it must keep every promise made before.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

use serde_json::{Value, json};

use mockd::model::api::ListQuery;
use mockd::store::Store;

use self::life::{Promise, broken, promises};
use self::model::{Holding, LOSSES, Loss, Model};
use crate::support::disk_layer::Disk;
use crate::support::effort::{Dice, rounds};
use crate::support::one_shot::OneShot;
use crate::support::server::{Place, text};
use crate::support::wait::eventually;
use crate::support::ws::Raw;
use crate::support::{Server, Upstream};

mod life;
mod model;

/// Lays out what a disk holds.
fn lay_out(holding: &Holding) -> Place {
    let place = Place::new();
    for (path, bytes) in holding {
        let path = place.home().join(path);
        match bytes {
            None => std::fs::DirBuilder::new().mode(0o700).create(&path).expect("a directory"),
            Some(bytes) => {
                let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).expect("a file");
                std::io::Write::write_all(&mut file, bytes).expect("the disk takes it");
            }
        }
    }
    place
}

/// What is in a place now.
fn read_back(place: &Place) -> Holding {
    let mut holding = Holding::new();
    let mut folders = vec![place.home().to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a directory").flatten() {
            let path = entry.path().strip_prefix(place.home()).expect("below it").display().to_string();
            if entry.path().is_dir() {
                holding.insert(path, None);
                folders.push(entry.path());
            } else {
                holding.insert(path, Some(std::fs::read(entry.path()).expect("a file")));
            }
        }
    }
    holding
}

/// A file that has its final name is whole, whatever was synced: names come after bytes.
fn torn_files(holding: &Holding) -> Vec<&str> {
    let is_final = |path: &str| path.starts_with("data/rec_") && (path.ends_with(".json") || path.ends_with(".json.deleted"));
    let is_torn = |bytes: &[u8]| mockd::model::recording_text::parse(bytes).is_err();
    let files = holding.iter().filter(|(path, bytes)| is_final(path) && bytes.as_deref().is_some_and(is_torn));
    files.map(|(path, _)| path.as_str()).collect()
}

/// What is wrong with what power left, as far as a look tells.
fn look(holding: &Holding, promises: &[Promise], changes: usize) -> Result<(), String> {
    let torn = torn_files(holding);
    if !torn.is_empty() {
        return Err(format!("torn files with final names: {torn:?}"));
    }
    broken(promises, changes, holding).map_or(Ok(()), Err)
}

/// Recovers what power left and lists it, by the binary or by the code that it is made of; gives what is wrong.
fn recover(holding: &Holding, promises: &[Promise], changes: usize, dice: &mut Dice, by_binary: bool) -> Result<(), String> {
    let place = lay_out(holding);
    let run = |args: &[&str]| -> Result<Value, String> {
        let output = place.run(args);
        if output.code != 0 || output.stderr.contains("panicked") {
            return Err(format!("{args:?} ended with {}: {}", output.code, output.stderr));
        }
        serde_json::from_str(&output.stdout).map_err(|error| format!("{args:?}: {error}"))
    };
    let store = Store::new(place.data_dir(), u64::MAX, 100);
    let listed = if by_binary {
        run(&["sr", "list", "--include-deleted", "--json"])?
    } else {
        let query = ListQuery { include_deleted: true, ..ListQuery::default() };
        let page = store.recover().and_then(|_| store.list(&query)).map_err(|error| error.to_string())?;
        serde_json::to_value(page).map_err(|error| error.to_string())?
    };
    let after = read_back(&place);
    // A running recording whose head is lost has nothing that could be kept; it is told as corrupted.
    if let Some(broken) = broken(promises, changes, &after) {
        return Err(format!("after recovery {broken}"));
    }
    if let Some(journal) = after.keys().find(|path| path.starts_with("data/") && path.ends_with(".journal")) {
        return Err(format!("{journal} is no recording"));
    }
    let summaries = listed["recordings"].as_array().ok_or("no list")?;
    for summary in summaries {
        let id = text(&summary["id"]);
        match summary["status"].as_str() {
            Some("complete" | "incomplete") => store.open(&id).map(drop).map_err(|error| format!("{id}: {error}"))?,
            Some("corrupted") => {}
            _ => return Err(format!("a status of nobody's: {summary}")),
        }
    }
    let readable: Vec<&Value> = summaries.iter().filter(|summary| summary["status"] != "corrupted").collect();
    if by_binary && !readable.is_empty() {
        let summary = dice.pick(&readable);
        let shown = run(&["sr", "show", &text(&summary["id"]), "--json"])?;
        if shown["status"] != summary["status"] {
            return Err(format!("{} in the list, {} itself", summary["status"], shown["status"]));
        }
    }
    if by_binary && dice.once_in(30) { serve(&place, summaries.len()) } else { Ok(()) }
}

/// A server on what power left: it lists the same, and records.
fn serve(place: &Place, recordings: usize) -> Result<(), String> {
    let server = Server::builder().place(place).start();
    let total = server.get("/stream-recordings?includeDeleted=true")["total"].clone();
    let id = server.record("websocket", "/ws");
    let stopped = server.stop(&id);
    server.touch("/stream-recordings/vacuum").expect(200);
    let is_well = total == json!(recordings) && stopped["recording"]["status"] == "complete" && !server.log().contains("panicked");
    if is_well { Ok(()) } else { Err(format!("{total} of {recordings} listed, {stopped}, {}", server.log())) }
}

/// All moments of a life, with every kind of loss at each; some of what is left is recovered.
#[test]
fn whatever_a_disk_keeps_when_power_goes_away_promises_are_kept() {
    let Some(disk) = Disk::watched() else { return };
    let mut dice = Dice::new("power loss");
    life::live(&disk);
    let changes = disk.changes();
    let root = disk.place.home().display().to_string();
    let promises = promises(&root, &changes);
    assert!(promises.len() >= 20, "{}", promises.len());

    let (passes, wanted, by_binary_wanted) = (rounds(1, 20), rounds(80, 8_000), rounds(12, 2_000));
    let moments = passes * changes.len() as u64 * LOSSES.len() as u64;
    let (mut looked, mut recovered, mut by_binary) = (0, 0, 0);
    let (mut seen, mut failures) = (BTreeSet::new(), Vec::new());
    for _ in 0..passes {
        let mut model = Model::new(&root);
        for (at, change) in changes.iter().enumerate() {
            model.apply(change);
            for loss in LOSSES {
                let holding = model.holding(loss, &mut dice);
                looked += 1;
                let mut outcome = look(&holding, &promises, at + 1);
                if outcome.is_ok() && dice.below(moments) < wanted && seen.insert(digest(&holding)) {
                    recovered += 1;
                    let is_by_binary = dice.below(wanted) < by_binary_wanted;
                    by_binary += u64::from(is_by_binary);
                    outcome = recover(&holding, &promises, at + 1, &mut dice, is_by_binary);
                }
                if let Err(error) = outcome {
                    let before = changes[at.saturating_sub(3)..=at].iter().map(|change| shorten(&format!("{change:?}")));
                    let before: Vec<String> = before.collect();
                    failures.push(format!("power lost ({loss:?}) after change {at}: {}\n  {}", shorten(&error), before.join("\n  ")));
                }
            }
        }
    }
    let (changes, promises) = (changes.len(), promises.len());
    println!(
        "power loss: {changes} changes, {promises} promises, {looked} states, {recovered} recovered, {by_binary} of them by the binary"
    );
    assert!(failures.is_empty(), "{} of them:\n{}", failures.len(), failures[..failures.len().min(10)].join("\n"));
}

/// What is certain after all that was done so far: what is left when everything is lost that was not synced.
fn certain(disk: &Disk) -> Holding {
    let root = disk.place.home().display().to_string();
    let mut model = Model::new(&root);
    disk.changes().iter().for_each(|change| model.apply(change));
    model.holding(Loss::All, &mut Dice::of(0))
}

#[test]
fn the_data_directory_itself_outlives_a_power_failure_with_its_first_recording() {
    let Some(disk) = Disk::watched() else { return };
    let server = Server::builder().place(&disk.place).option("--data-dir", disk.place.home().join("made/for/it").display()).start();
    let id = server.record("websocket", "/ws");
    server.stop(&id);
    assert!(certain(&disk).contains_key(&format!("made/for/it/rec_{id}.json")), "{:?}", certain(&disk).keys());
}

/// Trap: the recording that made the directory still runs, and is the only one that knows that it is new.
#[test]
fn a_recording_that_is_complete_outlives_a_power_failure_while_the_one_that_made_the_directory_runs() {
    let Some(disk) = Disk::watched() else { return };
    let upstream = Upstream::echo();
    let builder = Server::builder().place(&disk.place).upstream(upstream.url()).flag("--record");
    let server = builder.option("--data-dir", disk.place.home().join("made/for/it").display()).start();
    let mut first = Raw::open(server.mock, "/first");
    first.run("send text x\nexpect text x");
    eventually("the first journal", || (server.get("/stream-recordings")["total"] == 1).then_some(()));
    let mut second = Raw::open(server.mock, "/second");
    second.run("send text x\nexpect text x");
    second.close(1000, "");
    let complete = eventually("the second recording", || {
        server.get("/stream-recordings?status=complete")["recordings"].as_array()?.first().map(|row| text(&row["id"]))
    });
    let left = certain(&disk);
    assert!(left.contains_key(&format!("made/for/it/rec_{complete}.json")), "{:?}", left.keys());
}

#[test]
fn an_exported_file_and_its_folder_outlive_a_power_failure() {
    let Some(disk) = Disk::watched() else { return };
    let id = crate::support::recordings::ws("/ws").s2c(0, "x").save(&disk.place.data_dir());
    disk.place.run(&["sr", "export", &id, "-o", "new/out.json"]).ok();
    disk.place.run(&["sr", "convert", &id, "-o", "out.yaml"]).ok();
    let left = certain(&disk);
    assert!(left.contains_key("new/out.json") && left.contains_key("out.yaml"), "{:?}", left.keys());
}

#[test]
fn what_record_has_kept_in_a_new_folder_outlives_a_power_failure() {
    let Some(disk) = Disk::watched() else { return };
    let upstream = Upstream::echo();
    let run = OneShot::with_command(&disk.place, &["record", &upstream.url(), "-o", "new/er/chat.json"], 0);
    Raw::open(run.mock, "/ws").run("send text x\nexpect text x");
    run.finish().ok();
    assert!(certain(&disk).contains_key("new/er/chat.json"), "{:?}", certain(&disk).keys());
}

/// Trap: a journal that is written anew because of what stands between its frames.
#[test]
fn a_recovery_that_is_interrupted_leaves_one_recording_and_not_two() {
    let Some(disk) = Disk::watched() else { return };
    let upstream = Upstream::echo();
    life::crash(&disk, &upstream);
    let mut model = Model::new(&disk.place.home().display().to_string());
    for (at, change) in disk.changes().iter().enumerate() {
        model.apply(change);
        let holding = model.holding(Loss::Nothing, &mut Dice::of(0));
        let journals = holding.keys().filter_map(|path| path.strip_suffix(".journal"));
        let twice: Vec<&str> = journals.filter(|stem| holding.contains_key(&format!("{stem}.json"))).collect();
        assert!(twice.is_empty(), "after change {at}, {change:?}: {twice:?}");
    }
}

fn digest(holding: &Holding) -> u64 {
    let mut hasher = DefaultHasher::new();
    holding.hash(&mut hasher);
    hasher.finish()
}

fn shorten(text: &str) -> String {
    text.chars().take(300).collect()
}
