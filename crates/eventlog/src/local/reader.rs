//! Reading: records by offset, and a stream's offsets.
//!
//! ```text
//!   offset --> active segment? --> tail (memory) --> file
//!          \-> sealed segment  --> its index (cache, else index file, else rebuilt) --> file
//! ```

use std::fs::File;
use std::io::{self, IoSliceMut};
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use model::{Offset, SourceId, UnixMillis};
use rustix::io::{Errno, ReadWriteFlags};

use crate::RecordRef;
use crate::error::Error;
use crate::guard::{lock, read};
use crate::local::index::{Entry, SegmentIndex};
use crate::local::index_file;
use crate::local::rebuild;
use crate::local::sealed::Sealed;
use crate::local::shared::Shared;
use crate::record::{self, HEADER_BYTES, Header, Kind, Record, SegmentKey};
use crate::report::DamagedRange;

/// Whether a read may wait for the disk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Wait {
    Never,
    Disk,
}

/// Where a record was found.
enum Located {
    Here(Record),
    OnDisk(Place),
    /// Only waiting for the disk can tell.
    Cold,
}

struct Place {
    file: Arc<File>,
    key: SegmentKey,
    ordinal: u32,
    entry: Entry,
}

impl Shared {
    /// `None` only if it may not wait and would have to.
    pub(crate) fn read(&self, offset: Offset, wait: Wait) -> Result<Option<Record>, Error> {
        match self.locate(offset, wait)? {
            Located::Here(record) => Ok(Some(record)),
            Located::OnDisk(place) => self.read_place(offset, &place, wait),
            Located::Cold => Ok(None),
        }
    }

    fn locate(&self, offset: Offset, wait: Wait) -> Result<Located, Error> {
        let segment = {
            let view = read(&self.view);
            let active = &view.active;
            let end = active.index.end();
            if offset >= end {
                return Err(Error::Beyond { offset, end });
            }
            if let Some(ordinal) = active.index.ordinal(offset) {
                let segment = active.key.first;
                let damaged = Error::Damaged { offset, segment };
                let entry = active.index.entry(ordinal).ok_or(damaged)?;
                if let Some((header, payload)) = active.tail.get(entry.position) {
                    return Ok(Located::Here(record_of(offset, &header, payload)));
                }
                let (file, key) = (Arc::clone(&active.file), active.key);
                return Ok(Located::OnDisk(Place {
                    file,
                    key,
                    ordinal,
                    entry,
                }));
            }
            let at = view.sealed.partition_point(|segment| segment.end <= offset);
            view.sealed.get(at).cloned()
        };
        let Some(segment) = segment.filter(|segment| segment.first() <= offset) else {
            return Err(self.gone_or_damaged(offset, offset));
        };
        let first = segment.first();
        let (index, file) = match wait {
            Wait::Never => (self.indexes.get(first), self.files.get(first)),
            Wait::Disk => {
                let index = self.index(&segment)?;
                let file = self.files.open(&self.dir, &segment);
                let file = file.map_err(|error| self.read_failed(&segment, error))?;
                (Some(index), Some(file))
            }
        };
        let (Some(index), Some(file)) = (index, file) else {
            return Ok(Located::Cold);
        };
        let ordinal = index.ordinal(offset);
        let found = ordinal.and_then(|ordinal| Some((ordinal, index.entry(ordinal)?)));
        let (ordinal, entry) = found.ok_or_else(|| self.gone_or_damaged(offset, first))?;
        Ok(Located::OnDisk(Place {
            file,
            key: segment.key,
            ordinal,
            entry,
        }))
    }

