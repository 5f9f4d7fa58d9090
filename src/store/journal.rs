//! A recording while it is written. It writes what it is given, knows nothing of where frames come from, and reads nothing but itself,
//! where its name has been taken away.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::files::{self, Kind, Lasting, TempFile};
use super::quota::Quota;
use super::{lines, summary};
use crate::base::error::{Error, Result};
use crate::base::{limits, platform};
use crate::model::api::Summary;
use crate::model::recording::{Head, Status, Tail};
use crate::model::recording_text;

/// The open journal of one recording. It holds the file's lock as long as it lives; dropped without `finish` it stays as a crash leaves it.
#[derive(Debug)]
pub struct Journal {
    file: File,
    path: PathBuf,
    target: PathBuf,
    len: u64,
    /// Where the tail begins, once there is one.
    frames_end: u64,
    /// Up to here the disk has promised room.
    reserved: u64,
    quota: Arc<Quota>,
    lasting: Arc<Lasting>,
    /// What a list says of it, but for what its tail will say.
    summary: Summary,
}

impl Journal {
    /// Makes the journal of `head` in `dir`. It is locked before it gets its name, so that nobody sees it as a leftover.
    pub(super) fn create(dir: &Path, quota: Arc<Quota>, lasting: Arc<Lasting>, head: &Head) -> Result<Self> {
        let line = recording_text::head_line(head)?;
        quota.check_frames(line.len() as u64)?;
        Self::create_line(dir, quota, lasting, head, &line)
    }

    /// As [`Journal::create`], whatever the quota says.
    pub(super) fn create_unchecked(dir: &Path, quota: Arc<Quota>, lasting: Arc<Lasting>, head: &Head) -> Result<Self> {
        let line = recording_text::head_line(head)?;
        Self::create_line(dir, quota, lasting, head, &line)
    }

    fn create_line(dir: &Path, quota: Arc<Quota>, lasting: Arc<Lasting>, head: &Head, line: &str) -> Result<Self> {
        let len = line.len() as u64;
        // The disk is waited for at the end: until then traffic is to be written.
        if files::make_dir_soon(dir)? {
            lasting.forget();
        }
        check_new(dir, &head.id)?;
        let path = files::path_of(dir, &head.id, Kind::Journal);
        let temp = TempFile::create(dir, &head.id)?;
        let written = platform::reserve(&temp.file, len + limits::TAIL_ROOM_BYTES).and_then(|_| temp.file.write_all_at(line.as_bytes(), 0));
        written.map_err(|error| Error::storage("write", &path, &error))?;
        let file = temp.name(&path)?;
        quota.add(len);
        let summary = Summary::of(head, &summary::open_tail(head, Status::Recording), len, false);
        Ok(Self {
            file,
            path,
            target: files::path_of(dir, &head.id, Kind::Finished),
            len,
            frames_end: len,
            reserved: 0,
            quota,
            lasting,
            summary,
        })
    }

    /// Appends whole frame lines (made by `recording_text::push_frame_line`) with one write. Counts towards the store's quota.
    ///
    /// # Errors
    /// [`Error::StorageFull`] at the limit or on a full disk (what was written of the lines is cut off again), [`Error::Storage`].
    pub fn append(&mut self, lines: &[u8]) -> Result<()> {
        self.quota.check_frames(lines.len() as u64)?;
        self.reserve(lines.len() as u64)?;
        self.write(lines)
    }

    /// Has the disk promise room for the next lines and a tail behind them: a recording that a full disk ends must be able to say so. One
    /// that grows fast asks for more at once, as asking takes longer than writing a few kilobytes.
    fn reserve(&mut self, more: u64) -> Result<()> {
        let needed = self.len + more + limits::TAIL_ROOM_BYTES;
        if needed <= self.reserved {
            return Ok(());
        }
        let ample = needed + (4 * more).clamp(limits::JOURNAL_GROWTH_BYTES, limits::MIB);
        self.reserved = match platform::reserve(&self.file, ample) {
            Ok(true) => ample,
            // Not every disk can promise; then what comes is found out by writing.
            Ok(false) => u64::MAX,
            Err(_) => match platform::reserve(&self.file, needed) {
                Ok(_) => needed,
                Err(error) => return Err(Error::storage("write", &self.path, &error)),
            },
        };
        Ok(())
    }

