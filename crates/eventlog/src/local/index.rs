//! A segment's index: where each record is, and for each stream the ordinals of its records.
//!
//! ```text
//!   ordinal      0     1     2     3          postings   stream 7: 0 2
//!   position  8192  8264     -  8400                     stream 9: 1 3
//!   length      30    12     -    90          (- : the record is lost)
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use model::{Offset, Position, SourceId, UnixMillis};

use crate::local::varint;
use crate::record::{Header, SegmentKey};

/// How many records each stream has ever had, ascending by stream.
pub(crate) type Totals = Arc<[(SourceId, u64)]>;

/// Where a record is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Entry {
    pub position: Position,
    pub length: u32,
    pub received_at: UnixMillis,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct SegmentIndex {
    pub key: SegmentKey,
    /// Position after the last byte in use.
    pub data_end: u64,
    /// 0, where a header is, stands for a record that is lost.
    positions: Vec<u32>,
    lengths: Vec<u32>,
    received: Vec<u64>,
    /// Empty where the index was loaded for reading only.
    hashes: Vec<u64>,
    postings: HashMap<SourceId, Vec<u32>>,
    /// Before this segment.
    pub totals: Totals,
    pub received_min: u64,
    pub received_max: u64,
}

impl SegmentIndex {
    pub(crate) fn new(key: SegmentKey, data_end: u64, totals: Totals) -> Self {
        Self {
            key,
            data_end,
            positions: Vec::new(),
            lengths: Vec::new(),
            received: Vec::new(),
            hashes: Vec::new(),
            postings: HashMap::new(),
            totals,
            received_min: u64::MAX,
            received_max: 0,
        }
    }

    /// Adds the next record.
    pub(crate) fn push(&mut self, header: &Header, position: Position) {
        let ordinal = self.len();
        self.positions.push(position.0);
        self.lengths.push(header.length);
        self.received.push(header.received_at.0);
        self.hashes.push(header.message_hash);
        self.postings
            .entry(header.stream)
            .or_default()
            .push(ordinal);
        self.received_min = self.received_min.min(header.received_at.0);
        self.received_max = self.received_max.max(header.received_at.0);
    }

    /// Adds the next record, whose bytes are damaged behind a header that looks right: who comes to
    /// it is told so. Its time is that of the record before, and its message may come again.
    pub(crate) fn push_damaged(&mut self, header: &Header, position: Position) {
        let received_at = self.received.last().copied().unwrap_or(0);
        self.push(
            &Header {
                received_at: UnixMillis(received_at),
                message_hash: 0,
                ..*header
            },
            position,
        );
    }

    /// Adds lost records until there are `len`.
    pub(crate) fn push_lost(&mut self, len: u32) {
        while self.len() < len {
            self.positions.push(0);
            self.lengths.push(0);
            self.received
                .push(self.received.last().copied().unwrap_or(0));
            self.hashes.push(0);
        }
    }

    /// Forgets the records from ordinal `len` on: they live in the next segment.
    pub(crate) fn truncate(&mut self, len: u32) {
        let keep = to_usize(len);
        self.positions.truncate(keep);
        self.lengths.truncate(keep);
        self.received.truncate(keep);
        self.hashes.truncate(keep);
        for ordinals in self.postings.values_mut() {
            ordinals.truncate(ordinals.partition_point(|&ordinal| ordinal < len));
        }
        self.postings.retain(|_, ordinals| !ordinals.is_empty());
    }

    /// Drops what only writing the index file, or the duplicate window, needs.
    pub(crate) fn into_lean(mut self) -> Self {
        self.hashes = Vec::new();
        self.positions.shrink_to_fit();
        self.lengths.shrink_to_fit();
        self.received.shrink_to_fit();
        self.postings.values_mut().for_each(Vec::shrink_to_fit);
        self
    }

    /// Records, lost ones included.
    pub(crate) fn len(&self) -> u32 {
        u32::try_from(self.positions.len()).expect("segment_records_max is a u32")
    }

    pub(crate) fn end(&self) -> Offset {
        Offset(self.key.first.0 + u64::from(self.len()))
    }

