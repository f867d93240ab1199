//! The writer: the one thread that appends. It takes all batches that wait, writes them with one
//! `pwrite`, makes them durable with one `fdatasync`, and only then lets anybody see them.
//!
//! ```text
//!   queue --> [ batch | batch | batch | commit ] --> pwrite --> fdatasync --> index, tail, end
//!                                                                --> growth --> answers
//! ```

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use model::{Offset, Position, SourceId};

use crate::Appended;
use crate::error::AppendError;
use crate::guard::{lock, write};
use crate::local::failpoint::{self, Failpoint};
use crate::local::housekeeper::IndexJob;
use crate::local::index::{SegmentIndex, sorted_totals};
use crate::local::queue::{self, Pending, Work};
use crate::local::retention;
use crate::local::sealed::Sealed;
use crate::local::segment::{DATA_START, Spare};
use crate::local::shared::{Active, Shared};
use crate::local::tail::Tail;
use crate::record::{self, HEADER_BYTES, Header, Kind, Mark};

pub(crate) const RETRY_OVERLOADED_S: u32 = 1;
const RETRY_FULL_S: u32 = 5;
/// A segment always has room for the commit record of its last commit and for its seal.
const CLOSING_BYTES: u64 = 2 * 40;
const _: () = assert!(HEADER_BYTES == 40);

/// Bytes of records that a segment of `segment_bytes` takes. A commit keeps within it, so that
/// its closing record, and a seal behind that, always have room.
pub(crate) const fn capacity(segment_bytes: u64) -> u64 {
    segment_bytes.saturating_sub(DATA_START + CLOSING_BYTES)
}

/// Where the next record goes.
#[derive(Debug)]
pub(crate) struct Target {
    pub file: Arc<File>,
    pub mark: Mark,
    pub first: Offset,
    /// Size of the file.
    pub bytes: u64,
    pub position: u64,
    pub ordinal: u32,
    /// Number of the last commit.
    pub batch: u16,
    /// The last record is a seal.
    pub sealed: bool,
}

impl Target {
    /// The end of the log: all below is durable.
    pub(crate) fn end(&self) -> Offset {
        Offset(self.first.0 + u64::from(self.ordinal))
    }
}

pub(crate) struct Writer {
    shared: Arc<Shared>,
    target: Target,
    /// Records of the commit at hand. Kept for its memory.
    placed: Vec<(Header, Position)>,
    /// Of each stream in the commit at hand, how many records and where the last ends.
    grown: HashMap<SourceId, u64>,
    ends: HashMap<SourceId, Offset>,
}

impl Writer {
    pub(crate) fn new(shared: Arc<Shared>, target: Target) -> Self {
        let (grown, ends) = (HashMap::new(), HashMap::new());
        Self {
            shared,
            target,
            placed: Vec::new(),
            grown,
            ends,
        }
    }

    /// The writer's thread: ends after the queue was closed, or after an error, which is fatal.
    pub(crate) fn run(mut self) {
        if let Err(error) = self.work() {
            // What the kernel did with the pages is unknown, also after a second, successful
            // fdatasync. Nothing may be promised any more, and nothing may be read as durable.
            tracing::error!(%error, "the event log cannot make records durable");
            self.shared.queue.fail();
            (self.shared.options.on_fatal)(&format!("event log: {error}"));
        }
    }

    fn work(&mut self) -> io::Result<()> {
        let bytes_max = self.shared.options.commit_batch_bytes_max;
        let idle = Duration::from_millis(self.shared.options.idle_seal_ms);
        loop {
            let patience = (!self.target.sealed).then_some(idle);
            match self.shared.queue.next(bytes_max, patience) {
                Work::Append(batches) => self.append(batches)?,
                Work::Idle => {
                    self.seal()?;
                    (self.shared.options.on_idle)();
                }
                Work::Roll => {
                    // Where there is no room now, trim asks again.
                    let _rolled = self.target.ordinal == 0 || self.roll()?;
                }
                Work::Close => return self.seal(),
            }
        }
    }

