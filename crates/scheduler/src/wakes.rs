//! When which lane must be looked at again: a heap with lazy deletion.
//!
//! A lane has one wake in force, kept beside the heap; an entry that is not its lane's wake is
//! stale and is dropped when it comes up. A wake in the wrong lane costs a look, nothing else.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use model::MonoMicros;

const NEVER: MonoMicros = MonoMicros(u64::MAX);

#[derive(Debug, Default)]
pub(crate) struct Wakes {
    heap: BinaryHeap<Reverse<(MonoMicros, u32)>>,
    /// By lane slot.
    in_force: Vec<MonoMicros>,
}

impl Wakes {
    /// Makes room for that lane.
    pub(crate) fn grow(&mut self, slot: u32) {
        if self.in_force.len() <= index(slot) {
            self.in_force.resize(index(slot) + 1, NEVER);
        }
    }

    /// The lane must be looked at by `at`. An earlier wake stays: the look it causes will ask
    /// again.
    pub(crate) fn wake_by(&mut self, slot: u32, at: MonoMicros) {
        let Some(in_force) = self.in_force.get_mut(index(slot)) else {
            return;
        };
        if *in_force <= at {
            return;
        }
        *in_force = at;
        self.heap.push(Reverse((at, slot)));
        if self.heap.len() > 4 * self.in_force.len() + 1_024 {
            self.drop_stale();
        }
    }

    pub(crate) fn cancel(&mut self, slot: u32) {
        if let Some(in_force) = self.in_force.get_mut(index(slot)) {
            *in_force = NEVER;
        }
    }

    /// The next lane whose wake is due.
    pub(crate) fn pop_due(&mut self, now: MonoMicros) -> Option<u32> {
        while let Some(Reverse((at, slot))) = self.heap.peek().copied() {
            let in_force = self.in_force.get(index(slot)).copied() == Some(at);
            if in_force && at > now {
                return None;
            }
            self.heap.pop();
            if in_force {
                self.cancel(slot);
                return Some(slot);
            }
        }
        None
    }

    /// The earliest entry; it may be stale, which costs one needless [`Self::pop_due`].
    pub(crate) fn next(&self) -> Option<MonoMicros> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    fn drop_stale(&mut self) {
        let in_force = &self.in_force;
        self.heap
            .retain(|Reverse((at, slot))| in_force.get(index(*slot)) == Some(at));
    }
}

fn index(slot: u32) -> usize {
    usize::try_from(slot).expect("usize has at least 32 bits")
}

#[cfg(test)]
mod tests;
