//! How far a destination is to be trusted when it fails one event: the share of its events that
//! succeed, forgetting slowly.

/// An exponentially weighted share of successes, over events that had not failed repeatedly: an event that keeps failing says nothing of the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trust {
    share: f32,
    samples: u8,
}

/// A sample's weight: the last thirty or so count.
const WEIGHT: f32 = 1.0 / 32.0;
const SAMPLES_MIN: u8 = 9;
const SHARE_MIN: f32 = 0.9;

impl Trust {
    pub(crate) fn new() -> Self {
        Self {
            share: 1.0,
            samples: 0,
        }
    }

    /// Counts the events of an attempt that were answered.
    pub(crate) fn answered(&mut self, events: usize) {
        let events = u8::try_from(events).unwrap_or(u8::MAX);
        self.share = 1.0 - (1.0 - self.share) * (1.0 - WEIGHT).powi(events.into());
        self.samples = self.samples.saturating_add(events);
    }

    /// Counts an attempt that failed, once, however large its batch was.
    pub(crate) fn failed(&mut self) {
        self.share *= 1.0 - WEIGHT;
        self.samples = self.samples.saturating_add(1);
    }

    /// At least nine of ten others succeed.
    pub(crate) fn is_high(&self) -> bool {
        self.samples >= SAMPLES_MIN && self.share >= SHARE_MIN
    }
}

#[cfg(test)]
mod tests;
