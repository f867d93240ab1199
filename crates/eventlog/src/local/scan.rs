//! Reads a segment from front to back, and tells a torn tail from damage.
//!
//! The writer begins a commit only when the one before is durable, so:
//!
//! ```text
//!   good good BAD good(later commit)     BAD was durable: damage. Go on behind it.
//!   good good BAD [same commit's rest]   nobody was told that BAD is durable: a torn tail.
//!   ... seal(synced_through = 9), 9 missing     the seal vouches for it: damage.
//! ```

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use model::limits::RECORD_BYTES_MAX;
use model::{Offset, Position};

use crate::local::index::{SegmentIndex, Totals};
use crate::local::segment::{DATA_START, SegmentHeader};
use crate::record::{self, ALIGN_BYTES, HEADER_BYTES, Header, Kind, Mark, SegmentKey};
use crate::report::DamagedRange;

/// What a segment holds.
#[derive(Debug)]
pub(crate) struct Scan {
    /// Lost records included, up to the last one that can be read or is vouched for.
    pub index: SegmentIndex,
    /// Everything below was durable.
    pub synced_through: Offset,
    /// The last good record is a seal, and nothing of this segment stands behind it.
    pub sealed: bool,
    /// The last commit's number.
    pub batch: u16,
    pub torn_bytes: u64,
    pub damaged: Vec<DamagedRange>,
}

/// Scans a segment whose header is good.
///
/// # Errors
/// The file cannot be read at all; damage is no error.
pub(crate) fn scan(file: &File, header: SegmentHeader, totals: Totals) -> io::Result<Scan> {
    let mut scanner = Scanner {
        window: Window::new(file)?,
        key: header.key,
        mark: header.key.mark(),
        index: SegmentIndex::new(header.key, DATA_START, totals),
        synced_through: header.key.first,
        damaged: Vec::new(),
        batch: 0,
        closed: true,
        last_is_seal: false,
    };
    let mut position = DATA_START;
    let tail = loop {
        position = match scanner.record_at(position)? {
            Some(found) => scanner.take(&found)?,
            None => match scanner.later(position)? {
                Later::Durable(found) => {
                    scanner.lose(position..found.position, found.header.ordinal)?;
                    scanner.take(&found)?
                }
                Later::Torn { bytes } => break bytes,
            },
        };
    };
    scanner.finish(position, header.recycled, tail)
}

struct Scanner<'a> {
    window: Window<'a>,
    key: SegmentKey,
    mark: Mark,
    index: SegmentIndex,
    synced_through: Offset,
    damaged: Vec<DamagedRange>,
    batch: u16,
    /// The last good record ended its commit.
    closed: bool,
    last_is_seal: bool,
}

struct Found {
    header: Header,
    position: u64,
}

/// What stands behind bytes that are no record.
enum Later {
    /// A record that proves that the bytes were durable.
    Durable(Found),
    /// Nothing does. `bytes`: up to the end of the last thing that bears this segment's mark.
    Torn { bytes: u64 },
}

