//! The commands that work on the data directory, with or without a server: list, show, delete, restore, edit, stats, vacuum.
//! They know no file of a recording; the store does.

use std::io::{BufRead, IsTerminal, Write};

use serde_json::{Map, Value};

use super::color::Paint;
use super::context::Context;
use super::progress::Progress;
use super::show::{page, to_the_second};
use super::table::{Table, cut_id, id_chars};
use crate::base::error::{Error, Result};
use crate::base::text::{clean, duration, size};
use crate::model::api::{Edit, ListQuery, Summary};
use crate::model::recording::Status;
use crate::store::Store;

/// The flags of `list` beside the parameters that they become.
const LIST_PARAMETERS: [(&str, &str); 9] = [
    ("protocol", "protocol"),
    ("status", "status"),
    ("path", "path"),
    ("name", "name"),
    ("tag", "tag"),
    ("sort-by", "sortBy"),
    ("sort-order", "sortOrder"),
    ("limit", "limit"),
    ("offset", "offset"),
];

/// `stream-recordings list`
pub fn list(context: &mut Context<'_>) -> Result<()> {
    let typed = context.typed;
    let mut parameters: Vec<(&str, &str)> =
        LIST_PARAMETERS.iter().filter_map(|(flag, parameter)| Some((*parameter, typed.text(flag)?))).collect();
    if typed.has("include-deleted") {
        parameters.push(("includeDeleted", "true"));
    }
    let query = ListQuery::from_parameters(parameters.into_iter())?;
    let store = context.store()?;
    let listed = store.list(&query)?;
    if typed.has("json") {
        return context.out.json(&listed);
    }
    // An id must be unique among all, since `show` looks among all.
    let all = store.list(&ListQuery { include_deleted: true, ..ListQuery::default() })?;
    let all = all.recordings.iter().map(|summary| summary.id.as_str());
    print_table(context, &listed.recordings, all)
}

/// Prints summaries as the table of `list`; their ids are unique among `all`.
pub fn print_table<'a>(context: &mut Context<'_>, listed: &'a [Summary], all: impl IntoIterator<Item = &'a str>) -> Result<()> {
    let chars = id_chars(listed.iter().map(|summary| summary.id.as_str()), all);
    let mut table = Table::new(&["ID", "PROTOCOL", "PATH", "STATUS", "FRAMES", "DURATION", "SIZE"]);
    for summary in listed {
        let status = if summary.deleted { "deleted" } else { summary.status.word() };
        table.push([
            cut_id(&summary.id, chars),
            summary.protocol.map_or("-", |protocol| protocol.word()).to_owned(),
            if summary.path.is_empty() { "-".to_owned() } else { summary.path.clone() },
            status.to_owned(),
            summary.frame_count.to_string(),
            summary.duration.map_or_else(|| "-".to_owned(), duration),
            size(summary.file_size_bytes),
        ]);
    }
    table.painted_lines(Paint::for_stdout()).iter().try_for_each(|line| context.out.line(line))
}

/// `stream-recordings show`
pub fn show(context: &mut Context<'_>) -> Result<()> {
    let store = context.store()?;
    let id = store.resolve(context.typed.word())?;
    if context.typed.has("json") {
        store.open(&id)?.write_to(&mut context.out.document())?;
        return context.out.line("");
    }
    let summary = store.summary(&id)?;
    let file = if summary.status == Status::Corrupted { None } else { Some(store.open(&id)?) };
    let lines = page(&summary, file.as_ref().map(|file| (&file.head, &file.tail)));
    lines.iter().try_for_each(|line| context.out.line(line))
}

/// `stream-recordings delete`
pub fn delete(context: &mut Context<'_>) -> Result<()> {
    let (permanent, force) = (context.typed.has("permanent"), context.typed.has("force"));
    let terminal = std::io::stdin().is_terminal() && std::io::stderr().is_terminal();
    if permanent && !force && !terminal {
        return Err(Error::Usage("--permanent deletes for ever: add --force where nobody can be asked".to_owned()));
    }
    let store = context.store()?;
    let mut ids = context.typed.words.iter().map(|word| store.resolve(word)).collect::<Result<Vec<_>>>()?;
    // The same recording under two prefixes is one.
    let mut seen = std::collections::HashSet::new();
    ids.retain(|id| seen.insert(id.clone()));
    if terminal && !force && !confirm(&question(&store, &ids, permanent)?)? {
        return Err(Error::Failed("nothing was deleted".to_owned()));
    }
    let mut deleted = 0;
    let result = delete_all(&store, &ids, permanent, &mut deleted);
    // What is done is said, also where the next one failed.
    for id in &ids[..deleted] {
        context.out.line(&if permanent {
            format!("Deleted {id} for ever")
        } else {
            format!("Deleted {id} (restore it with `mockd stream-recordings restore {id}`)")
        })?;
    }
    result
}

