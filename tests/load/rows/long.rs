//! Files of 200 MB: a recording of a million frames that is replayed, converted and exported, and a journal that is recovered. All
//! against one pass of serde_json over the file that only checks it.

use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;

use mockd::model::recording::Direction;
use serde_json::{Value, json};

use super::MS;
use crate::content::{self, Made, Said};
use crate::figures::median;
use crate::place::Place;
use crate::report::{Line, Target};
use crate::servers::{MOCKD, Mockd};
use crate::{Result, clock};

/// With the rest of its line a frame takes 200 B.
const TEXT_BYTES: usize = 74;
const MIB: f64 = 1_048_576.0;
/// A millisecond from frame to frame.
const INTERVAL_US: u64 = 1000;

fn make(place: &Place, dir: &std::path::Path, is_whole: bool) -> Result<Made> {
    let texts: Vec<String> = (0..1000).map(|number| content::text(TEXT_BYTES, number)).collect();
    let frames = place.count(1_000_000, 100_000);
    let said = (0..frames).map(|at| -> Said<'_> { (at * INTERVAL_US, Direction::ServerToClient, &texts[at as usize % 1000]) });
    let made = content::record(dir, "/long", is_whole, said)?;
    // What is measured later must not pay for writing this.
    File::open(&made.file)?.sync_all()?;
    Ok(made)
}

/// Milliseconds of a pass that checks the file's JSON, median of three.
fn pass_ms(place: &Place, file: &std::path::Path) -> Result<f64> {
    let mut times = Vec::new();
    for _ in 0..3 {
        times.push(place.ask(None, json!({"role": "validate", "file": file}))?["ns"].as_f64().unwrap_or(f64::NAN) / MS);
    }
    Ok(median(&times))
}

/// The row of the long recording.
pub fn run(place: &Place, lines: &mut Vec<Line>) -> Result<()> {
    const ROW: &str = "long";
    let dir = place.data_dir("long")?;
    let made = make(place, &dir, true)?;
    let pass = pass_ms(place, &made.file)?;
    let megabytes = made.bytes as f64 / 1e6;
    let against = "one serde_json pass that checks";
    let frames = place.count(1_000_000, 100_000);
    let bytes_mib = made.bytes as f64 / MIB;
    let (mut times, mut memory) = (Vec::new(), Vec::new());
    for _ in 0..3 {
        let mockd = Mockd::start(place, None, &dir, &[])?;
        let before = mockd.process.memory_kib("VmRSS")?;
        mockd.process.forget_peak()?;
        times.push(first_frame_ms(&mockd, &made.id)?);
        memory.push((mockd.process.memory_kib("VmHWM")?.saturating_sub(before)) as f64 / 1024.0);
    }
    let line = Line::new(ROW, format!("{frames} frames ({megabytes:.0} MB): start of a replay to its first frame"));
    lines.push(line.against(against, pass, "ms").got(median(&times), "ms").wants(Target::RatioAtMost(3.0)));
    let line = Line::new(ROW, "the same, memory").against("the frames' lines", bytes_mib, "MiB").got(median(&memory), "MiB");
    let texts_mib = frames as f64 * TEXT_BYTES as f64 / MIB;
    lines.push(line.wants(Target::RatioAtMost(1.5)).note(format!("the frames' texts alone are {texts_mib:.0} MiB")));

    let dir_text = dir.display().to_string();
    let out = place.text("out.json");
    let bare = place.time(MOCKD, &["--version"])?["maxRssKib"].as_f64().unwrap_or(0.0) / 1024.0;
    let command = |verb: &str| place.time(MOCKD, &["sr", verb, &made.id, "-o", &out, "--data-dir", &dir_text]);
    let used = command("convert")?;
    let number = |name: &str| used[name].as_f64().unwrap_or(f64::NAN);
    let (ms, mib) = (number("ns") / MS, number("maxRssKib") / 1024.0 - bare);
    lines.push(Line::new(ROW, "convert, command line").against(against, pass, "ms").got(ms, "ms").wants(Target::RatioAtMost(3.0)));
    let line = Line::new(ROW, "convert, memory").against("the frames' lines", bytes_mib, "MiB").got(mib, "MiB");
    lines.push(line.wants(Target::RatioAtMost(1.5)));
    std::fs::remove_file(&out)?;
    let used = command("export")?;
    let line = Line::new(ROW, "export, command line, memory above an idle process");
    let took = used["ns"].as_f64().unwrap_or(f64::NAN) / MS;
    let extra = used["maxRssKib"].as_f64().unwrap_or(f64::NAN) / 1024.0 - bare;
    lines.push(line.got(extra, "MiB").wants(Target::AtMost(10.0)).note(format!("it took {took:.0} ms; the pass {pass:.0} ms")));
    std::fs::remove_file(&out)?;

    let mockd = Mockd::start(place, None, &dir, &[])?;
    let before = mockd.process.memory_kib("VmRSS")?;
    mockd.process.forget_peak()?;
    let start = clock::now_ns();
    let got = export_by_api(&mockd, &made.id)?;
    let took = (clock::now_ns() - start) as f64 / MS;
    if got < made.bytes {
        return Err(format!("the API exported {got} of {} bytes", made.bytes).into());
    }
    let extra = mockd.process.memory_kib("VmHWM")?.saturating_sub(before) as f64 / 1024.0;
    let line = Line::new(ROW, "export, API, memory above an idle server").got(extra, "MiB").wants(Target::AtMost(10.0));
    lines.push(line.note(format!("it took {took:.0} ms")));
    std::fs::remove_dir_all(&dir)?;
    Ok(())
}

/// From the call that makes the session to the first byte of the first frame.
fn first_frame_ms(mockd: &Mockd, id: &str) -> Result<f64> {
    let start = clock::now_ns();
    let session = mockd.call("POST", &format!("/stream-recordings/{id}/replay"), Some(&json!({"initialDelay": "none"})))?;
    let path = session["path"].as_str().ok_or_else(|| format!("no path in {session}"))?;
    let mut socket = TcpStream::connect(("127.0.0.1", mockd.port))?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    socket.write_all(request.as_bytes())?;
    let expected = content::frames([content::text(TEXT_BYTES, 0).as_str()]);
    let (mut got, mut part) = (Vec::new(), [0; 4096]);
    loop {
        let end = got.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4);
        if let Some(frame) = end.and_then(|end| got.get(end..end + expected.len())) {
            return if frame == expected { Ok((clock::now_ns() - start) as f64 / MS) } else { Err("another first frame".into()) };
        }
        match socket.read(&mut part)? {
            0 => return Err(format!("the connection ended: {}", String::from_utf8_lossy(&got)).into()),
            read => got.extend_from_slice(&part[..read]),
        }
    }
}

