//! Stragglers: events that fail while those behind them are settled. A window holds the settled ones
//! too, so a few bad answers could fill it and stop the lane for as long as their back-off takes.

use std::cmp::Reverse;

use model::MonoMicros;

use super::Lane;
use crate::window::Window;

/// No back-off is longer while more than half of the window is settled behind the events that fail.
const HALF_FULL_US: u64 = 5_000_000;
/// No longer than this while the window is full, and all else is done.
const FULL_US: u64 = 1_000_000;
/// Back-offs that were drawn before are looked at so often.
const LOOK_EVERY_US: u64 = 1_000_000;
/// Those that are cut short come back one after the other.
const SPREAD: u64 = 16;

impl Lane {
    /// Of an event that was tried this often: the longest back-off in this window, while the lane would
    /// have to wait for it.
    pub(crate) fn patience_us(&self, window: &Window, attempts: u16) -> Option<u64> {
        if self.is_stopped() {
            return None;
        }
        let len = u32::try_from(window.len()).unwrap_or(u32::MAX);
        let settled = len.saturating_sub(window.unsettled());
        let most = self.policy.window_jobs_max / self.window.share();
        let idle = window.fresh() == 0;
        if settled > most / 2 {
            let is_full = len >= most && idle && self.may_be_bad_luck(attempts);
            return Some(if is_full { FULL_US } else { HALF_FULL_US });
        }
        // All that is left may wait behind the events that fail.
        let is_stuck = self.policy.ordered && idle && len > most / 2;
        is_stuck.then_some(HALF_FULL_US)
    }

    /// What was tried more often is not hurried: were the lane to try little else, its breaker would open.
    fn may_be_bad_luck(&self, attempts: u16) -> bool {
        u32::from(attempts) < self.policy.poison_failures
    }

    /// Cuts back-offs short that were drawn before the window filled up.
    pub(crate) fn hurry_stragglers(&mut self, now: MonoMicros) {
        let waits = |lane: &Self| {
            lane.window
                .each()
                .any(|part| lane.patience_us(part, 0).is_some())
        };
        if self.retries.is_empty() || now < self.hurry_after || !waits(self) {
            return;
        }
        self.hurry_after = now.plus(LOOK_EVERY_US);
        let mut retries = std::mem::take(&mut self.retries).into_vec();
        for Reverse(retry) in retries.iter_mut().filter(|Reverse(retry)| !retry.fixed) {
            let seq = retry.seq;
            let attempts = self.window.get(seq).map_or(0, |entry| entry.attempts);
            let patience_us = self.patience_us(self.window.of(seq), attempts);
            if let Some(patience_us) = patience_us.filter(|_| self.may_be_bad_luck(attempts))
                && retry.at > now.plus(patience_us)
            {
                retry.at = now.plus(patience_us * (1 + seq % SPREAD) / SPREAD);
            }
        }
        self.retries = retries.into();
    }
}
