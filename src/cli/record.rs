//! `mockd record`: a proxy for as long as a command runs, or for one connection, and what passed it kept. Recording itself is the engine's.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::context::{Context, tell};
use super::drafts::{self, Drafts, check_kept, numbered};
use super::one_shot::{Ending, OneShot, adapt};
use super::serve::checked_settings;
use crate::base::error::{Error, Result};
use crate::base::text::{clean, duration};
use crate::base::{id, limits};
use crate::engine::deck::Deck;
use crate::model::api::{ListQuery, Summary};
use crate::model::recording::Protocol;
use crate::model::settings::Settings;
use crate::store::{RecordingFile, Store};
use crate::wire::url::UpstreamUrl;

/// `record`
pub fn record(context: &mut Context<'_>) -> Result<()> {
    let typed = context.typed;
    UpstreamUrl::parse("URL", typed.word()).map_err(|error| Error::Usage(error.to_string()))?;
    let output = typed.text("output").map(|name| context.path(name));
    if output.is_some() && typed.has("data-dir") {
        return Err(Error::Usage("--data-dir is where recordings are kept without --output: leave out one of the two".to_owned()));
    }
    let session = id::new();
    let mut settings = Settings {
        upstream: Some(typed.word().to_owned()),
        record_session: Some(session.clone()),
        ..adapt(context, checked_settings(context)?)
    };
    let mut drafts = output.as_deref().map(prepare).transpose()?;
    if let Some(drafts) = &drafts {
        settings.data_dir = Some(drafts.dir().to_owned());
    }
    check_store(&settings)?;
    let mut run = OneShot::open(context, settings, Deck::default())?;
    let store = Arc::clone(&run.server.app.store);
    let ending = pass_traffic(&mut run, context)?;
    if let Ending::Command(_) = ending {
        run.await_clients();
    }
    // First of all: whatever the command does with a signal, nothing is lost.
    run.server.app.recordings.finish_all(Duration::from_millis(limits::SAVE_TIMEOUT_MS));
    let saved = match (&mut drafts, &output) {
        (Some(drafts), Some(file)) => save_files(drafts, &store, file),
        _ => list_kept(&store, &session),
    };
    // Now, for a second signal ends the process at once.
    drop(drafts);
    let code = match ending {
        Ending::Command(code) => code,
        Ending::Stopped(stop) if !typed.trailing.is_empty() => run.pass_on(stop),
        Ending::Stopped(_) | Ending::Done => 0,
    };
    run.end();
    context.exit_code = code;
    let kept = match saved {
        Ok(kept) => kept,
        // A command that failed says more by its own code.
        Err(error) if code != 0 => {
            tell(&error.to_string());
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let lost = run.server.app.recordings.lost();
    if let Err(error) = check_kept(&lost, &kept) {
        if code == 0 {
            return Err(error);
        }
        tell(&error.to_string());
    } else if kept.is_empty() {
        let words = format!("nothing was recorded: no WebSocket and no event stream came through the proxy to {}", typed.word());
        if typed.trailing.is_empty() {
            return Err(Error::Failed(words));
        }
        tell(&format!("{words}; does the command use MOCKD_URL or MOCKD_WS_URL?"));
    }
    Ok(())
}

/// What cannot be recorded is told before anything is.
fn check_store(settings: &Settings) -> Result<()> {
    let Some(dir) = settings.data_dir.clone() else { return Ok(()) };
    let store = Store::new(dir, settings.max_bytes, settings.warn_percent);
    store.ensure_dir()?;
    store.check_room()?.iter().for_each(|warning| tell(warning));
    Ok(())
}

/// Runs the command, or waits until one connection has been recorded.
fn pass_traffic(run: &mut OneShot, context: &Context<'_>) -> Result<Ending> {
    let (mock, url) = (run.server.mock, clean(context.typed.word()).into_owned());
    if context.typed.trailing.is_empty() {
        tell(&format!("connect to http://{mock} (or ws://{mock}) in place of {url}: one stream is recorded, then this ends"));
        let app = Arc::clone(&run.server.app);
        // One that cannot be recorded is lost when it begins; its traffic goes on to its own end.
        let is_lost = move || app.recordings.lost().count > 0 && app.open_connections.load(Ordering::Relaxed) == 0;
        let app = Arc::clone(&run.server.app);
        return Ok(run.wait(Some(&move || app.recordings.finished() > 0 || is_lost())));
    }
    tell(&format!("http://{mock} records what passes to {url}"));
    match run.start(&context.typed.trailing) {
        Ok(()) => Ok(run.wait(None)),
        Err(error) => {
            run.end();
            Err(error)
        }
    }
}

/// The store of what will be files beside `file`.
///
/// # Errors
/// The directory takes no files; a file of that name is no recording.
fn prepare(file: &Path) -> Result<Drafts> {
    let is_directory = file.file_name().is_none() || file.as_os_str().as_encoded_bytes().ends_with(b"/") || file.is_dir();
    if is_directory {
        return Err(Error::Usage(format!(
            "--output takes the name of a file, such as chat.json; {:?} is none",
            file.display().to_string()
        )));
    }
    if !is_free(file) {
        return Err(Error::Failed(format!(
            "{} is there and is no recording, so it is not replaced: give another file to --output",
            file.display()
        )));
    }
    Drafts::make(file.parent().unwrap_or(Path::new("")))
}

/// Whether a recording may have this name: nothing has it, or a recording.
fn is_free(file: &Path) -> bool {
    !file.exists() || RecordingFile::open_path(file).is_ok()
}

/// Gives the recordings their names.
fn save_files(drafts: &mut Drafts, store: &Store, file: &Path) -> Result<Vec<Summary>> {
    let mut number = 0;
    let mut next = || loop {
        number += 1;
        let target = numbered(file, number);
        if is_free(&target) {
            return target;
        }
    };
    let saved = drafts.publish(store, |_| Ok(next()))?;
    for (summary, target) in &saved {
        tell(&format!("{}: {}", target.display(), describe(summary)));
    }
    let left = next();
    if left.exists() {
        tell(&format!("{} was not recorded now: it is of an earlier run", left.display()));
    }
    Ok(saved.into_iter().map(|(summary, _)| summary).collect())
}

/// Names the recordings of this run, which are in the data directory.
fn list_kept(store: &Store, session: &str) -> Result<Vec<Summary>> {
    let all = store.list(&ListQuery::default())?.recordings;
    let own = drafts::in_order(all.into_iter().filter(|summary| summary.session_id.as_deref() == Some(session)).collect());
    for summary in &own {
        tell(&format!("recording {}: {}", summary.id, describe(summary)));
    }
    Ok(own)
}

/// A recording in a few words.
pub fn describe(summary: &Summary) -> String {
    let frames = if summary.frame_count == 1 { "1 frame".to_owned() } else { format!("{} frames", summary.frame_count) };
    let how = summary.status_reason.as_deref().map(|reason| format!(", {} ({reason})", summary.status.word()));
    let lasted = duration(summary.duration.unwrap_or_default());
    format!(
        "{} {}, {frames}, {lasted}{}",
        summary.protocol.map_or("recording of", Protocol::word),
        clean(&summary.path),
        how.unwrap_or_default()
    )
}
