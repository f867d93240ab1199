//! The figures of one cohort of a run, and how a person says them.

use scheduler::simulation::{Delays, Report};

use super::build::{Built, Cohort};
use super::file::float;

/// What the report's table says of a cohort.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    pub arrived: u64,
    pub delivered: u64,
    pub rejected: u64,
    pub filtered: u64,
    pub expired: u64,
    pub repeated: u64,
    pub tries: u64,
    pub p50_us: u64,
    pub p99_us: u64,
    pub max_us: u64,
    pub worst_lane_p99_us: u64,
    pub backlog_peak: u64,
    pub backlog_peak_us: u64,
    /// When it was last behind.
    pub behind_us: u64,
    pub window_peak: u64,
    /// Of the lanes' shares of what each wanted delivered within a second: 1 is even (Jain).
    pub fairness: f64,
}

impl Figures {
    pub fn of(number: usize, built: &Built, report: &Report) -> Self {
        let mut figures = Self::default();
        let mut all = Delays::default();
        let mut shares = Shares::default();
        let lanes = built.scenario.lanes.iter().zip(&report.lanes);
        for (_, lane) in lanes.filter(|(model, _)| model.cohort == number) {
            figures.arrived += lane.accepted;
            figures.delivered += lane.counts.delivered;
            figures.rejected += lane.counts.rejected;
            figures.filtered += lane.counts.filtered_total();
            figures.expired += lane.counts.expired;
            figures.repeated += lane.repeated;
            figures.tries += lane.tries;
            let p99_us = lane.delays.percentile_us(99);
            figures.worst_lane_p99_us = figures.worst_lane_p99_us.max(p99_us);
            figures.window_peak = figures.window_peak.max(lane.window_peak.into());
            all.merge(&lane.delays);
            if lane.accepted > 0 {
                shares.add(float(lane.delays.within(SOON_US)) / float(lane.accepted));
            }
        }
        (figures.p50_us, figures.p99_us) = (all.percentile_us(50), all.percentile_us(99));
        figures.max_us = all.percentile_us(100);
        figures.fairness = shares.jain();
        if let Some(cohort) = report.cohorts.get(number) {
            figures.backlog_peak = cohort.backlog_peak;
            figures.backlog_peak_us = cohort.backlog_peak_us;
            figures.behind_us = cohort.behind_us;
        }
        figures
    }

    pub fn attempts_per_delivery(&self) -> f64 {
        float(self.tries) / float(self.delivered.max(1))
    }

    /// How long the backlog took to drain after the faults, against what the capacity that new
    /// events leave would need for it.
    pub fn drain_factor(&self, cohort: &Cohort) -> Option<f64> {
        let spare = cohort.capacity_per_s? - cohort.events_per_s;
        let least_s = float(self.backlog_peak) / spare;
        let took_s = float(self.behind_us.saturating_sub(cohort.mended_us)) / 1e6;
        (spare > 0.0 && least_s > 0.0).then(|| took_s / least_s)
    }
}

/// What is delivered within this time is delivered soon.
const SOON_US: u64 = 1_000_000;

/// Jain's index of fairness: the square of the sum over the sum of the squares.
#[derive(Default)]
struct Shares {
    count: u64,
    sum: f64,
    squares: f64,
}

impl Shares {
    fn add(&mut self, share: f64) {
        self.count += 1;
        self.sum += share;
        self.squares += share * share;
    }

    fn jain(&self) -> f64 {
        if self.squares > 0.0 {
            self.sum * self.sum / (float(self.count) * self.squares)
        } else {
            1.0
        }
    }
}

/// `850us`, `12ms`, `1.5s`, `20s`, `3m 20s`, `2h 5m`.
pub fn time(us: u64) -> String {
    const SECOND: u64 = 1_000_000;
    match us {
        0..1_000 => format!("{us}us"),
        1_000..SECOND => format!("{}ms", us / 1_000),
        SECOND..60_000_000 => match us % SECOND / 100_000 {
            0 => format!("{}s", us / SECOND),
            tenths => format!("{}.{tenths}s", us / SECOND),
        },
        60_000_000..3_600_000_000 => two(us / SECOND, 60, "m", "s"),
        _ => two(us / SECOND / 60, 60, "h", "m"),
    }
}

fn two(small: u64, per_large: u64, large: &str, unit: &str) -> String {
    match (small / per_large, small % per_large) {
        (whole, 0) => format!("{whole}{large}"),
        (whole, rest) => format!("{whole}{large} {rest}{unit}"),
    }
}

/// `16,000`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
