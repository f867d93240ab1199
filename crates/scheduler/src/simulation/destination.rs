//! Models of destinations: how long they take, and what they answer when.

use model::{Failure, FilterReason, JobResult, RejectReason};

use crate::action::Job;
use crate::input::Results;
use crate::rng::{Rng, mix};

/// How a destination behaves.
#[derive(Clone, Debug)]
pub struct Model {
    /// Latency is drawn evenly between these,
    pub latency_us_min: u64,
    pub latency_us_max: u64,
    /// but of so many attempts one takes up to this long.
    pub slow_one_in: Option<u64>,
    pub slow_us_max: u64,
    /// Of so many events one fails with 500 whenever it is tried.
    pub poison_one_in: Option<u64>,
    /// Of so many events one is refused (400).
    pub refused_one_in: Option<u64>,
    /// Of so many events one is not meant for it.
    pub filtered_one_in: Option<u64>,
    /// Attempts a second that it bears; beyond, it answers 503 and gets less done than it could.
    pub capacity_per_s: Option<u64>,
    /// Whether it says which events of a batch it refuses.
    pub batch_partial: bool,
    pub faults: Vec<Fault>,
}

/// What is wrong with it for a while.
#[derive(Clone, Debug)]
pub struct Fault {
    pub from_us: u64,
    /// Exclusive.
    pub until_us: u64,
    pub kind: FaultKind,
}

#[derive(Clone, Debug)]
pub enum FaultKind {
    /// So many of 100 attempts fail so.
    Failing { percent: u64, failure: Failure },
    /// No answer: the attempt times out.
    Hanging { timeout_us: u64 },
    /// 429 beyond so many attempts a second.
    RateLimited {
        per_s: u64,
        retry_after_s: Option<u64>,
    },
}

impl Model {
    /// A destination without fault, that answers within these times.
    #[must_use]
    pub fn healthy(latency_us_min: u64, latency_us_max: u64) -> Self {
        Self {
            latency_us_min,
            latency_us_max,
            slow_one_in: None,
            slow_us_max: 0,
            poison_one_in: None,
            refused_one_in: None,
            filtered_one_in: None,
            capacity_per_s: None,
            batch_partial: false,
            faults: Vec::new(),
        }
    }

    #[must_use]
    pub fn with_fault(mut self, from_us: u64, until_us: u64, kind: FaultKind) -> Self {
        self.faults.push(Fault {
            from_us,
            until_us,
            kind,
        });
        self
    }
}

/// A destination at work.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    model: Model,
    /// Attempts in this second and in the one before.
    second: u64,
    attempts: u64,
    attempts_before: u64,
}

/// Time in which a failing destination answers.
const FAILURE_US: (u64, u64) = (200, 5_000);

impl Destination {
    pub(crate) fn new(model: Model) -> Self {
        Self {
            model,
            second: 0,
            attempts: 0,
            attempts_before: 0,
        }
    }

    /// What comes of an attempt that begins now, and after how long.
    /// `salt` tells the jobs of one stream from those of others.
    pub(crate) fn answer(
        &mut self,
        now_us: u64,
        jobs: &[Job],
        salt: u64,
        rng: &mut Rng,
    ) -> (u64, Results) {
        self.count(now_us);
        let failing = |rng: &mut Rng, failure| {
            (
                rng.between(FAILURE_US.0, FAILURE_US.1),
                Results::All(JobResult::Failed(failure)),
            )
        };
        for fault in &self.model.faults {
            if !(fault.from_us..fault.until_us).contains(&now_us) {
                continue;
            }
            match fault.kind {
                FaultKind::Failing { percent, failure } if rng.chance(percent) => {
                    return failing(rng, failure);
                }
                FaultKind::Hanging { timeout_us } => {
                    let hung = JobResult::Failed(Failure::Indeterminate);
                    return (timeout_us, Results::All(hung));
                }
                FaultKind::RateLimited {
                    per_s,
                    retry_after_s,
                } if self.attempts > per_s => {
                    return failing(rng, Failure::RateLimited { retry_after_s });
                }
                FaultKind::Failing { .. } | FaultKind::RateLimited { .. } => {}
            }
        }
        if self.is_congested(rng) {
            return failing(
                rng,
                Failure::Unavailable {
                    retry_after_s: None,
                },
            );
        }
        (self.latency_us(rng), self.judge(jobs, salt))
    }

    fn latency_us(&self, rng: &mut Rng) -> u64 {
        let model = &self.model;
        let slow = model.slow_one_in.is_some_and(|n| rng.between(1, n) == 1);
        if slow {
            return rng.between(model.latency_us_max, model.slow_us_max);
        }
        rng.between(model.latency_us_min, model.latency_us_max)
    }

    /// Beyond its capacity C at load L it gets `1 - 0.3 (L/C - 1)` of C done, at least a fifth.
    fn is_congested(&self, rng: &mut Rng) -> bool {
        let Some(capacity) = self.model.capacity_per_s else {
            return false;
        };
        let load = self.attempts_before.max(self.attempts);
        if load <= capacity {
            return false;
        }
        let excess = 30 * (load - capacity) / capacity;
        let done = capacity * 100_u64.saturating_sub(excess).max(20) / 100;
        rng.between(1, load) > done
    }

    fn judge(&self, jobs: &[Job], salt: u64) -> Results {
        let each: Vec<JobResult> = jobs
            .iter()
            .map(|job| self.judge_one(job.offset.0 ^ salt))
            .collect();
        let first = each.first().copied().unwrap_or(JobResult::Delivered);
        if each.iter().all(|result| *result == first) {
            return Results::All(first);
        }
        let is_bad =
            |result: &JobResult| !matches!(result, JobResult::Delivered | JobResult::Filtered(_));
        match each.iter().find(|result| is_bad(result)) {
            // It refuses the batch for one event's sake, and does not say which.
            Some(JobResult::Failed(failure)) if !self.model.batch_partial => {
                Results::All(JobResult::Failed(*failure))
            }
            Some(_) if !self.model.batch_partial => {
                Results::All(JobResult::Failed(Failure::BatchRefused {
                    too_large: false,
                }))
            }
            _ => Results::Each(each),
        }
    }

    fn judge_one(&self, job: u64) -> JobResult {
        let drawn = mix(job);
        let is_one_in = |share: Option<u64>| share.is_some_and(|n| drawn.is_multiple_of(n));
        if is_one_in(self.model.filtered_one_in) {
            JobResult::Filtered(FilterReason::Destination)
        } else if is_one_in(self.model.refused_one_in) {
            JobResult::Rejected(RejectReason::Refused)
        } else if is_one_in(self.model.poison_one_in) {
            JobResult::Failed(Failure::ServerError)
        } else {
            JobResult::Delivered
        }
    }

    fn count(&mut self, now_us: u64) {
        let second = now_us / 1_000_000;
        if second != self.second {
            self.attempts_before = if second == self.second + 1 {
                self.attempts
            } else {
                0
            };
            self.attempts = 0;
            self.second = second;
        }
        self.attempts += 1;
    }
}
