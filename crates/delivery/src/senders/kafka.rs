//! The sender that produces records to Kafka, with librdkafka.
//!
//! ```text
//!   url, options -> target: brokers, topic, as whom
//!   body         -> records
//!                     |
//!   producer: one of each destination and shard, opened through the egress guard's judgement
//!                     |
//!   every record's delivery report, from all replicas in sync
//!                     |
//!   answer: error code -> the HTTP status that means the same
//! ```
//!
//! librdkafka has threads of its own and dials by itself: the one sender that does. What can be judged
//! of that beforehand is judged, see [`producer`].

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use catalog::FinalRequest;
use model::{DestinationId, Failure};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::FutureRecord;
use serde_json::json;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::http::Failed;
use crate::http::request::BadRequest;
use crate::http::send::{Client, Sent};

use super::peers::{Peer, Peers};

mod answer;
mod producer;
mod records;
mod target;

use producer::{NoProducer, Producer};
use records::Record;
use target::Target;

/// Limits of producing to Kafka.
#[derive(Clone, Debug)]
pub struct KafkaOptions {
    /// Producers that one shard keeps: the one that was used longest ago makes room. Default: 256.
    pub producers_max: usize,
    /// A producer that was not used for so long is closed, with its threads. Default: 300,000.
    pub idle_ms_max: u64,
    /// How often the cluster's brokers are asked for and judged again. Default: 60,000.
    pub judge_interval_ms: u64,
    /// How long the brokers may take to say who they are. Default: 10,000.
    pub metadata_timeout_ms: u64,
    /// Records that wait in one producer; a request whose records find no room waits.
    /// Default: 20,000.
    pub queued_records_max: u32,
    /// Their kilobytes. Default: 65,536.
    pub queued_kib_max: u32,
    /// One record, as librdkafka takes it; the brokers may take less. Default: 8 MiB.
    pub record_bytes_max: u32,
    /// How often a full queue is tried again. Default: 20.
    pub queue_retry_ms: u64,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self {
            producers_max: 256,
            idle_ms_max: 300_000,
            judge_interval_ms: 60_000,
            metadata_timeout_ms: 10_000,
            queued_records_max: 20_000,
            queued_kib_max: 65_536,
            record_bytes_max: 8 * 1024 * 1024,
            queue_retry_ms: 20,
        }
    }
}

/// One shard's producers.
pub(super) struct Kafka {
    /// Judges.
    http: Rc<Client>,
    options: KafkaOptions,
    /// A producer is opened by the first request that needs it. Whoever has the lock has the turn.
    clusters: Peers<Target, Mutex<Option<Producer>>>,
}

/// How far a request has come: says what a timeout means.
#[derive(Clone, Copy)]
enum Phase {
    Waiting,
    Connecting,
    Producing,
}

impl Kafka {
    pub(super) fn new(http: Rc<Client>, options: KafkaOptions) -> Self {
        Self {
            http,
            clusters: Peers::new(options.producers_max, options.idle_ms_max),
            options,
        }
    }

    /// Produces one request's records. Dropping the future stops waiting; what librdkafka has taken
    /// it may still deliver.
    pub(super) async fn send(
        &self,
        destination: DestinationId,
        request: FinalRequest,
        timeout: Duration,
    ) -> Sent {
        let target = match Target::parse(&request.url, |name| request.options.get(name)) {
            Ok(target) => target,
            Err(problem) => return Sent::BadRequest(BadRequest::Url(problem)),
        };
        let records = match records::parse(&request.body) {
            Ok(records) => records,
            Err(problem) => {
                return Sent::answer(400, json!({"message": problem}).to_string());
            }
        };
        let now = Instant::now();
        let known = self.clusters.find(destination, &target, now);
        let cluster = known.unwrap_or_else(|| {
            self.clusters
                .add(destination, target, Mutex::default(), now)
        });
        let phase = Cell::new(Phase::Waiting);
        let exchange = self.exchange(&cluster, &records, timeout, &phase);
        match tokio::time::timeout(timeout, exchange).await {
            Ok(sent) => sent,
            Err(_) => Sent::Failed(timed_out(phase.get(), timeout)),
        }
    }

