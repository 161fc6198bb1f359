//! All choices of a run, from its seed. Each part of a run has a line of its own, so that one more throw in one of them moves
//! nothing in the others.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A generator (SplitMix64). Throws are calls on `&self`: everything is in one thread.
#[derive(Debug)]
pub(super) struct Dice(Mutex<u64>);

impl Dice {
    /// The line of this name.
    pub(super) fn new(seed: u64, name: &str) -> Self {
        let line = name
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        let dice = Self(Mutex::new(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ line));
        dice.next();
        dice
    }

    /// Any number.
    pub(super) fn next(&self) -> u64 {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = *state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Below `bound`; 0 where that is 0.
    pub(super) fn below(&self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next() % bound }
    }

    /// From `least` to `most`, both included.
    pub(super) fn between(&self, least: u64, most: u64) -> u64 {
        least + self.below(most.saturating_sub(least) + 1)
    }

    /// Whether something happens that happens so many times in 10 000.
    pub(super) fn happens(&self, in_ten_thousand: u32) -> bool {
        in_ten_thousand > 0 && self.below(10_000) < u64::from(in_ten_thousand)
    }

    /// One of them.
    pub(super) fn one_of<'a, T>(&self, choices: &'a [T]) -> Option<&'a T> {
        choices.get(usize::try_from(self.below(choices.len() as u64)).unwrap_or(0))
    }

    /// So many milliseconds.
    pub(super) fn millis(&self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.between(least, most))
    }

    /// So many seconds.
    pub(super) fn seconds(&self, least: u64, most: u64) -> Duration {
        self.millis(least * 1000, most * 1000)
    }
}
