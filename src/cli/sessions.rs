//! The commands that steer recording on a server: sessions, start, stop, tail. They ask the admin port and print what it answers.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::context::{Context, tell};
use super::recordings::print_table;
use super::show::to_the_second;
use super::table::{Table, cut_id, id_chars};
use crate::base::error::Result;
use crate::base::{id, limits, text};
use crate::model::api::{SessionView, Started, Stopped};
use crate::model::recording::{Direction, Encoding, FrameType, Protocol, SseEvent, WsFrame};
use crate::wire::sse::EventStreamParser;

/// `stream-recordings sessions`
pub fn sessions(context: &mut Context<'_>) -> Result<()> {
    #[derive(Deserialize)]
    struct Sessions {
        sessions: Vec<SessionView>,
    }
    let answer = context.client()?.call("GET", "/stream-recordings/sessions", None)?;
    if context.typed.has("json") {
        return context.out.json_text(&answer.text());
    }
    let sessions = answer.json::<Sessions>()?.sessions;
    let ids = || sessions.iter().map(|session| session.id.as_str());
    let chars = id_chars(ids(), ids());
    let mut table = Table::new(&["ID", "PROTOCOL", "PATH", "NAME", "STARTED", "CONNECTIONS", "FRAMES"]);
    for session in &sessions {
        table.push([
            cut_id(&session.id, chars),
            session.protocol.word().to_owned(),
            session.path.clone(),
            session.name.clone(),
            to_the_second(&session.start_time),
            session.connections.to_string(),
            session.frames.to_string(),
        ]);
    }
    table.lines().iter().try_for_each(|line| context.out.line(line))
}

/// `stream-recordings start`
pub fn start(context: &mut Context<'_>) -> Result<()> {
    let typed = context.typed;
    let mut body = Map::new();
    for field in ["protocol", "path", "name", "description", "upstream"] {
        if let Some(value) = typed.text(field) {
            body.insert(field.to_owned(), value.into());
        }
    }
    if typed.has("tag") {
        body.insert("tags".to_owned(), typed.all("tag").collect::<Vec<_>>().into());
    }
    for (flag, field) in [("max-duration", "maxDuration"), ("max-frames", "maxFrames")] {
        if let Some(number) = typed.integer(flag) {
            body.insert(field.to_owned(), number.into());
        }
    }
    let answer = context.client()?.call("POST", "/stream-recordings/start", Some(&Value::Object(body)))?;
    if typed.has("json") {
        return context.out.json_text(&answer.text());
    }
    let started: Started = answer.json()?;
    context.out.line(&format!(
        "Recording {} on {} as {} (stop it with `mockd stream-recordings stop {}`)",
        started.protocol.word(),
        text::clean(&started.path),
        text::clean(&started.name),
        text::clean(&started.session_id),
    ))?;
    if let Some(warning) = &started.warning {
        tell(warning);
    }
    Ok(())
}

/// `stream-recordings stop`
pub fn stop(context: &mut Context<'_>) -> Result<()> {
    let session = context.typed.word();
    id::check_prefix(session)?;
    let answer = context.client()?.call("POST", &format!("/stream-recordings/{session}/stop"), None)?;
    if context.typed.has("json") {
        return context.out.json_text(&answer.text());
    }
    let stopped: Stopped = answer.json()?;
    let ids: Vec<&str> = stopped.recordings.iter().map(|summary| summary.id.as_str()).collect();
    print_table(context, &stopped.recordings, ids)
}

/// `stream-recordings tail`
pub fn tail(context: &mut Context<'_>) -> Result<()> {
    let recording = context.typed.word();
    id::check_prefix(recording)?;
    let json = context.typed.has("json");
    let mut parser = EventStreamParser::new(limits::MAX_ANSWER_BYTES as u64);
    let client = context.client()?;
    client.follow(&format!("/stream-recordings/{recording}/frames?follow=true"), &mut |bytes| {
        let mut lines = Vec::new();
        let fed = parser.feed(bytes, &mut |block| lines.extend(block.data.and_then(|data| frame_line(&data, json))));
        lines.iter().try_for_each(|line| if json { context.out.json_text(line) } else { context.out.line(line) })?;
        // People watch; what has come must be seen.
        context.out.finish()?;
        fed.map_err(|_| crate::base::error::Error::TooLarge { what: "frame", limit: limits::MAX_ANSWER_BYTES as u64 })
    })
}

