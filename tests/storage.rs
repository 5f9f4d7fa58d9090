//! The data directory of SPEC 2: soft delete, restore, vacuum, edit, stats, the limit, and who may read the files.

use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::support::http::ask;
use crate::support::recordings::{Made, sse, ws};
use crate::support::server::{Place, text};
use crate::support::ws::Raw;
use crate::support::{Server, Upstream};

fn chat() -> Made {
    ws("/ws/chat").s2c(1000, "one").c2s(2000, "two").close("server", 3000, 1000, "bye")
}

#[test]
fn a_soft_delete_hides_and_restore_brings_back() {
    let server = Server::start();
    let id = chat().save(&server.place.data_dir());
    let before = server.recording(&id);
    let path = format!("/stream-recordings/{id}");
    assert!(server.call("DELETE", &path, &Value::Null).expect(204).body.is_empty());
    assert_eq!(server.get("/stream-recordings")["total"], 0);
    let page = server.get("/stream-recordings?includeDeleted=true");
    assert_eq!((&page["total"], &page["recordings"][0]["deleted"]), (&json!(1), &json!(true)));
    let deleted = server.recording(&id);
    assert_eq!((&deleted["deleted"], &deleted["websocket"]), (&json!(true), &before["websocket"]));
    server.call("DELETE", &path, &Value::Null).expect_error(404, "not_found", &[]);
    server.post(&format!("{path}/replay"), &json!({})).expect_error(404, "not_found", &[]);
    let summary = server.touch(&format!("{path}/restore")).expect(200).json();
    assert_eq!((&summary["id"], &summary["deleted"]), (&json!(id), &json!(false)));
    assert_eq!(server.recording(&id), before);
    server.touch(&format!("{path}/restore")).expect_error(409, "not_deleted", &[]);
}

/// Trap: a session that answers for its first recording as if that were still to come.
#[test]
fn a_deleted_recording_is_gone_also_while_its_session_is_open() {
    let upstream = Upstream::echo();
    let server = Server::before(&upstream);
    for permanent in [true, false] {
        let id = server.record("websocket", "/ws");
        Raw::open(server.mock, "/ws").run("send text x\nexpect text x\nsend close 1000\nexpect close 1000");
        server.finished(&id);
        let path = format!("/stream-recordings/{id}");
        let delete = |path: &str| server.call("DELETE", &format!("{path}?permanent={permanent}"), &Value::Null);
        delete(&path).expect(204);
        delete(&path).expect_error(404, "not_found", &[&id]);
        assert_eq!(server.get("/stream-recordings")["total"], 0);
        server.post(&format!("{path}/replay"), &json!({})).expect(404);
        if permanent {
            for call in ["", "/frames", "/frames?follow=true"] {
                server.call("GET", &format!("{path}{call}"), &Value::Null).expect_error(404, "not_found", &[&id]);
            }
        }
        server.stop(&id);
    }
}

#[test]
fn a_permanent_delete_is_for_ever() {
    let server = Server::start();
    let (one, two) = (chat().save(&server.place.data_dir()), chat().save(&server.place.data_dir()));
    server.call("DELETE", &format!("/stream-recordings/{one}?permanent=true"), &Value::Null).expect(204);
    server.call("GET", &format!("/stream-recordings/{one}"), &Value::Null).expect_error(404, "not_found", &[&one]);
    server.call("DELETE", &format!("/stream-recordings/{two}"), &Value::Null).expect(204);
    server.call("DELETE", &format!("/stream-recordings/{two}?permanent=true"), &Value::Null).expect(204);
    assert_eq!(server.get("/stream-recordings?includeDeleted=true")["total"], 0);
}

#[test]
fn a_running_recording_cannot_be_deleted_or_edited() {
    let upstream = Upstream::echo();
    let server = Server::before(&upstream);
    let id = server.record("websocket", "/ws");
    let client = Raw::open(server.mock, "/ws");
    server.begun(&id);
    let path = format!("/stream-recordings/{id}");
    server.call("DELETE", &path, &Value::Null).expect(409);
    server.call("DELETE", &format!("{path}?permanent=true"), &Value::Null).expect(409);
    server.post(&format!("{path}/replay"), &json!({})).expect(409);
    server.stop(&id);
    server.call("DELETE", &path, &Value::Null).expect(204);
    drop(client);
}

