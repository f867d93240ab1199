//! Shedding: when commits keep waiting too long, fewer requests may wait.
//!
//! After CoDel (Nichols, Jacobson, "Controlling Queue Delay", 2012): what counts is the *least*
//! wait of an interval, because a burst drains and a standing queue does not. Where CoDel drops
//! from its queue, this halves the number of requests that may wait for the log, and doubles it
//! again when the wait is back below the target.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Judges the waits of all threads together.
#[derive(Debug)]
pub(crate) struct Overload {
    target_us: u64,
    interval_us: u64,
    waiting: AtomicUsize,
    waiting_max: AtomicUsize,
    wait_us_min: AtomicU64,
    interval_end_us: AtomicU64,
}

impl Overload {
    pub(crate) fn new(target_ms: u64, interval_ms: u64) -> Self {
        Self {
            target_us: target_ms.saturating_mul(1_000),
            interval_us: interval_ms.saturating_mul(1_000),
            waiting: AtomicUsize::new(0),
            waiting_max: AtomicUsize::new(usize::MAX),
            wait_us_min: AtomicU64::new(u64::MAX),
            interval_end_us: AtomicU64::new(0),
        }
    }

    /// Whether one more request may be taken on. One always may when none waits.
    pub(crate) fn admits(&self) -> bool {
        self.waiting.load(Relaxed) < self.waiting_max.load(Relaxed)
    }

    /// Counts a commit that waits, until the guard is dropped.
    pub(crate) fn waiting(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Relaxed);
        Waiting(self)
    }

    /// A commit waited this long in the queue. `now_us` is monotonic.
    pub(crate) fn waited(&self, wait_us: u64, now_us: u64) {
        self.wait_us_min.fetch_min(wait_us, Relaxed);
        let end = self.interval_end_us.load(Relaxed);
        let next_end = now_us.saturating_add(self.interval_us);
        // Of the threads that see an interval end, one judges it.
        if now_us < end
            || self
                .interval_end_us
                .compare_exchange(end, next_end, Relaxed, Relaxed)
                .is_err()
        {
            return;
        }
        let least = self.wait_us_min.swap(u64::MAX, Relaxed);
        let max = self.waiting_max.load(Relaxed);
        let max = if least > self.target_us {
            (max.min(self.waiting.load(Relaxed)) / 2).max(1)
        } else {
            max.saturating_mul(2)
        };
        self.waiting_max.store(max, Relaxed);
    }
}

/// One commit that waits.
pub(crate) struct Waiting<'a>(&'a Overload);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests;