    fn read_place(
        &self,
        offset: Offset,
        place: &Place,
        wait: Wait,
    ) -> Result<Option<Record>, Error> {
        let segment = place.key.first;
        let length = usize::try_from(place.entry.length).unwrap_or(0);
        let mut bytes = vec![0; HEADER_BYTES + length];
        let position = u64::from(place.entry.position.0);
        let whole = match wait {
            Wait::Disk => place.file.read_exact_at(&mut bytes, position),
            Wait::Never => match read_now(&place.file, &mut bytes, position) {
                Ok(true) => Ok(()),
                Ok(false) => return Ok(None),
                Err(error) => Err(error),
            },
        };
        // A file cut short, and a disk that cannot read a sector: the record is lost either way,
        // and only it.
        let header = match &whole {
            Ok(()) => record::decode(place.key.mark(), &bytes).ok(),
            Err(_) => None,
        };
        let good = header.filter(|header| {
            header.ordinal == place.ordinal
                && header.kind == Kind::Event
                && header.length == place.entry.length
        });
        let Some(header) = good else {
            let error = self.gone_or_damaged(offset, segment);
            if matches!(error, Error::Damaged { .. }) {
                let end = position + u64::try_from(bytes.len()).unwrap_or(0);
                let range = DamagedRange {
                    segment,
                    offsets: offset..offset.next(),
                    bytes: position..end,
                };
                if lock(&self.damage).note(range) {
                    let cause = whole.err().map(|error| error.to_string());
                    tracing::error!(%offset, %segment, cause, "a record is damaged");
                }
            }
            return Err(error);
        };
        let payload = Bytes::from(bytes).split_off(HEADER_BYTES);
        Ok(Some(record_of(offset, &header, payload)))
    }

    /// A record that is not where it should be: retention may have been faster than the reader.
    fn gone_or_damaged(&self, offset: Offset, segment: Offset) -> Error {
        let first = self.first();
        if offset < first {
            Error::Trimmed { first }
        } else {
            Error::Damaged { offset, segment }
        }
    }

    fn read_failed(&self, segment: &Sealed, error: io::Error) -> Error {
        let first = self.first();
        if segment.first() < first {
            return Error::Trimmed { first };
        }
        Error::io("read", &segment.path)(error)
    }

    /// The index of a sealed segment, without hashes.
    fn index(&self, segment: &Sealed) -> Result<Arc<SegmentIndex>, Error> {
        if let Some(index) = self.indexes.get(segment.first()) {
            return Ok(index);
        }
        self.indexes.loads.fetch_add(1, Ordering::Relaxed);
        let index = Arc::new(self.load_index(segment, false)?);
        self.indexes.put(Arc::clone(&index), false);
        Ok(index)
    }

    fn load_index(&self, segment: &Sealed, with_hashes: bool) -> Result<SegmentIndex, Error> {
        let path = self.dir.index_path(segment.first());
        let loaded = index_file::load(&self.dir, &path, segment.key, with_hashes);
        if let Some(index) = loaded.map_err(|error| self.read_failed(segment, error))? {
            return Ok(index);
        }
        if segment.first() < self.first() {
            return Err(Error::Trimmed {
                first: self.first(),
            });
        }
        tracing::warn!(segment = %segment.first(), "an index is damaged: rebuilding it");
        let rebuilt = rebuild::index(&self.dir, &segment.path, segment.key, segment.end)?;
        let mut damage = lock(&self.damage);
        rebuilt.damaged.into_iter().for_each(|range| {
            damage.note(range);
        });
        Ok(if with_hashes {
            rebuilt.index
        } else {
            rebuilt.index.into_lean()
        })
    }

    /// See [`crate::EventLog::offsets`].
    pub(crate) fn offsets(
        &self,
        stream: SourceId,
        from: Offset,
        max: usize,
        out: &mut Vec<RecordRef>,
    ) -> Result<Offset, Error> {
        let full = out.len().saturating_add(max);
        let (sealed, active_first) = self.segments();
        let at = sealed.partition_point(|segment| segment.end <= from);
        for segment in sealed.iter().skip(at) {
            if !segment.may_hold(stream) {
                continue;
            }
            let cached = self.indexes.get(segment.first());
            let cold = cached.is_none();
            let index = match cached {
                Some(index) => index,
                None => self.index(segment)?,
            };
            if let Some(scanned) = list(&index, stream, from, full, out) {
                return Ok(scanned);
            }
            if cold {
                // One load a call: other lanes of this shard are waiting.
                return Ok(segment.end.max(from));
            }
        }
        let view = read(&self.view);
        if view.active.key.first != active_first {
            // The active segment was sealed meanwhile: the next call finds it among the sealed.
            return Ok(active_first.max(from));
        }
        let scanned = list(&view.active.index, stream, from, full, out);
        Ok(scanned.unwrap_or_else(|| view.active.index.end().max(from)))
    }

