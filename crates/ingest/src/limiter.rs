//! Rate limits: requests a second of a source, and of a client address.
//!
//! GCRA by the `governor` crate. A source with a limit of its own carries it in its
//! [`SourceTable`](crate::SourceTable) entry; all others share the default here.

use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, NotUntil, Quota, RateLimiter};
use model::SourceId;

use crate::admission::network_of;
use crate::sources::Entry;

/// Addresses remembered between two sweeps; beyond, the idle ones are forgotten at once.
const ADDRESSES_MAX: usize = 65_536;

#[derive(Debug)]
pub(crate) struct Limiter {
    clock: DefaultClock,
    by_source: Option<DefaultKeyedRateLimiter<SourceId>>,
    by_ip: Option<DefaultKeyedRateLimiter<IpAddr>>,
}

/// Ask again after this many seconds, at least 1.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wait {
    pub(crate) seconds: u64,
}

impl Limiter {
    pub(crate) fn new(source_per_s: Option<u32>, ip_per_s: Option<u32>) -> Self {
        let quota = |per_s: Option<u32>| per_s.and_then(NonZeroU32::new).map(Quota::per_second);
        Self {
            clock: DefaultClock::default(),
            by_source: quota(source_per_s).map(RateLimiter::keyed),
            by_ip: quota(ip_per_s).map(RateLimiter::keyed),
        }
    }

    /// # Errors
    /// The source has made its requests of this second.
    pub(crate) fn check_source(&self, entry: &Entry) -> Result<(), Wait> {
        let checked = match (&entry.limiter, &self.by_source) {
            (Some(own), _) => own.check(),
            (None, Some(default)) => default.check_key(&entry.id),
            (None, None) => return Ok(()),
        };
        checked.map_err(|not_until| self.wait(&not_until))
    }

    /// # Errors
    /// The address has made its requests of this second.
    pub(crate) fn check_ip(&self, ip: IpAddr) -> Result<(), Wait> {
        let Some(by_ip) = &self.by_ip else {
            return Ok(());
        };
        by_ip
            .check_key(&network_of(ip))
            .map_err(|not_until| self.wait(&not_until))
    }

    /// Forgets the addresses that are within their limit anyhow. Call it now and then.
    pub(crate) fn sweep(&self) {
        if let Some(by_ip) = &self.by_ip
            && by_ip.len() > ADDRESSES_MAX
        {
            by_ip.retain_recent();
            by_ip.shrink_to_fit();
        }
    }

    fn wait(&self, not_until: &NotUntil<<DefaultClock as Clock>::Instant>) -> Wait {
        let wait = not_until.wait_time_from(self.clock.now());
        Wait {
            seconds: wait
                .as_secs()
                .saturating_add(u64::from(wait.subsec_nanos() > 0))
                .max(1),
        }
    }
}
