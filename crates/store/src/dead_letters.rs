//! Dead letters: the events that connections gave up on, to be looked at and tried again.
//!
//! ```text
//!                  request_redelivery
//!   commit --> waiting ----------> queued ---- delivered, filtered ---> gone (counted)
//!                 ^                  |
//!                 +---- rejected, expired again
//!   over the limit of bytes: the oldest is evicted, whatever its state (counted)
//! ```

use bytes::Bytes;
use model::{ConnectionId, Offset, RejectReason, SourceId, UnixMillis};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params, params_from_iter};

use crate::batch::{Answer, AttemptSample, DeadLetter};
use crate::error::Error;
use crate::number::{to_sql, u64_at};
use crate::samples;

pub(crate) mod kept;

/// Which dead letters. What is `None` does not restrict.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterFilter {
    pub connection: Option<ConnectionId>,
    pub reason: Option<RejectReason>,
    /// Died at or after.
    pub since: Option<UnixMillis>,
    /// Died before.
    pub until: Option<UnixMillis>,
    /// The event's name; of an event without one, its type.
    pub event: Option<String>,
    /// Only ids above this one: for the next page, the last id of the page before.
    pub after_id: Option<u64>,
    /// At most so many, the lowest ids first.
    pub limit: usize,
}

impl Default for DeadLetterFilter {
    /// The first hundred.
    fn default() -> Self {
        Self {
            connection: None,
            reason: None,
            since: None,
            until: None,
            event: None,
            after_id: None,
            limit: 100,
        }
    }
}

/// Dead letters to be tried again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadLetterSelection {
    /// Its limit counts: `usize::MAX` for all of them.
    Filter(DeadLetterFilter),
    Ids(Vec<u64>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetterState {
    /// For somebody to look at it.
    Waiting,
    /// To be tried again by the connection's redelivery lane.
    Queued,
}

/// A dead letter without its event and answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterSummary {
    pub id: u64,
    pub state: DeadLetterState,
    pub connection: ConnectionId,
    pub offset: Offset,
    pub stream: SourceId,
    pub message_id: String,
    pub event_bytes: u32,
    pub reason: RejectReason,
    pub expired: bool,
    pub detail: String,
    pub status: Option<u16>,
    pub attempts: u32,
    /// How often it was tried again and came back.
    pub redeliveries: u32,
    pub received_at: UnixMillis,
    pub died_at: UnixMillis,
}

/// All that is kept of a dead letter.
#[derive(Clone, Debug, PartialEq)]
pub struct DeadLetterDetail {
    pub id: u64,
    pub state: DeadLetterState,
    pub redeliveries: u32,
    pub letter: DeadLetter,
    /// Attempts of this job that are among the lane's samples still.
    pub samples: Vec<AttemptSample>,
}

/// How many dead letters a connection has for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetterCount {
    pub connection: ConnectionId,
    pub reason: RejectReason,
    /// Kept now, waiting or queued.
    pub letters: u64,
    /// What they count against the limit.
    pub bytes: u64,
    /// Given up since ever, because of the limit.
    pub evicted: u64,
    /// Tried again with success (or filtered then) since ever.
    pub redelivered: u64,
}

const SUMMARY: &str = "SELECT id, state, connection, log_offset, stream, message_id, event_bytes, \
    reason, expired, detail, status, attempts, redeliveries, received_at, died_at \
    FROM dead_letters";

pub(crate) fn list(
    connection: &Connection,
    filter: &DeadLetterFilter,
) -> Result<Vec<DeadLetterSummary>, Error> {
    let (condition, values) = condition_of(filter);
    let mut rows = connection.prepare_cached(&format!("{SUMMARY} {condition}"))?;
    let letters = rows.query_map(params_from_iter(values), summary_of)?;
    Ok(letters.collect::<Result<_, _>>()?)
}

/// The ids of what `filter` lets through.
pub(crate) fn ids(connection: &Connection, filter: &DeadLetterFilter) -> Result<Vec<u64>, Error> {
    let (condition, values) = condition_of(filter);
    let mut rows =
        connection.prepare_cached(&format!("SELECT id FROM dead_letters {condition}"))?;
    let ids = rows.query_map(params_from_iter(values), |row| u64_at(row, 0))?;
    Ok(ids.collect::<Result<_, _>>()?)
}