    /// Bytes so far.
    #[allow(clippy::len_without_is_empty)] // It is never empty: it begins with its head.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Appends the tail: the recording is whole now, and survives the end of this process. The quota does not stop a tail.
    ///
    /// # Errors
    /// [`Error::StorageFull`], [`Error::Storage`]: what was recorded stays as a journal, which the next start recovers.
    pub fn close(&mut self, tail: &Tail) -> Result<()> {
        let line = recording_text::tail_line(tail, self.len)?;
        self.frames_end = self.len;
        self.write(line.as_bytes())?;
        // What was reserved and not used goes back to the disk.
        if let Err(error) = self.file.set_len(self.len) {
            log::debug!("{} keeps the room that it reserved: {error}", self.path.display());
        }
        self.summary.status = tail.status;
        self.summary.status_reason.clone_from(&tail.status_reason);
        self.summary.end_time.clone_from(&tail.end_time);
        self.summary.duration = tail.duration;
        self.summary.frame_count = tail.stats.frame_count;
        self.summary.file_size_bytes = self.len;
        Ok(())
    }

    /// Makes a closed recording last: fsyncs, renames `rec_<id>.journal` to `rec_<id>.json`, and syncs the directory.
    ///
    /// # Errors
    /// As [`Journal::close`].
    pub fn finish(self) -> Result<Summary> {
        if let Err(error) = self.file.sync_all() {
            // Nobody may take it for complete: after a failed fsync the next one may say that all is well and write nothing.
            if let Err(error) = self.file.set_len(self.frames_end) {
                log::debug!("{} keeps its tail: {error}", self.path.display());
            }
            return Err(Error::storage("sync", &self.path, &error));
        }
        if let Some(dir) = self.target.parent() {
            self.lasting.ensure(dir)?;
        }
        match std::fs::symlink_metadata(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => self.salvage()?,
            _ => files::rename(&self.path, &self.target)?,
        }
        Ok(self.summary)
    }

    /// The directory has been removed, or moved away, while this was recorded: the file that is still open becomes one with a name.
    fn salvage(&self) -> Result<()> {
        let dir = self.path.parent().unwrap_or(Path::new("."));
        log::warn!("{} has been removed while it was recorded; it is written anew", self.path.display());
        files::make_dir(dir)?;
        let temp = TempFile::create(dir, &self.summary.id)?;
        lines::copy_part(&self.file, 0, self.len, &mut &temp.file).map_err(|error| Error::storage("write", temp.path(), &error))?;
        temp.publish(&self.target)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if let Err(error) = self.file.write_all_at(bytes, self.len) {
            // Half a line at the end is what recovery cuts as well; cutting it here lets a later, shorter write go on behind whole lines.
            if let Err(error) = self.file.set_len(self.len) {
                log::debug!("{} ends in a torn line: {error}", self.path.display());
            }
            return Err(Error::storage("write", &self.path, &error));
        }
        self.len += bytes.len() as u64;
        self.quota.add(bytes.len() as u64);
        Ok(())
    }
}

