//! The store from outside, on real files.

use std::path::Path;

use bytes::Bytes;
use model::{
    ConnectionId, LaneId, LaneProgress, Name, Offset, OutcomeCounts, RejectReason, SourceId,
    UnixMillis,
};

use crate::{
    Answer, CommitBatch, DeadLetter, Error, FinishedLane, KeySource, LaneKind, NewLane, Options,
    Store,
};

mod damage;
mod kill;
mod lanes;
mod letters;
mod opening;
mod secrets;
mod steering;

const NOW: UnixMillis = UnixMillis(1_700_000_000_000);

fn options(dir: &Path) -> Options {
    Options {
        dir: dir.to_owned(),
        key: KeySource::File(dir.join("key")),
        ..Options::default()
    }
}

fn open(dir: &Path) -> Store {
    Store::open(options(dir), NOW).unwrap()
}

fn names(texts: &[&str]) -> Vec<Name> {
    texts.iter().map(|text| Name::new(text).unwrap()).collect()
}

/// Commits and waits.
fn commit(store: &Store, batch: CommitBatch) -> Result<(), Error> {
    store.commit(batch).blocking_recv().unwrap()
}

fn live(connection: u32) -> NewLane {
    NewLane::new(ConnectionId(connection), LaneKind::Live, Offset(0))
}

fn done(lane: LaneId) -> FinishedLane {
    FinishedLane {
        lane,
        at: UnixMillis(9),
        cancelled: false,
    }
}

fn at_cursor(lane: LaneId, cursor: u64) -> LaneProgress {
    LaneProgress {
        lane,
        cursor: Offset(cursor),
        ahead: None,
        settled_above: vec![Offset(cursor + 2)],
        parked: vec![],
        counts: OutcomeCounts {
            rejected: cursor,
            ..OutcomeCounts::default()
        },
        hold: None,
    }
}

fn letter(connection: u32, offset: u64, event: &str) -> DeadLetter {
    DeadLetter {
        connection: ConnectionId(connection),
        offset: Offset(offset),
        stream: SourceId(1),
        message_id: format!("m{offset}"),
        event: Bytes::copy_from_slice(event.as_bytes()),
        reason: RejectReason::Refused,
        expired: false,
        answer: Answer {
            detail: "400: no such field".to_owned(),
            status: Some(400),
            response: Some(Bytes::from_static(b"{\"error\":\"no such field\"}")),
        },
        attempts: 1,
        received_at: UnixMillis(NOW.0 + offset),
        died_at: UnixMillis(NOW.0 + 1_000 + offset),
    }
}

fn letters(letters: Vec<DeadLetter>) -> CommitBatch {
    CommitBatch {
        dead_letters: letters,
        ..CommitBatch::default()
    }
}

/// The database as another program would see it.
fn raw(dir: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(dir.join("state.db")).unwrap()
}
