//! Where the time comes from: one place reads the system's clock, everything else is told.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use model::UnixMillis;

/// Gives the wall-clock time. Tests pass their own.
pub type Clock = Arc<dyn Fn() -> UnixMillis + Send + Sync>;

/// The system's wall clock. A clock before 1970 reads as 1970.
#[must_use]
pub fn system_clock() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    })
}
