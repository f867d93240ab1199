//! Which records a lane wants next, and what becomes of those that came.
//!
//! A lane that has fallen behind (an outage, a flood) serves what came of late beside its backlog:
//! [`Lane::fork`]. Without that, every new event would wait for the whole backlog to drain.

use model::{MonoMicros, Offset};

use super::order::Order;
use super::{Lane, Retry};
use crate::backoff::backoff_us;
use crate::breaker;
use crate::input::Fetch;
use crate::rng::Rng;
use crate::window::restored::Known;
use crate::window::{Entry, Phase};
use crate::windows::Part;

/// Fresh jobs that a lane keeps at hand, at first and at most.
pub(crate) const PREFETCH_INIT: u32 = 32;
const PREFETCH_MIN: u32 = 256;
const PREFETCH_MAX: u32 = 4_096;
/// A stopped lane needs something to probe with, not a window.
const PREFETCH_STOPPED: u32 = 16;
/// Jobs that had failed before a restart come first, spread over at most this.
const RESTORED_DUE_US_MAX: u64 = 30_000_000;

/// Records to be fetched.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Want {
    pub(crate) part: Part,
    pub(crate) from: Offset,
    pub(crate) to: Offset,
    pub(crate) max: u32,
}

impl Lane {
    /// What to fetch now.
    pub(crate) fn wants(&self, now: MonoMicros) -> Option<Want> {
        if self.window.fetching.is_some() || now < self.fetch_after {
            return None;
        }
        if self.is_stopped() {
            // What failed before is no probe of another event.
            let waits_for_probe = self.probe_at().is_some() && !self.has_untried();
            if !waits_for_probe || self.policy.one_way {
                return None;
            }
            let main = self.want(Part::Main, PREFETCH_STOPPED);
            let ahead = || self.want(Part::Ahead, PREFETCH_STOPPED);
            return main.or_else(|| self.window.is_forked().then(ahead)?);
        }
        let target = self.prefetch_target();
        if !self.window.is_forked() {
            return self.want(Part::Main, target);
        }
        // The one that has less at hand first.
        let fresh = |part| self.window.part(part).fresh();
        let (first, second) = if fresh(Part::Ahead) <= fresh(Part::Main) {
            (Part::Ahead, Part::Main)
        } else {
            (Part::Main, Part::Ahead)
        };
        self.want(first, target)
            .or_else(|| self.want(second, target))
    }

    /// What one part lacks of so many fresh jobs, as far as there is room and there may be any.
    pub(crate) fn want(&self, part: Part, target: u32) -> Option<Want> {
        let (window, policy) = (self.window.part(part), &self.policy);
        let from = window.scanned_to();
        let len = u32::try_from(window.len()).unwrap_or(u32::MAX);
        let share = self.window.share();
        let room = (policy.window_jobs_max / share).saturating_sub(len);
        let full = window.unsettled_bytes() >= policy.window_bytes_max / u64::from(share);
        let enough = window.fresh() > target / 2;
        let max = target.saturating_sub(window.fresh()).min(room);
        let to = self.until.min(self.window.limit(part));
        let done = from >= self.end.min(to);
        let want = Want {
            part,
            from,
            to,
            max,
        };
        (!done && !full && !enough && max > 0).then_some(want)
    }

    /// Records from here on are not the lane's business, or not there.
    pub(crate) fn ends(&self) -> Offset {
        self.end.min(self.until)
    }

    fn prefetch_target(&self) -> u32 {
        if self.policy.one_way {
            return PREFETCH_MAX;
        }
        let batch = self.policy.batch_events_max;
        let useful = self
            .limit()
            .saturating_mul(batch)
            .saturating_mul(2)
            .max(PREFETCH_MIN);
        self.prefetch
            .max(2 * batch)
            .min(useful.max(self.prefetch))
            .min(PREFETCH_MAX.max(2 * batch))
    }

    /// The lane ran out of fresh jobs with more in the log: keep more at hand.
    pub(crate) fn grow_prefetch(&mut self) {
        self.prefetch = (self.prefetch * 2).min(PREFETCH_MAX);
    }

    /// Splits a lane in two that is behind by more than its policy's time: what came within that
    /// time is served beside the backlog from now on.
    pub(crate) fn fork(&mut self, now: MonoMicros) {
        let policy = &self.policy;
        self.marks.note(now, self.end, policy.recent_us);
        let may = policy.recent_percent > 0
            && !policy.ordered
            && self.place.is_own()
            && !policy.one_way
            && self.until == Offset::MAX;
        // While it fails every so often, what came now would only be another backlog.
        let is_sound = self.hold.is_none() && self.breaker.phase() == breaker::Phase::Closed;
        // What is under way has been asked for with the room of the whole.
        let is_fetching = self.window.fetching.is_some();
        if !may || self.window.is_forked() || !is_sound || is_fetching {
            return;
        }
        let main = self.window.part(Part::Main);
        let next = main.next_fresh().map(|(_, entry)| entry.offset);
        let is_behind = next.unwrap_or(main.scanned_to()) < self.marks.old_below();
        let fork = self.marks.recent_from();
        // Each part may hold half of what the whole may.
        let len = u32::try_from(main.len()).unwrap_or(u32::MAX);
        let fits = len <= policy.window_jobs_max / 2
            && main.unsettled_bytes() <= policy.window_bytes_max / 2;
        if is_behind && fork > main.scanned_to() && fits {
            self.window.fork(fork);
        }
    }

    /// Takes a fetched record into the window, as what the saved progress says of it.
    pub(crate) fn accept(&mut self, part: Part, fetch: Fetch, now: MonoMicros, rng: &mut Rng) {
        let mut entry = Entry {
            offset: fetch.offset,
            failing_since: 0,
            bytes: fetch.bytes,
            attempts: 0,
            own_failures: 0,
            phase: Phase::Fresh,
        };
        match self.window.part_mut(part).recall(fetch.offset) {
            Known::Nothing => {}
            Known::Settled => entry.phase = Phase::Settled,
            Known::Parked(job) => {
                entry.phase = Phase::Parked;
                entry.attempts = u16::try_from(job.attempts).unwrap_or(u16::MAX);
                let failing_us = job.failing_ms.saturating_mul(1_000);
                entry.failing_since = self.clock.read(now).saturating_sub(failing_us).max(1);
            }
        }
        if entry.phase != Phase::Settled && self.comes_behind(part, fetch) {
            entry.phase = Phase::Behind;
        }
        let seq = self.window.part_mut(part).push(entry);
        if entry.phase == Phase::Parked {
            let (first, max) = (self.policy.backoff_first_us, self.policy.backoff_us_max);
            let max = max.min(RESTORED_DUE_US_MAX);
            let attempts = u32::from(entry.attempts);
            let wait = backoff_us(rng, attempts, first.min(max), 3, max);
            self.push_retry(Retry {
                at: now.plus(wait),
                seq,
                fixed: false,
            });
        }
    }

    /// Whether an earlier event of its key is unsettled. An ordered lane does not fork; what an
    /// unordered one left ahead of its backlog goes on unordered.
    fn comes_behind(&mut self, part: Part, fetch: Fetch) -> bool {
        if !self.policy.ordered || part == Part::Ahead {
            return false;
        }
        let seq = self.window.part(part).next_seq();
        let order = self.order.get_or_insert_with(|| Box::new(Order::new(seq)));
        order.join(seq, fetch.key)
    }
}
