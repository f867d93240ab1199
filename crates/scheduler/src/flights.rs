//! Attempts under way: a slab whose ids are never used twice.

use model::{AttemptId, MonoMicros};

/// What must be remembered of an attempt until it finishes.
#[derive(Debug)]
pub(crate) struct Flight {
    pub(crate) lane_slot: u32,
    /// Which lane had that slot: it may have been removed, and another put there.
    pub(crate) lane_serial: u64,
    pub(crate) group_slot: u32,
    pub(crate) queue_slot: u32,
    pub(crate) jobs: Seqs,
    pub(crate) bytes: u64,
    pub(crate) began: MonoMicros,
    pub(crate) probe: bool,
}

/// Numbers of window entries: almost always one.
#[derive(Clone, Debug)]
pub(crate) enum Seqs {
    One(u64),
    Many(Vec<u64>),
}

impl Seqs {
    pub(crate) fn as_slice(&self) -> &[u64] {
        match self {
            Self::One(seq) => std::slice::from_ref(seq),
            Self::Many(seqs) => seqs,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Flights {
    slots: Vec<Option<(AttemptId, Flight)>>,
    free: Vec<u32>,
    serial: u64,
    count: u32,
    bytes: u64,
}

/// Low bits of an id that are its slot; [`crate::Options::in_flight_max`] keeps within them.
const SLOT_BITS: u32 = 17;

impl Flights {
    pub(crate) fn count(&self) -> u32 {
        self.count
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    pub(crate) fn begin(&mut self, flight: Flight) -> AttemptId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("slots are bounded by in_flight_max")
        });
        debug_assert!(slot >> SLOT_BITS == 0);
        self.serial += 1;
        let id = AttemptId((self.serial << SLOT_BITS) | u64::from(slot));
        self.count += 1;
        self.bytes += flight.bytes;
        if let Some(place) = self.slots.get_mut(index(slot)) {
            *place = Some((id, flight));
        }
        id
    }

    /// Takes the attempt out; `None` where there is none of this id (any more).
    pub(crate) fn finish(&mut self, id: AttemptId) -> Option<Flight> {
        let slot = u32::try_from(id.0 & ((1 << SLOT_BITS) - 1)).ok()?;
        let place = self.slots.get_mut(index(slot))?;
        if place.as_ref().is_none_or(|(known, _)| *known != id) {
            return None;
        }
        let (_, flight) = place.take()?;
        self.free.push(slot);
        self.count -= 1;
        self.bytes -= flight.bytes;
        Some(flight)
    }
}

fn index(slot: u32) -> usize {
    usize::try_from(slot).expect("usize has at least 32 bits")
}

#[cfg(test)]
mod tests;
