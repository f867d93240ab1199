//! What many lanes and a long backlog cost: memory, and the time to start.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use super::product::{Product, WRITE_KEY};
use super::run::{Load, generate, source};
use super::{Row, count};

/// Connections that each have a destination and a lane of their own, and nothing to do.
pub fn idle_lanes(name: &'static str, lanes: u32) -> anyhow::Result<Row> {
    let mut registry = String::new();
    // As many lanes to a source as the largest published system of this kind has.
    let sources = lanes.div_ceil(2);
    for index in 0..sources {
        writeln!(
            registry,
            "[[sources]]\nname = \"s{index}\"\nwrite_key = \"{WRITE_KEY}-{index}\""
        )?;
    }
    for index in 0..lanes {
        let source = index % sources;
        writeln!(
            registry,
            "[[destinations]]\nname = \"d{index}\"\ntype = \"webhook\"\n\
             settings = {{ url = \"https://hooks.example/{index}\" }}\n\
             [[connections]]\nname = \"c{index}\"\nsource = \"s{source}\"\ndestination = \"d{index}\""
        )?;
    }
    let began = Instant::now();
    let product = Product::start("lanes", &registry)?;
    let first = began.elapsed();
    let (product, again) = product.restart()?;
    Ok(Row {
        name,
        events: u64::from(lanes),
        seconds: again.as_secs_f64(),
        rss_mib: Some(product.settled_rss_mib()?),
        note: format!(
            "{lanes} lanes: first start {:.1} s, restart {:.1} s",
            first.as_secs_f64(),
            again.as_secs_f64()
        ),
        ..Row::default()
    })
}

/// Events pile up for a destination where nobody listens.
pub async fn backlog(name: &'static str, load: Load, events: u64) -> anyhow::Result<Row> {
    let nobody = "[[destinations]]\nname = \"dead\"\ntype = \"webhook\"\n\
                  settings = { url = \"http://127.0.0.1:9999/\" }\n\
                  [[connections]]\nname = \"dead\"\nsource = \"bench\"\ndestination = \"dead\"\n";
    let product = Product::start("backlog", &(source() + nobody))?;
    // What any load costs is there before the backlog is measured.
    generate(
        &product,
        Load {
            run_for: Duration::from_secs(1),
            ..load
        },
    )
    .await?;
    let before = product.settled_rss_mib()?;
    let began = Instant::now();
    let mut sent = 0;
    while sent < events {
        sent += generate(
            &product,
            Load {
                run_for: Duration::from_secs(1),
                ..load
            },
        )
        .await?
        .events;
    }
    let seconds = began.elapsed().as_secs_f64();
    let after = product.settled_rss_mib()?;
    let (product, restart) = product.restart()?;
    Ok(Row {
        name,
        events: sent,
        seconds,
        rss_mib: Some(after),
        note: format!(
            "{:.1} million events: RSS grew by {:.0} MiB; after kill -9 ready in {:.1} s with {:.0} MiB",
            count(sent) / 1e6,
            after - before,
            restart.as_secs_f64(),
            product.settled_rss_mib()?
        ),
        ..Row::default()
    })
}
