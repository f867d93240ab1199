//! How fast it is, beside a bare `fdatasync` on the same disk. By hand:
//! `cargo test -p eventlog --release -- --ignored --nocapture speed`

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use eventlog::report::FSYNC_BUCKETS_US;
use eventlog::{AppendBatch, EventLog, Options, RecordFlags};
use model::{Offset, SourceId};

use crate::support::{NOW, open, run};

const BYTES: usize = 1_024;

fn batch(records: u64) -> AppendBatch {
    let mut batch = AppendBatch::new();
    let payload = vec![b'x'; BYTES];
    for n in 0..records {
        batch.push(
            SourceId(u32::try_from(n % 16).unwrap()),
            NOW,
            n,
            RecordFlags::NONE,
            &payload,
        );
    }
    batch
}

/// Appends from `producers` tasks for a while: records a second, and latencies.
fn produce(log: &EventLog, producers: usize, records: u64, lasting: Duration) -> (f64, Duration) {
    let rt = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    let began = Instant::now();
    let mut latencies = rt.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..producers {
            let log = log.clone();
            tasks.spawn(async move {
                let mut latencies = Vec::new();
                while began.elapsed() < lasting {
                    let batch = batch(records);
                    let sent = Instant::now();
                    log.append(batch).await.unwrap();
                    latencies.push(sent.elapsed());
                }
                latencies
            });
        }
        tasks.join_all().await.concat()
    });
    latencies.sort_unstable();
    let appended = u64::try_from(latencies.len()).unwrap() * records;
    let per_second = appended as f64 / began.elapsed().as_secs_f64();
    (per_second, latencies[latencies.len() / 2])
}

fn lone_sync(dir: &std::path::Path) -> Duration {
    let file = std::fs::File::create(dir.join("bare")).unwrap();
    file.write_all_at(&vec![0; 8 << 20], 0).unwrap();
    file.sync_all().unwrap();
    let mut took: Vec<_> = (0..500_u64)
        .map(|n| {
            let began = Instant::now();
            file.write_all_at(&[1; BYTES], n * 1_100).unwrap();
            file.sync_data().unwrap();
            began.elapsed()
        })
        .collect();
    took.sort_unstable();
    took[took.len() / 2]
}

