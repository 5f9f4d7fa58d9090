//! A recording of the store as a config: its text for a file, or the mock itself for this server. What is written is decided in `rules`.

use std::path::Path;

use crate::base::error::{Error, Result};
use crate::base::limits::MAX_CONFIG_BYTES;
use crate::model::config::read_into;
use crate::model::convert_options::{ConfigFormat, ConvertOptions};
use crate::model::mock::{Mock, MockSource};
use crate::model::settings::Settings;
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

/// Converts an opened recording into the mock that a server would make of the config.
///
/// # Errors
/// As [`convert`]; [`Error::TooLarge`] for what no config file could hold either.
pub fn convert_to_mock(file: &RecordingFile, options: &ConvertOptions) -> Result<Mock> {
    let options = ConvertOptions { format: ConfigFormat::Json, ..options.clone() };
    let mut text = String::new();
    convert_file(file, &options, &mut |piece| {
        if (text.len() + piece.len()) as u64 > MAX_CONFIG_BYTES {
            return Err(Error::TooLarge { what: "mock that would be added to the server", limit: MAX_CONFIG_BYTES });
        }
        text.push_str(piece);
        Ok(())
    })?;
    let mut read = Settings::default();
    read_into(&mut read, Path::new("converted.json"), &text)?;
    let mock = read.mocks.pop().ok_or_else(|| Error::Failed("the converted config has no mock".to_owned()))?;
    Ok(Mock { source: MockSource::default(), ..mock })
}
