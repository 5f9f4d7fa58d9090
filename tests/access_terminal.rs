//! What a terminal gets of text that was recorded, asked for or named by somebody else: nothing that steers it. Text for people is clean
//! through a pipe as well; a document (JSON, YAML) is clean on a terminal, where it means the same, and byte for byte through a pipe.

use std::process::Command;

use serde_json::{Value, json};

use crate::support::http::{Conn, ask};
use crate::support::one_shot::OneShot;
use crate::support::pty::Pty;
use crate::support::recordings::{Made, put, sse, ws};
use crate::support::server::Place;
use crate::support::wait::eventually;
use crate::support::ws::Raw;
use crate::support::{Server, Upstream};

/// Clears the screen, sets the title, links, writes the clipboard, and turns letters round; with the control characters of both sets.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;t\u{7}\u{1b}]8;;http://evil\u{1b}\\x\u{1b}]52;c;aGk=\u{7}\u{9b}31m\u{9d}0;t\u{9c}\u{7f}\u{8}\r\n\u{85}\u{0}\u{202e}\u{2066}\u{200f}\u{61c}\u{2028}end";

/// Checks that nothing in it steers a terminal but line ends, colours, and what the progress bar needs.
#[track_caller]
fn check_clean(what: &str, written: &str) {
    let mut rest = written;
    while let Some(at) = rest.find(mockd::base::text::steers) {
        let bad = &rest[at..];
        let code = bad.strip_prefix("\u{1b}[").map_or("", |code| &code[..=code.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(0)]);
        let colour = code.ends_with('m') && code.trim_end_matches('m').bytes().all(|b| b.is_ascii_digit());
        let fine = bad.starts_with(['\n', '\t']) || bad.starts_with("\r\n") || (colour && code.len() < 4);
        assert!(fine, "{what}: {:?} in {written:?}", bad.chars().take(20).collect::<String>());
        rest = &bad[1..];
    }
}

/// Recordings whose every text is hostile, a soft-deleted and a corrupted one among them.
struct Hostile {
    place: Place,
    ws: String,
    sse: String,
}

fn hostile_ws() -> Made {
    let path = format!("/{HOSTILE}");
    let made = ws("/ws").set("/name", json!(HOSTILE)).set("/description", json!(HOSTILE)).set("/tags", json!([HOSTILE]));
    let made = made.set("/metadata/path", json!(path)).set("/metadata/headers", json!({HOSTILE: HOSTILE})).set("/extra", json!(HOSTILE));
    let made = made.set("/websocket/subprotocol", json!(HOSTILE)).set("/metadata/upstream", json!(HOSTILE));
    made.s2c(0, HOSTILE).c2s(1, HOSTILE).control("s2c", "ping", 2, HOSTILE).close("server", 3, 1000, HOSTILE)
}

impl Hostile {
    fn new() -> Self {
        let place = Place::new();
        let dir = place.data_dir();
        let ws = hostile_ws().save(&dir);
        let made = sse("/e").set("/name", json!(HOSTILE)).set("/status", json!("incomplete")).set("/statusReason", json!(HOSTILE));
        let made = made.set("/sse/responseHeaders", json!({"Content-Type": "text/event-stream", "X-H": HOSTILE}));
        let event = json!({"type": HOSTILE, "data": HOSTILE, "id": HOSTILE, "comment": HOSTILE});
        let sse = made.event(0, event).end("server", 1).save(&dir);
        let deleted = hostile_ws().save(&dir);
        place.run(&["sr", "delete", &deleted, "--force"]).expect(0);
        put(&dir, "rec_BROKEN01.json", format!("{{\"formatVersion\":\"{HOSTILE}\"}}").as_bytes());
        put(&dir, "rec_BROKEN02.json", b"{\"name\":\"\x1b[2J\x9b2J\"}");
        Self { place, ws, sse }
    }
}

/// What a command writes on a terminal.
fn on_terminal(mut command: Command) -> String {
    command.env("TERM", "xterm-256color");
    Pty::spawn(command).end().1
}

/// Runs it through pipes and on a terminal. Documents go byte for byte through a pipe.
#[track_caller]
fn check(place: &Place, args: &[&str], is_document: bool) -> String {
    let what = format!("{args:?}");
    let output = place.run(args);
    check_clean(&what, &output.stderr);
    if !is_document {
        check_clean(&what, &output.stdout);
    }
    let written = on_terminal(place.command(args));
    check_clean(&what, &written);
    assert!(!output.stdout.is_empty() || !output.stderr.is_empty(), "{what} says something");
    written
}

