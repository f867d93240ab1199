//! Samples of attempts: the last few of each lane.

use std::collections::BTreeSet;

use bytes::Bytes;
use model::{ConnectionId, LaneId, Offset, UnixMillis};
use rusqlite::{Connection, Row, params};

use crate::batch::{AttemptSample, DeadLetter};
use crate::clip::{clipped, head};
use crate::error::Error;
use crate::number::{to_sql, u64_at};

/// The samples of `lane`, oldest first.
pub(crate) fn list(connection: &Connection, lane: LaneId) -> Result<Vec<AttemptSample>, Error> {
    let mut rows = connection.prepare_cached(
        "SELECT lane, log_offset, at, attempt, status, result, latency_ms, request_line, response
         FROM samples WHERE lane = ?1 ORDER BY id",
    )?;
    Ok(rows
        .query_map([lane.0], sample_of)?
        .collect::<Result<_, _>>()?)
}

/// The samples that are still kept of one connection's job.
pub(crate) fn of_job(
    connection: &Connection,
    of: ConnectionId,
    offset: Offset,
) -> Result<Vec<AttemptSample>, Error> {
    let mut rows = connection.prepare_cached(
        "SELECT s.lane, log_offset, at, attempt, status, result, latency_ms, request_line, response
         FROM lanes l JOIN samples s ON s.lane = l.id
         WHERE l.connection = ?1 AND l.kind != 2 AND s.log_offset = ?2 ORDER BY s.id",
    )?;
    let samples = rows.query_map(params![of.0, to_sql(offset.0)], sample_of)?;
    Ok(samples.collect::<Result<_, _>>()?)
}

/// Keeps `samples`, and of every lane among them only the last `per_lane_max`.
pub(crate) fn add(
    tx: &Connection,
    samples: &[AttemptSample],
    per_lane_max: u32,
) -> Result<(), Error> {
    let mut insert = tx.prepare_cached(
        "INSERT INTO samples
             (lane, log_offset, at, attempt, status, result, latency_ms, request_line, response)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    for sample in samples {
        insert.execute(params![
            sample.lane.0,
            to_sql(sample.offset.0),
            to_sql(sample.at.0),
            sample.attempt,
            sample.status,
            clipped(&sample.result, AttemptSample::TEXT_BYTES_MAX),
            sample.latency_ms,
            clipped(&sample.request_line, AttemptSample::TEXT_BYTES_MAX),
            head(&sample.response, DeadLetter::RESPONSE_BYTES_MAX),
        ])?;
    }
    let mut trim = tx.prepare_cached(
        "DELETE FROM samples WHERE lane = ?1 AND id <=
             (SELECT id FROM samples WHERE lane = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
    )?;
    let lanes: BTreeSet<u32> = samples.iter().map(|sample| sample.lane.0).collect();
    for lane in lanes {
        trim.execute(params![lane, per_lane_max])?;
    }
    Ok(())
}

fn sample_of(row: &Row<'_>) -> rusqlite::Result<AttemptSample> {
    Ok(AttemptSample {
        lane: LaneId(row.get(0)?),
        offset: Offset(u64_at(row, 1)?),
        at: UnixMillis(u64_at(row, 2)?),
        attempt: row.get(3)?,
        status: row.get(4)?,
        result: row.get(5)?,
        latency_ms: row.get(6)?,
        request_line: row.get(7)?,
        response: Bytes::from(row.get::<_, Vec<u8>>(8)?),
    })
}
