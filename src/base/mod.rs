//! Floor 0: what every other floor needs and what needs none of them: errors, limits, time, ids, text.
//!
//! It relies on the standard library and on `nix` for calls that only a Unix has (`platform.rs` holds all of them).
//! Nothing here knows what a recording, a frame or a request is.

pub mod arrivals;
pub mod error;
pub mod files;
pub mod id;
pub mod limits;
pub mod log;
pub mod platform;
pub mod spawn;
pub mod sync;
pub mod text;
pub mod time;
