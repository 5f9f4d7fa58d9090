//! What is known of every recording without a look into its file: kept in memory, and in one file for the next process (`index_file.rs`).
//!
//! Only files whose stamp is new are opened. A file that was written within the clock's last tick is not believed: it may be written once
//! more without its stamp showing it. While the directory's own stamp says that no name has changed, only what can change under its name
//! is looked at: running journals, and the files of the page that is shown; all others now and then.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use super::files::{self, Found, Kind};
use super::finished::{Entry, Finished};
use super::glance::{self, DirLook, SETTLED_NS};
use super::index_file;
use super::summary::{self, JournalView, Look};
use crate::base::error::Result;
use crate::base::time;
use crate::model::api::Summary;

/// All recordings of a directory at one moment.
#[derive(Debug, Default)]
pub struct Index {
    finished: Arc<Finished>,
    journals: HashMap<String, JournalView>,
    /// Bytes of all files of recordings, when all were looked at.
    pub used_bytes: u64,
    /// Entries that the file does not have yet.
    unsaved: usize,
    /// Whether one of these was dear to find out.
    dear: bool,
    /// When all were looked at; `None` where there was nothing to look at, or where an entry is to be looked at again in any case.
    look: Option<DirLook>,
}

/// So many new entries are found out anew by each process before the file is written again.
const UNSAVED_MAX: usize = 64;
/// How often a file may get another name while it is looked at.
const NAME_TRIES: usize = 5;

