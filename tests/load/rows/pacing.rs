//! Pure replay on time: 1, 100 and 1,000 sessions of 10 frames a second, held against bare threads that wait for the same deadlines.
//!
//! Lateness at the write is what mockd itself says of each session (`lateness` of `GET /replay`), so the limit is told the same way: the
//! quantiles of each thread, and of these the median over all threads.

use mockd::model::recording::Direction;
use serde_json::{Value, json};

use super::{MS, US, middle, upstream};
use crate::clock::Cores;
use crate::content::{self, Made, Said};
use crate::figures::{Hash, median};
use crate::place::Place;
use crate::report::{Line, Target};
use crate::servers::Mockd;
use crate::{Result, clock};

const ROW: &str = "pacing";
const INTERVAL_US: u64 = 100_000;
const TEXT_BYTES: usize = 32;

/// A recording of frames at one pace, and what a client has to know to check its times.
pub struct Paced {
    /// The recording.
    pub made: Made,
    frames: u64,
    interval_us: u64,
    hash: u64,
}

impl Paced {
    /// Frames of one size, one every `interval_us`, the first after one interval. An hour later comes one more that nobody waits for, so
    /// that sessions are still playing when they are asked about.
    pub fn record(dir: &std::path::Path, path: &str, frames: u64, interval_us: u64) -> Result<Self> {
        let texts: Vec<String> = (0..frames).map(|number| content::text(TEXT_BYTES, number)).collect();
        let at = |number: u64| if number > frames { 3_600_000_000 } else { number * interval_us };
        let said =
            texts.iter().chain(texts.first()).zip(1..).map(|(text, number)| -> Said<'_> { (at(number), Direction::ServerToClient, text) });
        let made = content::record(dir, path, true, said)?;
        let wire = content::frames(texts.iter().map(String::as_str));
        Ok(Self { made, frames, interval_us, hash: Hash::of_repeated(&wire, wire.len() as u64) })
    }

    /// The spec of a crowd that is sent it.
    pub fn crowd(&self, port: u16, path: &str, connections: u64, spread_ms: u64) -> Value {
        json!({
            "role": "crowd", "port": port, "path": path, "connections": connections, "spread_ms": spread_ms, "frames": self.frames,
            "frame_bytes": TEXT_BYTES + 2, "first_us": self.interval_us, "interval_us": self.interval_us, "hash": self.hash,
        })
    }
}

/// What the same client sees of bare threads that wait and write: the machine's own part.
pub fn bare(place: &Place, upstream: u16, paced: &Paced, sessions: u64, spread_ms: u64) -> Result<Value> {
    let path = format!("/paced?n={}&gap={}&size={TEXT_BYTES}", paced.frames, paced.interval_us);
    let crowd = place.role(None, paced.crowd(upstream, &path, sessions, spread_ms))?;
    crowd.line()?;
    crowd.line()
}

/// The row.
pub fn run(place: &Place, lines: &mut Vec<Line>) -> Result<()> {
    let data_dir = place.data_dir("pacing")?;
    let (frames, blocks) = (place.count(40, 20), place.count(4, 1));
    let short = Paced::record(&data_dir, "/short", frames, INTERVAL_US)?;
    let long = Paced::record(&data_dir, "/long", place.count(600, 50), INTERVAL_US)?;
    let config = content::mocks(&place.path("pacing.json"), &[("/short", &short.made, json!({})), ("/long", &long.made, json!({}))])?;
    let mockd = Mockd::start(place, None, &data_dir, &["--config", &config])?;
    let (_upstream, port) = upstream(place, None)?;
    for sessions in [1, 100, 1000] {
        let [mut limit, mut got, mut seen, mut seen_bare] = [const { [const { Vec::new() }; 2] }; 4];
        let mut stolen = [const { Vec::new() }; 2];
        for _ in 0..blocks {
            let waits = json!({
                "role": "waits", "threads": sessions, "frames": frames, "interval_us": INTERVAL_US, "spread_ms": INTERVAL_US / 1000,
            });
            let cores = Cores::now();
            let waits = place.ask(None, waits)?;
            stolen[0].push(cores.stolen());
            let bare = bare(place, port, &short, sessions, INTERVAL_US / 1000)?;
            let cores = Cores::now();
            let (client, at_write) = play(place, &mockd, &short, "/short", sessions)?;
            stolen[1].push(cores.stolen());
            for (at, name) in ["p50", "p99"].into_iter().enumerate() {
                limit[at].push(middle(&waits[name]) / US);
                got[at].push(at_write[at]);
                for (seen, by) in [(&mut seen, &client), (&mut seen_bare, &bare)] {
                    seen[at].push(by[name].as_f64().unwrap_or(f64::NAN) / US);
                }
            }
        }
        let work = |what: &str| format!("{sessions} × 10 frames/s, lateness {what}");
        for (at, (name, most)) in [("p50", 1.5), ("p99", 2.0)].into_iter().enumerate() {
            let line = Line::new(ROW, work(&format!("at the write, {name}")));
            let line = line.against("bare clock_nanosleep", median(&limit[at]), "µs").got(median(&got[at]), "µs");
            let blocks = |figures: &[f64], stolen: &[f64]| {
                let blocks = figures.iter().zip(stolen).map(|(us, stolen)| format!("{us:.0} ({stolen:.0} %)"));
                blocks.collect::<Vec<_>>().join(", ")
            };
            let (bare, mockd) = (blocks(&limit[at], &stolen[0]), blocks(&got[at], &stolen[1]));
            let note = format!("µs of each block, and what the host kept back meanwhile: bare {bare}; mockd {mockd}");
            lines.push(line.wants(Target::RatioAtMost(most)).note(note));
        }
        for (at, (name, target)) in [("p50", Target::None), ("p99", Target::AtMost(500.0))].into_iter().enumerate() {
            let line = Line::new(ROW, work(&format!("at the client, {name}"))).got(median(&seen[at]), "µs");
            lines.push(line.against("bare threads that write", median(&seen_bare[at]), "µs").wants(target));
        }
    }
    let (client, _) = play(place, &mockd, &long, "/long", 100)?;
    let [early, late] = ["early", "late"].map(|name| client[name].as_f64().unwrap_or(f64::NAN) / US);
    let line = Line::new(ROW, format!("100 replays of {} s, last tenth's lateness at the client, p50", long.frames / 10));
    lines.push(line.against("first tenth's", early, "µs").got(late, "µs").wants(Target::RatioAtMost(1.2)));
    Ok(())
}

/// Lets a crowd be sent a recording: what the client saw, and the median of the sessions' own p50 and p99 in µs.
fn play(place: &Place, mockd: &Mockd, paced: &Paced, path: &str, sessions: u64) -> Result<(Value, [f64; 2])> {
    let crowd = place.role(None, paced.crowd(mockd.port, path, sessions, INTERVAL_US / 1000))?;
    crowd.line()?;
    let seen = crowd.line()?;
    // The client may have the last frames before the sessions have counted them.
    clock::settle(100);
    let views = mockd.call("GET", "/replay", None)?;
    let playing: Vec<&Value> =
        views["replays"].as_array().into_iter().flatten().filter(|view| view["framesSent"] == paced.frames).collect();
    if playing.len() != sessions as usize {
        return Err(format!("{} of {sessions} sessions have sent {} frames", playing.len(), paced.frames).into());
    }
    let mut told = [vec![], vec![]];
    for view in playing {
        told[0].extend(view["lateness"]["p50Us"].as_f64());
        told[1].extend(view["lateness"]["p99Us"].as_f64());
    }
    drop(crowd);
    // The sessions end before the next crowd comes.
    clock::settle(500);
    Ok((seen, told.map(|figures| median(&figures))))
}

/// The nanoseconds of a client's figure in milliseconds.
pub fn ms(value: &Value) -> f64 {
    value.as_f64().map_or(f64::NAN, |ns| ns / MS)
}
