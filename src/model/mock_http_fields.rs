//! Reading the HTTP part of a mock: every field, its range, and what cannot stand together. The values themselves are in `mock_http.rs`.

use std::sync::Arc;

use serde_json::Value;

use super::duration::Unit;
use super::fields::{Fields, not_a_word};
use super::mock::{Conditions, ReplayMock};
use super::mock_http::{
    EventData, HttpMock, HttpPlays, HttpResponse, MockEvent, Resume, SseLifecycle, SseMock, SseTiming, Termination, TerminationKind,
};
use super::mock_parts::{check_line, quoted, read_conditions, read_headers, read_path};
use crate::base::error::{Error, Result};
use crate::base::limits;
use crate::wire::headers::is_token;

/// What an HTTP mock gives, one of them.
const PLAYS: [&str; 3] = ["sse", "response", "replay"];

/// The fields of `sse` that shape a stream of events.
const OF_SSE: [&str; 8] = ["statusCode", "headers", "events", "timing", "lifecycle", "resume", "template", "templateParams"];

/// The parts of an HTTP mock, out of an object that may hold more.
pub fn read(fields: &mut Fields<'_>) -> Result<HttpMock> {
    let matcher = fields.object("matcher")?;
    if let [one, two, ..] = PLAYS.iter().filter(|name| fields.has(name)).collect::<Vec<_>>()[..] {
        return Err(fields.unwanted(two, &format!("this cannot stand beside {one:?}; leave out one of the two")));
    }
    let plays = if let Some(replay) = fields.object("replay")? {
        HttpPlays::Replay(ReplayMock::from_fields(replay)?)
    } else if let Some(sse) = fields.object("sse")? {
        HttpPlays::Events(Arc::new(read_sse(sse)?))
    } else if let Some(response) = fields.object("response")? {
        HttpPlays::Response(read_response(response)?)
    } else {
        return Err(Error::invalid(fields.place(), format!("an HTTP mock has one of {}", PLAYS.join(", "))));
    };
    let is_replay = matches!(plays, HttpPlays::Replay(_));
    let (method, path, conditions) = match matcher {
        Some(matcher) => read_matcher(matcher)?,
        None => (None, None, Conditions::default()),
    };
    if path.is_none() && !is_replay {
        return Err(fields.missing("matcher.path"));
    }
    let method = method.or_else(|| (!is_replay).then(|| "GET".to_owned()));
    Ok(HttpMock { method, path, conditions, plays })
}

/// Method, path and conditions.
fn read_matcher(mut fields: Fields<'_>) -> Result<(Option<String>, Option<String>, Conditions)> {
    fields.only(&["method", "path", "headers", "queryParams", "bodyContains"])?;
    // Methods have case (RFC 9110 §9.1), but nobody who writes `post` means another method than POST.
    let method = fields.string("method")?.map(|method| method.to_ascii_uppercase());
    if let Some(method) = &method
        && !is_token(method.as_bytes())
    {
        return Err(Error::invalid(fields.place_of("method"), format!("{:?} can be no method of a request", quoted(method))));
    }
    let path = read_path(&mut fields)?;
    let body_contains = fields.string("bodyContains")?;
    Ok((method, path, Conditions { body_contains, ..read_conditions(&mut fields)? }))
}

fn read_status(fields: &mut Fields<'_>) -> Result<u16> {
    let code = fields.integer("statusCode", 200..=599)?;
    Ok(code.and_then(|code| u16::try_from(code).ok()).unwrap_or(200))
}

/// Whether a response of this status has no body (RFC 9110 §15.3.5, §15.3.6, §15.4.5).
pub fn is_bodiless(status: u16) -> bool {
    matches!(status, 204 | 205 | 304)
}

fn read_response(mut fields: Fields<'_>) -> Result<HttpResponse> {
    fields.only(&["statusCode", "headers", "body", "delayMs"])?;
    let status = read_status(&mut fields)?;
    let mut headers = read_headers(&mut fields)?;
    let body = match fields.any("body")? {
        None | Some(Value::Null) => Vec::new(),
        Some(Value::String(text)) => text.clone().into_bytes(),
        Some(value) => {
            if headers.first("content-type").is_none() {
                headers.add_header("Content-Type", "application/json".to_owned());
            }
            value.to_string().into_bytes()
        }
    };
    if is_bodiless(status) && !body.is_empty() {
        return Err(fields.unwanted("body", &format!("a response with status {status} has no body: leave it out")));
    }
    Ok(HttpResponse { status, headers, body, delay_us: fields.duration_us("delayMs", Unit::Ms)?.unwrap_or(0) })
}

