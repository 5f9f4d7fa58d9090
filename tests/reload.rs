//! Mocks out of config files (SPEC 6): several files, what is refused before a port is opened, and SIGHUP.

use serde_json::{Value, json};

use crate::support::http::ask;
use crate::support::recordings::ws;
use crate::support::server::{Place, Server};
use crate::support::wait::eventually;
use crate::support::ws::Raw;

fn response(id: &str, path: &str, body: &str) -> String {
    format!("- {{id: {id}, matcher: {{path: {path}}}, response: {{body: {body}}}}}\n")
}

fn get(server: &Server, path: &str) -> String {
    ask(server.mock, "GET", path, &[], b"").text()
}

fn ids(server: &Server) -> Vec<Value> {
    server.get("/mocks")["mocks"].as_array().expect("a list").iter().map(|mock| mock["id"].clone()).collect()
}

/// Sends SIGHUP and waits for what the server logs about it.
#[track_caller]
fn reload(server: &Server, words: &str) {
    let before = server.log().matches(words).count();
    server.signal("HUP");
    eventually(&format!("{words:?} in the log"), || (server.log().matches(words).count() > before).then_some(()));
}

const READ: &str = "SIGHUP: the config has been read again";
const REFUSED: &str = "SIGHUP: the mocks stay as they were: ";

#[test]
fn mocks_of_several_files_are_served_together_and_later_ones_win() {
    let place = Place::new();
    place.file("mockd.yaml", &format!("mocks:\n{}{}", response("a", "/a", "one"), response("b", "/b", "two")));
    place.file("more.json", &json!({"mocks": [{"id": "a", "matcher": {"path": "/a"}, "response": {"body": "three"}}]}).to_string());
    place.file("last.yaml", &format!("mocks:\n{}", response("c", "/c", "four")));
    let server = Server::builder().place(&place).option("--config", "more.json").option("--config", "last.yaml").start();
    assert_eq!((get(&server, "/a"), get(&server, "/b"), get(&server, "/c")), ("three".into(), "two".into(), "four".into()));
    assert_eq!(ids(&server), ["a", "b", "c"]);
}

#[test]
fn a_wrong_mock_is_refused_before_a_port_is_opened() {
    for (text, words) in [
        ("mocks:\n- type: graphql\n", vec!["config-0.yaml: mocks[0].type: ", "graphql", "websocket, http"]),
        (
            "mocks:\n- websocket: {path: /a}\n- websocket: {path: /b}\n- websocket: {path: /c, scenario: {steps: [{type: sned}]}}\n",
            vec!["config-0.yaml: mocks[2].websocket.scenario.steps[0].type: ", "sned", "send, expect, wait, close"],
        ),
        ("mocks:\n- {id: a, websocket: {path: /a}}\n- {id: a, websocket: {path: /b}}\n", vec!["mocks[1].id", "mocks[0]"]),
        ("mocks:\n- websocket: {path: /a, path: /b}\n", vec!["config-0.yaml: line 2", "\"path\" stands twice"]),
        ("mocks:\n- websocket: {replay: {recording: ./none.json}}\n", vec!["mocks[0].websocket.replay.recording", "none.json"]),
        ("mocks:\n- {enabled: false, websocket: {replay: {recording: ./none.json}}}\n", vec!["mocks[0].websocket.replay.recording"]),
        ("mocks:\n- websocket: {path: /a, maxMessageSize: 65MiB}\n", vec!["mocks[0].websocket.maxMessageSize", "server.maxMessageBytes"]),
    ] {
        let builder = Server::builder().config(text);
        builder.refused().expect_error(1, &words);
    }
}

