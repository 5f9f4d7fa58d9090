//! Reading the WebSocket part of a mock: every field, its range, and what cannot stand together. The values themselves are in `mock_ws.rs`.

use std::sync::Arc;

use serde_json::Value;

use super::duration::Unit;
use super::fields::{Fields, shown};
use super::mock::{Conditions, ReplayMock};
use super::mock_parts::{check_regex, quoted, read_conditions, read_path};
use super::mock_ws::{Heartbeat, MatchText, Scenario, Step, WsContent, WsMatch, WsMatcher, WsMessage, WsMock, WsPlays, WsTalk};
use super::recording::FrameType;
use super::replay::{CLOSE_CODES, check_close_reason};
use super::replay_options::check_json_path;
use super::setting::read_bytes;
use crate::base::error::{Error, Result};
use crate::base::limits;
use crate::wire::headers::is_token;
use crate::wire::ws::is_sendable_close_code;

/// The fields of a mock that talks, none of which a replay has.
const OF_TALK: [&str; 9] = [
    "subprotocols",
    "requireSubprotocol",
    "maxMessageSize",
    "idleTimeout",
    "heartbeat",
    "echoMode",
    "matchers",
    "defaultResponse",
    "scenario",
];

/// The fields of every one.
const OF_ALL: [&str; 4] = ["path", "matcher", "maxConnections", "replay"];

/// `websocket` of a mock.
pub fn read(mut fields: Fields<'_>) -> Result<WsMock> {
    let known: Vec<_> = OF_ALL.iter().chain(&OF_TALK).copied().collect();
    fields.only(&known)?;
    let path = read_path(&mut fields)?;
    let conditions = fields.object("matcher")?.map(read_matcher).transpose()?.unwrap_or_default();
    let max_connections = fields.integer("maxConnections", 1..=u64::MAX)?;
    let plays = match fields.object("replay")? {
        Some(replay) => {
            if let Some(name) = OF_TALK.iter().find(|name| fields.has(name)) {
                return Err(fields.unwanted(name, "this cannot stand beside \"replay\": the recording says what is sent"));
            }
            WsPlays::Replay(ReplayMock::from_fields(replay)?)
        }
        None => WsPlays::Talk(Arc::new(read_talk(&mut fields)?)),
    };
    if path.is_none() && matches!(plays, WsPlays::Talk(_)) {
        return Err(fields.missing("path"));
    }
    Ok(WsMock { path, conditions, max_connections, plays })
}

/// `matcher`: what the handshake must have.
fn read_matcher(mut fields: Fields<'_>) -> Result<Conditions> {
    for (name, why) in [
        ("path", "the path of a WebSocket mock stands in websocket.path"),
        ("method", "a WebSocket handshake is always a GET: leave this out"),
        ("bodyContains", "a WebSocket handshake has no body: leave this out"),
    ] {
        if fields.has(name) {
            return Err(fields.unwanted(name, why));
        }
    }
    fields.only(&["headers", "queryParams"])?;
    read_conditions(&mut fields)
}

fn read_talk(fields: &mut Fields<'_>) -> Result<WsTalk> {
    let subprotocols = read_subprotocols(fields)?;
    let require_subprotocol = fields.boolean("requireSubprotocol")?.unwrap_or(false);
    if require_subprotocol && subprotocols.is_empty() {
        return Err(fields.unwanted("requireSubprotocol", "this needs \"subprotocols\": without them every handshake would be refused"));
    }
    let matchers = fields.items("matchers", read_answer)?.unwrap_or_default();
    let default_response = fields.object("defaultResponse")?.map(read_message).transpose()?;
    let scenario = fields.object("scenario")?.map(read_scenario).transpose()?;
    let is_silent = matchers.is_empty() && default_response.is_none() && scenario.is_none();
    Ok(WsTalk {
        subprotocols,
        require_subprotocol,
        max_message_bytes: read_bytes(fields, "maxMessageSize", 1, 1024 * limits::MIB)?,
        idle_timeout_us: fields.duration_us("idleTimeout", Unit::Ms)?.filter(|us| *us > 0),
        heartbeat: fields.object("heartbeat")?.map(read_heartbeat).transpose()?.flatten(),
        echo: fields.boolean("echoMode")?.unwrap_or(is_silent),
        matchers,
        default_response,
        scenario,
    })
}

fn read_subprotocols(fields: &mut Fields<'_>) -> Result<Vec<String>> {
    let names = fields.strings("subprotocols")?.unwrap_or_default();
    for (index, name) in names.iter().enumerate() {
        let wrong = |words: &str| {
            Err(Error::invalid(format!("{}[{index}]", fields.place_of("subprotocols")), format!("{:?} {words}", quoted(name))))
        };
        if !is_token(name.as_bytes()) {
            return wrong("is no name of a subprotocol: letters, digits and !#$%&'*+-.^_`|~ only");
        }
        if names[..index].contains(name) {
            return wrong("stands here twice");
        }
    }
    Ok(names)
}

