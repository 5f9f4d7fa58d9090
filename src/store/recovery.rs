//! What a crash left: journals that nobody writes become recordings of all whole frames in them. A running journal is never touched.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Mutex;

use super::files::{self, Kind, TempFile};
use super::lock::{self, DirLock};
use super::scan::{self, Scan};
use super::{layout, lines, making, summary};
use crate::base::error::{Error, Result};
use crate::base::{limits, sync, time};
use crate::model::recording::{Head, Status, StreamTail, Tail};
use crate::model::recording_text;

/// Recovers every leftover and gives the ids; what else killed processes left in the making is ended. One that cannot be recovered now
/// (a full disk, a directory that cannot be written) is logged and left as it is: it must not keep anybody from the others.
///
/// # Errors
/// The directory cannot be read.
pub fn recover(dir: &Path) -> Result<Vec<String>> {
    let Leftovers { ids, made, is_held } = leftovers(dir)?;
    if ids.is_empty() && made.is_empty() {
        if is_held {
            await_others(dir);
        }
        return Ok(ids);
    }
    let lock = match DirLock::acquire(dir) {
        Ok(lock) => lock,
        Err(error) => {
            log::warn!("{} recordings that were cut short stay as they are: {error}", ids.len());
            return Ok(Vec::new());
        }
    };
    for name in &made {
        if let Err(error) = making::end_leftover(&lock, dir, name) {
            log::warn!("{name}, left by a process that was killed, stays: {error}");
        }
    }
    let recovered = Mutex::new(Vec::new());
    sync::share_out("recovery", ids, limits::MAX_RECOVERERS, |id| match recover_one(&lock, dir, &id, None) {
        Ok(true) => sync::lock(&recovered).push(id),
        Ok(false) => {}
        Err(error) => log::warn!("the recording {id} that was cut short stays as it is: {error}"),
    });
    let mut ids = std::mem::take(&mut *sync::lock(&recovered));
    ids.sort_unstable();
    Ok(ids)
}

/// What is in the making in a directory.
#[derive(Debug, Default)]
struct Leftovers {
    /// The ids of journals that nobody writes.
    ids: Vec<String>,
    /// The names of other things that nobody holds.
    made: Vec<String>,
    /// Whether somebody has a journal: its writer, or another who recovers it.
    is_held: bool,
}

/// Waits for another process that recovers: until it has ended, a journal that it works at looks as if it were written. It has the
/// directory's lock as long.
fn await_others(dir: &Path) {
    let free = match DirLock::try_acquire(dir) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => DirLock::acquire(dir).map(drop),
        Err(error) => Err(error),
    };
    if let Err(error) = free {
        log::debug!("journals are taken for running ones: {error}");
    }
}

fn leftovers(dir: &Path) -> Result<Leftovers> {
    let mut found = Leftovers::default();
    for entry in files::entries(dir)? {
        let entry = entry.map_err(|error| Error::storage("read", dir, &error))?;
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        match files::parse_name(name) {
            Some((id, Kind::Journal)) if is_leftover(dir, id) => found.ids.push(id.to_owned()),
            Some((_, Kind::Journal)) => found.is_held = true,
            None if making::is_making(name) && making::is_leftover(&dir.join(name)) => found.made.push(name.to_owned()),
            _ => {}
        }
    }
    Ok(found)
}

fn is_leftover(dir: &Path, id: &str) -> bool {
    making::is_leftover(&files::path_of(dir, id, Kind::Journal))
}

