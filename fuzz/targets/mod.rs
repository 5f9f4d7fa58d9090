//! What is checked of generated input: one function per target, which panics where a property does not hold. The same functions run under
//! libFuzzer (`fuzz/main.rs`) and over the corpus in every run of the tests (`tests/corpus.rs`). No input is made here.

mod configs;
mod files;
mod input;
mod json;
mod places;
mod playing;
mod redact;
mod wire;

pub use files::check_damaged_journal;

/// A property of any bytes.
pub type Check = fn(&[u8]);

/// One target.
pub struct Target {
    /// Its name: that of its folder in `fuzz/corpus`.
    pub name: &'static str,
    /// What it checks.
    pub check: Check,
}

const fn target(name: &'static str, check: Check) -> Target {
    Target { name, check }
}

/// Every target.
pub const TARGETS: &[Target] = &[
    target("request_head", wire::request_head),
    target("response_head", wire::response_head),
    target("body", wire::body),
    target("ws", wire::ws),
    target("sse", wire::sse),
    target("recording", files::recording),
    target("journal", files::journal),
    target("import_har", files::import),
    target("import_go", files::import),
    target("import_own", files::import),
    target("config_json", configs::config_json),
    target("config_yaml", configs::config_yaml),
    target("bodies", configs::bodies),
    target("arguments", configs::arguments),
    target("template", configs::template),
    target("json", json::json),
    target("json_path", json::json_path),
    target("correlate", json::correlate),
    target("diff", json::diff),
    target("redact", redact::redact),
    target("redact_made", redact::redact_made),
    target("id_prefix", places::id_prefix),
    target("url", places::url),
    target("words", places::words),
    target("player", playing::player),
];
