//! How many attempts a destination bears at once, found by trying: additive increase,
//! multiplicative decrease.
//!
//! Chiu and Jain 1989; TCP slow start (RFC 5681); the latency rule is that of Vector's adaptive
//! request concurrency (which follows Netflix's `concurrency-limits`), with an absolute floor.

use model::MonoMicros;

/// How the limit rises while it is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Growth {
    /// By 1 for each success, so it doubles each round trip: until the first loss.
    Doubling,
    /// By half, once a round trip or second: after an outage, a hold or a restart.
    Gentle,
    /// By 1, once a round trip or second: after a loss.
    Additive,
}

/// The limit of one lane. All times in microseconds, as `f32`: a limit needs no more digits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Concurrency {
    limit: f32,
    growth: Growth,
    /// Mean and deviation of the latency over past rounds.
    mean_us: f32,
    deviation_us: f32,
    /// The present round's latencies.
    round_sum_us: f32,
    round_count: u32,
    round_ends: MonoMicros,
    /// Attempts begun before this say nothing new: one decrease a round trip.
    cut_at: MonoMicros,
    grown_at: MonoMicros,
}

const ALPHA: f32 = 0.4;
const DEVIATIONS: f32 = 2.5;
/// Latency that rises by less is no sign of overload: on a loopback or in one data centre a
/// scheduling hiccup is already many deviations.
const RISE_US_MIN: f32 = 50_000.0;
const OVERLOAD_FACTOR: f32 = 0.7;
const LATENCY_FACTOR: f32 = 0.9;
const GENTLE_FACTOR: f32 = 1.5;
const GENTLE_INIT: f32 = 2.0;
/// A destination that counts its load by the second shows only a second later what a step up did:
/// once something was lost, no two steps come closer than that.
const PACE_US_MIN: u64 = 1_000_000;
const ROUND_US_MIN: u64 = 10_000;
const ROUND_US_MAX: u64 = 30_000_000;

impl Concurrency {
    pub(crate) fn new(init: u32) -> Self {
        Self {
            limit: float(init),
            growth: Growth::Doubling,
            mean_us: 0.0,
            deviation_us: 0.0,
            round_sum_us: 0.0,
            round_count: 0,
            round_ends: MonoMicros::ZERO,
            cut_at: MonoMicros::ZERO,
            grown_at: MonoMicros::ZERO,
        }
    }

    /// Begins anew at 2, rising slowly.
    pub(crate) fn restart_gently(&mut self, now: MonoMicros) {
        *self = Self {
            limit: GENTLE_INIT,
            growth: Growth::Gentle,
            grown_at: now,
            cut_at: now,
            ..Self::new(1)
        };
    }

    /// The limit in force, from 1 to `max`.
    pub(crate) fn limit(&self, max: u32) -> u32 {
        // Limits are small (at most 65,536), so the conversion loses nothing but the fraction.
        let whole = std::time::Duration::from_secs_f32(self.limit.max(1.0)).as_secs();
        u32::try_from(whole).unwrap_or(max).min(max).max(1)
    }

    /// An attempt that began at `began` succeeded. `reached`: the limit was, while it ran.
    pub(crate) fn succeeded(
        &mut self,
        began: MonoMicros,
        latency_us: u64,
        reached: bool,
        now: MonoMicros,
        max: u32,
    ) {
        self.round_sum_us += float_us(latency_us);
        self.round_count += 1;
        if now >= self.round_ends {
            self.end_round(began, now);
        }
        if reached && self.limit < float(max) {
            self.grow(now);
            self.limit = self.limit.min(float(max));
        }
    }

    /// The destination said, or showed, that it has too much.
    pub(crate) fn overloaded(&mut self, began: MonoMicros, now: MonoMicros) {
        self.cut(OVERLOAD_FACTOR, began, now);
    }

    /// Nothing gets through at all: hold one slot and no more.
    pub(crate) fn collapse(&mut self, now: MonoMicros) {
        self.limit = 1.0;
        self.growth = Growth::Additive;
        self.cut_at = now;
        self.grown_at = now;
    }

    fn grow(&mut self, now: MonoMicros) {
        match self.growth {
            Growth::Doubling => self.limit += 1.0,
            Growth::Additive | Growth::Gentle => {
                if now.since(self.grown_at) < PACE_US_MIN.max(micros(self.mean_us)) {
                    return;
                }
                self.grown_at = now;
                match self.growth {
                    Growth::Gentle => self.limit *= GENTLE_FACTOR,
                    _ => self.limit += 1.0,
                }
            }
        }
    }

    fn cut(&mut self, factor: f32, began: MonoMicros, now: MonoMicros) {
        if began < self.cut_at {
            return;
        }
        self.limit = (self.limit * factor).max(1.0);
        self.growth = Growth::Additive;
        self.cut_at = now;
        self.grown_at = now;
    }

    /// Compares the round's latency with the past, then counts it to the past.
    fn end_round(&mut self, began: MonoMicros, now: MonoMicros) {
        let latest = self.round_sum_us / float(self.round_count.max(1));
        if self.mean_us > 0.0 {
            let rise = latest - self.mean_us;
            if rise > RISE_US_MIN.max(DEVIATIONS * self.deviation_us) {
                self.cut(LATENCY_FACTOR, began, now);
            }
            self.mean_us += ALPHA * rise;
            self.deviation_us += ALPHA * (rise.abs() - self.deviation_us);
        } else {
            self.mean_us = latest.max(1.0);
        }
        self.round_sum_us = 0.0;
        self.round_count = 0;
        self.round_ends = now.plus(micros(latest).clamp(ROUND_US_MIN, ROUND_US_MAX));
    }
}

fn micros(us: f32) -> u64 {
    std::time::Duration::from_secs_f32((us / 1e6).clamp(0.0, 3_600.0))
        .as_micros()
        .try_into()
        .unwrap_or(u64::MAX)
}

/// Exact up to 65,536, the most that a limit or count here can be worth.
fn float(number: u32) -> f32 {
    f32::from(u16::try_from(number).unwrap_or(u16::MAX))
}

fn float_us(us: u64) -> f32 {
    std::time::Duration::from_micros(us).as_secs_f32() * 1e6
}

#[cfg(test)]
mod tests;
