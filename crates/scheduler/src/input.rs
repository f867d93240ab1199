//! What the scheduler is told.

use std::num::NonZeroU64;
use std::sync::Arc;

use model::{AttemptId, HoldReason, JobResult, LaneId, LaneProgress, Offset};

use crate::policy::LanePolicy;

/// A stream of the log, as the caller numbers it: the scheduler only compares it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct StreamKey(pub u64);

/// What an event is about, as a hash: events of one key are delivered in order where the lane's
/// policy says so. Two keys of one hash wait for each other, to no harm.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key(pub NonZeroU64);

/// One record of a lane's stream.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fetch {
    pub offset: Offset,
    /// Length of its payload.
    pub bytes: u32,
    /// `None` where it waits for no other event: always, in a lane that is not ordered.
    pub key: Option<Key>,
}

/// What an attempt came back with, in the order of its jobs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Results {
    All(JobResult),
    /// One for each job of the attempt.
    Each(Vec<JobResult>),
}

impl Results {
    /// The result of the attempt's job number `index`.
    #[must_use]
    pub fn get(&self, index: usize) -> JobResult {
        match self {
            Self::All(result) => *result,
            // A sender that says too little has failed on its own: the job is tried again.
            Self::Each(results) => results
                .get(index)
                .copied()
                .unwrap_or(JobResult::Failed(model::Failure::Ours)),
        }
    }
}

/// Something has happened. Every input names a lane, stream or attempt; one that is not (or no
/// longer) known is ignored, as it may cross with a removal.
#[derive(Clone, PartialEq, Debug)]
pub enum Input {
    /// A lane begins, or comes back after a restart with the progress that was saved.
    AddLane {
        lane: LaneId,
        /// Whom it shares the group's part of the slots with: a source or tenant.
        group: u32,
        /// Only for comparison: the queue whose places and slots it shares, see
        /// [`crate::Options::queue_jobs_max`]. `None`: it is its own.
        queue: Option<u32>,
        stream: StreamKey,
        /// Must be valid: see [`LanePolicy::validate`].
        policy: Arc<LanePolicy>,
        progress: LaneProgress,
        /// Every record of the stream below this offset is durable (exclusive; the log's end will
        /// do).
        end: Offset,
        /// Begin at random within `stagger_us_max`, and slowly: after a restart.
        staggered: bool,
        /// The lane is complete when all its stream's records below this offset are settled.
        until: Option<Offset>,
    },
    /// The lane is gone. Its attempts under way may still finish, to no effect.
    RemoveLane { lane: LaneId },
    SetPolicy {
        lane: LaneId,
        policy: Arc<LanePolicy>,
    },
    /// The stream's records below `end` (exclusive) are durable.
    StreamGrew { stream: StreamKey, end: Offset },
    /// Answers an [`crate::Action::Fetch`]: the stream's records in `[from, scanned_to)`, ascending.
    /// Where the log could not be read, answer with no offsets and `scanned_to` = `from`.
    Fetched {
        lane: LaneId,
        offsets: Vec<Fetch>,
        scanned_to: Offset,
    },
    /// Answers an [`crate::Action::Start`].
    Finished {
        attempt: AttemptId,
        latency_us: u64,
        results: Results,
    },
    /// Stop the lane, for a reason that a person must see.
    Hold { lane: LaneId, reason: HoldReason },
    /// A person lets a stopped lane (held, paused or with an open breaker) go on, slowly.
    Resume { lane: LaneId },
    /// Try one job of a stopped lane now.
    Probe { lane: LaneId },
    /// A fetched record turned out to be damaged: rejected, unless an attempt holds it (whose own
    /// result will say so).
    Damaged { lane: LaneId, offset: Offset },
    /// What is kept beside the lane's progress has changed: it is to be saved.
    Changed { lane: LaneId },
    /// The time that [`crate::Scheduler::next_wake`] named has come.
    TimerDue,
    /// Start and fetch nothing more; attempts under way may finish.
    Drain,
}
