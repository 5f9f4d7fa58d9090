//! Floor 7: the words that people type: one COMMANDS table (names, flags, help), a function per command, printing.
//!
//! It relies on the settings, the store, and on the admin port of a server through a small client.
//! What never belongs here: anything that a recording, a replay or a server does.

pub mod check;
pub mod client;
pub mod color;
pub mod command;
pub mod commands;
pub mod commands_ci;
pub mod completions;
pub mod context;
pub mod convert;
pub mod cut;
pub mod daemon;
pub mod drafts;
pub mod faults;
pub mod help;
pub mod init;
pub mod one_shot;
pub mod output;
pub mod parser;
pub mod play;
pub mod progress;
pub mod record;
pub mod recordings;
pub mod replays;
pub mod serve;
pub mod sessions;
pub mod show;
pub mod table;
pub mod transfer;

use std::ffi::OsString;

use context::{Context, Surroundings, tell_error};
use output::Output;
use parser::{Parsed, Typed, parse};

use crate::base::error::{Error, Result};

/// Runs what the arguments ask for (the program's name is not among them) and gives the exit code: 0 done, 1 failed,
/// 2 wrong usage, 3 a client that was not as recorded, or that of the command that `record` and `play` run.
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    // Not locked for the whole command: a server has threads that may print.
    let mut out = Output::to_stdout();
    let result = match parse(args) {
        Ok(Parsed::Run(typed)) => return run_command(&typed, &Surroundings::of_process(), out),
        Ok(Parsed::Help(command)) => out.line(help::help(command).trim_end()).map(|()| 0),
        Ok(Parsed::Version) => out.line(concat!("mockd ", env!("CARGO_PKG_VERSION"))).map(|()| 0),
        Err(error) => Err(error),
    };
    conclude(result, &mut out)
}

fn run_command(typed: &Typed, surroundings: &Surroundings, out: Output<'_>) -> u8 {
    let mut context = Context { typed, surroundings, out, exit_code: 0 };
    let result = match typed.command.run {
        Some(run) => run(&mut context),
        None => Err(Error::Usage(format!("`mockd {}` needs a command", typed.command.name()))),
    };
    conclude(result.map(|()| context.exit_code), &mut context.out)
}

/// Hands over what was printed, tells an error in one line, and gives the exit code.
fn conclude(result: Result<u8>, out: &mut Output<'_>) -> u8 {
    let printed = out.finish();
    if out.is_closed() {
        // `| head` has what it wanted.
        return 0;
    }
    match result.and_then(|exit_code| printed.map(|()| exit_code)) {
        Ok(exit_code) => exit_code,
        Err(error) => {
            tell_error(&error);
            error.exit_code()
        }
    }
}
