//! What a list says of one file, read from its head and tail, or from a journal's head and its line feeds.

use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::path::Path;

use super::files::{self, Found, Kind};
use super::layout::{self, Content};
use super::lines::LineReader;
use super::lock::{self, Holder};
use super::{recovery, scan};
use crate::base::error::{Error, Result};
use crate::base::time;
use crate::model::api::Summary;
use crate::model::recording::{Head, Stats, Status, StreamTail, Tail};
use crate::model::recording_text;

/// Why a recording that a crash cut short is incomplete.
pub const CRASHED: &str = "crashed";

/// The tail of a recording that has none yet.
pub fn open_tail(head: &Head, status: Status) -> Tail {
    Tail {
        status,
        status_reason: (status == Status::Incomplete).then(|| CRASHED.to_owned()),
        end_time: None,
        duration: None,
        stream: StreamTail::open(head.protocol()),
        stats: Stats::default(),
    }
}

/// The summary of a file that can't be parsed.
pub fn of_corrupted(found: &Found, reason: String) -> Summary {
    let made_us = ulid::Ulid::from_string(&found.id).ok().map(|ulid| ulid.timestamp_ms().saturating_mul(1000));
    let written_us = u64::try_from(found.stamp.mtime_ns / 1000).unwrap_or(0);
    Summary {
        id: found.id.clone(),
        name: String::new(),
        description: None,
        tags: Vec::new(),
        protocol: None,
        path: String::new(),
        status: Status::Corrupted,
        status_reason: Some(reason),
        start_time: time::rfc3339(made_us.unwrap_or(written_us)),
        end_time: None,
        duration: None,
        frame_count: 0,
        file_size_bytes: found.stamp.size,
        session_id: None,
        deleted: found.kind == Kind::Deleted,
    }
}

/// Opens the file of a recording; `None` where it has gone.
pub fn open(dir: &Path, found: &Found) -> Result<Option<File>> {
    let path = files::path_of(dir, &found.id, found.kind);
    match files::open_plain(&path, OpenOptions::new().read(true)) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::storage("open", &path, &error)),
    }
}

/// How much of a file that is no journal had to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Its head and its tail.
    Ends,
    /// All of it.
    Whole,
    /// It could not be read; the next look may find it well.
    Failed,
}

/// What a file that is no journal says of itself; `None` where it has gone.
/// A file that cannot be read is listed as well, with the reason: one bad file must not hide the others.
pub fn read_finished(dir: &Path, found: &Found) -> Option<(Summary, Look)> {
    let read = || -> Result<Option<(Summary, Look)>> {
        let Some(file) = open(dir, found)? else { return Ok(None) };
        let content = layout::read_content(&file, found.stamp.size);
        let content = content.map_err(|error| Error::storage("read", &files::path_of(dir, &found.id, found.kind), &error))?;
        let deleted = found.kind == Kind::Deleted;
        let (mut summary, look) = match content {
            Content::Lines(ends) => (Summary::of(&ends.head, &ends.tail, found.stamp.size, deleted), Look::Ends),
            Content::Whole(recording) => (Summary::of(&recording.head, &recording.tail, found.stamp.size, deleted), Look::Whole),
            Content::Corrupted(reason) => (of_corrupted(found, reason), Look::Whole),
        };
        // The name of the file is what it is found by.
        summary.id.clone_from(&found.id);
        Ok(Some((summary, look)))
    };
    read().unwrap_or_else(|error| Some((of_corrupted(found, error.to_string()), Look::Failed)))
}

/// What is known of a journal: its head does not change, and its lines are counted once.
#[derive(Debug, Clone)]
pub struct JournalView {
    /// What a list says of it.
    pub summary: Summary,
    inode: u64,
    counted_bytes: u64,
}

/// What a journal says of itself, `known` being what it said before; `None` where it is a journal no more.
/// One that nobody writes is listed as what it will be when it has been recovered.
pub fn read_journal(dir: &Path, found: &Found, known: Option<&JournalView>) -> Option<JournalView> {
    let read = || -> Result<Option<JournalView>> {
        let path = files::path_of(dir, &found.id, found.kind);
        let failed = |error: std::io::Error| Error::storage("read", &path, &error);
        let Some(file) = open(dir, found)? else { return Ok(None) };
        let status = match lock::holder(&file, &path)? {
            Holder::Writer => Status::Recording,
            Holder::Nobody => Status::Incomplete,
            Holder::Renamed => return Ok(None),
        };
        let metadata = file.metadata().map_err(failed)?;
        let stamp = files::Stamp::of(&metadata);
        let known = known.filter(|known| known.inode == stamp.inode && known.counted_bytes <= stamp.size);
        let mut view = match known {
            Some(known) => known.clone(),
            None => {
                let head_line = layout::read_head_line(&file, stamp.size).map_err(failed)?;
                let head = head_line.as_deref().map(layout::parse_head_line);
                let (Some(Ok(head)), Some(line)) = (head, head_line) else {
                    let summary = of_corrupted(found, "the journal has no whole head".to_owned());
                    return Ok(Some(JournalView { summary, inode: stamp.inode, counted_bytes: stamp.size }));
                };
                let summary = Summary::of(&head, &open_tail(&head, status), 0, false);
                JournalView { summary: Summary { id: found.id.clone(), ..summary }, inode: stamp.inode, counted_bytes: line.len() as u64 }
            }
        };
        if view.summary.status != Status::Corrupted {
            let mut lines = LineReader::new(&file, view.counted_bytes, stamp.size);
            while let Some(line) = lines.next_line().map_err(failed)? {
                view.summary.frame_count += u64::from(recording_text::is_counted(line));
            }
            view.counted_bytes = lines.position();
            view.summary.status = status;
            view.summary.status_reason = (status == Status::Incomplete).then(|| CRASHED.to_owned());
            if status == Status::Recording {
                (view.summary.end_time, view.summary.duration) = (None, None);
            } else if view.summary.duration.is_none() {
                // Nobody writes any more: its last frame is found once.
                let tail = recovered_tail(&file, stamp.size).map_err(failed)?;
                (view.summary.end_time, view.summary.duration) = tail.map_or((None, None), |tail| (tail.end_time, tail.duration));
            }
        }
        view.summary.file_size_bytes = stamp.size;
        Ok(Some(view))
    };
    read().unwrap_or_else(|error| {
        // No file has inode 0: the next look is a new one.
        let summary = of_corrupted(found, error.to_string());
        Some(JournalView { summary, inode: 0, counted_bytes: 0 })
    })
}

/// The tail that a journal will get when it is recovered.
fn recovered_tail(file: &File, size: u64) -> std::io::Result<Option<Tail>> {
    let Some(line) = layout::read_head_line(file, size)? else { return Ok(None) };
    let Ok(head) = layout::parse_head_line(&line) else { return Ok(None) };
    let scan = scan::scan_frames(file, head.protocol(), line.len() as u64, size)?;
    Ok(Some(recovery::tail_of(&head, &scan, None)))
}
