//! The limits: bare loops that do what mockd does and nothing else. Waiting for deadlines, passing bytes on, writing, reading JSON. And the
//! stopwatch for commands.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use nix::sys::resource::{UsageWho, getrusage};
use serde::de::IgnoredAny;
use serde_json::{Value, json};

use super::{number, say, word};
use crate::figures::quantile;
use crate::{Result, clock};

/// Threads that wait for the deadlines of as many sessions: `threads`, `frames`, `interval_us`, `spread_ms`. Says the quantiles of each
/// thread's lateness, `{"p50": [ns], "p99": […]}`.
pub fn waits(spec: &Value) -> Result<()> {
    clock::sharpen()?;
    let (threads, frames) = (number(spec, "threads")?, number(spec, "frames")?);
    let (interval_ns, spread_ns) = (number(spec, "interval_us")? * 1000, number(spec, "spread_ms")? * 1_000_000);
    let start = clock::now_ns() + 200_000_000;
    let waiting: Vec<_> = (0..threads)
        .map(|thread| {
            std::thread::Builder::new().stack_size(64 * 1024).spawn(move || {
                let mut late = Vec::with_capacity(frames as usize);
                for frame in 1..=frames {
                    let due = start + spread_ns * thread / threads + frame * interval_ns;
                    clock::wait_until(due);
                    late.push(clock::now_ns().saturating_sub(due));
                }
                (quantile(&mut late, 50), quantile(&mut late, 99))
            })
        })
        .collect::<std::io::Result<_>>()?;
    let (mut p50, mut p99) = (Vec::new(), Vec::new());
    for thread in waiting {
        let (middle, most) = thread.join().map_err(|_| "a thread panicked")?;
        p50.push(middle);
        p99.push(most);
    }
    say(&json!({"p50": p50, "p99": p99}));
    Ok(())
}

/// A blind relay before the port `upstream`: two threads a connection, 64 KiB at a time, bytes and nothing else.
pub fn pipe(spec: &Value) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    say(&json!({"port": listener.local_addr()?.port()}));
    let upstream = u16::try_from(number(spec, "upstream")?)?;
    for client in listener.incoming() {
        let (client, server) = (client?, TcpStream::connect(("127.0.0.1", upstream))?);
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (client_too, server_too) = (client.try_clone()?, server.try_clone()?);
        std::thread::spawn(move || pass_on(client, server));
        std::thread::spawn(move || pass_on(server_too, client_too));
    }
    Ok(())
}

fn pass_on(mut from: TcpStream, mut to: TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    // The other side may be gone already.
    drop(to.shutdown(Shutdown::Write));
}

/// One write(2) for each of `count` frames of `bytes` bytes to the file `file`. Says `{"cpuNs"}` of all of them, user and system.
pub fn writes(spec: &Value) -> Result<()> {
    let mut file = std::fs::File::create(word(spec, "file")?)?;
    let frame = vec![b'x'; number(spec, "bytes")? as usize];
    let before = clock::cpu_ns(std::process::id())?;
    for _ in 0..number(spec, "count")? {
        file.write_all(&frame)?;
    }
    say(&json!({"cpuNs": clock::cpu_ns(std::process::id())? - before}));
    Ok(())
}

/// Reads `file` and parses it: only checks that it is JSON, or makes values of it. Says `{"ns"}`.
pub fn read_json(spec: &Value, only_check: bool) -> Result<()> {
    let start = clock::now_ns();
    let text = std::fs::read(word(spec, "file")?)?;
    if only_check {
        serde_json::from_slice::<IgnoredAny>(&text)?;
    } else {
        std::hint::black_box(serde_json::from_slice::<Value>(&text)?);
    }
    say(&json!({"ns": clock::now_ns() - start}));
    Ok(())
}

/// Runs `program` with `args` in `dir` and says how long it took, its CPU, its largest memory, and how much it printed. Nobody else runs
/// below this process, so what its children used is what the program used.
pub fn time(spec: &Value) -> Result<()> {
    let args: Vec<&str> = spec["args"].as_array().ok_or("no args")?.iter().filter_map(Value::as_str).collect();
    let mut command = Command::new(word(spec, "program")?);
    command.args(args).current_dir(word(spec, "dir")?).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let start = clock::now_ns();
    let mut child = command.spawn()?;
    let mut errors = child.stderr.take().ok_or("no pipe")?;
    let complaints = std::thread::spawn(move || {
        let mut text = String::new();
        drop(errors.read_to_string(&mut text));
        text
    });
    let out_bytes = std::io::copy(&mut child.stdout.take().ok_or("no pipe")?, &mut std::io::sink())?;
    let status = child.wait()?;
    let ns = clock::now_ns() - start;
    let used = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu_us = [used.user_time(), used.system_time()].iter().map(|time| time.tv_sec() * 1_000_000 + time.tv_usec()).sum::<i64>();
    let stderr = complaints.join().unwrap_or_default();
    say(&json!({
        "ns": ns, "cpuNs": cpu_us * 1000, "maxRssKib": used.max_rss(), "ok": status.success(), "outBytes": out_bytes, "stderr": stderr,
    }));
    Ok(())
}