impl Index {
    /// Every recording with its start time in microseconds.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &Summary)> {
        let finished = self.finished.entries().values().map(|entry| (entry.start_us, &entry.summary));
        finished.chain(self.running())
    }

    /// The journals with their start times in microseconds.
    pub fn running(&self) -> impl Iterator<Item = (u64, &Summary)> {
        self.journals.values().map(|view| (start_us(&view.summary), &view.summary))
    }

    /// The recordings that are no journals.
    pub fn finished(&self) -> &Finished {
        &self.finished
    }

    /// Whether there is a recording of this id.
    pub fn has(&self, id: &str) -> bool {
        self.finished.entries().contains_key(id) || self.journals.contains_key(id)
    }

    /// The index of what is in the directory now; `self` is what is known from before. All files are looked at.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub fn refresh(&self, dir: &Path) -> Result<Self> {
        let mut look = DirLook::begin(dir);
        let now_ns = glance::now_ns();
        let mut found = files::scan(dir)?;
        // A large directory is read in pieces: a name that goes from one that is still to come into one that has been read is in none.
        let seen: HashSet<&str> = found.iter().map(|found| found.id.as_str()).collect();
        let known = self.finished.entries().keys().chain(self.journals.keys());
        let unseen: Vec<String> = known.filter(|id| !seen.contains(id.as_str())).cloned().collect();
        for id in unseen {
            found.extend(files::locate(dir, &id)?);
        }
        let mut next = Next { unsaved: self.unsaved, dear: self.dear, ..Next::default() };
        next.entries.reserve(found.len());
        for found in found {
            next.used_bytes += found.stamp.size;
            self.carry(&mut next, dir, found, now_ns)?;
        }
        // A journal whose recording is there too is a copy that somebody put there.
        next.journals.retain(|id, _| !next.entries.contains_key(id));
        // Where nothing is new, the orders that are known stay as they are.
        let is_same = next.new == 0 && next.entries.len() == self.finished.entries().len();
        let finished = if is_same { Arc::clone(&self.finished) } else { Arc::new(Finished::new(next.entries)) };
        if let Some(look) = &mut look {
            look.end();
        }
        let Next { journals, used_bytes, unsaved, dear, unsettled, .. } = next;
        Ok(Self { finished, journals, used_bytes, unsaved, dear, look: look.filter(|_| unsettled == 0) })
    }

    /// The same where no name in the directory has changed since all files were looked at, with a look at the journals alone; `None`
    /// where that cannot be said. A file that somebody has written in place is not seen: [`Index::shows`] looks at those that matter.
    pub fn glance(&self, dir: &Path) -> Option<Self> {
        let look = self.look.filter(|look| look.holds(dir))?;
        let mut journals = HashMap::with_capacity(self.journals.len());
        for (id, known) in &self.journals {
            let found = files::stat(dir, id, Kind::Journal).ok()??;
            journals.insert(id.clone(), summary::read_journal(dir, &found, Some(known))?);
        }
        let finished = Arc::clone(&self.finished);
        Some(Self { finished, journals, used_bytes: self.used_bytes, unsaved: self.unsaved, dear: self.dear, look: Some(look) })
    }

    /// Whether the files of these recordings are still what they were when they were looked into.
    pub fn shows(&self, dir: &Path, rows: &[Summary]) -> bool {
        let entries = rows.iter().filter_map(|row| self.finished.entries().get(&row.id));
        entries.into_iter().all(|entry| {
            let found = files::stat(dir, &entry.summary.id, entry.kind);
            found.is_ok_and(|found| found.is_some_and(|found| entry.is_still(&found)))
        })
    }

    /// Puts one recording into the next index: as it is known, or as its file says.
    fn carry(&self, next: &mut Next, dir: &Path, mut found: Found, now_ns: i64) -> Result<()> {
        for _ in 0..NAME_TRIES {
            if next.entries.get(&found.id).is_some_and(|other| other.kind <= found.kind) {
                return Ok(());
            }
            if found.kind == Kind::Journal {
                if let Some(view) = summary::read_journal(dir, &found, self.journals.get(&found.id)) {
                    next.journals.insert(found.id, view);
                    return Ok(());
                }
            } else if let Some(entry) = self.finished.entries().get(&found.id).filter(|known| known.is_still(&found)) {
                next.entries.insert(found.id, Arc::clone(entry));
                return Ok(());
            } else if let Some((summary, look)) = summary::read_finished(dir, &found) {
                // What a disk in trouble did not give is asked for again.
                let settled = look != Look::Failed && found.stamp.mtime_ns.saturating_add(SETTLED_NS) < now_ns;
                if settled {
                    next.unsaved += 1;
                    next.dear |= look == Look::Whole;
                } else {
                    next.unsettled += 1;
                }
                let entry = Entry { kind: found.kind, stamp: found.stamp, settled, start_us: start_us(&summary), summary };
                next.new += 1;
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

    /// What the last process kept; an index of nothing where there is none.
    pub fn load(dir: &Path) -> Self {
        Self { finished: Arc::new(Finished::new(index_file::read(dir))), ..Self::default() }
    }

    /// Keeps it for the next process where enough is new in it. What cannot be written is found out again by that one.
    pub fn save(&mut self, dir: &Path) {
        let entries = self.finished.entries();
        let worth = self.dear || self.unsaved >= UNSAVED_MAX || self.unsaved * 4 > entries.len();
        if self.unsaved == 0 || !worth {
            return;
        }
        match index_file::write(dir, entries) {
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
}

/// An index in the making.
#[derive(Default)]
struct Next {
    entries: HashMap<String, Arc<Entry>>,
    journals: HashMap<String, JournalView>,
    used_bytes: u64,
    unsaved: usize,
    dear: bool,
    /// Entries that were not known.
    new: usize,
    /// Entries whose stamps are too new to be believed.
    unsettled: usize,
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
        assert_eq!(loaded.finished.entries().len(), 2);
        let second = loaded.refresh(dir.path()).unwrap();
        assert_eq!((second.unsaved, names(&second)), (0, names(&first)));
        assert!(Arc::ptr_eq(&loaded.finished.entries()["01AAAAAA"], &second.finished.entries()["01AAAAAA"]));

        let mut renamed = sample("01AAAAAA", 2);
        renamed.head.name = "other".to_owned();
        age(&put(dir.path(), &renamed));
        std::fs::remove_file(files::path_of(dir.path(), "01BBBBBB", Kind::Finished)).unwrap();
        let third = second.refresh(dir.path()).unwrap();
        assert_eq!((third.unsaved, names(&third)), (1, vec!["other".to_owned()]));
    }

    /// Until the directory's stamp is old enough to be believed.
    fn settle() {
        std::thread::sleep(std::time::Duration::from_nanos(SETTLED_NS as u64 + 20_000_000));
    }

    #[test]
    fn while_no_name_changes_a_glance_is_enough_and_sees_what_it_shows() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["01AAAAAA", "01BBBBBB"].map(|id| put(dir.path(), &sample(id, 2)));
        paths.iter().for_each(|path| age(path));
        let journal = files::path_of(dir.path(), "01CCCCCC", Kind::Journal);
        std::fs::write(&journal, crate::model::recording_text::head_line(&sample("01CCCCCC", 0).head).unwrap()).unwrap();
        assert!(Index::default().glance(dir.path()).is_none(), "nothing has been looked at");
        settle();
        let known = Index::default().refresh(dir.path()).unwrap();
        let glance = known.glance(dir.path()).unwrap();
        assert!(Arc::ptr_eq(&known.finished, &glance.finished));
        let row = |id: &str| vec![glance.finished.entries()[id].summary.clone()];

        // What grows under its name is seen; what is written in place is seen where it is shown.
        let mut line = Vec::new();
        crate::model::recording_text::push_frame_line(&mut line, &sample("01CCCCCC", 1).frames[0], true).unwrap();
        std::io::Write::write_all(&mut std::fs::File::options().append(true).open(&journal).unwrap(), &line).unwrap();
        std::fs::write(&paths[0], std::fs::read_to_string(&paths[0]).unwrap().replace("chat-", "talk-")).unwrap();
        let glance = glance.glance(dir.path()).unwrap();
        assert_eq!(glance.running().map(|(_, summary)| summary.frame_count).collect::<Vec<_>>(), [1]);
        assert!(glance.shows(dir.path(), &row("01BBBBBB")) && !glance.shows(dir.path(), &row("01AAAAAA")));

        // What gets another name, comes or goes is seen in any case.
        let known = glance.refresh(dir.path()).unwrap();
        assert!(known.glance(dir.path()).is_none(), "a file of the last tick is looked at again");
        settle();
        let known = known.refresh(dir.path()).unwrap();
        assert!(known.glance(dir.path()).is_some());
        std::fs::rename(&journal, files::path_of(dir.path(), "01CCCCCC", Kind::Finished)).unwrap();
        assert!(known.glance(dir.path()).is_none());
    }

    #[test]
    fn where_nothing_is_new_the_known_orders_stay() {
        let dir = tempfile::tempdir().unwrap();
        let paths = ["01AAAAAA", "01BBBBBB"].map(|id| put(dir.path(), &sample(id, 2)));
        paths.iter().for_each(|path| age(path));
        let first = Index::default().refresh(dir.path()).unwrap();
        let second = first.refresh(dir.path()).unwrap();
        assert!(Arc::ptr_eq(&first.finished, &second.finished));
        std::fs::remove_file(&paths[0]).unwrap();
        let third = second.refresh(dir.path()).unwrap();
        assert!(!Arc::ptr_eq(&second.finished, &third.finished) && !third.has("01AAAAAA"));
    }

    #[test]
    fn a_file_of_the_last_tick_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = put(dir.path(), &sample("01AAAAAA", 2));
        let first = Index::default().refresh(dir.path()).unwrap();
        assert!(!first.finished.entries()["01AAAAAA"].settled);
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
        assert!(first.finished.entries()["01AAAAAA"].settled);
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
        let text = std::fs::read(index_file::path_in(dir.path())).unwrap();
        for cut in (0..text.len()).step_by(7) {
            std::fs::write(index_file::path_in(dir.path()), &text[..cut]).unwrap();
            assert_eq!(names(&Index::load(dir.path()).refresh(dir.path()).unwrap()), names(&index), "{cut}");
        }
        std::fs::write(index_file::path_in(dir.path()), b"{\"mockdIndex\":99}\n{}\n").unwrap();
        assert_eq!(Index::load(dir.path()).finished.entries().len(), 0);
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
        assert_eq!(Index::load(dir.path()).finished.entries()["01FOREIGN"].summary.frame_count, 4);
    }
}
