//! `mockd record` and `mockd play` while they run. Their command is a shell that says its environment on stdout and then waits for the
//! end of its stdin, so that the test is the client itself and says when the command ends.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

use super::server::{Output, Place, collect};
use super::wait::{self, eventually};

/// A run that is under way.
#[derive(Debug)]
pub struct OneShot {
    /// The mock port.
    pub mock: SocketAddr,
    /// The process of mockd.
    pub pid: u32,
    /// What the command found: MOCKD_URL, MOCKD_WS_URL, MOCKD_ADMIN_URL, its own pid.
    pub said: Vec<String>,
    args: Vec<String>,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Receiver<String>,
    stderr: Receiver<String>,
}

impl OneShot {
    /// Runs `mockd <args> -- sh`, whose command ends with `code`.
    #[track_caller]
    pub fn with_command(place: &Place, args: &[&str], code: i32) -> Self {
        let script = format!("echo \"$MOCKD_URL $MOCKD_WS_URL $MOCKD_ADMIN_URL $$\"; cat; exit {code}");
        Self::with_script(place, args, &script)
    }

    /// The same with a script that says such a line itself.
    #[track_caller]
    pub fn with_script(place: &Place, args: &[&str], script: &str) -> Self {
        let args = [args, &["--", "sh", "-c", script]].concat();
        let mut command = place.command(&args);
        command.stdin(Stdio::piped());
        let mut run = Self::spawn(command, &args);
        let line = run.first_line();
        run.said = line.split_whitespace().map(str::to_owned).collect();
        assert_eq!(run.said.len(), 4, "{line:?} {:?}", run.stderr.try_recv());
        run.mock = run.said[0].strip_prefix("http://").and_then(|rest| rest.parse().ok()).expect("an address");
        run
    }

    /// Runs `mockd <args>` without a command, on free ports.
    #[track_caller]
    pub fn alone(place: &Place, args: &[&str]) -> Self {
        let args = [args, &["--port", "0", "--ready-file", "alone.json"]].concat();
        let mut run = Self::spawn(place.command(&args), &args);
        let ready: Value = eventually("the ready file", || {
            assert!(run.child.try_wait().expect("a child").is_none(), "it ended: {}", wait::next("its errors", &run.stderr));
            serde_json::from_slice(&std::fs::read(place.home().join("alone.json")).ok()?).ok()
        });
        run.mock = ready["mock"].as_str().and_then(|url| url.strip_prefix("http://")?.parse().ok()).expect("an address");
        run
    }

    #[track_caller]
    fn spawn(mut command: Command, args: &[&str]) -> Self {
        let mut child = command.spawn().expect("mockd can be started");
        let (stdout, stderr) = (lines(child.stdout.take().expect("a pipe")), collect(child.stderr.take().expect("a pipe")));
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        let mock = SocketAddr::from(([127, 0, 0, 1], 0));
        Self { mock, pid: child.id(), said: Vec::new(), args, stdin: child.stdin.take(), child, stdout, stderr }
    }

    #[track_caller]
    fn first_line(&mut self) -> String {
        wait::next("the command's line", &self.stdout)
    }

    /// Sends a signal to mockd alone.
    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").arg(format!("-{name}")).arg(self.pid.to_string()).status().expect("kill").success());
    }

    /// Ends the command, and waits for mockd to end.
    #[track_caller]
    pub fn finish(mut self) -> Output {
        self.end_command();
        self.output()
    }

    /// Ends the command; mockd goes on with what it does then.
    pub fn end_command(&mut self) {
        drop(self.stdin.take());
    }

    /// Ends the command of a run that stands still (SIGSTOP), and lets it go on when the command has ended: what clients did meanwhile
    /// and the command's end come to mockd in the same moment.
    #[track_caller]
    pub fn finish_at_once(mut self) -> Output {
        // `kill` is done before its signal is: a thread that still runs would see the command end, and away would be its entry.
        let stands = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("stat")).is_ok_and(|stat| stat.contains(") T "));
        let tasks = format!("/proc/{}/task", self.pid);
        eventually("mockd to stand still", || std::fs::read_dir(&tasks).expect("a process").flatten().all(stands).then_some(()));
        drop(self.stdin.take());
        let stat = format!("/proc/{}/stat", self.said[3]);
        eventually("the end of the command", || std::fs::read_to_string(&stat).expect("a process").contains(") Z ").then_some(()));
        self.signal("CONT");
        self.output()
    }

    /// Waits for mockd to end.
    #[track_caller]
    pub fn output(mut self) -> Output {
        let status = wait::exit(&format!("mockd {}", self.args.join(" ")), &mut self.child);
        // A command that outlives mockd, as one does that ignores its signal, ends with its input.
        drop(self.stdin.take());
        Output {
            args: std::mem::take(&mut self.args),
            code: status.code().unwrap_or(-1),
            stdout: self.stdout.iter().collect(),
            stderr: wait::next("its errors", &self.stderr),
        }
    }
}

impl Drop for OneShot {
    fn drop(&mut self) {
        // It has ended, unless the test failed.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The lines of a pipe, as they come.
fn lines(pipe: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if sender.send(line + "\n").is_err() {
                return;
            }
        }
    });
    receiver
}
