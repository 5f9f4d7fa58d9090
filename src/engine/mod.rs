//! Floor 5: threads, clocks and sockets around the rules: the App, relays, the recorder, replay sessions and their registry.
//!
//! It relies on every floor below. What it never holds: routes, JSON of answers that have no model, words for people.

pub mod answer;
pub mod app;
pub mod board;
pub mod compiled;
pub mod conversion;
pub mod cors;
pub mod deck;
pub mod demo;
mod event_stream;
pub mod export;
pub mod flow;
pub mod import;
pub mod inbox;
pub mod inlet;
pub mod lateness;
pub mod line;
mod lines;
pub mod live;
pub mod live_mock;
pub mod losses;
pub mod mock_http;
pub mod mock_ws;
pub mod mocks;
pub mod performance;
pub mod read_buffer;
pub mod recorder;
pub mod recording_session;
pub mod recordings;
pub mod relay_http;
pub mod relay_ws;
pub mod replay_door;
pub mod replays;
mod request_body;
pub mod session;
pub mod stretch;
pub mod take;
pub mod tape;
mod upload;
pub mod upstream;
pub mod ws_client;
