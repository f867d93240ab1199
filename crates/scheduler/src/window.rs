//! A lane's window: the jobs at and above its cursor, as offsets and never as bodies.
//!
//! ```text
//!            cursor                            scanned_to        end
//!              v                                   v              v
//!   settled... | P  s  I  s  s  I  I  f  f  f  f  f | not fetched |
//!                              fresh_seq ^
//!   P parked   I in flight   s settled out of order   f fresh: not tried yet
//! ```
//!
//! Entries are numbered (`seq`) in the order of their offsets, so that an attempt finds its jobs
//! again without a search. A settled head leaves at once, and the cursor moves with it.

use std::collections::VecDeque;

use model::{Offset, ParkedJob};

pub(crate) mod restored;

use restored::{Known, Restored};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Fresh,
    InFlight,
    /// Failed, or refused as part of a batch: waits for its next attempt.
    Parked,
    /// Not tried yet: an earlier one of its key must be settled first.
    Behind,
    Settled,
}

/// One job of the window. Its size is what a backlog costs: 24 bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) offset: Offset,
    /// When it first failed, on the lane's own clock (see `lane::Clock`); 0 while it has not.
    pub(crate) failing_since: u64,
    pub(crate) bytes: u32,
    /// Attempts that were charged to it.
    pub(crate) attempts: u16,
    /// Failures that may be this event's own fault.
    pub(crate) own_failures: u8,
    pub(crate) phase: Phase,
}

const _: () = assert!(size_of::<Entry>() == 24);

#[derive(Debug)]
pub(crate) struct Window {
    entries: VecDeque<Entry>,
    /// The number of the first entry.
    first_seq: u64,
    /// No entry below this number is fresh.
    fresh_seq: u64,
    fresh: u32,
    fresh_bytes: u64,
    unsettled: u32,
    unsettled_bytes: u64,
    /// The stream is fetched below this offset (exclusive).
    scanned_to: Offset,
    /// What a restart brought along and is not fetched yet.
    pub(crate) restored: Option<Box<Restored>>,
}

impl Window {
    /// The first entry's number will be `first_seq`.
    pub(crate) fn new(cursor: Offset, first_seq: u64, restored: Option<Box<Restored>>) -> Self {
        Self {
            entries: VecDeque::new(),
            first_seq,
            fresh_seq: first_seq,
            fresh: 0,
            fresh_bytes: 0,
            unsettled: 0,
            unsettled_bytes: 0,
            scanned_to: cursor,
            restored,
        }
    }

    /// One more than the number of the last entry that has left: how many have, if the first was 0.
    pub(crate) fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// The number that the next entry will have.
    pub(crate) fn next_seq(&self) -> u64 {
        self.first_seq + len_u64(self.entries.len())
    }

    /// Everything of the stream below this offset is settled.
    pub(crate) fn cursor(&self) -> Offset {
        self.entries
            .front()
            .map_or(self.scanned_to, |head| head.offset)
    }

    pub(crate) fn scanned_to(&self) -> Offset {
        self.scanned_to
    }

