//! The management API's view of the program: [`Control`] over delivery, ingest, log and store.

use std::collections::HashMap;
use std::sync::Arc;

use admin::control::DeadLetterFilter as ApiFilter;
use admin::control::{
    Answer, AttemptView, Control, ControlError, DeadLetterDetail, DeadLetterQuery,
    DeadLetterSummary, DeadLetterTotals, DestinationStatus, HistogramSnapshot, IngestSnapshot,
    LaneDetail, LaneTally, LogStatus, MetricsSnapshot, MinuteView, Redelivery, ReloadReport,
    ReplayRequest, ReplayStatus, Selection, Status, StoreStatus,
};
use ingest::{Cut, Discard, Ingest};
use model::lane::{LATENCY_BUCKETS_MS, LaneStatus};
use model::{ConnectionId, Destination, LaneState, UnixMillis};
use store::{DeadLetterCount, DeadLetterFilter, DeadLetterSelection, DeadLetterState};

use crate::serve::{Parts, now};

mod replays;

/// Implements [`Control`]; what blocks runs beside the runtime of its caller.
pub struct Steering {
    parts: Arc<Parts>,
    ingest: Ingest,
}

impl Steering {
    pub fn new(parts: Arc<Parts>, ingest: Ingest) -> Self {
        Self { parts, ingest }
    }

    /// Runs a look into the store, which waits for the disk.
    async fn look<T: Send + 'static>(
        &self,
        look: impl FnOnce(&Parts) -> Result<T, store::Error> + Send + 'static,
    ) -> Result<T, ControlError> {
        let parts = Arc::clone(&self.parts);
        let looked = tokio::task::spawn_blocking(move || look(&parts)).await;
        looked
            .map_err(|_| ControlError::Internal("looking into the store failed".to_owned()))?
            .map_err(|error| ControlError::Internal(error.to_string()))
    }

    fn connection_id(&self, name: &str) -> Result<ConnectionId, ControlError> {
        let registry = self.parts.registry.load();
        let found = registry
            .connection_named(name)
            .map(|connection| connection.id);
        found.ok_or_else(|| no_such_connection(name))
    }

    fn connection_name(&self, id: ConnectionId) -> String {
        let registry = self.parts.registry.load();
        let found = registry
            .connections
            .iter()
            .find(|connection| connection.id == id);
        found.map_or_else(
            || format!("(removed {})", id.0),
            |connection| connection.name.to_string(),
        )
    }

    fn log_status(&self) -> LogStatus {
        let stats = self.parts.log.stats();
        LogStatus {
            first: stats.first,
            end: stats.end,
            segments: stats.segments,
            bytes: stats.bytes,
            free_bytes: stats.free_bytes,
            torn_bytes: stats.torn_bytes,
            damaged_records: stats.damaged_records,
            commits: stats.commits,
        }
    }

    async fn store_status(&self) -> StoreStatus {
        let looked = self.look(|parts| {
            let counts = parts.store.dead_letter_counts()?;
            let queued = parts.store.queued_dead_letter_count()?;
            Ok((counts, queued, parts.store.file_bytes()))
        });
        let Ok((counts, queued, bytes)) = looked.await else {
            return StoreStatus::default();
        };
        let totals = self.totals(&counts);
        StoreStatus {
            bytes,
            dead_letters: totals.letters,
            dead_letters_queued: queued,
            dead_letters_bytes: totals.bytes,
            dead_letters_bytes_max: totals.bytes_max,
            dead_letters_evicted: totals.evicted,
            dead_letters_redelivered: totals.redelivered,
        }
    }

    fn totals<'a>(
        &self,
        counts: impl IntoIterator<Item = &'a DeadLetterCount>,
    ) -> DeadLetterTotals {
        let mut totals = DeadLetterTotals {
            bytes_max: self.parts.store.dead_letters_bytes_max(),
            ..DeadLetterTotals::default()
        };
        for count in counts {
            totals.letters += count.letters;
            totals.bytes += count.bytes;
            totals.evicted += count.evicted;
            totals.redelivered += count.redelivered;
        }
        totals
    }

    fn reload_error(&self) -> Option<String> {
        let error = self.parts.reload_error.load_full()?;
        Some((*error).clone())
    }

    async fn live_lanes(&self) -> Vec<LaneStatus> {
        self.parts.delivery.lanes().await
    }

    fn summary(&self, letter: store::DeadLetterSummary) -> DeadLetterSummary {
        DeadLetterSummary {
            id: letter.id,
            connection: self.connection_name(letter.connection),
            offset: letter.offset,
            message_id: letter.message_id,
            reason: letter.reason,
            expired: letter.expired,
            detail: letter.detail,
            status: letter.status,
            attempts: letter.attempts,
            received_at: letter.received_at,
            died_at: letter.died_at,
            queued: letter.state == DeadLetterState::Queued,
        }
    }

    /// The store's words for which dead letters are meant.
    fn filter(&self, filter: ApiFilter) -> Result<DeadLetterFilter, ControlError> {
        let connection = filter.connection.as_deref();
        let connection = connection.map(|name| self.connection_id(name));
        Ok(DeadLetterFilter {
            connection: connection.transpose()?,
            reason: filter.reason,
            since: filter.since,
            until: filter.until,
            event: filter.event,
            ..DeadLetterFilter::default()
        })
    }
}

