//! A lane's progress: how it is saved, and how a lane comes back from it.

use std::collections::{BinaryHeap, VecDeque};
use std::sync::Arc;

use model::limits::LANE_WINDOW_MAX;
use model::{LaneId, LaneProgress, LaneState, MonoMicros, Offset, ParkedJob};

use super::clock::Clock;
use super::trust::Trust;
use super::{Hold, Lane, PREFETCH_INIT};
use crate::backoff::backoff_us;
use crate::breaker::Breaker;
use crate::concurrency::Concurrency;
use crate::input::{Fetch, StreamKey};
use crate::policy::LanePolicy;
use crate::rate::Rate;
use crate::rng::Rng;
use crate::verdict::is_probed;
use crate::window::{Entry, Phase, Window};

/// What the saved progress says of offsets that are not fetched yet.
#[derive(Debug)]
pub(crate) struct Restored {
    settled: VecDeque<Offset>,
    parked: VecDeque<ParkedJob>,
}

/// What a lane begins with.
pub(crate) struct Birth {
    pub(crate) id: LaneId,
    pub(crate) serial: u64,
    pub(crate) stream: StreamKey,
    pub(crate) group_slot: u32,
    pub(crate) policy: Arc<LanePolicy>,
    pub(crate) progress: LaneProgress,
    pub(crate) end: Offset,
    pub(crate) until: Offset,
    /// After a restart: begin at random until this time, and slowly.
    pub(crate) begin_by: MonoMicros,
}

impl Birth {
    /// It begins with nothing but a cursor and counts, and never ends by itself.
    pub(crate) fn is_plain(&self) -> bool {
        self.until == Offset::MAX
            && self.progress.hold.is_none()
            && self.progress.settled_above.is_empty()
            && self.progress.parked.is_empty()
    }
}

/// Jobs that had failed before a restart come first, spread over at most this.
const RESTORED_DUE_US_MAX: u64 = 30_000_000;

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
            in_flight: 0,
            policy: birth.policy,
            end: birth.end,
            until: birth.until,
            window: Window::new(progress.cursor),
            retries: BinaryHeap::new(),
            splits: None,
            restored: Restored::new(progress.settled_above, progress.parked),
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
            prefetch: PREFETCH_INIT,
            last_good: None,
            used_at: MonoMicros::ZERO,
            trust: Trust::new(),
            batch_since: now,
            fetch_after: MonoMicros::ZERO,
            state: LaneState::Active,
            state_since: now,
            throttled: false,
            fetching: false,
            probing: false,
            dirty: false,
            completed: false,
        };
        lane.set_clock(now);
        lane.state = lane.seen_state();
        lane
    }

    /// Takes a fetched record into the window, as what the saved progress says of it.
    pub(crate) fn accept(&mut self, fetch: Fetch, now: MonoMicros, rng: &mut Rng) {
        let mut entry = Entry {
            offset: fetch.offset,
            failing_since: 0,
            bytes: fetch.bytes,
            attempts: 0,
            own_failures: 0,
            phase: Phase::Fresh,
        };
        let Some(restored) = self.restored.as_mut() else {
            self.window.push(entry);
            return;
        };
        let known = restored.recall(fetch.offset);
        if restored.is_empty() {
            self.restored = None;
        }
        match known {
            Known::Settled => {
                entry.phase = Phase::Settled;
                self.window.push(entry);
            }
            Known::Parked(job) => {
                entry.phase = Phase::Parked;
                entry.attempts = u16::try_from(job.attempts).unwrap_or(u16::MAX);
                let failing_us = job.failing_ms.saturating_mul(1_000);
                entry.failing_since = self.clock.read(now).saturating_sub(failing_us).max(1);
                let seq = self.window.push(entry);
                let (first, max) = (self.policy.backoff_first_us, self.policy.backoff_us_max);
                let max = max.min(RESTORED_DUE_US_MAX);
                let wait = backoff_us(rng, job.attempts, first.min(max), 3, max);
                self.push_retry(now.plus(wait), seq);
            }
            Known::Nothing => {
                self.window.push(entry);
            }
        }
    }

    /// Whether the saved progress says that the record at this offset is settled already.
    pub(crate) fn recall_is_settled(&mut self, offset: Offset) -> bool {
        let Some(restored) = self.restored.as_mut() else {
            return false;
        };
        let known = restored.recall(offset);
        if restored.is_empty() {
            self.restored = None;
        }
        matches!(known, Known::Settled)
    }

    /// All that must survive a crash.
    pub(crate) fn progress(&self, now: MonoMicros) -> LaneProgress {
        let clock = self.clock.read(now);
        let mut settled_above = Vec::new();
        let mut parked = Vec::new();
        for entry in self.window.entries() {
            if entry.phase == Phase::Settled {
                settled_above.push(entry.offset);
            } else if entry.attempts > 0 {
                parked.push(ParkedJob {
                    offset: entry.offset,
                    attempts: u32::from(entry.attempts),
                    failing_ms: clock.saturating_sub(entry.failing_since) / 1_000,
                });
            }
        }
        if let Some(restored) = &self.restored {
            // What is not fetched yet still stands as it was saved.
            settled_above.extend(&restored.settled);
            parked.extend(&restored.parked);
        }
        settled_above.truncate(LANE_WINDOW_MAX);
        LaneProgress {
            lane: self.id,
            cursor: self.window.cursor(),
            settled_above,
            parked,
            counts: self.counts,
            hold: self.hold.map(|hold| hold.reason),
        }
    }
}

enum Known {
    Nothing,
    Settled,
    Parked(ParkedJob),
}

impl Restored {
    fn new(settled: Vec<Offset>, parked: Vec<ParkedJob>) -> Option<Box<Self>> {
        debug_assert!(settled.is_sorted() && parked.is_sorted_by_key(|job| job.offset));
        let restored = Self {
            settled: settled.into(),
            parked: parked.into(),
        };
        (!restored.is_empty()).then(|| Box::new(restored))
    }

    fn is_empty(&self) -> bool {
        self.settled.is_empty() && self.parked.is_empty()
    }

    /// What is known of the record at this offset. Records come in order, so what lies below is
    /// no longer there (trimmed) and is forgotten.
    fn recall(&mut self, offset: Offset) -> Known {
        while self.settled.front().is_some_and(|first| *first < offset) {
            self.settled.pop_front();
        }
        while self
            .parked
            .front()
            .is_some_and(|first| first.offset < offset)
        {
            self.parked.pop_front();
        }
        if self.settled.front() == Some(&offset) {
            self.settled.pop_front();
            return Known::Settled;
        }
        if self
            .parked
            .front()
            .is_some_and(|first| first.offset == offset)
        {
            return self
                .parked
                .pop_front()
                .map_or(Known::Nothing, Known::Parked);
        }
        Known::Nothing
    }
}
