//! The process ends, well or badly, and begins again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::{HoldReason, LaneState};
use serde_json::json;

use super::world::{Receiver, Reply, World};

#[test]
fn a_shutdown_repeats_nothing() {
    let mut world = World::new();
    let receiver = Receiver::ok();
    world.hook("steady", &receiver);
    let delivery = world.start();
    world.append(0..200);
    world.shutdown(delivery);
    let sent = receiver.got().len();
    assert_eq!(receiver.ids().len(), sent);
    world.append(200..250);
    let delivery = world.start();
    let lane = world.settle(&delivery, "steady");
    assert_eq!((lane.accepted, lane.counts.delivered), (250, 250));
    assert_eq!(receiver.got().len(), 250, "nothing twice");
    world.check_balance(&delivery);
    world.shutdown(delivery);
}

#[test]
fn a_crash_loses_nothing() {
    let mut world = World::new();
    let receiver = Receiver::ok();
    world.hook("steady", &receiver);
    for round in 0..5 {
        let delivery = world.start();
        world.append(round * 100..round * 100 + 100);
        world.wait(&delivery, "steady", |lane| lane.counts.delivered > 0);
        // No drain, no last commit.
        drop(delivery);
    }
    let delivery = world.start();
    let lane = world.settle(&delivery, "steady");
    assert_eq!((lane.accepted, lane.counts.delivered), (500, 500));
    assert_eq!(receiver.ids().len(), 500);
    world.check_balance(&delivery);
    world.shutdown(delivery);
}

#[test]
fn parked_jobs_and_holds_are_remembered() {
    let mut world = World::new();
    let up = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&up);
    let receiver = Receiver::start(move |_, _| {
        Reply::Status(if flag.load(Ordering::SeqCst) {
            200
        } else {
            503
        })
    });
    world.hook("down", &receiver);
    let other = Receiver::ok();
    world.hook("held", &other);
    let delivery = world.start();
    world.block_on(delivery.hold("held")).unwrap();
    world.append(0..10);
    world.wait(&delivery, "down", |lane| lane.retrying > 0);
    let before = world.lane(&delivery, "held");
    world.shutdown(delivery);
    let delivery = world.start();
    let held = LaneState::Held {
        reason: HoldReason::Operator,
    };
    let after = world.wait(&delivery, "held", |lane| {
        lane.state == held && lane.pending == 10
    });
    assert!(after.cause.is_some());
    assert_eq!(
        (after.cause, after.state_since),
        (before.cause, before.state_since)
    );
    assert_eq!(world.lane(&delivery, "down").pending, 10);
    up.store(true, Ordering::SeqCst);
    world.block_on(delivery.resume("held")).unwrap();
    world.block_on(delivery.resume("down")).unwrap();
    assert_eq!(world.settle(&delivery, "down").counts.delivered, 10);
    assert_eq!(world.settle(&delivery, "held").counts.delivered, 10);
    world.shutdown(delivery);
}

#[test]
fn many_idle_lanes_begin_quickly_and_small() {
    let mut world = World::new();
    for number in 0..2_000 {
        world.connect(&format!("c{number}"), "hole", json!({}));
    }
    let began = std::time::Instant::now();
    let delivery = world.start();
    world.append(0..1);
    let lane = world.settle(&delivery, "c1999");
    assert_eq!(lane.counts.delivered, 1);
    println!("2,000 lanes began in {:?}", began.elapsed());
    world.shutdown(delivery);
}

/// The log's segment files, oldest first.
fn segments(log: &Path) -> Vec<PathBuf> {
    let files = std::fs::read_dir(log).unwrap();
    let mut found: Vec<_> = files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "seg"))
        .collect();
    found.sort();
    found
}

/// A log of several segments with one connection, and what was appended.
fn many_segments(receiver: &Receiver) -> World {
    let mut world = World::with_log(|options| options.segment_bytes_max = 512 << 10);
    world.hook("steady", receiver);
    world
}

fn append_large(world: &World, ids: std::ops::Range<usize>) {
    for id in ids {
        let padding = json!({"padding": "x".repeat(30_000)});
        world.append_with(id..id + 1, padding, eventlog::RecordFlags::NONE);
    }
}

#[test]
fn events_of_a_lost_segment_are_told_and_the_counts_balance() {
    let receiver = Receiver::ok();
    let world = many_segments(&receiver);
    let delivery = world.start();
    world.block_on(delivery.hold("steady")).unwrap();
    append_large(&world, 0..60);
    world.shutdown(delivery);
    let world = world.reopen_log(|log| {
        let lost = segments(log).remove(1);
        std::fs::remove_file(lost.with_extension("idx")).ok();
        std::fs::remove_file(lost).unwrap();
    });
    let delivery = world.start();
    world.block_on(delivery.resume("steady")).unwrap();
    let lane = world.settle(&delivery, "steady");
    let delivered = receiver.ids().len() as u64;
    assert!((20..60).contains(&delivered), "{delivered}");
    assert_eq!((lane.accepted, lane.counts.delivered), (60, delivered));
    assert_eq!(lane.counts.expired, 60 - delivered);
    let told = lane.last_error.unwrap();
    assert!(told.contains("damaged or missing"), "{told}");
    // The same again at the next start: nothing is counted twice.
    world.shutdown(delivery);
    let world = world.reopen_log(|_| {});
    let delivery = world.start();
    append_large(&world, 60..61);
    let lane = world.wait(&delivery, "steady", |lane| {
        lane.counts.delivered > delivered
    });
    assert_eq!((lane.accepted, lane.pending), (61, 0));
    assert_eq!(lane.counts.expired, 60 - delivered);
    world.check_balance(&delivery);
    world.shutdown(delivery);
}

#[test]
fn the_newest_segment_may_be_lost_after_its_events_were_settled() {
    let receiver = Receiver::ok();
    let world = many_segments(&receiver);
    let delivery = world.start();
    append_large(&world, 0..40);
    world.wait(&delivery, "steady", |lane| lane.counts.delivered == 40);
    world.shutdown(delivery);
    let world = world.reopen_log(|log| {
        let lost = segments(log).pop().unwrap();
        std::fs::remove_file(lost).unwrap();
    });
    let delivery = world.start();
    let lane = world.lane(&delivery, "steady");
    assert_eq!((lane.accepted, lane.pending), (40, 0));
    append_large(&world, 40..45);
    let lane = world.wait(&delivery, "steady", |lane| lane.counts.delivered == 45);
    assert_eq!((lane.accepted, lane.counts.expired), (45, 0));
    world.check_balance(&delivery);
    world.shutdown(delivery);
}

#[test]
fn an_ended_shard_is_seen() {
    let world = World::new();
    let delivery = world.start();
    let soon = std::time::Duration::from_millis(20);
    let failed = async || tokio::time::timeout(soon, delivery.failed()).await.is_ok();
    assert!(!world.block_on(failed()));
    // A fault would end them, too; but there is none to be had.
    world.shutdown(delivery.clone());
    assert!(world.block_on(failed()));
}
