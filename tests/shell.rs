//! Completions in the shells themselves; help texts and exit codes. A shell that is not installed is skipped, and said to be.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::support::Server;
use crate::support::pty::Pty;
use crate::support::recordings::{sse, ws};
use crate::support::server::{MOCKD, Place};
use crate::support::wait::eventually;

/// A shell that is installed here.
fn find(name: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&paths).map(|folder| folder.join(name)).find(|path| path.is_file());
    if found.is_none() {
        println!("skipped: {name} is not installed, so its completions are not tried");
    }
    found
}

/// A command of a shell in a place, where `mockd` is the one under test.
fn shell(place: &Place, path: &Path) -> Command {
    let mut command = place.command(&[]);
    let kept: Vec<(String, String)> =
        command.get_envs().filter_map(|(name, value)| Some((name.to_str()?.to_owned(), value?.to_str()?.to_owned()))).collect();
    command = Command::new(path);
    let bin = Path::new(MOCKD).parent().unwrap();
    command.env_clear().envs(kept).env("PATH", format!("{}:/usr/bin:/bin", bin.display())).env("TERM", "xterm").current_dir(place.home());
    command.stdin(Stdio::null());
    command
}

/// The script of a shell, in a file.
fn script(place: &Place, name: &str) -> PathBuf {
    let text = place.run(&["completions", name]).ok();
    place.file(&format!("mockd.{name}"), &text)
}

/// Runs a shell to its end; it must say nothing on stderr.
#[track_caller]
fn output(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    String::from_utf8(output.stdout).unwrap()
}

/// What each shell offers at the end of each line.
fn offers(name: &str, place: &Place, lines: &[&str]) -> Option<Vec<Vec<String>>> {
    let path = find(name)?;
    script(place, name);
    Some(match name {
        "bash" => lines.iter().map(|line| bash(place, &path, line)).collect(),
        "fish" => lines.iter().map(|line| fish(place, &path, line)).collect(),
        _ => zsh(place, &path, lines),
    })
}

