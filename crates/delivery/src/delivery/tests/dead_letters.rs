//! Dead letters, and what brings them back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use model::{HoldReason, LaneState, Offset, RejectReason};
use store::{DeadLetterFilter, DeadLetterSelection, ReplayTerms};

use super::world::{Receiver, Reply, World, wait_for};
use crate::Delivery;

/// A receiver that refuses odd ids until it is healed.
fn moody() -> (Receiver, Arc<AtomicBool>) {
    let healed = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&healed);
    let receiver = Receiver::start(move |got, _| {
        let odd = got.message_id().ends_with(['1', '3', '5', '7', '9']);
        Reply::Status(if odd && !flag.load(Ordering::SeqCst) {
            400
        } else {
            200
        })
    });
    (receiver, healed)
}

#[test]
fn refused_events_become_dead_letters_and_can_be_redelivered() {
    let mut world = World::new();
    let (receiver, healed) = moody();
    world.hook("moody", &receiver);
    let delivery = world.start();
    world.append(0..20);
    let lane = world.settle(&delivery, "moody");
    assert_eq!((lane.counts.delivered, lane.counts.rejected), (10, 10));
    let all = DeadLetterFilter::default();
    wait_for(|| world.store.dead_letters(&all).unwrap().len() == 10);
    let letters = world.store.dead_letters(&all).unwrap();
    let letter = world
        .store
        .dead_letter(letters[0].id)
        .unwrap()
        .unwrap()
        .letter;
    assert_eq!(
        (letter.reason, letter.answer.status),
        (RejectReason::Refused, Some(400))
    );
    assert_eq!(letter.answer.response.as_deref(), Some(&b"said"[..]));
    assert_eq!(letter.attempts, 1);
    assert!(String::from_utf8_lossy(&letter.event).contains(&letter.message_id));

    // Not yet healed: they come back.
    let everything = DeadLetterSelection::Filter(DeadLetterFilter {
        limit: usize::MAX,
        ..Default::default()
    });
    let queued = world
        .block_on(delivery.redeliver(everything.clone()))
        .unwrap();
    assert_eq!(queued.iter().map(|(_, count)| count).sum::<u64>(), 10);
    wait_for(|| {
        let letters = world.store.dead_letters(&all).unwrap();
        letters.len() == 10 && letters.iter().all(|letter| letter.redeliveries == 1)
    });
    healed.store(true, Ordering::SeqCst);
    let queued = world.block_on(delivery.redeliver(everything)).unwrap();
    assert_eq!(queued.iter().map(|(_, count)| count).sum::<u64>(), 10);
    wait_for(|| world.store.dead_letters(&all).unwrap().is_empty());
    assert_eq!(receiver.ids().len(), 20);
    assert_eq!(receiver.got().len(), 40);
    world.check_balance(&delivery);
    world.shutdown(delivery);
}

#[test]
fn a_redelivery_that_is_held_tells_what_waits_also_after_a_restart() {
    let mut world = World::new();
    let (receiver, _) = moody();
    world.hook("moody", &receiver);
    let delivery = world.start();
    world.append(0..20);
    world.settle(&delivery, "moody");
    world.block_on(delivery.hold("moody")).unwrap();
    let everything = DeadLetterSelection::Filter(DeadLetterFilter {
        limit: usize::MAX,
        ..Default::default()
    });
    world.block_on(delivery.redeliver(everything)).unwrap();
    let waits = |world: &World, delivery: &Delivery| {
        let lane = world.block_on(delivery.lane("moody (redelivery)"));
        lane.is_some_and(|lane| (lane.pending, lane.accepted) == (10, 10))
    };
    wait_for(|| waits(&world, &delivery));
    world.shutdown(delivery);
    let delivery = world.start();
    wait_for(|| waits(&world, &delivery));
    world.block_on(delivery.resume("moody")).unwrap();
    wait_for(|| {
        world
            .block_on(delivery.lane("moody (redelivery)"))
            .is_none()
    });
    world.check_balance(&delivery);
    world.shutdown(delivery);
}

