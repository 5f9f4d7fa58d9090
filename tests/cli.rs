//! The command line of SPEC 7: every subcommand, what it prints, how it ends, and what it says when it is used wrongly.

use std::io::{BufRead, BufReader, Read};
use std::process::Stdio;
use std::sync::mpsc::channel;

use serde_json::{Value, json};

use crate::support::recordings::{Made, sse, ws};
use crate::support::server::{Place, text};
use crate::support::ws::Raw;
use crate::support::{Server, Upstream, wait};

/// The recording of the first seed document.
fn chat() -> Made {
    let mut made = ws("/ws/chat").set("/name", json!("chat-session-1"));
    for number in 0..38 {
        made = made.s2c(number * 1000, &format!("message {number}"));
    }
    made = made
        .binary("s2c", 40_000, "AAH/")
        .binary("c2s", 41_000, "AAH/")
        .control("s2c", "ping", 42_000, "")
        .control("c2s", "pong", 43_000, "");
    made.close("server", 12_345_678, 1000, "Normal closure")
}

fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

#[test]
fn list_is_laid_out_as_in_the_document() {
    let place = Place::new();
    let id = chat().save(&place.data_dir());
    let events = sse("/events")
        .set("/startTime", json!("2024-01-15T11:30:00.000000Z"))
        .data(0, "x")
        .end("server", 5_123_000)
        .save(&place.data_dir());
    let output = place.run(&["stream-recordings", "list"]).ok();
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(words(lines[0]), ["ID", "PROTOCOL", "PATH", "STATUS", "FRAMES", "DURATION", "SIZE"]);
    let row = words(lines[1]);
    assert_eq!(row[1..6], ["sse", "/events", "complete", "1", "5.1s"]);
    assert!(events.starts_with(row[0]) && row[0].len() >= 12, "{row:?}");
    let row = words(lines[2]);
    assert_eq!(row[1..6], ["websocket", "/ws/chat", "complete", "42", "12.3s"]);
    assert_eq!(row[7], "KB");
    assert!(id.starts_with(row[0]));
    assert_eq!(lines.len(), 3);
    assert_eq!(lines[0].find("PROTOCOL"), lines[1].find("sse"), "columns are aligned: {output}");
    assert_eq!(place.run(&["sr", "list"]).ok(), output, "the short name");
    assert_eq!(place.run(&["sr", "list", "--protocol", "sse"]).ok().lines().count(), 2);
    assert_eq!(words(place.run(&["sr", "list", "--limit", "1", "--offset", "1"]).ok().lines().nth(1).unwrap())[1], "websocket");
}

/// Trap: short ids printed by `list` that `show` refuses.
#[test]
fn ids_as_list_prints_them_are_taken_by_show() {
    let place = Place::new();
    for _ in 0..20 {
        ws("/ws").s2c(0, "x").save(&place.data_dir());
    }
    let output = place.run(&["stream-recordings", "list"]).ok();
    let ids: Vec<&str> = output.lines().skip(1).map(|line| words(line)[0]).collect();
    assert_eq!(ids.len(), 20);
    for id in ids {
        place.run(&["stream-recordings", "show", id]).expect(0);
    }
}

#[test]
fn show_is_laid_out_as_in_the_document() {
    let place = Place::new();
    let id = chat().save(&place.data_dir());
    let output = place.run(&["stream-recordings", "show", &id[..12]]).ok();
    let mut rest = output.as_str();
    for line in [
        &format!("ID: {id}"),
        "Name: chat-session-1",
        "Protocol: websocket",
        "Path: /ws/chat",
        "Status: complete",
        "Started: 2024-01-15T10:30:00Z",
        "Ended: 2024-01-15T10:30:12Z",
        "Duration: 12.3s",
        "Frames: 42",
        "File Size: ",
        "WebSocket Details:",
        "  Text Frames: 38",
        "  Binary Frames: 2",
        "  Ping/Pong: 2",
        "  Close Code: 1000",
    ] {
        let at = rest.find(line).unwrap_or_else(|| panic!("{line:?} is not, or not in its place, in\n{output}"));
        rest = &rest[at + line.len()..];
    }
    let json = place.run(&["stream-recordings", "show", &id, "--json"]).json();
    assert_eq!(json["websocket"]["frames"].as_array().unwrap().len(), 43);
    assert_eq!(json["id"], id);
}

#[test]
fn recorded_bytes_cannot_steer_a_terminal() {
    let place = Place::new();
    let id = ws("/ws").set("/name", json!("evil \u{1b}[31m\nname")).s2c(0, "x").save(&place.data_dir());
    for args in [vec!["sr", "list"], vec!["sr", "show", id.as_str()]] {
        assert!(!place.run(&args).ok().contains('\u{1b}'));
    }
}

