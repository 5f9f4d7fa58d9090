//! A running mockd: the real binary on free ports, in a home of its own, ended with its test. And the command line beside it.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::{self, Answer};
use super::wait::{self, eventually};

/// The program under test.
pub const MOCKD: &str = env!("CARGO_BIN_EXE_mockd");

/// A place with a home, a working directory and a data directory, in which mockd's commands run.
#[derive(Debug, Clone)]
pub struct Place {
    home: Arc<TempDir>,
    env: Vec<(String, String)>,
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

impl Place {
    /// A new, empty place.
    pub fn new() -> Self {
        Self { home: Arc::new(TempDir::new().expect("a temporary directory")), env: Vec::new() }
    }

    /// The home and working directory.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// The data directory; mockd makes it.
    pub fn data_dir(&self) -> PathBuf {
        self.home().join("data")
    }

    /// Sets a variable for every command here.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Writes a file here and gives its path.
    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.home().join(name);
        std::fs::write(&path, text).expect("a file can be written");
        path
    }

    /// A command of mockd in this place, with a clean environment and no input.
    pub fn command(&self, args: &[&str]) -> Command {
        self.prepare(Command::new(MOCKD), args)
    }

    /// The same, with so many descriptors at most.
    fn command_within(&self, open_files: u64, args: &[&str]) -> Command {
        let mut shell = Command::new("/bin/sh");
        shell.arg("-c").arg(format!("ulimit -n {open_files} && exec \"$0\" \"$@\"")).arg(MOCKD);
        self.prepare(shell, args)
    }

    fn prepare(&self, mut command: Command, args: &[&str]) -> Command {
        command
            .args(args)
            .env_clear()
            .env("HOME", self.home())
            .env("TMPDIR", self.home())
            .env("PATH", "/usr/bin:/bin")
            .current_dir(self.home());
        command.env("MOCKD_DATA_DIR", self.data_dir()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command to its end.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Output {
        Output::of(self.command(args), args)
    }

    /// All bytes of all files below the data directory, for looking whether a secret is among them.
    pub fn stored_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut folders = vec![self.data_dir()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if entry.path().is_dir() {
                    folders.push(entry.path());
                } else {
                    // A journal may be renamed between the listing and the read; its successor is read by the next caller.
                    bytes.extend(std::fs::read(entry.path()).unwrap_or_default());
                }
            }
        }
        bytes
    }
}

/// What a command said and how it ended.
#[derive(Debug)]
pub struct Output {
    /// Its arguments.
    pub args: Vec<String>,
    /// Its exit code, -1 for a signal.
    pub code: i32,
    /// Its standard output.
    pub stdout: String,
    /// Its standard error.
    pub stderr: String,
}

impl Output {
    #[track_caller]
    pub fn of(mut command: Command, args: &[&str]) -> Self {
        let mut child = command.spawn().expect("mockd can be started");
        let stdout = collect(child.stdout.take().expect("a pipe"));
        let stderr = collect(child.stderr.take().expect("a pipe"));
        let status = wait::exit(&format!("mockd {}", args.join(" ")), &mut child);
        Self {
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            code: status.code().unwrap_or(-1),
            stdout: wait::next("its output", &stdout),
            stderr: wait::next("its errors", &stderr),
        }
    }

    /// The same, if it ended with this code.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, code, "mockd {}\nstdout: {}\nstderr: {}", self.args.join(" "), self.stdout, self.stderr);
        self
    }

    /// The standard output of a command that succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        self.expect(0).stdout
    }

    /// The JSON that a command that succeeded printed.
    #[track_caller]
    pub fn json(self) -> Value {
        let text = self.ok();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("no JSON ({error}): {text}"))
    }

    /// Checks that it failed with this code, said nothing on stdout and one line with these words on stderr.
    #[track_caller]
    pub fn expect_error(self, code: i32, words: &[&str]) {
        let output = self.expect(code);
        assert_eq!(output.stdout, "", "an error says nothing on stdout");
        assert_eq!(output.stderr.trim_end().lines().count(), 1, "one line: {:?}", output.stderr);
        for word in words {
            assert!(output.stderr.contains(word), "{word:?} is not in {:?}", output.stderr);
        }
    }
}

/// All of a pipe, at its end.
pub(super) fn collect(mut pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // A pipe that breaks gives what it gave; a receiver that has gone needs nothing.
        drop(pipe.read_to_end(&mut bytes));
        drop(sender.send(String::from_utf8_lossy(&bytes).into_owned()));
    });
    receiver
}

/// How a server will be started.
#[derive(Debug, Default)]
pub struct Builder {
    place: Place,
    args: Vec<String>,
    open_files: Option<u64>,
}

