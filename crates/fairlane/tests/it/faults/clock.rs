//! The wall clock jumps while events are taken and delivered: no storm, no stall, nothing expires
//! early, nothing is removed early.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::faults::{books, skipped};
use crate::harness::{LOOPBACK, Setup};
use crate::peer::{Receiver, Reply};
use crate::verifier::{Load, Shape, balance, verify};

const DAY_S: i64 = 86_400;

/// A library that adds the number in a file to the wall clock.
fn shim(dir: &Path) -> Result<PathBuf, String> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/faults/clock.c");
    let library = dir.join("clock.so");
    let output = Command::new("cc")
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &source])
        .output()
        .map_err(|error| format!("cc: {error}"))?;
    if output.status.success() {
        return Ok(library);
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_clock_that_jumps_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let library = match shim(dir.path()) {
        Ok(library) => library,
        Err(why) => return skipped("a wall clock that jumps", &why),
    };
    let offset = dir.path().join("offset");
    let jump = |seconds: i64| {
        let unfinished = dir.path().join("offset.tmp");
        fs::write(&unfinished, seconds.to_string()).unwrap();
        fs::rename(unfinished, &offset).unwrap();
    };
    jump(0);
    let receiver = Receiver::ok();
    // Fails until the clock has jumped both ways: its events wait for a retry all the time.
    let failing = Receiver::start(|_, _| Reply::Status(503));
    let mut fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .webhook("failing", &failing.url())
        .and(LOOPBACK)
        .prepare();
    fairlane.spawn(&[
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("TEST_CLOCK_OFFSET", offset.to_str().unwrap()),
    ]);
    fairlane.wait_ready();
    let books = books();
    let load = Load::start(fairlane.ingest, "clock", Shape::STEADY, &books);
    let mut attempts = Vec::new();
    for seconds in [0, DAY_S, -DAY_S, 50 * 365 * DAY_S, 0] {
        jump(seconds);
        let (before, delivered) = (failing.count(), receiver.count());
        std::thread::sleep(Duration::from_secs(1));
        attempts.push((seconds, failing.count() - before));
        receiver.wait_for("deliveries go on", |all| all.len() > delivered);
    }
    load.stop();
    println!("attempts to the failing destination in a second, by clock: {attempts:?}");
    let repeated = verify(&fairlane, "hook", &receiver, &books);
    assert_eq!(repeated, 0);
    let lane = fairlane.lane("failing");
    assert_eq!(
        (&lane["expired"], &lane["rejected"], &lane["delivered"]),
        (&0.into(), &0.into(), &0.into()),
        "nothing expires because a clock jumped: {lane}"
    );
    let calm = attempts[0].1;
    for (seconds, attempts) in &attempts {
        assert!(
            *attempts <= 2 * calm + 64,
            "a storm after {seconds} s: {attempts}, before {calm}"
        );
    }
    balance(&fairlane);
    // The events' own times are the clock's of the moment, and it still starts again.
    assert_eq!(fairlane.terminate(), 0);
    fairlane.start();
    balance(&fairlane);
}