    /// Entries, settled ones among them.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(crate) fn fresh(&self) -> u32 {
        self.fresh
    }

    pub(crate) fn fresh_bytes(&self) -> u64 {
        self.fresh_bytes
    }

    pub(crate) fn unsettled(&self) -> u32 {
        self.unsettled
    }

    pub(crate) fn unsettled_bytes(&self) -> u64 {
        self.unsettled_bytes
    }

    pub(crate) fn oldest_unsettled(&self) -> Option<Offset> {
        // The head is unsettled whenever there is one.
        self.entries.front().map(|head| head.offset)
    }

    /// What a restart brought along for the record at this offset.
    pub(crate) fn recall(&mut self, offset: Offset) -> Known {
        let Some(restored) = self.restored.as_mut() else {
            return Known::Nothing;
        };
        let known = restored.recall(offset);
        if restored.is_empty() {
            self.restored = None;
        }
        known
    }

    /// Adds what must survive a crash: settled offsets above the cursor, and jobs that have
    /// failed. `clock` is the time on the lane's own clock.
    pub(crate) fn save(&self, clock: u64, settled: &mut Vec<Offset>, parked: &mut Vec<ParkedJob>) {
        for entry in &self.entries {
            if entry.phase == Phase::Settled {
                settled.push(entry.offset);
            } else if entry.attempts > 0 {
                parked.push(ParkedJob {
                    offset: entry.offset,
                    attempts: u32::from(entry.attempts),
                    failing_ms: clock.saturating_sub(entry.failing_since) / 1_000,
                });
            }
        }
        if let Some(restored) = &self.restored {
            // What is not fetched yet still stands as it was saved.
            settled.extend(&restored.settled);
            parked.extend(&restored.parked);
        }
    }

    /// Adds the next record of the stream. `entry.phase` is fresh, parked or settled.
    pub(crate) fn push(&mut self, entry: Entry) -> u64 {
        debug_assert!(
            entry.offset >= self.scanned_to,
            "records are pushed in order, once"
        );
        if self.entries.len() == self.entries.capacity() {
            // Doubling would leave up to half of a full window empty: grow by a quarter.
            self.entries.reserve_exact(self.entries.len() / 4 + 16);
        }
        let seq = self.next_seq();
        match entry.phase {
            Phase::Fresh => {
                if self.fresh == 0 {
                    // What lies between waits behind others, and is told when it may go.
                    self.fresh_seq = seq;
                }
                self.fresh += 1;
                self.fresh_bytes += u64::from(entry.bytes);
            }
            Phase::InFlight | Phase::Parked | Phase::Behind | Phase::Settled => {}
        }
        if entry.phase != Phase::Settled {
            self.unsettled += 1;
            self.unsettled_bytes += u64::from(entry.bytes);
        }
        self.entries.push_back(entry);
        self.scanned_to = entry.offset.next();
        seq
    }

    /// The stream has no further record below `offset` than those pushed.
    pub(crate) fn scanned(&mut self, offset: Offset) {
        self.scanned_to = self.scanned_to.max(offset);
        self.drop_settled_head();
    }

    pub(crate) fn get(&self, seq: u64) -> Option<&Entry> {
        self.entries.get(self.index(seq)?)
    }

    pub(crate) fn get_mut(&mut self, seq: u64) -> Option<&mut Entry> {
        let index = self.index(seq)?;
        self.entries.get_mut(index)
    }

    /// The number of the unsettled entry with this offset.
    pub(crate) fn find(&self, offset: Offset) -> Option<u64> {
        let index = self
            .entries
            .binary_search_by_key(&offset, |entry| entry.offset)
            .ok()?;
        let entry = self.entries.get(index)?;
        (entry.phase != Phase::Settled).then(|| self.first_seq + len_u64(index))
    }

    /// The first fresh entry, if there is one.
    pub(crate) fn next_fresh(&self) -> Option<(u64, Entry)> {
        if self.fresh == 0 {
            return None;
        }
        let from = self.index(self.fresh_seq)?;
        self.entries
            .range(from..)
            .zip(self.fresh_seq..)
            .find(|(entry, _)| entry.phase == Phase::Fresh)
            .map(|(entry, seq)| (seq, *entry))
    }

    /// Takes the entry into an attempt: a parked one, or the one that [`Self::next_fresh`] named.
    pub(crate) fn begin(&mut self, seq: u64) {
        let Some(entry) = self.get_mut(seq) else {
            return;
        };
        debug_assert!(matches!(entry.phase, Phase::Fresh | Phase::Parked));
        let (was, bytes) = (entry.phase, u64::from(entry.bytes));
        entry.phase = Phase::InFlight;
        if was == Phase::Fresh {
            // Fresh entries begin in order: there is none between the last that did and this one,
            // unless it is one that was let go later.
            self.leave_fresh(bytes);
            self.fresh_seq = self.fresh_seq.max(seq + 1);
        }
    }

    /// The entry before it of its key is settled. True where [`Self::next_fresh`] has passed it.
    pub(crate) fn let_go(&mut self, seq: u64) -> bool {
        let Some(entry) = self.get_mut(seq) else {
            return false;
        };
        debug_assert_eq!(entry.phase, Phase::Behind);
        entry.phase = Phase::Fresh;
        let bytes = u64::from(entry.bytes);
        self.fresh += 1;
        self.fresh_bytes += bytes;
        seq < self.fresh_seq
    }

    /// Puts an entry whose attempt failed aside.
    pub(crate) fn park(&mut self, seq: u64) {
        if let Some(entry) = self.get_mut(seq) {
            debug_assert_eq!(entry.phase, Phase::InFlight);
            entry.phase = Phase::Parked;
        }
    }

    /// Ends the entry. The cursor moves where it was the head.
    pub(crate) fn settle(&mut self, seq: u64) {
        let Some(entry) = self.get_mut(seq) else {
            return;
        };
        debug_assert_ne!(entry.phase, Phase::Settled, "a job ends once");
        let (was, bytes) = (entry.phase, u64::from(entry.bytes));
        entry.phase = Phase::Settled;
        if was == Phase::Fresh {
            self.leave_fresh(bytes);
        }
        self.unsettled -= 1;
        self.unsettled_bytes -= bytes;
        if seq == self.first_seq {
            self.drop_settled_head();
        }
    }

    /// Gives the memory back of a window that has nothing in it.
    pub(crate) fn release_memory(&mut self) {
        if self.entries.is_empty() {
            self.entries = VecDeque::new();
        }
    }

    fn leave_fresh(&mut self, bytes: u64) {
        self.fresh -= 1;
        self.fresh_bytes -= bytes;
    }

    fn drop_settled_head(&mut self) {
        while self
            .entries
            .front()
            .is_some_and(|head| head.phase == Phase::Settled)
        {
            self.entries.pop_front();
            self.first_seq += 1;
        }
        self.fresh_seq = self.fresh_seq.max(self.first_seq);
    }

    fn index(&self, seq: u64) -> Option<usize> {
        usize::try_from(seq.checked_sub(self.first_seq)?).ok()
    }
}

fn len_u64(len: usize) -> u64 {
    u64::try_from(len).expect("usize has at most 64 bits")
}

#[cfg(test)]
mod tests;
