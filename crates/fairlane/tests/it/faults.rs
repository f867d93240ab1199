//! What may happen to a process and its machine: the disk fails or is full, descriptors run out,
//! the clock jumps, somebody stops it. And what destinations do: they hang, lie, refuse, ask for
//! patience. Nothing acknowledged is lost, nothing comes in a storm, nobody waits for another.

mod answers;
mod clock;
mod dead_letters;
mod descriptors;
mod disk_fails;
mod disk_full;
mod failpoints;
mod herd;
mod neighbours;
mod order;
mod poison;
mod power;
mod replays;
mod sdk;
mod signals;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::harness::Fairlane;
use crate::verifier::{Books, Load, Shape};

fn books() -> Arc<Mutex<Books>> {
    Arc::default()
}

/// Whether the long forms are asked for: minutes instead of seconds, with figures to be noted.
fn is_long() -> bool {
    std::env::var("FAIRLANE_LONG").is_ok_and(|value| value == "1")
}

fn skipped(what: &str, why: &str) {
    eprintln!("\n*** SKIPPED: {what}: {why}\n");
}

/// `what` is "hold" or "resume".
fn steer(fairlane: &Fairlane, lane: &str, what: &str) {
    let answer = fairlane.management("POST", &format!("/v1/lanes/{lane}/{what}"), "");
    assert!(answer.status() < 300, "{answer:?}");
}

/// Sends until nothing is taken any more for want of room, be it ever so small.
fn fill(fairlane: &Fairlane, name: &str, books: &Arc<Mutex<Books>>) {
    for shape in [Shape::BULKY, Shape::SINGLE] {
        let before = books.lock().unwrap().answered(503);
        let name = format!("{name}-{}", shape.batch_max);
        let load = Load::start(fairlane.ingest, &name, shape, books);
        let end = Instant::now() + Duration::from_secs(60);
        while books.lock().unwrap().answered(503) < before + 5 {
            assert!(Instant::now() < end, "not full after 60 s");
            std::thread::sleep(Duration::from_millis(10));
        }
        load.stop();
    }
    assert_eq!(
        books.lock().unwrap().without_retry_after,
        0,
        "a refusal says when to come again"
    );
}
