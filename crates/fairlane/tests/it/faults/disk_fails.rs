//! A disk that cannot make something durable: nobody is told that it did, the process ends and
//! says why, and the next one has every event that was acknowledged.

use std::process::Command;

use crate::faults::failpoints::SMALL_LOG;
use crate::faults::{books, skipped};
use crate::harness::{LOOPBACK, Setup};
use crate::peer::Receiver;
use crate::verifier::{Load, Shape, balance, verify};

/// The exit code for a disk that failed.
const DISK_FAILED: i32 = 4;

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

#[test]
fn a_real_fdatasync_error_ends_the_process_and_loses_nothing() {
    if Command::new("strace").arg("-V").output().is_err() {
        return skipped(
            "EIO from the system call fdatasync",
            "strace is not installed",
        );
    }
    std::thread::scope(|scope| {
        // Each thread counts for itself; the log's writer gets furthest.
        for nth in [17, 60] {
            scope.spawn(move || {
                let inject = format!("inject=fdatasync:error=EIO:when={nth}");
                let strace = ["strace", "-f", "-qq", "-o", "/dev/null"];
                let which = ["-e", "trace=fdatasync", "-e", &inject];
                check(&inject, &[&strace[..], &which[..]].concat(), &[]);
            });
        }
    });
}
