//! Floor 6: the doors: the mock port's accept loop and dispatch, the admin port's table of routes and its handlers.
//!
//! It relies on the engine for everything that lasts and on `wire` for bytes. It keeps no state of its own beyond the
//! requests that are under way, and it decides nothing about recordings or replays.

pub mod admin;
