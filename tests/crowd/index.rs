//! The index is a cache: whatever becomes of its file while servers and commands use it, lists say what the files say.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::{Value, json};

use super::{LIST, assert_agree, read_files};
use crate::support::effort::{Dice, rounds};
use crate::support::recordings::ws;
use crate::support::server::Place;
use crate::support::{Server, Upstream};

fn make_many(place: &Place, count: usize) -> Vec<String> {
    let ids: Vec<String> =
        (0..count).map(|at| ws("/made").s2c(0, &format!("{at}")).close("server", 1, 1000, "").save(&place.data_dir())).collect();
    for id in &ids {
        let file = std::fs::File::options().write(true).open(place.data_dir().join(format!("rec_{id}.json"))).unwrap();
        // Old enough to be believed.
        file.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(3600)).unwrap();
    }
    ids
}

/// Checks what a server and a command list against the files.
#[track_caller]
fn assert_right(server: &Server) {
    let files = read_files(&server.place.data_dir());
    let (page, stats) = (server.get("/stream-recordings?includeDeleted=true"), server.get("/stream-recordings/stats"));
    assert_agree(&files, &page, &stats);
    assert_agree(&files, &server.place.run(LIST).json(), &server.place.run(&["sr", "stats", "--json"]).json());
}

fn remove(path: &Path) {
    // It is one or the other, or nothing.
    drop(std::fs::remove_file(path));
    drop(std::fs::remove_dir_all(path));
}

/// One thing that may become of the index.
fn damage(folder: &Path, dice: &mut Dice) {
    let path = folder.join("index.jsonl");
    let text = std::fs::read(&path).unwrap_or_default();
    remove(&path);
    match dice.below(9) {
        0 => {}
        1 => std::fs::write(&path, &text[..text.len() * dice.below(100) as usize / 100]).unwrap(),
        2 => std::fs::write(&path, b"\xff\xfe\x00 no index \n\n{}[").unwrap(),
        3 => std::fs::write(&path, String::from_utf8_lossy(&text).replace("\"mockdIndex\":", "\"mockdIndex\":1")).unwrap(),
        4 => std::fs::create_dir_all(path.join("a directory")).unwrap(),
        5 => {
            std::fs::write(&path, &text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
        }
        6 => remove(folder),
        7 => std::fs::write(&path, String::from_utf8_lossy(&text).replace("\"size\":", "\"size\":1")).unwrap(),
        _ => {
            // One of the lines is another's.
            let mut lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
            let at = lines.len().saturating_sub(1);
            if at > 1 {
                let from = 1 + dice.below(at as u64 - 1) as usize;
                lines.remove(from);
                lines.push(b"{\"file\":\"rec_01AAAAAAAAAAAAAAAAAAAAAAAA.json\",\"size\":1}\n");
            }
            std::fs::write(&path, lines.concat()).unwrap();
        }
    }
}

#[test]
fn whatever_becomes_of_the_index_lists_are_right() {
    let mut dice = Dice::new("index");
    let place = Place::new();
    let mut ids = make_many(&place, 80);
    let server = Server::builder().place(&place).start();
    assert_right(&server);
    let tries = rounds(20, 1000);
    for _ in 0..tries {
        damage(&place.data_dir().join(".index"), &mut dice);
        let id = ids[dice.below(ids.len() as u64) as usize].clone();
        match dice.below(4) {
            0 => server.call("DELETE", &format!("/stream-recordings/{id}?permanent=true"), &Value::Null).expect(204),
            1 => server.call("PATCH", &format!("/stream-recordings/{id}"), &json!({"name": dice.bits().to_string()})).expect(200),
            2 => server.call("DELETE", &format!("/stream-recordings/{id}"), &Value::Null).expect(204),
            _ => server.touch(&format!("/stream-recordings/{id}/export")).expect(200),
        };
        if !server.place.data_dir().join(format!("rec_{id}.json")).exists() {
            ids.retain(|other| *other != id);
        }
        if ids.len() < 20 {
            ids.extend(make_many(&place, 60));
        }
        assert_right(&server);
    }
    println!("crowd: {tries} damaged indexes");
}

/// Trap: a file rewritten in place within a tick of the clock, or whose time was set back, looks like the one before.
#[test]
fn a_file_rewritten_within_a_tick_or_with_its_old_time_is_seen() {
    let place = Place::new();
    let ids = make_many(&place, 20);
    let server = Server::builder().place(&place).start();
    assert_right(&server);
    for round in 0..rounds(30, 2000) {
        let id = &ids[round as usize % ids.len()];
        let path = place.data_dir().join(format!("rec_{id}.json"));
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let (old, new) = if round / 20 % 2 == 0 { ("made for", "MADE for") } else { ("MADE for", "made for") };
        assert!(text.contains(old));
        std::fs::write(&path, text.replace(old, new)).unwrap();
        if round.is_multiple_of(3) {
            std::fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        }
        let page = server.get("/stream-recordings");
        let row = page["recordings"].as_array().unwrap().iter().find(|row| row["id"] == **id).unwrap();
        assert!(row["name"].as_str().unwrap().starts_with(new), "{row}");
    }
}

#[test]
fn an_index_folder_that_is_a_file_is_said_and_lists_go_on() {
    let upstream = Upstream::echo();
    let place = Place::new();
    let id = make_many(&place, 3).remove(0);
    std::fs::write(place.data_dir().join(".index"), "no folder").unwrap();
    let server = Server::builder().place(&place).upstream(upstream.url()).start();
    assert_eq!(server.get("/stream-recordings")["total"], 3);
    assert_eq!(place.run(LIST).json()["total"], 3);
    server.call("DELETE", &format!("/stream-recordings/{id}"), &Value::Null).expect_error(500, "storage_error", &[".index"]);
    place.run(&["sr", "delete", &id]).expect_error(1, &[".index"]);
}
