//! The calls below `/stream-recordings`: each reads its call, asks the store or the engine, and answers.

use std::io::Write;

use serde_json::json;

use super::answer::Answer;
use super::call::Call;
use crate::base::error::{Error, Result};
use crate::model::api::{Edit, ListQuery, StartRequest};
use crate::model::recording::Recording;
use crate::store::write_recording;

/// `GET /stream-recordings`
pub fn list(call: &Call) -> Result<Answer> {
    let query = ListQuery::from_parameters(call.parameters.iter())?;
    Answer::json(200, &call.app().store.list_with(&query, &call.app().recordings.all_waiting())?)
}

/// `GET /stream-recordings/stats`
pub fn stats(call: &Call) -> Result<Answer> {
    Answer::json(200, &call.app().store.stats()?)
}

/// `GET /stream-recordings/sessions`
pub fn sessions(call: &Call) -> Result<Answer> {
    Answer::json(200, &json!({"sessions": call.app().recordings.sessions()}))
}

/// `POST /stream-recordings/start`
pub fn start(call: &Call) -> Result<Answer> {
    let request = StartRequest::from_json(&call.json()?)?;
    Answer::json(201, &call.app().recordings.start(request, |protocol, path| call.app().serves(protocol, path))?)
}

/// `POST /stream-recordings/{id}/stop`
pub fn stop(call: &Call) -> Result<Answer> {
    call.expect_no_fields()?;
    Answer::json(200, &call.app().recordings.stop(&call.id)?)
}

/// `POST /stream-recordings/vacuum`
pub fn vacuum(call: &Call) -> Result<Answer> {
    call.expect_no_fields()?;
    Answer::json(200, &call.app().store.vacuum()?)
}

/// The recording that a call is about.
pub enum Found {
    /// Its session waits for its first connection: there is no file of it yet.
    Waiting(Box<Recording>),
    /// The store has it, by this full id.
    Stored(String),
}

/// Finds the call's recording.
///
/// # Errors
/// Not found; ambiguous, also where the prefix fits one that waits and one that is stored.
pub fn find(call: &Call) -> Result<Found> {
    // First those that wait: a file that is made after this look is found by the next.
    let waiting = call.app().recordings.waiting(&call.id);
    match (call.app().store.resolve(&call.id), waiting) {
        (Err(Error::NotFound { .. }), Ok(recording)) => Ok(Found::Waiting(Box::new(recording))),
        (Err(Error::NotFound { .. }), Err(error @ Error::Ambiguous { .. })) => Err(error),
        (Ok(id), Ok(recording)) if id != recording.head.id => {
            let mut candidates = vec![id, recording.head.id];
            candidates.sort();
            Err(Error::Ambiguous { prefix: call.id.clone(), candidates })
        }
        (Ok(id), Err(error @ Error::Ambiguous { .. })) if id.len() > call.id.len() => Err(error),
        (stored, _) => stored.map(Found::Stored),
    }
}

/// The full id of the call's recording. One whose session waits for its first connection is there, and can't be changed yet.
pub fn resolve(call: &Call) -> Result<String> {
    match find(call)? {
        Found::Stored(id) => Ok(id),
        Found::Waiting(recording) => {
            let message = format!("{} is still being recorded: stop it first", recording.head.id);
            Err(Error::conflict("still_recording", message))
        }
    }
}

/// `GET /stream-recordings/{id}`: the whole recording, from disk to socket.
pub fn show(call: &Call) -> Result<Answer> {
    let id = match find(call)? {
        Found::Stored(id) => id,
        Found::Waiting(recording) => {
            let failed = |error: std::io::Error| Error::Failed(format!("the client left: {error}"));
            return Ok(Answer::stream("application/json", move |out| {
                write_recording(&recording, |bytes| out.write_all(bytes).map_err(failed))
            }));
        }
    };
    let file = call.app().store.open(&id)?;
    Ok(Answer::stream("application/json", move |out| file.write_to(out)))
}

/// `PATCH /stream-recordings/{id}`
pub fn edit(call: &Call) -> Result<Answer> {
    let edit = Edit::from_json(&call.json()?)?;
    let id = resolve(call)?;
    // An empty body asks for nothing, and nothing is written.
    Answer::json(200, &if edit == Edit::default() { call.app().store.summary(&id)? } else { call.app().store.edit(&id, &edit)? })
}

/// `DELETE /stream-recordings/{id}`
pub fn delete(call: &Call) -> Result<Answer> {
    call.expect_no_fields()?;
    let permanent = call.parameters.flag("permanent")?;
    let id = resolve(call)?;
    if permanent {
        call.app().store.delete_permanently(&id)?
    } else {
        call.app().store.delete(&id)?
    }
    Ok(Answer::empty())
}

/// `POST /stream-recordings/{id}/restore`
pub fn restore(call: &Call) -> Result<Answer> {
    call.expect_no_fields()?;
    Answer::json(200, &call.app().store.restore(&resolve(call)?)?)
}
