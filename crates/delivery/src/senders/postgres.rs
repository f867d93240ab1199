//! The sender that writes rows to PostgreSQL.
//!
//! ```text
//!   url, options -> target: where, as whom
//!   body         -> rows, by table
//!                     |
//!   schema: which tables and columns there are; makes what is missing     (a transaction for each table)
//!                     |
//!   fit: values as the columns take them, the others into `discards`
//!                     |
//!   write: all rows                                                        (one transaction)
//!                     |
//!   answer: SQLSTATE -> the HTTP status that means the same
//! ```
//!
//! Every row has an id, and a table has it once: a request that is sent again doubles nothing, whether
//! or not its first answer was lost.

use std::cell::{Cell, OnceCell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use catalog::FinalRequest;
use model::{DestinationId, Failure};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use crate::http::Failed;
use crate::http::request::BadRequest;
use crate::http::send::{Client, Reuse, Sent};

use super::peers::{Peer, Peers};

mod answer;
mod fit;
mod kind;
mod rows;
mod schema;
mod session;
mod sql;
mod target;
mod tls;
mod wire;
mod write;

use answer::Problem;
use rows::Batch;
use schema::{Limits, Schema};
use session::{NoSession, Session};
use target::{SslMode, Target};
use write::{Writer, Written};

/// Limits of writing to PostgreSQL.
#[derive(Clone, Debug)]
pub struct PostgresOptions {
    /// Connections of one destination on one shard; requests beyond them wait. Default: 4.
    pub connections_per_destination_max: usize,
    /// Databases that one shard knows: the one that was used longest ago makes room. Default: 1,000.
    pub databases_max: usize,
    /// An idle connection is closed after this long. Default: 60,000.
    pub idle_ms_max: u64,
    /// A connection is not used longer than this, so that a changed name is noticed.
    /// Default: 1,800,000.
    pub age_ms_max: u64,
    /// Rows that one statement writes. Default: 1,000.
    pub rows_per_statement_max: usize,
    /// Tables of one destination whose columns are remembered on one shard. Default: 1,000.
    pub tables_kept_max: usize,
    /// How long a statement waits for a lock: a change of a table that waits holds up everybody who
    /// comes after it. Default: 5,000.
    pub lock_timeout_ms: u64,
    /// Bytes that a server may say in answer to one request. Default: 8 MiB.
    pub answer_bytes_max: usize,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            connections_per_destination_max: 4,
            databases_max: 1_000,
            idle_ms_max: 60_000,
            age_ms_max: 1_800_000,
            rows_per_statement_max: 1_000,
            tables_kept_max: 1_000,
            lock_timeout_ms: 5_000,
            answer_bytes_max: 8 * 1024 * 1024,
        }
    }
}

/// One shard's connections to databases.
pub(super) struct Postgres {
    /// Dials.
    http: Rc<Client>,
    options: PostgresOptions,
    databases: Peers<Target, Known>,
}

type Database = Peer<Target, Known>;

/// What is kept of one database.
struct Known {
    tls: OnceCell<TlsConnector>,
    free: Semaphore,
    idle: RefCell<Vec<Session>>,
    schema: Schema,
}

/// How far a request has come: says what a timeout means.
#[derive(Clone, Copy)]
enum Phase {
    Waiting,
    Connecting,
    Writing,
}

impl Postgres {
    pub(super) fn new(http: Rc<Client>, options: PostgresOptions) -> Self {
        Self {
            http,
            databases: Peers::new(options.databases_max, options.idle_ms_max),
            options,
        }
    }

    /// Writes one request's rows. Cancel safe: dropping the future closes the connection, and the
    /// database takes back what was not committed.
    pub(super) async fn send(
        &self,
        destination: DestinationId,
        request: FinalRequest,
        reuse: Reuse,
        timeout: Duration,
    ) -> Sent {
        let target = match Target::parse(&request.url, |name| request.options.get(name)) {
            Ok(target) => target,
            Err(problem) => return Sent::BadRequest(BadRequest::Url(problem)),
        };
        let now = Instant::now();
        let known = self.databases.find(destination, &target, now);
        let database = known.unwrap_or_else(|| {
            let nothing = self.nothing_known();
            self.databases.add(destination, target, nothing, now)
        });
        let phase = Cell::new(Phase::Waiting);
        let exchange = self.exchange(&database, &request.body, reuse, timeout, &phase);
        match tokio::time::timeout(timeout, exchange).await {
            Ok(sent) => sent,
            Err(_) => Sent::Failed(self.timed_out(phase.get(), timeout)),
        }
    }

    async fn exchange(
        &self,
        database: &Database,
        body: &[u8],
        mut reuse: Reuse,
        timeout: Duration,
        phase: &Cell<Phase>,
    ) -> Sent {
        // Never closed.
        let _free = database.state.free.acquire().await;
        let mut again = true;
        loop {
            let batch = match Batch::parse(body) {
                Ok(batch) => batch,
                Err(problem) => return refused(&problem),
            };
            phase.set(Phase::Connecting);
            let idle = match reuse {
                Reuse::Allowed => self.take_alive(database).await,
                Reuse::Never => None,
            };
            let reused = idle.is_some();
            let mut session = match idle {
                Some(session) => session,
                None => match self.open(database).await {
                    Ok(session) => session,
                    Err(NoSession::Failed(failed)) => return Sent::Failed(failed),
                    Err(NoSession::Refused(error)) => return server_said(&error, database, false),
                },
            };
            phase.set(Phase::Writing);
            match self.write(&mut session, database, batch, timeout).await {
                Ok(written) => {
                    self.keep(database, session);
                    return done(&written, database);
                }
                Err(Problem::Server(error)) if again && answer::passes_at_once(&error) => {
                    again = false;
                    reuse = Reuse::Never;
                }
                // The connection goes too: what state it is in is not worth knowing.
                Err(Problem::Server(error)) => return server_said(&error, database, reused),
                Err(Problem::Refused(problem)) => return refused(&problem),
            }
        }
    }