#[test]
fn a_replay_delivers_exactly_its_range_again() {
    let mut world = World::new();
    let receiver = Receiver::ok();
    world.hook("again", &receiver);
    let delivery = world.start();
    let first = world.append(0..30);
    world.settle(&delivery, "again");
    let (from, to) = (Offset(first.0 + 10), Offset(first.0 + 15));
    world
        .block_on(delivery.replay("again", from, to, ReplayTerms::default()))
        .unwrap();
    wait_for(|| receiver.got().len() == 35);
    let again: Vec<_> = receiver.got()[30..]
        .iter()
        .map(|got| got.message_id().to_owned())
        .collect();
    for id in 10..15 {
        assert!(again.contains(&format!("m{id}")), "{again:?}");
    }
    let finished = || {
        world
            .store
            .lanes()
            .unwrap()
            .iter()
            .filter(|lane| lane.finished)
            .count()
    };
    wait_for(|| finished() == 1);
    assert!(
        world
            .block_on(delivery.replay("again", to, from, ReplayTerms::default()))
            .is_err()
    );
    assert!(
        world
            .block_on(delivery.replay("nobody", from, to, ReplayTerms::default()))
            .is_err()
    );
    world.check_balance(&delivery);
    world.shutdown(delivery);
}

#[test]
fn a_replay_is_steered_by_the_name_that_is_shown() {
    let mut world = World::new();
    let receiver = Receiver::ok();
    world.hook("again", &receiver);
    let delivery = world.start_with(crate::Options {
        replays_running_max: 2,
        ..World::options()
    });
    let first = world.append(0..20);
    world.settle(&delivery, "again");
    let slow = ReplayTerms {
        rate_limit_per_s: Some(1),
        ..ReplayTerms::default()
    };
    let to = Offset(first.0 + 20);
    let lane = world
        .block_on(delivery.replay("again", first, to, slow))
        .unwrap();
    let lanes = world.block_on(delivery.lanes());
    let shown = lanes.into_iter().find(|one| one.lane == lane);
    let name = shown.unwrap().connection;
    world.block_on(delivery.hold(&name)).unwrap();
    let held = LaneState::Held {
        reason: HoldReason::Operator,
    };
    world.wait(&delivery, &name, |lane| lane.state == held);
    assert_eq!(world.lane(&delivery, "again").state, LaneState::Active);
    world.block_on(delivery.resume(&name)).unwrap();
    assert_ne!(world.lane(&delivery, &name).state, held);
    // What is begun while its connection is held waits with it.
    world.block_on(delivery.hold("again")).unwrap();
    let replay = delivery.replay("again", first, to, ReplayTerms::default());
    let lane = world.block_on(replay).unwrap();
    let lanes = world.block_on(delivery.lanes());
    let begun = lanes.into_iter().find(|one| one.lane == lane).unwrap();
    assert_eq!((begun.state, begun.counts.delivered), (held, 0));
    // Two are running: there may be so many.
    let one_more = delivery.replay("again", first, to, ReplayTerms::default());
    let refused = world.block_on(one_more).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("2 replays are running already")
    );
    for unknown in ["again (replay 99)", "nobody (replay 1)"] {
        assert!(world.block_on(delivery.hold(unknown)).is_err());
    }
    world.shutdown(delivery);
}

#[test]
fn what_retention_removes_unsettled_is_counted_as_expired() {
    let mut world = World::with_log(|options| {
        options.segment_bytes_max = 512 << 10;
        options.retention_age_ms = 1;
    });
    let receiver = Receiver::ok();
    world.hook("late", &receiver);
    let delivery = world.start();
    world.block_on(delivery.hold("late")).unwrap();
    let padding = serde_json::json!({"padding": "x".repeat(60_000)});
    for round in 0..30 {
        world.append_with(
            round * 2..round * 2 + 2,
            padding.clone(),
            eventlog::RecordFlags::NONE,
        );
    }
    std::thread::sleep(std::time::Duration::from_millis(20));
    let trimmed = world
        .log
        .trim(Offset::ZERO, super::world::far_future())
        .unwrap();
    assert!(trimmed.segments > 0 && trimmed.unsettled, "{trimmed:?}");
    world.block_on(delivery.resume("late")).unwrap();
    let lane = world.settle(&delivery, "late");
    assert_eq!(lane.accepted, 60);
    let lost = lane.counts.expired + lane.counts.rejected;
    assert!(lost > 0 && lane.counts.delivered > 0, "{lane:#?}");
    assert_eq!(lost + lane.counts.delivered, 60);
    world.check_balance(&delivery);
    world.shutdown(delivery);
}

