//! What people see on a terminal: prompts, colours and progress bars; and that nothing else ever gets an escape code.

use std::io::Read;
use std::process::Command;

use serde_json::json;

use crate::support::pty::{Pty, screen};
use crate::support::recordings::{put, sse, ws};
use crate::support::server::Place;
use crate::support::wait::eventually;

/// A command of mockd for a capable terminal.
fn command(place: &Place, args: &[&str]) -> Command {
    let mut command = place.command(args);
    command.env("TERM", "xterm-256color");
    command
}

/// Runs one on a terminal to its end: the exit code, and what was written.
#[track_caller]
fn run(command: Command) -> (i32, String) {
    let (status, written) = Pty::spawn(command).end();
    (status.code().unwrap_or(-1), written)
}

/// A place with a complete, an incomplete and a corrupted recording, and a deleted one.
fn mixed() -> (Place, String) {
    let place = Place::new();
    let kept = ws("/ws").s2c(0, "x").close("server", 1, 1000, "").save(&place.data_dir());
    sse("/events").set("/status", json!("incomplete")).data(0, "x").save(&place.data_dir());
    put(&place.data_dir(), &format!("rec_{}.json", mockd::base::id::new()), b"{");
    let deleted = ws("/gone").s2c(0, "x").save(&place.data_dir());
    place.run(&["sr", "delete", &deleted]).expect(0);
    (place, kept)
}

#[test]
fn delete_asks_on_a_terminal() {
    let place = Place::new();
    for (args, answer, code, says) in [
        (&[][..], "n\n", 1, "mockd: nothing was deleted"),
        (&[], "\n", 1, "mockd: nothing was deleted"),
        (&[], "\u{4}", 1, "mockd: nothing was deleted"),
        (&["--permanent"], "no\n", 1, "mockd: nothing was deleted"),
        (&[], "y\n", 0, "Deleted"),
        (&["--permanent"], "YES\n", 0, "for ever"),
    ] {
        let id = ws("/ws").set("/name", json!("chat \u{1b}[2J")).s2c(0, "x").save(&place.data_dir());
        let mut pty = Pty::spawn(place.command(&[&["sr", "delete", &id], args].concat()));
        let question = format!("Delete chat \\u{{1b}}[2J ({id}){}? [y/N] ", if args.is_empty() { "" } else { " for ever" });
        pty.sees(&question);
        pty.keys(answer);
        let (status, written) = pty.end();
        assert_eq!(status.code(), Some(code), "{written}");
        assert!(screen(&written).join("\n").contains(says), "{written}");
        assert_eq!(place.run(&["sr", "list"]).ok().contains(&id[..12]), code == 1);
        place.run(&["sr", "delete", &id, "--force", "--permanent"]);
    }
    let ids: Vec<String> = (0..2).map(|_| ws("/ws").s2c(0, "x").save(&place.data_dir())).collect();
    let mut pty = Pty::spawn(place.command(&["sr", "delete", &ids[0], &ids[1]]));
    pty.sees("Delete 2 recordings? [y/N] ");
    pty.keys("y\n");
    assert!(pty.end().0.success());
    let last = ws("/ws").s2c(0, "x").save(&place.data_dir());
    let (code, written) = run(place.command(&["sr", "delete", &last, "--force"]));
    assert!(code == 0 && !written.contains("[y/N]"), "{written}");
}

#[test]
fn status_words_have_colours_on_a_terminal_alone() {
    let (place, _) = mixed();
    let list = ["sr", "list", "--include-deleted"];
    let piped = place.run(&list).ok();
    assert!(!piped.contains('\u{1b}'), "{piped}");
    let (_, written) = run(command(&place, &list));
    for (word, code) in [("complete", "32"), ("incomplete", "33"), ("corrupted", "31"), ("deleted", "2")] {
        assert!(written.contains(&format!("\u{1b}[{code}m{word}")), "{word}: {written:?}");
    }
    // The colours take no room.
    assert_eq!(screen(&written), piped.lines().collect::<Vec<_>>());
    let plain = piped.replace('\n', "\r\n");
    for (name, value, coloured) in [("NO_COLOR", "1", false), ("NO_COLOR", "", true), ("TERM", "dumb", false), ("TERM", "xterm", true)] {
        let mut command = command(&place, &list);
        command.env(name, value);
        assert_eq!(run(command).1 != plain, coloured, "{name}={value}");
    }
    let (_, json) = run(command(&place, &["sr", "list", "--json"]));
    assert!(!json.contains('\u{1b}'), "{json:?}");
}

