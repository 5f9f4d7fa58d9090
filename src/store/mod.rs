//! Floor 4: the only place that touches recordings on disk: files, journals, index, lock, quota, recovery.
//!
//! It relies on the recording's text in `model` and on the file system. It knows no socket and no session, and starts no
//! thread that outlives a call: a recovery of many journals shares them out among a few. A server and any number of commands may work on
//! one directory at the same time.

mod batch;
mod beside;
mod change;
mod files;
mod finished;
mod glance;
mod index;
mod index_file;
pub mod journal;
mod layout;
mod lines;
mod lock;
mod making;
mod query;
mod quota;
pub mod reader;
mod recovery;
mod rewrite;
mod scan;
// The floor's door has its name.
#[allow(clippy::module_inception)]
pub mod store;
mod summary;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

pub use batch::Batch;
pub use beside::Recovery;
pub use journal::Journal;
pub use layout::write_recording;
pub use reader::RecordingFile;
pub use store::Store;
