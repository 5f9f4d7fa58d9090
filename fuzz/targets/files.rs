//! Files: recordings, journals as a crash leaves them, and what is imported. What is read is written again and is the same; what a crash
//! has left is kept up to the line that it tore.

use std::path::Path;
use std::sync::OnceLock;

use mockd::base::error::Error;
use mockd::engine::export;
use mockd::model::config;
use mockd::model::convert_options::{ConfigFormat, ConvertOptions};
use mockd::model::recording::{Frame, Head, Recording, Redaction, Tail};
use mockd::model::recording_text;
use mockd::model::settings::Settings;
use mockd::rules::convert::{self, Recorded};
use mockd::rules::export::Format;
use mockd::rules::import::Import;
use mockd::rules::redact::Redactor;
use mockd::store::{RecordingFile, Store, write_recording};

use super::input::{Dice, scratch};

const ID: &str = "01HXYZ123456789ABCDEFGHJKM";

fn text_of(recording: &Recording) -> Vec<u8> {
    let mut text = Vec::new();
    write_recording(recording, |piece| {
        text.extend_from_slice(piece);
        Ok(())
    })
    .expect("a recording is written");
    text
}

/// All frames of a file, or none where one cannot be read.
fn frames_of(file: &RecordingFile) -> Option<Vec<Frame>> {
    file.frames().ok()?.collect::<Result<_, _>>().ok()
}

/// A recording's file.
pub fn recording(data: &[u8]) {
    let path = scratch().join("any.json");
    std::fs::write(&path, data).expect("a file is written");
    let opened = RecordingFile::open_path(&path).ok();
    let parsed = recording_text::parse(data);
    let by_file = opened.as_ref().and_then(frames_of);
    // A list that stands twice, or an object that has one, is read from the first one until that is seen, and then refused: the text means
    // the last one. The name of one such object is that of a protocol as well. Whatever the names, the tail is the last line that ends a list.
    let times = |name: &[u8]| data.windows(name.len()).filter(|window| *window == name).count();
    let is_once = times(b"\"frames\"") + times(b"\"events\"") < 2 && times(b"\"sse\"") + times(b"\"websocket\"") < 3;
    let is_once = is_once && times(b"\n],") < 2;
    if by_file.is_some() || is_once {
        assert_eq!(by_file.as_ref(), parsed.as_ref().ok().map(|recording| &recording.frames), "{:?}", parsed.as_ref().err());
    }
    let Ok(recording) = parsed else { return };
    // Where parts stand twice its head is the first one's.
    if let Some(opened) = opened.as_ref().filter(|_| is_once) {
        assert_eq!((&opened.head.metadata, &opened.tail.stream), (&recording.head.metadata, &recording.tail.stream));
        let mut out = Vec::new();
        opened.write_to(&mut out).expect("it is handed out");
        assert_eq!(out, data);
    }
    let text = text_of(&recording);
    let again = recording_text::parse(&text).expect("what is written is read");
    assert_eq!((&again.head, &again.frames), (&recording.head, &recording.frames));
    let mut tail = recording.tail.clone();
    tail.stats.file_size_bytes = text.len() as u64;
    assert_eq!(again.tail, tail);
    assert_eq!(text_of(&again), text);
    std::fs::write(&path, &text).expect("a file is written");
    let opened = RecordingFile::open_path(&path).expect("what is written is opened");
    assert_eq!(frames_of(&opened), Some(recording.frames));
}

/// What a server that starts makes of a journal: the frames, or nothing where it could not be read.
fn recover(journal: &[u8]) -> Option<Vec<Frame>> {
    let dir = scratch().join("store");
    std::fs::remove_dir_all(&dir).ok();
    std::fs::create_dir(&dir).expect("a directory is made");
    std::fs::write(dir.join(format!("rec_{ID}.journal")), journal).expect("a file is written");
    let store = Store::new(dir.clone(), u64::MAX, 80);
    store.recover().expect("recovery does not fail");
    let left: Vec<_> = std::fs::read_dir(&dir).expect("it is read").flatten().map(|entry| entry.file_name()).collect();
    assert!(!left.iter().any(|name| Path::new(name).extension().is_some_and(|ending| ending == "journal")), "{left:?}");
    let file = match store.open(ID) {
        Ok(file) => file,
        Err(Error::NotFound { .. }) if journal.is_empty() => return None,
        Err(error) => {
            assert_eq!(error.code(), "corrupted", "{error}");
            return None;
        }
    };
    // Frames that recovery kept can be read, one and all, and the file is a recording.
    let Some(frames) = frames_of(&file) else { panic!("a recovered recording has a frame that cannot be read") };
    let mut text = Vec::new();
    file.write_to(&mut text).expect("it is handed out");
    let whole = recording_text::parse(&text).expect("a recovered file is whole");
    assert_eq!(whole.frames, frames);
    Some(frames)
}

/// A journal that was left behind, whatever stands in it, and the same cut short.
pub fn journal(data: &[u8]) {
    let Some(frames) = recover(data) else { return };
    let mut dice = Dice::of(data);
    let cut = dice.below(data.len());
    if let Some(before) = recover(&data[..cut]) {
        assert!(frames.starts_with(&before), "cut at {cut}");
    }
}

