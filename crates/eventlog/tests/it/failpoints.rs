//! The process dies at each step at which a crash leaves something different on the disk. A child
//! process does the work; the parent counts.

use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};

use eventlog::local::failpoint::Failpoint;
use eventlog::{AppendError, EventLog, Options};
use model::{Offset, UnixMillis};

use crate::support::{NOW, Sample, batch_of, check_all, open, options, run, samples, wait_until};

const CHILD_DIR: &str = "FAIRLANE_TEST_LOG_DIR";
const BYTES: usize = 60_000;

fn child_options(dir: &Path) -> Options {
    Options {
        retention_bytes_max: 4 << 20,
        idle_seal_ms: 1,
        ..options(&dir.join("log"))
    }
}

/// The parent does not trim.
fn parent_options(dir: &Path) -> Options {
    Options {
        retention_bytes_max: 1 << 30,
        ..child_options(dir)
    }
}

fn spawn(test: &str, dir: &Path, failpoints: &str) -> ExitStatus {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(CHILD_DIR, dir)
        .env("FAIRLANE_FAILPOINTS", failpoints)
        .stderr(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .status()
        .unwrap()
}

/// Appends, rolls and trims until its failpoint kills it. Does nothing in an ordinary test run.
#[test]
fn child_at_work() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let dir = Path::new(&dir);
    let log = open(child_options(dir)).log;
    let mut acked = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(dir.join("acked"))
        .unwrap();
    let from = log.end().0;
    for n in (from..from + 120).step_by(2) {
        let appended = run(log.append(batch_of(&samples(n, 2, BYTES)))).unwrap();
        assert_eq!(appended.first, Offset(n));
        writeln!(acked, "{}", n + 2).unwrap();
        if n % 20 == 0 {
            // Long enough to be idle: seals are written between commits too.
            std::thread::sleep(std::time::Duration::from_millis(5));
            log.trim(Offset(n.saturating_sub(20)), NOW).unwrap();
        }
    }
    log.close();
}

fn acked(dir: &Path) -> u64 {
    let text = std::fs::read_to_string(dir.join("acked")).unwrap_or_default();
    text.lines().last().map_or(0, |line| line.parse().unwrap())
}

#[test]
fn nothing_acknowledged_is_lost_at_any_step() {
    for point in Failpoint::ALL {
        for hit in [1, 3] {
            let relogs = point.name().starts_with("log_relog");
            if relogs && hit > 1 {
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            std::fs::create_dir(dir.path().join("log")).unwrap();
            if relogs {
                let rule = format!("{}=abort@9", Failpoint::SyncAfter.name());
                spawn("failpoints::child_at_work", dir.path(), &rule);
            }
            let rule = format!("{}=abort@{hit}", point.name());
            let status = spawn("failpoints::child_at_work", dir.path(), &rule);
            assert_eq!(status.code(), None, "{rule} was not reached: {status}");

            let opened = open(parent_options(dir.path()));
            assert_eq!(opened.recovery.quarantined, [], "{rule}");
            let (log, acked) = (opened.log, acked(dir.path()));
            assert!(log.end().0 >= acked, "{rule}: {} of {acked}", log.end());
            let kept = samples(log.first().0, log.end().0 - log.first().0, BYTES);
            check_all(&log, 0, &kept);
            let counts: u64 = log.stream_counts().values().sum();
            assert_eq!(counts, log.end().0, "{rule}");
            check_goes_on(log, dir.path());
        }
    }
}

fn check_goes_on(log: EventLog, dir: &Path) {
    let more = samples(log.end().0, 12, BYTES);
    more.chunks(4).for_each(|batch| {
        run(log.append(batch_of(batch))).unwrap();
    });
    log.close();
    let again = open(parent_options(dir));
    assert!(again.recovery.clean);
    check_all(&again.log, 0, &more);
}

static FATAL: AtomicBool = AtomicBool::new(false);

/// Sees a failed `fdatasync` from inside. Does nothing in an ordinary test run.
#[test]
fn child_with_a_failing_disk() {
    let Some(dir) = std::env::var_os(CHILD_DIR) else {
        return;
    };
    let on_fatal = |_: &str| FATAL.store(true, Ordering::SeqCst);
    let log = open(Options {
        on_fatal,
        ..child_options(Path::new(&dir))
    })
    .log;
    for n in 0..4 {
        run(log.append(batch_of(&[Sample { n, bytes: 100 }]))).unwrap();
    }
    for n in 4..6 {
        let failed = run(log.append(batch_of(&[Sample { n, bytes: 100 }])));
        assert_eq!(failed, Err(AppendError::Failed));
    }
    assert_eq!(
        log.end(),
        Offset(4),
        "what may not be durable cannot be read"
    );
    wait_until("the process is told to end", || {
        FATAL.load(Ordering::SeqCst)
    });
    std::process::exit(42);
}

#[test]
fn a_failed_sync_fails_the_append_and_ends_the_process() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("log")).unwrap();
    let status = spawn(
        "failpoints::child_with_a_failing_disk",
        dir.path(),
        "log_sync=error@5",
    );
    assert_eq!(status.code(), Some(42), "{status}");
    let opened = open(child_options(dir.path()));
    assert!(!opened.recovery.clean && opened.recovery.relogged_records > 0);
    assert_eq!(opened.recovery.quarantined, []);
    check_all(&opened.log, 0, &samples(0, 4, 100));
    assert!(
        opened.log.end() <= Offset(5),
        "the failed batch may be there, nothing else"
    );
    assert_eq!(opened.log.offset_at(UnixMillis(0)), Offset(0));
}
