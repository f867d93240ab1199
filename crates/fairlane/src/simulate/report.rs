//! What a run came to: as a table, as JSON, as a chart.

use std::time::Duration;

use scheduler::simulation::{CohortReport, Report};
use serde_json::{Value, json};

use super::build::Built;
use super::chart::{Chart, Line, Panel, Unit};
use super::expect::Verdict;
use super::figures::{Figures, grouped, time};
use super::file::{Plan, float};
use crate::table;

/// How long a run took.
#[derive(Clone, Copy, Debug, Default)]
pub struct Took {
    pub wall: Duration,
    /// Of them, on a core; 0 where the system does not say.
    pub core: Duration,
}

/// A scenario that was run to its end, with no promise broken.
pub struct Run {
    pub plan: Plan,
    pub scale: u64,
    pub seed: u64,
    pub built: Built,
    pub report: Report,
    pub took: Took,
    pub figures: Vec<Figures>,
    pub verdicts: Vec<(String, Verdict)>,
}

impl Run {
    pub fn new(
        plan: Plan,
        scale: u64,
        seed: u64,
        built: Built,
        report: Report,
        took: Took,
    ) -> Self {
        let figures: Vec<Figures> = (0..built.cohorts.len())
            .map(|number| Figures::of(number, &built, &report))
            .collect();
        let mut verdicts = Vec::new();
        for expect in &plan.expects {
            if let (Some(cohort), Some(own)) =
                (built.cohorts.get(expect.cohort), figures.get(expect.cohort))
            {
                let all = expect.verdicts(cohort, own, &report, &plan);
                verdicts.extend(
                    all.into_iter()
                        .map(|verdict| (cohort.name.clone(), verdict)),
                );
            }
        }
        Self {
            plan,
            scale,
            seed,
            built,
            report,
            took,
            figures,
            verdicts,
        }
    }

    pub fn holds(&self) -> bool {
        self.verdicts.iter().all(|(_, verdict)| verdict.holds)
    }

    pub fn render(&self) -> String {
        format!(
            "{}\n{}\n{}{}",
            self.heading(),
            self.table(),
            self.footing(),
            self.render_verdicts()
        )
    }

    /// What ran, and at which scale.
    pub fn heading(&self) -> String {
        let scenario = &self.built.scenario;
        let scale = match self.scale {
            1 => "full size".to_owned(),
            scale => format!("scale 1:{scale}: every event here stands for {scale}"),
        };
        format!(
            "{}\n{} lanes, {} sources, {} destinations; {scale}; seed {}\n",
            self.plan.title,
            grouped(len(scenario.lanes.len())),
            grouped(len(scenario.streams.len())),
            grouped(len(scenario.destinations.len())),
            self.seed,
        )
    }

    pub fn table(&self) -> String {
        let header = [
            "LANES",
            "NUMBER",
            "ARRIVED",
            "DELIVERED",
            "DEAD",
            "TRIES EACH",
            "P50",
            "P99",
            "WORST LANE P99",
            "LONGEST",
            "BACKLOG PEAK",
            "AT",
            "DRAINED",
            "FAIRNESS",
        ];
        let rows: Vec<Vec<String>> = self
            .built
            .cohorts
            .iter()
            .zip(&self.figures)
            .map(|(cohort, figures)| {
                vec![
                    cohort.name.clone(),
                    grouped(cohort.lanes),
                    grouped(figures.arrived),
                    grouped(figures.delivered),
                    grouped(figures.rejected + figures.expired),
                    format!("{:.3}", figures.attempts_per_delivery()),
                    time(figures.p50_us),
                    time(figures.p99_us),
                    time(figures.worst_lane_p99_us),
                    time(figures.max_us),
                    grouped(figures.backlog_peak),
                    time(figures.backlog_peak_us),
                    if figures.behind_us == 0 {
                        "-".to_owned()
                    } else {
                        time(figures.behind_us)
                    },
                    format!("{:.3}", figures.fairness),
                ]
            })
            .collect();
        table::layout(&header, &rows)
    }

    fn footing(&self) -> String {
        let report = &self.report;
        let repeated: u64 = self.figures.iter().map(|figures| figures.repeated).sum();
        let windows = self
            .figures
            .iter()
            .map(|figures| figures.window_peak)
            .max()
            .unwrap_or(0);
        format!(
            "every event ended once: none lost, {} repeated after crashes; at most {} attempts under way, \
             {} jobs in a window\n\
             all settled at {} of virtual time; {} scheduler steps in {:.1} s, {:.1} s of a core: {} a \
             second of it\n",
            grouped(repeated),
            grouped(report.in_flight_peak.into()),
            grouped(windows),
            time(report.settled_us),
            grouped(report.steps),
            self.took.wall.as_secs_f64(),
            self.took.core.as_secs_f64(),
            grouped(self.steps_per_s()),
        )
    }

