//! Batches on their way to the writer: bounded in bytes from push until their answer.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use crate::batch::AppendBatch;
use crate::error::AppendError;
use crate::guard::lock;
use crate::{Appended, local::writer::RETRY_OVERLOADED_S};

/// One batch that waits. Dropped without an answer, its caller gets [`AppendError::Failed`].
#[derive(Debug)]
pub(crate) struct Pending {
    pub batch: AppendBatch,
    pub answer: oneshot::Sender<Result<Appended, AppendError>>,
}

/// What the writer has to do next.
#[derive(Debug)]
pub(crate) enum Work {
    Append(Vec<Pending>),
    /// Nothing came for as long as the writer was ready to wait.
    Idle,
    /// Begin a new segment, so that retention can reach what is in this one.
    Roll,
    Close,
}

#[derive(Debug)]
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
    bytes_max: u64,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Pending>,
    /// Of waiting batches and of those being written.
    bytes: u64,
    refused: Option<AppendError>,
    roll: bool,
    writer_waits: bool,
}

impl Queue {
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self {
            state: Mutex::default(),
            arrived: Condvar::new(),
            bytes_max,
        }
    }

    pub(crate) fn push(
        &self,
        batch: AppendBatch,
    ) -> Result<oneshot::Receiver<Result<Appended, AppendError>>, AppendError> {
        let (answer, receiver) = oneshot::channel();
        let bytes = bytes_of(&batch);
        let mut state = lock(&self.state);
        if let Some(refused) = state.refused {
            return Err(refused);
        }
        if state.bytes + bytes > self.bytes_max && state.bytes > 0 {
            return Err(AppendError::Overloaded {
                retry_after_s: RETRY_OVERLOADED_S,
            });
        }
        state.bytes += bytes;
        state.waiting.push_back(Pending { batch, answer });
        // The writer looks again after each commit: waking it is needed only when it sleeps.
        if std::mem::take(&mut state.writer_waits) {
            self.arrived.notify_one();
        }
        Ok(receiver)
    }

    /// The next work: batches of at most `bytes_max` bytes together (one always goes), or what
    /// came of waiting. Waits at most `patience`; for ever where there is none.
    pub(crate) fn next(&self, bytes_max: u64, patience: Option<Duration>) -> Work {
        let deadline = patience.map(|patience| Instant::now() + patience);
        let mut state = lock(&self.state);
        loop {
            if !state.waiting.is_empty() {
                return Work::Append(take(&mut state.waiting, bytes_max));
            }
            if state.refused.is_some() {
                return Work::Close;
            }
            if std::mem::take(&mut state.roll) {
                return Work::Roll;
            }
            state.writer_waits = true;
            let Some(deadline) = deadline else {
                state = self
                    .arrived
                    .wait(state)
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                continue;
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Work::Idle;
            }
            let waited = self.arrived.wait_timeout(state, left);
            state = waited.unwrap_or_else(std::sync::PoisonError::into_inner).0;
        }
    }

    /// These bytes were answered: others may come.
    pub(crate) fn release(&self, bytes: u64) {
        let mut state = lock(&self.state);
        state.bytes = state.bytes.saturating_sub(bytes);
    }

    pub(crate) fn ask_for_roll(&self) {
        let mut state = lock(&self.state);
        state.roll = true;
        state.writer_waits = false;
        self.arrived.notify_one();
    }

    /// Refuses new batches. The writer finishes what waits, then closes.
    pub(crate) fn close(&self) {
        let mut state = lock(&self.state);
        state.refused.get_or_insert(AppendError::Closed);
        state.writer_waits = false;
        self.arrived.notify_one();
    }

    /// Refuses new batches and fails those that wait.
    pub(crate) fn fail(&self) {
        let mut state = lock(&self.state);
        state.refused = Some(AppendError::Failed);
        state.waiting.clear();
        state.bytes = 0;
    }

    pub(crate) fn bytes(&self) -> u64 {
        lock(&self.state).bytes
    }
}

pub(crate) fn bytes_of(batch: &AppendBatch) -> u64 {
    u64::try_from(batch.bytes()).unwrap_or(u64::MAX)
}

fn take(waiting: &mut VecDeque<Pending>, bytes_max: u64) -> Vec<Pending> {
    let mut bytes = 0;
    let fits = |pending: &&Pending| {
        bytes += bytes_of(&pending.batch);
        bytes <= bytes_max
    };
    let count = waiting.iter().take_while(fits).count().max(1);
    waiting.drain(..count.min(waiting.len())).collect()
}
