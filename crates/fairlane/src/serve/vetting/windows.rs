//! Whether each lane's window holds one batch of its destination: a batch that is larger would never
//! fill, and only the definition knows how large it is.

use std::collections::HashMap;

use catalog::{BatchLimits, Catalog};
use model::Policy;
use model::limits::LANE_WINDOW_MAX;

use crate::config::{Config, ConnectionEntry};

/// A limit of the window, and that of the batch which must not be above it.
struct Pair {
    window: &'static str,
    batch: &'static str,
    unit: &'static str,
    window_of: fn(&Policy) -> Option<u64>,
    batch_of: fn(&Policy, BatchLimits) -> u64,
}

const PAIRS: [Pair; 2] = [
    Pair {
        window: "window_jobs_max",
        batch: "batch_events_max",
        unit: "events",
        window_of: |policy| policy.window_jobs_max.map(u64::from),
        batch_of: |policy, limits| {
            let said = policy.batch_events_max.unwrap_or(limits.events_max);
            // A larger one no window holds.
            let most = u64::try_from(LANE_WINDOW_MAX).unwrap_or(u64::MAX);
            u64::from(said.min(limits.events_max)).min(most)
        },
    },
    Pair {
        window: "window_bytes_max",
        batch: "batch_bytes_max",
        unit: "bytes",
        window_of: |policy| policy.window_bytes_max,
        batch_of: |policy, limits| {
            let said = policy.batch_bytes_max.unwrap_or(limits.bytes_max);
            said.min(limits.bytes_max)
        },
    },
];

/// Only windows that somebody has set are looked at: by default they hold what there is. That of
/// `[delivery]` is told once, with the connection that it is smallest for.
pub(super) fn vet(file: &str, config: &Config, catalog: &Catalog, problems: &mut Vec<String>) {
    let batches: HashMap<_, _> = config
        .destinations
        .iter()
        .filter_map(|one| {
            let definition = catalog.get(&one.definition)?;
            Some((&one.name, definition.batch(&one.settings)?))
        })
        .collect();
    for pair in &PAIRS {
        let of_all = (pair.window_of)(&config.delivery.policy);
        let mut cut: Vec<(u64, &ConnectionEntry)> = Vec::new();
        for connection in &config.connections {
            let own = (pair.window_of)(&connection.policy);
            let (Some(window), Some(limits)) =
                (own.or(of_all), batches.get(&connection.destination))
            else {
                continue;
            };
            let said = connection.policy.or(&config.delivery.policy);
            let batch = (pair.batch_of)(&said, *limits);
            if batch <= window {
                continue;
            }
            if own.is_none() {
                cut.push((batch, connection));
                continue;
            }
            let place = format!("{file}:{}: connection {}", connection.line, connection.name);
            problems.push(format!(
                "{place}: {}",
                pair.told(window, batch, connection, 1)
            ));
        }
        if let (Some(window), Some((batch, first))) =
            (of_all, cut.iter().max_by_key(|(batch, _)| *batch))
        {
            let line = config.delivery_lines.get(pair.window);
            let line = line.map(|line| format!(":{line}")).unwrap_or_default();
            let told = pair.told(window, *batch, first, cut.len());
            problems.push(format!("{file}{line}: [delivery] {told}"));
        }
    }
}

impl Pair {
    /// `connection`: the one with the largest batch, of so many that it is too small for.
    fn told(&self, window: u64, batch: u64, connection: &ConnectionEntry, of: usize) -> String {
        let unit = self.unit;
        let others = match of {
            1 => String::new(),
            of => format!(", the largest of {of} connections'"),
        };
        format!(
            "{} is {window}, less than a batch to destination {} ({batch} {unit}{others}), which \
             would never fill: raise it to {batch}, or set {} to {window} or less",
            self.window, connection.destination, self.batch
        )
    }
}
