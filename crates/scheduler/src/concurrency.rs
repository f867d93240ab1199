//! How much a destination bears, found by trying: additive increase, multiplicative decrease.
//!
//! Chiu and Jain 1989; TCP slow start (RFC 5681); a decrease in proportion to what was lost as in
//! DCTCP (RFC 8257), and a careful approach to where the last loss was, as in CUBIC (RFC 9438); the
//! latency rule is that of Vector's adaptive request concurrency (which follows Netflix's
//! `concurrency-limits`), with an absolute floor.
//!
//! Whole slots are too coarse a measure: one slot of a destination that answers within 10 ms is 100
//! attempts a second. So, once something was lost, the limit is a fraction, and attempts begin
//! evenly, at `limit / latency`.

use model::MonoMicros;

/// How the limit rises while it is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Growth {
    /// By 1 for each success, so it doubles each round trip: until the first loss.
    Doubling,
    /// By half, once a round trip or second: after an outage, a hold or a restart.
    Gentle,
    /// By a quarter, at most by 1, once a round trip or second; slower near the last loss.
    Additive,
}

/// The limit of one lane. All times in microseconds, as `f32`: a limit needs no more digits.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Concurrency {
    limit: f32,
    growth: Growth,
    /// Where something was lost last; infinite where that is not known, or passed.
    ceiling: f32,
    /// Attempts since the limit was last looked at, and those that were too much.
    seen: u32,
    lost: u32,
    /// Mean and deviation of the latency over past rounds.
    mean_us: f32,
    deviation_us: f32,
    /// The mean over many more rounds: a pace must not follow every whim of the latency.
    pace_us: f32,
    /// The present round's latencies.
    round_sum_us: f32,
    round_count: u32,
    /// Those of them that are far above the past.
    round_slow: u32,
    /// The quickest of them; infinite where there is none yet.
    round_least_us: f32,
    round_ends: MonoMicros,
    /// Attempts begun before this say nothing new: one decrease a round trip.
    cut_at: MonoMicros,
    /// When the limit was last looked at.
    stepped_at: MonoMicros,
    /// When the next attempt begins, where they begin evenly.
    next_at: MonoMicros,
}

