//! Disks that are full, read-only, broken, slow or gone: traffic never notices, and everybody is told once.
//!
//! Each test has the real server on a disk of its own (`support/disk_layer.rs`), with clients whose messages go on while the disk is in
//! trouble.

use std::path::Path;
use std::process::Command;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::disk_layer::{CHANGES, Disk, EACCES, EIO, ENOSPC, EROFS};
use crate::support::recordings::ws;
use crate::support::server::{Builder, text};
use crate::support::sse::Stream;
use crate::support::upstream::{EVENT_STREAM, gate};
use crate::support::wait::eventually;
use crate::support::ws::{CLOSE, Raw};
use crate::support::{Server, Upstream};

mod gone;
mod slow;
mod sweep;

/// An upstream that echoes WebSocket messages, and sends an event each time it is told to.
fn upstream() -> (Upstream, Sender<()>) {
    let (tick, ticks) = gate();
    let upstream = Upstream::http(move |head, mut conn| {
        if head.field("upgrade").is_none() {
            conn.send(EVENT_STREAM);
            while ticks.wait() {
                conn.send_chunk("data: tick\n\n");
            }
            return;
        }
        let mut socket = Raw::accept(conn, head, None);
        while let Some(frame) = socket.try_frame() {
            socket.send(frame.opcode(), &frame.payload);
            if frame.opcode() == CLOSE {
                return;
            }
        }
    });
    (upstream, tick)
}

/// Clients that are being recorded: two WebSockets of one session, and an event stream.
struct Traffic {
    sockets: Vec<Raw>,
    events: Stream,
    tick: Sender<()>,
    trips: u64,
    worst: Duration,
}

impl Traffic {
    #[track_caller]
    fn open(server: &Server, tick: Sender<()>) -> Self {
        let sockets = (0..2).map(|_| Raw::open(server.mock, "/ws")).collect();
        Self { sockets, events: Stream::open(server.mock, "/events", &[]), tick, trips: 0, worst: Duration::ZERO }
    }

    /// So many messages on each connection, there and back. A relay that waits for the disk does not get to the end of it.
    #[track_caller]
    fn flow(&mut self, rounds: usize) {
        for round in 0..rounds {
            for socket in &mut self.sockets {
                let begun = Instant::now();
                socket.run(&format!("send text {round}\nexpect text {round}"));
                self.worst = self.worst.max(begun.elapsed());
                self.trips += 1;
            }
            self.tick.send(()).expect("the upstream stands");
            self.events.expect("data: tick\n\n");
        }
    }

    fn tell(&self, test: &str) {
        println!("{test}: {} round trips in trouble, the slowest {:?}", self.trips, self.worst);
    }
}

/// A server on this disk before this upstream.
fn serve(disk: &Disk, upstream: &Upstream) -> Server {
    Builder::default().place(&disk.place).upstream(upstream.url()).start()
}

/// Both sessions that [`Traffic`] is recorded by.
fn record(server: &Server) -> [String; 2] {
    [server.record("websocket", "/ws"), server.record("sse", "/events")]
}

/// Lines of the log that tell of a warning or an error and have this in them.
fn complaints(server: &Server, about: &str) -> Vec<String> {
    let log = server.log();
    assert!(!log.contains("panicked"), "{log}");
    let loud = log.lines().filter(|line| (line.contains(" WARN ") || line.contains(" ERROR ")) && line.contains(about));
    loud.map(str::to_owned).collect()
}

/// The log tells of this, and once.
#[track_caller]
fn told_once(server: &Server, about: &str) {
    let told = eventually(about, || Some(complaints(server, about)).filter(|told| !told.is_empty()));
    assert_eq!(told.len(), 1, "{}", server.log());
}

/// A recording that begins and ends now is complete: the disk is well, and the server needs no restart.
#[track_caller]
fn records_again(server: &Server) {
    let id = server.record("websocket", "/again");
    Raw::open(server.mock, "/again").run("send text again\nexpect text again");
    let stopped = server.stop(&id);
    assert_eq!((&stopped["recording"]["status"], &stopped["recording"]["frameCount"]), (&json!("complete"), &json!(2)), "{stopped}");
}

/// The status and the reason that a recording comes to have.
#[track_caller]
fn comes_to_say(server: &Server, id: &str, status: &str, reason: Value) -> Value {
    eventually(&format!("{id} to be {status} ({reason})"), || {
        let recording = server.recording_so_far(id)?;
        (recording["status"] == status && recording["statusReason"] == reason).then_some(recording)
    })
}

