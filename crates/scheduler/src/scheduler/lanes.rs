//! All lanes: by slot, by id, and by the stream that they follow.

use model::{LaneId, LaneProgress, MonoMicros};

use crate::hash::Map;
use crate::input::StreamKey;
use crate::lane::Lane;
use crate::lane::idle::Idle;
use crate::rng::Rng;

const NONE: u32 = u32::MAX;

#[derive(Debug, Default)]
pub(crate) struct Lanes {
    slots: Vec<Slot>,
    free: Vec<u32>,
    by_id: Map<LaneId, u32>,
    /// The stream's follower that came last; the others are linked behind it.
    by_stream: Map<StreamKey, u32>,
    serial: u64,
}

#[derive(Debug)]
struct Slot {
    seat: Seat,
    /// The next follower of the same stream.
    next_follower: u32,
}

/// Boxed, so that a slot costs little whatever sits in it.
#[derive(Debug)]
pub(crate) enum Seat {
    Empty,
    Idle(Box<Idle>),
    Busy(Box<Lane>),
}

impl Lanes {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn slot_of(&self, id: LaneId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn seat(&self, slot: u32) -> &Seat {
        match self.slots.get(index(slot)) {
            Some(slot) => &slot.seat,
            None => &Seat::Empty,
        }
    }

    pub(crate) fn seat_mut(&mut self, slot: u32) -> Option<&mut Seat> {
        Some(&mut self.slots.get_mut(index(slot))?.seat)
    }

    /// The lane, if it is busy.
    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Lane> {
        match self.seat_mut(slot)? {
            Seat::Busy(lane) => Some(lane),
            Seat::Idle(_) | Seat::Empty => None,
        }
    }

    /// The lane; an idle one becomes a busy one.
    pub(crate) fn wake(&mut self, slot: u32, now: MonoMicros, rng: &mut Rng) -> Option<&mut Lane> {
        let seat = self.seat_mut(slot)?;
        if let Seat::Idle(idle) = seat {
            *seat = Seat::Busy(Box::new(idle.wake(now, rng)));
        }
        self.get_mut(slot)
    }

    /// Puts another seat in the place of a lane's.
    pub(crate) fn replace(&mut self, slot: u32, seat: Seat) {
        if let Some(place) = self.seat_mut(slot) {
            *place = seat;
        }
    }

    /// The stream's first follower; [`Self::follower_after`] names the others.
    pub(crate) fn first_follower(&self, stream: StreamKey) -> Option<u32> {
        self.by_stream.get(&stream).copied()
    }

    pub(crate) fn follower_after(&self, slot: u32) -> Option<u32> {
        let next = self.slots.get(index(slot))?.next_follower;
        (next != NONE).then_some(next)
    }

    /// A slot for the next lane, and its serial number.
    pub(crate) fn reserve(&mut self) -> (u32, u64) {
        self.serial += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot {
                seat: Seat::Empty,
                next_follower: NONE,
            });
            u32::try_from(self.slots.len() - 1).expect("lane ids are 32 bits, so are slots")
        });
        (slot, self.serial)
    }

    pub(crate) fn insert(&mut self, slot: u32, seat: Seat) {
        let Some((id, stream)) = seat.names() else {
            return;
        };
        self.by_id.insert(id, slot);
        let next = self.by_stream.insert(stream, slot);
        if let Some(place) = self.slots.get_mut(index(slot)) {
            place.seat = seat;
            place.next_follower = next.unwrap_or(NONE);
        }
    }

    pub(crate) fn remove(&mut self, id: LaneId) -> Option<u32> {
        let slot = self.by_id.remove(&id)?;
        let seat = std::mem::replace(self.seat_mut(slot)?, Seat::Empty);
        let (_, stream) = seat.names()?;
        self.unfollow(stream, slot);
        self.free.push(slot);
        Some(slot)
    }

    fn unfollow(&mut self, stream: StreamKey, slot: u32) {
        let next = self.follower_after(slot);
        let mut before = self.first_follower(stream);
        if before == Some(slot) {
            match next {
                Some(next) => self.by_stream.insert(stream, next),
                None => self.by_stream.remove(&stream),
            };
            return;
        }
        while let Some(at) = before {
            before = self.follower_after(at);
            if before == Some(slot) {
                if let Some(place) = self.slots.get_mut(index(at)) {
                    place.next_follower = next.unwrap_or(NONE);
                }
                return;
            }
        }
    }
}

impl Seat {
    fn names(&self) -> Option<(LaneId, StreamKey)> {
        match self {
            Self::Empty => None,
            Self::Idle(idle) => Some((idle.id, idle.stream)),
            Self::Busy(lane) => Some((lane.id, lane.stream)),
        }
    }

    /// Tells a lane that its stream has grown; true where that is new to it.
    pub(crate) fn grew(&mut self, to: model::Offset) -> bool {
        let end = match self {
            Self::Empty => return false,
            Self::Idle(idle) => &mut idle.end,
            Self::Busy(lane) => &mut lane.end,
        };
        let grew = *end < to;
        *end = to.max(*end);
        grew
    }

    /// Marks that its progress is to be saved; true where it was not marked yet.
    pub(crate) fn mark_dirty(&mut self) -> bool {
        self.dirty()
            .is_some_and(|dirty| !std::mem::replace(dirty, true))
    }

    /// Its progress, if that is to be saved: now it will be.
    pub(crate) fn take_progress(&mut self, now: MonoMicros) -> Option<LaneProgress> {
        let dirty = std::mem::take(self.dirty()?);
        dirty.then(|| match self {
            Self::Empty => None,
            Self::Idle(idle) => Some(idle.progress()),
            Self::Busy(lane) => Some(lane.progress(now)),
        })?
    }

    fn dirty(&mut self) -> Option<&mut bool> {
        match self {
            Self::Empty => None,
            Self::Idle(idle) => Some(&mut idle.dirty),
            Self::Busy(lane) => Some(&mut lane.dirty),
        }
    }
}

fn index(slot: u32) -> usize {
    usize::try_from(slot).expect("usize has at least 32 bits")
}
