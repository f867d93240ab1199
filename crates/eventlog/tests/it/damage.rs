//! Damage to what was durable: found, reported with exact offsets, and later records are served.

use std::os::unix::fs::FileExt;
use std::path::Path;

use eventlog::{Error, Options};
use model::{Offset, SourceId};

use crate::support::{
    self, COMMIT_BYTES, DATA_START, Sample, append, batch_of, check_all, copy_dir, files, open,
    options, samples,
};

/// Five closed segments of 8 records of 60,000 bytes each, roughly.
fn five_segments(dir: &Path) -> Vec<Sample> {
    let log = open(options(dir)).log;
    let all = samples(0, 40, 60_000);
    all.chunks(4).for_each(|batch| {
        append(&log, batch);
    });
    support::wait_until("indexes are written", || {
        files(dir, "idx").len() + 1 >= files(dir, "seg").len()
    });
    log.close();
    assert!(files(dir, "seg").len() >= 5);
    all
}

fn flip(path: &Path, at: u64, bit: u8) {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(path)
        .unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ (1 << bit)], at).unwrap();
}

fn first_of(path: &Path) -> u64 {
    path.file_stem().unwrap().to_str().unwrap().parse().unwrap()
}

/// What is damaged in the newest segment stays in its stream: who comes to it is told.
#[test]
fn a_damaged_payload_is_still_counted_and_listed() {
    let dir = tempfile::tempdir().unwrap();
    let all = samples(0, 30, 90);
    let log = open(options(dir.path())).log;
    append(&log, &all);
    log.close();
    let stored = u64::try_from(batch_of(&all).bytes()).unwrap() / 30;
    let at = DATA_START + 11 * stored - 20;
    flip(&files(dir.path(), "seg")[0], at, 1);
    for _ in 0..2 {
        let log = open(options(dir.path())).log;
        assert_eq!(damaged(&log, &all), [10]);
        let counted: u64 = log.stream_counts().values().sum();
        assert_eq!(counted, 30);
        let listed: usize = log
            .stream_counts()
            .keys()
            .map(|&stream| {
                let mut listed = Vec::new();
                log.offsets(stream, Offset(0), 100, &mut listed).unwrap();
                listed.len()
            })
            .sum();
        assert_eq!(listed, 30);
        log.close();
    }
}

/// Reads all; returns the offsets that are damaged, and checks the others.
fn damaged(log: &eventlog::EventLog, all: &[Sample]) -> Vec<u64> {
    let mut damaged = Vec::new();
    for sample in all {
        match log.read(Offset(sample.n)) {
            Ok(record) => sample.check(&record),
            Err(Error::Damaged { offset, .. }) => damaged.push(offset.0),
            Err(error) => panic!("record {}: {error}", sample.n),
        }
    }
    damaged
}

#[test]
fn a_flipped_bit_of_the_active_segment_costs_its_record_only() {
    let dir = tempfile::tempdir().unwrap();
    let origin = dir.path().join("origin");
    std::fs::create_dir(&origin).unwrap();
    let all = samples(0, 30, 90);
    let log = open(options(&origin)).log;
    all.chunks(5).for_each(|batch| {
        append(&log, batch);
    });
    log.close();
    let batch_bytes = u64::try_from(batch_of(&all[..5]).bytes()).unwrap() + COMMIT_BYTES;
    let used = 6 * batch_bytes + COMMIT_BYTES;
    for step in 0..40_u64 {
        let image = dir.path().join(format!("image-{step}"));
        copy_dir(&origin, &image);
        let at = DATA_START + step * used / 40 + step % 7;
        flip(
            &files(&image, "seg")[0],
            at,
            u8::try_from(step % 8).unwrap(),
        );
        let opened = open(options(&image));
        let lost = damaged(&opened.log, &all);
        let in_seal = at >= DATA_START + 6 * batch_bytes;
        assert!(
            in_seal || !opened.recovery.quarantined.is_empty(),
            "a flip at {at} was not seen"
        );
        assert!(lost.len() <= 1, "a flip at {at} cost {lost:?}");
        let reported: Vec<u64> = opened
            .recovery
            .quarantined
            .iter()
            .flat_map(|range| range.offsets.start.0..range.offsets.end.0)
            .collect();
        // A record whose padding alone was hit is reported, and can be read.
        let told = lost.iter().all(|offset| reported.contains(offset));
        assert!(told && reported.len() <= 1, "a flip at {at}: {reported:?}");
        let more = samples(30, 2, 100);
        append(&opened.log, &more);
        check_all(&opened.log, 0, &more);
        opened.log.close();
        let again = open(options(&image));
        assert_eq!(
            damaged(&again.log, &all),
            lost,
            "a flip at {at}, opened again"
        );
        check_all(&again.log, 0, &more);
        again.log.close();
        std::fs::remove_dir_all(&image).unwrap();
    }
}

#[test]
fn a_flipped_bit_of_a_sealed_segment_costs_its_record_only() {
    let dir = tempfile::tempdir().unwrap();
    let all = five_segments(dir.path());
    let segment = &files(dir.path(), "seg")[1];
    flip(segment, DATA_START + 100_000, 3);
    for without_index in [false, true] {
        if without_index {
            std::fs::remove_file(segment.with_extension("idx")).unwrap();
        }
        let opened = open(options(dir.path()));
        assert_eq!(opened.recovery.rebuilt_indexes, u64::from(without_index));
        let lost = damaged(&opened.log, &all);
        assert_eq!(lost, [first_of(segment) + 1]);
        assert_eq!(opened.log.stats().damaged_records, 1);
        assert_eq!(opened.log.stats().damaged[0].offsets.start.0, lost[0]);
    }
}

