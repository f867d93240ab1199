//! A lane's place in a queue that it shares with others: see [`crate::queues`].

use model::MonoMicros;

use super::Lane;
use super::fetch::Want;
use crate::queues::{Need, OWN, Queues};
use crate::windows::Part;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) queue: u32,
    /// Places of the queue that it holds: for unsettled jobs, and for those being fetched.
    held: u32,
    fetching: u32,
    waits_for_room: bool,
    waits_for_slot: bool,
}

impl Place {
    pub(crate) fn new(queue: u32) -> Self {
        Self {
            queue,
            held: 0,
            fetching: 0,
            waits_for_room: false,
            waits_for_slot: false,
        }
    }

    /// The lane is its own queue: nothing of this concerns it.
    pub(crate) fn is_own(&self) -> bool {
        self.queue == OWN
    }

    pub(crate) fn stop_waiting(&mut self, need: Need) {
        match need {
            Need::Room => self.waits_for_room = false,
            Need::Slot => self.waits_for_slot = false,
        }
    }

    pub(crate) fn give_up(&mut self, queues: &mut Queues) {
        queues.hold(self.queue, self.held, 0);
        self.held = 0;
    }

    fn hold(&mut self, places: u32, queues: &mut Queues) {
        queues.hold(self.queue, self.held, places);
        self.held = places;
    }
}

impl Lane {
    /// What to fetch now into the queue: all that comes next and has room, however the lane fares.
    pub(crate) fn wants_in_queue(
        &mut self,
        now: MonoMicros,
        slot: u32,
        queues: &mut Queues,
    ) -> Option<Want> {
        if self.window.fetching.is_none() {
            self.place.fetching = 0;
        }
        let held = self.window.unsettled() + self.place.fetching;
        self.place.hold(held, queues);
        if self.window.fetching.is_some() || now < self.fetch_after {
            return None;
        }
        let want = self.want(Part::Main, u32::MAX)?;
        let max = want.max.min(queues.room(self.place.queue));
        if max == 0 {
            if !std::mem::replace(&mut self.place.waits_for_room, true) {
                queues.wait(self.place.queue, Need::Room, slot);
            }
            return None;
        }
        self.place.fetching = max;
        self.place.hold(held + max, queues);
        Some(Want { max, ..want })
    }

    /// The queue's slots are taken: the lane comes up when one is free.
    pub(crate) fn must_wait_for_slot(&mut self, slot: u32, queues: &mut Queues) -> bool {
        if queues.has_slot(self.place.queue) {
            return false;
        }
        if !std::mem::replace(&mut self.place.waits_for_slot, true) {
            queues.wait(self.place.queue, Need::Slot, slot);
        }
        true
    }
}
