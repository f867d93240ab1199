//! Opening: from whatever files there are to a log that can be appended to.
//!
//! 1. [`inventory`]: which file is what, whatever its name says;
//! 2. every segment but the last: its index head is enough, else the index is rebuilt;
//! 3. the last is scanned. A seal at its end, and nothing behind: go on in it. Else its tail is
//!    written again ([`relog`]) into a new segment.

mod inventory;
mod relog;

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use model::{Offset, SourceId, UnixMillis};

use crate::error::Error;
use crate::local::dir::Dir;
use crate::local::index::SegmentIndex;
use crate::local::index_file::{self, IndexHead};
use crate::local::rebuild;
use crate::local::scan::{self, Scan};
use crate::local::sealed::Sealed;
use crate::local::segment::{DATA_START, Spare};
use crate::local::shared::Active;
use crate::local::tail::Tail;
use crate::local::writer::{Target, capacity};
use crate::options::Options;
use crate::record::{self, SegmentKey};
use crate::report::{DamagedRange, RecoveryReport};
use inventory::{Found, Inventory};

/// Size of the first segment of a log, and of one made in haste: filling a whole one with zeros
/// would delay the start.
const HASTY_SEGMENT_BYTES: u64 = 4 << 20;

/// A log ready to run.
#[derive(Debug)]
pub(crate) struct Recovered {
    pub sealed: Vec<Arc<Sealed>>,
    pub active: Active,
    pub target: Target,
    pub totals: HashMap<SourceId, u64>,
    pub spares: Vec<Spare>,
    pub spare_number_next: u64,
    pub epoch_next: u64,
    pub report: RecoveryReport,
}

/// # Errors
/// The directory cannot be used, or a file is of a newer version (nothing was changed then).
/// Damage is no error: it is reported.
pub(crate) fn recover(dir: &Dir, options: &Options, now: UnixMillis) -> Result<Recovered, Error> {
    let inventory = inventory::take(dir, options)?;
    let Inventory {
        segments,
        spares,
        spare_number_next,
        epoch_max,
        trimmed_end,
        ..
    } = inventory;
    let mut recovery = Recovery {
        dir,
        options,
        sealed: Vec::new(),
        spares,
        spare_number_next,
        // Also unlike those of another log, whose files may be mixed up with this one's.
        epoch_next: epoch_max.saturating_add(1).max(now.0),
        expected: trimmed_end,
        report: RecoveryReport::default(),
    };
    inventory
        .unreadable
        .into_iter()
        .for_each(|range| recovery.quarantine(range));
    let limits: Vec<Offset> = segments.iter().skip(1).map(|next| next.key.first).collect();
    let mut last = None;
    for (at, segment) in segments.into_iter().enumerate() {
        recovery.expect(segment.key.first);
        match limits.get(at) {
            Some(&limit) => recovery.seal_segment(segment, limit)?,
            None => last = Some(segment),
        }
    }
    let (mut active, mut target) = match last {
        Some(segment) => recovery.open_last(segment)?,
        None => recovery.begin(recovery.expected)?,
    };
    let end_min = options.end_min.max(inventory.lost_end);
    if target.end() < end_min {
        (active, target) = recovery.skip_to(end_min, active, target)?;
    }
    recovery.finish(active, target)
}

struct Recovery<'a> {
    dir: &'a Dir,
    options: &'a Options,
    sealed: Vec<Arc<Sealed>>,
    spares: Vec<Spare>,
    spare_number_next: u64,
    epoch_next: u64,
    /// The first offset that no segment so far covers.
    expected: Offset,
    report: RecoveryReport,
}

