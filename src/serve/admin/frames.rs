//! `GET /stream-recordings/{id}/frames`: a recording's frames as an event stream, and on with them while it is being recorded.
//! Nothing is gathered: what has been read from the file goes out before more of it is read.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use super::answer::Answer;
use super::call::Call;
use super::outlet::Outlet;
use crate::base::error::{Error, Result};
use crate::base::time::{self, Micros};
use crate::engine::app::App;
use crate::model::recording::Status;
use crate::store::RecordingFile;

/// The longest silence: a comment after it finds out whether the client is still there.
const KEEP_ALIVE_US: Micros = 15_000_000;
/// How long one wait for more frames lasts, so that the end of the server is seen.
const LOOK_UP: Duration = Duration::from_secs(1);

/// One `data: <frame>` event for each frame, its number from 0 as `id`.
pub fn frames(call: &Call) -> Result<Answer> {
    let follow = call.parameters.flag("follow")?;
    let id = call.app.store.resolve(&call.id)?;
    let file = call.app.store.open(&id)?;
    let app = Arc::clone(&call.app);
    Ok(Answer::stream("text/event-stream", move |out| {
        if file.tail.status == Status::Recording { write_running(&app, &file, &id, follow, out) } else { write_finished(&file, out) }
    }))
}

/// The frames of a recording that grows no more, also of one that another program laid out.
fn write_finished(file: &RecordingFile, out: &mut Outlet) -> Result<()> {
    for (index, frame) in file.frames()?.enumerate() {
        let line = serde_json::to_vec(&frame?).map_err(|error| Error::Failed(format!("frame {index}: {error}")))?;
        write_event(out, index as u64, &line)?;
    }
    Ok(())
}

/// The frames so far, then those that come.
fn write_running(app: &App, file: &RecordingFile, id: &str, follow: bool, out: &mut Outlet) -> Result<()> {
    let (mut position, mut index, mut seen, mut running) = (0, 0, 0, follow);
    let mut last_us = time::now_us();
    loop {
        let (lines, next) = file.lines_from(position)?;
        for line in &lines {
            write_event(out, index, line)?;
            index += 1;
        }
        position = next;
        if !lines.is_empty() {
            flush(out)?;
            last_us = time::now_us();
            continue;
        }
        if !running || app.is_ending() {
            return Ok(());
        }
        // The head reaches the client before the first frame does; later, a comment asks whether it is still there.
        if index == 0 && seen == 0 {
            flush(out)?;
        } else if time::now_us().saturating_sub(last_us) >= KEEP_ALIVE_US {
            out.write_all(b": keep-alive\n\n").map_err(gone)?;
            flush(out)?;
            last_us = time::now_us();
        }
        // The size counts bytes that are no frames (the head line), so it is what the next wait must pass. Once the
        // recording has ended one more look finds what was written between the last look and the end.
        (seen, running) = app.recordings.wait_growth(id, seen.max(position), LOOK_UP);
    }
}

fn write_event(out: &mut Outlet, index: u64, line: &[u8]) -> Result<()> {
    let mut write = || {
        write!(out, "id: {index}\ndata: ")?;
        out.write_all(line.trim_ascii())?;
        out.write_all(b"\n\n")
    };
    write().map_err(gone)
}

fn flush(out: &mut Outlet) -> Result<()> {
    out.flush().map_err(gone)
}

fn gone(error: std::io::Error) -> Error {
    Error::Failed(format!("the client left: {error}"))
}
