//! The tests: each starts the real binary and compares exact bytes and words.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::print_stderr, missing_docs)]
// The support modules are a library that some tests use more of than others.
#![allow(dead_code)]

mod support;
