//! Rounds of `record -o` and `play --record-missing`: what passed becomes files of the project, by the run itself or by the next one.

use std::path::Path;
use std::time::Instant;

use mockd::model::recording::Recording;

use super::load::{Load, Way, talk_and_close, text};
use super::{Scene, look, moment};
use crate::support::one_shot::OneShot;
use crate::support::recordings::ws;
use crate::support::server::Place;

/// The recordings in a folder, in which nothing else is left.
#[track_caller]
fn recordings(folder: &Path) -> Vec<Recording> {
    let files = look::files(folder);
    assert!(files.keys().all(|name| name.ends_with(".json") || name.ends_with(".json.cut")), "{:?}", files.keys());
    files.iter().filter(|(name, _)| name.ends_with(".json")).map(|(name, bytes)| look::parse(name, bytes)).collect()
}

/// Kills `mockd record -o` while it records, or while it gives its files their names.
pub fn record_to_files(scene: &mut Scene) {
    let place = Place::new();
    let mut load = Load::new(1);
    let url = load.upstream.url();
    let args = ["record", url.as_str(), "-o", "out/chat.json"];
    let mut run = OneShot::with_command(&place, &args, 0);
    (0..=scene.dice.below(3)).for_each(|number| load.open_ws(run.mock, format!("/ws/{number}")));
    load.open_sse(run.mock, "/events".to_owned());
    let is_late = scene.dice.once_in(2);
    let mut passed = load.passed.clone();
    if is_late {
        load.await_all(&["/ws/0".to_owned()]);
        // The streams go on after the recordings have been ended.
        passed = passed.snapshot();
        run.end_command();
    }
    let limit = scene.moment(if is_late { 60 } else { 200 });
    let machine = moment::wait_to_kill(run.pid, limit);
    let killed = Instant::now();
    run.signal("KILL");
    let output = run.output();
    load.end();
    if output.code == 0 {
        scene.figures.done += 1
    } else {
        scene.figures.undone += 1
    }
    // The next run finds what is left.
    place.run(&[&args[..], &["--", "true"]].concat()).expect(0);
    let kept = recordings(&place.home().join("out"));
    let behind = look::compare(kept.iter(), &passed, killed, machine);
    scene.note(behind, machine);
}

/// Kills `mockd play --record-missing` while it records again what was cut short, or while it puts it in the place of the old file.
pub fn play_missing(scene: &mut Scene) {
    let place = Place::new();
    let folder = place.home().join("f");
    std::fs::create_dir(&folder).expect("a folder");
    let cut = ws("/ws/cut").s2c(0, &text(Way::S2c, 0)).set("/status", "incomplete".into()).set("/statusReason", "storage_full".into());
    std::fs::rename(folder.join(format!("rec_{}.json", cut.save(&folder))), folder.join("chat.json")).expect("a file");
    let cut = std::fs::read(folder.join("chat.json")).expect("a file");
    let load = Load::new(1);
    let url = load.upstream.url();
    let args = ["play", "f", "--record-missing", "--upstream", url.as_str()];
    let mut run = OneShot::with_command(&place, &args, 0);
    talk_and_close(run.mock, "/ws/cut");
    talk_and_close(run.mock, "/ws/missing");
    let talked = Instant::now();
    run.end_command();
    let limit = scene.moment(80);
    let machine = moment::wait_to_kill(run.pid, limit);
    let killed = Instant::now();
    run.signal("KILL");
    let output = run.output();
    if output.code == 0 {
        scene.figures.done += 1
    } else {
        scene.figures.undone += 1
    }
    place.run(&[&args[..], &["--", "true"]].concat()).expect(0);
    let kept = recordings(&folder);
    let of = |path: &str| kept.iter().filter(|recording| recording.head.metadata.path == path).count();
    let must = killed.duration_since(talked) > machine.lag();
    assert!(of("/ws/missing") == 1 || (!must && of("/ws/missing") == 0), "what was missing is there once; {machine:?}");
    // What was cut short, what was recorded again, or both: nothing is lost.
    let cut_is_kept = look::files(&folder).into_iter().any(|(name, bytes)| name.starts_with("chat.json") && bytes == cut);
    assert!(cut_is_kept && of("/ws/cut") >= 1, "{:?}", look::files(&folder).keys());
}
