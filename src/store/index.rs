//! What is known of every recording without a look into its file: kept in memory, and in one file for the next process.
//!
//! The directory is read and each file's stamp looked at, every time; only files whose stamp is new are opened. A file that was written
//! within the clock's last tick is not believed: it may be written once more without its stamp showing it.
//!
//! The file is a cache. One that is missing, torn or of another version costs time, nothing else.

use std::collections::{HashMap, HashSet};
use std::fs::OpenOptions;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::files::{self, Found, Kind, Stamp};
use super::lock::DirLock;
use super::summary::{self, JournalView, Look};
use crate::base::error::{Error, Result};
use crate::base::{limits, time};
use crate::model::api::Summary;

/// One recording that is no journal.
#[derive(Debug)]
pub struct Entry {
    kind: Kind,
    stamp: Stamp,
    /// Whether the stamp was old enough to tell this content from any later one.
    settled: bool,
    /// `startTime` in microseconds, for sorting.
    pub start_us: u64,
    /// What a list says of it.
    pub summary: Summary,
}

/// All recordings of a directory at one moment.
#[derive(Debug, Default)]
pub struct Index {
    entries: HashMap<String, Arc<Entry>>,
    journals: HashMap<String, JournalView>,
    /// Bytes of all files of recordings.
    pub used_bytes: u64,
    /// Entries that the file does not have yet.
    unsaved: usize,
    /// Whether one of these was dear to find out.
    dear: bool,
}

/// A stamp is believed when the file was written this long before it was looked at: more than a tick of any kernel's clock.
const SETTLED_NS: i64 = 50_000_000;
/// So many new entries are found out anew by each process before the file is written again.
const UNSAVED_MAX: usize = 64;
/// How often a file may get another name while it is looked at.
const NAME_TRIES: usize = 5;
/// The first line of the file: another version is not read.
const HEADER: &str = "{\"mockdIndex\":2}";

