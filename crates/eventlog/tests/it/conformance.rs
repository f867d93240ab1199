//! What every kind of event log promises: the same suite runs on each.

use std::path::Path;

use eventlog::{AppendBatch, AppendError, Error, EventLog, RecordFlags, RecordRef};
use model::{Offset, SourceId, UnixMillis};

use crate::support::{self, NOW, Sample, append, batch_of, run, samples};

#[test]
fn local() {
    suite(|dir| support::open(support::options(dir)).log);
}

/// `make` opens the log of a directory; opening the same one again finds what was appended.
pub fn suite(make: impl Fn(&Path) -> EventLog) {
    let checks: [fn(Make<'_>, &Path); 8] = [
        empty_log,
        records_come_back,
        offsets_by_stream,
        counts_and_times,
        growth_is_told,
        concurrent_appends_get_offsets_of_their_own,
        barrier_and_close,
        everything_survives_reopening,
    ];
    for check in checks {
        let dir = tempfile::tempdir().unwrap();
        check(&make, dir.path());
    }
}

type Make<'a> = &'a dyn Fn(&Path) -> EventLog;

fn empty_log(make: Make<'_>, dir: &Path) {
    let log = make(dir);
    assert_eq!((log.first(), log.end()), (Offset(0), Offset(0)));
    let at = Offset(0);
    assert!(
        matches!(log.read(at), Err(Error::Beyond { offset, end }) if offset == at && end == at)
    );
    assert_eq!(
        log.offsets(SourceId(1), at, 10, &mut Vec::new()).unwrap(),
        at
    );
    assert_eq!(log.stream_count(SourceId(1)), 0);
    assert_eq!(log.offset_at(NOW), at);
}

fn records_come_back(make: Make<'_>, dir: &Path) {
    let log = make(dir);
    let all = samples(0, 40, 300);
    for (at, group) in all.chunks(7).enumerate() {
        let appended = append(&log, group);
        let first = u64::try_from(at * 7).unwrap();
        let last = first + u64::try_from(group.len()).unwrap() - 1;
        assert_eq!(
            (appended.first, appended.last),
            (Offset(first), Offset(last))
        );
    }
    assert_eq!(log.end(), Offset(40));
    support::check_all(&log, 0, &all);
    for sample in &all {
        sample.check(
            &log.try_read(Offset(sample.n))
                .unwrap()
                .expect("it was just appended"),
        );
    }
    let mut empty = AppendBatch::new();
    empty.push(SourceId(3), NOW, 1, RecordFlags::HAS_INTEGRATIONS, b"");
    let largest = vec![b'x'; model::limits::RECORD_BYTES_MAX];
    empty.push(SourceId(3), NOW, 2, RecordFlags::NONE, &largest);
    run(log.append(empty)).unwrap();
    assert_eq!(log.read(Offset(40)).unwrap().payload.len(), 0);
    assert_eq!(log.read(Offset(41)).unwrap().payload, largest);
}

/// All offsets of a stream, in steps of `max`.
pub fn list(log: &EventLog, stream: SourceId, from: Offset, max: usize) -> Vec<RecordRef> {
    let (mut out, mut at) = (Vec::new(), from);
    while at < log.end() {
        let next = log.offsets(stream, at, max, &mut out).unwrap();
        assert!(next > at || out.len() >= max, "no progress at {at}");
        at = next;
    }
    out
}

fn offsets_by_stream(make: Make<'_>, dir: &Path) {
    let log = make(dir);
    let all = samples(0, 100, 60);
    all.chunks(9).for_each(|group| {
        append(&log, group);
    });
    for stream in [7, 8, 9, 10].map(SourceId) {
        for from in [0, 1, 50, 99, 100] {
            let expected: Vec<_> = all
                .iter()
                .filter(|sample| sample.stream() == stream && sample.n >= from)
                .map(|sample| RecordRef {
                    offset: Offset(sample.n),
                    bytes: u32::try_from(sample.payload().len()).unwrap(),
                    received_at: sample.received_at(),
                })
                .collect();
            for max in [1, 4, 1_000] {
                assert_eq!(list(&log, stream, Offset(from), max), expected);
            }
        }
    }
    let mut out = Vec::new();
    let scanned = log.offsets(SourceId(7), Offset(0), 2, &mut out).unwrap();
    assert_eq!(
        out.iter().map(|record| record.offset.0).collect::<Vec<_>>(),
        [0, 3]
    );
    assert!(
        scanned > Offset(3) && scanned <= Offset(6),
        "all below {scanned} was listed"
    );
}

fn counts_and_times(make: Make<'_>, dir: &Path) {
    let log = make(dir);
    append(&log, &samples(0, 31, 50));
    assert_eq!(
        [7, 8, 9, 1].map(|stream| log.stream_count(SourceId(stream))),
        [11, 10, 10, 0]
    );
    let before = |offset| {
        log.stream_count_before(SourceId(7), Offset(offset))
            .unwrap()
    };
    assert_eq!([0, 1, 3, 4, 31, 1_000].map(before), [0, 1, 1, 2, 11, 11]);
    assert_eq!(log.offset_at(UnixMillis(0)), Offset(0));
    assert_eq!(log.offset_at(UnixMillis(NOW.0 + 51)), Offset(6));
    assert_eq!(log.offset_at(UnixMillis(NOW.0 + 10_000)), Offset(31));
    let mut seen = Vec::new();
    let since = UnixMillis(NOW.0 + 290);
    log.messages_since(since, &mut |stream, hash, at| seen.push((stream, hash, at)))
        .unwrap();
    let expected: Vec<_> = samples(29, 2, 0)
        .into_iter()
        .map(|sample| (sample.stream(), sample.message_hash(), sample.received_at()))
        .collect();
    assert_eq!(seen, expected);
}

fn growth_is_told(make: Make<'_>, dir: &Path) {
    let log = make(dir);
    append(&log, &samples(0, 3, 50));
    let mut growth = log.grew();
    let mut out = Vec::new();
    assert!(!growth.take(&mut out), "only growth from now on");
    append(&log, &samples(3, 2, 50));
    append(&log, &samples(5, 2, 50));
    run(growth.next(&mut out));
    out.sort_unstable();
    // Coalesced: 3, 6 went to stream 7; 4 to stream 8; 5 to stream 9.
    let ends = [(7, 7), (8, 5), (9, 6)].map(|(stream, end)| (SourceId(stream), Offset(end)));
    assert_eq!(out, ends);
}

fn concurrent_appends_get_offsets_of_their_own(make: Make<'_>, dir: &Path) {
    let log = make(dir);
    let producers: Vec<_> = (0..8_u64)
        .map(|producer| {
            let log = log.clone();
            std::thread::spawn(move || {
                let mine = (0..50).map(|n| Sample {
                    n: producer * 50 + n,
                    bytes: 200,
                });
                mine.map(|sample| (append(&log, &[sample]).first, sample))
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let mut all: Vec<_> = producers
        .into_iter()
        .flat_map(|p| p.join().unwrap())
        .collect();
    all.sort_by_key(|(offset, _)| *offset);
    for (at, (offset, sample)) in all.iter().enumerate() {
        assert_eq!(offset.0, u64::try_from(at).unwrap());
        sample.check(&log.read(*offset).unwrap());
    }
}

fn barrier_and_close(make: Make<'_>, dir: &Path) {
    let log = make(dir);
    append(&log, &samples(0, 3, 50));
    let barrier = run(log.append(AppendBatch::new())).unwrap();
    assert_eq!((barrier.first, barrier.last), (Offset(3), Offset(3)));
    let other = log.clone();
    log.close();
    let refused = run(other.append(batch_of(&samples(3, 1, 50))));
    assert_eq!(refused, Err(AppendError::Closed));
    support::check_all(&other, 0, &samples(0, 3, 50));
}

fn everything_survives_reopening(make: Make<'_>, dir: &Path) {
    // Enough for several segments.
    let all = samples(0, 120, 20_000);
    for group in all.chunks(30) {
        let log = make(dir);
        assert_eq!(log.end(), Offset(group[0].n));
        group.chunks(4).for_each(|batch| {
            append(&log, batch);
        });
        log.close();
    }
    let log = make(dir);
    support::check_all(&log, 0, &all);
    assert_eq!(
        [7, 8, 9].map(|stream| log.stream_count(SourceId(stream))),
        [40, 40, 40]
    );
    for offset in [0, 1, 59, 60, 119, 120] {
        let before = log
            .stream_count_before(SourceId(7), Offset(offset))
            .unwrap();
        assert_eq!(before, offset.div_ceil(3), "below {offset}");
    }
    assert_eq!(list(&log, SourceId(8), Offset(0), 7).len(), 40);
    let mut hashes = Vec::new();
    log.messages_since(UnixMillis(0), &mut |_, hash, _| hashes.push(hash))
        .unwrap();
    assert_eq!(
        hashes,
        all.iter()
            .map(|sample| sample.message_hash())
            .collect::<Vec<_>>()
    );
    assert_eq!(log.offset_at(UnixMillis(NOW.0 + 555)), Offset(56));
}
