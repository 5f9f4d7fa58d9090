//! `mockd check` (SPEC 7): what it says of configs and recordings, right and wrong ones, and how it ends.

use serde_json::json;

use crate::support::recordings::{sse, ws};
use crate::support::server::{Output, Place};

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

/// What it says of a file that is wrong.
#[track_caller]
fn wrong(place: &Place, args: &[&str]) -> Vec<String> {
    let Output { stderr, stdout, .. } = place.run(&[&["check"], args].concat()).expect(1);
    assert_eq!(stdout, "");
    stderr.lines().map(|line| line.strip_prefix("mockd: ").expect("each line says who speaks").to_owned()).collect()
}

#[test]
fn files_that_are_right_get_a_line_each() {
    let place = Place::new();
    place.file(
        "mocks.yaml",
        "mocks:\n- websocket: {path: /a}\n- websocket: {path: /b}\n- {type: http, matcher: {path: /c}, response: {}}\n",
    );
    place.file("one.json", r#"{"version":"1.0","mocks":[{"websocket":{"path":"/a"}}]}"#);
    place.file("settings.yaml", "server: {port: 0}\n");
    place.file("empty.yaml", "");
    place.file("chat.json", &ws("/ws").s2c(1000, "a").c2s(2000, "b").close("server", 3000, 1000, "").json().to_string());
    place.file("pretty.txt", &serde_json::to_string_pretty(&sse("/e").data(0, "x").json()).unwrap());
    place.file("cut.json", &ws("/ws").set("/status", json!("incomplete")).set("/statusReason", json!("crashed")).json().to_string());
    let files = ["mocks.yaml", "one.json", "settings.yaml", "empty.yaml", "chat.json", "pretty.txt", "cut.json"];
    let output = place.run(&[&["check"], &files[..]].concat()).expect(0);
    assert_eq!(
        lines(&output.stdout),
        [
            "mocks.yaml: ok, 3 mocks",
            "one.json: ok, 1 mock",
            "settings.yaml: ok, 0 mocks",
            "empty.yaml: ok, 0 mocks",
            "chat.json: ok, websocket recording, 2 frames",
            "pretty.txt: ok, sse recording, 1 frame",
            "cut.json: ok, websocket recording, 0 frames, incomplete (crashed)",
        ]
    );
    assert_eq!(output.stderr, "");
    assert!(!place.data_dir().exists(), "nothing is made");
}

#[test]
fn what_is_wrong_is_told_with_file_and_place() {
    let place = Place::new();
    place.file("ok.yaml", "mocks: []\n");
    place.file("bad.yaml", "mocks:\n- websocket: {path: /a, scenario: {steps: [{type: sned}]}}\n");
    place.file("bad.json", "{\n  \"mocks\": [,]\n}");
    place.file("regex.yaml", "recording: {filterPatterns: ['(']}\n");
    let output = place.run(&["check", "bad.yaml", "ok.yaml", "bad.json", "regex.yaml", "none.yaml"]).expect(1);
    assert_eq!(output.stdout, "ok.yaml: ok, 0 mocks\n");
    let stderr = lines(&output.stderr);
    assert_eq!(
        stderr[0],
        "mockd: bad.yaml: mocks[0].websocket.scenario.steps[0].type: \"sned\" is none of send, expect, wait, close (did you mean \"send\"?)"
    );
    assert_eq!(stderr[1], "mockd: bad.json: line 2 column 13: this is no JSON that mockd can read: expected value");
    assert!(stderr[2].starts_with("mockd: regex.yaml: recording.filterPatterns"), "{}", stderr[2]);
    assert!(stderr[3].starts_with("mockd: none.yaml: this config file cannot be read: "), "{}", stderr[3]);
    assert_eq!(stderr.len(), 4);
    place.run(&["check"]).expect_error(2, &["FILE"]);
    assert!(wrong(&place, &["."])[0].starts_with(".: this config file cannot be read: "));
}

#[test]
fn a_recording_is_read_to_its_last_frame() {
    let place = Place::new();
    let good = ws("/ws").s2c(1000, "a").binary("s2c", 2000, "AAE=").s2c(3000, "c");
    let mut json = good.json();
    json["startTime"] = json!("yesterday");
    json["websocket"]["frames"][1]["data"] = json!("!");
    json["websocket"]["frames"][2]["relativeUs"] = json!(500);
    json["websocket"]["frames"][2]["relativeMs"] = json!(0);
    place.file("edited.json", &json.to_string());
    assert_eq!(
        wrong(&place, &["edited.json"]),
        [
            "edited.json: startTime: \"yesterday\" is no time as RFC 3339 writes it, such as 2024-01-15T10:30:00.000000Z",
            "edited.json: websocket.frames[1].data: this says that it is base64, and is none",
            "edited.json: websocket.frames[2].relativeUs: 500 µs is before the frame in front of it, which came at 2000 µs",
        ]
    );
    // In the program's own lines the frames are read one by one.
    let id = good.save(&place.data_dir());
    let path = place.data_dir().join(format!("rec_{id}.json"));
    let text = std::fs::read_to_string(&path).unwrap();
    place.file("torn.json", &text.replacen("\"direction\":\"s2c\",\"type\":\"text\",\"data\":\"c\"", "\"direction\":", 1));
    let errors = wrong(&place, &["torn.json"]);
    assert!(errors.len() == 1 && errors[0].starts_with("torn.json can't be parsed: frame 2: "), "{errors:?}");
    place.file("half.json", &text[..text.len() / 2]);
    assert!(wrong(&place, &["half.json"])[0].starts_with("half.json: this is no recording: "));
    let mut many = good.json();
    many["websocket"]["frames"] = json!(vec![json!({"direction": "s2c", "type": "text", "data": "x"}); 50]);
    place.file("many.json", &many.to_string());
    let errors = wrong(&place, &["many.json"]);
    assert_eq!((errors.len(), errors[20].as_str()), (21, "many.json: there is more: only the first 20 errors are told"));
}

#[test]
fn replay_mocks_are_checked_with_their_recordings() {
    let place = Place::new();
    std::fs::create_dir(place.home().join("fixtures")).unwrap();
    place.file("fixtures/chat.json", &ws("/ws").s2c(1000, "a").json().to_string());
    let stored = sse("/e").data(0, "x").save(&place.data_dir());
    let config = |part: &str, recording: &str| {
        place.file("fixtures/mocks.yaml", &format!("mocks: [{{{part}: {{replay: {{recording: {recording}}}}}}}]\n"));
        place.run(&["check", "fixtures/mocks.yaml"])
    };
    for (part, recording) in [("websocket", "chat.json"), ("websocket", "./chat.json"), ("http", &stored), ("http", &stored[..20])] {
        assert_eq!(config(part, recording).ok(), "fixtures/mocks.yaml: ok, 1 mock\n");
    }
    for (part, recording, words) in [
        ("websocket", "none.json", "none.json: the recording cannot be read"),
        ("websocket", "01AAAAAAAAAAAAAAAAAAAAAAAA", "no recording has the id"),
        ("websocket", &stored, "this recording is one of an event stream"),
        ("http", "chat.json", "this recording is one of a WebSocket"),
    ] {
        let place = format!("fixtures/mocks.yaml: mocks[0].{part}.replay.recording: ");
        config(part, recording).expect_error(1, &[&place, words]);
    }
    let broken = ws("/ws").s2c(1000, "a").s2c(2000, "b").save(&place.data_dir());
    let path = place.data_dir().join(format!("rec_{broken}.json"));
    let text = std::fs::read_to_string(&path).unwrap().replacen("\n,{", "\n,[", 1);
    std::fs::write(&path, text).unwrap();
    config("websocket", &broken).expect_error(1, &["mocks[0].websocket.replay.recording: ", "frame 1: "]);
    place.file("fixtures/mocks.yaml", "mocks: [{websocket: {path: /a, maxMessageSize: 2}}]\nserver: {maxMessageBytes: 1}\n");
    let words = "mocks[0].websocket.maxMessageSize: 2 bytes are more than the server takes: server.maxMessageBytes is 1";
    place.run(&["check", "fixtures/mocks.yaml"]).expect_error(1, &[words]);
}

#[test]
fn a_broken_mockd_yaml_is_told_with_every_config() {
    let place = Place::new();
    place.file("mockd.yaml", "server: [1\n");
    place.file("fine.yaml", "mocks: []\n");
    for file in ["fine.yaml", "mockd.yaml"] {
        let errors = wrong(&place, &[file]);
        assert!(errors.len() == 1 && errors[0].contains("mockd.yaml: line 2 column 1"), "{errors:?}");
    }
}

#[test]
fn the_same_as_json() {
    let place = Place::new();
    place.file("a.yaml", "mocks: [{websocket: {path: /a}}]\n");
    place.file("b.json", &sse("/e").data(0, "x").json().to_string());
    place.file("c.yaml", "mock: []\n");
    let output = place.run(&["check", "--json", "a.yaml", "b.json", "c.yaml"]).expect(1);
    let error = "c.yaml: mock: there is no such field; did you mean \"mocks\"?";
    assert_eq!(
        serde_json::from_str::<serde_json::Value>(&output.stdout).unwrap(),
        json!({"files": [
            {"file": "a.yaml", "ok": true, "kind": "config", "mocks": 1},
            {"file": "b.json", "ok": true, "kind": "recording", "protocol": "sse", "frames": 1, "status": "complete", "statusReason": null},
            {"file": "c.yaml", "ok": false, "errors": [error]},
        ]})
    );
    assert_eq!(output.stderr, format!("mockd: {error}\n"));
}

#[test]
fn a_config_is_checked_with_what_the_server_would_read_before_it() {
    let place = Place::new();
    place.file("c.json", r#"{"mocks": [{"id": "a", "websocket": {"path": "/ws", "maxMessageSize": 104857600}}]}"#);
    place.run(&["check", "c.json"]).expect_error(1, &["c.json", "mocks[0].websocket.maxMessageSize"]);
    place.file("mockd.yaml", "server: {maxMessageBytes: 128MiB}");
    assert_eq!(place.run(&["check", "c.json"]).ok(), "c.json: ok, 1 mock\n");
}

#[test]
fn deep_nesting_is_refused_and_texts_full_of_brackets_are_not() {
    let place = Place::new();
    place.file("deep.yaml", &format!("mocks: {}\n", "[".repeat(100_000)));
    assert_eq!(wrong(&place, &["deep.yaml"]), ["deep.yaml: line 1 column 136: this is no YAML that mockd can read: nested too deep"]);
    let brackets = "[{".repeat(5_000);
    let made = ws("/ws").s2c(1, &brackets).s2c(2, &format!("a: {brackets}\n  {brackets}\n\"'{brackets}")).c2s(3, &brackets);
    place.file("rec.json", &made.close("server", 4, 1000, "").json().to_string());
    let id = place.run(&["sr", "import", "rec.json", "--json"]).json()["recordings"][0]["id"].as_str().unwrap().to_owned();
    place.run(&["sr", "convert", &id, "-o", "mock.yaml"]).expect(0);
    place.run(&["check", "mock.yaml"]).expect(0);
}

#[test]
fn a_recording_with_a_status_that_no_stream_has_is_wrong() {
    let place = Place::new();
    place.file("e.json", &sse("/e").data(0, "x").set("/sse/responseStatus", json!(101)).json().to_string());
    let told = "e.json: sse.responseStatus: no event stream has the status 101; it is one of 200 to 599, without 204, 205, 304";
    assert_eq!(wrong(&place, &["e.json"]), [told]);
}
