//! Hot reload: a changed configuration, program or overlay takes effect by itself, after it was
//! checked; a bad one changes nothing and is said to be bad, with its line.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use admin::control::ReloadReport;
use anyhow::Context as _;
use catalog::Catalog;
use ingest::SourceTable;
use model::{Connection, Destination, Name, Registry, Source};
use notify::{RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use crate::config::File;
use crate::serve::{Moment, Parts, load, registry_of};

/// Editors write a file in several steps: wait until it has been quiet for so long.
const QUIET: Duration = Duration::from_millis(200);

/// The system tells of changes at once, but not of all: a link that leads elsewhere, a directory that
/// was put in another's place, or a program elsewhere is seen by looking.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Directories within the overlay that are looked into: a definition's, and those in it.
const DEPTH_MAX: usize = 4;

/// Watches the configuration and the overlay until it is dropped.
pub struct Watch {
    _watcher: notify::RecommendedWatcher,
    task: tokio::task::JoinHandle<()>,
}

impl Watch {
    /// # Errors
    /// The system does not let us watch the directory.
    pub async fn start(parts: Arc<Parts>) -> anyhow::Result<Self> {
        // One waiting signal is enough: whatever came while a reload ran is read by the next.
        let (changed, changes) = mpsc::channel(1);
        let dir = match parts.config_path.parent() {
            Some(dir) if !dir.as_os_str().is_empty() => dir.to_owned(),
            _ => PathBuf::from("."),
        };
        let dir = dir
            .canonicalize()
            .context("the configuration's directory")?;
        let overlay = parts.config.lock().await.catalog.overlay_dir.clone();
        let overlay = overlay.map(|overlay| dir.join(overlay));
        let interesting = Interesting {
            dir: dir.clone(),
            overlay: overlay.clone(),
        };
        let mut watcher =
            notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
                let touched = match event {
                    Ok(event) if event.kind.is_access() => false,
                    Ok(event) => event.paths.iter().any(|path| interesting.holds(path)),
                    // Events were lost: look.
                    Err(_) => true,
                };
                if touched {
                    // Full: somebody will look anyway.
                    let _ = changed.try_send(());
                }
            })?;
        watcher.watch(&dir, RecursiveMode::NonRecursive)?;
        if let Some(overlay) = &overlay {
            watcher.watch(overlay, RecursiveMode::Recursive)?;
        }
        let task = tokio::spawn(follow(parts, changes));
        Ok(Self {
            _watcher: watcher,
            task,
        })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// What the watched files look like now.
async fn look(parts: &Parts) -> u64 {
    let watched = parts.watched.load_full();
    let looked = tokio::task::spawn_blocking(move || {
        let mut hasher = DefaultHasher::new();
        for path in watched.iter() {
            look_at(path, DEPTH_MAX, &mut hasher);
        }
        hasher.finish()
    });
    looked.await.unwrap_or_default()
}

fn look_at(path: &Path, depth: usize, hasher: &mut DefaultHasher) {
    path.hash(hasher);
    // Of what a link leads to.
    let Ok(metadata) = fs::metadata(path) else {
        return;
    };
    if !metadata.is_dir() {
        let modified = (metadata.mtime(), metadata.mtime_nsec());
        (metadata.ino(), metadata.len(), modified).hash(hasher);
        return;
    }
    let Ok(entries) = fs::read_dir(path) else {
        return;
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort_unstable();
    for path in paths.iter().filter(|_| depth > 0) {
        look_at(path, depth - 1, hasher);
    }
}

/// Which of the touched files matter.
struct Interesting {
    dir: PathBuf,
    overlay: Option<PathBuf>,
}

impl Interesting {
    fn holds(&self, path: &Path) -> bool {
        let program_or_config = path
            .extension()
            .is_some_and(|extension| extension == "toml" || extension == "vrl");
        let beside = path.parent() == Some(&self.dir) && program_or_config;
        beside
            || self
                .overlay
                .as_ref()
                .is_some_and(|overlay| path.starts_with(overlay))
    }
}

async fn follow(parts: Arc<Parts>, mut changes: mpsc::Receiver<()>) {
    let mut hangup = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::hangup()).ok();
    let mut seen = look(&parts).await;
    loop {
        let asked = async {
            match &mut hangup {
                Some(signal) => signal.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            change = changes.recv() => if change.is_none() { return },
            _ = asked => {}
            () = tokio::time::sleep(LOOK_EVERY) => if look(&parts).await == seen { continue },
        }
        while tokio::time::timeout(QUIET, changes.recv())
            .await
            .is_ok_and(|more| more.is_some())
        {}
        let watched = parts.watched.load_full();
        seen = look(&parts).await;
        let reloaded = reload(&parts).await;
        if *parts.watched.load_full() != *watched {
            seen = look(&parts).await;
        }
        if let Err(error) = reloaded {
            tracing::error!("the configuration is not taken, the old one stays: {error:#}");
        }
    }
}

/// Reads everything again and brings it into force.
///
/// # Errors
/// What is wrong with it. Nothing has changed then.
pub async fn reload(parts: &Parts) -> anyhow::Result<ReloadReport> {
    let mut result = take_over(parts).await;
    let error = match &mut result {
        Err(error) => Some(format!("{error:#}")),
        Ok(report) => {
            report.definitions_refused =
                refused_in_use(&parts.catalog.load(), &parts.registry.load());
            told(&report.definitions_refused)
        }
    };
    let is_wrong = error.is_some();
    let was_wrong = parts.reload_error.swap(error.map(Arc::new)).is_some();
    if was_wrong && !is_wrong {
        tracing::info!("what was refused is in order again");
    }
    if let Ok(report) = &result
        && *report != ReloadReport::default()
    {
        tracing::info!(
            added = ?report.connections_added,
            changed = ?report.connections_changed,
            removed = ?report.connections_removed,
            definitions = ?report.definitions_changed,
            refused = report.definitions_refused.len(),
            restart_needed = ?report.restart_needed,
            "the configuration was reloaded"
        );
    }
    result
}

/// What a person is told of definitions that were refused.
pub fn told(refused: &[String]) -> Option<String> {
    (!refused.is_empty()).then(|| refused.join("\n"))
}

/// What is wrong with definitions that destinations use: the last good version stays in force, or
/// their lanes are held.
pub fn refused_in_use(catalog: &Catalog, registry: &Registry) -> Vec<String> {
    let is_used = |id: &str| registry.destinations.iter().any(|one| one.definition == id);
    let refused = catalog.refused().filter(|(id, _)| is_used(id));
    refused.map(|(_, error)| error.to_string()).collect()
}

async fn take_over(parts: &Parts) -> anyhow::Result<ReloadReport> {
    let started_with = parts.config.lock().await;
    let file = File::read(&parts.config_path)?;
    let in_force = parts.catalog.load_full();
    let moment = Moment::Reload(&in_force);
    let (config, catalog) = load(&file, Some(&parts.store), moment)?;
    drop(file);
    let registry = Arc::new(registry_of(&config, &parts.store)?);
    let old = parts.registry.load_full();
    if registry.sources.is_empty() && !old.sources.is_empty() {
        anyhow::bail!(
            "no source is left in it, as if it had been cut short: what waits for its connections would \
             be given up. Say `enabled = false` where that is enough, or stop the program first"
        );
    }
    parts
        .store
        .record_registry(&registry, crate::serve::now())?;
    let mut report = compare(&old, &registry);
    report.restart_needed = started_with
        .restart_needed(&config)
        .into_iter()
        .map(str::to_owned)
        .collect();
    report.definitions_changed = changed(&in_force, &catalog);
    tell_given_up(parts, &report.connections_removed).await;
    // The lanes first: an event of a new source must find its lanes when it is accepted.
    let before = parts.catalog.swap(Arc::new(catalog));
    if let Err(error) = parts.delivery.apply(Arc::clone(&registry)).await {
        parts.catalog.store(before);
        return Err(error.into());
    }
    parts
        .sources
        .store(Arc::new(SourceTable::from_registry(&registry)));
    parts.registry.store(registry);
    parts
        .watched
        .store(Arc::new(config.files(&parts.config_path)));
    Ok(report)
}

/// Says what waits for connections that are gone: it will not be delivered.
async fn tell_given_up(parts: &Parts, removed: &[String]) {
    if removed.is_empty() {
        return;
    }
    let removed: HashSet<&str> = removed.iter().map(String::as_str).collect();
    for lane in parts.delivery.lanes().await {
        if lane.pending > 0 && removed.contains(lane.connection.as_str()) {
            tracing::warn!(
                connection = %lane.connection,
                pending = lane.pending,
                "events wait for a connection that is no longer configured, and are given up: should it \
                 come back, `fairlane replay NAME --from TIME --to start` gives them to it"
            );
        }
    }
}

/// The ids of definitions that came, went, or do something else now.
fn changed(old: &Catalog, new: &Catalog) -> Vec<String> {
    let ids: BTreeSet<&str> = old.ids().chain(new.ids()).collect();
    let differs = |id: &&str| match (old.get(id), new.get(id)) {
        (Some(old), Some(new)) => !old.does_the_same(&new),
        (old, new) => old.is_some() != new.is_some(),
    };
    ids.into_iter().filter(differs).map(str::to_owned).collect()
}

fn compare(old: &Registry, new: &Registry) -> ReloadReport {
    let before = by_name(old);
    let after = by_name(new);
    let mut report = ReloadReport::default();
    for connection in &new.connections {
        let name = &connection.name;
        match before.get(name) {
            None => report.connections_added.push(name.to_string()),
            Some(all_before) if after.get(name) == Some(all_before) => {}
            Some(_) => report.connections_changed.push(name.to_string()),
        }
    }
    let removed = old.connections.iter().map(|connection| &connection.name);
    let removed = removed.filter(|name| !after.contains_key(name));
    report.connections_removed = removed.map(ToString::to_string).collect();
    report
}

/// Each connection with all that a change of it can be.
type Whole<'a> = (
    &'a Connection,
    Option<&'a Arc<Destination>>,
    Option<&'a Source>,
);

fn by_name(registry: &Registry) -> HashMap<&Name, Whole<'_>> {
    let destinations = registry.destinations.iter().map(|one| (one.id, one));
    let destinations: HashMap<_, _> = destinations.collect();
    let sources: HashMap<_, _> = registry.sources.iter().map(|one| (one.id, one)).collect();
    let mut by_name = HashMap::with_capacity(registry.connections.len());
    for connection in &registry.connections {
        let destination = destinations.get(&connection.destination).copied();
        let source = sources.get(&connection.source).copied();
        by_name.insert(&connection.name, (&**connection, destination, source));
    }
    by_name
}
