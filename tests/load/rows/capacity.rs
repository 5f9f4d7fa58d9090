//! As many replays at once as the server says it takes, then thousands of clients more: times, memory, and that it lives on.

use serde_json::json;

use super::pacing::{Paced, bare, ms};
use super::upstream;
use crate::place::Place;
use crate::report::{Line, Target};
use crate::servers::Mockd;
use crate::{Result, content};

const ROW: &str = "capacity";

/// The row.
pub fn run(place: &Place, lines: &mut Vec<Line>) -> Result<()> {
    let data_dir = place.data_dir("capacity")?;
    let paced = Paced::record(&data_dir, "/slow", place.count(15, 5), 1_000_000)?;
    let config = content::mocks(&place.path("capacity.json"), &[("/slow", &paced.made, json!({}))])?;
    let mut mockd = Mockd::start(place, None, &data_dir, &["--config", &config])?;
    let log = mockd.process.log();
    let cap = log.split("at most ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok());
    let cap: u64 = cap.ok_or_else(|| format!("the server does not print its cap: {log}"))?;
    // The first session compiles the recording; that is not a session's memory.
    drop(place.role(None, paced.crowd(mockd.port, "/slow", 1, 0))?.line()?);
    let before_kib = mockd.process.memory_kib("VmRSS")?;
    let wanted = cap.min(place.count(cap, 500));
    let crowd = place.role(None, paced.crowd(mockd.port, "/slow", wanted, 3000))?;
    let attached = crowd.line()?["attached"].as_u64().unwrap_or(0);
    let seen = crowd.line()?;
    let after_kib = mockd.process.memory_kib("VmRSS")?;
    let bare = {
        let (_upstream, port) = upstream(place, None)?;
        bare(place, port, &paced, wanted, 3000)?
    };
    let per_session = after_kib.saturating_sub(before_kib) as f64 / wanted as f64;
    let line = Line::new(ROW, format!("replays of one recording at once, 1 frame/s each ({} s)", place.count(15, 5)));
    let line = line.against("printed cap", cap as f64, "sessions").got(attached as f64, "sessions");
    lines.push(if wanted == cap { line.wants(Target::RatioAtLeast(1.0)) } else { line });
    for (name, target) in [("p50", Target::None), ("p99", Target::AtMost(1.0))] {
        let line = Line::new(ROW, format!("{wanted} replays, lateness at the client, {name}")).got(ms(&seen[name]), "ms");
        lines.push(line.against("bare threads that write", ms(&bare[name]), "ms").wants(target));
    }
    let line = Line::new(ROW, "resident memory of a session").got(per_session, "KiB").wants(Target::AtMost(32.0));
    lines.push(
        line.note(format!("{before_kib} KiB before, {after_kib} KiB with {wanted} sessions; the kernel's socket buffers are not in it")),
    );
    if wanted < cap {
        lines.push(Line::left_out(ROW, "clients past the cap", "a quick run does not reach the cap"));
        return Ok(());
    }
    let more = 3000;
    let told = place.ask(None, json!({"role": "refused", "port": mockd.port, "path": "/slow", "connections": more, "batch": 250}))?;
    let refused = told["503 with Retry-After"].as_f64().unwrap_or(0.0);
    let line = Line::new(ROW, format!("{more} clients past the cap, told 503 with Retry-After"));
    lines.push(line.got(refused, "clients").wants(Target::AtLeast(more as f64)).note(format!("answers: {told}")));
    let health = mockd.call("GET", "/health", None)?;
    let views = mockd.call("GET", "/replay", None)?;
    let lives = mockd.process.is_alive() && health["status"] == "ok";
    let line = Line::new(ROW, "sessions that still play after that")
        .got(if lives { views["total"].as_f64().unwrap_or(0.0) } else { 0.0 }, "sessions");
    lines.push(line.wants(Target::AtLeast(wanted as f64)));
    Ok(())
}
