//! The README runs: its commands in a shell against real servers, and what it shows against what they print. It holds no command of its own.
//!
//! Fenced blocks are read in order, by the first words of their info string:
//!
//! - `sh`: runs in a shell that lasts for its section (a heading of two `#`), so that variables live on; a command that fails ends it.
//! - `sh server`: one `mockd serve` line, started in place of the server before it, on free ports. The ports are put into all that follows.
//! - `sh skip=REASON`: does not run; where it holds a `wscat -c` line, a client of the tests has that conversation instead.
//! - `sh` with `make` lines alone: the Makefile must have these targets.
//! - `yaml NAME`: written to that file. `text`: what the block before it prints; ids, times, durations, sizes and white space are not
//!   compared, and `…` stands for anything. `text about`: no number is compared, since it depends on when somebody left.
//!
//! A stand-in with the demo's paths answers where the README says `localhost:8080`.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use regex_lite::Regex;

use crate::support::server::{MOCKD, Place};
use crate::support::ws::Client;
use crate::support::{Server, wait};

/// What stands before the exit of a block on the shell's output.
const MARK: char = '\u{1e}';

/// A fenced block.
#[derive(Debug)]
struct Block {
    section: String,
    line: usize,
    info: Vec<String>,
    text: String,
}

impl Block {
    fn word(&self, index: usize) -> &str {
        self.info.get(index).map_or("", String::as_str)
    }
}

