//! A lane's progress: how it is saved, and how a lane comes back from it.

use std::collections::BinaryHeap;
use std::sync::Arc;

use model::limits::LANE_WINDOW_MAX;
use model::{LaneId, LaneProgress, LaneState, MonoMicros, Offset};

use super::clock::Clock;
use super::fetch::PREFETCH_INIT;
use super::marks::Marks;
use super::place::Place;
use super::suspect::Suspect;
use super::trust::Trust;
use super::{Hold, Lane};
use crate::breaker::Breaker;
use crate::concurrency::Concurrency;
use crate::input::StreamKey;
use crate::policy::LanePolicy;
use crate::queues::OWN;
use crate::rate::Rate;
use crate::rng::Rng;
use crate::verdict::is_probed;
use crate::windows::Windows;

/// What a lane begins with.
pub(crate) struct Birth {
    pub(crate) id: LaneId,
    pub(crate) serial: u64,
    pub(crate) stream: StreamKey,
    pub(crate) group_slot: u32,
    pub(crate) queue_slot: u32,
    pub(crate) policy: Arc<LanePolicy>,
    pub(crate) progress: LaneProgress,
    pub(crate) end: Offset,
    /// What lies below has been waiting.
    pub(crate) backlog_end: Offset,
    pub(crate) until: Offset,
    /// After a restart: begin at random until this time, and slowly.
    pub(crate) begin_by: MonoMicros,
}

impl Birth {
    /// It begins with nothing but a cursor and counts, and never ends by itself.
    pub(crate) fn is_plain(&self) -> bool {
        self.queue_slot == OWN
            && self.until == Offset::MAX
            && self.progress.hold.is_none()
            && self.progress.ahead.is_none()
            && self.progress.settled_above.is_empty()
            && self.progress.parked.is_empty()
    }
}

impl Lane {
    pub(crate) fn new(birth: Birth, now: MonoMicros, rng: &mut Rng) -> Self {
        let progress = birth.progress;
        let spread_us = birth.begin_by.since(now);
        let hold = progress.hold.map(|reason| Hold {
            reason,
            // Whoever restarts has perhaps just mended it: ask soon.
            probe_at: is_probed(reason).then(|| now.plus(rng.between(0, spread_us))),
        });
        let mut concurrency = Concurrency::new(birth.policy.concurrency_init);
        let mut not_before = now;
        if birth.begin_by > now {
            concurrency.restart_gently(now);
            not_before = now.plus(rng.between(0, spread_us));
        }
        let mut lane = Self {
            id: birth.id,
            serial: birth.serial,
            stream: birth.stream,
            group_slot: birth.group_slot,
            place: Place::new(birth.queue_slot),
            in_flight: 0,
            policy: birth.policy,
            end: birth.end,
            until: birth.until,
            window: Windows::new(
                progress.cursor,
                progress.settled_above,
                progress.parked,
                progress.ahead,
            ),
            marks: Marks::new(now, birth.backlog_end),
            order: None,
            retries: BinaryHeap::new(),
            splits: None,
            hurry_after: MonoMicros::ZERO,
            counts: progress.counts,
            concurrency,
            breaker: Breaker::new(),
            rate: Rate::default(),
            hold,
            streak: None,
            clock: Clock::new(),
            not_before,
            paused_at: MonoMicros::ZERO,
            pauses: 0,
            fresh_in_a_row: 0,
            recent_in_a_row: 0,
            prefetch: PREFETCH_INIT,
            last_good: None,
            last_good_clock: 0,
            used_at: MonoMicros::ZERO,
            trust: Trust::new(),
            suspect: Suspect::Nobody,
            batch_since: now,
            fetch_after: MonoMicros::ZERO,
            state: LaneState::Active,
            state_since: now,
            throttled: false,
            probing: false,
            probed_retry: false,
            probed: Vec::new(),
            no_probe_before: MonoMicros::ZERO,
            dirty: false,
            completed: false,
        };
        lane.set_clock(now);
        lane.state = lane.seen_state();
        lane
    }

    /// All that must survive a crash.
    pub(crate) fn progress(&self, now: MonoMicros) -> LaneProgress {
        let clock = self.clock.read(now);
        let (mut settled_above, mut parked) = (Vec::new(), Vec::new());
        for window in self.window.each() {
            window.save(clock, &mut settled_above, &mut parked);
        }
        settled_above.truncate(LANE_WINDOW_MAX);
        LaneProgress {
            lane: self.id,
            cursor: self.window.cursor(),
            ahead: self.window.span(),
            settled_above,
            parked,
            counts: self.counts,
            hold: self.hold.map(|hold| hold.reason),
        }
    }
}
