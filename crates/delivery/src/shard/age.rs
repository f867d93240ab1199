//! What the log's age limit means for lanes that are behind.

use std::num::NonZeroU32;

use model::{LaneId, Offset};
use scheduler::Input;
use store::LaneKind;

use super::Shard;
use super::status::shown_name;
use crate::clock::Clock;
use crate::retention::Age;

impl Shard {
    pub(super) fn age(&mut self, age: &Age) {
        let below = age.left.last().map_or(age.first, |(_, below)| *below);
        let behind = self.lanes.values().filter(|lane| lane.reads_log());
        let behind: Vec<LaneId> = behind
            .filter(|lane| lane.durable < below.max(age.first))
            .map(|lane| lane.id)
            .collect();
        for id in behind {
            self.book_removed(id, age.first);
            self.warn_of_age(id, age);
        }
    }

    /// What only delivery knows of the lane has changed.
    pub(super) fn save_soon(&mut self, lane: LaneId) {
        self.step(Input::Changed { lane }, None);
        self.ledger.touch(self.clock.mono());
    }

    fn book_removed(&mut self, id: LaneId, first: Offset) {
        let Some(lane) = self.lanes.get_mut(&id) else {
            return;
        };
        // A replay has nothing behind its end.
        let (first, end) = match lane.kind {
            LaneKind::Replay { to, .. } if to <= first => (to, lane.books.end()),
            _ => (first, None),
        };
        if lane.durable >= first {
            return;
        }
        let before = end.map_or_else(|| self.log.stream_count_before(lane.stream(), first), Ok);
        if before.is_ok_and(|before| lane.trimmed(first, before, Clock::unix())) {
            self.save_soon(id);
        }
    }

    /// Says once of each time in [`crate::retention::WARNINGS_S`] that a lane's oldest event has
    /// less left.
    fn warn_of_age(&mut self, id: LaneId, age: &Age) {
        let view = self.scheduler.view(id, self.clock.mono());
        let (Some(lane), Some(view)) = (self.lanes.get(&id), view) else {
            return;
        };
        let oldest = (!view.caught_up)
            .then(|| self.oldest(lane, &view))
            .flatten();
        let left_s = oldest.and_then(|oldest| {
            let mut left = age.left.iter();
            let (left_s, _) = left.find(|(_, below)| oldest.offset < *below)?;
            NonZeroU32::new(*left_s)
        });
        let warned_s = lane.warned_s;
        if let Some(left_s) = left_s.filter(|left| warned_s.is_none_or(|told| *left < told)) {
            let (connection, oldest) = (shown_name(lane), oldest.map(|record| record.offset.0));
            tracing::warn!(
                %connection,
                lane = id.0,
                oldest,
                left_s,
                "events will be removed before they are delivered: mend or resume the lane, or \
                 raise retention_age under [log]"
            );
        }
        if let Some(lane) = self.lanes.get_mut(&id) {
            lane.warned_s = left_s;
        }
    }
}