#[test]
fn vacuum_removes_soft_deleted_ones_and_says_how_much() {
    let server = Server::start();
    let ids: Vec<String> = (0..3).map(|_| chat().save(&server.place.data_dir())).collect();
    let size = |id: &str| std::fs::metadata(server.place.data_dir().join(format!("rec_{id}.json"))).unwrap().len();
    let bytes = size(&ids[0]) + size(&ids[1]);
    for id in &ids[..2] {
        server.call("DELETE", &format!("/stream-recordings/{id}"), &Value::Null).expect(204);
    }
    let stats = server.get("/stream-recordings/stats");
    assert_eq!((&stats["deletedCount"], &stats["recordingCount"]), (&json!(2), &json!(1)));
    assert_eq!(server.touch("/stream-recordings/vacuum").expect(200).json()["removed"], 2);
    let again = server.touch("/stream-recordings/vacuum").expect(200).json();
    assert_eq!(again, json!({"removed": 0, "freedBytes": 0}));
    assert_eq!(server.get("/stream-recordings?includeDeleted=true")["total"], 1);
    assert!(bytes > 0);
}

#[test]
fn stats_count_and_name_the_oldest_and_the_newest() {
    let server = Server::start();
    let empty = server.get("/stream-recordings/stats");
    let expected = json!({
        "usedBytes": 0, "maxBytes": 524288000, "usedPercent": 0.0, "warning": null, "recordingCount": 0, "websocketCount": 0,
        "sseCount": 0, "deletedCount": 0, "deletedBytes": 0, "oldest": null, "newest": null
    });
    assert_eq!(empty, expected);
    let dir = server.place.data_dir();
    chat().set("/startTime", json!("2024-01-15T10:30:00.000000Z")).save(&dir);
    chat().set("/startTime", json!("2024-03-15T10:30:00.000000Z")).save(&dir);
    sse("/events").set("/startTime", json!("2024-02-15T10:30:00.000000Z")).data(1000, "x").end("server", 2000).save(&dir);
    let stats = server.get("/stream-recordings/stats");
    assert_eq!((&stats["recordingCount"], &stats["websocketCount"], &stats["sseCount"]), (&json!(3), &json!(2), &json!(1)));
    assert_eq!((&stats["oldest"], &stats["newest"]), (&json!("2024-01-15T10:30:00.000000Z"), &json!("2024-03-15T10:30:00.000000Z")));
    let bytes: u64 = std::fs::read_dir(&dir)
        .unwrap()
        .flatten()
        .filter_map(|entry| entry.metadata().ok())
        .filter(|entry| entry.is_file())
        .map(|entry| entry.len())
        .sum();
    assert!(stats["usedBytes"].as_u64().unwrap() >= bytes, "{stats}");
}

#[test]
fn an_edit_changes_name_description_and_tags() {
    let server = Server::start();
    let id = chat().save(&server.place.data_dir());
    let path = format!("/stream-recordings/{id}");
    let summary = server.call("PATCH", &path, &json!({"name": "new", "description": "d", "tags": ["x"]})).expect(200).json();
    assert_eq!((&summary["name"], &summary["description"], &summary["tags"]), (&json!("new"), &json!("d"), &json!(["x"])));
    let recording = server.recording(&id);
    assert_eq!((&recording["name"], &recording["description"], &recording["tags"]), (&json!("new"), &json!("d"), &json!(["x"])));
    assert_eq!(recording["websocket"]["frames"].as_array().unwrap().len(), 3);
    let size = std::fs::metadata(server.place.data_dir().join(format!("rec_{id}.json"))).unwrap().len();
    assert_eq!(recording["stats"]["fileSizeBytes"], size);
    assert_eq!(server.get("/stream-recordings?name=new")["total"], 1);
    assert_eq!(server.get("/stream-recordings?tag=x")["total"], 1);
    server.call("PATCH", &path, &json!({"nam": "x"})).expect_error(400, "bad_request", &["nam", "name"]);
    assert_eq!(server.call("PATCH", &path, &Value::Null).expect(200).json(), summary, "an empty body changes nothing");
}

