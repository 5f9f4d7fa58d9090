//! Changes inside a recording's text: a new name in its head, a word in its tail. Frames are copied, never parsed; unknown fields stay.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use serde_json::{Map, Value};

use super::files::{self, Found, TempFile};
use super::layout::{self, Content};
use super::lines;
use crate::base::error::{Error, Result};
use crate::model::api::Edit;

/// Writes a recording anew with other words in its head. Readers that have it open go on with the old text.
///
/// # Errors
/// [`Error::Conflict`] `corrupted`, and the file system's; the recording is then as it was.
pub fn edit_file(dir: &Path, found: &Found, file: &File, edit: &Edit) -> Result<()> {
    let path = files::path_of(dir, &found.id, found.kind);
    let failed = |error: std::io::Error| Error::storage("edit", &path, &error);
    let size = file.metadata().map_err(failed)?.len();
    let content = layout::read_content(file, size).map_err(failed)?;
    let temp = TempFile::create(dir, &found.id)?;
    match content {
        Content::Corrupted(reason) => return Err(layout::corrupted_error(&path, &reason)),
        Content::Whole(_) => {
            let text = lines::read_part(file, 0, size).map_err(failed)?;
            let mut whole = parse(&text)?;
            apply(&mut whole, edit);
            let text = true_size(&mut whole, 0, |value| Ok(serde_json::to_string_pretty(value).map_err(unreadable)? + "\n"))?;
            (&temp.file).write_all(text.as_bytes()).map_err(failed)?;
        }
        Content::Lines(ends) => {
            let head = edited_head(&lines::read_part(file, 0, ends.head_end).map_err(failed)?, edit)?;
            let mut tail = tail_value(&lines::read_part(file, ends.tail_at, size).map_err(failed)?)?;
            let before = head.len() as u64 + (ends.tail_at - ends.head_end);
            let mut out = BufWriter::with_capacity(lines::CHUNK_BYTES, &temp.file);
            out.write_all(head.as_bytes()).map_err(failed)?;
            lines::copy_part(file, ends.head_end, ends.tail_at, &mut out).map_err(failed)?;
            out.write_all(true_size(&mut tail, before, tail_text)?.as_bytes()).map_err(failed)?;
            out.flush().map_err(failed)?;
        }
    }
    temp.publish(&path)
}

/// A tail line that says that its recording is soft-deleted.
///
/// # Errors
/// None for a tail line that was parsed before.
pub fn deleted_tail(line: &[u8]) -> Result<String> {
    let mut tail = tail_value(line)?;
    mark_deleted(&mut tail);
    tail_text(&tail)
}

/// A whole text that says that its recording is soft-deleted.
///
/// # Errors
/// None for a text that was parsed before.
pub fn deleted_whole(text: &[u8]) -> Result<String> {
    let mut whole = parse(text)?;
    mark_deleted(&mut whole);
    serde_json::to_string_pretty(&whole).map(|text| text + "\n").map_err(unreadable)
}

/// What makes a head line, or a tail line, a JSON text of its own.
const AFTER_HEAD: &str = "]}}";
const BEFORE_TAIL: &str = "{\"x\":{\"x\":[";

fn edited_head(line: &[u8], edit: &Edit) -> Result<String> {
    let mut text = line.to_vec();
    text.extend(AFTER_HEAD.as_bytes());
    let mut head = parse(&text)?;
    apply(&mut head, edit);
    let text = serde_json::to_string(&head).map_err(unreadable)?;
    let open = text.strip_suffix(AFTER_HEAD);
    open.map(|open| format!("{open}\n")).ok_or_else(|| Error::Failed("the head of this recording has a field after its frames".to_owned()))
}

fn tail_value(line: &[u8]) -> Result<Value> {
    let mut text = BEFORE_TAIL.as_bytes().to_vec();
    text.extend(line);
    parse(&text)
}

fn tail_text(tail: &Value) -> Result<String> {
    let text = serde_json::to_string(tail).map_err(unreadable)?;
    Ok(text.strip_prefix(BEFORE_TAIL).unwrap_or(&text).to_owned() + "\n")
}

/// Sets name, description and tags, each at its place; everything else stays where it is.
fn apply(recording: &mut Value, edit: &Edit) {
    let Value::Object(old) = recording else { return };
    let name = edit.name.clone().map(Value::String).or_else(|| old.get("name").cloned());
    let description = match &edit.description {
        Some(text) => Some(text.clone()).filter(|text| !text.is_empty()).map(Value::String),
        None => old.get("description").cloned(),
    };
    let tags = edit.tags.clone().map(Value::from).or_else(|| old.get("tags").cloned());
    let mut words = [("name", name), ("description", description), ("tags", tags)]
        .into_iter()
        .filter_map(|(key, value)| Some((key.to_owned(), value?)));
    let mut new = Map::new();
    let at = old.keys().position(|key| key == "name").unwrap_or(0);
    for (index, (key, value)) in std::mem::take(old).into_iter().enumerate() {
        if index == at {
            new.extend(words.by_ref());
        }
        if !matches!(key.as_str(), "name" | "description" | "tags") {
            new.insert(key, value);
        }
    }
    new.extend(words);
    *old = new;
}

