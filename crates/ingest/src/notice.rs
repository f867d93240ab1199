//! Log lines about clients, at most one of a kind every ten seconds: a client that does wrong does
//! so often, and the counters hold the rest.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use model::UnixMillis;

const PAUSE_MS: u64 = 10_000;

/// Says when it is time for another line.
#[derive(Debug, Default)]
pub(crate) struct Notice {
    next_ms: AtomicU64,
    held_back: AtomicU64,
}

impl Notice {
    /// `Some(lines held back since the last one)` when a line may be written now.
    pub(crate) fn due(&self, now: UnixMillis) -> Option<u64> {
        let next = self.next_ms.load(Relaxed);
        let after = now.0.saturating_add(PAUSE_MS);
        // A clock that jumped back must not silence it for long.
        let waits = now.0 < next && next <= after;
        if waits
            || self
                .next_ms
                .compare_exchange(next, after, Relaxed, Relaxed)
                .is_err()
        {
            self.held_back.fetch_add(1, Relaxed);
            return None;
        }
        Some(self.held_back.swap(0, Relaxed))
    }
}
