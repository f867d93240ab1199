//! What a simulation measured.

use model::OutcomeCounts;

pub use delays::Delays;
pub use series::{Series, Slot};

mod delays;
mod series;

/// A whole run.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Inputs that the scheduler took.
    pub steps: u64,
    /// When the last job was settled.
    pub settled_us: u64,
    pub in_flight_peak: u32,
    pub lanes: Vec<LaneReport>,
    /// By the lanes' `cohort`.
    pub cohorts: Vec<CohortReport>,
    /// Attempts begun in each second of the first day, over all lanes.
    pub attempts_by_second: Vec<u32>,
}

/// One lane of it.
#[derive(Clone, Debug, Default)]
pub struct LaneReport {
    pub accepted: u64,
    /// Requests.
    pub attempts: u64,
    /// Jobs in them: more than requests where a lane batches.
    pub tries: u64,
    pub counts: OutcomeCounts,
    /// Jobs that were settled again after a crash had lost that they were.
    pub repeated: u64,
    pub in_flight_peak: u32,
    pub window_peak: u32,
    pub state_changes: u64,
    /// From arrival to delivery.
    pub delays: Delays,
    /// Saved progress that held a span settled beyond a backlog.
    pub saves_forked: u64,
}

/// Lanes that are looked at together.
#[derive(Clone, Debug, Default)]
pub struct CohortReport {
    pub series: Series,
    /// Jobs that have come and not ended.
    pub backlog: u64,
    pub backlog_peak: u64,
    pub backlog_peak_us: u64,
    /// The last moment at which the backlog was more than two seconds' arrivals and more than a
    /// hundredth of what it had been at most.
    pub behind_us: u64,
}

impl LaneReport {
    /// Tries for each job that was delivered.
    #[must_use]
    pub fn amplification(&self) -> f64 {
        ratio(self.tries, self.counts.delivered.max(1))
    }
}

/// `part / whole`, of numbers far below those that a float cannot tell apart.
#[must_use]
pub fn ratio(part: u64, whole: u64) -> f64 {
    let float = |number: u64| std::time::Duration::from_micros(number).as_secs_f64();
    float(part) / float(whole.max(1))
}

#[cfg(test)]
mod tests;
