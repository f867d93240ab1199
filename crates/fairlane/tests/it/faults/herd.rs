//! T38: a start after a kill does not fall upon all destinations at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::faults::{books, is_long};
use crate::harness::{LOOPBACK, Setup};
use crate::peer::{Receiver, Reply};
use crate::verifier::{Load, Shape, balance, verify};

const DESTINATIONS: usize = 12;

#[test]
fn a_restart_comes_back_lane_by_lane() {
    let up = Arc::new(AtomicBool::new(false));
    let receivers: Vec<Receiver> = (0..DESTINATIONS)
        .map(|_| {
            let up = Arc::clone(&up);
            Receiver::start(move |_, _| match up.load(Ordering::Relaxed) {
                true => Reply::After(Duration::from_millis(10), 200),
                false => Reply::Hang,
            })
        })
        .collect();
    let mut setup = Setup::default().and(LOOPBACK);
    for (n, receiver) in receivers.iter().enumerate() {
        setup = setup.webhook(&format!("hook-{n}"), &receiver.url());
    }
    let mut fairlane = setup.start();
    let books = books();
    let shape = if is_long() {
        Shape::STEADY
    } else {
        Shape::SINGLE
    };
    let load = Load::start(fairlane.ingest, "h", shape, &books);
    // In the long form, some ten thousand events for each.
    std::thread::sleep(Duration::from_secs(if is_long() { 5 } else { 1 }));
    load.stop();
    fairlane.kill();
    up.store(true, Ordering::Relaxed);
    let before: Vec<usize> = receivers.iter().map(Receiver::count).collect();
    let restarted = Instant::now();
    fairlane.start();
    let mut arrivals: Vec<Duration> = Vec::new();
    let mut first: Vec<Duration> = Vec::new();
    for (n, receiver) in receivers.iter().enumerate() {
        verify(&fairlane, &format!("hook-{n}"), receiver, &books);
        let at = receiver.received()[before[n]..]
            .iter()
            .map(|one| one.at.duration_since(restarted))
            .collect::<Vec<_>>();
        first.push(at[0]);
        arrivals.extend(at);
    }
    first.sort_unstable();
    let spread = first[DESTINATIONS - 1] - first[0];
    let mut by_second: Vec<usize> = vec![0; 60];
    for at in &arrivals {
        if let Some(count) = by_second.get_mut((*at - first[0]).as_secs() as usize) {
            *count += 1;
        }
    }
    while by_second.last() == Some(&0) {
        by_second.pop();
    }
    println!(
        "{} attempts to {DESTINATIONS} destinations after the restart, by second: {by_second:?}; \
         the first of each within {spread:?}",
        arrivals.len()
    );
    // Each lane begins at a time of its own within 5 s: that all of twelve begin within half a
    // second by chance will not be seen. A slow machine only spreads them more.
    assert!(spread > Duration::from_millis(500), "{first:?}");
    balance(&fairlane);
}
