//! The signals that ask the process to stop.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// Exit code after a second signal.
pub const ENDED_AT_ONCE: i32 = 3;

/// SIGTERM, SIGINT (Ctrl-C) and SIGQUIT, from when this was made. Without it they end the process
/// at once.
pub struct StopSignals([Signal; 3]);

impl StopSignals {
    /// # Errors
    /// The system refuses signal handlers.
    pub fn listen() -> io::Result<Self> {
        Ok(Self([
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::quit())?,
        ]))
    }

    /// The next one. Cancel safe.
    pub async fn next(&mut self) {
        let Self([terminate, interrupt, quit]) = self;
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = quit.recv() => {}
        }
    }

    /// From here on the next one ends the process, whatever it is doing, with [`ENDED_AT_ONCE`].
    pub fn end_at_next(mut self) {
        tokio::spawn(async move {
            self.next().await;
            // Not by an error that is returned: what still runs would be waited for.
            tracing::warn!("ended at once: what was in flight is delivered again after a start");
            std::process::exit(ENDED_AT_ONCE);
        });
    }
}
