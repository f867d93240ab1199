//! What a scrape shows, and that the documentation lists all of it.

use std::collections::HashSet;

use expect_test::{expect, expect_file};
use model::{HoldReason, UnixMillis};

use super::*;
use crate::control::HistogramSnapshot;
use crate::routes::fixture::lane;

#[test]
fn the_reference_is_the_table() {
    expect_file!["../../../../docs/reference/metrics.md"].assert_eq(&reference());
}

#[test]
fn names_are_unique_and_well_formed() {
    let mut seen = HashSet::new();
    for metric in TABLE {
        assert!(seen.insert(metric.name), "{} is there twice", metric.name);
        assert!(metric.name.starts_with("fairlane_") && !metric.name.ends_with("_total"));
        assert!(metric.help.ends_with('.'), "{}", metric.name);
    }
}

fn busy_lane() -> LaneStatus {
    let mut lane = lane(1, "web:crm");
    lane.accepted = 9;
    lane.counts.delivered = 4;
    lane.counts.filtered[2] = 1;
    lane.pending = 4;
    lane.backlog_age_ms = 2_500;
    lane.state = LaneState::Held {
        reason: HoldReason::Auth,
    };
    lane.latency_ms_buckets = vec![0; LATENCY_BUCKETS];
    lane.latency_ms_buckets[4] = 3;
    lane.latency_ms_buckets[LATENCY_BUCKETS - 1] = 1;
    lane.latency_ms_sum = 20_000_021;
    lane.attempts = vec![("200".to_owned(), 4), ("connect \"x\"\n".to_owned(), 2)];
    lane
}

const LATENCY_BUCKETS: usize = model::lane::LATENCY_BUCKETS_MS.len() + 1;

