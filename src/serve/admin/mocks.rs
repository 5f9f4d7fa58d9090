//! The calls about mocks: each reads its call, asks the registry, and answers.

use serde::Serialize;

use super::answer::Answer;
use super::call::Call;
use crate::base::error::Result;
use crate::model::mock::{Mock, MockSource, Shown};

/// `GET /mocks`
pub fn list(call: &Call) -> Result<Answer> {
    let mocks = call.app().mocks.list();
    Answer::json(200, &Listed { total: mocks.len(), mocks })
}

/// The answer of `GET /mocks`; a large mock is never a value on its way.
#[derive(Serialize)]
struct Listed {
    mocks: Vec<Shown>,
    total: usize,
}

/// `POST /mocks`: the body is one mock as in a config file.
pub fn add(call: &Call) -> Result<Answer> {
    // As in a file: a name that stands there twice is an error. Only text that is JSON comes so far.
    call.json()?;
    let text = String::from_utf8_lossy(&call.body);
    let text = text.trim_start_matches('\u{feff}');
    let text = if text.trim().is_empty() { "{}" } else { text };
    let mock = Mock::from_text(text, text, MockSource::default())?;
    Answer::json(201, &call.app().mocks.add(mock)?)
}

/// `GET /mocks/{id}`
pub fn show(call: &Call) -> Result<Answer> {
    Answer::json(200, &call.app().mocks.view(&call.id)?)
}

/// `DELETE /mocks/{id}`: connections that it has go on.
pub fn delete(call: &Call) -> Result<Answer> {
    call.expect_no_fields()?;
    call.app().mocks.remove(&call.id)?;
    Ok(Answer::empty())
}
