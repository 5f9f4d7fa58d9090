//! The servers that are compared: mockd, nginx and haproxy, each started alike before the same upstream. It measures nothing.

use std::net::{TcpListener, TcpStream};
use std::path::Path;

use mockd::cli::client::Client;
use serde_json::Value;

use crate::Result;
use crate::clock;
use crate::place::{Place, Process};

/// The binary that is measured: built with the profile of the bench, which is that of a release.
pub const MOCKD: &str = env!("CARGO_BIN_EXE_mockd");

/// A running mockd.
#[derive(Debug)]
pub struct Mockd {
    /// Its process.
    pub process: Process,
    /// Its mock port.
    pub port: u16,
    /// Its admin port.
    pub admin: u16,
    client: Client,
}

impl Mockd {
    /// Starts it with these flags and waits until it listens.
    pub fn start(place: &Place, core: Option<usize>, data_dir: &Path, flags: &[&str]) -> Result<Self> {
        let data_dir = data_dir.display().to_string();
        let mut args = vec!["serve", "--port", "0", "--admin-port", "0", "--json", "--data-dir", &data_dir];
        args.extend(flags);
        let process = place.start(core, MOCKD, &args)?;
        let ready = process.line()?;
        let url = |name: &str| ready[name].as_str().ok_or_else(|| format!("no {name} in {ready}"));
        let port = |name: &str| -> Result<u16> { Ok(url(name)?.rsplit(':').next().unwrap_or_default().parse()?) };
        Ok(Self { port: port("mock")?, admin: port("admin")?, client: Client::new(url("admin")?, None)?, process })
    }

    /// One that records everything before this upstream.
    pub fn recording(place: &Place, core: Option<usize>, data_dir: &Path, upstream: &str, flags: &[&str]) -> Result<Self> {
        let all = [&["--record", "--max-bytes", "100GiB", "--upstream", upstream], flags].concat();
        Self::start(place, core, data_dir, &all)
    }

    /// A call of the admin API.
    pub fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value> {
        let text = self.client.call(method, path, body)?.text();
        Ok(if text.is_empty() { Value::Null } else { serde_json::from_str(&text)? })
    }

    /// Waits until so many recordings have ended, and gives their summaries, the newest first.
    pub fn ended(&self, count: usize) -> Result<Vec<Value>> {
        let end = clock::now_ns() + 120_000_000_000;
        loop {
            let page = self.call("GET", "/stream-recordings", None)?;
            let all = page["recordings"].as_array().cloned().unwrap_or_default();
            if all.len() >= count && all.iter().all(|summary| summary["status"] != "recording") {
                return Ok(all);
            }
            if clock::now_ns() > end {
                return Err(format!("{count} recordings should have ended, these are there: {}", page["total"]).into());
            }
            clock::settle(20);
        }
    }
}

/// A peer that relays to an upstream and records nothing.
#[derive(Debug)]
pub struct Peer {
    _process: Process,
    /// Where it listens.
    pub port: u16,
}

/// Starts nginx before `upstream` (`http://…` or `https://…`): one worker, nothing buffered.
pub fn nginx(place: &Place, core: Option<usize>, upstream: &str) -> Result<Peer> {
    let program = find("nginx")?;
    let port = free_port()?;
    let home = place.text(&format!("nginx-{port}"));
    std::fs::create_dir(&home)?;
    let temp: String =
        ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].iter().map(|kind| format!("{kind}_temp_path {home}/{kind};\n")).collect();
    let config = format!(
        "daemon off; master_process off; worker_processes 1; pid {home}/pid; error_log {home}/error.log crit;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; {temp}\
         map $http_upgrade $connection_upgrade {{ default upgrade; '' ''; }}\n\
         server {{ listen 127.0.0.1:{port}; location / {{\n\
         proxy_pass {upstream}; proxy_http_version 1.1; proxy_set_header Host localhost;\n\
         proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;\n\
         proxy_buffering off; proxy_buffer_size 64k; proxy_buffers 4 64k; proxy_busy_buffers_size 128k; proxy_read_timeout 1h; proxy_send_timeout 1h;\n\
         }} }} }}\n"
    );
    let file = format!("{home}/nginx.conf");
    std::fs::write(&file, config)?;
    let log = format!("{home}/start.log");
    await_port(place.start(core, &program, &["-p", &home, "-e", &log, "-c", &file])?, port)
}

/// Starts haproxy before an upstream's port: one thread.
pub fn haproxy(place: &Place, core: Option<usize>, upstream: u16) -> Result<Peer> {
    let program = find("haproxy")?;
    let port = free_port()?;
    let config = format!(
        "global\n nbthread 1\n maxconn 1000\n\
         defaults\n mode http\n timeout connect 5s\n timeout client 1h\n timeout server 1h\n timeout tunnel 1h\n option http-no-delay\n\
         frontend f\n bind 127.0.0.1:{port}\n default_backend b\n\
         backend b\n server s 127.0.0.1:{upstream}\n"
    );
    let file = place.text(&format!("haproxy-{port}.cfg"));
    std::fs::write(&file, config)?;
    await_port(place.start(core, &program, &["-db", "-f", &file])?, port)
}

fn find(name: &str) -> Result<String> {
    let places = ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"];
    let found = places.iter().map(|place| format!("{place}/{name}")).find(|path| Path::new(path).exists());
    Ok(found.ok_or_else(|| format!("{name} is not installed (Debian: apt-get install {name})"))?)
}

fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn await_port(mut process: Process, port: u16) -> Result<Peer> {
    for _ in 0..500 {
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return Ok(Peer { _process: process, port });
        }
        if !process.is_alive() {
            break;
        }
        clock::settle(10);
    }
    Err(format!("a peer does not listen on port {port}: {}", process.log()).into())
}
