//! Recordings that come whole, an import's: each is written frame by frame into a file in the making, and all of them get their names
//! at the end, or none does. It never reads, and knows nothing of where frames come from.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{self, Lasting};
use super::lock::DirLock;
use super::making::Staging;
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
    lasting: Arc<Lasting>,
    /// Where they are until they get their names; made with the first.
    staging: Option<Staging>,
    /// Recordings that are whole. Their files are closed: an archive may have more recordings than a process may open files.
    done: Vec<Summary>,
    open: Option<Open>,
    /// Bytes of the recordings that are whole.
    done_bytes: u64,
}

/// A recording that gets frames.
#[derive(Debug)]
struct Open {
    file: File,
    path: PathBuf,
    head: Head,
    /// What has not been written yet.
    piece: Vec<u8>,
    written: u64,
    first: bool,
}

impl Batch {
    pub(super) fn new(dir: PathBuf, quota: Arc<Quota>, lasting: Arc<Lasting>) -> Self {
        Self { dir, quota, lasting, staging: None, done: Vec::new(), open: None, done_bytes: 0 }
    }

    /// Begins a recording; its id must be new. One that was begun and not finished is dropped.
    ///
    /// # Errors
    /// [`Error::StorageFull`], [`Error::Storage`], [`Error::Conflict`] `already_exists`.
    pub fn begin(&mut self, head: &Head) -> Result<()> {
        self.drop_unfinished();
        self.quota.check_import(self.done_bytes + 1)?;
        files::make_dir(&self.dir)?;
        journal::check_new(&self.dir, &head.id)?;
        let piece = recording_text::head_line(head)?.into_bytes();
        let path = staging(&mut self.staging, &self.dir)?.path_of(&head.id);
        let file = files::create_private(&path).map_err(|error| Error::storage("create", &path, &error))?;
        self.open = Some(Open { file, path, head: head.clone(), piece, written: 0, first: true });
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
        open.file.sync_all().map_err(|error| Error::storage("sync", &open.path, &error))?;
        self.done_bytes += open.written;
        self.done.push(Summary::of(&open.head, tail, open.written, false));
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

    /// Gives all whole recordings their names: all of them, or none, also where the process is killed meanwhile.
    ///
    /// # Errors
    /// [`Error::StorageFull`], [`Error::Storage`].
    pub fn publish(mut self) -> Result<Vec<Summary>> {
        self.drop_unfinished();
        let Some(staging) = self.staging.take().filter(|_| !self.done.is_empty()) else { return Ok(Vec::new()) };
        let lock = DirLock::acquire(&self.dir)?;
        // Measured in its turn: two that come at once are not let in by the same room.
        self.quota.forget();
        self.quota.check_import(self.done_bytes)?;
        // Made by the journal of a recording that still runs, it may not be on the disk for good.
        self.lasting.ensure(&self.dir)?;
        let ids: Vec<&str> = self.done.iter().map(|summary| summary.id.as_str()).collect();
        // Before it is there: where it were counted after, who looks in between would count it twice, and end a recording that has room.
        self.quota.add(self.done_bytes);
        let published = staging.publish(&lock, &ids);
        // Who has looked in between has not seen all of it; and where it failed there is nothing to see.
        self.quota.forget();
        published.map(|()| self.done)
    }

    /// Drops a recording that was begun and not finished.
    fn drop_unfinished(&mut self) {
        if let Some(open) = self.open.take() {
            crate::base::files::remove(&open.path);
        }
    }
}

fn staging<'a>(staging: &'a mut Option<Staging>, dir: &Path) -> Result<&'a Staging> {
    match staging {
        Some(staging) => Ok(staging),
        none => Ok(none.insert(Staging::create(dir)?)),
    }
}

impl Open {
    /// Writes what is pending; `others` is the size of the recordings that wait for their names as well.
    fn write(&mut self, quota: &Quota, others: u64) -> Result<()> {
        quota.check_import(others + self.written + self.piece.len() as u64)?;
        (&self.file).write_all(&self.piece).map_err(|error| Error::storage("write", &self.path, &error))?;
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
    use std::path::PathBuf;

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
        let open: Vec<PathBuf> = open.filter(|path| path.starts_with(dir.path())).collect();
        assert!(open.len() == 1 && open[0].is_dir(), "the directory that they wait in is locked: {open:?}");
        assert_eq!(batch.publish().unwrap().len(), 5);
    }

    /// Two imports of two processes, each of which had looked how much room there was before the other filled it.
    #[test]
    fn two_that_are_published_at_once_are_not_let_in_by_the_same_room() {
        let dir = tempfile::tempdir().unwrap();
        let size = text_of(&sample("01AAAAAA", 100)).len() as u64;
        let stores = [(); 2].map(|()| Store::new(dir.path().to_owned(), size * 3 / 2, 80));
        let [one, other] = [0, 1].map(|at| {
            let mut batch = stores[at].batch();
            write(&mut batch, &sample(["01AAAAAA", "01BBBBBB"][at], 100));
            batch
        });
        one.publish().unwrap();
        assert!(matches!(other.publish(), Err(Error::StorageFull(_))));
        assert_eq!(stores[0].stats().unwrap().recording_count, 1);
    }

    /// Trap: who looks at the directory while the files get their names has seen them or not, and what is counted says nothing of that. An
    /// import that was counted twice ended recordings that had room.
    #[test]
    fn an_import_that_was_looked_at_before_it_was_counted_does_not_count_twice() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().to_owned(), 1 << 20, 80);
        let mut batch = store.batch();
        write(&mut batch, &sample("01AAAAAA", 100));
        store.measure();
        batch.publish().unwrap();
        assert!(store.is_measuring_due(), "what was counted is not relied on");
        store.measure();
        assert!(!store.is_measuring_due());
        // Nor is it where its files did not get their names.
        let mut batch = store.batch();
        write(&mut batch, &sample("01BBBBBB", 100));
        std::fs::create_dir(dir.path().join("rec_01BBBBBB.json")).unwrap();
        assert!(matches!(batch.publish(), Err(Error::Storage { .. })));
        assert!(store.is_measuring_due());
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
        // The lock that all processes share stays.
        let left = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert_eq!(left.filter(|name| name != crate::store::files::INDEX_DIR).count(), 0);
        store.save(&sample("01AAAAAA", 500)).unwrap();
        assert!(matches!(store.save(&sample("01AAAAAA", 5)), Err(Error::Conflict { .. })));
    }
}
