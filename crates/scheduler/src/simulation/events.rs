//! What will happen in a simulated world, by time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use model::{AttemptId, LaneProgress, Offset};

use crate::input::Results;

pub(crate) enum Event {
    Arrival {
        stream: usize,
    },
    Fetched {
        life: u64,
        lane: usize,
        from: Offset,
        to: Offset,
        max: usize,
    },
    Finished {
        life: u64,
        attempt: AttemptId,
        results: Results,
    },
    Flush,
    Committed {
        life: u64,
        progress: Vec<LaneProgress>,
    },
    Crash,
    Restart,
    /// A person resumes what is held, after the scenario's time.
    Mend,
}

/// The events to come, by time, then in the order of their making.
#[derive(Default)]
pub(crate) struct Events {
    heap: BinaryHeap<Due>,
    made: u64,
}

struct Due {
    at_us: u64,
    number: u64,
    event: Event,
}

impl Events {
    pub(crate) fn add(&mut self, at_us: u64, event: Event) {
        self.made += 1;
        self.heap.push(Due {
            at_us,
            number: self.made,
            event,
        });
    }

    pub(crate) fn next_us(&self) -> Option<u64> {
        self.heap.peek().map(|due| due.at_us)
    }

    pub(crate) fn pop(&mut self) -> Option<(u64, Event)> {
        self.heap.pop().map(|due| (due.at_us, due.event))
    }
}

impl Ord for Due {
    /// The heap's greatest is what comes first.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at_us, other.number).cmp(&(self.at_us, self.number))
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.number == other.number
    }
}

impl Eq for Due {}