fn read_sse(mut fields: Fields<'_>) -> Result<SseMock> {
    fields.only(&OF_SSE)?;
    let status = read_status(&mut fields)?;
    if is_bodiless(status) {
        let words = format!("a response with status {status} has no body for events: use \"response\" in place of \"sse\"");
        return Err(Error::invalid(fields.place_of("statusCode"), words));
    }
    let mut headers = read_headers(&mut fields)?;
    if headers.first("Content-Type").is_none() {
        headers.add_header("Content-Type", "text/event-stream".to_owned());
    }
    // Whoever says which fields there are, as a converted recording does, means these.
    if !fields.has("headers") {
        headers.add_header("Cache-Control", "no-cache".to_owned());
    }
    let mut timing = fields.object("timing")?.map(read_timing).transpose()?.unwrap_or_default();
    let events = match fields.string("template")? {
        Some(name) => read_template(&name, &mut fields, &mut timing)?,
        None if fields.has("templateParams") => return Err(fields.unwanted("templateParams", "this needs \"template\"")),
        None => fields.items("events", read_event)?.ok_or_else(|| fields.missing("events"))?,
    };
    if timing.per_event_delays_us.len() > events.len() {
        let (delays, events) = (timing.per_event_delays_us.len(), events.len());
        let words = format!("there are {delays} delays for {events} events: leave out those at the end");
        return Err(Error::invalid(fields.place_of("timing.perEventDelays"), words));
    }
    let lifecycle = fields.object("lifecycle")?.map(read_lifecycle).transpose()?.unwrap_or_default();
    Ok(SseMock { status, headers, events, timing, lifecycle, resume: read_resume(&mut fields)? })
}

fn read_event(value: &Value, place: String) -> Result<MockEvent> {
    read_event_fields(Fields::of(value, place)?)
}

/// An event, or a block without data.
fn read_event_fields(mut fields: Fields<'_>) -> Result<MockEvent> {
    fields.only(&["type", "data", "id", "retry", "comment", "delay", "literal"])?;
    // An empty type is none (HTML standard §9.2.6).
    let kind = fields.string("type")?.filter(|kind| !kind.is_empty());
    let id = match fields.value("id") {
        // Ids are texts; unquoted, YAML reads those that count as numbers.
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => fields.string("id")?,
    };
    for (name, text) in [("type", &kind), ("id", &id)] {
        if let Some(text) = text {
            check_line(&fields.place_of(name), text)?;
        }
    }
    let data = match fields.any("data")? {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(EventData::Text(with_lf(text))),
        Some(value) => Some(EventData::Json(value.clone())),
    };
    let retry = fields.integer("retry", 0..=u64::MAX)?;
    let comment = fields.string("comment")?.map(|text| with_lf(&text));
    if data.is_none() && kind.is_some() {
        return Err(Error::invalid(fields.place_of("data"), "an event with a type needs data: readers drop it without"));
    }
    if data.is_none() && id.is_none() && retry.is_none() && comment.is_none() {
        return Err(Error::invalid(fields.place_of("data"), "this field must be given, or id, retry or comment"));
    }
    let delay_us = fields.duration_us("delay", Unit::Ms)?;
    Ok(MockEvent { kind, data, id, retry, comment, delay_us, literal: fields.boolean("literal")?.unwrap_or(false) })
}

/// Every line end that a reader of event streams knows as LF: no other comes through.
fn with_lf(text: &str) -> String {
    if text.contains('\r') { text.replace("\r\n", "\n").replace('\r', "\n") } else { text.to_owned() }
}

fn read_timing(mut fields: Fields<'_>) -> Result<SseTiming> {
    fields.only(&["initialDelay", "fixedDelay", "randomDelay", "perEventDelays"])?;
    if fields.has("fixedDelay") && fields.has("randomDelay") {
        return Err(fields.unwanted("randomDelay", "this cannot stand beside \"fixedDelay\"; leave out one of the two"));
    }
    let read_delay = |value: &Value, place: String| {
        if value.is_null() {
            return Ok(None);
        }
        let us = super::duration::read_us(value, Unit::Ms);
        us.map(Some).ok_or_else(|| super::fields::wrong_at(place, value, &super::duration::allowed(Unit::Ms)))
    };
    Ok(SseTiming {
        initial_delay_us: fields.duration_us("initialDelay", Unit::Ms)?.unwrap_or(0),
        fixed_delay_us: fields.duration_us("fixedDelay", Unit::Ms)?.unwrap_or(0),
        random_delay_us: fields.object("randomDelay")?.map(read_random_delay).transpose()?,
        per_event_delays_us: fields.items("perEventDelays", read_delay)?.unwrap_or_default(),
    })
}

fn read_random_delay(mut fields: Fields<'_>) -> Result<(u64, u64)> {
    fields.only(&["min", "max"])?;
    let min = fields.duration_us("min", Unit::Ms)?.ok_or_else(|| fields.missing("min"))?;
    let max = fields.duration_us("max", Unit::Ms)?.ok_or_else(|| fields.missing("max"))?;
    if min > max {
        return Err(fields.unwanted("min", "this must not be more than \"max\""));
    }
    Ok((min, max))
}