/// A sound journal cut before byte `at`, with that byte turned round, and with a line end there: the frames of all lines that are whole
/// stay, in order; the one that is damaged may be gone or be another.
pub fn check_damaged_journal(whole: &[u8], at: usize) -> Result<(), String> {
    let lines = |text: &[u8]| text.iter().filter(|byte| **byte == b'\n').count();
    let Some(frames) = recover(whole) else { return Err("it is not sound".to_owned()) };
    // The head is a line, and what follows the last frame is none of theirs.
    let line = lines(&whole[..at]);
    let in_head = line == 0;
    let before = line.saturating_sub(1).min(frames.len());
    let cut = recover(&whole[..at]);
    if cut.as_deref() != (!in_head).then_some(&frames[..before]) {
        return Err(format!("cut there, it has {:?} frames", cut.map(|frames| frames.len())));
    }
    for damage in [whole[at] ^ 0x20, whole[at] ^ 0x80, b'\n', 0] {
        let mut text = whole.to_vec();
        text[at] = damage;
        let found = recover(&text);
        if in_head {
            // Whether there is a recording at all is what the head says.
            continue;
        }
        let Some(found) = found else { return Err(format!("with {damage:#x} there it is not recovered")) };
        // A line end that is damaged takes the line behind it along.
        let lost = if whole[at] == b'\n' { 2 } else { 1 };
        let after = &frames[(before + lost).min(frames.len())..];
        if !found.starts_with(&frames[..before]) || !found.ends_with(after) || found.len() > frames.len() {
            return Err(format!("with {damage:#x} there it has {} frames of {}", found.len(), frames.len()));
        }
    }
    Ok(())
}

fn redactor() -> &'static Redactor {
    static REDACTOR: OnceLock<Redactor> = OnceLock::new();
    REDACTOR.get_or_init(|| {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        let rules = Redaction {
            headers: words(&["Authorization"]),
            query: words(&["token"]),
            body_keys: words(&["password"]),
            patterns: words(&["sk-[a-z0-9]{8,}"]),
            redact_value: "[REDACTED]".to_owned(),
        };
        Redactor::new(&rules).expect("the rules compile")
    })
}

/// Every recording in a text.
fn imported(data: &[u8]) -> Vec<Recording> {
    let mut recordings = Vec::new();
    let Ok(mut import) = Import::of(data, redactor(), 1_705_314_600_000_000) else { return recordings };
    while let Some(plan) = import.next_plan() {
        let Ok(mut plan) = plan else { continue };
        plan.head.id = ID.to_owned();
        let head = plan.head.clone();
        let mut frames = Vec::new();
        let mut is_sound = true;
        while let Some(frame) = plan.next_frame() {
            match frame {
                Ok(frame) => frames.push(frame),
                Err(_) => {
                    is_sound = false;
                    break;
                }
            }
        }
        if is_sound {
            recordings.push(Recording { head, frames, tail: plan.finish() });
        }
    }
    recordings
}

/// Anything that is brought to be imported.
pub fn import(data: &[u8]) {
    for recording in imported(data).iter().take(4) {
        let text = text_of(recording);
        let again = recording_text::parse(&text).expect("what is imported is read");
        assert_eq!((&again.head, &again.frames), (&recording.head, &recording.frames));
        for frame in &recording.frames {
            let mut line = Vec::new();
            recording_text::push_frame_line(&mut line, frame, true).expect("a frame is written");
            assert_eq!(redactor().plain(&String::from_utf8_lossy(&line)), None);
        }
        check_exports(recording, &text);
        check_configs(recording);
    }
}

/// A recording comes back from each format as it was.
fn check_exports(recording: &Recording, text: &[u8]) {
    let path = scratch().join(format!("{ID}.json"));
    std::fs::write(&path, text).expect("a file is written");
    let file = RecordingFile::open_path(&path).expect("what is written is opened");
    for format in [Format::Json, Format::JsonLines, Format::Har] {
        let mut out = Vec::new();
        export::write(&file, format, &mut out).expect("it is exported");
        let back = imported(&out);
        let [back] = back.as_slice() else { panic!("{format:?} brought back {}: {}", back.len(), String::from_utf8_lossy(&out)) };
        assert_eq!(back.frames, recording.frames, "{format:?}");
        assert_eq!(ends(&back.head, &back.tail), ends(&recording.head, &recording.tail), "{format:?}");
    }
}

/// What an import keeps of head and tail: it counts bytes anew, and the first one did so before redaction.
fn ends(head: &Head, tail: &Tail) -> (Head, Tail) {
    let mut tail = tail.clone();
    (tail.stats.bytes_sent, tail.stats.bytes_received, tail.stats.file_size_bytes) = (0, 0, 0);
    (head.clone(), tail)
}

/// A conversion is a config that a server loads.
fn check_configs(recording: &Recording) {
    for format in [ConfigFormat::Json, ConfigFormat::Yaml] {
        let options = ConvertOptions { format, ..ConvertOptions::default() };
        let frames = || Ok(Box::new(recording.frames.iter().cloned().map(Ok)) as convert::Frames<'_>);
        let recorded = Recorded { head: &recording.head, tail: &recording.tail, frames: &frames };
        let mut text = String::new();
        let converted = convert::convert(&recorded, &options, &mut |piece| {
            text.push_str(piece);
            Ok(())
        });
        if converted.is_err() {
            continue;
        }
        let mut settings = Settings::default();
        if let Err(error) = config::read_into(&mut settings, Path::new("made"), &text) {
            panic!("{error}: {text}");
        }
        assert_eq!(settings.mocks.len(), 1);
    }
}
