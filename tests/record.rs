//! `mockd record`: a proxy for as long as a command runs, or for one connection; what is kept, where, and how it ends.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::http;
use crate::support::one_shot::OneShot;
use crate::support::server::Place;
use crate::support::sse::Stream;
use crate::support::upstream::{EVENT_STREAM, closed_port};
use crate::support::wait::eventually;
use crate::support::ws::Raw;
use crate::support::{Server, Upstream};

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))).unwrap()
}

/// The names in a place's home that begin so.
fn names(place: &Place, begin: &str) -> Vec<String> {
    let entries = std::fs::read_dir(place.home()).unwrap().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).filter(|name| name.starts_with(begin)).collect();
    names.sort();
    names
}

fn talk(run: &OneShot, words: &str) {
    let mut client = Raw::open(run.mock, "/ws?token=secret");
    client.run(&format!("send text {words}\nexpect text {words}\nsend close 1000 bye\nexpect close 1000 bye"));
}

#[test]
fn a_command_is_told_where_the_proxy_is_and_its_streams_become_files() {
    let upstream = Upstream::http(|head, mut conn| {
        if head.field("upgrade").is_some() {
            Raw::accept(conn, head, None).run("expect text one\nsend text one\nexpect close 1000 bye\nsend close 1000 bye");
        } else {
            conn.send(EVENT_STREAM);
            conn.send_chunk("data: x\n\n");
            conn.send("0\r\n\r\n");
        }
    });
    let place = Place::new();
    let run = OneShot::with_command(&place, &["record", &upstream.url(), "-o", "chat.json"], 0);
    assert_eq!(run.said[0], format!("http://{}", run.mock));
    assert_eq!(run.said[1], format!("ws://{}", run.mock));
    http::ask(run.said[2].strip_prefix("http://").unwrap().parse().unwrap(), "GET", "/health", &[], b"").expect(200);
    talk(&run, "one");
    assert_eq!(Stream::open(run.mock, "/events", &[]).rest_text(), "data: x\n\n");
    let output = run.finish().expect(0);
    assert_eq!(names(&place, "chat"), ["chat-2.json", "chat.json"]);
    assert_eq!(names(&place, ".mockd"), [""; 0], "the private store is gone");
    let (chat, events) = (read(&place.home().join("chat.json")), read(&place.home().join("chat-2.json")));
    assert_eq!((&chat["protocol"], &chat["status"], &chat["stats"]["frameCount"]), (&json!("websocket"), &json!("complete"), &json!(2)));
    assert_eq!(chat["metadata"]["query"]["token"], "[REDACTED]");
    assert_eq!((&events["protocol"], &events["metadata"]["path"]), (&json!("sse"), &json!("/events")));
    assert_eq!(std::fs::metadata(place.home().join("chat.json")).unwrap().permissions().mode() & 0o777, 0o600);
    for words in ["chat.json: websocket /ws, 2 frames", "chat-2.json: sse /events, 1 frame"] {
        assert!(output.stderr.contains(words), "{words:?} is not in {}", output.stderr);
    }
    assert!(!place.data_dir().exists(), "the data directory has no part in it");
}

#[test]
fn without_output_recordings_are_kept_in_the_data_directory() {
    let upstream = Upstream::echo();
    let place = Place::new();
    let run = OneShot::with_command(&place, &["record", &upstream.url()], 0);
    talk(&run, "one");
    talk(&run, "two");
    let output = run.finish().expect(0);
    let page = place.run(&["sr", "list", "--json"]).json();
    assert_eq!(page["total"], 2);
    for recording in page["recordings"].as_array().unwrap() {
        assert_eq!(recording["status"], "complete");
        assert!(output.stderr.contains(recording["id"].as_str().unwrap()), "{}", output.stderr);
    }
}

#[test]
fn the_commands_own_status_is_passed_on() {
    let upstream = Upstream::echo();
    let place = Place::new();
    let url = upstream.url();
    let record = |tail: &[&str]| place.run(&[&["record", &url, "--"], tail].concat());
    for (script, code) in [("exit 0", 0), ("exit 1", 1), ("exit 3", 3), ("exit 42", 42), ("exit 255", 255), ("kill -TERM $$", 143)] {
        let output = record(&["sh", "-c", script]).expect(code);
        assert!(output.stderr.contains("nothing was recorded"), "{}", output.stderr);
    }
    let output = record(&["no-such-command-at-all"]).expect(127);
    assert!(output.stderr.contains("\"no-such-command-at-all\" cannot be run"), "{}", output.stderr);
    place.file("plain", "no program");
    record(&["./plain"]).expect(126);
    assert_eq!(record(&["echo", "--port", "x", "--", "y"]).ok(), "--port x -- y\n");
}