pub(crate) fn detail(connection: &Connection, id: u64) -> Result<Option<DeadLetterDetail>, Error> {
    let summary = connection
        .prepare_cached(&format!("{SUMMARY} WHERE id = ?1"))?
        .query_row([to_sql(id)], summary_of)
        .optional()?;
    let Some(summary) = summary else {
        return Ok(None);
    };
    let (response, event): (Option<Vec<u8>>, Vec<u8>) = connection
        .prepare_cached("SELECT response, event FROM dead_letters WHERE id = ?1")?
        .query_row([to_sql(id)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let samples = samples::of_job(connection, summary.connection, summary.offset)?;
    Ok(Some(DeadLetterDetail {
        id,
        state: summary.state,
        redeliveries: summary.redeliveries,
        letter: DeadLetter {
            connection: summary.connection,
            offset: summary.offset,
            stream: summary.stream,
            message_id: summary.message_id,
            event: Bytes::from(event),
            reason: summary.reason,
            expired: summary.expired,
            answer: Answer {
                detail: summary.detail,
                status: summary.status,
                response: response.map(Bytes::from),
            },
            attempts: summary.attempts,
            received_at: summary.received_at,
            died_at: summary.died_at,
        },
        samples,
    }))
}

pub(crate) fn counts(connection: &Connection) -> Result<Vec<DeadLetterCount>, Error> {
    let mut rows = connection.prepare_cached(
        "SELECT connection, reason, letters, bytes, evicted, redelivered
         FROM dead_letter_totals ORDER BY connection, reason",
    )?;
    let counts = rows.query_map([], |row| {
        Ok(DeadLetterCount {
            connection: ConnectionId(row.get(0)?),
            reason: reason_at(row, 1)?,
            letters: u64_at(row, 2)?,
            bytes: u64_at(row, 3)?,
            evicted: u64_at(row, 4)?,
            redelivered: u64_at(row, 5)?,
        })
    })?;
    Ok(counts.collect::<Result<_, _>>()?)
}

/// Letters that wait for their redelivery, over all connections.
pub(crate) fn queued_count(connection: &Connection) -> Result<u64, Error> {
    // Written as in the index that holds just these.
    let mut rows =
        connection.prepare_cached("SELECT count(*) FROM dead_letters WHERE state = 1")?;
    Ok(rows.query_row([], |row| u64_at(row, 0))?)
}

/// Queued letters of a connection with ids from `from_id` on.
pub(crate) fn queued_count_of(
    connection: &Connection,
    of: ConnectionId,
    from_id: u64,
) -> Result<u64, Error> {
    let mut rows = connection.prepare_cached(
        "SELECT count(*) FROM dead_letters WHERE connection = ?1 AND state = 1 AND id >= ?2",
    )?;
    Ok(rows.query_row(params![of.0, to_sql(from_id)], |row| u64_at(row, 0))?)
}

/// Queued letters of a connection with ids from `from_id` on: id, bytes of the event, received at.
pub(crate) fn queued(
    connection: &Connection,
    of: ConnectionId,
    from_id: u64,
    max: usize,
) -> Result<Vec<(u64, u32, UnixMillis)>, Error> {
    let mut rows = connection.prepare_cached(
        "SELECT id, event_bytes, received_at FROM dead_letters
         WHERE connection = ?1 AND state = 1 AND id >= ?2 ORDER BY id LIMIT ?3",
    )?;
    let limit = i64::try_from(max).unwrap_or(i64::MAX);
    let letters = rows.query_map(params![of.0, to_sql(from_id), limit], |row| {
        Ok((u64_at(row, 0)?, row.get(1)?, UnixMillis(u64_at(row, 2)?)))
    })?;
    Ok(letters.collect::<Result<_, _>>()?)
}

pub(crate) fn event(connection: &Connection, id: u64) -> Result<Option<Bytes>, Error> {
    let event: Option<Vec<u8>> = connection
        .prepare_cached("SELECT event FROM dead_letters WHERE id = ?1")?
        .query_row([to_sql(id)], |row| row.get(0))
        .optional()?;
    Ok(event.map(Bytes::from))
}

/// The letter of a damaged record has no event.
const EVENT_IS: &str = "CASE WHEN json_valid(CAST(event AS TEXT)) THEN \
    coalesce(json_extract(CAST(event AS TEXT), '$.event'), \
             json_extract(CAST(event AS TEXT), '$.type')) END = ?";

/// Only what restricts is written out, so that SQLite can choose an index.
fn condition_of(filter: &DeadLetterFilter) -> (String, Vec<Value>) {
    let restrictions = [
        (
            "connection = ?",
            filter.connection.map(|id| Value::Integer(id.0.into())),
        ),
        (
            "reason = ?",
            filter
                .reason
                .map(|reason| Value::Text(reason.as_str().to_owned())),
        ),
        (
            "died_at >= ?",
            filter.since.map(|time| Value::Integer(to_sql(time.0))),
        ),
        (
            "died_at < ?",
            filter.until.map(|time| Value::Integer(to_sql(time.0))),
        ),
        (EVENT_IS, filter.event.clone().map(Value::Text)),
        (
            "id > ?",
            filter.after_id.map(|id| Value::Integer(to_sql(id))),
        ),
    ];
    let (mut clauses, mut values) = (Vec::new(), Vec::new());
    for (clause, value) in restrictions {
        if let Some(value) = value {
            clauses.push(clause);
            values.push(value);
        }
    }
    let restricted = if clauses.is_empty() { "" } else { "WHERE " };
    values.push(Value::Integer(
        i64::try_from(filter.limit).unwrap_or(i64::MAX),
    ));
    (
        format!("{restricted}{} ORDER BY id LIMIT ?", clauses.join(" AND ")),
        values,
    )
}

fn summary_of(row: &Row<'_>) -> rusqlite::Result<DeadLetterSummary> {
    let queued: bool = row.get(1)?;
    Ok(DeadLetterSummary {
        id: u64_at(row, 0)?,
        state: if queued {
            DeadLetterState::Queued
        } else {
            DeadLetterState::Waiting
        },
        connection: ConnectionId(row.get(2)?),
        offset: Offset(u64_at(row, 3)?),
        stream: SourceId(row.get(4)?),
        message_id: row.get(5)?,
        event_bytes: row.get(6)?,
        reason: reason_at(row, 7)?,
        expired: row.get(8)?,
        detail: row.get(9)?,
        status: row.get(10)?,
        attempts: row.get(11)?,
        redeliveries: row.get(12)?,
        received_at: UnixMillis(u64_at(row, 13)?),
        died_at: UnixMillis(u64_at(row, 14)?),
    })
}

pub(crate) fn reason_at(row: &Row<'_>, column: usize) -> rusqlite::Result<RejectReason> {
    let text: String = row.get(column)?;
    RejectReason::parse(&text).ok_or_else(|| {
        let what = format!("{text:?} is no reason of a dead letter");
        rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Text, what.into())
    })
}
