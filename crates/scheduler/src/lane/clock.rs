//! A lane's own clock: stands still while the lane is stopped, so that no event expires behind an
//! open breaker or a hold.

use model::MonoMicros;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    /// What to add to the time; wraps, as only differences count.
    shift_us: u64,
    stopped_since: Option<MonoMicros>,
}

/// Above any age that a restored job can have, so that no time on this clock is 0.
const EPOCH_US: u64 = 1 << 52;

impl Clock {
    pub(crate) fn new() -> Self {
        Self {
            shift_us: EPOCH_US,
            stopped_since: None,
        }
    }

    pub(crate) fn read(&self, now: MonoMicros) -> u64 {
        let at = self.stopped_since.map_or(now, |since| since.min(now));
        at.0.wrapping_add(self.shift_us)
    }

    pub(crate) fn stop(&mut self, now: MonoMicros) {
        self.stopped_since.get_or_insert(now);
    }

    pub(crate) fn go_on(&mut self, now: MonoMicros) {
        if let Some(since) = self.stopped_since.take() {
            self.shift_us = self.shift_us.wrapping_sub(now.since(since));
        }
    }
}