#[test]
fn what_a_command_reads_and_writes_is_its_own() {
    let place = Place::new();
    let script = "echo a b c $$; cat; echo last >&2";
    let upstream = Upstream::echo();
    let args = ["record", &upstream.url(), "--", "sh", "-c", "head -c 3000000 /dev/zero | tr '\\0' x"];
    assert_eq!(place.run(&args).ok().len(), 3_000_000);
    let mut command = place.command(&["record", &upstream.url(), "--", "sh", "-c", script]);
    let child = command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut child.stdin.as_ref().unwrap(), b"typed\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).ends_with("\ntyped\n"), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("last\n"), "{output:?}");
}

#[test]
fn one_connection_without_a_command() {
    let upstream = Upstream::echo();
    let place = Place::new();
    let run = OneShot::alone(&place, &["record", &upstream.url(), "-o", "new/one.json"]);
    talk(&run, "one");
    let output = run.output().expect(0);
    assert!(output.stderr.contains("connect to http://127.0.0.1:"), "{}", output.stderr);
    assert_eq!(read(&place.home().join("new/one.json"))["stats"]["frameCount"], 2);
    assert!(!place.home().join("alone.json").exists());
}

fn stopped_by(signal: &str, code: i32) {
    let upstream = Upstream::echo();
    let place = Place::new();
    let script = "trap 'echo heard; exit 9' TERM INT; echo \"$MOCKD_URL a b $$\"; while read x; do :; done";
    let run = OneShot::with_script(
        &place,
        &["record", &upstream.url(), "-o", "chat.json"],
        if code == 9 { script } else { "echo \"$MOCKD_URL a b $$\"; exec cat" },
    );
    let mut client = Raw::open(run.mock, "/ws");
    client.run("send text hi\nexpect text hi");
    run.signal(signal);
    let output = run.output().expect(code);
    assert_eq!(output.stdout.contains("heard"), code == 9, "{}", output.stdout);
    let recording = read(&place.home().join("chat.json"));
    assert_eq!((&recording["status"], &recording["websocket"]["closedBy"]), (&json!("complete"), &json!("recorder")));
    assert_eq!(recording["stats"]["frameCount"], 2);
}

#[test]
fn a_signal_saves_what_there_is_and_reaches_the_command() {
    stopped_by("TERM", 143);
    stopped_by("INT", 130);
    stopped_by("TERM", 9);
}

#[test]
fn a_second_signal_ends_it_at_once_and_leaves_nothing_behind() {
    let upstream = Upstream::echo();
    let place = Place::new();
    let script = "trap '' TERM; echo \"$MOCKD_URL a b $$\"; cat; exit 143";
    let run = OneShot::with_script(&place, &["record", &upstream.url(), "-o", "chat.json"], script);
    let mut client = Raw::open(run.mock, "/ws");
    client.run("send text hi\nexpect text hi");
    run.signal("TERM");
    eventually("the files", || (names(&place, "").contains(&"chat.json".to_owned()) && names(&place, ".mockd").is_empty()).then_some(()));
    run.signal("TERM");
    let output = run.finish().expect(143);
    assert!(!output.stderr.contains("goes on after the signal"), "{}", output.stderr);
    assert_eq!(read(&place.home().join("chat.json"))["stats"]["frameCount"], 2);
}

#[test]
fn a_signal_without_a_command_saves_what_there_is() {
    let upstream = Upstream::echo();
    let place = Place::new();
    let run = OneShot::alone(&place, &["record", &upstream.url(), "-o", "one.json"]);
    let mut client = Raw::open(run.mock, "/ws");
    client.run("send text hi\nexpect text hi");
    run.signal("INT");
    run.output().expect(0);
    assert_eq!(read(&place.home().join("one.json"))["stats"]["frameCount"], 2);
    let run = OneShot::alone(&place, &["record", &upstream.url()]);
    run.signal("TERM");
    let output = run.output().expect(1);
    assert!(output.stderr.contains("nothing was recorded"), "{}", output.stderr);
}

#[test]
fn a_recording_is_replaced_and_nothing_else() {
    let upstream = Upstream::echo();
    let place = Place::new();
    let args = ["record", &upstream.url(), "-o", "chat.json"];
    let run = OneShot::with_command(&place, &args, 0);
    talk(&run, "one");
    talk(&run, "two");
    run.finish().expect(0);
    place.file("other.json", "{\"name\": \"a project\"}");
    place.run(&["record", &upstream.url(), "-o", "other.json", "--", "sh", "-c", "echo ran"]).expect_error(1, &["other.json", "--output"]);
    let run = OneShot::with_command(&place, &args, 0);
    talk(&run, "three");
    let output = run.finish().expect(0);
    let chat = std::fs::read_to_string(place.home().join("chat.json")).unwrap();
    assert!(chat.contains("\"three\"") && !chat.contains("\"one\""));
    assert!(output.stderr.contains("chat-2.json was not recorded now"), "{}", output.stderr);
}

