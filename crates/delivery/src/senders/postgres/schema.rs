//! What tables there are: remembered, read, and made.
//!
//! Tables and columns are added outside of the transaction that writes rows: one table at a time, under
//! a lock that all writers to this schema share. So whoever waits for a table's lock holds no other
//! table's, and nobody can wait for each other in a circle.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use tokio_postgres::Client;
use tokio_postgres::types::{ToSql, Type};

use super::fit::Table;
use super::kind::Kind;
use super::sql::{self, Column};
use super::target::Target;

/// What is known of one destination's tables. Shared by its connections on one shard.
#[derive(Default)]
pub(super) struct Schema {
    tables: RefCell<HashMap<String, Option<Rc<Table>>>>,
}

/// How long a transaction may take.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    pub(super) statement_timeout_ms: u128,
    pub(super) lock_timeout_ms: u64,
    pub(super) tables_kept_max: usize,
}

impl Schema {
    /// What is known of this table: outer `None` where nothing is, inner `None` where there is none, or can
    /// be none: that is looked at anew.
    pub(super) fn get(&self, name: &str) -> Option<Option<Rc<Table>>> {
        self.tables.borrow().get(name).cloned()
    }

    pub(super) fn forget<'a>(&self, names: impl IntoIterator<Item = &'a str>) {
        let mut tables = self.tables.borrow_mut();
        for name in names {
            tables.remove(name);
        }
    }

    fn put(&self, name: &str, table: Option<Rc<Table>>, kept_max: usize) {
        let mut tables = self.tables.borrow_mut();
        if tables.len() >= kept_max && !tables.contains_key(name) {
            // Rare, and what is needed is read again in one query.
            tables.clear();
        }
        tables.insert(name.to_owned(), table);
    }

    /// Reads those of `names` that are not known.
    pub(super) async fn learn(
        &self,
        client: &Client,
        target: &Target,
        limits: Limits,
        names: &[&str],
    ) -> Result<(), tokio_postgres::Error> {
        let unknown: Vec<&str> = {
            let tables = self.tables.borrow();
            let unknown = names.iter().filter(|name| !tables.contains_key(**name));
            unknown.copied().collect()
        };
        if unknown.is_empty() {
            return Ok(());
        }
        let mut found = read(client, &target.schema, &unknown).await?;
        for name in unknown {
            let table = found.remove(name).map(Rc::new);
            self.put(name, table, limits.tables_kept_max);
        }
        Ok(())
    }

    /// Makes a table, or the columns that `lacking` says of it as it is found to be. `None`: there can be
    /// none, as there are too many, or something else has its name.
    pub(super) async fn add(
        &self,
        client: &Client,
        target: &Target,
        limits: Limits,
        name: &str,
        lacking: impl FnOnce(Option<&Table>) -> Vec<Column>,
    ) -> Result<Option<Rc<Table>>, tokio_postgres::Error> {
        let begin = sql::begin(limits.statement_timeout_ms, limits.lock_timeout_ms);
        client.batch_execute(&begin).await?;
        let schema: &(dyn ToSql + Sync) = &target.schema;
        client
            .execute_typed(sql::LOCK, &[(schema, Type::TEXT)])
            .await?;
        // Another may have been faster: only now it is known what is missing.
        let found = read(client, &target.schema, &[name]).await?.remove(name);
        let is_new = found.is_none();
        if is_new
            && (count(client, sql::COUNT_TABLES, &[&target.schema]).await? >= target.tables_max
                || count(client, sql::COUNT_OTHERS, &[&target.schema, name]).await? > 0)
        {
            client.batch_execute("ROLLBACK").await?;
            self.put(name, None, limits.tables_kept_max);
            return Ok(None);
        }
        let columns = lacking(found.as_ref());
        let mut table = found.unwrap_or_default();
        if is_new {
            if count(client, sql::HAS_SCHEMA, &[&target.schema]).await? == 0 {
                let create = sql::create_schema(&target.schema);
                client.batch_execute(&create).await?;
            }
            let create = sql::create_table(&target.schema, name, &columns);
            client.batch_execute(&create).await?;
            table.columns.insert(sql::ID.to_owned(), Kind::Text);
        } else if !columns.is_empty() {
            let alter = sql::add_columns(&target.schema, name, &columns);
            client.batch_execute(&alter).await?;
        }
        client.batch_execute("COMMIT").await?;
        table.columns.extend(columns);
        let table = Rc::new(table);
        self.put(name, Some(Rc::clone(&table)), limits.tables_kept_max);
        Ok(Some(table))
    }
}

/// `names`: the schema's, and what else the statement asks for.
async fn count(client: &Client, sql: &str, names: &[&str]) -> Result<usize, tokio_postgres::Error> {
    let parameters: Vec<(&(dyn ToSql + Sync), Type)> = names
        .iter()
        .map(|name| (name as &(dyn ToSql + Sync), Type::NAME))
        .collect();
    let row = client.query_typed_one(sql, &parameters).await?;
    let count: i64 = row.try_get(0)?;
    Ok(usize::try_from(count).unwrap_or_default())
}

async fn read(
    client: &Client,
    schema: &str,
    names: &[&str],
) -> Result<HashMap<String, Table>, tokio_postgres::Error> {
    let rows = client
        .query_typed(
            sql::COLUMNS,
            &[(&schema, Type::NAME), (&names, Type::NAME_ARRAY)],
        )
        .await?;
    let mut tables: HashMap<String, Table> = HashMap::new();
    for row in rows {
        let kind = Kind::named(row.try_get(2)?, row.try_get(3)?);
        let table = tables.entry(row.try_get(0)?).or_default();
        table.columns.insert(row.try_get(1)?, kind);
        table.is_view = row.try_get(4)?;
    }
    Ok(tables)
}
