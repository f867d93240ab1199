//! How jobs end, whatever the receiver does.

use std::collections::BTreeMap;
use std::sync::Arc;

use eventlog::RecordFlags;
use model::{FilterReason, HoldReason, LaneState, Policy};
use serde_json::json;

use super::world::{Receiver, Reply, World, wait_for};
use crate::{EgressPolicy, Options};

#[test]
fn every_event_reaches_every_connection_once() {
    let mut world = World::new();
    let (a, b) = (Receiver::ok(), Receiver::ok());
    world.hook("a", &a);
    world.hook("b", &b);
    let delivery = world.start();
    for round in 0..10 {
        world.append(round * 50..round * 50 + 50);
    }
    for (name, receiver) in [("a", &a), ("b", &b)] {
        let lane = world.settle(&delivery, name);
        assert_eq!((lane.accepted, lane.counts.delivered), (500, 500));
        assert_eq!(receiver.got().len(), 500);
        assert_eq!(receiver.ids().len(), 500);
        assert_eq!(lane.latency_ms_buckets.iter().sum::<u64>(), 500);
        assert_eq!(lane.attempts, [("200".to_owned(), 500)]);
    }
    world.check_balance(&delivery);
    world.shutdown(delivery);
}

#[test]
fn a_hanging_neighbour_delays_nobody() {
    let mut world = World::new();
    let (hang, good) = (Receiver::start(|_, _| Reply::Hang), Receiver::ok());
    world.hook("hang", &hang);
    world.hook("good", &good);
    let delivery = world.start();
    world.append(0..300);
    let lane = world.settle(&delivery, "good");
    assert_eq!(lane.counts.delivered, 300);
    let stuck = world.lane(&delivery, "hang");
    assert_eq!((stuck.counts.settled(), stuck.pending), (0, 300));
    assert!(stuck.in_flight > 0 && stuck.backlog_age_ms < 60_000);
    world.check_balance(&delivery);
    world.block_on(delivery.shutdown(std::time::Duration::from_millis(50)));
}

#[test]
fn failures_are_retried_with_the_same_id() {
    let mut world = World::new();
    // Each id fails once, one half with 503 and one half without any answer.
    let receiver = Receiver::start({
        let seen = std::sync::Mutex::new(BTreeMap::<String, usize>::new());
        move |got, _| {
            let mut seen = seen.lock().unwrap();
            let count = seen.entry(got.message_id().to_owned()).or_default();
            *count += 1;
            match (
                *count,
                got.message_id().ends_with(['1', '3', '5', '7', '9']),
            ) {
                (1, true) => Reply::Status(503),
                (1, false) => Reply::Close,
                _ => Reply::Status(200),
            }
        }
    });
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    world.connect(
        "flaky",
        "hook",
        json!({"url": receiver.url(), "secret": secret}),
    );
    let delivery = world.start();
    world.append(0..20);
    let lane = world.settle(&delivery, "flaky");
    assert_eq!(lane.counts.delivered, 20);
    let mut headers = BTreeMap::<String, Vec<String>>::new();
    for got in receiver.got() {
        let id = got.headers["webhook-id"].clone();
        assert_eq!(id, got.message_id());
        headers
            .entry(id)
            .or_default()
            .push(got.headers["webhook-signature"].clone());
    }
    assert_eq!(headers.len(), 20);
    let duplicates = receiver.got().len() - 20 - count(&lane.attempts, "503");
    let indeterminate = usize::try_from(world.block_on(delivery.balance()).indeterminate).unwrap();
    assert_eq!(duplicates, indeterminate, "{:?}", lane.attempts);
    world.check_balance(&delivery);
    world.shutdown(delivery);
}

fn count(attempts: &[(String, u64)], result: &str) -> usize {
    let found = attempts.iter().find(|(one, _)| one == result);
    usize::try_from(found.map_or(0, |(_, count)| *count)).unwrap()
}