fn read_lifecycle(mut fields: Fields<'_>) -> Result<SseLifecycle> {
    fields.only(&["keepaliveInterval", "timeout", "maxEvents", "termination"])?;
    let keepalive_us = fields.duration_us("keepaliveInterval", Unit::Seconds)?.filter(|us| *us > 0);
    if keepalive_us.is_some_and(|us| us < 1000) {
        return Err(fields.unwanted("keepaliveInterval", "this must be at least a millisecond, or 0 for none"));
    }
    Ok(SseLifecycle {
        keepalive_us,
        timeout_us: fields.duration_us("timeout", Unit::Seconds)?.filter(|us| *us > 0),
        max_events: fields.integer("maxEvents", 1..=u64::MAX)?,
        termination: fields.object("termination")?.map(read_termination).transpose()?.unwrap_or_default(),
    })
}

fn read_termination(mut fields: Fields<'_>) -> Result<Termination> {
    fields.only(&["type", "finalEvent", "errorEvent", "closeDelay"])?;
    let kind = match fields.word("type", &["graceful", "abrupt", "error", "keepOpen"])? {
        Some("abrupt") => TerminationKind::Abrupt,
        Some("error") => TerminationKind::Error,
        Some("keepOpen") => TerminationKind::KeepOpen,
        _ => TerminationKind::Graceful,
    };
    for (name, of, word) in [("finalEvent", TerminationKind::Graceful, "graceful"), ("errorEvent", TerminationKind::Error, "error")] {
        if fields.has(name) && kind != of {
            return Err(fields.unwanted(name, &format!("this is for a termination of type {word:?}")));
        }
    }
    if kind == TerminationKind::KeepOpen && fields.has("closeDelay") {
        return Err(fields.unwanted("closeDelay", "a stream that is kept open has no end to wait for"));
    }
    let (last, error) = (fields.object("finalEvent")?, fields.object("errorEvent")?);
    Ok(Termination {
        kind,
        last_event: last.or(error).map(read_event_fields).transpose()?,
        close_delay_us: fields.duration_us("closeDelay", Unit::Ms)?.unwrap_or(0),
    })
}

/// `resume`: an object, or `true`.
fn read_resume(fields: &mut Fields<'_>) -> Result<Resume> {
    if let Some(Value::Bool(enabled)) = fields.value("resume") {
        return Ok(Resume { enabled: *enabled, ..Resume::default() });
    }
    let Some(mut inner) = fields.object("resume")? else { return Ok(Resume::default()) };
    inner.only(&["enabled", "bufferSize", "maxAge"])?;
    Ok(Resume {
        enabled: inner.boolean("enabled")?.unwrap_or(true),
        buffer_size: inner.integer("bufferSize", 1..=u64::MAX)?,
        max_age_us: inner.duration_us("maxAge", Unit::Seconds)?,
    })
}

/// The one template that there is.
const TEMPLATE: &str = "openai-chat";

/// `template` with `templateParams`: a chat completion, a chunk for each token.
fn read_template(name: &str, fields: &mut Fields<'_>, timing: &mut SseTiming) -> Result<Vec<MockEvent>> {
    if name != TEMPLATE {
        return Err(Error::invalid(fields.place_of("template"), not_a_word(name, &[TEMPLATE])));
    }
    if fields.has("events") {
        return Err(fields.unwanted("events", "this cannot stand beside \"template\"; leave out one of the two"));
    }
    let mut params = fields.object("templateParams")?.ok_or_else(|| fields.missing("templateParams.tokens"))?;
    params.only(&["tokens", "model", "finishReason", "includeDone", "delayPerToken"])?;
    let tokens = params.strings("tokens")?.ok_or_else(|| params.missing("tokens"))?;
    if tokens.is_empty() {
        return Err(params.unwanted("tokens", "this must be a list of at least one string"));
    }
    let model = params.string("model")?.unwrap_or_else(|| "gpt-4".to_owned());
    let finish_reason = params.string("finishReason")?.unwrap_or_else(|| "stop".to_owned());
    let delay_us = params.duration_us("delayPerToken", Unit::Ms)?;
    let has_delay = fields.value("timing").is_some_and(|timing| ["fixedDelay", "randomDelay"].iter().any(|name| !timing[name].is_null()));
    if has_delay && delay_us.is_some() {
        return Err(params
            .unwanted("delayPerToken", "this cannot stand beside a fixedDelay or randomDelay in \"timing\"; leave out one of the two"));
    }
    if !has_delay {
        timing.fixed_delay_us = delay_us.unwrap_or(limits::TOKEN_DELAY_MS * 1000);
    }
    let last = tokens.len() - 1;
    let chunk = |(index, token): (usize, String)| {
        let finish_reason = (index == last).then(|| finish_reason.clone());
        event_of(EventData::ChatChunk { model: model.clone(), token, first: index == 0, finish_reason })
    };
    let mut events: Vec<_> = tokens.into_iter().enumerate().map(chunk).collect();
    if params.boolean("includeDone")?.unwrap_or(true) {
        // It follows the last chunk at once.
        events.push(MockEvent { delay_us: Some(0), literal: true, ..event_of(EventData::Text("[DONE]".to_owned())) });
    }
    Ok(events)
}

fn event_of(data: EventData) -> MockEvent {
    MockEvent { kind: None, data: Some(data), id: None, retry: None, comment: None, delay_us: None, literal: false }
}