const ALPHA: f32 = 0.4;
const PACE_ALPHA: f32 = 0.02;
const DEVIATIONS: f32 = 2.5;
/// Latency that rises by less is no sign of overload: on a loopback or in one data centre a
/// scheduling hiccup is already many deviations.
const RISE_US_MIN: f32 = 50_000.0;
const OVERLOAD_FACTOR: f32 = 0.7;
const LATENCY_FACTOR: f32 = 0.9;
const GENTLE_FACTOR: f32 = 1.5;
const GENTLE_INIT: f32 = 2.0;
/// Where attempts begin evenly, slots are for the slower ones among them, and do not set the pace.
const PACED_SLOTS_FACTOR: f32 = 1.5;
const STEP_FACTOR: f32 = 0.25;
const STEP_MAX: f32 = 1.0;
/// Near the last loss the limit rises by this part of it; the farther beyond it, the faster.
const CAREFUL_FACTOR: f32 = 0.01;
const NEAR_FROM: f32 = 0.97;
const NEAR_TO: f32 = 1.05;
/// So many losses, if they are at least half of all attempts, cut at once, by [`OVERLOAD_FACTOR`].
const HEAVY_LOSSES: u32 = 10;
/// Where less is lost, the limit falls by this part of the share that was, once a second.
const LIGHT_FACTOR: f32 = 0.5;
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
            ceiling: f32::INFINITY,
            seen: 0,
            lost: 0,
            mean_us: 0.0,
            deviation_us: 0.0,
            pace_us: 0.0,
            round_sum_us: 0.0,
            round_count: 0,
            round_slow: 0,
            round_least_us: f32::INFINITY,
            round_ends: MonoMicros::ZERO,
            cut_at: MonoMicros::ZERO,
            stepped_at: MonoMicros::ZERO,
            next_at: MonoMicros::ZERO,
        }
    }

    /// Begins anew at 2, rising slowly.
    pub(crate) fn restart_gently(&mut self, now: MonoMicros) {
        *self = Self {
            limit: GENTLE_INIT,
            growth: Growth::Gentle,
            stepped_at: now,
            cut_at: now,
            ..Self::new(1)
        };
    }

    /// Attempts that may be under way at once, from 1 to `max`.
    pub(crate) fn limit(&self, max: u32) -> u32 {
        let limit = if self.paced(max) {
            self.limit * PACED_SLOTS_FACTOR + 1.0
        } else {
            self.limit
        };
        // Limits are small (at most 65,536), so the conversion loses nothing but the fraction.
        let whole = std::time::Duration::from_secs_f32(limit.max(1.0)).as_secs();
        u32::try_from(whole).unwrap_or(max).min(max).max(1)
    }

    /// From when on the next attempt may begin.
    pub(crate) fn free_at(&self, max: u32) -> MonoMicros {
        if self.paced(max) {
            self.next_at
        } else {
            MonoMicros::ZERO
        }
    }

    /// An attempt begins.
    pub(crate) fn started(&mut self, now: MonoMicros, max: u32) {
        // Those that need not begin evenly put off no later one.
        if self.paced(max) {
            let gap_us = micros(self.pace_us / self.limit);
            self.next_at = self.next_at.max(now).plus(gap_us);
        }
    }

    /// Whether attempts begin evenly: once something was lost, until the limit is no limit.
    fn paced(&self, max: u32) -> bool {
        self.growth == Growth::Additive && self.pace_us > 0.0 && self.limit < float(max)
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
        self.round_least_us = self.round_least_us.min(float_us(latency_us));
        self.round_slow += u32::from(self.is_slow(float_us(latency_us)));
        self.seen = self.seen.saturating_add(1);
        if now >= self.round_ends {
            self.end_round(began, now);
        }
        if self.growth == Growth::Doubling {
            if reached {
                self.limit += 1.0;
            }
        } else if self.is_time_to_step(now) {
            self.step(reached, now);
        }
        self.limit = self.limit.min(float(max));
    }

    /// The destination said, or showed, that it has too much.
    pub(crate) fn overloaded(&mut self, began: MonoMicros, now: MonoMicros) {
        if began < self.cut_at {
            return;
        }
        self.seen = self.seen.saturating_add(1);
        self.lost = self.lost.saturating_add(1);
        let heavy = self.lost * 2 >= self.seen && self.lost >= HEAVY_LOSSES;
        if heavy || self.growth != Growth::Additive {
            self.cut(OVERLOAD_FACTOR, began, now);
        } else if self.is_time_to_step(now) {
            self.step(false, now);
        }
    }

    /// Nothing gets through at all: hold one slot and no more.
    pub(crate) fn collapse(&mut self, now: MonoMicros) {
        self.limit = self.limit.min(1.0);
        self.growth = Growth::Additive;
        self.ceiling = f32::INFINITY;
        // What it took before says nothing now.
        (self.mean_us, self.pace_us) = (0.0, 0.0);
        self.cut_at = now;
        self.look_anew(now);
    }

    fn is_time_to_step(&self, now: MonoMicros) -> bool {
        now.since(self.stepped_at) >= PACE_US_MIN.max(micros(self.mean_us))
    }

    /// Once a second: less by what was lost, or more if nothing was.
    fn step(&mut self, reached: bool, now: MonoMicros) {
        if self.lost > 0 {
            let share = float(self.lost) / float(self.seen.max(1));
            self.fall(1.0 - LIGHT_FACTOR * share);
        } else if reached {
            self.limit = match self.growth {
                Growth::Gentle => self.limit * GENTLE_FACTOR,
                Growth::Additive | Growth::Doubling => self.risen(),
            };
        }
        self.look_anew(now);
    }

    /// The limit after a step without loss: quickly up to the last loss, and carefully around it.
    fn risen(&self) -> f32 {
        let near = NEAR_FROM * self.ceiling;
        if self.limit < near {
            let step = (STEP_FACTOR * self.limit).min(STEP_MAX);
            return (self.limit + step).min(near);
        }
        let beyond = (self.limit / self.ceiling - NEAR_TO).max(0.0);
        let factor = (CAREFUL_FACTOR + beyond).min(STEP_FACTOR);
        self.limit + (factor * self.limit).min(STEP_MAX)
    }

    fn cut(&mut self, factor: f32, began: MonoMicros, now: MonoMicros) {
        if began < self.cut_at {
            return;
        }
        if self.growth != Growth::Additive {
            // How long its first answers took is no pace to begin with. One that is too quick does no harm:
            // there are no more slots for it, and it finds the mean; one that is too slow would be for long.
            self.pace_us = self.mean_us.min(self.round_least_us);
        }
        self.fall(factor);
        self.growth = Growth::Additive;
        self.cut_at = now;
        self.look_anew(now);
    }

    /// Not below one attempt a second.
    fn fall(&mut self, factor: f32) {
        let least = (self.pace_us / float_us(PACE_US_MIN)).min(1.0);
        let least = if self.pace_us > 0.0 { least } else { 1.0 };
        self.ceiling = self.limit;
        self.limit = (self.limit * factor).max(least);
    }

    fn look_anew(&mut self, now: MonoMicros) {
        self.stepped_at = now;
        (self.seen, self.lost) = (0, 0);
    }

    fn is_slow(&self, latency_us: f32) -> bool {
        let rise = latency_us - self.mean_us;
        self.mean_us > 0.0 && rise > RISE_US_MIN.max(DEVIATIONS * self.deviation_us)
    }

    /// Compares the round's latency with the past, then counts it to the past.
    fn end_round(&mut self, began: MonoMicros, now: MonoMicros) {
        let latest = self.round_sum_us / float(self.round_count.max(1));
        if self.mean_us > 0.0 {
            let rise = latest - self.mean_us;
            // Overload slows most answers. One that is slow among many raises the mean, too: many
            // services have one in some hundreds, and a cut for each would leave one slot.
            if self.round_slow * 2 > self.round_count {
                self.cut(LATENCY_FACTOR, began, now);
            }
            self.pace_us += PACE_ALPHA * (latest - self.pace_us);
            self.mean_us += ALPHA * rise;
            self.deviation_us += ALPHA * (rise.abs() - self.deviation_us);
        } else {
            self.mean_us = latest.max(1.0);
            self.pace_us = self.mean_us;
        }
        self.round_sum_us = 0.0;
        (self.round_count, self.round_slow) = (0, 0);
        self.round_least_us = f32::INFINITY;
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
