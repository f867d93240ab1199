//! Idle connections of one shard, kept by place.
//!
//! All lanes that send to one place share them: ten thousand customers of one service need as many
//! connections as they have requests under way, not ten thousand. That lends nobody anything of
//! another: a connection carries one request at a time, auth is the request's own, and what may be
//! dialled is one policy for all. The last one used is the first one lent, so that what is not
//! needed falls idle and is closed.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::time::Duration;

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
    /// Idle connections to one place. Default: 512.
    pub idle_per_place_max: usize,
    /// Idle connections of one shard. Default: 1,024.
    pub idle_max: usize,
}

impl Default for PoolOptions {
    fn default() -> Self {
        Self {
            idle_ms_max: 30_000,
            age_ms_max: 300_000,
            idle_per_place_max: 512,
            idle_max: 1_024,
        }
    }
}

pub struct Pool {
    options: PoolOptions,
    /// By time of last use.
    idle: RefCell<HashMap<Place, Vec<Link>>>,
    count: Cell<usize>,
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
    pub fn take(&self, place: &Place, now: Instant) -> Option<Link> {
        let mut idle = self.idle.borrow_mut();
        let links = idle.get_mut(place)?;
        while let Some(link) = links.pop() {
            self.count.set(self.count.get() - 1);
            if self.is_fresh(&link, now) {
                return Some(link);
            }
        }
        None
    }

    /// Keeps a connection for the next request, or closes it where there are enough.
    pub fn put(&self, place: Place, mut link: Link, now: Instant) {
        link.used_at = now;
        if self.count.get() >= self.options.idle_max || !self.is_fresh(&link, now) {
            return;
        }
        let mut idle = self.idle.borrow_mut();
        let links = idle.entry(place).or_default();
        if links.len() < self.options.idle_per_place_max {
            links.push(link);
            self.count.set(self.count.get() + 1);
        }
    }

    /// Closes what has been idle too long. To be called every few seconds.
    pub fn sweep(&self, now: Instant) {
        let mut idle = self.idle.borrow_mut();
        let mut left = 0;
        idle.retain(|_, links| {
            links.retain(|link| self.is_fresh(link, now));
            left += links.len();
            !links.is_empty()
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
