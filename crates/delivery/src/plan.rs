//! What is in force for one connection: the registry's words, checked and joined with the catalog.
//!
//! A plan never changes. A new configuration makes new plans; attempts under way keep the old one,
//! and the next attempt of the same job, a retry too, uses the new one.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use catalog::{Catalog, CheckedSettings, Compiled, Definition, OrderKey, Transformer};
use model::{
    Connection, ConnectionId, Destination, DestinationId, Ordering, Policy, Registry, SourceId,
};
use scheduler::LanePolicy;
use store::ReplayTerms;

use crate::options::{ATTEMPT_TIMEOUT_MS, Options};
use crate::senders;

/// One connection as it is to be served.
pub(crate) struct Plan {
    pub(crate) connection: Arc<Connection>,
    pub(crate) source: String,
    pub(crate) destination: Arc<Destination>,
    /// What makes its requests, or why that cannot be: shown to a person, while the lane is held.
    pub(crate) definition: Result<Arc<Definition>, String>,
    pub(crate) policy: Arc<LanePolicy>,
    pub(crate) attempt_timeout: Duration,
    /// VRL; only where events of one key go in order.
    ordering_key: Option<String>,
    /// VRL; what a replay is restricted to, beside the connection's own filter.
    replay_filter: Option<String>,
}

/// All plans by connection.
pub(crate) type Plans = HashMap<ConnectionId, Arc<Plan>>;

impl Plan {
    /// The plan of a replay that was asked for on these terms.
    pub(crate) fn on_terms(self: Arc<Self>, terms: &ReplayTerms) -> Arc<Self> {
        if *terms == ReplayTerms::default() {
            return self;
        }
        let rate = terms.rate_limit_per_s.map(f64::from);
        let policy = LanePolicy {
            rate_limit_per_s: lower(rate, self.policy.rate_limit_per_s),
            ..(*self.policy).clone()
        };
        Arc::new(Self {
            connection: Arc::clone(&self.connection),
            source: self.source.clone(),
            destination: Arc::clone(&self.destination),
            definition: self.definition.clone(),
            policy: Arc::new(policy),
            attempt_timeout: self.attempt_timeout,
            ordering_key: self.ordering_key.clone(),
            replay_filter: terms.filter.clone(),
        })
    }

    /// A plan beside any registry: for a trial.
    pub(crate) fn alone(
        source: &str,
        connection: Connection,
        destination: Destination,
        definition: Arc<Definition>,
    ) -> Self {
        Self {
            source: source.to_owned(),
            connection: Arc::new(connection),
            destination: Arc::new(destination),
            definition: Ok(definition),
            policy: Arc::new(LanePolicy::default()),
            attempt_timeout: Duration::from_millis(ATTEMPT_TIMEOUT_MS),
            ordering_key: None,
            replay_filter: None,
        }
    }

    /// Switched off by the configuration: it keeps its events and sends none.
    pub(crate) fn is_enabled(&self) -> bool {
        self.connection.enabled && self.destination.enabled
    }

    /// Whether a transformer made for `other` would do the same work.
    pub(crate) fn works_as(&self, other: &Self) -> bool {
        let same_definition = match (&self.definition, &other.definition) {
            (Ok(a), Ok(b)) => Arc::ptr_eq(a, b) || a.does_the_same(b),
            (Err(a), Err(b)) => a == b,
            _ => false,
        };
        same_definition
            && self.destination == other.destination
            && self.connection.filter == other.connection.filter
            && self.connection.transform == other.connection.transform
            && self.ordering_key == other.ordering_key
            && self.replay_filter == other.replay_filter
    }

    /// Whether its transformer is made without compiling anything.
    pub(crate) fn is_compiled(&self) -> bool {
        let transform = self.connection.transform.as_deref();
        match &self.definition {
            Ok(definition) => definition.has_compiled(self.filters(), transform),
            // There is nothing to compile.
            Err(_) => true,
        }
    }

    /// Compiles what its transformer needs, which is compiled while this is kept. May take a second.
    ///
    /// # Errors
    /// The definition, the filter or the transform is wrong.
    pub(crate) fn compile(&self) -> Result<Compiled, String> {
        let definition = self.definition.as_ref().map_err(String::clone)?;
        let compiled =
            definition.compile_with(self.filters(), self.connection.transform.as_deref());
        compiled.map_err(|error| error.to_string())
    }

    fn filters(&self) -> impl Iterator<Item = &str> {
        let filters = self.connection.filter.iter().chain(&self.replay_filter);
        filters.map(String::as_str)
    }

    /// A transformer for its events.
    ///
    /// # Errors
    /// The definition, the settings, the filter or the transform is wrong.
    pub(crate) fn transformer(&self) -> Result<Transformer, String> {
        let definition = self.definition.as_ref().map_err(String::clone)?;
        let mut transformer = Transformer::new(
            Arc::clone(definition),
            settings(&self.destination, definition)?,
            &self.destination_names(definition),
            self.connection.filter.as_deref(),
            self.connection.transform.as_deref(),
        )
        .map_err(|error| error.to_string())?;
        if let Some(filter) = &self.replay_filter {
            let restricted = transformer.restrict(filter);
            restricted.map_err(|error| error.to_string())?;
        }
        Ok(transformer)
    }