fn read_heartbeat(mut fields: Fields<'_>) -> Result<Option<Heartbeat>> {
    fields.only(&["enabled", "interval", "timeout"])?;
    let enabled = fields.boolean("enabled")?.unwrap_or(true);
    let mut time = |name, default_ms: u64| match fields.duration_us(name, Unit::Ms)? {
        Some(us) if us < 1000 => Err(fields.unwanted(name, "this must be at least a millisecond")),
        given => Ok(given.unwrap_or(default_ms * 1000)),
    };
    let interval_us = time("interval", limits::HEARTBEAT_INTERVAL_MS)?;
    let timeout_us = time("timeout", limits::HEARTBEAT_TIMEOUT_MS)?;
    Ok(enabled.then_some(Heartbeat { interval_us, timeout_us }))
}

/// One of `matchers`.
fn read_answer(value: &Value, place: String) -> Result<WsMatcher> {
    let mut fields = Fields::of(value, place)?;
    fields.only(&["match", "response", "noResponse", "delay"])?;
    let matches = read_match(fields.object("match")?.ok_or_else(|| fields.missing("match"))?)?;
    let mut response = fields.object("response")?.map(read_message).transpose()?;
    let is_silent = fields.boolean("noResponse")?.unwrap_or(false);
    match (&mut response, is_silent, fields.duration_us("delay", Unit::Ms)?) {
        (Some(_), true, _) => return Err(fields.unwanted("noResponse", "this cannot stand beside \"response\"; leave out one of the two")),
        (None, false, _) => return Err(Error::invalid(fields.place_of("response"), "this field must be given, or \"noResponse\": true")),
        (None, true, Some(_)) => return Err(fields.unwanted("delay", "where there is no response, nothing can be delayed")),
        (Some(_), false, Some(_)) if value["response"].get("delay").is_some_and(|delay| !delay.is_null()) => {
            return Err(fields.unwanted("delay", "the response has a delay of its own; leave out one of the two"));
        }
        (Some(response), false, Some(delay_us)) => response.delay_us = delay_us,
        (Some(_), false, None) | (None, true, None) => {}
    }
    Ok(WsMatcher { matches, response })
}

/// `match`.
fn read_match(mut fields: Fields<'_>) -> Result<WsMatch> {
    const KINDS: [&str; 6] = ["exact", "contains", "prefix", "suffix", "regex", "json"];
    fields.only(&["type", "value", "path", "messageType"])?;
    let kind = fields.word("type", &KINDS)?;
    let message_type = fields.word("messageType", &["text", "binary"])?;
    let message_type = message_type.map(|word| if word == "binary" { FrameType::Binary } else { FrameType::Text });
    if fields.has("path") && kind != Some("json") {
        return Err(fields.unwanted("path", "this is for type \"json\""));
    }
    let is_binary = message_type == Some(FrameType::Binary);
    let text = match kind {
        None => {
            if message_type.is_none() || fields.has("value") {
                return Err(Error::invalid(fields.place_of("type"), format!("this field must be given: one of {}", KINDS.join(", "))));
            }
            MatchText::Any
        }
        Some(kind) if is_binary && kind != "exact" => {
            return Err(fields.unwanted(
                "messageType",
                &format!("{kind:?} looks at texts; a binary message is matched by \"exact\", with its base64, or by its messageType alone"),
            ));
        }
        Some("json") => read_json_match(&mut fields)?,
        Some(kind) => {
            let value = fields.required_string("value")?;
            match kind {
                "contains" => MatchText::Contains(value),
                "prefix" => MatchText::Prefix(value),
                "suffix" => MatchText::Suffix(value),
                "regex" => {
                    check_regex(&fields.place_of("value"), &value)?;
                    MatchText::Regex(value)
                }
                _ => {
                    if is_binary {
                        read_base64(&fields, &value)?;
                    }
                    MatchText::Exact(value)
                }
            }
        }
    };
    Ok(WsMatch { text, message_type })
}

fn read_json_match(fields: &mut Fields<'_>) -> Result<MatchText> {
    let path = fields.string("path")?;
    if let Some(path) = &path {
        check_json_path(&fields.place_of("path"), path)?;
    }
    let value = fields.any("value")?.ok_or_else(|| fields.missing("value"))?.clone();
    Ok(MatchText::Json { path, value })
}

