//! The one error type: what failed, on which thing, what to do; with its code, HTTP status and exit code beside it.
//! It never holds a secret: what it quotes has been shortened and cleaned by the one who made it.

use super::limits::{MAX_NAMED_IDS, MIN_ID_PREFIX};
use std::fmt;
use std::path::{Path, PathBuf};

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, in the words that a person or a test reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// The command line was wrong: exit code 2.
    Usage(String),
    /// A field, parameter or body was malformed: 400. `place` names it (`timingScale`, `mocks[2].path`), or is empty.
    Invalid {
        /// Where in the input.
        place: String,
        /// What is wrong and what is allowed.
        message: String,
    },
    /// A file that a person wrote (config, recording to import) is wrong.
    File {
        /// The file as the person named it.
        path: PathBuf,
        /// Where in the file, or empty.
        place: String,
        /// What is wrong and what is allowed.
        message: String,
    },
    /// Nothing of that kind has this id: 404.
    NotFound {
        /// `recording`, `replay`, `mock`.
        kind: &'static str,
        /// The id as it was asked for.
        id: String,
    },
    /// An id prefix fits several: 409.
    Ambiguous {
        /// The prefix.
        prefix: String,
        /// The full ids that it fits.
        candidates: Vec<String>,
    },
    /// The state forbids it: 409 with a code of its own.
    Conflict {
        /// `already_recording`, `not_recording`, `replay_ended`, …
        code: &'static str,
        /// The state and what to do.
        message: String,
    },
    /// No such path on a port: 404.
    NoRoute(String),
    /// The path exists, the method does not: 405 with `Allow`.
    MethodNotAllowed {
        /// The methods that exist, comma separated.
        allow: String,
    },
    /// No or a wrong token: 401.
    Unauthorized,
    /// Not from here: 403.
    Forbidden(String),
    /// A wait ran out: 408.
    TimedOut(String),
    /// Larger than its limit: 413.
    TooLarge {
        /// What was too large.
        what: &'static str,
        /// The limit in bytes.
        limit: u64,
    },
    /// A count is at its limit: 429.
    TooMany(String),
    /// The store is at `maxBytes`, or the disk is full: 507 `storage_full`.
    StorageFull(String),
    /// The data directory cannot be used: 500 `storage_error`; the message names the flag that moves it.
    Storage {
        /// What was tried: `create`, `write`, `rename`.
        action: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        message: String,
    },
    /// The upstream could not be reached or trusted: 502.
    BadGateway(String),
    /// The upstream did not answer in time: 504.
    GatewayTimeout(String),
    /// The server that a command asked could not be reached: exit code 1.
    Unreachable(String),
    /// The server answered a command with an error of its own.
    Server {
        /// Its HTTP status.
        status: u16,
        /// Its `error` code.
        code: String,
        /// Its `message`.
        message: String,
    },
    /// Anything else that a person must read: exit code 1, status 500.
    Failed(String),
    /// A client was not what its recording says: exit code 3.
    Unfaithful(String),
    /// The command behind `--` could not be started: exit code 126 or 127, as shells have it.
    NotStarted {
        /// 127 where there is no such command, 126 where it cannot be run.
        exit_code: u8,
        /// Which, and why.
        message: String,
    },
}

impl Error {
    /// An [`Error::Invalid`] at a place.
    pub fn invalid(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Invalid { place: place.into(), message: message.into() }
    }

    /// An [`Error::Conflict`].
    pub fn conflict(code: &'static str, message: impl Into<String>) -> Self {
        Self::Conflict { code, message: message.into() }
    }

    /// An [`Error::File`].
    pub fn file(path: impl Into<PathBuf>, place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::File { path: path.into(), place: place.into(), message: message.into() }
    }

    /// What a failed file operation on `path` means: a full disk is [`Error::StorageFull`], the rest [`Error::Storage`].
    pub fn storage(action: &'static str, path: &Path, source: &std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, StorageFull};
        if matches!(source.kind(), StorageFull | QuotaExceeded) {
            return Self::StorageFull(format!("the disk below {} is full: {source}; free some space", path.display()));
        }
        Self::Storage { action, path: path.into(), message: source.to_string() }
    }

    /// The word in an API answer's `error`.
    pub fn code(&self) -> &str {
        match self {
            Self::Usage(_) | Self::Invalid { .. } | Self::File { .. } => "bad_request",
            Self::NotFound { .. } | Self::NoRoute(_) => "not_found",
            Self::Ambiguous { .. } => "ambiguous_id",
            Self::Conflict { code, .. } => code,
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden(_) => "forbidden",
            Self::TimedOut(_) => "timeout",
            Self::TooLarge { .. } => "too_large",
            Self::TooMany(_) => "too_many",
            Self::StorageFull(_) => "storage_full",
            Self::Storage { .. } => "storage_error",
            Self::BadGateway(_) => "bad_gateway",
            Self::GatewayTimeout(_) => "gateway_timeout",
            Self::Server { code, .. } => code,
            Self::Unreachable(_) | Self::Failed(_) | Self::Unfaithful(_) | Self::NotStarted { .. } => "internal_error",
        }
    }

