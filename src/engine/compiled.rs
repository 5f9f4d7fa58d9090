//! A recording as replays share it, and where it is read from. Who keeps it, and for how long, is the registries' matter.

use std::path::PathBuf;
use std::sync::Arc;

use crate::base::error::{Error, Result};
use crate::model::recording::{Head, SseRequest, StreamHead};
use crate::model::recording_check::check_status;
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
    /// Its file cannot be read, or what stands in it cannot be parsed; `corrupted` where no client could read its response.
    pub fn read(file: &RecordingFile) -> Result<Self> {
        check_status(&file.head).map_err(|error| {
            let id = &file.head.id;
            Error::conflict("corrupted", format!("the recording {id} can't be replayed: {error}; mend the file, or delete the recording"))
        })?;
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
    store.check_ended(id, "replay")
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
