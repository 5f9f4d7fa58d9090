//! How late frames went out, as a histogram of bounded size: exact below 128 µs, within 1.6% above.

use crate::model::replay::Lateness;

const LINEAR: u64 = 128;
const PER_OCTAVE: u64 = 64;
/// 2^7 µs to 2^32 µs, over an hour.
const BUCKETS: usize = (LINEAR + PER_OCTAVE * 25) as usize;

/// Counts of lateness.
#[derive(Debug, Default)]
pub struct Histogram {
    /// Up to the bucket of the latest frame: all of them would be 7 KiB of every session, of which most are never later than a millisecond.
    counts: Vec<u32>,
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
        let at = bucket(us);
        if at >= self.counts.len() {
            // Not twice what it was, as `resize` alone would have it.
            self.counts.reserve_exact(at + 1 - self.counts.len());
            self.counts.resize(at + 1, 0);
        }
        self.counts[at] += 1;
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
            let at = self.counts.iter().position(|count| {
                seen += u64::from(*count);
                seen >= rank
            });
            at.map(|at| upper_us(at).min(self.max_us))
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
    fn a_histogram_is_no_larger_than_its_latest_frame_asks_for() {
        let mut histogram = Histogram::default();
        for us in [3, 900, 40, 900, 100_000, u64::MAX, 7] {
            histogram.add(us);
            assert!(histogram.counts.capacity() <= bucket(histogram.max_us) + 1, "{us}");
        }
        assert_eq!(
            histogram.figures(),
            Lateness { p50_us: Some(upper_us(bucket(900))), p99_us: Some(upper_us(BUCKETS - 1)), max_us: Some(u64::MAX) }
        );
    }

    #[test]
    fn quantiles_are_those_of_the_values() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.figures(), Lateness::default());
        (1..=100).for_each(|us| histogram.add(us));
        assert_eq!(histogram.figures(), Lateness { p50_us: Some(50), p99_us: Some(99), max_us: Some(100) });
    }
}
