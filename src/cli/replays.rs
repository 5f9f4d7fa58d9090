//! The commands that steer replays on a server. The options are checked by the server; here they are only put into its words.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::client::Answer;
use super::color::Paint;
use super::context::Context;
use super::parser::Typed;
use super::show::to_the_second;
use super::table::{Table, cut_id, id_chars};
use crate::base::error::{Error, Result};
use crate::base::id;
use crate::base::text::{clean, duration, shorten};
use crate::model::replay::{Advanced, ReplayCreated, ReplayMessage, ReplayView};

/// Bytes of a client message in a table.
const SHOWN_BYTES: usize = 200;

/// `replay list`
pub fn list(context: &mut Context<'_>) -> Result<()> {
    #[derive(Deserialize)]
    struct Replays {
        replays: Vec<ReplayView>,
    }
    let target = if context.typed.has("all") { "/replay?all=true" } else { "/replay" };
    let answer = context.client()?.call("GET", target, None)?;
    if context.typed.has("json") {
        return context.out.json_text(&answer.text());
    }
    let replays = answer.json::<Replays>()?.replays;
    let ids = || replays.iter().map(|replay| replay.id.as_str());
    let recordings = || replays.iter().map(|replay| replay.recording_id.as_str());
    let (chars, recording_chars) = (id_chars(ids(), ids()), id_chars(recordings(), recordings()));
    let mut table = Table::new(&["ID", "RECORDING", "PROTOCOL", "PATH", "MODE", "STATUS", "FRAMES", "ELAPSED"]);
    for replay in &replays {
        table.push([
            cut_id(&replay.id, chars),
            cut_id(&replay.recording_id, recording_chars),
            replay.protocol.word().to_owned(),
            replay.path.clone(),
            mode(replay),
            replay.status.word().to_owned(),
            format!("{}/{}", replay.current_frame, replay.total_frames),
            duration(replay.elapsed_ms),
        ]);
    }
    table.painted_lines(Paint::for_stdout()).iter().try_for_each(|line| context.out.line(line))
}

/// `replay start`
pub fn start(context: &mut Context<'_>) -> Result<()> {
    let recording = checked_id(context)?.to_owned();
    let answer = context.client()?.call("POST", &format!("/stream-recordings/{recording}/replay"), Some(&options(context.typed)))?;
    if context.typed.has("json") {
        return context.out.json_text(&answer.text());
    }
    let created: ReplayCreated = answer.json()?;
    context.out.line(&format!("Replay {} {}: connect to {}", clean(&created.id), created.status.word(), clean(&created.url)))?;
    context.out.line(&format!("This session alone: {}", clean(&created.session_url)))
}

/// The options that were given, as the body of the call; a command need not have all of them.
pub fn options(typed: &Typed) -> Value {
    let mut body = Map::new();
    let path = typed.command.flags.iter().find(|flag| flag.name == "path").map(|_| ("path", "path"));
    let words = [("mode", "mode"), ("initial-delay", "initialDelay"), ("match", "match"), ("on-end", "onEnd")];
    for (flag, field) in words.into_iter().chain(path) {
        if let Some(value) = typed.text(flag) {
            body.insert(field.to_owned(), value.into());
        }
    }
    if let Some(scale) = typed.decimal("timing-scale") {
        body.insert("timingScale".to_owned(), scale.into());
    }
    for (flag, field) in [("max-gap", "maxGap"), ("timeout", "timeout")] {
        if let Some(number) = typed.integer(flag) {
            body.insert(field.to_owned(), number.into());
        }
    }
    for (flag, field) in
        [("strict-matching", "strictMatching"), ("keep-timing", "keepTiming"), ("auto-advance-on-connect", "autoAdvanceOnConnect")]
    {
        if typed.has(flag) {
            body.insert(field.to_owned(), true.into());
        }
    }
    for field in ["ignore", "correlate"] {
        if typed.has(field) {
            body.insert(field.to_owned(), typed.all(field).collect::<Vec<_>>().into());
        }
    }
    Value::Object(body)
}

