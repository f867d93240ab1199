//! What has been done and is not yet durable: progress, dead letters, samples, counters.
//!
//! Everything of one moment goes into one transaction, so that a cursor never passes an event
//! whose dead letter is not kept. One commit of a shard is under way at a time, in order; a commit
//! that failed is handed in again, unchanged, before anything later.

use std::mem;

use model::{ConnectionId, LaneId, LaneProgress, MonoMicros, Offset};
use store::{AttemptSample, CommitBatch, DeadLetter, FinishedLane, HeldLane, Redelivered, Store};
use tokio::sync::oneshot;

/// How long to wait before a commit that failed is handed in again.
const RETRY_US: u64 = 200_000;

pub(crate) struct Ledger {
    store: Store,
    /// Collects for the next commit.
    batch: CommitBatch,
    bytes: usize,
    bytes_max: usize,
    flush_us: u64,
    /// When the next commit is due, if there is anything to commit.
    due: Option<MonoMicros>,
    state: State,
    /// The last commit failed, which was said.
    failing: bool,
    /// The last progress of lanes that are finished: it goes behind any earlier one.
    last: Vec<LaneProgress>,
    /// Connections whose redelivery lane is finished once the present batch is committed.
    redelivered: Vec<ConnectionId>,
    /// Who waits until what has been done so far is durable.
    waiting: Vec<oneshot::Sender<()>>,
}

enum State {
    Idle,
    Committing(Receipt, Notes),
    /// The store did not take it: again at that time.
    Failed(Box<CommitBatch>, Notes, MonoMicros),
}

type Receipt = oneshot::Receiver<Result<(), store::Error>>;

/// What the shard learns when a commit is durable.
#[derive(Default)]
pub(crate) struct Notes {
    pub(crate) cursors: Vec<(LaneId, Offset)>,
    pub(crate) redelivered: Vec<ConnectionId>,
    waiting: Vec<oneshot::Sender<()>>,
}

/// The store's writer has died.
pub(crate) struct WriterDied;

impl Ledger {
    pub(crate) fn new(store: Store, flush_us: u64, bytes_max: usize) -> Self {
        Self {
            store,
            batch: CommitBatch::default(),
            bytes: 0,
            bytes_max,
            flush_us,
            due: None,
            state: State::Idle,
            failing: false,
            last: Vec::new(),
            redelivered: Vec::new(),
            waiting: Vec::new(),
        }
    }

    /// Says so when all that has been done so far is durable.
    pub(crate) fn when_durable(&mut self, done: oneshot::Sender<()>, now: MonoMicros) {
        self.waiting.push(done);
        self.touch(now);
    }

    /// Something has changed: a commit becomes due, if none was.
    pub(crate) fn touch(&mut self, now: MonoMicros) {
        self.due.get_or_insert(now.plus(self.flush_us));
    }

    pub(crate) fn dead_letter(&mut self, letter: DeadLetter, now: MonoMicros) {
        self.bytes += letter.event.len() + letter.answer.bytes() + 256;
        self.batch.dead_letters.push(letter);
        self.touch(now);
    }

    pub(crate) fn held(&mut self, lane: HeldLane, now: MonoMicros) {
        self.bytes += lane.held.cause.len() + 64;
        self.batch.holds.push(lane);
        self.touch(now);
    }

    pub(crate) fn sample(&mut self, sample: AttemptSample, now: MonoMicros) {
        self.bytes += sample.response.len() + sample.request_line.len() + 128;
        self.batch.samples.push(sample);
        self.touch(now);
    }

    pub(crate) fn redelivered(&mut self, letter: Redelivered, now: MonoMicros) {
        self.bytes += letter.answer.bytes() + 128;
        self.batch.redelivered.push(letter);
        self.touch(now);
    }

