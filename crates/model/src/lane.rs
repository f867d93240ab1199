//! What is remembered of a lane, and what is shown of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{LaneId, Offset};
use crate::outcome::{FilterReason, HoldReason, Outcome};
use crate::time::UnixMillis;

/// How many jobs of a lane ended how, since the lane began. Saved together with the cursor, so
/// that the counts balance after any crash:
/// `accepted = delivered + rejected + expired + filtered + pending`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct OutcomeCounts {
    pub delivered: u64,
    pub rejected: u64,
    pub expired: u64,
    /// By [`FilterReason::index`]; in JSON by its name.
    #[serde(serialize_with = "by_reason", deserialize_with = "from_reasons")]
    pub filtered: [u64; FilterReason::ALL.len()],
}

impl OutcomeCounts {
    pub fn add(&mut self, outcome: Outcome) {
        match outcome {
            Outcome::Delivered => self.delivered += 1,
            Outcome::Rejected(_) => self.rejected += 1,
            Outcome::Expired(_) => self.expired += 1,
            Outcome::Filtered(reason) => self.filtered[reason.index()] += 1,
        }
    }

    #[must_use]
    pub fn filtered_total(&self) -> u64 {
        self.filtered.iter().sum()
    }

    /// Every job that has ended, whichever way.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.delivered + self.rejected + self.expired + self.filtered_total()
    }
}

fn by_reason<S: Serializer>(
    filtered: &[u64; FilterReason::ALL.len()],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let named = FilterReason::ALL.map(FilterReason::as_str).into_iter();
    serializer.collect_map(named.zip(filtered))
}

fn from_reasons<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<[u64; FilterReason::ALL.len()], D::Error> {
    let named = BTreeMap::<String, u64>::deserialize(deserializer)?;
    let count = |reason: FilterReason| named.get(reason.as_str()).copied().unwrap_or_default();
    Ok(FilterReason::ALL.map(count))
}

/// A job that has failed and waits for its next attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ParkedJob {
    pub offset: Offset,
    /// Attempts made so far, at least 1.
    pub attempts: u32,
    /// How long it has been failing, not counting time under an open breaker or a hold.
    pub failing_ms: u64,
}

/// A stretch of a lane's stream that is settled whole, though it lies above the cursor: what came
/// of late, served beside a backlog.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SettledSpan {
    pub from: Offset,
    /// Exclusive.
    pub to: Offset,
    /// The lane's jobs in it.
    pub jobs: u64,
}

/// All that must survive a crash for one lane. Losing it costs repeated deliveries, never events.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LaneProgress {
    pub lane: LaneId,
    /// Every job below this offset is settled.
    pub cursor: Offset,
    /// Every job in it is settled too. Above the cursor.
    pub ahead: Option<SettledSpan>,
    /// Other offsets at or above the cursor that are settled already, ascending. At most
    /// [`crate::limits::LANE_WINDOW_MAX`].
    pub settled_above: Vec<Offset>,
    /// Jobs that have failed and wait, ascending by offset.
    pub parked: Vec<ParkedJob>,
    pub counts: OutcomeCounts,
    pub hold: Option<HoldReason>,
}

impl LaneProgress {
    /// A lane that begins at `cursor` and has done nothing yet.
    #[must_use]
    pub fn new(lane: LaneId, cursor: Offset) -> Self {
        Self {
            lane,
            cursor,
            ahead: None,
            settled_above: Vec::new(),
            parked: Vec::new(),
            counts: OutcomeCounts::default(),
            hold: None,
        }
    }

    /// Below this lies every offset that is remembered.
    #[must_use]
    pub fn end(&self) -> Offset {
        let above = self.settled_above.iter().max().copied();
        let parked = self.parked.iter().map(|job| job.offset).max();
        let highest = above.max(parked).map_or(Offset::ZERO, Offset::next);
        let ahead = self.ahead.map_or(Offset::ZERO, |span| span.to);
        self.cursor.max(ahead).max(highest)
    }
}