/// How far back a lane's minutes are shown.
const MINUTES_SHOWN_MS: u64 = 3_600_000;

fn no_such_connection(name: &str) -> ControlError {
    ControlError::NotFound(format!(
        "there is no connection {name:?}: `fairlane lanes` lists them"
    ))
}

fn no_such_letter(id: u64) -> ControlError {
    ControlError::NotFound(format!(
        "there is no dead letter {id}: it was delivered again, or never was"
    ))
}

/// The ids, and the first that no dead letter has.
fn known_letters(parts: &Parts, ids: Vec<u64>) -> Result<(Vec<u64>, Option<u64>), store::Error> {
    for &id in &ids {
        if parts.store.dead_letter_event(id)?.is_none() {
            return Ok((ids, Some(id)));
        }
    }
    Ok((ids, None))
}

fn of_delivery(error: delivery::Error) -> ControlError {
    match error {
        delivery::Error::NoSuchConnection(name) => no_such_connection(&name),
        delivery::Error::EmptyRange { .. } => ControlError::Invalid(error.to_string()),
        delivery::Error::TooManyReplays(_) => ControlError::Conflict(error.to_string()),
        delivery::Error::Ended => ControlError::Unavailable("Fairlane is stopping".to_owned()),
        other => ControlError::Internal(other.to_string()),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

impl Control for Steering {
    fn ready(&self) -> Result<(), String> {
        self.ingest.ready().map_err(str::to_owned)
    }

    fn status(&self) -> Answer<'_, Status> {
        Box::pin(async {
            let lanes = self.live_lanes().await;
            let started_at = self.parts.started_at;
            Status {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started_at,
                uptime_ms: now().0.saturating_sub(started_at.0),
                ready: self.ingest.ready().is_ok(),
                not_ready: None,
                reload_error: self.reload_error(),
                balance: self.parts.balance(&lanes),
                lanes: LaneTally::of(&lanes),
                log: self.log_status(),
                store: self.store_status().await,
            }
        })
    }

    fn lanes(&self) -> Answer<'_, Vec<LaneStatus>> {
        Box::pin(self.live_lanes())
    }

    fn lane<'a>(&'a self, connection: &'a str) -> Answer<'a, Result<LaneDetail, ControlError>> {
        Box::pin(async move {
            let lane = self.parts.delivery.lane(connection).await;
            let lane = lane.ok_or_else(|| no_such_connection(connection))?;
            let id = lane.lane;
            let since = UnixMillis(now().0.saturating_sub(MINUTES_SHOWN_MS));
            let looked = self.look(move |parts| {
                let minutes = parts.store.minutes(id, since)?;
                Ok((parts.store.samples(id)?, minutes))
            });
            let (samples, minutes) = looked.await?;
            let minutes = minutes.into_iter().map(|minute| MinuteView {
                at: minute.minute,
                delivered: minute.delivered,
                rejected: minute.rejected,
                filtered: minute.filtered,
                expired: minute.expired,
                attempts_failed: minute.attempts_failed,
            });
            let samples = samples.into_iter().map(|sample| AttemptView {
                at: sample.at,
                offset: sample.offset,
                attempt: sample.attempt,
                status: sample.status,
                result: sample.result,
                latency_ms: sample.latency_ms,
                request: sample.request_line,
                response: text(&sample.response),
            });
            Ok(LaneDetail {
                lane,
                samples: samples.collect(),
                minutes: minutes.collect(),
            })
        })
    }

    fn hold<'a>(&'a self, connection: &'a str) -> Answer<'a, Result<(), ControlError>> {
        Box::pin(async move {
            self.parts
                .delivery
                .hold(connection)
                .await
                .map_err(of_delivery)
        })
    }

    fn resume<'a>(&'a self, connection: &'a str) -> Answer<'a, Result<(), ControlError>> {
        Box::pin(async move {
            let delivery = &self.parts.delivery;
            delivery.resume(connection).await.map_err(of_delivery)?;
            // What a person held goes on; what the configuration switched off does not.
            let lane = delivery.lane(connection).await;
            match lane.is_some_and(|lane| lane.state == LaneState::Disabled) {
                true => Err(ControlError::Conflict(format!(
                    "{connection} is disabled in the configuration: it goes on when `enabled = false` \
                     is gone from there"
                ))),
                false => Ok(()),
            }
        })
    }

    fn dead_letters(
        &self,
        query: DeadLetterQuery,
    ) -> Answer<'_, Result<Vec<DeadLetterSummary>, ControlError>> {
        Box::pin(async move {
            let filter = DeadLetterFilter {
                after_id: query.after,
                limit: query.limit,
                ..self.filter(query.filter)?
            };
            let letters = self
                .look(move |parts| parts.store.dead_letters(&filter))
                .await?;
            Ok(letters
                .into_iter()
                .map(|letter| self.summary(letter))
                .collect())
        })
    }

    fn dead_letter_totals<'a>(
        &'a self,
        connection: Option<&'a str>,
    ) -> Answer<'a, Result<DeadLetterTotals, ControlError>> {
        Box::pin(async move {
            let wanted = connection.map(|name| self.connection_id(name));
            let wanted = wanted.transpose()?;
            let counts = self.look(|parts| parts.store.dead_letter_counts()).await?;
            let is_wanted = |count: &&DeadLetterCount| {
                wanted.is_none_or(|connection| count.connection == connection)
            };
            Ok(self.totals(counts.iter().filter(is_wanted)))
        })
    }

    fn dead_letter(&self, id: u64) -> Answer<'_, Result<DeadLetterDetail, ControlError>> {
        Box::pin(async move {
            let found = self.look(move |parts| parts.store.dead_letter(id)).await?;
            let found = found.ok_or_else(|| no_such_letter(id))?;
            let letter = found.letter;
            Ok(DeadLetterDetail {
                summary: DeadLetterSummary {
                    id,
                    connection: self.connection_name(letter.connection),
                    offset: letter.offset,
                    message_id: letter.message_id,
                    reason: letter.reason,
                    expired: letter.expired,
                    detail: letter.answer.detail,
                    status: letter.answer.status,
                    attempts: letter.attempts,
                    received_at: letter.received_at,
                    died_at: letter.died_at,
                    queued: found.state == DeadLetterState::Queued,
                },
                event: serde_json::from_slice(&letter.event).unwrap_or_default(),
                response: letter.answer.response.map(|response| text(&response)),
            })
        })
    }

    fn redeliver(&self, selection: Selection) -> Answer<'_, Result<Vec<Redelivery>, ControlError>> {
        Box::pin(async move {
            let selection = match selection {
                Selection::All => DeadLetterSelection::Filter(DeadLetterFilter {
                    limit: usize::MAX,
                    ..DeadLetterFilter::default()
                }),
                Selection::Ids(ids) => {
                    let (ids, unknown) = self.look(move |parts| known_letters(parts, ids)).await?;
                    if let Some(id) = unknown {
                        return Err(no_such_letter(id));
                    }
                    DeadLetterSelection::Ids(ids)
                }
                Selection::Matching(filter) => DeadLetterSelection::Filter(DeadLetterFilter {
                    limit: usize::MAX,
                    ..self.filter(filter)?
                }),
            };
            let queued = self
                .parts
                .delivery
                .redeliver(selection)
                .await
                .map_err(of_delivery)?;
            let named = |(connection, queued)| Redelivery {
                connection: self.connection_name(connection),
                queued,
            };
            Ok(queued.into_iter().map(named).collect())
        })
    }

    fn replay(&self, request: ReplayRequest) -> Answer<'_, Result<ReplayStatus, ControlError>> {
        Box::pin(self.start_replay(request))
    }

    fn replays(&self) -> Answer<'_, Result<Vec<ReplayStatus>, ControlError>> {
        Box::pin(self.all_replays())
    }

    fn replay_by_id(&self, id: u64) -> Answer<'_, Result<ReplayStatus, ControlError>> {
        Box::pin(self.one_replay(id))
    }

    fn cancel_replay(&self, id: u64) -> Answer<'_, Result<ReplayStatus, ControlError>> {
        Box::pin(self.end_replay(id))
    }

    fn destinations(&self) -> Answer<'_, Vec<DestinationStatus>> {
        Box::pin(async move {
            let registry = self.parts.registry.load_full();
            let catalog = self.parts.catalog.load_full();
            let mut connections: HashMap<_, Vec<String>> = HashMap::new();
            for connection in &registry.connections {
                let names = connections.entry(connection.destination).or_default();
                names.push(connection.name.to_string());
            }
            let status = |destination: &Arc<Destination>| DestinationStatus {
                name: destination.name.to_string(),
                definition: destination.definition.clone(),
                enabled: destination.enabled,
                settings: destination.settings.names().map(str::to_owned).collect(),
                connections: connections
                    .get(&destination.id)
                    .cloned()
                    .unwrap_or_default(),
                problem: match (
                    catalog.refusal(&destination.definition),
                    catalog.get(&destination.definition),
                ) {
                    (Some(refusal), _) => Some(refusal.to_string()),
                    (None, None) => Some(format!("there is no type {:?}", destination.definition)),
                    (None, Some(definition)) => definition
                        .check_settings(&destination.settings)
                        .err()
                        .and_then(|problems| problems.first().map(ToString::to_string)),
                },
            };
            registry.destinations.iter().map(status).collect()
        })
    }

    fn reload(&self) -> Answer<'_, Result<ReloadReport, ControlError>> {
        Box::pin(async move {
            crate::reload::reload(&self.parts)
                .await
                .map_err(|error| ControlError::Invalid(format!("{error:#}")))
        })
    }

    fn metrics(&self) -> Answer<'_, MetricsSnapshot> {
        Box::pin(async move {
            let stats = self.parts.log.stats();
            let (resident_bytes, open_files) = process_figures();
            MetricsSnapshot {
                version: env!("CARGO_PKG_VERSION").to_owned(),
                started_at: self.parts.started_at,
                ready: true,
                reload_failed: self.reload_error().is_some(),
                ingest: self.ingest_snapshot(),
                lanes: self.live_lanes().await,
                log: self.log_status(),
                commit_latency_us: HistogramSnapshot {
                    bounds: eventlog::FSYNC_BUCKETS_US.to_vec(),
                    counts: stats.fsync_buckets.to_vec(),
                    sum: stats.fsync_us_sum,
                },
                store: self.store_status().await,
                resident_bytes,
                open_files,
            }
        })
    }
}

