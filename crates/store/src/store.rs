//! The store's handle.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use model::{
    ConnectionId, DestinationId, LaneId, Name, Offset, Registry, Secret, SourceId, UnixMillis,
};
use rusqlite::Transaction;
use tokio::sync::oneshot;

use crate::batch::{AttemptSample, CommitBatch, FinishedLane};
use crate::dead_letters::{
    self, DeadLetterCount, DeadLetterDetail, DeadLetterFilter, DeadLetterSelection,
    DeadLetterSummary,
};
use crate::error::Error;
use crate::lanes::{self, LaneKind, LaneRow, NewLane, Which};
use crate::minutes::{self, MinuteRow};
use crate::names::{self, NameKind};
use crate::open::{self, Opened};
use crate::options::Options;
use crate::registry::{self, RecordedRegistry};
use crate::{samples, secrets};

/// The store, opened. A handle: cloning it is cheap. When the last one is dropped, what is queued
/// is committed and the database closed; that drop blocks for as long.
///
/// All calls but [`Store::commit`] block and may wait for the disk: make them from a thread that
/// may wait. Those that write are durable on return.
#[derive(Clone)]
pub struct Store {
    opened: Arc<Opened>,
}

/// Letters queued in one transaction: commits get their turn in between.
const REDELIVERY_STEP: usize = 5_000;

impl Store {
    /// Whether there is a store in `dir`, for those that must not make one.
    #[must_use]
    pub fn exists_in(dir: &Path) -> bool {
        open::exists_in(dir)
    }

    /// Opens the store in `options.dir`, or makes it. A database that was thrown away is made anew,
    /// with the numbers of names that `names.txt` remembers; see [`Store::lost_connections`].
    ///
    /// # Errors
    /// `NotWritable`, `Damaged`, `NamesDamaged`, `Foreign`, `TooNew`, `WrongKey`, `KeyMissing`,
    /// `KeyExposed`, `BadKey`: each says what to do; nothing that was there is changed.
    pub fn open(options: Options, now: UnixMillis) -> Result<Self, Error> {
        Ok(Self {
            opened: Arc::new(open::open(options, now)?),
        })
    }

    /// Numbers of sources, in the order of `names`. A new name gets a number that no other name
    /// ever had; a name keeps its number for ever.
    pub fn source_ids(&self, names: &[Name]) -> Result<Vec<SourceId>, Error> {
        Ok(self
            .ids(NameKind::Source, names)?
            .into_iter()
            .map(SourceId)
            .collect())
    }

    /// As [`Store::source_ids`], for destinations.
    pub fn destination_ids(&self, names: &[Name]) -> Result<Vec<DestinationId>, Error> {
        Ok(self
            .ids(NameKind::Destination, names)?
            .into_iter()
            .map(DestinationId)
            .collect())
    }

    /// As [`Store::source_ids`], for connections.
    pub fn connection_ids(&self, names: &[Name]) -> Result<Vec<ConnectionId>, Error> {
        Ok(self
            .ids(NameKind::Connection, names)?
            .into_iter()
            .map(ConnectionId)
            .collect())
    }

    /// Connections that had a lane in a database that is gone: their live lane must begin at the
    /// oldest retained record, where that of a new connection begins at the log's end. A
    /// connection is listed until a live lane is added for it, across restarts too.
    pub fn lost_connections(&self) -> Result<Vec<ConnectionId>, Error> {
        self.read(|tx| names::lost_connections(tx))
    }

    /// Records the registry that is in force from `now` on, settings sealed.
    pub fn record_registry(&self, registry: &Registry, now: UnixMillis) -> Result<(), Error> {
        let (sealer, registry) = (Arc::clone(&self.opened.sealer), registry.clone());
        self.write(move |tx| registry::record(tx, &sealer, &registry, now))
    }

    /// All that was ever in force, removed things included.
    pub fn recorded_registry(&self) -> Result<RecordedRegistry, Error> {
        self.read(|tx| registry::recorded(tx, &self.opened.sealer))
    }

    /// All lanes, by number: those at work, and the last finished ones.
    pub fn lanes(&self) -> Result<Vec<LaneRow>, Error> {
        self.read(|tx| lanes::list(tx, Which::All))
    }

