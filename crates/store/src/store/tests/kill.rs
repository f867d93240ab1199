//! A process that commits in a loop is killed; what it leaves is consistent.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use model::{LaneId, Offset};

use super::{at_cursor, commit, letter, live, open};
use crate::{CommitBatch, DeadLetterFilter};

const DIR: &str = "FAIRLANE_TEST_KILL_DIR";
const LANES: u32 = 20;
const ROUNDS: usize = 5;

/// Every event is rejected: a lane at cursor n has dead letters for all offsets below n.
fn step(lanes: &[LaneId], cursor: u64) -> CommitBatch {
    let dead_letters = (1..=LANES)
        .map(|c| letter(c, cursor - 1, &"e".repeat(300)))
        .collect();
    let lanes = lanes.iter().map(|lane| at_cursor(*lane, cursor)).collect();
    CommitBatch {
        lanes,
        dead_letters,
        ..CommitBatch::default()
    }
}

/// Runs only as the child of the test below.
#[test]
#[ignore = "the child process of a_killed_process_leaves_a_consistent_store"]
fn child_that_commits_until_it_is_killed() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let store = open(Path::new(&dir));
    let rows = store.lanes().unwrap();
    let lanes: Vec<LaneId> = rows.iter().map(|row| row.lane).collect();
    let mut cursor = rows[0].progress.cursor.0;
    loop {
        cursor += 1;
        commit(&store, step(&lanes, cursor)).unwrap();
        println!("committed {cursor}");
    }
}

#[test]
fn a_killed_process_leaves_a_consistent_store() {
    let dir = tempfile::tempdir().unwrap();
    open(dir.path())
        .add_lanes(&(1..=LANES).map(live).collect::<Vec<_>>())
        .unwrap();
    for round in 0..ROUNDS {
        let acknowledged = run_and_kill(dir.path(), 20 + round * 7);
        let store = open(dir.path());
        let rows = store.lanes().unwrap();
        let cursor = rows[0].progress.cursor;
        assert!(
            cursor.0 >= acknowledged,
            "{cursor} is below {acknowledged}, which was committed"
        );
        for row in &rows {
            assert!(!row.damaged);
            assert_eq!(
                row.progress,
                at_cursor(row.lane, cursor.0),
                "a batch is whole"
            );
            let filter = DeadLetterFilter {
                connection: Some(row.connection),
                limit: usize::MAX,
                ..DeadLetterFilter::default()
            };
            let letters = store.dead_letters(&filter).unwrap();
            let offsets: Vec<Offset> = letters.iter().map(|letter| letter.offset).collect();
            assert_eq!(offsets, (0..cursor.0).map(Offset).collect::<Vec<_>>());
        }
    }
}

/// Kills the child once it has said `commits` times that it committed; returns the last cursor
/// that it said.
fn run_and_kill(dir: &Path, commits: usize) -> u64 {
    let name = "store::tests::kill::child_that_commits_until_it_is_killed";
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--ignored", "--nocapture"])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut last = 0;
    let mut said = 0;
    let mut killed = false;
    // After the kill, the lines that were still in the pipe count too.
    while let Some(Ok(line)) = lines.next() {
        // The first one stands behind what the test harness writes.
        if let Some((_, cursor)) = line.split_once("committed ") {
            last = cursor.parse().unwrap_or(last);
            said += 1;
        }
        if said >= commits && !killed {
            child.kill().unwrap();
            killed = true;
        }
    }
    child.wait().unwrap();
    assert!(
        said >= commits,
        "the child ended by itself after {said} commits"
    );
    last
}