    fn append(&mut self, batches: Vec<Pending>) -> io::Result<()> {
        let mut group = Vec::with_capacity(batches.len());
        let (mut bytes, mut records) = (0, 0);
        for pending in batches {
            let more_bytes = queue::bytes_of(&pending.batch);
            let more_records = pending.batch.records();
            if !self.fits(bytes + more_bytes, records + more_records) {
                self.commit(std::mem::take(&mut group))?;
                (bytes, records) = (0, 0);
                if !self.fits(more_bytes, more_records) && !self.roll()? {
                    self.shared
                        .counters
                        .refused_full
                        .fetch_add(1, Ordering::Relaxed);
                    self.shared.queue.release(more_bytes);
                    let full = AppendError::Full {
                        retry_after_s: RETRY_FULL_S,
                    };
                    // Whoever has gone away does not want to know.
                    let _ = pending.answer.send(Err(full));
                    continue;
                }
            }
            (bytes, records) = (bytes + more_bytes, records + more_records);
            group.push(pending);
        }
        self.commit(group)
    }

    fn fits(&self, bytes: u64, records: u32) -> bool {
        let used = self.target.position - DATA_START;
        let records = self.target.ordinal.saturating_add(records);
        // An empty segment takes any number of records: else a large batch would never fit.
        let few = records <= self.shared.options.segment_records_max || self.target.ordinal == 0;
        used + bytes <= capacity(self.target.bytes) && few
    }

    /// Writes, syncs and publishes a group that fits, then answers.
    fn commit(&mut self, group: Vec<Pending>) -> io::Result<()> {
        let mut answers = Vec::with_capacity(group.len());
        let mut commit = Vec::new();
        let mut released = 0;
        for Pending { batch, answer } in group {
            released += queue::bytes_of(&batch);
            answers.push((batch.records(), answer));
            let drafts = batch.into_drafts();
            // A lone batch, the common case under light load, is not copied.
            if commit.is_empty() {
                commit = drafts;
            } else {
                commit.extend_from_slice(&drafts);
            }
        }
        let mut next = self.target.end();
        if !commit.is_empty() {
            self.place(&mut commit);
            self.store(&commit)?;
            self.publish(commit);
            failpoint::hit(Failpoint::PublishAfter)?;
        }
        for (records, answer) in answers {
            let end = Offset(next.0 + u64::from(records));
            let last = Offset(end.0.saturating_sub(1)).max(next);
            let _ = answer.send(Ok(Appended { first: next, last }));
            next = end;
        }
        self.shared.queue.release(released);
        Ok(())
    }

    /// Gives each draft of the commit its place, and adds the commit record.
    fn place(&mut self, commit: &mut Vec<u8>) {
        let Target {
            mark,
            batch,
            position,
            mut ordinal,
            ..
        } = self.target;
        let batch = batch.wrapping_add(1);
        let (mut at, mut position) = (0, position);
        self.placed.clear();
        self.grown.clear();
        self.ends.clear();
        while let Some((header, stored)) = commit
            .get_mut(at..)
            .and_then(|draft| record::place(mark, ordinal, batch, draft))
        {
            let in_file = u32::try_from(position).expect("a segment is at most 1 GiB");
            self.placed.push((header, Position(in_file)));
            ordinal += 1;
            *self.grown.entry(header.stream).or_default() += 1;
            self.ends.insert(
                header.stream,
                Offset(self.target.first.0 + u64::from(ordinal)),
            );
            at += stored;
            position += u64::try_from(stored).expect("at most a record");
        }
        let synced_through = self.target.end();
        record::write_closing(mark, Kind::Commit, ordinal, batch, synced_through, commit);
    }

    /// Durable on return.
    fn store(&mut self, bytes: &[u8]) -> io::Result<()> {
        failpoint::hit(Failpoint::WriteBefore)?;
        self.target.file.write_all_at(bytes, self.target.position)?;
        failpoint::hit(Failpoint::WriteAfter)?;
        let began = Instant::now();
        failpoint::hit(Failpoint::Sync)?;
        self.target.file.sync_data()?;
        let us = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.shared.counters.fsync_took(us);
        failpoint::hit(Failpoint::SyncAfter)
    }

