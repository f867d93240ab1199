//! Episodes of evictions: begun once, counted through, ended once.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use bytes::Bytes;
use model::{ConnectionId, Offset, Outcome, RejectReason, SourceId, UnixMillis};

use super::Committer;
use crate::batch::{Answer, CommitBatch, DeadLetter, Redelivered};
use crate::options::Options;
use crate::schema;

fn letters(offsets: std::ops::Range<u64>) -> CommitBatch {
    let letter = |offset| DeadLetter {
        connection: ConnectionId(1),
        offset: Offset(offset),
        stream: SourceId(1),
        message_id: String::new(),
        event: Bytes::from(vec![b'x'; 1_000]),
        reason: RejectReason::Refused,
        expired: false,
        answer: Answer::default(),
        attempts: 1,
        received_at: UnixMillis(0),
        died_at: UnixMillis(0),
    };
    CommitBatch {
        dead_letters: offsets.map(letter).collect(),
        ..CommitBatch::default()
    }
}

#[test]
fn an_episode_lasts_until_there_is_room_again() {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        dead_letters_bytes_max: 64 << 10,
        ..Options::default()
    };
    let path = dir.path().join("state.db");
    let mut connection = schema::open_writer(&path, &options, UnixMillis(0)).unwrap();
    let mut committer = {
        let bytes_max = Arc::new(AtomicU64::new(options.dead_letters_bytes_max));
        Committer::new(&connection, &options, bytes_max).unwrap()
    };
    let mut commit = |batch: CommitBatch| {
        committer.commit(&mut connection, &batch).unwrap();
        committer.evicted
    };
    // A letter takes 1,256 bytes: 52 fit.
    assert_eq!(commit(letters(0..50)), None);
    assert_eq!(commit(letters(50..60)), Some(8), "begins");
    assert_eq!(commit(letters(60..61)), Some(9), "goes on");
    assert_eq!(commit(letters(60..61)), Some(9), "a repeat takes no room");
    let again = |id| Redelivered {
        id,
        outcome: Outcome::Delivered,
        at: UnixMillis(0),
        attempts: 1,
        answer: Answer::default(),
    };
    let delivered = |ids: std::ops::Range<u64>| CommitBatch {
        redelivered: ids.map(again).collect(),
        ..CommitBatch::default()
    };
    assert_eq!(
        commit(delivered(20..23)),
        Some(9),
        "a little room ends nothing"
    );
    assert_eq!(commit(delivered(23..33)), None, "ends");
    assert_eq!(commit(letters(100..120)), Some(7), "another one");
}
