//! The breaker: stops sending to a destination that is down, and finds out when it is back.
//!
//! ```text
//!              half of the window failed, or all of late
//!     +--------+  ------------------------------------->  +------+ <--+ probe failed:
//!     | closed |                                          | open | ---+ wait longer
//!     +--------+       +-----------+   probe succeeded    +------+
//!         ^  <-------- | half-open | <-----------------------+  ^
//!         |            +-----------+ ---------------------------+
//!         |                              as from closed
//!     20 samples, < 25% failed; or nothing failed for a whole window
//! ```
//!
//! Nygard, *Release It!* (circuit breaker). Its window is two halves: the present one fills, the
//! one before it still counts, so that memory is six numbers whatever the traffic.

use model::MonoMicros;

use crate::backoff::backoff_us;
use crate::rng::Rng;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Closed,
    /// Only one probe at a time, none before `probe_at`.
    Open {
        probe_at: MonoMicros,
    },
    HalfOpen,
}

#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    good: u32,
    bad: u32,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Breaker {
    phase: Phase,
    present: Tally,
    before: Tally,
    half_began: MonoMicros,
    bad_in_a_row: u16,
    /// Since when nothing has failed, while it is half-open.
    calm_since: MonoMicros,
    /// Probes that failed since the breaker was last closed: the wait grows with it.
    rounds: u16,
}

/// Samples below which the share of failures says nothing.
const SAMPLES_MIN: u32 = 10;
/// Failures in a row that open it while there are fewer samples than that.
const BAD_IN_A_ROW_QUIET: u16 = 5;
/// Failures in a row that open it whatever came before: a busy destination that dies has half a
/// minute of successes behind it.
const BAD_IN_A_ROW_BUSY: u16 = 20;
const CLOSE_SAMPLES_MIN: u32 = 20;
const FIRST_PROBE_US: u64 = 1_000_000;

/// What an attempt says of its destination.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Sample {
    Good,
    Bad,
}

/// The breaker's settings.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) window_us: u64,
    pub(crate) probe_us_max: u64,
}

impl Breaker {
    pub(crate) fn new() -> Self {
        Self {
            phase: Phase::Closed,
            present: Tally::default(),
            before: Tally::default(),
            half_began: MonoMicros::ZERO,
            bad_in_a_row: 0,
            calm_since: MonoMicros::ZERO,
            rounds: 0,
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        self.phase
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open { .. })
    }

    /// Counts an attempt. While it is open only a probe's result counts: what was sent before it
    /// opened says nothing of the destination since.
    pub(crate) fn record(
        &mut self,
        sample: Sample,
        probe: bool,
        now: MonoMicros,
        times: Times,
        rng: &mut Rng,
    ) {
        if self.is_open() {
            match (probe, sample) {
                (true, Sample::Good) => self.half_open(now),
                (true, Sample::Bad) => self.open(now, times, rng),
                (false, _) => {}
            }
            return;
        }
        self.rotate(now, times.window_us);
        match sample {
            Sample::Good => {
                self.present.good = self.present.good.saturating_add(1);
                self.bad_in_a_row = 0;
            }
            Sample::Bad => {
                self.present.bad = self.present.bad.saturating_add(1);
                self.bad_in_a_row = self.bad_in_a_row.saturating_add(1);
                self.calm_since = now;
            }
        }
        if sample == Sample::Bad && self.tripped() {
            self.open(now, times, rng);
        } else if self.phase == Phase::HalfOpen && self.is_trusted(now, times.window_us) {
            self.phase = Phase::Closed;
            self.rounds = 0;
        }
    }

    /// Goes on slowly: a probe got through, or a person said so.
    pub(crate) fn half_open(&mut self, now: MonoMicros) {
        self.phase = Phase::HalfOpen;
        self.calm_since = now;
        self.forget();
    }

    /// The next probe may go now.
    pub(crate) fn probe_now(&mut self, now: MonoMicros) {
        if self.is_open() {
            self.phase = Phase::Open { probe_at: now };
        }
    }

    fn open(&mut self, now: MonoMicros, times: Times, rng: &mut Rng) {
        self.rounds = self.rounds.saturating_add(1);
        let wait = backoff_us(
            rng,
            self.rounds.into(),
            FIRST_PROBE_US,
            2,
            times.probe_us_max,
        );
        self.phase = Phase::Open {
            probe_at: now.plus(wait),
        };
        self.forget();
    }

    fn forget(&mut self) {
        self.present = Tally::default();
        self.before = Tally::default();
        self.bad_in_a_row = 0;
    }

    fn rotate(&mut self, now: MonoMicros, window_us: u64) {
        let age = now.since(self.half_began);
        if age >= window_us {
            self.before = Tally::default();
        } else if age >= window_us / 2 {
            self.before = self.present;
        } else {
            return;
        }
        self.present = Tally::default();
        self.half_began = now;
    }

    fn totals(&self) -> (u32, u32) {
        (
            self.present.good.saturating_add(self.before.good),
            self.present.bad.saturating_add(self.before.bad),
        )
    }

    fn tripped(&self) -> bool {
        let (good, bad) = self.totals();
        let samples = good.saturating_add(bad);
        if samples < SAMPLES_MIN {
            return self.bad_in_a_row >= BAD_IN_A_ROW_QUIET;
        }
        // Half, and two standard deviations of a fair coin above it: a destination that fails 45
        // of 100 at random must not trip by luck.
        let excess = u64::from(bad.saturating_sub(good));
        self.bad_in_a_row >= BAD_IN_A_ROW_BUSY || excess * excess >= 4 * u64::from(samples)
    }

    /// Enough has succeeded; or, where there is little traffic, nothing has failed for a window.
    fn is_trusted(&self, now: MonoMicros, window_us: u64) -> bool {
        let (good, bad) = self.totals();
        let samples = good.saturating_add(bad);
        let calm = self.bad_in_a_row == 0 && now.since(self.calm_since) >= window_us;
        calm || samples >= CLOSE_SAMPLES_MIN && bad.saturating_mul(4) < samples
    }
}

#[cfg(test)]
mod tests;
