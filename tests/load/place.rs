//! Where a run takes place: a directory that goes away, and the processes in it, each ended by its id. It knows no peer and measures nothing.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::{Value, json};

use crate::Result;

/// How long anything may take to say its next line.
const PATIENCE: Duration = Duration::from_secs(180);

/// How a run is done.
#[derive(Debug)]
pub struct Place {
    dir: tempfile::TempDir,
    /// Smaller counts, for a look within a minute.
    pub quick: bool,
}

impl Place {
    /// A fresh directory on the disk that `target` is on: not in memory, because what is recorded goes to a disk.
    pub fn new(quick: bool) -> Result<Self> {
        Ok(Self { dir: tempfile::Builder::new().prefix("load-").tempdir_in(env!("CARGO_TARGET_TMPDIR"))?, quick })
    }

    /// One number for a full run, another for a quick one.
    pub fn count(&self, full: u64, quick: u64) -> u64 {
        if self.quick { quick } else { full }
    }

    /// A path in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A path in the directory, as text.
    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// A directory for recordings, made as mockd makes it.
    pub fn data_dir(&self, name: &str) -> Result<PathBuf> {
        use std::os::unix::fs::DirBuilderExt;
        let path = self.path(name);
        std::fs::DirBuilder::new().mode(0o700).recursive(true).create(&path)?;
        Ok(path)
    }

    /// Starts a program, on one core where that is asked for. It goes when the bench does, whatever becomes of that.
    pub fn start(&self, core: Option<usize>, program: &str, args: &[&str]) -> Result<Process> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["as", &json!({"role": "exec", "core": core}).to_string(), program]).args(args);
        self.spawn(command, program)
    }

    /// Starts one of the bench's own parts.
    pub fn role(&self, core: Option<usize>, mut spec: Value) -> Result<Process> {
        spec["core"] = json!(core);
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["as", &spec.to_string()]);
        self.spawn(command, spec["role"].as_str().unwrap_or("?"))
    }

    /// Runs one of the bench's own parts and gives what it found out.
    pub fn ask(&self, core: Option<usize>, spec: Value) -> Result<Value> {
        self.role(core, spec)?.line()
    }

    /// Runs a command to its end: `{"ns", "cpuNs", "maxRssKib", "ok", "outBytes"}`. What it prints is counted and thrown away.
    pub fn time(&self, program: &str, args: &[&str]) -> Result<Value> {
        let used = self.ask(None, json!({"role": "time", "program": program, "args": args, "dir": self.dir.path()}))?;
        if used["ok"] != true {
            return Err(format!("{program} {} failed: {}", args.join(" "), used["stderr"]).into());
        }
        Ok(used)
    }

    fn spawn(&self, mut command: Command, what: &str) -> Result<Process> {
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("MOCKD_") {
                command.env_remove(name);
            }
        }
        command.env("HOME", self.dir.path()).current_dir(self.dir.path());
        let log = self.path(&format!("{}-{}.log", Path::new(what).file_name().unwrap_or_default().display(), crate::clock::now_ns()));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(std::fs::File::create(&log)?);
        let mut child = command.spawn().map_err(|error| format!("{what} can't be started: {error}"))?;
        let stdout = child.stdout.take().ok_or("no pipe")?;
        Ok(Process { lines: read_lines(stdout), child, log, what: what.to_owned() })
    }
}

fn read_lines(stdout: ChildStdout) -> Receiver<String> {
    let (sender, lines) = channel();
    std::thread::spawn(move || BufReader::new(stdout).lines().map_while(std::io::Result::ok).try_for_each(|line| sender.send(line)));
    lines
}

/// A process that the bench started.
#[derive(Debug)]
pub struct Process {
    child: Child,
    lines: Receiver<String>,
    log: PathBuf,
    what: String,
}

impl Process {
    /// Its id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The next line that it says, which is JSON.
    pub fn line(&self) -> Result<Value> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(line) => serde_json::from_str(&line).map_err(|error| format!("{} said {line:?}: {error}", self.what).into()),
            Err(error) => Err(format!("{} said nothing ({error}); its log: {}", self.what, self.log().trim_end()).into()),
        }
    }

    /// The port that its first line names.
    pub fn port(&self) -> Result<u16> {
        let line = self.line()?;
        Ok(u16::try_from(line["port"].as_u64().ok_or_else(|| format!("no port in {line}"))?)?)
    }

    /// What it wrote on stderr.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it still runs.
    pub fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// KiB by a name of `/proc/<pid>/status`: `VmRSS`, `VmHWM`.
    pub fn memory_kib(&self, name: &str) -> Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        Ok(line.and_then(|line| line.split_whitespace().next()).ok_or("no such line in status")?.parse()?)
    }

    /// Lets `VmHWM` begin anew at what is resident now.
    pub fn forget_peak(&self) -> Result<()> {
        Ok(std::fs::write(format!("/proc/{}/clear_refs", self.pid()), "5")?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
