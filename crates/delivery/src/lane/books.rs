//! What a lane has seen of its stream, held against what the log has counted there, so that the
//! counts balance also where the log has lost records:
//!
//! ```text
//!   base          start            cursor                         end
//!   |- not ours --|-- settled ------|-- window, settled above -----|
//!                  `- shown by the log, or gone: retention, a missing or damaged segment
//! ```
//!
//! Records are counted by the log, also those that it cannot show any more. When a lane has looked
//! up to the end, what was counted and never shown is lost, and counts as expired. Where the log
//! knows of fewer records than the lane has settled (its newest segment is lost), they stay
//! accepted: the lane's base goes down.

use eventlog::RecordRef;
use model::{LaneProgress, Offset};

use super::seen::Seen;

#[derive(Debug)]
pub(crate) struct Books {
    /// Records of its stream before its start: the lane's own count begins there. Below 0 where
    /// the log has lost records that the lane had settled before.
    base: i64,
    /// How many records of its stream lie below where it looked last.
    seen: Seen,
    above: Option<Box<Above>>,
    /// It had settled a stretch ahead of its cursor when it came.
    has_ahead: bool,
    /// Of a replay: retention may remove its end.
    until: Option<u64>,
    /// Events that were gone from the log before the lane had seen them. The scheduler never knew
    /// them; they count as expired.
    pub(crate) unseen: u64,
}

/// What was settled before the process began, above the cursor, and is not looked past yet. Boxed,
/// as few lanes have any.
#[derive(Debug)]
struct Above {
    settled: Vec<Offset>,
}

impl Above {
    fn of(settled: Vec<Offset>) -> Option<Box<Self>> {
        (!settled.is_empty()).then(|| Box::new(Self { settled }))
    }
}

/// A lane has looked at a part of its stream.
pub(crate) struct Look<'a> {
    pub from: Offset,
    /// What retention has left of it begins here.
    pub first: Offset,
    pub to: Offset,
    /// Records below `first`.
    pub before: u64,
    pub found: &'a [RecordRef],
    /// Records below `to` by the log's count, where `to` is the end of all there is.
    pub counted: Option<u64>,
}

/// Events that are gone from the log, which the lane had not seen.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Gone {
    pub removed: u64,
    pub damaged: u64,
}

impl Books {
    /// A replay ends where so many records of its stream lie below.
    pub(crate) fn until(mut self, records: u64) -> Self {
        self.until = Some(records);
        self
    }

    /// The records below the end of a replay, as they were counted when it was made.
    pub(crate) fn end(&self) -> Option<u64> {
        self.until
    }

    /// `base`: records of the stream before the lane's start.
    pub(crate) fn new(base: i64, progress: &LaneProgress) -> Self {
        let seen = base.saturating_add_unsigned(settled_below(progress));
        Self {
            base,
            seen: Seen::new(progress.cursor, u64::try_from(seen).unwrap_or_default()),
            above: Above::of(progress.settled_above.clone()),
            has_ahead: progress.ahead.is_some(),
            until: None,
            unseen: 0,
        }
    }

    /// A lane whose start the log does not know any more: `counted` are below its cursor.
    pub(crate) fn from_cursor(counted: u64, progress: &LaneProgress) -> Self {
        let counted = i64::try_from(counted).unwrap_or(i64::MAX);
        Self::new(
            counted.saturating_sub_unsigned(settled_below(progress)),
            progress,
        )
    }

    /// The records of the stream since the lane began, of so many in all.
    pub(crate) fn accepted(&self, counted: u64) -> u64 {
        let accepted = i128::from(counted) - i128::from(self.base);
        u64::try_from(accepted).unwrap_or_default()
    }

    /// Records below this place, if the lane has looked up to it.
    pub(crate) fn below(&self, at: Offset) -> Option<u64> {
        self.seen.below(at)
    }

    /// Retention has removed what lies below `first`, where the log had counted `before` records,
    /// and the lane has not looked so far: a lane that is held may not look for days. Of one that
    /// works ahead of its backlog, looking itself tells what was the backlog's.
    pub(crate) fn trimmed(&mut self, first: Offset, before: u64) -> Gone {
        let (from, _) = self.seen.last();
        if from >= first || self.has_ahead || self.seen.is_forked() {
            return Gone::default();
        }
        self.looked(&Look {
            from,
            first,
            to: first,
            before,
            found: &[],
            counted: None,
        })
    }

    pub(crate) fn looked(&mut self, look: &Look<'_>) -> Gone {
        // What was removed may have been told already, up to a place between.
        let (at, records) = self.seen.last();
        let told = (at > look.from && at <= look.first).then_some(records);
        let known = self.below(look.from).or(told);
        let (settled_removed, settled_gone) = self.pass(look);
        // What it had settled above its cursor it knows, also where the log does not show it.
        let known = known.map_or(look.before, |known| known + settled_removed);
        let seen = look.before + number(look.found.len()) + settled_gone;
        let counted = look.counted.unwrap_or(seen);
        let gone = Gone {
            removed: look.before.saturating_sub(known),
            damaged: counted.saturating_sub(seen),
        };
        self.unseen += gone.removed + gone.damaged;
        let forgotten = known.saturating_sub(look.before) + seen.saturating_sub(counted);
        self.base = self.base.saturating_sub_unsigned(forgotten);
        self.seen.note(look.from, look.to, counted);
        gone
    }

