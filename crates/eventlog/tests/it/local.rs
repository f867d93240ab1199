//! What only the log on a local disk does: its lock, its segments, retention.

use eventlog::{AppendError, Error, EventLog, Options};
use model::{Offset, SourceId, UnixMillis};

use crate::support::{
    NOW, append, batch_of, check_all, files, open, options, run, samples, wait_until,
};

#[test]
fn a_second_process_is_told_to_go_elsewhere() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(options(dir.path()));
    let second = EventLog::open(options(dir.path()), NOW);
    assert!(matches!(second, Err(Error::Locked(path)) if path == dir.path()));
    first.log.close();
    drop(open(options(dir.path())));
}

#[test]
fn a_wrong_directory_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    assert!(matches!(
        EventLog::open(options(&file), NOW),
        Err(Error::NotADirectory(_))
    ));
    let nowhere = dir.path().join("no/where");
    assert!(matches!(
        EventLog::open(options(&nowhere), NOW),
        Err(Error::NotWritable { .. })
    ));
    let tiny = Options {
        segment_bytes_max: 5,
        ..options(dir.path())
    };
    let error = EventLog::open(tiny, NOW).unwrap_err().to_string();
    expect_test::expect![[
        r#"option segment_bytes_max is 5: it must be from 524288 (512 KiB) to 1073741824 (1 GiB)"#
    ]]
    .assert_eq(&error);
}

#[test]
fn a_newer_format_is_refused_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    open(options(dir.path())).log.close();
    let segment = &files(dir.path(), "seg")[0];
    let mut bytes = std::fs::read(segment).unwrap();
    for at in [0, 4096] {
        bytes[at + 8] = 2;
        let crc = crc32c::crc32c(&bytes[at..at + 60]);
        bytes[at + 60..at + 64].copy_from_slice(&crc.to_le_bytes());
    }
    std::fs::write(segment, &bytes).unwrap();
    let refused = EventLog::open(options(dir.path()), NOW);
    assert!(matches!(refused, Err(Error::TooNew { version: 2, .. })));
    assert!(std::fs::read(segment).unwrap() == bytes);
}

#[test]
fn a_batch_that_fits_no_segment_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(options(dir.path())).log;
    let refused = run(log.append(batch_of(&samples(0, 6, 100_000))));
    assert!(matches!(refused, Err(AppendError::TooLarge { .. })));
    append(&log, &samples(0, 5, 100_000));
}

#[test]
fn a_batch_larger_than_the_first_small_segment_fits() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(Options {
        segment_bytes_max: 16 << 20,
        ..options(dir.path())
    })
    .log;
    let all = samples(0, 60, 120_000);
    append(&log, &all);
    check_all(&log, 0, &all);
    log.close();
    let opened = open(Options {
        segment_bytes_max: 16 << 20,
        ..options(dir.path())
    });
    assert!(opened.recovery.clean);
    check_all(&opened.log, 0, &all);
}

#[test]
fn over_the_queue_bound_appends_are_refused_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(Options {
        commit_queue_bytes_max: 1,
        ..options(dir.path())
    })
    .log;
    let batches: Vec<_> = (0..64).map(|n| batch_of(&samples(n, 1, 50_000))).collect();
    let results = run(async {
        let mut tasks = tokio::task::JoinSet::new();
        for batch in batches {
            let log = log.clone();
            tasks.spawn(async move { log.append(batch).await });
        }
        tasks.join_all().await
    });
    let accepted = results.iter().filter(|result| result.is_ok()).count();
    let overloaded = |result: &&Result<_, _>| matches!(result, Err(AppendError::Overloaded { .. }));
    assert!(accepted >= 1);
    assert_eq!(accepted + results.iter().filter(overloaded).count(), 64);
    assert_eq!(log.end().0, u64::try_from(accepted).unwrap());
}

#[test]
fn an_idle_log_seals_itself() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(Options {
        idle_seal_ms: 1,
        ..options(dir.path())
    })
    .log;
    append(&log, &samples(0, 2, 100));
    let image = tempfile::tempdir().unwrap();
    wait_until("a copy of the running log is clean", || {
        std::fs::remove_dir_all(image.path()).unwrap();
        crate::support::copy_dir(dir.path(), image.path());
        open(options(image.path())).recovery.clean
    });
}