#[test]
fn export_writes_to_stdout_or_a_file() {
    let place = Place::new();
    let id = chat().save(&place.data_dir());
    let stdout = place.run(&["stream-recordings", "export", &id]).ok();
    let file = place.home().join("recording.json");
    place.run(&["stream-recordings", "export", &id, "-o", "recording.json"]).expect(0);
    assert_eq!(std::fs::read_to_string(file).unwrap(), stdout);
    let json: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((&json["formatVersion"], &json["id"]), (&json!("1.0"), &json!(id)));
    place.run(&["stream-recordings", "export", &id, "-o", "no/such/folder/x.json"]).expect_error(1, &["no/such/folder"]);
}

#[test]
fn delete_restore_vacuum_and_stats_work_without_a_server() {
    let place = Place::new();
    let id = chat().save(&place.data_dir());
    place.run(&["stream-recordings", "delete", &id]).expect(0);
    assert_eq!(place.run(&["sr", "list", "--json"]).json()["total"], 0);
    assert_eq!(place.run(&["sr", "list", "--include-deleted", "--json"]).json()["total"], 1);
    place.run(&["sr", "restore", &id]).expect(0);
    place.run(&["sr", "delete", &id, "--permanent"]).expect_error(2, &["--force"]);
    assert_eq!(place.run(&["sr", "list", "--json"]).json()["total"], 1);
    place.run(&["sr", "delete", &id, "--force"]).expect(0);
    let stats = place.run(&["stream-recordings", "stats", "--json"]).json();
    assert_eq!((&stats["deletedCount"], &stats["maxBytes"]), (&json!(1), &json!(524288000)));
    assert!(place.run(&["sr", "stats"]).ok().contains("500.0 MB"));
    assert_eq!(place.run(&["stream-recordings", "vacuum", "--json"]).json()["removed"], 1);
    place.run(&["sr", "vacuum"]).expect(0);
    let again = chat().save(&place.data_dir());
    place.run(&["sr", "delete", &again, "--permanent", "--force"]).expect(0);
    assert_eq!(place.run(&["sr", "list", "--include-deleted", "--json"]).json()["total"], 0);
    place.run(&["sr", "show", &again]).expect_error(1, &[&again, "list"]);
}

#[test]
fn edit_changes_name_description_and_tags() {
    let place = Place::new();
    let id = chat().save(&place.data_dir());
    let summary = place.run(&["sr", "edit", &id, "--name", "new", "--description", "d", "--tag", "a", "--tag", "b", "--json"]).json();
    assert_eq!((&summary["name"], &summary["description"], &summary["tags"]), (&json!("new"), &json!("d"), &json!(["a", "b"])));
    assert!(place.run(&["sr", "show", &id]).ok().contains("Name: new"));
    place.run(&["sr", "edit", &id]).expect_error(2, &["--name"]);
}

/// Trap: `sessions` that looks into its own, empty process.
#[test]
fn sessions_start_and_stop_ask_the_server() {
    let upstream = Upstream::echo();
    let server = Server::before(&upstream);
    let started = server.run(&["sr", "start", "--protocol", "websocket", "--path", "/ws", "--name", "by hand", "--json"]).json();
    let id = text(&started["id"]);
    let sessions = server.run(&["stream-recordings", "sessions", "--json"]).json();
    assert_eq!((&sessions["sessions"][0]["id"], &sessions["sessions"][0]["name"]), (&json!(id), &json!("by hand")));
    let table = server.run(&["stream-recordings", "sessions"]).ok();
    assert!(table.contains(&id[..12]) && table.contains("/ws"), "{table}");
    Raw::open(server.mock, "/ws").run("send text x\nexpect text x\nsend close 1000\nexpect close 1000");
    let stopped = server.run(&["sr", "stop", &id[..12], "--json"]).json();
    assert_eq!((&stopped["recording"]["id"], &stopped["recording"]["frameCount"]), (&json!(id), &json!(2)));
    server.run(&["sr", "stop", &id]).expect_error(1, &[]);
    assert_eq!(server.run(&["sr", "sessions", "--json"]).json(), json!({"sessions": []}));
}

#[test]
fn tail_prints_frames_as_they_come_until_the_end() {
    let upstream = Upstream::echo();
    let server = Server::before(&upstream);
    let id = server.record("websocket", "/ws");
    let mut client = Raw::open(server.mock, "/ws");
    client.run("send text first\nexpect text first");
    server.begun(&id);
    let url = format!("http://{}", server.admin);
    let mut child = server.place.command(&["sr", "tail", &id, "--admin-url", &url]).spawn().unwrap();
    let (sender, lines) = channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
    assert!(wait::next("the first frame", &lines).contains("first"));
    assert!(wait::next("its echo", &lines).contains("first"));
    client.run("send text second\nexpect text second");
    assert!(wait::next("the second frame", &lines).contains("second"));
    client.run("send close 1000\nexpect close 1000");
    assert!(wait::exit("tail", &mut child).success());
}

