//! What is in a directory after a crash and a recovery: only recordings, each of which parses, counts right and is in order.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::{Duration, Instant};

use mockd::model::recording::{Direction, Frame, FrameType, Recording, Stats, Status};
use mockd::model::recording_text;
use serde_json::{Value, json};

use super::load::{Passed, Way, text};
use super::moment::Machine;
use crate::support::Server;
use crate::support::server::Place;

/// The files of a directory by their names.
pub type Files = BTreeMap<String, Vec<u8>>;

/// All files of a directory, without mockd's own sub-directories.
pub fn files(dir: &Path) -> Files {
    let mut files = Files::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().into_string().expect("a name in UTF-8");
        if !matches!(name.as_str(), ".index" | ".run") {
            files.insert(name, std::fs::read(entry.path()).unwrap_or_else(|error| panic!("{}: {error}", entry.path().display())));
        }
    }
    files
}

/// Recovers what a kill left, by a command or by a server, and checks the directory.
#[track_caller]
pub fn recover(place: &Place, by_server: bool) -> Files {
    let list = if by_server {
        let server = Server::builder().place(place).start();
        let list = server.get("/stream-recordings?includeDeleted=true");
        for word in ["panicked", "ERROR", "stays"] {
            assert!(!server.log().contains(word), "{}", server.log());
        }
        list
    } else {
        let output = place.run(&["sr", "list", "--include-deleted", "--json"]).expect(0);
        assert_eq!(output.stderr, "", "a recovery goes without a word");
        serde_json::from_str(&output.stdout).expect("a list")
    };
    let files = files(&place.data_dir());
    check(&files, &list);
    files
}

/// Checks that all files are recordings that parse, and that the list says the same of them.
#[track_caller]
fn check(files: &Files, list: &Value) {
    let listed: BTreeMap<&str, &Value> =
        list["recordings"].as_array().expect("a list").iter().map(|summary| (summary["id"].as_str().expect("an id"), summary)).collect();
    let mut ids = BTreeSet::new();
    for (name, bytes) in files {
        let id = name.strip_prefix("rec_").and_then(|rest| rest.strip_suffix(".json").or_else(|| rest.strip_suffix(".json.deleted")));
        let id = id.unwrap_or_else(|| panic!("{name} was left behind"));
        assert!(ids.insert(id.to_owned()), "{id} is there twice");
        let recording = parse(name, bytes);
        let summary = listed.get(id).unwrap_or_else(|| panic!("{id} is in no list"));
        let known = json!([
            recording.head.id,
            recording.head.name,
            recording.tail.status.word(),
            recording.tail.stats.frame_count,
            bytes.len(),
            name.ends_with(".deleted")
        ]);
        let told =
            json!([summary["id"], summary["name"], summary["status"], summary["frameCount"], summary["fileSizeBytes"], summary["deleted"]]);
        assert_eq!(known, told);
    }
    assert_eq!(listed.len(), ids.len(), "the list has what no file has");
}

/// A recording that parses, whose counts are those of its frames and whose frames are in order.
#[track_caller]
pub fn parse(name: &str, bytes: &[u8]) -> Recording {
    let recording = recording_text::parse(bytes).unwrap_or_else(|error| panic!("{name}: {error}\n{}", String::from_utf8_lossy(bytes)));
    let mut stats = Stats { file_size_bytes: bytes.len() as u64, ..Stats::default() };
    recording.frames.iter().for_each(|frame| stats.count(frame));
    let told = recording.tail.stats;
    assert_eq!((told.frame_count, told.file_size_bytes), (stats.frame_count, stats.file_size_bytes), "{name}");
    // Those made by the test itself count no bytes.
    assert!(told == stats || told.bytes_sent == 0, "{name}: {told:?}, which should be {stats:?}");
    assert!(recording.frames.is_sorted_by_key(Frame::due_us), "{name} is not in the order of its stamps");
    match recording.tail.status {
        Status::Complete => assert_eq!(recording.tail.status_reason, None, "{name}"),
        Status::Incomplete => assert!(recording.tail.status_reason.is_some(), "{name}"),
        other => panic!("{name} is {other:?}"),
    }
    recording
}

/// How far the disk was behind the traffic at a kill.
#[derive(Debug, Default, Clone, Copy)]
pub struct Behind {
    /// Frames that are there.
    pub frames: u64,
    /// The age of the oldest frame that is missing.
    pub lag: Duration,
}

/// Checks what `recordings` have of the traffic: a gapless prefix, and all that had passed some time before the kill.
#[track_caller]
pub fn compare<'a>(recordings: impl Iterator<Item = &'a Recording>, passed: &Passed, killed: Instant, machine: Machine) -> Behind {
    let mut found: BTreeMap<(String, Way), usize> = BTreeMap::new();
    for recording in recordings {
        let path = &recording.head.metadata.path;
        for way in [Way::C2s, Way::S2c] {
            let texts = texts(recording, way);
            for (number, got) in texts.iter().enumerate() {
                assert_eq!(*got, text(way, number), "frame {number} of {path}");
            }
            assert_eq!(found.insert((path.clone(), way), texts.len()), None, "{path} is there twice");
        }
    }
    let mut behind = Behind { frames: found.values().map(|count| *count as u64).sum(), ..Behind::default() };
    for ((path, way), times) in passed.take() {
        let kept = found.get(&(path.clone(), way)).copied().unwrap_or(0);
        let Some(age) = times.get(kept).and_then(|missing| killed.checked_duration_since(*missing)) else { continue };
        behind.lag = behind.lag.max(age);
        assert!(age <= machine.lag(), "{way:?} {kept} on {path} had passed {age:?} before the kill and is not there; {machine:?}");
    }
    behind
}

/// The data of the text frames, or events, that went one way.
fn texts(recording: &Recording, way: Way) -> Vec<&str> {
    let direction = if way == Way::C2s { Direction::ClientToServer } else { Direction::ServerToClient };
    let one = |frame| text_of(frame, direction);
    recording.frames.iter().filter_map(one).collect()
}

fn text_of(frame: &Frame, wanted: Direction) -> Option<&str> {
    match frame {
        Frame::WebSocket(frame) => (frame.direction == wanted && frame.kind == FrameType::Text).then_some(frame.data.as_str()),
        Frame::Sse(event) => event.data.as_deref().filter(|_| wanted == Direction::ServerToClient),
    }
}
