//! What a scenario promises of its figures: `[[expect]]`, and whether it held.

use std::ops::Range;

use scheduler::simulation::{CohortReport, Report};

use super::build::Cohort;
use super::figures::{Figures, time};
use super::file::{Plan, find, float};
use super::keys::Keys;

/// Limits of one cohort's figures.
#[derive(Clone, Debug)]
pub struct Expect {
    pub cohort: usize,
    /// Of events that arrived in this time; attempts and deliveries are those made in it.
    pub times_us: Range<u64>,
    pub limits: Vec<Limit>,
}

#[derive(Clone, Copy, Debug)]
pub enum Limit {
    P50UsMax(u64),
    P99UsMax(u64),
    /// The p99 of the lane that has the worst, over the whole run.
    WorstLaneP99UsMax(u64),
    AttemptsPerDeliveryMax(f64),
    AttemptsPerSecondMax(f64),
    DeliveredPercentMin(f64),
    DrainedByUs(u64),
    /// From the end of the faults on, against what the spare capacity would need.
    DrainFactorMax(f64),
    /// Attempts in the first second after a restart, against the busiest second before it.
    RestartFactorMax(f64),
    WindowMax(u64),
}

/// One limit, held against a run.
pub struct Verdict {
    pub holds: bool,
    pub text: String,
}

impl Expect {
    pub fn read(mut keys: Keys<'_, '_, '_>, plan: &Plan) -> Self {
        let names: Vec<&str> = plan.lanes.iter().map(|set| set.name.as_str()).collect();
        let cohort = find(&mut keys, "lanes", &names);
        let from_us = keys.time_us("from", 0).unwrap_or(0);
        let until_us = keys.time_us("until", 0).unwrap_or(u64::MAX / 2);
        if from_us >= until_us {
            keys.refuse("until", "until must be after from");
        }
        if from_us >= plan.duration_us {
            keys.refuse(
                "from",
                "after the scenario's end: no event would be held to it",
            );
        }
        let limits = [
            keys.time_us("p50_max", 1).map(Limit::P50UsMax),
            keys.time_us("p99_max", 1).map(Limit::P99UsMax),
            keys.time_us("worst_lane_p99_max", 1)
                .map(Limit::WorstLaneP99UsMax),
            keys.rate("attempts_per_delivery_max")
                .map(Limit::AttemptsPerDeliveryMax),
            keys.rate("attempts_per_s_max")
                .map(Limit::AttemptsPerSecondMax),
            keys.percent("delivered_percent_min")
                .map(Limit::DeliveredPercentMin),
            keys.time_us("drained_by", 1).map(Limit::DrainedByUs),
            keys.rate("drain_factor_max").map(Limit::DrainFactorMax),
            keys.rate("restart_factor_max").map(Limit::RestartFactorMax),
            keys.count("window_max", 1, u64::MAX / 2)
                .map(Limit::WindowMax),
        ];
        let limits: Vec<Limit> = limits.into_iter().flatten().collect();
        let has_capacity = plan
            .lanes
            .get(cohort)
            .and_then(|set| plan.destinations.get(set.destinations))
            .is_some_and(|set| set.model.capacity_per_s.is_some());
        if limits
            .iter()
            .any(|limit| matches!(limit, Limit::DrainFactorMax(_)))
            && !has_capacity
        {
            keys.refuse(
                "drain_factor_max",
                "its destinations have no capacity_per_s to drain with",
            );
        }
        let crashes = !plan.process.crashes_us.is_empty();
        if limits
            .iter()
            .any(|limit| matches!(limit, Limit::RestartFactorMax(_)))
            && !crashes
        {
            keys.refuse(
                "restart_factor_max",
                "no crashes_at in [process]: nothing restarts",
            );
        }
        if limits.is_empty() && keys.is_sound() {
            let place = keys.place.clone();
            keys.problem(
                &place,
                "[[expect]] expects nothing: give it p99_max or the like",
            );
        }
        keys.end();
        Self {
            cohort,
            times_us: from_us..until_us,
            limits,
        }
    }

