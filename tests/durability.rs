//! What survives: kill -9, torn lines, signals, other processes on the same directory, files that are broken.

use serde_json::{Value, json};

use crate::support::recordings::{put, ws};
use crate::support::server::{Place, text};
use crate::support::sse::Stream;
use crate::support::upstream::EVENT_STREAM;
use crate::support::wait::eventually;
use crate::support::ws::Raw;
use crate::support::{Server, Upstream};

/// Waits until the journal on disk has so many frames.
fn journalled(server: &Server, id: &str, frames: usize) -> String {
    eventually("frames in the journal", || {
        let text = std::fs::read_to_string(server.place.data_dir().join(format!("rec_{id}.journal"))).ok()?;
        (text.lines().count() > frames).then_some(text)
    })
}

#[test]
fn kill_9_leaves_an_incomplete_recording_with_every_frame() {
    let upstream = Upstream::echo();
    let mut server = Server::before(&upstream);
    let id = server.record("websocket", "/ws");
    let mut client = Raw::open(server.mock, "/ws");
    for number in 0..100 {
        client.run(&format!("send text {number}\nexpect text {number}"));
    }
    journalled(&server, &id, 200);
    server.kill9();
    let again = server.again();
    let recording = again.recording(&id);
    assert_eq!((&recording["status"], &recording["stats"]["frameCount"]), (&json!("incomplete"), &json!(200)));
    assert!(!text(&recording["statusReason"]).is_empty());
    let frames = recording["websocket"]["frames"].as_array().unwrap();
    let texts: Vec<String> = frames.iter().map(|frame| text(&frame["data"])).collect();
    assert_eq!(texts, (0..100).flat_map(|number| [number.to_string(), number.to_string()]).collect::<Vec<_>>());
    let page = again.get("/stream-recordings?status=incomplete");
    assert_eq!((&page["total"], &page["recordings"][0]["frameCount"]), (&json!(1), &json!(200)));
}

/// A place with so many journals that nobody writes.
fn place_of_a_crash(journals: usize) -> Place {
    let place = Place::new();
    for _ in 0..journals {
        let id = ws("/ws").s2c(0, "one").s2c(1000, "two").save(&place.data_dir());
        let path = place.data_dir().join(format!("rec_{id}.json"));
        let whole = std::fs::read_to_string(&path).unwrap();
        let tail = whole.find("\n],").expect("a tail line") + 1;
        std::fs::remove_file(path).unwrap();
        put(&place.data_dir(), &format!("rec_{id}.journal"), &whole.as_bytes()[..tail]);
    }
    place
}