    /// The replays among them.
    pub fn replays(&self) -> Result<Vec<LaneRow>, Error> {
        self.read(|tx| lanes::list(tx, Which::Replays))
    }

    /// Those of one connection.
    pub fn lanes_of(&self, connection: ConnectionId) -> Result<Vec<LaneRow>, Error> {
        self.read(|tx| lanes::list(tx, Which::Of(connection)))
    }

    /// Adds a lane; see [`Store::add_lanes`].
    pub fn add_lane(
        &self,
        connection: ConnectionId,
        kind: LaneKind,
        start: Offset,
    ) -> Result<LaneId, Error> {
        let lane = NewLane::new(connection, kind, start);
        let added = self.write(move |tx| lanes::add(tx, &[lane]))?;
        Ok(*added
            .first()
            .expect("one lane was added, or there was an error"))
    }

    /// Adds lanes in one transaction; their numbers are in the order of `lanes`.
    ///
    /// # Errors
    /// `LaneExists`: a connection would have two live lanes. None was added.
    pub fn add_lanes(&self, lanes: &[NewLane]) -> Result<Vec<LaneId>, Error> {
        let lanes = lanes.to_vec();
        self.write(move |tx| lanes::add(tx, &lanes))
    }

    /// A replay is done, or a connection was removed. The lane stays listed as finished, until too
    /// many others are.
    pub fn finish_lane(&self, lane: FinishedLane) -> Result<(), Error> {
        let kept = self.opened.options.finished_lanes_kept;
        self.write(move |tx| lanes::finish(tx, &[lane], kept))
    }

    /// Queues a batch for the writer and returns at once; the receiver resolves when it is
    /// committed. Batches are committed in the order of the calls. Dropping the receiver does not
    /// undo the commit.
    ///
    /// # Errors
    /// `NotCommitted` (the queue is full, the disk is full, the database is damaged, ...): nothing
    /// was committed, and the batch comes back to be handed in again. A receiver that errs itself
    /// says that the writer died: the process should end.
    pub fn commit(&self, batch: CommitBatch) -> oneshot::Receiver<Result<(), Error>> {
        self.opened.writer.commit(batch)
    }

    /// Dead letters by ascending id.
    pub fn dead_letters(&self, filter: &DeadLetterFilter) -> Result<Vec<DeadLetterSummary>, Error> {
        self.read(|tx| dead_letters::list(tx, filter))
    }

    /// One dead letter with its event, the last answer, and the samples of its attempts.
    pub fn dead_letter(&self, id: u64) -> Result<Option<DeadLetterDetail>, Error> {
        self.read(|tx| dead_letters::detail(tx, id))
    }

    /// Dead letters that wait for their redelivery, over all connections.
    pub fn queued_dead_letter_count(&self) -> Result<u64, Error> {
        self.read(|tx| dead_letters::queued_count(tx))
    }

    /// Counts by connection and reason.
    pub fn dead_letter_counts(&self) -> Result<Vec<DeadLetterCount>, Error> {
        self.read(|tx| dead_letters::counts(tx))
    }

    /// What all dead letters together may have; see [`Options::dead_letters_bytes_max`].
    #[must_use]
    pub fn dead_letters_bytes_max(&self) -> u64 {
        self.opened.dead_letters_bytes_max.load(Ordering::Relaxed)
    }

    /// Sets that limit; what is over it goes with the next dead letters that come.
    pub fn set_dead_letters_bytes_max(&self, bytes: u64) {
        let bytes = bytes.max(Options::DEAD_LETTERS_BYTES_MIN);
        self.opened
            .dead_letters_bytes_max
            .store(bytes, Ordering::Relaxed);
    }

