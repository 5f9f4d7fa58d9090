//! The data directory goes away while the server runs: removed, moved, or something else in its place.

use serde_json::json;

use super::{Traffic, comes_to_say, frames, record, records_again, serve, told_once, upstream};
use crate::support::disk_layer::Disk;
use crate::support::recordings::ws;

fn with_traffic(act: impl FnOnce(&Disk, &crate::support::Server, &mut Traffic, &[String; 2])) {
    let Some(disk) = Disk::breakable() else { return };
    let (upstream, tick) = upstream();
    let server = serve(&disk, &upstream);
    let ids = record(&server);
    let mut traffic = Traffic::open(&server, tick);
    traffic.flow(3);
    crate::support::wait::eventually("frames on the disk", || server.recording_so_far(&ids[0]).filter(|recording| frames(recording) >= 6));
    act(&disk, &server, &mut traffic, &ids);
    records_again(&server);
    traffic.flow(2);
    assert!(!server.log().contains("panicked"), "{}", server.log());
}

#[test]
fn a_recording_whose_directory_was_removed_is_written_anew() {
    with_traffic(|disk, server, traffic, ids| {
        std::fs::remove_dir_all(disk.place.data_dir()).unwrap();
        traffic.flow(5);
        let stopped = server.stop(&ids[0]);
        assert_eq!((&stopped["recording"]["status"], &stopped["recording"]["frameCount"]), (&json!("complete"), &json!(16)));
        assert_eq!(stopped["recordings"].as_array().unwrap().len(), 2);
        assert_eq!(frames(&server.recording(&ids[0])), 16, "every frame, those of before as well");
        told_once(server, &format!("{}.journal has been removed", ids[0]));
    });
}

#[test]
fn a_directory_that_was_moved_away_takes_nothing_with_it() {
    with_traffic(|disk, server, traffic, ids| {
        let earlier = ws("/earlier").s2c(0, "kept").save(&disk.place.data_dir());
        let moved = disk.place.home().join("moved");
        std::fs::rename(disk.place.data_dir(), &moved).unwrap();
        traffic.flow(5);
        assert_eq!(server.stop(&ids[0])["recording"]["frameCount"], 16);
        let there = disk.place.run(&["sr", "list", "--json", "--data-dir", &moved.display().to_string()]).json();
        let kept = there["recordings"].as_array().unwrap().iter().find(|summary| summary["id"] == *earlier);
        assert_eq!(kept.map(|summary| &summary["status"]), Some(&json!("complete")), "{there}");
    });
}

#[test]
fn a_file_in_the_place_of_the_directory_is_told_of_and_ends_no_traffic() {
    with_traffic(|disk, server, traffic, ids| {
        let dir = disk.place.data_dir();
        std::fs::remove_dir_all(&dir).unwrap();
        std::fs::write(&dir, "no directory").unwrap();
        traffic.flow(5);
        server.touch(&format!("/stream-recordings/{}/stop", ids[0])).expect_error(500, "storage_error", &["data", "--data-dir"]);
        let refused = server.post("/stream-recordings/start", &json!({"protocol": "websocket", "path": "/more"}));
        refused.expect_error(500, "storage_error", &["--data-dir"]);
        traffic.flow(5);
        std::fs::remove_file(&dir).unwrap();
        let stopped = server.stop(&ids[1]);
        assert_eq!((&stopped["recording"]["status"], &stopped["recording"]["frameCount"]), (&json!("complete"), &json!(13)));
        comes_to_say(server, &ids[1], "complete", serde_json::Value::Null);
    });
}
