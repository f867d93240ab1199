//! The registry: sources, destinations and connections in force.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::id::{ConnectionId, DestinationId, Name, SourceId};
use crate::secret::Secret;

/// Where events come from: one write key, one stream in the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Source {
    pub id: SourceId,
    pub name: Name,
    /// Public: it is in every web page. It may only append to this source. More than one while a
    /// key is being rotated.
    pub write_keys: Vec<String>,
    /// A disabled source still answers 200, and its events are counted and discarded.
    pub enabled: bool,
    /// Requests a second that this source may make; `None` for the global default.
    pub rate_limit_per_s: Option<u32>,
}

/// A configured instance of a definition.
#[derive(Clone, PartialEq)]
pub struct Destination {
    pub id: DestinationId,
    pub name: Name,
    /// The id of its definition: a folder of `destinations/`.
    pub definition: String,
    pub enabled: bool,
    /// As configured, not yet checked against the definition. May hold secrets: never shown.
    pub settings: Settings,
}

impl fmt::Debug for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Settings may hold secrets, and only the definition knows which: show names alone.
        f.debug_struct("Destination")
            .field("id", &self.id)
            .field("name", &self.name)
            .field("definition", &self.definition)
            .field("enabled", &self.enabled)
            .field("settings", &self.settings.names().collect::<Vec<_>>())
            .finish()
    }
}

/// What was set of a definition's settings, by name. A sorted list and not a map: most have one or
/// two entries, there can be 100,000 of them, and an almost empty map takes 600 bytes.
#[derive(Clone, PartialEq, Default, Deserialize)]
#[serde(from = "BTreeMap<String, Value>")]
pub struct Settings(Box<[(String, Value)]>);

impl Settings {
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        let index = self
            .0
            .binary_search_by(|(known, _)| known.as_str().cmp(name));
        self.0.get(index.ok()?).map(|(_, value)| value)
    }

    /// By ascending name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    /// Ascending.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

impl From<BTreeMap<String, Value>> for Settings {
    fn from(map: BTreeMap<String, Value>) -> Self {
        Self(map.into_iter().collect())
    }
}

/// Source -> destination, with filter and transform.
#[derive(Clone, Debug, PartialEq)]
pub struct Connection {
    pub id: ConnectionId,
    pub name: Name,
    pub source: SourceId,
    pub destination: DestinationId,
    pub enabled: bool,
    /// VRL that says whether an event is meant for this connection: true or false.
    pub filter: Option<String>,
    /// VRL that changes the event before the definition sees it.
    pub transform: Option<String>,
    /// Shared: thousands of connections often say the same.
    pub policy: Arc<Policy>,
}

/// In which order one connection's events are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ordering {
    /// As it comes: an event that fails holds up no other.
    #[default]
    None,
    /// Events of one key strictly one after the other: each when the one before it has ended.
    Key,
}

impl Ordering {
    /// As the configuration spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Key => "key",
        }
    }
}

/// What an operator may say of delivery, of one connection or of all. `None` means the default, or
/// what the definition declares. `docs/reference/configuration.md` says what each is.
#[derive(Clone, Debug, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    pub attempt_timeout_ms: Option<u64>,
    /// Events of one request, at most; only where the definition batches, as the next two.
    pub batch_events_max: Option<u32>,
    pub batch_bytes_max: Option<u64>,
    pub batch_wait_ms: Option<u64>,
    pub concurrency_init: Option<u32>,
    pub concurrency_max: Option<u32>,
    /// Requests a second.
    pub rate_limit_per_s: Option<f64>,
    /// A job that keeps failing on its own expires after this long, and its least attempts.
    pub retry_expiry_ms: Option<u64>,
    pub retry_attempts_min: Option<u32>,
    pub retry_delay_first_ms: Option<u64>,
    pub retry_delay_max_ms: Option<u64>,
    pub retry_percent: Option<u32>,
    pub recent_percent: Option<u32>,
    pub recent_age_ms: Option<u64>,
    pub poison_failures: Option<u32>,
    pub window_jobs_max: Option<u32>,
    pub window_bytes_max: Option<u64>,
    pub breaker_window_ms: Option<u64>,
    pub probe_delay_max_ms: Option<u64>,
    pub hold_probe_ms: Option<u64>,
    pub ordering: Option<Ordering>,
    /// VRL that gives an event's key. Without it: the userId, else the anonymousId.
    pub ordering_key: Option<String>,
}

impl Policy {
    /// What this one does not say, the other does.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        Self {
            attempt_timeout_ms: self.attempt_timeout_ms.or(other.attempt_timeout_ms),
            batch_events_max: self.batch_events_max.or(other.batch_events_max),
            batch_bytes_max: self.batch_bytes_max.or(other.batch_bytes_max),
            batch_wait_ms: self.batch_wait_ms.or(other.batch_wait_ms),
            concurrency_init: self.concurrency_init.or(other.concurrency_init),
            concurrency_max: self.concurrency_max.or(other.concurrency_max),
            rate_limit_per_s: self.rate_limit_per_s.or(other.rate_limit_per_s),
            retry_expiry_ms: self.retry_expiry_ms.or(other.retry_expiry_ms),
            retry_attempts_min: self.retry_attempts_min.or(other.retry_attempts_min),
            retry_delay_first_ms: self.retry_delay_first_ms.or(other.retry_delay_first_ms),
            retry_delay_max_ms: self.retry_delay_max_ms.or(other.retry_delay_max_ms),
            retry_percent: self.retry_percent.or(other.retry_percent),
            recent_percent: self.recent_percent.or(other.recent_percent),
            recent_age_ms: self.recent_age_ms.or(other.recent_age_ms),
            poison_failures: self.poison_failures.or(other.poison_failures),
            window_jobs_max: self.window_jobs_max.or(other.window_jobs_max),
            window_bytes_max: self.window_bytes_max.or(other.window_bytes_max),
            breaker_window_ms: self.breaker_window_ms.or(other.breaker_window_ms),
            probe_delay_max_ms: self.probe_delay_max_ms.or(other.probe_delay_max_ms),
            hold_probe_ms: self.hold_probe_ms.or(other.hold_probe_ms),
            ordering: self.ordering.or(other.ordering),
            ordering_key: self.ordering_key.clone().or(other.ordering_key.clone()),
        }
    }
}

/// All that is in force.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Registry {
    pub sources: Vec<Source>,
    /// Shared with the plans that are made of them, as are the connections.
    pub destinations: Vec<Arc<Destination>>,
    pub connections: Vec<Arc<Connection>>,
}

impl Registry {
    #[must_use]
    pub fn source(&self, id: SourceId) -> Option<&Source> {
        self.sources.iter().find(|source| source.id == id)
    }

    #[must_use]
    pub fn destination(&self, id: DestinationId) -> Option<&Arc<Destination>> {
        self.destinations
            .iter()
            .find(|destination| destination.id == id)
    }

    #[must_use]
    pub fn connection_named(&self, name: &str) -> Option<&Arc<Connection>> {
        self.connections
            .iter()
            .find(|connection| connection.name.as_str() == name)
    }
}

/// Settings of a destination after the definition checked them: defaults filled in, secrets apart.
#[derive(Clone, Debug, Default)]
pub struct CheckedSettings {
    /// What a program may see.
    pub values: serde_json::Map<String, serde_json::Value>,
    /// What only the placing of auth may see.
    pub secrets: BTreeMap<String, Secret>,
}
