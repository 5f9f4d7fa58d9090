//! Every setting, defined once: key, flag, variable, range, default, words for people. The config reader, the command line, the
//! environment, `--help` and `mockd init` are made from [`SETTINGS`]. How a row is read stands in `setting.rs`.

use std::path::PathBuf;

use super::setting::{Setting, Slot};
use crate::base::error::{Error, Result};
use crate::base::limits;
use crate::base::log::Format;
use crate::model::mock::Mock;
use crate::model::recording::Redaction;

/// One upstream of the config's `upstreams`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamSetting {
    /// The path or pattern that goes there.
    pub path: String,
    /// `http`, `https`, `ws` or `wss` URL; its path is a prefix of the forwarded path.
    pub url: String,
    /// What `Origin` becomes.
    pub origin: Option<String>,
}

/// The settings in force: defaults, then files, then the environment, then flags.
#[derive(Debug, Clone, PartialEq)]
pub struct Settings {
    /// The mock port; 0 picks a free one.
    pub port: u16,
    /// The mock port's address.
    pub host: String,
    /// The admin port; 0 picks a free one.
    pub admin_port: u16,
    /// The admin port's address.
    pub admin_host: String,
    /// The token that admin calls need.
    pub admin_token: Option<String>,
    /// Where everything goes that nothing else takes.
    pub upstream: Option<String>,
    /// Upstreams by path.
    pub upstreams: Vec<UpstreamSetting>,
    /// The mocks of the config files, in their order.
    pub mocks: Vec<Mock>,
    /// A private CA's certificates, PEM.
    pub upstream_ca: Option<PathBuf>,
    /// Skip the verification of upstreams.
    pub upstream_insecure: bool,
    /// Record what matches this path or pattern, from the first request on (`/*`: everything).
    pub record: Option<String>,
    /// The one recording session of a server that a one-shot command opens: what goes to an upstream is recorded for it, and
    /// nothing else is. No row of [`SETTINGS`] sets it.
    pub record_session: Option<String>,
    /// Add the built-in upstream.
    pub demo: bool,
    /// The only origin that what mockd itself answers on the mock port allows.
    pub cors_origin: Option<String>,
    /// Connections on the mock port.
    pub max_connections: u64,
    /// Bytes of a request head.
    pub max_head_bytes: u64,
    /// Milliseconds for a head, from its first byte, and of silence in a body that mockd reads itself.
    pub head_timeout_ms: u64,
    /// Milliseconds of idle keep-alive.
    pub idle_timeout_ms: u64,
    /// Milliseconds to connect to an upstream.
    pub connect_timeout_ms: u64,
    /// Bytes of a WebSocket message.
    pub max_message_bytes: u64,
    /// Bytes of an event.
    pub max_event_bytes: u64,
    /// Bytes of a recorded request body.
    pub max_request_body_bytes: u64,
    /// Milliseconds that a client of a replay, a mock or the admin port, or a side of a relay whose other side has gone, may take no byte.
    pub stall_timeout_ms: u64,
    /// Client messages that wait in a session.
    pub max_queued_messages: u64,
    /// Pending replay sessions.
    pub max_pending_replays: u64,
    /// `off`, `error`, `warn`, `info`, `debug`, `trace`.
    pub log_level: String,
    /// Text or JSON.
    pub log_format: Format,
    /// Where recordings are; `~` has been expanded.
    pub data_dir: Option<PathBuf>,
    /// Bytes of all files there.
    pub max_bytes: u64,
    /// Per cent of `max_bytes` at which a warning is given.
    pub warn_percent: u64,
    /// Header fields whose values are redacted.
    pub filter_headers: Vec<String>,
    /// Query parameters whose values are redacted.
    pub filter_query: Vec<String>,
    /// Keys (at any depth) and JSONPaths (`$.…`) whose values are redacted in bodies.
    pub filter_body_keys: Vec<String>,
    /// Regular expressions whose matches are redacted in any recorded text.
    pub filter_patterns: Vec<String>,
    /// What stands where something was redacted.
    pub redact_value: String,
}

