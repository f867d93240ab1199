//! A request's rows into the database: all of them, or none.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use serde_json::{Map, Value, json};
use tokio_postgres::types::{ToSql, Type};
use tokio_postgres::{Client, Error};

use super::answer::Problem;
use super::fit::{self, DISCARDS, Table, discard_columns};
use super::rows::{Batch, Row, Rows};
use super::schema::{Limits, Schema};
use super::sql::{self, Column};
use super::target::Target;

/// What became of a request's rows.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    /// Rows that were new, or brought up to date.
    pub(super) rows: u64,
    /// Values, or whole rows, that found no place.
    pub(super) discarded: usize,
}

/// One statement with its parameter.
struct Statement {
    sql: String,
    rows: String,
}

/// Everything that writing needs to know.
pub(super) struct Writer<'a> {
    pub(super) client: &'a Client,
    pub(super) target: &'a Target,
    pub(super) schema: &'a Schema,
    pub(super) limits: Limits,
    pub(super) rows_per_statement_max: usize,
}

impl Writer<'_> {
    /// Writes all rows. What it made of the schema stays, also where it fails: the next try needs it.
    pub(super) async fn write(&self, mut batch: Batch) -> Result<Written, Problem> {
        // A definition may discard too. That table is made by other rules.
        let given = batch.tables.remove(DISCARDS).unwrap_or_default();
        let mut discards: Vec<Row> = given.rows.into_values().map(fit::given).collect();
        let names: Vec<&str> = batch.tables.keys().map(String::as_str).collect();
        self.learn(&names).await?;
        let mut statements = Vec::new();
        for (name, rows) in batch.tables {
            match self.table(&name, &rows).await? {
                Some(table) => self.state(&name, rows, &table, &mut discards, &mut statements)?,
                None => rows.discard_all(&name, &mut discards),
            }
        }
        let discarded = discards.len();
        if discarded > 0 {
            self.discard(discards, &mut statements).await?;
        }
        let rows = self.commit(&statements).await?;
        Ok(Written { rows, discarded })
    }

    async fn learn(&self, names: &[&str]) -> Result<(), Error> {
        self.schema
            .learn(self.client, self.target, self.limits, names)
            .await
    }

    /// The table with all the columns that it can have for these rows; `None` where there is none, and
    /// cannot be another.
    async fn table(&self, name: &str, rows: &Rows) -> Result<Option<Rc<Table>>, Error> {
        let lacking = |table: Option<&Table>| rows.lacking(table, self.target.columns_max);
        let known = self.schema.get(name).flatten();
        match known {
            Some(table) if lacking(Some(&table)).is_empty() => Ok(Some(table)),
            _ => {
                self.schema
                    .add(self.client, self.target, self.limits, name, lacking)
                    .await
            }
        }
    }

    fn state(
        &self,
        name: &str,
        rows: Rows,
        table: &Table,
        discards: &mut Vec<Row>,
        statements: &mut Vec<Statement>,
    ) -> Result<(), Problem> {
        let latest_by = rows.latest_by.clone();
        let fitted = rows.fit(name, table, discards).map_err(Problem::Refused)?;
        let sql = self.sql(name, &fitted.columns, latest_by.as_deref(), table);
        for chunk in fitted.rows.chunks(self.rows_per_statement_max.max(1)) {
            statements.push(Statement {
                sql: sql.clone(),
                rows: list(chunk),
            });
        }
        Ok(())
    }

    fn sql(
        &self,
        name: &str,
        columns: &[Column],
        latest_by: Option<&str>,
        table: &Table,
    ) -> String {
        let schema = &self.target.schema;
        let written = |column: &str| columns.iter().any(|(name, _)| name == column);
        match latest_by {
            // An update must change something, and the row must say how late it is.
            Some(latest) if table.columns.contains_key(latest) && written(latest) => {
                sql::upsert(schema, name, columns, latest)
            }
            _ => sql::insert(schema, name, columns),
        }
    }

    async fn discard(
        &self,
        discards: Vec<Row>,
        statements: &mut Vec<Statement>,
    ) -> Result<(), Problem> {
        self.learn(&[DISCARDS]).await?;
        let table = match self.schema.get(DISCARDS).flatten() {
            Some(table) => table,
            // One more than the tables that events make: it has the last word.
            None => {
                let target = Target {
                    tables_max: usize::MAX,
                    ..self.target.clone()
                };
                let columns = |found: Option<&Table>| match found {
                    Some(_) => Vec::new(),
                    None => discard_columns(),
                };
                let made = self
                    .schema
                    .add(self.client, &target, self.limits, DISCARDS, columns);
                made.await?.unwrap_or_default()
            }
        };
        let mut rows = Rows::default();
        for row in discards {
            if let Some(Value::String(id)) = row.values.get(sql::ID) {
                rows.rows.insert(id.clone(), row);
            }
        }
        let mut lost = Vec::new();
        self.state(DISCARDS, rows, &table, &mut lost, statements)?;
        if let Some(Row { values, .. }) = lost.first() {
            return Err(Problem::Refused(format!(
                "table {DISCARDS:?} cannot hold {}: rename it, and it is made anew",
                json!(values)
            )));
        }
        Ok(())
    }

    /// All statements in one transaction, sent without waiting for one another's answers.
    async fn commit(&self, statements: &[Statement]) -> Result<u64, Error> {
        let begin = sql::begin(
            self.limits.statement_timeout_ms,
            self.limits.lock_timeout_ms,
        );
        let client = self.client;
        let mut sent: Vec<Answer<'_>> = Vec::with_capacity(statements.len() + 2);
        sent.push(Box::pin(async {
            client.batch_execute(&begin).await.map(|()| 0)
        }));
        for statement in statements {
            let rows: &(dyn ToSql + Sync) = &statement.rows;
            sent.push(Box::pin(async move {
                let parameter = [(rows, Type::TEXT)];
                client.execute_typed(&statement.sql, &parameter).await
            }));
        }
        // After a statement that failed this takes everything back.
        sent.push(Box::pin(async {
            client.batch_execute("COMMIT").await.map(|()| 0)
        }));
        let mut rows = 0;
        for answer in in_order(sent).await {
            rows += answer?;
        }
        Ok(rows)
    }
}

type Answer<'a> = Pin<Box<dyn Future<Output = Result<u64, Error>> + 'a>>;

/// Polls from the first to the last, so that they are sent in this order; all answers, in it too.
async fn in_order(mut sent: Vec<Answer<'_>>) -> Vec<Result<u64, Error>> {
    let mut answers: Vec<Option<Result<u64, Error>>> = sent.iter().map(|_| None).collect();
    poll_fn(|cx| {
        for (future, answer) in sent.iter_mut().zip(&mut answers) {
            if answer.is_none()
                && let Poll::Ready(ready) = future.as_mut().poll(cx)
            {
                *answer = Some(ready);
            }
        }
        if answers.iter().all(Option::is_some) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    answers.into_iter().flatten().collect()
}

fn list(rows: &[Map<String, Value>]) -> String {
    let mut text = String::from("[");
    for (index, row) in rows.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        // A map of values is always JSON.
        text.push_str(&serde_json::to_string(row).unwrap_or_default());
    }
    text.push(']');
    text
}
