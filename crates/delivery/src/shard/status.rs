//! What is shown of a lane.

use eventlog::RecordRef;
use model::lane::LaneStatus;
use model::{ConnectionId, UnixMillis};
use scheduler::LaneView;
use store::LaneKind;

use super::Shard;
use crate::clock::Clock;
use crate::lane::Lane;

impl Shard {
    pub(super) fn statuses(&self, connection: Option<ConnectionId>) -> Vec<LaneStatus> {
        let now = self.clock.mono();
        let unix = Clock::unix();
        self.lanes
            .values()
            .filter(|lane| connection.is_none_or(|wanted| lane.connection() == wanted))
            .filter_map(|lane| {
                let view = self.scheduler.view(lane.id, now)?;
                Some(self.status(lane, &view, unix))
            })
            .collect()
    }

    fn status(&self, lane: &Lane, view: &LaneView, unix: UnixMillis) -> LaneStatus {
        let plan = &lane.plan;
        let mut counts = view.counts;
        counts.expired += lane.books.unseen;
        let accepted = self.accepted(lane, view);
        let pending = accepted.saturating_sub(counts.settled());
        let oldest = (pending > 0).then(|| self.oldest(lane, view)).flatten();
        let figures = lane.figures.as_deref();
        let now = self.clock.mono();
        LaneStatus {
            lane: lane.id,
            connection: shown_name(lane),
            source: plan.source.clone(),
            destination: plan.destination.name.to_string(),
            definition: plan.destination.definition.clone(),
            state: lane.shown_state(view.state),
            state_since: lane.state_since,
            cause: figures.and_then(|f| f.cause.clone()),
            accepted,
            counts,
            pending,
            retrying: u64::from(view.retrying),
            in_flight: u64::from(view.in_flight),
            concurrency_limit: u64::from(view.concurrency_limit),
            rate_limit_per_s: plan.policy.rate_limit_per_s,
            ordered: lane.is_ordered(),
            cursor: view.cursor,
            oldest_unsettled: oldest.map(|record| record.offset),
            backlog_age_ms: oldest.map_or(0, |record| unix.0.saturating_sub(record.received_at.0)),
            next_attempt_at: view
                .next_attempt_at
                .map(|at| UnixMillis(unix.0 + at.since(now) / 1_000)),
            latency_ms_buckets: figures.map_or_else(Vec::new, |f| f.latency_ms_buckets.clone()),
            latency_ms_sum: figures.map_or(0, |f| f.latency_ms_sum),
            attempts: figures.map_or_else(Vec::new, |f| {
                f.attempts
                    .iter()
                    .map(|(result, count)| (result.text(), *count))
                    .collect()
            }),
            last_error: figures.and_then(|f| f.last_error.clone()),
        }
    }

    /// Events of the lane's stream since it began.
    fn accepted(&self, lane: &Lane, view: &LaneView) -> u64 {
        let stream = lane.stream();
        let counted = match lane.kind {
            LaneKind::Live => self.log.stream_count(stream),
            LaneKind::Replay { .. } => lane.books.end().unwrap_or(0),
            // A queue that others fill: what is known of it is what is done, held, and waits.
            LaneKind::Redelivery => {
                return view.counts.settled() + u64::from(view.window) + lane.unread.unwrap_or(0);
            }
        };
        lane.books.accepted(counted)
    }

    /// The oldest record that the lane has not settled.
    pub(super) fn oldest(&self, lane: &Lane, view: &LaneView) -> Option<RecordRef> {
        if !lane.reads_log() {
            return None;
        }
        let from = view.oldest_unsettled.unwrap_or(view.cursor);
        let mut oldest = Vec::with_capacity(1);
        let found = self.log.offsets(lane.stream(), from, 1, &mut oldest);
        found.ok().and(oldest.first().copied())
    }
}

pub(super) fn shown_name(lane: &Lane) -> String {
    let name = &lane.plan.connection.name;
    match lane.kind {
        LaneKind::Live => name.to_string(),
        LaneKind::Replay { id, .. } => format!("{name} (replay {id})"),
        LaneKind::Redelivery => format!("{name} (redelivery)"),
    }
}
