//! Arguments in, exit code out.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(mockd::cli::run(std::env::args_os().skip(1)))
}
