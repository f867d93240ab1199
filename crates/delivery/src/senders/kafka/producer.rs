//! A producer, and who it talks to.
//!
//! librdkafka resolves names and dials by itself, past the egress guard. So it is given addresses
//! instead of names, which the guard has judged, or where TLS has to check the names, those whose
//! addresses were judged just before; and before it gets a record, all brokers that the cluster names
//! are resolved and judged, and again every minute. A gap stays: a broker's name that means another
//! address by the time it is dialled, and a broker that joins within that minute. Who runs the cluster
//! could use it; whoever only sends events could not.

use std::cell::Cell;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use model::Failure;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext as _, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::future_producer::DeliveryFuture;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer as _};
use tokio::time::Instant;

use super::target::{Broker, Target, Tls};
use super::{KafkaOptions, answer};
use crate::http::Failed;
use crate::http::dial::Dialer;

/// Brokers of one cluster that are judged; a larger one is not for us.
const CLUSTER_BROKERS_MAX: usize = 1_000;

/// Why there is no producer.
pub(super) enum NoProducer {
    Failed(Failed),
    /// The cluster, or librdkafka, says no, and why.
    Refused(RDKafkaErrorCode, String),
}

impl From<Failed> for NoProducer {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

/// See the module.
pub(super) struct Producer {
    /// `None` only while it is dropped.
    inner: Option<FutureProducer<Watch>>,
    watch: Watch,
    pub(super) judged_at: Cell<Instant>,
}

/// What librdkafka says beside its answers: the gravest error since all was well.
#[derive(Clone, Default)]
struct Watch(Arc<Mutex<Option<(RDKafkaErrorCode, String)>>>);

impl Watch {
    fn lock(&self) -> MutexGuard<'_, Option<(RDKafkaErrorCode, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Watch {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(?level, facility, "librdkafka: {message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        let mut last = self.lock();
        // After "wrong password" comes "all brokers are down", which tells less.
        let tells_more = last
            .as_ref()
            .is_none_or(|(known, _)| answer::graver(code, *known) == code);
        if tells_more {
            *last = Some((code, reason.to_owned()));
        }
    }
}

/// What is asked of the cluster.
struct Found {
    brokers: Vec<Broker>,
    topic_error: Option<RDKafkaErrorCode>,
}

impl Producer {
    /// Opens one, and finds the topic.
    pub(super) async fn open(
        target: &Target,
        dialer: &Dialer,
        options: &KafkaOptions,
        timeout: Duration,
    ) -> Result<Self, NoProducer> {
        let servers = servers(target, dialer).await?;
        let mut config = config(target, &servers, options, timeout);
        if let Some(tls) = &target.tls {
            encrypt(&mut config, tls, dialer)?;
        }
        let watch = Watch::default();
        let made = FutureProducer::from_config_and_context(&config, watch.clone());
        let inner = made.map_err(|error| {
            let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
            NoProducer::Refused(code, error.to_string())
        })?;
        let producer = Self {
            inner: Some(inner),
            watch,
            judged_at: Cell::new(Instant::now()),
        };
        producer.judge(target, dialer, options).await?;
        Ok(producer)
    }

    /// Asks who belongs to the cluster, and whether all of them may be dialled.
    pub(super) async fn judge(
        &self,
        target: &Target,
        dialer: &Dialer,
        options: &KafkaOptions,
    ) -> Result<(), NoProducer> {
        let found = self.find(target, options).await?;
        if found.brokers.len() > CLUSTER_BROKERS_MAX {
            let count = found.brokers.len();
            let problem = format!(
                "the cluster has {count} brokers; at most {CLUSTER_BROKERS_MAX} are judged"
            );
            return Err(Failed::new(Failure::Blocked, problem).into());
        }
        for (host, port) in &found.brokers {
            dialer.allowed(host, *port, target.tls.is_some()).await?;
        }
        if let Some(code) = found.topic_error {
            let reason = format!("topic {:?}", target.topic);
            return Err(NoProducer::Refused(code, reason));
        }
        *self.watch.lock() = None;
        self.judged_at.set(Instant::now());
        Ok(())
    }

