//! What killed processes of before have left, put there by hand: what the next one makes of it.

use crate::support::Server;
use crate::support::recordings::{put, ws};
use crate::support::server::{MOCKD, Place, text};

const TEMP: &str = ".rec_01HXYZ12345678ABCDEFGHJKMN.0123456789abcdef.tmp";
const STAGING: &str = ".making-01HXYZ12345678ABCDEFGHJKMN";
const READY: &str = ".ready-01HXYZ12345678ABCDEFGHJKMN";

fn names(place: &Place) -> Vec<String> {
    let mut names: Vec<String> = super::look::files(&place.data_dir()).into_keys().collect();
    names.sort();
    names
}

#[test]
fn files_that_a_killed_process_was_making_stayed_for_an_hour() {
    let place = Place::new();
    put(&place.data_dir(), TEMP, b"{\"formatVersion\":");
    put(&place.data_dir().join(STAGING), "rec_01HXYZ12345678ABCDEFGHJKMN.json", b"{\"formatVersion\":");
    put(&place.data_dir(), "notes.tmp", b"mine");
    let page = place.run(&["sr", "list", "--json"]).json();
    assert_eq!((page["total"].as_u64(), names(&place)), (Some(0), vec!["notes.tmp".to_owned()]));
}

#[test]
fn an_import_that_was_killed_among_its_renames_left_half_of_its_recordings() {
    let place = Place::new();
    let ids = [ws("/one").s2c(0, "one"), ws("/two").s2c(0, "two")].map(|made| made.save(&place.data_dir().join(READY)));
    let server = Server::builder().place(&place).start();
    let page = server.get("/stream-recordings");
    let mut listed: Vec<String> = page["recordings"].as_array().unwrap().iter().map(|summary| text(&summary["id"])).collect();
    listed.sort();
    assert_eq!((listed, names(&place)), (ids.to_vec(), ids.map(|id| format!("rec_{id}.json")).to_vec()));
}

#[test]
fn half_an_export_stayed_beside_its_file_for_ever() {
    let place = Place::new();
    let id = ws("/ws").s2c(0, "one").save(&place.data_dir());
    put(&place.home().join("out"), "chat.json.0123456789abcdef.mockd.tmp", b"half");
    place.run(&["sr", "export", &id, "-o", "out/chat.json"]).expect(0);
    let left: Vec<String> = super::look::files(&place.home().join("out")).into_keys().collect();
    assert_eq!(left, ["chat.json"]);
}

#[test]
fn who_waited_for_a_ready_file_found_that_of_a_killed_server() {
    let place = Place::new();
    let mut ended = std::process::Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    // A server that is not ready for long, since it never gets its port.
    let serve = |pid: u32| {
        let file =
            place.file("ready.json", &format!("{{\"mock\":\"http://127.0.0.1:1\",\"admin\":\"http://127.0.0.1:2\",\"pid\":{pid}}}\n"));
        place.run(&["serve", "--port", &port, "--admin-port", "0", "--ready-file", "ready.json"]).expect(1);
        file.exists()
    };
    assert!(!serve(ended.id()));
    // In a container that was started again the killed server had the number that this one has.
    let script = format!("echo '{{\"pid\":'$$'}}' > ready.json; exec {MOCKD} serve --port {port} --admin-port 0 --ready-file ready.json");
    let mut shell = std::process::Command::new("sh");
    let ended =
        shell.args(["-c", &script]).current_dir(place.home()).env("HOME", place.home()).stderr(std::process::Stdio::null()).status();
    assert_eq!(ended.unwrap().code(), Some(1));
    assert!(!place.home().join("ready.json").exists());
    assert!(serve(std::process::id()), "that of a server that lives stays");
}
