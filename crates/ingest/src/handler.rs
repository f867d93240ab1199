//! From a request to its answer.
//!
//! ```text
//!   route -> limits by address and key -> body -> unpack -> check JSON -> source
//!         -> canonical events -> claim message ids -> append, durable -> 200
//! ```

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use arc_swap::ArcSwap;
use bytes::Bytes;
use eventlog::{AppendError, EventLog};
use http::request::Parts;
use http::{Method, Request, StatusCode};
use hyper::body::{Body, Incoming};
use model::{SourceId, UnixMillis};

use crate::admission::{Connections, InFlight, Reservation};
use crate::answer::{self, Answer, Refusal};
use crate::body::{self, Encoding};
use crate::client::{client_ip, header_key};
use crate::clock::Clock;
use crate::commit::Commit;
use crate::dedup::Window;
use crate::envelope::BodyKind;
use crate::event::Client;
use crate::intake::{Intake, Taken};
use crate::limiter::{Limiter, Wait};
use crate::notice::Notice;
use crate::options::Options;
use crate::overload::Overload;
use crate::route::{Endpoint, Label};
use crate::sources::SourceTable;
use crate::stats::{Discard, IngestStats};
use crate::watch::{Phase, Watched};
use crate::{pixel, settings};

/// What all connections share.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) log: EventLog,
    pub(crate) sources: Arc<ArcSwap<SourceTable>>,
    pub(crate) clock: Clock,
    pub(crate) started: Instant,
    pub(crate) stats: IngestStats,
    pub(crate) window: Arc<Window>,
    pub(crate) overload: Overload,
    pub(crate) limiter: Limiter,
    pub(crate) in_flight: Arc<InFlight>,
    pub(crate) connections: Arc<Connections>,
    pub(crate) ready: AtomicBool,
    /// Until when the log is taken to be full, in microseconds since `started`: it said so last.
    pub(crate) full_until_us: AtomicU64,
    /// Spreads the moments at which refused clients come back.
    pub(crate) refused: AtomicU64,
    pub(crate) notices: [Notice; Discard::ALL.len()],
}

/// Answers one request of the connection that `watched` watches.
pub(crate) async fn handle(
    shared: Arc<Shared>,
    watched: Arc<Watched>,
    peer: SocketAddr,
    request: Request<Incoming>,
) -> Result<Answer, Infallible> {
    watched.enter(Phase::Body);
    let (parts, mut body) = request.into_parts();
    let handler = Handler {
        shared: &shared,
        watched: &watched,
        peer,
        parts: &parts,
    };
    let (label, answered) = handler.respond(&mut body).await;
    let answer = answered.unwrap_or_else(|refusal| refusal.answer());
    shared.stats.count_request(label, answer.status().as_u16());
    let mut next = Phase::Idle;
    if !body.is_end_stream() {
        watched.enter(Phase::Body);
        if !body::discard(&mut body, &parts.headers, &shared.options).await {
            next = Phase::Lingering;
        }
    }
    watched.enter(next);
    Ok(answer)
}

/// A source that a write key led to.
#[derive(Clone, Copy)]
struct Found {
    id: SourceId,
    enabled: bool,
}

struct Handler<'a> {
    shared: &'a Shared,
    watched: &'a Watched,
    peer: SocketAddr,
    parts: &'a Parts,
}