    async fn write(
        &self,
        session: &mut Session,
        database: &Database,
        batch: Batch,
        timeout: Duration,
    ) -> Result<Written, Problem> {
        let limits = Limits {
            statement_timeout_ms: timeout.as_millis().max(1),
            lock_timeout_ms: self.options.lock_timeout_ms,
            tables_kept_max: self.options.tables_kept_max,
        };
        let names: Vec<String> = batch.tables.keys().cloned().collect();
        let written = session.run(self.options.answer_bytes_max, |client| async move {
            let writer = Writer {
                client,
                target: &database.target,
                schema: &database.state.schema,
                limits,
                rows_per_statement_max: self.options.rows_per_statement_max,
            };
            writer.write(batch).await
        });
        let written = written.await;
        if written.is_err() {
            // Whatever it was, somebody may have changed the tables.
            let names = names.iter().map(String::as_str);
            database.state.schema.forget(names.chain([fit::DISCARDS]));
        }
        written
    }

    fn nothing_known(&self) -> Known {
        Known {
            tls: OnceCell::new(),
            free: Semaphore::new(self.options.connections_per_destination_max.max(1)),
            idle: RefCell::default(),
            schema: Schema::default(),
        }
    }

    async fn open(&self, database: &Database) -> Result<Session, NoSession> {
        let dialer = &self.http.dialer;
        let tls = match database.target.ssl_mode {
            SslMode::Disable => None,
            mode => Some(match database.state.tls.get() {
                Some(tls) => tls,
                None => {
                    let ca = database.target.ca_certificate.as_deref();
                    let made = tls::connector(mode, ca, &dialer.egress).map_err(|error| {
                        let detail = format!("ca_certificate: {error}");
                        NoSession::Failed(Failed::new(Failure::Tls, detail))
                    })?;
                    database.state.tls.get_or_init(|| made)
                }
            }),
        };
        Session::open(&database.target, dialer, tls, self.options.answer_bytes_max).await
    }

    /// The session that was used last, if the server has not closed it.
    async fn take_alive(&self, database: &Database) -> Option<Session> {
        loop {
            let mut session = database.state.idle.borrow_mut().pop()?;
            if self.is_fresh(&session, Instant::now()) && session.is_alive().await {
                return Some(session);
            }
        }
    }

    fn keep(&self, database: &Database, mut session: Session) {
        let now = Instant::now();
        database.touch(now);
        session.used_at = now;
        // There are never more than permits.
        database.state.idle.borrow_mut().push(session);
    }

    fn is_fresh(&self, session: &Session, now: Instant) -> bool {
        let idle = now.saturating_duration_since(session.used_at);
        let age = now.saturating_duration_since(session.opened_at);
        idle < Duration::from_millis(self.options.idle_ms_max)
            && age < Duration::from_millis(self.options.age_ms_max)
    }

    /// Closes what has been idle too long, and forgets destinations that are gone.
    pub(super) fn sweep(&self, now: Instant) {
        self.databases.sweep(now, |database| {
            let mut idle = database.state.idle.borrow_mut();
            idle.retain(|session| self.is_fresh(session, now));
        });
    }

    fn timed_out(&self, phase: Phase, timeout: Duration) -> Failed {
        let waited = timeout.as_millis();
        match phase {
            Phase::Waiting => {
                let most = self.options.connections_per_destination_max;
                let failure = Failure::Unavailable {
                    retry_after_s: None,
                };
                Failed::new(
                    failure,
                    format!("all {most} connections to the database were busy for {waited} ms"),
                )
            }
            Phase::Connecting => Failed::new(
                Failure::ConnectTimeout,
                format!("no connection in {waited} ms"),
            ),
            Phase::Writing => {
                Failed::new(Failure::Indeterminate, format!("no answer in {waited} ms"))
            }
        }
    }
}

/// `reused`: the connection had been idle before.
fn server_said(error: &tokio_postgres::Error, database: &Database, reused: bool) -> Sent {
    if let Some(code) = error.code() {
        return Sent::answer(answer::status(code.code()), answer::told(error));
    }
    if error.to_string().contains("password missing") {
        return Sent::answer(answer::UNAUTHORIZED, answer::told(error));
    }
    if reused {
        return Sent::Stale;
    }
    let detail = format!("{} gave no answer: {error}", database.target.place());
    Sent::Failed(Failed::new(Failure::Indeterminate, detail))
}

fn done(written: &Written, database: &Database) -> Sent {
    let Written { rows, discarded } = *written;
    if discarded > 0 {
        let database = database.target.place();
        tracing::debug!(%database, discarded, "values that fit no column: see table discards");
    }
    Sent::answer(
        200,
        json!({"rows": rows, "discarded": discarded}).to_string(),
    )
}

fn refused(problem: &str) -> Sent {
    Sent::answer(answer::REFUSED, json!({"message": problem}).to_string())
}
