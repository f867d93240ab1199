//! Hot reload: a changed configuration, program or overlay takes effect by itself, after it was
//! checked; a bad one changes nothing and is said to be bad, with its line.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use admin::control::ReloadReport;
use anyhow::Context as _;
use ingest::SourceTable;
use model::{Connection, Destination, Name, Registry, Source};
use notify::{RecursiveMode, Watcher as _};
use tokio::sync::mpsc;

use crate::config::File;
use crate::serve::{Parts, load, registry_of};

/// Editors write a file in several steps: wait until it has been quiet for so long.
const QUIET: Duration = Duration::from_millis(200);

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
        }
        while tokio::time::timeout(QUIET, changes.recv())
            .await
            .is_ok_and(|more| more.is_some())
        {}
        match reload(&parts).await {
            Ok(report) if report == ReloadReport::default() => {}
            Ok(report) => tracing::info!(
                added = ?report.connections_added,
                changed = ?report.connections_changed,
                removed = ?report.connections_removed,
                restart_needed = ?report.restart_needed,
                "the configuration was reloaded"
            ),
            Err(error) => {
                tracing::error!("the configuration is not taken, the old one stays: {error:#}");
            }
        }
    }
}

/// Reads everything again and brings it into force.
///
/// # Errors
/// What is wrong with it. Nothing has changed then.
pub async fn reload(parts: &Parts) -> anyhow::Result<ReloadReport> {
    let result = take_over(parts).await;
    let error = result.as_ref().err().map(|error| format!("{error:#}"));
    parts.reload_error.store(error.map(Arc::new));
    result
}

async fn take_over(parts: &Parts) -> anyhow::Result<ReloadReport> {
    let mut in_force = parts.config.lock().await;
    let file = File::read(&parts.config_path)?;
    let (config, catalog) = load(&file, Some(&parts.store))?;
    drop(file);
    let registry = Arc::new(registry_of(&config, &parts.store)?);
    parts
        .store
        .record_registry(&registry, crate::serve::now())?;
    let old = parts.registry.load_full();
    let mut report = compare(&old, &registry);
    report.restart_needed = in_force
        .restart_needed(&config)
        .into_iter()
        .map(str::to_owned)
        .collect();
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
    *in_force = config.into_sections();
    Ok(report)
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
