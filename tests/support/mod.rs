//! What the tests share: one builder for a running server, scripted upstreams, one client per protocol, recordings made by hand.
//!
//! It never asserts what mockd should do; it says what was waited for and what came instead. Nothing here or in any test sleeps.

pub mod disk_layer;
pub mod effort;
pub mod http;
pub mod one_shot;
pub mod pty;
pub mod recordings;
pub mod server;
pub mod sse;
pub mod stuck;
pub mod tls;
pub mod upstream;
pub mod usage;
pub mod wait;
pub mod ws;

pub use http::Conn;
pub use server::Server;
pub use upstream::Upstream;
