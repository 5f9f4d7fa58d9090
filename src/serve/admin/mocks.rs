//! The calls about mocks: each reads its call, asks the registry, and answers.

use serde_json::json;

use super::answer::Answer;
use super::call::Call;
use crate::base::error::Result;
use crate::model::mock::{Mock, MockSource};

/// `GET /mocks`
pub fn list(call: &Call) -> Result<Answer> {
    let mocks = call.app.mocks.list();
    Answer::json(200, &json!({"total": mocks.len(), "mocks": mocks}))
}

/// `POST /mocks`: the body is one mock as in a config file.
pub fn add(call: &Call) -> Result<Answer> {
    let mock = Mock::from_json(&call.json()?, MockSource::default())?;
    Answer::json(201, &call.app.mocks.add(mock)?)
}

/// `GET /mocks/{id}`
pub fn show(call: &Call) -> Result<Answer> {
    Answer::json(200, &call.app.mocks.view(&call.id)?)
}

/// `DELETE /mocks/{id}`: connections that it has go on.
pub fn delete(call: &Call) -> Result<Answer> {
    call.expect_no_fields()?;
    call.app.mocks.remove(&call.id)?;
    Ok(Answer::empty())
}