impl Builder {
    /// A flag, or a flag's value.
    pub fn flag(mut self, flag: &str) -> Self {
        self.args.push(flag.to_owned());
        self
    }

    /// A flag with its value.
    pub fn option(self, flag: &str, value: impl ToString) -> Self {
        self.flag(flag).flag(&value.to_string())
    }

    /// `--upstream`.
    pub fn upstream(self, url: impl ToString) -> Self {
        self.option("--upstream", url)
    }

    /// A config file with this text, given with `--config`.
    pub fn config(self, text: &str) -> Self {
        let path = self.place.file(&format!("config-{}.yaml", self.args.len()), text);
        self.option("--config", path.display())
    }

    /// A variable of the environment.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.place = self.place.env(name, value);
        self
    }

    /// The place to run in, where others have been.
    pub fn place(mut self, place: &Place) -> Self {
        self.place = place.clone();
        self
    }

    /// How many descriptors it may have.
    pub fn open_files(mut self, open_files: u64) -> Self {
        self.open_files = Some(open_files);
        self
    }

    /// Starts it and waits until it says its addresses.
    #[track_caller]
    pub fn start(self) -> Server {
        let (child, ready, stderr) = launch(&self.place, self.open_files, &self.args);
        let address = |name: &str| -> SocketAddr {
            let url = ready[name].as_str().unwrap_or_else(|| panic!("no {name} in {ready}"));
            url.strip_prefix("http://").and_then(|rest| rest.parse().ok()).unwrap_or_else(|| panic!("no address: {url}"))
        };
        Server { mock: address("mock"), admin: address("admin"), pid: child.id(), ready, place: self.place, args: self.args, child, stderr }
    }

    /// Starts what is expected to refuse to start.
    #[track_caller]
    pub fn refused(self) -> Output {
        let args: Vec<&str> = SERVE.iter().copied().chain(self.args.iter().map(String::as_str)).collect();
        self.place.run(&args)
    }
}

const SERVE: &[&str] = &["serve", "--port", "0", "--admin-port", "0", "--json", "--ready-file", "ready.json"];

#[track_caller]
fn launch(place: &Place, open_files: Option<u64>, args: &[String]) -> (Child, Value, Arc<Mutex<String>>) {
    let args: Vec<&str> = SERVE.iter().copied().chain(args.iter().map(String::as_str)).collect();
    let mut command = open_files.map_or_else(|| place.command(&args), |open_files| place.command_within(open_files, &args));
    let mut child = command.spawn().expect("mockd can be started");
    let stderr = Arc::new(Mutex::new(String::new()));
    let (lines, log) = (BufReader::new(child.stderr.take().expect("a pipe")), Arc::clone(&stderr));
    std::thread::spawn(move || {
        for line in lines.lines().map_while(Result::ok) {
            let mut log = log.lock().expect("no holder panics");
            log.push_str(&line);
            log.push('\n');
        }
    });
    let (sender, first) = channel();
    let mut stdout = BufReader::new(child.stdout.take().expect("a pipe"));
    std::thread::spawn(move || {
        let mut line = String::new();
        // What was read is sent, also where the pipe broke; the test may have ended.
        drop(stdout.read_line(&mut line));
        drop(sender.send(line));
        drop(std::io::copy(&mut stdout, &mut std::io::sink()));
    });
    let line = wait::next("the server's line", &first);
    let Ok(ready) = serde_json::from_str(&line) else {
        // It may have ended already.
        drop(child.kill());
        drop(child.wait());
        panic!("mockd {} said {line:?} and {}", args.join(" "), stderr.lock().expect("no holder panics"));
    };
    (child, ready, stderr)
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    /// The mock port.
    pub mock: SocketAddr,
    /// The admin port.
    pub admin: SocketAddr,
    /// The process.
    pub pid: u32,
    /// What it said when it was ready.
    pub ready: Value,
    /// Where it runs.
    pub place: Place,
    args: Vec<String>,
    child: Child,
    stderr: Arc<Mutex<String>>,
}

impl Server {
    /// Flags and settings first, then [`Builder::start`].
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// A server without an upstream.
    #[track_caller]
    pub fn start() -> Self {
        Self::builder().start()
    }

    /// A server before this upstream.
    #[track_caller]
    pub fn before(upstream: &super::Upstream) -> Self {
        Self::builder().upstream(upstream.url()).start()
    }

    /// A call of the admin API; a body that is null is none.
    #[track_caller]
    pub fn call(&self, method: &str, path: &str, body: &Value) -> Answer {
        let text = if body.is_null() { String::new() } else { body.to_string() };
        http::ask(self.admin, method, path, &[], text.as_bytes())
    }

