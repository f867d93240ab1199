//! The queue, the order of commits, and what happens when others hold the database.

use model::Offset;

use super::{NOW, at_cursor, commit, letter, letters, live, open, options, raw};
use crate::{CommitBatch, Error, Options, Store};

#[test]
fn commits_keep_their_order_and_the_last_handle_waits_for_them() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let lane = store.add_lanes(&[live(1)]).unwrap()[0];
    for cursor in 1..=50 {
        let lanes = vec![at_cursor(lane, cursor)];
        // The receiver is dropped: the commit is done all the same.
        drop(store.commit(CommitBatch {
            lanes,
            ..CommitBatch::default()
        }));
    }
    drop(store.clone());
    drop(store);
    assert_eq!(
        open(dir.path()).lanes().unwrap()[0].progress.cursor,
        Offset(50)
    );
}

#[test]
fn a_full_queue_hands_the_batch_back_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(
        Options {
            commit_queue_max: 2,
            ..options(dir.path())
        },
        NOW,
    )
    .unwrap();
    let blocker = raw(dir.path());
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    // One is with the writer, two are queued; beyond that at the latest they come back.
    let mut waiting: Vec<_> = (0..4)
        .map(|n| (n, store.commit(letters(vec![letter(1, n, "{}")]))))
        .collect();
    let back = waiting
        .iter_mut()
        .find_map(|(n, commit)| Some((*n, commit.try_recv().ok()?)));
    let Some((n, Err(Error::NotCommitted { cause, batch }))) = back else {
        panic!("four batches in a queue of two: {back:?}")
    };
    assert!(
        matches!(*cause, Error::Overloaded { queue_max: 2 }),
        "{cause}"
    );
    blocker.execute_batch("COMMIT").unwrap();
    for (of, receiver) in waiting.into_iter().filter(|(of, _)| *of < n) {
        receiver
            .blocking_recv()
            .unwrap()
            .unwrap_or_else(|error| panic!("{of}: {error}"));
    }
    while let Err(error) = commit(&store, (*batch).clone()) {
        let Error::NotCommitted { cause, .. } = error else {
            panic!("{error}")
        };
        assert!(matches!(*cause, Error::Overloaded { .. }), "{cause}");
    }
}

#[test]
fn a_database_that_others_hold_is_busy_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(
        Options {
            busy_timeout_ms: 20,
            ..options(dir.path())
        },
        NOW,
    )
    .unwrap();
    let blocker = raw(dir.path());
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.add_lanes(&[live(1)]).err().unwrap();
    assert!(
        matches!(error, Error::Busy { waited_ms: 20, .. }),
        "{error}"
    );
    let Err(Error::NotCommitted { cause, batch }) =
        commit(&store, letters(vec![letter(1, 1, "{}")]))
    else {
        panic!("committed while another held the database")
    };
    assert!(matches!(*cause, Error::Busy { .. }), "{cause}");
    assert!(
        store.lanes().unwrap().is_empty(),
        "readers never wait for writers"
    );
    blocker.execute_batch("COMMIT").unwrap();
    commit(&store, *batch).unwrap();
    assert_eq!(store.dead_letter_counts().unwrap()[0].letters, 1);
}

#[test]
fn errors_and_batches_do_not_show_events() {
    let batch = letters(vec![letter(1, 1, "canary-event")]);
    let error = Error::NotCommitted {
        cause: Box::new(Error::Closed),
        batch: Box::new(batch.clone()),
    };
    let shown = format!("{error} {error:?} {batch:?} {:?}", batch.dead_letters);
    assert!(!shown.contains("canary"), "{shown}");
}
