//! A full disk, and the log's own limit: appends are refused, reading goes on, and when there is
//! room again so do appends.

use std::path::Path;
use std::process::Command;

use eventlog::{AppendError, EventLog, Options};
use model::Offset;

use crate::support::{NOW, Sample, append, batch_of, check_all, open, options, run, wait_until};

/// Appends until the log says that it is full.
fn fill(log: &EventLog) -> Vec<Sample> {
    let mut all = Vec::new();
    for n in log.end().0..100_000 {
        let sample = Sample { n, bytes: 50_000 };
        match run(log.append(batch_of(&[sample]))) {
            Ok(_) => all.push(sample),
            Err(AppendError::Full { retry_after_s }) => {
                assert!(retry_after_s > 0);
                return all;
            }
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the log was never full");
}

#[test]
fn the_byte_limit_refuses_until_something_is_settled() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(Options {
        retention_bytes_max: 2 << 20,
        ..options(dir.path())
    })
    .log;
    let all = fill(&log);
    assert!(
        log.stats().bytes <= (2 << 20) + 2 * (512 << 10),
        "reserved segments come on top"
    );
    assert_eq!(log.stats().refused_full, 1);
    check_all(&log, 0, &all);
    let settled = Offset(log.end().0 - 5);
    wait_until("retention can remove a segment", || {
        log.trim(settled, NOW).unwrap();
        log.first() > Offset(0)
    });
    append(
        &log,
        &[Sample {
            n: log.end().0,
            bytes: 50_000,
        }],
    );
    // From now on the writer itself makes room by what it knows to be settled.
    let first = log.first();
    wait_until("the writer has made room", || {
        let _ = run(log.append(batch_of(&[Sample {
            n: log.end().0,
            bytes: 50_000,
        }])));
        log.first() > first
    });
    assert!(log.first() <= settled, "nothing unsettled was removed");
    check_all(&log, log.first().0, &all);
}

struct Tmpfs<'a>(&'a Path);

impl<'a> Tmpfs<'a> {
    fn mount(at: &'a Path, size: &str) -> Option<Self> {
        let size = format!("size={size}");
        let args = ["-t", "tmpfs", "-o", &size, "tmpfs"];
        let mounted = Command::new("mount").args(args).arg(at).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(at));
        }
        eprintln!("SKIPPED: a full disk needs the right to mount a small tmpfs");
        None
    }
}

impl Drop for Tmpfs<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_refuses_until_there_is_space() {
    let dir = tempfile::tempdir().unwrap();
    let Some(_tmpfs) = Tmpfs::mount(dir.path(), "12m") else {
        return;
    };
    let ballast = dir.path().join("ballast");
    std::fs::write(&ballast, vec![1; 2 << 20]).unwrap();
    let log = open(options(&dir.path().join("log"))).log;
    let mut all = fill(&log);
    check_all(&log, 0, &all);
    assert!(log.stats().free_bytes < 512 << 10);
    std::fs::remove_file(&ballast).unwrap();
    let sample = Sample {
        n: log.end().0,
        bytes: 50_000,
    };
    append(&log, &[sample]);
    all.push(sample);
    all.extend(fill(&log));
    check_all(&log, 0, &all);

    // Full again; now retention frees the space.
    wait_until("retention can remove a segment", || {
        let old = eventlog::Options::default().retention_age_ms + NOW.0 + 100_000_000;
        log.trim(log.end(), model::UnixMillis(old)).unwrap();
        let (steps, first) = (0..3_000, log.first());
        for _ in steps {
            log.trim(log.end(), model::UnixMillis(old)).unwrap();
        }
        log.first() > first
    });
    append(
        &log,
        &[Sample {
            n: log.end().0,
            bytes: 50_000,
        }],
    );
    let end = log.end();
    log.close();
    assert_eq!(open(options(&dir.path().join("log"))).log.end(), end);
}
