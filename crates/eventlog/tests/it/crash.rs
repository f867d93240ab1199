//! Crash images: a log's files as a crash may leave them. What was acknowledged is there, what was
//! never appended is not.

use std::os::unix::fs::FileExt;

use model::Offset;
use proptest::prelude::*;

use crate::support::{
    self, COMMIT_BYTES, DATA_START, Sample, append, batch_of, check_all, copy_dir, files, open,
    options, samples,
};

/// Batches of different sizes, and where in the file each one's commit ends.
fn written(dir: &std::path::Path, sizes: &[(u64, usize)]) -> (Vec<Vec<Sample>>, Vec<u64>) {
    let log = open(options(dir)).log;
    let (mut next, mut position) = (0, DATA_START);
    let (mut batches, mut ends) = (Vec::new(), Vec::new());
    for &(count, bytes) in sizes {
        let batch = samples(next, count, bytes);
        next += count;
        position += u64::try_from(batch_of(&batch).bytes()).unwrap() + COMMIT_BYTES;
        append(&log, &batch);
        batches.push(batch);
        ends.push(position);
    }
    // The image is taken from a running log: no seal was written.
    copy_dir(dir, &dir.join("image"));
    (batches, ends)
}

#[derive(Clone, Debug)]
struct Crash {
    sizes: Vec<(u64, usize)>,
    /// Which batch was being written.
    during: prop::sample::Index,
    /// Which of its sectors had reached the disk.
    kept: Vec<bool>,
}

fn crash() -> impl Strategy<Value = Crash> {
    let size = (1..8_u64, 20..900_usize);
    let sizes = prop::collection::vec(size, 1..8);
    let kept = prop::collection::vec(any::<bool>(), 64);
    (sizes, any::<prop::sample::Index>(), kept).prop_map(|(sizes, during, kept)| Crash {
        sizes,
        during,
        kept,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Any subset of the sectors of the last commit reached the disk.
    #[test]
    fn torn_commit(crash in crash()) {
        let dir = tempfile::tempdir().unwrap();
        let (batches, ends) = written(dir.path(), &crash.sizes);
        let image = dir.path().join("image");
        let during = crash.during.index(batches.len());
        let start = if during == 0 { DATA_START } else { ends[during - 1] };
        let segment = &files(&image, "seg")[0];
        tear(segment, start, ends[during], ends[ends.len() - 1], &crash.kept);

        let opened = open(options(&image));
        prop_assert_eq!(&opened.recovery.quarantined, &[]);
        let acked: Vec<_> = batches[..during].concat();
        let all: Vec<_> = batches[..=during].concat();
        let end = usize::try_from(opened.log.end().0).unwrap();
        prop_assert!(acked.len() <= end && end <= all.len(), "{} of {} to {}", end, acked.len(), all.len());
        check_all(&opened.log, 0, &all[..end]);
        let counted: u64 =
            [7, 8, 9].iter().map(|&s| opened.log.stream_count(model::SourceId(s))).sum();
        prop_assert_eq!(counted, opened.log.end().0);

        // The log goes on, and a second start finds it sealed.
        let more = samples(opened.log.end().0, 5, 100);
        append(&opened.log, &more);
        opened.log.close();
        let again = open(options(&image));
        prop_assert!(again.recovery.clean);
        prop_assert_eq!(&again.recovery.quarantined, &[]);
        check_all(&again.log, 0, &all[..end]);
        check_all(&again.log, 0, &more);
    }

    /// The file holds nothing behind any byte at all, as when the log was cut off there.
    #[test]
    fn cut_anywhere(sizes in prop::collection::vec((1..8_u64, 20..900_usize), 1..6),
                    at in any::<prop::sample::Index>(), shorten in any::<bool>()) {
        let dir = tempfile::tempdir().unwrap();
        let (batches, ends) = written(dir.path(), &sizes);
        let image = dir.path().join("image");
        let used = usize::try_from(ends[ends.len() - 1] - DATA_START).unwrap();
        let cut = DATA_START + u64::try_from(at.index(used)).unwrap();
        let segment = &files(&image, "seg")[0];
        let file = std::fs::OpenOptions::new().write(true).open(segment).unwrap();
        let bytes = file.metadata().unwrap().len();
        file.set_len(cut).unwrap();
        if !shorten {
            file.set_len(bytes).unwrap();
        }
        let whole = ends.iter().filter(|&&end| end <= cut).count();
        let acked: usize = batches[..whole].iter().map(Vec::len).sum();
        let opened = open(options(&image));
        let end = usize::try_from(opened.log.end().0).unwrap();
        prop_assert!(end >= acked, "{end} of {acked}");
        prop_assert_eq!(&opened.recovery.quarantined, &[]);
        check_all(&opened.log, 0, &batches.concat()[..end]);
    }
}

/// Zeros what is behind `end`, and each sector of `start..end` that was not kept.
fn tear(segment: &std::path::Path, start: u64, end: u64, used: u64, kept: &[bool]) {
    let file = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(segment)
        .unwrap();
    let zeros = vec![0; usize::try_from(used - end).unwrap()];
    file.write_all_at(&zeros, end).unwrap();
    let mut at = start;
    for kept in kept.iter().cycle() {
        if at >= end {
            break;
        }
        let next = (at / 512 + 1) * 512;
        if !kept {
            let bytes = usize::try_from(next.min(end) - at).unwrap();
            file.write_all_at(&vec![0; bytes], at).unwrap();
        }
        at = next;
    }
}

/// A tail that may be in the page cache only is written again, as often as the process dies.
#[test]
fn the_tail_is_logged_again_each_time() {
    let dir = tempfile::tempdir().unwrap();
    let mut all = Vec::new();
    let mut at = dir.path().join("0");
    std::fs::create_dir(&at).unwrap();
    for round in 1..6_u64 {
        let opened = open(options(&at));
        assert_eq!(opened.recovery.clean, round == 1);
        // The commit before the last is vouched for by the last: one batch is written again.
        assert_eq!(
            opened.recovery.relogged_records,
            if round == 1 { 0 } else { 3 }
        );
        check_all(&opened.log, 0, &all);
        for _ in 0..2 {
            let next = samples(u64::try_from(all.len()).unwrap(), 3, 150);
            append(&opened.log, &next);
            all.extend(next);
        }
        let image = dir.path().join(round.to_string());
        copy_dir(&at, &image);
        at = image;
    }
    let opened = open(options(&at));
    check_all(&opened.log, 0, &all);
    assert_eq!(opened.log.end(), Offset(30));
    opened.log.close();
    assert_eq!(support::files(&at, "tmp").len(), 0);
}
