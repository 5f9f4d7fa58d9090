//! The arithmetic of the bench: quantiles, medians, a hash of content that costs little. No clock, no process.

/// The value at or below which so many per cent of the values lie (nearest rank); 0 of no values.
pub fn quantile(values: &mut [u64], per_cent: u64) -> u64 {
    if values.is_empty() {
        return 0;
    }
    let rank = (values.len() as u64 * per_cent).div_ceil(100).max(1) as usize - 1;
    *values.select_nth_unstable(rank).1
}

/// The middle of some figures, the mean of two in the middle; 0 of none.
pub fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => (sorted[even / 2 - 1] + sorted[even / 2]) / 2.0,
    }
}

/// A hash of a stream of bytes, the same for any split of them. Four lanes of eight bytes, so that it keeps up with memory; it finds
/// bytes that are lost, doubled, moved or changed, and is no match for an enemy.
#[derive(Debug, Clone)]
pub struct Hash {
    lanes: [u64; 4],
    rest: [u8; 32],
    len: u64,
}

const PRIME: u64 = 0x9e37_79b9_7f4a_7c15;

impl Default for Hash {
    fn default() -> Self {
        Self { lanes: [1, 2, 3, 4], rest: [0; 32], len: 0 }
    }
}

impl Hash {
    /// Takes in what comes next.
    pub fn add(&mut self, mut bytes: &[u8]) {
        let kept = (self.len % 32) as usize;
        self.len += bytes.len() as u64;
        if kept > 0 {
            let taken = bytes.len().min(32 - kept);
            self.rest[kept..kept + taken].copy_from_slice(&bytes[..taken]);
            bytes = &bytes[taken..];
            if kept + taken < 32 {
                return;
            }
            let block = self.rest;
            mix(&mut self.lanes, &block);
        }
        let (blocks, rest) = bytes.as_chunks::<32>();
        let mut lanes = self.lanes;
        blocks.iter().for_each(|block| mix(&mut lanes, block));
        self.lanes = lanes;
        self.rest[..rest.len()].copy_from_slice(rest);
    }

    /// The hash of what came so far.
    pub fn value(&self) -> u64 {
        let mut lanes = self.lanes;
        let mut block = self.rest;
        block[(self.len % 32) as usize..].fill(0);
        mix(&mut lanes, &block);
        lanes.iter().fold(self.len, |all, lane| (all ^ lane).wrapping_mul(PRIME).rotate_left(31))
    }

    /// The hash of `bytes`, over and over up to `total` bytes.
    pub fn of_repeated(bytes: &[u8], total: u64) -> u64 {
        let mut hash = Self::default();
        let mut left = total;
        while left > 0 {
            let part = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
            hash.add(&bytes[..part]);
            left -= part as u64;
        }
        hash.value()
    }
}

fn mix(lanes: &mut [u64; 4], block: &[u8; 32]) {
    let (words, _) = block.as_chunks::<8>();
    for (lane, word) in lanes.iter_mut().zip(words) {
        *lane = (*lane ^ u64::from_le_bytes(*word)).wrapping_mul(PRIME).rotate_left(29);
    }
}