    pub fn steps_per_s(&self) -> u64 {
        let Took { wall, core } = self.took;
        let took = if core.is_zero() { wall } else { core };
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX).max(1);
        self.report.steps.saturating_mul(1_000_000) / micros
    }

    fn render_verdicts(&self) -> String {
        let line = |(cohort, verdict): &(String, Verdict)| {
            let word = if verdict.holds { "holds " } else { "BROKEN" };
            format!("{word}  {cohort}: {}\n", verdict.text)
        };
        let lines: String = self.verdicts.iter().map(line).collect();
        if lines.is_empty() {
            lines
        } else {
            format!("\n{lines}")
        }
    }

    pub fn to_json(&self) -> Value {
        let cohorts: Vec<Value> = self
            .built
            .cohorts
            .iter()
            .zip(&self.figures)
            .map(|(cohort, figures)| {
                json!({
                    "name": cohort.name, "lanes": cohort.lanes, "arrived": figures.arrived,
                    "delivered": figures.delivered, "rejected": figures.rejected,
                    "filtered": figures.filtered, "expired": figures.expired,
                    "repeated": figures.repeated, "tries": figures.tries,
                    "attempts_per_delivery": figures.attempts_per_delivery(),
                    "p50_us": figures.p50_us, "p99_us": figures.p99_us, "max_us": figures.max_us,
                    "worst_lane_p99_us": figures.worst_lane_p99_us,
                    "backlog_peak": figures.backlog_peak, "backlog_peak_us": figures.backlog_peak_us,
                    "drained_us": figures.behind_us, "window_peak": figures.window_peak,
                    "drain_factor": figures.drain_factor(cohort), "fairness": figures.fairness,
                })
            })
            .collect();
        let verdicts: Vec<Value> = self
            .verdicts
            .iter()
            .map(|(cohort, verdict)| json!({"lanes": cohort, "holds": verdict.holds, "text": verdict.text}))
            .collect();
        json!({
            "title": self.plan.title, "seed": self.seed, "scale": self.scale,
            "lanes": self.built.scenario.lanes.len(), "steps": self.report.steps,
            "seconds": self.took.wall.as_secs_f64(), "core_seconds": self.took.core.as_secs_f64(),
            "steps_per_s": self.steps_per_s(),
            "settled_us": self.report.settled_us, "in_flight_peak": self.report.in_flight_peak,
            "cohorts": cohorts, "expectations": verdicts,
        })
    }

    pub fn chart(&self) -> Chart {
        let mut panels = [
            ("Backlog: events that wait", Unit::Count, Vec::new()),
            ("Attempts a second", Unit::Count, Vec::new()),
            (
                "p99 of the delay, by the time at which events arrived",
                Unit::Time,
                Vec::new(),
            ),
        ];
        for cohort in &self.report.cohorts {
            let lines = [backlog(cohort), attempts(cohort), p99(cohort)];
            for ((_, _, panel), line) in panels.iter_mut().zip(lines) {
                panel.push(line);
            }
        }
        let rows = panels
            .into_iter()
            .map(|(title, unit, lines)| vec![Panel::new(title, unit, lines)]);
        Chart {
            title: self.plan.title.clone(),
            subtitle: self.heading().lines().nth(1).unwrap_or_default().to_owned(),
            end_us: self.end_us(),
            bands: self.bands(),
            legend: self
                .built
                .cohorts
                .iter()
                .map(|cohort| cohort.name.clone())
                .collect(),
            rows: rows.collect(),
        }
    }

    /// Arrivals are over, and whoever was behind is no more.
    pub fn end_us(&self) -> u64 {
        let behind = self
            .figures
            .iter()
            .map(|figures| figures.behind_us)
            .max()
            .unwrap_or(0);
        self.plan.duration_us.max(behind + behind / 20)
    }

    /// When all destinations of a kind have the same fault. One that comes and goes is not drawn.
    pub fn bands(&self) -> Vec<std::ops::Range<u64>> {
        let sets = self.plan.destinations.iter().flat_map(|set| &set.faults);
        let steady = sets
            .filter(|set| set.rolling.is_none())
            .map(|set| &set.fault);
        let bands = steady.map(|fault| fault.from_us..fault.until_us);
        // A fault that never ends is how the destination is.
        bands.filter(|band| band.end < u64::MAX / 2).collect()
    }
}

pub fn backlog(cohort: &CohortReport) -> Line {
    let mut waiting = 0;
    let slots = &cohort.series.slots;
    let after = slots.iter().map(|slot| {
        waiting = waiting + slot.arrived - slot.ended;
        Some(float(waiting))
    });
    by_time(cohort, after)
}

fn attempts(cohort: &CohortReport) -> Line {
    let seconds = float(cohort.series.slot_us) / 1e6;
    let slots = &cohort.series.slots;
    by_time(
        cohort,
        slots.iter().map(|slot| Some(float(slot.tries) / seconds)),
    )
}

pub fn p99(cohort: &CohortReport) -> Line {
    let slots = &cohort.series.slots;
    let p99 = slots
        .iter()
        .map(|slot| (slot.delays.count() > 0).then(|| float(slot.delays.percentile_us(99))));
    by_time(cohort, p99)
}

fn by_time(cohort: &CohortReport, values: impl Iterator<Item = Option<f64>>) -> Line {
    let slot_us = cohort.series.slot_us;
    (0..)
        .map(|slot| slot * slot_us + slot_us / 2)
        .zip(values)
        .collect()
}

fn len(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}
