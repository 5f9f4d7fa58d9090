//! Every setting, defined once: key, flag, variable, range, default, words for people. The config reader, the command line, the
//! environment and `--help` are made from [`SETTINGS`].

use std::path::PathBuf;

use crate::base::limits;
use crate::base::log::Format;

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
    /// A private CA's certificates, PEM.
    pub upstream_ca: Option<PathBuf>,
    /// Skip the verification of upstreams.
    pub upstream_insecure: bool,
    /// Record what matches this path or pattern, from the first request on (`/*`: everything).
    pub record: Option<String>,
    /// Add the built-in upstream.
    pub demo: bool,
    /// The only origin that what mockd itself answers on the mock port allows.
    pub cors_origin: Option<String>,
    /// Connections on the mock port.
    pub max_connections: u64,
    /// Bytes of a request head.
    pub max_head_bytes: u64,
    /// Milliseconds for a head, from its first byte.
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
    /// Milliseconds that a replay or mock client may take no byte.
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
            upstream_ca: None,
            upstream_insecure: false,
            record: None,
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
