//! Events to a real Kafka broker, with kills of either side.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{Fairlane, LOOPBACK, Setup, WRITE_KEY};
use crate::peer::call;
use crate::verifier::{Books, Load, Shape, balance};

mod broker;

use broker::{Broker, CA, CERTIFICATE, KEY, PASSWORD, USER};

/// A destination `stream` for a topic of the broker at this port; `more` settings in TOML.
fn stream(port: u16, topic: &str, more: &str) -> Setup {
    Setup::default().and(&format!(
        "[[destinations]]\nname = \"stream\"\ntype = \"kafka\"\n[destinations.settings]\n\
         broker = \"127.0.0.1\"\nport = {port}\ntopic = \"{topic}\"\n{more}\n\
         [[connections]]\nname = \"stream\"\nsource = \"web\"\ndestination = \"stream\"\n"
    ))
}

/// Waits until the lane of an event says so in its status.
fn says(setup: Setup, words: &str) -> Value {
    let fairlane = setup.start();
    fairlane.track("m-1");
    fairlane.wait_lane("stream", words, |lane| lane.to_string().contains(words))
}

fn batch(fairlane: &Fairlane, events: &[Value]) {
    let body = json!({"writeKey": WRITE_KEY, "batch": events}).to_string();
    let answer = call(fairlane.ingest, "POST", "/v1/batch", &body).unwrap();
    assert_eq!(answer.status(), 200, "{answer:?}");
}

/// Who may listen learns nothing, and who only pretends gets nothing.
fn encrypted_connections(broker: &Broker) {
    broker.create_topic("encrypted", 1, None);
    let toml = |text: &str| serde_json::to_string(text).unwrap();
    let ca = format!("ca_certificate = {}\n", toml(CA));
    let scram = |password: &str| {
        format!(
            "security_protocol = \"sasl_ssl\"\nsasl_mechanism = \"SCRAM-SHA-512\"\n\
             username = \"{USER}\"\npassword = \"{password}\"\n"
        )
    };
    let secure = |more: &str| stream(broker.secure_port, "encrypted", more).and(LOOPBACK);
    says(secure(&scram(PASSWORD)), "certificate");
    says(secure(&(scram("wrong") + &ca)), "answer 401");
    let own = format!(
        "security_protocol = \"ssl\"\nclient_certificate = {}\nclient_key = {}\n",
        toml(CERTIFICATE),
        toml(KEY)
    );
    for (id, setup) in [
        ("by-password", secure(&(scram(PASSWORD) + &ca))),
        (
            "by-certificate",
            stream(broker.mutual_port, "encrypted", &(own + &ca)).and(LOOPBACK),
        ),
    ] {
        let fairlane = setup.start();
        fairlane.track(id);
        fairlane.wait_lane("stream", "it is delivered", |lane| lane["delivered"] == 1);
    }
    let records = broker.records("encrypted");
    let ids: Vec<&Value> = records.iter().map(|one| &one.value["messageId"]).collect();
    assert_eq!(ids, ["by-password", "by-certificate"]);
}

/// One test, as the broker takes seconds to start.
#[test]
fn every_event_is_a_record_whoever_is_killed() {
    let Some(mut broker) = Broker::start() else {
        return;
    };
    // What is wrong is told.
    let held = says(
        stream(broker.port, "absent", "").and(LOOPBACK),
        "UnknownTopicOrPartition",
    );
    assert_eq!(held["state"], "held", "{held}");
    broker.create_topic("events", 3, None);
    says(stream(broker.port, "events", ""), "egress_allow");
    let login = |password: &str| {
        let more = format!(
            "security_protocol = \"sasl_plaintext\"\nusername = \"{USER}\"\npassword = \"{password}\"\n"
        );
        stream(broker.login_port, "events", &more).and(LOOPBACK)
    };
    says(login("wrong"), "answer 401");
    let fairlane = login(PASSWORD).start();
    fairlane.track("logged-in");
    fairlane.wait_lane("stream", "it is delivered", |lane| lane["delivered"] == 1);
    drop(fairlane);
    encrypted_connections(&broker);

    // A record that is too large is a dead letter alone; keys keep their order.
    broker.create_topic("keyed", 4, Some("max.message.bytes=20000"));
    let fairlane = stream(broker.port, "keyed", "compression = \"none\"")
        .and(LOOPBACK)
        .start();
    let large = "x".repeat(21_000);
    let events: Vec<Value> = (0..60)
        .map(|n| {
            let pad = if n == 30 { large.as_str() } else { "ä" };
            json!({"type": "track", "event": "E", "messageId": format!("k-{n:02}"), "userId": format!("u-{}", n % 7),
                   "properties": {"pad": pad}})
        })
        .collect();
    batch(&fairlane, &events);
    let lane = fairlane.wait_lane("stream", "all have ended", |lane| {
        lane["pending"] == 0 && lane["accepted"] == 60
    });
    assert_eq!(
        (&lane["delivered"], &lane["rejected"]),
        (&json!(59), &json!(1)),
        "{lane:#}"
    );
    drop(fairlane);
    let records = broker.records("keyed");
    let mut partitions: HashMap<&str, u32> = HashMap::new();
    for record in &records {
        let user = record.value["userId"].as_str().unwrap();
        assert_eq!(record.key, user);
        let id = record.value["messageId"].as_str().unwrap();
        assert!(
            record.headers.contains(&format!("message_id:{id}")),
            "{}",
            record.headers
        );
        assert_eq!(record.value["properties"]["pad"], "ä");
        assert_eq!(
            *partitions.entry(user).or_insert(record.partition),
            record.partition
        );
    }
    assert!(partitions.values().collect::<HashSet<_>>().len() > 1);

    // Kills of both sides under load.
    let mut fairlane = stream(broker.port, "events", "").and(LOOPBACK).start();
    let books = Arc::new(Mutex::new(Books::default()));
    for cycle in 0..4_u64 {
        let load = Load::start(fairlane.ingest, &format!("c{cycle}"), Shape::STEADY, &books);
        std::thread::sleep(Duration::from_millis(900 + 197 * cycle));
        if cycle == 1 {
            broker.kill();
            std::thread::sleep(Duration::from_millis(500));
            broker.run();
        } else {
            fairlane.kill();
        }
        load.stop();
        if cycle != 1 {
            fairlane.start();
        }
    }
    let empty = |lane: &Value| lane["pending"] == 0;
    let lane = fairlane.wait_lane_for(
        Duration::from_secs(120),
        "stream",
        "nothing is pending",
        empty,
    );
    assert_eq!(lane["rejected"], 0, "{lane:#}");
    balance(&fairlane);
    let books = books.lock().unwrap().clone();
    let mut counts: HashMap<String, usize> = HashMap::new();
    for record in broker.records("events") {
        *counts
            .entry(record.value["messageId"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    counts.remove("logged-in").unwrap();
    let lost = books
        .acknowledged
        .iter()
        .filter(|id| !counts.contains_key(*id))
        .count();
    let phantom = counts
        .keys()
        .filter(|id| !books.tried.contains(*id))
        .count();
    let repeated: usize = counts.values().map(|n| n - 1).sum();
    println!(
        "{} acknowledged, {} records, lost {lost}, phantom {phantom}, repeated {repeated}",
        books.acknowledged.len(),
        counts.len()
    );
    assert!(
        books.acknowledged.len() > 300,
        "{}",
        books.acknowledged.len()
    );
    assert_eq!((lost, phantom), (0, 0), "lost, phantom");
}
