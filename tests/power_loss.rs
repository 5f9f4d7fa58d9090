//! Power that goes away: what was synced is all there is, and a completed recording is whole.
//!
//! A server and commands live a short life on a watched disk (`life.rs`). For each moment of it, what a disk may hold after power went
//! away at that moment is laid out (`model.rs`), and the real binary works on it: it must keep every promise made before.

use std::collections::BTreeSet;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};

use serde_json::{Value, json};

use self::model::{Holding, Loss, Model};
use crate::support::disk_layer::Disk;
use crate::support::effort::{Dice, rounds};
use crate::support::server::{Place, text};
use crate::support::Server;

#[path = "power_loss/life.rs"]
mod life;
#[path = "power_loss/model.rs"]
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

/// The real binary on what power left; gives what is wrong.
fn try_state(holding: &Holding, promises: &[life::Promise], changes: usize, dice: &mut Dice) -> Result<(), String> {
    let torn = torn_files(holding);
    if !torn.is_empty() {
        return Err(format!("torn files with final names: {torn:?}"));
    }
    if let Some(broken) = life::broken(promises, changes, holding) {
        return Err(broken);
    }
    let place = lay_out(holding);
    let run = |args: &[&str]| {
        let output = place.run(args);
        let is_well = output.code == 0 && !output.stderr.contains("panicked");
        if is_well { Ok(output) } else { Err(format!("{args:?} ended with {}: {}", output.code, output.stderr)) }
    };
    let listed: Value = serde_json::from_str(&run(&["sr", "list", "--include-deleted", "--json"])?.stdout).map_err(|error| error.to_string())?;
    let after = read_back(&place);
    if let Some(broken) = life::broken(promises, changes, &after) {
        return Err(format!("after recovery {broken}"));
    }
    if let Some(journal) = after.keys().find(|path| path.ends_with(".journal")) {
        return Err(format!("{journal} is no recording"));
    }
    let summaries = listed["recordings"].as_array().ok_or("no list")?;
    for summary in summaries {
        if !matches!(summary["status"].as_str(), Some("complete" | "incomplete" | "corrupted")) {
            return Err(format!("a status of nobody's: {summary}"));
        }
    }
    let readable: Vec<&Value> = summaries.iter().filter(|summary| summary["status"] != "corrupted").collect();
    if !readable.is_empty() {
        let summary = dice.pick(&readable);
        let shown: Value = serde_json::from_str(&run(&["sr", "show", &text(&summary["id"]), "--json"])?.stdout).map_err(|error| error.to_string())?;
        if shown["status"] != summary["status"] {
            return Err(format!("{} in the list, {} itself", summary["status"], shown["status"]));
        }
    }
    if dice.once_in(40) {
        let server = Server::builder().place(&place).start();
        let total = server.get("/stream-recordings?includeDeleted=true")["total"].clone();
        if total != json!(summaries.len()) {
            return Err(format!("a server lists {total}, a command {}", summaries.len()));
        }
        let id = server.record("websocket", "/ws");
        server.stop(&id);
        server.touch("/stream-recordings/vacuum").expect(200);
        assert!(!server.log().contains("panicked"), "{}", server.log());
    }
    Ok(())
}

#[test]
fn whatever_a_disk_keeps_when_power_goes_away_promises_are_kept() {
    let Some(disk) = Disk::watched() else { return };
    let mut dice = Dice::new("power loss");
    life::live(&disk);
    let changes = disk.changes();
    let root = disk.place.home().display().to_string();
    let promises = life::promises(&root, &changes);
    assert!(promises.len() >= 15, "{}", promises.len());

    let states = rounds(120, 20_000);
    let (mut tried, mut seen) = (0, BTreeSet::new());
    let mut failures: Vec<String> = Vec::new();
    let passes = states.div_ceil(changes.len() as u64).max(1);
    // Where not every moment can be tried, those that are tried are spread over the whole life.
    let stride = (changes.len() as u64 / states).max(1);
    for pass in 0..passes {
        let mut model = Model::new(&root);
        let offset = dice.below(stride);
        for (at, change) in changes.iter().enumerate() {
            model.apply(change);
            let loss = *dice.pick(&[Loss::All, Loss::Ordered, Loss::Any, Loss::Any, Loss::Nothing]);
            let loss = if pass == 1 { Loss::All } else { loss };
            let holding = model.holding(loss, &mut dice);
            // What costs no process is tried at every moment.
            let cheap = life::broken(&promises, at + 1, &holding).or_else(|| torn_files(&holding).first().map(|path| format!("{path} is torn")));
            let outcome = if let Some(cheap) = cheap {
                Err(cheap)
            } else if at as u64 % stride == offset && seen.insert(digest(&holding)) {
                tried += 1;
                try_state(&holding, &promises, at + 1, &mut dice)
            } else {
                Ok(())
            };
            if let Err(error) = outcome {
                let before: Vec<String> = changes[at.saturating_sub(3)..=at].iter().map(|change| shorten(&format!("{change:?}"))).collect();
                failures.push(format!("power lost ({loss:?}) after change {at}: {error}\n  {}", before.join("\n  ")));
            }
        }
    }
    println!("power loss: {} changes, {} promises, {tried} states tried by the binary", changes.len(), promises.len());
    assert!(failures.is_empty(), "{} of them:\n{}", failures.len(), failures[..failures.len().min(10)].join("\n"));
}

fn digest(holding: &Holding) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    holding.hash(&mut hasher);
    hasher.finish()
}

fn shorten(text: &str) -> String {
    text.chars().take(300).collect()
}