impl Default for Settings {
    fn default() -> Self {
        let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect();
        Self {
            port: limits::MOCK_PORT,
            host: "127.0.0.1".to_owned(),
            admin_port: limits::ADMIN_PORT,
            admin_host: "127.0.0.1".to_owned(),
            admin_token: None,
            upstream: None,
            upstreams: Vec::new(),
            mocks: Vec::new(),
            upstream_ca: None,
            upstream_insecure: false,
            record: None,
            record_session: None,
            demo: false,
            cors_origin: None,
            max_connections: limits::MAX_CONNECTIONS,
            max_head_bytes: limits::MAX_HEAD_BYTES,
            head_timeout_ms: limits::HEAD_TIMEOUT_MS,
            idle_timeout_ms: limits::IDLE_TIMEOUT_MS,
            connect_timeout_ms: limits::CONNECT_TIMEOUT_MS,
            max_message_bytes: limits::MAX_MESSAGE_BYTES,
            max_event_bytes: limits::MAX_EVENT_BYTES,
            max_request_body_bytes: limits::MAX_REQUEST_BODY_BYTES,
            stall_timeout_ms: limits::STALL_TIMEOUT_MS,
            max_queued_messages: limits::MAX_QUEUED_MESSAGES,
            max_pending_replays: limits::MAX_PENDING_REPLAYS,
            log_level: "info".to_owned(),
            log_format: Format::Text,
            data_dir: None,
            max_bytes: limits::MAX_STORE_BYTES,
            warn_percent: limits::WARN_PERCENT,
            filter_headers: words(&["Authorization", "Proxy-Authorization", "Cookie", "Set-Cookie", "X-API-Key", "X-Auth-Token"]),
            filter_query: words(&["access_token", "api_key", "apikey", "token", "key", "signature"]),
            filter_body_keys: Vec::new(),
            filter_patterns: Vec::new(),
            redact_value: "[REDACTED]".to_owned(),
        }
    }
}

/// The words of `logLevel`.
pub const LOG_LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

