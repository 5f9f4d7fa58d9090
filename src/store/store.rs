//! The store: one directory of recordings behind one lock. What changes recordings stands in `change.rs`.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::beside::Pending;
use super::change::not_found;
use super::files::{self, Kind, Lasting, TempFile};
use super::index::Index;
use super::lock::DirLock;
use super::quota::Quota;
use super::{Batch, Journal, RecordingFile, making, query, recovery, summary};
use crate::base::error::{Error, Result};
use crate::base::{id, limits, sync};
use crate::model::api::{ListPage, ListQuery, StoreStats, Summary};
use crate::model::recording::{Head, Recording, Status, Tail};

/// A directory of recordings.
#[derive(Debug)]
pub struct Store {
    dir: PathBuf,
    quota: Arc<Quota>,
    lasting: Arc<Lasting>,
    /// What was known at the last list; `None` before the first. Held to take or to put it, never while a file is read.
    index: Mutex<Option<Arc<Index>>>,
    /// What is being recovered beside; who asks what there is waits for it.
    pending: Pending,
}

impl Store {
    /// The store at `dir`, which need not exist. Does no I/O.
    pub fn new(dir: PathBuf, max_bytes: u64, warn_percent: u64) -> Self {
        let quota = Arc::new(Quota::new(dir.clone(), max_bytes, warn_percent));
        Self { dir, quota, lasting: Arc::default(), index: Mutex::new(None), pending: Pending::default() }
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The directory's own place for the pid files and logs of servers in the background.
    pub fn run_dir(&self) -> PathBuf {
        self.dir.join(files::RUN_DIR)
    }

    /// Makes [`Store::run_dir`] where it is missing.
    ///
    /// # Errors
    /// As [`Store::ensure_dir`].
    pub fn ensure_run_dir(&self) -> Result<PathBuf> {
        self.ensure_dir()?;
        let dir = self.run_dir();
        files::make_dir(&dir).map(|()| dir)
    }

    /// Makes the directory (0700) where it is missing, and checks that it can be written.
    ///
    /// # Errors
    /// [`Error::Storage`] that names the flag that moves it.
    pub fn ensure_dir(&self) -> Result<()> {
        files::make_dir(&self.dir)?;
        TempFile::create(&self.dir, &id::new()).map(drop)
    }

    /// Turns every journal that a crash left (no process holds its lock) into an `incomplete` recording (statusReason `crashed`); gives their ids.
    /// A journal without a whole head line is removed only if it is empty; else it is renamed to a `.json` that lists as `corrupted`.
    ///
    /// # Errors
    /// The directory cannot be read. One that cannot be recovered is logged and left.
    pub fn recover(&self) -> Result<Vec<String>> {
        let recovered = recovery::recover(&self.dir)?;
        if !recovered.is_empty() {
            self.lasting.ensure(&self.dir)?;
        }
        Ok(recovered)
    }

    /// Whether something in the making is among the first [`limits::GLANCED_FILES`]: looking at all of a large directory takes longer than the
    /// start of a server.
    pub fn glimpses_leftovers(&self) -> bool {
        let in_the_making = |name: &str| making::is_making(name) || matches!(files::parse_name(name), Some((_, Kind::Journal)));
        // What is wrong with the directory is said by the recovery.
        let entries = files::entries(&self.dir).into_iter().flatten().take(limits::GLANCED_FILES).flatten();
        entries.map(|entry| entry.file_name()).any(|name| name.to_str().is_some_and(in_the_making))
    }

    /// Waits for the [`super::Recovery`] that runs beside, at most `limit`; whether none runs any more.
    pub fn await_recovery(&self, limit: Duration) -> bool {
        self.pending.wait_at_most(limit)
    }

    /// Finishes a recording whose [`Journal::finish`] failed, with what is in its journal and the ending that it could not be given then;
    /// `false` where it is no such journal any more.
    ///
    /// # Errors
    /// [`Error::StorageFull`], [`Error::Storage`], [`Error::Failed`] where another process has its turn: the journal stays.
    pub fn finish_late(&self, id: &str, ending: &Tail) -> Result<bool> {
        // Before the lock: a directory that has gone is not made anew.
        if files::stat(&self.dir, id, Kind::Journal)?.is_none() {
            return Ok(false);
        }
        // Who calls this tries again, and has others to finish meanwhile.
        let Some(lock) = DirLock::try_acquire(&self.dir)? else {
            return Err(Error::Failed(format!("another process changes the recordings in {}", self.dir.display())));
        };
        let is_finished = recovery::recover_one(&lock, &self.dir, id, Some(ending))?;
        self.lasting.ensure(&self.dir)?;
        Ok(is_finished)
    }

    /// Begins a journal for `head`. Checks the quota.
    ///
    /// # Errors
    /// [`Error::StorageFull`], [`Error::Storage`].
    pub fn create(&self, head: &Head) -> Result<Journal> {
        Journal::create(&self.dir, Arc::clone(&self.quota), Arc::clone(&self.lasting), head)
    }

    /// Whether there is room: `Error::StorageFull` at the limit; `Ok(Some(warning))` past `warnPercent`.
    ///
    /// # Errors
    /// As said.
    pub fn check_room(&self) -> Result<Option<String>> {
        self.quota.check_now()
    }

    /// Whether [`Store::measure`] is to be called, by a thread that no recording waits for.
    pub fn is_measuring_due(&self) -> bool {
        self.quota.is_due()
    }

    /// Looks how full the directory is, where that is due: it takes its time where there are many files.
    pub fn measure(&self) {
        if self.quota.is_due() {
            self.quota.measure();
        }
    }

    /// Writes a whole recording (import); its id must be new.
    ///
    /// # Errors
    /// [`Error::StorageFull`], [`Error::Storage`], [`Error::Conflict`] `already_exists`.
    pub fn save(&self, recording: &Recording) -> Result<Summary> {
        let mut batch = self.batch();
        batch.begin(&recording.head)?;
        recording.frames.iter().try_for_each(|frame| batch.push(frame))?;
        batch.finish(&recording.tail)?;
        batch.publish()?.pop().ok_or_else(|| Error::Failed(format!("the recording {} was not saved", recording.head.id)))
    }

    /// Recordings to be written frame by frame, of which all are kept or none.
    pub fn batch(&self) -> Batch {
        Batch::new(self.dir.clone(), Arc::clone(&self.quota), Arc::clone(&self.lasting))
    }

    /// Writes a complete recording of no frames, also at the limit: its session was let in before.
    ///
    /// # Errors
    /// [`Error::StorageFull`] on a full disk, [`Error::Storage`].
    pub fn keep_empty(&self, head: &Head, tail: &Tail) -> Result<Summary> {
        let mut journal = Journal::create_unchecked(&self.dir, Arc::clone(&self.quota), Arc::clone(&self.lasting), head)?;
        journal.close(tail)?;
        journal.finish()
    }

    /// A page of the list. Reads no frames.
    ///
    /// # Errors
    /// The directory is there and cannot be read.
    pub fn list(&self, query: &ListQuery) -> Result<ListPage> {
        self.list_with(query, &[])
    }

    /// A page of the list, `waiting` recordings that have no file yet among the others.
    ///
    /// # Errors
    /// As [`Store::list`].
    pub fn list_with(&self, query: &ListQuery, waiting: &[Summary]) -> Result<ListPage> {
        self.pending.wait();
        if let Some(index) = self.glance() {
            let page = query::page(&index, waiting, query);
            if index.shows(&self.dir, &page.recordings) {
                return Ok(page);
            }
        }
        Ok(query::page(&*self.index()?, waiting, query))
    }

    /// The full id of a prefix, soft-deleted and running ones included.
    ///
    /// # Errors
    /// [`Error::Invalid`], [`Error::NotFound`], [`Error::Ambiguous`].
    pub fn resolve(&self, prefix: &str) -> Result<String> {
        id::check_prefix(prefix)?;
        self.pending.wait();
        if files::locate(&self.dir, prefix)?.is_some() {
            return Ok(prefix.to_owned());
        }
        let mut ids: Vec<String> = files::names(&self.dir)?.into_iter().map(|(id, _)| id).collect();
        // One recording may be seen under two names while it gets the second.
        ids.sort_unstable();
        ids.dedup();
        id::resolve("recording", prefix, ids.iter().map(String::as_str))
    }

    /// The summary of a full id.
    ///
    /// # Errors
    /// [`Error::NotFound`].
    pub fn summary(&self, id: &str) -> Result<Summary> {
        // A journal may be finished between the look at its name and the one into it.
        for _ in 0..2 {
            let Some(found) = files::locate(&self.dir, id)? else { break };
            let summary = match found.kind {
                Kind::Journal => summary::read_journal(&self.dir, &found, None).map(|view| view.summary),
                Kind::Finished | Kind::Deleted => summary::read_finished(&self.dir, &found).map(|(summary, _)| summary),
            };
            if let Some(summary) = summary {
                return Ok(summary);
            }
        }
        Err(not_found(id))
    }

    /// Checks that something can be made of a recording, by its full id; `verb` says what, as in "replay it".
    ///
    /// # Errors
    /// [`Error::NotFound`] (soft-deleted ones too), [`Error::Conflict`] `still_recording` and `corrupted`.
    pub fn check_ended(&self, id: &str, verb: &str) -> Result<()> {
        let summary = self.summary(id)?;
        if summary.deleted {
            return Err(not_found(id));
        }
        match summary.status {
            Status::Recording => Err(Error::conflict("still_recording", format!("{id} is still being recorded; stop it, then {verb} it"))),
            Status::Corrupted => {
                let why = summary.status_reason.unwrap_or_default();
                Err(Error::conflict("corrupted", format!("{id} can't be {verb}ed, its file can't be parsed: {why}")))
            }
            Status::Complete | Status::Incomplete => Ok(()),
        }
    }

    /// Opens a recording by its full id, soft-deleted and running ones included.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Conflict`] `corrupted`, [`Error::Storage`].
    pub fn open(&self, id: &str) -> Result<RecordingFile> {
        RecordingFile::open(&self.dir, id)
    }

    /// Counts and bytes.
    ///
    /// # Errors
    /// The directory is there and cannot be read.
    pub fn stats(&self) -> Result<StoreStats> {
        self.pending.wait();
        let index = self.index()?;
        let used = index.used_bytes;
        Ok(query::stats(&index, self.quota.max_bytes(), self.quota.percent(used), self.quota.warning(used)))
    }

    /// Whether the directory is on the disk for good.
    pub(super) fn lasting(&self) -> &Lasting {
        &self.lasting
    }

    /// The recovery that runs beside.
    pub(super) fn pending(&self) -> &Pending {
        &self.pending
    }

    /// The directory's bytes and their limit.
    pub(super) fn quota(&self) -> &Quota {
        &self.quota
    }

    /// What is known, where no name has changed since all was looked at.
    fn glance(&self) -> Option<Arc<Index>> {
        let known = sync::lock(&self.index).clone()?;
        let index = Arc::new(known.glance(&self.dir)?);
        *sync::lock(&self.index) = Some(Arc::clone(&index));
        Some(index)
    }

    /// The index of what is there now. Two who ask at once both look; what the later one puts is as true as the other.
    fn index(&self) -> Result<Arc<Index>> {
        let known = sync::lock(&self.index).clone();
        let known = known.unwrap_or_else(|| Arc::new(Index::load(&self.dir)));
        let mut index = known.refresh(&self.dir)?;
        index.save(&self.dir);
        let index = Arc::new(index);
        *sync::lock(&self.index) = Some(Arc::clone(&index));
        Ok(index)
    }
}