/// What a lane is doing, as a person sees it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum LaneState {
    /// Nothing to send, or sending.
    Active,
    /// Paused or slowed at the destination's own request (429, Retry-After, overload).
    Throttled,
    /// The breaker is open: only probes are sent.
    Open,
    /// A probe got through; the lane starts slowly.
    HalfOpen,
    Held {
        reason: HoldReason,
    },
    /// Switched off by the configuration.
    Disabled,
}

impl LaneState {
    /// What [`LaneState::as_str`] says of each.
    pub const NAMES: [&str; 6] = [
        "active",
        "throttled",
        "open",
        "half_open",
        "held",
        "disabled",
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Throttled => "throttled",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::Held { .. } => "held",
            Self::Disabled => "disabled",
        }
    }
}

/// Upper bounds of the latency histogram's buckets, in milliseconds from receipt to delivery; a
/// last bucket takes the rest.
pub const LATENCY_BUCKETS_MS: [u64; 20] = [
    1, 2, 3, 5, 8, 12, 20, 30, 50, 80, 150, 300, 600, 1_000, 3_000, 10_000, 60_000, 300_000,
    1_800_000, 14_400_000,
];

/// One lane, as the status API, the metrics and `fairlane lanes` show it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LaneStatus {
    pub lane: LaneId,
    /// The connection's name (for a replay or redelivery: with its kind behind it).
    pub connection: String,
    pub source: String,
    pub destination: String,
    pub definition: String,
    #[serde(flatten)]
    pub state: LaneState,
    /// Since when it is in that state.
    pub state_since: UnixMillis,
    /// What brought it into that state, in words, where it is not simply active.
    pub cause: Option<String>,
    /// Events of its source since the lane began.
    pub accepted: u64,
    #[serde(flatten)]
    pub counts: OutcomeCounts,
    /// `accepted` less what has ended.
    pub pending: u64,
    /// The retry queue: jobs that failed and wait for another attempt.
    pub retrying: u64,
    /// Attempts under way: requests, each of one job or a batch.
    pub in_flight: u64,
    /// The adaptive concurrency limit in force.
    pub concurrency_limit: u64,
    /// The limit of attempts a second in force, if there is one.
    pub rate_limit_per_s: Option<f64>,
    /// Events of one key go in order.
    pub ordered: bool,
    pub cursor: Offset,
    /// The oldest event that is not settled, where one is pending and it is known. A redelivery
    /// has none: its jobs are dead letters.
    pub oldest_unsettled: Option<Offset>,
    /// Age of the oldest unsettled event; 0 where nothing is pending.
    pub backlog_age_ms: u64,
    /// When the lane will try next, if it is waiting.
    pub next_attempt_at: Option<UnixMillis>,
    /// Receipt to delivery: one count a bucket of [`LATENCY_BUCKETS_MS`], and one for the rest.
    /// Empty where nothing was delivered since start.
    pub latency_ms_buckets: Vec<u64>,
    pub latency_ms_sum: u64,
    /// Attempts since start by result: status code as text, or [`crate::Failure::as_str`].
    pub attempts: Vec<(String, u64)>,
    /// The last failure in words: what a person needs to mend it.
    pub last_error: Option<String>,
}

/// The latency below which `share` (0 to 1) of the deliveries of a histogram lie: the upper bound
/// of the bucket in which that delivery falls. `None` where nothing was delivered.
#[must_use]
pub fn latency_quantile_ms(buckets: &[u64], share: f64) -> Option<u64> {
    let total: u64 = buckets.iter().sum();
    if total == 0 {
        return None;
    }
    let mut left = (total as f64 * share).ceil().max(1.0);
    for (index, count) in buckets.iter().enumerate() {
        left -= *count as f64;
        if left <= 0.0 {
            return Some(LATENCY_BUCKETS_MS.get(index).copied().unwrap_or(u64::MAX));
        }
    }
    None
}
