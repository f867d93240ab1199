//! The handle: everything that other threads may ask of delivery.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use catalog::Catalog;
use eventlog::EventLog;
use model::lane::LaneStatus;
use model::{ConnectionId, LaneProgress, OutcomeCounts, Registry};
use store::{DeadLetterSelection, FinishedLane, LaneKind, NewLane, Store};
use tokio::sync::{mpsc, oneshot};

use crate::clock::Clock;
use crate::error::Error;
use crate::lane::LaneSpec;
use crate::options::Options;
use crate::plan::{Plans, plans};
use crate::retention::Retention;
use crate::shard::{Command, Steer};

mod begin;
mod replay;
#[cfg(test)]
mod tests;

pub(crate) use begin::senders;
pub use begin::start;

/// Delivery at work. A handle: cloning it is cheap, and any thread may call it. Dropping the last
/// one without [`Delivery::shutdown`] is like a crash: some deliveries may be repeated.
#[derive(Clone)]
pub struct Delivery {
    inner: Arc<Inner>,
}

struct Inner {
    options: Arc<Options>,
    log: EventLog,
    store: Store,
    catalog: Arc<ArcSwap<Catalog>>,
    shards: Vec<Handle>,
    /// One change of the configuration at a time.
    state: tokio::sync::Mutex<State>,
    retention: Mutex<Option<Retention>>,
}

/// One shard's thread.
struct Handle {
    commands: mpsc::Sender<Command>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

struct State {
    registry: Arc<Registry>,
    /// Connections that have a live lane.
    live: HashSet<ConnectionId>,
    /// The number of the last replay.
    last_replay: u64,
}

/// What a new configuration changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ApplyReport {
    pub added: usize,
    pub changed: usize,
    pub removed: usize,
    /// Connections whose lanes are held because the configuration does not let them work: name
    /// and reason.
    pub problems: Vec<(String, String)>,
}

/// Whether every accepted event is accounted for, over all live lanes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Balance {
    pub lanes: usize,
    /// Jobs: one event for one connection.
    pub accepted: u64,
    pub counts: OutcomeCounts,
    pub pending: u64,
    /// Attempts since start that may have arrived or not: each may have become a duplicate.
    pub indeterminate: u64,
    /// Lanes that have settled more than was accepted, which cannot be.
    pub wrong: Vec<String>,
}

impl Balance {
    #[must_use]
    pub fn is_balanced(&self) -> bool {
        self.wrong.is_empty() && self.accepted == self.counts.settled() + self.pending
    }
}

/// Waits this many commands, at most, for a busy shard.
const COMMANDS_MAX: usize = 64;

impl Delivery {
    /// Brings a new configuration, or a new catalog, into force: new connections get lanes that
    /// begin at the log's end, changed ones go on with their next attempt, removed ones stop.
    /// Attempts under way finish as they began. Not cancel safe: let it finish.
    ///
    /// # Errors
    /// [`Error::Store`]: nothing was changed. [`Error::Ended`].
    pub async fn apply(&self, registry: Arc<Registry>) -> Result<ApplyReport, Error> {
        let inner = &self.inner;
        let mut state = inner.state.lock().await;
        let (catalog, options) = (inner.catalog.load_full(), Arc::clone(&inner.options));
        let new_registry = Arc::clone(&registry);
        let plans = blocking(move || Ok(plans(&new_registry, &catalog, &options))).await?;
        let problems = problems(&plans);

        let mut added: Vec<ConnectionId> = plans
            .keys()
            .filter(|id| !state.live.contains(id))
            .copied()
            .collect();
        added.sort_unstable();
        let start = inner.log.end();
        let (store, new) = (inner.store.clone(), added.clone());
        let lanes = blocking(move || {
            let new: Vec<NewLane> = new
                .iter()
                .map(|id| NewLane::new(*id, LaneKind::Live, start))
                .collect();
            Ok(store.add_lanes(&new)?)
        })
        .await?;

        let mut report = ApplyReport {
            added: added.len(),
            problems,
            ..ApplyReport::default()
        };
        let specs = added.iter().zip(lanes).filter_map(|(connection, lane)| {
            let plan = Arc::clone(plans.get(connection)?);
            let progress = LaneProgress::new(lane, start);
            Some(LaneSpec {
                plan,
                kind: LaneKind::Live,
                start,
                terms: None,
                progress,
                held: None,
                staggered: false,
            })
        });
        let specs: Vec<LaneSpec> = specs.collect();
        state.live = plans.keys().copied().collect();
        state.registry = registry;
        self.spread(plans, specs, &mut report).await?;
        // A connection that was there before may have left dead letters that somebody queued.
        let store = inner.store.clone();
        let counts = blocking(move || Ok(store.dead_letter_counts()?)).await?;
        let with_letters = counts.iter().map(|count| count.connection);
        for connection in with_letters.filter(|id| added.binary_search(id).is_ok()) {
            self.shard(connection)?
                .send(Command::Redeliver { connection })
                .await?;
        }
        Ok(report)
    }

