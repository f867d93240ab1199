//! What a restart brought along of jobs that are not fetched yet.

use std::collections::VecDeque;

use model::{Offset, ParkedJob};

#[derive(Debug)]
pub(crate) struct Restored {
    pub(crate) settled: VecDeque<Offset>,
    pub(crate) parked: VecDeque<ParkedJob>,
}

/// What the saved progress says of a record.
pub(crate) enum Known {
    Nothing,
    Settled,
    Parked(ParkedJob),
}

impl Restored {
    /// Both ascending. `None` where there is nothing to remember.
    pub(crate) fn new(settled: Vec<Offset>, parked: Vec<ParkedJob>) -> Option<Box<Self>> {
        debug_assert!(settled.is_sorted() && parked.is_sorted_by_key(|job| job.offset));
        let restored = Self {
            settled: settled.into(),
            parked: parked.into(),
        };
        (!restored.is_empty()).then(|| Box::new(restored))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.settled.is_empty() && self.parked.is_empty()
    }

    /// What is known of the record at this offset. Records come in order, so what lies below is
    /// no longer there (trimmed) and is forgotten.
    pub(crate) fn recall(&mut self, offset: Offset) -> Known {
        while self.settled.front().is_some_and(|first| *first < offset) {
            self.settled.pop_front();
        }
        while self
            .parked
            .front()
            .is_some_and(|first| first.offset < offset)
        {
            self.parked.pop_front();
        }
        if self.settled.front() == Some(&offset) {
            self.settled.pop_front();
            return Known::Settled;
        }
        if self
            .parked
            .front()
            .is_some_and(|first| first.offset == offset)
        {
            return self
                .parked
                .pop_front()
                .map_or(Known::Nothing, Known::Parked);
        }
        Known::Nothing
    }
}
