//! What people write: configs, bodies of calls, arguments. What is taken can be shown and taken again; what is not is told with its place.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;

use mockd::base::error::Error;
use mockd::cli::parser;
use mockd::model::api::{Edit, ListQuery, StartRequest};
use mockd::model::config;
use mockd::model::convert_options::ConvertOptions;
use mockd::model::duration::{self, Unit};
use mockd::model::mock::{Mock, MockKind};
use mockd::model::mock_http::{HttpMock, HttpPlays};
use mockd::model::mock_ws::{WsMock, WsPlays};
use mockd::model::recording::{FrameType, Protocol};
use mockd::model::replay::{Advance, CloseRequest, Injection, ReplayOptions};
use mockd::model::settings::Settings;
use mockd::rules::events::EventShow;
use mockd::rules::message_match::Said;
use mockd::rules::performance::{Act, Heard, Moment, Performance};
use mockd::rules::scenario::Conversation;
use mockd::rules::template::Filling;
use mockd::wire::sse::EventStreamParser;
use mockd::wire::url::parameters;
use serde_json::Value;

use super::input::{lines, text};

/// A config in JSON.
pub fn config_json(data: &[u8]) {
    config("mocks.json", data);
}

/// A config in YAML.
pub fn config_yaml(data: &[u8]) {
    config("mocks.yaml", data);
}

fn config(name: &str, data: &[u8]) {
    let text = text(data);
    let mut settings = Settings::default();
    let read = config::read_into(&mut settings, Path::new(name), &text);
    if let Err(error) = read {
        assert!(matches!(&error, Error::File { .. }), "{error:?}");
        let said = error.to_string();
        assert!(said.contains(name) && said.len() < 2000, "{said}");
        assert_eq!(settings.mocks, Settings::default().mocks);
        return;
    }
    // What goes beyond what a server can have is told as well.
    let _checked = settings.check();
    for mock in &settings.mocks {
        let shown = mock.shown.text();
        let again = Mock::from_text(shown, shown, mock.source.clone()).expect("what is shown is taken");
        assert_eq!((&again.id, &again.kind, again.shown.text()), (&mock.id, &mock.kind, shown));
        let value = mock.shown.value();
        let again = Mock::from_json(&value, mock.source.clone()).expect("what is shown is taken");
        assert_eq!((&again.id, &again.kind), (&mock.id, &mock.kind));
        play(mock);
    }
}

fn at(now_us: u64) -> Moment {
    Moment { now_us, wall_us: 1_705_314_600_000_000 + now_us, random: || 0x9e37_79b9_7f4a_7c15 }
}

/// Plays a mock for a while: it never asks to sleep until a moment that has passed, and never spins.
fn play(mock: &Mock) {
    let mut performance: Box<dyn Performance> = match &mock.kind {
        MockKind::WebSocket(WsMock { plays: WsPlays::Talk(talk), .. }) => {
            Box::new(Conversation::new(std::sync::Arc::clone(talk)).expect("what was checked is played"))
        }
        MockKind::Http(HttpMock { plays: HttpPlays::Events(events), .. }) => Box::new(EventShow::new(std::sync::Arc::clone(events), None)),
        MockKind::WebSocket(_) | MockKind::Http(_) => return,
    };
    let mut now_us = 1000;
    performance.start(now_us);
    for round in 0..40 {
        for _ in 0..200 {
            match performance.next(at(now_us)) {
                Act::Write(bytes) => assert!(!bytes.is_empty()),
                Act::Sleep { until_us } => {
                    assert!(until_us > now_us, "it sleeps until {until_us} at {now_us}");
                    now_us = if round % 2 == 0 { until_us } else { now_us.saturating_add(10) };
                    break;
                }
                Act::Wait => break,
                Act::End(_) => return,
            }
        }
        let said: &[u8] = [&b"hello"[..], b"{\"a\":[1,{\"b\":2}]}", b"\xff", b""][round % 4];
        let kind = if round % 3 == 0 { FrameType::Binary } else { FrameType::Text };
        performance.hear(if round % 5 == 4 { Heard::Pong } else { Heard::Message(kind, said) }, at(now_us));
    }
}

/// The body of any call of the admin API; also as a query.
pub fn bodies(data: &[u8]) {
    let text = text(data);
    let _query =
        ListQuery::from_parameters(parameters(&text).collect::<Vec<_>>().iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let Ok(body) = serde_json::from_str::<Value>(&text) else { return };
    if let Some(options) = told(ReplayOptions::from_json(&body)) {
        let again = ReplayOptions::from_json(&options.to_json()).expect("what is shown is taken");
        assert_eq!(again, options);
    }
    told(Advance::from_json(&body));
    told(CloseRequest::from_json(&body));
    told(Edit::from_json(&body));
    told(StartRequest::from_json(&body));
    told(ConvertOptions::from_json(&body));
    told(Injection::from_json(Protocol::WebSocket, &body));
    if let Some(Injection::Event(event)) = told(Injection::from_json(Protocol::Sse, &body)) {
        let mut parser = EventStreamParser::new(u64::MAX);
        let mut blocks = Vec::new();
        parser.feed(&event.canonical(), &mut |block| blocks.push(block)).expect("there is no limit");
        let [block] = blocks.as_slice() else { panic!("an event became {blocks:?}") };
        assert_eq!((&block.data, &block.id, block.retry, &block.comment), (&event.data, &event.id, event.retry, &event.comment));
        assert!(parser.into_tail().is_empty());
    }
    for unit in [Unit::Ms, Unit::Seconds] {
        assert!(duration::read_us(&body, unit).is_none_or(|us| us <= mockd::base::limits::MAX_TIME_MS * 1000));
    }
}

/// What was read; what is wrong with it is told in few words.
fn told<T>(read: Result<T, Error>) -> Option<T> {
    match read {
        Ok(read) => Some(read),
        Err(error) => {
            assert_eq!(error.status(), 400, "{error:?}");
            assert!(error.to_string().len() < 4000, "{error}");
            None
        }
    }
}

/// Arguments, one a line.
pub fn arguments(data: &[u8]) {
    let args = data.split(|byte| *byte == b'\n').map(|arg| OsString::from_vec(arg.to_vec()));
    match parser::parse(args) {
        Ok(parser::Parsed::Run(typed)) => {
            assert!(typed.command.run.is_some() && (typed.trailing.is_empty() || typed.command.trailing.is_some()));
            for flag in typed.command.all_flags() {
                assert!(typed.text(flag.name).is_some() == typed.has(flag.name));
                let (_integer, _decimal) = (typed.integer(flag.name), typed.decimal(flag.name));
            }
        }
        Ok(parser::Parsed::Help(_) | parser::Parsed::Version) => {}
        Err(error) => assert_eq!(error.exit_code(), 2, "{error:?}"),
    }
}

/// A template (the first line) filled for a message (the rest).
pub fn template(data: &[u8]) {
    let [template, message] = lines(data);
    let said = Said::new(FrameType::Text, message.as_bytes());
    let filling = Filling { said: Some(&said), at: at(5) };
    let filled = filling.text(&template);
    if !template.contains("{{") {
        assert_eq!(filled, template);
    }
    let braces = template.matches("{{").count();
    assert!(filled.len() <= template.len() + braces * (message.len() * 6 + 64), "it grows with what is put in");
    let value = Value::String(template.clone());
    if let Value::String(text) = filling.json(&value) {
        assert_eq!(text, filled);
    }
}
