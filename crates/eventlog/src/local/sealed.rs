//! Sealed segments: the little that is kept in memory of each, and bounded caches of the rest.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use model::{Offset, SourceId};

use crate::guard::lock;
use crate::local::dir::Dir;
use crate::local::index::SegmentIndex;
use crate::local::index_file::IndexHead;
use crate::record::SegmentKey;

/// Streams remembered by name for one segment. In a segment of more, every lane must look.
const STREAMS_MAX: usize = 1_024;

/// A segment that gets no more records.
#[derive(Debug)]
pub(crate) struct Sealed {
    pub key: SegmentKey,
    /// Exclusive.
    pub end: Offset,
    pub path: PathBuf,
    /// Size of the file.
    pub bytes: u64,
    /// Records that can be read.
    pub records: u64,
    pub received_max: u64,
    /// Its index file is written. Until then the index stays in memory.
    pub indexed: AtomicBool,
    /// Ascending; `None` where there are too many to remember.
    streams: Option<Box<[SourceId]>>,
}

impl Sealed {
    pub(crate) fn of_index(index: &SegmentIndex, path: PathBuf, bytes: u64, indexed: bool) -> Self {
        Self {
            key: index.key,
            end: index.end(),
            path,
            bytes,
            records: index.present(),
            received_max: index.received_max,
            indexed: AtomicBool::new(indexed),
            streams: remembered(&index.streams()),
        }
    }

    pub(crate) fn of_head(head: &IndexHead, path: PathBuf, bytes: u64) -> Self {
        Self {
            key: head.key,
            end: head.end(),
            path,
            bytes,
            records: head.streams.iter().map(|&(_, count)| count).sum(),
            received_max: head.received_max,
            indexed: AtomicBool::new(true),
            streams: remembered(&head.streams),
        }
    }

    pub(crate) fn first(&self) -> Offset {
        self.key.first
    }

    /// False where it certainly holds no record of `stream`.
    pub(crate) fn may_hold(&self, stream: SourceId) -> bool {
        self.streams
            .as_ref()
            .is_none_or(|streams| streams.binary_search(&stream).is_ok())
    }

    pub(crate) fn is_indexed(&self) -> bool {
        self.indexed.load(Ordering::Acquire)
    }
}

fn remembered(streams: &[(SourceId, u64)]) -> Option<Box<[SourceId]>> {
    (streams.len() <= STREAMS_MAX).then(|| streams.iter().map(|&(stream, _)| stream).collect())
}

/// Indexes of sealed segments in memory; those used longest ago go first.
#[derive(Debug)]
pub(crate) struct IndexCache {
    state: Mutex<Indexes>,
    bytes_max: u64,
    pub loads: AtomicU64,
}

#[derive(Debug, Default)]
struct Indexes {
    slots: HashMap<Offset, Slot>,
    bytes: u64,
    clock: u64,
}

#[derive(Debug)]
struct Slot {
    index: Arc<SegmentIndex>,
    bytes: u64,
    used: u64,
    /// Its file is not written yet: it must not go.
    pinned: bool,
}

impl IndexCache {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self {
            state: Mutex::default(),
            bytes_max,
            loads: AtomicU64::new(0),
        }
    }

    pub(crate) fn get(&self, first: Offset) -> Option<Arc<SegmentIndex>> {
        let mut state = lock(&self.state);
        state.clock += 1;
        let clock = state.clock;
        let slot = state.slots.get_mut(&first)?;
        slot.used = clock;
        Some(Arc::clone(&slot.index))
    }

    pub(crate) fn put(&self, index: Arc<SegmentIndex>, pinned: bool) {
        let mut state = lock(&self.state);
        state.clock += 1;
        let (first, bytes, used) = (index.key.first, index.memory_bytes(), state.clock);
        let old = state.slots.insert(
            first,
            Slot {
                index,
                bytes,
                used,
                pinned,
            },
        );
        state.bytes = state.bytes + bytes - old.map_or(0, |old| old.bytes);
        while state.bytes > self.bytes_max {
            let idle = state
                .slots
                .iter()
                .filter(|(at, slot)| !slot.pinned && **at != first);
            let Some((&oldest, _)) = idle.min_by_key(|(_, slot)| slot.used) else {
                return;
            };
            let gone = state.slots.remove(&oldest).map_or(0, |slot| slot.bytes);
            state.bytes -= gone;
        }
    }

    pub(crate) fn remove(&self, first: Offset) {
        let mut state = lock(&self.state);
        let gone = state.slots.remove(&first).map_or(0, |slot| slot.bytes);
        state.bytes -= gone;
    }
}

/// Sealed segments open for reading; those used longest ago are closed first.
#[derive(Debug)]
pub(crate) struct FileCache {
    state: Mutex<Files>,
    files_max: usize,
}

#[derive(Debug, Default)]
struct Files {
    open: HashMap<Offset, (Arc<File>, u64)>,
    clock: u64,
}

impl FileCache {
    pub(crate) fn new(files_max: usize) -> Self {
        Self {
            state: Mutex::default(),
            files_max: files_max.max(1),
        }
    }

    pub(crate) fn get(&self, first: Offset) -> Option<Arc<File>> {
        let mut state = lock(&self.state);
        state.clock += 1;
        let clock = state.clock;
        let (file, used) = state.open.get_mut(&first)?;
        *used = clock;
        Some(Arc::clone(file))
    }

    pub(crate) fn open(&self, dir: &Dir, segment: &Sealed) -> io::Result<Arc<File>> {
        if let Some(file) = self.get(segment.first()) {
            return Ok(file);
        }
        let file = Arc::new(dir.open_read(&segment.path)?);
        let mut state = lock(&self.state);
        while state.open.len() >= self.files_max {
            let oldest = state.open.iter().min_by_key(|(_, (_, used))| *used);
            let Some((&oldest, _)) = oldest else { break };
            state.open.remove(&oldest);
        }
        let clock = state.clock;
        state
            .open
            .insert(segment.first(), (Arc::clone(&file), clock));
        Ok(file)
    }

    pub(crate) fn remove(&self, first: Offset) {
        lock(&self.state).open.remove(&first);
    }
}
