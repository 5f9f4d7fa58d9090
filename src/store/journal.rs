//! A recording while it is written. (skeleton)

use crate::base::error::Result;
use crate::model::api::Summary;
use crate::model::recording::Tail;

/// The open journal of one recording. It holds the file's lock as long as it lives; dropped without `finish` it stays as a crash leaves it.
#[derive(Debug)]
pub struct Journal {}

impl Journal {
    /// Appends whole frame lines (made by `recording_text::push_frame_line`) with one write. Counts towards the store's quota.
    ///
    /// # Errors
    /// `Error::StorageFull` at the limit or on a full disk (what was written of the lines is cut off again), `Error::Storage`.
    pub fn append(&mut self, _lines: &[u8]) -> Result<()> { todo!() }
    /// Bytes so far.
    pub fn len(&self) -> u64 { todo!() }
    /// Appends the tail, fsyncs, renames `rec_<id>.journal` to `rec_<id>.json`, syncs the directory, updates the index. The quota does not stop a tail.
    pub fn finish(self, _tail: &Tail) -> Result<Summary> { todo!() }
}