impl Steering {
    fn ingest_snapshot(&self) -> IngestSnapshot {
        let stats = self.ingest.stats();
        let registry = self.parts.registry.load();
        let latency = stats.ack_latency();
        let names = registry
            .sources
            .iter()
            .map(|source| (source.id, &source.name));
        let names: HashMap<_, _> = names.collect();
        let discards = Discard::ALL.into_iter();
        IngestSnapshot {
            requests: stats
                .requests()
                .into_iter()
                .map(|(label, status, count)| (label.as_str().to_owned(), status, count))
                .collect(),
            accepted: stats
                .accepted()
                .into_iter()
                .filter_map(|(id, count)| Some((names.get(&id)?.to_string(), count)))
                .collect(),
            duplicates: stats.duplicates(),
            discarded: discards
                .map(|reason| (reason.as_str().to_owned(), stats.discarded(reason)))
                .collect(),
            connections: u64::try_from(self.ingest.connections()).unwrap_or(u64::MAX),
            connections_closed: Cut::ALL
                .into_iter()
                .map(|reason| (reason.as_str().to_owned(), stats.cut(reason)))
                .collect(),
            bytes: stats.body_bytes(),
            ack_latency_us: HistogramSnapshot {
                bounds: LATENCY_BUCKETS_MS.iter().map(|ms| ms * 1_000).collect(),
                counts: latency.buckets.to_vec(),
                sum: latency.sum_us,
            },
        }
    }
}

/// Resident bytes and open files of this process; 0 where the system does not say.
fn process_figures() -> (u64, u64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .unwrap_or(0);
    let files = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    (kib * 1_024, u64::try_from(files).unwrap_or(u64::MAX))
}
