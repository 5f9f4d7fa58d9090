//! `mockd init`: a commented config file, made from the settings so that it says what is true. It overwrites nothing.

use std::io::Write;

use super::context::{CONFIG_FILE, Context};
use crate::base::error::{Error, Result};
use crate::model::config::VERSION;
use crate::model::settings::SETTINGS;

/// `init`
pub fn init(context: &mut Context<'_>) -> Result<()> {
    let path = context.path(CONFIG_FILE);
    let failed = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => Error::Failed(format!("{} exists already: edit it, or remove it first", path.display())),
        _ => Error::file(&path, "", format!("this file cannot be written: {error}")),
    };
    let mut file = std::fs::File::create_new(&path).map_err(failed)?;
    file.write_all(sample().as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
    context.out.line(&format!("Wrote {CONFIG_FILE}; `mockd serve` reads it from this directory"))
}

/// The file's text: every setting as a comment, with its default.
fn sample() -> String {
    let mut out = format!(
        "# {CONFIG_FILE}: read from the working directory by `mockd serve` and every other command.\n\
         # Each line that begins with `#` and a name shows a default; remove the `#` to change it.\n\
         # Flags win over environment variables, these over `--config` files, these over this file.\n\n\
         version: \"{VERSION}\"\n"
    );
    for section in ["server", "recording"] {
        out.push_str(&format!("\n{section}:\n"));
        for setting in SETTINGS.iter().filter(|setting| setting.section() == section) {
            let flag = setting.flag.map_or_else(String::new, |flag| format!("--{flag}, "));
            let value = setting.default_value();
            let value = if value.is_null() { String::new() } else { format!(" {value}") };
            out.push_str(&format!("  # {} ({flag}{}).\n  #{}:{value}\n", setting.help, setting.env, setting.field()));
        }
    }
    out.push_str(UPSTREAMS);
    out.push_str(MOCKS);
    out
}

/// How upstreams are written, as a comment.
const UPSTREAMS: &str = "
# Upstreams by path: the most specific path wins. The URL's own path is put before the request's.
#upstreams:
#  - path: /ws/*
#    url: ws://localhost:8080
#    origin: http://localhost:8080
";

/// How each kind of mock is written, as a comment.
const MOCKS: &str = "
# Mocks: a WebSocket that talks, an event stream, and a recording that every client gets from its start.
# Times are in milliseconds or texts such as 500ms, 1.5s, 2m. `mockd check mockd.yaml` says what is wrong.
#mocks:
#  - id: chat
#    type: websocket
#    websocket:
#      path: /ws/chat
#      scenario:
#        steps:
#          - type: send
#            message: {value: {type: welcome}, delay: 100}
#          - type: expect
#            match: {type: json, path: $.type, value: join}
#          - type: send
#            message: {value: 'hello, {{message.name}}'}
#      matchers:
#        - match: {type: exact, value: ping}
#          response: {value: pong}
#      defaultResponse: {value: {type: error, got: '{{message}}'}}
#
#  - id: ticker
#    type: http
#    http:
#      matcher: {method: GET, path: /events}
#      sse:
#        events:
#          - {type: tick, id: '1', data: {n: 1}}
#          - {type: tick, id: '2', data: {n: 2}}
#        timing: {fixedDelay: 500}
#        lifecycle: {keepaliveInterval: 15, termination: {type: keepOpen}}
#        resume: true
#
#  # `recording` is an id, or a file relative to this one: `mockd stream-recordings export ID -o chat.json` makes one.
#  - id: recorded-chat
#    type: websocket
#    websocket:
#      path: /ws/recorded
#      replay: {recording: ./chat.json, mode: synchronized}
";

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::config::read_into;
    use crate::model::settings::Settings;

    fn read(text: &str) -> Settings {
        let mut settings = Settings::default();
        read_into(&mut settings, Path::new("mockd.yaml"), text).unwrap();
        settings
    }

    /// The text with what can be uncommented so: `#` before a name, or before the indentation of a list.
    fn uncomment(text: &str) -> String {
        let line = |line: &str| match line.trim_start().strip_prefix('#') {
            Some(rest) if rest.is_empty() || rest.starts_with("  ") || rest.starts_with(|c: char| c.is_alphabetic()) => {
                line.replacen('#', "", 1) + "\n"
            }
            _ => line.to_owned() + "\n",
        };
        text.lines().map(line).collect()
    }

    #[test]
    fn the_sample_loads_and_shows_the_defaults() {
        let text = sample();
        assert_eq!(read(&text), Settings::default());
        let whole = uncomment(&text);
        for setting in SETTINGS {
            assert!(whole.contains(&format!("\n  {}:", setting.field())), "{}", setting.key);
        }
        let mut settings = read(&whole);
        assert_eq!(settings.upstreams.len(), 1);
        let mocks: Vec<_> = settings.mocks.iter().map(|mock| (mock.id.as_str(), mock.path(), mock.replay().is_some())).collect();
        assert_eq!(
            mocks,
            [("chat", Some("/ws/chat"), false), ("ticker", Some("/events"), false), ("recorded-chat", Some("/ws/recorded"), true)]
        );
        (settings.upstreams, settings.mocks) = (Vec::new(), Vec::new());
        assert_eq!(settings, Settings::default());
    }
}
