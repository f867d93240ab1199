//! `fairlane serve` and `fairlane check`: the parts put together, started, and stopped in order.
//!
//! ```text
//!   start:  store -> configuration -> catalog -> log -> delivery -> ingest -> management
//!   stop:   ingest (answers all it took) and delivery (finishes what flies) -> management -> log
//! ```

pub mod apart;
mod descriptors;
mod options;
mod signals;
mod vetting;

use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use admin::Admin;
use admin::control::BalanceSheet;
use anyhow::{Context as _, bail};
use arc_swap::{ArcSwap, ArcSwapOption};
use catalog::Catalog;
use catalog::definition::Folder;
use delivery::Delivery;
use eventlog::EventLog;
use ingest::{Ingest, SourceTable};
use model::lane::LaneStatus;
use model::{Registry, UnixMillis};
use serde_json::json;
use store::Store;

use self::descriptors::Shares;
use self::options::existing_store;
pub use self::options::{open_store, registry as registry_of};
pub use self::signals::StopSignals;
pub use self::vetting::Moment;
use self::vetting::vet;
use crate::allocator;
use crate::cli::{CheckArgs, ConfigArgs};
use crate::config::{Config, File, Problems, process_environment};
use crate::control::Steering;
use crate::reload::{Watch, refused_in_use, told};

/// What standard output says before the address where events are taken; tests and the benchmark
/// read the address behind it.
pub const EVENTS_AT: &str = "events at http://";
/// The same for the management API.
pub const MANAGEMENT_AT: &str = "management at http://";
/// Exit code after a disk failed, so that nothing can be made durable any more.
pub const DISK_FAILED: i32 = 4;

/// Everything that runs. Cheap to share; the parts end with [`App::stop`].
pub struct App {
    pub parts: Arc<Parts>,
    ingest: Ingest,
    admin: Admin,
    drain_timeout: Duration,
}

/// What the management API and a reload work with.
pub struct Parts {
    pub config_path: PathBuf,
    pub log: EventLog,
    pub store: Store,
    pub catalog: Arc<ArcSwap<Catalog>>,
    pub delivery: Delivery,
    pub sources: Arc<ArcSwap<SourceTable>>,
    pub registry: ArcSwap<Registry>,
    pub started_at: UnixMillis,
    /// The sections that this process was started with, to tell what a reload cannot change; held
    /// while one runs, so that there is one at a time. The lists are the registry's, and empty here.
    pub config: tokio::sync::Mutex<Config>,
    /// What a change would be seen in: the configuration, its programs, the overlay.
    pub watched: ArcSwap<Vec<PathBuf>>,
    /// Why the last reload was refused, or a part of it; none after one that was not.
    pub reload_error: ArcSwapOption<String>,
}

/// Serves until a signal asks it to stop. A second one ends the process at once.
pub async fn run(args: &ConfigArgs) -> anyhow::Result<()> {
    let app = App::start(&args.config).await?;
    // Before anybody can know that it runs: from here on it always stops in order.
    let mut signals = StopSignals::listen().context("cannot listen for signals")?;
    // Nobody has to read it.
    let _ = writeln!(
        std::io::stdout(),
        "Fairlane {} takes {EVENTS_AT}{}\n{MANAGEMENT_AT}{}",
        env!("CARGO_PKG_VERSION"),
        app.events_address(),
        app.management_address()
    );
    let watch = Watch::start(Arc::clone(&app.parts)).await?;
    let failed = tokio::select! {
        () = signals.next() => false,
        () = app.parts.delivery.failed() => true,
        never = allocator::give_back_for_ever() => match never {},
    };
    tracing::info!("stopping: no new requests; what is in flight is finished");
    signals.end_at_next();
    drop(watch);
    app.stop().await;
    tracing::info!("stopped");
    if failed {
        bail!(
            "a thread of delivery has ended by a fault of Fairlane's own, told above: start it again, \
             all that was accepted is in the log"
        );
    }
    Ok(())
}