    async fn find(&self, target: &Target, options: &KafkaOptions) -> Result<Found, NoProducer> {
        let Some(inner) = self.inner.clone() else {
            return Err(NoProducer::Refused(RDKafkaErrorCode::Fail, String::new()));
        };
        let topic = target.topic.clone();
        let limit = Duration::from_millis(options.metadata_timeout_ms);
        // It blocks: not on the shard's thread.
        let asked = tokio::task::spawn_blocking(move || {
            let metadata = inner.client().fetch_metadata(Some(&topic), limit)?;
            let brokers = metadata.brokers().iter().map(|broker| {
                let port = u16::try_from(broker.port()).unwrap_or_default();
                (broker.host().to_owned(), port)
            });
            let topic = metadata.topics().iter().find(|found| found.name() == topic);
            Ok::<_, KafkaError>(Found {
                brokers: brokers.collect(),
                topic_error: topic.and_then(|topic| topic.error()).map(Into::into),
            })
        });
        match asked.await {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(error)) => Err(self.explain(&error)),
            Err(_) => Err(Failed::new(Failure::Ours, "asking the cluster broke off").into()),
        }
    }

    /// A question that got no answer; librdkafka tells elsewhere why.
    fn explain(&self, error: &KafkaError) -> NoProducer {
        let last = self.last();
        match last {
            Some((code, reason)) if answer::status(code) == 401 => {
                NoProducer::Refused(code, reason)
            }
            Some((RDKafkaErrorCode::SSL, reason)) => Failed::new(Failure::Tls, reason).into(),
            last => {
                let why = last.map_or_else(String::new, |(_, reason)| format!(": {reason}"));
                let detail = format!("the brokers do not say who they are: {error}{why}");
                NoProducer::Failed(Failed::new(Failure::Connect, detail))
            }
        }
    }

    /// Hands one record to librdkafka.
    #[allow(clippy::result_large_err)] // As librdkafka's wrapper has it; the record is given back.
    pub(super) fn queue<'a>(
        &self,
        record: FutureRecord<'a, str, str>,
    ) -> Result<DeliveryFuture, (KafkaError, FutureRecord<'a, str, str>)> {
        match &self.inner {
            Some(inner) => inner.send_result(record),
            None => {
                let error = KafkaError::MessageProduction(RDKafkaErrorCode::Fail);
                Err((error, record))
            }
        }
    }

    /// Whether it will never work again.
    pub(super) fn is_broken(&self) -> bool {
        let inner = self.inner.as_ref();
        inner.is_none_or(|inner| inner.client().fatal_error().is_some())
    }

    pub(super) fn last_error(&self) -> Option<String> {
        self.last().map(|(_, reason)| reason)
    }

    fn last(&self) -> Option<(RDKafkaErrorCode, String)> {
        self.watch.lock().clone()
    }
}

impl Drop for Producer {
    fn drop(&mut self) {
        // Closing waits for librdkafka's threads: not on the shard's.
        let inner = mem::take(&mut self.inner);
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn_blocking(move || drop(inner));
        }
    }
}

/// The addresses of the brokers that are named, judged; one of them answers.
async fn servers(target: &Target, dialer: &Dialer) -> Result<String, Failed> {
    let mut servers = Vec::new();
    let mut last = None;
    for (host, port) in &target.brokers {
        match dialer.dial_tcp(host, *port, target.tls.is_some()).await {
            // Its certificate is for the name.
            Ok(_) if target.tls.is_some() => servers.push(format!("{host}:{port}")),
            Ok(stream) => match stream.peer_addr() {
                Ok(address) => servers.push(address.to_string()),
                Err(error) => last = Some(Failed::connecting(&error, host)),
            },
            Err(failed) => last = Some(failed),
        }
    }
    match last {
        Some(failed) if servers.is_empty() => Err(failed),
        _ => Ok(servers.join(",")),
    }
}

fn config(
    target: &Target,
    servers: &str,
    options: &KafkaOptions,
    timeout: Duration,
) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", servers)
        .set("client.id", "fairlane")
        .set("security.protocol", security_protocol(target))
        .set("compression.type", target.compression)
        // Delivered is what all replicas in sync have, once, in order.
        .set("acks", "all")
        .set("enable.idempotence", "true")
        // A request's records come at once, and no others do.
        .set("linger.ms", "1")
        // What is not delivered within the attempt is given up: the next attempt brings it again.
        .set(
            "message.timeout.ms",
            timeout.as_millis().max(1_000).to_string(),
        )
        .set("topic.metadata.propagation.max.ms", "5000")
        .set(
            "queue.buffering.max.messages",
            options.queued_records_max.to_string(),
        )
        .set(
            "queue.buffering.max.kbytes",
            options.queued_kib_max.to_string(),
        )
        .set("message.max.bytes", options.record_bytes_max.to_string())
        .set("log.connection.close", "false");
    if let Some(login) = &target.login {
        config
            .set("sasl.mechanism", login.mechanism)
            .set("sasl.username", &login.user)
            .set("sasl.password", login.password.reveal());
    }
    config
}

/// As librdkafka calls it.
fn security_protocol(target: &Target) -> &'static str {
    match (&target.tls, &target.login) {
        (None, None) => "plaintext",
        (Some(_), None) => "ssl",
        (None, Some(_)) => "sasl_plaintext",
        (Some(_), Some(_)) => "sasl_ssl",
    }
}

/// Whom to trust is the same as for HTTP, wherever the system keeps its own authorities, if it does.
fn encrypt(config: &mut ClientConfig, tls: &Tls, dialer: &Dialer) -> Result<(), Failed> {
    let more = dialer.egress.extra_ca_pem.as_ref();
    let more = more.map(std::fs::read_to_string).transpose();
    let more = more.map_err(|error| Failed::new(Failure::Tls, format!("extra_ca: {error}")))?;
    let public = webpki_root_certs::TLS_SERVER_ROOT_CERTS.iter();
    let mut trusted: String = public.map(|der| pem(der)).collect();
    for text in [more, tls.ca_certificate.clone()].into_iter().flatten() {
        trusted.push_str(&text);
        trusted.push('\n');
    }
    config.set("ssl.ca.pem", trusted);
    if let Some((certificate, key)) = &tls.client {
        config
            .set("ssl.certificate.pem", certificate)
            .set("ssl.key.pem", key.reveal());
    }
    Ok(())
}

fn pem(der: &[u8]) -> String {
    let text = BASE64.encode(der);
    let mut lines = String::from("-----BEGIN CERTIFICATE-----\n");
    for line in text.as_bytes().chunks(64) {
        lines.extend(line.iter().copied().map(char::from));
        lines.push('\n');
    }
    lines.push_str("-----END CERTIFICATE-----\n");
    lines
}