    /// Lets everybody see a commit that is durable.
    fn publish(&mut self, commit: Vec<u8>) {
        let written = u64::try_from(commit.len()).expect("at most a segment");
        let records = u32::try_from(self.placed.len()).expect("segment_records_max is a u32");
        let position = self.target.position;
        self.target.position += written;
        self.target.ordinal += records;
        self.target.batch = self.target.batch.wrapping_add(1);
        self.target.sealed = false;

        let mut view = write(&self.shared.view);
        for (header, position) in &self.placed {
            view.active.index.push(header, *position);
        }
        view.active.index.data_end = self.target.position;
        view.active.tail.push(position, Bytes::from(commit));
        drop(view);

        let mut totals = lock(&self.shared.totals);
        for (&stream, &count) in &self.grown {
            *totals.entry(stream).or_default() += count;
        }
        drop(totals);
        self.shared
            .counters
            .records
            .fetch_add(u64::from(records), Ordering::Relaxed);
        self.shared.counters.commits.fetch_add(1, Ordering::Relaxed);
        self.shared
            .end
            .store(self.target.end().0, Ordering::Release);
        self.shared.growth.publish(&self.ends);
    }

    /// Vouches on disk for all that was promised. Without it, damage to the very last commit
    /// could be taken for a torn tail.
    fn seal(&mut self) -> io::Result<()> {
        if self.target.sealed {
            return Ok(());
        }
        self.write_seal()?;
        self.target.file.sync_data()
    }

    /// Writes a seal, not durable on return.
    fn write_seal(&mut self) -> io::Result<()> {
        failpoint::hit(Failpoint::SealWrite)?;
        let Target {
            mark,
            ordinal,
            position,
            ..
        } = self.target;
        let batch = self.target.batch.wrapping_add(1);
        let mut seal = Vec::with_capacity(HEADER_BYTES);
        record::write_closing(
            mark,
            Kind::Seal,
            ordinal,
            batch,
            self.target.end(),
            &mut seal,
        );
        self.target.file.write_all_at(&seal, position)?;
        self.target.position += u64::try_from(seal.len()).expect("40");
        self.target.batch = batch;
        self.target.sealed = true;
        write(&self.shared.view).active.index.data_end = self.target.position;
        Ok(())
    }

    /// A file for the next segment. On a full disk it is that of a settled segment.
    fn take_spare(&self) -> Option<Spare> {
        let desk = &self.shared.desk;
        desk.take().or_else(|| {
            let freed = retention::give_way(&self.shared);
            freed.then(|| desk.take()).flatten()
        })
    }

    /// Begins a new segment. False where there is no room for one: the log goes on in this one
    /// with what fits, and can be read.
    fn roll(&mut self) -> io::Result<bool> {
        if !retention::make_room(&self.shared) {
            return Ok(false);
        }
        let Some(spare) = self.take_spare() else {
            return Ok(false);
        };
        failpoint::hit(Failpoint::RollSeal)?;
        if !self.target.sealed {
            // Nothing waits for it to be durable: that the next segment begins here says the same.
            self.write_seal()?;
        }
        let key = self.shared.next_key(self.target.end());
        spare.begin(key)?;
        let path = spare.enter(&self.shared.dir, key.first)?;
        failpoint::hit(Failpoint::RollPublish)?;

        let totals = sorted_totals(&lock(&self.shared.totals));
        let active = Active {
            key,
            mark: key.mark(),
            path,
            file: Arc::clone(&spare.file),
            bytes: spare.bytes,
            index: SegmentIndex::new(key, DATA_START, totals),
            tail: Tail::new(self.shared.options.tail_cache_bytes_max),
        };
        self.target = Target {
            file: spare.file,
            mark: active.mark,
            first: key.first,
            bytes: spare.bytes,
            position: DATA_START,
            ordinal: 0,
            batch: 0,
            sealed: false,
        };
        let mut view = write(&self.shared.view);
        let old = std::mem::replace(&mut view.active, active);
        if old.index.len() == 0 {
            // The new segment has taken the name of the old one, which was too small.
            return Ok(true);
        }
        let index = Arc::new(old.index);
        let segment = Arc::new(Sealed::of_index(&index, old.path, old.bytes, false));
        // Before anybody can find the segment, its index must be where they look for it.
        self.shared.indexes.put(Arc::clone(&index), true);
        Arc::make_mut(&mut view.sealed).push(Arc::clone(&segment));
        drop(view);
        self.shared.desk.write_index(IndexJob { segment, index });
        Ok(true)
    }
}
