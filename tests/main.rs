//! The tests: each starts the real binary and compares exact bytes and words.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr, missing_docs)]
// The support modules are a library that some tests use more of than others.
#![allow(dead_code)]

mod support;
// The mock port: WebSocket, plain HTTP, event streams, TLS to the upstream.
mod relay_http;
mod relay_sse;
mod relay_tls;
mod relay_ws;
// Recordings: sessions and fields, what survives, what is hidden, where they are kept.
mod durability;
mod recording;
mod redaction;
mod storage;
// Replay: the three modes, event streams, sessions and who gets which.
mod replay_pure;
mod replay_sessions;
mod replay_sse;
mod replay_sync;
mod replay_triggered;
// The admin port: errors, lists, ids, who may use it.
mod admin;
