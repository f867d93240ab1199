//! The housekeeper: a thread that makes segments before they are needed and writes the indexes of
//! those that were sealed, so that the writer waits for neither.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use crate::guard::lock;
use crate::local::index::SegmentIndex;
use crate::local::index_file;
use crate::local::sealed::Sealed;
use crate::local::segment::Spare;
use crate::local::shared::Shared;

/// Removed segments held beyond those reserved: a log at its limit then never has to fill a new
/// one, which costs as much of the disk's time as the records themselves.
const RECYCLED_MAX: usize = 4;
/// Indexes that may wait while the writer waits for a spare. Retention needs them.
const INDEXES_WAITING_MAX: usize = 2;

/// Where the writer and the housekeeper meet.
#[derive(Debug)]
pub(crate) struct Desk {
    state: Mutex<State>,
    changed: Condvar,
    spares_min: usize,
}

#[derive(Debug, Default)]
struct State {
    spares: VecDeque<Spare>,
    number_next: u64,
    indexes: VecDeque<IndexJob>,
    /// The last try to make a spare, or to write an index, failed: wait until asked again.
    spare_stalled: bool,
    index_stalled: bool,
    /// Tries to make a spare that failed.
    failures: u64,
    stop: bool,
}

/// A sealed segment whose index file is to be written.
#[derive(Clone, Debug)]
pub(crate) struct IndexJob {
    pub segment: Arc<Sealed>,
    pub index: Arc<SegmentIndex>,
}

enum Chore {
    MakeSpare { number: u64 },
    WriteIndex(IndexJob),
    Stop,
}

impl Desk {
    pub(crate) fn new(spares: Vec<Spare>, number_next: u64, spares_min: usize) -> Self {
        let state = State {
            spares: spares.into(),
            number_next,
            ..State::default()
        };
        Self {
            state: Mutex::new(state),
            changed: Condvar::new(),
            spares_min: spares_min.max(1),
        }
    }

    /// A spare: at once where one is ready, else when the next is made. `None` where it cannot be
    /// made (the disk is full).
    pub(crate) fn take(&self) -> Option<Spare> {
        let mut state = self.wake();
        let failures = state.failures;
        loop {
            if let Some(spare) = state.spares.pop_front() {
                self.changed.notify_all();
                return Some(spare);
            }
            if state.stop || state.failures != failures {
                return None;
            }
            state = self.wait(state);
        }
    }

    /// Takes a segment that retention has removed; false where enough are held.
    pub(crate) fn offer(&self, spare: Spare) -> bool {
        let mut state = lock(&self.state);
        let wanted = state.spares.len() < self.spares_min + RECYCLED_MAX;
        if wanted {
            state.spares.push_back(spare);
            self.changed.notify_all();
        }
        wanted
    }

    /// Whether [`Desk::offer`] would take one.
    pub(crate) fn wants_spares(&self) -> bool {
        lock(&self.state).spares.len() < self.spares_min + RECYCLED_MAX
    }

    pub(crate) fn next_number(&self) -> u64 {
        let mut state = lock(&self.state);
        state.number_next += 1;
        state.number_next - 1
    }

    pub(crate) fn write_index(&self, job: IndexJob) {
        let mut state = self.wake();
        state.indexes.push_back(job);
    }

    /// Something may have changed for the better (space was freed): try again what failed.
    pub(crate) fn retry(&self) {
        drop(self.wake());
    }

    pub(crate) fn stop(&self) {
        self.wake().stop = true;
    }

    /// Spares ready, and their bytes.
    pub(crate) fn held(&self) -> (u64, u64) {
        let state = lock(&self.state);
        let count = u64::try_from(state.spares.len()).unwrap_or(u64::MAX);
        (count, state.spares.iter().map(|spare| spare.bytes).sum())
    }

    fn wake(&self) -> MutexGuard<'_, State> {
        let mut state = lock(&self.state);
        (state.spare_stalled, state.index_stalled) = (false, false);
        self.changed.notify_all();
        state
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed
            .wait(state)
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something to do. A spare that the writer may be waiting for comes before an
    /// index, an index before spares for later.
    fn chore(&self) -> Chore {
        let mut state = lock(&self.state);
        loop {
            let lacking = !state.stop && !state.spare_stalled;
            let urgent =
                lacking && state.spares.is_empty() && state.indexes.len() <= INDEXES_WAITING_MAX;
            if !urgent
                && !state.index_stalled
                && let Some(job) = state.indexes.pop_front()
            {
                return Chore::WriteIndex(job);
            }
            if lacking && state.spares.len() < self.spares_min {
                state.number_next += 1;
                return Chore::MakeSpare {
                    number: state.number_next - 1,
                };
            }
            if state.stop {
                return Chore::Stop;
            }
            state = self.wait(state);
        }
    }
}

/// The housekeeper's thread. Ends when the desk is stopped and all indexes are written, or cannot
/// be written (they are rebuilt at the next start).
pub(crate) fn run(shared: &Shared) {
    let desk = &shared.desk;
    // Said once, not at every append that is refused.
    let mut lacking = false;
    loop {
        match desk.chore() {
            Chore::MakeSpare { number } => {
                let made = make_spare(shared, number);
                let mut state = lock(&desk.state);
                match made {
                    Ok(spare) => {
                        state.spares.push_back(spare);
                        if std::mem::take(&mut lacking) {
                            tracing::info!("segments can be prepared again");
                        }
                    }
                    Err(error) => {
                        state.failures += 1;
                        state.spare_stalled = true;
                        if !std::mem::replace(&mut lacking, true) {
                            tracing::warn!(
                                %error,
                                "cannot prepare a segment: appends will be refused, unless \
                                 retention finds settled ones to remove"
                            );
                        }
                    }
                }
                drop(state);
                desk.changed.notify_all();
            }
            Chore::WriteIndex(job) => write_index(shared, job),
            Chore::Stop => return,
        }
        shared.dir.refill_reserve();
    }
}

fn make_spare(shared: &Shared, number: u64) -> io::Result<Spare> {
    let (bytes, kept) = (
        shared.options.segment_bytes_max,
        shared.options.free_bytes_min,
    );
    match shared.dir.free_bytes() {
        Some(free) if free < bytes.saturating_add(kept) => {
            let why = format!(
                "no space left on the disk: {free} bytes are free, of which {kept} are not for \
                 the log"
            );
            Err(io::Error::new(io::ErrorKind::StorageFull, why))
        }
        _ => Spare::create(&shared.dir, number, bytes),
    }
}

fn write_index(shared: &Shared, job: IndexJob) {
    let mut written = index_file::write(&shared.dir, &job.index);
    // Retention needs indexes to free space: on a full disk a spare makes room for this one.
    if written
        .as_ref()
        .is_err_and(|error| error.kind() == io::ErrorKind::StorageFull)
        && let Some(spare) = lock(&shared.desk.state).spares.pop_back()
        && std::fs::remove_file(&spare.path).is_ok()
    {
        written = index_file::write(&shared.dir, &job.index);
    }
    match written {
        Ok(()) => {
            let IndexJob { segment, index } = job;
            let index = Arc::try_unwrap(index).unwrap_or_else(|shared| (*shared).clone());
            shared.indexes.put(Arc::new(index.into_lean()), false);
            segment.indexed.store(true, Ordering::Release);
        }
        Err(error) => {
            tracing::warn!(%error, segment = %job.segment.first(), "cannot write an index");
            let mut state = lock(&shared.desk.state);
            state.index_stalled = true;
            if !state.stop {
                state.indexes.push_front(job);
            }
        }
    }
}