    /// The lane is done. `redelivery_of`: look once more whether that connection has queued
    /// letters, after the commit.
    /// `last`: where the lane was at its end, which the scheduler will not tell again.
    pub(crate) fn finish(
        &mut self,
        lane: FinishedLane,
        last: Option<LaneProgress>,
        redelivery_of: Option<ConnectionId>,
        now: MonoMicros,
    ) {
        self.last.extend(last);
        self.batch.finished.push(lane);
        self.redelivered.extend(redelivery_of);
        self.touch(now);
    }

    /// Too much is waiting: the shard must wait for the store before it does more.
    pub(crate) fn is_full(&self) -> bool {
        self.bytes >= self.bytes_max
    }

    /// Nothing is waiting and nothing under way.
    pub(crate) fn is_clean(&self) -> bool {
        self.due.is_none() && matches!(self.state, State::Idle)
    }

    /// When this ledger wants [`Ledger::flush`] to be called, if it does.
    pub(crate) fn wake_at(&self) -> Option<MonoMicros> {
        match &self.state {
            State::Idle => self.due,
            State::Committing(..) => None,
            State::Failed(_, _, at) => Some(*at),
        }
    }

    /// Hands the next commit to the store, if one is due. `collect` adds the lanes' progress to
    /// it and says whether more is left than one commit should hold.
    pub(crate) fn flush(
        &mut self,
        now: MonoMicros,
        collect: impl FnOnce(&mut CommitBatch) -> bool,
    ) {
        match mem::replace(&mut self.state, State::Idle) {
            State::Failed(batch, notes, at) if now >= at => {
                self.state = State::Committing(self.store.commit(*batch), notes);
            }
            State::Idle if self.due.is_some_and(|due| now >= due) => {
                let mut batch = mem::take(&mut self.batch);
                self.bytes = 0;
                let more = collect(&mut batch);
                batch.lanes.append(&mut self.last);
                self.due = more.then_some(now);
                let waiting = match more {
                    true => Vec::new(),
                    false => mem::take(&mut self.waiting),
                };
                if batch.is_empty() {
                    return tell(waiting);
                }
                let cursors = batch
                    .lanes
                    .iter()
                    .map(|lane| (lane.lane, lane.cursor))
                    .collect();
                let notes = Notes {
                    cursors,
                    redelivered: mem::take(&mut self.redelivered),
                    waiting,
                };
                self.state = State::Committing(self.store.commit(batch), notes);
            }
            state => self.state = state,
        }
    }

    /// Waits until the commit under way has ended; for ever where there is none. Cancel safe.
    ///
    /// # Errors
    /// The store's writer has died.
    pub(crate) async fn committed(
        &mut self,
        now: impl Fn() -> MonoMicros,
    ) -> Result<Notes, WriterDied> {
        let State::Committing(receipt, _) = &mut self.state else {
            return std::future::pending().await;
        };
        let result = receipt.await;
        let State::Committing(_, notes) = mem::replace(&mut self.state, State::Idle) else {
            return Err(WriterDied);
        };
        match result {
            Ok(Ok(())) => {
                let mut notes = notes;
                tell(mem::take(&mut notes.waiting));
                if mem::take(&mut self.failing) {
                    tracing::info!("progress is saved again");
                }
                Ok(notes)
            }
            Ok(Err(store::Error::NotCommitted { cause, batch })) => {
                if !mem::replace(&mut self.failing, true) {
                    tracing::error!(
                        %cause,
                        "progress cannot be saved: it is tried again until it can; deliveries go \
                         on, and would be repeated after a restart"
                    );
                }
                self.state = State::Failed(batch, notes, now().plus(RETRY_US));
                Ok(Notes::default())
            }
            Ok(Err(error)) => {
                tracing::error!(%error, "progress could not be saved");
                Err(WriterDied)
            }
            Err(_) => Err(WriterDied),
        }
    }
}

fn tell(waiting: Vec<oneshot::Sender<()>>) {
    for done in waiting {
        // A receiver that is gone has lost interest.
        let _ = done.send(());
    }
}
