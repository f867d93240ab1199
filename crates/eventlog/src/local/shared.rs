//! What the writer, the housekeeper and all readers of a log share.

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use model::{Offset, SourceId};

use crate::growth::Growth;
use crate::guard::{lock, read};
use crate::local::dir::Dir;
use crate::local::housekeeper::Desk;
use crate::local::index::SegmentIndex;
use crate::local::queue::Queue;
use crate::local::retention::SteadyClock;
use crate::local::sealed::{FileCache, IndexCache, Sealed};
use crate::local::tail::Tail;
use crate::options::Options;
use crate::record::{Mark, SegmentKey};
use crate::report::{DAMAGED_RANGES_MAX, DamagedRange, FSYNC_BUCKETS_US, Stats};

#[derive(Debug)]
pub(crate) struct Shared {
    pub options: Options,
    pub dir: Dir,
    pub view: RwLock<View>,
    pub queue: Queue,
    pub desk: Desk,
    pub growth: Growth,
    pub indexes: IndexCache,
    pub files: FileCache,
    pub counters: Counters,
    /// Exclusive end of what is durable and can be read.
    pub end: AtomicU64,
    /// Records of each stream since ever.
    pub totals: Mutex<HashMap<SourceId, u64>>,
    pub damage: Mutex<Damage>,
    /// The epoch that the next segment gets.
    pub epoch_next: AtomicU64,
    /// One trim at a time; the clock it goes by.
    pub trim: Mutex<SteadyClock>,
    /// What the last call of trim said is settled: the byte limit may remove below it.
    pub settled: AtomicU64,
}

/// The segments in force.
#[derive(Debug)]
pub(crate) struct View {
    /// Ascending. Replaced whole, so that readers can keep one without the lock.
    pub sealed: Arc<Vec<Arc<Sealed>>>,
    pub active: Active,
}

/// The segment that gets the next records.
#[derive(Debug)]
pub(crate) struct Active {
    pub key: SegmentKey,
    pub mark: Mark,
    pub path: PathBuf,
    pub file: Arc<File>,
    /// Size of the file.
    pub bytes: u64,
    pub index: SegmentIndex,
    pub tail: Tail,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub records: AtomicU64,
    pub commits: AtomicU64,
    pub fsync_buckets: [AtomicU64; FSYNC_BUCKETS_US.len() + 1],
    pub fsync_us_sum: AtomicU64,
    pub fsync_us_last: AtomicU64,
    pub refused_full: AtomicU64,
    pub refused_overloaded: AtomicU64,
}

impl Counters {
    pub(crate) fn fsync_took(&self, us: u64) {
        let bucket = FSYNC_BUCKETS_US.partition_point(|&bound| bound < us);
        if let Some(count) = self.fsync_buckets.get(bucket) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.fsync_us_sum.fetch_add(us, Ordering::Relaxed);
        self.fsync_us_last.store(us, Ordering::Relaxed);
    }
}

/// All damage known: found at start, or met by a reader since.
#[derive(Debug, Default)]
pub(crate) struct Damage {
    pub torn_bytes: u64,
    pub relogged_records: u64,
    pub records: u64,
    pub ranges: Vec<DamagedRange>,
}

impl Damage {
    /// Adds a range that is not known yet. True where it is listed: what comes after so many is
    /// only counted.
    pub(crate) fn note(&mut self, range: DamagedRange) -> bool {
        let known = |other: &DamagedRange| {
            other.offsets.start <= range.offsets.start && range.offsets.end <= other.offsets.end
        };
        if self.ranges.iter().any(known) {
            return false;
        }
        self.records += range.offsets.end.0 - range.offsets.start.0;
        let listed = self.ranges.len() < DAMAGED_RANGES_MAX;
        if listed {
            self.ranges.push(range);
        }
        listed
    }
}

impl Shared {
    pub(crate) fn end(&self) -> Offset {
        Offset(self.end.load(Ordering::Acquire))
    }

    pub(crate) fn first(&self) -> Offset {
        let view = read(&self.view);
        view.sealed
            .first()
            .map_or(view.active.key.first, |segment| segment.first())
    }

    /// The sealed segments and the active one's first offset, at one moment.
    pub(crate) fn segments(&self) -> (Arc<Vec<Arc<Sealed>>>, Offset) {
        let view = read(&self.view);
        (Arc::clone(&view.sealed), view.active.key.first)
    }

    /// A key for the segment that begins at `first`.
    pub(crate) fn next_key(&self, first: Offset) -> SegmentKey {
        SegmentKey {
            epoch: self.epoch_next.fetch_add(1, Ordering::Relaxed),
            first,
        }
    }

    /// Bytes of all segments that hold records.
    pub(crate) fn segment_bytes(&self) -> u64 {
        let view = read(&self.view);
        view.sealed.iter().map(|segment| segment.bytes).sum::<u64>() + view.active.bytes
    }

    pub(crate) fn stats(&self) -> Stats {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (sealed, _) = self.segments();
        let (spares, spare_bytes) = self.desk.held();
        let damage = lock(&self.damage);
        Stats {
            first: self.first(),
            end: self.end(),
            segments: u64::try_from(sealed.len())
                .unwrap_or(u64::MAX)
                .saturating_add(1),
            bytes: self.segment_bytes() + spare_bytes,
            reserved_segments: spares,
            free_bytes: self.dir.free_bytes().unwrap_or(0),
            records: load(&self.counters.records),
            commits: load(&self.counters.commits),
            fsync_buckets: std::array::from_fn(|at| {
                self.counters.fsync_buckets.get(at).map_or(0, load)
            }),
            fsync_us_sum: load(&self.counters.fsync_us_sum),
            fsync_us_last: load(&self.counters.fsync_us_last),
            queue_bytes: self.queue.bytes(),
            refused_full: load(&self.counters.refused_full),
            refused_overloaded: load(&self.counters.refused_overloaded),
            torn_bytes: damage.torn_bytes,
            relogged_records: damage.relogged_records,
            damaged_records: damage.records,
            damaged: damage.ranges.clone(),
            index_loads: load(&self.indexes.loads),
        }
    }
}
