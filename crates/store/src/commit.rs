//! One batch, one transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::UnixMillis;
use rusqlite::{Connection, TransactionBehavior};

use crate::batch::CommitBatch;
use crate::dead_letters::kept::{self, Totals};
use crate::error::Error;
use crate::options::Options;
use crate::{lanes, minutes, samples};

/// What must be known from one batch to the next.
pub(crate) struct Committer {
    samples_per_lane_max: u32,
    minutes_kept: u32,
    finished_lanes_kept: u32,
    dead_letters_bytes_max: Arc<AtomicU64>,
    /// What all dead letters have.
    dead_letters_bytes: u64,
    /// Dead letters given up since the limit was first met, `None` while there is room.
    evicted: Option<u64>,
    /// The latest minute that was counted: only a later one makes an old one too old.
    latest_minute: UnixMillis,
}

/// An episode of evictions ends when so many percent of the limit are in use again: just below
/// the limit, every batch would begin another one.
const EPISODE_ENDS_PERCENT: u64 = 90;

impl Committer {
    pub(crate) fn new(
        connection: &Connection,
        options: &Options,
        dead_letters_bytes_max: Arc<AtomicU64>,
    ) -> Result<Self, Error> {
        Ok(Self {
            samples_per_lane_max: options.samples_per_lane_max,
            minutes_kept: options.minutes_kept,
            finished_lanes_kept: options.finished_lanes_kept,
            dead_letters_bytes_max,
            dead_letters_bytes: kept::total_bytes(connection)?,
            evicted: None,
            latest_minute: UnixMillis(0),
        })
    }

    /// # Errors
    /// Nothing of the batch was committed.
    pub(crate) fn commit(
        &mut self,
        connection: &mut Connection,
        batch: &CommitBatch,
    ) -> Result<(), Error> {
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        if !batch.lanes.is_empty() {
            lanes::save(&tx, &batch.lanes)?;
        }
        if !batch.holds.is_empty() {
            lanes::note_holds(&tx, &batch.holds)?;
        }
        let (bytes, evicted) = self.keep_dead_letters(&tx, batch)?;
        if !batch.samples.is_empty() {
            samples::add(&tx, &batch.samples, self.samples_per_lane_max)?;
        }
        let minute = batch
            .minutes
            .iter()
            .map(|delta| delta.minute)
            .max()
            .unwrap_or_default();
        if !batch.minutes.is_empty() {
            minutes::add(&tx, &batch.minutes)?;
        }
        if minute > self.latest_minute {
            minutes::trim(&tx, minute, self.minutes_kept)?;
        }
        lanes::finish(&tx, &batch.finished, self.finished_lanes_kept)?;
        tx.commit()?;
        // Only now: a batch that was rolled back has changed nothing.
        self.latest_minute = self.latest_minute.max(minute);
        self.dead_letters_bytes = bytes;
        self.announce(evicted);
        Ok(())
    }

    /// Returns the bytes of all dead letters after this batch, and how many had to go.
    fn keep_dead_letters(&self, tx: &Connection, batch: &CommitBatch) -> Result<(u64, u64), Error> {
        if batch.dead_letters.is_empty() && batch.redelivered.is_empty() {
            return Ok((self.dead_letters_bytes, 0));
        }
        let mut totals = Totals::default();
        // Tried letters first: where the same batch has the letter anew, that is the newer word.
        kept::settle(tx, &batch.redelivered, &mut totals)?;
        kept::add(tx, &batch.dead_letters, &mut totals)?;
        let bytes = self
            .dead_letters_bytes
            .saturating_add_signed(totals.bytes());
        let evicted = kept::evict(tx, bytes, self.bytes_max(), &mut totals)?;
        totals.save(tx)?;
        Ok((
            self.dead_letters_bytes
                .saturating_add_signed(totals.bytes()),
            evicted,
        ))
    }

    fn bytes_max(&self) -> u64 {
        self.dead_letters_bytes_max.load(Ordering::Relaxed)
    }

    /// Says once that evictions began, and once that they ended.
    fn announce(&mut self, evicted: u64) {
        let bytes_max = self.bytes_max();
        match self.evicted {
            None if evicted > 0 => {
                tracing::warn!(
                    bytes_max,
                    "dead letters have reached their limit: the oldest are given up; redeliver \
                     them, or raise the limit"
                );
                self.evicted = Some(evicted);
            }
            None => {}
            Some(before) => {
                let ended = self.dead_letters_bytes / EPISODE_ENDS_PERCENT < bytes_max / 100;
                let total = before + evicted;
                if ended {
                    tracing::info!(evicted = total, "dead letters are below their limit again");
                }
                self.evicted = (!ended).then_some(total);
            }
        }
    }
}

#[cfg(test)]
mod tests;
