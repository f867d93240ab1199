//! How long to wait: exponential back-off with full jitter above a floor.
//!
//! AWS Architecture Blog, *Exponential backoff and jitter* (full jitter); the floor of a tenth
//! keeps a draw near 0 from hitting a destination that has just failed.

use crate::rng::Rng;

/// A random wait from a tenth of the cap to the cap, which is `first_us * factor^(round-1)`, at
/// most `us_max`. `round` counts from 1.
pub(crate) fn backoff_us(
    rng: &mut Rng,
    round: u32,
    first_us: u64,
    factor: u64,
    us_max: u64,
) -> u64 {
    let cap = first_us
        .saturating_mul(factor.saturating_pow(round.saturating_sub(1)))
        .min(us_max);
    rng.between(cap / 10, cap)
}

/// Longest Retry-After that is honoured, in seconds; beyond it the lane's own schedule holds.
const RETRY_AFTER_S_MAX: u64 = 3_600;

/// The destination's own wish, give or take a tenth so that many lanes do not come back at once.
/// `None` for a wish that is no wait (0, which would loop) or beyond the clamp.
pub(crate) fn retry_after_us(rng: &mut Rng, retry_after_s: Option<u64>) -> Option<u64> {
    let seconds = retry_after_s.filter(|s| (1..=RETRY_AFTER_S_MAX).contains(s))?;
    let micros = seconds * 1_000_000;
    Some(rng.between(micros - micros / 10, micros + micros / 10))
}

#[cfg(test)]
mod tests;
