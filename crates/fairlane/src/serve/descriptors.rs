//! File descriptors: how many there are, and who may hold how many of them.
//!
//! A flood of connections must neither stop the log nor leave deliveries without sockets. The log
//! keeps a reserve of its own; here ingest and delivery are kept within the rest.
//!
//! ```text
//!   limit = OTHERS + connections in (1/2) + attempts under way (1/4) + idle connections out (1/4)
//! ```

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// What the log (its reserve, open segments), the store, the management API and the runtimes hold.
const OTHERS: u64 = 192;

/// The most that each part may hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shares {
    pub connections: u64,
    pub attempts: u64,
    pub idle: u64,
}

impl Shares {
    /// Takes all that the system allows (the hard limit) and divides it.
    pub fn claim() -> Self {
        Self::of(raise())
    }

    fn of(limit: u64) -> Self {
        // However few there are, every part goes on; then connections fail one by one instead.
        let room = limit.saturating_sub(OTHERS).max(16);
        Self {
            connections: room / 2,
            attempts: room / 4,
            idle: room / 4,
        }
    }

    /// Says what the limit takes away from the configured `connections_max` and `in_flight_max`.
    pub fn report(&self, connections_max: u64, in_flight_max: u64) {
        for (key, configured, left) in self.taken_away(connections_max, in_flight_max) {
            tracing::warn!(
                configured,
                left,
                "the limit of file descriptors is too low for {key}: only what is left is used; raise \
                 it (ulimit -n, LimitNOFILE=), or lower {key}"
            );
        }
    }

    /// Each key that the limit makes less of, what it says, and what is left of it.
    fn taken_away(
        &self,
        connections_max: u64,
        in_flight_max: u64,
    ) -> impl Iterator<Item = (&'static str, u64, u64)> {
        [
            ("connections_max", connections_max, self.connections),
            ("in_flight_max", in_flight_max, self.attempts),
        ]
        .into_iter()
        .filter(|(_, configured, left)| left < configured)
    }
}

/// Raises this process's limit as far as it may; returns it.
fn raise() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    let limit = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of file descriptors");
            current
        }
    };
    limit.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
