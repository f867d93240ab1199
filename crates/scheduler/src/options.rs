//! Limits that all lanes of one scheduler share.

use crate::error::{Error, check};

/// One scheduler's (one shard's) limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Attempts under way at once, over all lanes. Default: 2,048. At most 65,536.
    pub in_flight_max: u32,
    /// Bytes of the jobs of those attempts. Default: 64 MiB. A single larger batch still goes,
    /// alone.
    pub in_flight_bytes_max: u64,
    /// Share of the slots that only lanes with no attempt under way may use, so that greedy lanes
    /// never take the last slot from a quiet one. Default: 25 percent.
    pub reserved_percent: u32,
    /// Share of the slots that the lanes of one group may use while other groups wait.
    /// Default: 50 percent.
    pub group_percent: u32,
    /// What a lane may start in its turn of the round robin. Default: 64 KiB.
    pub quantum_bytes: u32,
    /// Lanes added as staggered begin at random within this time. Default: 5 s.
    pub stagger_us_max: u64,
    /// A lane that had nothing to do for so long forgets what it learned of its destination, and
    /// costs next to no memory. Default: 60 s.
    pub idle_after_us: u64,
    /// Unsettled jobs of all lanes of one shared queue. Default: 10,000.
    pub queue_jobs_max: u32,
    /// Attempts under way of all lanes of one shared queue. Default: 256.
    pub queue_in_flight_max: u32,
    /// How soon a fetch that brought nothing is tried again. Default: 100 ms.
    pub refetch_delay_us: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            in_flight_max: 2_048,
            in_flight_bytes_max: 64 * 1024 * 1024,
            reserved_percent: 25,
            group_percent: 50,
            quantum_bytes: 64 * 1024,
            stagger_us_max: 5_000_000,
            idle_after_us: 60_000_000,
            queue_jobs_max: 10_000,
            queue_in_flight_max: 256,
            refetch_delay_us: 100_000,
        }
    }
}

impl Options {
    /// # Errors
    /// The first setting that is out of its range: refuse the configuration.
    pub fn validate(&self) -> Result<(), Error> {
        check("in_flight_max", self.in_flight_max.into(), 1, 65_536)?;
        check("in_flight_bytes_max", self.in_flight_bytes_max, 1, u64::MAX)?;
        check("reserved_percent", self.reserved_percent.into(), 0, 90)?;
        check("group_percent", self.group_percent.into(), 1, 100)?;
        check(
            "quantum_bytes",
            self.quantum_bytes.into(),
            1_024,
            64 * 1024 * 1024,
        )?;
        check("stagger_us_max", self.stagger_us_max, 0, 3_600_000_000)?;
        check("idle_after_us", self.idle_after_us, 0, 3_600_000_000)?;
        let jobs_max = u64::from(u32::MAX / 2);
        check("queue_jobs_max", self.queue_jobs_max.into(), 1, jobs_max)?;
        check(
            "queue_in_flight_max",
            self.queue_in_flight_max.into(),
            1,
            65_536,
        )?;
        check(
            "refetch_delay_us",
            self.refetch_delay_us,
            1_000,
            3_600_000_000,
        )
    }

    /// Slots that any lane may use; those above it are for lanes with nothing under way.
    pub(crate) fn shared_slots(&self) -> u32 {
        (self.in_flight_max - percent_of(self.in_flight_max, self.reserved_percent)).max(1)
    }

    pub(crate) fn group_slots(&self) -> u32 {
        percent_of(self.in_flight_max, self.group_percent).max(1)
    }
}

fn percent_of(whole: u32, percent: u32) -> u32 {
    u32::try_from(u64::from(whole) * u64::from(percent) / 100).unwrap_or(whole)
}