/// Appends at several loads. `retention_bytes_max` decides whether segments are recycled.
fn measure(retention_bytes_max: u64) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let began = Instant::now();
    let log = open(Options {
        retention_bytes_max,
        ..Options::new(dir.path().join("log"))
    })
    .log;
    println!("open, empty: {:?}", began.elapsed());
    while retention_bytes_max < 1 << 30 && log.first() == Offset(0) {
        run(log.append(batch(2_000))).unwrap();
        log.trim(log.end(), NOW).unwrap();
    }
    let (trimmed, stop) = (log.clone(), Arc::new(AtomicBool::new(false)));
    let stopped = Arc::clone(&stop);
    let trimmer = std::thread::spawn(move || {
        while !stopped.load(Ordering::Relaxed) {
            trimmed.trim(trimmed.end(), NOW).unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    println!("lone write + fdatasync: p50 {:?}", lone_sync(dir.path()));
    for (producers, records) in [(1, 1), (16, 1), (64, 1), (1_024, 1), (64, 100)] {
        let before = log.stats();
        let (per_second, p50) = produce(&log, producers, records, Duration::from_secs(4));
        let after = log.stats();
        let commits = after.commits - before.commits;
        let sync_us = (after.fsync_us_sum - before.fsync_us_sum) / commits;
        println!(
            "{producers} x {records}: {per_second:.0} records/s, p50 {p50:?}; \
             {commits} commits, {sync_us} us a sync"
        );
        let buckets = after
            .fsync_buckets
            .iter()
            .zip(before.fsync_buckets)
            .map(|(a, b)| a - b);
        println!(
            "    syncs {:?} by {:?}",
            buckets.collect::<Vec<_>>(),
            FSYNC_BUCKETS_US
        );
    }
    stop.store(true, Ordering::Relaxed);
    trimmer.join().unwrap();
}

#[test]
#[ignore = "a measurement"]
fn speed_of_appends_to_fresh_segments() {
    measure(64 << 30);
}

/// Appends batches of 100 small events at a fixed rate, from tasks that wait for nothing but their
/// own answer, and returns the latencies.
fn load(log: &EventLog, batches_per_second: u64, lasting: Duration) -> Vec<Duration> {
    let rt = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .unwrap();
    rt.block_on(async {
        let mut tasks = tokio::task::JoinSet::new();
        let began = Instant::now();
        let count = batches_per_second * lasting.as_secs();
        for n in 0..count {
            let due = began + Duration::from_micros(n * 1_000_000 / batches_per_second);
            tokio::time::sleep_until(due.into()).await;
            let log = log.clone();
            tasks.spawn(async move {
                log.append(small_batch(n)).await.unwrap();
                due.elapsed()
            });
        }
        tasks.join_all().await
    })
}

fn small_batch(n: u64) -> AppendBatch {
    let mut batch = AppendBatch::new();
    let stream = SourceId(u32::try_from(n % 16).unwrap());
    (0..100).for_each(|hash| batch.push(stream, NOW, hash, RecordFlags::NONE, &[b'x'; 300]));
    batch
}

#[test]
#[ignore = "a measurement"]
fn latency_of_appends_while_segments_fill() {
    for retention_bytes_max in [64 << 30, 512 << 20] {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let log = open(Options {
            retention_bytes_max,
            ..Options::new(dir.path().join("log"))
        })
        .log;
        for batches_per_second in [300, 1_000, 2_000, 3_000] {
            let stop = AtomicBool::new(false);
            let (before, mut latencies) = std::thread::scope(|scope| {
                scope.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        log.trim(log.end(), NOW).unwrap();
                        std::thread::sleep(Duration::from_millis(20));
                    }
                });
                let before = log.stats();
                let latencies = load(&log, batches_per_second, Duration::from_secs(8));
                stop.store(true, Ordering::Relaxed);
                (before, latencies)
            });
            let after = log.stats();
            latencies.sort_unstable();
            let at = |part: usize| latencies[(latencies.len() - 1) * part / 1_000];
            let syncs = after.fsync_buckets.iter().zip(before.fsync_buckets);
            println!(
                "{batches_per_second} batches/s, {} segments: p50 {:?}, p99 {:?}, p99.9 {:?}, \
                 max {:?}; syncs {:?}",
                after.segments,
                at(500),
                at(990),
                at(999),
                at(1_000),
                syncs.map(|(a, b)| a - b).collect::<Vec<_>>(),
            );
        }
    }
}

#[test]
#[ignore = "a measurement"]
fn speed_of_appends_to_recycled_segments() {
    measure(512 << 20);
}

#[test]
#[ignore = "a measurement"]
fn speed_of_a_backlog() {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let options = Options::new(dir.path().join("log"));
    let log = open(options.clone()).log;
    let count = 5_000_000_u64;
    let began = Instant::now();
    for _ in 0..count / 2_000 {
        run(log.append(batch(2_000))).unwrap();
    }
    println!("{count} appended in {:?}; {}", began.elapsed(), rss());
    let began = Instant::now();
    log.close();
    println!("closed in {:?}", began.elapsed());
    let began = Instant::now();
    let opened = open(options);
    println!(
        "opened in {:?} ({:?} records); {}",
        began.elapsed(),
        opened.recovery.records,
        rss()
    );
    let log = opened.log;
    let began = Instant::now();
    let (mut at, mut listed, mut refs) = (Offset(0), 0, Vec::new());
    while at < log.end() {
        at = log.offsets(SourceId(3), at, 1_000, &mut refs).unwrap();
        listed += refs.len();
        refs.clear();
    }
    println!(
        "{listed} offsets of one stream listed in {:?}; {}",
        began.elapsed(),
        rss()
    );
    let began = Instant::now();
    (0..200_000).for_each(|n| drop(log.read(Offset(n)).unwrap()));
    println!(
        "200000 cold records read in {:?}; {}",
        began.elapsed(),
        rss()
    );
    let began = Instant::now();
    let mut seen = 0_u64;
    log.messages_since(NOW, &mut |_, _, _| seen += 1).unwrap();
    println!("{seen} messages listed in {:?}; {}", began.elapsed(), rss());
}

fn rss() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status
        .lines()
        .filter(|line| line.starts_with("VmRSS") || line.starts_with("VmHWM"))
        .collect()
}
