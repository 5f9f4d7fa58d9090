//! Bodies and answers of `/stream-recordings`; the replay calls' words stand in `replay.rs`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::fields::Fields;
use super::recording::{Head, Protocol, Status, Tail};
use crate::base::error::{Error, Result};

/// One recording in a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// The ULID.
    pub id: String,
    /// The name.
    pub name: String,
    /// Free text, or null.
    pub description: Option<String>,
    /// Free words.
    pub tags: Vec<String>,
    /// The protocol; null where the file can't be parsed.
    pub protocol: Option<Protocol>,
    /// The recorded path.
    pub path: String,
    /// How it stands.
    pub status: Status,
    /// Why it is incomplete or corrupted, or null.
    pub status_reason: Option<String>,
    /// RFC 3339.
    pub start_time: String,
    /// RFC 3339, or null.
    pub end_time: Option<String>,
    /// Milliseconds, or null.
    pub duration: Option<u64>,
    /// As in `stats`.
    pub frame_count: u64,
    /// The file's size.
    pub file_size_bytes: u64,
    /// The recording session that it belongs to, or null.
    pub session_id: Option<String>,
    /// Whether it is soft-deleted.
    pub deleted: bool,
}

impl Summary {
    /// The summary of a recording whose file has `file_size_bytes`.
    pub fn of(head: &Head, tail: &Tail, file_size_bytes: u64, deleted: bool) -> Self {
        Self {
            id: head.id.clone(),
            name: head.name.clone(),
            description: head.description.clone(),
            tags: head.tags.clone(),
            protocol: Some(head.protocol()),
            path: head.metadata.path.clone(),
            status: tail.status,
            status_reason: tail.status_reason.clone(),
            start_time: head.start_time.clone(),
            end_time: tail.end_time.clone(),
            duration: tail.duration,
            frame_count: tail.stats.frame_count,
            file_size_bytes,
            session_id: head.metadata.session_id.clone(),
            deleted,
        }
    }
}

/// What a list is sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SortBy {
    /// `startTime`.
    #[default]
    StartTime,
    /// `name`.
    Name,
    /// `size`.
    Size,
    /// `duration`.
    Duration,
}

/// The filters, order and page of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListQuery {
    /// Only this protocol.
    pub protocol: Option<Protocol>,
    /// Only this path, or what a pattern (`/ws/*`) matches.
    pub path: Option<String>,
    /// Only this status.
    pub status: Option<Status>,
    /// Only this name.
    pub name: Option<String>,
    /// Only with this tag.
    pub tag: Option<String>,
    /// Soft-deleted ones too.
    pub include_deleted: bool,
    /// The order.
    pub sort_by: SortBy,
    /// Ascending; newest (largest) first otherwise.
    pub ascending: bool,
    /// At most so many; `None`: all.
    pub limit: Option<u64>,
    /// After so many.
    pub offset: u64,
}

impl ListQuery {
    /// Every parameter that [`ListQuery::from_parameters`] takes.
    pub const PARAMETERS: [&'static str; 10] =
        ["protocol", "path", "status", "name", "tag", "includeDeleted", "sortBy", "sortOrder", "limit", "offset"];

    /// Reads query parameters, already decoded.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names the parameter, its value and what is allowed.
    pub fn from_parameters<'a>(parameters: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Self> {
        let mut query = Self::default();
        for (name, value) in parameters {
            let wrong = |allowed: &str| Error::invalid(name, format!("{value:?} is not {allowed}"));
            match name {
                "protocol" => query.protocol = Some(Protocol::from_word(value).ok_or_else(|| wrong("one of websocket, sse"))?),
                "path" => query.path = Some(value.to_owned()),
                "status" => {
                    let status = Status::from_word(value);
                    query.status = Some(status.ok_or_else(|| wrong("one of recording, complete, incomplete, corrupted"))?);
                }
                "name" => query.name = Some(value.to_owned()),
                "tag" => query.tag = Some(value.to_owned()),
                "includeDeleted" => query.include_deleted = boolean(value).ok_or_else(|| wrong("true or false"))?,
                "sortBy" => {
                    query.sort_by = match value {
                        "startTime" => SortBy::StartTime,
                        "name" => SortBy::Name,
                        "size" => SortBy::Size,
                        "duration" => SortBy::Duration,
                        _ => return Err(wrong("one of startTime, name, size, duration")),
                    }
                }
                "sortOrder" => {
                    query.ascending = match value {
                        "asc" => true,
                        "desc" => false,
                        _ => return Err(wrong("one of asc, desc")),
                    }
                }
                "limit" => {
                    let limit = value.parse().ok().filter(|limit| *limit >= 1);
                    query.limit = Some(limit.ok_or_else(|| wrong("a whole number of at least 1"))?);
                }
                "offset" => query.offset = value.parse().map_err(|_| wrong("a whole number of at least 0"))?,
                _ => {
                    let hint = crate::base::text::did_you_mean(name, Self::PARAMETERS);
                    return Err(Error::invalid(name, format!("there is no such parameter{hint}; known: {}", Self::PARAMETERS.join(", "))));
                }
            }
        }
        Ok(query)
    }
}