    /// What tells its events' keys.
    ///
    /// # Errors
    /// There is no definition, or the expression does not compile.
    pub(crate) fn order_key(&self) -> Result<OrderKey, String> {
        let definition = self.definition.as_ref().map_err(String::clone)?;
        OrderKey::new(definition, self.ordering_key.as_deref()).map_err(|error| error.to_string())
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
        let said = connection.policy.or(&options.policy);
        let policy = lane_policy(&said, destination, definition.as_deref().ok());
        let (policy, definition) = match policy.validate() {
            Ok(()) => (policy, definition),
            Err(error) => (
                LanePolicy::default(),
                Err(format!("the connection's policy: {error}")),
            ),
        };
        let plan = Plan {
            connection: Arc::clone(connection),
            source: source.to_owned(),
            destination: Arc::clone(destination),
            definition,
            policy: policies.share(policy),
            attempt_timeout: Duration::from_millis(
                said.attempt_timeout_ms.unwrap_or(ATTEMPT_TIMEOUT_MS),
            ),
            ordering_key: said.ordering_key,
            replay_filter: None,
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
        if let Some(refusal) = catalog.refusal(id) {
            return Err(refusal.to_string());
        }
        let hint = catalog
            .suggest(id)
            .map(|id| format!("; did you mean {id:?}?"));
        return Err(format!(
            "the catalog has no definition {id:?}{}",
            hint.unwrap_or_default()
        ));
    };
    senders::has(definition.sender()).map_err(|problem| format!("definition {id:?}: {problem}"))?;
    let checked = settings(destination, &definition)?;
    let token = definition.check_token(&checked);
    token.map_err(|problem| wrong_settings(destination, &problem.to_string()))?;
    Ok(definition)
}

/// Not kept: most lanes are idle most of the time, and checking is cheap.
fn settings(destination: &Destination, definition: &Definition) -> Result<CheckedSettings, String> {
    definition
        .check_settings(&destination.settings)
        .map_err(|problems| {
            let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
            wrong_settings(destination, &shown.join("; "))
        })
}

fn wrong_settings(destination: &Destination, problems: &str) -> String {
    format!("settings of destination {}: {problems}", destination.name)
}

/// What a connection's policy, with the defaults of its definition, means to its lane.
fn lane_policy(
    said: &Policy,
    destination: &Destination,
    definition: Option<&Definition>,
) -> LanePolicy {
    let default = LanePolicy::default();
    let us =
        |ms: Option<u64>, default_us: u64| ms.map_or(default_us, |ms| ms.saturating_mul(1_000));
    let expiry_ms = said.retry_expiry_ms;
    let expiry_ms = expiry_ms.or(definition.map(Definition::retry_expiry_ms));
    let rate = said.rate_limit_per_s;
    let concurrency_max = said.concurrency_max.unwrap_or(default.concurrency_max);
    let concurrency_init = said.concurrency_init.unwrap_or(default.concurrency_init);
    let window_jobs_max = said.window_jobs_max.unwrap_or(default.window_jobs_max);
    let window_bytes_max = said.window_bytes_max.unwrap_or(default.window_bytes_max);
    let policy = LanePolicy {
        concurrency_max,
        concurrency_init: concurrency_init.min(concurrency_max),
        rate_limit_per_s: lower(rate, definition.and_then(Definition::rate_limit_per_s)),
        expiry_us: us(expiry_ms, default.expiry_us),
        attempts_min: said.retry_attempts_min.unwrap_or(default.attempts_min),
        backoff_first_us: us(said.retry_delay_first_ms, default.backoff_first_us),
        backoff_us_max: us(said.retry_delay_max_ms, default.backoff_us_max),
        retry_percent: said.retry_percent.unwrap_or(default.retry_percent),
        recent_percent: said.recent_percent.unwrap_or(default.recent_percent),
        recent_us: us(said.recent_age_ms, default.recent_us),
        ordered: said.ordering == Some(Ordering::Key),
        poison_failures: said.poison_failures.unwrap_or(default.poison_failures),
        window_jobs_max,
        window_bytes_max,
        breaker_window_us: us(said.breaker_window_ms, default.breaker_window_us),
        probe_us_max: us(said.probe_delay_max_ms, default.probe_us_max),
        hold_probe_us: us(said.hold_probe_ms, default.hold_probe_us),
        ..default
    };
    let batch = definition.and_then(|definition| definition.batch(&destination.settings));
    let Some(limits) = batch else {
        return LanePolicy {
            batch_bytes_max: policy.batch_bytes_max.min(window_bytes_max),
            ..policy
        };
    };
    // An operator narrows what the service declares, and never widens it.
    let events = said.batch_events_max.unwrap_or(limits.events_max);
    let bytes = said.batch_bytes_max.unwrap_or(limits.bytes_max);
    LanePolicy {
        batch_events_max: events.min(limits.events_max).min(window_jobs_max),
        batch_bytes_max: bytes.min(limits.bytes_max).min(window_bytes_max),
        batch_wait_us: us(said.batch_wait_ms.or(Some(limits.wait_ms)), 0),
        ..policy
    }
}

fn lower(one: Option<f64>, other: Option<f64>) -> Option<f64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests;
