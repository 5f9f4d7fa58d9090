//! Many recordings: lists of them by the command line and by the API, and the start of a server that has them. And how large the binary is.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use mockd::base::id;
use mockd::model::recording::Direction;
use serde_json::{Value, json};

use super::MS;
use crate::figures::{median, quantile};
use crate::place::Place;
use crate::report::{Line, Target};
use crate::servers::{MOCKD, Mockd};
use crate::{Result, clock, content};

/// Fills a directory with small recordings that nobody has touched for an hour, so that an index of them may be kept.
fn fill(place: &Place, count: u64) -> Result<PathBuf> {
    let dir = place.data_dir(&format!("store-{count}"))?;
    let made = content::record(&dir, "/ws/chat", true, (1..4).map(|at| (at * 1000, Direction::ServerToClient, "hello")))?;
    let text = std::fs::read_to_string(&made.file)?;
    let touched = SystemTime::now() - Duration::from_secs(3600);
    for _ in 1..count {
        let id = id::new();
        let path = dir.join(format!("rec_{id}.json"));
        std::fs::write(&path, text.replace(&made.id, &id))?;
        File::options().write(true).open(&path)?.set_modified(touched)?;
    }
    File::options().write(true).open(&made.file)?.set_modified(touched)?;
    Ok(dir)
}

/// The row of the lists.
pub fn list(place: &Place, lines: &mut Vec<Line>) -> Result<()> {
    const ROW: &str = "list";
    let counts = if place.quick { vec![1_000, 10_000] } else { vec![1_000, 10_000, 100_000] };
    let mut found = Vec::new();
    for count in &counts {
        let one = Lists::take(place, *count)?;
        if *count == 10_000 {
            let against = format!("a process that parses {:.1} MB of JSON", one.index_bytes as f64 / 1e6);
            for (work, ms) in [("list of 10,000, command line from cold", one.cli_ms), ("API page of 20 of 10,000", one.page_ms)] {
                lines.push(Line::new(ROW, work).against(&against, one.parse_ms, "ms").got(ms, "ms").wants(Target::RatioAtMost(3.0)));
            }
        }
        found.push(one);
    }
    let (first, last) = (&found[0], &found[found.len() - 1]);
    let (few, many) = (counts[0], counts[counts.len() - 1]);
    let line = Line::new(ROW, format!("list of {many}, command line, growth from {few}"));
    let line = line.against(format!("{} times that of {few}", many / few), first.cli_ms * (many / few) as f64, "ms").got(last.cli_ms, "ms");
    lines.push(line.wants(Target::RatioAtMost(1.0)));
    let line = Line::new(ROW, format!("API page of 20 of {many}, growth from {few}"));
    lines.push(line.against(format!("that of {few}"), first.page_ms, "ms").got(last.page_ms, "ms").wants(Target::RatioAtMost(1.25)));
    Ok(())
}

/// What lists of a store take, in milliseconds.
struct Lists {
    cli_ms: f64,
    page_ms: f64,
    parse_ms: f64,
    index_bytes: u64,
}

impl Lists {
    fn take(place: &Place, count: u64) -> Result<Self> {
        let dir = fill(place, count)?;
        let dir_text = dir.display().to_string();
        let args = ["sr", "list", "--json", "--data-dir", &dir_text];
        // The first list makes the index.
        place.time(MOCKD, &args)?;
        let (json_file, index_bytes) = index_as_json(place, &dir)?;
        let this = std::env::current_exe()?.display().to_string();
        let parse_args = ["as".to_owned(), json!({"role": "parse", "file": json_file}).to_string()];
        let parse_args = [parse_args[0].as_str(), parse_args[1].as_str()];
        let (mut cli, mut parse, mut page) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..if count > 10_000 { 3 } else { place.count(9, 3) } {
            cli.push(place.time(MOCKD, &args)?["ns"].as_f64().unwrap_or(f64::NAN) / MS);
            parse.push(place.time(&this, &parse_args)?["ns"].as_f64().unwrap_or(f64::NAN) / MS);
        }
        let mockd = Mockd::start(place, None, &dir, &[])?;
        for round in 0..23 {
            let start = clock::now_ns();
            let answer = mockd.call("GET", "/stream-recordings?limit=20", None)?;
            // The first ones read the index.
            if round >= 3 {
                page.push((clock::now_ns() - start) as f64 / MS);
            }
            if answer["total"] != count || answer["recordings"].as_array().map(Vec::len) != Some(20) {
                return Err(format!("a page of 20 of {count} should have come, not {} of {}", answer["recordings"], answer["total"]).into());
            }
        }
        drop(mockd);
        std::fs::remove_dir_all(&dir)?;
        Ok(Self { cli_ms: median(&cli), page_ms: median(&page), parse_ms: median(&parse), index_bytes })
    }
}

