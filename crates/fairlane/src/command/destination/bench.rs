//! `fairlane destination bench`: what one event costs, for the events of recorded cases, and what
//! compiling costs before the first.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use catalog::play::{NOW_UNIX_S, TOKEN};
use catalog::{Definition, Origin, Planned, Stamp, Transformer, event_cases};
use model::Secret;
use serde_json::json;

use super::{catalog, check_settings, find, transformer};
use crate::cli::BenchDestinationsArgs;
use crate::table;

/// One definition's events: median microseconds of each, ascending.
struct Cost {
    id: String,
    compile_ms: f64,
    events_us: Vec<f64>,
    /// The case whose event is the slowest.
    slowest_case: String,
}

impl Cost {
    fn median(&self) -> f64 {
        middle(&self.events_us)
    }

    fn slowest(&self) -> f64 {
        self.events_us.last().copied().unwrap_or_default()
    }
}

pub fn run(args: &BenchDestinationsArgs) -> anyhow::Result<()> {
    let definitions: Vec<Arc<Definition>> = if args.ids.is_empty() {
        let catalog = catalog(&args.overlay)?;
        catalog.definitions().cloned().collect()
    } else {
        let found = args.ids.iter().map(|id| find(&args.overlay, id));
        found.collect::<Result<_, _>>()?
    };
    let mut costs = Vec::new();
    // One after the other: two at once would slow each other.
    for definition in &definitions {
        let cost = measure(definition, args.rounds)?;
        costs.extend(Some(cost).filter(|cost| !cost.events_us.is_empty()));
    }
    costs.sort_by(|left, right| left.median().total_cmp(&right.median()));
    let slow: Vec<&Cost> = costs
        .iter()
        .filter(|cost| cost.slowest() > args.slow_us)
        .collect();
    let medians: Vec<f64> = costs.iter().map(Cost::median).collect();
    if args.json {
        let all = costs.iter().map(|cost| {
            json!({"id": cost.id, "events": cost.events_us.len(), "compile_ms": cost.compile_ms,
                "median_us": cost.median(), "slowest_us": cost.slowest(),
                "slowest_case": cost.slowest_case})
        });
        let slow: Vec<&str> = slow.iter().map(|cost| cost.id.as_str()).collect();
        let report = json!({"destinations": all.collect::<Vec<_>>(),
            "median_us": middle(&medians), "slow": slow});
        println!("{report:#}");
        return Ok(());
    }
    let figure = |us: f64| format!("{us:.1}");
    let row = |cost: &Cost| {
        let events = cost.events_us.len().to_string();
        let (median, slowest) = (figure(cost.median()), figure(cost.slowest()));
        let compile = figure(cost.compile_ms);
        vec![cost.id.clone(), events, median, slowest, compile]
    };
    let rows: Vec<Vec<String>> = costs.iter().map(row).collect();
    let head = [
        "DESTINATION",
        "EVENTS",
        "MEDIAN us",
        "SLOWEST us",
        "COMPILE ms",
    ];
    print!("{}", table::layout(&head, &rows));
    println!(
        "\nmedian of {} destinations: {:.1} us; to compile them all: {:.0} ms",
        costs.len(),
        middle(&medians),
        costs.iter().map(|cost| cost.compile_ms).sum::<f64>()
    );
    if !slow.is_empty() {
        println!("with an event slower than {} us:", args.slow_us);
    }
    for cost in slow {
        println!(
            "  {}: {:.1} us, case {:?}",
            cost.id,
            cost.slowest(),
            cost.slowest_case
        );
    }
    Ok(())
}

/// Of an ascending list.
fn middle(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn measure(definition: &Arc<Definition>, rounds: u32) -> anyhow::Result<Cost> {
    let started = Instant::now();
    definition.compile()?;
    let compile_ms = started.elapsed().as_secs_f64() * 1e3;
    let mut events_us = Vec::new();
    let mut slowest = (0.0, String::new());
    for case in event_cases(definition)? {
        let settings = check_settings(definition, &case.settings.into())?;
        let mut transformer = transformer(definition, settings)?;
        for event in &case.events {
            let Some(us) = measure_event(&mut transformer, event, rounds) else {
                continue;
            };
            events_us.push(us);
            if us > slowest.0 {
                slowest = (us, case.name.clone());
            }
        }
    }
    events_us.sort_by(f64::total_cmp);
    Ok(Cost {
        id: definition.id().to_owned(),
        compile_ms,
        events_us,
        slowest_case: slowest.1,
    })
}

/// From the event's bytes to its finished requests: the median, which a pause of the machine does
/// not touch. `None` for an event that becomes none.
fn measure_event(transformer: &mut Transformer, event: &Bytes, rounds: u32) -> Option<f64> {
    let token = Secret::new(TOKEN);
    let stamp = Stamp {
        message_id: "m",
        now_unix_s: NOW_UNIX_S,
        token: Some(&token),
    };
    let mut times = Vec::new();
    for _ in 0..rounds {
        let started = Instant::now();
        match transformer.event(event, false, Origin::of_tool(0)) {
            Planned::Send { requests, .. } if !requests.is_empty() => {
                for request in &requests {
                    black_box(transformer.finish(request, stamp));
                }
            }
            Planned::Entry(entry) => {
                black_box(transformer.batch(vec![entry]));
            }
            _ => return None,
        }
        times.push(started.elapsed().as_secs_f64() * 1e6);
    }
    times.sort_by(f64::total_cmp);
    Some(middle(&times))
}
