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
use std::collections::HashMap;
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
    places: RefCell<HashMap<DestinationId, Rc<Place>>>,
}

/// What is kept of one destination, as long as its settings are the same.
struct Place {
    target: Target,
    tls: OnceCell<TlsConnector>,
    free: Semaphore,
    idle: RefCell<Vec<Session>>,
    schema: Schema,
    used_at: Cell<Instant>,
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
            options,
            places: RefCell::default(),
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
        let place = self.place(destination, target);
        let phase = Cell::new(Phase::Waiting);
        let exchange = self.exchange(&place, &request.body, reuse, timeout, &phase);
        match tokio::time::timeout(timeout, exchange).await {
            Ok(sent) => sent,
            Err(_) => Sent::Failed(self.timed_out(phase.get(), timeout)),
        }
    }

    async fn exchange(
        &self,
        place: &Place,
        body: &[u8],
        mut reuse: Reuse,
        timeout: Duration,
        phase: &Cell<Phase>,
    ) -> Sent {
        // Never closed.
        let _free = place.free.acquire().await;
        let mut again = true;
        loop {
            let batch = match Batch::parse(body) {
                Ok(batch) => batch,
                Err(problem) => return refused(&problem),
            };
            phase.set(Phase::Connecting);
            let idle = match reuse {
                Reuse::Allowed => self.take_alive(place).await,
                Reuse::Never => None,
            };
            let reused = idle.is_some();
            let mut session = match idle {
                Some(session) => session,
                None => match self.open(place).await {
                    Ok(session) => session,
                    Err(NoSession::Failed(failed)) => return Sent::Failed(failed),
                    Err(NoSession::Refused(error)) => return server_said(&error, place, false),
                },
            };
            phase.set(Phase::Writing);
            match self.write(&mut session, place, batch, timeout).await {
                Ok(written) => {
                    self.keep(place, session);
                    return done(&written, place);
                }
                Err(Problem::Server(error)) if again && answer::passes_at_once(&error) => {
                    again = false;
                    reuse = Reuse::Never;
                }
                // The connection goes too: what state it is in is not worth knowing.
                Err(Problem::Server(error)) => return server_said(&error, place, reused),
                Err(Problem::Refused(problem)) => return refused(&problem),
            }
        }
    }

    async fn write(
        &self,
        session: &mut Session,
        place: &Place,
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
                target: &place.target,
                schema: &place.schema,
                limits,
                rows_per_statement_max: self.options.rows_per_statement_max,
            };
            writer.write(batch).await
        });
        let written = written.await;
        if written.is_err() {
            // Whatever it was, somebody may have changed the tables.
            let names = names.iter().map(String::as_str);
            place.schema.forget(names.chain([fit::DISCARDS]));
        }
        written
    }

    fn place(&self, destination: DestinationId, target: Target) -> Rc<Place> {
        let mut places = self.places.borrow_mut();
        if let Some(place) = places.get(&destination)
            && place.target == target
        {
            place.used_at.set(Instant::now());
            return Rc::clone(place);
        }
        let place = Rc::new(Place {
            target,
            tls: OnceCell::new(),
            free: Semaphore::new(self.options.connections_per_destination_max.max(1)),
            idle: RefCell::default(),
            schema: Schema::default(),
            used_at: Cell::new(Instant::now()),
        });
        // Sessions of other settings go with their place, when they are done.
        places.insert(destination, Rc::clone(&place));
        place
    }

    async fn open(&self, place: &Place) -> Result<Session, NoSession> {
        let dialer = &self.http.dialer;
        let tls = match place.target.ssl_mode {
            SslMode::Disable => None,
            mode => Some(match place.tls.get() {
                Some(tls) => tls,
                None => {
                    let ca = place.target.ca_certificate.as_deref();
                    let made = tls::connector(mode, ca, &dialer.egress).map_err(|error| {
                        let detail = format!("ca_certificate: {error}");
                        NoSession::Failed(Failed::new(Failure::Tls, detail))
                    })?;
                    place.tls.get_or_init(|| made)
                }
            }),
        };
        Session::open(&place.target, dialer, tls, self.options.answer_bytes_max).await
    }

    /// The session that was used last, if the server has not closed it.
    async fn take_alive(&self, place: &Place) -> Option<Session> {
        loop {
            let mut session = place.idle.borrow_mut().pop()?;
            if self.is_fresh(&session, Instant::now()) && session.is_alive().await {
                return Some(session);
            }
        }
    }

    fn keep(&self, place: &Place, mut session: Session) {
        session.used_at = Instant::now();
        // There are never more than permits.
        place.idle.borrow_mut().push(session);
    }

    fn is_fresh(&self, session: &Session, now: Instant) -> bool {
        let idle = now.saturating_duration_since(session.used_at);
        let age = now.saturating_duration_since(session.opened_at);
        idle < Duration::from_millis(self.options.idle_ms_max)
            && age < Duration::from_millis(self.options.age_ms_max)
    }

    /// Closes what has been idle too long, and forgets destinations that are gone.
    pub(super) fn sweep(&self, now: Instant) {
        let idle_max = Duration::from_millis(self.options.idle_ms_max);
        self.places.borrow_mut().retain(|_, place| {
            let mut idle = place.idle.borrow_mut();
            idle.retain(|session| self.is_fresh(session, now));
            let unused = now.saturating_duration_since(place.used_at.get());
            !idle.is_empty() || Rc::strong_count(place) > 1 || unused < idle_max
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
fn server_said(error: &tokio_postgres::Error, place: &Place, reused: bool) -> Sent {
    if let Some(code) = error.code() {
        return Sent::answer(answer::status(code.code()), answer::told(error));
    }
    if error.to_string().contains("password missing") {
        return Sent::answer(answer::UNAUTHORIZED, answer::told(error));
    }
    if reused {
        return Sent::Stale;
    }
    let detail = format!("{} gave no answer: {error}", place.target.place());
    Sent::Failed(Failed::new(Failure::Indeterminate, detail))
}

fn done(written: &Written, place: &Place) -> Sent {
    let Written { rows, discarded } = *written;
    if discarded > 0 {
        let database = place.target.place();
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