impl Handler<'_> {
    async fn respond(&self, body: &mut Incoming) -> (Label, Result<Answer, Refusal>) {
        if self.parts.method == Method::OPTIONS {
            return (Label::Preflight, Ok(answer::preflight()));
        }
        let Some(endpoint) = Endpoint::of_path(self.parts.uri.path()) else {
            return (Label::Other, Err(Refusal::NotFound));
        };
        let label = endpoint.label();
        let asks_only = self.parts.method == Method::HEAD && endpoint.method() == Method::GET;
        if self.parts.method != endpoint.method() && !asks_only {
            return (label, Err(Refusal::Method(endpoint.method())));
        }
        let answered = match endpoint {
            Endpoint::Events {
                kind, client_side, ..
            } => self.events(body, kind, client_side).await,
            Endpoint::Metrics => self.metrics(body).await,
            // Mail programs look at an image before they show it.
            Endpoint::Pixel(_) if asks_only => Ok(answer::pixel()),
            Endpoint::Pixel(event_type) => {
                self.pixel(BodyKind::Event(event_type)).await;
                Ok(answer::pixel())
            }
            Endpoint::Settings { write_key } => self.settings(write_key),
            Endpoint::Health => Ok(answer::json(
                StatusCode::OK,
                Bytes::from_static(br#"{"status":"alive"}"#),
            )),
            Endpoint::Ready => self.ready(),
        };
        (label, answered)
    }

    fn ready(&self) -> Result<Answer, Refusal> {
        if self.shared.is_ready() {
            Ok(answer::json(
                StatusCode::OK,
                Bytes::from_static(br#"{"status":"ready"}"#),
            ))
        } else {
            Err(Refusal::NotReady { wait_s: 1 })
        }
    }

    fn settings(&self, write_key: &str) -> Result<Answer, Refusal> {
        if self.shared.sources.load().find(write_key).is_none() {
            return Err(Refusal::NoSuchSource);
        }
        let host = self.shared.options.public_host.as_deref();
        Ok(settings::answer(write_key, &self.parts.headers, host))
    }

    /// The browser SDK's reports about itself are nobody's events: read, counted, dropped.
    async fn metrics(&self, body: &mut Incoming) -> Result<Answer, Refusal> {
        self.check_ip()?;
        let mut reservation = self.shared.in_flight.reserve();
        self.receive(body, &mut reservation).await?;
        Ok(answer::success())
    }

    async fn events(
        &self,
        body: &mut Incoming,
        kind: BodyKind,
        client_side: bool,
    ) -> Result<Answer, Refusal> {
        let begun = Instant::now();
        let received_at = (self.shared.clock)();
        let encoding = Encoding::of(&self.parts.headers)?;
        self.check_ip()?;
        let header_key = header_key(&self.parts.headers);
        let found = match &header_key {
            Some(key) => self.find(key)?,
            None => None,
        };
        if !self.shared.overload.admits() {
            return Err(self.overloaded());
        }
        let mut reservation = self.shared.in_flight.reserve();
        let sent = self.receive(body, &mut reservation).await?;
        self.watched.enter(Phase::Working);
        let bytes = match encoding {
            Encoding::Identity => sent,
            Encoding::Gzip => {
                let inflated = body::inflate(&sent, &self.shared.options)?;
                if !reservation.grow(inflated.len()) {
                    return Err(self.overloaded());
                }
                inflated.into()
            }
        };
        let client = self.client(client_side || header_key.is_none());
        let taken = self.take(
            &bytes,
            kind,
            received_at,
            client,
            found,
            header_key.as_deref(),
        )?;
        drop(bytes);
        self.commit(taken, received_at, reservation).await?;
        self.shared.stats.count_ack(begun.elapsed());
        Ok(answer::success())
    }

    /// An image cannot be told anything: whatever happens, it is counted and the image is sent.
    async fn pixel(&self, kind: BodyKind) {
        self.watched.enter(Phase::Working);
        let received_at = (self.shared.clock)();
        let query = self.parts.uri.query().unwrap_or_default();
        let Some(text) = pixel::event(query) else {
            return self.discard(Discard::BadPixel, 1, received_at, "");
        };
        let taken = self
            .check_ip()
            .and_then(|()| {
                if self.shared.overload.admits() {
                    Ok(())
                } else {
                    Err(self.overloaded())
                }
            })
            .and_then(|()| {
                let client = self.client(true);
                self.take(text.as_bytes(), kind, received_at, client, None, None)
            });
        let committed = match taken {
            Ok(taken) => {
                let reservation = self.shared.in_flight.reserve();
                self.commit(taken, received_at, reservation).await
            }
            Err(refusal) => Err(refusal),
        };
        if let Err(refusal) = committed {
            self.discard(Discard::PixelRefused, 1, received_at, &refusal.to_string());
        }
    }

    /// Reads a body's events and claims their ids; appends nothing yet. `found` is the source that
    /// the header's key led to; otherwise the body's key counts.
    fn take(
        &self,
        bytes: &[u8],
        kind: BodyKind,
        received_at: UnixMillis,
        client: Client,
        found: Option<Found>,
        header_key: Option<&str>,
    ) -> Result<Taken, Refusal> {
        let intake = Intake::read(bytes, kind, &self.shared.options)?;
        let body_key = if found.is_some() {
            None
        } else {
            intake.write_key()
        };
        let found = match (&body_key, found) {
            (Some(key), None) => self.find(key)?,
            (_, found) => found,
        };
        let key = body_key.as_deref().or(header_key);
        let refuse_all = match (found, key) {
            (None, None) => Some(Discard::NoWriteKey),
            (None, Some(_)) => Some(Discard::UnknownWriteKey),
            (Some(found), _) if !found.enabled => Some(Discard::SourceDisabled),
            (Some(_), _) if intake.is_too_long() => Some(Discard::BatchTooLong),
            (Some(_), _) => None,
        };
        match (found, refuse_all) {
            (Some(found), None) => intake.take(found.id, received_at, client, &self.shared.window),
            (_, reason) => {
                let reason = reason.unwrap_or(Discard::UnknownWriteKey);
                let events = intake.events_count();
                self.discard(
                    reason,
                    events,
                    received_at,
                    &masked(key.unwrap_or_default()),
                );
                Ok(Taken::nothing(&self.shared.window))
            }
        }
    }

    /// Makes the events durable, and counts what became of all.
    async fn commit(
        &self,
        taken: Taken,
        received_at: UnixMillis,
        mut reservation: Reservation,
    ) -> Result<(), Refusal> {
        let Taken {
            source,
            batch,
            claims,
            discarded,
            duplicates,
        } = taken;
        let events = batch.len();
        if events > 0 {
            if !reservation.grow(batch.bytes()) {
                return Err(self.overloaded());
            }
            let shared = self.shared;
            let waiting = shared.overload.waiting();
            let begun = Instant::now();
            let appended = Commit::append(&shared.log, batch, claims, reservation).await;
            drop(waiting);
            // The commit that was under way and its own one: that much is the disk's time, and
            // fewer requests would not make it shorter, since a commit takes all that wait.
            let disks = shared.log.commit_us().saturating_mul(2);
            let queued = micros(begun.elapsed()).saturating_sub(disks);
            shared
                .overload
                .waited(queued, micros(shared.started.elapsed()));
            appended.map_err(|error| self.append_failed(error))?;
            shared.stats.count_accepted(source, events);
        }
        // Only now: a refused request comes again, and would count twice.
        self.shared.stats.count_duplicates(duplicates);
        for reason in discarded {
            self.discard(reason, 1, received_at, "");
        }
        Ok(())
    }

    /// For `/ready`, and once each time for the process's log.
    fn note_full(&self, wait_s: u64) {
        let now = micros(self.shared.started.elapsed());
        let until = now.saturating_add(wait_s.saturating_mul(1_000_000));
        let before = self.shared.full_until_us.swap(until, Relaxed);
        if before < now {
            tracing::warn!(
                "the event log is full: events are refused with 503 until the oldest are settled, or \
                 there is more room (retention_bytes_max, the disk)"
            );
        }
    }

    fn append_failed(&self, error: AppendError) -> Refusal {
        match error {
            AppendError::Full { retry_after_s } => {
                let wait_s = u64::from(retry_after_s.max(1));
                self.note_full(wait_s);
                Refusal::LogFull { wait_s }
            }
            AppendError::Overloaded { .. } => self.overloaded(),
            AppendError::TooLarge { bytes_max, .. } => Refusal::MergedTooLarge {
                bytes_max: usize::try_from(bytes_max).unwrap_or(usize::MAX),
            },
            AppendError::Failed | AppendError::Closed => Refusal::LogFailed {
                wait_s: self.shared.retry_s(),
            },
        }
    }

    async fn receive(
        &self,
        body: &mut Incoming,
        reservation: &mut Reservation,
    ) -> Result<Bytes, Refusal> {
        let options = &self.shared.options;
        let sent = body::receive(body, reservation, options, || self.overloaded()).await?;
        self.shared.stats.count_body(sent.len());
        Ok(sent)
    }

    fn client(&self, client_side: bool) -> Client {
        let proxies = self.shared.options.trusted_proxies;
        Client {
            ip: client_ip(self.peer, &self.parts.headers, proxies),
            client_side,
        }
    }

    fn check_ip(&self) -> Result<(), Refusal> {
        self.shared
            .limiter
            .check_ip(self.client(false).ip)
            .map_err(rate_limited)
    }

    /// The source of a write key, if it may make one more request now.
    fn find(&self, write_key: &str) -> Result<Option<Found>, Refusal> {
        let sources = self.shared.sources.load();
        let Some(entry) = sources.find(write_key) else {
            return Ok(None);
        };
        self.shared
            .limiter
            .check_source(entry)
            .map_err(rate_limited)?;
        Ok(Some(Found {
            id: entry.id,
            enabled: entry.enabled,
        }))
    }

    fn overloaded(&self) -> Refusal {
        Refusal::Overloaded {
            wait_s: self.shared.retry_s(),
        }
    }

    fn discard(&self, reason: Discard, events: usize, now: UnixMillis, detail: &str) {
        self.shared.stats.count_discarded(reason, events);
        let place = Discard::ALL.iter().position(|other| *other == reason);
        let notice = place.and_then(|place| self.shared.notices.get(place));
        if let Some(held_back) = notice.and_then(|notice| notice.due(now)) {
            tracing::warn!(
                reason = reason.as_str(),
                events,
                detail,
                client = %self.client(false).ip,
                path = self.parts.uri.path(),
                held_back,
                "events discarded",
            );
        }
    }
}

impl Shared {
    pub(crate) fn is_full(&self) -> bool {
        micros(self.started.elapsed()) < self.full_until_us.load(Relaxed)
    }

    pub(crate) fn is_ready(&self) -> bool {
        self.ready.load(Relaxed) && !self.is_full()
    }

    /// 1 to 5 seconds, evenly spread: those who were refused together must not return together.
    fn retry_s(&self) -> u64 {
        1 + self.refused.fetch_add(1, Relaxed) % 5
    }
}

fn rate_limited(wait: Wait) -> Refusal {
    Refusal::RateLimited {
        wait_s: wait.seconds,
    }
}

/// The beginning of a write key: enough to find it. Somebody may have put a secret in its place.
fn masked(key: &str) -> String {
    if key.is_empty() {
        return String::new();
    }
    let shown: String = key.chars().take(4).collect();
    format!("{shown}...")
}

fn micros(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}
