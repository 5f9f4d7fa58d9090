//! Recordings that come whole, an import's: each is written frame by frame into a file without a name, and all of them get their names
//! at the end, or none does. It never reads, and knows nothing of where frames come from.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use super::files::{self, Kind, TempFile, TempName};
use super::quota::Quota;
use super::{journal, lines};
use crate::base::error::{Error, Result};
use crate::model::api::Summary;
use crate::model::recording::{Frame, Head, Tail};
use crate::model::recording_text;

/// Recordings in the making. What has not been published goes away with it.
#[derive(Debug)]
pub struct Batch {
    dir: PathBuf,
    quota: Arc<Quota>,
    done: Vec<Done>,
    open: Option<Open>,
    /// Bytes of the recordings that are whole.
    done_bytes: u64,
}

/// A recording that is whole but for its name. Its file is closed: an archive may have more recordings than a process may open files.
#[derive(Debug)]
struct Done {
    temp: TempName,
    summary: Summary,
}

/// A recording that gets frames.
#[derive(Debug)]
struct Open {
    temp: TempFile,
    head: Head,
    /// What has not been written yet.
    piece: Vec<u8>,
    written: u64,
    first: bool,
}

impl Batch {
    pub(super) fn new(dir: PathBuf, quota: Arc<Quota>) -> Self {
        Self { dir, quota, done: Vec::new(), open: None, done_bytes: 0 }
    }

    /// Begins a recording; its id must be new. One that was begun and not finished is dropped.
    ///
    /// # Errors
    /// [`Error::StorageFull`], [`Error::Storage`], [`Error::Conflict`] `already_exists`.
    pub fn begin(&mut self, head: &Head) -> Result<()> {
        self.open = None;
        self.quota.check(self.done_bytes + 1)?;
        files::make_dir(&self.dir)?;
        journal::check_new(&self.dir, &head.id)?;
        let piece = recording_text::head_line(head)?.into_bytes();
        let temp = TempFile::create(&self.dir, &head.id)?;
        self.open = Some(Open { temp, head: head.clone(), piece, written: 0, first: true });
        Ok(())
    }

    /// Adds the next frame of the recording that was begun last.
    ///
    /// # Errors
    /// [`Error::StorageFull`], [`Error::Storage`].
    pub fn push(&mut self, frame: &Frame) -> Result<()> {
        let open = self.open.as_mut().ok_or_else(nothing_begun)?;
        recording_text::push_frame_line(&mut open.piece, frame, open.first)?;
        open.first = false;
        if open.piece.len() >= lines::CHUNK_BYTES {
            open.write(&self.quota, self.done_bytes)?;
        }
        Ok(())
    }

    /// Ends the recording that was begun last.
    ///
    /// # Errors
    /// [`Error::StorageFull`], [`Error::Storage`].
    pub fn finish(&mut self, tail: &Tail) -> Result<()> {
        let mut open = self.open.take().ok_or_else(nothing_begun)?;
        let before = open.written + open.piece.len() as u64;
        open.piece.extend(recording_text::tail_line(tail, before)?.into_bytes());
        open.write(&self.quota, self.done_bytes)?;
        self.done_bytes += open.written;
        let summary = Summary::of(&open.head, tail, open.written, false);
        self.done.push(Done { temp: open.temp.close()?, summary });
        Ok(())
    }

    /// How many recordings are whole.
    pub fn len(&self) -> usize {
        self.done.len()
    }

    /// Whether none is whole.
    pub fn is_empty(&self) -> bool {
        self.done.is_empty()
    }

