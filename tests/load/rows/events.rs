//! Streams whose parts say when they were sent: how long an event takes through the relay, and how true recorded times are.

use mockd::base::time::parse_rfc3339;
use serde_json::{Value, json};

use super::{US, middle, target, upstream};
use crate::figures::{median, quantile};
use crate::place::Place;
use crate::report::{Line, Target};
use crate::servers::{Mockd, nginx};
use crate::{Result, clock};

const GAP_US: u64 = 1000;
const WARM_EVENTS: u64 = 200;

/// From the upstream's write to the client's read, against nginx with buffering off; all on one core.
pub fn sse(place: &Place, lines: &mut Vec<Line>) -> Result<()> {
    const ROW: &str = "sse";
    let core = Some(clock::last_core());
    let (_upstream, port) = upstream(place, core)?;
    let url = format!("http://127.0.0.1:{port}");
    let mockd = Mockd::recording(place, core, &place.data_dir("sse")?, &url, &[])?;
    let peer = nginx(place, core, &url);
    let mut targets = vec![target("direct", port, "/events"), target("mockd", mockd.port, "/events")];
    targets.extend(peer.as_ref().ok().map(|peer| target("nginx", peer.port, "/events")));
    targets.iter_mut().for_each(|target| target["get"] = json!(true));
    let found = listen(place, core, &targets, false)?;
    let work = "SSE relay while recording, write to read";
    if let Err(error) = peer {
        lines.push(Line::left_out(ROW, work, error));
        return Ok(());
    }
    for name in ["p50", "p99"] {
        let of = |who: &str| middle(&found[who][name]) / US;
        let line = Line::new(ROW, format!("{work}, {name}")).against("nginx, buffering off", of("nginx"), "µs").got(of("mockd"), "µs");
        lines.push(line.wants(Target::RatioAtMost(1.1)).note(format!("direct {name}: {:.1} µs; all on one core", of("direct"))));
    }
    Ok(())
}

/// What a recording says against what the upstream wrote into its frames, less the direct way's median.
pub fn times(place: &Place, lines: &mut Vec<Line>) -> Result<()> {
    const ROW: &str = "times";
    let (_upstream, port) = upstream(place, None)?;
    let mockd = Mockd::recording(place, None, &place.data_dir("times")?, &format!("http://127.0.0.1:{port}"), &[])?;
    let found = listen(place, None, &[target("direct", port, "/stamps"), target("mockd", mockd.port, "/stamps")], true)?;
    let [direct_us, direct_most_us] = ["p50", "p99"].map(|name| middle(&found["direct"][name]) / US);
    let (mut p50, mut p99, mut frames) = (Vec::new(), Vec::new(), 0);
    for summary in mockd.ended(place.count(9, 3) as usize)? {
        let id = summary["id"].as_str().unwrap_or_default();
        let recording = mockd.call("GET", &format!("/stream-recordings/{id}"), None)?;
        let mut errors = Vec::new();
        for frame in recording["websocket"]["frames"].as_array().into_iter().flatten().skip(WARM_EVENTS as usize) {
            let Some(stamp) = frame["data"].as_str().and_then(|data| data.strip_prefix("data: ")?.get(..16)) else { continue };
            let sent_ns = u64::from_str_radix(stamp, 16)?;
            let kept_us = frame["timestamp"].as_str().and_then(parse_rfc3339).ok_or_else(|| format!("no time: {frame}"))?;
            let late_us = kept_us as f64 - sent_ns as f64 / US;
            errors.push((late_us - direct_us).abs().round() as u64);
        }
        frames += errors.len();
        p50.push(quantile(&mut errors, 50) as f64);
        p99.push(quantile(&mut errors, 99) as f64);
    }
    if frames == 0 {
        return Err("no frame was recorded".into());
    }
    let line = Line::new(ROW, "recorded times, error against the upstream's stamps, p99").got(median(&p99), "µs");
    let (p50, count) = (median(&p50), p99.len());
    let note = format!(
        "p50 {p50:.0} µs; the medians of {count} recordings, {frames} frames; direct way {direct_us:.0} µs (p99 {direct_most_us:.0}), \
         which a reader's waking up is a part of, and of a recorded time it is not",
    );
    lines.push(line.wants(Target::AtMost(200.0)).note(note));
    Ok(())
}

fn listen(place: &Place, core: Option<usize>, targets: &[Value], wall: bool) -> Result<Value> {
    let (events, blocks) = (place.count(1000, 300), place.count(9, 3));
    place.ask(
        core,
        json!({
            "role": "events", "targets": targets, "events": events, "gap_us": GAP_US, "blocks": blocks, "warm": WARM_EVENTS, "wall": wall,
        }),
    )
}
