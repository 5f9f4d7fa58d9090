//! A client of many connections that are each sent frames at known times: how late every frame is seen. And one that knocks where all
//! places are taken.
//!
//! Traps: the connections are made one after the other over a while, so that their frames are not all due at once. The client can't know
//! when the server's clock began: that was when the 101 had been sent, so not later than when it was seen, and not later than any frame was
//! seen less its time. The earliest of these is taken; what all frames of a connection have in common, the way itself, may be lost in it.

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
    /// The most by which a frame was seen before it seemed due, in nanoseconds: so much earlier the clock began.
    early_ns: u64,
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

impl Plan {
    /// When a frame is due, from the start.
    fn due_ns(&self, frame: u64) -> u64 {
        self.first_ns + frame * self.interval_ns
    }
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
    // Of each frame: its connection, its number, when it was seen.
    let mut sights: Vec<(u32, u32, u64)> = Vec::with_capacity(count * plan.frames as usize);
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
            seats.push(Seat { link, head: Vec::new(), started_ns: None, early_ns: 0, got: 0, hash: Hash::default() });
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
                let due_ns = seat.started_ns.unwrap_or(stamp) + plan.due_ns(frame);
                seat.early_ns = seat.early_ns.max(due_ns.saturating_sub(stamp));
                sights.push((number as u32, frame as u32, stamp));
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
    let late_ns = |(seat, frame, stamp): &(u32, u32, u64)| {
        let seat = &seats[*seat as usize];
        (stamp + seat.early_ns).saturating_sub(seat.started_ns.unwrap_or(*stamp) + plan.due_ns(u64::from(*frame)))
    };
    let of = |frames: std::ops::Range<u64>| sights.iter().filter(|sight| frames.contains(&u64::from(sight.1))).map(late_ns).collect();
    let (mut lateness, mut early, mut late): (Vec<u64>, Vec<u64>, Vec<u64>) =
        (of(0..plan.frames), of(0..tenth), of(plan.frames - tenth..plan.frames));
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
