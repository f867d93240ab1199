//! Format version 1 opens for ever: these files were written once and are never written again.

use std::path::{Path, PathBuf};

use eventlog::Options;
use model::{Offset, SourceId, UnixMillis};

use crate::support::{self, NOW, append, check_all, copy_dir, files, options, samples, wait_until};

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/v1")
}

#[test]
fn version_1_opens() {
    let dir = tempfile::tempdir().unwrap();
    copy_dir(&golden(), dir.path());
    let opened = support::open(options(dir.path()));
    let (log, report) = (opened.log, opened.recovery);
    // The files were cut behind their last byte to be small: that is no clean end.
    assert_eq!(report.quarantined, []);
    assert_eq!((log.first(), log.end()), (Offset(6), Offset(17)));
    check_all(&log, 6, &samples(6, 11, 70));
    assert_eq!(
        [7, 8, 9].map(|stream| log.stream_count(SourceId(stream))),
        [6, 6, 5]
    );
    assert_eq!(log.stream_count_before(SourceId(8), Offset(12)).unwrap(), 4);
    let mut hashes = Vec::new();
    log.messages_since(UnixMillis(0), &mut |_, hash, _| hashes.push(hash))
        .unwrap();
    assert_eq!(
        hashes,
        samples(6, 11, 0)
            .iter()
            .map(|s| s.message_hash())
            .collect::<Vec<_>>()
    );
    append(&log, &samples(17, 3, 70));
    check_all(&log, 6, &samples(6, 14, 70));
}

#[test]
fn version_1_opens_without_its_indexes() {
    let dir = tempfile::tempdir().unwrap();
    copy_dir(&golden(), dir.path());
    files(dir.path(), "idx")
        .iter()
        .for_each(|index| std::fs::remove_file(index).unwrap());
    let opened = support::open(options(dir.path()));
    assert_eq!(opened.recovery.rebuilt_indexes, 1);
    assert_eq!(opened.recovery.quarantined, []);
    check_all(&opened.log, 6, &samples(6, 11, 70));
    assert_eq!(opened.log.stream_count(SourceId(7)), 6);
}

/// Writes the fixtures. By hand, once for each format version.
#[test]
#[ignore = "writes golden/v1, which must never change"]
fn write_version_1() {
    assert!(
        !golden().exists(),
        "golden/v1 is there: a new format gets a new directory"
    );
    let dir = tempfile::tempdir().unwrap();
    let log = support::open(Options {
        retention_age_ms: 1_000,
        ..options(dir.path())
    })
    .log;
    let later = UnixMillis(NOW.0 + 60_000);
    append(&log, &samples(0, 6, 70));
    wait_until("the first segment is trimmed", || {
        log.trim(Offset(6), later).unwrap();
        log.first() == Offset(6)
    });
    append(&log, &samples(6, 6, 70));
    log.trim(Offset(6), later).unwrap();
    wait_until("the second is sealed", || {
        files(dir.path(), "idx").len() == 1
    });
    append(&log, &samples(12, 2, 70));
    append(&log, &samples(14, 3, 70));
    log.close();
    std::fs::create_dir_all(golden()).unwrap();
    for extension in ["seg", "idx", "trimmed"] {
        for path in files(dir.path(), extension) {
            let mut bytes = std::fs::read(&path).unwrap();
            let used = bytes.iter().rposition(|&byte| byte != 0).unwrap() + 1;
            bytes.truncate(if extension == "seg" {
                used.next_multiple_of(8)
            } else {
                bytes.len()
            });
            std::fs::write(golden().join(path.file_name().unwrap()), bytes).unwrap();
        }
    }
}
