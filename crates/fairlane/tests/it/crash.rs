//! kill -9 in a loop, with a verifier of its own: every acknowledged event arrives (lost = 0),
//! nothing arrives that was not sent (phantom = 0), and duplicates are counted.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::harness::{Fairlane, LOOPBACK, Setup, WRITE_KEY};
use crate::peer::{Client, Received, Receiver, Reply};

/// What the sending side knows: which ids it tried, and which were acknowledged.
#[derive(Default)]
struct Sent {
    tried: HashSet<String>,
    acknowledged: HashSet<String>,
}

#[test]
fn kill_9_loses_nothing() {
    let cycles: u64 = std::env::var("FAIRLANE_CRASH_CYCLES")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(8);
    let healthy = Receiver::ok();
    let flaky = Receiver::start(|n, _| Reply::Status(if n % 16 == 0 { 500 } else { 200 }));
    let mut fairlane = Setup::default()
        .webhook("healthy", &healthy.url())
        .webhook("flaky", &flaky.url())
        .and(LOOPBACK)
        .start();
    let sent = Arc::new(Mutex::new(Sent::default()));
    for cycle in 0..cycles {
        let stop = Arc::new(AtomicBool::new(false));
        let senders: Vec<_> = (0..3)
            .map(|sender| {
                let (sent, stop) = (Arc::clone(&sent), Arc::clone(&stop));
                let address = fairlane.ingest;
                std::thread::spawn(move || {
                    let Ok(mut client) = Client::connect(address) else {
                        return;
                    };
                    for batch in 0.. {
                        let prefix = format!("{cycle}-{sender}-{batch}");
                        if stop.load(Ordering::Relaxed)
                            || !send_batch(&mut client, &prefix, 1 + batch % 20, &sent)
                        {
                            return;
                        }
                        // A steady stream, not a flood: the receivers keep every request.
                        std::thread::sleep(Duration::from_millis(5));
                    }
                })
            })
            .collect();
        // Different lengths, so that the kill falls into different moments.
        std::thread::sleep(Duration::from_millis(150 + 97 * (cycle * 7 % 11)));
        fairlane.kill();
        stop.store(true, Ordering::Relaxed);
        for sender in senders {
            sender.join().unwrap();
        }
        fairlane.start();
    }

    let acknowledged = sent.lock().unwrap().acknowledged.clone();
    assert!(
        acknowledged.len() > 100,
        "only {} events were acknowledged",
        acknowledged.len()
    );
    for (name, receiver) in [("healthy", &healthy), ("flaky", &flaky)] {
        receiver.wait_for(
            &format!("{name} has every acknowledged event"),
            |received| {
                let have: HashSet<&str> = accepted(received).map(Received::id).collect();
                acknowledged.iter().all(|id| have.contains(id.as_str()))
            },
        );
        fairlane.wait_lane(name, "nothing is pending", |lane| lane["pending"] == 0);
        let counts = receiver.accepted_ids();
        let tried = sent.lock().unwrap().tried.clone();
        let phantoms: Vec<_> = counts.keys().filter(|id| !tried.contains(*id)).collect();
        assert!(
            phantoms.is_empty(),
            "{name}: arrived but never sent: {phantoms:?}"
        );
        let repeated: usize = counts.values().map(|n| n - 1).sum();
        println!(
            "{name}: {cycles} kills, {} acknowledged, {} tried, {} arrived, lost 0, phantom 0, {repeated} repeated",
            acknowledged.len(),
            tried.len(),
            counts.len(),
        );
    }
    balance(&fairlane);
}

/// Posts one batch; false when the connection is gone.
fn send_batch(client: &mut Client, prefix: &str, size: usize, sent: &Mutex<Sent>) -> bool {
    let ids: Vec<String> = (0..size).map(|n| format!("{prefix}-{n}")).collect();
    let events: Vec<String> = ids
        .iter()
        .map(|id| {
            format!(r#"{{"type":"track","event":"E","userId":"u","messageId":"{id}","properties":{{"id":"{id}"}}}}"#)
        })
        .collect();
    let body = format!(
        r#"{{"writeKey":"{WRITE_KEY}","batch":[{}]}}"#,
        events.join(",")
    );
    sent.lock().unwrap().tried.extend(ids.iter().cloned());
    match client.send("POST", "/v1/batch", &[], body.as_bytes()) {
        Ok(answer) if answer.status() == 200 => {
            sent.lock().unwrap().acknowledged.extend(ids);
            true
        }
        Ok(_) => true,
        Err(_) => false,
    }
}

fn accepted(received: &[Received]) -> impl Iterator<Item = &Received> {
    received.iter().filter(|one| one.status == 200)
}

/// The product's own books: accepted x connections = all outcomes + pending.
fn balance(fairlane: &Fairlane) {
    let status = fairlane.status();
    let sheet = &status["balance"];
    let number = |key: &str| {
        sheet[key]
            .as_u64()
            .unwrap_or_else(|| panic!("no {key} in {sheet}"))
    };
    let ended = number("delivered") + number("rejected") + number("filtered") + number("expired");
    assert_eq!(
        number("accepted") * number("connections"),
        ended + number("pending"),
        "{sheet}"
    );
    assert_eq!(sheet["balanced"], true, "{sheet}");
}

#[test]
fn deliveries_repeated_after_a_kill_are_few() {
    // Everything is delivered and its progress written; then a kill: nothing may come again.
    let receiver = Receiver::ok();
    let mut fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and(LOOPBACK)
        .start();
    for n in 0..50 {
        fairlane.track(&format!("m-{n}"));
    }
    fairlane.wait_lane("hook", "all delivered", |lane| lane["delivered"] == 50);
    // Progress is written every few tens of milliseconds; a second is a wide guard, not a timing.
    std::thread::sleep(Duration::from_secs(1));
    fairlane.kill();
    fairlane.start();
    fairlane.track("after");
    receiver.wait_for("the event after the kill", |all| {
        all.iter().any(|one| one.id() == "after")
    });
    let counts: HashMap<_, _> = receiver.accepted_ids();
    assert_eq!(counts.len(), 51);
    assert!(
        counts.values().all(|n| *n == 1),
        "settled deliveries were repeated: {counts:?}"
    );
}