/// Who starts a server again, and hears that it is ready, looks for the file. A disk that is too slow for that keeps no server from its
/// start, so a busy machine gets three tries.
#[test]
fn a_server_that_says_it_is_ready_has_made_recordings_of_what_a_crash_left() {
    let left = |place: &Place| {
        let server = Server::builder().place(place).start();
        let names = std::fs::read_dir(place.data_dir()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let left: Vec<String> = names.filter(|name| name.ends_with(".journal")).collect();
        assert_eq!(server.get("/stream-recordings?status=incomplete")["total"], 20);
        left
    };
    assert!((0..3).map(|_| left(&place_of_a_crash(20))).any(|left| left.is_empty()));
}

/// Trap: a leftover whose recovery takes its time, or hangs; here another process keeps the directory's lock.
#[test]
fn a_recovery_that_hangs_keeps_no_server_from_being_ready() {
    let place = place_of_a_crash(1);
    put(&place.data_dir().join(".index"), "lock", b"");
    let lock = std::fs::File::open(place.data_dir().join(".index/lock")).unwrap();
    lock.lock().unwrap();
    let server = Server::builder().place(&place).start();
    eventually("that it is said", || server.log().contains("still being recovered").then_some(()));
    drop(lock);
    assert_eq!(server.get("/stream-recordings?status=incomplete")["total"], 1);
}

#[test]
fn a_command_recovers_what_a_crash_left() {
    let upstream = Upstream::echo();
    let mut server = Server::before(&upstream);
    let id = server.record("websocket", "/ws");
    let mut client = Raw::open(server.mock, "/ws");
    client.run("send text hi\nexpect text hi");
    journalled(&server, &id, 2);
    server.kill9();
    let page = server.place.run(&["stream-recordings", "list", "--json"]).json();
    assert_eq!((&page["recordings"][0]["id"], &page["recordings"][0]["status"]), (&json!(id), &json!("incomplete")));
}

#[test]
fn a_torn_last_line_is_dropped() {
    let upstream = Upstream::echo();
    let mut server = Server::before(&upstream);
    let id = server.record("websocket", "/ws");
    let mut client = Raw::open(server.mock, "/ws");
    client.run("send text one\nexpect text one");
    let journal = journalled(&server, &id, 2);
    server.kill9();
    let file = format!("rec_{id}.journal");
    put(&server.place.data_dir(), &file, &[journal.as_bytes(), b",{\"direction\":\"s2c\",\"type\":\"te"].concat());
    let recording = server.again().recording(&id);
    assert_eq!((&recording["status"], &recording["stats"]["frameCount"]), (&json!("incomplete"), &json!(2)));
    assert!(!server.place.data_dir().join(file).exists(), "the journal has become a recording");
}

#[test]
fn every_cut_of_a_journal_can_be_recovered() {
    let upstream = Upstream::echo();
    let mut server = Server::before(&upstream);
    let id = server.record("websocket", "/ws");
    let mut client = Raw::open(server.mock, "/ws");
    client.run("send text é\nexpect text é\nsend binary 00ff\nexpect binary 00ff");
    let journal = journalled(&server, &id, 4);
    server.kill9();
    let head = journal.find('\n').expect("a head line") + 1;
    for cut in (head..journal.len()).step_by(7) {
        let place = crate::support::server::Place::new();
        put(&place.data_dir(), &format!("rec_{id}.journal"), &journal.as_bytes()[..cut]);
        let whole = journal.as_bytes()[head..cut].iter().filter(|byte| **byte == b'\n').count();
        let recording = place.run(&["stream-recordings", "show", &id, "--json"]).json();
        assert_eq!(recording["status"], "incomplete", "cut at {cut}");
        let frames = recording["websocket"]["frames"].as_array().unwrap().len();
        // A line that lacks nothing but its line feed may be kept.
        assert!(frames == whole || frames == whole + 1, "cut at {cut}: {frames} of {whole}");
    }
}

/// Trap: a `list` in another process that "recovers" the journal of a running server.
#[test]
fn a_list_in_another_process_leaves_a_running_journal_alone() {
    let upstream = Upstream::echo();
    let server = Server::before(&upstream);
    let id = server.record("websocket", "/ws");
    let mut client = Raw::open(server.mock, "/ws");
    client.run("send text one\nexpect text one");
    journalled(&server, &id, 2);
    let page = server.place.run(&["stream-recordings", "list", "--json"]).json();
    assert_eq!(page["recordings"][0]["status"], "recording");
    let shown = server.place.run(&["stream-recordings", "show", &id, "--json"]).json();
    assert_eq!((&shown["status"], shown["websocket"]["frames"].as_array().unwrap().len()), (&json!("recording"), 2));
    client.run("send text two\nexpect text two\nsend close 1000\nexpect close 1000");
    let recording = server.finished(&id);
    assert_eq!((&recording["status"], &recording["stats"]["frameCount"]), (&json!("complete"), &json!(4)));
}

#[test]
fn a_second_server_on_the_directory_leaves_a_running_journal_alone() {
    let upstream = Upstream::echo();
    let server = Server::before(&upstream);
    let id = server.record("websocket", "/ws");
    let mut client = Raw::open(server.mock, "/ws");
    client.run("send text one\nexpect text one");
    let second = Server::builder().place(&server.place).start();
    assert_eq!(
        eventually("it in the list", || Some(second.get("/stream-recordings")).filter(|page| page["total"] == 1))["recordings"][0]["status"],
        "recording"
    );
    client.run("send text two\nexpect text two");
    assert_eq!(server.stop(&id)["recording"]["frameCount"], 4);
    assert_eq!(second.recording(&id)["status"], "complete");
}

fn ends_with(signal: &str) {
    let upstream = Upstream::http(|head, mut conn| {
        if head.field("upgrade").is_some() {
            Raw::accept(conn, head, None).rest();
        } else {
            conn.send(EVENT_STREAM);
            conn.send_chunk("data: x\n\n");
            conn.read_to_end();
        }
    });
    let mut server = Server::before(&upstream);
    let (chat, events) = (server.record("websocket", "/ws"), server.record("sse", "/events"));
    let mut client = Raw::open(server.mock, "/ws");
    client.run("send text hi");
    let mut stream = Stream::open(server.mock, "/events", &[]);
    stream.expect("data: x\n\n");
    server.signal(signal);
    let got = client.rest();
    assert!(got.len() == 1 && got[0].starts_with("close 1001"), "{got:?}");
    assert_eq!(stream.rest_text(), "");
    assert!(server.exit().success());
    for (id, pointer, frames) in [(chat, "/websocket/closedBy", 1), (events, "/sse/endedBy", 1)] {
        let recording: Value = server.place.run(&["stream-recordings", "show", &id, "--json"]).json();
        assert_eq!((&recording["status"], recording.pointer(pointer)), (&json!("complete"), Some(&json!("recorder"))));
        assert_eq!(recording["stats"]["frameCount"], frames);
    }
}

#[test]
fn sigterm_ends_the_streams_and_completes_the_recordings() {
    ends_with("TERM");
}

#[test]
fn sigint_does_so_too() {
    ends_with("INT");
}

#[test]
fn a_file_that_cannot_be_parsed_is_listed_and_never_deleted() {
    let server = Server::start();
    let id = mockd::base::id::new();
    put(&server.place.data_dir(), &format!("rec_{id}.json"), b"{\"formatVersion\": \"1.0\", this is torn");
    let page = server.get("/stream-recordings");
    assert_eq!((&page["recordings"][0]["id"], &page["recordings"][0]["status"]), (&json!(id), &json!("corrupted")));
    server.touch("/stream-recordings/vacuum").expect(200);
    let listed = server.run(&["stream-recordings", "list", "--status", "corrupted", "--json"]).json();
    assert_eq!(listed["total"], 1);
    assert!(server.place.data_dir().join(format!("rec_{id}.json")).exists());
}

#[test]
fn a_recording_rewritten_by_an_editor_is_read_all_the_same() {
    let server = Server::start();
    let made = crate::support::recordings::ws("/ws").s2c(1000, "one").c2s(2000, "two").close("server", 3000, 1000, "");
    let id = made.save_pretty(&server.place.data_dir());
    let recording = server.recording(&id);
    assert_eq!(recording["websocket"]["frames"].as_array().unwrap().len(), 3);
    assert_eq!(server.get("/stream-recordings")["recordings"][0]["frameCount"], 2);
}

#[test]
fn the_disk_never_slows_traffic_without_a_directory() {
    let upstream = Upstream::echo();
    let place = crate::support::server::Place::new();
    // A file stands where the directory should be: nothing can be recorded, everything is served.
    std::fs::write(place.home().join("data"), "no directory").unwrap();
    let server = Server::builder().place(&place).upstream(upstream.url()).start();
    let answer = server.post("/stream-recordings/start", &json!({"protocol": "websocket", "path": "/ws"}));
    answer.expect_error(500, "storage_error", &["--data-dir"]);
    Raw::open(server.mock, "/ws").run("send text served\nexpect text served");
}
