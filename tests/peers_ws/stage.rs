//! A server with every way in which it meets a WebSocket: a relay whose upstream end is in the test's hands, a mock, and a replay in
//! each mode. It says nothing of what a peer gets there.

use std::fs::read_dir;
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use crate::support::recordings::ws;
use crate::support::server::{Builder, Place};
use crate::support::wait::{self, eventually};
use crate::support::ws::{MASK, Raw};
use crate::support::{Server, Upstream};

/// Where a peer may misbehave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// The client of the relay.
    RelayClient,
    /// The upstream of the relay.
    RelayUpstream,
    /// The client of a config's mock, which echoes.
    Mock,
    /// The client of a pure replay: `hello` at once, then nothing for an hour.
    Pure,
    /// The client of a synchronized replay: `hello`, then it waits for a message.
    Synchronized,
    /// The client of a triggered replay that nobody advances.
    Triggered,
}

/// All of them.
pub const SIDES: [Side; 6] = [Side::RelayClient, Side::RelayUpstream, Side::Mock, Side::Pure, Side::Synchronized, Side::Triggered];
/// Those at which mockd itself is the other end.
pub const OWN: [Side; 4] = [Side::Mock, Side::Pure, Side::Synchronized, Side::Triggered];

impl Side {
    /// The folder of its paths.
    pub fn folder(self) -> &'static str {
        match self {
            Self::RelayClient => "/client",
            Self::RelayUpstream => "/upstream",
            Self::Mock => "/mock",
            Self::Pure => "/pure",
            Self::Synchronized => "/synchronized",
            Self::Triggered => "/triggered",
        }
    }

    /// Whether mockd stands between two peers here.
    pub fn is_relay(self) -> bool {
        matches!(self, Self::RelayClient | Self::RelayUpstream)
    }

    /// The mask of the frames that the peer on this side should send.
    pub fn mask(self) -> Option<[u8; 4]> {
        (self != Self::RelayUpstream).then_some(MASK)
    }
}

/// A running server and those around it.
#[derive(Debug)]
pub struct Stage {
    /// The server.
    pub server: Server,
    _upstream: Upstream,
    ends: Receiver<Raw>,
    bystander: Raw,
}

/// A connection under test.
#[derive(Debug)]
pub struct Met {
    /// The one that will misbehave.
    pub peer: Raw,
    /// At the relay the one beyond it.
    pub other: Option<Raw>,
}

impl Stage {
    /// A server with these further settings.
    pub fn with(set: impl FnOnce(Builder) -> Builder) -> Self {
        let (sender, ends) = channel();
        let upstream = Upstream::websocket(None, move |raw| drop(sender.send(raw)));
        let place = Place::new();
        const HOUR_US: u64 = 3_600_000_000;
        let made = [
            ("pure", ws("/x").s2c(0, "hello").s2c(HOUR_US, "late")),
            ("synchronized", ws("/x").s2c(0, "hello").c2s(1, "ask").s2c(2, "answer").c2s(3, "thanks").s2c(HOUR_US, "welcome")),
            ("triggered", ws("/x").s2c(0, "hello").s2c(1, "late")),
        ];
        let mut mocks = vec![json!({"type": "websocket", "websocket": {"path": "/mock/*", "echoMode": true}})];
        for (mode, made) in made {
            place.file(&format!("{mode}.json"), &made.json().to_string());
            let replay = json!({"recording": format!("{mode}.json"), "mode": mode});
            mocks.push(json!({"type": "websocket", "websocket": {"path": format!("/{mode}/*"), "replay": replay}}));
        }
        let config = place.file("stage.json", &json!({"version": "1.0", "mocks": mocks}).to_string());
        let builder = Server::builder().place(&place).option("--config", config.display()).upstream(upstream.url());
        let server = set(builder).start();
        let mut bystander = Raw::open(server.mock, "/mock/bystander");
        // Its threads are there with its first answer, those of the admin port with theirs.
        bystander.run("send text here\nexpect text here");
        server.get("/health");
        Self { server, _upstream: upstream, ends, bystander }
    }

    /// A connection on one side; the greeting of a replay has been read.
    #[track_caller]
    pub fn meet(&self, side: Side, name: &str) -> Met {
        let mut client = Raw::open(self.server.mock, &format!("{}/{name}", side.folder()));
        match side {
            Side::RelayClient => Met { peer: client, other: Some(self.upstream_end()) },
            Side::RelayUpstream => Met { peer: self.upstream_end(), other: Some(client) },
            Side::Pure | Side::Synchronized => {
                client.run("expect text hello");
                Met { peer: client, other: None }
            }
            Side::Mock | Side::Triggered => Met { peer: client, other: None },
        }
    }

    /// The upstream's end of the connection that has just been relayed.
    #[track_caller]
    pub fn upstream_end(&self) -> Raw {
        wait::next("a WebSocket at the upstream", &self.ends)
    }

    /// A connection that has been there all the time is served as before.
    #[track_caller]
    pub fn check_bystander(&mut self, after: &str) {
        self.bystander.run(&format!("send text after {after}\nexpect text after {after}"));
    }

    /// The recording of the connection at a path, once it has ended.
    #[track_caller]
    pub fn recording(&self, path: &str) -> Value {
        let list = format!("/stream-recordings?path={path}");
        let id = eventually(&format!("the end of the recording of {path}"), || {
            let summary = self.server.get(&list)["recordings"].get(0)?.clone();
            (summary["status"] != "recording").then(|| summary["id"].as_str().unwrap_or_default().to_owned())
        });
        self.server.recording(&id)
    }

    /// Nothing panicked.
    #[track_caller]
    pub fn check_log(&self) {
        let log = self.server.log();
        assert!(!log.contains("panicked"), "{log}");
    }

    /// Threads and descriptors of the server.
    pub fn threads_and_descriptors(&self) -> (usize, usize) {
        let count = |what: &str| read_dir(format!("/proc/{}/{what}", self.server.pid)).map_or(0, Iterator::count);
        (count("task"), count("fd"))
    }

    /// Waits until the server has no more threads and descriptors than these.
    #[track_caller]
    pub fn check_nothing_left(&self, before: (usize, usize)) {
        eventually(&format!("threads and descriptors to be at most {before:?}"), || {
            // A question that takes its time, and says what there is where it is in vain.
            self.server.get("/health");
            let now = self.threads_and_descriptors();
            // The admin port's own threads come and go with its calls.
            (now.0 <= before.0 + 4 && now.1 <= before.1 + 4).then_some(())
        });
    }

    /// Bytes of the server that are resident.
    pub fn server_bytes(&self) -> u64 {
        resident_bytes(self.server.pid)
    }
}

/// Bytes of a process that are resident.
pub fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the process runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line of what is resident");
    line.trim().trim_end_matches(" kB").parse::<u64>().expect("a number") * 1024
}
