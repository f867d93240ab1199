//! A lane with nothing to do, as small as it can be: of a hundred thousand lanes most are idle
//! most of the time.
//!
//! It looks for jobs by itself, and becomes a [`Lane`] when there are some. A lane that has had
//! nothing to do for a while becomes this again: what it had learned of its destination is stale
//! by then, so nothing is lost but memory.

use std::sync::Arc;

use model::{LaneId, LaneProgress, LaneState, MonoMicros, Offset, OutcomeCounts};

use super::Lane;
use super::fetch::PREFETCH_INIT;
use super::restore::Birth;
use crate::action::Action;
use crate::breaker::Phase;
use crate::input::{Fetch, StreamKey};
use crate::policy::LanePolicy;
use crate::queues::OWN;
use crate::rng::Rng;
use crate::windows::Part;

#[derive(Debug)]
pub(crate) struct Idle {
    pub(crate) id: LaneId,
    pub(crate) group_slot: u32,
    pub(crate) serial: u64,
    pub(crate) stream: StreamKey,
    pub(crate) policy: Arc<LanePolicy>,
    pub(crate) end: Offset,
    pub(crate) cursor: Offset,
    pub(crate) counts: OutcomeCounts,
    pub(crate) active_since: MonoMicros,
    pub(crate) begin_by: MonoMicros,
    pub(crate) fetching: bool,
    pub(crate) dirty: bool,
}

const _: () = assert!(size_of::<Idle>() <= 144);

impl Idle {
    /// Of a birth that [`Birth::is_plain`].
    pub(crate) fn new(birth: Birth, now: MonoMicros) -> Self {
        Self {
            id: birth.id,
            group_slot: birth.group_slot,
            serial: birth.serial,
            stream: birth.stream,
            policy: birth.policy,
            end: birth.end,
            cursor: birth.progress.cursor,
            counts: birth.progress.counts,
            active_since: now,
            begin_by: birth.begin_by,
            fetching: false,
            dirty: false,
        }
    }

    /// Looks for jobs, where there may be some.
    pub(crate) fn fetch(&mut self) -> Option<Action> {
        if self.fetching || self.cursor >= self.end {
            return None;
        }
        self.fetching = true;
        let max = PREFETCH_INIT.min(self.policy.window_jobs_max);
        Some(Action::Fetch {
            lane: self.id,
            stream: self.stream,
            from: self.cursor,
            to: Offset::MAX,
            max: usize::try_from(max).expect("usize has at least 32 bits"),
        })
    }

    /// Moves the cursor over a stretch of the log without jobs. False where there were some, or
    /// the log could not be read: that is a busy lane's business.
    pub(crate) fn pass_over(&mut self, offsets: &[Fetch], scanned_to: Offset) -> bool {
        if !self.fetching || !offsets.is_empty() || scanned_to <= self.cursor {
            return false;
        }
        self.fetching = false;
        self.cursor = scanned_to;
        true
    }

    pub(crate) fn wake(&self, now: MonoMicros, rng: &mut Rng) -> Lane {
        let birth = Birth {
            id: self.id,
            serial: self.serial,
            stream: self.stream,
            group_slot: self.group_slot,
            queue_slot: OWN,
            policy: Arc::clone(&self.policy),
            progress: self.progress(),
            end: self.end,
            // It was idle, so what is there has just come; but not where a restart finds it.
            backlog_end: if self.begin_by > now {
                self.end
            } else {
                self.cursor
            },
            until: Offset::MAX,
            begin_by: self.begin_by,
        };
        let mut lane = Lane::new(birth, now, rng);
        lane.window.fetching = self.fetching.then_some(Part::Main);
        lane.dirty = self.dirty;
        lane.state_since = self.active_since;
        lane
    }

    pub(crate) fn progress(&self) -> LaneProgress {
        LaneProgress {
            counts: self.counts,
            ..LaneProgress::new(self.id, self.cursor)
        }
    }
}

impl Lane {
    /// When this lane may become an [`Idle`] one, if nothing happens until then; `None` where it
    /// has jobs, or must remember why it is stopped.
    pub(crate) fn idle_at(&self, idle_after_us: u64) -> Option<MonoMicros> {
        let window = &self.window;
        let empty = window.is_empty() && window.fetching.is_none() && window.is_plain();
        let stopped = self.hold.is_some() || matches!(self.breaker.phase(), Phase::Open { .. });
        if !empty || stopped || self.until != Offset::MAX || !self.place.is_own() {
            return None;
        }
        let free_at = self.not_before.max(self.rate.even_at());
        Some(
            free_at
                .max(self.fetch_after)
                .max(self.used_at.plus(idle_after_us)),
        )
    }

    /// What is left of it when it is idle.
    pub(crate) fn lull(&self) -> Idle {
        Idle {
            id: self.id,
            group_slot: self.group_slot,
            serial: self.serial,
            stream: self.stream,
            policy: Arc::clone(&self.policy),
            end: self.end,
            cursor: self.window.cursor(),
            counts: self.counts,
            active_since: self.state_since,
            begin_by: MonoMicros::ZERO,
            fetching: false,
            dirty: self.dirty,
        }
    }

    /// Shows itself as active again before it becomes idle, whatever slowed it last.
    pub(crate) fn calm_down(&mut self, now: MonoMicros) -> Option<Action> {
        if self.state == LaneState::Active {
            return None;
        }
        self.state = LaneState::Active;
        self.state_since = now;
        Some(Action::StateChanged {
            lane: self.id,
            state: self.state,
        })
    }
}