impl Recovery<'_> {
    /// Reports the records between the last segment and one that begins at `first`.
    fn expect(&mut self, first: Offset) {
        if first > self.expected {
            let offsets = self.expected..first;
            self.quarantine(DamagedRange {
                segment: self.expected,
                offsets,
                bytes: 0..0,
            });
        }
        self.expected = self.expected.max(first);
    }

    fn quarantine(&mut self, range: DamagedRange) {
        tracing::error!(
            segment = %range.segment, from = %range.offsets.start, to = %range.offsets.end,
            bytes_from = range.bytes.start, bytes_to = range.bytes.end,
            "part of the event log is damaged: these records cannot be delivered"
        );
        self.report.quarantined.push(range);
    }

    /// Takes in a segment that is not the last. `limit` is where the next one begins.
    fn seal_segment(&mut self, found: Found, limit: Offset) -> Result<(), Error> {
        let path = self.dir.index_path(found.key.first);
        let head = match self.dir.open_read(&path) {
            Ok(file) => IndexHead::read(&file).map_err(Error::io("read", &path))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            Err(error) => return Err(Error::io("open", &path)(error)),
        };
        let sealed = match head.filter(|head| head.key == found.key && head.end() <= limit) {
            Some(head) => {
                if found.bytes < head.data_end {
                    self.report_short(&found)?;
                }
                Sealed::of_head(&head, found.path, found.bytes)
            }
            None => {
                let scan = rebuild::index(self.dir, &found.path, found.key, limit)?;
                self.report.rebuilt_indexes += 1;
                scan.damaged
                    .into_iter()
                    .for_each(|range| self.quarantine(range));
                Sealed::of_index(&scan.index, found.path, found.bytes, true)
            }
        };
        self.expected = sealed.end;
        self.sealed.push(Arc::new(sealed));
        Ok(())
    }

    /// Reports the records of a file that is shorter than its index says.
    fn report_short(&mut self, found: &Found) -> Result<(), Error> {
        let path = self.dir.index_path(found.key.first);
        let index = index_file::load(self.dir, &path, found.key, false);
        let Some(index) = index.map_err(Error::io("read", &path))? else {
            return Ok(());
        };
        let cut = (0..index.len()).find(|&ordinal| {
            index.entry(ordinal).is_some_and(|entry| {
                let length = usize::try_from(entry.length).unwrap_or(0);
                let stored = u64::try_from(record::stored_bytes(length)).unwrap_or(0);
                u64::from(entry.position.0) + stored > found.bytes
            })
        });
        if let Some(ordinal) = cut {
            let offsets = index.offset(ordinal)..index.end();
            let bytes = found.bytes..index.data_end;
            self.quarantine(DamagedRange {
                segment: found.key.first,
                offsets,
                bytes,
            });
        }
        Ok(())
    }

    fn open_last(&mut self, found: Found) -> Result<(Active, Target), Error> {
        // An index that a lost later segment left behind would be out of date with the next append.
        let index = self.dir.index_path(found.key.first);
        match std::fs::remove_file(&index) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Error::io("remove", &index)(error));
            }
            _ => {}
        }
        let totals = rebuild::totals_before(self.dir, found.key.first)?;
        let file = found.open(self.dir)?;
        let scan = scan::scan(&file, found.header(), totals);
        let scan = scan.map_err(Error::io("read", &found.path))?;
        for range in &scan.damaged {
            self.quarantine(range.clone());
        }
        self.report.torn_bytes = scan.torn_bytes;
        self.report.clean = scan.sealed;
        if scan.sealed && scan.damaged.is_empty() && found.bytes == found.bytes_made {
            return Ok(self.go_on(found, file, scan));
        }
        relog::relog(self, &found, &file, scan)
    }

    /// Appends go on behind the seal of the last run.
    fn go_on(&self, found: Found, file: Arc<File>, scan: Scan) -> (Active, Target) {
        let target = Target {
            file: Arc::clone(&file),
            mark: found.key.mark(),
            first: found.key.first,
            bytes: found.bytes,
            position: scan.index.data_end,
            ordinal: scan.index.len(),
            batch: scan.batch,
            sealed: true,
        };
        let Found {
            key, path, bytes, ..
        } = found;
        let tail = Tail::new(self.options.tail_cache_bytes_max);
        let active = Active {
            key,
            mark: key.mark(),
            path,
            file,
            bytes,
            index: scan.index,
            tail,
        };
        (active, target)
    }

    /// A new, empty segment from `first` on.
    fn begin(&mut self, first: Offset) -> Result<(Active, Target), Error> {
        self.expect(first);
        let spare = self.spare(0)?;
        let key = self.next_key(first);
        let path = spare.begin(key).and_then(|()| spare.enter(self.dir, first));
        let path = path.map_err(Error::io("begin a segment in", self.dir.path()))?;
        let totals = rebuild::totals_before(self.dir, first)?;
        let index = SegmentIndex::new(key, DATA_START, totals);
        self.report.clean |= self.sealed.is_empty() && self.report.quarantined.is_empty();
        Ok(self.begun(&spare, path, index, 0))
    }

    /// What runs on in a segment that was begun from `spare` and holds what `index` says.
    fn begun(
        &self,
        spare: &Spare,
        path: std::path::PathBuf,
        index: SegmentIndex,
        batch: u16,
    ) -> (Active, Target) {
        let key = index.key;
        let target = Target {
            file: Arc::clone(&spare.file),
            mark: key.mark(),
            first: key.first,
            bytes: spare.bytes,
            position: index.data_end,
            ordinal: index.len(),
            batch,
            sealed: batch > 0,
        };
        let file = Arc::clone(&spare.file);
        let tail = Tail::new(self.options.tail_cache_bytes_max);
        let bytes = spare.bytes;
        (
            Active {
                key,
                mark: key.mark(),
                path,
                file,
                bytes,
                index,
                tail,
            },
            target,
        )
    }

    /// Leaves out offsets that were in use before the newest segment was lost.
    fn skip_to(
        &mut self,
        end: Offset,
        active: Active,
        target: Target,
    ) -> Result<(Active, Target), Error> {
        self.expected = target.end();
        if target.ordinal > 0 {
            let written = index_file::write(self.dir, &active.index);
            written.map_err(Error::io("write an index in", self.dir.path()))?;
            let sealed = Sealed::of_index(&active.index, active.path, active.bytes, true);
            self.sealed.push(Arc::new(sealed));
        } else {
            std::fs::remove_file(&active.path).map_err(Error::io("remove", &active.path))?;
        }
        self.begin(end)
    }

    fn next_key(&mut self, first: Offset) -> SegmentKey {
        self.epoch_next += 1;
        SegmentKey {
            epoch: self.epoch_next - 1,
            first,
        }
    }

    /// A spare for `bytes` of records: one that is ready, or a small new one.
    fn spare(&mut self, bytes: u64) -> Result<Spare, Error> {
        if let Some(at) = self
            .spares
            .iter()
            .position(|spare| capacity(spare.bytes) >= bytes)
        {
            return Ok(self.spares.swap_remove(at));
        }
        let number = self.spare_number_next;
        self.spare_number_next += 1;
        let least = HASTY_SEGMENT_BYTES.min(self.options.segment_bytes_max);
        let needed = (bytes + DATA_START).next_multiple_of(HASTY_SEGMENT_BYTES);
        let needed = if capacity(least) >= bytes {
            least
        } else {
            needed.max(least)
        };
        Spare::create(self.dir, number, needed)
            .map_err(Error::io("make a segment in", self.dir.path()))
    }

    fn finish(mut self, active: Active, target: Target) -> Result<Recovered, Error> {
        let totals: HashMap<SourceId, u64> = active.index.totals_after();
        let sealed: u64 = self.sealed.iter().map(|segment| segment.records).sum();
        self.report.records = sealed + active.index.present();
        Ok(Recovered {
            sealed: self.sealed,
            active,
            target,
            totals,
            spares: self.spares,
            spare_number_next: self.spare_number_next,
            epoch_next: self.epoch_next,
            report: self.report,
        })
    }
}
