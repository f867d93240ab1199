//! The event log: every event is stored here once, durably, before anybody is told that it was
//! accepted; every lane reads it from here, however far behind it is.
//!
//! ```text
//!            offsets 0 .. 9999        10000 .. 21502       21503 ..
//!          +--------------------+--------------------+------------------+
//!   disk   | sealed .seg + .idx | sealed .seg + .idx | active .seg      |  spares
//!          +--------------------+--------------------+------------------+
//!            ^ first()            stream 7: 10000,      ^ append    ^ end()
//!              trim() cuts here   10003, 10017, ...       group commit
//! ```
//!
//! A record belongs to a stream (its source). It has an offset, which counts records over all
//! streams; an index gives each stream the offsets of its own records, so a lane never scans.
//! What is durable when, and what survives which failure, is said in
//! `docs/internals/log-format.md`.
//!
//! Reading order: this file; [`batch`] and [`record`] (what goes in); [`options`] and [`error`];
//! then `local`, from `writer` and `reader` down to `segment`, `scan` and `recovery`.

pub mod batch;
pub mod error;
pub mod growth;
mod guard;
pub mod local;
pub mod options;
pub mod record;
pub mod report;

use std::collections::HashMap;

use model::{Offset, SourceId, UnixMillis};

pub use batch::AppendBatch;
pub use error::{AppendError, Error};
pub use growth::GrowthReceiver;
pub use options::Options;
pub use record::{Record, RecordFlags};
pub use report::{DamagedRange, FSYNC_BUCKETS_US, RecoveryReport, Stats, Trimmed};

/// A handle on a log; clones share it, and may be used from any thread. When the last clone goes,
/// the log is closed.
#[derive(Clone, Debug)]
pub enum EventLog {
    /// Segments on this machine's disk.
    Local(local::LocalLog),
}

/// An opened log, and how it was found.
#[derive(Debug)]
pub struct Opened {
    pub log: EventLog,
    pub recovery: RecoveryReport,
}

/// Where a batch was put: `first..=last`. An empty batch has both at the end of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Appended {
    pub first: Offset,
    pub last: Offset,
}

/// A record of a stream, without its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RecordRef {
    pub offset: Offset,
    /// Bytes of the payload.
    pub bytes: u32,
    pub received_at: UnixMillis,
}

impl EventLog {
    /// Opens the log in `options.dir`, which no other process may use meanwhile, and repairs
    /// whatever the last run left. Blocks; takes a second or two at most for a clean log, and
    /// about a second for each GiB that was not sealed.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::NotADirectory`], [`Error::NotWritable`], [`Error::Option`] and
    /// [`Error::TooNew`] say what to do. Damage is no error: see [`RecoveryReport`].
    pub fn open(options: Options, now: UnixMillis) -> Result<Opened, Error> {
        let (log, recovery) = local::LocalLog::open(options, now)?;
        Ok(Opened {
            log: Self::Local(log),
            recovery,
        })
    }

    /// Appends a batch: all its records are durable on `Ok`, and can be read. An empty batch is a
    /// barrier: it returns when all earlier appends are durable.
    ///
    /// Cancel safe in that dropping the future does not undo the append: the batch may still
    /// become durable.
    ///
    /// # Errors
    /// None of the records was promised. See [`AppendError`] for when to try again.
    pub async fn append(&self, batch: AppendBatch) -> Result<Appended, AppendError> {
        match self {
            Self::Local(log) => log.append(batch).await,
        }
    }

    /// A new subscriber to the growth of all streams, from now on.
    #[must_use]
    pub fn grew(&self) -> GrowthReceiver {
        match self {
            Self::Local(log) => log.grew(),
        }
    }

    /// The offset after the last durable record. Never goes back.
    #[must_use]
    pub fn end(&self) -> Offset {
        match self {
            Self::Local(log) => log.end(),
        }
    }

    /// The first record still retained (the end of the log where there is none).
    #[must_use]
    pub fn first(&self) -> Offset {
        match self {
            Self::Local(log) => log.first(),
        }
    }

    /// Appends to `out` at most `max` records of `stream` with offsets of at least `from`,
    /// ascending. Returns how far it looked (exclusive): every record of `stream` in
    /// `from..returned` is in `out`. It may stop early without any, so that a call never waits
    /// for more than one index; call again from there until it returns [`EventLog::end`].
    ///
    /// # Errors
    /// [`Error::Io`]: an index and its segment cannot be read.
    pub fn offsets(
        &self,
        stream: SourceId,
        from: Offset,
        max: usize,
        out: &mut Vec<RecordRef>,
    ) -> Result<Offset, Error> {
        match self {
            Self::Local(log) => log.offsets(stream, from, max, out),
        }
    }