/// Every setting.
pub const SETTINGS: &[Setting] = &[
    Setting {
        key: "server.port",
        flag: Some("port"),
        env: "MOCKD_PORT",
        value_name: "PORT",
        help: "The mock port, which applications connect to; 0 picks a free one",
        slot: Slot::Port(|s| &mut s.port),
    },
    Setting {
        key: "server.host",
        flag: Some("host"),
        env: "MOCKD_HOST",
        value_name: "HOST",
        help: "The mock port's address; 0.0.0.0 opens it to the network",
        slot: Slot::Text(|s| &mut s.host),
    },
    Setting {
        key: "server.adminPort",
        flag: Some("admin-port"),
        env: "MOCKD_ADMIN_PORT",
        value_name: "PORT",
        help: "The admin port; 0 picks a free one",
        slot: Slot::Port(|s| &mut s.admin_port),
    },
    Setting {
        key: "server.adminHost",
        flag: Some("admin-host"),
        env: "MOCKD_ADMIN_HOST",
        value_name: "HOST",
        help: "The admin port's address; one that is not loopback needs an admin token",
        slot: Slot::Text(|s| &mut s.admin_host),
    },
    Setting {
        key: "server.adminToken",
        flag: Some("admin-token"),
        env: "MOCKD_ADMIN_TOKEN",
        value_name: "TOKEN",
        help: "The token that calls of the admin port must send; better given by its variable",
        slot: Slot::OptionalText(|s| &mut s.admin_token),
    },
    Setting {
        key: "server.upstream",
        flag: Some("upstream"),
        env: "MOCKD_UPSTREAM",
        value_name: "URL",
        help: "Where everything goes that no replay and no mock takes: a ws, wss, http or https URL",
        slot: Slot::Url(|s| &mut s.upstream),
    },
    Setting {
        key: "server.upstreamCa",
        flag: Some("upstream-ca"),
        env: "MOCKD_UPSTREAM_CA",
        value_name: "FILE",
        help: "Certificates (PEM) to trust upstreams by: of a private CA, or self-signed",
        slot: Slot::Path(|s| &mut s.upstream_ca),
    },
    Setting {
        key: "server.upstreamInsecure",
        flag: Some("upstream-insecure"),
        env: "MOCKD_UPSTREAM_INSECURE",
        value_name: "BOOL",
        help: "Trust any certificate of an upstream",
        slot: Slot::Switch(|s| &mut s.upstream_insecure),
    },
    Setting {
        key: "server.record",
        flag: Some("record"),
        env: "MOCKD_RECORD",
        value_name: "PATTERN",
        help: "Record every connection from the first on, or those whose path fits (/ws/*)",
        slot: Slot::Pattern(|s| &mut s.record),
    },
    Setting {
        key: "server.demo",
        flag: Some("demo"),
        env: "MOCKD_DEMO",
        value_name: "BOOL",
        help: "Add a built-in upstream: /ws/chat, /events, POST /v1/chat/completions",
        slot: Slot::Switch(|s| &mut s.demo),
    },
    Setting {
        key: "server.corsOrigin",
        flag: Some("cors-origin"),
        env: "MOCKD_CORS_ORIGIN",
        value_name: "ORIGIN",
        help: "The only origin that answers of replays and mocks allow; without it, any",
        slot: Slot::OptionalText(|s| &mut s.cors_origin),
    },
    Setting {
        key: "server.maxConnections",
        flag: Some("max-connections"),
        env: "MOCKD_MAX_CONNECTIONS",
        value_name: "N",
        help: "Connections on the mock port at once; the kernel's limits may lower it",
        slot: Slot::Number(|s| &mut s.max_connections, 1, 1_000_000),
    },
    Setting {
        key: "server.maxHeadBytes",
        flag: Some("max-head-bytes"),
        env: "MOCKD_MAX_HEAD_BYTES",
        value_name: "BYTES",
        help: "Size of a request head",
        slot: Slot::Bytes(|s| &mut s.max_head_bytes, 256, limits::MIB),
    },
    Setting {
        key: "server.headTimeout",
        flag: Some("head-timeout"),
        env: "MOCKD_HEAD_TIMEOUT",
        value_name: "MS",
        help: "Time for a request head to arrive, from its first byte, and for more of a body that mockd reads itself",
        slot: Slot::Millis(|s| &mut s.head_timeout_ms),
    },
    Setting {
        key: "server.idleTimeout",
        flag: Some("idle-timeout"),
        env: "MOCKD_IDLE_TIMEOUT",
        value_name: "MS",
        help: "Time that a kept-alive connection may wait for its next request",
        slot: Slot::Millis(|s| &mut s.idle_timeout_ms),
    },
    Setting {
        key: "server.connectTimeout",
        flag: Some("connect-timeout"),
        env: "MOCKD_CONNECT_TIMEOUT",
        value_name: "MS",
        help: "Time for an upstream to accept a connection, and to answer a WebSocket handshake",
        slot: Slot::Millis(|s| &mut s.connect_timeout_ms),
    },
    Setting {
        key: "server.maxMessageBytes",
        flag: Some("max-message-bytes"),
        env: "MOCKD_MAX_MESSAGE_BYTES",
        value_name: "BYTES",
        help: "Size of a WebSocket message",
        slot: Slot::Bytes(|s| &mut s.max_message_bytes, 1, 1024 * limits::MIB),
    },
    Setting {
        key: "server.maxEventBytes",
        flag: Some("max-event-bytes"),
        env: "MOCKD_MAX_EVENT_BYTES",
        value_name: "BYTES",
        help: "Size of an event of an event stream",
        slot: Slot::Bytes(|s| &mut s.max_event_bytes, 1, 1024 * limits::MIB),
    },
    Setting {
        key: "server.stallTimeout",
        flag: Some("stall-timeout"),
        env: "MOCKD_STALL_TIMEOUT",
        value_name: "MS",
        help: "Time that a client of a replay, a mock or the admin port, or a side of a relay whose other has gone, may take no byte",
        slot: Slot::Millis(|s| &mut s.stall_timeout_ms),
    },
    Setting {
        key: "server.maxQueuedMessages",
        flag: Some("max-queued-messages"),
        env: "MOCKD_MAX_QUEUED_MESSAGES",
        value_name: "N",
        help: "Client messages that wait in a replay session or a mock's scenario",
        slot: Slot::Number(|s| &mut s.max_queued_messages, 1, 1_000_000),
    },
    Setting {
        key: "server.maxPendingReplays",
        flag: Some("max-pending-replays"),
        env: "MOCKD_MAX_PENDING_REPLAYS",
        value_name: "N",
        help: "Replay sessions that wait for a client",
        slot: Slot::Number(|s| &mut s.max_pending_replays, 1, 1_000_000),
    },
    Setting {
        key: "server.logLevel",
        flag: Some("log-level"),
        env: "MOCKD_LOG_LEVEL",
        value_name: "LEVEL",
        help: "What is logged on stderr: off, error, warn, info, debug or trace",
        slot: Slot::Word(|s| &mut s.log_level, &LOG_LEVELS),
    },
    Setting {
        key: "server.logFormat",
        flag: Some("log-format"),
        env: "MOCKD_LOG_FORMAT",
        value_name: "FORMAT",
        help: "How log lines look: text or json",
        slot: Slot::LogFormat(|s| &mut s.log_format),
    },
    Setting {
        key: "recording.dataDir",
        flag: Some("data-dir"),
        env: "MOCKD_DATA_DIR",
        value_name: "DIR",
        help: "Where recordings are kept",
        slot: Slot::Path(|s| &mut s.data_dir),
    },
    Setting {
        key: "recording.maxBytes",
        flag: Some("max-bytes"),
        env: "MOCKD_MAX_BYTES",
        value_name: "BYTES",
        help: "Size of all recordings together, deleted ones that can be restored too",
        slot: Slot::Bytes(|s| &mut s.max_bytes, 1, u64::MAX),
    },
    Setting {
        key: "recording.warnPercent",
        flag: Some("warn-percent"),
        env: "MOCKD_WARN_PERCENT",
        value_name: "N",
        help: "Per cent of that size at which a warning is given",
        slot: Slot::Number(|s| &mut s.warn_percent, 1, 100),
    },
    Setting {
        key: "recording.filterHeaders",
        flag: None,
        env: "MOCKD_FILTER_HEADERS",
        value_name: "NAMES",
        help: "Header fields whose values are not recorded; this list replaces the default",
        slot: Slot::List(|s| &mut s.filter_headers),
    },
    Setting {
        key: "recording.filterQuery",
        flag: None,
        env: "MOCKD_FILTER_QUERY",
        value_name: "NAMES",
        help: "Query parameters whose values are not recorded; this list replaces the default",
        slot: Slot::List(|s| &mut s.filter_query),
    },
    Setting {
        key: "recording.filterBodyKeys",
        flag: None,
        env: "MOCKD_FILTER_BODY_KEYS",
        value_name: "KEYS",
        help: "Keys (at any depth) and JSONPaths ($.user.ssn) whose values are not recorded",
        slot: Slot::List(|s| &mut s.filter_body_keys),
    },
    Setting {
        key: "recording.filterPatterns",
        flag: None,
        env: "MOCKD_FILTER_PATTERNS",
        value_name: "REGEXES",
        help: "Regular expressions whose matches are not recorded, in any text",
        slot: Slot::List(|s| &mut s.filter_patterns),
    },
    Setting {
        key: "recording.redactValue",
        flag: None,
        env: "MOCKD_REDACT_VALUE",
        value_name: "TEXT",
        help: "What stands in a recording where something was left out",
        slot: Slot::AnyText(|s| &mut s.redact_value),
    },
    Setting {
        key: "recording.maxRequestBodyBytes",
        flag: Some("max-request-body-bytes"),
        env: "MOCKD_MAX_REQUEST_BODY_BYTES",
        value_name: "BYTES",
        help: "Size of a request body that a recording keeps; more is cut",
        slot: Slot::Bytes(|s| &mut s.max_request_body_bytes, 0, 1024 * limits::MIB),
    },
];