impl Scanner<'_> {
    /// The record at `position`, if it is one that may follow what was taken.
    fn record_at(&mut self, position: u64) -> io::Result<Option<Found>> {
        let head = self.window.at(position, HEADER_BYTES)?;
        let length = match head.first_chunk::<HEADER_BYTES>() {
            Some(head) => record::fields(head).length,
            None => return Ok(None),
        };
        let marked = head.starts_with(&self.mark.0.to_le_bytes());
        let Some(length) = usize::try_from(length)
            .ok()
            .filter(|&length| marked && length <= RECORD_BYTES_MAX)
        else {
            return Ok(None);
        };
        let stored = record::stored_bytes(length);
        let bytes = self.window.at(position, stored)?;
        let header = record::decode(self.mark, bytes)
            .ok()
            .filter(|_| bytes.len() == stored);
        let header = header.filter(|header| header.ordinal >= self.index.len());
        Ok(header.map(|header| Found { header, position }))
    }

    /// Accepts a good record and returns the position behind it.
    fn take(&mut self, found: &Found) -> io::Result<u64> {
        let Found { header, position } = found;
        if header.ordinal > self.index.len() {
            self.lose(*position..*position, header.ordinal)?;
        }
        match header.kind {
            Kind::Event => {
                let position = u32::try_from(*position).expect("a segment is at most 1 GiB");
                self.index.push(header, Position(position));
            }
            Kind::Commit | Kind::Seal => {
                let synced_through = Offset(header.message_hash);
                self.synced_through = self.synced_through.max(synced_through);
            }
        }
        self.batch = header.batch;
        self.closed = header.kind != Kind::Event;
        self.last_is_seal = header.kind == Kind::Seal;
        self.index.data_end = position + to_u64(stored(header));
        Ok(self.index.data_end)
    }

    /// Notes that the records up to ordinal `until` are damaged. Whose header looks right stays in
    /// its stream, so that it is told there; the others are lost.
    fn lose(&mut self, bytes: std::ops::Range<u64>, until: u32) -> io::Result<()> {
        let offsets = self.index.end()..self.index.offset(until);
        let mut position = bytes.start;
        while self.index.len() < until
            && let Some(header) = self.header_at(position)?
        {
            let end = position + to_u64(stored(&header));
            if end > bytes.end {
                break;
            }
            let position_of = u32::try_from(position).expect("a segment is at most 1 GiB");
            self.index.push_damaged(&header, Position(position_of));
            position = end;
        }
        self.index.push_lost(until);
        self.damaged.push(DamagedRange {
            segment: self.key.first,
            offsets,
            bytes,
        });
        Ok(())
    }

    /// What may be the next event's header. Its record is damaged: nothing proves it.
    fn header_at(&mut self, position: u64) -> io::Result<Option<Header>> {
        let head = self.window.at(position, HEADER_BYTES)?;
        let marked = head.starts_with(&self.mark.0.to_le_bytes());
        let header = head.first_chunk().filter(|_| marked).map(record::fields);
        Ok(header.filter(|header| {
            header.kind == Kind::Event
                && header.ordinal == self.index.len()
                && usize::try_from(header.length).is_ok_and(|length| length <= RECORD_BYTES_MAX)
        }))
    }

    /// Looks behind the bytes at `bad` for a good record of a later commit.
    fn later(&mut self, bad: u64) -> io::Result<Later> {
        let lost_batch = if self.closed {
            self.batch.wrapping_add(1)
        } else {
            self.batch
        };
        let mut resume = None;
        let mut torn_end = bad;
        let mut at = bad;
        while let Some(marked) = self.window.find(self.mark, at)? {
            at = marked + to_u64(ALIGN_BYTES);
            torn_end = marked + to_u64(HEADER_BYTES);
            let Some(found) = self.record_at(marked)? else {
                continue;
            };
            at = marked + to_u64(stored(&found.header));
            torn_end = at;
            let is_later = self.proves_durable(&found.header, lost_batch);
            let resume = resume.get_or_insert(found);
            if is_later {
                return Ok(Later::Durable(Found {
                    header: resume.header,
                    ..*resume
                }));
            }
        }
        Ok(Later::Torn {
            bytes: torn_end - bad,
        })
    }

    /// Whether a good record behind bytes that are none shows that `lost_batch`, the commit which
    /// those bytes belong to, was durable: it is of a later commit, or says so itself. (Numbers of
    /// commits wrap: where very many are lost, they do not tell which is later.)
    fn proves_durable(&self, header: &Header, lost_batch: u16) -> bool {
        let newer = header.batch.wrapping_sub(lost_batch);
        let vouches = header.kind != Kind::Event && header.message_hash > self.index.end().0;
        vouches || (newer != 0 && newer < u16::MAX / 2)
    }

    fn finish(mut self, position: u64, recycled: bool, marked: u64) -> io::Result<Scan> {
        let vouched = self.synced_through.0.saturating_sub(self.key.first.0);
        if let Ok(vouched) = u32::try_from(vouched)
            && vouched > self.index.len()
        {
            self.lose(position..position, vouched)?;
        }
        // Behind the records of a fresh segment there are only zeros: whatever else stands there
        // was torn. In a recycled one an earlier segment's records do.
        let written = if recycled {
            0
        } else {
            self.window.last_used(position)? - position
        };
        Ok(Scan {
            synced_through: self.synced_through.min(self.index.end()),
            sealed: self.last_is_seal && marked == 0 && written == 0,
            batch: self.batch,
            torn_bytes: marked.max(written),
            damaged: self.damaged,
            index: self.index,
        })
    }
}