/// The truth of a query parameter: `true`, `1` or nothing at all, `false` or `0`.
pub fn boolean(value: &str) -> Option<bool> {
    match value {
        "true" | "1" | "" => Some(true),
        "false" | "0" => Some(false),
        _ => None,
    }
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListPage {
    /// The recordings of the page.
    pub recordings: Vec<Summary>,
    /// How many the filters leave, before paging.
    pub total: u64,
    /// As asked; null for all.
    pub limit: Option<u64>,
    /// As asked.
    pub offset: u64,
}

/// `GET /stream-recordings/stats`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct StoreStats {
    /// Bytes of all files, journals and soft-deleted ones too.
    pub used_bytes: u64,
    /// The limit.
    pub max_bytes: u64,
    /// `usedBytes` of `maxBytes`, one decimal.
    pub used_percent: f64,
    /// Set from `warnPercent` on.
    pub warning: Option<String>,
    /// Recordings that are not deleted.
    pub recording_count: u64,
    /// Of these, WebSocket.
    pub websocket_count: u64,
    /// Of these, event streams.
    pub sse_count: u64,
    /// Soft-deleted ones.
    pub deleted_count: u64,
    /// Their bytes.
    pub deleted_bytes: u64,
    /// The first start time.
    pub oldest: Option<String>,
    /// The last start time.
    pub newest: Option<String>,
}

/// `POST /stream-recordings/vacuum`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Vacuumed {
    /// How many were removed.
    pub removed: u64,
    /// Their bytes.
    pub freed_bytes: u64,
}

/// `PATCH /stream-recordings/{id}`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Edit {
    /// A new name.
    pub name: Option<String>,
    /// A new description; the empty one removes it.
    pub description: Option<String>,
    /// New tags.
    pub tags: Option<Vec<String>>,
}

impl Edit {
    /// Reads the body.
    ///
    /// # Errors
    /// [`Error::Invalid`] for unknown fields, wrong types, an empty name.
    pub fn from_json(body: &Value) -> Result<Self> {
        let mut fields = Fields::of(body, "")?;
        let edit = Self { name: fields.string("name")?, description: fields.string("description")?, tags: fields.strings("tags")? };
        fields.finish()?;
        if edit.name.as_deref() == Some("") {
            return Err(Error::invalid("name", "a name has at least one character"));
        }
        Ok(edit)
    }
}

/// The body of `POST /stream-recordings/start`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartRequest {
    /// What to record.
    pub protocol: Protocol,
    /// Where: a path or a pattern.
    pub path: String,
    /// The name of the recordings.
    pub name: Option<String>,
    /// Their description.
    pub description: Option<String>,
    /// Their tags.
    pub tags: Vec<String>,
    /// An upstream for this path while the session is open.
    pub upstream: Option<String>,
    /// Milliseconds after which a recording ends.
    pub max_duration_ms: Option<u64>,
    /// Frames after which a recording ends.
    pub max_frames: Option<u64>,
}

impl StartRequest {
    /// Reads the body. The upstream URL is checked by the one who uses it.
    ///
    /// # Errors
    /// [`Error::Invalid`] that names field, value and what is allowed.
    pub fn from_json(body: &Value) -> Result<Self> {
        let mut fields = Fields::of(body, "")?;
        let protocol = fields.word("protocol", &Protocol::WORDS)?;
        let path = fields.required_string("path");
        let request = Self {
            protocol: protocol
                .and_then(Protocol::from_word)
                .ok_or_else(|| Error::invalid("protocol", "this field must be given: websocket or sse"))?,
            path: path?,
            name: fields.string("name")?.filter(|name| !name.is_empty()),
            description: fields.string("description")?,
            tags: fields.strings("tags")?.unwrap_or_default(),
            upstream: fields.string("upstream")?,
            max_duration_ms: fields.integer("maxDuration", 1..=u64::MAX)?,
            max_frames: fields.integer("maxFrames", 1..=u64::MAX)?,
        };
        fields.finish()?;
        check_path("path", &request.path)?;
        Ok(request)
    }
}

/// Checks a path or pattern: it begins with `/`, has no query, and a `*` only at its end.
///
/// # Errors
/// [`Error::Invalid`] at `place`.
pub fn check_path(place: &str, path: &str) -> Result<()> {
    let shown = || crate::base::text::clean(&crate::base::text::shorten(path, 64)).into_owned();
    if !path.starts_with('/') {
        return Err(Error::invalid(place, format!("{:?} must begin with \"/\"", shown())));
    }
    if path.contains(['?', '#']) || path.chars().any(|c| c.is_control() || c == ' ') {
        return Err(Error::invalid(place, format!("{:?} must be a path alone, without query, fragment or blanks", shown())));
    }
    if path.strip_suffix('*').unwrap_or(path).contains('*') {
        return Err(Error::invalid(place, format!("{:?} may have a \"*\" at its end only", shown())));
    }
    Ok(())
}

/// The answer of `POST /stream-recordings/start`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Started {
    /// The session's ULID, which its first recording has too.
    pub id: String,
    /// The same.
    pub session_id: String,
    /// The same.
    pub recording_id: String,
    /// What it records.
    pub protocol: Protocol,
    /// Where.
    pub path: String,
    /// The name of its recordings.
    pub name: String,
    /// `recording`.
    pub status: Status,
    /// Set where nothing would serve that path, or the store is nearly full.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warning: Option<String>,
}

/// The answer of `POST /stream-recordings/{id}/stop`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Stopped {
    /// The session's first recording.
    pub recording: Summary,
    /// All its recordings.
    pub recordings: Vec<Summary>,
}

/// The answer of `POST /stream-recordings/import`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Imported {
    /// The recordings that were made.
    pub recordings: Vec<Summary>,
    /// What of the file is in none of them, in words.
    pub left_out: Vec<String>,
}

/// One open session of `GET /stream-recordings/sessions`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SessionView {
    /// The session's ULID.
    pub id: String,
    /// What it records.
    pub protocol: Protocol,
    /// Where.
    pub path: String,
    /// The name of its recordings.
    pub name: String,
    /// RFC 3339: when it was opened.
    pub start_time: String,
    /// Connections being recorded now.
    pub connections: u64,
    /// Frames recorded so far, all its recordings together.
    pub frames: u64,
    /// The ids of its recordings.
    pub recordings: Vec<String>,
}
