//! The clock of pure mode: from recorded times to due times. It cuts silences, scales, stands still in a pause and begins rounds
//! anew. Every due time is computed from absolute times, never summed up from delays, so that nothing drifts.
//! It knows no frames; the player walks over those.

use crate::model::replay::ReplayOptions;

/// A loop of no length would spin; a round takes at least this many microseconds.
const MIN_ROUND_US: f64 = 1000.0;

/// How far the walk over recorded times has come, within one round.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Mark {
    /// The recorded time of the last item.
    last_us: u64,
    /// Microseconds cut out of the recording up to it.
    removed_us: u64,
    /// Whether there was an item.
    begun: bool,
}

impl Mark {
    /// As if the item recorded at `due_us` had gone out when the clock started.
    pub(super) fn just_after(due_us: u64) -> Self {
        Self { last_us: due_us, removed_us: due_us, begun: true }
    }
}

/// The clock itself.
#[derive(Debug)]
pub(super) struct Pace {
    scale: f64,
    skip_initial_delay: bool,
    max_gap_us: Option<u64>,
    start_us: u64,
    /// All pauses so far.
    paused_us: u64,
    paused_at_us: Option<u64>,
    /// When this round began: scaled microseconds after the start.
    round_us: f64,
}

impl Pace {
    pub(super) fn new(options: &ReplayOptions) -> Self {
        Self {
            scale: options.timing_scale,
            skip_initial_delay: options.skip_initial_delay,
            max_gap_us: options.max_gap_ms.map(|ms| ms.saturating_mul(1000)),
            start_us: 0,
            paused_us: 0,
            paused_at_us: None,
            round_us: 0.0,
        }
    }

    /// The clock starts.
    pub(super) fn start(&mut self, now_us: u64) {
        self.start_us = now_us;
    }

    /// The clock stands still from now on.
    pub(super) fn pause(&mut self, now_us: u64) {
        self.paused_at_us.get_or_insert(now_us);
    }

    /// It goes on where it stood.
    pub(super) fn resume(&mut self, now_us: u64) {
        if let Some(at_us) = self.paused_at_us.take() {
            self.paused_us = self.paused_us.saturating_add(now_us.saturating_sub(at_us));
        }
    }

    /// Whether it stands still.
    pub(super) fn is_paused(&self) -> bool {
        self.paused_at_us.is_some()
    }

    /// Whether times mean anything: at a scale of 0 everything is due at once.
    pub(super) fn is_timed(&self) -> bool {
        self.scale > 0.0
    }

    /// Whether no silence is cut but the first, or none matters: then [`Pace::due`] of any later item, by the mark of any item before it,
    /// is what a walk over all items between them would give, and grows with the recorded time.
    pub(super) fn is_straight(&self) -> bool {
        self.max_gap_us.is_none() || !self.is_timed()
    }

    /// When the item recorded at `recorded_us`, which follows `mark`, is due; and the mark after it.
    pub(super) fn due(&self, mark: &Mark, recorded_us: u64) -> (u64, Mark) {
        let (shifted_us, after) = self.shift(mark, recorded_us);
        (self.at(shifted_us), after)
    }

    /// When the response head is due, which is no item: not after the first item (recorded at `first_us`), and cut like its silence.
    pub(super) fn head_due(&self, head_us: u64, first_us: u64) -> u64 {
        let (first_us, _) = self.shift(&Mark::default(), first_us);
        let cut_us = self.max_gap_us.map_or(head_us, |max| head_us.min(max));
        self.at(cut_us.min(first_us))
    }

    /// When a round that ends at the recorded `end_us` is over.
    pub(super) fn round_end(&self, mark: &Mark, end_us: u64) -> u64 {
        self.add(self.round_us + self.round_len(mark, end_us))
    }

    /// Begins the round after it.
    pub(super) fn begin_round(&mut self, mark: &Mark, end_us: u64) {
        self.round_us += self.round_len(mark, end_us);
    }

    fn round_len(&self, mark: &Mark, end_us: u64) -> f64 {
        let (shifted_us, _) = self.shift(mark, end_us);
        (shifted_us as f64 * self.scale).max(MIN_ROUND_US)
    }

