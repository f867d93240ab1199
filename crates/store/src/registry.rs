//! The registry as it was in force: for status, and for the names of what was removed since.
//! Settings are sealed, each in its place; those of a removed destination are forgotten.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use model::{
    Connection, ConnectionId, Destination, DestinationId, Name, Policy, Registry, Settings, Source,
    SourceId, UnixMillis,
};
use rusqlite::types::Type;
use rusqlite::{Connection as Database, params};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::names::NameKind;
use crate::number::{from_sql, to_sql, u64_at};
use crate::seal::{Place, Sealer};

/// Something that is or was in force.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded<T> {
    pub item: T,
    /// When this form of it was first in force.
    pub recorded_at: UnixMillis,
    /// Since when it is no longer there.
    pub removed_at: Option<UnixMillis>,
}

/// All that ever was in force, in its last form.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct RecordedRegistry {
    pub sources: Vec<Recorded<Source>>,
    pub destinations: Vec<Recorded<Destination>>,
    pub connections: Vec<Recorded<Connection>>,
}

#[derive(Serialize, Deserialize)]
struct SourceBody {
    write_keys: Vec<String>,
    enabled: bool,
    rate_limit_per_s: Option<u32>,
}

#[derive(Serialize, Deserialize)]
struct DestinationBody {
    definition: String,
    enabled: bool,
}

#[derive(Serialize, Deserialize)]
struct ConnectionBody {
    source: SourceId,
    destination: DestinationId,
    enabled: bool,
    filter: Option<String>,
    transform: Option<String>,
    #[serde(flatten)]
    policy: Policy,
}

/// Records what is in force from `now` on. What has not changed is not written again.
pub(crate) fn record(
    tx: &Database,
    sealer: &Sealer,
    registry: &Registry,
    now: UnixMillis,
) -> Result<(), Error> {
    let sources = registry.sources.iter().map(|source| {
        let body = SourceBody {
            write_keys: source.write_keys.clone(),
            enabled: source.enabled,
            rate_limit_per_s: source.rate_limit_per_s,
        };
        (source.id.0, &source.name, json(&body))
    });
    record_kind(tx, NameKind::Source, sources, now)?;
    let destinations = registry.destinations.iter().map(|destination| {
        let body = DestinationBody {
            definition: destination.definition.clone(),
            enabled: destination.enabled,
        };
        (destination.id.0, &destination.name, json(&body))
    });
    record_kind(tx, NameKind::Destination, destinations, now)?;
    let connections = registry.connections.iter().map(|connection| {
        let body = ConnectionBody {
            source: connection.source,
            destination: connection.destination,
            enabled: connection.enabled,
            filter: connection.filter.clone(),
            transform: connection.transform.clone(),
            policy: Policy::clone(&connection.policy),
        };
        (connection.id.0, &connection.name, json(&body))
    });
    record_kind(tx, NameKind::Connection, connections, now)?;
    record_settings(tx, sealer, &registry.destinations)
}

/// All that was ever recorded, with the settings of destinations that are not removed.
pub(crate) fn recorded(connection: &Database, sealer: &Sealer) -> Result<RecordedRegistry, Error> {
    let mut registry = RecordedRegistry::default();
    for (id, name, body, times) in rows(connection, NameKind::Source)? {
        let body: SourceBody = parsed(&body)?;
        registry.sources.push(times.of(Source {
            id: SourceId(id),
            name,
            write_keys: body.write_keys,
            enabled: body.enabled,
            rate_limit_per_s: body.rate_limit_per_s,
        }));
    }
    let mut settings = settings(connection, sealer)?;
    for (id, name, body, times) in rows(connection, NameKind::Destination)? {
        let body: DestinationBody = parsed(&body)?;
        registry.destinations.push(times.of(Destination {
            id: DestinationId(id),
            name,
            definition: body.definition,
            enabled: body.enabled,
            settings: settings.remove(&id).unwrap_or_default(),
        }));
    }
    for (id, name, body, times) in rows(connection, NameKind::Connection)? {
        let body: ConnectionBody = parsed(&body)?;
        registry.connections.push(times.of(Connection {
            id: ConnectionId(id),
            name,
            source: body.source,
            destination: body.destination,
            enabled: body.enabled,
            filter: body.filter,
            transform: body.transform,
            policy: Arc::new(body.policy),
        }));
    }
    Ok(registry)
}

