//! What a person is shown of a lane, and of the scheduler.

use model::{LaneState, MonoMicros, Offset, OutcomeCounts};

use crate::lane::idle::Idle;
use crate::lane::{Choice, Lane};

/// One lane at one moment.
#[derive(Clone, PartialEq, Debug)]
pub struct LaneView {
    pub state: LaneState,
    pub state_since: MonoMicros,
    /// Attempts under way.
    pub in_flight: u32,
    /// Jobs that failed, or were refused as part of a batch, and wait for another attempt.
    pub retrying: u32,
    pub concurrency_limit: u32,
    /// Every job of the stream below this is settled.
    pub cursor: Offset,
    /// Jobs above the cursor that are held in memory, settled ones among them.
    pub window: u32,
    pub oldest_unsettled: Option<Offset>,
    /// When the lane will try next, where it waits for a time.
    pub next_attempt_at: Option<MonoMicros>,
    pub counts: OutcomeCounts,
    /// Everything that the stream is known to hold is settled: nothing of this lane keeps the log
    /// from being trimmed, wherever its cursor stands.
    pub caught_up: bool,
}

/// The scheduler as a whole.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Load {
    pub lanes: usize,
    pub attempts_in_flight: u32,
    pub bytes_in_flight: u64,
}

impl LaneView {
    pub(crate) fn of(lane: &Lane, now: MonoMicros) -> Self {
        let split = lane
            .splits
            .iter()
            .flat_map(|splits| splits.iter())
            .map(Vec::len)
            .sum::<usize>();
        Self {
            state: lane.state,
            state_since: lane.state_since,
            in_flight: lane.in_flight,
            retrying: whole(lane.retries.len() + split),
            concurrency_limit: if lane.is_stopped() { 1 } else { lane.limit() },
            cursor: lane.window.cursor(),
            window: whole(lane.window.len()),
            oldest_unsettled: lane.window.oldest_unsettled(),
            next_attempt_at: match lane.choose(now) {
                Choice::Wait(at) => Some(at),
                Choice::Start(_) | Choice::Nothing => None,
            },
            counts: lane.counts,
            caught_up: lane.is_caught_up(),
        }
    }

    pub(crate) fn of_idle(idle: &Idle) -> Self {
        let policy = &idle.policy;
        Self {
            state: LaneState::Active,
            state_since: idle.active_since,
            in_flight: 0,
            retrying: 0,
            concurrency_limit: policy.concurrency_init.min(policy.concurrency_max),
            cursor: idle.cursor,
            window: 0,
            oldest_unsettled: None,
            next_attempt_at: None,
            counts: idle.counts,
            caught_up: idle.cursor >= idle.end,
        }
    }
}

fn whole(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
