//! A recording of the store as a config: its text for a file, or the mock itself for this server. What is written is decided in `rules`.

use crate::base::error::{Error, Result};
use crate::base::limits::MAX_ADDED_MOCK_BYTES;
use crate::model::convert_options::{ConfigFormat, ConvertOptions};
use crate::model::mock::{Mock, MockSource};
use crate::rules::convert::{Converted, Frames, Recorded, convert};
use crate::store::RecordingFile;

/// Converts an opened recording and hands the config's text to `sink`, piece by piece; the frames are read from disk as they are written.
///
/// # Errors
/// As [`convert`].
pub fn convert_file(file: &RecordingFile, options: &ConvertOptions, sink: &mut dyn FnMut(&str) -> Result<()>) -> Result<Converted> {
    let frames = || -> Result<Frames<'_>> { file.frames() };
    convert(&Recorded { head: &file.head, tail: &file.tail, frames: &frames }, options, sink)
}

/// Converts an opened recording into a mock that can be served.
///
/// # Errors
/// As [`convert`]; [`Error::TooLarge`] past [`MAX_ADDED_MOCK_BYTES`].
pub fn convert_to_mock(file: &RecordingFile, options: &ConvertOptions) -> Result<Mock> {
    let options = ConvertOptions { format: ConfigFormat::Json, ..options.clone() };
    let mut text = String::new();
    convert_file(file, &options, &mut |piece| {
        if (text.len() + piece.len()) as u64 > MAX_ADDED_MOCK_BYTES {
            return Err(Error::TooLarge { what: "mock that would be added to the server", limit: MAX_ADDED_MOCK_BYTES });
        }
        text.push_str(piece);
        Ok(())
    })?;
    let unreadable = |error: &dyn std::fmt::Display| Error::Failed(format!("the converted mock cannot be read back: {error}"));
    let mut config: serde_json::Value = serde_json::from_str(&text).map_err(|error| unreadable(&error))?;
    drop(text);
    let mock = config.pointer_mut("/mocks/0").map(serde_json::Value::take).unwrap_or_default();
    Mock::from_value(mock, MockSource::default())
}
