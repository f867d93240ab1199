//! What the log says of itself: how the last run ended, what is damaged, and running counts.

use std::ops::Range;

use model::Offset;

/// Bytes of one segment that are not what was written.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DamagedRange {
    /// The first offset of the segment.
    pub segment: Offset,
    /// The records that are lost; empty where only a commit record was hit.
    pub offsets: Range<Offset>,
    /// Where in the file; empty where the bytes are not there at all.
    pub bytes: Range<u64>,
}

/// What [`crate::EventLog::open`] found.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RecoveryReport {
    /// The last run had written its seal: nothing had to be repaired.
    pub clean: bool,
    /// Records that can be read, as far as known without reading them all.
    pub records: u64,
    /// Bytes of a last commit that never became durable, and was never promised.
    pub torn_bytes: u64,
    /// Records of the tail that were written again, because the last run may have left them in
    /// the page cache only.
    pub relogged_records: u64,
    /// Damage in what was durable. Later records are served all the same.
    pub quarantined: Vec<DamagedRange>,
    /// Index files that were missing or damaged, and rebuilt from their segments.
    pub rebuilt_indexes: u64,
}

/// Upper bounds, in microseconds, of the buckets of [`Stats::fsync_buckets`]; a last bucket takes
/// the rest.
pub const FSYNC_BUCKETS_US: [u64; 12] = [
    100, 200, 400, 800, 1_500, 3_000, 6_000, 12_000, 25_000, 50_000, 200_000, 1_000_000,
];

/// Running figures since start, for metrics and the console.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    pub first: Offset,
    pub end: Offset,
    /// Segment files that hold records, the active one included.
    pub segments: u64,
    /// Bytes of those files, and of the reserved ones.
    pub bytes: u64,
    pub reserved_segments: u64,
    /// Bytes free on the disk for this user; 0 where the disk does not say.
    pub free_bytes: u64,
    /// Records appended since start.
    pub records: u64,
    /// Group commits since start.
    pub commits: u64,
    /// One count a bucket of [`FSYNC_BUCKETS_US`], and one for the rest.
    pub fsync_buckets: [u64; FSYNC_BUCKETS_US.len() + 1],
    pub fsync_us_sum: u64,
    pub fsync_us_last: u64,
    /// Bytes of batches that wait for durability now.
    pub queue_bytes: u64,
    pub refused_full: u64,
    pub refused_overloaded: u64,
    pub torn_bytes: u64,
    pub relogged_records: u64,
    /// Records known to be damaged: found at start or met by a reader.
    pub damaged_records: u64,
    /// The first ranges of them (at most [`DAMAGED_RANGES_MAX`]).
    pub damaged: Vec<DamagedRange>,
    pub index_loads: u64,
}

/// Ranges of damage that are remembered one by one.
pub const DAMAGED_RANGES_MAX: usize = 256;

/// What one call of [`crate::EventLog::trim`] removed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trimmed {
    /// The records that are gone; empty where nothing was removed.
    pub offsets: Range<Offset>,
    pub segments: u64,
    pub bytes: u64,
    /// Some of them were at or above `settled`: they reached the age limit unsettled.
    pub unsettled: bool,
}
