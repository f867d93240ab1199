//! Which records come next in a lane.

use std::cell::RefCell;
use std::rc::Rc;

use catalog::OrderKey;
use eventlog::{EventLog, RecordRef};
use model::{LaneId, Offset};
use scheduler::{Fetch, Input, Key};
use store::LaneKind;

use super::lanes::END_OF_QUEUE;
use super::{Event, Shard};
use crate::clock::Clock;
use crate::lane::{Lane, Look};

/// Records whose keys are read at once: other lanes wait meanwhile.
const KEYS_AT_ONCE_MAX: usize = 256;

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
        let ordered = self.lanes.get(&id).is_some_and(Lane::is_ordered);
        let max = if ordered {
            max.min(KEYS_AT_ONCE_MAX)
        } else {
            max
        };
        let mut found: Vec<RecordRef> = Vec::new();
        // Before it looks: what it has looked at is booked.
        let order_key = match self.lanes.get_mut(&id).and_then(Lane::order_key) {
            Some(Err(problem)) => {
                // Without their keys the events would go in any order: better not at all.
                self.ready.push_back(nothing(id, from));
                let hold = self.definition_hold(id, &problem);
                return self.ready.push_back(Event::of(hold));
            }
            Some(Ok(order_key)) => Some(order_key),
            None => None,
        };
        let scanned_to = match self.look(id, from, to, max, &mut found) {
            Ok(scanned_to) => scanned_to,
            Err(error) => {
                // The scheduler asks again after a while.
                tracing::error!(%error, lane = id.0, "the log's index could not be read");
                found.clear();
                from
            }
        };
        let fetched = |keys: Vec<Option<Key>>| {
            let keys = keys.into_iter().chain(std::iter::repeat(None));
            let offsets = found.iter().zip(keys).map(|(record, key)| Fetch {
                offset: record.offset,
                bytes: record.bytes,
                key,
            });
            Event::of(Input::Fetched {
                lane: id,
                offsets: offsets.collect(),
                scanned_to,
            })
        };
        match order_key.filter(|_| !found.is_empty()) {
            None => self.ready.push_back(fetched(Vec::new())),
            Some(order_key) => {
                let offsets = found.iter().map(|record| record.offset);
                let keys = keys_at_hand(&self.log, offsets, &mut order_key.borrow_mut());
                match keys {
                    Some(keys) => self.ready.push_back(fetched(keys)),
                    None => self.fetch_keys(id, from, found, scanned_to, order_key),
                }
            }
        }
    }

    /// Reads records for their keys that are not in memory.
    fn fetch_keys(
        &self,
        id: LaneId,
        from: Offset,
        found: Vec<RecordRef>,
        scanned_to: Offset,
        order_key: Rc<RefCell<OrderKey>>,
    ) {
        let (log, inbox) = (self.log.clone(), Rc::clone(&self.inbox));
        tokio::task::spawn_local(async move {
            let read = move || {
                let events = found
                    .iter()
                    .map(|record| (*record, log.read(record.offset).ok()));
                events.collect::<Vec<_>>()
            };
            let Ok(events) = tokio::task::spawn_blocking(read).await else {
                return inbox.push(nothing(id, from));
            };
            let mut order_key = order_key.borrow_mut();
            let offsets = events.into_iter().map(|(record, event)| Fetch {
                offset: record.offset,
                bytes: record.bytes,
                // One that cannot be read has no key: its attempt will say what is wrong.
                key: event
                    .and_then(|event| order_key.of(&event.payload))
                    .map(Key),
            });
            inbox.push(Event::of(Input::Fetched {
                lane: id,
                offsets: offsets.collect(),
                scanned_to,
            }));
        });
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
        let count = |at| match lane.books.end() {
            Some(records) if at >= to => Ok(records),
            _ => log.stream_count_before(stream, at),
        };
        let before = match lane.books.below(from) {
            Some(records) if first == from => records,
            _ => count(first)?,
        };
        let end = log.end().min(to);
        let scanned_to = log.offsets(stream, first, max, found)?.min(to);
        found.retain(|record| record.offset < to);
        let at_end = scanned_to >= end;
        let counted = at_end.then(|| count(scanned_to));
        let look = Look {
            from,
            first,
            to: scanned_to,
            before,
            found,
            counted: counted.transpose()?,
        };
        lane.looked(&look, Clock::unix());
        Ok(scanned_to)
    }

    fn fetch_queued(&mut self, id: LaneId, from: Offset, max: usize) {
        let Some(lane) = self.lanes.get(&id) else {
            return;
        };
        let (connection, known) = (lane.connection(), lane.unread.unwrap_or(0));
        let (store, inbox) = (self.store.clone(), Rc::clone(&self.inbox));
        tokio::task::spawn_local(async move {
            let look = move || {
                let rows = store.queued_dead_letters(connection, from.0, max)?;
                let more = rows.len() >= max;
                let last = rows.last().filter(|_| more);
                let taken = u64::try_from(rows.len()).unwrap_or(u64::MAX);
                let unread = match last {
                    None => 0,
                    // Counted once: to count anew at each look would take the square of them.
                    Some(_) if known > taken => known - taken,
                    Some((id, ..)) => store.queued_dead_letter_count_of(connection, id + 1)?,
                };
                Ok::<_, store::Error>((rows, more, unread))
            };
            let (offsets, scanned_to) = match tokio::task::spawn_blocking(look).await {
                Ok(Ok((rows, more, unread))) => {
                    inbox.push(Event::Unread {
                        lane: id,
                        letters: unread,
                        looked: true,
                    });
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

impl Shard {
    /// A redelivery that is held does not look for its letters, and is still to tell how many wait.
    pub(super) fn count_unread(&self, lane: &Lane) {
        let (id, connection, from) = (lane.id, lane.connection(), lane.durable);
        let (store, inbox) = (self.store.clone(), Rc::clone(&self.inbox));
        tokio::task::spawn_local(async move {
            let count = move || store.queued_dead_letter_count_of(connection, from.0);
            // Where it fails, the first look tells.
            if let Ok(Ok(letters)) = tokio::task::spawn_blocking(count).await {
                inbox.push(Event::Unread {
                    lane: id,
                    letters,
                    looked: false,
                });
            }
        });
    }
}

/// The answer to a fetch that failed: the scheduler asks again after a while.
fn nothing(lane: LaneId, from: Offset) -> Event {
    Event::of(Input::Fetched {
        lane,
        offsets: Vec::new(),
        scanned_to: from,
    })
}

/// The events' keys, if all of them can be read without waiting for the disk.
fn keys_at_hand(
    log: &EventLog,
    offsets: impl Iterator<Item = Offset>,
    order_key: &mut OrderKey,
) -> Option<Vec<Option<Key>>> {
    let mut key = |offset| match log.try_read(offset) {
        Ok(Some(record)) => Some(order_key.of(&record.payload).map(Key)),
        Ok(None) | Err(_) => None,
    };
    offsets.map(&mut key).collect()
}