    /// Reads a record if that needs no waiting for the disk. `None`: call [`EventLog::read`] from
    /// a thread that may block.
    ///
    /// # Errors
    /// As [`EventLog::read`].
    pub fn try_read(&self, offset: Offset) -> Result<Option<Record>, Error> {
        match self {
            Self::Local(log) => log.try_read(offset),
        }
    }

    /// Reads a record. Blocks on the disk.
    ///
    /// # Errors
    /// [`Error::Damaged`] and [`Error::Trimmed`]: this record is gone for good.
    /// [`Error::Beyond`]: it does not exist yet. [`Error::Io`]: it may work later.
    pub fn read(&self, offset: Offset) -> Result<Record, Error> {
        match self {
            Self::Local(log) => log.read(offset),
        }
    }

    /// Records ever accepted in this stream, those that retention removed included.
    #[must_use]
    pub fn stream_count(&self, stream: SourceId) -> u64 {
        match self {
            Self::Local(log) => log.stream_count(stream),
        }
    }

    /// [`EventLog::stream_count`] of all streams.
    #[must_use]
    pub fn stream_counts(&self) -> HashMap<SourceId, u64> {
        match self {
            Self::Local(log) => log.stream_counts(),
        }
    }

    /// Records ever accepted in this stream with a lower offset. For an offset that retention
    /// removed: those below the first retained segment.
    ///
    /// # Errors
    /// [`Error::Io`]: an index and its segment cannot be read.
    pub fn stream_count_before(&self, stream: SourceId, offset: Offset) -> Result<u64, Error> {
        match self {
            Self::Local(log) => log.stream_count_before(stream, offset),
        }
    }

    /// The first retained record received at or after `time`, or the end of the log. Where an
    /// index cannot be read: the first of that segment.
    #[must_use]
    pub fn offset_at(&self, time: UnixMillis) -> Offset {
        match self {
            Self::Local(log) => log.offset_at(time),
        }
    }

    /// Calls `f` with stream, message hash and receipt of every retained record received at or
    /// after `time`, by ascending offset. Reads indexes only. Blocks; `f` must not call the log.
    ///
    /// # Errors
    /// [`Error::Io`]: an index and its segment cannot be read; `f` was called for some.
    pub fn messages_since(
        &self,
        time: UnixMillis,
        f: &mut dyn FnMut(SourceId, u64, UnixMillis),
    ) -> Result<(), Error> {
        match self {
            Self::Local(log) => log.messages_since(time, f),
        }
    }

    /// Says that every record below `settled` is settled, as [`EventLog::trim`] does, and removes
    /// nothing now: when the next append lacks room, settled segments go, oldest first. Does not
    /// block.
    pub fn settle(&self, settled: Offset) {
        match self {
            Self::Local(log) => log.settle(settled),
        }
    }

    /// Applies retention. Every record below `settled` is settled in every lane. Removes sealed
    /// segments that are older than the age limit, settled or not; and, while the log is over its
    /// byte limit, settled ones; always from the oldest on. Also tries again whatever a full disk
    /// has made fail. Call it every few seconds: `now` counts for at most five minutes a call, so
    /// that a wall clock which jumps, or is wrong at the start, removes nothing. Blocks.
    ///
    /// # Errors
    /// [`Error::Io`]: what was not removed now will be by a later call, or at the next start.
    pub fn trim(&self, settled: Offset, now: UnixMillis) -> Result<Trimmed, Error> {
        match self {
            Self::Local(log) => log.trim(settled, now),
        }
    }

    /// How long the disk took for the last commit, in microseconds. Costs one load.
    #[must_use]
    pub fn commit_us(&self) -> u64 {
        match self {
            Self::Local(log) => log.commit_us(),
        }
    }

    /// Figures for metrics and the console.
    #[must_use]
    pub fn stats(&self) -> Stats {
        match self {
            Self::Local(log) => log.stats(),
        }
    }

    /// Finishes all appends that wait, seals, and ends the log's threads; other clones get
    /// [`AppendError::Closed`] from then on and can still read. Blocks.
    pub fn close(self) {
        match self {
            Self::Local(log) => log.close(),
        }
    }
}
