//! Lanes, samples and minutes.

use bytes::Bytes;
use model::{
    ConnectionId, HoldReason, LaneId, LaneProgress, Offset, OutcomeCounts, ParkedJob, UnixMillis,
};

use super::{NOW, commit, done, live, open, options};
use crate::{
    AttemptSample, CommitBatch, Error, Held, HeldLane, LaneKind, MinuteDelta, MinuteRow, NewLane,
    Options, Store,
};

#[test]
fn lanes_come_back_as_they_were_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let replay = LaneKind::Replay {
        id: 3,
        from: Offset(10),
        to: Offset::MAX,
    };
    let ids = store
        .add_lanes(&[
            NewLane {
                start: Offset(5),
                ..live(1)
            },
            NewLane {
                kind: replay,
                start: Offset(10),
                ..live(1)
            },
            NewLane {
                kind: LaneKind::Redelivery,
                ..live(1)
            },
        ])
        .unwrap();
    assert_eq!(ids, vec![LaneId(1), LaneId(2), LaneId(3)]);
    let progress = LaneProgress {
        lane: ids[1],
        cursor: Offset(1 << 40),
        ahead: None,
        settled_above: vec![Offset((1 << 40) + 1), Offset((1 << 40) + 9)],
        parked: vec![ParkedJob {
            offset: Offset(1 << 40),
            attempts: 2,
            failing_ms: 77,
        }],
        counts: OutcomeCounts {
            delivered: 1,
            filtered: [0, 1, 2, 3, 4],
            ..Default::default()
        },
        hold: Some(HoldReason::Tls),
    };
    let held = Held {
        since: UnixMillis(NOW.0 + 7),
        cause: "the certificate has expired".to_owned(),
    };
    // What is noted of a lane that has no hold does not count.
    let holds = [ids[1], ids[0]].map(|lane| HeldLane {
        lane,
        held: held.clone(),
    });
    let batch = CommitBatch {
        lanes: vec![progress.clone()],
        holds: holds.to_vec(),
        finished: vec![done(ids[2])],
        ..CommitBatch::default()
    };
    commit(&store, batch).unwrap();
    drop(store);

    let rows = open(dir.path()).lanes().unwrap();
    assert_eq!(rows[0].kind, LaneKind::Live);
    assert_eq!(
        rows[0].progress.cursor,
        Offset(5),
        "a lane begins at its start"
    );
    assert_eq!(rows[1].kind, replay);
    assert_eq!(rows[1].progress, progress);
    assert_eq!(
        (&rows[1].held, &rows[0].held),
        (&Some(Box::new(held)), &None),
        "a hold comes back with its time and cause"
    );
    assert_eq!(
        rows.iter().map(|row| row.finished).collect::<Vec<_>>(),
        [false, false, true]
    );
    assert!(
        rows.iter()
            .all(|row| !row.damaged && row.connection == ConnectionId(1))
    );
}

#[test]
fn a_connection_has_one_live_lane() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let first = store
        .add_lane(ConnectionId(1), LaneKind::Live, Offset(0))
        .unwrap();
    let error = store.add_lanes(&[live(2), live(1)]).err().unwrap();
    assert!(
        matches!(error, Error::LaneExists(ConnectionId(1))),
        "{error}"
    );
    assert_eq!(
        store.lanes().unwrap().len(),
        1,
        "all lanes of a call, or none"
    );
    store.finish_lane(done(first)).unwrap();
    store.add_lanes(&[live(2), live(1)]).unwrap();
}

#[test]
fn finished_lanes_are_forgotten_in_the_end_and_numbers_never_used_again() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(
        Options {
            finished_lanes_kept: 2,
            ..options(dir.path())
        },
        NOW,
    )
    .unwrap();
    let redelivery = NewLane {
        kind: LaneKind::Redelivery,
        ..live(1)
    };
    let ids = store.add_lanes(&vec![redelivery.clone(); 4]).unwrap();
    let batch = CommitBatch {
        samples: vec![sample(ids[0], 1)],
        finished: ids.iter().copied().map(done).collect(),
        ..CommitBatch::default()
    };
    commit(&store, batch).unwrap();
    let left: Vec<LaneId> = store.lanes().unwrap().iter().map(|row| row.lane).collect();
    assert_eq!(left, ids[2..]);
    assert_eq!(store.samples(ids[0]).unwrap(), vec![]);
    let next = store.add_lanes(&[redelivery]).unwrap();
    assert_eq!(next, vec![LaneId(5)]);
}