    /// The HTTP status of an answer that carries this error.
    pub fn status(&self) -> u16 {
        match self {
            Self::Usage(_) | Self::Invalid { .. } | Self::File { .. } => 400,
            Self::Unauthorized => 401,
            Self::Forbidden(_) => 403,
            Self::NotFound { .. } | Self::NoRoute(_) => 404,
            Self::MethodNotAllowed { .. } => 405,
            Self::TimedOut(_) => 408,
            Self::Ambiguous { .. } | Self::Conflict { .. } => 409,
            Self::TooLarge { .. } => 413,
            Self::TooMany(_) => 429,
            Self::StorageFull(_) => 507,
            Self::BadGateway(_) => 502,
            Self::GatewayTimeout(_) => 504,
            Self::Server { status, .. } => *status,
            Self::Storage { .. } | Self::Unreachable(_) | Self::Failed(_) | Self::Unfaithful(_) | Self::NotStarted { .. } => 500,
        }
    }

    /// The exit code of a command that ends with this error.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Unfaithful(_) => 3,
            Self::NotStarted { exit_code, .. } => *exit_code,
            _ => 1,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage(message)
            | Self::NoRoute(message)
            | Self::Forbidden(message)
            | Self::TimedOut(message)
            | Self::TooMany(message)
            | Self::StorageFull(message)
            | Self::BadGateway(message)
            | Self::GatewayTimeout(message)
            | Self::Unreachable(message)
            | Self::Failed(message)
            | Self::Unfaithful(message)
            | Self::NotStarted { message, .. }
            | Self::Conflict { message, .. }
            | Self::Server { message, .. } => f.write_str(message),
            Self::Invalid { place, message } if place.is_empty() => f.write_str(message),
            Self::Invalid { place, message } => write!(f, "{place}: {message}"),
            Self::File { path, place, message } if place.is_empty() => write!(f, "{}: {message}", path.display()),
            Self::File { path, place, message } => write!(f, "{}: {place}: {message}", path.display()),
            Self::NotFound { kind, id } if id.len() < MIN_ID_PREFIX => {
                write!(f, "{id:?} means no {kind}: give at least {MIN_ID_PREFIX} characters of its id; {} lists them", list_call(kind))
            }
            Self::NotFound { kind, id } => write!(f, "no {kind} has the id {id:?}; {} lists them", list_call(kind)),
            Self::Ambiguous { prefix, candidates } => {
                let named = &candidates[..candidates.len().min(MAX_NAMED_IDS)];
                write!(f, "{prefix:?} fits {} ids, give more of it: {}", candidates.len(), named.join(", "))?;
                match candidates.len() - named.len() {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
            Self::MethodNotAllowed { allow } => write!(f, "this path takes {allow}"),
            Self::Unauthorized => f.write_str(
                "this server needs its admin token: send `Authorization: Bearer <token>`, or set MOCKD_ADMIN_TOKEN for the command line",
            ),
            Self::TooLarge { what, limit } => write!(f, "the {what} is larger than its limit of {limit} bytes"),
            Self::Storage { action, path, message } => {
                write!(f, "cannot {action} {}: {message}; choose another place with --data-dir or MOCKD_DATA_DIR", path.display())
            }
        }
    }
}

impl std::error::Error for Error {}

/// The call that lists what there is of a kind.
fn list_call(kind: &str) -> &'static str {
    match kind {
        "replay" => "`mockd replay list` or GET /replay?all=true",
        "mock" => "GET /mocks",
        _ => "`mockd stream-recordings list` or GET /stream-recordings",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ambiguous_id_names_some_of_many_candidates() {
        let words = |count: usize| {
            let candidates = (0..count).map(|number| format!("01HXYZ{number:02}")).collect();
            Error::Ambiguous { prefix: "01HXYZ".to_owned(), candidates }.to_string()
        };
        assert_eq!(words(2), "\"01HXYZ\" fits 2 ids, give more of it: 01HXYZ00, 01HXYZ01");
        assert!(words(10).ends_with(", 01HXYZ08, 01HXYZ09"), "{}", words(10));
        assert!(words(11).ends_with(", 01HXYZ08, 01HXYZ09 and 1 more"), "{}", words(11));
        assert!(words(2_000).starts_with("\"01HXYZ\" fits 2000 ids, ") && words(2_000).ends_with(", 01HXYZ09 and 1990 more"));
    }
}
