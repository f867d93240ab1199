//! Dead letters: kept once, listed, tried again, bounded.

use bytes::Bytes;
use model::{ConnectionId, FilterReason, Offset, Outcome, RejectReason, UnixMillis};

use super::{NOW, commit, letter, letters, live, open, options};
use crate::{
    Answer, AttemptSample, CommitBatch, DeadLetterCount, DeadLetterFilter, DeadLetterSelection,
    DeadLetterState, Options, Redelivered, Store,
};

fn all() -> DeadLetterFilter {
    DeadLetterFilter {
        limit: usize::MAX,
        ..DeadLetterFilter::default()
    }
}

fn offsets(store: &Store, filter: &DeadLetterFilter) -> Vec<u64> {
    store
        .dead_letters(filter)
        .unwrap()
        .iter()
        .map(|letter| letter.offset.0)
        .collect()
}

fn count(store: &Store) -> (u64, u64, u64) {
    let counts = store.dead_letter_counts().unwrap();
    let sum = |of: fn(&DeadLetterCount) -> u64| counts.iter().map(of).sum();
    (
        sum(|c| c.letters),
        sum(|c| c.evicted),
        sum(|c| c.redelivered),
    )
}

/// The totals say what the rows say.
fn check_totals(store: &Store) {
    let listed = store.dead_letters(&all()).unwrap();
    for total in store.dead_letter_counts().unwrap() {
        let rows = listed
            .iter()
            .filter(|row| row.connection == total.connection && row.reason == total.reason);
        assert_eq!(
            u64::try_from(rows.count()).unwrap(),
            total.letters,
            "{total:?}"
        );
        assert_eq!(total.letters == 0, total.bytes == 0, "{total:?}");
    }
}

