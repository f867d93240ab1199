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

use model::Offset;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Fresh,
    InFlight,
    /// Failed, or refused as part of a batch: waits for its next attempt.
    Parked,
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
}

impl Window {
    pub(crate) fn new(cursor: Offset) -> Self {
        Self {
            entries: VecDeque::new(),
            first_seq: 0,
            fresh_seq: 0,
            fresh: 0,
            fresh_bytes: 0,
            unsettled: 0,
            unsettled_bytes: 0,
            scanned_to: cursor,
        }
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

    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
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
        let seq = self.first_seq + len_u64(self.entries.len());
        match entry.phase {
            Phase::Fresh => {
                if self.fresh == 0 {
                    self.fresh_seq = seq;
                }
                self.fresh += 1;
                self.fresh_bytes += u64::from(entry.bytes);
            }
            Phase::InFlight | Phase::Parked | Phase::Settled => {}
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
            // Fresh entries begin in order, so there is none below this one.
            self.leave_fresh(bytes);
            self.fresh_seq = seq + 1;
        }
    }

    /// Puts an entry whose attempt failed aside.
    pub(crate) fn park(&mut self, seq: u64) {
        if let Some(entry) = self.get_mut(seq) {
            debug_assert_eq!(entry.phase, Phase::InFlight);
            entry.phase = Phase::Parked;
        }
    }

    /// Ends the entry; true where the cursor moved.
    pub(crate) fn settle(&mut self, seq: u64) -> bool {
        let Some(entry) = self.get_mut(seq) else {
            return false;
        };
        debug_assert_ne!(entry.phase, Phase::Settled, "a job ends once");
        let (was, bytes) = (entry.phase, u64::from(entry.bytes));
        entry.phase = Phase::Settled;
        if was == Phase::Fresh {
            self.leave_fresh(bytes);
        }
        self.unsettled -= 1;
        self.unsettled_bytes -= bytes;
        let is_head = seq == self.first_seq;
        if is_head {
            self.drop_settled_head();
        }
        is_head
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
