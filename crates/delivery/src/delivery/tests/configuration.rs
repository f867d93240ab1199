//! A configuration changes while events flow.

use model::{HoldReason, LaneState};
use serde_json::json;

use super::world::{Receiver, Reply, World};

#[test]
fn an_unfit_connection_is_held_and_others_run() {
    let mut world = World::new();
    let receiver = Receiver::ok();
    world.connect("bad", "nosuch", json!({}));
    world.hook("wrong-filter", &receiver).filter = Some("this is not vrl (".to_owned());
    world.hook("good", &receiver);
    let delivery = world.start();
    world.append(0..5);
    assert_eq!(world.settle(&delivery, "good").counts.delivered, 5);
    let held = LaneState::Held {
        reason: HoldReason::Definition,
    };
    let bad = world.wait(&delivery, "bad", |lane| lane.state == held);
    assert!(bad.last_error.unwrap().contains("nosuch"));
    let filter = world.wait(&delivery, "wrong-filter", |lane| lane.state == held);
    assert_eq!(filter.pending, 5);

    // Mended: both go on by themselves.
    world.destination(0).definition = "hole".to_owned();
    world.connection(1).filter = Some("true".to_owned());
    let report = world.apply(&delivery);
    assert_eq!((report.added, report.changed, report.removed), (0, 2, 0));
    assert_eq!(world.settle(&delivery, "bad").counts.delivered, 5);
    assert_eq!(world.settle(&delivery, "wrong-filter").counts.delivered, 5);
    world.shutdown(delivery);
}

#[test]
fn retries_use_the_new_url() {
    let mut world = World::new();
    let (old, new) = (Receiver::start(|_, _| Reply::Status(503)), Receiver::ok());
    world.hook("moves", &old);
    let delivery = world.start();
    world.append(0..10);
    world.wait(&delivery, "moves", |lane| lane.retrying > 0);
    world.destination(0).settings = serde_json::from_value(json!({"url": new.url()})).unwrap();
    world.apply(&delivery);
    assert_eq!(world.settle(&delivery, "moves").counts.delivered, 10);
    assert_eq!(new.ids().len(), 10);
    world.shutdown(delivery);
}

#[test]
fn a_new_connection_begins_with_what_comes_next() {
    let mut world = World::new();
    let receiver = Receiver::ok();
    world.hook("first", &receiver);
    let delivery = world.start();
    world.append(0..10);
    world.settle(&delivery, "first");
    let late = Receiver::ok();
    world.hook("second", &late);
    assert_eq!(world.apply(&delivery).added, 1);
    world.append(10..15);
    let lane = world.settle(&delivery, "second");
    assert_eq!((lane.accepted, lane.counts.delivered), (5, 5));
    world.check_balance(&delivery);

    // Removed, and back again at once: it begins anew.
    let connection = world.registry.connections.pop().unwrap();
    assert_eq!(world.apply(&delivery).removed, 1);
    world.append(15..20);
    world.registry.connections.push(connection);
    assert_eq!(world.apply(&delivery).added, 1);
    world.append(20..23);
    assert_eq!(world.settle(&delivery, "second").counts.delivered, 3);
    world.shutdown(delivery);
}

#[test]
fn disabled_and_held_connections_keep_their_events() {
    let mut world = World::new();
    let receiver = Receiver::ok();
    world.hook("quiet", &receiver).enabled = false;
    let delivery = world.start();
    world.append(0..10);
    let lane = world.wait(&delivery, "quiet", |lane| lane.pending == 10);
    assert_eq!(lane.state, LaneState::Disabled);
    world.block_on(delivery.resume("quiet")).unwrap();
    assert_eq!(world.lane(&delivery, "quiet").state, LaneState::Disabled);
    world.connection(0).enabled = true;
    world.apply(&delivery);
    assert_eq!(world.settle(&delivery, "quiet").counts.delivered, 10);

    world.block_on(delivery.hold("quiet")).unwrap();
    world.append(10..20);
    let lane = world.wait(&delivery, "quiet", |lane| lane.pending == 10);
    assert_eq!(
        lane.state,
        LaneState::Held {
            reason: HoldReason::Operator
        }
    );
    // Another configuration does not undo what a person said.
    world.connection(0).filter = Some("true".to_owned());
    world.apply(&delivery);
    assert_eq!(
        world.lane(&delivery, "quiet").state,
        LaneState::Held {
            reason: HoldReason::Operator
        }
    );
    world.block_on(delivery.resume("quiet")).unwrap();
    assert_eq!(world.settle(&delivery, "quiet").counts.delivered, 20);
    assert!(world.block_on(delivery.hold("nobody")).is_err());
    world.shutdown(delivery);
}