#[test]
fn sighup_serves_the_mocks_that_the_files_have_now() {
    let place = Place::new();
    place.file("mocks.yaml", &format!("mocks:\n{}- {{id: ws, websocket: {{path: /ws}}}}\n", response("a", "/a", "old")));
    let server = Server::builder().place(&place).option("--config", "mocks.yaml").start();
    let added = json!({"id": "api", "matcher": {"path": "/api"}, "response": {"body": "api"}});
    server.post("/mocks", &added).expect(201);
    let mut client = Raw::open(server.mock, "/ws");
    client.run("send text before\nexpect text before");

    place.file("mocks.yaml", &format!("mocks:\n{}{}", response("a", "/a", "new"), response("b", "/b", "more")));
    reload(&server, READ);
    assert_eq!((get(&server, "/a"), get(&server, "/b")), ("new".to_owned(), "more".to_owned()));
    assert_eq!(ids(&server), ["a", "b", "api"], "a mock of the API stays");
    server.logs("mocks that are served: 3");
    // A mock that is gone takes nobody in any more; who is there stays.
    assert_eq!(ask(server.mock, "GET", "/ws", &[], b"").status(), 404);
    client.run("send text after\nexpect text after");

    for (text, words) in [
        ("mocks:\n- {id: a, websocket: {pth: /}}\n", "mocks.yaml: mocks[0].websocket.pth: there is no such field"),
        ("mocks: [", "mocks.yaml: line "),
        ("mocks:\n- websocket: {replay: {recording: ./none.json}}\n", "mocks.yaml: mocks[0].websocket.replay.recording: "),
        ("mocks:\n- {id: api, websocket: {path: /x}}\n", "mocks.yaml: mocks[0].id: "),
    ] {
        place.file("mocks.yaml", text);
        reload(&server, REFUSED);
        let log = server.log();
        let last = log.lines().rev().find(|line| line.contains(REFUSED)).expect("a line");
        assert!(last.contains(words), "{last}");
        assert_eq!((get(&server, "/a"), get(&server, "/b")), ("new".to_owned(), "more".to_owned()));
    }
    std::fs::remove_file(place.home().join("mocks.yaml")).unwrap();
    reload(&server, REFUSED);

    place.file("mocks.yaml", "");
    reload(&server, READ);
    assert_eq!(ids(&server), ["api"]);
    client.run("send text still\nexpect text still");
}

#[test]
fn a_replay_mock_is_read_again_with_its_recording() {
    let place = Place::new();
    let made = |text: &str| ws("/ws").s2c(0, text).close("server", 1, 1000, "").json().to_string();
    place.file("chat.json", &made("one"));
    place.file("mockd.yaml", "mocks: [{id: r, websocket: {replay: {recording: chat.json}}}]\n");
    let server = Server::builder().place(&place).start();
    Raw::open(server.mock, "/ws").run("expect text one");
    place.file("chat.json", &made("two"));
    reload(&server, READ);
    Raw::open(server.mock, "/ws").run("expect text two");
}

#[test]
fn settings_that_changed_are_said_to_need_a_restart() {
    let place = Place::new();
    place.file("mockd.yaml", "recording: {maxBytes: 1000000}\nserver: {corsOrigin: 'http://a'}\n");
    let server = Server::builder().place(&place).start();
    reload(&server, READ);
    assert!(!server.log().contains("restart mockd"), "{}", server.log());
    place.file("mockd.yaml", "recording: {maxBytes: 2000000}\nserver: {port: 1}\nupstreams: [{path: /x, url: 'http://127.0.0.1:1'}]\n");
    reload(&server, READ);
    server.logs("SIGHUP: only mocks are read again; restart mockd for server.corsOrigin, recording.maxBytes, upstreams to count");
    assert_eq!(server.get("/stream-recordings/stats")["maxBytes"], 1_000_000);
}

#[test]
fn what_init_writes_loads_when_it_is_uncommented() {
    let place = Place::new();
    place.run(&["init"]).ok();
    let sample = std::fs::read_to_string(place.home().join("mockd.yaml")).unwrap();
    place.run(&["check", "mockd.yaml"]).ok();
    let mocks: String =
        sample.lines().skip_while(|line| *line != "#mocks:").map(|line| line.strip_prefix('#').unwrap_or(line).to_owned() + "\n").collect();
    place.file("mockd.yaml", &format!("version: \"1.0\"\n{mocks}"));
    place.file("chat.json", &ws("/recorded").s2c(0, "hi").json().to_string());
    assert_eq!(place.run(&["check", "mockd.yaml"]).ok(), "mockd.yaml: ok, 3 mocks\n");
    let server = Server::builder().place(&place).start();
    let mut client = Raw::open(server.mock, "/ws/chat");
    client.run(
        r#"expect text {"type":"welcome"}
           send text ping
           expect text pong
           send text {"type":"join","name":"Ann"}
           expect text hello, Ann
           send text what
           expect text {"type":"error","got":"what"}"#,
    );
    Raw::open(server.mock, "/ws/recorded").run("expect text hi");
}
