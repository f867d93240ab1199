//! A disk that cannot make something durable: nobody is told that it did, the process ends and
//! says why, and the next one has every event that was acknowledged.

use std::process::Command;
use std::time::Duration;

use crate::faults::failpoints::SMALL_LOG;
use crate::faults::{books, skipped};
use crate::harness::{LOOPBACK, Setup};
use crate::peer::Receiver;
use crate::verifier::{Load, Shape, balance, verify};

/// The exit code for a disk that failed.
const DISK_FAILED: i32 = 4;

const CROWD: Shape = Shape {
    senders: 40,
    batch_max: 5,
    ..Shape::STEADY
};

/// Runs under `wrapper` until the disk fails; then without.
fn check(what: &str, wrapper: &[&str], environment: &[(&str, &str)]) {
    let receiver = Receiver::ok();
    let mut fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and(LOOPBACK)
        .and(SMALL_LOG)
        .prepare();
    fairlane.spawn_under(wrapper, environment);
    fairlane.wait_ready();
    let books = books();
    let load = Load::start(fairlane.ingest, "load", Shape::STEADY, &books);
    let status = fairlane.wait_end();
    load.stop();
    assert_eq!(status.code(), Some(DISK_FAILED), "{what}: {status}");
    let said = fairlane.log();
    assert!(
        said.contains("must be started again"),
        "{what}: no clear last word:\n{said}"
    );
    {
        let books = books.lock().unwrap();
        assert!(!books.acknowledged.is_empty(), "{what}: nothing before it");
        let failed = books.answered(503) + books.answered(500);
        assert!(
            failed > 0,
            "{what}: whoever waited should hear 5xx: {:?}",
            books.statuses
        );
        assert_eq!(books.without_retry_after, 0, "{what}");
    }
    fairlane.start();
    println!("{what}:");
    verify(&fairlane, "hook", &receiver, &books);
    balance(&fairlane);
}

#[test]
fn an_fdatasync_error_ends_the_process_and_loses_nothing() {
    std::thread::scope(|scope| {
        for rule in [
            "log_sync=error@5",
            "log_sync=error@25",
            "log_write_before=error@10",
        ] {
            scope.spawn(|| check(rule, &[], &[("FAIRLANE_FAILPOINTS", rule)]));
        }
    });
}

/// A command that runs another one with some of its system calls tampered with; `None`, loudly,
/// where it is not installed.
fn strace(inject: &'static str) -> Option<Vec<&'static str>> {
    if Command::new("strace").arg("-V").output().is_err() {
        skipped(inject, "strace is not installed");
        return None;
    }
    Some(vec![
        "strace",
        "--seccomp-bpf",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        inject,
    ])
}

#[test]
fn a_real_disk_error_ends_the_process_and_loses_nothing() {
    std::thread::scope(|scope| {
        // Each thread counts for itself; the log's writer gets furthest.
        for inject in [
            "inject=fdatasync:error=EIO:when=25",
            "inject=fdatasync:error=EIO:when=60",
            "inject=pwrite64:error=EIO:when=100",
        ] {
            let wrapper = strace(inject);
            scope.spawn(move || wrapper.map(|wrapper| check(inject, &wrapper, &[])));
        }
    });
}

#[test]
fn a_slow_disk_is_waited_for() {
    // 150 ms for every commit, as a worn disk or a busy neighbour would take.
    let Some(wrapper) = strace("inject=fdatasync:delay_exit=150000") else {
        return;
    };
    let receiver = Receiver::ok();
    let mut fairlane = Setup::default()
        .webhook("hook", &receiver.url())
        .and(LOOPBACK)
        .and(SMALL_LOG)
        .prepare();
    fairlane.spawn_under(&wrapper, &[]);
    fairlane.wait_ready();
    let books = books();
    let load = Load::start(fairlane.ingest, "slow", CROWD, &books);
    std::thread::sleep(Duration::from_secs(3));
    load.stop();
    assert!(!fairlane.has_ended(), "{}", fairlane.log());
    {
        let books = books.lock().unwrap();
        println!("150 ms a commit: {:?}", books.statuses);
        // One commit takes all that wait for it: to refuse some would help nobody.
        let all: usize = books.statuses.values().sum();
        assert!(books.answered(200) * 2 > all, "{:?}", books.statuses);
        assert_eq!(books.answered(500), 0, "{:?}", books.statuses);
    }
    verify(&fairlane, "hook", &receiver, &books);
    balance(&fairlane);
}
