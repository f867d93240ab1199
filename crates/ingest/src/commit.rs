//! The seam to the event log: the one place that appends.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use eventlog::{AppendBatch, AppendError, EventLog};

use crate::admission::Reservation;
use crate::dedup::Claims;

/// An append under way, with the claims that it decides. Resolves when the events are durable, or
/// refused; the claims are settled or released by then.
///
/// Cancel safe: a client that goes away drops this, but not the append. It runs on by itself and
/// decides the claims, so that the client's retry is neither lost nor doubled.
pub(crate) struct Commit(Option<UnderWay>);

struct UnderWay {
    append: Pin<Box<dyn Future<Output = Result<(), AppendError>> + Send>>,
    claims: Claims,
    /// The bytes stay counted as long as they are in memory.
    _reservation: Reservation,
}

impl Commit {
    pub(crate) fn append(
        log: &EventLog,
        batch: AppendBatch,
        claims: Claims,
        reservation: Reservation,
    ) -> Self {
        let log = log.clone();
        Self::new(
            async move { log.append(batch).await.map(drop) },
            claims,
            reservation,
        )
    }

    fn new(
        append: impl Future<Output = Result<(), AppendError>> + Send + 'static,
        claims: Claims,
        reservation: Reservation,
    ) -> Self {
        Self(Some(UnderWay {
            append: Box::pin(append),
            claims,
            _reservation: reservation,
        }))
    }
}

impl Future for Commit {
    type Output = Result<(), AppendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let under_way = self
            .0
            .as_mut()
            .expect("polled until it resolves, not after");
        let result = ready!(under_way.append.as_mut().poll(cx));
        if let Some(UnderWay { claims, .. }) = self.0.take()
            && result.is_ok()
        {
            claims.settle();
        }
        Poll::Ready(result)
    }
}

impl Drop for Commit {
    fn drop(&mut self) {
        let Some(under_way) = self.0.take() else {
            return;
        };
        // Without a runtime the process is ending, and a window with it.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(under_way.finish());
        }
    }
}

impl UnderWay {
    async fn finish(self) {
        if self.append.await.is_ok() {
            self.claims.settle();
        }
    }
}

#[cfg(test)]
mod tests;
