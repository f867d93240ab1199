//! `fairlane bench`: what this machine does, and what its floors are, measured in the same run.
//!
//! The product runs as a child process, so that its CPU time and memory are its own; the load
//! generator and the receiver run here. Figures vary with the machine: compare the ratios.

mod floor;
mod product;
mod run;
mod scale;

use std::time::Duration;

use serde_json::json;

use crate::cli::BenchArgs;
use crate::table;

/// One line of the report.
#[derive(Default)]
pub struct Row {
    pub name: &'static str,
    /// The floor that this row is compared with, by name.
    pub floor: Option<&'static str>,
    pub events: u64,
    pub seconds: f64,
    /// CPU time of the product alone.
    pub cpu_seconds: Option<f64>,
    pub p50_ms: Option<f64>,
    pub p99_ms: Option<f64>,
    pub rss_mib: Option<f64>,
    /// What the columns have no place for.
    pub note: String,
}

impl Row {
    pub fn rate(&self) -> f64 {
        count(self.events) / self.seconds
    }

    fn cpu_us(&self) -> Option<f64> {
        self.cpu_seconds
            .map(|seconds| seconds * 1e6 / count(self.events.max(1)))
    }
}

pub fn run(args: &BenchArgs) -> anyhow::Result<()> {
    run::check_only(args.only.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let rows = runtime.block_on(run::all(args))?;
    if args.json {
        let rows: Vec<_> = rows.iter().map(|row| to_json(row, &rows)).collect();
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        print!("{}", render(&rows));
    }
    Ok(())
}

fn ratio(row: &Row, rows: &[Row]) -> Option<f64> {
    let floor = rows.iter().find(|other| Some(other.name) == row.floor)?;
    Some(row.rate() / floor.rate())
}

fn to_json(row: &Row, rows: &[Row]) -> serde_json::Value {
    json!({
        "name": row.name, "events": row.events, "seconds": row.seconds,
        "events_per_s": row.rate(), "cpu_us_per_event": row.cpu_us(),
        "p50_ms": row.p50_ms, "p99_ms": row.p99_ms, "rss_mib": row.rss_mib,
        "floor": row.floor, "ratio_to_floor": ratio(row, rows), "note": row.note,
    })
}

fn render(rows: &[Row]) -> String {
    let number = |value: Option<f64>, digits: usize| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
    };
    let lines: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            vec![
                row.name.to_owned(),
                row.floor.unwrap_or("-").to_owned(),
                format!("{:.0}", row.rate()),
                number(ratio(row, rows), 2),
                number(row.cpu_us(), 1),
                number(row.p50_ms, 2),
                number(row.p99_ms, 2),
                number(row.rss_mib, 0),
                row.note.clone(),
            ]
        })
        .collect();
    table::layout(
        &[
            "MEASURED",
            "FLOOR",
            "EVENTS/S",
            "OF FLOOR",
            "CPU US/EVENT",
            "P50 MS",
            "P99 MS",
            "RSS MIB",
            "",
        ],
        &lines,
    )
}

/// A count for division: exact up to 2^53, far above what a run can reach.
pub fn count(events: u64) -> f64 {
    events as f64
}

/// The longest that a phase may take after its load has ended, until all is delivered.
pub const DRAIN_MAX: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests;