/// The setting of a flag, without its dashes.
pub fn by_flag(flag: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.flag == Some(flag))
}

impl Settings {
    /// The redaction that they ask for.
    pub fn redaction(&self) -> Redaction {
        Redaction {
            headers: self.filter_headers.clone(),
            query: self.filter_query.clone(),
            body_keys: self.filter_body_keys.clone(),
            patterns: self.filter_patterns.clone(),
            redact_value: self.redact_value.clone(),
        }
    }

    /// The keys of what is not the same in `other`, mocks aside.
    pub fn changes(&self, other: &Self) -> Vec<&'static str> {
        // A slot is a way to change a value; these are copies.
        let (mut one, mut two) = (Self { mocks: Vec::new(), ..self.clone() }, Self { mocks: Vec::new(), ..other.clone() });
        let mut keys: Vec<_> =
            SETTINGS.iter().filter(|setting| setting.value(&mut one) != setting.value(&mut two)).map(|setting| setting.key).collect();
        if one.upstreams != two.upstreams {
            keys.push("upstreams");
        }
        keys
    }

    /// Checks what no setting can say alone.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an admin port that is open to the network without a token, and for a token that no header field can carry.
    pub fn check(&self) -> Result<()> {
        if self.admin_token.is_none() && !is_loopback(&self.admin_host) {
            return Err(Error::invalid(
                "server.adminHost",
                format!(
                    "{:?} is no loopback address, so the admin port needs a token: set MOCKD_ADMIN_TOKEN or --admin-token",
                    self.admin_host
                ),
            ));
        }
        // RFC 6750 §2.1 allows less; what matters is that a client's field arrives as it is set here.
        if self.admin_token.as_ref().is_some_and(|token| !token.bytes().all(|b| b.is_ascii_graphic())) {
            let message = "a token has letters, digits and signs of ASCII only, no blanks: a header field must carry it";
            return Err(Error::invalid("server.adminToken", message));
        }
        Ok(())
    }
}

