//! The parts of the bench that are processes of their own: loads, upstreams, and the bare loops that are the limits. Each gets one JSON
//! object, says what it found out as lines of JSON on stdout, and ends when the bench does.

mod client_crowd;
mod client_events;
mod client_flood;
mod client_rounds;
mod hot;
mod link;
mod loops;
mod upstream;

use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::{Result, clock};

/// Becomes a part of the bench. `args` are what follows the spec: the program of `exec`.
pub fn run(spec: &str, args: &[String]) -> Result<()> {
    let spec: Value = serde_json::from_str(spec)?;
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    if let Some(core) = spec["core"].as_u64() {
        clock::pin(core as usize)?;
    }
    match spec["role"].as_str().unwrap_or_default() {
        "exec" => {
            let (program, args) = args.split_first().ok_or("no program")?;
            Err(Command::new(program).args(args).exec().into())
        }
        "upstream" => upstream::run(&spec),
        "flood" => client_flood::run(&spec),
        "rounds" => client_rounds::run(&spec),
        "crowd" => client_crowd::run(&spec),
        "refused" => client_crowd::knock(&spec),
        "events" => client_events::run(&spec),
        "waits" => loops::waits(&spec),
        "pipe" => loops::pipe(&spec),
        "writes" => loops::writes(&spec),
        "validate" => loops::read_json(&spec, true),
        "parse" => loops::read_json(&spec, false),
        "time" => loops::time(&spec),
        "hot" => hot::run(&spec),
        other => Err(format!("no role {other:?}").into()),
    }
}

/// Says one line to the bench.
fn say(value: &Value) {
    println!("{value}");
}

/// A number of the spec.
fn number(spec: &Value, name: &str) -> Result<u64> {
    spec[name].as_u64().ok_or_else(|| format!("no number {name:?} in {spec}").into())
}

/// A text of the spec.
fn word<'a>(spec: &'a Value, name: &str) -> Result<&'a str> {
    spec[name].as_str().ok_or_else(|| format!("no text {name:?} in {spec}").into())
}
