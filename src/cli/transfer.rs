//! `stream-recordings export` and `import`: recordings as files, out and in, with or without a server.
//! What is in a file, and where recordings are kept, is known below.

use std::io::{BufWriter, Read, Write};
use std::path::Path;

use super::context::{Context, tell};
use super::progress::{Counted, Progress};
use super::recordings::print_table;
use crate::base::error::{Error, Result};
use crate::base::files::{self, Beside};
use crate::base::text::clean;
use crate::engine::{export as exporter, import as importer};
use crate::model::api::{Imported, ListQuery};
use crate::rules::export::Format;
use crate::rules::redact::Redactor;

/// `stream-recordings export`
pub fn export(context: &mut Context<'_>) -> Result<()> {
    let format = context.typed.text("format").map_or(Ok(Format::Json), Format::from_word)?;
    let store = context.store()?;
    let id = store.resolve(context.typed.word())?;
    let file = store.open(&id)?;
    match context.typed.text("output").filter(|name| *name != "-") {
        None => exporter::write(&file, format, &mut context.out.document())?,
        Some(name) => {
            // Of another format nobody knows the size beforehand.
            let total = (format == Format::Json).then_some(file.tail.stats.file_size_bytes);
            write_file(&context.path(name), Progress::bytes("exporting", total), |to| exporter::write(&file, format, to))?;
            context.out.line(&format!("Exported {id} to {}", clean(name)))?;
        }
    }
    tell_left_out(&exporter::left_out(&file, format));
    Ok(())
}

/// Says on stderr what is not in the result.
pub fn tell_left_out(left_out: &[String]) {
    left_out.iter().for_each(|part| tell(&format!("left out: {part}")));
}

/// Writes a file at `path`, telling `progress`: beside it first, so that what stood there stays until the new text is whole. The folder
/// that it is in is made where it is missing.
pub(super) fn write_file<T>(path: &Path, progress: Progress, write: impl FnOnce(&mut dyn Write) -> Result<T>) -> Result<T> {
    let failed = |error: std::io::Error| Error::file(path, "", format!("this file cannot be written: {error}"));
    let copy = |to: std::fs::File| -> Result<(T, std::fs::File)> {
        let mut to = BufWriter::new(Counted::new(to, progress));
        let written = write(&mut to)?;
        Ok((written, to.into_inner().map_err(|error| failed(error.into_error()))?.into_inner()))
    };
    // A pipe or a device takes what is written; only a file can be replaced.
    if std::fs::metadata(path).is_ok_and(|known| !known.is_file()) {
        return copy(std::fs::File::create(path).map_err(failed)?).map(|(written, _)| written);
    }
    // One folder: more of them are likelier a slip of the pen.
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.exists()) {
        std::fs::create_dir(folder).and_then(|()| files::sync_name(folder)).map_err(failed)?;
    }
    let beside = Beside::create(path).map_err(failed)?;
    let written = beside.file.try_clone().map_err(failed).and_then(copy);
    let written = written.and_then(|(written, to)| to.sync_all().map_err(failed).map(|()| written))?;
    beside.publish().and_then(|()| files::sync_name(path)).map_err(failed).map(|()| written)
}

/// `stream-recordings import`
pub fn import(context: &mut Context<'_>) -> Result<()> {
    let settings = context.settings()?;
    let redactor = Redactor::new(&settings.redaction())?;
    let store = context.store()?;
    let mut imported = Imported { recordings: Vec::new(), left_out: Vec::new() };
    let mut failed = None;
    for name in &context.typed.words {
        let result = read_file(&context.path(name), name, settings.max_bytes).and_then(|text| {
            importer::import(&store, &redactor, &text).map_err(|error| match error {
                Error::Invalid { place, message } => Error::file(name, place, message),
                other => other,
            })
        });
        match result {
            Ok(mut one) => {
                tell_left_out(&one.left_out);
                imported.recordings.append(&mut one.recordings);
                imported.left_out.append(&mut one.left_out);
            }
            Err(error) => {
                failed = Some(error);
                break;
            }
        }
    }
    // What was imported before a file that is wrong stays, and is shown.
    if failed.is_none() || !imported.recordings.is_empty() {
        if context.typed.has("json") {
            context.out.json(&imported)?;
        } else {
            // Only the length of ids hangs on the others: what is imported is, also where the directory can't be read now.
            let all = store.list(&ListQuery { include_deleted: true, ..ListQuery::default() }).map_or(Vec::new(), |page| page.recordings);
            print_table(context, &imported.recordings, all.iter().map(|summary| summary.id.as_str()))?;
        }
    }
    failed.map_or(Ok(()), Err)
}

/// The bytes of a file, or of stdin for `-`; more than the data directory may hold are not read.
fn read_file(path: &Path, name: &str, max_bytes: u64) -> Result<Vec<u8>> {
    let failed = |error: std::io::Error| Error::file(name, "", format!("this file cannot be read: {error}"));
    let too_large = || Error::TooLarge { what: "file to import", limit: max_bytes };
    let mut text = Vec::new();
    let read = if name == "-" {
        std::io::stdin().lock().take(max_bytes.saturating_add(1)).read_to_end(&mut text)
    } else {
        let file = std::fs::File::open(path).map_err(failed)?;
        let size = file.metadata().map_err(failed)?.len();
        if size > max_bytes {
            return Err(too_large());
        }
        // One byte more, so that the read that finds the end does not double the room.
        text.reserve_exact(usize::try_from(size).unwrap_or(0) + 1);
        file.take(max_bytes.saturating_add(1)).read_to_end(&mut text)
    };
    read.map_err(failed)?;
    if text.len() as u64 > max_bytes { Err(too_large()) } else { Ok(text) }
}
