//! A disk that power goes away from: from what was done to it, what it may hold afterwards. It knows files, names and syncs; nothing of
//! recordings.
//!
//! What a file holds for certain is what it held at its last fsync, and what a directory holds for certain are the names of its last
//! fsync. Of all that came later a disk keeps what it likes: writes whole, torn at sectors, as zeros or as garbage, a length without its
//! bytes; names in their order or in any other, but a rename as a whole or not at all.

use std::collections::{BTreeMap, HashMap};

use crate::support::disk_layer::Change;
use crate::support::effort::Dice;

/// The bytes that a disk writes as one.
const SECTOR: usize = 512;

/// What a disk holds: the bytes of files and, without bytes, directories, by their paths.
pub type Holding = BTreeMap<String, Option<Vec<u8>>>;

/// What power may leave of what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Everything is lost.
    All,
    /// Nothing is lost: what a crash of the program alone leaves.
    Nothing,
    /// Names up to some moment, in their order; bytes as it happens.
    Ordered,
    /// Names and bytes as it happens.
    Any,
}

/// Each kind of loss, the likeliest to find something more than once.
pub const LOSSES: [Loss; 6] = [Loss::All, Loss::Nothing, Loss::Ordered, Loss::Ordered, Loss::Any, Loss::Any];

/// A disk on its way.
#[derive(Debug, Default)]
pub struct Model {
    root: String,
    files: Vec<Content>,
    by_inode: HashMap<u64, usize>,
    /// The names as a running program sees them.
    names: Names,
    synced: Names,
    pending: Vec<Naming>,
}

/// Files by their numbers, directories without one.
type Names = BTreeMap<String, Option<usize>>;

#[derive(Debug, Default)]
struct Content {
    live: Vec<u8>,
    synced: Vec<u8>,
    pending: Vec<Data>,
}

#[derive(Debug)]
enum Data {
    Write { at: usize, bytes: Vec<u8> },
    Cut(usize),
}

/// A change of names: one is taken away, one is given, or both.
#[derive(Debug)]
struct Naming {
    removed: Option<String>,
    given: Option<(String, Option<usize>)>,
}

impl Model {
    /// An empty disk that is this directory.
    pub fn new(root: &str) -> Self {
        Self { root: root.to_owned(), ..Self::default() }
    }

    /// Takes the next change.
    pub fn apply(&mut self, change: &Change) {
        match change {
            Change::Create { inode, path } => {
                let number = self.files.len();
                self.files.push(Content::default());
                self.by_inode.insert(*inode, number);
                self.rename(Naming { removed: None, given: Some((path.clone(), Some(number))) });
            }
            Change::Cut { inode, length } => self.change(*inode, Data::Cut(*length as usize)),
            Change::Write { inode, at, bytes } => self.change(*inode, Data::Write { at: *at as usize, bytes: bytes.clone() }),
            Change::Sync { inode, path } => {
                if *path == self.root || self.names.get(path) == Some(&None) {
                    self.sync_names(path);
                } else if let Some(number) = self.by_inode.get(inode) {
                    let file = &mut self.files[*number];
                    file.synced.clone_from(&file.live);
                    file.pending.clear();
                }
            }
            Change::Rename { from, to } => {
                let node = self.names.get(from).copied().unwrap_or_else(|| panic!("{from} was renamed and is not there"));
                self.rename(Naming { removed: Some(from.clone()), given: Some((to.clone(), node)) });
            }
            Change::Remove { path } => self.rename(Naming { removed: Some(path.clone()), given: None }),
            Change::MakeDir { path } => self.rename(Naming { removed: None, given: Some((path.clone(), None)) }),
            Change::Mark(_) => {}
        }
    }

    /// The bytes of a file as a running program sees them.
    pub fn live(&self, path: &str) -> Option<&[u8]> {
        let number = (*self.names.get(path)?)?;
        Some(&self.files[number].live)
    }

    /// What the disk may hold when power goes away now. Paths begin below the root.
    pub fn holding(&self, loss: Loss, dice: &mut Dice) -> Holding {
        let mut names = self.synced.clone();
        let until = dice.below(self.pending.len() as u64 + 1) as usize;
        for (at, naming) in self.pending.iter().enumerate() {
            let is_kept = match loss {
                Loss::All => false,
                Loss::Nothing => true,
                Loss::Ordered => at < until,
                Loss::Any => dice.once_in(2),
            };
            if is_kept {
                naming.apply(&mut names);
            }
        }
        let mut holding = Holding::new();
        // Ascending, so that a directory comes before what is in it; without it, that is not there either.
        for (path, node) in &names {
            let Some(path) = path.strip_prefix(&self.root) else { continue };
            let path = path.trim_start_matches('/');
            let has_parent = path.rsplit_once('/').is_none_or(|(parent, _)| holding.get(parent) == Some(&None));
            if has_parent {
                holding.insert(path.to_owned(), node.map(|number| self.files[number].after(loss, dice)));
            }
        }
        holding
    }

