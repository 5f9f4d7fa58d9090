//! The rows of the table, one function each: what is started, what is asked of whom, and the lines that come of it. What runs in other
//! processes stands in `roles`.

mod capacity;
mod events;
mod flood;
mod long;
mod oneway;
mod pacing;
mod relay;
mod store;

use serde_json::{Value, json};

use crate::Result;
use crate::figures::median;
use crate::place::{Place, Process};
use crate::report::Line;

/// A row.
pub struct Row {
    /// What it is picked by.
    pub name: &'static str,
    /// What it does.
    pub what: &'static str,
    /// Does it, and adds its lines; those that are there already stay where it fails.
    pub run: fn(&Place, &mut Vec<Line>) -> Result<()>,
}

/// All of them, in the order of the table.
pub const ROWS: &[Row] = &[
    Row { name: "pacing", what: "pure replay: lateness at the write and at the client", run: pacing::run },
    Row { name: "capacity", what: "as many replays at once as the cap allows", run: capacity::run },
    Row { name: "flood", what: "timingScale 0: as fast as the client reads", run: flood::run },
    Row { name: "relay", what: "round trips through the relay while recording", run: relay::plain },
    Row { name: "tls", what: "round trips to a wss upstream while recording", run: relay::tls },
    Row { name: "oneway", what: "one-way throughput of the relay while recording", run: oneway::against_nginx },
    Row { name: "sustained", what: "what the recorder keeps up with for 10 s", run: oneway::sustained },
    Row { name: "cpu", what: "CPU of a recorded frame", run: oneway::cpu },
    Row { name: "sse", what: "event streams through the relay while recording", run: events::sse },
    Row { name: "times", what: "recorded times against the upstream's stamps", run: events::times },
    Row { name: "list", what: "lists of 1,000, 10,000 and 100,000 recordings", run: store::list },
    Row { name: "start", what: "start, idle memory and size of the binary", run: store::start },
    Row { name: "long", what: "a recording of 1,000,000 frames", run: long::run },
    Row { name: "recovery", what: "a journal of 200 MB that a crash left behind", run: long::recovery },
];

/// The numbers of a list.
fn numbers(list: &Value) -> Vec<f64> {
    list.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
}

/// The median of a list's numbers.
fn middle(list: &Value) -> f64 {
    median(&numbers(list))
}

/// An upstream that all relays of a row share, and its port.
fn upstream(place: &Place, core: Option<usize>) -> Result<(Process, u16)> {
    let process = place.role(core, json!({"role": "upstream"}))?;
    let port = process.port()?;
    Ok((process, port))
}

/// What a client calls a server, and where that is.
fn target(name: &str, port: u16, path: &str) -> Value {
    json!({"name": name, "port": port, "path": path})
}

const US: f64 = 1000.0;
const MS: f64 = 1e6;
const MB: f64 = 1e6;
