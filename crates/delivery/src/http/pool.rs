//! Idle connections of one shard, kept by destination and place.
//!
//! A connection serves only the destination it was opened for: one that reached an allowed
//! private host is never lent to another. The last one used is the first one lent, so that what
//! is not needed falls idle and is closed.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

use model::DestinationId;
use tokio::time::Instant;

use super::dial::Link;
use super::request::Place;

/// Limits of kept connections.
#[derive(Clone, Debug)]
pub struct PoolOptions {
    /// An idle connection is closed after this long. Default: 30,000.
    pub idle_ms_max: u64,
    /// A connection is not used longer than this, so that a changed name is noticed.
    /// Default: 300,000.
    pub age_ms_max: u64,
    /// Idle connections of one destination and place. Default: 64.
    pub idle_per_place_max: usize,
    /// Idle connections of one shard. Default: 1,024.
    pub idle_max: usize,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            idle_ms_max: 30_000,
            age_ms_max: 300_000,
            idle_per_place_max: 64,
            idle_max: 1_024,
        }
    }
}

pub struct Pool {
    options: PoolOptions,
    /// A destination has one place, rarely a few: a short list is faster than a hash of its host.
    idle: RefCell<HashMap<DestinationId, Vec<Shelf>>>,
    count: Cell<usize>,
}

/// The idle connections of one place, by time of last use.
struct Shelf {
    place: Place,
    links: Vec<Link>,
}

impl Pool {
    #[must_use]
    pub fn new(options: PoolOptions) -> Self {
        Self {
            options,
            idle: RefCell::default(),
            count: Cell::new(0),
        }
    }

    /// Takes the idle connection that was used last, if there is one that is young enough.
    pub fn take(&self, destination: DestinationId, place: &Place, now: Instant) -> Option<Link> {
        let mut idle = self.idle.borrow_mut();
        let shelf = idle
            .get_mut(&destination)?
            .iter_mut()
            .find(|shelf| shelf.place == *place)?;
        while let Some(link) = shelf.links.pop() {
            self.count.set(self.count.get() - 1);
            if self.is_fresh(&link, now) {
                return Some(link);
            }
        }
        None
    }

    /// Keeps a connection for the next request, or closes it where there are enough.
    pub fn put(&self, destination: DestinationId, place: Place, mut link: Link, now: Instant) {
        link.used_at = now;
        if self.count.get() >= self.options.idle_max || !self.is_fresh(&link, now) {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let shelves = idle.entry(destination).or_default();
        let at = shelves
            .iter()
            .position(|shelf| shelf.place == place)
            .unwrap_or_else(|| {
                shelves.push(Shelf {
                    place,
                    links: Vec::new(),
                });
                shelves.len() - 1
            });
        let Some(shelf) = shelves.get_mut(at) else {
            return;
        };
        if shelf.links.len() < self.options.idle_per_place_max {
            shelf.links.push(link);
            self.count.set(self.count.get() + 1);
        }
    }

    /// Closes what has been idle too long. To be called every few seconds.
    pub fn sweep(&self, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        let mut left = 0;
        idle.retain(|_, shelves| {
            shelves.retain_mut(|shelf| {
                shelf.links.retain(|link| self.is_fresh(link, now));
                left += shelf.links.len();
                !shelf.links.is_empty()
            });
            !shelves.is_empty()
        });
        self.count.set(left);
    }

    /// Idle connections, for the status.
    #[must_use]
    pub fn idle_count(&self) -> usize {
        self.count.get()
    }

    fn is_fresh(&self, link: &Link, now: Instant) -> bool {
        let idle = now.saturating_duration_since(link.used_at);
        let age = now.saturating_duration_since(link.opened_at);
        idle < Duration::from_millis(self.options.idle_ms_max)
            && age < Duration::from_millis(self.options.age_ms_max)
    }
}
