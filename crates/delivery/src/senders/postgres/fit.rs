//! Which columns a table lacks for its rows, and the rows as its columns take them.
//!
//! What finds no place becomes a row of the table `discards`: nothing is lost without a trace.

use std::collections::BTreeMap;

use ring::digest;
use serde_json::{Map, Value};

use super::kind::{Kind, text_of};
use super::rows::{RECEIVED_AT, Row, Rows};
use super::sql::{self, Column, ID};

/// The table of what found no place.
pub(super) const DISCARDS: &str = "discards";

/// An id longer than this is hashed: a key of PostgreSQL's index has a limit.
const ID_BYTES_MAX: usize = 512;

/// A table as the database has it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Table {
    pub(super) columns: BTreeMap<String, Kind>,
    /// A view that rows can be written to: it gets no columns.
    pub(super) is_view: bool,
}

/// Rows ready for one table.
#[derive(Debug, Default)]
pub(super) struct Fitted {
    /// Those that any of the rows has.
    pub(super) columns: Vec<Column>,
    pub(super) rows: Vec<Map<String, Value>>,
}

impl Rows {
    /// The columns that the table lacks, as far as it may have more. `table`: `None` where there is
    /// none yet; then without the id.
    pub(super) fn lacking(&self, table: Option<&Table>, columns_max: usize) -> Vec<Column> {
        if table.is_some_and(|table| table.is_view) {
            return Vec::new();
        }
        let known = table.map(|table| &table.columns);
        let mut lacking: BTreeMap<&str, Kind> = BTreeMap::new();
        for (name, value) in self.rows.values().flat_map(|row| &row.values) {
            let is_known = known.is_some_and(|columns| columns.contains_key(name));
            if is_known || name == ID || !sql::is_column_name(name) {
                continue;
            }
            if let Some(kind) = fixed(name).or_else(|| Kind::of(value)) {
                lacking
                    .entry(name)
                    .and_modify(|other| *other = other.or(kind))
                    .or_insert(kind);
            }
        }
        let mut lacking: Vec<Column> = lacking
            .into_iter()
            .map(|(name, kind)| (name.to_owned(), kind))
            .collect();
        // Where there is not room for all, what comes with every event goes last.
        lacking.sort_by_key(|(name, _)| (name != RECEIVED_AT, name.starts_with("context_")));
        let has = known.map_or(1, BTreeMap::len);
        lacking.truncate(columns_max.saturating_sub(has));
        lacking
    }

    /// The rows as the table takes them; what does not fit is added to `discards`.
    ///
    /// # Errors
    /// The table's id holds no texts: nothing can be written to it.
    pub(super) fn fit(
        self,
        name: &str,
        table: &Table,
        discards: &mut Vec<Row>,
    ) -> Result<Fitted, String> {
        let id_fits = matches!(table.columns.get(ID), Some(Kind::Text | Kind::Limited(_)));
        if !id_fits {
            return Err(format!(
                "table {name:?} has no column id of type text: rename the table, or give it one as its primary key"
            ));
        }
        let mut used: BTreeMap<String, Kind> = BTreeMap::new();
        let mut fitted = Fitted::default();
        for row in self.rows.into_values() {
            let received_at = row.values.get(RECEIVED_AT).cloned();
            let mut values = Map::new();
            for (column, value) in row.values {
                let kind = table.columns.get(&column).copied();
                match kind.unwrap_or(Kind::Other).fit(value) {
                    Ok(value) => {
                        if !used.contains_key(&column) {
                            used.insert(column.clone(), kind.unwrap_or(Kind::Other));
                        }
                        values.insert(column, value);
                    }
                    Err(value) if column == ID => {
                        return Err(format!(
                            "the id {value} does not fit the column id of table {name:?}"
                        ));
                    }
                    Err(value) => {
                        let text = text_of(value);
                        let received_at = received_at.as_ref();
                        discards.push(discard(&row.message_id, name, &column, text, received_at));
                    }
                }
            }
            fitted.rows.push(values);
        }
        fitted.columns = used.into_iter().collect();
        Ok(fitted)
    }

    /// All rows as discards: there is no table for them, and must not be one more.
    pub(super) fn discard_all(self, name: &str, discards: &mut Vec<Row>) {
        for row in self.rows.into_values() {
            let received_at = row.values.get(RECEIVED_AT).cloned();
            let all = Value::Object(row.values.into_iter().collect()).to_string();
            discards.push(discard(
                &row.message_id,
                name,
                "",
                all,
                received_at.as_ref(),
            ));
        }
    }
}

/// Of a column that every event brings, the type: no event chooses it by what stands in it.
fn fixed(column: &str) -> Option<Kind> {
    match column {
        RECEIVED_AT | "sent_at" | "original_timestamp" | "timestamp" => Some(Kind::Timestamp),
        "user_id" | "anonymous_id" => Some(Kind::Text),
        _ => None,
    }
}

/// `column` is "" where `value` is a whole row. The same value is the same row of `discards`,
/// however often it is tried.
fn discard(
    message_id: &str,
    table: &str,
    column: &str,
    value: String,
    received_at: Option<&Value>,
) -> Row {
    let id = short(format!("{message_id}/{table}/{column}"));
    let mut values = BTreeMap::from([
        (ID.to_owned(), Value::String(id)),
        ("message_id".to_owned(), Value::from(message_id)),
        ("table_name".to_owned(), Value::from(table)),
        ("column_value".to_owned(), Value::String(value)),
    ]);
    if !column.is_empty() {
        values.insert("column_name".to_owned(), Value::from(column));
    }
    if let Some(received_at) = received_at {
        values.insert(RECEIVED_AT.to_owned(), received_at.clone());
    }
    Row {
        message_id: message_id.to_owned(),
        values,
    }
}

/// A row of discards that a definition made itself, with a key that surely fits.
pub(super) fn given(mut row: Row) -> Row {
    if let Some(Value::String(id)) = row.values.get_mut(ID) {
        *id = short(std::mem::take(id));
    }
    row
}

fn short(id: String) -> String {
    if id.len() <= ID_BYTES_MAX {
        return id;
    }
    let hash = digest::digest(&digest::SHA256, id.as_bytes());
    let hex = hash.as_ref().iter().map(|byte| format!("{byte:02x}"));
    hex.collect()
}

/// What the table of discards is made with: a value may look like a time, its column is text.
pub(super) fn discard_columns() -> Vec<Column> {
    let mut columns: Vec<Column> = ["message_id", "table_name", "column_name", "column_value"]
        .map(|name| (name.to_owned(), Kind::Text))
        .into();
    columns.push((RECEIVED_AT.to_owned(), Kind::Timestamp));
    columns
}

#[cfg(test)]
mod tests;
