//! What is in force for one connection: the registry's words, checked and joined with the catalog.
//!
//! A plan never changes. A new configuration makes new plans; attempts under way keep the old one,
//! and the next attempt of the same job, a retry too, uses the new one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use catalog::{Catalog, CheckedSettings, Definition, Transformer};
use model::{Connection, ConnectionId, Destination, DestinationId, Registry, SourceId};
use scheduler::LanePolicy;

use crate::options::Options;

/// One connection as it is to be served.
pub(crate) struct Plan {
    pub(crate) connection: Arc<Connection>,
    pub(crate) source: String,
    pub(crate) destination: Arc<Destination>,
    /// What makes its requests, or why that cannot be: shown to a person, while the lane is held.
    pub(crate) definition: Result<Arc<Definition>, String>,
    pub(crate) policy: Arc<LanePolicy>,
    pub(crate) attempt_timeout: Duration,
}

/// All plans by connection.
pub(crate) type Plans = HashMap<ConnectionId, Arc<Plan>>;

impl Plan {
    /// Switched off by the configuration: it keeps its events and sends none.
    pub(crate) fn is_enabled(&self) -> bool {
        self.connection.enabled && self.destination.enabled
    }

    /// Whether a transformer made for `other` would do the same work.
    pub(crate) fn works_as(&self, other: &Self) -> bool {
        let same_definition = match (&self.definition, &other.definition) {
            (Ok(a), Ok(b)) => Arc::ptr_eq(a, b),
            (Err(a), Err(b)) => a == b,
            _ => false,
        };
        same_definition
            && self.destination == other.destination
            && self.connection.filter == other.connection.filter
            && self.connection.transform == other.connection.transform
    }

    /// A transformer for its events.
    ///
    /// # Errors
    /// The definition, the settings, the filter or the transform is wrong.
    pub(crate) fn transformer(&self) -> Result<Transformer, String> {
        let definition = self.definition.as_ref().map_err(String::clone)?;
        Transformer::new(
            Arc::clone(definition),
            settings(&self.destination, definition)?,
            &self.destination_names(definition),
            self.connection.filter.as_deref(),
            self.connection.transform.as_deref(),
        )
        .map_err(|error| error.to_string())
    }

    /// The names by which an event's `integrations` object may switch the destination.
    fn destination_names(&self, definition: &Definition) -> Vec<String> {
        vec![
            definition.name().to_owned(),
            definition.id().to_owned(),
            self.destination.name.as_str().to_owned(),
        ]
    }
}

/// The plans of all connections of a registry. Settings are checked once for each destination.
pub(crate) fn plans(registry: &Registry, catalog: &Catalog, options: &Options) -> Plans {
    let sources: HashMap<SourceId, &str> = registry
        .sources
        .iter()
        .map(|source| (source.id, source.name.as_str()))
        .collect();
    let defined = |one: &Arc<Destination>| (Arc::clone(one), definition(one, catalog));
    let destinations: HashMap<DestinationId, _> = registry
        .destinations
        .iter()
        .map(|one| (one.id, defined(one)))
        .collect();
    let mut policies = Policies::default();
    let mut plans = HashMap::with_capacity(registry.connections.len());
    for connection in &registry.connections {
        let Some((destination, definition)) = destinations.get(&connection.destination) else {
            // The configuration was checked before: this connection crossed with a removal.
            tracing::error!(connection = %connection.name, "its destination does not exist");
            continue;
        };
        let source = sources.get(&connection.source).copied().unwrap_or_default();
        let definition = definition.clone();
        let policy = lane_policy(connection, destination, &definition, options);
        let (policy, definition) = match policy.validate() {
            Ok(()) => (policy, definition),
            Err(error) => (
                LanePolicy::default(),
                Err(format!("the connection's policy: {error}")),
            ),
        };
        let timeout_ms = connection.policy.attempt_timeout_ms;
        let plan = Plan {
            connection: Arc::clone(connection),
            source: source.to_owned(),
            destination: Arc::clone(destination),
            definition,
            policy: policies.share(policy),
            attempt_timeout: Duration::from_millis(
                timeout_ms.unwrap_or(options.attempt_timeout_ms),
            ),
        };
        plans.insert(connection.id, Arc::new(plan));
    }
    plans
}

/// The policies that lanes were last given: equal ones share one copy.
#[derive(Default)]
struct Policies(Vec<Arc<LanePolicy>>);

impl Policies {
    /// Distinct ones that are remembered.
    const MAX: usize = 8;

    fn share(&mut self, policy: LanePolicy) -> Arc<LanePolicy> {
        if let Some(known) = self.0.iter().find(|known| ***known == policy) {
            return Arc::clone(known);
        }
        let shared = Arc::new(policy);
        if self.0.len() == Self::MAX {
            self.0.remove(0);
        }
        self.0.push(Arc::clone(&shared));
        shared
    }
}

/// The destination's definition, if it fits its settings.
fn definition(destination: &Destination, catalog: &Catalog) -> Result<Arc<Definition>, String> {
    let id = &destination.definition;
    let Some(definition) = catalog.get(id) else {
        let hint = catalog
            .suggest(id)
            .map(|id| format!("; did you mean {id:?}?"));
        return Err(format!(
            "the catalog has no definition {id:?}{}",
            hint.unwrap_or_default()
        ));
    };
    settings(destination, &definition)?;
    Ok(definition)
}

/// Not kept: most lanes are idle most of the time, and checking is cheap.
fn settings(destination: &Destination, definition: &Definition) -> Result<CheckedSettings, String> {
    definition
        .check_settings(&destination.settings)
        .map_err(|problems| {
            let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
            format!(
                "settings of destination {:?}: {}",
                destination.name,
                shown.join("; ")
            )
        })
}

fn lane_policy(
    connection: &Connection,
    destination: &Destination,
    definition: &Result<Arc<Definition>, String>,
    options: &Options,
) -> LanePolicy {
    let policy = &connection.policy;
    let definition = definition.as_deref().ok();
    let default = LanePolicy::default();
    let batch = definition.and_then(|definition| definition.batch(&destination.settings));
    let expiry_ms = policy
        .retry_expiry_ms
        .or(definition.map(Definition::retry_expiry_ms));
    let rate = policy
        .rate_limit_per_s
        .or(definition.and_then(Definition::rate_limit_per_s));
    let concurrency_max = policy
        .concurrency_max
        .unwrap_or(default.concurrency_max)
        .min(options.connections_per_lane_max);
    LanePolicy {
        batch_events_max: batch.map_or(1, |limits| {
            policy
                .batch_events_max
                .unwrap_or(limits.events_max)
                .min(limits.events_max)
                .min(options.window_jobs_max)
        }),
        batch_bytes_max: batch
            .map_or(default.batch_bytes_max, |limits| limits.bytes_max)
            .min(default.window_bytes_max),
        batch_wait_us: batch.map_or(0, |limits| limits.wait_ms.saturating_mul(1_000)),
        concurrency_max,
        window_jobs_max: options.window_jobs_max,
        concurrency_init: default.concurrency_init.min(concurrency_max),
        rate_limit_per_s: rate,
        expiry_us: expiry_ms.map_or(default.expiry_us, |ms| ms.saturating_mul(1_000)),
        ..default
    }
}

#[cfg(test)]
mod tests;
