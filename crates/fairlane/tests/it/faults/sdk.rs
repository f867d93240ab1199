//! A real SDK against a log without room: it is answered 503, waits, comes again, and nothing is
//! lost or doubled.

use std::process::Command;

use crate::faults::failpoints::SMALL_LOG;
use crate::faults::{books, fill, skipped, steer};
use crate::harness::{LOOPBACK, Setup, WRITE_KEY};
use crate::peer::Receiver;
use crate::sdk::{ALL_KINDS, TRACKS, check_arrived, npm_packages};

#[test]
fn the_node_sdk_waits_for_room() {
    let packages = match npm_packages() {
        Ok(packages) => packages,
        Err(why) => return skipped("@segment/analytics-node and 503", &why),
    };
    let (receiver, other) = (Receiver::ok(), Receiver::ok());
    let fairlane = Setup::default()
        .webhook("full", &other.url())
        .webhook("hook", &receiver.url())
        // Without the events that fill the log.
        .and("filter = '.event != \"E\"'\n")
        .and(LOOPBACK)
        .and(SMALL_LOG)
        .start();
    steer(&fairlane, "full", "hold");
    fill(&fairlane, "fill", &books());
    let refused = || {
        let metrics = fairlane.management("GET", "/metrics", "");
        refusals(&String::from_utf8(metrics.body).unwrap())
    };
    let before = refused();
    let mut node = Command::new("node")
        .args([
            "node.mjs",
            &format!("http://{}", fairlane.ingest),
            WRITE_KEY,
        ])
        .arg(TRACKS.to_string())
        .current_dir(&packages)
        .spawn()
        .unwrap();
    while refused() < before + 3 {
        assert_eq!(node.try_wait().unwrap(), None, "it gave up");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(receiver.count(), 0, "nothing was taken so far");
    steer(&fairlane, "full", "resume");
    assert!(node.wait().unwrap().success());
    check_arrived(&receiver, "Node Tested", "node-user", TRACKS, &ALL_KINDS);
    println!(
        "answered 503 {} times, nothing lost or doubled",
        refused() - before
    );
}

/// Requests answered 503 since the start.
fn refusals(metrics: &str) -> u64 {
    let refused = metrics.lines().filter(|line| {
        line.starts_with("fairlane_ingest_requests_total{") && line.contains("status=\"503\"")
    });
    let counts = refused.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
    counts.sum()
}