#[test]
fn replays_are_steered_from_the_command_line() {
    let server = Server::start();
    let id = ws("/ws")
        .s2c(0, "one")
        .s2c(1000, "two")
        .s2c(2000, "three")
        .s2c(3000, "four")
        .close("server", 4000, 4000, "end")
        .save(&server.place.data_dir());
    let created = server.run(&["replay", "start", &id[..12], "--mode", "triggered", "--json"]).json();
    let replay = text(&created["id"]);
    assert_eq!((&created["mode"], &created["totalFrames"]), (&json!("triggered"), &json!(5)));
    let mut client = Raw::open(server.mock, "/ws");
    assert_eq!(server.run(&["replay", "advance", &replay, "--json"]).json()["framesSent"], 1);
    assert_eq!(server.run(&["replay", "advance", &replay, "--until", "three", "--json"]).json()["currentFrame"], 3);
    client.run("expect text one\nexpect text two\nexpect text three\nsend text heard");
    server.run(&["replay", "inject", &replay, "--type", "text", "--data", "between"]).expect(0);
    client.run("expect text between");
    let shown = server.run(&["replay", "show", &replay[..20], "--json"]).json();
    assert_eq!((&shown["status"], &shown["framesSent"]), (&json!("waiting"), &json!(3)));
    assert!(server.run(&["replay", "show", &replay]).ok().contains("waiting"));
    let list = server.run(&["replay", "list"]).ok();
    assert!(list.contains("triggered") && list.contains("waiting"), "{list}");
    let messages = server.run(&["replay", "messages", &replay, "--json"]).json();
    assert_eq!(messages["messages"][0]["data"], "heard");
    assert!(server.run(&["replay", "messages", &replay]).ok().contains("heard"));
    server.run(&["replay", "pause", &replay]).expect_error(1, &["triggered"]);
    server.run(&["replay", "close", &replay, "--code", "4001", "--reason", "enough"]).expect(0);
    client.run("expect close 4001 enough");
    let pure = text(&server.run(&["replay", "start", &id, "--timing-scale", "0.5", "--on-end", "keepOpen", "--json"]).json()["id"]);
    server.run(&["replay", "stop", &pure]).expect(0);
    assert_eq!(server.run(&["replay", "list", "--json"]).json()["total"], 0);
    assert_eq!(server.run(&["replay", "list", "--all", "--json"]).json()["total"], 2);
    server.run(&["replay", "start", &id, "--mode", "pure", "--strict-matching"]).expect_error(1, &["strictMatching"]);
}

#[test]
fn pause_and_resume_from_the_command_line() {
    let server = Server::start();
    let id = ws("/ws").s2c(0, "one").s2c(3_600_000_000, "two").save(&server.place.data_dir());
    let replay = server.replay(&id, &json!({}));
    let mut client = Raw::open(server.mock, "/ws");
    client.run("expect text one");
    assert_eq!(server.run(&["replay", "pause", &replay, "--json"]).json()["status"], "paused");
    assert_eq!(server.run(&["replay", "resume", &replay, "--json"]).json()["status"], "playing");
}

#[test]
fn wrong_usage_is_2_with_the_nearest_name() {
    let place = Place::new();
    for (args, words) in [
        (vec!["srve"], vec!["srve", "serve"]),
        (vec!["stream-recordings", "lst"], vec!["lst", "list"]),
        (vec!["sr", "list", "--protcol", "sse"], vec!["--protcol", "--protocol"]),
        (vec!["sr", "list", "--protocol", "http"], vec!["http", "websocket"]),
        (vec!["sr", "list", "--limit", "0"], vec!["limit"]),
        (vec!["sr", "list", "--limit"], vec!["limit"]),
        (vec!["sr", "show"], vec!["ID"]),
        (vec!["serve", "--port", "eighty"], vec!["port", "eighty"]),
        (vec!["replay", "start", "01HXYZ123456", "--mode", "fast"], vec!["fast", "pure"]),
    ] {
        place.run(&args).expect_error(2, &words);
    }
    let none = place.run(&[]).expect(2);
    assert!(none.stderr.contains("mockd serve") || none.stderr.contains("--help"), "{}", none.stderr);
}

