//! The call that makes a config of a recording.

use std::io::Write;

use super::answer::Answer;
use super::call::Call;
use super::recordings::resolve;
use super::transfer::{file_stem, name_left_out};
use crate::base::error::{Error, Result};
use crate::engine::conversion::{convert_file, convert_to_mock};
use crate::model::convert_options::ConvertOptions;
use crate::rules::convert::mock_name;

/// `POST /stream-recordings/{id}/convert`: the answer is the config file. It is made twice: first to see that it can be made, and what
/// it leaves out, which the head says; then piece by piece for the client.
pub fn convert(call: &Call) -> Result<Answer> {
    let options = ConvertOptions::from_json(&call.json()?)?;
    let id = resolve(call)?;
    call.app().store.check_ended(&id, "convert")?;
    let file = call.app().store.open(&id)?;
    let left_out = convert_file(&file, &options, &mut |_| Ok(()))?.left_out.lines();
    if options.add_to_server {
        call.app().mocks.replace(convert_to_mock(&file, &options)?)?;
    }
    let stem = file_stem(mock_name(&file.head, &options), &id);
    let disposition = format!("attachment; filename=\"{stem}.{}\"", options.format.word());
    let answer = Answer::stream(options.format.media_type(), move |out| {
        let gone = |error: std::io::Error| Error::Failed(format!("the client left: {error}"));
        convert_file(&file, &options, &mut |piece| out.write_all(piece.as_bytes()).map_err(gone)).map(drop)
    });
    Ok(name_left_out(answer.with("Content-Disposition", disposition), &left_out))
}
