//! T41: a replay under live traffic, through kills: exactly its range, and the live lanes go on.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::faults::{books, is_long};
use crate::harness::{Fairlane, LOOPBACK, Setup};
use crate::peer::Receiver;
use crate::verifier::{Load, Shape, balance_of_jobs, latencies, p99, verify};

fn replay(fairlane: &Fairlane, id: &str) -> Value {
    let answer = fairlane.management("GET", &format!("/v1/replays/{id}"), "");
    assert_eq!(answer.status(), 200, "{answer:?}");
    answer.json()
}

#[test]
fn a_replay_outlives_kills_and_is_exactly_its_range() {
    let kills = if is_long() { 10 } else { 2 };
    let (live, again) = (Receiver::ok(), Receiver::ok());
    let old = Setup::default().webhook("live", &live.url()).and(LOOPBACK);
    let mut fairlane = old.start();
    let past = books();
    let (shape, wanted) = if is_long() {
        let batches = Shape {
            batch_max: 200,
            ..Shape::STEADY
        };
        (batches, 1_000_000)
    } else {
        (Shape::STEADY, 1_000)
    };
    let load = Load::start(fairlane.ingest, "past", shape, &past);
    while past.lock().unwrap().acknowledged.len() < wanted {
        std::thread::sleep(Duration::from_millis(20));
    }
    load.stop();
    let patience = Duration::from_secs(1_800);
    fairlane.wait_lane_for(patience, "live", "it is done", |lane| lane["pending"] == 0);
    verify(&fairlane, "live", &live, &past);
    // A new connection, which has seen nothing of it.
    Setup::default()
        .webhook("live", &live.url())
        .webhook("again", &again.url())
        .and(LOOPBACK)
        .replace(&fairlane);
    assert!(fairlane.management("POST", "/v1/reload", "").status() < 300);

    let range = past.lock().unwrap().acknowledged.len();
    let rate = (range / 8).to_string();
    let said = fairlane.command(&[
        "replay", "again", "--from", "0", "--to", "start", "--rate", &rate, "--detach",
    ]);
    let id = said.split(' ').nth(1).unwrap();
    let present = books();
    for kill in 0..kills {
        let load = Load::start(
            fairlane.ingest,
            &format!("n{kill}"),
            Shape::STEADY,
            &present,
        );
        let before = again.count();
        again.wait_for("the replay is under way", |all| {
            all.iter()
                .skip(before)
                .any(|one| one.id().starts_with("past"))
        });
        fairlane.kill();
        load.stop();
        fairlane.start();
    }
    let end = Instant::now() + patience;
    let ended = loop {
        let replay = replay(&fairlane, id);
        if replay["state"] != "running" {
            break replay;
        }
        assert!(Instant::now() < end, "{replay}");
        std::thread::sleep(Duration::from_millis(50));
    };
    assert_eq!(ended["state"], "finished");
    assert_eq!(
        ended["delivered"], range,
        "exact, whatever was repeated: {ended}"
    );
    // What was going on at a kill may be known to the log and not to its sender.
    let wanted = past.lock().unwrap().acknowledged.clone();
    let got = again.accepted_ids();
    let replayed: HashSet<&String> = got.keys().filter(|id| id.starts_with("past")).collect();
    let missing = wanted.iter().filter(|id| !replayed.contains(id)).count();
    assert_eq!(
        (missing, replayed.len()),
        (0, wanted.len()),
        "missing, and in all"
    );
    let repeated: usize = got.values().map(|times| times - 1).sum();
    println!("{range} replayed through {kills} kills: missing 0, extra 0, {repeated} repeated");
    present.lock().unwrap().tried.extend(wanted);
    verify(&fairlane, "again", &again, &present);
    balance_of_jobs(&fairlane);
}

/// What a replay costs the live lanes. Measured, not asserted.
#[test]
fn what_a_replay_costs_the_live_lanes() {
    if !is_long() {
        return;
    }
    let (live, again) = (Receiver::ok(), Receiver::ok());
    let fairlane = Setup::default()
        .webhook("live", &live.url())
        .webhook("again", &again.url())
        .and(LOOPBACK)
        .start();
    let books = books();
    let mut p99s = Vec::new();
    for phase in ["calm", "replay"] {
        if phase == "replay" {
            fairlane.command(&["replay", "again", "--from", "0", "--detach"]);
        }
        let began = Instant::now();
        let load = Load::start(fairlane.ingest, phase, Shape::GENTLE, &books);
        std::thread::sleep(Duration::from_secs(30));
        load.stop();
        let period = began..Instant::now();
        verify(&fairlane, "live", &live, &books);
        p99s.push(p99(&latencies(&live, &books, &period)));
    }
    println!(
        "p99 of a live lane during a replay to another {:?}, without {:?}: ratio {:.2}",
        p99s[1],
        p99s[0],
        p99s[1].as_secs_f64() / p99s[0].as_secs_f64()
    );
}
