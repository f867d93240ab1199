//! Signals: stopping in order, stopping at once, and being suspended.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::faults::{books, is_long};
use crate::harness::{LOOPBACK, Setup};
use crate::peer::{Receiver, Reply};
use crate::verifier::{Load, Shape, balance, verify};

#[test]
fn sigterm_under_load_doubles_nothing() {
    let receiver = Receiver::start(|_, _| Reply::After(Duration::from_millis(30), 200));
    let mut fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and(LOOPBACK)
        .start();
    let books = books();
    let mut ended = Vec::new();
    for cycle in 0..3 {
        let load = Load::start(fairlane.ingest, &format!("s{cycle}"), Shape::STEADY, &books);
        std::thread::sleep(Duration::from_millis(400));
        let asked = Instant::now();
        assert_eq!(fairlane.terminate(), 0);
        ended.push(asked.elapsed());
        load.stop();
        fairlane.start();
    }
    let repeated = verify(&fairlane, "hook", &receiver, &books);
    assert_eq!(repeated, 0, "what was completed must not come again");
    assert_eq!(receiver.count(), receiver.accepted_ids().len());
    let statuses = books.lock().unwrap().statuses.clone();
    assert!(
        statuses.keys().all(|status| *status == 200),
        "requests that were taken are answered 200: {statuses:?}"
    );
    balance(&fairlane);
    println!("from SIGTERM under load to the end: {ended:?}");
}

/// A receiver that hangs until it is woken.
fn asleep() -> (Receiver, Arc<AtomicBool>) {
    let awake = Arc::new(AtomicBool::new(false));
    let receiver = Receiver::start({
        let awake = Arc::clone(&awake);
        move |_, _| match awake.load(Ordering::Relaxed) {
            true => Reply::Status(200),
            false => Reply::Hang,
        }
    });
    (receiver, awake)
}

#[test]
fn a_second_sigterm_ends_it_at_once() {
    let (receiver, awake) = asleep();
    let mut fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and("[delivery]\negress_allow = [\"127.0.0.0/8\"]\ndrain_timeout = \"10m\"\n")
        .start();
    fairlane.track("m-hanging");
    receiver.wait_for("an attempt is under way", |all| !all.is_empty());
    fairlane.signal("TERM");
    while !fairlane.log().contains("stopping") {
        assert!(!fairlane.has_ended(), "it must wait for what is in flight");
        std::thread::sleep(Duration::from_millis(10));
    }
    fairlane.signal("TERM");
    assert_eq!(fairlane.wait_end().code(), Some(3));
    assert!(fairlane.log().contains("ended at once"));
    awake.store(true, Ordering::Relaxed);
    fairlane.start();
    let received = receiver.wait_for("it comes again", |all| {
        all.iter().any(|one| one.status == 200)
    });
    assert!(received.iter().all(|one| one.id() == "m-hanging"));
}

#[test]
fn a_stuck_destination_does_not_keep_it_from_ending() {
    let (receiver, awake) = asleep();
    let mut fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and("[delivery]\negress_allow = [\"127.0.0.0/8\"]\ndrain_timeout = \"300ms\"\n")
        .start();
    for n in 0..10 {
        fairlane.track(&format!("m-{n}"));
    }
    receiver.wait_for("attempts are under way", |all| !all.is_empty());
    assert_eq!(fairlane.terminate(), 0, "it ends in order, in its own time");
    awake.store(true, Ordering::Relaxed);
    fairlane.start();
    fairlane.wait_lane("hook", "all delivered", |lane| lane["delivered"] == 10);
    assert_eq!(receiver.accepted_ids().len(), 10);
}

#[test]
fn a_suspended_process_goes_on_without_a_storm() {
    let receiver = Receiver::start(|_, _| Reply::After(Duration::from_millis(20), 200));
    let failing = Receiver::start(|_, _| Reply::Status(503));
    let fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .webhook("failing", &failing.url())
        // Shorter than the pause: every attempt under way is late when it goes on.
        .and("[delivery]\negress_allow = [\"127.0.0.0/8\"]\nattempt_timeout = \"1s\"\n")
        .start();
    let books = books();
    let load = Load::start(fairlane.ingest, "stop", Shape::STEADY, &books);
    std::thread::sleep(Duration::from_secs(1));
    let in_a_second_before = failing.count();
    fairlane.signal("STOP");
    let pause = if is_long() { 120 } else { 3 };
    std::thread::sleep(Duration::from_secs(pause));
    let while_stopped = (receiver.count(), failing.count());
    fairlane.signal("CONT");
    let resumed_at = Instant::now();
    std::thread::sleep(Duration::from_secs(1));
    load.stop();
    let repeated = verify(&fairlane, "hook", &receiver, &books);
    let second = resumed_at..resumed_at + Duration::from_secs(1);
    let attempts = failing.received();
    let in_a_second_after = attempts
        .iter()
        .filter(|one| second.contains(&one.at))
        .count();
    println!(
        "stopped for {pause} s: {while_stopped:?} received by then, {repeated} repeated; the failing \
         destination got {in_a_second_before} attempts in the second before and \
         {in_a_second_after} in the one after"
    );
    // What was under way may be repeated once; nothing else.
    assert!(repeated <= 64, "{repeated} repeated");
    assert!(
        in_a_second_after <= 2 * in_a_second_before + 64,
        "a storm: {in_a_second_after} attempts after {in_a_second_before}"
    );
    balance(&fairlane);
}
