//! A program on a terminal of its own: what it writes, what a screen would show of it, and keys typed into it. It asserts nothing.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use super::wait::{self, eventually};

/// A child whose three streams are one terminal of 24 lines and 80 columns.
#[derive(Debug)]
pub struct Pty {
    child: Child,
    keys: File,
    written: Arc<Mutex<Vec<u8>>>,
}

impl Pty {
    /// Starts a command on a terminal.
    #[track_caller]
    pub fn spawn(mut command: Command) -> Self {
        let size = nix::pty::Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = nix::pty::openpty(&size, None).expect("a pseudo terminal");
        let side = || Stdio::from(pty.slave.try_clone().expect("a descriptor"));
        let child = command.stdin(side()).stdout(side()).stderr(side()).spawn().expect("the command can be started");
        // The command holds the other side as well, until it is dropped; only the child may.
        drop(command);
        drop(pty.slave);
        let keys = File::from(pty.master);
        let (mut output, written) = (keys.try_clone().expect("a descriptor"), Arc::new(Mutex::new(Vec::new())));
        let into = Arc::clone(&written);
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Reading fails when the other side is gone.
            while let Ok(read @ 1..) = output.read(&mut bytes) {
                into.lock().expect("no holder panics").extend(&bytes[..read]);
            }
        });
        Self { child, keys, written }
    }

    /// Types.
    pub fn keys(&mut self, text: &str) {
        self.keys.write_all(text.as_bytes()).expect("the terminal takes keys");
    }

    /// All that was written so far, escape codes included.
    pub fn written(&self) -> String {
        String::from_utf8_lossy(&self.written.lock().expect("no holder panics")).into_owned()
    }

    /// Waits until this has been written.
    #[track_caller]
    pub fn sees(&self, text: &str) {
        let end = std::time::Instant::now() + wait::DEADLINE;
        while !self.written().contains(text) {
            assert!(std::time::Instant::now() < end, "waited in vain for {text:?} on the terminal, which says {:?}", self.written());
            std::thread::park_timeout(std::time::Duration::from_millis(5));
        }
    }

    /// Waits for the end; the status and all that was written.
    #[track_caller]
    pub fn end(mut self) -> (ExitStatus, String) {
        let status = wait::exit("the program on the terminal", &mut self.child);
        // Its last bytes may still be on their way to the thread that reads; then nobody shares them any more.
        eventually("the last bytes", || (Arc::strong_count(&self.written) == 1).then_some(()));
        let written = self.written();
        (status, written)
    }
}

impl Drop for Pty {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The lines that a screen shows after these bytes, without blanks at their ends; it knows the codes that mockd writes.
pub fn screen(written: &str) -> Vec<String> {
    let (mut lines, mut column) = (vec![Vec::new()], 0_usize);
    let mut rest = written.chars();
    while let Some(c) = rest.next() {
        let line = lines.last_mut().expect("there is one");
        match c {
            '\r' => column = 0,
            '\n' => lines.push(Vec::new()),
            '\x1b' => {
                let mut code = String::new();
                while !code.ends_with(|c: char| c.is_ascii_alphabetic()) {
                    code.extend([rest.next().expect("a code has an end")]);
                }
                match code.as_str() {
                    "[K" => line.truncate(column),
                    "[?7l" | "[?7h" => {}
                    code if code.ends_with('m') => {}
                    other => panic!("no screen knows {other:?}"),
                }
            }
            c => {
                line.resize((column + 1).max(line.len()), ' ');
                line[column] = c;
                column += 1;
            }
        }
    }
    let text = |line: &Vec<char>| line.iter().collect::<String>().trim_end().to_owned();
    let mut shown: Vec<String> = lines.iter().map(text).collect();
    while shown.last().is_some_and(String::is_empty) {
        shown.pop();
    }
    shown
}