    /// Gives each shard its plans and its new lanes.
    async fn spread(
        &self,
        plans: Plans,
        specs: Vec<LaneSpec>,
        report: &mut ApplyReport,
    ) -> Result<(), Error> {
        let count = self.inner.shards.len();
        let mut plans_of: Vec<Plans> = vec![HashMap::new(); count];
        for (connection, plan) in plans {
            if let Some(plans) = plans_of.get_mut(shard_of(connection, count)) {
                plans.insert(connection, plan);
            }
        }
        let mut specs_of: Vec<Vec<LaneSpec>> = (0..count).map(|_| Vec::new()).collect();
        for spec in specs {
            if let Some(specs) = specs_of.get_mut(shard_of(spec.plan.connection.id, count)) {
                specs.push(spec);
            }
        }
        for ((shard, plans), lanes) in self.inner.shards.iter().zip(plans_of).zip(specs_of) {
            let applied = shard.ask(|done| Command::Apply { plans, done }).await?;
            report.changed += applied.changed;
            report.removed += applied.removed.len();
            let store = self.inner.store.clone();
            // At once, not with the next commit: the connection may come back.
            blocking(move || {
                let at = Clock::unix();
                let ended = applied.removed.into_iter().map(|lane| FinishedLane {
                    lane,
                    at,
                    cancelled: true,
                });
                ended
                    .into_iter()
                    .try_for_each(|lane| Ok(store.finish_lane(lane)?))
            })
            .await?;
            shard.ask(|done| Command::Add { lanes, done }).await?;
        }
        Ok(())
    }

    /// Ends when a shard has: none does but for a fault of ours, before it is told to. Its lanes stand
    /// still then, and nothing but a new start brings them back.
    pub async fn failed(&self) {
        let mut every = tokio::time::interval(LOOK_AT_SHARDS_EVERY);
        let has_ended = |shard: &Handle| shard.commands.is_closed();
        while !self.inner.shards.iter().any(has_ended) {
            every.tick().await;
        }
    }

    /// All lanes, by number. Empty after shutdown.
    pub async fn lanes(&self) -> Vec<LaneStatus> {
        let mut all = Vec::new();
        for shard in &self.inner.shards {
            let connection = None;
            let asked = shard
                .ask(|reply| Command::Status { connection, reply })
                .await;
            all.extend(asked.unwrap_or_default());
        }
        all.sort_unstable_by_key(|status| status.lane);
        all
    }

    /// The lanes of one connection, its replays and redelivery too, by number.
    pub async fn lanes_of(&self, connection: ConnectionId) -> Vec<LaneStatus> {
        let Ok(shard) = self.shard(connection) else {
            return Vec::new();
        };
        let connection = Some(connection);
        let asked = shard
            .ask(|reply| Command::Status { connection, reply })
            .await;
        let mut lanes = asked.unwrap_or_default();
        lanes.sort_unstable_by_key(|status| status.lane);
        lanes
    }

    /// The live lane of a connection, or the lane that is shown under this name.
    pub async fn lane(&self, connection: &str) -> Option<LaneStatus> {
        let id = self.connection(connection_in(connection)).await.ok()?;
        let lanes = self.lanes_of(id).await;
        lanes.into_iter().find(|lane| lane.connection == connection)
    }

    /// Stops a connection's lanes until [`Delivery::resume`], or the one lane that is shown under
    /// this name. Attempts under way finish.
    ///
    /// # Errors
    /// [`Error::NoSuchConnection`], [`Error::Ended`].
    pub async fn hold(&self, connection: &str) -> Result<(), Error> {
        self.steer(connection, Steer::Hold).await
    }

    /// Lets a connection's lanes go on, whatever they were stopped for.
    ///
    /// # Errors
    /// [`Error::NoSuchConnection`], [`Error::Ended`].
    pub async fn resume(&self, connection: &str) -> Result<(), Error> {
        self.steer(connection, Steer::Resume).await
    }

    /// Tries one job of a stopped connection now.
    ///
    /// # Errors
    /// [`Error::NoSuchConnection`], [`Error::Ended`].
    pub async fn probe(&self, connection: &str) -> Result<(), Error> {
        self.steer(connection, Steer::Probe).await
    }

    async fn steer(&self, name: &str, steer: Steer) -> Result<(), Error> {
        let connection = self.connection(connection_in(name)).await?;
        let lane = match connection_in(name) == name {
            true => None,
            false => {
                let lane = self.lane(name).await;
                Some(lane.ok_or_else(|| Error::NoSuchConnection(name.to_owned()))?)
            }
        };
        let saved = self.shard(connection)?.ask(|done| Command::Steer {
            connection,
            lane: lane.map(|lane| lane.lane),
            steer,
            done,
        });
        // It is done at once; the answer waits until a restart would know of it, too.
        let saved = tokio::time::timeout(STEER_SAVED_MAX, saved).await;
        saved.unwrap_or_else(|_| {
            tracing::warn!(
                lane = name,
                "it is done, but not saved yet: a restart now would undo it"
            );
            Ok(())
        })
    }

    /// As the retention thread tells the shards after a trim.
    #[cfg(test)]
    pub(crate) async fn age(&self, age: crate::retention::Age) {
        for shard in &self.inner.shards {
            shard.send(Command::Age(age.clone())).await.unwrap();
        }
    }

