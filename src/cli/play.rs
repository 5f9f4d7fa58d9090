//! `mockd play`: recordings served on their paths for as long as a command runs, or until a signal; what is missing recorded from an
//! upstream; and whether all clients were as recorded. Which recording a request gets is the engine's matter.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::context::{Context, tell};
use super::cut::{Cut, Found, cut_of, ended_by, set_aside};
use super::drafts::{Drafts, check_kept, numbered};
use super::faults;
use super::one_shot::{Ending, OneShot, adapt};
use super::record::describe;
use super::replays::options;
use super::serve::checked_settings;
use crate::base::error::{Error, Result};
use crate::base::text::clean;
use crate::base::{id, limits};
use crate::engine::compiled::Compiled;
use crate::engine::deck::Deck;
use crate::model::api::Summary;
use crate::model::recording::{EndedBy, Protocol};
use crate::model::replay::ReplayOptions;
use crate::model::settings::Settings;
use crate::store::{RecordingFile, Store};

/// `play`
pub fn play(context: &mut Context<'_>) -> Result<()> {
    let typed = context.typed;
    let options = ReplayOptions::from_json(&options(typed)).map_err(flag_error)?;
    let given = checked_settings(context)?;
    let upstream = upstream_of(context, &given)?;
    let missing = upstream.is_some();
    let found = find(context, missing)?;
    if found.is_empty() && !missing {
        return Err(Error::Failed(format!("there are no recordings in {}", typed.words.join(", "))));
    }
    found.iter().for_each(|found| found.tell_of(missing));
    // What was cut short is there for nobody where it can be had whole.
    let (cut, whole): (Vec<Found>, Vec<Found>) = found.into_iter().partition(|found| missing && found.cut.is_some());
    let mut cut = Cut::new(cut, &options)?;
    let deck = Deck::new(whole.into_iter().map(|found| (found.label(), found.compiled)).collect(), options, missing)?;
    let mut drafts = if missing { Some(Drafts::make(&directory(context)?)?) } else { None };
    let data_dir = match &drafts {
        Some(drafts) => Some(drafts.dir().to_owned()),
        // What is kept there is asked for over the admin port alone.
        None => given.data_dir.clone().or_else(|| Some(std::env::temp_dir().join(format!("mockd-{}", id::new())))),
    };
    let record_session = missing.then(id::new);
    let settings = Settings { upstream, record_session, data_dir, ..adapt(context, given) };
    let mut run = OneShot::open(context, settings, deck)?;
    let ending = serve(&mut run, context)?;
    if let Ending::Command(_) = ending {
        run.await_clients();
    }
    // Whatever the command does with a signal, nothing is lost.
    let saved = drafts.as_mut().map(|drafts| save(&run, drafts, context, &mut cut));
    // Now, for a second signal ends the process at once.
    drop(drafts);
    let code = match ending {
        Ending::Command(code) => code,
        Ending::Stopped(stop) if !typed.trailing.is_empty() => run.pass_on(stop),
        Ending::Stopped(_) | Ending::Done => 0,
    };
    if let Ending::Stopped(_) = ending {
        run.await_clients();
    }
    let verdict = run.server.app.deck.verdict();
    run.end();
    faults::tell_all(&verdict);
    match saved.transpose() {
        Err(error) if code == 0 => return Err(error),
        // A command that failed says more by its own code.
        Err(error) => tell(&error.to_string()),
        Ok(_) => {}
    }
    if code == 0 && verdict.failed > 0 {
        return Err(Error::Unfaithful(format!("{} of {} replays were not as recorded", verdict.failed, verdict.played)));
    }
    context.exit_code = code;
    Ok(())
}

/// Runs the command, or waits for a signal.
fn serve(run: &mut OneShot, context: &Context<'_>) -> Result<Ending> {
    let (mock, cards) = (run.server.mock, run.server.app.deck.cards());
    let count = if cards.len() == 1 { "1 recording".to_owned() } else { format!("{} recordings", cards.len()) };
    tell(&format!("http://{mock} plays {count}: {}", clean(&run.server.app.deck.list())));
    if context.typed.trailing.is_empty() {
        return Ok(run.wait(None));
    }
    match run.start(&context.typed.trailing) {
        Ok(()) => Ok(run.wait(None)),
        Err(error) => {
            run.end();
            Err(error)
        }
    }
}

/// The upstream of `--record-missing`.
fn upstream_of(context: &Context<'_>, settings: &Settings) -> Result<Option<String>> {
    let typed = context.typed;
    match (typed.has("record-missing"), &settings.upstream) {
        (true, Some(upstream)) => Ok(Some(upstream.clone())),
        (true, None) => Err(Error::Usage("--record-missing needs --upstream URL, where what is missing comes from".to_owned())),
        (false, _) if typed.has("upstream") => {
            Err(Error::Usage("--upstream is where --record-missing finds what is missing: give both".to_owned()))
        }
        (false, _) => Ok(None),
    }
}

