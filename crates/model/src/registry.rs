//! The registry: sources, destinations and connections in force.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::Deserialize;
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
    pub policy: Policy,
}

/// What an operator may say of one connection's delivery. `None` means the default, or what the
/// definition declares.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Policy {
    pub concurrency_max: Option<u32>,
    /// Requests a second.
    pub rate_limit_per_s: Option<f64>,
    /// A job that keeps failing on its own expires after this long (and its least attempts).
    pub retry_expiry_ms: Option<u64>,
    pub attempt_timeout_ms: Option<u64>,
    /// Events of one request, at most; only where the definition batches.
    pub batch_events_max: Option<u32>,
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