#[test]
fn a_scrape_shows_what_the_snapshot_says() {
    let mut snapshot = MetricsSnapshot {
        version: "0.1.0".to_owned(),
        started_at: UnixMillis(1_700_000_000_500),
        ready: true,
        lanes: vec![busy_lane(), lane(2, "web:idle")],
        ..MetricsSnapshot::default()
    };
    snapshot.ingest.requests = vec![("batch".to_owned(), 200, 3), ("batch".to_owned(), 429, 1)];
    snapshot.ingest.ack_latency_us = HistogramSnapshot {
        bounds: vec![500, 1_000],
        counts: vec![1, 2, 1],
        sum: 4_000,
    };
    let text = expose(snapshot, 10);
    let samples: Vec<&str> = text
        .lines()
        .filter(|line| !line.starts_with("# HELP") && !line.ends_with(" 0"))
        .collect();
    expect![[r##"
        # TYPE fairlane_build_info gauge
        fairlane_build_info{version="0.1.0"} 1
        # TYPE fairlane_start_time_seconds gauge
        fairlane_start_time_seconds 1700000000.5
        # TYPE fairlane_ready gauge
        fairlane_ready 1
        # TYPE fairlane_reload_failed gauge
        # TYPE fairlane_resident_memory_bytes gauge
        # TYPE fairlane_open_files gauge
        # TYPE fairlane_ingest_requests counter
        fairlane_ingest_requests_total{endpoint="batch",status="200"} 3
        fairlane_ingest_requests_total{endpoint="batch",status="429"} 1
        # TYPE fairlane_ingest_accepted counter
        # TYPE fairlane_ingest_duplicates counter
        # TYPE fairlane_ingest_discarded counter
        # TYPE fairlane_ingest_connections gauge
        # TYPE fairlane_ingest_connections_closed counter
        # TYPE fairlane_ingest_bytes counter
        # TYPE fairlane_ingest_ack_latency_seconds histogram
        fairlane_ingest_ack_latency_seconds_sum 0.004
        fairlane_ingest_ack_latency_seconds_count 4
        fairlane_ingest_ack_latency_seconds_bucket{le="0.0005"} 1
        fairlane_ingest_ack_latency_seconds_bucket{le="0.001"} 3
        fairlane_ingest_ack_latency_seconds_bucket{le="+Inf"} 4
        # TYPE fairlane_log_end_offset gauge
        # TYPE fairlane_log_first_offset gauge
        # TYPE fairlane_log_segments gauge
        # TYPE fairlane_log_bytes gauge
        # TYPE fairlane_log_free_bytes gauge
        # TYPE fairlane_log_torn_bytes counter
        # TYPE fairlane_log_damaged_records gauge
        # TYPE fairlane_log_commits counter
        # TYPE fairlane_log_commit_latency_seconds histogram
        # TYPE fairlane_store_bytes gauge
        # TYPE fairlane_dead_letters gauge
        # TYPE fairlane_dead_letters_queued gauge
        # TYPE fairlane_dead_letters_bytes gauge
        # TYPE fairlane_dead_letters_bytes_max gauge
        # TYPE fairlane_dead_letters_evicted counter
        # TYPE fairlane_dead_letters_redelivered counter
        # TYPE fairlane_lanes_idle gauge
        fairlane_lanes_idle 1
        # TYPE fairlane_lanes_omitted gauge
        # TYPE fairlane_lane_state gauge
        fairlane_lane_state{connection="web:crm",source="web",destination="crm",state="held",reason="auth"} 1
        # TYPE fairlane_lane_state_since_seconds gauge
        fairlane_lane_state_since_seconds{connection="web:crm",source="web",destination="crm"} 1.0
        # TYPE fairlane_lane_accepted counter
        fairlane_lane_accepted_total{connection="web:crm",source="web",destination="crm"} 9
        # TYPE fairlane_lane_delivered counter
        fairlane_lane_delivered_total{connection="web:crm",source="web",destination="crm"} 4
        # TYPE fairlane_lane_rejected counter
        # TYPE fairlane_lane_expired counter
        # TYPE fairlane_lane_filtered counter
        fairlane_lane_filtered_total{connection="web:crm",source="web",destination="crm",reason="event_type"} 1
        # TYPE fairlane_lane_pending gauge
        fairlane_lane_pending{connection="web:crm",source="web",destination="crm"} 4
        # TYPE fairlane_lane_retrying gauge
        # TYPE fairlane_lane_in_flight gauge
        # TYPE fairlane_lane_concurrency_limit gauge
        fairlane_lane_concurrency_limit{connection="web:crm",source="web",destination="crm"} 4
        # TYPE fairlane_lane_rate_limit_per_second gauge
        # TYPE fairlane_lane_ordered gauge
        # TYPE fairlane_lane_next_attempt_seconds gauge
        # TYPE fairlane_lane_oldest_unsettled_offset gauge
        # TYPE fairlane_lane_backlog_age_seconds gauge
        fairlane_lane_backlog_age_seconds{connection="web:crm",source="web",destination="crm"} 2.5
        # TYPE fairlane_lane_latency_seconds histogram
        fairlane_lane_latency_seconds_sum{connection="web:crm",source="web",destination="crm"} 20000.021
        fairlane_lane_latency_seconds_count{connection="web:crm",source="web",destination="crm"} 4
        fairlane_lane_latency_seconds_bucket{le="0.008",connection="web:crm",source="web",destination="crm"} 3
        fairlane_lane_latency_seconds_bucket{le="0.012",connection="web:crm",source="web",destination="crm"} 3
        fairlane_lane_latency_seconds_bucket{le="0.02",connection="web:crm",source="web",destination="crm"} 3
        fairlane_lane_latency_seconds_bucket{le="0.03",connection="web:crm",source="web",destination="crm"} 3
        fairlane_lane_latency_seconds_bucket{le="0.05",connection="web:crm",source="web",destination="crm"} 3
        fairlane_lane_latency_seconds_bucket{le="0.08",connection="web:crm",source="web",destination="crm"} 3
        fairlane_lane_latency_seconds_bucket{le="0.15",connection="web:crm",source="web",destination="crm"} 3
        fairlane_lane_latency_seconds_bucket{le="0.3",connection="web:crm",source="web",destination="crm"} 3
        fairlane_lane_latency_seconds_bucket{le="0.6",connection="web:crm",source="web",destination="crm"} 3
        fairlane_lane_latency_seconds_bucket{le="1.0",connection="web:crm",source="web",destination="crm"} 3
        fairlane_lane_latency_seconds_bucket{le="3.0",connection="web:crm",source="web",destination="crm"} 3
        fairlane_lane_latency_seconds_bucket{le="10.0",connection="web:crm",source="web",destination="crm"} 3
        fairlane_lane_latency_seconds_bucket{le="60.0",connection="web:crm",source="web",destination="crm"} 3
        fairlane_lane_latency_seconds_bucket{le="300.0",connection="web:crm",source="web",destination="crm"} 3
        fairlane_lane_latency_seconds_bucket{le="1800.0",connection="web:crm",source="web",destination="crm"} 3
        fairlane_lane_latency_seconds_bucket{le="14400.0",connection="web:crm",source="web",destination="crm"} 3
        fairlane_lane_latency_seconds_bucket{le="+Inf",connection="web:crm",source="web",destination="crm"} 4
        # TYPE fairlane_lane_attempts counter
        fairlane_lane_attempts_total{connection="web:crm",source="web",destination="crm",result="200"} 4
        fairlane_lane_attempts_total{connection="web:crm",source="web",destination="crm",result="connect \"x\"\n"} 2
        # EOF"##]].assert_eq(&samples.join("\n"));
}

#[test]
fn too_many_lanes_are_counted_and_those_in_trouble_kept() {
    let mut lanes: Vec<LaneStatus> = (0..8).map(|id| lane(id, &format!("web:{id}"))).collect();
    for lane in lanes.iter_mut().skip(2) {
        lane.accepted = 1;
    }
    lanes[7].state = LaneState::Open;
    let snapshot = MetricsSnapshot {
        lanes,
        ..MetricsSnapshot::default()
    };
    let scrape = Scrape::new(snapshot, 3);
    assert_eq!((scrape.lanes_idle, scrape.lanes_omitted), (2, 3));
    let kept: Vec<u32> = scrape
        .snapshot
        .lanes
        .iter()
        .map(|lane| lane.lane.0)
        .collect();
    assert_eq!(kept, [7, 2, 3]);
}

#[test]
fn a_hundred_thousand_lanes_are_a_bounded_scrape() {
    let mut lanes: Vec<LaneStatus> = Vec::new();
    for id in 0..100_000 {
        lanes.push(LaneStatus {
            lane: model::LaneId(id),
            ..busy_lane()
        });
    }
    let shown = 100;
    let text = expose(
        MetricsSnapshot {
            lanes,
            ..MetricsSnapshot::default()
        },
        shown,
    );
    assert!(text.contains("fairlane_lanes_omitted 99900"));
    assert!(text.len() < shown * 8_192 + 32_768, "{} bytes", text.len());
}