    /// Of what was settled above the cursor in the part looked at: how many records retention has
    /// removed, and how many else the log does not show.
    fn pass(&mut self, look: &Look<'_>) -> (u64, u64) {
        let (mut removed, mut gone) = (0, 0);
        let Some(above) = self.above.take() else {
            return (removed, gone);
        };
        let is_found = |offset| {
            let found = look.found;
            found.binary_search_by_key(&offset, |at| at.offset).is_ok()
        };
        let mut later = Vec::new();
        for offset in above.settled {
            if !(look.from..look.to).contains(&offset) {
                later.push(offset);
            } else if offset < look.first {
                removed += 1;
            } else if !is_found(offset) {
                gone += 1;
            }
        }
        self.above = Above::of(later);
        (removed, gone)
    }
}

/// How many records below its cursor a lane has settled.
fn settled_below(progress: &LaneProgress) -> u64 {
    let ahead = progress.ahead.map_or(0, |span| span.jobs);
    let above = number(progress.settled_above.len()) + ahead;
    progress.counts.settled().saturating_sub(above)
}

fn number(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use model::{LaneId, OutcomeCounts, UnixMillis};

    use super::*;

    /// A lane that has settled `settled` records below `cursor`, and those above it.
    fn books(base: i64, cursor: u64, settled: u64, above: &[u64]) -> Books {
        let mut progress = LaneProgress::new(LaneId(1), Offset(cursor));
        progress.settled_above = above.iter().copied().map(Offset).collect();
        progress.counts = OutcomeCounts {
            delivered: settled + number(above.len()),
            ..OutcomeCounts::default()
        };
        Books::new(base, &progress)
    }

    fn look(books: &mut Books, (from, to): (u64, u64), found: &[u64], counted: u64) -> Gone {
        let found: Vec<_> = found
            .iter()
            .map(|at| RecordRef {
                offset: Offset(*at),
                bytes: 1,
                received_at: UnixMillis(0),
            })
            .collect();
        books.looked(&Look {
            from: Offset(from),
            first: Offset(from),
            to: Offset(to),
            before: books.below(Offset(from)).unwrap(),
            found: &found,
            counted: Some(counted),
        })
    }

    #[test]
    fn what_is_shown_whole_changes_nothing() {
        let mut books = books(3, 10, 7, &[]);
        let gone = look(&mut books, (10, 13), &[10, 11, 12], 13);
        assert_eq!((gone, books.accepted(13)), (Gone::default(), 10));
        assert_eq!(books.below(Offset(13)), Some(13));
    }

    #[test]
    fn records_counted_but_not_shown_are_lost_once() {
        let mut books = books(0, 10, 10, &[]);
        // 11 to 14 were in a segment that is gone.
        let gone = look(&mut books, (10, 16), &[10, 15], 16);
        assert_eq!((gone.damaged, books.unseen), (4, 4));
        assert_eq!(books.accepted(16), 16);
        let gone = look(&mut books, (16, 17), &[16], 17);
        assert_eq!(gone, Gone::default());
    }

    #[test]
    fn what_the_lane_has_settled_stays_accepted() {
        // It had settled 20; the newest segment is lost, and the log counts 12.
        let mut books = books(0, 20, 20, &[]);
        let gone = look(&mut books, (20, 20), &[], 12);
        assert_eq!((gone, books.accepted(12)), (Gone::default(), 20));
        // What comes now is counted from there.
        look(&mut books, (20, 22), &[20, 21], 14);
        assert_eq!((books.accepted(14), books.unseen), (22, 0));
    }

    #[test]
    fn a_loss_that_was_counted_before_a_crash_is_not_counted_again() {
        // The 4 lost ones are among the settled, and the cursor is still before them.
        let mut books = books(0, 10, 14, &[]);
        let gone = look(&mut books, (10, 16), &[10, 15], 16);
        assert_eq!((gone, books.accepted(16)), (Gone::default(), 16));
    }

    #[test]
    fn what_was_settled_above_the_cursor_is_known_though_gone() {
        let mut books = books(0, 10, 10, &[11, 12, 15]);
        // 11 to 14 are gone: two of them were settled.
        let gone = look(&mut books, (10, 16), &[10, 15], 16);
        assert_eq!((gone.damaged, books.unseen), (2, 2));
    }

    #[test]
    fn what_retention_removed_is_told_once() {
        let mut books = books(0, 10, 10, &[]);
        let removed = |gone: Gone| gone.removed;
        assert_eq!(removed(books.trimmed(Offset(14), 14)), 4);
        assert_eq!(removed(books.trimmed(Offset(14), 14)), 0);
        // It looks at last, from where it was, and more has gone since.
        let look = Look {
            from: Offset(10),
            first: Offset(16),
            to: Offset(20),
            before: 16,
            found: &[],
            counted: None,
        };
        assert_eq!(removed(books.looked(&look)), 2);
        assert_eq!((books.unseen, books.accepted(20)), (6, 20));
    }

    #[test]
    fn what_was_delivered_ahead_of_a_backlog_is_not_taken_for_removed() {
        let mut books = books(0, 10, 10, &[]);
        look(&mut books, (10, 11), &[10], 11);
        let ahead = Look {
            from: Offset(50),
            first: Offset(50),
            to: Offset(60),
            before: 50,
            found: &[],
            counted: None,
        };
        books.looked(&ahead);
        assert_eq!(books.trimmed(Offset(70), 70), Gone::default());
    }

    #[test]
    fn what_retention_removed_is_told_apart() {
        let mut books = books(0, 10, 10, &[12]);
        let gone = books.looked(&Look {
            from: Offset(10),
            first: Offset(14),
            to: Offset(16),
            before: 14,
            found: &[],
            counted: Some(16),
        });
        let (removed, damaged) = (3, 2);
        assert_eq!(gone, Gone { removed, damaged });
    }
}