/// Bytes of a record whose length was checked.
fn stored(header: &Header) -> usize {
    record::stored_bytes(usize::try_from(header.length).expect("usize has at least 32 bits"))
}

/// A stretch of the file in memory, so that a segment is read in few system calls and little
/// memory.
struct Window<'a> {
    file: &'a File,
    file_bytes: u64,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    const BYTES: usize = 1 << 20;

    fn new(file: &'a File) -> io::Result<Self> {
        Ok(Self {
            file,
            file_bytes: file.metadata()?.len(),
            start: 0,
            bytes: Vec::new(),
        })
    }

    /// `len` bytes at `position`, or fewer where the file ends.
    fn at(&mut self, position: u64, len: usize) -> io::Result<&[u8]> {
        let end = (position + to_u64(len)).min(self.file_bytes);
        if position < self.start || end > self.start + to_u64(self.bytes.len()) {
            self.load(position)?;
        }
        let from = usize::try_from(position - self.start).unwrap_or(usize::MAX);
        let held = self.bytes.get(from..).unwrap_or(&[]);
        Ok(held.get(..len).unwrap_or(held))
    }

    /// All bytes in memory from `position` on: at least one, before the end of the file.
    fn held(&mut self, position: u64) -> io::Result<&[u8]> {
        self.at(position, 1)?;
        let from = usize::try_from(position - self.start).unwrap_or(usize::MAX);
        Ok(self.bytes.get(from..).unwrap_or(&[]))
    }

    fn load(&mut self, position: u64) -> io::Result<()> {
        let left = self.file_bytes.saturating_sub(position);
        self.bytes.resize(
            usize::try_from(left)
                .unwrap_or(Self::BYTES)
                .min(Self::BYTES),
            0,
        );
        self.start = position;
        self.file.read_exact_at(&mut self.bytes, position)
    }

    /// The first multiple of [`ALIGN_BYTES`] at or after `from` where `mark` stands.
    fn find(&mut self, mark: Mark, from: u64) -> io::Result<Option<u64>> {
        let mark = mark.0.to_le_bytes();
        let mut at = from;
        while at < self.file_bytes {
            let bytes = self.held(at)?;
            if let Some(word) = bytes
                .chunks(ALIGN_BYTES)
                .position(|word| word.starts_with(&mark))
            {
                return Ok(Some(at + to_u64(word * ALIGN_BYTES)));
            }
            at += to_u64(bytes.len().max(1));
        }
        Ok(None)
    }

    /// The position behind the last byte that is not zero, at least `from`.
    fn last_used(&mut self, from: u64) -> io::Result<u64> {
        let (mut at, mut used) = (from, from);
        while at < self.file_bytes {
            let bytes = self.held(at)?;
            if let Some(last) = bytes.iter().rposition(|&byte| byte != 0) {
                used = at + to_u64(last) + 1;
            }
            at += to_u64(bytes.len().max(1));
        }
        Ok(used)
    }
}

fn to_u64(value: usize) -> u64 {
    u64::try_from(value).expect("fairlane runs on 64-bit machines")
}

#[cfg(test)]
mod tests;