    /// Gives all whole recordings their names: all of them, or none.
    ///
    /// # Errors
    /// [`Error::StorageFull`], [`Error::Storage`].
    pub fn publish(self) -> Result<Vec<Summary>> {
        self.quota.check(self.done_bytes)?;
        let mut named: Vec<(PathBuf, Summary)> = Vec::new();
        for Done { temp, summary } in self.done {
            let target = files::path_of(&self.dir, &summary.id, Kind::Finished);
            // One whose directory could not be synced has its name already: it goes with the others.
            named.push((target.clone(), summary));
            if let Err(error) = temp.publish(&target) {
                named.iter().for_each(|(path, _)| crate::base::files::remove(path));
                return Err(error);
            }
        }
        self.quota.add(self.done_bytes);
        Ok(named.into_iter().map(|(_, summary)| summary).collect())
    }
}

impl Open {
    /// Writes what is pending; `others` is the size of the recordings that wait for their names as well.
    fn write(&mut self, quota: &Quota, others: u64) -> Result<()> {
        quota.check(others + self.written + self.piece.len() as u64)?;
        (&self.temp.file).write_all(&self.piece).map_err(|error| Error::storage("write", self.temp.path(), &error))?;
        self.written += self.piece.len() as u64;
        self.piece.clear();
        // One huge frame must not keep its memory for the rest of a long recording.
        self.piece.shrink_to(2 * lines::CHUNK_BYTES);
        Ok(())
    }
}

fn nothing_begun() -> Error {
    Error::Failed("a frame has no recording that it belongs to".to_owned())
}

#[cfg(test)]
mod tests {
    use crate::base::error::Error;
    use crate::model::recording::Recording;
    use crate::store::Store;
    use crate::store::batch::Batch;
    use crate::store::testing::{sample, sse_sample, text_of};

    fn write(batch: &mut Batch, recording: &Recording) {
        batch.begin(&recording.head).unwrap();
        recording.frames.iter().for_each(|frame| batch.push(frame).unwrap());
        batch.finish(&recording.tail).unwrap();
    }

    #[test]
    fn all_get_their_names_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().join("made"), 1 << 20, 80);
        let (first, second) = (sample("01AAAAAA", 2000), sse_sample("01BBBBBB", 3));
        let mut batch = store.batch();
        write(&mut batch, &first);
        write(&mut batch, &second);
        batch.begin(&sample("01CCCCCC", 0).head).unwrap();
        assert_eq!(store.stats().unwrap().recording_count, 0);
        let summaries = batch.publish().unwrap();
        for (recording, summary) in [first, second].iter().zip(&summaries) {
            assert_eq!(store.summary(&recording.head.id).unwrap(), *summary);
            let text = std::fs::read(dir.path().join(format!("made/rec_{}.json", recording.head.id))).unwrap();
            assert_eq!(text, text_of(recording));
        }
        assert_eq!(std::fs::read_dir(dir.path().join("made")).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file()).count(), 2);
    }

    #[test]
    fn recordings_that_wait_for_their_names_hold_no_file_open() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().to_owned(), 1 << 20, 80);
        let mut batch = store.batch();
        (0..5).for_each(|n| write(&mut batch, &sample(&format!("01AAAAA{n}"), 1)));
        let open = std::fs::read_dir("/proc/self/fd").unwrap().filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok());
        assert_eq!(open.filter(|path| path.starts_with(dir.path())).count(), 0);
        assert_eq!(batch.publish().unwrap().len(), 5);
    }

    #[test]
    fn at_the_limit_nothing_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let one = text_of(&sample("01AAAAAA", 500)).len() as u64;
        let store = Store::new(dir.path().to_owned(), one * 3 / 2, 80);
        let mut batch = store.batch();
        write(&mut batch, &sample("01AAAAAA", 500));
        let second = sample("01BBBBBB", 500);
        batch.begin(&second.head).unwrap();
        let failed = second.frames.iter().try_for_each(|frame| batch.push(frame)).and_then(|()| batch.finish(&second.tail));
        assert!(matches!(failed, Err(Error::StorageFull(_))));
        drop(batch);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        store.save(&sample("01AAAAAA", 500)).unwrap();
        assert!(matches!(store.save(&sample("01AAAAAA", 5)), Err(Error::Conflict { .. })));
    }
}