    /// Bytes of the database's files.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        let path = &self.opened.path;
        let bytes = |suffix: &str| {
            let mut name = path.clone().into_os_string();
            name.push(suffix);
            std::fs::metadata(name).map_or(0, |metadata| metadata.len())
        };
        bytes("") + bytes("-wal") + bytes("-shm")
    }

    /// Queues dead letters to be tried again, and returns how many were queued of each connection.
    pub fn request_redelivery(
        &self,
        selection: &DeadLetterSelection,
    ) -> Result<Vec<(ConnectionId, u64)>, Error> {
        let ids = match selection {
            DeadLetterSelection::Filter(filter) => self.read(|tx| dead_letters::ids(tx, filter))?,
            DeadLetterSelection::Ids(ids) => ids.clone(),
        };
        let mut queued = BTreeMap::new();
        for step in ids.chunks(REDELIVERY_STEP) {
            let (step, mut sum) = (step.to_vec(), std::mem::take(&mut queued));
            queued = self.write(move |tx| {
                dead_letters::kept::queue(tx, &step, &mut sum)?;
                Ok(sum)
            })?;
        }
        Ok(queued.into_iter().collect())
    }

    /// What the connection's redelivery lane has to do: queued letters with ids from `from_id` on
    /// (inclusive), ascending: id, bytes of the event, received at.
    pub fn queued_dead_letters(
        &self,
        connection: ConnectionId,
        from_id: u64,
        max: usize,
    ) -> Result<Vec<(u64, u32, UnixMillis)>, Error> {
        self.read(|tx| dead_letters::queued(tx, connection, from_id, max))
    }

    /// How many [`Store::queued_dead_letters`] there are.
    pub fn queued_dead_letter_count_of(
        &self,
        connection: ConnectionId,
        from_id: u64,
    ) -> Result<u64, Error> {
        self.read(|tx| dead_letters::queued_count_of(tx, connection, from_id))
    }

    /// The event of a dead letter; `None` where the letter is gone.
    pub fn dead_letter_event(&self, id: u64) -> Result<Option<Bytes>, Error> {
        self.read(|tx| dead_letters::event(tx, id))
    }

    /// The last samples of a lane's attempts, oldest first.
    pub fn samples(&self, lane: LaneId) -> Result<Vec<AttemptSample>, Error> {
        self.read(|tx| samples::list(tx, lane))
    }

    /// A lane's counters from the minute that starts at `since` on, ascending.
    pub fn minutes(&self, lane: LaneId, since: UnixMillis) -> Result<Vec<MinuteRow>, Error> {
        self.read(|tx| minutes::list(tx, lane, since))
    }

    /// Keeps a secret, sealed, or replaces it.
    ///
    /// # Errors
    /// `BadSecretName`, `SecretTooLarge`.
    pub fn put_secret(&self, name: &str, secret: &Secret, now: UnixMillis) -> Result<(), Error> {
        let sealer = Arc::clone(&self.opened.sealer);
        let (name, secret) = (name.to_owned(), secret.clone());
        self.write(move |tx| secrets::put(tx, &sealer, &name, &secret, now))
    }

    /// # Errors
    /// `Unsealable`: it was damaged or moved.
    pub fn get_secret(&self, name: &str) -> Result<Option<Secret>, Error> {
        self.read(|tx| secrets::get(tx, &self.opened.sealer, name))
    }

    /// Names of secrets and when each was last set. Never the secrets.
    pub fn list_secrets(&self) -> Result<Vec<(String, UnixMillis)>, Error> {
        self.read(|tx| secrets::list(tx))
    }

    /// Whether there was one to remove.
    pub fn remove_secret(&self, name: &str) -> Result<bool, Error> {
        let name = name.to_owned();
        self.write(move |tx| secrets::remove(tx, &name))
    }

    fn ids(&self, kind: NameKind, names: &[Name]) -> Result<Vec<u32>, Error> {
        let names = names.to_vec();
        let (ids, added) = self.write(move |tx| names::assign(tx, kind, &names))?;
        // After the database: a name that only the file has means that the database was lost.
        self.opened.names.append(&added)?;
        Ok(ids)
    }

    fn read<T>(&self, look: impl FnOnce(&Transaction<'_>) -> Result<T, Error>) -> Result<T, Error> {
        self.opened
            .readers
            .read(look)
            .map_err(|error| self.located(error))
    }

    fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        self.opened
            .writer
            .write(change)
            .map_err(|error| self.located(error))
    }

    fn located(&self, error: Error) -> Error {
        error.at(&self.opened.path, self.opened.options.busy_timeout_ms)
    }
}

#[cfg(test)]
mod tests;
