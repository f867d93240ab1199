//! T16: events of one key in order, whatever the destination answers and whenever the process dies.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::faults::is_long;
use crate::harness::{LOOPBACK, Setup, WRITE_KEY};
use crate::peer::{Client, Message, Received, Receiver, Reply};
use crate::verifier::{accepted, balance};

const KEYS: usize = 1_000;
/// Keys of one batch, and how many events of each follow one another in it.
const KEYS_AT_ONCE: usize = 10;
const IN_A_ROW: usize = 5;
/// Short waits, so that a chain of failures does not take minutes.
const POLICY: &str = "retry_delay_first = \"20ms\"\nretry_delay_max = \"100ms\"\n";

/// Answers 500 to a fifth of all attempts, by chance but the same each time.
fn moody() -> impl Fn(usize, &Message) -> Reply + Send + Sync {
    let tries: Mutex<HashMap<String, u32>> = Mutex::default();
    move |_, request| {
        let id = request.header("webhook-id").unwrap_or_default().to_owned();
        let mut tries = tries.lock().unwrap();
        let tried = tries.entry(id.clone()).or_default();
        *tried += 1;
        let mut hasher = DefaultHasher::new();
        (id, *tried).hash(&mut hasher);
        Reply::Status(if hasher.finish().is_multiple_of(5) {
            500
        } else {
            200
        })
    }
}

/// [`IN_A_ROW`] events of each key in each round; returns the ids that were acknowledged. An event's
/// id is `key:number`.
fn send(address: std::net::SocketAddr, rounds: std::ops::Range<usize>) -> Vec<String> {
    let mut acknowledged = Vec::new();
    let Ok(mut client) = Client::connect(address) else {
        return acknowledged;
    };
    for round in rounds {
        for first in (0..KEYS).step_by(KEYS_AT_ONCE) {
            let numbers = round * IN_A_ROW..(round + 1) * IN_A_ROW;
            let ids: Vec<String> = (first..first + KEYS_AT_ONCE)
                .flat_map(|key| numbers.clone().map(move |number| format!("{key}:{number}")))
                .collect();
            let events: Vec<String> = ids
                .iter()
                .map(|id| {
                    let (key, _) = id.split_once(':').unwrap();
                    format!(r#"{{"type":"track","event":"E","userId":"{key}","messageId":"{id}"}}"#)
                })
                .collect();
            let body = format!(
                r#"{{"writeKey":"{WRITE_KEY}","batch":[{}]}}"#,
                events.join(",")
            );
            match client.send("POST", "/v1/batch", &[], body.as_bytes()) {
                Ok(answer) if answer.status() == 200 => acknowledged.extend(ids),
                // The process is gone: what this batch became is not known.
                _ => return acknowledged,
            }
        }
    }
    acknowledged
}

/// Events that came for the first time after a later one of their key. `seen`: what counts.
fn inversions<'a>(seen: impl Iterator<Item = &'a Received>) -> usize {
    let mut first: HashSet<&str> = HashSet::new();
    let mut latest: HashMap<&str, usize> = HashMap::new();
    let mut inversions = 0;
    for one in seen {
        if !first.insert(one.id()) {
            continue;
        }
        let (key, number) = one.id().split_once(':').unwrap();
        let number: usize = number.parse().unwrap();
        let latest = latest.entry(key).or_insert(number);
        inversions += usize::from(number < *latest);
        *latest = number.max(*latest);
    }
    inversions
}

#[test]
fn events_of_a_key_stay_in_order() {
    let rounds = if is_long() { 10 } else { 1 };
    let receiver = Receiver::start(moody());
    let mut fairlane = Setup::default()
        .webhook_with(
            "hook",
            "web",
            &format!("url = \"{}\"", receiver.url()),
            &format!("ordering = \"key\"\n{POLICY}"),
        )
        .and(LOOPBACK)
        .start();
    let mut acknowledged = send(fairlane.ingest, 0..rounds);
    receiver.wait_for("deliveries are under way", |all| all.len() > KEYS / 2);
    fairlane.kill();
    fairlane.start();
    acknowledged.extend(send(fairlane.ingest, rounds..2 * rounds));
    assert_eq!(acknowledged.len(), 2 * rounds * KEYS * IN_A_ROW);
    let lane = fairlane.wait_lane_for(Duration::from_secs(600), "hook", "all ended", |lane| {
        lane["pending"] == 0
    });
    let received = receiver.received();
    let taken = receiver.accepted_ids();
    let lost = acknowledged
        .iter()
        .filter(|id| !taken.contains_key(*id))
        .count();
    // One that failed its five times is a dead letter: it is not lost, and holds up its key no more.
    assert_eq!(lane["rejected"], lost, "{lane}");
    // By the first attempt of each, and by the first that was taken: none was even tried before the
    // one ahead of it had ended.
    let inverted = [inversions(received.iter()), inversions(accepted(&received))];
    assert_eq!(inverted, [0, 0], "events of one key came out of order");
    balance(&fairlane);
    println!(
        "{} events of {KEYS} keys, {} attempts, a kill: inversions 0, dead letters {lost}",
        acknowledged.len(),
        received.len()
    );
}

/// What order costs: the same load with it and without. Its throughput is measured, not asserted;
/// that events do come out of order without it shows that these tests would see it.
#[test]
fn what_order_costs() {
    for ordering in ["none", "key"] {
        let receiver = Receiver::start(moody());
        let fairlane = Setup::default()
            .webhook_with(
                "hook",
                "web",
                &format!("url = \"{}\"", receiver.url()),
                &format!("ordering = \"{ordering}\"\n{POLICY}"),
            )
            .and(LOOPBACK)
            .start();
        let began = Instant::now();
        let events = send(fairlane.ingest, 0..if is_long() { 10 } else { 1 }).len();
        fairlane.wait_lane_for(Duration::from_secs(600), "hook", "all ended", |lane| {
            lane["pending"] == 0
        });
        let took = began.elapsed();
        let inverted = inversions(accepted(&receiver.received()));
        println!(
            "ordering {ordering}: {events} events in {took:?}, {:.0}/s; inversions {inverted}",
            events as f64 / took.as_secs_f64(),
        );
        assert_eq!(inverted == 0, ordering == "key", "{inverted} inversions");
    }
}