/// Refuses an id that is taken, or that can be none.
pub(super) fn check_new(dir: &Path, id: &str) -> Result<()> {
    crate::base::id::check_prefix(id)?;
    match files::locate(dir, id)? {
        None => Ok(()),
        Some(_) => Err(Error::conflict("already_exists", format!("there is a recording {id} already; a new one needs an id of its own"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{frame, sample};
    use std::os::unix::fs::PermissionsExt;

    fn quota(dir: &Path, max_bytes: u64) -> Arc<Quota> {
        Arc::new(Quota::new(dir.to_owned(), max_bytes, 80))
    }

    fn line(number: usize) -> Vec<u8> {
        let mut line = Vec::new();
        recording_text::push_frame_line(&mut line, &frame(number), number == 0).unwrap();
        line
    }

    fn finish(mut journal: Journal, tail: &Tail) -> Result<Summary> {
        journal.close(tail)?;
        journal.finish()
    }

    #[test]
    fn frames_are_in_the_file_as_they_come_and_the_end_gives_it_its_name() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("made/for/it");
        let whole = sample("01AAAAAA", 3);
        let mut journal = Journal::create(&dir, quota(&dir, 10_000), Arc::default(), &whole.head).unwrap();
        let path = files::path_of(&dir, "01AAAAAA", Kind::Journal);
        for number in 0..3 {
            journal.append(&line(number)).unwrap();
            assert_eq!(std::fs::metadata(&path).unwrap().len(), journal.len());
        }
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        let summary = finish(journal, &whole.tail).unwrap();
        let text = std::fs::read(files::path_of(&dir, "01AAAAAA", Kind::Finished)).unwrap();
        let read = recording_text::parse(&text).unwrap();
        assert_eq!(read.frames, whole.frames);
        assert_eq!(summary, Summary::of(&read.head, &read.tail, text.len() as u64, false));
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 1);
        assert!(matches!(
            Journal::create(&dir, quota(&dir, 10_000), Arc::default(), &whole.head),
            Err(Error::Conflict { code: "already_exists", .. })
        ));
    }

    #[test]
    fn the_quota_stops_frames_and_lets_the_tail_pass() {
        let dir = tempfile::tempdir().unwrap();
        let whole = sample("01AAAAAA", 1);
        let head_len = recording_text::head_line(&whole.head).unwrap().len() as u64;
        let first = line(0).len() as u64;
        assert!(matches!(
            Journal::create(dir.path(), quota(dir.path(), head_len - 1), Arc::default(), &whole.head),
            Err(Error::StorageFull(_))
        ));
        let mut journal = Journal::create(dir.path(), quota(dir.path(), head_len + first), Arc::default(), &whole.head).unwrap();
        journal.append(&line(0)).unwrap();
        assert!(matches!(journal.append(&line(1)), Err(Error::StorageFull(_))));
        assert_eq!(journal.len(), head_len + first);
        assert_eq!(finish(journal, &whole.tail).unwrap().frame_count, 1);
    }

    /// Trap: permanent deletes one after another, each of which had the next recording wait for a look at all files.
    #[test]
    fn a_recording_that_begins_after_a_delete_looks_at_no_file_but_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let quota = quota(dir.path(), 1 << 20);
        Journal::create(dir.path(), Arc::clone(&quota), Arc::default(), &sample("01AAAAAA", 1).head).unwrap();
        assert!(!quota.is_due());
        quota.forget();
        Journal::create(dir.path(), Arc::clone(&quota), Arc::default(), &sample("01BBBBBB", 1).head).unwrap();
        assert!(quota.is_due(), "it has measured");
        std::fs::write(dir.path().join("rec_01CCCCCC.json"), vec![0; 1 << 20]).unwrap();
        quota.measure();
        std::fs::remove_file(dir.path().join("rec_01CCCCCC.json")).unwrap();
        quota.forget();
        Journal::create(dir.path(), quota, Arc::default(), &sample("01DDDDDD", 1).head).expect("who would be refused looks again");
    }

    #[test]
    fn room_is_reserved_behind_the_frames_and_given_back() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let whole = sample("01AAAAAA", 1);
        let mut journal = Journal::create(dir.path(), quota(dir.path(), 10_000_000), Arc::default(), &whole.head).unwrap();
        journal.append(&line(0)).unwrap();
        let blocks = |path: &Path| std::fs::metadata(path).map(|data| (data.len(), data.blocks() * 512)).unwrap();
        let (len, on_disk) = blocks(&journal.path);
        assert_eq!(len, journal.len());
        assert!(journal.reserved == u64::MAX || on_disk >= journal.len() + limits::TAIL_ROOM_BYTES, "{on_disk}");
        let target = journal.target.clone();
        finish(journal, &whole.tail).unwrap();
        let (len, on_disk) = blocks(&target);
        assert!(on_disk < len + limits::JOURNAL_GROWTH_BYTES, "{on_disk}");
    }

    #[test]
    fn a_journal_that_cannot_be_finished_says_so_and_is_recovered_later() {
        let dir = tempfile::tempdir().unwrap();
        let whole = sample("01AAAAAA", 2);
        let mut journal = Journal::create(dir.path(), quota(dir.path(), 10_000), Arc::default(), &whole.head).unwrap();
        journal.append(&line(0)).unwrap();
        let len = journal.len();
        // From now on every write fails.
        journal.file = File::open(&journal.path).unwrap();
        assert!(matches!(journal.append(&line(1)), Err(Error::Storage { .. })));
        assert_eq!(journal.len(), len);
        assert!(matches!(finish(journal, &whole.tail), Err(Error::Storage { .. })));
        assert_eq!(std::fs::metadata(files::path_of(dir.path(), "01AAAAAA", Kind::Journal)).unwrap().len(), len);
        assert_eq!(crate::store::recovery::recover(dir.path()).unwrap(), ["01AAAAAA"]);
    }

    #[test]
    fn a_journal_that_cannot_be_made_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("file"), "").unwrap();
        let below = dir.path().join("file/x");
        let Err(error) = Journal::create(&below, quota(&below, 10_000), Arc::default(), &sample("01AAAAAA", 0).head) else { panic!() };
        assert!(error.to_string().contains("--data-dir"), "{error}");
        assert!(matches!(
            Journal::create(dir.path(), quota(dir.path(), 10_000), Arc::default(), &sample("../x/../etc", 0).head),
            Err(Error::Invalid { .. })
        ));
    }
}