fn mark_deleted(recording: &mut Value) {
    let Value::Object(old) = recording else { return };
    let mut new = Map::new();
    for (key, value) in std::mem::take(old) {
        let is_status = key == "status";
        if key != "deleted" {
            new.insert(key, value);
        }
        if is_status {
            new.insert("deleted".to_owned(), Value::Bool(true));
        }
    }
    new.entry("deleted").or_insert(Value::Bool(true));
    *old = new;
}

/// The text with a `fileSizeBytes` that is true once `before` bytes stand before it.
fn true_size(value: &mut Value, before: u64, text_of: impl Fn(&Value) -> Result<String>) -> Result<String> {
    let mut size = before;
    loop {
        if let Some(stats) = value.get_mut("stats").and_then(Value::as_object_mut) {
            stats.insert("fileSizeBytes".to_owned(), size.into());
        }
        let text = text_of(value)?;
        let actual = before + text.len() as u64;
        if actual == size || value.get("stats").is_none_or(|stats| !stats.is_object()) {
            return Ok(text);
        }
        size = actual;
    }
}

fn parse(text: &[u8]) -> Result<Value> {
    serde_json::from_slice(text).map_err(unreadable)
}

fn unreadable(error: serde_json::Error) -> Error {
    Error::Failed(format!("this recording cannot be written anew: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::recording_text;
    use crate::store::files::Kind;
    use crate::store::testing::{put, sample, sse_sample, text_of};

    fn edited(path: &Path, edit: &Edit) -> Vec<u8> {
        let dir = path.parent().unwrap();
        let found = files::stat(dir, "01AAAAAA", Kind::Finished).unwrap().unwrap();
        edit_file(dir, &found, &File::open(path).unwrap(), edit).unwrap();
        std::fs::read(path).unwrap()
    }

    fn words(name: Option<&str>, description: Option<&str>, tags: Option<&[&str]>) -> Edit {
        let tags = tags.map(|tags| tags.iter().map(|tag| (*tag).to_owned()).collect());
        Edit { name: name.map(str::to_owned), description: description.map(str::to_owned), tags }
    }

    #[test]
    fn an_edit_changes_the_head_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for mut recording in [sample("01AAAAAA", 4), sse_sample("01AAAAAA", 4), sample("01AAAAAA", 0)] {
            let path = put(dir.path(), &recording);
            for edit in [words(Some("n\"ew\n"), Some("what"), Some(&["x", "y"])), words(None, Some(""), None), words(None, None, Some(&[]))]
            {
                let text = edited(&path, &edit);
                recording.head.name = edit.name.unwrap_or(recording.head.name);
                if let Some(description) = edit.description {
                    recording.head.description = Some(description).filter(|text| !text.is_empty());
                }
                recording.head.tags = edit.tags.unwrap_or(recording.head.tags);
                let read = recording_text::parse(&text).unwrap();
                assert_eq!((&read.head, &read.frames), (&recording.head, &recording.frames));
                assert_eq!(read.tail.stats.file_size_bytes, text.len() as u64);
                assert!(matches!(layout::read_content(&File::open(&path).unwrap(), text.len() as u64).unwrap(), Content::Lines(_)));
            }
        }
    }

    #[test]
    fn unknown_fields_outlive_an_edit_in_either_layout() {
        let dir = tempfile::tempdir().unwrap();
        let text = String::from_utf8(text_of(&sample("01AAAAAA", 2))).unwrap();
        let ours = text
            .replace("\"name\"", "\"x-head\":{\"a\":[1,2.5]},\"name\"")
            .replace("\"subprotocol\"", "\"x-stream\":null,\"subprotocol\"")
            .replace("\"closeCode\":1000", "\"closeCode\":1000,\"x-tail\":\"t\"")
            .replace("\"stats\":{", "\"stats\":{\"x-stat\":7,");
        let value: Value = serde_json::from_str(&ours).unwrap();
        let path = files::path_of(dir.path(), "01AAAAAA", Kind::Finished);
        for text in [ours, serde_json::to_string_pretty(&value).unwrap()] {
            std::fs::write(&path, text).unwrap();
            let text = edited(&path, &words(Some("other"), None, None));
            let mut expected = value.clone();
            expected["name"] = "other".into();
            expected["stats"]["fileSizeBytes"] = text.len().into();
            assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), expected);
        }
    }

    #[test]
    fn a_deleted_one_says_so_after_its_status() {
        let text = text_of(&sample("01AAAAAA", 2));
        let tail_at = text.windows(3).rposition(|bytes| bytes == b"\n],").unwrap() + 1;
        let tail = deleted_tail(&text[tail_at..]).unwrap();
        assert!(tail.starts_with("],\"closeCode\":1000,") && tail.contains("\"status\":\"complete\",\"deleted\":true,"), "{tail}");
        assert!(deleted_whole(b"{\"a\":1}").unwrap().contains("\"deleted\": true"));
    }
}
