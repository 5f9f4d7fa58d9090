//! The four hot paths, each over the library's own functions on one thread, for counting instructions. What the system does is not in it.

use std::hint::black_box;
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use mockd::base::id;
use mockd::base::time::Origin;
use mockd::engine::flow::send_recorded;
use mockd::engine::stretch::Stretch;
use mockd::engine::take::{Bounds, Take};
use mockd::engine::tape::Tape;
use mockd::model::recording::{Direction, FORMAT_VERSION, Head, Metadata, Redaction, Stats, Status, StreamHead, StreamTail, Tail};
use mockd::model::replay::ReplayOptions;
use mockd::rules::matching::Matcher;
use mockd::rules::player::{Player, Turn};
use mockd::rules::redact::Redactor;
use mockd::rules::script::ScriptBuilder;
use mockd::store::Store;
use mockd::wire::sse::EventStreamParser;
use mockd::wire::stream::{Stream, Wait};
use mockd::wire::ws::{self, FrameGuard, Side, opcode};
use serde_json::Value;

use super::{number, word};
use crate::{Result, content};

/// Bytes of a frame's text, and of an event's data.
const TEXT_BYTES: usize = 100;
/// Bytes that nobody limits.
const NO_LIMIT: u64 = u64::MAX;

/// Spec: `path` (`relay`, `record`, `replay`, `event`), `count`, `dir`.
pub fn run(spec: &Value) -> Result<()> {
    let count = number(spec, "count")?;
    match word(spec, "path")? {
        "relay" => relay(count),
        "record" => record(count, word(spec, "dir")?),
        "replay" => replay(count),
        "event" => event(count),
        other => Err(format!("no path {other:?}").into()),
    }
}

fn masked() -> Vec<u8> {
    let mut frame = Vec::new();
    ws::push_frame(&mut frame, opcode::TEXT, content::text(TEXT_BYTES, 1).as_bytes(), Some([1, 2, 3, 4]));
    frame
}

fn head() -> Head {
    Head {
        format_version: FORMAT_VERSION.to_owned(),
        id: id::new(),
        name: "hot".to_owned(),
        description: None,
        tags: Vec::new(),
        start_time: mockd::base::time::rfc3339(0),
        metadata: Metadata { path: "/ws".to_owned(), ..Metadata::default() },
        stream: StreamHead::WebSocket { subprotocol: None },
        extra: serde_json::Map::new(),
    }
}

/// A frame a round: read from a socket, judged, sent to another, put on the tape.
fn relay(count: u64) -> Result<()> {
    let ((near, from), (to, far)) = (connected()?, connected()?);
    let (frame, tape) = (masked(), Tape::new("hot".to_owned()));
    let mut guard = FrameGuard::new(Side::Client, NO_LIMIT);
    let mut buffer = vec![0; 16 * 1024];
    let (mut stretch, mut arrivals) = (Stretch::default(), from.note_arrivals());
    for round in 0..count {
        near.write_now(&frame)?;
        let read = from.read_noted(&mut buffer, &mut arrivals)?;
        let stamp = tape.stamp(Direction::ClientToServer, arrivals.wall_us()).ok_or("the tape has ended")?;
        let scan = guard.scan(&buffer[..read]);
        let bytes = &buffer[..scan.good];
        // As the relay waits, which costs nothing while nobody waits.
        let wait = Wait::Relay { source: &from, stall: Duration::from_secs(60) };
        send_recorded(&to, bytes, wait, || tape.push(Direction::ClientToServer, stamp, bytes))?;
        far.read(&mut buffer)?;
        // As the recorder does, often enough for the tape to stay small.
        if round % 1000 == 999 {
            tape.take(&mut stretch);
        }
    }
    Ok(())
}

/// Both ends of a connection.
fn connected() -> Result<(Stream, Stream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    near.set_nodelay(true)?;
    let (far, _) = listener.accept()?;
    far.set_nodelay(true)?;
    Ok((Stream::Tcp(near), Stream::Tcp(far)))
}

/// A frame a round from the tape to the journal, a hundred in each of the recorder's rounds.
fn record(count: u64, dir: &str) -> Result<()> {
    let store = Store::new(dir.into(), NO_LIMIT / 2, 80);
    let tape = Arc::new(Tape::new("hot".to_owned()));
    let redactor = Arc::new(Redactor::new(&Redaction::default())?);
    let mut take = Take::new(Arc::clone(&tape), head(), Origin::now(), Bounds::default(), redactor, NO_LIMIT);
    store.ensure_dir()?;
    take.begin(&store)?;
    let (frame, mut stretch) = (masked(), Stretch::default());
    for round in 0..count {
        let stamp = tape.stamp(Direction::ClientToServer, None).ok_or("the recording has ended")?;
        tape.push(Direction::ClientToServer, stamp, &frame);
        if round % 100 == 99 && take.advance(&mut stretch) {
            return Err("the recording has ended".into());
        }
    }
    Ok(())
}

/// A frame a round that is due by itself.
fn replay(count: u64) -> Result<()> {
    let mut builder = ScriptBuilder::new(&head());
    let text = content::text(TEXT_BYTES, 1);
    // The script is made of the same number of frames in both runs, so that its making is not counted.
    const FRAMES: u64 = 50_000;
    for number in 0..FRAMES {
        builder.push(&content::frame((number * 1000, Direction::ServerToClient, &text)))?;
    }
    let tail = Tail {
        status: Status::Complete,
        status_reason: None,
        end_time: None,
        duration: None,
        stream: StreamTail::WebSocket { close_code: None, close_reason: None, closed_by: None, end_relative_us: None },
        stats: Stats::default(),
    };
    let script = Arc::new(builder.finish(&tail));
    let options = ReplayOptions::default();
    let matcher = Matcher::new(options.matching, &options.ignore, Vec::new())?;
    let mut player = Player::new(Arc::clone(&script), options, matcher)?;
    player.start(0);
    let (mut now_us, mut sent) = (0, 0);
    while sent < count.min(FRAMES) {
        match player.next(now_us) {
            Turn::Write { range, .. } => {
                black_box(&script.bytes[range]);
                player.written(now_us);
                sent += 1;
            }
            Turn::Sleep { until_us } => now_us = until_us,
            other => return Err(format!("a frame should be due, not {other:?}").into()),
        }
    }
    Ok(())
}

/// An event a round, each in a read of its own.
fn event(count: u64) -> Result<()> {
    let bytes = format!("event: tick\nid: 17\ndata: {}\n\n", content::text(TEXT_BYTES, 1)).into_bytes();
    let mut parser = EventStreamParser::new(NO_LIMIT);
    for _ in 0..count {
        let fed = parser.feed(&bytes, &mut |block| drop(black_box(block)));
        fed.map_err(|_| "an event is too large")?;
    }
    Ok(())
}
