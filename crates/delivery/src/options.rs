//! Delivery's options: every limit by name.

use model::{DestinationId, Policy};

use crate::http::dial::DialOptions;
use crate::http::egress::EgressPolicy;
use crate::http::pool::PoolOptions;
use crate::http::resolver::ResolverOptions;
use crate::senders::object_storage::ObjectStorageOptions;
use crate::senders::postgres::PostgresOptions;

/// One attempt, from the name's lookup to the last byte of the answer.
pub const ATTEMPT_TIMEOUT_MS: u64 = 30_000;

/// Which connections share a queue. Everything but [`Queues::Connection`] is there to be compared
/// with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Queues {
    /// Each has its own: lanes.
    #[default]
    Connection,
    /// All connections to one destination share one.
    Destination,
    /// All share one.
    Shared,
}

impl Queues {
    /// The number of the queue of a connection to this destination; `None`: its own.
    pub(crate) fn number(self, destination: DestinationId) -> Option<u32> {
        match self {
            Self::Connection => None,
            Self::Destination => Some(destination.0),
            Self::Shared => Some(0),
        }
    }
}

/// How delivery works. `Default` gives the defaults.
#[derive(Clone, Debug)]
pub struct Options {
    /// Threads among which the lanes are divided. Default: 1. Minimum: 1.
    pub shards: usize,
    /// What every connection has that does not say its own. Default: nothing, which leaves
    /// [`scheduler::LanePolicy`]'s defaults and [`ATTEMPT_TIMEOUT_MS`].
    pub policy: Policy,
    /// Which connections share a queue, on each shard. Default: each has its own.
    pub queues: Queues,
    /// Attempts under way, over all shards. Default: 2,048.
    pub in_flight_max: u32,
    /// Bytes of their events, over all shards. Default: 64 MiB.
    pub in_flight_bytes_max: u64,
    /// Bytes of an answer that are read; then the connection is closed. Default: 256 KiB,
    /// which hold what is said of each of some hundred events.
    pub response_bytes_max: usize,
    /// Bytes of an answer that a dead letter or a sample keeps. Default: 4 KiB.
    pub response_bytes_kept: usize,
    /// Progress is committed this long after it was made: a crash repeats at most what was
    /// delivered within it. Default: 20.
    pub progress_flush_ms: u64,
    /// Progress, dead letters and samples that wait for the store, per shard: beyond it the shard
    /// waits. Default: 8 MiB.
    pub unsaved_bytes_max: usize,
    /// A lane that had no job for so long gives its programs' caches back. Default: 300,000.
    pub lane_idle_ms: u64,
    /// Samples of failed attempts: at most one of a lane within this. Default: 1,000.
    pub sample_failed_ms: u64,
    /// Samples of attempts that went well: at most one of a lane within this. Default: 60,000.
    pub sample_delivered_ms: u64,
    /// How often settled segments of the log are looked for. Default: 60,000.
    pub retention_interval_ms: u64,
    /// Replays at once; one more is refused. Default: 1,000.
    pub replays_running_max: usize,
    /// The log's age limit, to warn before it removes what is not delivered.
    pub retention_age_ms: u64,
    /// How long a shutdown waits for attempts under way. Default: 25,000: less than the 30 s after
    /// which Kubernetes kills by default.
    pub drain_timeout_ms: u64,
    /// What may be dialled.
    pub egress: EgressPolicy,
    pub dial: DialOptions,
    pub pool: PoolOptions,
    pub resolver: ResolverOptions,
    pub object_storage: ObjectStorageOptions,
    pub postgres: PostgresOptions,
    #[cfg(feature = "kafka")]
    pub kafka: crate::senders::kafka::KafkaOptions,
    /// The scheduler's own limits. Its `in_flight_max` and `in_flight_bytes_max` are set from
    /// those above, divided among the shards.
    pub scheduler: scheduler::Options,
    /// Called on each shard's thread, about once a second: what other threads freed of its memory
    /// only it can give back. Default: nothing.
    pub on_tick: fn(),
    /// Called when the store's writer has died: nothing can be settled any more, so the process
    /// must end; the next start repeats what was not committed. Default:
    /// [`std::process::abort`]. Only tests replace it.
    pub on_fatal: fn(&str),
}

impl Default for Options {
    fn default() -> Self {
        Self {
            shards: 1,
            policy: Policy::default(),
            queues: Queues::default(),
            in_flight_max: 2_048,
            in_flight_bytes_max: 64 * 1024 * 1024,
            response_bytes_max: 256 * 1024,
            response_bytes_kept: 4 * 1024,
            progress_flush_ms: 20,
            unsaved_bytes_max: 8 * 1024 * 1024,
            lane_idle_ms: 300_000,
            sample_failed_ms: 1_000,
            sample_delivered_ms: 60_000,
            retention_interval_ms: 60_000,
            replays_running_max: 1_000,
            retention_age_ms: 7 * 24 * 3_600 * 1_000,
            drain_timeout_ms: 25_000,
            egress: EgressPolicy::default(),
            dial: DialOptions::default(),
            pool: PoolOptions::default(),
            resolver: ResolverOptions::default(),
            object_storage: ObjectStorageOptions::default(),
            postgres: PostgresOptions::default(),
            #[cfg(feature = "kafka")]
            kafka: crate::senders::kafka::KafkaOptions::default(),
            scheduler: scheduler::Options::default(),
            on_tick: || {},
            on_fatal: abort,
        }
    }
}

impl Options {
    /// The scheduler's options of one shard.
    pub(crate) fn scheduler_of_shard(&self) -> scheduler::Options {
        let shards = u32::try_from(self.shards.max(1)).unwrap_or(u32::MAX);
        scheduler::Options {
            in_flight_max: (self.in_flight_max / shards).max(1),
            in_flight_bytes_max: (self.in_flight_bytes_max / u64::from(shards)).max(1),
            ..self.scheduler.clone()
        }
    }
}

fn abort(reason: &str) {
    tracing::error!(
        reason,
        "delivery cannot go on: the process ends and must be restarted"
    );
    std::process::abort()
}
