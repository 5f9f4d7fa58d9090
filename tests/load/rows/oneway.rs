//! One-way floods through the relay while it records: against nginx that records nothing, against a blind relay of bytes for 10 s, and
//! what a frame costs in CPU against one write(2).

use mockd::base::platform;
use serde_json::{Value, json};

use super::{MB, middle, target, upstream};
use crate::content;
use crate::figures::Hash;
use crate::place::Place;
use crate::report::{Line, Target};
use crate::servers::{Mockd, nginx};
use crate::{Result, clock};

/// Sizes of frames, and the share of a blind relay's rate that must be recorded.
const SIZES: [(usize, f64); 2] = [(100, 0.15), (16_384, 0.30)];

/// The path of a flood, and how many bytes and frames come of it.
struct Flood {
    path: String,
    bytes: u64,
    frames: u64,
    hash: u64,
}

impl Flood {
    fn of(size: usize, megabytes: u64, more: &str) -> Self {
        let block = content::block(size);
        let blocks = megabytes * 1_000_000 / block.len() as u64;
        let bytes = blocks * block.len() as u64;
        let frames = blocks * content::texts(size).len() as u64;
        Self { path: format!("/flood?size={size}&blocks={blocks}{more}"), bytes, frames, hash: Hash::of_repeated(&block, bytes) }
    }

    fn target(&self, name: &str, port: u16) -> Value {
        let mut target = target(name, port, &self.path);
        (target["bytes"], target["hash"]) = (json!(self.bytes), json!(self.hash));
        target
    }

    /// One round of each of these servers, `rounds` times; each begins when the process `calm` has nothing left to do.
    fn rates(&self, place: &Place, servers: &[(&str, u16)], rounds: u64, calm: u32) -> Result<Value> {
        let targets: Vec<Value> = servers.iter().map(|(name, port)| self.target(name, *port)).collect();
        place.ask(None, json!({"role": "flood", "targets": targets, "connections": 1, "rounds": rounds, "calm": calm}))
    }
}

/// Less than a tape holds, so that all of it is recorded at any speed; the recorder has finished before the next round begins.
pub fn against_nginx(place: &Place, lines: &mut Vec<Line>) -> Result<()> {
    const ROW: &str = "oneway";
    let (_upstream, port) = upstream(place, None)?;
    let url = format!("http://127.0.0.1:{port}");
    let mockd = Mockd::recording(place, None, &place.data_dir("oneway")?, &url, &[])?;
    let silent = Mockd::start(place, None, &place.data_dir("silent")?, &["--upstream", &url])?;
    let peer = nginx(place, None, &url);
    let mut servers = vec![("direct", port), ("mockd", mockd.port), ("silent", silent.port)];
    servers.extend(peer.as_ref().ok().map(|peer| ("nginx", peer.port)));
    let rounds = place.count(11, 3);
    let mut recordings = 0;
    for (size, _) in SIZES {
        let flood = Flood::of(size, 48, "");
        let found = flood.rates(place, &servers, rounds, mockd.process.pid())?;
        recordings += rounds as usize;
        let summaries = mockd.ended(recordings)?;
        let whole =
            summaries[..rounds as usize].iter().filter(|summary| summary["status"] == "complete" && summary["frameCount"] == flood.frames);
        let note = format!("{} of {rounds} recordings have all of their {} frames", whole.count(), flood.frames);
        let rate = |who: &str| middle(&found[who]["rates"]) / MB;
        let work = format!("one-way relay while recording, frames of {size} B");
        let line = Line::new(ROW, work.clone()).got(rate("mockd"), "MB/s").note(format!("direct: {:.0} MB/s; {note}", rate("direct")));
        lines.push(match &peer {
            Ok(_) => line.against("nginx", rate("nginx"), "MB/s").wants(Target::RatioAtLeast(1.0)),
            Err(error) => Line::left_out(ROW, work.clone(), error),
        });
        let line = Line::new(ROW, format!("{work}, slowed by the recorder")).against("the same, not recording", rate("silent"), "MB/s");
        lines.push(line.got(rate("mockd"), "MB/s").wants(Target::RatioAtLeast(0.95)));
    }
    Ok(())
}

