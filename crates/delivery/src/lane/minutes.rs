//! What lanes did by the minute, on its way to the store.
//!
//! These are statistics: what a lane has done in all is kept with its cursor. So they wait some
//! seconds, that a commit of progress need not write two rows for each of ten thousand lanes.

use std::collections::VecDeque;

use model::{LaneId, MonoMicros, UnixMillis};
use store::MinuteDelta;

/// A lane's counters wait so long: a crash forgets at most these.
const WAIT_US: u64 = 5_000_000;
/// Lanes whose counters go into one commit: progress must not wait for a long list of them.
const PER_COMMIT_MAX: usize = 512;

/// One lane's counters that are not committed yet.
#[derive(Default)]
pub(crate) struct Minutes {
    /// By minute, ascending.
    pending: Vec<Counts>,
    queued: bool,
}

#[derive(Default)]
pub(super) struct Counts {
    minute: UnixMillis,
    pub(super) delivered: u64,
    pub(super) rejected: u64,
    pub(super) filtered: u64,
    pub(super) expired: u64,
    pub(super) attempts_failed: u64,
}

impl Minutes {
    const LENGTH_MS: u64 = 60_000;
    /// While the store takes nothing, what is over these is added to the last.
    const PENDING_MAX: usize = 4;

    /// The counters of the minute in which `unix` lies.
    pub(super) fn at(&mut self, unix: UnixMillis) -> &mut Counts {
        let minute = UnixMillis(unix.0 - unix.0 % Self::LENGTH_MS);
        let is_new = self.pending.last().is_none_or(|last| last.minute != minute);
        if is_new && self.pending.len() < Self::PENDING_MAX {
            self.pending.push(Counts {
                minute,
                ..Counts::default()
            });
        }
        self.pending.last_mut().expect("at least one, just pushed")
    }

    /// What was counted since the last call.
    pub(crate) fn take(&mut self, lane: LaneId) -> impl Iterator<Item = MinuteDelta> {
        self.queued = false;
        let pending = std::mem::take(&mut self.pending);
        pending.into_iter().map(move |counts| MinuteDelta {
            lane,
            minute: counts.minute,
            delivered: counts.delivered,
            rejected: counts.rejected,
            filtered: counts.filtered,
            expired: counts.expired,
            attempts_failed: counts.attempts_failed,
        })
    }
}

/// The lanes of a shard that have counted something, each once, in the order in which they began.
#[derive(Default)]
pub(crate) struct MinuteQueue(VecDeque<(LaneId, MonoMicros)>);

impl MinuteQueue {
    /// Notes a lane that may have counted something.
    pub(crate) fn note(&mut self, lane: LaneId, minutes: &mut Minutes, now: MonoMicros) {
        if minutes.queued || minutes.pending.is_empty() {
            return;
        }
        minutes.queued = true;
        self.0.push_back((lane, now.plus(WAIT_US)));
    }

    /// Gives the lanes that have waited long enough, or all, to `each`. Whether more is left than
    /// one commit should hold.
    pub(crate) fn take(&mut self, now: Option<MonoMicros>, mut each: impl FnMut(LaneId)) -> bool {
        for _ in 0..PER_COMMIT_MAX {
            if !self.has_due(now) {
                return false;
            }
            if let Some((lane, _)) = self.0.pop_front() {
                each(lane);
            }
        }
        self.has_due(now)
    }

    /// Whether there is something to take: what has waited long enough, or anything.
    pub(crate) fn has_due(&self, now: Option<MonoMicros>) -> bool {
        let first = self.0.front();
        first.is_some_and(|(_, due)| now.is_none_or(|now| *due <= now))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_keep_their_minute_and_are_taken_once() {
        let mut minutes = Minutes::default();
        minutes.at(UnixMillis(59_999)).delivered += 1;
        minutes.at(UnixMillis(60_000)).delivered += 2;
        let mut queue = MinuteQueue::default();
        let (lane, now) = (LaneId(7), MonoMicros(1));
        queue.note(lane, &mut minutes, now);
        queue.note(lane, &mut minutes, now);
        let due = now.plus(WAIT_US);
        let mut seen = Vec::new();
        for at in [now, due, due] {
            let mut take = |lane| seen.extend(minutes.take(lane));
            assert!(!queue.take(Some(at), &mut take));
        }
        let seen: Vec<_> = seen.iter().map(|d| (d.minute.0, d.delivered)).collect();
        assert_eq!(seen, [(0, 1), (60_000, 2)]);
        assert!(queue.is_empty());
        // All of it, due or not.
        minutes.at(UnixMillis(60_001)).expired += 1;
        queue.note(lane, &mut minutes, now);
        let mut taken = 0;
        queue.take(None, |lane| taken += minutes.take(lane).count());
        assert_eq!(taken, 1);
    }

    #[test]
    fn what_waits_is_bounded() {
        let mut minutes = Minutes::default();
        for minute in 0..100 {
            minutes.at(UnixMillis(minute * 60_000)).rejected += 1;
        }
        let all: Vec<_> = minutes.take(LaneId(1)).collect();
        assert_eq!(all.len(), Minutes::PENDING_MAX);
        assert_eq!(all.iter().map(|delta| delta.rejected).sum::<u64>(), 100);
    }

    #[test]
    fn a_commit_takes_a_part() {
        let mut queue = MinuteQueue::default();
        for lane in 0..600 {
            let mut minutes = Minutes::default();
            minutes.at(UnixMillis(0)).delivered += 1;
            queue.note(LaneId(lane), &mut minutes, MonoMicros(0));
        }
        let mut taken = 0;
        assert!(queue.take(None, |_| taken += 1));
        assert_eq!(taken, PER_COMMIT_MAX);
        assert!(!queue.take(None, |_| taken += 1));
        assert_eq!(taken, 600);
    }
}