/// Whether only this machine can come to `host`.
fn is_loopback(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_has_its_names_once() {
        for (index, setting) in SETTINGS.iter().enumerate() {
            let variable: String = setting.field().chars().fold("MOCKD_".to_owned(), |mut name, c| {
                if c.is_ascii_uppercase() {
                    name.push('_');
                }
                name.push(c.to_ascii_uppercase());
                name
            });
            assert_eq!(setting.env, variable);
            assert!(["server", "recording"].contains(&setting.section()), "{}", setting.key);
            if let Some(flag) = setting.flag {
                assert_eq!(flag.replace('-', "_").to_uppercase(), variable["MOCKD_".len()..], "{}", setting.key);
            }
            assert!(!setting.help.is_empty() && !setting.help.ends_with('.'), "{}", setting.key);
            assert!(SETTINGS[..index].iter().all(|other| other.key != setting.key), "{}", setting.key);
        }
    }

    #[test]
    fn every_default_is_a_value_that_may_be_set() {
        for setting in SETTINGS {
            let value = setting.default_value();
            if !value.is_null() {
                let mut settings = Settings::default();
                setting.set_json(&mut settings, setting.key, &value, std::path::Path::new("")).unwrap();
                assert_eq!(settings, Settings::default(), "{}", setting.key);
            }
        }
    }

    #[test]
    fn wrong_values_are_told_what_is_allowed() {
        let error = |flag: &str, text: &str| {
            by_flag(flag).unwrap().set_text(&mut Settings::default(), &format!("--{flag}"), text).unwrap_err().to_string()
        };
        assert_eq!(error("port", "70000"), "--port: this must be a port from 0 to 65535, it is \"70000\"");
        assert_eq!(error("warn-percent", "0"), "--warn-percent: this must be a whole number from 1 to 100, it is \"0\"");
        assert_eq!(error("head-timeout", "1s"), "--head-timeout: this must be a number of milliseconds from 1 to 2678400000, it is \"1s\"");
        assert_eq!(
            error("log-level", "inof"),
            "--log-level: \"inof\" is none of off, error, warn, info, debug, trace (did you mean \"info\"?)"
        );
        assert_eq!(error("record", "ws"), "--record: \"ws\" must begin with \"/\"");
        assert_eq!(error("demo", "yes"), "--demo: this must be true or false, it is \"yes\"");
    }

    #[test]
    fn an_open_admin_port_needs_a_token() {
        for (host, token, fine) in [
            ("127.0.0.1", None, true),
            ("::1", None, true),
            ("[::1]", None, true),
            ("localhost", None, true),
            ("127.8.8.8", None, true),
            ("0.0.0.0", None, false),
            ("example.org", None, false),
            ("0.0.0.0", Some("secret"), true),
            ("127.0.0.1", Some("a/b+c=~.-_"), true),
            ("127.0.0.1", Some("two words"), false),
            ("127.0.0.1", Some("pässword"), false),
            ("127.0.0.1", Some("a\r\nb"), false),
            ("127.0.0.1", Some(" "), false),
        ] {
            let settings = Settings { admin_host: host.to_owned(), admin_token: token.map(str::to_owned), ..Settings::default() };
            assert_eq!(settings.check().is_ok(), fine, "{host}");
        }
    }
}
