//! One bad destination does not hold up the others.

use crate::harness::{LOOPBACK, Setup};
use crate::peer::{Receiver, Reply};

#[test]
fn a_hanging_and_a_failing_destination_hold_up_nobody() {
    let healthy = Receiver::ok();
    let hanging = Receiver::start(|_, _| Reply::Hang);
    let failing = Receiver::start(|_, _| Reply::Status(503));
    let refusing = Receiver::start(|_, _| Reply::With(429, &[("retry-after", "3600")], ""));
    let fairlane = Setup::default()
        .webhook("hanging", &hanging.url())
        .webhook("failing", &failing.url())
        .webhook("refusing", &refusing.url())
        .webhook("healthy", &healthy.url())
        .and(LOOPBACK)
        .start();
    const EVENTS: usize = 500;
    for n in 0..EVENTS {
        fairlane.track(&format!("m-{n}"));
    }
    // The attempt timeout is 30 s, the Retry-After an hour: if the healthy lane waited for any of
    // the others, this would not be reached.
    fairlane.wait_lane("healthy", "all delivered", |lane| {
        lane["delivered"] == EVENTS
    });
    assert_eq!(healthy.accepted_ids().len(), EVENTS);
    for name in ["hanging", "failing", "refusing"] {
        let lane = fairlane.lane(name);
        assert_eq!(lane["delivered"], 0, "{lane}");
        assert_eq!(lane["pending"], EVENTS, "{lane}");
    }
    let open = fairlane.wait_lane("failing", "the breaker opens", |lane| {
        lane["state"] == "open"
    });
    assert!(
        open["last_error"].as_str().unwrap().contains("503"),
        "{open}"
    );
    assert!(
        failing.count() < EVENTS,
        "every event was tried against a dead destination"
    );
}

#[test]
fn an_outage_ends_and_everything_arrives() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let up = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&up);
    let receiver = Receiver::start(move |_, _| {
        Reply::Status(if switch.load(Ordering::Relaxed) {
            200
        } else {
            503
        })
    });
    let fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and(LOOPBACK)
        .start();
    for n in 0..200 {
        fairlane.track(&format!("m-{n}"));
    }
    receiver.wait_for("the outage is noticed", |all| all.len() >= 5);
    up.store(true, Ordering::Relaxed);
    fairlane.wait_lane("hook", "all delivered", |lane| lane["delivered"] == 200);
    let counts = receiver.accepted_ids();
    assert_eq!(counts.len(), 200);
    assert!(
        counts.values().all(|n| *n == 1),
        "delivered twice: {counts:?}"
    );
}

/// What lanes are there for: told to share one queue, a destination that fails fills it for all.
#[test]
fn connections_that_share_a_queue_hold_each_other_up() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    let up = Arc::new(AtomicBool::new(false));
    let switch = Arc::clone(&up);
    let failing = Receiver::start(move |_, _| {
        Reply::Status(if switch.load(Ordering::Relaxed) {
            200
        } else {
            503
        })
    });
    let healthy = Receiver::ok();
    let fairlane = Setup::default()
        .webhook("failing", &failing.url())
        .webhook("healthy", &healthy.url())
        .and(LOOPBACK)
        .and("queues = \"shared\"\nqueue_jobs_max = 50\n")
        .start();
    const EVENTS: usize = 200;
    for n in 0..EVENTS {
        fairlane.track(&format!("m-{n}"));
    }
    // Either all of them arrive, or those that are not held up do.
    let mut before = usize::MAX;
    while healthy.count() != before && healthy.count() < EVENTS {
        before = healthy.count();
        std::thread::sleep(std::time::Duration::from_secs(1));
    }
    assert!(before < EVENTS, "nothing was held up");
    up.store(true, Ordering::Relaxed);
    for name in ["failing", "healthy"] {
        fairlane.wait_lane(name, "all delivered", |lane| lane["delivered"] == EVENTS);
    }
}
