//! Which records come next in a lane.

use std::rc::Rc;

use eventlog::RecordRef;
use model::{LaneId, Offset};
use scheduler::{Fetch, Input, StreamKey};
use store::LaneKind;

use super::lanes::END_OF_QUEUE;
use super::{Event, Shard};
use crate::clock::Clock;

impl Shard {
    pub(super) fn fetch(&mut self, lane: LaneId, _stream: StreamKey, from: Offset, max: usize) {
        match self.lanes.get(&lane).map(|lane| lane.kind) {
            Some(LaneKind::Redelivery) => self.fetch_queued(lane, from, max),
            Some(LaneKind::Live | LaneKind::Replay { .. }) => self.fetch_records(lane, from, max),
            None => {}
        }
    }

    fn fetch_records(&mut self, id: LaneId, from: Offset, max: usize) {
        let mut found: Vec<RecordRef> = Vec::new();
        let scanned_to = match self.look(id, from, max, &mut found) {
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
        max: usize,
        found: &mut Vec<RecordRef>,
    ) -> Result<Offset, eventlog::Error> {
        let Some(lane) = self.lanes.get_mut(&id) else {
            return Ok(from);
        };
        let (stream, log) = (lane.stream(), &self.log);
        let until = match lane.kind {
            LaneKind::Replay { to, .. } => to,
            _ => Offset::MAX,
        };
        // What retention has removed cannot be asked for.
        let first = log.first().min(until);
        let lost = if from < first {
            log.stream_count_before(stream, first)?
                .saturating_sub(lane.seen)
        } else {
            0
        };
        let scanned_to = log.offsets(stream, from.max(first), max, found)?.min(until);
        found.retain(|record| record.offset < until);
        lane.seen += lost + u64::try_from(found.len()).unwrap_or_default();
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
