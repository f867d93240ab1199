//! Where a stream ended at three moments of late: enough to tell what came within some time from
//! what did not, without keeping the time of each record.

use model::{MonoMicros, Offset};

#[derive(Clone, Copy, Debug)]
struct Mark {
    at: MonoMicros,
    end: Offset,
}

/// The latest first, each at least half the time after the next.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Marks([Mark; 3]);

impl Marks {
    /// What lies below `end` counts as old from the beginning.
    pub(crate) fn new(now: MonoMicros, end: Offset) -> Self {
        Self([Mark { at: now, end }; 3])
    }

    /// The stream ends here now. To be called before either of the others.
    pub(crate) fn note(&mut self, now: MonoMicros, end: Offset, time_us: u64) {
        let [latest, before, _] = self.0;
        let present = Mark { at: now, end };
        let halves = now.since(latest.at) / (time_us / 2).max(1);
        self.0 = match halves {
            0 => return,
            1 => [present, latest, before],
            2 => [present, present, latest],
            _ => [present; 3],
        };
    }

    /// Records from here on came within the time.
    pub(crate) fn recent_from(&self) -> Offset {
        let [_, before, _] = self.0;
        before.end
    }

    /// Records below this came before the time.
    pub(crate) fn old_below(&self) -> Offset {
        let [.., oldest] = self.0;
        oldest.end
    }
}

#[cfg(test)]
mod tests;
