//! The floors: the least that the same work costs on this machine, without the product.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Row;
use crate::load::{Latencies, LoadConnection};
use crate::receiver::Receiver;

/// A bare log: one thread appends `batch` events at a time to a file and waits for the disk.
pub fn append(
    name: &'static str,
    event: &[u8],
    batch: usize,
    run_for: Duration,
) -> anyhow::Result<Row> {
    let dir = super::product::scratch_dir("floor")?;
    let mut file = std::fs::File::create(dir.join("log"))?;
    let buffer = event.repeat(batch);
    let mut latencies = Latencies::default();
    let mut events = 0;
    let began = Instant::now();
    while began.elapsed() < run_for {
        let write = Instant::now();
        file.write_all(&buffer)?;
        file.sync_data()?;
        latencies.record(write.elapsed());
        events += u64::try_from(batch)?;
    }
    let seconds = began.elapsed().as_secs_f64();
    std::fs::remove_dir_all(dir)?;
    Ok(Row {
        name,
        events,
        seconds,
        p50_ms: Some(latencies.quantile_ms(500)),
        p99_ms: Some(latencies.quantile_ms(990)),
        ..Row::default()
    })
}

/// A bare HTTP client posting to the receiver that the product delivers to as well.
pub async fn post(
    name: &'static str,
    receiver: &Receiver,
    event: &Bytes,
    connections: u32,
    run_for: Duration,
) -> anyhow::Result<Row> {
    let events = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let mut connection = LoadConnection::open(receiver.address, "floor").await?;
        let (event, events) = (event.clone(), Arc::clone(&events));
        tasks.spawn(async move {
            let mut latencies = Latencies::default();
            while began.elapsed() < run_for {
                let sent = Instant::now();
                connection.post("/", event.clone()).await?;
                latencies.record(sent.elapsed());
                events.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(latencies)
        });
    }
    let mut latencies = Latencies::default();
    while let Some(task) = tasks.join_next().await {
        latencies.merge(task??);
    }
    Ok(Row {
        name,
        events: events.load(Ordering::Relaxed),
        seconds: began.elapsed().as_secs_f64(),
        p50_ms: Some(latencies.quantile_ms(500)),
        p99_ms: Some(latencies.quantile_ms(990)),
        ..Row::default()
    })
}
