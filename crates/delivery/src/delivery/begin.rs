//! How delivery begins: lanes as the store has them, lanes for new connections, threads.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;
use catalog::Catalog;
use eventlog::EventLog;
use model::{ConnectionId, LaneProgress, Offset, Registry, SourceId};
use store::{FinishedLane, LaneKind, LaneRow, NewLane, ReplayTerms, Store};
use tokio::runtime;
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio_rustls::TlsConnector;

use super::{COMMANDS_MAX, Delivery, Handle, Inner, State, shard_of};
use crate::clock::Clock;
use crate::error::Error;
use crate::http::dial::{Dialer, tls_connector};
use crate::http::pool::Pool;
use crate::http::resolver::Resolver;
use crate::http::send::Client;
use crate::lane::LaneSpec;
use crate::options::Options;
use crate::plan::{Plans, plans};
use crate::retention::Retention;
use crate::senders::Senders;
use crate::shard::{Parts, Shard};
use crate::tokens::Tokens;

/// Threads of one shard that read from disk and database what is not in memory.
const BLOCKING_THREADS_MAX: usize = 4;
const TICK: Duration = Duration::from_secs(1);

/// Starts delivery: every connection of `registry` has its lane at work on return. Blocks for the
/// store; must not be called on a thread of an async runtime that may not block.
///
/// # Errors
/// Options out of their range, certificates that cannot be read, the store, or threads.
pub fn start(
    options: Options,
    log: EventLog,
    store: Store,
    catalog: Arc<ArcSwap<Catalog>>,
    registry: Arc<Registry>,
) -> Result<Delivery, Error> {
    let options = Arc::new(options);
    options.scheduler_of_shard().validate()?;
    let tls = tls_connector(&options.egress).map_err(|source| Error::Certificates {
        path: options.egress.extra_ca_pem.clone().unwrap_or_default(),
        source,
    })?;
    let plans = plans(&registry, &catalog.load(), &options);
    let specs = specs(&log, &store, &plans)?;
    let redelivering: Vec<_> = store
        .dead_letter_counts()?
        .iter()
        .map(|count| count.connection)
        .collect();

    let shards = spawn(&options, &log, &store, &tls, specs, &redelivering)?;
    let weak = shards
        .iter()
        .map(|shard| shard.commands.downgrade())
        .collect();
    let interval = Duration::from_millis(options.retention_interval_ms);
    let retention = Retention::start(log.clone(), weak, interval, options.retention_age_ms)?;
    let live = plans.keys().copied().collect();
    let inner = Inner {
        options,
        log,
        store,
        catalog,
        shards,
        state: tokio::sync::Mutex::new(State {
            registry,
            live,
            last_replay: 0,
        }),
        retention: Mutex::new(Some(retention)),
    };
    Ok(Delivery {
        inner: Arc::new(inner),
    })
}

/// Starts the shards' threads, each with its part of the lanes.
fn spawn(
    options: &Arc<Options>,
    log: &EventLog,
    store: &Store,
    tls: &TlsConnector,
    specs: Vec<LaneSpec>,
    redelivering: &[ConnectionId],
) -> Result<Vec<Handle>, Error> {
    let count = options.shards.max(1);
    let mut specs_of: Vec<Vec<LaneSpec>> = (0..count).map(|_| Vec::new()).collect();
    for spec in specs {
        if let Some(specs) = specs_of.get_mut(shard_of(spec.plan.connection.id, count)) {
            specs.push(spec);
        }
    }
    let clock = Clock::start();
    let tokens = Arc::new(Tokens::new(Some(store.clone())));
    let mut shards = Vec::with_capacity(count);
    for (index, specs) in specs_of.into_iter().enumerate() {
        let (sender, commands) = mpsc::channel(COMMANDS_MAX);
        let queued = redelivering
            .iter()
            .filter(|id| shard_of(**id, count) == index)
            .copied();
        let parts = Parts {
            options: Arc::clone(options),
            log: log.clone(),
            store: store.clone(),
            growth: log.grew(),
            commands,
            tokens: Arc::clone(&tokens),
            clock,
            seed: Clock::unix().0 ^ u64::try_from(index).unwrap_or_default(),
            lanes: specs,
            queued: queued.collect(),
        };
        let thread = thread(index, parts, tls.clone())?;
        shards.push(Handle {
            commands: sender,
            thread: Mutex::new(Some(thread)),
        });
    }
    Ok(shards)
}

