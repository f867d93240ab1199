//! What is kept of dead letters: new ones, tried ones, evicted ones, and the totals that go with
//! them. Totals are rows of their own, changed in the same transaction, so that neither a page of
//! the console nor the limit ever counts a million letters.

use std::collections::{BTreeMap, HashMap};

use model::{ConnectionId, Outcome, RejectReason};
use rusqlite::{Connection, OptionalExtension, params};

use super::reason_at;
use crate::batch::{Answer, DeadLetter, Redelivered};
use crate::clip::{clipped, head};
use crate::error::Error;
use crate::number::{length, to_sql, u64_at};

/// What a letter costs beside its texts: columns and entries of indexes.
const OVERHEAD_BYTES: u64 = 256;
const MESSAGE_ID_BYTES_MAX: usize = 1 << 10;
/// Letters that are looked at in one step of an eviction.
const EVICTION_STEP: u32 = 256;
/// Letters that one batch may evict: more than a batch brings, and few enough that a limit which
/// was lowered by far does not keep every lane's commit waiting for seconds.
const EVICTED_PER_BATCH_MAX: u64 = 20_000;

/// How the totals of one transaction change.
#[derive(Default)]
pub(crate) struct Totals(HashMap<(ConnectionId, RejectReason), Change>);

#[derive(Default)]
struct Change {
    letters: i64,
    bytes: i64,
    evicted: i64,
    redelivered: i64,
}

impl Totals {
    fn of(&mut self, connection: ConnectionId, reason: RejectReason) -> &mut Change {
        self.0.entry((connection, reason)).or_default()
    }

    fn come(&mut self, connection: ConnectionId, reason: RejectReason, bytes: u64) {
        let change = self.of(connection, reason);
        change.letters += 1;
        change.bytes += to_sql(bytes);
    }

    fn go(&mut self, connection: ConnectionId, reason: RejectReason, bytes: u64) -> &mut Change {
        let change = self.of(connection, reason);
        change.letters -= 1;
        change.bytes -= to_sql(bytes);
        change
    }

    /// By how much all letters together grow.
    pub(crate) fn bytes(&self) -> i64 {
        self.0.values().map(|change| change.bytes).sum()
    }

    pub(crate) fn save(&self, tx: &Connection) -> Result<(), Error> {
        let mut upsert = tx.prepare_cached(
            "INSERT INTO dead_letter_totals
                 (connection, reason, letters, bytes, evicted, redelivered)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)
             ON CONFLICT (connection, reason) DO UPDATE SET
                 letters = letters + excluded.letters,
                 bytes = bytes + excluded.bytes,
                 evicted = evicted + excluded.evicted,
                 redelivered = redelivered + excluded.redelivered",
        )?;
        for ((connection, reason), change) in &self.0 {
            upsert.execute(params![
                connection.0,
                reason.as_str(),
                change.letters,
                change.bytes,
                change.evicted,
                change.redelivered,
            ])?;
        }
        Ok(())
    }
}

/// The bytes of all letters, as the totals have it.
pub(crate) fn total_bytes(connection: &Connection) -> Result<u64, Error> {
    let sum = "SELECT coalesce(sum(bytes), 0) FROM dead_letter_totals";
    Ok(connection.query_row(sum, [], |row| u64_at(row, 0))?)
}

/// Keeps letters; one for a connection and offset that has one already takes its place, its id too.
pub(crate) fn add(
    tx: &Connection,
    letters: &[DeadLetter],
    totals: &mut Totals,
) -> Result<(), Error> {
    let mut find = tx.prepare_cached(
        "SELECT id, reason, bytes FROM dead_letters WHERE connection = ?1 AND log_offset = ?2",
    )?;
    let mut put = tx.prepare_cached(
        "INSERT INTO dead_letters
             (connection, log_offset, stream, reason, expired, status, attempts, received_at,
              died_at, bytes, event_bytes, message_id, detail, response, event)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
         ON CONFLICT (connection, log_offset) DO UPDATE SET
             stream = excluded.stream, state = 0, reason = excluded.reason,
             expired = excluded.expired, status = excluded.status, attempts = excluded.attempts,
             received_at = excluded.received_at, died_at = excluded.died_at,
             bytes = excluded.bytes, event_bytes = excluded.event_bytes,
             message_id = excluded.message_id, detail = excluded.detail,
             response = excluded.response, event = excluded.event",
    )?;
    for letter in letters {
        let key = params![letter.connection.0, to_sql(letter.offset.0)];
        let before = find.query_row(key, |row| Ok((reason_at(row, 1)?, u64_at(row, 2)?)));
        if let Some((reason, bytes)) = before.optional()? {
            totals.go(letter.connection, reason, bytes);
        }
        let message_id = clipped(&letter.message_id, MESSAGE_ID_BYTES_MAX);
        let (detail, response) = kept(&letter.answer);
        let texts = message_id.len() + answer_bytes(detail, response) + letter.event.len();
        let bytes = OVERHEAD_BYTES + length(texts);
        put.execute(params![
            letter.connection.0,
            to_sql(letter.offset.0),
            letter.stream.0,
            letter.reason.as_str(),
            letter.expired,
            letter.answer.status,
            letter.attempts,
            to_sql(letter.received_at.0),
            to_sql(letter.died_at.0),
            to_sql(bytes),
            u32::try_from(letter.event.len()).unwrap_or(u32::MAX),
            message_id,
            detail,
            response,
            letter.event.as_ref(),
        ])?;
        totals.come(letter.connection, letter.reason, bytes);
    }
    Ok(())
}