    fn shift(&self, mark: &Mark, recorded_us: u64) -> (u64, Mark) {
        let recorded_us = recorded_us.max(mark.last_us);
        let gap_us = recorded_us - mark.last_us;
        let cut_us = match self.max_gap_us {
            _ if self.skip_initial_delay && !mark.begun => gap_us,
            Some(max_us) => gap_us.saturating_sub(max_us),
            None => 0,
        };
        let removed_us = mark.removed_us + cut_us;
        (recorded_us - removed_us, Mark { last_us: recorded_us, removed_us, begun: true })
    }

    fn at(&self, shifted_us: u64) -> u64 {
        self.add(self.round_us + shifted_us as f64 * self.scale)
    }

    fn add(&self, scaled_us: f64) -> u64 {
        // A float beyond u64 saturates, which is as good as never.
        self.start_us.saturating_add(self.paused_us).saturating_add(scaled_us.round() as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dues(options: ReplayOptions, recorded_us: &[u64]) -> Vec<u64> {
        let mut pace = Pace::new(&options);
        pace.start(1000);
        let mut mark = Mark::default();
        recorded_us
            .iter()
            .map(|recorded_us| {
                let (due_us, after) = pace.due(&mark, *recorded_us);
                mark = after;
                due_us
            })
            .collect()
    }

    #[test]
    fn times_are_scaled_shifted_and_cut() {
        let plain = ReplayOptions::default();
        for (options, expected) in [
            (plain.clone(), [501_000, 501_333, 3_501_000]),
            // The trap: a scale of 0.5 is twice as fast, not half.
            (ReplayOptions { timing_scale: 0.5, ..plain.clone() }, [251_000, 251_167, 1_751_000]),
            (ReplayOptions { timing_scale: 2.0, ..plain.clone() }, [1_001_000, 1_001_666, 7_001_000]),
            (ReplayOptions { timing_scale: 0.0, ..plain.clone() }, [1000, 1000, 1000]),
            (ReplayOptions { skip_initial_delay: true, ..plain.clone() }, [1000, 1333, 3_001_000]),
            (ReplayOptions { max_gap_ms: Some(100), ..plain.clone() }, [101_000, 101_333, 201_333]),
            (ReplayOptions { max_gap_ms: Some(100), timing_scale: 2.0, ..plain.clone() }, [201_000, 201_666, 401_666]),
            (ReplayOptions { max_gap_ms: Some(100), skip_initial_delay: true, ..plain.clone() }, [1000, 1333, 101_333]),
            (ReplayOptions { max_gap_ms: Some(0), ..plain.clone() }, [1000, 1000, 1000]),
        ] {
            assert_eq!(dues(options.clone(), &[500_000, 500_333, 3_500_000]), expected, "{options:?}");
        }
    }

    #[test]
    fn nothing_drifts_and_nothing_overflows() {
        let recorded: Vec<u64> = (1..=100_000).map(|k| k * 333).collect();
        let scaled = dues(ReplayOptions { timing_scale: 0.1, ..ReplayOptions::default() }, &recorded);
        assert_eq!(scaled.last(), Some(&(1000 + 3_330_000)));
        assert_eq!(dues(ReplayOptions { timing_scale: 1e300, ..ReplayOptions::default() }, &[u64::MAX]), [u64::MAX]);
    }

    #[test]
    fn a_pause_shifts_all_that_follows() {
        let mut pace = Pace::new(&ReplayOptions::default());
        pace.start(0);
        pace.pause(100);
        pace.pause(150);
        assert!(pace.is_paused());
        pace.resume(300);
        pace.resume(400);
        assert_eq!(pace.due(&Mark::default(), 500).0, 700);
    }

    #[test]
    fn a_round_has_a_length() {
        let pace = Pace::new(&ReplayOptions { timing_scale: 0.0, ..ReplayOptions::default() });
        assert_eq!(pace.round_end(&Mark::default(), 0), 1000);
        let pace = Pace::new(&ReplayOptions::default());
        assert_eq!(pace.round_end(&Mark::just_after(2_000), 10_000), 8_000);
    }
}
