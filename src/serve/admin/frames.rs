//! `GET /stream-recordings/{id}/frames`: a recording's frames as an event stream, and on with them while it is being recorded.
//! Nothing is gathered: what has been read from the file goes out before more of it is read.

use std::io::Write;
use std::time::Duration;

use super::answer::Answer;
use super::call::{Asker, Call};
use super::outlet::Outlet;
use super::recordings::{self, Found};
use crate::base::error::{Error, Result};
use crate::base::time::{self, Micros};
use crate::model::recording::Status;
use crate::store::RecordingFile;

/// The longest silence, for what stands between the server and its client; and a client without the gate is only noticed by it.
const KEEP_ALIVE_US: Micros = 15_000_000;
/// How long one wait for more frames lasts, so that the end of the server is seen, and the client's leaving.
const LOOK_UP: Duration = Duration::from_secs(1);

/// Who reads frames, and which.
struct Reader {
    asker: Asker,
    /// The number of the first frame that it wants.
    from: u64,
    /// It wants those that come, too.
    follow: bool,
}

/// One `data: <frame>` event for each frame, its number from 0 as `id`; a client that comes again with `Last-Event-ID` gets what
/// follows, and 204, which tells an event source to stop, where nothing ever will.
pub fn frames(call: &Call) -> Result<Answer> {
    let follow = call.parameters.flag("follow")?;
    let from = first_wanted(call.last_event_id.as_deref());
    let reader = Reader { asker: call.asker.clone(), from, follow };
    let id = match recordings::find(call)? {
        Found::Stored(id) => id,
        Found::Waiting(recording) => return Ok(await_first(reader, recording.head.id)),
    };
    let file = call.app().store.open(&id)?;
    let running = file.tail.status == Status::Recording;
    if from > 0 && !running && file.frames()?.nth(usize::try_from(from).unwrap_or(usize::MAX)).is_none() {
        return Ok(Answer::empty());
    }
    Ok(Answer::stream("text/event-stream", move |out| {
        if running { write_running(&reader, &file, &id, out) } else { write_finished(&file, from, out) }
    }))
}

/// The frames of a session that waits for its first connection.
fn await_first(reader: Reader, id: String) -> Answer {
    Answer::stream("text/event-stream", move |out| {
        flush(out)?;
        let mut last_us = time::now_us();
        while reader.follow && reader.asker.is_wanted() {
            let is_to_come = reader.asker.app.recordings.wait_begun(&id, LOOK_UP);
            match reader.asker.app.store.open(&id) {
                Ok(file) => return write_running(&reader, &file, &id, out),
                Err(Error::NotFound { .. }) if is_to_come => keep_alive(out, &mut last_us)?,
                // Its disk refused it, or it is deleted already: nothing ever comes.
                Err(Error::NotFound { .. }) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    })
}

/// The number of the first frame that the client does not have; an id that is none of ours means all of them.
fn first_wanted(last_event_id: Option<&str>) -> u64 {
    last_event_id.and_then(|id| id.trim().parse::<u64>().ok()).map_or(0, |last| last.saturating_add(1))
}

/// The frames of a recording that grows no more, also of one that another program laid out.
fn write_finished(file: &RecordingFile, from: u64, out: &mut Outlet) -> Result<()> {
    for (index, frame) in (0..).zip(file.frames()?) {
        let frame = frame?;
        if index >= from {
            let line = serde_json::to_vec(&frame).map_err(|error| Error::Failed(format!("frame {index}: {error}")))?;
            write_event(out, index, &line)?;
        }
    }
    Ok(())
}

/// The frames so far, then those that come.
fn write_running(reader: &Reader, file: &RecordingFile, id: &str, out: &mut Outlet) -> Result<()> {
    let (mut position, mut index, mut seen, mut running) = (0, 0, 0, reader.follow);
    let mut last_us = time::now_us();
    // The client gets the head before the first frame is there.
    flush(out)?;
    loop {
        let (lines, next) = file.lines_from(position)?;
        for line in &lines {
            if index >= reader.from {
                write_event(out, index, line)?;
            }
            index += 1;
        }
        position = next;
        if !lines.is_empty() {
            flush(out)?;
            last_us = time::now_us();
            continue;
        }
        if !running || !reader.asker.is_wanted() {
            return Ok(());
        }
        keep_alive(out, &mut last_us)?;
        // The size counts bytes that are no frames (the head line), so it is what the next wait must pass. Once the
        // recording has ended one more look finds what was written between the last look and the end.
        (seen, running) = reader.asker.app.recordings.wait_growth(id, seen.max(position), LOOK_UP);
    }
}

/// After a long silence, a comment: it finds out whether the client is still there.
fn keep_alive(out: &mut Outlet, last_us: &mut Micros) -> Result<()> {
    if time::now_us().saturating_sub(*last_us) >= KEEP_ALIVE_US {
        out.write_all(b": keep-alive\n\n").map_err(gone)?;
        flush(out)?;
        *last_us = time::now_us();
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_client_that_comes_again_goes_on_where_it_was() {
        for (id, wanted) in [(None, 0), (Some("0"), 1), (Some("41"), 42), (Some(""), 0), (Some("evt-1"), 0), (Some("-1"), 0)] {
            assert_eq!(first_wanted(id), wanted, "{id:?}");
        }
        assert_eq!(first_wanted(Some(&u64::MAX.to_string())), u64::MAX);
    }

    #[test]
    fn a_frame_is_one_event_on_one_line() {
        let seen = Arc::new(std::sync::Mutex::new(Vec::new()));
        struct Out(Arc<std::sync::Mutex<Vec<u8>>>);
        impl Write for Out {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                crate::base::sync::lock(&self.0).extend_from_slice(bytes);
                Ok(bytes.len())
            }

            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let mut outlet = Outlet::new(Box::new(Out(Arc::clone(&seen))), Vec::new(), false);
        write_event(&mut outlet, 7, b"{\"data\":\"a\\nb\"}\n").unwrap();
        outlet.finish().unwrap();
        assert_eq!(crate::base::sync::lock(&seen).as_slice(), b"id: 7\ndata: {\"data\":\"a\\nb\"}\n\n");
    }
}