#[test]
fn what_is_wrong_is_told_before_anything_runs() {
    let place = Place::new();
    let ran = ["--", "sh", "-c", "echo ran"];
    let record = |args: &[&str]| place.run(&[&["record"], args, &ran].concat());
    record(&[]).expect_error(2, &["<URL>"]);
    record(&["localhost:1"]).expect_error(2, &["URL: "]);
    record(&["ftp://a"]).expect_error(2, &["ftp"]);
    record(&["http://a", "--upstream", "http://b"]).expect_error(2, &["--upstream"]);
    place.file("file", "");
    record(&["http://a", "-o", "file/chat.json"]).expect_error(1, &["the directory file cannot be made"]);
    for name in ["", ".", "..", "new/", "file/.."] {
        record(&["http://a", "-o", name]).expect_error(2, &["--output takes the name of a file"]);
    }
    std::fs::create_dir(place.home().join("there")).unwrap();
    record(&["http://a", "-o", "there"]).expect_error(2, &["--output takes the name of a file", "there"]);
    record(&["http://a", "-o", "chat.json", "--data-dir", "x"]).expect_error(2, &["--data-dir", "--output"]);
    record(&["http://a", "--upstream-ca", "none.pem"]).expect_error(1, &["none.pem"]);
    let taken = Upstream::echo();
    record(&["http://a", "--port", &taken.address.port().to_string(), "-o", "chat.json"]).expect_error(1, &["--port"]);
    assert_eq!(names(&place, ".mockd"), [""; 0]);
    place.run(&["record", "http://a", "--"]).expect_error(2, &["no command follows"]);
    place.run(&["sr", "list", "--", "x"]).expect_error(2, &["does not take"]);
}

#[test]
fn what_is_logged_is_what_was_asked_for() {
    let place = Place::new();
    let run =
        |place: &Place, more: &[&str]| place.run(&[&["record", "http://127.0.0.1:1"], more, &["--", "true"]].concat()).expect(0).stderr;
    assert!(!run(&place, &[]).contains("INFO"));
    assert!(run(&place, &["--log-level", "info"]).contains("INFO"));
    assert!(run(&place.env("MOCKD_LOG_LEVEL", "info"), &[]).contains("INFO"));
}

#[test]
fn an_upstream_that_is_down_costs_its_requests_alone() {
    let place = Place::new();
    let run = OneShot::with_command(&place, &["record", &format!("http://127.0.0.1:{}", closed_port()), "-o", "x.json"], 0);
    http::ask(run.mock, "GET", "/events", &[], b"").expect_error(502, "bad_gateway", &[]);
    let output = run.finish().expect(0);
    assert!(output.stderr.contains("nothing was recorded"), "{}", output.stderr);
    assert_eq!(names(&place, "x"), [""; 0]);
}

#[test]
fn the_rules_of_redaction_of_config_files_hold_and_their_upstreams_do_not() {
    let (upstream, other) = (Upstream::echo(), Upstream::answering("HTTP/1.1 204 No Content\r\n\r\n"));
    let place = Place::new();
    place.file(
        "mockd.yaml",
        &format!("recording: {{filterBodyKeys: [pin]}}\nserver: {{port: 1}}\nupstreams: [{{path: /ws, url: '{}'}}]\n", other.url()),
    );
    let run = OneShot::with_command(&place, &["record", &upstream.url(), "-o", "chat.json"], 0);
    let mut client = Raw::open(run.mock, "/ws");
    client.run("send text {\"pin\":1}\nexpect text {\"pin\":1}\nsend close 1000\nexpect close 1000");
    run.finish().expect(0);
    assert_eq!(read(&place.home().join("chat.json"))["websocket"]["frames"][0]["data"], "{\"pin\":\"[REDACTED]\"}");
}

