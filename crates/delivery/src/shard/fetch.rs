//! Which records come next in a lane.

use std::rc::Rc;

use eventlog::RecordRef;
use model::{LaneId, Offset};
use scheduler::{Fetch, Input};
use store::LaneKind;

use super::lanes::END_OF_QUEUE;
use super::{Event, Shard};
use crate::clock::Clock;

impl Shard {
    pub(super) fn fetch(&mut self, lane: LaneId, from: Offset, to: Offset, max: usize) {
        match self.lanes.get(&lane).map(|lane| lane.kind) {
            Some(LaneKind::Redelivery) => self.fetch_queued(lane, from, max),
            Some(LaneKind::Live | LaneKind::Replay { .. }) => {
                self.fetch_records(lane, from, to, max)
            }
            None => {}
        }
    }

    fn fetch_records(&mut self, id: LaneId, from: Offset, to: Offset, max: usize) {
        let mut found: Vec<RecordRef> = Vec::new();
        let scanned_to = match self.look(id, from, to, max, &mut found) {
            Ok(scanned_to) => scanned_to,
            Err(error) => {
                // The scheduler asks again after a while.
                tracing::error!(%error, lane = id.0, "the log's index could not be read");
                found.clear();
                from
            }
        };
        let offsets = found
            .iter()
            .map(|r| Fetch {
                offset: r.offset,
                bytes: r.bytes,
                key: None,
            })
            .collect();
        self.ready.push_back(Event::of(Input::Fetched {
            lane: id,
            offsets,
            scanned_to,
        }));
    }

    fn look(
        &mut self,
        id: LaneId,
        from: Offset,
        to: Offset,
        max: usize,
        found: &mut Vec<RecordRef>,
    ) -> Result<Offset, eventlog::Error> {
        let Some(lane) = self.lanes.get_mut(&id) else {
            return Ok(from);
        };
        let (stream, log) = (lane.stream(), &self.log);
        // What retention has removed cannot be asked for.
        let first = log.first().min(to).max(from);
        let known = lane.seen.below(from);
        let before = match known {
            Some(records) if first == from => records,
            _ => log.stream_count_before(stream, first)?,
        };
        let lost = before.saturating_sub(known.unwrap_or(before));
        let scanned_to = log.offsets(stream, first, max, found)?.min(to);
        found.retain(|record| record.offset < to);
        let found = u64::try_from(found.len()).unwrap_or_default();
        lane.seen.note(from, scanned_to, before + found);
        if lost > 0 {
            lane.lose(lost, Clock::unix());
        }
        Ok(scanned_to)
    }

    fn fetch_queued(&mut self, id: LaneId, from: Offset, max: usize) {
        let Some(lane) = self.lanes.get(&id) else {
            return;
        };
        let connection = lane.connection();
        let (store, inbox) = (self.store.clone(), Rc::clone(&self.inbox));
        tokio::task::spawn_local(async move {
            let look = move || store.queued_dead_letters(connection, from.0, max);
            let (offsets, scanned_to) = match tokio::task::spawn_blocking(look).await {
                Ok(Ok(rows)) => {
                    let more = rows.len() >= max;
                    let last = rows.last().map(|(id, ..)| Offset(*id).next());
                    let offsets = rows.into_iter().map(|(id, bytes, _)| Fetch {
                        offset: Offset(id),
                        bytes,
                        key: None,
                    });
                    (
                        offsets.collect(),
                        last.filter(|_| more).unwrap_or(END_OF_QUEUE),
                    )
                }
                Ok(Err(error)) => {
                    tracing::error!(%error, "queued dead letters could not be read");
                    (Vec::new(), from)
                }
                Err(_) => (Vec::new(), from),
            };
            inbox.push(Event::of(Input::Fetched {
                lane: id,
                offsets,
                scanned_to,
            }));
        });
    }
}
