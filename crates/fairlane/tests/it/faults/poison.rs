//! T31: an event that cannot be delivered holds up no other, alone or in a batch.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use crate::faults::{books, is_long};
use crate::harness::{LOOPBACK, Setup};
use crate::peer::{Receiver, Reply};
use crate::verifier::{Load, Shape, balance};

#[test]
fn an_event_that_fails_always_is_given_up_soon() {
    let receiver = Receiver::start(|_, request| {
        let poison = request.header("webhook-id") == Some("poison");
        Reply::Status(if poison { 500 } else { 200 })
    });
    let fairlane = Setup::default()
        .webhook_with(
            "hook",
            "web",
            &format!("url = \"{}\"", receiver.url()),
            "retry_delay_first = \"20ms\"\nretry_delay_max = \"200ms\"",
        )
        .and(LOOPBACK)
        .start();
    let books = books();
    let load = Load::start(fairlane.ingest, "before", Shape::STEADY, &books);
    std::thread::sleep(Duration::from_millis(300));
    fairlane.track("poison");
    let lane = fairlane.wait_lane("hook", "it is given up", |lane| lane["rejected"] == 1);
    assert_eq!(lane["expired"], 0, "{lane}");
    load.stop();
    crate::verifier::verify(&fairlane, "hook", &receiver, &books);
    let attempts = receiver
        .received()
        .iter()
        .filter(|one| one.id() == "poison")
        .count();
    println!("isolated after {attempts} attempts");
    assert!((2..=8).contains(&attempts), "{attempts} attempts");
    let letter = fairlane.command(&["dead-letters", "list"]);
    assert!(letter.contains("event_specific"), "{letter}");
    balance(&fairlane);
}

#[test]
fn a_poison_event_is_found_in_its_batch() {
    const EVENTS: usize = 100;
    let receiver = Receiver::start(|_, request| {
        let body = String::from_utf8_lossy(&request.body);
        Reply::Status(if body.contains("poison") { 400 } else { 200 })
    });
    let fairlane = Setup::default()
        .webhook_with(
            "hook",
            "web",
            &format!("url = \"{}\", batch_size = {EVENTS}", receiver.url()),
            "",
        )
        .and(LOOPBACK)
        .start();
    let rounds = if is_long() { 20 } else { 1 };
    let mut client = fairlane.client();
    let began = Instant::now();
    for round in 0..rounds {
        let events: Vec<String> = (0..EVENTS)
            .map(|n| {
                let id = if n == 37 { "poison" } else { "good" };
                format!(
                    r#"{{"type":"track","event":"E","userId":"u","messageId":"{id}-{round}-{n}"}}"#
                )
            })
            .collect();
        let body = format!(
            r#"{{"writeKey":"{}","batch":[{}]}}"#,
            crate::harness::WRITE_KEY,
            events.join(",")
        );
        let answer = client
            .send("POST", "/v1/batch", &[], body.as_bytes())
            .unwrap();
        assert_eq!(answer.status(), 200);
    }
    let good = rounds * (EVENTS - 1);
    let lane = fairlane.wait_lane("hook", "all ended", |lane| lane["pending"] == 0);
    assert_eq!(
        (&lane["delivered"], &lane["rejected"]),
        (&good.into(), &rounds.into()),
        "{lane}"
    );
    let received = receiver.received();
    let mut arrived = HashSet::new();
    for one in received.iter().filter(|one| one.status == 200) {
        for event in one.request.json().as_array().unwrap() {
            let id = event["messageId"].as_str().unwrap().to_owned();
            assert!(arrived.insert(id), "an innocent event came twice: {event}");
        }
    }
    assert_eq!(arrived.len(), good);
    let refused = received.iter().filter(|one| one.status == 400).count();
    println!(
        "{rounds} poison events of {}: {refused} refused attempts, {:?} in all",
        rounds * EVENTS,
        began.elapsed()
    );
    assert!(refused <= 8 * rounds, "{refused} attempts to find {rounds}");
    balance(&fairlane);
}
