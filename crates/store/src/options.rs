//! The store's options: every limit by name.

use std::path::PathBuf;

use crate::key::KeySource;

/// How the store is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory of `state.db` and `names.txt`. Made if absent.
    /// Default: `data/store`.
    pub dir: PathBuf,
    /// Where the key that seals secrets comes from.
    /// Default: the file `data/store/key`, generated at the first start.
    pub key: KeySource,
    /// Batches that may wait for the writer; a commit beyond it is handed back at once.
    /// Default: 64. Minimum: 1.
    pub commit_queue_max: usize,
    /// Connections that read, so that one long list does not delay another reader.
    /// Default: 2. Minimum: 1.
    pub readers: usize,
    /// All dead letters together; the oldest go first beyond it, counted and announced.
    /// Default: 1 GiB. Minimum: 64 KiB.
    pub dead_letters_bytes_max: u64,
    /// Samples of attempts kept for each lane, the latest.
    /// Default: 20. Minimum: 1.
    pub samples_per_lane_max: u32,
    /// How many minutes of counters are kept; a lane that works costs about 80 bytes a minute.
    /// Default: 1,440 (a day). Minimum: 1.
    pub minutes_kept: u32,
    /// Finished lanes (replays, redeliveries, removed connections) that stay listed.
    /// Default: 1,000.
    pub finished_lanes_kept: u32,
    /// A commit waits for the disk when the last one that did is so long ago: a power cut takes
    /// back what was committed within it, at most. Default: 1,000.
    pub sync_interval_ms: u64,
    /// How long to wait for another process (a backup, the command line) that holds the database.
    /// Default: 5,000.
    pub busy_timeout_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self::new("data/store")
    }
}

impl Options {
    /// The defaults, for a store in `dir` with its key beside it.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        let dir = dir.into();
        Self {
            key: KeySource::File(dir.join("key")),
            dir,
            commit_queue_max: 64,
            readers: 2,
            dead_letters_bytes_max: 1 << 30,
            samples_per_lane_max: 20,
            minutes_kept: 24 * 60,
            finished_lanes_kept: 1_000,
            sync_interval_ms: 1_000,
            busy_timeout_ms: 5_000,
        }
    }

    /// The least that [`Options::dead_letters_bytes_max`] may be: one letter must always fit.
    pub const DEAD_LETTERS_BYTES_MIN: u64 = 64 << 10;

    /// These options with every number lifted to its minimum.
    pub(crate) fn within_limits(mut self) -> Self {
        self.commit_queue_max = self.commit_queue_max.max(1);
        self.readers = self.readers.max(1);
        self.dead_letters_bytes_max = self
            .dead_letters_bytes_max
            .max(Self::DEAD_LETTERS_BYTES_MIN);
        self.samples_per_lane_max = self.samples_per_lane_max.max(1);
        self.minutes_kept = self.minutes_kept.max(1);
        self
    }
}