    fn change(&mut self, inode: u64, data: Data) {
        let number = *self.by_inode.get(&inode).unwrap_or_else(|| panic!("nobody saw inode {inode} being made"));
        let file = &mut self.files[number];
        data.apply(&mut file.live);
        file.pending.push(data);
    }

    fn rename(&mut self, naming: Naming) {
        naming.apply(&mut self.names);
        self.pending.push(naming);
    }

    /// All that has happened to names in this directory lasts from now on.
    fn sync_names(&mut self, dir: &str) {
        let is_in = |path: &str| path.rsplit_once('/').is_some_and(|(parent, _)| parent == dir);
        let mut pending = Vec::new();
        for naming in std::mem::take(&mut self.pending) {
            let paths = [naming.removed.as_deref(), naming.given.as_ref().map(|(path, _)| path.as_str())];
            if paths.into_iter().flatten().any(is_in) {
                naming.apply(&mut self.synced);
                // What is still to come in a directory comes under the name that it has now.
                if let Some((from, to)) = naming.moved_directory() {
                    pending.iter_mut().for_each(|before: &mut Naming| before.follow(from, to));
                }
            } else {
                pending.push(naming);
            }
        }
        self.pending = pending;
    }
}

impl Naming {
    /// The two names of a directory that gets another one.
    fn moved_directory(&self) -> Option<(&str, &str)> {
        match (&self.removed, &self.given) {
            (Some(from), Some((to, None))) => Some((from, to)),
            _ => None,
        }
    }

    /// Puts what is in a directory under its other name.
    fn follow(&mut self, from: &str, to: &str) {
        let paths = self.removed.iter_mut().chain(self.given.iter_mut().map(|(path, _)| path));
        paths.for_each(|path| *path = below(path, from, to).unwrap_or_else(|| path.clone()));
    }

    fn apply(&self, names: &mut Names) {
        if let Some((from, to)) = self.moved_directory() {
            let inside: Vec<_> = names.iter().filter_map(|(path, node)| Some((path.clone(), below(path, from, to)?, *node))).collect();
            for (old, new, node) in inside {
                names.remove(&old);
                names.insert(new, node);
            }
        }
        if let Some(path) = &self.removed {
            names.remove(path);
        }
        if let Some((path, node)) = &self.given {
            names.insert(path.clone(), *node);
        }
    }
}

/// A path inside of the directory `from`, as it is when that is called `to`.
fn below(path: &str, from: &str, to: &str) -> Option<String> {
    let rest = path.strip_prefix(from)?;
    rest.starts_with('/').then(|| format!("{to}{rest}"))
}

impl Content {
    fn after(&self, loss: Loss, dice: &mut Dice) -> Vec<u8> {
        match loss {
            Loss::All => return self.synced.clone(),
            Loss::Nothing => return self.live.clone(),
            Loss::Ordered | Loss::Any => {}
        }
        let mut bytes = self.synced.clone();
        for data in &self.pending {
            match (data, dice.below(5)) {
                (data, 0 | 1) => data.apply(&mut bytes),
                (Data::Write { at, bytes: written }, how @ (2 | 3)) => {
                    // Each sector that the write touches is there, or is what the disk had at that place, or zeros.
                    let mut torn = written.clone();
                    let mut start = 0;
                    while start < torn.len() {
                        let end = torn.len().min(start + SECTOR - (at + start) % SECTOR);
                        match dice.below(3) {
                            0 => {}
                            1 => torn[start..end].fill(0),
                            _ if how == 2 => torn[start..end].iter_mut().for_each(|byte| *byte = dice.bits() as u8),
                            _ => torn.truncate(start),
                        }
                        start = end;
                    }
                    Data::Write { at: *at, bytes: torn }.apply(&mut bytes);
                }
                // Lost; its length may be there.
                (Data::Write { at, bytes: written }, _) if dice.once_in(2) => {
                    let length = bytes.len().max(at + written.len());
                    bytes.resize(length, 0);
                }
                _ => {}
            }
        }
        bytes
    }
}

impl Data {
    fn apply(&self, to: &mut Vec<u8>) {
        match self {
            Self::Write { at, bytes } => {
                let length = to.len().max(at + bytes.len());
                to.resize(length, 0);
                to[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            Self::Cut(length) => to.resize(*length, 0),
        }
    }
}
