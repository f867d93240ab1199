//! The statements: names quoted, values always parameters.

use std::fmt::Write as _;

use super::kind::Kind;

/// Bytes of a name that PostgreSQL keeps; a longer one it would cut, and two could become one.
pub(super) const NAME_BYTES_MAX: usize = 63;

/// Columns that every table has by itself: no other may have these names.
const SYSTEM_COLUMNS: [&str; 6] = ["tableoid", "xmin", "cmin", "xmax", "cmax", "ctid"];

/// The key of every table: what is written twice is there once.
pub(super) const ID: &str = "id";

/// A column with what it holds.
pub(super) type Column = (String, Kind);

/// Whether PostgreSQL can have something of this name, as it is.
pub(super) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.contains('\0')
}

/// Whether a table can be given a column of this name.
pub(super) fn is_column_name(name: &str) -> bool {
    is_name(name) && !SYSTEM_COLUMNS.contains(&name)
}

/// A name as it is written in SQL: any text is safe between double quotes when they are doubled.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn place(schema: &str, table: &str) -> String {
    format!("{}.{}", quoted(schema), quoted(table))
}

/// Adds rows, `$1` being a JSON list of them; a row whose id is there already is left alone.
///
/// One parameter for all rows: a row names only the columns that it has, and there is no limit of
/// parameters to meet.
pub(super) fn insert(schema: &str, table: &str, columns: &[Column]) -> String {
    format!(
        "{} ON CONFLICT ({}) DO NOTHING",
        insert_into(schema, table, columns),
        quoted(ID)
    )
}

/// Adds rows or brings them up to date: what the row with the later `latest_by` says counts, and what
/// only one of them says stays.
pub(super) fn upsert(schema: &str, table: &str, columns: &[Column], latest_by: &str) -> String {
    let latest = quoted(latest_by);
    let newer = format!("coalesce(excluded.{latest} >= t.{latest}, true)");
    let mut sql = insert_into(schema, table, columns);
    // Writing to a text cannot fail.
    let _ = write!(sql, " ON CONFLICT ({}) DO UPDATE SET ", quoted(ID));
    let others = columns.iter().filter(|(name, _)| name != ID);
    for (index, (name, _)) in others.enumerate() {
        let comma = if index > 0 { ", " } else { "" };
        let name = quoted(name);
        let _ = if name == latest {
            write!(sql, "{comma}{name} = greatest(excluded.{name}, t.{name})")
        } else {
            write!(
                sql,
                "{comma}{name} = CASE WHEN {newer} THEN coalesce(excluded.{name}, t.{name}) \
                 ELSE coalesce(t.{name}, excluded.{name}) END"
            )
        };
    }
    sql
}

fn insert_into(schema: &str, table: &str, columns: &[Column]) -> String {
    let names: Vec<_> = columns.iter().map(|(name, _)| quoted(name)).collect();
    let typed: Vec<_> = columns
        .iter()
        .map(|(name, kind)| format!("{} {}", quoted(name), kind.sql()))
        .collect();
    format!(
        "INSERT INTO {} AS t ({names}) SELECT {names} \
         FROM pg_catalog.json_to_recordset($1::text::json) AS r({})",
        place(schema, table),
        typed.join(", "),
        names = names.join(", "),
    )
}

/// A new table; `columns` without the id.
pub(super) fn create_table(schema: &str, table: &str, columns: &[Column]) -> String {
    let mut sql = format!(
        "CREATE TABLE IF NOT EXISTS {} ({} text PRIMARY KEY",
        place(schema, table),
        quoted(ID)
    );
    for (name, kind) in columns {
        let _ = write!(sql, ", {} {}", quoted(name), kind.sql());
    }
    sql.push(')');
    sql
}

pub(super) fn add_columns(schema: &str, table: &str, columns: &[Column]) -> String {
    let added: Vec<_> = columns
        .iter()
        .map(|(name, kind)| format!("ADD COLUMN IF NOT EXISTS {} {}", quoted(name), kind.sql()))
        .collect();
    format!("ALTER TABLE {} {}", place(schema, table), added.join(", "))
}

pub(super) fn create_schema(schema: &str) -> String {
    format!("CREATE SCHEMA IF NOT EXISTS {}", quoted(schema))
}

/// Begins a transaction that the server itself gives up in time: of a connection that we have
/// dropped it would know nothing while it waits for a lock. `SET LOCAL`, as behind a pooler the next
/// transaction may be another's.
pub(super) fn begin(statement_timeout_ms: u128, lock_timeout_ms: u64) -> String {
    format!(
        "BEGIN; SET LOCAL statement_timeout = {statement_timeout_ms}; \
         SET LOCAL lock_timeout = {lock_timeout_ms}; \
         SET LOCAL idle_in_transaction_session_timeout = {statement_timeout_ms}; \
         SET LOCAL client_min_messages = error"
    )
}

/// One at a time changes tables, of all shards and installations that write to this schema (`$1`).
pub(super) const LOCK: &str = "SELECT pg_catalog.pg_advisory_xact_lock(\
     pg_catalog.hashtext('fairlane'), pg_catalog.hashtext($1))";

/// The columns of tables `$2` in schema `$1`: table, column, type, modifier, whether it is a view that rows
/// can be written to. A type that is not PostgreSQL's own, or a column that cannot be written, has the
/// type "".
pub(super) const COLUMNS: &str = "\
    SELECT c.relname::text, a.attname::text, \
           CASE WHEN t.typnamespace = 'pg_catalog'::regnamespace \
                 AND a.attgenerated::text = '' AND a.attidentity::text <> 'a' \
                THEN t.typname::text ELSE '' END, \
           a.atttypmod, c.relkind NOT IN ('r', 'p') \
    FROM pg_catalog.pg_class c \
    JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
    JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid \
    JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
    WHERE n.nspname = $1 AND c.relname = ANY($2) \
      AND (c.relkind IN ('r', 'p') OR c.relkind IN ('v', 'f') \
           AND pg_catalog.pg_relation_is_updatable(c.oid, true) & 8 = 8) \
      AND a.attnum > 0 AND NOT a.attisdropped";

/// Whether something has the name `$2` in schema `$1`, asked where it is no table: a view, an index, a
/// type.
pub(super) const COUNT_OTHERS: &str = "\
    SELECT count(*) FROM pg_catalog.pg_namespace n \
    WHERE n.nspname = $1 AND (\
        EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relnamespace = n.oid AND c.relname = $2) OR \
        EXISTS (SELECT FROM pg_catalog.pg_type t WHERE t.typnamespace = n.oid AND t.typname = $2 \
                AND t.typtype IN ('d', 'e', 'r', 'm')))";

pub(super) const HAS_SCHEMA: &str =
    "SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = $1";

pub(super) const COUNT_TABLES: &str =
    "SELECT count(*) FROM pg_catalog.pg_tables WHERE schemaname = $1";

#[cfg(test)]
mod tests;
