//! How far a destination is to be trusted when it fails one event: the share of its events that
//! succeed, forgetting slowly.

/// Exponentially weighted shares of successes, over events that had not failed repeatedly: an event that
/// keeps failing says nothing of the others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trust {
    /// Of late: an outage that begins is not to be taken for the fault of its events.
    recent: f32,
    /// Of longer: nor is bad luck, which passes for good now and then where one looks at few.
    steady: f32,
    samples: u8,
}

/// A sample's weight: the last thirty or so count, and sixty.
const RECENT_WEIGHT: f32 = 1.0 / 32.0;
const STEADY_WEIGHT: f32 = 1.0 / 64.0;
const SAMPLES_MIN: u8 = 9;
const SHARE_MIN: f32 = 0.9;

impl Trust {
    pub(crate) fn new() -> Self {
        Self {
            recent: 1.0,
            steady: 1.0,
            samples: 0,
        }
    }

    /// Counts the events of an attempt that were answered.
    pub(crate) fn answered(&mut self, events: usize) {
        let events = u8::try_from(events).unwrap_or(u8::MAX);
        let better =
            |share: f32, weight: f32| 1.0 - (1.0 - share) * (1.0 - weight).powi(events.into());
        self.recent = better(self.recent, RECENT_WEIGHT);
        self.steady = better(self.steady, STEADY_WEIGHT);
        self.samples = self.samples.saturating_add(events);
    }

    /// Counts an attempt that failed, once, however large its batch was.
    pub(crate) fn failed(&mut self) {
        self.recent *= 1.0 - RECENT_WEIGHT;
        self.steady *= 1.0 - STEADY_WEIGHT;
        self.samples = self.samples.saturating_add(1);
    }

    /// At least nine of ten others succeed.
    pub(crate) fn is_high(&self) -> bool {
        self.samples >= SAMPLES_MIN && self.recent.min(self.steady) >= SHARE_MIN
    }
}

#[cfg(test)]
mod tests;
