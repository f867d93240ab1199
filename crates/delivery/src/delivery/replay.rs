//! Replays: a range of the log again, in a lane of its own that ends.

use std::sync::Arc;
use std::time::Duration;

use model::{ConnectionId, LaneId, LaneProgress, Offset, Registry};
use store::{LaneKind, NewLane, ReplayTerms};

use super::begin::asked;
use super::{Delivery, blocking};
use crate::clock::Clock;
use crate::error::Error;
use crate::lane::LaneSpec;
use crate::plan::plans;
use crate::shard::Command;

/// How long a cancelled replay's attempts under way are waited for, so that they are counted.
const CANCEL_WAIT: Duration = Duration::from_secs(5);
const CANCEL_POLL: Duration = Duration::from_millis(10);

impl Delivery {
    /// Delivers the records of `from..to` once more to a connection, in a lane of its own: those
    /// that pass the connection's filter and that of the terms.
    ///
    /// # Errors
    /// [`Error::NoSuchConnection`], [`Error::EmptyRange`] (also where the log no longer or not
    /// yet has any of it), [`Error::TooManyReplays`], [`Error::Store`], [`Error::Ended`].
    pub async fn replay(
        &self,
        connection: &str,
        from: Offset,
        to: Offset,
        terms: ReplayTerms,
    ) -> Result<LaneId, Error> {
        let inner = &self.inner;
        let connection = self.connection(connection).await?;
        let from = from.max(inner.log.first());
        let to = to.min(inner.log.end());
        if from >= to {
            return Err(Error::EmptyRange { from, to });
        }
        let (registry, id) = {
            let mut state = inner.state.lock().await;
            // The time, so that it tells when; two in one millisecond get two numbers.
            state.last_replay = Clock::unix().0.max(state.last_replay + 1);
            (Arc::clone(&state.registry), state.last_replay)
        };
        let (catalog, options) = (inner.catalog.load_full(), Arc::clone(&inner.options));
        let kind = LaneKind::Replay { id, from, to };
        let new = NewLane {
            terms: terms.clone(),
            ..NewLane::new(connection, kind, from)
        };
        let store = inner.store.clone();
        let running_max = inner.options.replays_running_max;
        let (lanes, plan) = blocking(move || {
            let replays = store.replays()?;
            if replays.iter().filter(|replay| !replay.finished).count() >= running_max {
                return Err(Error::TooManyReplays(running_max));
            }
            let lanes = store.add_lanes(&[new])?;
            let one = only(&registry, connection);
            Ok((lanes, plans(&one, &catalog, &options).remove(&connection)))
        })
        .await?;
        let lane = *lanes.first().expect("one lane was added");
        let spec = LaneSpec {
            plan: plan.ok_or(Error::Ended)?,
            kind,
            start: from,
            terms: asked(terms),
            progress: LaneProgress::new(lane, from),
            held: None,
            staggered: false,
        };
        self.shard(connection)?
            .ask(|done| Command::Add {
                lanes: vec![spec],
                done,
            })
            .await?;
        Ok(lane)
    }

    /// Ends a replay before it is done. Attempts under way are waited for, for a while, so that
    /// its counts are exact; the counts stay. Nothing happens where the lane has ended already.
    ///
    /// # Errors
    /// [`Error::Ended`].
    pub async fn cancel_replay(&self, connection: ConnectionId, lane: LaneId) -> Result<(), Error> {
        let shard = self.shard(connection)?;
        shard.ask(|done| Command::HoldLane { lane, done }).await?;
        let given_up = tokio::time::Instant::now() + CANCEL_WAIT;
        while tokio::time::Instant::now() < given_up {
            let lanes = self.lanes_of(connection).await;
            let flying = |one: &model::lane::LaneStatus| one.lane == lane && one.in_flight > 0;
            if !lanes.iter().any(flying) {
                break;
            }
            tokio::time::sleep(CANCEL_POLL).await;
        }
        shard.ask(|done| Command::Cancel { lane, done }).await
    }
}

/// The part of a registry that one connection needs.
fn only(registry: &Registry, connection: ConnectionId) -> Registry {
    let connections: Vec<_> = registry
        .connections
        .iter()
        .filter(|one| one.id == connection)
        .cloned()
        .collect();
    let destination = connections
        .first()
        .and_then(|one| registry.destination(one.destination));
    let source = connections
        .first()
        .and_then(|one| registry.source(one.source));
    Registry {
        sources: source.into_iter().cloned().collect(),
        destinations: destination.into_iter().cloned().collect(),
        connections,
    }
}
