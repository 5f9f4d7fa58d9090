//! How late frames went out, as a histogram of bounded size: exact below 128 µs, within 1.6% above.

use crate::model::replay::Lateness;

const LINEAR: u64 = 128;
const PER_OCTAVE: u64 = 64;
/// 2^7 µs to 2^32 µs, over an hour.
const BUCKETS: usize = (LINEAR + PER_OCTAVE * 25) as usize;
const _: () = assert!(BUCKETS <= u16::MAX as usize);

/// Counts of lateness.
#[derive(Debug, Default)]
pub struct Histogram {
    /// The buckets that have counts, in order: a session has a few dozen of them, and room for all would be 7 KiB of every session.
    counts: Vec<(u16, u32)>,
    total: u64,
    max_us: u64,
}

fn bucket(us: u64) -> usize {
    if us < LINEAR {
        return us as usize;
    }
    let octave = u64::from(us.ilog2()) - 7;
    let within = (us >> (octave + 1)) - PER_OCTAVE;
    ((LINEAR + octave * PER_OCTAVE + within) as usize).min(BUCKETS - 1)
}

/// The largest value of a bucket.
fn upper_us(bucket: usize) -> u64 {
    let at = bucket as u64;
    if at < LINEAR {
        return at;
    }
    let (octave, within) = ((at - LINEAR) / PER_OCTAVE, (at - LINEAR) % PER_OCTAVE);
    ((PER_OCTAVE + within + 1) << (octave + 1)) - 1
}

impl Histogram {
    /// Counts one frame that went out `us` after it was due.
    pub fn add(&mut self, us: u64) {
        let at = bucket(us) as u16;
        match self.counts.binary_search_by_key(&at, |(bucket, _)| *bucket) {
            Ok(found) => self.counts[found].1 += 1,
            Err(place) => self.counts.insert(place, (at, 1)),
        }
        self.total += 1;
        self.max_us = self.max_us.max(us);
    }

    /// The figures of an answer.
    pub fn figures(&self) -> Lateness {
        if self.total == 0 {
            return Lateness::default();
        }
        let quantile = |per_cent: u64| {
            let rank = (self.total * per_cent).div_ceil(100).max(1);
            let mut seen = 0;
            let at = self.counts.iter().find(|(_, count)| {
                seen += u64::from(*count);
                seen >= rank
            });
            at.map(|(at, _)| upper_us(usize::from(*at)).min(self.max_us))
        };
        Lateness { p50_us: quantile(50), p99_us: quantile(99), max_us: Some(self.max_us) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_falls_into_a_bucket_that_covers_it() {
        let mut last = 0;
        for us in (0..5000).chain((13..32).flat_map(|bits| [(1 << bits) - 1, 1 << bits, (1 << bits) + 1])) {
            let at = bucket(us);
            assert!(upper_us(at) >= us && (at == 0 || upper_us(at - 1) < us), "{us}");
            assert!(at >= last, "{us}");
            last = at;
        }
        assert!(bucket(u64::MAX) < BUCKETS);
    }

    #[test]
    fn frames_count_in_whatever_order_they_are_late() {
        let mut histogram = Histogram::default();
        [900, 3, u64::MAX, 40, 900, 100_000, 7].into_iter().for_each(|us| histogram.add(us));
        assert_eq!(histogram.counts.iter().map(|(_, count)| *count).collect::<Vec<_>>(), [1, 1, 1, 2, 1, 1]);
        let (p50_us, p99_us) = (Some(upper_us(bucket(900))), Some(upper_us(BUCKETS - 1)));
        assert_eq!(histogram.figures(), Lateness { p50_us, p99_us, max_us: Some(u64::MAX) });
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.figures(), Lateness::default());
        (1..=100).for_each(|us| histogram.add(us));
        assert_eq!(histogram.figures(), Lateness { p50_us: Some(50), p99_us: Some(99), max_us: Some(100) });
    }
}
