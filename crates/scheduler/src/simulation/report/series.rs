//! What happened when: slots of equal length from the beginning on.

use std::ops::Range;

use super::Delays;

/// One slot.
#[derive(Clone, Debug, Default)]
pub struct Slot {
    pub arrived: u64,
    /// Jobs tried.
    pub tries: u64,
    pub delivered: u64,
    /// Delivered, or ended otherwise.
    pub ended: u64,
    /// Of what arrived in this slot, whenever it was delivered.
    pub delays: Delays,
}

#[derive(Clone, Debug, Default)]
pub struct Series {
    pub slot_us: u64,
    pub slots: Vec<Slot>,
}

/// What comes after so many slots is not kept apart.
const SLOTS_MAX: usize = 4_096;

impl Series {
    pub(crate) fn new(slot_us: u64) -> Self {
        Self {
            slot_us: slot_us.max(1),
            slots: Vec::new(),
        }
    }

    /// The slot of that time.
    pub(crate) fn at(&mut self, us: u64) -> &mut Slot {
        let index = self.index(us).min(SLOTS_MAX - 1);
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, Slot::default);
        }
        self.slots
            .get_mut(index)
            .expect("it was made above where there was none")
    }

    /// The slots that begin within these times.
    #[must_use]
    pub fn within(&self, us: Range<u64>) -> &[Slot] {
        let first = self.index(us.start.saturating_add(self.slot_us - 1));
        let end = self
            .index(us.end.saturating_add(self.slot_us - 1))
            .min(self.slots.len());
        self.slots.get(first..end).unwrap_or_default()
    }

    /// Delays of what arrived in the slots that begin within these times.
    #[must_use]
    pub fn delays_within(&self, us: Range<u64>) -> Delays {
        let mut all = Delays::default();
        self.within(us)
            .iter()
            .for_each(|slot| all.merge(&slot.delays));
        all
    }

    fn index(&self, us: u64) -> usize {
        usize::try_from(us / self.slot_us.max(1)).unwrap_or(usize::MAX)
    }
}