impl Index {
    /// Every recording with its start time in microseconds.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Summary)> {
        let finished = self.entries.values().map(|entry| (entry.start_us, &entry.summary));
        finished.chain(self.journals.values().map(|view| (start_us(&view.summary), &view.summary)))
    }

    /// Whether there is a recording of this id.
    pub fn has(&self, id: &str) -> bool {
        self.entries.contains_key(id) || self.journals.contains_key(id)
    }

    /// The index of what is in the directory now; `self` is what is known from before.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn refresh(&self, dir: &Path) -> Result<Self> {
        let now_ns = i64::try_from(time::wall_us()).unwrap_or(i64::MAX / 1000).saturating_mul(1000);
        let mut found = files::scan(dir)?;
        // A large directory is read in pieces: a name that goes from one that is still to come into one that has been read is in none.
        let seen: HashSet<&str> = found.iter().map(|found| found.id.as_str()).collect();
        let known = self.entries.keys().chain(self.journals.keys());
        let unseen: Vec<String> = known.filter(|id| !seen.contains(id.as_str())).cloned().collect();
        for id in unseen {
            found.extend(files::locate(dir, &id)?);
        }
        let mut next = Self { unsaved: self.unsaved, dear: self.dear, ..Self::default() };
        next.entries.reserve(found.len());
        for found in found {
            next.used_bytes += found.stamp.size;
            self.carry(&mut next, dir, found, now_ns)?;
        }
        // A journal whose recording is there too is a copy that somebody put there.
        next.journals.retain(|id, _| !next.entries.contains_key(id));
        Ok(next)
    }

    /// Puts one recording into the next index: as it is known, or as its file says.
    fn carry(&self, next: &mut Self, dir: &Path, mut found: Found, now_ns: i64) -> Result<()> {
        for _ in 0..NAME_TRIES {
            if next.entries.get(&found.id).is_some_and(|other| other.kind <= found.kind) {
                return Ok(());
            }
            if found.kind == Kind::Journal {
                if let Some(view) = summary::read_journal(dir, &found, self.journals.get(&found.id)) {
                    next.journals.insert(found.id, view);
                    return Ok(());
                }
            } else if let Some(entry) = self.entries.get(&found.id).filter(|known| known.is_still(&found)) {
                next.entries.insert(found.id, Arc::clone(entry));
                return Ok(());
            } else if let Some((summary, look)) = summary::read_finished(dir, &found) {
                // What a disk in trouble did not give is asked for again.
                let settled = look != Look::Failed && found.stamp.mtime_ns.saturating_add(SETTLED_NS) < now_ns;
                if settled {
                    next.unsaved += 1;
                    next.dear |= look == Look::Whole;
                }
                let entry = Entry { kind: found.kind, stamp: found.stamp, settled, start_us: start_us(&summary), summary };
                next.entries.insert(found.id, Arc::new(entry));
                return Ok(());
            }
            // It got another name a moment ago.
            match files::locate(dir, &found.id)? {
                Some(now) => found = now,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Reads the file; an index of nothing where there is none.
    pub fn load(dir: &Path) -> Self {
        let Some(text) = read_file(&file_path(dir)) else { return Self::default() };
        let mut lines = text.split('\n');
        let mut index = Self::default();
        if lines.next() != Some(HEADER) {
            return index;
        }
        index.entries.reserve(text.len() / 512);
        for line in lines {
            // A torn line is one recording to be read again.
            let Ok(row) = serde_json::from_str::<Row<&str, Summary>>(line) else { continue };
            let Some((id, kind)) = files::parse_name(row.file) else { continue };
            let stamp = Stamp { size: row.size, mtime_ns: row.mtime_ns, ctime_ns: row.ctime_ns, inode: row.inode };
            let entry = Entry { kind, stamp, settled: true, start_us: row.start_us, summary: row.summary };
            index.entries.insert(id.to_owned(), Arc::new(entry));
        }
        index
    }

    /// Writes the file where enough is new in it. What cannot be written is found out again by the next process.
    pub fn save(&mut self, dir: &Path) {
        let worth = self.dear || self.unsaved >= UNSAVED_MAX || self.unsaved * 4 > self.entries.len();
        if self.unsaved == 0 || !worth {
            return;
        }
        match self.write(dir) {
            Ok(true) => (self.unsaved, self.dear) = (0, false),
            // Another process is at it.
            Ok(false) => {}
            Err(error) => {
                log::debug!("the index of {} is not kept: {error}", dir.display());
                // Trying again at every list would cost more than the index saves.
                (self.unsaved, self.dear) = (0, false);
            }
        }
    }

    fn write(&self, dir: &Path) -> Result<bool> {
        let Some(_lock) = DirLock::try_acquire(dir)? else { return Ok(false) };
        let path = file_path(dir);
        let failed = |error: std::io::Error| Error::storage("write", &path, &error);
        let mut text = HEADER.as_bytes().to_vec();
        for (id, entry) in self.entries.iter().filter(|(_, entry)| entry.settled) {
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
}

/// The text of the file; `None` where there is none, or something else by its name.
fn read_file(path: &Path) -> Option<String> {
    // What cannot be read is found out again.
    let file = files::open_plain(path, OpenOptions::new().read(true)).ok()?;
    let mut text = String::new();
    file.take(limits::MAX_STORE_BYTES).read_to_string(&mut text).ok()?;
    Some(text)
}

impl Entry {
    fn is_still(&self, found: &Found) -> bool {
        self.settled && self.kind == found.kind && self.stamp == found.stamp
    }
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

fn file_path(dir: &Path) -> PathBuf {
    dir.join(files::INDEX_DIR).join("index.jsonl")
}

/// Microseconds since 1970 of a summary's start; 0 where a foreign file says something else.
fn start_us(summary: &Summary) -> u64 {
    time::parse_rfc3339(&summary.start_time).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::testing::{age, put, sample, text_of};

    fn names(index: &Index) -> Vec<String> {
        let mut names: Vec<String> = index.iter().map(|(_, summary)| summary.name.clone()).collect();
        names.sort();
        names
    }

    #[test]
    fn only_files_with_a_new_stamp_are_opened() {
        let dir = tempfile::tempdir().unwrap();
        for id in ["01AAAAAA", "01BBBBBB"] {
            let path = put(dir.path(), &sample(id, 2));
            age(&path);
        }
        let mut first = Index::default().refresh(dir.path()).unwrap();
        assert_eq!(first.unsaved, 2);
        first.save(dir.path());
        assert_eq!(first.unsaved, 0);
        let loaded = Index::load(dir.path());
        assert_eq!(loaded.entries.len(), 2);
        let second = loaded.refresh(dir.path()).unwrap();
        assert_eq!((second.unsaved, names(&second)), (0, names(&first)));
        assert!(Arc::ptr_eq(&loaded.entries["01AAAAAA"], &second.entries["01AAAAAA"]));

        let mut renamed = sample("01AAAAAA", 2);
        renamed.head.name = "other".to_owned();
        age(&put(dir.path(), &renamed));
        std::fs::remove_file(files::path_of(dir.path(), "01BBBBBB", Kind::Finished)).unwrap();
        let third = second.refresh(dir.path()).unwrap();
        assert_eq!((third.unsaved, names(&third)), (1, vec!["other".to_owned()]));
    }

    #[test]
    fn a_file_of_the_last_tick_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = put(dir.path(), &sample("01AAAAAA", 2));
        let first = Index::default().refresh(dir.path()).unwrap();
        assert!(!first.entries["01AAAAAA"].settled);
        // The same size, inode and (set back) time: only a second look can tell.
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        let text = String::from_utf8(std::fs::read(&path).unwrap()).unwrap().replace("chat-", "talk-");
        std::fs::write(&path, text).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        let second = first.refresh(dir.path()).unwrap();
        assert!(names(&second)[0].starts_with("talk-"));
    }

    #[test]
    fn a_file_rewritten_in_place_with_its_old_time_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = put(dir.path(), &sample("01AAAAAA", 2));
        age(&path);
        let first = Index::default().refresh(dir.path()).unwrap();
        assert!(first.entries["01AAAAAA"].settled);
        let modified = std::fs::metadata(&path).unwrap().modified().unwrap();
        let text = String::from_utf8(std::fs::read(&path).unwrap()).unwrap().replace("chat-", "talk-");
        std::fs::write(&path, text).unwrap();
        std::fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();
        assert!(names(&first.refresh(dir.path()).unwrap())[0].starts_with("talk-"));
    }

    /// Names change while the directory is read: between the look at a name and the one at its file, and, in a directory that is read
    /// in pieces, from one piece to another.
    #[test]
    fn a_recording_that_gets_another_name_meanwhile_is_listed() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..900 {
            age(&put(dir.path(), &sample(&format!("01AAAA{number:03}"), 0)));
        }
        let (dir, done) = (dir.path(), std::sync::atomic::AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut names = [Kind::Finished, Kind::Deleted];
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    for id in ["01AAAA007", "01AAAA450", "01AAAA777"] {
                        std::fs::rename(files::path_of(dir, id, names[0]), files::path_of(dir, id, names[1])).unwrap();
                    }
                    names.swap(0, 1);
                }
            });
            let mut index = Index::default().refresh(dir).unwrap();
            let faults: Vec<usize> = (0..60)
                .map(|_| {
                    index = index.refresh(dir).unwrap();
                    index.iter().count()
                })
                .filter(|count| *count != 900)
                .collect();
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            assert_eq!(faults, [0; 0]);
        });
    }

    #[test]
    fn a_torn_index_costs_time_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        for id in ["01AAAAAA", "01BBBBBB", "01CCCCCC"] {
            age(&put(dir.path(), &sample(id, 1)));
        }
        let mut index = Index::default().refresh(dir.path()).unwrap();
        index.save(dir.path());
        let text = std::fs::read(file_path(dir.path())).unwrap();
        for cut in (0..text.len()).step_by(7) {
            std::fs::write(file_path(dir.path()), &text[..cut]).unwrap();
            assert_eq!(names(&Index::load(dir.path()).refresh(dir.path()).unwrap()), names(&index), "{cut}");
        }
        std::fs::write(file_path(dir.path()), b"{\"mockdIndex\":99}\n{}\n").unwrap();
        assert_eq!(Index::load(dir.path()).entries.len(), 0);
    }

    #[test]
    fn a_foreign_file_is_parsed_once() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..20 {
            age(&put(dir.path(), &sample(&format!("01AAAA{number:02}"), 1)));
        }
        let mut index = Index::default().refresh(dir.path()).unwrap();
        index.save(dir.path());
        let value: serde_json::Value = serde_json::from_slice(&text_of(&sample("01FOREIGN", 4))).unwrap();
        let path = files::path_of(dir.path(), "01FOREIGN", Kind::Finished);
        std::fs::write(&path, serde_json::to_vec_pretty(&value).unwrap()).unwrap();
        age(&path);
        let mut index = index.refresh(dir.path()).unwrap();
        assert!(index.dear);
        index.save(dir.path());
        assert_eq!(Index::load(dir.path()).entries["01FOREIGN"].summary.frame_count, 4);
    }
}
