//! What a `play` run says about clients that were not as recorded: which recording, which step, and what differs, line by line.

use std::io::Write;

use super::color::Paint;
use super::context::tell;
use crate::base::text::clean;
use crate::engine::deck::{Fault, Verdict};
use crate::model::replay::ReplayStatus;
use crate::rules::diff::{self, Line};

/// Tells all of it on stderr.
pub fn tell_all(verdict: &Verdict) {
    for fault in &verdict.faults {
        tell(&title(fault));
        for line in body(fault, Paint::for_stderr()) {
            // Where stderr takes nothing, nobody reads it.
            drop(std::io::stderr().write_all(format!("{line}\n").as_bytes()));
        }
    }
    let more = verdict.failed.saturating_sub(verdict.faults.len() as u64);
    if more > 0 {
        tell(&format!("{more} more replays were not as recorded"));
    }
    for (what, count) in &verdict.unserved {
        let times = if *count == 1 { "once".to_owned() } else { format!("{count} times") };
        tell(&format!("no recording was there for {what}, asked for {times}"));
    }
}

/// Which recording, which step, and what is wrong with it.
fn title(fault: &Fault) -> String {
    let view = &fault.view;
    let of = format!("{} ({} {})", fault.label, view.protocol.word(), view.path);
    match (&view.error, view.status) {
        // The message names the step.
        (Some(error), _) => format!("{of}: {}", error.message),
        (None, ReplayStatus::Aborted) if view.status_reason.as_deref() == Some("client_left") => {
            format!("{of}: the client left after step {} of {}", view.current_frame, view.total_frames)
        }
        (None, status) => {
            let why = view.status_reason.as_deref().unwrap_or(status.word());
            format!("{of}: it was not played to its end: {why} after step {} of {}", view.current_frame, view.total_frames)
        }
    }
}

/// What was recorded and what came, in lines that are safe for a terminal.
fn body(fault: &Fault, paint: Paint) -> Vec<String> {
    let Some(error) = &fault.view.error else { return Vec::new() };
    let (expected, actual) = (error.expected.as_deref(), error.actual.as_deref());
    let mut lines = match (expected, actual) {
        (None, None) => return Vec::new(),
        (_, None) => vec![paint.red("  - recorded, and did not come")],
        (_, Some(_)) => vec![paint.red("  - recorded"), paint.green("  + came")],
    };
    lines.extend(diff::lines(expected.unwrap_or_default(), actual.unwrap_or_default()).into_iter().map(|line| match line {
        Line::Both(text) => clean(&format!("      {text}")).into_owned(),
        Line::Expected(text) => paint.red(&format!("    - {text}")),
        Line::Actual(text) => paint.green(&format!("    + {text}")),
    }));
    lines
}