#[test]
fn a_server_that_is_not_there_is_named_with_what_to_do() {
    let url = format!("http://127.0.0.1:{}", crate::support::upstream::closed_port());
    let place = Place::new().env("MOCKD_ADMIN_URL", &url);
    place.run(&["stream-recordings", "sessions"]).expect_error(1, &[&url, "mockd serve"]);
    place.run(&["replay", "list", "--admin-url", "http://127.0.0.1:1"]).expect_error(1, &["http://127.0.0.1:1"]);
}

#[test]
fn every_command_has_help() {
    let place = Place::new();
    let top = place.run(&["--help"]).ok();
    for word in ["serve", "init", "stream-recordings", "replay"] {
        assert!(top.contains(word), "{word} is not in\n{top}");
    }
    let recordings =
        ["list", "show", "export", "import", "delete", "restore", "edit", "stats", "vacuum", "sessions", "start", "stop", "tail"];
    let replays = ["list", "start", "show", "messages", "advance", "pause", "resume", "inject", "close", "stop"];
    for (group, commands) in [("stream-recordings", &recordings[..]), ("replay", &replays[..])] {
        let help = place.run(&[group, "--help"]).ok();
        for command in commands {
            assert!(help.contains(command), "{group} {command} is not in\n{help}");
            let own = place.run(&[group, command, "--help"]).ok();
            assert!(own.contains(&format!("mockd {group} {command}")), "{own}");
        }
    }
    let serve = place.run(&["serve", "--help"]).ok();
    for flag in [
        "--port",
        "--host",
        "--admin-port",
        "--admin-host",
        "--data-dir",
        "--config",
        "--upstream",
        "--record",
        "--demo",
        "--ready-file",
        "--json",
        "--max-connections",
        "--log-level",
        "--log-format",
    ] {
        assert!(serve.contains(flag), "{flag} is not in\n{serve}");
    }
    assert!(place.run(&["--version"]).ok().contains(env!("CARGO_PKG_VERSION")));
}

#[test]
fn output_piped_into_head_ends_quietly() {
    let place = Place::new();
    let mut made = ws("/ws");
    for number in 0..2000 {
        made = made.s2c(number, &"x".repeat(500));
    }
    let id = made.save(&place.data_dir());
    let mut child = place.command(&["sr", "show", &id, "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdout = child.stdout.take().unwrap();
    let mut first = [0; 10];
    stdout.read_exact(&mut first).unwrap();
    drop(stdout);
    wait::exit("show", &mut child);
    let mut stderr = String::new();
    child.stderr.take().unwrap().read_to_string(&mut stderr).unwrap();
    assert_eq!(stderr, "");
}

#[test]
fn init_writes_a_config_that_serve_reads_and_never_overwrites() {
    let place = Place::new();
    place.run(&["init"]).expect(0);
    let path = place.home().join("mockd.yaml");
    let written = std::fs::read_to_string(&path).unwrap();
    assert!(written.lines().any(|line| line.trim_start().starts_with('#')), "{written}");
    let server = Server::builder().place(&place).start();
    server.get("/health");
    place.run(&["init"]).expect_error(1, &["mockd.yaml"]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), written);
}

#[test]
fn serve_says_where_it_is_in_a_line_and_a_file() {
    let server = Server::start();
    let file = std::fs::read_to_string(server.place.home().join("ready.json")).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&file).unwrap(), server.ready);
    assert_eq!(
        server.ready,
        json!({"mock": format!("http://{}", server.mock), "admin": format!("http://{}", server.admin), "pid": server.pid})
    );
}

#[test]
fn a_port_that_is_taken_is_named() {
    let server = Server::start();
    let place = Place::new();
    let port = server.mock.port().to_string();
    place.run(&["serve", "--port", &port, "--admin-port", "0"]).expect_error(1, &[&port]);
}

#[test]
fn logs_can_be_json() {
    let server = Server::builder().option("--log-format", "json").option("--log-level", "debug").start();
    server.get("/health");
    let log = wait::eventually("a log", || Some(server.log()).filter(|log| !log.is_empty()));
    for line in log.lines() {
        serde_json::from_str::<Value>(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    }
}

#[test]
fn an_export_is_the_file_byte_for_byte() {
    let server = Server::builder().flag("--demo").start();
    let id = server.record("websocket", "/ws/chat");
    server.stop(&id);
    let file = std::fs::read_to_string(server.place.data_dir().join(format!("rec_{id}.json"))).unwrap();
    server.run(&["stream-recordings", "export", &id, "-o", "copy.json"]).ok();
    assert_eq!(std::fs::read_to_string(server.place.home().join("copy.json")).unwrap(), file);
    assert_eq!(server.run(&["stream-recordings", "export", &id]).ok(), file);
    assert_eq!(server.touch(&format!("/stream-recordings/{id}/export")).expect(200).text(), file);
    assert_eq!(server.recording(&id)["stats"]["fileSizeBytes"], file.len());
}
