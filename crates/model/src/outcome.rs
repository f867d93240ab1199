//! How a job ends, and what an attempt can come back with.
//!
//! The catalog and the senders *name* what happened ([`JobResult`], [`Failure`]); the scheduler
//! alone decides what follows from it.

use serde::{Deserialize, Serialize};

/// How a job ended. Every accepted event ends in exactly one of these for each connection of its
/// source. (A retry is not an end: the job stays in its lane.)
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Outcome {
    Delivered,
    Filtered(FilterReason),
    /// The destination, or the definition, refused this event for good: a dead letter.
    Rejected(RejectReason),
    /// Retried until its limit: a dead letter.
    Expired(RejectReason),
}

/// Why an event is not meant for a connection. This is no fault.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FilterReason {
    /// The connection's own filter said no.
    Filter,
    /// The event's `integrations` object switches this destination off.
    Integrations,
    /// The destination does not take this type of event.
    EventType,
    /// The destination's program dropped it (a condition of its service).
    Destination,
    /// The connection's own transform dropped it.
    Transform,
}

impl FilterReason {
    pub const ALL: [Self; 5] = [
        Self::Filter,
        Self::Integrations,
        Self::EventType,
        Self::Destination,
        Self::Transform,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Integrations => "integrations",
            Self::EventType => "event_type",
            Self::Destination => "destination",
            Self::Transform => "transform",
        }
    }

    /// This reason's place in [`FilterReason::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// Why a job became a dead letter.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RejectReason {
    /// The destination answered that this event is wrong (400, 422, ...).
    Refused,
    /// The event or batch is too large for the destination, and cannot be split further.
    TooLarge,
    /// Answered 409 until the tries were used up.
    Conflict,
    /// The definition's program says that the event lacks what the service needs.
    Invalid,
    /// The program failed on this event: an error at run time.
    TransformFailed,
    /// The program went over its budget of steps, time or memory, or panicked.
    TransformLimit,
    /// The request that the program made is not allowed (its URL leaves the host, a bad header).
    BadRequest,
    /// Retried until its age and number of attempts were used up.
    RetriesExhausted,
    /// This event keeps failing where others succeed.
    EventSpecific,
    /// The log's record is damaged: there is nothing left to send.
    Damaged,
    /// The log's retention removed the event before it was settled.
    Retention,
}

impl RejectReason {
    pub const ALL: [Self; 11] = [
        Self::Refused,
        Self::TooLarge,
        Self::Conflict,
        Self::Invalid,
        Self::TransformFailed,
        Self::TransformLimit,
        Self::BadRequest,
        Self::RetriesExhausted,
        Self::EventSpecific,
        Self::Damaged,
        Self::Retention,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::TooLarge => "too_large",
            Self::Conflict => "conflict",
            Self::Invalid => "invalid",
            Self::TransformFailed => "transform_failed",
            Self::TransformLimit => "transform_limit",
            Self::BadRequest => "bad_request",
            Self::RetriesExhausted => "retries_exhausted",
            Self::EventSpecific => "event_specific",
            Self::Damaged => "damaged",
            Self::Retention => "retention",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

/// What became of one job in one attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum JobResult {
    Delivered,
    Filtered(FilterReason),
    Rejected(RejectReason),
    /// Not done; the scheduler decides what follows.
    Failed(Failure),
}

/// Why an attempt did not get an event delivered. One variant for each line of the
/// classification table whose policy differs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Failure {
    /// 429: the destination asks for less. Seconds of Retry-After as the destination said them.
    RateLimited { retry_after_s: Option<u64> },
    /// 503 and kin (502, 504, 507, 508, 509, 511, 520-524, 529, 598, 599): down or overloaded.
    Unavailable { retry_after_s: Option<u64> },
    /// 500: may be the destination, may be this event.
    ServerError,
    /// 408, 423, 425: try again.
    TryAgain,
    /// 409: try a few times, then a dead letter.
    Conflict,
    /// Connection refused, reset, unreachable.
    Connect,
    /// No connection within its time.
    ConnectTimeout,
    /// No whole answer within the attempt's time, or the connection died before one: it may have
    /// arrived, or not.
    Indeterminate,
    /// The TLS handshake failed: expired, unknown issuer, wrong host.
    Tls,
    /// The name does not exist.
    NoSuchHost,
    /// The name could not be looked up just now.
    Dns,
    /// The address is one that the egress guard forbids.
    Blocked,
    /// 401: the credentials are wrong.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 404.
    NotFound,
    /// 410: the destination says that it is gone for good.
    Gone,
    /// 1xx or 3xx: wrongly configured.
    Redirect,
    /// 505.
    VersionUnsupported,
    /// A batch was refused whole (400, 413, ...) without saying which event: split it.
    BatchRefused { too_large: bool },
    /// Our own fault (no file descriptor, no memory): charged to nobody.
    Ours,
}

impl Failure {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited { .. } => "rate_limited",
            Self::Unavailable { .. } => "unavailable",
            Self::ServerError => "server_error",
            Self::TryAgain => "try_again",
            Self::Conflict => "conflict",
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Indeterminate => "indeterminate",
            Self::Tls => "tls",
            Self::NoSuchHost => "no_such_host",
            Self::Dns => "dns",
            Self::Blocked => "blocked",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::NotFound => "not_found",
            Self::Gone => "gone",
            Self::Redirect => "redirect",
            Self::VersionUnsupported => "version_unsupported",
            Self::BatchRefused { .. } => "batch_refused",
            Self::Ours => "ours",
        }
    }
}

/// Why a lane is stopped until a person, or a successful probe, lets it go on. Nothing is lost
/// while it holds, until the log's retention ends.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HoldReason {
    /// 401, or 403 on everything.
    Auth,
    /// 410.
    Gone,
    /// Redirects, 404, 505: the URL or the settings are wrong.
    Configuration,
    Tls,
    /// The name has not existed for an hour.
    NoSuchHost,
    /// The egress guard forbids the address.
    Egress,
    /// The connection's programs or settings do not compile or check.
    Definition,
    /// A person held it.
    Operator,
}

impl HoldReason {
    pub const ALL: [Self; 8] = [
        Self::Auth,
        Self::Gone,
        Self::Configuration,
        Self::Tls,
        Self::NoSuchHost,
        Self::Egress,
        Self::Definition,
        Self::Operator,
    ];

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Gone => "gone",
            Self::Configuration => "configuration",
            Self::Tls => "tls",
            Self::NoSuchHost => "no_such_host",
            Self::Egress => "egress",
            Self::Definition => "definition",
            Self::Operator => "operator",
        }
    }

    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}
