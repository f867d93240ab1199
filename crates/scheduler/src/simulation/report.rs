//! What a simulation measured.

use model::OutcomeCounts;

/// A whole run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub steps: u64,
    /// When the last job was settled.
    pub settled_us: u64,
    pub in_flight_peak: u32,
    pub lanes: Vec<LaneReport>,
    /// Attempts begun in each second, over all lanes.
    pub attempts_by_second: Vec<u32>,
}

/// One lane of it.
#[derive(Clone, Debug, Default)]
pub struct LaneReport {
    pub accepted: u64,
    pub attempts: u64,
    pub counts: OutcomeCounts,
    /// Jobs that were settled again after a crash had lost that they were.
    pub repeated: u64,
    pub in_flight_peak: u32,
    pub window_peak: u32,
    pub state_changes: u64,
    /// From arrival to delivery.
    pub delays: Delays,
    /// The same by the minute of arrival, for the first day.
    pub delays_by_minute: Vec<Delays>,
    /// Saved progress that held a span settled beyond a backlog.
    pub saves_forked: u64,
}

/// Minutes of which delays are kept apart.
const MINUTES_MAX: usize = 24 * 60;

impl LaneReport {
    pub(crate) fn delivered(&mut self, arrived_us: u64, now_us: u64) {
        let delay_us = now_us - arrived_us;
        self.delays.add(delay_us);
        let minute = usize::try_from(arrived_us / 60_000_000).unwrap_or(usize::MAX);
        if self.delays_by_minute.len() <= minute && minute < MINUTES_MAX {
            self.delays_by_minute
                .resize_with(minute + 1, Delays::default);
        }
        if let Some(delays) = self.delays_by_minute.get_mut(minute) {
            delays.add(delay_us);
        }
    }

    /// Delays of what arrived in these minutes.
    #[must_use]
    pub fn delays_within(&self, minutes: std::ops::Range<usize>) -> Delays {
        let mut all = Delays::default();
        for delays in self.delays_by_minute.get(minutes).unwrap_or_default() {
            all.merge(delays);
        }
        all
    }

    /// Attempts for each job that was delivered.
    #[must_use]
    pub fn amplification(&self) -> f64 {
        ratio(self.attempts, self.counts.delivered.max(1))
    }
}

/// `part / whole`, of numbers far below those that a float cannot tell apart.
pub(crate) fn ratio(part: u64, whole: u64) -> f64 {
    let float = |number: u64| std::time::Duration::from_micros(number).as_secs_f64();
    float(part) / float(whole.max(1))
}

/// A histogram of delays: eight buckets for each doubling, so within an eighth of the truth.
#[derive(Clone, Debug)]
pub struct Delays {
    buckets: Vec<u64>,
    count: u64,
    us_max: u64,
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            buckets: vec![0; 64 * 8],
            count: 0,
            us_max: 0,
        }
    }
}

impl Delays {
    pub fn add(&mut self, us: u64) {
        if let Some(bucket) = self.buckets.get_mut(bucket_of(us)) {
            *bucket += 1;
        }
        self.count += 1;
        self.us_max = self.us_max.max(us);
    }

    fn merge(&mut self, other: &Self) {
        for (sum, count) in self.buckets.iter_mut().zip(&other.buckets) {
            *sum += count;
        }
        self.count += other.count;
        self.us_max = self.us_max.max(other.us_max);
    }

    /// The longest of them, exactly.
    #[must_use]
    pub fn us_max(&self) -> u64 {
        self.us_max
    }

    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The delay that `percent` of 100 do not exceed, in microseconds; 0 where there is none.
    #[must_use]
    pub fn percentile_us(&self, percent: u64) -> u64 {
        let wanted = (self.count * percent).div_ceil(100);
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted && seen > 0 {
                return upper_bound(index);
            }
        }
        0
    }
}

fn bucket_of(us: u64) -> usize {
    if us < 8 {
        return usize::try_from(us).unwrap_or(0);
    }
    let doubling = us.ilog2() - 2;
    let eighth = (us >> (doubling - 1)) & 7;
    usize::try_from(u64::from(doubling) * 8 + eighth).unwrap_or(0)
}

fn upper_bound(index: usize) -> u64 {
    let index = u64::try_from(index).unwrap_or(0);
    let (doubling, eighth) = (index / 8, index % 8);
    match doubling {
        0 => index,
        _ => ((8 + eighth + 1) << (doubling - 1)) - 1,
    }
}

#[cfg(test)]
mod tests;
