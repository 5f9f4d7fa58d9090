//! A recording as replays share it, and where it is read from. Who keeps it, and for how long, is the registries' matter.

use std::path::PathBuf;
use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::model::recording::{Head, SseRequest, Status, StreamHead};
use crate::rules::redact::Redactor;
use crate::rules::script::{Script, ScriptBuilder};
use crate::store::{RecordingFile, Store};

/// A recording compiled for replay, shared by all its sessions.
#[derive(Debug)]
pub struct Compiled {
    /// What the recording begins with.
    pub head: Head,
    /// What its server sends.
    pub script: Arc<Script>,
    /// The redaction that was in force when it was made.
    pub redactor: Option<Arc<Redactor>>,
}

impl Compiled {
    /// Reads a recording to its end.
    ///
    /// # Errors
    /// Its file cannot be read, or what stands in it cannot be parsed.
    pub fn read(file: &RecordingFile) -> Result<Self> {
        let mut builder = ScriptBuilder::new(&file.head);
        for frame in file.frames()? {
            builder.push(&frame?)?;
        }
        let rules = file.head.metadata.redaction.as_ref();
        Ok(Self {
            head: file.head.clone(),
            script: Arc::new(builder.finish(&file.tail)),
            redactor: rules.map(Redactor::new).transpose()?.map(Arc::new),
        })
    }

    /// The request of an event stream.
    pub fn request(&self) -> Option<&SseRequest> {
        request_of(&self.head)
    }
}

/// The request of an event stream's recording.
pub fn request_of(head: &Head) -> Option<&SseRequest> {
    match &head.stream {
        StreamHead::Sse { request, .. } => Some(request),
        StreamHead::WebSocket { .. } => None,
    }
}

/// Checks that a recording of the store can be replayed.
///
/// # Errors
/// Not found (soft-deleted too), `still_recording`, `corrupted`.
pub fn check_replayable(store: &Store, id: &str) -> Result<()> {
    let summary = store.summary(id)?;
    if summary.deleted {
        return Err(Error::NotFound { kind: "recording", id: id.to_owned() });
    }
    match summary.status {
        Status::Recording => Err(Error::conflict("still_recording", format!("{id} is still being recorded; stop it, then replay it"))),
        Status::Corrupted => {
            let why = summary.status_reason.unwrap_or_default();
            Err(Error::conflict("corrupted", format!("{id} can't be replayed, its file can't be parsed: {why}")))
        }
        Status::Complete | Status::Incomplete => Ok(()),
    }
}

/// Where a recording is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// In the store, by its full id.
    Stored(String),
    /// In a file of its own.
    File(PathBuf),
}

impl Origin {
    /// Opens it.
    ///
    /// # Errors
    /// As [`check_replayable`]; the file is not there or is no recording.
    pub fn open(&self, store: &Store) -> Result<RecordingFile> {
        match self {
            Self::Stored(id) => {
                check_replayable(store, id)?;
                store.open(id)
            }
            Self::File(path) => RecordingFile::open_path(path),
        }
    }
}