fn file(name: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn blocks(readme: &str) -> Vec<Block> {
    let (mut found, mut section, mut open) = (Vec::new(), String::new(), None::<Block>);
    for (index, line) in readme.lines().enumerate() {
        match (&mut open, line.strip_prefix("```")) {
            (Some(block), None) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (Some(_), Some(_)) => found.extend(open.take()),
            (None, Some(info)) => {
                let info = info.split_whitespace().map(str::to_owned).collect();
                open = Some(Block { section: section.clone(), line: index + 1, info, text: String::new() });
            }
            (None, None) => section = line.strip_prefix("## ").map_or(section, str::to_owned),
        }
    }
    assert!(open.is_none(), "a block is not closed");
    found
}

/// One shell that is fed block by block.
struct Shell {
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Shell {
    fn start(place: &Place, bin: &Path) -> Self {
        let mut child = Command::new("sh")
            .current_dir(place.home())
            .env_clear()
            .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", bin.display()))
            .env("HOME", place.home())
            .env("MOCKD_DATA_DIR", place.data_dir())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        std::thread::spawn(move || {
            for line in stdout.split(b'\n').map_while(Result::ok) {
                // The test may have ended.
                drop(sender.send(String::from_utf8_lossy(&line).into_owned()));
            }
        });
        let mut shell = Self { input: child.stdin.take().expect("a pipe"), child, lines };
        shell.run("set -eu", "the shell's start");
        shell
    }

    /// Runs a block and gives what it printed. Errors go to the test's own stderr.
    #[track_caller]
    fn run(&mut self, text: &str, what: &str) -> String {
        let script = format!("{{\n{text}\n}} </dev/null\nprintf '{MARK}\\n'\n");
        self.input.write_all(script.as_bytes()).unwrap_or_else(|error| panic!("{what}: the shell is gone ({error})"));
        let mut printed = String::new();
        loop {
            let line = wait::next(what, &self.lines);
            // A block whose output does not end with a newline has its mark behind it.
            if let Some(last) = line.strip_suffix(MARK) {
                return printed + last;
            }
            printed.push_str(&line);
            printed.push('\n');
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A section's place, shell and server.
struct Stage {
    section: String,
    place: Place,
    shell: Shell,
    server: Option<Server>,
    stand_in: String,
}

impl Stage {
    fn new(section: &str, bin: &Path, stand_in: &Server) -> Self {
        let place = Place::new();
        let shell = Shell::start(&place, bin);
        Self { section: section.to_owned(), place, shell, server: None, stand_in: stand_in.mock.to_string() }
    }

    /// The README's text with the addresses of this run.
    fn located(&self, text: &str) -> String {
        let text = text.replace("localhost:8080", &self.stand_in);
        match &self.server {
            Some(server) => text.replace("localhost:4280", &server.mock.to_string()).replace("localhost:4290", &server.admin.to_string()),
            None => text,
        }
    }

    /// What was printed with the README's addresses.
    fn printed(&self, text: &str) -> String {
        let text = text.replace(&self.stand_in, "localhost:8080");
        match &self.server {
            Some(server) => text.replace(&server.mock.to_string(), "127.0.0.1:4280").replace(&server.admin.to_string(), "127.0.0.1:4290"),
            None => text,
        }
    }

    /// Starts the server of a block `sh server`, in place of the one before it.
    #[track_caller]
    fn serve(&mut self, block: &Block) {
        let line = block.text.replace("\\\n", " ");
        let words: Vec<String> = line.split_whitespace().map(|word| self.located(word)).collect();
        assert_eq!(words[..2], ["mockd", "serve"], "README.md:{}: one `mockd serve` line", block.line);
        if let Some(mut server) = self.server.take() {
            assert!(server.terminate().success(), "the server of {:?} ends in order", self.section);
        }
        let builder = words[2..].iter().fold(Server::builder().place(&self.place), |builder, word| builder.flag(word));
        let server = builder.start();
        self.shell.run(&format!("export MOCKD_ADMIN_URL=http://{}", server.admin), "the address");
        self.server = Some(server);
    }

    /// Has the conversation of a `wscat` line: a join, its echo, three ticks, and goodbye.
    #[track_caller]
    fn converse(&self, block: &Block) {
        let Some((_, rest)) = block.text.split_once("wscat -c ws://localhost:4280") else { return };
        let server = self.server.as_ref().unwrap_or_else(|| panic!("README.md:{}: there is no server", block.line));
        let mut client = Client::open(server.mock, rest.split_whitespace().next().unwrap_or(""));
        client.text("{\"type\":\"join\",\"room\":\"general\"}");
        client.take(6);
        drop(client.socket.close(None));
        client.rest();
    }
}

/// A text with what differs from run to run replaced, in pieces between `…`, without white space.
fn pieces(text: &str) -> Vec<String> {
    let mut text = text.to_owned();
    for (pattern, name) in [
        (r"\b0[0-9A-HJKMNP-TV-Z]{25}\b", "<id>"),
        (r"\b0[0-9A-HJKMNP-TV-Z]{11}\b", "<short id>"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
        (r"\b\d+m\d\ds\b|\b\d+(\.\d+)?(ms|us|s)\b", "<duration>"),
        (r"\b\d+(\.\d+)? (B|KB|MB)\b", "<size>"),
        (r#""(elapsedMs|duration|fileSizeBytes|created|p50Us|p99Us|maxUs)":\d+"#, "\"$1\":<number>"),
    ] {
        text = Regex::new(pattern).expect("a pattern").replace_all(&text, name).into_owned();
    }
    text.split('…').map(|piece| piece.split_whitespace().collect()).collect()
}

/// A text with every number replaced by the same one.
fn without_numbers(text: &str) -> String {
    let [ids, numbers] = [r"\b0[0-9A-Z]{11,25}\b", r"\d+"].map(|pattern| Regex::new(pattern).expect("a pattern"));
    numbers.replace_all(&ids.replace_all(text, "<id>"), "0").into_owned()
}

/// Whether what was printed is what the README shows.
fn fits(shown: &str, printed: &str) -> bool {
    let (shown, printed) = (pieces(shown), pieces(printed).join("…"));
    let Some(mut rest) = printed.strip_prefix(shown[0].as_str()) else { return false };
    if shown.len() == 1 {
        return rest.is_empty();
    }
    for piece in &shown[1..shown.len() - 1] {
        let Some(at) = rest.find(piece.as_str()) else { return false };
        rest = &rest[at + piece.len()..];
    }
    rest.ends_with(shown[shown.len() - 1].as_str())
}

#[test]
fn what_is_shown_is_compared_but_for_what_differs_from_run_to_run() {
    assert!(fits("Duration: 2.0s\n", "Duration:  1.9s\n"));
    assert!(fits("{\"id\":\"01M8057MR1CQ2H00X63753GS11\",\n  \"n\":1}", "{\"id\":\"01M8057PQEP4F3572MKVVHWNMK\",\"n\":1}"));
    assert!(fits("at most … connections", "at most 6600 connections"));
    assert!(fits("4.8 KB\n…", "821 B\nand more"));
    assert!(!fits("FRAMES 20", "FRAMES 21"));
    assert!(!fits("a … b … c", "a c b"));
    assert!(!fits("a", "a b"));
    assert_eq!(without_numbers("01M8057MR1CQ  8  1.5s  2.5 KB"), without_numbers("01M805KB3FZ0  19  2.0s  14.8 KB"));
    assert_ne!(without_numbers("sse 8"), without_numbers("websocket 8"));
}

#[test]
fn every_command_works_and_prints_what_is_shown() {
    if !["/usr/bin/curl", "/bin/curl", "/usr/local/bin/curl"].iter().any(|curl| Path::new(curl).exists()) {
        println!("skipped: there is no curl on this machine");
        return;
    }
    let bin = Path::new(MOCKD).parent().expect("a folder");
    let stand_in = Server::builder().flag("--demo").start();
    let makefile = file("Makefile");
    let mut stage: Option<Stage> = None;
    let mut printed: Option<String> = None;
    let (mut ran, mut wrong) = (0, Vec::new());
    for block in blocks(&file("README.md")) {
        let place = format!("README.md:{}", block.line);
        if stage.as_ref().is_none_or(|stage| stage.section != block.section) {
            stage = Some(Stage::new(&block.section, bin, &stand_in));
            printed = None;
        }
        let stage = stage.as_mut().expect("it was made above");
        match (block.word(0), block.word(1)) {
            ("sh", "server") => {
                stage.serve(&block);
                printed = None;
            }
            ("sh", "") if block.text.lines().all(|line| line.starts_with("make ")) => {
                for target in block.text.lines().filter_map(|line| line.split_whitespace().nth(1)) {
                    assert!(makefile.lines().any(|line| line.starts_with(&format!("{target}:"))), "{place}: no target {target}");
                }
            }
            ("sh", "") => {
                let output = stage.shell.run(&stage.located(&block.text), &format!("{place}:\n{}", block.text));
                printed = Some(stage.printed(&output));
                ran += 1;
            }
            ("sh", skip) if skip.starts_with("skip=") => {
                println!("{place} skipped: {}", skip.trim_start_matches("skip="));
                stage.converse(&block);
                printed = None;
            }
            ("text", how @ ("" | "about")) => match printed.take() {
                Some(printed) if how == "about" && fits(&without_numbers(&block.text), &without_numbers(&printed)) => {}
                Some(printed) if fits(&block.text, &printed) => {}
                Some(printed) => wrong.push(format!("{place} shows\n{}\nbut this was printed:\n{printed}", block.text)),
                None => {
                    let server = stage.server.as_ref().unwrap_or_else(|| panic!("{place}: nothing has been printed"));
                    wait::eventually(&format!("the log that {place} shows"), || {
                        fits(&block.text, &stage.printed(&server.log())).then_some(())
                    });
                }
            },
            ("yaml", name) if !name.is_empty() => drop(stage.place.file(name, &stage.located(&block.text))),
            _ => panic!("{place}: the info string {:?} means nothing", block.info.join(" ")),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(ran >= 12, "only {ran} blocks were run");
}

#[test]
fn the_tables_name_every_call_and_every_command() {
    let readme = file("README.md");
    let routes = file("src/serve/admin/routes.rs");
    let row = Regex::new(r#"(?:row|open)\("([A-Z]+)", "([^"]+)""#).expect("a pattern");
    let mut calls = 0;
    for found in row.captures_iter(&routes) {
        let (method, path) = (&found[1], format!("`{}`", &found[2]));
        let named = readme.lines().any(|line| {
            let mut cells = line.split('|').map(str::trim).skip(1);
            cells.next().is_some_and(|methods| methods.split(", ").any(|named| named == method))
                && cells.next().is_some_and(|paths| paths.split(", ").any(|named| named == path))
        });
        assert!(named, "{} {} is not in the README's table", &found[1], &found[2]);
        calls += 1;
    }
    assert!(calls > 20, "{calls} calls found");
    let place = Place::new();
    for command in ["stream-recordings", "replay"] {
        let help = place.run(&[command, "--help"]).ok();
        let listed = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
        for name in listed.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split([' ', ',']).find(|word| !word.is_empty())) {
            assert!(readme.contains(&format!("`{name}`")), "mockd {command} {name} is not in the README");
        }
    }
}

#[test]
fn every_flag_and_variable_that_is_named_is_there() {
    let place = Place::new();
    let help = |args: &[&str]| place.run(&[args, &["--help"]].concat()).ok();
    let mut known = ["serve", "record", "play"].map(|command| help(&[command])).concat();
    for group in ["stream-recordings", "replay"] {
        let listing = help(&[group]);
        let commands = listing.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
        let names =
            commands.filter(|line| !line.starts_with("   ")).filter_map(|line| line.split([' ', ',']).find(|word| !word.is_empty()));
        known.extend(names.map(|name| help(&[group, name])));
    }
    let words = |text: &str| -> BTreeSet<String> {
        let word = Regex::new(r"--[a-z]+(?:-[a-z]+)*|MOCKD_[A-Z_]+").expect("a pattern");
        word.find_iter(text).map(|found| found.as_str().to_owned()).collect()
    };
    let (known, named) = (words(&known), words(&file("README.md")));
    assert!(named.len() > 15, "{named:?}");
    assert_eq!(named.difference(&known).collect::<Vec<_>>(), [""; 0], "the help does not know these");
}

#[test]
fn every_file_that_is_named_is_there() {
    let named = Regex::new(r"`((?:src|tests|scripts)/[a-z_/]+(?:\.rs|/)?)`").expect("a pattern");
    let readme = file("README.md");
    let mut count = 0;
    for found in named.captures_iter(&readme) {
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(&found[1]).exists(), "{} is not there", &found[1]);
        count += 1;
    }
    assert!(count > 15, "only {count} files are named");
}