/// `fairlane check`: everything that `serve` would refuse, without starting anything.
pub fn check(args: &CheckArgs) -> anyhow::Result<()> {
    let path = &args.config.config;
    let checked = checked(path);
    if let (true, Err(error)) = (args.json, &checked) {
        println!("{}", json!({"ok": false, "problems": problems_of(error)}));
    }
    let config = checked?;
    if args.json {
        let report = json!({
            "ok": true, "sources": config.sources.len(),
            "destinations": config.destinations.len(), "connections": config.connections.len(),
        });
        println!("{report}");
    } else {
        println!(
            "{} is good: {} sources, {} destinations, {} connections",
            path.display(),
            config.sources.len(),
            config.destinations.len(),
            config.connections.len()
        );
    }
    Ok(())
}

fn checked(path: &Path) -> anyhow::Result<Config> {
    let file = File::read(path)?;
    let (config, _) = load(&file, existing_store(&file)?.as_ref(), Moment::Check)?;
    Ok(config)
}

/// What is wrong, for a program that shows it: a line where it is known.
fn problems_of(error: &anyhow::Error) -> Vec<serde_json::Value> {
    if let Some(problems) = error.downcast_ref::<Problems>() {
        let shown = problems.list.iter();
        return shown
            .map(|one| json!({"place": one.place, "line": one.line, "message": one.message}))
            .collect();
    }
    let text = format!("{error:#}");
    // `fairlane.toml:12: what is wrong`
    let line = |text: &str| text.split(':').nth(1)?.parse::<usize>().ok();
    text.lines()
        .map(|text| json!({"line": line(text), "message": text}))
        .collect()
}

/// Reads the configuration with the secrets that the store holds, and the catalog that it names,
/// and holds one against the other.
///
/// # Errors
/// Everything that is wrong with them.
pub fn load(
    file: &File,
    store: Option<&Store>,
    moment: Moment<'_>,
) -> anyhow::Result<(Config, Catalog)> {
    let secret = |name: &str| store?.get_secret(name).ok().flatten();
    let config = file.config(&process_environment(), &secret)?;
    let mut catalog = load_catalog(file.path(), &config)?;
    vet(file.path(), &config, &mut catalog, moment, &apart::vet)?;
    for (id, error) in catalog.refused() {
        let used = config.destinations.iter().any(|one| one.definition == id);
        if catalog.get(id).is_some() {
            tracing::error!("definition {id} is refused, its last good version stays: {error}");
        } else if used {
            tracing::error!(
                "definition {id} is refused, its destinations' lanes are held: {error}"
            );
        } else {
            tracing::warn!("no destination uses definition {id}, which is refused: {error}");
        }
    }
    Ok((config, catalog))
}

/// The embedded catalog under the configured overlay.
fn load_catalog(config_path: &Path, config: &Config) -> anyhow::Result<Catalog> {
    let catalog = Catalog::embedded()?;
    match &config.catalog.overlay_dir {
        None => Ok(catalog),
        Some(dir) => {
            let mut found = Folder::find_all(&options::beside(config_path, dir))?;
            apart::vet_folders(&mut found)?;
            Ok(catalog.with_folders(found))
        }
    }
}

