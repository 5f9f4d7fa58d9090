//! A client that is told when each event was sent, and so knows how long it was on its way. Blocks of all targets in turn.

use serde_json::{Map, Value, json};

use super::link::{Link, Waiter, head_end};
use super::{number, say};
use crate::figures::quantile;
use crate::{Result, clock, content};

const BEGIN: &[u8] = b"data: ";
const STAMP_BYTES: usize = 16;
const PAD_BYTES: usize = 60;
const MARK_BYTES: usize = BEGIN.len() + STAMP_BYTES + 1 + PAD_BYTES + 2;

/// An event, or the text of a frame, that says when it was sent.
pub fn mark(number: u64, stamp_ns: u64) -> Vec<u8> {
    format!("data: {stamp_ns:016x} {}\n\n", content::text(PAD_BYTES, number)).into_bytes()
}

/// Spec: `targets`, `events` a block, `gap_us` between two, `blocks`, `warm` (events not counted), `wall` (which clock the stamps are of).
/// Says for each target `{"p50": [ns of each block], "p99": […]}`.
pub fn run(spec: &Value) -> Result<()> {
    clock::sharpen()?;
    let targets = spec["targets"].as_array().ok_or("no targets")?;
    let (events, warm) = (number(spec, "events")?, number(spec, "warm")?);
    let mut found: Map<String, Value> = Map::new();
    for block in 0..number(spec, "blocks")? {
        for target in targets {
            let name = super::word(target, "name")?;
            let mut times = listen(spec, target, events + warm).map_err(|error| format!("{name}, block {block}: {error}"))?;
            times.drain(..warm as usize);
            let entry = found.entry(name).or_insert_with(|| json!({"p50": [], "p99": []}));
            for (name, per_cent) in [("p50", 50), ("p99", 99)] {
                entry[name].as_array_mut().ok_or("no list")?.push(json!(quantile(&mut times, per_cent)));
            }
        }
    }
    say(&Value::Object(found));
    Ok(())
}

fn listen(spec: &Value, target: &Value, events: u64) -> Result<Vec<u64>> {
    let now = if spec["wall"] == true { clock::wall_ns } else { clock::now_ns };
    let mut target = target.clone();
    target["path"] = json!(format!("{}?n={events}&gap={}", super::word(&target, "path")?, number(spec, "gap_us")?));
    let pads: Vec<String> = (0..events).map(|number| content::text(PAD_BYTES, number)).collect();
    let mut times = Vec::with_capacity(events as usize);
    let mut link = Link::open(&target)?;
    link.request(&target)?;
    link.unblock()?;
    let mut waiter = Waiter::new(4)?;
    waiter.add(&link, 0)?;
    let mut buffer = vec![0; 64 * 1024];
    let (mut filled, mut in_body) = (0, false);
    while times.len() < pads.len() {
        if waiter.wait(30_000)?.count() == 0 {
            return Err(format!("{} events came, then none in 30 s", times.len()).into());
        }
        let Some(read) = link.read(&mut buffer[filled..])? else { continue };
        let stamp = now();
        if read == 0 {
            return Err(format!("the stream ended after {} events", times.len()).into());
        }
        filled += read;
        let mut at = 0;
        if !in_body {
            let Some(end) = head_end(&buffer[..filled], if target["get"] == true { "200" } else { "101" })? else { continue };
            (at, in_body) = (end, true);
        }
        // What stands between two marks is chunked framing, or the header of a frame.
        while let Some(begin) = buffer[at..filled].windows(BEGIN.len()).position(|window| window == BEGIN).map(|begin| at + begin)
            && begin + MARK_BYTES <= filled
        {
            let mark = &buffer[begin..begin + MARK_BYTES];
            let (stamp_text, rest) = mark[BEGIN.len()..].split_at(STAMP_BYTES);
            let pad = pads.get(times.len()).ok_or("more events than were sent")?;
            if &rest[1..=PAD_BYTES] != pad.as_bytes() || !rest.ends_with(b"\n\n") {
                return Err(format!("event {} came changed: {:?}", times.len(), String::from_utf8_lossy(mark)).into());
            }
            let sent = u64::from_str_radix(std::str::from_utf8(stamp_text)?, 16)?;
            times.push(stamp.saturating_sub(sent));
            at = begin + MARK_BYTES;
        }
        buffer.copy_within(at..filled, 0);
        filled -= at;
    }
    Ok(times)
}
