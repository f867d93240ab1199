//! Retention: which sealed segments go, and in which order files change so that a crash in between
//! is understood.
//!
//! 1. the index of the last segment to go is renamed to `.trimmed`: it tells where the log begins
//!    now, and how many records each stream had;
//! 2. readers stop seeing the segments;
//! 3. their files go, or become spares. What a crash leaves lies below the `.trimmed` mark.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use model::{Offset, UnixMillis};

use crate::error::Error;
use crate::guard::{lock, read, write};
use crate::local::dir::FileKind;
use crate::local::failpoint::{self, Failpoint};
use crate::local::sealed::Sealed;
use crate::local::segment::Spare;
use crate::local::shared::Shared;
use crate::report::Trimmed;

/// A wall clock that cannot jump far ahead: a clock set wrong, for a moment or at a start, must not
/// make all segments old enough to be removed. After a long stop it needs a while to catch up.
#[derive(Debug)]
pub(crate) struct SteadyClock(UnixMillis);

impl SteadyClock {
    /// The most that one look at the clock can add.
    const STEP_MS_MAX: u64 = 5 * 60 * 1_000;

    /// `received_last`: when the newest record was received, which has been, whatever the clock
    /// says now.
    pub(crate) fn new(now: UnixMillis, received_last: Option<UnixMillis>) -> Self {
        Self(received_last.unwrap_or(now))
    }

    pub(crate) fn advance(&mut self, now: UnixMillis) -> UnixMillis {
        self.0 = now.min(UnixMillis(self.0.0.saturating_add(Self::STEP_MS_MAX)));
        self.0
    }
}

/// See [`crate::EventLog::trim`].
pub(crate) fn trim(shared: &Shared, settled: Offset, now: UnixMillis) -> Result<Trimmed, Error> {
    let mut clock = lock(&shared.trim);
    let now = clock.advance(now);
    shared.settled.store(settled.0, Ordering::Relaxed);
    let aged =
        |received_max: u64| received_max.saturating_add(shared.options.retention_age_ms) < now.0;
    let (sealed, active_first) = shared.segments();
    let mut over = shared
        .segment_bytes()
        .saturating_sub(bytes_kept_max(shared));
    let mut going = 0;
    for segment in sealed.iter() {
        let by_bytes = over > 0 && segment.end <= settled;
        if !segment.is_indexed() || !(by_bytes || aged(segment.received_max)) {
            break;
        }
        over = over.saturating_sub(segment.bytes);
        going += 1;
    }
    let (going, _) = sealed.split_at(going);
    let trimmed = remove(shared, going, active_first, settled)?;
    let active_aged = {
        let view = read(&shared.view);
        view.active.index.len() > 0 && aged(view.active.index.received_max)
    };
    if active_aged {
        // Only sealed segments can go: an idle log would else keep its last events for ever.
        shared.queue.ask_for_roll();
    }
    shared.desk.retry();
    Ok(trimmed)
}

/// Makes room under the byte limit for one more segment, by what is known to be settled. False
/// where there is none.
pub(crate) fn make_room(shared: &Shared) -> bool {
    let over = || {
        let kept_max = bytes_kept_max(shared);
        shared.segment_bytes().saturating_sub(kept_max)
    };
    if over() > 0 {
        remove_settled(shared, over);
    }
    over() == 0
}

/// Lets the oldest settled segment go, for its space: the disk is full though the byte limit is
/// not reached. False where none is settled.
pub(crate) fn give_way(shared: &Shared) -> bool {
    remove_settled(shared, || 1)
}

/// Removes settled segments, oldest first, of `over()` bytes together. False where nothing went.
fn remove_settled(shared: &Shared, over: impl Fn() -> u64) -> bool {
    let _one_at_a_time = lock(&shared.trim);
    let settled = Offset(shared.settled.load(Ordering::Relaxed));
    let (sealed, active_first) = shared.segments();
    let mut over = over();
    let mut going = 0;
    for segment in sealed.iter() {
        if over == 0 || !segment.is_indexed() || segment.end > settled {
            break;
        }
        over = over.saturating_sub(segment.bytes);
        going += 1;
    }
    let (going, _) = sealed.split_at(going);
    match remove(shared, going, active_first, settled) {
        Ok(trimmed) => trimmed.segments > 0,
        Err(error) => {
            tracing::warn!(%error, "cannot remove settled segments");
            false
        }
    }
}