fn frames(recording: &Value) -> usize {
    let list = if recording["protocol"] == "sse" { &recording["sse"]["events"] } else { &recording["websocket"]["frames"] };
    list.as_array().expect("frames").len()
}

/// On a real full disk what is open keeps the room that it has reserved, and nothing new gets any.
const GROWTH: &str = "create,fallocate,mkdir";

#[test]
fn a_full_disk_ends_recordings_as_storage_full_and_no_traffic() {
    let Some(disk) = Disk::breakable() else { return };
    let earlier = ws("/earlier").s2c(0, "kept").save(&disk.place.data_dir());
    let (upstream, tick) = upstream();
    let server = serve(&disk, &upstream);
    let ids = record(&server);
    let waiting = server.record("websocket", "/nobody");
    let mut traffic = Traffic::open(&server, tick);
    traffic.flow(3);
    eventually("six frames on the disk", || server.recording_so_far(&ids[0]).filter(|recording| frames(recording) >= 6));
    disk.fail(GROWTH, ENOSPC, "/data");
    // What was reserved before may still be used; then every recording ends.
    traffic.sockets[0].run(&format!("send text {0}\nexpect text {0}", "x".repeat(60_000)));
    traffic.sockets[1].run(&format!("send text {0}\nexpect text {0}", "x".repeat(60_000)));
    let recording = comes_to_say(&server, &ids[0], "incomplete", json!("storage_full"));
    assert!(frames(&recording) >= 6, "what had passed before is kept");
    traffic.flow(20);
    let stopped = server.stop(&ids[0]);
    assert_eq!((&stopped["recording"]["statusReason"], stopped["recordings"].as_array().unwrap().len()), (&json!("storage_full"), 2));
    told_once(&server, &ids[0]);
    let refused = server.post("/stream-recordings/start", &json!({"protocol": "websocket", "path": "/more"}));
    refused.expect_error(507, "storage_full", &["full", "free some space"]);
    server.touch(&format!("/stream-recordings/{waiting}/stop")).expect_error(507, "storage_full", &["full"]);
    server.get("/stream-recordings/stats");
    assert_eq!(server.recording(&earlier)["status"], "complete");
    disk.mend();
    records_again(&server);
    traffic.flow(2);
    server.stop(&ids[1]);
    traffic.tell("full disk");
}

/// What is wrong, with which calls, and what a recording that is under way then comes to say once the disk is well.
const TROUBLES: &[(&str, &str, &str)] = &[
    (CHANGES, EIO, "storage_error"),
    (CHANGES, EROFS, "storage_error"),
    (CHANGES, EACCES, "storage_error"),
    (CHANGES, ENOSPC, "storage_full"),
    ("write", EIO, "storage_error"),
    ("fallocate", EIO, "storage_error"),
];

/// Trap: the tail, which says what happened, cannot be written either while the disk is in trouble.
#[test]
fn a_recording_that_a_broken_disk_cut_short_says_so_once_the_disk_is_well() {
    for (calls, errno, reason) in TROUBLES {
        let Some(disk) = Disk::breakable() else { return };
        let earlier = ws("/earlier").s2c(0, "kept").save(&disk.place.data_dir());
        let (upstream, tick) = upstream();
        let mut server = serve(&disk, &upstream);
        let ids = record(&server);
        let mut traffic = Traffic::open(&server, tick);
        traffic.flow(3);
        eventually("six frames on the disk", || server.recording_so_far(&ids[0]).filter(|recording| frames(recording) >= 6));
        disk.fail(calls, errno, "/data");
        traffic.sockets[0].run(&format!("send text {0}\nexpect text {0}", "x".repeat(60_000)));
        eventually("the end of the recording", || (!complaints(&server, &ids[0]).is_empty()).then_some(()));
        traffic.flow(10);
        let stopped = server.touch(&format!("/stream-recordings/{}/stop", ids[0]));
        assert!(matches!(stopped.status(), 200 | 500 | 507), "{calls} {errno}: {}", stopped.text());
        let listed = server.get("/stream-recordings");
        assert!(listed["total"].as_u64().is_some_and(|total| total >= 2), "{listed}");
        disk.mend();
        let recording = comes_to_say(&server, &ids[0], "incomplete", json!(reason));
        assert!(frames(&recording) >= 6, "{calls} {errno}: what had passed before is kept");
        records_again(&server);
        traffic.flow(2);
        // It is told of when it ends and when it can't be finished, and not again.
        assert!(complaints(&server, &ids[0]).len() <= 2, "{}", server.log());
        assert_eq!(server.recording(&earlier)["status"], "complete");
        traffic.tell(&format!("{calls} with errno {errno}"));
        drop(traffic);
        assert!(server.terminate().success());
    }
}