#[test]
fn at_the_limit_running_recordings_end_incomplete_and_start_is_507() {
    let upstream = Upstream::echo();
    let server = Server::builder().upstream(upstream.url()).config("recording:\n  maxBytes: 20000\n  warnPercent: 50\n").start();
    let id = server.record("websocket", "/ws");
    let mut client = Raw::open(server.mock, "/ws");
    let long = "x".repeat(1000);
    for _ in 0..20 {
        client.run(&format!("send text {long}\nexpect text {long}"));
    }
    let recording = server.finished(&id);
    assert_eq!((&recording["status"], &recording["statusReason"]), (&json!("incomplete"), &json!("storage_full")));
    client.run("send text traffic goes on\nexpect text traffic goes on");
    ws("/fill").s2c(0, &long.repeat(21)).save(&server.place.data_dir());
    let answer = server.post("/stream-recordings/start", &json!({"protocol": "websocket", "path": "/ws2"}));
    answer.expect_error(507, "storage_full", &["vacuum", "maxBytes"]);
}

#[test]
fn from_warn_percent_on_a_warning_is_shown() {
    let place = Place::new();
    place.file("mockd.yaml", "recording:\n  maxBytes: 20000\n  warnPercent: 50\n");
    let server = Server::builder().place(&place).start();
    assert_eq!(server.get("/stream-recordings/stats")["warning"], Value::Null);
    ws("/half").s2c(0, &"x".repeat(11_000)).save(&server.place.data_dir());
    let stats = server.get("/stream-recordings/stats");
    assert_eq!(stats["maxBytes"], 20000);
    assert!(stats["usedPercent"].as_f64().is_some_and(|percent| percent > 50.0 && percent < 70.0), "{stats}");
    assert!(!text(&stats["warning"]).is_empty());
    let warning = text(&stats["warning"]);
    assert!(place.run(&["sr", "stats"]).ok().contains(&format!("Warning: {warning}\n")), "{warning}");
}

#[test]
fn files_are_for_their_owner_alone() {
    let upstream = Upstream::echo();
    let server = Server::before(&upstream);
    let dir = server.place.data_dir();
    assert!(!dir.exists(), "the directory is made at the first recording");
    let id = server.record("websocket", "/ws");
    let mut client = Raw::open(server.mock, "/ws");
    client.run("send text x\nexpect text x");
    let check = |dir: &std::path::Path| {
        let mut folders = vec![dir.to_path_buf()];
        while let Some(folder) = folders.pop() {
            assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700, "{}", folder.display());
            for entry in std::fs::read_dir(&folder).unwrap().flatten() {
                match entry.metadata() {
                    Ok(data) if data.is_dir() => folders.push(entry.path()),
                    Ok(data) => assert_eq!(data.permissions().mode() & 0o777, 0o600, "{}", entry.path().display()),
                    // Renamed meanwhile.
                    Err(_) => {}
                }
            }
        }
    };
    check(&dir);
    server.stop(&id);
    server.get("/stream-recordings");
    check(&dir);
}

#[test]
fn two_commands_at_once_do_not_harm_each_other() {
    let server = Server::start();
    let ids: Vec<String> = (0..6).map(|_| chat().save(&server.place.data_dir())).collect();
    std::thread::scope(|scope| {
        for id in &ids {
            let place = server.place.clone();
            scope.spawn(move || place.run(&["stream-recordings", "edit", id, "--name", &format!("n-{id}")]).ok());
        }
    });
    let page = server.get("/stream-recordings");
    for summary in page["recordings"].as_array().unwrap() {
        assert_eq!(summary["name"], format!("n-{}", text(&summary["id"])));
    }
    assert_eq!(page["total"], 6);
}

