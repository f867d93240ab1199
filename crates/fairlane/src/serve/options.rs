//! What each part is started with, out of the configuration.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;
use model::{Offset, Registry, Secret};
use rustix::fs::Access;
use store::{KeySource, LaneKind, Store};

use super::descriptors::Shares;
use crate::allocator;
use crate::config::{Config, File, process_environment};

/// Names the key that seals secrets at rest: 32 bytes, as hex or base64.
const KEY_VARIABLE: &str = "FAIRLANE_KEY";

/// A path of the configuration, which is relative to the file that says it.
pub fn beside(config_path: &Path, path: &Path) -> PathBuf {
    config_path.parent().unwrap_or(Path::new("")).join(path)
}

/// Opens the store of a configuration, which is made if there is none; the rest of the file may
/// still be wrong.
///
/// # Errors
/// The file does not say where the data is, or the store cannot be opened.
pub fn open_store(file: &File) -> anyhow::Result<Store> {
    open_store_in(&data_dir(file)?)
}

/// The store of a configuration, if there is one: nothing is made.
///
/// # Errors
/// As [`open_store`].
pub fn existing_store(file: &File) -> anyhow::Result<Option<Store>> {
    let data_dir = data_dir(file)?;
    let exists = Store::exists_in(&data_dir);
    exists.then(|| open_store_in(&data_dir)).transpose()
}

fn data_dir(file: &File) -> anyhow::Result<PathBuf> {
    let data_dir = file.data_dir(&process_environment())?;
    Ok(beside(file.path(), &data_dir))
}

fn open_store_in(data_dir: &Path) -> anyhow::Result<Store> {
    // Events and settings are nobody else's business.
    let made = DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir);
    let writable = made.and_then(|()| Ok(rustix::fs::access(data_dir, Access::WRITE_OK)?));
    writable.with_context(|| {
        format!(
            "cannot write to the data directory {}: set data_dir under [server] to a directory \
             that this user may write",
            data_dir.display()
        )
    })?;
    let mut options = store::Options::new(data_dir);
    if let Ok(text) = std::env::var(KEY_VARIABLE) {
        let variable = KEY_VARIABLE.to_owned();
        options.key = KeySource::Env {
            variable,
            text: Secret::new(text),
        };
    }
    Ok(Store::open(options, super::now())?)
}

/// The configured sources, destinations and connections with their numbers.
pub fn registry(config: &Config, store: &Store) -> anyhow::Result<Registry> {
    config.to_registry(
        |names| Ok(store.source_ids(names)?),
        |names| Ok(store.destination_ids(names)?),
        |names| Ok(store.connection_ids(names)?),
    )
}

pub fn log(
    config_path: &Path,
    config: &Config,
    store: &Store,
) -> anyhow::Result<eventlog::Options> {
    let data_dir = beside(config_path, &config.server.data_dir);
    // What a redelivery remembers are numbers of dead letters.
    let lanes = store.lanes()?;
    let of_log = lanes
        .iter()
        .filter(|lane| lane.kind != LaneKind::Redelivery);
    let highest = of_log.map(|lane| lane.progress.end()).max();
    Ok(eventlog::Options {
        segment_bytes_max: config.log.segment_bytes_max,
        retention_age_ms: config.log.retention_age_ms,
        retention_bytes_max: config.log.retention_bytes_max,
        commit_queue_bytes_max: config.log.commit_queue_bytes_max,
        // Should the log's files be lost, new records must not get offsets that lanes remember.
        end_min: highest.unwrap_or(Offset::ZERO),
        on_fatal: fatal,
        on_idle: allocator::give_back,
        ..eventlog::Options::new(data_dir.join("log"))
    })
}

/// Time for answers to reach those who wait, once nothing can be made durable any more.
const LAST_ANSWERS: Duration = Duration::from_millis(200);

/// Ends the process, which must not go on with a disk that failed: what the kernel's cache holds
/// may differ from the disk, and the next start looks at the disk alone. Requests that wait have
/// been failed by now; their clients should hear it instead of losing the connection.
fn fatal(reason: &str) {
    tracing::error!(
        "{reason}: the process ends, and must be started again; every event that was acknowledged \
         is on the disk"
    );
    std::thread::sleep(LAST_ANSWERS);
    std::process::exit(super::DISK_FAILED)
}