#[test]
fn what_is_not_meant_is_filtered() {
    let mut world = World::new();
    let receiver = Receiver::ok();
    world.hook("filter", &receiver).filter = Some(".plan == \"pro\"".to_owned());
    world.hook("all", &receiver);
    let delivery = world.start();
    world.append_with(0..5, json!({"plan": "pro"}), RecordFlags::NONE);
    world.append_with(5..12, json!({"plan": "free"}), RecordFlags::NONE);
    let off = json!({"plan": "pro", "integrations": {"all": true, "filter": false}});
    world.append_with(12..15, off, RecordFlags::HAS_INTEGRATIONS);
    let lane = world.settle(&delivery, "filter");
    assert_eq!(lane.counts.delivered, 5);
    assert_eq!(lane.counts.filtered[FilterReason::Filter.index()], 7);
    assert_eq!(lane.counts.filtered[FilterReason::Integrations.index()], 3);
    assert_eq!(world.settle(&delivery, "all").counts.delivered, 15);
    world.check_balance(&delivery);
    world.shutdown(delivery);
}

#[test]
fn the_blackhole_swallows_at_once() {
    let mut world = World::new();
    world.connect("hole", "hole", json!({}));
    let delivery = world.start();
    world.append(0..2_000);
    assert_eq!(world.settle(&delivery, "hole").counts.delivered, 2_000);
    world.check_balance(&delivery);
    world.shutdown(delivery);
}

#[test]
fn batches_hold_many_events_and_are_split_when_refused() {
    let mut world = World::new();
    // Refuses every batch that holds m7.
    let receiver = Receiver::start(|got, _| {
        let entries = got.body.as_array().cloned().unwrap_or_default();
        let bad = entries.iter().any(|entry| entry["messageId"] == "m7");
        Reply::Status(if bad { 400 } else { 200 })
    });
    world.connect("batchy", "batchy", json!({"url": receiver.url()}));
    let delivery = world.start();
    world.append(0..40);
    let lane = world.settle(&delivery, "batchy");
    assert_eq!(
        (lane.counts.delivered, lane.counts.rejected),
        (39, 1),
        "{lane:#?}"
    );
    assert!(
        receiver.got().len() < 20,
        "{} requests",
        receiver.got().len()
    );
    world.check_balance(&delivery);
    world.shutdown(delivery);
}

/// The first group of the batch takes all its time: of the others nothing is sent, and they come again.
#[test]
fn groups_for_which_no_time_is_left_are_not_half_sent() {
    let mut world = World::new();
    let receiver = Receiver::start(|got, _| match got.body[0]["userId"] == "a" {
        true => Reply::Hang,
        false => Reply::Status(200),
    });
    let connection = world.connect("batchy", "batchy", json!({"url": receiver.url()}));
    connection.policy = Arc::new(Policy {
        attempt_timeout_ms: Some(1_000),
        ..Policy::default()
    });
    let delivery = world.start();
    world.block_on(delivery.hold("batchy")).unwrap();
    for (event, user) in ["a", "b", "c"].into_iter().enumerate() {
        world.append_with(event..event + 1, json!({"userId": user}), RecordFlags::NONE);
    }
    world.block_on(delivery.resume("batchy")).unwrap();
    world.wait(&delivery, "batchy", |lane| lane.counts.delivered == 2);
    let sent = receiver.got();
    let of = |user: &str| {
        sent.iter()
            .filter(|got| got.body[0]["userId"] == user)
            .count()
    };
    assert_eq!((of("b"), of("c")), (1, 1));
    world.shutdown(delivery);
}