#[test]
fn a_letter_comes_back_whole_with_its_attempts() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let lane = store.add_lanes(&[live(1)]).unwrap()[0];
    let sample = AttemptSample {
        lane,
        offset: Offset(7),
        at: NOW,
        attempt: 1,
        status: Some(400),
        result: "refused".to_owned(),
        latency_ms: 3,
        request_line: "POST https://api.example.com/".to_owned(),
        response: Bytes::new(),
    };
    let batch = CommitBatch {
        dead_letters: vec![letter(1, 7, r#"{"event":"Signed Up"}"#)],
        samples: vec![
            sample.clone(),
            AttemptSample {
                offset: Offset(8),
                ..sample.clone()
            },
        ],
        ..CommitBatch::default()
    };
    commit(&store, batch).unwrap();
    let detail = store.dead_letter(1).unwrap().unwrap();
    assert_eq!(detail.letter, letter(1, 7, r#"{"event":"Signed Up"}"#));
    assert_eq!(detail.samples, vec![sample]);
    assert_eq!(store.dead_letter(2).unwrap(), None);
    let event = store.dead_letter_event(1).unwrap().unwrap();
    assert_eq!(event, Bytes::from_static(br#"{"event":"Signed Up"}"#));
}

#[test]
fn a_repeat_replaces_and_never_doubles() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    commit(
        &store,
        letters(vec![letter(1, 7, "first"), letter(2, 7, "other lane")]),
    )
    .unwrap();
    let mut again = letter(1, 7, "second, longer");
    again.reason = RejectReason::RetriesExhausted;
    again.expired = true;
    commit(&store, letters(vec![again.clone(), again.clone()])).unwrap();
    assert_eq!(store.dead_letters(&all()).unwrap().len(), 2);
    assert_eq!(store.dead_letter(1).unwrap().unwrap().letter, again);
    assert_eq!(count(&store), (2, 0, 0));
    check_totals(&store);
}

#[test]
fn filters_restrict_and_page() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let mut many: Vec<_> = (0..10).map(|offset| letter(1, offset, "{}")).collect();
    many.push(letter(2, 50, "{}"));
    many[3].reason = RejectReason::Invalid;
    commit(&store, letters(many)).unwrap();
    let died = |offset: u64| Some(UnixMillis(NOW.0 + 1_000 + offset));

    let one = DeadLetterFilter {
        connection: Some(ConnectionId(1)),
        ..all()
    };
    assert_eq!(
        offsets(
            &store,
            &DeadLetterFilter {
                limit: 3,
                ..one.clone()
            }
        ),
        [0, 1, 2]
    );
    let next = DeadLetterFilter {
        limit: 3,
        after_id: Some(3),
        ..one.clone()
    };
    assert_eq!(offsets(&store, &next), [3, 4, 5]);
    let two = DeadLetterFilter {
        connection: Some(ConnectionId(2)),
        ..all()
    };
    assert_eq!(offsets(&store, &two), [50]);
    let invalid = DeadLetterFilter {
        reason: Some(RejectReason::Invalid),
        ..one.clone()
    };
    assert_eq!(offsets(&store, &invalid), [3]);
    let since = DeadLetterFilter {
        since: died(7),
        until: died(9),
        ..all()
    };
    assert_eq!(
        offsets(&store, &since),
        [7, 8],
        "since is inclusive, until exclusive"
    );
    assert_eq!(
        offsets(&store, &DeadLetterFilter { limit: 0, ..all() }),
        [0; 0]
    );
}

#[test]
fn letters_are_tried_again_and_settled() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let many = (0..6)
        .map(|offset| letter(1, offset, "{}"))
        .chain([letter(2, 9, "{}")]);
    commit(&store, letters(many.collect())).unwrap();
    let some = DeadLetterSelection::Ids(vec![1, 2, 3, 4, 7, 999]);
    let queued = store.request_redelivery(&some).unwrap();
    assert_eq!(queued, vec![(ConnectionId(1), 4), (ConnectionId(2), 1)]);
    assert_eq!(
        store.request_redelivery(&some).unwrap(),
        vec![],
        "queued already"
    );
    let feed = store.queued_dead_letters(ConnectionId(1), 2, 2).unwrap();
    assert_eq!(
        feed,
        vec![(2, 2, UnixMillis(NOW.0 + 1)), (3, 2, UnixMillis(NOW.0 + 2))]
    );

    let answer = Answer {
        detail: "503: full".to_owned(),
        status: Some(503),
        response: Some(Bytes::from_static(b"full")),
    };
    let redelivered = [
        (1, Outcome::Delivered),
        (2, Outcome::Filtered(FilterReason::Filter)),
        (3, Outcome::Rejected(RejectReason::Invalid)),
        (4, Outcome::Expired(RejectReason::RetriesExhausted)),
        (999, Outcome::Delivered),
    ];
    let redelivered = redelivered.map(|(id, outcome)| Redelivered {
        id,
        outcome,
        at: UnixMillis(NOW.0 + 5_000),
        attempts: 2,
        answer: answer.clone(),
    });
    commit(
        &store,
        CommitBatch {
            redelivered: redelivered.to_vec(),
            ..CommitBatch::default()
        },
    )
    .unwrap();
    assert_eq!(
        store.queued_dead_letters(ConnectionId(1), 0, 10).unwrap(),
        vec![]
    );
    assert_eq!(
        store
            .queued_dead_letters(ConnectionId(2), 0, 10)
            .unwrap()
            .len(),
        1
    );
    assert_eq!(store.dead_letter_event(1).unwrap(), None);
    let back = store.dead_letter(4).unwrap().unwrap();
    assert_eq!(
        (back.state, back.redeliveries),
        (DeadLetterState::Waiting, 1)
    );
    assert_eq!(
        (back.letter.reason, back.letter.expired),
        (RejectReason::RetriesExhausted, true)
    );
    assert_eq!(back.letter.answer, answer, "what was answered now");
    assert_eq!(
        (back.letter.attempts, back.letter.died_at),
        (3, UnixMillis(NOW.0 + 5_000))
    );
    assert_eq!(count(&store), (5, 0, 2));
    check_totals(&store);

    let rest = DeadLetterSelection::Filter(all());
    let queued = store.request_redelivery(&rest).unwrap();
    assert_eq!(queued, vec![(ConnectionId(1), 4)]);
    drop(store);
    let feed = open(dir.path())
        .queued_dead_letters(ConnectionId(1), 0, 10)
        .unwrap();
    assert_eq!(feed.len(), 4, "queued letters survive a restart");
}

#[test]
fn the_oldest_go_when_the_limit_is_met() {
    let dir = tempfile::tempdir().unwrap();
    let tight = Options {
        dead_letters_bytes_max: 64 << 10,
        ..options(dir.path())
    };
    let store = Store::open(tight.clone(), NOW).unwrap();
    let event = "x".repeat(1_000);
    for round in 0..20 {
        let many = (0..10).map(|n| letter(1, round * 10 + n, &event)).collect();
        commit(&store, letters(many)).unwrap();
        let bytes: u64 = store
            .dead_letter_counts()
            .unwrap()
            .iter()
            .map(|c| c.bytes)
            .sum();
        assert!(bytes <= 64 << 10, "{bytes}");
    }
    let left = offsets(&store, &all());
    let (kept, evicted, _) = count(&store);
    assert_eq!(kept + evicted, 200, "every letter is kept or counted");
    assert_eq!(
        left,
        ((200 - kept)..200).collect::<Vec<_>>(),
        "the oldest went"
    );
    assert!(kept >= 40, "{kept}");
    check_totals(&store);
    drop(store);
    // The count of bytes survives: one letter more, one letter less.
    let store = Store::open(tight, NOW).unwrap();
    commit(&store, letters(vec![letter(1, 200, &event)])).unwrap();
    assert_eq!(count(&store), (kept, evicted + 1, 0));
    // A letter alone larger than all before is kept, and they go.
    commit(&store, letters(vec![letter(1, 201, &"y".repeat(60 << 10))])).unwrap();
    assert_eq!(offsets(&store, &all()).last(), Some(&201));
    check_totals(&store);
}
