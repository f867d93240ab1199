//! What delivery hands in to be committed in one transaction: progress, dead letters, samples and
//! counters, so that a cursor never passes an event whose dead letter is not kept.

use std::fmt;

use bytes::Bytes;
use model::{
    ConnectionId, LaneId, LaneProgress, Offset, Outcome, RejectReason, SourceId, UnixMillis,
};

/// One transaction's worth of what lanes did.
#[derive(Clone, Default, PartialEq)]
pub struct CommitBatch {
    pub lanes: Vec<LaneProgress>,
    /// Lanes that were stopped.
    pub holds: Vec<HeldLane>,
    pub dead_letters: Vec<DeadLetter>,
    pub samples: Vec<AttemptSample>,
    pub minutes: Vec<MinuteDelta>,
    pub redelivered: Vec<Redelivered>,
    pub finished: Vec<FinishedLane>,
}

/// A lane that has come to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FinishedLane {
    pub lane: LaneId,
    pub at: UnixMillis,
    /// Before it was done.
    pub cancelled: bool,
}

/// A lane that was stopped, and why in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldLane {
    pub lane: LaneId,
    pub held: Held,
}

/// Since when a lane is held, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    pub since: UnixMillis,
    /// Kept up to [`DeadLetter::DETAIL_BYTES_MAX`].
    pub cause: String,
}

impl CommitBatch {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lanes.is_empty()
            && self.holds.is_empty()
            && self.dead_letters.is_empty()
            && self.samples.is_empty()
            && self.minutes.is_empty()
            && self.redelivered.is_empty()
            && self.finished.is_empty()
    }
}

impl fmt::Debug for CommitBatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An error carries its batch, and errors are logged: events must not be.
        f.debug_struct("CommitBatch")
            .field("lanes", &self.lanes.len())
            .field("holds", &self.holds.len())
            .field("dead_letters", &self.dead_letters.len())
            .field("samples", &self.samples.len())
            .field("minutes", &self.minutes.len())
            .field("redelivered", &self.redelivered.len())
            .field("finished", &self.finished.len())
            .finish()
    }
}

/// An event that a connection gave up on. One for each connection and offset: a repeat after a
/// crash replaces the letter, and never doubles it.
#[derive(Clone, PartialEq)]
pub struct DeadLetter {
    pub connection: ConnectionId,
    pub offset: Offset,
    pub stream: SourceId,
    pub message_id: String,
    /// The event as the log held it; empty where the log could not give it any more.
    pub event: Bytes,
    pub reason: RejectReason,
    /// Retried until its limit, where `false` says refused for good.
    pub expired: bool,
    pub answer: Answer,
    pub attempts: u32,
    pub received_at: UnixMillis,
    pub died_at: UnixMillis,
}

impl DeadLetter {
    pub const DETAIL_BYTES_MAX: usize = 4 << 10;
    pub const RESPONSE_BYTES_MAX: usize = 4 << 10;
}

impl fmt::Debug for DeadLetter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Neither the event nor the answer: both hold what belongs to the users' users.
        f.debug_struct("DeadLetter")
            .field("connection", &self.connection)
            .field("offset", &self.offset)
            .field("message_id", &self.message_id)
            .field("event_bytes", &self.event.len())
            .field("reason", &self.reason)
            .field("expired", &self.expired)
            .field("answer", &self.answer)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}

/// A dead letter that was tried again, and how that ended: delivered and filtered ones go away, the
/// others wait again, with what was answered now.
#[derive(Clone, Debug, PartialEq)]
pub struct Redelivered {
    pub id: u64,
    pub outcome: Outcome,
    pub at: UnixMillis,
    /// Made now, beside those before.
    pub attempts: u32,
    pub answer: Answer,
}

/// Why a job was given up.
#[derive(Clone, Default, PartialEq)]
pub struct Answer {
    /// In words. Kept up to [`DeadLetter::DETAIL_BYTES_MAX`].
    pub detail: String,
    /// The last answer's status, if there was an answer.
    pub status: Option<u16>,
    /// The last answer's body. Kept up to [`DeadLetter::RESPONSE_BYTES_MAX`].
    pub response: Option<Bytes>,
}

impl Answer {
    /// What it takes in memory, and in the store.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.detail.len() + self.response.as_ref().map_or(0, Bytes::len)
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // What was answered belongs to the users' users.
        f.debug_struct("Answer")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// What one attempt looked like, for a person who asks why a lane does not get on. Neither request
/// headers nor the query string are kept: they may hold secrets.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptSample {
    pub lane: LaneId,
    pub offset: Offset,
    pub at: UnixMillis,
    /// 1 for the first.
    pub attempt: u32,
    pub status: Option<u16>,
    pub result: String,
    pub latency_ms: u32,
    /// Method and URL without its query. Kept up to [`AttemptSample::TEXT_BYTES_MAX`].
    pub request_line: String,
    /// Kept up to [`DeadLetter::RESPONSE_BYTES_MAX`].
    pub response: Bytes,
}

impl AttemptSample {
    pub const TEXT_BYTES_MAX: usize = 2 << 10;
}

/// What one lane did in one minute, to be added to what is counted for that minute already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MinuteDelta {
    pub lane: LaneId,
    /// The minute's start.
    pub minute: UnixMillis,
    pub delivered: u64,
    pub rejected: u64,
    pub filtered: u64,
    pub expired: u64,
    pub attempts_failed: u64,
}
