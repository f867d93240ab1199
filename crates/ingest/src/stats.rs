//! What ingest counts. Counters only: naming and formatting them is the business of metrics.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use model::SourceId;
use model::lane::LATENCY_BUCKETS_MS;

use crate::route::Label;

/// Why an event was not taken, although its request was answered 200.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Discard {
    /// Neither header nor body names a source.
    NoWriteKey,
    /// No source has this write key.
    UnknownWriteKey,
    /// The source is switched off in the configuration.
    SourceDisabled,
    /// More than [`model::limits::BATCH_EVENTS_MAX`] events in one batch: all are discarded.
    BatchTooLong,
    NotAnObject,
    /// No `type`, or none of the six.
    NoType,
    /// Neither `userId` nor `anonymousId`.
    NoIdentity,
    /// A `track` without `event`.
    NoEventName,
    /// More than [`model::limits::EVENT_BYTES_MAX`] as sent, or more than
    /// [`model::limits::RECORD_BYTES_MAX`] after merging.
    EventTooLarge,
    /// A pixel's query holds no event. (A pixel is answered with its image all the same.)
    BadPixel,
    /// A pixel's event was refused: a limit, or the log. Nobody retries an image.
    PixelRefused,
}

impl Discard {
    pub const ALL: [Self; 11] = [
        Self::NoWriteKey,
        Self::UnknownWriteKey,
        Self::SourceDisabled,
        Self::BatchTooLong,
        Self::NotAnObject,
        Self::NoType,
        Self::NoIdentity,
        Self::NoEventName,
        Self::EventTooLarge,
        Self::BadPixel,
        Self::PixelRefused,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoWriteKey => "no_write_key",
            Self::UnknownWriteKey => "unknown_write_key",
            Self::SourceDisabled => "source_disabled",
            Self::BatchTooLong => "batch_too_long",
            Self::NotAnObject => "not_an_object",
            Self::NoType => "no_type",
            Self::NoIdentity => "no_identity",
            Self::NoEventName => "no_event_name",
            Self::EventTooLarge => "event_too_large",
            Self::BadPixel => "bad_pixel",
            Self::PixelRefused => "pixel_refused",
        }
    }
}

/// Why a connection was closed by us.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Cut {
    /// Too many connections, in all or from its address.
    TooMany,
    SlowHeaders,
    SlowBody,
    /// No request for too long. This is no fault.
    Idle,
}

impl Cut {
    pub const ALL: [Self; 4] = [Self::TooMany, Self::SlowHeaders, Self::SlowBody, Self::Idle];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TooMany => "too_many",
            Self::SlowHeaders => "slow_headers",
            Self::SlowBody => "slow_body",
            Self::Idle => "idle",
        }
    }
}

/// Every status that ingest answers with.
pub const STATUSES: [u16; 10] = [200, 204, 400, 404, 405, 413, 415, 429, 500, 503];

const LATENCY_BUCKETS: usize = LATENCY_BUCKETS_MS.len() + 1;

/// Counters since start. Read them whenever; each is exact, several together are not a snapshot.
#[derive(Debug, Default)]
pub struct IngestStats {
    requests: [[AtomicU64; STATUSES.len()]; Label::ALL.len()],
    accepted: RwLock<HashMap<SourceId, AtomicU64>>,
    discarded: [AtomicU64; Discard::ALL.len()],
    cuts: [AtomicU64; Cut::ALL.len()],
    duplicates: AtomicU64,
    body_bytes: AtomicU64,
    latency_buckets: [AtomicU64; LATENCY_BUCKETS],
    latency_us_sum: AtomicU64,
}

/// How long requests with events took from their headers to a 200.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AckLatency {
    /// By [`LATENCY_BUCKETS_MS`]; the last one takes the rest.
    pub buckets: [u64; LATENCY_BUCKETS],
    pub sum_us: u64,
}

