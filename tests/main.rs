//! The tests: each starts the real binary on free ports and compares exact bytes and words. What they share stands in `support`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr, missing_docs)]
// The support modules are a library that some tests use more of than others.
#![allow(dead_code)]

mod support;

// WebSockets through the relay: the upstream's handshake, the sender's bytes, the end as it happened.
mod relay_ws;
// Plain HTTP through the mock port, its limits, and what mockd itself answers.
mod relay_http;
// Event streams through the relay as they arrive, and what a recording makes of them.
mod relay_sse;
// wss and https upstreams behind a private CA, both directions at once.
mod relay_tls;

// Recording sessions and every field of a recording.
mod recording;
// kill -9, torn lines, signals, other processes, broken files.
mod durability;
// What is secret stays off the disk and reaches the other side.
mod redaction;
// Soft delete, restore, vacuum, edit, stats, the limit, file modes.
mod storage;

// Pure replay: every frame on its time.
mod replay_pure;
// Synchronized replay: the client drives it; matching and correlation.
mod replay_sync;
// Triggered replay: advance, and what it holds up (nothing).
mod replay_triggered;
// The moments between two states of a replay session.
mod replay_edges;
// Which mock serves a request, and the calls about mocks.
mod mocks;
// Mocks that replay a recording to everybody who comes.
mod replay_mocks;
// Event streams replayed, and clients that reconnect.
mod replay_sse;
// Who gets which session, and the calls that steer one.
mod replay_sessions;
// Recordings converted to configs, and what clients of these get.
mod convert;

// WebSocket mocks of a config: what a client gets of one that talks.
mod mock_ws;
// Event streams of mocks: their bytes, their times, their ends, clients that come back.
mod mock_sse;
// Plain responses of mocks, and bodies by which a mock is chosen.
mod mock_http;

// The admin port: errors, lists, ids, who may use it.
mod admin;
// Every subcommand: what it prints, how it ends, what it says of wrong usage.
mod cli;
// `start`, `stop` and `status`: a server in the background.
mod daemon;
// `record`: a proxy for a command, or for one connection.
mod record;
// `play`: recordings as fixtures, what differs, and what is missing.
mod play;
// Completions in the shells themselves, help texts, exit codes.
mod shell;
// What people see on a terminal: prompts, colours, progress bars.
mod terminal;
// Settings from files, the environment and flags.
mod config;
// Mocks from config files, and SIGHUP.
mod reload;
// `mockd check`.
mod check;
// The built-in upstream of `serve --demo`.
mod demo;
// Files become recordings: HAR, JSON Lines, the original's, our own.
mod import;
// Recordings become files: JSON, JSON Lines, HAR; and come back as they were.
mod export;
// The two documents' own commands as pasted, the JavaScript included.
mod seeds;
// kill -9 at any moment of any work, over and over: what was told is there, once, in order.
mod crash;
// Power that goes away: what was synced is all there is, and a completed recording is whole.
mod power_loss;
// Disks that are full, read-only, broken, slow or gone: traffic never notices, and everybody is told once.
mod disk;
// Two servers and many commands on one directory: the index never disagrees with the files.
mod crowd;
// WebSocket peers that break every rule of RFC 6455, stall, vanish or flood.
mod peers_ws;
// HTTP peers on the mock port that are slow, garbled, ambiguous, or too many.
mod peers_http;
// The same on the admin port.
mod peers_admin;
// SIGTERM under load, the second signal, and what ten thousand clients leave behind: nothing.
mod shutdown;
// Who may use the admin port: tokens, hosts, origins, the page.
mod access;
// Which files are read and written: paths, links, pipes, sizes, modes.
mod access_files;
// What a terminal gets of recorded text: nothing that steers it.
mod access_terminal;
// Secrets pushed through every place of a stream, and looked for everywhere.
mod secrets;
// The corpus of the fuzz targets, each input through its target.
mod corpus;

// The README: every command in it runs, and prints what is shown.
mod readme;
// A sample project whose CI records once and plays for ever.
mod sample;
// The arithmetic of `make bench`.
mod bench;
// Floors, file length, opening lines, banned words.
mod house;