/// The index is lines of JSON; its limit is a file of the same size and content that is one JSON text.
fn index_as_json(place: &Place, dir: &Path) -> Result<(String, u64)> {
    let mut largest = (0, PathBuf::new());
    for entry in std::fs::read_dir(dir.join(".index"))? {
        let entry = entry?;
        largest = largest.max((entry.metadata()?.len(), entry.path()));
    }
    let mut rows: Vec<Value> = Vec::new();
    for line in BufReader::new(File::open(&largest.1)?).lines() {
        rows.extend(serde_json::from_str::<Value>(&line?).ok().filter(Value::is_object));
    }
    if rows.is_empty() {
        return Err(format!("no index was kept in {}", dir.display()).into());
    }
    let path = place.text("index.json");
    std::fs::write(&path, serde_json::to_vec(&rows)?)?;
    Ok((path, largest.0))
}

/// A static binary that `make` has built below the target directory.
fn static_binary(below: &str) -> Option<PathBuf> {
    let target_dir = Path::new(MOCKD).ancestors().nth(2)?.join(below);
    let built = std::fs::read_dir(target_dir).ok()?.flatten().filter(|entry| entry.file_name().to_string_lossy().contains("-linux-"));
    built.map(|entry| entry.path().join("release/mockd")).find(|binary| binary.is_file())
}

/// The row of starts and sizes: of the static binary, which is what runs in containers, and beside it of the one that loads the C library.
pub fn start(place: &Place, lines: &mut Vec<Line>) -> Result<()> {
    const ROW: &str = "start";
    const HOW: &str = "`make static static-without-tls` builds it";
    let count = place.count(10_000, 2_000);
    let dir = fill(place, count)?;
    place.time(MOCKD, &["sr", "list", "--json", "--data-dir", &dir.display().to_string()])?;
    let start = |kind: &str| format!("start with {count} recordings, {kind}, p90");
    let idle = |kind: &str| format!("resident, idle, {kind}");
    let measure = |kind: &str, binary: &Path| -> Result<[Line; 2]> {
        let mut starts = Starts::take(place, &dir, binary)?;
        let note = format!("p50 {:.1} ms; from fork to the line that says both ports are open", quantile(&mut starts.ns, 50) as f64 / MS);
        let p90 = Line::new(ROW, start(kind)).got(quantile(&mut starts.ns, 90) as f64 / MS, "ms").note(note);
        Ok([p90, Line::new(ROW, idle(kind)).got(starts.resident_kib as f64 / 1024.0, "MiB")])
    };
    if let Some(binary) = static_binary("") {
        let [p90, resident] = measure("static", &binary)?;
        lines.extend([p90.wants(Target::AtMost(5.0)), resident.wants(Target::AtMost(5.0))]);
    } else {
        lines.extend([start("static"), idle("static")].map(|work| Line::left_out(ROW, work, HOW)));
    }
    lines.extend(measure("with the C library's loader", Path::new(MOCKD))?);
    for (work, below, most) in [("static binary with TLS", "", 4.0), ("static binary without TLS", "without-tls", 2.5)] {
        match static_binary(below) {
            Some(binary) => {
                let bytes = binary.metadata()?.len();
                lines.push(Line::new(ROW, work).got(bytes as f64 / 1_048_576.0, "MiB").wants(Target::AtMost(most)));
            }
            None => lines.push(Line::left_out(ROW, work, HOW)),
        }
    }
    Ok(())
}

/// What many starts of one binary took, and what it had resident at most a moment later.
struct Starts {
    ns: Vec<u64>,
    resident_kib: u64,
}

impl Starts {
    fn take(place: &Place, dir: &Path, binary: &Path) -> Result<Self> {
        let mut starts = Self { ns: Vec::new(), resident_kib: 0 };
        for _ in 0..place.count(40, 10) {
            let begin = clock::now_ns();
            // Without the bench's own process between: that one takes a millisecond.
            let mut child = Command::new(binary)
                .args(["serve", "--port", "0", "--admin-port", "0", "--json", "--data-dir"])
                .arg(dir)
                .current_dir(place.path(""))
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()?;
            let mut line = String::new();
            let read = child.stdout.take().map(|stdout| BufReader::new(stdout).read_line(&mut line));
            starts.ns.push(clock::now_ns() - begin);
            clock::settle(20);
            let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
            let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.split_whitespace().next()?.parse::<u64>().ok());
            child.kill()?;
            child.wait()?;
            if !matches!(read, Some(Ok(1..))) {
                return Err(format!("the server said {line:?}").into());
            }
            starts.resident_kib = starts.resident_kib.max(resident.unwrap_or(u64::MAX));
        }
        Ok(starts)
    }
}