/// Turns one leftover into a recording; `false` where somebody writes it, where it has gone, or where it is none. `ending` is how it
/// ended where that is known: its writer could not write it then.
///
/// # Errors
/// The file system's; the journal is as it was, but for a torn end.
pub fn recover_one(_lock: &DirLock, dir: &Path, id: &str, ending: Option<&Tail>) -> Result<bool> {
    let path = files::path_of(dir, id, Kind::Journal);
    let target = files::path_of(dir, id, Kind::Finished);
    let failed = |error: std::io::Error| Error::storage("recover", &path, &error);
    let Some(file) = lock::claim(&path)? else { return Ok(false) };
    if files::stat(dir, id, Kind::Finished)?.is_some() {
        return Err(Error::conflict("already_exists", format!("{} is there already; move one of the two away", target.display())));
    }
    let size = file.metadata().map_err(failed)?.len();
    if size == 0 {
        std::fs::remove_file(&path).map_err(failed)?;
        return Ok(false);
    }
    let head_line = layout::read_head_line(&file, size).map_err(failed)?;
    let (Some(Ok(head)), Some(head_line)) = (head_line.as_deref().map(layout::parse_head_line), &head_line) else {
        log::warn!("{} has no whole head: it is listed as corrupted", path.display());
        files::rename(&path, &target)?;
        return Ok(false);
    };
    let head_end = head_line.len() as u64;
    let scan = scan::scan_frames(&file, head.protocol(), head_end, size).map_err(failed)?;
    let tail = tail_of(&head, &scan, ending);
    if is_finished(&file, head_line, &scan, size).map_err(failed)? {
        file.sync_all().map_err(failed)?;
    } else if ending.is_none() && scan.parts.iter().all(|part| part.start == head_end) {
        close(&file, &tail, scan.end(head_end)).map_err(failed)??;
    } else {
        // It takes the journal's place first: at no moment are there two recordings, or a name that half a text has. What an fsync
        // has failed for is copied as well: the next fsync of that file may say that all is well and write nothing.
        rewrite(&file, dir, id, head_line, &scan, &tail)?.publish(&path)?;
    }
    files::rename(&path, &target)?;
    Ok(true)
}

/// Whether the crash came after the tail had been written and before the file got its name.
fn is_finished(file: &File, head_line: &[u8], scan: &Scan, size: u64) -> std::io::Result<bool> {
    let head_end = head_line.len() as u64;
    let Some(tail_at) = scan.tail_at else { return Ok(false) };
    if scan.end(head_end) != tail_at || scan.parts.iter().any(|part| part.start != head_end) {
        return Ok(false);
    }
    let mut text = head_line.to_vec();
    text.extend(lines::read_part(file, tail_at, size)?);
    // Without power a disk may have kept the tail and not all that is before it.
    Ok(recording_text::parse_ends(&text).is_ok_and(|(_, tail)| tail.stats.frame_count == scan.stats.frame_count))
}

/// Cuts what is not whole and appends a tail.
fn close(file: &File, tail: &Tail, end: u64) -> std::io::Result<Result<()>> {
    let tail = match recording_text::tail_line(tail, end) {
        Ok(tail) => tail,
        Err(error) => return Ok(Err(error)),
    };
    file.set_len(end)?;
    if let Err(error) = file.write_all_at(tail.as_bytes(), end) {
        // A torn tail would be cut by the next attempt as well; this one fails for the reason above in any case.
        file.set_len(end)?;
        return Err(error);
    }
    file.sync_all()?;
    Ok(Ok(()))
}

/// Copies the whole frames where something else stands between them, as after a power failure. The file's name says the id: what the
/// head says may be damaged too.
fn rewrite(file: &File, dir: &Path, id: &str, head_line: &[u8], scan: &Scan, tail: &Tail) -> Result<TempFile> {
    let temp = TempFile::create(dir, id)?;
    let failed = |error: std::io::Error| Error::storage("write", temp.path(), &error);
    let mut out = std::io::BufWriter::with_capacity(lines::CHUNK_BYTES, &temp.file);
    std::io::Write::write_all(&mut out, head_line).map_err(failed)?;
    let mut written = head_line.len() as u64;
    for part in &scan.parts {
        let mut start = part.start;
        let has_comma = lines::read_part(file, start, start + 1).map_err(failed)? == b",";
        // The first line has no comma before it, all others have one.
        if written == head_line.len() as u64 && has_comma {
            start += 1;
        } else if written > head_line.len() as u64 && !has_comma {
            std::io::Write::write_all(&mut out, b",").map_err(failed)?;
            written += 1;
        }
        lines::copy_part(file, start, part.end, &mut out).map_err(failed)?;
        written += part.end - start;
    }
    let tail = recording_text::tail_line(tail, written)?;
    std::io::Write::write_all(&mut out, tail.as_bytes()).map_err(failed)?;
    std::io::Write::flush(&mut out).map_err(failed)?;
    drop(out);
    Ok(temp)
}

