//! Lanes and where they are.

use model::{ConnectionId, LaneId, LaneProgress, Offset, UnixMillis};
use rusqlite::{Connection, ErrorCode, Row, params, params_from_iter};

use crate::batch::{DeadLetter, FinishedLane, Held, HeldLane};
use crate::clip::clipped;
use crate::error::Error;
use crate::names;
use crate::number::{from_sql, to_sql, u64_at};
use crate::progress;

/// What a lane is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LaneKind {
    /// A connection's own lane: everything from its start on.
    Live,
    /// The records of the connection's source in `from..to` once more.
    Replay { id: u64, from: Offset, to: Offset },
    /// Queued dead letters of the connection; its offsets are the ids of dead letters.
    Redelivery,
}

/// What a replay was asked for beside its range. Empty for other lanes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ReplayTerms {
    /// VRL: only events of which it is true, beside the connection's own filter.
    pub filter: Option<String>,
    /// Requests a second, beside the connection's own limit.
    pub rate_limit_per_s: Option<u32>,
}

/// A lane to be added.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewLane {
    pub connection: ConnectionId,
    pub kind: LaneKind,
    /// The first offset that is the lane's business.
    pub start: Offset,
    pub terms: ReplayTerms,
}

impl NewLane {
    #[must_use]
    pub fn new(connection: ConnectionId, kind: LaneKind, start: Offset) -> Self {
        Self {
            connection,
            kind,
            start,
            terms: ReplayTerms::default(),
        }
    }
}

/// A lane as it was kept.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LaneRow {
    pub lane: LaneId,
    pub connection: ConnectionId,
    pub kind: LaneKind,
    pub start: Offset,
    pub terms: ReplayTerms,
    pub progress: LaneProgress,
    /// Where the progress has a hold: what was noted of it.
    pub held: Option<Box<Held>>,
    pub finished: bool,
    /// It was ended before it was done.
    pub cancelled: bool,
    /// When it was finished, where that was noted.
    pub ended_at: Option<UnixMillis>,
    /// The progress could not be read. What is given instead begins at the cursor with an empty
    /// window and all counts at 0: jobs may be repeated, none is lost, and the counts must be made
    /// up from the log.
    pub damaged: bool,
}

/// Which lanes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Which {
    All,
    Replays,
    Of(ConnectionId),
}

/// Lanes that are kept, by number.
pub(crate) fn list(connection: &Connection, which: Which) -> Result<Vec<LaneRow>, Error> {
    const COLUMNS: &str = "SELECT id, connection, kind, replay, replay_from, replay_to, start, \
        cursor, finished, progress, replay_filter, replay_rate, ended_at, cancelled, held_at, \
        held_cause FROM lanes";
    let (condition, value) = match which {
        Which::All => ("", None),
        Which::Replays => ("WHERE kind = ?", Some(REPLAY)),
        Which::Of(connection) => ("WHERE connection = ?", Some(i64::from(connection.0))),
    };
    let mut rows = connection.prepare_cached(&format!("{COLUMNS} {condition} ORDER BY id"))?;
    let lanes = rows.query_map(params_from_iter(value), lane_of)?;
    let lanes: Vec<LaneRow> = lanes.collect::<Result<_, _>>()?;
    let mut damaged = lanes.iter().filter(|row| row.damaged);
    if let Some(first) = damaged.next() {
        tracing::error!(
            lanes = 1 + damaged.count(),
            first = first.lane.0,
            "the progress of lanes is damaged: they go on from their cursor, some deliveries will \
             be repeated"
        );
    }
    Ok(lanes)
}

/// Adds lanes and gives their numbers, in the same order.
///
/// # Errors
/// `LaneExists`: a connection would have two live lanes.
pub(crate) fn add(tx: &Connection, lanes: &[NewLane]) -> Result<Vec<LaneId>, Error> {
    let mut insert = tx.prepare_cached(
        "INSERT INTO lanes (connection, kind, replay, replay_from, replay_to, start, cursor,
                            replay_filter, replay_rate)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8)",
    )?;
    let mut ids = Vec::with_capacity(lanes.len());
    for lane in lanes {
        let (kind, replay) = match lane.kind {
            LaneKind::Live => (LIVE, None),
            LaneKind::Replay { id, from, to } => (REPLAY, Some((id, from, to))),
            LaneKind::Redelivery => (REDELIVERY, None),
        };
        let added = insert.insert(params![
            lane.connection.0,
            kind,
            replay.map(|(id, ..)| to_sql(id)),
            replay.map(|(_, from, _)| to_sql(from.0)),
            replay.map(|(.., to)| to_sql(to.0)),
            to_sql(lane.start.0),
            lane.terms.filter,
            lane.terms.rate_limit_per_s,
        ]);
        let id = added.map_err(|error| match error.sqlite_error_code() {
            Some(ErrorCode::ConstraintViolation) => Error::LaneExists(lane.connection),
            _ => Error::Sqlite(error),
        })?;
        ids.push(LaneId(
            u32::try_from(id).expect("fewer than 2^32 lanes were ever added"),
        ));
        if lane.kind == LaneKind::Live {
            names::found_again(tx, lane.connection)?;
        }
    }
    Ok(ids)
}

