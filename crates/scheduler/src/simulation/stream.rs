//! A modelled stream of the log: the offsets of its records and when they came.

use std::num::NonZeroU64;

use model::Offset;

use super::StreamModel;
use crate::input::{Fetch, Key};
use crate::rng::Rng;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Record {
    pub(crate) fetch: Fetch,
    pub(crate) arrived_us: u64,
}

#[derive(Debug)]
pub(crate) struct Stream {
    model: StreamModel,
    records: Vec<Record>,
    end: Offset,
}

impl Stream {
    pub(crate) fn new(model: StreamModel) -> Self {
        Self {
            model,
            records: Vec::new(),
            end: Offset::ZERO,
        }
    }

    /// Exclusive.
    pub(crate) fn end(&self) -> Offset {
        self.end
    }

    pub(crate) fn len(&self) -> usize {
        self.records.len()
    }

    pub(crate) fn append(&mut self, offset: Offset, now_us: u64, rng: &mut Rng) {
        let (low, high) = (self.model.event_bytes_min, self.model.event_bytes_max);
        let bytes = u32::try_from(rng.between(low.into(), high.into())).unwrap_or(low);
        let key = NonZeroU64::new(rng.between(1, self.model.keys.max(1).into())).map(Key);
        let key = key.filter(|_| self.model.keys > 0);
        self.records.push(Record {
            fetch: Fetch { offset, bytes, key },
            arrived_us: now_us,
        });
        self.end = offset.next();
    }

    /// Time to the next arrival; `None` where none comes.
    pub(crate) fn gap_us(&self, rng: &mut Rng) -> Option<u64> {
        let mean_s = (self.model.events_per_s > 0.0).then(|| 1.0 / self.model.events_per_s)?;
        let mean_us = std::time::Duration::try_from_secs_f64(mean_s)
            .ok()?
            .as_micros();
        Some(rng.between(0, u64::try_from(mean_us).ok()?.saturating_mul(2)))
    }

    pub(crate) fn events_at_once(&self) -> u32 {
        self.model.events_at_once
    }

    /// At most `max` records from `from` on, and how far the stream was scanned.
    pub(crate) fn fetch(&self, from: Offset, max: usize) -> (Vec<Fetch>, Offset) {
        let first = self.index_of(from);
        let fetches: Vec<Fetch> = self
            .records
            .iter()
            .skip(first)
            .take(max)
            .map(|record| record.fetch)
            .collect();
        let scanned_to = match fetches.last() {
            Some(last) if fetches.len() == max => last.offset.next(),
            _ => self.end.max(from),
        };
        (fetches, scanned_to)
    }

    pub(crate) fn key(&self, index: usize) -> Option<Key> {
        self.records.get(index)?.fetch.key
    }

    /// How many records lie below the offset, which is also where it stands among them.
    pub(crate) fn index_of(&self, offset: Offset) -> usize {
        self.records
            .partition_point(|record| record.fetch.offset < offset)
    }

    /// Where the record of this offset stands; `None` where it is of another stream.
    pub(crate) fn find(&self, offset: Offset) -> Option<(usize, Record)> {
        let index = self.index_of(offset);
        let record = self
            .records
            .get(index)
            .filter(|record| record.fetch.offset == offset)?;
        Some((index, *record))
    }
}