/// What a stop answers when the end cannot be made to last, and what the recording is afterwards.
#[test]
fn a_stop_that_the_disk_fails_is_an_error_and_the_recording_is_finished_later() {
    for (call, status, reason) in [("fsync", "incomplete", json!("storage_error")), ("rename", "complete", Value::Null)] {
        let Some(disk) = Disk::breakable() else { return };
        let (upstream, tick) = upstream();
        let server = serve(&disk, &upstream);
        let ids = record(&server);
        let mut traffic = Traffic::open(&server, tick);
        traffic.flow(5);
        disk.fail(call, EIO, &format!("rec_{}", ids[0]));
        let first = server.get("/stream-recordings/sessions")["sessions"].clone();
        assert_eq!(first.as_array().map(Vec::len), Some(2));
        // The session's second recording is well; the first is told as what it is.
        let stopped = server.stop(&ids[0])["recordings"].clone();
        let said: Vec<[&Value; 2]> = stopped.as_array().unwrap().iter().map(|one| [&one["status"], &one["statusReason"]]).collect();
        assert_eq!(said, [[&json!("incomplete"), &json!("storage_error")], [&json!("complete"), &Value::Null]]);
        told_once(&server, &ids[0]);
        disk.fail(call, EIO, &format!("rec_{}", ids[1]));
        server.touch(&format!("/stream-recordings/{}/stop", ids[1])).expect_error(500, "storage_error", &["rec_"]);
        traffic.flow(5);
        disk.mend();
        for id in &ids {
            let recording = comes_to_say(&server, id, status, reason.clone());
            assert_eq!(frames(&recording), if recording["protocol"] == "sse" { 5 } else { 10 }, "{call}: every frame is there");
        }
        records_again(&server);
    }
}

#[test]
fn a_read_only_directory_is_told_of_once_and_not_for_each_client() {
    let Some(disk) = Disk::breakable() else { return };
    let (upstream, tick) = upstream();
    disk.fail(CHANGES, EROFS, "/data");
    let server = Builder::default().place(&disk.place).upstream(upstream.url()).flag("--record").start();
    let refused = server.post("/stream-recordings/start", &json!({"protocol": "websocket", "path": "/ws"}));
    refused.expect_error(500, "storage_error", &["--data-dir"]);
    let mut traffic = Traffic::open(&server, tick);
    traffic.flow(5);
    for _ in 0..10 {
        Raw::open(server.mock, "/ws").run("send text x\nexpect text x");
    }
    // One attempt of `start`, and one for each of thirteen clients.
    let attempts = || disk.hits().iter().filter(|hit| hit.contains(" mkdir ")).count();
    eventually("every client to be refused", || (attempts() == 14).then_some(()));
    let told = eventually("a line about it", || Some(complaints(&server, "could not be begun")).filter(|lines| !lines.is_empty()));
    assert!(told[0].contains("--data-dir"), "{told:?}");
    disk.mend();
    let mut client = Raw::open(server.mock, "/well");
    client.run("send text x\nexpect text x");
    client.close(1000, "");
    let listed = eventually("a recording", || Some(server.get("/stream-recordings?status=complete")).filter(|page| page["total"] != 0));
    assert_eq!(listed["recordings"][0]["path"], "/well");
    assert_eq!(complaints(&server, "could not be begun").len(), 1, "{}", server.log());
    let again = "recordings can be begun again; since the last line about it 12 more could not";
    eventually(again, || server.log().contains(again).then_some(()));
}