/// The tail of a recording that ended with its last whole frame, or as is known.
pub fn tail_of(head: &Head, scan: &Scan, ending: Option<&Tail>) -> Tail {
    if let Some(ending) = ending {
        return Tail { stats: scan.stats, ..ending.clone() };
    }
    let last_us = scan.last_us.unwrap_or(0);
    let mut tail = Tail { stats: scan.stats, ..summary::open_tail(head, Status::Incomplete) };
    tail.end_time = time::parse_rfc3339(&head.start_time).map(|start_us| time::rfc3339(start_us.saturating_add(last_us)));
    tail.duration = Some(last_us / 1000);
    match &mut tail.stream {
        StreamTail::WebSocket { end_relative_us, .. } | StreamTail::Sse { end_relative_us, .. } => *end_relative_us = Some(last_us),
    }
    tail
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::recording::{Frame, Recording, Stats};
    use crate::store::testing::{sample, sse_sample};

    /// A journal's text, and where each of its frame lines ends (the head's end first).
    fn journal(recording: &Recording) -> (Vec<u8>, Vec<usize>) {
        let mut text = recording_text::head_line(&recording.head).unwrap().into_bytes();
        let mut ends = vec![text.len()];
        for (index, frame) in recording.frames.iter().enumerate() {
            recording_text::push_frame_line(&mut text, frame, index == 0).unwrap();
            ends.push(text.len());
        }
        (text, ends)
    }

    fn recovered(dir: &Path, text: &[u8]) -> Option<Recording> {
        let path = files::path_of(dir, "01AAAAAA", Kind::Journal);
        std::fs::write(&path, text).unwrap();
        let ids = recover(dir).unwrap();
        assert!(!path.exists());
        let target = files::path_of(dir, "01AAAAAA", Kind::Finished);
        let text = std::fs::read(&target).ok()?;
        std::fs::remove_file(target).unwrap();
        let recording = recording_text::parse(&text).ok();
        assert_eq!(ids.len(), usize::from(recording.is_some()));
        if let Some(recording) = &recording {
            assert_eq!(recording.tail.stats.file_size_bytes, text.len() as u64);
        }
        recording
    }

    #[test]
    fn a_journal_cut_at_any_byte_gives_all_whole_frames() {
        let dir = tempfile::tempdir().unwrap();
        for whole in [sample("01AAAAAA", 6), sse_sample("01AAAAAA", 6)] {
            let (text, ends) = journal(&whole);
            for cut in 0..=text.len() {
                let found = recovered(dir.path(), &text[..cut]);
                if cut < ends[0] {
                    assert_eq!(found, None, "{cut}");
                    continue;
                }
                let found = found.unwrap_or_else(|| panic!("{cut}"));
                let frames = ends.iter().filter(|end| **end <= cut).count() - 1;
                assert_eq!(found.frames, whole.frames[..frames], "{cut}");
                assert_eq!((found.tail.status, found.tail.status_reason.as_deref()), (Status::Incomplete, Some("crashed")));
                let last_us = found.frames.last().and_then(Frame::due_us).unwrap_or(0);
                assert_eq!((found.tail.stream.end_relative_us(), found.tail.duration), (Some(last_us), Some(last_us / 1000)));
                let mut stats = Stats { file_size_bytes: found.tail.stats.file_size_bytes, ..Stats::default() };
                found.frames.iter().for_each(|frame| stats.count(frame));
                assert_eq!(found.tail.stats, stats);
            }
        }
    }

    #[test]
    fn a_journal_cut_in_its_tail_is_recovered_and_a_whole_tail_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let whole = sample("01AAAAAA", 3);
        let (mut text, ends) = journal(&whole);
        let tail = recording_text::tail_line(&whole.tail, text.len() as u64).unwrap();
        text.extend(tail.as_bytes());
        for cut in ends[3]..text.len() {
            let found = recovered(dir.path(), &text[..cut]).unwrap();
            assert_eq!((found.frames.len(), found.tail.status), (3, Status::Incomplete), "{cut}");
        }
        assert_eq!(recovered(dir.path(), &text).unwrap().tail.status, Status::Complete);
    }

    #[test]
    fn whole_frames_after_garbage_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let whole = sample("01AAAAAA", 5);
        let (text, ends) = journal(&whole);
        for (damaged, kept) in [(0, vec![1, 2, 3, 4]), (2, vec![0, 1, 3, 4]), (4, vec![0, 1, 2, 3])] {
            let mut text = text.clone();
            text[ends[damaged]..ends[damaged + 1] - 1].fill(0);
            let found = recovered(dir.path(), &text).unwrap();
            let frames: Vec<Frame> = kept.iter().map(|index| whole.frames[*index].clone()).collect();
            assert_eq!(found.frames, frames, "{damaged}");
        }
    }

    /// A disk that lost power may have the tail, and not each frame before it.
    #[test]
    fn a_tail_behind_fewer_frames_than_it_says_makes_nothing_complete() {
        let dir = tempfile::tempdir().unwrap();
        let whole = sample("01AAAAAA", 3);
        let (mut text, ends) = journal(&whole);
        let tail = recording_text::tail_line(&whole.tail, text.len() as u64).unwrap();
        text.truncate(ends[2]);
        text.extend(tail.as_bytes());
        let found = recovered(dir.path(), &text).unwrap();
        assert_eq!((found.frames.len(), found.tail.status), (2, Status::Incomplete));
    }

    #[test]
    fn an_ending_that_is_known_is_kept_with_the_frames_that_are_there() {
        let dir = tempfile::tempdir().unwrap();
        let whole = sample("01AAAAAA", 3);
        let (text, ends) = journal(&whole);
        let store = crate::store::Store::new(dir.path().to_owned(), u64::MAX, 100);
        std::fs::write(files::path_of(dir.path(), "01AAAAAA", Kind::Journal), &text[..ends[2]]).unwrap();
        let ending = Tail { status: Status::Incomplete, status_reason: Some("storage_error".into()), ..whole.tail.clone() };
        assert!(store.finish_late("01AAAAAA", &ending).unwrap());
        let text = std::fs::read(files::path_of(dir.path(), "01AAAAAA", Kind::Finished)).unwrap();
        let found = recording_text::parse(&text).unwrap();
        assert_eq!(found.frames, whole.frames[..2]);
        assert_eq!((&found.tail.status_reason, &found.tail.stream), (&ending.status_reason, &ending.stream));
        assert_eq!((found.tail.stats.frame_count, found.tail.stats.file_size_bytes), (2, text.len() as u64));
        assert!(!store.finish_late("01AAAAAA", &ending).unwrap(), "it is no journal any more");
    }

    #[test]
    fn a_frame_whose_comma_is_damaged_is_kept_in_a_file_that_is_json() {
        let dir = tempfile::tempdir().unwrap();
        let whole = sample("01AAAAAA", 4);
        let (text, ends) = journal(&whole);
        let mut without = text.clone();
        without[ends[2]] = b'\n';
        assert_eq!(recovered(dir.path(), &without).unwrap().frames, whole.frames);
        let mut first = text;
        first.insert(ends[0], b',');
        assert_eq!(recovered(dir.path(), &first).unwrap().frames, whole.frames);
    }

    #[test]
    fn a_damaged_id_in_a_journal_names_no_file() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("store");
        std::fs::create_dir(&inner).unwrap();
        for id in ["", "01BBBBBB", "x/../../../out"] {
            let (mut text, ends) = journal(&sample(id, 3));
            text[ends[1]..ends[2] - 1].fill(0);
            assert_eq!(recovered(&inner, &text).expect(id).frames.len(), 2);
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "{id}");
        }
    }

    #[test]
    fn a_journal_without_a_head_is_kept_unless_it_is_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = files::path_of(dir.path(), "01AAAAAA", Kind::Journal);
        std::fs::write(&path, "").unwrap();
        assert!(recover(dir.path()).unwrap().is_empty());
        assert!(!path.exists());
        std::fs::write(&path, "{\"formatVersion\":\"1.0\",\"id").unwrap();
        assert!(recover(dir.path()).unwrap().is_empty());
        let target = files::path_of(dir.path(), "01AAAAAA", Kind::Finished);
        assert_eq!(std::fs::read(&target).unwrap(), b"{\"formatVersion\":\"1.0\",\"id");
        // A second one of that id waits until a person has looked.
        std::fs::write(&path, journal(&sample("01AAAAAA", 1)).0).unwrap();
        assert!(recover(dir.path()).unwrap().is_empty());
        assert!(path.exists() && target.exists());
    }

    #[test]
    fn a_list_in_another_process_that_recovers_leaves_a_running_journal_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = files::path_of(dir.path(), "01AAAAAA", Kind::Journal);
        let (text, _) = journal(&sample("01AAAAAA", 2));
        std::fs::write(&path, &text).unwrap();
        let writer = File::open(&path).unwrap();
        writer.lock().unwrap();
        assert!(recover(dir.path()).unwrap().is_empty());
        assert_eq!(std::fs::read(&path).unwrap(), text);
        drop(writer);
        assert_eq!(recover(dir.path()).unwrap(), ["01AAAAAA"]);
        assert!(recover(&dir.path().join("missing")).unwrap().is_empty());
    }
}
