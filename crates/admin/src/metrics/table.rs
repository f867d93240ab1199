//! The table of metrics. A name in it is a promise: dashboards and alerts hold on to it.

use model::lane::LATENCY_BUCKETS_MS;
use model::{FilterReason, LaneState};

use super::Kind::{Counter, Gauge, Histogram};
use super::Read::{Lane, Process};
use super::{Kind, Metric, Read};

const fn metric(
    name: &'static str,
    kind: Kind,
    labels: &'static [&'static str],
    help: &'static str,
    read: Read,
) -> Metric {
    Metric {
        name,
        kind,
        labels,
        help,
        read,
    }
}

/// Every metric, in the order of the exposition.
pub const TABLE: &[Metric] = &[
    // The process.
    metric(
        "fairlane_build_info",
        Gauge,
        &["version"],
        "Always 1; the label tells the version.",
        Process(|s, out| out.number(&[&s.snapshot.version], 1)),
    ),
    metric(
        "fairlane_start_time_seconds",
        Gauge,
        &[],
        "When the process started, in seconds since 1970.",
        Process(|s, out| out.seconds(&[], s.snapshot.started_at.0)),
    ),
    metric(
        "fairlane_ready",
        Gauge,
        &[],
        "1 while events are taken and delivered, else 0.",
        Process(|s, out| out.number(&[], u64::from(s.snapshot.ready))),
    ),
    metric(
        "fairlane_reload_failed",
        Gauge,
        &[],
        "1 while a changed configuration is not in force because it is wrong. Alert on it.",
        Process(|s, out| out.number(&[], u64::from(s.snapshot.reload_failed))),
    ),
    metric(
        "fairlane_resident_memory_bytes",
        Gauge,
        &[],
        "Memory that the process holds.",
        Process(|s, out| out.number(&[], s.snapshot.resident_bytes)),
    ),
    metric(
        "fairlane_open_files",
        Gauge,
        &[],
        "File descriptors that the process holds.",
        Process(|s, out| out.number(&[], s.snapshot.open_files)),
    ),
    // Ingest.
    metric(
        "fairlane_ingest_requests",
        Counter,
        &["endpoint", "status"],
        "Requests by endpoint and status code of the answer.",
        Process(|s, out| {
            s.snapshot
                .ingest
                .requests
                .iter()
                .try_for_each(|(endpoint, status, count)| {
                    out.number(&[endpoint, &status.to_string()], *count)
                })
        }),
    ),
    metric(
        "fairlane_ingest_accepted",
        Counter,
        &["source"],
        "Events made durable.",
        Process(|s, out| {
            let accepted = &s.snapshot.ingest.accepted;
            accepted
                .iter()
                .try_for_each(|(source, count)| out.number(&[source], *count))
        }),
    ),
    metric(
        "fairlane_ingest_duplicates",
        Counter,
        &[],
        "Events dropped because their messageId was seen within the window.",
        Process(|s, out| out.number(&[], s.snapshot.ingest.duplicates)),
    ),
    metric(
        "fairlane_ingest_discarded",
        Counter,
        &["reason"],
        "Events answered but not kept, by reason.",
        Process(|s, out| {
            let discarded = &s.snapshot.ingest.discarded;
            discarded
                .iter()
                .try_for_each(|(reason, count)| out.number(&[reason], *count))
        }),
    ),
    metric(
        "fairlane_ingest_connections",
        Gauge,
        &[],
        "Open connections of clients.",
        Process(|s, out| out.number(&[], s.snapshot.ingest.connections)),
    ),
    metric(
        "fairlane_ingest_connections_closed",
        Counter,
        &["reason"],
        "Connections closed on clients that were too many, too slow, or idle for too long.",
        Process(|s, out| {
            let closed = &s.snapshot.ingest.connections_closed;
            closed
                .iter()
                .try_for_each(|(reason, count)| out.number(&[reason], *count))
        }),
    ),
    metric(
        "fairlane_ingest_bytes",
        Counter,
        &[],
        "Bytes of request bodies, as received.",
        Process(|s, out| out.number(&[], s.snapshot.ingest.bytes)),
    ),
    metric(
        "fairlane_ingest_ack_latency_seconds",
        Histogram,
        &[],
        "From a request's arrival to its answer.",
        Process(|s, out| {
            let ack = &s.snapshot.ingest.ack_latency_us;
            out.histogram(&ack.bounds, &ack.counts, ack.sum, 1e6)
        }),
    ),
    // The event log.
    metric(
        "fairlane_log_end_offset",
        Gauge,
        &[],
        "One behind the last durable record: how many records were ever appended.",
        Process(|s, out| out.number(&[], s.snapshot.log.end.0)),
    ),
    metric(
        "fairlane_log_first_offset",
        Gauge,
        &[],
        "The first record still retained.",
        Process(|s, out| out.number(&[], s.snapshot.log.first.0)),
    ),
    metric(
        "fairlane_log_segments",
        Gauge,
        &[],
        "Segment files.",
        Process(|s, out| out.number(&[], s.snapshot.log.segments)),
    ),
    metric(
        "fairlane_log_bytes",
        Gauge,
        &[],
        "Bytes of all segments.",
        Process(|s, out| out.number(&[], s.snapshot.log.bytes)),
    ),
    metric(
        "fairlane_log_free_bytes",
        Gauge,
        &[],
        "Space left on the log's disk.",
        Process(|s, out| out.number(&[], s.snapshot.log.free_bytes)),
    ),
    metric(
        "fairlane_log_torn_bytes",
        Counter,
        &[],
        "Bytes cut off a torn tail at start: never acknowledged.",
        Process(|s, out| out.number(&[], s.snapshot.log.torn_bytes)),
    ),
    metric(
        "fairlane_log_damaged_records",
        Gauge,
        &[],
        "Records that are damaged and cannot be delivered. Alert on any.",
        Process(|s, out| out.number(&[], s.snapshot.log.damaged_records)),
    ),
    metric(
        "fairlane_log_commits",
        Counter,
        &[],
        "Group commits.",
        Process(|s, out| out.number(&[], s.snapshot.log.commits)),
    ),
    metric(
        "fairlane_log_commit_latency_seconds",
        Histogram,
        &[],
        "Time of one commit's fdatasync.",
        Process(|s, out| {
            let commit = &s.snapshot.commit_latency_us;
            out.histogram(&commit.bounds, &commit.counts, commit.sum, 1e6)
        }),
    ),
    // The store.
    metric(
        "fairlane_store_bytes",
        Gauge,
        &[],
        "Bytes of the store's files.",
        Process(|s, out| out.number(&[], s.snapshot.store.bytes)),
    ),
    metric(
        "fairlane_dead_letters",
        Gauge,
        &[],
        "Dead letters kept.",
        Process(|s, out| out.number(&[], s.snapshot.store.dead_letters)),
    ),
    metric(
        "fairlane_dead_letters_queued",
        Gauge,
        &[],
        "Dead letters that wait for their redelivery.",
        Process(|s, out| out.number(&[], s.snapshot.store.dead_letters_queued)),
    ),
    metric(
        "fairlane_dead_letters_bytes",
        Gauge,
        &[],
        "Bytes of the dead letters kept.",
        Process(|s, out| out.number(&[], s.snapshot.store.dead_letters_bytes)),
    ),
    metric(
        "fairlane_dead_letters_bytes_max",
        Gauge,
        &[],
        "The limit of these bytes: over it the oldest dead letters are given up.",
        Process(|s, out| out.number(&[], s.snapshot.store.dead_letters_bytes_max)),
    ),
    metric(
        "fairlane_dead_letters_evicted",
        Counter,
        &[],
        "Dead letters given up for want of room, since ever. Alert when it grows.",
        Process(|s, out| out.number(&[], s.snapshot.store.dead_letters_evicted)),
    ),
    metric(
        "fairlane_dead_letters_redelivered",
        Counter,
        &[],
        "Dead letters that were delivered in the end, since ever.",
        Process(|s, out| out.number(&[], s.snapshot.store.dead_letters_redelivered)),
    ),
    // The lanes.
    metric(
        "fairlane_lanes_idle",
        Gauge,
        &[],
        "Lanes without any event yet: not shown one by one.",
        Process(|s, out| out.number(&[], s.lanes_idle)),
    ),
    metric(
        "fairlane_lanes_omitted",
        Gauge,
        &[],
        "Lanes left out of this scrape because there are too many.",
        Process(|s, out| out.number(&[], s.lanes_omitted)),
    ),
    metric(
        "fairlane_lane_state",
        Gauge,
        &["state", "reason"],
        "Always 1; the labels tell the lane's state: active, throttled, open, half_open, held, \
         disabled; and of a held one, why: auth, gone, configuration, tls, no_such_host, egress, \
         definition, operator.",
        Lane(|lane, out| {
            let reason = match lane.state {
                LaneState::Held { reason } => reason.as_str(),
                _ => "",
            };
            out.number(&[lane.state.as_str(), reason], 1)
        }),
    ),
    metric(
        "fairlane_lane_state_since_seconds",
        Gauge,
        &[],
        "Since when the lane is in its state, in seconds since 1970.",
        Lane(|lane, out| out.seconds(&[], lane.state_since.0)),
    ),
    metric(
        "fairlane_lane_accepted",
        Counter,
        &[],
        "Events of the lane's source since the lane began.",
        Lane(|lane, out| out.number(&[], lane.accepted)),
    ),
    metric(
        "fairlane_lane_delivered",
        Counter,
        &[],
        "Jobs delivered since the lane began.",
        Lane(|lane, out| out.number(&[], lane.counts.delivered)),
    ),
    metric(
        "fairlane_lane_rejected",
        Counter,
        &[],
        "Jobs refused for good since the lane began: dead letters.",
        Lane(|lane, out| out.number(&[], lane.counts.rejected)),
    ),
    metric(
        "fairlane_lane_expired",
        Counter,
        &[],
        "Jobs retried until their limit since the lane began: dead letters.",
        Lane(|lane, out| out.number(&[], lane.counts.expired)),
    ),
    metric(
        "fairlane_lane_filtered",
        Counter,
        &["reason"],
        "Jobs not meant for the connection since the lane began: filter, integrations, \
         event_type, destination, transform.",
        Lane(|lane, out| {
            let mut counts = FilterReason::ALL.into_iter().zip(lane.counts.filtered);
            counts.try_for_each(|(reason, count)| out.number(&[reason.as_str()], count))
        }),
    ),
    metric(
        "fairlane_lane_pending",
        Gauge,
        &[],
        "Jobs that have not ended.",
        Lane(|lane, out| out.number(&[], lane.pending)),
    ),
    metric(
        "fairlane_lane_retrying",
        Gauge,
        &[],
        "Jobs that failed and wait for another attempt.",
        Lane(|lane, out| out.number(&[], lane.retrying)),
    ),
    metric(
        "fairlane_lane_in_flight",
        Gauge,
        &[],
        "Attempts under way.",
        Lane(|lane, out| out.number(&[], lane.in_flight)),
    ),
    metric(
        "fairlane_lane_concurrency_limit",
        Gauge,
        &[],
        "Requests at once that the destination is found to bear.",
        Lane(|lane, out| out.number(&[], lane.concurrency_limit)),
    ),
    metric(
        "fairlane_lane_rate_limit_per_second",
        Gauge,
        &[],
        "Attempts a second that the lane may make. Absent where there is no limit.",
        Lane(|lane, out| match lane.rate_limit_per_s {
            Some(rate) => out.float(&[], rate),
            None => Ok(()),
        }),
    ),
    metric(
        "fairlane_lane_ordered",
        Gauge,
        &[],
        "1 where events of one key go in order, else 0.",
        Lane(|lane, out| out.number(&[], u64::from(lane.ordered))),
    ),
    metric(
        "fairlane_lane_next_attempt_seconds",
        Gauge,
        &[],
        "When a lane that waits will try next, in seconds since 1970. Absent where it does not \
         wait for a time.",
        Lane(|lane, out| match lane.next_attempt_at {
            Some(at) => out.seconds(&[], at.0),
            None => Ok(()),
        }),
    ),
    metric(
        "fairlane_lane_oldest_unsettled_offset",
        Gauge,
        &[],
        "Offset of the oldest event that has not ended. Absent where none is pending.",
        Lane(|lane, out| match lane.oldest_unsettled {
            Some(offset) => out.number(&[], offset.0),
            None => Ok(()),
        }),
    ),
    metric(
        "fairlane_lane_backlog_age_seconds",
        Gauge,
        &[],
        "Age of the oldest job that has not ended; 0 where none is pending.",
        Lane(|lane, out| out.seconds(&[], lane.backlog_age_ms)),
    ),
    metric(
        "fairlane_lane_latency_seconds",
        Histogram,
        &[],
        "From receipt to delivery.",
        Lane(|lane, out| {
            let (buckets, sum) = (&lane.latency_ms_buckets, lane.latency_ms_sum);
            out.histogram(&LATENCY_BUCKETS_MS, buckets, sum, 1e3)
        }),
    ),
    metric(
        "fairlane_lane_attempts",
        Counter,
        &["result"],
        "Attempts by status code, or by what went wrong where there was no answer.",
        Lane(|lane, out| {
            lane.attempts
                .iter()
                .try_for_each(|(result, count)| out.number(&[result], *count))
        }),
    ),
];
