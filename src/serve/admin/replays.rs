//! The calls that make and steer replays: each reads its call, asks the registry, and answers.

use std::time::Duration;

use serde_json::json;

use super::answer::Answer;
use super::call::Call;
use crate::base::error::{Error, Result};
use crate::base::limits::REPLAY_TIMEOUT_MS;
use crate::model::fields;
use crate::model::replay::{Advance, CloseRequest, Injection, ReplayOptions, WaitFor};

/// The longest `?timeout=` of a wait.
const MAX_WAIT_MS: u64 = 3_600_000;

/// `POST /stream-recordings/{id}/replay`
pub fn create(call: &Call) -> Result<Answer> {
    let options = ReplayOptions::from_json(&call.json()?)?;
    Answer::json(201, &call.app().replays.create(&super::recordings::resolve(call)?, options)?)
}

/// `GET /replay`
pub fn list(call: &Call) -> Result<Answer> {
    let replays = call.app().replays.list(call.parameters.flag("all")?);
    Answer::json(200, &json!({"total": replays.len(), "replays": replays}))
}

/// `GET /replay/{id}`: the status now, or with `wait` when it is as asked; 408 with the status when the time is
/// up, or when it will never be.
pub fn view(call: &Call) -> Result<Answer> {
    let limit_ms = call.parameters.integer("timeout", 0..=MAX_WAIT_MS)?;
    let Some(word) = call.parameters.value("wait") else {
        if limit_ms.is_some() {
            return Err(Error::invalid("timeout", "this parameter goes with wait only: ?wait=ended&timeout=5000"));
        }
        return Answer::json(200, &call.app().replays.view(&call.id)?);
    };
    let until = wait_for(word)?;
    let limit = Duration::from_millis(limit_ms.unwrap_or(REPLAY_TIMEOUT_MS));
    match call.app().replays.wait(&call.id, until, limit, &|| call.asker.is_wanted())? {
        Ok(view) => Answer::json(200, &view),
        Err(view) => Answer::json(408, &view),
    }
}

fn wait_for(word: &str) -> Result<WaitFor> {
    match word {
        "waiting" => Ok(WaitFor::Waiting),
        "complete" => Ok(WaitFor::Complete),
        "ended" => Ok(WaitFor::Ended),
        other => Err(Error::invalid("wait", fields::not_a_word(other, &["waiting", "complete", "ended"]))),
    }
}

/// `GET /replay/{id}/messages`
pub fn messages(call: &Call) -> Result<Answer> {
    Answer::json(200, &json!({"messages": call.app().replays.messages(&call.id)?}))
}

/// `POST /replay/{id}/advance`
pub fn advance(call: &Call) -> Result<Answer> {
    let advance = Advance::from_json(&call.json()?)?;
    Answer::json(200, &call.app().replays.advance(&call.id, &advance, &|| call.asker.is_wanted())?)
}

/// `POST /replay/{id}/pause`
pub fn pause(call: &Call) -> Result<Answer> {
    call.expect_no_fields()?;
    Answer::json(200, &call.app().replays.pause(&call.id, &|| call.asker.is_wanted())?)
}

/// `POST /replay/{id}/resume`
pub fn resume(call: &Call) -> Result<Answer> {
    call.expect_no_fields()?;
    Answer::json(200, &call.app().replays.resume(&call.id, &|| call.asker.is_wanted())?)
}

/// `POST /replay/{id}/inject`
pub fn inject(call: &Call) -> Result<Answer> {
    let protocol = call.app().replays.protocol(&call.id)?;
    let injection = Injection::from_json(protocol, &call.json()?)?;
    Answer::json(200, &call.app().replays.inject(&call.id, injection, &|| call.asker.is_wanted())?)
}

/// `POST /replay/{id}/close`
pub fn close(call: &Call) -> Result<Answer> {
    let request = CloseRequest::from_json(&call.json()?)?;
    Answer::json(200, &call.app().replays.close(&call.id, request, &|| call.asker.is_wanted())?)
}

/// `DELETE /replay/{id}`
pub fn stop(call: &Call) -> Result<Answer> {
    call.expect_no_fields()?;
    call.app().replays.stop(&call.id)?;
    Ok(Answer::empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_have_three_words() {
        for (word, wanted) in [("waiting", WaitFor::Waiting), ("complete", WaitFor::Complete), ("ended", WaitFor::Ended)] {
            assert_eq!(wait_for(word), Ok(wanted));
        }
        let error = wait_for("end").unwrap_err().to_string();
        assert_eq!(error, "wait: \"end\" is none of waiting, complete, ended (did you mean \"ended\"?)");
    }
}
