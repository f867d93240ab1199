//! All lanes: by slot, by id, and by the stream that they follow.

use model::LaneId;

use crate::hash::Map;
use crate::input::StreamKey;
use crate::lane::Lane;

#[derive(Debug, Default)]
pub(crate) struct Lanes {
    /// Boxed, so that an empty slot costs a pointer.
    slots: Vec<Option<Box<Lane>>>,
    free: Vec<u32>,
    by_id: Map<LaneId, u32>,
    by_stream: Map<StreamKey, Vec<u32>>,
    serial: u64,
}

impl Lanes {
    pub(crate) fn len(&self) -> usize {
        self.by_id.len()
    }

    pub(crate) fn slot_of(&self, id: LaneId) -> Option<u32> {
        self.by_id.get(&id).copied()
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&Lane> {
        self.slots.get(index(slot))?.as_deref()
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Lane> {
        self.slots.get_mut(index(slot))?.as_deref_mut()
    }

    pub(crate) fn follows(&self, stream: StreamKey, index: usize) -> Option<u32> {
        self.by_stream.get(&stream)?.get(index).copied()
    }

    /// A slot for the next lane, and its serial number.
    pub(crate) fn reserve(&mut self) -> (u32, u64) {
        self.serial += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            u32::try_from(self.slots.len() - 1).expect("lane ids are 32 bits, so are slots")
        });
        (slot, self.serial)
    }

    pub(crate) fn insert(&mut self, slot: u32, lane: Lane) {
        self.by_id.insert(lane.id, slot);
        self.by_stream.entry(lane.stream).or_default().push(slot);
        if let Some(place) = self.slots.get_mut(index(slot)) {
            *place = Some(Box::new(lane));
        }
    }

    pub(crate) fn remove(&mut self, id: LaneId) -> Option<u32> {
        let slot = self.by_id.remove(&id)?;
        let lane = self.slots.get_mut(index(slot))?.take()?;
        if let Some(followers) = self.by_stream.get_mut(&lane.stream) {
            followers.retain(|follower| *follower != slot);
            if followers.is_empty() {
                self.by_stream.remove(&lane.stream);
            }
        }
        self.free.push(slot);
        Some(slot)
    }
}

fn index(slot: u32) -> usize {
    usize::try_from(slot).expect("usize has at least 32 bits")
}
