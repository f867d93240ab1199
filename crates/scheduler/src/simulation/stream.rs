//! A modelled stream of the log. Nothing is kept of its records: where each stands, how long it is
//! and when it came follow from its number, so that a hundred million of them cost no memory.

use std::num::NonZeroU64;

use model::Offset;

use super::StreamModel;
use crate::input::{Fetch, Key};
use crate::rng::mix;

#[derive(Debug)]
pub(crate) struct Stream {
    model: StreamModel,
    /// What tells its records from those of other streams.
    salt: u64,
    pieces: Vec<Piece>,
    /// The piece whose records come now.
    piece: usize,
    /// Records that are there.
    len: u64,
}

/// Records that come at an even pace, or all at once.
#[derive(Clone, Copy, Debug)]
struct Piece {
    /// The number of its first record.
    first: u64,
    records: u64,
    from_us: u64,
    /// Between two records; 0: all at once.
    gap_ns: u64,
}

/// How finely the moment of an arrival is drawn within its gap.
const JITTER: u64 = 1_024;

impl Piece {
    /// When its record number `place` comes: at random within the gap that is the record's own.
    fn arrival_us(&self, place: u64, salt: u64) -> u64 {
        let jitter = mix(salt ^ (self.first + place)) % JITTER;
        let gap_us = |parts: u64| parts * self.gap_ns / (JITTER * 1_000);
        self.from_us + gap_us(place * JITTER + jitter)
    }

    fn count_at(&self, now_us: u64, salt: u64) -> u64 {
        if now_us < self.from_us {
            return 0;
        }
        let passed_ns = (now_us - self.from_us) * 1_000;
        let whole_gaps = passed_ns.checked_div(self.gap_ns);
        let mut count = whole_gaps.map_or(self.records, |gaps| gaps.min(self.records));
        while count < self.records && self.arrival_us(count, salt) <= now_us {
            count += 1;
        }
        count
    }
}

impl Stream {
    /// `until_us`: no record comes at or after that time.
    pub(crate) fn new(model: StreamModel, salt: u64, until_us: u64) -> Self {
        let mut pieces = Vec::new();
        let (mut first, mut from_us) = (0, 0);
        let gap_ns = gap_ns(model.events_per_s);
        let mut bursts = model.bursts.clone();
        bursts.sort_by_key(|burst| burst.at_us);
        bursts.retain(|burst| burst.at_us < until_us);
        let ends = bursts.iter().map(|burst| burst.at_us).chain([until_us]);
        for (end_us, burst) in ends.zip(bursts.iter().map(Some).chain([None])) {
            let between_ns = end_us.saturating_sub(from_us) * 1_000;
            let even = gap_ns.map_or(0, |gap_ns| between_ns / gap_ns);
            let at_once = burst.map_or(0, |burst| burst.events);
            for (records, gap_ns, from_us) in
                [(even, gap_ns.unwrap_or(0), from_us), (at_once, 0, end_us)]
            {
                if records > 0 {
                    pieces.push(Piece {
                        first,
                        records,
                        from_us,
                        gap_ns,
                    });
                    first += records;
                }
            }
            from_us = end_us;
        }
        Self {
            model,
            salt,
            pieces,
            piece: 0,
            len: 0,
        }
    }

    /// Takes in the records that have come by now, and returns how many are new.
    pub(crate) fn grow(&mut self, now_us: u64) -> u64 {
        let before = self.len;
        while let Some(piece) = self.pieces.get(self.piece) {
            let count = piece.count_at(now_us, self.salt);
            self.len = piece.first + count;
            if count < piece.records {
                break;
            }
            self.piece += 1;
        }
        self.len - before
    }

    /// When the next record comes.
    pub(crate) fn next_us(&self) -> Option<u64> {
        let piece = self.pieces.get(self.piece)?;
        Some(piece.arrival_us(self.len - piece.first, self.salt))
    }

    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    pub(crate) fn salt(&self) -> u64 {
        self.salt
    }

    /// Exclusive.
    pub(crate) fn end(&self) -> Offset {
        let last = self.len.checked_sub(1);
        last.map_or(Offset::ZERO, |last| self.offset_of(last).next())
    }

    /// The first records in `[from, to)`, at most `max`, and how far the stream was scanned.
    pub(crate) fn fetch(&self, from: Offset, to: Offset, max: usize) -> (Vec<Fetch>, Offset) {
        let (first, end) = (self.index_of(from), self.index_of(to));
        let fetches: Vec<Fetch> = (first..end)
            .take(max)
            .map(|index| self.record(index))
            .collect();
        let scanned_to = match fetches.last() {
            Some(last) if fetches.len() == max => last.offset.next(),
            _ => self.end().min(to).max(from),
        };
        (fetches, scanned_to)
    }

    fn record(&self, index: u64) -> Fetch {
        let (low, high) = (self.model.event_bytes_min, self.model.event_bytes_max);
        let span = u64::from(high.saturating_sub(low)) + 1;
        let more = u32::try_from(self.drawn(index) % span).unwrap_or(0);
        Fetch {
            offset: self.offset_of(index),
            bytes: low + more,
            key: self.key(index),
        }
    }

    pub(crate) fn key(&self, index: u64) -> Option<Key> {
        let keys = u64::from(self.model.keys);
        let drawn = (self.drawn(index) >> 20).checked_rem(keys)?;
        NonZeroU64::new(drawn + 1).map(Key)
    }

    /// Where the record of this number stands: others may lie between two of a stream.
    fn offset_of(&self, index: u64) -> Offset {
        let apart = self.model.offsets_apart.max(1);
        Offset(index * apart + (self.drawn(index) >> 40) % apart)
    }

    /// How many records lie below the offset, which is also the number of the one that stands at it.
    pub(crate) fn index_of(&self, offset: Offset) -> u64 {
        let near = offset.0 / self.model.offsets_apart.max(1);
        if near >= self.len {
            return self.len;
        }
        near + u64::from(self.offset_of(near) < offset)
    }

    /// The number of the record at this offset; `None` where there is none.
    pub(crate) fn find(&self, offset: Offset) -> Option<u64> {
        let index = offset.0 / self.model.offsets_apart.max(1);
        (index < self.len && self.offset_of(index) == offset).then_some(index)
    }

    pub(crate) fn arrived_us(&self, index: u64) -> u64 {
        let place = self.pieces.partition_point(|piece| piece.first <= index);
        let piece = place
            .checked_sub(1)
            .and_then(|place| self.pieces.get(place));
        piece.map_or(0, |piece| piece.arrival_us(index - piece.first, self.salt))
    }

    fn drawn(&self, index: u64) -> u64 {
        mix(self.salt ^ mix(index))
    }
}

/// `None` where nothing ever comes.
fn gap_ns(events_per_s: f64) -> Option<u64> {
    let gap_s = (events_per_s > 0.0).then(|| 1.0 / events_per_s)?;
    let gap = std::time::Duration::try_from_secs_f64(gap_s).ok()?;
    u64::try_from(gap.as_nanos())
        .ok()
        .map(|gap_ns| gap_ns.max(1))
}

#[cfg(test)]
mod tests;