/// `replay show`
pub fn show(context: &mut Context<'_>) -> Result<()> {
    let typed = context.typed;
    let mut target = format!("/replay/{}", checked_id(context)?);
    match (typed.text("wait"), typed.integer("timeout")) {
        (Some(until), None) => target.push_str(&format!("?wait={until}")),
        (Some(until), Some(ms)) => target.push_str(&format!("?wait={until}&timeout={ms}")),
        (None, Some(_)) => return Err(Error::Usage("--timeout is the time of --wait: give both".to_owned())),
        (None, None) => {}
    }
    let answer = context.client()?.call("GET", &target, None)?;
    if typed.has("json") {
        return context.out.json_text(&answer.text());
    }
    let lines = page(&answer.json()?);
    lines.iter().try_for_each(|line| context.out.line(line))
}

/// The page of a replay.
fn page(replay: &ReplayView) -> Vec<String> {
    let mut lines = vec![
        format!("ID: {}", clean(&replay.id)),
        format!("Recording: {}", clean(&replay.recording_id)),
        format!("Protocol: {}", replay.protocol.word()),
        format!("Path: {}", clean(&replay.path)),
        format!("Mode: {}", mode(replay)),
        format!("Status: {}", replay.status.word()),
    ];
    lines.extend(replay.status_reason.as_ref().map(|reason| format!("Status Reason: {}", clean(reason))));
    lines.push(format!(
        "Frames: {} of {} ({} sent, {} received)",
        replay.current_frame, replay.total_frames, replay.frames_sent, replay.frames_received
    ));
    if let Some(started) = &replay.started_at {
        lines.push(format!("Started: {}", clean(&to_the_second(started))));
        lines.push(format!("Elapsed: {}", duration(replay.elapsed_ms)));
    }
    if let (Some(p50), Some(p99), Some(max)) = (replay.lateness.p50_us, replay.lateness.p99_us, replay.lateness.max_us) {
        lines.push(format!("Lateness: p50 {p50}us, p99 {p99}us, max {max}us"));
    }
    if let Some(error) = &replay.error {
        lines.push(format!("Error: {} at step {}: {}", clean(&error.code), error.step, clean(&error.message)));
        lines.extend(error.expected.as_ref().map(|text| format!("  Expected: {}", clean(text))));
        lines.extend(error.actual.as_ref().map(|text| format!("  Actual: {}", clean(text))));
    }
    lines
}

/// `replay messages`
pub fn messages(context: &mut Context<'_>) -> Result<()> {
    #[derive(Deserialize)]
    struct Messages {
        messages: Vec<ReplayMessage>,
    }
    let target = format!("/replay/{}/messages", checked_id(context)?);
    let answer = context.client()?.call("GET", &target, None)?;
    if context.typed.has("json") {
        return context.out.json_text(&answer.text());
    }
    let mut table = Table::new(&["TIME", "STEP", "MATCHED", "TYPE", "DATA"]);
    for message in answer.json::<Messages>()?.messages {
        let matched = match message.matched {
            None => "-",
            Some(true) => "yes",
            Some(false) => "no",
        };
        table.push([
            format!("{}.{:06}s", message.relative_us / 1_000_000, message.relative_us % 1_000_000),
            message.step.map_or_else(|| "-".to_owned(), |step| step.to_string()),
            matched.to_owned(),
            message.kind,
            shorten(&message.data, SHOWN_BYTES).into_owned(),
        ]);
    }
    table.lines().iter().try_for_each(|line| context.out.line(line))
}

/// `replay advance`
pub fn advance(context: &mut Context<'_>) -> Result<()> {
    let body = match (context.typed.integer("count"), context.typed.text("until")) {
        (Some(_), Some(_)) => return Err(Error::Usage("--count and --until exclude each other: give one".to_owned())),
        (Some(count), None) => json!({"count": count}),
        (None, Some(until)) => json!({"until": until}),
        (None, None) => json!({}),
    };
    let answer = post(context, "advance", &body)?;
    if context.typed.has("json") {
        return context.out.json_text(&answer.text());
    }
    let advanced: Advanced = answer.json()?;
    let plural = if advanced.frames_sent == 1 { "" } else { "s" };
    context.out.line(&format!(
        "Sent {} frame{plural}: {} of {}, {}",
        advanced.frames_sent,
        advanced.current_frame,
        advanced.total_frames,
        advanced.status.word()
    ))
}

/// `replay pause`
pub fn pause(context: &mut Context<'_>) -> Result<()> {
    steer(context, "pause", &json!({}))
}

