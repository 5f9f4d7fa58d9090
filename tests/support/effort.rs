//! How much a test that tries many times tries: few rounds in every run, many under `make torture`. And the dice that such tests throw.
//! It holds no test and no condition.

/// The variable that asks for long runs: `torture`.
const EFFORT: &str = "MOCKD_TEST_EFFORT";
/// The variable that repeats a run: the seed that a failed one printed.
const SEED: &str = "MOCKD_TEST_SEED";

/// The first number in every run, the second under `make torture`.
pub fn rounds(check: u64, torture: u64) -> u64 {
    if std::env::var(EFFORT).is_ok_and(|effort| effort == "torture") { torture } else { check }
}

/// A number from a variable of the environment, for scripts that set how long one test goes on.
pub fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// Dice that fall the same way for the same seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// Dice whose seed is printed, so that a failed test says how to throw them again.
    pub fn new(test: &str) -> Self {
        let seed = number(SEED).unwrap_or_else(mockd::base::id::random_u64);
        println!("{test}: {SEED}={seed}");
        Self(seed)
    }

    /// Dice of one seed.
    pub const fn of(seed: u64) -> Self {
        Self(seed)
    }

    /// 64 bits.
    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `end`, which is above 0.
    pub fn below(&mut self, end: u64) -> u64 {
        self.bits() % end
    }

    /// True once in `n` throws.
    pub fn once_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// One of several.
    pub fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len() as u64) as usize]
    }
}