#[test]
fn recordings_are_shown_clean() {
    let Hostile { place, ws, sse } = Hostile::new();
    let hostile_file = format!("file{}", HOSTILE.replace(['/', '\0'], ""));
    place.file(&hostile_file, &hostile_ws().json().to_string());
    place.file(&format!("{hostile_file}.yaml"), &format!("mocks: [{{type: {}, name: x}}]\n", json!(HOSTILE)));
    place.file("broken.json", &format!("{{\"{}\": 1}}", "\u{9b}31m\u{202e}"));
    place.file(
        "har.json",
        &json!({"log": {"entries": [{"request": {"url": HOSTILE, "method": HOSTILE}, "response": {"content": {"mimeType": HOSTILE}}}]}})
            .to_string(),
    );
    for args in [
        &["sr", "list"][..],
        &["sr", "list", "--include-deleted"],
        &["sr", "list", "--sort-by", HOSTILE.trim_matches('\0')],
        &["sr", "show", &ws],
        &["sr", "show", &sse],
        &["sr", "show", "BROKEN01"],
        &["sr", "show", "BROKEN02"],
        &["sr", "stats"],
        &["sr", "edit", &ws, "--description", "x"],
        &["check", &hostile_file],
        &["check", &format!("{hostile_file}.yaml"), "broken.json"],
        &["check", &format!("{}/rec_{sse}.json", place.data_dir().display())],
        &["check", &format!("{}/rec_BROKEN02.json", place.data_dir().display())],
        &["sr", "import", &hostile_file],
        &["sr", "import", "har.json"],
        &["sr", "import", "broken.json"],
        &["sr", "import", "none\u{1b}[2J"],
        &["sr", "show", "nonsense\u{1b}[2J"],
        &["sr", "export", &ws, "-o", "out\u{1b}[2J\u{9b}1m.json"],
        &["sr", "convert", &ws, "-o", "mock\u{1b}[2J.yaml"],
        &["sr", "export", &ws, "--format", "\u{1b}[2J"],
        &["play", &hostile_file, "--", "true"],
        &["play", "none\u{1b}[2J"],
        &["\u{1b}[2J"],
        &["sr", "list", "--\u{1b}[2J"],
        &["sr", "list", "--admin-url", "\u{1b}[2J"],
        &["sr", "sessions", "--admin-url", "http://\u{1b}[2J"],
        &["sr", "sessions", "--admin-url", "http://127.0.0.1:1/\u{9b}"],
        &["serve", "--config", "none\u{1b}[2J"],
        &["record", "\u{1b}[2J"],
        &["record", "http://127.0.0.1:1", "--port", "0", "--", "no\u{1b}[2J"],
        &["sr", "delete", &sse, "--force"],
        &["sr", "restore", &sse],
        &["completions", "\u{1b}[2J"],
    ] {
        let args: Vec<String> = args.iter().map(|arg| arg.replace('\0', "")).collect();
        check(&place, &args.iter().map(String::as_str).collect::<Vec<_>>(), false);
    }
}

#[test]
fn documents_are_clean_on_a_terminal_and_mean_the_same() {
    let Hostile { place, ws, sse } = Hostile::new();
    for args in [
        &["sr", "list", "--include-deleted", "--json"][..],
        &["sr", "show", &ws, "--json"],
        &["sr", "show", &sse, "--json"],
        &["sr", "export", &ws],
        &["sr", "export", &sse, "--format", "har"],
        &["sr", "convert", &ws, "--endpoint-path", "/x"],
        &["sr", "convert", &sse, "--format", "json"],
        &["check", &format!("{}/rec_{sse}.json", place.data_dir().display()), "--json"],
    ] {
        let written = check(&place, args, true);
        let piped = place.run(args).expect(0).stdout;
        // Notes on stderr stand on the same terminal.
        let shown: String = written.lines().filter(|line| !line.contains("mockd:")).collect::<Vec<_>>().join("\n");
        assert_eq!(serde_json::from_str::<Value>(&shown).expect(&shown), serde_json::from_str::<Value>(&piped).unwrap(), "{args:?}");
        assert!(piped.is_ascii() || piped.contains('\u{202e}') || piped.contains('\u{9b}'), "{args:?}: a pipe gets the bytes");
    }
    check(&place, &["sr", "export", &ws, "--format", "jsonl"], true);
    let convert = ["sr", "convert", &ws, "--format", "yaml", "--endpoint-path", "/x"];
    let (written, piped) = (check(&place, &convert, true), place.run(&convert).ok());
    let shown: String = written.lines().filter(|line| !line.contains("mockd:")).map(|line| line.to_owned() + "\n").collect();
    let value = |text: &str| yaml_serde::from_str::<Value>(text).expect(text);
    assert_eq!(value(&shown), value(&piped));
}