fn sample(lane: LaneId, attempt: u32) -> AttemptSample {
    AttemptSample {
        lane,
        offset: Offset(9),
        at: NOW,
        attempt,
        status: Some(503),
        result: "unavailable".to_owned(),
        latency_ms: 12,
        request_line: "POST https://api.example.com/v1/track".to_owned(),
        response: Bytes::from_static(b"try later"),
    }
}

#[test]
fn the_last_samples_of_each_lane_are_kept() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(
        Options {
            samples_per_lane_max: 3,
            ..options(dir.path())
        },
        NOW,
    )
    .unwrap();
    let (one, two) = (LaneId(1), LaneId(2));
    for attempt in 0..10 {
        let mut samples = vec![sample(one, attempt), sample(one, attempt + 100)];
        samples.extend((attempt == 0).then(|| sample(two, 1)));
        commit(
            &store,
            CommitBatch {
                samples,
                ..CommitBatch::default()
            },
        )
        .unwrap();
    }
    let kept: Vec<u32> = store
        .samples(one)
        .unwrap()
        .iter()
        .map(|s| s.attempt)
        .collect();
    assert_eq!(kept, [108, 9, 109]);
    assert_eq!(store.samples(two).unwrap(), vec![sample(two, 1)]);
}

#[test]
fn long_texts_are_cut_at_whole_characters() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let long = AttemptSample {
        request_line: "é".repeat(5_000),
        result: format!("x{}", "é".repeat(5_000)),
        response: Bytes::from(vec![b'r'; 100_000]),
        ..sample(LaneId(1), 1)
    };
    commit(
        &store,
        CommitBatch {
            samples: vec![long],
            ..CommitBatch::default()
        },
    )
    .unwrap();
    let kept = &store.samples(LaneId(1)).unwrap()[0];
    let lengths = (
        kept.request_line.len(),
        kept.result.len(),
        kept.response.len(),
    );
    assert_eq!(lengths, (2_048, 2_047, 4_096));
}

#[test]
fn minutes_add_up_and_go_by_age() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(
        Options {
            minutes_kept: 3,
            ..options(dir.path())
        },
        NOW,
    )
    .unwrap();
    let delta = |minute: u64, delivered| MinuteDelta {
        lane: LaneId(1),
        minute: UnixMillis(minute * 60_000),
        delivered,
        rejected: 1,
        filtered: 0,
        expired: 0,
        attempts_failed: 2,
    };
    for (minute, delivered) in [(100, 5), (100, 6), (101, 1), (102, 1), (103, 1)] {
        let minutes = vec![delta(minute, delivered)];
        commit(
            &store,
            CommitBatch {
                minutes,
                ..CommitBatch::default()
            },
        )
        .unwrap();
        if minute == 101 {
            let first = store.minutes(LaneId(1), UnixMillis(0)).unwrap()[0];
            let expected = MinuteRow {
                minute: UnixMillis(6_000_000),
                delivered: 11,
                rejected: 2,
                filtered: 0,
                expired: 0,
                attempts_failed: 4,
            };
            assert_eq!(first, expected);
        }
    }
    let minutes = |since: u64| -> Vec<u64> {
        let rows = store
            .minutes(LaneId(1), UnixMillis(since * 60_000))
            .unwrap();
        rows.iter().map(|row| row.minute.0 / 60_000).collect()
    };
    assert_eq!(minutes(0), [101, 102, 103]);
    assert_eq!(minutes(103), [103]);
    assert_eq!(store.minutes(LaneId(2), UnixMillis(0)).unwrap(), vec![]);
}