    /// Records that can be read.
    pub(crate) fn present(&self) -> u64 {
        self.postings
            .values()
            .map(|ordinals| from_usize(ordinals.len()))
            .sum()
    }

    pub(crate) fn ordinal(&self, offset: Offset) -> Option<u32> {
        let ordinal = u32::try_from(offset.0.checked_sub(self.key.first.0)?).ok()?;
        (ordinal < self.len()).then_some(ordinal)
    }

    pub(crate) fn offset(&self, ordinal: u32) -> Offset {
        Offset(self.key.first.0 + u64::from(ordinal))
    }

    /// `None` for a record that is lost or not there.
    pub(crate) fn entry(&self, ordinal: u32) -> Option<Entry> {
        let at = to_usize(ordinal);
        let position = self
            .positions
            .get(at)
            .copied()
            .filter(|&position| position != 0)?;
        Some(Entry {
            position: Position(position),
            length: self.lengths.get(at).copied()?,
            received_at: UnixMillis(self.received.get(at).copied()?),
        })
    }

    /// Ascending ordinals of a stream's records from `from` on.
    pub(crate) fn postings_from(&self, stream: SourceId, from: u32) -> &[u32] {
        let ordinals = self.postings.get(&stream).map_or(&[][..], Vec::as_slice);
        ordinals
            .get(ordinals.partition_point(|&ordinal| ordinal < from)..)
            .unwrap_or(&[])
    }

    /// Each stream with the number of its records here.
    pub(crate) fn streams(&self) -> Vec<(SourceId, u64)> {
        let mut streams: Vec<_> = self
            .postings
            .iter()
            .map(|(&id, list)| (id, from_usize(list.len())))
            .collect();
        streams.sort_unstable();
        streams
    }

    /// Records of `stream` in earlier segments.
    pub(crate) fn total_before(&self, stream: SourceId) -> u64 {
        let at = self.totals.binary_search_by_key(&stream, |&(id, _)| id);
        at.ok()
            .and_then(|at| self.totals.get(at))
            .map_or(0, |&(_, count)| count)
    }

    /// [`SegmentIndex::totals`] with this segment's own records added.
    pub(crate) fn totals_after(&self) -> HashMap<SourceId, u64> {
        let mut totals: HashMap<_, _> = self.totals.iter().copied().collect();
        for (stream, count) in self.streams() {
            *totals.entry(stream).or_default() += count;
        }
        totals
    }

    /// The first record received at or after `time`.
    pub(crate) fn first_received_since(&self, time: UnixMillis) -> Option<u32> {
        let at = self
            .received
            .iter()
            .position(|&received| received >= time.0)?;
        u32::try_from(at).ok()
    }

    /// Calls `f` with stream, message hash and time of each record received since `time`, in
    /// order. Needs the hashes.
    pub(crate) fn messages_since(
        &self,
        time: UnixMillis,
        f: &mut dyn FnMut(SourceId, u64, UnixMillis),
    ) {
        let mut streams = vec![None; self.positions.len()];
        for (&stream, ordinals) in &self.postings {
            for &ordinal in ordinals {
                if let Some(slot) = streams.get_mut(to_usize(ordinal)) {
                    *slot = Some(stream);
                }
            }
        }
        for ((stream, &hash), &received) in streams.iter().zip(&self.hashes).zip(&self.received) {
            if let Some(stream) = stream
                && received >= time.0
            {
                f(*stream, hash, UnixMillis(received));
            }
        }
    }

