//! mockd records WebSocket and SSE streams and replays them as mocks.
//!
//! The crate is a house of eight floors; a file uses only its own floor and lower ones
//! (`tests/house.rs` reads the `use` lines and says which rule broke).

pub mod base;
pub mod cli;
pub mod engine;
pub mod model;
pub mod rules;
pub mod serve;
pub mod store;
pub mod wire;