/// Keeps the progress of lanes. Those that are no longer listed are left out.
pub(crate) fn save(tx: &Connection, lanes: &[LaneProgress]) -> Result<(), Error> {
    let mut update =
        tx.prepare_cached("UPDATE lanes SET cursor = ?2, progress = ?3 WHERE id = ?1")?;
    let mut bytes = Vec::new();
    for lane in lanes {
        bytes.clear();
        progress::encode(lane, &mut bytes);
        update.execute(params![lane.lane.0, to_sql(lane.cursor.0), bytes])?;
    }
    Ok(())
}

/// Notes since when lanes are held, and why.
pub(crate) fn note_holds(tx: &Connection, lanes: &[HeldLane]) -> Result<(), Error> {
    let mut update =
        tx.prepare_cached("UPDATE lanes SET held_at = ?2, held_cause = ?3 WHERE id = ?1")?;
    for HeldLane { lane, held } in lanes {
        let cause = clipped(&held.cause, DeadLetter::DETAIL_BYTES_MAX);
        update.execute(params![lane.0, to_sql(held.since.0), cause])?;
    }
    Ok(())
}

/// Marks lanes as finished, and forgets the oldest finished ones beyond `kept`.
pub(crate) fn finish(tx: &Connection, lanes: &[FinishedLane], kept: u32) -> Result<(), Error> {
    if lanes.is_empty() {
        return Ok(());
    }
    let mut update = tx.prepare_cached(
        "UPDATE lanes SET finished = 1, ended_at = ?2, cancelled = ?3
         WHERE id = ?1 AND finished = 0",
    )?;
    for lane in lanes {
        update.execute(params![lane.lane.0, to_sql(lane.at.0), lane.cancelled])?;
    }
    let mut beyond = tx.prepare_cached(
        "SELECT id FROM lanes WHERE finished = 1 ORDER BY id DESC LIMIT -1 OFFSET ?1",
    )?;
    let gone: Vec<u32> = beyond
        .query_map([kept], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    for lane in gone {
        for forget in [
            "DELETE FROM lanes WHERE id = ?1",
            "DELETE FROM samples WHERE lane = ?1",
            "DELETE FROM minutes WHERE lane = ?1",
        ] {
            tx.prepare_cached(forget)?.execute([lane])?;
        }
    }
    Ok(())
}

const LIVE: i64 = 0;
const REPLAY: i64 = 1;
const REDELIVERY: i64 = 2;

fn lane_of(row: &Row<'_>) -> rusqlite::Result<LaneRow> {
    let lane = LaneId(row.get(0)?);
    let kind = match row.get(2)? {
        LIVE => LaneKind::Live,
        REPLAY => LaneKind::Replay {
            id: u64_at(row, 3)?,
            from: Offset(u64_at(row, 4)?),
            to: Offset(u64_at(row, 5)?),
        },
        REDELIVERY => LaneKind::Redelivery,
        other => return Err(rusqlite::Error::IntegralValueOutOfRange(2, other)),
    };
    let start = Offset(u64_at(row, 6)?);
    // A cursor below the lane's start is damage too; nothing below the start is its business.
    let cursor = Offset(from_sql(row.get(7)?)).max(start);
    let kept = row.get_ref(9)?.as_bytes_or_null()?;
    let decoded = kept.map(|bytes| progress::decode(lane, cursor, bytes));
    let damaged = matches!(decoded, Some(None));
    let progress = decoded
        .flatten()
        .unwrap_or_else(|| LaneProgress::new(lane, cursor));
    let connection = ConnectionId(row.get(1)?);
    let held_at: Option<i64> = row.get(14)?;
    let held = match held_at.filter(|_| progress.hold.is_some()) {
        Some(at) => Some(Box::new(Held {
            since: UnixMillis(from_sql(at)),
            cause: row.get(15)?,
        })),
        None => None,
    };
    Ok(LaneRow {
        lane,
        connection,
        kind,
        start,
        terms: ReplayTerms {
            filter: row.get(10)?,
            rate_limit_per_s: row.get(11)?,
        },
        progress,
        held,
        finished: row.get(8)?,
        cancelled: row.get(13)?,
        ended_at: row
            .get::<_, Option<i64>>(12)?
            .map(|at| UnixMillis(from_sql(at))),
        damaged,
    })
}