/// Trap: a follower that asks again and again, on a core of its own, for a file that never comes.
#[test]
fn a_follower_of_a_session_whose_first_file_was_refused_is_told_the_end() {
    let Some(disk) = Disk::breakable() else { return };
    let (upstream, _tick) = upstream();
    let server = serve(&disk, &upstream);
    let id = server.record("websocket", "/ws");
    let path = format!("/stream-recordings/{id}");
    let mut follower = Stream::open(server.admin, &format!("{path}/frames?follow=true"), &[]);
    disk.fail(GROWTH, ENOSPC, "/data");
    let mut client = Raw::open(server.mock, "/ws");
    client.run("send text x\nexpect text x");
    assert_eq!(follower.rest_text(), "");
    for call in ["", "/frames", "/frames?follow=true"] {
        server.call("GET", &format!("{path}{call}"), &Value::Null).expect_error(404, "not_found", &[&id]);
    }
    assert_eq!(server.get("/stream-recordings")["total"], 0);
    disk.mend();
    client.run("send text y\nexpect text y");
}

#[test]
fn a_file_that_could_not_be_read_is_read_again() {
    let Some(disk) = Disk::breakable() else { return };
    let id = ws("/ws").s2c(0, "x").save(&disk.place.data_dir());
    // A stamp that is old enough to be believed.
    let path = disk.place.data_dir().join(format!("rec_{id}.json"));
    let old = std::time::SystemTime::now() - Duration::from_secs(3600);
    std::fs::File::open(&path).and_then(|file| file.set_modified(old)).unwrap();
    let server = Server::builder().place(&disk.place).start();
    disk.fail("open,read", EIO, &format!("rec_{id}"));
    let listed = server.get("/stream-recordings");
    let summary = &listed["recordings"][0];
    assert_eq!(summary["status"], "corrupted", "{listed}");
    assert!(text(&summary["statusReason"]).contains("Input/output error"), "{listed}");
    let by_command = disk.place.run(&["sr", "list", "--json"]).json();
    assert_eq!(by_command["recordings"][0]["status"], "corrupted");
    disk.mend();
    assert_eq!(server.get("/stream-recordings")["recordings"][0]["status"], "complete");
    assert_eq!(disk.place.run(&["sr", "list", "--json"]).json()["recordings"][0]["status"], "complete");
}

/// A file system of its own, taken away with its test.
struct Mount<'a>(&'a Path);

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        // The test is over; a mount that stays is the machine's matter.
        drop(Command::new("umount").arg("-l").arg(self.0).output());
    }
}

#[test]
fn a_real_small_disk_that_is_full_is_told_and_works_again_when_room_is_made() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=192k", "tmpfs"]).arg(dir.path()).output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        println!("skipped: no small disk can be mounted here");
        return;
    }
    let mount = Mount(dir.path());
    let (upstream, tick) = upstream();
    let server = Server::builder().upstream(upstream.url()).option("--data-dir", mount.0.join("data").display()).start();
    let ids = record(&server);
    let mut traffic = Traffic::open(&server, tick);
    traffic.flow(3);
    eventually("six frames on the disk", || server.recording_so_far(&ids[0]).filter(|recording| frames(recording) >= 6));
    for socket in &mut traffic.sockets {
        socket.run(&format!("send text {0}\nexpect text {0}", "x".repeat(250_000)));
    }
    let recording = comes_to_say(&server, &ids[0], "incomplete", json!("storage_full"));
    assert!(frames(&recording) >= 6);
    traffic.flow(10);
    // What is left of the disk goes as well.
    let filled = std::fs::write(mount.0.join("filler"), vec![0; 400_000]);
    assert!(filled.is_err());
    let answer = server.post("/stream-recordings/start", &json!({"protocol": "websocket", "path": "/more"}));
    answer.expect_error(507, "storage_full", &["full"]);
    std::fs::remove_file(mount.0.join("filler")).unwrap();
    server.stop(&ids[0]);
    records_again(&server);
    traffic.flow(2);
}

#[test]
fn a_quota_reached_in_mid_recording_ends_it_and_no_traffic() {
    let (upstream, tick) = upstream();
    let server = Server::builder().upstream(upstream.url()).option("--max-bytes", 20_000).start();
    let ids = record(&server);
    let mut traffic = Traffic::open(&server, tick);
    traffic.flow(60);
    let recording = comes_to_say(&server, &ids[0], "incomplete", json!("storage_full"));
    assert!(frames(&recording) > 10);
    traffic.flow(10);
    told_once(&server, &ids[0]);
    told_once(&server, "% of 19.5 KB used");
    assert!(text(&server.get("/stream-recordings/stats")["warning"]).contains("vacuum"));
    server.touch(&format!("/stream-recordings/{}/stop", ids[0])).expect(200);
}