/// A session that was let in keeps its recording, and the next one is told that there is no room.
#[test]
fn a_session_at_the_limit_is_refused_at_its_start_and_never_at_its_stop() {
    let upstream = Upstream::echo();
    let server = Server::builder().upstream(upstream.url()).option("--max-bytes", 6000).start();
    let mut kept = Vec::new();
    let refused = loop {
        let answer = server.post("/stream-recordings/start", &json!({"protocol": "websocket", "path": "/ws"}));
        if answer.status() != 201 {
            break answer;
        }
        let id = text(&answer.json()["id"]);
        assert_eq!(server.stop(&id)["recording"]["status"], "complete");
        kept.push(id);
        assert!(kept.len() < 100, "the store is never full");
    };
    refused.expect_error(507, "storage_full", &["vacuum"]);
    assert!(!kept.is_empty());
    kept.iter().for_each(|id| assert_eq!(server.recording(id)["status"], "complete"));
    server.logs("% of 5.9 KB used");
}

/// Trap: a store of many large frames is full long before its last byte.
#[test]
fn a_store_that_large_frames_filled_refuses_the_next_session() {
    let upstream = Upstream::echo();
    let server = Server::builder().upstream(upstream.url()).option("--max-bytes", 1_000_000).start();
    let id = server.record("websocket", "/ws");
    let large = "x".repeat(100_000);
    Raw::open(server.mock, "/ws").run(&format!("send text {large}\nexpect text {large}\n").repeat(6));
    let recording = server.finished(&id);
    assert_eq!((&recording["status"], &recording["statusReason"]), (&json!("incomplete"), &json!("storage_full")));
    let answer = server.post("/stream-recordings/start", &json!({"protocol": "websocket", "path": "/other"}));
    answer.expect_error(507, "storage_full", &["vacuum", "maxBytes"]);
    server.touch("/stream-recordings/vacuum").expect(200);
    assert!(server.call("DELETE", &format!("/stream-recordings/{id}?permanent=true"), &Value::Null).expect(204).body.is_empty());
    assert_eq!(server.stop(&server.record("websocket", "/other"))["recording"]["status"], "complete");
}

/// Trap: what was too large says nothing about the store.
#[test]
fn an_import_that_does_not_fit_keeps_no_recording_from_beginning() {
    let upstream = Upstream::echo();
    let server = Server::builder().upstream(upstream.url()).option("--max-bytes", 1 << 20).start();
    ws("/kept").s2c(0, &"x".repeat(2000)).save(&server.place.data_dir());
    let large = ws("/large").s2c(0, &"x".repeat(1_045_000)).json().to_string();
    let refused = ask(server.admin, "POST", "/stream-recordings/import", &[], large.as_bytes());
    refused.expect_error(507, "storage_full", &["more do not fit", "recording.maxBytes", "vacuum"]);
    let id = server.record("websocket", "/ws");
    Raw::open(server.mock, "/ws").run("send text x\nexpect text x");
    assert_eq!(server.stop(&id)["recording"]["status"], "complete");
}

#[test]
fn a_message_that_does_not_fit_keeps_no_other_recording_from_beginning() {
    let upstream = Upstream::echo();
    let server = Server::builder().upstream(upstream.url()).option("--max-bytes", 1 << 20).start();
    let id = server.record("websocket", "/ws");
    let large = "x".repeat(1 << 20);
    Raw::open(server.mock, "/ws").run(&format!("send text {large}\nexpect text {large}"));
    let recording = server.finished(&id);
    assert_eq!((&recording["status"], &recording["statusReason"]), (&json!("incomplete"), &json!("storage_full")));
    server.logs("more do not fit");
    let id = server.record("websocket", "/more");
    assert_eq!(server.stop(&id)["recording"]["status"], "complete");
}

/// Somebody saved what `GET` answered in the middle of a recording.
#[test]
fn a_copy_of_a_running_recording_is_incomplete_and_replays() {
    let server = Server::start();
    for pretty in [false, true] {
        let made = ws("/ws").s2c(0, "hello").set("/status", json!("recording"));
        let id = if pretty { made.save_pretty(&server.place.data_dir()) } else { made.save(&server.place.data_dir()) };
        let listed = server.get("/stream-recordings?status=incomplete");
        let reasons: Vec<&Value> = listed["recordings"].as_array().unwrap().iter().map(|summary| &summary["statusReason"]).collect();
        assert!(!reasons.is_empty() && reasons.iter().all(|reason| **reason == "copied_while_recording"), "{listed}");
        server.replay(&id, &json!({}));
        Raw::open(server.mock, "/ws").run("expect text hello");
    }
}
