//! What may differ from lane to lane: a connection's delivery policy with its defaults.

use model::limits::LANE_WINDOW_MAX;

use crate::error::{Error, check};

const SECOND_US: u64 = 1_000_000;
const MINUTE_US: u64 = 60 * SECOND_US;
const HOUR_US: u64 = 60 * MINUTE_US;

/// One lane's policy. Lanes with equal policies should share one copy.
#[derive(Clone, Debug, PartialEq)]
pub struct LanePolicy {
    /// Jobs of one attempt. Default: 1 (no batching).
    pub batch_events_max: u32,
    /// Bytes of one batch's jobs; a single larger job goes alone. Default: 512 KiB.
    pub batch_bytes_max: u64,
    /// How long a batch that is not full waits for more. Default: 0.
    pub batch_wait_us: u64,
    /// Attempts under way when a lane begins. Default: 4.
    pub concurrency_init: u32,
    /// Most attempts under way. Default: 64.
    pub concurrency_max: u32,
    /// Attempts a second. Default: none.
    pub rate_limit_per_s: Option<f64>,
    /// A job that has failed for this long (and its least attempts) expires. Time under an open
    /// breaker or a hold does not count. Default: 4 h.
    pub expiry_us: u64,
    /// Attempts below which no job expires. Default: 5.
    pub attempts_min: u32,
    /// The first back-off is at most this, each next one thrice that. Default: 2 s.
    pub backoff_first_us: u64,
    /// No back-off is longer. Default: 30 min.
    pub backoff_us_max: u64,
    /// Retries among the attempts while first attempts wait. Default: 20 percent.
    pub retry_percent: u32,
    /// What came of late among the first attempts of a lane that is behind: new events need not
    /// wait until the backlog has drained. 0: the oldest first, always. Default: 80 percent.
    pub recent_percent: u32,
    /// What came within this is recent; a lane whose next job is older is behind. Default: 60 s.
    pub recent_us: u64,
    /// Events of one key go in order, each when the one before is settled; what came of late does not
    /// pass a backlog then. Default: no.
    pub ordered: bool,
    /// Failures of its own after which a job that keeps failing where others succeed is given up.
    /// Default: 5.
    pub poison_failures: u32,
    /// Jobs above the cursor. Default and most: 10,000.
    pub window_jobs_max: u32,
    /// Bytes of the unsettled jobs above the cursor. Default: 32 MiB.
    pub window_bytes_max: u64,
    /// The breaker's memory. Default: 30 s.
    pub breaker_window_us: u64,
    /// Longest wait between the probes of an open breaker. Default: 60 s.
    pub probe_us_max: u64,
    /// Wait between the probes of a held lane. Default: 5 min.
    pub hold_probe_us: u64,
    /// The destination swallows everything: jobs settle as delivered without an attempt.
    /// Default: no.
    pub one_way: bool,
}

impl Default for LanePolicy {
    fn default() -> Self {
        Self {
            batch_events_max: 1,
            batch_bytes_max: 512 * 1024,
            batch_wait_us: 0,
            concurrency_init: 4,
            concurrency_max: 64,
            rate_limit_per_s: None,
            expiry_us: 4 * HOUR_US,
            attempts_min: 5,
            backoff_first_us: 2 * SECOND_US,
            backoff_us_max: 30 * MINUTE_US,
            retry_percent: 20,
            recent_percent: 80,
            recent_us: MINUTE_US,
            ordered: false,
            poison_failures: 5,
            window_jobs_max: 10_000,
            window_bytes_max: 32 * 1024 * 1024,
            breaker_window_us: 30 * SECOND_US,
            probe_us_max: MINUTE_US,
            hold_probe_us: 5 * MINUTE_US,
            one_way: false,
        }
    }
}

impl LanePolicy {
    /// # Errors
    /// The first setting that is out of its range: refuse the configuration.
    pub fn validate(&self) -> Result<(), Error> {
        let window_max = u64::try_from(LANE_WINDOW_MAX).unwrap_or(u64::MAX);
        check(
            "window_jobs_max",
            self.window_jobs_max.into(),
            1,
            window_max,
        )?;
        check("window_bytes_max", self.window_bytes_max, 1, u64::MAX)?;
        check(
            "batch_events_max",
            self.batch_events_max.into(),
            1,
            self.window_jobs_max.into(),
        )?;
        check(
            "batch_bytes_max",
            self.batch_bytes_max,
            1,
            self.window_bytes_max,
        )?;
        check("batch_wait_us", self.batch_wait_us, 0, HOUR_US)?;
        check("concurrency_init", self.concurrency_init.into(), 1, 65_536)?;
        check("concurrency_max", self.concurrency_max.into(), 1, 65_536)?;
        check("attempts_min", self.attempts_min.into(), 1, 1_000)?;
        check("expiry_us", self.expiry_us, SECOND_US, 365 * 24 * HOUR_US)?;
        check("backoff_us_max", self.backoff_us_max, 1_000, 24 * HOUR_US)?;
        check(
            "backoff_first_us",
            self.backoff_first_us,
            1_000,
            self.backoff_us_max,
        )?;
        check("retry_percent", self.retry_percent.into(), 1, 99)?;
        check("recent_percent", self.recent_percent.into(), 0, 99)?;
        check("recent_us", self.recent_us, SECOND_US, 24 * HOUR_US)?;
        check("poison_failures", self.poison_failures.into(), 1, 200)?;
        check(
            "breaker_window_us",
            self.breaker_window_us,
            SECOND_US,
            HOUR_US,
        )?;
        check("probe_us_max", self.probe_us_max, SECOND_US, HOUR_US)?;
        check("hold_probe_us", self.hold_probe_us, SECOND_US, 24 * HOUR_US)?;
        match self.rate_limit_per_s {
            Some(rate) if !(rate.is_finite() && rate > 0.0) => Err(Error::NotARate {
                setting: "rate_limit_per_s",
                value: rate.to_string(),
            }),
            _ => Ok(()),
        }
    }

    pub(crate) fn batches(&self) -> bool {
        self.batch_events_max > 1
    }
}

#[cfg(test)]
mod tests;