#[test]
fn retention_goes_by_age_also_where_unsettled() {
    let dir = tempfile::tempdir().unwrap();
    let day = 24 * 3_600 * 1_000;
    let limits = Options {
        retention_age_ms: 60_000,
        ..options(dir.path())
    };
    let log = open(limits.clone()).log;
    let all = samples(0, 60, 50_000);
    all.chunks(5).for_each(|batch| {
        append(&log, batch);
    });
    wait_until("indexes are written", || {
        files(dir.path(), "idx").len() + 1 == files(dir.path(), "seg").len()
    });
    let kept = log.trim(Offset(30), NOW).unwrap();
    assert!(
        kept.offsets.is_empty(),
        "settled records are kept until a limit"
    );
    // Record n was received at NOW + 10 n: a minute later all but the newest segments are old.
    let trimmed = log
        .trim(Offset(3), UnixMillis(NOW.0 + 60_000 + 300))
        .unwrap();
    assert!(trimmed.unsettled && trimmed.segments > 0);
    assert_eq!(trimmed.offsets, Offset(0)..log.first());
    assert!(log.first() > Offset(10) && log.first() <= Offset(30));
    let gone = log.read(Offset(0));
    assert!(matches!(gone, Err(Error::Trimmed { first }) if first == log.first()));
    let seven = SourceId(7);
    assert_eq!(log.stream_count(seven), 20);
    let before_first = log.first().0.div_ceil(3);
    assert_eq!(
        log.stream_count_before(seven, log.first()).unwrap(),
        before_first
    );

    // The active segment is rolled, so that an idle log empties as well.
    wait_until("all is removed", || {
        log.trim(Offset(3), UnixMillis(NOW.0 + day)).unwrap();
        log.first() == Offset(60)
    });
    assert_eq!(files(dir.path(), "seg").len(), 1);
    log.close();
    let opened = open(limits);
    assert_eq!(
        (opened.log.first(), opened.log.end()),
        (Offset(60), Offset(60))
    );
    assert_eq!(
        opened.log.stream_count(seven),
        20,
        "counts outlive the records"
    );
    assert_eq!(opened.recovery.quarantined, []);
    let more = samples(60, 40, 50_000);
    more.chunks(5).for_each(|batch| {
        append(&opened.log, batch);
    });
    check_all(&opened.log, 60, &more);
}

#[test]
fn a_clock_that_jumps_removes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let log = open(options(dir.path())).log;
    let all = samples(0, 40, 50_000);
    all.chunks(5).for_each(|batch| {
        append(&log, batch);
    });
    wait_until("indexes are written", || {
        files(dir.path(), "idx").len() >= 3
    });
    let fifty_years = UnixMillis(NOW.0 + 50 * 365 * 24 * 3_600 * 1_000);
    for now in [
        fifty_years,
        fifty_years,
        NOW,
        fifty_years,
        UnixMillis(0),
        NOW,
    ] {
        assert!(log.trim(Offset(40), now).unwrap().offsets.is_empty());
    }
    check_all(&log, 0, &all);
}

#[test]
fn recycled_segments_do_not_show_their_past() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Options {
        retention_bytes_max: 2 << 20,
        ..options(dir.path())
    };
    let mut log = open(limits.clone()).log;
    for round in 0..40_u64 {
        let batch = samples(round * 5, 5, 50_000);
        wait_until("there is room", || {
            log.trim(log.end(), NOW).unwrap();
            run(log.append(batch_of(&batch))).is_ok()
        });
        if round % 8 == 7 {
            // An image of the running log is what a crash leaves.
            let image = tempfile::tempdir().unwrap();
            crate::support::copy_dir(dir.path(), image.path());
            let opened = open(Options {
                dir: image.path().to_owned(),
                ..limits.clone()
            });
            assert_eq!(opened.recovery.quarantined, []);
            assert_eq!(opened.recovery.torn_bytes, 0);
            assert_eq!(opened.log.end(), log.end());
            check_all(&opened.log, opened.log.first().0, &batch);
            log.close();
            log = open(limits.clone()).log;
        }
    }
}
