//! Repeatable pseudo-random numbers.

use std::time::Duration;

/// `splitmix64` (Steele, Lea, Flood): small, and identical on all platforms.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Creates a generator; the same seed yields the same numbers.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Creates a generator for `name`, independent of other generators of the same seed.
    pub fn of(seed: u64, name: &str) -> Self {
        let mixed =
            name.bytes().fold(seed, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
        Self(mixed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Returns a number from `0` to `below`, exclusive.
    pub fn below(&mut self, below: u64) -> u64 {
        self.next() % below
    }

    /// Returns a duration between the two.
    pub fn time(&mut self, shortest: Duration, longest: Duration) -> Duration {
        let room = u64::try_from((longest - shortest).as_millis()).expect("a short time");
        shortest + Duration::from_millis(self.below(room.max(1)))
    }
}
