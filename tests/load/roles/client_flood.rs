//! A client that reads as fast as it can, one connection or several, rounds of all targets in turn, and hashes what comes.
//!
//! Trap: where the client is the slower side, every server looks alike; so it hashes 32 bytes a step and reads into one buffer that stays
//! in the cache. Time counts from the first byte after the head to the last byte, so that making connections and sessions is left out.

use serde_json::{Map, Value, json};

use super::link::{Link, Waiter, head_end};
use super::{number, say, word};
use crate::figures::Hash;
use crate::{Result, clock};

struct Reader {
    link: Link,
    head: Vec<u8>,
    in_body: bool,
    got: u64,
    hash: Hash,
}

/// Spec: `targets` (each with `bytes` and `hash` of what a connection is sent, `send`: bytes for the server, in base64), `connections`,
/// `rounds`, `calm`: the id of a process that must have nothing left to do before a round begins. Says for each target `{"rates": [bytes a second of each round]}`.
pub fn run(spec: &Value) -> Result<()> {
    let targets = spec["targets"].as_array().ok_or("no targets")?;
    let connections = number(spec, "connections")? as usize;
    let mut buffer = vec![0; 256 * 1024];
    let mut found: Map<String, Value> = Map::new();
    for round in 0..number(spec, "rounds")? {
        for target in targets {
            let name = word(target, "name")?;
            if let Some(pid) = spec["calm"].as_u64() {
                await_calm(u32::try_from(pid)?)?;
            }
            let rate = read_all(target, connections, &mut buffer).map_err(|error| format!("{name}, round {round}: {error}"))?;
            let entry = found.entry(name).or_insert_with(|| json!({"rates": []}));
            entry["rates"].as_array_mut().ok_or("no list")?.push(json!(rate));
        }
    }
    say(&Value::Object(found));
    Ok(())
}

/// Waits until a process uses less than a twentieth of a core: a recorder that still writes the last round would slow down the next one.
fn await_calm(pid: u32) -> Result<()> {
    const LOOK_NS: u64 = 40_000_000;
    for _ in 0..1000 {
        let before = clock::cpu_ns(pid)?;
        clock::wait_until(clock::now_ns() + LOOK_NS);
        if clock::cpu_ns(pid)? - before < LOOK_NS / 20 {
            return Ok(());
        }
    }
    Err("the server is never idle".into())
}

/// One round: bytes a second of all connections together.
fn read_all(target: &Value, connections: usize, buffer: &mut [u8]) -> Result<u64> {
    let (bytes, hash) = (number(target, "bytes")?, number(target, "hash")?);
    let send = target["send"].as_str().map(|text| data_encoding::BASE64.decode(text.as_bytes())).transpose()?;
    let mut waiter = Waiter::new(connections)?;
    let mut readers = Vec::new();
    for number in 0..connections {
        let mut link = Link::open(target)?;
        link.request(target)?;
        if let Some(send) = &send {
            link.send(send)?;
        }
        link.unblock()?;
        waiter.add(&link, number)?;
        readers.push(Reader { link, head: Vec::new(), in_body: false, got: 0, hash: Hash::default() });
    }
    let mut first_ns = None;
    let mut left = connections;
    while left > 0 {
        let mut any = false;
        for number in waiter.wait(20_000)? {
            any = true;
            let reader = &mut readers[number];
            let Some(read) = reader.link.read(buffer)? else { continue };
            if read == 0 {
                return Err(format!("a connection ended after {} of {bytes} bytes", reader.got).into());
            }
            let body = if reader.in_body {
                &buffer[..read]
            } else {
                reader.head.extend_from_slice(&buffer[..read]);
                let Some(end) = head_end(&reader.head, "101")? else { continue };
                reader.in_body = true;
                // What of the head came with this read; the rest is the body's first bytes.
                &buffer[read - (reader.head.len() - end)..read]
            };
            if body.is_empty() {
                continue;
            }
            first_ns.get_or_insert_with(clock::now_ns);
            reader.hash.add(body);
            reader.got += body.len() as u64;
            if reader.got >= bytes {
                if reader.got > bytes || reader.hash.value() != hash {
                    return Err(format!("{} bytes came for {bytes}, or other ones", reader.got).into());
                }
                left -= 1;
            }
        }
        if !any {
            return Err("nothing came for 20 s".into());
        }
    }
    let took_ns = clock::now_ns() - first_ns.unwrap_or(0);
    Ok((u128::from(bytes) * connections as u128 * 1_000_000_000 / u128::from(took_ns.max(1))) as u64)
}