#[test]
fn what_a_service_does_not_want_keeps_no_other_request_from_it() {
    let mut world = World::new();
    let receiver = Receiver::start(|got, before| {
        let unwanted = got.body["n"] == 1 || before > 2;
        Reply::Status(if unwanted { 409 } else { 200 })
    });
    world.connect("pair", "pair", json!({"url": receiver.url()}));
    let delivery = world.start();
    for (event, delivered, filtered) in [(0, 1, 0), (1, 1, 1)] {
        world.append(event..event + 1);
        let counts = world.settle(&delivery, "pair").counts;
        let unwanted: u64 = counts.filtered.iter().sum();
        assert_eq!((counts.delivered, unwanted), (delivered, filtered));
        assert_eq!(receiver.got().len(), 2 * (event + 1));
    }
    world.check_balance(&delivery);
    world.shutdown(delivery);
}

#[test]
fn a_forbidden_address_holds_the_lane_and_is_never_dialled() {
    let mut world = World::new();
    let receiver = Receiver::ok();
    world.hook("inside", &receiver);
    let delivery = world.start_with(Options {
        egress: EgressPolicy::default(),
        ..World::options()
    });
    world.append(0..3);
    let lane = world.wait(&delivery, "inside", |lane| {
        lane.state
            == LaneState::Held {
                reason: HoldReason::Egress,
            }
    });
    assert_eq!(lane.pending, 3);
    let error = lane.last_error.unwrap();
    assert!(
        error.contains("127.0.0.1") && error.contains("egress_allow"),
        "{error}"
    );
    assert_eq!(receiver.got().len(), 0);
    world.shutdown(delivery);
}

#[test]
fn samples_show_no_secret() {
    let mut world = World::new();
    let receiver = Receiver::start(|_, _| Reply::Status(500));
    let url = format!("{}?token=hidden", receiver.url());
    world.connect("sampled", "hook", json!({"url": url}));
    let delivery = world.start();
    world.append(0..1);
    let lane = world
        .wait(&delivery, "sampled", |lane| lane.retrying == 1)
        .lane;
    wait_for(|| !world.store.samples(lane).unwrap().is_empty());
    let sample = world.store.samples(lane).unwrap().remove(0);
    assert_eq!(
        (sample.status, sample.result.as_str(), sample.attempt),
        (Some(500), "500", 1)
    );
    assert_eq!(&sample.response[..], b"said");
    assert!(
        !sample.request_line.contains("hidden"),
        "{}",
        sample.request_line
    );
    world.shutdown(delivery);
}

/// Its attempts wait for their turn one behind the other: whatever comes between, none is lost or
/// forgotten with its slot.
#[test]
fn a_lane_with_slow_programs_gives_way_and_loses_nothing() {
    let mut world = World::new();
    let (slow, quick) = (Receiver::ok(), Receiver::ok());
    let burn = format!(
        "for_each(split(\"{}\", \",\")) -> |_i, v| {{ sha512(v + \"{}\") }}\ntrue",
        "a,".repeat(2_000),
        "b".repeat(2_000)
    );
    world.hook("slow", &slow).filter = Some(burn);
    world.hook("quick", &quick);
    let delivery = world.start();
    world.append(0..40);
    world.wait(&delivery, "slow", |lane| lane.counts.delivered >= 16);
    assert_eq!(world.settle(&delivery, "quick").counts.delivered, 40);
    // What waits is given up, and comes again.
    world.block_on(delivery.hold("slow")).unwrap();
    world.wait(&delivery, "slow", |lane| lane.in_flight == 0);
    world.check_balance(&delivery);
    world.block_on(delivery.resume("slow")).unwrap();
    let before = world.lane(&delivery, "slow").counts.delivered;
    world.wait(&delivery, "slow", |lane| lane.counts.delivered > before);
    // So it is at an end, and with another program nobody waits.
    world.shutdown(delivery);
    let delivery = world.start();
    world.wait(&delivery, "slow", |lane| lane.in_flight > 0);
    world.connection(0).filter = Some("true".to_owned());
    world.apply(&delivery);
    assert_eq!(world.settle(&delivery, "slow").counts.delivered, 40);
    assert_eq!(slow.ids().len(), 40);
    world.check_balance(&delivery);
    world.shutdown(delivery);
}
