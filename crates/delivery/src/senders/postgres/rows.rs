//! The body of a request: rows, each for a table; or a list of such lists, one for each event.
//!
//! ```json
//! [{"table": "tracks", "row": {"id": "m1", "event": "Order Completed", "received_at": "..."}},
//!  [{"table": "users", "row": {"id": "u1", "plan": "pro", "received_at": "..."},
//!    "message_id": "m2", "latest_by": "received_at"}]]
//! ```

use std::collections::BTreeMap;
use std::fmt;

use chrono::{DateTime, FixedOffset};
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::sql::{self, ID};

/// Stands for the one character that PostgreSQL has not.
const REPLACEMENT: &str = "\u{fffd}";

/// When an event came, in every row that has it: also what a discard keeps.
pub(super) const RECEIVED_AT: &str = "received_at";

/// All rows of a request, by table. In order of name: two transactions that write to the same tables
/// must not meet crosswise.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) tables: BTreeMap<String, Rows>,
}

/// The rows of one table, each id once, in order of id: for the same reason.
#[derive(Debug, Default)]
pub(super) struct Rows {
    /// The column by which a later row replaces an earlier one of its id. Without it the first
    /// stays.
    pub(super) latest_by: Option<String>,
    pub(super) rows: BTreeMap<String, Row>,
}

/// One row. Columns that it has not, or with null, are not written.
#[derive(Debug, PartialEq)]
pub(super) struct Row {
    /// Of the event: told of what is discarded.
    pub(super) message_id: String,
    pub(super) values: BTreeMap<String, Value>,
}

/// One entry of the body.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Item {
    table: String,
    row: BTreeMap<String, Value>,
    message_id: Option<String>,
    latest_by: Option<String>,
}

/// A row, or a list of rows. By hand, as serde's own way says nothing of what is wrong.
struct Items(Vec<Item>);

impl<'de> Deserialize<'de> for Items {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Items;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("{table, row} or a list of them")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Items, A::Error> {
                Item::deserialize(MapAccessDeserializer::new(map)).map(|item| Items(vec![item]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Items, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = list.next_element()? {
                    items.push(item);
                }
                Ok(Items(items))
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}

impl Batch {
    /// # Errors
    /// The body is no list of rows, or a name in it is none that PostgreSQL can have: the
    /// definition's fault.
    pub(super) fn parse(body: &[u8]) -> Result<Self, String> {
        let lists: Vec<Items> = serde_json::from_slice(body)
            .map_err(|error| format!("the body is no list of {{table, row}}: {error}"))?;
        let mut batch = Self::default();
        for item in lists.into_iter().flat_map(|list| list.0) {
            batch.add(item)?;
        }
        Ok(batch)
    }

    fn add(&mut self, item: Item) -> Result<(), String> {
        let Item {
            table,
            mut row,
            message_id,
            latest_by,
        } = item;
        for name in [&table].into_iter().chain(row.keys()) {
            if !sql::is_name(name) {
                return Err(format!(
                    "{name:?} is no name for PostgreSQL: use 1 to {} bytes, without NUL",
                    sql::NAME_BYTES_MAX
                ));
            }
        }
        row.retain(|_, value| !value.is_null());
        row.values_mut().for_each(without_nul);
        let id = match row.get(ID) {
            Some(Value::String(id)) if !id.is_empty() => id.clone(),
            _ => return Err(format!("a row of {table:?} has no id: it must be a text")),
        };
        let row = Row {
            message_id: message_id.map_or_else(|| id.clone(), clean),
            values: row,
        };
        let rows = self.tables.entry(table).or_default();
        rows.latest_by = latest_by.or_else(|| rows.latest_by.take());
        match rows.rows.entry(id) {
            std::collections::btree_map::Entry::Vacant(vacant) => {
                vacant.insert(row);
            }
            std::collections::btree_map::Entry::Occupied(mut known) => {
                if let Some(latest_by) = &rows.latest_by {
                    known.get_mut().merge(row, latest_by);
                }
            }
        }
        Ok(())
    }
}

impl Row {
    /// What the statement would do with the two of them, one after the other.
    fn merge(&mut self, other: Self, latest_by: &str) {
        let time = |row: &Self| row.values.get(latest_by).and_then(time_of);
        let is_newer = time(&other) >= time(self);
        let earlier = if is_newer {
            std::mem::replace(self, other)
        } else {
            other
        };
        // `self` is the later one now; the earlier one fills what it leaves open.
        for (name, value) in earlier.values {
            self.values.entry(name).or_insert(value);
        }
    }
}

fn time_of(value: &Value) -> Option<DateTime<FixedOffset>> {
    DateTime::parse_from_rfc3339(value.as_str()?).ok()
}

/// PostgreSQL has no NUL in texts. A row is worth more than one character of it.
fn without_nul(value: &mut Value) {
    // No recursion: lists come from outside, and may be nested as deep as the program's limits allow.
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        match value {
            Value::String(text) if text.contains('\0') => *text = text.replace('\0', REPLACEMENT),
            Value::Array(list) => open.extend(list),
            Value::Object(map) => {
                if map.keys().any(|key| key.contains('\0')) {
                    *map = std::mem::take(map)
                        .into_iter()
                        .map(|(key, value)| (clean(key), value))
                        .collect();
                }
                open.extend(map.values_mut());
            }
            _ => {}
        }
    }
}

fn clean(text: String) -> String {
    if text.contains('\0') {
        text.replace('\0', REPLACEMENT)
    } else {
        text
    }
}

#[cfg(test)]
mod tests;
