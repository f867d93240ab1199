//! Damaged files: refused or contained, never made anew over what is there.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use model::{Offset, OutcomeCounts};

use super::{NOW, at_cursor, commit, live, names, open, options, raw};
use crate::{CommitBatch, Error, Store};

/// The number, from 1, of the first page of a table.
fn root(dir: &Path, table: &str) -> usize {
    let sql = "SELECT rootpage FROM sqlite_schema WHERE name = ?1";
    raw(dir)
        .query_row(sql, [table], |row| {
            row.get(0).map(|page: u32| page as usize)
        })
        .unwrap()
}

#[test]
fn a_damaged_window_falls_back_to_its_cursor() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let lanes = store.add_lanes(&[live(1), live(2)]).unwrap();
    let progress = lanes.iter().map(|lane| at_cursor(*lane, 50)).collect();
    commit(
        &store,
        CommitBatch {
            lanes: progress,
            ..CommitBatch::default()
        },
    )
    .unwrap();
    raw(dir.path())
        .execute(
            "UPDATE lanes SET progress = zeroblob(length(progress)) WHERE id = ?1",
            [lanes[0].0],
        )
        .unwrap();
    let rows = store.lanes().unwrap();
    assert!(rows[0].damaged && !rows[1].damaged);
    assert_eq!(rows[0].progress.cursor, Offset(50));
    assert_eq!(rows[0].progress.settled_above, vec![]);
    assert_eq!(rows[0].progress.counts, OutcomeCounts::default());
    assert_eq!(rows[1].progress, at_cursor(lanes[1], 50));
}

#[test]
fn a_damaged_file_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("state.db");
    let store = open(dir.path());
    store.source_ids(&names(&["web"])).unwrap();
    store
        .add_lanes(&(1..2_000).map(live).collect::<Vec<_>>())
        .unwrap();
    drop(store);
    let good = fs::read(&path).unwrap();

    // Noise over the header, over every page, in single pages; a file cut in half; an empty one.
    let mut images = vec![
        vec![0x5a; good.len()],
        good[..good.len() / 2].to_vec(),
        vec![],
    ];
    for page in [1, root(dir.path(), "lanes"), root(dir.path(), "names")] {
        let mut image = good.clone();
        image[(page - 1) * 4096..page * 4096].fill(0x5a);
        images.push(image);
    }
    for (number, image) in images.iter().enumerate() {
        fs::write(&path, image).unwrap();
        let error = Store::open(options(dir.path()), NOW).and_then(|store| store.lanes());
        let error = error
            .err()
            .unwrap_or_else(|| panic!("image {number} was taken"));
        assert!(
            matches!(error, Error::Damaged { .. }),
            "image {number}: {error}"
        );
        assert!(error.to_string().contains("move"), "{error}");
        assert_eq!(
            &fs::read(&path).unwrap(),
            image,
            "image {number} was changed"
        );
    }
    fs::write(&path, &good).unwrap();
    assert_eq!(open(dir.path()).lanes().unwrap().len(), 1_999);
}

#[test]
fn pages_that_go_bad_while_running_are_damage_to_reader_and_writer() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let lanes = store
        .add_lanes(&(1..5_000).map(live).collect::<Vec<_>>())
        .unwrap();
    drop(store);
    let path = dir.path().join("state.db");
    let at = u64::try_from(root(dir.path(), "dead_letters") - 1).unwrap() * 4096;
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0x5a; 4096], at).unwrap();

    // Not looked over at start, for it may be large: found when it is used.
    let store = open(dir.path());
    let error = store
        .dead_letters(&crate::DeadLetterFilter::default())
        .err()
        .unwrap();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    let batch = CommitBatch {
        lanes: vec![at_cursor(lanes[0], 9)],
        dead_letters: vec![super::letter(1, 3, "{}")],
        ..CommitBatch::default()
    };
    let Err(Error::NotCommitted { cause, batch: back }) = commit(&store, batch.clone()) else {
        panic!("committed into a damaged table")
    };
    assert!(matches!(*cause, Error::Damaged { .. }), "{cause}");
    assert_eq!(*back, batch, "the batch comes back whole");
    assert_eq!(
        store.lanes().unwrap()[0].progress.cursor,
        Offset(0),
        "no part was committed"
    );
    // Delivery without dead letters goes on.
    let lanes = vec![at_cursor(lanes[0], 9)];
    commit(
        &store,
        CommitBatch {
            lanes,
            ..CommitBatch::default()
        },
    )
    .unwrap();
}

#[test]
fn a_damaged_write_ahead_file_costs_its_end_only() {
    let dir = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let lane = store
        .add_lane(live(1).connection, crate::LaneKind::Live, Offset(0))
        .unwrap();
    for cursor in 1..100 {
        let lanes = vec![at_cursor(lane, cursor)];
        commit(
            &store,
            CommitBatch {
                lanes,
                ..CommitBatch::default()
            },
        )
        .unwrap();
    }
    // As after a crash: the files of a store that did not close.
    for name in ["state.db", "state.db-wal", "names.txt", "key"] {
        if dir.path().join(name).exists() {
            fs::copy(dir.path().join(name), copy.path().join(name)).unwrap();
        }
    }
    let wal = copy.path().join("state.db-wal");
    let bytes = fs::metadata(&wal).unwrap().len();
    let file = File::options().write(true).open(&wal).unwrap();
    file.write_all_at(&[0x5a; 64], bytes - 50 * 4120).unwrap();
    let rows = open(copy.path()).lanes().unwrap();
    let cursor = rows[0].progress.cursor.0;
    assert!(
        !rows[0].damaged && cursor > 0 && cursor < 99,
        "an earlier commit, whole: {cursor}"
    );
}
