//! `mockd serve`: settings, checked as a whole, handed to the server. What a server does stands a floor below.

use super::context::Context;
use crate::base::error::{Error, Result};
use crate::base::{log, platform};
use crate::serve::Announce;
use crate::wire::tls::TlsSettings;

/// `serve`
pub fn serve(context: &mut Context<'_>) -> Result<()> {
    let settings = context.settings()?;
    settings.check().map_err(|error| Error::Usage(error.to_string()))?;
    // A certificate file that can't be read is told now, and not by the first connection.
    TlsSettings::new(settings.upstream_ca.as_deref(), settings.upstream_insecure)?;
    let announce =
        Announce { ready_file: context.typed.text("ready-file").map(|name| context.path(name)), json: context.typed.has("json") };
    log::start(&settings.log_level, settings.log_format)?;
    // Threads inherit both, so they come before the first one.
    platform::sharpen_timers();
    platform::hold_signals();
    crate::serve::run(settings, &announce)
}
