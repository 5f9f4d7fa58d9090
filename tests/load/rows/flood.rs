//! timingScale 0: a recording sent as fast as the client reads, against a loop of 64 KiB writes of the same bytes; and a synchronized
//! replay that puts the client's id into every frame, against the same loop.

use mockd::model::recording::Direction;
use mockd::wire::ws::{self, opcode};
use serde_json::{Value, json};

use super::{MB, middle, target, upstream};
use crate::Result;
use crate::content::{self, Said};
use crate::figures::Hash;
use crate::place::Place;
use crate::report::{Line, Target};
use crate::servers::Mockd;

const ROW: &str = "flood";
/// Sizes of frames, and how many bytes of them a recording has.
const SIZES: [(usize, u64); 4] = [(16, 12), (100, 24), (1024, 48), (65_536, 64)];
const ID_BYTES: usize = 12;

/// The row.
pub fn run(place: &Place, lines: &mut Vec<Line>) -> Result<()> {
    let data_dir = place.data_dir("flood")?;
    let (_upstream, raw) = upstream(place, None)?;
    let mut mocks = Vec::new();
    let mut targets = Vec::new();
    for (size, megabytes) in SIZES {
        let (texts, block) = (content::texts(size), content::block(size));
        let blocks = place.count(megabytes, 8) * 1_000_000 / block.len() as u64;
        let said = (0..blocks).flat_map(|_| texts.iter().map(|text| -> Said<'_> { (1000, Direction::ServerToClient, text) }));
        let path = format!("/flood/{size}");
        let made = content::record(&data_dir, &path, true, said)?;
        let bytes = blocks * block.len() as u64;
        targets.push((size, path.clone(), format!("/flood?size={size}&blocks={blocks}"), bytes, Hash::of_repeated(&block, bytes)));
        mocks.push((path, made, json!({"timingScale": 0})));
    }
    let correlated: Vec<Correlated> =
        [100, 1024].map(|size| Correlated::record(place, &data_dir, size)).into_iter().collect::<Result<_>>()?;
    for one in &correlated {
        mocks.push((
            one.path.clone(),
            one.made.clone(),
            json!({"mode": "synchronized", "match": "json", "ignore": ["$.id"], "correlate": ["$.id"]}),
        ));
    }
    let config = mocks.iter().map(|(path, made, options)| (path.as_str(), made, options.clone())).collect::<Vec<_>>();
    let config = content::mocks(&place.path("flood.json"), &config)?;
    let mockd = Mockd::start(place, None, &data_dir, &["--config", &config])?;
    let rounds = place.count(9, 3);
    for (size, path, raw_path, bytes, hash) in &targets {
        for connections in [1, 8] {
            let mut all = vec![target("raw", raw, raw_path), target("mockd", mockd.port, path)];
            if connections == 1 {
                all.push(target("whole", raw, &format!("{raw_path}&whole=1")));
            }
            all.iter_mut().for_each(|target| (target["bytes"], target["hash"]) = (json!(bytes), json!(hash)));
            let found = flood(place, &all, connections, rounds)?;
            let clients = if connections == 1 { "1 client" } else { "8 clients" };
            let work = format!("timingScale 0, frames of {size} B, {clients}");
            lines.push(line(work.clone(), &found, 0.9));
            if connections == 1 {
                // The raw loop's one block never leaves the cache; a recording's bytes come from memory.
                let line = Line::new(ROW, work).against("64 KiB writes from memory", middle(&found["whole"]["rates"]) / MB, "MB/s");
                lines.push(line.got(middle(&found["mockd"]["rates"]) / MB, "MB/s"));
            }
        }
    }
    for one in &correlated {
        let blocks = one.frames * one.frame_bytes as u64 / content::block(one.size).len() as u64;
        let mut both = [target("raw", raw, &format!("/flood?size={}&blocks={blocks}", one.size)), target("mockd", mockd.port, &one.path)];
        let (block, raw_bytes) = (content::block(one.size), blocks * content::block(one.size).len() as u64);
        (both[0]["bytes"], both[0]["hash"]) = (json!(raw_bytes), json!(Hash::of_repeated(&block, raw_bytes)));
        (both[1]["bytes"], both[1]["hash"]) = (json!(one.frames * one.frame_bytes as u64), json!(one.hash));
        both[1]["send"] = json!(one.send);
        let found = flood(place, &both, 1, rounds)?;
        lines.push(line(format!("synchronized, correlates, frames of {} B, 1 client", one.size), &found, 0.4));
    }
    Ok(())
}

/// The rates of both, the first round (which compiles the recording) left out.
fn flood(place: &Place, targets: &[Value], connections: u64, rounds: u64) -> Result<Value> {
    let mut found = place.ask(None, json!({"role": "flood", "targets": targets, "connections": connections, "rounds": rounds + 1}))?;
    for target in targets {
        let name = target["name"].as_str().unwrap_or_default();
        if let Some(rates) = found[name]["rates"].as_array_mut() {
            rates.remove(0);
        }
    }
    Ok(found)
}

fn line(work: String, found: &Value, least: f64) -> Line {
    let line = Line::new(ROW, work).against("64 KiB writes", middle(&found["raw"]["rates"]) / MB, "MB/s");
    line.got(middle(&found["mockd"]["rates"]) / MB, "MB/s").wants(Target::RatioAtLeast(least))
}

/// A recording of a subscription: the client names an id, every frame of the server has it.
struct Correlated {
    size: usize,
    path: String,
    made: content::Made,
    frames: u64,
    frame_bytes: usize,
    /// What the live client sends, in base64, and the hash of what it must be sent then.
    send: String,
    hash: u64,
}

impl Correlated {
    fn record(place: &Place, dir: &std::path::Path, size: usize) -> Result<Self> {
        let text = |id: &str, number: u64| {
            let frame = format!("{{\"id\":\"{id}\",\"type\":\"next\",\"payload\":\"");
            format!("{frame}{}\"}}", content::text(size - frame.len() - 2, number))
        };
        let ask = |id: &str| format!("{{\"id\":\"{id}\",\"type\":\"subscribe\"}}");
        let (recorded, live) = ("r".repeat(ID_BYTES), "l".repeat(ID_BYTES));
        let texts: Vec<String> = (0..1000).map(|number| text(&recorded, number)).collect();
        let turns = place.count(20, 4) * 1_000_000 / (size as u64 * 1000);
        let first = ask(&recorded);
        let begin: Said<'_> = (1, Direction::ClientToServer, &first);
        let rest = (0..turns).flat_map(|_| texts.iter().map(|text| -> Said<'_> { (1000, Direction::ServerToClient, text) }));
        let path = format!("/correlated/{size}");
        let made = content::record(dir, &path, true, std::iter::once(begin).chain(rest))?;
        let mut send = Vec::new();
        ws::push_frame(&mut send, opcode::TEXT, ask(&live).as_bytes(), Some([9, 8, 7, 6]));
        let texts: Vec<String> = (0..1000).map(|number| text(&live, number)).collect();
        let wire = content::frames(texts.iter().map(String::as_str));
        Ok(Self {
            size,
            path,
            made,
            frames: turns * 1000,
            frame_bytes: wire.len() / 1000,
            send: data_encoding::BASE64.encode(&send),
            hash: Hash::of_repeated(&wire, turns * wire.len() as u64),
        })
    }
}