/// Says what the log found when it was opened, once.
pub fn report_recovery(report: &eventlog::RecoveryReport) {
    if !report.clean {
        tracing::info!(
            torn_bytes = report.torn_bytes,
            relogged_records = report.relogged_records,
            "the last run did not end in order: its tail was made durable again"
        );
    }
    for range in &report.quarantined {
        tracing::error!(
            segment = range.segment.0,
            from = range.offsets.start.0,
            to = range.offsets.end.0,
            bytes = ?range.bytes,
            "damaged records: they are lost to this disk, all others are served"
        );
    }
}

pub fn delivery(config_path: &Path, config: &Config, shares: Shares) -> delivery::Options {
    let section = &config.delivery;
    let egress = delivery::EgressPolicy {
        allow: section.egress_allow.clone(),
        allow_http: section.egress_allow_http,
        extra_ca_pem: section
            .extra_ca
            .as_ref()
            .map(|path| beside(config_path, path)),
        ..delivery::EgressPolicy::default()
    };
    let shards = config.server.shards.map_or_else(half_the_cores, to_usize);
    let in_flight_max = section.in_flight_max.min(shares.attempts);
    let mut options = delivery::Options {
        shards,
        policy: section.policy.clone(),
        in_flight_max: to_u32(in_flight_max),
        in_flight_bytes_max: section.in_flight_bytes_max,
        drain_timeout_ms: section.drain_timeout_ms,
        retention_age_ms: config.log.retention_age_ms,
        scheduler: scheduler::Options {
            reserved_percent: to_u32(section.reserved_percent),
            group_percent: to_u32(section.group_percent),
            quantum_bytes: to_u32(section.quantum_bytes),
            stagger_us_max: section.stagger_max_ms.saturating_mul(1_000),
            idle_after_us: section.idle_after_ms.saturating_mul(1_000),
            ..scheduler::Options::default()
        },
        egress,
        on_tick: allocator::give_back,
        on_fatal: fatal,
        ..delivery::Options::default()
    };
    options.queues = section.queues;
    options.scheduler.queue_jobs_max = u32::try_from(section.queue_jobs_max).unwrap_or(u32::MAX);
    options.scheduler.queue_in_flight_max =
        u32::try_from(section.queue_in_flight_max).unwrap_or(u32::MAX);
    let idle_of_shard = to_usize(shares.idle) / shards.max(1);
    options.pool.idle_max = options.pool.idle_max.min(idle_of_shard);
    options
}

pub fn ingest(config: &Config, shares: Shares) -> ingest::Options {
    let section = &config.ingest;
    ingest::Options {
        threads: config.server.threads.map_or_else(half_the_cores, to_usize),
        connections_max: to_usize(section.connections_max.min(shares.connections)),
        connections_per_ip_max: to_usize(section.connections_per_ip_max),
        header_timeout_ms: section.header_timeout_ms,
        idle_timeout_ms: section.idle_timeout_ms,
        body_timeout_ms: section.body_timeout_ms,
        body_bytes_max: to_usize(section.body_bytes_max),
        bytes_in_flight_max: to_usize(section.bytes_in_flight_max),
        source_rate_limit_per_s: section.source_rate_limit_per_s,
        ip_rate_limit_per_s: section.ip_rate_limit_per_s,
        dedup_window_ms: section.dedup_window_ms,
        dedup_entries_max: to_usize(section.dedup_entries_max),
        trusted_proxies: to_usize(section.trusted_proxies),
        public_host: section.public_host.clone(),
        on_tick: allocator::give_back,
        ..ingest::Options::default()
    }
}

pub fn admin(config: &Config) -> admin::Options {
    admin::Options {
        token: config.server.admin_token.clone(),
        ..admin::Options::default()
    }
}

/// Ingest and delivery get half of the cores each, and at least one.
fn half_the_cores() -> usize {
    std::thread::available_parallelism().map_or(1, |cores| (cores.get() / 2).max(1))
}

fn to_u32(value: u64) -> u32 {
    u32::try_from(value).unwrap_or(u32::MAX)
}

fn to_usize(value: u64) -> usize {
    usize::try_from(value).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests;
