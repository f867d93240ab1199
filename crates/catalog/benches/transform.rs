//! What one event costs: event bytes to a finished request, for the events of every destination's
//! recorded cases.
//!
//! `cargo bench -p catalog` measures; any other run (as a test) goes through everything once.

use std::alloc::System;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use catalog::alloc::CountingAllocator;
use catalog::{Catalog, Definition, Planned, Stamp, Transformer};
use model::Settings;
use serde_json::Value;

// As in the binary: counting is part of the cost.
#[global_allocator]
static ALLOCATOR: CountingAllocator<System> = CountingAllocator::new(System);

fn main() {
    let rounds = if std::env::args().any(|argument| argument == "--bench") {
        2_000
    } else {
        1
    };
    let catalog = Catalog::embedded().expect("the catalog's own tests hold it");
    let mut medians: Vec<(f64, String)> = Vec::new();
    for definition in catalog.definitions() {
        for (settings, event) in cases(definition.id()) {
            if let Some(micros) = measure(definition, &settings, &event, rounds) {
                medians.push((micros, format!("{} ({} B)", definition.id(), event.len())));
            }
        }
    }
    medians.sort_by(|left, right| left.0.total_cmp(&right.0));
    for (micros, name) in &medians {
        println!("{micros:8.1} us  {name}");
    }
    if let Some((micros, _)) = medians.get(medians.len() / 2) {
        println!("{micros:8.1} us  median of {} events", medians.len());
    }
}

/// Settings and event of every case that has both.
fn cases(id: &str) -> Vec<(Settings, Bytes)> {
    let dir = format!(
        "{}/../../destinations/{id}/cases",
        env!("CARGO_MANIFEST_DIR")
    );
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(file.path()).unwrap_or_default();
        let parsed: Value = serde_json::from_str(&text).unwrap_or_default();
        let list = parsed.as_array().cloned().unwrap_or_else(|| vec![parsed]);
        for case in list {
            let settings = case.get("settings").cloned().unwrap_or_default();
            if let (Ok(settings), Some(event)) =
                (serde_json::from_value(settings), case.get("event"))
            {
                found.push((settings, event.to_string().into()));
            }
        }
    }
    found
}

/// Median microseconds; `None` for an event that becomes no request.
fn measure(
    definition: &Arc<Definition>,
    settings: &Settings,
    event: &Bytes,
    rounds: u32,
) -> Option<f64> {
    let checked = definition.check_settings(settings).ok()?;
    let mut transformer =
        Transformer::new(Arc::clone(definition), checked, &[], None, None).ok()?;
    let mut times = Vec::new();
    let stamp = Stamp {
        message_id: "m",
        now_unix_s: 1_700_000_000,
        token: None,
    };
    for _ in 0..rounds {
        let started = Instant::now();
        match transformer.event(event, false) {
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
    times.get(times.len() / 2).copied()
}
