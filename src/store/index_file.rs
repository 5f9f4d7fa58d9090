//! The index in its file, for the next process. It is a cache: one that is missing, torn or of another version costs time, nothing else.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::files::{self, Stamp};
use super::finished::Entry;
use super::lock::DirLock;
use crate::base::error::{Error, Result};
use crate::base::limits;
use crate::model::api::Summary;

/// The first line of the file: another version is not read.
const HEADER: &str = "{\"mockdIndex\":2}";

/// Reads the file; nothing where there is none.
pub fn read(dir: &Path) -> HashMap<String, Arc<Entry>> {
    let mut entries = HashMap::new();
    let Some(text) = read_text(&path_in(dir)) else { return entries };
    let mut lines = text.split('\n');
    if lines.next() != Some(HEADER) {
        return entries;
    }
    entries.reserve(text.len() / 512);
    for line in lines {
        // A torn line is one recording to be read again.
        let Ok(row) = serde_json::from_str::<Row<&str, Summary>>(line) else { continue };
        let Some((id, kind)) = files::parse_name(row.file) else { continue };
        let stamp = Stamp { size: row.size, mtime_ns: row.mtime_ns, ctime_ns: row.ctime_ns, inode: row.inode };
        let entry = Entry { kind, stamp, settled: true, start_us: row.start_us, summary: row.summary };
        entries.insert(id.to_owned(), Arc::new(entry));
    }
    entries
}

/// Writes the file; `false` where another process is at it.
///
/// # Errors
/// The file system's.
pub fn write(dir: &Path, entries: &HashMap<String, Arc<Entry>>) -> Result<bool> {
    let Some(_lock) = DirLock::try_acquire(dir)? else { return Ok(false) };
    let path = path_in(dir);
    let failed = |error: std::io::Error| Error::storage("write", &path, &error);
    let mut text = HEADER.as_bytes().to_vec();
    for (id, entry) in entries.iter().filter(|(_, entry)| entry.settled) {
        let row = Row {
            file: format!("rec_{id}{}", entry.kind.suffix()),
            size: entry.stamp.size,
            mtime_ns: entry.stamp.mtime_ns,
            ctime_ns: entry.stamp.ctime_ns,
            inode: entry.stamp.inode,
            start_us: entry.start_us,
            summary: &entry.summary,
        };
        text.push(b'\n');
        serde_json::to_writer(&mut text, &row).map_err(|error| failed(error.into()))?;
    }
    text.push(b'\n');
    // The lock is ours, so one name for the file in the making does, and what a crash left of it is written over. No sync: it is a cache.
    let temp = path.with_extension("tmp");
    if temp.exists() {
        std::fs::remove_file(&temp).map_err(failed)?;
    }
    let mut file = files::create_private(&temp).map_err(failed)?;
    std::io::Write::write_all(&mut file, &text).map_err(failed)?;
    std::fs::rename(&temp, &path).map_err(failed)?;
    Ok(true)
}

/// The text of the file; `None` where there is none, or something else by its name.
fn read_text(path: &Path) -> Option<String> {
    // What cannot be read is found out again.
    let file = files::open_plain(path, OpenOptions::new().read(true)).ok()?;
    let mut text = String::new();
    file.take(limits::MAX_STORE_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

/// A line of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row<N, S> {
    file: N,
    size: u64,
    mtime_ns: i64,
    ctime_ns: i64,
    inode: u64,
    start_us: u64,
    summary: S,
}

/// Where the file is.
pub fn path_in(dir: &Path) -> PathBuf {
    dir.join(files::INDEX_DIR).join("index.jsonl")
}