/// A flood at a share of the blind relay's rate for 10 s; then shorter ones, to see how far it goes.
pub fn sustained(place: &Place, lines: &mut Vec<Line>) -> Result<()> {
    const ROW: &str = "sustained";
    const ROOM_BYTES: u64 = 16_000_000_000;
    let free = platform::free_bytes(&place.path("")).unwrap_or(0);
    if free < ROOM_BYTES {
        return Err(format!("{ROOM_BYTES} bytes must be free on the disk of target, there are {free}").into());
    }
    let (_upstream, port) = upstream(place, None)?;
    let pipe = place.role(None, json!({"role": "pipe", "upstream": port}))?;
    let pipe_port = pipe.port()?;
    for (size, share) in SIZES {
        let blind = Flood::of(size, place.count(600, 200), "").rates(place, &[("blind", pipe_port)], place.count(5, 3), pipe.pid())?;
        let blind = middle(&blind["blind"]["rates"]);
        let asked = keep(place, port, size, blind * share, place.count(10, 2))?;
        let mut kept = if asked.is_whole { share } else { 0.0 };
        let mut story = format!("{} s at {share} of blind: {}", place.count(10, 2), asked.story);
        let steps: &[f64] = if asked.is_whole { &[1.25, 1.5, 2.0, 3.0] } else { &[0.75, 0.5, 0.33, 0.2, 0.1] };
        for step in steps {
            let tried = keep(place, port, size, blind * share * step, place.count(3, 1))?;
            story.push_str(&format!("; {:.3}: {}", share * step, tried.story));
            if tried.is_whole {
                kept = share * step;
            }
            if tried.is_whole != asked.is_whole {
                break;
            }
        }
        let line = Line::new(ROW, format!("recorded, sustained, frames of {size} B, nothing lost"));
        let line = line.against("blind two-thread relay", blind / MB, "MB/s").got(blind * kept / MB, "MB/s");
        lines.push(line.wants(Target::RatioAtLeast(share)).note(story));
    }
    Ok(())
}

struct Kept {
    is_whole: bool,
    story: String,
}

/// Sends at `rate` bytes a second for `seconds` and looks at what was recorded. The recording is deleted: it may be gigabytes.
fn keep(place: &Place, upstream: u16, size: usize, rate: f64, seconds: u64) -> Result<Kept> {
    let dir = place.data_dir(&format!("kept-{size}-{rate:.0}-{seconds}"))?;
    let mockd = Mockd::recording(place, None, &dir, &format!("http://127.0.0.1:{upstream}"), &[])?;
    let flood = Flood::of(size, ((rate * seconds as f64) as u64 / 1_000_000).max(1), &format!("&rate={rate:.0}"));
    let found = flood.rates(place, &[("mockd", mockd.port)], 1, mockd.process.pid())?;
    let reached = middle(&found["mockd"]["rates"]);
    let summary = mockd.ended(1)?.swap_remove(0);
    let is_whole = summary["status"] == "complete" && summary["frameCount"] == flood.frames && reached > rate * 0.97;
    let reason = summary["statusReason"].as_str().unwrap_or("");
    let story = format!("{} of {} frames at {:.0} of {:.0} MB/s {reason}", summary["frameCount"], flood.frames, reached / MB, rate / MB);
    drop(mockd);
    std::fs::remove_dir_all(&dir)?;
    Ok(Kept { is_whole, story: story.trim_end().to_owned() })
}

/// CPU of the whole server for each frame: relayed, parsed, redacted, written; in bursts, and one frame at a time.
pub fn cpu(place: &Place, lines: &mut Vec<Line>) -> Result<()> {
    const ROW: &str = "cpu";
    let (_upstream, port) = upstream(place, None)?;
    let dir = place.data_dir("cpu")?;
    let mockd = Mockd::recording(place, None, &dir, &format!("http://127.0.0.1:{port}"), &[])?;
    let per_block = content::texts(100).len();
    let ways = [
        ("64 KiB of them a read, 400,000 a second", place.count(120, 30), "&rate=40800000".to_owned(), Target::RatioAtMost(4.0)),
        ("one a read, 20,000 a second", place.count(6, 2), format!("&rate=2040000&frames={per_block}"), Target::None),
    ];
    for (index, (way, megabytes, more, target)) in ways.into_iter().enumerate() {
        let flood = Flood::of(100, megabytes, &more);
        let before = clock::cpu_ns(mockd.process.pid())?;
        flood.rates(place, &[("mockd", mockd.port)], 1, mockd.process.pid())?;
        let summary = mockd.ended(index + 1)?.swap_remove(0);
        let used = (clock::cpu_ns(mockd.process.pid())? - before) as f64 / flood.frames as f64 / 1000.0;
        if summary["frameCount"] != flood.frames {
            return Err(format!("{} of {} frames are recorded", summary["frameCount"], flood.frames).into());
        }
        let line_bytes = summary["fileSizeBytes"].as_u64().unwrap_or(0) / flood.frames;
        let file = place.text("writes");
        let bare = place.ask(None, json!({"role": "writes", "file": file, "count": flood.frames, "bytes": line_bytes}))?;
        let bare = bare["cpuNs"].as_f64().unwrap_or(f64::NAN) / flood.frames as f64 / 1000.0;
        let line = Line::new(ROW, format!("CPU of a recorded frame of 100 B, {way}"));
        let line = line.against(format!("one write(2) of its {line_bytes} B to a file"), bare, "µs").got(used, "µs");
        lines.push(line.wants(target));
    }
    Ok(())
}
