//! One lane: its window, its health, and what it could do now.
//!
//! Read [`Lane::choose`] first: it is the whole of the lane's decision. [`fetch`] says which records
//! it wants next, [`pick`] which jobs an attempt takes, [`health`] what an attempt's result means for
//! the lane, [`conclude`] what it means for each job, [`restore`] how a lane's progress is saved and
//! comes back, [`order`] what waits for an earlier event, [`suspect`] whose failures they are, [`idle`] what is kept of a lane with nothing to do.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use model::{HoldReason, LaneId, LaneState, MonoMicros, Offset, OutcomeCounts};

use crate::breaker::{Breaker, Phase};
use crate::concurrency::Concurrency;
use crate::input::StreamKey;
use crate::policy::LanePolicy;
use crate::rate::Rate;
use crate::windows::Windows;

pub(crate) mod clock;
pub(crate) mod conclude;
pub(crate) mod fetch;
pub(crate) mod health;
pub(crate) mod idle;
pub(crate) mod marks;
pub(crate) mod order;
pub(crate) mod pick;
pub(crate) mod place;
pub(crate) mod restore;
mod straggler;
pub(crate) mod suspect;
pub(crate) mod trust;

use clock::Clock;
use fetch::PREFETCH_INIT;
use marks::Marks;
use order::Order;
use place::Place;
use suspect::Suspect;
use trust::Trust;

/// Parked jobs by the time of their next attempt.
pub(crate) type Retries = BinaryHeap<Reverse<Retry>>;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Retry {
    pub(crate) at: MonoMicros,
    pub(crate) seq: u64,
    /// Its wait is no back-off but what such a failure asks for: it is never cut short.
    pub(crate) fixed: bool,
}

#[derive(Debug)]
pub(crate) struct Lane {
    pub(crate) id: LaneId,
    /// Tells this lane from an earlier one in the same slot.
    pub(crate) serial: u64,
    pub(crate) stream: StreamKey,
    pub(crate) group_slot: u32,
    pub(crate) place: Place,
    pub(crate) in_flight: u32,
    pub(crate) policy: Arc<LanePolicy>,
    /// The stream's records below this are durable.
    pub(crate) end: Offset,
    /// Where a bounded lane ends; [`Offset::MAX`] for others.
    pub(crate) until: Offset,
    pub(crate) window: Windows,
    pub(crate) marks: Marks,
    /// What waits behind what, where events of one key go in order.
    pub(crate) order: Option<Box<Order>>,
    pub(crate) retries: Retries,
    /// Halves of refused batches; never empty.
    pub(crate) splits: Option<VecDeque<Vec<u64>>>,
    /// Stragglers are not looked for before.
    pub(crate) hurry_after: MonoMicros,
    pub(crate) counts: OutcomeCounts,
    pub(crate) concurrency: Concurrency,
    pub(crate) breaker: Breaker,
    pub(crate) rate: Rate,
    pub(crate) hold: Option<Hold>,
    pub(crate) streak: Option<Streak>,
    pub(crate) clock: Clock,
    /// No attempt begins before: Retry-After, staggered start.
    pub(crate) not_before: MonoMicros,
    /// When it last was told to pause, and how often since something succeeded.
    pub(crate) paused_at: MonoMicros,
    pub(crate) pauses: u16,
    /// First attempts since the last retry.
    pub(crate) fresh_in_a_row: u16,
    /// First attempts ahead of the backlog since the last one of the backlog.
    pub(crate) recent_in_a_row: u16,
    /// Fresh jobs to keep at hand: doubles whenever it proves too few.
    pub(crate) prefetch: u32,
    pub(crate) last_good: Option<MonoMicros>,
    /// The same on the lane's own clock, which stands still while it is stopped; 0 for never.
    pub(crate) last_good_clock: u64,
    /// When its last attempt began.
    pub(crate) used_at: MonoMicros,
    pub(crate) trust: Trust,
    pub(crate) suspect: Suspect,
    /// The last probe was of a job that had failed before.
    pub(crate) probed_retry: bool,
    /// The last jobs that failed as probes since the lane was stopped: they had their turn.
    pub(crate) probed: Vec<u64>,
    /// No probe before: our own fault has spoiled the last one.
    pub(crate) no_probe_before: MonoMicros,
    /// Since when the present batch gathers.
    pub(crate) batch_since: MonoMicros,
    /// No fetch before: the last one brought nothing.
    pub(crate) fetch_after: MonoMicros,
    pub(crate) state: LaneState,
    pub(crate) state_since: MonoMicros,
    pub(crate) throttled: bool,
    pub(crate) probing: bool,
    pub(crate) dirty: bool,
    pub(crate) completed: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    pub(crate) reason: HoldReason,
    /// `None`: only a person ends this hold.
    pub(crate) probe_at: Option<MonoMicros>,
}

/// Failures of one kind with no success between.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Streak {
    pub(crate) reason: HoldReason,
    pub(crate) count: u16,
    pub(crate) since: MonoMicros,
}

/// What a lane could do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Choice {
    Start(Pick),
    /// Nothing before that time.
    Wait(MonoMicros),
    /// Nothing until something happens to it.
    Nothing,
}

