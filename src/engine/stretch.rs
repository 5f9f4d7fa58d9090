//! What the recorder takes off a tape in one round: reads with their stamps, and the bytes of all of them. It is filled by its tape
//! (`tape.rs`), and knows no file and no frame.

use crate::base::limits;
use crate::base::time::Micros;
use crate::model::recording::Direction;

use super::tape::End;

/// The bytes of one read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Which way they went.
    pub direction: Direction,
    /// When they had been read.
    pub stamp_us: Micros,
    /// How many they are.
    pub len: usize,
}

/// What the recorder takes off a tape in one round.
#[derive(Debug, Default)]
pub struct Stretch {
    /// The reads, in the order of their stamps.
    pub entries: Vec<Entry>,
    /// For each entry its place in `bytes`.
    pub places: Vec<usize>,
    /// The bytes of all entries.
    pub bytes: Vec<u8>,
    /// Set when this is the last stretch.
    pub end: Option<(End, Micros)>,
    use_of_bytes: Use,
}

/// Bytes of memory that need no reason to be kept.
const SMALL_BYTES: usize = 64 * limits::KIB as usize;
/// Rounds of the recorder, two seconds, through which the memory of a burst is kept for the next one.
pub const KEPT_ROUNDS: u32 = 400;

/// Whether a buffer's memory is needed. A burst takes as long again where it must ask the system for each page anew; so what one has taken
/// is kept for a while, and not for ever.
#[derive(Debug, Default)]
pub struct Use {
    idle_rounds: u32,
}

impl Use {
    /// Sees how much of a buffer was filled in a round, and whether it is to be given back.
    pub fn is_over(&mut self, filled: usize, capacity: usize) -> bool {
        self.idle_rounds = if capacity <= SMALL_BYTES || filled >= capacity / 4 { 0 } else { self.idle_rounds + 1 };
        self.idle_rounds > KEPT_ROUNDS
    }
}

impl Stretch {
    /// Finds each entry's place, in the order in which they were pushed.
    pub fn find_places(&mut self) {
        let mut end = 0;
        self.places.extend(self.entries.iter().map(|entry| {
            end += entry.len;
            end - entry.len
        }));
    }

    /// Ends a round of the recorder: the memory of a burst that is long over is given back.
    pub fn end_round(&mut self, filled: usize) {
        if self.use_of_bytes.is_over(filled, self.bytes.capacity()) {
            *self = Self::default();
        }
    }

    /// Whether it holds memory that a later [`Stretch::end_round`] may give back.
    pub fn is_large(&self) -> bool {
        self.bytes.capacity() > SMALL_BYTES
    }

    /// The entries from index `at` on that went one way and whose bytes stand together; no further ones from `enough` bytes on.
    pub fn run(&self, at: usize, enough: usize) -> Run<'_> {
        let (direction, start) = (self.entries[at].direction, self.places[at]);
        let (mut count, mut end) = (0, start);
        for (entry, place) in self.entries[at..].iter().zip(&self.places[at..]) {
            if entry.direction != direction || *place != end || (count > 0 && end - start >= enough) {
                break;
            }
            count += 1;
            end += entry.len;
        }
        Run { direction, entries: &self.entries[at..at + count], bytes: &self.bytes[start..end] }
    }

    /// Two directions push in the order in which their writes end, not in the order of their stamps. This puts them into that.
    pub fn sort_by_stamp(&mut self) {
        if self.entries.is_sorted_by_key(|entry| entry.stamp_us) {
            return;
        }
        let mut order: Vec<usize> = (0..self.entries.len()).collect();
        order.sort_by_key(|at| self.entries[*at].stamp_us);
        self.places = order.iter().map(|at| self.places[*at]).collect();
        self.entries = order.iter().map(|at| self.entries[*at]).collect();
    }
}

/// Reads of one direction that followed each other.
#[derive(Debug, Clone, Copy)]
pub struct Run<'a> {
    /// Which way they went.
    pub direction: Direction,
    /// The reads, at least one.
    pub entries: &'a [Entry],
    /// The bytes of all of them.
    pub bytes: &'a [u8],
}

impl<'a> Run<'a> {
    /// What tells the stamps of its bytes.
    pub fn stamps(&self) -> Stamps<'a> {
        let (entry, rest) = self.entries.split_first().map_or((None, self.entries), |(entry, rest)| (Some(entry), rest));
        Stamps { rest, end: entry.map_or(0, |entry| entry.len), stamp_us: entry.map_or(0, |entry| entry.stamp_us) }
    }
}

/// The stamps of a run's bytes, asked for from the front to the back.
#[derive(Debug)]
pub struct Stamps<'a> {
    rest: &'a [Entry],
    /// Where the entry at hand ends.
    end: usize,
    stamp_us: Micros,
}

impl Stamps<'_> {
    /// When the byte before the place `end` had been read.
    pub fn of(&mut self, end: usize) -> Micros {
        while end > self.end
            && let Some((entry, rest)) = self.rest.split_first()
        {
            (self.rest, self.end, self.stamp_us) = (rest, self.end + entry.len, entry.stamp_us);
        }
        self.stamp_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Direction::{ClientToServer, ServerToClient};

    #[test]
    fn runs_are_of_one_direction_and_know_the_stamp_of_each_byte() {
        let entry = |direction, stamp_us, len| Entry { direction, stamp_us, len };
        let entries = vec![
            entry(ServerToClient, 10, 3),
            entry(ServerToClient, 20, 2),
            entry(ClientToServer, 30, 1),
            entry(ServerToClient, 40, 4),
            entry(ServerToClient, 50, 1),
        ];
        // The last two were pushed the other way round.
        let stretch = Stretch { entries, places: vec![0, 3, 5, 7, 6], bytes: b"abcdefghijk".to_vec(), ..Stretch::default() };
        let run = |at, enough| {
            let run = stretch.run(at, enough);
            (run.direction, run.entries.len(), String::from_utf8_lossy(run.bytes).into_owned())
        };
        assert_eq!(run(0, 100), (ServerToClient, 2, "abcde".into()));
        assert_eq!(run(0, 3), (ServerToClient, 1, "abc".into()));
        assert_eq!(run(1, 0), (ServerToClient, 1, "de".into()));
        assert_eq!(run(2, 100), (ClientToServer, 1, "f".into()));
        assert_eq!(run(3, 100), (ServerToClient, 1, "hijk".into()));
        assert_eq!(run(4, 100), (ServerToClient, 1, "g".into()));
        let mut stamps = stretch.run(0, 100).stamps();
        assert_eq!([1, 3, 4, 5].map(|end| stamps.of(end)), [10, 10, 20, 20]);
    }
}
