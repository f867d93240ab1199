//! Who may send: write keys and the sources behind them.

use std::collections::HashMap;
use std::num::NonZeroU32;

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use model::{Registry, SourceId};

/// The sources in force, looked up by write key. Built anew when the configuration changes, so a
/// source's own rate limit begins afresh then.
#[derive(Debug, Default)]
pub struct SourceTable {
    by_key: HashMap<Box<str>, usize>,
    entries: Vec<Entry>,
}

#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) id: SourceId,
    pub(crate) enabled: bool,
    /// Where the source has a limit of its own.
    pub(crate) limiter: Option<DefaultDirectRateLimiter>,
}

impl SourceTable {
    #[must_use]
    pub fn from_registry(registry: &Registry) -> Self {
        let mut table = Self::default();
        for source in &registry.sources {
            for key in &source.write_keys {
                table
                    .by_key
                    .insert(key.as_str().into(), table.entries.len());
            }
            table.entries.push(Entry {
                id: source.id,
                enabled: source.enabled,
                limiter: source
                    .rate_limit_per_s
                    .and_then(NonZeroU32::new)
                    .map(|per_s| RateLimiter::direct(Quota::per_second(per_s))),
            });
        }
        table
    }

    pub(crate) fn find(&self, write_key: &str) -> Option<&Entry> {
        self.entries.get(*self.by_key.get(write_key)?)
    }
}
