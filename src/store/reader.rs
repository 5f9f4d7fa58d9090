//! Reading a recording: head and tail without the frames, frames one by one, the whole text as a stream. (skeleton)

use crate::base::error::Result;
use crate::model::recording::{Frame, Head, Tail};

/// An opened recording. It reads the file that it opened, whatever happens to its name.
#[derive(Debug)]
pub struct RecordingFile {
    /// Its head.
    pub head: Head,
    /// Its tail; of a running one: status `recording`, the counts so far.
    pub tail: Tail,
    /// Whether it is soft-deleted.
    pub deleted: bool,
}

impl RecordingFile {
    /// The frames in order, read from disk as they are asked for. Of a running one: those so far.
    pub fn frames(&self) -> Result<Box<dyn Iterator<Item = Result<Frame>> + '_>> { todo!() }
    /// The frame lines from byte `from` of the journal on (0: the first), whole lines only, without leading commas: the lines and the position after them.
    /// For followers of a running recording; works as well after it has been finished.
    pub fn lines_from(&self, _from: u64) -> Result<(Vec<Vec<u8>>, u64)> { todo!() }
    /// Writes the recording as one JSON text, as the API and `show --json` give it: the file's own bytes where it has our layout
    /// (with `"deleted":true` after the status where it is); of a running one with the tail that it has now.
    pub fn write_to(&self, _out: &mut dyn std::io::Write) -> Result<()> { todo!() }
}