#[test]
fn what_a_server_says_is_shown_clean() {
    let Hostile { place, ws, .. } = Hostile::new();
    let upstream = Upstream::websocket(None, |mut raw| {
        raw.send(crate::support::ws::TEXT, HOSTILE);
        drop(raw.try_frame());
    });
    let server = Server::builder().place(&place).upstream(upstream.url()).start();
    let place = place.env("MOCKD_ADMIN_URL", &format!("http://{}", server.admin));
    let body = json!({"protocol": "websocket", "path": "/live", "name": HOSTILE, "description": HOSTILE, "tags": [HOSTILE]});
    let session = server.post("/stream-recordings/start", &body).expect(201).json()["id"].as_str().unwrap().to_owned();
    let other = json!({"protocol": "sse", "path": format!("/{HOSTILE}"), "name": HOSTILE});
    // A path that no request could ask for may be refused; then there is nothing to be shown.
    drop(server.post("/stream-recordings/start", &other));
    let mut live = Raw::open(server.mock, "/live");
    live.frame();
    live.send(crate::support::ws::TEXT, HOSTILE);
    live.conn.read_to_end();
    server.finished(&session);
    let strict = json!({"mode": "synchronized", "strictMatching": true, "path": "/strict"});
    let replay = server.replay(&ws, &strict);
    // The recorded subprotocol can be in no handshake; the session says what came of it.
    if let Ok(mut client) = Raw::try_open(server.mock, "/strict", &[]) {
        client.send(crate::support::ws::TEXT, format!("other {HOSTILE}"));
        client.conn.read_to_end();
        server.wait(&replay, "ended");
    }
    let pending = server.replay(&ws, &json!({"mode": "triggered", "path": "/pending", "timeout": 100}));
    for (args, is_document) in [
        (&["sr", "sessions"][..], false),
        (&["sr", "sessions", "--json"], true),
        (&["sr", "tail", &session], false),
        (&["sr", "tail", &session, "--json"], true),
        (&["sr", "start", "--protocol", "sse", "--path", "/\u{1b}[2J"], false),
        (&["sr", "start", "--protocol", "sse", "--path", "/named", "--name", "\u{1b}[2J\u{9b}\u{202e}"], false),
        (&["sr", "start", "--protocol", "\u{1b}[2J", "--path", "/x"], false),
        (&["replay", "list", "--all"], false),
        (&["replay", "list", "--all", "--json"], true),
        (&["replay", "show", &replay], false),
        (&["replay", "show", &replay, "--json"], true),
        (&["replay", "messages", &replay], false),
        (&["replay", "messages", &replay, "--json"], true),
        (&["replay", "start", &ws, "--path", "/x\u{1b}[2J"], false),
        (&["replay", "start", &ws, "--path", "/y", "--json"], true),
        (&["replay", "start", &ws, "--mode", "\u{1b}[2J"], false),
        (&["replay", "advance", &pending, "--until", "\u{1b}[2J\u{9b}"], false),
        (&["replay", "show", "\u{1b}[2J\u{9b}31m"], false),
        (&["replay", "stop", &pending], false),
        (&["status"], false),
    ] {
        check(&place, args, is_document);
    }
}

#[test]
fn a_difference_is_shown_clean() {
    let place = Place::new();
    let made = ws("/ws").c2s(0, HOSTILE).s2c(1, "fine");
    place.file("chat.json", &made.json().to_string());
    place.file("json.json", &ws("/json").c2s(0, &json!({"a": HOSTILE}).to_string()).s2c(1, "x").json().to_string());
    let args = ["play", "chat.json", "json.json", "--mode", "synchronized", "--strict-matching", "--port", "0"];
    let run = OneShot::with_command(&place, &args, 0);
    for path in ["/ws", "/json"] {
        let mut client = Raw::open(run.mock, path);
        client.send(crate::support::ws::TEXT, format!("{HOSTILE} and more"));
        client.conn.read_to_end();
    }
    drop(Conn::open(run.mock).ask("GET", "/none%1b[2J", &[], b""));
    let output = run.finish().expect(3);
    check_clean("play", &output.stderr);
    assert!(output.stderr.contains("\\u{1b}[2J"), "{}", output.stderr);
}

#[test]
fn what_is_logged_is_clean() {
    let upstream = Upstream::http(|_, mut conn| {
        conn.send(b"HTTP/1.1 200 \x1b[2J\x9b\r\nX: \x1b]0;t\x07\r\nTransfer-Encoding: chunked\r\n\r\n\x1b[2J\x9bzz\r\n");
    });
    for format in ["text", "json"] {
        let server = Server::builder().upstream(upstream.url()).option("--log-level", "trace").option("--log-format", format).start();
        for target in ["/%1b[2J", "/a\u{1b}[2J", "/a\u{7f}", "/a?\u{8}", "/\u{9b}31m", "/\u{202e}"] {
            for port in [server.mock, server.admin] {
                let mut conn = Conn::open(port);
                conn.send(format!("GET {target} HTTP/1.1\r\nHost: localhost\r\nX-\u{1b}: \u{1b}[2J\r\nConnection: close\r\n\r\n"));
                conn.read_to_end();
            }
        }
        let mut conn = Conn::open(server.mock);
        conn.send(b"\x1b[2J \x9b31m HTTP/1.1\r\n\r\n");
        conn.read_to_end();
        for fields in
            [vec![("X-Mockd-Replay", "\u{9b}31m")], vec![("Sec-WebSocket-Protocol", "a, \u{9b}b")], vec![("Origin", "http://\u{9b}")]]
        {
            for port in [server.mock, server.admin] {
                ask(port, "GET", "/x", &[&fields[..], crate::support::ws::HANDSHAKE].concat(), b"");
            }
        }
        server.record("sse", "/x%1b");
        eventually("the log", || server.log().contains("/x%1b").then_some(()));
        let log = server.log();
        check_clean(format, &log);
        if format == "json" {
            log.lines().for_each(|line| drop(serde_json::from_str::<Value>(line).expect(line)));
        }
    }
}
