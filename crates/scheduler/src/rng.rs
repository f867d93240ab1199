//! The scheduler's only randomness: a seeded generator, so that equal inputs give equal actions.
//!
//! `SplitMix64` (Steele, Lea, Flood: *Fast splittable pseudorandom number generators*, 2014).

/// A stream of numbers that its seed determines. Good enough to spread load; no secret.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Evenly from `low` to `high`, both inclusive; `low` where the range is empty.
    pub fn between(&mut self, low: u64, high: u64) -> u64 {
        if high <= low {
            return low;
        }
        let Some(span) = (high - low).checked_add(1) else {
            return self.next();
        };
        // The bias of the remainder is below 2^-20 for every span used here (at most hours in
        // microseconds).
        low + self.next() % span
    }

    /// True in `percent` of 100 draws.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.between(0, 99) < percent
    }
}

/// Spreads the bits of a number over all 64 of them.
#[must_use]
pub const fn mix(number: u64) -> u64 {
    let a = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let b = (a ^ (a >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    b ^ (b >> 31)
}

#[cfg(test)]
mod tests;
