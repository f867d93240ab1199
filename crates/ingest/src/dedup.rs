//! The window of message ids: what was accepted lately is not accepted again.
//!
//! ```text
//!            claim                      settle (durable)
//!   unknown -------> pending (in flight) ---------------> current ---> previous ---> forgotten
//!                       |  release (append failed)         rotated by age or when full
//!                       +--------> unknown
//! ```
//!
//! A claim is made before the append and settled after it, so two copies that arrive together
//! cannot both be appended, and a copy is never answered 200 before the first one is durable.
//! An id is a 64-bit hash: at the default size, one in about ten trillion new events is taken
//! for a known one.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use model::{SourceId, UnixMillis};

const SHARDS: usize = 64;

/// The hash that stands for a message id of a source, here and in the log.
pub(crate) fn message_hash(source: SourceId, message_id: &str) -> u64 {
    xxhash_rust::xxh3::xxh3_64_with_seed(message_id.as_bytes(), u64::from(source.0))
}

/// What became of a claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Claim {
    /// Never seen within the window: append it.
    New,
    /// Durable already: drop it.
    Duplicate,
    /// A copy is being appended just now, and may still fail.
    Pending,
}

/// See the module. Memory is bounded by `entries_max`, whatever comes.
pub(crate) struct Window {
    shards: Box<[Mutex<Shard>]>,
    window_ms: u64,
    generation_entries_max: usize,
}

impl Window {
    /// Takes all the memory that it will ever need, now: a process that began goes on, and what it
    /// costs is seen at once and not days later.
    pub(crate) fn new(window_ms: u64, entries_max: usize) -> Self {
        let generation_entries_max = (entries_max / (2 * SHARDS)).max(1);
        let shard = |_| Mutex::new(Shard::new(generation_entries_max));
        Self {
            shards: (0..SHARDS).map(shard).collect(),
            window_ms,
            generation_entries_max,
        }
    }

    /// Takes in an id that the log holds since `at`. In ascending order of time.
    pub(crate) fn restore(&self, hash: u64, at: UnixMillis) {
        let mut shard = self.shard(hash);
        shard.rotate(at, self.window_ms, self.generation_entries_max);
        shard.current.insert(hash);
    }

    fn claim(&self, hash: u64, now: UnixMillis) -> Claim {
        let mut shard = self.shard(hash);
        shard.rotate(now, self.window_ms, self.generation_entries_max);
        if shard.current.contains(&hash) || shard.previous.contains(&hash) {
            Claim::Duplicate
        } else if shard.pending.insert(hash) {
            Claim::New
        } else {
            Claim::Pending
        }
    }

    fn settle(&self, hash: u64) {
        let mut shard = self.shard(hash);
        shard.pending.remove(&hash);
        shard.current.insert(hash);
    }

    fn release(&self, hash: u64) {
        self.shard(hash).pending.remove(&hash);
    }

    fn shard(&self, hash: u64) -> MutexGuard<'_, Shard> {
        // Bits that the tables do not use: they take the lowest and the highest ones.
        let index = usize::try_from((hash >> 40) % 64).expect("below 64");
        let shard = self.shards.get(index).expect("there are 64");
        // A panic elsewhere cannot leave a set of numbers half-changed.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Shard {
    pending: Ids,
    current: Ids,
    previous: Ids,
    /// When `current` began.
    since: UnixMillis,
}

impl Shard {
    fn new(entries_max: usize) -> Self {
        Self {
            pending: Ids::default(),
            current: table(entries_max),
            previous: table(entries_max),
            since: UnixMillis::default(),
        }
    }

    fn rotate(&mut self, now: UnixMillis, window_ms: u64, entries_max: usize) {
        let age_ms = now.0.saturating_sub(self.since.0);
        if age_ms < window_ms && self.current.len() < entries_max {
            return;
        }
        std::mem::swap(&mut self.current, &mut self.previous);
        // `clear` keeps the table: it was paid for, and will fill again.
        self.current.clear();
        if age_ms / 2 >= window_ms {
            self.previous.clear();
        }
        self.since = now;
    }
}

/// A table of its full size, every page of it touched: grown step by step, it would leave as much
/// memory again behind in pieces that nothing else fits into.
fn table(entries_max: usize) -> Ids {
    let mut ids = Ids::with_capacity_and_hasher(entries_max, BuildHasherDefault::default());
    ids.extend((0_u64..).take(entries_max));
    ids.clear();
    ids
}

type Ids = HashSet<u64, BuildHasherDefault<AlreadyHashed>>;

/// The ids are hashes: hashing them again would buy nothing.
#[derive(Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }
}

/// The claims of one request. Dropped without [`Claims::settle`], they are released.
pub(crate) struct Claims {
    window: Arc<Window>,
    hashes: Vec<u64>,
}

impl Claims {
    pub(crate) fn new(window: &Arc<Window>) -> Self {
        Self {
            window: Arc::clone(window),
            hashes: Vec::new(),
        }
    }

    /// Claims one id. A second copy within the same request is a duplicate: it shares the first
    /// one's fate.
    pub(crate) fn claim(&mut self, hash: u64, now: UnixMillis) -> Claim {
        match self.window.claim(hash, now) {
            Claim::New => {
                self.hashes.push(hash);
                Claim::New
            }
            Claim::Pending if self.hashes.contains(&hash) => Claim::Duplicate,
            other => other,
        }
    }

    /// The events are durable.
    pub(crate) fn settle(mut self) {
        for hash in std::mem::take(&mut self.hashes) {
            self.window.settle(hash);
        }
    }
}

impl Drop for Claims {
    fn drop(&mut self) {
        for hash in &self.hashes {
            self.window.release(*hash);
        }
    }
}

#[cfg(test)]
mod tests;
