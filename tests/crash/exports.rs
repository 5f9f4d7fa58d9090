//! Rounds of commands that write a file with `-o`: the file is what it was, or what it should be, and nothing else stays.

use std::process::Stdio;
use std::time::Duration;

use super::{Scene, moment};
use crate::support::recordings::ws;

/// Kills in the middle of an export, and of a conversion.
pub fn export(scene: &mut Scene) {
    let made = (0..400).fold(ws("/large"), |made, frame| made.s2c(frame * 1000, &"text ".repeat(100)));
    let id = made.close("server", 1_000_000, 1000, "").save(&scene.place.data_dir());
    let folder = scene.place.home().join("out");
    std::fs::create_dir_all(&folder).expect("a folder");
    let verbs: [&[&str]; 3] = [&["export", "--format", "har"], &["export"], &["convert"]];
    let verb = *scene.dice.pick(&verbs);
    let args = [&["sr"], verb, &[id.as_str(), "-o", "out/file.json"]].concat();
    let file = folder.join("file.json");
    std::fs::write(&file, "what was there before").expect("a file");
    let mut left = Vec::new();
    for _ in 0..2 {
        let limit = scene.moment(120);
        let mut child = scene.place.command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("mockd can be started");
        moment::wait(limit.max(Duration::from_millis(2)));
        // It may have ended by itself.
        drop(child.kill());
        child.wait().expect("a child");
        left.push(std::fs::read(&file).expect("a file that is there all the time"));
    }
    scene.place.run(&args).expect(0);
    let right = std::fs::read(&file).expect("the file");
    for bytes in left {
        assert!(bytes == right || bytes == b"what was there before", "the file is half of what it should be");
        if bytes == right { scene.figures.done += 1 } else { scene.figures.undone += 1 }
    }
    let names: Vec<_> = std::fs::read_dir(&folder).expect("a folder").map(|entry| entry.expect("an entry").file_name()).collect();
    assert_eq!(names, ["file.json"], "the last one takes away what those before had left");
}
