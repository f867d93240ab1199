//! Counters of lanes by the minute.

use model::{LaneId, UnixMillis};
use rusqlite::{Connection, params};

use crate::batch::MinuteDelta;
use crate::error::Error;
use crate::number::{to_sql, u64_at};

const MINUTE_MS: u64 = 60_000;

/// What one lane did in one minute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MinuteRow {
    /// The minute's start.
    pub minute: UnixMillis,
    pub delivered: u64,
    pub rejected: u64,
    pub filtered: u64,
    pub expired: u64,
    pub attempts_failed: u64,
}

/// The minutes of `lane` from `since` on, ascending.
pub(crate) fn list(
    connection: &Connection,
    lane: LaneId,
    since: UnixMillis,
) -> Result<Vec<MinuteRow>, Error> {
    let mut rows = connection.prepare_cached(
        "SELECT minute, delivered, rejected, filtered, expired, attempts_failed
         FROM minutes WHERE lane = ?1 AND minute >= ?2 ORDER BY minute",
    )?;
    let minutes = rows.query_map(params![lane.0, to_sql(since.0)], |row| {
        Ok(MinuteRow {
            minute: UnixMillis(u64_at(row, 0)?),
            delivered: u64_at(row, 1)?,
            rejected: u64_at(row, 2)?,
            filtered: u64_at(row, 3)?,
            expired: u64_at(row, 4)?,
            attempts_failed: u64_at(row, 5)?,
        })
    })?;
    Ok(minutes.collect::<Result<_, _>>()?)
}

pub(crate) fn add(tx: &Connection, deltas: &[MinuteDelta]) -> Result<(), Error> {
    let mut upsert = tx.prepare_cached(
        "INSERT INTO minutes
             (lane, minute, delivered, rejected, filtered, expired, attempts_failed)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
         ON CONFLICT (lane, minute) DO UPDATE SET
             delivered = delivered + excluded.delivered,
             rejected = rejected + excluded.rejected,
             filtered = filtered + excluded.filtered,
             expired = expired + excluded.expired,
             attempts_failed = attempts_failed + excluded.attempts_failed",
    )?;
    for delta in deltas {
        upsert.execute(params![
            delta.lane.0,
            to_sql(delta.minute.0),
            to_sql(delta.delivered),
            to_sql(delta.rejected),
            to_sql(delta.filtered),
            to_sql(delta.expired),
            to_sql(delta.attempts_failed),
        ])?;
    }
    Ok(())
}

/// Forgets what is `kept` minutes older than `latest`.
pub(crate) fn trim(tx: &Connection, latest: UnixMillis, kept: u32) -> Result<(), Error> {
    let oldest = latest.0.saturating_sub(u64::from(kept) * MINUTE_MS);
    tx.prepare_cached("DELETE FROM minutes WHERE minute <= ?1")?
        .execute([to_sql(oldest)])?;
    Ok(())
}