#[test]
fn a_crash_in_the_middle_loses_nothing() {
    let upstream = Upstream::echo();
    let place = Place::new();
    let run = OneShot::with_command(&place, &["record", &upstream.url(), "-o", "chat.json"], 0);
    let mut client = Raw::open(run.mock, "/ws");
    client.run("send text hi\nexpect text hi");
    let dir = names(&place, ".mockd").remove(0);
    eventually("frames on disk", || {
        let page = place.run(&["sr", "list", "--data-dir", &dir, "--json"]).json();
        (page["recordings"][0]["frameCount"] == 2).then_some(())
    });
    run.signal("KILL");
    assert_eq!(run.finish().code, -1);
    let page = place.run(&["sr", "list", "--data-dir", &dir, "--json"]).json();
    assert_eq!((&page["recordings"][0]["status"], &page["recordings"][0]["frameCount"]), (&json!("incomplete"), &json!(2)));
}

#[test]
fn what_a_killed_run_left_becomes_files_of_the_next_and_a_living_run_keeps_its_store() {
    let upstream = Upstream::echo();
    let place = Place::new();
    let url = upstream.url();
    let args = ["record", &url, "-o", "chat.json"];
    let run = OneShot::with_command(&place, &args, 0);
    let mut client = Raw::open(run.mock, "/ws");
    client.run("send text hi\nexpect text hi");
    let dir = names(&place, ".mockd").remove(0);
    eventually("frames on disk", || {
        let page = place.run(&["sr", "list", "--data-dir", &dir, "--json"]).json();
        (page["recordings"][0]["frameCount"] == 2).then_some(())
    });
    // Nobody has come to this one, so its store is empty, and stays.
    let waiting = OneShot::with_command(&place, &["record", &url, "-o", "other.json"], 0);
    assert_eq!((names(&place, ".mockd").len(), names(&place, "recovered").len()), (2, 0));
    run.signal("KILL");
    assert_eq!(run.finish().code, -1);
    let next = OneShot::with_command(&place, &args, 0);
    talk(&next, "one");
    let output = next.finish().expect(0);
    let recovered = names(&place, "recovered-").remove(0);
    assert!(output.stderr.contains(&format!("{recovered}: websocket /ws, 2 frames")), "{}", output.stderr);
    assert!(output.stderr.contains("incomplete (crashed), left of a run that was killed"), "{}", output.stderr);
    assert_eq!(read(&place.home().join(&recovered))["stats"]["frameCount"], 2);
    talk(&waiting, "two");
    waiting.finish().expect(0);
    assert_eq!((names(&place, ".mockd"), names(&place, "other")), (vec![], vec!["other.json".to_owned()]));
}

#[test]
fn what_finds_no_room_is_told_and_is_exit_status_1() {
    let upstream = Upstream::echo();
    let place = Place::new();
    let url = upstream.url();
    for (target, code) in [(["-o", "chat.json"], 0), (["--data-dir", "full"], 0), (["-o", "chat.json"], 7)] {
        let run = OneShot::with_command(&place, &[&["record", &url, "--max-bytes", "10"], &target[..]].concat(), code);
        talk(&run, "one");
        talk(&run, "two");
        let output = run.finish().expect(code.max(1));
        assert!(output.stderr.contains("mockd: 2 recordings could not be kept: "), "{}", output.stderr);
        assert!(!output.stderr.contains("nothing was recorded"), "{}", output.stderr);
        assert_eq!(names(&place, "chat"), [""; 0]);
    }
    let run = OneShot::alone(&place, &["record", &url, "-o", "chat.json", "--max-bytes", "10"]);
    talk(&run, "one");
    let output = run.output().expect(1);
    assert!(output.stderr.contains("mockd: 1 recording could not be kept: "), "{}", output.stderr);
}

#[test]
fn a_recording_that_the_full_store_cuts_is_kept_and_is_exit_status_1() {
    let upstream = Upstream::echo();
    let place = Place::new();
    let run = OneShot::with_command(&place, &["record", &upstream.url(), "-o", "chat.json", "--max-bytes", "4000"], 0);
    talk(&run, &"x".repeat(5000));
    let output = run.finish().expect(1);
    assert_eq!(read(&place.home().join("chat.json"))["statusReason"], "storage_full");
    for words in ["chat.json: websocket /ws, 0 frames", "mockd: 1 recording is incomplete (storage_full)"] {
        assert!(output.stderr.contains(words), "{words:?} is not in {}", output.stderr);
    }
}

#[test]
fn a_recorded_file_replays() {
    let upstream = Upstream::echo();
    let place = Place::new();
    let run = OneShot::with_command(&place, &["record", &upstream.url()], 0);
    talk(&run, "one");
    run.finish().expect(0);
    let server = Server::builder().place(&place).start();
    let id = server.get("/stream-recordings")["recordings"][0]["id"].as_str().unwrap().to_owned();
    server.replay(&id, &json!({"mode": "synchronized", "strictMatching": true}));
    Raw::open(server.mock, "/ws").run("send text one\nexpect text one");
}