impl App {
    /// Starts all parts; on return events are taken and delivered.
    ///
    /// # Errors
    /// Anything that keeps a part from working; the text says what to do. What had been started is
    /// stopped again as the process ends.
    pub async fn start(config_path: &Path) -> anyhow::Result<Self> {
        let started_at = now();
        // Nothing is made for a configuration that is wrong.
        let file = File::read(config_path)?;
        let store = existing_store(&file)?;
        let was_used = |id: &str| {
            let before = store.as_ref().map(Store::recorded_registry);
            before.is_some_and(|before| {
                before.is_ok_and(|before| {
                    let mut used = before.destinations.iter();
                    used.any(|one| one.item.definition == id)
                })
            })
        };
        let (config, catalog) = load(&file, store.as_ref(), Moment::Start(&was_used))?;
        let store = store.map_or_else(|| open_store(&file), Ok)?;
        allocator::give_back_at_once();
        drop(file); // a large one takes more memory than all that follows
        let registry = Arc::new(options::registry(&config, &store)?);
        store.record_registry(&registry, started_at)?;
        store.set_dead_letters_bytes_max(config.delivery.dead_letters_bytes_max);
        // The ports first: what is taken should be known before anything is written.
        let events = listen(config.server.listen, "listen")?;
        let management = listen(config.server.admin_listen, "admin_listen")?;
        let opened = EventLog::open(options::log(config_path, &config, &store)?, started_at)?;
        options::report_recovery(&opened.recovery);
        let log = opened.log;
        let shares = Shares::claim();
        shares.report(config.ingest.connections_max, config.delivery.in_flight_max);
        let catalog = Arc::new(ArcSwap::from_pointee(catalog));
        let delivery = delivery::start(
            options::delivery(config_path, &config, shares),
            log.clone(),
            store.clone(),
            Arc::clone(&catalog),
            Arc::clone(&registry),
        )?;
        let sources = Arc::new(ArcSwap::from_pointee(SourceTable::from_registry(&registry)));
        let ingest = ingest::start(
            options::ingest(&config, shares),
            events,
            log.clone(),
            Arc::clone(&sources),
            ingest::system_clock(),
        )?;
        let refused = told(&refused_in_use(&catalog.load(), &registry));
        let drain_timeout = Duration::from_millis(config.delivery.drain_timeout_ms);
        let admin_options = options::admin(&config);
        let parts = Arc::new(Parts {
            config_path: config_path.to_owned(),
            log,
            store,
            catalog,
            delivery,
            sources,
            registry: ArcSwap::from(registry),
            started_at,
            watched: ArcSwap::from_pointee(config.files(config_path)),
            config: tokio::sync::Mutex::new(config.into_sections()),
            reload_error: ArcSwapOption::from_pointee(refused),
        });
        let steering = Arc::new(Steering::new(Arc::clone(&parts), ingest.clone()));
        let admin = admin::start(admin_options, management, steering)?;
        allocator::give_back_later();
        ingest.set_ready(true);
        Ok(Self {
            parts,
            ingest,
            admin,
            drain_timeout,
        })
    }

    pub fn events_address(&self) -> SocketAddr {
        self.ingest.local_addr()
    }

    pub fn management_address(&self) -> SocketAddr {
        self.admin.local_addr()
    }

    pub async fn lanes(&self) -> Vec<LaneStatus> {
        self.parts.delivery.lanes().await
    }

    pub async fn balance(&self) -> BalanceSheet {
        self.parts.balance(&self.lanes().await)
    }

    /// Takes no more events, answers what was taken, finishes what is in flight within the drain
    /// timeout, and saves everything.
    pub async fn stop(self) {
        let (ingest, timeout) = (self.ingest, self.drain_timeout);
        // Together, so that a slow client and a slow destination do not add up: what is accepted
        // meanwhile stays in the log for the next start.
        let delivery = self.parts.delivery.clone();
        tokio::join!(ingest.shutdown(timeout), delivery.shutdown(timeout));
        let admin = self.admin;
        wait(move || admin.shutdown()).await;
        let log = self.parts.log.clone();
        wait(move || log.close()).await;
    }
}

impl Parts {
    /// The books over all live lanes.
    pub fn balance(&self, lanes: &[LaneStatus]) -> BalanceSheet {
        let registry = self.registry.load();
        let live = lanes
            .iter()
            .filter(|lane| registry.connection_named(&lane.connection).is_some());
        let accepted = registry
            .sources
            .iter()
            .map(|source| self.log.stream_count(source.id))
            .sum();
        BalanceSheet::of(accepted, live)
    }
}

/// Runs what blocks beside the runtime.
async fn wait(work: impl FnOnce() + Send + 'static) {
    if tokio::task::spawn_blocking(work).await.is_err() {
        tracing::error!("a part panicked while it was stopped");
    }
}

fn listen(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).with_context(|| {
        format!("cannot listen on {address}: set another address for {key} under [server]")
    })
}

/// The wall clock.
pub fn now() -> UnixMillis {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    UnixMillis(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A time as people and JSON write it.
pub fn rfc3339(time: UnixMillis) -> String {
    i64::try_from(time.0)
        .ok()
        .and_then(chrono::DateTime::from_timestamp_millis)
        .map_or_else(
            || "-".to_owned(),
            |time| time.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        )
}
