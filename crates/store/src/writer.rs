//! The writer: one thread, one connection, one queue. SQLite lets one write at a time; a queue in
//! front of one writer keeps shards from waiting for each other inside the database.

use std::path::PathBuf;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::oneshot;

use crate::batch::CommitBatch;
use crate::commit::Committer;
use crate::error::Error;
use crate::options::Options;

enum Command {
    Commit {
        batch: Box<CommitBatch>,
        done: oneshot::Sender<Result<(), Error>>,
    },
    /// Anything else that writes.
    Write(Box<dyn FnOnce(&mut Connection) + Send>),
}

/// The queue and the thread behind it. Dropping it waits until what is queued is committed.
pub(crate) struct Writer {
    queue: Option<SyncSender<Command>>,
    thread: Option<JoinHandle<()>>,
    queue_max: usize,
}

impl Writer {
    pub(crate) fn start(
        connection: Connection,
        committer: Committer,
        path: PathBuf,
        options: &Options,
    ) -> Result<Self, Error> {
        let (queue, commands) = sync_channel(options.commit_queue_max);
        let busy_timeout_ms = options.busy_timeout_ms;
        let sync_interval = Duration::from_millis(options.sync_interval_ms);
        let located = move |error: Error| error.at(&path, busy_timeout_ms);
        let thread = std::thread::Builder::new()
            .name("store-writer".to_owned())
            .spawn(move || run(connection, committer, sync_interval, &commands, &located))
            .map_err(|source| Error::Io {
                path: PathBuf::from("thread store-writer"),
                source,
            })?;
        Ok(Self {
            queue: Some(queue),
            thread: Some(thread),
            queue_max: options.commit_queue_max,
        })
    }

    /// Queues a batch and returns at once.
    pub(crate) fn commit(&self, batch: CommitBatch) -> oneshot::Receiver<Result<(), Error>> {
        let (done, committed) = oneshot::channel();
        let refused = match self.queue().try_send(Command::Commit {
            batch: Box::new(batch),
            done,
        }) {
            Ok(()) => None,
            Err(TrySendError::Full(command)) => Some((
                command,
                Error::Overloaded {
                    queue_max: self.queue_max,
                },
            )),
            Err(TrySendError::Disconnected(command)) => Some((command, Error::Closed)),
        };
        if let Some((Command::Commit { batch, done }, cause)) = refused {
            answer(
                done,
                Err(Error::NotCommitted {
                    cause: Box::new(cause),
                    batch,
                }),
            );
        }
        committed
    }

    /// Runs `change` in a transaction that is on the disk on return. Waits for its turn.
    pub(crate) fn write<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Transaction<'_>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (done, result) = sync_channel(1);
        let run = move |connection: &mut Connection| {
            // Who waits has gone away only with its process.
            let _ = done.send(durably(connection, change));
        };
        self.queue()
            .send(Command::Write(Box::new(run)))
            .map_err(|_| Error::Closed)?;
        result.recv().map_err(|_| Error::Closed)?
    }

    fn queue(&self) -> &SyncSender<Command> {
        self.queue.as_ref().expect("taken only by drop")
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
    }
}

fn run(
    mut connection: Connection,
    mut committer: Committer,
    sync_interval: Duration,
    commands: &Receiver<Command>,
    located: &dyn Fn(Error) -> Error,
) {
    let mut synced_at = Instant::now();
    while let Ok(command) = commands.recv() {
        match command {
            Command::Commit { batch, done } => {
                let committed = if synced_at.elapsed() >= sync_interval {
                    synced_at = Instant::now();
                    synced(&mut connection, |connection| {
                        committer.commit(connection, &batch)
                    })
                } else {
                    committer.commit(&mut connection, &batch)
                };
                let result = committed.map_err(|error| {
                    let cause = Box::new(located(error));
                    // Whoever handed it in is told, and says so where it matters.
                    tracing::debug!(%cause, "a batch was not committed");
                    Error::NotCommitted { cause, batch }
                });
                answer(done, result);
            }
            Command::Write(run) => run(&mut connection),
        }
    }
    // The last one to close moves the write-ahead file into the database.
    if let Err((_, error)) = connection.close() {
        tracing::warn!(%error, "the store did not close cleanly; nothing is lost by that");
    }
}

/// Waits for the disk, unlike a batch of progress: a name's number, once used in the log, must
/// mean the same after a power cut.
fn durably<T>(
    connection: &mut Connection,
    change: impl FnOnce(&Transaction<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    synced(connection, |connection| {
        let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let value = change(&tx)?;
        tx.commit()?;
        Ok(value)
    })
}

/// What `work` commits, and all that was committed before, is on the disk on return.
fn synced<T>(
    connection: &mut Connection,
    work: impl FnOnce(&mut Connection) -> Result<T, Error>,
) -> Result<T, Error> {
    connection.pragma_update(None, "synchronous", "full")?;
    let result = work(connection);
    if let Err(error) = connection.pragma_update(None, "synchronous", "normal") {
        // No reason to call what was committed a failure: commits only take longer now.
        tracing::warn!(%error, "commits go on waiting for the disk");
    }
    result
}

fn answer(done: oneshot::Sender<Result<(), Error>>, result: Result<(), Error>) {
    if let Err(Err(unheard)) = done.send(result) {
        tracing::error!(%unheard, "nobody waited for the result of a commit that failed");
    }
}
