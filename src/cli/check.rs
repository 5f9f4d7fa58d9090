//! `mockd check`: whether configs and recordings are what they should be, before something depends on them. It changes nothing and
//! opens no port.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::context::{Context, add_config_file, tell};
use crate::base::error::{Error, Result};
use crate::base::text::clean;
use crate::engine::mocks::Mocks;
use crate::model::recording::{Protocol, Stats, Status};
use crate::model::recording_check::{FrameCheck, check_head, check_tail};
use crate::model::settings::Settings;
use crate::model::syntax;
use crate::rules::redact::Redactor;
use crate::store::{RecordingFile, Store};
use crate::wire::tls::TlsSettings;

/// What a file turned out to be.
enum Fine {
    /// A config with so many mocks.
    Config(usize),
    /// A recording with so many frames, and why it is incomplete if it is.
    Recording(Protocol, u64, Option<String>),
}

/// The fields by which a recording is told from a config.
const OF_RECORDING: [&str; 4] = ["formatVersion", "protocol", "startTime", "metadata"];
/// More errors of one recording are not told.
const MAX_ERRORS: usize = 20;

/// `check`
pub fn check(context: &mut Context<'_>) -> Result<()> {
    let mut files = Vec::new();
    for name in &context.typed.words {
        let path = context.path(name);
        let checked = if is_recording(&path) { check_recording(&path) } else { check_config(context, &path) };
        let is_json = context.typed.has("json");
        match checked {
            Ok(fine) if is_json => files.push(fine.json(name)),
            Ok(fine) => context.out.line(&clean(&format!("{name}: ok, {}", fine.words())))?,
            Err(errors) => {
                context.exit_code = 1;
                errors.iter().for_each(|error| tell(&error.to_string()));
                let errors: Vec<_> = errors.iter().map(Error::to_string).collect();
                files.push(json!({"file": name, "ok": false, "errors": errors}));
            }
        }
    }
    if context.typed.has("json") { context.out.json(&json!({"files": files})) } else { Ok(()) }
}

impl Fine {
    fn words(&self) -> String {
        match self {
            Self::Config(count) => counted(*count as u64, "mock"),
            Self::Recording(protocol, count, why) => {
                let why = why.as_ref().map_or_else(String::new, |why| format!(", incomplete ({why})"));
                format!("{} recording, {}{why}", protocol.word(), counted(*count, "frame"))
            }
        }
    }

    fn json(&self, file: &str) -> Value {
        match self {
            Self::Config(mocks) => json!({"file": file, "ok": true, "kind": "config", "mocks": mocks}),
            Self::Recording(protocol, frames, why) => {
                let status = if why.is_some() { Status::Incomplete } else { Status::Complete };
                json!({
                    "file": file, "ok": true, "kind": "recording", "protocol": protocol.word(), "frames": frames,
                    "status": status.word(), "statusReason": why
                })
            }
        }
    }
}

fn counted(count: u64, of: &str) -> String {
    format!("{count} {of}{}", if count == 1 { "" } else { "s" })
}

/// Whether a file is to be checked as a recording: JSON with the fields of one. A pipe can be read only once, and is taken for a config.
fn is_recording(path: &Path) -> bool {
    path.is_file() && std::fs::File::open(path).is_ok_and(|file| syntax::has_any_field(file, &OF_RECORDING))
}

/// Checks what a server with this config would check before it opens a port, and the recordings that it replays to their ends.
fn check_config(context: &Context<'_>, path: &Path) -> Result<Fine, Vec<Error>> {
    let read = || {
        let mut settings = Settings::default();
        add_config_file(&mut settings, path)?;
        let mocks = std::mem::take(&mut settings.mocks);
        let count = mocks.len();
        // Where ids of recordings are looked for, and what a mock may take, is said by all that a server would read.
        let all = context.settings_with(path)?;
        let upstream_ca = settings.upstream_ca.map(|path| context.expand(path)).transpose()?;
        TlsSettings::new(upstream_ca.as_deref(), settings.upstream_insecure)?;
        let store = Store::new(all.data_dir.unwrap_or_default(), settings.max_bytes, settings.warn_percent);
        let registry = Mocks::new(Arc::new(store), all.max_message_bytes);
        registry.load(mocks)?;
        registry.check_recordings()?;
        Ok(Fine::Config(count))
    };
    read().map_err(|error| vec![error])
}

/// Reads a recording to its end.
fn check_recording(path: &Path) -> Result<Fine, Vec<Error>> {
    let file = RecordingFile::open_path(path).map_err(|error| vec![error])?;
    let rules = file.head.metadata.redaction.as_ref();
    let rules = rules.map_or(Ok(()), |rules| Redactor::new(rules).map(drop));
    let rules = rules.map_err(|error| match error {
        Error::Invalid { place, message } => Error::invalid(format!("metadata.redaction: {place}"), message),
        other => other,
    });
    let mut errors: Vec<Error> = [check_head(&file.head), check_tail(&file.tail), rules].into_iter().filter_map(Result::err).collect();
    let mut frames = FrameCheck::default();
    let mut counted = Stats::default();
    for frame in file.frames().map_err(|error| vec![error])? {
        match frame {
            Ok(frame) => {
                counted.count(&frame);
                errors.extend(frames.check(&frame).err());
            }
            Err(error) => errors.push(error),
        }
        if errors.len() > MAX_ERRORS {
            break;
        }
    }
    let is_cut = errors.len() > MAX_ERRORS;
    errors.truncate(MAX_ERRORS);
    if is_cut {
        errors.push(Error::invalid("", format!("there is more: only the first {MAX_ERRORS} errors are told")));
    }
    if errors.is_empty() {
        let why = file.tail.status_reason.clone().unwrap_or_else(|| "no reason is given".to_owned());
        return Ok(Fine::Recording(file.head.protocol(), counted.frame_count, (file.tail.status != Status::Complete).then_some(why)));
    }
    let in_file = |error| match error {
        Error::Invalid { place, message } => Error::file(path, place, message),
        other => other,
    };
    Err(errors.into_iter().map(in_file).collect())
}
