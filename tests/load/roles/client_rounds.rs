//! A client that sends a message and waits for its echo, over and over, one connection for each target, blocks of rounds in turn.
//!
//! Traps: on two cores a round trip has two modes, by whether the scheduler puts the peer on the same core, and a run falls into either;
//! so everything is pinned to one core by whoever starts it. The first rounds of a connection pay for cold caches and slow start: they
//! are run and not counted. Blocks alternate between the targets, so that a machine that slows down slows down all of them.

use mockd::wire::ws::{self, opcode};
use serde_json::{Map, Value, json};

use super::link::{Link, Waiter, head_end};
use super::{number, say, word};
use crate::figures::quantile;
use crate::{Result, clock, content};

struct Peer {
    name: String,
    link: Link,
    waiter: Waiter,
    p50: Vec<u64>,
    p99: Vec<u64>,
}

/// Spec: `targets`, `size` of a message, `warm` rounds, `rounds` a block, `blocks`. Says for each target
/// `{"p50": [ns of each block], "p99": […]}`. Every echo is compared with what was sent.
pub fn run(spec: &Value) -> Result<()> {
    let (rounds, warm) = (number(spec, "rounds")?, number(spec, "warm")?);
    let text = content::text(number(spec, "size")? as usize, 7);
    let (mut message, mut echo) = (Vec::new(), Vec::new());
    ws::push_frame(&mut message, opcode::TEXT, text.as_bytes(), Some([0x5a, 0x11, 0xc3, 0x7e]));
    ws::push_frame(&mut echo, opcode::TEXT, text.as_bytes(), None);
    let mut buffer = vec![0; 256 * 1024];
    let mut peers = Vec::new();
    for target in spec["targets"].as_array().ok_or("no targets")? {
        peers.push(open(target, &mut buffer)?);
    }
    let mut times = Vec::with_capacity(rounds.max(warm) as usize);
    for block in 0..=number(spec, "blocks")? {
        for peer in &mut peers {
            times.clear();
            for _ in 0..if block == 0 { warm } else { rounds } {
                let start = clock::now_ns();
                peer.link.send(&message)?;
                receive(peer, &mut buffer, &echo)?;
                times.push(clock::now_ns() - start);
            }
            if block > 0 {
                peer.p50.push(quantile(&mut times, 50));
                peer.p99.push(quantile(&mut times, 99));
            }
        }
    }
    let found: Map<String, Value> = peers.into_iter().map(|peer| (peer.name, json!({"p50": peer.p50, "p99": peer.p99}))).collect();
    say(&Value::Object(found));
    Ok(())
}

fn open(target: &Value, buffer: &mut [u8]) -> Result<Peer> {
    let name = word(target, "name")?.to_owned();
    let mut link = Link::open(target).map_err(|error| format!("{name}: {error}"))?;
    link.request(target)?;
    link.unblock()?;
    let mut waiter = Waiter::new(4)?;
    waiter.add(&link, 0)?;
    let mut filled = 0;
    while head_end(&buffer[..filled], "101").map_err(|error| format!("{name}: {error}"))?.is_none() {
        if waiter.wait(10_000)?.count() == 0 {
            return Err(format!("{name} does not answer").into());
        }
        filled += match link.read(&mut buffer[filled..])? {
            Some(0) => return Err(format!("{name} ended the connection").into()),
            read => read.unwrap_or(0),
        };
    }
    Ok(Peer { name, link, waiter, p50: Vec::new(), p99: Vec::new() })
}

fn receive(peer: &mut Peer, buffer: &mut [u8], echo: &[u8]) -> Result<()> {
    let mut filled = 0;
    loop {
        if peer.waiter.wait(10_000)?.count() == 0 {
            return Err(format!("{}: no echo in 10 s", peer.name).into());
        }
        while let Some(read) = peer.link.read(&mut buffer[filled..])? {
            filled += read;
            if read == 0 {
                return Err(format!("{} ended the connection", peer.name).into());
            }
            if filled >= echo.len() {
                return if &buffer[..filled] == echo { Ok(()) } else { Err(format!("{}: another echo", peer.name).into()) };
            }
        }
    }
}