/// Deletes one after the other, and counts them.
fn delete_all(store: &Store, ids: &[String], permanent: bool, deleted: &mut usize) -> Result<()> {
    let mut progress = Progress::things("deleting", ids.len() as u64);
    for id in ids {
        if permanent { store.delete_permanently(id) } else { store.delete(id) }?;
        *deleted += 1;
        progress.advance(1);
    }
    Ok(())
}

fn question(store: &Store, ids: &[String], permanent: bool) -> Result<String> {
    let what = match ids {
        [id] => format!("{} ({id})", clean(&store.summary(id)?.name)),
        several => format!("{} recordings", several.len()),
    };
    Ok(format!("Delete {what}{}? [y/N] ", if permanent { " for ever" } else { "" }))
}

/// Asks on the terminal.
fn confirm(question: &str) -> Result<bool> {
    let failed = |error: std::io::Error| Error::Failed(format!("the terminal cannot be asked: {error}; add --force"));
    let mut answer = String::new();
    std::io::stderr().write_all(question.as_bytes()).map_err(failed)?;
    std::io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// `stream-recordings restore`
pub fn restore(context: &mut Context<'_>) -> Result<()> {
    let store = context.store()?;
    let ids = context.typed.words.iter().map(|word| store.resolve(word)).collect::<Result<Vec<_>>>()?;
    for id in &ids {
        let summary = store.restore(id)?;
        if context.typed.has("json") {
            context.out.json(&summary)?;
        } else {
            context.out.line(&format!("Restored {id}"))?;
        }
    }
    Ok(())
}

/// `stream-recordings edit`
pub fn edit(context: &mut Context<'_>) -> Result<()> {
    let typed = context.typed;
    let mut body = Map::new();
    for field in ["name", "description"] {
        if let Some(value) = typed.text(field) {
            body.insert(field.to_owned(), value.into());
        }
    }
    if typed.has("tag") {
        let tags: Vec<&str> = typed.all("tag").filter(|tag| !tag.is_empty()).collect();
        body.insert("tags".to_owned(), tags.into());
    }
    if body.is_empty() {
        return Err(Error::Usage("nothing to change: give --name, --description or --tag".to_owned()));
    }
    let edit = Edit::from_json(&Value::Object(body))?;
    let store = context.store()?;
    let id = store.resolve(typed.word())?;
    let summary = store.edit(&id, &edit)?;
    if typed.has("json") { context.out.json(&summary) } else { context.out.line(&format!("Changed {id}")) }
}

/// `stream-recordings stats`
pub fn stats(context: &mut Context<'_>) -> Result<()> {
    let store = context.store()?;
    let stats = store.stats()?;
    if context.typed.has("json") {
        return context.out.json(&stats);
    }
    let directory = store.dir().display().to_string();
    let time = |text: &Option<String>| text.as_deref().map_or_else(|| "-".to_owned(), to_the_second);
    let mut lines = vec![
        format!("Directory: {}", clean(&directory)),
        format!("Used: {} of {} ({}%)", size(stats.used_bytes), size(stats.max_bytes), stats.used_percent),
        format!("Recordings: {}", stats.recording_count),
        format!("WebSocket: {}", stats.websocket_count),
        format!("SSE: {}", stats.sse_count),
        format!("Deleted: {} ({})", stats.deleted_count, size(stats.deleted_bytes)),
        format!("Oldest: {}", clean(&time(&stats.oldest))),
        format!("Newest: {}", clean(&time(&stats.newest))),
    ];
    lines.extend(stats.warning.map(|warning| format!("Warning: {}", clean(&warning))));
    lines.iter().try_for_each(|line| context.out.line(line))
}

/// `stream-recordings vacuum`
pub fn vacuum(context: &mut Context<'_>) -> Result<()> {
    let json = context.typed.has("json");
    let store = context.store()?;
    let mut progress = None;
    let vacuumed = store.vacuum_telling(&mut |bytes, total| {
        progress.get_or_insert_with(|| Progress::bytes("removing", Some(total)).quiet_if(json)).advance(bytes);
    })?;
    drop(progress);
    if json {
        return context.out.json(&vacuumed);
    }
    let plural = if vacuumed.removed == 1 { "" } else { "s" };
    context.out.line(&format!("Removed {} deleted recording{plural}, freed {}", vacuumed.removed, size(vacuumed.freed_bytes)))
}
