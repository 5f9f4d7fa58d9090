//! Instructions of the hot paths, counted by valgrind's callgrind, beside the ones that were committed last. A frame's figure is the
//! difference of two runs, one of twice as many frames, so that starting up is not in it.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::Result;
use crate::place::Place;

/// The paths, and what one round of each is.
const PATHS: [(&str, &str); 4] = [
    ("relay", "a frame of 100 B from socket to socket and onto the tape"),
    ("record", "a frame of 100 B from the tape to the journal"),
    ("replay", "a frame that is due, from the player"),
    ("event", "an event of 100 B, parsed"),
];
const ROUNDS: u64 = 20_000;
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/load/counts.txt");

/// Prints the counts; with `keep` they take the place of the committed ones.
pub fn run(place: &Place, keep: bool) -> Result<()> {
    if !Path::new("/usr/bin/valgrind").exists() && !Path::new("/usr/local/bin/valgrind").exists() {
        println!("instruction counts need valgrind, which is not here (Debian: apt-get install valgrind)");
        return Ok(());
    }
    let committed = std::fs::read_to_string(FILE).unwrap_or_default();
    let last = |path: &str| committed.lines().find_map(|line| line.strip_prefix(path)?.trim().parse::<u64>().ok());
    let mut kept = String::new();
    println!("{:8} {:>14} {:>14} {:>8}  instructions of one round", "path", "now", "committed", "change");
    for (path, what) in PATHS {
        let count = (count(place, path, 2 * ROUNDS)? - count(place, path, ROUNDS)?) / ROUNDS;
        let change = last(path).map(|last| format!("{:+.1}%", (count as f64 / last as f64 - 1.0) * 100.0));
        let last = last(path).map_or_else(|| "none".to_owned(), |last| last.to_string());
        println!("{path:8} {count:>14} {last:>14} {:>8}  {what}", change.unwrap_or_default());
        kept.push_str(&format!("{path} {count}\n"));
    }
    if keep {
        std::fs::write(FILE, kept)?;
        println!("kept in {FILE}");
    }
    Ok(())
}

/// All instructions of a run of so many rounds.
fn count(place: &Place, path: &str, rounds: u64) -> Result<u64> {
    let dir = place.data_dir(&format!("{path}-{rounds}"))?;
    let spec = json!({"role": "hot", "path": path, "count": rounds, "dir": dir});
    let output = Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg(std::env::current_exe()?)
        .args(["as", &spec.to_string()])
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    let collected = said.lines().find_map(|line| line.split("Collected :").nth(1)?.trim().parse().ok());
    match collected {
        Some(count) if output.status.success() => Ok(count),
        _ => Err(format!("callgrind of {path} failed: {said}").into()),
    }
}