    /// Holds a run against the limits.
    pub fn verdicts(
        &self,
        cohort: &Cohort,
        figures: &Figures,
        report: &Report,
        plan: &Plan,
    ) -> Vec<Verdict> {
        let Some(measured) = report.cohorts.get(self.cohort) else {
            return Vec::new();
        };
        let verdict = |limit: &Limit| self.verdict(limit, cohort, figures, measured, report, plan);
        self.limits.iter().map(verdict).collect()
    }

    fn verdict(
        &self,
        limit: &Limit,
        cohort: &Cohort,
        figures: &Figures,
        measured: &CohortReport,
        report: &Report,
        plan: &Plan,
    ) -> Verdict {
        let slots = measured.series.within(self.times_us.clone());
        let sum =
            |of: fn(&scheduler::simulation::report::Slot) -> u64| float(slots.iter().map(of).sum());
        let (tries, delivered) = (sum(|slot| slot.tries), sum(|slot| slot.delivered));
        let seconds =
            float(measured.series.slot_us) / 1e6 * float(u64::try_from(slots.len()).unwrap_or(0));
        let delay = |percent| {
            let delays = measured.series.delays_within(self.times_us.clone());
            delays.percentile_us(percent)
        };
        match *limit {
            Limit::P50UsMax(most) => self.at_most("p50", delay(50), most),
            Limit::P99UsMax(most) => self.at_most("p99", delay(99), most),
            Limit::WorstLaneP99UsMax(most) => {
                self.at_most("p99 of the worst lane", figures.worst_lane_p99_us, most)
            }
            Limit::AttemptsPerDeliveryMax(most) => {
                self.below("attempts a delivery", tries / delivered.max(1.0), most)
            }
            Limit::AttemptsPerSecondMax(most) => {
                self.below("attempts a second", tries / seconds.max(1e-6), most)
            }
            Limit::DeliveredPercentMin(least) => {
                let percent = 100.0 * float(figures.delivered) / float(figures.arrived.max(1));
                self.verdict_of(
                    percent >= least,
                    format!("{percent:.3}% delivered (at least {least}%)"),
                )
            }
            Limit::DrainedByUs(most) => self.at_most("drained", measured.behind_us, most),
            Limit::DrainFactorMax(most) => match figures.drain_factor(cohort) {
                Some(factor) => self.below("drain over the least it could take", factor, most),
                None => {
                    self.verdict_of(false, "the destination has no capacity to spare".to_owned())
                }
            },
            Limit::RestartFactorMax(most) => self.below(
                "first second after a restart over the busiest",
                restart_factor(report, plan),
                most,
            ),
            Limit::WindowMax(most) => {
                let holds = figures.window_peak <= most;
                self.verdict_of(
                    holds,
                    format!("{} jobs in a window (at most {most})", figures.window_peak),
                )
            }
        }
    }

    fn at_most(&self, what: &str, us: u64, most: u64) -> Verdict {
        self.verdict_of(
            us <= most,
            format!("{what} {} (at most {})", time(us), time(most)),
        )
    }

    fn below(&self, what: &str, number: f64, most: f64) -> Verdict {
        self.verdict_of(
            number <= most,
            format!("{what} {number:.2} (at most {most})"),
        )
    }

    fn verdict_of(&self, holds: bool, mut text: String) -> Verdict {
        let Range { start, end } = self.times_us;
        if start > 0 || end < u64::MAX / 2 {
            let until = if end < u64::MAX / 2 {
                format!(" to {}", time(end))
            } else {
                String::new()
            };
            let from = if start > 0 {
                time(start)
            } else {
                "0".to_owned()
            };
            text = format!("from {from}{until}: {text}");
        }
        Verdict { holds, text }
    }
}

fn restart_factor(report: &Report, plan: &Plan) -> f64 {
    let by_second = &report.attempts_by_second;
    let mut worst: f64 = 0.0;
    for crash_us in &plan.process.crashes_us {
        let second = |us: u64| usize::try_from(us / 1_000_000).unwrap_or(usize::MAX);
        let before = by_second
            .get(..second(*crash_us))
            .unwrap_or_default()
            .iter()
            .max();
        let first = by_second.get(second(crash_us + plan.process.restart_us));
        if let (Some(before), Some(first)) = (before, first) {
            worst = worst.max(float((*first).into()) / float((*before).into()).max(1.0));
        }
    }
    worst
}
