//! What the store costs at full size: `cargo bench -p store`. As a test it runs once, small.

use std::time::{Duration, Instant};

use model::{ConnectionId, LaneId, LaneProgress, Offset, OutcomeCounts, UnixMillis};
use store::{CommitBatch, KeySource, LaneKind, NewLane, Options, Store};

fn main() {
    let full = std::env::args().any(|argument| argument == "--bench");
    let (lanes, moving, rounds) = if full {
        (100_000, 5_000, 20)
    } else {
        (100, 50, 2)
    };
    let dir = tempfile::tempdir().expect("a temporary directory");
    let options = Options {
        dir: dir.path().to_owned(),
        key: KeySource::File(dir.path().join("key")),
        ..Options::default()
    };
    let store = Store::open(options, UnixMillis(0)).expect("a new store");
    let new: Vec<NewLane> = (1..=lanes)
        .map(|id| NewLane::new(ConnectionId(id), LaneKind::Live, Offset::ZERO))
        .collect();
    let ids = timed(&format!("add {lanes} lanes"), || {
        store.add_lanes(&new).expect("new lanes")
    });
    let every = new.len() / moving;
    let mut slowest = Duration::ZERO;
    for round in 1..=rounds {
        // Spread over all lanes: the worst for the pages of the table.
        let batch = CommitBatch {
            lanes: ids
                .iter()
                .step_by(every)
                .map(|lane| progress(*lane, round))
                .collect(),
            ..CommitBatch::default()
        };
        let begun = Instant::now();
        store
            .commit(batch)
            .blocking_recv()
            .expect("a writer")
            .expect("a commit");
        slowest = slowest.max(begun.elapsed());
    }
    println!("commit {moving} lanes, slowest of {rounds}: {slowest:?}");
    let all = CommitBatch {
        lanes: ids.iter().map(|lane| progress(*lane, rounds + 1)).collect(),
        ..CommitBatch::default()
    };
    timed(&format!("commit {lanes} lanes"), || {
        store
            .commit(all)
            .blocking_recv()
            .expect("a writer")
            .expect("a commit");
    });
    let rows = timed(&format!("list {lanes} lanes"), || {
        store.lanes().expect("the lanes")
    });
    assert_eq!(rows.len(), new.len());
}

/// A lane that works: a few settled out of order above its cursor.
fn progress(lane: LaneId, round: u64) -> LaneProgress {
    let cursor = round * 100;
    LaneProgress {
        lane,
        cursor: Offset(cursor),
        ahead: None,
        settled_above: (1..10).map(|step| Offset(cursor + step * 3)).collect(),
        parked: Vec::new(),
        counts: OutcomeCounts {
            delivered: cursor,
            ..OutcomeCounts::default()
        },
        hold: None,
    }
}

fn timed<T>(what: &str, run: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let value = run();
    println!("{what}: {:?}", begun.elapsed());
    value
}