#[test]
fn a_failure_is_red_on_a_terminal_alone() {
    let place = Place::new();
    let args = ["sr", "show", "01HXYZ123456"];
    let piped = place.run(&args).expect(1).stderr;
    let (code, written) = run(command(&place, &args));
    assert_eq!(code, 1);
    assert_eq!(written, format!("\u{1b}[31mmockd:\u{1b}[0m{}", piped.strip_prefix("mockd:").unwrap().replace('\n', "\r\n")));
    let mut plain = command(&place, &args);
    plain.env("NO_COLOR", "1");
    assert_eq!(run(plain).1, piped.replace('\n', "\r\n"));
}

/// A recording of some MiB goes through a pipe whose reader takes its time: until there is a bar, or until there would have been one.
fn export_slowly(place: &Place, id: &str, has_bar: bool, variables: &[(&str, &str)]) -> (String, u64) {
    let pipe = place.home().join("pipe");
    if !pipe.exists() {
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    }
    let mut command = command(place, &["sr", "export", id, "-o", "pipe"]);
    command.envs(variables.iter().copied());
    let pty = Pty::spawn(command);
    let mut from = std::fs::File::open(&pipe).unwrap();
    let (mut bytes, mut taken) = ([0; 4096], 0);
    let begun = std::time::Instant::now();
    eventually("a bar, or its time", || {
        taken += from.read(&mut bytes).unwrap() as u64;
        if has_bar { pty.written().contains("exporting") } else { begun.elapsed().as_millis() > 700 }.then_some(())
    });
    taken += std::io::copy(&mut from, &mut std::io::sink()).unwrap();
    let (status, written) = pty.end();
    assert!(status.success(), "{written}");
    (written, taken)
}

fn large(place: &Place) -> String {
    let text = "x".repeat(64 * 1024);
    (0..128).fold(ws("/ws"), |made, at| made.s2c(at, &text)).save(&place.data_dir())
}

#[test]
fn long_work_has_a_bar_that_leaves_nothing_behind() {
    let place = Place::new();
    let id = large(&place);
    let (written, taken) = export_slowly(&place, &id, true, &[]);
    assert!(written.contains("exporting  [") && written.contains(" of 8.0 MB  ") && written.contains("/s"), "{written:?}");
    assert_eq!(screen(&written), [format!("Exported {id} to pipe")], "{written:?}");
    assert_eq!(taken, std::fs::metadata(place.data_dir().join(format!("rec_{id}.json"))).unwrap().len());
    let (narrow, _) = export_slowly(&place, &id, true, &[("COLUMNS", "30")]);
    let widest = narrow.split('\r').map(|line| line.trim_start_matches("\u{1b}[?7l").split('\u{1b}').next().unwrap().len()).max();
    assert!(narrow.contains("exporting") && widest < Some(60), "{narrow:?}");
}

#[test]
fn there_is_no_bar_where_nobody_can_see_it() {
    let place = Place::new();
    let id = large(&place);
    let (written, _) = export_slowly(&place, &id, false, &[("TERM", "dumb")]);
    assert_eq!(written, format!("Exported {id} to pipe\r\n"));
    // Short work is done before a bar is worth it.
    let (_, written) = run(command(&place, &["sr", "export", &id, "-o", "copy.json"]));
    assert_eq!(screen(&written), [format!("Exported {id} to copy.json")]);
    let output = place.run(&["sr", "export", &id, "-o", "copy.json"]).expect(0);
    assert_eq!((output.stdout, output.stderr), (format!("Exported {id} to copy.json\n"), String::new()));
}

#[test]
fn deleting_and_removing_say_the_same_on_a_terminal() {
    let (place, id) = mixed();
    let (code, written) = run(command(&place, &["sr", "delete", &id, "--force"]));
    assert_eq!((code, screen(&written).len()), (0, 1), "{written:?}");
    let (code, written) = run(command(&place, &["sr", "vacuum"]));
    assert_eq!(code, 0);
    assert!(screen(&written)[0].starts_with("Removed 2 deleted recordings, freed "), "{written:?}");
}

#[test]
fn recorded_text_steers_no_terminal() {
    let place = Place::new();
    let hostile = "\u{1b}]0;title\u{7}\u{1b}[2J";
    let id = ws("/ws").set("/name", json!(hostile)).set("/metadata/path", json!(format!("/{hostile}"))).s2c(0, "x").save(&place.data_dir());
    for args in [vec!["sr", "list"], vec!["sr", "show", id.as_str()], vec!["sr", "restore", id.as_str()]] {
        let (_, written) = run(command(&place, &args));
        // Only colours are left.
        let codes = written.split('\u{1b}').skip(1);
        for code in codes {
            assert!(code.starts_with('[') && code[1..].trim_start_matches(|c: char| c.is_ascii_digit()).starts_with('m'), "{written:?}");
        }
        assert!(!written.contains('\u{7}'), "{written:?}");
    }
}
