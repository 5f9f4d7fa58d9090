//! Disks that take their time, or never answer: traffic flows, calls that need no disk are answered, and the server ends when it is told.

use serde_json::json;

use super::{Traffic, complaints, frames, record, records_again, serve, upstream};
use crate::support::disk_layer::Disk;
use crate::support::effort::rounds;
use crate::support::http;
use crate::support::server::text;
use crate::support::wait::eventually;

#[test]
fn a_disk_that_never_answers_stops_no_traffic_and_loses_nothing_once_it_does() {
    for calls in ["fsync", "write", "*"] {
        let Some(disk) = Disk::breakable() else { return };
        let (upstream, tick) = upstream();
        let server = serve(&disk, &upstream);
        let ids = record(&server);
        let mut traffic = Traffic::open(&server, tick);
        traffic.flow(3);
        disk.fail(calls, "hang", "/data");
        traffic.flow(20);
        let (sender, stopped) = std::sync::mpsc::channel();
        let (admin, id) = (server.admin, ids[0].clone());
        std::thread::spawn(move || {
            // The test may have failed meanwhile.
            drop(sender.send(http::ask(admin, "POST", &format!("/stream-recordings/{id}/stop"), &[], b"")));
        });
        eventually("the stop to be under way", || {
            (server.get("/stream-recordings/sessions")["sessions"].as_array().map(Vec::len) == Some(1)).then_some(())
        });
        traffic.flow(20);
        server.get("/health");
        assert!(stopped.try_recv().is_err(), "{calls}: a stop answers when the recording is on the disk");
        disk.mend();
        let stopped = crate::support::wait::next("the answer to stop", &stopped).expect(200).json();
        assert_eq!((&stopped["recording"]["status"], &stopped["recording"]["frameCount"]), (&json!("complete"), &json!(46)), "{calls}");
        records_again(&server);
        traffic.tell(&format!("{calls} that hangs"));
    }
}

/// What a disk that hangs leaves unwritten has a bound in memory; the traffic has none.
#[test]
fn a_disk_that_hangs_for_too_long_ends_the_recording_as_overrun_and_no_traffic() {
    const MESSAGE: usize = 8 << 20;
    let messages = rounds(0, 12) as usize;
    let Some(disk) = Disk::breakable().filter(|_| messages > 0) else { return };
    let upstream = crate::support::Upstream::websocket(None, move |mut raw| {
        let bytes = crate::support::ws::frame(0x82, None, &vec![b'x'; MESSAGE]);
        while raw.try_frame().is_some() {
            raw.conn.send(&bytes);
        }
    });
    let server = serve(&disk, &upstream);
    let id = server.record("websocket", "/ws");
    let mut client = crate::support::ws::Raw::open(server.mock, "/ws");
    client.send(1, "first");
    client.conn.try_exact(MESSAGE + 10).expect("a message");
    disk.fail("write", "hang", "/data");
    for number in 1..messages {
        client.send(1, format!("message {number}"));
        client.conn.try_exact(MESSAGE + 10).unwrap_or_else(|| panic!("message {number}"));
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", server.pid)).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap().trim().to_owned();
    let peak_kib: u64 = peak.trim_end_matches(" kB").parse().unwrap();
    assert!(peak_kib < 400 * 1024, "{peak}");
    disk.mend();
    // The whole of it would take its time at each look; its line in the list does not.
    let patience = std::time::Instant::now() + 6 * crate::support::wait::DEADLINE;
    let summary = loop {
        let listed = server.get("/stream-recordings?status=incomplete");
        if listed["total"] == 1 {
            break listed["recordings"][0].clone();
        }
        assert!(std::time::Instant::now() < patience, "64 MiB are not written in a minute: {}", server.get("/stream-recordings"));
    };
    assert_eq!((&summary["id"], &summary["statusReason"]), (&json!(id), &json!("recorder_overrun")));
    super::told_once(&server, "recorder_overrun");
    let recorded = summary["frameCount"].as_u64().unwrap();
    assert!(recorded < 2 * messages as u64, "{recorded}");
    println!("a disk that hangs: {messages} messages of 8 MiB passed, {recorded} frames recorded, peak memory {peak}");
    records_again_elsewhere(&server);
}

/// As `records_again`, with an upstream that does not echo.
fn records_again_elsewhere(server: &crate::support::Server) {
    let id = server.record("websocket", "/nobody");
    assert_eq!(server.stop(&id)["recording"]["status"], "complete");
}

/// A disk that is as slow as a network's: what is promised takes its time, what is not does not.
#[test]
fn a_slow_disk_slows_what_waits_for_it_and_nothing_else() {
    let Some(disk) = Disk::breakable() else { return };
    let (upstream, tick) = upstream();
    let server = serve(&disk, &upstream);
    disk.fail("fsync", &format!("slow:{}", rounds(300, 3000)), "rec_");
    let ids = record(&server);
    let mut traffic = Traffic::open(&server, tick);
    traffic.flow(50);
    let stopped = server.stop(&ids[0]);
    assert_eq!((&stopped["recording"]["status"], &stopped["recording"]["frameCount"]), (&json!("complete"), &json!(100)));
    traffic.flow(10);
    assert_eq!(complaints(&server, ""), Vec::<String>::new());
    traffic.tell("slow disk");
}

/// SPEC 2: a signal ends streams and finishes recordings; a disk that hangs keeps nobody from either.
fn ends_though_these_hang(calls: &str) {
    let Some(disk) = Disk::breakable() else { return };
    let (upstream, tick) = upstream();
    let mut server = serve(&disk, &upstream);
    let ids = record(&server);
    let waiting = server.record("websocket", "/nobody");
    let mut traffic = Traffic::open(&server, tick);
    traffic.flow(5);
    eventually("ten frames on the disk", || server.recording_so_far(&ids[0]).filter(|recording| frames(recording) >= 10));
    disk.fail(calls, "hang", "/data");
    server.signal("TERM");
    let last: Vec<String> = traffic.sockets.iter_mut().flat_map(|socket| socket.rest()).collect();
    assert!(last.len() == 2 && last.iter().all(|words| words.starts_with("close 1001")), "{last:?}");
    server.exit();
    disk.mend();
    eventually("a word about it", || server.log().contains("not on disk yet").then_some(()));
    let listed = disk.place.run(&["sr", "list", "--json"]).json();
    let of = |id: &str| listed["recordings"].as_array().unwrap().iter().find(|summary| summary["id"] == *id).cloned();
    let recording = of(&ids[0]).unwrap_or_else(|| panic!("{calls}: {listed}"));
    assert_eq!(recording["frameCount"], 10, "{calls}");
    // A disk that took the tail, and hung at its fsync only, has it whole.
    let status = if calls == "fsync" { "complete" } else { "incomplete" };
    assert_eq!(text(&recording["status"]), status, "{calls}: {}", server.log());
    assert!(of(&waiting).is_none_or(|summary| summary["frameCount"] == 0), "{listed}");
}

#[test]
fn a_disk_that_hangs_keeps_no_server_from_ending() {
    ends_though_these_hang("*");
}

#[test]
fn recordings_that_wait_for_their_fsync_when_the_server_ends_are_complete_at_the_next_start() {
    ends_though_these_hang("fsync");
}
