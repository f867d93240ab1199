//! Lets the log go of what every lane has settled.
//!
//! What counts is how far the store has each lane: after a crash a lane begins there again, and
//! what it then asks for must still be in the log. A lane that has nothing left in its stream does
//! not keep segments, however long ago its cursor last moved.

use std::collections::HashMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use eventlog::EventLog;
use model::{Offset, SourceId, UnixMillis};
use tokio::sync::mpsc::WeakSender;
use tokio::sync::oneshot;

use crate::clock::Clock;
use crate::error::Error;
use crate::shard::Command;

/// Before the age limit removes an event that a lane has not settled, its lane is told of in the
/// process's log, with so many seconds left: a day, an hour, five minutes. Ascending.
pub(crate) const WARNINGS_S: [u32; 3] = [300, 3_600, 24 * 3_600];

/// What the age limit means for lanes that are behind.
#[derive(Clone, Debug)]
pub(crate) struct Age {
    /// All below is removed.
    pub(crate) first: Offset,
    /// What lies below has fewer seconds left than this. Ascending.
    pub(crate) left: Vec<(u32, Offset)>,
}

impl Age {
    pub(crate) fn of(log: &EventLog, age_ms: u64) -> Self {
        let now = Clock::unix();
        let below = |left_s: u32| {
            let age_ms = age_ms.saturating_sub(u64::from(left_s) * 1_000);
            log.offset_at(UnixMillis(now.0.saturating_sub(age_ms)))
        };
        // Of a log that keeps little, most events are always about to go.
        let told = WARNINGS_S
            .iter()
            .filter(|left| u64::from(**left) * 2_000 <= age_ms);
        Self {
            first: log.first(),
            left: told.map(|left| (*left, below(*left))).collect(),
        }
    }
}

/// The thread that trims the log. Ends when it is dropped.
pub(crate) struct Retention {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Retention {
    pub(crate) fn start(
        log: EventLog,
        shards: Vec<WeakSender<Command>>,
        interval: Duration,
        age_ms: u64,
    ) -> Result<Self, Error> {
        let (stop, stopped) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("retention".to_owned())
            .spawn(move || run(&log, &shards, interval, age_ms, &stopped))
            .map_err(Error::Thread)?;
        Ok(Self {
            stop: Some(stop),
            thread: Some(thread),
        })
    }

    /// Tells the thread to end, and waits for it.
    pub(crate) fn end(mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was logged; nothing depends on that thread.
            let _ = thread.join();
        }
    }
}

/// How often to look whether the log lacks room.
const LOOK: Duration = Duration::from_secs(1);
/// After an append was refused for want of room, so many looks tell the log what is settled: as
/// soon as a lane has settled enough, appends are taken again.
const LOOKS_AFTER_REFUSAL: u32 = 30;

fn run(
    log: &EventLog,
    shards: &[WeakSender<Command>],
    interval: Duration,
    age_ms: u64,
    stopped: &Receiver<()>,
) {
    // The first pass comes soon after a start: a process that is restarted often must trim, too.
    let mut trimmed_at: Option<Instant> = None;
    let (mut refused, mut looks) = (0, 0);
    while stopped.recv_timeout(LOOK.min(interval)) == Err(RecvTimeoutError::Timeout) {
        let refused_now = log.stats().refused_full;
        if refused_now > refused {
            (refused, looks) = (refused_now, LOOKS_AFTER_REFUSAL);
        }
        let due = trimmed_at.is_none_or(|at| at.elapsed() >= interval);
        if !due && looks == 0 {
            continue;
        }
        looks = looks.saturating_sub(1);
        // First the end: what is appended later is above it, and cannot be trimmed.
        let end = log.end();
        let Some(cursors) = cursors(shards) else {
            continue;
        };
        match settled(log, end, &cursors) {
            Ok(settled) if due => {
                trimmed_at = Some(Instant::now());
                trim(log, settled);
                let age = Age::of(log, age_ms);
                for shard in shards.iter().filter_map(WeakSender::upgrade) {
                    // One that has ended needs no word.
                    let _ = shard.blocking_send(Command::Age(age.clone()));
                }
            }
            Ok(settled) => log.settle(settled),
            Err(error) => {
                tracing::error!(%error, "the log's index could not be read: nothing is trimmed");
            }
        }
    }
}

fn trim(log: &EventLog, settled: Offset) {
    match log.trim(settled, Clock::unix()) {
        Ok(trimmed) if trimmed.segments > 0 && trimmed.unsettled => {
            let (from, to) = (trimmed.offsets.start.0, trimmed.offsets.end.0);
            tracing::error!(
                from,
                to,
                "the age limit removed records that were not settled"
            );
        }
        Ok(trimmed) if trimmed.segments > 0 => {
            let (from, to) = (trimmed.offsets.start.0, trimmed.offsets.end.0);
            tracing::info!(from, to, bytes = trimmed.bytes, "trimmed the log");
        }
        Ok(_) => {}
        Err(error) => tracing::error!(%error, "the log could not be trimmed"),
    }
}

/// The lowest durable cursor of each stream, over all shards; `None` where one does not answer.
fn cursors(shards: &[WeakSender<Command>]) -> Option<HashMap<SourceId, Offset>> {
    let mut lowest = HashMap::new();
    for shard in shards {
        let (reply, answer) = oneshot::channel();
        shard
            .upgrade()?
            .blocking_send(Command::Cursors { reply })
            .ok()?;
        for (stream, cursor) in answer.blocking_recv().ok()? {
            let entry = lowest.entry(stream).or_insert(cursor);
            *entry = cursor.min(*entry);
        }
    }
    Some(lowest)
}

/// Every record below the result is settled in all lanes.
fn settled(
    log: &EventLog,
    end: Offset,
    cursors: &HashMap<SourceId, Offset>,
) -> Result<Offset, eventlog::Error> {
    let mut settled = end;
    let mut next = Vec::with_capacity(1);
    for (stream, cursor) in cursors {
        next.clear();
        let scanned_to = log.offsets(*stream, *cursor, 1, &mut next)?;
        // No record found yet: none below what was scanned.
        let unsettled = next.first().map_or(scanned_to, |record| record.offset);
        settled = settled.min(unsettled.max(*cursor));
    }
    Ok(settled)
}