    async fn exchange(
        &self,
        cluster: &Peer<Target, Mutex<Option<Producer>>>,
        records: &[Record],
        timeout: Duration,
        phase: &Cell<Phase>,
    ) -> Sent {
        // One request after the other: librdkafka would put records of several into one batch, and a
        // batch that is too large by one record fails with all of them, whosesoever they are.
        let mut turn = cluster.state.lock().await;
        phase.set(Phase::Connecting);
        let producer = match self.producer(&cluster.target, turn.take(), timeout).await {
            Ok(producer) => turn.insert(producer),
            Err(NoProducer::Failed(failed)) => return Sent::Failed(failed),
            Err(NoProducer::Refused(code, reason)) => {
                return Sent::answer(answer::status(code), answer::told(code, &reason, 0));
            }
        };
        phase.set(Phase::Producing);
        let outcome = self.produce(producer, &cluster.target.topic, records).await;
        cluster.touch(Instant::now());
        match outcome {
            Ok(()) => Sent::answer(200, json!({"records": records.len()}).to_string()),
            Err(NotAll { code, acknowledged }) => {
                let reason = producer.last_error().unwrap_or_default();
                if producer.is_broken() {
                    // An idempotent producer that has lost its place in the order never works again.
                    *turn = None;
                }
                let told = answer::told(code, &reason, acknowledged);
                Sent::answer(answer::status(code), told)
            }
        }
    }

    /// Hands over all records, in their order, and waits for what becomes of each.
    async fn produce(
        &self,
        producer: &Producer,
        topic: &str,
        records: &[Record],
    ) -> Result<(), NotAll> {
        let mut reports = Vec::with_capacity(records.len());
        let mut failed = None;
        for record in records {
            match self.queue(producer, topic, record).await {
                Ok(report) => reports.push(report),
                Err(code) => {
                    failed = Some(code);
                    break;
                }
            }
        }
        let mut acknowledged = 0;
        for report in reports {
            let code = match report.await {
                Ok(Ok(_)) => {
                    acknowledged += 1;
                    continue;
                }
                Ok(Err((error, _))) => code_of(&error),
                // The producer was closed.
                Err(_) => RDKafkaErrorCode::Fail,
            };
            failed = Some(failed.map_or(code, |other| answer::graver(other, code)));
        }
        match failed {
            None => Ok(()),
            Some(code) => Err(NotAll { code, acknowledged }),
        }
    }

    async fn queue(
        &self,
        producer: &Producer,
        topic: &str,
        record: &Record,
    ) -> Result<rdkafka::producer::future_producer::DeliveryFuture, RDKafkaErrorCode> {
        loop {
            let mut full = FutureRecord::to(topic).headers(record.headers());
            full.key = record.key.as_deref();
            full.payload = record.value.as_deref();
            match producer.queue(full) {
                Ok(report) => return Ok(report),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    let pause = Duration::from_millis(self.options.queue_retry_ms);
                    tokio::time::sleep(pause).await;
                }
                Err((error, _)) => return Err(code_of(&error)),
            }
        }
    }

    /// The producer that there is, judged not too long ago, or a new one.
    async fn producer(
        &self,
        target: &Target,
        known: Option<Producer>,
        timeout: Duration,
    ) -> Result<Producer, NoProducer> {
        let dialer = &self.http.dialer;
        let Some(producer) = known else {
            return Producer::open(target, dialer, &self.options, timeout).await;
        };
        let interval = Duration::from_millis(self.options.judge_interval_ms);
        if producer.judged_at.get().elapsed() >= interval {
            producer.judge(target, dialer, &self.options).await?;
        }
        Ok(producer)
    }

    /// Closes producers that have been idle too long.
    pub(super) fn sweep(&self, now: Instant) {
        self.clusters.sweep(now, |_| ());
    }
}

/// Not all records of a request were acknowledged.
struct NotAll {
    code: RDKafkaErrorCode,
    acknowledged: usize,
}

fn timed_out(phase: Phase, timeout: Duration) -> Failed {
    let waited = timeout.as_millis();
    match phase {
        Phase::Waiting => {
            let failure = Failure::Unavailable {
                retry_after_s: None,
            };
            Failed::new(failure, format!("requests before it took {waited} ms"))
        }
        Phase::Connecting => {
            let detail = format!("no connection to the cluster in {waited} ms");
            Failed::new(Failure::ConnectTimeout, detail)
        }
        Phase::Producing => {
            let detail = format!("not all records were acknowledged in {waited} ms");
            Failed::new(Failure::Indeterminate, detail)
        }
    }
}

fn code_of(error: &KafkaError) -> RDKafkaErrorCode {
    error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail)
}
