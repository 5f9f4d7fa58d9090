//! A client of many connections that are each sent frames at known times: how late every frame is seen. And one that knocks where all
//! places are taken.
//!
//! Traps: the connections are made one after the other over a while, so that their frames are not all due at once; a frame's lateness
//! counts from when its connection's 101 was seen, so a 101 that is seen late makes its frames look early, never late.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::AsFd;
use std::time::Duration;

use serde_json::{Value, json};

use super::link::{Link, Waiter, head_end};
use super::{number, say, word};
use crate::figures::{Hash, quantile};
use crate::{Result, clock};

struct Seat {
    link: Link,
    /// What came of the head; its memory is given back when the head is there.
    head: Vec<u8>,
    started_ns: Option<u64>,
    got: u64,
    hash: Hash,
}

/// The frames of a run, all of one size.
struct Plan {
    frames: u64,
    frame_bytes: u64,
    first_ns: u64,
    interval_ns: u64,
    hash: u64,
}

/// Spec: `port`, `path`, `connections`, `spread_ms`, and of each connection `frames`, `frame_bytes`, `first_us`, `interval_us`, `hash`.
/// Says `{"attached": n}` when all are connected, then `{"p50", "p99", "max", "early", "late"}` (ns; the last two: medians of the first
/// and the last tenth of each connection's frames), and holds the connections until its stdin ends.
pub fn run(spec: &Value) -> Result<()> {
    let count = number(spec, "connections")? as usize;
    let plan = Plan {
        frames: number(spec, "frames")?,
        frame_bytes: number(spec, "frame_bytes")?,
        first_ns: number(spec, "first_us")? * 1000,
        interval_ns: number(spec, "interval_us")? * 1000,
        hash: number(spec, "hash")?,
    };
    let tenth = (plan.frames / 10).max(1);
    let mut waiter = Waiter::new(1024)?;
    let mut seats: Vec<Seat> = Vec::with_capacity(count);
    let mut lateness: Vec<u64> = Vec::with_capacity(count * plan.frames as usize);
    let (mut early, mut late) = (Vec::new(), Vec::new());
    let spread_ns = number(spec, "spread_ms")? * 1_000_000;
    let start = clock::now_ns();
    let (mut attached, mut done) = (0, 0);
    let mut buffer = vec![0; 16 * 1024];
    let mut last_ns = start;
    while done < count {
        while seats.len() < count && clock::now_ns() >= start + spread_ns * seats.len() as u64 / count as u64 {
            let mut link = Link::open(spec)?;
            link.request(spec)?;
            link.unblock()?;
            waiter.add(&link, seats.len())?;
            seats.push(Seat { link, head: Vec::new(), started_ns: None, got: 0, hash: Hash::default() });
            last_ns = clock::now_ns();
        }
        for number in waiter.wait(if seats.len() < count { 1 } else { 1000 })? {
            let seat = &mut seats[number];
            let Some(read) = seat.link.read(&mut buffer)? else { continue };
            let stamp = clock::now_ns();
            last_ns = stamp;
            if read == 0 {
                return Err(format!("connection {number} ended after {} bytes", seat.got).into());
            }
            let mut body = &buffer[..read];
            if seat.started_ns.is_none() {
                seat.head.extend_from_slice(body);
                let Some(end) = head_end(&seat.head, "101")? else { continue };
                body = &buffer[read - (seat.head.len() - end)..read];
                seat.head = Vec::new();
                seat.started_ns = Some(stamp);
                attached += 1;
                if attached == count {
                    say(&json!({"attached": count}));
                }
            }
            let before = seat.got / plan.frame_bytes;
            seat.hash.add(body);
            seat.got += body.len() as u64;
            for frame in before..seat.got / plan.frame_bytes {
                let due = seat.started_ns.unwrap_or(stamp) + plan.first_ns + frame * plan.interval_ns;
                let late_ns = stamp.saturating_sub(due);
                lateness.push(late_ns);
                if frame < tenth {
                    early.push(late_ns);
                } else if frame >= plan.frames - tenth {
                    late.push(late_ns);
                }
            }
            if seat.got >= plan.frames * plan.frame_bytes {
                done += 1;
                if seat.hash.value() != plan.hash {
                    return Err(format!("connection {number} was sent other bytes").into());
                }
            }
        }
        if clock::now_ns() > last_ns + plan.first_ns + 3 * plan.interval_ns + 10_000_000_000 {
            return Err(format!("{attached} of {count} attached, {done} played, and nothing comes any more").into());
        }
    }
    let max = lateness.iter().max().copied().unwrap_or(0);
    let mut at = |per_cent| quantile(&mut lateness, per_cent);
    say(&json!({"p50": at(50), "p99": at(99), "max": max, "early": quantile(&mut early, 50), "late": quantile(&mut late, 50)}));
    // The connections stay until the bench has asked the server what it thinks of them.
    waiter.add_fd(std::io::stdin().as_fd(), count)?;
    while !waiter.wait(1000)?.any(|number| number == count) {}
    Ok(())
}

/// Spec: `port`, `path`, `connections`, `batch` at once. Says how many got which status: `{"503": 3000, "503 with Retry-After": …}`.
pub fn knock(spec: &Value) -> Result<()> {
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    let (mut left, batch) = (number(spec, "connections")?, number(spec, "batch")?);
    let port = u16::try_from(number(spec, "port")?)?;
    let request = format!("GET {} HTTP/1.1\r\nHost: localhost\r\n\r\n", word(spec, "path")?);
    while left > 0 {
        let mut sockets = Vec::new();
        for _ in 0..batch.min(left) {
            let mut socket = TcpStream::connect(("127.0.0.1", port))?;
            socket.set_read_timeout(Some(Duration::from_secs(10)))?;
            // One that is dropped before it has asked is counted by what it reads.
            drop(socket.write_all(request.as_bytes()));
            sockets.push(socket);
            left -= 1;
        }
        for mut socket in sockets {
            let mut answer = [0; 1024];
            let read = socket.read(&mut answer).unwrap_or(0);
            let text = String::from_utf8_lossy(&answer[..read]);
            let status = text.split(' ').nth(1).unwrap_or("dropped");
            let retry = if text.to_ascii_lowercase().contains("\r\nretry-after:") { " with Retry-After" } else { "" };
            *seen.entry(format!("{status}{retry}")).or_default() += 1;
        }
    }
    say(&json!(seen));
    Ok(())
}
