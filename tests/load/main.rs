//! What mockd costs, against what the machine can do: a table with a line for each thing, its limit measured in the same run. It runs the
//! release binary, the peers, and itself in parts; it asserts nothing, the table says what is met. `make bench` starts it.
#![allow(clippy::print_stdout, clippy::print_stderr, missing_docs)]

mod clock;
mod content;
mod counts;
mod figures;
mod place;
mod report;
mod roles;
mod rows;
mod servers;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use place::Place;
use report::Line;

/// Whatever goes wrong ends a row with a message.
pub type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

const HELP: &str = "\
Usage: load [--quick] [--json FILE] [ROW…]     the table, of all rows or of these
       load --counts [--keep]                  instructions of the hot paths, beside the committed ones
Rows:
";

/// What has to be known to read the table.
const TRAPS: &str = "\
Traps that this bench steps around:
- Round trips on two cores have two modes, by where the scheduler puts the peer: latency rows pin client, server, upstream and peers to one core.
- A connection's first rounds pay for cold caches and slow start: 200 rounds are run before any counts.
- A machine that slows down (heat, neighbours) favours who runs first: runs alternate (A B A B …), the medians of the blocks are compared.
- A client that is the slower side makes all servers equal: clients are a process of their own, wait by epoll, and allocate nothing per frame.
- Bytes that are lost or doubled can be fast: content is hashed or compared, not only counted.
- Stamps are CLOCK_MONOTONIC (or CLOCK_REALTIME, against recorded times), which all processes share.
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [word, spec, rest @ ..] = args.as_slice()
        && word == "as"
    {
        return match roles::run(spec, rest) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("{error}");
                ExitCode::FAILURE
            }
        };
    }
    match bench(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error}");
            ExitCode::FAILURE
        }
    }
}

fn bench(args: &[String]) -> Result<()> {
    let (mut quick, mut counts, mut keep, mut json, mut wanted) = (false, false, false, None, Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            // cargo bench says so to every bench.
            "--bench" => {}
            "--quick" => quick = true,
            "--counts" => counts = true,
            "--keep" => keep = true,
            "--json" => json = Some(args.next().ok_or("--json needs a file")?.clone()),
            "--help" | "-h" => {
                print!("{HELP}");
                rows::ROWS.iter().for_each(|row| println!("  {:10} {}", row.name, row.what));
                return Ok(());
            }
            names => {
                for name in names.split([',', ' ']).filter(|name| !name.is_empty()) {
                    let row = rows::ROWS.iter().find(|row| row.name == name);
                    let known = rows::ROWS.iter().map(|row| row.name).collect::<Vec<_>>().join(", ");
                    wanted.push(row.ok_or_else(|| format!("no row is called {name:?}; there are {known}"))?.name);
                }
            }
        }
    }
    // Limits of the machine, not of a shell that was started long ago.
    mockd::base::platform::raise_open_files();
    let place = Place::new(quick)?;
    if counts {
        return counts::run(&place, keep);
    }
    let lines = run_rows(&place, &wanted);
    println!("\n{}\n{TRAPS}", report::table(&lines));
    let file = json.unwrap_or_else(|| concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench.json").to_owned());
    let whole = serde_json::json!({
        "date": mockd::base::time::rfc3339(mockd::base::time::wall_us()), "machine": machine(), "quick": quick,
        "lines": lines.iter().map(Line::json).collect::<Vec<_>>(),
    });
    std::fs::write(&file, format!("{whole:#}\n"))?;
    println!("{}; as JSON in {file}", machine());
    Ok(())
}

/// Each row by itself: one that fails says why, and the rest goes on.
fn run_rows(place: &Place, wanted: &[&str]) -> Vec<Line> {
    let mut lines = Vec::new();
    for row in rows::ROWS.iter().filter(|row| wanted.is_empty() || wanted.contains(&row.name)) {
        let (start, cores) = (clock::now_ns(), clock::Cores::now());
        eprint!("{:10} {} … ", row.name, row.what);
        let before = lines.len();
        let end = catch_unwind(AssertUnwindSafe(|| (row.run)(place, &mut lines)));
        let failure = match end {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("it panicked".to_owned()),
        };
        eprintln!("{:.1} s, {} lines", (clock::now_ns() - start) as f64 / 1e9, lines.len() - before);
        let stolen = cores.stolen();
        lines[before..].iter_mut().for_each(|line| line.stolen(stolen));
        if let Some(failure) = failure {
            eprintln!("  {failure}");
            lines.push(Line::left_out(row.name, row.what, failure));
        }
        for line in &lines[before..] {
            eprintln!("  {}", line.json());
        }
    }
    lines
}

/// The kind of machine, for people who read the table elsewhere.
fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).map_or("?", |rest| rest.trim_start_matches([':', ' ', '\t']));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{model}, {cores} cores, Linux {}", kernel.trim())
}