    /// See [`crate::EventLog::stream_count_before`].
    pub(crate) fn stream_count_before(
        &self,
        stream: SourceId,
        offset: Offset,
    ) -> Result<u64, Error> {
        let before = |index: &SegmentIndex| {
            let from = offset.0.saturating_sub(index.key.first.0);
            let from = u32::try_from(from).unwrap_or(u32::MAX);
            let all = index.postings_from(stream, 0).len();
            let below = all - index.postings_from(stream, from).len();
            index.total_before(stream) + u64::try_from(below).unwrap_or(u64::MAX)
        };
        let segment = {
            let view = read(&self.view);
            let at = view.sealed.partition_point(|segment| segment.end <= offset);
            match view.sealed.get(at) {
                Some(segment) => Arc::clone(segment),
                None => return Ok(before(&view.active.index)),
            }
        };
        Ok(before(&*self.index(&segment)?))
    }

    /// See [`crate::EventLog::offset_at`].
    pub(crate) fn offset_at(&self, time: UnixMillis) -> Offset {
        let (sealed, _) = self.segments();
        if let Some(segment) = sealed.iter().find(|segment| segment.received_max >= time.0) {
            let index = self.index(segment).ok();
            let exact =
                index.and_then(|index| Some(index.offset(index.first_received_since(time)?)));
            return exact.unwrap_or(segment.first());
        }
        let view = read(&self.view);
        let index = &view.active.index;
        index
            .first_received_since(time)
            .map_or(index.end(), |ordinal| index.offset(ordinal))
    }

    /// See [`crate::EventLog::messages_since`].
    pub(crate) fn messages_since(
        &self,
        time: UnixMillis,
        f: &mut dyn FnMut(SourceId, u64, UnixMillis),
    ) -> Result<(), Error> {
        let (sealed, active_first) = self.segments();
        for segment in sealed
            .iter()
            .filter(|segment| segment.received_max >= time.0)
        {
            if segment.is_indexed() {
                self.load_index(segment, true)?.messages_since(time, f);
            } else {
                self.index(segment)?.messages_since(time, f);
            }
        }
        let view = read(&self.view);
        if view.active.key.first == active_first {
            view.active.index.messages_since(time, f);
            return Ok(());
        }
        drop(view);
        // The active segment was sealed meanwhile: its records are among the sealed now.
        let (sealed, _) = self.segments();
        for segment in sealed
            .iter()
            .filter(|segment| segment.first() >= active_first)
        {
            self.index(segment)?.messages_since(time, f);
        }
        read(&self.view).active.index.messages_since(time, f);
        Ok(())
    }
}

/// Lists a stream's records of one segment. Returns where to go on if `out` is full.
fn list(
    index: &SegmentIndex,
    stream: SourceId,
    from: Offset,
    full: usize,
    out: &mut Vec<RecordRef>,
) -> Option<Offset> {
    let start = u32::try_from(from.0.saturating_sub(index.key.first.0)).unwrap_or(u32::MAX);
    for &ordinal in index.postings_from(stream, start) {
        if out.len() >= full {
            return Some(index.offset(ordinal));
        }
        if let Some(entry) = index.entry(ordinal) {
            let (offset, bytes) = (index.offset(ordinal), entry.length);
            out.push(RecordRef {
                offset,
                bytes,
                received_at: entry.received_at,
            });
        }
    }
    None
}

fn record_of(offset: Offset, header: &Header, payload: Bytes) -> Record {
    Record {
        offset,
        stream: header.stream,
        received_at: header.received_at,
        message_hash: header.message_hash,
        flags: header.flags,
        payload,
    }
}

/// Fills `bytes` from the page cache; false where that would wait for the disk.
fn read_now(file: &File, bytes: &mut [u8], position: u64) -> io::Result<bool> {
    let wanted = bytes.len();
    let mut slices = [IoSliceMut::new(bytes)];
    match rustix::io::preadv2(file, &mut slices, position, ReadWriteFlags::NOWAIT) {
        Ok(read) => Ok(read == wanted),
        // Not in the cache, or a file system that cannot say: a blocking read will tell.
        Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::INTR) => Ok(false),
        Err(error) => Err(error.into()),
    }
}
