//! A lane's rate limit: the generic cell rate algorithm (ITU-T I.371), one number of state.

use model::MonoMicros;

/// When the next attempt would be due if attempts came evenly: the "theoretical arrival time".
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rate {
    due: MonoMicros,
}

/// Attempts that may come early, as time at the limit's pace: enough to hide the coarseness of
/// timers, too little to be seen by a service that counts by the second.
const BURST_US: u64 = 100_000;

impl Rate {
    /// From when on an attempt is within the limit.
    pub(crate) fn free_at(self) -> MonoMicros {
        MonoMicros(self.due.0.saturating_sub(BURST_US))
    }

    /// From when on nothing is left of the attempts counted so far.
    pub(crate) fn even_at(self) -> MonoMicros {
        self.due
    }

    /// Counts an attempt that begins now.
    pub(crate) fn take(&mut self, per_s: f64, now: MonoMicros) {
        let gap_us = (1e6 / per_s).min(3.6e9);
        self.due = self.due.max(now).plus(whole(gap_us));
    }
}

fn whole(micros: f64) -> u64 {
    std::time::Duration::from_secs_f64(micros.max(0.0) / 1e6)
        .as_micros()
        .try_into()
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