/// A message to send.
fn read_message(mut fields: Fields<'_>) -> Result<WsMessage> {
    fields.only(&["type", "value", "delay", "literal"])?;
    let kind = fields.word("type", &["text", "json", "binary"])?;
    let value = fields.any("value")?.ok_or_else(|| fields.missing("value"))?;
    let content = match (kind, value) {
        (None | Some("text"), Value::String(text)) => WsContent::Text(text.clone()),
        (Some("text"), other) => return Err(fields.wrong("value", other, "a string; for JSON choose type \"json\"")),
        (Some("binary"), Value::String(text)) => WsContent::Binary(read_base64(&fields, text)?),
        (Some("binary"), other) => return Err(fields.wrong("value", other, "a string in base64")),
        (_, value) => WsContent::Json(value.clone()),
    };
    let delay_us = fields.duration_us("delay", Unit::Ms)?.unwrap_or(0);
    Ok(WsMessage { content, delay_us, literal: fields.boolean("literal")?.unwrap_or(false) })
}

fn read_base64(fields: &Fields<'_>, text: &str) -> Result<Vec<u8>> {
    data_encoding::BASE64.decode(text.as_bytes()).map_err(|error| {
        let at = error.position.min(text.len());
        Error::invalid(fields.place_of("value"), format!("{:?} is no base64: character {} is wrong", shown(text), at + 1))
    })
}

fn read_scenario(mut fields: Fields<'_>) -> Result<Scenario> {
    fields.only(&["name", "loop", "steps"])?;
    let name = fields.string("name")?;
    let repeats = fields.boolean("loop")?.unwrap_or(false);
    let steps = fields.items("steps", read_step)?.ok_or_else(|| fields.missing("steps"))?;
    if steps.is_empty() {
        return Err(fields.unwanted("steps", "a scenario has at least one step"));
    }
    if repeats && !steps.iter().any(waits) {
        return Err(
            fields.unwanted("loop", "a scenario that begins again needs a step that waits: an expect, or a delay or duration above 0")
        );
    }
    Ok(Scenario { name, steps, repeats })
}

/// Whether a step takes time, so that a scenario that begins again does not spin.
fn waits(step: &Step) -> bool {
    match step {
        Step::Send(message) => message.delay_us > 0,
        Step::Expect { .. } | Step::Close { .. } => true,
        Step::Wait(duration_us) => *duration_us > 0,
    }
}

fn read_step(value: &Value, place: String) -> Result<Step> {
    const KINDS: [&str; 4] = ["send", "expect", "wait", "close"];
    let mut fields = Fields::of(value, place)?;
    let Some(kind) = fields.word("type", &KINDS)? else {
        return Err(Error::invalid(fields.place_of("type"), format!("this field must be given: one of {}", KINDS.join(", "))));
    };
    match kind {
        "send" => {
            fields.only(&["type", "message"])?;
            let message = fields.object("message")?.ok_or_else(|| fields.missing("message"))?;
            read_message(message).map(Step::Send)
        }
        "expect" => {
            fields.only(&["type", "match", "timeout", "optional"])?;
            read_expect(fields)
        }
        "wait" => {
            fields.only(&["type", "duration", "match", "timeout", "optional"])?;
            let Some(duration_us) = fields.duration_us("duration", Unit::Ms)? else {
                return if fields.has("match") {
                    read_expect(fields)
                } else {
                    Err(Error::invalid(fields.place_of("duration"), "this field must be given, or \"match\" to wait for a message"))
                };
            };
            match ["match", "timeout", "optional"].into_iter().find(|name| fields.has(name)) {
                Some(name) => Err(fields.unwanted(name, "this cannot stand beside \"duration\": a step waits for a time or for a message")),
                None => Ok(Step::Wait(duration_us)),
            }
        }
        _ => {
            fields.only(&["type", "code", "reason", "delay"])?;
            read_close(fields)
        }
    }
}

fn read_expect(mut fields: Fields<'_>) -> Result<Step> {
    Ok(Step::Expect {
        matches: fields.object("match")?.map(read_match).transpose()?,
        timeout_us: fields.duration_us("timeout", Unit::Ms)?.unwrap_or(limits::EXPECT_TIMEOUT_MS * 1000),
        optional: fields.boolean("optional")?.unwrap_or(false),
    })
}

fn read_close(mut fields: Fields<'_>) -> Result<Step> {
    let code = fields.integer("code", 0..=u64::from(u16::MAX))?.and_then(|code| u16::try_from(code).ok()).unwrap_or(1000);
    let reason = fields.string("reason")?.unwrap_or_default();
    // 1005 and 1006 stand in no frame: they say that there is none, or none with a code.
    let has_frame = is_sendable_close_code(code);
    if !has_frame && !matches!(code, 1005 | 1006) {
        let words = format!(
            "{code} may not stand in a close frame; use {CLOSE_CODES}, 1005 for a frame without code, or 1006 to drop the connection"
        );
        return Err(Error::invalid(fields.place_of("code"), words));
    }
    if !has_frame && !reason.is_empty() {
        return Err(fields.unwanted("reason", &format!("with code {code} there is no reason: leave it out")));
    }
    check_close_reason(&fields.place_of("reason"), &reason)?;
    Ok(Step::Close { code, reason, delay_us: fields.duration_us("delay", Unit::Ms)?.unwrap_or(0) })
}
