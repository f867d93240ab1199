//! Limits that more than one crate must agree on. A crate's own limits live in its `Options`.

/// Largest event at ingest, in bytes of JSON as received.
pub const EVENT_BYTES_MAX: usize = 32 * 1024;

/// Largest record payload in the log: an event plus what ingest adds to it (batch-level context
/// and integrations are merged into every event, so an event may grow by a request's worth).
pub const RECORD_BYTES_MAX: usize = 128 * 1024;

/// Deepest nesting of JSON that is let in, and that any parser behind ingest will meet.
pub const JSON_DEPTH_MAX: usize = 64;

/// Most events of one batch request.
pub const BATCH_EVENTS_MAX: usize = 2_500;

/// Most jobs above a lane's cursor: in flight, parked, or settled out of order.
pub const LANE_WINDOW_MAX: usize = 10_000;

const _: () = assert!(RECORD_BYTES_MAX >= 2 * EVENT_BYTES_MAX);