/// All lanes to begin with: those that the store has, and new ones for new connections.
fn specs(log: &EventLog, store: &Store, plans: &Plans) -> Result<Vec<LaneSpec>, Error> {
    let mut specs = Vec::with_capacity(plans.len());
    let mut live = HashSet::with_capacity(plans.len());
    for row in store.lanes()?.into_iter().filter(|row| !row.finished) {
        let Some(plan) = plans.get(&row.connection) else {
            // Removed from the configuration while the process was down.
            store.finish_lane(FinishedLane {
                lane: row.lane,
                at: Clock::unix(),
                cancelled: true,
            })?;
            continue;
        };
        if row.kind == LaneKind::Live {
            live.insert(row.connection);
        }
        specs.push(LaneSpec {
            plan: Arc::clone(plan),
            kind: row.kind,
            start: row.start,
            terms: asked(row.terms.clone()),
            held: row.held.clone(),
            progress: restored(row, plan.connection.source, log),
            staggered: true,
        });
    }
    let mut new: Vec<_> = plans
        .keys()
        .filter(|id| !live.contains(id))
        .copied()
        .collect();
    new.sort_unstable();
    // A lane that was lost with the database begins with the oldest record, and repeats; that of
    // a new connection begins with what comes from now on.
    let lost: HashSet<_> = store.lost_connections()?.into_iter().collect();
    let start_of = |id| {
        if lost.contains(id) {
            log.first()
        } else {
            log.end()
        }
    };
    let new: Vec<NewLane> = new
        .iter()
        .map(|id| NewLane::new(*id, LaneKind::Live, start_of(id)))
        .collect();
    for (lane, id) in new.iter().zip(store.add_lanes(&new)?) {
        let Some(plan) = plans.get(&lane.connection) else {
            continue;
        };
        specs.push(LaneSpec {
            plan: Arc::clone(plan),
            kind: LaneKind::Live,
            start: lane.start,
            terms: None,
            progress: LaneProgress::new(id, lane.start),
            held: None,
            staggered: false,
        });
    }
    Ok(specs)
}

/// Nothing, where nothing was asked for.
pub(super) fn asked(terms: ReplayTerms) -> Option<Box<ReplayTerms>> {
    (terms != ReplayTerms::default()).then(|| Box::new(terms))
}

/// The progress to go on with.
fn restored(row: LaneRow, stream: SourceId, log: &EventLog) -> LaneProgress {
    let mut progress = row.progress;
    if row.damaged && row.kind != LaneKind::Redelivery {
        // How the jobs below the cursor ended is not known any more, only that they ended. They
        // count as delivered, so that the counts balance.
        let before = |offset: Offset| log.stream_count_before(stream, offset).unwrap_or(0);
        progress.counts.delivered = before(progress.cursor).saturating_sub(before(row.start));
    }
    progress
}

fn thread(index: usize, parts: Parts, tls: TlsConnector) -> Result<JoinHandle<()>, Error> {
    let runtime = runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .build()
        .map_err(Error::Thread)?;
    std::thread::Builder::new()
        .name(format!("shard-{index}"))
        // Programs run on this thread.
        .stack_size(catalog::STACK_BYTES_MIN)
        .spawn(move || {
            let local = LocalSet::new();
            local.block_on(&runtime, async move {
                tokio::task::spawn_local(tick(parts.options.on_tick));
                let senders = senders(&parts.options, tls);
                Shard::new(parts, senders).run().await;
            });
            drop(local);
            // A read that hangs must not keep the process from ending.
            runtime.shutdown_background();
        })
        .map_err(Error::Thread)
}

/// Ends with its thread's tasks.
async fn tick(on_tick: fn()) {
    loop {
        tokio::time::sleep(TICK).await;
        on_tick();
    }
}

pub(crate) fn senders(options: &Options, tls: TlsConnector) -> Senders {
    let dialer = Dialer {
        egress: Arc::new(options.egress.clone()),
        resolver: Resolver::new(&options.resolver),
        tls,
        options: options.dial.clone(),
    };
    let pool = Pool::new(options.pool.clone());
    let http = Client {
        dialer,
        pool,
        response_bytes_max: options.response_bytes_max,
    };
    Senders::new(http, options)
}
