//! Floor 2: the words on disk and on the wire: the recording file, settings, mocks, replay options, the admin API's bodies.
//!
//! It relies on `base` and serde, and turns text into checked values and back, with errors that name field, value and what is allowed.
//! It opens no file, keeps no state and decides nothing.

pub mod api;
pub mod config;
pub mod convert_options;
pub mod duration;
pub mod fields;
pub mod frame_line;
pub mod har;
pub mod long_lists;
pub mod mock;
pub mod mock_http;
mod mock_http_fields;
#[cfg(test)]
mod mock_http_tests;
mod mock_parts;
#[cfg(test)]
mod mock_tests;
pub mod mock_ws;
mod mock_ws_fields;
pub mod outline;
pub mod pairs;
pub mod raw;
pub mod recording;
pub mod recording_check;
pub mod recording_text;
pub mod replay;
pub mod replay_options;
pub mod setting;
pub mod settings;
pub mod shown_mock;
pub mod syntax;
mod yaml_depth;
