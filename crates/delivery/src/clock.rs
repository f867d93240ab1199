//! The one place of this crate that reads clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use model::{MonoMicros, UnixMillis};

/// Monotonic time since it was made, and the wall clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    began: Instant,
}

/// How long something takes.
pub(crate) enum Stopwatch {
    Wall(Clock),
    /// What the thread had used of a CPU.
    Thread(u64),
}

impl Stopwatch {
    pub(crate) fn start(of_thread: bool) -> Self {
        match of_thread {
            true => Self::Thread(thread_us()),
            false => Self::Wall(Clock::start()),
        }
    }

    pub(crate) fn us(&self) -> u64 {
        match self {
            Self::Wall(clock) => clock.mono().0,
            Self::Thread(began) => thread_us().saturating_sub(*began),
        }
    }
}

fn thread_us() -> u64 {
    u64::try_from(catalog::thread_time().as_micros()).unwrap_or(u64::MAX)
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self {
            began: Instant::now(),
        }
    }

    pub(crate) fn mono(self) -> MonoMicros {
        MonoMicros(u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX))
    }

    /// The monotonic time `at`, for tokio's timers.
    pub(crate) fn instant(self, at: MonoMicros) -> tokio::time::Instant {
        (self.began + std::time::Duration::from_micros(at.0)).into()
    }

    /// The wall clock; 0 where it stands before 1970.
    pub(crate) fn unix() -> UnixMillis {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }
}
