//! What the management API asks of the rest of the program, and the shapes of the answers.
//!
//! The types here are the API's own: they are what its clients see as JSON, so they change only
//! when the API does, not whenever a store's row does.

use std::future::Future;
use std::pin::Pin;

use model::lane::LaneStatus;
use model::{Offset, OutcomeCounts, RejectReason, UnixMillis};
use serde::{Deserialize, Serialize};

/// A future in a box: [`Control`] is used as `dyn`, so that this crate is compiled once and the
/// tests can put an implementation of their own behind it.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The rest of the program, as seen from the management API. Implemented by the binary.
///
/// Every future is cancel safe: when the client goes away, what was begun is finished or was never
/// begun.
pub trait Control: Send + Sync + 'static {
    /// Whether events are taken and delivered; if not, why not, in words for a person.
    fn ready(&self) -> Result<(), String>;
    fn status(&self) -> Answer<'_, Status>;
    /// Every lane, in no particular order.
    fn lanes(&self) -> Answer<'_, Vec<LaneStatus>>;
    /// One connection's live lane with its last attempts.
    fn lane<'a>(&'a self, connection: &'a str) -> Answer<'a, Result<LaneDetail, ControlError>>;
    fn hold<'a>(&'a self, connection: &'a str) -> Answer<'a, Result<(), ControlError>>;
    fn resume<'a>(&'a self, connection: &'a str) -> Answer<'a, Result<(), ControlError>>;
    /// Ascending by id, beginning behind `query.after`.
    fn dead_letters(
        &self,
        query: DeadLetterQuery,
    ) -> Answer<'_, Result<Vec<DeadLetterSummary>, ControlError>>;
    /// Of all dead letters, or those of one connection.
    fn dead_letter_totals<'a>(
        &'a self,
        connection: Option<&'a str>,
    ) -> Answer<'a, Result<DeadLetterTotals, ControlError>>;
    fn dead_letter(&self, id: u64) -> Answer<'_, Result<DeadLetterDetail, ControlError>>;
    /// Durable on `Ok`: the dead letters are queued, and stay so over a restart.
    fn redeliver(&self, selection: Selection) -> Answer<'_, Result<Vec<Redelivery>, ControlError>>;
    /// Durable on `Ok`: the replay goes on after a restart.
    fn replay(&self, request: ReplayRequest) -> Answer<'_, Result<ReplayStatus, ControlError>>;
    fn replays(&self) -> Answer<'_, Result<Vec<ReplayStatus>, ControlError>>;
    fn replay_by_id(&self, id: u64) -> Answer<'_, Result<ReplayStatus, ControlError>>;
    /// Ends a replay before it is done. Durable on `Ok`.
    fn cancel_replay(&self, id: u64) -> Answer<'_, Result<ReplayStatus, ControlError>>;
    fn destinations(&self) -> Answer<'_, Vec<DestinationStatus>>;
    /// Reads the configuration again. On `Err` nothing has changed.
    fn reload(&self) -> Answer<'_, Result<ReloadReport, ControlError>>;
    /// Everything that `/metrics` shows, taken at about the same moment.
    fn metrics(&self) -> Answer<'_, MetricsSnapshot>;
}

/// Why something asked for was not done. The texts are for the person who asked, and say what to
/// do.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum ControlError {
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The request makes no sense: nothing was tried.
    #[error("{0}")]
    Invalid(String),
    /// It makes sense, but not in the present state.
    #[error("{0}")]
    Conflict(String),
    /// Not now: try again.
    #[error("{0}")]
    Unavailable(String),
    /// A fault of ours, such as a store that cannot be read.
    #[error("{0}")]
    Internal(String),
}

/// `GET /v1/status`.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub struct Status {
    pub version: String,
    pub started_at: UnixMillis,
    pub uptime_ms: u64,
    pub ready: bool,
    /// Why it is not ready.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub not_ready: Option<String>,
    /// Why the configuration as it is now on disk is not in force.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reload_error: Option<String>,
    pub balance: BalanceSheet,
    pub lanes: LaneTally,
    pub log: LogStatus,
    pub store: StoreStatus,
}

/// What became of everything that was accepted. It must balance at any moment and after any crash:
/// `jobs = delivered + rejected + filtered + expired + pending`, where every event of a source is
/// one job for each of its connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct BalanceSheet {
    /// Events accepted into the log, ever.
    pub accepted: u64,
    /// Connections in force.
    pub connections: u64,
    /// Jobs that the accepted events became: the sum over all lanes.
    pub jobs: u64,
    pub delivered: u64,
    pub rejected: u64,
    pub filtered: u64,
    pub expired: u64,
    /// Counted by the lanes themselves, not worked out from the other figures.
    pub pending: u64,
    pub balanced: bool,
}