/// Bytes of the answer, its framing included.
fn export_by_api(mockd: &Mockd, id: &str) -> Result<u64> {
    let mut socket = TcpStream::connect(("127.0.0.1", mockd.admin))?;
    let call = format!("POST /stream-recordings/{id}/export HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    socket.write_all(call.as_bytes())?;
    let mut status = [0; 12];
    socket.read_exact(&mut status)?;
    if &status[9..] != b"200" {
        return Err(format!("the export was answered {}", String::from_utf8_lossy(&status)).into());
    }
    Ok(std::io::copy(&mut socket, &mut std::io::sink())?)
}

/// The row of the journal: the server recovers it when it starts, and lists wait for that.
pub fn recovery(place: &Place, lines: &mut Vec<Line>) -> Result<()> {
    const ROW: &str = "recovery";
    let (source, dir) = (place.data_dir("left")?, place.data_dir("recovery")?);
    let made = make(place, &source, false)?;
    let name = made.file.file_name().ok_or("no name")?;
    // A journal is no whole JSON text; the pass is over the same bytes with an end.
    let whole = place.path("journal.json");
    std::fs::copy(&made.file, &whole)?;
    File::options().append(true).open(&whole)?.write_all(b"]}}")?;
    let pass = pass_ms(place, &whole)?;
    let (mut times, mut frames) = (Vec::new(), Value::Null);
    for _ in 0..3 {
        let file = dir.join(name);
        std::fs::copy(&made.file, &file)?;
        File::open(&file)?.sync_all()?;
        let start = clock::now_ns();
        let mockd = Mockd::start(place, None, &dir, &[])?;
        // The server listens meanwhile; a list waits until all is recovered.
        let page = mockd.call("GET", "/stream-recordings", None)?;
        times.push((clock::now_ns() - start) as f64 / MS);
        frames = page["recordings"][0]["frameCount"].clone();
        if frames != place.count(1_000_000, 100_000) {
            return Err(format!("it should have been recovered: {page}").into());
        }
        drop(mockd);
        std::fs::remove_file(dir.join(format!("rec_{}.json", made.id)))?;
    }
    let line =
        Line::new(ROW, format!("recovery of a journal of {:.0} MB, start of the server to the list that has it", made.bytes as f64 / 1e6));
    let line = line.against("one serde_json pass that checks", pass, "ms").got(median(&times), "ms").wants(Target::RatioAtMost(1.5));
    lines.push(line.note(format!("{frames} frames")));
    std::fs::remove_dir_all(&dir)?;
    Ok(std::fs::remove_dir_all(&source)?)
}