#[test]
fn four_zeroed_kib_cost_what_they_hit() {
    let dir = tempfile::tempdir().unwrap();
    let all = five_segments(dir.path());
    let segments = files(dir.path(), "seg");
    let zero = |path: &Path, at| {
        let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(&[0; 4096], at).unwrap();
    };
    zero(&segments[0], 0);
    zero(&segments[1], 4096);
    zero(&segments[2], DATA_START + 4096);
    let opened = open(options(dir.path()));
    assert_eq!(damaged(&opened.log, &all), [first_of(&segments[2])]);
}

#[test]
fn an_unreadable_header_is_told_by_the_index() {
    let dir = tempfile::tempdir().unwrap();
    let all = five_segments(dir.path());
    let segments = files(dir.path(), "seg");
    for segment in &segments[..2] {
        let file = std::fs::OpenOptions::new()
            .write(true)
            .open(segment)
            .unwrap();
        file.write_all_at(&[0; 8192], 0).unwrap();
    }
    std::fs::remove_file(segments[1].with_extension("idx")).unwrap();
    let opened = open(options(dir.path()));
    let lost: Vec<_> = (first_of(&segments[1])..first_of(&segments[2])).collect();
    assert_eq!(damaged(&opened.log, &all), lost);
    let reported: u64 = opened
        .recovery
        .quarantined
        .iter()
        .map(|range| range.offsets.end.0 - range.offsets.start.0)
        .sum();
    assert_eq!(reported, u64::try_from(lost.len()).unwrap());
    assert_eq!(files(dir.path(), "quarantined").len(), 1);
}

#[test]
fn swapped_names_cost_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let all = five_segments(dir.path());
    let segments = files(dir.path(), "seg");
    let aside = dir.path().join("aside");
    std::fs::rename(&segments[1], &aside).unwrap();
    std::fs::rename(&segments[3], &segments[1]).unwrap();
    std::fs::rename(&aside, &segments[3]).unwrap();
    let opened = open(options(dir.path()));
    assert_eq!(opened.recovery.quarantined, []);
    check_all(&opened.log, 0, &all);
    assert_eq!(files(dir.path(), "seg"), segments);
}

#[test]
fn a_missing_segment_is_reported_and_the_rest_is_served() {
    for missing in [0, 2, 4] {
        let dir = tempfile::tempdir().unwrap();
        let all = five_segments(dir.path());
        let segments = files(dir.path(), "seg");
        let (from, to) = (
            first_of(&segments[missing]),
            segments.get(missing + 1).map(|p| first_of(p)),
        );
        std::fs::remove_file(&segments[missing]).unwrap();
        let last = to.is_none();
        // What the store remembers keeps lost offsets from being given out again.
        let end_min = Offset(if last { 40 } else { 0 });
        let opened = open(Options {
            end_min,
            ..options(dir.path())
        });
        let ranges = &opened.recovery.quarantined;
        assert_eq!(ranges.len(), 1, "{ranges:?}");
        assert_eq!(ranges[0].offsets, Offset(from)..Offset(to.unwrap_or(40)));
        let served: Vec<_> = all
            .iter()
            .copied()
            .filter(|s| s.n < from || to.is_some_and(|to| s.n >= to))
            .collect();
        check_all(&opened.log, 0, &served);
        assert_eq!(append(&opened.log, &samples(40, 1, 50)).first, Offset(40));
        if missing == 2 {
            assert_eq!(
                opened.log.stream_count(SourceId(7)),
                14,
                "counts outlive the records"
            );
        }
    }
}

#[test]
fn a_segment_cut_short_is_reported_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let all = five_segments(dir.path());
    let segments = files(dir.path(), "seg");
    let stored = u64::try_from(batch_of(&all[..1]).bytes()).unwrap();
    let file = std::fs::OpenOptions::new()
        .write(true)
        .open(&segments[1])
        .unwrap();
    file.set_len(DATA_START + 2 * stored + 100).unwrap();
    let lost: Vec<_> = (first_of(&segments[1]) + 2..first_of(&segments[2])).collect();
    let opened = open(options(dir.path()));
    let range = &opened.recovery.quarantined[0];
    assert_eq!(
        range.offsets,
        Offset(lost[0])..Offset(first_of(&segments[2]))
    );
    assert_eq!(damaged(&opened.log, &all), lost);
}

#[test]
fn damaged_and_missing_indexes_are_rebuilt() {
    let dir = tempfile::tempdir().unwrap();
    let all = five_segments(dir.path());
    let indexes = files(dir.path(), "idx");
    flip(&indexes[0], 20, 1);
    flip(&indexes[1], 97, 1);
    let body = std::fs::metadata(&indexes[2]).unwrap().len() - 3;
    flip(&indexes[2], body, 1);
    std::fs::remove_file(&indexes[3]).unwrap();
    let opened = open(options(dir.path()));
    assert_eq!(
        opened.recovery.rebuilt_indexes, 3,
        "the third is found out when it is used"
    );
    assert_eq!(opened.recovery.quarantined, []);
    check_all(&opened.log, 0, &all);
    let listed = crate::conformance::list(&opened.log, SourceId(9), Offset(0), 100);
    assert_eq!(listed.len(), 13);
    assert_eq!(
        opened
            .log
            .stream_count_before(SourceId(7), Offset(30))
            .unwrap(),
        10
    );
}
