//! What a caller may say of a log: where it is, and every limit it keeps.

use std::path::PathBuf;

use model::Offset;
use model::limits::RECORD_BYTES_MAX;

use crate::error::Error;

/// Everything that can be set. [`Options::new`] gives the defaults; each limit is named with its
/// unit.
#[derive(Clone, Debug)]
pub struct Options {
    /// The log's own directory. It is made if its parent exists.
    pub dir: PathBuf,
    /// Size of one segment file, headers included. Default: 64 MiB. Minimum: 512 KiB. Maximum:
    /// 1 GiB.
    pub segment_bytes_max: u64,
    /// Records of one segment: bounds the memory of the active segment's index (about 32 bytes a
    /// record). Default: 262,144. Minimum: 4,096.
    pub segment_records_max: u32,
    /// A sealed segment is removed when its newest record is this old, settled or not.
    /// Default: 7 days.
    pub retention_age_ms: u64,
    /// Over this many bytes of segments, or when the disk is full before, settled ones are
    /// removed, oldest first; where none is settled, appends answer
    /// [`crate::AppendError::Full`]. Default: 64 GiB. Minimum: two segments.
    pub retention_bytes_max: u64,
    /// Bytes of batches that wait for durability; over it appends answer
    /// [`crate::AppendError::Overloaded`] at once. Default: 64 MiB.
    pub commit_queue_bytes_max: u64,
    /// Bytes that one group commit writes at most (one batch always fits). Default: 4 MiB.
    pub commit_batch_bytes_max: u64,
    /// After this long without an append the log writes a seal record, which closes the one case
    /// where damage could be taken for a torn tail. Default: 50 ms.
    pub idle_seal_ms: u64,
    /// Segments kept ready in advance, so that neither the writer nor a full disk meets the cost
    /// of making one. Default: 2.
    pub reserved_segments: usize,
    /// No further segment is made that would leave less of the disk free: who records what is
    /// settled needs room for that, else a full log could never let anything go. Default: 16 MiB.
    pub free_bytes_min: u64,
    /// File descriptors kept in reserve for the log, so that a flood of connections cannot stop
    /// it. Default: 64.
    pub reserved_fds: usize,
    /// The last commits stay in memory up to this many bytes: what was just appended is read
    /// without a system call. Default: 8 MiB.
    pub tail_cache_bytes_max: u64,
    /// Indexes of sealed segments kept in memory. Default: 4 MiB, some twenty of them.
    pub index_cache_bytes_max: u64,
    /// Sealed segments kept open for reading. Default: 64.
    pub read_fds_max: usize,
    /// No new record gets a lower offset: the highest that the caller remembers, and one. It
    /// matters only when the newest segment was lost: lanes would else skip new records.
    /// Default: 0.
    pub end_min: Offset,
    /// Called once when a write or `fdatasync` failed, after all waiting appends were failed.
    /// What the page cache holds then may differ from the disk, so the process must end, and the
    /// next start logs the tail again. Default: [`std::process::abort`]. Only tests replace it.
    pub on_fatal: fn(&str),
    /// Called on the writer's thread when it has nothing to write: what other threads freed of its
    /// memory only it can give back. Default: nothing.
    pub on_idle: fn(),
}

impl Options {
    /// The defaults, for a log in `dir`.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            ..Self::default()
        }
    }

    /// # Errors
    /// [`Error::Option`] names the first option that is out of its range.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let wrong = |name, value: u64, must| Err(Error::Option { name, value, must });
        if !(SEGMENT_BYTES_LEAST..=SEGMENT_BYTES_MOST).contains(&self.segment_bytes_max) {
            let must = "from 524288 (512 KiB) to 1073741824 (1 GiB)";
            return wrong("segment_bytes_max", self.segment_bytes_max, must);
        }
        if self.segment_records_max < SEGMENT_RECORDS_LEAST {
            let value = u64::from(self.segment_records_max);
            return wrong("segment_records_max", value, "at least 4096");
        }
        if self.retention_bytes_max < self.segment_bytes_max.saturating_mul(2) {
            let must = "at least two segments";
            return wrong("retention_bytes_max", self.retention_bytes_max, must);
        }
        Ok(())
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("log"),
            segment_bytes_max: 64 << 20,
            segment_records_max: 262_144,
            retention_age_ms: 7 * 24 * 3_600 * 1_000,
            retention_bytes_max: 64 << 30,
            commit_queue_bytes_max: 64 << 20,
            commit_batch_bytes_max: 4 << 20,
            idle_seal_ms: 50,
            reserved_segments: 2,
            free_bytes_min: 16 << 20,
            reserved_fds: 64,
            tail_cache_bytes_max: 8 << 20,
            index_cache_bytes_max: 4 << 20,
            read_fds_max: 64,
            end_min: Offset::ZERO,
            on_fatal: abort,
            on_idle: || {},
        }
    }
}

const SEGMENT_BYTES_LEAST: u64 = 512 << 10;
const SEGMENT_BYTES_MOST: u64 = 1 << 30;
const SEGMENT_RECORDS_LEAST: u32 = 4_096;

// The smallest segment holds the largest record, its header and its neighbours.
const _: () = assert!(RECORD_BYTES_MAX * 2 < (512 << 10));

fn abort(reason: &str) {
    tracing::error!(
        reason,
        "the event log cannot go on: the process ends and must be restarted"
    );
    std::process::abort()
}