/// The line of a frame that came as JSON; nothing for what is no frame.
fn frame_line(data: &str, json: bool) -> Option<String> {
    let value: Value = serde_json::from_str(data).ok()?;
    let object = value.as_object().filter(|object| object.contains_key("relativeUs") || object.contains_key("relativeMs"))?;
    if json {
        return Some(data.replace('\n', " "));
    }
    let protocol = if object.contains_key("direction") { Protocol::WebSocket } else { Protocol::Sse };
    match protocol {
        Protocol::WebSocket => serde_json::from_value(value).ok().map(|frame| websocket_line(&frame)),
        Protocol::Sse => serde_json::from_value(value).ok().map(|event| event_line(&event)),
    }
}

fn websocket_line(frame: &WsFrame) -> String {
    let direction = match frame.direction {
        Direction::ClientToServer => "c2s",
        Direction::ServerToClient => "s2c",
    };
    let kind = match frame.kind {
        FrameType::Text => "text",
        FrameType::Binary => "binary",
        FrameType::Ping => "ping",
        FrameType::Pong => "pong",
        FrameType::Close => "close",
    };
    let data = match (frame.kind, frame.encoding) {
        (FrameType::Close, _) => {
            let code = frame.close_code.map(|code| code.to_string()).unwrap_or_default();
            format!("{code} {}", text::clean(frame.close_reason.as_deref().unwrap_or_default())).trim().to_owned()
        }
        (_, Some(Encoding::Base64)) => format!("base64:{}", text::clean(&frame.data)),
        (_, None) => text::clean(&frame.data).into_owned(),
    };
    format!("{} {direction} {kind} {data}", clock(&frame.timestamp)).trim_end().to_owned()
}

fn event_line(event: &SseEvent) -> String {
    let (kind, data) = match (&event.kind, &event.data, &event.comment) {
        (kind, Some(data), _) => (kind.as_deref().unwrap_or("message"), data.clone()),
        (_, None, Some(comment)) => ("comment", comment.clone()),
        (_, None, None) => ("block", event.retry.map(|ms| format!("retry {ms}")).unwrap_or_default()),
    };
    format!("{} s2c {} {}", clock(&event.timestamp), text::clean(kind), text::clean(&data)).trim_end().to_owned()
}

/// The time of the day in milliseconds: `10:30:00.100`.
fn clock(timestamp: &str) -> String {
    match crate::base::time::parse_rfc3339(timestamp) {
        Some(us) => crate::base::time::rfc3339(us)[11..23].to_owned(),
        None => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_one_clean_line() {
        for (data, line) in [
            (
                r#"{"direction":"s2c","type":"text","data":"{\"a\":1}\n\u001b[2J","timestamp":"2024-01-15T10:30:00.100000Z","relativeMs":100,"relativeUs":100000}"#,
                Some("10:30:00.100 s2c text {\"a\":1}\\n\\u{1b}[2J"),
            ),
            (
                r#"{"direction":"c2s","type":"binary","data":"AAE=","encoding":"base64","timestamp":"2024-01-15T10:30:00.250Z","relativeUs":250000}"#,
                Some("10:30:00.250 c2s binary base64:AAE="),
            ),
            (
                r#"{"direction":"c2s","type":"close","closeCode":1000,"closeReason":"bye","timestamp":"2024-01-15T10:30:01Z","relativeUs":1}"#,
                Some("10:30:01.000 c2s close 1000 bye"),
            ),
            (r#"{"type":"tick","data":"1","timestamp":"2024-01-15T10:30:01Z","relativeMs":1}"#, Some("10:30:01.000 s2c tick 1")),
            (r#"{"comment":"ping","timestamp":"2024-01-15T10:30:01Z","relativeMs":1}"#, Some("10:30:01.000 s2c comment ping")),
            (r#"{"retry":5,"timestamp":"x","relativeMs":1}"#, Some("- s2c block retry 5")),
            (r#"{"status":"complete"}"#, None),
            ("no json", None),
        ] {
            assert_eq!(frame_line(data, false).as_deref(), line, "{data}");
        }
    }

    #[test]
    fn json_lines_stay_as_they_came() {
        let data = r#"{"type":"tick","data":"1","timestamp":"2024-01-15T10:30:01Z","relativeMs":1}"#;
        assert_eq!(frame_line(data, true).as_deref(), Some(data));
    }
}
