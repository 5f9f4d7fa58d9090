//! Floor 4: the only place that touches recordings on disk: files, journals, index, lock, quota, recovery.
//!
//! It relies on the recording's text in `model` and on the file system. It knows no socket and no session, and starts no thread;
//! a server and any number of commands may work on one directory at the same time.

pub mod journal;
pub mod reader;
pub mod store;

pub use journal::Journal;
pub use reader::RecordingFile;
pub use store::Store;
