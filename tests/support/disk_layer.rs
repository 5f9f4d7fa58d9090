//! A disk below the real binary that a test can watch and break: the Rust side of `disk_layer.c`, which is compiled once in a run.
//! It knows calls and files; what a recorder should do about them, the tests say.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

use super::server::Place;

/// An errno (Linux): the disk gives an error.
pub const EIO: &str = "5";
/// An errno: permission denied.
pub const EACCES: &str = "13";
/// An errno: no space left.
pub const ENOSPC: &str = "28";
/// An errno: the file system is read-only.
pub const EROFS: &str = "30";
/// Every call that changes something.
pub const CHANGES: &str = "create,openwrite,write,ftruncate,fallocate,fsync,rename,unlink,mkdir,rmdir,chmod";

/// What was done to the disk, in the order in which it happened.
#[derive(Debug, Clone)]
pub enum Change {
    /// A new file.
    Create { inode: u64, path: String },
    /// A file's new length.
    Cut { inode: u64, length: u64 },
    /// Bytes written at a place.
    Write { inode: u64, at: u64, bytes: Vec<u8> },
    /// A file, or a directory, synced; the path is the one that it was opened by.
    Sync { inode: u64, path: String },
    /// A file's new name.
    Rename { from: String, to: String },
    /// A name taken away, of a file or of a directory.
    Remove { path: String },
    /// A new directory.
    MakeDir { path: String },
    /// What the test said.
    Mark(String),
}

/// A place whose files lie on a disk of the test's.
#[derive(Debug)]
pub struct Disk {
    /// Where mockd's commands run; the disk is its home.
    pub place: Place,
    aside: TempDir,
}

impl Disk {
    /// A disk whose changes are logged; `None`, with a line that says so, where the layer cannot be had.
    pub fn watched() -> Option<Self> {
        Self::new("MOCKD_DISK_LOG", "log")
    }

    /// A disk that follows [`Disk::rules`], and is well until they say otherwise.
    pub fn breakable() -> Option<Self> {
        Self::new("MOCKD_DISK_FAULTS", "rules")
    }

    fn new(variable: &str, file: &str) -> Option<Self> {
        let library = library()?;
        let aside = TempDir::new().expect("a temporary directory");
        let place = Place::new();
        let path = |name: &str| aside.path().join(name).display().to_string();
        let home = place.home().display().to_string();
        let place = place.env("LD_PRELOAD", &library.display().to_string()).env("MOCKD_DISK_ROOT", &home);
        let place = place.env(variable, &path(file)).env("MOCKD_DISK_FIRED", &path("fired"));
        Some(Self { place, aside })
    }

    /// From now on these rules hold, a line each: calls with commas or `*`, the first and the last of the process's calls (counted from
    /// 1), what happens (an errno, `short`, `slow:MS`, `hang`), a part of the path, its end and a `$`, or `*`.
    pub fn rules(&self, rules: &str) {
        let beside = self.aside.path().join("rules.new");
        std::fs::write(&beside, rules).expect("the rules can be written");
        std::fs::rename(beside, self.aside.path().join("rules")).expect("the rules can be written");
    }

    /// From now on these calls, on paths with this part, have this outcome.
    pub fn fail(&self, calls: &str, outcome: &str, part: &str) {
        self.rules(&format!("{calls} 0 {} {outcome} {part}\n", u64::MAX));
    }

    /// From now on nothing is wrong.
    pub fn mend(&self) {
        self.rules("");
    }

