//! Strict order of the events of one key: one job of a key at a time is tried, the others of that
//! key wait behind it, whatever becomes of it. Other keys go on.
//!
//! ```text
//!   window:  a1  b1  a2  c1  a3  b2          a1 parked for a retry:  a2, a3 wait behind it
//!            |_______|________|              b1 settles:             b2 may go
//! ```
//!
//! It costs 16 bytes for each entry of the window, and 20 to 40 for each key in it.

use std::collections::VecDeque;

use crate::hash::Map;
use crate::input::Key;

#[derive(Clone, Copy, Debug)]
struct Link {
    key: Option<Key>,
    /// The number of the next entry of the key; 0 for none: nothing comes before the first.
    next: u64,
}

#[derive(Debug)]
pub(crate) struct Order {
    /// One for each entry from `first_seq` on.
    links: VecDeque<Link>,
    first_seq: u64,
    /// Each key's last unsettled entry.
    last: Map<u64, u64>,
    /// Entries that may go, and that the window has already passed over.
    ready: VecDeque<u64>,
}

impl Order {
    /// Entries before `first_seq` have no key.
    pub(crate) fn new(first_seq: u64) -> Self {
        Self {
            links: VecDeque::new(),
            first_seq,
            last: Map::default(),
            ready: VecDeque::new(),
        }
    }

    /// The entry of this number joins the window unsettled. True where one of its key goes before.
    pub(crate) fn join(&mut self, seq: u64, key: Option<Key>) -> bool {
        let Some(key) = key else { return false };
        if self.links.is_empty() {
            self.first_seq = seq;
        }
        let gap = seq - self.first_seq;
        let links = usize::try_from(gap).expect("a window has fewer entries than usize");
        debug_assert!(links >= self.links.len(), "entries join in order");
        if self.links.capacity() <= links {
            self.links.reserve_exact(links / 4 + 16);
        }
        self.links.resize(links, Link { key: None, next: 0 });
        self.links.push_back(Link {
            key: Some(key),
            next: 0,
        });
        let Some(before) = self.last.insert(key.0.get(), seq) else {
            return false;
        };
        let link = self.link(before);
        debug_assert!(
            link.is_some(),
            "the last of a key is unsettled, so it is in the window"
        );
        if let Some(link) = link {
            link.next = seq;
        }
        true
    }

    /// The entry, the first of its key, is settled: the one that may go now.
    pub(crate) fn leave(&mut self, seq: u64) -> Option<u64> {
        let link = *self.link(seq)?;
        let key = link.key?;
        if link.next == 0 {
            self.last.remove(&key.0.get());
            return None;
        }
        Some(link.next)
    }

    /// The entry is settled while it waits behind another, which is rare: a damaged record.
    pub(crate) fn leave_from_behind(&mut self, seq: u64) {
        let Some(left) = self.link(seq).copied() else {
            return;
        };
        let before = self.links.iter_mut().zip(self.first_seq..);
        let Some((link, before)) = before.into_iter().find(|(link, _)| link.next == seq) else {
            return;
        };
        link.next = left.next;
        if let (0, Some(key)) = (left.next, left.key) {
            self.last.insert(key.0.get(), before);
        }
    }

    /// The window begins at this number now.
    pub(crate) fn forget_below(&mut self, first_seq: u64) {
        while self.first_seq < first_seq && self.links.pop_front().is_some() {
            self.first_seq += 1;
        }
    }

    /// The entry may go, though entries behind it have been taken.
    pub(crate) fn push_ready(&mut self, seq: u64) {
        self.ready.push_back(seq);
    }

    pub(crate) fn next_ready(&self) -> Option<u64> {
        self.ready.front().copied()
    }

    pub(crate) fn begin(&mut self, seq: u64) {
        if self.next_ready() == Some(seq) {
            self.ready.pop_front();
        }
    }

    /// The entry ended without an attempt.
    pub(crate) fn drop_ready(&mut self, seq: u64) {
        self.ready.retain(|ready| *ready != seq);
    }

    fn link(&mut self, seq: u64) -> Option<&mut Link> {
        let index = seq.checked_sub(self.first_seq)?;
        self.links.get_mut(usize::try_from(index).ok()?)
    }
}

#[cfg(test)]
mod tests;
