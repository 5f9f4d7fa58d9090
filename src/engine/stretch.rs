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
    /// When they came.
    pub stamp_us: Micros,
    /// How many they are.
    pub len: usize,
}

/// Reads in the order in which they were pushed, and the bytes of all of them. They are filled on a tape, taken by the recorder, and come
/// back empty to the next tape that has something. The memory that a burst has taken goes with them, and so does the count of the rounds
/// that did not need it: of places, each of which sees it now and then, none would find it idle.
#[derive(Debug, Default)]
pub struct Reads {
    /// The reads.
    pub entries: Vec<Entry>,
    /// Their bytes.
    pub bytes: Vec<u8>,
    need: Need,
}

impl Reads {
    /// Sees a round of the recorder; gives whether the memory has not been needed for long.
    pub fn see_round(&mut self) -> bool {
        let filled = self.bytes.len() + self.entries.len() * size_of::<Entry>();
        self.need.see_round(filled, self.capacity())
    }

    /// Bytes of memory, filled or not.
    pub fn capacity(&self) -> usize {
        self.bytes.capacity() + self.entries.capacity() * size_of::<Entry>()
    }

    fn clear(&mut self) {
        if self.need.is_over() {
            *self = Self::default();
        }
        self.entries.clear();
        self.bytes.clear();
    }
}

/// What the recorder takes off a tape in one round.
#[derive(Debug, Default)]
pub struct Stretch {
    /// The reads, in the order of their stamps, and their bytes, in the order in which they were pushed.
    pub reads: Reads,
    /// For each entry its place in the bytes.
    pub places: Vec<usize>,
    /// Room for the lines that are made of them; empty between two takes.
    pub text: Vec<u8>,
    /// Set when this is the last stretch.
    pub end: Option<(End, Micros)>,
    need: Need,
}

/// Bytes of memory that need no reason to be kept.
const SMALL_BYTES: usize = 64 * limits::KIB as usize;
/// Rounds of the recorder, two seconds, through which the memory of a burst is kept for the next one.
pub const KEPT_ROUNDS: u32 = 400;

/// Whether a buffer's memory is needed. A burst takes as long again where it must ask the system for each page anew; so what one has taken
/// is kept for a while, and not for ever.
#[derive(Debug, Default)]
struct Need {
    idle_rounds: u32,
}

impl Need {
    /// Sees how much of a buffer was filled in a round; gives whether it is to be given back.
    fn see_round(&mut self, filled: usize, capacity: usize) -> bool {
        self.idle_rounds = if capacity <= SMALL_BYTES || filled >= capacity / 4 { 0 } else { self.idle_rounds + 1 };
        self.is_over()
    }

    fn is_over(&self) -> bool {
        self.idle_rounds > KEPT_ROUNDS
    }
}

impl Stretch {
    /// Forgets what was taken last.
    pub fn clear(&mut self) {
        self.reads.clear();
        self.places.clear();
    }

    /// Finds each entry's place, in the order in which they were pushed.
    pub fn find_places(&mut self) {
        let mut end = 0;
        self.places.extend(self.reads.entries.iter().map(|entry| {
            end += entry.len;
            end - entry.len
        }));
    }

    /// Ends a round of the recorder, in which so many bytes were taken at most at once: the memory of a burst that is long over is given back.
    pub fn end_round(&mut self, filled: usize) {
        if self.reads.see_round() {
            self.reads = Reads::default();
        }
        // Lines are about as long as what they are made of.
        if self.need.see_round(filled, self.own_capacity()) {
            (self.places, self.text) = (Vec::new(), Vec::new());
        }
    }

    /// Whether it holds memory that a later [`Stretch::end_round`] may give back.
    pub fn is_large(&self) -> bool {
        self.reads.capacity().max(self.own_capacity()) > SMALL_BYTES
    }

    /// Bytes of the memory that goes to no tape.
    fn own_capacity(&self) -> usize {
        self.text.capacity() + self.places.capacity() * size_of::<usize>()
    }

    /// The entries from index `at` on that went one way and whose bytes stand together; no further ones from `enough` bytes on.
    pub fn run(&self, at: usize, enough: usize) -> Run<'_> {
        let (direction, start) = (self.reads.entries[at].direction, self.places[at]);
        let (mut count, mut end) = (0, start);
        for (entry, place) in self.reads.entries[at..].iter().zip(&self.places[at..]) {
            if entry.direction != direction || *place != end || (count > 0 && end - start >= enough) {
                break;
            }
            count += 1;
            end += entry.len;
        }
        Run { direction, entries: &self.reads.entries[at..at + count], bytes: &self.reads.bytes[start..end] }
    }

    /// Two directions push in the order in which their writes end, not in the order of their stamps. This puts them into that.
    pub fn sort_by_stamp(&mut self) {
        if self.reads.entries.is_sorted_by_key(|entry| entry.stamp_us) {
            return;
        }
        let mut order: Vec<usize> = (0..self.reads.entries.len()).collect();
        order.sort_by_key(|at| self.reads.entries[*at].stamp_us);
        self.places = order.iter().map(|at| self.places[*at]).collect();
        self.reads.entries = order.iter().map(|at| self.reads.entries[*at]).collect();
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
    /// When the byte before the place `end` came.
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
        let reads = Reads { entries, bytes: b"abcdefghijk".to_vec(), ..Reads::default() };
        let stretch = Stretch { reads, places: vec![0, 3, 5, 7, 6], ..Stretch::default() };
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
