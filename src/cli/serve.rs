//! `mockd serve`: settings, checked as a whole, handed to the server. What a server does stands a floor below.

use super::context::Context;
use super::daemon;
use crate::base::error::{Error, Result};
use crate::base::{log, platform};
use crate::model::settings::Settings;
use crate::serve::Announce;
use crate::wire::tls::TlsSettings;

/// `serve`
pub fn serve(context: &mut Context<'_>) -> Result<()> {
    let log = daemon::own_log(context);
    if context.typed.has("detach") && log.is_none() {
        return daemon::start(context);
    }
    let settings = checked_settings(context)?;
    // In the background there is nobody at stdout; `start` prints the line.
    let json = context.typed.has("json") && log.is_none();
    let announce = Announce { ready_file: context.typed.text("ready-file").map(|name| context.path(name)), json, log };
    if announce.log.is_some() {
        platform::leave_session();
    }
    begin(&settings, announce.log.is_some())?;
    let read_again = context.rereading();
    crate::serve::run(settings, &announce, move || checked(read_again()?))
}

/// The settings of a server, as far as they can be checked before a port is opened.
///
/// # Errors
/// What is wrong with them.
pub fn checked_settings(context: &Context<'_>) -> Result<Settings> {
    checked(context.settings()?)
}

fn checked(settings: Settings) -> Result<Settings> {
    settings.check().map_err(|error| Error::Usage(error.to_string()))?;
    // A certificate file that can't be read is told now, and not by the first connection.
    TlsSettings::new(settings.upstream_ca.as_deref(), settings.upstream_insecure)?;
    Ok(settings)
}

/// What a process does before it opens a server, and before its first thread, which inherits all of it. In the background (`detached`) its
/// stderr is a log file of its own.
///
/// # Errors
/// A log level that is none.
pub fn begin(settings: &Settings, detached: bool) -> Result<()> {
    log::start(&settings.log_level, settings.log_format, detached)?;
    platform::sharpen_timers();
    platform::hold_signals();
    Ok(())
}
