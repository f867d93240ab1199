//! The process dies at every step of the log at which a crash leaves something different on the
//! disk, under load, and starts again.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use eventlog::local::failpoint::Failpoint;

use crate::faults::books;
use crate::harness::{Fairlane, LOOPBACK, Setup};
use crate::peer::Receiver;
use crate::verifier::{Load, Shape, balance, verify};

/// So small that segments are made, sealed and removed within a second.
pub const SMALL_LOG: &str =
    "[log]\nsegment_bytes_max = \"512KiB\"\nretention_bytes_max = \"1536KiB\"\n";

/// What one crash may repeat: the deliveries between two commits of progress.
const REPEATED_MAX: usize = 500;

#[test]
fn a_crash_at_any_step_of_the_log_loses_nothing() {
    let points = Mutex::new(Failpoint::ALL.to_vec());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let Some(point) = points.lock().unwrap().pop() else {
                        return;
                    };
                    crash_at(point.name());
                }
            });
        }
    });
}

fn crash_at(point: &str) {
    let receiver = Receiver::ok();
    let mut fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and(LOOPBACK)
        .and(SMALL_LOG)
        .prepare();
    let books = books();
    let relog = point.starts_with("log_relog");
    // Late enough that events were acknowledged before: starting takes some steps, too.
    let (first, nth) = match point {
        // A step of starting after an unclean end: so first such an end.
        _ if relog => ("log_publish_after", 40),
        "log_trim_mark" | "log_trim_mark_after" | "log_trim_delete" => (point, 1),
        "log_write_before" | "log_write_after" | "log_sync" | "log_sync_after"
        | "log_publish_after" => (point, 40),
        "log_spare_fill" | "log_spare_rename" | "log_segment_header" => (point, 5),
        _ => (point, 3),
    };
    fairlane.spawn(&[("FAIRLANE_FAILPOINTS", &format!("{first}=abort@{nth}"))]);
    fairlane.wait_ready();
    let load = Load::start(fairlane.ingest, "load", Shape::BULKY, &books);
    wait_crash(&mut fairlane, first);
    load.stop();
    if relog {
        fairlane.wait_end();
        fairlane.spawn(&[("FAIRLANE_FAILPOINTS", &format!("{point}=abort"))]);
    }
    let status = fairlane.wait_end();
    assert_eq!(status.code(), None, "{point}: it should die, not exit");
    let acknowledged = books.lock().unwrap().acknowledged.len();
    assert!(acknowledged > 0, "{point}: nothing was acknowledged");
    fairlane.start();
    let log = fairlane.status()["log"].clone();
    assert_eq!(log["damaged_records"], 0, "{point}: {log}");
    println!("{point}:");
    let repeated = verify(&fairlane, "hook", &receiver, &books);
    assert!(repeated <= REPEATED_MAX, "{point}: {repeated} repeated");
    balance(&fairlane);
}

fn wait_crash(fairlane: &mut Fairlane, point: &str) {
    let end = Instant::now() + Duration::from_secs(60);
    while !fairlane.has_ended() {
        assert!(Instant::now() < end, "{point} was not reached in 60 s");
        std::thread::sleep(Duration::from_millis(10));
    }
}
