//! Floor 5: threads, clocks and sockets around the rules: the App, relays, the recorder, replay sessions and their registry.
//!
//! It relies on every floor below. What it never holds: routes, JSON of answers that have no model, words for people.

pub mod app;
pub mod recordings;
pub mod replays;
