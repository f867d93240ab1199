//! Times as arguments: nothing that decides ever reads a clock.

use serde::{Deserialize, Serialize};

/// Wall-clock time: milliseconds since 1970-01-01 UTC. May jump either way.
#[derive(
    Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct UnixMillis(pub u64);

/// Monotonic time: microseconds since the process (or the simulation) began. Never goes back;
/// every delay and timeout is counted in it, so a wall clock that jumps storms nothing.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Default)]
pub struct MonoMicros(pub u64);

impl MonoMicros {
    pub const ZERO: Self = Self(0);

    /// This time plus `micros`, kept within the type.
    #[must_use]
    pub const fn plus(self, micros: u64) -> Self {
        Self(self.0.saturating_add(micros))
    }

    /// Microseconds from `earlier` to this time; 0 where `earlier` is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }
}
