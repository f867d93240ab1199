//! Queues that lanes share: only for comparison with designs that have one queue for many
//! connections.
//!
//! A lane is its own queue unless it is added as part of one. The lanes of a queue share its places
//! and its slots, and it is read as it comes: it cannot pass over the jobs of a lane that is
//! stopped. So jobs of one lane that wait fill it for all, which is what such queues do.

use std::collections::VecDeque;

use crate::hash::Map;

/// The queue of a lane that is its own.
pub(crate) const OWN: u32 = u32::MAX;

#[derive(Debug)]
pub(crate) struct Queues {
    jobs_max: u32,
    in_flight_max: u32,
    slot_of: Map<u32, u32>,
    list: Vec<Queue>,
    /// Queues that may have something for lanes that wait.
    changed: Vec<u32>,
}

#[derive(Debug, Default)]
struct Queue {
    /// Unsettled jobs in the windows of its lanes, and those being fetched.
    jobs: u32,
    in_flight: u32,
    for_room: VecDeque<u32>,
    for_slot: VecDeque<u32>,
}

/// What a lane waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Need {
    Room,
    Slot,
}

impl Queues {
    pub(crate) fn new(jobs_max: u32, in_flight_max: u32) -> Self {
        Self {
            jobs_max,
            in_flight_max,
            slot_of: Map::default(),
            list: Vec::new(),
            changed: Vec::new(),
        }
    }

    /// The slot of the queue of this number.
    pub(crate) fn slot(&mut self, number: Option<u32>) -> u32 {
        let Some(number) = number else { return OWN };
        let next = u32::try_from(self.list.len()).expect("fewer queues than lanes");
        let slot = *self.slot_of.entry(number).or_insert(next);
        if slot == next {
            self.list.push(Queue::default());
        }
        slot
    }

    /// Jobs that may still be fetched into it.
    pub(crate) fn room(&self, queue: u32) -> u32 {
        let queue = self.list.get(index(queue));
        queue.map_or(u32::MAX, |queue| self.jobs_max.saturating_sub(queue.jobs))
    }

    pub(crate) fn has_slot(&self, queue: u32) -> bool {
        let queue = self.list.get(index(queue));
        queue.is_none_or(|queue| queue.in_flight < self.in_flight_max)
    }

    /// A lane that held `was` of its places holds `is` now.
    pub(crate) fn hold(&mut self, slot: u32, was: u32, is: u32) {
        let Some(queue) = self.list.get_mut(index(slot)) else {
            return;
        };
        queue.jobs = queue.jobs - was + is;
        if is < was && !queue.for_room.is_empty() {
            self.changed.push(slot);
        }
    }

    pub(crate) fn started(&mut self, slot: u32) {
        if let Some(queue) = self.list.get_mut(index(slot)) {
            queue.in_flight += 1;
        }
    }

    pub(crate) fn finished(&mut self, slot: u32) {
        let Some(queue) = self.list.get_mut(index(slot)) else {
            return;
        };
        queue.in_flight -= 1;
        if !queue.for_slot.is_empty() {
            self.changed.push(slot);
        }
    }

    /// The lane comes up when there is what it needs. To be called once until then.
    pub(crate) fn wait(&mut self, queue: u32, need: Need, lane: u32) {
        if let Some(queue) = self.list.get_mut(index(queue)) {
            match need {
                Need::Room => queue.for_room.push_back(lane),
                Need::Slot => queue.for_slot.push_back(lane),
            }
        }
    }

    /// A lane for which there is what it waits for; it may be gone by now.
    pub(crate) fn next_waiting(&mut self) -> Option<(u32, Need)> {
        while let Some(slot) = self.changed.last().copied() {
            let (room, free) = (self.room(slot) > 0, self.has_slot(slot));
            if let Some(queue) = self.list.get_mut(index(slot)) {
                let lane = if room {
                    queue.for_room.pop_front()
                } else {
                    None
                };
                if let Some(lane) = lane {
                    return Some((lane, Need::Room));
                }
                let lane = if free {
                    queue.for_slot.pop_front()
                } else {
                    None
                };
                if let Some(lane) = lane {
                    return Some((lane, Need::Slot));
                }
            }
            self.changed.pop();
        }
        None
    }
}

fn index(slot: u32) -> usize {
    usize::try_from(slot).expect("usize has at least 32 bits")
}