#[test]
fn what_retention_removes_of_a_held_lane_is_told_at_once() {
    let mut world = World::with_log(|options| {
        options.segment_bytes_max = 512 << 10;
        options.retention_age_ms = 1;
    });
    let receiver = Receiver::ok();
    world.hook("late", &receiver);
    let delivery = world.start_with(crate::Options {
        retention_interval_ms: 20,
        ..World::options()
    });
    world.block_on(delivery.hold("late")).unwrap();
    let padding = serde_json::json!({"padding": "x".repeat(60_000)});
    for id in 0..40 {
        world.append_with(id..id + 1, padding.clone(), eventlog::RecordFlags::NONE);
    }
    let lane = world.wait(&delivery, "late", |lane| lane.counts.expired > 0);
    assert!(matches!(lane.state, LaneState::Held { .. }));
    assert_eq!(lane.accepted, lane.counts.expired + lane.pending);
    assert!(lane.last_error.unwrap().contains("removed by retention"));
    // And is kept.
    world.shutdown(delivery);
    let delivery = world.start();
    let again = world.lane(&delivery, "late");
    assert_eq!(
        (again.accepted, again.pending),
        (lane.accepted, lane.pending)
    );
    world.block_on(delivery.resume("late")).unwrap();
    let lane = world.settle(&delivery, "late");
    assert_eq!(lane.accepted, lane.counts.settled());
    assert_eq!(lane.counts.delivered, receiver.ids().len() as u64);
    world.check_balance(&delivery);
    world.shutdown(delivery);
}

/// A replay's books end where its range ends, whatever retention removes beyond it.
#[test]
fn a_held_replay_loses_its_own_events_only() {
    let mut world = World::with_log(|options| {
        options.segment_bytes_max = 512 << 10;
        options.retention_age_ms = 1;
    });
    let receiver = Receiver::ok();
    world.hook("again", &receiver);
    let delivery = world.start_with(crate::Options {
        retention_interval_ms: 3_600_000,
        ..World::options()
    });
    let padding = serde_json::json!({"padding": "x".repeat(60_000)});
    let append = |ids: std::ops::Range<usize>| {
        for id in ids {
            world.append_with(id..id + 1, padding.clone(), eventlog::RecordFlags::NONE);
        }
    };
    append(0..6);
    world.settle(&delivery, "again");
    world.block_on(delivery.hold("again")).unwrap();
    let replay = delivery.replay("again", Offset(0), Offset(6), ReplayTerms::default());
    let lane = world.block_on(replay).unwrap();
    append(6..40);
    std::thread::sleep(std::time::Duration::from_millis(20));
    let trimmed = world
        .log
        .trim(Offset(6), super::world::far_future())
        .unwrap();
    assert!(trimmed.offsets.end > Offset(6), "{trimmed:?}");
    let age = crate::retention::Age::of(&world.log, 1);
    world.block_on(delivery.age(age));
    let lanes = world.block_on(delivery.lanes());
    let replay = lanes.into_iter().find(|one| one.lane == lane).unwrap();
    let all = replay.counts.expired + replay.pending;
    assert_eq!((replay.accepted, all), (6, 6));
    world.shutdown(delivery);
}

#[test]
fn the_age_limit_is_told_ahead() {
    let mut world = World::new();
    let receiver = Receiver::ok();
    world.hook("late", &receiver);
    let now = crate::clock::Clock::unix();
    for seconds in [900, 430, 10] {
        let mut batch = eventlog::AppendBatch::new();
        let at = model::UnixMillis(now.0 - seconds * 1_000);
        batch.push(
            super::world::SOURCE,
            at,
            0,
            eventlog::RecordFlags::NONE,
            b"{}",
        );
        world.block_on(world.log.append(batch)).unwrap();
    }
    // Of 12 minutes the first has had more, the second has less than five left.
    let age = crate::retention::Age::of(&world.log, 720_000);
    assert_eq!(age.left, [(300, Offset(2))]);
    assert!(
        crate::retention::Age::of(&world.log, 60_000)
            .left
            .is_empty()
    );
}