impl BalanceSheet {
    /// Adds up the lanes of live connections. Redelivered and replayed jobs are not new events, so
    /// their lanes do not belong here.
    #[must_use]
    pub fn of<'a>(accepted: u64, lanes: impl IntoIterator<Item = &'a LaneStatus>) -> Self {
        let mut sheet = Self {
            accepted,
            ..Self::default()
        };
        for lane in lanes {
            sheet.connections += 1;
            sheet.jobs += lane.accepted;
            sheet.delivered += lane.counts.delivered;
            sheet.rejected += lane.counts.rejected;
            sheet.filtered += lane.counts.filtered_total();
            sheet.expired += lane.counts.expired;
            sheet.pending += lane.pending;
        }
        let ended = sheet.delivered + sheet.rejected + sheet.filtered + sheet.expired;
        sheet.balanced = sheet.jobs == ended + sheet.pending;
        sheet
    }
}

/// How many lanes are in which state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LaneTally {
    pub total: u64,
    pub active: u64,
    pub throttled: u64,
    pub open: u64,
    pub half_open: u64,
    pub held: u64,
    pub disabled: u64,
}

impl LaneTally {
    #[must_use]
    pub fn of<'a>(lanes: impl IntoIterator<Item = &'a LaneStatus>) -> Self {
        use model::LaneState as State;
        let mut tally = Self::default();
        for lane in lanes {
            tally.total += 1;
            let count = match lane.state {
                State::Active => &mut tally.active,
                State::Throttled => &mut tally.throttled,
                State::Open => &mut tally.open,
                State::HalfOpen => &mut tally.half_open,
                State::Held { .. } => &mut tally.held,
                State::Disabled => &mut tally.disabled,
            };
            *count += 1;
        }
        tally
    }
}

/// The event log, as far as a person needs to see it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct LogStatus {
    /// The first offset that is still retained.
    pub first: Offset,
    /// One behind the last durable offset.
    pub end: Offset,
    pub segments: u64,
    pub bytes: u64,
    /// Left on the disk that holds it.
    pub free_bytes: u64,
    /// Cut off a torn tail since start: never acknowledged, so nothing is lost by it.
    pub torn_bytes: u64,
    /// Records that are damaged and cannot be delivered.
    pub damaged_records: u64,
    pub commits: u64,
}

/// The small durable state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Of its files.
    pub bytes: u64,
    pub dead_letters: u64,
    /// Dead letters that wait for their redelivery.
    pub dead_letters_queued: u64,
    pub dead_letters_bytes: u64,
    /// Over it the oldest dead letters are given up.
    pub dead_letters_bytes_max: u64,
    /// Given up because of that limit, since ever.
    pub dead_letters_evicted: u64,
    /// Delivered in the end, since ever.
    pub dead_letters_redelivered: u64,
}

/// `GET /v1/lanes/{connection}`.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct LaneDetail {
    #[serde(flatten)]
    pub lane: LaneStatus,
    /// Some of the last attempts, oldest first.
    pub samples: Vec<AttemptView>,
    /// The last hour, ascending; minutes in which nothing happened are left out.
    #[serde(default)]
    pub minutes: Vec<MinuteView>,
}

/// What a lane did in one minute.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MinuteView {
    /// The minute's start.
    pub at: UnixMillis,
    pub delivered: u64,
    pub rejected: u64,
    pub filtered: u64,
    pub expired: u64,
    pub attempts_failed: u64,
}

/// One attempt, without anything that may hold a secret: no request headers, no query string.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct AttemptView {
    pub at: UnixMillis,
    pub offset: Offset,
    pub attempt: u32,
    pub status: Option<u16>,
    pub result: String,
    pub latency_ms: u32,
    pub request: String,
    /// The beginning of the answer's body, as text. Whatever a stranger sent: show it only as text.
    pub response: String,
}

/// Which dead letters to list.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeadLetterQuery {
    pub filter: DeadLetterFilter,
    /// Only ids above this one.
    pub after: Option<u64>,
    pub limit: usize,
}

/// What is `None` does not restrict.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DeadLetterFilter {
    pub connection: Option<String>,
    pub reason: Option<RejectReason>,
    /// Died at or after.
    pub since: Option<UnixMillis>,
    /// Died before.
    pub until: Option<UnixMillis>,
    /// The event's name; of an event without one, its type.
    pub event: Option<String>,
}

/// How many dead letters there are, and what became of others.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct DeadLetterTotals {
    /// Kept now.
    pub letters: u64,
    pub bytes: u64,
    /// Of all connections together: over it the oldest are given up.
    pub bytes_max: u64,
    /// Given up because of that limit, since ever.
    pub evicted: u64,
    /// Delivered in the end, since ever.
    pub redelivered: u64,
}