/// The byte limit less the segment that is to come.
fn bytes_kept_max(shared: &Shared) -> u64 {
    let options = &shared.options;
    options
        .retention_bytes_max
        .saturating_sub(options.segment_bytes_max)
}

fn remove(
    shared: &Shared,
    going: &[Arc<Sealed>],
    active_first: Offset,
    settled: Offset,
) -> Result<Trimmed, Error> {
    let (Some(oldest), Some(newest)) = (going.first(), going.last()) else {
        let first = shared.first().min(active_first);
        return Ok(Trimmed {
            offsets: first..first,
            segments: 0,
            bytes: 0,
            unsettled: false,
        });
    };
    mark_trimmed(shared, newest.first())?;
    {
        let mut view = write(&shared.view);
        let kept = view
            .sealed
            .iter()
            .filter(|segment| segment.first() > newest.first());
        view.sealed = Arc::new(kept.cloned().collect());
    }
    for segment in going {
        shared.indexes.remove(segment.first());
        shared.files.remove(segment.first());
        delete(shared, segment)?;
    }
    shared
        .dir
        .sync()
        .map_err(Error::io("sync", shared.dir.path()))?;
    let trimmed = Trimmed {
        offsets: oldest.first()..newest.end,
        segments: u64::try_from(going.len()).unwrap_or(u64::MAX),
        bytes: going.iter().map(|segment| segment.bytes).sum(),
        unsettled: newest.end > settled,
    };
    let (from, to) = (oldest.first(), newest.end);
    tracing::info!(%from, %to, unsettled = trimmed.unsettled, "retention removed segments");
    Ok(trimmed)
}

/// Makes the index of segment `first` the one `.trimmed` file.
fn mark_trimmed(shared: &Shared, first: Offset) -> Result<(), Error> {
    let dir = &shared.dir;
    let older: Vec<_> = dir
        .list()?
        .into_iter()
        .filter(|(kind, _)| is_trimmed(*kind))
        .collect();
    let index = dir.index_path(first);
    let marked = failpoint::hit(Failpoint::TrimMark)
        .and_then(|()| std::fs::rename(&index, dir.trimmed_path(first)))
        .and_then(|()| dir.sync())
        .and_then(|()| failpoint::hit(Failpoint::TrimMarkAfter));
    marked.map_err(Error::io("mark as trimmed", &index))?;
    for (_, path) in older {
        std::fs::remove_file(&path).map_err(Error::io("remove", &path))?;
    }
    Ok(())
}

fn is_trimmed(kind: FileKind) -> bool {
    matches!(kind, FileKind::Trimmed(_))
}

fn delete(shared: &Shared, segment: &Sealed) -> Result<(), Error> {
    let index = shared.dir.index_path(segment.first());
    match std::fs::remove_file(&index) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::io("remove", &index)(error));
        }
        _ => {}
    }
    failpoint::hit(Failpoint::TrimDelete).map_err(Error::io("remove", &segment.path))?;
    if segment.bytes == shared.options.segment_bytes_max && shared.desk.wants_spares() {
        // Its blocks are allocated and written already, and its old records do not pass for
        // another segment's.
        let path = shared.dir.spare_path(shared.desk.next_number());
        std::fs::rename(&segment.path, &path).map_err(Error::io("recycle", &segment.path))?;
        let file = shared
            .dir
            .open_write(&path)
            .map_err(Error::io("open", &path))?;
        let bytes = segment.bytes;
        let spare = Spare {
            path: path.clone(),
            file: Arc::new(file),
            bytes,
            recycled: true,
        };
        if shared.desk.offer(spare) {
            return Ok(());
        }
        return std::fs::remove_file(&path).map_err(Error::io("remove", &path));
    }
    std::fs::remove_file(&segment.path).map_err(Error::io("remove", &segment.path))
}

#[cfg(test)]
mod tests;