    /// Queues dead letters to be tried again, each in its connection's redelivery lane, and
    /// returns how many of each connection.
    ///
    /// # Errors
    /// [`Error::Store`], [`Error::Ended`].
    pub async fn redeliver(
        &self,
        selection: DeadLetterSelection,
    ) -> Result<Vec<(ConnectionId, u64)>, Error> {
        let store = self.inner.store.clone();
        let queued = blocking(move || Ok(store.request_redelivery(&selection)?)).await?;
        for (connection, _) in &queued {
            let connection = *connection;
            self.shard(connection)?
                .send(Command::Redeliver { connection })
                .await?;
        }
        Ok(queued)
    }

    /// The sums over all live lanes.
    pub async fn balance(&self) -> Balance {
        let mut balance = Balance::default();
        let live = self.inner.state.lock().await.registry.connections.clone();
        let names: HashSet<&str> = live.iter().map(|one| one.name.as_str()).collect();
        for lane in self.lanes().await {
            let unsure = |result: &str| result == "indeterminate" || result == "resent";
            let unsure = lane.attempts.iter().filter(|(result, _)| unsure(result));
            balance.indeterminate += unsure.map(|(_, count)| *count).sum::<u64>();
            if !names.contains(lane.connection.as_str()) {
                continue;
            }
            balance.lanes += 1;
            balance.accepted += lane.accepted;
            balance.pending += lane.pending;
            balance.counts.delivered += lane.counts.delivered;
            balance.counts.rejected += lane.counts.rejected;
            balance.counts.expired += lane.counts.expired;
            for (sum, one) in balance.counts.filtered.iter_mut().zip(lane.counts.filtered) {
                *sum += one;
            }
            if lane.counts.settled() > lane.accepted {
                balance.wrong.push(lane.connection);
            }
        }
        balance
    }

    /// Starts nothing new, lets attempts under way finish within `deadline`, saves everything,
    /// and ends. Lanes cannot be asked afterwards.
    pub async fn shutdown(self, deadline: Duration) {
        let inner = &self.inner;
        let retention = lock(&inner.retention).take();
        let mut waits = Vec::new();
        for shard in &inner.shards {
            let (done, drained) = oneshot::channel();
            if shard
                .send(Command::Drain {
                    within: deadline,
                    done,
                })
                .await
                .is_ok()
            {
                waits.push(drained);
            }
        }
        for drained in waits {
            // A shard that is gone has nothing left to drain.
            let _ = drained.await;
        }
        let threads: Vec<_> = inner
            .shards
            .iter()
            .filter_map(|shard| lock(&shard.thread).take())
            .collect();
        let ended = blocking(move || {
            retention.into_iter().for_each(Retention::end);
            for thread in threads {
                if thread.join().is_err() {
                    tracing::error!("a shard's thread panicked");
                }
            }
            Ok(())
        });
        if let Err(error) = ended.await {
            tracing::error!(%error, "waiting for the shards failed");
        }
    }

    async fn connection(&self, name: &str) -> Result<ConnectionId, Error> {
        let state = self.inner.state.lock().await;
        let connection = state.registry.connection_named(name);
        connection
            .map(|one| one.id)
            .ok_or_else(|| Error::NoSuchConnection(name.to_owned()))
    }

    fn shard(&self, connection: ConnectionId) -> Result<&Handle, Error> {
        let shards = &self.inner.shards;
        shards
            .get(shard_of(connection, shards.len()))
            .ok_or(Error::Ended)
    }
}

/// How soon it is seen that a shard has ended.
const LOOK_AT_SHARDS_EVERY: Duration = Duration::from_secs(1);

/// How long the answer to a hold or a resume waits for the store, which may have a full disk.
const STEER_SAVED_MAX: Duration = Duration::from_secs(2);

/// The connection's name in that of one of its lanes, which may be `crm (replay 2)`.
fn connection_in(name: &str) -> &str {
    name.split_once(" (")
        .map_or(name, |(connection, _)| connection)
}

impl Handle {
    async fn send(&self, command: Command) -> Result<(), Error> {
        self.commands.send(command).await.map_err(|_| Error::Ended)
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<T>) -> Command,
    ) -> Result<T, Error> {
        let (reply, answer) = oneshot::channel();
        self.send(command(reply)).await?;
        answer.await.map_err(|_| Error::Ended)
    }
}

/// Which shard serves a connection's lanes: all of them, for their connections and caches.
fn shard_of(connection: ConnectionId, shards: usize) -> usize {
    usize::try_from(connection.0).unwrap_or(0) % shards.max(1)
}

fn problems(plans: &Plans) -> Vec<(String, String)> {
    let problem = |plan: &Arc<crate::plan::Plan>| {
        let problem = plan.definition.as_ref().err()?.clone();
        Some((plan.connection.name.to_string(), problem))
    };
    let mut problems: Vec<_> = plans.values().filter_map(problem).collect();
    problems.sort_unstable();
    problems
}

/// Runs what blocks on a thread that may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Error::Ended)?
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
