//! What an append decides, watched or not.

use std::sync::Arc;

use model::UnixMillis;
use tokio::sync::oneshot;

use super::*;
use crate::admission::InFlight;
use crate::dedup::{Claim, Window};

struct Bench {
    window: Arc<Window>,
    in_flight: Arc<InFlight>,
}

impl Bench {
    fn new() -> Self {
        Self {
            window: Arc::new(Window::new(1_000_000, 1_000)),
            in_flight: Arc::new(InFlight::new(1_000)),
        }
    }

    fn claim(&self) -> (Claims, Claim) {
        let mut claims = Claims::new(&self.window);
        let claim = claims.claim(7, UnixMillis(0));
        (claims, claim)
    }

    /// A commit that ends as the sender says.
    fn commit(&self) -> (Commit, oneshot::Sender<Result<(), AppendError>>) {
        let (sender, receiver) = oneshot::channel();
        let mut reservation = self.in_flight.reserve();
        assert!(reservation.grow(100));
        let append = async { receiver.await.unwrap_or(Err(AppendError::Closed)) };
        (Commit::new(append, self.claim().0, reservation), sender)
    }
}

#[tokio::test]
async fn a_durable_append_settles_and_a_failed_one_releases() {
    let bench = Bench::new();
    let (commit, sender) = bench.commit();
    sender
        .send(Err(AppendError::Full { retry_after_s: 1 }))
        .unwrap();
    assert!(commit.await.is_err());
    let (commit, sender) = bench.commit();
    assert_eq!(bench.claim().1, Claim::Pending);
    sender.send(Ok(())).unwrap();
    assert!(commit.await.is_ok());
    assert_eq!(bench.claim().1, Claim::Duplicate);
    assert_eq!(bench.in_flight.bytes(), 0);
}

#[tokio::test]
async fn an_append_that_nobody_waits_for_decides_its_claims_all_the_same() {
    let bench = Bench::new();
    let (commit, sender) = bench.commit();
    drop(commit);
    assert_eq!(
        bench.claim().1,
        Claim::Pending,
        "the client is gone, the append is not"
    );
    assert_eq!(bench.in_flight.bytes(), 100);
    sender.send(Ok(())).unwrap();
    while bench.in_flight.bytes() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.claim().1, Claim::Duplicate);
}