/// As much of an answer as is kept.
fn kept(answer: &Answer) -> (&str, Option<&[u8]>) {
    let response = answer.response.as_ref();
    (
        clipped(&answer.detail, DeadLetter::DETAIL_BYTES_MAX),
        response.map(|bytes| head(bytes, DeadLetter::RESPONSE_BYTES_MAX)),
    )
}

fn answer_bytes(detail: &str, response: Option<&[u8]>) -> usize {
    detail.len() + response.map_or(0, <[u8]>::len)
}

/// Takes note of how letters fared that were tried again. Those that are gone already (evicted
/// meanwhile) are left out.
pub(crate) fn settle(
    tx: &Connection,
    redelivered: &[Redelivered],
    totals: &mut Totals,
) -> Result<(), Error> {
    let mut find = tx.prepare_cached(
        "SELECT connection, reason, bytes,
                length(CAST(detail AS BLOB)) + coalesce(length(response), 0)
         FROM dead_letters WHERE id = ?1",
    )?;
    let mut delete = tx.prepare_cached("DELETE FROM dead_letters WHERE id = ?1")?;
    let mut back = tx.prepare_cached(
        "UPDATE dead_letters
         SET state = 0, reason = ?2, expired = ?3, status = ?4, detail = ?5, response = ?6,
             attempts = attempts + ?7, died_at = ?8, bytes = ?9, redeliveries = redeliveries + 1
         WHERE id = ?1",
    )?;
    for letter in redelivered {
        let id = to_sql(letter.id);
        let found = find.query_row([id], |row| {
            Ok((
                ConnectionId(row.get(0)?),
                reason_at(row, 1)?,
                u64_at(row, 2)?,
                u64_at(row, 3)?,
            ))
        });
        let Some((connection, reason, bytes, before)) = found.optional()? else {
            continue;
        };
        let change = totals.go(connection, reason, bytes);
        let (again, expired) = match letter.outcome {
            Outcome::Delivered | Outcome::Filtered(_) => {
                change.redelivered += 1;
                delete.execute([id])?;
                continue;
            }
            Outcome::Rejected(again) => (again, false),
            Outcome::Expired(again) => (again, true),
        };
        let (detail, response) = kept(&letter.answer);
        let bytes = bytes.saturating_sub(before) + length(answer_bytes(detail, response));
        back.execute(params![
            id,
            again.as_str(),
            expired,
            letter.answer.status,
            detail,
            response,
            letter.attempts,
            to_sql(letter.at.0),
            to_sql(bytes),
        ])?;
        totals.come(connection, again, bytes);
    }
    Ok(())
}

/// Removes the oldest letters until all together have at most `bytes_max`; `bytes` is what they
/// have now. Returns how many went. What is above the limit by far goes over several batches.
pub(crate) fn evict(
    tx: &Connection,
    mut bytes: u64,
    bytes_max: u64,
    totals: &mut Totals,
) -> Result<u64, Error> {
    let mut oldest = tx.prepare_cached(
        "SELECT id, connection, reason, bytes FROM dead_letters ORDER BY id LIMIT ?1",
    )?;
    let mut delete = tx.prepare_cached("DELETE FROM dead_letters WHERE id = ?1")?;
    let mut evicted = 0;
    while bytes > bytes_max && evicted < EVICTED_PER_BATCH_MAX {
        let step = oldest.query_map([EVICTION_STEP], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                ConnectionId(row.get(1)?),
                reason_at(row, 2)?,
                u64_at(row, 3)?,
            ))
        })?;
        let step: Vec<_> = step.collect::<Result<_, _>>()?;
        if step.is_empty() {
            break;
        }
        for (id, connection, reason, size) in step {
            if bytes <= bytes_max {
                break;
            }
            delete.execute([id])?;
            totals.go(connection, reason, size).evicted += 1;
            bytes = bytes.saturating_sub(size);
            evicted += 1;
        }
    }
    Ok(evicted)
}

/// Queues letters to be tried again and adds to `queued` how many there were of each connection.
/// Letters that are queued already, or gone, do not count.
pub(crate) fn queue(
    tx: &Connection,
    ids: &[u64],
    queued: &mut BTreeMap<ConnectionId, u64>,
) -> Result<(), Error> {
    let mut update = tx.prepare_cached(
        "UPDATE dead_letters SET state = 1 WHERE id = ?1 AND state = 0 RETURNING connection",
    )?;
    for id in ids {
        let connection = update.query_row([to_sql(*id)], |row| row.get(0).map(ConnectionId));
        if let Some(connection) = connection.optional()? {
            *queued.entry(connection).or_default() += 1;
        }
    }
    Ok(())
}
