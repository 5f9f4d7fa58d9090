//! Rounds of `mockd start`: killed at any moment, it and its server leave nothing that the next one stumbles over.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::{Scene, moment};
use crate::support::server::Place;
use crate::support::wait::eventually;

/// The processes of a place, whoever started them: those that have its home in their environment. One that is at its exec(2) has no
/// environment for a moment; that is in the directory of who started it.
fn processes(place: &Place) -> Vec<u32> {
    let mark = format!("HOME={}\0", place.home().display());
    let numbers = std::fs::read_dir("/proc").expect("/proc").flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let is_ours = |pid: &u32| {
        let read = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let is_there = || std::fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|directory| directory == place.home());
        read.windows(mark.len()).any(|window| window == mark.as_bytes()) || is_there()
    };
    numbers.filter(is_ours).collect()
}

fn kill(pid: u32) {
    // It may have ended by itself.
    drop(Command::new("kill").args(["-KILL", &pid.to_string()]).stderr(Stdio::null()).status());
}

/// Whatever happens to the test, no server of it is left.
struct Ending<'a>(&'a Place);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        processes(self.0).into_iter().for_each(kill);
    }
}

/// Kills `start` and its server.
pub fn start(scene: &mut Scene) {
    let place = Place::new();
    let _ending = Ending(&place);
    let args = ["start", "--port", "0", "--admin-port", "0"];
    for _ in 0..2 {
        let limit = scene.moment(120);
        let mut child = place.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("mockd can be started");
        moment::wait(limit.max(Duration::from_millis(1)));
        // `start` first, its server after some more time, or both at once.
        drop(child.kill());
        child.wait().expect("a child");
        let more = scene.moment(40);
        moment::wait(more);
        eventually("the end of its server", || {
            let left = processes(&place);
            left.iter().for_each(|pid| kill(*pid));
            left.is_empty().then_some(())
        });
    }
    // A killed process gives its locks back when its environment and its directory are gone already.
    eventually("no server to run", || (place.run(&["status"]).code == 1).then_some(()));
    let ready = place.run(&[&args[..], &["--json"]].concat()).json();
    let status = place.run(&["status", "--json"]).json();
    assert_eq!((&status["pid"], &status["admin"]), (&ready["pid"], &ready["admin"]));
    let run_dir = place.data_dir().join(".run");
    let names = || {
        let entries = std::fs::read_dir(&run_dir).expect("the directory of pid files").flatten();
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    assert!(!names().iter().any(|name| name.ends_with(".tmp")), "{:?}", names());
    place.run(&["stop"]).expect(0);
    assert!(!names().iter().any(|name| name.ends_with(".json")), "{:?}", names());
    scene.figures.done += 1;
}
