//! floor 6 (skeleton)

use std::path::PathBuf;

use crate::base::error::Result;
use crate::model::settings::Settings;

/// How a server says that it is ready.
#[derive(Debug, Clone, Default)]
pub struct Announce {
    /// A file that gets the addresses, written atomically.
    pub ready_file: Option<PathBuf>,
    /// One line of JSON on stdout.
    pub json: bool,
}

/// Runs a server until it is told to end.
pub fn run(_settings: Settings, _announce: Announce) -> Result<()> {
    todo!()
}