/// One dead letter in a list.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DeadLetterSummary {
    pub id: u64,
    pub connection: String,
    pub offset: Offset,
    pub message_id: String,
    pub reason: RejectReason,
    /// Whether it was retried until its limit, and not refused.
    pub expired: bool,
    pub detail: String,
    pub status: Option<u16>,
    pub attempts: u32,
    pub received_at: UnixMillis,
    pub died_at: UnixMillis,
    /// Whether it waits for its redelivery.
    pub queued: bool,
}

/// One dead letter with its event.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct DeadLetterDetail {
    #[serde(flatten)]
    pub summary: DeadLetterSummary,
    /// The event as it stands in the log; `null` where the record was damaged.
    pub event: serde_json::Value,
    /// The beginning of the last answer's body, as text.
    pub response: Option<String>,
}

/// Which dead letters to deliver again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Selection {
    All,
    Ids(Vec<u64>),
    Matching(DeadLetterFilter),
}

/// How many dead letters of one connection were queued.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Redelivery {
    pub connection: String,
    pub queued: u64,
}

/// A place in the log, as a person names it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogPoint {
    Offset(Offset),
    /// The first record received at or after this time.
    Time(UnixMillis),
    /// Where the connection's own lane began: up to it, a new connection has missed everything.
    Start,
}

/// What to send again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReplayRequest {
    pub connection: String,
    /// Inclusive.
    pub from: LogPoint,
    /// Exclusive; `None` for the log's end at this moment.
    pub to: Option<LogPoint>,
    /// VRL: only events of which it is true, beside the connection's own filter.
    pub filter: Option<String>,
    /// Requests a second, beside the connection's own limit.
    pub rate_limit_per_s: Option<u32>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReplayState {
    Running,
    Finished,
    /// Ended before it was done.
    Cancelled,
}

/// One replay: a lane of its own, which ends.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub struct ReplayStatus {
    pub id: u64,
    pub connection: String,
    /// Inclusive.
    pub from: Offset,
    /// Exclusive.
    pub to: Offset,
    pub filter: Option<String>,
    pub rate_limit_per_s: Option<u32>,
    pub state: ReplayState,
    pub started_at: UnixMillis,
    pub ended_at: Option<UnixMillis>,
    /// How its events ended so far.
    #[serde(flatten)]
    pub counts: OutcomeCounts,
    /// Events of the range that have not ended; `null` of a cancelled one.
    pub pending: Option<u64>,
    /// Its lane, while it runs.
    pub lane: Option<LaneStatus>,
}

/// A configured destination. Settings are shown by name only: which are secret only the definition
/// knows, and a wrong guess cannot be taken back.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct DestinationStatus {
    pub name: String,
    pub definition: String,
    pub enabled: bool,
    pub settings: Vec<String>,
    pub connections: Vec<String>,
    /// What is wrong with its settings or its definition, if anything.
    pub problem: Option<String>,
}

/// What a reload changed.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct ReloadReport {
    pub connections_added: Vec<String>,
    pub connections_changed: Vec<String>,
    pub connections_removed: Vec<String>,
    /// Definitions that came, went, or do something else now.
    pub definitions_changed: Vec<String>,
    /// Those that destinations use and that are no good, and why: what was in force stays, or their
    /// lanes are held.
    pub definitions_refused: Vec<String>,
    /// Settings that take effect only after a restart.
    pub restart_needed: Vec<String>,
}

/// A histogram as counted: `counts` holds one number for each of `bounds` (inclusive upper bounds,
/// ascending) and one for all above; not cumulative.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HistogramSnapshot {
    pub bounds: Vec<u64>,
    pub counts: Vec<u64>,
    pub sum: u64,
}

/// What ingest counted since start.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct IngestSnapshot {
    /// By endpoint and status code.
    pub requests: Vec<(String, u16, u64)>,
    /// By source.
    pub accepted: Vec<(String, u64)>,
    pub duplicates: u64,
    /// By reason.
    pub discarded: Vec<(String, u64)>,
    /// Open now.
    pub connections: u64,
    /// Those that were closed on a client, by reason.
    pub connections_closed: Vec<(String, u64)>,
    /// Bodies, as received.
    pub bytes: u64,
    /// From a request's first byte to its answer, in microseconds.
    pub ack_latency_us: HistogramSnapshot,
}

/// Everything that `/metrics` shows.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct MetricsSnapshot {
    pub version: String,
    pub started_at: UnixMillis,
    pub ready: bool,
    pub reload_failed: bool,
    pub ingest: IngestSnapshot,
    pub lanes: Vec<LaneStatus>,
    pub log: LogStatus,
    /// One `fdatasync`, in microseconds.
    pub commit_latency_us: HistogramSnapshot,
    pub store: StoreStatus,
    pub resident_bytes: u64,
    pub open_files: u64,
}

#[cfg(test)]
mod tests;
