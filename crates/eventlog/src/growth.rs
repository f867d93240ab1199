//! Tells readers which streams grew: one coalescing inbox for each subscriber, so that a slow one
//! costs a map of streams, never a queue of records.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use model::{Offset, SourceId};
use tokio::sync::Notify;

use crate::guard::lock;

/// Receives growth of all streams since [`crate::EventLog::grew`] made it.
#[derive(Debug)]
pub struct GrowthReceiver {
    inbox: Arc<Inbox>,
}

impl GrowthReceiver {
    /// Waits until at least one stream has grown since the last call, and appends each such stream
    /// with its end (the offset after its last durable record). Waits for ever once the log is
    /// closed. Cancel safe: what was not handed out stays.
    pub async fn next(&mut self, out: &mut Vec<(SourceId, Offset)>) {
        loop {
            if self.take(out) {
                return;
            }
            self.inbox.bell.notified().await;
        }
    }

    /// Like [`GrowthReceiver::next`] without waiting; false where nothing has grown.
    pub fn take(&mut self, out: &mut Vec<(SourceId, Offset)>) -> bool {
        let mut grown = lock(&self.inbox.grown);
        let any = !grown.is_empty();
        out.extend(grown.drain());
        any
    }
}

#[derive(Debug, Default)]
struct Inbox {
    grown: Mutex<HashMap<SourceId, Offset>>,
    bell: Notify,
}

/// All subscribers of one log.
#[derive(Debug, Default)]
pub(crate) struct Growth {
    inboxes: Mutex<Vec<Weak<Inbox>>>,
}

impl Growth {
    pub(crate) fn subscribe(&self) -> GrowthReceiver {
        let inbox = Arc::new(Inbox::default());
        lock(&self.inboxes).push(Arc::downgrade(&inbox));
        GrowthReceiver { inbox }
    }

    /// Called after the records are durable and can be read.
    pub(crate) fn publish(&self, ends: &HashMap<SourceId, Offset>) {
        lock(&self.inboxes).retain(|inbox| {
            let Some(inbox) = inbox.upgrade() else {
                return false;
            };
            lock(&inbox.grown).extend(ends.iter().map(|(&stream, &end)| (stream, end)));
            inbox.bell.notify_one();
            true
        });
    }
}