impl IngestStats {
    /// Requests by endpoint and status, those that occurred.
    #[must_use]
    pub fn requests(&self) -> Vec<(Label, u16, u64)> {
        let mut rows = Vec::new();
        for (label, by_status) in Label::ALL.into_iter().zip(&self.requests) {
            for (status, count) in STATUSES.into_iter().zip(by_status) {
                let count = count.load(Relaxed);
                if count > 0 {
                    rows.push((label, status, count));
                }
            }
        }
        rows
    }

    /// Events made durable, by source.
    #[must_use]
    pub fn accepted(&self) -> Vec<(SourceId, u64)> {
        let accepted = self.accepted.read().unwrap_or_else(PoisonError::into_inner);
        let mut rows: Vec<_> = accepted
            .iter()
            .map(|(id, count)| (*id, count.load(Relaxed)))
            .collect();
        rows.sort_unstable();
        rows
    }

    /// Events discarded for this reason.
    #[must_use]
    pub fn discarded(&self, reason: Discard) -> u64 {
        place_of(&Discard::ALL, &reason, &self.discarded).load(Relaxed)
    }

    /// Connections that we closed, for this reason.
    #[must_use]
    pub fn cut(&self, reason: Cut) -> u64 {
        place_of(&Cut::ALL, &reason, &self.cuts).load(Relaxed)
    }

    /// Events dropped because their message id was known.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.duplicates.load(Relaxed)
    }

    /// Bytes of bodies, as sent.
    #[must_use]
    pub fn body_bytes(&self) -> u64 {
        self.body_bytes.load(Relaxed)
    }

    #[must_use]
    pub fn ack_latency(&self) -> AckLatency {
        AckLatency {
            buckets: std::array::from_fn(|index| {
                self.latency_buckets
                    .get(index)
                    .map_or(0, |bucket| bucket.load(Relaxed))
            }),
            sum_us: self.latency_us_sum.load(Relaxed),
        }
    }

    pub(crate) fn count_request(&self, label: Label, status: u16) {
        let by_status = place_of(&Label::ALL, &label, &self.requests);
        place_of(&STATUSES, &status, by_status).fetch_add(1, Relaxed);
    }

    pub(crate) fn count_accepted(&self, source: SourceId, events: usize) {
        let events = u64::try_from(events).unwrap_or(u64::MAX);
        {
            let accepted = self.accepted.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(count) = accepted.get(&source) {
                count.fetch_add(events, Relaxed);
                return;
            }
        }
        let mut accepted = self
            .accepted
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        accepted
            .entry(source)
            .or_default()
            .fetch_add(events, Relaxed);
    }

    pub(crate) fn count_discarded(&self, reason: Discard, events: usize) {
        let events = u64::try_from(events).unwrap_or(u64::MAX);
        place_of(&Discard::ALL, &reason, &self.discarded).fetch_add(events, Relaxed);
    }

    pub(crate) fn count_cut(&self, reason: Cut) {
        place_of(&Cut::ALL, &reason, &self.cuts).fetch_add(1, Relaxed);
    }

    pub(crate) fn count_duplicates(&self, events: u64) {
        self.duplicates.fetch_add(events, Relaxed);
    }

    pub(crate) fn count_body(&self, bytes: usize) {
        self.body_bytes
            .fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn count_ack(&self, latency: Duration) {
        let us = u64::try_from(latency.as_micros()).unwrap_or(u64::MAX);
        let index = LATENCY_BUCKETS_MS.partition_point(|bound_ms| bound_ms * 1_000 < us);
        if let Some(bucket) = self.latency_buckets.get(index) {
            bucket.fetch_add(1, Relaxed);
        }
        self.latency_us_sum.fetch_add(us, Relaxed);
    }
}

/// The counter that stands where `key` stands among `keys`.
fn place_of<'c, K: PartialEq, C>(keys: &[K], key: &K, counters: &'c [C]) -> &'c C {
    let index = keys.iter().position(|other| other == key);
    index
        .and_then(|index| counters.get(index))
        .expect("every key is in its list")
}
