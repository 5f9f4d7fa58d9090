//! Floor 3: what mockd decides, as pure rules: path patterns, redaction, matching, correlation, conversion, the script and its player.
//!
//! It relies on the floors below it, and on nothing that acts: no file, no socket, no thread, no clock. `now` is an argument.

pub mod chat;
pub mod choose;
pub mod convert;
pub mod correlate;
pub mod correlate_plan;
pub mod diff;
pub mod events;
pub mod export;
pub mod import;
pub mod json_places;
pub mod json_span;
pub mod likeness;
pub mod matching;
pub mod message_match;
mod pace;
pub mod pattern;
pub mod performance;
mod placeholder;
pub mod player;
pub mod redact;
pub mod redact_ends;
mod redact_hidden;
pub mod response;
pub mod resume;
pub mod scenario;
pub mod script;
pub mod template;
