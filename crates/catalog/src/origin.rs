//! Where an event comes from: `.record` of event programs.

use vrl::value::{ObjectMap, Value};

/// The event's record in the log, and the lane that carries it: together they never name two events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'a> {
    pub source: &'a str,
    pub connection: &'a str,
    /// `live`, `redelivery`, or `replay-` and its number.
    pub lane: &'a str,
    /// In a redelivery the dead letter's number.
    pub offset: u64,
}

impl Origin<'static> {
    /// The lane of a connection's new events.
    pub const LIVE: &'static str = "live";
    /// The lane of its dead letters.
    pub const REDELIVERY: &'static str = "redelivery";

    /// Of the event at this place of those that a tool is given.
    #[must_use]
    pub fn of_tool(index: usize) -> Self {
        Self {
            source: "source",
            connection: "connection",
            lane: Self::LIVE,
            offset: u64::try_from(index).unwrap_or(u64::MAX),
        }
    }
}

/// What programs see of it.
pub(crate) const RECORD_MEMBERS: [&str; 4] = ["source", "connection", "lane", "offset"];

impl Origin<'_> {
    pub(crate) fn to_value(self) -> Value {
        let mut record = ObjectMap::new();
        record.insert("source".into(), self.source.into());
        record.insert("connection".into(), self.connection.into());
        record.insert("lane".into(), self.lane.into());
        let offset = i64::try_from(self.offset).unwrap_or(i64::MAX);
        record.insert("offset".into(), offset.into());
        Value::Object(record)
    }
}