/// The directory that missing recordings go to: the first that was given, whether it is there or not.
fn directory(context: &Context<'_>) -> Result<PathBuf> {
    let paths = context.typed.words.iter().map(|word| context.path(word));
    let is_directory = |path: &PathBuf| path.is_dir() || (!path.exists() && path.extension().is_none_or(|extension| extension != "json"));
    paths.into_iter().find(is_directory).ok_or_else(|| {
        Error::Usage("--record-missing needs a directory, which what is missing is written to: give one beside the files".to_owned())
    })
}

/// The recordings of all files and directories that were given, each once, with the names that people know them by.
fn find(context: &Context<'_>, may_be_missing: bool) -> Result<Vec<Found>> {
    let mut all = Vec::new();
    let mut seen = BTreeSet::new();
    for word in &context.typed.words {
        let path = context.path(word);
        if path.is_dir() {
            for file in files_of(&path)? {
                match read(&file) {
                    Ok(recording) if seen.insert(identity(&file)) => all.push(recording),
                    Ok(_) => {}
                    Err(error) => tell(&format!("left out: {error}")),
                }
            }
        } else if path.exists() {
            if seen.insert(identity(&path)) {
                all.push(read(&path)?);
            }
        } else if !may_be_missing || path.extension().is_some_and(|extension| extension == "json") {
            let behind = if context.typed.trailing.is_empty() { "; a command to run stands behind `--`" } else { "" };
            return Err(Error::Failed(format!("there is no file and no directory {}{behind}", path.display())));
        }
    }
    Ok(all)
}

/// What a file is, by whatever path it was named.
fn identity(file: &Path) -> PathBuf {
    std::fs::canonicalize(file).unwrap_or_else(|_| file.to_owned())
}

/// The files of a directory that may be recordings, by name.
fn files_of(dir: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error: std::io::Error| Error::Failed(format!("the directory {} cannot be read: {error}", dir.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.extension().is_some_and(|extension| extension == "json") && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(file: &Path) -> Result<Found> {
    let read = RecordingFile::open_path(file).and_then(|recording| {
        let cut = cut_of(&recording.tail);
        Ok(Found { file: file.to_owned(), compiled: Compiled::read(&recording)?, cut })
    });
    read.map_err(|error| match error {
        Error::File { .. } => error,
        other => Error::file(file, "", other.to_string()),
    })
}

/// Gives what was missing names in the directory.
fn save(run: &OneShot, drafts: &mut Drafts, context: &Context<'_>, cut: &mut Cut) -> Result<()> {
    let app = &run.server.app;
    app.recordings.finish_all(Duration::from_millis(limits::SAVE_TIMEOUT_MS));
    let dir = directory(context)?;
    let store: &Store = &app.store;
    let mut moved = BTreeMap::new();
    let saved = drafts.publish(store, |summary| {
        let Some(file) = cut.file_of(&store.open(&summary.id)?.head, &dir) else { return Ok(free_name(&dir, summary)) };
        moved.insert(file.clone(), set_aside(&file)?);
        Ok(file)
    })?;
    for (summary, file) in &saved {
        let why = match moved.get(file) {
            Some(before) => format!("was cut short, is recorded again ({before})"),
            None => "was missing".to_owned(),
        };
        let by_client = RecordingFile::open_path(file).is_ok_and(|recording| ended_by(&recording.tail) == Some(EndedBy::Client));
        let is_left = by_client && summary.protocol == Some(Protocol::Sse);
        let end = if is_left { "; its client ended it, so the stream may have had more" } else { "" };
        tell(&format!("{} {why}: {}{end}", file.display(), describe(summary)));
    }
    let kept: Vec<Summary> = saved.into_iter().map(|(summary, _)| summary).collect();
    check_kept(&app.recordings.lost(), &kept)
}

/// A name that nothing has, made of protocol and path: `sse-v1-chat-completions.json`.
fn free_name(dir: &Path, summary: &Summary) -> PathBuf {
    let words = format!("{}{}", summary.protocol.map_or("recording", Protocol::word), summary.path);
    let plain: String = words.chars().map(|c| if c.is_ascii_alphanumeric() || matches!(c, '_' | '.') { c } else { '-' }).take(80).collect();
    let file = dir.join(format!("{}.json", plain.trim_end_matches(['-', '.'])));
    let free = (1..).map(|number| numbered(&file, number)).find(|file| !file.exists());
    free.unwrap_or(file)
}

/// The error of an option in the words of its flag.
fn flag_error(error: Error) -> Error {
    match error {
        Error::Invalid { place, message } => {
            let name: String = place.split('[').next().unwrap_or_default().chars().fold(String::new(), |mut name, c| {
                if c.is_ascii_uppercase() {
                    name.push('-');
                }
                name.push(c.to_ascii_lowercase());
                name
            });
            Error::Usage(format!("--{name}: {message}"))
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_options_name_the_flag() {
        let error = |body: serde_json::Value| flag_error(ReplayOptions::from_json(&body).unwrap_err()).to_string();
        assert!(error(serde_json::json!({"mode": "triggered", "timingScale": 2})).starts_with("--timing-scale: this is an option of pure"));
        let place = error(serde_json::json!({"mode": "synchronized", "match": "json", "ignore": ["x"]}));
        assert!(place.starts_with("--ignore: \"x\" is no JSONPath"), "{place}");
    }
}