    /// GET, expecting 200 and JSON.
    #[track_caller]
    pub fn get(&self, path: &str) -> Value {
        self.call("GET", path, &Value::Null).expect(200).json()
    }

    /// POST with a JSON body.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, body)
    }

    /// POST without a body.
    #[track_caller]
    pub fn touch(&self, path: &str) -> Answer {
        self.call("POST", path, &Value::Null)
    }

    /// Opens a recording session and gives its id.
    #[track_caller]
    pub fn record(&self, protocol: &str, path: &str) -> String {
        let answer = self.post("/stream-recordings/start", &json!({"protocol": protocol, "path": path}));
        text(&answer.expect(201).json()["id"])
    }

    /// Stops a recording session and gives the answer.
    #[track_caller]
    pub fn stop(&self, id: &str) -> Value {
        self.touch(&format!("/stream-recordings/{id}/stop")).expect(200).json()
    }

    /// A whole recording.
    #[track_caller]
    pub fn recording(&self, id: &str) -> Value {
        self.get(&format!("/stream-recordings/{id}"))
    }

    /// A whole recording, if it is there: that of a running session comes some milliseconds after its first connection.
    #[track_caller]
    pub fn recording_so_far(&self, id: &str) -> Option<Value> {
        let answer = self.call("GET", &format!("/stream-recordings/{id}"), &Value::Null);
        (answer.status() == 200).then(|| answer.json())
    }

    /// Waits until a recording has its connection.
    #[track_caller]
    pub fn begun(&self, id: &str) -> Value {
        eventually(&format!("recording {id}"), || {
            self.recording_so_far(id).filter(|recording| !recording["metadata"]["clientIp"].is_null())
        })
    }

    /// Waits until a recording has ended, and gives it.
    #[track_caller]
    pub fn finished(&self, id: &str) -> Value {
        eventually(&format!("the end of recording {id}"), || {
            self.recording_so_far(id).filter(|recording| recording["status"] != "recording")
        })
    }

    /// Makes a replay session and gives its id.
    #[track_caller]
    pub fn replay(&self, recording: &str, options: &Value) -> String {
        text(&self.post(&format!("/stream-recordings/{recording}/replay"), options).expect(201).json()["id"])
    }

    /// A replay session's status.
    #[track_caller]
    pub fn view(&self, replay: &str) -> Value {
        self.get(&format!("/replay/{replay}"))
    }

    /// Waits until a replay session is `waiting`, `complete` or `ended`, and gives its status.
    #[track_caller]
    pub fn wait(&self, replay: &str, until: &str) -> Value {
        self.get(&format!("/replay/{replay}?wait={until}&timeout={}", wait::DEADLINE.as_millis() - 1000))
    }

    /// Waits until a replay session has this status.
    #[track_caller]
    pub fn status(&self, replay: &str, status: &str) -> Value {
        eventually(&format!("status {status} of replay {replay}"), || Some(self.view(replay)).filter(|view| view["status"] == status))
    }

    /// Runs a command against this server and its data directory.
    #[track_caller]
    pub fn run(&self, args: &[&str]) -> Output {
        let place = self.place.clone().env("MOCKD_ADMIN_URL", &format!("http://{}", self.admin));
        place.run(args)
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        self.stderr.lock().expect("no holder panics").clone()
    }

    /// Waits until it has logged this: what it does and what it says of it reach a test by two ways.
    #[track_caller]
    pub fn logs(&self, words: &str) {
        eventually(&format!("{words:?} in the log"), || self.log().contains(words).then_some(()));
    }

    /// Ends it as a crash does.
    pub fn kill9(&mut self) {
        self.child.kill().expect("the server runs");
        self.child.wait().expect("the server can be waited for");
    }

    /// Sends a signal by its name: `TERM`, `INT`, `HUP`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.pid.to_string()).status();
        assert!(status.expect("kill can be started").success());
    }

    /// Sends SIGTERM and waits for the end.
    #[track_caller]
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        wait::exit("the server after SIGTERM", &mut self.child)
    }

    /// Waits for its end.
    #[track_caller]
    pub fn exit(&mut self) -> ExitStatus {
        wait::exit("the server", &mut self.child)
    }

    /// Another server in the same place with the same flags. This one should have ended.
    #[track_caller]
    pub fn again(&self) -> Self {
        Builder { place: self.place.clone(), args: self.args.clone(), ..Builder::default() }.start()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            let log = self.log();
            // The test fails anyway; its log is best effort.
            drop(std::io::stderr().write_all(format!("--- log of the server:\n{log}---\n").as_bytes()));
        }
    }
}

/// A JSON string's text.
#[track_caller]
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no string: {value}")).to_owned()
}