/// The words of a line as bash splits them.
fn split(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    for c in line.chars() {
        let last = words.last().cloned().unwrap();
        match c {
            ' ' if last.is_empty() => {}
            ' ' => words.push(String::new()),
            '=' | ':' if last.is_empty() => *words.last_mut().unwrap() = c.to_string(),
            '=' | ':' => words.push(c.to_string()),
            c if last == "=" || last == ":" => words.push(c.to_string()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words
}

fn bash(place: &Place, path: &Path, line: &str) -> Vec<String> {
    let mut command = shell(place, path);
    let text = r#"source mockd.bash; COMP_WORDS=("$@"); COMP_CWORD=$(( $# - 1 )); _mockd mockd; printf '%s\n' "${COMPREPLY[@]}""#;
    command.args(["--norc", "-u", "-c", text, "bash"]).args(split(line));
    output(command).lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

fn fish(place: &Place, path: &Path, line: &str) -> Vec<String> {
    let mut command = shell(place, path);
    command.args(["--no-config", "-c", "source mockd.fish; complete -C $argv[1]", line]);
    let text = output(command);
    text.lines().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

/// zsh completes only at its prompt: a key there writes all that would be listed into a file.
fn zsh(place: &Place, path: &Path, lines: &[&str]) -> Vec<Vec<String>> {
    place.file(
        ".zshrc",
        r#"
        autoload -U compinit
        compinit -u -D
        source mockd.zsh
        compadd() {
            setopt localoptions extendedglob
            local -a offered
            if (( ! ${@[1,${@[(i)--]}][(I)-[a-zA-Z]#[OAD]*]} )); then
                builtin compadd -O offered "$@"
                print -rl -- $offered >> offered
            fi
            builtin compadd "$@"
        }
        probe() { _main_complete; print -r -- '<end>' >> offered }
        zle -C probe list-choices probe
        bindkey '^T' probe
        PROMPT='ready> '
        "#,
    );
    let mut command = shell(place, path);
    command.args(["-d", "-i"]).env("ZDOTDIR", place.home());
    let mut pty = Pty::spawn(command);
    pty.sees("ready> ");
    let file = place.home().join("offered");
    let read = || std::fs::read_to_string(&file).unwrap_or_default();
    let found = lines.iter().map(|line| {
        drop(std::fs::remove_file(&file));
        pty.keys(&format!("\u{15}{line}\u{14}"));
        let text = eventually(&format!("what zsh offers for {line:?}"), || Some(read()).filter(|text| text.ends_with("<end>\n")));
        let words = text.lines().filter(|line| !line.is_empty() && *line != "<end>");
        words.map(|word| word.trim_end_matches('=').to_owned()).collect()
    });
    found.collect()
}

/// Lines, what must be offered at their end, and what must not.
type Case<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

#[track_caller]
fn check(place: &Place, cases: &[Case<'_>]) {
    let lines: Vec<&str> = cases.iter().map(|(line, ..)| *line).collect();
    for name in ["bash", "zsh", "fish"] {
        let Some(found) = offers(name, place, &lines) else { continue };
        for ((line, some, none), offered) in cases.iter().zip(found) {
            // Behind `=` some shells offer the whole word, and some what is new of it.
            let has = |word: &str| offered.iter().any(|other| other == word || other.rsplit('=').next() == Some(word));
            for word in *some {
                assert!(has(word), "{name} does not offer {word:?} for {line:?}: {offered:?}");
            }
            for word in *none {
                assert!(!has(word), "{name} offers {word:?} for {line:?}: {offered:?}");
            }
            assert!(!some.is_empty() || !none.is_empty() || offered.is_empty(), "{name} offers for {line:?}: {offered:?}");
        }
    }
}

#[test]
fn the_shells_take_their_scripts() {
    let place = Place::new();
    for name in ["bash", "zsh", "fish"] {
        let file = script(&place, name);
        let Some(path) = find(name) else { continue };
        let mut command = shell(&place, &path);
        command.arg("-n").arg(file);
        assert_eq!(output(command), "", "{name}");
    }
}

#[test]
fn commands_flags_and_words_are_completed() {
    let place = Place::new();
    check(
        &place,
        &[
            ("mockd ", &["serve", "init", "stream-recordings", "sr", "replay", "completions", "help"], &["list", "--port"]),
            ("mockd se", &["serve"], &["init", "sr"]),
            ("mockd -", &["--help", "--version"], &["--port"]),
            ("mockd sr ", &["list", "ls", "delete", "rm", "tail"], &["serve", "advance"]),
            ("mockd stream-recordings li", &["list"], &["ls"]),
            ("mockd replay ", &["list", "advance"], &["export"]),
            ("mockd help sr ", &["list"], &["serve"]),
            ("mockd sr lst ", &[], &[]),
            ("mockd sr ls --", &["--protocol", "--include-deleted", "--data-dir", "--json", "--help"], &["--port", "--mode"]),
            ("mockd sr list --json --protocol ", &["websocket", "sse"], &["--json", "list"]),
            ("mockd sr list --protocol w", &["websocket"], &["sse"]),
            ("mockd sr list --protocol=s", &["sse"], &["websocket"]),
            ("mockd sr list --limit 10 --sort-order ", &["asc", "desc"], &[]),
            ("mockd sr list --name ", &[], &[]),
            ("mockd sr list --name serve --sort-by ", &["startTime", "size"], &[]),
            ("mockd serve --log-level d", &["debug"], &["info"]),
            ("mockd serve --log-format ", &["text", "json"], &[]),
            ("mockd serve --record --log-format ", &["text", "json"], &[]),
            ("mockd serve --record /ws/* --log-format ", &["text", "json"], &[]),
            ("mockd serve --upstream http://localhost:8080 --log-format ", &["text", "json"], &[]),
            ("mockd replay start --mode ", &["pure", "synchronized", "triggered"], &[]),
            ("mockd completions ", &["bash", "zsh", "fish"], &["serve"]),
            ("mockd completions f", &["fish"], &["bash"]),
            ("mockd sr list -- ", &[], &[]),
            ("mockd sr list -- --", &[], &[]),
        ],
    );
}

/// The keys themselves: what a shell inserts is what mockd runs with.
#[test]
fn a_line_is_typed_with_tabs() {
    let place = Place::new();
    let id = ws("/ws").s2c(0, "x").save(&place.data_dir());
    for name in ["bash", "zsh"] {
        let Some(path) = find(name) else { continue };
        // zsh finds its script in a directory as well.
        let file = script(&place, name);
        std::fs::copy(file, place.home().join("_mockd")).unwrap();
        place.file(".zshrc", "fpath=($PWD $fpath); autoload -U compinit; compinit -u -D; PROMPT='ready> '");
        let mut command = shell(&place, &path);
        command.env("ZDOTDIR", place.home()).env("PS1", "ready> ").env("INPUTRC", "/dev/null");
        command.args(if name == "bash" { ["--norc", "-i"] } else { ["-d", "-i"] });
        let mut pty = Pty::spawn(command);
        pty.sees("ready> ");
        if name == "bash" {
            pty.keys("source mockd.bash\n");
        }
        pty.keys("mockd str\tli\t--protocol=w\t--js\t\n");
        pty.sees("{\"recordings\":[{\"id\":\"");
        pty.keys(&format!("mockd sr export {}\t-o copy.json\n", &id[..8]));
        pty.sees("Exported ");
    }
}

#[test]
fn files_and_directories_are_completed() {
    let place = Place::new();
    place.file("some config.yaml", "");
    place.file("plain.yaml", "");
    std::fs::create_dir(place.home().join("plaindir")).unwrap();
    let (file, folder) = ("plain.yaml", "plaindir");
    // Shells say of a directory that it is one in their own ways.
    let tell =
        |offered: &[String]| (offered.iter().any(|word| word == file), offered.iter().any(|word| word.trim_end_matches('/') == folder));
    let lines = [
        "mockd serve --config pl",
        "mockd sr export 01HXYZ123456 -o pl",
        "mockd serve --data-dir pl",
        "mockd sr list --name pl",
        "mockd pl",
    ];
    for name in ["bash", "zsh", "fish"] {
        let Some(found) = offers(name, &place, &lines) else { continue };
        let told: Vec<_> = found.iter().map(|offered| tell(offered)).collect();
        assert_eq!(told, [(true, true), (true, true), (false, true), (false, false), (false, false)], "{name}: {found:?}");
    }
}

#[test]
fn ids_of_recordings_are_completed() {
    let place = Place::new();
    let ids: Vec<String> = (0..3).map(|at| ws(&format!("/ws/{at}")).s2c(0, "x").save(&place.data_dir())).collect();
    // Ids of one millisecond begin alike; this one must not be taken for another.
    let is_apart = |id: &str| ids.iter().all(|known| known[..12] != id[..12]);
    let mut apart = std::iter::repeat_with(|| sse("/events").data(0, "x")).filter(|made| is_apart(made.json()["id"].as_str().unwrap()));
    let other = apart.next().unwrap().save(&place.home().join("other"));
    place.run(&["sr", "delete", &ids[2]]).expect(0);
    // As many characters as `list` prints, which may be more than twelve.
    let listed = place.run(&["sr", "list", "--include-deleted"]).ok();
    let short: Vec<&str> =
        ids.iter().map(|id| listed.split_whitespace().find(|word| word.len() >= 12 && id.starts_with(word)).unwrap()).collect();
    let elsewhere = &other[..12];
    let first = format!("mockd sr show {}", &short[0][..11]);
    check(
        &place,
        &[
            ("mockd sr show ", &short[..2], &[short[2], elsewhere, "ID"]),
            (&first, &short[..1], &[elsewhere]),
            ("mockd sr export -o x.json ", &short[..2], &[short[2]]),
            (&format!("mockd sr delete {} ", ids[0]), &short[..2], &[short[2]]),
            ("mockd sr restore ", &short[2..], &short[..2]),
            ("mockd sr show --data-dir other ", &[elsewhere], &short),
            ("mockd sr show --data-dir=other ", &[elsewhere], &short),
            (&format!("mockd sr show {} ", ids[0]), &["--nothing"][..0], &short),
            ("mockd sr show -- ", &[], &[]),
            ("mockd sr show --data-dir mockd.bash ", &[], &short),
            ("mockd sr show --config none.yaml ", &[], &short),
        ],
    );
}

#[test]
fn ids_of_sessions_and_replays_are_completed() {
    let server = Server::start();
    let session = server.record("websocket", "/ws");
    let recording = ws("/other").s2c(0, "x").save(&server.place.data_dir());
    let replay = server.replay(&recording, &serde_json::json!({}));
    let admin = format!("http://{}", server.admin);
    let gone = format!("http://127.0.0.1:{}", crate::support::upstream::closed_port());
    let place = server.place.clone().env("MOCKD_ADMIN_URL", &admin);
    check(
        &place,
        &[
            ("mockd sr stop ", &[&session[..12]], &[&replay[..12]]),
            ("mockd replay show ", &[&replay[..12]], &[&recording[..12]]),
            (&format!("mockd replay show --admin-url {gone} "), &[], &[&replay[..12]]),
            ("mockd replay start ", &[&recording[..12]], &[&replay[..12]]),
        ],
    );
}

#[test]
fn help_is_given_wherever_it_is_asked_for() {
    let place = Place::new();
    let list = place.run(&["stream-recordings", "list", "--help"]).ok();
    for args in [
        &["help", "sr", "ls"][..],
        &["sr", "help", "list"],
        &["sr", "list", "-h"],
        &["sr", "list", "--json", "--protcol", "x", "-h"],
        &["sr", "list", "--limit", "none", "--help"],
    ] {
        assert_eq!(place.run(args).ok(), list, "{args:?}");
    }
    assert!(list.contains("\nExamples:\n  mockd stream-recordings list --"), "{list}");
    let overview = place.run(&["help"]).ok();
    assert!(overview.contains("\nExit codes:\n  0  done\n  1  failed\n  2  wrong usage\n"), "{overview}");
    assert_eq!(place.run(&["-h"]).ok(), overview);
    assert_eq!(place.run(&["--nonsense", "--help"]).ok(), overview);
    assert!(place.run(&["replay", "-h"]).ok().starts_with("Replay recordings on a server, and steer replays.\n"));
    place.run(&["help", "sr", "lst"]).expect_error(2, &["lst", "list"]);
    place.run(&["sr", "list", "--protcol", "x", "--", "-h"]).expect_error(2, &["--protcol", "--protocol"]);
}

#[test]
fn completions_name_the_shells_that_have_them() {
    let place = Place::new();
    place.run(&["completions"]).expect_error(2, &["SHELL", "bash, zsh or fish"]);
    place.run(&["completions", "tcsh"]).expect_error(2, &["tcsh", "bash, zsh, fish"]);
}