/// Which jobs the next attempt takes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pick {
    /// One job, to see whether a stopped destination is back.
    Probe,
    /// Half of a batch that was refused whole.
    Split,
    /// Jobs that failed before.
    Retry,
    /// Jobs not tried yet.
    Fresh,
}

impl Lane {
    /// What the lane could do at this time, were there a slot for it.
    pub(crate) fn choose(&self, now: MonoMicros) -> Choice {
        let has_retries = !self.retries.is_empty() || self.splits.is_some();
        if self.window.fresh() == 0 && !has_retries {
            return Choice::Nothing;
        }
        if self.is_stopped() {
            return match self.probe_at() {
                Some(at) if !self.probing => start_at(at.max(self.gate()), now, Pick::Probe),
                _ => Choice::Nothing,
            };
        }
        if self.in_flight >= self.limit() {
            return Choice::Nothing;
        }
        let fresh_at = self.fresh_at();
        let retry_at = self.retry_at();
        let soonest = match (fresh_at, retry_at) {
            (Some(fresh), Some(retry)) => fresh.min(retry),
            (Some(at), None) | (None, Some(at)) => at,
            (None, None) => return Choice::Nothing,
        };
        let fresh_waits = fresh_at.is_some_and(|at| at <= now);
        let retry_waits = retry_at.is_some_and(|at| at <= now);
        let pick = match (retry_waits, self.splits.is_some()) {
            (true, _) if fresh_waits && !self.is_retrys_turn() => Pick::Fresh,
            (true, true) => Pick::Split,
            (true, false) => Pick::Retry,
            (false, _) => Pick::Fresh,
        };
        start_at(soonest.max(self.gate()), now, pick)
    }

    /// No attempt of any kind begins before this.
    fn gate(&self) -> MonoMicros {
        let paced = self.not_before.max(self.paced_at());
        match self.policy.rate_limit_per_s {
            Some(_) => paced.max(self.rate.free_at()),
            None => paced,
        }
    }

    /// Held, or behind an open breaker: only probes go.
    pub(crate) fn is_stopped(&self) -> bool {
        self.hold.is_some() || self.breaker.is_open()
    }

    /// When a stopped lane's next probe may go; `None` where only a person lets it go on.
    fn probe_at(&self) -> Option<MonoMicros> {
        match (self.hold, self.breaker.phase()) {
            (Some(hold), _) => hold.probe_at,
            // One event's failures say nothing of another.
            (None, Phase::Open { .. }) if self.suspect.is_one() && self.has_untried() => {
                Some(self.no_probe_before)
            }
            (None, Phase::Open { probe_at }) => Some(probe_at),
            (None, _) => None,
        }
    }

    /// Jobs that wait for something else than their own back-off.
    pub(crate) fn has_untried(&self) -> bool {
        self.window.fresh() > 0 || self.splits.is_some()
    }

    /// When what the destination bears lets the next attempt begin.
    pub(crate) fn paced_at(&self) -> MonoMicros {
        self.concurrency.free_at(self.policy.concurrency_max)
    }

    pub(crate) fn limit(&self) -> u32 {
        self.concurrency.limit(self.policy.concurrency_max)
    }

    /// When a first attempt could go: at once, or when the batch has waited long enough.
    fn fresh_at(&self) -> Option<MonoMicros> {
        let policy = &self.policy;
        if self.window.fresh() == 0 {
            return None;
        }
        let whole = !policy.batches()
            || policy.batch_wait_us == 0
            || self.window.fresh() >= policy.batch_events_max
            || self.window.fresh_bytes() >= policy.batch_bytes_max;
        Some(if whole {
            MonoMicros::ZERO
        } else {
            self.batch_since.plus(policy.batch_wait_us)
        })
    }

    fn retry_at(&self) -> Option<MonoMicros> {
        if self.splits.is_some() {
            return Some(MonoMicros::ZERO);
        }
        self.retries.peek().map(|Reverse(retry)| retry.at)
    }

    /// Whether enough first attempts went since the last retry. While both wait, each gets its
    /// share: neither starves the other.
    fn is_retrys_turn(&self) -> bool {
        let share = self.policy.retry_percent;
        u32::from(self.fresh_in_a_row) * share >= 100 - share
    }

    /// Whether enough of what came of late went since the last of the backlog.
    fn is_backlogs_turn(&self) -> bool {
        let share = self.policy.recent_percent;
        u32::from(self.recent_in_a_row) * (100 - share) >= share
    }

    /// Nothing to do, nothing left to fetch.
    pub(crate) fn is_caught_up(&self) -> bool {
        self.window.is_empty() && self.window.cursor() >= self.ends()
    }

    /// Gives back what only a busy lane needs.
    pub(crate) fn rest(&mut self) {
        if self.window.is_empty() {
            self.window.release_memory();
            self.retries = BinaryHeap::new();
            self.order = None;
            self.prefetch = PREFETCH_INIT;
        }
    }
}

fn start_at(at: MonoMicros, now: MonoMicros, pick: Pick) -> Choice {
    if at <= now {
        Choice::Start(pick)
    } else {
        Choice::Wait(at)
    }
}
