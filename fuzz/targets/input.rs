//! Numbers and pieces out of an input's bytes. The same input always gives the same.

/// Sizes of pieces that an input is cut into: each of some steps, and one at random.
pub fn splits(data: &[u8]) -> Vec<Vec<&[u8]>> {
    let mut splits: Vec<Vec<&[u8]>> = [1, 2, 3, 7, 61].into_iter().map(|step| data.chunks(step).collect()).collect();
    let mut dice = Dice::of(data);
    let mut rest = data;
    let mut pieces = Vec::new();
    while !rest.is_empty() {
        let (piece, after) = rest.split_at(dice.below(rest.len().min(40)) + 1);
        pieces.push(piece);
        rest = after;
    }
    splits.push(pieces);
    splits
}

/// Numbers that depend on an input alone.
pub struct Dice(u64);

impl Dice {
    /// Dice for an input (FNV-1a makes the seed).
    pub fn of(data: &[u8]) -> Self {
        Self(data.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3)))
    }

    /// A number below `end`; 0 where that is 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end.max(1) as u64) as usize
    }
}

/// The input as a text; what is no UTF-8 in it is replaced.
pub fn text(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}

/// The first lines of an input, the last of them with all that follows.
pub fn lines<const N: usize>(data: &[u8]) -> [String; N] {
    let mut pieces = data.splitn(N, |byte| *byte == b'\n').map(text);
    std::array::from_fn(|_| pieces.next().unwrap_or_default())
}

/// A directory for the files of one thread: in memory where the system has such a place, since a target is run over and over.
pub fn scratch() -> std::path::PathBuf {
    use std::path::{Path, PathBuf};
    thread_local! {
        static DIR: tempfile::TempDir = {
            let memory = Path::new("/dev/shm");
            let parent = if memory.is_dir() { PathBuf::from(memory) } else { std::env::temp_dir() };
            tempfile::Builder::new().prefix("mockd-fuzz-").tempdir_in(parent).expect("a directory")
        };
    }
    DIR.with(|dir| dir.path().to_owned())
}