    /// The calls that were hit: number, call, path.
    pub fn hits(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.aside.path().join("fired")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Appends what the test knows to the log of changes.
    pub fn mark(&self, text: &str) {
        self.log(b'M', 0, 0, text, &[]);
    }

    /// Writes into a file at its end, as somebody else's hand or a bad disk would; the log has it.
    pub fn scribble(&self, path: &Path, bytes: &[u8]) {
        let at = std::fs::metadata(path).expect("a file").len();
        let mut file = std::fs::OpenOptions::new().append(true).open(path).expect("a file");
        file.write_all(bytes).expect("the file takes it");
        self.log(b'W', std::os::unix::fs::MetadataExt::ino(&file.metadata().expect("a file")), at, "", bytes);
    }

    fn log(&self, letter: u8, inode: u64, at: u64, text: &str, bytes: &[u8]) {
        let mut entry = vec![letter];
        for number in [inode, at, text.len() as u64, bytes.len() as u64] {
            entry.extend(number.to_le_bytes());
        }
        entry.extend(text.as_bytes());
        entry.extend(bytes);
        let log = std::fs::OpenOptions::new().append(true).create(true).open(self.aside.path().join("log"));
        log.and_then(|mut log| log.write_all(&entry)).expect("the log takes a mark");
    }

    /// All changes so far.
    pub fn changes(&self) -> Vec<Change> {
        let log = std::fs::read(self.aside.path().join("log")).expect("a log");
        let mut rest = &log[..];
        let mut changes = Vec::new();
        while !rest.is_empty() {
            let number = |at: usize| u64::from_le_bytes(rest[1 + 8 * at..][..8].try_into().expect("eight bytes"));
            let (inode, at, one, two) = (number(0), number(1), number(2) as usize, number(3) as usize);
            let (letter, texts) = (rest[0], &rest[33..]);
            // The same place under one name: `a/./b` is `a/b`.
            let text = |bytes: &[u8]| {
                let text = std::str::from_utf8(bytes).expect("paths of tests are UTF-8").replace("/./", "/");
                text.strip_suffix("/.").map_or(text.clone(), str::to_owned)
            };
            let path = text(&texts[..one]);
            changes.push(match letter {
                b'C' => Change::Create { inode, path },
                b'T' => Change::Cut { inode, length: at },
                b'W' => Change::Write { inode, at, bytes: texts[one..one + two].to_vec() },
                b'S' => Change::Sync { inode, path },
                b'R' => Change::Rename { from: path, to: text(&texts[one..one + two]) },
                b'U' => Change::Remove { path },
                b'K' => Change::MakeDir { path },
                b'M' => Change::Mark(path),
                other => panic!("no such entry: {other}"),
            });
            rest = &texts[one + two..];
        }
        changes
    }
}

/// The compiled layer, once in a run; `None` where there is no compiler, or no loader that takes it.
fn library() -> Option<&'static Path> {
    static LIBRARY: OnceLock<Option<PathBuf>> = OnceLock::new();
    LIBRARY
        .get_or_init(|| {
            let made = compile();
            made.inspect_err(|why| println!("skipped: no disk of a test's own here: {why}")).ok()
        })
        .as_deref()
}

fn compile() -> Result<PathBuf, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support/disk_layer.c");
    let library = Path::new(env!("CARGO_TARGET_TMPDIR")).join("disk_layer.so");
    let beside = library.with_extension(std::process::id().to_string());
    let mut command = Command::new("cc");
    command
        .args(["-Wall", "-Wextra", "-O1", "-fno-delete-null-pointer-checks", "-shared", "-fPIC", "-o"])
        .args([&beside, &source])
        .args(["-ldl", "-lpthread"]);
    let made = command.output().map_err(|error| format!("cc cannot be run: {error}"))?;
    if !made.status.success() {
        return Err(format!("cc: {}", String::from_utf8_lossy(&made.stderr)));
    }
    std::fs::rename(&beside, &library).map_err(|error| error.to_string())?;
    // A binary without a loader (static), or one of another C library, does not take it: then no call is seen.
    let dir = TempDir::new().map_err(|error| error.to_string())?;
    let log = dir.path().join("log");
    let mut probe = Command::new(super::server::MOCKD);
    probe.args(["init"]).current_dir(dir.path()).env("LD_PRELOAD", &library);
    let probed = probe.env("MOCKD_DISK_ROOT", dir.path()).env("MOCKD_DISK_LOG", &log).output().map_err(|error| error.to_string())?;
    let seen = std::fs::metadata(&log).is_ok_and(|log| log.len() > 0);
    if seen { Ok(library) } else { Err(format!("the binary does not load it: {}", String::from_utf8_lossy(&probed.stderr))) }
}