fn record_kind<'a>(
    tx: &Database,
    kind: NameKind,
    items: impl Iterator<Item = (u32, &'a Name, String)>,
    now: UnixMillis,
) -> Result<(), Error> {
    let mut known: HashMap<u32, (String, String, bool)> = HashMap::new();
    let mut rows =
        tx.prepare_cached("SELECT id, name, body, removed_at FROM registry WHERE kind = ?1")?;
    let mut rows = rows.query([kind.code()])?;
    while let Some(row) = rows.next()? {
        let removed = row.get::<_, Option<i64>>(3)?.is_some();
        known.insert(row.get(0)?, (row.get(1)?, row.get(2)?, removed));
    }
    let mut put = tx.prepare_cached(
        "INSERT OR REPLACE INTO registry (kind, id, name, body, recorded_at, removed_at)
         VALUES (?1, ?2, ?3, ?4, ?5, NULL)",
    )?;
    for (id, name, body) in items {
        let before = known.remove(&id);
        let same =
            before.is_some_and(|(n, b, removed)| n == name.as_str() && b == body && !removed);
        if !same {
            put.execute(params![kind.code(), id, name.as_str(), body, to_sql(now.0)])?;
        }
    }
    let mut remove = tx.prepare_cached(
        "UPDATE registry SET removed_at = ?3
         WHERE kind = ?1 AND id = ?2 AND removed_at IS NULL",
    )?;
    for id in known.into_keys() {
        remove.execute(params![kind.code(), id, to_sql(now.0)])?;
    }
    Ok(())
}

fn record_settings(
    tx: &Database,
    sealer: &Sealer,
    destinations: &[Arc<Destination>],
) -> Result<(), Error> {
    // Sealed anew, the same value looks different each time: what is kept must be opened to know
    // whether it changed. What does not open any more is simply written again.
    let mut known = HashMap::new();
    let mut rows = tx.prepare_cached("SELECT destination, field, sealed FROM settings")?;
    let mut rows = rows.query([])?;
    while let Some(row) = rows.next()? {
        let key: (u32, String) = (row.get(0)?, row.get(1)?);
        known.insert(key, row.get::<_, Vec<u8>>(2)?);
    }
    let mut put = tx.prepare_cached(
        "INSERT OR REPLACE INTO settings (destination, field, sealed) VALUES (?1, ?2, ?3)",
    )?;
    for destination in destinations {
        for (field, value) in destination.settings.iter() {
            let place = place(destination.name.as_str(), field);
            let plain = value.to_string();
            let before = known.remove(&(destination.id.0, field.to_owned()));
            let before = before.and_then(|sealed| sealer.open(place, &sealed).ok());
            if before.as_deref() != Some(plain.as_bytes()) {
                let sealed = sealer.seal(place, plain.as_bytes())?;
                put.execute(params![destination.id.0, field, sealed])?;
            }
        }
    }
    let mut forget =
        tx.prepare_cached("DELETE FROM settings WHERE destination = ?1 AND field = ?2")?;
    for (destination, field) in known.into_keys() {
        forget.execute(params![destination, field])?;
    }
    Ok(())
}

fn settings(connection: &Database, sealer: &Sealer) -> Result<HashMap<u32, Settings>, Error> {
    let mut rows = connection.prepare_cached(
        "SELECT s.destination, r.name, s.field, s.sealed
         FROM settings s JOIN registry r ON r.kind = ?1 AND r.id = s.destination",
    )?;
    let mut rows = rows.query([NameKind::Destination.code()])?;
    let mut settings: HashMap<u32, BTreeMap<String, serde_json::Value>> = HashMap::new();
    while let Some(row) = rows.next()? {
        let (name, field): (String, String) = (row.get(1)?, row.get(2)?);
        let plain = sealer.open(place(&name, &field), &row.get::<_, Vec<u8>>(3)?)?;
        let value = parsed(&String::from_utf8_lossy(&plain))?;
        settings
            .entry(row.get(0)?)
            .or_default()
            .insert(field, value);
    }
    let settings = settings.into_iter();
    Ok(settings.map(|(id, fields)| (id, fields.into())).collect())
}

struct Times {
    recorded_at: UnixMillis,
    removed_at: Option<UnixMillis>,
}

impl Times {
    fn of<T>(self, item: T) -> Recorded<T> {
        Recorded {
            item,
            recorded_at: self.recorded_at,
            removed_at: self.removed_at,
        }
    }
}

fn rows(connection: &Database, kind: NameKind) -> Result<Vec<(u32, Name, String, Times)>, Error> {
    let mut rows = connection.prepare_cached(
        "SELECT id, name, body, recorded_at, removed_at FROM registry WHERE kind = ?1 ORDER BY id",
    )?;
    let rows = rows.query_map([kind.code()], |row| {
        let name = Name::new(&row.get::<_, String>(1)?).map_err(|bad| unreadable(1, bad))?;
        let removed_at: Option<i64> = row.get(4)?;
        let times = Times {
            recorded_at: UnixMillis(u64_at(row, 3)?),
            removed_at: removed_at.map(from_sql).map(UnixMillis),
        };
        Ok((row.get(0)?, name, row.get(2)?, times))
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn place<'a>(destination: &'a str, field: &'a str) -> Place<'a> {
    Place {
        kind: "setting",
        name: destination,
        field,
    }
}

fn json(body: &impl Serialize) -> String {
    serde_json::to_string(body).expect("numbers and texts only, with names for keys")
}

fn parsed<T: serde::de::DeserializeOwned>(body: &str) -> Result<T, Error> {
    // The parser's own words could quote what it read, a secret among it: give its place only.
    let at = |error: serde_json::Error| format!("no JSON as expected at byte {}", error.column());
    Ok(serde_json::from_str(body).map_err(|error| unreadable(2, at(error)))?)
}

fn unreadable(
    column: usize,
    what: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, what.into())
}
