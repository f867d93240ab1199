//! The three designs of this field on the same traffic, with the same seed: which lanes share a
//! queue is all that differs.

use super::build::Queues;
use super::chart::{Chart, Panel, Unit};
use super::file::Plan;
use super::report::{Run, backlog, p99};

/// One run for each design, worst first.
pub struct Comparison(Vec<(Queues, Run)>);

impl Comparison {
    /// # Errors
    /// A promise of the scheduler was broken.
    pub fn run(plan: &Plan, seed: u64, scale: u64) -> anyhow::Result<Self> {
        let mut runs = Vec::new();
        for (_, queues) in Queues::ALL {
            let plan = Plan {
                queues,
                ..plan.clone()
            };
            runs.push((queues, super::once(plan, seed, scale)?));
        }
        Ok(Self(runs))
    }

    pub fn render(&self) -> String {
        let heading = self
            .0
            .first()
            .map(|(_, run)| run.heading())
            .unwrap_or_default();
        let tables = self
            .0
            .iter()
            .map(|(queues, run)| format!("\n{}\n{}", queues.title(), run.table()));
        heading + &tables.collect::<String>()
    }

    pub fn to_json(&self) -> serde_json::Value {
        let runs = self.0.iter().map(|(queues, run)| {
            let name = Queues::ALL
                .iter()
                .find(|(_, other)| other == queues)
                .map(|(name, _)| *name);
            serde_json::json!({"queues": name, "run": run.to_json()})
        });
        runs.collect()
    }

    #[cfg(test)]
    pub fn of(&self, queues: Queues) -> Option<&Run> {
        let run = self.0.iter().find(|(other, _)| *other == queues);
        run.map(|(_, run)| run)
    }

    /// A row for each design: how long deliveries took, and how many events waited for theirs.
    pub fn chart(&self) -> Chart {
        let mut rows: Vec<Vec<Panel>> = Vec::new();
        for (queues, run) in &self.0 {
            let cohorts = &run.report.cohorts;
            let title = queues.title();
            rows.push(vec![
                Panel::new(
                    format!("p99 of the delay: {title}"),
                    Unit::Time,
                    cohorts.iter().map(p99).collect(),
                ),
                Panel::new(
                    "Backlog: events that wait",
                    Unit::Count,
                    cohorts.iter().map(backlog).collect(),
                ),
            ]);
        }
        for column in 0..2 {
            let top = rows
                .iter()
                .filter_map(|row| row.get(column))
                .map(|panel| panel.top)
                .fold(0.0, f64::max);
            rows.iter_mut()
                .filter_map(|row| row.get_mut(column))
                .for_each(|panel| panel.top = top);
        }
        let first = self.0.first().map(|(_, run)| run);
        Chart {
            title: first.map(|run| run.plan.title.clone()).unwrap_or_default(),
            subtitle: first
                .and_then(|run| run.heading().lines().nth(1).map(str::to_owned))
                .unwrap_or_default(),
            end_us: first.map_or(0, |run| run.plan.duration_us),
            bands: first.map(Run::bands).unwrap_or_default(),
            legend: first
                .iter()
                .flat_map(|run| &run.built.cohorts)
                .map(|cohort| cohort.name.clone())
                .collect(),
            rows,
        }
    }
}