    /// Bytes of memory, roughly.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let columns = self.positions.len() * 16 + self.hashes.len() * 8;
        let postings: usize = self
            .postings
            .values()
            .map(|list| 64 + list.capacity() * 4)
            .sum();
        from_usize(columns + postings + self.totals.len() * 16 + 128)
    }

    /// Columns, postings, hashes and totals, as `docs/internals/log-format.md` draws them.
    pub(crate) fn encode_body(&self, out: &mut Vec<u8>) {
        let (mut position_last, mut received_last) = (0, 0);
        for ((&position, &length), &received) in
            self.positions.iter().zip(&self.lengths).zip(&self.received)
        {
            varint::put(u64::from(position.saturating_sub(position_last)), out);
            varint::put(u64::from(length), out);
            varint::put_signed(received.wrapping_sub(received_last).cast_signed(), out);
            position_last = position.max(position_last);
            received_last = received;
        }
        for (stream, _) in self.streams() {
            let mut next = 0;
            for &ordinal in self.postings_from(stream, 0) {
                varint::put(u64::from(ordinal - next), out);
                next = ordinal + 1;
            }
        }
        for hash in &self.hashes {
            out.extend_from_slice(&hash.to_le_bytes());
        }
        encode_counts(&self.totals, out);
    }

    /// The reverse of [`SegmentIndex::encode_body`], for `records` records of `streams`; takes
    /// the hashes only on request. `None` where the bytes are no such body.
    pub(crate) fn decode_body(
        mut self,
        bytes: &[u8],
        records: u32,
        streams: &[(SourceId, u64)],
        with_hashes: bool,
    ) -> Option<Self> {
        let mut reader = varint::Reader(bytes);
        let count = to_usize(records);
        // A record takes at least three bytes: what a damaged count may allocate is bounded.
        if count > bytes.len() / 3 {
            return None;
        }
        self.positions.reserve_exact(count);
        self.lengths.reserve_exact(count);
        self.received.reserve_exact(count);
        let (mut position_last, mut received_last) = (0_u32, 0_u64);
        for _ in 0..records {
            let step = reader.u32()?;
            let position = if step == 0 {
                0
            } else {
                position_last.checked_add(step)?
            };
            self.positions.push(position);
            self.lengths.push(reader.u32()?);
            received_last = received_last.wrapping_add(reader.signed()?.cast_unsigned());
            self.received.push(received_last);
            position_last = position.max(position_last);
        }
        for &(stream, postings) in streams {
            let postings = usize::try_from(postings).ok().filter(|&len| len <= count)?;
            let mut ordinals = Vec::with_capacity(postings);
            let mut next = 0_u32;
            for _ in 0..postings {
                let ordinal = next.checked_add(reader.u32()?).filter(|&at| at < records)?;
                ordinals.push(ordinal);
                next = ordinal + 1;
            }
            self.postings.insert(stream, ordinals);
        }
        let hashes = reader.take(count.checked_mul(8)?)?;
        if with_hashes {
            let (hashes, _) = hashes.as_chunks::<8>();
            self.hashes = hashes
                .iter()
                .map(|hash| u64::from_le_bytes(*hash))
                .collect();
        }
        self.totals = decode_counts(&mut reader)?.into();
        Some(self)
    }
}

/// Streams with a count each, ascending: their number, then differences and counts.
pub(crate) fn encode_counts(counts: &[(SourceId, u64)], out: &mut Vec<u8>) {
    varint::put(from_usize(counts.len()), out);
    let mut last = 0;
    for &(stream, count) in counts {
        varint::put(u64::from(stream.0 - last), out);
        varint::put(count, out);
        last = stream.0;
    }
}

/// The reverse of [`encode_counts`].
pub(crate) fn decode_counts(reader: &mut varint::Reader<'_>) -> Option<Vec<(SourceId, u64)>> {
    let len = usize::try_from(reader.u64()?)
        .ok()
        .filter(|&len| len <= reader.0.len() / 2)?;
    let mut counts = Vec::with_capacity(len);
    let mut last = 0_u32;
    for _ in 0..len {
        last = last.checked_add(reader.u32()?)?;
        counts.push((SourceId(last), reader.u64()?));
    }
    Some(counts)
}

/// [`Totals`] of a running count.
pub(crate) fn sorted_totals(counts: &HashMap<SourceId, u64>) -> Totals {
    let mut totals: Vec<_> = counts
        .iter()
        .map(|(&stream, &count)| (stream, count))
        .collect();
    totals.sort_unstable();
    totals.into()
}

fn to_usize(value: u32) -> usize {
    usize::try_from(value).expect("fairlane runs on 64-bit machines")
}

fn from_usize(value: usize) -> u64 {
    u64::try_from(value).expect("fairlane runs on 64-bit machines")
}

#[cfg(test)]
mod tests;