/// `replay resume`
pub fn resume(context: &mut Context<'_>) -> Result<()> {
    steer(context, "resume", &json!({}))
}

/// `replay inject`
pub fn inject(context: &mut Context<'_>) -> Result<()> {
    let typed = context.typed;
    let mut body = Map::new();
    for (flag, field) in [("type", "type"), ("data", "data"), ("event-id", "id"), ("comment", "comment")] {
        if let Some(value) = typed.text(flag) {
            body.insert(field.to_owned(), value.into());
        }
    }
    if let Some(ms) = typed.integer("retry") {
        body.insert("retry".to_owned(), ms.into());
    }
    steer(context, "inject", &Value::Object(body))
}

/// `replay close`
pub fn close(context: &mut Context<'_>) -> Result<()> {
    let typed = context.typed;
    let mut body = Map::new();
    if let Some(code) = typed.integer("code") {
        body.insert("code".to_owned(), code.into());
    }
    if let Some(reason) = typed.text("reason") {
        body.insert("reason".to_owned(), reason.into());
    }
    if typed.has("abrupt") {
        if !body.is_empty() {
            return Err(Error::Usage("--abrupt sends no close frame, so that --code and --reason mean nothing beside it".to_owned()));
        }
        body.insert("abrupt".to_owned(), true.into());
    }
    steer(context, "close", &Value::Object(body))
}

/// `replay stop`
pub fn stop(context: &mut Context<'_>) -> Result<()> {
    let replay = checked_id(context)?;
    context.client()?.call("DELETE", &format!("/replay/{replay}"), None)?;
    context.out.line(&format!("Replay {replay} stopped"))
}

/// A call that answers with the status.
fn steer(context: &mut Context<'_>, verb: &str, body: &Value) -> Result<()> {
    let answer = post(context, verb, body)?;
    if context.typed.has("json") {
        return context.out.json_text(&answer.text());
    }
    let replay: ReplayView = answer.json()?;
    let line = format!("Replay {} {}: {} of {}", clean(&replay.id), replay.status.word(), replay.current_frame, replay.total_frames);
    context.out.line(&line)
}

fn post(context: &Context<'_>, verb: &str, body: &Value) -> Result<Answer> {
    let replay = checked_id(context)?;
    context.client()?.call("POST", &format!("/replay/{replay}/{verb}"), Some(body))
}

/// The id that was typed, fit to stand in a path.
fn checked_id<'a>(context: &Context<'a>) -> Result<&'a str> {
    let typed = context.typed.word();
    id::check_prefix(typed)?;
    Ok(typed)
}

fn mode(replay: &ReplayView) -> String {
    format!("{:?}", replay.mode).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::context::Surroundings;
    use crate::cli::output::Output;
    use crate::cli::parser::{Parsed, parse};
    use crate::model::replay::ReplayOptions;

    #[test]
    fn flags_become_the_words_of_the_api() {
        let line = "replay start 01HXYZ --mode synchronized --match json --ignore $.id --ignore $.at --correlate $.id --timeout 0 \
                    --keep-timing --path /x --on-end keepOpen";
        let Parsed::Run(typed) = parse(line.split_whitespace().map(Into::into)).unwrap() else { panic!("no command") };
        let surroundings = Surroundings::default();
        let context = Context { typed: &typed, surroundings: &surroundings, out: Output::new(std::io::sink()), exit_code: 0 };
        let expected = json!({"mode": "synchronized", "match": "json", "path": "/x", "onEnd": "keepOpen", "timeout": 0, "keepTiming": true,
            "ignore": ["$.id", "$.at"], "correlate": ["$.id"]});
        assert_eq!(options(context.typed), expected);
    }

    #[test]
    fn every_option_of_a_replay_has_its_flag() {
        let start = crate::cli::commands::COMMANDS.iter().find(|command| command.path == ["replay", "start"]).unwrap();
        for field in ReplayOptions::FIELDS {
            let flag: String = field.chars().fold(String::new(), |mut name, c| {
                if c.is_ascii_uppercase() {
                    name.push('-');
                }
                name.push(c.to_ascii_lowercase());
                name
            });
            assert!(start.flags.iter().any(|known| known.name == flag), "{flag}");
        }
    }
}
